"""Scenes: pictures against a second way to draw them, words against evaluators that know nothing
of the generator.
"""

import doctest
import hashlib
import math
import pickle
import random
import re
import sys
from collections import Counter, defaultdict
from itertools import combinations, permutations, product

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from course_utils.datasets import Scenes, scene_words, scenes
from course_utils.datasets.scenes import COLOURS, HELD_OUT, KINDS, SHAPES, SPLITS

SEEN_SPLITS = SPLITS[:3]
NUMBER = {"zero": 0, "a": 1, "one": 1, "two": 2, "three": 3, "four": 4}
NOUN = (
    r"((?:small |large )?(?:red |yellow |green |blue |pink |white"
    r" )?(?:circle|square|triangle|cross|thing))"
)
MANY = NOUN + r"(?:(?<=cross)es|(?<!cross)s)"
COUNTED = f"(?:a {NOUN}|(?:two|three|four) {MANY})"
PLACES = ("left of", "right of", "above", "below")
PLACE = f"({'|'.join(PLACES)})"


# The words once more. Every evaluator takes a text and the objects, of which it reads attributes
# and boxes.


def fitting(phrase, objects):
    """The objects that a phrase such as "small red things" means."""
    words = [re.sub(r"(?<=cross)es$|(?<!s)s$", "", word) for word in phrase.split()]
    return [
        thing
        for thing in objects
        if all(word == "thing" or word in (thing.size, thing.colour, thing.shape) for word in words)
    ]


def stands(one, place, other):
    """Whether one object is there, as seen from the other; None if the centres are less than 6
    pixels apart.
    """
    x, y = (
        (one.box[k] + one.box[k + 2]) / 2 - (other.box[k] + other.box[k + 2]) / 2 for k in (0, 1)
    )
    along = {"left of": -x, "right of": x, "above": -y, "below": y}[place]
    return None if abs(along) < 6 else along > 0


def expected_answer(question, objects):
    """The answer, or None where the question makes no sense; fails on a question of no known
    form.
    """

    def say(true):
        return None if true is None else "yes" if true else "no"

    if match := re.fullmatch(f"is there a {NOUN}\\?", question):
        return say(bool(fitting(match[1], objects)))
    if match := re.fullmatch(f"how many {MANY} are there\\?", question):
        return ["zero", "one", "two", "three", "four"][len(fitting(match[1], objects))]
    if match := re.fullmatch(f"what (size|colour|shape) is the {NOUN}\\?", question):
        meant = fitting(match[2], objects)
        return getattr(meant[0], match[1]) if len(meant) == 1 else None
    if match := re.fullmatch(
        f"are there (?:more {MANY} than {MANY}|as many {MANY} as {MANY})\\?", question
    ):
        a, b = (len(fitting(phrase, objects)) for phrase in match.groups() if phrase)
        return None if a == b == 0 else say(a > b if " more " in question else a == b)
    match = re.fullmatch(f"is the {NOUN} {PLACE} the {NOUN}\\?", question)
    one, other = fitting(match[1], objects), fitting(match[3], objects)
    return say(stands(one[0], match[2], other[0])) if len(one) == len(other) == 1 else None


def caption_is_true(caption, objects):
    """Whether all that a caption says is so, every number being exact; fails on a caption of no
    known form.
    """

    def all_single_and(first, place, second):
        one, other = fitting(first, objects), fitting(second, objects)
        return len(one) == len(other) == 1 and stands(one[0], place, other[0]) is True

    if match := re.fullmatch(f"a {NOUN} is {PLACE} a {NOUN}", caption):
        return all_single_and(*match.groups())
    if match := re.fullmatch(f"{PLACE} a {NOUN} there is a {NOUN}", caption):
        return all_single_and(match[3], match[1], match[2])
    listed, *relation = caption.split("; ")
    match = re.fullmatch(
        "(?:a picture of |there is (?=a )|there are (?!a ))?"
        f"(?P<list>{COUNTED}(?:(?:, {COUNTED})* and {COUNTED})?)",
        listed,
    )
    counts = [phrase.split(" ", 1) for phrase in re.split(", | and ", match["list"])]
    true = all(len(fitting(phrase, objects)) == NUMBER[number] for number, phrase in counts)
    true &= sum(NUMBER[number] for number, _ in counts) == len(objects)  # a list leaves nothing out
    if relation:
        match = re.fullmatch(f"the {NOUN} is {PLACE} the {NOUN}", relation[0])
        true &= all_single_and(*match.groups())
    return true


def pixels_of(shape, side):
    """The shape drawn pixel by pixel, from distances to its middle."""
    drawn = np.zeros((side, side), bool)
    for row, column in product(range(side), repeat=2):
        x, y = abs(column + 0.5 - side / 2), abs(row + 0.5 - side / 2)
        drawn[row, column] = {
            "square": True,
            "circle": math.hypot(x, y) <= side / 2,
            "triangle": x <= max(row, 1) / 2,
            "cross": min(x, y) < side / 6,
        }[shape]
    return drawn


DRAWN = {
    (shape, side): pixels_of(shape, side) for shape in SHAPES for side in (9, 10, 11, 17, 18, 19)
}


def tight_box(mask):
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.fixture(scope="module")
def items():
    """Items of all splits, 5,600 of "train", without their pictures, which would fill the
    memory.
    """
    return {
        split: [
            {**item, "image": None}
            for item in Scenes(split, size=5_600 if split == "train" else 700)
        ]
        for split in SPLITS
    }


def fingerprint(world):
    digest = hashlib.sha256()
    for item in world:
        digest.update((item["image"] * 255).round().to(torch.uint8).numpy().tobytes())
        digest.update(
            "|".join([item["caption"], item["question"], item["answer"], item["kind"]]).encode()
        )
        digest.update(
            repr([(o.size, o.colour, o.shape, *map(int, o.box)) for o in item["objects"]]).encode()
        )
    return digest.hexdigest()


@pytest.mark.parametrize(
    "dials, expected",
    [
        ({}, "33b18f8dc4f7e5b1ecced23e3921e87b2ad1f31578acb1d17192ce3e13ee3f8a"),
        (
            {
                "split": "test",
                "seed": 3,
                "objects": (2, 4),
                "overlap": 0.5,
                "background": 0.7,
                "clutter": 20,
            },
            "7e6b4ea0af164132569357f68d41f7286740cec100968978d614499ad0d53eb0",
        ),
        (
            {"split": "novel", "objects": (4, 4), "overlap": 0},
            "2cdefd16c7b692ef095561a56d00731dbb951a4f338c162119afa45636d3b8b9",
        ),
    ],
    ids=["default", "dials", "novel"],
)
def test_the_first_hundred_scenes_are_the_same_everywhere(dials, expected):
    assert fingerprint(Scenes(size=100, **dials)) == expected


def test_an_item_is_what_the_docstring_says():
    item = Scenes(background=1.0, clutter=20)[3]
    assert list(item) == ["image", "caption", "question", "answer", "kind", "objects"]
    assert item["image"].shape == (3, 64, 64) and item["image"].dtype == torch.float32
    assert 0 <= item["image"].min() and item["image"].max() <= 1
    thing = item["objects"][0]
    assert thing.mask().shape == (64, 64) and thing.mask().dtype == torch.bool
    assert thing.centre == ((thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2)
    assert doctest.testmod(scenes).failed == 0 and doctest.testmod(scenes).attempted


@pytest.mark.parametrize("overlap", [0, 0.25, 0.75])
def test_boxes_and_masks_are_those_of_a_second_drawing(overlap):
    most_hidden = 0
    for item in Scenes(size=300, objects=(1, 4), overlap=overlap):
        shown = np.zeros((64, 64), int)
        picture = np.full((64, 64, 3), 40)
        for number, thing in enumerate(item["objects"], start=1):
            left, top, right, bottom = thing.box
            side = right - left
            assert 0 <= left and 0 <= top and right <= 64 and bottom <= 64 and bottom - top == side
            assert side in {"small": (9, 10, 11), "large": (17, 18, 19)}[thing.size]
            whole = np.zeros((64, 64), bool)
            whole[top:bottom, left:right] = DRAWN[thing.shape, side]
            assert tight_box(whole) == thing.box
            shown[whole], picture[whole] = number, COLOURS[thing.colour]
        assert np.array_equal((item["image"] * 255).round().permute(1, 2, 0).int().numpy(), picture)
        for number, thing in enumerate(item["objects"], start=1):
            mask = thing.mask().numpy()
            assert np.array_equal(mask, shown == number)
            whole = DRAWN[thing.shape, thing.box[2] - thing.box[0]].sum()
            assert mask.sum() >= (1 - overlap) * whole
            most_hidden = max(most_hidden, 1 - mask.sum() / whole)
            if overlap == 0:
                assert tight_box(mask) == thing.box
        # things of one colour would else look like one
        for one, other in combinations(item["objects"], 2):
            across = max(one.box[0], other.box[0]) - min(one.box[2], other.box[2])
            down = max(one.box[1], other.box[1]) - min(one.box[3], other.box[3])
            assert one.colour != other.colour or max(across, down) >= 2
    assert most_hidden > overlap - 0.1


def test_the_shapes_differ_at_every_size_and_the_colours_for_colour_blind_readers():
    for side in (9, 10, 11, 17, 18, 19):
        for a, b in combinations(SHAPES, 2):
            assert (DRAWN[a, side] != DRAWN[b, side]).mean() > 0.14
    # Severity 1 of Machado, Oliveira and Fernandes (2009), on linear RGB; distances in CIELAB.
    blind = [
        np.eye(3),
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    ]
    to_xyz = np.array(
        [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    )
    rgb = np.array([*COLOURS.values(), (40, 40, 40)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in blind:
        x, y, z = np.cbrt(
            to_xyz / [[0.9505], [1], [1.0888]] @ np.clip(linear @ np.transpose(matrix), 1e-4, 1).T
        )
        lab = np.stack([116 * y, 500 * (x - y), 200 * (y - z)], axis=1)
        assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 28


def test_captions_are_true_and_tell_scenes_apart(items):
    for split, of_split in items.items():
        assert all(caption_is_true(item["caption"], item["objects"]) for item in of_split), split
    captions, things = ([item[key] for item in items["train"]] for key in ("caption", "objects"))
    assert len(set(captions)) > 3_500
    # The evaluator is no yes-man: few captions are true of another scene.
    assert (
        np.mean([caption_is_true(caption, others) for caption, others in zip(captions, things[1:])])
        < 0.05
    )
    forms = Counter(re.sub(NOUN, "N", caption).split(" N")[0] for caption in captions)
    assert {
        "a",
        "two",
        "three",
        "four",
        "a picture of a",
        "there is a",
        "there are two",
        "left of a",
    } <= set(forms)
    for part in ("; the ", *(f" is {place} a " for place in PLACES), " and two ", ", a ", "things"):
        assert sum(part in caption for caption in captions) > 30, part


def test_scenes_with_the_same_objects_get_different_captions(items):
    by_kinds = defaultdict(set)
    for item in items["train"]:
        by_kinds[tuple(sorted((o.size, o.colour, o.shape) for o in item["objects"]))].add(
            item["caption"]
        )
    assert max(map(len, by_kinds.values())) > 10


def test_answers_are_true(items):
    for split, of_split in items.items():
        for item in of_split:
            assert item["answer"] == expected_answer(item["question"], item["objects"]), (
                split,
                item,
            )


@pytest.mark.parametrize("split", ["train", "novel"])
def test_questions_are_all_that_make_sense(split):
    words = {"size": ("small", "large"), "colour": tuple(COLOURS), "shape": SHAPES}
    phrases = [
        " ".join(filter(None, chosen))
        for chosen in product(
            ("", *words["size"]), ("", *words["colour"]), ("thing", *words["shape"])
        )
    ]
    unseen = () if split == "novel" else [f"{colour} {shape}" for colour, shape in HELD_OUT]
    phrases = [phrase for phrase in phrases if not phrase.endswith(tuple(unseen))]
    plural = {phrase: phrase + ("es" if phrase.endswith("cross") else "s") for phrase in phrases}
    referents = [
        f"{colour} {shape}"
        for colour in COLOURS
        for shape in SHAPES
        if f"{colour} {shape}" in phrases
    ]
    alike = [
        [f"{word} thing" for word in words["size"]],
        [f"{word} thing" for word in words["colour"]],
        SHAPES,
    ]
    possible = [(f"is there a {p}?", "exists") for p in phrases if p != "thing"]
    possible += [(f"how many {plural[p]} are there?", "count") for p in phrases]
    possible += [
        (f"what {kind} is the {p}?", kind)
        for kind in words
        for p in phrases
        if p != "thing" and not set(words[kind]) & set(p.split())
    ]
    possible += [
        (f"are there {more} {plural[a]} {than} {plural[b]}?", "compare")
        for same in alike
        for a, b in permutations(same, 2)
        for more, than in (("more", "than"), ("as many", "as"))
    ]
    possible += [
        (f"is the {a} {place} the {b}?", "relation")
        for a, b in permutations(referents, 2)
        for place in PLACES
    ]
    world = Scenes(split, size=42)
    for i, item in enumerate(world):
        expected = {(text, expected_answer(text, item["objects"]), kind) for text, kind in possible}
        given = world.questions(i)
        assert len(given) == len(set(given)) and set(given) == {
            row for row in expected if row[1] is not None
        }
        assert (item["question"], item["answer"], item["kind"]) in given
        assert [KINDS.index(kind) for _, _, kind in given] == sorted(
            KINDS.index(kind) for _, _, kind in given
        )


def test_kinds_are_in_balance_and_the_question_alone_does_not_tell_the_answer(items):
    train = items["train"]
    assert Counter(item["kind"] for item in train) == {kind: 800 for kind in KINDS}
    # The answers wanted, of which none is more frequent than the others: how often a guess is
    # right, plus four errors.
    chance = {
        "exists": 0.5,
        "count": 0.21,
        "colour": 0.19,
        "shape": 0.29,
        "size": 0.5,
        "compare": 0.5,
        "relation": 0.5,
    }
    for kind in KINDS:
        by_text = defaultdict(list)
        for item in train:
            if item["kind"] == kind:
                by_text[item["question"]].append(item["answer"])
        learnt = {
            text: Counter(answers[::2]).most_common(1)[0][0] for text, answers in by_text.items()
        }
        scores = [
            answer == learnt[text] for text, answers in by_text.items() for answer in answers[1::2]
        ]
        assert np.mean(scores) < chance[kind] + 4 * math.sqrt(0.25 / len(scores)), kind
        frequent = [answers for answers in by_text.values() if len(answers) >= 40]
        for answers in frequent:
            counts = Counter(answers).values()
            assert max(counts) - min(counts) < 5 * math.sqrt(2 * len(answers) / len(counts)), (
                answers
            )
        assert frequent or kind in ("exists", "relation", "compare")
    words = "yes no zero one two three four small large".split()
    assert {item["answer"] for item in train} == {*words, *COLOURS, *SHAPES}


def test_the_number_of_objects_does_not_tell_whether_something_is_there():
    world, yes = Scenes(size=21_000), defaultdict(list)
    for i in range(0, len(world), len(KINDS)):
        item = world[i]
        assert item["kind"] == "exists"
        yes[len(item["objects"])].append(item["answer"] == "yes")
    assert sorted(yes) == [1, 2, 3, 4] and all(
        abs(np.mean(answers) - 0.5) < 0.06 for answers in yes.values()
    )


def test_held_out_combinations_are_in_novel_only(items):
    assert len({colour for colour, _ in HELD_OUT}) == 4 and sorted(
        shape for _, shape in HELD_OUT
    ) == sorted(SHAPES)
    named = re.compile("|".join(f"{colour} {shape}" for colour, shape in HELD_OUT))
    for split in SEEN_SPLITS:
        for item in items[split]:
            assert not any((thing.colour, thing.shape) in HELD_OUT for thing in item["objects"])
            assert not named.search(item["caption"] + item["question"])
        assert not any(
            named.search(text) for i in range(20) for text, _, _ in Scenes(split).questions(i)
        )
    assert all(
        any((thing.colour, thing.shape) in HELD_OUT for thing in item["objects"])
        for item in items["novel"]
    )
    assert np.mean([bool(named.search(item["question"])) for item in items["novel"]]) > 0.15
    assert np.mean([bool(named.search(item["caption"])) for item in items["novel"]]) > 0.4
    seen = {(thing.colour, thing.shape) for item in items["train"] for thing in item["objects"]}
    assert len(seen) == 20


def test_no_picture_is_in_two_splits(items):
    # what keeps scenes of several objects apart, which rarely meet by chance
    for code, split in enumerate(SPLITS):
        assert all(
            sum(sum(thing.box[:2]) for thing in item["objects"]) % 4 == code
            for item in items[split]
        )

    def prints(split, size, **dials):
        return {
            hashlib.md5(item["image"].numpy()).digest()
            for item in Scenes(split, size=size, **dials)
        }

    # Single objects have so few places that by chance several would be.
    pictures = {
        split: prints(split, 1_000, seed=seed, objects=(1, 1)) | prints(split, 200)
        for split, seed in zip(SPLITS, (0, 0, 1, 0))
    }
    for a, b in combinations(SPLITS, 2):
        assert not pictures[a] & pictures[b], (a, b)
    assert all(len(of_split) > 1_150 for of_split in pictures.values())


def words_of(item):
    return item["caption"], item["question"], item["answer"], item["objects"]


def test_a_scene_depends_on_its_seed_split_and_index_alone():
    world = Scenes(size=30, seed=5)
    order = random.Random(0).sample(range(30), 30)
    backwards = {i: world[i] for i in order}
    for i, item in enumerate(Scenes(size=40, seed=5)):
        if i < 30:
            assert words_of(item) == words_of(backwards[i]) and torch.equal(
                item["image"], backwards[i]["image"]
            )
    for other in (Scenes(seed=6), Scenes("test", seed=5)):  # short questions agree now and then
        assert sum(world[i]["question"] == other[i]["question"] for i in range(30)) < 8


def test_background_and_clutter_change_only_what_is_behind():
    def count_specks(picture):
        return int((picture * 255).round().eq(130).all(dim=0).sum())

    specks = []
    for i in range(40):
        plain, dressed, cluttered, both = (
            Scenes(**dials)[i]
            for dials in (
                {},
                {"background": 1.0},
                {"clutter": 12},
                {"background": 0.5, "clutter": 12},
            )
        )
        assert words_of(plain) == words_of(dressed) == words_of(cluttered) == words_of(both)
        shown = torch.stack([thing.mask() for thing in plain["objects"]]).any(dim=0)
        for other in (dressed, cluttered, both):
            assert torch.equal(plain["image"][:, shown], other["image"][:, shown])
            assert all(
                torch.equal(a.mask(), b.mask()) for a, b in zip(plain["objects"], other["objects"])
            )
        behind = (dressed["image"][:, ~shown] * 255).round()
        assert behind.min() >= 40 and behind.max() <= 110 and behind.max() - behind.min() > 25
        steps = (dressed["image"] * 255).diff(dim=2)[:, ~shown[:, 1:] & ~shown[:, :-1]]
        assert steps.abs().max() < 7  # smooth
        assert torch.equal(plain["image"][:, ~shown].unique() * 255, torch.tensor([40.0]))
        specks.append(count_specks(cluttered["image"]))
        assert count_specks(both["image"]) == specks[-1]
    assert 12 * 2 < min(specks) and max(specks) <= 12 * 9


@pytest.mark.parametrize(
    "dials",
    [
        *({"split": split, "objects": (1, 1)} for split in SPLITS),
        {"objects": (4, 4), "overlap": 0},
        {"split": "novel", "objects": (4, 4), "overlap": 0.75},
        {"split": "novel", "objects": (2, 2)},
    ],
    ids=str,
)
def test_narrow_settings_keep_their_promises(dials):
    fewest, most = dials["objects"]
    kinds = Counter()
    for item in Scenes(size=210, **dials):
        assert fewest <= len(item["objects"]) <= most
        assert item["answer"] == expected_answer(item["question"], item["objects"])
        assert caption_is_true(item["caption"], item["objects"])
        kinds[item["kind"]] += 1
    assert set(kinds.values()) == {30 if most > 1 else 35} and set(kinds) == set(
        KINDS[: 7 if most > 1 else 6]
    )


def test_an_index_counts_from_the_end_like_that_of_a_list():
    world = Scenes(size=5, background=1.0, clutter=9)
    for index in (-1, np.int64(4), torch.tensor(4), torch.tensor(-1)):
        assert words_of(world[index]) == words_of(world[4]) and torch.equal(
            world[index]["image"], world[4]["image"]
        )
    assert world.questions(-1) == world.questions(4) and len(world) == 5 and len(list(world)) == 5
    for index in (5, -6):
        for call in (world.__getitem__, world.questions):
            with pytest.raises(
                IndexError, match=f"index {index} is outside the 5 scenes of split 'train'"
            ):
                call(index)
    with pytest.raises(TypeError):
        world[1.0]


def test_a_data_loader_gives_pictures_as_one_tensor_and_the_rest_as_lists():
    world = Scenes(size=10)
    batch = list(DataLoader(world, 4, collate_fn=Scenes.collate))[2]
    assert batch["image"].shape == (2, 3, 64, 64) and torch.equal(
        batch["image"][1], world[9]["image"]
    )
    assert (
        batch["caption"] == [world[8]["caption"], world[9]["caption"]]
        and batch["objects"][1] == world[9]["objects"]
    )
    copied = pickle.loads(pickle.dumps(world[9]["objects"]))  # as a worker process sends them
    assert all(torch.equal(a.mask(), b.mask()) for a, b in zip(copied, world[9]["objects"]))


def test_it_is_fast_because_nothing_goes_pixel_by_pixel():
    """The lines of Python that run for one scene: fewer than it has pixels, in most scenes."""
    world, lines, before = Scenes(size=100), Counter(), sys.gettrace()

    def count(frame, event, arg):
        if frame.f_code.co_filename not in (scenes.__file__, scene_words.__file__):
            return None
        lines[i] += event == "line"
        return count

    try:
        for i in range(100):
            sys.settrace(count)
            world[i]
            sys.settrace(before)
    finally:
        sys.settrace(before)
    # about 1,200; some scenes are drawn several times until their question makes sense
    assert 0 < np.median([lines[i] for i in range(100)]) < 64 * 64


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: Scenes("training"),
            r"split: expected one of \['train', 'validation', 'test', 'novel'\], got 'training'",
        ),
        (lambda: Scenes(["train"]), "split: expected one of"),
        (lambda: Scenes(size=0), "size: expected a whole number of at least 1, got 0"),
        (lambda: Scenes(size=2.5), "size: expected a whole number of at least 1, got 2.5"),
        (lambda: Scenes(seed=-1), "seed: expected a whole number of at least 0, got -1"),
        (lambda: Scenes(seed=None), "seed: expected a whole number of at least 0, got None"),
        (
            lambda: Scenes(objects=(0, 2)),
            r"objects: expected \(fewest, most\) from 1 to 4, got \(0, 2\)",
        ),
        (lambda: Scenes(objects=(3, 2)), r"objects: expected .* got \(3, 2\)"),
        (lambda: Scenes(objects=(1, 5)), r"objects: expected .* got \(1, 5\)"),
        (lambda: Scenes(objects=(1, 2.5)), r"objects: expected .* got \(1, 2.5\)"),
        (lambda: Scenes(objects=3), "objects: expected .* got 3"),
        (lambda: Scenes(overlap=0.8), "overlap: expected a share from 0 to .75, got 0.8"),
        (lambda: Scenes(overlap=-0.1), "overlap: expected .* got -0.1"),
        (lambda: Scenes(overlap=math.nan), "overlap: expected .* got nan"),
        (lambda: Scenes(background=1.1), "background: expected a degree from 0 to 1, got 1.1"),
        (lambda: Scenes(background="grey"), "background: expected .* got 'grey'"),
        (lambda: Scenes(clutter=61), "clutter: expected a whole number from 0 to 60, got 61"),
        (lambda: Scenes(clutter=0.5), "clutter: expected .* got 0.5"),
        (lambda: Scenes.collate([]), r"samples: expected at least one, got \[\]"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
