"""The world of digits: splits, dials, seeds, collation, and the shipped clips."""
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

from course_utils.datasets import Digits, collate
from course_utils.datasets.collate import letter_ids
from course_utils.datasets.digits import HOMOPHONES, SPLITS, WORDS, add_noise, type_word
from course_utils.runtime import DATA, ROOT

MANIFEST = json.loads((DATA / "digits" / "manifest.json").read_text())


def shipped_pcm():
    digest = hashlib.sha256()
    for voice in MANIFEST["voices"]:
        for digit in range(10):
            samples, rate = soundfile.read(DATA / "digits" / "speech" / f"{voice['voice']:02d}_{digit}.flac", dtype="int16")
            assert rate == 8_000 and samples.ndim == 1
            digest.update(samples.astype("<i2").tobytes())
    return digest.hexdigest()


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
        pytest.skip(f"espeak-ng {espeak_version()} is installed; the clips were made with {MANIFEST['made_with']['espeak-ng']}")
    subprocess.run([sys.executable, ROOT / "tools" / "make_data.py", "--folder", tmp_path], check=True, capture_output=True)
    assert json.loads((tmp_path / "manifest.json").read_text())["pcm_sha256"] == MANIFEST["pcm_sha256"]


def test_neither_voices_nor_timbres_nor_writers_cross_the_splits():
    by_split = {split: [v for v in MANIFEST["voices"] if v["split"] == split] for split in SPLITS}
    assert {split: len(voices) for split, voices in by_split.items()} == {"train": 40, "validation": 10, "test": 10}
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
    for dial, name in (({"image_noise": 0.9}, "image"), ({"speech_snr": 3.0}, "audio"), ({"text_error": 0.0}, "text")):
        after = Digits("train", **dial)[11]
        changed = {key for key in before if not same({"x": before[key]}, {"x": after[key]})}
        assert changed == {name}, dial


def test_the_noises_of_the_modalities_are_independent():
    """Otherwise every statement about conditional independence would be false: each purpose has its own generator."""
    noisy, clean = Digits("train"), Digits("train", image_noise=0, speech_snr=math.inf)
    pairs = [(noisy[i]["image"][0, 0, 0] - clean[i]["image"][0, 0, 0], noisy[i]["audio"][0] - clean[i]["audio"][0])
             for i in range(300)]
    assert abs(np.corrcoef(np.array(pairs, dtype=float).T)[0, 1]) < 0.2  # 3.5 standard errors of 300 pairs


def test_missing_modalities_come_at_their_rate_and_leave_the_rest_alone():
    full, holes = Digits("train"), Digits("train", missing={"audio": 0.3, "text": 1.0})
    samples = [holes[i] for i in range(400)]
    assert all(sample["text"] is None and sample["image"] is not None for sample in samples)
    rate = sum(sample["audio"] is None for sample in samples) / 400
    assert abs(rate - 0.3) < 0.07  # three standard errors of 400 draws
    assert all(s["audio"] is None or torch.equal(s["audio"], full[i]["audio"]) for i, s in enumerate(samples))


def test_noise_has_the_power_that_the_dial_says():
    rng = np.random.default_rng(0)
    sound = np.sin(np.arange(80_000) / 5)
    noise = add_noise(sound, -10.0, rng) - sound
    assert 10 * math.log10((sound ** 2).mean() / (noise ** 2).mean()) == pytest.approx(-10, abs=0.1)
    assert np.array_equal(add_noise(sound, math.inf, rng), sound)
    clean, noisy = Digits("train", image_noise=0)[0]["image"], Digits("train", image_noise=0.5)
    assert clean.shape == (1, 16, 16) and clean.min() >= 0 and clean.max() <= 1
    spread = torch.stack([noisy[i]["image"] - Digits("train", image_noise=0)[i]["image"] for i in range(200)])
    corner = spread[:, 0, 0, 0]  # bilinear enlargement leaves a corner pixel as it was
    assert corner.std().item() == pytest.approx(0.5, abs=0.08)


def test_the_typist_makes_no_errors_at_0_and_homophones_and_slips_above():
    rng = np.random.default_rng(0)
    assert [type_word(word, 0.0, rng) for word in WORDS] == list(WORDS)
    typed = [type_word("four", 0.2, rng) for _ in range(500)]
    assert {"for", "fore", "four"} <= set(typed) and len(set(typed)) > 50
    assert all(set(word) <= set("abcdefghijklmnopqrstuvwxyz") for words in HOMOPHONES.values() for word in words)


def test_a_batch_is_padded_masked_and_knows_what_is_missing():
    samples = [Digits("train", missing={"audio": 0.5, "image": 0.3})[i] for i in range(12)]
    batch = collate(samples)
    assert batch["present"].tolist() == [[s[m] is not None for m in ("text", "image", "audio")] for s in samples]
    for i, sample in enumerate(samples):
        assert batch["mask"]["text"][i].sum() == len(sample["text"])
        assert torch.equal(batch["text"][i][batch["mask"]["text"][i]], letter_ids(sample["text"]))
        assert batch["text"][i][~batch["mask"]["text"][i]].eq(0).all()
        length = 0 if sample["audio"] is None else len(sample["audio"])
        assert batch["mask"]["audio"][i].sum() == length and batch["audio"][i, length:].eq(0).all()
    assert batch["image"].shape == (12, 1, 16, 16) and batch["label"].dtype == torch.int64


def test_a_batch_in_which_a_modality_is_missing_everywhere_still_works():
    batch = collate([Digits("test", missing={"text": 1.0, "image": 1.0, "audio": 1.0})[i] for i in range(3)])
    assert not batch["present"].any() and batch["text"].shape == (3, 1) and not batch["mask"]["audio"].any()
    assert batch["text"].dtype == torch.int64 and batch["audio"].dtype == torch.float32


def broken(key, value):
    samples = [Digits("test")[i] for i in range(2)]
    samples[1][key] = value
    return samples


@pytest.mark.parametrize("samples, words", [
    (lambda: [], "samples is empty"),
    (lambda: broken("image", torch.full((1, 16, 16), math.nan)), "image of sample 1 holds NaN"),
    (lambda: broken("audio", torch.tensor([0.0, math.inf])), "audio of sample 1 holds NaN or infinity"),
    (lambda: broken("image", torch.zeros(3, 16, 16)), r"expected one shape in a batch"),
    (lambda: broken("audio", torch.zeros(2, 5)), r"audio of sample 1: expected one axis .* got shape \(2, 5\)"),
    (lambda: broken("text", "four!"), r"expected letters a to z, got \['!'\]"),
    (lambda: broken("extra", 1), "sample 1 has keys"),
])
def test_a_bad_batch_is_refused_in_words(samples, words):
    with pytest.raises(ValueError, match=words):
        collate(samples())


@pytest.mark.parametrize("options, words", [
    ({"split": "tset"}, "split: expected one of .* got 'tset'"),
    ({"image_noise": -1}, "image_noise: expected a standard deviation"),
    ({"speech_snr": math.nan}, "speech_snr: expected decibels"),
    ({"text_error": 1.5}, "text_error: expected a probability"),
    ({"shared_noise": -0.1}, "shared_noise: expected a degree"),
    ({"missing": {"video": 0.1}}, r"missing: expected names among .* got \['video'\]"),
    ({"missing": {"text": 2}}, r"missing\['text'\]: expected a probability"),
])
def test_a_bad_dial_is_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        Digits(**options)


def test_an_index_outside_the_split_is_an_index_error():
    with pytest.raises(IndexError, match="outside the 252 samples"):
        Digits("test")[252]
