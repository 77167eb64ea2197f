"""Which cell serves what the course owes.

    python tools/owed.py            the table: item, page and section of its cell
    python tools/owed.py 12 13      these pages: what each owes, and what it marks

notebooks/source/owed.toml lists the items: what the five source articles teach (F), their listings
(L) and formulas (P), each with the pages that owe it. A page marks the cell that serves an item in
the cell's head, which the builder leaves out of the notebook:

    # %% [markdown] owes="F57 L17"

`make check` tells of every mark that names no item, and of every item that a standing page owes
and does not mark.
"""

import re
import sys
import tomllib
from pathlib import Path

import pages

ROOT = Path(__file__).resolve().parents[1]
HEAD = re.compile(r'^# %%.*\bowes="([^"]*)"')
TITLE = re.compile(r"^# #{1,3} (.+)")
CELLS = re.compile(r"^(?=# %%)", re.M)
GOES_ON = re.compile(r"^# (<|\||- )")  # a fold, a table, a list


def owed(root):
    """{item: (pages that owe it, its words)}; the pages are alternatives in a list of lists."""
    path = root / "notebooks/source/owed.toml"
    if not path.is_file():
        return {}
    found = {}
    for items in tomllib.loads(path.read_text(encoding="utf-8")).values():
        for item, (numbers, words) in items.items():
            found[item] = ([group.split() for group in numbers.split("·")], words)
    return found


def marks(room):
    """[(item, section)] of a page, in its order.

    The section is the first heading in the marked cell; of a cell that has none, or begins with a
    list, a table or a fold, the last one before it.
    """
    found, before = [], ""
    for cell in CELLS.split((room / "page.py").read_text(encoding="utf-8")):
        head, start, *rest = [*cell.splitlines(), "", ""]
        titles = [title[1] for line in [start, *rest] if (title := TITLE.match(line))]
        section = titles[0] if titles and not GOES_ON.match(start) else before
        if mark := HEAD.match(head):
            found += [(item, section) for item in mark[1].split()]
        before = titles[-1] if titles else before
    return found


def problems(root):
    """Sentences: marks that name no item, and items that a standing page owes without a cell."""
    items, standing = owed(root), {room.name[:2]: room for room in pages.sources(root)}
    marked = {number: [item for item, _ in marks(room)] for number, room in standing.items()}
    found = []
    for number, names in marked.items():
        unknown = sorted({name for name in names if name not in items})
        found += [f"{standing[number].name}: owes={name!r} is no item of owed.toml"
                  for name in unknown]
    for item, (groups, words) in items.items():
        for group in groups:
            here = [number for number in group if number in standing]
            if len(here) < len(group) or any(item in marked[number] for number in here):
                continue
            found.append(f"{' or '.join(group)}: owes {item} ({words}) and marks no cell for it")
    return found


def table(root):
    """All items with where each is served, as Markdown."""
    items, places = owed(root), {}
    for room in pages.sources(root):
        for item, section in marks(room):
            places.setdefault(item, []).append(f"{room.name[:2]} · {section}")
    lines = ["| item | what | where |", "|---|---|---|"]
    for item, (_, words) in items.items():
        where = "; ".join(dict.fromkeys(places.get(item, [])))
        lines.append(f"| {item} | {words} | {where} |".replace("|  |", "| |"))
    return "\n".join(lines)


def of_page(root, number):
    """What one page owes and where it marks it, a line for each item."""
    room = next((room for room in pages.sources(root) if room.name[:2] == number), None)
    served = {}
    for item, section in marks(room) if room else []:
        served.setdefault(item, []).append(section)
    lines = []
    for item, (groups, words) in owed(root).items():
        if any(number in group for group in groups) or item in served:
            lines.append(f"{number} {item} {words}: {'; '.join(served.get(item, [])) or '-'}")
    return "\n".join(lines)


def main(arguments=None, root=ROOT):
    chosen = sys.argv[1:] if arguments is None else arguments
    if chosen:
        print("\n".join(of_page(root, number) for number in chosen))
        return 0
    print(table(root))
    found = problems(root)
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
