"""Fit and evaluate."""

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from course_utils.checks import check_that, check_whole, finite
from course_utils.metrics import accuracy
from course_utils.runtime import device
from course_utils.training.batches import to_device

NO_BATCHES = "expected batches, got none; a generator is used up after one pass, a list is not"


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
