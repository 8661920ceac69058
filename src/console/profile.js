// What is in a version, beside what is in the version before: sizes, and each field's presence,
// nulls, types and range.

import { h } from "./dom.js";
import * as f from "./format.js";
import { json } from "./json.js";

const WIDTH = 120;
/** From so many points, or so many percent, a difference is one to look at. */
const POINTS = 5;
const PERCENT = 25;

export function profiles(profile, before, version, versionBefore) {
  const heading = h(
    "div",
    { class: "card-head" },
    h("h2", { id: "profile-heading" }, "Profile"),
    before && before !== "reading" ? h("span", { class: "faint" }, `beside version ${versionBefore.version}`) : null,
  );
  if (version.records === null) return null;
  if (!profile || profile === "reading") {
    return h(
      "section",
      { class: "card", key: "profile" },
      heading,
      h(
        "p",
        { class: profile === "reading" ? "loading" : "empty-line" },
        profile === "reading" ? "Reading…" : "There is no profile of it: it was built before profiles were.",
      ),
    );
  }
  const other = before && before !== "reading" ? before : null;
  return h(
    "section",
    { class: "card profile", "aria-labelledby": "profile-heading", key: "profile" },
    heading,
    profile.sampled && profile.sampled < profile.records
      ? h(
          "p",
          { class: "faint" },
          `Fields from a sample of ${f.count(profile.sampled)} of ${f.count(profile.records)} records.`,
        )
      : null,
    sizes(profile, other, versionBefore),
    fields(profile, other, versionBefore),
    samples(profile),
  );
}

function sizes(profile, other, versionBefore) {
  const of = (p, which) =>
    p?.[which] ? `${f.bytes(p[which].p50)} · ${f.bytes(p[which].p99)} · ${f.bytes(p[which].max)}` : "–";
  const row = (word, which) =>
    profile[which]
      ? h(
          "tr",
          {},
          h("th", { scope: "row" }, word),
          h("td", { class: "number" }, of(profile, which)),
          other ? h("td", { class: "number faint" }, of(other, which)) : null,
        )
      : null;
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Sizes, a table" },
    h(
      "table",
      { class: "lines" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Bytes: half below · 99 % below · most"),
          h("th", { scope: "col", class: "number" }, "This"),
          other ? h("th", { scope: "col", class: "number" }, `In ${versionBefore.version}`) : null,
        ),
      ),
      h("tbody", {}, row("A key", "key_bytes"), row("A value", "value_bytes")),
    ),
  );
}

function fields(profile, other, versionBefore) {
  const names = [...new Set([...Object.keys(profile.fields ?? {}), ...Object.keys(other?.fields ?? {})])];
  if (names.length === 0) return null;
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Fields, a table" },
    h(
      "table",
      { class: "lines fields" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["Field", "Types", "There", "Null", "Distinct", "Numbers, from 1 % to 99 %"].map((word, at) =>
            h("th", { scope: "col", class: at > 1 && at < 5 ? "number" : null }, word),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        names.map((name) => fieldRow(name, profile.fields[name], other?.fields?.[name], versionBefore, Boolean(other))),
      ),
    ),
  );
}

function fieldRow(name, now, was, versionBefore, compared) {
  if (!now) {
    return h(
      "tr",
      { key: name, class: "is-gone" },
      h("th", { scope: "row" }, h("code", {}, name)),
      h("td", { class: "loud" }, `gone, was in ${versionBefore.version}`),
      h("td", { class: "number" }, "0 %"),
      h("td", {}),
      h("td", {}),
      h("td", {}),
    );
  }
  const types = Object.keys(now.types ?? {})
    .filter((type) => type !== "null")
    .join(", ");
  const typesBefore = was
    ? Object.keys(was.types ?? {})
        .filter((type) => type !== "null")
        .join(", ")
    : types;
  return h(
    "tr",
    { key: name },
    h("th", { scope: "row" }, h("code", {}, name), compared && !was ? h("span", { class: "loud note" }, "new") : null),
    h("td", {}, types, types === typesBefore ? null : h("span", { class: "loud note" }, `was ${typesBefore}`)),
    share(now.present_percent, was?.present_percent),
    share(now.null_percent, was?.null_percent),
    h("td", { class: "number" }, f.count(now.distinct), was ? delta(was.distinct, now.distinct) : null),
    h("td", {}, now.number ? numbers(now.number, was?.number) : null),
  );
}

function share(now, was) {
  const moved = was !== undefined && Math.abs(now - was) >= 0.05;
  return h(
    "td",
    { class: "number" },
    f.percent(now),
    moved ? h("span", { class: Math.abs(now - was) >= POINTS ? "loud note" : "note" }, `was ${f.percent(was)}`) : null,
  );
}

function delta(was, now) {
  const text = f.change(was, now);
  const loud = was && Math.abs(now / was - 1) * 100 >= PERCENT;
  return text === "±0 %" || text === "" ? null : h("span", { class: loud ? "loud note" : "note" }, text);
}

const plain = (n) =>
  n === null || n === undefined
    ? "–"
    : Math.abs(n) >= 100_000
      ? f.count(n)
      : Number(n).toLocaleString("en", { maximumSignificantDigits: 4 });

// A box from the first quartile to the third on a line from 1 % to 99 %; the version before is
// drawn above on the same scale.
function numbers(now, was) {
  const all = [now, was].filter(Boolean);
  const low = Math.min(...all.map((n) => n.p1 ?? n.min));
  const high = Math.max(...all.map((n) => n.p99 ?? n.max));
  const x = (value) => (4 + ((value - low) / (high - low || 1)) * (WIDTH - 8)).toFixed(1);
  const box = (n, y, name) =>
    h(
      "g",
      { class: name },
      h("line", { x1: x(n.p1 ?? n.min), x2: x(n.p99 ?? n.max), y1: y, y2: y }),
      h("rect", { x: x(n.p25), width: Math.max(1.5, x(n.p75) - x(n.p25)).toFixed(1), y: y - 3.5, height: 7, rx: 1.5 }),
      h("line", { class: "middle", x1: x(n.p50), x2: x(n.p50), y1: y - 4.5, y2: y + 4.5 }),
    );
  const loud =
    was && was.p50 !== now.p50 && Math.abs(now.p50 - was.p50) > 0.25 * (was.p99 - was.p1 || Math.abs(was.p50) || 1);
  return h(
    "span",
    { class: "numbers" },
    h(
      "svg",
      { viewBox: `0 0 ${WIDTH} 22`, width: WIDTH, height: 22, "aria-hidden": "true" },
      was ? box(was, 5.5, "box-before") : null,
      box(now, was ? 16 : 11, "box-now"),
    ),
    h(
      "span",
      {},
      `${plain(now.p1 ?? now.min)} to ${plain(now.p99 ?? now.max)}, half below ${plain(now.p50)}`,
      was && was.p50 !== now.p50 ? h("span", { class: loud ? "loud note" : "note" }, `was ${plain(was.p50)}`) : null,
    ),
  );
}

function samples({ samples: list, samples_withheld: withheld }) {
  if (withheld) return h("p", { class: "faint" }, "Samples are shown to those who may read values.");
  if (!list?.length) return null;
  return h(
    "details",
    { class: "more" },
    h("summary", {}, f.plural(list.length, "sample record")),
    h(
      "ul",
      { class: "samples" },
      list.map((sample) =>
        h(
          "li",
          { key: sample.key },
          h("code", {}, sample.key),
          sample.value === null && sample.text ? h("code", { class: "wrap" }, sample.text) : json(sample.value),
        ),
      ),
    ),
  );
}
