"""The stored comparisons of page 12: what a learned weight says, and every rule of the page on
`digits`, with less data, with noise that is shared, and on real pictures and voices.
"""

import math

import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from course_utils.audio import mfcc_features
from course_utils.fusion import STRATEGIES
from course_utils.training import shuffle_splits

SEEDS = range(5)
NAMES = ("text", "image", "audio")
RATES, DECAYS = (3e-3, 1e-2), (0.03, 0.3, 3.0)
RULES = {
    "linear fusion": "concat",
    "weighted concat": "weighted_concat",
    "sum": "sum",
    "mean": "mean",
    "weighted average": "weighted_sum",
    "max": "max",
}


def begun(page, weight, speed):
    """What builds the layer of the bet, the text's weight `weight` before the first step."""

    def make(dims, classes):
        layer = page["WeightedAverage"](dims, classes, speed=speed)
        with torch.no_grad():
            layer.scores[0] = math.log(weight / (1 - weight))
        return layer

    return make


def weights(page: dict) -> dict:
    """The weight of the text that a weighted average of text and picture learns, with projections
    that are trained along and with frozen ones, and with scores that move ten times as fast; from
    other weights at the start; with the texts shuffled among the samples; and weights that stay at
    a half.

    About two minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        data = page["load"](seed)
        mixed = shuffle_splits(data, "text", seed)
        for name, weight, speed, frozen, used in (
            ("trained", 0.5, 1.0, False, data),
            ("trained, scores ten times as fast", 0.5, 10.0, False, data),
            ("trained, weights of a half", 0.5, 0.0, False, data),
            ("trained, text begins at 0.8", 0.8, 1.0, False, data),
            ("trained, text begins at 0.2", 0.2, 1.0, False, data),
            ("trained, text shuffled", 0.5, 1.0, False, mixed),
            ("trained, text shuffled, ten times as fast", 0.5, 10.0, False, mixed),
            ("frozen", 0.5, 1.0, True, data),
            ("frozen, scores ten times as fast", 0.5, 10.0, True, data),
            ("frozen, weights of a half", 0.5, 0.0, True, data),
        ):
            make = begun(page, weight, speed)
            model = page["train"](make, used, seed, ("text", "image"), frozen=frozen)
            learned = (speed * model.layer.scores).softmax(0)[0].item()
            row = rows.setdefault(name, {"weight": [], "accuracy": []})
            row["weight"].append(round(learned, 4))
            row["accuracy"].append(round(page["judge"](model, used["test"]).accuracy, 4))
    return rows


def tuned(page, make, draws, names, epochs):
    """A model for each draw, with the learning rate and the decay that have the lowest loss on the
    validation set of the first.
    """
    train, losses = page["train"], {}
    for lr in RATES:
        for decay in DECAYS:
            model = train(make, draws[0], 0, names, lr, decay, epochs)
            losses[lr, decay] = page["judge"](model, draws[0]["validation"]).loss
    lr, decay = min(losses, key=losses.get)
    models = [train(make, data, seed, names, lr, decay, epochs) for seed, data in enumerate(draws)]
    settings = {"lr": lr, "weight_decay": decay}
    return models, settings | {"validation_loss": round(losses[lr, decay], 4)}


def compared(page, draws, epochs, rules, names=NAMES, shuffled=None) -> dict:
    """Test accuracies: each modality alone, the two ways to join these experts, and each of `rules`
    trained as a whole.
    """
    if shuffled:
        draws = [shuffle_splits(data, shuffled, seed) for seed, data in enumerate(draws)]
    rows, said = {}, [[] for _ in draws]
    labels = [data["test"]["label"] for data in draws]

    def note(name, logits, **settings):
        """Accuracy, cross-entropy, and the mean probability of the class that is answered."""
        row = settings | {"accuracy": [], "loss": [], "sure": []}
        for one, label in zip(logits, labels):
            row["accuracy"].append(round((one.argmax(1) == label).double().mean().item(), 4))
            row["loss"].append(round(cross_entropy(one, label).item(), 4))
            row["sure"].append(round(one.softmax(1).amax(1).mean().item(), 4))
        rows[name] = row

    for name in names:
        models, settings = tuned(page, page["Expert"], draws, (name,), epochs)
        for place, (model, data) in enumerate(zip(models, draws)):
            said[place].append(page["judge"](model, data["test"]).logits.log_softmax(1))
        note(name, [one[-1] for one in said], **settings)
    joined = [torch.stack(one, 1) for one in said]  # (B, M, C)
    note("mean of probabilities", [one.exp().mean(1).log() for one in joined])
    note("product of experts", [one.sum(1) for one in joined])
    for rule in rules:
        models, settings = tuned(page, STRATEGIES[RULES[rule]], draws, names, epochs)
        results = [page["judge"](model, data["test"]) for model, data in zip(models, draws)]
        note(rule, [one.logits for one in results], **settings)
    return rows


JOINED = ("product of experts", "linear fusion")


def rules(page: dict) -> dict:
    """Every rule on `digits`, and the two that the page compares with the sound shuffled among the
    samples.

    About two minutes on one core.
    """
    draws = [page["load"](seed) for seed in tqdm(SEEDS, "load")]
    rows = compared(page, draws, 40, RULES)
    control = compared(page, draws, 40, ["linear fusion"], shuffled="audio")
    return rows | {f"{name}, audio shuffled": control[name] for name in JOINED}


def data_and_noise(page: dict) -> dict:
    """Product of experts and linear fusion from fewer samples, and with a second digit that
    disturbs all three modalities to one random degree.

    About three minutes on one core.
    """
    rows = {}
    draws = [page["load"](seed) for seed in tqdm(SEEDS, "load")]
    for count in tqdm((160, 320, 640)):
        fewer = []
        for data in draws:
            part = {name: value[:count] for name, value in data["train"].items()}
            fewer.append(data | {"train": part})
        epochs = 40 * 1280 // count  # as many steps as with all
        found = compared(page, fewer, epochs, ["linear fusion"])
        rows |= {f"{name}, {count} samples": found[name] for name in JOINED}
    for degree in tqdm((0.5, 1.0)):
        draws = [page["load"](seed, shared_noise=degree) for seed in SEEDS]
        found = compared(page, draws, 40, ["linear fusion"])
        rows |= {f"{name}, shared noise {degree:g}": found[name] for name in JOINED}
    return rows


def solved(data, names, C) -> dict:
    """Log-probabilities of logistic regression, solved to its minimum, with the penalty 1 / C."""
    columns = {part: torch.cat([rows[name] for name in names], 1) for part, rows in data.items()}
    model = LogisticRegression(C=C, max_iter=2000)
    model.fit(columns["train"].double().numpy(), data["train"]["label"].numpy())
    return {
        part: torch.from_numpy(model.predict_log_proba(columns[part].double().numpy()))
        for part in ("validation", "test")
    }


def penalised(draws, names) -> tuple[list, float]:
    """Test log-probabilities for each draw, and the C with the lowest validation loss in all."""
    losses, said = {}, {}
    for C in PENALTIES:
        found = [solved(data, names, C) for data in draws]
        pairs = zip(found, draws)
        losses[C] = sum(
            cross_entropy(one["validation"], data["validation"]["label"]).item()
            for one, data in pairs
        )
        said[C] = [one["test"] for one in found]
    C = min(losses, key=losses.get)
    return said[C], C


PENALTIES = [10 ** (k / 2) for k in range(-4, 7)]


def to_the_end(page: dict) -> dict:
    """Product of experts and linear fusion once more, each a logistic regression that is solved
    to its minimum, its penalty by the validation set.

    About three minutes on one core.
    """
    rows, full = {}, [page["load"](seed) for seed in tqdm(SEEDS, "load")]
    cases = {"1,287 samples": full}
    for count in (640, 320, 160):
        cases[f"{count} samples"] = [
            data | {"train": {name: value[:count] for name, value in data["train"].items()}}
            for data in full
        ]
    for degree in (0.5, 1.0):
        cases[f"shared noise {degree:g}"] = [
            page["load"](seed, shared_noise=degree) for seed in SEEDS
        ]
    for case, draws in tqdm(cases.items()):
        alone = [penalised(draws, (name,)) for name in NAMES]
        product = [torch.stack(one).sum(0) for one in zip(*(said for said, _ in alone))]
        together, C = penalised(draws, NAMES)
        settings = ([C for _, C in alone], [C])
        for name, logits, used in zip(JOINED, (product, together), settings):
            row = {"C": used, "accuracy": [], "loss": []}
            for one, data in zip(logits, draws):
                label = data["test"]["label"]
                row["accuracy"].append(round((one.argmax(1) == label).double().mean().item(), 4))
                row["loss"].append(round(cross_entropy(one, label).item(), 4))
            rows[f"{name}, {case}"] = row
    return rows


def real(page: dict) -> dict:
    """Every rule on MNIST's pictures, recordings of speakers who are held out, and typed words; the
    sound in bands as they come, the other two centred and scaled.

    About four minutes on one core, with MNIST and FSDD.
    """
    draws = _public(page)
    rows = compared(page, draws, 15, RULES)
    control = compared(page, draws, 15, ["linear fusion"], shuffled="audio")
    return rows | {f"{name}, audio shuffled": control[name] for name in JOINED}


def _public(page, **options):
    options = {"source": "mnist-fsdd", "scaled": ("text", "image")} | options
    return [page["load"](seed, **options) for seed in tqdm(SEEDS, "load")]


def real_scaled(page: dict) -> dict:
    """The same with bands that are centred and scaled by the training speakers, too.

    About two minutes on one core, with MNIST and FSDD.
    """
    rows = compared(page, _public(page, scaled=NAMES), 15, ["linear fusion"])
    return {name: rows[name] for name in ("audio", *JOINED)}


def real_mfcc(page: dict) -> dict:
    """The same with 104 numbers by MFCC for the sound, as they come.

    About two minutes on one core, with MNIST and FSDD.
    """
    rows = compared(page, _public(page, sound=mfcc_features), 15, ["linear fusion"])
    return {name: rows[name] for name in ("audio", "mean of probabilities", *JOINED)}


def real_mfcc_scaled(page: dict) -> dict:
    """The same with 104 numbers by MFCC, centred and scaled by the training speakers.

    About two minutes on one core, with MNIST and FSDD.
    """
    rows = compared(page, _public(page, sound=mfcc_features, scaled=NAMES), 15, ["linear fusion"])
    return {name: rows[name] for name in ("audio", "mean of probabilities", *JOINED)}


SWEEPS = [weights, rules, data_and_noise, to_the_end]
SWEEPS += [real, real_scaled, real_mfcc, real_mfcc_scaled]
