"""The committed notebooks equal their sources, the course passes its checks, and every rule
refuses a bad notebook.
"""

import base64
import copy
import functools
import io
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import check_notebooks
import pages

SOURCES = pages.sources(ROOT)


@pytest.mark.parametrize("source", SOURCES, ids=lambda room: room.name)
def test_committed_notebook_is_what_its_source_gives(source):
    assert pages.difference(ROOT, source) == "", "run: make notebooks"


@pytest.mark.parametrize("source", SOURCES, ids=lambda room: room.name)
def test_committed_notebook_has_no_problems(source):
    assert check_notebooks.problems(pages.built(ROOT, source), page=True) == []


@pytest.mark.parametrize(
    "part",
    [check_notebooks.texts, check_notebooks.spelling, check_notebooks.layout],
    ids=lambda part: part.__name__,
)
def test_the_rest_of_the_course_has_no_problems(part):
    assert list(part(ROOT)) == []


def test_every_notebook_has_a_source():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks == {source.name for source in SOURCES}


# ---- a good page, and every way to spoil it ----


def picture(*colors, kind="PNG"):
    """A picture of one pixel a colour, in base64."""
    image = Image.new("L", (len(colors), 1))
    image.putdata(colors)
    image.save(buffer := io.BytesIO(), kind)
    return base64.b64encode(buffer.getvalue()).decode()


def flipped(text, place):
    """The same base64 with one bit of the byte at `place` turned over."""
    raw = bytearray(base64.b64decode(text))
    raw[place] ^= 1
    return base64.b64encode(raw).decode()


PNG = picture(0, 255)
# no path
WAV = (
    base64.b64encode(b"RIFF" + (40).to_bytes(4, "little") + b"WAVE" + bytes(36)).decode()[:-12]
    + "+/opt/abcdef"
)
COLAB = "https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks"
TITLE = f"""\
# A page, and what is on it?

It costs `$$` 5. <!-- $$ and ![](nowhere.png) <img src="nowhere.png"> -->

*About 60 minutes. You need nothing.*

[![Open in Colab](https://colab.research.google.com/assets/badge.svg)]({COLAB}/00_page.ipynb)"""
AIMS = "## In this notebook you will\n\n1. see;\n2. do;\n3. say."
NOTE = """\
## One step

[up](#In-this-notebook-you-will), [there](01_next.ipynb#The-next-page),
[home](../README.md#the-course-part-1), [code](../tools/a%20b.py#L3),
[page](https://example.org/a_(b)?c=d#e) and `[code](nowhere.md)`, $f[a](b)$

![A dot.](attachment:dot.png) <img src="dot.png" alt="A dot">"""
CARDS = "\n\n".join(
    f"> **Exercise 00.{k} · Name** — *5 minutes · {level}*\n>\n> Do."
    for k, level in ((1, "warm-up"), (2, "core"))
)
RECAP = "## Recap\n\nYou can now\n\n1. see;\n2. do;\n3. say."
QUESTIONS = "## Questions\n\n" + "\n".join(
    f"<details><summary>{n}. Why?</summary>\n\nBecause.\n\n</details>" for n in range(1, 6)
)
MORE = "## Read more\n\n- A. Author, *A title*, 2020. For the idea."


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def shown(words, caption, plain=None):
    """What `plots.show` and a widget leave: a picture with words for who cannot see it, and the
    words below.
    """
    return [
        new_output(
            "display_data",
            data={"image/png": PNG, "text/plain": plain or words},
            metadata={"image/png": {"alt": words, "width": 2}},
        ),
        new_output("display_data", data=caption | {"text/plain": words}),
    ]


def code(name, source, *outputs, tags=()):
    return new_code_cell(
        source, id=name, outputs=list(outputs), metadata={"tags": list(tags)} if tags else {}
    )


@functools.cache  # nbformat checks each cell that is made, which takes longer than all rules
def first_notebook():
    nb = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    nb.cells = [
        new_markdown_cell(TITLE, id="title"),
        new_markdown_cell(AIMS, id="aims"),
        code("set-up", "import os", tags=["set-up"]),
        code(
            "dial",
            "FULL = False  # True takes longer\nif FULL:\n    print('long')",
            tags=["measured"],
        ),
        code("x", "x = 3"),
        new_markdown_cell(NOTE, id="note", attachments={"dot.png": {"image/png": PNG}}),
        new_markdown_cell("$$x^2 = 9 \\tag{00.1}$$", id="eq-00-1"),
        code(
            "twin",
            'verify("00.1", x * x, 9)\nx == 3',
            stream("equation 00.1 holds, 16 kbit/s, 3/4, ../data/digits/a.flac, 0x1f\n"),
            new_output("execute_result", data={"text/plain": "True"}),
        ),
        code(
            "figure",
            "plots.bars(x, caption=words)",
            *shown(
                "x_1 is *not* 2 < 3",
                {"text/markdown": "*x_1 is *not* 2 < 3*"},
                "<Figure size 640x480 with 1 Axes>",
            ),
        ),
        code(
            "widget",
            "explorer.show()",
            *shown("2 & 3 are near", {"text/html": "2 &amp; <b>3</b> are near<br><em>Try.</em>"}),
        ),
        code(
            "sound",
            "# Its bytes differ between machines.\nplots.players(sounds)\nprint('x', end='"
            " ')\nprint(x)",
            stream("x 3\n"),
            new_output(
                "display_data",
                data={
                    "text/plain": "<HTML>",
                    "text/html": f'<audio src="data:audio/wav;base64,{WAV}"></audio>',
                },
            ),
            tags=["nbval-ignore-output"],
        ),
        code("empty", ""),
        code(
            "fault",
            "1 / 0",
            new_output(
                "error",
                ename="ZeroDivisionError",
                evalue="division by zero",
                traceback=["Cell In[4]"],
            ),
            tags=["raises-exception"],
        ),
        new_markdown_cell(CARDS, id="cards"),
        *(
            cell
            for k in (1, 2)
            for cell in (
                code(f"ex-00-{k}", "def double(x):\n    ..."),
                code(f"ex-00-{k}-check", f'check("00.{k}", double)', stream("not attempted yet\n")),
                new_markdown_cell(
                    "<details><summary>Solution</summary></details>", id=f"ex-00-{k}-hints"
                ),
            )
        ),
        new_markdown_cell("## On real data, once more", id="outside"),
        code(
            "real",
            "# A reader need not have the data.\nprint(real())",
            stream("4\n"),
            tags=["nbval-ignore-output", "real-data"],
        ),
        new_markdown_cell(RECAP, id="recap"),
        new_markdown_cell(QUESTIONS, id="questions"),
        new_markdown_cell(MORE, id="more"),
    ]
    return number(nb)


def good_notebook():
    """One of everything that the rules look at, and nothing to complain of."""
    return copy.deepcopy(first_notebook())


def number(nb):
    for count, cell in enumerate(check_notebooks.code_cells(nb), 1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return nb


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Where the page stands in a course, with what it links to; its form has tests of its own."""
    monkeypatch.setattr(check_notebooks.form, "problems", lambda nb: [])
    monkeypatch.setattr(check_notebooks, "MOST_LINES", check_notebooks.MOST_FOLDED)
    for name, text in {
        "README.md": "# The `course`, part 1\n",
        "tools/a b.py": "x\n",
        "notebooks/dot.png": "",
        "outside.md": "",
    }.items():
        path = tmp_path / "course" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.move(tmp_path / "course/outside.md", tmp_path / "outside.md")
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("# The next page")]),
        tmp_path / "course/notebooks/01_next.ipynb",
    )
    return tmp_path / "course/notebooks/00_page.ipynb"


def problems(nb, path):
    """The problems of the notebook as a file, as they are found in the repository."""
    path.write_text(nbformat.v4.writes(nb), encoding="utf-8")
    return check_notebooks.problems(path, page=True)


def test_a_good_notebook_has_no_problems(page):
    assert problems(good_notebook(), page) == []


def test_a_gradient_verified_on_several_seeds_is_a_twin_too(page):
    nb = good_notebook()
    cells = {cell.id: cell for cell in nb.cells}
    cells["twin"].source = cells["twin"].source.replace(
        'verify("00.1", x * x, 9)', 'verify_gradient("00.1", f, g, (3,))'
    )
    assert problems(nb, page) == []


def test_a_page_half_written_may_be_built():
    nb = good_notebook()
    nb.cells = nb.cells[:8]
    assert check_notebooks.problems_in(nb) == []


def set_text(text, cell="x", name="stdout"):
    return lambda nb, cells: cells[cell].update(outputs=[stream(text, name)])


def set_source(name, source):
    return lambda nb, cells: cells[name].update(source=source)


def set_data(cell, mime, value, place=0):
    return lambda nb, cells: cells[cell].outputs[place].data.update({mime: value})


def set_tags(cell, *tags):
    return lambda nb, cells: cells[cell].metadata.update(tags=list(tags))


def edit(name, old, new):
    def change(nb, cells):
        assert old in cells[name].source
        cells[name].source = cells[name].source.replace(old, new)

    return change


def set_count(name, count):
    return lambda nb, cells: cells[name].update(execution_count=count)


def drop(name):
    """Remove a cell, and number the rest again, so that only its absence is wrong."""
    return lambda nb, cells: (nb.cells.remove(cells[name]), number(nb))


def both(*damages):
    return lambda nb, cells: [damage(nb, cells) for damage in damages]


def drop_output(name, place):
    return lambda nb, cells: cells[name].outputs.pop(place)


def add_output(kind, name="x", **data):
    return lambda nb, cells: cells[name].outputs.append(new_output(kind, **data))


def add_cells(count, *tags, above="cards"):
    def add(nb, cells):
        place = nb.cells.index(cells[above])
        nb.cells[place:place] = [
            code(
                f"more-{len(nb.cells)}-{k}",
                "# It depends on the machine.\nprint(1)",
                stream("1\n"),
                tags=tags,
            )
            for k in range(count)
        ]
        number(nb)

    return add


def swap(name, other):
    def exchange(nb, cells):
        i, j = nb.cells.index(cells[name]), nb.cells.index(cells[other])
        nb.cells[i], nb.cells[j] = nb.cells[j], nb.cells[i]
        number(nb)

    return exchange


def clear(nb, cells):
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    cells["fault"].metadata.tags = []


def add_exercises(*numbers):
    def add(nb, cells):
        for k in numbers:
            nb.cells += [
                code(f"ex-00-{k}", "def double(x):\n    ..."),
                code(f"ex-00-{k}-check", f'check("00.{k}", double)', stream("not attempted yet\n")),
                new_markdown_cell(
                    "<details><summary>Solution</summary></details>", id=f"ex-00-{k}-hints"
                ),
            ]
            cells["cards"].source += f"\n\n> **Exercise 00.{k} · Name** — *5 minutes · stretch*"
        number(nb)

    return add


BAD = [  # the rule, what is broken, the one message (or the first, where one fault has many)
    (
        "schema",
        lambda nb, cells: cells["x"].pop("id"),
        "not valid nbformat 4.5: 'id' is a required property",
    ),
    (
        "schema",
        lambda nb, cells: cells["x"].update(id="title"),
        "cell id 'title' stands 2 times, expected once",
    ),
    (
        "kernel",
        lambda nb, cells: nb.metadata.kernelspec.update(name="course"),
        "kernelspec is 'course', expected 'python3'",
    ),
    ("kernel", lambda nb, cells: nb.metadata.clear(), "kernelspec is None, expected 'python3'"),
    ("counts", clear, "cell set-up: never run or outputs cleared (no execution_count, expected 1)"),
    (
        "counts",
        set_count("twin", None),
        "cell twin: never run or outputs cleared (no execution_count, expected 4)",
    ),
    ("counts", set_count("twin", 12), "cell twin: execution_count 12, expected 4"),
    (
        "counts",
        lambda nb, cells: (
            cells["empty"].update(outputs=[stream("left over\n")]),
            number(nb),
            set_count("empty", None)(nb, cells),
        ),
        "cell empty: never run or outputs cleared (no execution_count, expected 8)",
    ),
    (
        "figures",
        lambda nb, cells: cells["figure"].outputs[0].data.pop("image/png"),
        "cell figure: a figure without its picture, expected a PNG",
    ),
    (
        "figures",
        add_output(
            "execute_result",
            data={"text/plain": "<Figure size 640x480 with 1 Axes>"},
            execution_count=3,
        ),
        "cell x: a figure without its picture, expected a PNG",
    ),
    (
        "figures",
        both(set_source("figure", "plots.pipeline(words)"), drop_output("figure", 0)),
        "cell figure: 0 pictures, expected one of each of plots.pipeline",
    ),
    (
        "figures",
        lambda nb, cells: cells["widget"].outputs[0].data.pop("image/png"),
        "cell widget: a figure without its picture: metadata for image/png, and no such data",
    ),
    (
        "figures",
        lambda nb, cells: (
            cells["widget"].outputs[0].data.pop("image/png"),
            cells["widget"].outputs[0].update(metadata={}),
        ),
        "cell widget: a figure without its picture? Text alone is displayed",
    ),
    (
        "figures",
        drop_output("figure", 0),
        "cell figure: 0 pictures, expected one of each of plots.bars",
    ),
    (
        "figures",
        lambda nb, cells: cells["widget"].update(outputs=[]),
        "cell widget: 0 pictures, expected one of each of explorer.show",
    ),
    (
        "figures",
        edit("figure", "words)", "words)\nplt.show()"),
        "cell figure: 1 pictures, expected one of each of plots.bars, plt.show",
    ),
    ("figures", add_output("display_data"), "cell x: an output that shows nothing"),
    (
        "pictures",
        set_data("figure", "image/png", "AAAA"),
        "cell figure: image/png cannot be decoded: UnidentifiedImageError",
    ),
    (
        "pictures",
        set_data("figure", "image/png", ""),
        "cell figure: image/png cannot be decoded: UnidentifiedImageError",
    ),
    (
        "pictures",
        set_data("figure", "image/png", PNG[:-24]),
        "cell figure: image/png cannot be decoded: ",
    ),
    (
        "pictures",
        set_data("figure", "image/png", PNG[:-4]),
        "cell figure: image/png cannot be decoded: ",
    ),
    (
        "pictures",
        set_data("figure", "image/png", PNG[:-1]),
        "cell figure: image/png cannot be decoded: Error",
    ),
    (
        "pictures",
        set_data("figure", "image/png", "*" + PNG),
        "cell figure: image/png cannot be decoded: Error",
    ),
    (
        "pictures",
        set_data("figure", "image/png", flipped(PNG, 45)),
        "cell figure: image/png cannot be decoded: ",
    ),
    (
        "pictures",
        set_data("figure", "image/png", flipped(PNG, -14)),
        "cell figure: image/png cannot be decoded: ",
    ),
    (
        "pictures",
        set_data("figure", "image/png", picture(0, 255, kind="GIF")),
        "cell figure: image/png is in truth image/gif",
    ),
    (
        "pictures",
        set_data("figure", "image/png", picture(255, 255)),
        "cell figure: image/png is blank: one colour",
    ),
    (
        "pictures",
        set_data("figure", "image/png", PNG + "\n" * 400_000),
        "cell figure: image/png of 400,",
    ),
    (
        "pictures",
        set_data(
            "widget",
            "text/html",
            '2 &amp; 3 are near <img alt="3 dots" src="data:image/png;base64,AAAA">',
            1,
        ),
        "cell widget: image/png cannot be decoded",
    ),
    (
        "pictures",
        edit("note", "$f", "![A dot.](data:image/png;base64,AAAA) $f"),
        "cell note: image/png cannot be decoded",
    ),
    (
        "pictures",
        lambda nb, cells: cells["note"].attachments["dot.png"].update({"image/png": PNG[:40]}),
        "cell note: image/png cannot",
    ),
    (
        "pictures",
        lambda nb, cells: cells["note"].update(attachments={}),
        "cell note: attachment 'dot.png' is named, but not there",
    ),
    (
        "pictures",
        edit("note", "attachment:dot.png", "dot.png"),
        "cell note: attachment 'dot.png' is never shown",
    ),
    (
        "pictures",
        set_data(
            "sound", "text/html", f'<audio src="data:audio/wav;base64,{WAV[:-8]}"></audio>', 1
        ),
        "cell sound: audio/wav cannot be played: not a whole WAV file",
    ),
    (
        "pictures",
        set_data(
            "sound",
            "text/html",
            f'<audio src="data:audio/wav;base64,{flipped(WAV, 0)}"></audio>',
            1,
        ),
        "cell sound: audio/wav cannot be played: not a whole WAV file",
    ),
    (
        "pictures",
        add_output("display_data", data={"application/json": "x" * 1_500_000}),
        "outputs of 1,5",
    ),
    (
        "captions",
        lambda nb, cells: cells["figure"].outputs[0].update(metadata={}),
        "cell figure: image/png has the alternative text ''",
    ),
    (
        "captions",
        lambda nb, cells: cells["figure"].outputs[0].metadata["image/png"].update(alt="a figure"),
        "cell figure: image/png has the alternative text 'a figure', expected a sentence",
    ),
    (
        "captions",
        drop_output("figure", 1),
        "cell figure: image/png has no caption, expected its alternative text below it",
    ),
    (
        "captions",
        lambda nb, cells: cells["figure"].outputs.reverse(),
        "cell figure: image/png has no caption",
    ),
    (
        "captions",
        set_data("figure", "text/markdown", "*Something else.*", 1),
        "cell figure: image/png has no caption",
    ),
    (
        "captions",
        edit("note", "![A dot.](attach", "![ ](attach"),
        "cell note: picture 'attachment:dot.png' has no alternative text",
    ),
    (
        "captions",
        edit("note", ' alt="A dot"', ""),
        "cell note: picture 'dot.png' has no alternative text",
    ),
    (
        "captions",
        set_data("widget", "text/html", '2 &amp; 3 are near <img src="dot.png">', 1),
        "cell widget: picture 'dot.png' has no",
    ),
    (
        "lost",
        set_text("", "sound"),
        "cell sound: 0 printed lines, expected one at least of each of print",
    ),
    ("lost", drop_output("sound", 1), "cell sound: 0 outputs with players, expected 1"),
    (
        "lost",
        lambda nb, cells: cells["sound"].outputs[1].data.pop("text/plain"),
        "cell sound: an output without text/plain",
    ),
    (
        "lost",
        lambda nb, cells: cells["ex-00-1-check"].update(outputs=[]),
        "cell ex-00-1-check: 0 printed lines, expected one",
    ),
    (
        "lost",
        set_text("equation 00.1 holds\n", "twin"),
        "cell twin: ends in a value that is not shown",
    ),
    (
        "lost",
        edit("twin", "x == 3", "print(x)\nx == 3"),
        "cell twin: 1 printed lines, expected one at least of each of ",
    ),
    (
        "lost",
        both(set_tags("x", "nbval-ignore-output"), set_source("x", "# It takes too long.\nx = 3")),
        "cell x: its outputs are not compared, and there are none",
    ),
    ("stderr", set_text("UserWarning: old\n", name="stderr"), "cell x: stderr: 'UserWarning: old'"),
    (
        "machine_text",
        set_text("<object at 0x7f01a2b3c4d5>"),
        "cell x: a memory address in the output: '0x7f01a2",
    ),
    (
        "machine_text",
        set_text("in /home/me/course"),
        "cell x: a path of this machine in the output: '/home/me/",
    ),
    (
        "machine_text",
        set_text("'/Users/me'/"),
        "cell x: a path of this machine in the output: '/Users/me",
    ),
    (
        "machine_text",
        set_text("File /tmp/ipykernel_1/2.py:1"),
        "cell x: a path of this machine in the output: '/tmp/",
    ),
    (
        "machine_text",
        set_text("/root/.cache"),
        "cell x: a path of this machine in the output: '/root/.cache'",
    ),
    (
        "machine_text",
        set_text("lib/site-packages/torch"),
        "cell x: a path of this machine in the output: 'lib/site",
    ),
    (
        "machine_text",
        set_text("C:\\course\\x"),
        "cell x: a path of this machine in the output: 'C:",
    ),
    (
        "machine_text",
        lambda nb, cells: (
            cells["fault"].outputs[0].update(traceback=["\x1b[0;32m~/c/x.py\x1b[0m:3"])
        ),
        "cell fault: a path of this machine in the output: '~/c/x.py'",
    ),
    (
        "machine_text",
        set_text("[00:01, 12.5it/s]"),
        "cell x: a progress rate in the output: '12.5it/s'",
    ),
    (
        "machine_text",
        add_output("display_data", data={"text/html": "<b>5.1 MB/s</b>"}),
        "cell x: a progress rate in the output: '5.1 MB/s'",
    ),
    (
        "machine_text",
        set_text("from http://proxy:8080/simple"),
        "cell x: a host of this machine in the output: 'http://proxy'",
    ),
    (
        "machine_text",
        set_text("git.example.internal/x"),
        "cell x: a host of this machine in the output: 'git.example.int",
    ),
    (
        "machine_text",
        set_text("Looking in http://10.1.2.3/"),
        "cell x: a host of this machine in the output: 'http://10.1.2.3'",
    ),
    (
        "machine_text",
        edit("note", "[page]", "/work/main [page]"),
        "cell note: a path of this machine in its text: '/work/main'",
    ),
    (
        "machine_text",
        set_source("x", 'x = open("/root/x")'),
        "cell x: a path of this machine in its text: '/root/x'",
    ),
    (
        "machine_text",
        edit("note", "[page]", "pip --index-url https://pypi.me/ [page]"),
        "cell note: a registry of this machine in its",
    ),
    (
        "machine_text",
        edit("note", "[page]", "file:///opt/pypi [page]"),
        "cell note: a host of this machine in its text: 'file:///opt",
    ),
    (
        "widget_state",
        lambda nb, cells: nb.metadata.update(widgets={}),
        "metadata.widgets is saved, expected none",
    ),
    (
        "widget_state",
        add_output("display_data", data={check_notebooks.WIDGET: {"model_id": "8d2f"}}),
        "cell x: a saved widget view (random model id)",
    ),
    (
        "errors",
        add_output("error", ename="KeyError", evalue="lost"),
        "cell x: KeyError without the tag raises-except",
    ),
    (
        "errors",
        lambda nb, cells: cells["fault"].update(outputs=[]),
        "cell fault: tagged raises-exception, but nothing",
    ),
    (
        "errors",
        lambda nb, cells: cells["fault"].outputs[0].update(traceback=[]),
        "cell fault: ZeroDivisionError without its traceback",
    ),
    ("semicolon", set_source("figure", "plot(x);\n"), "cell figure: ends in `;`: use plt.show()"),
    ("question", set_source("x", "# How many?\nx = 3"), "cell x: a line ends in `?`, which"),
    (
        "tags",
        set_tags("x", "nbval-ignore-outputs"),
        "cell x: unknown tag 'nbval-ignore-outputs', expected one of derivation, fault, figure, ",
    ),
    (
        "tags",
        set_tags("x", "hide-output"),
        "cell x: unknown tag 'hide-output', expected one of derivation, fault, figure, game, ",
    ),
    (
        "tags",
        set_tags("x", "pytest-validate-ignore-output"),
        "cell x: unknown tag 'pytest-validate-ignore-output'",
    ),
    (
        "tags",
        set_tags("real", "real-data"),
        "cell real: tagged real-data, expected nbval-ignore-output too",
    ),
    (
        "tags",
        set_source("x", "x = 3  # NBVAL_SKIP"),
        "cell x: comment NBVAL_SKIP, expected a cell tag",
    ),
    (
        "tags",
        set_source("x", "##PYTEST_VALIDATE_IGNORE_OUTPUT"),
        "cell x: comment PYTEST_VALIDATE_IGNORE_OUTPUT, expected a cell",
    ),
    (
        "svg",
        add_output("display_data", data={"image/svg+xml": "<svg/>"}),
        "cell x: an SVG output, expected PNG",
    ),
    (
        "equations",
        edit("note", "$f", "$$\na = b\n$$ $f"),
        "cell note: an equation without \\tag{NN.k}: 'a =",
    ),
    ("equations", edit("note", "$f", "$$ $f"), "cell note: a $$ without its partner"),
    (
        "equations",
        set_source("twin", '# verify("00.1", x, 9)\nTrue'),
        "cell eq-00-1: equation 00.1 has no twin: expected ver",
    ),
    (
        "equations",
        set_source("twin", '"""\nverify("00.1", x, 9)\n"""'),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    (
        "equations",
        set_source("twin", 'x == [\n  # (verify("00.1", x, 9))\n]'),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    (
        "equations",
        set_source("twin", 'verify("00.10", x, 9)'),
        "cell eq-00-1: equation 00.1 has no twin: expected ver",
    ),
    (
        "equations",
        set_source("twin", 'verify("00.1", by_hand=x, reference=x)'),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    (
        "equations",
        set_source("twin", 'verify_gradient("00.2", f, g, (3,))'),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    (
        "equations",
        set_source("twin", 'verify_gradient("00.1", f, f, (3,))'),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    (
        "equations",
        set_source("twin", 'unverify("00.1", x, 9)'),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    (
        "equations",
        both(
            set_tags("twin", "nbval-skip"), edit("twin", "verify", "# It takes too long.\nverify")
        ),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    (
        "equations",
        both(
            set_source("twin", 'verify("00.1", x, 9)'), set_text("equation 00.10 holds\n", "twin")
        ),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    (
        "equations",
        both(
            set_tags("twin", "raises-exception"),
            add_output("error", "twin", ename="E", evalue="", traceback=["E"]),
        ),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    (
        "equations",
        both(
            set_source("twin", 'def unused():\n    verify("00.1", x, 9)'), set_text("9\n", "twin")
        ),
        "cell eq-00-1: equation 00.1 has no twin",
    ),
    ("exercises", drop("ex-00-2-check"), "exercise 00.2: no check (cell ex-00-2-check)"),
    ("exercises", drop("ex-00-2-hints"), "exercise 00.2: no hints (cell ex-00-2-hints)"),
    ("exercises", drop("ex-00-2"), "exercise 00.2: no stub (cell ex-00-2)"),
    (
        "exercises",
        set_source("ex-00-2-check", 'check("00.3", f)'),
        "exercise 00.2: cell ex-00-2-check does not call",
    ),
    (
        "exercises",
        set_source("ex-00-2-hints", "Think."),
        "exercise 00.2: no folded solution in cell ex-00-2-hints",
    ),
    ("sizes", add_cells(28), "41 code cells, expected at most 40"),
    ("sizes", set_source("x", "x = 3\n" * 26), "cell x: 26 lines, expected at most 25"),
    (
        "sizes",
        set_source("set-up", "import os\n" * 11),
        "cell set-up: 11 lines, expected at most 10",
    ),
    (
        "sizes",
        set_source("x", f"x = '{'x' * 95}'"),
        "cell x: a line of code of 101 characters, expected at most 100: \"x = 'xx",
    ),
    (
        "sizes",
        set_text("short\n" + "x" * 101),
        "cell x: a line of output of 101 characters, expected at most 100: 'xx",
    ),
    (
        "sizes",
        set_data("twin", "text/plain", "T" * 101, 1),
        "cell twin: a line of output of 101 characters, expected",
    ),
    (
        "uncompared",
        edit("sound", "# Its bytes differ between machines.\n", ""),
        "cell sound: not compared, expected a comment",
    ),
    (
        "uncompared",
        edit("real", "# A reader need not have the data.", "# (B, T)"),
        "cell real: not compared, expected a comment",
    ),
    (
        "uncompared",
        add_cells(3, "nbval-ignore-output"),
        "4 of 16 code cells are not compared, expected at most 3",
    ),
    (
        "uncompared",
        both(add_cells(6, "nbval-skip"), add_cells(20)),
        "7 of 39 code cells are not compared, expected at most 6",
    ),
    (
        "uncompared",
        add_cells(2, "nbval-ignore-output", "real-data", above="recap"),
        "3 cells are tagged real-data, expected at most 2",
    ),
    (
        "uncompared",
        edit("outside", "On real data", "Elsewhere"),
        "cell real: tagged real-data in the section 'Elsewhere, once",
    ),
    (
        "full",
        edit("dial", "FULL = False", "FULL = True"),
        "FULL is set in dial, expected one line FULL = False",
    ),
    (
        "full",
        edit("x", "x = 3", "x = 3\nFULL = False"),
        "FULL is set in dial, x, expected one line FULL = False",
    ),
    (
        "full",
        edit("x", "x = 3", "for FULL in [True]:\n    x = 3"),
        "FULL is set in dial, x, expected",
    ),
    (
        "full",
        edit("dial", "FULL = False", "'FULL = False'"),
        "FULL is set in no cell, expected one line FULL = False",
    ),
    ("full", edit("dial", "FULL = False", "FULL: bool = False"), "FULL is set in dial, expected"),
    ("title", edit("title", "?", "."), "cell title: a question is missing"),
    (
        "title",
        edit("title", "About 60 minutes.", ""),
        "cell title: its length in minutes is missing",
    ),
    ("title", edit("title", "You need nothing.", ""), "cell title: what it needs is missing"),
    (
        "title",
        edit("title", "# A", "Hello.\n\n# A"),
        "cell title: headings of level 1 are ['A page, and what is on it?'], expected one, at",
    ),
    ("title", edit("title", "# A", "A"), "cell title: headings of level 1 are []"),
    (
        "title",
        edit("note", "## One", "# One"),
        "cell title: headings of level 1 are ['A page, and what is on it?', 'One step']",
    ),
    (
        "parts",
        drop("recap"),
        (
            "sections are In this notebook you will, One step, On real data, once more, Questions,"
            " Read more; expected"
        ),
    ),
    (
        "parts",
        drop("questions"),
        (
            "sections are In this notebook you will, One step, On real data, once more, Recap, Read"
            " more; expected"
        ),
    ),
    ("parts", drop("more"), "sections are "),
    ("parts", swap("recap", "questions"), "sections are "),
    (
        "parts",
        edit("aims", "## In", "## Before\n\nWe begin.\n\n## In"),
        "sections are Before, In this notebook you will, ",
    ),
    ("parts", edit("recap", "## Recap", "<!-- ## Recap -->"), "sections are "),
    (
        "parts",
        edit("recap", "3. say.", ""),
        "2 points in the recap, expected 3 as in the opening list",
    ),
    (
        "parts",
        both(edit("recap", "\n3. say.", ""), edit("aims", "\n3. say.", "")),
        "2 points in the opening list, expected 3 to 6",
    ),
    (
        "parts",
        edit("questions", "5. Why?", "6. Why?"),
        "folded answers [1, 2, 3, 4, 6], expected 1 to 5",
    ),
    (
        "parts",
        edit("questions", "5. Why?</summary>\n\nBecause.", "5. Why?</summary>\n\n"),
        "folded answers [1, 2, 3, 4], expected",
    ),
    (
        "parts",
        edit("questions", "<details><summary>5. Why?</summary>\n\nBecause.\n\n</details>", ""),
        "folded answers [1, 2, 3, 4]",
    ),
    (
        "parts",
        edit("questions", "<details><summary>5.", "<details><summary>"),
        "folded answers [1, 2, 3, 4], expected",
    ),
    ("parts", edit("more", "- A.", "A."), "nothing to read more, expected a list"),
    (
        "parts",
        edit("more", "## Read", "## An end\n\n### Of it\n\n## Read"),
        "section 'Of it' is empty",
    ),
    ("parts", edit("more", "## Read", "## An end\n\n## Read"), "section 'An end' is empty"),
    (
        "cards",
        edit("cards", "Exercise 00.2 ·", "Exercise 00.3 ·"),
        "cards of exercises ['00.1', '00.3'], expected ['00.1', '00.2']",
    ),
    (
        "cards",
        edit("cards", " · core*", "*"),
        "cards of exercises ['00.1'], expected ['00.1', '00.2']",
    ),
    (
        "cards",
        edit("cards", "*5 minutes · warm-up*", "*warm-up*"),
        "cards of exercises ['00.2'], expected ['00.1', '00.2']",
    ),
    ("cards", add_exercises(3, 4, 5), "5 exercises, expected 2 to 4"),
    (
        "links",
        edit("note", "#In-this", "#in-this"),
        "cell note: link '#in-this-notebook-you-will': there is no such heading in 00_page",
    ),
    (
        "links",
        edit("note", "next-page", "last-page"),
        "cell note: link '01_next.ipynb#The-last-page': there is no such heading in 01_n",
    ),
    (
        "links",
        edit("note", "#the-course-part-1", "#The-course,-part-1"),
        "cell note: link '../README.md#The-course,-part-1': there is no",
    ),
    (
        "links",
        edit("note", "01_next", "02_next"),
        "cell note: link '02_next.ipynb#The-next-page': there is no such file",
    ),
    (
        "links",
        edit("note", "b.py#L3", "b.py#top"),
        "cell note: link '../tools/a%20b.py#top': there is no such heading",
    ),
    (
        "links",
        edit("note", "../README.md", "../../outside.md"),
        "cell note: link '../../outside.md#the-course-part-1' leads out of",
    ),
    (
        "links",
        edit("note", "../tools/a%20b.py#L3", "/etc/hosts"),
        "cell note: link '/etc/hosts' leads out of the course",
    ),
    (
        "links",
        edit("note", "../tools/a%20b.py#L3", "../tools"),
        "cell note: link '../tools': there is no such file",
    ),
    (
        "links",
        edit("note", '"dot.png"', '"dots.png"'),
        "cell note: link 'dots.png': there is no such file",
    ),
    (
        "links",
        edit("note", "$f", "<a href='dots.png'>dots</a> $f"),
        "cell note: link 'dots.png': there is no such file",
    ),
    (
        "links",
        edit("note", "<img", "![dots][1]\n\n[1]: dots.png\n\n<img"),
        "cell note: link 'dots.png': there is no such file",
    ),
    (
        "links",
        edit("note", "https://example", "htps://example"),
        "cell note: link 'htps://example.org/a_(b)?c=d#e': expected https://",
    ),
    (
        "links",
        edit("note", "https://example", "file:///example"),
        "cell note: link 'file:///example.org/a_(b)?c=d#e': expected https:",
    ),
    (
        "links",
        edit("note", "https://example", "https:/example"),
        "cell note: link 'https:/example.org/a_(b)?c=d#e': expected https://",
    ),
    (
        "links",
        edit("note", "https://example.org", "https://example..org"),
        "cell note: link 'https://example..org/a_(b)?c=d#e': exp",
    ),
    (
        "links",
        edit("note", "https://example.org", "www.example.org"),
        "cell note: link 'www.example.org/a_(b)?c=d#e': there is no such",
    ),
    (
        "links",
        edit("note", "<img", '<a href="https://[x">x</a> <img'),
        "cell note: link 'https://[x': Invalid IPv6 URL",
    ),
    (
        "links",
        edit("note", "<img", '<a href="https://x.org/a b">x</a> <img'),
        "cell note: link 'https://x.org/a b': expected https:/",
    ),
    ("links", edit("note", "$f", "[empty]() $f"), "cell note: a link without an address"),
    (
        "badge",
        edit("title", "00_page", "01_next"),
        "cell title: the Colab badge opens notebooks/01_next.ipynb, expected notebooks/00_p",
    ),
    (
        "badge",
        edit("title", f"({COLAB}/00_page.ipynb)", "(../README.md)"),
        "cell title: the Colab badge opens nothing, expected notebooks/00_page.ipynb",
    ),
]


@pytest.mark.parametrize(
    "rule, damage, message", BAD, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_bad_notebook_is_refused_by_its_rule_alone(rule, damage, message, page):
    nb = good_notebook()
    damage(nb, {cell.id: cell for cell in nb.cells})
    found = problems(nb, page)
    assert found and found[0].startswith(message), found
    paths = [page] if getattr(check_notebooks, rule) in check_notebooks.PATH_RULES else []
    assert found == list(getattr(check_notebooks, rule)(nb, *paths)), "another rule complains too"
    assert len(found) == 1 or damage is clear


def test_every_rule_is_broken_once():
    rules = [*check_notebooks.RULES, *check_notebooks.PAGE_RULES, *check_notebooks.PATH_RULES]
    assert {rule for rule, *_ in BAD} == {"schema", *(rule.__name__ for rule in rules)}


# ---- the rest of the course ----

WRONG = "".join(["t", "eh"])  # in two pieces, because codespell reads this file too


@pytest.fixture
def course(page):
    """A course with a good page and good texts."""
    root = page.parents[1]
    for name, text in {
        "README.md": (
            '# The `course`, part 1\n\n## Twice\n\n## Twice\n\n## Twice\n\n<a id="here"></a> ![A'
            " dot.](notebooks/dot.png)\n\n[code](tools) [more](data/a/README.md#its-data),"
            " [Twice](#twice) [twice](#twice-1) [thrice](#twice-2) [here](#here)\n\n|"
            " [00](notebooks/00_page.ipynb) |"
            f" [![Open](https://example.org/b.svg)]({COLAB}/00_page.ipynb) |\n"
        ),
        "data/a/README.md": "# It's data\n\n[up](../../README.md#the-course-part-1)\n",
        "notebooks/source/00_page/page.py": "",
        "Makefile": "help:\n\tpip install --index-url https://pypi.org/simple /usr/bin\n",
        "tools/a b.py": '"""It works."""\n',
        ".gitignore": "# A reader's own\nnotebooks/my_course/\n.venv*/\n.cache/\n",
        ".venv/bad.md": "[x](nowhere.md)",
        ".git/bad.md": "[x](nowhere.md)",
        "notebooks/my_course/bad.md": f"[x](nowhere.md) {WRONG}",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", root)
    page.write_text(nbformat.v4.writes(good_notebook()), encoding="utf-8")
    return root


def add_text(path, text):
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_good_texts_have_no_problems(course):
    assert list(check_notebooks.texts(course)) == []
    assert list(check_notebooks.spelling(course)) == []


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("README.md", "[x](nowhere.md)", "README.md: link 'nowhere.md': there is no such file"),
        (
            "README.md",
            "[x](#Twice)",
            "README.md: link '#Twice': there is no such heading in README.md",
        ),
        (
            "README.md",
            "[x](notebooks/00_page.ipynb#recap)",
            (
                "README.md: link 'notebooks/00_page.ipynb#recap': there is no such heading in"
                " 00_page.ipynb"
            ),
        ),
        (
            "README.md",
            "[x](data/a/README.md#it's-data)",
            'README.md: link "data/a/README.md#it\'s-data": there is no such heading in README.md',
        ),
        (
            "README.md",
            "![](notebooks/dot.png)",
            "README.md: picture 'notebooks/dot.png' has no alternative text",
        ),
        (
            "data/a/README.md",
            "[x](README.md/../../b)",
            "data/a/README.md: link 'README.md/../../b': there is no such file",
        ),
        (
            "README.md",
            f"[a](notebooks/00_page.ipynb) [b]({COLAB}/01_next.ipynb)",
            (
                "README.md: the Colab badge opens notebooks/01_next.ipynb, expected"
                " notebooks/00_page.ipynb"
            ),
        ),
        (
            "README.md",
            f"[b]({COLAB}/02_none.ipynb)",
            "README.md: the Colab badge opens notebooks/02_none.ipynb, expected a notebook",
        ),
        ("README.md", "see /work/main/x", "README.md:14: a path of this machine: '/work/main/x'"),
        ("tools/a b.py", "# as in /root/x", "tools/a b.py:2: a path of this machine: '/root/x'"),
        (
            "Makefile",
            "\tpip install -i http://proxy:8080/x",
            "Makefile:3: a host of this machine: 'http://proxy'",
        ),
        (
            ".ci/run",
            "pip install --index-url=https://pypi.me/simple",
            ".ci/run:1: a registry of this machine: 'index-url=https://pypi.me/simple'",
        ),
        (
            ".github/course.yml",
            "pip: file:///opt/pypi",
            ".github/course.yml:1: a host of this machine: 'file:///opt/pypi'",
        ),
    ],
)
def test_a_bad_text_is_refused(name, text, message, course):
    add_text(course / name, text)
    found = list(check_notebooks.texts(course))
    assert len(found) == 1 and found[0].startswith(message), found


def test_a_link_by_the_path_that_the_course_has_on_this_machine_is_refused(course):
    add_text(course / "README.md", f"[up]({course}/Makefile)")
    assert list(check_notebooks.texts(course)) == [
        f"README.md: link '{course}/Makefile' leads out of the course"
    ]


def test_a_misspelt_word_is_found_wherever_a_reader_or_an_author_meets_it(course):
    add_text(course / "README.md", f"Rec{'ieve'} it.")
    add_text(course / "tools/a b.py", f"# {WRONG} reason\n")
    add_text(course / "notebooks/source/00_page/page.py", f"# {WRONG} page\n")
    nb = good_notebook()
    nb.cells[5].source += f"\n\nNow {WRONG} note."
    nb.cells[5].source += f"\n\n![a picture](data:image/png;base64,iVBO/{WRONG}+0=)"  # no word
    (course / "notebooks/00_page.ipynb").write_text(nbformat.v4.writes(nb), encoding="utf-8")
    assert sorted(check_notebooks.spelling(course)) == [
        f"spelling: README.md:14: Rec{'ieve'} ==> Receive",
        f"spelling: notebooks/00_page.ipynb/cell note:9: {WRONG} ==> the",
        f"spelling: notebooks/source/00_page/page.py:1: {WRONG} ==> the",
        f"spelling: tools/a b.py:2: {WRONG} ==> the",
    ]


def test_a_spelling_check_that_does_not_run_is_a_problem(course):
    add_text(course / "pyproject.toml", "[tool.codespell")
    assert [problem[:28] for problem in check_notebooks.spelling(course)] == [
        "spelling: codespell did not "
    ]


@pytest.mark.parametrize(
    "text", ["", "<<<<<<< ours\n{}", '{"nbformat": 3, "worksheets": []}', "[]"]
)
def test_a_file_that_is_no_notebook_is_a_problem_and_not_a_crash(text, tmp_path, capsys):
    path = tmp_path / "00_page.ipynb"
    path.write_text(text, encoding="utf-8")
    assert check_notebooks.main([str(path)]) == 1
    assert "00_page.ipynb: not " in capsys.readouterr().out


def test_command_line_checks_all_notebooks_of_a_folder(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    nb = good_notebook()
    nbformat.write(nb, tmp_path / "notebooks/00_good.ipynb")
    assert check_notebooks.main([], tmp_path) == 0
    assert capsys.readouterr().out == "1 checked, no problems\n"
    nb.metadata["widgets"] = {}
    nbformat.write(nb, tmp_path / "notebooks/01_bad.ipynb")
    assert check_notebooks.main([], tmp_path) == 1
    assert capsys.readouterr().out == "01_bad.ipynb: metadata.widgets is saved, expected none\n"


def test_one_command_checks_the_whole_course(course, capsys):
    """What `make check` runs: each of its parts is heard of."""
    (course / "notebooks/00_page.ipynb").unlink()
    (course / "notebooks/source/00_page/page.py").unlink()
    (course / "README.md").write_text("# The course\n", encoding="utf-8")
    (course / "data/a/README.md").write_text("# Data\n", encoding="utf-8")
    (course / "notebooks/01_next.ipynb").rename(course / "next.ipynb")
    assert check_notebooks.main(["--course"], course) == 0
    assert capsys.readouterr().out == "0 checked, no problems\n"

    (course / "next.ipynb").rename(course / "notebooks/01_next.ipynb")
    add_text(course / "README.md", f"[{WRONG}](nowhere.md)\n")
    add_text(course / "notebooks/source/02_new/page.py", "# %% [markdown]\n# # New\n")
    add_text(course / "notebooks/source/02_new/sweeps.py", "import os\n")
    assert check_notebooks.main(["--course"], course) == 1
    found = capsys.readouterr().out
    for problem in (
        "01_next.ipynb: kernelspec is None",
        "01_next.ipynb: cell",
        "01_next.ipynb: 0 exercises, expected 2 to 4",
        "README.md: link 'nowhere.md'",
        f"spelling: README.md:2: {WRONG} ==> the",
        "01_next: a notebook without a source",
        "02_new: there is no notebook yet",
        "layout: notebooks/source/02_new/sweeps.py:1:8: F401",
    ):
        assert problem in found


def count_pages_read(monkeypatch):
    """The pages that are read from now on, in a list that grows."""
    read, usual = [], check_notebooks.problems

    def problems_noted(path, page=False):
        read.append(path.stem)
        return usual(path, page=page)

    monkeypatch.setattr(check_notebooks, "problems", problems_noted)
    return read


@pytest.mark.parametrize(
    "name, again",
    [
        ("notebooks/00_page.ipynb", True),
        ("notebooks/source/00_page/page.py", True),
        ("data/a/README.md", True),  # links lead there
        ("pyproject.toml", True),
        ("tools/new_rule.py", True),
        ("notebooks/new.png", True),  # a picture comes or goes
        ("notebooks/source/00_page/new.txt", True),  # a file of which a link may speak
        ("data/a/more.txt", False),
    ],
)
def test_a_page_that_has_passed_is_read_again_only_when_it_may_have_changed(
    course, monkeypatch, name, again
):
    (course / "notebooks/01_next.ipynb").unlink()
    (course / "data/a/more.txt").write_text("one\n", encoding="utf-8")
    monkeypatch.setattr(pages, "difference", lambda *_: "")
    monkeypatch.setattr(pages, "readme", lambda *_: None)
    usual = check_notebooks.PATH_RULES
    monkeypatch.setattr(check_notebooks, "PATH_RULES", [])  # its neighbour is gone
    assert check_notebooks.course(course) == [], "the page must pass before"
    monkeypatch.setattr(check_notebooks, "PATH_RULES", usual)
    read = count_pages_read(monkeypatch)
    assert check_notebooks.course(course) == [] and read == []
    add_text(course / name, "\n")
    check_notebooks.course(course)
    assert read == ["00_page"] * again


def test_a_page_with_a_problem_is_read_until_it_has_none(course, monkeypatch):
    read = count_pages_read(monkeypatch)
    for _ in range(2):
        assert "01_next: a notebook without a source" in check_notebooks.course(course)
    assert read == ["00_page", "01_next"] * 2
