"""Where the samples of `Digits` are drawn from, whichever source it is."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

SAMPLE_RATE = 8_000  # Hz


class Source(NamedTuple):
    """Where samples are drawn from: the scans and clips, and which of them belong to a split."""

    scans: np.ndarray  # (N, H, W) between 0 and 1
    labels: np.ndarray  # (N,) int
    # by (voice, digit), (S,) float between -1 and 1
    clips: dict[tuple[int, int], list[np.ndarray]]
    scans_of: dict[str, np.ndarray]  # by split, the places of its scans
    voices_of: dict[str, list[int]]  # by split


def read_clip(file: Path) -> np.ndarray:
    """A clip's samples, (S,) float between -1 and 1. Raises RuntimeError for a file that is no such
    clip.
    """
    import soundfile

    try:
        samples, rate = soundfile.read(file, dtype="int16")
    except (OSError, RuntimeError) as error:  # soundfile's own error is a RuntimeError
        raise RuntimeError(
            f"the clip {file.name} is missing or broken; if it is one of the course's own, "
            "`git checkout data/digits` brings it back"
        ) from error
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise RuntimeError(
            f"the clip {file.name}: expected {SAMPLE_RATE} Hz mono, got {rate} Hz, shape"
            f" {samples.shape}"
        )
    return samples / 32768.0
