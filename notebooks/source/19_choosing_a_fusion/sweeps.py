"""The stored comparisons of all fusion strategies: what each can represent, and what it loses when
modalities are missing.

A draft: its page is not written yet. Tests and the pages of single strategies read the results.
"""

from itertools import combinations, product

import sweep  # tools/, which runs this file
import torch
from torch import nn
from tqdm import tqdm

from course_utils.datasets.gates import LARGE, Cues, Gates
from course_utils.fusion import STRATEGIES, ModalityDropout
from course_utils.runtime import seed_everything
from course_utils.training import Batches, evaluate, fit

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


SWEEPS = [fusion_gates, fusion_missing]
