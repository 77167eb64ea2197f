"""The stored comparisons of page 07: pairs mirrored whole, by halves and not at all, and what a
random split of recordings flatters.
"""

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
from course_utils.exercises import reference

SEEDS = range(5)
TRAIN, TEST = range(0, 10), range(10, 14)  # blocks of writers


def mirrored(page: dict) -> dict:
    """A zero beside a one, and a caption that is true or not: accuracy on 1,000 new pairs by
    other writers, after training on few pairs of which every second is left, mirrored, or flipped
    without its caption; and on pairs whose captions are shuffled.

    About three minutes on one core.
    """
    changes = {
        "as they are": lambda sample: sample,
        "mirrored": reference("07.3"),
        "picture flipped, caption left": page["flip_picture_only"],
    }
    plan = [(40, "as they are"), (40, "mirrored")]
    plan += [(100, name) for name in (*changes, "captions shuffled")]
    plan += [(300, "as they are"), (300, "mirrored")]
    rows = {}
    for seed in tqdm(SEEDS):
        test = page["make_pairs"](1000, TEST, 100 + seed)
        for number, name in plan:
            samples, tested = page["make_pairs"](number, TRAIN, seed), test
            if name == "captions shuffled":
                samples, tested = shuffled(samples, seed), shuffled(test, seed)
            change = changes.get(name, changes["as they are"])
            found = page["accuracy_with"](samples, tested, change, reference("07.1"), seed)
            row = rows.setdefault(f"{number} pairs, {name}", {"accuracy": []})
            row["accuracy"].append(round(found, 4))
    return rows


def shuffled(samples: list[dict], seed: int) -> list[dict]:
    """The samples with their captions in another order."""
    order = np.random.default_rng(seed).permutation(len(samples))
    return [
        {**sample, "text": samples[place]["text"]}
        for sample, place in zip(samples, order, strict=True)
    ]


def speakers(page: dict) -> dict:
    """A linear classifier on page 00's band features of all 3,000 recordings, each scaled to the
    same peak: a third of the recordings drawn at random as the test, five times, and two of the six
    speakers, each pair in turn..

    About two minutes on one core, with FSDD.
    """
    (folder,) = store.fetch("fsdd")
    files = sorted(folder.glob("*.wav"))
    digits, names = (np.array([file.stem.split("_")[part] for file in files]) for part in (0, 1))
    features = []
    for file in tqdm(files):
        samples, rate = soundfile.read(file, dtype="float32")
        assert rate == SAMPLE_RATE
        sound = torch.from_numpy(samples / np.abs(samples).max())
        there = torch.ones(1, len(sound), dtype=torch.bool)
        features.append(band_features(sound[None], there)[0].numpy())
    features = np.stack(features)

    def accuracy(test):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        model.fit(features[~test], digits[~test])
        return round(model.score(features[test], digits[test]), 4)

    rows = {"random recordings": {"accuracy": []}}
    for seed in SEEDS:
        third = np.random.default_rng(seed).permutation(len(files))[: len(files) // 3]
        test = np.isin(np.arange(len(files)), third)
        rows["random recordings"]["accuracy"].append(accuracy(test))
    pairs = list(combinations(sorted(set(names)), 2))
    rows["two of six speakers"] = {
        "held_out": pairs,
        "accuracy": [accuracy(np.isin(names, pair)) for pair in tqdm(pairs)],
    }
    return rows


SWEEPS = [mirrored, speakers]
