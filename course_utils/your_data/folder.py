"""The reader's folder: which table, which column is what, and which rows can be used."""

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from course_utils.datasets.cells import ENDINGS, NO_LABEL, rows_of, sample_of
from course_utils.datasets.table import Problem, read_table
from course_utils.your_data.sentences import Finding, say

LABELS = ("label", "class", "category", "target", "labels", "y")
GROUPS = (
    "group patient subject participant speaker person writer voice user author artist family"
    " session site customer".split()
)
IDS = ("id", "nr", "no", "index", "row", "number", "uuid")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|\.\d+)([eE][+-]?\d+)?")
OTHER_FILE = re.compile(r".+\.[A-Za-z]\w{1,4}")  # clip.mp4, page.docx
CODE = re.compile(r"[A-Za-z]{1,8}[-_ ]?\d{1,6}")  # P01, voice 7
RATE = 8_000  # Hz, at which sounds are read
MOST_MODALITIES = 6
MOST_GAPS = 0.1  # the share of rows that one column of numbers may cost


class NotUsable(ValueError):
    """What the reader can mend: it names what came and what was expected."""


@dataclass
class Columns:
    """What each column of the table is taken for, and the sentences that say why."""

    file: Path
    encoding: str
    header: list[str]
    found: list[tuple[int, dict | str]]
    separator: str
    label: str
    group: str | None
    files: list[str]
    texts: list[str]
    numbers: list[str]
    notes: list[Finding]

    @property
    def wanted(self) -> dict[str, list[str]]:
        """The inputs, as `sample_of` takes them."""
        inputs = {"files": self.files, "texts": self.texts, "numbers": self.numbers}
        return inputs | {"label": [], "group": []}


@dataclass
class Data:
    """The rows that can be used, in the table's order.

    kinds   {modality: "image", "audio", "text" or "numbers"}
    values  {modality: a value for each row: a path, a text, a tensor (D,), or None}
    labels, groups  (N,) int64; without a column of groups each row is one of its own
    """

    columns: Columns
    rows: list[int]
    cells: list[dict]
    kinds: dict[str, str]
    values: dict[str, list]
    labels: Tensor
    classes: list[str]
    groups: Tensor
    problems: list[Problem]
    key: str = field(repr=False)


def find_table(folder: str | Path) -> Path:
    """The table in a folder: metadata.csv, else the only CSV or TSV. A file is taken as it is."""
    folder = Path(folder)
    if folder.is_file():
        return folder
    if not folder.is_dir():
        raise NotUsable(f"folder: expected a folder with a CSV table, got {folder}: no such folder")
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".csv", ".tsv"))
    if (folder / "metadata.csv").is_file():
        return folder / "metadata.csv"
    if len(tables) != 1:
        got = [path.name for path in tables or sorted(folder.iterdir())][:8]
        sheet = any(name.lower().endswith((".xlsx", ".xls", ".ods", ".numbers")) for name in got)
        raise NotUsable(
            f"folder: expected metadata.csv or exactly one CSV in {folder}, got"
            f" {len(tables)} tables{' among' if not tables else ':'} {got}"
            + ". Save the spreadsheet as CSV"
            * sheet
        )
    return tables[0]


def find_columns(folder: str | Path, label: str | None, group: str | None) -> Columns:
    """Which column is what. `group` is a column's name, "none", or None to have it guessed."""
    file = find_table(folder)
    header, found, separator, encoding = _opened(file)
    cells = [row for _, row in found if isinstance(row, dict)]
    notes = [say("encoding", encoding=encoding)] if encoding != "utf-8" else []
    if not cells:
        raise NotUsable(f"{file.name}: expected rows under the header {header}, got none")
    label = _label(file, header, label)
    group, why = _group(header, cells, label, group)
    notes.append(why)
    _check_label(label, [row[label].strip() for row in cells])
    files, texts, numbers, unused = [], [], [], []
    for column in header:
        if column in (label, group):
            continue
        values = [row[column].strip() for row in cells if row[column].strip()]
        kind = _kind(column, values)
        {"files": files, "texts": texts, "numbers": numbers}.get(kind, unused).append(column)
        notes += _numbers_as_text(column, values) if kind == "texts" else []
        if kind == "unused" and values and all(OTHER_FILE.fullmatch(value) for value in values):
            unused.remove(column)
            notes.append(say("other_files", column=column, first=values[0]))
    numbers, gaps, lost = _without_gaps(numbers, cells)
    if unused:
        notes.append(say("unused", columns=_quoted(unused)))
    if gaps:
        notes.append(say("gaps", columns=_quoted(gaps), lost=lost))
    if not files + texts + numbers:
        raise NotUsable(
            f"{file.name}: expected a column to learn from beside the label {label!r}, got {header}"
        )
    return Columns(
        file, encoding, header, found, separator, label, group, files, texts, numbers, notes
    )


def read_folder(folder: str | Path, label: str | None = None, group: str | None = None) -> Data:
    """The rows that can be used, and each of the others with the reason."""
    columns = find_columns(folder, label, group)
    try:
        table = read_table(
            columns.file,
            label=columns.label,
            group=columns.group,
            files=columns.files,
            texts=columns.texts,
            numbers=columns.numbers,
            encoding=columns.encoding,
            rate=RATE,
            side=8,
        )
    except ValueError as error:
        lost = "no such file" in str(error)
        hint = ". Are paths as seen from the table, in the same capitals?" if lost else ""
        raise NotUsable(f"{columns.file.name}: {error}{hint}") from None
    problems = _hinted(table.problems, columns)
    bad = {problem.row for problem in problems}
    kept = [(row, cells) for row, cells in columns.found if row not in bad]
    rows, cells = [row for row, _ in kept], [row for _, row in kept]
    kinds, values = values_of(columns, cells)
    if len(kinds) > MOST_MODALITIES:
        raise NotUsable(
            f"{columns.file.name}: expected at most {MOST_MODALITIES} modalities, got {list(kinds)}"
        )
    labels = torch.tensor([table.classes.index(row[columns.label]) for row in cells])
    names = [row[columns.group] for row in cells] if columns.group else rows
    places = {name: i for i, name in enumerate(dict.fromkeys(names))}
    groups = torch.tensor([places[name] for name in names])
    key = _content(columns, values)
    return Data(columns, rows, cells, kinds, values, labels, table.classes, groups, problems, key)


def _hinted(problems: list[Problem], columns: Columns) -> list[Problem]:
    """Each with what is nearly right: the same file or class in other capitals, the table's own
    comma.
    """
    top, cells, inside, found = columns.file.parent, dict(columns.found), {}, []
    labels = Counter(row[columns.label] for row in cells.values() if isinstance(row, dict))
    for row, column, reason in problems:
        if columns.separator == ";":
            reason = reason.replace("such as 3.5", "such as 3,5 or 3.5")
            if re.match(r"'\d+(\.\d{3})+,\d+' is no number", reason):
                reason += ", without a point for thousands"
        if "not a picture" in reason and _is_empty(top / _plain_path(cells[row][column])):
            reason = f"{cells[row][column]!r}: the file is empty"
        if reason.startswith("the only row of class"):
            reason += _alike(cells[row][column], labels)
        if reason.startswith("no such file"):
            here = top
            for part in _plain_path(cells[row][column]).parts:
                if here not in inside:
                    names = os.listdir(here) if here.is_dir() else []
                    inside[here] = {name.casefold(): name for name in names}
                here = here / inside[here].get(part.casefold(), part)
            if here.is_file():
                reason += f"; there is {here.relative_to(top).as_posix()!r}"
        found.append(Problem(row, column, reason))
    return found


def _plain_path(cell: str) -> Path:
    return Path(cell.strip().replace("\\", "/"))


def _is_empty(file: Path) -> bool:
    return file.is_file() and file.stat().st_size == 0


def _alike(label: str, labels: Counter) -> str:
    """The class of several rows that a label of one row is but for capitals and marks."""
    for name, rows in labels.most_common():
        if rows > 1 and plain_name(name) == plain_name(label) != "":
            return f"; there is {name!r}"
    return ""


def plain_name(name: str) -> str:
    """Letters and digits only, without capitals."""
    return re.sub(r"[\W_]+", "", name).casefold()


def values_of(columns: Columns, cells: list[dict]) -> tuple[dict[str, str], dict[str, list]]:
    """The kind of each modality, and its value in each row."""
    names = {column: column for column in columns.files}
    decimal_comma = columns.separator == ";"
    folder = columns.file.parent
    samples = [sample_of(row, folder, names, columns.wanted, decimal_comma) for row in cells]
    kinds, values = {}, {}
    for column in columns.files:
        first = next(row[column] for _, row in columns.found if row[column].strip())
        kind = "audio" if first.strip().lower().endswith(ENDINGS["audio"]) else "image"
        name = kind if column == "file_name" else column.removesuffix("_file_name")
        kinds[name], values[name] = kind, [sample[column] for sample in samples]
    for column in columns.texts:
        kinds[column], values[column] = "text", [sample[column] for sample in samples]
    if columns.numbers:
        kinds["numbers"], values["numbers"] = "numbers", [sample["numbers"] for sample in samples]
    return kinds, values


def content_hash(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def number(cell: str) -> float | None:
    """What a cell says as a number, with a point or a comma; None where it is none."""
    return float(cell.replace(",", ".")) if NUMBER.fullmatch(cell) else None


# ---- guesses ----


def _opened(file: Path) -> tuple[list[str], list, str, str]:
    """The table in the encoding that it turns out to have."""
    encoding = "utf-8"
    for _ in range(3):
        try:
            return *rows_of(file, encoding), encoding
        except (ValueError, UnicodeError) as error:
            likely = re.search(r"encoding='([\w-]+)'", str(error))
            if likely is None or likely[1] == encoding:
                raise NotUsable(str(error)) from None
            encoding = likely[1]
        except OSError as error:
            raise NotUsable(f"{file}: cannot be read: {error.strerror or error}") from None
    raise NotUsable(f"{file.name}: expected a CSV in UTF-8, got an encoding that is not known")


def _label(file: Path, header: list[str], label: str | None) -> str:
    if label is not None:
        if label not in header:
            raise NotUsable(
                f"label: {label!r} is not among the columns {header} of {file.name}"
                + _nearly(label, header)
            )
        return label
    for word in LABELS:
        found = [column for column in header if column.lower() == word]
        if len(found) == 1:
            return found[0]
        if found:
            break
    why = f"{_quoted(found)} may each be it" if found else "no column is called label or class"
    raise NotUsable(
        f"label: {why} in {file.name}. Say which column holds the classes: --label NAME, one of"
        f" {header}"
    )


def _nearly(name: str, header: list[str]) -> str:
    """The one column that a name is but for capitals and marks, or that begins with it."""
    plain = plain_name(name)
    near = [column for column in header if plain and plain_name(column).startswith(plain)]
    return f". Did you mean {near[0]!r}?" if len(near) == 1 else ""


def _group(header, cells, label, group) -> tuple[str | None, Finding]:
    """The column of groups, and the sentence that says where it comes from."""
    if group is not None and group != "none":
        if group not in header or group == label:
            others = [column for column in header if column != label]
            near = _nearly(group, others)
            raise NotUsable(f"group: expected one of the columns {others}, got {group!r}{near}")
        return group, say("group_named", group=group)
    for column in header if group is None else ():
        words = re.split(r"[\W_]+", column.lower())
        values = {row[column].strip() for row in cells}
        if column == label or _kind(column, [value for value in values if value]) == "files":
            continue
        named = any(word.rstrip("s") in GROUPS for word in words)
        code = all(CODE.fullmatch(value) for value in values)
        # a name is believed where any value comes again, a form where most do
        several = 3 <= len(values) <= (len(cells) - 1 if named else len(cells) / 2)
        if several and (named or code):
            return column, say("group_guessed", group=column)
    return None, say("no_group")


def _check_label(label: str, values: list[str]) -> None:
    values = [value for value in values if value.lower() not in NO_LABEL]
    numbers = [number(value) for value in values]
    different = len(set(values))
    if different == 1:
        raise NotUsable(
            f"label: expected at least 2 classes, got only {values[0]!r} in all {len(values)} rows"
            f" of {label!r}"
        )
    many = different > 20 and different > len(values) / 5
    if values and many and None not in numbers:
        low, middle, high = (
            sorted(numbers)[int(share * (len(numbers) - 1))] for share in (0, 0.5, 1)
        )
        raise NotUsable(
            f"label: {label!r} holds {different} different numbers, from {low:g} to {high:g}; this"
            " report compares classes and does not predict numbers. Make classes of it in the"
            f' table, such as "low" below the middle one, {middle:g}, and "high" above'
        )
    if different > 20 and different > len(values) / 3:
        raise NotUsable(
            f"label: expected classes that come again, got {different} different ones in"
            f" {len(values)} rows of {label!r}; is it a name?"
        )


def _kind(column: str, values: list[str]) -> str:
    """What a column of cells that are not empty holds."""
    if not values:
        return "unused"
    endings = sum(ENDINGS.values(), ())
    if sum(value.lower().endswith(endings) for value in values) > len(values) / 2:
        return "files"
    numbers = [number(value) for value in values]
    if sum(value is not None for value in numbers) >= 0.9 * len(values):
        counted = len(set(values)) == len(values) and all(value.isdigit() for value in values)
        named = re.split(r"[\W_]+", column.lower())[-1] in IDS
        return "unused" if counted and (named or _runs(values)) else "numbers"
    codes = len(set(values)) == len(values) and not any(re.search(r"\s", one) for one in values)
    return "unused" if codes and len(values) > 2 else "texts"


def _runs(values: list[str]) -> bool:
    """Whether whole numbers simply count the rows."""
    return all(int(b) == int(a) + 1 for a, b in zip(values, values[1:]))


def _numbers_as_text(column: str, values: list[str]) -> list[Finding]:
    """A sentence where most cells of a text are numbers: its value is then not seen."""
    others = [value for value in values if number(value) is None]
    if not 0 < len(others) < len(values) / 2:
        return []
    some = _quoted(list(dict.fromkeys(others))[:3])
    return [say("text_of_numbers", column=column, others=len(others), all=len(values), some=some)]


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _without_gaps(numbers: list[str], cells: list[dict]) -> tuple[list[str], list[str], int]:
    """The columns of numbers but those that would cost many rows: empty where others are given.
    And how many rows they would cost.
    """
    kept, left, lost = list(numbers), [], 0
    while len(kept) > 1:
        given = [[bool(row[column].strip()) for column in kept] for row in cells]
        partly = [row for row in given if any(row) and not all(row)]
        lost = lost or len(partly)
        if len(partly) <= MOST_GAPS * len(cells):
            break
        gaps = [sum(not row[i] for row in partly) for i in range(len(kept))]
        left.append(kept.pop(gaps.index(max(gaps))))
    return kept, left, lost


def _content(columns: Columns, values: dict[str, list]) -> str:
    """A hash of all that was read."""
    digest = hashlib.sha256(columns.file.read_bytes())
    digest.update(f"{columns.label} {columns.group} {columns.wanted}".encode())
    for name in values:
        for value in values[name]:
            if isinstance(value, Path):
                digest.update(content_hash(value).encode())
    return digest.hexdigest()
