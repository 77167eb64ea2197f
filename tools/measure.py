"""Make the stored sweeps in data/results: heavy comparisons, which a page plots and partly runs again.

    python tools/measure.py digits_dials          (about two minutes on one core)
    python tools/measure.py concat_end_to_end     (about two minutes)

What is measured is what is taught: the code comes from the page's own cells tagged "measured". A result file
holds the numbers seed by seed, the settings, and the versions that made them.
"""
import json
import sys
from importlib.metadata import version
from pathlib import Path

import jupytext
import torch
from torch.nn import functional as F
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from course_utils.metrics import mean_interval  # noqa: E402  (after the path)

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


def table(rows: dict) -> str:
    """The accuracies of a sweep in percent, mean and 95 % interval over the seeds, as rows of a Markdown table."""
    def cell(values):
        mean, half = mean_interval([100 * value for value in values])
        return f"{mean:.1f} ± {half:.1f}"
    columns = {name: row["accuracy"] if isinstance(row["accuracy"], dict) else {"": row["accuracy"]} for name, row in rows.items()}
    return "\n".join(f"| {name} | " + " | ".join(map(cell, scores.values())) + " |" for name, scores in columns.items())


SWEEPS = {"digits_dials": digits_dials, "concat_end_to_end": concat_end_to_end}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in SWEEPS:
        print(f"usage: python tools/measure.py SWEEP, where SWEEP is one of {', '.join(SWEEPS)}")
        return 2
    name = sys.argv[1]
    torch.set_num_threads(1)
    result = {"command": f"python tools/measure.py {name}", "seeds": list(SEEDS),
              "versions": {package: version(package) for package in ("torch", "numpy", "scikit-learn")},
              "rows": SWEEPS[name]()}
    file = ROOT / "data" / "results" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result["rows"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
