"""The stored comparisons of page 10: pooling in the repaired classifier, and real data."""

from functools import partial

from tqdm import tqdm

SEEDS = range(5)


def concat_end_to_end(page: dict) -> dict:
    """Accuracy of notebook 10's repaired classifier, by what it uses and how far it pools the
    picture.

    About two minutes on one core.
    """
    return {
        name: {
            "options": options,
            "accuracy": [round(page["train_end_to_end"](seed, **options), 4) for seed in SEEDS],
        }
        for name, options in tqdm(page["VERSIONS"].items())
    }


def fits_real(page: dict) -> dict:
    """Page 10's question "the same digit?" for a MNIST image and a typed word, and for a MNIST
    image and a recording.

    About five minutes on one core, with MNIST and FSDD.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        for other in ("text", "audio"):
            data = {
                split: page["pairs"](split, seed, other, source="mnist-fsdd")
                for split in ("train", "validation", "test")
            }
            shuffled = {split: {**part, other: part[other].flip(0)} for split, part in data.items()}
            dims = {
                name: tensor.shape[1] for name, tensor in data["train"].items() if name != "label"
            }
            for name, make in page["GLUES"].items():
                for way, draw in (("", data), (", shuffled", shuffled)):
                    if way and name != "concat, hidden":
                        continue  # the control belongs to the model that gains
                    _, result = page["train_and_test"](partial(make, dims), draw, seed, epochs=20)
                    score = result.accuracy
                    rows.setdefault(f"image + {other}: {name}{way}", {"accuracy": []})[
                        "accuracy"
                    ].append(round(score, 4))
    return rows


SWEEPS = [concat_end_to_end, fits_real]
