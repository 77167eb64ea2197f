"""The stored comparisons: each room's list, how they are made, and what is printed of them."""

import json
import sys
from pathlib import Path

import pytest

from course_utils import rooms

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import sweep

KNOWN = [(page, name) for page in rooms.rooms() for name in sweep.sweeps(page)]


def test_every_stored_result_has_the_comparison_that_made_it():
    files = (ROOT / "notebooks" / "source").glob("*/results/*.json")
    stored = {(path.parts[-3][:2], path.stem) for path in files}
    assert stored == set(KNOWN)


@pytest.mark.parametrize("page, name", KNOWN)
def test_a_result_says_how_it_was_made(page, name):
    path = rooms.room(page, "results", f"{name}.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["command"] == f"python tools/sweep.py {page} {name}"
    assert result["seeds"] == sweep.seeds(page, name) and len(result["seeds"]) >= 5
    assert result["versions"]["torch"] and result["rows"]


@pytest.mark.parametrize("page, name", KNOWN)
def test_a_comparison_says_how_long_it_takes(page, name):
    assert "About" in sweep.sweeps(page)[name].__doc__


PAGE = """# %% [markdown]
# # One
# %%
raise ValueError("not measured")
# %% tags=["measured"]
def double(x):
    return 2 * x
"""
SWEEPS = '''SEEDS = range(5)


def doubled(page):
    """Twice.

    About a second.
    """
    return {"twice": {"accuracy": [page["double"](seed) / 10 for seed in SEEDS]}}


def others(page, seeds=range(5, 15)):
    """About a second."""
    return {"once": {"accuracy": [seed / 100 for seed in seeds]}}


SWEEPS = [doubled, others]
'''


@pytest.fixture
def one_room(tmp_path, monkeypatch):
    folder = tmp_path / "44_sweep_test"
    folder.mkdir()
    (folder / "page.py").write_text(PAGE, encoding="utf-8")
    (folder / "sweeps.py").write_text(SWEEPS, encoding="utf-8")
    monkeypatch.setattr(rooms, "ROOMS", tmp_path)
    yield folder
    sys.modules.pop("course_rooms.44_sweep_test.sweeps", None)


def test_what_is_measured_is_what_the_page_teaches(one_room, capsys):
    assert sweep.main(["44", "doubled"]) == 0
    assert capsys.readouterr().out == "| twice | 40.0 ± 39.3 |\n"  # t = 2.776, s = 31.62, n = 5
    result = json.loads((one_room / "results" / "doubled.json").read_text(encoding="utf-8"))
    assert result["rows"] == {"twice": {"accuracy": [0.0, 0.2, 0.4, 0.6, 0.8]}}
    assert result["seeds"] == [0, 1, 2, 3, 4]
    assert rooms.stored("44", "doubled") == result["rows"]


def test_seeds_of_its_own_stand_in_the_result(one_room):
    assert sweep.main(["44", "others"]) == 0
    result = json.loads((one_room / "results" / "others.json").read_text(encoding="utf-8"))
    assert result["seeds"] == list(range(5, 15))
    assert result["rows"] == {"once": {"accuracy": [seed / 100 for seed in range(5, 15)]}}


def test_without_a_name_it_lists_what_there_is(one_room, capsys):
    assert sweep.main([]) == 0
    assert "  44 doubled             About a second.\n" in capsys.readouterr().out
    assert sweep.main(["44", "tripled"]) == 2


def test_more_numbers_than_seeds_are_shown_by_their_range():
    assert sweep.shown([0.1] * 20 + [0.4] * 10) == "20.0 (10 to 40)"


# ---- long ones, row by row ----

BY_ROW = '''from functools import partial

SEEDS = range(5)
made = []


def one(name, grid=(1, 2), stop=False):
    made.append(name)
    if stop:
        raise KeyboardInterrupt
    return {"accuracy": [grid[0] / 10] * 5}


def rows(page):
    """About a second."""
    return {f"{world}: {name}": partial(one, f"{world}: {name}")
            for world in ("xor", "and") for name in ("sum", "max")}


SWEEPS = [rows]
'''


@pytest.fixture
def by_row(one_room):
    (one_room / "sweeps.py").write_text(BY_ROW, encoding="utf-8")
    yield one_room


def stored_rows(folder):
    return json.loads((folder / "results" / "rows.json").read_text(encoding="utf-8"))["rows"]


def again(folder, *changes):
    """The room as another process finds it, with lines of its sweeps changed; what it made."""
    code = (folder / "sweeps.py").read_text(encoding="utf-8")
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    (folder / "sweeps.py").write_text(code, encoding="utf-8")
    sys.modules.pop("course_rooms.44_sweep_test.sweeps", None)
    return rooms.load("44", "sweeps").made


def test_a_sweep_that_was_stopped_goes_on_where_it_was(by_row, monkeypatch):
    module = rooms.load("44", "sweeps")
    plan = module.rows(None)

    def stopped(page):
        """About a second."""
        return plan | {"and: sum": sweep.partial(module.one, "and: sum", stop=True)}

    stopped.__name__ = "rows"
    monkeypatch.setattr(module, "SWEEPS", [stopped])
    with pytest.raises(KeyboardInterrupt):
        sweep.main(["44", "rows"])
    assert list(stored_rows(by_row)) == ["xor: sum", "xor: max"]
    made = again(by_row)
    assert sweep.main(["44", "rows"]) == 0
    assert made == ["and: sum", "and: max"]  # and not those that were there
    assert list(stored_rows(by_row)) == ["xor: sum", "xor: max", "and: sum", "and: max"]
    assert sweep.main(["44", "rows"]) == 0 and len(made) == 2
    assert not list((by_row / "results").glob("*.part"))


def test_all_of_a_page_that_is_not_stored_yet(by_row, capsys):
    whole = """def whole(page):
    \"\"\"About a second.\"\"\"
    made.append("whole")
    return {"all": {"accuracy": [0.3] * 5}}


SWEEPS = [whole, rows]"""
    made = again(by_row, ("SWEEPS = [rows]", whole))
    assert sweep.main(["44", "rows", "max"]) == 0
    capsys.readouterr()
    assert sweep.main(["44"]) == 0
    assert made == ["xor: max", "and: max", "whole", "xor: sum", "and: sum"]
    told = capsys.readouterr().out
    assert "| whole: all | 30.0 ± 0.0 |" in told and told.count("| 10.0 ± 0.0 |") == 4
    assert sweep.main(["44"]) == 0 and len(made) == 5
    assert sweep.main(["45"]) == 2


def test_one_strategy_alone(by_row, capsys):
    made = again(by_row)
    assert sweep.main(["44", "rows", "max"]) == 0
    assert made == ["xor: max", "and: max"]
    assert capsys.readouterr().out.count("| 10.0 ± 0.0 |") == 2
    assert sweep.main(["44", "rows"]) == 0
    assert list(stored_rows(by_row)) == ["xor: sum", "xor: max", "and: sum", "and: max"]
    result = json.loads((by_row / "results" / "rows.json").read_text(encoding="utf-8"))
    assert result["command"] == "python tools/sweep.py 44 rows"
    with pytest.raises(SystemExit, match="no row ends with 'min'"):
        sweep.main(["44", "rows", "min"])


def test_two_runs_at_a_time_lose_nothing_of_each_other(by_row, monkeypatch):
    module = rooms.load("44", "sweeps")
    plan = module.rows(None)

    def beside():
        # another process, while this one makes its row
        monkeypatch.setattr(module, "SWEEPS", [module.rows])
        assert sweep.main(["44", "rows", "max"]) == 0
        return module.one("xor: sum")

    def rows(page):
        """About a second."""
        return plan | {"xor: sum": sweep.partial(beside)}

    monkeypatch.setattr(module, "SWEEPS", [rows])
    assert sweep.main(["44", "rows", "xor: sum"]) == 0
    assert list(stored_rows(by_row)) == ["xor: sum", "xor: max", "and: max"]
    assert module.made == ["xor: max", "and: max", "xor: sum"]


@pytest.mark.parametrize(
    "line, other",
    [
        ("grid=(1, 2)", "grid=(3, 2)"),  # the grid
        ("[grid[0] / 10] * 5", "[grid[1] / 10] * 5"),  # the code
        ("range(5)", "range(5, 10)"),  # the seeds
        ('partial(one, f"{world}: {name}")', 'partial(one, f"{world}: {name}", (1, 2))'),
    ],
)
def test_rows_of_other_settings_are_not_mixed_in_silence(by_row, line, other):
    again(by_row)
    assert sweep.main(["44", "rows", "max"]) == 0
    before = stored_rows(by_row)
    made = again(by_row, (line, other))
    with pytest.raises(SystemExit, match="were made by other code, settings or versions"):
        sweep.main(["44", "rows"])
    assert made == [] and stored_rows(by_row) == before


def test_rows_of_other_versions_are_not_mixed_in_silence(by_row, monkeypatch):
    again(by_row)
    assert sweep.main(["44", "rows", "sum"]) == 0
    monkeypatch.setattr(sweep, "version", lambda package: "0.0.1")
    with pytest.raises(SystemExit, match="other code, settings or versions"):
        sweep.main(["44", "rows"])


def test_a_comparison_made_as_a_whole_has_no_rows_of_its_own(one_room):
    with pytest.raises(SystemExit, match="made as a whole"):
        sweep.main(["44", "doubled", "twice"])
    assert not (one_room / "results" / "doubled.json").exists()
