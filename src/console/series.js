// What the server kept of each minute, made fit to be drawn; and which version served when.

import { h } from "./dom.js";
import * as f from "./format.js";
import { eventOf, glyph } from "./words.js";

export const MINUTE = 60_000;
const MARKED = new Set(["activated", "rolled_back", "canary_started", "canary_ended", "held", "released", "rejected"]);

/** The last `minutes` of a series, several minutes together where the screen has fewer points. */
export function buckets(series, minutes, points) {
  const start = f.instant(series.start);
  const length = series.lookups.length;
  const first = Math.max(0, length - minutes);
  const together = Math.max(1, Math.ceil((length - first) / Math.max(60, points / 1.5)));
  const made = [];
  for (let at = first; at < length; at += together) {
    made.push(bucket(series, start, at, Math.min(length, at + together)));
  }
  return made.length ? made : [empty(start, 1)];
}

const empty = (at, minutes) => ({
  at,
  minutes,
  known: 0,
  lookups: 0,
  hitCount: 0,
  errors: 0,
  rate: null,
  hits: null,
  p99: null,
});

function bucket(series, start, from, to) {
  const made = empty(start + from * MINUTE, to - from);
  for (let at = from; at < to; at += 1) {
    if (series.lookups[at] === null) continue;
    made.known += 1;
    made.lookups += series.lookups[at];
    made.hitCount += series.hits[at];
    made.errors += series.errors[at];
    const p99 = series.p99_us[at];
    if (p99 !== null) made.p99 = Math.max(made.p99 ?? 0, p99);
  }
  if (made.known) made.rate = made.lookups / (made.known * 60);
  made.hits = hitRate(made);
  return made;
}

/** In percent, of what was answered: what failed is neither found nor absent. Null if nothing was. */
export function hitRate({ lookups, errors, hitCount }) {
  return lookups > errors ? (hitCount / (lookups - errors)) * 100 : null;
}

/** What happened since then that belongs on a chart, oldest first: of the history as it is now, and
    of what the series has told, which may go back farther. */
export function marksOf(events, series, from) {
  const seen = new Set(events.map(nameOf));
  return (
    [...events, ...(series.marks ?? []).filter((mark) => !seen.has(nameOf(mark))).reverse()]
      .filter((event) => MARKED.has(event.event) && f.instant(event.at) >= from)
      // A rollback that holds is one thing, told in two lines.
      .filter(
        (event, _, all) => event.event !== "held" || !all.some((other) => other.seq === event.seq && other !== event),
      )
      .map((event) => ({ ...event, at: f.instant(event.at) }))
      .reverse()
  );
}

const nameOf = (event) => `${event.seq} ${event.event}`;

/** What happened, in one line. */
export function markText(mark) {
  const what = eventOf(mark.event).word;
  const move =
    mark.to === null
      ? mark.version === null
        ? ""
        : ` ${mark.version}`
      : mark.from === null
        ? ` ${mark.to}`
        : ` ${mark.from} → ${mark.to}`;
  return `${what}${move}, ${mark.actor}${mark.reason ? `: ${mark.reason}` : ""}`;
}

/** Which version served when, as a lane above the charts. */
export function lane(chart, data, width) {
  const end = chart.buckets[0].at + chart.spanMs();
  const swaps = chart.marks.filter((mark) => mark.to !== null);
  const states = new Map(data.versions.map((version) => [version.version, version]));
  const served = [];
  let since = chart.buckets[0].at;
  let version = swaps.length ? swaps[0].from : data.dataset.current;
  for (const swap of swaps) {
    const at = Math.min(end, Math.max(since, swap.at));
    served.push({ version, since, until: at });
    [since, version] = [at, swap.to];
  }
  served.push({ version, since, until: end });
  const gutter = chart.width - width;
  return h(
    "svg",
    {
      class: "lane",
      key: "lane",
      viewBox: `0 0 ${chart.width} 36`,
      width: chart.width,
      height: 36,
      role: "img",
      "aria-label": laneText(served, states),
    },
    h("text", { class: "lane-word", x: 0, y: 26.5 }, "serving"),
    served
      .filter((s) => s.version !== null)
      .map((s, at) => {
        const x = Math.max(gutter, chart.x(s.since));
        const wide = Math.max(1.5, chart.x(s.until) - x - 1.5);
        const bad = states.get(s.version)?.state === "bad";
        return h(
          "g",
          { class: `lane-part${bad ? " is-bad" : ""}${at === served.length - 1 ? " is-now" : ""}` },
          h("rect", { x: x.toFixed(1), y: 14, width: wide.toFixed(1), height: 18, rx: 4 }),
          wide > 22 ? h("text", { x: (x + 7).toFixed(1), y: 26.8 }, laneLabel(s.version, states, wide, bad)) : null,
        );
      }),
    canaryLine(chart, data, end),
    chart.marks.map((mark) => {
      const { shape: drawn, tone } = eventOf(mark.event);
      // The shape of what happened, in 10 pixels above the lane.
      return h(
        "g",
        {
          class: `lane-mark tone-${tone}`,
          transform: `translate(${(chart.x(mark.at) - 5).toFixed(1)} 1) scale(0.625)`,
        },
        glyph(drawn),
      );
    }),
  );
}

function laneLabel(version, states, wide, bad) {
  const label = states.get(version)?.label;
  const long = `${version}${bad ? ", bad" : ""}${label ? ` · ${label}` : ""}`;
  if (long.length * 6.6 < wide - 12) return long;
  const short = `${version}${bad ? ", bad" : ""}`;
  return short.length * 6.6 < wide - 10 ? short : `${version}`.length * 7 < wide - 8 ? `${version}` : "";
}

function laneText(served, states) {
  const parts = served
    .filter((s) => s.version !== null)
    .map((s) => {
      const bad = states.get(s.version)?.state === "bad" ? ", later marked bad," : "";
      return `version ${s.version}${bad} from ${f.hour(s.since)}`;
    });
  return parts.length ? `What served: ${parts.join("; ")}` : "Nothing served";
}

function canaryLine(chart, data, end) {
  const { canary } = data.dataset;
  if (!canary) return null;
  const from = Math.max(chart.buckets[0].at, f.instant(canary.started_at) ?? 0);
  return h("rect", {
    class: "lane-canary",
    x: chart.x(from).toFixed(1),
    y: 33.5,
    width: Math.max(2, chart.x(end) - chart.x(from)).toFixed(1),
    height: 2.5,
    rx: 1,
  });
}
