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
    A dict of such tensors may stand in it, as the masks of `collate` do.

    With a `generator` the rows are shuffled anew for each pass, without one they keep their
    order. A single row left over joins the batch before it, because batch normalisation cannot
    train on one row. Much faster than a DataLoader when the features are already computed.
    """

    def __init__(
        self, tensors: dict[str, Tensor | dict], size: int, generator: torch.Generator | None = None
    ):
        lengths = _row_counts("tensors", tensors)
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

    Each sample counts once, whatever the size of its batch. The modes of the model and of its
    parts are put back afterwards. Raises ValueError or TypeError for a batch without labels,
    (B,) int64 in 0 to C - 1, and for logits that are not (B, C) or hold NaN.
    """
    modes, target = {module: module.training for module in model.modules()}, device()
    model.to(target).eval()
    logits, labels = [], []
    try:
        with torch.inference_mode():
            for batch in batches:
                _check_batch(batch)
                logits.append(model(to_device(batch, target)).cpu())
                labels.append(batch["label"].cpu())
                _check_logits(logits[-1], labels[-1])
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not logits:
        raise ValueError("batches is empty: there is nothing to evaluate")
    logits, labels = torch.cat(logits), torch.cat(labels)
    if logits.isnan().any():
        wrong = int(logits.isnan().any(1).sum())
        raise ValueError(
            f"the model's logits hold NaN in {wrong} of {len(logits)} rows: look for NaN in the"
            " inputs or the weights"
        )
    wide = torch.promote_types(logits.dtype, torch.float32)  # a sum of float16 is soon infinite
    loss = nn.functional.cross_entropy(logits.to(wide), labels).item()
    return Evaluation(loss, accuracy(logits, labels), logits, labels)


def _check_batch(batch) -> None:
    if not isinstance(batch, dict) or "label" not in batch:
        got = list(batch) if isinstance(batch, dict) else type(batch).__name__
        raise TypeError(f'batches: expected dicts with "label" and the model\'s inputs, got {got}')
    labels = batch["label"]
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.dim() != 1:
        got = (
            f"{labels.dtype} of shape {tuple(labels.shape)}"
            if isinstance(labels, Tensor)
            else type(labels).__name__
        )
        raise TypeError(
            f'batch["label"]: expected class numbers, a (B,) int64 tensor, got {got}; words are'
            " numbered by collate(..., classes=...)"
        )


def _check_logits(logits: Tensor, labels: Tensor) -> None:
    if logits.dim() != 2 or len(logits) != len(labels):
        raise ValueError(
            f"the model's logits: expected shape ({len(labels)}, C), got {tuple(logits.shape)}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f'batch["label"]: expected 0 to {logits.shape[1] - 1}, as many as there are logits,'
            f" got {int(labels.min())} to {int(labels.max())}"
        )


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

    A model in training mode keeps the modes of its parts, so that a frozen batch normalisation
    stays frozen; one in evaluation mode is put into training as a whole. Raises ValueError when
    a loss is not finite, naming the epoch, and as `evaluate` does.
    """
    target = device()
    model.to(target)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    history, best = History(), None
    if not model.training:
        model.train()
    for epoch in range(epochs):
        total, count = 0.0, 0
        for batch in train:
            _check_batch(batch)
            batch = to_device(batch, target)
            logits = model(batch)
            _check_logits(logits, batch["label"])
            loss = nn.functional.cross_entropy(logits, batch["label"])
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss is {loss.item()} in epoch {epoch}: look for NaN in the inputs, "
                    f"or lower the learning rate (lr={lr})"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, count = total + loss.item() * len(batch["label"]), count + len(batch["label"])
        if not count:
            raise ValueError(
                f"train: expected batches, got none in epoch {epoch}; a generator is used up after"
                " one epoch, a list or a DataLoader is not"
            )
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
    if not isinstance(features, dict):
        raise TypeError(f"features: expected a dict by name, got {type(features).__name__}")
    names = [key for key in features if key != "mask"]
    if name not in names:
        raise ValueError(f"name: expected one of {names}, got {name!r}")
    rows = features[name]
    if not isinstance(rows, (Tensor, list)):
        raise TypeError(f"features[{name!r}]: expected a tensor, got {type(rows).__name__}")
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
