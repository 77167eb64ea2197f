"""Rooms: a page's files are found by its number, and what is missing is said in one sentence."""

import json
import sys

import pytest

from course_utils import exercises, rooms
from course_utils.rooms import NoRoom, load, room, stored
from course_utils.runtime import ROOT


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A course with two pages; modules that it loads are forgotten afterwards."""
    for name in ("40_first_test_page", "41_second_test_page"):
        (tmp_path / name / "results").mkdir(parents=True)
    monkeypatch.setattr(rooms, "ROOMS", tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("course_rooms."):
            del sys.modules[name]


@pytest.fixture
def first(house):
    return house / "40_first_test_page"


# ---- which rooms there are ----


def test_rooms_are_found_by_the_number_that_their_name_begins_with(house):
    (house / "README.md").write_text("not a room")
    (house / "42_a_file.py").write_text("")
    (house / "x").mkdir()
    names = {number: path.name for number, path in rooms.rooms().items()}
    assert names == {"40": "40_first_test_page", "41": "41_second_test_page"}
    assert room("41") == house / "41_second_test_page"


def test_rooms_come_in_order(house):
    (house / "05_third").mkdir()
    assert list(rooms.rooms()) == ["05", "40", "41"]


def test_two_rooms_with_one_number_are_an_error_that_names_both(house):
    (house / "40_again").mkdir()
    with pytest.raises(ValueError, match="40_again and 40_first_test_page have the same number"):
        room("41")


def test_another_folder_can_be_named(house, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "77_there").mkdir()
    assert rooms.rooms(other) == {"77": other / "77_there"}


def test_the_rooms_are_those_of_the_running_package():
    assert rooms.ROOMS == ROOT / "notebooks" / "source"
    assert {"00", "10", "21"} <= set(rooms.rooms())


# ---- what is missing ----


def test_a_page_that_is_not_there(house):
    with pytest.raises(NoRoom, match="page 99: there is no such page; there are 40, 41$"):
        room("99")


@pytest.mark.parametrize("page", ["4", "401", "40.1", "40_first_test_page", "", 40, None])
def test_what_is_no_number_of_a_page(house, page):
    with pytest.raises(NoRoom) as error:
        room(page)
    assert str(error.value).endswith(f'such as "10"; got {page!r}')


@pytest.mark.parametrize("folder", ["", "missing"], ids=["empty", "no folder"])
def test_without_the_repository(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "ROOMS", tmp_path / folder)
    for ask in (room, lambda page: load(page, "exercises"), lambda page: stored(page, "x")):
        with pytest.raises(NoRoom, match="page 10: .*the installed package alone does not bring"):
            ask("10")
    assert rooms.rooms() == {}


def test_a_file_that_is_not_there(house):
    with pytest.raises(FileNotFoundError, match="page 40: its room has no results/x.json"):
        stored("40", "x")
    with pytest.raises(FileNotFoundError, match="page 40: its room has no sweeps.py"):
        load("40", "sweeps")


def test_a_room_without_exercises_has_none(house):
    assert exercises.keys("40") == []
    with pytest.raises(ValueError, match="no exercise '40.1': page 40 has none"):
        exercises.check("40.1", len)


def test_exercises_that_miss_a_file_are_not_taken_for_none(first):
    (first / "exercises.py").write_text("open('no such file')\nEXERCISES = []\n")
    with pytest.raises(FileNotFoundError, match="no such file"):
        exercises.keys("40")


# ---- modules ----


def test_a_module_is_loaded_once(first):
    (first / "answers.py").write_text("RIGHT = {}\n")
    module = load("40", "answers")
    assert load("40", "answers") is module and module.RIGHT == {}
    assert module.__file__ == str(first / "answers.py")


def test_files_of_one_name_are_different_modules(house):
    for path in rooms.rooms().values():
        (path / "answers.py").write_text(f"NAME = {path.name!r}\n")
    assert load("40", "answers").NAME == "40_first_test_page"
    assert load("41", "answers").NAME == "41_second_test_page"


@pytest.mark.parametrize("line", ["1 / 0", "raise KeyboardInterrupt", "def f(:"])
def test_half_a_module_is_not_kept(first, line):
    file = first / "answers.py"
    file.write_text(f"RIGHT = {{}}\n{line}\nWRONG = {{}}\n")
    with pytest.raises((ZeroDivisionError, KeyboardInterrupt, SyntaxError)):
        load("40", "answers")
    file.write_text("RIGHT = {}\nWRONG = {'now': 'it is whole'}\n")
    assert load("40", "answers").WRONG


def test_a_module_may_define_what_has_to_find_its_module_again(first):
    """`dataclass` and pickle look a class's module up by its name."""
    (first / "sweeps.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n\n\n"
        "@dataclass\nclass Row:\n    seeds: list[int]\n"
    )
    assert load("40", "sweeps").Row([1]).seeds == [1]


# ---- stored comparisons, and the notes of what a page reads ----


def test_stored_gives_the_rows(first):
    rows = {"text": {"accuracy": [0.5, 0.75]}, "größer": {}}
    content = json.dumps({"seeds": [0, 1], "rows": rows}, ensure_ascii=False)
    (first / "results" / "fits.json").write_text(content, encoding="utf-8")
    assert stored("40", "fits") == rows


def test_what_is_read_is_noted(first, tmp_path, monkeypatch):
    (first / "results" / "fits.json").write_text('{"rows": {}}')
    (first / "sentences").mkdir()
    (first / "sentences" / "one.txt").write_text("A sentence.")
    (first / "answers.py").write_text("")
    notes = tmp_path / "notes"
    monkeypatch.setenv("COURSE_READS", str(notes))
    room("40")
    assert not notes.exists()  # a room's place alone is nothing that changes a page
    stored("40", "fits")
    room("40", "sentences", "one.txt")
    load("40", "answers")
    expected = ["results/fits.json", "sentences/one.txt", "answers.py"]
    assert notes.read_text().splitlines() == [str(first / name) for name in expected]
