"""Check the course for what strict nbval lets pass.

    python tools/check_notebooks.py [notebook ...]    the notebooks as files; all when none is named
    python tools/check_notebooks.py --course          the whole course: that, the pages' form, all
                                                      other text, the layout of code (`make check`)

Tried on nbval 0.11: in a cell that it compares, it misses a picture taken out of an output or
spoilt, an output that is nothing but a picture, alternative text, an error's traceback and
cleared counts; in a cell tagged nbval-ignore-output or nbval-skip it misses everything. It also
passes counts out of order and a misspelt tag.

Each rule below catches one such thing. A rule in RULES tells what is wrong with a notebook that
was run, and the builder writes no such file; one in PAGE_RULES or PATH_RULES tells what a page
still lacks, so a page half written can be built. To add a rule, write a generator that takes a
notebook and yields sentences, put it into one of these lists, and give tests/test_notebooks.py a
notebook that breaks it (a test fails while a rule has none).
"""

import argparse
import ast
import base64
import fnmatch
import functools
import hashlib
import html
import io
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import book
import form
import nbformat
import owed
import pages
from cells import (
    EMBEDDED,
    certain_calls,
    code_cells,
    executed,
    keywords,
    outputs,
    prose_cells,
    sections,
    tags_of,
    text_of,
    tree,
)
from nbformat.validator import iter_validate
from pages import WIDGET

ROOT = Path(__file__).resolve().parents[1]
NBVAL_TAGS = {"nbval-skip", "nbval-ignore-output", "nbval-check-output", "raises-exception"}
# the builder's, a sweep's, a cell's of a section On real data
TAGS = NBVAL_TAGS | {
    "set-up",
    "measured",
    "real-data",
    "imports",
    "proof",
    "figure",
    "hide-input",
    "fault",
    "game",
    "derivation",
}
UNCOMPARED = {"nbval-skip", "nbval-ignore-output"}
RASTER = {"image/png", "image/jpeg", "image/gif", "image/webp"}
EXERCISE_ID = re.compile(r"ex-(\d\d)-(\d+)(-check|-hints)?")
HOSTS = {
    "a host of this machine": re.compile(
        r"\b(?:https?|ssh|git)://(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.[\d.]+"
        r"|\b(?:https?|ssh|git)://(?!localhost)[\w-]+(?=:\d)"
        r"|\b[\w-]+(?:\.[\w-]+)*\.(?:internal|intranet|corp|lan)(?=[:/])"
        r"|\bfile:///(?:home|mnt|opt|root|srv|work|Users)/[^\s'\"<>]*"
    ),
    "a registry of this machine": re.compile(
        r"\b(?:index[-_]url|find[-_]links|trusted[-_]host)\b['\"]?[ =:,]+['\"]?"
        r"(?!https://(?:pypi\.org|download\.pytorch\.org)/)[\w/.:-]{3,}",
        re.I,
    ),
}
MACHINE = {  # what another machine would print differently
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{8,}"),
    "a path of this machine": re.compile(
        r"(?<![\w.~/-])/(?:app|builds|content|data|home|mnt|opt|private|root|srv|tmp|usr|var|work\w*"
        r"|Users|Volumes)/[^\s'\"<>]+|~/\S+\.py|[^\s'\"<>]{0,60}site-packages\b|\b[A-Z]:\\[^\s'\"<>]+"
    ),
    "a progress rate": re.compile(r"[\d?][\d.]* ?(?:it/s|s/it|[kMG]?B/s)\b"),
} | HOSTS
OURS = {  # what no text may name; narrower, because code and prose may well speak of /usr/bin
    "a path of this machine": re.compile(r"(?<![\w.~/-])/(?:work|root|home|Users)/[^\s'\"<>`)]+")
} | HOSTS
TEXTS = {".md", ".py", ".yml", ".toml", ".cfg", ".txt", ".json"}
QUOTES = {"tests/test_notebooks.py"}  # which plants in its bad notebooks what OURS refuses

# A full page has 40 cells of at most 20 lines, folded ones of 25; the set-up cell must be short,
# because it teaches nothing. A line is what a laptop's cell shows, in code and in what it prints.
MOST_CELLS, MOST_LINES, MOST_FOLDED, MOST_SET_UP = 40, 20, 25, 10
# Git cannot compress one base64 picture against the last, so each rebuild adds all of them to every
# clone. The largest today are 266,000 characters for a picture and 886,000 for a page.
MOST_PICTURE, MOST_OUTPUT = 400_000, 1_500_000
MOST_UNCOMPARED, MOST_REAL = 6, 2
PARTS = ["In this notebook you will", "Recap", "Questions", "Read more"]
TWINS = {"verify", "verify_gradient"}
PRINTS = {"print", "check", "compare", "guess", "guesses", "outcome", "passport", "report"} | TWINS


# ---- what a text holds ----


@functools.cache
def markdown():
    from markdown_it import MarkdownIt  # comes with jupytext

    reader = MarkdownIt("commonmark").enable("table")
    # it takes file:// for plain text, and then nobody would be told
    reader.validateLink = lambda address: True
    return reader


@functools.lru_cache(maxsize=256)
def read_markdown(text):
    """The tokens of a text, those within a line too. Formulas are left out first, as JupyterLab
    does.
    """
    text = re.sub(r"(```.*?```|`[^`\n]*`)|\$\$.*?\$\$|\$[^$\n]*\$", r"\1", text, flags=re.S)
    return [part for token in markdown().parse(text) for part in (token, *(token.children or []))]


def references(text):
    """(address, words) of each link and picture, in markdown or HTML; words is None for a link."""
    for token in read_markdown(text):
        if token.type == "link_open":
            yield token.attrs["href"], None
        elif token.type == "image":
            yield token.attrs["src"], token.content
        elif token.type in ("html_inline", "html_block"):
            for tag in re.findall(
                r"<\w[^>]*>", re.sub(r"<!--.*?-->", "", token.content, flags=re.S)
            ):
                found = {
                    name.lower(): value
                    for name, _, value in re.findall(r"([\w-]+)\s*=\s*(['\"])(.*?)\2", tag)
                }
                if "href" in found:
                    yield found["href"], None
                if tag.lower().startswith("<img"):
                    yield found.get("src", ""), found.get("alt", "")


def headings(text):
    """The headings' texts as a reader sees them."""
    tokens = read_markdown(text)
    for token, after in zip(tokens, tokens[1:]):
        if token.type == "heading_open":
            yield "".join(
                child.content for child in after.children if child.type in ("text", "code_inline")
            )


def anchors(path):
    """What can stand behind `#` in a link to this file.

    A notebook is read in JupyterLab, which keeps capitals and turns blanks into dashes (its
    createHeaderId), and drops ids written as HTML; what GitHub's preview of a notebook makes of
    `#` could not be tried, so it has no say. A text is read on GitHub: lower case, no
    punctuation, a number behind a second heading of one name, and ids written as HTML.
    """
    if path.suffix == ".ipynb":
        nb = nbformat.read(path, as_version=4)
        return {
            heading.replace(" ", "-")
            for cell in nb.cells
            if cell.cell_type == "markdown"
            for heading in headings(cell.source)
        }
    text = path.read_text(encoding="utf-8")
    slugs = [
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        for heading in headings(text)
    ]
    found = {
        f"{slug}-{n}" if (n := slugs[:place].count(slug)) else slug
        for place, slug in enumerate(slugs)
    }
    return {*found, *re.findall(r"<\w[^>]*\b(?:id|name)=[\"']([^\"']+)", text)}


def dead(address, path, root):
    """Why a link in the file at `path` leads nowhere, "" if it leads somewhere; addresses are
    not fetched.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return f"link {address!r}: {error}"
    if address in ("", "#"):
        return "a link without an address"
    if parts.scheme or parts.netloc:
        well_formed = parts.scheme in ("http", "https") and re.fullmatch(r"[\w-]+(\.[\w-]+)+", host)
        return (
            ""
            if well_formed and not re.search(r"[\s<>\"\\^`{|}]", address)
            else f"link {address!r}: expected https://host.name/..."
        )
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
    if not target.is_relative_to(root.resolve()) or parts.path.startswith("/"):
        return f"link {address!r} leads out of the course"
    # JupyterLab opens no folder
    if not (target.is_file() or target.is_dir() and path.suffix == ".md"):
        return f"link {address!r}: there is no such file"
    fragment = unquote(parts.fragment)
    if target.suffix in (".ipynb", ".md"):
        known = anchors(target) if fragment else {""}
    else:
        # GitHub's line numbers
        known = {fragment} if re.fullmatch(r"(L\d+(-L\d+)?)?", fragment) else {"L1"}
    return (
        "" if fragment in known else f"link {address!r}: there is no such heading in {target.name}"
    )


def foreign(text, patterns):
    """(what, quotation) of what a text says of one machine."""
    for what, pattern in patterns.items():
        if found := pattern.search(text):
            yield what, found.group()


# ---- rules: a notebook that was run ----


def schema(nb):
    """Every program must be able to open the file; the format demands ids but not that they
    differ.
    """
    for error in list(iter_validate(nb, version=4, version_minor=5))[:1]:
        yield f"not valid nbformat 4.5: {str(error).splitlines()[0]}"
    ids = [cell.get("id") for cell in nb.cells]
    for name in sorted({name for name in ids if name and ids.count(name) > 1}):
        yield f"cell id {name!r} stands {ids.count(name)} times, expected once"


def kernel(nb):
    """Jupyter and Colab start any machine's own Python under this one name."""
    name = nb.metadata.get("kernelspec", {}).get("name")
    if name != "python3":
        yield f"kernelspec is {name!r}, expected 'python3'"


def counts(nb):
    """nbval compares nothing where the count is null, so all counts 1..N prove one run from the
    top.
    """
    for expected, cell in enumerate(code_cells(nb), 1):
        if cell.execution_count is None:
            yield (
                f"cell {cell.id}: never run or outputs cleared (no execution_count, expected"
                f" {expected})"
            )
        elif cell.execution_count != expected:
            yield f"cell {cell.id}: execution_count {cell.execution_count}, expected {expected}"


def figures(nb):
    """nbval compares no picture, so it does not miss one either."""
    for cell in executed(nb):
        found = [why for output in cell.outputs if (why := missing(output))]
        calls = [
            name
            for name, call in certain_calls(cell)
            if name.endswith(".show")
            or name == "plots.pipeline"
            or name.startswith("plots.")
            and "caption" in keywords(call)
        ]
        shown = sum(bool(RASTER & set(output.get("data", {}))) for output in cell.outputs)
        if not found and shown < len(calls) and "raises-exception" not in tags_of(cell):
            found = [f"{shown} pictures, expected one of each of {', '.join(calls)}"]
        yield from (f"cell {cell.id}: {why}" for why in found)


def missing(output):
    """What an output shows traces of and does not hold; "" where nothing is missing."""
    data = output.get("data")
    lost = [name for name in output.get("metadata", {}) if "/" in name and name not in (data or {})]
    if data is None:
        return ""
    if not data:
        return "an output that shows nothing"
    if "<Figure size" in data.get("text/plain", "") and not RASTER & set(data):
        return "a figure without its picture, expected a PNG"
    if lost:
        return f"a figure without its picture: metadata for {lost[0]}, and no such data"
    if output.output_type == "display_data" and set(data) == {"text/plain"}:
        return (
            "a figure without its picture? Text alone is displayed: expected a PNG beside it, or"
            " print"
        )
    return ""


def pictures(nb):
    """nbval compares no picture, so it passes one that no program can open, or that shows
    nothing.
    """
    total = 0
    for cell in nb.cells:
        texts = [cell.source] if cell.cell_type == "markdown" else []
        held = [item for bundle in cell.get("attachments", {}).values() for item in bundle.items()]
        for output in cell.get("outputs", []):
            total += len(str(output))
            texts += [
                str(value)
                for mime, value in output.get("data", {}).items()
                if mime.startswith("text/")
            ]
            held += [item for item in output.get("data", {}).items() if item[0] in RASTER]
        for text in texts:
            held += re.findall(r"data:((?:image|audio)/[\w.+-]+);base64,([^\"'\s)]*)", text)
        for mime, value in held:
            if why := spoilt(mime, value):
                yield f"cell {cell.id}: {mime} {why}"
        named = {
            unquote(name) for name in re.findall(r"\battachment:([^)\s\"'>]+)", "".join(texts[:1]))
        }
        for name in sorted(named ^ set(cell.get("attachments", {}))):
            yield (
                f"cell {cell.id}: attachment {name!r} is"
                f" {'named, but not there' if name in named else 'never shown'}"
            )
    if total > MOST_OUTPUT:
        yield f"outputs of {total:,} characters together, expected at most {MOST_OUTPUT:,}"


def spoilt(mime, value):
    """Why a picture or sound in base64 cannot be shown as it should; "" when it can."""
    from PIL import Image  # comes with matplotlib

    if len(value) > MOST_PICTURE:
        return f"of {len(value):,} characters, expected at most {MOST_PICTURE:,}"
    try:
        raw = base64.b64decode("".join(value.split()), validate=True)
        if mime.startswith("audio/"):  # a WAV file says in its head how long it is
            whole = raw[:4] == b"RIFF" and int.from_bytes(raw[4:8], "little") == len(raw) - 8
            return "" if whole else "cannot be played: not a whole WAV file"
        with Image.open(io.BytesIO(raw)) as image:
            image.verify()  # every checksum
        with Image.open(io.BytesIO(raw)) as image:
            if image.get_format_mimetype() != mime:
                return f"is in truth {image.get_format_mimetype()}"
            # Pillow does without
            if mime == "image/png" and not raw.endswith(bytes(4) + b"IEND\xaeB`\x82"):
                return "cannot be decoded: its end is missing"
            return "is blank: one colour" if image.getcolors(1) else ""  # decodes it
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        return f"cannot be decoded: {type(error).__name__}"


def captions(nb):
    """Who cannot see a picture reads its words; JupyterLab shows no alternative text, so a
    caption says the same below.
    """
    for cell in code_cells(nb):
        for output, below in zip(cell.outputs, [*cell.outputs[1:], {}]):
            for mime in sorted(RASTER & set(output.get("data", {}))):
                words = plain(output.get("metadata", {}).get(mime, {}).get("alt", ""))
                said = " ".join(
                    plain(below.get("data", {}).get(kind, ""))
                    for kind in ("text/markdown", "text/html")
                )
                if len(words.split()) < 3:
                    yield (
                        f"cell {cell.id}: {mime} has the alternative text {words!r}, expected a"
                        " sentence"
                    )
                elif words not in said:
                    yield (
                        f"cell {cell.id}: {mime} has no caption, expected its alternative text"
                        f" below it: {words[:40]!r}"
                    )
    for cell, _ in prose_cells(nb):
        yield from (f"cell {cell.id}: {why}" for why in wordless(cell.source))
    for cell, output in outputs(nb):
        for kind in ("text/html", "text/markdown"):
            yield from (
                f"cell {cell.id}: {why}" for why in wordless(output.get("data", {}).get(kind, ""))
            )


def plain(text):
    """HTML as words alone."""
    return " ".join(html.unescape(re.sub(r"</?[a-z][^>]*>", " ", text)).split())


def wordless(text):
    for address, words in references(text):
        if words is not None and not words.strip():
            yield (
                f"picture {address[:40]!r} has no alternative text, expected ![words](...) or"
                ' alt="words"'
            )


def lost(nb):
    """nbval misses any loss in a cell that it does not compare: what must have printed has to
    have left its lines.
    """
    for cell in executed(nb):
        if "raises-exception" in tags_of(cell):
            continue
        calls = list(certain_calls(cell))
        printing = [
            name for name, call in calls if name in PRINTS and not {"end", "file"} & keywords(call)
        ]
        lines = sum(
            len(output.text.splitlines())
            for output in cell.outputs
            if output.get("name") == "stdout"
        )
        players = sum(name in ("plots.players", "plots.listen") for name, _ in calls)
        sounds = sum(
            "<audio" in output.get("data", {}).get("text/html", "") for output in cell.outputs
        )
        last = tree(cell.source).body[-1:]
        value = (
            bool(last)
            and isinstance(last[0], ast.Expr)
            and not isinstance(last[0].value, (ast.Call, ast.Await))
        )
        if lines < len(printing):
            yield (
                f"cell {cell.id}: {lines} printed lines, expected one at least of each of"
                f" {', '.join(printing)}"
            )
        elif sounds < players:
            yield f"cell {cell.id}: {sounds} outputs with players, expected {players}"
        elif value and not any("text/plain" in output.get("data", {}) for output in cell.outputs):
            yield f"cell {cell.id}: ends in a value that is not shown"
        elif UNCOMPARED & tags_of(cell):
            if not cell.outputs:
                yield (
                    f"cell {cell.id}: its outputs are not compared, and there are none: drop the"
                    " tag or rebuild"
                )
            if any(
                "text/plain" not in output.get("data", {"text/plain": ""})
                for output in cell.outputs
            ):
                yield (
                    f"cell {cell.id}: an output without text/plain, which is all that some readers"
                    " see of it"
                )


def stderr(nb):
    """A warning is noise to a reader and differs between versions: silence or mend its cause."""
    for cell, output in outputs(nb):
        if output.get("name") == "stderr":
            yield f"cell {cell.id}: stderr: {text_of(output).strip().splitlines()[0]!r}"


def machine_text(nb):
    """Outputs must be the same on every machine, and no text must tell whose machine it was."""
    for cell, output in outputs(nb):
        for what, quotation in foreign(text_of(output), MACHINE):
            yield f"cell {cell.id}: {what} in the output: {quotation!r}"
    for cell in nb.cells:
        for what, quotation in foreign(cell.source, OURS):
            yield f"cell {cell.id}: {what} in its text: {quotation!r}"


def widget_state(nb):
    """Saved widget state breaks GitHub's preview and holds random ids."""
    if "widgets" in nb.metadata:
        yield "metadata.widgets is saved, expected none"
    for cell, output in outputs(nb):
        if WIDGET in output.get("data", {}):
            yield (
                f"cell {cell.id}: a saved widget view (random model id), expected its picture and"
                " text only"
            )


def errors(nb):
    """An error is either announced by the tag or a fault; an announced one that never comes is
    one too.
    """
    for cell in code_cells(nb):
        raised = [output for output in cell.outputs if output.output_type == "error"]
        announced = "raises-exception" in tags_of(cell)
        if raised and not announced:
            yield f"cell {cell.id}: {raised[0].ename} without the tag raises-exception"
        elif announced and not raised:
            yield f"cell {cell.id}: tagged raises-exception, but nothing was raised"
        elif raised and not "".join(raised[0].traceback).strip():
            yield (
                f"cell {cell.id}: {raised[0].ename} without its traceback, which is all that a"
                " reader sees of it"
            )


def semicolon(nb):
    """IPython hides the value of a line that ends in `;`, nbval's kernel does not."""
    for cell in code_cells(nb):
        if cell.source.rstrip().endswith(";"):
            yield f"cell {cell.id}: ends in `;`: use plt.show() or `_ = ...`"


def question(nb):
    """IPython takes a line that ends in `?`, a comment too, for a question about a name, and
    prints its answer.
    """
    for cell in code_cells(nb):
        if re.search(r"\?\s*$", cell.source, re.M):
            yield f"cell {cell.id}: a line ends in `?`, which IPython would answer"


def tags(nb):
    """nbval ignores a misspelt tag and obeys comments, the builder does neither: only tags that
    somebody reads.
    """
    for cell in nb.cells:
        for tag in sorted(tags_of(cell) - TAGS):
            yield f"cell {cell.id}: unknown tag {tag!r}, expected one of {', '.join(sorted(TAGS))}"
        if "real-data" in tags_of(cell) and "nbval-ignore-output" not in tags_of(cell):
            yield (
                f"cell {cell.id}: tagged real-data, expected nbval-ignore-output too: most readers"
                " do not have the data"
            )
        if cell.cell_type == "code" and (
            found := re.search(r"#\s*(NBVAL_\w+|PYTEST_VALIDATE_\w+)", cell.source)
        ):
            yield f"cell {cell.id}: comment {found.group(1)}, expected a cell tag"


def svg(nb):
    """SVG holds a date and random ids, and nbval compares it."""
    for cell, output in outputs(nb):
        if "image/svg+xml" in output.get("data", {}):
            yield f"cell {cell.id}: an SVG output, expected PNG"


def equations(nb):
    """Every displayed equation has a number and a twin that runs: the twin's own line in an
    output proves that it ran.
    """
    verified = set()
    for cell in code_cells(nb):
        if {"nbval-skip", "raises-exception"} & tags_of(cell):
            continue
        printed = "".join(output.get("text", "") for output in cell.outputs)
        for node in ast.walk(tree(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in TWINS and node.args:
                number, *sides = [
                    ast.unparse(part)
                    for part in (*node.args, *(key.value for key in node.keywords))
                ]
                number, same = number.strip("'\""), len(sides) > 1 and sides[0] == sides[1]
                ran = cell.execution_count is None or re.search(
                    rf"equation {re.escape(number)}(?!\d)", printed.lower()
                )
                if ran and not same:
                    verified.add(number)
    for cell, text in prose_cells(nb):
        parts = text.split("$$")
        if len(parts) % 2 == 0:
            yield f"cell {cell.id}: a $$ without its partner"
            continue
        for block in parts[1::2]:
            if not re.search(r"\\tag\{\d\d\.\d+\}", block):
                yield (
                    f"cell {cell.id}: an equation without \\tag{{NN.k}}:"
                    f" {' '.join(block.split())[:40]!r}"
                )
        for number in re.findall(r"\\tag\{(.*?)\}", text):
            if number not in verified:
                yield (
                    f'cell {cell.id}: equation {number} has no twin: expected verify("{number}",'
                    " ...)"
                )


def exercises(nb):
    """Every exercise has its stub, its check and its hints, and ends in a folded solution."""
    cells = {cell.id: cell for cell in nb.cells}
    for chapter, k in exercise_keys(nb):
        key, stub = f"{chapter}.{k}", f"ex-{chapter}-{k}"
        for name, what in ((stub, "stub"), (f"{stub}-check", "check"), (f"{stub}-hints", "hints")):
            if name not in cells:
                yield f"exercise {key}: no {what} (cell {name})"
        check, hints = cells.get(f"{stub}-check"), cells.get(f"{stub}-hints")
        if check and f'check("{key}", ' not in check.source:
            yield f'exercise {key}: cell {check.id} does not call check("{key}", ...)'
        if hints and "<summary>Solution</summary>" not in hints.source:
            yield f"exercise {key}: no folded solution in cell {hints.id}"


def exercise_keys(nb):
    found = {match.group(1, 2) for cell in nb.cells if (match := EXERCISE_ID.fullmatch(cell.id))}
    return sorted(found, key=lambda pair: int(pair[1]))


# ---- rules: a page that is finished ----


def sizes(nb):
    """A page that grows past this is two pages, and a cell that does is two steps; a long line
    needs a scroll bar.
    """
    cells = code_cells(nb)
    if len(cells) > MOST_CELLS:
        yield f"{len(cells)} code cells, expected at most {MOST_CELLS}"
    for cell in cells:
        most = MOST_FOLDED if pages.FOLDED & tags_of(cell) else MOST_LINES
        if "set-up" in tags_of(cell):
            most = MOST_SET_UP
        if (lines := len(cell.source.splitlines())) > most:
            yield f"cell {cell.id}: {lines} lines, expected at most {most}"
        shown = [output.get("text", "") for output in cell.outputs]
        shown += [
            output.data.get("text/plain", "")
            for output in cell.outputs
            if set(output.get("data", {})) == {"text/plain"}
        ]
        texts = [("a line of code", cell.source), ("a line of output", "\n".join(shown))]
        for what, text in texts:
            line = max(text.splitlines(), key=len, default="")
            if len(line) > pages.WIDTH:
                yield (
                    f"cell {cell.id}: {what} of {len(line)} characters, expected at most"
                    f" {pages.WIDTH}: {line.strip()[:40]!r}"
                )


def uncompared(nb):
    """Each cell that nbval does not compare is a hole in the promise that a reader gets these
    outputs: few, each with its reason.
    """
    cells = code_cells(nb)
    free = [cell for cell in cells if UNCOMPARED & tags_of(cell)]
    real = [cell for cell in cells if "real-data" in tags_of(cell)]
    most = min(MOST_UNCOMPARED, len(cells) // 5)
    if (others := len([cell for cell in free if cell not in real])) > most:
        yield f"{others} of {len(cells)} code cells are not compared, expected at most {most}"
    if len(real) > MOST_REAL:
        yield f"{len(real)} cells are tagged real-data, expected at most {MOST_REAL}"
    for cell in free:
        if not re.search(r"^ *#(?:.*?[A-Za-z]{2,}){3}", cell.source, re.M):
            yield f"cell {cell.id}: not compared, expected a comment that says why"
    section = ""
    for cell in nb.cells:
        section = (
            ([section] + re.findall(r"^## (.*)", cell.source, re.M))[-1]
            if cell.cell_type == "markdown"
            else section
        )
        if cell in real and not section.startswith("On real data"):
            yield (
                f"cell {cell.id}: tagged real-data in the section {section!r}, expected On real"
                " data"
            )


def full(nb):
    """A page is committed as everyone runs it; FULL = True is for a GPU."""
    if not any(re.search(r"\bFULL\b", cell.source) for cell in nb.cells):
        return
    places = [
        cell.id
        for cell in code_cells(nb)
        for node in ast.walk(tree(cell.source))
        if isinstance(node, ast.Name) and node.id == "FULL" and isinstance(node.ctx, ast.Store)
    ]
    off = [
        node
        for cell in code_cells(nb)
        for node in tree(cell.source).body
        if ast.unparse(node) == "FULL = False"
    ]
    if (len(places), len(off)) != (1, 1):
        yield f"FULL is set in {', '.join(places) or 'no cell'}, expected one line FULL = False"


def title(nb):
    """A reader decides by the first cell: what is the question, how long does it take, what does
    it need?
    """
    cell, names = nb.cells[0], [heading for level, heading, _ in sections(nb) if level == 1]
    text = dict((first.id, text) for first, text in prose_cells(nb)).get(cell.id, "")
    if not text.startswith("# ") or len(names) != 1:
        yield f"cell {cell.id}: headings of level 1 are {names}, expected one, at the top"
    for what, pattern in (
        ("a question", r"\w\?(?=[\s*]|$)"),
        ("its length in minutes", r"\b\d+ minutes\b"),
        ("what it needs", r"\bYou need [^.]+\."),
    ):
        if not re.search(pattern, text):
            yield (
                f'cell {cell.id}: {what} is missing, expected a question and "*About 60 minutes.'
                ' You need ...*"'
            )


def parts(nb):
    """Readers find their way on every page, because all have the same parts in the same order."""
    found, whole, name = sections(nb), {}, ""
    for (level, heading, text), (deeper, *_) in zip(found, [*found[1:], [0]], strict=True):
        if not text.strip() and heading and deeper <= level:
            yield f"section {heading!r} is empty"
        name = heading if level <= 2 else name
        whole[name] = whole.get(name, "") + text
    names = [heading for level, heading, _ in found if level == 2]
    if [name for name in names if name in PARTS] != PARTS or names[0] != PARTS[0]:
        yield (
            f"sections are {', '.join(names)}; expected {', '.join(PARTS)} among them, in this"
            " order, the first on top"
        )
        return
    promised, kept = (
        len(re.findall(r"^\d+\. \S", whole[name], re.M))
        for name in ("In this notebook you will", "Recap")
    )
    if not 3 <= promised <= 6:
        yield f"{promised} points in the opening list, expected 3 to 6"
    if promised != kept:
        yield f"{kept} points in the recap, expected {promised} as in the opening list"
    folded = re.findall(
        r"<details>\s*<summary>(\d+)\. +\S.*?</summary>(.*?)</details>", whole["Questions"], re.S
    )
    numbers = [int(number) for number, answer in folded if answer.strip()]
    if not 5 <= len(numbers) <= 8 or numbers != list(
        range(1, 1 + whole["Questions"].count("<details"))
    ):
        yield (
            f"folded answers {numbers}, expected 1 to 5, 6, 7 or 8, each <details><summary>1."
            " ...</summary> answer </details>"
        )
    if not re.search(r"^- \S", whole["Read more"], re.M):
        yield "nothing to read more, expected a list"


def cards(nb):
    """Two to four exercises a page, and before each begins a reader sees how long and how hard
    it is.
    """
    keys = [f"{chapter}.{k}" for chapter, k in exercise_keys(nb)]
    if not 2 <= len(keys) <= 4:
        yield f"{len(keys)} exercises, expected 2 to 4"
    text = "\n".join(text for _, text in prose_cells(nb))
    found = re.findall(
        r"^> \*\*Exercise (\S+) · \S.*\*\* — \*\d+ minutes · (?:warm-up|core|stretch)\*$",
        text,
        re.M,
    )
    if found != keys:
        yield (
            f'cards of exercises {found}, expected {keys}, each "> **Exercise NN.k · Name** — *10'
            ' minutes · core*"'
        )


def links(nb, path):
    """A link that leads nowhere costs a reader's trust, and no program follows it for us."""
    for cell in nb.cells:
        for address, _ in references(cell.source) if cell.cell_type == "markdown" else ():
            if not re.match(r"attachment:|data:image/", address) and (
                why := dead(address, path, path.resolve().parents[1])
            ):
                yield f"cell {cell.id}: {why}"


def badge(nb, path):
    """A badge copied from another page opens that page."""
    found = colab_paths(nb.cells[0].source)
    if found != [f"notebooks/{path.name}"]:
        yield (
            f"cell {nb.cells[0].id}: the Colab badge opens {', '.join(found) or 'nothing'},"
            f" expected notebooks/{path.name}"
        )


def colab_paths(text):
    return re.findall(
        r"\]\(https://colab\.research\.google\.com/github/[^/\s]+/[^/\s]+/blob/main/([^)\s]+)\)",
        text,
    )


RULES = [
    kernel,
    counts,
    figures,
    pictures,
    captions,
    lost,
    stderr,
    machine_text,
    widget_state,
    errors,
    semicolon,
    question,
    tags,
    svg,
    equations,
    exercises,
]
PAGE_RULES = [sizes, uncompared, full, title, parts, cards]
PATH_RULES = [links, badge]


def problems_in(nb, path=None):
    """All problems of a notebook in memory, with its `path` also those of the page that stands
    there.

    The rules need a valid notebook, so schema comes first.
    """
    if found := list(schema(nb)):
        return found
    found = [problem for rule in RULES for problem in rule(nb)]
    if path is not None:
        found += [problem for rule in PAGE_RULES for problem in rule(nb)]
        found += form.problems(nb)
        found += [problem for rule in PATH_RULES for problem in rule(nb, path)]
    return found


def problems(path, page=False):
    """All problems of the notebook at `path`, as sentences, with `page` also those of its form;
    an empty list is a good one.
    """
    try:  # the version-4 reader, because nbformat.read mends faults silently
        nb = nbformat.v4.reads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, KeyError, AttributeError) as error:
        return [f"not a notebook of format 4: {error}"]
    return problems_in(nb, Path(path) if page else None)


# ---- the rest of the course ----


def files(root):
    """The course's files with text in them; what .gitignore names (caches, environments, a
    reader's own) is not the course's.
    """
    listed = root / ".gitignore"
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    ignored = [
        line.strip("/").split("/")[-1]
        for line in lines
        if line.strip() and not line.startswith("#")
    ]
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(
            name
            for name in inside
            if name != ".git" and not any(fnmatch.fnmatch(name, one) for one in ignored)
        )
        for path in (Path(folder, name) for name in sorted(names)):
            if path.suffix in TEXTS or path.name in ("Makefile", "run"):
                yield path


def texts(root):
    """Problems of the texts beside the notebooks: their links and pictures, and what they tell
    of one machine.
    """
    for path in files(root):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            yield from (
                f"{name}: {why}"
                for address, _ in references(text)
                if (why := dead(address, path, root))
            )
            yield from (f"{name}: {why}" for why in wordless(text))
            for row in text.splitlines():
                opens, beside = (
                    colab_paths(row),
                    re.findall(r"\]\((notebooks/[^)\s]+\.ipynb)\)", row),
                )
                if any(
                    page not in beside if beside else not (root / page).is_file() for page in opens
                ):
                    yield (
                        f"{name}: the Colab badge opens {', '.join(opens)}, expected"
                        f" {', '.join(beside) or 'a notebook'}"
                    )
        if name not in QUOTES:
            for number, line in enumerate(text.splitlines(), 1):
                yield from (
                    f"{name}:{number}: {what}: {quotation!r}"
                    for what, quotation in foreign(line, OURS)
                )


def spelling(root):
    """What codespell finds in all texts and in the notebooks' prose; words that it must allow
    stand in pyproject.toml.
    """
    with tempfile.TemporaryDirectory() as folder:
        # a file for each cell, whose name then stands in the report
        for path in sorted((root / "notebooks").glob("*.ipynb")):
            cells = Path(folder, path.relative_to(root))
            cells.mkdir(parents=True)
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "markdown":
                    prose = re.sub(EMBEDDED, "", cell.source)
                    (cells / f"cell {cell.id}").write_text(prose, encoding="utf-8")
        command = [sys.executable, "-m", "codespell_lib", "--check-hidden", folder]
        done = subprocess.run(
            [*command, *map(str, files(root))],
            cwd=root,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        if done.returncode not in (0, 65):  # 65 says that it found something
            yield f"spelling: codespell did not run: {' '.join(done.stderr.split())[-200:]}"
        for line in done.stdout.splitlines():
            yield "spelling: " + line.replace(f"{folder}{os.sep}", "").replace(
                f"{root}{os.sep}", ""
            )


def layout(root):
    """What ruff finds in the code of package, tools, tests and pages; the rules stand in
    pyproject.toml.
    """
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format=concise", "."]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8")
    if done.returncode not in (0, 1):
        yield f"layout: ruff did not run: {' '.join(done.stderr.split())[-200:]}"
    yield from (f"layout: {line}" for line in done.stdout.splitlines())


def sources(root):
    """Notebooks without a source, sources without a notebook, and a table of pages in the README
    that is not what the sources give.
    """
    names = {room.name for room in pages.sources(root)}
    notebooks = {path.stem for path in (root / "notebooks").glob("*.ipynb")}
    yield from (f"{name}: a notebook without a source" for name in sorted(notebooks - names))
    yield from (f"{name}: there is no notebook yet" for name in sorted(names - notebooks))
    if pages.readme(root) not in (None, (root / "README.md").read_text(encoding="utf-8")):
        yield "README.md: its table of pages is not what the sources give; type make notebooks"


# ---- what has passed already ----

PASSED = Path(".cache") / "checked.json"
HEADING_IN_JSON = re.compile(r'^ *"#.*\n', re.M)


def surroundings(root):
    """A hash over all that a page's problems come from beside its own files: rules, the address,
    the texts and headings that links lead to, and which files there are.
    """
    digest = hashlib.sha256()
    pictures = (root / "notebooks").rglob("*.png")
    for path in sorted({*files(root), *(root / "tools").glob("*.py"), *pictures}):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
        if path.suffix in (".md", ".toml") or path.parent.name == "tools":
            digest.update(path.read_bytes())
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        digest.update(f"\0{path.name}\0".encode())
        digest.update("".join(HEADING_IN_JSON.findall(path.read_text(encoding="utf-8"))).encode())
    return digest.hexdigest()


def fingerprint(root, path, around):
    """A hash over a page's notebook and source and their surroundings."""
    digest = hashlib.sha256(around.encode() + path.read_bytes())
    source = root / "notebooks" / "source" / path.stem / "page.py"
    if source.is_file():
        digest.update(source.read_bytes())
    return digest.hexdigest()


def course(root):
    """All problems of the course. A page that has passed and did not change since is not read."""
    around, before, now = surroundings(root), pages.recall(root / PASSED), {}
    found = [problem for part in (texts, spelling, layout) for problem in part(root)]
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        now[path.stem] = fingerprint(root, path, around)
        if before.get(path.stem) == now[path.stem]:
            continue
        problems_here = [f"{path.name}: {problem}" for problem in problems(path, page=True)]
        source = root / "notebooks" / "source" / path.stem
        if (source / "page.py").is_file():
            try:
                why = pages.difference(root, source)
            except pages.BuildError as error:
                why = str(error)
            if why:
                problems_here.append(f"{path.stem}: {why}")
        if problems_here:
            del now[path.stem]
        found += problems_here
    found += sources(root)
    found += owed.problems(root)
    found += book.problems(root)
    pages.record(root / PASSED, now)  # {page: fingerprint} of those without a problem
    return found


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of them when none is named")
    parser.add_argument(
        "--course", action="store_true", help="also the pages' form, links, spelling, sources"
    )
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted((root / "notebooks").glob("*.ipynb"))
    if options.course:
        found = course(root)
    else:
        found = [f"{path.name}: {problem}" for path in paths for problem in problems(path)]
    print("\n".join(found) or f"{len(paths)} checked, no problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
