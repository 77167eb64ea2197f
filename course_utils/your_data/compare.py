"""One split of the rows: tuned baselines, fusions, shuffled controls, and what the model uses."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.attribution import ablation_scores, emap, subset_scores
from course_utils.fusion import ConcatFusion, GatedFusion, LateFusion
from course_utils.metrics import accuracy
from course_utils.training import fit, shuffle_splits
from course_utils.your_data.folder import NotUsable

SIZES, SPLITS = (0.6, 0.2, 0.2), ("train", "validation", "test")
TRIES = 100  # orders of the groups
MOST_OF_A_GROUP = 0.4  # of the rows, above which a group is never put first into the test
WIDTH = 48  # principal components of a modality, at most
FUSIONS = ("late", "concat", "gated")  # from simple to strong
# hidden width and weight decay; the one with the lowest validation loss is taken, so many for each
CANDIDATES = {
    "single": ((None, 0.1), (32, 1.0), (None, 3.0)),
    "late": ((None, 0.1), (32, 1.0), (None, 3.0)),
    "concat": ((None, 1.0), (32, 1.0), (32, 3.0)),
    "gated": ((16, 0.3), (32, 1.0), (32, 3.0)),
}
RATE, EPOCHS, QUICK_EPOCHS = 0.02, 50, 30
MOST_PAIRS = 150  # test rows whose pairs EMAP asks for


@dataclass
class Features:
    """What the models see: vectors (N, D) of each encoder, and whether they are there (N,), by
    modality. `choice` says which encoder's vectors count, 0 where it says nothing.
    """

    variants: dict[str, list[Tensor]]
    present: dict[str, Tensor]
    labels: Tensor
    groups: Tensor
    classes: list[str]
    choice: dict[str, int] = field(default_factory=dict)

    @property
    def vectors(self) -> dict[str, Tensor]:
        return {name: each[self.choice.get(name, 0)] for name, each in self.variants.items()}

    @property
    def inner(self) -> dict[str, str]:
        """Names that a layer may have: a column may be called anything."""
        return {name: f"m{i}" for i, name in enumerate(self.variants)}


class Reduction(NamedTuple):
    """Columns at mean 0 and spread 1, then principal components: (x - mean) @ matrix."""

    mean: Tensor
    matrix: Tensor


class Chosen(NamedTuple):
    """A trained strategy: which candidate it was, and its lowest validation loss."""

    model: nn.Module
    strategy: str
    names: list[str]
    setting: tuple
    loss: float


class Head(nn.Module):
    """A strategy that takes a batch, as `fit` gives it."""

    def __init__(self, fusion: nn.Module):
        super().__init__()
        self.fusion = fusion

    def forward(self, batch: dict) -> Tensor:
        names = self.fusion.names
        mask = {name: batch["mask"][name] for name in names}
        return self.fusion({name: batch[name] for name in names}, mask=mask)


def divide(features: Features, seed: int, apart: bool = True) -> dict[str, list[int]]:
    """The rows of each split; with `apart` no group is in two of them.

    Of some random orders of the groups the one whose splits have most nearly the sizes and classes
    that they should. Each seed puts another group into the test, as long as there are others:
    where groups are few, chance would test the same ones again and again.
    """
    units = features.groups.numpy() if apart else np.arange(len(features.labels))
    names, member = np.unique(units, return_inverse=True)
    counts = np.zeros((len(names), len(features.classes)))  # (G, C)
    np.add.at(counts, (member, features.labels.numpy()), 1)
    if len(names) < 3:
        raise NotUsable(f"group: expected at least 3 groups, one a split, got {len(names)}")
    rows = counts.sum(1)
    turn = np.random.default_rng(0).permutation(len(names))
    turn = turn[rows[turn] <= MOST_OF_A_GROUP * rows.sum()]
    first = turn[seed % len(turn)] if len(turn) else rows.argmin()
    rng, best, least = np.random.default_rng(seed), None, np.inf
    for _ in range(TRIES):
        order = rng.permutation(len(names))
        order = np.concatenate([[first], order[order != first]])
        filled = rows[order].cumsum() / rows.sum()
        a = min(int(abs(filled - SIZES[2]).argmin()) + 1, len(names) - 2)
        b = int(abs(filled - SIZES[1] - SIZES[2]).argmin()) + 1
        b = min(max(a + 1, b), len(names) - 1)
        parts = order[b:], order[a:b], order[:a]
        found = np.stack([counts[part].sum(0) for part in parts])  # (3, C)
        off = abs(found - np.outer(SIZES, counts.sum(0))).sum()
        off += rows.sum() * (found[0] == 0).sum()  # a class that is never learned
        if off < least:
            best, least = parts, off
    return {split: np.isin(member, part).nonzero()[0].tolist() for split, part in zip(SPLITS, best)}


def reduction(x: Tensor) -> Reduction:
    """Learned from the training rows (n, D) in which the modality is there."""
    if len(x) < 2:
        return Reduction(x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1], 1))
    x = x.double()
    mean, spread = x.mean(0), x.std(0)
    spread = torch.where(spread > 1e-6, spread, torch.inf)  # a constant column tells nothing
    _, S, V = torch.linalg.svd((x - mean) / spread, full_matrices=False)
    count = max(1, min(WIDTH, len(x) // 2, int((S > 1e-4 * S[0]).sum())))
    V = V[:count]  # (k, D)
    V = V * V.gather(1, V.abs().argmax(1, keepdim=True)).sign()  # the same on any machine
    scale = (S[:count].square().mean() / (len(x) - 1)).sqrt().clamp(min=1e-6)
    return Reduction(mean.float(), (V / spread / scale).T.float())


def reduced(features: Features, rows: dict) -> tuple[dict[str, dict], dict[str, Reduction]]:
    """{split: batch} as `fit` takes it, and the reductions by modality."""
    learned, batches = {}, {}
    train = torch.tensor(list(rows["train"]))
    vectors = features.vectors
    for name, x in vectors.items():
        learned[name] = reduction(x[train][features.present[name][train]])
    for split, places in rows.items():
        at = torch.tensor(list(places))
        batch = {"label": features.labels[at], "mask": {}}
        for name, inner in features.inner.items():
            there = features.present[name][at]
            mean, matrix = learned[name]
            batch["mask"][inner] = there
            batch[inner] = torch.where(there[:, None], (vectors[name][at] - mean) @ matrix, 0)
        batches[split] = batch
    return batches, learned


def build(strategy: str, dims: dict[str, int], classes: int, hidden: int | None) -> nn.Module:
    if strategy == "late":
        return LateFusion(dims, classes, hidden=hidden)
    if strategy == "gated":
        return GatedFusion(dims, classes, hidden=hidden)
    return ConcatFusion(dims, classes, hidden=hidden)


def trained(
    strategy: str,
    names: list[str],
    setting: tuple,
    batches: dict,
    classes: int,
    seed: int,
    epochs: int,
) -> Chosen:
    """One strategy on the modalities `names` (inner ones), left at its best validation epoch."""
    hidden, decay = setting
    dims = {name: batches["train"][name].shape[1] for name in names}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Head(build(strategy, dims, classes, hidden))
    history = fit(
        model,
        [batches["train"]],
        [batches["validation"]],
        epochs=epochs,
        lr=RATE,
        weight_decay=decay,
    )
    return Chosen(model.cpu().eval(), strategy, names, setting, min(history.validation_loss))


def tuned(strategy, names, batches, classes, seed, quick) -> Chosen:
    """The candidate with the lowest validation loss."""
    candidates = CANDIDATES[strategy][1:2] if quick else CANDIDATES[strategy]
    epochs = QUICK_EPOCHS if quick else EPOCHS
    tried = [
        trained(strategy, names, setting, batches, classes, seed, epochs) for setting in candidates
    ]
    return min(tried, key=lambda one: one.loss)


def one_split(features: Features, seed: int, quick: bool, grouped: bool, step=lambda: None) -> dict:
    """All that is measured on one split, as JSON keeps it.

    test         the rows of the table that were tested, by place
    predicted    {model: the class of each of them}; "fusion" is the fusion with the lowest
                 validation loss, "single" the modality (see `one_single`), "x, shuffled" a control
    """
    rows = divide(features, seed)
    classes, inner = len(features.classes), features.inner
    outer = {short: name for name, short in inner.items()}

    def tune(strategy: str, names: list[str], batches: dict) -> Chosen:
        step()
        return tuned(strategy, names, batches, classes, seed, quick)

    def again(chosen: Chosen, batches: dict) -> Chosen:
        step()
        epochs = QUICK_EPOCHS if quick else EPOCHS
        return trained(
            chosen.strategy, chosen.names, chosen.setting, batches, classes, seed, epochs
        )

    singles, choice = {}, {}
    for name, short in inner.items():
        tried = []
        for place in range(len(features.variants[name])):
            batches, _ = reduced(replace(features, choice={name: place}), rows)
            tried.append(tune("single", [short], batches))
        singles[name] = min(tried, key=lambda one: one.loss)
        choice[name] = tried.index(singles[name])
    features = replace(features, choice=choice)
    batches, _ = reduced(features, rows)
    fusions = {}
    if len(inner) > 1:
        fusions = {strategy: tune(strategy, list(inner.values()), batches) for strategy in FUSIONS}
    models = {**singles, **fusions}
    single = min(singles.values(), key=lambda one: one.loss)
    final = min(fusions.values(), key=lambda one: one.loss) if fusions else single
    models |= {"single": single} | ({"fusion": final} if fusions else {})
    test = batches["test"]
    predicted = {name: _answers(one, test) for name, one in models.items()}
    most = int(features.labels[torch.tensor(rows["train"])].bincount(minlength=classes).argmax())
    predicted["majority"] = [most] * len(rows["test"])
    for name, short in inner.items():
        shuffled = shuffle_splits(batches, short, seed)
        predicted[f"{name}, shuffled"] = _answers(again(singles[name], shuffled), shuffled["test"])
        if fusions:
            model = again(final, shuffled)
            predicted[f"fusion, {name} shuffled"] = _answers(model, shuffled["test"])
    result = {
        "seed": seed,
        "sizes": {split: len(places) for split, places in rows.items()},
        "test": rows["test"],
        "predicted": predicted,
        "loss": {name: one.loss for name, one in models.items()},
        "setting": {name: [one.strategy, one.names, *one.setting] for name, one in models.items()},
        "choice": choice,
        "single": outer[single.names[0]],
        "uses": _uses(final, test, outer) if fusions else {},
    }
    if grouped:
        mixed, _ = reduced(features, divide(features, seed, apart=False))
        said = torch.tensor(_answers(again(final, mixed), mixed["test"]))
        result["by rows"] = (said == mixed["test"]["label"]).double().mean().item()
    return result


def one_single(results: list[dict]) -> list[dict]:
    """The same, with one best modality for all splits, that with the lowest mean validation loss:
    where each split takes its own, an unlucky choice would be counted as a gain of fusion.
    """
    losses = {name: sum(one["loss"][name] for one in results) for name in results[0]["choice"]}
    best, found = min(losses, key=losses.get), []
    for one in results:
        single = {"single": one["predicted"][best]}
        found.append(one | {"single": best, "predicted": one["predicted"] | single})
    return found


def neighbours(features: Features) -> list[float]:
    """For each row: is the label of the nearest other row right, minus the same for the nearest row
    of another group. What is above 0 in the mean is knowing the group. Near by all modalities or by
    the one in which this is most: a voice may tell who speaks where a picture beside it hides it.
    """
    batch = reduced(features, {"train": range(len(features.labels))})[0]["train"]
    names = list(features.inner.values())
    views = [(torch.cat([batch[name] for name in names], 1), torch.ones_like(batch["label"]) > 0)]
    if len(names) > 1:
        views += [(batch[name], batch["mask"][name]) for name in names]
    return max((_nearest(features, x, there) for x, there in views), key=sum)


def _nearest(features: Features, x: Tensor, there: Tensor) -> list[float]:
    """`neighbours` by vectors (N, k), among the rows that are there (N,); 0 for the others."""
    distance = torch.cdist(x, x).fill_diagonal_(torch.inf)
    distance = distance.masked_fill(~there, torch.inf)
    same = features.groups[:, None] == features.groups
    right = []
    for one in (distance, distance.masked_fill(same, torch.inf)):
        right.append((features.labels[one.argmin(1)] == features.labels).double())
    return ((right[0] - right[1]) * there).tolist()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Layers as small as these only wait for one another in several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fits_of_a_split(features: Features, grouped: bool) -> int:
    """How often `one_split` calls `step`."""
    modalities, encoders = len(features.variants), sum(map(len, features.variants.values()))
    fused = (len(FUSIONS) + modalities) * (modalities > 1)
    return encoders + modalities + fused + grouped


@torch.no_grad()
def _answers(chosen: Chosen, batch: dict) -> list[int]:
    return chosen.model(batch).argmax(1).tolist()


def _uses(chosen: Chosen, test: dict, outer: dict[str, str]) -> dict:
    """Subset scores, permutation importance and EMAP of a fused model, names as the reader's."""
    inputs = {name: {"x": test[name], "there": test["mask"][name]} for name in chosen.names}
    label = test["label"]

    def predict(part: dict, mask: dict | None = None) -> Tensor:
        kept = {name: value["there"] for name, value in part.items()}
        if mask is not None:
            kept = {name: kept[name] & mask[name] for name in kept}
        return chosen.model.fusion({name: value["x"] for name, value in part.items()}, mask=kept)

    def score(logits: Tensor) -> float:
        return accuracy(logits, label)

    subsets = subset_scores(predict, inputs, score, "mask")
    permuted = ablation_scores(predict, inputs, score, "permutation")
    cut = {
        name: {key: value[:MOST_PAIRS] for key, value in part.items()}
        for name, part in inputs.items()
    }
    with torch.no_grad():
        full = accuracy(predict(cut), label[:MOST_PAIRS])
    return {
        "subsets": [[[outer[name] for name in names], value] for names, value in subsets.items()],
        "permuted": {outer[name]: value for name, value in permuted.items()},
        "emap": accuracy(emap(predict, cut), label[:MOST_PAIRS]),
        "of the same rows": full,
    }
