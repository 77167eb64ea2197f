"""Frames, spectra, mel filters and cepstra."""

import math
import warnings

import numpy as np
import torch
from torch import Tensor

from course_utils.audio.sounds import HOP, SEGMENTS, WINDOW, check_sound, lengths
from course_utils.checks import check_choice, check_floats, check_whole

ROWS = 32  # sounds whose spectra are computed together
NORMS, MEL_SCALES = ("slaney", None), ("slaney", "htk")


def frames(
    sound: Tensor, mask: Tensor, *, n_fft: int = WINDOW, hop_length: int = HOP
) -> tuple[Tensor, Tensor]:
    """Overlapping pieces of the sound, one every `hop_length` samples.

    (B, S) float and its (B, S) bool mask -> (B, T, n_fft) float, zeros where there is no frame,
    and mask (B, T) bool. A sound of n samples has 1 + n // hop_length frames, because frame t has
    sample t * hop_length in its middle: at both ends the sound goes on as its mirror image, as in
    `torch.stft`.
    Raises ValueError for a sound that is shorter than n_fft or holds NaN, for a mask with samples
    after padding, for another shape and for lengths that are no whole numbers from 1 (n_fft: from
    2), TypeError for another dtype and a mask that does not fit.
    """
    pieces, heard = _pieces(sound, mask, n_fft, hop_length)
    return torch.where(heard[..., None], pieces, 0), heard


def power_spectrogram(
    sound: Tensor, mask: Tensor, *, n_fft: int = WINDOW, hop_length: int = HOP
) -> tuple[Tensor, Tensor]:
    """The squared magnitude of the Fourier transform of each frame, under a Hann window.

    (B, S) float and its (B, S) bool mask -> (B, T, n_fft // 2 + 1) float, zeros where there is no
    frame, and mask (B, T) bool. Bin k is the frequency k / n_fft of the sampling rate. Frames, and
    what is raised: see `frames`.
    """
    pieces, heard = _pieces(sound, mask, n_fft, hop_length)
    power = _power(pieces)
    return torch.where(heard[..., None], power, 0), heard


def mel_filters(
    n_mels: int = 40,
    *,
    sample_rate: int = 8_000,
    n_fft: int = WINDOW,
    f_min: float = 0.0,
    f_max: float | None = None,
    norm: str | None = "slaney",
    mel_scale: str = "slaney",
) -> Tensor:
    """Triangles that overlap by half and stand equally far apart on the mel scale: (n_mels,
    n_fft // 2 + 1) float64, to be multiplied with a power spectrum.

    f_min, f_max  between which frequencies in Hz; None is half of the sampling rate
    norm          "slaney" divides each triangle by its area in Hz, None leaves its top at 1
    mel_scale     "slaney" is linear up to 1,000 Hz and logarithmic above; "htk" is 2595 log10(1 +
                  f / 700)

    The defaults of `norm` and `mel_scale` are librosa's; torchaudio's are None and "htk". Warns of
    triangles so narrow that they hold no frequency of the spectrum. Raises ValueError for other
    options.
    """
    top = sample_rate / 2 if f_max is None else f_max
    check_whole(1, n_mels=n_mels)
    check_whole(2, n_fft=n_fft)
    if not 0 <= f_min < top <= sample_rate / 2:
        raise ValueError(
            f"f_min, f_max: expected 0 <= f_min < f_max <= {sample_rate / 2:g} Hz, half of the"
            f" sampling rate, got {f_min!r} and {top!r}"
        )
    check_choice(NORMS, norm=norm)
    check_choice(MEL_SCALES, mel_scale=mel_scale)
    ends = _mel(np.array([f_min, top]), mel_scale)
    corners = _hertz(np.linspace(*ends, n_mels + 2), mel_scale)[:, None]
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]  # (n_mels, 1)
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    filters = np.maximum(np.minimum(rising, falling), 0)
    if empty := int((filters.max(1) == 0).sum()):
        warnings.warn(
            f"{empty} of {n_mels} mel filters hold none of the {n_fft // 2 + 1} frequencies; take"
            " a smaller n_mels or a larger n_fft",
            stacklevel=2,
        )
    return torch.from_numpy(filters * 2 / (right - left) if norm else filters)


def log_mel(
    sound: Tensor,
    mask: Tensor,
    *,
    hop_length: int = HOP,
    n_fft: int = WINDOW,
    floor: float = 1e-10,
    **options,
) -> tuple[Tensor, Tensor]:
    """The natural logarithm of the energy in each mel filter, frame by frame.

    (B, S) float and its (B, S) bool mask -> (B, T, n_mels) float, zeros where there is no frame,
    and mask (B, T) bool. Below `floor` an energy counts as `floor`. `options` are those of
    `mel_filters`: n_mels, sample_rate, f_min, f_max, norm, mel_scale. Frames, and what is raised:
    see `frames`.
    """
    if not floor > 0:
        raise ValueError(f"floor: expected a number above 0, got {floor!r}")
    pieces, heard = _pieces(sound, mask, n_fft, hop_length)
    filters = mel_filters(**options, n_fft=n_fft).to(pieces)
    # (b, T, n_fft) -> (b, T, bins) -> (b, T, n_mels), few sounds at a time: their spectra are large
    energy = torch.cat([_power(part) @ filters.T for part in pieces.split(ROWS)])
    return torch.where(heard[..., None], energy.clamp(min=floor).log(), 0), heard


def dct(values: Tensor, count: int | None = None) -> Tensor:
    """The first `count` (None: all) coefficients of the discrete cosine transform over the last
    dimension: (..., n) float -> (..., count).

    Type II, orthonormal, as `scipy.fft.dct(values, norm="ortho")`.
    Raises TypeError for what is no tensor of floats, ValueError for a `count` outside 1 to n.
    """
    check_floats(values, "values")
    n = values.shape[-1] if values.dim() else 0
    count = n if count is None else count
    check_whole(1, n, count=count)
    time, wave = (
        torch.arange(size, dtype=torch.float64, device=values.device) for size in (n, count)
    )
    basis = torch.cos(torch.pi / n * (time[:, None] + 0.5) * wave) * (2 / n) ** 0.5  # (n, count)
    basis[:, 0] /= 2**0.5
    return values @ basis.to(values)


def mfcc(sound: Tensor, mask: Tensor, *, n_mfcc: int = 13, **options) -> tuple[Tensor, Tensor]:
    """Mel-frequency cepstral coefficients: the cosine transform of `log_mel`, frame by frame.

    (B, S) float and its (B, S) bool mask -> (B, T, n_mfcc) float, zeros where there is no frame,
    and mask (B, T) bool. `options` are those of `log_mel`. librosa and torchaudio take decibels
    where this takes natural logarithms: theirs are 10 / ln 10 times as large. Raises ValueError for
    an `n_mfcc` outside 1 to n_mels, and as `log_mel` does.
    """
    energies, heard = log_mel(sound, mask, **options)
    return dct(energies, n_mfcc), heard


def mfcc_features(sound: Tensor, mask: Tensor) -> Tensor:
    """The mean of 13 cepstral coefficients in each eighth of the sound, as `mfcc` gives them by
    default.

    (B, S) float at 8 kHz and its (B, S) bool mask -> (B, 104) float. Zeros where the sound is
    missing. Neighbouring eighths may share a frame, as in `band_features`.
    Raises what `band_features` raises, and ValueError for a mask with samples after padding.
    """
    tokens, heard = mfcc(sound, mask)
    count = heard.sum(1)[:, None]  # (B, 1)
    eighth = torch.arange(SEGMENTS, device=sound.device)
    start = eighth * count // SEGMENTS  # (B, 8)
    end = -(-(eighth + 1) * count // SEGMENTS)
    time = torch.arange(tokens.shape[1], device=sound.device)
    # (B, 8, T): which frames are in which eighth
    inside = (start[..., None] <= time) & (time < end[..., None])
    weights = inside.to(tokens) / inside.sum(2, keepdim=True).clamp(min=1)
    # (B, 8, T) @ (B, T, 13) -> (B, 13, 8) -> (B, 104)
    return (weights @ tokens).transpose(1, 2).flatten(1)


# ---- parts ----


def _mel(hertz: np.ndarray, mel_scale: str) -> np.ndarray:
    if mel_scale == "htk":
        return 2595 * np.log10(1 + hertz / 700)
    # 15 mel at 1,000 Hz; above, 27 mel are a factor of 6.4
    above = 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / math.log(6.4)
    return np.where(hertz < 1000, hertz * 3 / 200, above)


def _hertz(mel: np.ndarray, mel_scale: str) -> np.ndarray:
    if mel_scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def _pieces(sound: Tensor, mask: Tensor, n_fft: int, hop_length: int) -> tuple[Tensor, Tensor]:
    """`frames` before those that are none are set to zero, as a view; finite everywhere."""
    check_sound(sound, mask)
    check_whole(2, n_fft=n_fft)
    check_whole(1, hop_length=hop_length)
    sound, count = _cleaned(sound, mask, n_fft)  # (B, S), (B, 1)
    half = n_fft // 2
    step = torch.arange(n_fft - half, device=sound.device)
    before = sound[:, (half - step[:half]).clamp(max=sound.shape[1] - 1)]  # (B, half)
    after = sound.gather(1, (count - 2 - step).clamp(min=0))  # (B, n_fft - half)
    room = sound.new_zeros(len(sound), n_fft - half)
    # the mirror image before the first sample and after each sound's own last: (B, S + n_fft)
    longer = torch.cat([before, sound, room], 1).scatter_(1, half + count + step, after)
    pieces = longer.unfold(1, n_fft, hop_length)  # (B, T, n_fft)
    time = torch.arange(pieces.shape[1], device=sound.device)
    return pieces, (time <= count // hop_length) & (count > 0)


def _power(pieces: Tensor) -> Tensor:
    window = torch.hann_window(pieces.shape[-1], dtype=pieces.dtype, device=pieces.device)
    spectrum = torch.fft.rfft(pieces * window)  # (B, T, n_fft // 2 + 1) complex
    return spectrum.real.square() + spectrum.imag.square()


def _cleaned(sound: Tensor, mask: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """The sound with zeros for padding, and how many samples each has, (B, 1) int64, once all of
    them can be used.
    """
    counts = lengths(mask)
    for i, length in enumerate(counts.tolist()):
        if 0 < length < least:
            raise ValueError(
                f"sound {i} has {length} samples, expected at least one window of {least}"
            )
    sound = torch.where(mask, sound, 0)
    low, high = sound.amin(1), sound.amax(1)  # NaN where there is one
    broken = ~(low.isfinite() & high.isfinite())
    if broken.any():
        raise ValueError(f"sound {int(broken.int().argmax())} holds NaN or infinity under its mask")
    return sound, counts[:, None]
