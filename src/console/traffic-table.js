// The charts in words: what each hour, or each few minutes, had, and what happened in it.

import { h } from "./dom.js";
import * as f from "./format.js";
import { MINUTE, hitRate, markText } from "./series.js";

/** How far the reader's clock is from UTC: hours begin where theirs do. */
export const offset = () => new Date().getTimezoneOffset() * MINUTE;

export function table(all, marks, range) {
  const group = range.hours === 1 ? 5 : range.hours === 6 ? 15 : 60;
  const start = (at) => Math.floor((at - offset()) / (group * MINUTE)) * group * MINUTE + offset();
  const nothing = () => ({ lookups: 0, hitCount: 0, errors: 0, minutes: 0, p99: null });
  const rows = new Map();
  for (const bucket of all) {
    const at = start(bucket.at);
    const row = rows.get(at) ?? nothing();
    if (bucket.known) {
      row.lookups += bucket.lookups;
      row.hitCount += bucket.hitCount;
      row.errors += bucket.errors;
      row.minutes += bucket.known;
      row.p99 = bucket.p99 === null ? row.p99 : Math.max(row.p99 ?? 0, bucket.p99);
    }
    rows.set(at, row);
  }
  // The minute that is not over has no figures yet, and may be the first of its row.
  const last = Math.max(...rows.keys());
  for (const mark of marks) if (start(mark.at) > last) rows.set(start(mark.at), nothing());
  return h(
    "details",
    { class: "more", key: "table" },
    h("summary", {}, "The same as a table"),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Traffic, a table" },
      h(
        "table",
        { class: "lines" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["From", "Lookups/s", "Hit rate", "Errors", "Highest p99", "Changes"].map((word, at) =>
              h("th", { scope: "col", class: at > 0 && at < 5 ? "number" : null }, word),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          [...rows].reverse().map(([at, row]) =>
            h(
              "tr",
              { key: at },
              h("th", { scope: "row" }, f.moment(at)),
              h("td", { class: "number" }, row.minutes ? f.rate(row.lookups / (row.minutes * 60)) : "–"),
              h("td", { class: "number" }, f.percent(hitRate(row))),
              h("td", { class: "number" }, row.minutes ? f.exact(row.errors) : "–"),
              h("td", { class: "number" }, f.micros(row.p99)),
              h(
                "td",
                { class: "wrap" },
                marks
                  .filter((m) => m.at >= at && m.at < at + group * MINUTE)
                  .map(markText)
                  .join("; "),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}
