"""The stored comparison of page 21: one network trained by hand and by autograd."""

from tqdm import tqdm

from course_utils.metrics import accuracy

SEEDS = range(5)


def by_hand(page: dict) -> dict:
    """A network trained with gradients by hand and by autograd: its accuracy, and how far the
    two loss curves are apart.

    About three minutes on one core, with MNIST and FSDD.
    """
    rows = {}
    for name, epochs, source in (("digits", 40, "bundled"), ("mnist", 10, "mnist-fsdd")):
        rows[name] = {"epochs": epochs, "accuracy": [], "difference": []}
        for seed in tqdm(SEEDS, name):
            train, test = (page["load"](split, seed, source=source) for split in ("train", "test"))
            net, ours = page["train"](page["by_hand"], train, seed, epochs)
            _, theirs = page["train"](page["by_autograd"], train, seed, epochs)
            rows[name]["accuracy"].append(
                round(accuracy(page["forward"](net, test)["logits"], test["label"]), 4)
            )
            rows[name]["difference"].append(
                max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
            )
    return rows


SWEEPS = [by_hand]
