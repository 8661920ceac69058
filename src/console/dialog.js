// The dialog before anything is changed: it says exactly what will happen, asks why, sends, and
// shows what the server said if it did not do it. The same answer to "again" is never done twice:
// each dialog has its own idempotency key for what it asks.

import * as api from "./api.js";
import { draw, h, toast } from "./dom.js";
import { shape } from "./words.js";

/** `plan(values)` gives {title, from, to, points, fields, confirm, danger, request, done}, with
    `request` {method, path, body, key}: what is sent. It is made anew with every choice. */
export function confirm(page, plan, values = {}) {
  new Dialog(page, plan, values).open();
}

class Dialog {
  constructor(page, plan, values) {
    Object.assign(this, { page, makePlan: plan, values, busy: false, problem: null, keys: new Map() });
  }

  open() {
    this.opener = document.activeElement;
    this.openerKey = this.opener?._key;
    this.element = h("dialog", {
      class: "confirm",
      "aria-labelledby": "dialog-title",
      "aria-describedby": "dialog-points",
      onclose: () => this.closed(),
    });
    document.body.append(this.element);
    this.render();
    this.element.showModal();
    this.element.querySelector("[name=reason]").focus();
  }

  // The button may be another one now, or gone.
  closed() {
    this.element.remove();
    if (this.opener?.isConnected) this.opener.focus();
    else document.querySelector("main h1")?.focus();
  }

  set(name, value) {
    this.values[name] = value;
    this.render();
  }

  render() {
    const plan = this.makePlan(this.values, (name, value) => this.set(name, value));
    this.plan = plan;
    const { server } = this.page;
    draw(
      this.element,
      h(
        "form",
        { method: "dialog", novalidate: true, onsubmit: (e) => this.submit(e) },
        h(
          "p",
          { class: "dialog-where" },
          h("strong", { class: "environment" }, server?.environment ?? "no environment named"),
          h(
            "span",
            { class: "address" },
            [server?.hostname, server?.listen ?? location.host].filter(Boolean).join(" · "),
          ),
        ),
        h("h2", { id: "dialog-title" }, plan.title),
        plan.to
          ? h(
              "div",
              { class: "swap" },
              plan.from
                ? [side("Now", plan.from), h("span", { class: "swap-arrow", "aria-hidden": "true" }, "→")]
                : null,
              side(plan.from ? "Then" : "To be served", plan.to),
            )
          : null,
        plan.fields?.length ? h("div", { class: "dialog-fields" }, plan.fields) : null,
        h(
          "div",
          { id: "dialog-points" },
          h("h3", {}, "What will happen"),
          h(
            "ul",
            { class: "points" },
            plan.points.filter(Boolean).map((point) => h("li", {}, point)),
          ),
        ),
        h(
          "div",
          { class: "reason" },
          h(
            "label",
            { for: "dialog-reason" },
            "Reason ",
            h("span", { class: "faint" }, "kept in the history, for everybody to read"),
          ),
          h("input", {
            id: "dialog-reason",
            name: "reason",
            maxlength: 500,
            autocomplete: "off",
            required: true,
            placeholder: plan.hint ?? "",
            "aria-invalid": this.noReason ? "true" : null,
            "aria-describedby": this.noReason ? "dialog-no-reason" : null,
            oninput: (e) => {
              this.values.reason = e.target.value;
              if (this.noReason) {
                this.noReason = false;
                this.render();
              }
            },
          }),
          this.noReason
            ? h("p", { class: "problem", id: "dialog-no-reason", role: "alert" }, "Say why, in a few words.")
            : null,
        ),
        this.problem ? problemOf(this.problem, this) : null,
        h(
          "footer",
          {},
          h("button", { type: "button", onclick: () => this.element.close() }, "Cancel"),
          h(
            "button",
            {
              type: "submit",
              class: plan.danger ? "danger solid" : "primary",
              disabled: Boolean(plan.impossible),
              "aria-disabled": this.busy ? "true" : null,
            },
            this.busy ? "Working…" : plan.confirm,
          ),
        ),
      ),
    );
  }

  async submit(event) {
    event.preventDefault();
    if (this.busy || this.plan.impossible) return;
    const reason = (this.values.reason ?? "").trim();
    if (!reason) {
      this.noReason = true;
      this.render();
      this.element.querySelector("[name=reason]").focus();
      return;
    }
    const { method, path, body, key } = this.plan.request(reason);
    [this.busy, this.problem] = [true, null];
    this.render();
    try {
      const answer = await api.send(method, path, body, key ? this.keyOf(path, body) : undefined);
      this.element.close();
      toast(this.plan.done(answer));
      // What was looked up of a version may be otherwise now.
      this.page.refresh();
    } catch (error) {
      this.problem = error.document ?? { title: "The console failed", detail: error.message };
      this.busy = false;
      this.render();
    }
  }

  // The same request has the same key, also when it is sent again.
  keyOf(path, body) {
    const asked = `${path} ${JSON.stringify(body)}`;
    if (!this.keys.has(asked)) this.keys.set(asked, `console-${randomId()}`);
    return this.keys.get(asked);
  }
}

// crypto.randomUUID is there on pages of https and of this machine only.
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const side = (word, version) =>
  h(
    "div",
    { class: "swap-side" },
    h("span", { class: "note" }, word),
    h(
      "span",
      { class: "swap-version" },
      `Version ${version.version}`,
      version.label ? h("span", { class: "label" }, version.label) : null,
    ),
    h("span", { class: "faint" }, version.note),
  );

function problemOf(problem, dialog) {
  const stale = ["current_changed", "canary_changed"].includes(problem.code);
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", {}, shape("triangle"), h("strong", {}, ` ${problem.title ?? "It was not done"}`)),
    h("p", {}, problem.detail),
    problem.gates?.length
      ? h(
          "ul",
          {},
          problem.gates
            .filter((gate) => !gate.passed)
            .map((gate) => h("li", {}, h("code", {}, gate.gate), ` ${gate.detail ?? ""}`)),
        )
      : null,
    h("p", { class: "faint" }, [
      h("code", {}, problem.code ?? ""),
      problem.request_id ? [" · request ", h("code", {}, problem.request_id)] : null,
    ]),
    stale
      ? h(
          "p",
          {},
          h(
            "button",
            {
              type: "button",
              class: "link",
              onclick: () => {
                dialog.element.close();
                dialog.page.refresh();
              },
            },
            "Look at what is current now",
          ),
        )
      : null,
  );
}
