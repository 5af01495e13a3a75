"""Plots as SVG text: stacked bars, strips of samples, and curves with their lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = (
    "#4269d0",
    "#efb118",
    "#ff725c",
    "#6cc5b0",
    "#3ca951",
    "#ff8ab7",
    "#a463f2",
    "#97bbf5",
    "#9c6b4e",
)
WIDTH = 1000
LABEL_PX = 150
MAX_DOTS = 120  # per strip: more would only thicken the page


def stacked_bar(parts: Mapping[str, float], unit: str = "ms") -> str:
    """One bar cut into its parts, with a legend."""
    total = sum(parts.values()) or 1.0
    x, bars, legend = 0.0, [], []
    for index, (name, value) in enumerate(parts.items()):
        width, colour = value / total * WIDTH, COLOURS[index % len(COLOURS)]
        label = f"{name}: {number(value)} {unit}, {100 * value / total:.1f} %"
        bars.append(_rect(x, 0, width, 44, colour, label))
        if width > 60:
            bars.append(
                f'<text x="{x + width / 2:.1f}" y="27" text-anchor="middle"'
                f' class="on">{escape(name)}</text>'
            )
        column, row = index % 3, index // 3
        place = f'transform="translate({column * WIDTH / 3:.1f},{66 + 20 * row})"'
        text = f'<text x="18" y="11">{escape(label)}</text>'
        legend.append(f'<g {place}><rect width="12" height="12" rx="2" fill="{colour}"/>{text}</g>')
        x += width
    return _svg(70 + 20 * math.ceil(len(parts) / 3), "".join(bars + legend))


def strips(samples: Mapping[str, Sequence[float]], marks: Mapping[str, Sequence[float]]) -> str:
    """A row of dots per name on one logarithmic axis in ms, with a tick at each of its `marks`
    (median, p90, p99).
    """
    values = [v for row in samples.values() for v in row if v > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    high = max(high, low + 1)

    def x(value: float) -> float:
        return LABEL_PX + (math.log10(max(value, 10**low)) - low) / (high - low) * (
            WIDTH - LABEL_PX - 40
        )

    rows = []
    bottom = 24 * len(samples) + 6
    for decade in range(low, high + 1):
        at = x(10.0**decade)
        rows.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{bottom}" class="grid"/>')
        rows.append(
            f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{number(10.0**decade)}'
            f" ms</text>"
        )
    for index, (name, row) in enumerate(samples.items()):
        y, colour = 24 * index + 14, COLOURS[index % len(COLOURS)]
        rows.append(
            f'<text x="{LABEL_PX - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
        )
        shown = row[:: max(1, math.ceil(len(row) / MAX_DOTS))]
        dots = "".join(f'<circle cx="{x(v):.1f}" cy="{y}" r="3.5"/>' for v in shown)
        rows.append(f'<g fill="{colour}" fill-opacity="0.35">{dots}</g>')
        for mark, size in zip(marks[name], (10, 6, 6)):
            place = f"{x(mark):.1f}"
            tick = f'<line x1="{place}" x2="{place}" y1="{y - size}" y2="{y + size}" class="mark">'
            rows.append(f"{tick}<title>{number(mark)} ms</title></line>")
    return _svg(bottom + 24, "".join(rows))


def curve(
    xs: Sequence[float],
    ys: Sequence[float],
    slope: float | None,
    intercept: float | None,
    unit: str,
) -> str:
    """Measured points and their line, from zero."""
    width, height, left, base = 400, 230, 62, 190
    top_x, top_y = max(xs) * 1.08, max(*ys, intercept or 0) * 1.12

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x / top_x * (width - left - 12), base - y / top_y * (base - 12)

    parts = []
    for step in _ticks(top_y):
        y = place(0, step)[1]
        parts.append(
            f'<line x1="{left}" x2="{width - 12}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        )
        parts.append(
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{number(step)}</text>'
        )
    for step in _ticks(top_x):
        x = place(step, 0)[0]
        parts.append(
            f'<text x="{x:.1f}" y="{base + 18}" text-anchor="middle">{number(step)}</text>'
        )
    if slope is not None and intercept is not None:
        start = 0.0 if intercept >= 0 else -intercept / slope
        (x1, y1), (x2, y2) = (
            place(start, intercept + slope * start),
            place(top_x, intercept + slope * top_x),
        )
        parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{max(y2, 4):.1f}" class="fit"/>'
        )
    for x, y in zip(xs, ys):
        cx, cy = place(x, y)
        title = f"<title>{number(x)} {escape(unit)}: {number(y)} ms</title>"
        parts.append(
            f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="4.5" fill="{COLOURS[0]}">{title}</circle>'
        )
    parts.append(
        f'<text x="{(left + width) / 2}" y="{height - 4}"'
        f' text-anchor="middle">{escape(unit)}</text>'
    )
    parts.append('<text x="4" y="10">ms</text>')
    return _svg(height, "".join(parts), width)


def number(value: float) -> str:
    """Three figures that matter, without exponents between 0.001 and a million."""
    if value == 0 or not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _ticks(top: float) -> list[float]:
    """About four round numbers from 0 to `top`."""
    raw = top / 4
    scale = 10 ** math.floor(math.log10(raw))
    step = next(s * scale for s in (1, 2, 2.5, 5, 10) if s * scale >= raw)
    return [k * step for k in range(int(top / step) + 1)]


def _rect(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    size = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height}"'
    return f'<rect {size} fill="{colour}"><title>{escape(title)}</title></rect>'


def _svg(height: float, body: str, width: int = WIDTH) -> str:
    return f'<svg viewBox="0 0 {width} {height:.0f}" width="{width}" role="img">{body}</svg>'
