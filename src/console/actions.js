// What an operator can do, and what each step will do, in words, before it is done.

import * as api from "./api.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";
import * as f from "./format.js";

/** The steps that the dataset as a whole allows now, the most urgent first. */
export function actionsOf(page) {
  const { dataset } = page.data;
  const actions = [];
  if (dataset.canary) {
    actions.push({ name: "promote", word: "Promote canary…", open: () => confirm(page, promote(page)) });
    actions.push({ name: "abort", word: "End canary…", open: () => confirm(page, abort(page)) });
  }
  if (targets(page.data).length) {
    actions.push({
      name: "rollback",
      word: "Roll back…",
      danger: true,
      open: () => confirm(page, rollback(page), { hold: true, to: targets(page.data)[0].version }),
    });
  }
  if (dataset.held) actions.push({ name: "release", word: "Release…", open: () => confirm(page, release(page)) });
  else actions.push({ name: "hold", word: "Hold…", open: () => confirm(page, hold(page)) });
  return actions;
}

/** The steps that one version allows now. */
export function versionActions(page, version) {
  const { dataset } = page.data;
  const actions = [];
  const isCanary = dataset.canary?.version === version.version;
  if (["ready", "retired", "rejected", "bad"].includes(version.state) && !isCanary) {
    actions.push({ name: "activate", word: "Activate…", open: () => confirm(page, activate(page, version)) });
  }
  if (
    knowsCanary(dataset) &&
    ["ready", "retired"].includes(version.state) &&
    !dataset.canary &&
    dataset.current !== null
  ) {
    actions.push({
      name: "canary",
      word: "Canary…",
      open: () => confirm(page, canary(page, version), { percent: "10", experiment: dataset.dataset }),
    });
  }
  return actions;
}

// A server that has canaries says so of every dataset, with null where none runs.
const knowsCanary = (dataset) => dataset.canary !== undefined;

const find = (data, version) => data.versions.find((v) => v.version === version);
const name = (version) => `version ${version.version}${version.label ? ` (${version.label})` : ""}`;
const noteOf = (version) =>
  [
    version.records === null ? null : f.plural(version.records, "record"),
    version.as_of ? `data of ${f.moment(f.instant(version.as_of))}` : null,
  ]
    .filter(Boolean)
    .join(", ");
const sideOf = (version) =>
  version ? { version: version.version, label: version.label, note: noteOf(version) } : null;

/** Versions that a rollback may go to, the server's own choice first. */
function targets({ dataset, versions, events }) {
  if (dataset.current === null) return [];
  const usable = versions.filter((v) => v.state === "retired");
  const order = events.filter((event) => event.to !== null).map((event) => event.to);
  const place = (v) => {
    const at = order.indexOf(v.version);
    return at < 0 ? order.length : at;
  };
  return usable.sort((a, b) => place(a) - place(b) || b.version - a.version);
}

function rollback({ data }) {
  const { dataset } = data;
  const from = find(data, dataset.current);
  return ({ to, hold: holds }, set) => {
    const target = find(data, to);
    return {
      title: `Roll ${dataset.dataset} back to version ${to}`,
      from: sideOf(from),
      to: sideOf(target),
      danger: true,
      confirm: `Roll back to ${to}`,
      hint: "half of the learners are missing",
      fields: [
        h(
          "label",
          {},
          h("span", {}, "Back to"),
          h(
            "select",
            { value: to, onchange: (e) => set("to", Number(e.target.value)) },
            targets(data).map((v, at) =>
              h(
                "option",
                { value: v.version },
                `${v.version}${v.label ? ` · ${v.label}` : ""}${at === 0 ? " (served before)" : ""}`,
              ),
            ),
          ),
        ),
        dataset.held
          ? null
          : h(
              "label",
              { class: "check" },
              h("input", { type: "checkbox", checked: holds, onchange: (e) => set("hold", e.target.checked) }),
              h("span", {}, "Hold the dataset afterwards"),
            ),
      ],
      points: [
        `From the next lookup on, keys are answered from ${name(target)} instead of ${name(from ?? { version: dataset.current })}.${to === targets(data)[0].version ? " It is open already, so the swap takes no time." : " It is opened first."}`,
        `Version ${dataset.current} is marked bad: it is not activated again unless somebody forces it, and a push of the same content is refused.`,
        dataset.held
          ? "The dataset stays held: no push is activated by itself until it is released."
          : holds
            ? "The dataset is held: pushes are accepted and made ready, and none is activated by itself until it is released."
            : "The dataset is not held: the next push that passes its gates is activated by itself.",
        dataset.canary ? `The canary of version ${dataset.canary.version} ends.` : null,
        `If another version than ${dataset.current} is current by then, nothing is done.`,
      ],
      request: (reason) => ({
        method: "POST",
        path: api.pathOf(dataset.dataset, "rollback"),
        key: true,
        body: { to, reason, hold: dataset.held ? true : holds, expect_current: dataset.current },
      }),
      done: (moved) =>
        `Rolled ${dataset.dataset} back from ${moved.from} to ${moved.to}.${moved.marked_bad ? ` ${moved.marked_bad} is marked bad.` : ""}${moved.held ? " The dataset is held." : ""}`,
    };
  };
}

function activate({ data }, version) {
  const { dataset } = data;
  const from = find(data, dataset.current);
  const forced = version.state === "rejected" || version.state === "bad";
  const refused = version.gates
    .filter((gate) => !gate.passed)
    .map((gate) => gate.gate)
    .join(", ");
  return () => ({
    title: `Activate version ${version.version} of ${dataset.dataset}`,
    from: sideOf(from),
    to: sideOf(version),
    danger: forced,
    confirm: forced ? `Force ${version.version}` : `Activate ${version.version}`,
    hint: forced ? "it was right after all" : "checked by hand",
    points: [
      version.state === "rejected"
        ? h("strong", {}, `A gate refused it (${refused || version.reason}). This overrides the gate, and is recorded.`)
        : null,
      version.state === "bad"
        ? h(
            "strong",
            {},
            `It was rolled back from${version.reason ? ` (${version.reason})` : ""}. This brings it back, and is recorded.`,
          )
        : null,
      `It is opened and warmed first, while ${from ? name(from) : "nothing"} goes on serving. Then keys are answered from ${name(version)}, from one lookup to the next.`,
      from ? `Version ${from.version} becomes retired, and can be rolled back to.` : null,
      dataset.held
        ? "The dataset stays held: pushes after this one are not activated by themselves until it is released."
        : "Pushes after this one are activated by themselves, if they pass their gates.",
      dataset.canary
        ? `A canary of version ${dataset.canary.version} runs: the server says whether that is in the way.`
        : null,
      from ? `If another version than ${from.version} is current by then, nothing is done.` : null,
    ],
    request: (reason) => ({
      method: "POST",
      path: api.pathOf(dataset.dataset, "activate"),
      key: true,
      body: { version: version.version, force: forced, reason, expect_current: dataset.current },
    }),
    done: (moved) =>
      `Version ${moved.to} of ${dataset.dataset} is current${moved.from ? `, after ${moved.from}` : ""}.`,
  });
}

function hold({ data: { dataset } }) {
  return () => ({
    title: `Hold ${dataset.dataset}`,
    confirm: "Hold",
    hint: "exam week",
    points: [
      dataset.current === null
        ? "Nothing is served, and nothing will be until somebody activates a version."
        : `Version ${dataset.current} goes on serving.`,
      "Pushes are still accepted, built, verified and made ready. None is activated by itself until the dataset is released.",
      "A person can still activate a version or roll back.",
    ],
    request: (reason) => ({ method: "POST", path: api.pathOf(dataset.dataset, "hold"), key: true, body: { reason } }),
    done: (answer) => (answer.changed ? `${dataset.dataset} is held.` : `${dataset.dataset} was held already.`),
  });
}

function release({ data }) {
  const { dataset, versions } = data;
  const current = find(data, dataset.current);
  const next = versions.find(
    (v) => v.state === "ready" && v.activate && (!current || v.created_at > current.created_at),
  );
  return () => ({
    title: `Release ${dataset.dataset}`,
    confirm: next ? `Release and activate ${next.version}` : "Release",
    hint: "the job is mended",
    from: next ? sideOf(current) : null,
    to: next ? sideOf(next) : null,
    points: [
      dataset.hold
        ? [
            "It was held ",
            f.ago(dataset.hold.at),
            ` by ${dataset.hold.actor}`,
            dataset.hold.reason ? [": ", h("q", {}, dataset.hold.reason)] : "",
          ]
        : null,
      next
        ? `${name(next).replace("v", "V")} is the newest that waits. It is activated now, if its gates still let it pass; else the next one that waits, if there is one.`
        : `No ready version waits to be activated: ${dataset.current === null ? "nothing" : `version ${dataset.current}`} goes on serving.`,
      "Pushes from now on are activated by themselves, if they pass their gates.",
    ],
    request: (reason) => ({
      method: "POST",
      path: api.pathOf(dataset.dataset, "release"),
      key: true,
      body: { reason },
    }),
    done: (answer) => `${dataset.dataset} is released: ${answer.detail}.`,
  });
}

function canary({ data }, version) {
  const { dataset } = data;
  return ({ percent, experiment }, set) => {
    const share = Number(percent);
    const wrong = !(share > 0 && share <= 100);
    return {
      title: `Serve version ${version.version} of ${dataset.dataset} as a canary`,
      confirm: wrong ? "Start canary" : `Start canary at ${share} %`,
      impossible: wrong,
      hint: "compare the new model",
      fields: [
        h(
          "label",
          {},
          h("span", {}, "Percent of units"),
          h("input", {
            type: "number",
            name: "percent",
            min: 0.01,
            max: 100,
            step: "any",
            value: percent,
            "aria-invalid": wrong ? "true" : null,
            oninput: (e) => set("percent", e.target.value),
          }),
        ),
        h(
          "label",
          {},
          h("span", {}, "Experiment"),
          h("input", {
            name: "experiment",
            value: experiment,
            autocomplete: "off",
            oninput: (e) => set("experiment", e.target.value),
          }),
        ),
      ],
      points: [
        wrong
          ? "Choose a share above 0, up to 100 percent."
          : `${share} of 100 units (learners, or keys where a request names none) are answered from ${name(version)}, the others from version ${dataset.current} as now.`,
        "Who gets which is worked out from the experiment's name and the unit: a unit keeps its arm, here and in every dataset of the same experiment.",
        "While the canary runs nothing is activated by itself. It survives restarts, and ends when it is promoted, ended or the dataset is rolled back.",
      ],
      request: (reason) => ({
        method: "PUT",
        path: api.pathOf(dataset.dataset, "canary"),
        body: {
          version: version.version,
          percent: share,
          experiment: experiment || undefined,
          reason,
          expect_canary: null,
        },
      }),
      done: () => `Version ${version.version} of ${dataset.dataset} is served to ${share} % as a canary.`,
    };
  };
}

function promote({ data }) {
  const { dataset } = data;
  const running = dataset.canary;
  const [from, to] = [
    find(data, dataset.current),
    find(data, running.version) ?? { version: running.version, records: null },
  ];
  return () => ({
    title: `Promote the canary of ${dataset.dataset}`,
    confirm: `Promote ${running.version}`,
    hint: "better on all counts",
    from: sideOf(from),
    to: sideOf(to),
    points: [
      `All keys are answered from ${name(to)}, not only those of ${running.percent} % of units. The canary ends.`,
      `Version ${dataset.current} becomes retired, and can be rolled back to.`,
      `If another version than ${dataset.current} is current by then, or another one is the canary, nothing is done.`,
    ],
    request: (reason) => ({
      method: "POST",
      path: api.pathOf(dataset.dataset, "canary", "promote"),
      key: true,
      body: { version: running.version, reason, expect_current: dataset.current },
    }),
    done: (moved) => `The canary is promoted: version ${moved.to ?? running.version} of ${dataset.dataset} is current.`,
  });
}

function abort({ data: { dataset } }) {
  const running = dataset.canary;
  return () => ({
    title: `End the canary of ${dataset.dataset}`,
    confirm: "End canary",
    danger: true,
    hint: "fewer hits than before",
    points: [
      `Every unit is answered from version ${dataset.current} again, also the ${running.percent} % that now get version ${running.version}.`,
      `Version ${running.version} stays as it is: it is not marked bad, and can be activated or tried again.`,
      "Pushes are activated by themselves again, if the dataset is not held.",
      `If another version than ${running.version} is the canary by then, nothing is done.`,
    ],
    request: (reason) => ({
      method: "DELETE",
      path: `${api.pathOf(dataset.dataset, "canary")}?expect_canary=${running.version}&reason=${encodeURIComponent(reason)}`,
    }),
    done: () => `The canary of ${dataset.dataset} is ended: version ${dataset.current} serves everybody.`,
  });
}
