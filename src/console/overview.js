// All datasets at a glance.

import * as api from "./api.js";
import { announce, h } from "./dom.js";
import * as f from "./format.js";
import { runningPushes } from "./pushes.js";
import { spark } from "./spark.js";
import { token } from "./token.js";
import { DATASET_STATES, chipOf, datasetChip, shape, stateOf } from "./words.js";

const STATES = Object.keys(DATASET_STATES);

export const overview = {
  title: () => "Datasets",
  async load(_, signal) {
    const [datasets, series, pushes] = await Promise.all([
      api.getAll("v1/datasets", "datasets", signal),
      api.getAll("v1/series", "datasets", signal).catch(absent),
      api.getAll("v1/pushes", "pushes", signal).catch(absent),
    ]);
    const traffic = new Map((series ?? []).map((one) => [one.dataset, one]));
    const seen = datasets.map((dataset) => ({ ...dataset, traffic: traffic.get(dataset.dataset) }));
    return { datasets: seen, isCut: datasets.isCut, pushes };
  },
  view,
};

function absent(problem) {
  if (problem.status === 404) return null;
  throw problem;
}

function view(page) {
  const { data, route } = page;
  if (data.datasets.length === 0) return firstSteps(page);
  const wanted = { text: (route.query.get("q") ?? "").toLowerCase(), state: route.query.get("state") };
  const found = data.datasets.filter((dataset) => fits(dataset, wanted));
  const sorted = sort(found, route.query.get("sort") ?? "state");
  return h(
    "div",
    { class: "overview" },
    h("div", { class: "page-head" }, h("h1", { tabindex: -1 }, "Datasets"), filters(page, data.datasets)),
    data.pushes?.length ? runningPushes(data.pushes, { named: true }) : null,
    data.isCut
      ? h(
          "p",
          { class: "note" },
          `These are the first ${f.exact(data.datasets.length)} datasets by name; `,
          h("code", {}, "tidetable datasets"),
          " lists all.",
        )
      : null,
    sorted.length === 0
      ? h(
          "p",
          { class: "empty" },
          "No dataset fits. ",
          h(
            "button",
            { type: "button", class: "link", onclick: () => page.setQuery({ q: "", state: "" }) },
            "Show all",
          ),
        )
      : table(page, sorted),
  );
}

function fits(dataset, { text, state }) {
  if (state && stateOf(dataset) !== state) return false;
  const within = [dataset.dataset, dataset.config?.owner, dataset.config?.description];
  return !text || within.some((part) => part?.toLowerCase().includes(text));
}

function filters(page, datasets) {
  const { route, setQuery } = page;
  const chosen = route.query.get("state");
  const numbers = new Map(STATES.map((state) => [state, 0]));
  for (const dataset of datasets) numbers.set(stateOf(dataset), numbers.get(stateOf(dataset)) + 1);
  const choose = (state, word, drawn, tone, number) =>
    h(
      "button",
      {
        type: "button",
        class: `filter tone-${tone}`,
        "aria-pressed": String((chosen ?? "") === state),
        key: state || "all",
        onclick: () => {
          setQuery({ state: chosen === state ? "" : state });
          announceFound(page);
        },
      },
      drawn ? shape(drawn) : null,
      h("span", {}, word),
      h("span", { class: "number" }, number),
    );
  return h(
    "div",
    { class: "filters", role: "search", "aria-label": "Datasets" },
    h(
      "div",
      { class: "filter-states", role: "group", "aria-label": "State" },
      choose("", "All", null, "plain", datasets.length),
      STATES.filter((state) => numbers.get(state) > 0 || chosen === state).map((state) => {
        const { word, shape: drawn, tone } = DATASET_STATES[state];
        return choose(state, word, drawn, tone, numbers.get(state));
      }),
    ),
    h(
      "label",
      { class: "filter-text" },
      h("span", { class: "hidden" }, "Filter by name, owner or description"),
      h("input", {
        type: "search",
        placeholder: "Filter",
        autocomplete: "off",
        spellcheck: "false",
        value: route.query.get("q") ?? "",
        oninput: (event) => {
          setQuery({ q: event.target.value });
          announceFound(page);
        },
      }),
      h("kbd", { "aria-hidden": "true" }, "/"),
    ),
  );
}

function announceFound({ data }) {
  clearTimeout(announceFound.timer);
  announceFound.timer = setTimeout(() => {
    const rows = document.querySelectorAll("[data-dataset]").length;
    announce(`${rows} of ${f.plural(data.datasets.length, "dataset")} shown`);
  }, 600);
}

// Freshness is the age of the data if the push said what it is of, else of the activation.
const freshOf = (dataset) => f.instant(dataset.as_of ?? dataset.activated_at);

const COLUMNS = [
  { name: "state", word: "State", of: (d) => STATES.indexOf(stateOf(d)), up: true },
  { name: "name", word: "Dataset", of: (d) => d.dataset, up: true },
  { name: "version", word: "Version", of: (d) => d.current ?? 0 },
  { name: "fresh", word: "Data is", of: (d) => freshOf(d) ?? 0, up: true },
  { name: "records", word: "Records", of: (d) => d.records ?? -1, number: true },
  { name: "lookups", word: "Lookups/s", of: (d) => d.traffic?.lookups_per_second ?? -1, number: true },
  { name: "hits", word: "Hit rate", of: (d) => d.traffic?.hit_percent ?? 101, number: true, up: true },
  { name: "p99", word: "p99", of: (d) => d.traffic?.p99_us ?? -1, number: true },
];

function sort(datasets, asked) {
  const turned = asked.startsWith("-");
  const column = COLUMNS.find((c) => c.name === asked.replace("-", "")) ?? COLUMNS[0];
  const up = Boolean(column.up) !== turned;
  return [...datasets].sort((a, b) => {
    const [x, y] = [column.of(a), column.of(b)];
    const order = x < y ? -1 : x > y ? 1 : 0;
    return (up ? order : -order) || a.dataset.localeCompare(b.dataset);
  });
}

function table(page, datasets) {
  const asked = page.route.query.get("sort") ?? "state";
  const head = COLUMNS.map((column) => {
    const is = asked.replace("-", "") === column.name;
    const up = Boolean(column.up) !== asked.startsWith("-");
    return h(
      "th",
      {
        scope: "col",
        class: column.number ? "number" : null,
        role: "columnheader",
        "aria-sort": is ? (up ? "ascending" : "descending") : null,
      },
      h(
        "button",
        {
          type: "button",
          class: "sort",
          "data-sort": is ? (up ? "up" : "down") : null,
          onclick: () => page.setQuery({ sort: is && !asked.startsWith("-") ? `-${column.name}` : column.name }),
        },
        column.word,
      ),
    );
  });
  return h(
    "table",
    { class: "datasets", role: "table", "aria-label": "Datasets" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, datasets.map(row)),
  );
}

function row(dataset) {
  const { traffic, config } = dataset;
  const cell = (word, props, ...inside) => h("td", { role: "cell", "data-word": word, ...props }, ...inside);
  const number = (word, shown, title) => cell(word, { class: "number", title }, shown);
  return h(
    "tr",
    { role: "row", key: dataset.dataset, "data-dataset": dataset.dataset },
    cell("State", { class: "cell-state" }, datasetChip(dataset)),
    h(
      "th",
      { role: "rowheader", scope: "row", class: "cell-name" },
      h("a", { href: `#/datasets/${dataset.dataset}`, class: "row-link" }, dataset.dataset),
      config?.owner || config?.description
        ? h("span", { class: "faint note", title: config.description }, config.description ?? config.owner)
        : null,
    ),
    cell(
      "Version",
      { class: "cell-version" },
      dataset.current === null
        ? h("span", { class: "faint" }, "none")
        : [
            h("span", { class: "version" }, dataset.current),
            dataset.canary
              ? chipOf({
                  word: `${dataset.canary.version} at ${dataset.canary.percent} %`,
                  shape: "diamond",
                  tone: "canary",
                })
              : null,
          ],
    ),
    cell("Data is", { class: "cell-fresh" }, freshness(dataset)),
    number("Records", f.count(dataset.records), `${f.exact(dataset.records)} records, ${f.bytes(dataset.bytes)}`),
    cell(
      "Lookups/s",
      { class: "number cell-rate" },
      traffic ? spark(traffic.recent) : null,
      h("span", {}, f.rate(traffic?.lookups_per_second)),
    ),
    number("Hit rate", [
      traffic?.errors > 0
        ? chipOf({ word: `${f.count(traffic.errors)} errors`, shape: "triangle", tone: "bad" })
        : null,
      f.percent(traffic?.hit_percent),
    ]),
    number("p99", f.micros(traffic?.p99_us)),
  );
}

/** How old the data is, and in the title what that age is of. */
export function freshness(dataset) {
  if (!dataset.as_of && !dataset.activated_at) return h("span", { class: "faint" }, "–");
  return f.ago(dataset.as_of ?? dataset.activated_at, { suffix: " old" });
}

// Nothing was pushed yet: how to make the first push to this very server.
function firstSteps({ server }) {
  const origin = location.origin + location.pathname.replace(/\/$/, "");
  const shown = token() ? '-H "Authorization: Bearer $TIDETABLE_TOKEN" ' : "";
  return h(
    "section",
    { class: "empty first" },
    h("h1", { tabindex: -1 }, "No dataset yet"),
    h("p", {}, "A dataset is made by its first push. Try it from a shell:"),
    h(
      "pre",
      { tabindex: 0, role: "region", "aria-label": "A first push with curl" },
      h(
        "code",
        {},
        `printf '{"learner_id":42,"course":"databases"}\\n' > recs.ndjson\n` +
          `curl ${shown}--data-binary @recs.ndjson \\\n  '${origin}/v1/datasets/course-recs/push?key=learner_id&format=ndjson'`,
      ),
    ),
    h("p", {}, "or with the command line, which also sends large files in parts:"),
    h(
      "pre",
      { tabindex: 0, role: "region", "aria-label": "A first push with the command line" },
      h("code", {}, `tidetable push course-recs recs.ndjson --key learner_id --server ${origin}`),
    ),
    shown
      ? h("p", {}, "Both take the token from the shell: ", h("code", {}, "export TIDETABLE_TOKEN=tt_…"), ".")
      : null,
    h("p", {}, "It appears here by itself. What else the server can do: ", h("a", { href: "docs/" }, "the API"), "."),
    server?.environment
      ? null
      : h(
          "p",
          { class: "faint" },
          "This server has no environment named. ",
          h("code", {}, "tidetable serve --environment production"),
          " shows everybody where they are.",
        ),
  );
}
