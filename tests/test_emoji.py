"""The emoji of two artists: splits by group, both forms of the data, and what is wrong with them.

What needs the public data skips without them; the rest runs on a small set drawn here.
"""

import hashlib
import json
import re
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.datasets import Emoji, collate, content, download, emoji, store

SPLITS = ("train", "validation", "test")
# name, code, category, whether both artists have drawn it
ROWS = [
    ("GRINNING FACE", "1F600", "Smileys & Emotion", True),
    ("RED APPLE", "1F34E", "Food & Drink", True),
    ("DOG FACE", "1F436", "Animals & Nature", True),
    ("FARMER", "1F9D1-200D-1F33E", "People & Body", True),
    ("MAN FARMER", "1F468-200D-1F33E", "People & Body", True),
    ("FLAG", "1F6A9", "Flags", True),
    ("LIGHT SKIN", "1F3FB", "Component", True),
    ("ONE ARTIST ONLY", "1FAE8", "Smileys & Emotion", False),
]
KEPT = ROWS[:5]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Both forms of a small set in a store, and a manifest of what they are; {artist: (5, 64, 64,
    4) uint8}, the pictures that are kept.
    """
    rng, sheets, folder = np.random.default_rng(0), tmp_path / "emoji/sheets", tmp_path / "emoji"
    sheets.mkdir(parents=True)
    table = [
        {
            "name": name,
            "unified": code,
            "image": f"{code.lower()}.png",
            "short_names": [name.lower().replace(" ", "_"), f"number_{i}"],
            "category": category,
            "sheet_x": i % 3,
            "sheet_y": i // 3,
            "has_img_google": True,
            "has_img_twitter": both,
        }
        for i, (name, code, category, both) in enumerate(ROWS)
    ]
    drawn = {}
    for artist in emoji.ARTISTS:
        (folder / artist).mkdir()
        sheet = rng.integers(0, 256, (3 * 66, 3 * 66, 4), dtype=np.uint8)
        drawn[artist] = []
        for row in table:
            left, top = 66 * row["sheet_x"] + 1, 66 * row["sheet_y"] + 1
            drawn[artist].append(sheet[top : top + 64, left : left + 64])
        Image.fromarray(sheet).save(sheets / f"{artist}.png")
        for row, picture in zip(table[:5], drawn[artist]):
            Image.fromarray(picture).save(folder / artist / row["image"])
    (sheets / "emoji.json").write_text(json.dumps(table))
    short = [{k: v for k, v in row.items() if not k.startswith("has_")} for row in table[:5]]
    (folder / "emoji.json").write_text(json.dumps(short))

    def item(path, members=""):
        one = store.Item(path, "http://127.0.0.1:9/", 10, 10**6, "", members)
        return store.Item(
            *list(vars(one).values())[:4], content._content_hash(tmp_path / path, one), members
        )

    names = ("emoji.json", *(f"{artist}.png" for artist in emoji.ARTISTS))
    items = tuple(item(f"emoji/sheets/{name}") for name in names)
    files = r"([0-9a-f-]+\.png)"
    instead = (item("emoji/emoji.json"), *(item(f"emoji/{a}", files) for a in emoji.ARTISTS))
    one = store.DataSet("Emoji", items, "free", "nobody", instead)
    monkeypatch.setattr(store, "MANIFEST", {"emoji": one})
    monkeypatch.setattr(emoji, "SIZES", {"test": 2, "validation": 1})
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(download, "_chunks", lambda *asked: pytest.fail("asked for a download"))
    return tmp_path, {artist: np.stack(all_of[:5]) for artist, all_of in drawn.items()}


def hide(folder, form):
    """Leave only one form of the data in the store."""
    gone = ["emoji/emoji.json"] if form == "sheets" else ["emoji/sheets/emoji.json"]
    for path in gone:
        (folder / path).unlink()


@pytest.mark.parametrize("form", ["sheets", "folders"])
@pytest.mark.parametrize("artist", emoji.ARTISTS)
def test_pictures_are_laid_on_white_in_both_forms(world, form, artist):
    folder, drawn = world
    hide(folder, form)
    samples = {s["emoji"]: s for split in SPLITS for s in Emoji(split, artist=artist)}
    assert sorted(samples) == [0, 1, 2, 3, 4]
    for i, sample in samples.items():
        # of Pillow, whose whole numbers are rounded: at most one level away from the formula
        picture = drawn[artist][i].astype(np.float64)
        share = picture[..., 3:] / 255
        expected = picture[..., :3] * share + 255 * (1 - share)
        got = sample["image"].permute(1, 2, 0).numpy() * 255
        assert sample["image"].shape == (3, 64, 64) and sample["image"].dtype == torch.float32
        assert np.abs(got - expected).max() <= 1 and got.min() >= 0 and got.max() <= 255
        assert sample["text"] == KEPT[i][0].lower()
        assert emoji.CATEGORIES[sample["label"]] == KEPT[i][2]


def test_short_names_are_added_once(world):
    (sample,) = [s for split in SPLITS for s in Emoji(split, short_names=True) if s["emoji"] == 2]
    assert sample["text"] == "dog face, number 2"


def test_siblings_stay_together(world):
    for seed in range(20):
        split_of = {s["emoji"]: n for n in SPLITS for s in Emoji(n, seed=seed)}
        assert split_of[3] == split_of[4] and Counter(split_of.values())["test"] == 2


def test_a_batch_is_what_collate_makes(world):
    data = Emoji("train")
    batch = partial(collate, kinds=data.kinds)([data[0], data[1]])
    assert batch["image"].shape == (2, 3, 64, 64) and batch["mask"]["image"].all()
    assert batch["text"] == [data[0]["text"], data[1]["text"]]
    assert batch["label"].dtype == torch.int64
    with pytest.raises(IndexError, match="index 2 is outside the 2 emoji of split 'train'"):
        data[2]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            {"split": "novel"},
            r"split: expected one of \['train', 'test', 'validation'\], got 'novel'",
        ),
        ({"artist": "apple"}, r"artist: expected one of \['google', 'twitter'\], got 'apple'"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": 0.5}, "seed: expected a whole number"),
    ],
)
def test_bad_arguments_are_named(world, arguments, words):
    with pytest.raises(ValueError, match=words):
        Emoji(**arguments)


@pytest.mark.parametrize("form", ["sheets", "folders"])
def test_damage_is_named(world, form):
    folder, _ = world
    hide(folder, form)
    file = "sheets/google.png" if form == "sheets" else "google/1f436.png"
    (folder / "emoji" / file).write_bytes(b"other")
    with pytest.raises(
        store.StoreError, match="emoji: .*google.* is not what it was.*Move it away"
    ):
        Emoji("test", artist="twitter")
    (folder / "emoji" / file).unlink()
    if form == "folders":
        with pytest.raises(store.StoreError, match="its SHA-256 is"):
            Emoji("test")


def test_what_is_in_no_form_complete_is_downloaded(world, monkeypatch, capsys):
    folder, _ = world
    assert store.have("emoji") and store.here(store.MANIFEST["emoji"])
    hide(folder, "sheets")
    (folder / "emoji/sheets/twitter.png").unlink()
    assert not store.have("emoji")
    assert 'store.fetch("emoji")' in capsys.readouterr().out
    asked = []

    def nothing(name, item):
        asked.append(item.path)
        return iter([b""])

    monkeypatch.setattr(download, "_chunks", nothing)
    with pytest.raises(store.StoreError, match="sent something else than expected"):
        Emoji()
    assert asked == ["emoji/sheets/twitter.png"]


# ---- the public data ----


@pytest.fixture(scope="module")
def sets():
    """{(split, artist): Emoji}"""
    if not store.have("emoji"):
        pytest.skip("needs the emoji: python -m course_utils.datasets.store emoji, or COURSE_DATA")
    return {(s, a): Emoji(s, artist=a) for s in SPLITS for a in emoji.ARTISTS}


def column(data, name):
    return [data[i][name] for i in range(len(data))]


def test_sizes_and_categories(sets):
    sizes = {key: len(data) for key, data in sets.items()}
    expected = {"train": 1200, "validation": 136, "test": 300}
    assert sizes == {(s, a): expected[s] for s in SPLITS for a in emoji.ARTISTS}
    labels = Counter(label for split in SPLITS for label in column(sets[split, "google"], "label"))
    counts = dict(zip(emoji.CATEGORIES, (85, 159, 131, 264, 386, 169, 224, 218)))
    assert {emoji.CATEGORIES[label]: n for label, n in labels.items()} == counts
    for split in SPLITS:
        assert set(column(sets[split, "google"], "label")) == set(range(8))


def test_both_artists_show_the_same_and_draw_it_otherwise(sets):
    for split in SPLITS:
        ours, theirs = sets[split, "google"], sets[split, "twitter"]
        for name in ("text", "label", "emoji", "group"):
            assert column(ours, name) == column(theirs, name), name
        apart = [(a["image"] - b["image"]).abs().mean() for a, b in zip(ours, theirs)]
        assert min(apart) > 0 and torch.stack(apart).mean() > 0.05


def test_no_group_and_no_name_is_in_two_splits(sets):
    for seed in (0, 1):
        parts = [Emoji(split, seed=seed) for split in SPLITS]
        for name in ("emoji", "group", "text"):
            seen = [set(column(part, name)) for part in parts]
            assert sum(map(len, seen)) == len(set().union(*seen)), name
    assert sorted(sum((column(part, "emoji") for part in parts), [])) == list(range(1636))


def test_man_woman_and_person_share_a_group(sets):
    of = {}
    for split in SPLITS:
        of |= dict(
            zip(column(sets[split, "google"], "text"), column(sets[split, "google"], "group"))
        )
    for siblings in (
        ["health worker", "man health worker", "woman health worker"],
        ["runner", "man running", "woman running", "man running facing right"],
        ["kiss", "kiss: man, man", "kiss: woman, man"],
        ["boy", "girl", "child", "family", "family: man, boy", "family: woman, girl"],
        ["man", "woman", "adult"],
        ["older man", "older woman", "older adult"],
    ):
        # a name that is not there would be a KeyError
        assert len({of[name] for name in siblings}) == 1, siblings
    sizes = Counter(of.values())
    assert of["dog face"] != of["cat face"] and sizes[of["dog face"]] == 1
    assert len(sizes) == 1391
    # by code points alone, as the course has measured it: 311 of 1,636 have a sibling
    rows = emoji._rows(store.fetch("emoji")[0])
    bare = Counter(
        "-".join(p for p in row["unified"].split("-") if p not in emoji.PEOPLE) for row in rows
    )
    assert (len(bare), sum(n for n in bare.values() if n > 1)) == (1418, 311)


def test_the_split_is_the_same_on_any_machine(sets):
    places = json.dumps(column(sets["test", "google"], "emoji"))
    assert hashlib.sha256(places.encode()).hexdigest()[:12] == "827b933bdb5a"
    assert column(Emoji("test", seed=1), "emoji") != column(sets["test", "google"], "emoji")


def test_the_public_pictures_against_pillow(sets):
    """Each file by hand, where they lie in folders; of a sheet, its corner."""
    table, drawn, _ = store.fetch("emoji")
    data = sets["test", "google"]
    for i in range(0, len(data), 25):
        row = emoji._rows(table)[data[i]["emoji"]]
        if drawn.is_dir():
            picture = Image.open(drawn / row["image"]).convert("RGBA")
        else:
            x, y = 66 * row["sheet_x"] + 1, 66 * row["sheet_y"] + 1
            picture = Image.open(drawn).convert("RGBA").crop((x, y, x + 64, y + 64))
        paper = Image.new("RGB", (64, 64), "white")
        paper.paste(picture, mask=picture)
        expected = torch.from_numpy(np.array(paper)).permute(2, 0, 1) / 255
        assert (data[i]["image"] - expected).abs().max() <= 1.01 / 255


def test_the_makers_are_named(sets):
    for artist, words in (("google", "Noto Emoji.*Apache"), ("twitter", "Twemoji.*CC BY 4.0")):
        data = sets["test", artist]
        assert all(part in data.credit for part in (emoji.CREDITS[artist], emoji.CREDITS["names"]))
        assert data.credit in repr(data) and "300 emoji" in repr(data)
        assert re.search(words, data.credit)
