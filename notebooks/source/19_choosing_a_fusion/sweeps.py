"""The stored comparisons of all fusion strategies: what each can represent, what it loses when
modalities are missing, and which one is right most often when each is tuned for itself.

The pages of single strategies read the first two, page 19 the others. These give back a function
for each row, so that a sweep that was stopped goes on where it was.
"""

import time
from functools import cache, partial
from itertools import combinations, product

import sweep  # tools/, which runs this file
import torch
from torch import nn
from tqdm import tqdm

from course_utils.datasets import LARGE, SMALL, Cues, Emoji, Gates, Moods
from course_utils.datasets.moods import ceilings
from course_utils.fusion import STRATEGIES, ModalityDropout, describe
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.training import Batches, evaluate, fit, shuffle_splits

SEEDS = range(5)


class Fused(nn.Module):
    """A strategy as a classifier of vectors: a batch of names (N, D_m), and perhaps their "mask",
    {name: (N,)}, to logits (N, C).
    """

    def __init__(self, strategy: str, dims: dict[str, int], classes: int, dropout: float = 0.0):
        super().__init__()
        self.fusion, self.drop = STRATEGIES[strategy](dims, classes), ModalityDropout(dropout)

    def forward(self, batch: dict) -> torch.Tensor:
        # (N, D) -> (N, 1, D): a vector as one token
        tokens = self.fusion.accepts == "tokens"
        features = {}
        for name in self.fusion.names:
            features[name] = batch[name][:, None] if tokens else batch[name]
        return self.fusion(features, mask=self.drop(features, batch.get("mask")))


def train_fused(
    strategy: str,
    parts: dict,
    seed: int,
    *,
    epochs: int,
    lr: float,
    dropout: float = 0.0,
    weight_decay: float = 0.0,
    batch: int = 64,
) -> Fused:
    """A strategy trained on the vectors of parts["train"], its epoch chosen on
    parts["validation"].
    """
    generator = seed_everything(seed)
    dims = {name: x.shape[1] for name, x in parts["train"].items() if x.dim() == 2}
    model = Fused(strategy, dims, int(parts["train"]["label"].max()) + 1, dropout)
    fit(
        model,
        Batches(parts["train"], batch, generator),
        Batches(parts["validation"], 2_000),
        epochs=epochs,
        lr=lr,
        weight_decay=weight_decay,
    )
    return model


def interaction(model: Fused, world: Gates) -> float:
    """The statistic that is 0 for what has no interaction of all modalities: the logit
    difference d at each corner of signs, added up with the product of its signs, relative to the
    sum of |d|. With two modalities it has four points.
    """
    # (2^M, M)
    corners = torch.tensor(list(product((-1.0, 1.0), repeat=len(world.names))))
    points = {
        name: corners[:, m, None] * world.directions[m].float()
        for m, name in enumerate(world.names)
    }
    with torch.no_grad():
        # (2^M, 2)
        logits = model.eval()(points)
    difference = logits[:, 1] - logits[:, 0]
    return abs((corners.prod(1) * difference).sum().item()) / difference.abs().sum().item()


def splits(world: Gates | Cues, seed: int, **sizes: int) -> dict:
    """Samples of these sizes, each from a seed of its own."""
    return {
        split: world.sample(size, len(sizes) * seed + k)
        for k, (split, size) in enumerate(sizes.items())
    }


def learn_gate(strategy: str, gate: str, seed: int) -> tuple:
    """Accuracy, cross-entropy and interaction of a strategy after 30 epochs on a gate's 2,000
    rows.
    """
    world = Gates(gate, **LARGE)
    parts = splits(world, seed, train=world.rows, validation=500, test=4_000)
    model = train_fused(strategy, parts, seed, epochs=30, lr=1e-2)
    result = evaluate(model, Batches(parts["test"], 4_000))
    return result.accuracy, result.loss, interaction(model, world)


def fusion_gates(page: dict) -> dict:
    """What each strategy can represent: XOR of two bits, parity of three, in vectors of width 8.

    About fifteen minutes on one core.
    """
    rows = {}
    for gate in ("xor", "parity"):
        for strategy in (progress := tqdm(STRATEGIES)):
            progress.set_description(f"{gate}: {strategy}")
            runs = [learn_gate(strategy, gate, seed) for seed in SEEDS]
            accuracy, loss, statistic = (
                [float(f"{value:.4g}") for value in values] for values in zip(*runs)
            )
            rows[f"{gate}: {strategy}"] = {
                "accuracy": accuracy,
                "loss": loss,
                "interaction": statistic,
                "ceiling": Gates(gate, **LARGE).ceiling(),
            }
    return rows


def missing_world(name: str, seed: int) -> tuple[dict, dict]:
    """A world for `fusion_missing`, its splits of vectors; and for Cues, the best accuracy by
    what is present.
    """
    if name == "cues":
        world = Cues(mu=(0.5, 1.0, 1.0))
        parts = splits(world, seed, train=4_000, validation=1_000, test=20_000)
        return parts, {present: world.ceiling(present) for present in subsets(world.names)}
    load = sweep.measured_cells("00")["load"]
    parts = {split: load(split, seed) for split in ("train", "validation", "test")}
    # to mean 0 and spread 1, as measured on the training split
    for modality in ("text", "image", "audio"):
        mean, spread = (
            parts["train"][modality].mean(0),
            parts["train"][modality].std(0).clamp(min=1e-3),
        )
        for part in parts.values():
            part[modality] = (part[modality] - mean) / spread
    return parts, {}


def subsets(names: tuple) -> list[tuple]:
    """All but the empty one, the largest first."""
    return [present for count in range(len(names), 0, -1) for present in combinations(names, count)]


def score_missing(strategy: str, parts: dict, seed: int, dropout: float, **training) -> dict:
    """The test accuracy by what is present, after one training on complete rows with this
    modality dropout.
    """
    model = train_fused(strategy, parts, seed, dropout=dropout, **training)
    names, test, found = model.fusion.names, parts["test"], {}
    for present in subsets(names):
        mask = {name: torch.full(test["label"].shape, name in present) for name in names}
        found[present] = evaluate(model, Batches(test | {"mask": mask}, 5_000)).accuracy
    return found


MISSING = {
    "cues": {"epochs": 10, "lr": 1e-2, "batch": 128},
    "digits": {"epochs": 20, "lr": 3e-3, "weight_decay": 1.0, "batch": 128},
}


def fusion_missing(page: dict) -> dict:
    """Each strategy trained on complete rows, with and without modality dropout, tested with
    modalities missing.

    About fifteen minutes on one core.
    """
    rows = {}
    for world, training in MISSING.items():
        draws = [missing_world(world, seed) for seed in SEEDS]
        for strategy in (progress := tqdm(STRATEGIES)):
            progress.set_description(f"{world}: {strategy}")
            for dropout in (0.0, 0.3):
                row = rows[f"{world}: {strategy}, dropout {dropout}"] = {"accuracy": {}}
                for seed, (parts, _) in enumerate(draws):
                    for present, value in score_missing(
                        strategy, parts, seed, dropout, **training
                    ).items():
                        row["accuracy"].setdefault(" + ".join(present), []).append(round(value, 4))
                if best := draws[0][1]:
                    row["ceiling"] = {" + ".join(present): value for present, value in best.items()}
    return rows


# ---- Each strategy tuned for itself ----

RATES, DECAYS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1), (0.0, 1.0, 10.0, 30.0, 100.0)
# A step of AdamW shrinks each weight by rate * decay: not by more than .3.
GRID = tuple((lr, decay) for lr in RATES for decay in DECAYS if lr * decay <= 0.31)
FEWER = tuple((lr, decay) for lr in RATES[:4] for decay in DECAYS[:3])  # on `digits`
LEAST = tuple((lr, decay) for lr, decay in GRID if decay < 30)  # for 2,000 clear samples
SLOW = tuple((lr, decay) for lr in RATES[:4] for decay in DECAYS[:2])  # of `bottleneck` there
ALIKE = (1e-2, 0.0)  # what "one setting for all" means
WORLDS = {
    "redundant": {"gate": "redundant"},
    "unique": {"gate": "unique"},
    "and": {"gate": "and"},
    "xor": {"gate": "xor"},
    "parity": {"gate": "parity"},
}
SIZES = {
    "small": {**SMALL, "steps": 120, "marks": 10, "grid": GRID},
    "large": {**LARGE, "steps": 320, "marks": 10, "grid": LEAST, "slow": SLOW},
}


class Many:
    """One strategy, trained by all settings of a grid and all seeds at once: its parameters are
    (seeds, settings, ...) tensors, and `torch.func.vmap` runs the layer over both axes.

    Each model does what it would do alone: the seed fixes its start and the order of the rows,
    which all settings share. AdamW is written out, because each model has its own rate and decay.
    """

    def __init__(self, strategy: str, dims: dict, classes: int, grid, seeds=SEEDS):
        self.grid, layers, self.generators = grid, [], []
        for seed in seeds:
            self.generators.append(seed_everything(seed))
            layers.append(STRATEGIES[strategy](dims, classes))
        self.layer, self.names = layers[0], tuple(dims)
        started, self.buffers = torch.func.stack_module_state(layers)
        self.parameters = {
            name: p.detach()[:, None].repeat(1, len(grid), *[1] * (p.dim() - 1))
            for name, p in started.items()
        }
        self.step = 0
        self.moments = {name: (0 * p, 0 * p) for name, p in self.parameters.items()}

    def logits(self, parameters: dict, x: dict) -> torch.Tensor:
        """x[m] (seeds, B, D_m) -> (seeds, settings, B, C)."""
        tokens = self.layer.accepts == "tokens"

        def one(parameters, buffers, x):
            features = {name: x[name][:, None] if tokens else x[name] for name in self.names}
            return torch.func.functional_call(self.layer, (parameters, buffers), (features,))

        x = {name: x[name] for name in self.names}
        every = torch.vmap(torch.vmap(one, in_dims=(0, None, None)), in_dims=(0, 0, 0))
        # the plain kernel: the fused one cannot be run over many models at once
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return every(parameters, self.buffers, x)

    def train_step(self, x: dict, label: torch.Tensor) -> None:
        """One step of AdamW for every model on its seed's rows; label (seeds, B)."""
        for p in self.parameters.values():
            p.requires_grad_(True)
        logits = self.logits(self.parameters, x)
        # the mean over rows, the sum over models: the gradient of each is its own
        loss = self.losses(logits, label).sum()
        names = list(self.parameters)
        found = torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True)
        self.step += 1
        with torch.no_grad():
            for name, gradient in zip(names, found):
                if gradient is None:
                    continue
                p = self.parameters[name].requires_grad_(False)
                ones = [1] * (p.dim() - 2)
                lr, decay = (torch.tensor(column).view(1, -1, *ones) for column in zip(*self.grid))
                first, second = self.moments[name]
                first.mul_(0.9).add_(gradient, alpha=0.1)
                second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                size = (second / (1 - 0.999**self.step)).sqrt_().add_(1e-8)
                p.mul_(1 - lr * decay).sub_(lr * (first / (1 - 0.9**self.step)) / size)

    @staticmethod
    def losses(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The mean cross-entropy of each model, (seeds, settings)."""
        label = label[:, None].expand(logits.shape[:3])
        flat = nn.functional.cross_entropy(logits.flatten(0, 2), label.flatten(), reduction="none")
        return flat.view(label.shape).mean(2)

    def fit(self, data: dict, steps: int, batch: int, marks: int) -> tuple[torch.Tensor, list]:
        """`data[split]` of (seeds, N, ...) tensors. At each of the marks, evenly spaced, the losses
        on the validation set, (marks, seeds, settings), and a copy of the parameters.
        """
        losses, copies, seeds = [], [], torch.arange(len(self.generators))[:, None]
        order: list = []
        for step in range(1, steps + 1):
            if not order:
                rows = data["train"]["label"].shape[1]
                drawn = [torch.randperm(rows, generator=g) for g in self.generators]
                order = list(torch.stack(drawn).split(batch, dim=1))
            chosen = order.pop(0)  # (seeds, B)
            x = {name: value[seeds, chosen] for name, value in data["train"].items()}
            self.train_step(x, x["label"])
            if step % (steps // marks) == 0:
                with torch.no_grad():
                    logits = self.logits(self.parameters, data["validation"])
                    loss = self.losses(logits, data["validation"]["label"])
                losses.append(loss.nan_to_num(nan=torch.inf))
                copies.append({name: p.clone() for name, p in self.parameters.items()})
        return torch.stack(losses), copies


def right(many: Many, copies: list, losses: torch.Tensor, setting: int, test: dict) -> list[float]:
    """The test accuracy of one setting, one a seed, each at its mark of the lowest loss."""
    best = losses[:, :, setting].argmin(0).tolist()  # (marks, seeds) -> (seeds,)
    parameters = {
        name: torch.stack([copies[mark][name][s, setting] for s, mark in enumerate(best)])[:, None]
        for name in many.parameters
    }
    with torch.no_grad():
        answers = many.logits(parameters, test)[:, 0].argmax(2)  # (seeds, N)
    return [round(v, 4) for v in (answers == test["label"]).double().mean(1).tolist()]


def chosen_setting(losses: torch.Tensor) -> int:
    """The setting of the lowest validation loss, each seed's lowest mark, the mean over seeds."""
    return int(losses.amin(0).mean(0).argmin())


def at_edge(grid, setting: int) -> str:
    """Whether a neighbour is missing: "rate" at the least or the largest rate, "decay" at the
    largest decay that the grid has for this rate; the least decay is 0, and not an edge.
    """
    lr, decay = grid[setting]
    rates = [one for one, _ in grid]
    found = ["rate"] * (lr in (min(rates), max(rates)))
    found += ["decay"] * (decay == max(d for one, d in grid if one == lr))
    return " and ".join(found)


def cost(strategy: str, dims: dict, classes: int, batch: int) -> dict:
    """Parameters and multiply-adds by formula, numbers that one batch's forward pass keeps for the
    backward pass, milliseconds of processor time for one training step of one model (the least of
    seven tens).
    """
    seed_everything(0)
    layer = STRATEGIES[strategy](dims, classes)
    x = {name: torch.randn(batch, width) for name, width in dims.items()}
    if layer.accepts == "tokens":
        x = {name: value[:, None] for name, value in x.items()}
    label, told = torch.randint(classes, (batch,)), describe(layer)
    kept: dict = {}
    own = {p.untyped_storage().data_ptr() for p in layer.parameters()}

    def keep(tensor):
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = nn.functional.cross_entropy(layer(x), label)
    optimizer, taken = torch.optim.AdamW(layer.parameters()), []
    for _ in range(7):
        start = time.process_time()
        for _ in range(10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(layer(x), label).backward()
            optimizer.step()
        taken.append(100 * (time.process_time() - start))
    del loss
    return {
        "parameters": told.parameters,
        "multiply_adds": told.multiply_adds,
        "kept": sum(kept.values()),
        "ms": round(min(taken), 3),
    }


def fused_row(
    source: str,
    strategy: str,
    names: tuple,
    steps: int,
    batch: int,
    marks: int,
    grid: tuple = GRID,
    by_mark: bool = False,
    **options,
) -> dict:
    """A row: what the strategy reaches on the modalities `names` of a source of data, with the
    setting that the validation sets choose, and with one that is the same for all.
    """
    draws, ceiling = SOURCES[source](**options)
    data = {
        split: {name: torch.stack([d[split][name] for d in draws]) for name in (*names, "label")}
        for split in ("train", "validation", "test")
    }
    dims = {name: data["train"][name].shape[2] for name in names}
    classes = int(data["train"]["label"].max()) + 1
    many = Many(strategy, dims, classes, grid)
    losses, copies = many.fit(data, steps, batch, marks)
    best = chosen_setting(losses)
    row = {
        "accuracy": right(many, copies, losses, best, data["test"]),
        "alike": right(many, copies, losses, grid.index(ALIKE), data["test"]),
        "validation loss": round(losses.amin(0).mean(0)[best].item(), 4),
        "lr": grid[best][0],
        "weight_decay": grid[best][1],
        "edge": at_edge(grid, best),
        "ceiling": ceiling,
        "multiply_adds": describe(STRATEGIES[strategy](dims, classes)).multiply_adds,
    }
    if by_mark:
        # the accuracy if the training had ended at this mark, the setting chosen for that
        ends = [losses[: mark + 1] for mark in range(marks)]
        row["by mark"] = [
            right(many, copies, part, chosen_setting(part), data["test"]) for part in ends
        ]
    return row


@cache
def gate_draws(world: str, size: str) -> tuple[list, float]:
    """The five draws of a world of WORLDS, and its ceiling."""
    dials = {name: SIZES[size][name] for name in ("rows", "dim", "noise", "flips")}
    gate = Gates(**dials | WORLDS[world])
    draws = [splits(gate, s, train=gate.rows, validation=500, test=5_000) for s in SEEDS]
    return draws, round(gate.ceiling(), 4)


@cache
def digit_draws(shuffled: str = "", **dials) -> tuple[list, None]:
    """Text, picture and sound of page 00; one of them perhaps shuffled among the rows."""
    if shuffled:
        draws = digit_draws(**dials)[0]
        return [shuffle_splits(draw, shuffled, seed) for seed, draw in enumerate(draws)], None
    load, kept = sweep.measured_cells("00")["load"], ("train", "validation", "test")
    draws = [load(seed, **dials) for seed in SEEDS]
    return [{split: draw[split] for split in kept} for draw in draws], None


def to_one_scale(draw: dict) -> dict:
    """Each column to mean 0 and spread 1 (at least .1 is divided by), as in the training split."""
    train = draw["train"]
    scale = {m: (x.mean(0), x.std(0).clamp(min=0.1)) for m, x in train.items() if m != "label"}
    return {
        split: {m: (x - scale[m][0]) / scale[m][1] if m in scale else x for m, x in part.items()}
        for split, part in draw.items()
    }


@cache
def emoji_draws(shuffled: str = "") -> tuple[list, None]:
    """The group of an emoji, from its picture in 12 x 12 points and 384 counts of the letters of
    its name (runs of two to four, hashed).
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    count = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=384, alternate_sign=False, norm=None
    )
    draws = []
    for seed in SEEDS:
        draw = {}
        for split in ("train", "validation", "test"):
            items = [*Emoji(split, seed=seed)]
            pictures = torch.stack([item["image"] for item in items])
            pooled = nn.functional.adaptive_avg_pool2d(pictures, 12).flatten(1)  # (N, 432)
            names = count.transform([item["text"] for item in items]).toarray()
            draw[split] = {
                "text": torch.from_numpy(names).float().sqrt(),
                "image": pooled,
                "label": torch.tensor([item["label"] for item in items]),
            }
        draws.append(to_one_scale(draw))
    if shuffled:
        draws = [shuffle_splits(draw, shuffled, seed) for seed, draw in enumerate(draws)]
    return draws, None


@cache
def mood_draws(shuffled: str = "") -> tuple[list, float]:
    """The mood, from the score of the words and three numbers of the melody, as page 27 measures
    them, and from the emoji. The score was learned from tweets, the pitch counts from the middle
    of the voice's own clips.
    """
    page, scores = sweep.measured_cells("27"), stored("27", "read_sentences")["sentences"]["score"]
    signs, draws = sorted({one for one in Moods("train").emojis if one}), []
    for seed in SEEDS:
        draw = {}
        for split in ("train", "validation", "test"):
            moods, steps = Moods(split, seed=seed), page["melodies"](split)
            pitch, sounds = steps["steps"].unbind(2)  # (clips, T) both
            heard = sounds.sum(1, keepdim=True).clamp(min=1)
            middle = pitch.sum(1, keepdim=True) / heard
            spread = ((pitch - middle).square() * sounds).sum(1, keepdim=True) / heard
            melody = torch.cat([middle, spread.sqrt(), heard / 30], 1)  # (clips, 3)
            draw[split] = {
                "words": torch.tensor([[scores[text] / 2] for text in moods.texts]),
                "tone": melody[moods.places],
                "emoji": torch.tensor([[e == s for s in signs] for e in moods.emojis]).float(),
                "label": moods.labels,
            }
        draws.append(to_one_scale(draw))
    if shuffled:
        draws = [shuffle_splits(draw, shuffled, seed) for seed, draw in enumerate(draws)]
    return draws, round(ceilings()[("words", "tone", "emoji")], 4)


SOURCES = {
    "gates": gate_draws,
    "digits": digit_draws,
    "mnist-fsdd": partial(digit_draws, source="mnist-fsdd"),
    "emoji": emoji_draws,
    "moods": mood_draws,
}
THREE = ("text", "image", "audio")


def planned(names: tuple, strategies=tuple(STRATEGIES), **settings) -> dict:
    """The rows of one world: each modality alone (linear, and with hidden layers), then each
    strategy on all.
    """
    rows = {}
    for name in names:
        rows[f"{name} alone"] = partial(fused_row, strategy="concat", names=(name,), **settings)
        rows[f"{name} alone, hidden"] = partial(
            fused_row, strategy="early", names=(name,), **settings
        )
    for strategy in strategies:
        rows[strategy] = partial(fused_row, strategy=strategy, names=names, **settings)
    return rows


def on_gates(size: str, worlds) -> dict:
    rows, dials = {}, SIZES[size]
    for world in worlds:
        names = THREE[: 3 if world == "parity" else 2]
        plan = planned(
            names, source="gates", world=world, size=size, steps=dials["steps"], batch=64,
            marks=dials["marks"], grid=dials["grid"], by_mark=world == "xor",
        )  # fmt: skip
        if "slow" in dials:
            plan["bottleneck"] = partial(plan["bottleneck"], grid=dials["slow"])
        rows |= {f"{world}: {name}": make for name, make in plan.items()}
    # what takes longest comes last
    return dict(sorted(rows.items(), key=lambda row: "bottleneck" in row[0]))


def small(page: dict) -> dict:
    """All strategies and each modality alone on five worlds of 150 rows.

    About fifteen minutes on one core.
    """
    return on_gates("small", WORLDS)


def large(page: dict) -> dict:
    """The same with 2,000 clear rows.

    About thirty minutes on one core.
    """
    return on_gates("large", tuple(WORLDS))


def digits(page: dict) -> dict:
    """The same on `digits`, and three strategies with the sound shuffled among the rows.

    About twelve minutes on one core.
    """
    settings = {"source": "digits", "steps": 160, "batch": 128, "marks": 16, "grid": FEWER}
    rows = planned(THREE, by_mark=True, **settings)
    for strategy in ("concat", "gated", "tensor"):
        rows[f"audio shuffled, {strategy}"] = partial(
            fused_row, strategy=strategy, names=THREE, shuffled="audio", **settings
        )
    return rows


FEW = ("concat", "early", "product_of_experts", "gated", "low_rank", "joint_transformer")
REAL = {  # the modalities, and the one that the control shuffles
    "mnist-fsdd": (THREE, "audio", {"source": "mnist-fsdd", "steps": 156, "batch": 128}),
    "emoji": (THREE[:2], "image", {"source": "emoji", "steps": 120, "batch": 128}),
    "moods": (("words", "tone", "emoji"), "tone", {"source": "moods", "steps": 120, "batch": 64}),
}


def real(page: dict) -> dict:
    """One strategy of each family on MNIST with FSDD, on the emoji and on `moods`, with one
    modality shuffled as a control.

    About eight minutes on one core, with MNIST, FSDD and the emoji.
    """
    rows = {}
    for name, (names, moved, settings) in REAL.items():
        settings = {"marks": 12, "grid": FEWER} | settings
        plan = planned(names, FEW, **settings)
        for strategy in ("concat", "gated"):
            plan[f"{moved} shuffled, {strategy}"] = partial(
                fused_row, strategy=strategy, names=names, shuffled=moved, **settings
            )
        rows |= {f"{name}: {row}": make for row, make in plan.items()}
    return rows


def costs(page: dict) -> dict:
    """What each strategy costs: with the widths and batches of `digits` and of two modalities in
    `gates`, measured one after the other.

    About half a minute on one core.
    """
    rows = {}
    for name, dims, classes, batch in (
        ("digits", {"text": 78, "image": 256, "audio": 256}, 10, 128),
        ("150", dict.fromkeys(THREE[:2], 16), 2, 64),
        ("2,000", dict.fromkeys(THREE[:2], 8), 2, 64),
    ):
        for strategy in STRATEGIES:
            rows[f"{name}: {strategy}"] = {"accuracy": {}} | cost(strategy, dims, classes, batch)
    return rows


SWEEPS = [fusion_gates, fusion_missing, small, large, digits, real, costs]
