"""Sound files of every kind become the same tensor, or an error that says why not."""

import math

import numpy as np
import pytest
import soundfile
import torch

from course_utils.datasets.files import open_sound


def tone(rate=8_000, hertz=440, seconds=1.0):
    return 0.7 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def saved(folder, name, samples, rate=8_000, **options):
    soundfile.write(folder / name, samples, rate, **options)
    return folder / name


# the largest error of a sample, after the format's own rounding
KINDS = [
    ("wav", "PCM_U8", 1 / 128),
    ("wav", "PCM_16", 1 / 32_768),
    ("wav", "PCM_24", 2**-23),
    ("wav", "PCM_32", 1e-7),
    ("wav", "FLOAT", 1e-7),
    ("wav", "DOUBLE", 1e-7),
    ("wav", "ULAW", 0.03),
    ("aiff", "PCM_24", 2**-23),
    ("flac", "PCM_16", 1 / 32_768),
    ("flac", "PCM_24", 2**-23),
    ("ogg", "VORBIS", 0.05),
]


@pytest.mark.parametrize("suffix, subtype, error", KINDS)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_format_comes_out_as_one_channel(suffix, subtype, error, channels, tmp_path):
    if subtype not in soundfile.available_subtypes(suffix.upper()):
        pytest.skip(f"this libsndfile writes no {subtype}")
    # the others are silent, so that the mean is a part of the first
    samples = np.zeros((8_000, channels))
    samples[:, 0] = tone()
    sound = open_sound(saved(tmp_path, f"größe.{suffix}", samples, subtype=subtype), 8_000)
    assert sound.shape == (8_000,) and sound.dtype == torch.float32 and sound.is_contiguous()
    assert np.abs(sound.numpy() - tone() / channels).max() <= error


@pytest.mark.parametrize("own", [8_000, 11_025, 16_000, 44_100, 44_101, 48_000, 96_000])
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_another_rate_is_resampled(own, rate, tmp_path):
    sound = open_sound(saved(tmp_path, "a.wav", tone(own), own, subtype="FLOAT"), rate)
    assert sound.shape == (rate,) and sound.dtype == torch.float32
    # at the ends the tone breaks off
    assert np.abs(sound.numpy() - tone(rate))[200:-200].max() < 3e-3


def test_what_is_too_high_for_the_rate_is_taken_out(tmp_path):
    """3 kHz stay; 5 kHz, which 8,000 samples a second would turn into 3 kHz, go."""
    for hertz, loud in ((3_000, 0.7), (5_000, 0.0)):
        file = saved(tmp_path, f"{hertz}.wav", tone(44_100, hertz), 44_100, subtype="FLOAT")
        assert abs(open_sound(file, 8_000)[200:-200].abs().max() - loud) < 0.02


@pytest.mark.parametrize("spoil", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_what_is_no_number_is_refused(spoil, subtype, tmp_path):
    samples = np.stack([tone(), tone()], 1)
    samples[7_999, 1] = spoil
    with pytest.raises(ValueError, match="a.wav: a sound that holds NaN or infinity"):
        open_sound(saved(tmp_path, "a.wav", samples, subtype=subtype), 8_000)


def test_floats_pass_1_a_little_and_not_a_thousandfold(tmp_path):
    loud = open_sound(saved(tmp_path, "a.wav", 1.6 * tone(), subtype="FLOAT"), 8_000)
    assert abs(loud.abs().max() - 1.12) < 1e-3
    with pytest.raises(
        ValueError, match="a sound of floats up to 22,9.., .* 16 bits by 32768"
    ):
        open_sound(saved(tmp_path, "a.wav", 32_768 * tone(), subtype="FLOAT"), 8_000)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac"])
def test_a_file_without_a_sample_is_refused(suffix, tmp_path):
    with pytest.raises(ValueError, match=f"a.{suffix}: a (sound without a single sample|broken)"):
        open_sound(saved(tmp_path, f"a.{suffix}", np.zeros(0)), 8_000)


def test_one_sample_is_a_sound(tmp_path):
    for rate in (8_000, 48_000):
        assert open_sound(saved(tmp_path, "a.wav", np.array([0.5]), rate), 8_000).shape == (1,)


def broken(wav, flac):
    """{name: content} of files that are no sound, or no whole one."""
    flipped = bytearray(flac)
    flipped[len(flac) // 2] ^= 0xFF
    return {
        "empty.wav": (b"", "broken"),
        "page.wav": (b"<!doctype html><p>404</p>", "broken"),
        "noise.flac": (bytes(range(256)) * 9, "broken"),
        "header.wav": (wav[:20], "broken"),
        "half.wav": (wav[: len(wav) // 2], "cut off: its header promises more"),
        "less.wav": (wav[:-2], "cut off: its header promises more"),
        "half.flac": (flac[: len(flac) // 2], "broken"),
        "flipped.flac": (bytes(flipped), "broken"),
        "slow.wav": (with_rate(wav, 1), "a sampling rate of 1 Hz, expected 1,000 to 768,000"),
        "fast.wav": (with_rate(wav, 2**31 - 1), "rate of 2,147,483,647 Hz, expected 1,000 to"),
        "no rate.wav": (with_rate(wav, 0), "broken"),
    }


def with_rate(wav, rate):
    """The header of a WAV has the sampling rate in its bytes 24 to 27."""
    return wav[:24] + rate.to_bytes(4, "little") + wav[28:]


@pytest.mark.parametrize("name", broken(b"0" * 99, b"0" * 99))
def test_a_broken_file_is_named(name, tmp_path):
    wav, flac = (saved(tmp_path, f"a.{suffix}", tone()).read_bytes() for suffix in ("wav", "flac"))
    content, words = broken(wav, flac)[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: .*{words}"):
        open_sound(tmp_path / name, 8_000)


@pytest.mark.parametrize("promised", [0, 2**32 - 1])
def test_a_header_that_does_not_know_the_length_is_no_cut(promised, tmp_path):
    wav = saved(tmp_path, "a.wav", tone()).read_bytes()
    (tmp_path / "b.wav").write_bytes(wav[:4] + promised.to_bytes(4, "little") + wav[8:])
    assert open_sound(tmp_path / "b.wav", 8_000).shape == (8_000,)


def test_a_folder_and_no_file(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(ValueError, match="a.wav: a broken sound"):
        open_sound(tmp_path / "a.wav", 8_000)
    with pytest.raises(FileNotFoundError, match="b.wav: no such file"):
        open_sound(str(tmp_path / "b.wav"), 8_000)
