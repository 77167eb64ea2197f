"""Samples of several modalities, of different lengths or missing, brought together into one
batch.
"""

import torch
from torch import Tensor

MODALITIES = ("text", "image", "audio")  # everywhere in this order


def letter_ids(text: str) -> Tensor:
    """The letters a to z as ids 1 to 26, (T,) int64; 0 stays free for padding.

    >>> letter_ids("cab")
    tensor([3, 1, 2])
    """
    foreign = sorted(set(text) - set("abcdefghijklmnopqrstuvwxyz"))
    if foreign:
        raise ValueError(f"text: expected letters a to z, got {foreign} in {text!r}")
    return torch.tensor([ord(letter) - ord("a") + 1 for letter in text], dtype=torch.int64)


def collate(samples: list[dict]) -> dict:
    """Bring B samples, each a dict of named modalities, together into one batch.

    A sample holds under "text" a word or (T,) int64 ids, under "image" (C, H, W) float, under
    "audio" (S,) float; None stands for a missing modality. Whole numbers (the label, for
    example) become (B,) int64.

    Returns a dict of
      "text" (B, T) int64 and "audio" (B, S) float, padded with zeros at the end to the longest
      in the batch; "image" (B, C, H, W) float, zeros where it is missing; "mask" {"text": (B, T)
      bool, "audio": (B, S) bool}: True where there is something, False for padding; "present"
      (B, M) bool: which modalities a sample has, in the order of MODALITIES;
    and the whole numbers. Works as a DataLoader's `collate_fn`.

    Raises ValueError for an empty list, keys that differ, shapes that do not fit together, and
    NaN or infinity.
    """
    if not samples:
        raise ValueError("samples is empty: a batch needs at least one sample")
    keys = set(samples[0])
    for i, sample in enumerate(samples):
        if set(sample) != keys:
            raise ValueError(
                f"sample {i} has keys {sorted(sample)}, sample 0 has {sorted(keys)}; "
                "a missing modality keeps its key and is None"
            )
    names = [name for name in MODALITIES if name in keys]
    batch = {
        "mask": {},
        "present": torch.tensor(
            [[sample[name] is not None for name in names] for sample in samples]
        ),
    }
    for name in names:
        values = [sample[name] for sample in samples]
        values = [letter_ids(value) if isinstance(value, str) else value for value in values]
        for i, value in enumerate(values):
            if value is not None and not torch.isfinite(value).all():
                raise ValueError(
                    f"{name} of sample {i} holds NaN or infinity; a missing modality is None"
                )
        if name == "image":
            batch[name] = _stack(values)
        else:
            batch[name], batch["mask"][name] = _pad(name, values)
    for name in sorted(keys - set(MODALITIES)):
        batch[name] = torch.tensor([sample[name] for sample in samples], dtype=torch.int64)
    return batch


def _stack(images: list[Tensor | None]) -> Tensor:
    shapes = {tuple(image.shape) for image in images if image is not None}
    if len(shapes) > 1:
        raise ValueError(
            f"image: expected one shape in a batch, got {sorted(shapes)}; resize them first"
        )
    blank = torch.zeros(shapes.pop() if shapes else (1, 1, 1))
    return torch.stack([blank if image is None else image for image in images])


def _pad(name: str, sequences: list[Tensor | None]) -> tuple[Tensor, Tensor]:
    for i, sequence in enumerate(sequences):
        if sequence is not None and sequence.dim() != 1:
            raise ValueError(
                f"{name} of sample {i}: expected one axis (length,), got shape"
                f" {tuple(sequence.shape)}"
            )
    lengths = torch.tensor([0 if sequence is None else len(sequence) for sequence in sequences])
    longest = max(1, int(lengths.max()))
    dtype = torch.int64 if name == "text" else torch.float32
    padded = torch.zeros(len(sequences), longest, dtype=dtype)
    for row, sequence in zip(padded, sequences):
        if sequence is not None:
            row[: len(sequence)] = sequence
    return padded, torch.arange(longest) < lengths[:, None]
