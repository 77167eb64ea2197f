"""Pictures in a grid, and what is drawn on them: boxes, maps of attention."""

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from course_utils.look import INK, LINES, axes, captioned, drawn_alike, per_item


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
    where it is 0; the largest value is printed below it.
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
            f"largest value {weights.max():.2g}",
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
