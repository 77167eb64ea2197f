"""How loud each band is in each eighth of a sound."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d

from course_utils.audio.sounds import BANDS, HOP, SEGMENTS, WINDOW, check_sound


def band_features(sound: Tensor, mask: Tensor) -> Tensor:
    """How loud each of 32 frequency bands is in each eighth of the sound, as a logarithm.

    (B, S) float at 8 kHz and its (B, S) bool mask -> (B, 256) float. Zeros where the sound is
    missing.
    Raises ValueError for a sound that is shorter than one window or holds NaN and for another
    shape, TypeError for another dtype and a mask that does not fit.
    """
    check_sound(sound, mask)
    window = torch.hann_window(WINDOW, dtype=sound.dtype, device=sound.device)
    rows = []
    for i, (samples, length) in enumerate(zip(sound, mask.sum(dim=1).tolist())):
        if length == 0:
            rows.append(sound.new_zeros(BANDS * SEGMENTS))
            continue
        if length < WINDOW:
            raise ValueError(
                f"sound {i} has {length} samples, expected at least one window of {WINDOW}"
            )
        if not torch.isfinite(samples[:length]).all():
            raise ValueError(f"sound {i} holds NaN or infinity under its mask")
        spectrum = torch.stft(samples[:length], WINDOW, HOP, window=window, return_complex=True)
        # (128, frames), without the constant part
        power = spectrum.abs()[1:] ** 2
        # (128, frames) -> (32, frames)
        bands = power.unflatten(0, (BANDS, -1)).mean(dim=1)
        # (32, frames) -> (256,)
        rows.append(adaptive_avg_pool1d(torch.log(bands + 1e-3)[None], SEGMENTS).flatten())
    return torch.stack(rows)
