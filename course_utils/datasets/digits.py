"""One digit, written, spoken and typed: the course's running example.

The written digits are scikit-learn's 1,797 real scans, split by writer; the spoken ones are the
clips in data/digits, split by voice; the typed ones are words sent through a noisy channel. How
hard each modality is can be set by a dial. A second source has people's voices: MNIST's test
images with the recordings of the Free Spoken Digit Dataset. See data/digits/README.md for the
datasheet.
"""

import json
import math
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from course_utils.checks import check_choice
from course_utils.datasets.collation import Typed

# pages take the rate of the clips from here
from course_utils.datasets.digits_source import SAMPLE_RATE as SAMPLE_RATE
from course_utils.datasets.digits_source import Source, read_clip
from course_utils.datasets.names import MODALITIES
from course_utils.datasets.scans import SPLITS, WRITER_BLOCKS
from course_utils.datasets.splits import check_index
from course_utils.runtime import DATA, reads

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HOMOPHONES = {
    "one": ("won",),
    "two": ("to", "too"),
    "four": ("for", "fore"),
    "six": ("sicks",),
    "eight": ("ate",),
}
DEFAULTS = {
    "bundled": {"image_noise": 0.5, "speech_snr": -10.0, "text_error": 0.6},
    "mnist-fsdd": {"image_noise": 0.0, "speech_snr": math.inf, "text_error": 0.6},
}


class Digits(Dataset):
    """Digits seen, heard and typed, one dict a sample.

    A sample is {"text": str or None, "image": (1, H, W) float or None, "audio": (S,) float at 8
    kHz or None, "label": int 0-9, "writer": int, "voice": int}. Pixels are 0 for paper and 1 for
    ink before noise; sound is between -1 and 1 before noise. The text is a `Typed` word, which
    `collate` spells in letters; where a whole batch may lack a modality it needs
    `functools.partial(collate, kinds=digits.kinds)`.

      source        "bundled": scikit-learn's scans, enlarged to 16x16, with synthetic voices;
                    "writer" is the block of
                    scans. "mnist-fsdd": MNIST's 10,000 test images, 28x28, of writers unknown
                    ("writer" is -1), with 3,000 recordings of six speakers: three train, one
                    validates, two test. The first use downloads 18 MB; see
                    `course_utils.datasets.store`

    Dials; None takes the source's default: with those of "bundled" no modality alone is enough,
    while the pictures and sounds of "mnist-fsdd" are left as they are (0, math.inf, 0.6):

      image_noise   standard deviation of the Gaussian noise added to each pixel of the scan (8x8 or
                    28x28); 0.5
      speech_snr    signal-to-noise ratio of the spoken digit in dB, white noise; math.inf for none;
                    -10
      text_error    probability that a word with a homophone is swapped for it, and of a slip at
                    each letter
                    (dropped, replaced, or followed by a wrong one); 0.6
      shared_noise  from 0 to 1, how strongly a second digit is mixed in, by a random degree that
                    all three share
      missing       probability per modality of being absent, for example {"audio": 0.2}

    Every sample depends on `seed`, split and index alone: the order of access does not matter,
    and turning one dial leaves what the others do as it was. Raises ValueError for a bad
    argument, and `store.StoreError` when the public data cannot be had.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        source: str = "bundled",
        image_noise: float | None = None,
        speech_snr: float | None = None,
        text_error: float | None = None,
        shared_noise: float = 0.0,
        missing: dict[str, float] | None = None,
        seed: int = 0,
    ):
        check_choice(SPLITS, split=split)
        check_choice(DEFAULTS, source=source)
        image_noise = DEFAULTS[source]["image_noise"] if image_noise is None else image_noise
        speech_snr = DEFAULTS[source]["speech_snr"] if speech_snr is None else speech_snr
        text_error = DEFAULTS[source]["text_error"] if text_error is None else text_error
        missing = dict(missing or {})
        if set(missing) - set(MODALITIES):
            raise ValueError(f"missing: expected names among {MODALITIES}, got {sorted(missing)}")
        rates = {
            "text_error": text_error,
            **{f"missing[{name!r}]": rate for name, rate in missing.items()},
        }
        for name, rate in rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"{name}: expected a probability between 0 and 1, got {rate!r}")
        if not (image_noise >= 0 and math.isfinite(image_noise)):
            raise ValueError(
                f"image_noise: expected a standard deviation of at least 0, got {image_noise!r}"
            )
        if not 0 <= shared_noise <= 1:
            raise ValueError(
                f"shared_noise: expected a degree between 0 and 1, got {shared_noise!r}"
            )
        if math.isnan(speech_snr) or speech_snr == -math.inf:
            raise ValueError(
                f"speech_snr: expected decibels, or math.inf for no noise, got {speech_snr!r}"
            )
        self.split, self.source, self.seed = split, source, seed
        self.image_noise, self.speech_snr, self.text_error = image_noise, speech_snr, text_error
        self.shared_noise, self.missing = shared_noise, missing
        if source == "bundled":
            self._from = _bundled()
        else:
            from course_utils.datasets.digits_public import mnist_fsdd

            self._from = mnist_fsdd()
        self._places, self._voices = self._from.scans_of[split], self._from.voices_of[split]

    @property
    def kinds(self) -> dict:
        """What `collate` needs to know where a modality is missing in a whole batch."""
        side = 16 if self.source == "bundled" else self._from.scans.shape[-1]
        return {"text": "letters", "image": (1, side, side), "audio": "sequence"}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict:
        check_index(index, len(self), "samples", self.split)
        scan = int(self._places[index])
        # A generator for each purpose, so that one dial does not shift the random numbers of
        # another.
        key = [self.seed, list(SPLITS).index(self.split), index % len(self)]
        pairing, image_rng, audio_rng, text_rng, shared_rng, missing_rng = (
            np.random.default_rng([*key, k]) for k in range(6)
        )
        digit = int(self._from.labels[scan])
        voice = int(pairing.choice(self._voices))
        take = int(pairing.integers(len(self._from.clips[voice, digit])))
        image, word = self._from.scans[scan], WORDS[digit]
        sound = self._from.clips[voice, digit][take]
        if self.shared_noise:
            image, sound, word = self._disturb(image, sound, digit, voice, shared_rng)
        sample = {
            "text": Typed(type_word(word, self.text_error, text_rng)),
            "image": _picture(image + self.image_noise * image_rng.standard_normal(image.shape)),
            "audio": torch.from_numpy(add_noise(sound, self.speech_snr, audio_rng)).float(),
        }
        for name, chance in zip(MODALITIES, missing_rng.random(len(MODALITIES))):
            if chance < self.missing.get(name, 0.0):
                sample[name] = None
        writer = (
            int(np.searchsorted(WRITER_BLOCKS, scan, side="right")) - 1
            if self.source == "bundled"
            else -1
        )
        return {**sample, "label": digit, "writer": writer, "voice": voice}

    def _disturb(
        self, image: np.ndarray, sound: np.ndarray, digit: int, voice: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """A second digit shines through, is heard behind and gets into the typing, all to a
        degree that they share.

        It disturbs the picture twice as much as the sound, so that the picture also tells how
        disturbed the sound is.
        """
        other = int(rng.choice(self._places[self._from.labels[self._places] != digit]))
        other_digit, degree = int(self._from.labels[other]), self.shared_noise * rng.uniform(0, 2)
        clips = sound, self._from.clips[voice, other_digit][0]
        mixture = np.zeros(max(map(len, clips)))
        for clip, weight in zip(clips, (1, degree / 2)):
            mixture[: len(clip)] += weight * clip
        word, other_word = WORDS[digit], WORDS[other_digit]
        taken = rng.random(len(word)) < degree / 4
        mixed = "".join(
            other_word[i % len(other_word)] if wrong else letter
            for i, (letter, wrong) in enumerate(zip(word, taken))
        )
        return image + degree * self._from.scans[other], mixture, mixed


def add_noise(sound: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """White noise added to `sound` (S,) at a signal-to-noise ratio of `snr` dB, a ratio of
    powers.
    """
    noise_power = (sound**2).mean() / 10 ** (snr / 10)
    return sound + math.sqrt(noise_power) * rng.standard_normal(len(sound))


def type_word(word: str, error: float, rng: np.random.Generator) -> str:
    """`word` as somebody in a hurry types it: "to" for "two", letters dropped, replaced or
    followed by a wrong one.

    `error` is the probability of taking a homophone, where there is one, and of a slip at each
    letter.
    """
    if word in HOMOPHONES and rng.random() < error:
        word = str(rng.choice(HOMOPHONES[word]))
    typed = ""
    for letter in word:
        slip, kind, wrong = rng.random() < error, rng.integers(3), chr(ord("a") + rng.integers(26))
        typed += ("", wrong, letter + wrong)[kind] if slip else letter
    return typed


def _picture(scan: np.ndarray) -> Tensor:
    """A scan as a (1, H, W) float32 picture; one of 8x8 pixels is enlarged to 16x16."""
    picture = torch.from_numpy(scan).float()[None, None]
    if scan.shape == (8, 8):
        picture = torch.nn.functional.interpolate(
            picture, scale_factor=2, mode="bilinear", align_corners=False
        )
    return picture[0]


@cache
def _bundled() -> Source:
    """scikit-learn's scans, and the clips that ship with the course."""
    from sklearn.datasets import load_digits

    bunch, folder = load_digits(), reads(DATA / "digits")
    voices = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["voices"]
    clips = {
        (voice["voice"], digit): [
            read_clip(folder / "speech" / f"{voice['voice']:02d}_{digit}.flac")
        ]
        for voice in voices
        for digit in range(10)
    }
    return Source(
        bunch.images / 16.0,
        bunch.target,
        clips,
        {
            split: np.arange(WRITER_BLOCKS[blocks.start], WRITER_BLOCKS[blocks.stop])
            for split, blocks in SPLITS.items()
        },
        {
            split: [voice["voice"] for voice in voices if voice["split"] == split]
            for split in SPLITS
        },
    )
