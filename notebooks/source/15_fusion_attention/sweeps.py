"""The stored comparisons of page 15: questions about scenes, asked by words, and easy-VQA."""

import itertools
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.datasets import EasyVQA
from course_utils.exercises import reference
from course_utils.masks import masked_mean
from course_utils.runtime import seed_everything
from course_utils.training import Batches

SEEDS = range(5)
SPLITS = {"train": 3_000, "validation": 500, "test": 1_000}
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
TOLERANCES = {"strict": 0, "tolerant": 4}  # pixels
ROLES = {"what is the": range(1, 4), "asked": range(4, 7), "naming": range(7, 20)}


def scenes(page: dict) -> tuple[dict, object]:
    """The splits with the features of their cells, and the network that made these."""
    data = {split: page["load"](split, size)[0] for split, size in SPLITS.items()}
    network = page["train_cells"](data["train"])
    for part in data.values():
        part["cells"], part["mask"] = page["cell_features"](network, part)
    kept = ("ids", "cells", "mask", "label", "box", "in_cells")
    return {split: {name: part[name] for name in kept} for split, part in data.items()}, network


def cells_right(page, network):
    """The share of the test set's cells with something in them that the network names rightly."""
    part = page["load"]("test", SPLITS["test"])[0]
    with torch.no_grad():
        said = network(part["image"])
    for logits, true in zip(said, part["in_cells"].unbind(1)):
        shown = true > 0
        yield (logits.argmax(1) == true)[shown].double().mean()


def tuned(page, make, data, seed, rate=None):
    """The model of the best learning rate by the validation loss of this seed, or of `rate`."""
    runs = []
    for lr in RATES if rate is None else (rate,):
        model, history = page["train"](make, data, seed, lr=lr)
        runs.append((min(history.validation_loss), lr, model))
    return min(runs, key=lambda run: run[0])[1:]


def shuffled_pictures(data, seed, name="cells"):
    """The pictures of each split in another order of rows, questions and answers as they were."""
    moved = {}
    for place, (split, part) in enumerate(data.items()):
        draw = torch.Generator().manual_seed(3 * seed + place)
        order = torch.randperm(len(part[name]), generator=draw)
        moved[split] = part | {name: part[name][order]}
    return moved


def random_maps(generator, rows, allowed=None):
    """Maps (rows, 64) whose largest weight stands at a random cell, of those `allowed`."""
    maps = torch.rand(rows, 64, generator=generator)
    return maps if allowed is None else torch.where(allowed, maps + 1, maps)


def questions(page: dict) -> dict:
    """Accuracy of words that ask cells, beside pooling, single modalities and controls; where the
    words look; what is left without the cells that they look at.

    About three minutes on one core.
    """
    rows, attend, point = {}, reference("15.1"), reference("15.2")
    data, network = scenes(page)
    test, score = data["test"], page["score"]
    full = torch.ones_like(test["mask"])
    with_gaps = data | {"train": page["some_missing"](data["train"], 0)}

    def note(name, key, value):
        rows.setdefault(name, {}).setdefault(key, []).append(round(float(value), 4))

    for name, right in zip(("size", "colour", "shape"), cells_right(page, network)):
        note("attention", f"{name} of a cell", right)

    asker, pooled = page["Asker"], page["Pooled"]
    makes = {
        "attention": lambda: asker(attend),
        "attention, no context": lambda: asker(attend, context=False),
        "attention, picture always there": lambda: asker(attend),
        "attention, pictures shuffled": lambda: asker(attend),
        "product": lambda: pooled("product"),
        "concat": lambda: pooled("concat"),
        "question alone": lambda: pooled("question alone"),
        "picture alone": lambda: pooled("picture alone"),
    }
    for name, make in makes.items():
        rate = None
        for seed in tqdm(SEEDS, desc=name):
            here = data if name.endswith("always there") else with_gaps
            if name.endswith("shuffled"):
                here = shuffled_pictures(here, seed)
            rate, model = tuned(page, make, here, seed, rate)
            note(name, "accuracy", score(model, here["test"]))
            note(name, "lr", rate)
            if not name.startswith("attention") or name.endswith("shuffled"):
                continue
            note(name, "picture missing", score(model, test | {"mask": ~full}))
            words, mean = page["maps_of"](model, test)
            for way, tolerance in TOLERANCES.items():
                share = point(mean.view(-1, 8, 8), test["box"], tolerance)
                note(name, f"pointing, {way}", share)
            if name != "attention":
                continue
            filled = (test["in_cells"][:, 0] > 0).flatten(1)
            for role, ids in ROLES.items():
                chosen = torch.isin(test["ids"], torch.tensor(list(ids)))  # (N, T)
                inside, boxes = words[chosen].view(-1, 8, 8), test["box"][chosen.nonzero()[:, 0]]
                note(name, f"{role}, strict", point(inside, boxes, 0))
                note(name, f"{role}, tolerant", point(inside, boxes, 4))
            for asked, word in zip(("size", "colour", "shape"), range(4, 7)):
                chosen = test["ids"] == word
                inside, boxes = words[chosen].view(-1, 8, 8), test["box"][chosen.nonzero()[:, 0]]
                note(name, f"asked {asked}, strict", point(inside, boxes, 0))
                nothing = ~filled[chosen.nonzero()[:, 0]]
                top = words[chosen].argmax(1, keepdim=True)
                note(name, f"asked {asked}, at nothing", nothing.gather(1, top).double().mean())
            draw = torch.Generator().manual_seed(seed)
            ways = {
                "looked at": mean,
                "with something in them": random_maps(draw, len(mean), filled),
                "any": random_maps(draw, len(mean)),
            }
            for way, maps in ways.items():
                for count in (1, 2, 4, 8):
                    left = score(model, page["without"](test, maps, count))
                    note(name, f"without {count} {way}", left)
            for allowed, tolerance in TOLERANCES.items():
                for way, maps in ways.items():
                    share = point(maps.view(-1, 8, 8), test["box"], tolerance)
                    note(name, f"control {way}, {allowed}", share)
    centre = torch.zeros(len(test["box"]), 8, 8)
    centre[:, 3, 3] = 1.0
    for way, tolerance in TOLERANCES.items():
        share = round(point(centre, test["box"], tolerance), 4)
        rows["attention"][f"control centre, {way}"] = [share] * len(SEEDS)
    return rows


def own_cells(boxes):
    """Which of the 64 cells touch each box (N, 4) in pixels, (N, 64) bool."""
    start = torch.arange(0, 64, 8)
    across = (start + 8 > boxes[:, :1]) & (start < boxes[:, 2:3])  # (N, 8): x
    down = (start + 8 > boxes[:, 1:2]) & (start < boxes[:, 3:4])  # (N, 8): y
    return (down[:, :, None] & across[:, None]).flatten(1)


def largest_things(page):
    """For each test picture a map (N, 64) of one cell, in which the middle of its largest thing
    lies.
    """
    asked = [page["KINDS"].index(name) for name in page["ATTRIBUTES"]]
    scenes = page["Scenes"]("test", size=7 * SPLITS["test"])
    maps = torch.zeros(SPLITS["test"], 64)
    places = [i for i in range(7 * SPLITS["test"]) if i % 7 in asked][: SPLITS["test"]]
    for row, i in enumerate(places):
        boxes = [thing.box for thing in scenes[i]["objects"]]
        left, top, right, bottom = max(boxes, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
        maps[row, 8 * ((top + bottom) // 16) + (left + right) // 16] = 1
    return maps


def harder(page: dict) -> dict:
    """Harder comparisons: the largest number over the cells in place of their mean; a null that
    stays zeros; which four filled cells are masked, also for a model that looks nowhere; a control
    that points at the largest thing.

    About three minutes on one core.
    """
    rows, attend, point = {}, reference("15.1"), reference("15.2")
    data, _ = scenes(page)
    test, score = data["test"], page["score"]
    gaps = data | {"train": page["some_missing"](data["train"], 0)}
    filled = (test["in_cells"][:, 0] > 0).flatten(1)
    own = own_cells(test["box"])

    def note(name, key, value):
        rows.setdefault(name, {}).setdefault(key, []).append(round(float(value), 4))

    def frozen():
        model = page["Asker"](attend)
        model.null.requires_grad_(False)
        return model

    pooled = page["Pooled"]
    for how in ("product", "concat"):
        rate = None
        for seed in tqdm(SEEDS, desc=f"{how}, largest"):
            rate, model = tuned(page, lambda how=how: pooled(how, largest=True), gaps, seed, rate)
            note(f"{how}, largest of the cells", "accuracy", score(model, test))
    for seed in tqdm(SEEDS, desc="masked"):
        model, _ = page["train"](lambda: page["Asker"](attend), gaps, seed)
        other, _ = page["train"](lambda: pooled("product"), gaps, seed, lr=1e-2)
        _, mean = page["maps_of"](model, test)
        draw = torch.Generator().manual_seed(seed)
        ways = {
            "looked at": mean,
            "filled": random_maps(draw, len(mean), filled),
            "of other things": random_maps(draw, len(mean), filled & ~own),
            "of the thing asked about": random_maps(draw, len(mean), filled & own),
        }
        for name, one in (("attention", model), ("product", other)):
            note(name, "accuracy", score(one, test))
            for way, maps in ways.items():
                note(name, f"without 4 {way}", score(one, page["without"](test, maps, 4)))
        still, _ = page["train"](frozen, gaps, seed)
        missing = test | {"mask": torch.zeros_like(test["mask"])}
        note("null stays zeros", "accuracy", score(still, test))
        note("null stays zeros", "picture missing", score(still, missing))
    largest = largest_things(page)
    for way, tolerance in TOLERANCES.items():
        share = point(largest.view(-1, 8, 8), test["box"], tolerance)
        rows["attention"][f"control largest thing, {way}"] = [round(share, 4)] * len(SEEDS)
    return rows


def beginning(page: dict, steps: int = 300, every: int = 10) -> dict:
    """Accuracy and tolerant pointing on the validation set, every ten steps from the start.

    About one minute on one core.
    """
    data, _ = scenes(page)
    data["train"] = page["some_missing"](data["train"], 0)
    validation, point = data["validation"], reference("15.2")
    rows = {}

    def note(seed, step, model):
        row = rows.setdefault(f"seed {seed}", {"step": [], "accuracy": [], "pointing": []})
        row["step"].append(step)
        row["accuracy"].append(round(page["score"](model, validation), 4))
        _, mean = page["maps_of"](model, validation)
        row["pointing"].append(round(point(mean.view(-1, 8, 8), validation["box"], 4), 4))

    for seed in tqdm(SEEDS):
        generator = seed_everything(seed)
        model = page["Asker"](reference("15.1"))
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
        note(seed, 0, model)
        passes = itertools.repeat(Batches(data["train"], 64, generator))
        batches = itertools.chain.from_iterable(passes)
        for step, batch in enumerate(itertools.islice(batches, steps), start=1):
            model.train()
            loss = F.cross_entropy(model(batch), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % every == 0:
                note(seed, step, model)
    return rows


class Viewer(nn.Module):
    """`how`: attention, product, concat, picture alone, question alone. A batch has P pictures, and
    `which` (B,) of them each question is about.
    """

    def __init__(self, how, words, attend=None, width=64):
        super().__init__()
        self.how, self.attend, blocks = how, attend, []
        for inputs, outputs in ((3, 16), (16, 32), (32, width)):
            conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            blocks += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body, self.words = nn.Sequential(*blocks), nn.Embedding(words, width, padding_idx=0)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.null = nn.Parameter(torch.zeros(2, width))
        glued = how in ("attention", "concat")
        self.head = nn.Sequential(nn.Linear((1 + glued) * width, 64), nn.ReLU(), nn.Linear(64, 11))

    def forward(self, batch):
        question = masked_mean(self.words(batch["ids"]), batch["ids"] > 0)  # (B, width)
        if self.how == "question alone":
            return self.head(question)
        cells = self.body(batch["image"]).flatten(2).mT  # (P, 16, width)
        cells = self.value(cells)[batch["which"]]  # (B, 16, width)
        picture = cells.amax(dim=1)  # (B, width)
        if self.how == "attention":
            there = torch.ones(cells.shape[:2], dtype=torch.bool)
            asking, keys = self.query(question)[:, None], self.key(cells)
            picture = self.attend(asking, keys, cells, there, *self.null)[0][:, 0]
        if self.how == "product":
            return self.head(self.query(question) * picture)
        return self.head(
            picture if self.how == "picture alone" else torch.cat([question, picture], dim=-1)
        )


def easy_vqa() -> tuple[dict, int]:
    """Splits of easy-VQA's questions for a colour or a shape: pictures (P, 3, 32, 32), and for each
    question which of them it is about, the ids of its words and the place of its answer among 8
    colours and 3 shapes; and the number of words.
    """
    data = {}
    for split in SPLITS:
        kinds = [EasyVQA(split, about=about) for about in ("color", "shape")]
        places = [kinds[0].labels, kinds[1].labels + len(kinds[0].answers)]
        data[split] = {
            "image": F.avg_pool2d(kinds[0].pictures / 255, 2),
            "which": torch.cat([kind.places for kind in kinds]),
            "label": torch.cat(places),
            "texts": [text.strip("?").split() for kind in kinds for text in kind.texts],
        }
    words = sorted({word for part in data.values() for text in part["texts"] for word in text})
    for part in data.values():
        rows = []
        for text in part.pop("texts"):
            rows.append(torch.tensor([1 + words.index(word) for word in text]))
        part["ids"] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return data, 1 + len(words)


def train_viewer(make, part, seed, lr, epochs=10, pictures=48):
    """`make()` after seeding, trained on all questions about `pictures` pictures at a time, with a
    learning rate that rises and falls; the last epoch's weights.
    """
    generator, model = seed_everything(seed), make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    steps = epochs * -(-len(part["image"]) // pictures)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(part["image"]), generator=generator).split(pictures):
            new_place = torch.full((len(part["image"]),), -1)
            new_place[chosen] = torch.arange(len(chosen))
            which = new_place[part["which"]]
            rows = which >= 0
            batch = {"image": part["image"][chosen], "which": which[rows], "ids": part["ids"][rows]}
            loss = F.cross_entropy(model(batch), part["label"][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def real(page: dict) -> dict:
    """easy-VQA's questions for a colour or a shape, asked of pictures with one shape each. The
    learning rate is the best of three by the first seed's validation accuracy.

    About four minutes on one core.
    """
    data, words = easy_vqa()
    rows, attend = {}, reference("15.1")
    runs = {how: how for how in ("attention", "product", "concat")}
    runs |= {f"{how} alone": f"{how} alone" for how in ("question", "picture")}
    runs["attention, pictures shuffled"] = "attention"

    def right(model, part):
        with torch.no_grad():
            return (model(part).argmax(1) == part["label"]).double()

    for name, how in runs.items():
        make, rates = partial(Viewer, how, words, attend), (2e-3, 5e-3, 1e-2)
        for seed in tqdm(SEEDS, desc=name):
            here = shuffled_pictures(data, seed, "image") if "shuffled" in name else data
            tried = []
            for lr in rates:
                model = train_viewer(make, here["train"], seed, lr)
                tried.append((right(model, here["validation"]).mean().item(), lr, model))
            _, lr, model = max(tried, key=lambda run: run[0])
            rates = (lr,)
            said, colour = right(model, here["test"]), here["test"]["label"] < 8
            row = rows.setdefault(name, {"accuracy": [], "colour": [], "shape": [], "lr": []})
            row["accuracy"].append(round(said.mean().item(), 4))
            row["colour"].append(round(said[colour].mean().item(), 4))
            row["shape"].append(round(said[~colour].mean().item(), 4))
            row["lr"].append(lr)
    return rows


SWEEPS = [questions, harder, beginning, real]
