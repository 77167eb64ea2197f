"""A training loop that can be trusted: samples weighted alike, the epoch that was best on the
validation set kept.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from course_utils.metrics import accuracy
from course_utils.runtime import device


class Batches:
    """A dict of tensors that share their first axis (N, ...), given out in batches of `size` rows.

    With a `generator` the rows are shuffled anew for each pass, without one they keep their
    order. A single row left over joins the batch before it, because batch normalisation cannot
    train on one row. Much faster than a DataLoader when the features are already computed.
    """

    def __init__(
        self, tensors: dict[str, Tensor], size: int, generator: torch.Generator | None = None
    ):
        lengths = {name: len(tensor) for name, tensor in tensors.items()}
        if len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise ValueError(
                f"tensors: expected one common, non-zero number of rows, got {lengths}"
            )
        if size < 1:
            raise ValueError(f"size: expected at least one row a batch, got {size}")
        self.tensors, self.size, self.generator = tensors, size, generator
        self.rows = next(iter(lengths.values()))

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = (
            torch.arange(self.rows)
            if self.generator is None
            else torch.randperm(self.rows, generator=self.generator)
        )
        batches = list(order.split(self.size))
        if len(batches) > 1 and len(batches[-1]) == 1 < self.size:
            batches[-2:] = [torch.cat(batches[-2:])]
        for rows in batches:
            yield {name: tensor[rows] for name, tensor in self.tensors.items()}


@dataclass
class Evaluation:
    """What a model does on a data set: mean loss and accuracy over samples, and the logits (N,
    C) and labels (N,).
    """

    loss: float
    accuracy: float
    logits: Tensor
    labels: Tensor


@dataclass
class History:
    """The mean loss of every epoch, and the epoch (from 0) whose weights the model was left
    with.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0


def to_device(batch, target: torch.device):
    """A batch, that is a tensor or nested dicts of tensors, moved to `target`; texts stay."""
    if isinstance(batch, dict):
        return {name: to_device(value, target) for name, value in batch.items()}
    return batch.to(target) if isinstance(batch, Tensor) else batch


def evaluate(model: nn.Module, batches: Iterable[dict]) -> Evaluation:
    """Run `model(batch) -> (B, C) logits` over all batches in eval mode, without gradients.

    Each sample counts once, whatever the size of its batch. The model's mode is put back
    afterwards.
    """
    was_training, target = model.training, device()
    model.to(target).eval()
    logits, labels = [], []
    with torch.inference_mode():
        for batch in batches:
            logits.append(model(to_device(batch, target)).cpu())
            labels.append(batch["label"].cpu())
    model.train(was_training)
    if not logits:
        raise ValueError("batches is empty: there is nothing to evaluate")
    logits, labels = torch.cat(logits), torch.cat(labels)
    loss = nn.functional.cross_entropy(logits, labels).item()
    return Evaluation(loss, accuracy(logits, labels), logits, labels)


def fit(
    model: nn.Module,
    train: Iterable[dict],
    validation: Iterable[dict],
    *,
    epochs: int,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
) -> History:
    """Train `model(batch) -> (B, C) logits` by AdamW on cross-entropy; leave it with its best
    validation epoch's weights.

    Raises ValueError when the loss is not finite, naming the epoch.
    """
    target = device()
    model.to(target)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    history, best = History(), None
    for epoch in range(epochs):
        model.train()
        total, count = 0.0, 0
        for batch in train:
            batch = to_device(batch, target)
            loss = nn.functional.cross_entropy(model(batch), batch["label"])
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss is {loss.item()} in epoch {epoch}: look for NaN in the inputs, "
                    f"or lower the learning rate (lr={lr})"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, count = total + loss.item() * len(batch["label"]), count + len(batch["label"])
        history.train_loss.append(total / count)
        history.validation_loss.append(evaluate(model, validation).loss)
        if (
            best is None
            or history.validation_loss[-1] < history.validation_loss[history.best_epoch]
        ):
            history.best_epoch, best = epoch, copy.deepcopy(model.state_dict())
    if best is not None:
        model.load_state_dict(best)
    return history


def shuffle_modality(features: dict, name: str, order: Tensor) -> dict:
    """The control for "does this modality add anything?": its rows (B, ...) in another order,
    all else as it was.

    `order` (B,) int64 holds each row's index once. The modality keeps its distribution and loses
    its link to the label and to the other modalities. In a batch of `collate` its mask
    `features["mask"][name]` goes with it; otherwise the lengths would still tell the label.
    Raises ValueError for an unknown name or an order that is not a permutation.
    """
    names = [key for key in features if key != "mask"]
    if name not in names:
        raise ValueError(f"name: expected one of {names}, got {name!r}")
    rows = features[name]
    if (
        not isinstance(order, Tensor)
        or order.dtype != torch.int64
        or not torch.equal(order.cpu().sort().values, torch.arange(len(rows)))
    ):
        got = tuple(order.shape) if isinstance(order, Tensor) else type(order).__name__
        raise ValueError(f"order: expected each of 0 ... {len(rows) - 1} once, got {got}")
    moved = rows[order] if isinstance(rows, Tensor) else [rows[i] for i in order.tolist()]
    shuffled = {**features, name: moved}
    if isinstance(features.get("mask"), dict) and name in features["mask"]:
        shuffled["mask"] = {**features["mask"], name: features["mask"][name][order]}
    return shuffled
