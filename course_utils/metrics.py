"""Scores, and how far to trust them."""

import math
import warnings
from collections import Counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.checks import check_floats, check_tensor, check_whole, strings

# How often the "95 %" interval of `cluster_bootstrap` covers the mean, by the number of groups
COVERAGE = {2: 0.50, 3: 0.74, 4: 0.80, 5: 0.83, 6: 0.86, 7: 0.87, 8: 0.88, 9: 0.89}
# below, the interval misses more than twice as often as it says
FEW_GROUPS = max(COVERAGE) + 1


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of rows of `logits` (N, C) whose largest entry stands at the label (N,).

    Raises TypeError for what is no tensor, logits that are no real numbers and labels that are no
    whole ones, ValueError for other shapes, labels outside 0 to C - 1, and NaN.
    """
    for argument, value in {"logits": logits, "labels": labels}.items():
        check_tensor(value, argument)
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits (N, C) and labels (N,), got {tuple(logits.shape)} and"
            f" {tuple(labels.shape)}"
        )
    if logits.dtype == torch.bool or logits.is_complex():
        raise TypeError(f"logits: expected real numbers, got {logits.dtype}")
    if labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"labels: expected whole numbers, got {labels.dtype}")
    if not len(labels):
        raise ValueError("labels is empty: the accuracy of no samples is not defined")
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f"labels: expected whole numbers from 0 to {logits.shape[1] - 1}, got {labels.dtype}"
            f" from {labels.min().item()} to {labels.max().item()}"
        )
    if logits.isnan().any():
        raise ValueError("logits: expected numbers, got NaN, which has no largest entry")
    return (logits.argmax(dim=1) == labels).double().mean().item()


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


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of each row of `a` (N, D) with each row of `b` (M, D), (N, M); half precision is
    computed in float32. A row of zeros has no direction: its cosines are 0.

    Raises ValueError or TypeError for other shapes and for what is no float.
    """
    for name, value in (("a", a), ("b", b)):
        check_floats(value, name)
        if value.dim() != 2 or not value.numel():
            raise ValueError(f"{name}: expected vectors (N, D), got shape {tuple(value.shape)}")
    if a.shape[1] != b.shape[1] or a.dtype != b.dtype:
        raise ValueError(
            f"b: expected {a.dtype} of width {a.shape[1]} as a, got {b.dtype} of width {b.shape[1]}"
        )
    if a.dtype in (torch.float16, torch.bfloat16):
        a, b = a.float(), b.float()
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T  # (N, D), (M, D) -> (N, M)


def retrieval_ranks(scores: Tensor, relevant: Tensor) -> Tensor:
    """At which place of each query's list its best relevant item stands, 1 for the first: (Q,)
    float64, from `scores` (Q, N), the higher the nearer, and `relevant` (Q, N) bool, which counts
    equals as right.

    An item that is not relevant and ties with it takes half a place, the middle of the best and the
    worst order: where all scores are alike, the rank is that of chance. The median rank is
    `ranks.quantile(0.5)`.

    Raises TypeError for what is no tensor, scores that are no floats and a `relevant` that is not
    bool, ValueError for other shapes, NaN, and a query without a relevant item.
    Source of the middle rank: Berrendorf et al. 2020, On the ambiguity of rank-based evaluation.
    """
    for argument, value in {"scores": scores, "relevant": relevant}.items():
        check_tensor(value, argument)
    if not scores.is_floating_point() or relevant.dtype != torch.bool:
        raise TypeError(
            f"expected scores of floats and relevant of bool, got {scores.dtype} and"
            f" {relevant.dtype}"
        )
    if scores.dim() != 2 or not scores.numel() or relevant.shape != scores.shape:
        hint = "" if scores.numel() else "; neither axis may be empty"
        raise ValueError(
            f"expected scores and relevant (Q, N), got {tuple(scores.shape)} and"
            f" {tuple(relevant.shape)}{hint}"
        )
    if scores.isnan().any():
        raise ValueError("scores: expected numbers, got NaN, which has no place in an order")
    if not relevant.any(1).all():
        row = int((~relevant.any(1)).int().argmax())
        raise ValueError(f"relevant: query {row} has no relevant item")
    best = scores.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)  # (Q, 1)
    before = (scores > best).sum(1)
    tied = ((scores == best) & ~relevant).sum(1)
    return 1 + before + tied.double() / 2


def recall_at(ranks: Tensor, k: int) -> float:
    """The share of queries whose best relevant item is among the first `k`: recall@k, from the
    `ranks` (Q,) of `retrieval_ranks`.

    Raises TypeError or ValueError for ranks that are no tensor (Q,) of numbers from 1, and for a
    `k` that is no whole number from 1.
    """
    check_tensor(ranks, "ranks")
    check_whole(1, k=k)
    if ranks.dim() != 1 or not len(ranks) or not (ranks >= 1).all():
        hint = ": counted from 0?" if ranks.dim() == 1 and len(ranks) else ""
        raise ValueError(
            f"ranks: expected numbers (Q,) from 1, got shape {tuple(ranks.shape)}{hint}"
        )
    return (ranks <= k).double().mean().item()


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


def mean_interval(values) -> tuple[float, float]:
    """The mean of n >= 2 values, one a seed, and the half-width of its 95 % interval, t * s /
    sqrt(n).

    Student's t stands in for the normal quantile, because s itself is estimated from so few
    values. The interval covers what the seeds vary (here: noise, pairing, initial weights), not
    new writers or voices.
    Raises TypeError for what are no numbers, ValueError for fewer than two and for NaN or infinity.
    """
    return _interval("values", _finite("values", values))


def _interval(argument: str, values: np.ndarray) -> tuple[float, float]:
    from scipy.special import fdtri

    n = len(values) if values.ndim == 1 else 0
    if n < 2:
        raise ValueError(
            f"{argument}: expected one number a seed, for at least 2 seeds, got shape"
            f" {values.shape}"
        )
    # the square of Student's t has the F distribution; scipy.stats.t itself is 2e-11 off before
    # SciPy 1.17
    t = np.sqrt(fdtri(1, n - 1, 0.95))
    half_width = t * values.std(ddof=1) / np.sqrt(n)
    return float(values.mean()), float(half_width)


def paired(shares, others) -> tuple[float, float]:
    """What one list of shares of 1 has more than another, in points: the mean of the differences
    seed by seed, and half the width of its 95 % interval.

    Both lists hold one number a seed, of the same seeds in the same order. Raises ValueError
    where their lengths differ, and what `mean_interval` raises.
    """
    return _paired("others", shares, others)


def _paired(argument: str, shares, others) -> tuple[float, float]:
    shares, others = _finite("shares", shares), _finite(argument, others)
    if shares.shape != others.shape:
        raise ValueError(
            f"{argument}: expected as many seeds as shares, {shares.shape}, got {others.shape}"
        )
    return _interval("shares", 100 * (shares - others))


def percent(shares, minus=None) -> str:
    """Shares of 1, one a seed, in per cent as a table has them: their mean, and half the width of
    its 95 % interval. With `minus`, other shares of the same seeds, how many points more, with its
    sign. Shares are from 0 to 1, which is not checked.

    >>> percent([0.84, 0.85, 0.86])
    '85.0 ± 2.5'
    >>> percent([0.84, 0.85, 0.86], minus=[0.80, 0.81, 0.83])
    '+3.7 ± 1.4'

    What rounds to zero is +0.0. Raises what `paired` raises.
    """
    if minus is not None:
        return "{:+z.1f} ± {:.1f}".format(*_paired("minus", shares, minus))
    return "{:.1f} ± {:.1f}".format(*_interval("shares", 100 * _finite("shares", shares)))


def _finite(argument: str, values) -> np.ndarray:
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError, RuntimeError):  # the last from a tensor that has a gradient
        raise TypeError(f"{argument}: expected numbers, got {values!r:.60}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{argument}: expected finite numbers, got NaN, None or infinity")
    return values


def cluster_bootstrap(values, groups, draws: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval (low, high) of the mean of `values` (N,) when whole groups are drawn
    again with replacement.

    `groups` (N,) says which samples belong together (one voice, one writer): such samples
    succeed and fail together, so drawing them one by one would make the interval too narrow.

    It trusts that the groups at hand show how groups differ, and a few do not: of 4,000 intervals
    for normal effects of equally large groups, so many covered the mean:

      groups    2    3    4    5    6    7    8    9    10   20   40   100
      covered  .50  .74  .80  .83  .86  .87  .88  .89  .90  .93  .94  .95

    Warns with fewer than 10 groups. Raises ValueError for shapes that differ, values that are not
    finite, fewer than two groups, and `draws` or a `seed` that are no whole numbers.
    """
    check_whole(1, draws=draws)
    check_whole(0, seed=seed)
    values, groups = _finite("values", values), np.asarray(groups)
    if values.shape != groups.shape or values.ndim != 1 or not len(values):
        raise ValueError(
            f"expected values (N,) and groups (N,), N at least 1, got {values.shape} and"
            f" {groups.shape}"
        )
    if any(group is None or group != group for group in groups.tolist()):  # NaN is not itself
        raise ValueError("groups: expected a name for each sample, got None or NaN")
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"groups: expected at least two different ones, got only {names.tolist()}")
    if len(names) < FEW_GROUPS:
        warnings.warn(
            f"groups: only {len(names)} different ones; with so few, about"
            f' {100 * COVERAGE[len(names)]:.0f} % of such "95 %" intervals cover the mean',
            stacklevel=2,
        )
    sums, sizes = np.bincount(member, values), np.bincount(member)
    drawn = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
