"""Make a page's stored comparisons: what takes too long for a page, which plots it and runs a small
part of it again.

    python tools/sweep.py                   the comparisons that there are, and how long each takes
    python tools/sweep.py 00 digits_dials   make this one
    python tools/sweep.py 19 large concat   of it, only the rows whose name ends so
    python tools/sweep.py 19                all of a page that are not stored yet

A comparison is a function in the list SWEEPS of its room's sweeps.py. It gets the names that the
page's own cells tagged `measured` define, because what is measured is what is taught, and returns
{name of the row: row}. The result, results/NAME.json in the room, holds these rows number by number
with the seeds, the command and the versions that made them. Some need public data:
python -m course_utils.datasets.store mnist fsdd

A long one gives back, in the place of each row, a `functools.partial` that makes it. These rows
are made and stored one by one, and a row that is stored is not made again: stop it, start it
again. Two may run at a time, on different rows. Each row keeps a short "fingerprint" of its
function, its arguments and the versions. Where one in the file has another, nothing is run and
nothing is lost: move the file away, or put back what was changed. What that function calls is not
in the fingerprint: after a change there, move the file away, or make a few rows again elsewhere
and compare.
"""

import hashlib
import inspect
import json
import os
import sys
from functools import partial
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


def make(page: str, name: str, ending: str = "") -> dict:
    """Run a comparison and store it; returns its rows.

    Of one that gives back partials, only those rows are made whose name ends with `ending` and that
    are not stored yet. Raises SystemExit where a stored row was made by other code, arguments or
    versions, and where no row is named so.
    """
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
    if any(isinstance(row, partial) for row in rows.values()):
        return make_row_by_row(result, rows, file, ending)
    if ending:
        raise SystemExit(f"{page} {name} is made as a whole; it has no rows of its own")
    write(result, file)
    return rows


def make_missing(page: str) -> dict:
    """What is not stored yet of all comparisons of a page; returns the rows that each has now."""
    found = {}
    for name in sweeps(page):
        done = stored_rows(room(page) / "results" / f"{name}.json")
        # of one that is made row by row there may be more to make
        if not done or any("fingerprint" in row for row in done.values()):
            done = make(page, name)
        found |= {f"{name}: {row}": values for row, values in done.items()}
    return found


def make_row_by_row(result: dict, rows: dict[str, partial], file: Path, ending: str) -> dict:
    """The rest of `make` for rows that are made one by one."""
    wanted = [name for name in rows if name.endswith(ending)]
    if not wanted:
        raise SystemExit(f"no row ends with {ending!r}; there are {', '.join(rows)}")
    marks = {name: fingerprint(row, result) for name, row in rows.items()}
    done = stored_rows(file)
    others = [name for name, row in done.items() if row.get("fingerprint") != marks.get(name)]
    if others:
        raise SystemExit(
            f"{file}: {', '.join(others[:3])} and perhaps more ({len(others)} rows) were made by"
            " other code, settings or versions than there are now. Move the file away to make all"
            " anew, or put back what was changed."
        )
    for name in wanted:
        if name not in done:
            print(name, flush=True)
            made = {**rows[name](), "fingerprint": marks[name]}
            # with what another run of the same comparison has stored meanwhile
            done = stored_rows(file) | {name: made}
            # in the order of the list, whichever came first
            result["rows"] = {name: done[name] for name in rows if name in done}
            write(result, file)
    return {name: done[name] for name in wanted}


def stored_rows(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else {}


def fingerprint(row: partial, result: dict) -> str:
    """Twelve digits that change with the row's own function, its arguments, the seeds, or a
    version; not with what the function calls.
    """
    arguments = [list(row.args), dict(sorted(row.keywords.items()))]
    # what the function takes by default, a grid for example, is an argument too
    defaults = [repr(one) for one in inspect.signature(row.func).parameters.values()]
    told = [inspect.getsource(row.func), arguments, defaults, result["seeds"], result["versions"]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def write(result: dict, file: Path) -> None:
    """The file is whole at any moment, also when this is stopped in the middle."""
    half = file.with_suffix(f".{os.getpid()}.part")
    half.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    os.replace(half, file)


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
    if tuple(arguments[:2]) in known and len(arguments) <= 3:
        print(table(make(*arguments)))
        return 0
    if len(arguments) == 1 and arguments[0] in dict(known):
        print(table(make_missing(*arguments)))
        return 0
    print("usage: python tools/sweep.py PAGE [NAME [END]], where PAGE and NAME are one of")
    for page, name in known:
        lines = sweeps(page)[name].__doc__.split("\n\n")
        print(f"  {page} {name:<20}{' '.join(lines[-1].split())}")
    return 0 if not arguments else 2


if __name__ == "__main__":
    sys.exit(main())
