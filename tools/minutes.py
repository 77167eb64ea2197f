"""How many minutes a page takes: an estimate from what stands on it, by one rule for all pages.

Visible words / 130, visible lines of code / 7, exercises 1.3 times what their cards say, 1 for a
figure, 2 for a guess, 5 for a derivation on paper, 10 for a game. A folded cell that a claim rests
on (tagged `proof`) counts half; folded text and the set-up cell count nothing. An author tags a
markdown cell `derivation` or a code cell `game`.
"""

import ast
import re

WORDS, LINES = 130, 7  # a minute
CARD = re.compile(r"^> \*\*Exercise .+\*\* — \*(\d+) minutes", re.M)
STEP = 5  # nobody believes an estimate to the minute


def estimate(cells) -> int:
    """The minutes of a page's cells (notebook cells in order), to the nearest five."""
    total = 0.0
    for cell in cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown":
            total += words(cell.source) / WORDS
            total += 1.3 * sum(int(minutes) for minutes in CARD.findall(cell.source))
            total += 5 * ("derivation" in tags)
        elif cell.cell_type == "code" and "set-up" not in tags:
            folded = {"proof": 0.5, "figure": 0.0}
            weight = min([folded[tag] for tag in tags & folded.keys()], default=1.0)
            lines = [line for line in cell.source.splitlines() if line.strip()]
            total += weight * len(lines) / LINES
            total += figures(cell.source) + 2 * calls(cell.source).count("guess")
            total += 10 * ("game" in tags)
    return max(STEP, STEP * round(total / STEP))


def words(text: str) -> int:
    """The words that a reader sees: without folded text, code blocks, pictures and addresses."""
    text = re.sub(r"<details>.*?</details>|```.*?```|<!--.*?-->", " ", text, flags=re.S)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)|<[^>]+>", " ", text)
    return len(text.split())


def calls(code: str) -> list[str]:
    """The names of all calls in a cell, as they are written; none where the code is not Python."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return []
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def figures(code: str) -> int:
    """Pictures that a cell shows: by plots.show, a function of `plots` with a caption, a widget."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return 0
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            caption = any(keyword.arg == "caption" for keyword in node.keywords)
            count += name.endswith(".show") or (name.startswith("plots.") and caption)
    return count
