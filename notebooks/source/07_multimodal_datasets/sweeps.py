"""The stored comparison of page 07: pairs mirrored whole, by halves and not at all."""

import numpy as np
from tqdm import tqdm

from course_utils.exercises import reference

SEEDS = range(5)
TRAIN, TEST = range(0, 10), range(10, 14)  # blocks of writers


def mirrored(page: dict) -> dict:
    """A zero beside a one, and a caption that is true or not: accuracy on 1,000 new pairs by
    other writers, after training on few pairs of which every second is left, mirrored, or flipped
    without its caption; and on pairs whose captions are shuffled.

    About three minutes on one core.
    """
    changes = {
        "as they are": lambda sample: sample,
        "mirrored": reference("07.3"),
        "picture flipped, caption left": page["flip_picture_only"],
    }
    plan = [(40, "as they are"), (40, "mirrored")]
    plan += [(100, name) for name in (*changes, "captions shuffled")]
    plan += [(300, "as they are"), (300, "mirrored")]
    rows = {}
    for seed in tqdm(SEEDS):
        test = page["make_pairs"](1000, TEST, 100 + seed)
        for number, name in plan:
            samples, tested = page["make_pairs"](number, TRAIN, seed), test
            if name == "captions shuffled":
                samples, tested = shuffled(samples, seed), shuffled(test, seed)
            change = changes.get(name, changes["as they are"])
            found = page["accuracy_with"](samples, tested, change, reference("07.1"), seed)
            row = rows.setdefault(f"{number} pairs, {name}", {"accuracy": []})
            row["accuracy"].append(round(found, 4))
    return rows


def shuffled(samples: list[dict], seed: int) -> list[dict]:
    """The samples with their captions in another order."""
    order = np.random.default_rng(seed).permutation(len(samples))
    return [
        {**sample, "text": samples[place]["text"]}
        for sample, place in zip(samples, order, strict=True)
    ]


SWEEPS = [mirrored]
