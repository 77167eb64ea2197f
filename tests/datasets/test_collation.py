"""The batch: what each kind becomes, what its masks say, and a sentence for all that it refuses."""

import math
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from course_utils.datasets import Digits, collate
from course_utils.datasets.collation import Typed, letter_ids
from course_utils.runtime import ROOT

PICTURE = torch.arange(12.0).reshape(3, 2, 2) / 12


def test_any_names_are_padded_or_stacked_by_what_they_hold():
    samples = [
        {"Satz": torch.tensor([5, 2, 9]), "脑电": torch.ones(2), "scan": PICTURE, "y": 1},
        {"Satz": torch.tensor([7]), "脑电": 2 * torch.ones(4), "scan": PICTURE + 1, "y": 0},
    ]
    batch = collate(samples)
    assert list(batch) == ["mask", "Satz", "脑电", "scan", "y"]
    assert batch["Satz"].tolist() == [[5, 2, 9], [7, 0, 0]] and batch["Satz"].dtype == torch.int64
    assert batch["脑电"].tolist() == [[1, 1, 0, 0], [2, 2, 2, 2]]
    assert batch["脑电"].dtype == torch.float32
    assert torch.equal(batch["scan"], torch.stack([PICTURE, PICTURE + 1]))
    assert {name: mask.tolist() for name, mask in batch["mask"].items()} == {
        "Satz": [[True, True, True], [True, False, False]],
        "脑电": [[True, True, False, False], [True, True, True, True]],
        "scan": [True, True],
    }


def test_frames_are_padded_and_clips_stacked():
    samples = [
        {"words": torch.ones(2, 3), "film": torch.full((5, 1, 2, 2), 0.5)},
        {"words": torch.ones(4, 3), "film": torch.full((5, 1, 2, 2), 0.25)},
    ]
    batch = collate(samples)
    assert batch["words"].shape == (2, 4, 3) and batch["words"][0].sum() == 6
    assert batch["mask"]["words"].sum(1).tolist() == [2, 4]
    assert batch["film"].shape == (2, 5, 1, 2, 2) and batch["mask"]["film"].tolist() == [True, True]


def test_a_row_of_floats_is_a_sequence_until_it_is_declared_a_vector():
    """Whether the lengths of one batch agree must not decide it: the next batch may differ."""
    even = [{"x": torch.tensor([1.0, 2.0])}, {"x": torch.tensor([3.0, 4.0])}]
    assert collate(even)["mask"]["x"].shape == (2, 2)
    assert collate(even, kinds={"x": "vector"})["mask"]["x"].tolist() == [True, True]
    assert collate(even, kinds={"x": (2,)})["x"].tolist() == [[1, 2], [3, 4]]
    ragged = [*even, {"x": torch.ones(3)}]
    assert collate(ragged)["x"].shape == (3, 3)
    with pytest.raises(ValueError, match=r"x of sample 2 has shape \(3,\).*'x': 'sequence'"):
        collate(ragged, kinds={"x": "vector"})


def test_a_vector_may_be_of_whole_numbers_or_bools():
    samples = [{"x": np.array([1, 0, 2])}, {"x": np.array([0, 0, 5])}]
    batch = collate(samples, kinds={"x": "vector"})
    assert batch["x"].dtype == torch.float32 and batch["x"].tolist() == [[1, 0, 2], [0, 0, 5]]
    bools = [{"x": torch.tensor([True, False])}]
    assert collate(bools, kinds={"x": "vector"})["x"].tolist() == [[1.0, 0.0]]


def test_arrays_are_taken_like_tensors():
    sound = np.array([0.5, -0.25, 0.125])
    foreign = np.array([3, 1], dtype=">i8")
    backwards = [{"s": sound[::-1], "ids": foreign}, {"s": sound, "ids": foreign[::-1]}]
    batch = collate(backwards)
    assert batch["s"].tolist() == [[0.125, -0.25, 0.5], [0.5, -0.25, 0.125]]
    assert batch["s"].dtype == torch.float32 and batch["ids"].tolist() == [[3, 1], [1, 3]]
    backwards[0]["s"][0] = 7  # the batch is a copy
    assert batch["s"][0, 0] == 0.125


def test_labels_keep_what_they_are():
    def labels(*values):
        return collate([{"y": value} for value in values])["y"]

    for values, dtype in (
        ((3, 0), torch.int64),
        ((np.int32(3), np.int32(0)), torch.int64),
        ((torch.tensor(3), torch.tensor(0)), torch.int64),
        ((0.7, -0.9), torch.float32),
        ((np.float32(0.7), np.float32(-0.9)), torch.float32),
        ((True, False), torch.int64),
    ):
        assert labels(*values).dtype == dtype
        assert labels(*values).tolist() == pytest.approx([float(value) for value in values])
    assert list(collate([{"y": 1}])["mask"]) == []
    words = [{"y": "狗", "x": 1}, {"y": "Hündin", "x": 2}]
    assert collate(words, classes={"y": ["Hündin", "狗"]})["y"].tolist() == [1, 0]
    soft = [{"y": torch.tensor([0.25, 0.75])}, {"y": torch.tensor([1.0, 0.0])}]
    batch = collate(soft, kinds={"y": "label"})
    assert batch["y"].tolist() == [[0.25, 0.75], [1, 0]] and not batch["mask"]


def test_a_typed_word_is_spelled_and_an_empty_one_is_missing():
    batch = collate([{"w": Typed("cab")}, {"w": Typed("")}, {"w": None}])
    assert batch["w"].tolist() == [[3, 1, 2], [0, 0, 0], [0, 0, 0]]
    assert batch["mask"]["w"].any(1).tolist() == [True, False, False]
    plain = collate([{"w": "cab"}], kinds={"w": "letters"})
    assert torch.equal(plain["w"][0], letter_ids("cab"))
    assert pickle.loads(pickle.dumps(Typed("cab"))) == "cab"


def test_texts_stay_strings_with_a_mask():
    batch = collate([{"t": "Grüße, 世界"}, {"t": None}], kinds={"t": "text"})
    assert batch["t"] == ["Grüße, 世界", ""] and batch["mask"]["t"].tolist() == [True, False]


def test_what_is_missing_is_false_in_every_mask_and_zero_in_the_batch():
    whole = {"ids": torch.tensor([4, 4]), "pic": PICTURE + 1, "vec": torch.ones(2), "y": 0}
    holes = {"ids": None, "pic": None, "vec": None, "y": 1}
    for samples, there in (([whole, holes], [True, False]), ([holes, whole], [False, True])):
        batch = collate(samples, kinds={"vec": "vector"})
        assert set(batch["mask"]) == {"ids", "pic", "vec"}
        for name, mask in batch["mask"].items():
            kept = mask if mask.dim() == 1 else mask.any(1)
            assert kept.tolist() == there
            assert not batch[name][~kept].any() and batch[name][kept].all()


def test_a_modality_that_a_whole_batch_lacks_needs_its_kind():
    kinds = {
        "a": ("letters", (2, 1), torch.int64, (2, 1)),
        "b": ("ids", (2, 1), torch.int64, (2, 1)),
        "c": ("sequence", (2, 1), torch.float32, (2, 1)),
        "d": ((None, 7), (2, 1, 7), torch.float32, (2, 1)),
        "e": ((3, 4, 4), (2, 3, 4, 4), torch.float32, (2,)),
    }
    samples = [dict.fromkeys(kinds), dict.fromkeys(kinds)]
    batch = collate(samples, kinds={name: kind for name, (kind, *_) in kinds.items()})
    for name, (_, shape, dtype, mask) in kinds.items():
        assert batch[name].shape == shape and batch[name].dtype == dtype and not batch[name].any()
        assert batch["mask"][name].shape == mask and not batch["mask"][name].any()
    with pytest.raises(ValueError, match="a is None in all 2 samples.*kinds="):
        collate(samples)
    for kind in ("picture", "vector", "clip"):
        with pytest.raises(ValueError, match="e is None in all 1 samples, so its shape"):
            collate([{"e": None}], kinds={"e": kind})


def test_the_order_of_keys_does_not_matter():
    samples = [Digits("test", missing={"audio": 0.5})[i] for i in range(6)]
    turned = [dict(reversed(sample.items())) for sample in samples]
    one, two = collate(samples), collate(turned)
    mixed = collate([sample if i % 2 else turned[i] for i, sample in enumerate(samples)])
    for other in (two, mixed):
        assert set(one) == set(other)
        for name in set(one) - {"mask"}:
            assert torch.equal(one[name], other[name])
        for name, mask in one["mask"].items():
            assert torch.equal(mask, other["mask"][name])


def test_it_works_in_a_data_loader_with_workers():
    data = Digits("test", missing={"image": 0.5})
    together = partial(collate, kinds=data.kinds)
    batches = list(DataLoader(data, batch_size=100, collate_fn=together, num_workers=1))
    assert [len(batch["label"]) for batch in batches] == [100, 100, 52]
    assert batches[2]["image"].shape == (52, 1, 16, 16)
    missing = [data[200 + i]["image"] is not None for i in range(52)]
    assert batches[2]["mask"]["image"].tolist() == missing


def test_pictures_may_be_normalised():
    """ImageNet's mean and spread bring a white pixel to 2.64 and a black one to -2.12."""
    bright = torch.full((3, 4, 4), 2.64)
    dark = torch.full((3, 4, 4), -2.12)
    assert collate([{"p": bright}, {"p": dark}])["p"].max() == pytest.approx(2.64)
    noisy = 30 * torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert collate([{"p": noisy}])["p"].shape == (1, 1, 8, 8)
    for shape in ((2, 3, 3), (64, 4, 4), (1, 28, 4), (4, 9, 3)):  # small, but colours first
        assert collate([{"p": torch.zeros(shape)}])["p"].shape == (1, *shape)
    power = torch.full((1, 4, 4), 900.0)
    assert collate([{"p": power}], kinds={"p": (1, 4, 4)})["p"].max() == 900


class Odd:
    pass


good = {
    "ids": torch.tensor([1, 2]),
    "sound": torch.tensor([0.5, 0.25]),
    "picture": PICTURE,
    "label": 3,
}


@pytest.mark.parametrize(
    "key, value, words",
    [
        (
            "sound",
            np.array([1, 2], dtype=np.int16),
            "is torch.int16; .* int16 sound is divided by 32768",
        ),
        ("sound", torch.tensor([0.5, math.nan]), "holds NaN or infinity; expected finite numbers"),
        ("sound", torch.tensor([-math.inf]), "holds NaN or infinity"),
        ("sound", torch.zeros(0), r"is empty, shape \(0,\); expected None if it is missing"),
        ("sound", torch.ones(2, 5), r"has shape \(2, 5\); expected as many axes .* \(2,\)"),
        ("sound", torch.ones(2, dtype=torch.float64), "float64; expected torch.float32"),
        ("sound", torch.ones(2, dtype=torch.complex64), "is complex; expected real numbers"),
        ("sound", np.ones(2, dtype=np.complex128), "dtype complex128; expected real numbers"),
        ("sound", torch.ones(2).to_sparse(), "is torch.sparse_coo; expected a dense tensor"),
        ("ids", np.array([1, None]), "dtype object; expected real numbers of one fixed size"),
        ("ids", np.array(["a", "b"]), "dtype <U1; expected real numbers"),
        ("ids", np.array([1], dtype=np.uint64), "dtype uint64; expected real numbers"),
        ("ids", [1, 2], r"is a list; expected a tensor, .* torch.tensor\(...\)"),
        ("ids", "A dog barks.", "is the string 'A dog barks.'; expected .* whole numbers"),
        ("ids", torch.tensor([3, -1]), "holds the id -1; expected ids of at least 0"),
        ("ids", 5, r"has shape \(\); expected \(T,\) whole numbers"),
        ("picture", PICTURE[:2], r"has shape \(2, 2, 2\); expected one shape, \(3, 2, 2\): resize"),
        ("picture", 255 * PICTURE, "goes up to 233.75; expected values from 0 to 1, or normalised"),
        ("picture", (255 * PICTURE).byte(), "is torch.uint8; .* divide bytes by 255"),
        ("picture", PICTURE[0], r"has shape \(2, 2\); expected one shape"),
        ("picture", Odd(), "is a Odd; expected a tensor, a number or None"),
        ("label", None, "is None; expected a number, as in the other samples"),
        ("label", math.nan, "holds NaN or infinity; .* no sample without a label"),
        ("label", 0.5, "is torch.float64; expected torch.int64"),
        (
            "label",
            "cat",
            r"is the string 'cat'; expected a number.* needs classes={'label': \[...\]}",
        ),
        ("label", 2**70, "dtype object; expected real numbers of one fixed size"),
        ("label", torch.tensor([1]), r"has shape \(1,\); expected as many axes"),
    ],
)
def test_a_bad_value_is_refused_by_name(key, value, words):
    with pytest.raises(ValueError, match=rf"^{key} of sample 1 .*{words}"):
        collate([good, {**good, key: value}])


@pytest.mark.parametrize(
    "value, options, words",
    [
        (np.zeros(9, dtype=np.int16), {}, "is torch.int16; .* int16 divided by 32768"),
        (torch.ones(9, dtype=torch.bool), {}, r"is torch.bool; .*kinds={'x': 'vector'}"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), {}, "is torch.uint8; .* divide bytes by 255"),
        (np.zeros((8, 8, 3), dtype=np.uint8), {}, "uint8; .*colours first, .* divide bytes by 255"),
        (torch.zeros(8, 8, 3), {}, r"\(8, 8, 3\); .* movedim\(-1, -3\)"),
        (torch.zeros(5, 8, 8, 3), {}, r"\(5, 8, 8, 3\); .* movedim\(-1, -3\)"),
        (torch.zeros(1, 1, 1, 1, 1), {}, r"expected at most four axes"),
        (torch.zeros(2, 2, dtype=torch.int64), {}, "is torch.int64; expected .* floats"),
        ("cat", {}, r"is a string, 'cat'; .*classes={'x': \[...\]}.*Vocabulary.*'text'.*'letters'"),
        ("cat", {"classes": {"x": ["dog"]}}, r"is 'cat'; expected one of the classes \['dog'\]"),
        (1, {"classes": {"x": ["dog"]}}, "is 1; expected one of the classes"),
        (None, {"classes": {"x": ["dog"]}}, "is None; expected one of the classes"),
        (math.nan, {}, "holds NaN or infinity"),
        (1e300, {}, "expected numbers that float32 can hold"),
        ("four!", {"kinds": {"x": "letters"}}, r"expected letters a to z, got \['!'\].*Vocabulary"),
        (torch.ones(2), {"kinds": {"x": "letters"}}, "is a Tensor; expected a word"),
        (torch.ones(2), {"kinds": {"x": "text"}}, "is torch.float32; expected a string"),
        (
            torch.zeros(4, 4),
            {"kinds": {"x": "picture"}},
            r"gray picture \(H, W\) is picture\[None\]",
        ),
        (torch.zeros(4), {"kinds": {"x": (3,)}}, r"has shape \(4,\); expected one shape, \(3,\)"),
        (
            torch.zeros(4, 2),
            {"kinds": {"x": (None, 3)}},
            r"has shape \(4, 2\); expected a width of 3",
        ),
        (torch.zeros(4), {"kinds": {"x": (None, 3)}}, r"expected shape \(None, 3\)"),
        (
            torch.zeros(3, 4, 4, dtype=torch.uint8),
            {"kinds": {"x": (3, 4, 4)}},
            "is torch.uint8; .* divide bytes by 255",
        ),
    ],
)
def test_a_bad_value_is_refused_in_the_first_sample_too(value, options, words):
    with pytest.raises(ValueError, match=f"^x of sample 0.*{words}"):
        collate([{"x": value}], **options)


@pytest.mark.parametrize(
    "samples, options, words",
    [
        ([], {}, "samples is empty"),
        ({"x": 1}, {}, "samples: expected a list of dicts, got dict"),
        ([{"x": 1}, 3], {}, "sample 1: expected a dict of named values .* got int 3"),
        ([{"x": 1}, {"x": 1, "y": 2}], {}, r"sample 1 has keys \['x', 'y'\], sample 0 has \['x'\]"),
        ([{"x": 1, "mask": 1}], {}, "the key 'mask' is taken"),
        ([{"x": 1}], {"kinds": {"z": "ids"}}, r"kinds: \['z'\] are not among the keys \['x'\]"),
        ([{"x": 1}], {"classes": {"z": ["a"]}}, r"classes: \['z'\] are not among"),
        ([{"x": 1}], {"kinds": {"x": "image"}}, r"kinds\['x'\]: expected one of .* got 'image'"),
        ([{"x": 1}], {"kinds": {"x": (3, None)}}, r"kinds\['x'\]: expected one of"),
        ([{"x": "a"}], {"classes": {"x": ["a", "a"]}}, "expected a list of different names"),
        (
            [{"x": torch.ones(2, 3)}, {"x": torch.ones(2, 4)}],
            {},
            "sample 1 .* expected a width of 3",
        ),
    ],
)
def test_a_bad_call_is_refused_in_words(samples, options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        collate(samples, **options)


def test_importing_the_datasets_imports_nothing_heavy():
    code = (
        "import sys, course_utils.datasets as d; print(sorted(d.__all__));"
        "assert 'collate' in dir(d);"
        "print({'torch', 'numpy', 'sklearn', 'PIL', 'soundfile'} & set(sys.modules));"
        "from course_utils.datasets import MODALITIES;"
        "print({'torch', 'numpy'} & set(sys.modules))"
    )
    run = [sys.executable, "-c", code]
    printed = subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert printed.splitlines()[1:] == ["set()", "set()"] and "'Scenes'" in printed


def test_every_name_of_the_datasets_is_there_whatever_was_imported_before():
    import course_utils.datasets as package

    for name in package.__all__:
        assert not isinstance(getattr(package, name), type(sys)), f"{name} is a module"
    with pytest.raises(ImportError, match="cannot import name 'Digit'"):
        from course_utils.datasets import Digit  # noqa: F401
