"""What a trained multimodal model uses: its score without modalities, their Shapley values and
interactions, and what is left of its answers when nothing may interact.

    scores = subset_scores(predict, {"text": text, "image": image}, score)    # 2^M scores
    shapley(scores)           # {"text": .21, "image": .19}, together full score - empty score
    interactions(scores)      # {("text", "image"): .4}, above 0 where each needs the other
    emap(predict, {"text": text, "image": image})    # (N, C), the additive part of the logits

`predict(inputs)` is any function from a batch of the modalities, by name, to a tensor with a row
for each sample, as a `Fusion` is. A modality is a tensor (N, ...) or a dict of tensors that belong
together, such as tokens and their mask. What "absent" means is a choice that changes the numbers.

A batch of `collate` has one mask for all its modalities, and the label. Hand each its own part, and
let `predict` put the batch together:

    inputs = {name: {"values": batch[name], "mask": batch["mask"][name]} for name in names}

    def predict(inputs):
        values = {name: part["values"] for name, part in inputs.items()}
        return model(values | {"mask": {name: part["mask"] for name, part in inputs.items()}})
"""

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from numbers import Real

import torch
from torch import Tensor, nn

from course_utils.checks import check_choice, check_tensor, check_whole

ABSENT = ("mean", "zero", "permutation", "mask")
# 2^M passes over the data
MOST_MODALITIES = 8


def subset_scores(
    predict: Callable,
    inputs: dict[str, Tensor | dict[str, Tensor]],
    score: Callable[[Tensor], float],
    absent: str | dict[str, Tensor] = "mean",
    *,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[frozenset, float]:
    """The score of a model for each of the 2^M subsets of modalities: {names present: score}, from
    none to all.

    `score(outputs)` gets the outputs of all N samples in their order, (N, ...), and gives a number:
    `lambda logits: accuracy(logits, labels)`. What stands for a modality that is `absent`:

      "mean"         its mean over the N samples
      "zero"         zeros
      "permutation"  the values of another sample, drawn with `seed`; absent modalities come from
                     the same sample, so that they still belong together
      "mask"         what is there, and `predict(inputs, mask=mask)` is told by `mask`, {name: (B,)
                     bool}, True = present
      {name: value}  a value of your own for each modality, such as the training set's mean, as a
                     tensor without the axis N, of the dtype of the modality

    `predict` sees at most `batch_size` rows at once, without gradients; put a model into eval mode
    first.

    Raises TypeError or ValueError for inputs that are no tensors, or differ in their number of
    rows, a "mask" among them, more than 8 modalities, whole numbers that shall have a mean, an
    unknown `absent`, a model in training mode, outputs that have not a row for each sample, and a
    score that is no number.
    """
    _check(predict, inputs, batch_size, seed)
    _check_score(score)
    names = list(inputs)
    if len(names) > MOST_MODALITIES:
        raise ValueError(
            f"inputs: expected at most {MOST_MODALITIES} modalities, got {len(names)}, which have"
            f" 2^{len(names)} subsets"
        )
    outputs = _Outputs(predict, inputs, absent, batch_size, seed)
    return {present: _number(score(outputs.of(present))) for present in _subsets(names)}


def ablation_scores(
    predict: Callable,
    inputs: dict[str, Tensor | dict[str, Tensor]],
    score: Callable[[Tensor], float],
    absent: str | dict[str, Tensor] = "mean",
    *,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[str, float]:
    """The score with one modality absent and all others there, {name of the absent one: score},
    in M passes.

    Two modalities that say the same look useless here, each of them: `subset_scores` sees it.
    Arguments and errors are those of `subset_scores`; "permutation" is permutation importance.
    """
    _check(predict, inputs, batch_size, seed)
    _check_score(score)
    names = list(inputs)
    outputs = _Outputs(predict, inputs, absent, batch_size, seed)
    return {name: _number(score(outputs.of(frozenset(names) - {name}))) for name in names}


def shapley(scores: dict[frozenset, float]) -> dict[str, float]:
    """The Shapley value of each modality, from the `scores` of all 2^M subsets: {name: value}, in
    units of the score.

    It is what the modality adds when it comes, v(S and it) - v(S), in the mean over all orders in
    which modalities can come. Together they are v(all) - v(none).

    >>> xor = {(): 0.5, ("text",): 0.5, ("image",): 0.5, ("text", "image"): 1.0}
    >>> shapley({frozenset(names): score for names, score in xor.items()})
    {'text': 0.25, 'image': 0.25}

    Raises ValueError for what are not all subsets, each with a finite number.
    Source: Shapley 1953, A value for n-person games.
    """
    names = _names(scores)
    values = {}
    for name in names:
        value = 0.0
        for before in _subsets(other for other in names if other != name):
            orders = len(names) * math.comb(len(names) - 1, len(before))
            value += (scores[before | {name}] - scores[before]) / orders
        values[name] = value
    return values


def interactions(scores: dict[frozenset, float]) -> dict[tuple[str, str], float]:
    """The Shapley interaction index of each pair of modalities, from the `scores` of all 2^M
    subsets: {(name, other): index}, in units of the score.

    It is v(S and both) - v(S and one) - v(S and other) + v(S), averaged over the sets S of others
    as the Shapley value is: above 0 where each needs the other (xor of two bits: .5), below where
    one will do (two copies of a bit: -.5), 0 in an additive game.

    Raises ValueError as `shapley` does.
    Source: Grabisch and Roubens 1999, An axiomatic approach to the concept of interaction among
    players in cooperative games.
    """
    names = _names(scores)
    found = {}
    for name, other in combinations(names, 2):
        index = 0.0
        for before in _subsets(third for third in names if third not in (name, other)):
            orders = (len(names) - 1) * math.comb(len(names) - 2, len(before))
            gained = scores[before | {name, other}] - scores[before | {name}]
            alone = scores[before | {other}] - scores[before]
            index += (gained - alone) / orders
        found[name, other] = index
    return found


def emap(
    predict: Callable,
    inputs: dict[str, Tensor | dict[str, Tensor]],
    alone: str | None = None,
    *,
    batch_size: int = 1024,
) -> Tensor:
    """The empirical multimodally-additive projection of a model's outputs, (N, C): the nearest
    outputs, in squares over all N^2 pairs of text and image, that are a function of the text plus
    a function of the image.

    Row i is the mean over j of f(text i, image j), plus that of f(text j, image i), minus that over
    all pairs. A model that scores as well with it does not show, by its answers, that it has used
    what the two say together; its outputs may have changed all the same. With more than two
    modalities it splits `alone` (default: the first) from all others together.

    `predict` runs on N^2 pairs, at most `batch_size` at once, without gradients; some hundred
    samples are enough. Sums are float64, the result has the dtype of the outputs.

    Raises TypeError or ValueError as `subset_scores` does, and for one modality, an unknown
    `alone`, and outputs that are not (B, C).
    Source: Hessel and Lee 2020, Does my multimodal model learn cross-modal interactions?
    (arXiv:2010.06572).
    """
    rows = _check(predict, inputs, batch_size)
    names = list(inputs)
    alone = names[0] if alone is None else alone
    if len(names) < 2:
        raise ValueError(f"inputs: expected at least two modalities, got {names}")
    check_choice(names, alone=alone)
    of_alone = of_others = None
    for start in range(0, rows * rows, batch_size):
        pair = torch.arange(start, min(start + batch_size, rows * rows), device="cpu")
        i, j = pair // rows, pair % rows
        batch = {
            name: _each(value, lambda x, at=i if name == alone else j: x[at.to(x.device)])
            for name, value in inputs.items()
        }
        answer = _answer(predict, batch, len(pair))
        if answer.dim() != 2 or not answer.is_floating_point():
            raise ValueError(
                f"predict: expected floats (B, C), got {answer.dtype} {tuple(answer.shape)}"
            )
        answers = answer.double()  # (B, C)
        if of_alone is None:
            of_alone, of_others = answers.new_zeros(2, rows, answers.shape[1])  # each (N, C)
        of_alone.index_add_(0, i.to(answers.device), answers)
        of_others.index_add_(0, j.to(answers.device), answers)
    projected = (of_alone + of_others - of_alone.mean(0)) / rows
    return projected.to(answer.dtype)


class _Outputs:
    """The outputs of a model for any set of modalities that are present, the others absent."""

    def __init__(self, predict, inputs: dict, absent, batch_size: int, seed: int):
        self.predict, self.inputs, self.batch_size = predict, inputs, batch_size
        self.rows = len(next(_tensors(next(iter(inputs.values())))))
        self.masked = isinstance(absent, str) and absent == "mask"
        self.replaced = {name: self._replaced(name, absent, seed) for name in inputs}

    def _replaced(self, name: str, absent, seed: int):
        """The modality as it is when absent, in all N rows."""
        value = self.inputs[name]
        if isinstance(absent, dict):
            return self._own(name, value, absent)
        if absent not in ABSENT:
            raise ValueError(f"absent: expected one of {ABSENT} or a dict by name, got {absent!r}")
        if absent == "mask":
            return value
        if absent == "zero":
            return _each(value, torch.zeros_like)
        if absent == "permutation":
            generator = torch.Generator("cpu").manual_seed(seed)
            order = torch.randperm(self.rows, generator=generator, device="cpu")
            return _each(value, lambda x: x[order.to(x.device)])
        for x in _tensors(value):
            if not x.is_floating_point():
                raise TypeError(
                    f"inputs[{name!r}]: expected floats, which have a mean, got {x.dtype}; take"
                    ' absent="permutation" or "mask"'
                )
        return _each(value, lambda x: x.double().mean(0).to(x.dtype).expand_as(x))

    @staticmethod
    def _own(name: str, value, absent: dict):
        if name not in absent:
            raise TypeError(
                f"absent[{name!r}]: expected a value for each modality, got {list(absent)}"
            )
        own = absent[name]
        if isinstance(value, dict):
            raise TypeError(
                f"inputs[{name!r}]: expected a tensor where absent gives the values, got a dict"
            )
        check_tensor(own, f"absent[{name!r}]")
        if own.shape != value.shape[1:] or own.dtype != value.dtype:
            raise ValueError(
                f"absent[{name!r}]: expected {value.dtype} {tuple(value.shape[1:])}, as a row of"
                f" inputs, got {own.dtype} {tuple(own.shape)}"
            )
        return own.expand_as(value)

    def of(self, present: frozenset) -> Tensor:
        """Outputs (N, ...) when these are present."""
        chosen = {
            name: value if name in present else self.replaced[name]
            for name, value in self.inputs.items()
        }
        answers = []
        for start in range(0, self.rows, self.batch_size):
            rows = slice(start, start + self.batch_size)
            batch = {name: _each(value, lambda x, at=rows: x[at]) for name, value in chosen.items()}
            count = min(self.batch_size, self.rows - start)
            told = {"mask": _mask(batch, present)} if self.masked else {}
            answers.append(_answer(self.predict, batch, count, **told))
        return torch.cat(answers)


def _mask(batch: dict, present: frozenset) -> dict[str, Tensor]:
    """{name: (B,) bool}, True in all rows of what is present."""
    mask = {}
    for name, value in batch.items():
        first = next(_tensors(value))
        mask[name] = first.new_full(first.shape[:1], name in present, dtype=torch.bool)
    return mask


def _answer(predict, batch: dict, rows: int, **told) -> Tensor:
    with torch.no_grad():
        answer = predict(batch, **told)
    check_tensor(answer, "predict", "a function that gives a tensor")
    if answer.shape[:1] != (rows,):
        raise ValueError(
            f"predict: expected a row for each of {rows} samples, got {tuple(answer.shape)}"
        )
    return answer


def _check(predict, inputs: dict, batch_size: int, seed: int = 0) -> int:
    """The number of rows, which all modalities share."""
    if isinstance(predict, nn.Module) and predict.training:
        raise ValueError("predict: expected a model in eval mode, got training mode: call .eval()")
    if not callable(predict):
        raise TypeError(f"predict: expected a function, got {type(predict).__name__}")
    if not isinstance(inputs, dict) or not inputs:
        got = "an empty dict" if isinstance(inputs, dict) else type(inputs).__name__
        raise TypeError(f"inputs: expected a dict of tensors by modality, got {got}")
    if "mask" in inputs:
        raise ValueError(
            'inputs["mask"]: expected modalities alone; hand each its own mask, {"values": ...,'
            ' "mask": ...}, and let predict put them together'
        )
    check_whole(1, batch_size=batch_size)
    check_whole(0, seed=seed)
    counts = {}
    for name, value in inputs.items():
        parts = value if isinstance(value, dict) and value else {None: value}
        for key, part in parts.items():
            where = f"inputs[{name!r}]" + ("" if key is None else f"[{key!r}]")
            check_tensor(part, where)
            if not part.dim():
                raise ValueError(f"{where}: expected a row for each sample, got a single number")
            counts[where] = len(part)
    if len(set(counts.values())) != 1 or not min(counts.values()):
        raise ValueError(f"inputs: expected one common, non-zero number of rows, got {counts}")
    return min(counts.values())


def _check_score(score) -> None:
    if not callable(score):
        raise TypeError(f"score: expected a function of the outputs, got {type(score).__name__}")


def _each(value, change: Callable):
    """`change` of a tensor, or of each tensor in a dict."""
    if isinstance(value, dict):
        return {key: change(part) for key, part in value.items()}
    return change(value)


def _tensors(value) -> Iterator[Tensor]:
    yield from value.values() if isinstance(value, dict) else [value]


def _subsets(names) -> Iterator[frozenset]:
    """All subsets, the smaller first."""
    names = list(names)
    for size in range(len(names) + 1):
        yield from map(frozenset, combinations(names, size))


def _names(scores: dict) -> list[str]:
    """The modalities in the order in which their own scores stand."""
    if not isinstance(scores, dict) or not all(isinstance(key, frozenset) for key in scores):
        got = list(scores) if isinstance(scores, dict) else type(scores).__name__
        raise ValueError(f"scores: expected a dict by frozenset of names, got {got!r:.80}")
    names = [name for key in scores if len(key) == 1 for name in key]
    names += sorted({name for key in scores for name in key if name not in names}, key=str)
    for subset in _subsets(names):
        if subset not in scores or not names:
            raise ValueError(
                f"scores: expected all {2 ** len(names)} subsets of the modalities {names}, got"
                f" {len(scores)} without {set(subset) or 'the empty one and others'}"
            )
        value = scores[subset]
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"scores[{subset}]: expected a finite number, got {value!r}")
    return names


def _number(value) -> float:
    try:
        value = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"score: expected a function that gives a number, got {type(value).__name__}"
        ) from error
    if not math.isfinite(value):
        raise ValueError(f"score: expected a finite number, got {value}")
    return value
