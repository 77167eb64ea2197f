"""The estimate of a page's minutes, on cells counted by hand."""

import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import minutes


def text(source, *tags):
    return new_markdown_cell(source, metadata={"tags": list(tags)})


def code(source, *tags):
    return new_code_cell(source, metadata={"tags": list(tags)})


FOLDED = "<details><summary>1.</summary>" + "word " * 9000 + "</details>"
LINES = "\n\n".join(["x = 1"] * 70)  # 70 lines of code, and blank ones that nobody reads
CARD = "> **Exercise 00.1 · Name** — *20 minutes · core*"  # 10 words


@pytest.mark.parametrize(
    "cells, expected",
    [
        ([text("word " * 1300)], 10),
        ([code(LINES)], 10),
        ([code(LINES), code(LINES, "set-up")], 10),
        ([code(LINES), code(LINES, "proof")], 15),
        ([code(LINES), code(LINES, "figure")], 10),
        ([code(LINES), code(LINES, "imports")], 10),
        ([text(CARD + " word" * 510)], 30),  # 26 for the exercise, 4 for the words
        ([code("\n".join(["plots.show(figure, 'words')"] * 35))], 40),
        ([code("\n".join(["plots.bars(x, caption='words')"] * 35))], 40),
        ([code("\n".join(["plots.axes(width=3)"] * 35))], 5),
        ([code("\n".join(["guess('00.a', None)"] * 35))], 75),
        ([text("word " * 1300, "derivation")], 15),
        ([code(LINES, "game")], 20),
        ([text("word " * 1300 + FOLDED)], 10),
        ([text("word " * 1300 + "\n```python\n" + "x = 1\n" * 900 + "```\n")], 10),
        ([text("")], 5),
    ],
)
def test_the_rule(cells, expected):
    assert minutes.estimate(cells) == expected


def test_words_are_those_that_a_reader_sees():
    assert minutes.words("One [two](https://example.org/a b) ![no words](x.png) <b>three</b>") == 3


SECTION = [text("## More: " + "word " * 1298), code(LINES), text("### A part\n" + "word " * 1298)]
AFTER = [text("## The rest\n" + "word " * 1297)]


@pytest.mark.parametrize(
    "cells, said",
    [
        (AFTER, "10 minutes"),
        (SECTION, "5 minutes. With what is marked More or stretch it takes 30"),
        (SECTION + AFTER, "10 minutes. With what is marked More or stretch it takes 40"),
        (SECTION + AFTER + SECTION, "10 minutes. With what is marked More or stretch it takes 70"),
        (
            AFTER + [text("### More: " + "word " * 1298)] + AFTER,
            "20 minutes. With what is marked More or stretch it takes 30",
        ),
        (
            [text(CARD.replace("core", "stretch")), *AFTER],
            "10 minutes. With what is marked More or stretch it takes 35",
        ),
        ([text(CARD), *AFTER], "35 minutes"),
        ([text("## No More: " + "word " * 1297)], "10 minutes"),
        ([code("# ## More: " + LINES)], "10 minutes"),
    ],
)
def test_what_a_page_does_without_is_promised_apart(cells, said):
    assert minutes.promise(cells) == said
