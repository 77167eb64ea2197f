"""Make the stored sweeps in data/results: heavy comparisons, which a page plots and partly runs again.

    python tools/measure.py digits_dials          (about two minutes on one core)
    python tools/measure.py concat_end_to_end     (about two minutes)
    python tools/measure.py digits_real           (about eight minutes)
    python tools/measure.py fits_real             (about five minutes)
    python tools/measure.py fsdd_speakers         (about three minutes)
    python tools/measure.py by_hand               (about three minutes)
    python tools/measure.py image_cnn             (about four minutes)
    python tools/measure.py text_labels           (about five minutes)
    python tools/measure.py text_cls              (about four minutes)
    python tools/measure.py text_gpt              (about six minutes)

Of these digits_real, fits_real, fsdd_speakers, by_hand and image_cnn need public data:  python -m course_utils.datasets.store mnist fsdd

What is measured is what is taught: the code comes from the page's own cells tagged "measured". A result file
holds the numbers seed by seed, the settings, and the versions that made them.
"""
import json
import sys
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import jupytext
import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from course_utils.audio import band_features  # noqa: E402  (after the path)
from course_utils.datasets import store  # noqa: E402
from course_utils.metrics import T_QUANTILES, accuracy, mean_interval  # noqa: E402
from course_utils.training import shuffle_modality  # noqa: E402

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
    """Accuracy of notebook 09's repaired classifier, by what it uses and how far it pools the picture."""
    page = measured_cells("09_fusion_concat")
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
    """Page 09's question "the same digit?" for a MNIST image and a typed word, and for a MNIST image and a recording."""
    page, rows = measured_cells("09_fusion_concat"), {}
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
    page = measured_cells("20_cross_entropy_gradient")
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
    """Who chases whom, by page 02: frozen vectors, adapted ones and an LSTM from scratch, by the number of labels."""
    page, rows = measured_cells("02_pretrained_text"), {}
    for kind in ("frozen", "adapted", "from scratch"):
        for count in tqdm((10, 20, 50, 100, 200), desc=kind):
            rows[f"{kind}, {count}"] = {"accuracy": [round(page["who_chases"](kind, count, seed), 4) for seed in SEEDS]}
    return rows


def text_cls() -> dict:
    """Page 02's last layer, taught to put the mean at [CLS]: how far paraphrases stand out, every 20 of 120 steps."""
    page = measured_cells("02_pretrained_text")
    runs = [page["train_cls"](seed, 120) for seed in tqdm(SEEDS)]
    return {pooling: {"standing out": [[round(step[pooling], 4) for step in run] for run in runs]} for pooling in ("mean", "cls")}


def text_gpt() -> dict:
    """What page 02's small GPT keeps at its first and last token and in the mean, by what its texts' endings were."""
    page, rows = measured_cells("02_pretrained_text"), {}
    for ending, epochs in (("useful", 20), ("useless", 20), ("useful", 0)):
        for seed in tqdm(SEEDS, desc=ending):
            gpt, words, loss = page["pretrain"](ending, seed, epochs)
            row = rows.setdefault(ending if epochs else "untrained", {"loss": [], "accuracy": {}})
            row["loss"].append(round(loss, 4))
            for place, value in page["probe"](gpt, words, seed).items():
                row["accuracy"].setdefault(place, []).append(round(value, 4))
    return rows


def table(rows: dict) -> str:
    """The accuracies of a sweep in percent, mean and 95 % interval over the seeds, as rows of a Markdown table.

    More numbers than an interval is known for are not seeds; of these it gives the mean, the least and the largest."""
    def cell(values):
        if len(values) > max(T_QUANTILES):
            return f"{100 * sum(values) / len(values):.1f} ({100 * min(values):.0f} to {100 * max(values):.0f})"
        mean, half = mean_interval([100 * value for value in values])
        return f"{mean:.1f} ± {half:.1f}"
    columns = {name: row["accuracy"] if isinstance(row["accuracy"], dict) else {"": row["accuracy"]} for name, row in rows.items()
               if "accuracy" in row}
    return "\n".join(f"| {name} | " + " | ".join(map(cell, scores.values())) + " |" for name, scores in columns.items())


SWEEPS = {sweep.__name__: sweep for sweep in (digits_dials, concat_end_to_end, digits_real, fits_real, fsdd_speakers, by_hand, image_cnn,
                                          text_labels, text_cls, text_gpt)}


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
