// A stand-in for a server that has run for days, to work on the console without building: a day of
// traffic, every state, canary and profile. `node tests/console/stub.mjs [PORT] [DATASETS]`. It
// makes the pictures in docs/ too. The tests do not use it: they drive the real server.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const FILES = path.resolve(HERE, "../../src/console");
const TYPES = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const MINUTE = 60_000;
const NOW = Date.now();
const ago = (minutes) => new Date(NOW - minutes * MINUTE).toISOString();
let seed = 7;
const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;

const NAMES = [
  ["course-recs", "What to learn next, by learner", "recommendations", 4_812_340, 1840, 97.3, 38],
  ["learner-stats", "Progress and streaks of each learner", "learning-analytics", 9_120_554, 912, 99.1, 31],
  ["item-similarity", "Nearest courses of each course", "recommendations", 61_204, 420, 99.94, 22],
  ["skill-graph", "Skills of each course, with weights", "content", 88_410, 96, 99.2, 24],
  ["degree-match", "Degrees that fit a learner", "degrees", 1_204_338, 210, 91.2, 44],
  ["quiz-difficulty", "Difficulty of each quiz item", "assessment", 412_004, 640, 99.7, 27],
  ["peer-review-load", "Open reviews by course", "assessment", 7_220, 12, 98.1, 29],
  ["instructor-daily", "Numbers of the instructors' dashboard", "partners", 31_880, 8.4, 96.4, 33],
  ["search-boosts", "Boosts by query", "search", 240_118, 1220, 64.2, 35],
  ["churn-risk", "Chance that a subscriber leaves", "growth", 3_410_889, 0, null, null],
  ["email-best-hour", "When each learner opens mail", "growth", 5_008_112, 41, 88.4, 39],
  ["certificate-price", "Price test by country", "pricing", 2_140, 310, 99.99, 18],
  ["video-hotspots", "Seconds that are watched again", "content", 190_442, 71, 97.7, 61],
  ["forum-answers", "Answers to show first", "community", 802_441, 55, 82.3, 48],
  ["mobile-home", "Shelves of the phone's home page", "mobile", 6_004_210, 2210, 98.9, 41],
  ["language-pairs", "Subtitles by language", "content", 1_880, 22, 99.9, 17],
];

const states = [
  "rolled_back",
  "stale",
  "healthy",
  "healthy",
  "canary",
  "healthy",
  "healthy",
  "held",
  "healthy",
  "stale",
];

function make(index) {
  const [name, description, owner, records, rate, hit, p99] = NAMES[index] ?? [
    `team-${index}-features`,
    null,
    `team-${index % 9}`,
    Math.floor(random() * 4e6),
    random() * 400,
    90 + random() * 10,
    20 + random() * 30,
  ];
  const state = states[index] ?? "healthy";
  const top = 38 + (index % 7);
  const label = (v) => `nightly-2026-11-${String(26 - (top - v)).padStart(2, "0")}`;
  const versions = [];
  const add = (v, s, minutes, share, more = {}) =>
    versions.push({
      dataset: name,
      version: v,
      state: s,
      current: s === "active",
      label: label(v),
      as_of: ago(minutes + 130),
      records: Math.floor(records * share),
      bytes: Math.floor(records * share * 181),
      raw_bytes: Math.floor(records * share * 402),
      content_digest: "9f2c1a77b3e04d55",
      created_at: ago(minutes + 4),
      ready_at: ago(minutes + 1),
      activated_at: ["active", "retired", "bad"].includes(s) ? ago(minutes) : null,
      source: { format: "parquet", key: ["learner_id"], collect: true, order_by: ["score:desc"], limit: "20" },
      gates: gates(records * share, records, true),
      reason: null,
      code: null,
      problems: [],
      duplicates_dropped: 0,
      progress: null,
      held: false,
      activate: true,
      ...more,
    });
  let current = top;
  const history = [];
  let seq = 9000 + index * 50;
  const event = (minutes, what, more) =>
    history.push({
      seq: (seq -= 1),
      at: ago(minutes),
      event: what,
      version: null,
      from: null,
      to: null,
      actor: "anonymous",
      request_id: "01a2080f-8fdb-7690-a1af-2f250ecaf712",
      reason: null,
      ...more,
    });
  let hold = null;
  if (state === "rolled_back") {
    current = top - 1;
    add(top + 1, "ready", 22, 1.004);
    add(top, "bad", 312, 0.52, { reason: "half of the learners are missing" });
    add(top - 1, "active", 1500, 1.0, { activated_at: ago(268) });
    add(top - 2, "retired", 2940, 0.991);
    add(top - 3, "rejected", 3300, 0.04, {
      gates: gates(records * 0.04, records, false),
      reason: "refused by max_shrink_percent: 96 % fewer records than version 36",
    });
    add(top - 4, "failed", 4380, 1, {
      records: null,
      bytes: null,
      gates: [],
      reason:
        '3 of 4812221 rows cannot be used; the first is part 2, row 88021: it lacks the field "learner_id" of --key',
      problems: [
        'part 2, row 88021: it lacks the field "learner_id" of --key',
        'part 2, row 90117: the field "learner_id" of --key is the fraction "2.5"',
      ],
    });
    event(22, "published", { version: top + 1 });
    event(268, "held", { reason: "half of the learners are missing" });
    event(268, "rolled_back", { from: top, to: top - 1, reason: "half of the learners are missing" });
    event(312, "activated", { from: top - 1, to: top });
    event(313, "published", { version: top });
    event(316, "admitted", { version: top });
    event(1500, "activated", { from: top - 2, to: top - 1 });
    event(2940, "activated", { from: top - 4, to: top - 2 });
    hold = { at: ago(268), reason: "half of the learners are missing", actor: "anonymous" };
  } else {
    const fresh = state === "stale" ? 3200 : 40 + random() * 600;
    if (state === "canary") add(top + 1, "ready", 95, 1.02);
    if (index === 1)
      add(top + 1, "building", 2, 1, {
        records: null,
        bytes: null,
        gates: [],
        progress: { phase: "building", rows: 5_220_114, bytes: 1_204_000_000, total_bytes: 2_400_000_000 },
      });
    add(top, "active", fresh, 1);
    add(top - 1, "retired", fresh + 1440, 0.996);
    add(top - 2, "retired", fresh + 2880, 0.99);
    event(fresh, "activated", { from: top - 1, to: top });
    event(fresh + 1440, "activated", { from: top - 2, to: top - 1 });
    if (state === "held") {
      hold = { at: ago(700), reason: "exam week", actor: "anonymous" };
      event(700, "held", { reason: "exam week" });
    }
    if (state === "canary") event(90, "canary_started", { version: top + 1, reason: "new ranking model" });
  }
  history
    .sort((a, b) => (a.at < b.at ? 1 : -1))
    .forEach((line, at) => {
      line.seq = 9000 - at;
    });
  // A rollback that holds is two lines with one number.
  for (const line of history.filter((one) => one.event === "held" && one.at === hold?.at))
    line.seq = history.find((one) => one.at === line.at).seq;
  const active = versions.find((v) => v.current);
  const canary =
    state === "canary"
      ? {
          version: top + 1,
          percent: 10,
          experiment: "degrees-nov",
          started_at: ago(90),
          arms: {
            current: { lookups: 1_020_440, hits: 931_004, misses: 89_436, errors: 0, p50_us: 9.1, p99_us: 44 },
            canary: { lookups: 113_201, hits: 106_998, misses: 6_203, errors: 0, p50_us: 9.3, p99_us: 46 },
          },
        }
      : null;
  return {
    rate,
    hit,
    p99,
    versions,
    history,
    current,
    resource: {
      dataset: name,
      current,
      held: Boolean(hold),
      hold,
      state,
      canary,
      stale: state === "stale",
      last_push_at: active.ready_at,
      watch: null,
      config: {
        retain: 3,
        content_type: "application/json",
        compression: "lz4",
        gates: {
          min_records: 1000,
          max_shrink_percent: 20,
          max_growth_percent: 400,
          required_keys: null,
          required_fields: ["course", "score"],
          max_null_percent: { score: 5 },
        },
        retire_grace_seconds: 600,
        watch: "roll_back",
        expected_push_interval_seconds: 86400,
        owner,
        description,
      },
      versions: versions.length,
      records: active.records,
      bytes: active.bytes,
      activated_at: active.activated_at,
      as_of: active.as_of,
      created_at: ago(90000),
    },
  };
}

function gates(seen, usual, passed) {
  const shrink = Math.max(0, Math.round((1 - seen / usual) * 1000) / 10);
  return [
    {
      gate: "min_records",
      limit: 1000,
      observed: Math.floor(seen),
      passed: true,
      detail: `${Math.floor(seen)} records; the fewest allowed are 1000`,
    },
    {
      gate: "max_shrink_percent",
      limit: 50,
      observed: shrink,
      passed,
      detail: `${shrink} % fewer records than the current version; at most 50 % are allowed`,
    },
    {
      gate: "max_growth_percent",
      limit: 400,
      observed: 0,
      passed: true,
      detail: "0 % more records; at most 400 % are allowed",
    },
    {
      gate: "required_fields",
      limit: 2,
      observed: 2,
      passed: true,
      detail: "course and score are in every record sampled",
    },
    {
      gate: "max_null_percent",
      limit: 5,
      observed: 0.2,
      passed: true,
      detail: "score is null in 0.2 % of the records",
    },
  ];
}

function series(dataset) {
  const length = 1440;
  const start = Math.floor(NOW / MINUTE) * MINUTE - (length - 1) * MINUTE;
  const bad = dataset.history.find((e) => e.event === "rolled_back");
  const from = bad ? Date.parse(dataset.history.find((e) => e.to === bad.from).at) : 0;
  const to = bad ? Date.parse(bad.at) : 0;
  const [lookups, hits, errors, p99] = [[], [], [], []];
  for (let minute = 0; minute < length; minute += 1) {
    const at = start + minute * MINUTE;
    const day = 0.52 + 0.48 * Math.sin((((at / 3_600_000 + 14.5) % 24) / 24) * 2 * Math.PI);
    const n = Math.floor(
      dataset.rate * 60 * (0.25 + day) * (1 + (random() - 0.5) * (0.12 + 1.2 / Math.sqrt(dataset.rate + 1))),
    );
    const down = at >= from && at < to;
    lookups.push(n);
    hits.push(Math.floor((n * Math.min(100, (down ? 51 : (dataset.hit ?? 0)) + (random() - 0.6) * 0.4)) / 100));
    errors.push(0);
    p99.push(
      n
        ? Math.round((dataset.p99 ?? 0) * (0.85 + random() * 0.25 + day * 0.2 + (random() > 0.996 ? 1.4 : 0)) * 10) / 10
        : null,
    );
  }
  return {
    dataset: dataset.resource.dataset,
    start: new Date(start).toISOString(),
    since: new Date(start).toISOString(),
    interval_seconds: 60,
    lookups,
    hits,
    errors,
    p99_us: p99,
    marks: [],
  };
}

function summary(dataset) {
  const day = dataset.series;
  const last = day.lookups.length - 1;
  return {
    dataset: dataset.resource.dataset,
    lookups_per_second: day.lookups[last] / 60,
    hit_percent: day.lookups[last] ? (day.hits[last] / day.lookups[last]) * 100 : null,
    errors: 0,
    p50_us: day.p99_us[last] && day.p99_us[last] / 4,
    p99_us: day.p99_us[last],
    recent: day.lookups.slice(-60),
  };
}

function profile(dataset, number) {
  const version = dataset.versions.find((v) => v.version === number);
  if (!version?.records) return null;
  const worse = version.state === "bad" || version.state === "rejected";
  const number1 = worse
    ? { min: 0, p1: 0, p25: 0, p50: 0.02, p75: 0.05, p99: 0.3, max: 0.8, mean: 0.03 }
    : { min: 0.01, p1: 0.12, p25: 0.48, p50: 0.67, p75: 0.82, p99: 0.98, max: 1, mean: 0.64 };
  return {
    version: number,
    records: version.records,
    sampled: 200_000,
    objects: 200_000,
    key_bytes: { min: 2, p50: 7, p90: 8, p99: 8, max: 9 },
    value_bytes: { min: 81, p50: 388, p90: 610, p99: 902, max: 1804 },
    fields: {
      course: { present_percent: 100, null_percent: 0, types: { string: 200000 }, distinct: worse ? 812 : 4120 },
      score: {
        present_percent: 100,
        null_percent: worse ? 31.4 : 0.2,
        types: { number: 199600 },
        distinct: 91_204,
        number: number1,
      },
      rank: {
        present_percent: 100,
        null_percent: 0,
        types: { number: 200000 },
        distinct: 20,
        number: { min: 1, p1: 1, p25: 4, p50: 9, p75: 14, p99: 20, max: 20, mean: 9.2 },
      },
      ...(worse ? {} : { why: { present_percent: 98.7, null_percent: 1.1, types: { string: 195000 }, distinct: 212 } }),
      level: {
        present_percent: 100,
        null_percent: 0,
        types: worse ? { string: 200000 } : { string: 120000, number: 80000 },
        distinct: 5,
      },
    },
    samples: [
      { key: "42", value: [{ course: "databases", score: 0.93, rank: 1, why: "finished algorithms" }] },
      { key: "77123", value: [{ course: "statistics", score: 0.88, rank: 1, why: null }] },
    ],
  };
}

const value = (v) => [
  { course: "databases", score: v % 2 ? 0.93 : 0.91, rank: 1, why: "finished algorithms", level: "intermediate" },
  { course: "networks", score: 0.71, rank: 2, why: "popular in your class", level: "beginner" },
];

export function start(port, number) {
  const datasets = new Map();
  for (let index = 0; index < number; index += 1) {
    const dataset = make(index);
    dataset.series = series(dataset);
    datasets.set(dataset.resource.dataset, dataset);
  }
  const all = () => [...datasets.values()].sort((a, b) => a.resource.dataset.localeCompare(b.resource.dataset));
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://x");
    const json = (body, status = 200) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    const problem = (status, code, detail) =>
      json(
        {
          type: `urn:tidetable:problem:${code}`,
          title: code.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase()),
          status,
          detail,
          code,
          retryable: false,
          request_id: "01a2080f-0000",
        },
        status,
      );
    const file =
      url.pathname === "/" ? "index.html" : url.pathname.startsWith("/console/") ? path.basename(url.pathname) : null;
    if (file) {
      const bytes = await readFile(path.join(FILES, file)).catch(() => null);
      if (!bytes) return problem(404, "route_not_found", file);
      response.writeHead(200, {
        "content-type": TYPES[file.split(".").pop()],
        "content-security-policy": POLICY,
        "cache-control": "no-cache",
      });
      return response.end(bytes);
    }
    const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
    if (url.pathname === "/version")
      return json({
        name: "tidetable",
        version: "0.1.0",
        api: "v1",
        environment: process.env.ENVIRONMENT ?? "production",
        hostname: "tide-eu-1",
        listen: "127.0.0.1:7070",
        started_at: ago(9000),
      });
    if (url.pathname === "/readyz")
      return json({ status: "ok", datasets: datasets.size, unusable: [], accepts_changes: true });
    if (url.pathname === "/v1/datasets") return json({ datasets: all().map((d) => d.resource), next: null });
    if (url.pathname === "/v1/pushes")
      return json({ pushes: all().flatMap((d) => d.versions.filter((v) => v.progress)), next: null });
    if (url.pathname === "/v1/series") return json({ datasets: all().map(summary), next: null });
    const dataset = datasets.get(parts[2]);
    if (parts[1] !== "datasets" || !dataset)
      return problem(404, "dataset_not_found", `there is no dataset ${parts[2]}`);
    const rest = parts.slice(3);
    if (request.method !== "GET")
      return problem(
        409,
        "current_changed",
        `version ${dataset.current} of ${parts[2]} was expected to be current, but it is version ${dataset.current + 1}: nothing was changed`,
      );
    if (rest.length === 0) return json(dataset.resource);
    if (rest[0] === "versions" && rest[2] === "profile") {
      const made = profile(dataset, Number(rest[1]));
      return made ? json(made) : problem(404, "version_not_found", "no profile");
    }
    if (rest[0] === "versions") return json({ versions: dataset.versions, next: null });
    if (rest[0] === "history") return json({ events: dataset.history, next: null });
    if (rest[0] === "series") return json({ ...dataset.series, now: summary(dataset) });
    if (rest[0] === "keys" && rest[2] === "history") {
      return json({
        key: rest[1],
        versions: dataset.versions
          .filter((v) => v.records)
          .map((v) =>
            v.state === "bad"
              ? { version: v.version, found: false }
              : { version: v.version, found: true, value: value(v.version) },
          ),
      });
    }
    if (rest[0] === "diff") {
      const [from, to] = ["from", "to"].map((name) => Number(url.searchParams.get(name)));
      return setTimeout(
        () =>
          json({
            dataset: parts[2],
            from,
            to,
            added: 18_204,
            removed: 2_310_488,
            changed: 402_118,
            equal: 2_081_530,
            fields: { score: 402_118, why: 120_411, rank: 88_020 },
            fields_exact: false,
            samples: {
              added: [{ key: "99120", to: value(1) }],
              removed: [
                { key: "42", from: value(1) },
                { key: "7", from: value(2) },
              ],
              changed: [
                { key: "77123", from: value(1), to: value(2) },
                { key: "81002", from: value(2), to: value(1) },
              ],
            },
          }),
        1500,
      );
    }
    return problem(404, "route_not_found", "no such route");
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await start(Number(process.argv[2] ?? 7171), Number(process.argv[3] ?? 16));
  console.log(`http://127.0.0.1:${process.argv[2] ?? 7171}`);
}
