// Pushes that are under way, each with how far it is.

import { h } from "./dom.js";
import * as f from "./format.js";
import { versionChip } from "./words.js";

const PHASES = {
  queued: "waits for its turn",
  fetching: "fetching its data",
  reading: "reading rows",
  building: "writing records",
  verifying: "reading every byte back",
  activating: "opening and activating",
};

/** Versions whose push runs. `named`: say the dataset too. */
export function runningPushes(pushes, { named }) {
  return h(
    "section",
    { class: "pushes", "aria-label": "Running pushes" },
    h("h2", {}, "Running pushes"),
    h(
      "ul",
      {},
      pushes.map((push) => one(push, named)),
    ),
  );
}

function one(push, named) {
  const { progress } = push;
  const href = `#/datasets/${push.dataset}/versions/${push.version}`;
  const name = named ? `${push.dataset} ${push.version}` : `Version ${push.version}`;
  const share = progress?.total_bytes ? Math.min(1, progress.bytes / progress.total_bytes) : null;
  const phase = progress
    ? (PHASES[progress.phase] ?? progress.phase)
    : push.state === "receiving"
      ? "data arrives"
      : "";
  return h(
    "li",
    { key: name },
    versionChip(push.state),
    h("a", { href }, name),
    push.label ? h("span", { class: "label" }, push.label) : null,
    h("progress", {
      "aria-label": `${name}: ${phase}`,
      max: 100,
      value: share === null ? undefined : Math.round(share * 100),
    }),
    h(
      "span",
      { class: "faint" },
      [
        phase,
        share === null ? null : `${Math.round(share * 100)} %`,
        progress?.rows ? `${f.count(progress.rows)} rows` : null,
      ]
        .filter(Boolean)
        .join(" · "),
      " · began ",
      f.ago(push.created_at),
    ),
  );
}
