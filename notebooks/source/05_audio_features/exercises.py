"""Notebook 05: the mel filter bank, mixing at a signal-to-noise ratio."""

import random

import numpy as np
import torch

from course_utils.exercises import Exercise, difference, ideas
from course_utils.exercises.draws import draws, float64

# 05.1 -----------------------------------------------------------------------------------------


def mel(hertz):
    return 2595 * np.log10(1 + np.asarray(hertz, dtype=float) / 700)


def hertz(mels):
    return 700 * (10 ** (np.asarray(mels, dtype=float) / 2595) - 1)


def triangles(corners, bins):
    """Each triangle is 0, 1, 0 at three neighbouring corners and straight between them."""
    tops = np.eye(len(corners))[1:-1]
    rows = [np.interp(bins, corners, top) for top in tops]
    return torch.from_numpy(np.array(rows).reshape(len(tops), len(bins)))


def bins_of(n_fft, rate):
    return np.arange(n_fft // 2 + 1) * rate / n_fft


def mel_filters(n_mels, n_fft, rate):
    corners = hertz(np.linspace(0, mel(rate / 2), n_mels + 2))
    return triangles(corners, bins_of(n_fft, rate))


def _filter_cases(seed=1):
    yield 1, 4, 8000
    yield 2, 8, 8000
    yield 3, 16, 8000
    yield 2, 9, 6000  # an odd window: the last bin lies below half the rate
    yield 5, 64, 16000
    yield 10, 128, 8000
    yield 40, 256, 8000
    yield 80, 400, 16000
    draw = random.Random(seed)
    for _ in range(3):
        yield draw.randint(2, 20), 2 * draw.randint(32, 200), 1000 * draw.randint(6, 44)


def _by_hertz(n_mels, n_fft, rate):
    return triangles(np.linspace(0, rate / 2, n_mels + 2), bins_of(n_fft, rate))


def _whole_bins(n_mels, n_fft, rate, turn=np.floor, more=0):
    """Corners moved to bins, as in a recipe that is often copied."""
    corners = hertz(np.linspace(0, mel(rate / 2), n_mels + 2))
    places = turn((n_fft + more) * corners / rate).astype(int)
    filters = torch.zeros(n_mels, n_fft // 2 + 1, dtype=torch.float64)
    for m, (left, middle, right) in enumerate(zip(places, places[1:], places[2:])):
        for k in range(left, min(middle, n_fft // 2 + 1)):
            filters[m, k] = (k - left) / (middle - left)
        for k in range(middle, min(right, n_fft // 2 + 1)):
            filters[m, k] = (right - k) / (right - middle)
    return filters


def _bins_to_the_end(n_mels, n_fft, rate):
    """One bin too few in the count, so that the last one is half the rate in any case."""
    corners = hertz(np.linspace(0, mel(rate / 2), n_mels + 2))
    return triangles(corners, np.arange(n_fft // 2 + 1) * rate / (n_fft + 1))


def _whole_rate_bins(n_mels, n_fft, rate):
    corners = hertz(np.linspace(0, mel(rate / 2), n_mels + 2))
    return triangles(corners, np.linspace(0, rate, n_fft // 2 + 1))


def _whole_rate(n_mels, n_fft, rate):
    corners = hertz(np.linspace(0, mel(rate), n_mels + 2))
    return triangles(corners, bins_of(n_fft, rate))


def _few_corners(n_mels, n_fft, rate):
    corners = hertz(np.linspace(0, mel(rate / 2), n_mels + 1))
    return triangles(corners, bins_of(n_fft, rate))


def _few_corners_kept(n_mels, n_fft, rate):
    """With a last triangle that has no right corner."""
    filters = _few_corners(n_mels, n_fft, rate)
    return torch.cat([filters, filters.new_zeros(1, filters.shape[1])])


def _half(n_mels, n_fft, rate, side):
    """`side` 0 keeps what lies left of the middle corner, 1 what lies right of it."""
    middle = hertz(np.linspace(0, mel(rate / 2), n_mels + 2))[1:-1, None]
    right = torch.from_numpy(bins_of(n_fft, rate) > middle)
    return mel_filters(n_mels, n_fft, rate) * (right if side else ~right)


def _no_clamp(n_mels, n_fft, rate):
    corners = hertz(np.linspace(0, mel(rate / 2), n_mels + 2))[:, None]
    left, middle, right, f = corners[:-2], corners[1:-1], corners[2:], bins_of(n_fft, rate)
    return torch.from_numpy(
        np.minimum((f - left) / (middle - left), (right - f) / (right - middle))
    )


def _boxes(n_mels, n_fft, rate):
    return (mel_filters(n_mels, n_fft, rate) > 0).double()


def _in_mel(n_mels, n_fft, rate):
    """Straight on the mel scale, and not on that of Hz."""
    return triangles(np.linspace(0, mel(rate / 2), n_mels + 2), mel(bins_of(n_fft, rate)))


def _natural(n_mels, n_fft, rate):
    """The natural logarithm there, the power of ten back."""
    corners = hertz(np.linspace(0, 2595 * np.log(1 + rate / 2 / 700), n_mels + 2))
    return triangles(corners, bins_of(n_fft, rate))


def _by_area(n_mels, n_fft, rate):
    corners = torch.from_numpy(hertz(np.linspace(0, mel(rate / 2), n_mels + 2)))
    return mel_filters(n_mels, n_fft, rate) * 2 / (corners[2:] - corners[:-2])[:, None]


def _by_sum(n_mels, n_fft, rate):
    filters = mel_filters(n_mels, n_fft, rate)
    return filters / filters.sum(1, keepdim=True)


def _by_largest(n_mels, n_fft, rate):
    filters = mel_filters(n_mels, n_fft, rate)
    return filters / filters.amax(1, keepdim=True)


def _stay_in_mel(n_mels, n_fft, rate):
    return triangles(np.linspace(0, mel(rate / 2), n_mels + 2), bins_of(n_fft, rate))


def _differ(got, expected):
    """What differs in words; the rounding of float32, which slopes make larger, by its name."""
    words = difference(got, expected)
    rough = words and getattr(got, "dtype", "") == "float32" and got.shape == expected.shape
    if rough and max(abs(a - b) for a, b in zip(got.flat, expected.flat)) < 1e-3:
        return (
            "the numbers are right but for the rounding of float32. Make corners and frequencies"
            " with dtype=torch.float64"
        )
    return words


MEL_FILTERS = Exercise(
    key="05.1",
    verified=True,
    reference=mel_filters,
    cases=_filter_cases,
    compare=_differ,
    returns="a row for each triangle, a column for each frequency of the spectrum",
    misconceptions=(
        *ideas(
            "the corners are equally far apart in Hz. They are so in mel: take their places"
            " between 0 and the mel of half the rate, then go back to Hz.",
            _by_hertz,
        ),
        *ideas(
            "the corners are still in mel, the frequencies in Hz. Bring the corners back to Hz.",
            _stay_in_mel,
        ),
        *ideas("the slopes are straight in mel. (05.2) divides distances in Hz.", _in_mel),
        *ideas(
            "the corners are rounded to whole bins. Take the triangle's value at each bin's own"
            " frequency, k * rate / n_fft.",
            lambda n_mels, n_fft, rate: _whole_bins(n_mels, n_fft, rate, more=1),
            lambda n_mels, n_fft, rate: _whole_bins(n_mels, n_fft, rate),
            lambda n_mels, n_fft, rate: _whole_bins(n_mels, n_fft, rate, turn=np.round),
        ),
        *ideas(
            "the frequencies of the bins are others: bin k is k * rate / n_fft Hz, from 0 to half"
            " the rate.",
            _bins_to_the_end,
            _whole_rate_bins,
        ),
        *ideas(
            "the highest corner lies at the rate. It is half the rate: above it a spectrum has no"
            " bins.",
            _whole_rate,
        ),
        *ideas(
            "the triangles are scaled, by their area or their sum. Here each is 1 at its top.",
            _by_area,
            _by_sum,
            _by_largest,
        ),
        *ideas(
            "half of each triangle is missing: it rises to the middle corner and falls to the"
            " next.",
            lambda n_mels, n_fft, rate: _half(n_mels, n_fft, rate, 0),
            lambda n_mels, n_fft, rate: _half(n_mels, n_fft, rate, 1),
        ),
        *ideas("outside its corners a triangle is below 0. There it is 0.", _no_clamp),
        *ideas(
            "there are too few corners: n_mels triangles need n_mels + 2, because neighbours share"
            " them.",
            _few_corners,
            _few_corners_kept,
        ),
        *ideas(
            "the logarithm is the natural one. (05.1) takes that to the base of ten, math.log10.",
            _natural,
        ),
        *ideas(
            "each filter is 1 between its corners. It is a triangle, 1 only at the middle one.",
            _boxes,
        ),
    ),
)


# 05.2 -----------------------------------------------------------------------------------------


def mix_at_snr(sound, noise, snr_db, mask):
    """Sound by sound, with no more samples than it has."""
    mixed = torch.zeros_like(sound)
    for i, here in enumerate(mask):
        clean, other = sound[i][here], noise[i][here]
        energy = other.square().sum()
        if energy > 0:
            wanted = clean.square().sum() / 10 ** (snr_db[i] / 10)
            other = other * (wanted / energy).sqrt()
        mixed[i, here] = clean + other
    return mixed


def _mix_cases(seed=2):
    yes = torch.tensor
    yield *float64([[3.0, -3.0]], [[1.0, 1.0]], [20.0]), yes([[True, True]])
    yield *float64([[2.0, 4.0, 9.0]], [[3.0, 1.0, 7.0]], [10.0]), yes([[True, True, False]])
    yield *float64([[1.0, 2.0]], [[2.0, -5.0]], [-6.0]), yes([[True, True]])
    yield *float64([[0.0, 0.0, 0.0]], [[2.0, -5.0, 1.0]], [3.0]), yes([[True, True, True]])
    yield *float64([[1.0, 5.0, 2.0]], [[0.0, 0.0, 0.0]], [3.0]), yes([[True, True, True]])
    yield (
        *float64([[1.0, 5.0], [2.0, 3.0]], [[1.0, 2.0], [4.0, 5.0]], [0.0, 5.0]),
        yes([[True, True], [False, False]]),
    )
    draw = draws(seed)
    for B, S in ((1, 3), (2, 2), (2, 5), (3, 8), (4, 6)):
        lengths = torch.randint(1, S + 1, (B,), generator=torch.Generator().manual_seed(B * S))
        yield draw(B, S), 3 * draw(B, S), 10 * draw(B), torch.arange(S) < lengths[:, None]


def _mean(values, mask):
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def _mixed(sound, noise, mask, ratio, strong=None, weak=None):
    """Mixed by these powers (None: the right ones) at a ratio of powers (B,)."""
    strong = _mean(sound**2, mask) if strong is None else strong
    weak = _mean(noise**2, mask) if weak is None else weak
    scale = torch.where(weak > 0, (strong / (weak * ratio).clamp(min=1e-30)).sqrt(), 0)
    return (sound + scale[:, None] * noise) * mask


def _no_root(sound, noise, snr_db, mask):
    strong, weak = ((x**2 * mask).sum(1) for x in (sound, noise))
    scale = strong / (weak * 10 ** (snr_db / 10)).clamp(min=1e-30)
    return (sound + scale[:, None] * noise) * mask


def _plain_ratio(sound, noise, snr_db, mask):
    strong, weak = _mean(sound**2, mask), _mean(noise**2, mask)
    scale = (strong / weak.clamp(min=1e-30) / snr_db).sqrt()  # NaN where snr_db is negative
    scale = torch.where(weak > 0, scale, 0)
    return torch.where(mask, sound + scale[:, None] * noise, 0)


def _along_samples(sound, noise, snr_db, mask):
    strong, weak = _mean(sound**2, mask), _mean(noise**2, mask)
    scale = (strong / (weak * 10 ** (snr_db / 10)).clamp(min=1e-30)).sqrt()
    return (sound + torch.where(weak > 0, scale, 0) * noise) * mask


def _ratio_along_samples(sound, noise, snr_db, mask):
    """The powers have a second axis, the ratio has none."""
    strong, weak = (_mean(x**2, mask)[:, None] for x in (sound, noise))
    scale = (strong / (weak * 10 ** (snr_db / 10)).clamp(min=1e-30)).sqrt()
    return (sound + torch.where(weak > 0, scale, 0) * noise) * mask


def _unit_noise(sound, noise, snr_db, mask):
    strong = (sound**2 * mask).sum(1) / mask.sum(1).clamp(min=1)
    scale = (strong / 10 ** (snr_db / 10)).sqrt()
    return (sound + scale[:, None] * noise) * mask


def _any_sound(sound, noise, snr_db, mask):
    weak = (noise**2 * mask).sum(1) / mask.sum(1).clamp(min=1)
    scale = torch.where(weak > 0, 1 / (weak * 10 ** (snr_db / 10)).clamp(min=1e-30).sqrt(), 0)
    return (sound + scale[:, None] * noise) * mask


def _sound_scaled(sound, noise, snr_db, mask):
    strong, weak = ((x**2 * mask).sum(1) for x in (sound, noise))
    scale = (weak * 10 ** (snr_db / 10) / strong.clamp(min=1e-30)).sqrt()
    return (scale[:, None] * sound + noise) * mask


def _one_scale(sound, noise, snr_db, mask):
    strong, weak = ((x**2 * mask).sum() for x in (sound, noise))
    scale = (strong / (weak * 10 ** (snr_db / 10)).clamp(min=1e-30)).sqrt()
    return (sound + scale[:, None] * noise) * mask


def _nan(sound, noise, snr_db, mask):
    strong, weak = ((x**2 * mask).sum(1) / mask.sum(1) for x in (sound, noise))
    scale = (strong / (weak * 10 ** (snr_db / 10))).sqrt()
    return torch.where(mask, sound + scale[:, None] * noise, 0)


def _amplitude(sound, noise, snr_db, mask):
    strong, weak = _mean(sound.abs(), mask), _mean(noise.abs(), mask)
    return _mixed(sound, noise, mask, 10 ** (snr_db / 10), strong, weak)


def _amplitude_squared(sound, noise, snr_db, mask):
    strong, weak = _mean(sound.abs(), mask) ** 2, _mean(noise.abs(), mask) ** 2
    return _mixed(sound, noise, mask, 10 ** (snr_db / 10), strong, weak)


def _over_all(sound, noise, snr_db, mask):
    strong, weak = (sound**2).mean(1), (noise**2).mean(1)
    return _mixed(sound, noise, mask, 10 ** (snr_db / 10), strong, weak)


def _noise_over_all(sound, noise, snr_db, mask):
    return _mixed(sound, noise, mask, 10 ** (snr_db / 10), weak=(noise**2).mean(1))


def _sound_over_all(sound, noise, snr_db, mask):
    return _mixed(sound, noise, mask, 10 ** (snr_db / 10), strong=(sound**2).mean(1))


def _padded(sound, noise, snr_db, mask):
    """What stands in the padding stays there."""
    mixed = _mixed(sound, noise, mask, 10 ** (snr_db / 10))
    weak = _mean(noise**2, mask)
    scale = (_mean(sound**2, mask) / (weak * 10 ** (snr_db / 10)).clamp(min=1e-30)).sqrt()
    scale = torch.where(weak > 0, scale, 0)
    return torch.where(mask, mixed, sound + scale[:, None] * noise)


def _page_batch():
    draw = torch.Generator().manual_seed(0)
    sound, noise = (torch.randn(64, 8000, generator=draw) for _ in range(2))
    lengths = torch.randint(3000, 8001, (64,), generator=draw)
    return sound, noise, torch.linspace(-5, 20, 64), torch.arange(8000) < lengths[:, None]


MIX_AT_SNR = Exercise(
    key="05.2",
    verified=True,
    reference=mix_at_snr,
    cases=_mix_cases,
    batch=_page_batch,
    returns="one mixed sound per row, as long as the batch",
    misconceptions=(
        *ideas(
            "10 ** (snr / 20) is a ratio of amplitudes. Here powers are divided, and the root is"
            " taken afterwards: 10 ** (snr / 10).",
            lambda x, n, db, m: _mixed(x, n, m, 10 ** (db / 20)),
        ),
        *ideas(
            "the ratio of powers multiplies the noise. A factor on the samples comes squared into"
            " the power: take the root.",
            _no_root,
        ),
        *ideas(
            "the power is the mean of the absolute samples. It is the mean of their squares.",
            _amplitude,
            _amplitude_squared,
        ),
        *ideas(
            "a larger snr gives more noise. It says how far the sound is above the noise.",
            lambda x, n, db, m: _mixed(x, n, m, 10 ** (-db / 10)),
        ),
        *ideas(
            "decibels are used as a plain ratio: 20 dB are a ratio of 100.",
            _plain_ratio,
            lambda x, n, db, m: _mixed(x, n, m, torch.exp(db / 10)),
        ),
        *ideas(
            "the power is taken over the padding, too. What stands there is no sound: count under"
            " the mask alone, for sound and noise.",
            _over_all,
            _noise_over_all,
            _sound_over_all,
        ),
        *ideas(
            "one of the two powers is not used: a soft sound needs a soft noise, and the noise is"
            " divided by the root of its own power.",
            _unit_noise,
            _any_sound,
        ),
        *ideas(
            "the factors are lined up with the samples. There is one for each row: give them a"
            " second axis, [:, None].",
            _along_samples,
            _ratio_along_samples,
        ),
        *ideas("the sound is scaled. It stays as it is, and the noise is scaled.", _sound_scaled),
        *ideas(
            "all rows share one power. Each sound has its own: sum over the last axis.", _one_scale
        ),
        *ideas("there is noise in the padding. It stays 0 there.", _padded),
        *ideas(
            "silence divides by 0: noise without power leaves the sound as it is, and a row without"
            " samples gives zeros.",
            _nan,
        ),
    ),
)

EXERCISES = [MEL_FILTERS, MIX_AT_SNR]
