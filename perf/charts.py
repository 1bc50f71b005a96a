"""The dashboard's charts as SVG text, with matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import ConfigError

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter
except ImportError:
    raise ConfigError(
        "matplotlib is missing, which draws the charts; install it with: pip install twokey[perf]"
    ) from None

COLOURS = ("#1f5fbf", "#c2410c", "#15803d", "#7c3aed")
_MUTED = "#64748b"
_SIZE = (4.4, 2.9)  # inches; a chart fills a phone's width without shrinking its text
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#cbd5e1",
    "axes.labelcolor": _MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}


@dataclass(frozen=True, slots=True)
class Line:
    """Points to join, with least and greatest of each where there are some."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def lines(
    title: str,
    found: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    x_names: Sequence[str] = (),
    x_ticks: Sequence[float] = (),
) -> str:
    """A line chart. x_names: texts for x = 0, 1, ... instead of numbers.

    x_ticks: where numbers stand on a logarithmic axis, as far as it reaches; else at every x.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _chart(x_label, y_label)
        for line, colour in zip(found, COLOURS * len(found), strict=False):
            axes.plot(
                line.x,
                line.y,
                marker="o" if len(line.x) < 20 else "",
                color=colour,
                label=line.name,
            )
            if line.low:
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.15, lw=0)
        if log_x:
            axes.set_xscale("log")
            values = sorted({x for line in found for x in line.x})
            if x_ticks:
                values = [x for x in x_ticks if values[0] <= x <= values[-1]]
            axes.set_xticks(values, [readable(value) for value in values])
            axes.xaxis.set_minor_formatter(NullFormatter())
        if log_y:
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(0, 1.08 * max(y for line in found for y in (*line.y, *line.high)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: readable(value)))
        if log_y:
            _name_some(axes, [y for line in found for y in (*line.y, *line.low, *line.high)])
        if x_names:
            step = -(-len(x_names) // 6)
            shown = range(0, len(x_names), step)
            axes.set_xticks(list(shown), [x_names[i] for i in shown], rotation=30, ha="right")
        elif not log_x:
            values = sorted({x for line in found for x in line.x})
            axes.set_xticks(values, [readable(value) for value in values])
        if len(found) > 1:
            axes.legend(
                loc="lower left",
                bbox_to_anchor=(0, 1),
                ncols=len(found),
                fontsize=8.5,
                handlelength=1.2,
                columnspacing=1.0,
                borderpad=0,
            )
        return _svg(figure, title)


def bars(
    title: str, found: Sequence[tuple[str, float, bool]], *, x_label: str, log: bool = True
) -> str:
    """Horizontal bars. found: name, value (above 0 on a logarithmic scale), whether it is ours."""
    with mpl.rc_context(_STYLE):
        figure, axes = _chart(x_label, "")
        figure.set_size_inches(_SIZE[0], 0.55 + 0.3 * len(found))
        names = [name for name, _, _ in found]
        values = [value for _, value, _ in found]
        colours = [COLOURS[0] if own else "#cbd5e1" for _, _, own in found]
        axes.barh(range(len(found)), values, color=colours, height=0.66)
        axes.set_yticks(range(len(found)), names, fontsize=8.5)
        axes.invert_yaxis()
        if log:
            axes.set_xscale("log")
            axes.set_xlim(10 ** math.floor(math.log10(min(values)) - 0.3), max(values) * 30)
        else:
            axes.set_xlim(0, max(values) * 1.2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: readable(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=False, axis="y")
        for row, value in enumerate(values):
            axes.annotate(
                readable(value),
                (value, row),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color="#334155",
            )
        return _svg(figure, title)


def readable(value: float) -> str:
    """Short: 12, 1.5k, 3.2M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _name_some(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with whole powers of ten at both ends, so that numbers stand on it."""
    lowest = math.floor(math.log10(min(values)))
    highest = math.ceil(math.log10(max(values)))
    axes.set_ylim(10.0**lowest, 10.0 ** max(highest, lowest + 1))


def _chart(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure, title: str) -> str:
    """The svg element alone; its ids come from the title, so that charts can share a page."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": title}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Title": title})
    text = out.getvalue()
    return text[text.index("<svg") :]
