// One version: what it is, what the gates said of it, and its profile beside the version before.

import * as api from "./api.js";
import { h } from "./dom.js";
import { versionActions } from "./actions.js";
import * as f from "./format.js";
import { profiles } from "./profile.js";
import { versionBefore } from "./timeline.js";
import { chipOf, versionChip } from "./words.js";
import { runningPushes } from "./pushes.js";

export function versionSection(page) {
  const { data, route } = page;
  const number = Number(route.parts[3]);
  const version = data.versions.find((v) => v.version === number);
  if (!version) {
    return h(
      "section",
      { class: "card" },
      h("h2", { tabindex: -1, "data-section-heading": true }, `Version ${route.parts[3]}`),
      h(
        "p",
        { class: "empty-line" },
        "It is not among those that are shown: it was never made, or was deleted long ago.",
      ),
    );
  }
  const before = versionBefore(data.versions, version);
  readProfiles(page, version, before);
  return h(
    "div",
    { class: "version-page", key: number },
    h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "card-head" },
        h(
          "h2",
          { tabindex: -1, "data-section-heading": true },
          `Version ${number}`,
          version.label ? h("span", { class: "label" }, version.label) : null,
        ),
        h(
          "div",
          { class: "actions" },
          versionChip(version.state),
          versionActions(page, version).map((action) =>
            h(
              "button",
              {
                type: "button",
                key: action.name,
                "aria-label": `${action.word} version ${number}`,
                onclick: action.open,
              },
              action.word,
            ),
          ),
          before && version.records !== null
            ? h(
                "a",
                { class: "button", href: `#/datasets/${data.name}/compare/${before.version}..${number}` },
                `Compare with ${before.version}`,
              )
            : null,
        ),
      ),
      version.progress ? runningPushes([version], { named: false }) : null,
      version.damaged ? h("p", { class: "version-why" }, `Damaged on the disk, in ${version.damaged.file}`) : null,
      version.reason || version.detail ? h("p", { class: "version-why" }, version.reason ?? version.detail) : null,
      facts(version),
      version.problems.length
        ? [
            h("h3", {}, "First rows at fault"),
            h(
              "ul",
              { class: "problems" },
              version.problems.map((text) => h("li", {}, text)),
            ),
          ]
        : null,
      version.problems_withheld
        ? h("p", { class: "faint" }, "Rows, keys and values at fault are shown to those who may read or push.")
        : null,
    ),
    gates(version),
    profiles(page.ui.profiles?.get(number), before && page.ui.profiles?.get(before.version), version, before),
  );
}

// The profile of a version never changes: each is read once.
function readProfiles(page, ...versions) {
  const { ui, data } = page;
  ui.profiles ??= new Map();
  for (const version of versions) {
    const readable = version && ["ready", "active", "retired", "rejected", "bad"].includes(version.state);
    if (!readable || ui.profiles.has(version.version)) continue;
    ui.profiles.set(version.version, "reading");
    api
      .getProfileIfThere(api.pathOf(data.name, "versions", String(version.version), "profile"))
      .catch(() => null)
      .then((profile) => {
        ui.profiles.set(version.version, profile);
        page.redraw();
      });
  }
}

function facts(version) {
  const row = (word, shown) =>
    shown === null || shown === undefined
      ? null
      : h(
          "div",
          { key: word, class: word.startsWith("Rows") || word === "Content" ? "wide" : null },
          h("dt", {}, word),
          h("dd", {}, shown),
        );
  const source = Object.entries(version.source ?? {}).map(
    ([name, value]) =>
      `${name}=${Array.isArray(value) ? value.join(",") : typeof value === "object" ? JSON.stringify(value) : value}`,
  );
  return h(
    "dl",
    { class: "facts" },
    row("Records", version.records === null ? null : f.exact(version.records)),
    row("On disk", version.bytes === null ? null : f.bytes(version.bytes)),
    row("Keys and values", version.raw_bytes === null ? null : f.bytes(version.raw_bytes)),
    row("Data as of", version.as_of ? f.at(version.as_of) : null),
    row("Push began", f.at(version.created_at)),
    row("Ready", version.ready_at ? f.at(version.ready_at) : null),
    row("Last activated", version.activated_at ? f.at(version.activated_at) : null),
    row("Equal rows dropped", version.duplicates_dropped || null),
    row("Rows read as", source.length ? h("code", {}, source.join("  ")) : null),
    row("Content", version.content_digest ? h("code", { class: "digest" }, version.content_digest) : null),
  );
}

function gates(version) {
  return h(
    "section",
    { class: "card", "aria-labelledby": "gates-heading", key: "gates" },
    h("div", { class: "card-head" }, h("h2", { id: "gates-heading" }, "Gates")),
    version.gates.length === 0
      ? h("p", { class: "empty-line" }, "No gate has looked at it.")
      : h(
          "div",
          { class: "scroll", tabindex: 0, role: "region", "aria-label": "Gates, a table" },
          h(
            "table",
            { class: "lines" },
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                ["Verdict", "Gate", "Seen", "Limit", ""].map((word, at) =>
                  h(
                    "th",
                    { scope: "col", class: at === 2 || at === 3 ? "number" : null },
                    word || h("span", { class: "hidden" }, "In words"),
                  ),
                ),
              ),
            ),
            h(
              "tbody",
              {},
              [...version.gates]
                .sort((a, b) => a.passed - b.passed)
                .map((gate, at) =>
                  h(
                    "tr",
                    { key: `${gate.gate}-${at}` },
                    h(
                      "td",
                      {},
                      gate.passed
                        ? chipOf({ word: "passed", shape: "check", tone: "good" })
                        : chipOf({ word: "refused", shape: "stop", tone: "bad" }),
                    ),
                    h("th", { scope: "row" }, h("code", {}, gate.gate)),
                    h("td", { class: "number" }, seen(gate.observed)),
                    h("td", { class: "number" }, seen(gate.limit)),
                    h("td", { class: "wrap" }, gate.detail),
                  ),
                ),
            ),
          ),
        ),
  );
}

const seen = (value) =>
  typeof value === "number"
    ? Number.isInteger(value)
      ? f.exact(value)
      : value.toLocaleString("en", { maximumFractionDigits: 2 })
    : value === null || value === undefined
      ? "–"
      : String(value);
