"""Marks of what the course owes: found in a made-up course of two pages, told where they lack."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import owed
import pages

OWED = """\
["A. Theory"]
F1 = ["40 · 41", "what a glue is"]
F2 = ["40 41", "what it costs"]
F3 = ["41 42", "what comes later"]

["Listings"]
L1 = ["40", "listing 1"]
"""
FIRST = """\
# %% [markdown] owes="F1 F2"
# # Does it glue?

# %% owes="L1 F2" tags=["fault"]
print("glue")

# %% [markdown] owes="F2"
# It does. What does it cost?
#
# ## What it costs
#
# Ten numbers.
#
# ### And later

# %% [markdown] owes="L1"
# <details><summary>A listing</summary>
#
# It breaks.
#
# </details>
#
# ## With the library
"""
SECOND = """\
# %% [markdown]
# # Does it hold?

# %% [markdown] owes="F1"
# Another word on glue.
"""


@pytest.fixture
def course(tmp_path):
    """A course that owes four items, with two of its three pages written, and no problem."""
    source = tmp_path / "notebooks/source"
    for name, text in {"40_first": FIRST, "41_second": SECOND}.items():
        (source / name).mkdir(parents=True)
        (source / name / "page.py").write_text(text, encoding="utf-8")
    (source / "owed.toml").write_text(OWED, encoding="utf-8")
    return tmp_path


def change(course, file, old, new):
    path = course / "notebooks/source" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_marks_are_found_in_order_with_their_sections(course):
    room = course / "notebooks/source/40_first"
    assert owed.marks(room) == [
        ("F1", "Does it glue?"),
        ("F2", "Does it glue?"),
        ("L1", "Does it glue?"),
        ("F2", "Does it glue?"),
        ("F2", "What it costs"),
        ("L1", "And later"),
    ]


def test_items_have_groups_of_pages_and_words(course):
    items = owed.owed(course)
    assert list(items) == ["F1", "F2", "F3", "L1"]
    assert items["F1"] == ([["40"], ["41"]], "what a glue is")
    assert items["F2"] == ([["40", "41"]], "what it costs")


def test_nothing_is_wrong_with_a_course_that_marks_what_it_owes(course):
    assert owed.problems(course) == []
    assert owed.main([], course) == 0


def test_one_of_two_pages_is_enough_where_either_may_serve(course):
    change(course, "40_first/page.py", ' owes="F1 F2"', ' owes="F1"')
    change(course, "40_first/page.py", ' owes="L1 F2"', ' owes="L1"')
    change(course, "40_first/page.py", ' owes="F2"', "")
    expected = ["40 or 41: owes F2 (what it costs) and marks no cell for it"]
    assert owed.problems(course) == expected
    change(course, "41_second/page.py", 'owes="F1"', 'owes="F1 F2"')
    assert owed.problems(course) == []


def test_each_of_two_pages_has_to_serve_where_both_owe(course):
    change(course, "41_second/page.py", ' owes="F1"', "")
    assert owed.problems(course) == ["41: owes F1 (what a glue is) and marks no cell for it"]
    assert owed.main([], course) == 1


def test_a_mark_that_names_no_item_is_told(course):
    change(course, "41_second/page.py", 'owes="F1"', 'owes="F1 F99"')
    assert owed.problems(course) == ["41_second: owes='F99' is no item of owed.toml"]


def test_a_planned_page_owes_nothing_yet(course):
    room = course / "notebooks/source/42_third"
    room.mkdir()
    (room / "draft.md").write_text("A draft is no page.")
    assert owed.problems(course) == []
    (room / "page.py").write_text("# %% [markdown]\n# # Does it last?\n")
    expected = ["41 or 42: owes F3 (what comes later) and marks no cell for it"]
    assert owed.problems(course) == expected


def test_a_course_without_a_list_owes_nothing(course):
    (course / "notebooks/source/owed.toml").unlink()
    assert owed.owed(course) == {}


def test_the_table_names_page_and_section_once(course):
    lines = owed.table(course).splitlines()
    assert lines[2] == "| F1 | what a glue is | 40 · Does it glue?; 41 · Does it hold? |"
    assert lines[3] == "| F2 | what it costs | 40 · Does it glue?; 40 · What it costs |"
    assert lines[4] == "| F3 | what comes later | |"


def test_a_page_is_told_what_it_owes_and_where_it_serves_it(course):
    assert owed.of_page(course, "41").splitlines() == [
        "41 F1 what a glue is: Does it hold?",
        "41 F2 what it costs: -",
        "41 F3 what comes later: -",
    ]


def test_the_notebook_holds_no_mark(course):
    cells = pages.read_cells(course / "notebooks/source/40_first")
    assert [dict(cell.metadata) for cell in cells] == [{}, {"tags": ["fault"]}, {}, {}]
    assert not any("owes" in cell.source for cell in cells)


def test_every_mark_of_the_course_names_an_item():
    items = owed.owed(ROOT)
    marked = [(room.name, item) for room in pages.sources(ROOT) for item, _ in owed.marks(room)]
    assert len(marked) > 200
    assert [pair for pair in marked if pair[1] not in items] == []
