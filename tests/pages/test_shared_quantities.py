"""Quantities that several pages state: each comes from one place, and every sentence agrees.

A row names a quantity, says how to compute it (from the package, a data set's files, a stored
comparison) and how pages say it. In a sentence `#` stands for the number, in figures or in words;
it is compared at the precision at which the page gives it. A page that is written anew may say it
otherwise: then the row gets that sentence, too.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest
import torch
from sklearn.datasets import load_breast_cancer

from course_utils.datasets import Cues, Gates, digits, digits_public, easy_vqa, emoji, moods
from course_utils.datasets.public import MANIFEST
from course_utils.image_encoder import load_image_encoder
from course_utils.rooms import rooms, stored
from course_utils.runtime import DATA

SMALL_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty"
).split()
WORDS = {word: value for value, word in enumerate(SMALL_NUMBERS)}
WORDS |= {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60}
NUMBER = rf"(?<![\d.])(\d+(?:,\d{{3}})*(?:\.\d+)?|(?i:\b(?:{'|'.join(WORDS)})\b))(?!\d)"


class Shared(NamedTuple):
    what: str
    value: Callable[[], float]
    sentences: tuple[str, ...]  # regular expressions, each with one #


# ---- where values come from ----


def percent(page: str, sweep: str, row: str, part: str = "", seeds: int | None = None) -> float:
    """The mean over the seeds of a stored row, in per cent; over the first seeds where told."""
    shares = stored(page, sweep)[row]["accuracy"]
    shares = (shares[part] if part else shares)[:seeds]
    return 100 * sum(shares) / len(shares)


def new_people() -> float:
    """A classifier of the spoken digits of two new people: the mean over the fifteen pairs."""
    return percent("09", "fsdd_speakers", "same peak")


def at_random() -> float:
    return percent("09", "fsdd_random", "at random")


def scans(split: str) -> int:
    """The scans in the blocks of a split."""
    bounds, blocks = digits.WRITER_BLOCKS, digits.SPLITS[split]
    return bounds[blocks.stop] - bounds[blocks.start]


def voices(*splits: str) -> int:
    rows = json.loads((DATA / "digits/manifest.json").read_text(encoding="utf-8"))["voices"]
    return sum(row["split"] in splits for row in rows)


def mood_voices(split: str) -> int:
    rows = json.loads((DATA / "moods/manifest.json").read_text(encoding="utf-8"))["rows"]
    return len({row["voice"] for row in rows if row["split"] == split})


def titled(name: str, words: str) -> int:
    """A size that a public data set's title in the store gives."""
    return int(re.search(rf"([\d,]+) {words}", MANIFEST[name].title)[1].replace(",", ""))


def cells(side: int = 64) -> tuple[int, int]:
    """The cells of a picture of `scenes`, and the numbers that its encoder makes of each."""
    features, _ = load_image_encoder("scenes-cnn")(torch.zeros(1, 3, side, side))
    return tuple(features.shape[1:])


def emojis(split: str) -> int:
    held_out = sum(emoji.SIZES.values())
    return titled("emoji", "concepts") - held_out if split == "train" else emoji.SIZES[split]


def gain(over: float, seeds: int | None = None) -> float:
    """Of page 00's model of all three, in points."""
    return percent("00", "digits_dials", "default", "all three", seeds) - over


def lost_by_products() -> float:
    """By raw products to the glue, on 150 samples of a bit that both modalities share."""
    return percent("13", "small", "redundant: concat") - percent("13", "small", "redundant: tensor")


def low_rank(rank: int = 40, widths: tuple[int, int] = (48, 192), outputs: int = 120) -> int:
    """The numbers of MultiBench's low-rank layer: a factor a modality, weights and a bias."""
    return rank * outputs * sum(width + 1 for width in widths) + rank + outputs


# ---- the table ----


SHARED = [
    # ---- the data set digits ----
    Shared(
        "scans of digits",
        lambda: digits.WRITER_BLOCKS[-1],
        ("# scans from scikit-learn", "All # scans"),
    ),
    Shared(
        "digits to learn from",
        lambda: scans("train"),
        ("only # words to learn from", "each of the # pictures", "With all # labels"),
    ),
    Shared(
        "digits to validate",
        lambda: scans("validation"),
        ("validation set of #", "Validation has # labelled pictures", "# rows of validation"),
    ),
    Shared(
        "digits to test",
        lambda: scans("test"),
        (
            "test set has # spoken digits",
            "test scans are #",
            "each of the # sounds",
            "one answer of #",
        ),
    ),
    Shared(
        "voices of digits",
        lambda: voices("train", "validation", "test"),
        ("synthesiser with # voices", "clips of each of # voices"),
    ),
    Shared(
        "voices that test",
        lambda: voices("test"),
        (
            "digits, by # voices",
            "test set has # voices",
            "all # test voices",
            "train, # others test",
        ),
    ),
    Shared(
        "speakers of FSDD",
        lambda: digits_public.REAL_SPLITS["test"][1].stop,
        (
            "recordings of # speakers",
            "FSDD's # people",
            "of # people three train",
            "of its # speakers",
        ),
    ),
    Shared(
        "recordings of FSDD",
        lambda: titled("fsdd", "recordings"),
        ("FSDD has # recordings", "The # recordings of the Free Spoken"),
    ),
    Shared(
        "MNIST's test images",
        lambda: digits_public.REAL_SPLITS["test"][0].stop,
        (r"MNIST's # test images", r"of its # test images"),
    ),
    Shared(
        "MNIST's test images that train here",
        lambda: len(digits_public.REAL_SPLITS["train"][0]),
        (
            "MNIST: # of its",
            "for # of MNIST's",
            "on # of MNIST's",
            r"(?:data|maps) # of MNIST's",
            "100 out of # have a label",
        ),
    ),
    # ---- other data sets ----
    Shared(
        "emoji of both artists",
        lambda: titled("emoji", "concepts"),
        ("lines on # emoji", "page 16 # emoji", "page 15 # emoji"),
    ),
    Shared(
        "emoji to learn from",
        lambda: emojis("train"),
        (
            "# pairs of name and picture to learn",
            "# of them to learn from",
            "# others are there to learn",
            "drawings of # emoji",
            "drawings of the # emoji",
            "the # drawings that it has learned from",
            "loss on # emoji",
            "contrast on # emoji",
            "the lines end at # pairs",
        ),
    ),
    Shared(
        "emoji to test",
        lambda: emojis("test"),
        (
            "names of # emoji",
            "find one of # that were never seen",
            "Of # that were never seen",
            "Then # names look",
            "look for # drawings",
            "one in five among #",
            "among ten of #",
        ),
    ),
    Shared(
        "pictures of easy-VQA",
        lambda: sum(easy_vqa.PICTURES.values()),
        (r"has # pictures of one shape", r"questions about # pictures of one shape"),
    ),
    Shared(
        "voices of moods that train",
        lambda: mood_voices("train"),
        ("clips of # voices train", "of # voices train, three choose", "splits share # voices"),
    ),
    Shared(
        "tumours in scikit-learn's table",
        lambda: len(load_breast_cancer().target),
        ("table: # tumours", "Real: # tumours", "share its # rows"),
    ),
    # ---- encoders ----
    Shared(
        "cells of a scene's picture",
        lambda: cells()[0],
        (
            "picture becomes # cells",
            "the four cells of #",
            "The picture's # cells",
            "page 26's: # regions",
        ),
    ),
    Shared(
        "numbers of a cell",
        lambda: cells()[1],
        (
            r"cells \(8 x 8\) of # numbers",
            "frozen, makes # numbers of each",
            "# frozen numbers each",
        ),
    ),
    Shared(
        "numbers of a photograph",
        lambda: load_image_encoder("efficientnet-lite0", random=True).width,
        (
            "places with # numbers each",
            "These # numbers say",
            "A picture is # numbers from page 04",
        ),
    ),
    # ---- ceilings ----
    Shared(
        "XOR's ceiling",
        lambda: 100 * Gates("xor").ceiling(),
        (
            "just below # %, its ceiling",
            "so # % is the ceiling",
            "Chance is 50 %, the ceiling #",
            "solves XOR and reaches # %",
        ),
    ),
    Shared(
        "what a sum of two bits' votes gets of XOR",
        lambda: percent("19", "fusion_gates", "xor: attention_pool"),
        (
            r"three of the four corners, # %",
            "it stops at # %",
            "Ben wins: # %, and so have",
            "decides by a sum, # % on XOR",
        ),
    ),
    Shared(
        "the text's cue alone",
        lambda: 100 * Cues().ceiling(("text",)),
        (
            "three ceilings: #, ",
            "cue alone is right in # %",
            "log-odds line: # and",
            "The line mends it: #",
        ),
    ),
    Shared(
        "words, tone and emoji of moods",
        lambda: 100 * moods.ceilings()[moods.SAYS],
        ("where # are possible: 10", r"\(above #, as", "perfectly would have # % right"),
    ),
    # ---- stored comparisons ----
    Shared(
        "all three over page 00's text",
        lambda: gain(percent("00", "digits_dials", "default", "text", 5), 5),
        ("about # points over", "Page 00 gained # points", "side by side, and gained # points"),
    ),
    Shared(
        "all three over page 09's text",
        lambda: gain(percent("09", "baselines", "text"), 5),
        ("by # over page 09's", "and # over this page's"),
    ),
    Shared(
        "one mean behind PictureNet, its own head",
        lambda: percent("03", "pooling", "three, batch norm (PictureNet), 1 x 1"),
        ("last section has #, with the head", r"a linear head of its own \(31 and # %\)"),
    ),
    Shared(
        "one mean behind two convolutions",
        lambda: percent("03", "pooling", "two convolutions, 1 x 1"),
        ("one mean leaves # %", r"a linear head of its own \(# and"),
    ),
    Shared(
        "a loud picture without a remedy",
        lambda: percent("10", "imbalance", "text + image, loud, nothing, 10 epochs"),
        ("both together have # %, wide", r"with both, # and \S+ % became", "projected, # and"),
    ),
    Shared(
        "a wide picture without a remedy",
        lambda: percent("10", "imbalance", "text + image, wide, nothing, 10 epochs"),
        (r"together have \S+ %, wide #", r"\S+ and # % became"),
    ),
    Shared(
        "both remedies",
        lambda: percent("10", "imbalance", "text + image, loud, both, 10 epochs"),
        (r"\S+ and \S+ % became #", "Both have # in all six rows"),
    ),
    Shared(
        "FSDD, clips at random",
        at_random,
        (
            "recordings promise # %",
            "and says # % where new voices",
            r"# % at random, \S+ apart",
            r"to the bands and have # and",
        ),
    ),
    Shared(
        "FSDD, two new people",
        new_people,
        (
            "For two new speakers it is # on average",
            "where new voices have #",
            "% at random, # apart",
            r"to the bands and have \S+ and #",
            "where the mean is #",
        ),
    ),
    Shared(
        "FSDD, the easiest pair",
        lambda: 100 * max(stored("09", "fsdd_speakers")["same peak"]["accuracy"]),
        ("to # by which two", r"classifier reads best \(# %"),
    ),
    Shared(
        "what a random split promises too much",
        lambda: at_random() - new_people(),
        ("random split promise[sd] # points",),
    ),
    Shared(
        "linear fusion on page 12",
        lambda: percent("12", "rules", "linear fusion"),
        ("average 95.0, linear fusion #", r"96\.9 %, and linear fusion #"),
    ),
    Shared(
        "the product of experts on page 12",
        lambda: percent("12", "rules", "product of experts"),
        ("and 40 epochs it has # %", "cent: product #"),
    ),
    Shared(
        "the glue on page 13",
        lambda: percent("13", "digits", "concat"),
        ("linear layer has # on page 13", "Paired with the glue's # %"),
    ),
    Shared(
        "the glue on page 19",
        lambda: percent("19", "digits", "concat"),
        ("and # on page 19", r"for 92\.5 against # %", r"with 74\.2 beside #"),
    ),
    Shared(
        "page 12's sound of strangers",
        lambda: percent("12", "real", "audio"),
        ("alone 78.1 in place of #", "% instead of #, and linear fusion"),
    ),
    Shared(
        "numbers of MultiBench's layer",
        low_rank,
        ("160 of # numbers", "outputs and rank 40, has #"),
    ),
    Shared(
        "raw products behind the glue",
        lost_by_products,
        ("products lose # points. All", "products cost # points", "raw products lose # ±"),
    ),
    Shared(
        "words ask cells",
        lambda: percent("15", "questions", "attention"),
        ("find nearly everything: # %", "The accuracy was # %", "of the whole picture, # for"),
    ),
    Shared(
        "the question times the pooled picture",
        lambda: percent("15", "questions", "product"),
        ("glued and # multiplied", r"of the whole picture, \S+ for #"),
    ),
    Shared(
        "the question glued to the pooled picture",
        lambda: percent("15", "questions", "concat"),
        ("cells give # % glued", r"of the whole picture, \S+ for \S+ and #"),
    ),
    Shared(
        "page 16's space after 200 steps",
        lambda: percent("16", "losses", "InfoNCE", "picture"),
        (
            "finds a fitting picture for # %",
            r"within 3\? \(# % of the pictures",
            "from pixels and words, # %",
            r"page 16 had # %",
        ),
    ),
    Shared(
        "page 16's space after 600 steps",
        lambda: percent("16", "baselines", "InfoNCE, 600 steps", "picture"),
        ("200 steps and # after 600", "contrast has # and", "pushed 600 steps reach # and"),
    ),
    Shared(
        "words under teacher forcing",
        lambda: percent("25", "captions", "sighted", "forced"),
        ("# % of the words, 53 %", "# % of next words", "page 25's # % of words"),
    ),
    Shared(
        "captions that are true",
        lambda: percent("25", "captions", "sighted", "strict"),
        (
            r"of the words, # % of the captions",
            "# % of captions true",
            "% of words and # of captions",
        ),
    ),
    Shared(
        "page 27's words, tone and emoji",
        lambda: percent("27", "moods", "words + tone + emoji", "right"),
        (r"Together # ± \S+ %", "[Pp]age 27(?: has|'s) # %"),
    ),
]


# ---- the sentences ----


@cache
def prose() -> tuple[tuple[str, str], ...]:
    """(page, its markdown cells without stars and backticks, each in one line)."""
    found = []
    for page, folder in rooms().items():
        source = folder / "page.py"
        text = source.read_text(encoding="utf-8") if source.is_file() else ""
        cells = [cell.partition("\n") for cell in text.split("\n# %%")]
        plain = [
            re.sub(r"^# ?|[*`]", "", body, flags=re.M)
            for head, _, body in cells
            if "[markdown]" in head
        ]
        found.append((page, "\n".join(" ".join(cell.split()) for cell in plain)))
    return tuple(found)


def number(said: str) -> float:
    return WORDS[said.lower()] if said.lower() in WORDS else float(said.replace(",", ""))


def agrees(said: str, value: float) -> bool:
    """Whether a number is the value, rounded as the page rounds it."""
    step = 0.1 ** len(said.partition(".")[2])
    return abs(number(said) - value) <= step / 2 + 1e-9


def stated(one: Shared, pages) -> list[tuple[str, str, str]]:
    """(page, number, sentence) wherever a page states the quantity."""
    return [
        (page, match[1], match[0])
        for page, text in pages
        for sentence in one.sentences
        for match in re.finditer(sentence.replace("#", NUMBER), text)
    ]


def faults(one: Shared, pages) -> list[str]:
    found, value = stated(one, pages), one.value()
    wrong = [
        f"page {page}: {sentence!r}, expected {value:.6g}"
        for page, said, sentence in found
        if not agrees(said, value)
    ]
    return wrong or ([] if found else [f"no page states it any more: {value:.6g}"])


@pytest.mark.parametrize("one", SHARED, ids=lambda one: one.what)
def test_pages_agree(one):
    assert faults(one, prose()) == []


# ---- the test itself ----


VOICES = Shared("voices", lambda: 60, ("with # voices", "of # voices"))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a synthesiser with 60 voices", []),
        ("ten clips of each of sixty voices", []),
        ("with 61 voices", ["page 00: 'with 61 voices', expected 60"]),
        ("with 60 voices, and of twelve voices", ["page 00: 'of twelve voices', expected 60"]),
        ("with many voices", ["no page states it any more: 60"]),
    ],
)
def test_another_number_and_none_are_found(text, expected):
    assert faults(VOICES, [("00", text)]) == expected


@pytest.mark.parametrize(
    "said, value, right",
    [
        ("12", 11.9, True),
        ("twelve", 11.9, True),
        ("11.9", 11.904, True),
        ("11.8", 11.904, False),
        ("1,797", 1797, True),
        ("1,796", 1797, False),
        ("zero", 0, True),
    ],
)
def test_a_number_is_compared_as_the_page_rounds_it(said, value, right):
    assert agrees(said, value) is right
