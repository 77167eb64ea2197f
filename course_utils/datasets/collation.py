"""Samples of several modalities, of different lengths or missing, brought together into one
batch.
"""

from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from course_utils.masks import pad

AXES = {  # of one sample's value, by kind
    "ids": ((1,), "(T,) whole numbers"),
    "sequence": ((1, 2), "(T,) or (T, D) floats"),
    "vector": ((1,), "(D,) numbers"),
    "picture": ((3,), "(C, H, W) floats"),
    "clip": ((4,), "(T, C, H, W) floats"),
}
KINDS = (*AXES, "letters", "text", "label")
COLOURS = (1, 3, 4)  # how many a picture has: gray, RGB, RGB with transparency
BYTES = 16  # a picture without a negative value that goes beyond this was not divided by 255


class Typed(str):
    """A word as somebody typed it, letter by letter: `collate` spells it in ids of letters."""


def letter_ids(text: str) -> Tensor:
    """The letters a to z as ids 1 to 26, (T,) int64; 0 stays free for padding.

    Raises ValueError for any other character.

    >>> letter_ids("cab")
    tensor([3, 1, 2])
    """
    foreign = sorted(set(text) - set("abcdefghijklmnopqrstuvwxyz"))
    if foreign:
        raise ValueError(f"text: expected letters a to z, got {foreign} in {text!r}")
    return torch.tensor([ord(letter) - ord("a") + 1 for letter in text], dtype=torch.int64)


def collate(
    samples: list[dict],
    *,
    kinds: dict[str, str | tuple] | None = None,
    classes: dict[str, list[str]] | None = None,
) -> dict:
    """Bring B samples, each a dict of named values, together into one batch.

    Any names will do: how a value is treated follows from what it is. A value with an axis is a
    modality, and None a missing one; a number is a label or another fact about the sample, and
    is never missing. Tensors and NumPy arrays are taken alike.

      kind        a sample's value                    in the batch                        mask
      "ids"       (T,) whole numbers                  (B, T) int64, padded with 0         (B, T)
      "sequence"  (T,) or (T, D) floats: sound, ...   (B, T) or (B, T, D), padded with 0  (B, T)
      "picture"   (C, H, W) floats                    (B, C, H, W)                        (B,)
      "clip"      (T, C, H, W) floats                 (B, T, C, H, W)                     (B,)
      "letters"   a word of the letters a to z        (B, T) int64, 1 to 26, padded       (B, T)
      "label"     a number                            (B,) int64, or float32 for floats   none

    So far nothing need be said, whatever else is in the batch ("letters" are the words of
    `Digits`, which are `Typed`). `kinds={name: kind}` says what cannot be seen:

      "vector"    (D,) numbers, D always the same     (B, D) float32                      (B,)
      "text"      a string, for a pretrained encoder  a list of B strings, "" if missing  (B,)
      "letters"   any string                          as above
      "label"     an array, of one shape in all       (B, ...) int64 or float32           none
      (3, 64, 64) a shape: exactly this               (B, 3, 64, 64) float32              (B,)
      (None, 40)  a sequence of this width            (B, T, 40) float32                  (B, T)

    `classes={"label": ["cat", "dog"]}` numbers a label in words, "cat" 0 and "dog" 1.

    Returns a dict of all names and of "mask", {name: bool tensor}: True where there is
    something, all False in the row of a missing modality, whose values are zeros. It has an
    entry for each modality and goes into `Fusion(...)(features, mask=batch["mask"])` as it is, if
    that layer fuses them all; of a layer that fuses some, pick those: a mask names no other.
    Floats come out as float32, whole numbers and bools as int64.

    For a DataLoader: `collate_fn=functools.partial(collate, kinds={"table": "vector"})`.

    Raises ValueError or TypeError, naming key and sample, for whatever it cannot know or use: a
    modality that is None in all samples and has no kind (of a picture or vector the shape is
    needed), words without `classes` or kind, shapes that do not fit together, NaN and infinity,
    empty arrays, whole numbers where floats belong, dtypes that differ within a key, keys that
    differ, a missing label. A picture may be normalised. It is refused when it looks like bytes
    (no value below 0 and one above 16) or like H x W x C (1, 3 or 4 on the last axis and more on
    both before it). A shape in `kinds` is taken at its word: floats of that shape will do.
    """
    for argument, given in {"kinds": kinds, "classes": classes}.items():
        if not isinstance(given, (dict, type(None))):
            got = type(given).__name__
            raise TypeError(f"{argument}: expected a dict by name, got {got}")
    kinds, classes = dict(kinds or {}), dict(classes or {})
    _check_names(samples, kinds, classes)
    batch = {"mask": {}}
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        if name in classes:
            batch[name] = _numbered(name, values, classes[name])
            continue
        values = [_tensor(name, i, value) for i, value in enumerate(values)]
        kind = kinds[name] if name in kinds else _kind(name, values)
        if kind == "label":
            batch[name] = _labels(name, values)
        elif kind == "text":
            batch[name], batch["mask"][name] = _texts(name, values)
        elif kind in ("ids", "letters", "sequence") or kind[0] is None:
            batch[name], batch["mask"][name] = _padded(name, values, kind)
        else:
            batch[name], batch["mask"][name] = _stacked(name, values, kind)
    return batch


def _check_names(samples: list[dict], kinds: dict, classes: dict) -> None:
    if not isinstance(samples, (list, tuple)) or not samples:
        raise ValueError(
            "samples is empty: a batch needs at least one sample"
            if isinstance(samples, (list, tuple))
            else f"samples: expected a list of dicts, got {type(samples).__name__}"
        )
    for i, sample in enumerate(samples):
        if not isinstance(sample, dict) or not sample:
            raise TypeError(
                f"sample {i}: expected a dict of named values such as"
                f' {{"image": ..., "label": 3}}, got {type(sample).__name__} {sample!r:.60}'
            )
        if set(sample) != set(samples[0]):
            raise ValueError(
                f"sample {i} has keys {sorted(map(str, sample))}, sample 0 has"
                f" {sorted(map(str, samples[0]))}; a missing modality keeps its key and is None"
            )
    if "mask" in samples[0]:
        raise ValueError("samples: the key 'mask' is taken by the batch's own mask; rename yours")
    for argument, given in {"kinds": kinds, "classes": classes}.items():
        if unknown := [name for name in given if name not in samples[0]]:
            raise ValueError(f"{argument}: {unknown} are not among the keys {list(samples[0])}")
    for name, kind in kinds.items():
        if not (kind in KINDS or _is_shape(kind)):
            raise ValueError(
                f"kinds[{name!r}]: expected one of {KINDS} or a shape such as (3, 64, 64),"
                f" got {kind!r}"
            )


def _is_shape(kind) -> bool:
    if not isinstance(kind, tuple) or not kind:
        return False
    sides = kind[1:] if kind[0] is None else kind
    return all(type(side) is int and side > 0 for side in sides)


def _refuse(name: str, i: int, came: str, expected: str) -> NoReturn:
    raise ValueError(f"{name} of sample {i} {came}; expected {expected}")


def _tensor(name: str, i: int, value) -> Tensor | str | None:
    """A value as a tensor, a number as one without axes; None and strings as they are."""
    if value is None or isinstance(value, (str, Tensor)):
        return value
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.float64)
    if not isinstance(value, (int, np.ndarray, np.generic)):
        made = ", torch.tensor(...)" if isinstance(value, (list, tuple)) else ""
        _refuse(name, i, f"is a {type(value).__name__}", f"a tensor, a number or None{made}")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.dtype == np.uint64:
        _refuse(name, i, f"is of NumPy's dtype {array.dtype}", "real numbers of one fixed size")
    try:  # a copy, because torch knows neither negative strides nor foreign byte orders
        native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
        return torch.from_numpy(native)
    except TypeError:
        _refuse(name, i, f"is of NumPy's dtype {array.dtype}", "one that torch has too")


def _kind(name: str, values: list) -> str:
    """What a key holds, as seen from its first value that is there."""
    there = [(i, value) for i, value in enumerate(values) if value is not None]
    if not there:
        raise ValueError(
            f"{name} is None in all {len(values)} samples, so what it is cannot be seen; say it,"
            f" for example kinds={{{name!r}: 'sequence'}} or, with its shape, (3, 64, 64)"
        )
    i, value = there[0]
    if isinstance(value, Typed):
        return "letters"
    if isinstance(value, str):
        _refuse(
            name,
            i,
            f"is a string, {value!r:.40}",
            f"a number or an array. A label in words: classes={{{name!r}: [...]}}. Ids of words:"
            " Vocabulary(texts).ids(text) of course_utils.text. Strings for a pretrained"
            f" encoder: kinds={{{name!r}: 'text'}}. Letters: kinds={{{name!r}: 'letters'}}",
        )
    if value.dim() == 0:
        return "label"
    if value.dim() == 1 and not value.is_floating_point():
        return "ids"
    for kind in ("sequence", "picture", "clip"):
        if value.dim() in AXES[kind][0]:
            return kind
    _refuse(name, i, f"has shape {tuple(value.shape)}", "at most four axes, (T, C, H, W)")


def _check(name: str, values: list, what: str, missing: str = "None if it is missing") -> None:
    """What holds for arrays of every kind; `what` says what is expected instead of a string."""
    for i, value in enumerate(values):
        if value is None:
            continue
        if isinstance(value, str):
            _refuse(name, i, f"is the string {value!r:.40}", what)
        if value.layout != torch.strided:
            _refuse(name, i, f"is {value.layout}", "a dense tensor, value.to_dense()")
        if value.is_complex():
            _refuse(name, i, "is complex", "real numbers, for example value.abs()")
        if not value.numel():
            _refuse(name, i, f"is empty, shape {tuple(value.shape)}", missing)
        if value.is_floating_point() and not torch.isfinite(value).all():
            _refuse(name, i, "holds NaN or infinity", f"finite numbers, or {missing}")


def _check_alike(name: str, values: list) -> None:
    """One dtype and one number of axes in all samples."""
    first = None
    for i, value in enumerate(values):
        if value is None:
            continue
        first = value if first is None else first
        if value.dtype != first.dtype:
            _refuse(name, i, f"is {value.dtype}", f"{first.dtype} as in the samples before it")
        if value.dim() != first.dim():
            _refuse(
                name,
                i,
                f"has shape {tuple(value.shape)}",
                f"as many axes as the samples before it, {tuple(first.shape)}",
            )


def _present(values: list) -> Tensor:
    device = next((value.device for value in values if isinstance(value, Tensor)), None)
    return torch.tensor([value is not None for value in values], device=device)  # (B,)


def _padded(name: str, values: list, kind: str | tuple) -> tuple[Tensor, Tensor]:
    """Rows of different lengths, (B, T) or (B, T, D), and where they are, (B, T)."""
    if kind == "letters":
        values = [_spelled(name, i, value) for i, value in enumerate(values)]
    whole, width = kind in ("ids", "letters"), None
    axes, what = AXES["ids" if whole else "sequence"]
    if isinstance(kind, tuple):
        axes, what, width = (len(kind),), f"shape {kind}, None for any length", kind[1:]
    _check(name, values, what)
    rows = [value for value in values if value is not None]
    for i, value in enumerate(values):
        if value is None:
            continue
        if value.dim() not in axes:
            _refuse(name, i, f"has shape {tuple(value.shape)}", what)
        if not whole and not value.is_floating_point():
            _refuse(name, i, f"is {value.dtype}", f"{what}; int16 sound is divided by 32768")
        if whole and value.dtype not in (torch.int64, torch.int32):
            _refuse(
                name,
                i,
                f"is {value.dtype}",
                "int64 for ids; sound as floats from -1 to 1, int16 divided by 32768; a row of"
                f" numbers of fixed length as kinds={{{name!r}: 'vector'}}",
            )
        if whole and value.min() < 0:
            _refuse(name, i, f"holds the id {int(value.min())}", "ids of at least 0; is it sound?")
    _check_alike(name, values)
    if width is None:
        width = rows[0].shape[1:] if rows else ()
    for i, value in enumerate(values):
        if value is not None and value.shape[1:] != width:
            _refuse(name, i, f"has shape {tuple(value.shape)}", f"a width of {width[0]}")
    dtype = torch.int64 if whole else torch.float32
    device = rows[0].device if rows else None
    nothing = torch.zeros(0, *width, dtype=dtype, device=device)
    return pad([nothing if value is None else value.to(dtype) for value in values])


def _spelled(name: str, i: int, word: str | None) -> Tensor | None:
    if word is None or word == "":  # nothing typed is nothing there
        return None
    if not isinstance(word, str):
        _refuse(name, i, f"is a {type(word).__name__}", "a word of the letters a to z")
    try:
        return letter_ids(word)
    except ValueError as error:
        raise ValueError(
            f"{name} of sample {i}: {str(error).removeprefix('text: ')}; for sentences see"
            " Vocabulary in course_utils.text"
        ) from None


def _stacked(name: str, values: list, kind: str | tuple) -> tuple[Tensor, Tensor]:
    """Values of one shape, (B, ...), and whether they are there, (B,)."""
    shape = kind if isinstance(kind, tuple) else None
    what = f"shape {shape}" if shape else AXES[kind][1]
    _check(name, values, what)
    for i, value in enumerate(values):
        if value is None:
            continue
        if len(shape or value.shape) > 2 and not value.is_floating_point():
            _refuse(
                name,
                i,
                f"is {value.dtype}",
                "floats, colours first, from 0 to 1; divide bytes by 255",
            )
        if shape is None:
            _check_layout(name, i, value, kind)
            shape = tuple(value.shape)
        if tuple(value.shape) != shape:
            mend = {
                "vector": f"vectors are equally long, else kinds={{{name!r}: 'sequence'}}",
                "clip": "cut all clips to one length and size",
                "picture": "resize them first",
            }.get(kind, "as kinds says")
            _refuse(name, i, f"has shape {tuple(value.shape)}", f"one shape, {shape}: {mend}")
        if kind in ("picture", "clip"):
            _check_range(name, i, value)
    if shape is None:
        raise ValueError(
            f"{name} is None in all {len(values)} samples, so its shape cannot be seen; say it in"
            f" kinds, for example kinds={{{name!r}: (3, 64, 64)}}"
        )
    _check_alike(name, values)
    present = _present(values)
    blank = torch.zeros(shape, device=present.device)
    rows = [blank if value is None else value.float() for value in values]
    return torch.stack(rows), present


def _check_layout(name: str, i: int, value: Tensor, kind: str) -> None:
    axes, what = AXES[kind]
    came = f"has shape {tuple(value.shape)}"
    if value.dim() not in axes:
        extra = "; a gray picture (H, W) is picture[None]" if kind == "picture" else ""
        _refuse(name, i, came, what + extra)
    if kind == "vector":
        return
    *_, first, middle, last = value.shape
    if last in COLOURS and min(first, middle) > max(COLOURS):
        _refuse(name, i, came, f"{what}: colours stand before height and width, movedim(-1, -3)")


def _check_range(name: str, i: int, value: Tensor) -> None:
    low, high = (bound.item() for bound in value.aminmax())
    if low >= 0 and high > BYTES:
        _refuse(
            name,
            i,
            f"goes up to {high:g}",
            "values from 0 to 1, or normalised; divide bytes by 255. If it is no picture, give its"
            f" shape: kinds={{{name!r}: {tuple(value.shape)}}}",
        )


def _texts(name: str, values: list) -> tuple[list[str], Tensor]:
    for i, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            _refuse(name, i, f"is {value.dtype}", "a string, or None if it is missing")
    return ["" if value is None else str(value) for value in values], _present(values)


def _numbered(name: str, values: list, classes: list[str]) -> Tensor:
    """The place of each word in `classes`, (B,) int64."""
    words = list(classes)
    if isinstance(classes, str) or not words or len(set(words)) < len(words):
        raise ValueError(f"classes[{name!r}]: expected a list of different names, got {classes!r}")
    for i, value in enumerate(values):
        if not isinstance(value, str) or value not in words:
            _refuse(name, i, f"is {value!r:.40}", f"one of the classes {words!r:.200}")
    return torch.tensor([words.index(value) for value in values])


def _labels(name: str, values: list) -> Tensor:
    """Numbers, (B,), or arrays of one shape, (B, ...): int64 or float32."""
    what = "a number, as in the other samples"
    for i, value in enumerate(values):
        if value is None:
            _refuse(name, i, "is None", f"{what}: only a modality may be missing")
    words = f"{what}; a label in words needs classes={{{name!r}: [...]}}"
    _check(name, values, words, missing="no sample without a label")
    _check_alike(name, values)
    for i, value in enumerate(values):
        if value.shape != values[0].shape:
            _refuse(name, i, f"has shape {tuple(value.shape)}", f"{tuple(values[0].shape)}")
    stacked = torch.stack(values)
    if not stacked.is_floating_point():
        return stacked.long()
    if not torch.isfinite(stacked.float()).all():
        i = int((~torch.isfinite(stacked.float())).nonzero()[0, 0])
        _refuse(name, i, f"is {values[i]}", "numbers that float32 can hold")
    return stacked.float()
