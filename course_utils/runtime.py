"""Where and how the course runs: seeds, the device, quiet libraries, the course's folders."""

import os
import random
from pathlib import Path

# Libraries read these when they are first imported, so they are set before that and never override
# the reader's own.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"


def seed_everything(seed: int = 0):
    """Seed Python's, NumPy's and PyTorch's generators (CPU and GPU) in one call.

    Returns a `torch.Generator` on the CPU with the same seed, for code that takes a generator of
    its own. Raises ValueError for a seed that is no whole number from 0 to 2**32 - 1.
    """
    import numpy as np
    import torch

    from course_utils.checks import check_whole

    check_whole(0, 2**32 - 1, seed=seed)

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def device():
    """The `torch.device` to compute on: a CUDA GPU where there is one, else the CPU.

    `COURSE_DEVICE` (for example "cpu") overrides the choice. Apple's MPS is never chosen by
    itself, because it has no float64 and the course checks its formulas in float64.
    """
    import torch

    return torch.device(
        os.environ.get("COURSE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    )


def strict() -> bool:
    """True where a number outside its band must stop the run: in the builder, the tests and CI
    (`COURSE_STRICT=1`).
    """
    return os.environ.get("COURSE_STRICT") == "1"


def reader_folder() -> Path:
    """The folder for the reader's own files (guesses, verdicts, model card), which may not be there
    yet: `$COURSE_HOME`, else notebooks/my_course, else, where the package runs without the course's
    repository, my_course in the working directory.
    """
    if named := os.environ.get("COURSE_HOME"):
        return Path(named)
    return (ROOT / "notebooks" if in_repository() else Path()) / "my_course"


def in_repository() -> bool:
    """Whether the package lies in the course's repository, and not alone as `pip install` leaves
    it.
    """
    return (ROOT / "notebooks" / "source").is_dir()


def reads(path: Path) -> Path:
    """Note that the page that is running reads this file or folder, and give it back.

    The builder asks for these notes by `COURSE_READS`, a file: a page is built again when what it
    read has changed. Every function of the package that opens data of the course calls this.
    Raises FileNotFoundError where the course's repository is not there.
    """
    if not in_repository():
        raise FileNotFoundError(
            f"{path.name} lies in the course's repository, and the installed package alone does not"
            " bring it; run this in a copy of the repository"
        )
    if notes := os.environ.get("COURSE_READS"):
        with open(notes, "a", encoding="utf-8") as file:
            file.write(f"{path}\n")
    return path
