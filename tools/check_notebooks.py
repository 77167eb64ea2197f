"""Check the built notebooks for what strict nbval lets pass.

    python tools/check_notebooks.py [notebook ...]      all notebooks when none is named

nbval skips a cell without an execution count, so a notebook with cleared outputs passes it; it also
passes counts out of order, a misspelt tag and a lost picture. Each rule below catches one such thing.
To add a rule, write a generator that takes a notebook and yields sentences, put it into RULES, and
give tests/test_notebooks.py a notebook that breaks it (a test fails while a rule has none).
"""
import re
import sys
from pathlib import Path

import nbformat
from nbformat.validator import iter_validate

ROOT = Path(__file__).resolve().parents[1]
TAGS = {"nbval-skip", "nbval-ignore-output", "nbval-check-output", "raises-exception"}
WIDGET = "application/vnd.jupyter.widget-view+json"
EXERCISE_ID = re.compile(r"ex-(\d\d)-(\d+)(-check|-hints)?")
MACHINE = {  # what another machine would print differently
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{8,}"),
    "a path of this machine": re.compile(
        r"(?<![\w.~/-])/(?:app|builds|content|data|home|mnt|opt|private|root|srv|tmp|usr|var|work\w*"
        r"|Users|Volumes)/[^\s'\"<>]+|~/\S+\.py|[^\s'\"<>]*site-packages\b|\b[A-Z]:\\[^\s'\"<>]+"),
    "a progress rate": re.compile(r"[\d?][\d.]* ?(?:it/s|s/it|[kMG]?B/s)\b"),
}


def code_cells(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]


def prose_cells(nb):
    """(cell, text without code) of the markdown cells: a `$$` or a `#` inside code is neither."""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            yield cell, re.sub(r"```.*?```|`[^`\n]*`", "", cell.source, flags=re.S)


def outputs(nb):
    return [(cell, output) for cell in code_cells(nb) for output in cell.outputs]


def text_of(output):
    """All text of an output that a reader or nbval sees (pictures are not text)."""
    texts = [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
    texts += [value for mime, value in output.get("data", {}).items() if mime.startswith("text/")]
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(map(str, texts)))


def schema(nb):
    """Every program must be able to open the file; the format demands ids but not that they differ."""
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
    """nbval compares nothing where the count is null, so all counts 1..N prove one run from the top."""
    for expected, cell in enumerate(code_cells(nb), 1):
        if cell.execution_count is None:
            yield f"cell {cell.id}: never run or outputs cleared (no execution_count, expected {expected})"
        elif cell.execution_count != expected:
            yield f"cell {cell.id}: execution_count {cell.execution_count}, expected {expected}"


def figures(nb):
    """nbval compares no picture, so it does not miss one either."""
    for cell, output in outputs(nb):
        data = output.get("data", {})
        if "<Figure size" in data.get("text/plain", "") and not data.get("image/png", "").startswith("iVBOR"):
            yield f"cell {cell.id}: a figure without its picture, expected a PNG"


def stderr(nb):
    """A warning is noise to a reader and differs between versions: silence or mend its cause."""
    for cell, output in outputs(nb):
        if output.get("name") == "stderr":
            yield f"cell {cell.id}: stderr: {text_of(output).strip().splitlines()[0]!r}"


def machine_text(nb):
    """Outputs must be the same on every machine, and must not tell whose machine it was."""
    for cell, output in outputs(nb):
        for what, pattern in MACHINE.items():
            if found := pattern.search(text_of(output)):
                yield f"cell {cell.id}: {what} in the output: {found.group()!r}"


def widget_state(nb):
    """Saved widget state breaks GitHub's preview and holds random ids."""
    if "widgets" in nb.metadata:
        yield "metadata.widgets is saved, expected none"
    for cell, output in outputs(nb):
        if WIDGET in output.get("data", {}):
            yield f"cell {cell.id}: a saved widget view (random model id), expected its picture and text only"


def errors(nb):
    """An error is either announced by the tag or a fault; an announced one that never comes is one too."""
    for cell in code_cells(nb):
        raised = [output.ename for output in cell.outputs if output.output_type == "error"]
        announced = "raises-exception" in cell.metadata.get("tags", [])
        if raised and not announced:
            yield f"cell {cell.id}: {raised[0]} without the tag raises-exception"
        if announced and not raised:
            yield f"cell {cell.id}: tagged raises-exception, but nothing was raised"


def semicolon(nb):
    """IPython hides the value of a line that ends in `;`, nbval's kernel does not."""
    for cell in code_cells(nb):
        if cell.source.rstrip().endswith(";"):
            yield f"cell {cell.id}: ends in `;`: use plt.show() or `_ = ...`"


def tags(nb):
    """nbval ignores a misspelt tag, and the builder ignores nbval's comments."""
    for cell in nb.cells:
        for tag in cell.metadata.get("tags", []):
            if re.match("nbval|raise", tag) and tag not in TAGS:
                yield f"cell {cell.id}: unknown tag {tag!r}, expected one of {', '.join(sorted(TAGS))}"
        if cell.cell_type == "code" and (found := re.search(r"#\s*(NBVAL_\w+)", cell.source)):
            yield f"cell {cell.id}: comment {found.group(1)}, expected a cell tag"


def svg(nb):
    """SVG holds a date and random ids, and nbval compares it."""
    for cell, output in outputs(nb):
        if "image/svg+xml" in output.get("data", {}):
            yield f"cell {cell.id}: an SVG output, expected PNG"


def equations(nb):
    """Every displayed equation has a number and a twin that runs."""
    code = "\n".join(cell.source for cell in code_cells(nb))
    verified = set(re.findall(r"^[^#\n]*\bverify\(\s*[\"'](\d\d\.\d+)[\"']", code, re.M))
    for cell, text in prose_cells(nb):
        parts = text.split("$$")
        if len(parts) % 2 == 0:
            yield f"cell {cell.id}: a $$ without its partner"
            continue
        for block in parts[1::2]:
            if not re.search(r"\\tag\{\d\d\.\d+\}", block):
                yield f"cell {cell.id}: an equation without \\tag{{NN.k}}: {' '.join(block.split())[:40]!r}"
        for number in re.findall(r"\\tag\{(.*?)\}", text):
            if number not in verified:
                yield f"cell {cell.id}: equation {number} has no twin: expected verify(\"{number}\", ...)"


def exercises(nb):
    """Every exercise has its stub, its check and its hints, and ends in a folded solution."""
    cells = {cell.id: cell for cell in nb.cells}
    found = {match.group(1, 2) for name in cells if (match := EXERCISE_ID.fullmatch(name))}
    for chapter, k in sorted(found, key=lambda pair: int(pair[1])):
        key, stub = f"{chapter}.{k}", f"ex-{chapter}-{k}"
        for name, what in ((stub, "stub"), (f"{stub}-check", "check"), (f"{stub}-hints", "hints")):
            if name not in cells:
                yield f"exercise {key}: no {what} (cell {name})"
        check, hints = cells.get(f"{stub}-check"), cells.get(f"{stub}-hints")
        if check and f'check("{key}", ' not in check.source:
            yield f"exercise {key}: cell {check.id} does not call check(\"{key}\", ...)"
        if hints and "<summary>Solution</summary>" not in hints.source:
            yield f"exercise {key}: no folded solution in cell {hints.id}"


RULES = [kernel, counts, figures, stderr, machine_text, widget_state, errors, semicolon, tags, svg,
         equations, exercises]


def problems_in(nb):
    """All problems of a notebook in memory. The other rules need a valid one, so schema comes first."""
    return list(schema(nb)) or [problem for rule in RULES for problem in rule(nb)]


def problems(path):
    """All problems of the notebook at `path`, as sentences; an empty list is a good notebook."""
    try:  # the version-4 reader, because nbformat.read mends faults silently
        nb = nbformat.v4.reads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, KeyError, AttributeError) as error:
        return [f"not a notebook of format 4: {error}"]
    return problems_in(nb)


def main(arguments=None, root=ROOT):
    arguments = sys.argv[1:] if arguments is None else arguments
    paths = [Path(name) for name in arguments] or sorted((root / "notebooks").glob("*.ipynb"))
    found = [f"{path.name}: {problem}" for path in paths for problem in problems(path)]
    print("\n".join(found) or f"{len(paths)} checked, no problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
