"""Sounds and their features changed at random, for training, and sounds mixed with noise.

    noise = torch.randn(sound.shape, generator=generator)
    noisy = mix_at_snr(sound, mask, noise, snr=10.0)            # (B, S)
    later = time_shift(noisy, mask, 800, generator)             # (B, S), by up to 0.1 s at 8 kHz
    tokens, heard = log_mel(later, mask)                        # (B, T, D), (B, T)
    holed = spec_augment(tokens, heard, generator)              # (B, T, D)

Each sound draws for itself, and the same generator gives the same on every device and whatever the
padding. Masks stay as they are, padding becomes zero, and no input is changed.
"""

import torch
from torch import Tensor

from course_utils.audio import check_sound, lengths
from course_utils.checks import check_bools, check_floats, check_tensor, check_whole


def mix_at_snr(sound: Tensor, mask: Tensor, noise: Tensor, snr: float | Tensor) -> Tensor:
    """`sound` plus as much of `noise` that their powers over the samples that are there have the
    signal-to-noise ratio `snr` in dB, one number or one for each sound (B,); inf is no noise.

    (B, S) float, its (B, S) bool mask and a (B, S) noise, white or another recording, -> (B, S)
    float. Not limited to -1 to 1.
    Raises ValueError for a sound or noise that is silent, because its ratio to anything is none,
    for NaN, and for another shape, TypeError for another dtype and a mask that does not fit.
    """
    check_sound(sound, mask)
    check_tensor(noise, "noise")
    if noise.shape != sound.shape or noise.dtype != sound.dtype:
        raise ValueError(
            f"noise: expected {sound.dtype} of shape {tuple(sound.shape)} as the sound, got"
            f" {noise.dtype} of shape {tuple(noise.shape)}"
        )
    if isinstance(snr, str):
        raise TypeError(f"snr: expected decibels, or inf for no noise, got {snr!r}")
    ratio = torch.as_tensor(snr, dtype=sound.dtype, device=sound.device)
    if ratio.shape not in ((), (len(sound),)):
        raise ValueError(
            f"snr: expected a number or one for each of {len(sound)} sounds, got shape"
            f" {tuple(ratio.shape)}"
        )
    if (ratio.isnan() | (ratio == -torch.inf)).any():
        raise ValueError(f"snr: expected decibels, or inf for no noise, got {snr}")
    there = mask.any(1)
    sound, noise = torch.where(mask, sound, 0), torch.where(mask, noise, 0)
    energies = []
    for name, values in (("sound", sound), ("noise", noise)):
        # (B, S) -> (B,); as many samples of both, so that powers have the same ratio
        energy = values.square().sum(1)
        for wrong, words in (
            (~energy.isfinite(), "holds NaN or infinity"),
            (energy == 0, "is silent"),
        ):
            if (wrong & there).any():
                raise ValueError(f"{name} {int((wrong & there).int().argmax())} {words}")
        # nothing is mixed into what is not there, and 0 / 0 would be NaN
        energies.append(torch.where(there, energy, 1))
    gain = (energies[0] / energies[1] / 10 ** (ratio / 10)).sqrt()  # (B,)
    return sound + gain[:, None] * noise


def time_shift(
    sound: Tensor, mask: Tensor, max_shift: int, generator: torch.Generator | None = None
) -> Tensor:
    """Each sound earlier or later by up to `max_shift` samples, all numbers equally likely.

    (B, S) float and its (B, S) bool mask -> (B, S) float. The length stays: what is pushed over an
    end is lost, and silence comes in at the other.
    Raises ValueError for a `max_shift` that is no whole number from 0, for a mask with samples
    after padding and another shape, TypeError for another dtype and a mask that does not fit.
    """
    check_sound(sound, mask)
    check_whole(0, max_shift=max_shift)
    limit = torch.full((len(sound), 1), 2 * max_shift, device=sound.device)
    shift = _whole(_uniform((len(sound), 1), generator, sound.device), limit) - max_shift
    source = torch.arange(sound.shape[1], device=sound.device) - shift  # (B, S)
    kept = mask & (source >= 0) & (source < lengths(mask)[:, None])
    return torch.where(kept, sound.gather(1, source.clamp(0, sound.shape[1] - 1)), 0)


def spec_augment(
    features: Tensor,
    mask: Tensor,
    generator: torch.Generator | None = None,
    *,
    n_time_masks: int = 2,
    time_mask_param: int = 10,
    n_freq_masks: int = 2,
    freq_mask_param: int = 8,
    p: float = 0.2,
) -> Tensor:
    """Stripes of time and of frequency hidden behind the mean of the sound's own features.

    (B, T, D) float, such as `log_mel` gives, and its (B, T) bool mask -> (B, T, D) float. A stripe
    of time has 0 to `time_mask_param` frames, but at most the share `p` of those that are there; a
    stripe of frequency 0 to `freq_mask_param` bands. Width, then place: each equally likely.
    Raises ValueError for other options, a mask with frames after padding and another shape,
    TypeError for another dtype and a mask that does not fit.
    Source: Park et al. 2019, SpecAugment, whose features have mean 0 and whose stripes are 0.
    """
    check_whole(0, n_time_masks=n_time_masks, time_mask_param=time_mask_param)
    check_whole(0, n_freq_masks=n_freq_masks, freq_mask_param=freq_mask_param)
    if not 0 <= p <= 1:
        raise ValueError(f"p: expected a share from 0 to 1, got {p!r}")
    _check_features(features, mask)
    there, (rows, time, width) = lengths(mask), features.shape
    draws = _uniform((rows, n_time_masks + n_freq_masks, 2), generator, features.device)
    widest = (there * p).long().clamp(max=time_mask_param)
    frames = _stripes(draws[:, :n_time_masks], widest, there, time)  # (B, T)
    all_bands = torch.full_like(there, width)
    widest = all_bands.clamp(max=freq_mask_param)
    bands = _stripes(draws[:, n_time_masks:], widest, all_bands, width)  # (B, D)
    features = torch.where(mask[..., None], features, 0)
    mean = features.sum((1, 2)) / (there * width).clamp(min=1)  # (B,)
    hidden = (frames[:, :, None] | bands[:, None]) & mask[..., None]  # (B, T, D)
    return torch.where(hidden, mean[:, None, None], features)


def _stripes(draws: Tensor, widest: Tensor, room: Tensor, size: int) -> Tensor:
    """Which of `size` places lie in one of n stripes within the first `room` (B,): (B, size)."""
    width = _whole(draws[..., 0], widest[:, None])  # (B, n)
    start = _whole(draws[..., 1], room[:, None] - width)
    place = torch.arange(size, device=draws.device)
    inside = (place >= start[..., None]) & (place < (start + width)[..., None])  # (B, n, size)
    return inside.any(1)


def _uniform(shape: tuple, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Numbers from 0 to 1, drawn where the generator is, so that they are the same anywhere."""
    if not isinstance(generator, (torch.Generator, type(None))):
        got = type(generator).__name__
        raise TypeError(f"generator: expected a torch.Generator or None, got {got}")
    drawn = generator.device if generator else "cpu"
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=drawn).to(device)


def _whole(uniform: Tensor, most: Tensor) -> Tensor:
    """Whole numbers from 0 to `most` from numbers between 0 and 1."""
    return (uniform * (most + 1)).long()


def _check_features(features: Tensor, mask: Tensor) -> None:
    check_tensor(features, "features")
    if features.dim() != 3 or not features.numel():
        raise ValueError(f"features: expected shape (B, T, D), got {tuple(features.shape)}")
    check_floats(features, "features")
    check_bools(mask, "mask", features.shape[:2])
