"""The stored comparisons of page 23: a weaker modality's gradient through a training, in two
worlds, and what balancing brings at two budgets, before and after tuning.

All train five networks at once, one a seed.
"""

from itertools import product

import torch
from tqdm import tqdm

from course_utils.exercises import reference
from course_utils.metrics import accuracy

SEEDS = range(5)
BUDGETS = {"short": 300, "long": 1500}
# one rate for all ways of a world: that of the page's text
RATE = {"gates": 0.02, "digits": 0.005, "mnist": 0.005}
WAYS = ("text", "image", "joint", "own residual", "unimodal losses", "OGM")
CONTROLS = ("OGM turned", "text shuffled", "image shuffled")
RATES = {"gates": (0.01, 0.03, 0.1, 0.3), "digits": (0.002, 0.01, 0.05, 0.2)}
DECAYS = {"gates": (0.0, 0.01, 0.03), "digits": (0.01, 0.03, 0.1)}
ALPHAS = (0.1, 1.0)


def rounded(values) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def ogm(alpha: float = 0.5, turned: bool = False):
    """Peng and others' modulation without its noise: a modality that is ahead on this batch has the
    gradient of its encoder multiplied by 1 - tanh(alpha rho). `turned` slows the other one.
    """

    @torch.no_grad()
    def change(net: dict, parts: dict, labels) -> None:
        ahead = {}
        for name, part in parts.items():
            p = (part + net["head bias"] / 2).softmax(2)  # (5, B, C)
            ahead[name] = p.gather(2, labels[..., None]).sum((1, 2))  # (5,)
        rhos = [ahead["text"] / ahead["image"], ahead["image"] / ahead["text"]]
        factors = [torch.where(rho > 1, 1 - torch.tanh(alpha * rho), 1.0) for rho in rhos]
        factors = dict(zip(parts, factors[::-1] if turned else factors))
        for name, weight in net.items():
            if name.split()[0] in factors:
                weight.grad *= factors[name.split()[0]][:, None, None]

    return change


def trained(page: dict, data: dict, way: str, *args, alpha: float = 0.5, **options) -> list[dict]:
    """The page's `train`, with OGM as a way, too."""
    if not way.startswith("OGM"):
        return page["train"](data, way, *args, **options)
    change = ogm(alpha, "turned" in way)
    return page["train"](data, "joint", *args, change=change, **options)


def worlds(page: dict) -> dict:
    return {"gates": page["world"](page["gates"]), "digits": page["world"](page["digits"])}


def path(records: list[dict]) -> dict:
    """What one training looked like: the accuracies at the two budgets, of all and of what the
    image's part says alone, and every 50 steps the length of the image's gradient ("pull") and its
    share, a number for each seed.
    """
    at = {one["step"]: one for one in records}
    ends = [steps for steps in BUDGETS.values() if steps in at]
    row = {"accuracy": {str(steps): rounded(at[steps]["test accuracy"]) for steps in ends}}
    row |= {"curve": [rounded(one["test accuracy"]) for one in records]}
    if "image part" in records[0]:
        row["image part"] = {str(steps): rounded(at[steps]["image part"]) for steps in ends}
    if "image" in records[0]["length"]:
        row["pull"] = [rounded(one["length"]["image"]) for one in records]
    if len(records[0]["length"]) == 2:
        pairs = [(one["length"]["text"], one["length"]["image"]) for one in records]
        row["share"] = [rounded(image / (text + image)) for text, image in pairs]
    return row


def paths(page: dict) -> dict:
    """Every way at one rate, 1,500 steps, without decay; the image's numbers ten times as large;
    and on gates Adam at its usual rate, and descent at half the rate and at twice the rate.

    About two minutes on one core.
    """
    rows = {}
    for world, data in worlds(page).items():
        for way in tqdm((*WAYS, *CONTROLS), world):
            rows[f"{world}: {way}"] = path(trained(page, data, way, RATE[world]))
        large = {split: x | {"image": 10 * x["image"]} for split, x in data.items()}
        rows[f"{world}: image times 10"] = path(page["train"](large, "joint", RATE[world]))
        if world == "gates":
            for way in ("image", "joint", "own residual"):
                found = page["train"](data, way, 1e-3, steps=300, make=torch.optim.Adam)
                rows[f"gates, Adam: {way}"] = path(found)
            for rate, way in product((0.01, 0.04), ("image", "joint")):
                rows[f"gates, rate {rate}: {way}"] = path(page["train"](data, way, rate, 300))
    return rows


def best(records: list[dict], steps: int) -> tuple[float, torch.Tensor]:
    """The mean lowest validation loss within these steps, and the test accuracies at these."""
    within = [one for one in records if one["step"] <= steps]
    losses = torch.stack([one["validation"] for one in within])  # (records, 5)
    found = torch.stack([one["test accuracy"] for one in within])
    lowest, place = losses.min(dim=0)
    return lowest.mean().item(), found.gather(0, place[None])[0]


def tuned(page: dict, world: str) -> dict:
    """Each way at its best rate and decay, OGM at its best alpha too, by the mean validation loss;
    every run stops at its own best of the validations, one every 50 steps.
    """
    rows, data = {}, page["world"](page[world])
    for way in WAYS:
        alphas = ALPHAS if way == "OGM" else (0.5,)
        grid = [*product(RATES[world], DECAYS[world], alphas)]
        runs = {}
        for rate, decay, alpha in tqdm(grid, way):
            found = trained(page, data, way, rate, decay=decay, alpha=alpha)
            runs[rate, decay, alpha] = found
        for budget, steps in BUDGETS.items():
            setting = min(grid, key=lambda one: best(runs[one], steps)[0])
            row = dict(zip(("rate", "decay", "alpha"), setting))
            rows[f"{budget}: {way}"] = row | {"accuracy": rounded(best(runs[setting], steps)[1])}
    for budget, steps in BUDGETS.items():
        like = rows[f"{budget}: joint"]
        for way in CONTROLS[1:]:
            found = page["train"](data, way, like["rate"], steps, like["decay"])
            rows[f"{budget}: {way}"] = {"accuracy": rounded(best(found, steps)[1])}
    return rows


def tuned_gates(page: dict) -> dict:
    """Every way on gates, tuned, at two budgets.

    About five minutes on one core.
    """
    return tuned(page, "gates")


def tuned_digits(page: dict) -> dict:
    """Every way on digits, tuned, at two budgets.

    About five minutes on one core.
    """
    return tuned(page, "digits")


def public(page: dict) -> dict:
    """The joint training and the others on pictures of MNIST with a typed word, at one rate.

    About two minutes on one core, with MNIST and FSDD.
    """
    data = page["world"](page["digits"], source="mnist-fsdd")
    return {
        way: path(page["train"](data, way, RATE["mnist"]))
        for way in tqdm(("text", "image", "joint", "own residual", "text shuffled"))
    }


def by_hand(page: dict) -> dict:
    """The network of three modalities trained by hand and by autograd: its accuracy, and how far
    the two loss curves are apart.

    About half a minute on one core.
    """
    page["gate_backward"], page["experts_backward"] = reference("23.1"), reference("23.2")
    data, row = page["world"](page["digits"]), {"accuracy": [], "difference": []}
    for seed in tqdm(SEEDS):
        train, test = (page["samples"](data, split, seed) for split in ("train", "test"))
        net, ours = page["descend"](page["by_hand"], train, seed)
        _, theirs = page["descend"](page["by_autograd"], train, seed)
        right = accuracy(page["product_logits"](net, test), test["label"])
        row["accuracy"].append(round(right, 4))
        apart = [abs(one - other) for one, other in zip(ours, theirs, strict=True)]
        row["difference"].append(max(apart))
    return {"digits": row}


SWEEPS = [paths, tuned_gates, tuned_digits, public, by_hand]
