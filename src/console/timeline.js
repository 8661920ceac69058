// The versions of a dataset, newest first, along a line.

import { h } from "./dom.js";
import * as f from "./format.js";
import { versionActions } from "./actions.js";
import { gatesChip, shape, versionChip } from "./words.js";

const MARKS = {
  active: "disc",
  ready: "ring",
  retired: "small",
  failed: "cross",
  rejected: "stop",
  bad: "triangle",
  deleted: "empty",
  receiving: "down",
  building: "dots",
  verifying: "dots",
};

export function timeline(page) {
  const { versions, name } = page.data;
  const kept = versions.filter((version) => version.state !== "deleted");
  const deleted = versions.filter((version) => version.state === "deleted");
  return h(
    "section",
    { class: "card timeline", "aria-labelledby": "versions-heading" },
    h(
      "div",
      { class: "card-head" },
      h("h2", { id: "versions-heading" }, "Versions"),
      h("span", { class: "faint" }, `${f.exact(kept.length)} kept`),
    ),
    kept.length === 0
      ? h(
          "p",
          { class: "empty-line" },
          "No version yet. ",
          h("code", {}, `tidetable push ${name} FILE --key FIELD`),
          " makes one.",
        )
      : null,
    h(
      "ol",
      { class: "rail" },
      kept.map((version) => item(page, version)),
    ),
    deleted.length
      ? h(
          "details",
          { class: "more" },
          h("summary", {}, `${f.plural(deleted.length, "deleted version")}`),
          h(
            "ol",
            { class: "rail" },
            deleted.map((version) => item(page, version)),
          ),
        )
      : null,
  );
}

function item(page, version) {
  const { data } = page;
  const before = versionBefore(data.versions, version);
  const actions = versionActions(page, version);
  return h(
    "li",
    { class: `version-item state-${version.state}`, key: version.version, "data-version": version.version },
    h("span", { class: "rail-mark", "aria-hidden": "true" }, shape(MARKS[version.state])),
    h(
      "div",
      { class: "version-main" },
      h(
        "a",
        { class: "version-name", href: `#/datasets/${data.name}/versions/${version.version}` },
        `Version ${version.version}`,
      ),
      version.label ? h("span", { class: "label" }, version.label) : null,
      versionChip(version.state),
      data.dataset.canary?.version === version.version
        ? h("span", { class: "chip tone-canary" }, shape("diamond"), `Canary, ${data.dataset.canary.percent} %`)
        : null,
    ),
    h(
      "div",
      { class: "version-facts" },
      fact(
        "records",
        version.records === null
          ? null
          : [
              f.count(version.records),
              before?.records
                ? h(
                    "span",
                    { class: "delta", title: `against version ${before.version}` },
                    f.change(before.records, version.records),
                  )
                : null,
            ],
      ),
      fact("size", version.bytes === null ? null : f.bytes(version.bytes)),
      fact("gates", version.gates.length ? gatesChip(version.gates) : null),
      fact(...timeOf(version)),
    ),
    version.reason || version.detail ? h("p", { class: "version-why" }, version.reason ?? version.detail) : null,
    h(
      "div",
      { class: "version-actions" },
      actions.map((action) =>
        h(
          "button",
          {
            type: "button",
            class: "small",
            key: action.name,
            "aria-label": `${action.word} version ${version.version}`,
            onclick: action.open,
          },
          action.word,
        ),
      ),
      before && version.records !== null
        ? h(
            "a",
            { class: "small-link", href: `#/datasets/${data.name}/compare/${before.version}..${version.version}` },
            `Compare with ${before.version}`,
          )
        : null,
    ),
  );
}

const fact = (word, shown) =>
  shown
    ? h(
        "span",
        { class: `fact fact-${word.replace(" ", "-")}` },
        h("span", { class: "fact-word" }, word),
        h("span", {}, shown),
      )
    : null;

function timeOf(version) {
  if (version.state === "active") return ["active since", f.at(version.activated_at)];
  if (version.state === "retired" || version.state === "bad") {
    return version.activated_at ? ["served from", f.at(version.activated_at)] : ["pushed", f.at(version.created_at)];
  }
  return ["pushed", f.at(version.created_at)];
}

/** The version before this one that is worth comparing with: the newest that served well, else
    the newest that can be read and was not refused. */
export function versionBefore(versions, version) {
  const older = versions.filter((v) => v.version < version.version);
  return (
    older.find((v) => ["active", "retired"].includes(v.state)) ??
    older.find((v) => ["bad", "ready"].includes(v.state)) ??
    null
  );
}
