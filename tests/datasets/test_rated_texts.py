"""Texts with human ratings: what is taken out of them, who stays together, and the splits.

What needs the public data skips without them; the rest runs on a small set written here.
"""

import hashlib
import json
import random
import re
from collections import Counter
from functools import partial
from itertools import combinations

import pytest
import torch

from course_utils.datasets import RatedTexts, collate, content, download, rated_texts, store
from course_utils.datasets.rated_texts import near_duplicates, take_emoticons

SPLITS = ("train", "validation", "test")
SCORE = [-2.5, 0.25, 3.0]
POSTS = [
    ("1", "I love this :)"),
    ("2", "I LOVE this!!! @anonymous"),
    ("3", "see http://url_removed &lt;3 &amp; smile"),
    *((str(i), f"number{i} alone{i} word{i}") for i in range(4, 21)),
]
PRODUCTS = [(f"{i // 4}_{i % 4}", f"first{i} second{i} third{i}") for i in range(20)]


def lines(rows):
    return "".join(f"{name}\t{SCORE[i % 3]}\t{text}\r\n" for i, (name, text) in enumerate(rows))


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A small set in a store, and a manifest of what it is."""
    folder = tmp_path / "tweets"
    folder.mkdir()
    for domain, rows in (("posts", POSTS), ("film", POSTS[3:]), ("products", PRODUCTS)):
        (folder / rated_texts.FILES[domain]).write_bytes(lines(rows).encode())
    item = store.Item("tweets", "http://127.0.0.1:9/", 10, 10**6, "", r"(.+\.txt)")
    item = store.Item(
        *list(vars(item).values())[:4], content._content_hash(folder, item), r"(.+\.txt)"
    )
    one = store.DataSet("Texts", (item,), "free", "nobody")
    monkeypatch.setattr(store, "MANIFEST", {"texts": one})
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(download, "_chunks", lambda *asked: pytest.fail("asked for a download"))
    return folder


def everything(**options):
    return [sample for split in SPLITS for sample in RatedTexts(split, **options)]


# ---- emoticons ----


@pytest.mark.parametrize(
    "text, rest, found",
    [
        ("fine :) thanks", "fine thanks", [":)"]),
        ("fine:)", "fine", [":)"]),
        ("see http://url_removed", "see http://url_removed", []),
        ("hm :/ http://a.b", "hm http://a.b", [":/"]),
        ("I <3 you </3", "I you", ["<3", "</3"]),
        ("3<35 and 10:30 and (a) or 5:3x", "3<35 and 10:30 and (a) or 5:3x", []),
        ("no :'( and =D and ;-)", "no and and", [":'(", "=D", ";-)"]),
        ("go xD O_o ^_^ -_- \\o/ D:", "go", ["xD", "O_o", "^_^", "-_-", "\\o/", "D:"]),
        ("DOWNLOAD: all:Delphic foo_o_o", "DOWNLOAD: all:Delphic foo_o_o", []),
        ("=(((", "", ["=((("]),
        ("pay 0.0 of it: (no)", "pay 0.0 of it: (no)", []),
    ],
)
def test_emoticons_are_taken_out_and_nothing_else(text, rest, found):
    assert take_emoticons(text) == (rest, found)


def test_html_is_unescaped_before_the_emoticons_are_taken(world):
    (sample,) = [one for one in everything() if one["row"] == 2]
    assert sample["text"] == "see http://url_removed & smile" and sample["emoticon"] == "<3"


def test_what_is_not_taken_apart_keeps_its_emoticons(world):
    (sample,) = [one for one in everything(apart=False) if one["row"] == 0]
    assert sample["text"] == "I love this :)" and sample["emoticon"] == ":)"


# ---- groups ----


def by_hand(texts, alike):
    """Groups by comparing all pairs until nothing changes."""
    bags = [rated_texts._words(text) for text in texts]
    group = list(range(len(bags)))
    for _ in bags:
        for i, one in enumerate(bags):
            for j, other in enumerate(bags):
                if one and other and len(one & other) / len(one | other) >= alike:
                    group[i] = group[j] = min(group[i], group[j])
    return group


@pytest.mark.parametrize("alike", [0.3, 0.5, 0.6, 1.0])
def test_near_duplicates_are_those_of_all_pairs(alike):
    chance = random.Random(0)
    texts = [" ".join(chance.choices("abcdefghij", k=chance.randrange(6))) for _ in range(80)]
    assert near_duplicates(texts, alike) == by_hand(texts, alike)
    assert len(set(by_hand(texts, alike))) < 80


def test_capitals_names_addresses_and_emoticons_make_no_difference():
    texts = ["I LOVE it :)", "rt @anonymous i love it!!! http://a.b", "", "", "I love you"]
    assert near_duplicates(texts) == near_duplicates(texts, 1.0) == [0, 0, 2, 3, 4]


def test_a_chain_is_one_group():
    assert near_duplicates(["a b c", "b c d", "c d e", "x"], 0.5) == [0, 0, 0, 3]


@pytest.mark.parametrize("alike", [0, -1, 1.5, float("nan")])
def test_a_part_that_is_none(alike):
    with pytest.raises(ValueError, match="alike: expected a part above 0 and at most 1, got"):
        near_duplicates(["a"], alike)


def test_siblings_stay_together(world):
    for seed in range(20):
        split_of = {one["row"]: s for s in SPLITS for one in RatedTexts(s, seed=seed)}
        assert split_of[0] == split_of[1] and len(split_of) == 20
        assert Counter(split_of.values()) == {"train": 14, "validation": 2, "test": 4}


def test_the_sentences_of_one_review_stay_together(world):
    for seed in range(10):
        parts = [
            {r["row"] // 4 for r in RatedTexts(s, domain="products", seed=seed)} for s in SPLITS
        ]
        assert sum(map(len, parts)) == len(set().union(*parts)) == 5


# ---- the class ----


def test_a_batch_is_what_collate_makes(world):
    data = RatedTexts()
    batch = partial(collate, kinds=data.kinds)([data[i] for i in range(len(data))])
    assert batch["text"] == data.texts and batch["mask"]["text"].all()
    assert batch["mask"]["emoticon"].tolist() == [one is not None for one in data.emoticons]
    assert torch.equal(batch["rating"], data.ratings) and batch["rating"].dtype == torch.float32
    assert batch["row"].tolist() == data.rows and batch["group"].tolist() == data.groups
    assert all(one["rating"] == SCORE[one["row"] % 3] for one in data)
    assert data[-1] == data[len(data) - 1]
    with pytest.raises(IndexError, match="index 14 is outside the 14 texts of split 'train'"):
        data[14]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"split": "dev"}, r"split: expected one of \['train', 'test', 'validation'\], got 'dev'"),
        ({"domain": "tweets"}, r"domain: expected one of \['posts', 'film', 'products'\], got 'tw"),
        ({"apart": "no"}, "apart: expected True or False, got 'no'"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": 0.5}, "seed: expected a whole number"),
        ({"seed": True}, "seed: expected a whole number"),
    ],
)
def test_bad_arguments_are_named(world, arguments, words):
    with pytest.raises(ValueError, match=words):
        RatedTexts(**arguments)


def test_damage_is_named(world):
    (world / rated_texts.FILES["film"]).write_bytes(b"other")
    with pytest.raises(store.StoreError, match="texts: .*is not what it was.*Move it away"):
        RatedTexts()


# ---- the public data ----


@pytest.fixture(scope="module")
def public():
    if not store.have("texts"):
        pytest.skip("needs the texts: python -m course_utils.datasets.store texts")


def test_sizes_ratings_and_emoticons(public):
    facts = {}
    for domain in rated_texts.FILES:
        parts = [RatedTexts(split, domain=domain) for split in SPLITS]
        ratings = torch.cat([part.ratings for part in parts])
        found = sum(one is not None for part in parts for one in part.emoticons)
        assert -4 <= ratings.min() and ratings.max() <= 4 and all(t for p in parts for t in p.texts)
        facts[domain] = [len(part) for part in parts], round(ratings.mean().item(), 3), found
    assert facts == {
        "posts": ([2940, 420, 840], 0.505, 672),
        "film": ([7424, 1060, 2121], 0.005, 0),
        "products": ([2595, 371, 742], 0.382, 1),
    }


def test_no_group_is_in_two_splits_and_every_row_in_one(public):
    for domain in rated_texts.FILES:
        for seed in (0, 1):
            parts = [RatedTexts(split, domain=domain, seed=seed) for split in SPLITS]
            groups = [set(part.groups) for part in parts]
            assert sum(map(len, groups)) == len(set().union(*groups))
            rows = sorted(sum((part.rows for part in parts), []))
            assert rows == list(range(len(rows)))
    parts = [RatedTexts(split) for split in SPLITS]
    sizes = Counter(sum((part.groups for part in parts), []))
    assert (len(sizes), sum(n for n in sizes.values() if n > 1), max(sizes.values())) == (
        3997,
        252,
        8,
    )


def test_no_text_of_the_test_split_was_seen_in_other_capitals(public):
    """But for texts of which only "@anonymous" is left without the emoticon."""
    seen = [
        {" ".join(re.findall(r"\w+", text.lower())) for text in RatedTexts(split).texts}
        for split in SPLITS
    ]
    assert all(one & other <= {"anonymous"} for one, other in combinations(seen, 2))


def test_the_split_is_the_same_on_any_machine(public):
    rows = json.dumps(RatedTexts("test").rows)
    assert hashlib.sha256(rows.encode()).hexdigest()[:12] == "41937b29a0ce"
    assert RatedTexts("test", seed=1).rows != RatedTexts("test").rows


def test_the_makers_are_named(public):
    data = RatedTexts("test")
    assert "Hutto" in data.credit and "MIT" in data.credit
    assert data.credit in repr(data) and "840 texts" in repr(data)


def test_the_raters_mean_is_the_rating_but_in_199_rows():
    if not store.have("texts", "raters"):
        pytest.skip("needs the raters: python -m course_utils.datasets.store raters")
    given = rated_texts.raters()
    assert len(given) == 4200 and Counter(map(len, given))[20] == 3200
    assert min(map(len, given)) == 20 and max(map(len, given)) == 99
    assert {rating for row in given for rating in row} == set(range(-4, 5))
    data = {one["row"]: one["rating"] for one in everything()}
    apart = [i for i, row in enumerate(given) if abs(sum(row) / len(row) - data[i]) > 1e-3]
    assert len(apart) == 199
