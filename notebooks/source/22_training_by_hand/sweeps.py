"""The stored comparisons of page 22: slips on the way back at three widths, and one network trained
by hand and by autograd.
"""

from torch.nn import functional as F
from tqdm import tqdm

from course_utils.exercises import reference
from course_utils.metrics import accuracy

SEEDS = range(5)
WIDTHS = (16, 64, 256)


def slips(page: dict) -> dict:
    """A network 64-width-width-10 on clean scans, with one slip on the way back: its accuracy, how
    much of the test set a step of the input alone helps, and the cosine of what reaches the first
    layer with what should, at the start and after training.

    About two minutes on one core.
    """
    data = [(page["pixels"]("train", seed), page["pixels"]("test", seed)) for seed in SEEDS]
    rows = {}
    for width in tqdm(WIDTHS):
        for seed, (train, test) in enumerate(data):
            start = page["descend"]("right", width, seed, *train, epochs=0)
            for way in page["WAYS"]:
                end = page["descend"](way, width, seed, *train)
                row = rows.setdefault(f"{way}, {width}", {})
                for name, value in {
                    "accuracy": page["right_share"](end, *test),
                    "helped": helped(page, start, *test, way),
                    "cosine at the start": alike(page, start, *train, way),
                    "cosine at the end": alike(page, end, *train, way),
                }.items():
                    row.setdefault(name, []).append(round(value, 4))
    return rows


def helped(page: dict, weights: list, x, labels, way: str, size: float = 1e-4) -> float:
    """The share of samples whose own loss a small step of the input against its gradient lowers."""
    _, d_x = page["send_back"](weights, x, labels, way)
    moved = x - size * F.normalize(d_x, dim=1)
    before, after = (
        F.cross_entropy(page["send_on"](weights, rows)[-1], labels, reduction="none")
        for rows in (x, moved)
    )
    return (after < before).double().mean().item()


def alike(page: dict, weights: list, x, labels, way: str) -> float:
    """The cosine between the first layer's gradient and the right one."""
    (found, *_), _ = page["send_back"](weights, x, labels, way)
    (right, *_), _ = page["send_back"](weights, x, labels, "right")
    return F.cosine_similarity(found.flatten(), right.flatten(), dim=0).item()


def by_hand(page: dict) -> dict:
    """A network trained with gradients by hand and by autograd: its accuracy, and how far the two
    loss curves are apart.

    About three minutes on one core, with MNIST and FSDD.
    """
    page["layer_backward"], page["table_backward"] = reference("22.1"), reference("22.2")
    rows = {}
    for name, epochs, source in (("digits", 40, "bundled"), ("mnist", 10, "mnist-fsdd")):
        rows[name] = {"epochs": epochs, "accuracy": [], "difference": []}
        for seed in tqdm(SEEDS, name):
            train, test = (page["load"](split, seed, source=source) for split in ("train", "test"))
            net, ours = page["train"](page["by_hand"], train, seed, epochs)
            _, theirs = page["train"](page["by_autograd"], train, seed, epochs)
            logits = page["forward"](net, test)["logits"]
            rows[name]["accuracy"].append(round(accuracy(logits, test["label"]), 4))
            apart = [abs(one - other) for one, other in zip(ours, theirs, strict=True)]
            rows[name]["difference"].append(max(apart))
    return rows


def frozen_above(page: dict) -> dict:
    """The accuracy where the first layer alone trains, at width 64: with the right matrix on the
    way back, and with the transposed one.

    About half a minute on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        train, test = (page["pixels"](split, seed) for split in ("train", "test"))
        for way in ("right", "transposed"):
            end = page["descend"](way, 64, seed, *train, rates=(0.1, 0, 0))
            row = rows.setdefault(way, {"accuracy": []})
            row["accuracy"].append(round(page["right_share"](end, *test), 4))
    return rows


SWEEPS = [slips, frozen_above, by_hand]
