// States, as a word and a shape each: no state is told by its colour alone.

import { h } from "./dom.js";

const SHAPES = {
  disc: "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11z",
  ring: "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zm0 2a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  small: "M8 5.25a2.75 2.75 0 1 1 0 5.5 2.75 2.75 0 0 1 0-5.5z",
  bars: "M3.5 3h3.2v10H3.5zM9.3 3h3.2v10H9.3z",
  clock:
    "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8zm0 1.9a4.3 4.3 0 1 0 0 8.6 4.3 4.3 0 0 0 0-8.6zM7.2 4.9h1.6v2.9l2 1.3-.9 1.3L7.2 8.7z",
  diamond: "M8 1.4 14.6 8 8 14.6 1.4 8zM8 4.1v7.8L11.9 8z",
  back: "M6.6 2.2 8 3.7 5.9 5.6h3.6a4.4 4.4 0 0 1 0 8.8H4.2v-2h5.3a2.4 2.4 0 0 0 0-4.8H5.9L8 9.7l-1.4 1.5L2 6.6z",
  empty: "M3 7h10v2H3z",
  down: "M7 2h2v6.2l2.3-2.3 1.4 1.4L8 12 3.3 7.3l1.4-1.4L7 8.2zM3 12.5h10v1.7H3z",
  dots: "M2 6.5h3v3H2zM6.5 6.5h3v3h-3zM11 6.5h3v3h-3z",
  cross: "M4.2 2.8 8 6.6l3.8-3.8 1.4 1.4L9.4 8l3.8 3.8-1.4 1.4L8 9.4l-3.8 3.8-1.4-1.4L6.6 8 2.8 4.2z",
  stop: "M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3zM4.5 7v2h7V7z",
  triangle: "M8 1.5 15 14H1zM7.1 6v4h1.8V6zm0 4.8v1.7h1.8v-1.7z",
  check: "M13.3 3.6 14.7 5 6.5 13.2 1.9 8.6l1.4-1.4 3.2 3.2z",
  up: "M8 2.2 13.4 8H10v5.8H6V8H2.6z",
  open: "M4.5 7V5a3.5 3.5 0 0 1 6.7-1.4l-1.7.9A1.6 1.6 0 0 0 6.4 5v2H13v7H3V7z",
  note: "M3 2h10v12H3zm2 3v1.5h6V5zm0 3v1.5h6V8zm0 3v1.2h4V11z",
};

/** A small drawing that says nothing of its own to a screen reader. */
export const shape = (name) => {
  const svg = h("svg", { viewBox: "0 0 16 16", width: 12, height: 12, class: "shape", "aria-hidden": "true" });
  svg.append(glyph(name));
  return svg;
};

/** The same within a drawing, 16 wide and high. */
export const glyph = (name) => h("path", { d: SHAPES[name] ?? SHAPES.small, "fill-rule": "evenodd" });

/** States of a dataset, the most pressing first. */
export const DATASET_STATES = {
  damaged: { word: "Damaged", shape: "triangle", tone: "bad" },
  rolled_back: { word: "Rolled back", shape: "back", tone: "bad" },
  held: { word: "Held", shape: "bars", tone: "held" },
  stale: { word: "Stale", shape: "clock", tone: "warn" },
  canary: { word: "Canary", shape: "diamond", tone: "canary" },
  healthy: { word: "Healthy", shape: "disc", tone: "good" },
  empty: { word: "Empty", shape: "empty", tone: "dim" },
};

const VERSION_STATES = {
  receiving: { word: "Receiving", shape: "down", tone: "busy" },
  building: { word: "Building", shape: "dots", tone: "busy" },
  verifying: { word: "Verifying", shape: "dots", tone: "busy" },
  ready: { word: "Ready", shape: "ring", tone: "ready" },
  active: { word: "Active", shape: "disc", tone: "good" },
  retired: { word: "Retired", shape: "small", tone: "dim" },
  failed: { word: "Failed", shape: "cross", tone: "bad" },
  rejected: { word: "Rejected", shape: "stop", tone: "bad" },
  bad: { word: "Bad", shape: "triangle", tone: "bad" },
  deleted: { word: "Deleted", shape: "empty", tone: "dim" },
};

/** What a line of the history says, and how it looks. `swap`: it changed what is served. */
export const EVENTS = {
  created: { word: "Dataset created", shape: "small", tone: "dim" },
  configured: { word: "Settings changed", shape: "note", tone: "dim" },
  admitted: { word: "Push began", shape: "down", tone: "dim" },
  sealed: { word: "All data received", shape: "down", tone: "dim" },
  published: { word: "Ready", shape: "ring", tone: "ready" },
  rejected: { word: "Refused by a gate", shape: "stop", tone: "bad" },
  failed: { word: "Push failed", shape: "cross", tone: "bad" },
  activated: { word: "Activated", shape: "up", tone: "good", swap: true },
  rolled_back: { word: "Rolled back", shape: "back", tone: "bad", swap: true },
  held: { word: "Held", shape: "bars", tone: "held" },
  released: { word: "Released", shape: "open", tone: "good" },
  deleted: { word: "Deleted", shape: "empty", tone: "dim" },
  canary_started: { word: "Canary started", shape: "diamond", tone: "canary" },
  canary_ended: { word: "Canary ended", shape: "diamond", tone: "dim" },
  erased: { word: "Keys erased", shape: "empty", tone: "dim" },
  erase_lifted: { word: "Erasure lifted", shape: "small", tone: "dim" },
  version_rewritten: { word: "Rewritten without erased keys", shape: "small", tone: "dim" },
  holds_erased: { word: "Pushed with erased keys", shape: "small", tone: "dim" },
};

/** What an event is called that this console does not know yet. */
export const eventOf = (name) =>
  EVENTS[name] ?? {
    word: name.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase()),
    shape: "small",
    tone: "dim",
  };

const chip = ({ word, shape: drawn, tone }, extra) =>
  h("span", { class: `chip tone-${tone}` }, shape(drawn), h("span", {}, word, extra));

/** The state of a dataset: the server's word, or what can be told without it. */
export function stateOf(dataset) {
  if (dataset.state && DATASET_STATES[dataset.state]) return dataset.state;
  if (dataset.held) return "held";
  if (dataset.stale) return "stale";
  if (dataset.canary) return "canary";
  return dataset.current === null ? "empty" : "healthy";
}

export const datasetChip = (dataset) => chip(DATASET_STATES[stateOf(dataset)]);
export const versionChip = (state) => chip(VERSION_STATES[state] ?? { word: state, shape: "small", tone: "dim" });
export const chipOf = chip;

/** "3 passed", or what refused. */
export function gatesChip(gates) {
  const refused = gates.filter((gate) => !gate.passed);
  if (gates.length === 0) return h("span", { class: "faint" }, "no gates ran");
  if (refused.length === 0) return chip({ word: `${gates.length} passed`, shape: "check", tone: "plain" });
  return chip({ word: refused.map((gate) => gate.gate).join(", "), shape: "stop", tone: "bad" });
}
