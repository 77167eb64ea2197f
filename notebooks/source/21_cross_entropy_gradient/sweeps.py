"""The stored comparisons of page 21: a softmax too many, and weights for rare classes."""

from functools import partial

import torch
from tqdm import tqdm

from course_utils.metrics import accuracy

SEEDS = range(5)
SGD, ADAM = torch.optim.SGD, torch.optim.AdamW
STEPS = {
    "SGD 0.03": (0.03, SGD),
    "SGD 0.3": (0.3, SGD),
    "SGD 3": (3.0, SGD),
    "AdamW 0.005": (0.005, ADAM),
}


def second_softmax(page: dict) -> dict:
    """A head trained on logits ("once") and through a softmax too many ("twice"): its test
    accuracy after 20 epochs from a random start, and from a head that is sure and wrong because it
    was first trained on labels moved by one class.

    About two minutes on one core.
    """
    gradients = {"once": page["logits_gradient"], "twice": page["twice_gradient"]}
    starts = ("random start", "sure and wrong")
    names = [f"{start}, {step}" for start in starts for step in STEPS]
    rows = {name: {"accuracy": {"once": [], "twice": []}} for name in names}
    for seed in tqdm(SEEDS):
        data = page["load"](seed)
        train, test = data["train"], data["test"]
        moved = train | {"label": (train["label"] + 1) % 10}
        for start in starts:
            for name, (rate, optimizer) in STEPS.items():
                for kind, gradient in gradients.items():
                    head = None
                    if start == "sure and wrong":
                        head = page["train"](gradients["once"], moved, seed, 0.005, ADAM)
                    head = page["train"](gradient, train, seed, rate, optimizer, head)
                    score = accuracy(head(test["features"]), test["label"])
                    rows[f"{start}, {name}"]["accuracy"][kind].append(round(score, 4))
    return rows


def rare(page: dict) -> dict:
    """Where digits 5 to 9 are eight times rarer in training: the test accuracy on them and on the
    others, without weights, with each class's own weight, and with the weights of the rare classes
    given to the others.

    About a minute on one core.
    """
    gradient = page["weighted_gradient"]
    names = ("no weights", "weights", "exchanged")
    rows = {name: {"accuracy": {"rare": [], "others": []}} for name in names}
    for seed in tqdm(SEEDS):
        data = page["load"](seed)
        few, balance = page["rarer"](data["train"])
        weights = {"no weights": torch.ones(10), "weights": balance, "exchanged": balance.roll(5)}
        for name, row in rows.items():
            by = partial(weighing, gradient, weights[name])
            head = page["train"](by, few, seed)
            hit = head(data["test"]["features"]).argmax(dim=1) == data["test"]["label"]
            uncommon = data["test"]["label"] >= 5
            for kind, which in (("rare", uncommon), ("others", ~uncommon)):
                share = hit[which].double().mean().item()
                row["accuracy"][kind].append(round(share, 4))
    return rows


def weighing(gradient, weights, logits, labels):
    """The weighted gradient without smoothing."""
    return gradient(logits, labels, weights, 0.0)


SWEEPS = [second_softmax, rare]
