// Numbers, sizes and times as people read them. The exact figure stands in the title of an element.

import { h } from "./dom.js";

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 1,234 · 12,345 · 1.23 M */
export function count(n) {
  if (n === null || n === undefined) return "–";
  if (n < 100_000) return grouped.format(n);
  return scaled(n, 1000, ["k", "M", "G", "T"]);
}

/** All digits. */
export const exact = (n) => (n === null || n === undefined ? "–" : grouped.format(n));

/** 512 B · 1.24 MB */
export function bytes(n) {
  if (n === null || n === undefined) return "–";
  return n < 1000 ? `${n} B` : scaled(n, 1000, ["kB", "MB", "GB", "TB", "PB"]);
}

function scaled(n, step, units) {
  let at = -1;
  while (n >= step && at < units.length - 1) {
    n /= step;
    at += 1;
  }
  if (Number(digits(n)) >= step && at < units.length - 1) return scaled(n, step, units.slice(at + 1));
  return at < 0 ? digits(n) : `${digits(n)} ${units[at]}`;
}

// Three figures: 1.23, 12.3, 123.
function digits(n) {
  return n
    .toFixed(n < 9.995 ? 2 : n < 99.95 ? 1 : 0)
    .replace(/(\.\d*?)0+$/, "$1")
    .replace(/\.$/, "");
}

/** Of something a second. */
export function rate(n) {
  if (n === null || n === undefined) return "–";
  if (n === 0) return "0";
  if (n < 0.01) return "< 0.01";
  return n < 100_000 && n >= 1000 ? grouped.format(n) : scaled(n, 1000, ["k", "M", "G"]);
}

/** A share out of 100. One that is not whole is never rounded to 100. */
export function percent(n) {
  if (n === null || n === undefined) return "–";
  const places = n > 99 && n < 100 ? 2 : n < 1 && n > 0 ? 2 : 1;
  const factor = 10 ** places;
  return `${(Math.floor(n * factor) / factor).toFixed(places).replace(/\.0+$/, "")} %`;
}

/** Microseconds. */
export function micros(n) {
  if (n === null || n === undefined) return "–";
  if (n < 1000) return `${n < 10 ? digits(n) : Math.round(n)} µs`;
  return n < 1_000_000 ? `${digits(n / 1000)} ms` : `${digits(n / 1_000_000)} s`;
}

/** Change of a figure: +12 %, −3.4 %. Nothing without a figure before. */
export function change(before, after) {
  if (!before || after === null || after === undefined) return "";
  const by = (after / before - 1) * 100;
  if (by === 0) return "±0 %";
  const size = Math.abs(by);
  const text = size < 0.05 ? "0.0" : size < 10 ? size.toFixed(1) : grouped.format(Math.round(size));
  return `${by < 0 ? "−" : "+"}${text} %`;
}

/** Seconds as 12 s, 3 min, 5 h, 2 d. */
export function span(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400 * 2) {
    const hours = Math.floor(seconds / 3600);
    const minutes = Math.floor((seconds % 3600) / 60);
    return hours < 6 && minutes > 0 ? `${hours} h ${minutes} min` : `${hours} h`;
  }
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Milliseconds since 1970 of RFC 3339, or null. */
export const instant = (text) => (text ? Date.parse(text) : null);

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const clockSeconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const dayYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** 14:03 in the reader's own time. */
export const hour = (ms) => clock.format(ms);

/** 14:03:07, with the day if it is not today. */
export function moment(ms, now = Date.now()) {
  const at = new Date(ms);
  const today = new Date(now);
  if (at.toDateString() === today.toDateString()) return clockSeconds.format(at);
  return `${(at.getFullYear() === today.getFullYear() ? day : dayYear).format(at)} ${clock.format(at)}`;
}

/** How long ago, as an element that says when exactly. */
export function ago(text, { suffix = " ago", now = Date.now() } = {}) {
  const at = instant(text);
  if (at === null || Number.isNaN(at)) return h("span", { class: "faint" }, "–");
  const seconds = (now - at) / 1000;
  const shown = seconds < -60 ? `in ${span(-seconds)}` : `${span(seconds)}${suffix}`;
  return h("time", { datetime: text, title: when(text) }, shown);
}

/** The point in time, as an element. */
export function at(text, now = Date.now()) {
  const ms = instant(text);
  if (ms === null || Number.isNaN(ms)) return h("span", { class: "faint" }, "–");
  return h("time", { datetime: text, title: when(text) }, moment(ms, now));
}

/** In full: local time, and UTC. */
export function when(text) {
  const ms = instant(text);
  return `${dayYear.format(ms)} ${clockSeconds.format(ms)} local time, ${text}`;
}

/** "1 record", "2 records". */
export const plural = (n, one, many = `${one}s`) => `${exact(n)} ${n === 1 ? one : many}`;
