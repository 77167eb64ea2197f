"""The stored comparisons of page 24: one key with and without a null, and pairs of scans and
spoken digits with and without shared positives.
"""

from functools import partial

import torch
from tqdm import tqdm

from course_utils.exercises import reference

SEEDS = range(5)
RATES, EPOCHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0), (10, 30)
NULLS = {
    "one key": {"null": ""},
    "one key and a learned null": {"null": "learned"},
    "its null stays at zero": {"null": "zero"},
    "learned null, one query for all": {"null": "learned", "blind": True},
}


def null(page: dict) -> dict:
    """XOR by a text that asks one picture, with gradients by hand.

    About twenty seconds on one core.
    """
    page["attention_backward"] = reference("24.1")
    rows = {}
    for name, dials in NULLS.items():
        runs = [page["learn_to_ask"](seed=seed, **dials)[2] for seed in tqdm(SEEDS, name)]
        rows[name] = {"accuracy": [round(one, 4) for one in runs]}
    return rows


def pairs(page: dict) -> dict:
    """Scans and spoken digits in one space, by hand: the share that finds its digit, and the
    temperature. Rate and epochs are chosen on the validation set, for each row and seed.

    About a minute on one core.
    """
    page["pairs_backward"] = reference("24.2")
    rows: dict = {}
    for seed in tqdm(SEEDS):
        data = page["load"](seed)
        for name, dials, train in _ways(data["train"], seed):
            run = partial(page["train_towers"], page["towers_by_hand"], train, seed, **dials)
            tried = [(rate, epochs) for rate in RATES for epochs in EPOCHS]
            nets = [run(rate=rate, epochs=epochs)[0] for rate, epochs in tried]
            found = [page["finds"](net, data["validation"]) for net in nets]
            best = max(range(len(tried)), key=found.__getitem__)
            row = rows.setdefault(name, {})
            _note(page, row, nets[best], data["test"])
            row.setdefault("rate and epochs", []).append(tried[best])
    return rows


def mnist(page: dict) -> dict:
    """The same on MNIST and FSDD, with rate 1 and ten epochs; and how far the loss by hand is from
    autograd's.

    About a minute on one core.
    """
    page["pairs_backward"] = reference("24.2")
    rows: dict = {}
    for seed in tqdm(SEEDS):
        data = page["load"](seed, source="mnist-fsdd")
        for name, dials, train in _ways(data["train"], seed):
            row = rows.setdefault(name, {})
            net, losses = page["train_towers"](page["towers_by_hand"], train, seed, **dials)
            _note(page, row, net, data["test"])
            _, theirs = page["train_towers"](page["towers_by_autograd"], train, seed, **dials)
            apart = max(abs(one - other) for one, other in zip(losses, theirs, strict=True))
            row.setdefault("difference", []).append(apart)
    return rows


def _ways(train: list, seed: int):
    """(name, dials, training part) of each row; in the last the sounds are of other rows."""
    scans, sounds, labels = train
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(100 + seed))
    yield "positives shared", {"shared": True}, train
    yield "one positive each", {"shared": False}, train
    yield "sounds shuffled", {"shared": True}, [scans, sounds[order], labels]


def _note(page: dict, row: dict, net: dict, test: list) -> None:
    row.setdefault("accuracy", []).append(round(page["finds"](net, test), 4))
    temperature = (-net["log_scale"]).exp().item()
    row.setdefault("temperature", []).append(round(temperature, 4))


SWEEPS = [null, pairs, mnist]
