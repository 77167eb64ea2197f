"""One look for every figure: one palette, labels and markers beside every colour, a caption that
says what is seen.

Blue, orange and green are Okabe and Ito's. The purple is darker and the grey lighter than usual,
because at the same lightness a red-blind reader sees purple as blue and a green-blind one green
as grey (tests/test_plots.py measures this).
"""

import base64
import functools
import html
import inspect
import io
import math

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogFormatter

COLORS = {
    "text": "#0072B2",
    "image": "#D55E00",
    "audio": "#009E73",
    "fused": "#5A1E6E",
    "control": "#B0B0B0",
}
MARKERS = {"text": "s", "image": "o", "audio": "^", "fused": "D", "control": "X"}
# for further series of one colour
MORE_MARKERS, LINES = ["v", "P", "*", "h", "<"], ["-", "--", "-.", ":"]
INK = "#222222"
CEILING = {"color": "#555555", "linestyle": (0, (5, 2)), "linewidth": 1.4}
# drawn at 160 dots an inch and shown at 100, so that it is sharp on a laptop's screen
DPI, SHOWN_AT = 160, 100


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG at `DPI` dots an inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def shown_width(picture: bytes) -> int:
    """How wide a page shows a PNG drawn at `DPI`, in the page's pixels (a PNG's bytes 16 to 19
    hold its own width).
    """
    return round(int.from_bytes(picture[16:20], "big") * SHOWN_AT / DPI)


def bundle(picture: bytes, words: str) -> tuple[dict, dict]:
    """Data and metadata for IPython's `display(data, metadata=metadata, raw=True)`: a PNG, with
    `words` as its text.
    """
    return (
        {"image/png": base64.b64encode(picture).decode(), "text/plain": words},
        {"image/png": {"alt": words, "width": shown_width(picture)}},
    )


def sentence(name: str, text: str) -> str:
    """`text`, if it says anything: a figure without words is lost on who cannot see it."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{name} is {text!r}, expected a sentence that says what is seen")
    return text


def show(figure: Figure, caption: str) -> None:
    """Display `figure` with `caption` as its alternative text, and the caption below it."""
    from IPython.display import display

    data, metadata = bundle(png(figure), sentence("caption", caption))
    display(data, metadata=metadata, raw=True)
    display({"text/markdown": f"*{caption}*", "text/plain": caption}, raw=True)


def captioned(draw):
    """Make a function that returns a figure into one that shows it and asks for a `caption`.

    The figure itself stays within reach for widgets and tests: `bars.figure(scores,
    label="accuracy")`.
    """

    @functools.wraps(draw)
    def shown(*args, caption: str, **options) -> None:
        show(draw(*args, **options), caption)

    own = inspect.signature(draw)
    caption = inspect.Parameter("caption", inspect.Parameter.KEYWORD_ONLY, annotation=str)
    shown.__signature__ = own.replace(
        parameters=[*own.parameters.values(), caption], return_annotation=None
    )
    shown.figure = draw
    return shown


def axes(width: float = 7.2, height: float = 3.0, columns: int = 1, rows: int = 1, **options):
    """A figure in the course's look, and its axes; sizes in inches. Further options go to
    `Figure.subplots`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, **options)
    for ax in getattr(grid, "flat", [grid]):
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(color=INK, labelcolor=INK)
    return figure, grid


def kind(name: str) -> str:
    """Which entry of the palette a bar or line belongs to: the one modality that its name
    mentions, else "fused".

    A name with "shuffled" in it is a control.
    """
    if name in COLORS or "shuffled" in name:
        return name if name in COLORS else "control"
    mentioned = [
        modality
        for modality in ("text", "image", "audio")
        if modality in name.replace(",", " ").split()
    ]
    return mentioned[0] if len(mentioned) == 1 else "fused"


def styles(names) -> dict[str, dict]:
    """Colour, marker and line of each name; names of one colour get markers and lines of their
    own.
    """
    found, seen = {}, {}
    for name in names:
        k = seen[kind(name)] = seen.get(kind(name), -1) + 1
        marker = MORE_MARKERS[(k - 1) % len(MORE_MARKERS)] if k else MARKERS[kind(name)]
        found[name] = {
            "color": COLORS[kind(name)],
            "marker": marker,
            "linestyle": LINES[k % len(LINES)],
        }
    return found


def per_item(name: str, value, count: int) -> list:
    """`value` as a list with one entry per item: a single number stands for all of them."""
    values = [value] * count if value is None or not hasattr(value, "__len__") else list(value)
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} entries, expected one for all or {count}")
    return values


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
    share.
    """
    figure, ax = axes(height=0.9 + 0.42 * len(scores))
    ceilings = per_item("ceiling", ceiling, len(scores))
    for row, ((name, (mean, half)), best) in enumerate(zip(scores.items(), ceilings)):
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
                xerr=half,
                fmt="none",
                ecolor=color,
                elinewidth=1.5 + more,
                capthick=1 + more,
                capsize=3 + more / 2,
            )
        if best is not None:
            ax.plot([best, best], [row - 0.5, row + 0.5], gapcolor="white", **CEILING)
        end = mean + half
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
        ax.text(place, -0.62, name, ha=side, va="bottom", color=INK, fontsize=9)
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
        means, halves = zip(*((float(mean), float(half)) for mean, half in values))
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
        means, halves = zip(*per_item(name, series[name], len(settings)))
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


def panels(images, titles: list[str], columns: int, size: float):
    """Pictures from 0 to 1, gray (H, W) or with colours (H, W, 3) or (3, H, W): the figure and
    one axes for each.

    A pixel in row r and column c covers the square from (c, r) to (c + 1, r + 1).
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
            f"largest weight {weights.max():.2f}",
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

    figure, grid = axes(height=2.4, columns=len(sounds), squeeze=False, sharey=True)
    for ax, (name, sound) in zip(grid.flat, sounds.items()):
        with np.errstate(divide="ignore"):  # silence is -inf dB, drawn white
            _, _, _, picture = ax.specgram(
                np.asarray(sound, dtype=float),
                NFFT=256,
                noverlap=192,
                Fs=rate,
                cmap="Greys",
                mode="psd",
            )
        loudest = picture.get_clim()[1] if np.any(np.asarray(sound)) else 0.0
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


@captioned
def table_of_numbers(
    grid,
    rows: list[str],
    columns: list[str],
    *,
    groups: list[str] | None = None,
    row_groups: list[str] | None = None,
) -> Figure:
    """A small tensor (R, C) as a grid with its numbers, named rows and columns.

    `groups` colours the columns by modality. `row_groups` names the group of each row, sets a
    gap between groups and writes the name beside each; a group that is a modality colours its
    rows where the columns have no colour. Where a number is below 0, every number is shown with
    its sign.
    """
    values = [[float(value) for value in row] for row in grid]
    if [len(row) for row in values] != [len(columns)] * len(rows):
        raise ValueError(
            f"grid has {len(values)} rows of {sorted({len(row) for row in values})} numbers, "
            f"expected {len(rows)} rows of {len(columns)}"
        )
    texts = as_texts([value for row in values for value in row])
    groups = per_item("groups", groups, len(columns))
    row_groups = per_item("row_groups", row_groups, len(rows))
    named = any(row_groups)
    heights = [
        r + 0.4 * sum(a != b for a, b in zip(row_groups[:r], row_groups[1 : r + 1]))
        for r in range(len(rows))
    ]
    wide = max(0.8, 0.11 * max(map(len, texts)) + 0.1)  # inches a column
    figure, ax = axes(
        width=1.6 + wide * len(columns) + 0.7 * named, height=0.8 + 0.42 * (heights[-1] + 1)
    )
    for r, y in enumerate(heights):
        for c in range(len(columns)):
            color = COLORS.get(groups[c] or row_groups[r], "#BBBBBB")
            ax.add_patch(
                FancyBboxPatch(
                    (c - 0.44, y - 0.4),
                    0.88,
                    0.8,
                    boxstyle="round,pad=0,rounding_size=0.08",
                    facecolor=color,
                    alpha=0.22,
                    edgecolor=color,
                )
            )
            ax.text(c, y, texts[r * len(columns) + c], ha="center", va="center", color=INK)
    for group in dict.fromkeys(row_groups) if named else ():
        inside = [y for y, other in zip(heights, row_groups) if other == group]
        ax.text(
            len(columns) - 0.4,
            (inside[0] + inside[-1]) / 2,
            group,
            va="center",
            color=INK,
            fontweight="bold",
        )
    ax.set_xlim(-0.55, len(columns) - 0.45)
    ax.set_ylim(heights[-1] + 0.55, -0.55)
    ax.set_xticks(range(len(columns)), columns)
    ax.xaxis.tick_top()
    ax.set_yticks(heights, rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return figure


def as_texts(values: list[float]) -> list[str]:
    """The numbers as short texts: with their signs and equally many decimals (three at most)
    where one is below 0.
    """
    finite = [value for value in values if math.isfinite(value)]
    if min(finite, default=0) >= 0:
        return [
            f"{value:.0f}" if value in finite and value == round(value) else f"{value:.4g}"
            for value in values
        ]
    decimals = next(
        (d for d in range(3) if all(abs(round(value, d) - value) < 1e-6 for value in finite)), 3
    )
    return [
        (
            f"{value:{'+' if round(value, decimals) else ''}.{decimals}f}"
            if math.isfinite(value)
            else f"{value:g}"
        )
        for value in (
            0.0 if value in finite and not round(value, decimals) else value for value in values
        )
    ]


def pipeline(caption: str) -> None:
    """The course's road map: raw data, one extractor per modality, fusion, head, loss."""
    figure, ax = axes(width=7.2, height=3.2)
    ax.set_xlim(0, 9.6)
    ax.set_ylim(0.1, 4.2)
    ax.set_axis_off()

    def box(x, y, text, color, width=1.5):
        ax.add_patch(
            FancyBboxPatch(
                (x, y - 0.36),
                width,
                0.72,
                boxstyle="round,pad=0,rounding_size=0.12",
                facecolor=color,
                alpha=0.2,
                edgecolor=color,
                linewidth=1.5,
            )
        )
        ax.text(x + width / 2, y, text, ha="center", va="center", color=INK, fontsize=10)

    def arrow(x0, y0, x1, y1, color=INK):
        ax.annotate(
            "",
            (x1, y1),
            (x0, y0),
            arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.4},
        )

    for y, (name, raw) in zip(
        (3.0, 1.8, 0.6),
        {"text": '"sevn"', "image": "16 x 16 pixels", "audio": "0.5 s of sound"}.items(),
    ):
        color = COLORS[name]
        box(0.1, y, f"{name}\n{raw}", color, width=1.75)
        box(2.45, y, f"extractor\nf_{name}", color)
        arrow(1.85, y, 2.45, y, color)
        arrow(3.95, y, 4.65, 1.8 + (y - 1.8) * 0.25, color)
    box(4.65, 1.8, "fusion\ng", COLORS["fused"], width=1.2)
    box(6.35, 1.8, "head\nsoftmax", COLORS["fused"], width=1.2)
    box(8.05, 1.8, "loss\n-log p(y)", "#555555", width=1.4)
    box(8.05, 0.6, "label y", "#555555", width=1.4)
    arrow(5.85, 1.8, 6.35, 1.8)
    arrow(7.55, 1.8, 8.05, 1.8)
    arrow(8.75, 0.96, 8.75, 1.44)
    ax.plot(
        [8.75, 8.75, 2.15, 2.15],
        [2.2, 3.9, 3.9, 0.82],
        color="#777777",
        linestyle="--",
        linewidth=1.4,
    )
    for y in (3.22, 2.02, 0.82):
        ax.annotate(
            "",
            (2.46, y),
            (2.13, y),
            arrowprops={"arrowstyle": "-|>", "color": "#777777", "linewidth": 1.2},
        )
    ax.text(5.5, 3.98, "gradient", color="#555555", fontsize=9)
    show(figure, caption)


def players(sounds: dict, rate: int) -> None:
    """A small sound player for each name, for sounds (S,) of float or int16 samples at `rate`
    Hz.
    """
    import numpy as np
    from IPython.display import HTML, Audio, display

    cells = ""
    for name, sound in sounds.items():
        source = Audio(np.asarray(sound), rate=rate).src_attr()
        cells += (
            f'<div style="margin:2px 12px 6px 0">{html.escape(name)}<br>'
            f'<audio controls src="{source}" style="width:210px;height:34px"></audio></div>'
        )
    display(HTML(f'<div style="display:flex;flex-wrap:wrap">{cells}</div>'))
