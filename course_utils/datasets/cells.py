"""The cells of a table of the reader's own: what they say, or why they cannot be used."""

import csv
import io
import re
import unicodedata
from pathlib import Path

import torch
from torch import Tensor

from course_utils.datasets.files import open_image, open_sound

ENDINGS = {
    "image": (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"),
}
NO_LABEL = {"", "nan", "na", "n/a", "#n/a", "none", "null", "?"}


class Dirty(Exception):
    """A row that cannot be used: (column, reason)."""


def rows_of(file: Path, encoding: str) -> tuple[list[str], list[tuple[int, dict | str]], str]:
    """The header, the rows by number (cells by column, or why there are none), the separator."""
    content = file.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") and encoding == "utf-8":
        raise ValueError(f"{file.name}: this looks like UTF-16; pass encoding='utf-16'")
    try:
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        alone = re.search(rb"[\x00-\x7f][\x80-\xff](?=[\x00-\x7f])", content)
        likely = "cp1252" if alone else "gb18030"  # Chinese characters have two bytes or more
        raise ValueError(
            f"{file.name}: line {line} is not {encoding}; this looks like {likely}. Pass"
            f" encoding={likely!r}, or save the table as UTF-8"
        ) from None
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        lines = [[cell if cell.isspace() else cell.strip() for cell in line] for line in reader]
    except csv.Error as error:
        raise ValueError(f"{file.name}: line {reader.line_num} is no CSV: {error}") from None
    header = lines[0] if lines else []
    if not any(header) or len(set(header)) < len(header):
        raise ValueError(
            f"{file.name}: expected a first line with a different name for each column,"
            f" got {header}"
        )
    found = []
    for row, cells in enumerate(lines[1:], start=2):
        if len(cells) == len(header):
            found.append((row, dict(zip(header, cells))))
        elif cells:  # a blank line has none
            found.append((row, f"{len(cells)} cells, expected {len(header)} as in the header"))
    return header, found, separator


def sample_of(cells: dict, folder: Path, names: dict, wanted: dict, decimal_comma: bool) -> dict:
    """One row, its files as paths."""
    sample = {}
    for column in wanted["files"]:
        sample[names[column]] = _path(column, cells[column].strip(), folder)
    for column in wanted["texts"]:
        if cells[column].isspace():
            raise Dirty(column, "a text of blanks; leave the cell empty if the text is missing")
        sample[column] = cells[column] or None
    if wanted["numbers"]:
        given = {column: cells[column].strip() for column in wanted["numbers"]}
        numbers = [_number(column, cell, decimal_comma) for column, cell in given.items() if cell]
        if 0 < len(numbers) < len(given):
            empty = next(column for column, cell in given.items() if not cell)
            raise Dirty(empty, "empty, while other numbers of this row are given")
        sample["numbers"] = torch.tensor(numbers) if numbers else None
    if all(value is None for value in sample.values()):
        raise Dirty(", ".join(names) or "numbers", "nothing in it: every modality is missing")
    for column in wanted["label"] + wanted["group"]:
        if cells[column].strip().lower() in NO_LABEL:
            raise Dirty(column, f"{cells[column]!r} names no class or group")
    return sample


def _path(column: str, cell: str, folder: Path) -> Path | None:
    if not cell:
        return None
    if not cell.lower().endswith(sum(ENDINGS.values(), ())):
        raise Dirty(column, f"{cell!r} ends like no picture or sound; expected {ENDINGS}")
    for form in (str, _composed, _decomposed):  # ü is one character on some disks, two on others
        path = folder / form(cell.replace("\\", "/"))
        if not path.resolve().is_relative_to(folder.resolve()):
            raise Dirty(column, f"{cell!r} leads out of the table's folder")
        if path.is_file():
            return path
    raise Dirty(column, f"no such file: {cell!r}")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def _number(column: str, cell: str, decimal_comma: bool) -> float:
    expected = "expected a number such as 3.5"
    if re.fullmatch(r"[+-]?\d+,\d+", cell):
        if not decimal_comma:
            raise Dirty(column, f"{cell!r} has a decimal comma; {expected}")
        cell = cell.replace(",", ".")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", cell, re.ASCII):
        raise Dirty(column, f"{cell!r} is no number; {expected}")
    if not abs(float(cell)) <= torch.finfo(torch.float32).max:
        raise Dirty(column, f"{cell!r} is too large; {expected}")
    return float(cell)


def open_file(path: Path, side: int, rate: int) -> Tensor:
    """A sound (S,) at `rate` Hz, or a picture (3, side, side), floats. Errors are those of
    `open_sound` and `open_image`.
    """
    if path.suffix.lower() in ENDINGS["audio"]:
        return open_sound(path, rate)
    return torch.nn.functional.interpolate(  # (3, H, W) -> (3, side, side)
        open_image(path)[None], (side, side), mode="bilinear", antialias=True
    )[0]
