"""The stored comparisons of page 26: questions of all kinds about scenes, relations, questions that
somebody picks freely, and easy-VQA.
"""

import random
from functools import partial
from time import process_time

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.datasets import EasyVQA
from course_utils.exercises import reference
from course_utils.runtime import seed_everything

SEEDS = range(5)
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
SIZES = {"train": 3_000, "validation": 500, "test": 1_000}


def note(rows, name, **numbers):
    for key, value in numbers.items():
        rows.setdefault(name, {}).setdefault(key, []).append(round(float(value), 4))


def tuned(page, make, data, seed, rate=None, rates=RATES, **how):
    """The model of the best of `rates` by the validation loss of this seed, or of `rate`."""
    runs = []
    for lr in rates if rate is None else (rate,):
        model, loss = page["train"](make, data["train"], data["validation"], seed, lr=lr, **how)
        runs.append((loss, lr, model))
    return min(runs, key=lambda run: run[0])[1:]


def shuffled(data, seed):
    """The pictures of each split in another order of rows, questions and answers as they were."""
    moved = {}
    for place, (split, part) in enumerate(data.items()):
        draw = torch.Generator().manual_seed(3 * seed + place)
        order = torch.randperm(len(part["label"]), generator=draw)
        moved[split] = part | {name: part[name][order] for name in ("cells", "mask")}
    return moved


def five(page, rows, name, make, data, seeds=SEEDS, **how):
    """Five seeds of a row, with the rate that is best on the first seed's validation set."""
    rate = None
    for seed in tqdm(seeds, desc=name):
        here = shuffled(data, seed) if name.endswith("shuffled") else data
        rate, model = tuned(page, make, here, seed, rate, **how)
        yield seed, model, here["test"]
        note(rows, name, accuracy=page["right"](model, here["test"]).mean(), lr=rate)


class Blind(nn.Module):
    """`how`: question alone, or picture alone (the largest number of each feature)."""

    def __init__(self, page, how):
        super().__init__()
        self.how, words = how, 1 + len(page["WORDS"])
        self.words = nn.EmbeddingBag(words, 64, mode="mean", padding_idx=0)
        self.head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, len(page["ANSWERS"])))

    def forward(self, batch):
        question = self.how == "question alone"
        return self.head(self.words(batch["ids"]) if question else batch["cells"].amax(1))


def own_boxes(page, items):
    """Of each question for colour, shape or size: the box of the thing, and the largest thing's."""
    boxes, largest = [], []
    for item in items:
        asked = page["read_question"](item["question"]).first
        (one,) = [thing for thing in item["objects"] if asked.fits(thing)]
        size = [(b[2] - b[0]) * (b[3] - b[1]) for b in (t.box for t in item["objects"])]
        boxes.append(one.box)
        largest.append(item["objects"][size.index(max(size))].box)
    return torch.tensor(boxes), torch.tensor(largest)


def at(place):
    """A map (8, 8) with all its weight at the middle of a box."""
    left, top, right, bottom = place.tolist()
    one = torch.zeros(8, 8)
    one[(top + bottom) // 16, (left + right) // 16] = 1
    return one


def attributes(page: dict) -> dict:
    """Colour, shape and size: accuracy, where it looks, and controls.

    About one minute on one core.
    """
    rows, data, point = {}, {}, reference("15.2")
    for split, size in SIZES.items():
        data[split], items = page["load"](split, ("colour", "shape", "size"), size)
    boxes, largest = own_boxes(page, items)
    data["train"] = page["some_missing"](data["train"], 0)
    makes = {
        "attention": page["Asker"],
        "attention, pictures shuffled": page["Asker"],
        "question alone": partial(Blind, page, "question alone"),
        "picture alone": partial(Blind, page, "picture alone"),
    }
    for name, make in makes.items():
        for _, model, test in five(page, rows, name, make, data, rates=RATES[1:]):
            if name != "attention":
                continue
            gone = test | {"mask": torch.zeros_like(test["mask"])}
            with torch.no_grad():
                maps = model.look(test)[2][:, :64].view(-1, 8, 8)
            centre = torch.zeros_like(maps)
            centre[:, 3, 3] = 1
            controls = {"largest": torch.stack([at(box) for box in largest]), "centre": centre}
            note(rows, name, missing=page["right"](model, gone).mean())
            for way, tolerance in {"strict": 0, "tolerant": 4}.items():
                note(rows, name, **{f"pointing, {way}": point(maps, boxes, tolerance)})
                for control, where in controls.items():
                    note(rows, name, **{f"{control}, {way}": point(where, boxes, tolerance)})
    return rows


class Reader(nn.Module):
    """Words in their order: the last state of a GRU."""

    def __init__(self, words, width=64):
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=0)
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, ids):
        states, _ = self.gru(self.words(ids))
        return states[torch.arange(len(ids)), (ids > 0).sum(1) - 1]


def kinds(page: dict) -> dict:
    """All seven kinds of questions at once, a row a kind: attention with the question read in its
    order, with shuffled pictures, and the wording alone.

    About four minutes on one core.
    """
    rows, data, items = {}, {}, {}
    for split, size in {"train": 4_200, "validation": 700, "test": 2_100}.items():
        data[split], items[split] = page["load"](split, page["KINDS"], size)
    of = [item["kind"] for item in items["test"]]
    texts = {
        split: [[item[name] for item in items[split]] for name in ("question", "answer")]
        for split in ("train", "test")
    }
    told = reference("26.1")(*texts["train"], texts["test"][0])
    hits = torch.tensor([a == b for a, b in zip(told, texts["test"][1])]).double()
    for kind in page["KINDS"]:
        chosen = torch.tensor([one == kind for one in of])
        rows[f"the wording: {kind}"] = {"accuracy": [round(hits[chosen].mean().item(), 4)] * 5}

    class Ordered(page["Asker"]):
        def __init__(self):
            super().__init__()
            self.reader = Reader(1 + len(page["WORDS"]))

        def read(self, ids):
            return self.reader(ids)

    for name in ("attention", "attention, pictures shuffled"):
        for _, model, test in five(page, rows, name, Ordered, data, epochs=15, rates=RATES[1:]):
            good = page["right"](model, test)
            for kind in page["KINDS"]:
                chosen = torch.tensor([one == kind for one in of])
                note(rows, f"{name}: {kind}", accuracy=good[chosen].mean())
    return rows


def relation_parts(page, train):
    data = {}
    for split, size in (SIZES | {"train": train}).items():
        part, items = page["load"](split, ("relation",), size)
        data[split] = page["phrases"](part, items)
    return data, items  # of the test set


GRID = torch.stack([torch.arange(64) % 8, torch.arange(64) // 8], dim=1).float() / 3.5 - 1


class Rounds(nn.Module):
    """Two rounds of attention with four heads each, the query of the second from what the first
    found. The question is read as by `Comparer`: both phrases and the relation, each a vector; or
    as a whole, by a GRU (`read="gru"`).
    `places`: none; learned, added to the cells; coordinates, two more numbers of a cell. `like`:
    an empty cell beside the 64, and a logit for each of the page's answers, as `Asker` has them.
    """

    def __init__(self, page, places="none", read="phrases", like=False, heads=4, width=64):
        super().__init__()
        self.places, self.heads, self.D = places, heads, 64 + 2 * (places == "coordinates")
        words = 1 + len(page["WORDS"])
        self.words, self.relation = nn.Embedding(words, width), nn.Embedding(4, width)
        self.read = nn.Linear(3 * width, width)
        self.ask = nn.ModuleList([nn.Linear(width, heads * self.D) for _ in range(2)])
        self.back = nn.ModuleList([nn.Linear(heads * self.D, width) for _ in range(2)])
        self.learned = nn.Parameter(0.3 * torch.randn(64, 64))
        logits = len(page["ANSWERS"]) if like else 2
        self.head = nn.Sequential(nn.Linear(2 * width, 64), nn.ReLU(), nn.Linear(64, logits))
        self.null = nn.Parameter(torch.zeros(self.D)) if like else None
        self.gru = Reader(words, width) if read == "gru" else None

    def forward(self, batch):
        if self.gru is not None:
            question = self.gru(batch["ids"])
        else:
            said = [self.words(batch[name]).mean(1) for name in ("first", "second")]
            question = self.read(torch.cat([*said, self.relation(batch["relation"])], 1))
        cells, B, state = batch["cells"], len(question), question
        if self.places == "learned":
            cells = cells + self.learned
        if self.places == "coordinates":
            cells = torch.cat([cells, 2 * GRID.expand(B, 64, 2)], 2)
        if self.null is not None:
            cells = torch.cat([cells, self.null.expand(B, 1, self.D)], 1)
        for ask, back in zip(self.ask, self.back):
            queries = ask(state).view(B, self.heads, self.D)
            weights = (queries @ cells.mT / self.D**0.5).softmax(-1)  # (B, heads, 64)
            state = state + back((weights @ cells).flatten(1))
        return self.head(torch.cat([question, state], 1))


class Pointers(nn.Module):
    """A pointer for each phrase, as `Comparer`; `back` says what comes back of where it points:
    cells, cells and places, places. `read="gru"`: the question read as a whole, a query for each
    pointer from its last state, in place of the two phrases.
    """

    def __init__(self, page, back, read="phrases", width=64):
        super().__init__()
        self.back, words = back, 1 + len(page["WORDS"])
        self.words, self.relation = nn.Embedding(words, width), nn.Embedding(4, width)
        self.query = nn.Linear(width, 64)
        if read == "gru":
            self.reader, self.query = Reader(words, width), nn.Linear(width, 128)
        self.gru = read == "gru"
        found = {"cells": 128, "cells and places": 132, "places": 4, "offset": 2}[back]
        self.head = nn.Sequential(nn.Linear(width + found, 64), nn.ReLU(), nn.Linear(64, 2))

    def look(self, batch):
        """What came back, and both maps (B, 2, 64)."""
        if self.gru:
            relation = self.reader(batch["ids"])
            queries = self.query(relation).view(-1, 2, 64)
        else:
            said = [self.words(batch[name]).mean(1) for name in ("first", "second")]
            queries, relation = self.query(torch.stack(said, 1)), self.relation(batch["relation"])
        weights = (queries @ batch["cells"].mT / 8).softmax(-1)  # (B, 2, 64)
        places, cells = weights @ GRID, weights @ batch["cells"]
        parts = {
            "cells": [cells.flatten(1)],
            "cells and places": [cells.flatten(1), places.flatten(1)],
            "places": [places.flatten(1)],
            "offset": [places[:, 0] - places[:, 1]],
        }
        return torch.cat([*parts[self.back], relation], 1), weights

    def forward(self, batch):
        return self.head(self.look(batch)[0])


def pointed(page, model, test, items, rows, name):
    """Whether each of the two pointers points into the box of its thing, and of the other's."""
    point = reference("15.2")
    with torch.no_grad():
        maps = model.look(test)[1].view(-1, 2, 8, 8)
    boxes = []
    for item in items:
        asked = page["read_question"](item["question"])
        both = [
            next(thing.box for thing in item["objects"] if one.fits(thing))
            for one in (asked.first, asked.second)
        ]
        boxes.append(both)
    boxes = torch.tensor(boxes)  # (N, 2, 4)
    for way, tolerance in {"strict": 0, "tolerant": 4}.items():
        own = [point(maps[:, k], boxes[:, k], tolerance) for k in (0, 1)]
        other = [point(maps[:, k], boxes[:, 1 - k], tolerance) for k in (0, 1)]
        note(rows, name, **{f"own box, {way}": sum(own) / 2, f"other box, {way}": sum(other) / 2})


def relations(page: dict) -> dict:
    """ "Is the red circle left of the blue square?" from 3,000 questions, 20 passes.

    About four minutes on one core.
    """
    rows = {}
    data, _ = relation_parts(page, 3_000)
    makes = {
        "two rounds": partial(Rounds, page),
        "two rounds, learned places": partial(Rounds, page, "learned"),
        "two rounds, coordinates": partial(Rounds, page, "coordinates"),
        "pointers: cells": partial(Pointers, page, "cells"),
        "pointers: cells and places": partial(Pointers, page, "cells and places"),
        "pointers: places": partial(Pointers, page, "places"),
        "pointers: offset, question read by a GRU": partial(Pointers, page, "offset", "gru"),
    }
    for name, make in makes.items():
        for _ in five(page, rows, name, make, data):
            pass
    return rows


def signs(page: dict, seeds=range(10)) -> dict:
    """The same from the offset of two pointers: a head learns from it, or its sign is the answer;
    and whether the pointers point at their things. Ten seeds, since a head has two kinds of runs.

    About two minutes on one core.
    """
    rows = {}
    data, items = relation_parts(page, 3_000)
    compare = partial(page["Comparer"], reference("26.2"))
    makes = {
        "pointers: offset": partial(Pointers, page, "offset"),
        "pointers: sign of the offset": compare,
        "pointers: sign of the offset, pictures shuffled": compare,
    }
    for name, make in makes.items():
        for _, model, test in five(page, rows, name, make, data, seeds, rates=RATES[:3]):
            if not name.endswith("shuffled"):
                pointed(page, model, test, items, rows, name)
    return rows


def longer(page: dict) -> dict:
    """What stays at chance, three times as long, 60 passes, and from 12,000 questions, rate 0.003.

    About four minutes on one core.
    """
    rows = {}
    many, _ = relation_parts(page, 12_000)
    few = many | {"train": {name: x[:3_000] for name, x in many["train"].items()}}
    runs = {
        "two rounds, 60 passes": (partial(Rounds, page), few, 60),
        "two rounds, coordinates, 12,000 questions": (
            partial(Rounds, page, "coordinates"),
            many,
            20,
        ),
        "pointers: cells and places, 12,000 questions": (
            partial(Pointers, page, "cells and places"),
            many,
            20,
        ),
    }
    for name, (make, data, epochs) in runs.items():
        for _ in five(page, rows, name, make, data, epochs=epochs, rates=(3e-3,)):
            pass
    return rows


def whole(page: dict) -> dict:
    """Two rounds with coordinates, the question read as a whole, from 12,000 questions.

    About three minutes on one core.
    """
    rows, (data, _) = {}, relation_parts(page, 12_000)
    name = "two rounds, coordinates, a GRU reads, 12,000 questions"
    make = partial(Rounds, page, "coordinates", "gru")
    for _ in five(page, rows, name, make, data, rates=(3e-3,)):
        pass
    return rows


def empty(page: dict) -> dict:
    """The same as `whole` with an empty cell beside the 64, and a logit for each answer.

    About three minutes on one core.
    """
    rows, (data, _) = {}, relation_parts(page, 12_000)
    name = "two rounds, coordinates, a GRU reads, an empty cell, 12,000 questions"
    make = partial(Rounds, page, "coordinates", "gru", True)
    for _ in five(page, rows, name, make, data, rates=(3e-3,)):
        pass
    return rows


def by_coin(page, split, size):
    """A question "is there ...?" for each scene of `asked`, with the answer of a fair coin."""
    scenes, draw, rows = page["Scenes"](split, size=size), random.Random(f"{split} 0"), []
    for i in range(size):
        answer = draw.choice(["no", "yes"])
        every = [row for row in scenes.questions(i) if row[1:] == (answer, "exists")]
        rows.append((*draw.choice(every)[:2], scenes[i]["image"]))
    return page["as_part"](*zip(*rows))


def unbalanced(page: dict) -> dict:
    """ "Is there ...?": trained on any question that makes sense, on such with weights, and on
    balanced ones; each tested on both, for 20 and for 60 passes.

    About three minutes on one core.
    """
    rows, free, coin, fair = {}, {}, {}, {}
    for split, size in SIZES.items():
        free[split] = page["asked"](split, size)
        coin[split] = by_coin(page, split, size)
        fair[split], _ = page["load"](split, ("exists",), size)
    share = free["train"]["label"].bincount(minlength=len(page["ANSWERS"])) / SIZES["train"]
    weigh = torch.where(share > 0, 0.5 / share, 1.0)
    note(rows, "any question", no=(free["test"]["label"] == 0).double().mean())
    runs = {
        "any question": (free, {}),
        "any question, weighted": (free, {"weigh": weigh}),
        "same scenes, a coin's answer": (coin, {}),
        "balanced scenes": (fair, {}),
        "any question, pictures shuffled": (free, {}),
    }
    for name, (data, how) in runs.items():
        for epochs in (20, 60):
            if epochs == 60 and name not in ("any question", "balanced scenes"):
                continue
            label = name if epochs == 20 else f"{name}, 60 passes"
            for seed, model, _ in five(
                page, rows, label, page["Asker"], data, epochs=epochs, **how
            ):
                balanced = shuffled(fair, seed)["test"] if "shuffled" in name else fair["test"]
                with torch.no_grad():
                    no = (model(balanced).argmax(1) == 0).double().mean()
                ways = {"balanced": balanced, "free": free["test"]}
                shares = {way: page["right"](model, part).mean() for way, part in ways.items()}
                note(rows, label, says_no=no, **shares)
    return rows


def easy_parts(page):
    """easy-VQA by split: each picture once, at half its size, and for each question which it is
    about; the questions and answers as texts; the number of words.
    """
    parts, texts = {}, {}
    for split in ("train", "validation", "test"):
        read = EasyVQA(split)
        texts[split] = read.texts, [read.answers[i] for i in read.labels.tolist()]
        parts[split] = {
            "image": F.avg_pool2d(read.pictures / 255, 2),
            "which": read.places,
            "label": read.labels,
        }
    words = sorted(
        {word for said, _ in texts.values() for q in said for word in page["words_of"](q)}
    )
    for split, (said, _) in texts.items():
        rows = [torch.tensor([1 + words.index(word) for word in page["words_of"](q)]) for q in said]
        parts[split]["ids"] = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return parts, texts, len(words)


class Viewer(nn.Module):
    """The largest number over the places of a picture, times the question; `blind`, without it."""

    def __init__(self, words, blind=False, width=64):
        super().__init__()
        self.blind, layers = blind, []
        for inputs, outputs in ((3, 16), (16, 32), (32, width)):
            conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.words = nn.EmbeddingBag(1 + words, width, mode="mean", padding_idx=0)
        self.query = nn.Linear(width, width)
        self.head = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 13))

    def forward(self, batch):
        question = self.query(self.words(batch["ids"]))  # (B, width)
        if self.blind:
            return self.head(question)
        picture = self.body(batch["image"]).amax(dim=(2, 3))  # (P, width)
        return self.head(question * picture[batch["which"]])


def train_viewer(make, part, seed, lr=1e-2, epochs=10, pictures=48):
    """All questions about 48 pictures at a time, a rate that rises and falls; the last weights."""
    generator, model, P = seed_everything(seed), make(), len(part["image"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * -(-P // pictures) + 1
    )
    for _ in range(epochs):
        for chosen in torch.randperm(P, generator=generator).split(pictures):
            place = torch.full((P,), -1)
            place[chosen] = torch.arange(len(chosen))
            rows = place[part["which"]] >= 0
            batch = {
                "image": part["image"][chosen],
                "which": place[part["which"]][rows],
                "ids": part["ids"][rows],
            }
            loss = F.cross_entropy(model(batch), part["label"][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def easy(page: dict) -> dict:
    """easy-VQA: pictures times question; the question alone; pictures shuffled among the samples.
    The rate is the best of three by the first seed's validation pictures, 500 of those that train.

    About two minutes on one core. Needs the package easy-vqa.
    """
    parts, texts, words = easy_parts(page)
    rows = {}

    def moved(seed):
        out = {}
        for place, (split, part) in enumerate(parts.items()):
            draw = torch.Generator().manual_seed(3 * seed + place)
            order = torch.randperm(len(part["image"]), generator=draw)
            out[split] = part | {"image": part["image"][order]}
        return out

    runs = {"picture times question": False, "question alone": True, "pictures shuffled": False}
    for name, blind in runs.items():
        rates = (5e-3, 1e-2, 2e-2)
        for seed in tqdm(SEEDS, desc=name):
            here, tried = moved(seed) if "shuffled" in name else parts, []
            for lr in rates:
                make = partial(Viewer, words, blind)
                before = process_time()
                model = train_viewer(make, here["train"], seed, lr)
                spent = process_time() - before  # CPU seconds
                score = page["right"](model, here["validation"]).mean().item()
                tried.append((score, lr, model, spent))
            score, lr, model, spent = max(tried, key=lambda run: run[0])
            rates = (lr,)
            note(rows, name, accuracy=page["right"](model, here["test"]).mean(), lr=lr)
            note(rows, name, validation=score, cpu_seconds=round(spent, 1))
    learned = reference("26.1")(*texts["train"], texts["test"][0])
    hits = [a == b for a, b in zip(learned, texts["test"][1])]
    rows["lookup by wording"] = {"accuracy": [round(sum(hits) / len(hits), 4)] * len(SEEDS)}
    return rows


SWEEPS = [attributes, kinds, relations, signs, longer, whole, empty, unbalanced, easy]
