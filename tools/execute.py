"""The builder's execution part: run a notebook's cells in a fresh kernel and bring what they print
into one form.

Outputs come from this file and the pinned versions alone, so a change here makes every page stale.
"""

import atexit
import copy
import os
import re
import tempfile
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell
from pages import WIDGET

CELL_TIMEOUT = 300  # seconds
ENVIRONMENT = {
    "COURSE_STRICT": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
UNSET = ("COURSE_ADDRESS", "MPLBACKEND", "NBGRADER_EXECUTION")
READ_FROM = ("data/", "notebooks/source/")  # where the course's own files lie


class ExecutionError(Exception):
    """A cell that raised, ran too long or ended its kernel, or a kernel that never started; the
    message says which.
    """


# A number outside its band stops no reader who runs a cell again, and so not this pass.
SECOND_PASS = 'import os\nos.environ["COURSE_STRICT"] = "0"'


def execute(root, name, nb):
    """Run all cells of the notebook of room `name`, untouched by the user's own settings.

    Each cell is then run once more, the last one first, so that each meets the names as the page
    left them: a reader goes back and runs a cell again. What that gives is not kept.

    Returns the course's files and folders that the cells read, relative to `root`, sorted. Raises
    ExecutionError.
    """
    now, cells = {}, nb.cells
    back = [copy.deepcopy(cell) for cell in reversed(cells) if cell.cell_type == "code"]
    nb.cells = [*cells, new_code_cell(SECOND_PASS), *back]

    def started(cell, cell_index):
        now["id"] = cell.id + (", run again after the page," if cell_index >= len(cells) else "")

    with tempfile.TemporaryDirectory() as home:
        env = {key: value for key, value in os.environ.items() if key not in UNSET}
        # an empty store, so that what a page shows of public data does not depend on what this
        # machine has
        env |= ENVIRONMENT | {
            "COURSE_HOME": home,
            "COURSE_DATA": str(Path(home, "data")),
            "COURSE_READS": str(Path(home, "reads.txt")),
            "IPYTHONDIR": str(Path(home, "ipython")),
        }
        # without folders to look in, the manager knows one kernel: the running interpreter's
        manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        client = NotebookClient(
            nb,
            km=manager,
            timeout=CELL_TIMEOUT,
            record_timing=False,
            store_widget_state=False,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": root / "notebooks"}},
            on_cell_start=started,
        )
        try:
            # cleanup_kc, or a kernel that was handed in is left running
            client.execute(env=env, cleanup_kc=True)
        except CellTimeoutError:
            raise ExecutionError(
                f"{name}: cell {now['id']}: ran longer than {CELL_TIMEOUT} s"
            ) from None
        except DeadKernelError:
            raise ExecutionError(f"{name}: cell {now['id']}: the kernel died (memory?)") from None
        except CellExecutionError as error:
            trace = re.sub(r"\x1b\[[\d;]*m", "", error.traceback).strip().splitlines()[-12:]
            raise ExecutionError(
                "\n  ".join([f"{name}: cell {now['id']} raised", *trace])
            ) from None
        except (RuntimeError, OSError, NoSuchKernel) as error:
            if "id" in now:  # a cell has begun, and so this is something else
                raise
            atexit.unregister(client._cleanup_kernel)  # nbclient leaves it, and it would fail
            raise ExecutionError(f"{name}: the kernel did not start ({error})") from None
        finally:
            nb.cells = cells
        return files_read(root, Path(home, "reads.txt"))


def files_read(root, notes):
    """What stands in the file of notes that `course_utils.runtime.reads` writes."""
    if not notes.is_file():
        return []
    found = set()
    for line in notes.read_text(encoding="utf-8").splitlines():
        path = Path(line)
        if path.is_relative_to(root):
            name = path.relative_to(root).as_posix()
            if name.startswith(READ_FROM):
                found.add(name)
    return sorted(found)


def normalise(nb):
    """What differs between two runs of one notebook goes; what should not be there stays, to be
    refused.
    """
    count = 0
    nb.metadata.pop("widgets", None)
    nb.metadata.language_info = {"name": "python"}
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        count += 1
        cell.execution_count, cell.outputs = count, normalise_outputs(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count


def normalise_outputs(outputs):
    """Join a stream's pieces, apply carriage returns as nbval does, drop live widgets (their ids
    are random).
    """
    result = []
    for output in outputs:
        data = output.get("data", {})
        if data.pop(WIDGET, None) and not data:
            continue
        stream = output.output_type == "stream"
        if stream and result and result[-1].get("name") == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    for output in result:
        if output.output_type == "stream":
            output.text = re.sub(r"^.*\r(?=[^\n])", "", output.text, flags=re.M)
    return result
