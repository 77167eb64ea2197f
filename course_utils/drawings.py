"""Figures that are drawn and not plotted: a small tensor with its numbers, the road map."""

import math

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from course_utils.look import COLORS, INK, axes, captioned, drawn_alike, per_item, show


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
    try:
        values = [[float(value) for value in row] for row in grid]
    except (TypeError, ValueError, RuntimeError):
        raise ValueError("grid: expected a table of numbers, (R, C)") from None
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


@drawn_alike
def pipeline(caption: str, sample: dict[str, str] | None = None) -> None:
    """The course's road map: raw data, one extractor per modality, fusion, head, loss; and the
    gradient's way back, dashed, which enters an extractor only if that has weights.

    `sample` says what stands under each modality's name, as in {"text": '"sevn"'}.
    """
    figure, ax = axes(width=7.2, height=3.2)
    ax.set_xlim(0, 9.6)
    ax.set_ylim(0.1, 4.2)
    ax.set_axis_off()
    sample = {"text": "a word", "image": "a picture", "audio": "a sound"} | (sample or {})

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

    def arrow(x0, y0, x1, y1, color=INK, line="-"):
        style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.4, "linestyle": line}
        ax.annotate("", (x1, y1), (x0, y0), arrowprops=style)

    back = {"color": "#777777", "line": "--"}
    for y, (name, raw) in zip((3.4, 2.0, 0.6), sample.items()):
        color = COLORS[name]
        box(0.1, y, f"{name}\n{raw}", color, width=1.75)
        box(2.45, y, f"extractor\nf_{name}", color)
        arrow(1.85, y, 2.45, y, color)
        joint = 2.0 + (y - 2.0) * 0.2  # where it meets the fusion's left side
        arrow(3.95, y + 0.1, 4.75, joint + 0.1, color)
        arrow(4.75, joint - 0.12, 3.95, y - 0.12, **back)
    box(4.75, 2.0, "fusion\ng", COLORS["fused"], width=1.2)
    box(6.45, 2.0, "head\nW, b", COLORS["fused"], width=1.2)
    box(8.15, 2.0, "loss\n-log p(y)", "#555555", width=1.4)
    box(8.15, 0.6, "label y", "#555555", width=1.4)
    for left, right in ((5.95, 6.45), (7.65, 8.15)):
        arrow(left, 2.1, right, 2.1)
        arrow(right, 1.88, left, 1.88, **back)
    arrow(8.85, 0.96, 8.85, 1.64)
    ax.text(5.0, 3.72, "solid: the data's way forward", color=INK, fontsize=9)
    ax.text(5.0, 3.37, "dashed: the gradient's way back", color="#555555", fontsize=9)
    show(figure, caption)
