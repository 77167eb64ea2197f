"""Nothing that is read from a file is executed, and a damaged file is named."""

import ast
import json
from pathlib import Path

import pytest

from course_utils import rooms
from course_utils.rooms import stored
from course_utils.runtime import ROOT

# what runs, or may run, code that a file holds
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NEVER = {
    "read_pickle",
    "load_state_dict_from_url",
    "get_state_dict",
    "load_url",
    "unsafe_load",
    "full_load",
}


def dotted(node) -> str:
    """The name that is called: "torch.load" of `torch.load(...)`."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def option(call, name):
    """The constant that a call gives to a named option, None if it gives none."""
    for given in call.keywords:
        if given.arg == name:
            return ast.literal_eval(given.value) if isinstance(given.value, ast.Constant) else "?"
    return None


def unsafe(source: str) -> list[str]:
    """The lines of a program that may execute what a file holds, each with its reason."""
    found, loads = [], {"torch.load": "torch.load", "torch.hub.load": "torch.hub.load"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in ("torch", "torch.hub"):
            for alias in node.names:
                loads[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        for name in modules:
            if name.split(".")[0] in UNPICKLERS:
                found.append(f"{node.lineno}: {name} is imported")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        what = loads.get(name, name)
        if what == "torch.load" and option(node, "weights_only") is not True:
            found.append(f"{node.lineno}: torch.load without weights_only=True")
        if what == "torch.hub.load" or what.split(".")[-1] in NEVER:
            found.append(f"{node.lineno}: {what}")
        if option(node, "allow_pickle") not in (None, False):
            found.append(f"{node.lineno}: allow_pickle")
        if option(node, "trust_remote_code") not in (None, False):
            found.append(f"{node.lineno}: trust_remote_code")
    return found


def programs() -> list[Path]:
    """All that the course runs: package, tools, and what the rooms of the pages hold."""
    folders = [ROOT / name for name in ("course_utils", "tools", "notebooks/source")]
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def test_no_program_of_the_course_executes_what_it_loads():
    paths = programs()
    assert len(paths) > 60 and any(path.name == "page.py" for path in paths)
    found = {
        path.relative_to(ROOT).as_posix(): lines
        for path in paths
        if (lines := unsafe(path.read_text(encoding="utf-8")))
    }
    # grading reads another process's outcomes by an unpickler that knows no class but its own
    reader = found.pop("course_utils/exercises/alone.py")
    assert all("is imported" in line for line in reader)
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import joblib.numpy_pickle",
        "from pickle import loads",
        "import torch\ntorch.load('a')",
        "import torch\ntorch.load('a', weights_only=False)",
        "import torch\ntorch.load('a', weights_only=choice)",
        "from torch import load as read\nread('a')",
        "import torch\ntorch.hub.load('a', 'b')",
        "torch.hub.load_state_dict_from_url('a')",
        "weights.get_state_dict(progress=False)",
        "np.load('a', allow_pickle=True)",
        "pd.read_pickle('a')",
        "AutoModel.from_pretrained('a', trust_remote_code=True)",
    ],
)
def test_an_unsafe_line_is_found(line):
    assert len(unsafe(line)) == 1


def test_safe_lines_are_left_alone():
    safe = "torch.load('a', weights_only=True)\nnp.load('a')\njson.load(file)\nload('10', 'sweeps')"
    assert unsafe(safe) == []


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is no JSON"),
        (b'{"rows": {"a": ', "is no JSON"),
        (b"<!doctype html>", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"{}", 'expected {"rows"'),
        (b"[]", 'expected {"rows"'),
        (b'"rows"', 'expected {"rows"'),
        (b'{"rows": null}', 'expected {"rows"'),
        (b'{"rows": {"a": 3}}', 'expected {"rows"'),
    ],
)
def test_a_damaged_stored_result_is_named(content, words, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "ROOMS", tmp_path)
    file = tmp_path / "40_first" / "results" / "fits.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"rows": {"a": {"accuracy": [1 / 3]}}}))
    assert stored("40", "fits") == {"a": {"accuracy": [1 / 3]}}
    file.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        stored("40", "fits")
    assert str(caught.value).startswith(f"{file} is damaged: ") and words in str(caught.value)
    assert f"git checkout {file}" in str(caught.value)
