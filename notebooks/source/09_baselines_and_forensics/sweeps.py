"""The stored comparisons of page 09: tuned baselines, writers and voices on both sides of a split,
speakers, how often a clustered interval covers the truth, and the lab.
"""

import warnings
from itertools import combinations, product

import numpy as np
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.audio import band_features
from course_utils.datasets import store
from course_utils.datasets.digits import SAMPLE_RATE
from course_utils.metrics import cluster_bootstrap
from course_utils.training import shuffle_splits

SEEDS = range(5)
HEADS = {"linear": {"hidden": 0}, "hidden": {"hidden": 128, "drop": 0.5}}
RATES, DECAYS = (3e-3, 1e-2), (0.1, 1.0, 3.0)
MODELS = {
    "text": ["text"],
    "image": ["image"],
    "audio": ["audio"],
    "all three": ["text", "image", "audio"],
}
GROUPS = (2, 3, 5, 10, 20, 40)
INTERVALS = 2_000


def baselines(page: dict) -> dict:
    """Each modality of `digits` alone, and all three: head, learning rate and weight decay with the
    lowest loss on the validation set of seed 0; the first try, a linear layer for five epochs; and
    the control with the modality shuffled among the samples.

    About two minutes on one core.
    """
    draws = [page["load"](seed) for seed in tqdm(SEEDS, "load")]
    rows = {}
    for model, names in tqdm(MODELS.items(), "tune"):
        losses = {}
        for head, lr, decay in product(HEADS, RATES, DECAYS):
            net = page["train"](names, draws[0], 0, lr=lr, decay=decay, **HEADS[head])
            losses[head, lr, decay] = page["loss_of"](net, draws[0]["validation"])
        head, lr, decay = min(losses, key=losses.get)
        settings = {"lr": lr, "decay": decay, **HEADS[head]}
        rows[model] = {"head": head, "lr": lr, "weight_decay": decay}
        rows[model] |= _scores(page, names, draws, **settings)
        first = {"lr": 1e-3, "hidden": 0, "epochs": 5}
        rows[f"{model}, first try"] = _scores(page, names, draws, **first)
        name = "audio" if model == "all three" else model
        moved = [shuffle_splits(data, name, seed) for seed, data in enumerate(draws)]
        control = "audio shuffled" if model == "all three" else "shuffled"
        rows[f"{model}, {control}"] = _scores(page, names, moved, **settings)
    return rows


def _scores(page, names, draws, **settings):
    row = {"accuracy": [], "loss": []}
    for seed, data in enumerate(draws):
        net = page["train"](names, data, seed, **settings)
        row["accuracy"].append(round(page["right"](net, data["test"]), 4))
        row["loss"].append(round(page["loss_of"](net, data["test"]), 4))
    return row


def splits(page: dict) -> dict:
    """The clean picture with writers on one side of the split, seven pairs of blocks in turn, and
    at random; the sound with voices on one side, six groups of ten in turn, and at random.

    About two minutes on one core.
    """
    rows = {}
    apart = page["load"](0, image_noise=0.0)
    clean = {name: torch.cat([part[name] for part in apart.values()]) for name in apart["test"]}
    for name, group, turns in (
        ("image", clean["writer"] // 2, 7),
        ("audio", clean["voice"] // 10, 6),
    ):
        for turn in tqdm(range(turns), name):
            by_group = (group - turn) % turns
            generator = torch.Generator().manual_seed(turn)
            at_random = by_group[torch.randperm(len(by_group), generator=generator)]
            for way, turned in (("one side", by_group), ("at random", at_random)):
                data = page["divided"](clean, turned)
                net = page["train"]([name], data, turn, lr=1e-2, decay=1.0, hidden=0)
                row = rows.setdefault(f"{name}, {way}", {"accuracy": []})
                row["accuracy"].append(round(page["right"](net, data["test"]), 4))
    return rows


def coverage(page: dict) -> dict:
    """How often the "95 %" interval covers the mean, of 2,000 intervals with 500 draws: normal
    group effects of spread 1, twenty rows a group with noise of spread 1. By group, by row, and
    with the groups' names permuted among the rows.

    About two minutes on one core.
    """
    rng, rows = np.random.default_rng(0), {}
    warnings.filterwarnings("ignore", message="groups: only")
    for count in tqdm(GROUPS):
        groups = np.repeat(np.arange(count), 20)
        names = {"by group": groups, "by row": np.arange(len(groups))}
        covered = {way: 0 for way in (*names, "permuted")}
        for draw in range(INTERVALS):
            values = rng.normal(size=count)[groups] + rng.normal(size=len(groups))
            for way, name in (names | {"permuted": rng.permutation(groups)}).items():
                low, high = cluster_bootstrap(values, name, draws=500, seed=draw)
                covered[way] += low <= 0 <= high
        for way, times in covered.items():
            row = rows.setdefault(way, {"groups": [], "accuracy": []})  # how often it is right
            row["groups"].append(count)
            row["accuracy"].append(times / INTERVALS)
    return rows


def lab(page: dict) -> dict:
    """The five data sets of the lab: accuracy, cross-entropy as trained, and with a temperature
    fitted on the validation set.

    About one minute on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        for name, (modality, data) in page["five_sets"](seed).items():
            net = page["overtrained"]([modality], data, seed)
            found, part = page["logits"](net, data["test"]), data["test"]
            t = page["temperature"](
                page["logits"](net, data["validation"]), data["validation"]["label"]
            )
            row = rows.setdefault(name, {"accuracy": [], "trained": [], "left": []})
            row["accuracy"].append(round(page["right"](net, part), 4))
            row["trained"].append(round(F.cross_entropy(found, part["label"]).item(), 4))
            row["left"].append(round(F.cross_entropy(found / t, part["label"]).item(), 4))
    return rows


def _recordings():
    (folder,) = store.fetch("fsdd")
    files = sorted(folder.glob("*.wav"))
    digits, speakers = (np.array([file.stem.split("_")[part] for file in files]) for part in (0, 1))
    clips = []
    for file in files:
        samples, rate = soundfile.read(file, dtype="float32")
        assert rate == SAMPLE_RATE
        clips.append(torch.from_numpy(samples))
    return clips, digits, speakers


def _bands(clips, level):
    scaled = [clip / clip.abs().max() if level == "same peak" else clip for clip in clips]
    return np.stack(
        [
            band_features(clip[None], torch.ones(1, len(clip), dtype=torch.bool))[0].numpy()
            for clip in scaled
        ]
    )


def _linear(features, digits, test):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    model.fit(features[~test], digits[~test])
    return round(model.score(features[test], digits[test]), 4)


def fsdd_speakers(page: dict) -> dict:
    """A linear classifier on page 00's band features of all 3,000 recordings, two of six
    speakers held out in turn: as recorded, and with each clip scaled to the same peak.

    About three minutes on one core, with MNIST and FSDD.
    """
    clips, digits, speakers = _recordings()
    rows = {}
    for level in ("as recorded", "same peak"):
        features = _bands(clips, level)
        held_out = list(combinations(sorted(set(speakers)), 2))
        accuracy = [
            _linear(features, digits, np.isin(speakers, pair)) for pair in tqdm(held_out, level)
        ]
        rows[level] = {"held_out": held_out, "accuracy": accuracy}
    return rows


def fsdd_random(page: dict) -> dict:
    """The same classifier and recordings, scaled to the same peak, with 1,000 of the 3,000 drawn at
    random for the test, fifteen times; and with the digits shuffled among the recordings.

    About two minutes on one core, with FSDD.
    """
    clips, digits, _ = _recordings()
    features, rows = _bands(clips, "same peak"), {}
    for way in ("at random", "at random, digits shuffled"):
        for draw in tqdm(range(15), way):
            rng = np.random.default_rng(draw)
            test = rng.permutation(len(digits)) < len(digits) // 3
            labels = rng.permutation(digits) if "shuffled" in way else digits
            row = rows.setdefault(way, {"accuracy": []})
            row["accuracy"].append(_linear(features, labels, test))
    return rows


SWEEPS = [baselines, splits, coverage, lab, fsdd_speakers, fsdd_random]
