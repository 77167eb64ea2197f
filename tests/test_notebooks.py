"""The committed notebooks equal their sources, and every rule of check_notebooks refuses a bad one."""
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import build_notebooks
import check_notebooks

SOURCES = build_notebooks.sources(ROOT)
PNG = "iVBORw0KGgo="


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_committed_notebook_is_what_its_source_gives(source):
    assert build_notebooks.difference(ROOT, source) == "", "run: make notebooks"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_committed_notebook_has_no_problems(source):
    assert check_notebooks.problems(build_notebooks.built(ROOT, source)) == []


def test_every_notebook_has_a_source():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks == {source.stem for source in SOURCES}


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def good_notebook():
    """One of everything that the rules look at, and nothing to complain of."""
    nb = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    nb.cells = [
        new_markdown_cell("# A page\n\nIt costs `$$` 5.", id="title"),
        new_code_cell("x = 3", id="x"),
        new_markdown_cell("$$x^2 = 9 \\tag{00.1}$$", id="eq-00-1"),
        new_code_cell('verify("00.1", x * x, 9)', id="twin", outputs=[
            stream("16 kbit/s, 3/4, ../data/digits/a.flac, 0x1f\n")]),
        new_code_cell("plot(x)", id="figure", outputs=[new_output("display_data", data={
            "text/plain": "<Figure size 640x480 with 1 Axes>", "image/png": PNG})]),
        new_code_cell("", id="empty"),
        new_code_cell("1 / 0", id="fault", metadata={"tags": ["raises-exception", "real-data"]}, outputs=[
            new_output("error", ename="ZeroDivisionError", evalue="division by zero", traceback=["Cell In[4]"])]),
        new_code_cell("def double(x):\n    ...", id="ex-00-2"),
        new_code_cell('check("00.2", double)', id="ex-00-2-check", outputs=[stream("not attempted yet\n")]),
        new_markdown_cell("<details><summary>Solution</summary></details>", id="ex-00-2-hints"),
    ]
    return number(nb)


def number(nb):
    for count, cell in enumerate(check_notebooks.code_cells(nb), 1):
        cell.execution_count = count
    return nb


def problems(nb, folder):
    """The problems of the notebook as a file, as they are found in the repository."""
    path = folder / "00_page.ipynb"
    path.write_text(nbformat.v4.writes(nb), encoding="utf-8")
    return check_notebooks.problems(path)


def test_a_good_notebook_has_no_problems(tmp_path):
    assert problems(good_notebook(), tmp_path) == []


def set_text(text, cell="twin", name="stdout"):
    return lambda nb, cells: cells[cell].update(outputs=[stream(text, name)])


def set_source(name, source):
    return lambda nb, cells: cells[name].update(source=source)


def set_count(name, count):
    return lambda nb, cells: cells[name].update(execution_count=count)


def drop(name):
    """Remove a cell, and number the rest again, so that only its absence is wrong."""
    return lambda nb, cells: (nb.cells.remove(cells[name]), number(nb))


def add_output(kind, name="x", **data):
    return lambda nb, cells: cells[name].outputs.append(new_output(kind, **data))


def clear(nb, cells):
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    cells["fault"].metadata.tags = []


BAD = [  # the rule, what is broken, the one message (or the first, where one fault has many)
    ("schema", lambda nb, cells: cells["x"].pop("id"), "not valid nbformat 4.5: 'id' is a required property"),
    ("schema", lambda nb, cells: cells["x"].update(id="title"), "cell id 'title' stands 2 times, expected once"),
    ("kernel", lambda nb, cells: nb.metadata.kernelspec.update(name="course"), "kernelspec is 'course', expected 'python3'"),
    ("kernel", lambda nb, cells: nb.metadata.clear(), "kernelspec is None, expected 'python3'"),
    ("counts", clear, "cell x: never run or outputs cleared (no execution_count, expected 1)"),
    ("counts", set_count("twin", None), "cell twin: never run or outputs cleared (no execution_count, expected 2)"),
    ("counts", set_count("twin", 12), "cell twin: execution_count 12, expected 2"),
    ("figures", lambda nb, cells: cells["figure"].outputs[0].data.pop("image/png"), "cell figure: a figure without"),
    ("figures", lambda nb, cells: cells["figure"].outputs[0].data.update({"image/png": "AAAA"}), "cell figure: a fig"),
    ("stderr", set_text("UserWarning: old\n", name="stderr"), "cell twin: stderr: 'UserWarning: old'"),
    ("machine_text", set_text("<object at 0x7f01a2b3c4d5>"), "cell twin: a memory address in the output: '0x7f01a2"),
    ("machine_text", set_text("in /home/me/course"), "cell twin: a path of this machine in the output: '/home/me/"),
    ("machine_text", set_text("'/Users/me'/"), "cell twin: a path of this machine in the output: '/Users/me"),
    ("machine_text", set_text("File /tmp/ipykernel_1/2.py:1"), "cell twin: a path of this machine in the output: '/tmp/"),
    ("machine_text", set_text("/root/.cache"), "cell twin: a path of this machine in the output: '/root/.cache'"),
    ("machine_text", set_text("lib/site-packages/torch"), "cell twin: a path of this machine in the output: 'lib/site"),
    ("machine_text", set_text("C:\\course\\x"), "cell twin: a path of this machine in the output: 'C:"),
    ("machine_text", lambda nb, cells: cells["fault"].outputs[0].update(traceback=["\x1b[0;32m~/c/x.py\x1b[0m:3"]),
     "cell fault: a path of this machine in the output: '~/c/x.py'"),
    ("machine_text", set_text("[00:01, 12.5it/s]"), "cell twin: a progress rate in the output: '12.5it/s'"),
    ("machine_text", add_output("display_data", data={"text/html": "<b>5.1 MB/s</b>"}),
     "cell x: a progress rate in the output: '5.1 MB/s'"),
    ("widget_state", lambda nb, cells: nb.metadata.update(widgets={}), "metadata.widgets is saved, expected none"),
    ("widget_state", add_output("display_data", data={check_notebooks.WIDGET: {"model_id": "8d2f"}}),
     "cell x: a saved widget view (random model id)"),
    ("errors", add_output("error", ename="KeyError", evalue="lost"), "cell x: KeyError without the tag raises-except"),
    ("errors", lambda nb, cells: cells["fault"].update(outputs=[]), "cell fault: tagged raises-exception, but nothing"),
    ("semicolon", set_source("figure", "plot(x);\n"), "cell figure: ends in `;`: use plt.show()"),
    ("tags", lambda nb, cells: cells["x"].metadata.update(tags=["nbval-ignore-outputs"]),
     "cell x: unknown tag 'nbval-ignore-outputs', expected one of nbval-check-output, nbval-ig"),
    ("tags", set_source("x", "x = 3  # NBVAL_SKIP"), "cell x: comment NBVAL_SKIP, expected a cell tag"),
    ("svg", add_output("display_data", data={"image/svg+xml": "<svg/>"}), "cell x: an SVG output, expected PNG"),
    ("equations", set_source("title", "# A page\n\n$$\na = b\n$$"), "cell title: an equation without \\tag{NN.k}: 'a ="),
    ("equations", set_source("title", "# A page\n\n$$ a"), "cell title: a $$ without its partner"),
    ("equations", set_source("twin", '# verify("00.1", x, 9)'), "cell eq-00-1: equation 00.1 has no twin: expected ver"),
    ("equations", set_source("twin", 'verify("00.10", x, 9)'), "cell eq-00-1: equation 00.1 has no twin: expected ver"),
    ("exercises", drop("ex-00-2-check"), "exercise 00.2: no check (cell ex-00-2-check)"),
    ("exercises", drop("ex-00-2-hints"), "exercise 00.2: no hints (cell ex-00-2-hints)"),
    ("exercises", drop("ex-00-2"), "exercise 00.2: no stub (cell ex-00-2)"),
    ("exercises", set_source("ex-00-2-check", 'check("00.3", f)'), "exercise 00.2: cell ex-00-2-check does not call"),
    ("exercises", set_source("ex-00-2-hints", "Think."), "exercise 00.2: no folded solution in cell ex-00-2-hints"),
]


@pytest.mark.parametrize("rule, damage, message", BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_a_bad_notebook_is_refused_by_its_rule_alone(rule, damage, message, tmp_path):
    nb = good_notebook()
    damage(nb, {cell.id: cell for cell in nb.cells})
    found = problems(nb, tmp_path)
    assert found and found[0].startswith(message), found
    assert found == list(getattr(check_notebooks, rule)(nb)), "another rule complains too"
    assert len(found) == 1 or damage is clear


def test_every_rule_is_broken_once():
    assert {rule for rule, *_ in BAD} == {"schema", *(rule.__name__ for rule in check_notebooks.RULES)}


@pytest.mark.parametrize("text", ["", "<<<<<<< ours\n{}", '{"nbformat": 3, "worksheets": []}', "[]"])
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
