// The console: which page is shown (by the hash of the address), when it is read again, and what
// stands above every page: which server and environment this is.

import * as api from "./api.js";
import { announce, draw, h } from "./dom.js";
import { span } from "./format.js";
import { overview } from "./overview.js";
import { datasetPage } from "./dataset.js";
import { askForToken, keep, token } from "./token.js";
import { shape } from "./words.js";

const REFRESH_MS = 5_000;
const main = document.getElementById("main");

/** The page that is shown, and what is known for it. */
let shown = null;
let server = null;
let reachedAt = 0;
let timer = 0;
let paused = false;

/** `#/datasets/NAME/SECTION/REST?query` in parts. */
function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decode);
  return { parts, query: new URLSearchParams(query ?? "") };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function pageOf({ parts }) {
  if (parts.length === 0) return { page: overview, key: "overview" };
  if (parts[0] === "datasets" && parts[1]) return { page: datasetPage, key: `datasets/${parts[1]}` };
  return { page: nowhere, key: "nowhere" };
}

const nowhere = {
  title: () => "No such page",
  load: async () => ({}),
  view: () =>
    h(
      "section",
      { class: "empty" },
      h("h1", { tabindex: -1 }, "There is no such page"),
      h("p", {}, h("a", { href: "#/" }, "All datasets")),
    ),
};

// Another page is read anew; another section of the same page keeps what is known.
async function show() {
  const route = parse(location.hash);
  const { page, key } = pageOf(route);
  const same = shown?.key === key;
  shown?.reading?.abort();
  shown = same ? { ...shown, route } : { page, key, route, data: null, ui: {}, problem: null };
  const place = [key, ...route.parts.slice(2, 4)].join("/");
  const moved = shown.place !== place;
  shown.place = place;
  redraw();
  if (moved && !firstShown) settle();
  firstShown = false;
  await refresh();
}
let firstShown = true;

// After going to another place: at its top, and with the focus on its heading.
function settle() {
  scrollTo(0, 0);
  const heading = main.querySelector("h1[tabindex], h2[tabindex]") ?? main;
  const section = main.querySelector("[data-section-heading]");
  (section ?? heading).focus({ preventScroll: true });
}

const context = () => ({
  ...shown,
  server,
  redraw,
  refresh,
  announce,
  go: (hash) => {
    location.hash = hash;
  },
  /** Another address of what is shown already, without a step of the browser's history. */
  isAt: (hash) => {
    history.replaceState(null, "", hash);
    shown.route = parse(hash);
  },
  /** Another query in the address, without a step of the browser's history. */
  setQuery: (values) => {
    const query = new URLSearchParams(shown.route.query);
    for (const [name, value] of Object.entries(values)) value ? query.set(name, value) : query.delete(name);
    const text = query.toString();
    history.replaceState(null, "", `#/${shown.route.parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`);
    shown.route = { ...shown.route, query };
    redraw();
  },
});

function redraw() {
  const { page, data, problem } = shown;
  const view = data
    ? page.view(context())
    : problem
      ? failed(problem)
      : h("p", { class: "loading", "aria-busy": "true" }, "Reading…");
  draw(main, view);
  const title = page.title(shown.route);
  const where = server?.environment ? ` · ${server.environment}` : "";
  document.title = `${title}${where} · Tidetable`;
}

function failed(problem) {
  if (problem.status === 401) return askForToken(Boolean(token()), refresh);
  return h(
    "section",
    { class: "empty" },
    h(
      "h1",
      { tabindex: -1 },
      problem.status === 404 ? "There is no such dataset" : (problem.document?.title ?? "This could not be read"),
    ),
    h("p", {}, problem.message),
    h("p", {}, h("a", { href: "#/" }, "All datasets")),
  );
}

// Reads what is shown. What comes too late, for a page that was left, is dropped.
async function refresh() {
  clearTimeout(timer);
  const reading = new AbortController();
  const asked = shown;
  asked.reading?.abort();
  asked.reading = reading;
  try {
    const [data] = await Promise.all([asked.page.load(context(), reading.signal), readServer(reading.signal)]);
    if (reading.signal.aborted || shown.key !== asked.key) return;
    shown.data = data;
    shown.problem = null;
    reachedAt = Date.now();
  } catch (error) {
    if (reading.signal.aborted || error.name === "AbortError") return;
    if (!(error instanceof api.Problem)) throw error;
    shown.problem = error;
    if ([401, 403, 404].includes(error.status)) shown.data = null;
    if (error.status !== 0) reachedAt = Date.now();
  } finally {
    if (!reading.signal.aborted) later();
  }
  redraw();
  drawTop();
}

async function readServer(signal) {
  const [version, ready] = await Promise.all([
    server ?? api.get("version", signal),
    api.get("readyz", signal).catch((problem) => (problem.body?.status ? problem.body : Promise.reject(problem))),
  ]);
  server = { ...version, ready };
}

function later() {
  clearTimeout(timer);
  // Asking again and again without a token is of no use to anybody.
  const locked = shown?.problem?.status === 401;
  if (!paused && !document.hidden && !locked) timer = setTimeout(refresh, REFRESH_MS);
}

// Names that people give to what must not be broken, and to what may be.
function toneOf(environment) {
  if (!environment) return "unnamed";
  if (/prod|live/i.test(environment)) return "production";
  return /stag|pre|uat|qa/i.test(environment) ? "staging" : "other";
}

function drawTop() {
  document.documentElement.dataset.environment = toneOf(server?.environment);
  if (server) {
    const address = server.listen ?? location.host;
    draw(
      document.getElementById("where"),
      h("strong", { class: "environment" }, server.environment ?? "no environment named"),
      h(
        "span",
        { class: "address", title: `${server.hostname ?? ""} ${address}, Tidetable ${server.version}` },
        server.hostname ? h("span", { class: "host" }, server.hostname) : null,
        h("span", { class: "port" }, address),
      ),
      h("span", { class: "release" }, `v${server.version}`),
    );
  }
  forget.hidden = !token() || shown?.problem?.status === 401;
  drawHealth();
  drawPause();
}

function drawHealth() {
  const ready = server?.ready;
  const element = document.getElementById("health");
  const fault = ready && ready.status !== "ok";
  const unusable = ready?.unusable ?? [];
  const damaged = ready?.damaged ?? [];
  const names = (list) => list.map((one) => `${one.dataset} ${one.version}`).join(", ");
  draw(
    element,
    fault
      ? h(
          "span",
          { class: "chip tone-bad" },
          shape("triangle"),
          h(
            "span",
            {},
            ready.accepts_changes === false
              ? "Takes no changes until a restart"
              : unusable.length
                ? `Unusable: ${names(unusable)}`
                : damaged.length
                  ? `Damaged on the disk: ${names(damaged)}`
                  : ready.accepts_pushes === false
                    ? "Takes no pushes: the disk is full"
                    : `Server is ${ready.status}`,
          ),
        )
      : null,
  );
  const lost = shown?.problem?.status === 0;
  const offline = document.getElementById("offline");
  draw(
    offline,
    lost
      ? h(
          "p",
          {},
          shape("triangle"),
          ` ${shown.problem.message} `,
          reachedAt ? `What you see is from ${span((Date.now() - reachedAt) / 1000)} ago.` : "",
          " Trying again.",
        )
      : null,
  );
}

// What the browser keeps of whoever was here, it forgets.
const forget = document.getElementById("forget");
forget.addEventListener("click", () => {
  keep("");
  announce("The token is forgotten");
  refresh();
});

function drawPause() {
  const button = document.getElementById("pause");
  button.setAttribute("aria-pressed", String(paused));
  button.title = paused ? "Go on reading every 5 seconds" : "Stop reading every 5 seconds";
  document.getElementById("pause-text").textContent = paused ? "Paused" : "Live";
}

document.getElementById("pause").addEventListener("click", () => {
  paused = !paused;
  announce(paused ? "Paused" : "Live again");
  drawPause();
  if (paused) clearTimeout(timer);
  else refresh();
});

// A page that nobody sees reads nothing; seen again, it is brought up to date at once.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (!paused) refresh();
});

const theme = document.getElementById("theme");
theme.value = document.documentElement.dataset.theme ?? "";
theme.addEventListener("change", () => {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
  try {
    localStorage.setItem("tidetable-theme", theme.value);
  } catch {
    // It lasts as long as the page.
  }
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

// "/" goes to the filter, as in many consoles, unless one is typing.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  const field = main.querySelector("input[type=search], input[data-key-field]");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

addEventListener("hashchange", show);
show();
