"""The stored comparisons of page 00: where fusion pays, on the bundled data and on real ones."""

from itertools import combinations

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
from course_utils.training import shuffle_modality

SEEDS = range(5)
DIALS = {
    "clean": {"image_noise": 0.0, "speech_snr": 60.0, "text_error": 0.0},
    "easy": {"image_noise": 0.3, "speech_snr": -5.0, "text_error": 0.3},
    "default": {"image_noise": 0.5, "speech_snr": -10.0, "text_error": 0.6},
    "hard": {"image_noise": 0.7, "speech_snr": -13.0, "text_error": 0.75},
    "one clear sense": {"image_noise": 1.0, "speech_snr": 0.0, "text_error": 0.9},
    "shared noise": {"image_noise": 0.2, "speech_snr": 0.0, "text_error": 0.3, "shared_noise": 1.0},
}


def digits_dials(page: dict) -> dict:
    """How much fusion gains at each setting of the dials: accuracy and cross-entropy of the
    page's models and of the product of the three unimodal models' probabilities.

    About two minutes on one core.
    """
    rows = {}
    for name, dials in (progress := tqdm(DIALS.items())):
        progress.set_description(name)
        data = {split: page["load"](split, 0, **dials) for split in ("train", "validation", "test")}
        decay = {model: page["tune"](names, data) for model, names in page["MODELS"].items()}
        draws = [{split: page["load"](split, seed, **dials) for split in data} for seed in SEEDS]
        results = page["test_all"](page["MODELS"], decay, draws)
        accuracy = {model: [one.accuracy for one in runs] for model, runs in results.items()}
        loss = {model: [one.loss for one in runs] for model, runs in results.items()}
        accuracy["product"], loss["product"] = [], []
        for runs in zip(*(results[m] for m in page["MODALITIES"])):
            # all digits are equally frequent: no prior to divide by
            logits = sum(run.logits.log_softmax(dim=1) for run in runs)
            accuracy["product"].append(
                (logits.argmax(dim=1) == runs[0].labels).double().mean().item()
            )
            loss["product"].append(F.cross_entropy(logits, runs[0].labels).item())
        rows[name] = {
            "dials": dials,
            "weight_decay": decay,
            "accuracy": {k: [round(v, 4) for v in vs] for k, vs in accuracy.items()},
            "loss": {k: [round(v, 4) for v in vs] for k, vs in loss.items()},
        }
    return rows


def digits_real(page: dict) -> dict:
    """Page 00 on MNIST and FSDD: its models, and the control with the sound shuffled among the
    samples.

    About eight minutes on one core, with MNIST and FSDD.
    """
    splits = ("train", "validation", "test")
    draws = [
        {split: page["load"](split, seed, source="mnist-fsdd") for split in splits}
        for seed in tqdm(SEEDS, "load")
    ]
    decay = {
        model: page["tune"](names, draws[0])
        for model, names in tqdm(page["MODELS"].items(), "tune")
    }
    results = page["test_all"](page["MODELS"], decay, draws)
    shuffled = [
        {
            split: shuffle_modality(
                part,
                "audio",
                torch.randperm(len(part["label"]), generator=torch.Generator().manual_seed(seed)),
            )
            for split, part in draw.items()
        }
        for seed, draw in enumerate(draws)
    ]
    control = "all three, audio shuffled"
    results |= page["test_all"](
        {control: page["MODELS"]["all three"]}, {control: decay["all three"]}, shuffled
    )
    return {
        "mnist-fsdd": {
            "weight_decay": decay,
            "accuracy": {
                model: [round(one.accuracy, 4) for one in runs] for model, runs in results.items()
            },
        }
    }


def fsdd_speakers(page: dict) -> dict:
    """A linear classifier on the page's band features of all 3,000 recordings, two of six
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


SWEEPS = [digits_dials, digits_real, fsdd_speakers]
