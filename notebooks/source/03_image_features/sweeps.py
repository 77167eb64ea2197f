"""The stored comparisons of page 03: the network against the pixels, shapes in known and new
colours, a shift, what a global mean needs, and page 00's model with another picture extractor.
"""

from functools import partial

from tqdm import tqdm

from course_utils.exercises import reference
from course_utils.training import Batches, evaluate, shuffle_splits

SEEDS = range(5)
SPLITS = ("train", "validation", "test")
DECAYS = (0.01, 0.1, 1.0, 3.0)
PLUGGED = {  # row: what stands for the picture, whether it is shuffled among the samples
    "pixels (page 00)": (["pixels"], False),
    "PictureNet (03)": (["vector"], False),
    "pixels and PictureNet (03)": (["pixels", "vector"], False),
    "PictureNet, vectors shuffled": (["vector"], True),
}


def parts(page: dict) -> dict:
    """The page's names, with the course's own answers to its exercises."""
    answers = {"PictureNet": reference("03.2"), "pool_grid": reference("03.3")}
    page.update(answers)
    return page


def digits(page: dict) -> dict:
    """The network and a linear layer on the pixels: clean and noisy digits.

    About two minutes on one core.
    """
    return against_pixels(page, {"clean": {"image_noise": 0}, "noisy": {}}, 256, 20)


def mnist(page: dict) -> dict:
    """The same on MNIST.

    About three minutes on one core, with MNIST and FSDD.
    """
    return against_pixels(page, {"MNIST": {"source": "mnist-fsdd"}}, 784, 6)


def against_pixels(page: dict, worlds: dict, pixels: int, epochs: int) -> dict:
    """Accuracies of both on each world, trained for the same number of epochs."""
    page, rows = parts(page), {}
    models = {
        "PictureNet": partial(page["Classifier"], 1, 10),
        "pixels, linear": partial(page["Pixels"], pixels),
    }
    for name, dials in worlds.items():
        for seed in tqdm(SEEDS, name):
            data = {split: page["load_digits"](split, seed, **dials) for split in SPLITS}
            for kind, make in models.items():
                score = page["accuracy"](page["train"](make, data, seed, epochs), data["test"])
                row = rows.setdefault(f"{name}: {kind}", {"accuracy": []})
                row["accuracy"].append(round(score, 4))
    return rows


def colours(page: dict) -> dict:
    """Which shape? Known combinations of colour and shape and each held-out one, where training
    had none of these, and as a control where it had them.

    About two minutes on one core.
    """
    page, rows = parts(page), {}
    names = ["known", *(" ".join(pair) for pair in page["PAIRS"])]
    for way, every_pair in (("held out", False), ("shown", True)):
        for seed in tqdm(SEEDS, way):
            data = page["shape_data"](seed, every_pair)
            model = page["train"](partial(page["Classifier"], 3, 4), data, seed)
            known = page["accuracy"](model, data["test"])
            scores = [known, *page["by_pair"](model, data["novel"])]
            for name, score in zip(names, scores):
                row = rows.setdefault(f"{way}: {name}", {"accuracy": []})
                row["accuracy"].append(round(score, 4))
    return rows


def shift(page: dict) -> dict:
    """Digits that stand in one place in training, shifted by 0 to 8 pixels in the test.

    About two minutes on one core.
    """
    page, rows = parts(page), {}
    for seed in tqdm(SEEDS):
        data = {split: page["load_digits"](split, seed, image_noise=0) for split in SPLITS}
        for kind in page["SHIFTED"]:
            model = page["train_shifted"](kind, data, seed)
            for pixels in range(9):
                score = page["accuracy"](model, page["canvas"](data["test"], pixels))
                row = rows.setdefault(f"{kind}, {pixels}", {"accuracy": []})
                row["accuracy"].append(round(score, 4))
    return rows


def pooling(page: dict) -> dict:
    """The picture of `digits` alone, at its usual noise: one mean or 2 x 2 behind small networks.

    About five minutes on one core.
    """
    page, rows = parts(page), {}
    for seed in tqdm(SEEDS):
        data = {split: page["load_digits"](split, seed) for split in SPLITS}
        for name, (norm, third) in page["STACKS"].items():
            for grid in (1, 2):
                make = partial(page["Stack"], norm, third, grid)
                model = page["train"](make, data, seed, 20)
                row = rows.setdefault(f"{name}, {grid} x {grid}", {"accuracy": []})
                row["accuracy"].append(round(page["accuracy"](model, data["test"]), 4))
    return rows


def by_decay(page: dict, make, draws: list) -> tuple[float, list]:
    """The weight decay that is best on the validation set of seed 0, and the test accuracy with it
    seed by seed.
    """
    losses = {}
    for decay in DECAYS:
        model = page["train"](make, draws[0], 0, 30, 128, decay)
        losses[decay] = evaluate(model, Batches(draws[0]["validation"], 512)).loss
    best = min(losses, key=losses.get)
    models = [page["train"](make, data, seed, 30, 128, best) for seed, data in enumerate(draws)]
    scores = [page["accuracy"](model, data["test"]) for model, data in zip(models, draws)]
    return best, [round(score, 4) for score in scores]


def plug(page: dict) -> dict:
    """Page 00's model with the network's vector in the place of its pixels and beside them, and the
    control with the vectors shuffled: the picture alone and all three modalities, each weight decay
    chosen on the validation set of seed 0.

    About two minutes on one core.
    """
    page, rows = parts(page), {}
    draws = [page["load"](seed) for seed in tqdm(SEEDS, "load")]
    for name, (pictures, shuffled) in tqdm(PLUGGED.items()):
        data = draws
        if shuffled:
            data = [shuffle_splits(draw, "vector", seed) for seed, draw in enumerate(draws)]
        accuracy, decays = {}, {}
        for inputs, others in {"image": [], "all three": ["text", "audio"]}.items():
            make = partial(page["Glued"], [*pictures, *others])
            decays[inputs], accuracy[inputs] = by_decay(page, make, data)
        rows[name] = {"weight_decay": decays, "accuracy": accuracy}
    return rows


SWEEPS = [digits, mnist, colours, shift, pooling, plug]
