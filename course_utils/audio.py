"""Sound in, features out."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d

# at 8 kHz: bands of 125 Hz, windows of 32 ms, a step of 10 ms
BANDS, SEGMENTS, WINDOW, HOP = 32, 8, 256, 80


def band_features(sound: Tensor, mask: Tensor) -> Tensor:
    """How loud each of 32 frequency bands is in each eighth of the sound, as a logarithm.

    (B, S) float at 8 kHz and its (B, S) bool mask -> (B, 256) float. Zeros where the sound is
    missing.
    Raises ValueError for a sound that is shorter than one window.
    """
    rows = []
    for i, (samples, length) in enumerate(zip(sound, mask.sum(dim=1).tolist())):
        if length == 0:
            rows.append(torch.zeros(BANDS * SEGMENTS))
            continue
        if length < WINDOW:
            raise ValueError(
                f"sound {i} has {length} samples, expected at least one window of {WINDOW}"
            )
        spectrum = torch.stft(
            samples[:length], WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True
        )
        # (128, frames), without the constant part
        power = spectrum.abs()[1:] ** 2
        # (128, frames) -> (32, frames)
        bands = power.unflatten(0, (BANDS, -1)).mean(dim=1)
        # (32, frames) -> (256,)
        rows.append(adaptive_avg_pool1d(torch.log(bands + 1e-3)[None], SEGMENTS).flatten())
    return torch.stack(rows)
