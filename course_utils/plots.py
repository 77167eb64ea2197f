"""The figures of the pages, in the look of `look`: bars, curves, points, pictures, sounds; and by
the same name what `look` and `drawings` have.
"""

import html
import math

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogFormatter

from course_utils.drawings import as_texts, pipeline, table_of_numbers
from course_utils.look import (
    CEILING,
    COLORS,
    DPI,
    INK,
    LINES,
    MARKERS,
    MORE_MARKERS,
    SHOWN_AT,
    axes,
    bundle,
    captioned,
    drawn_alike,
    kind,
    mean_and_half,
    per_item,
    png,
    sentence,
    show,
    shown_width,
    styles,
)

__all__ = [
    "CEILING",
    "COLORS",
    "DPI",
    "INK",
    "LINES",
    "MARKERS",
    "MORE_MARKERS",
    "SHOWN_AT",
    "as_texts",
    "axes",
    "bars",
    "bundle",
    "captioned",
    "curves",
    "kind",
    "listen",
    "overlay",
    "panels",
    "per_item",
    "pictures",
    "pipeline",
    "players",
    "png",
    "points",
    "sentence",
    "show",
    "shown_width",
    "spectrograms",
    "spread",
    "styles",
    "table_of_numbers",
]


@captioned
def bars(
    scores: dict[str, tuple[float, float]],
    *,
    label: str,
    chance: float | None = None,
    baseline: float | None = None,
    ceiling=None,
    top: float = 100.0,
    decimals: int = 1,
) -> Figure:
    """Horizontal bars, one per name, with (mean, half-width of the interval), and lines for
    chance and a baseline.

    `ceiling`, the best that anything could reach, is one number or one per bar (None where it is
    unknown). `top` is the largest value that the axis is made for: 100 for per cent, 1 for a
    share. An interval that reaches past it is drawn up to it.
    """
    figure, ax = axes(height=0.9 + 0.42 * len(scores))
    ceilings = per_item("ceiling", ceiling, len(scores))
    for row, (name, best) in enumerate(zip(scores, ceilings)):
        mean, half = mean_and_half(f"scores[{name!r}]", scores[name])
        ax.barh(
            row,
            mean,
            height=0.62,
            color=COLORS[kind(name)],
            hatch="//" if kind(name) == "control" else None,
            edgecolor="white",
        )
        for color, more in (("white", 2), (INK, 0)):  # a white rim, to be seen on a dark bar too
            ax.errorbar(
                mean,
                row,
                xerr=[[half], [max(0, min(half, top - mean))]],
                fmt="none",
                ecolor=color,
                elinewidth=1.5 + more,
                capthick=1 + more,
                capsize=3 + more / 2,
            )
        if best is not None:
            ax.plot([best, best], [row - 0.5, row + 0.5], gapcolor="white", **CEILING)
        end = max(mean, min(mean + half, top))
        if best is not None and end - 0.01 * top < best < end + 0.16 * top:
            end = best  # the number stands behind the ceiling and does not hide it
        ax.text(
            end + 0.008 * top,
            row,
            f"{mean:.{decimals}f} ± {half:.{decimals}f}",
            va="center",
            color=INK,
            zorder=3,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    ax.set_yticks(range(len(scores)), list(scores))
    ax.invert_yaxis()
    ax.set_xlim(0, 1.08 * top)
    ax.set_xlabel(label)
    for place in (chance, baseline):
        if place is not None:
            ax.axvline(place, color=INK, gapcolor="white", linestyle=":", linewidth=1)
    best = next((value for value in ceilings if value is not None), None)
    marks = sorted(
        (place, name)
        for place, name in (
            (chance, "chance"),
            (baseline, "best single modality"),
            (best, "ceiling"),
        )
        if place is not None
    )
    crowded = [
        b - a < 0.007 * top * len(name + other) for (a, name), (b, other) in zip(marks, marks[1:])
    ]
    for (place, name), before, after in zip(marks, [False, *crowded], [*crowded, False]):
        # names that would overlap lean away from each other
        side = "right" if after else "left" if before else "center"
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # no line through the name
        ax.text(place, -0.62, name, ha=side, va="bottom", color=INK, fontsize=9, bbox=paper)
    return figure


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


@captioned
def points(
    settings: list[str], series: dict[str, list[tuple[float, float]]], *, label: str
) -> Figure:
    """For each of the named settings a group of marks, one a name, at (mean, half-width of the
    interval).
    """
    figure, ax = axes(height=3.2)
    for k, (name, style) in enumerate(styles(series).items()):
        places = [i + 0.13 * (k - (len(series) - 1) / 2) for i in range(len(settings))]
        values = per_item(name, series[name], len(settings))
        means, halves = zip(*(mean_and_half(f"series[{name!r}]", value) for value in values))
        ax.errorbar(
            places,
            means,
            yerr=halves,
            markersize=6,
            capsize=2,
            label=name,
            **style | {"linestyle": "none"},
        )
    ax.set_xticks(range(len(settings)), settings)
    ax.set_ylabel(label)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@captioned
def pictures(images, *, titles: list[str], columns: int = 5, size: float = 1.3) -> Figure:
    """Gray pictures (H, W), `columns` in a row, ink dark on light paper, all on the scale from 0
    to 1.
    """
    return panels(images, titles, columns, size)[0]


@drawn_alike
def panels(images, titles: list[str], columns: int, size: float):
    """Pictures from 0 to 1, gray (H, W) or with colours (H, W, 3) or (3, H, W): the figure and
    one axes for each.

    A pixel in row r and column c covers the square from (c, r) to (c + 1, r + 1).
    Raises ValueError for another shape, and for titles that are not one for each.
    """
    import numpy as np

    titles = per_item("titles", titles, len(images))
    columns, rows = min(columns, len(images)), -(-len(images) // columns)
    figure, grid = axes(
        width=size * columns, height=(size + 0.25) * rows, columns=columns, rows=rows, squeeze=False
    )
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, image, title in zip(grid.flat, images, titles):
        image = np.asarray(image, dtype=float)
        if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
            image = np.moveaxis(image, 0, -1)  # (3, H, W) -> (H, W, 3)
        if image.ndim != 2 and image.shape[2:] != (3,):
            raise ValueError(
                f"a picture has shape {image.shape}, expected (H, W), (H, W, 3) or (3, H, W)"
            )
        height, width = image.shape[:2]
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1, extent=(0, width, height, 0))
        ax.set_title(title, fontsize=10, color=INK)
    return figure, list(grid.flat)[: len(images)]


@captioned
def overlay(
    images,
    *,
    titles: list[str],
    boxes: list[dict] | None = None,
    attention: list | None = None,
    columns: int = 4,
    size: float = 2.2,
) -> Figure:
    """Pictures as `panels` takes them, each with its named boxes or under its map of attention,
    or both.

    `boxes`: for each picture {name: (left, top, right, bottom)} in pixels; the first is drawn
    solid, the next dashed. `attention`: for each picture weights (h, w), at least 0, on a grid
    over the whole picture. The picture stays bright where the weight is largest and is dark
    where it is 0; the largest weight is printed below it.
    """
    import numpy as np

    figure, grid = panels(images, titles, columns, size)
    for ax, weights in zip(grid, per_item("attention", attention, len(images))):
        if weights is None:
            continue
        weights = np.asarray(weights, dtype=float)
        if weights.ndim != 2 or not (
            np.isfinite(weights).all() and weights.min() >= 0 < weights.max()
        ):
            raise ValueError(
                f"attention has shape {weights.shape} and values from {weights.min():g} to"
                f" {weights.max():g}, expected (h, w), none below 0 and not all 0"
            )
        veil = np.zeros((*weights.shape, 4))  # black, and the less of it the more attention
        veil[..., 3] = 0.85 * (1 - weights / weights.max())
        ax.imshow(veil, extent=ax.images[0].get_extent(), interpolation="nearest")
        ax.text(
            0.5,
            -0.02,
            f"largest weight {weights.max():.2g}",
            transform=ax.transAxes,
            ha="center",
            va="top",
            fontsize=9,
            color=INK,
        )
    for ax, named in zip(grid, per_item("boxes", boxes, len(images))):
        for k, (name, (left, top, right, bottom)) in enumerate((named or {}).items()):
            # seen on any ground
            for color, width, line in (("white", 4, "-"), (INK, 1.8, LINES[k % len(LINES)])):
                ax.add_patch(
                    Rectangle(
                        (left, top),
                        right - left,
                        bottom - top,
                        fill=False,
                        edgecolor=color,
                        linewidth=width,
                        linestyle=line,
                    )
                )
            # above one box, below the next: boxes may share a top
            edge, side = (bottom, "top") if k % 2 else (top, "bottom")
            ax.text(
                left,
                edge,
                name,
                va=side,
                fontsize=9,
                color=INK,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
    return figure


@captioned
def spectrograms(sounds: dict, rate: int) -> Figure:
    """Pictures of sounds (S,): time to the right in seconds, frequency upwards in kHz, dark
    where it is loud (dB).
    """
    import numpy as np

    _check_sounds(sounds)
    figure, grid = axes(height=2.4, columns=len(sounds), squeeze=False, sharey=True)
    for ax, (name, sound) in zip(grid.flat, sounds.items()):
        x = np.asarray(sound, dtype=float)
        with np.errstate(divide="ignore"):  # silence is -inf dB, drawn white
            picture = ax.specgram(x, NFFT=256, noverlap=192, Fs=rate, cmap="Greys")[3]
        loudest = picture.get_clim()[1] if x.any() else 0.0
        picture.set_clim(loudest - 60, loudest)
        kilohertz = range(rate // 2000 + 1)
        ax.set_yticks([1000 * k for k in kilohertz], [str(k) for k in kilohertz])
        ax.set_title(name, fontsize=10, color=INK)
        ax.set_xlabel("time (s)")
    grid.flat[0].set_ylabel("frequency (kHz)")
    return figure


def listen(sounds: dict, rate: int, *, caption: str) -> None:
    """The `spectrograms` of sounds (S,) with their `players` below. A player's bytes are
    compared in the notebook's test: play shipped int16 clips, or tag the cell.
    """
    spectrograms(sounds, rate, caption=caption)
    players(sounds, rate)


def players(sounds: dict, rate: int) -> None:
    """A small sound player for each name, for sounds (S,) of float or int16 samples at `rate`
    Hz.
    """
    import numpy as np
    from IPython.display import HTML, Audio, display

    _check_sounds(sounds)
    cells = ""
    for name, sound in sounds.items():
        source = Audio(np.asarray(sound), rate=rate).src_attr()
        cells += (
            f'<div style="margin:2px 12px 6px 0">{html.escape(name)}<br>'
            f'<audio controls src="{source}" style="width:210px;height:34px"></audio></div>'
        )
    display(HTML(f'<div style="display:flex;flex-wrap:wrap">{cells}</div>'))


def _check_sounds(sounds: dict) -> None:
    import numpy as np

    for name, sound in sounds.items():
        if np.ndim(sound) != 1:
            raise ValueError(f"sounds[{name!r}]: expected shape (S,), got {np.shape(sound)}")
