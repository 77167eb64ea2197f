"""The map of prerequisites: which page needs which, and the picture of it.

    python tools/needs.py        draws notebooks/media/needs.png again

What a page needs it says in its first cell: "*About {minutes} minutes. You need pages 10 and 13
...*". An arrow is drawn for each page that is needed directly: page 12 needs 10 and 11, and 11
needs 10, so 12 has one arrow, from 11. The picture carries its arrows as text, and `make check`
compares this text, because the bytes of a picture are those of one version of matplotlib.
"""

import io
import sys
import textwrap
import tomllib
from itertools import pairwise

import pages
from pages import ROOT

PICTURE = "notebooks/media/needs.png"
MARK = "Description"  # the name of the text inside the picture
WIDE, BOX, GAP = 960, 98, 8  # pixels at which the picture is shown
LINE, PITCH, TOP, WAY = 13, 116, 84, 14  # a line of text, a row, the legend, a way between boxes
DPI, SCALE = 100, 1.6  # drawn larger than shown, so that it is sharp
# Okabe and Ito's colours, made light: a part has a colour, and its numbers stand in the boxes.
FILLS = ("#FFFFFF", "#CFE6F5", "#FBE3B4", "#F6D3E4", "#CDEBDF", "#E3E3E3")
EDGES = ("#222222", "#0072B2", "#B37700", "#A8447C", "#00795A", "#555555")


# ---- the arrows ----


def needs(root) -> dict[str, list[str]]:
    """{page: the pages that it says it needs} of all pages that stand."""
    return {room.name[:2]: pages.needed(room) for room in pages.sources(root)}


def before(page, arrows) -> set[str]:
    """All that must be read before a page."""
    found = set()
    for needed in arrows.get(page, []):
        found |= {needed} | before(needed, arrows)
    return found


def direct(arrows) -> dict[str, list[str]]:
    """The same without what follows from the rest."""
    return {
        page: [
            one
            for one in needed
            if not any(one in before(other, arrows) for other in needed if other != one)
        ]
        for page, needed in arrows.items()
    }


def in_words(root) -> str:
    """The arrows as a sentence: who cannot see the picture, and `make check`, read it."""
    found = {}
    for page, needed in direct(needs(root)).items():
        for one in needed:
            found.setdefault(one, []).append(page)
    ways = "; ".join(f"{one} to {', '.join(found[one])}" for one in sorted(found))
    return f"Which page leads to which, an arrow for each page that is needed directly: {ways}."


def problems(root):
    """Sentences: a page that needs a later one or one that is not there, and an old picture."""
    arrows = needs(root)
    for page, needed in arrows.items():
        for one in needed:
            if one >= page or one not in arrows:
                yield f"page {page} needs page {one}, expected one that stands and comes before it"
    if (root / PICTURE).is_file() and said(root / PICTURE) != in_words(root):
        yield f"{PICTURE} does not show what the pages need; type make notebooks"


def said(path) -> str:
    """The text inside a picture."""
    from PIL import Image  # comes with matplotlib

    with Image.open(path) as image:
        return image.text.get(MARK, "")


# ---- where everything stands ----


def layers(arrows) -> list[list]:
    """Rows of pages from the top down: a page stands below all that it needs, and further down
    if its row is full and no page needs it. Where a way passes a row, ("way", page where it
    begins) keeps a place for it.
    """
    depth = {}
    for page in sorted(arrows):
        depth[page] = 1 + max((depth[one] for one in arrows[page]), default=-1)
    needed = {one for pages_needed in arrows.values() for one in pages_needed}
    while True:
        rows = filled(depth, arrows)
        full = [row for row in rows if sum(map(width, row)) > WIDE]
        last = [page for page in full[0] if page in depth and page not in needed] if full else []
        if not last:
            return rows
        depth[last[-1]] += 1


def filled(depth, arrows) -> list[list]:
    """The rows, each page in the row that `depth` says, and the ways that pass."""
    rows = [[] for _ in range(1 + max(depth.values()))]
    for page, row in depth.items():
        rows[row].append(page)
        far = max((depth[other] for other in arrows if page in arrows[other]), default=row)
        for passed in range(row + 1, far):
            rows[passed].append(("way", page))
    return rows


def above(spot, row, rows, arrows) -> list:
    """The spots of the row above from which ways lead to this one."""
    upper = rows[row - 1] if row else []
    wanted = [spot[1]] if isinstance(spot, tuple) else arrows[spot]
    return [one for one in upper if (one[1] if isinstance(one, tuple) else one) in wanted]


def links(rows, arrows) -> list[list[tuple[int, int]]]:
    """Between each two rows the ways, as (place above, place below)."""
    return [
        [
            (rows[row - 1].index(one), place)
            for place, spot in enumerate(rows[row])
            for one in above(spot, row, rows, arrows)
        ]
        for row in range(1, len(rows))
    ]


def crossings(rows, arrows) -> int:
    found = 0
    for ways in links(rows, arrows):
        for place, (a, b) in enumerate(ways):
            found += sum((a - c) * (b - d) < 0 for c, d in ways[:place])
    return found


def ordered(arrows) -> list[list]:
    """The rows, each in an order in which few ways cross: neighbours change places as long as
    that helps, from several beginnings.
    """
    best, fewest = None, None
    for start in range(8):
        rows = [row[:] for row in layers(arrows)]
        for sweep in range(12):
            sorted_by_neighbours(rows, arrows, down=(sweep + start) % 2 == 0)
        swapped(rows, arrows)
        if best is None or crossings(rows, arrows) < fewest:
            best, fewest = rows, crossings(rows, arrows)
    return best


def sorted_by_neighbours(rows, arrows, down):
    """One sweep: each spot goes to the mean place of those that it has ways to."""
    order = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
    for row in order:
        ways = links(rows, arrows)
        near = {}
        for a, b in ways[row - 1] if down else ways[row]:
            near.setdefault(b if down else a, []).append(a if down else b)
        places = {
            place: sum(near[place]) / len(near[place]) if place in near else place
            for place in range(len(rows[row]))
        }
        rows[row] = [rows[row][place] for place in sorted(places, key=lambda one: places[one])]


def swapped(rows, arrows):
    """Neighbours change places as long as fewer ways cross."""
    count, better = crossings(rows, arrows), True
    while better:
        better = False
        for row in rows:
            for place in range(len(row) - 1):
                row[place : place + 2] = row[place + 1], row[place]
                if (now := crossings(rows, arrows)) < count:
                    count, better = now, True
                else:
                    row[place : place + 2] = row[place + 1], row[place]


def width(spot) -> int:
    return WAY if isinstance(spot, tuple) else BOX + GAP


def placed(rows, arrows) -> list[list[float]]:
    """x of each spot, near to those that it has ways to, and as far from its neighbours as their
    widths ask for.
    """
    places = [spread([WIDE * (n + 1) / (len(row) + 1) for n in range(len(row))], row)
              for row in rows]  # fmt: skip
    ways = links(rows, arrows)
    for sweep in range(40):
        order = range(len(rows)) if sweep % 2 else range(len(rows) - 1, -1, -1)
        for row in order:
            near = [[] for _ in rows[row]]
            for a, b in ways[row - 1] if row else []:
                near[b].append(places[row - 1][a])
            for a, b in ways[row] if row < len(ways) else []:
                near[a].append(places[row + 1][b])
            wanted = [sum(x) / len(x) if x else places[row][n] for n, x in enumerate(near)]
            places[row] = spread(wanted, rows[row])
    return places


def spread(wanted, row) -> list[float]:
    """The places nearest to those wanted at which nothing overlaps: neighbours that would are
    moved together, to the mean of what they want.
    """
    shifts = [0.0]
    for left, right in pairwise(row):
        shifts.append(shifts[-1] + (width(left) + width(right)) / 2)
    groups = []  # [sum, number] of neighbours that stand side by side
    for x, shift in zip(wanted, shifts):
        groups.append([x - shift, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, number = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += number
    lowest = width(row[0]) / 2
    highest = WIDE - width(row[-1]) / 2 - shifts[-1]
    means = [total / number for total, number in groups for _ in range(number)]
    return [min(max(mean, lowest), highest) + shift for mean, shift in zip(means, shifts)]


# ---- the picture ----


def name_of(root, number, title) -> str:
    """A page's name in a box: that of its room, or the end of its title."""
    rooms = sorted((root / "notebooks/source").glob(f"{number}_*"))
    return rooms[0].name[3:].replace("_", " ") if rooms else title.rpartition(": ")[2]


def draw(root) -> bytes:
    """The picture as a PNG of few colours, with its arrows as text inside."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path as Way
    from PIL import Image, PngImagePlugin

    parts = tomllib.loads((root / "notebooks/source/map.toml").read_text(encoding="utf-8"))
    names = {page: (title, part) for part, (_, titles) in enumerate(parts.items())
             for page, title in titles.items()}  # fmt: skip
    arrows = direct(needs(root))
    rows = ordered(arrows)
    if planned := [page for page in names if page not in arrows]:
        rows[-1] += planned
        arrows |= {page: [] for page in planned}
    places = placed(rows, arrows)
    high = TOP + PITCH * (len(rows) - 1) + 72

    figure = Figure(figsize=(WIDE / DPI, high / DPI), dpi=DPI)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDE), ylim=(high, 0))
    ax.set_axis_off()
    legend(ax, parts)
    tall = {}
    for row, spots in enumerate(rows):
        y = TOP + 32 + PITCH * row
        for x, page in zip(places[row], spots):
            if isinstance(page, tuple):
                continue
            title, part = names[page]
            lines = textwrap.wrap(
                name_of(root, page, title), 15, break_long_words=False, max_lines=3,
                placeholder=" ...",
            )  # fmt: skip
            tall[page] = LINE * (1 + len(lines)) + 8
            ax.add_patch(FancyBboxPatch(
                (x - BOX / 2 + 4, y - tall[page] / 2 + 4), BOX - 8, tall[page] - 8,
                boxstyle="round,pad=4,rounding_size=6", facecolor=FILLS[part],
                edgecolor=EDGES[part], linewidth=1.1, zorder=3,
                linestyle="--" if page in planned else "-",
            ))  # fmt: skip
            top = y - tall[page] / 2 + 4 + LINE / 2
            ax.text(x, top, page, size=9, weight="bold", ha="center", va="center", zorder=4)
            for n, line in enumerate(lines, 1):
                ax.text(x, top + LINE * n, line, size=7.9, ha="center", va="center", zorder=4)
    for row, ways in enumerate(links(rows, arrows)):
        y, below = (TOP + 32 + PITCH * (row + n) for n in (0, 1))
        for a, b in ways:
            start, end = rows[row][a], rows[row + 1][b]
            x = places[row][a] + port([two for one, two in ways if one == a], b, start)
            to = places[row + 1][b] + port([one for one, two in ways if two == b], a, end)
            # a way goes on straight where it passes a row
            path = [(x, y + tall.get(start, 0) / 2), (x, y + 34), (to, below - 38)]
            path.append((to, below - tall.get(end, 0) / 2))
            style = "-" if isinstance(end, tuple) else "-|>,head_length=5,head_width=2.4"
            ax.add_patch(FancyArrowPatch(
                path=Way(path), arrowstyle=style, color="#444444", linewidth=1, zorder=2,
                joinstyle="round", shrinkA=0, shrinkB=0, mutation_scale=1,
            ))  # fmt: skip
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI * SCALE)
    with Image.open(drawn) as image:
        small = image.convert("RGB").quantize(64, Image.Quantize.FASTOCTREE, dither=0)
    text = PngImagePlugin.PngInfo()
    text.add_text(MARK, in_words(root))
    packed = io.BytesIO()
    small.save(packed, "PNG", optimize=True, pnginfo=text)
    return packed.getvalue()


def port(others, this, spot) -> float:
    """Where on its box a way begins or ends, from the middle, so that ways lie side by side."""
    if isinstance(spot, tuple):
        return 0
    step = min(14, (BOX - 24) / max(1, len(others) - 1))
    return step * (sorted(others).index(this) - (len(others) - 1) / 2)


def legend(ax, parts):
    """Which colour is which part, and which numbers."""
    from matplotlib.patches import Rectangle

    for n, (part, titles) in enumerate(parts.items()):
        x, y = 14 + 320 * (n % 3), 18 + 24 * (n // 3)
        ax.add_patch(Rectangle((x, y - 8), 22, 16, facecolor=FILLS[n], edgecolor=EDGES[n]))
        numbers = [min(titles), max(titles)][: 1 + (len(titles) > 1)]
        said = f"{part}: {' to '.join(numbers)}"
        ax.text(x + 30, y, said, size=8.6, va="center")
    ax.text(14, 66, "An arrow leads from a page to one that needs it.", size=8.6, va="center")


def write(root):
    """Draw the picture again, where there is one and it shows other arrows."""
    path = root / PICTURE
    if not path.is_file() or said(path) == in_words(root):
        return
    path.write_bytes(draw(root))
    print(f"{PICTURE}: drawn again")


def main(root=ROOT):
    (root / PICTURE).write_bytes(draw(root))


if __name__ == "__main__":
    sys.exit(main())
