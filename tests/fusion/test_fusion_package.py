"""Importing one name brings its own module and no other, and every name is found."""

import subprocess
import sys

import pytest

from course_utils import fusion
from course_utils.runtime import ROOT

# What a line adds to the modules that the lines before it have brought, in one process.
ADDS = {
    "import course_utils.fusion": [],
    "from course_utils.fusion import Fusion": ["base"],
    "from course_utils.fusion import ModalityDropout": ["dropout"],
    "from course_utils.fusion import ConcatFusion": ["concat"],
    "from course_utils.fusion import TensorFusion": ["multiplicative"],
    "from course_utils.fusion import describe": [
        *("additive", "attention", "gated", "glued", "late", "low_rank", "pooling"),
        "strategies",
    ],
}


def test_a_name_brings_its_own_module_and_what_that_needs():
    shown = "print(*(n for n in sys.modules if n.startswith('course_utils.fusion.')))"
    code = "import sys\n" + "".join(f"{line}\n{shown}\n" for line in ADDS)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before = set()
    for (line, modules), after in zip(ADDS.items(), done.stdout.splitlines(), strict=True):
        after = {name.split(".")[2] for name in after.split()}
        assert sorted(after - before) == modules, line
        before = after


def test_every_strategy_can_be_imported_by_its_name():
    for cls in fusion.STRATEGIES.values():
        assert getattr(fusion, cls.__name__) is cls


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="course_utils.fusion' has no attribute 'FooFusion'"):
        fusion.FooFusion  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'masked_mean'"):
        from course_utils.fusion import masked_mean  # noqa: F401
