"""The course's book matter, from what the pages say: what is owed and where it is, an index, the
map of prerequisites.

    python tools/book.py        writes anew what has changed (`make notebooks` does, too)

notebooks/COVERAGE.md comes from the marks that `owed.py` reads, notebooks/INDEX.md from the pages'
bold terms, their exercises and the names in notebooks/source/index.toml, the picture in the README
from what the pages need (`needs.py`). notebooks/FINDINGS.md is written by hand; each of its rows
names a page, on which all numbers of the row must stand. `make check` compares all with the pages.
What does not stand yet is not made: an empty file of that name is the beginning.
"""

import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import quote

import nbformat
import needs
import owed
import pages
from cells import outputs, text_of
from form import TERM
from pages import ROOT

COVERAGE, INDEX = "notebooks/COVERAGE.md", "notebooks/INDEX.md"
FINDINGS = "notebooks/FINDINGS.md"
ROW = re.compile(r"^\| (.+) \| \[\d\d · .+\]\((\d\d_\w+)\.ipynb#\S+\) \|$", re.M)
NUMBER = re.compile(r"(?:(?<=[\s(|])-)?(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?(?![\w])")
PICTURE = re.compile(r"\(data:image[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(.+)$")
BLOCK, INLINE = re.compile(r"```.*?```|<!--.*?-->", re.S), re.compile(r"`[^`\n]*`")
CARD = re.compile(r"^> \*\*Exercise (\d\d\.\d+) · (.+?)\*\*", re.M)
AROUND = {"In this notebook you will", "Recap", "Questions", "Read more"}
ASKED = re.compile(r'^# %% exercise="(\d\d\.\d+)".*\n(?:.*\n)*?(?:def|class) (\w+)', re.M)
OFTEN, MOST = 3, 6  # times that a page must name a thing to be listed for it; pages for a name
MADE = "<!-- Made by tools/book.py from the pages; what is written here by hand is lost. -->"


# ---- what a page holds ----


def sections(room):
    """[heading, prose, code] of each section of a page, in order, read from its source. Code in
    prose is left out, as in the glossary.
    """
    found = [[pages.title_of(room), "", ""]]
    for cell in owed.CELLS.split((room / "page.py").read_text(encoding="utf-8")):
        head, _, body = cell.partition("\n")
        if "[markdown]" not in head:
            found[-1][2] += body
            continue
        for line in BLOCK.sub("code", re.sub(r"^# ?", "", body, flags=re.M)).split("\n"):
            if heading := HEADING.match(line):
                found.append([heading[1].strip(), "", ""])
            found[-1][1] += INLINE.sub("code", line) + "\n"
    return found


def link(room, heading):
    """A link to a heading as JupyterLab names it; the site gives it the name that it has there."""
    plain = re.sub(r"[`*]", "", heading)
    there = quote(plain.replace(" ", "-"), safe="-_.~!,:;'")
    return f"[{room.name[:2]} · {plain}]({room.name}.ipynb#{there})"


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(row) + " |" for row in rows), ""]  # fmt: skip


# ---- the coverage ----


def coverage(root):
    """Every item that is owed, and the headings under which it is served."""
    rooms = {room.name[:2]: room for room in pages.sources(root)}
    places = {}
    for room in rooms.values():
        for item, heading in owed.marks(room):
            places.setdefault(item, {})[link(room, heading)] = None
    lines = ["# What the course covers, and where", "", MADE, ""]
    lines += [
        "This course began with five articles on multimodal learning. All that they teach has a"
        " number here: F for a subject, L for a listing of code, P for a formula. Beside it stand"
        " the pages and headings that teach it, some as a section, some as a row of a table or a"
        " fold. What was wrong in listings and formulas, and what is right, says"
        " [What the articles said, and what we found](FINDINGS.md).",
        "",
    ]
    path = root / "notebooks/source/owed.toml"
    for group, items in tomllib.loads(path.read_text(encoding="utf-8")).items():
        rows = []
        for item, (numbers, words) in items.items():
            groups = [numbers.split() for numbers in numbers.split("·")]
            later = [group[-1] for group in groups if not set(group) & set(rooms)]
            where = [*places.get(item, ()), *(f"page {number}, planned" for number in later)]
            rows.append((item, words, "<br>".join(where)))
        lines += [f"## {group}", "", *table(("item", "what", "where"), rows)]
    return "\n".join(lines)


# ---- the index ----


def terms(root):
    """{term: (its Chinese, {link to where it is defined})}, in the order of the alphabet."""
    found = {}
    for room in pages.sources(root):
        for heading, prose, _ in sections(room):
            for term, chinese in TERM.findall(prose):
                words, places = found.setdefault(term.lower(), (term, {}, {}))[1:]
                words[chinese] = places[link(room, heading)] = None
    everything = "".join(part[1] for room in pages.sources(root) for part in sections(room))
    rows = []
    for key in sorted(found):
        term, words, places = found[key]
        small = term[0].lower() + term[1:]  # a capital may be that of a sentence
        term = small if small in everything else term
        rows.append((term, f'<span lang="zh">{"; ".join(words)}</span>', "<br>".join(places)))
    return rows


def named(root, kind):
    """Rows of the names that index.toml lists: the pages that speak of one in a heading or often,
    at most `MOST`, each by the heading under which it does so most; at least the page that does
    so most. Methods are counted in prose, data sets in code, too.
    """
    listed = tomllib.loads((root / "notebooks/source/index.toml").read_text(encoding="utf-8"))
    inside = {
        room: [
            (heading, prose + code if kind == "data" else prose)
            for heading, prose, code in sections(room)
            if heading not in AROUND
        ]
        for room in pages.sources(root)
    }
    rows = []
    for name, pattern in sorted(listed[kind].items(), key=lambda one: one[0].lower()):
        wanted, places = re.compile(pattern), []
        for room, parts in inside.items():
            counted = [
                (bool(wanted.search(heading)), len(wanted.findall(text)), -place, heading)
                for place, (heading, text) in enumerate(parts)
            ]
            in_heading, _, _, heading = max(counted)
            if number := sum(number for _, number, _, _ in counted):
                places.append((in_heading, number, link(room, heading)))
        best = sorted(places, key=lambda one: one[:2], reverse=True)[:MOST]
        best = [one for one in best if one[0] or one[1] >= OFTEN] or best[:1]
        rows.append((name, "<br>".join(sorted(there for *_, there in best))))
    return rows


def built(root):
    """Rows of what the reader builds: the function's name, the exercise's, and where it stands."""
    rows = []
    for room in pages.sources(root):
        names = dict(ASKED.findall((room / "page.py").read_text(encoding="utf-8")))
        for heading, prose, _ in sections(room):
            for key, title in CARD.findall(prose):
                rows.append((f"`{names[key]}`", f"{key} · {title}", link(room, heading)))
    return sorted(rows, key=lambda row: (row[0].lower(), row[1]))


def index(root):
    lines = ["# Index", "", MADE, ""]
    lines += ["Terms, methods, data sets, and the functions that you build, with the headings under"
              " which the pages have them.", ""]  # fmt: skip
    lines += ["## Terms", "", "Each where it is defined, with its Chinese.", ""]
    lines += table(("term", "Chinese", "where"), terms(root))
    lines += ["## Methods and models", "", "Where a page speaks of them most.", ""]
    lines += table(("name", "where"), named(root, "methods"))
    lines += ["## Data sets", "", *table(("name", "where"), named(root, "data"))]
    lines += ["## What you build", "", *table(("name", "exercise", "where"), built(root))]
    return "\n".join(lines)


# ---- the findings ----


def findings(root):
    """Sentences: a row of FINDINGS.md whose number does not stand on the page that it links."""
    path = root / FINDINGS
    rows = ROW.findall(path.read_text(encoding="utf-8")) if path.is_file() else []
    known = {}
    for said, page in rows:
        if page not in known:
            notebook = path.parent / f"{page}.ipynb"
            known[page] = numbers(words(notebook)) if notebook.is_file() else set()
        said = re.sub(r"`[^`]*`|\$[^$]*\$", "", said)
        if lacking := sorted(set(NUMBER.findall(said)) - known[page]):
            yield f"{FINDINGS}: page {page[:2]} has no {', '.join(lacking)}: {said[:60]!r}"


def words(path):
    """What a reader reads of a notebook, pictures and code left out."""
    nb = nbformat.read(path, as_version=4)
    prose = [PICTURE.sub("", cell.source) for cell in nb.cells if cell.cell_type == "markdown"]
    return "\n".join([*prose, *(text_of(output) for _, output in outputs(nb))])


def numbers(text):
    """The numbers in a text; one with a minus is another one."""
    found = set(NUMBER.findall(text))
    return found | {one.lstrip("-") for one in found if one.startswith("-")}


# ---- written, and compared ----


def picture(root):
    """The picture of which page needs which, with its words, as the README has it."""
    return (
        f'\n<p align="center">\n<img src="{needs.PICTURE}" width="{needs.WIDE}"'
        f' alt="{needs.in_words(root)}">\n</p>\n\n'
    )


def readme(root):
    """The README with the picture of what pages need, see `pages.filled`."""
    return pages.filled(root, "needs", picture)


def texts(root):
    """(file, what it should hold) of all that stands and is made here."""
    for name, made in ((COVERAGE, coverage), (INDEX, index)):
        if (root / name).is_file():
            yield root / name, made(root)
    if (text := readme(root)) is not None:
        yield root / "README.md", text


def problems(root):
    """Sentences on what is not as the pages say."""
    yield from needs.problems(root)
    yield from findings(root)
    for path, wanted in texts(root):
        if path.name == Path(INDEX).name:
            for name in re.findall(r"^\| (.+) \|  \|$", wanted, re.M):
                yield f"index.toml: {name!r} stands on no page"
        if path.read_text(encoding="utf-8") != wanted:
            yield f"{path.relative_to(root)}: not what the pages give; type make notebooks"


def write(root):
    for path, wanted in texts(root):
        if path.read_text(encoding="utf-8") != wanted:
            path.write_text(wanted, encoding="utf-8", newline="\n")
            print(f"{path.relative_to(root)}: written again")
    needs.write(root)


if __name__ == "__main__":
    sys.exit(write(ROOT))
