// The token that the server asks for. It is kept as long as the tab, and stands in no address: an
// address is written to histories and logs.

import { h } from "./dom.js";
import { shape } from "./words.js";

const PLACE = "tidetable-token";
// Where the browser keeps nothing it lasts as long as the page.
let kept = "";

export function token() {
  try {
    return sessionStorage.getItem(PLACE) ?? kept;
  } catch {
    return kept;
  }
}

export function keep(text) {
  kept = text;
  try {
    if (text) sessionStorage.setItem(PLACE, text);
    else sessionStorage.removeItem(PLACE);
  } catch {
    // It lasts as long as the page.
  }
}

/** Asks for a token; `go` is called once one was given. `refused`: the one that was sent is not good. */
export function askForToken(refused, go) {
  return h(
    "section",
    { class: "empty", key: "token" },
    h("h1", { tabindex: -1 }, "This server asks for a token"),
    h(
      "p",
      {},
      "Whoever runs the server makes them with ",
      h("code", {}, "tidetable token create"),
      ". It is kept until you close this tab.",
    ),
    h(
      "form",
      {
        class: "row-form",
        novalidate: true,
        onsubmit: (event) => {
          event.preventDefault();
          const field = event.target.querySelector("input");
          const text = field.value.trim();
          field.value = "";
          if (!text) return field.focus();
          keep(text);
          go();
        },
      },
      h(
        "label",
        {},
        h("span", {}, "Token"),
        h("input", {
          type: "password",
          name: "token",
          autocomplete: "off",
          spellcheck: "false",
          placeholder: "tt_…",
          "aria-invalid": refused ? "true" : null,
          "aria-describedby": refused ? "token-refused" : null,
        }),
      ),
      h("button", { type: "submit", class: "primary" }, "Go on"),
    ),
    refused
      ? h(
          "p",
          { class: "problem", id: "token-refused", role: "alert" },
          shape("triangle"),
          " This token is not good: it is unknown, or has expired, or was revoked.",
        )
      : null,
  );
}
