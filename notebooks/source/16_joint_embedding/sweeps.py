"""The stored comparisons of page 16: scenes and sentences in one space, and emoji and names."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.losses import InfoNCE, SigmoidLoss, info_nce, triplet_loss

SEEDS = range(5)
SPLITS = {"train": 3_200, "validation": 500, "test": 500}
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
TEMPERATURE = 0.1


def scenes(page, seed, **sizes):
    """The three splits of one seed; another seed has other scenes."""
    return {split: page["load"](split, n, seed)[0] for split, n in (SPLITS | sizes).items()}


SHARES = ("picture", "sentence", "among 1", "among 10")


def note(rows, name, key, value):
    row = rows.setdefault(name, {"accuracy": {}})
    (row["accuracy"] if key in SHARES else row).setdefault(key, []).append(round(float(value), 4))


def compare(page, rows, makes, data, rates=RATES, train="train", **options):
    """Each row of `makes` trained on each seed's data, with the learning rate of the best sum of
    both shares on the validation set of seed 0; its shares of the test set are noted.

    `makes[name]` is a function that makes an objective, or that and options for `train`.
    """
    for name, make in makes.items():
        make, more = make if isinstance(make, tuple) else (make, {})
        more = options | more
        rate = None
        for seed in tqdm(SEEDS, desc=name):
            here = data[seed]
            if rate is None:
                tried = {}
                for lr in rates:
                    one = page["train"](make(seed), here[train], seed, lr=lr, **more)
                    tried[lr] = sum(page["score"](one, here["validation"]))
                rate = max(tried, key=tried.get)
            networks = page["train"](make(seed), here[train], seed, lr=rate, **more)
            picture, sentence = page["score"](networks, here["test"])
            note(rows, name, "picture", picture)
            note(rows, name, "sentence", sentence)
            pictures, _ = page["embed"](networks, here["test"])
            note(rows, name, "rank", page["effective_rank"](pictures))
            note(rows, name, "random", page["random_cosine"](pictures))
        rows[name]["lr"] = rate


# ---- objectives: functions of picture vectors, sentence vectors and the batch ----


def contrast(a, b, batch, temperature=TEMPERATURE):
    return info_nce(a, b, 1 / temperature)


def one_way(a, b, batch):
    """Sentences look for their pictures only."""
    logits = F.normalize(b, dim=1) @ F.normalize(a, dim=1).T / TEMPERATURE
    return F.cross_entropy(logits, torch.arange(len(a)))


def unnormalised(a, b, batch):
    """Dot products of vectors of any length, divided by the root of the width."""
    logits, own = a @ b.T / a.shape[1] ** 0.5, torch.arange(len(a))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def siamese(a, b, batch, margin=1.0):
    """Hadsell, Chopra and LeCun 2006: own pairs near, and each picture at least `margin` away from
    the sentence of the next row.
    """
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    own, other = (a - b).square().sum(1), (a - b.roll(1, 0)).square().sum(1)
    return (own + (margin - other.clamp(min=1e-9).sqrt()).clamp(min=0).square()).mean() / 2


def cosine_only(a, b, batch):
    return 1 - F.cosine_similarity(a, b).mean()


def squared(a, b, batch):
    return F.mse_loss(a, b)


class Learned(InfoNCE):
    def forward(self, a, b, batch):
        loss = super().forward(a, b)
        self.clamp_()  # before the step that uses this loss: that of the step before is done
        return loss


class Sigmoid(SigmoidLoss):
    def forward(self, a, b, batch):
        return super().forward(a, b)


def partners(a, b, batch, how):
    """The batch's partners: those whose sentences are equal, or all that fit."""
    equal = (batch["ids"][:, None] == batch["ids"]).all(2)
    fit = page_fits(batch["said"], batch["shown"]).T  # (B, B): pictures, sentences
    return info_nce(a, b, 1 / TEMPERATURE, equal if how == "equal" else fit)


def page_fits(said, shown):
    return (said[:, None] <= shown).all(2)


class Counts(nn.Module):
    """Ids (B, T) -> how often each of 18 words stands there, minus its mean: nothing is learned."""

    def __init__(self, part):
        super().__init__()
        self.mean = 0
        self.mean = self(part["ids"]).mean(0)

    def forward(self, ids):
        return F.one_hot(ids, 19).sum(1)[:, 1:].float() - self.mean


def regress(page, rows, data, name, lengths=(200, 600)):
    """Without contrast: the same network of pictures learns to give the sentence's counts. Rate and
    number of steps are the best of a grid on the validation set of seed 0.
    """
    plan = None
    for seed in tqdm(SEEDS, desc=name):
        here = data[seed]

        def learn(plan, part=here["train"], seed=seed):
            def make():
                return [page["Pictures"](18), Counts(part)]

            return page["train"](squared, part, seed, lr=plan[0], steps=plan[1], make=make)

        if plan is None:
            tried = {}
            for one in [(lr, steps) for lr in RATES for steps in lengths]:
                tried[one] = sum(page["score"](learn(one), here["validation"]))
            plan = max(tried, key=tried.get)
        picture, sentence = page["score"](learn(plan), here["test"])
        note(rows, name, "picture", picture)
        note(rows, name, "sentence", sentence)
    rows[name]["lr"], rows[name]["steps"] = plan


def pixels(page, rows, data):
    """Ridge regression from the pixels to the sentence's counts, the penalty chosen on the
    validation set.
    """
    for seed in tqdm(SEEDS, desc="ridge from pixels"):
        here, tried = data[seed], []
        counts = Counts(here["train"])
        x = {split: part["image"].flatten(1) for split, part in here.items()}
        mean = x["train"].mean(0)
        kernel = (x["train"] - mean) @ (x["train"] - mean).T
        for penalty in (10.0, 30.0, 100.0, 300.0, 1000.0):
            inverse = kernel + penalty * torch.eye(len(kernel))
            weights = (x["train"] - mean).T @ torch.linalg.solve(
                inverse, counts(here["train"]["ids"])
            )
            found = []
            for split in ("validation", "test"):
                said = F.normalize((x[split] - mean) @ weights, dim=1)
                table = F.normalize(counts(here[split]["ids"]), dim=1) @ said.T
                found.append(page["hits"](table, here[split]))
            tried.append((sum(found[0]), found[1]))
        _, (picture, sentence) = max(tried)
        note(rows, "ridge from pixels", "picture", picture)
        note(rows, "ridge from pixels", "sentence", sentence)


def shuffled(part, seed, share=1.0):
    """The part with a share of its sentences dealt anew among themselves."""
    draw = torch.Generator().manual_seed(seed)
    moved = torch.randperm(len(part["ids"]), generator=draw)[: round(share * len(part["ids"]))]
    order = torch.arange(len(part["ids"]))
    order[moved] = moved.roll(1)
    return part | {name: part[name][order] for name in ("ids", "said")}


# ---- sweeps ----


def baselines(page: dict) -> dict:
    """What is reached without contrast.

    About two minutes on one core.
    """
    rows, data = {}, [scenes(page, seed) for seed in SEEDS]
    for here in data:
        right = page["fits"](here["test"]["said"], here["test"]["shown"])
        for key in ("picture", "sentence"):
            note(rows, "chance", key, right.double().mean())
    pixels(page, rows, data)
    regress(page, rows, data, "the same network predicts words")
    longer = {"InfoNCE, 600 steps": (lambda seed: contrast, {"steps": 600})}
    compare(page, rows, longer, data)
    return rows


def losses(page: dict) -> dict:
    """Ways to contrast, and two controls: pairs shuffled, no negatives.

    About four minutes on one core.
    """
    rows, data = {}, [scenes(page, seed) for seed in SEEDS]
    for seed, here in enumerate(data):
        here["shuffled"] = shuffled(here["train"], seed)
    generators = {seed: torch.Generator() for seed in SEEDS}

    def triplet(miner, seed):
        draw = generators[seed].manual_seed(seed) if miner == "random" else None
        return lambda a, b, batch: triplet_loss(a, b, miner=miner, generator=draw)

    makes = {
        "InfoNCE": lambda seed: contrast,
        "InfoNCE, temperature learned": lambda seed: Learned(TEMPERATURE),
        "sentences look for pictures only": lambda seed: one_way,
        "no unit length": lambda seed: unnormalised,
        "sigmoid": lambda seed: Sigmoid(),
        "triplet, random": partial(triplet, "random"),
        "triplet, semi-hard": partial(triplet, "semi-hard"),
        "triplet, hardest": partial(triplet, "hard"),
        "Siamese pairs": lambda seed: siamese,
        "no negatives": lambda seed: cosine_only,
    }
    compare(page, rows, makes, data)
    compare(page, rows, {"InfoNCE, pairs shuffled": lambda seed: contrast}, data, train="shuffled")
    return rows


def temperatures(page: dict) -> dict:
    """Five fixed temperatures.

    About two minutes on one core.
    """
    rows, data = {}, [scenes(page, seed) for seed in SEEDS]
    for temperature in (0.01, 0.03, 0.1, 0.3, 1.0):
        make = partial(contrast, temperature=temperature)
        compare(page, rows, {str(temperature): lambda seed, make=make: make}, data)
    return rows


def batches(page: dict) -> dict:
    """Batch sizes at 200 steps and at eight passes over the pairs; at 200 steps also with equal
    sentences as partners.

    About four minutes on one core.
    """
    rows, data = {}, [scenes(page, seed) for seed in SEEDS]
    for size in (16, 64, 256):
        ways = {
            "200 steps": (200, contrast),
            "8 passes": (8 * SPLITS["train"] // size, contrast),
            "200 steps, equal": (200, partial(partners, how="equal")),
        }
        for way, (steps, make) in ways.items():
            options = {"rows": size, "steps": steps}
            compare(page, rows, {f"{size}, {way}": (lambda seed, make=make: make, options)}, data)
    return rows


def imperfect(page: dict) -> dict:
    """Who counts as a partner; shares of mismatched pairs.

    About three minutes on one core.
    """
    rows, data = {}, [scenes(page, seed) for seed in SEEDS]
    makes = {f"partners: {how}": partial(partners, how=how) for how in ("equal", "all that fit")}
    compare(page, rows, {name: lambda seed, f=f: f for name, f in makes.items()}, data)
    for share in (0.1, 0.25, 0.5):
        for seed, here in enumerate(data):
            here["mixed"] = shuffled(here["train"], seed, share)
        makes = {f"mismatched {share}": lambda seed: contrast}
        compare(page, rows, makes, data, train="mixed")
    return rows


def pairs(page: dict) -> dict:
    """Few pairs and many, all at 200 steps.

    About two minutes on one core.
    """
    rows, data = {}, [scenes(page, seed, train=12_800) for seed in SEEDS]
    for count in (200, 800, 3_200, 12_800):
        for here in data:
            here["some"] = {name: x[:count] for name, x in here["train"].items()}
        compare(page, rows, {f"{count}": lambda seed: contrast}, data, train="some")
    return rows


def collapse(page: dict, steps: int = 200) -> dict:
    """Without and with negatives: effective rank and mean cosine of two pictures of the validation
    set, and of own pairs, every ten steps, and what is found at the end.

    About one minute on one core.
    """
    rows = {}
    for name, objective in {"no negatives": cosine_only, "InfoNCE": contrast}.items():
        for seed in tqdm(SEEDS, desc=name):
            here, seen = scenes(page, seed), {"step": [], "rank": [], "random": [], "own": []}

            def watch(step, networks, here=here, seen=seen):
                if step % 10 and step != steps - 1:
                    return
                vectors, sentences = page["embed"](networks.eval(), here["validation"])
                networks.train()
                seen["step"].append(step)
                seen["rank"].append(round(page["effective_rank"](vectors), 3))
                seen["random"].append(round(page["random_cosine"](vectors), 4))
                seen["own"].append(round((vectors * sentences).sum(1).mean().item(), 4))

            networks = page["train"](objective, here["train"], seed, steps=steps, watch=watch)
            for key, share in zip(SHARES, page["score"](networks, here["test"])):
                note(rows, name, key, share)
            for key, values in seen.items():
                rows[name].setdefault(key, []).append(values)
            rows[name]["step"] = seen["step"]
    return rows


# ---- emoji ----

PENALTIES = (100.0, 300.0, 1e3, 3e3, 1e4, 3e4)
DIALS = {"rate": (3e-4, 1e-3, 3e-3), "dropout": (0.3, 0.5, 0.7), "decay": (0.1, 0.3, 1.0, 3.0)}
START = {"rate": 1e-3, "dropout": 0.5, "decay": 1.0}


def nce(a, b, temperature):
    return info_nce(a, b, 1 / temperature)


def reciprocal(ranks):
    """By this everything is chosen: the mean of 1 / place on the validation split."""
    return (1 / ranks).mean().item()


def by_ridge(page, pairs):
    """(places in the test split, penalty)"""
    where = page["ridge_places"]
    penalty = max(PENALTIES, key=lambda p: reciprocal(where(pairs, "validation", p)))
    return where(pairs, "test", penalty), penalty


def by_nearest_names(page, pairs, most=20):
    """The mean picture of the k training names that are nearest."""
    train, tried = pairs["train"], {}
    for k in range(1, most + 1):
        ends = []
        for split in ("validation", "test"):
            near = F.normalize(pairs[split]["text"], dim=1) @ F.normalize(train["text"], dim=1).T
            said = train["image"][near.topk(k).indices].mean(1)  # (N, k, D) -> (N, D)
            ends.append(page["places"](said, pairs[split]["image"]))
        tried[k] = ends
    k = max(tried, key=lambda k: reciprocal(tried[k][0]))
    return tried[k][1], k


def by_contrast(page, pairs, seed, dials):
    """(places in validation, in test, epoch) of the epoch that is best on validation."""
    found = page["contrast_places"](pairs, nce, seed, **dials)
    epoch, validation, test = max(found, key=lambda one: reciprocal(one[1]))
    return validation, test, epoch


def tuned_contrast(page, pairs, seed):
    """One dial after the other, by this seed's validation split."""
    dials, best = dict(START), None
    for name, values in DIALS.items():
        for value in values:
            if best is not None and value == dials[name]:
                continue
            one = dials | {name: value}
            result = by_contrast(page, pairs, seed, one)
            if best is None or reciprocal(result[0]) > reciprocal(best[1][0]):
                best = one, result
        dials = best[0]
    return best[1][1], dials | {"epoch": best[1][2]}


def note_places(page, rows, name, places):
    for k in (1, 10):
        note(rows, name, f"among {k}", page["recall_at"](places, k))


def emoji(page: dict) -> dict:
    """Names of 300 emoji that were never seen look for their pictures: nearest names, ridge
    regression, contrast, the last two from shuffled pairs, with short names, and from fewer pairs.
    All dials are chosen on the validation split of each seed. Needs the emoji.

    About six minutes on one core.
    """
    look, read = page["load_image_encoder"]("efficientnet-lite0"), page["load_text_encoder"]()
    rows = {}
    for seed in tqdm(SEEDS):
        pairs = page["emoji_pairs"](seed, look, read)
        places, k = by_nearest_names(page, pairs)
        note_places(page, rows, "nearest names", places)
        rows["nearest names"].setdefault("dials", []).append(k)
        places, penalty = by_ridge(page, pairs)
        note_places(page, rows, "ridge", places)
        rows["ridge"].setdefault("dials", []).append(penalty)
        places, dials = tuned_contrast(page, pairs, seed)
        note_places(page, rows, "contrast", places)
        rows["contrast"].setdefault("dials", []).append(dials)
        kept = {name: dials[name] for name in DIALS}

        order = torch.randperm(1_200, generator=torch.Generator().manual_seed(seed))
        mixed = pairs["train"] | {"image": pairs["train"]["image"][order]}
        mixed = pairs | {"train": mixed}
        note_places(page, rows, "ridge, pairs shuffled", by_ridge(page, mixed)[0])
        places = by_contrast(page, mixed, seed, kept)[1]
        note_places(page, rows, "contrast, pairs shuffled", places)

        more = page["emoji_pairs"](seed, look, read, True)
        note_places(page, rows, "ridge, with short names", by_ridge(page, more)[0])
        places = by_contrast(page, more, seed, kept)[1]
        note_places(page, rows, "contrast, with short names", places)
        harder = {}
        for count in (150, 300, 600):
            harder[f"{count} pairs"] = {n: x[order[:count]] for n, x in pairs["train"].items()}
        for share in (0.1, 0.25, 0.5):
            wrong, places = order[: round(1_200 * share)], torch.arange(1_200)
            places[wrong] = wrong.roll(1)
            image = pairs["train"]["image"][places]
            harder[f"{share} mismatched"] = pairs["train"] | {"image": image}
        for name, train in harder.items():
            here = pairs | {"train": train}
            note_places(page, rows, f"ridge, {name}", by_ridge(page, here)[0])
            places = by_contrast(page, here, seed, kept)[1]
            note_places(page, rows, f"contrast, {name}", places)
    return rows


SWEEPS = [baselines, losses, temperatures, batches, imperfect, pairs, collapse, emoji]
