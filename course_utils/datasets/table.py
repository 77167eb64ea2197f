"""The reader's own data: a folder with a table of file names, texts, numbers and a label."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from course_utils.checks import check_whole
from course_utils.datasets.cells import ENDINGS, Dirty, open_file, rows_of, sample_of
from course_utils.datasets.collation import collate

SPLITS = ("train", "validation", "test")
FOLDS = 20  # the parts that splits are put together from


class Problem(NamedTuple):
    """Why a row is left out. Rows are counted as a spreadsheet does: the header is row 1."""

    row: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}, {self.column}: {self.reason}"


class Rows(Dataset):
    """The rows of one split, one dict a sample; `cells` holds each row's text, by column."""

    def __init__(self, cells: list[dict], samples: list[dict], side: int, rate: int):
        self.cells, self.side, self.rate, self._samples = cells, side, rate, samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict:
        sample = dict(self._samples[index])
        for name, value in sample.items():
            if isinstance(value, Path):
                sample[name] = open_file(value, self.side, self.rate)
        return sample


@dataclass
class Table:
    """What `read_table` gives.

    train, validation, test  the splits, each a torch Dataset
    classes                  the labels' names: label 0 is the first
    problems                 the rows that were left out, each with its reason
    notes                    what is no fault of one row, and may mislead all the same
    kinds                    what `collate` must know of the modalities
    """

    train: Rows
    validation: Rows
    test: Rows
    classes: list[str]
    problems: list[Problem]
    notes: list[str]
    kinds: dict = field(repr=False)

    def collate(self, samples: list[dict]) -> dict:
        """A batch; for `DataLoader(table.train, 32, collate_fn=table.collate)`."""
        return collate(samples, kinds=self.kinds)


def read_table(
    file: str | Path,
    *,
    label: str,
    group: str | None = None,
    files: Sequence[str] | None = None,
    texts: Sequence[str] = (),
    numbers: Sequence[str] = (),
    sizes: tuple[float, float, float] = (0.7, 0.15, 0.15),
    side: int = 64,
    rate: int = 8_000,
    encoding: str = "utf-8",
    strict: bool = False,
    seed: int = 0,
) -> Table:
    """Read a CSV table whose files lie beside it, and split it into train, validation and test.

        table = read_table("my_data/metadata.csv", label="label", group="patient")
        loader = DataLoader(table.train, 32, shuffle=True, collate_fn=table.collate)
        print(*table.problems, *table.notes, sep="\\n")

      label    the column with the classes, in words or numbers
      group    the column that says which rows belong together (a patient, a voice): no group is
               in two splits. Without it each row stands for itself
      files    columns with names of picture or sound files; None takes "file_name" and all
               "*_file_name", the form of Hugging Face's ImageFolder and AudioFolder
      texts    columns with texts
      numbers  columns with numbers, together one vector
      sizes    the splits' shares of the rows, kept as far as groups and classes allow
      side     pictures are resized to side x side, whatever their form
      rate     sounds are resampled to this many Hz, channels averaged

    A sample is a dict: a picture (3, side, side) float from 0 to 1, a sound (S,) float, a text
    str, "numbers" (D,) float32, "label" and "row" int, and with `group` "group" int. A modality
    is called as its column; "file_name" is "image" or "audio", "photo_file_name" "photo". An
    empty cell is a missing modality, None. Columns that are not named are not used.

    A row that cannot be used is left out and named in `problems`: a file that is missing, broken,
    of an unknown ending or outside the folder; a text of blanks; a number that is none, or empty
    beside others; a label or group that is empty or NaN; a row that is the same as another, or
    differs in the label alone; too many or too few cells; the only row of its class; a class that
    lies in one group. With `strict` they are raised instead. In a table with semicolons 3,5 is a
    number; elsewhere it is not. Comma, semicolon and tab, CRLF and UTF-8 with a mark at its start
    are understood.

    The same `seed` gives the same splits, by scikit-learn's StratifiedGroupKFold. Raises
    ValueError for an unknown column, another encoding (the error says which it looks like; then
    pass `encoding`), a broken CSV, and too few groups or classes; FileNotFoundError without file.
    """
    file = Path(file)
    header, found, separator = rows_of(file, encoding)
    if files is None:
        files = [name for name in header if name == "file_name" or name.endswith("_file_name")]
    wanted = {"label": [label], "group": [group] if group else []}
    wanted |= {"files": _list(files), "texts": _list(texts), "numbers": _list(numbers)}
    _check_arguments(header, wanted, sizes, side, rate)
    names = {column: _modality(column, found) for column in wanted["files"]}
    names |= {column: column for column in wanted["texts"]}
    modalities = [*names.values(), *(["numbers"] if numbers else [])]
    taken = {"label", "row", "group", "mask"} & set(modalities)
    if taken or len(set(modalities)) < len(modalities):
        raise ValueError(
            f"files, texts: the modalities would be called {modalities}; expected different names,"
            ' and none of "label", "row", "group", "mask", "numbers"'
        )
    inputs = [column for columns in list(wanted.values())[1:] for column in columns]
    problems, rows, seen = [], [], {}
    for row, cells in found:
        try:
            if not isinstance(cells, dict):
                raise Dirty("cells", cells)
            sample = sample_of(cells, file.parent, names, wanted, separator == ";")
            _check_twin([cells[column] for column in inputs], cells[label], row, seen)
            for column in wanted["files"]:
                _check_file(column, sample[names[column]], side, rate)
        except Dirty as dirty:
            problems.append(Problem(row, *dirty.args))
        else:
            rows.append((row, cells, sample))
    rows = _drop_lonely(rows, label, group, problems)
    problems.sort()
    if strict and problems:
        raise ValueError("\n".join(map(str, [f"{file.name}: {len(problems)} rows:", *problems])))
    return _table(rows, problems, wanted, names, sizes, side, rate, seed)


def _list(columns: Sequence[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _check_arguments(header: list, wanted: dict, sizes: tuple, side: int, rate: int) -> None:
    for argument, columns in wanted.items():
        if unknown := [column for column in columns if column not in header]:
            raise ValueError(f"{argument}: {unknown} not among the columns {header}")
    columns = Counter(column for columns in wanted.values() for column in columns)
    if twice := [column for column, count in columns.items() if count > 1]:
        raise ValueError(
            f"columns: {twice} named twice; a label or group must not be an input as well"
        )
    if not wanted["files"] + wanted["texts"] + wanted["numbers"]:
        raise ValueError(
            "files, texts, numbers: expected at least one column to learn from, out of"
            f" {[column for column in header if column not in columns]}"
        )
    if len(sizes) != 3 or min(sizes) <= 0 or abs(sum(sizes) - 1) > 1e-6:
        raise ValueError(f"sizes: expected three shares above 0 that sum to 1, got {sizes}")
    check_whole(1, side=side, rate=rate)


def _modality(column: str, found: list[tuple[int, dict | str]]) -> str:
    """What a column of files is called."""
    if column != "file_name":
        return column.removesuffix("_file_name")
    cells = [cells[column].lower() for _, cells in found if isinstance(cells, dict)]
    counts = {
        name: sum(cell.endswith(endings) for cell in cells) for name, endings in ENDINGS.items()
    }
    return max(counts, key=counts.get)


def _check_twin(inputs: list[str], label: str, row: int, seen: dict) -> None:
    twin, its_label = seen.setdefault(tuple(inputs), (row, label))
    if twin != row:
        other = "" if its_label == label else f", which has the label {its_label!r}"
        raise Dirty("all inputs", f"the same as row {twin}{other}")


def _check_file(column: str, path: Path | None, side: int, rate: int) -> None:
    try:
        if path is not None:
            open_file(path, side, rate)
    except (ValueError, OSError) as error:
        raise Dirty(column, str(error).replace(str(path), repr(path.name))) from None


def _drop_lonely(rows: list, label: str, group: str | None, problems: list[Problem]) -> list:
    """Without rows whose class could not stand in two splits."""
    where = {}
    for row, cells, _ in rows:
        where.setdefault(cells[label], []).append(cells[group] if group else row)
    kept = []
    for row, cells, sample in rows:
        places = where[cells[label]]
        if len(set(places)) > 1:
            kept.append((row, cells, sample))
        elif len(places) == 1:
            problems.append(Problem(row, label, f"the only row of class {cells[label]!r}"))
        else:
            reason = f"all rows of class {cells[label]!r} are of one group, {places[0]!r}"
            problems.append(Problem(row, label, reason))
    return kept


def _table(rows, problems, wanted, names, sizes, side, rate, seed) -> Table:
    """Number labels and groups, split, and say what may mislead."""
    label, group = wanted["label"][0], wanted["group"][0] if wanted["group"] else None
    classes = sorted({cells[label] for _, cells, _ in rows}, key=_by_number)
    groups = sorted({cells[group] for _, cells, _ in rows}, key=_by_number) if group else []
    unit = "groups" if group else "rows"
    if len(classes) < 2 or (len(groups) if group else len(rows)) < 3:
        raise ValueError(
            f"{'group' if group else 'label'}: expected at least 2 classes and 3 {unit} that can"
            f" be used, got {len(classes)} and {len(groups) if group else len(rows)};"
            f" left out are {len(problems)} rows, the first: {problems[0] if problems else None}"
        )
    for row, cells, sample in rows:
        sample |= {"label": classes.index(cells[label]), "row": row}
        if group:
            sample["group"] = groups.index(cells[group])
    labels = np.array([sample["label"] for _, _, sample in rows])
    places = np.array([sample["group"] if group else i for i, (*_, sample) in enumerate(rows)])
    notes, splits = [], []
    for split, members in zip(SPLITS, _split(labels, places, sizes, seed)):
        if absent := [name for i, name in enumerate(classes) if i not in labels[members]]:
            notes.append(f"{split}: no row of {absent}")
        cells, samples = [rows[i][1] for i in members], [rows[i][2] for i in members]
        splits.append(Rows(cells, samples, side, rate))
    one_class = [name for i, name in enumerate(groups) if len(set(labels[places == i])) == 1]
    if one_class:
        notes.append(
            f"{len(one_class)} of {len(groups)} groups have rows of one class only: what tells the"
            f" group tells the class, for example {one_class[0]!r}"
        )
    kinds = dict.fromkeys(wanted["texts"], "text")
    for column in wanted["files"]:
        paths = [sample[names[column]] for _, _, sample in rows]
        paths = [path for path in paths if path is not None]
        sounds = [path.suffix.lower() in ENDINGS["audio"] for path in paths]
        if not paths or len(set(sounds)) > 1:
            raise ValueError(f"files: {column!r} holds no files, or both pictures and sounds")
        kinds[names[column]] = "sequence" if sounds[0] else (3, side, side)
    if wanted["numbers"]:
        kinds["numbers"] = (len(wanted["numbers"]),)
    return Table(*splits, classes, problems, notes, kinds)


def _by_number(name: str) -> tuple:
    """2 before 10, and numbers before words."""
    return (0, int(name), name) if re.fullmatch(r"\d+", name) else (1, 0, name)


def _split(labels: np.ndarray, groups: np.ndarray, sizes: tuple, seed: int) -> list[list[int]]:
    """The rows of each split. Small folds are put where most is missing of what was asked."""
    from sklearn.model_selection import StratifiedGroupKFold

    # The groups get new numbers in random order, and scikit-learn takes them in that order. Its own
    # shuffling mixes up, in release 1.6, which group has which classes.
    names, groups = np.unique(groups, return_inverse=True)
    groups = np.random.default_rng(seed).permutation(len(names))[groups]
    folds = StratifiedGroupKFold(min(FOLDS, len(names), max(3, np.bincount(labels).max())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a class with fewer rows than folds
        parts = [rows for _, rows in folds.split(labels, labels, groups)]
    splits = [[] for _ in sizes]
    for part in sorted(parts, key=len, reverse=True):
        filled = [len(rows) / size for rows, size in zip(splits, sizes)]
        splits[filled.index(min(filled))] += part.tolist()
    if not all(splits):
        raise ValueError(
            f"group: {len(names)} groups are too few, or too unequal, for three splits"
        )
    return [sorted(rows) for rows in splits]
