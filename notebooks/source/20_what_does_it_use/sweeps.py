"""The stored comparisons of page 20: what models of earlier pages use of their modalities, trained
by those pages' own code; ways to switch off; two gates; few questions; public recordings.

Accuracy by what is there: {"none": ..., "text": ..., "text + image": ..., ...}, one a seed.
"""

from functools import partial

import numpy as np
import sweep  # tools/, which runs this file
import torch
from torch import nn
from tqdm import tqdm

from course_utils.attribution import emap, subset_scores
from course_utils.datasets.gates import LARGE
from course_utils.metrics import accuracy
from course_utils.rooms import load as room_part
from course_utils.rooms import stored

SEEDS = range(5)
DRAWS = 3  # of permutations, whose scores are averaged
ALL = ("text", "image", "audio")


def label(present) -> str:
    return " + ".join(present) or "none"


def by_subset(predict, inputs, score, absent="permutation") -> dict[str, float]:
    """The score by the names of what is present; of permutations, the mean of some draws."""
    draws = range(DRAWS if absent == "permutation" else 1)
    found = [subset_scores(predict, inputs, score, absent, seed=draw) for draw in draws]
    names = list(inputs)
    shares = {}
    for present in found[0]:
        ordered = [name for name in names if name in present]
        shares[label(ordered)] = sum(scores[present] for scores in found) / len(found)
    return shares


def note(row: dict, scores: dict[str, float]) -> None:
    for name, value in scores.items():
        row.setdefault("accuracy", {}).setdefault(name, []).append(round(float(value), 4))


def used(page, predict, inputs, labels) -> dict[str, float]:
    """Its accuracies by subset, and without interaction: `additive` of page 20 for three
    modalities, EMAP for two.
    """

    def score(logits):
        return accuracy(logits, labels)

    scores = by_subset(predict, inputs, score)
    if len(inputs) == 2:
        return scores | {"additive": score(emap(predict, inputs))}
    with torch.no_grad():
        return scores | {"additive": score(page["additive"](predict, inputs))}


# ---- digits ----


def train_digits(page, strategy, data, seed, names=ALL, **dials):
    make = partial(page["digit_model"], strategy, data, names)
    return page["train"](make, data, seed, epochs=20, batch=128, **dials).eval()


def inputs_of(part: dict, names=ALL) -> dict:
    return {name: part[name] for name in names}


def ways(page: dict) -> dict:
    """The glue on `digits`, trained on all three with page 13's rate and decay: its accuracy by
    what is there, with the others switched off in three ways.

    About twenty seconds on one core.
    """
    rows: dict = {}
    for _, model, inputs, labels in digit_models(page, "digits", ("concat",)):
        right = partial(accuracy, labels=labels)
        for absent in ("zero", "mean", "permutation"):
            note(rows.setdefault(absent, {}), by_subset(model, inputs, right, absent))
    return rows


def digit_models(page: dict, stored_as: str, names: tuple, **dials):
    """Yields (name, predict, inputs, labels) for strategies of page 13 with its rate and decay."""
    old, rows = sweep.measured_cells("13"), stored("13", stored_as)
    for seed in tqdm(SEEDS, stored_as):
        data = old["load"](seed, **dials)
        for strategy in names:
            row = rows[strategy]
            model = train_digits(old, strategy, data, seed, lr=row["lr"], decay=row["weight_decay"])
            yield f"digits, {strategy}", model, inputs_of(data["test"]), data["test"]["label"]


# ---- questions about scenes (page 26) ----


def asking(model):
    """Its logits of {"question", "picture"}, which `emap` and `subset_scores` take."""

    def predict(inputs):
        return model({"ids": inputs["question"]} | inputs["picture"])

    return predict


def scene_inputs(part: dict) -> dict:
    return {"question": part["ids"], "picture": {"cells": part["cells"], "mask": part["mask"]}}


def scene_models(page: dict):
    """Questions "is there ...?" as somebody asks, 1,500, for 20 and for 100 passes; and 3,000 about
    colour, shape and size.
    """
    old = sweep.measured_cells("26")
    sizes = {"train": 1_500, "validation": 500, "test": 500}
    asked = {split: old["asked"](split, size) for split, size in sizes.items()}
    named = {}
    for split, size in (sizes | {"train": 3_000}).items():
        named[split], _ = old["load"](split, ("colour", "shape", "size"), size)
    named["train"] = old["some_missing"](named["train"], 0)
    runs = {
        "is there, 20 passes": (asked, 1e-2, 20),
        "is there, 100 passes": (asked, 1e-2, 100),
        "colour, shape, size": (named, 3e-2, 20),
    }
    for name, (data, lr, epochs) in runs.items():
        for seed in tqdm(SEEDS, name):
            model, _ = old["train"](
                old["Asker"], data["train"], data["validation"], seed, epochs=epochs, lr=lr
            )
            yield name, asking(model), scene_inputs(data["test"]), data["test"]["label"]


def few(page: dict) -> dict:
    """500 questions "is there ...?" for 20 passes, and the same with the pictures shuffled in all
    splits; EMAP on 200 test samples; the share of answers that another's picture changes.

    About twenty seconds on one core.
    """
    old, mixed = sweep.measured_cells("26"), room_part("26", "sweeps").shuffled
    data = {split: old["asked"](split, size) for split, size in page["ASKED"].items()}
    rows: dict = {"is there, 500": {}, "is there, shuffled": {}}
    for seed in tqdm(SEEDS):
        for name, row in rows.items():
            here = mixed(data, seed) if name.endswith("shuffled") else data
            model, _ = old["train"](old["Asker"], here["train"], here["validation"], seed, lr=1e-2)
            predict, inputs = asking(model), scene_inputs(here["test"])
            right = partial(accuracy, labels=here["test"]["label"])
            note(row, by_subset(predict, inputs, right))
            said = predict(inputs).argmax(dim=1)
            kept = by_subset(predict, inputs, partial(accuracy, labels=said))["question"]
            row.setdefault("moved", []).append(round(1 - kept, 4))
            some = scene_inputs({key: x[:200] for key, x in here["test"].items()})
            labels = here["test"]["label"][:200]
            note(row, {"additive": accuracy(emap(predict, some), labels)})
            note(row, {"those 200": accuracy(predict(some).detach(), labels)})
    return rows


# ---- moods (page 27) ----


def mood_models(page: dict):
    """The regression on words, tone and emoji."""
    old, own = sweep.measured_cells("27"), room_part("27", "sweeps")
    melodies = {split: old["melodies"](split) for split in ("train", "validation", "test")}
    rates = stored("27", "tone")["packed"]["rate"]
    for seed in tqdm(SEEDS, "moods"):
        reader, _ = old["read_tone"](own.own_end, melodies, seed, rates[seed])
        x, y = {}, {}
        for split, part in melodies.items():
            with torch.no_grad():
                found, y[split] = old["features"](split, seed, reader(part["steps"], part["mask"]))
            x[split] = {name: value.numpy() for name, value in found.items()}
        answers = {split: one.numpy() for split, one in y.items()}
        model, _ = own.fit_moods(x, answers, ("words", "tone", "emoji"))

        def predict(inputs, model=model):
            rows = np.hstack([one.double().numpy() for one in inputs.values()])
            odds = torch.from_numpy(model.decision_function(rows))
            return torch.stack([-odds, odds], dim=1)

        inputs = {name: torch.from_numpy(value) for name, value in x["test"].items()}
        yield "moods, regression", predict, inputs, y["test"]


def own(page: dict) -> dict:
    """Models of pages 13, 26 and 27: accuracy by what is there (else another sample's), and
    without interaction.

    About three minutes on one core.
    """
    rows: dict = {}
    models = [
        digit_models(page, "digits", ("concat", "tensor of 8")),
        scene_models(page),
        mood_models(page),
    ]
    for family in models:
        for name, predict, inputs, labels in family:
            note(rows.setdefault(name, {}), used(page, predict, inputs, labels))
    return rows


def own_real(page: dict) -> dict:
    """The same for MNIST pictures, typed words and recordings, on 200 test samples.

    About four minutes on one core, with MNIST and FSDD.
    """
    rows: dict = {}
    found = digit_models(page, "digits_real", ("concat", "tensor of 8"), source="mnist-fsdd")
    for name, predict, inputs, labels in found:
        chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:200]
        inputs = {key: x[chosen] for key, x in inputs.items()}
        row = rows.setdefault(f"real {name}", {})
        note(row, used(page, predict, inputs, labels[chosen]))
    return rows


# ---- gates ----


def gates(page: dict) -> dict:
    """Tensor fusion on two copies of a bit and on XOR, 2,000 samples each: accuracy by what is
    there, for the absent its mean or another's.

    About twenty seconds on one core.
    """
    old, rows = sweep.measured_cells("13"), {}
    dials = {"dim": LARGE["dim"], "noise": LARGE["noise"], "flips": LARGE["flips"]}
    dims = dict.fromkeys(old["BOTH"], LARGE["dim"])

    def make() -> nn.Module:
        return old["Model"](old["STRATEGIES"]["tensor of 8"](dims, 2), old["BOTH"])

    for gate in ("redundant", "xor"):
        for seed in tqdm(SEEDS, gate):
            data = old["samples"](gate, LARGE["rows"], seed, **dials)
            model = old["train"](make, data, seed, epochs=15).eval()
            inputs = inputs_of(data["test"], old["BOTH"])
            right = partial(accuracy, labels=data["test"]["label"])
            for absent in ("mean", "permutation"):
                row = rows.setdefault(f"{gate}: {absent}", {})
                note(row, by_subset(model, inputs, right, absent))
    return rows


SWEEPS = [ways, own, own_real, few, gates]
