"""One digit, written, spoken and typed: the course's running example.

The written digits are scikit-learn's 1,797 real scans, split by writer; the spoken ones are the clips in
data/digits, split by voice; the typed ones are words sent through a noisy channel. How hard each
modality is can be set by a dial. See data/digits/README.md for the datasheet.
"""
import json
import math
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from course_utils.datasets.collate import MODALITIES
from course_utils.runtime import DATA

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HOMOPHONES = {"one": ("won",), "two": ("to", "too"), "four": ("for", "fore"), "six": ("sicks",), "eight": ("ate",)}
SAMPLE_RATE = 8_000  # Hz
# scikit-learn's scans stand in blocks, a writer after the other; the boundaries were found by the scikit-learn MOOC.
WRITER_BLOCKS = (0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667, 1797)
SPLITS = {"train": range(0, 10), "validation": range(10, 12), "test": range(12, 14)}  # blocks


class Digits(Dataset):
    """Digits seen, heard and typed, one dict a sample.

    A sample is {"text": str or None, "image": (1, 16, 16) float or None, "audio": (S,) float at 8 kHz or None,
    "label": int 0-9, "writer": int (the block of scans it comes from), "voice": int}. Pixels are 0 for paper and 1
    for ink before noise; sound is between -1 and 1 before noise.

    Dials, with the defaults at which no modality alone is enough:
      image_noise   standard deviation of the Gaussian noise added to each of the scan's 8x8 pixels
      speech_snr    signal-to-noise ratio of the spoken digit in dB, white noise; math.inf for none
      text_error    probability that a word with a homophone is swapped for it, and of a slip at each letter
                    (dropped, replaced, or followed by a wrong one)
      shared_noise  from 0 to 1, how strongly a second digit is mixed in, by a random degree that all three share
      missing       probability per modality of being absent, for example {"audio": 0.2}

    Every sample depends on `seed`, split and index alone: the order of access does not matter, and turning one dial
    leaves what the others do as it was.
    """

    def __init__(self, split: str = "train", *, image_noise: float = 0.5, speech_snr: float = -10.0,
                 text_error: float = 0.6, shared_noise: float = 0.0, missing: dict[str, float] | None = None,
                 seed: int = 0):
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {list(SPLITS)}, got {split!r}")
        missing = dict(missing or {})
        if set(missing) - set(MODALITIES):
            raise ValueError(f"missing: expected names among {MODALITIES}, got {sorted(missing)}")
        rates = {"text_error": text_error, **{f"missing[{name!r}]": rate for name, rate in missing.items()}}
        for name, rate in rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"{name}: expected a probability between 0 and 1, got {rate!r}")
        if not (image_noise >= 0 and math.isfinite(image_noise)):
            raise ValueError(f"image_noise: expected a standard deviation of at least 0, got {image_noise!r}")
        if not 0 <= shared_noise <= 1:
            raise ValueError(f"shared_noise: expected a degree between 0 and 1, got {shared_noise!r}")
        if math.isnan(speech_snr) or speech_snr == -math.inf:
            raise ValueError(f"speech_snr: expected decibels, or math.inf for no noise, got {speech_snr!r}")
        self.split, self.seed = split, seed
        self.image_noise, self.speech_snr, self.text_error = image_noise, speech_snr, text_error
        self.shared_noise, self.missing = shared_noise, missing
        blocks = SPLITS[split]
        self._first, self._last = WRITER_BLOCKS[blocks.start], WRITER_BLOCKS[blocks.stop]
        self._scans, self._labels = _scans()
        self._clips, voices = _clips()
        self._voices = [voice["voice"] for voice in voices if voice["split"] == split]

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, index: int) -> dict:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside the {len(self)} samples of split {self.split!r}")
        scan = self._first + index % len(self)
        # A generator for each purpose, so that one dial does not shift the random numbers of another.
        key = [self.seed, list(SPLITS).index(self.split), index % len(self)]
        pairing, image_rng, audio_rng, text_rng, shared_rng, missing_rng = (np.random.default_rng([*key, k]) for k in range(6))
        digit = int(self._labels[scan])
        voice = int(pairing.choice(self._voices))
        image, sound, word = self._scans[scan], self._clips[voice, digit], WORDS[digit]
        if self.shared_noise:
            image, sound, word = self._disturb(scan, voice, shared_rng)
        sample = {"text": type_word(word, self.text_error, text_rng),
                  "image": _enlarge(image + self.image_noise * image_rng.standard_normal(image.shape)),
                  "audio": torch.from_numpy(add_noise(sound, self.speech_snr, audio_rng)).float()}
        for name, chance in zip(MODALITIES, missing_rng.random(len(MODALITIES))):
            if chance < self.missing.get(name, 0.0):
                sample[name] = None
        writer = int(np.searchsorted(WRITER_BLOCKS, scan, side="right")) - 1
        return {**sample, "label": digit, "writer": writer, "voice": voice}

    def _disturb(self, scan: int, voice: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
        """A second digit shines through, is heard behind and gets into the typing, all to a degree that they share.

        It disturbs the picture twice as much as the sound, so that the picture also tells how disturbed the sound is.
        """
        digit = int(self._labels[scan])
        other = int(rng.choice(np.flatnonzero(self._labels[self._first:self._last] != digit))) + self._first
        other_digit, degree = int(self._labels[other]), self.shared_noise * rng.uniform(0, 2)
        image = self._scans[scan] + degree * self._scans[other]
        clips = self._clips[voice, digit], self._clips[voice, other_digit]
        sound = np.zeros(max(map(len, clips)))
        for clip, weight in zip(clips, (1, degree / 2)):
            sound[:len(clip)] += weight * clip
        word, other_word = WORDS[digit], WORDS[other_digit]
        taken = rng.random(len(word)) < degree / 4
        mixed = "".join(other_word[i % len(other_word)] if wrong else letter for i, (letter, wrong) in enumerate(zip(word, taken)))
        return image, sound, mixed


def add_noise(sound: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """White noise added to `sound` (S,) at a signal-to-noise ratio of `snr` dB, a ratio of powers."""
    noise_power = (sound ** 2).mean() / 10 ** (snr / 10)
    return sound + math.sqrt(noise_power) * rng.standard_normal(len(sound))


def type_word(word: str, error: float, rng: np.random.Generator) -> str:
    """`word` as somebody in a hurry types it: "to" for "two", letters dropped, replaced or followed by a wrong one.

    `error` is the probability of taking a homophone, where there is one, and of a slip at each letter.
    """
    if word in HOMOPHONES and rng.random() < error:
        word = str(rng.choice(HOMOPHONES[word]))
    typed = ""
    for letter in word:
        slip, kind, wrong = rng.random() < error, rng.integers(3), chr(ord("a") + rng.integers(26))
        typed += ("", wrong, letter + wrong)[kind] if slip else letter
    return typed


def _enlarge(scan: np.ndarray) -> Tensor:
    """An 8x8 scan as a (1, 16, 16) float32 picture."""
    picture = torch.from_numpy(scan).float()[None, None]
    return torch.nn.functional.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)[0]


@cache
def _scans() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's scans, (1797, 8, 8) between 0 and 1, and their labels, (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images / 16.0, bunch.target


@cache
def _clips() -> tuple[dict[tuple[int, int], np.ndarray], list[dict]]:
    """The shipped clips by (voice, digit), float between -1 and 1, and the table of voices."""
    import soundfile

    folder = DATA / "digits"
    manifest = json.loads((folder / "manifest.json").read_text())
    clips = {}
    for voice in manifest["voices"]:
        for digit in range(10):
            file = folder / "speech" / f"{voice['voice']:02d}_{digit}.flac"
            try:
                samples, rate = soundfile.read(file, dtype="int16")
            except (OSError, RuntimeError) as error:  # soundfile's own error is a RuntimeError
                raise RuntimeError(f"the clip data/digits/speech/{file.name} is missing or broken; "
                                   "`git checkout data/digits` brings it back") from error
            if rate != SAMPLE_RATE or samples.ndim != 1:
                raise RuntimeError(f"the clip data/digits/speech/{file.name}: expected {SAMPLE_RATE} Hz mono, "
                                   f"got {rate} Hz, shape {samples.shape}")
            clips[voice["voice"], digit] = samples / 32768.0
    return clips, manifest["voices"]
