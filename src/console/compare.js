// How two versions differ. The server reads both whole for it, so it may take seconds; it can be
// called off.

import * as api from "./api.js";
import { announce, h } from "./dom.js";
import * as f from "./format.js";
import { json } from "./json.js";

const READABLE = new Set(["ready", "active", "retired", "rejected", "bad"]);

export function compareSection(page) {
  const { data, route, ui } = page;
  const readable = data.versions.filter((version) => READABLE.has(version.state));
  const heading = h(
    "h2",
    { id: "compare-heading", tabindex: -1, "data-section-heading": true },
    "Compare two versions",
  );
  if (readable.length < 2) {
    return h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, heading),
      h(
        "p",
        { class: "empty-line" },
        readable.length
          ? `There is one version to read. With the next push there are two: `
          : "There is no version to read yet: ",
        h("code", {}, `tidetable push ${data.name} FILE --key FIELD`),
      ),
    );
  }
  const asked = pairOf(route.parts[3]);
  const [from, to] = chosen(ui, asked, readable, data.dataset.current);
  // A link to a comparison is one that is asked for.
  if (
    asked &&
    ui.compared !== route.parts[3] &&
    readable.some((v) => v.version === asked[0]) &&
    readable.some((v) => v.version === asked[1])
  ) {
    ui.compared = route.parts[3];
    queueMicrotask(() => run(page, asked[0], asked[1]));
  }
  const choose = (name, value, word) =>
    h(
      "label",
      {},
      h("span", {}, word),
      h(
        "select",
        {
          name,
          value,
          onchange: (e) => {
            ui[name] = Number(e.target.value);
            page.redraw();
          },
        },
        readable.map((version) => h("option", { value: version.version }, nameOf(version))),
      ),
    );
  return h(
    "section",
    { class: "card compare", "aria-labelledby": "compare-heading" },
    h("div", { class: "card-head" }, heading),
    h(
      "form",
      {
        class: "row-form",
        onsubmit: (e) => {
          e.preventDefault();
          start(page, from, to);
        },
      },
      choose("from", from, "From"),
      choose("to", to, "To"),
      h("button", { type: "submit", class: "primary", disabled: from === to }, "Compare"),
      from === to ? h("span", { class: "faint" }, "Choose two different versions.") : null,
    ),
    ui.running
      ? running(page)
      : ui.failed
        ? h("p", { class: "problem", role: "alert" }, ui.failed)
        : ui.found
          ? result(page, ui.found)
          : null,
  );
}

const nameOf = (v) =>
  `${v.version}${v.label ? ` · ${v.label}` : ""} · ${v.state}${v.records === null ? "" : `, ${f.count(v.records)} records`}`;

function pairOf(text) {
  const match = /^(\d+)\.\.(\d+)$/.exec(text ?? "");
  return match ? [Number(match[1]), Number(match[2])] : null;
}

function chosen(ui, asked, readable, current) {
  const newest = readable[0].version;
  const to = ui.to ?? asked?.[1] ?? newest;
  const older = readable.find((v) => v.version !== to && (newest !== current ? v.version === current : v.version < to));
  const from = ui.from ?? asked?.[0] ?? (older ?? readable.find((v) => v.version !== to)).version;
  return [from, to];
}

function start(page, from, to) {
  const there = `#/datasets/${page.data.name}/compare/${from}..${to}`;
  page.ui.compared = `${from}..${to}`;
  page.isAt(there);
  run(page, from, to);
}

async function run(page, from, to) {
  const { ui, data } = page;
  ui.running?.stop.abort();
  const stop = new AbortController();
  ui.running = { from, to, stop, since: Date.now() };
  [ui.failed, ui.found, ui.from, ui.to] = [null, null, from, to];
  announce(`Comparing version ${from} with ${to}`);
  const ticking = setInterval(page.redraw, 500);
  page.redraw();
  try {
    const ask = (more) =>
      api.getValuesSlowly(`${api.pathOf(data.name, "diff")}?from=${from}&to=${to}${more}`, stop.signal);
    // Whoever may not read values is told the figures.
    ui.found = await ask("&samples=8").catch((problem) => {
      if (problem.code === "forbidden") return ask("");
      throw problem;
    });
    announce(
      `Compared: ${ui.found.added} added, ${ui.found.removed} removed, ${ui.found.changed} changed, ${ui.found.equal} equal`,
    );
  } catch (error) {
    if (error.name !== "AbortError") ui.failed = error.message;
  } finally {
    clearInterval(ticking);
    if (ui.running?.stop === stop) ui.running = null;
    page.redraw();
  }
}

function running({ ui, redraw }) {
  const { from, to, stop, since } = ui.running;
  return h(
    "div",
    { class: "running", key: "running" },
    h("progress", { "aria-label": `Comparing ${from} with ${to}` }),
    h("span", {}, `Reading ${from} and ${to} whole, ${f.span((Date.now() - since) / 1000)}`),
    h(
      "button",
      {
        type: "button",
        onclick: () => {
          stop.abort();
          ui.running = null;
          announce("Called off");
          redraw();
        },
      },
      "Cancel",
    ),
  );
}

const KINDS = [
  { name: "added", word: "Added", sign: "+" },
  { name: "removed", word: "Removed", sign: "−" },
  { name: "changed", word: "Changed", sign: "≠" },
  { name: "equal", word: "Equal", sign: "=" },
];

function result({ data }, found) {
  const all = KINDS.reduce((sum, { name }) => sum + found[name], 0);
  const share = (n) => (all ? (n / all) * 100 : 0);
  let x = 0;
  return h(
    "div",
    { class: "diff", key: "diff" },
    h("p", { class: "faint" }, `Keys of version ${found.to} against those of version ${found.from}, exactly.`),
    h(
      "dl",
      { class: "diff-counts" },
      KINDS.map(({ name, word, sign }) =>
        h(
          "div",
          { class: `diff-${name}`, key: name },
          h("dt", {}, h("span", { class: "sign", "aria-hidden": "true" }, sign), word),
          h(
            "dd",
            { title: f.exact(found[name]) },
            f.count(found[name]),
            h("span", { class: "note" }, f.percent(share(found[name]))),
          ),
        ),
      ),
    ),
    h(
      "svg",
      { class: "diff-bar", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
      KINDS.map(({ name }) => {
        const width = share(found[name]);
        const bar = h("rect", { class: `diff-${name}`, x: x.toFixed(3), y: 0, width: width.toFixed(3), height: 4 });
        x += width;
        return bar;
      }),
    ),
    fields(found),
    KINDS.slice(0, 3).map((kind) => samples(data.name, found, kind)),
    found.samples_withheld
      ? h("p", { key: "withheld", class: "faint" }, "Samples are shown to those who may read values.")
      : null,
  );
}

function fields(found) {
  const list = Object.entries(found.fields).sort((a, b) => b[1] - a[1]);
  if (list.length === 0) return null;
  return h(
    "section",
    { key: "fields" },
    h("h3", {}, "Fields that changed", found.fields_exact ? null : h("span", { class: "note" }, "estimates")),
    h(
      "table",
      { class: "lines bars" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Field"),
          h("th", { scope: "col", class: "number" }, "Changed records"),
          h("th", { scope: "col" }, h("span", { class: "hidden" }, "Share of the changed records")),
        ),
      ),
      h(
        "tbody",
        {},
        list.map(([name, n]) => {
          const share = found.changed ? Math.min(100, (n / found.changed) * 100) : 0;
          return h(
            "tr",
            { key: name },
            h("th", { scope: "row" }, h("code", {}, name)),
            h("td", { class: "number" }, f.count(n)),
            h(
              "td",
              { class: "bar-cell" },
              h(
                "svg",
                { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
                h("rect", { class: "bar-back", width: 100, height: 6 }),
                h("rect", { class: "bar", width: share.toFixed(2), height: 6 }),
              ),
              h("span", { class: "note" }, f.percent(share)),
            ),
          );
        }),
      ),
    ),
  );
}

function samples(dataset, found, { name, word }) {
  const list = found.samples[name];
  if (!list?.length) return null;
  return h(
    "section",
    { key: name, class: `samples samples-${name}` },
    h("h3", {}, `${word}, for example`),
    h(
      "ul",
      {},
      list.map((sample) =>
        h(
          "li",
          { key: sample.key },
          sample.key_encoding
            ? h("code", {}, `${sample.key} (${sample.key_encoding})`)
            : h(
                "a",
                { href: `#/datasets/${dataset}/keys/${encodeURIComponent(sample.key)}` },
                h("code", {}, sample.key),
              ),
          name === "changed"
            ? h(
                "div",
                { class: "two" },
                side(`in ${found.from}`, sample, "from", sample.to),
                side(`in ${found.to}`, sample, "to", sample.from),
              )
            : side(null, sample, name === "added" ? "to" : "from"),
        ),
      ),
    ),
  );
}

function side(word, sample, which, other) {
  const long = sample[`${which}_bytes`];
  return h(
    "div",
    { class: `side side-${which}` },
    word ? h("span", { class: "note" }, word) : null,
    sample.encoding && !long ? h("span", { class: "note" }, ` in ${sample.encoding}`) : null,
    long ? h("p", { class: "faint" }, `${f.bytes(long)}, too long to be shown here`) : json(sample[which], { other }),
  );
}
