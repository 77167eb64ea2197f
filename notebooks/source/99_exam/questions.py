"""The exam's thirty questions, drawn by a seed: which there are, on which page each rests.

What they ask stands in numbers.py, options.py and functions.py.
"""

import random
import re
from typing import NamedTuple

from course_utils.exercises import Exercise
from course_utils.rooms import load

numbers, options = load("99", "numbers"), load("99", "options")

POINTS = 2
WRONG = 4  # wrong numbers that a question names; where two are the same it is drawn again
CLEAR = 0.01  # share by which a wrong number must differ from the right one, else it is drawn again


class Question(NamedTuple):
    key: str  # "07"
    page: str  # that it rests on; for the teacher alone
    topic: str
    kind: str  # "number", "choice", "set" or "function"
    points: int
    text: str
    code: str  # what stands in the cell of the answer
    answer: object  # a number, a letter, a set of letters, or a function's code
    wrong: dict  # {a wrong answer: what is wrong about it}
    exercise: Exercise | None = None


# ---- the table ----

NUMBER, CHOICE, SET, FUNCTION = "number", "choice", "set", "function"
ASKED = (
    ("00", "what one modality adds to a logit", NUMBER, numbers.glued),
    ("01", "a masked mean, to be mended", FUNCTION, "masked_mean"),
    ("03", "the size behind two convolutions", NUMBER, numbers.flattened),
    ("04", "a frozen encoder that moves: which line", NUMBER, numbers.frozen),
    ("05", "noise at a ratio, beside padding", NUMBER, numbers.mixed),
    ("06", "the last reading on a clock", FUNCTION, "hold"),
    ("07", "a random split of people", CHOICE, options.by_speaker),
    ("08", "which epoch early stopping keeps", NUMBER, numbers.kept),
    ("09", "may these data be shuffled?", CHOICE, options.forensics),
    ("10", "the interaction at four points", NUMBER, numbers.interaction),
    ("11", "what an optimiser can move", NUMBER, numbers.registered),
    ("12", "a product of experts and the prior", NUMBER, numbers.experts),
    ("13", "what products of two can tell", SET, options.multiplied),
    ("14", "heads by a view: which line", NUMBER, numbers.heads),
    ("15", "a map beside its controls", CHOICE, options.maps),
    ("17", "places of a search, with ties", FUNCTION, "places"),
    ("18", "two gradients in conflict", NUMBER, numbers.both_ways),
    ("19", "a verdict from five pairs", CHOICE, options.paired),
    ("20", "the additive projection", NUMBER, numbers.projected),
    ("21", "one softmax too many", NUMBER, numbers.softmax_too_many),
    ("22", "the first step of AdamW", NUMBER, numbers.decoupled),
    ("23", "what balancing has to be compared with", CHOICE, options.balanced),
    ("24", "what one key teaches", SET, options.one_key),
    ("25", "a caption's loss, shifted and masked", FUNCTION, "caption_loss"),
    ("26", "the prior of a wording", NUMBER, numbers.prior_of_wordings),
    ("28", "a layer with LoRA", NUMBER, numbers.low_rank_step),
    ("29", "all paths to a text", NUMBER, numbers.paths),
    ("31", "the least cost of a threshold", FUNCTION, "least_cost"),
    ("32", "how often a modality is hidden", NUMBER, numbers.hidden),
    ("33", "a map without its control", CHOICE, options.deleted),
)


def questions(seed: int) -> list[Question]:
    """The thirty questions of one seed, always the same."""
    written = load("99", "functions").WRITTEN
    found = []
    for place, (page, topic, kind, make) in enumerate(ASKED, 1):
        key = f"{place:02}"
        if kind == FUNCTION:
            found.append(written[make](key, page, topic, POINTS))
            continue
        build = {NUMBER: number, CHOICE: lettered, SET: lettered}[kind]
        parts = next(filter(None, (build(make, seed, key, i) for i in range(1000))))
        found.append(Question(key, page, topic, kind, POINTS, *parts))
    return found


def generator(seed, key, attempt):
    return random.Random(f"{seed} {key} {attempt}")


def number(make, seed, key, attempt):
    """The parts of a question for a number; None where it is to be drawn again, also because a
    wrong number, or one that stands in the text, lies too near to the right one.
    """
    drawn = make(generator(seed, key, attempt))
    if drawn is None:
        return None
    text, right, wrong = drawn
    if abs(right) < 0.05 or len(wrong) < WRONG:
        return None
    near = CLEAR * max(abs(right), 1)
    if any(abs(one - right) <= near for one in wrong):
        return None
    shown = map(float, re.findall(r"-?\d+\.\d+", text))
    if isinstance(right, float) and any(abs(one - right) <= near for one in shown):
        return None
    return text, f"answer_{key} = ...", right, wrong


def lettered(make, seed, key, attempt):
    """The parts of a question with options, in an order by lot; None where it is to be drawn
    again. Of a choice one option is right, of a set any number.
    """
    draw = generator(seed, key, attempt)
    drawn = make(draw)
    if drawn is None:
        return None
    text, offered = drawn
    draw.shuffle(offered)
    letters = "abcdefg"[: len(offered)]
    listed = "\n".join(f"- **{letter}**: {one[0]}" for letter, one in zip(letters, offered))
    code = f"answer_{key} = ..."
    if len(offered[0]) == 2:
        right = next(letter for letter, (_, why) in zip(letters, offered) if not why)
        wrong = {letter: why for letter, (_, why) in zip(letters, offered) if why}
        return f"{text}\n\n{listed}", code, right, wrong
    right = frozenset(letter for letter, one in zip(letters, offered) if one[2])
    wrong = {letter: why for letter, (_, why, _) in zip(letters, offered)}
    return f"{text}\n\n{listed}", code, right, wrong
