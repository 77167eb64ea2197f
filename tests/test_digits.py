"""The world of digits: splits, dials, seeds, collation, and the shipped clips."""

import dataclasses
import hashlib
import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from course_utils.datasets import Digits, collate, digits, digits_public, store
from course_utils.datasets.collation import letter_ids
from course_utils.datasets.digits import HOMOPHONES, SPLITS, WORDS, add_noise, type_word
from course_utils.runtime import DATA, ROOT

MANIFEST = json.loads((DATA / "digits" / "manifest.json").read_text())


def shipped_pcm():
    digest = hashlib.sha256()
    for voice in MANIFEST["voices"]:
        for digit in range(10):
            samples, rate = soundfile.read(
                DATA / "digits" / "speech" / f"{voice['voice']:02d}_{digit}.flac", dtype="int16"
            )
            assert rate == 8_000 and samples.ndim == 1
            digest.update(samples.astype("<i2").tobytes())
    return digest.hexdigest()


def test_the_writers_blocks_are_those_that_scikit_learns_course_found():
    """From the list `writer_boundaries` of the scikit-learn MOOC, and not from our table."""
    found = [0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667, 1797]
    assert list(digits.WRITER_BLOCKS) == found


def test_the_shipped_clips_are_those_of_the_manifest_and_under_4_mb():
    files = list((DATA / "digits" / "speech").glob("*.flac"))
    assert len(files) == 600 == MANIFEST["clips"]
    assert sum(file.stat().st_size for file in files) < 4e6
    assert shipped_pcm() == MANIFEST["pcm_sha256"]


def test_the_datasheet_names_hash_and_versions():
    sheet = (DATA / "digits" / "README.md").read_text()
    assert MANIFEST["pcm_sha256"] in sheet
    assert f"espeak-ng {MANIFEST['made_with']['espeak-ng']}" in sheet


def test_the_clips_are_the_same_when_made_again(tmp_path):
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    sys.path.insert(0, str(ROOT / "tools"))
    from make_data import espeak_version

    if espeak_version() != MANIFEST["made_with"]["espeak-ng"]:
        pytest.skip(
            f"espeak-ng {espeak_version()} is installed; the clips were made with"
            f" {MANIFEST['made_with']['espeak-ng']}"
        )
    subprocess.run(
        [sys.executable, ROOT / "tools" / "make_data.py", "--folder", tmp_path],
        check=True,
        capture_output=True,
    )
    assert (
        json.loads((tmp_path / "manifest.json").read_text())["pcm_sha256"] == MANIFEST["pcm_sha256"]
    )


def test_neither_voices_nor_timbres_nor_writers_cross_the_splits():
    by_split = {split: [v for v in MANIFEST["voices"] if v["split"] == split] for split in SPLITS}
    assert {split: len(voices) for split, voices in by_split.items()} == {
        "train": 40,
        "validation": 10,
        "test": 10,
    }
    assert len({v["variant"].lower() for v in MANIFEST["voices"]}) == 60
    seen = {split: [Digits(split)[i] for i in range(0, len(Digits(split)), 7)] for split in SPLITS}
    for key in ("voice", "writer"):
        groups = [{sample[key] for sample in samples} for samples in seen.values()]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert sum(len(Digits(split)) for split in SPLITS) == 1797


def same(a, b):
    return all(torch.equal(a[k], b[k]) if torch.is_tensor(a[k]) else a[k] == b[k] for k in a)


def test_a_sample_depends_on_seed_and_index_and_not_on_the_order_of_access():
    one, two = Digits("test", seed=5), Digits("test", seed=5)
    backwards = [two[i] for i in reversed(range(20))][::-1]
    assert all(same(one[i], backwards[i]) for i in range(20))
    assert not same(one[3], Digits("test", seed=6)[3])
    assert same(one[-1], one[len(one) - 1])


def test_a_dial_turns_its_own_modality_only():
    before = Digits("train")[11]
    for dial, name in (
        ({"image_noise": 0.9}, "image"),
        ({"speech_snr": 3.0}, "audio"),
        ({"text_error": 0.0}, "text"),
    ):
        after = Digits("train", **dial)[11]
        changed = {key for key in before if not same({"x": before[key]}, {"x": after[key]})}
        assert changed == {name}, dial


def test_the_noises_of_the_modalities_are_independent():
    """Otherwise every statement about conditional independence would be false: each purpose has
    its own generator.
    """
    noisy, clean = Digits("train"), Digits("train", image_noise=0, speech_snr=math.inf)
    pairs = [
        (
            noisy[i]["image"][0, 0, 0] - clean[i]["image"][0, 0, 0],
            noisy[i]["audio"][0] - clean[i]["audio"][0],
        )
        for i in range(300)
    ]
    # 3.5 standard errors of 300 pairs
    assert abs(np.corrcoef(np.array(pairs, dtype=float).T)[0, 1]) < 0.2


def test_missing_modalities_come_at_their_rate_and_leave_the_rest_alone():
    full, holes = Digits("train"), Digits("train", missing={"audio": 0.3, "text": 1.0})
    samples = [holes[i] for i in range(400)]
    assert all(sample["text"] is None and sample["image"] is not None for sample in samples)
    rate = sum(sample["audio"] is None for sample in samples) / 400
    assert abs(rate - 0.3) < 0.07  # three standard errors of 400 draws
    assert all(
        s["audio"] is None or torch.equal(s["audio"], full[i]["audio"])
        for i, s in enumerate(samples)
    )


def test_noise_has_the_power_that_the_dial_says():
    rng = np.random.default_rng(0)
    sound = np.sin(np.arange(80_000) / 5)
    noise = add_noise(sound, -10.0, rng) - sound
    assert 10 * math.log10((sound**2).mean() / (noise**2).mean()) == pytest.approx(-10, abs=0.1)
    assert np.array_equal(add_noise(sound, math.inf, rng), sound)
    clean, noisy = Digits("train", image_noise=0)[0]["image"], Digits("train", image_noise=0.5)
    assert clean.shape == (1, 16, 16) and clean.min() >= 0 and clean.max() <= 1
    spread = torch.stack(
        [noisy[i]["image"] - Digits("train", image_noise=0)[i]["image"] for i in range(200)]
    )
    corner = spread[:, 0, 0, 0]  # bilinear enlargement leaves a corner pixel as it was
    assert corner.std().item() == pytest.approx(0.5, abs=0.08)


def test_the_typist_makes_no_errors_at_0_and_homophones_and_slips_above():
    rng = np.random.default_rng(0)
    assert [type_word(word, 0.0, rng) for word in WORDS] == list(WORDS)
    typed = [type_word("four", 0.2, rng) for _ in range(500)]
    assert {"for", "fore", "four"} <= set(typed) and len(set(typed)) > 50
    assert all(
        set(word) <= set("abcdefghijklmnopqrstuvwxyz")
        for words in HOMOPHONES.values()
        for word in words
    )


def test_a_batch_is_padded_masked_and_knows_what_is_missing():
    samples = [Digits("train", missing={"audio": 0.5, "image": 0.3})[i] for i in range(12)]
    batch = collate(samples)
    assert set(batch["mask"]) == {"text", "image", "audio"}
    assert batch["mask"]["image"].tolist() == [sample["image"] is not None for sample in samples]
    for i, sample in enumerate(samples):
        assert batch["mask"]["text"][i].sum() == len(sample["text"])
        assert torch.equal(batch["text"][i][batch["mask"]["text"][i]], letter_ids(sample["text"]))
        assert batch["text"][i][~batch["mask"]["text"][i]].eq(0).all()
        length = 0 if sample["audio"] is None else len(sample["audio"])
        assert batch["mask"]["audio"][i].sum() == length and batch["audio"][i, length:].eq(0).all()
    assert batch["image"].shape == (12, 1, 16, 16) and batch["label"].dtype == torch.int64


def test_a_batch_in_which_a_modality_is_missing_everywhere_still_works():
    data = Digits("test", missing={"text": 1.0, "image": 1.0, "audio": 1.0})
    batch = collate([data[i] for i in range(3)], kinds=data.kinds)
    assert not any(mask.any() for mask in batch["mask"].values())
    assert batch["text"].shape == (3, 1) and batch["image"].shape == (3, 1, 16, 16)
    assert batch["text"].dtype == torch.int64 and batch["audio"].dtype == torch.float32


def broken(key, value):
    samples = [Digits("test")[i] for i in range(2)]
    samples[1][key] = value
    return samples


@pytest.mark.parametrize(
    "samples, words",
    [
        (lambda: [], "samples is empty"),
        (lambda: broken("image", torch.full((1, 16, 16), math.nan)), "image of sample 1 holds NaN"),
        (
            lambda: broken("audio", torch.tensor([0.0, math.inf])),
            "audio of sample 1 holds NaN or infinity",
        ),
        (
            lambda: broken("image", torch.zeros(3, 16, 16)),
            r"expected one shape, .* resize them first",
        ),
        (
            lambda: broken("audio", torch.zeros(2, 5)),
            r"audio of sample 1 has shape \(2, 5\); expected as many axes",
        ),
        (lambda: broken("text", "four!"), r"expected letters a to z, got \['!'\]"),
        (lambda: broken("extra", 1), "sample 1 has keys"),
    ],
)
def test_a_bad_batch_is_refused_in_words(samples, words):
    with pytest.raises(ValueError, match=words):
        collate(samples())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"split": "tset"}, "split: expected one of .* got 'tset'"),
        ({"source": "mnist"}, r"source: expected one of \['bundled', 'mnist-fsdd'\], got 'mnist'"),
        ({"image_noise": -1}, "image_noise: expected a standard deviation"),
        ({"speech_snr": math.nan}, "speech_snr: expected decibels"),
        ({"text_error": 1.5}, "text_error: expected a probability"),
        ({"shared_noise": -0.1}, "shared_noise: expected a degree"),
        ({"missing": {"video": 0.1}}, r"missing: expected names among .* got \['video'\]"),
        ({"missing": {"text": 2}}, r"missing\['text'\]: expected a probability"),
    ],
)
def test_a_bad_dial_is_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        Digits(**options)


def test_an_index_outside_the_split_is_an_index_error():
    with pytest.raises(IndexError, match="outside the 252 samples"):
        Digits("test")[252]


# ---- the public source
# -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    """The three splits of MNIST with FSDD at seed 0; skips where the data are not."""
    if not store.have("mnist", "fsdd"):
        pytest.skip(
            "needs MNIST and FSDD: python -m course_utils.datasets.store mnist fsdd, or COURSE_DATA"
        )
    return {split: Digits(split, source="mnist-fsdd") for split in SPLITS}


def test_public_digits_have_the_shapes_that_the_docstring_gives(real):
    assert {split: len(part) for split, part in real.items()} == {
        "train": 5000,
        "validation": 2000,
        "test": 3000,
    }
    sample = real["test"][0]
    assert (
        sample["image"].shape == (1, 28, 28)
        and sample["image"].min() == 0
        and sample["image"].max() == 1
    )
    assert (
        sample["audio"].dim() == 1 and sample["audio"].abs().max() == 1 and sample["writer"] == -1
    )
    batch = collate([real["train"][i] for i in range(8)])
    assert batch["image"].shape == (8, 1, 28, 28) and batch["audio"].shape[0] == 8


def test_neither_speakers_nor_pictures_cross_the_public_splits(real):
    voices = {
        split: {part[i]["voice"] for i in range(0, len(part), 40)} for split, part in real.items()
    }
    assert voices == {"train": {0, 1, 2}, "validation": {3}, "test": {4, 5}}
    places = np.concatenate([part._places for part in real.values()])
    assert sorted(places) == list(range(10_000))


def test_picture_sound_and_word_of_a_public_sample_mean_its_label(real):
    source = real["test"]._from
    for i in range(0, 3000, 100):
        sample = real["test"][i]
        takes = source.clips[sample["voice"], sample["label"]]
        assert any(
            len(take) == len(sample["audio"]) and np.allclose(take, sample["audio"])
            for take in takes
        )
    assert (
        Digits("test", source="mnist-fsdd", text_error=0)[5]["text"]
        == WORDS[real["test"][5]["label"]]
    )
    assert {(voice, digit): len(takes) for (voice, digit), takes in source.clips.items()} == {
        (voice, digit): 50 for voice in range(6) for digit in range(10)
    }


def test_the_public_pairing_is_the_same_on_every_machine(real):
    """Which recording meets which picture, as whole numbers: label, voice, length of the sound,
    ink of the picture.
    """
    digest = hashlib.sha256()
    for part in real.values():
        for i in range(0, len(part), 10):
            sample = part[i]
            ink = round(255 * sample["image"].double().sum().item())
            digest.update(
                f"{sample['label']} {sample['voice']} {len(sample['audio'])} {ink}"
                f" {sample['text']}\n".encode()
            )
    assert digest.hexdigest() == "5e50a146985c6c6b86d2d2429adbe776d9dd96e5db56816cdbb61578e441221f"


def test_the_dials_turn_on_public_digits_too(real):
    plain = real["train"][3]
    noisy = Digits("train", source="mnist-fsdd", image_noise=0.5, speech_snr=-10)[3]
    assert noisy["text"] == plain["text"] and noisy["voice"] == plain["voice"]
    assert not torch.equal(noisy["image"], plain["image"]) and not torch.equal(
        noisy["audio"], plain["audio"]
    )
    mixed = Digits("train", source="mnist-fsdd", shared_noise=1.0)[3]
    assert not torch.equal(mixed["image"], plain["image"]) and len(mixed["audio"]) >= len(
        plain["audio"]
    )
    assert Digits("train", source="mnist-fsdd", missing={"audio": 1.0})[3]["audio"] is None


def test_without_the_data_the_public_source_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(
        store,
        "MANIFEST",
        {
            "mnist": dataclasses.replace(
                store.MANIFEST["mnist"],
                items=(
                    dataclasses.replace(
                        store.MANIFEST["mnist"].items[0], address="http://127.0.0.1:9/nothing"
                    ),
                ),
            )
        },
    )
    digits_public.mnist_fsdd.cache_clear()
    with pytest.raises(store.StoreError, match="on a machine with a network"):
        Digits(source="mnist-fsdd")
