"""Make a page's stored comparisons: what takes too long for a page, which plots it and runs a small
part of it again.

    python tools/sweep.py                   the comparisons that there are, and how long each takes
    python tools/sweep.py 00 digits_dials   make this one

A comparison is a function in the list SWEEPS of its room's sweeps.py. It gets the names that the
page's own cells tagged `measured` define, because what is measured is what is taught, and returns
{name of the row: row}. The result, results/NAME.json in the room, holds these rows number by number
with the seeds, the command and the versions that made them. Some need public data:
python -m course_utils.datasets.store mnist fsdd
"""

import inspect
import json
import sys
from importlib.metadata import version
from pathlib import Path

import jupytext
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from course_utils.metrics import mean_interval  # noqa: E402  (after the path)
from course_utils.rooms import load, room, rooms  # noqa: E402

PACKAGES = ("torch", "numpy", "scikit-learn", "transformers")
MOST_SEEDS = 10


def measured_cells(page: str) -> dict:
    """The names that the cells tagged `measured` of a page ("00") define; {} for a draft."""
    source = room(page) / "page.py"
    names: dict = {}
    if not source.is_file():
        return names
    for cell in jupytext.read(source, fmt="py:percent").cells:
        if cell.cell_type == "code" and "measured" in cell.metadata.get("tags", []):
            exec(compile(cell.source, page, "exec"), names)
    return names


def sweeps(page: str) -> dict:
    """A page's comparisons by name: the functions that its room's sweeps.py lists."""
    try:
        return {sweep.__name__: sweep for sweep in load(page, "sweeps").SWEEPS}
    except FileNotFoundError:
        return {}


def seeds(page: str, name: str) -> list[int]:
    """The seeds of a comparison: the default of its argument `seeds`, or else its room's SEEDS."""
    own = inspect.signature(sweeps(page)[name]).parameters.get("seeds")
    return list(own.default if own else load(page, "sweeps").SEEDS)


def make(page: str, name: str) -> dict:
    """Run a comparison and store it; returns its rows."""
    torch.set_num_threads(1)
    rows = sweeps(page)[name](measured_cells(page))
    result = {
        "command": f"python tools/sweep.py {page} {name}",
        "seeds": seeds(page, name),
        "versions": {package: version(package) for package in PACKAGES},
        "rows": rows,
    }
    file = room(page) / "results" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return rows


def table(rows: dict) -> str:
    """The accuracies of a comparison in percent, mean and 95 % interval over the seeds, as rows of
    a Markdown table.
    """
    lines = []
    for name, row in rows.items():
        scores = row["accuracy"] if isinstance(row["accuracy"], dict) else {"": row["accuracy"]}
        cells = [name, *map(shown, scores.values())]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(values) -> str:
    """Mean and interval; of more numbers than there are seeds anywhere, the mean, the least and
    the largest.
    """
    if len(values) > MOST_SEEDS:
        mean = 100 * sum(values) / len(values)
        return f"{mean:.1f} ({100 * min(values):.0f} to {100 * max(values):.0f})"
    mean, half = mean_interval([100 * value for value in values])
    return f"{mean:.1f} ± {half:.1f}"


def main(arguments=None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    known = [(page, name) for page in rooms() for name in sweeps(page)]
    if tuple(arguments) in known:
        print(table(make(*arguments)))
        return 0
    print("usage: python tools/sweep.py PAGE NAME, where PAGE and NAME are one of")
    for page, name in known:
        lines = sweeps(page)[name].__doc__.split("\n\n")
        print(f"  {page} {name:<20}{' '.join(lines[-1].split())}")
    return 0 if not arguments else 2


if __name__ == "__main__":
    sys.exit(main())
