"""The stored comparisons of page 33: how far an answer falls without the regions that a map names,
what swaps do, by combination and by seed, and which maps notice that the weights are random.
"""

import copy
from functools import partial

import torch
from scipy.stats import rankdata
from torch import nn
from tqdm import tqdm

from course_utils.datasets.scenes import HELD_OUT
from course_utils.exercises import reference
from course_utils.runtime import seed_everything

SEEDS = range(5)
RATE = 1e-2  # page 26's, chosen there by the validation loss of the first seed
SPLITS = {"train": 3_000, "validation": 500, "test": 1_000}


def note(rows, name, **shares):
    row = rows.setdefault(name, {"accuracy": {}})["accuracy"]
    for key, value in shares.items():
        row.setdefault(key, []).append(round(float(value), 4))


def all_splits(page):
    data, items = {}, {}
    for split, size in SPLITS.items():
        data[split], items[split] = page["load"](split, size)
    return data, items


def cells_missing(part, seed, share=0.1):
    """A tenth of the single cells masked, in place of a tenth of the pictures."""
    draw = torch.Generator().manual_seed(seed)
    gone = torch.rand(part["mask"].shape, generator=draw) < share
    return part | {"mask": part["mask"] & ~gone}


def deletion(page: dict) -> dict:
    """The deletion gap of eight maps, three regions of 64, with an empty cell in their place; for
    all questions and for those about colour; the last rows with other trainings and other blanks.

    About two minutes on one core.
    """
    rows, gap = {}, reference("33.1")
    data, items = all_splits(page)
    test, empty = data["test"], page["EMPTY"]
    own, other = page["covered"](items["test"])
    of = {
        "all": torch.ones(len(own), dtype=torch.bool),
        "colour": torch.tensor([item["kind"] == "colour" for item in items["test"]]),
    }
    ways = {"": page["some_missing"](data["train"], 0), "cells: ": cells_missing(data["train"], 0)}
    for seed in tqdm(SEEDS, desc="deletion"):
        draw = torch.Generator().manual_seed(seed)
        chance = torch.rand(own.shape, generator=draw)
        random = torch.rand(10, *own.shape, generator=draw).argsort(2)[..., :3]
        for way, train in ways.items():
            model, _ = page["train"](page["Asker"], train, data["validation"], seed, lr=RATE)
            answer = page["said"](model, test)
            fixed = page["gradient_input"](page["fixed_score"](model, test, answer), test["cells"])
            plain = page["gradient_input"](page["score_of"](model, test, answer), test["cells"])
            score = page["score_of"](model, test, answer)
            whole = reference("33.2")(score, test["cells"], empty, 16).sum(2)
            maps = {
                "attention": page["attention"](model, test),
                "gradient times input": plain,
                "its size": plain.abs(),
                "attention held fixed": fixed,
                "integrated gradients": whole,
                "true pixels": own,
                "any filled": chance + (own + other > 0.1),
                "other things": chance + 2 * (other > 0.1).float() - 4 * (own > 0),
                "any": chance,
            }
            chances = page["probability"](model, test, answer)
            blanks = {"": empty}
            if not way:
                blanks |= {"mean cell: ": torch.zeros(64), "white cell: ": page["WHITE"]}
                note(rows, "model", right=page["right"](model, test).mean())
                for name in ("attention", "gradient times input"):
                    for k in (1, 6, 10):
                        some = torch.rand(10, *own.shape, generator=draw).argsort(2)[..., :k]
                        falls = gap(chances, test["cells"], maps[name], empty, some)
                        note(rows, f"{name}, {k}", all=falls.mean())
            for blank, vector in blanks.items():
                for name, one in maps.items():
                    falls = gap(chances, test["cells"], one, vector, random)
                    shares = {kind: falls[chosen].mean() for kind, chosen in of.items()}
                    note(rows, way + blank + name, **shares)
                gone = torch.zeros_like(random[0, :, :1], dtype=torch.bool)
                places = [gone.expand(-1, 64).scatter(1, one, True)[..., None] for one in random]
                left = [chances(torch.where(one, vector, test["cells"])).mean() for one in places]
                fall = chances(test["cells"]).mean() - sum(left) / len(left)
                note(rows, way + blank + "the random fall itself", all=fall)
    return rows


def from_there(score, start, way):
    return score(start + way)


def baselines(page: dict) -> dict:
    """The deletion gap, all questions, of maps that differ from those of `deletion` in one thing
    each, with its models and its draws: the baseline alone changed, and each region taken away by
    itself. And in how many samples the region with most attention has a negative product.

    About one minute on one core.
    """
    rows, gap = {}, reference("33.1")
    data, items = all_splits(page)
    test, empty = data["test"], page["EMPTY"]
    cells, train = test["cells"], page["some_missing"](data["train"], 0)
    for seed in tqdm(SEEDS, desc="baselines"):
        draw = torch.Generator().manual_seed(seed)
        torch.rand(cells.shape[:2], generator=draw)
        random = torch.rand(10, *cells.shape[:2], generator=draw).argsort(2)[..., :3]
        model, _ = page["train"](page["Asker"], train, data["validation"], seed, lr=RATE)
        answer = page["said"](model, test)
        score = page["score_of"](model, test, answer)
        chances = page["probability"](model, test, answer)
        alone = []
        for place in range(64):
            left = cells.clone()
            left[:, place] = empty
            alone.append(chances(cells) - chances(left))
        maps = {
            "gradient times input, from the empty region": page["gradient_input"](
                partial(from_there, score, empty), cells - empty
            ),
            "integrated gradients, from zero": reference("33.2")(
                score, cells, torch.zeros(64), 16
            ).sum(2),
            "each region taken away alone": torch.stack(alone, dim=1),
        }
        for name, one in maps.items():
            note(rows, name, all=gap(chances, cells, one, empty, random).mean())
        most = page["attention"](model, test).argmax(1, keepdim=True)
        product = page["gradient_input"](score, cells).gather(1, most)
        note(rows, "most attention, negative product", all=(product < 0).double().mean())
    return rows


# ---- swaps ----


def swaps(page: dict) -> dict:
    """One thing of a scene has another colour or shape: how often the answer is then right, among
    what was right before. And what a rule adds after 30 questions, and what an attack costs.

    About one minute on one core.
    """
    rows = {}
    data, items = all_splits(page)
    kinds = torch.tensor([page["KIND_OF"][item["kind"]] for item in items["test"]])
    changed = page["swapped"](items["test"])
    parts = {name: page["as_part"](some) for name, some in changed.items()}
    train = page["some_missing"](data["train"], 0)
    few = {name: x[:30] for name, x in data["train"].items()}
    for seed in tqdm(SEEDS, desc="swaps"):
        model, _ = page["train"](page["Asker"], train, data["validation"], seed, lr=RATE)
        good = page["right"](model, data["test"])
        for name, part in parts.items():
            before = good[torch.tensor([item["row"] for item in changed[name]])] == 1
            after = page["right"](model, part)[before]
            stays = torch.tensor([item["stays"] for item in changed[name]])[before]
            note(rows, name, right=after.mean())
            if stays.any() and not stays.all():
                raise ValueError(f"{name}: the answer changes in some of the swaps")
        draw = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(good), generator=draw)
        note(rows, "attack: none", right=good.mean())
        for name, keys in {"question": ("ids",), "picture": ("cells", "mask")}.items():
            attacked = data["test"] | {key: data["test"][key][order] for key in keys}
            note(rows, f"attack: {name}", right=page["right"](model, attacked).mean())
        model, _ = page["train"](page["Asker"], few, data["validation"], seed, lr=RATE)
        with torch.no_grad():
            logits = model(data["test"])
        ruled = logits.masked_fill(~page["ALLOWED"][kinds], -torch.inf)
        for name, told in {"30 questions": logits, "30 questions, rule": ruled}.items():
            hits = told.argmax(1) == data["test"]["label"]
            note(rows, name, right=hits.double().mean())
    return rows


def seen_in(item):
    """The pairs of colour and shape in a scene, of those that training is without."""
    return {(thing.colour, thing.shape) for thing in item["objects"]} & set(HELD_OUT)


def rows_of(part, chosen):
    return {name: x[chosen] for name, x in part.items()}


def combinations(page: dict) -> dict:
    """One thing's colour is changed, its shape is asked: right answers by colour and shape, by five
    trainings of the asker on 3,000 questions. "held out": none with one of the four new pairs;
    "shown": half of them with one; "but this": the same without the pair that is then asked for.
    And where the attention points. The network below is the shipped one, which met none of them.

    About three minutes on one core.
    """
    rows, point = {}, reference("15.2")
    data, _ = all_splits(page)
    novel, scenes = page["load"]("novel", 3_500)
    old = rows_of(data["train"], slice(1_500))
    ways = {"held out": data["train"]}
    for pair in (None, *HELD_OUT):
        fit = [i for i, item in enumerate(scenes) if pair not in seen_in(item)][:1_500]
        if len(fit) < 1_500:
            raise ValueError(f"only {len(fit)} scenes without {pair}")
        some = rows_of(novel, fit)
        name = "shown" if pair is None else f"but {' '.join(pair)}"
        ways[name] = {key: torch.cat([x, some[key]]) for key, x in old.items()}
    swaps = page["colour_swaps"]("test", 3_000)
    test = page["as_part"](swaps)
    boxes = torch.tensor([item["box"] for item in swaps])
    shapes = [(item["colour"], item["answer"]) for item in swaps]
    known = torch.tensor([one not in HELD_OUT for one in shapes])
    for seed in tqdm(SEEDS, desc="combinations"):
        for way, train in ways.items():
            train = page["some_missing"](train, 0)
            model, _ = page["train"](page["Asker"], train, data["validation"], seed, lr=RATE)
            good, where = page["right"](model, test), page["attention"](model, test).view(-1, 8, 8)
            note(rows, f"{way}: known", right=good[known].mean())
            for pair in HELD_OUT:
                if way in ("held out", "shown", f"but {' '.join(pair)}"):
                    chosen = torch.tensor([one == pair for one in shapes])
                    note(rows, f"{way}: {' '.join(pair)}", right=good[chosen].mean())
            groups = {"known": known, "new": ~known, "new and wrong": ~known & (good == 0)}
            if way in ("held out", "shown"):
                note(rows, f"{way}: new", right=good[~known].mean())
                for name, chosen in groups.items():
                    pointing = point(where[chosen], boxes[chosen], 4)
                    note(rows, f"{way}: {name}", pointing=pointing)
    return rows


# ---- sanity ----


def ranks(maps):
    """Places in the order of each map, ties shared, centred (N, K)."""
    found = torch.from_numpy(rankdata(maps.numpy(), axis=1))
    return found - found.mean(1, keepdim=True)


def likeness(one, other, where=None):
    """The mean rank correlation of maps (N, K); with `where`, of the places where it is True. A
    map that is the same everywhere is like no other: 0.
    """
    if where is None:
        a, b = ranks(one), ranks(other)
        lengths = (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-9)
        return ((a * b).sum(1) / lengths).mean().item()
    each = [likeness(a[w][None], b[w][None]) for a, b, w in zip(one, other, where)]
    return sum(each) / len(each)


def reset(*modules):
    for module in modules:
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear, nn.Embedding)):
                part.reset_parameters()


def settle(body, images):
    """The batch norms' means and spreads for the new weights."""
    for part in body:
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            part.reset_running_stats()
    body.train()
    with torch.no_grad():
        body(images)
    body.eval()


def sanity(page: dict) -> dict:
    """How alike a map is to the trained model's (rank correlation over pixels, or cells) when the
    weights are made random, from the head down; with labels shuffled; and for another seed.

    About two minutes on one core.
    """
    rows = {}
    data, items = all_splits(page)
    first = items["test"][:30]
    part = {name: x[:30] for name, x in data["test"].items()}
    images = torch.stack([item["image"] for item in first])
    filled = (images - 40 / 255).abs().amax(1).flatten(1) > 0.01
    train = page["some_missing"](data["train"], 0)
    models = {}
    for seed in range(6):
        models[seed], _ = page["train"](page["Asker"], train, data["validation"], seed, lr=RATE)

    def maps(body, model, answer):
        with torch.no_grad():
            cells = body(images).flatten(2).mT
        found = page["pixel_maps"](reference("33.2"), body, model, part, images, answer)
        return found | {"attention": page["attention"](model, part | {"cells": cells})}

    def compare(stage, before, after):
        for name, one in before.items():
            shares = {"all": likeness(one, after[name])}
            if name != "attention":
                shares["things"] = likeness(one, after[name], filled)
            note(rows, f"{stage}: {name}", **shares)

    for seed in tqdm(SEEDS, desc="sanity"):
        body, model = copy.deepcopy(page["encoder"].body), copy.deepcopy(models[seed])
        answer = page["said"](model, part)
        before = maps(body, model, answer)
        compare("another seed", before, maps(body, models[seed + 1], answer))
        compare("another picture", before, {name: x.roll(1, 0) for name, x in before.items()})
        draw = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(train["label"]), generator=draw)
        shuffled = train | {"label": train["label"][order]}
        other, _ = page["train"](page["Asker"], shuffled, shuffled, seed, lr=RATE)
        compare("labels shuffled", before, maps(body, other, answer))
        seed_everything(100 + seed)
        reset(model.head)
        compare("head", before, maps(body, model, answer))
        reset(model.query, model.words)
        compare("question", before, maps(body, model, answer))
        convolutions = [layer for layer in body if isinstance(layer, nn.Conv2d)]
        for stage, some in {"last convolution": [3], "all convolutions": [0, 1, 2]}.items():
            reset(*(convolutions[k] for k in some))
            settle(body, images)
            compare(stage, before, maps(body, model, answer))
    return rows


SWEEPS = [deletion, baselines, swaps, combinations, sanity]
