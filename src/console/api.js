// The server's HTTP API, as the console uses it. Addresses are relative, so that the console also
// works behind a proxy that serves it below a path.

import { token } from "./token.js";

const PATIENCE_MS = 15_000;

/** What the server says when it does not do what was asked (RFC 9457), or why it says nothing. */
export class Problem extends Error {
  constructor(document, status, body) {
    super(document.detail ?? document.title ?? `status ${status}`);
    this.document = document;
    this.status = status;
    this.code = document.code;
    /** What was answered, also where it is no problem document. */
    this.body = body;
  }
}

// A number that this language would write otherwise (beyond 2^53, 1.0, 1e400) stays the text that was sent. A
// browser that does not give that text, as those before 2025 may not, rounds it.
const asSent = (_, value, context) =>
  typeof value === "number" && JSON.rawJSON && (context?.source ?? String(value)) !== String(value)
    ? JSON.rawJSON(context.source)
    : value;

/** `reviver`: that of `JSON.parse`. */
async function ask(path, { reviver, ...options } = {}) {
  let response;
  const shown = token();
  const headers = { ...options.headers, ...(shown ? { authorization: `Bearer ${shown}` } : {}) };
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const text = error.name === "TimeoutError" ? "The server did not answer in time" : "The server cannot be reached";
    throw new Problem({ title: text, detail: `${text}.`, code: "unreachable", retryable: true }, 0);
  }
  const text = await response.text();
  let body;
  try {
    body = JSON.parse(text, reviver);
  } catch {
    body = undefined;
  }
  if (!response.ok) {
    const document = body?.code
      ? body
      : { title: `Status ${response.status}`, detail: text.slice(0, 500) || response.statusText };
    throw new Problem(document, response.status, body);
  }
  return body;
}

function limited(signal) {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  return signal ? AbortSignal.any([signal, patience]) : patience;
}

/** Reads JSON. */
export const get = (path, signal) => ask(path, { signal: limited(signal) });

/** Reads what has stored values in it: their numbers are as they are stored. */
export const getValues = (path, signal) => ask(path, { signal: limited(signal), reviver: asSent });

/** The same, of what takes as long as it takes. */
export const getValuesSlowly = (path, signal) => ask(path, { signal, reviver: asSent });

/** Reads JSON, but null where there is none, or where the server is older than that route. */
export const getIfThere = (path, signal) => ifThere(get(path, signal));

/** The same of a profile: the values in its samples are as they are stored, its own figures are numbers. */
export async function getProfileIfThere(path, signal) {
  const found = await ifThere(getValues(path, signal));
  return found && { ...JSON.parse(JSON.stringify({ ...found, samples: [] })), samples: found.samples };
}

async function ifThere(asked) {
  try {
    return await asked;
  } catch (problem) {
    if (problem.status === 404 || problem.status === 410) return null;
    throw problem;
  }
}

/** All pages of a list, up to so many items; `isCut` if there are more. */
export async function getAll(path, name, signal, most = 5000) {
  const items = [];
  let next = null;
  do {
    const join = path.includes("?") ? "&" : "?";
    const page = await get(`${path}${join}limit=1000${next ? `&cursor=${encodeURIComponent(next)}` : ""}`, signal);
    items.push(...page[name]);
    next = page.next;
  } while (next && items.length < most);
  return Object.assign(items, { isCut: Boolean(next) });
}

/** Changes something. The same key and request again does nothing twice. */
export function send(method, path, body, idempotencyKey) {
  const headers = { "content-type": "application/json" };
  if (idempotencyKey) headers["idempotency-key"] = idempotencyKey;
  return ask(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
}

/** The path of a dataset, and of what is below it. */
export const pathOf = (dataset, ...rest) =>
  ["v1/datasets", dataset, ...rest].map((part, at) => (at === 0 ? part : encodeURIComponent(part))).join("/");
