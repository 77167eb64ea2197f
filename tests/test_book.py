"""What stands beside the pages: the coverage, the index, the findings and the map of prerequisites,
in a made-up course of three pages, and as they are.
"""

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import book
import check_notebooks
import needs
import pages

PAGE = """\
# %% [markdown] owes="{owes}"
# # {title}
#
# *About {{minutes}} minutes. You need {needs}.*

# %% [markdown]
# ## A glue, and `cat`
#
# A **glue** (胶) joins. Its dropout is 0.25, and dropout again; {said}.
#
# > **Exercise {number}.1 · Join** — *5 minutes · core*

# %% exercise="{number}.1"
# A comment.
import torch

def join(a, b):
    ### BEGIN SOLUTION
    return torch.cat([a, b])
    ### END SOLUTION

# %% [markdown] hints="{number}.1"
# <details><summary>Think</summary> Dropout! </details>
"""
OWED = """\
["A. Theory"]
F1 = ["40 · 43", "what a glue is"]
F2 = ["43", "what comes later"]
"""
INDEX = """\
[methods]
dropout = '(?i:dropout)'

[data]
torch = '\\btorch\\b'
"""
FINDINGS = """\
| what is often written | what we found | where it is shown |
|---|---|---|
| `1,000` and $x^2$ | -0.25 is 1,797 | [40 · A glue](40_a.ipynb#A-glue) |
"""


@pytest.fixture
def course(tmp_path):
    """A course of three pages: 41 needs 40, 42 needs both, 43 is planned."""
    source = tmp_path / "notebooks/source"
    for number, needed, owes in (
        ("40", "nothing", "F1"),
        ("41", "page 40: the glue", ""),
        ("42", "pages 40 and 41", ""),
    ):
        room = source / f"{number}_{'abc'[int(number) - 40]}"
        room.mkdir(parents=True)
        text = PAGE.format(
            number=number, owes=owes, needs=needed, title=f"Page {number}?", said="1,797 scans"
        )
        (room / "page.py").write_text(text, encoding="utf-8")
    (source / "owed.toml").write_text(OWED, encoding="utf-8")
    (source / "index.toml").write_text(INDEX, encoding="utf-8")
    titles = "\n".join(f'{number} = "Page {number}?"' for number in range(40, 43))
    (source / "map.toml").write_text(f'["Part 0"]\n{titles}\n["Part 1"]\n43 = "Now: yours"\n')
    for name in (book.COVERAGE, book.INDEX):
        (tmp_path / name).touch()
    (tmp_path / "notebooks/media").mkdir()
    (tmp_path / "README.md").write_text("a\n<!-- needs -->\n<!-- end of needs -->\nb\n")
    shown = [new_output("stream", text="loss -0.25")]
    prose = new_markdown_cell("# A glue\n1,797 scans ![2.5](data:image/png;base64,77)")
    nb = new_notebook(cells=[prose, new_code_cell("9.75", outputs=shown)])
    nbformat.write(nb, tmp_path / "notebooks/40_a.ipynb")
    (tmp_path / book.FINDINGS).write_text(FINDINGS, encoding="utf-8")
    return tmp_path


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# ---- as it is ----


def test_all_is_as_the_pages_say():
    assert list(book.problems(ROOT)) == []


def test_everything_that_is_owed_has_a_row_and_a_place():
    text = (ROOT / book.COVERAGE).read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([FLP]\d+) \| (.+) \| (.+) \|$", text, re.M)
    wanted = [f"{kind}{n}" for kind, many in (("F", 213), ("L", 29), ("P", 18))
              for n in range(1, many + 1)]  # fmt: skip
    assert [item for item, *_ in rows] == wanted
    assert not [row for row in rows if re.fullmatch(r"listing \d+", row[1])]


def test_every_finding_names_a_page_and_a_heading():
    text = (ROOT / book.FINDINGS).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [line for line in rows if not line.endswith("| where it is shown |")]
    assert len(book.ROW.findall(text)) == len(rows) > 80
    links = [address for address, _ in check_notebooks.references(text)]
    assert len(links) > len(rows)
    path = ROOT / book.FINDINGS
    assert [why for link in links if (why := check_notebooks.dead(link, path, ROOT))] == []


def test_the_picture_is_small_and_has_words():
    path = ROOT / needs.PICTURE
    assert path.stat().st_size < 150_000
    assert needs.said(path) in (ROOT / "README.md").read_text(encoding="utf-8")


# ---- coverage and index ----


def test_the_coverage_has_places_and_what_is_planned(course):
    book.write(course)
    text = (course / book.COVERAGE).read_text(encoding="utf-8")
    there = "[40 · Page 40?](40_a.ipynb#Page-40%3F)"
    assert f"| F1 | what a glue is | {there}<br>page 43, planned |" in text
    assert "| F2 | what comes later | page 43, planned |" in text


def test_the_index_has_terms_names_and_what_is_built(course):
    book.write(course)
    text = (course / book.INDEX).read_text(encoding="utf-8")
    there = "[{0} · A glue, and cat]({0}_{1}.ipynb#A-glue,-and-cat)"
    everywhere = "<br>".join(there.format(*one) for one in (("40", "a"), ("41", "b"), ("42", "c")))
    assert f'| glue | <span lang="zh">胶</span> | {everywhere} |' in text
    assert f"| dropout | {everywhere} |" in text
    assert f"| torch | {there.format('40', 'a')} |" in text, "named once, and listed nowhere"
    assert f"| `join` | 41.1 · Join | {there.format('41', 'b')} |" in text
    assert list(book.problems(course)) == []


def test_a_name_that_stands_nowhere_is_told(course):
    change(course / "notebooks/source/index.toml", "(?i:dropout)", "Dropin")
    book.write(course)
    assert list(book.problems(course)) == ["index.toml: 'dropout' stands on no page"]


def test_what_is_written_by_hand_or_old_is_told(course):
    book.write(course)
    change(course / book.COVERAGE, "what a glue is", "what it is")
    change(course / "notebooks/source/41_b/page.py", "(胶)", "(胶水)")
    assert list(book.problems(course)) == [
        f"{name}: not what the pages give; type make notebooks"
        for name in (book.COVERAGE, book.INDEX)
    ]
    book.write(course)
    assert list(book.problems(course)) == []


def test_what_does_not_stand_is_not_made(course):
    for name in (book.COVERAGE, book.INDEX, "README.md"):
        (course / name).unlink()
    book.write(course)
    assert not (course / book.INDEX).exists() and not (course / "README.md").exists()


# ---- findings ----


@pytest.mark.parametrize(
    "old, new, lacking",
    [
        ("-0.25 is", "0.25 is", None),
        ("0.25 is", "0.24 is", "-0.24"),
        ("1,797", "-1,797", "-1,797"),
        ("1,797", "797", "797"),
        ("-0.25", "2.5", None),
        ("-0.25", "77", "77"),
        ("-0.25", "9.75", "9.75"),
        ("40_a", "49_a", "-0.25, 1,797"),
    ],
    ids=["without its sign", "another", "another sign", "a part", "a picture's words", "its data",
         "code", "no page"],
)  # fmt: skip
def test_a_number_that_its_page_does_not_say_is_told(course, old, new, lacking):
    assert list(book.findings(course)) == []
    change(course / book.FINDINGS, old, new)
    told = "".join(book.findings(course))
    assert told.startswith(f"{book.FINDINGS}: page 4") if lacking else told == ""
    assert f"has no {lacking}: " in told or not lacking


# ---- the map ----


def test_an_arrow_stands_for_what_is_needed_directly(course):
    assert needs.needs(course) == {"40": [], "41": ["40"], "42": ["40", "41"]}
    assert needs.direct(needs.needs(course)) == {"40": [], "41": ["40"], "42": ["41"]}
    assert needs.in_words(course).endswith("directly: 40 to 41; 41 to 42.")


@pytest.mark.parametrize("needed", ["42", "43", "39"])
def test_a_page_needs_what_stands_and_comes_before(course, needed):
    change(course / "notebooks/source/41_b/page.py", "page 40:", f"page {needed}:")
    expected = f"page 41 needs page {needed}, expected one that stands and comes before it"
    assert list(needs.problems(course)) == [expected]


def test_an_old_picture_is_told_and_drawn_again(course):
    book.write(course)
    (course / needs.PICTURE).write_bytes(needs.draw(course))
    assert list(book.problems(course)) == []
    change(course / "notebooks/source/42_c/page.py", "pages 40 and 41", "page 40")
    assert f"{needs.PICTURE} does not show what the pages need; type make notebooks" in list(
        book.problems(course)
    )
    book.write(course)
    assert list(book.problems(course)) == []


def test_each_page_has_a_place_and_no_two_boxes_touch():
    arrows = needs.direct(needs.needs(ROOT))
    rows = needs.ordered(arrows)
    found = [spot for row in rows for spot in row if isinstance(spot, str)]
    assert sorted(found) == sorted(arrows) == [room.name[:2] for room in pages.sources(ROOT)]
    for row, places in zip(rows, needs.placed(rows, arrows)):
        for left, right, x, y in zip(row, row[1:], places, places[1:]):
            assert y - x >= (needs.width(left) + needs.width(right)) / 2 - 1e-6
        assert places[0] >= needs.width(row[0]) / 2 - 1e-6
        assert places[-1] <= needs.WIDE - needs.width(row[-1]) / 2 + 1e-6


def test_a_full_row_hands_on_the_pages_that_no_page_needs():
    arrows = {"00": []} | {f"{n:02}": ["00"] for n in range(1, 12)} | {"12": ["01", "11"]}
    rows = needs.layers(arrows)
    assert rows[1] == [("way", "00")] + [f"{n:02}" for n in (1, 2, 3, 4, 5, 6, 7, 11)]
    assert rows[2] == ["08", "09", "10", "12"]


def test_a_way_passes_rows_and_crossings_are_counted():
    arrows = {"1": [], "2": [], "3": ["1"], "4": ["2"], "5": ["3", "2"]}
    rows = [["1", "2"], ["4", "3", ("way", "2")], ["5"]]
    assert sorted(map(str, needs.layers(arrows)[1])) == ["('way', '2')", "3", "4"]
    assert needs.links(rows, arrows) == [[(1, 0), (0, 1), (1, 2)], [(1, 0), (2, 0)]]
    assert needs.crossings(rows, arrows) == 1
    assert needs.crossings(needs.ordered(arrows), arrows) == 0
