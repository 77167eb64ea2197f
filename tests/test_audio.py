"""Sounds become features: against librosa, transformers, SciPy and sums by hand; under masks, with
NaN in the padding, one by one and together.

librosa's numbers are stored, so that they are compared without it. What made them:
    python tests/test_audio.py
"""

import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import torch
from torch.nn.functional import adaptive_avg_pool1d
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from course_utils.audio import (
    band_features,
    dct,
    frames,
    log_mel,
    mel_filters,
    mfcc,
    mfcc_features,
    power_spectrogram,
)
from course_utils.masks import pad

STORED = Path(__file__).with_name("librosa_numbers.json")
BANKS = [
    {"sample_rate": rate, "n_fft": n_fft, "n_mels": n_mels, "norm": norm, "mel_scale": scale}
    for rate, n_fft, n_mels in ((8_000, 256, 40), (16_000, 400, 80))
    for norm in ("slaney", None)
    for scale in ("slaney", "htk")
]
LENGTHS = [1_600, 256, 0, 915, 1_599]
VECTORS, TOKENS = (band_features, mfcc_features), (frames, power_spectrogram, log_mel, mfcc)


def noise(dtype=torch.float64):
    """Five sounds of LENGTHS, one of them missing, and their mask."""
    sound = torch.randn(5, 1_600, generator=torch.Generator().manual_seed(0), dtype=dtype) / 10
    mask = torch.arange(1_600) < torch.tensor(LENGTHS)[:, None]
    return torch.where(mask, sound, 0), mask


def chirp():
    """A rising tone with an echo, the same numbers anywhere."""
    time = np.arange(4_000) / 8_000
    tone = np.sin(2 * np.pi * (200 * time + 1_500 * time**2))
    return (0.5 * tone + 0.2 * np.roll(tone, 700)) * np.hanning(4_000)


# ---- librosa ----


def librosas() -> dict:
    """Its numbers: of each filter bank the entries that are not zero; the chirp's MFCC."""
    import librosa

    banks = []
    for bank in BANKS:
        filters = librosa.filters.mel(
            sr=bank["sample_rate"],
            n_fft=bank["n_fft"],
            n_mels=bank["n_mels"],
            norm=bank["norm"],
            htk=bank["mel_scale"] == "htk",
            dtype=np.float64,
        )
        places = filters.nonzero()
        values = [float(f"{value:.9g}") for value in filters[places]]
        banks.append([[int(i) for i in place] for place in places] + [values])
    mel = librosa.feature.melspectrogram(
        y=chirp(), sr=8_000, n_fft=256, hop_length=80, n_mels=40, pad_mode="reflect"
    )
    decibels = librosa.power_to_db(mel, top_db=None)
    coefficients = librosa.feature.mfcc(S=decibels, n_mfcc=13).T[::10]
    return {
        "librosa": librosa.__version__,
        "made by": "python tests/test_audio.py",
        "banks": banks,
        "mfcc of every tenth frame": [[round(float(x), 7) for x in row] for row in coefficients],
    }


@pytest.fixture(scope="module")
def stored():
    return json.loads(STORED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", range(len(BANKS)))
def test_mel_filters_are_librosas(number, stored):
    bank = BANKS[number]
    rows, columns, values = stored["banks"][number]
    expected = torch.zeros(bank["n_mels"], bank["n_fft"] // 2 + 1, dtype=torch.float64)
    expected[rows, columns] = torch.tensor(values, dtype=torch.float64)
    ours = mel_filters(**bank)
    assert ours.dtype == torch.float64 and ours.shape == expected.shape
    # stored to nine digits
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-12)


def test_the_coefficients_of_a_chirp_are_librosas(stored):
    sound = torch.from_numpy(chirp())[None]
    coefficients, _ = mfcc(sound, torch.ones_like(sound, dtype=torch.bool))
    expected = torch.tensor(stored["mfcc of every tenth frame"], dtype=torch.float64)
    assert expected.shape == (6, 13)
    # librosa's spectrum is that of float32 in between
    torch.testing.assert_close(
        coefficients[0, ::10] * 10 / math.log(10), expected, rtol=1e-5, atol=1e-4
    )


def test_what_is_stored_is_what_librosa_gives(stored):
    librosa = pytest.importorskip("librosa")
    if librosa.__version__ != stored["librosa"]:
        pytest.skip(f"the numbers are those of librosa {stored['librosa']}")
    fresh = librosas()
    for name in ("banks", "mfcc of every tenth frame"):
        for ours, theirs in zip(stored[name], fresh[name], strict=True):
            np.testing.assert_allclose(np.hstack(ours), np.hstack(theirs), rtol=1e-6, atol=1e-6)


# ---- transformers ----


@pytest.mark.parametrize("norm", ["slaney", None])
@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_filters_are_those_of_transformers(norm, scale):
    theirs = mel_filter_bank(257, 64, 50, 7_600, 16_000, norm=norm, mel_scale=scale)
    ours = mel_filters(
        64, sample_rate=16_000, n_fft=512, f_min=50, f_max=7_600, norm=norm, mel_scale=scale
    )
    np.testing.assert_allclose(ours.numpy(), theirs.T, rtol=1e-9, atol=1e-12)


# of Whisper's front end, and of the Audio Spectrogram Transformer's scale, range and floor
WHISPER = {"n_mels": 80, "sample_rate": 16_000, "n_fft": 400, "hop_length": 160}
AST_LIKE = {"n_mels": 64, "sample_rate": 16_000, "n_fft": 512, "hop_length": 160, "f_min": 20.0}
AST_LIKE |= {"norm": None, "mel_scale": "htk", "floor": 2**-23}


@pytest.mark.parametrize("options", [WHISPER, AST_LIKE], ids=["Whisper", "AST-like"])
def test_log_mel_is_that_of_transformers(options):
    draw = torch.Generator().manual_seed(0)
    sound = torch.randn(2, 16_000, generator=draw, dtype=torch.float64) / 10
    mask = torch.arange(16_000) < torch.tensor([16_000, 9_001])[:, None]
    n_fft, norm = options["n_fft"], options.get("norm", "slaney")
    filters = mel_filter_bank(
        n_fft // 2 + 1,
        options["n_mels"],
        options.get("f_min", 0.0),
        8_000,
        16_000,
        norm=norm,
        mel_scale=options.get("mel_scale", "slaney"),
    )
    ours, heard = log_mel(sound, mask, **options)
    single, _ = log_mel(sound.float(), mask, **options)
    assert heard.sum(1).tolist() == [101, 57] and single.dtype == torch.float32
    for i, length in enumerate([16_000, 9_001]):
        theirs = spectrogram(
            sound[i, :length].numpy(),
            window_function(n_fft, "hann"),
            n_fft,
            options["hop_length"],
            power=2.0,
            mel_filters=filters,
            mel_floor=options.get("floor", 1e-10),
            log_mel="log",
            dtype=np.float64,
        ).T
        np.testing.assert_allclose(ours[i, heard[i]].numpy(), theirs, rtol=0, atol=1e-6)
        np.testing.assert_allclose(single[i, heard[i]].numpy(), theirs, rtol=0, atol=1e-4)


def test_whispers_feature_extractor_is_one_line_more():
    """It takes log10, leaves out the last frame, cuts at 8 below the loudest, and scales."""
    extractor = WhisperFeatureExtractor(feature_size=80)
    sound = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(1)) / 10
    theirs = extractor(
        sound[0].numpy(), sampling_rate=16_000, padding="longest", return_tensors="pt"
    )["input_features"]
    ours, _ = log_mel(sound, torch.ones_like(sound, dtype=torch.bool), **WHISPER)
    tens = ours[:, :-1] / math.log(10)
    scaled = (tens.maximum(tens.max() - 8) + 4) / 4  # (1, T, 80)
    torch.testing.assert_close(scaled, theirs.mT, rtol=0, atol=5e-6)


# ---- by hand, and SciPy ----


def test_a_cosine_stands_in_its_bin_and_half_as_high_beside_it():
    """A Hann window of n sums to n / 2: A cos gives (A n / 4)^2, and a quarter of it beside."""
    time = torch.arange(2_560, dtype=torch.float64)
    sound = 0.3 * torch.cos(2 * torch.pi * 10 / 256 * time)[None]
    power, heard = power_spectrogram(sound, torch.ones_like(sound, dtype=torch.bool))
    assert power.shape == (1, 33, 129) and heard.all()
    middle = power[0, 16]
    expected = torch.zeros(129, dtype=torch.float64)
    expected[9:12] = torch.tensor([0.25, 1.0, 0.25], dtype=torch.float64) * (0.3 * 256 / 4) ** 2
    torch.testing.assert_close(middle, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_fft, hop_length", [(256, 80), (200, 200), (255, 64), (2, 1)])
def test_frames_go_on_as_a_mirror_at_both_ends(n_fft, hop_length):
    sound, mask = noise()
    pieces, heard = frames(sound, mask, n_fft=n_fft, hop_length=hop_length)
    for i, length in enumerate(LENGTHS):
        count = 1 + length // hop_length if length else 0
        assert heard[i].tolist() == [True] * count + [False] * (heard.shape[1] - count)
        if not length:
            continue
        mirrored = np.pad(sound[i, :length].numpy(), n_fft // 2 + 1, mode="reflect")[1:]
        expected = [mirrored[t * hop_length :][:n_fft] for t in range(count)]
        assert np.array_equal(pieces[i, :count].numpy(), np.stack(expected))


def test_power_is_that_of_torchs_stft():
    sound, mask = noise()
    window = torch.hann_window(256, dtype=torch.float64)
    power, heard = power_spectrogram(sound, mask)
    for i in (0, 1, 3, 4):
        expected = torch.stft(sound[i, : LENGTHS[i]], 256, 80, window=window, return_complex=True)
        torch.testing.assert_close(power[i, heard[i]], expected.abs().mT ** 2)


@pytest.mark.parametrize("count", [None, 1, 13, 40])
@pytest.mark.parametrize("shape", [(40,), (5, 40), (2, 3, 40)])
def test_dct_is_scipys(count, shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = dct(values, count)
    expected = scipy.fft.dct(values.numpy(), norm="ortho")[..., :count]
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-12)
    single = dct(values.float(), count)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=0, atol=1e-5)


def test_coefficients_are_the_dct_of_log_mel():
    sound, mask = noise()
    options = {"n_mels": 20, "n_fft": 200, "hop_length": 100, "f_min": 100.0, "norm": None}
    energies, heard = log_mel(sound, mask, **options)
    coefficients, also = mfcc(sound, mask, n_mfcc=7, **options)
    assert torch.equal(heard, also) and coefficients.shape == (5, 17, 7)
    expected = scipy.fft.dct(energies.numpy(), norm="ortho")[..., :7]
    np.testing.assert_allclose(coefficients.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [256, 640, 1_599, 1_600])
def test_eighths_are_those_of_torchs_adaptive_pooling(length):
    sound, mask = noise()
    sound, mask = sound[:1, :length], mask[:1, :length]
    tokens, _ = mfcc(sound, mask)
    expected = adaptive_avg_pool1d(tokens[0].T, 8).flatten()
    torch.testing.assert_close(mfcc_features(sound, mask)[0], expected)


# ---- what holds for all ----


@pytest.mark.parametrize("function", VECTORS + TOKENS, ids=lambda function: function.__name__)
def test_together_as_one_by_one_whatever_stands_in_the_padding(function):
    sound, mask = noise()
    together = function(sound, mask)
    vectors, heard = together if function in TOKENS else (together, mask.any(1))
    assert vectors.dtype == torch.float64 and heard.dtype == torch.bool
    # what is missing is zero, and marked
    assert not vectors[~heard].any() and not vectors[2].any() and not heard[2].any()
    for i, length in enumerate(LENGTHS):
        if length:
            alone = function(sound[i : i + 1, :length], mask[i : i + 1, :length])
            first = alone[0][0] if function in TOKENS else alone[0]
            there = vectors[i][heard[i]] if function in TOKENS else vectors[i]
            torch.testing.assert_close(first, there)
    for wrong in (math.nan, math.inf, 1e30):
        spoiled = function(sound.masked_fill(~mask, wrong), mask)
        assert torch.equal(spoiled[0] if function in TOKENS else spoiled, vectors)
    longer = [torch.cat([x, x.new_zeros(5, 700)], 1) for x in (sound, mask)]
    more = function(*longer)
    more = more[0][:, : vectors.shape[1]] if function in TOKENS else more
    torch.testing.assert_close(more, vectors)


@pytest.mark.parametrize("function", VECTORS + TOKENS, ids=lambda function: function.__name__)
def test_slopes_are_right_and_do_not_come_from_the_padding(function):
    sound, mask = noise()
    rows = [1, 2, 3]
    sound, mask = sound[rows, :960], mask[rows, :960]
    weights = torch.Generator().manual_seed(1)

    def total(sound):
        out = function(sound, mask)
        out = out[0] if function in TOKENS else out
        weights.manual_seed(1)
        return (out * torch.rand(out.shape, generator=weights, dtype=out.dtype)).sum()

    spoiled = sound.masked_fill(~mask, math.nan).requires_grad_()
    (slope,) = torch.autograd.grad(total(spoiled), spoiled)
    assert slope.isfinite().all() and not slope[~mask].any() and slope[mask].any()
    # the slope along a direction, by differences
    way = torch.where(mask, torch.rand(mask.shape, dtype=sound.dtype, generator=weights) - 0.5, 0)
    step = 1e-6
    by_hand = (total(sound + step * way) - total(sound - step * way)) / (2 * step)
    torch.testing.assert_close((slope * way).sum(), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", VECTORS + TOKENS, ids=lambda function: function.__name__)
def test_silence_is_finite_and_a_batch_of_nothing_is_zero(function):
    silence = torch.zeros(1, 400, requires_grad=True)
    out = function(silence, torch.ones(1, 400, dtype=torch.bool))
    out = out[0] if function in TOKENS else out
    (slope,) = torch.autograd.grad(out.sum(), silence)
    assert out.isfinite().all() and slope.isfinite().all() and out.dtype == torch.float32
    for length in (1, 5, 300):
        nothing = function(torch.full((2, length), math.nan), torch.zeros(2, length) > 0)
        values = nothing[0] if function in TOKENS else nothing
        assert len(values) == 2 and not values.any()
        assert function in VECTORS or nothing[1].shape == (2, 1 + length // 80)


def test_silence_is_at_the_floor():
    silence, there = torch.zeros(1, 400), torch.ones(1, 400, dtype=torch.bool)
    for floor in (1e-10, 0.5):
        energies, _ = log_mel(silence, there, floor=floor)
        torch.testing.assert_close(energies, torch.full((1, 6, 40), math.log(floor)))


SOUND, HEARD = torch.rand(2, 600), torch.ones(2, 600, dtype=torch.bool)


@pytest.mark.parametrize("function", VECTORS + TOKENS, ids=lambda function: function.__name__)
@pytest.mark.parametrize(
    "sound, mask, error, words",
    [
        (SOUND[:, :100], HEARD[:, :100], ValueError, "sound 0 has 100 samples, .* window of 256"),
        (SOUND * math.nan, HEARD, ValueError, "sound 0 holds NaN or infinity under its mask"),
        (SOUND.half(), HEARD, TypeError, "sound: expected floats from -1 to 1, got torch.float16"),
        (SOUND.short(), HEARD, TypeError, "divide int16 by 32768"),
        (SOUND[0], HEARD[0], ValueError, r"sound: expected shape \(B, S\), .* got \(600,\)"),
        (SOUND, HEARD.float(), TypeError, "mask: expected bool .* got torch.float32"),
        (SOUND, HEARD[:, :1], TypeError, r"mask: expected bool of shape \(2, 600\)"),
        (SOUND.numpy(), HEARD, TypeError, "sound: expected a tensor, got ndarray"),
    ],
)
def test_what_is_no_sound_is_refused_by_name(function, sound, mask, error, words):
    with pytest.raises(error, match=words):
        function(sound, mask)


@pytest.mark.parametrize("spoil", [math.nan, math.inf, -math.inf])
def test_the_sound_that_is_broken_is_named(spoil):
    sound, mask = noise()
    sound[3, 914] = spoil
    with pytest.raises(ValueError, match="sound 3 holds NaN or infinity"):
        log_mel(sound, mask)


def test_padding_before_the_sound_is_refused():
    sound, mask = noise()
    with pytest.raises(ValueError, match="what is there first and padding after it in each row"):
        log_mel(sound.flip(1), mask.flip(1))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"n_fft": 1}, "n_fft: expected a whole number of at least 2, got 1"),
        ({"n_fft": 256.0}, "n_fft: expected a whole number of at least 2, got 256.0"),
        ({"hop_length": 0}, "hop_length: expected a whole number of at least 1, got 0"),
        ({"n_mels": 0}, "n_mels: expected a whole number of at least 1, got 0"),
        ({"f_min": 3_000.0, "f_max": 2_000.0}, "f_min < f_max <= 4000 Hz, .* 3000.0 and 2000.0"),
        ({"f_max": 8_000.0}, "f_max <= 4000 Hz, half of the sampling rate, got 0.0 and 8000.0"),
        ({"norm": 1}, r"norm: expected one of \['slaney', None\], got 1"),
        ({"mel_scale": "bark"}, r"mel_scale: expected one of \['slaney', 'htk'\], got 'bark'"),
        ({"floor": 0.0}, "floor: expected a number above 0, got 0.0"),
        ({"n_mfcc": 41}, "count: expected a whole number from 1 to 40, got 41"),
    ],
)
def test_options_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        mfcc(SOUND, HEARD, **options)


def test_what_the_dct_refuses():
    for wrong, words in (([1.0], "tensor, got list"), (torch.arange(3), "floats, got torch.int64")):
        with pytest.raises(TypeError, match=f"values: expected .*{words}"):
            dct(wrong)
    with pytest.raises(ValueError, match="count: expected a whole number from 1 to 3, got 4"):
        dct(torch.rand(3), 4)


def test_filters_without_a_frequency_are_told():
    with pytest.warns(UserWarning, match="of 200 mel filters hold none of the 129 frequencies"):
        mel_filters(200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mel_filters()


def test_a_spoken_digit_goes_all_the_way():
    from course_utils.datasets import Digits

    clips = [Digits("train")[i]["audio"] for i in range(4)]
    vectors = mfcc_features(*pad(clips))
    assert vectors.shape == (4, 104) and vectors.isfinite().all() and vectors.std(0).min() > 0


if __name__ == "__main__":
    STORED.write_text(json.dumps(librosas(), separators=(",", ":")) + "\n", encoding="utf-8")
    sys.exit(f"{STORED.name} is written")
