"""Means with their intervals: bars side by side, and points in groups."""

from matplotlib.figure import Figure

from course_utils.look import (
    CEILING,
    COLORS,
    INK,
    axes,
    captioned,
    kind,
    mean_and_half,
    per_item,
    styles,
)


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
