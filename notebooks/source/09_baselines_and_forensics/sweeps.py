"""A stored comparison that waits for page 09: how much the choice of test speakers matters."""

from itertools import combinations

import numpy as np
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from course_utils.audio import band_features
from course_utils.datasets import store
from course_utils.datasets.digits import SAMPLE_RATE

SEEDS = range(5)


def fsdd_speakers(page: dict) -> dict:
    """A linear classifier on page 00's band features of all 3,000 recordings, two of six
    speakers held out in turn: as recorded, and with each clip scaled to the same peak.

    About three minutes on one core, with MNIST and FSDD.
    """
    (folder,) = store.fetch("fsdd")
    files = sorted(folder.glob("*.wav"))
    digits, speakers = (np.array([file.stem.split("_")[part] for file in files]) for part in (0, 1))
    clips = []
    for file in files:
        samples, rate = soundfile.read(file, dtype="float32")
        assert rate == SAMPLE_RATE
        clips.append(torch.from_numpy(samples))
    rows = {}
    for level in ("as recorded", "same peak"):
        scaled = [clip / clip.abs().max() if level == "same peak" else clip for clip in clips]
        features = np.stack(
            [
                band_features(clip[None], torch.ones(1, len(clip), dtype=torch.bool))[0].numpy()
                for clip in scaled
            ]
        )
        held_out = list(combinations(sorted(set(speakers)), 2))
        accuracy = []
        for pair in tqdm(held_out, level):
            test = np.isin(speakers, pair)
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
            accuracy.append(
                round(
                    model.fit(features[~test], digits[~test]).score(features[test], digits[test]), 4
                )
            )
        rows[level] = {"held_out": held_out, "accuracy": accuracy}
    return rows


SWEEPS = [fsdd_speakers]
