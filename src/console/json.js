// A JSON value as people read it: laid out, and marked where it differs from another one.

import { h } from "./dom.js";

const WIDE = 72;

/** `other`: the value it is compared with; lines that it does not have are marked. */
export function json(value, { other } = {}) {
  const lines = layOut(value, "", "");
  const known = other === undefined ? null : count(layOut(other, "", ""));
  return h(
    "pre",
    { class: "json", tabindex: 0, role: "region", "aria-label": "Value" },
    h(
      "code",
      {},
      lines.map((line) => {
        const bare = line.trim().replace(/,$/, "");
        const fresh = known !== null && !take(known, bare) && /\w/.test(bare);
        return fresh ? h("mark", {}, `${line}\n`) : `${line}\n`;
      }),
    ),
  );
}

function count(lines) {
  const known = new Map();
  for (const line of lines) {
    const bare = line.trim().replace(/,$/, "");
    known.set(bare, (known.get(bare) ?? 0) + 1);
  }
  return known;
}

function take(known, line) {
  const left = known.get(line) ?? 0;
  if (left > 0) known.set(line, left - 1);
  return left > 0;
}

// Small arrays and objects of plain values stay on one line.
function layOut(value, indent, name) {
  const flat = JSON.stringify(value) ?? "undefined";
  if (
    isPlain(value) ||
    (indent !== "" && flat.length + indent.length + name.length < WIDE && !/[[{].*[[{]/.test(flat))
  ) {
    return [indent + name + spaced(value, flat)];
  }
  const list = Array.isArray(value);
  const inside = list
    ? value.map((one) => ["", one])
    : Object.entries(value).map(([key, one]) => [`${JSON.stringify(key)}: `, one]);
  const lines = inside.flatMap(([key, one], at) => {
    const made = layOut(one, `${indent}  `, key);
    if (at < inside.length - 1) made[made.length - 1] += ",";
    return made;
  });
  if (lines.length === 0) return [indent + name + flat];
  return [`${indent}${name}${list ? "[" : "{"}`, ...lines, `${indent}${list ? "]" : "}"}`];
}

// A number that is kept as the text that was sent is one, too (api.js).
const isPlain = (value) => value === null || typeof value !== "object" || Boolean(JSON.isRawJSON?.(value));

function spaced(value, flat) {
  if (isPlain(value)) return flat;
  if (Array.isArray(value)) return `[${value.map((one) => JSON.stringify(one)).join(", ")}]`;
  return `{${Object.entries(value)
    .map(([key, one]) => `${JSON.stringify(key)}: ${JSON.stringify(one)}`)
    .join(", ")}}`;
}
