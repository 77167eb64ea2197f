"""The stored comparisons of page 08: two means of one epoch, the learning rate and the batch size,
three habits of training, and what helps against learning wrong labels by heart.
"""

import torch
from tqdm import tqdm

SEEDS = range(5)
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SIZES = (8, 32, 128, 512)
HABITS = {
    "nothing": {},
    "warm-up": {"plan": "warm-up"},
    "cosine schedule": {"plan": "cosine"},
    "clipping": {"clip": 1.0},
    "all three": {"plan": "both", "clip": 1.0},
}
STRENGTHS = {
    "weight decay": ("decay", (1.0, 3.0, 10.0, 30.0)),
    "dropout": ("drop", (0.5, 0.8, 0.9, 0.95)),
    "a smaller network": ("hidden", (2, 4, 8, 16)),
}


def means(page: dict, seeds=range(20)) -> dict:
    """Which epoch is best by the mean over validation samples, and by the mean of batch means in
    batches of 64, the last of which has two samples: twenty seeds.

    About one minute on one core.
    """
    rows = {"samples": {"best": [], "accuracy": []}, "batch means": {"best": [], "accuracy": []}}
    for seed in tqdm(seeds):
        data, by = page["load"](seed), {name: [] for name in rows}
        scores = []

        def watch(net, by=by, data=data, scores=scores):
            losses = page["losses"](net, data["validation"])  # (N,)
            by["samples"].append(losses.mean().item())
            parts = [part.mean().item() for part in losses.split(64)]
            by["batch means"].append(sum(parts) / len(parts))
            scores.append(page["right"](net, data["test"]))

        page["train"](data, seed, epochs=20, watch=watch)
        for name, row in rows.items():
            best = min(range(20), key=by[name].__getitem__)
            row["best"].append(best)
            row["accuracy"].append(round(scores[best], 4))
    return rows


def grid(page: dict) -> dict:
    """Accuracy on the validation set after 20 epochs, by learning rate and batch size.

    About four minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        data = page["load"](seed)
        for size in SIZES:
            for rate in RATES[::2]:
                net = page["train"](data, seed, epochs=20, lr=rate, size=size)[0]
                row = rows.setdefault(f"{size} samples, rate {rate}", {"accuracy": []})
                row["accuracy"].append(round(page["right"](net, data["validation"]), 4))
    return rows


def habits(page: dict) -> dict:
    """Warm-up, a cosine schedule and clipping, each alone and together: at the rate that is best on
    the validation set of seed 0, and at ten times this rate.

    About two minutes on one core.
    """
    draws = [page["load"](seed) for seed in tqdm(SEEDS, "load")]
    rows = {}
    for name, extra in HABITS.items():
        losses = {}
        for rate in tqdm(RATES, name):
            net = page["train"](draws[0], 0, epochs=20, lr=rate, **extra)[0]
            losses[rate] = page["losses"](net, draws[0]["validation"]).mean().item()
        best = min(losses, key=losses.get)
        for factor in (1, 10):
            scores = []
            for seed, data in enumerate(draws):
                net = page["train"](data, seed, epochs=20, lr=factor * best, **extra)[0]
                scores.append(round(page["right"](net, data["test"]), 4))
            rows[f"{name}, x {factor}"] = {"rate": factor * best, "accuracy": scores}
    return rows


def remedies(page: dict) -> dict:
    """40 epochs on labels of which 30 % are drawn anew: each remedy alone, its strength the one
    with the lowest validation loss of seed 0; test accuracy on clean labels.

    About four minutes on one core.
    """
    draws = [page["relabelled"](page["load"](seed), seed) for seed in tqdm(SEEDS, "load")]
    rows = {name: {"accuracy": []} for name in ("nothing", "early stopping")}
    rows["nothing"]["curves"] = []
    for seed, data in enumerate(draws):
        run = _stopped(page, data, seed)
        rows["nothing"]["accuracy"].append(run["last"])
        rows["nothing"]["curves"].append(run["curve"])
        rows["early stopping"]["accuracy"].append(run["best"])
    for name, (argument, values) in STRENGTHS.items():
        losses = {}
        for value in tqdm(values, name):
            net = page["train"](draws[0], 0, epochs=40, **{argument: value})[0]
            losses[value] = page["losses"](net, draws[0]["validation"]).mean().item()
        best = min(losses, key=losses.get)
        runs = [_stopped(page, data, seed, **{argument: best}) for seed, data in enumerate(draws)]
        rows[name] = {"strength": best, "accuracy": [run["last"] for run in runs]}
        both = [run["best"] for run in runs]
        rows[f"{name} and early stopping"] = {"strength": best, "accuracy": both}
    half = [
        data | {"train": {name: value[::2] for name, value in data["train"].items()}}
        for data in draws
    ]
    runs = [_stopped(page, data, seed) for seed, data in enumerate(half)]
    rows["half of the samples"] = {"accuracy": [run["last"] for run in runs]}
    return rows


def real(page: dict) -> dict:
    """Without a remedy and with early stopping on pictures of MNIST, typed words and recordings of
    other speakers, labels drawn anew as in `remedies`.

    About three minutes on one core, with MNIST and FSDD.
    """
    rows = {name: {"accuracy": []} for name in ("nothing", "early stopping")}
    for seed in tqdm(SEEDS):
        data = page["relabelled"](page["load"](seed, source="mnist-fsdd"), seed)
        run = _stopped(page, data, seed)
        rows["nothing"]["accuracy"].append(run["last"])
        rows["early stopping"]["accuracy"].append(run["best"])
    return rows


def _stopped(page: dict, data: dict, seed: int, **extra) -> dict:
    """The test accuracy after the last epoch and after the best on the validation set."""
    scores = []
    _, curve = page["train"](
        data,
        seed,
        epochs=40,
        watch=lambda net: scores.append(page["right"](net, data["test"])),
        **extra,
    )
    validation = torch.tensor([one[1] for one in curve])
    return {
        "last": round(scores[-1], 4),
        "best": round(scores[validation.argmin().item()], 4),
        "curve": [[round(value, 4) for value in one] for one in curve],
    }


SWEEPS = [means, grid, habits, remedies, real]
