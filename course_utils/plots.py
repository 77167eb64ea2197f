"""One look for every figure: one palette, labels and markers beside every colour, a caption that says what is seen.

The palette is Okabe and Ito's, which readers with any of the common colour deficiencies can tell apart.
"""
import base64
import io

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

COLORS = {"text": "#0072B2", "image": "#D55E00", "audio": "#009E73", "fused": "#8A4FA3", "control": "#7F7F7F"}
MARKERS = {"text": "s", "image": "o", "audio": "^", "fused": "D", "control": "X"}
INK = "#222222"
DPI, SHOWN_AT = 160, 100  # drawn at 160 dots an inch and shown at 100, so that it is sharp on a laptop's screen


def show(figure: Figure, caption: str) -> None:
    """Display `figure` with `caption` as its alternative text, and the caption below it."""
    from IPython.display import display

    if not caption.strip():
        raise ValueError("caption is empty: say in a sentence what the figure shows")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    width = round(figure.get_figwidth() * SHOWN_AT)
    display({"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": caption},
            raw=True, metadata={"image/png": {"alt": caption, "width": width}})
    display({"text/markdown": f"*{caption}*", "text/plain": caption}, raw=True)


def axes(width: float = 7.2, height: float = 3.0, columns: int = 1, rows: int = 1, **options):
    """A figure in the course's look, and its axes; sizes in inches. Further options go to `Figure.subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, **options)
    for ax in getattr(grid, "flat", [grid]):
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(color=INK, labelcolor=INK)
    return figure, grid


def kind(name: str) -> str:
    """Which entry of the palette a bar or line belongs to: the modality itself, else "fused" or "control"."""
    return name if name in COLORS else "control" if "shuffled" in name else "fused"


def bars(scores: dict[str, tuple[float, float]], caption: str, *, label: str, chance: float | None = None,
         baseline: float | None = None) -> None:
    """Horizontal bars, one per name, with (mean, half-width of the interval), and lines for chance and a baseline."""
    figure, ax = axes(height=0.9 + 0.42 * len(scores))
    for row, (name, (mean, half)) in enumerate(scores.items()):
        ax.barh(row, mean, xerr=half, height=0.62, color=COLORS[kind(name)], ecolor=INK, capsize=3,
                hatch="//" if kind(name) == "control" else None, edgecolor="white")
        ax.text(mean + half + 0.8, row, f"{mean:.1f} ± {half:.1f}", va="center", color=INK, zorder=3,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    ax.set_yticks(range(len(scores)), list(scores))
    ax.invert_yaxis()
    ax.set_xlim(0, 108)
    ax.set_xlabel(label)
    for place, name in ((chance, "chance"), (baseline, "best single modality")):
        if place is not None:
            ax.axvline(place, color=INK, linestyle=":", linewidth=1)
            ax.text(place, -0.62, name, ha="center", va="bottom", color=INK, fontsize=9)
    show(figure, caption)


def points(settings: list[str], series: dict[str, list[tuple[float, float]]], caption: str, *, label: str) -> None:
    """For each of the named settings a group of marks, one a name, at (mean, half-width of the interval)."""
    figure, ax = axes(height=3.2)
    for k, (name, values) in enumerate(series.items()):
        places = [i + 0.13 * (k - (len(series) - 1) / 2) for i in range(len(settings))]
        means, halves = zip(*values)
        ax.errorbar(places, means, yerr=halves, linestyle="none", marker=MARKERS[kind(name)], markersize=6,
                    color=COLORS[kind(name)], capsize=2, label=name)
    ax.set_xticks(range(len(settings)), settings)
    ax.set_ylabel(label)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    show(figure, caption)


def pictures(images, caption: str, *, titles: list[str], columns: int = 5, size: float = 1.3) -> None:
    """Gray pictures (H, W), `columns` in a row, ink dark on light paper, all on the scale from 0 to 1."""
    columns, rows = min(columns, len(images)), -(-len(images) // columns)
    figure, grid = axes(width=size * columns, height=(size + 0.25) * rows, columns=columns, rows=rows, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, image, title in zip(grid.flat, images, titles):
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        ax.set_title(title, fontsize=10, color=INK)
    show(figure, caption)


def spectrograms(sounds: dict, rate: int, caption: str) -> None:
    """Pictures of sounds (S,): time to the right in seconds, frequency upwards in kHz, dark where it is loud (dB)."""
    import numpy as np

    figure, grid = axes(height=2.4, columns=len(sounds), squeeze=False, sharey=True)
    for ax, (name, sound) in zip(grid.flat, sounds.items()):
        _, _, _, picture = ax.specgram(np.asarray(sound, dtype=float), NFFT=256, noverlap=192, Fs=rate, cmap="Greys", mode="psd")
        picture.set_clim(picture.get_clim()[1] - 60, picture.get_clim()[1])  # the loudest 60 dB
        ax.set_yticks([0, 1000, 2000, 3000, 4000], ["0", "1", "2", "3", "4"])
        ax.set_title(name, fontsize=10, color=INK)
        ax.set_xlabel("time (s)")
    grid.flat[0].set_ylabel("frequency (kHz)")
    show(figure, caption)


def table_of_numbers(grid, rows: list[str], columns: list[str], caption: str, *, groups: list[str] | None = None) -> None:
    """A small tensor (R, C) as a grid with its numbers, named rows and columns; `groups` colours the columns by modality."""
    figure, ax = axes(width=1.6 + 0.8 * len(columns), height=0.8 + 0.42 * len(rows))
    for r in range(len(rows)):
        for c in range(len(columns)):
            color = COLORS[groups[c]] if groups else "#BBBBBB"
            ax.add_patch(FancyBboxPatch((c - 0.44, r - 0.4), 0.88, 0.8, boxstyle="round,pad=0,rounding_size=0.08",
                                        facecolor=color, alpha=0.22, edgecolor=color))
            ax.text(c, r, f"{float(grid[r][c]):g}", ha="center", va="center", color=INK)
    ax.set_xlim(-0.55, len(columns) - 0.45)
    ax.set_ylim(len(rows) - 0.45, -0.55)
    ax.set_xticks(range(len(columns)), columns)
    ax.xaxis.tick_top()
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    show(figure, caption)


def pipeline(caption: str) -> None:
    """The course's road map: raw data, one extractor per modality, fusion, head, loss."""
    figure, ax = axes(width=7.2, height=3.2)
    ax.set_xlim(0, 9.6)
    ax.set_ylim(0.1, 4.2)
    ax.set_axis_off()

    def box(x, y, text, color, width=1.5):
        ax.add_patch(FancyBboxPatch((x, y - 0.36), width, 0.72, boxstyle="round,pad=0,rounding_size=0.12",
                                    facecolor=color, alpha=0.2, edgecolor=color, linewidth=1.5))
        ax.text(x + width / 2, y, text, ha="center", va="center", color=INK, fontsize=10)

    def arrow(x0, y0, x1, y1, color=INK):
        ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.4})

    for y, (name, raw) in zip((3.0, 1.8, 0.6), {"text": '"sevn"', "image": "16 x 16 pixels", "audio": "0.5 s of sound"}.items()):
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
    ax.plot([8.75, 8.75, 2.15, 2.15], [2.2, 3.9, 3.9, 0.82], color="#777777", linestyle="--", linewidth=1.4)
    for y in (3.22, 2.02, 0.82):
        ax.annotate("", (2.46, y), (2.13, y), arrowprops={"arrowstyle": "-|>", "color": "#777777", "linewidth": 1.2})
    ax.text(5.5, 3.98, "gradient", color="#555555", fontsize=9)
    show(figure, caption)


def players(sounds: dict, rate: int) -> None:
    """A small sound player for each name, for sounds (S,) of float or int16 samples at `rate` Hz."""
    import numpy as np
    from IPython.display import HTML, Audio, display

    cells = ""
    for name, sound in sounds.items():
        source = Audio(np.asarray(sound), rate=rate).src_attr()
        cells += (f'<div style="margin:2px 12px 6px 0">{name}<br>'
                  f'<audio controls src="{source}" style="width:210px;height:34px"></audio></div>')
    display(HTML(f'<div style="display:flex;flex-wrap:wrap">{cells}</div>'))
