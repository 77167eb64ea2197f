"""Make the stored sweeps in data/results: heavy comparisons, which a page plots and partly runs again.

    python tools/measure.py digits_dials          (about two minutes on one core)
    python tools/measure.py concat_end_to_end     (about two minutes)
    python tools/measure.py digits_real           (about eight minutes)
    python tools/measure.py fits_real             (about five minutes)
    python tools/measure.py fsdd_speakers         (about three minutes)
    python tools/measure.py by_hand               (about three minutes)
    python tools/measure.py image_cnn             (about four minutes)
    python tools/measure.py text_labels           (about six minutes)
    python tools/measure.py text_gpt              (about six minutes)
    python tools/measure.py fusion_gates          (about fifteen minutes)
    python tools/measure.py fusion_missing        (about fifteen minutes)

Of these digits_real, fits_real, fsdd_speakers, by_hand and image_cnn need public data:  python -m course_utils.datasets.store mnist fsdd

What is measured is what is taught: the code comes from the page's own cells tagged "measured", or is the package's
own (the sweeps of all fusion strategies, which several pages read). A result file holds the numbers seed by seed, the
settings, and the versions that made them.
"""
import json
import sys
from importlib.metadata import version
from itertools import combinations, product
from pathlib import Path

import jupytext
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from course_utils.audio import band_features  # noqa: E402  (after the path)
from course_utils.datasets import store  # noqa: E402
from course_utils.datasets.gates import LARGE, Cues, Gates  # noqa: E402
from course_utils.fusion import STRATEGIES, ModalityDropout  # noqa: E402
from course_utils.metrics import T_QUANTILES, accuracy, mean_interval  # noqa: E402
from course_utils.runtime import seed_everything  # noqa: E402
from course_utils.training import Batches, evaluate, fit, shuffle_modality  # noqa: E402

SEEDS = range(5)
DIALS = {
    "clean": {"image_noise": 0.0, "speech_snr": 60.0, "text_error": 0.0},
    "easy": {"image_noise": 0.3, "speech_snr": -5.0, "text_error": 0.3},
    "default": {"image_noise": 0.5, "speech_snr": -10.0, "text_error": 0.6},
    "hard": {"image_noise": 0.7, "speech_snr": -13.0, "text_error": 0.75},
    "one clear sense": {"image_noise": 1.0, "speech_snr": 0.0, "text_error": 0.9},
    "shared noise": {"image_noise": 0.2, "speech_snr": 0.0, "text_error": 0.3, "shared_noise": 1.0},
}


def measured_cells(page: str) -> dict:
    """The names that the cells tagged "measured" of a page's source define."""
    notebook = jupytext.read(ROOT / "notebooks" / "source" / f"{page}.py", fmt="py:percent")
    names: dict = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "measured" in cell.metadata.get("tags", []):
            exec(compile(cell.source, page, "exec"), names)
    return names


def digits_dials() -> dict:
    """How much fusion gains at each setting of the dials: accuracy and cross-entropy of the page's models and of
    the product of the three unimodal models' probabilities."""
    page = measured_cells("00_start_here")
    rows = {}
    for name, dials in (progress := tqdm(DIALS.items())):
        progress.set_description(name)
        data = {split: page["load"](split, 0, **dials) for split in ("train", "validation", "test")}
        decay = {model: page["tune"](names, data) for model, names in page["MODELS"].items()}
        draws = [{split: page["load"](split, seed, **dials) for split in data} for seed in SEEDS]
        results = page["test_all"](page["MODELS"], decay, draws)
        accuracy = {model: [one.accuracy for one in runs] for model, runs in results.items()}
        loss = {model: [one.loss for one in runs] for model, runs in results.items()}
        accuracy["product"], loss["product"] = [], []
        for runs in zip(*(results[m] for m in page["MODALITIES"])):
            logits = sum(run.logits.log_softmax(dim=1) for run in runs)  # all digits are equally frequent: no prior to divide by
            accuracy["product"].append((logits.argmax(dim=1) == runs[0].labels).double().mean().item())
            loss["product"].append(F.cross_entropy(logits, runs[0].labels).item())
        rows[name] = {"dials": dials, "weight_decay": decay,
                      "accuracy": {k: [round(v, 4) for v in vs] for k, vs in accuracy.items()},
                      "loss": {k: [round(v, 4) for v in vs] for k, vs in loss.items()}}
    return rows


def concat_end_to_end() -> dict:
    """Accuracy of notebook 10's repaired classifier, by what it uses and how far it pools the picture."""
    page = measured_cells("10_fusion_concat")
    return {name: {"options": options, "accuracy": [round(page["train_end_to_end"](seed, **options), 4) for seed in SEEDS]}
            for name, options in tqdm(page["VERSIONS"].items())}


def digits_real() -> dict:
    """Page 00 on MNIST and FSDD: its models, and the control with the sound shuffled among the samples."""
    page, splits = measured_cells("00_start_here"), ("train", "validation", "test")
    draws = [{split: page["load"](split, seed, source="mnist-fsdd") for split in splits} for seed in tqdm(SEEDS, "load")]
    decay = {model: page["tune"](names, draws[0]) for model, names in tqdm(page["MODELS"].items(), "tune")}
    results = page["test_all"](page["MODELS"], decay, draws)
    shuffled = [{split: shuffle_modality(part, "audio", torch.randperm(len(part["label"]), generator=torch.Generator().manual_seed(seed)))
                 for split, part in draw.items()} for seed, draw in enumerate(draws)]
    control = "all three, audio shuffled"
    results |= page["test_all"]({control: page["MODELS"]["all three"]}, {control: decay["all three"]}, shuffled)
    return {"mnist-fsdd": {"weight_decay": decay, "accuracy": {model: [round(one.accuracy, 4) for one in runs]
                                                               for model, runs in results.items()}}}


def fits_real() -> dict:
    """Page 10's question "the same digit?" for a MNIST image and a typed word, and for a MNIST image and a recording."""
    page, rows = measured_cells("10_fusion_concat"), {}
    for seed in tqdm(SEEDS):
        for other in ("text", "audio"):
            data = {split: page["pairs"](split, seed, other, source="mnist-fsdd") for split in ("train", "validation", "test")}
            shuffled = {split: {**part, other: part[other].flip(0)} for split, part in data.items()}
            dims = {name: tensor.shape[1] for name, tensor in data["train"].items() if name != "label"}
            for name, make in page["GLUES"].items():
                for way, draw in (("", data), (", shuffled", shuffled)):
                    if way and name != "concat, hidden":
                        continue  # the control belongs to the model that gains
                    score = page["train_and_test"](lambda: make(dims), draw, seed, epochs=20)[1].accuracy
                    rows.setdefault(f"image + {other}: {name}{way}", {"accuracy": []})["accuracy"].append(round(score, 4))
    return rows


def fsdd_speakers() -> dict:
    """A linear classifier on the page's band features of all 3,000 recordings, two of six speakers held out in turn:
    as recorded, and with each clip scaled to the same peak."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import soundfile

    from course_utils.datasets.digits import SAMPLE_RATE
    (folder,) = store.fetch("fsdd")
    files = sorted(folder.glob("*.wav"))
    digits, speakers = (np.array([file.stem.split("_")[part] for file in files]) for part in (0, 1))
    clips = []
    for file in files:
        samples, rate = soundfile.read(file, dtype="float32")
        assert rate == SAMPLE_RATE
        clips.append(torch.from_numpy(samples))
    rows = {}
    for level in ("as recorded", "same peak"):
        scaled = [clip / clip.abs().max() if level == "same peak" else clip for clip in clips]
        features = np.stack([band_features(clip[None], torch.ones(1, len(clip), dtype=torch.bool))[0].numpy() for clip in scaled])
        held_out = list(combinations(sorted(set(speakers)), 2))
        accuracy = []
        for pair in tqdm(held_out, level):
            test = np.isin(speakers, pair)
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
            accuracy.append(round(model.fit(features[~test], digits[~test]).score(features[test], digits[test]), 4))
        rows[level] = {"held_out": held_out, "accuracy": accuracy}
    return rows


def by_hand() -> dict:
    """A network trained with gradients by hand and by autograd: its accuracy, and how far the two loss curves are apart."""
    page = measured_cells("21_cross_entropy_gradient")
    rows = {}
    for name, epochs, source in (("digits", 40, "bundled"), ("mnist", 10, "mnist-fsdd")):
        rows[name] = {"epochs": epochs, "accuracy": [], "difference": []}
        for seed in tqdm(SEEDS, name):
            train, test = (page["load"](split, seed, source=source) for split in ("train", "test"))
            net, ours = page["train"](page["by_hand"], train, seed, epochs)
            _, theirs = page["train"](page["by_autograd"], train, seed, epochs)
            rows[name]["accuracy"].append(round(accuracy(page["forward"](net, test)["logits"], test["label"]), 4))
            rows[name]["difference"].append(max(abs(one - other) for one, other in zip(ours, theirs, strict=True)))
    return rows


def image_cnn() -> dict:
    """The small network of page 03: digits against a linear layer, shapes in known and new colours, shifted digits, MNIST."""
    page = measured_cells("03_image_features")
    train, test, classifier, rows = page["train"], page["test"], page["Classifier"], {}

    def add(name, value):
        rows.setdefault(name, {"accuracy": []})["accuracy"].append(round(value, 4))

    for seed in tqdm(SEEDS):
        for name, dials in {"clean": {"image_noise": 0}, "noisy": {}, "MNIST": {"source": "mnist-fsdd"}}.items():
            draw = {split: page["load_digits"](split, seed, **dials) for split in ("train", "validation", "test")}
            epochs, pixels = (4, 784) if name == "MNIST" else (15, 256)
            add(f"{name}: network", test(train(lambda: classifier(1, 10, width=64), draw, seed, epochs), draw["test"]))
            add(f"{name}: pixels, linear", test(train(lambda: page["Pixels"](pixels), draw, seed, epochs=20), draw["test"]))
        for words, gray in (("in colour", False), ("in gray", True)):
            sizes = {"train": 2000, "validation": 600, "test": 1000, "novel": 1000}
            draw = {split: page["load_shapes"](split, seed, size, gray) for split, size in sizes.items()}
            looker = train(lambda: classifier(3, 4), draw, seed, epochs=20)
            for split in ("test", "novel"):
                add(f"shapes {words}: {split}", test(looker, draw[split]))
        for name, values in page["shifted"](seed).items():
            for shift, value in enumerate(values):
                add(f"{name}: shifted by {shift}", value)
    return rows


def text_labels() -> dict:
    """Who chases whom, by page 02: frozen and adapted vectors, an LSTM, words and pairs of words, by the number of labels."""
    page, rows = measured_cells("02_pretrained_text"), {}
    for kind in page["LEARNERS"]:
        for count in tqdm((10, 20, 50, 100, 200), desc=kind):
            rows[f"{kind}, {count}"] = {"accuracy": [round(page["who_chases"](kind, count, seed), 4) for seed in SEEDS]}
    return rows


def text_gpt() -> dict:
    """What page 02's small GPT keeps at its first and last token and in the mean, by what its texts' endings were."""
    page, rows = measured_cells("02_pretrained_text"), {}
    for ending, epochs in (("useful", 20), ("useless", 20), ("useful", 0)):
        for seed in tqdm(SEEDS, desc=ending):
            gpt, words, loss = page["pretrain"](ending, seed, epochs)
            row = rows.setdefault(ending if epochs else "untrained", {"loss": [], "accuracy": {}})
            row["loss"].append(round(loss, 4) if epochs else None)
            for place, value in page["probe"](gpt, words, seed).items():
                row["accuracy"].setdefault(place, []).append(round(value, 4))
    return rows


class Fused(nn.Module):
    """A strategy as a classifier: a batch of vectors (N, D_m), and perhaps their "mask", {name: (N,)},
    to logits (N, C).
    """

    def __init__(self, strategy: str, dims: dict[str, int], classes: int, dropout: float = 0.0):
        super().__init__()
        self.fusion, self.drop = STRATEGIES[strategy](dims, classes), ModalityDropout(dropout)

    def forward(self, batch: dict) -> torch.Tensor:
        tokens = self.fusion.accepts == "tokens"                    # (N, D) -> (N, 1, D): a vector as one token
        features = {name: batch[name][:, None] if tokens else batch[name] for name in self.fusion.names}
        return self.fusion(features, mask=self.drop(features, batch.get("mask")))


def train_fused(strategy: str, parts: dict, seed: int, *, epochs: int, lr: float, dropout: float = 0.0,
                weight_decay: float = 0.0, batch: int = 64) -> Fused:
    """A strategy trained on the vectors of parts["train"], its epoch chosen on parts["validation"]."""
    generator = seed_everything(seed)
    dims = {name: x.shape[1] for name, x in parts["train"].items() if x.dim() == 2}
    model = Fused(strategy, dims, int(parts["train"]["label"].max()) + 1, dropout)
    fit(model, Batches(parts["train"], batch, generator), Batches(parts["validation"], 2_000), epochs=epochs, lr=lr,
        weight_decay=weight_decay)
    return model


def interaction(model: Fused, world: Gates) -> float:
    """The statistic that is 0 for what has no interaction of all modalities: the logit difference d at each corner of
    signs, added up with the product of its signs, relative to the sum of |d|. With two modalities it has four points."""
    corners = torch.tensor(list(product((-1.0, 1.0), repeat=len(world.names))))                     # (2^M, M)
    points = {name: corners[:, m, None] * world.directions[m].float() for m, name in enumerate(world.names)}
    with torch.no_grad():
        logits = model.eval()(points)                                                               # (2^M, 2)
    difference = logits[:, 1] - logits[:, 0]
    return abs((corners.prod(1) * difference).sum().item()) / difference.abs().sum().item()


def splits(world: Gates | Cues, seed: int, **sizes: int) -> dict:
    """Samples of these sizes, each from a seed of its own."""
    return {split: world.sample(size, len(sizes) * seed + k) for k, (split, size) in enumerate(sizes.items())}


def learn_gate(strategy: str, gate: str, seed: int) -> tuple:
    """Accuracy, cross-entropy and interaction of a strategy after 30 epochs on a gate's 2,000 rows."""
    world = Gates(gate, **LARGE)
    parts = splits(world, seed, train=world.rows, validation=500, test=4_000)
    model = train_fused(strategy, parts, seed, epochs=30, lr=1e-2)
    result = evaluate(model, Batches(parts["test"], 4_000))
    return result.accuracy, result.loss, interaction(model, world)


def fusion_gates() -> dict:
    """What each strategy can represent: XOR of two bits, parity of three, in vectors of width 8."""
    rows = {}
    for gate in ("xor", "parity"):
        for strategy in (progress := tqdm(STRATEGIES)):
            progress.set_description(f"{gate}: {strategy}")
            runs = [learn_gate(strategy, gate, seed) for seed in SEEDS]
            accuracy, loss, statistic = ([float(f"{value:.4g}") for value in values] for values in zip(*runs))
            rows[f"{gate}: {strategy}"] = {"accuracy": accuracy, "loss": loss, "interaction": statistic,
                                           "ceiling": Gates(gate, **LARGE).ceiling()}
    return rows


def missing_world(name: str, seed: int) -> tuple[dict, dict]:
    """A world for `fusion_missing`, its splits of vectors; and for Cues, the best accuracy by what is present."""
    if name == "cues":
        world = Cues(mu=(0.5, 1.0, 1.0))
        parts = splits(world, seed, train=4_000, validation=1_000, test=20_000)
        return parts, {present: world.ceiling(present) for present in subsets(world.names)}
    load = measured_cells("00_start_here")["load"]
    parts = {split: load(split, seed) for split in ("train", "validation", "test")}
    for modality in ("text", "image", "audio"):         # to mean 0 and spread 1, as measured on the training split
        mean, spread = parts["train"][modality].mean(0), parts["train"][modality].std(0).clamp(min=1e-3)
        for part in parts.values():
            part[modality] = (part[modality] - mean) / spread
    return parts, {}


def subsets(names: tuple) -> list[tuple]:
    """All but the empty one, the largest first."""
    return [present for count in range(len(names), 0, -1) for present in combinations(names, count)]


def with_only(batch: dict, present: tuple, names: tuple) -> dict:
    """The batch with a mask in which all modalities but those `present` are missing."""
    mask = {name: torch.full((len(batch["label"]),), name in present) for name in names}
    return batch | {"mask": mask}


def score_missing(strategy: str, parts: dict, seed: int, dropout: float, **training) -> dict:
    """The test accuracy by what is present, after one training on complete rows with this modality dropout."""
    model = train_fused(strategy, parts, seed, dropout=dropout, **training)
    names, test, found = model.fusion.names, parts["test"], {}
    for present in subsets(names):
        batches = [with_only(batch, present, names) for batch in Batches(test, 5_000)]
        found[present] = evaluate(model, batches).accuracy
    return found


MISSING = {"cues": {"epochs": 10, "lr": 1e-2, "batch": 128}, "digits": {"epochs": 20, "lr": 3e-3, "weight_decay": 1.0, "batch": 128}}


def fusion_missing() -> dict:
    """Each strategy trained on complete rows, with and without modality dropout, tested with modalities missing."""
    rows = {}
    for world, training in MISSING.items():
        draws = [missing_world(world, seed) for seed in SEEDS]
        for strategy in (progress := tqdm(STRATEGIES)):
            progress.set_description(f"{world}: {strategy}")
            for dropout in (0.0, 0.3):
                row = rows[f"{world}: {strategy}, dropout {dropout}"] = {"accuracy": {}}
                for seed, (parts, _) in enumerate(draws):
                    for present, value in score_missing(strategy, parts, seed, dropout, **training).items():
                        row["accuracy"].setdefault(" + ".join(present), []).append(round(value, 4))
                if best := draws[0][1]:
                    row["ceiling"] = {" + ".join(present): value for present, value in best.items()}
    return rows


def table(rows: dict) -> str:
    """The accuracies of a sweep in percent, mean and 95 % interval over the seeds, as rows of a Markdown table.

    More numbers than an interval is known for are not seeds; of these it gives the mean, the least and the largest."""
    def cell(values):
        if len(values) > max(T_QUANTILES):
            return f"{100 * sum(values) / len(values):.1f} ({100 * min(values):.0f} to {100 * max(values):.0f})"
        mean, half = mean_interval([100 * value for value in values])
        return f"{mean:.1f} ± {half:.1f}"
    columns = {name: row["accuracy"] if isinstance(row["accuracy"], dict) else {"": row["accuracy"]} for name, row in rows.items()}
    return "\n".join(f"| {name} | " + " | ".join(map(cell, scores.values())) + " |" for name, scores in columns.items())


SWEEPS = {sweep.__name__: sweep for sweep in (digits_dials, concat_end_to_end, digits_real, fits_real, fsdd_speakers, by_hand, image_cnn,
                                          text_labels, text_gpt, fusion_gates, fusion_missing)}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in SWEEPS:
        print(f"usage: python tools/measure.py SWEEP, where SWEEP is one of {', '.join(SWEEPS)}")
        return 2
    name = sys.argv[1]
    torch.set_num_threads(1)
    result = {"command": f"python tools/measure.py {name}", "seeds": list(SEEDS),
              "versions": {package: version(package) for package in ("torch", "numpy", "scikit-learn", "transformers")},
              "rows": SWEEPS[name]()}
    file = ROOT / "data" / "results" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result["rows"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
