"""A folder as strangers bring it: a table of 60 rows with foreign names and 22 that are no good."""

import csv
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from PIL import Image

HEADER = ["Nr", "Foto", "Aufnahme", "Bericht", "Alter", "Gewicht", "Befund", "Patientin"]
CLASSES = ["gesund", "krank", "unklar"]
TEXTS = [
    "Größe unverändert.",
    "两只小猫坐在窗边。",
    "Übelkeit, Fieber",
    'sagt: "besser"',
    "ok 👍🏽",
]


class Stranger(NamedTuple):
    file: Path
    options: dict  # for read_table
    bad: dict[int, tuple[str, str]]  # row -> column and reason (a pattern)
    missing: dict[int, str]  # row -> the modality that is missing, and no fault


@pytest.fixture(scope="session")
def stranger(tmp_path_factory) -> Stranger:
    folder = tmp_path_factory.mktemp("fremd") / "Daten"
    rows = [ordinary(folder, i) for i in range(60)]
    odd_but_good(folder, rows)
    bad = spoil(folder, rows)
    missing = {12: "Bericht", 14: "Foto", 15: "Aufnahme", 16: "numbers"}
    for number, name in missing.items():
        for column in ("Alter", "Gewicht") if name == "numbers" else (name,):
            rows[number - 2][HEADER.index(column)] = ""
    file = folder / "Tabelle.csv"
    with open(file, "w", newline="", encoding="utf-8-sig") as opened:
        csv.writer(opened).writerows([HEADER, *rows])
    options = {
        "label": "Befund",
        "group": "Patientin",
        "files": ["Foto", "Aufnahme"],
        "texts": ["Bericht"],
        "numbers": ["Alter", "Gewicht"],
    }
    return Stranger(file, options, bad, missing)


def ordinary(folder: Path, i: int) -> list:
    """A clean row: a picture, a sound of its own length, a text, two numbers; row i + 2."""
    (folder / "Fotos").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(i)
    photo, sound = f"Fotos/Bild_{i:02d}.png", f"Ton {i:02d}.wav"
    pixels = rng.integers(0, 256, size=(20 + i % 7, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / photo)
    soundfile.write(folder / sound, 0.1 * rng.standard_normal(900 + 10 * i), 8_000)
    text = f"{TEXTS[i % 5]} {i}"
    return [i, photo, sound, text, 20 + i, f"{50 + i}.5", CLASSES[i % 3], f"P{i // 3:02d}"]


def odd_but_good(folder: Path, rows: list[list]) -> None:
    """Files in every form that people have them in."""
    rng = np.random.default_rng(99)
    deep = rng.integers(0, 65_536, size=(9, 9), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "Fotos/Bild_00.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(folder / "Fotos/Bild_01.png")
    Image.new("CMYK", (40, 10), (0, 200, 0, 0)).save(folder / "Fotos/druck.JPG")
    rows[3][1] = "Fotos/druck.JPG"
    soundfile.write(folder / "Ton 04.wav", rng.uniform(-1, 1, size=(44_100, 2)), 44_100)
    Image.new("P", (5, 5)).save(folder / "Fotos" / unicodedata.normalize("NFD", "Müller_öß.gif"))
    rows[6][1] = unicodedata.normalize("NFC", "Fotos/Müller_öß.gif")
    Image.new("1", (1, 1)).save(folder / "猫.png")
    rows[7][1] = "猫.png"
    rows[18][3] = "zwei\nZeilen; mit , und \t"
    rows[22][1] = "Fotos\\Bild_22.png"
    Image.new("L", (500, 2), 77).save(folder / "Fotos/Bild_24.png")
    rows[27][3] = "lang " * 4_000


def spoil(folder: Path, rows: list[list]) -> dict[int, tuple[str, str]]:
    """Make rows unusable; what is wrong, by row number as a spreadsheet counts."""
    bad = {}

    def say(i: int, column: str, reason: str, cell=None) -> None:
        if cell is not None:
            rows[i][HEADER.index(column)] = cell
        bad[i + 2] = column, reason

    say(2, "Foto", "no such file: 'Fotos/fehlt.png'", "Fotos/fehlt.png")
    whole = (folder / "Fotos/Bild_05.png").read_bytes()
    (folder / "Fotos/Bild_05.png").write_bytes(whole[: len(whole) // 2])
    say(5, "Foto", "'Bild_05.png': a broken or cut-off picture")
    (folder / "Fotos/seite.jpg").write_text("<html><body>404</body></html>")
    say(8, "Foto", "'seite.jpg': not a picture", "Fotos/seite.jpg")
    say(11, "Bericht", "a text of blanks", "   ")
    say(17, "Alter", "'n/a' is no number", "n/a")
    say(19, "Gewicht", "'61,5' has a decimal comma", "61,5")
    rows[20][1:] = rows[23][1:]
    say(23, "all inputs", "the same as row 22$")
    rows[32] = [32, *rows[31][1:6], "krank" if rows[31][6] != "krank" else "gesund", rows[31][7]]
    say(32, "all inputs", f"the same as row 33, which has the label '{rows[31][6]}'")
    say(26, "Befund", "'' names no class", "")
    say(28, "Befund", "'NaN' names no class", "NaN")
    say(29, "Befund", "the only row of class 'selten'", "selten")
    Image.new("L", (3, 3)).save(folder.parent / "geheim.png")
    say(30, "Foto", "leads out of the table's folder", "../geheim.png")
    (folder / "Ton 33.wav").write_text("RIFF and nothing else")
    say(33, "Aufnahme", "'Ton 33.wav': a broken sound")
    soundfile.write(folder / "Ton 35.wav", np.zeros(0), 8_000)
    say(35, "Aufnahme", "'Ton 35.wav': a sound without a single sample")
    say(36, "Patientin", "'' names no class or group", "")
    say(38, "Foto", "'Brief.txt' ends like no picture or sound", "Brief.txt")
    say(41, "Gewicht", "empty, while other numbers", "")
    rows[42].append("zu viel")
    say(42, "cells", "9 cells, expected 8")
    soundfile.write(folder / "Ton 45.wav", np.full(900, np.nan), 8_000, subtype="FLOAT")
    say(45, "Aufnahme", "'Ton 45.wav': a sound that holds NaN")
    say(47, "Alter", "'inf' is no number", "inf")
    for i in (57, 58):
        say(i, "Befund", "all rows of class 'Familie' are of one group, 'P19'", "Familie")
    return bad
