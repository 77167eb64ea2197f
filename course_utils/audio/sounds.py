"""What a batch of sounds has to be, and the windows that `bands` and `spectra` share."""

import torch
from torch import Tensor

from course_utils.checks import check_bools, check_tensor

# at 8 kHz: bands of 125 Hz, windows of 32 ms, a step of 10 ms
BANDS, SEGMENTS, WINDOW, HOP = 32, 8, 256, 80


def lengths(mask: Tensor) -> Tensor:
    """How many entries of each row of a mask (B, T) bool are True, (B,) int64.

    Raises ValueError where True follows False, TypeError for what is no bool mask.
    """
    check_tensor(mask, "mask", "a bool tensor")
    if mask.dtype != torch.bool or mask.dim() != 2:
        raise TypeError(
            f"mask: expected bool of shape (B, T), got {mask.dtype} {tuple(mask.shape)}"
        )
    if (mask[:, 1:] > mask[:, :-1]).any():
        raise ValueError("mask: expected what is there first and padding after it in each row")
    return mask.sum(1)


def check_sound(sound: Tensor, mask: Tensor) -> None:
    """Raises ValueError or TypeError for what is no float batch (B, S) with a bool mask (B, S)."""
    check_tensor(sound, "sound")
    if sound.dim() != 2 or not sound.numel():
        raise ValueError(
            f"sound: expected shape (B, S), one channel each, got {tuple(sound.shape)}"
        )
    if sound.dtype not in (torch.float32, torch.float64):
        half = sound.is_floating_point()
        hint = "take float32 or float64" if half else "divide int16 by 32768"
        raise TypeError(f"sound: expected floats from -1 to 1, got {sound.dtype}; {hint}")
    check_bools(mask, "mask", sound.shape)
