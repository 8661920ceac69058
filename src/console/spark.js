// A line of the last hour, for a table's cell. It decorates: the figure stands beside it.

import { h } from "./dom.js";

const WIDTH = 72;
const HEIGHT = 18;

export function spark(values) {
  if (!values?.length) return null;
  const most = Math.max(1, ...values.map((v) => v ?? 0));
  const x = (at) => ((at / Math.max(1, values.length - 1)) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - 1 - ((value ?? 0) / most) * (HEIGHT - 3)).toFixed(1);
  const line = values.map((value, at) => `${at ? "L" : "M"}${x(at)} ${y(value)}`).join("");
  return h(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, class: "spark", "aria-hidden": "true" },
    h("path", { class: "spark-area", d: `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z` }),
    h("path", { class: "spark-line", d: line }),
  );
}
