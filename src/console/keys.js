// One key: its value now, and in every version that is kept.

import * as api from "./api.js";
import { announce, h } from "./dom.js";
import { json } from "./json.js";
import { versionChip } from "./words.js";

const ENCODINGS = ["utf8", "base64url", "hex"];

export function keysSection(page) {
  const { data, route, ui } = page;
  const asked = route.parts[3];
  const encoding = route.query.get("as") ?? "utf8";
  const wanted = asked === undefined ? null : `${encoding} ${asked}`;
  if (wanted !== null && ui.key !== wanted) {
    ui.key = wanted;
    queueMicrotask(() => look(page, asked, encoding));
  }
  return h(
    "section",
    { class: "card keys", "aria-labelledby": "keys-heading" },
    h(
      "div",
      { class: "card-head" },
      h("h2", { id: "keys-heading", tabindex: -1, "data-section-heading": true }, "Look a key up"),
    ),
    h(
      "form",
      { class: "row-form", onsubmit: (e) => submit(page, e) },
      h(
        "label",
        { class: "grow" },
        h("span", {}, "Key"),
        h("input", {
          name: "key",
          value: asked ?? "",
          required: true,
          autocomplete: "off",
          spellcheck: "false",
          autocapitalize: "none",
          "data-key-field": true,
          class: "mono",
        }),
      ),
      h(
        "label",
        {},
        h("span", {}, "Written as"),
        h(
          "select",
          { name: "as", value: encoding },
          ENCODINGS.map((name) => h("option", { value: name }, name)),
        ),
      ),
      h("button", { type: "submit", class: "primary" }, "Look up"),
    ),
    wanted === null
      ? h(
          "p",
          { class: "empty-line" },
          "The value of a key in the current version, and in every other that is kept. From a shell: ",
          h("code", {}, `tidetable history ${data.name} --key KEY`),
        )
      : answer(page),
  );
}

function submit(page, event) {
  event.preventDefault();
  const { key, as } = Object.fromEntries(new FormData(event.target));
  page.ui.key = null;
  const there = `#/datasets/${page.data.name}/keys/${encodeURIComponent(key)}${as === "utf8" ? "" : `?as=${as}`}`;
  if (location.hash === there) page.redraw();
  else page.go(there);
}

async function look(page, key, encoding) {
  const { ui, data } = page;
  ui.answer = null;
  const path = api.pathOf(data.name, "keys", plainSegment(key, encoding), "history");
  const as = key === "." || key === ".." ? "base64url" : encoding;
  try {
    const found = await api.getValues(`${path}${as === "utf8" ? "" : `?key_encoding=${as}`}`);
    ui.answer = { versions: found.versions };
    announce(`Found in ${found.versions.filter((v) => v.found).length} of ${found.versions.length} versions`);
  } catch (problem) {
    ui.answer = { problem };
  }
  page.redraw();
}

// A browser resolves the segments "." and ".." away, however they are written.
const plainSegment = (key, encoding) =>
  encoding === "utf8" && key === "." ? "Lg" : encoding === "utf8" && key === ".." ? "Li4" : key;

function answer({ ui, data }) {
  if (!ui.answer) return h("p", { class: "loading", "aria-busy": "true" }, "Looking…");
  if (ui.answer.problem) return h("p", { class: "problem", role: "alert" }, ui.answer.problem.message);
  const { versions } = ui.answer;
  const current = versions.find((v) => v.version === data.dataset.current);
  return h(
    "div",
    { class: "key-history", key: ui.key },
    current
      ? h(
          "div",
          { class: "key-now" },
          h("h3", {}, `In the current version, ${current.version}`),
          current.found ? [inBase64(current), json(current.value)] : absent(current),
        )
      : null,
    h("h3", {}, "In every kept version"),
    h(
      "ol",
      { class: "rail" },
      versions.map((one, at) => {
        const version = data.versions.find((v) => v.version === one.version);
        const before = versions[at + 1];
        const same = before && one.found === before.found && JSON.stringify(one.value) === JSON.stringify(before.value);
        return h(
          "li",
          { key: one.version },
          h(
            "div",
            { class: "version-main" },
            h("a", { href: `#/datasets/${data.name}/versions/${one.version}` }, `Version ${one.version}`),
            version?.label ? h("span", { class: "label" }, version.label) : null,
            version ? versionChip(version.state) : null,
            same
              ? h("span", { class: "faint" }, `as in ${before.version}`)
              : before && !one.error
                ? h("span", { class: "differs" }, !before.found ? "added" : !one.found ? "gone" : "changed")
                : null,
          ),
          one.found
            ? same
              ? null
              : [inBase64(one), json(one.value, { other: before?.found ? before.value : undefined })]
            : absent(one),
        );
      }),
    ),
  );
}

// Values that are no JSON are sent so.
const inBase64 = ({ encoding }) => (encoding ? h("p", { class: "faint" }, `In ${encoding}`) : null);

const absent = (one) =>
  one.error
    ? h("p", { class: "problem" }, one.error.detail ?? one.error.title)
    : h("p", { class: "faint" }, "The key is not in it.");
