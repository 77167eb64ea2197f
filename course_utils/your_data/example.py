"""A folder as people bring them, made from the course's own digits: good to try the report on."""

import csv
from pathlib import Path

import numpy as np

from course_utils.datasets.digits import SAMPLE_RATE, Digits
from course_utils.your_data.folder import NotUsable

# what a digit stands for on an order form; all four words have homophones
ITEMS = {1: "apples", 2: "bread", 4: "cheese", 8: "dates"}
PRICES = {1: 3.0, 2: 2.6, 4: 4.2, 8: 3.6}
HEADER = "file_name,voice_file_name,note,price,weight,item,speaker".split(",")
MISSING = 0.08  # of each modality


def dirty_example(folder: str | Path, rows: int = 200, seed: int = 0) -> Path:
    """Write `rows` orders into a new `folder` and give it back: a scan and a recording of a digit,
    a typed note, price and weight, the item ordered (the label) and who spoke (the group).

    Scans and typing are noisy, the price tells a little, the weight nothing. Some entries are
    missing, which is no fault. Fifteen rows cannot be used. The same seed gives the
    same files.
    """
    folder = Path(folder)
    if type(rows) is not int or rows < 40:
        raise NotUsable(f"rows: expected a whole number of at least 40, got {rows!r}")
    if folder.exists() and any(folder.iterdir()):
        raise NotUsable(f"folder: expected a new or empty one, got {folder}, which holds files")
    for name in ("scans", "voices"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    digits = Digits("train", image_noise=0.35, speech_snr=-6.0, text_error=0.7, seed=seed)
    lines = []
    for i in rng.permutation(len(digits)).tolist():
        sample = digits[i]
        if len(lines) == rows:
            break
        if sample["label"] in ITEMS:
            lines.append(_order(folder, sample, len(lines) + 1, rng))
    _spoil(folder, lines)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *lines])
    return folder


def _order(folder: Path, sample: dict, number: int, rng: np.random.Generator) -> list[str]:
    """One clean row and its files; an entry may be missing."""
    import soundfile
    from PIL import Image

    digit = sample["label"]
    scan, voice = f"scans/{number:04d}.png", f"voices/{number:04d}.wav"
    pixels = 255 * (1 - sample["image"][0].clamp(0, 1).numpy())  # dark ink on white
    Image.fromarray(pixels.astype(np.uint8)).resize((64, 64)).save(folder / scan)
    sound = sample["audio"].numpy()
    soundfile.write(folder / voice, 0.5 * sound / np.abs(sound).max(), SAMPLE_RATE)
    note = f"form {rng.integers(100, 1000)}: heard {sample['text']}, please check"
    price = f"{PRICES[digit] + rng.normal(scale=0.8):.2f}"
    weight = f"{rng.normal(10, 2):.1f}"
    cells = [scan, voice, note]
    gone = rng.random(3) < MISSING
    if not gone.all():
        cells = ["" if lost else cell for cell, lost in zip(cells, gone)]
    return [*cells, price, weight, ITEMS[digit], f"S{sample['voice']:02d}"]


def _spoil(folder: Path, lines: list[list[str]]) -> None:
    """Rows as they come: what is wrong stands at fixed places, from the first line on."""

    def put(line: int, column: str, cell: str) -> None:
        lines[line][HEADER.index(column)] = cell

    put(2, "file_name", "scans/lost.png")
    (folder / "scans/page.jpg").write_text("<html><body>404</body></html>", encoding="utf-8")
    put(5, "file_name", "scans/page.jpg")
    whole = (folder / "scans/0009.png").read_bytes()
    (folder / "scans/cut.png").write_bytes(whole[: len(whole) // 2])
    put(8, "file_name", "scans/cut.png")
    (folder / "voices/noise.wav").write_bytes(b"RIFF and nothing else")
    put(11, "voice_file_name", "voices/noise.wav")
    put(14, "file_name", "../elsewhere.png")
    put(17, "file_name", "scans/notes.docx")
    put(20, "price", "n/a")
    put(22, "weight", "9,5")
    put(24, "item", "")
    put(26, "item", "NaN")
    put(28, "speaker", "")
    put(30, "note", "   ")
    lines[32] = list(lines[31])  # the same row again
    lines[34].append("a cell too many")
    put(36, "item", "eggs")  # the only ones
