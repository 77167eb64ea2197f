"""The emoji of two artists: the same concept, drawn by two hands, with its name.

A real set of pictures and words with a natural change of style, for joint embedding, retrieval and
pretrained vision. 1,636 emoji of Emoji 16.0 that both artists have drawn, without flags and skin
tones, as `course_utils.datasets.store` brings them. Whoever shows the pictures shows CREDITS.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from course_utils.checks import check_choice, check_whole
from course_utils.datasets.files import on_white
from course_utils.datasets.splits import check_index, split_groups

SIDE, CELL = 64, 66  # pixels; on a sheet every picture has an empty border of one
CREDITS = {
    "google": "Noto Emoji, Google LLC, Apache License 2.0",
    "twitter": "Twemoji, Twitter, Inc. and other contributors, CC BY 4.0, here laid on white",
    "names": "emoji-data 16.0.0, Cal Henderson, MIT",
}
ARTISTS = ("google", "twitter")
CATEGORIES = (
    "Activities",
    "Animals & Nature",
    "Food & Drink",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
)
SIZES = {"test": 300, "validation": 136}  # emoji; the other 1,200 train
# Code points that change who is drawn and not what: man, woman, person, the signs of gender, and
# what joins them.
PEOPLE = {"1F468", "1F469", "1F9D1", "2640", "2642", "200D", "FE0F"}
MIRRORED = "-200D-27A1-FE0F"  # the end of the code of what faces right
# Siblings that have a code each, as the others are after PEOPLE is taken off.
SIBLINGS = (
    "1F466 1F467 1F9D2 1F466-1F466 1F467-1F466 1F467-1F467 1F9D2-1F9D2 1F46A",  # children, families
    "1F474 1F475 1F9D3",  # old people
    "1F934 1F478 1FAC5",  # people with a crown
    "1F385 1F936 1F384",  # people in Christmas dress
    "1F483 1F57A",  # dancers
    "1F930 1FAC3 1FAC4",  # pregnant people
    "1F46B 1F46C 1F46D 1F91D",  # two who hold hands
    "2764 1F491",  # couples with a heart
    "2764-1F48B 1F48F",  # couples with a kiss
)
FIRST = {code: codes.split()[0] for codes in SIBLINGS for code in codes.split()}


class Emoji(Dataset):
    """The emoji of one split, drawn by one artist, one dict a sample.

    A sample is {"image": (3, 64, 64) float32 from 0 to 1, laid on white, "text": str, its name in
    small letters, "label": int, its place in CATEGORIES, "emoji": int from 0 to 1,635, the same
    whoever has drawn it, "group": int}. `collate` needs `kinds=emoji.kinds`.

      split        "train" (1,200), "validation" (136) or "test" (300). Man, woman and person with
                   one occupation, the mirrored, couples, families and those of one name are a
                   group, and no group is in two splits
      artist       "google" (Noto) or "twitter" (Twemoji), with the same emoji in the same order.
                   For a model trained on the train split of one artist, the test split of that
                   artist holds emoji never seen, the train split of the other an artist never
                   seen, and the test split of the other both
      short_names  with True the text goes on with the names by which one types it: "adult, person"
      seed         another seed is another split, of the same sizes; the same on any machine

    The first use downloads 26 MB, see `course_utils.datasets.store`. Raises ValueError for a bad
    argument, and `store.StoreError` when the public data cannot be had or have been altered.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        artist: str = "google",
        short_names: bool = False,
        seed: int = 0,
    ):
        from course_utils.datasets import store

        check_choice(("train", *SIZES), split=split)
        check_choice(ARTISTS, artist=artist)
        check_whole(0, seed=seed)
        table, *drawn = store.fetch("emoji")
        rows = _rows(table)
        keys = [_group(row["unified"]) for row in rows]
        numbers = {key: i for i, key in enumerate(sorted(set(keys)))}
        self.split, self.artist = split, artist
        self._places = split_groups(keys, SIZES, seed)[split]
        self._rows, self._groups = rows, [numbers[key] for key in keys]
        self._pictures = _pictures(drawn[ARTISTS.index(artist)], table)
        self._texts = [_text(row, short_names) for row in rows]

    @property
    def kinds(self) -> dict:
        """What `collate` needs to know: names are read by a pretrained encoder."""
        return {"text": "text", "image": (3, SIDE, SIDE)}

    @property
    def credit(self) -> str:
        """Whom to name where these pictures and names are shown."""
        return f"Pictures: {CREDITS[self.artist]}. Names: {CREDITS['names']}."

    def __repr__(self) -> str:
        return f"Emoji({self.split!r}, artist={self.artist!r}), {len(self)} emoji. {self.credit}"

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict:
        check_index(index, len(self), "emoji", self.split)
        i = self._places[index]
        return {
            "image": self._pictures[i] / 255,
            "text": self._texts[i],
            "label": CATEGORIES.index(self._rows[i]["category"]),
            "emoji": i,
            "group": self._groups[i],
        }


def _text(row: dict, short_names: bool) -> str:
    names = [row["name"].lower()]
    if short_names:
        names += [name.replace("_", " ").replace("-", " ") for name in row["short_names"]]
    return ", ".join(dict.fromkeys(names))


def _group(code: str) -> str:
    """What an emoji's code says of what is drawn, whoever is drawn: siblings have the same."""
    parts = code.removesuffix(MIRRORED).split("-")
    left = "-".join(part for part in parts if part not in PEOPLE)
    return FIRST.get(left, left)


@cache
def _rows(table: Path) -> list[dict]:
    """The emoji that both artists have drawn, without flags and the bare skin tones: from the
    public table, or from one that has been cut down to them.
    """
    rows = json.loads(table.read_text(encoding="utf-8"))
    return [
        row
        for row in rows
        if row["category"] in CATEGORIES and all(row.get(f"has_img_{one}", True) for one in ARTISTS)
    ]


@cache
def _pictures(drawn: Path, table: Path) -> Tensor:
    """(N, 3, 64, 64) uint8, laid on white: from the artist's sheet, or from a folder of its
    pictures.
    """
    from PIL import Image

    rows, pictures = _rows(table), []
    if drawn.is_dir():
        for row in rows:
            with Image.open(drawn / row["image"]) as picture:
                pictures.append(np.array(on_white(picture)))
    else:
        with Image.open(drawn) as sheet:
            sheet.load()
            for row in rows:
                left, top = (CELL * row[f"sheet_{axis}"] + 1 for axis in "xy")
                picture = sheet.crop((left, top, left + SIDE, top + SIDE))
                pictures.append(np.array(on_white(picture)))
    # (N, H, W, 3) -> (N, 3, H, W)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
