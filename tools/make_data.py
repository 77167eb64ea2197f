"""Make the spoken digits that ship in data/digits, and say whether they came out as before.

Run it with `make data`. It needs espeak-ng, a formant synthesiser (Debian: apt-get install
espeak-ng; macOS: brew install espeak-ng), and SciPy, which scikit-learn brings along.

Every voice is a timbre (an espeak-ng "variant") of its own, read in an accent, at a speed and a
pitch. A timbre belongs to one voice and a voice to one split, so a model is always tested on
voices that it has never heard.
"""

import argparse
import hashlib
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

ROOT = Path(__file__).resolve().parents[1]
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
RATE = 8_000  # Hz
ACCENTS = [
    "en-gb",
    "en-us",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
]
# Variants that draw random numbers (klatt, whisper) are left out: their clips would differ each
# time.
VARIANTS = {
    "train": (
        "m1 f1 m2 f2 m3 f3 m4 adam Alicia m5 Alex Andrea Andy announcer Annie antonio benjamin"
        " belinda boris caleb david Denis Diogo ed linda edward Gene Gene2 grandpa grandma gustave"
        " Henrique Hugo iven steph iven2 Jacky john Lee Marco"
    ),
    "validation": "m6 f4 m7 aunty mario max Michael steph2 michel miguel",
    "test": "m8 f5 Mike shelby norbert pablo steph3 paul quincy robert",
}


def voices() -> list[dict]:
    """The 60 voices, 40 / 10 / 10 by split, as rows of accent, variant, speed (words a minute)
    and pitch (0-99).
    """
    rows = []
    for split, variants in VARIANTS.items():
        for variant in variants.split():
            # the multipliers only spread the settings evenly, without a random generator
            i = len(rows)
            rows.append(
                {
                    "voice": i,
                    "split": split,
                    "accent": ACCENTS[i * 3 % len(ACCENTS)],
                    "variant": variant,
                    "speed": 120 + i * 37 % 81,
                    "pitch": 30 + i * 17 % 41,
                }
            )
    return rows


def speak(word: str, voice: dict, peak: float = 0.7) -> np.ndarray:
    """One spoken word or sentence, (samples,) int16 at 8 kHz, its silence trimmed and its peak at
    `peak` of full scale.
    """
    command = [
        "espeak-ng",
        "-v",
        f"{voice['accent']}+{voice['variant']}",
        "-s",
        str(voice["speed"]),
        "-p",
        str(voice["pitch"]),
        "--stdout",
        word,
    ]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    # espeak-ng cannot know a stream's length when it writes the header, so the samples are read
    # behind it.
    source_rate = int.from_bytes(wav[24:28], "little")
    sound = np.frombuffer(wav[44 : 44 + (len(wav) - 44) // 2 * 2], dtype="<i2").astype(np.float64)
    common = math.gcd(RATE, source_rate)
    sound = resample_poly(sound, RATE // common, source_rate // common)
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    margin = RATE // 50  # 20 ms on both sides
    sound = sound[max(0, loud[0] - margin) : loud[-1] + margin]
    return np.round(sound / np.abs(sound).max() * peak * 32767).astype(np.int16)


def espeak_version() -> str | None:
    """The installed espeak-ng's version, or None where there is none."""
    try:
        said = subprocess.run(
            ["espeak-ng", "--version"], check=True, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        return None
    return re.search(r"\d+(\.\d+)+", said).group()


def make(folder: Path) -> dict:
    """Write 600 FLAC clips and manifest.json into `folder`; return the manifest."""
    clips = (
        (f"{voice['voice']:02d}_{digit}.flac", speak(word, voice))
        for voice in voices()
        for digit, word in enumerate(WORDS)
    )
    return write(folder, clips, voices=voices())


def write(folder: Path, clips: Iterable[tuple[str, np.ndarray]], **about: list[dict]) -> dict:
    """Write clips, (file name, samples), into `folder`/speech and manifest.json, which ends with
    `about`, beside it; return the manifest.
    """
    (folder / "speech").mkdir(parents=True, exist_ok=True)
    digest, count = hashlib.sha256(), 0
    for name, clip in clips:
        # of the samples: a FLAC file also holds its encoder's version
        digest.update(clip.astype("<i2").tobytes())
        buffer = io.BytesIO()
        soundfile.write(buffer, clip, RATE, format="FLAC", subtype="PCM_16")
        (folder / "speech" / name).write_bytes(buffer.getvalue())
        count += 1
    manifest = {
        "sample_rate": RATE,
        "clips": count,
        "pcm_sha256": digest.hexdigest(),
        "made_with": {
            "espeak-ng": espeak_version(),
            **{name: version(name) for name in ("scipy", "numpy", "soundfile")},
        },
        **about,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def report(name: str, make: Callable[[Path], dict], folder: Path) -> int:
    """Make data/`name` again in `folder` and print whether it came out as before; 0 if so."""
    if espeak_version() is None:
        print(
            f"espeak-ng is not installed, so nothing was made. The clips in data/{name} are"
            " complete without it;\nto make them again install it first (Debian: apt-get install"
            " espeak-ng; macOS: brew install espeak-ng)."
        )
        return 1
    before = ROOT / "data" / name / "manifest.json"
    old = json.loads(before.read_text()) if before.exists() else None
    new = make(folder)
    print(f"{name}: {new['clips']} clips written with espeak-ng {new['made_with']['espeak-ng']}.")
    if old is None:
        return 0
    same = old["pcm_sha256"] == new["pcm_sha256"]
    print(
        "The samples are the same as before."
        if same
        else (
            f"The samples DIFFER from before, which were made with {old['made_with']}; now"
            f" {new['made_with']}."
        )
    )
    return 0 if same else 1


def command(about: str, name: str, make: Callable[[Path], dict]) -> int:
    """Make data/`name` again, there or in --folder."""
    there = ROOT / "data" / name
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--folder", type=Path, default=there, help=f"where to write (default: data/{name})"
    )
    return report(name, make, parser.parse_args().folder)


if __name__ == "__main__":
    sys.exit(command("Make the spoken digits of data/digits again.", "digits", make))
