"""The stored comparisons of page 00: where fusion pays, on the bundled data and on real ones."""

import torch
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.training import shuffle_modality

SEEDS = range(10)
DIALS = {
    "clean": {"image_noise": 0.0, "speech_snr": 60.0, "text_error": 0.0},
    "easy": {"image_noise": 0.3, "speech_snr": -5.0, "text_error": 0.3},
    "default": {"image_noise": 0.5, "speech_snr": -10.0, "text_error": 0.6},
    "hard": {"image_noise": 0.7, "speech_snr": -13.0, "text_error": 0.75},
    "one clear sense": {"image_noise": 1.0, "speech_snr": 0.0, "text_error": 0.9},
    "shared noise": {"image_noise": 0.2, "speech_snr": 0.0, "text_error": 0.3, "shared_noise": 1.0},
}


def test_logits(page: dict, names: list[str], decay: float, draws: list[dict]) -> list:
    """The test logits of a model, trained and tested on each draw of the data, one for a seed."""
    found = []
    for seed, data in enumerate(draws):
        head = page["train"](names, data, decay, seed)
        found.append(page["logits_of"](names, head, data["test"]))
    return found


def scores(page: dict, logits: list, draws: list[dict]) -> tuple[list, list]:
    """Accuracy and cross-entropy on each draw's test set."""
    labels = [data["test"]["label"] for data in draws]
    right = [page["accuracy"](one, truth) for one, truth in zip(logits, labels)]
    loss = [F.cross_entropy(one, truth).item() for one, truth in zip(logits, labels)]
    return [round(value, 4) for value in right], [round(value, 4) for value in loss]


def control(page: dict, name: str, decay: float, draws: list[dict]) -> tuple[list, list]:
    """Accuracy and cross-entropy of all three, one modality shuffled among the samples."""
    shuffled = []
    for seed, draw in enumerate(draws):
        generator = torch.Generator().manual_seed(seed)
        one = dict(draw)
        for split in page["SPLITS"]:
            order = torch.randperm(len(draw[split]["label"]), generator=generator)
            one[split] = shuffle_modality(draw[split], name, order)
        shuffled.append(one)
    logits = test_logits(page, page["MODELS"]["all three"], decay, shuffled)
    return scores(page, logits, shuffled)


def digits_dials(page: dict) -> dict:
    """How much fusion gains at each setting of the dials: accuracy and cross-entropy of the
    page's models, of the product of the three unimodal models' probabilities, and of the controls
    with the picture or the sound shuffled among the samples.

    About nine minutes on one core.
    """
    rows = {}
    for name, dials in (progress := tqdm(DIALS.items())):
        progress.set_description(name)
        draws = [page["load"](seed, **dials) for seed in SEEDS]
        decay = {model: page["tune"](names, draws[0]) for model, names in page["MODELS"].items()}
        logits = {
            model: test_logits(page, names, decay[model], draws)
            for model, names in page["MODELS"].items()
        }
        # all digits are equally frequent: no prior to divide by
        logits["product"] = [
            sum(one.log_softmax(dim=1) for one in three)
            for three in zip(*(logits[m] for m in page["MODALITIES"]))
        ]
        row = {"dials": dials, "weight_decay": decay, "accuracy": {}, "loss": {}}
        for model, runs in logits.items():
            row["accuracy"][model], row["loss"][model] = scores(page, runs, draws)
        for one in ("image", "audio"):
            right, loss = control(page, one, decay["all three"], draws)
            row["accuracy"][f"all three, {one} shuffled"] = right
            row["loss"][f"all three, {one} shuffled"] = loss
        rows[name] = row
    return rows


def digits_real(page: dict) -> dict:
    """Page 00 on MNIST and FSDD: its models, and the controls with the picture or the sound
    shuffled among the samples.

    About fifteen minutes on one core, with MNIST and FSDD.
    """
    draws = [page["load"](seed, source="mnist-fsdd") for seed in tqdm(SEEDS, "load")]
    decay, accuracy = {}, {}
    for model, names in tqdm(page["MODELS"].items(), "train"):
        decay[model] = page["tune"](names, draws[0])
        logits = test_logits(page, names, decay[model], draws)
        accuracy[model], _ = scores(page, logits, draws)
    for one in ("image", "audio"):
        right, _ = control(page, one, decay["all three"], draws)
        accuracy[f"all three, {one} shuffled"] = right
    return {"mnist-fsdd": {"weight_decay": decay, "accuracy": accuracy}}


SWEEPS = [digits_dials, digits_real]
