// Lines and areas as SVG paths, and the scale they are drawn to.

/** A line through values; null makes a gap. */
export function path(values, x, y) {
  let drawn = "";
  let pen = "M";
  values.forEach((value, at) => {
    if (value === null) pen = "M";
    else {
      // A value without neighbours is a point, and still seen.
      drawn += `${pen}${x(at)} ${y(value)}`;
      if (pen === "M" && (values[at + 1] ?? null) === null) drawn += "h0.1";
      pen = "L";
    }
  });
  return drawn;
}

/** What is below that line. */
export function area(values, x, y) {
  let drawn = "";
  let begun = null;
  values.forEach((value, at) => {
    if (value !== null) {
      drawn += begun === null ? `M${x(at)} ${y(0)}L${x(at)} ${y(value)}` : `L${x(at)} ${y(value)}`;
      begun = at;
    }
    if (begun !== null && (value === null || at === values.length - 1)) {
      drawn += `L${x(begun)} ${y(0)}Z`;
      begun = null;
    }
  });
  return drawn;
}

/** From where to where the axis goes: figures that people count in. */
export function scaleOf(which, values) {
  const known = values.filter((value) => value !== null);
  if (which.share) {
    const least = Math.min(...known, 100);
    return { low: [99, 98, 95, 90, 80, 50].find((low) => least >= low + 0.05 * (100 - low)) ?? 0, high: 100 };
  }
  const most = Math.max(...known, 0) || 1;
  const unit = 10 ** Math.floor(Math.log10(most));
  const high = [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].find((n) => n * unit >= most) * unit;
  return { low: 0, high };
}
