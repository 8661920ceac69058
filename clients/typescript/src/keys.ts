/** How keys and names travel: any text and any bytes, never as something else. */
import { UsageError } from "./errors.js";

/** A key: text, or bytes. */
export type Key = string | Uint8Array;

const SURROGATE = /\p{Surrogate}/u;

/** Refuses what is no key before anything is sent: encoders would quietly look up another one. */
export function checkKey(key: Key): void {
  if (typeof key !== "string" && !(key instanceof Uint8Array)) throw new UsageError("a key is a string or a Uint8Array");
  if (key.length === 0) throw new UsageError("a key is empty");
  if (typeof key === "string") checkText(key, "a key");
}

export function checkText(text: string, what: string): void {
  if (SURROGATE.test(text)) throw new UsageError(`${what} is no Unicode text: it has a lone surrogate`);
}

/** The path segment of a key, and whether it is base64url. URLs resolve `.` and `..` away, encoded or not. */
export function keySegment(key: Key): { segment: string; base64url: boolean } {
  checkKey(key);
  if (typeof key !== "string") return { segment: base64url(key), base64url: true };
  if (key === "." || key === "..") return { segment: base64url(new TextEncoder().encode(key)), base64url: true };
  return { segment: encodeURIComponent(key), base64url: false };
}

/** A dataset as a path segment. The server says what is wrong with a name; `.` and `..` never get there. */
export function datasetSegment(dataset: string): string {
  if (typeof dataset !== "string" || dataset === "" || dataset === "." || dataset === "..") throw new UsageError(`this is no name of a dataset: ${JSON.stringify(dataset)}`);
  checkText(dataset, "the name of a dataset");
  return encodeURIComponent(dataset);
}

/** What two equal keys have in common, also if they are bytes. */
export function identity(key: Key): string {
  return typeof key === "string" ? `t${key}` : `b${base64url(key)}`;
}

/** The keys as a batch names them: all as text, or all in base64url. */
export function batchKeys(keys: readonly Key[]): { keys: string[]; key_encoding?: "base64url" } {
  keys.forEach(checkKey);
  if (keys.every((key) => typeof key === "string")) return { keys: keys as string[] };
  const encoder = new TextEncoder();
  return { keys: keys.map((key) => base64url(typeof key === "string" ? encoder.encode(key) : key)), key_encoding: "base64url" };
}

/** How many bytes a key takes in the body of a batch, its comma included: a control character takes six. */
export function bytesInBatch(key: Key): number {
  const text = typeof key === "string" ? new TextEncoder().encode(JSON.stringify(key)).length : Math.ceil((key.length * 4) / 3) + 2;
  return text + 1;
}

export function base64url(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromBase64url(text: string): Uint8Array {
  return fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
}

/** Throws if it is none. */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
