"""Notebook 02: a word in pieces, the most similar row of a gallery, sorting by length and the
way back.
"""

import functools

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.compare import freeze, same_kind

# 02.1 -----------------------------------------------------------------------------------------


def word_pieces(word, vocabulary):
    """Collects everything that the rest may begin with, and takes the longest."""
    found, rest, mark = [], word, ""
    while rest:
        fitting = {rest[:n] for n in range(1, len(rest) + 1) if mark + rest[:n] in vocabulary}
        if not fitting:
            return ["[UNK]"]
        longest = max(fitting, key=len)
        found.append(mark + longest)
        rest, mark = rest.removeprefix(longest), "##"
    return found


def _word_cases(seed=2):
    for word, entries in (
        ("cat", "cat"),
        ("cats", "cat ##s"),
        ("cats", "cat cats ##s"),
        ("cat", "dog ##t"),
        ("ing", "##ing"),
        ("pancake", "pan cake"),
        ("playing", "play pl ##ing ##i"),
        ("playing", "play ##g ing"),
        ("unfairly", "un fair ly ##fair ##ly ##f"),
        ("cat3s", "cat ##s"),
        ("cocoa", "co ##co ##a"),
        ("seating", "sea seat ##ing ##ting"),
        # a dead end: "there" fits, and nothing after it
        ("therein", "the there ##rein"),
        # no dead end: longest first, though two pieces would do
        ("therein", "the there ##i ##n ##rein"),
        ("multimodality", "multi mu ##m ##mo ##modal ##dal ##it ##ity ##y"),
        ("aaaaa", "a aa ##a ##aa"),
    ):
        yield word, set(entries.split())
    draw = torch.Generator().manual_seed(seed)
    for length in (4, 5, 6, 7, 8, 9):
        word = "".join("ab"[i] for i in torch.randint(2, (length,), generator=draw))
        sizes = torch.randint(1, 4, (12,), generator=draw).tolist()
        parts = [
            "".join("ab"[i] for i in torch.randint(2, (size,), generator=draw)) for size in sizes
        ]
        yield (
            word,
            {
                "a",
                "b",
                *parts[:5],
                "##a",
                *["##b"] * (length % 2),
                *("##" + part for part in parts[5:]),
            },
        )


def _marked(piece, start):
    return "##" * (start > 0) + piece


def _plain(piece, start):
    return piece


def _always(piece, start):
    return "##" + piece


def _greedy(
    word,
    vocabulary,
    pick=max,
    looks=(_marked,),
    write=_marked,
    ends=lambda start, size: range(start + 1, size + 1),
    step=lambda end: end,
    fail=lambda found: ["[UNK]"],
    go_on=None,
    finish=lambda found: found,
):
    """The page's rule; `looks` is what is looked up, `go_on` what stands for a letter where
    nothing fits.
    """
    found, start = [], 0
    while start < len(word):
        fits = [
            end
            for end in ends(start, len(word))
            if any(look(word[start:end], start) in vocabulary for look in looks)
        ]
        if fits:
            found.append(write(word[start : pick(fits)], start))
            start = step(pick(fits))
        elif go_on is None:
            return fail(found)
        else:
            found, start = found + go_on, start + 1
    return finish(found)


def _cut(message, *options):
    return ideas(message, *(functools.partial(_greedy, **some) for some in options))


def _cuts(word, vocabulary, mark=""):
    """All ways to cut a word, those with a long first piece first."""
    if not word:
        yield []
    for end in range(len(word), 0, -1):
        if mark + word[:end] in vocabulary:
            yield from ([mark + word[:end], *rest] for rest in _cuts(word[end:], vocabulary, "##"))


def _from_right(word, vocabulary):
    found, end = [], len(word)
    while end:
        start = min(
            (start for start in range(end) if _marked(word[start:end], start) in vocabulary),
            default=None,
        )
        if start is None:
            return ["[UNK]"]
        found, end = [_marked(word[start:end], start), *found], start
    return found


def _two(word, vocabulary, whole):
    """The longest first piece and one more: the whole rest, or as much of it as fits."""
    first = max((n for n in range(1, len(word) + 1) if word[:n] in vocabulary), default=0)
    rest = word[first:]
    fits = [
        "##" + rest[:n]
        for n in range(len(rest) if whole else 1, len(rest) + 1)
        if "##" + rest[:n] in vocabulary
    ]
    if first == len(word):
        return [word]
    return [word[:first], max(fits, key=len)] if first and fits else ["[UNK]"]


_ONE_GAP = 'One gap spoils the whole word: return ["[UNK]"] alone.'

WORD_PIECES = Exercise(
    key="02.1",
    reference=word_pieces,
    cases=_word_cases,
    returns="the pieces from the left, each a string",
    misconceptions=(
        *_cut(
            "the shortest piece that fits is taken. Try the rest of the word as a whole first, then"
            " without its last letter, and so on.",
            {"pick": min},
        ),
        *_cut(
            "the pieces after the first are looked up without ##. 'ing' begins a word, 'ing' inside"
            " one is the entry '##ing'.",
            {"looks": [_plain], "write": _plain},
            {"looks": [_plain]},
            {"looks": [_plain], "write": _plain, "fail": lambda found: found + ["[UNK]"]},
        ),
        *_cut(
            "the pieces are the right ones, but those after the first have lost their ##. Return"
            " them as they stand in the vocabulary.",
            {"write": _plain},
        ),
        *_cut(
            "a piece that continues the word is also taken from the entries without ##. These begin"
            " words: with 'pan' and 'cake' alone, 'pancake' cannot be cut.",
            {"looks": [_marked, _plain]},
            {"looks": [_marked, _plain], "write": _plain},
        ),
        *_cut(
            "the first piece is looked up with ## in front. It begins the word, so it stands in the"
            " vocabulary as it is.",
            {"looks": [_always], "write": _always},
            {"looks": [_always]},
        ),
        *_cut(
            "the first piece comes back with ## in front. Only the pieces that continue the word"
            " have it.",
            {"write": _always},
        ),
        *_cut(
            "where nothing fits, the pieces found so far are kept and [UNK] stands for the rest. "
            + _ONE_GAP,
            {"fail": lambda found: found + ["[UNK]"]},
            {"fail": lambda found: found + [_marked("[UNK]", len(found))]},
        ),
        *_cut(
            "where nothing fits, the pieces found so far come back, as if the word ended there. "
            + _ONE_GAP,
            {"fail": lambda found: found},
        ),
        *_cut(
            "[UNK] stands for the one letter where nothing fits, and the cutting goes on behind"
            " it. " + _ONE_GAP,
            {"go_on": ["[UNK]"]},
        ),
        *_cut(
            "a letter where nothing fits is left out, and the cutting goes on behind it. "
            + _ONE_GAP,
            {"go_on": []},
        ),
        *_cut(
            'where nothing fits, the list is empty. Say that the word is unknown: ["[UNK]"].',
            {"fail": lambda found: []},
        ),
        *_cut(
            "where nothing fits, a bare string comes back. It has to be a list as for every other"
            ' word: ["[UNK]"].',
            {"fail": lambda found: "[UNK]"},
        ),
        *_cut(
            "the pieces are joined into one string. Return them as a list.",
            *(
                {"finish": joint.join, "fail": lambda found, fail=fail: fail}
                for joint in (" ", "", ", ")
                for fail in ("[UNK]", ["[UNK]"])
            ),
        ),
        *ideas(
            "the word is cut from its right end. Begin at the left: the longest piece with which"
            " the word begins.",
            _from_right,
        ),
        *_cut(
            "the pieces come in the order from right to left. The word's first piece stands first.",
            {"finish": lambda found: found[::-1]},
        ),
        *_cut(
            "a letter is lost after each piece. word[start:end] stops before end, so the next piece"
            " starts at end itself.",
            {"step": lambda end: end + 1},
        ),
        *ideas(
            'a word that is not in the vocabulary as a whole is ["[UNK]"] at once. It is for such'
            " words that there are pieces.",
            lambda word, vocabulary: [word if word in vocabulary else "[UNK]"],
        ),
        *_cut(
            'every word is ["[UNK]"]. Is the rest tried as a whole, too? word[start:end] stops'
            " before end, so end has to reach len(word).",
            {"ends": lambda start, size: range(start + 1, size)},
        ),
        *_cut(
            "a piece of a single letter is never tried. The last end to try is start + 1, and"
            " range() stops before its second number.",
            {"ends": lambda start, size: range(start + 2, size + 1)},
        ),
        *ideas(
            "after the first piece the rest is only tried as a whole. It may need several pieces:"
            " cut it by the same rule.",
            functools.partial(_two, whole=True),
        ),
        *ideas(
            "it ends after two pieces, though something of the word is left. Go on until the word"
            " is used up.",
            functools.partial(_two, whole=False),
        ),
        *_cut(
            "only the first piece comes back. Is there a `return` inside the outer loop?",
            {"step": lambda end: 10**6},
        ),
        *ideas(
            "another cut is tried where the longest piece leads nowhere. The rule takes nothing"
            " back: 'therein' begins with 'there', and if nothing fits then, the word is"
            " [\"[UNK]\"], though 'the' and '##rein' would do.",
            lambda word, vocabulary: next(_cuts(word, vocabulary), ["[UNK]"]),
        ),
    ),
)


# 02.2 -----------------------------------------------------------------------------------------


def search(queries, gallery):
    """Query by query, with PyTorch's own cosine."""
    return torch.stack(
        [F.cosine_similarity(query[None], gallery, dim=1).argmax() for query in queries]
    )


def _search_cases(seed=7):
    yield torch.tensor([[1.0, 1.0]]), torch.tensor([[9.0, 0.0], [2.0, 2.0]])
    # one points the other way
    yield torch.tensor([[1.0, 2.0]]), torch.tensor([[-3.0, -6.0], [1.0, 1.0], [0.0, 1.0]])
    yield torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([[0.5, 4.0], [1.0, 0.0]])
    draw = torch.Generator().manual_seed(seed)
    # Square ones, too: what raises elsewhere, or has another shape, runs here.
    for N, M, D in (
        (2, 3, 2),
        (3, 2, 4),
        (3, 3, 3),
        (4, 4, 3),
        (2, 5, 4),
        (5, 3, 3),
        (4, 6, 6),
        (6, 6, 5),
        (8, 7, 4),
    ):
        queries, gallery = (torch.randn(size, D, generator=draw) for size in (N, M))
        lengths = torch.randint(1, 9, (M, 1), generator=draw)
        yield (
            (2 * queries + 0.7).mul(10).round() / 10,
            ((gallery + 0.4) * lengths).mul(10).round() / 10,
        )


def _unit(x):
    return F.normalize(x, dim=1)


def _found(message, *wrongs):
    """Misconceptions; `wrongs` take the cosines, (N, M), the queries and the gallery."""
    return ideas(
        message,
        *(
            lambda queries, gallery, of=of: of(_unit(queries) @ _unit(gallery).T, queries, gallery)
            for of in wrongs
        ),
    )


def _centred(x, axis):
    return _unit(x - x.mean(axis, keepdim=True))


SEARCH = Exercise(
    key="02.2",
    reference=search,
    cases=_search_cases,
    compare=same_kind,
    returns="one place in the gallery for each query, as a whole number",
    misconceptions=(
        *_found(
            "long rows of the gallery win, because their products are large. Divide each row of the"
            " gallery by its own length; scaling the queries alone does not change which product is"
            " the largest.",
            lambda c, q, g: (q @ g.T).argmax(1),
        ),
        *_found(
            "scaled along the wrong axis. A vector is a row, and dim=0 runs down a column: each row"
            " should get length 1.",
            lambda c, q, g: (F.normalize(q, dim=0) @ F.normalize(g, dim=0).T).argmax(1),
            lambda c, q, g: (_unit(q) @ F.normalize(g, dim=0).T).argmax(1),
        ),
        *_found(
            "the lengths are lined up with the columns, not with the rows. Keep their axis:"
            " norm(dim=1, keepdim=True) has the shape (M, 1).",
            lambda c, q, g: (q / q.norm(dim=1) @ (g / g.norm(dim=1)).T).argmax(1),
            lambda c, q, g: (q @ (g / g.norm(dim=1)).T).argmax(1),
        ),
        *_found(
            "this is the least similar row. Similar rows have the largest cosine (and the smallest"
            " distance).",
            lambda c, q, g: c.argmin(1),
        ),
        *_found(
            "the maximum runs over the queries, so each row of the gallery gets an answer. Each"
            " query wants one: look along the gallery.",
            lambda c, q, g: c.argmax(0),
            lambda c, q, g: (q @ g.T).argmax(0),
        ),
        *_found(
            "without dim, argmax looks through all products as one long row. Each query wants an"
            " answer of its own.",
            lambda c, q, g: c.argmax(),
            lambda c, q, g: (q @ g.T).argmax(),
        ),
        *_found(
            "this is the row at the smallest distance. A row of the same direction may be far away"
            " because it is long: scale the rows to length 1 first.",
            lambda c, q, g: torch.cdist(q, g).argmin(1),
        ),
        *_found(
            "these are the cosines themselves. The places at which they stand are asked for: argmax"
            " in the place of max.",
            lambda c, q, g: c.amax(1),
        ),
        *_found(
            "max gives the values and the places together. Only the places are asked for, as argmax"
            " gives them.",
            lambda c, q, g: tuple(c.max(1)),
        ),
        *_found(
            "a row that points the other way counts as similar: the sign of the cosine is lost, by"
            " abs() or a square. A cosine of -1 is as unlike as can be.",
            lambda c, q, g: c.abs().argmax(1),
        ),
        *_found(
            "a mean is taken off before the products: that is a correlation. The cosine takes the"
            " rows as they are.",
            *(
                lambda c, q, g, axis=axis: (_centred(q, axis) @ _centred(g, axis).T).argmax(1)
                for axis in (0, 1)
            ),
            lambda c, q, g: (q @ _centred(g, 0).T).argmax(1),
        ),
        *_found(
            "divided by the square of the length, so that short rows win now. The length is the"
            " root of the sum of squares.",
            lambda c, q, g: (q @ (g / (g * g).sum(1, keepdim=True)).T).argmax(1),
        ),
        *_found(
            "the rows are scaled, but not to length 1: (02.1) divides by the root of the sum of"
            " squares, not by a sum or by the largest entry.",
            lambda c, q, g: (q @ F.normalize(g, p=1, dim=1).T).argmax(1),
            lambda c, q, g: (q @ (g / g.sum(1, keepdim=True)).T).argmax(1),
            lambda c, q, g: (q @ (g / g.amax(1, keepdim=True)).T).argmax(1),
        ),
        *_found(
            "query i is compared with row i of the gallery alone. Each query has to meet all rows:"
            " a matrix product does that.",
            lambda c, q, g: F.cosine_similarity(q, g, dim=1),
        ),
        *_found(
            "the places are right, but floats. They are to pick rows of the gallery, so they have"
            " to be whole numbers.",
            lambda c, q, g: c.argmax(1).float(),
        ),
        *_found(
            "the places are counted from 1. The first row of the gallery stands at place 0.",
            lambda c, q, g: c.argmax(1) + 1,
        ),
    ),
)


# 02.3 -----------------------------------------------------------------------------------------


def sort_and_back(lengths):
    """Python's own sort, which keeps the order of equals; then each place is told where its text
    went.
    """
    order = torch.tensor(sorted(range(len(lengths)), key=lengths.tolist().__getitem__))
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    return order, back


def _length_cases(seed=5):
    draw = torch.Generator().manual_seed(seed)
    for lengths in (
        [6],
        [5, 3],
        [4, 4],
        [2, 8, 1],
        [7, 2, 9, 4],
        [3, 1, 3, 2],
        [5, 9, 5, 1, 9],
        [1, 2, 3, 4],
        [8, 3, 6, 1, 7, 2],
    ):
        yield (torch.tensor(lengths),)
    for size, longest in ((7, 4), (9, 30), (12, 5), (40, 6), (200, 9)):
        yield (torch.randint(1, longest, (size,), generator=draw),)


def _sorted(message, *wrongs):
    """Misconceptions; `wrongs` take the lengths, the right order and way back, and the order
    with the longest first.

    Twice, where argsort mixes equal lengths up unless it is told not to: that depends on the
    processor and on how many.
    """

    def wrong(lengths, of, stable):
        order, down = (
            lengths.argsort(descending=turned, stable=stable) for turned in (False, True)
        )
        return of(lengths, order, order.argsort(), down)

    made = {}
    for one in [
        functools.partial(wrong, of=of, stable=stable) for of in wrongs for stable in (True, False)
    ]:
        made.setdefault(repr([freeze(one(*case)) for case in _length_cases()]), one)
    return ideas(message, *made.values())


def _mixed(lengths):
    return _with_way_back(lengths.argsort())


def _with_way_back(order):
    return order, order.argsort()


def _equals_reversed(lengths):
    return len(lengths) - 1 - lengths.flip(0).argsort(stable=True)


def _ranks(lengths):
    return lengths.unique(return_inverse=True)[1]


_MIXES = any(
    not torch.equal(_mixed(lengths)[0], sort_and_back(lengths)[0]) for (lengths,) in _length_cases()
)
_WHERE = "At which place of `order` does text i stand?"

SORT_AND_BACK = Exercise(
    key="02.3",
    reference=sort_and_back,
    cases=_length_cases,
    compare=same_kind,
    returns="order, then back, each with one whole number per text",
    misconceptions=(
        *_sorted(
            "back is the order once more. Doing the same twice undoes only what exchanges texts in"
            " pairs: follow three texts of lengths 2, 8, 1 through it.",
            lambda n, o, b, down: (o, o),
        ),
        *_sorted(
            "the order is applied twice to get back: order[order]. The way back has to undo it. "
            + _WHERE,
            lambda n, o, b, down: (o, o[o]),
        ),
        *_sorted(
            "back is 0, 1, 2, ...: it leaves the rows sorted. " + _WHERE,
            lambda n, o, b, down: (o, torch.arange(len(n))),
        ),
        *_sorted(
            "back is the order with the longest first, or read from behind. That is another"
            " sorting. " + _WHERE,
            lambda n, o, b, down: (o, o.flip(0)),
            lambda n, o, b, down: (o, down),
        ),
        *_sorted(
            "back is turned round: it counts as if the longest text stood first in `order`. "
            + _WHERE,
            lambda n, o, b, down: (o, len(n) - 1 - b),
            lambda n, o, b, down: (o, b.flip(0)),
        ),
        *_sorted(
            "the longest text stands first. `order` begins with the shortest.",
            lambda n, o, b, down: _with_way_back(down),
            lambda n, o, b, down: _with_way_back(o.flip(0)),
        ),
        *_sorted(
            "order and back are swapped. order[0] is the place of the shortest text.",
            lambda n, o, b, down: (b, o),
        ),
        *_sorted(
            "the first of the two holds the sorted lengths. The places at which they stood are"
            " asked for.",
            lambda n, o, b, down: (n[o], b),
            lambda n, o, b, down: (n[o], o),
            lambda n, o, b, down: (n[o], torch.arange(len(n))),
        ),
        *_sorted(
            "the second of the two holds lengths. It has to hold places. " + _WHERE,
            lambda n, o, b, down: (o, n),
            lambda n, o, b, down: (o, n[o]),
        ),
        *ideas(
            "texts of equal length do not keep the order in which they came. argsort promises that"
            " with stable=True only; with few texts one may not see the difference.",
            lambda lengths: _with_way_back(_equals_reversed(lengths)),
            *[_mixed] * _MIXES,
        ),
        *_sorted(
            "order and back treat equal lengths differently, so texts of equal length come back"
            " exchanged. Get back from `order` itself, not from the lengths.",
            lambda n, o, b, down: (o, _equals_reversed(n).argsort()),
            lambda n, o, b, down: (_equals_reversed(n), b),
        ),
        *_sorted(
            "texts of equal length share a place in back, so one of them comes twice and another is"
            " lost. Every text needs a place of its own.",
            lambda n, o, b, down: (o, _ranks(n)),
            lambda n, o, b, down: (o, (n[:, None] > n).sum(1)),
        ),
        *_sorted(
            "these are ranks: how long each text is among the others. `order` lists places, the"
            " shortest text's first.",
            lambda n, o, b, down: _with_way_back(_ranks(n)),
            lambda n, o, b, down: (_ranks(n), o),
        ),
        *_sorted(
            "the places are counted from 1. The first text stands at place 0.",
            lambda n, o, b, down: (o + 1, b + 1),
            lambda n, o, b, down: (o + 1, b),
        ),
        *_sorted(
            "only the order is returned. The way back belongs to it.", lambda n, o, b, down: o
        ),
        *_sorted(
            "the numbers are right, but floats. Places pick rows, so they have to be whole"
            " numbers.",
            lambda n, o, b, down: (o.float(), b.float()),
            lambda n, o, b, down: (o, b.float()),
        ),
    ),
)

EXERCISES = [WORD_PIECES, SEARCH, SORT_AND_BACK]
