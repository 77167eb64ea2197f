"""Run the course without a browser and say what each notebook costs.

    python tools/run_notebooks.py            every notebook
    python tools/run_notebooks.py 00 07      these two

Each notebook runs in a kernel of its own and is never written back. A notebook that fails
is reported, and the next one runs; the exit code is then 1.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError
from tqdm import tqdm

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"

# Runs in the kernel after the last cell. Imports inside the call keep the names that a
# notebook has given away (`print`, `sys`) out of it.
PEAK_MB = """
def _peak_mb():
    import sys
    if sys.platform == "win32":
        import psutil
        return psutil.Process().memory_info().peak_wset / 1e6
    import resource
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, else KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
_peak_mb()
"""


@dataclass
class Run:
    """What happened to one notebook; `problem` is None when every cell ran."""

    name: str
    seconds: float
    peak_mb: float | None
    problem: str | None


def last_line(error):
    """The error's name and the last line of its message, from a kernel's reply."""
    lines = error["evalue"].strip().splitlines()
    return f"{error['ename']}: {lines[-1]}" if lines else error["ename"]


def run_notebook(path, timeout):
    """Execute one notebook in a fresh kernel, with a progress bar over its code cells."""
    start = time.perf_counter()
    peak_mb = problem = None
    try:
        notebook = nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError):
        return Run(path.stem, 0.0, None, "the file is not a notebook")

    errors = []

    def note_error(cell, cell_index, execute_reply):
        if "raises-exception" not in cell.metadata.get("tags", []):
            errors.append(execute_reply["content"])

    measure = nbformat.v4.new_code_cell(PEAK_MB)
    notebook.cells.append(measure)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        # Otherwise a kernel drops what arrives right after an error: the measuring cell.
        allow_errors=True,
        on_cell_error=note_error,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    code = [i for i, cell in enumerate(notebook.cells[:-1]) if cell.cell_type == "code"]
    number = 0
    # What a kernel writes past its cells (a notice about its transport, a crash) would cut
    # the bar in two; it is shown when the kernel dies.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as kernel_log:
        try:
            with (
                client.setup_kernel(stderr=kernel_log),
                tqdm(code, desc=path.stem, unit="cell") as bar,
            ):
                for number, index in enumerate(bar, start=1):
                    client.execute_cell(notebook.cells[index], index)
                    if errors:
                        problem = f"code cell {number}: {last_line(errors[0])}"
                        break
                client.execute_cell(measure, len(notebook.cells) - 1)
                # none: the notebook stopped what cells show, or broke what measures
                shown = [out for out in measure.outputs if out.output_type == "execute_result"]
                if shown:
                    peak_mb = float(shown[0].data["text/plain"])
        except CellTimeoutError:
            problem = f"code cell {number}: took longer than {timeout} seconds"
        except (RuntimeError, OSError, NoSuchKernel) as error:
            # a dead kernel is a RuntimeError, and so is one that does not answer at the start
            problem = f"code cell {number}: the kernel died (often: out of memory)"
            if number == 0:
                problem = f"the kernel did not start ({error})"
            kernel_log.seek(0)
            print(kernel_log.read(), file=sys.stderr)
    return Run(path.stem, time.perf_counter() - start, peak_mb, problem)


def table(runs):
    """The results as text: notebook, seconds, peak MB; last the sum of seconds and the highest
    peak.
    """
    peaks = [run.peak_mb for run in runs if run.peak_mb is not None]
    rows = [(run.name, run.seconds, run.peak_mb, "  FAILED" if run.problem else "") for run in runs]
    rows.append(("total", sum(run.seconds for run in runs), max(peaks, default=None), ""))
    width = max(len("notebook"), *(len(row[0]) for row in rows))
    lines = [f"{'notebook':<{width}}  seconds  peak MB"]
    for name, seconds, peak_mb, mark in rows:
        peak = "-" if peak_mb is None else f"{peak_mb:.0f}"
        lines.append(f"{name:<{width}}  {seconds:7.1f}  {peak:>7}{mark}")
    return "\n".join(lines)


def chosen(folder, numbers):
    """The notebooks with these numbers, in order; all of them when none is named."""
    paths = sorted(folder.glob("*.ipynb"))
    if not paths:
        sys.exit(f"There are no notebooks in {folder}.")
    wanted = [number.zfill(2) for number in numbers]
    for number in wanted:
        if not any(path.name.startswith(f"{number}_") for path in paths):
            sys.exit(
                f"There is no notebook {number}; there are: "
                + ", ".join(path.stem for path in paths)
            )
    return [path for path in paths if not wanted or path.name.split("_")[0] in wanted]


def main(arguments=None):
    """Run what the command line names and print the table; gives the exit code."""
    parser = argparse.ArgumentParser(description="Run notebooks and show seconds and peak memory.")
    parser.add_argument(
        "numbers", nargs="*", metavar="NN", help="notebooks to run, such as 07 (default: all)"
    )
    parser.add_argument("--folder", type=Path, default=NOTEBOOKS, help="where the notebooks are")
    parser.add_argument("--timeout", type=int, default=300, help="seconds that a cell may take")
    options = parser.parse_args(arguments)
    paths = chosen(options.folder.resolve(), options.numbers)

    # An exported backend (often Agg) keeps a kernel from showing its figures.
    os.environ.pop("MPLBACKEND", None)
    runs = []
    with tempfile.TemporaryDirectory(prefix="course-home-") as home:
        try:
            for path in paths:
                # A reader's own guesses and model card stay as they are.
                os.environ["COURSE_HOME"] = os.path.join(home, path.stem)
                os.mkdir(os.environ["COURSE_HOME"])
                runs.append(run_notebook(path, options.timeout))
                if runs[-1].problem:
                    print(f"{path.stem} failed, {runs[-1].problem}", flush=True)
        except KeyboardInterrupt:
            print("\nStopped.")
            if not runs:
                return 130
    print("\n" + table(runs))
    return 1 if any(run.problem for run in runs) or len(runs) < len(paths) else 0


if __name__ == "__main__":
    sys.exit(main())
