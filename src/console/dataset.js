// One dataset: what it is and does now above, and below one of its sections.

import * as api from "./api.js";
import { actionsOf } from "./actions.js";
import { charts } from "./traffic.js";
import { compareSection } from "./compare.js";
import { h } from "./dom.js";
import * as f from "./format.js";
import { historySection } from "./history.js";
import { keysSection } from "./keys.js";
import { freshness } from "./overview.js";
import { runningPushes } from "./pushes.js";
import { settingsSection } from "./settings.js";
import { timeline } from "./timeline.js";
import { versionSection } from "./version.js";
import { datasetChip, shape, stateOf } from "./words.js";

const SERIES_EVERY_MS = 30_000;
const UNDER_WAY = new Set(["receiving", "building", "verifying"]);

const SECTIONS = [
  { name: "", word: "Overview" },
  { name: "compare", word: "Compare" },
  { name: "keys", word: "Keys" },
  { name: "history", word: "History" },
  { name: "settings", word: "Settings" },
];

export const datasetPage = {
  title: ({ parts }) => {
    const section = SECTIONS.find((s) => s.name === parts[2])?.word;
    return `${parts[1]}${parts[2] === "versions" ? ` ${parts[3]}` : section && parts[2] ? ` · ${section}` : ""}`;
  },
  async load(page, signal) {
    const name = page.route.parts[1];
    const [dataset, versions, events] = await Promise.all([
      api.get(api.pathOf(name), signal),
      api.get(`${api.pathOf(name, "versions")}?limit=200`, signal).then((p) => p.versions),
      api.get(`${api.pathOf(name, "history")}?limit=500`, signal).then((p) => p.events),
    ]);
    return { name, dataset, versions, events, ...(await traffic(page, name, signal)) };
  },
  view,
};

// A day of minutes changes once a minute: it is read less often than the rest.
async function traffic(page, name, signal) {
  const known = page.data;
  const read = (minutes) => api.getIfThere(`${api.pathOf(name, "series")}?minutes=${minutes}`, signal);
  if (known && Date.now() - known.seriesAt < SERIES_EVERY_MS) {
    return { series: known.series, seriesAt: known.seriesAt, now: (await read(1))?.now ?? null };
  }
  const series = await read(1440);
  return { series, seriesAt: Date.now(), now: series?.now ?? null };
}

function view(page) {
  const { route, data } = page;
  const section = route.parts[2] ?? "";
  return h(
    "div",
    { class: "dataset" },
    head(page),
    banner(page),
    tiles(data),
    h(
      "nav",
      { class: "sections", "aria-label": "Sections of this dataset" },
      SECTIONS.map(({ name, word }) =>
        h(
          "a",
          {
            href: `#/datasets/${data.name}${name ? `/${name}` : ""}`,
            key: name || "overview",
            "aria-current": section === name || (section === "versions" && name === "") ? "page" : null,
          },
          word,
        ),
      ),
    ),
    h("div", { key: `section-${section}`, class: "section" }, sectionOf(section)(page)),
  );
}

function sectionOf(name) {
  const known = {
    compare: compareSection,
    keys: keysSection,
    history: historySection,
    settings: settingsSection,
    versions: versionSection,
  };
  return known[name] ?? start;
}

function start(page) {
  const { data } = page;
  const running = data.versions.filter((version) => UNDER_WAY.has(version.state) || version.progress);
  return [running.length ? runningPushes(running, { named: false }) : null, charts(page), timeline(page)];
}

function head(page) {
  const { dataset } = page.data;
  const { owner, description } = dataset.config;
  return h(
    "div",
    { class: "page-head" },
    h(
      "div",
      {},
      h(
        "nav",
        { class: "crumb", "aria-label": "Where you are" },
        h("a", { href: "#/" }, "Datasets"),
        page.route.parts[2] ? [" / ", h("a", { href: `#/datasets/${dataset.dataset}` }, dataset.dataset)] : null,
      ),
      h("div", { class: "title" }, h("h1", { tabindex: -1 }, dataset.dataset), datasetChip(dataset)),
      description || owner
        ? h("p", { class: "faint" }, [description, owner ? `owned by ${owner}` : null].filter(Boolean).join(" · "))
        : null,
    ),
    h(
      "div",
      { class: "actions", role: "group", "aria-label": "Actions" },
      actionsOf(page).map((action) =>
        h(
          "button",
          { type: "button", class: action.danger ? "danger" : null, key: action.name, onclick: action.open },
          action.word,
        ),
      ),
    ),
  );
}

// Why it is not simply healthy, in a sentence, and what to do.
function banner({ data }) {
  const { dataset } = data;
  const told = [];
  if (stateOf(dataset) === "damaged") told.push(["bad", "triangle", damage(data)]);
  if (dataset.hold) {
    const { at, actor, reason } = dataset.hold;
    const why = [", ", f.ago(at), `, by ${nameOf(actor)}`, reason ? [": ", h("q", {}, reason)] : "", ". "];
    const back = stateOf(dataset) === "rolled_back" ? data.events.find((event) => event.event === "rolled_back") : null;
    told.push(
      back
        ? [
            "bad",
            "back",
            [
              `Rolled back from ${back.from} to ${back.to}`,
              why,
              "The dataset is held: pushes become ready, and none is activated by itself until it is released.",
              waiting(data),
            ],
          ]
        : [
            "held",
            "bars",
            ["Held", why, "Pushes become ready, and none is activated by itself until it is released.", waiting(data)],
          ],
    );
  }
  if (dataset.failed_push) told.push(["bad", "cross", failedPush(data)]);
  if (dataset.canary) told.push(["canary", "diamond", canarySentence(dataset)]);
  const { watch } = dataset;
  if (watch?.verdict === "fell")
    told.push([
      "bad",
      "triangle",
      [`The watch saw version ${watch.version} do worse than ${watch.against}: ${watch.detail}`],
    ]);
  else if (watch?.verdict === "watching") {
    told.push([
      "plain",
      "clock",
      [
        `Version ${watch.version} is watched against ${watch.against}`,
        watch.until ? [" until ", f.at(watch.until)] : "",
        `: ${f.count(watch.lookups)} lookups so far. ${watch.detail ?? ""}`,
      ],
    ]);
  }
  if (dataset.stale || stateOf(dataset) === "stale") {
    const interval = dataset.config.expected_push_interval_seconds;
    told.push([
      "warn",
      "clock",
      [
        "Stale: the last good push was ",
        f.ago(dataset.last_push_at ?? dataset.activated_at),
        interval ? `, and one is expected every ${f.span(interval)}.` : ".",
      ],
    ]);
  }
  return told.length
    ? h(
        "div",
        { class: "banners" },
        told.map(([tone, drawn, text]) =>
          h("p", { class: `banner tone-${tone}`, key: drawn + tone }, shape(drawn), h("span", {}, text)),
        ),
      )
    : null;
}

function damage({ dataset, versions, name }) {
  const { current } = dataset;
  const file = versions.find((version) => version.version === current)?.damaged?.file;
  return [
    h("a", { href: `#/datasets/${name}/versions/${current}` }, `Version ${current}`),
    file
      ? [", which is served, is damaged on the disk, in ", h("code", {}, file), ". A lookup that meets the damage"]
      : ", which is served, could not be opened; the server's log and its readyz say why. Each lookup",
    " is answered with an error. Roll back, or push the data again.",
  ];
}

// The newest push, if it came to nothing and none was activated since.
function failedPush({ dataset, versions, name }) {
  const { version, state, reason, code } = dataset.failed_push;
  const began = versions.find((one) => one.version === version)?.created_at;
  return [
    "The newest push, ",
    h("a", { href: `#/datasets/${name}/versions/${version}` }, `version ${version}`),
    began ? [", begun ", f.ago(began)] : null,
    state === "rejected" ? ", was rejected" : ", failed",
    `: ${reason ?? code ?? "nothing says why"}. `,
    dataset.current === null ? "Nothing is served yet." : `Version ${dataset.current} is still served.`,
  ];
}

const nameOf = (actor) => (actor === "tidetable-watch" ? "the watch" : actor);

function waiting({ versions, dataset, name }) {
  const next = versions.find((v) => v.state === "ready" && v.activate && v.version > (dataset.current ?? 0));
  return next
    ? [
        " ",
        h("a", { href: `#/datasets/${name}/versions/${next.version}` }, `Version ${next.version}`),
        " is ready and waits for it.",
      ]
    : null;
}

function canarySentence({ current, canary }) {
  const arms = canary.arms ?? {};
  const arm = (name, version) => {
    const seen = arms[name];
    if (!seen) return null;
    const hit = seen.hits + seen.misses > 0 ? (seen.hits / (seen.hits + seen.misses)) * 100 : null;
    return h(
      "tr",
      { key: name },
      h("th", { scope: "row" }, `${name === "canary" ? "Canary" : "Current"}, version ${version}`),
      h("td", { class: "number" }, f.count(seen.lookups)),
      h("td", { class: "number" }, f.percent(hit)),
      h("td", { class: "number" }, f.count(seen.errors)),
      h("td", { class: "number" }, f.micros(seen.p50_us)),
      h("td", { class: "number" }, f.micros(seen.p99_us)),
    );
  };
  return [
    `Version ${canary.version} is served to ${canary.percent} % of units as a canary (experiment `,
    h("code", {}, canary.experiment),
    "), since ",
    f.at(canary.started_at),
    ". Nothing is activated by itself meanwhile.",
    canary.arms
      ? h(
          "table",
          { class: "arms" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Arm", "Lookups", "Hit rate", "Errors", "p50", "p99"].map((word, at) =>
                h("th", { scope: "col", class: at ? "number" : null }, word),
              ),
            ),
          ),
          h("tbody", {}, arm("current", current), arm("canary", canary.version)),
        )
      : null,
  ];
}

const whyNone = (now) => (now.errors ? "none answered" : "nobody asked");

function tiles({ dataset, versions, now }) {
  const version = versions.find((v) => v.current);
  const tile = (word, value, note) =>
    h(
      "div",
      { class: "tile", key: word },
      h("dt", {}, word),
      h("dd", {}, value, note ? h("span", { class: "note" }, note) : null),
    );
  return h(
    "dl",
    { class: "tiles" },
    tile("Current version", dataset.current ?? "none", version?.label),
    tile(
      "Data is",
      freshness(dataset),
      dataset.activated_at ? ["active ", f.ago(dataset.activated_at, { suffix: "" })] : null,
    ),
    tile("Records", h("span", { title: f.exact(dataset.records) }, f.count(dataset.records)), f.bytes(dataset.bytes)),
    tile(
      "Lookups/s",
      f.rate(now?.lookups_per_second),
      now?.errors ? `${f.count(now.errors)} errors in a minute` : "last minute",
    ),
    tile("Hit rate", f.percent(now?.hit_percent), now && now.hit_percent === null ? whyNone(now) : null),
    tile("p99", f.micros(now?.p99_us), now?.p50_us ? `p50 ${f.micros(now.p50_us)}` : null),
  );
}
