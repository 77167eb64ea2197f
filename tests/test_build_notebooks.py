"""The builder, on a course of two tiny notebooks (built once; each test works on its own copy)."""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
from html import unescape
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import build_notebooks as builder
import check_notebooks
import execute
import pages

PACKAGE = """\
WORD = "two"


def check(key, answer):
    print(f"Exercise {key}: not attempted yet.")


def verify(number, by_hand, reference):
    print(f"Equation {number}: equal.")
"""
FIRST = r'''# %% [markdown]
# # First steps
#
# What is one and one?

# %%
import os
from pathlib import Path

from course_utils import WORD, check, verify
from course_utils.runtime import reads

print(WORD, reads(Path.cwd().parent / "data" / "numbers.txt").read_text())
strict = globals().get("strict", os.environ["COURSE_STRICT"]) + os.getenv("NBGRADER_EXECUTION", "")
assert not os.path.exists(os.environ["COURSE_DATA"]) and strict == "1"
assert Path.cwd().name == "notebooks" and Path(os.environ["COURSE_HOME"]).is_dir()

# %% [markdown]
# ## A sum
#
# $$1 + 1 = 2 \tag{00.1}$$

# %%
verify("00.1", 1 + 1, 2)

# %%
1 + 1

# %% [markdown]
# > **Exercise 00.1**

# %% exercise="00.1"
def double(x: int) -> int:
    """Twice x."""
    ### BEGIN SOLUTION
    twice = 2 * x
    return twice
    ### END SOLUTION

# %% [markdown] hints="00.1"
# <details><summary>A question that helps</summary>
#
# What is x + x?
#
# </details>

# %% [markdown]
# ## Recap
#
# Two.
'''
SECOND = """# %% [markdown]
# # Second steps

# %%
print("second")
"""
PYPROJECT = """[project]
name = "mini"
version = "0"

[project.urls]
Repository = "https://github.com/OWNER/REPO"
Issues = "https://github.com/OWNER/REPO/issues"
"""


RUNTIME = (ROOT / "course_utils" / "runtime.py").read_text(encoding="utf-8")


PAGE, BUILT = "notebooks/source/00_first/page.py", "notebooks/00_first.ipynb"


def write_course(root):
    for name, text in {
        "course_utils/__init__.py": PACKAGE,
        "course_utils/runtime.py": RUNTIME,
        "constraints.txt": "",
        "tools/execute.py": "",
        "data/numbers.txt": "1 2",
        "README.md": "",
        "CONTRIBUTING.md": "git clone https://github.com/OWNER/REPO course\n",
        "CITATION.cff": "repository-code: https://github.com/OWNER/REPO\n",
        ".github/ISSUE_TEMPLATE/config.yml": "url: https://github.com/OWNER/REPO/issues\n",
        "pyproject.toml": PYPROJECT,
        "notebooks/source/00_first/page.py": FIRST,
        "notebooks/source/01_second/page.py": SECOND,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    badge = pages.title_line(root, root / "notebooks/source/00_first")
    (root / "README.md").write_text(f"# Mini\n\n{badge}\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def built_course(tmp_path_factory):
    """Built in an environment that would spoil the outputs if the builder let it through."""
    root = write_course(tmp_path_factory.mktemp("course"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(Path(__file__).parent))
        patch.setenv("NBGRADER_EXECUTION", "autograde")
        patch.setenv("COURSE_STRICT", "0")
        assert builder.main([], root) == 0
    return root


@pytest.fixture
def course(built_course, tmp_path):
    root = tmp_path / "course"
    shutil.copytree(built_course, root)
    return root


@pytest.fixture
def unbuilt(tmp_path):
    return write_course(tmp_path)


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new) if old else new + text, encoding="utf-8")


def room(root):
    return root / "notebooks/source/00_first"


def page(root):
    return room(root) / "page.py"


def read(root, name="00_first"):
    return nbformat.read(root / f"notebooks/{name}.ipynb", as_version=4)


def cells_of(nb):
    return {cell.id: cell for cell in nb.cells}


def state(root):
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (root / "notebooks").glob("*.ipynb")
    }


# ---- what is built ----


def test_the_built_notebook_is_executed_and_clean(course):
    nb = read(course)
    cells = cells_of(nb)
    assert check_notebooks.problems(course / "notebooks/00_first.ipynb") == []
    assert [cell.execution_count for cell in nb.cells if cell.cell_type == "code"] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert cells["first-steps-1"].outputs[0].text == "two 1 2\n"
    assert cells["a-sum-2"].outputs[0].data["text/plain"] == "2"
    assert cells["set-up"].outputs == []
    assert cells["a-sum-2"].metadata == {}, "jupytext's note on blank lines is no part of the page"
    assert nb.metadata.kernelspec.name == "python3" and nb.metadata.language_info == {
        "name": "python"
    }


def test_ids_are_named_and_in_order(course):
    assert [cell.id for cell in read(course).cells] == [
        "title",
        "set-up",
        "first-steps-1",
        "eq-00-1",
        "a-sum-1",
        "a-sum-2",
        "a-sum-3",
        "ex-00-1",
        "ex-00-1-check",
        "ex-00-1-hints",
        "recap-1",
    ]


def test_a_cell_added_in_one_section_renames_none_in_another(course):
    before = {cell.source: cell.id for cell in read(course).cells}
    edit(
        page(course),
        "# What is one and one?\n",
        "# What is one and one?\n\n# %%\nx = 1\n\n# %%\ny = 1\n",
    )
    after = pages.assemble(course, room(course)).cells
    ids = [cell.id for cell in after]
    assert len(set(ids)) == len(ids) == len(before) + 2
    assert all(re.fullmatch(r"[\w-]{1,64}", name) for name in ids)
    moved = {cell.source for cell in after if before.get(cell.source, cell.id) != cell.id}
    assert all(before[text].startswith("first-steps") for text in moved)


def test_ids_are_valid_for_long_and_chinese_and_repeated_headings(unbuilt):
    with page(unbuilt).open("a", encoding="utf-8") as file:
        for heading in ("融合", "Words " * 40, "Recap", "Recap"):
            file.write(f"\n# %% [markdown]\n# ## {heading}\n")
    nb = pages.assemble(unbuilt, room(unbuilt))
    assert {"section-1", "recap-1", "recap-2", "recap-3"} <= set(cells_of(nb))
    assert check_notebooks.schema(nb) and list(check_notebooks.schema(nb)) == []


def test_exercise_is_opened(course):
    cells = cells_of(read(course))
    assert cells["ex-00-1"].source == 'def double(x: int) -> int:\n    """Twice x."""\n    ...'
    assert cells["ex-00-1"].metadata == {"exercise": "00.1"}
    assert cells["ex-00-1-check"].source == 'check("00.1", double)'
    assert cells["ex-00-1-check"].outputs[0].text == "Exercise 00.1: not attempted yet.\n"
    hints, solution = cells["ex-00-1-hints"].source.split("<details><summary>Solution</summary>")
    assert "What is x + x?" in hints
    assert (
        solution
        == '\n\n```python\ndef double(x: int) -> int:\n    """Twice x."""\n    twice = 2 * x\n'
        "    return twice\n```\n\n</details>"
    )
    assert "SOLUTION" not in str(read(course))


def test_words_below_a_fold_keep_their_distance(unbuilt):
    fold = "# <details><summary>More</summary>\n#\n# Words.\n#\n# </details>\n#\n"
    below = ["# Below.\n#\n", "# ## A heading\n#\n", "# - An item.\n#\n", ""]
    with open(unbuilt / PAGE, "a", encoding="utf-8") as file:
        file.write("\n# %% [markdown]\n" + "".join(fold + words for words in below))
    source = pages.assemble(unbuilt, room(unbuilt)).cells[-1].source
    assert [part.partition("Words")[0] for part in source.split("</details>\n\n")[1:]] == [
        "<p></p>\n\nBelow.\n\n<details><summary>More</summary>\n\n",
        "## A heading\n\n<details><summary>More</summary>\n\n",
        "<p></p>\n\n- An item.\n\n<details><summary>More</summary>\n\n",
    ]


CLASS = '''class Layer(Base):
    """Twice, and a half."""

    def __init__(self, x):
        """Keep x."""
        ### BEGIN SOLUTION
        super().__init__()
        self.x = x
        ### END SOLUTION

    def given(self):
        return self.x

    def forward(self):
        ### BEGIN SOLUTION
        return 2 * self.x
        ### END SOLUTION
'''


def test_an_exercise_may_be_a_class_with_a_pair_of_markers_a_method(unbuilt):
    text = page(unbuilt).read_text(encoding="utf-8")
    function = text[text.index("def double") : text.index("\n\n# %% [markdown] hints")]
    edit(page(unbuilt), function, CLASS)
    cells = cells_of(pages.assemble(unbuilt, room(unbuilt)))
    assert cells["ex-00-1"].source == '''class Layer(Base):
    """Twice, and a half."""

    def __init__(self, x):
        """Keep x."""
        ...

    def given(self):
        return self.x

    def forward(self):
        ...'''
    assert cells["ex-00-1-check"].source == 'check("00.1", Layer)'
    solution = CLASS.replace("        ### BEGIN SOLUTION\n", "")
    solution = solution.replace("        ### END SOLUTION\n", "").strip()
    assert f"```python\n{solution}\n```" in cells["ex-00-1-hints"].source
    again = "        ### END SOLUTION\n        ### BEGIN SOLUTION\n"
    edit(page(unbuilt), "        self.x = x\n", again)
    with pytest.raises(pages.BuildError, match="each '### BEGIN SOLUTION' in a method of its own"):
        pages.assemble(unbuilt, room(unbuilt))
    edit(page(unbuilt), again, "")
    edit(page(unbuilt), '        """Keep x."""\n', "        self.y = 1\n")
    with pytest.raises(pages.BuildError, match="outside the markers expected only a docstring"):
        pages.assemble(unbuilt, room(unbuilt))


def test_solutions_are_the_ones_on_the_page(course):
    found = pages.solutions(room(course))
    assert list(found) == ["00.1"]
    assert found["00.1"] in cells_of(read(course))["ex-00-1-hints"].source
    names = {}
    exec(found["00.1"], names)
    assert names["double"](4) == 8


def test_title_line_has_the_badge_and_the_neighbours(course):
    first, second = (read(course, name).cells[0].source for name in ("00_first", "01_second"))
    assert (
        "](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/00_first.ipynb)"
        in first
    )
    assert "[![Open in Colab](" in first and "next: [Second steps](01_second.ipynb)" in first
    assert (
        "[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]"
        "(https://kaggle.com/kernels/welcome?src="
        "https://github.com/OWNER/REPO/blob/main/notebooks/00_first.ipynb)" in first
    )
    assert "previous" not in first and "next" not in second
    assert "previous: [First steps](00_first.ipynb)" in second


def test_the_set_up_cell_is_first_short_and_everywhere_the_same(course):
    first, second = (
        next(cell for cell in read(course, name).cells if cell.cell_type == "code")
        for name in ("00_first", "01_second")
    )
    assert first.source == second.source and "set-up" in first.metadata.tags
    assert len(first.source.splitlines()) <= 10


FOLDED = """
# %% tags=["proof"]
# Why one is less than two.
print("because")
"""


def test_a_folded_cell_hides_its_code_wherever_it_is_read(course):
    with open(course / "notebooks/source/01_second/page.py", "a", encoding="utf-8") as file:
        file.write(FOLDED)
    assert builder.main(["01"], course) == 0
    set_up, *_, folded = [c for c in read(course, "01_second").cells if c.cell_type == "code"]
    assert folded.source == '# @title Why one is less than two.\nprint("because")'
    assert set_up.source.startswith("# @title Set-up")
    for cell in (set_up, folded):
        assert cell.metadata.jupyter == {"source_hidden": True}
        assert cell.metadata.cellView == "form" and "hide-input" in cell.metadata.tags
    assert folded.outputs[0].text == "because\n"
    edit(course / "notebooks/source/01_second/page.py", '# %% tags=["proof"]', "# %%")
    assert builder.why(course, course / "notebooks/source/01_second") == ""  # nothing to execute
    assert builder.main(["01"], course) == 0
    shown = read(course, "01_second").cells[-1]
    assert shown.source.startswith("# Why one") and shown.metadata == {}


def test_what_is_folded_says_so(unbuilt):
    with open(page(unbuilt), "a", encoding="utf-8") as file:
        file.write(FOLDED.replace("# Why one is less than two.\n", ""))
    with pytest.raises(pages.BuildError, match=r'page.py:\d+: expected a first line of comment'):
        pages.assemble(unbuilt, room(unbuilt))


PICTURE = """
# %% tags=["figure"]
# Black and white.
import base64
import io
from IPython.display import display
from PIL import Image
image = Image.new("RGB", (1200, 300))
image.paste((255, 255, 255), (0, 0, 600, 300))
packed = io.BytesIO()
image.save(packed, "PNG")
for words in ("White stands beside black.", "Once more, white stands beside black."):
    data = {"image/png": base64.b64encode(packed.getvalue()).decode(), "text/plain": words}
    display(data, raw=True, metadata={"image/png": {"alt": words}})
    display({"text/markdown": words, "text/plain": words}, raw=True)
"""


def test_pictures_bring_their_words_and_the_first_stands_in_the_title(course, capsys, monkeypatch):
    before = read(course, "01_second").cells[0].source
    source = course / "notebooks/source/01_second/page.py"
    with open(source, "a", encoding="utf-8") as file:
        file.write(PICTURE)
    assert builder.main(["01"], course) == 0
    nb = read(course, "01_second")
    assert nb.cells[-1].metadata.mystnb == {
        "image": {"alt": "White stands beside black. Once more, white stands beside black."}
    }
    title, _, picture = nb.cells[0].source.partition("\n\n![White stands beside black.](")
    assert title == before
    raw = base64.b64decode(picture.removeprefix("data:image/png;base64,").removesuffix(")"))
    with Image.open(io.BytesIO(raw)) as small:
        assert small.size == (560, 140)
        colours = [small.convert("RGB").getpixel(place) for place in ((10, 70), (550, 70))]
    assert colours == [(255, 255, 255), (0, 0, 0)]
    assert builder.main(["01", "--check"], course) == 0

    # another Pillow packs it otherwise, which is no difference; its loss is one
    nb.cells[0].source = f"{title}\n\n![White stands beside black.](data:image/png;base64,AAAA)"
    pages.write(course / "notebooks/01_second.ipynb", nb)
    assert pages.difference(course, source.parent) == ""
    nb.cells[0].source = title
    pages.write(course / "notebooks/01_second.ipynb", nb)
    assert pages.difference(course, source.parent).startswith("cell title: its source differs")
    monkeypatch.setattr(builder, "execute", lambda *_: pytest.fail("executed"))
    assert builder.main(["01"], course) == 0
    title = read(course, "01_second").cells[0].source
    assert title == f"{before}\n\n![White stands beside black.]({picture}"


ARROWS = {"orange": (213, 94, 0), "green": (0, 158, 115), "purple": (170, 51, 119)}


@pytest.mark.parametrize("colour", ARROWS.values(), ids=list(ARROWS))
def test_a_thin_arrow_keeps_its_hue_in_the_title(colour):
    """Beside it lie a thousand greys and blues, as in a picture of a scan and its curves."""
    width, height = 2 * pages.TITLE_WIDTH, 400
    figure = Image.linear_gradient("L").resize((width, height))
    blues = Image.radial_gradient("L").resize((width, height))
    figure = Image.merge("RGB", (figure, figure, Image.blend(figure, blues, 0.5)))
    figure.paste(colour, (200, 201, 260, 204))
    figure.save(packed := io.BytesIO(), "PNG")
    made = pages.smaller(base64.b64encode(packed.getvalue()).decode())
    with Image.open(io.BytesIO(base64.b64decode(made))) as small:
        seen = [pixel for _, pixel in small.convert("RGB").getcolors(small.width * small.height)]
    nearest = min(max(abs(a - b) for a, b in zip(pixel, colour)) for pixel in seen)
    assert nearest <= 12, f"the nearest colour is {nearest} of 255 away"
    assert len(seen) <= pages.TITLE_COLOURS and len(made) < 100_000


def test_a_page_for_the_browser_folds_code_and_keeps_the_words(course):
    nbconvert = pytest.importorskip("nbconvert", reason="comes with JupyterLab, the extra lab")
    with open(course / "notebooks/source/01_second/page.py", "a", encoding="utf-8") as file:
        picture = PICTURE.replace("stands beside", r"\"<\" beside")
        file.write(picture.replace("Black and white.", "Black `<b>` and white."))
    assert builder.main(["01"], course) == 0
    exporter = nbconvert.HTMLExporter(
        template_name="course", extra_template_basedirs=[str(ROOT / "tools" / "templates")]
    )
    html, _ = exporter.from_notebook_node(read(course, "01_second"))
    folded = re.findall(r"<details><summary>(.*?)</summary>(.*?)</details>", html, re.S)
    assert [title for title, _ in folded][1:] == ["Black <code>&lt;b&gt;</code> and white."]
    assert "Set-up" in folded[0][0] and "base64" in folded[1][1]
    words = 'hite "<" beside black.'
    alts = [unescape(alt) for _, alt in re.findall("""<img alt=(["'])(.*?)\\1""", html)]
    assert alts[-2:] == [f"W{words}", f"Once more, w{words}"]
    shown = re.sub(r"<details>.*?</details>", "", html, flags=re.S)
    assert '"second"' in unescape(shown) and "packed" not in shown


def test_normalise_joins_streams_drops_widgets_and_counts_from_one():
    def stream(text, name="stdout"):
        return new_output("stream", name=name, text=text)

    view = {execute.WIDGET: {"model_id": "8d2f"}}
    both = new_output(
        "display_data", data={**view, "text/plain": "a slider at 3", "image/png": "iVBOR"}
    )
    cell = new_code_cell(
        "x",
        execution_count=7,
        metadata={"execution": {"start": "now"}},
        outputs=[
            stream("10 %\r50 %\r"),
            stream("done\n"),
            both,
            new_output("display_data", data=view),
            stream("end\n"),
            new_output("execute_result", data={"text/plain": "1"}, execution_count=7),
        ],
    )
    nb = new_notebook(cells=[new_code_cell(""), cell], metadata={"widgets": {}})
    execute.normalise(nb)
    assert [output.get("text") for output in cell.outputs] == ["done\n", None, "end\n", None]
    assert cell.outputs[1].data == {"text/plain": "a slider at 3", "image/png": "iVBOR"}
    assert cell.execution_count == cell.outputs[-1].execution_count == 1
    assert "widgets" not in nb.metadata and cell.metadata == {}
    assert nb.cells[0].execution_count is None


# ---- when it is built ----


def test_same_bytes_when_built_twice_and_untouched_when_up_to_date(course, capsys):
    before = state(course)
    assert builder.main(["00"], course) == 0
    assert state(course) == before
    assert capsys.readouterr().out == "00_first: up to date\n"
    assert builder.main(["00", "--force"], course) == 0
    assert "00_first: built in" in capsys.readouterr().out
    after = state(course)
    assert after["00_first.ipynb"][0] == before["00_first.ipynb"][0]
    assert after["00_first.ipynb"][1] != before["00_first.ipynb"][1]
    assert after["01_second.ipynb"] == before["01_second.ipynb"]


CHANGED = "what it imports or reads, the versions or the builder's execution part has changed"


@pytest.mark.parametrize(
    "name, old, new, reason",
    [
        (PAGE, "1 + 1\n\n", "1 + 2\n\n", "cell a-sum-2: its code has changed"),
        (PAGE, "# %%\nverify", "# %%\n# why\nverify", "cell a-sum-1: its code has changed"),
        (PAGE, "# %%\n1 + 1", '# %% tags=["raises-exception"]\n1 + 1', "cell a-sum-2: its code"),
        (PAGE, "# ## Recap", "# ## Recap\n\n# %%\n2", "cell recap-2: its code has changed"),
        ("course_utils/__init__.py", "two", "three", CHANGED),
        ("course_utils/runtime.py", "Note that", "Note here that", CHANGED),
        ("data/numbers.txt", "1 2", "1 3", CHANGED),
        ("tools/execute.py", "", "# another kernel\n", CHANGED),
        ("constraints.txt", "", "torch==2.14.1\n", CHANGED),
        (BUILT, '"execution_count": 4', '"execution_count": null', "a-sum-2: never run"),
        (BUILT, "{", "<<<<<<< {", "there is no notebook yet"),
    ],
)
def test_a_change_makes_a_notebook_stale(course, name, old, new, reason):
    assert builder.why(course, room(course)) == ""
    edit(course / name, old, new)
    assert reason in builder.why(course, room(course))


def test_a_page_is_not_stale_for_what_it_neither_imports_nor_reads(course):
    (course / "README.md").write_text("other", encoding="utf-8")
    (course / "course_utils/new.py").write_text("", encoding="utf-8")
    (course / "data/more.txt").write_text("", encoding="utf-8")
    (room(course) / "answers.py").write_text("", encoding="utf-8")
    assert builder.why(course, room(course)) == ""
    (course / "data/numbers.txt").rename(course / "data/numbers2.txt")
    assert builder.why(course, room(course)) == CHANGED


@pytest.mark.parametrize(
    "old, new, cell",
    [
        ("# Two.", "# Two, then.", "recap-1"),
        ("# # First steps", "# # The first steps", "title"),
        ("# %%\n1 + 1", '# %% tags=["measured"]\n1 + 1', "a-sum-2"),
        ("What is x + x?", "How much is x + x?", "ex-00-1-hints"),
    ],
)
def test_words_are_written_again_and_nothing_is_executed(
    course, monkeypatch, capsys, old, new, cell
):
    before = read(course)
    monkeypatch.setattr(builder, "execute", lambda *_: pytest.fail("executed"))
    edit(page(course), old, new)
    assert builder.main(["00"], course) == 0
    assert "00_first: written again from its outputs (cell " in capsys.readouterr().out
    after = read(course)
    assert builder.main(["00", "--check"], course) == 0 and "equal" in capsys.readouterr().out
    assert [c.get("outputs") for c in before.cells] == [c.get("outputs") for c in after.cells]
    assert cells_of(before)[cell] != cells_of(after)[cell]


def test_what_differs_only_where_nothing_is_compared_stays_as_it_was(course):
    rules = "[numbers]\nregex: [0-9.]+ s\nreplace: SECONDS\n"
    (course / "tests").mkdir()
    (course / "tests/sanitize.cfg").write_text(rules, encoding="ascii")
    edit(page(course), "print(WORD", "print(f'took {os.getpid()} s')\nprint(WORD")
    texts = []
    for _ in range(2):
        assert builder.main(["00", "--force"], course) == 0
        texts.append(cells_of(read(course))["first-steps-1"].outputs[0].text)
    assert re.match(r"took \d+ s\n", texts[0]) and texts[0] == texts[1]
    edit(course / "data/numbers.txt", "1 2", "1 3")
    assert builder.main(["00"], course) == 0
    text = cells_of(read(course))["first-steps-1"].outputs[0].text
    assert text.endswith("two 1 3\n") and text.splitlines()[0] != texts[0].splitlines()[0]


def test_a_changed_package_is_executed_again(course):
    edit(course / "course_utils/__init__.py", "two", "three")
    assert builder.main(["00"], course) == 0
    assert cells_of(read(course))["first-steps-1"].outputs[0].text == "three 1 2\n"
    assert builder.why(course, room(course)) == ""


def test_check_tells_clean_from_dirty_without_executing(course, monkeypatch, capsys):
    monkeypatch.setattr(builder, "execute", lambda *_: pytest.fail("executed"))
    before = state(course)
    assert builder.main(["--check"], course) == 0
    edit(course / "course_utils/__init__.py", "two", "three")
    assert builder.main(["--check"], course) == 0 and CHANGED in capsys.readouterr().out
    edit(page(course), "# Two.", "# Three.")
    assert builder.main(["--check"], course) == 1
    assert "00_first: cell recap-1: its source differs" in capsys.readouterr().out
    assert builder.main(["01", "--check"], course) == 0
    (course / "notebooks/source/01_second/page.py").unlink()
    assert builder.main(["--check"], course) == 1
    assert "01_second: a notebook without a source" in capsys.readouterr().out
    assert state(course).items() == before.items()


def test_address_changes_all_places_and_executes_nothing(course, monkeypatch, capsys):
    monkeypatch.setattr(builder, "execute", lambda *_: pytest.fail("executed"))
    before = {name: read(course, name) for name in ("00_first", "01_second")}
    assert builder.main(["--address", "someone/else-1"], course) == 0
    texts = ["README.md", "CONTRIBUTING.md", "CITATION.cff", ".github/ISSUE_TEMPLATE/config.yml"]
    for path in [
        course / "pyproject.toml",
        *(course / name for name in texts),
        *(course / "notebooks").glob("*.ipynb"),
    ]:
        text = path.read_text(encoding="utf-8")
        assert "OWNER" not in text and "REPO" not in text and "someone/else-1" in text
    assert builder.main(["--check"], course) == 0
    assert "changed" not in capsys.readouterr().out
    assert all(builder.why(course, path) == "" for path in pages.sources(course))
    for name, nb in before.items():
        assert [cell.get("outputs") for cell in nb.cells] == [
            cell.get("outputs") for cell in read(course, name).cells
        ]
    assert builder.main(["--address", "OWNER/REPO"], course) == 0
    assert all(read(course, name) == nb for name, nb in before.items())
    assert builder.main(["--address", "https://example.org/x"], course) == 1
    assert "owner/name" in capsys.readouterr().err


LONG = f"https://github.com/{'a-department':-<20}/{'a-course':-<40}"


@pytest.mark.parametrize("length", [42, 50, 51, 60, 79, 89])
def test_a_set_up_cell_has_no_long_line_whatever_the_address(length):
    code = pages.set_up_from(LONG[:length])
    compile(code, "<cell>", "exec")
    assert LONG[:length] in code and max(map(len, code.splitlines())) <= 100


def test_an_address_too_long_for_a_set_up_cell_changes_nothing(course, capsys):
    before = state(course)
    assert builder.main(["--address", f"a-department/{'a-course':-<90}"], course) == 1
    assert "is too long: no line of a set-up cell takes more than 100" in capsys.readouterr().err
    assert state(course) == before


# ---- what is refused ----


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            "    ### BEGIN SOLUTION\n",
            "",
            "00_first/page.py:32: exercise 00.1: expected one '### BEGIN SOLUTION'",
        ),
        (
            "    ### END SOLUTION\n",
            "",
            "00_first/page.py:32: exercise 00.1: expected one '### BEGIN SOLUTION'",
        ),
        ("### BEGIN", "### XEGIN", "exercise 00.1: expected one"),
        (
            'def double(x: int) -> int:\n    """Twice x."""\n',
            "if True:\n",
            "exercise 00.1: expected one function or class, got 0",
        ),
        (
            "def double",
            "def other():\n    ...\n\n\ndef double",
            "exercise 00.1: expected one function or class, got 2",
        ),
        (
            "    ### BEGIN",
            "    x = 1\n    ### BEGIN",
            "exercise 00.1: outside the markers expected only a docstring",
        ),
        ("return twice", "return (twice", "exercise 00.1: '(' was never closed"),
        (
            '[markdown] hints="00.1"',
            "[markdown]",
            'exercise 00.1: expected a markdown cell hints="00.1"',
        ),
        (
            '[markdown] hints="00.1"',
            '[markdown] hints="00.2"',
            'exercise 00.1: expected a markdown cell hints="00.1"',
        ),
        (
            "# ## Recap",
            '# ## Recap\n\n# %% [markdown] hints="00.2"\n# x',
            '00_first/page.py:50: expected exercise="00.2" in',
        ),
        ('# %% exercise="00.1"', "# %%", "00_first/page.py:35: a solution needs exercise="),
        (
            '# %% exercise="00.1"',
            '# %% exercise="09.1"',
            '00_first/page.py:32: exercise 09.1: expected a key like "00.1"',
        ),
        ('# %% exercise="00.1"', "# %% exercise=00.1", 'expected a key like "00.1"'),
        (
            '# %% exercise="00.1"',
            '# %% [markdown] exercise="00.1"',
            "exercise 00.1: expected a code cell",
        ),
        ("00.1}$$", "09.1}$$", "00_first/page.py:21: equation 09.1: expected a number like 00.1"),
        (
            "# ## Recap",
            "# ## Recap\n#\n# $$x \\tag{00.1}$$",
            "00_first/page.py:21: two cells would have the id 'eq-00-1'",
        ),
        ("# # First steps", "# First steps", "00_first/page.py:1: expected a first markdown cell"),
    ],
)
def test_a_faulty_source_is_refused_with_its_place(unbuilt, old, new, message):
    edit(page(unbuilt), old, new)
    with pytest.raises(pages.BuildError, match=re.escape(message)):
        pages.assemble(unbuilt, room(unbuilt))


def test_an_exercise_key_that_stands_twice_is_refused(unbuilt):
    text = page(unbuilt).read_text(encoding="utf-8")
    exercise = text[text.index("# %% exercise") : text.index("# %% [markdown]\n# ## Recap")]
    page(unbuilt).write_text(text + "\n" + exercise, encoding="utf-8")
    with pytest.raises(pages.BuildError, match="exercise 00.1: this key stands twice"):
        pages.solutions(room(unbuilt))


@pytest.mark.parametrize(
    "name, message",
    [
        ("00_again/page.py", "00_again and 00_first have the same number"),
        ("extra/page.py", "extra: expected a room with a name like 09_name"),
        ("02_alone.py", "02_alone.py: expected in a room, 02_alone/page.py"),
    ],
)
def test_rooms_are_numbered_once_and_hold_the_pages(unbuilt, name, message):
    path = unbuilt / "notebooks/source" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(SECOND, encoding="utf-8")
    with pytest.raises(pages.BuildError, match=message):
        pages.sources(unbuilt)


def test_a_room_without_a_page_is_a_draft(unbuilt):
    draft = unbuilt / "notebooks/source/02_draft"
    draft.mkdir()
    (draft / "sweeps.py").write_text("", encoding="utf-8")
    assert [room.name for room in pages.sources(unbuilt)] == ["00_first", "01_second"]


def test_an_unknown_number_and_a_foreign_address_are_refused(unbuilt, capsys):
    assert builder.main(["07"], unbuilt) == 1
    assert "no source for 07; there are 00, 01" in capsys.readouterr().err
    edit(unbuilt / "pyproject.toml", 'https://github.com/OWNER/REPO"', 'https://example.org/x"')
    assert builder.main(["--check"], unbuilt) == 1
    assert "expected https://github.com/owner/name" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line, messages",
    [
        ("raise KeyError('lost')", ["00_first: cell a-sum-2 raised", "KeyError: 'lost'"]),
        (
            "import sys, time; print('w', file=sys.stderr); print(Path.cwd().resolve())",
            ["not written", "cell a-sum-2: stderr: 'w'", "cell a-sum-2: a path of this machine"],
        ),
        ("os._exit(1)", ["00_first: cell a-sum-2: the kernel died"]),
    ],
)
def test_a_failing_build_names_the_cell_and_leaves_the_old_notebook(course, capfd, line, messages):
    before = state(course)
    edit(page(course), "\n1 + 1\n", f"\n{line}\n")
    edit(course / "notebooks/source/01_second/page.py", '"second"', '"second, again"')
    assert builder.main([], course) == 1
    error = capfd.readouterr().err
    assert all(message in error for message in messages), error
    assert state(course)["00_first.ipynb"] == before["00_first.ipynb"]
    assert "second, again" in str(read(course, "01_second")), "one failure must not stop the others"
    assert {path.suffix for path in (course / "notebooks").iterdir()} == {"", ".ipynb"}


def test_a_cell_that_cannot_be_run_again_after_the_page_is_named(course, capfd, monkeypatch):
    second, text = course / "notebooks/source/01_second/page.py", "\n# %%\nword = 2\n"
    with open(second, "a", encoding="utf-8") as file:
        file.write('\n# %%\nword = "two"\n\n# %%\nprint(word.upper())\n')
    assert builder.main(["01"], course) == 0
    good = read(course, "01_second").cells
    assert good[-1].outputs[0].text == "TWO\n"
    with open(second, "a", encoding="utf-8") as file:
        file.write(text)
    assert builder.main(["01"], course) == 1
    said = capfd.readouterr().err
    assert f"cell {good[-1].id}, run again after the page, raised" in said
    assert "has no attribute 'upper'" in said
    assert read(course, "01_second").cells == good


def test_a_cell_that_never_ends_is_stopped(course, monkeypatch, capsys):
    monkeypatch.setattr(execute, "CELL_TIMEOUT", 1)
    edit(
        page(course),
        "\n1 + 1\n",
        "\nimport os\nPath('../pid').write_text(str(os.getpid()))\nwhile True: pass\n",
    )
    assert builder.main(["00"], course) == 1
    assert "00_first: cell a-sum-2: ran longer than 1 s" in capsys.readouterr().err
    with pytest.raises(ProcessLookupError):  # its kernel is gone, or it would go on using a core
        os.kill(int((course / "pid").read_text()), 0)


NEVER_STARTS = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {tools!r})
import build_notebooks, execute
execute.AsyncKernelManager = partial(execute.AsyncKernelManager, kernel_name={kernel!r})
execute.ENVIRONMENT |= {environment}
sys.exit(build_notebooks.main(["--force", "00"], Path({course!r})))
"""


@pytest.mark.parametrize(
    "kernel, environment, why",
    [
        ("no-such-kernel", {}, "No such kernel named no-such-kernel"),
        ("python3", {"PYTHONHOME": "/nowhere"}, "Kernel died before replying to kernel_info"),
    ],
)
def test_a_kernel_that_never_starts_is_said_in_a_sentence(course, kernel, environment, why):
    before = state(course)
    script = NEVER_STARTS.format(
        tools=str(ROOT / "tools"), kernel=kernel, environment=environment, course=str(course)
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"00_first: the kernel did not start ({why})" in done.stderr
    assert "Traceback" not in done.stderr and state(course) == before


# ---- the set-up cell ----


def run_set_up(code, folder, **env):
    """Run the set-up cell twice in a fresh Python, as a reader does; prints folder and package
    found. Without site-packages (-S), where the course may be installed.
    """
    last = (
        "\nimport pathlib, course_utils; print(pathlib.Path.cwd(),"
        " pathlib.Path(course_utils.__file__).parents[1])"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", code + "\n" + code + last],
        cwd=folder,
        env={**clean_environment(), **env},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0 and result.stderr == "", result.stderr
    return [Path(path).resolve() for path in result.stdout.split()]


def clean_environment():
    """Neither the git settings of the machine nor those of a hook that runs the tests."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "PYTHONPATH"))
    }
    return env | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.mark.parametrize("git", [True, False], ids=["git", "no git"])
def test_set_up_says_what_to_do_when_the_course_cannot_be_fetched(unbuilt, tmp_path_factory, git):
    content, nowhere = tmp_path_factory.mktemp("content"), (unbuilt / "nowhere").as_uri()
    environment = clean_environment() | {"COURSE_ADDRESS": nowhere}
    result = subprocess.run(
        [sys.executable, "-S", "-c", pages.set_up(unbuilt)],
        cwd=content,
        capture_output=True,
        text=True,
        env=environment if git else environment | {"PATH": str(content)},
    )
    # git's own words come first, or the shell's
    why = result.stderr.splitlines()[0]
    assert why.startswith("fatal: ") if git else "git" in why and "not found" in why
    assert result.stderr.endswith(
        f"RuntimeError: No course in or above {content}; go online or copy {nowhere} here\n"
    )
    assert not any(content.iterdir())  # nothing half-made keeps the next try from working


def test_set_up_finds_the_package_locally(course):
    code = pages.set_up(course)
    for folder in (course, course / "notebooks"):
        assert run_set_up(code, folder) == [folder.resolve(), course.resolve()]


@pytest.mark.parametrize("url", ["https://github.com/OWNER/REPO", LONG], ids=["short", "long"])
def test_set_up_clones_and_survives_a_second_run_and_a_restart(unbuilt, tmp_path_factory, url):
    commit = (
        "git init -q && git add . && git -c user.name=a -c user.email=a@example.org commit -q -m"
        " mini"
    )
    for command in commit.split(" && "):
        subprocess.run(command.split(), cwd=unbuilt, env=clean_environment(), check=True)
    content = tmp_path_factory.mktemp("content")
    for _ in ("first run", "restarted kernel"):
        cwd, package = run_set_up(
            pages.set_up_from(url), content, COURSE_ADDRESS=unbuilt.as_uri()
        )
        assert cwd == content.resolve()  # where the reader's own files are
        assert package == (content / url.split("/")[-1]).resolve()
    log = subprocess.run(
        ["git", "rev-list", "--count", "--all"],
        cwd=package,
        capture_output=True,
        text=True,
    )
    assert log.stdout.strip() == "1"


def test_command_line(course):
    """As make calls it: another folder, a fresh Python."""
    shutil.copytree(ROOT / "tools", course / "tools", dirs_exist_ok=True)
    for arguments in (["tools/build_notebooks.py", "--check"], ["tools/check_notebooks.py"]):
        result = subprocess.run(
            [sys.executable, *arguments], cwd=course, capture_output=True, text=True
        )
        assert result.returncode == 0, textwrap.indent(result.stdout + result.stderr, "  ")
