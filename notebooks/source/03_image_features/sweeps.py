"""The stored comparisons of page 03: the small network against a linear layer."""

from functools import partial

from tqdm import tqdm

SEEDS = range(5)


def image_cnn(page: dict) -> dict:
    """The small network of page 03: digits against a linear layer, shapes in known and new
    colours, shifted digits, MNIST.

    About four minutes on one core, with MNIST and FSDD.
    """
    train, test, classifier, rows = page["train"], page["test"], page["Classifier"], {}

    def add(name, value):
        rows.setdefault(name, {"accuracy": []})["accuracy"].append(round(value, 4))

    for seed in tqdm(SEEDS):
        for name, dials in {
            "clean": {"image_noise": 0},
            "noisy": {},
            "MNIST": {"source": "mnist-fsdd"},
        }.items():
            draw = {
                split: page["load_digits"](split, seed, **dials)
                for split in ("train", "validation", "test")
            }
            epochs, pixels = (4, 784) if name == "MNIST" else (15, 256)
            add(
                f"{name}: network",
                test(train(lambda: classifier(1, 10, width=64), draw, seed, epochs), draw["test"]),
            )
            add(
                f"{name}: pixels, linear",
                test(train(partial(page["Pixels"], pixels), draw, seed, epochs=20), draw["test"]),
            )
        for words, gray in (("in colour", False), ("in gray", True)):
            sizes = {"train": 2000, "validation": 600, "test": 1000, "novel": 1000}
            draw = {
                split: page["load_shapes"](split, seed, size, gray) for split, size in sizes.items()
            }
            looker = train(lambda: classifier(3, 4), draw, seed, epochs=20)
            for split in ("test", "novel"):
                add(f"shapes {words}: {split}", test(looker, draw[split]))
        for name, values in page["shifted"](seed).items():
            for shift, value in enumerate(values):
                add(f"{name}: shifted by {shift}", value)
    return rows


SWEEPS = [image_cnn]
