"""The stored comparisons of page 04: thirty layers, emoji from few pictures, words and emoji, and
page 00's model with a pretrained network's features of its pictures.
"""

import copy
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.datasets.digits import Digits
from course_utils.datasets.emoji import CATEGORIES, Emoji
from course_utils.exercises import reference
from course_utils.image import SmallCNN, pixel_features
from course_utils.runtime import seed_everything
from course_utils.training import Batches, evaluate, shuffle_splits

SEEDS = range(5)
SPLITS = ("train", "validation", "test")
FOUR = ("Animals & Nature", "Food & Drink", "Objects", "Travel & Places")
RATES = (0.03, 0.1, 0.3)
DECAYS = (0.01, 0.1, 1.0, 3.0)
QUERIES = ("a plant", "something to drink", "a fast vehicle", "bad weather", "I am tired")
PLUGGED = {"EfficientNet, frozen (04)": False, "EfficientNet, vectors shuffled": True}


def depth(page: dict) -> dict:
    """Thirty convolutions with and without batch norm and shortcut: the last epoch's training loss
    and the test accuracy, each at the learning rate with the lowest loss of seed 0.

    About four minutes on one core.
    """
    rows, data = {}, [page["small_digits"](seed) for seed in SEEDS]
    for kind, (norm, shortcut) in page["KINDS"].items():
        make, runs = partial(page["Block"], norm, shortcut), {}
        for rate in tqdm(RATES, kind):
            runs[rate] = page["train_deep"](make, data[0], 0, rate)
        rate = min(runs, key=lambda rate: runs[rate][1][-1])
        nets = [runs[rate]]
        nets += [page["train_deep"](make, data[seed], seed, rate) for seed in tqdm(SEEDS[1:])]
        scores = [
            evaluate(net, Batches(one["test"], 512)).accuracy for (net, _), one in zip(nets, data)
        ]
        rows[kind] = {
            "rate": rate,
            "rates": {str(one): round(losses[-1], 4) for one, (_, losses) in runs.items()},
            "loss": [round(losses[-1], 4) for _, losses in nets],
            "accuracy": [round(score, 4) for score in scores],
        }
    return rows


def plug(page: dict) -> dict:
    """Page 00's model with a frozen EfficientNet's vectors in the place of its pixels, and the
    control with the vectors shuffled: the picture alone and all three modalities, each weight decay
    chosen on the validation set of seed 0.

    About three minutes on one core.
    """
    rows, draws = {}, [page["load"](seed) for seed in tqdm(SEEDS, "load")]
    for name, shuffled in PLUGGED.items():
        data = draws
        if shuffled:
            data = [shuffle_splits(draw, "vector", seed) for seed, draw in enumerate(draws)]
        accuracy, decays = {}, {}
        for inputs, others in {"image": [], "all three": ["text", "audio"]}.items():
            names, losses = ["vector", *others], {}
            for decay in tqdm(DECAYS, f"{name}, {inputs}"):
                model = page["train_glued"](names, data[0], 0, decay)
                losses[decay] = evaluate(model, Batches(data[0]["validation"], 512)).loss
            decays[inputs] = min(losses, key=losses.get)
            accuracy[inputs] = []
            for seed in SEEDS:
                model = page["train_glued"](names, data[seed], seed, decays[inputs])
                score = evaluate(model, Batches(data[seed]["test"], 512)).accuracy
                accuracy[inputs].append(round(score, 4))
        rows[name] = {"weight_decay": decays, "accuracy": accuracy}
    return rows


def head(page: dict) -> dict:
    """The same question with another head, ridge regression on the glued features, its penalty
    chosen on the validation split: text and sound with nothing, pixels, vectors, shuffled vectors.

    About two minutes on one core.
    """
    page["linear_probe"] = reference("04.2")
    rows = {}
    for seed in tqdm(SEEDS):
        data = page["load"](seed)
        for split, part in data.items():
            pictures = torch.stack([sample["image"] for sample in Digits(split, seed=seed)])
            part["pixels"] = pixel_features(pictures)
        mixed = shuffle_splits(data, "vector", seed)
        for name, (from_here, picture) in {
            "text + audio": (data, []),
            "pixels": (data, ["pixels"]),
            "EfficientNet": (data, ["vector"]),
            "EfficientNet, vectors shuffled": (mixed, ["vector"]),
        }.items():
            for part in from_here.values():
                together = [part[each] for each in ("text", *picture, "audio")]
                part["glued"] = torch.cat(together, dim=1)
            score = page["told"](from_here, "label", "glued")
            rows.setdefault(name, {"accuracy": []})["accuracy"].append(round(score, 4))
    return rows


def few(page: dict) -> dict:
    """Emoji of four categories from 5, 20 and 50 pictures of each, split by group: the mean of the
    four classes' accuracies. Rates and penalties are chosen on the validation split. Needs the
    emoji.

    About four minutes on one core.
    """
    rows, rates = {}, {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        untrained = page["load_image_encoder"]("efficientnet-lite0", random=True)
        whole = few_emoji(page["encoder"], seed)
        for part in whole.values():
            part["random"] = untrained(part["image"], "mean")[0]
        for count in tqdm((5, 20, 50), f"seed {seed}"):
            data = of_each(whole, count)
            scores = {
                "frozen": probed(data, "vector"),
                "frozen, random weights": probed(data, "random"),
            }
            for kind, (make, tried, steps) in LEARNERS.items():
                learn = partial(trained, page["encoder"], make)
                if seed == 0:
                    found = {r: learn(data, 0, r, steps)[0] for r in tried}
                    rates[kind, count] = max(found, key=found.get)
                scores[kind] = learn(data, seed, rates[kind, count], steps)[1]
            order = torch.randperm(4 * count, generator=torch.Generator().manual_seed(seed))
            mixed = data["train"] | {"label": data["train"]["label"][order]}
            scores["frozen, labels shuffled"] = probed(data | {"train": mixed}, "vector")
            for kind, score in scores.items():
                row = rows.setdefault(f"{kind}, {count}", {"accuracy": []})
                row["accuracy"].append(round(score, 4))
    for (kind, count), rate in rates.items():
        rows[f"{kind}, {count}"]["rate"] = rate
    return rows


def words(page: dict) -> dict:
    """Which of 300 new emoji does a name mean? Ridge regression from names to pictures, the same
    from shuffled pairs, and the mean picture of the five nearest training names. Penalties are
    chosen on the validation split. Needs the emoji.

    About two minutes on one core.
    """
    page["linear_probe"] = reference("04.2")
    rows = {}
    for seed in tqdm(SEEDS):
        pairs = page["emoji_pairs"](seed)
        order = torch.randperm(1200, generator=torch.Generator().manual_seed(seed))
        mixed = dict(pairs["train"], image=pairs["train"]["image"][order])
        for kind, ranks in {
            "ridge": page["chosen"](pairs),
            "nearest names": by_nearest_names(page, pairs),
            "ridge, pairs shuffled": page["chosen"](pairs | {"train": mixed}),
        }.items():
            row = rows.setdefault(kind, {"accuracy": {"R@1": [], "R@10": []}})
            for k, values in zip((1, 10), row["accuracy"].values()):
                values.append(round((ranks < k).double().mean().item(), 4))
        if seed == 0:
            names = pairs["test"]["name"]
            found = {query: [names[i] for i in page["asked"](query, pairs)] for query in QUERIES}
            rows["ridge"]["found"] = found
    return rows


def scenes(page: dict) -> dict:
    """Scenes with one object: shape and colour told by a probe on 400 of them; and which of 200 is
    nearest to "a large red cross", that is whether shape, colour and all three words are right.

    About three minutes on one core.
    """
    page["linear_probe"] = reference("04.2")
    rows = {}
    for seed in tqdm(SEEDS):
        torch.manual_seed(seed)
        untrained = page["load_image_encoder"]("efficientnet-lite0", random=True)
        data, scores = page["scene_data"](seed), {}
        for part in data.values():
            part["random"] = untrained(untrained.transform(64)(part["picture"]), "mean")[0]
        for what in ("shape", "colour"):
            for vectors in ("image", "random", "pixels"):
                scores[f"{what}: {vectors}"] = page["told"](data, what, vectors)
        draw = torch.Generator().manual_seed(seed)
        order = torch.randperm(400, generator=draw)
        mixed = dict(data["train"], shape=data["train"]["shape"][order])
        scores["shape: labels shuffled"] = page["told"](data | {"train": mixed}, "shape", "image")
        pictures = data["train"]["image"]
        for kind, image in {"words": pictures, "words, pairs shuffled": pictures[order]}.items():
            found = page["found"](data, image)
            scores |= {f"{kind}: {what}": share for what, share in found.items()}
        for name, score in scores.items():
            rows.setdefault(name, {"accuracy": []})["accuracy"].append(round(score, 4))
    return rows


# ---- few emoji: data and learners; the page shows what comes of them ----


def few_emoji(encoder, seed):
    """50 pictures of each class to learn from, in order of their classes, and all to test on."""
    data = {}
    for split in SPLITS:
        samples = [item for item in Emoji(split, seed=seed) if CATEGORIES[item["label"]] in FOUR]
        label = torch.tensor([FOUR.index(CATEGORIES[item["label"]]) for item in samples])
        image = encoder.transform(64)(torch.stack([item["image"] for item in samples]))
        data[split] = {"image": image, "label": label}
    label = data["train"]["label"]
    order = torch.randperm(len(label), generator=torch.Generator().manual_seed(seed))
    rows = torch.cat([order[label[order] == c][:50] for c in range(4)])  # (200,)
    data["train"] = {name: value[rows] for name, value in data["train"].items()}
    for part in data.values():
        part |= prepared(encoder, part["image"]) | {"vector": encoder(part["image"], "mean")[0]}
    return data


def of_each(data, count):
    """The same with the first `count` of each class to learn from."""
    rows = torch.cat([torch.arange(50 * c, 50 * c + count) for c in range(4)])
    return data | {"train": {name: value[rows] for name, value in data["train"].items()}}


def balanced(scores, label):
    """The mean of the four classes' accuracies, so that guessing one class gives 25 %."""
    right = (scores.argmax(dim=1) == label).double()
    return sum(right[label == c].mean().item() for c in range(4)) / 4


def probed(data, vectors):
    """The test accuracy of a probe, its penalty chosen on the validation split."""
    train, targets = data["train"][vectors], F.one_hot(data["train"]["label"], 4).float()
    best = {}
    for penalty in (10.0, 100.0, 1000.0, 10000.0):
        found = [
            balanced(
                reference("04.2")(train, targets, data[split][vectors], penalty),
                data[split]["label"],
            )
            for split in SPLITS[1:]
        ]
        best[found[0]] = found[1]  # of equal ones the larger penalty
    return best[max(best)]


class Tuned(nn.Module):
    """The last of seven stages learns on, with a new head."""

    def __init__(self, encoder):
        super().__init__()
        body = copy.deepcopy(encoder.body)
        self.tail = nn.Sequential(body.blocks[6], body.conv_head, body.bn2).requires_grad_(True)
        self.head = nn.Linear(1280, 4)

    def train(self, mode=True):
        super().train(mode)
        self.tail.eval()  # batch norm as it was trained
        return self

    def forward(self, batch):
        return self.head(self.tail(batch["maps"]).mean(dim=(2, 3)))


class Scratch(nn.Module):
    """Page 03's kind of network: three convolutions."""

    def __init__(self, encoder):
        super().__init__()
        self.net, self.head = SmallCNN(3, 64), nn.Linear(64, 4)

    def forward(self, batch):
        return self.head(self.net(batch["half"])[0].mean(dim=1))


LEARNERS = {  # model, rates to choose from, steps of 16 pictures
    "fine-tuned": (Tuned, (1e-4, 1e-3), 40),
    "from scratch": (Scratch, (1e-3, 1e-2), 120),
}


@torch.no_grad()
def prepared(encoder, image):
    """What the last stage gets, (N, 192, 2, 2), and the pictures at half their size."""
    start = nn.Sequential(encoder.body.conv_stem, encoder.body.bn1, *encoder.body.blocks[:6])
    maps = torch.cat([start(part) for part in image.split(32)])
    return {"maps": maps, "half": F.avg_pool2d(image, 2)}


def trained(encoder, make, data, seed, rate, steps):
    """Accuracy on the validation and the test split after so many steps of 16 pictures."""
    draw, count = seed_everything(seed), len(data["train"]["label"])
    model = make(encoder).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
    for _ in range(steps):
        rows = torch.randint(count, (16,), generator=draw)
        batch = {name: value[rows] for name, value in data["train"].items()}
        loss = F.cross_entropy(model(batch), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tests = (evaluate(model, Batches(data[split], 512)).logits for split in SPLITS[1:])
    return [balanced(logits, data[split]["label"]) for split, logits in zip(SPLITS[1:], tests)]


def by_nearest_names(page, pairs):
    """The ranks by the mean picture of the five training names that are nearest."""
    image = {
        split: page["scaled"](pairs[split]["image"], pairs["train"]["image"]) for split in SPLITS
    }
    names, train = (F.normalize(pairs[split]["text"], dim=1) for split in ("test", "train"))
    nearest = (names @ train.T).topk(5).indices  # (N, 5)
    return page["ranks"](image["train"][nearest].mean(dim=1), image["test"])  # (N, 5, D) -> (N, D)


SWEEPS = [depth, plug, head, few, words, scenes]
