"""The form of a page, as far as a program can see it: short cells, work for the reader's hands,
terms that keep their meaning.
"""

import ast
import re

from cells import certain_calls, code_cells, prose_cells, sections, tags_of, tree
from minutes import HEADING, MORE, estimate
from pages import FOLDED, TITLE

MOST_MINUTES, MOST_VISIBLE, MOST_FAULT = 90, 30, 5
USUAL_LINES, MOST_LONGER = 12, 3  # of a visible cell, and how many may have more
LONGEST_TITLE = 88  # of a fold: at 960 pixels JupyterLab shows so much and its own "..."
LAST_PART = 2 / 3  # where on a page its last exercise stands at the earliest
TERM = re.compile(r"\*\*([^*\n]+)\*\* \(([\u3400-\u9fff][^)]*)\)")
ARTICLE = re.compile(r"\barticles?\b", re.I)
LINK = re.compile(r"\]\(|https?://")
TASK = re.compile(r"ex-(\d\d)-(\d+)")
INVITES = re.compile(r"\bput (?:yours|your own (?:function|class|layer|loss|code))\b", re.I)
FAILED = re.compile(r"\bFalse\b|^\w*Error\b")  # in the line that a check prints


def long(nb):
    """An hour is the aim; a page that takes more than ninety minutes is two pages."""
    minutes = estimate(nb.cells)
    if minutes > MOST_MINUTES:
        yield f"about {minutes} minutes by the rule, expected at most {MOST_MINUTES}"
    if (seen := len(visible(nb))) > MOST_VISIBLE:
        yield f"{seen} visible code cells, expected at most {MOST_VISIBLE}"


def aside(nb):
    """What the page does without is counted by cells: a heading "More: ..." begins one, and so
    does the heading that ends its section.
    """
    level = 0  # of the section More that a cell stands in, 0 in none
    for cell, text in prose_cells(nb):
        for heading in HEADING.finditer(text):
            more, ends = heading[2].startswith(MORE), len(heading[1]) <= level
            if (more or ends) and heading.start():
                yield f'cell {cell.id}: expected "{heading[0]}" to begin a cell of its own'
            if not level or ends:
                level = len(heading[1]) if more else 0


def crowded(nb):
    """One step a cell: a dozen lines show one. (`sizes` says where a cell ends in any case.)"""
    longer = [cell.id for cell in visible(nb) if len(cell.source.splitlines()) > USUAL_LINES]
    if len(longer) > MOST_LONGER:
        yield (
            f"{len(longer)} visible cells of more than {USUAL_LINES} lines, expected at most"
            f" {MOST_LONGER}: {', '.join(longer)}"
        )


def visible(nb):
    return [cell for cell in code_cells(nb) if not FOLDED & tags_of(cell)]


def folded(nb):
    """A reader who opens no folded cell loses nothing, so one prints a line at most."""
    for cell in code_cells(nb):
        if not FOLDED & tags_of(cell):
            continue
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        lines = printed.splitlines()
        if len(lines) > 1:
            yield f"cell {cell.id}: folded, and prints {len(lines)} lines, expected at most one"


def titles(nb):
    """What stands on a fold is read before it is opened: the first comment line, as typed."""
    for cell in code_cells(nb):
        if not FOLDED & tags_of(cell):
            continue
        title = cell.source.partition("\n")[0].replace(TITLE, "# ", 1)
        if len(title) > LONGEST_TITLE:
            yield (
                f"cell {cell.id}: a fold's title of {len(title)} characters, expected at most"
                f" {LONGEST_TITLE}: {title[:40]!r}"
            )


def hands(nb):
    """What a page promises to build the reader's code builds, to the end of the page."""
    ids = [cell.id for cell in nb.cells]
    tasks = [place for place, name in enumerate(ids) if TASK.fullmatch(name)]
    if not tasks:
        yield "no exercise, expected two or three"
        return
    end = next((place for place, name in enumerate(ids) if name.startswith("recap")), len(ids))
    if tasks[-1] < LAST_PART * end:
        yield (
            f"cell {ids[tasks[-1]]}: the last exercise stands at {100 * tasks[-1] // end} % of the"
            f" page, expected at {round(100 * LAST_PART)} % or later"
        )
    used = {
        call.args[0].value
        for cell in code_cells(nb)
        for name, call in certain_calls(cell)
        if name == "mine" and call.args and isinstance(call.args[0], ast.Constant)
    }
    keys = {name.removeprefix("ex-").replace("-", ".") for name in (ids[i] for i in tasks)}
    if not used & keys:
        yield 'the page goes on with nothing that the reader built, expected f = mine("NN.k", f)'


def taken(nb):
    """All that follows `f = mine("NN.k", f)` runs on what the reader wrote as `f`; and where a page
    invites code of the reader's own, `mine` lets no wrong one in.
    """
    expected = set()
    for cell in code_cells(nb):
        if match := TASK.fullmatch(cell.id):
            key = ".".join(match.groups())
            for name in set_by(cell):
                expected.add(f"{name} = mine('{key}', {name})")
    for place, cell in enumerate(nb.cells):
        for node in tree(cell.source).body if cell.cell_type == "code" else ():
            line = ast.unparse(node)
            if "mine(" in line and line not in expected:
                yield f"cell {cell.id}: {line[:60]!r}, expected f = mine(its exercise, f)"
        if INVITES.search(cell.source):
            meant = [one for one in nb.cells[place:] if one.cell_type == "code"][:1]
            if not any("mine(" in one.source for one in meant):
                yield f"cell {cell.id}: invites the reader's own, expected mine in the next code"


def names(nb):
    """A name that is a function here and a number there breaks a cell that is run again."""
    kinds = {}
    for cell in code_cells(nb):
        for node in tree(cell.source).body:
            for name, kind in bound(node):
                before = kinds.setdefault(name, (kind, cell.id))
                if before[0] != kind:
                    yield (
                        f"cell {cell.id}: {name} is {kind} here and {before[0]} in cell"
                        f" {before[1]}, expected two names"
                    )


def bound(node):
    """(name, kind) of what a statement on a page's top level binds; `f = mine(...)` binds what
    the exercise asked for.
    """
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name, "a function or class"
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield (alias.asname or alias.name).split(".")[0], "imported"
    elif isinstance(node, ast.Assign):
        taken = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "mine"
        for target in node.targets:
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    yield name.id, "a function or class" if taken else "a value"


def quarrels(nb):
    """Who has not seen an article cannot follow a quarrel with it."""
    for heading, text in ((heading, text) for _, heading, text in sections(nb)):
        if heading.startswith("Read more"):
            continue
        for paragraph in text.split("\n\n"):
            if ARTICLE.search(paragraph) and not LINK.search(paragraph):
                yield f"section {heading!r} speaks of an article without a link to it"


def terms(nb):
    """(term, its Chinese) of each definition on a page, with its cell."""
    for cell, text in prose_cells(nb):
        for term, chinese in TERM.findall(text):
            yield cell, term.lower(), chinese


def defined_once(nb):
    """A term is bold where it is defined, with its Chinese once."""
    seen = {}
    for cell, term, chinese in terms(nb):
        for key in (term, chinese):
            if key in seen and seen[key] != cell.id:
                yield f"cell {cell.id}: {key} is defined again, first in cell {seen[key]}"
            seen.setdefault(key, cell.id)


def no_fault(nb):
    """Everyone meets faults; a page shows the one that its subject is known for."""
    if not any("fault" in tags_of(cell) for cell in code_cells(nb)):
        yield f"no cell is tagged fault, expected one of at most {MOST_FAULT} lines"


def faults(nb):
    """The lines that a reader sees *are* the fault: the cell after them, in their place, mends it.

    Both cells end in the same line, a check. It fails in the first cell (raises, or prints False or
    an error's name) and holds in the second, which sets nothing else anew.
    """
    cells = code_cells(nb)
    for place, cell in enumerate(cells):
        if "fault" not in tags_of(cell):
            continue
        if FOLDED & tags_of(cell):
            yield f"cell {cell.id}: a fault, and folded, expected to stand open"
        lines = re.findall(r"^ *[^#\s].*", cell.source, re.M)
        if len(lines) > MOST_FAULT:
            yield f"cell {cell.id}: a fault of {len(lines)} lines, expected at most {MOST_FAULT}"
        if not failed(cell):
            yield f"cell {cell.id}: a fault, and its last line prints no False and no error"
        mended = (cells[place + 1 :] or [None])[0]
        if mended is None or last_line(mended) != last_line(cell):
            yield f"cell {cell.id}: a fault, expected the next cell to end in its last line, mended"
        elif failed(mended):
            yield f"cell {mended.id}: the fault of cell {cell.id} is not mended"
        else:
            known = set_by(*cells[:place]) - set_by(cell)
            for name in sorted(known & set_by(mended)):
                yield f"cell {mended.id}: mends {name}, which the fault in cell {cell.id} leaves"


def last_line(cell):
    """A cell's last statement, of a `try` what it tries last."""
    node = (tree(cell.source).body or [ast.Pass()])[-1]
    return ast.unparse(node.body[-1] if isinstance(node, ast.Try) else node)


def failed(cell):
    """Whether a cell raised, or the last line that it printed tells of a failure."""
    if any(output.output_type == "error" for output in cell.outputs):
        return True
    printed = "".join(output.get("text", "") for output in cell.outputs).splitlines()
    return bool(printed and FAILED.search(printed[-1]))


def set_by(*cells):
    """The names that cells set on the page's top level, in what they try too."""
    nodes = [node for cell in cells for node in tree(cell.source).body]
    nodes += [inner for node in nodes if isinstance(node, ast.Try) for inner in node.body]
    return {name for node in nodes for name, _ in bound(node)}


def summaries(nb):
    """Between HTML's tags Markdown stays as it was typed, marks and all."""
    for cell, _ in prose_cells(nb):
        for said in re.findall(r"<summary>(.*?)</summary>", cell.source, re.S):
            if "`" in said or "**" in said:
                yield f"cell {cell.id}: {said[:40]!r} has Markdown's marks, expected <code> or <b>"


RULES = [
    long,
    aside,
    crowded,
    folded,
    titles,
    hands,
    taken,
    names,
    quarrels,
    defined_once,
    no_fault,
    faults,
    summaries,
]


def problems(nb):
    """All that breaks a rule."""
    return [problem for rule in RULES for problem in rule(nb)]
