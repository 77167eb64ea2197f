"""How many minutes a page takes: an estimate from what stands on it, by one rule for all pages.

Visible words / 130, visible lines of code / 7, exercises 1.3 times what their cards say, 1 for a
figure, 2 for a guess, 5 for a derivation on paper, 10 for a game. A folded cell that a claim rests
on (tagged `proof`) counts half; folded text, set-up and imports count nothing. An author tags a
markdown cell `derivation` or a code cell `game`.

The rest of a page does not need a section whose heading begins with "More:", nor an exercise that
its card calls stretch. A title cell promises the minutes without them, and with them.
"""

import ast
import re

WORDS, LINES = 130, 7  # a minute
CARD = re.compile(r"^> \*\*Exercise .+\*\* — \*(\d+) minutes", re.M)
STRETCH = re.compile(CARD.pattern + r" · stretch\*$", re.M)
STEP = 5  # nobody believes an estimate to the minute
HEADING = re.compile(r"^(#{1,6}) (.*)", re.M)
MORE = "More:"


def estimate(cells) -> int:
    """The minutes of a page's cells (notebook cells in order), to the nearest five."""
    return max(STEP, STEP * round(amount(cells) / STEP))


def promise(cells) -> str:
    """The minutes in words: "70 minutes. With what is marked More or stretch it takes 90"."""
    needed, whole = estimate(core(cells)), estimate(cells)
    if whole == needed:
        return f"{needed} minutes"
    return f"{needed} minutes. With what is marked More or stretch it takes {whole}"


def core(cells) -> list:
    """The cells without the cards of stretch exercises and the sections "More: ...", which end at
    the next heading of their level or of a higher one. Either heading is the first of its cell.
    """
    kept, level = [], 0  # the level of the section that is left out, 0 in none
    for cell in cells:
        heading = HEADING.match(cell.source) if cell.cell_type == "markdown" else None
        if heading and (not level or len(heading[1]) <= level):
            level = len(heading[1]) if heading[2].startswith(MORE) else 0
        if not level:
            cell = cell.copy()
            cell.source = STRETCH.sub("", cell.source)
            kept.append(cell)
    return kept


def amount(cells) -> float:
    """The same by the rule, not rounded: a page's amount is the sum of its parts' amounts."""
    total = 0.0
    for cell in cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown":
            total += words(cell.source) / WORDS
            total += 1.3 * sum(int(minutes) for minutes in CARD.findall(cell.source))
            total += 5 * ("derivation" in tags)
        elif cell.cell_type == "code" and "set-up" not in tags:
            folded = {"proof": 0.5, "figure": 0.0, "imports": 0.0}
            weight = min([folded[tag] for tag in tags & folded.keys()], default=1.0)
            lines = [line for line in cell.source.splitlines() if line.strip()]
            total += weight * len(lines) / LINES
            names = calls(cell.source)
            total += figures(names) + 2 * names.count(("guess", False))
            total += 10 * ("game" in tags)
    return total


def words(text: str) -> int:
    """The words that a reader sees: without folded text, code blocks, pictures and addresses."""
    text = re.sub(r"<details>.*?</details>|```.*?```|<!--.*?-->", " ", text, flags=re.S)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)|<[^>]+>", " ", text)
    return len(text.split())


def calls(code: str) -> list[tuple[str, bool]]:
    """(name, whether it has a caption) of each call in a cell, a method's name without what stands
    before it but for `plots`; none where the code is not Python.
    """
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return []
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        caption = any(keyword.arg == "caption" for keyword in node.keywords)
        found.append((f"plots.{name}" if owner == "plots" else name, caption))
    return found


def figures(names: list[tuple[str, bool]]) -> int:
    """Pictures that a cell shows: by a `show`, or a function of `plots` with a caption."""
    shown = [
        name in ("show", "plots.show") or (name.startswith("plots.") and caption)
        for name, caption in names
    ]
    return sum(shown)
