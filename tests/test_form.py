"""The rules of a page's form: a page that keeps them all, and one for each that breaks it."""

import copy
import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import check_notebooks
import form


def text(name, source):
    return new_markdown_cell(source, id=name)


def code(name, source, *tags, printed=""):
    outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
    return new_code_cell(source, id=name, metadata={"tags": list(tags)}, outputs=outputs)


FAULT = """\
# One step, one fault.
half = y // 2

print("halved:", half)
print("equal:", 2 * half == y)
"""
MENDED = "half = y / 2\nrest = y - half\nprint('equal:', 2 * half == y)"
TRIED = """\
try:
    half = y.halved()
    print("equal:", 2 * half == y)
except AttributeError as error:
    print("AttributeError:", error)
"""


def good():
    return new_notebook(
        cells=[
            text("title", "# How?\n\nSo."),
            code("a-1", "import torch"),
            text("b-1", "A **gate** (门) opens. See [the article](https://example.org)."),
            code("b-2", "x = torch.ones(2)\ny = 2", "proof", printed="equation 12.1 holds\n"),
            code("b-3", "y = 3"),
            code("b-4", "half = 4"),
            code("f-1", FAULT, "fault", printed="halved: 3\nequal: False\n"),
            code("f-2", MENDED, printed="equal: True\n"),
            text("c-1", "## Yours"),
            code("ex-12-1", "def gate(x):\n    ..."),
            code("ex-12-1-check", 'check("12.1", gate)'),
            code("c-2", 'gate = mine("12.1", gate)\nz = gate(x)'),
            text("recap-1", "## Recap"),
        ]
    )


def changed(place, source, *tags, printed=""):
    nb = good()
    names = [cell.id for cell in nb.cells]
    new = code(place, source, *tags, printed=printed)
    if nb.cells[names.index(place)].cell_type == "markdown":
        new = text(place, source)
    nb.cells[names.index(place)] = new
    return nb


def early():
    nb = good()
    nb.cells[12:12] = [code(f"d-{i}", "x = 1") for i in range(6)]
    return nb


def many():
    nb = good()
    nb.cells[1:1] = [code(f"d-{i}", "y = 1") for i in range(31)]
    return nb


def raised(place, tag):
    nb = changed(place, FAULT if place == "f-1" else MENDED, *tag)
    words = {"ename": "NameError", "evalue": "half", "traceback": ["half"]}
    next(cell for cell in nb.cells if cell.id == place).outputs = [new_output("error", **words)]
    return nb


def last():
    nb = good()
    del nb.cells[[cell.id for cell in nb.cells].index("f-2") :]
    return nb


def without_exercise():
    nb = good()
    nb.cells = [cell for cell in nb.cells if not cell.id.startswith("ex-")]
    return nb


def crowd(size):
    """Of so many cells of 13 lines; a folded one of as many does not count."""
    nb = changed("b-2", LONG, "proof")
    nb.cells[6:6] = [code(f"d-{i}", "y = 1") for i in range(2)]
    names = ("b-3", "b-4", "d-0", "d-1")[:size]
    for cell in nb.cells:
        if cell.id in names:
            cell.source = "\n".join(["half = 1"] * 13 if cell.id == "b-4" else ["y = 1"] * 13)
    return nb


def more(*texts):
    """With markdown cells d-0, d-1, ... behind the title."""
    nb = good()
    nb.cells[1:1] = [text(f"d-{place}", words) for place, words in enumerate(texts)]
    return nb


LONG = "\n".join(["x = 1"] * 21)
BROKEN = {
    "minutes": (changed("b-1", "word " * 130 * 95), "about 95 minutes by the rule"),
    "more": (
        changed("b-1", "Words.\n\n## More: a word"),
        'cell b-1: expected "## More: a word" to begin',
    ),
    "after more": (
        more("## More: a word\n\n### A part of it", "Words.\n\n## The rest"),
        'cell d-1: expected "## The rest" to begin',
    ),
    "in the same cell": (
        more("### More: a word\n\n### More: another", "Words."),
        'cell d-0: expected "### More: another" to begin',
    ),
    "cells": (many(), "39 visible code cells, expected at most 30"),
    "crowded": (
        crowd(4),
        "4 visible cells of more than 12 lines, expected at most 3: b-3, b-4, d-0, d-1",
    ),
    "printed": (
        changed("b-2", "x = 1", "figure", printed="one\ntwo\n"),
        "cell b-2: folded, and prints 2 lines, expected at most one",
    ),
    "title of a fold": (
        changed("b-2", "# @title " + "a" * 87, "proof"),
        "cell b-2: a fold's title of 89 characters, expected at most 88: '# aaa",
    ),
    "title as typed": (
        changed("b-2", "# " + "a" * 87 + "\nx = 1", "figure"),
        "cell b-2: a fold's title of 89 characters, expected at most 88: '# aaa",
    ),
    "no exercise": (without_exercise(), "no exercise, expected two or three"),
    "early": (early(), "cell ex-12-1: the last exercise stands at 50 % of the page"),
    "unused": (changed("c-2", "z = gate(x)"), "the page goes on with nothing"),
    "another's": (changed("c-2", 'mine("11.1", gate)'), "the page goes on with nothing"),
    "in a function": (
        changed("c-2", 'def later():\n    mine("12.1", gate)'),
        "the page goes on with nothing",
    ),
    "another's name": (
        changed("c-2", 'later = mine("12.1", gate)'),
        "cell c-2: \"later = mine('12.1', gate)\", expected f = mine(its exercise, f)",
    ),
    "another's key": (
        changed("c-2", 'gate = mine("12.2", gate)'),
        "cell c-2: \"gate = mine('12.2', gate)\", expected f = mine(its exercise, f)",
    ),
    "an open door": (
        changed("b-1", "Put your own function in the place of ours."),
        "cell b-1: invites the reader's own, expected mine in the next code",
    ),
    "an open door in code": (
        changed("c-2", "z = gate(x)  # put yours here"),
        "cell c-2: invites the reader's own, expected mine in the next code",
    ),
    "function, then value": (
        changed("c-2", 'mine("12.1", gate)\ngate = 3'),
        "cell c-2: gate is a value here and a function or class in cell ex-12-1",
    ),
    "module, then value": (
        changed("c-2", 'mine("12.1", gate)\nfor i in x:\n    pass\na, torch = 1, 2'),
        "cell c-2: torch is a value here and imported in cell a-1",
    ),
    "article": (
        changed("b-1", "An article says so. [Here](https://example.org)\n\nArticles say it."),
        "section 'How?' speaks of an article without a link",
    ),
    "term": (
        changed("c-1", "## Yours\n\nA **gate** (门)."),
        "cell c-1: gate is defined again, first in cell b-1",
    ),
    "its Chinese": (
        changed("c-1", "## Yours\n\nA **door** (门)."),
        "cell c-1: 门 is defined again, first in cell b-1",
    ),
    "marks in a summary": (
        changed("b-1", "<details><summary>1. Is `y` two?</summary>Yes.</details>"),
        "cell b-1: '1. Is `y` two?' has Markdown's marks, expected <code> or <b>",
    ),
    "no fault": (
        changed("f-1", FAULT, printed="equal: False\n"),
        "no cell is tagged fault, expected one of at most 5 lines",
    ),
    "long fault": (
        changed("f-1", "a = 1\nb = 2\nc = 3\n" + FAULT, "fault", printed="equal: False\n"),
        "cell f-1: a fault of 6 lines, expected at most 5",
    ),
    "folded fault": (
        changed("f-1", FAULT, "fault", "proof", printed="equal: False\n"),
        "cell f-1: a fault, and folded",
    ),
    "fault that does no harm": (
        changed("f-1", FAULT, "fault", printed="equal: False\nequal: True\n"),
        "cell f-1: a fault, and its last line prints no False and no error",
    ),
    "fault that prints nothing": (
        changed("f-1", FAULT, "fault"),
        "cell f-1: a fault, and its last line prints no False and no error",
    ),
    "fault at the end": (last(), "cell f-1: a fault, expected the next cell to end in its last"),
    "another check": (
        changed("f-2", MENDED + " or True", printed="equal: True\n"),
        "cell f-1: a fault, expected the next cell to end in its last line, mended",
    ),
    "not mended": (
        changed("f-2", MENDED, printed="equal: [True, False]\n"),
        "cell f-2: the fault of cell f-1 is not mended",
    ),
    "mended, and raises": (raised("f-2", []), "cell f-2: the fault of cell f-1 is not mended"),
    "the fault is elsewhere": (
        changed("f-2", "y = 2\n" + MENDED, printed="equal: True\n"),
        "cell f-2: mends y, which the fault in cell f-1 leaves",
    ),
}


def test_a_page_in_form_has_no_problems():
    assert form.problems(good()) == []


@pytest.mark.parametrize("nb, expected", BROKEN.values(), ids=list(BROKEN))
def test_each_rule_finds_what_it_is_for(nb, expected):
    found = form.problems(copy.deepcopy(nb))
    assert any(expected in problem for problem in found), found


def test_what_is_allowed_stays_allowed():
    folded = changed("b-2", LONG, "figure")
    read_more = changed("recap-1", "## Recap\n\n## Read more\n\nThe article by Hinton.")
    both = changed("b-1", "A **gate** (门), a **key** (钥匙); again a **gate** without brackets.")
    told = changed("f-1", TRIED, "fault", printed="AttributeError: halved\n")
    shouted = raised("f-1", ["fault", "raises-exception"])
    door = changed("c-2", 'gate = mine("12.1", gate)\nz = gate(x)  # put yours here')
    fold = changed("b-1", "`y`<details><summary>Is <code>y</code> two?</summary>`y`</details>")
    aside = more("## More: a\n\n### A part", "Words.\n\n#### b", "## The rest\n\n## Another")
    title = changed("b-2", "# @title " + "a" * 86 + "\n# " + "a" * 98, "proof")
    opened = changed("b-3", "# " + "a" * 98 + "\ny = 3")
    for nb in (title, opened, folded, read_more, both, told, shouted, door, fold, aside, crowd(3)):
        assert form.problems(nb) == []


def test_a_cell_has_twenty_lines_and_a_folded_one_twenty_five():
    more = LONG + "\nx = 2" * 4
    for source, tags, most in ((LONG, [], 20), (more, ["proof"], 25), (LONG, ["set-up"], 10)):
        found = list(check_notebooks.sizes(changed("b-2", source, *tags)))
        lines = len(source.splitlines())
        expected = [f"cell b-2: {lines} lines, expected at most {most}"]
        assert found == (expected if lines > most else [])
    assert list(check_notebooks.sizes(changed("b-2", more + "\nx = 3", "proof")))


def test_a_page_is_held_to_the_form(tmp_path):
    expected = "the page goes on with nothing that the reader built"
    problems = check_notebooks.problems_in(changed("c-2", "z = gate(x)"), tmp_path / "12_new.ipynb")
    assert any(expected in problem for problem in problems)
