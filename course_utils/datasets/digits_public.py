"""The public source of `Digits`: MNIST's written digits, spoken ones of FSDD."""

import gzip
from functools import cache

import numpy as np

from course_utils.datasets import store
from course_utils.datasets.digits_source import Source, read_clip

# MNIST's test images in a fixed random order, and FSDD's speakers in the order of the alphabet.
REAL_SPLITS = {
    "train": (range(0, 5_000), range(0, 3)),
    "validation": (range(5_000, 7_000), range(3, 4)),
    "test": (range(7_000, 10_000), range(4, 6)),
}


@cache
def mnist_fsdd() -> Source:
    """MNIST's test images and FSDD's recordings, downloaded at the first use. Raises StoreError
    where they cannot be had.
    """
    images, labels = (gzip.decompress(path.read_bytes()) for path in store.fetch("mnist"))
    (recordings,) = store.fetch("fsdd")
    files = sorted(recordings.glob("*.wav"))
    speakers = sorted({file.stem.split("_")[1] for file in files})
    clips: dict[tuple[int, int], list[np.ndarray]] = {}
    for file in files:
        digit, speaker, _ = file.stem.split("_")
        clip = read_clip(file)
        # each speaker's recordings have a level of their own, which says nothing about the digit
        clip /= np.abs(clip).max()
        clips.setdefault((speakers.index(speaker), int(digit)), []).append(clip)
    order = np.random.default_rng(0).permutation(10_000)
    # idx: a header, then bytes
    return Source(
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28) / 255,
        np.frombuffer(labels, np.uint8, offset=8).astype(np.int64),
        clips,
        {split: order[scans.start : scans.stop] for split, (scans, _) in REAL_SPLITS.items()},
        {split: list(voices) for split, (_, voices) in REAL_SPLITS.items()},
    )
