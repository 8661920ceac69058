// Who did what, newest first.

import { h } from "./dom.js";
import * as f from "./format.js";
import { chipOf, eventOf } from "./words.js";

const QUIET = new Set(["admitted", "sealed"]);

export function historySection(page) {
  const { data, route, setQuery } = page;
  const all = route.query.get("all") === "yes";
  const events = data.events.filter((event) => all || !QUIET.has(event.event));
  return h(
    "section",
    { class: "card", "aria-labelledby": "history-heading" },
    h(
      "div",
      { class: "card-head" },
      h("h2", { id: "history-heading", tabindex: -1, "data-section-heading": true }, "History"),
      h(
        "label",
        { class: "check" },
        h("input", {
          type: "checkbox",
          checked: all,
          onchange: (e) => setQuery({ all: e.target.checked ? "yes" : "" }),
        }),
        h("span", {}, "Every step of a push"),
      ),
    ),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "History, a table" },
      h(
        "table",
        { class: "lines" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["When", "What", "Version", "Who", "Why", "Request"].map((word) => h("th", { scope: "col" }, word)),
          ),
        ),
        h(
          "tbody",
          {},
          events.map((event) => line(data.name, event)),
        ),
      ),
    ),
    data.events.length >= 500
      ? h(
          "p",
          { class: "faint" },
          "The newest 500 lines. ",
          h("code", {}, `tidetable history ${data.name}`),
          " has all that are kept.",
        )
      : null,
  );
}

function line(name, event) {
  return h(
    "tr",
    { key: `${event.seq}-${event.event}` },
    h("td", {}, f.at(event.at)),
    h("td", {}, chipOf(eventOf(event.event))),
    h("td", {}, versionsOf(name, event)),
    h("td", {}, event.actor === "tidetable-watch" ? "the watch" : event.actor),
    h("td", { class: "wrap" }, event.reason ?? ""),
    h(
      "td",
      {},
      h(
        "code",
        { class: "request", title: event.request_id },
        event.request_id ? `…${event.request_id.slice(-8)}` : "",
      ),
    ),
  );
}

function versionsOf(name, event) {
  const link = (version) => h("a", { href: `#/datasets/${name}/versions/${version}` }, version);
  if (event.to !== null) return event.from === null ? [link(event.to)] : [link(event.from), " → ", link(event.to)];
  return event.version === null ? null : link(event.version);
}
