"""One look for every figure: one palette, labels and markers beside every colour, a caption that
says what is seen.

Blue, orange and green are Okabe and Ito's. The purple is darker and the grey lighter than usual,
because at the same lightness a red-blind reader sees purple as blue and a green-blind one green
as grey (tests/test_plots.py measures this).
"""

import base64
import functools
import inspect
import io

import matplotlib
from matplotlib.figure import Figure

# A reader's matplotlibrc or style would change what a page draws in the open. What a reader sets
# after this import, `drawn_alike` keeps out of the course's own figures.
matplotlib.rcdefaults()

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


def drawn_alike(draw):
    """Make a function that draws or saves do it with matplotlib's own settings, whatever the
    reader has set; afterwards these are as before.
    """

    @functools.wraps(draw)
    def alike(*args, **options):
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            return draw(*args, **options)

    return alike


@drawn_alike
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

    draw = drawn_alike(draw)

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


@drawn_alike
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


def mean_and_half(name: str, value) -> tuple[float, float]:
    """A pair (mean, half-width of the interval) as two floats."""
    try:
        mean, half = value
        return float(mean), float(half)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}: expected two numbers, mean and half-width, got {value!r:.60}"
        ) from None


def per_item(name: str, value, count: int) -> list:
    """`value` as a list with one entry per item: a single number stands for all of them."""
    values = [value] * count if value is None or not hasattr(value, "__len__") else list(value)
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} entries, expected one for all or {count}")
    return values
