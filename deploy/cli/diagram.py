"""Diagrams of one page of HTML: no script, no other file, readable on paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 310, 80, 45, 26
ROW, LABEL = 34, 200
TONES = ("#1f3b57", "#c8781e", "#7fa8c9", "#e3e3e3")
DASHES = ("", "7 4", "2 3", "10 3 2 3")
STYLE = (
    "body{font:15px/1.45 sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#111}"
    "section{overflow-x:auto}svg{width:100%;min-width:560px;height:auto}h2{font-size:1.1em}"
    "text{font:12px sans-serif;fill:#111}"
    "table{border-collapse:collapse}td:first-child,th:first-child{text-align:left;padding-left:0}"
    "td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ccc}"
    "@media print{body{margin:0}svg{min-width:0}svg,p,ul{break-inside:avoid}}"
)


Series = list[tuple[float, float]]
"""A line, point by point."""


@dataclass(frozen=True)
class Bar:
    """One card: its parts, and what it has."""

    label: str
    parts: tuple[float, ...]
    total: float


def page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """A whole page; the sections' bodies are HTML already."""
    body = "".join(f"<section><h2>{escape(name)}</h2>{text}</section>" for name, text in sections)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def text_list(texts: Iterable[str]) -> str:
    """A list of sentences."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def stacked_bars(names: Sequence[str], bars: Sequence[Bar]) -> str:
    """Parts of a whole in GiB, one row each, all on one scale."""
    most, drawn = max(bar.total for bar in bars), []
    scale = (WIDTH - LABEL - 70) / most
    for row, bar in enumerate(bars):
        y, x = row * ROW + 4, float(LABEL)
        drawn.append(_text(0, y + 16, bar.label))
        for part, tone in zip(bar.parts, TONES, strict=False):
            drawn.append(_box(x, y, part * scale, tone))
            x += part * scale
        drawn.append(_box(LABEL, y, bar.total * scale, "none"))
        drawn.append(_text(LABEL + bar.total * scale + 6, y + 16, f"{bar.total:.0f} GiB"))
    y, x = len(bars) * ROW + 8, LABEL
    for name, tone in zip((*names, "free"), (*TONES[: len(names)], "#ffffff"), strict=True):
        drawn += [_box(x, y, 14, tone, 14), _text(x + 20, y + 12, name)]
        x += 40 + 8 * len(name)
    return _svg("".join(drawn), y + 24)


def lines(x_name: str, y_name: str, series: dict[str, Series]) -> str:
    """Lines over two logarithmic axes."""
    known = {name: [p for p in line if min(p) > 0] for name, line in series.items()}
    points = [point for line in known.values() for point in line]
    if not points:
        return "<p>Nothing to show.</p>"
    axes = _Axis([p[0] for p in points]), _Axis([p[1] for p in points])
    return _plot((x_name, y_name), known, axes, dots=True)


def _plot(
    names: tuple[str, str],
    series: dict[str, Series],
    axes: tuple[_Axis, _Axis] | tuple[_FromZero, _FromZero],
    *,
    dots: bool,
) -> str:
    (x_axis, y_axis), drawn = axes, []
    for value in x_axis.ticks:
        x = LEFT + x_axis.place(value) * (WIDTH - LEFT - 20)
        drawn.append(_line(x, TOP, x, HEIGHT - BOTTOM))
        drawn.append(_text(x, HEIGHT - BOTTOM + 16, _short(value), "middle"))
    for value in y_axis.ticks:
        y = HEIGHT - BOTTOM - y_axis.place(value) * (HEIGHT - BOTTOM - TOP)
        drawn.append(_line(LEFT, y, WIDTH - 20, y))
        drawn.append(_text(LEFT - 6, y + 4, _short(value), "end"))
    for index, (name, line) in enumerate(series.items()):
        places = [
            (
                LEFT + x_axis.place(x) * (WIDTH - LEFT - 20),
                HEIGHT - BOTTOM - y_axis.place(y) * (HEIGHT - BOTTOM - TOP),
            )
            for x, y in line
        ]
        drawn.append(_curve(index, places, dots=dots))
        y = HEIGHT + 18 * index + 8
        tone, dash = TONES[index % 3], DASHES[index % 4]
        drawn.append(_line(LEFT, y, LEFT + 40, y, tone, dash, 3))
        drawn.append(_text(LEFT + 48, y + 4, name))
    drawn.append(_text(WIDTH - 20, HEIGHT - 6, names[0], "end"))
    drawn.append(_text(4, 11, names[1]))
    return _svg("".join(drawn), HEIGHT + 18 * len(series) + 8)


def curves(x_name: str, y_name: str, series: dict[str, Series]) -> str:
    """Lines over two axes that begin at 0."""
    points = [point for line in series.values() for point in line]
    if not points:
        return "<p>Nothing to show.</p>"
    x_axis = _FromZero([p[0] for p in points])
    y_axis = _FromZero([p[1] for p in points])
    return _plot((x_name, y_name), series, (x_axis, y_axis), dots=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Figures under the names of their columns."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


class _FromZero:
    """A linear axis from 0 to a round number."""

    def __init__(self, values: list[float]) -> None:
        most = max(*values, 1e-3)
        steps = (d * 10.0**power for power in range(-4, 10) for d in (1, 2, 5))
        step = next(s for s in steps if most / s <= 6)
        count = math.ceil(most / step * 0.9999)
        self.ticks = [round(step * i, 6) for i in range(count + 1)]
        self._high = step * count

    def place(self, value: float) -> float:
        """Where it lies, from 0 to 1."""
        return value / self._high


class _Axis:
    """A logarithmic axis from one power of ten, or a half of it, to another."""

    def __init__(self, values: list[float]) -> None:
        steps = [d * 10.0**power for power in range(-3, 10) for d in (1, 2, 5)]
        low = max(s for s in steps if s <= min(values) * 1.0001)
        high = min(s for s in steps if s >= max(values) * 0.9999 and s > low)
        self.ticks = [s for s in steps if low <= s <= high]
        self._low, self._span = math.log(low), math.log(high) - math.log(low)

    def place(self, value: float) -> float:
        """Where it lies, from 0 to 1."""
        return (math.log(value) - self._low) / self._span


def _curve(index: int, places: Series, *, dots: bool) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    tone, dash = TONES[index % 3], DASHES[index % 4]
    circle = '<circle cx="{:.1f}" cy="{:.1f}" r="3.5" fill="{}"/>'
    marks = "".join(circle.format(x, y, tone) for x, y in places) if dots else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{tone}" stroke-width="2.5"'
        f' stroke-dasharray="{dash}"/>{marks}'
    )


def _short(value: float) -> str:
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}"


def _svg(content: str, height: float) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">{content}</svg>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, fill: str, height: float = 24) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{max(width, 0):.1f}" height="{height}" fill="{fill}"'
        ' stroke="#111" stroke-width="0.7"/>'
    )


def _line(  # noqa: PLR0913, PLR0917  two points and how it is drawn
    x: float, y: float, to_x: float, to_y: float, tone: str = "#ccc", dash: str = "", width: int = 1
) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{tone}"'
        f' stroke-width="{width}" stroke-dasharray="{dash}"/>'
    )
