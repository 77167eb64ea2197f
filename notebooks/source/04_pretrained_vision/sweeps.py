"""The stored comparisons of page 04: thirty layers, emoji from few pictures, words and emoji, and
page 00's model with a pretrained network's features of its pictures.
"""

from functools import partial

import torch
from tqdm import tqdm

from course_utils.exercises import reference
from course_utils.training import Batches, evaluate, shuffle_modality

SEEDS = range(5)
RATES = (0.03, 0.1, 0.3)
DECAYS = (0.01, 0.1, 1.0, 3.0)
QUERIES = ("a plant", "something to drink", "a fast vehicle", "bad weather", "I am tired")
PLUGGED = {"EfficientNet, frozen (04)": False, "EfficientNet, vectors shuffled": True}
LEARNERS = {  # model, rates to choose from, steps of 16 pictures
    "fine-tuned": ("Tuned", (1e-4, 1e-3), 40),
    "from scratch": ("Scratch", (1e-3, 1e-2), 120),
}


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
        data = [shuffle_vectors(draw, seed) for seed, draw in enumerate(draws)]
        data = data if shuffled else draws
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


def shuffle_vectors(data: dict, seed: int) -> dict:
    """All splits with the network's vectors in another order, the rest as it was."""
    draw = torch.Generator().manual_seed(seed)
    return {
        split: shuffle_modality(part, "vector", torch.randperm(len(part["label"]), generator=draw))
        for split, part in data.items()
    }


def few(page: dict) -> dict:
    """Emoji of four categories from 5, 20 and 50 pictures of each, split by group: the mean of the
    four classes' accuracies. Rates and penalties are chosen on the validation split. Needs the
    emoji.

    About four minutes on one core.
    """
    page["linear_probe"] = reference("04.2")
    rows, rates = {}, {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        untrained = page["load_image_encoder"]("efficientnet-lite0", random=True)
        whole = page["few_emoji"](seed)
        for part in whole.values():
            part["random"] = untrained(part["image"], "mean")[0]
        for count in tqdm((5, 20, 50), f"seed {seed}"):
            data = page["of_each"](whole, count)
            scores = {
                "frozen": page["probed"](data, "vector"),
                "frozen, random weights": page["probed"](data, "random"),
            }
            for kind, (model, tried, steps) in LEARNERS.items():
                make = page[model]
                if seed == 0:
                    found = {r: page["trained"](make, data, 0, r, steps)[0] for r in tried}
                    rates[kind, count] = max(found, key=found.get)
                scores[kind] = page["trained"](make, data, seed, rates[kind, count], steps)[1]
            order = torch.randperm(4 * count, generator=torch.Generator().manual_seed(seed))
            mixed = data["train"] | {"label": data["train"]["label"][order]}
            scores["frozen, labels shuffled"] = page["probed"](data | {"train": mixed}, "vector")
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
            "nearest names": page["by_nearest_names"](pairs),
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


SWEEPS = [depth, plug, few, words, scenes]
