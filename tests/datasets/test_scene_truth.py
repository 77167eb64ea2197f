"""Truth of captions and answers: all own ones are true, every way to spoil one is noticed, and
pictures small enough to be judged by hand.
"""

import re
from collections import Counter
from itertools import product
from random import Random

import pytest

from course_utils.datasets import Scenes
from course_utils.datasets.scene_truth import (
    FORMS,
    Truth,
    answer_is_true,
    caption_truth,
    read_caption,
    read_question,
)
from course_utils.datasets.scene_words import (
    COLOURS,
    NUMBERS,
    RELATIONS,
    SHAPES,
    Description,
    description,
)

TURNED = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
NUMBER = {"two": 2, "three": 3, "four": 4}


@pytest.fixture(scope="module")
def scenes():
    """2,400 scenes of four splits and three seeds."""
    found = []
    for split, seed in product(("train", "validation", "test", "novel"), range(3)):
        of_split = Scenes(split, size=200, seed=seed, overlap=0.25 * seed)
        found += [of_split[i] for i in range(len(of_split))]
    return found


def truth(item, caption=None) -> Truth:
    return caption_truth(caption or item["caption"], item["objects"])


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith("cross") else "s")


def listed(caption: str) -> list[str]:
    """The phrases of a list, opener and relation cut off."""
    return re.split(", | and ", re.sub("^a picture of |^there (is|are) |; .*", "", caption))


def test_every_own_caption_is_strictly_true(scenes):
    forms = Counter()
    for item in scenes:
        found = truth(item)
        assert found.strict, item["caption"]
        assert (found.right, found.holding) == (found.phrases, found.relations)
        assert (
            found.hallucinated == found.repeated == 0 and not read_caption(item["caption"]).unknown
        )
        if found.form.startswith("list"):
            assert found.missed == 0 and found.phrases == len(listed(item["caption"]))
        forms[found.form] += 1
    assert set(forms) == set(FORMS[:-1]) and min(forms.values()) > 200


def test_a_description_names_all_things_by_all_their_words(scenes):
    for number, item in enumerate(scenes):
        told = description(item["objects"], Random(number).random)
        found = truth(item, told)
        assert found.strict and found.form == "list" and found.relations == 0, told
        assert all(None not in noun for _, noun in read_caption(told).phrases), told
        kinds = {(thing.size, thing.colour, thing.shape) for thing in item["objects"]}
        assert found.phrases == len(kinds)


def test_the_caption_of_another_scene_is_seldom_true(scenes):
    others = [truth(other, item["caption"]).strict for item, other in zip(scenes, scenes[1:])]
    assert sum(others) < 0.05 * len(others)


def test_a_swapped_colour_is_noticed(scenes):
    tried = 0
    for item in scenes:
        own = {thing.colour for thing in item["objects"]}
        for word in re.findall("|".join(COLOURS), item["caption"]):
            new = next(colour for colour in COLOURS if colour not in own)
            spoilt = item["caption"].replace(word, new, 1)
            found = truth(item, spoilt)
            assert not found.strict and found.form == truth(item).form, spoilt
            # at the first mention, which is a phrase of its own
            assert found.hallucinated == 1 and found.right == found.phrases - 1, spoilt
            tried += 1
    assert tried > 2_000


def test_a_swapped_shape_is_noticed(scenes):
    tried = 0
    for item in scenes:
        own = {thing.shape for thing in item["objects"]}
        missing = [shape for shape in SHAPES if shape not in own]
        if not missing or not re.search("|".join(own), item["caption"]):
            continue
        spoilt = re.sub("|".join(own), missing[0], item["caption"], count=1)
        spoilt = spoilt.replace("crosss", "crosses").replace(f"{missing[0]}es", plural(missing[0]))
        found = truth(item, spoilt)
        assert not found.strict and found.hallucinated == 1, spoilt
        tried += 1
    assert tried > 1_000


def of_form(scenes, *forms):
    return [item for item in scenes if truth(item).form in forms]


def test_a_thing_that_is_added_is_noticed(scenes):
    lists = of_form(scenes, "list", "list and relation")
    for item in lists:
        own = {(thing.colour, thing.shape) for thing in item["objects"]}
        colour, shape = next(each for each in product(COLOURS, SHAPES) if each not in own)
        first = listed(item["caption"])[0]
        spoilt = item["caption"].replace(first, f"{first}, a {colour} {shape}", 1)
        if len(listed(item["caption"])) == 1:
            spoilt = item["caption"].replace(first, f"{first} and a {colour} {shape}", 1)
        found = truth(item, spoilt)
        assert found.form == truth(item).form and not found.strict, spoilt
        assert (found.hallucinated, found.missed) == (1, 0)
        assert found.right == truth(item).phrases
    assert len(lists) > 1_000


def test_a_thing_that_is_left_out_is_noticed(scenes):
    tried = 0
    for item in of_form(scenes, "list"):
        phrases = listed(item["caption"])
        if len(phrases) == 1:
            continue
        for k in range(len(phrases)):
            rest = phrases[:k] + phrases[k + 1 :]
            spoilt = " and ".join(filter(None, [", ".join(rest[:-1]), rest[-1]]))
            found = truth(item, spoilt)
            number = NUMBER.get(phrases[k].split()[0], 1)
            assert not found.strict and found.missed == number, spoilt
            assert found.right == found.phrases == len(rest) and found.hallucinated == 0
            tried += 1
    assert tried > 1_000


def test_a_thing_that_is_named_twice_is_noticed(scenes):
    lists = of_form(scenes, "list", "list and relation")
    for item in lists:
        first = listed(item["caption"])[0]
        joint = ", " if len(listed(item["caption"])) > 1 else " and "
        spoilt = item["caption"].replace(first, f"{first}{joint}{first}", 1)
        found = truth(item, spoilt)
        # each phrase alone is right, and nothing is missed
        assert found.form == truth(item).form and not found.strict, spoilt
        assert found.right == found.phrases and found.missed == found.hallucinated == 0
        assert found.repeated == 1


def test_a_thing_that_is_named_twice_by_other_words_is_noticed(scenes):
    tried = 0
    for item in scenes:
        things = item["objects"]
        if len({thing.colour for thing in things}) == len({thing.shape for thing in things}) == 2:
            if len(things) == 2:
                # each is exactly right, and together they are as many as the things
                spoilt = f"a {things[0].colour} thing and a {things[0].shape}"
                found = truth(item, spoilt)
                assert (found.right, found.repeated, found.missed) == (2, 1, 1), spoilt
                assert not found.strict and found.hallucinated == 0
                tried += 1
    assert tried > 100


def test_a_turned_relation_is_noticed(scenes):
    related = of_form(scenes, "list and relation", "relation", "relation first")
    for item in related:
        (place,) = re.findall("|".join(RELATIONS), item["caption"])
        found = truth(item, item["caption"].replace(place, TURNED[place]))
        assert not found.strict and (found.relations, found.holding) == (1, 0)
        assert found.right == found.phrases and found.repeated == 0
        if truth(item).form == "relation":
            # the two things, exchanged
            a, b = item["caption"].removeprefix("a ").split(f" is {place} a ")
            assert not truth(item, f"a {b} is {place} a {a}").strict
    assert len(related) > 1_000


def test_a_wrong_number_is_noticed(scenes):
    tried = 0
    for item in of_form(scenes, "list", "list and relation"):
        for phrase in listed(item["caption"]):
            number, noun = phrase.split(" ", 1)
            one = re.sub("(?<=cross)es$|(?<!s)s$", "", noun) if number != "a" else noun
            for other in ("a", "two", "three", "four"):
                if other == number:
                    continue
                wrong = f"{other} {one if other == 'a' else plural(one)}"
                opener = "there is|there are|a picture of"
                spoilt = re.sub(f"^({opener}) ", "", item["caption"]).replace(phrase, wrong, 1)
                found = truth(item, spoilt)
                assert not found.strict and found.form != "broken", spoilt
                assert found.right == found.phrases - 1 and found.hallucinated == 0
                tried += 1
    assert tried > 3_000


# ---- by hand ----


class Put:
    """A thing with a box of 10 x 10 pixels around a centre."""

    def __init__(self, words: str, x: int, y: int):
        self.size, self.colour, self.shape = words.split()
        self.box = (x - 5, y - 5, x + 5, y + 5)


THINGS = [
    Put("small red circle", 10, 10),
    Put("large red circle", 40, 12),
    Put("small blue cross", 12, 50),
]


@pytest.mark.parametrize(
    "caption, expected",
    [
        #                                form, phrases, right, hallucinated, repeated, missed, ...
        ("two red circles and a blue cross", ("list", 2, 2, 0, 0, 0, 0, 0, True)),
        ("Two red circles , and a blue cross.", ("broken", 2, 2, 0, 0, 0, 0, 0, False)),
        (" TWO red  circles and a blue cross .", ("list", 2, 2, 0, 0, 0, 0, 0, True)),
        ("two circles and a cross; the cross is below the large circle",)
        + (("list and relation", 2, 2, 0, 0, 0, 1, 1, True),),
        ("two circles and a cross; the cross is below the circle",)
        + (("list and relation", 2, 2, 0, 0, 0, 1, 0, False),),
        ("a red circle and a blue cross", ("list", 2, 1, 0, 0, 0, 0, 0, False)),
        ("three red circles and a blue cross", ("list", 2, 1, 0, 0, 0, 0, 0, False)),
        ("two red circles", ("list", 1, 1, 0, 0, 1, 0, 0, False)),
        ("two red circles and a white cross", ("list", 2, 1, 1, 0, 1, 0, 0, False)),
        ("three things", ("list", 1, 1, 0, 0, 0, 0, 0, True)),
        ("two circles and two red things", ("list", 2, 2, 0, 1, 1, 0, 0, False)),
        ("a small circle is above a cross", ("relation", 2, 2, 0, 0, 1, 1, 1, True)),
        ("a circle is above a cross", ("relation", 2, 1, 0, 0, 0, 1, 0, False)),
        # two pixels apart along the axis that is meant
        ("a small circle is above a large circle", ("relation", 2, 2, 0, 0, 1, 1, 0, False)),
        ("left of a large circle there is a small circle",)
        + (("relation first", 2, 2, 0, 0, 1, 1, 1, True),),
        ("a cross is above a cross", ("relation", 2, 2, 0, 1, 2, 1, 0, False)),
        ("a pink cross is above a cross", ("relation", 2, 1, 1, 0, 2, 1, 0, False)),
        # what is no caption: still read as far as it goes
        ("", ("broken", 0, 0, 0, 0, 3, 0, 0, False)),
        ("there is two red circles and a blue cross", ("broken", 2, 2, 0, 0, 0, 0, 0, False)),
        ("two red circle and a blue cross", ("broken", 2, 2, 0, 0, 0, 0, 0, False)),
        ("two red circles a blue cross", ("broken", 2, 2, 0, 0, 0, 0, 0, False)),
        ("two red circles and a blue", ("broken", 1, 1, 0, 0, 1, 0, 0, False)),
        ("the cross is below the small circle", ("broken", 0, 0, 0, 0, 3, 1, 1, False)),
        ("a cross is below a small circle and a white square",)
        + (("broken", 3, 2, 1, 0, 1, 1, 1, False),),
        ("two red circles and a blue cross and", ("broken", 2, 2, 0, 0, 0, 0, 0, False)),
        ("one two three", ("broken", 0, 0, 0, 0, 3, 0, 0, False)),
    ],
)
def test_captions_judged_by_hand(caption, expected):
    assert tuple(caption_truth(caption, THINGS)) == expected


def test_what_a_caption_says():
    said = read_caption("a picture of two small crosses, a red thing and a circle")
    assert said.form == "list" and said.relations == [] and said.unknown == []
    assert said.phrases == [
        (2, Description("small", None, "cross")),
        (1, Description(None, "red", None)),
        (1, Description(None, None, "circle")),
    ]
    cross, circle = Description(None, None, "cross"), Description("large", "red", "circle")
    first = read_caption("left of a cross there is a large red circle")
    assert first.phrases == [(1, circle), (1, cross)]
    assert first.relations == [(circle, "left of", cross)]


def test_words_that_no_caption_has_are_told():
    said = read_caption("a purple cross and <unk> red circles, zebra; a blue cross")
    assert said.form == "broken" and said.unknown == ["purple", "<unk>", "zebra"]
    assert said.phrases == [(1, Description(None, "blue", "cross"))]
    assert not caption_truth("a purple cross", THINGS).strict


# ---- answers ----


def test_every_own_answer_is_true_and_no_other(scenes):
    answers = {item["answer"] for item in scenes}
    for item in scenes:
        question, things = item["question"], item["objects"]
        true = [answer for answer in answers if answer_is_true(question, answer, things)]
        assert true == [item["answer"]]
        assert read_question(question).text() == question
        assert read_question(question).kind == item["kind"]


@pytest.mark.parametrize("split", ["train", "novel"])
def test_every_question_of_a_scene_is_read(split):
    scenes = Scenes(split, size=20)
    for i in range(len(scenes)):
        for question, answer, kind in scenes.questions(i):
            assert read_question(question).text() == question, question
            assert read_question(question).kind == kind
            assert answer_is_true(question, answer, scenes[i]["objects"])


@pytest.mark.parametrize(
    "question, answer",
    [
        ("how many red circles are there?", "two"),
        ("How many things are there ?", " Three "),
        ("is there a white thing?", "no"),
        ("what colour is the cross?", "blue"),
        ("are there more circles than crosses?", "yes"),
        ("are there as many red things as blue things?", "no"),
        ("is the cross below the small circle?", "yes"),
    ],
)
def test_answers_judged_by_hand(question, answer):
    assert answer_is_true(question, answer, THINGS)
    others = {"yes", "no", *NUMBERS, *COLOURS, "", "twos"} - {answer.strip().lower()}
    assert not any(answer_is_true(question, other, THINGS) for other in others)


def test_a_question_without_sense_has_no_true_answer():
    for question in ("what size is the circle?", "is the circle above the cross?"):
        assert not any(answer_is_true(question, a, THINGS) for a in ("small", "large", "yes", "no"))
    assert not answer_is_true("what size is the circle?", "None", THINGS)


@pytest.mark.parametrize(
    "question", ["", "why?", "is there a zebra?", "how many circle are there?"]
)
def test_what_is_no_question_is_refused(question):
    assert read_question(question) is None
    with pytest.raises(ValueError, match="question: expected one of data/scenes/README.md, got"):
        answer_is_true(question, "yes", THINGS)


def test_what_is_no_string_is_refused():
    with pytest.raises(TypeError, match="caption: expected a string, got list"):
        caption_truth(["a cross"], THINGS)
    with pytest.raises(TypeError, match="question: expected a string, got NoneType"):
        read_question(None)
    with pytest.raises(TypeError, match="answer: expected a string, got int"):
        answer_is_true("is there a cross?", 1, THINGS)
