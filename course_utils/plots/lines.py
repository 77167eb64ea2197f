"""Curves over a number, each with its name at its end."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from course_utils.look import CEILING, INK, axes, captioned, mean_and_half, per_item, styles


class PlainLog(LogFormatter):
    """Labels 0.2 and 100 on a logarithmic axis, at the ticks where matplotlib would write 2 x 10
    to the -1 and 10 to the 2.
    """

    def __call__(self, x, pos=None):
        return f"{x:g}" if super().__call__(x, pos) else ""


@captioned
def curves(
    x,
    series: dict[str, list],
    *,
    xlabel: str,
    label: str,
    log: str = "",
    ceiling=None,
    chance: float | None = None,
) -> Figure:
    """A line per name over the numbers `x` (N,): N values, or N pairs (mean, half-width) that
    also get a band.

    `log` names the logarithmic axes, "x", "y" or "xy". `ceiling` is a number or one for each x,
    dashed.
    """
    x = [float(value) for value in x]
    figure, ax = axes(height=3.4)
    ends = []
    for name, style in styles(series).items():
        values = [
            pair if hasattr(pair, "__len__") else (pair, 0.0)
            for pair in per_item(name, series[name], len(x))
        ]
        means, halves = zip(*(mean_and_half(f"series[{name!r}]", value) for value in values))
        ax.plot(x, means, markersize=5, linewidth=1.6, markevery=max(1, len(x) // 8), **style)
        if any(halves):
            ax.fill_between(
                x,
                [m - h for m, h in zip(means, halves)],
                [m + h for m, h in zip(means, halves)],
                color=style["color"],
                alpha=0.15,
                linewidth=0,
            )
        if finite := [mean for mean in means if math.isfinite(mean)]:
            ends.append((finite[-1], name, style["color"]))
    if ceiling is not None:
        best = per_item("ceiling", ceiling, len(x))
        ax.plot(x, best, **CEILING)
        ends.append((best[-1], "ceiling", CEILING["color"]))
    if chance is not None:
        ax.axhline(chance, color=INK, linestyle=":", linewidth=1)
        ends.append((chance, "chance", INK))
    for axis in log:
        getattr(ax, f"set_{axis}scale")("log")
        getattr(ax, f"{axis}axis").set_major_formatter(PlainLog())
        getattr(ax, f"{axis}axis").set_minor_formatter(PlainLog(minor_thresholds=(2, 0.4)))
    if len(x) <= 8:
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.set_xticks([], minor=True)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(label)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    ax.set_xlim(ax.get_xlim())  # fixed, before the labels take their places beside the ends
    ax.set_ylim(ax.get_ylim())
    to_axes = ax.transScale + ax.transLimits
    heights = spread([to_axes.transform((x[-1], y))[1] for y, _, _ in ends], gap=0.075)
    for (y, name, color), height in zip(ends, heights):
        ax.annotate(
            name,
            (x[-1], y),
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            color=INK,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.9,
                "shrinkA": 1,
                "shrinkB": 5,
            },
        )
    return figure


def spread(places: list[float], gap: float) -> list[float]:
    """The places moved apart so that neighbours are at least `gap` from each other, each crowd
    around its own middle.
    """
    crowds, moved = [], list(places)

    def start(crowd):
        return sum(places[i] for i in crowd) / len(crowd) - gap * (len(crowd) - 1) / 2

    for i in sorted(range(len(places)), key=places.__getitem__):
        crowd = [i]
        while crowds and start(crowd) < start(crowds[-1]) + gap * len(crowds[-1]):
            crowd = crowds.pop() + crowd
        crowds.append(crowd)
    for crowd in crowds:
        for k, i in enumerate(crowd):
            moved[i] = start(crowd) + gap * k
    return moved
