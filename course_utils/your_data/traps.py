"""What makes a score too good: the label in a name, a column that gives it away, twins."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import torch

from course_utils.your_data.folder import Data, content_hash, number, plain_name
from course_utils.your_data.sentences import ADVICE, Finding, say

SURE = 0.95  # the share of rows whose label another column must give
FEW = 10  # rows of a class, below which nothing can be said of it
SAID = 0.6  # the share of rows whose text names their class
LONG = 4  # words of a text, from which on its twin is worth a sentence
UNEQUAL = 0.8  # the share of one class that is worth a sentence
NEAR = 0.05  # of the usual distance between two rows
WORDS = re.compile(r"[^\W\d_]+|\d+")


def traps(
    data: Data, vectors: dict[str, torch.Tensor], rows: dict[str, list[int]]
) -> list[Finding]:
    """All that can be seen without a model; `rows` are those of the first split."""
    found = _small_classes(data) + _alike_classes(data) + _one_class_groups(data)
    labels = data.labels.tolist()
    for column in data.columns.files:
        found += _names(data, column, labels)
    found += _columns(data, labels)
    for name, kind in data.kinds.items():
        if kind != "numbers":
            found += _twins(data, name, vectors[name], rows)
    return found


def told_by(values: Iterable, labels: list[int]) -> float:
    """The share of rows whose label is told by the other rows with the same value: the most
    frequent label among them. A value that stands alone tells nothing.
    """
    values = list(values)
    counts: dict = defaultdict(Counter)
    for value, label in zip(values, labels):
        counts[value][label] += 1
    right = 0
    for value, label in zip(values, labels):
        others = counts[value] - Counter({label: 1})
        if others:
            most = max(others.values())
            right += others[label] == most and list(others.values()).count(most) == 1
    return right / len(labels)


def told_by_order(values: list[float], labels: list[int]) -> float:
    """The share of rows whose two neighbours in the order of a number have their label."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    right = sum(
        all(labels[order[j]] == labels[i] for j in (k - 1, k + 1) if 0 <= j < len(order))
        for k, i in enumerate(order)
    )
    return right / len(labels)


def _small_classes(data: Data) -> list[Finding]:
    counts = Counter(data.labels.tolist())
    few = {data.classes[i]: counts[i] for i in sorted(counts) if counts[i] < FEW}
    found = [say("small_class", few=few, least=FEW)] if few else []
    place, most = counts.most_common(1)[0]
    if most > UNEQUAL * len(data.labels):
        share = most / len(data.labels)
        found.append(say("unequal_classes", share=share, name=data.classes[place]))
    return found


def _alike_classes(data: Data) -> list[Finding]:
    same = defaultdict(list)
    for name in data.classes:
        same[plain_name(name)].append(name)
    return [say("alike_classes", names=names) for names in same.values() if len(names) > 1]


def _one_class_groups(data: Data) -> list[Finding]:
    """Whether most rows stand in groups of several rows that have one class each."""
    labels = defaultdict(list)
    for group, label in zip(data.groups.tolist(), data.labels.tolist()):
        labels[group].append(label)
    several = [values for values in labels.values() if len(values) > 1]
    alike = [values for values in several if len(set(values)) == 1]
    if sum(map(len, alike)) <= len(data.labels) / 2:
        return []
    return [say("one_class_groups", alike=len(alike), several=len(several))]


def _names(data: Data, column: str, labels: list[int]) -> list[Finding]:
    """Whether file names tell the label: by a part at the same place, a class's name, or order."""
    cells = [row[column].strip() for row in data.cells]
    there = [i for i, cell in enumerate(cells) if cell]
    names, of = [cells[i] for i in there], [labels[i] for i in there]
    if len(set(of)) < 2:
        return []
    chance = max(Counter(of).values()) / len(of)
    bound = chance + (1 - chance) / 2
    stems = [Path(name.replace("\\", "/")).with_suffix("") for name in names]
    parts = [WORDS.findall(str(stem)) for stem in stems]
    ways = {}
    for place in range(min(6, max(map(len, parts)))):
        values = [part[place].casefold() if place < len(part) else "" for part in parts]
        ways[f"part {place + 1} of the name, such as {values[0]!r}"] = told_by(values, of)
    words = [_said(name, data.classes) for name in names]
    ways["the class's own name in it"] = sum(a == b for a, b in zip(words, of)) / len(of)
    if all(re.search(r"\d", name) for name in names):
        counted = [float(re.findall(r"\d+", name)[-1]) for name in names]
        if len(set(counted)) > len(names) / 2:
            ways["the order of its numbers"] = told_by_order(counted, of)
    way, share = max(ways.items(), key=lambda one: one[1])
    if share < bound:
        return []
    values = {"column": column, "way": way, "share": share, "chance": chance}
    return [say("name_gives_label", **values, example=names[0])]


def _said(text: str, classes: list[str]) -> int | None:
    """The place of the one class whose name stands in the text, as whole words."""
    text, said = _plain(text), []
    for i, name in enumerate(map(_plain, classes)):
        if len(name.strip()) > 1 and name in text:
            said.append(i)
    return said[0] if len(said) == 1 else None


def _plain(text: str) -> str:
    """Words and numbers apart, with blanks around each."""
    return f" {' '.join(WORDS.findall(text.casefold()))} "


def _columns(data: Data, labels: list[int]) -> list[Finding]:
    """Columns beside the label that give it away."""
    found, columns = [], data.columns
    for column in columns.header:
        if column in (columns.label, columns.group, *columns.files):
            continue
        cells = [row[column].strip() for row in data.cells]
        there = [i for i, cell in enumerate(cells) if cell]
        of, values = [labels[i] for i in there], [cells[i].casefold() for i in there]
        if len(there) < FEW or len(set(of)) < 2:
            continue
        ways = {"its value": told_by(values, of)}
        numbers = [number(value) for value in values]
        if None not in numbers:
            ways["its order"] = told_by_order(numbers, of)
        words = sum(_said(value, data.classes) == label for value, label in zip(values, of))
        way, share = max(ways.items(), key=lambda one: one[1])
        if share < SURE and words >= SAID * len(of):
            way, share = "the class's name in it", words / len(of)
        elif share < SURE:
            continue
        inputs = columns.texts + columns.numbers
        used = "an input of the models here" if column in inputs else "not used here"
        found.append(say("column_gives_label", column=column, way=way, share=share, used=used))
    return found


def _twins(data: Data, name: str, x: torch.Tensor, rows: dict[str, list[int]]) -> list[Finding]:
    """Rows whose value of one modality is the same, or nearly, on both sides of a split."""
    there = [i for i, value in enumerate(data.values[name]) if value is not None]
    if data.kinds[name] == "text":  # words and signs come again, and are no twins
        there = [i for i in there if len(data.values[name][i].split()) >= LONG]
    if len(there) < 3:
        return []
    kept = x[there].double()
    kept = (kept - kept.mean(0)) / kept.std(0).clamp(min=1e-6)
    distance = torch.cdist(kept, kept)
    near = (distance < NEAR * distance.median()).triu(1).nonzero().tolist()
    side = {row: split for split, places in rows.items() for row in places}
    pairs = [(there[a], there[b]) for a, b in near]
    across = [(a, b) for a, b in pairs if side[a] != side[b]]
    if not across:
        return []
    values, labels = data.values[name], data.labels.tolist()
    same = sum(_content(values[a]) == _content(values[b]) for a, b in across)
    other = sum(labels[a] != labels[b] for a, b in across)
    row, twin = (data.rows[i] for i in across[0])
    counts = {"pairs": len(across), "same": same, "other": other, "row": row, "twin": twin}
    advice = ADVICE["text" if data.kinds[name] == "text" else "other"]
    return [say("near_duplicates", name=name, **counts, advice=advice)]


def _content(value) -> str:
    return content_hash(value) if isinstance(value, Path) else value
