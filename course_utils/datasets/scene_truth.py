"""Whether a caption or an answer is true of a scene, told from the things that are in it.

    truth = caption_truth("a red circle and a blue cross", scene["objects"])
    truth.strict, truth.hallucinated, truth.missed
    answer_is_true("how many circles are there?", "two", scene["objects"])

What can be said, and what it means, stands in data/scenes/README.md. Any string is read: of one
that is no caption, whatever phrases it has. Things are those of `scenes`, of class `Thing`.
"""

import re
from typing import NamedTuple

from course_utils.datasets.scene_words import (
    ATTRIBUTES,
    COLOURS,
    COMPARISONS,
    RELATIONS,
    SHAPES,
    SIZES,
    Description,
    Question,
    related,
)

FORMS = ("list", "list and relation", "relation", "relation first", "broken")
COUNTS = {"a": 1, "two": 2, "three": 3, "four": 4}


def _one_of(words) -> str:
    return f"(?:{'|'.join(words)})"


# one noun and what is said of it, "small red circle", and several, "red crosses"
_SAID = f"(?:{_one_of(SIZES)} )?(?:{_one_of(COLOURS)} )?"
_ONE = f"{_SAID}{_one_of((*SHAPES, 'thing'))}"
_MANY = f"{_SAID}(?:{_one_of(shape for shape in (*SHAPES, 'thing') if shape != 'cross')}s|crosses)"
_COUNTED = f"(?:a {_ONE}|(?:two|three|four) {_MANY})"
_LIST = f"(?P<list>{_COUNTED}(?:(?:, {_COUNTED})* and {_COUNTED})?)"
_OPENER = "(?:a picture of |there is (?=a )|there are (?!a ))?"
_PLACE = f"(?P<place>{_one_of(RELATIONS)})"
_CAPTIONS = {
    "list": f"{_OPENER}{_LIST}",
    "list and relation": f"{_OPENER}{_LIST}; the (?P<a>{_ONE}) is {_PLACE} the (?P<b>{_ONE})",
    "relation": f"a (?P<a>{_ONE}) is {_PLACE} a (?P<b>{_ONE})",
    "relation first": f"{_PLACE} a (?P<b>{_ONE}) there is a (?P<a>{_ONE})",
}
# what is still read in a caption of no form: the number may disagree with its noun
_PHRASE = rf"\b({_one_of(COUNTS)}) ({_one_of((_MANY, _ONE))})\b"
_RELATION = rf"\b(?:a|the) ({_ONE}) is ({_one_of(RELATIONS)}) (?:a|the) ({_ONE})\b"
_GLUE = "picture of there is are and the left right above below thing things crosses".split()
_WORDS = {*COUNTS, *SIZES, *COLOURS, *SHAPES, *(f"{shape}s" for shape in SHAPES), *_GLUE}
_QUESTIONS = {
    "exists": f"is there a (?P<a>{_ONE})\\?",
    "count": f"how many (?P<a>{_MANY}) are there\\?",
    "attribute": f"what (?P<place>{_one_of(ATTRIBUTES)}) is the (?P<a>{_ONE})\\?",
    "more": f"are there (?P<place>more) (?P<a>{_MANY}) {COMPARISONS['more']} (?P<b>{_MANY})\\?",
    "as many": f"are there (?P<place>as many) (?P<a>{_MANY}) as (?P<b>{_MANY})\\?",
    "relation": f"is the (?P<a>{_ONE}) {_PLACE} the (?P<b>{_ONE})\\?",
}


class Said(NamedTuple):
    """What a caption says.

    form       one of FORMS
    phrases    (number, Description) of each phrase: (2, "red circles"); what "the" points back to
               is none
    relations  (Description, word of RELATIONS, Description)
    unknown    the words that no caption has
    """

    form: str
    phrases: list[tuple[int, Description]]
    relations: list[tuple[Description, str, Description]]
    unknown: list[str]


class Truth(NamedTuple):
    """What of a caption is so.

    form          one of FORMS
    phrases       how many there are; "two red circles" is one
    right         phrases of which the picture has exactly that number
    hallucinated  phrases of which the picture has nothing
    repeated      phrases for something that a phrase before has named, if by other words
    missed        things of the picture that no phrase names; only a list promises to leave none out
    relations     how many there are
    holding       relations between two things of which there is one each, that stand so, 6 pixels
                  apart or more
    strict        whether all of it is so: a form that is not broken, each phrase right, nothing
                  twice, each relation holding, in a list nothing missed
    """

    form: str
    phrases: int
    right: int
    hallucinated: int
    repeated: int
    missed: int
    relations: int
    holding: int
    strict: bool


def read_caption(caption: str) -> Said:
    """What a caption says, whatever string it is; of one that is broken, what can still be read.

    Capitals, blanks before commas and a full stop do not matter. Raises TypeError for no string.
    """
    text = _plain("caption", caption).removesuffix(".")
    unknown = [word for word in re.findall(r"[^\s,;]+", text) if word not in _WORDS]
    tried = ((form, re.fullmatch(pattern, text)) for form, pattern in _CAPTIONS.items())
    form, found = next((each for each in tried if each[1]), ("broken", None))
    if found is None:
        phrases = [(COUNTS[a], _described(noun)) for a, noun in re.findall(_PHRASE, text)]
        relations = [
            (_described(a), word, _described(b)) for a, word, b in re.findall(_RELATION, text)
        ]
        return Said(form, phrases, relations, unknown)
    parts = found.groupdict()
    relations = []
    if "place" in parts:
        relations = [(_described(parts["a"]), parts["place"], _described(parts["b"]))]
    if "list" not in parts:
        return Said(form, [(1, relations[0][0]), (1, relations[0][2])], relations, unknown)
    counted = [phrase.split(" ", 1) for phrase in re.split(", | and ", parts["list"])]
    return Said(form, [(COUNTS[a], _described(noun)) for a, noun in counted], relations, unknown)


def caption_truth(caption: str, things: list) -> Truth:
    """What of a caption is true of a picture with these things (a list of `Thing`).

    Numbers are exact, "a red circle" says that there is one. So a checker that tests each phrase
    alone is not enough: "a red circle and a red circle" would pass. Raises TypeError for a caption
    that is no string.
    """
    said = read_caption(caption)
    named: set[int] = set()
    right = hallucinated = repeated = 0
    for number, description in said.phrases:
        fitting = {k for k, thing in enumerate(things) if description.fits(thing)}
        right += len(fitting) == number
        hallucinated += not fitting
        repeated += bool(fitting & named)
        named |= fitting
    holding = sum(_holds(relation, things) for relation in said.relations)
    missed = len(things) - len(named)
    strict = (
        said.form != "broken"
        and right == len(said.phrases)
        and not repeated
        and holding == len(said.relations)
        and not (missed and said.form.startswith("list"))
    )
    return Truth(
        said.form,
        len(said.phrases),
        right,
        hallucinated,
        repeated,
        missed,
        len(said.relations),
        holding,
        strict,
    )


def read_question(question: str) -> Question | None:
    """The question behind its words; None for a string that is no question of `scenes`."""
    text = _plain("question", question)
    for kind, pattern in _QUESTIONS.items():
        if found := re.fullmatch(pattern, text):
            parts = {"place": "", "b": None, **found.groupdict()}
            kind = "compare" if kind in COMPARISONS else kind
            kind = parts["place"] if kind == "attribute" else kind
            word = parts["place"] if kind in ("compare", "relation") else ""
            return Question(kind, _described(parts["a"]), _described(parts["b"] or "thing"), word)
    return None


def answer_is_true(question: str, answer: str, things: list) -> bool:
    """Whether an answer of one word is the true one of a picture with these things.

    No answer is true where the question makes no sense: "the circle" of two. Raises ValueError for
    a string that is no question of `scenes`, TypeError for what is no string.
    """
    asked = read_question(question)
    if asked is None:
        raise ValueError(f"question: expected one of data/scenes/README.md, got {question!r}")
    return _plain("answer", answer) == asked.answer(things)


def _plain(name: str, text: str) -> str:
    """In small letters, one blank between words and none before a comma or the like."""
    if not isinstance(text, str):
        raise TypeError(f"{name}: expected a string, got {type(text).__name__}")
    return re.sub(r" ([,;.?])", r"\1", " ".join(text.lower().split()))


def _described(noun: str) -> Description:
    """ "small red circles" as a Description."""
    words = [re.sub("(?<=cross)es$|(?<!s)s$", "", word) for word in noun.split()]
    return Description(
        *(next((word for word in words if word in values), None) for values in ATTRIBUTES.values())
    )


def _holds(relation: tuple[Description, str, Description], things: list) -> bool:
    first, word, second = relation
    ones = [thing for thing in things if first.fits(thing)]
    others = [thing for thing in things if second.fits(thing)]
    return len(ones) == len(others) == 1 and related(ones[0], word, others[0]) == "yes"
