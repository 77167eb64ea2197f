"""What a teacher takes into class, made from the pages: a sheet for each, and plans.

    python tools/teacher.py      or: make teacher

Writes teacher/: NN_name.md for each page, with its minutes section by section, its guesses with
their results, its exercises with points and the wrong ideas that their checkers name, and a rubric
for its questions; plans.md, for three days, ten weeks and single evenings; README.md, which lists
them. notebooks/TEACHING.md says how a class uses them.

Nothing is executed. Texts come from the sources, results from the outputs of the built notebooks,
and a plan is filled by the pages' own minutes, so that it follows when a page grows.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import classroom
import nbformat
from cells import certain_calls, text_of
from minutes import amount, estimate
from pages import PROMISED, ROOT, BuildError, assemble, built, needed, sources, title_of

sys.path.insert(0, str(ROOT))
from course_utils.rooms import load  # noqa: E402  (after the path)

# ---- plans: what a day, a week, an evening holds, and which pages come first ----

DAY, WEEK, EVENING = 360, 180, 180  # minutes of pages, without breaks
SHORT_WAY = ("00", "01", "03", "10", "14", "15", "16", "25", "28", "35")
GRADIENT = ("21", "22", "23", "24")
SYSTEMS = ("25", "26", "27", "28", "29")


class Plan(NamedTuple):
    title: str
    unit: str  # "day" or "week"
    units: int
    holds: int  # minutes in each
    door: tuple[str, ...]  # the pages that it is for; then the short way, then all by number
    about: str


HOURS = "Six hours of work a day: from nine to five with a lunch and two breaks."
SESSIONS = "Two sessions of 90 minutes a week."
PLANS = (
    Plan("Three days", "day", 3, DAY, ("00", "21"), HOURS),
    Plan("Ten weeks, towards the gradient", "week", 10, WEEK, GRADIENT, SESSIONS),
    Plan("Ten weeks, towards whole systems", "week", 10, WEEK, SYSTEMS, SESSIONS),
)

# ---- what a page holds ----

CARD = re.compile(r"^> \*\*Exercise (\d\d\.\d+) · (.+)\*\* — \*(\d+) minutes · (.+)\*$", re.M)
QUESTION = re.compile(r"<details><summary>(\d+)\. (.*?)</summary>(.*?)</details>", re.S)
RESULT = re.compile(r"^Guess (\d\d\.\w+): the result is (.*)\. You made no guess\.$", re.M)
TYPE_IT = re.compile(r"\s+Put [^.]* in place of\s+`None`.*?\.(?=\s|$)", re.S)  # a class talks
SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[^a-z\s])|(?<=[.?!][)\"])\s+(?=[A-Z])")
OPENING = "Opening"


class Guess(NamedTuple):
    key: str
    section: str
    question: str


class Result(NamedTuple):
    page: str  # the number of the page that settles the guess
    section: str
    text: str
    words: str  # what that page says next


class Exercise(NamedTuple):
    key: str
    name: str
    section: str
    minutes: int
    difficulty: str
    points: int
    ideas: list[str]  # the sentences by which `check` names a wrong idea


class Page(NamedTuple):
    room: Path
    number: str
    title: str
    minutes: int
    needs: list[str]
    sections: list[tuple[str, int]]  # (heading, minutes)
    guesses: list[Guess]
    results: dict[str, Result]
    exercises: list[Exercise]
    questions: list[tuple[str, str]]  # (question, answer)


def read(root, room) -> Page:
    """A page from its source and, if it was built, from what its notebook shows."""
    cells = assemble(root, room).cells
    shown = outputs(root, room)
    parts = split(cells)
    promised = PROMISED.search(cells[0].source)
    minutes = int(promised[2] or promised[1]) if promised else estimate(cells)
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    return Page(
        room=room,
        number=room.name[:2],
        title=title_of(room),
        minutes=minutes,
        needs=needed(room),
        sections=timed(parts, minutes),
        guesses=guesses(parts),
        results=results(room.name[:2], parts, shown),
        exercises=exercises(room, parts, cells),
        questions=[(oneline(ask), say.strip()) for text in prose for _, ask, say in asked(text)],
    )


def asked(text):
    """(number, question, answer) of each folded answer to a numbered question."""
    return QUESTION.findall(text)


def outputs(root, room) -> dict[str, str]:
    """{id of a cell: the text that it shows} of a built page; {} of one that is not built."""
    path = built(root, room)
    if not path.is_file():
        return {}
    cells = nbformat.read(path, as_version=4).cells
    return {cell.id: "\n".join(map(text_of, cell.get("outputs", []))) for cell in cells}


def split(cells) -> list[tuple[str, list]]:
    """(heading, cells) of each section of level 2. A markdown cell with several headings is cut
    at each, and what an author tagged it with stays with its first piece.
    """
    parts = [(OPENING, [])]
    for cell in cells:
        if cell.cell_type != "markdown":
            parts[-1][1].append(cell)
            continue
        for heading, text in pieces(cell.source):
            if heading:
                parts.append((heading, []))
            piece = cell.copy()
            piece.source = text
            parts[-1][1].append(piece)
            cell = cell.copy()
            cell.metadata = nbformat.from_dict({})
    return parts


def pieces(text) -> list[tuple[str, str]]:
    """(heading, text) of a markdown cell cut at its headings of level 2; the first piece has none
    where text stands before them. What looks like one inside a block of code is none.
    """
    found, fenced = [("", [])], False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            found.append((line[3:].strip(), []))
        found[-1][1].append(line)
    return [(heading, "\n".join(lines)) for heading, lines in found if lines]


def timed(parts, minutes) -> list[tuple[str, int]]:
    """Whole minutes for each section, together the page's."""
    return list(zip([heading for heading, _ in parts], spread(minutes, map(amount_of, parts))))


def amount_of(part) -> float:
    return amount(part[1])


def spread(total, amounts) -> list[int]:
    """`total` in whole numbers in proportion to `amounts`: rounded down, and what is left goes to
    those that lost most.
    """
    amounts = list(amounts)
    if not sum(amounts):
        amounts = [1.0] * len(amounts)
    exact = [total * one / sum(amounts) for one in amounts]
    whole = [int(one) for one in exact]
    lost = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
    for i in lost[: total - sum(whole)]:
        whole[i] += 1
    return whole


def guesses(parts) -> list[Guess]:
    """A page's guesses; the question is what stands before the cell, from the last heading on."""
    found, before = [], ""
    for heading, cells in parts:
        for cell in cells:
            if cell.cell_type == "markdown":
                before = cell.source
                continue
            for name, call in certain_calls(cell):
                if name == "guess":
                    found.append(Guess(call.args[0].value, heading, question(before)))
    return found


def question(text) -> str:
    """The text below the last heading of a markdown cell, without the word to type."""
    last = re.split(r"^#+ .*$", unfolded(text), flags=re.M)[-1]
    return TYPE_IT.sub("", last).strip()


def unfolded(text) -> str:
    return re.sub(r"<details>.*?</details>", "", text, flags=re.S)


def results(number, parts, shown) -> dict[str, Result]:
    """{key: Result} of the guesses that a page settles, its own or an earlier page's."""
    found = {}
    for heading, cells in parts:
        for place, cell in enumerate(cells):
            if cell.cell_type == "markdown":
                continue
            for key, text in RESULT.findall(shown.get(cell.id, "")):
                found[key] = Result(number, heading, text, next_words(cells[place + 1 :]))
    return found


def next_words(cells) -> str:
    """The first paragraph of the text that follows; "" where a heading comes first."""
    following = [cell.source for cell in cells if cell.cell_type == "markdown"]
    paragraph = unfolded(following[0]).strip().split("\n\n")[0] if following else ""
    return "" if paragraph.startswith("#") else paragraph


def exercises(room, parts, cells) -> list[Exercise]:
    """A page's exercises in order, with the sentences that name a wrong idea, each once."""
    keys = [cell.metadata["exercise"] for cell in cells if "exercise" in cell.metadata]
    points = classroom.points(room, cells, keys)
    known = {one.key: one for one in checkers(room)}
    if missing := [key for key in keys if key not in known]:
        raise BuildError(f"{room.name}/exercises.py: no exercise {', '.join(missing)}")
    found = []
    for heading, inside in parts:
        prose = [cell.source for cell in inside if cell.cell_type == "markdown"]
        for key, name, minutes, difficulty in CARD.findall("\n\n".join(prose)):
            if key in keys:
                ideas = [oneline(idea.message) for idea in known[key].misconceptions]
                once = list(dict.fromkeys(ideas))
                card = (key, name, heading, int(minutes), difficulty, points[key])
                found.append(Exercise(*card, once))
    return found


def checkers(room) -> list:
    """The exercises of a room's exercises.py; none where there is no such file."""
    if not (room / "exercises.py").is_file():
        return []
    return load(room.name[:2], "exercises").EXERCISES


def oneline(text) -> str:
    return " ".join(text.split())


# ---- a sheet ----

COUNTED = (
    "By the rule of all pages: an exercise counts 1.3 times what its card says, and what is folded,"
    " the answers to the questions too, counts nothing."
)
TALK = (
    "Let everybody write down an answer and how sure they are before anybody runs the next cell."
    " Then ask two who disagree for their reasons, and only then show the result."
)
SCALE = (
    "Two points for a question: **2** for all that its lines say, in words of their own; **1** for"
    " half of them; **0** for less, and for a bare yes or no. Another example that shows the same"
    " counts as said."
)


def sheet(page, settled) -> str:
    """A page's sheet; `settled` holds the results of all pages by guess."""
    lines = [f"# {page.number} · {page.title}", "", head(page), ""]
    lines += ["## Minutes", "", COUNTED, "", "| section | minutes | in it |", "|---|---|---|"]
    for heading, minutes in page.sections:
        lines.append(f"| {cell_text(heading)} | {minutes} | {inside(page, heading)} |")
    lines += [f"| together | {page.minutes} | |", ""]
    lines += ["## Guesses", ""]
    lines += [TALK, ""] if page.guesses else ["This page asks for no guess.", ""]
    for guess in page.guesses:
        lines += [f"### Guess {guess.key}", "", *quoted(guess.question), ""]
        lines += [*told(page, settled.get(guess.key)), ""]
    lines += ["## Exercises", ""]
    if not page.exercises:
        lines += ["This page has no exercise.", ""]
    for one in page.exercises:
        points = counted(one.points, "point")
        lines += [f"### Exercise {one.key} · {one.name}", ""]
        lines += [f"*{one.minutes} minutes · {one.difficulty} · {points}*", ""]
        lines += ["Wrong ideas that `check` knows, by the sentence that names each:", ""]
        lines += [*(f"- {idea}" for idea in one.ideas), ""]
    lines += ["## Answers in words", ""]
    lines += [SCALE, ""] if page.questions else ["This page has no questions.", ""]
    for number, (ask, say) in enumerate(page.questions, 1):
        lines += [f"### Question {number}", "", *quoted(ask), ""]
        lines += [*(f"- [ ] {line}" for line in statements(say)), ""]
    return "\n".join(lines)


def head(page) -> str:
    """How much a page asks for, in a line."""
    points = sum(one.points for one in page.exercises)
    facts = [f"{page.minutes} minutes", counted(len(page.exercises), "exercise")]
    facts += [counted(points, "point"), counted(len(page.guesses), "guess", "guesses")]
    facts += [f"after page{'s' * (len(page.needs) > 1)} {', '.join(page.needs)}"] * bool(page.needs)
    return f"*{' · '.join(facts)}* · [the page](../notebooks/{page.room.name}.ipynb)"


def counted(number, one, many="") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def inside(page, heading) -> str:
    """What a section holds that a class stops at."""
    held = [f"guess {one.key}" for one in page.guesses if one.section == heading]
    held += [f"exercise {one.key}" for one in page.exercises if one.section == heading]
    held += [f"result of {key}" for key, one in page.results.items() if one.section == heading]
    return ", ".join(held)


def told(page, result) -> list[str]:
    """A guess's result, where it is seen, and what is said of it there."""
    if result is None:
        return ["**Result:** no page shows it yet."]
    elsewhere = "" if result.page == page.number else f"page {result.page}, "
    lines = [f"**Result:** {result.text} ({elsewhere}*{result.section}*)."]
    return [*lines, "", result.words] if result.words else lines


def statements(answer) -> list[str]:
    """An answer's sentences, one line each; one or two words ("No.") stay with what follows."""
    found, short = [], ""
    for sentence in SENTENCE.split(oneline(answer)):
        short = f"{short} {sentence}".strip()
        if len(short.split()) > 2:
            found.append(short)
            short = ""
    return [*found, short] if short else found


def quoted(text) -> list[str]:
    return [f"> {line}".rstrip() for line in text.splitlines()]


def cell_text(text) -> str:
    return text.replace("|", "\\|")


# ---- plans ----

ORDER = (
    "Made from the pages that stand, with their minutes; a page comes after all that it needs. A"
    " page that is planned joins as soon as it stands."
)
TONIGHT = (
    "Three hours and a break. An evening ends with its page, and begins with as much of what that"
    " page needs as there is time for; the class must know the rest."
)


def before(pages, number) -> set[str]:
    """The pages that stand and that a page needs, directly or not."""
    found, todo = set(), [number]
    while todo:
        for need in pages[todo.pop()].needs:
            if need in pages and need not in found and need != number:
                found.add(need)
                todo.append(need)
    return found


def packed(pages, numbers, holds) -> list[list[str]]:
    """Pages in their order, as many in a day as it holds."""
    units = []
    for number in numbers:
        minutes = pages[number].minutes
        if minutes > holds:
            raise BuildError(f"page {number} takes {minutes} minutes, and a plan holds {holds}")
        if not units or together(pages, units[-1]) + minutes > holds:
            units.append([])
        units[-1].append(number)
    return units


def together(pages, numbers) -> int:
    return sum(pages[number].minutes for number in numbers)


def filled(pages, plan) -> list[list[str]]:
    """The pages of each day: those of the plan's door, of the short way, then all others, each
    with what it needs. A page that does not fit leaves its place to the next.
    """
    chosen, units = set(), []
    for number in [*plan.door, *SHORT_WAY, *sorted(pages)]:
        if number not in pages:
            continue
        wanted = chosen | {number} | before(pages, number)
        tried = packed(pages, sorted(wanted), plan.holds)
        if len(tried) <= plan.units:
            chosen, units = wanted, tried
    return units + [[] for _ in range(plan.units - len(units))]


def evening(pages, number) -> tuple[list[str], list[str]]:
    """(the pages of an evening that ends with this one, the pages that must be known): what it
    needs belongs to the evening as far as it holds, the latest first.
    """
    needed, chosen = sorted(before(pages, number)), [number]
    while needed and together(pages, [needed[-1], *chosen]) <= EVENING:
        chosen.insert(0, needed.pop())
    return chosen, needed


def plans(root, pages) -> str:
    """The text of plans.md."""
    lines = ["# Plans", "", ORDER, ""]
    for plan in PLANS:
        lines += [f"## {plan.title}", "", plan.about, ""]
        if not pages.keys() & set(plan.door):
            lines += [f"It waits for its pages: {', '.join(plan.door)}.", ""]
            continue
        for place, numbers in enumerate(filled(pages, plan), 1):
            used = f"{together(pages, numbers)} of {plan.holds} minutes"
            lines += [f"### {plan.unit.capitalize()} {place} · {used}", ""]
            lines += [f"- {linked(pages[number])}" for number in numbers]
            lines += [] if numbers else ["Free: work of their own, or a page once more."]
            lines.append("")
    lines += ["## Single evenings", "", TONIGHT, ""]
    for part, numbers in parts_of(root, pages).items():
        lines += [f"### {part}", "", "| evening | minutes | the class knows |", "|---|---|---|"]
        for number in numbers:
            chosen, known = evening(pages, number)
            named = "<br>".join(cell_text(linked(pages[one])) for one in chosen)
            lines.append(f"| {named} | {together(pages, chosen)} | {', '.join(known)} |")
        lines.append("")
    return "\n".join(lines)


def linked(page) -> str:
    return f"[{page.number} · {page.title}]({page.room.name}.md), {page.minutes} minutes"


def parts_of(root, pages) -> dict[str, list[str]]:
    """The pages that stand in each part of the map that has one."""
    text = (root / "notebooks/source/map.toml").read_text(encoding="utf-8")
    parts = {part: sorted(pages.keys() & titles) for part, titles in tomllib.loads(text).items()}
    if lost := pages.keys() - {number for numbers in parts.values() for number in numbers}:
        raise BuildError(f"map.toml: page {', '.join(sorted(lost))} stands in no part")
    return {part: numbers for part, numbers in parts.items() if numbers}


# ---- the folder ----

MADE = (
    "Made by `make teacher`, which writes these files again: keep notes of your own under other"
    " names. Results and answers stand here openly."
)


def index(pages) -> str:
    """The text of README.md."""
    lines = ["# For the teacher", "", MADE, ""]
    lines += ["[Plans](plans.md) for three days, ten weeks and single evenings.", ""]
    lines += ["| sheet | minutes | exercises | points | guesses | questions |"]
    lines += ["|---|---|---|---|---|---|"]
    for _, page in sorted(pages.items()):
        name = f"[{page.number} · {cell_text(page.title)}]({page.room.name}.md)"
        points = sum(one.points for one in page.exercises)
        counts = [page.minutes, len(page.exercises), points, len(page.guesses)]
        counts.append(len(page.questions))
        lines.append(f"| {name} | {' | '.join(map(str, counts))} |")
    return "\n".join([*lines, ""])


def write_all(root) -> int:
    """Write teacher/; a page that fails does not hide what the others have to say, and then
    nothing is written.
    """
    pages, failed = {}, 0
    for room in sources(root):
        try:
            pages[room.name[:2]] = read(root, room)
        except BuildError as error:
            failed = 1
            print(error, file=sys.stderr)
    if failed:
        return failed
    try:
        texts = {"README": index(pages), "plans": plans(root, pages)}
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    settled = {key: one for _, page in sorted(pages.items()) for key, one in page.results.items()}
    texts |= {page.room.name: sheet(page, settled) for page in pages.values()}
    folder = root / "teacher"
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8", newline="\n")
    print(f"teacher/: {counted(len(pages), 'sheet')}, plans.md; begin with README.md")
    return 0


if __name__ == "__main__":
    sys.exit(write_all(ROOT))
