// The settings of a dataset, as they are; they are changed from the command line or by a job, so
// that a change can be reviewed and repeated.

import { h } from "./dom.js";

export function settingsSection({ data }) {
  const { config } = data.dataset;
  const origin = location.origin + location.pathname.replace(/\/$/, "");
  return h(
    "section",
    { class: "card", "aria-labelledby": "settings-heading" },
    h(
      "div",
      { class: "card-head" },
      h("h2", { id: "settings-heading", tabindex: -1, "data-section-heading": true }, "Settings"),
    ),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Settings, a table" },
      h(
        "table",
        { class: "lines" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), h("th", { scope: "col" }, "Value"))),
        h("tbody", {}, rows("", config)),
      ),
    ),
    h("p", { class: "faint" }, "They are changed from a shell, where a change can be reviewed and repeated:"),
    h(
      "pre",
      { tabindex: 0, role: "region", "aria-label": "How to change a setting" },
      h(
        "code",
        {},
        `tidetable config ${data.name} gates.max_shrink_percent=20 owner=learning-analytics --server ${origin}`,
      ),
    ),
  );
}

function rows(prefix, values) {
  return Object.entries(values).flatMap(([name, value]) => {
    if (value && typeof value === "object" && !Array.isArray(value)) return rows(`${prefix}${name}.`, value);
    const off = value === null;
    return [
      h(
        "tr",
        { key: prefix + name },
        h("th", { scope: "row" }, h("code", {}, prefix + name)),
        h(
          "td",
          { class: off ? "faint" : "wrap" },
          off
            ? prefix.startsWith("gates")
              ? "off"
              : "not set"
            : h("code", {}, typeof value === "string" ? value : JSON.stringify(value)),
        ),
      ),
    ];
  });
}
