"""Figures: colours that everyone can tell apart, labels that do not hide each other, captions,
plain text.
"""

import inspect
import itertools
import os
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.style import library
from matplotlib.text import Text

from course_utils import drawings, plots
from course_utils.plots import images, intervals, lines, sounds
from course_utils.runtime import ROOT

# Red-blind, green-blind and blue-blind sight: linear RGB in, linear RGB out. Machado, Oliveira and
# Fernandes (2009), "A Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE
# TVCG 15(6), severity 1.0.
SIGHT = {
    "full": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
APART = 15  # CIELAB units; colours 2.3 apart can just be told from each other side by side
RNG = np.random.default_rng(0)
SCORES = {
    "text": (68.9, 0.4),
    "image": (83.6, 0.5),
    "concatenation": (86.1, 0.6),
    "text shuffled": (83.2, 0.9),
}
SOUNDS = {"tone": np.sin(np.arange(4000)), "nothing": np.zeros(4000)}
DRAWN = {
    "bars": lambda **more: plots.bars.figure(SCORES, label="accuracy (%)", **more),
    "curves": lambda **more: plots.curves.figure(
        [64, 256, 1024],
        {
            "text": [50.1, 60, 70],
            "image": [50, 60, 70.1],
            "sum": [(50, 2), (61, 2), (70, 1)],
            "gated": [50, 60, 70.2],
        },
        xlabel="samples",
        label="accuracy (%)",
        **more,
    ),
    "points": lambda: plots.points.figure(
        ["clean", "hard"], {name: [(50, 1), (60, 2)] for name in SCORES}, label="accuracy (%)"
    ),
    "pictures": lambda: plots.pictures.figure([np.eye(8)] * 7, titles=list("abcdefg")),
    "overlay": lambda **more: plots.overlay.figure(
        [RNG.random((3, 8, 8)), np.eye(8)], **{"titles": ["one", "two"], **more}
    ),
    "spectrograms": lambda: plots.spectrograms.figure(SOUNDS, 8000),
    "table_of_numbers": lambda **more: plots.table_of_numbers.figure(
        [[1, -2.5], [0.125, 1e-9]], ["a", "b"], ["x", "y"], **more
    ),
}


def linear(color):
    """sRGB in [0, 1] (..., 3) -> linear RGB."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def cielab(rgb):
    """Linear RGB (3,) -> L*, a*, b* under daylight D65."""
    xyz = (
        np.array(
            [
                [0.4124564, 0.3575761, 0.1804375],
                [0.2126729, 0.7151522, 0.0721750],
                [0.0193339, 0.1191920, 0.9503041],
            ]
        )
        @ rgb
    )
    x, y, z = (
        t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116
        for t in xyz / [0.95047, 1, 1.08883]
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colors, sight):
    """(distance, name, name) of the two colours that this sight confuses most easily."""
    seen = {
        name: cielab(np.clip(SIGHT[sight] @ linear(np.array(to_rgb(color))), 0, 1))
        for name, color in colors.items()
    }
    return min(
        (np.linalg.norm(seen[a] - seen[b]), a, b) for a, b in itertools.combinations(seen, 2)
    )


def words(figure):
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def overlapping(figure, names):
    """Pairs of labels that cover each other (asked of Text, since an annotation counts its
    leader line as well).
    """
    figure.draw_without_rendering()
    boxes = {
        text.get_text(): Text.get_window_extent(text)
        for text in words(figure)
        if text.get_text() in names
    }
    assert boxes.keys() == set(names)
    return [
        pair for pair in itertools.combinations(names, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])
    ]


@pytest.fixture
def shown(monkeypatch):
    """What the page would get: a list of (content, metadata)."""
    found = []
    monkeypatch.setattr(
        "IPython.display.display",
        lambda data, metadata=None, raw=False: found.append((data, metadata)),
    )
    return found


@pytest.mark.parametrize("sight", SIGHT)
def test_the_palette_can_be_told_apart(sight):
    distance, *pair = nearest(plots.COLORS, sight)
    assert distance > APART, pair


def test_the_measure_finds_the_colours_that_are_confused():
    assert nearest({"text": "#0072B2", "fused": "#8A4FA3"}, "protanopia")[0] < 10
    assert nearest({"audio": "#009E73", "control": "#7F7F7F"}, "deuteranopia")[0] < 10
    assert cielab(np.ones(3)) == pytest.approx([100, 0, 0], abs=0.01)
    assert all(
        matrix @ np.ones(3) == pytest.approx(np.ones(3), abs=1e-5) for matrix in SIGHT.values()
    ), "gray stays gray"


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_drawn_in_plain_letters_and_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = DRAWN[name]()
        assert plots.png(figure).startswith(b"\x89PNG")
    beyond_ascii = set("".join(text.get_text() for text in words(figure))) - set(
        map(chr, range(128))
    )
    assert beyond_ascii <= {"±", "\N{MINUS SIGN}"}, (
        "in matplotlib's own font, which is all that we count on"
    )


def test_every_figure_is_tested_and_needs_a_caption(shown):
    homes = [images, intervals, lines, sounds, drawings]
    functions = {
        name: thing
        for home in homes
        for name, thing in vars(home).items()
        if hasattr(thing, "figure") and inspect.isfunction(thing)
    }
    assert functions.keys() == DRAWN.keys() <= plots.HOMES.keys()
    for function in [*functions.values(), plots.listen]:
        parameter = inspect.signature(function).parameters["caption"]
        assert parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    for caption in ("", " ", None):
        with pytest.raises(ValueError, match="caption is .*, expected a sentence"):
            plots.bars(SCORES, label="x", caption=caption)
    assert shown == []


def test_a_figure_reaches_the_page_with_its_caption_and_width(shown):
    plots.bars(SCORES, label="x", caption="What is seen.")
    (picture, about), (below, _) = shown
    assert picture["text/plain"] == about["image/png"]["alt"] == "What is seen."
    assert about["image/png"]["width"] == 720
    assert below["text/markdown"] == "*What is seen.*"


def test_a_name_finds_its_colour():
    kinds = {
        "text": "text",
        "image alone": "image",
        "best audio": "audio",
        "text + image": "fused",
        "all three": "fused",
        "audio shuffled": "control",
        "context": "fused",
        "text, mean": "text",
        "fused": "fused",
        "control": "control",
    }
    assert {name: plots.kind(name) for name in kinds} == kinds


def test_series_of_one_colour_differ_in_marker_and_line():
    looks = plots.styles(["text", "sum", "mean", "gated", "tensor"]).values()
    assert len({(look["color"], look["marker"]) for look in looks}) == 5
    assert len({(look["color"], look["linestyle"]) for look in looks}) == 5


@pytest.mark.parametrize(
    "ceiling, expected", [(90, [90] * 4), ([69.15, 84.13, 86.82, None], [69.15, 84.13, 86.82])]
)
def test_a_ceiling_stands_beside_each_bar_and_hides_no_number(ceiling, expected):
    figure = DRAWN["bars"](ceiling=ceiling)
    lines = [line for line in figure.axes[0].lines if line.get_color() == plots.CEILING["color"]]
    assert [line.get_xdata()[0] for line in lines] == expected
    figure.draw_without_rendering()
    numbers = [text.get_window_extent() for text in words(figure) if "±" in text.get_text()]
    assert not any(line.get_window_extent().overlaps(box) for line in lines for box in numbers)


@pytest.mark.parametrize("chance, baseline", [(10, 83.6), (50, 88), (80, None)])
def test_the_names_of_lines_lean_away_from_each_other(chance, baseline):
    figure = DRAWN["bars"](ceiling=86.8, chance=chance, baseline=baseline)
    names = ["ceiling", "chance"] + ["best single modality"] * (baseline is not None)
    assert overlapping(figure, names) == []
    ax = figure.axes[0]
    lines = max(line.get_zorder() for line in ax.lines)
    for text in (text for text in ax.texts if text.get_text() in names):
        paper = text.get_bbox_patch()
        assert paper and to_rgb(paper.get_facecolor()) == (1, 1, 1), "no line goes through it"
        assert text.get_zorder() > lines


def test_bars_fit_another_scale():
    figure = plots.bars.figure({"text": (0.5, 0.01)}, label="share", top=1, decimals=2)
    assert figure.axes[0].get_xlim() == (0, 1.08)
    assert "0.50 ± 0.01" in [text.get_text() for text in words(figure)]


def test_curves_name_each_line_at_its_end():
    figure = DRAWN["curves"](log="x", ceiling=[60, 65, 70.3], chance=50)
    assert overlapping(figure, ["text", "image", "sum", "gated", "ceiling", "chance"]) == []
    ax = figure.axes[0]
    assert ax.get_xscale() == "log" and [tick.get_text() for tick in ax.get_xticklabels()] == [
        "64",
        "256",
        "1024",
    ]
    assert len(ax.collections) == 1, "a band where there are intervals, and only there"


def test_a_logarithmic_axis_has_plain_numbers():
    figure = plots.curves.figure(
        range(20), {"sum": np.geomspace(2, 0.15, 20)}, xlabel="step", label="loss", log="y"
    )
    figure.draw_without_rendering()
    labels = {text.get_text() for text in figure.axes[0].get_yticklabels(which="both")}
    assert {"1", "0.2"} <= labels and not any("e" in label or "$" in label for label in labels)


def test_a_line_that_ends_in_nan_is_named_where_it_was_last_seen():
    figure = plots.curves.figure(
        [1, 2, 3], {"sum": [1, 2, float("nan")], "mean": [float("nan")] * 3}, xlabel="x", label="y"
    )
    assert "sum" in [text.get_text() for text in words(figure)]


@pytest.mark.parametrize("places", [[0.5, 0.5, 0.5], [0.1, 0.12, 0.9, 0.91, 0.14], [0.3], []])
def test_spread_keeps_order_and_distance(places):
    moved = plots.spread(places, 0.1)
    assert np.diff(np.sort(moved)).min(initial=1) >= 0.1 - 1e-9
    assert [moved[i] for i in np.argsort(places, kind="stable")] == sorted(moved)
    assert sum(moved) == pytest.approx(sum(places))


def test_numbers_with_signs_are_lined_up():
    assert plots.as_texts([3, 0.2, 0, 0.3333333, 1797]) == ["3", "0.2", "0", "0.3333", "1797"]
    assert plots.as_texts([-0.5, 1.25, 0, -1e-9]) == ["-0.50", "+1.25", "0.00", "0.00"]
    assert plots.as_texts([-1, 2]) == ["-1", "+2"]
    assert plots.as_texts([-1 / 3, float("nan"), -float("inf")]) == ["-0.333", "nan", "-inf"]


def test_a_table_shows_two_groups_of_rows():
    figure = DRAWN["table_of_numbers"](row_groups=["text", "image"])
    assert {"text", "image", "-2.500", "+0.125"} <= {text.get_text() for text in words(figure)}
    assert [patch.get_facecolor()[:3] for patch in figure.axes[0].patches[::2]] == [
        to_rgb(plots.COLORS[m]) for m in ("text", "image")
    ]
    assert np.diff(figure.axes[0].get_yticks()) > 1.3


def test_attention_darkens_what_is_not_looked_at():
    weights = np.array([[0.1, 0.2], [0.3, 0.4]])
    ax = DRAWN["overlay"](attention=[None, weights]).axes[1]
    picture, veil = ax.images
    opacity = veil.get_array()[..., 3]
    assert opacity[1, 1] == 0 and (np.argsort(opacity.ravel()) == [3, 2, 1, 0]).all()
    assert veil.get_extent() == picture.get_extent(), (
        "over the whole picture, whatever the two grids"
    )
    assert "largest value 0.4" in [text.get_text() for text in ax.texts]
    ax = DRAWN["overlay"](attention=[None, weights / 100]).axes[1]
    assert "largest value 0.004" in [text.get_text() for text in ax.texts]


def test_boxes_stand_where_their_pixels_are():
    ax = DRAWN["overlay"](boxes=[{"true": (2, 1, 5, 4), "found": (2, 1, 6, 4)}, None]).axes[0]
    assert ax.images[0].get_extent() == [0, 8, 8, 0]
    assert {patch.get_bbox().bounds for patch in ax.patches} == {(2, 1, 3, 3), (2, 1, 4, 3)}
    assert (
        len(
            {
                patch.get_linestyle()
                for patch in ax.patches
                if patch.get_edgecolor()[:3] != (1, 1, 1)
            }
        )
        == 2
    )


def test_a_sound_comes_with_its_player(shown):
    plots.listen({"a <tone>": SOUNDS["tone"]}, 8000, caption="A tone.")
    *_, (below, _) = shown[:2]
    assert below["text/plain"] == "A tone."
    assert shown[2][0].data.count("<audio") == 1 and "a &lt;tone&gt;" in shown[2][0].data


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("bars", {"ceiling": [1, 2]}, "ceiling has 2 entries, expected one for all or 4"),
        ("curves", {"ceiling": [1, 2]}, "ceiling has 2 entries, expected one for all or 3"),
        ("overlay", {"titles": ["one"]}, "titles has 1 entries"),
        (
            "overlay",
            {"attention": [None, -np.eye(2)]},
            r"attention has shape \(2, 2\) and values from -1 to -0",
        ),
        ("overlay", {"attention": [None, np.zeros((2, 2))]}, "not all 0"),
        ("overlay", {"attention": [None, np.ones(4)]}, r"attention has shape \(4,\)"),
        (
            "table_of_numbers",
            {"groups": ["text"]},
            "groups has 1 entries, expected one for all or 2",
        ),
        ("table_of_numbers", {"row_groups": ["text"]}, "row_groups has 1 entries"),
    ],
)
def test_what_does_not_fit_is_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        DRAWN[name](**options)


def test_pictures_and_tables_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"a picture has shape \(1, 8, 8\), expected \(H, W\)"):
        plots.pictures.figure([np.zeros((1, 8, 8))], titles=["one"])
    with pytest.raises(ValueError, match=r"grid has 1 rows of \[2\] numbers, expected 2 rows of 2"):
        plots.table_of_numbers.figure([[1, 2]], ["a", "b"], ["x", "y"])


@pytest.mark.parametrize(
    "draw, message",
    [
        (lambda: plots.bars.figure({"text": 0.3}, label="a"), r"scores\['text'\]: expected two"),
        (lambda: plots.bars.figure({"text": [1, 2, 3]}, label="a"), r"scores\['text'\]: expected"),
        (
            lambda: plots.curves.figure([1, 2], {"text": [(1, 2, 3), 4]}, xlabel="x", label="a"),
            r"series\['text'\]: expected two numbers, mean and half-width, got \(1, 2, 3\)",
        ),
        (lambda: plots.points.figure(["a"], {"text": [0.3]}, label="a"), r"\['text'\]: expected"),
        (lambda: plots.spectrograms.figure({"a": np.ones((2, 9))}, 8000), r"\['a'\]: expected"),
        (lambda: plots.players({"a": np.ones((2, 9))}, 8000), r"sounds\['a'\]: .* got \(2, 9\)"),
        (lambda: plots.table_of_numbers.figure([1, 2], ["a"], ["b"]), "grid: expected a table"),
        (lambda: plots.table_of_numbers.figure(np.ones((1, 2, 2)), ["a"], ["b", "c"]), "grid: exp"),
    ],
)
def test_values_of_another_shape_are_refused_by_name(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


# ---- whatever the reader has set ----

SET = {
    "font.family": "No Such Font",
    "font.size": 20,
    "text.usetex": True,
    "figure.dpi": 50,
    "figure.facecolor": "pink",
    "savefig.dpi": 30,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 1,
    "savefig.facecolor": "pink",
    "savefig.transparent": True,
    "lines.linewidth": 7,
    "lines.markersize": 20,
    "axes.prop_cycle": "cycler('color', ['k', 'r'])",
    "axes.unicode_minus": False,
    "image.cmap": "hot",
    "image.interpolation": "bilinear",
}
OPEN = """
import hashlib, io
import numpy as np
from course_utils import plots
figure, (left, right) = plots.axes(columns=2)
left.plot([1, -2, 7 / 9], "o-", label="a")
left.set_title("in the open")
left.legend()
right.imshow(np.eye(3))
drawn = plots.bars.figure({"text": (100 / 3, 0.3)}, label="x")
plain = io.BytesIO()
figure.savefig(plain)
for picture in (plots.png(figure), plots.png(drawn), plain.getvalue()):
    print(hashlib.sha256(picture).hexdigest())
"""
DARK = "import matplotlib.pyplot as plt\nplt.style.use('dark_background')\n"
# as a kernel sets it up for a reader who wants smaller pictures
INLINE = """
from IPython.core.interactiveshell import InteractiveShell
from matplotlib_inline.backend_inline import configure_inline_support
from matplotlib_inline.config import InlineBackend
shell = InteractiveShell.instance()
InlineBackend.instance(parent=shell).rc = {"figure.dpi": 50, "font.size": 7}
configure_inline_support(shell, "module://matplotlib_inline.backend_inline")
"""


@pytest.mark.parametrize("settings", [SET, library["dark_background"]], ids=["own", "dark"])
@pytest.mark.parametrize("name", [*DRAWN, "pipeline", "axes", "panels"])
def test_what_a_reader_sets_changes_no_figure_and_stays_set(name, settings, shown):
    def drawn():
        if name == "pipeline":
            plots.pipeline("The road map.")
            return shown[-2][0]["image/png"]
        if name == "axes":
            return plots.png(plots.axes()[0])
        if name == "panels":
            return plots.png(plots.panels([np.eye(8) / 3], ["one"], 1, 2.2)[0])
        return plots.png(DRAWN[name]())

    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state
    expected = drawn()
    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state
    with matplotlib.rc_context(settings):
        before = {name: matplotlib.rcParams[name] for name in settings}
        assert drawn() == expected
        assert {name: matplotlib.rcParams[name] for name in settings} == before


@pytest.fixture(scope="module")
def in_a_process(tmp_path_factory):
    """The hashes that OPEN prints after `first`, under a matplotlibrc."""
    rc = tmp_path_factory.mktemp("settings") / "matplotlibrc"

    def hashes(first="", settings=None):
        text = "\n".join(f"{name}: {value}" for name, value in (settings or {}).items())
        rc.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", first + OPEN],
            cwd=ROOT,
            env={**os.environ, "MATPLOTLIBRC": str(rc), "IPYTHONDIR": str(rc.parent)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return hashes


@pytest.mark.parametrize(
    "surrounding",
    [{"settings": SET}, {"first": DARK}, {"first": INLINE}],
    ids=["matplotlibrc", "dark style", "inline"],
)
def test_what_a_page_plots_in_the_open_is_the_same_everywhere(surrounding, in_a_process):
    expected = in_a_process()
    assert len(set(expected)) == 3
    assert in_a_process(**surrounding) == expected
