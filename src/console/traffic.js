// Lookups, hit rate and p99 of the last day, with what was served when above them. The pointer or
// the slider beneath (so also the keyboard) chooses a moment; a table says the same in words.

import { draw, h } from "./dom.js";
import * as f from "./format.js";
import { area, path, scaleOf } from "./curves.js";
import { MINUTE, buckets, lane, markText, marksOf } from "./series.js";
import { offset, table } from "./traffic-table.js";
import { eventOf, shape } from "./words.js";

const RANGES = [
  { hours: 1, word: "1 h" },
  { hours: 6, word: "6 h" },
  { hours: 24, word: "24 h" },
];
const GUTTER = 52;
const HEIGHT = 92;
const PLOTS = [
  { name: "lookups", word: "Lookups/s", of: (b) => b.rate, show: f.rate, area: true },
  { name: "hits", word: "Hit rate", of: (b) => b.hits, show: f.percent, share: true },
  { name: "p99", word: "p99", of: (b) => b.p99, show: f.micros },
];

export function charts(page) {
  const { data, route, setQuery } = page;
  const range = RANGES.find((r) => r.hours === Number(route.query.get("hours"))) ?? fitting(data.series);
  return h(
    "section",
    { class: "card traffic", "aria-labelledby": "traffic-heading", key: "traffic" },
    h(
      "div",
      { class: "card-head" },
      h("h2", { id: "traffic-heading" }, "Traffic"),
      h(
        "div",
        { class: "segments", role: "group", "aria-label": "How far back" },
        RANGES.map((r) =>
          h(
            "button",
            {
              type: "button",
              key: r.word,
              "aria-pressed": String(r === range),
              onclick: () => setQuery({ hours: String(r.hours) }),
            },
            r.word,
          ),
        ),
      ),
    ),
    data.series
      ? h("div", { class: "traffic-body", key: "body" }, h("div", { widget: new Traffic({ data, range }) }))
      : h("p", { class: "empty-line" }, "This server keeps no series of its traffic."),
  );
}

// A server that was started a while ago has nothing to show of the day before.
function fitting(series) {
  const known = series ? (Date.now() - f.instant(series.since)) / (60 * MINUTE) : 0;
  return RANGES.find((range) => known < range.hours) ?? RANGES[2];
}

class Traffic {
  kind = "traffic";

  constructor(props) {
    this.props = props;
  }

  mount(element) {
    this.element = element;
    this.width = element.clientWidth;
    new ResizeObserver(() => {
      if (element.clientWidth === this.width || !element.isConnected) return;
      this.width = element.clientWidth;
      this.render();
    }).observe(element);
    this.render();
  }

  update(props) {
    const same =
      props.data.series === this.props.data.series &&
      props.range === this.props.range &&
      props.data.events[0]?.seq === this.props.data.events[0]?.seq;
    this.props = props;
    if (!same) this.render();
  }

  render() {
    const { data, range } = this.props;
    const plot = Math.max(120, this.width - GUTTER);
    this.from = Date.now() - range.hours * 60 * MINUTE;
    this.buckets = buckets(data.series, range.hours * 60, plot);
    this.marks = marksOf(data.events, data.series, this.from);
    // What happened in the minute that is not over stands at the right edge.
    this.x = (ms) => GUTTER + Math.min(1, Math.max(0, (ms - this.buckets[0].at) / this.spanMs())) * (plot - 1);
    this.chosen = Math.min(this.chosen ?? Infinity, this.buckets.length - 1);
    draw(
      this.element,
      h("p", { class: "moment", key: "moment" }),
      lane(this, data, plot),
      PLOTS.map((p) => this.plot(p, plot)),
      this.axis(plot),
      this.slider(),
      table(this.buckets, this.marks, range),
    );
    this.choose(this.holding ? this.chosen : null);
  }

  spanMs() {
    return Math.max(MINUTE, this.buckets.at(-1).at + this.buckets.at(-1).minutes * MINUTE - this.buckets[0].at);
  }

  plot(which, width) {
    const values = this.buckets.map(which.of);
    const scale = scaleOf(which, values);
    const y = (value) => (HEIGHT - 6 - ((value - scale.low) / (scale.high - scale.low)) * (HEIGHT - 16)).toFixed(1);
    const step = width / this.buckets.length;
    const x = (at) => (GUTTER + (at + 0.5) * step).toFixed(1);
    const line = path(values, x, y);
    const lines = [scale.low, (scale.low + scale.high) / 2, scale.high];
    return h(
      "figure",
      {
        class: `plot plot-${which.name}`,
        key: which.name,
        onpointermove: (e) => this.point(e),
        onpointerdown: (e) => this.point(e),
        onpointerleave: () => this.choose(null),
      },
      h("figcaption", {}, h("span", {}, which.word), h("output", { class: "figure", "data-of": which.name })),
      h(
        "svg",
        { viewBox: `0 0 ${this.width} ${HEIGHT}`, width: this.width, height: HEIGHT, "aria-hidden": "true" },
        lines.map((value) =>
          h(
            "g",
            { class: "grid", key: value },
            h("line", { x1: GUTTER, x2: this.width, y1: y(value), y2: y(value) }),
            h("text", { x: GUTTER - 8, y: Number(y(value)) + 3.5, "text-anchor": "end" }, which.show(value)),
          ),
        ),
        this.marks.map((mark) =>
          h("line", {
            class: `mark tone-${eventOf(mark.event).tone}`,
            x1: this.x(mark.at),
            x2: this.x(mark.at),
            y1: 0,
            y2: HEIGHT,
          }),
        ),
        which.area ? h("path", { class: "area", d: area(values, x, y) }) : null,
        h("path", { class: "line", d: line }),
        h("g", { class: "cursor" }, h("line", { y1: 0, y2: HEIGHT }), h("circle", { r: 3.5 })),
      ),
    );
  }

  axis(width) {
    const every = [5, 10, 15, 30, 60, 120, 180, 240, 360].find((m) => (this.spanMs() / MINUTE / m) * 52 < width) ?? 720;
    const first = Math.ceil((this.buckets[0].at - offset()) / (every * MINUTE)) * every * MINUTE + offset();
    const ticks = [];
    for (let at = first; at < this.buckets[0].at + this.spanMs(); at += every * MINUTE) ticks.push(at);
    return h(
      "svg",
      {
        class: "axis",
        key: "axis",
        viewBox: `0 0 ${this.width} 18`,
        width: this.width,
        height: 18,
        "aria-hidden": "true",
      },
      ticks
        .filter((at) => this.x(at) < this.width - 16 && this.x(at) > GUTTER + 10)
        .map((at) => h("text", { x: this.x(at).toFixed(1), y: 13, "text-anchor": "middle" }, f.hour(at))),
    );
  }

  slider() {
    return h(
      "div",
      { class: "slider", key: "slider" },
      h("input", {
        type: "range",
        min: 0,
        max: this.buckets.length - 1,
        step: 1,
        "aria-label": "Moment to look at",
        onfocus: (e) => {
          this.holding = true;
          this.choose(Number(e.target.value));
        },
        oninput: (e) => this.choose(Number(e.target.value)),
        onblur: () => {
          this.holding = false;
          this.choose(null);
        },
      }),
    );
  }

  point(event) {
    const { left } = this.element.getBoundingClientRect();
    const share = (event.clientX - left - GUTTER) / (this.width - GUTTER);
    if (share < 0) return;
    this.choose(Math.min(this.buckets.length - 1, Math.floor(share * this.buckets.length)));
  }

  // Shows the figures of a moment; without one those of the last whole minute.
  choose(at) {
    const some = at !== null;
    this.chosen = some ? at : this.buckets.length - 1;
    const bucket = this.buckets[this.chosen];
    const step = (this.width - GUTTER) / this.buckets.length;
    const near = some
      ? this.marks.filter(
          (mark) => Math.abs(this.x(mark.at) - (GUTTER + (this.chosen + 0.5) * step)) <= Math.max(step, 6),
        )
      : [];
    for (const which of PLOTS) {
      const figure = this.element.querySelector(`.plot-${which.name}`);
      const value = which.of(bucket);
      figure.querySelector(".figure").textContent = which.show(value);
      const cursor = figure.querySelector(".cursor");
      cursor.classList.toggle("is-on", some);
      const x = (GUTTER + (this.chosen + 0.5) * step).toFixed(1);
      for (const name of ["x1", "x2"]) cursor.firstChild.setAttribute(name, x);
      cursor.lastChild.setAttribute("cx", x);
      cursor.lastChild.setAttribute("cy", value === null ? -10 : this.heightOf(which, value));
    }
    const said = [some ? f.moment(bucket.at) : this.lastly(bucket), ...near.map(markText)];
    draw(
      this.element.querySelector(".moment"),
      said.map((text, n) =>
        h("span", { class: n ? "mark-text" : null }, n ? shape(eventOf(near[n - 1].event).shape) : null, text),
      ),
    );
    const input = this.element.querySelector("input");
    input.value = this.chosen;
    input.setAttribute(
      "aria-valuetext",
      [
        f.moment(bucket.at),
        ...PLOTS.map((p) => `${p.word} ${p.of(bucket) === null ? "none" : p.show(p.of(bucket))}`),
        ...near.map(markText),
      ].join(", "),
    );
  }

  lastly(bucket) {
    const since = f.instant(this.props.data.series.since);
    const begun = since > this.from + 5 * MINUTE ? ` Known since ${f.moment(since)}, when the server was started.` : "";
    if (this.buckets.every((one) => one.lookups === 0)) return `No key was looked up in this time.${begun}`;
    return `The last minute, ${f.hour(bucket.at + (bucket.minutes - 1) * MINUTE)}.${begun}`;
  }

  heightOf(which, value) {
    const scale = scaleOf(which, this.buckets.map(which.of));
    return (HEIGHT - 6 - ((value - scale.low) / (scale.high - scale.low)) * (HEIGHT - 16)).toFixed(1);
  }
}
