"""A training loop that can be trusted: samples weighted alike, the epoch that was best on the
validation set kept.
"""

import copy
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from course_utils.checks import check_that, check_whole, finite
from course_utils.metrics import accuracy
from course_utils.runtime import device

NO_BATCHES = "expected batches, got none; a generator is used up after one pass, a list is not"


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
    """A batch, that is a tensor or nested dicts of tensors, moved to `target`. All else stays as it
    is: texts, and tensors that stand in a list or tuple.
    """
    if isinstance(batch, dict):
        return {name: to_device(value, target) for name, value in batch.items()}
    return batch.to(target) if isinstance(batch, Tensor) else batch


def evaluate(model: nn.Module, batches: Iterable[dict]) -> Evaluation:
    """Run `model(batch) -> (B, C) logits` over all batches in eval mode, without gradients.

    A batch is a dict, with the classes at "label" and what the model reads at names of your own.
    The model goes to `runtime.device()` and stays there, each batch is brought to it; the logits
    and labels that come back are on the CPU.

    Each sample counts once, whatever the size of its batch. The modes of the model and of its
    parts are put back afterwards. Raises ValueError or TypeError for a batch without labels,
    (B,) int64 in 0 to C - 1, for logits that are not (B, C) or so full of NaN or infinity that
    they have no loss, and where there are no batches.
    """
    _check_batches(batches=batches)
    return _evaluate(model, batches, "batches")


def _evaluate(model: nn.Module, batches: Iterable[dict], which: str) -> Evaluation:
    _check_model(model)
    modes, target = {module: module.training for module in model.modules()}, device()
    model.to(target).eval()
    logits, labels = [], []
    try:
        with torch.inference_mode():
            for batch in batches:
                _check_batch(batch, which)
                answer = model(to_device(batch, target))
                _check_logits(answer, batch["label"], which)
                logits.append(answer.cpu())
                labels.append(batch["label"].cpu())
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not logits:
        raise ValueError(f"{which}: {NO_BATCHES}")
    logits, labels = torch.cat(logits), torch.cat(labels)
    # a sum in float16 is soon infinite
    logits_wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = nn.functional.cross_entropy(logits_wide, labels, reduction="none")  # (N,)
    if losses.isnan().any():
        raise ValueError(
            f"{which}: the model's logits hold infinity or NaN in {int(losses.isnan().sum())} of"
            f" {len(logits)} rows: look for NaN in the inputs or the weights"
        )
    loss = losses.mean().item()
    return Evaluation(loss, accuracy(logits, labels), logits, labels)


def _check_batch(batch, which: str) -> None:
    if not isinstance(batch, dict) or "label" not in batch:
        got = list(batch) if isinstance(batch, dict) else type(batch).__name__
        raise TypeError(f'{which}: expected dicts with "label" and the model\'s inputs, got {got}')
    labels = batch["label"]
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.dim() != 1:
        got = (
            f"{labels.dtype} of shape {tuple(labels.shape)}"
            if isinstance(labels, Tensor)
            else type(labels).__name__
        )
        raise TypeError(
            f'{which}: batch["label"]: expected class numbers, a (B,) int64 tensor, got {got};'
            " words are numbered by collate(..., classes=...)"
        )
    if not len(labels):
        raise ValueError(f'{which}: batch["label"]: expected at least one row, got none')


def _check_logits(logits: Tensor, labels: Tensor, which: str) -> None:
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"{which}: the model's logits: expected a float tensor, got {got}")
    if logits.dim() != 2 or len(logits) != len(labels):
        raise ValueError(
            f"{which}: the model's logits: expected shape ({len(labels)}, C), got"
            f" {tuple(logits.shape)}"
        )
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f'{which}: batch["label"]: expected 0 to {logits.shape[1] - 1}, as many as there are'
            f" logits, got {int(labels.min())} to {int(labels.max())}"
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
    validation epoch's weights, also when an error or a reader stops it.

    Batches and devices are those of `evaluate`; `batch["label"]` is (B,) int64.
    That is early stopping without the stop: all `epochs` are run, and the one with the lowest
    validation loss is kept, `History.best_epoch`.
    A model in training mode keeps the modes of its parts: a frozen batch normalisation stays
    frozen, and a dropout that was switched off stays off. One in evaluation mode is put into
    training as a whole and stays there. `train` and `validation` are gone through once an epoch, as
    a list, `Batches` or a DataLoader can be and a generator cannot. Raises ValueError when a loss
    of either is not finite, naming the epoch, for a number that is out of range, for a model that
    has nothing to train, and as `evaluate` does.
    """
    _check_plan(train, validation, epochs)
    _check_model(model)
    if not any(one.requires_grad for one in model.parameters()):
        got = f"{sum(1 for _ in model.parameters())} parameters, none of which requires a gradient"
        raise ValueError(f"model: expected a parameter that learns, got {got}")
    for argument, value in {"lr": lr, "weight_decay": weight_decay}.items():
        check_that(argument, finite(value) and value >= 0, "a number of at least 0", value)
    target = device()
    model.to(target)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    history, best = History(), None
    if not model.training:
        model.train()
    try:
        for epoch in range(epochs):
            history.train_loss.append(_train_epoch(model, train, optimizer, epoch))
            loss = _evaluate(model, validation, f"validation in epoch {epoch}").loss
            _check_loss(loss, "validation", epoch, lr)
            history.validation_loss.append(loss)
            if best is None or loss < history.validation_loss[history.best_epoch]:
                history.best_epoch, best = epoch, copy.deepcopy(model.state_dict())
    finally:
        if best is not None:
            model.load_state_dict(best)
    return history


def _check_plan(train, validation, epochs: int) -> None:
    check_whole(1, epochs=epochs)
    _check_batches(train=train, validation=validation)
    for argument, batches in {"train": train, "validation": validation}.items():
        if epochs > 1 and isinstance(batches, Iterator):
            raise TypeError(
                f"{argument}: expected batches for {epochs} epochs, got a"
                f" {type(batches).__name__}, which is used up after one; make it a list"
            )


def _check_batches(**given) -> None:
    for argument, batches in given.items():
        if isinstance(batches, (dict, Tensor)) or not hasattr(batches, "__iter__"):
            raise TypeError(
                f"{argument}: expected batches, such as Batches(...) or a DataLoader, got"
                f" {type(batches).__name__}"
            )


def _check_model(model) -> None:
    if not isinstance(model, nn.Module):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(f"model: expected an nn.Module, got {got}")


def _check_loss(loss: float, argument: str, epoch: int, lr: float) -> None:
    if not math.isfinite(loss):
        raise ValueError(
            f"{argument}: the loss is {loss} in epoch {epoch}: look for NaN in the inputs, or lower"
            f" the learning rate (lr={lr})"
        )


def _train_epoch(model: nn.Module, train, optimizer: torch.optim.Optimizer, epoch: int) -> float:
    """One pass over `train`, a step for each batch; the mean loss over samples."""
    which, target, total, count = f"train in epoch {epoch}", device(), 0.0, 0
    for batch in train:
        _check_batch(batch, which)
        batch = to_device(batch, target)
        logits = model(batch)
        _check_logits(logits, batch["label"], which)
        loss = nn.functional.cross_entropy(logits, batch["label"])
        _check_loss(loss.item(), "train", epoch, optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, count = total + loss.item() * len(batch["label"]), count + len(batch["label"])
    if not count:
        raise ValueError(f"{which}: {NO_BATCHES}")
    return total / count


def shuffle_modality(features: dict, name: str, order: Tensor) -> dict:
    """The control for "does this modality add anything?": its rows (B, ...) in another order,
    all else as it was.

    `order` (B,) int64 holds each row's index once. The modality keeps its distribution and loses
    its link to the label and to the other modalities. All that is named after it goes with it, at
    the top and in dicts such as `features["mask"]` of `collate`: for "text" also "text_ids" or
    "text_mask"; otherwise the lengths would still tell the label.
    Raises ValueError or TypeError for an unknown name, an order that is not a permutation, and
    for what may belong to the modality but cannot be told apart: a "mask" or "present" that is no
    dict by modality, a key such as "text_image" beside "text" and "image".
    """
    rows, names = _rows_of(features, name, "features"), [key for key in features if key != "mask"]
    if (
        not isinstance(order, Tensor)
        or order.dtype != torch.int64
        or not torch.equal(order.sort().values, torch.arange(len(rows), device=order.device))
    ):
        got = tuple(order.shape) if isinstance(order, Tensor) else type(order).__name__
        raise ValueError(f"order: expected each of 0 ... {len(rows) - 1} once, got {got}")
    others = [key for key in names if key != "present" and not _belongs(key, name)]
    return _shuffled(features, name, others, order, "features")


def shuffle_splits(splits: dict[str, dict], name: str, seed: int) -> dict[str, dict]:
    """The control on every split, {split: features}, each in a random order of its own; the same
    `seed` gives the same orders. For what it moves and raises see `shuffle_modality`.
    """
    check_whole(0, seed=seed)
    if not isinstance(splits, dict):
        raise TypeError(f"splits: expected a dict by name, got {type(splits).__name__}")
    generator = torch.Generator().manual_seed(seed)
    shuffled = {}
    for split, features in splits.items():
        rows = len(_rows_of(features, name, f"splits[{split!r}]"))
        order = torch.randperm(rows, generator=generator, device="cpu")
        shuffled[split] = shuffle_modality(features, name, order)
    return shuffled


def _rows_of(features: dict, name: str, where: str) -> Tensor | list:
    """The modality that is to be shuffled."""
    if not isinstance(features, dict):
        raise TypeError(f"{where}: expected a dict by name, got {type(features).__name__}")
    names = [key for key in features if key != "mask"]
    check_that("name", name in names, f"one of {names}", name)
    if not isinstance(features[name], (Tensor, list)):
        got = type(features[name]).__name__
        raise TypeError(f"{where}[{name!r}]: expected a tensor, got {got}")
    return features[name]


def _belongs(key: str, name: str) -> bool:
    """Whether the name stands in the key as a word: "text" in "text_ids", not in "context"."""
    return bool(re.search(rf"(?<![^\W_]){re.escape(str(name))}(?![^\W_])", str(key)))


def _shuffled(part: dict, name: str, others: list, order: Tensor, where: str) -> dict:
    """`part` with the rows in `order` of all that is named after the modality, dicts included."""
    moved = {}
    for key, value in part.items():
        here = f"{where}[{key!r}]"
        if _belongs(key, name):
            shared = [other for other in others if _belongs(key, other)]
            if shared and key != name:
                raise ValueError(
                    f"{here}: expected what belongs to one modality, got {[name, *shared]}; take"
                    " it out before"
                )
            moved[key] = _reordered(value, order, here)
        elif isinstance(value, dict):
            moved[key] = _shuffled(value, name, others, order, here)
        elif key in ("mask", "present"):
            raise TypeError(f"{here}: expected a dict by modality, got {type(value).__name__}")
        else:
            moved[key] = value
    return moved


def _reordered(value, order: Tensor, where: str) -> Tensor | list:
    if not isinstance(value, (Tensor, list)):
        raise TypeError(f"{where}: expected a tensor or a list, got {type(value).__name__}")
    count = len(value) if isinstance(value, list) or value.dim() else 0
    if count != len(order):
        raise ValueError(f"{where}: expected {len(order)} rows, as order has, got {count}")
    if isinstance(value, Tensor):
        return value[order.to(value.device)]
    return [value[i] for i in order.tolist()]
