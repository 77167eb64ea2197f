"""What a notebook holds, as the rules of `make check` ask for it."""

import ast
import functools
import re

MAYBE = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.If,
    ast.IfExp,
    ast.While,
    ast.Try,
    ast.Match,
)
# the bytes of a picture or a sound, in which there are no words
EMBEDDED = r";base64,[\w+/=]+"


def tags_of(cell):
    return set(cell.metadata.get("tags", []))


def code_cells(nb):
    return [
        cell
        for cell in nb.cells
        if cell.cell_type == "code" and (cell.source.strip() or cell.outputs)
    ]


def executed(nb):
    """The code cells whose outputs must be there: a cell that was never run is for `counts` to
    tell.
    """
    return [cell for cell in code_cells(nb) if cell.execution_count is not None]


def prose_cells(nb):
    """(cell, text without code and comments) of the markdown cells: a `$$` or a `#` inside code
    is neither.
    """
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            yield (
                cell,
                re.sub(
                    r"<!--.*?-->",
                    "",
                    re.sub(r"```.*?```|`[^`\n]*`", "code", cell.source, flags=re.S),
                    flags=re.S,
                ),
            )


def outputs(nb):
    return [(cell, output) for cell in code_cells(nb) for output in cell.outputs]


def text_of(output):
    """All text of an output that a reader or nbval sees (pictures and sounds are not text)."""
    texts = [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
    texts += [value for mime, value in output.get("data", {}).items() if mime.startswith("text/")]
    return re.sub(rf"\x1b\[[\d;]*m|{EMBEDDED}", "", "\n".join(map(str, texts)))


@functools.lru_cache(maxsize=256)
def tree(source):
    """A cell's code as Python reads it; empty where it cannot (a syntax error is for `errors` to
    tell).
    """
    # as written, or without magics
    for code in (source, re.sub(r"^( *)[%!].*", r"\1pass", source, flags=re.M)):
        try:
            return ast.parse(code)
        except SyntaxError:
            pass
    return ast.Module([], [])


def certain_calls(cell):
    """(name, call) of the calls that running the cell makes in any case: in no function, branch
    or `try`.
    """
    todo = [tree(cell.source)]
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node
        todo += [child for child in ast.iter_child_nodes(node) if not isinstance(child, MAYBE)]


def keywords(call):
    return {keyword.arg for keyword in call.keywords}


def sections(nb):
    """[level, heading, text] of each section up to the next heading; what stands above the first
    has level 0.
    """
    found, prose = [[0, "", ""]], {cell.id: text for cell, text in prose_cells(nb)}
    for cell in nb.cells:
        for part in re.split(r"^(?=#{1,6} )", prose.get(cell.id, "code"), flags=re.M):
            heading = re.match(r"(#+) +(.*)", part)
            if heading:
                found.append([len(heading[1]), heading[2].strip(), part[heading.end() :]])
            else:
                found[-1][2] += f"\n{part}"
    return found
