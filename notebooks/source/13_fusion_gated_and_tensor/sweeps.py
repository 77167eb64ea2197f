"""The stored comparisons of page 13: what products cost by their number and by the number of
samples, the strategies on three gates with 150 samples, and on digits.

In each row learning rate and weight decay have the lowest loss on the validation sets, the mean
over the five seeds; the validation set also chooses each run's epoch.
"""

from functools import partial
from itertools import product

from tqdm import tqdm

from course_utils.datasets import Gates
from course_utils.datasets.gates import SMALL
from course_utils.training import Batches, evaluate, shuffle_splits

SEEDS = range(5)
RATES, DECAYS = (3e-3, 1e-2), (0.0, 1.0, 10.0, 30.0)


def tuned(page: dict, make, draws: list[dict], grid=None, **options) -> dict:
    """A row: the test accuracies of the best setting of the grid, one a seed."""
    best = None
    for lr, decay in grid or product(RATES, DECAYS):
        losses, found = [], []
        for seed, data in enumerate(draws):
            model = page["train"](make, data, seed, lr=lr, decay=decay, **options)
            losses.append(evaluate(model, Batches(data["validation"], 2048)).loss)
            found.append(round(page["score"](model, data), 4))
        loss = sum(losses) / len(losses)
        if best is None or loss < best[0]:
            best = loss, {"lr": lr, "weight_decay": decay, "accuracy": found}
    return best[1]


def price(page: dict) -> dict:
    """The glue of two redundant modalities with some of their 256 products beside it: by how many,
    with the products shuffled among the samples, with quieter products, and by the number of
    samples. Quieter products for XOR, too.

    About two minutes on one core.
    """
    runs = [("redundant", 150, count, 1.0, False) for count in (0, 16, 64, 256)]
    runs += [("redundant", 150, 256, 1.0, True)]
    runs += [("redundant", n, count, 1.0, False) for n in (500, 2000) for count in (0, 256)]
    runs += [(gate, 150, 256, loud, False) for gate in ("redundant", "xor") for loud in (0.3, 0.1)]
    runs += [("xor", 150, 0, 1.0, False), ("xor", 150, 256, 1.0, False)]
    rows = {}
    for gate, n, count, loud, shuffled in tqdm(runs):
        draws = []
        for seed in SEEDS:
            data = page["with_products"](page["samples"](gate, n, seed), count, seed, loud)
            draws.append(shuffle_splits(data, "products", seed) if shuffled else data)
        name = f"{gate}, {n} samples, {count} products"
        name += f" times {loud:g}" * (loud != 1) + ", shuffled" * shuffled
        make = partial(page["SomeProducts"], count)
        rows[name] = tuned(page, make, draws, batch=64 if n < 1000 else 256)
    return rows


def small(page: dict) -> dict:
    """Each strategy on three gates with 150 samples.

    About four minutes on one core.
    """
    rows, dims = {}, dict.fromkeys(page["BOTH"], 16)
    for gate in ("redundant", "and", "xor"):
        draws = [page["samples"](gate, 150, seed) for seed in SEEDS]
        for name, strategy in tqdm(page["STRATEGIES"].items(), gate):

            def make(strategy=strategy):
                return page["Model"](strategy(dims, 2), page["BOTH"])

            row = tuned(page, make, draws)
            rows[f"{gate}: {name}"] = row | {"ceiling": Gates(gate, **SMALL).ceiling()}
    return rows


def longer(page: dict) -> dict:
    """XOR with 150 samples for five times as many epochs: a wider hidden layer, and the gate.

    About two minutes on one core.
    """
    dims = dict.fromkeys(page["BOTH"], 16)
    draws = [page["samples"]("xor", 150, seed) for seed in SEEDS]
    layers = {
        "concat, 128 hidden": partial(page["ConcatFusion"], dims, 2, hidden=128),
        "gated": partial(page["GatedFusion"], dims, 2),
    }
    rows = {}
    for name, layer in tqdm(layers.items()):

        def make(layer=layer):
            return page["Model"](layer(), page["BOTH"])

        rows[f"xor: {name}, 200 epochs"] = tuned(page, make, draws, epochs=200)
    return rows


def on_digits(page: dict, grid: list, **dials) -> dict:
    """Each modality alone, each strategy on all three, two of them with the sound shuffled."""
    draws = [page["load"](seed, **dials) for seed in tqdm(SEEDS, "load")]
    moved = [shuffle_splits(data, "audio", seed) for seed, data in enumerate(draws)]
    runs = [(f"{name} alone", "concat", (name,), draws) for name in page["DIGITS"]]
    for name in ("concat", "gated", "tensor of 8", "low rank 4 of 8"):
        runs.append((name, name, page["DIGITS"], draws))
    for name in ("concat", "tensor of 8"):
        runs.append((f"{name}, audio shuffled", name, page["DIGITS"], moved))
    rows = {}
    for row, strategy, names, given in tqdm(runs):
        make = partial(page["digit_model"], strategy, given[0], names)
        rows[row] = tuned(page, make, given, grid, epochs=20, batch=128)
    return rows


def digits(page: dict) -> dict:
    """Text, picture and sound of `digits`, all strategies.

    About four minutes on one core.
    """
    return on_digits(page, list(product((3e-3, 1e-2), (0.1, 1.0, 3.0, 10.0))))


def digits_real(page: dict) -> dict:
    """The same for MNIST pictures, typed words and recordings.

    About four minutes on one core, with MNIST and FSDD.
    """
    return on_digits(page, [(3e-3, 0.1), (3e-3, 1.0), (3e-3, 10.0)], source="mnist-fsdd")


def low_rank_real(page: dict) -> dict:
    """Low rank on the same data under two weight decays, with what the validation set says of each.

    About two minutes on one core, with MNIST and FSDD.
    """
    draws = [page["load"](seed, source="mnist-fsdd") for seed in tqdm(SEEDS, "load")]
    rows = {}
    for decay in (1.0, 10.0):
        row = {"accuracy": [], "validation accuracy": [], "validation loss": []}
        for seed, data in enumerate(tqdm(draws, f"decay {decay:g}")):
            make = partial(page["digit_model"], "low rank 4 of 8", data)
            model = page["train"](make, data, seed, lr=3e-3, decay=decay, epochs=20, batch=128)
            told = evaluate(model, Batches(data["validation"], 2048))
            row["accuracy"].append(round(page["score"](model, data), 4))
            row["validation accuracy"].append(round(told.accuracy, 4))
            row["validation loss"].append(round(told.loss, 4))
        rows[f"decay {decay:g}"] = row
    return rows


SWEEPS = [price, small, longer, digits, digits_real, low_rank_real]
