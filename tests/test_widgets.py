"""The widget: driven in code, in a built notebook, and by a reader's hands in JupyterLab."""

import html
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ipywidgets import Dropdown, FloatSlider, IntSlider, SelectionSlider, Text

from course_utils import plots
from course_utils.widgets import Explorer

ROOT = Path(__file__).resolve().parents[1]
SOURCE = """\
# %% [markdown]
# # A widget

# %%
from ipywidgets import Dropdown, IntSlider

from course_utils import plots
from course_utils.widgets import Explorer


def draw(power, modality):
    if power == 3:
        raise ValueError("<3> is too steep")
    series = {modality: [i ** power for i in range(5)]}
    return plots.curves.figure(range(5), series, xlabel="x", label="y")


def describe(power, modality):
    return f"With power {power} the {modality} ends at {4 ** power}."


controls = {
    "power": IntSlider(value=1, min=0, max=3),
    "modality": Dropdown(options=["text", "image"]),
}
curve = Explorer(draw, controls, describe, caption="A power of x.")
curve

# %%
print(curve.set(power=2, modality="image"))
_ = curve.set(power=1, modality="text")
"""


def make(render=None, describe=None, controls=None, caption="What is seen."):
    """A widget whose calls are noted in `.calls`."""
    calls = []

    def draw(k, word):
        calls.append((k, word))
        if k == 4:
            raise ValueError("4 is <too> much")
        figure, ax = plots.axes(width=2 + k, height=1)
        ax.plot([0, k])
        return figure

    controls = controls or {
        "k": IntSlider(value=1, min=0, max=4),
        "word": Dropdown(options=[("one", [1]), ("two", [2])]),
    }
    widget = Explorer(
        render or draw,
        controls,
        describe or (lambda k, word: f"k is {k} & the word {word}."),
        caption=caption,
    )
    widget.calls = calls
    return widget


# ---- in code ----


def test_picture_and_sentence_follow_a_control():
    widget = make()
    before = widget.picture
    assert before.startswith(b"\x89PNG") and widget.sentence == "k is 1 & the word [1]."
    widget.controls["k"].value = 2  # as a browser does
    assert widget.picture != before and widget.sentence == "k is 2 & the word [1]."
    assert widget._image.value == widget.picture and widget._words.value.startswith(
        "k is 2 &amp; the word [1].<br>"
    )
    assert widget._image.layout.width == "400px", (
        "a wider picture is shown wider, and at no other scale"
    )


def test_a_setting_is_computed_once_even_where_options_have_no_hash():
    widget = make()
    first = widget.picture
    assert widget.set(k=2, word=[2]) == "k is 2 & the word [2]."
    assert widget.calls == [(1, [1]), (2, [2])], "both moves make one picture"
    widget.set(k=1, word=[1])
    assert widget.picture == first and len(widget.calls) == 2


def test_an_error_is_told_in_the_widget_and_goes_away():
    widget = make()
    before = widget.picture
    widget.controls["k"].value = 4
    assert (
        widget.sentence
        == "Nothing could be drawn at k = 4, word = [1]. ValueError: 4 is <too> much. "
        "The picture is the one before."
    )
    assert html.escape("<too>") in widget._words.value and "<too>" not in widget._words.value
    assert widget.picture == before
    widget.controls["k"].value = 2
    assert widget.sentence == "k is 2 & the word [1]." and widget.error is None
    with pytest.raises(ValueError, match="4 is <too> much"):
        widget.set(k=4)
    assert widget.sentence.startswith("Nothing could be drawn at k = 4")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"k": 5}, "k is 5, expected 0 to 4"),
        ({"k": 1.5}, "k is 1.5, expected 0 to 4"),
        ({"k": "a"}, "k is 'a', expected 0 to 4"),
        ({"word": [2], "k": -1}, "k is -1, expected 0 to 4"),
        ({"word": "one"}, "word is 'one', expected one of"),
        ({"words": [1]}, "there is no control words, expected k, word"),
    ],
)
def test_a_setting_that_does_not_exist_changes_nothing(settings, message):
    widget = make()
    with pytest.raises((TypeError, ValueError), match=message):
        widget.set(**settings)
    assert widget.settings == {"k": 1, "word": [1]} and widget.sentence == "k is 1 & the word [1]."
    assert widget.set(k=2) == "k is 2 & the word [1].", "and it still works"


def test_every_kind_of_control_and_ready_made_pictures():
    png = plots.png(plots.axes()[0])
    widget = make(
        render=lambda share, place: png,
        describe=lambda share, place: f"{share} {place}",
        controls={
            "share": FloatSlider(value=0.5, min=0, max=1, step=0.1, description="how much"),
            "place": SelectionSlider(options=["left", "right"]),
        },
    )
    widget.controls["share"].value = 0.1 + 0.2  # how a browser counts steps
    assert widget.sentence == "0.3 left"
    assert widget.set(place="right") == "0.3 right" and widget.picture == png
    assert [control.description for control in widget.controls.values()] == ["how much", "place"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"controls": [IntSlider()]}, r"controls is \[.*expected a dict of names and sliders"),
        (
            {"controls": {"k": Text()}},
            r"controls\['k'\] is Text.*, expected one of IntSlider, FloatSlider, Selection",
        ),
        ({"controls": {"k": (0, 4)}}, r"controls\['k'\] is \(0, 4\), expected one of"),
        (
            {"render": lambda k: None},
            (
                "render: too many .*|render: got an unexpected keyword argument 'word'; expected a"
                " function of k, word"
            ),
        ),
        (
            {"describe": lambda k, word, more: ""},
            "describe: missing a required argument: 'more'; expected a function of k, word",
        ),
        (
            {"render": lambda k, word: "a.png"},
            "render returned str, expected a matplotlib Figure or the bytes of a PNG",
        ),
        ({"render": lambda k, word: b"GIF89a"}, "render returned bytes, expected"),
        ({"describe": lambda k, word: None}, "what describe returned is None, expected a sentence"),
        ({"caption": " "}, "caption is ' ', expected a sentence"),
    ],
)
def test_a_faulty_widget_is_refused_where_it_is_made(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(**arguments)


# ---- in a notebook ----


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of one notebook with one widget, built as the real ones are."""
    sys.path.insert(0, str(ROOT / "tools"))
    import build_notebooks

    root = tmp_path_factory.mktemp("course")
    for name in (
        "pyproject.toml",
        "conftest.py",
        "tests/sanitize.cfg",
        "course_utils/__init__.py",
        "course_utils/lazy.py",
        "course_utils/look.py",
        "course_utils/drawings.py",
        "course_utils/widgets.py",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "course_utils/plots", root / "course_utils/plots")
    (root / "notebooks/source/00_widget").mkdir(parents=True)
    (root / "notebooks/source/00_widget/page.py").write_text(SOURCE, encoding="utf-8")
    assert build_notebooks.main([], root) == 0, (
        "built, and without a problem that check_notebooks knows"
    )
    return root


def test_the_page_holds_picture_and_sentence_and_no_widget(course):
    import nbformat

    nb = nbformat.read(course / "notebooks/00_widget.ipynb", as_version=4)
    picture, words = nb.cells[2].outputs
    assert picture.data.keys() == {"image/png", "text/plain"} and words.data.keys() == {
        "text/html",
        "text/plain",
    }
    assert (
        picture.data["text/plain"]
        == picture.metadata["image/png"]["alt"]
        == "With power 1 the text ends at 4."
    )
    assert words.data["text/html"] == "With power 1 the text ends at 4.<br><em>A power of x.</em>"
    assert nb.cells[3].outputs[0].text == "With power 2 the image ends at 16.\n"
    assert "widgets" not in nb.metadata


def test_strict_nbval_passes_and_sees_another_sentence(course):
    built = (course / "notebooks/00_widget.ipynb").read_text(encoding="utf-8")
    other = course / "notebooks/other.ipynb"
    other.write_text(
        built.replace("the text ends at 4.<br>", "the text ends at 5.<br>"), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "notebooks"],
        cwd=course,
        env=dict(os.environ, PYTEST_ADDOPTS=""),
        capture_output=True,
        text=True,
        timeout=120,
    )
    other.unlink()
    assert (
        "1 failed, 5 passed" in done.stdout
        and "FAILED notebooks/other.ipynb::Cell 1" in done.stdout
    ), done.stdout


# ---- in a browser ----


def test_a_reader_moves_the_slider_in_jupyterlab(course):
    pytest.importorskip("playwright", reason="the extra `browser` (Playwright) is not installed")
    sys.path.insert(0, str(ROOT / "tools"))
    import look

    if look.CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with look.opened(course / "notebooks/00_widget.ipynb") as page:
        assert all(cell["count"] and not cell["errors"] for cell in page.evaluate(look.RUN_ALL))
        picture, words, handle = (
            page.locator("img.widget-image"),
            page.locator(".widget-html-content"),
            page.locator(".noUi-handle"),
        )
        seen = []

        def wait_for(sentence):
            """Until the sentence is there; the picture must be another one than ever before."""
            words.get_by_text(sentence).wait_for(timeout=10_000)
            page.wait_for_function(
                "seen => !seen.includes(document.querySelector('img.widget-image').src)",
                arg=seen,
                timeout=10_000,
            )
            seen.append(picture.get_attribute("src"))

        wait_for("With power 1 the text ends at 4.")
        assert picture.evaluate("img => img.naturalWidth / img.clientWidth") == pytest.approx(
            plots.DPI / plots.SHOWN_AT, abs=0.01
        )
        handle.focus()
        page.keyboard.press("ArrowRight")
        wait_for("With power 2 the text ends at 16.")

        box, track = handle.bounding_box(), page.locator(".noUi-target").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(track["x"] - 20, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        wait_for("With power 0 the text ends at 1.")
        page.get_by_label("modality").select_option("image")
        wait_for("With power 0 the image ends at 1.")

        handle.focus()
        page.keyboard.press("End")
        words.get_by_text(
            "Nothing could be drawn at power = 3, modality = image. ValueError: <3> is too steep."
        ).wait_for(timeout=10_000)
        assert picture.get_attribute("src") == seen[-1]
        assert picture.count() == words.count() == 1, "nothing is stacked"
        assert page.locator(".jp-OutputArea-output [data-mime-type*='stderr']").count() == 0
        # the badge's picture needs the network
        assert [error for error in page.errors if "net::ERR_" not in error] == []
