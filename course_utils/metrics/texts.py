"""How near a sentence or a name is to another."""

import math
from collections import Counter

import torch
from torch import Tensor

from course_utils.checks import check_floats, check_whole, strings
from course_utils.metrics.retrieval import cosines


def equal_names(
    names: list[str],
    others: list[str] | None = None,
    *,
    vectors: Tensor | None = None,
    other_vectors: Tensor | None = None,
    at_least: float = 0.9,
) -> Tensor:
    """Which items a search by name must count as right, `relevant` of `retrieval_ranks`: (N, M)
    bool, True where `names[i]` and `others[j]` say the same; without `others`, the names among
    themselves.

    Equal are names that differ in capitals and spaces at most. With the `vectors` (N, D) of the
    names, and `other_vectors` (M, D) of the others, near-equals count, too: names whose cosine is
    at least `at_least`, a number above 0, at most 1.
    Raises TypeError for names that are no strings and vectors of no floats, ValueError for an empty
    list, vectors that do not go with the names, and a bound outside its range.
    """
    rows, columns = names, names if others is None else others
    for argument, value in {"names": rows, "others": columns}.items():
        if isinstance(value, str) or not all(isinstance(name, str) for name in value):
            raise TypeError(f"{argument}: expected a list of strings, got {value!r:.60}")
        if not len(value):
            raise ValueError(f"{argument} is empty: expected at least one name")
    numbers: dict[str, int] = {}
    plain = [
        [numbers.setdefault(_plain(name), len(numbers)) for name in value]
        for value in (rows, columns)
    ]
    one, other = (torch.tensor(each, device="cpu") for each in plain)
    equal = one[:, None] == other  # (N, M)
    if others is None and other_vectors is None:
        other_vectors = vectors
    if vectors is None and other_vectors is None:
        return equal
    for argument, value, of in (
        ("vectors", vectors, rows),
        ("other_vectors", other_vectors, columns),
    ):
        check_floats(value, argument)
        if value.shape[:1] != (len(of),):
            raise ValueError(
                f"{argument}: expected ({len(of)}, D), a row a name, got {tuple(value.shape)}"
            )
    if not 0 < at_least <= 1:
        raise ValueError(f"at_least: expected a cosine above 0, at most 1, got {at_least!r}")
    near = cosines(vectors, other_vectors) >= at_least  # (N, M)
    return equal.to(near.device) | near


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def bleu(candidates: list[str], references: list[list[str]], order: int = 4) -> float:
    """BLEU of B sentences together, from 0 to 100: the geometric mean of the shares of their words,
    pairs, ... up to runs of `order` words that the references have, times exp(1 - r / c) where the
    candidates, c words, are shorter than their references, r words.

    `references[i]` are the sentences that count as right for `candidates[i]`, one or more. A run
    counts as often as the reference that has it most often; r takes for each candidate the
    reference nearest in length, of two the shorter. Where no run of a length is right, a half
    counts as right, the next time a quarter, and so on; where no candidate has `order` words, BLEU
    is 0, even of sentences that are right. Words stand between blanks, and capitals matter; the
    value is that of sacrebleu's `corpus_bleu(candidates, turned, tokenize="none")`,
    whose `turned` is a list of B first references, then one of B second ones.

    Raises TypeError or ValueError for what are no strings, and lists of other lengths.
    Source: Papineni et al. 2002, BLEU; the halves: Chen and Cherry 2014, smoothing 3.
    """
    candidates = strings(candidates, "candidates")
    check_whole(1, order=order)
    if not hasattr(references, "__len__"):
        got = type(references).__name__
        raise TypeError(f"references: expected a list of lists of strings, got {got}")
    if len(references) != len(candidates):
        raise ValueError(
            f"references: expected a list for each of {len(candidates)} candidates, got"
            f" {len(references)}"
        )
    right, said = Counter(), Counter()  # by the length of a run
    length = wanted = 0
    for i, (candidate, known) in enumerate(zip(candidates, references)):
        known = [sentence.split() for sentence in strings(known, f"references[{i}]")]
        words = candidate.split()
        length += len(words)
        wanted += min(map(len, known), key=lambda n: (abs(n - len(words)), n))
        for n in range(1, order + 1):
            own, most = _runs(words, n), Counter()
            for sentence in known:
                most |= _runs(sentence, n)
            right[n] += (own & most).total()
            said[n] += own.total()
    if not right.total() or not said[order]:
        return 0.0
    total, halved = 0.0, 1
    for n in range(1, order + 1):
        halved *= 1 if right[n] else 2
        total += math.log((right[n] or 1 / halved) / said[n])
    return 100 * math.exp(min(0, 1 - wanted / length) + total / order)


def _runs(words: list[str], n: int) -> Counter:
    """How often each run of n words occurs."""
    return Counter(zip(*(words[k:] for k in range(n))))
