"""The stored comparisons of page 10: loud and wide pictures, "the same digit?" on two data sets,
and the picture and the text trained end to end.
"""

from functools import partial

import torch
from torch import nn
from tqdm import tqdm

from course_utils.datasets import Digits, collate
from course_utils.exercises import reference
from course_utils.training import Batches, evaluate, shuffle_splits

SEEDS = range(5)
SPLITS = ("train", "validation", "test")
RATES = (1e-3, 3e-3, 1e-2)
BOTH = ("text", "image")


def imbalance(page: dict) -> dict:
    """Text and picture of `digits` glued, the picture as it comes, loud or wide, without and with
    each remedy, at two budgets; and each alone. The learning rate of each row is the best of three
    on the validation set of seed 0.

    About eight minutes on one core.
    """
    draws = [
        {split: page["load"](split, seed) for split in SPLITS} for seed in tqdm(SEEDS, "load")
    ]
    rows = {}
    for (names, way, remedy, shuffled), epochs in tqdm(
        [(one, epochs) for epochs in (10, 60) for one in imbalanced(page)]
    ):
        data = [page["changed"](draw, way) for draw in draws]
        if shuffled:
            data = [shuffle_splits(draw, "image", seed) for seed, draw in enumerate(data)]
        make = partial(page["with_remedy"], names, way, remedy)
        losses = {}
        for lr in RATES:
            model = page["train"](make, data[0], 0, epochs, lr)
            losses[lr] = evaluate(model, Batches(data[0]["validation"], 2048)).loss
        lr = min(losses, key=losses.get)
        scores = [
            page["score"](page["train"](make, draw, seed, epochs, lr), draw).accuracy
            for seed, draw in enumerate(data)
        ]
        name = ", ".join([" + ".join(names), way, remedy, f"{epochs} epochs"])
        rows[name + (", shuffled" if shuffled else "")] = {
            "lr": lr,
            "accuracy": [round(score, 4) for score in scores],
        }
    return rows


def imbalanced(page: dict):
    """(names, way, remedy, shuffled) of each row."""
    for remedy in ("nothing", "both"):
        yield ("text",), "as it comes", remedy, False
        for way in page["WAYS"]:
            yield ("image",), way, remedy, False
    for way in page["WAYS"]:
        for remedy in page["REMEDIES"]:
            yield BOTH, way, remedy, False
    yield BOTH, "as it comes", "both", True


def fits(page: dict) -> dict:
    """Page 10's question "the same digit?" for a clean picture and a clean word of `digits`.

    About two minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        data = {split: page["pairs"](split, seed) for split in SPLITS}
        for name, result in compared(page, data, seed, "text", alone=True).items():
            rows.setdefault(name, {"accuracy": []})["accuracy"].append(result)
    return rows


def fits_real(page: dict) -> dict:
    """The same for a MNIST image and a typed word, and for a MNIST image and a recording.

    About five minutes on one core, with MNIST and FSDD.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        for other in ("text", "audio"):
            data = {
                split: page["pairs"](split, seed, other, source="mnist-fsdd") for split in SPLITS
            }
            for name, result in compared(page, data, seed, other).items():
                row = rows.setdefault(f"image + {other}: {name}", {"accuracy": []})
                row["accuracy"].append(result)
    return rows


def compared(page: dict, data: dict, seed: int, other: str, alone: bool = False) -> dict:
    """The test accuracy of each way to glue, of the control, and of each modality alone."""
    dims = {name: part.shape[1] for name, part in data["train"].items() if part.dim() == 2}
    runs = {name: (partial(make, dims), data) for name, make in page["GLUES"].items()}
    hidden = page["GLUES"]["concat, hidden"]
    flipped = {split: {**part, other: part[other].flip(0)} for split, part in data.items()}
    runs["concat, hidden, shuffled"] = (partial(hidden, dims), flipped)
    if alone:
        for name, width in dims.items():
            runs[f"{name} alone, hidden"] = (partial(hidden, {name: width}), data)
    found = {}
    for name, (make, part) in runs.items():
        model = page["train"](make, part, seed, epochs=20, lr=3e-3)
        found[name] = round(page["score"](model, part).accuracy, 4)
    return found


def end_to_end(page: dict) -> dict:
    """The picture's network, the letters' table and the glue, trained together on `digits`.

    About four minutes on one core.
    """
    rows, use = {}, {"text": (False, True), "image": (True, False), "both": (True, True)}
    networks = {"two convolutions": two_convolutions, "three (page 03)": three_convolutions}
    runs = [("text", "two convolutions")]
    runs += [(way, name) for way in ("image", "both") for name in networks]
    for seed in tqdm(SEEDS):
        for way, name in runs:
            data = pictures_and_letters(seed, *use[way])
            make = networks[name]
            model = page["train"](make, data, seed, 20, 5e-3, wrap=page["EndToEnd"])
            row = rows.setdefault(f"{way}: {name}" if way != "text" else way, {"accuracy": []})
            row["accuracy"].append(round(page["score"](model, data).accuracy, 4))
    return rows


def two_convolutions() -> nn.Module:
    """Page 03's network without its third block and without batch norm."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def three_convolutions() -> nn.Module:
    return reference("03.2")(1)


def pictures_and_letters(seed: int, image: bool, text: bool) -> dict:
    """`digits` as it is, with what a model may see of it marked as there."""
    data = {}
    for split in SPLITS:
        batch = collate(list(Digits(split, seed=seed)))
        data[split] = {name: batch[name] for name in ("text", "image", "label")}
        data[split]["letters_there"] = batch["mask"]["text"] & text
        data[split]["image_there"] = torch.full_like(batch["label"], image, dtype=torch.bool)
    return data


SWEEPS = [imbalance, fits, fits_real, end_to_end]
