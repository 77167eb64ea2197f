"""The words of scenes: what can be said of a few coloured shapes, questions with their answers, and
captions.

A thing is whatever has a size, a colour, a shape and a box: a `Thing` of `scenes`, or for all but
relations a `Description` that leaves nothing open.
"""

from itertools import combinations, permutations
from typing import NamedTuple

# Apart for readers with a red, green or blue blindness too: a CIELAB distance of at least 28 under
# each.
COLOURS = {
    "red": (210, 25, 10),
    "yellow": (250, 210, 30),
    "green": (10, 185, 95),
    "blue": (40, 90, 205),
    "pink": (230, 108, 170),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = {"small": (9, 10, 11), "large": (17, 18, 19)}  # pixels from side to side
ATTRIBUTES = {"size": tuple(SIZES), "colour": tuple(COLOURS), "shape": SHAPES}
COMPARISONS = {"more": "than", "as many": "as"}
KINDS = ("exists", "count", "colour", "shape", "size", "compare", "relation")
RELATIONS = {"left of": ("x", -1), "right of": ("x", 1), "above": ("y", -1), "below": ("y", 1)}
# pixels between two centres, from which on one object counts as left of the other
APART = 6
NUMBERS = ("zero", "one", "two", "three", "four")

# What a phrase can name: ("colour", "shape") is "red circle". Captions prefer those that say much.
NAMINGS = tuple(names for k in (1, 2, 3) for names in combinations(ATTRIBUTES, k))
CAPTION_NAMINGS = NAMINGS[1:] + 3 * (("colour", "shape"), ("size", "colour", "shape"))


class Description(NamedTuple):
    """What a phrase says of a thing: ("large", None, "cross") is "large cross", and one without
    a shape a "thing".
    """

    size: str | None = None
    colour: str | None = None
    shape: str | None = None

    def fits(self, thing) -> bool:
        """Whether it is true of a thing: what it does not name may be anything."""
        return (
            self.colour in (None, thing.colour)
            and self.shape in (None, thing.shape)
            and self.size in (None, thing.size)
        )

    def phrase(self, number: int = 1) -> str:
        """In words, size and colour before the shape; plural unless `number` is 1."""
        noun = self.shape or "thing"
        if number != 1:
            noun += "es" if noun == "cross" else "s"
        return " ".join([word for word in (self.size, self.colour) if word] + [noun])


class Question(NamedTuple):
    """A question before it is put into words; `word` is "more" or "as many", or the relation."""

    kind: str
    first: Description
    second: Description = Description()
    word: str = ""

    def text(self) -> str:
        """In words, as `Scenes.questions` asks it."""
        one, many = self.first.phrase(), self.first.phrase(2)
        if self.kind == "exists":
            return f"is there a {one}?"
        if self.kind == "count":
            return f"how many {many} are there?"
        if self.kind == "compare":
            return f"are there {self.word} {many} {COMPARISONS[self.word]} {self.second.phrase(2)}?"
        if self.kind == "relation":
            return f"is the {one} {self.word} the {self.second.phrase()}?"
        return f"what {self.kind} is the {one}?"

    def answer(self, things: list) -> str | None:
        """One word; None where the question makes no sense: it asks about "the" circle, and
        there are two.

        `things` are of class `Thing`; all but a relation can also be told from `Description`s
        that leave nothing open.
        """
        firsts = [thing for thing in things if self.first.fits(thing)]
        if self.kind == "exists":
            return yes_or_no(firsts)
        if self.kind == "count":
            return NUMBERS[len(firsts)]
        if self.kind in ATTRIBUTES:
            return getattr(firsts[0], self.kind) if len(firsts) == 1 else None
        seconds = [thing for thing in things if self.second.fits(thing)]
        if self.kind == "relation":
            return (
                related(firsts[0], self.word, seconds[0])
                if len(firsts) == len(seconds) == 1
                else None
            )
        if not firsts and not seconds:
            return None
        return yes_or_no(
            len(firsts) > len(seconds) if self.word == "more" else len(firsts) == len(seconds)
        )


def caption(things: list, rng) -> str:
    """One of many true captions. Numbers are exact: "a red circle" says that there is exactly
    one.
    """
    groups = _grouped(things, pick(CAPTION_NAMINGS, rng), rng)
    listed = _listed(groups)
    single = [(named, group[0]) for named, group in groups.items() if len(group) == 1]
    true = [
        (a.phrase(), word, b.phrase())
        for (a, one), (b, other) in permutations(single, 2)
        for word in RELATIONS
        if related(one, word, other) == "yes"
    ]
    form = int(rng() * 4)
    if true and form:
        a, word, b = pick(true, rng)
        forms = (
            f"{listed}; the {a} is {word} the {b}",
            f"a {a} is {word} a {b}",
            f"{word} a {b} there is a {a}",
        )
        return forms[form - 1]
    verb = "is" if listed.startswith("a ") else "are"
    return pick((listed, f"a picture of {listed}", f"there {verb} {listed}"), rng)


def description(things: list, rng) -> str:
    """All things by all their words, in a random order: "two small red circles and a large blue
    cross". Numbers are exact, as in captions.
    """
    return _listed(_grouped(things, ATTRIBUTES, rng))


def _grouped(things: list, naming, rng) -> dict[Description, list]:
    """The things that are named alike, in a random order: {what they are called: these things}."""
    groups: dict[Description, list] = {}
    for thing in shuffle(things, rng):
        named = Description(**{name: getattr(thing, name) for name in naming})
        groups.setdefault(named, []).append(thing)
    return groups


def _listed(groups: dict[Description, list]) -> str:
    """The groups as a list: "two red circles, a cross and a square"."""
    phrases = [
        f"{'a' if len(group) == 1 else NUMBERS[len(group)]} {named.phrase(len(group))}"
        for named, group in groups.items()
    ]
    return " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def related(one, word: str, other) -> str | None:
    """Whether `one` is left of `other` (or right of, above, below): yes, no, or None if it is
    not clear.
    """
    axis, sign = RELATIONS[word]
    start, end = (0, 2) if axis == "x" else (1, 3)
    # twice the pixels
    ahead = sign * (one.box[start] + one.box[end] - other.box[start] - other.box[end])
    return None if abs(ahead) < 2 * APART else yes_or_no(ahead > 0)


def yes_or_no(true) -> str:
    return "yes" if true else "no"


def pick(items, rng):
    """One of the items; `rng()` draws a float from 0 to below 1."""
    return items[int(rng() * len(items))]


def shuffle(items, rng) -> list:
    """The items in an order that is drawn, a float for each, so that any machine draws the same."""
    return [items[k] for _, k in sorted((rng(), k) for k in range(len(items)))]
