"""Charts as SVG, written by hand: no library to install, and a diff that can be read. A light
ground of their own, so that they can be read on a dark page too."""

import math
from html import escape

WIDTH = 760
GROUND, INK, FAINT, GRID = "#ffffff", "#1f2933", "#616e7c", "#e4e7eb"
OURS, THEIRS, SECOND = "#0b69a3", "#9aa5b1", "#5fb4e5"
FONT = "font-family='system-ui, sans-serif'"


def bars(title, unit, rows, form=",.1f"):
    """Horizontal bars. `rows`: name, parts (numbers that add up; two at most), least, most, whether
    it is ours. A thin line spans the rounds from least to most."""
    label, step, top = 210, 34, 64
    height = top + step * len(rows) + 14
    largest = max(max(sum(parts), most or 0) for _, parts, _, most, _ in rows) or 1
    scale = (WIDTH - label - 130) / largest
    out = [head(title, height), text(20, 44, unit, FAINT, 12)]
    for number, (name, parts, least, most, ours) in enumerate(rows):
        y, x = top + step * number, float(label)
        out.append(text(label - 10, y + 15, name, INK, 13, "end"))
        for part, color in zip(parts, (OURS, SECOND) if ours else (THEIRS, GRID)):
            out.append(f"<rect x='{x:.1f}' y='{y}' width='{max(part * scale, 0.5):.1f}' height='21' fill='{color}'/>")
            x += part * scale
        if least is not None:
            ends = label + least * scale, label + most * scale
            out.append(line(ends[0], y + 10.5, ends[1], y + 10.5, INK, 1.5))
            out += [line(end, y + 6, end, y + 15, INK, 1.5) for end in ends]
            x = max(x, ends[1])
        out.append(text(x + 8, y + 15, format(sum(parts), form), INK, 13))
    return "\n".join([*out, "</svg>\n"])


def timeline(title, unit, points, marks, spans, limit=None):
    """A line over time. `points`: seconds and value; `marks`: seconds; `spans`: name, from, to."""
    left, right, top, bottom = 70, 20, 72, 250
    last = max(at for at, _ in points)
    ceiling = round_up(max([value for _, value in points] + [limit or 0]))
    x = lambda at: left + at / last * (WIDTH - left - right)  # noqa: E731
    y = lambda value: bottom - value / ceiling * (bottom - top)  # noqa: E731
    out = [head(title, 300), text(20, 44, unit, FAINT, 12)]
    for name, begin, end in spans:
        out.append(f"<rect x='{x(begin):.1f}' y='{top}' width='{x(end) - x(begin):.1f}' height='{bottom - top}' "
                   f"fill='#f0f4f8'/>")
        out.append(text(x(begin) + 4, top - 6, name, FAINT, 12))
    for number in range(5):
        value = ceiling * number / 4
        out.append(line(left, y(value), WIDTH - right, y(value), GRID, 1))
        out.append(text(left - 8, y(value) + 4, f"{value:,.0f}", FAINT, 11, "end"))
    for at in marks:
        out.append(line(x(at), top, x(at), bottom, "#f0b429", 1))
    if limit:
        out.append(line(left, y(limit), WIDTH - right, y(limit), "#ba2525", 1, "4 3"))
    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
    out.append(f"<polyline points='{path}' fill='none' stroke='{OURS}' stroke-width='1.5'/>")
    step = next((step for step in (5, 10, 30) if last <= 12 * step), 60)
    for at in range(0, int(last) + 1, step):
        out.append(text(x(at), bottom + 18, f"{at} s", FAINT, 11, "middle"))
    return "\n".join([*out, "</svg>\n"])


def round_up(value):
    """Four steps of a round number."""
    power = 10 ** math.floor(math.log10(max(value, 1) / 4))
    return 4 * next(step * power for step in (1, 2, 2.5, 5, 10) if 4 * step * power >= value)


def head(title, height):
    return (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' "
            f"height='{height}' role='img'>\n<title>{escape(title)}</title>\n"
            f"<rect width='{WIDTH}' height='{height}' fill='{GROUND}'/>\n" + text(20, 26, title, INK, 15, weight=600))


def text(x, y, words, color, size, anchor="start", weight=400):
    return (f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-size='{size}' font-weight='{weight}' fill='{color}' "
            f"text-anchor='{anchor}'>{escape(words)}</text>")


def line(x1, y1, x2, y2, color, width, dashes=None):
    dashed = f" stroke-dasharray='{dashes}'" if dashes else ""
    return (f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{color}' "
            f"stroke-width='{width}'{dashed}/>")
