"""Build the course as a site in build/site/html: the pages as they stand, a glossary, a gallery of
all figures, the reference of the package.

    .venv-site/bin/python tools/build_site.py

Here stands what the site is made of; how it looks, `tools/site/conf.py`. Nothing is run: the
pages keep the outputs that are stored in them. Sphinx, myst-nb and the theme do the rest; they come
with the extra `site`. Any warning of theirs is an error.
"""

import ast
import base64
import importlib.util
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import nbformat
from cells import prose_cells
from form import TERM
from nbformat.v4 import new_markdown_cell
from pages import ROOT, TITLE, address, built, shown, smaller, sources, title_of

SITE = "build/site"
# What stands beside the pages: {file in the repository: page of the site}.
TEXTS = {
    "README.md": "index.md",
    "notebooks/FINDINGS.md": "notebooks/FINDINGS.md",
    "notebooks/COVERAGE.md": "notebooks/COVERAGE.md",
    "notebooks/INDEX.md": "notebooks/INDEX.md",
    "notebooks/CHANGES.md": "notebooks/CHANGES.md",
    "notebooks/TEACHING.md": "notebooks/TEACHING.md",
    "course_utils/README.md": "course_utils/README.md",
}
BESIDE = [f"notebooks/{name}" for name in ("INDEX", "FINDINGS", "COVERAGE", "CHANGES", "TEACHING")]
LINK = re.compile(r"(\]\()([^()\s:#]+)((?:#[^()\s]*)?\))")  # one inside the repository
CENTRED = re.compile(r'<p align="center">\s*(<img [^>]*>)\s*</p>')
TOCTREE = "\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"


# ---- what the course holds ----


def read(root):
    """{room: notebook} of all pages that are built."""
    return {room: nbformat.read(built(root, room), as_version=4) for room in sources(root)}


def slug(text):
    """A name for a place on a page, from what stands there."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def terms(course):
    """{term: (its Chinese, [the page where it is defined, ...])}, a term written as where it
    stands first, in alphabetical order.
    """
    prose = {room: [text for _, text in prose_cells(nb)] for room, nb in course.items()}
    found = {}
    everything = "\n".join(text for texts in prose.values() for text in texts)
    for room, texts in prose.items():
        for text in texts:
            for term, chinese in TERM.findall(text):
                small = term[0].lower() + term[1:]  # a capital may be that of a sentence
                term = small if re.search(rf"\b{re.escape(small)}\b", everything) else term
                _, words, places = found.setdefault(slug(term), (term, [], []))
                if chinese not in words:
                    words.append(chinese)
                if room not in places:
                    places.append(room)
    return {term: ("; ".join(words), places) for _, (term, words, places) in sorted(found.items())}


def figures(course):
    """(room, number on its page, PNG in base64, what is on it) of each figure."""
    for room, nb in course.items():
        pictures = [picture for cell in nb.cells for picture in shown(cell)]
        for number, (picture, words) in enumerate(pictures, 1):
            yield room, number, picture, words


def modules(root):
    """{module or package: [it and all that is in it]}, dotted names."""
    found = {}
    for path in sorted((root / "course_utils").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "course_utils":
            found.setdefault(".".join(parts[:2]).removesuffix(".__init__"), []).append(name)
    return found


def first_line(root, module):
    """The first sentence of a module's docstring."""
    path = root / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(said.partition("\n\n")[0].split())


# ---- the pages that are made ----


def numbered(room):
    """A page's number and title."""
    return f"{room.name[:2]} · {title_of(room)}"


def front(root):
    """The README, and behind it the order of all pages."""
    text = CENTRED.sub(r"\1", (root / "README.md").read_text(encoding="utf-8"))
    parts = tomllib.loads((root / "notebooks/source/map.toml").read_text(encoding="utf-8"))
    standing = {room.name[:2]: room for room in sources(root)}
    for part, titles in parts.items():
        rooms = [standing[number] for number in titles if number in standing]
        if rooms:
            entries = [f"{numbered(room)} <notebooks/{room.name}>" for room in rooms]
            text += TOCTREE.format(caption=part, entries="\n".join(entries))
    text += TOCTREE.format(
        caption="Beside the pages",
        entries="\n".join(["glossary", *BESIDE, "gallery", "api/index", "course_utils/README"]),
    )
    return text


def glossary(course):
    """A table of all terms; the page's number leads to the place where the term is explained."""
    lines = ["# Glossary", "", "Each term in English and Chinese, and the page that explains it."]
    lines += ["", "| term | Chinese | page |", "|---|---|---|"]
    for term, (chinese, rooms) in terms(course).items():
        there = [
            f'<a href="notebooks/{room.name}.html#term-{slug(term)}" title="{title_of(room)}">'
            f"{room.name[:2]}</a>"
            for room in rooms
        ]
        lines.append(f'| {term} | <span lang="zh">{chinese}</span> | {", ".join(there)} |')
    return "\n".join(lines) + "\n"


def gallery(course):
    """All figures, small; each leads to its place on its page."""
    lines = ["# Gallery", "", "Every figure of the course. Each leads to the page that draws it."]
    before = None
    for room, number, _, words in figures(course):
        if room != before:
            lines += ["````"] if before else []
            lines += ["", f"## {numbered(room)}", "", "````{container} gallery"]
            before = room
        words = words.replace("\n", " ")
        lines += [
            f"```{{figure}} gallery/{room.name[:2]}-{number}.png",
            f":target: notebooks/{room.name}.html#figure-{number}",
            f":alt: {json.dumps(words, ensure_ascii=False)}",
            "",
            words,
            "```",
        ]
    return "\n".join([*lines, "````", ""] if before else lines)


def reference(root):
    """{file: text} of the package's reference, a page for each module or package."""
    made = {}
    table = ["# Reference", "", "What `course_utils` offers, from its docstrings."]
    table += ["", "| module | what is there |", "|---|---|"]
    for page, names in modules(root).items():
        parts = []
        for name in names:
            mark = "=" if name == page else "-"
            parts += [name, mark * len(name), "", f".. automodule:: {name}", ""]
        made[f"api/{page}.rst"] = "\n".join(parts)
        table.append(f"| [{page.partition('.')[2]}]({page}.rst) | {first_line(root, page)} |")
    order = TOCTREE.format(caption="Reference", entries="\n".join(modules(root)))
    made["api/index.md"] = "\n".join(table) + "\n" + order
    return made


# ---- what a page needs on the site ----


def relink(text, here, root):
    """The links of a page in the folder `here`: what is no page of the site leads to the
    repository.
    """

    def lead(link):
        target = posixpath.normpath(posixpath.join(here, link[2]))
        if target.endswith(".ipynb"):
            return f"{link[1]}{link[2]}{named(link[3])}"
        page = target in TEXTS
        if target == "README.md":
            return f"{link[1]}{posixpath.relpath('index.md', here or '.')}{link[3]}"
        if page or "/media/" in target or not (root / target).exists():
            return link[0]
        kind = "tree" if (root / target).is_dir() else "blob"
        return f"{link[1]}{address(root)}/{kind}/main/{target}{link[3]}"

    return LINK.sub(lead, text)


def named(end):
    """The end of a link, from a heading's name in JupyterLab to that on the site."""
    heading = unquote(end.removesuffix(")").partition("#")[2])
    return "#" + re.sub(r"[^\w-]", "", heading.lower()) + ")" if heading else end


def width_of(output):
    """The width in pixels at which a notebook shows an output's picture; 0 where it says none."""
    return output.get("metadata", {}).get("image/png", {}).get("width", 0)


def dressed(nb, root):
    """A page as the site shows it: links, names for the places that glossary and gallery lead
    to, on folded code what is inside, pictures in the size that they have in the notebook.
    """
    cells, named, number = [], set(), 0

    def name(found):
        key = slug(found[1])
        if key in named:
            return found[0]
        named.add(key)
        return f'<span id="term-{key}"></span>{found[0]}'

    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(TERM.sub(name, cell.source), "notebooks", root)
        elif cell.source.startswith(TITLE):
            # the site shows it as plain text, in which nothing marks code
            said = cell.source.partition("\n")[0].removeprefix(TITLE).replace("`", "")
            cell.metadata.setdefault("mystnb", {})["code_prompt_show"] = said
        marks = []
        for _ in shown(cell):
            number += 1
            marks.append(f'<span id="figure-{number}"></span>')
        if marks:
            cells.append(new_markdown_cell("".join(marks)))
        if width := max(map(width_of, cell.get("outputs", [])), default=0):
            image = cell.metadata.setdefault("mystnb", {}).setdefault("image", {})
            image["width"] = f"{width}px"
        cells.append(cell)
    nb.cells = cells
    return nb


# ---- build ----


def put(path, content):
    """Write only what is new, so that Sphinx reads only that again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    if not path.is_file() or path.read_bytes() != content:
        path.write_bytes(content)


def stage(root, folder):
    """Bring together what Sphinx reads."""
    course = read(root)
    wanted = {f"notebooks/{room.name}.ipynb": built(root, room).read_bytes() for room in course}
    for text, page in TEXTS.items():
        wanted[page] = (root / text).read_bytes()
    for picture in (root / "notebooks/media").glob("*.png"):
        wanted[f"notebooks/media/{picture.name}"] = picture.read_bytes()
    for room, number, picture, _ in figures(course):
        wanted[f"gallery/{room.name[:2]}-{number}.png"] = base64.b64decode(smaller(picture))
    wanted |= {"index.md": front(root), "glossary.md": glossary(course)}
    wanted |= {"gallery.md": gallery(course)} | reference(root)
    for name, content in wanted.items():
        put(folder / name, content)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()


def main(root=ROOT, folder=None):
    if importlib.util.find_spec("myst_nb") is None:
        sys.exit("Sphinx and myst-nb are not here. Type:  make site")
    folder = Path(folder or root / SITE)
    stage(root, folder / "source")
    shutil.rmtree(folder / "html", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "auto"]
    command += ["-c", str(ROOT / "tools/site"), "-d", str(folder / "cache")]
    command += [str(folder / "source"), str(folder / "html")]
    return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
