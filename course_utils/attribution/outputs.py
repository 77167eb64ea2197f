"""A model asked with some modalities absent."""

from collections.abc import Callable, Iterator
from itertools import combinations

import torch
from torch import Tensor, nn

from course_utils.checks import check_tensor, check_whole

ABSENT = ("mean", "zero", "permutation", "mask")
# 2^M passes over the data
MOST_MODALITIES = 8


class Outputs:
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
            return each_of(value, torch.zeros_like)
        if absent == "permutation":
            generator = torch.Generator("cpu").manual_seed(seed)
            order = torch.randperm(self.rows, generator=generator, device="cpu")
            return each_of(value, lambda x: x[order.to(x.device)])
        for x in _tensors(value):
            if not x.is_floating_point():
                raise TypeError(
                    f"inputs[{name!r}]: expected floats, which have a mean, got {x.dtype}; take"
                    ' absent="permutation" or "mask"'
                )
        return each_of(value, lambda x: x.double().mean(0).to(x.dtype).expand_as(x))

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
            batch = {
                name: each_of(value, lambda x, at=rows: x[at]) for name, value in chosen.items()
            }
            count = min(self.batch_size, self.rows - start)
            told = {"mask": _mask(batch, present)} if self.masked else {}
            answers.append(answer_of(self.predict, batch, count, **told))
        return torch.cat(answers)


def _mask(batch: dict, present: frozenset) -> dict[str, Tensor]:
    """{name: (B,) bool}, True in all rows of what is present."""
    mask = {}
    for name, value in batch.items():
        first = next(_tensors(value))
        mask[name] = first.new_full(first.shape[:1], name in present, dtype=torch.bool)
    return mask


def answer_of(predict, batch: dict, rows: int, **told) -> Tensor:
    """What the model gives for a batch, without gradients. Raises TypeError or ValueError for what
    is no tensor with a row for each sample.
    """
    with torch.no_grad():
        answer = predict(batch, **told)
    check_tensor(answer, "predict", "a function that gives a tensor")
    if answer.shape[:1] != (rows,):
        raise ValueError(
            f"predict: expected a row for each of {rows} samples, got {tuple(answer.shape)}"
        )
    return answer


def check_inputs(predict, inputs: dict, batch_size: int, seed: int = 0) -> int:
    """The number of rows, which all modalities share. Raises TypeError or ValueError for inputs
    that have none in common, and for a model in training mode.
    """
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


def each_of(value, change: Callable):
    """`change` of a tensor, or of each tensor in a dict."""
    if isinstance(value, dict):
        return {key: change(part) for key, part in value.items()}
    return change(value)


def _tensors(value) -> Iterator[Tensor]:
    yield from value.values() if isinstance(value, dict) else [value]


def subsets(names) -> Iterator[frozenset]:
    """All subsets, the smaller first."""
    names = list(names)
    for size in range(len(names) + 1):
        yield from map(frozenset, combinations(names, size))
