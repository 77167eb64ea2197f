"""Samples dealt out in batches."""

from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.checks import check_whole


class Batches:
    """A dict of tensors that share their first axis (N, ...), given out in batches of `size` rows.
    A dict of such tensors may stand in it, as the masks of `collate` do.

    With a `generator` the rows are shuffled anew for each pass, without one they keep their
    order. A single row left over joins the batch before it, because batch normalisation cannot
    train on one row. Much faster than a DataLoader when the features are already computed. It has
    no `len`; `size` is what a DataLoader calls `batch_size`.
    Raises TypeError for what are no tensors with rows and for a generator that is none, ValueError
    for numbers of rows that differ or are 0, and for a size that is no whole number from 1.
    """

    def __init__(
        self, tensors: dict[str, Tensor | dict], size: int, generator: torch.Generator | None = None
    ):
        lengths = _row_counts("tensors", tensors)
        if len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise ValueError(
                f"tensors: expected one common, non-zero number of rows, got {lengths}"
            )
        check_whole(1, size=size)
        if not isinstance(generator, (torch.Generator, type(None))):
            raise TypeError(
                "generator: expected a torch.Generator, such as seed_everything(0) gives, or None,"
                f" got {generator!r}"
            )
        self.tensors, self.size, self.generator = tensors, size, generator
        self.rows = next(iter(lengths.values()))

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = (
            torch.arange(self.rows, device="cpu")
            if self.generator is None
            else torch.randperm(
                self.rows, generator=self.generator, device=self.generator.device
            ).cpu()  # which indexes tensors on any device
        )
        batches = list(order.split(self.size))
        if len(batches) > 1 and len(batches[-1]) == 1 < self.size:
            batches[-2:] = [torch.cat(batches[-2:])]
        for rows in batches:
            yield _take(self.tensors, rows)


def _row_counts(argument: str, tensors: dict) -> dict[str, int]:
    """How many rows each tensor has; a dict in the dict counts as its tensors."""
    if not isinstance(tensors, dict):
        raise TypeError(f"{argument}: expected a dict of tensors, got {type(tensors).__name__}")
    counts = {}
    for name, value in tensors.items():
        if isinstance(value, dict):
            counts |= _row_counts(f"{argument}[{name!r}]", value)
        elif not isinstance(value, Tensor) or not value.dim():
            got = "a single number" if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(
                f"{argument}[{name!r}]: expected a tensor with a row for each sample, got {got}"
            )
        else:
            counts[f"{argument}[{name!r}]" if argument != "tensors" else name] = len(value)
    return counts


def _take(tensors: dict, rows: Tensor) -> dict:
    return {
        name: _take(value, rows) if isinstance(value, dict) else value[rows]
        for name, value in tensors.items()
    }


def to_device(batch, target: torch.device):
    """A batch, that is a tensor or nested dicts of tensors, moved to `target`. All else stays as it
    is: texts, and tensors that stand in a list or tuple.
    """
    if isinstance(batch, dict):
        return {name: to_device(value, target) for name, value in batch.items()}
    return batch.to(target) if isinstance(batch, Tensor) else batch
