"""The stored comparisons of page 11: modalities taken by place instead of by name, and a layer that
never learns beside its sound twin.
"""

import torch
from tqdm import tqdm

from course_utils.training import shuffle_splits

SEEDS = range(5)
SPLITS = ("train", "validation", "test")
WIDTHS = (4, 8, 16, 32, 64)
NAMES = ("text", "image")


def with_gaps(part, there):
    """A split in which a modality is zeros where `there[name]` (N,) is False, and its mask."""
    kept = {name: torch.where(rows[:, None], part[name], 0.0) for name, rows in there.items()}
    return part | kept | {"mask": there}


def some_missing(part, seed):
    """About four rows of ten lack one modality, never both: of each three in ten are drawn, and a
    row from which both would go stays whole.
    """
    rows = torch.rand(len(part["label"]), 2, generator=torch.Generator().manual_seed(seed)) > 0.3
    rows[~rows.any(dim=1)] = True
    return with_gaps(part, dict(zip(NAMES, rows.unbind(dim=1))))


def order(page: dict) -> dict:
    """A layer that goes by place, given its features or its mask in another order, always or at
    test time alone; accuracy on the test set.

    About one minute on one core.
    """
    rows, train, score = {}, page["train"], page["score"]

    def note(name, model, part):
        rows.setdefault(name, {"accuracy": []})["accuracy"].append(round(score(model, part), 4))

    for seed in tqdm(SEEDS):
        data = {split: page["load"](split, seed) for split in SPLITS}
        for name, kind in (("by place", "ByPlace"), ("by name", "MeanFusion")):
            model = train(page[kind], data, seed)
            note(f"{name}: in order", model, data["test"])
            model.turned = ("features",)
            note(f"{name}: turned at test time", model, data["test"])
            model = train(page[kind], data, seed, turned=("features",))
            note(f"{name}: turned in every batch", model, data["test"])

        gaps = {}
        for place, (split, part) in enumerate(data.items()):
            gaps[split] = some_missing(part, 10 * seed + place)
        rows_there = torch.ones(len(data["test"]["label"]), dtype=torch.bool)
        whole = with_gaps(data["test"], {"text": rows_there, "image": rows_there})
        no_text = with_gaps(data["test"], {"text": ~rows_there, "image": rows_there})
        for name, turned in (("in order", ()), ("turned in every batch", ("mask",))):
            model = train(page["ByPlace"], gaps, seed, turned=turned)
            note(f"mask {name}: all there", model, whole)
            note(f"mask {name}: text missing", model, no_text)
    return rows


def dead(page: dict) -> dict:
    """A layer whose projections stand in a plain dict, and its sound twin, behind encoders that are
    trained and behind frozen ones, at five widths; and, for one width, the controls.

    About three minutes on one core.
    """
    rows, train, score = {}, page["train"], page["score"]
    layers = {"sound": page["MeanFusion"], "dead": page["DictFusion"]}
    for seed in tqdm(SEEDS):
        data = {split: page["load"](split, seed) for split in SPLITS}
        shuffled = shuffle_splits(data, "image", seed)
        alone = {}
        for split, part in data.items():
            there = torch.ones(len(part["label"]), dtype=torch.bool)
            alone[split] = with_gaps(part, {"text": there, "image": ~there})
        runs = []
        for name, kind in layers.items():
            for width in WIDTHS:
                runs.append((f"{name}, trained, width {width}", data, kind, width, False))
                runs.append((f"{name}, frozen, width {width}", data, kind, width, True))
            runs.append((f"{name}, trained, width 64, picture shuffled", shuffled, kind, 64, False))
        runs.append(("text alone, trained, width 64", alone, layers["sound"], 64, False))
        for name, given, kind, width, frozen in runs:
            model = train(kind, given, seed, width, frozen=frozen)
            row = rows.setdefault(name, {"accuracy": []})
            row["accuracy"].append(round(score(model, given["test"]), 4))
    return rows


def more(page: dict, seeds=range(5, 15)) -> dict:
    """Sound and dead behind trained encoders, 64 wide, with the ten seeds that the rows are named
    after: what five could not tell.

    About one minute on one core.
    """
    rows = {}
    for seed in tqdm(seeds):
        data = {split: page["load"](split, seed) for split in SPLITS}
        for name, kind in (("sound", "MeanFusion"), ("dead", "DictFusion")):
            model = page["train"](page[kind], data, seed)
            row = rows.setdefault(f"{name}, trained, seeds 5 to 14", {"accuracy": []})
            row["accuracy"].append(round(page["score"](model, data["test"]), 4))
    return rows


SWEEPS = [order, dead, more]
