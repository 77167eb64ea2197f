"""The teacher's sheets and plans: all that the pages hold stands there once, and times add up."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import minutes
import pages
import teacher

from course_utils import rooms

ROOMS = pages.sources(ROOT)
each_page = pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)


@pytest.fixture(scope="module")
def course():
    """All pages of the course, by number."""
    return {room.name[:2]: teacher.read(ROOT, room) for room in ROOMS}


@pytest.fixture(scope="module")
def sheets(course):
    """The text of each page's sheet."""
    settled = {key: one for page in course.values() for key, one in page.results.items()}
    return {number: teacher.sheet(page, settled) for number, page in course.items()}


# ---- the course's own sheets, beside the sources read in another way ----


def source_of(room):
    """The author's file, prose without the marks of a comment."""
    return (room / "page.py").read_text(encoding="utf-8")


def prose_of(room):
    return re.sub(r"^# ?", "", source_of(room), flags=re.M)


def part(sheet, heading):
    """A sheet's part of that heading."""
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", sheet, re.M | re.S)[1]


@each_page
def test_every_section_stands_once_and_the_minutes_are_those_of_the_title(room, sheets):
    rows = re.findall(r"^\| (.+) \| (\d+) \| .*\|$", part(sheets[room.name[:2]], "Minutes"), re.M)
    *rows, (together, total) = rows
    headings = re.findall(r"^# ## (.+)$", source_of(room), re.M)
    assert [name for name, _ in rows] == ["Opening", *headings] and together == "together"
    assert sum(int(number) for _, number in rows) == int(total)
    assert total == re.findall(r"\d+", pages.minutes(ROOT, room))[-1]  # with all that is More


@each_page
def test_every_guess_stands_once_with_its_question_and_its_result(room, sheets):
    written = part(sheets[room.name[:2]], "Guesses")
    keys = re.findall(r'^guess\("(\d\d\.\w)"', source_of(room), re.M)
    assert re.findall(r"^### Guess (.+)$", written, re.M) == keys and keys
    assert written.count("**Result:**") == len(keys)
    assert not re.search("in place of *\n?(> )?`None`", written)
    everywhere = "".join(source_of(other) for other in ROOMS)
    for key, told in zip(keys, re.split(r"^### Guess .+$", written, flags=re.M)[1:]):
        asked = re.findall(r"^> (.+)$", told, re.M)
        assert asked and all(line in prose_of(room) for line in asked[:-2])
        literal = re.search(rf'^outcome\("{key}", ("\w[\w-]*"|[\d.]+)[,)]', everywhere, re.M)
        if literal:
            assert f"**Result:** {literal[1].strip(chr(34))}" in told
        elif f'outcome("{key}"' not in everywhere:
            assert "no page shows it yet" in told
        else:
            assert re.search(r"\*\*Result:\*\* -?[\d.]+", told)


@each_page
def test_a_result_names_the_page_and_the_section_that_show_it(room, course):
    for key, one in course[room.name[:2]].results.items():
        before = source_of(room).partition(f'outcome("{key}"')[0]
        assert one.section == re.findall(r"^# ## (.+)$", before, re.M)[-1]
        assert one.page == room.name[:2]


@each_page
def test_every_exercise_stands_once_with_its_points(room, sheets):
    written = part(sheets[room.name[:2]], "Exercises")
    cards = re.findall(
        r"Exercise (\d\d\.\d+) · (.+)\*\* — \*(\d+) minutes · (.+)\*$", source_of(room), re.M
    )
    worth = {"warm-up": "1 point", "core": "2 points", "stretch": "3 points"}
    found = re.findall(r"^### Exercise (\d\d\.\d+) · (.+)\n\n\*(.+)\*$", written, re.M)
    assert found == [
        (key, name, f"{least} minutes · {word} · {worth[word]}") for key, name, least, word in cards
    ]
    assert len(cards) == source_of(room).count('exercise="')


@each_page
def test_every_misconception_stands_once_under_its_exercise(room, sheets):
    written = part(sheets[room.name[:2]], "Exercises")
    texts = re.split(r"^### Exercise (\d\d\.\d+) .+$", written, flags=re.M)
    by_key = dict(zip(texts[1::2], texts[2::2]))
    checkers = rooms.load(room.name[:2], "exercises").EXERCISES
    assert {checker.key for checker in checkers} == by_key.keys()
    for checker in checkers:
        listed = re.findall(r"^- (.+)$", by_key[checker.key], re.M)
        assert sorted(listed) == sorted({idea.message for idea in checker.misconceptions})


@each_page
def test_every_question_stands_once_and_its_lines_are_the_whole_answer(room, sheets):
    written = part(sheets[room.name[:2]], "Answers in words")
    asked = re.findall(r"<summary>\d+\. (.+)</summary>\n((?:.*\n)+?)</details>", prose_of(room))
    assert re.findall(r"^> (.+)$", written, re.M) == [question for question, _ in asked]
    answers = re.split(r"^### Question \d+$", written, flags=re.M)[1:]
    assert len(answers) == len(asked) > 4
    for told, (_, answer) in zip(answers, asked):
        lines = re.findall(r"^- \[ \] (.+)$", told, re.M)
        assert " ".join(lines) == " ".join(answer.split())
        assert all(len(line.split()) > 2 for line in lines)


def test_a_guess_has_one_place_in_all_sheets(sheets):
    headings = re.findall(r"^### Guess (.+)$", "\n".join(sheets.values()), re.M)
    assert len(headings) == len(set(headings)) > 30


# ---- plans ----


def made_up(number, needs=(), long=90):
    room = Path(f"{number}_made_up")
    return teacher.Page(room, number, f"Page {number}", long, list(needs), [], [], {}, [], [])


def made_up_course(needs, long=90):
    return {number: made_up(number, after, long) for number, after in needs.items()}


# all pages of the course, with what each needs, as the pages that stand say and others will
WHOLE = {f"{number:02}": ("00",) for number in range(1, 36)} | {
    "00": (),
    "02": ("01",),
    "04": ("03",),
    "05": ("01", "03"),
    "09": ("00", "08"),
    "10": ("00", "01", "03"),
    "11": ("10",),
    "12": ("10", "11"),
    "13": ("10", "11"),
    "14": ("01",),
    "15": ("10", "14"),
    "16": ("02", "04"),
    "22": ("01", "03", "21"),
    "23": ("12", "13", "21"),
    "24": ("14", "16", "21"),
    "25": ("03", "14"),
    "26": ("10", "15"),
    "27": ("01", "05", "10"),
}


def assert_sound(plan, numbered, units):
    """As many days as promised, none too full, no page twice, none before what it needs."""
    assert len(units) == plan.units
    flat = [number for unit in units for number in unit]
    assert len(flat) == len(set(flat))
    for unit in units:
        assert sum(numbered[number].minutes for number in unit) <= plan.holds
    for place, number in enumerate(flat):
        needed = set(numbered[number].needs) & numbered.keys()
        assert needed <= set(flat[:place]), number


@pytest.mark.parametrize("plan", teacher.PLANS, ids=lambda plan: plan.title)
@pytest.mark.parametrize("long", [25, 60, 85, 90, 100])
def test_a_plan_holds_the_times_it_promises_however_long_the_pages_are(plan, long):
    numbered = made_up_course(WHOLE, long)
    units = teacher.filled(numbered, plan)
    assert_sound(plan, numbered, units)
    # nothing that is left would have fitted at the end
    chosen = {number for unit in units for number in unit}
    assert len(chosen) == min(36, plan.units * (plan.holds // long))


@pytest.mark.parametrize("plan", teacher.PLANS, ids=lambda plan: plan.title)
def test_a_plan_leads_to_its_pages_when_all_stand(plan):
    units = teacher.filled(made_up_course(WHOLE), plan)
    assert set(plan.door) <= {number for unit in units for number in unit}


def test_when_a_page_grows_the_plan_follows():
    plan = teacher.Plan("Two evenings", "evening", 2, 180, ("01",), "")
    numbered = made_up_course({"00": (), "01": ("00",), "02": ()})
    assert teacher.filled(numbered, plan) == [["00", "01"], ["02"]]
    numbered["01"] = made_up("01", ("00",), 95)
    assert teacher.filled(numbered, plan) == [["00"], ["01"]]
    numbered["02"] = made_up("02", (), 85)
    assert teacher.filled(numbered, plan) == [["00"], ["01", "02"]]
    numbered["00"] = made_up("00", (), 181)
    with pytest.raises(pages.BuildError, match="page 00 takes 181 minutes, and a plan holds 180"):
        teacher.filled(numbered, plan)


def test_a_page_that_does_not_fit_with_what_it_needs_leaves_its_place():
    plan = teacher.Plan("One day", "day", 1, 200, ("02",), "")
    numbered = made_up_course({"00": (), "01": ("00",), "02": ("01",), "03": ()})
    assert teacher.filled(numbered, plan) == [["00", "01"]]


def test_an_evening_begins_with_what_its_page_needs_as_far_as_it_holds():
    numbered = made_up_course(WHOLE, 90)
    assert teacher.evening(numbered, "00") == (["00"], [])
    assert teacher.evening(numbered, "01") == (["00", "01"], [])
    assert teacher.evening(numbered, "15") == (["14", "15"], ["00", "01", "03", "10"])
    assert teacher.evening(made_up_course(WHOLE, 60), "02") == (["00", "01", "02"], [])


def test_the_plans_of_the_course_say_what_they_hold(course):
    text = teacher.plans(ROOT, course)
    for plan in teacher.PLANS:
        written = part(text, plan.title)
        if not course.keys() & set(plan.door):
            assert f"waits for its pages: {', '.join(plan.door)}." in written
            continue
        units = re.findall(r"^### \w+ (\d+) · (\d+) of (\d+) minutes\n((?:.*\n)*?)(?=#|\Z)",
                           written + "\n", re.M)  # fmt: skip
        assert [int(place) for place, *_ in units] == list(range(1, plan.units + 1))
        flat = []
        for _, used, holds, listed in units:
            long = [int(number) for number in re.findall(r", (\d+) minutes$", listed, re.M)]
            assert sum(long) == int(used) <= int(holds) == plan.holds
            flat.append(re.findall(r"^- \[(\d\d) ", listed, re.M))
            assert ("Free:" in listed) == (not flat[-1])
        assert_sound(plan, course, flat)


def test_every_page_has_an_evening_that_holds_it(course):
    written = part(teacher.plans(ROOT, course), "Single evenings")
    rows = re.findall(r"^\| (\[.+) \| (\d+) \| (.*) \|$", written, re.M)
    ends = []
    for named, used, known in rows:
        numbers = re.findall(r"\[(\d\d) ", named)
        long = [int(number) for number in re.findall(r", (\d+) minutes", named)]
        assert sum(long) == int(used) <= teacher.EVENING
        assert long == [course[number].minutes for number in numbers]
        taught = set(numbers) | set(re.findall(r"\d\d", known))
        assert all(set(course[number].needs) <= taught for number in taught)
        ends.append(numbers[-1])
    assert ends == sorted(course)


# ---- the pieces ----


@pytest.mark.parametrize(
    "total, amounts, expected",
    [
        (90, [1, 1, 1], [30, 30, 30]),
        (10, [1, 1, 1], [4, 3, 3]),
        (5, [0.1, 0.1, 9], [0, 0, 5]),
        (7, [2.6, 2.6, 1.8], [3, 2, 2]),
        (5, [0, 0], [3, 2]),
        (5, [2], [5]),
    ],
)
def test_minutes_are_spread_in_whole_numbers(total, amounts, expected):
    assert teacher.spread(total, iter(amounts)) == expected


def test_a_cell_is_cut_at_each_heading_and_its_tags_count_once():
    text = "above\n## One\na\n### Deeper\n```\n## code\n```\n## Two\nb"
    cells = [
        new_code_cell("x = 1"),
        new_markdown_cell(text, metadata={"tags": ["derivation"]}),
        new_code_cell("y = 2"),
    ]
    parts = teacher.split(cells)
    assert [(heading, [cell.source for cell in inside]) for heading, inside in parts] == [
        ("Opening", ["x = 1", "above"]),
        ("One", ["## One\na\n### Deeper\n```\n## code\n```"]),
        ("Two", ["## Two\nb", "y = 2"]),
    ]
    assert sum(map(teacher.amount_of, parts)) == pytest.approx(minutes.amount(cells))
    assert cells[1].source == text and cells[1].metadata.tags == ["derivation"]


@pytest.mark.parametrize(
    "answer, expected",
    [
        ("One. Two words\nmore. `x` is 0.5 of it.", ["One. Two words more.", "`x` is 0.5 of it."]),
        ("No. It is a sum.", ["No. It is a sum."]),
        ("(Unless it is zero.) Then it is not.", ["(Unless it is zero.)", "Then it is not."]),
        ('He asks "is it so?" and goes on.', ['He asks "is it so?" and goes on.']),
        ("It adds up to 3. 12 is another.", ["It adds up to 3.", "12 is another."]),
        ("As a last word of it: yes. Or no.", ["As a last word of it: yes.", "Or no."]),
        ("Half.", ["Half."]),
        ("", []),
    ],
)
def test_an_answer_is_cut_into_its_sentences(answer, expected):
    assert teacher.statements(answer) == expected


@pytest.mark.parametrize(
    "line, expected",
    [
        ("*About 5 minutes. You need pages 10 and 14: sums; a mask.*", ["10", "14"]),
        ("*About 5 minutes. You need page 10: XOR; and the contracts of page 11.*", ["10", "11"]),
        ("*About 5 minutes. You need notebooks 01, 03 and 21.*", ["01", "03", "21"]),
        ("*About 5 minutes. You need Python, and 12 hours.*", []),
        ("no such line", []),
    ],
)
def test_what_a_page_needs_is_read_from_its_title_cell(tiny, line, expected):
    write(tiny, "notebooks/source/00_mini/page.py", MINI.replace(ABOUT, line))
    assert teacher.read(tiny, tiny / "notebooks/source/00_mini").needs == expected


# ---- a small course ----

ABOUT = "*About {minutes} minutes. You need nothing.*"
MINI = '''# %% [markdown]
# # A mini page?
#
# *About {minutes} minutes. You need nothing.*

# %% [markdown]
# ## A | b
#
# > **Exercise 00.1 · Twice** — *10 minutes · stretch*

# %% exercise="00.1"
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% [markdown] hints="00.1"
# <details><summary>A question that helps</summary>
#
# What is x + x?
#
# </details>
#
# ### How many?
#
# Which is it? In percent.

# %%
print("a cell between")
guess("00.a", None)

# %%
def never():
    guess("00.z", None)
outcome("00.a", 3, within=1)

# %% [markdown]
# It is three.
#
# More of it.
#
# ## Questions
#
# <details><summary>1. Why is it
# so?</summary>
#
# No. Because it is.
#
# </details>
#
# ## A bet for page 01
#
# Who wins? Put "Ada" or "Ben" in place of `None`.

# %%
guess("00.b", None)
'''
EXERCISES = """from course_utils.exercises import Exercise, ideas

def double(x):
    return x + x

EXERCISES = [Exercise(
    "00.1",
    double,
    lambda: [(1,)],
    (*ideas("it is left as it came.", lambda x: x, lambda x: +x),
     *ideas("one\\nless", lambda x: 0)),
)]
"""
NEXT = """# %% [markdown]
# # Next, without exercises?

# %% [markdown]
# ## The bet
#
# Now look.

# %%
outcome("00.b", "Ben")

# %% [markdown]
# ## Its end
"""


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def build(root, *texts):
    """Write both notebooks; their last cells that settle a guess show these texts."""
    for name, text in zip(("00_mini", "01_next"), texts):
        nb = pages.assemble(root, root / "notebooks/source" / name)
        cell = next(cell for cell in nb.cells if "outcome(" in cell.source)
        cell.outputs = [new_output("stream", text=text)]
        nbformat.write(nb, root / f"notebooks/{name}.ipynb")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A course of two built pages, one without exercises, guesses and questions."""
    write(tmp_path, "notebooks/source/00_mini/page.py", MINI)
    write(tmp_path, "notebooks/source/00_mini/exercises.py", EXERCISES)
    write(tmp_path, "notebooks/source/01_next/page.py", NEXT)
    write(tmp_path, "notebooks/source/map.toml", '["Part 0"]\n00 = "M"\n01 = "N"\n02 = "Later"\n')
    write(
        tmp_path, "pyproject.toml", '[project.urls]\nRepository = "https://github.com/some/one"\n'
    )
    monkeypatch.setattr(rooms, "ROOMS", tmp_path / "notebooks/source")
    build(
        tmp_path,
        "Guess 00.a: the result is 3, within 1. You made no guess.\n",
        "before\nGuess 00.b: the result is Ben. You made no guess.\n",
    )
    yield tmp_path
    sys.modules.pop("course_rooms.00_mini.exercises", None)


def sheet_of(root, name):
    return (root / f"teacher/{name}.md").read_text(encoding="utf-8")


def test_a_whole_sheet(tiny):
    assert teacher.write_all(tiny) == 0
    after = sheet_of(tiny, "00_mini").partition("| section | minutes | in it |\n")
    facts = "*20 minutes · 1 exercise · 3 points · 2 guesses*"
    assert after[0].startswith(
        f"# 00 · A mini page?\n\n{facts} · [the page](../notebooks/00_mini.ipynb)"
    )
    assert (tiny / "teacher/../notebooks/00_mini.ipynb").is_file()
    told = after[2].replace(teacher.TALK, "TALK").replace(teacher.SCALE, "SCALE")
    assert (
        told
        == """|---|---|---|
| Opening | 0 |  |
| A \\| b | 18 | guess 00.a, exercise 00.1, result of 00.a |
| Questions | 0 |  |
| A bet for page 01 | 2 | guess 00.b |
| together | 20 | |

## Guesses

TALK

### Guess 00.a

> Which is it? In percent.

**Result:** 3, within 1 (*A | b*).

It is three.

### Guess 00.b

> Who wins?

**Result:** Ben (page 01, *The bet*).

## Exercises

### Exercise 00.1 · Twice

*10 minutes · stretch · 3 points*

Wrong ideas that `check` knows, by the sentence that names each:

- it is left as it came.
- one less

## Answers in words

SCALE

### Question 1

> Why is it so?

- [ ] No. Because it is.
"""
    )


def test_a_page_without_exercises_guesses_and_questions_has_a_sheet(tiny):
    assert teacher.write_all(tiny) == 0
    text = sheet_of(tiny, "01_next")
    assert "*5 minutes · 0 exercises · 0 points · 0 guesses* · " in text
    for line in ("asks for no guess.", "has no exercise.", "has no questions."):
        assert f"This page {line}" in text
    assert "| The bet | " in text and "result of 00.b" in text


def test_a_page_that_is_not_built_has_a_sheet_without_results(tiny):
    for path in (tiny / "notebooks").glob("*.ipynb"):
        path.unlink()
    assert teacher.write_all(tiny) == 0
    assert sheet_of(tiny, "00_mini").count("**Result:** no page shows it yet.") == 2


def test_the_folder_links_each_sheet_and_is_the_same_bytes_twice(tiny, capsys):
    assert teacher.write_all(tiny) == 0
    assert capsys.readouterr().out == "teacher/: 2 sheets, plans.md; begin with README.md\n"
    first = {path.name: path.read_bytes() for path in (tiny / "teacher").iterdir()}
    assert sorted(first) == ["00_mini.md", "01_next.md", "README.md", "plans.md"]
    write(tiny, "teacher/notes.md", "mine")
    assert teacher.write_all(tiny) == 0
    again = {path.name: path.read_bytes() for path in (tiny / "teacher").iterdir()}
    assert again == first | {"notes.md": b"mine"}
    for name in ("README.md", "plans.md"):
        links = set(re.findall(r"\]\((.+?)\)", first[name].decode()))
        assert {"00_mini.md", "01_next.md"} <= links <= set(first)
    assert "| [00 · A mini page?](00_mini.md) | 20 | 1 | 3 | 2 | 1 |" in first["README.md"].decode()


@pytest.mark.parametrize(
    "name, old, new, error",
    [
        ("00_mini/page.py", "stretch", "hard", "00_mini/page.py:11: exercise 00.1: expected a car"),
        ("00_mini/exercises.py", '"00.1"', '"00.2"', "00_mini/exercises.py: no exercise 00.1"),
        ("map.toml", "01 =", "03 =", "map.toml: page 01 stands in no part"),
    ],
    ids=["card", "checker", "map"],
)
def test_what_an_author_has_to_mend_is_told_and_nothing_is_written(
    tiny, capsys, name, old, new, error
):
    text = (tiny / "notebooks/source" / name).read_text(encoding="utf-8")
    write(tiny, f"notebooks/source/{name}", text.replace(old, new))
    assert teacher.write_all(tiny) == 1
    assert error in capsys.readouterr().err and not (tiny / "teacher").exists()


def test_a_checker_without_its_file_is_told(tiny, capsys):
    (tiny / "notebooks/source/00_mini/exercises.py").unlink()
    assert teacher.write_all(tiny) == 1
    assert "00_mini/exercises.py: no exercise 00.1" in capsys.readouterr().err


def test_command_line(tiny):
    """As make calls it, in a fresh Python and from another folder."""
    for name in ("tools", "course_utils"):
        shutil.copytree(ROOT / name, tiny / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, str(tiny / "tools/teacher.py")]
    done = subprocess.run(command, cwd=tiny.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "- one less" in sheet_of(tiny, "00_mini")


def test_git_ignores_what_is_made_and_make_makes_it():
    assert "/teacher/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\nteacher: install\n\t@$(PY) tools/teacher.py\n" in makefile
