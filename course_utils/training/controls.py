"""The control of every comparison: one modality shuffled."""

import re

import torch
from torch import Tensor

from course_utils.checks import check_that, check_whole


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
