"""The stored comparisons of page 18: a second question beside the digit, its weight, its units, the
angle between both, and the same data as two modalities.
"""

import itertools

import torch
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.exercises import reference
from course_utils.runtime import seed_everything

SEEDS = range(5)
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
DECAYS = (0.0, 3.0)
WIDE_RATES = (*RATES, 3e-2)
WEIGHTS = (1.0, 10.0, 100.0, 1000.0)
SMALL_WEIGHTS = (0.1, 1.0, 10.0, 100.0)  # for even or odd: the best were small
ANGLED = ("letters", "letters, shuffled", "even", "ink")
FEW, ALL = 100, 1287


def data(page, seeds=SEEDS):
    """Training samples of each seed; validation and test, drawn twice and four times."""
    train = {seed: page["load"]("train", [seed]) for seed in seeds}
    return (
        train,
        page["load"]("validation", [100, 101]),
        page["load"]("test", [200, 201, 202, 203]),
    )


def note(rows, name, value, **more):
    """One seed's share of right digits, and what was chosen for it."""
    row = rows.setdefault(name, {"accuracy": []})
    row["accuracy"].append(round(float(value), 4))
    for key, one in more.items():
        row.setdefault(key, []).append(one)


def choices(weights=(0.0,), rates=RATES, decays=DECAYS):
    """All combinations, a dict each."""
    found = itertools.product(weights, rates, decays)
    return [{"weight": w, "rate": r, "decay": d} for w, r, d in found]


# ---- many models at a time ----


def given(models, x):
    """Logits (G, N, 10) and values (G, N, K) of G models for the same rows x (N, D)."""
    w = models["trunk.weight"]  # (G, W, D)
    h = (x @ w.flatten(0, 1).T).unflatten(1, w.shape[:2]).transpose(0, 1)
    h = (h + models["trunk.bias"][:, None]).relu()  # (G, N, W)
    return tuple(
        torch.baddbmm(models[f"{head}.bias"][:, None], h, models[f"{head}.weight"].mT)
        for head in ("digit", "other")
    )


def both_losses(models, x, labels, targets, squares=True):
    """(18.1), both losses (G,) of G models."""
    logits, values = given(models, x)
    known, there = labels >= 0, ~targets.isnan()
    z, wanted = logits[:, known], labels[known]
    own = z[:, torch.arange(len(wanted)), wanted]
    first = (z.logsumexp(2) - own).sum(1) / max(len(wanted), 1)
    goal = targets.nan_to_num()
    if squares:
        each = (values - goal).square()
    else:
        yes = (goal > 0).float().expand(values.shape)
        each = F.binary_cross_entropy_with_logits(values, yes, reduction="none")
    return first, (each * there).sum((1, 2)) / max(int(there.sum()), 1)


@torch.no_grad()
def shares(models, x, labels):
    """The share (G,) of right digits."""
    return (given(models, x)[0].argmax(2) == labels).double().mean(1)


def many(page, part, targets, held, seed, dials, squares=True, learned=False, steps=300, own=None):
    """The page's `train` for all these weights, rates and decays at a time, from the same first
    numbers and with the same batches: the best score of each on `held`, a list of parts whose
    scores are averaged, and the models as they were then. With `learned` the weights are learned,
    and come third: their s after each ten steps; they go at the rate `own`, or else the model's.
    """
    generator, g = seed_everything(seed), len(dials)
    model = reference("18.1")(part["image"].shape[1], 64, 10, targets.shape[1])
    models = {n: p.detach().expand(g, *p.shape).clone() for n, p in model.named_parameters()}
    weight, rate, decay = (torch.tensor([d[n] for d in dials]) for n in ("weight", "rate", "decay"))
    if learned:
        models["s"] = torch.zeros(g, 2)
    for p in models.values():
        p.requires_grad_()
    first_moment = {n: torch.zeros_like(p) for n, p in models.items()}
    second_moment = {n: torch.zeros_like(p) for n, p in models.items()}
    best, kept, path = torch.full((g,), -1.0, dtype=torch.float64), None, []
    asked = (part["label"] >= 0) | (~targets.isnan()).any(1)
    for step in range(steps):
        if step % 10 == 0:
            now = sum(shares(models, one["image"], one["label"]) for one in held) / len(held)
            better = now > best
            if kept is None:
                kept = {n: p.detach().clone() for n, p in models.items()}
            for n, p in models.items():
                kept[n][better] = p.detach()[better]
            best = torch.where(better, now, best)
            path.append(models["s"].detach().clone() if learned else None)
        rows = page["batch_rows"](part["label"], generator)
        rows = rows[asked[rows]]  # what has no answer costs nothing, and has no gradient
        one, two = both_losses(
            models, part["image"][rows], part["label"][rows], targets[rows], squares
        )
        if learned:
            s = models["s"]
            total = (-s[:, 0]).exp() * one + (-s[:, 1]).exp() * two / 2 + s.sum(1) / 2
        else:
            total = one + weight * two
        grads = torch.autograd.grad(total.sum(), list(models.values()))
        with torch.no_grad():
            for (n, p), d in zip(models.items(), grads):
                shape = (g,) + (1,) * (p.dim() - 1)
                if n != "s":
                    p.mul_(1 - (rate * decay).view(shape))
                m = first_moment[n].lerp_(d, 0.1)
                v = second_moment[n].mul_(0.999).addcmul_(d, d, value=0.001)
                m, v = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
                pace = torch.full(shape, own) if n == "s" and own else rate.view(shape)
                p.sub_(pace * m / (v.sqrt() + 1e-8))
    return best, kept, path


# ---- the comparisons ----


def weighed(
    page, rows, name, question, parts, count=FEW, weights=WEIGHTS, squares=True, rates=RATES
):
    """A question at each weight, rate and decay chosen by validation: "NAME, weight 10"; and all
    three chosen: "NAME, tuned".
    """
    train, validation, test = parts
    for seed in tqdm(train, desc=name):
        part = page["hide"](train[seed], count, seed)
        targets, dials = page["second_question"](question, part, seed), choices(weights, rates)
        best, models, _ = many(page, part, targets, [validation], seed, dials, squares)
        right = shares(models, test["image"], test["label"])
        for weight in weights:
            own = [i for i, one in enumerate(dials) if one["weight"] == weight]
            i = max(own, key=lambda i: best[i])
            label = f"{name}, weight {weight:g}" if len(weights) > 1 else name
            note(rows, label, right[i], rate=dials[i]["rate"], decay=dials[i]["decay"])
        if len(weights) > 1:
            i = int(best.argmax())
            note(rows, f"{name}, tuned", right[i], **dials[i])


def even(page: dict, seeds=range(10)) -> dict:
    """Bet 17.b: the digit from 100 labels, alone and beside "even or odd" by squares, at four
    weights; rates and decays by validation. The bet counts the first five seeds.

    About four minutes on one core.
    """
    rows, parts = {}, data(page, seeds)
    weighed(page, rows, "digit alone", "even", parts, weights=(0.0,))
    weighed(page, rows, "even", "even", parts, weights=SMALL_WEIGHTS)
    return rows


def even_or_odd(page: dict, seeds=range(10)) -> dict:
    """As `even`, by the cross-entropy of yes and no.

    About three minutes on one core.
    """
    rows, parts = {}, data(page, seeds)
    weighed(page, rows, "even, cross-entropy", "even", parts, weights=SMALL_WEIGHTS, squares=False)
    return rows


def even_again(page: dict, seeds=range(10, 20)) -> dict:
    """The digit alone, and as `even_or_odd`, with ten seeds that nobody had looked at.

    About three minutes on one core.
    """
    rows, parts = {}, data(page, seeds)
    weighed(page, rows, "digit alone", "even", parts, weights=(0.0,))
    weighed(page, rows, "even, cross-entropy", "even", parts, weights=SMALL_WEIGHTS, squares=False)
    return rows


def second(page: dict) -> dict:
    """The digit from 100 labels beside the typed letters of all samples, and beside letters that
    are dealt out anew, at four weights; rates and decays by validation.

    About two minutes on one core.
    """
    rows, parts = {}, data(page)
    for name in ("letters", "letters, shuffled"):
        weighed(page, rows, name, name, parts)
    return rows


def others(page: dict) -> dict:
    """As `second`, with the letters of the 100 alone, and with the ink; and the letters beside the
    digit where every sample has its label.

    About four minutes on one core.
    """
    rows, parts = {}, data(page)
    for name in ("letters of the few", "ink"):
        weighed(page, rows, name, name, parts)
    weighed(page, rows, "all labels: digit alone", "even", parts, ALL, weights=(0.0,))
    weighed(page, rows, "all labels: letters", "letters", parts, ALL, weights=WEIGHTS)
    return rows


def wide(page: dict) -> dict:
    """As `second` and `others`, on a wider grid: rates to 0.03; for the letters the loud weights,
    for their controls the low ones, from 0.1.

    About six minutes on one core.
    """
    rows, parts = {}, data(page)
    weighed(page, rows, "digit alone", "even", parts, weights=(0.0,), rates=WIDE_RATES)
    for name, weights in (
        ("letters", (100.0, 1000.0)),
        ("letters of the few", (0.1, 1.0)),
        ("ink", (0.1, 1.0)),
        ("letters, shuffled", (0.1, 1.0, 10.0)),
    ):
        weighed(page, rows, name, name, parts, weights=weights, rates=WIDE_RATES)
    return rows


def units(page: dict) -> dict:
    """The letters in other units, a hundred times as large: the same weight, the weight by (18.2),
    weights learned by (18.3), and all of this in the first units.

    About two minutes on one core.
    """
    rows, (train, validation, test) = {}, data(page)
    for seed in tqdm(SEEDS):
        part = page["hide"](train[seed], FEW, seed)
        targets = page["second_question"]("letters", part, seed)
        for name, unit, weight in (
            ("weight 100", 1.0, 100.0),
            ("times 100: weight 100", 100.0, 100.0),
            ("times 100: weight 0.01", 100.0, 0.01),
            ("learned", 1.0, None),
            ("times 100: learned", 100.0, None),
        ):
            dials = choices((weight or 0.0,))
            best, models, path = many(
                page, part, unit * targets, [validation], seed, dials, learned=weight is None
            )
            right, i = shares(models, test["image"], test["label"]), int(best.argmax())
            more = {}
            if weight is None:  # exp(-s) / 2 of the letters over exp(-s) of the digit, at the end
                s = path[-1][i]
                more["ratio"] = round(((s[0] - s[1]).exp() / 2).item(), 6)
                more["s"] = [round(x, 3) for x in s.tolist()]
            note(rows, name, right[i], rate=dials[i]["rate"], decay=dials[i]["decay"], **more)
    return rows


def learned(page: dict) -> dict:
    """As "learned" of `units`, with a rate of 0.05 for s alone, so that the weights settle.

    About half a minute on one core.
    """
    rows, (train, validation, test) = {}, data(page)
    for seed in tqdm(SEEDS):
        part, dials = page["hide"](train[seed], FEW, seed), choices()
        targets = page["second_question"]("letters", part, seed)
        best, models, path = many(
            page, part, targets, [validation], seed, dials, learned=True, own=0.05
        )
        i, s = int(best.argmax()), path[-1][int(best.argmax())]
        more = {"ratio": round(((s[0] - s[1]).exp() / 2).item(), 6)}
        more |= {"s": [round(x, 3) for x in s.tolist()]}
        right = shares(models, test["image"], test["label"])
        note(rows, "learned, own rate", right[i], **dials[i], **more)
    return rows


def modality(page: dict) -> dict:
    """The typed word as a second modality and as a second question, from 100 labels and from all,
    with one network of 334 inputs, zeros where something is not given.

    About two minutes on one core.
    """
    rows, (train, validation, test) = {}, data(page)

    def shown(part, image=True, words=True):
        x = [part["image"] * image, part["words"] * words]
        return {"image": torch.cat(x, 1), "label": part["label"]}

    def joined(*parts):
        """Rows with a label first."""
        both = {n: torch.cat([p[n] for p in parts]) for n in parts[0]}
        order = (both["label"] < 0).long().argsort(stable=True)
        return {n: x[order] for n, x in both.items()}

    ways = {"picture": {"words": False}, "word": {"image": False}, "both": {}}
    for count, label in ((FEW, "few"), (ALL, "all")):
        for seed in tqdm(SEEDS, desc=label):
            part = page["hide"](train[seed], count, seed)
            only = {way: shown(part, **how) for way, how in ways.items()}
            nothing = torch.full((len(part["label"]), 1), torch.nan)
            letters = page["second_question"]("letters", part, seed)
            for name, rows_in, targets, tests in (
                ("picture", only["picture"], nothing, ("picture",)),
                ("word", only["word"], nothing, ("word",)),
                ("two modalities", only["both"], nothing, ("both",)),
                (
                    "two modalities, dropped",
                    joined(only["both"], only["picture"]),
                    torch.cat([nothing, nothing]),
                    ("both", "picture"),
                ),
                ("two questions", only["picture"], letters, ("picture",)),
                (
                    "two classifiers",
                    joined(only["picture"], only["word"]),
                    torch.cat([nothing, nothing]),
                    ("picture", "word"),
                ),
            ):
                dials = choices(WEIGHTS[1:] if name == "two questions" else (0.0,))
                held = [shown(validation, **ways[way]) for way in tests]
                best, models, _ = many(page, rows_in, targets, held, seed, dials)
                i = int(best.argmax())
                for way, how in ways.items():
                    asked = shown(test, **how)
                    right = shares(models, asked["image"], asked["label"])[i]
                    more = dials[i] if way == "picture" else {}
                    note(rows, f"{label}: {name}: {way}", right, **more)
    return rows


def angles(page: dict, weight=100.0, rate=1e-3, names=ANGLED) -> dict:
    """Cosines over a training with 100 labels, at this weight and rate, at every thirtieth step:
    what the digit's loss asks of the trunk, on its 100 rows, against what the second question asks
    on all ("between"); what the digit's loss asks on unseen rows against both ("unseen", "ahead").

    About a minute on one core.
    """
    rows, (train, validation, test) = {}, data(page)
    angle = reference("18.2")
    for seed in tqdm(SEEDS):
        part = page["hide"](train[seed], FEW, seed)
        for name in names:
            targets = page["second_question"](name, part, seed)
            nothing = torch.full((len(validation["label"]), targets.shape[1]), torch.nan)
            path = {"between": [], "unseen": [], "ahead": []}

            def watch(step, model, *_, part=part, targets=targets, path=path, nothing=nothing):
                if step % 30 == 0:
                    shared = list(model.trunk.parameters())
                    _, one, two = model.losses(part["image"], part["label"], targets, 1.0)
                    _, new, _ = model.losses(validation["image"], validation["label"], nothing, 1.0)
                    for key, pair in (
                        ("between", (one, two)),
                        ("unseen", (one, new)),
                        ("ahead", (two, new)),
                    ):
                        path[key].append(round(angle(*pair, shared).item(), 4))

            model, _ = page["train"](
                reference("18.1"), part, targets, validation, seed, weight, watch=watch, rate=rate
            )
            note(rows, name, page["score"](model, test), **path)
    return rows


def angles_elsewhere(page: dict) -> dict:
    """The angles at another weight, and at another rate.

    About a minute and a half on one core.
    """
    found = {}
    for weight, rate in ((10.0, 1e-3), (100.0, 3e-3)):
        rows = angles(page, weight, rate, ("letters", "letters, shuffled", "ink"))
        found |= {f"{name}, weight {weight:g}, rate {rate:g}": row for name, row in rows.items()}
    return found


def real(page: dict) -> dict:
    """As `second`, on MNIST's pictures: 100 labels among 5,000, each picture with a typed word.
    Needs the public data: python -m course_utils.datasets.store mnist fsdd

    About three minutes on one core.
    """
    rows = {}
    validation = page["load"]("validation", [100], "mnist-fsdd")
    test = page["load"]("test", [200], "mnist-fsdd")
    for seed in tqdm(SEEDS):
        part = page["hide"](page["load"]("train", [seed], "mnist-fsdd"), FEW, seed)
        for name, question, weights in (
            ("digit alone", "even", (0.0,)),
            ("letters", "letters", (10.0, 100.0, 1000.0)),
            ("letters, shuffled", "letters, shuffled", (10.0, 100.0, 1000.0)),
        ):
            targets, dials = page["second_question"](question, part, seed), choices(weights)
            best, models, _ = many(page, part, targets, [validation], seed, dials)
            i = int(best.argmax())
            note(rows, name, shares(models, test["image"], test["label"])[i], **dials[i])
    return rows


SWEEPS = [
    even,
    even_or_odd,
    even_again,
    second,
    others,
    wide,
    units,
    learned,
    modality,
    angles,
    angles_elsewhere,
    real,
]
