"""The world of moods: its clips, its splits, its dials and its ceilings."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from functools import partial

import pytest
import soundfile
import torch

from course_utils.datasets import Moods, collate
from course_utils.datasets.moods import EMOJI, SAYS, SIZES, ceilings
from course_utils.runtime import DATA, ROOT

FOLDER = DATA / "moods"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
ROWS = MANIFEST["rows"]


# ---- the clips ----


def test_the_clips_are_those_of_the_manifest_and_none_is_cut():
    digest = hashlib.sha256()
    for row in ROWS:
        samples, rate = soundfile.read(FOLDER / "speech" / row["file"], dtype="int16")
        assert rate == 8_000 and samples.ndim == 1 and 0.4 * rate < len(samples) <= 1.5 * rate
        assert abs(samples[-40:]).max() < 0.1 * abs(samples).max()  # it has ended
        assert abs(samples).max() == round(0.35 * 32767)
        digest.update(samples.astype("<i2").tobytes())
    assert digest.hexdigest() == MANIFEST["pcm_sha256"]
    files = list((FOLDER / "speech").iterdir())
    assert len(files) == len(ROWS) == MANIFEST["clips"] == 306
    assert sum(file.stat().st_size for file in files) < 3e6


def test_the_datasheet_names_hash_versions_and_ceilings():
    sheet = (FOLDER / "README.md").read_text()
    assert MANIFEST["pcm_sha256"] in sheet and "CC BY 4.0" in sheet
    assert f"espeak-ng {MANIFEST['made_with']['espeak-ng']}" in sheet
    best = ceilings()
    for names, row in (
        (("words",), "words, or tone"),
        (("emoji",), "emoji"),
        (("words", "tone"), "words and tone"),
        (("words", "emoji"), "words or tone, and emoji"),
        (SAYS, "all three"),
    ):
        assert f"| {row} | {best[names]:.3f} |".replace(" 0.", " .") in sheet
    for split in SIZES:
        rows = [row for row in ROWS if row["split"] == split]
        voices, texts = ({row[key] for row in rows} for key in ("voice", "text"))
        assert f"| {split} | {len(voices)} | {len(texts)} | {len(rows)} |" in sheet


def test_the_clips_are_the_same_when_made_again(tmp_path):
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    sys.path.insert(0, str(ROOT / "tools"))
    from make_data import espeak_version

    if (installed := espeak_version()) != MANIFEST["made_with"]["espeak-ng"]:
        pytest.skip(
            f"espeak-ng {installed} is installed; the clips were made with"
            f" {MANIFEST['made_with']['espeak-ng']}"
        )
    command = [sys.executable, ROOT / "tools" / "make_moods.py", "--folder", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    again = json.loads((tmp_path / "manifest.json").read_text())
    assert again["pcm_sha256"] == MANIFEST["pcm_sha256"] and again["rows"] == ROWS


def test_neither_voices_nor_timbres_nor_sentences_cross_the_splits():
    for key in ("voice", "variant", "text"):
        seen = [
            {row[key].lower() if key != "voice" else row[key] for row in ROWS if row["split"] == s}
            for s in SIZES
        ]
        assert sum(map(len, seen)) == len(set().union(*seen)), key
    for split, data in {split: Moods(split, size=3000) for split in SIZES}.items():
        rows = [row for row in ROWS if row["split"] == split]
        assert set(data.texts) == {row["text"] for row in rows}
        assert {data[i]["voice"] for i in range(3000)} == {row["voice"] for row in rows}


def test_words_tone_voice_and_sentence_do_not_tell_each_other():
    for split in SIZES:
        rows = [row for row in ROWS if row["split"] == split]
        cells = Counter((row["voice"], row["words"], row["tone"]) for row in rows)
        assert set(cells.values()) == {1} and len(cells) == len(rows)
        said = Counter((row["text"], row["tone"]) for row in rows)
        assert len(set(said.values())) == 1 and len(said) == 3 * len({r["text"] for r in rows})
        assert len({(row["text"], row["words"]) for row in rows}) == len(said) // 3


def test_the_tone_is_fifteen_up_or_down_within_a_voice():
    for voice in range(34):
        rows = [row for row in ROWS if row["voice"] == voice]
        for key in ("pitch", "speed"):
            own = {row[key] - 15 * row["tone"] for row in rows}
            assert len(own) == 1


# ---- the ceilings ----


def by_counting(informative, agrees, emoji):
    """All that can happen, with fractions: of each case the likelier mood is right."""
    informative, agrees, emoji = (Fraction(str(x)) for x in (informative, agrees, emoji))
    odds = {}
    for mood in (-1, 1):
        for w in (-1, 0, 1):
            for t in (-1, 0, 1):
                for e in (-1, 0, 1):
                    p = Fraction(1, 2)
                    for sign, often in ((w, informative), (t, informative), (e, emoji)):
                        says = {mood: often * agrees, -mood: often * (1 - agrees), 0: 1 - often}
                        p *= says[sign]
                    odds[mood, w, t, e] = p
    best = {}
    for names in ceilings():
        table = {}
        for (mood, *signs), p in odds.items():
            seen = tuple(sign for name, sign in zip(SAYS, signs) if name in names)
            table.setdefault(seen, {-1: 0, 1: 0})[mood] += p
        best[names] = sum(max(row.values()) for row in table.values())
    return best


@pytest.mark.parametrize(
    "dials", [(0.6, 0.9, 0.5), (1.0, 0.9, 0.0), (0.3, 0.2, 1.0), (0.0, 0.7, 0.0), (0.8, 0.5, 0.4)]
)
def test_ceilings_are_exact(dials):
    expected = by_counting(*dials)
    for names, best in ceilings(*dials).items():
        assert best == pytest.approx(float(expected[names]), abs=1e-12), names


def test_the_ceilings_that_the_course_names():
    best = {names: round(accuracy, 3) for names, accuracy in ceilings().items()}
    assert best[("words",)] == best[("tone",)] == 0.74 and best[("emoji",)] == 0.7
    assert best[("words", "tone")] == 0.836 and best[SAYS] == 0.881
    assert len(best) == 7
    without = ceilings(informative=1.0)  # no neutral states: a second cue gains nothing
    assert without[("words", "tone")] == pytest.approx(without[("words",)])


def test_whoever_knows_what_is_said_reaches_the_ceiling_and_the_rates_are_those_of_the_dials():
    data = Moods("test", size=40_000, seed=3)
    mood = 2 * data.labels - 1
    says = data.says
    assert mood.float().mean().abs() < 0.02  # four standard errors of 40,000 draws
    often = (says != 0).float().mean(0)
    assert torch.allclose(often, torch.tensor([0.6, 0.6, 0.5]), atol=0.01)
    right = (says == mood[:, None]).float().sum(0) / (says != 0).sum(0)
    assert torch.allclose(right, torch.tensor(0.9), atol=0.01)
    for names, best in ceilings().items():
        total = says[:, [SAYS.index(name) for name in names]].sum(1)
        score = ((total.sign() == mood).float() + 0.5 * (total == 0)).mean()
        # all are equally reliable, so the majority is the best guess
        assert score == pytest.approx(best, abs=0.01), names


# ---- the class ----


def test_a_sample_is_a_clip_that_says_what_it_should():
    for split, size in SIZES.items():
        data = Moods(split)
        rows = [row for row in ROWS if row["split"] == split]
        assert len(data) == size == len(data.texts)
        for i in range(0, size, 7):
            one = data[i]
            row = rows[one["clip"]]
            assert all(one[key] == row[key] for key in ("text", "words", "tone", "voice"))
            samples, _ = soundfile.read(FOLDER / "speech" / row["file"], dtype="float32")
            assert torch.equal(one["audio"], torch.from_numpy(samples))
            assert one["audio"] is data.sounds[data.places[i]]
            assert [one["words"], one["tone"], one["sign"]] == data.says[i].tolist()
            assert one["emoji"] in EMOJI[one["sign"]] if one["sign"] else one["emoji"] is None
            assert one["label"] == data.labels[i] and one["emoji"] == data.emojis[i]
    assert data[-1]["text"] == data[len(data) - 1]["text"]
    with pytest.raises(IndexError, match="index 600 is outside the 600 samples of split 'test'"):
        data[600]


def test_a_dial_turns_its_own_modality_only_and_a_seed_everything():
    plain, seed = Moods(), Moods(seed=1)
    assert torch.equal(plain.says, Moods().says) and plain.places.equal(Moods().places)
    assert not torch.equal(plain.labels, seed.labels) and plain.emojis != seed.emojis
    without = Moods(emoji=0.0)
    assert without.emojis == [None] * 600 and torch.equal(without.says[:, :2], plain.says[:, :2])
    assert torch.equal(without.labels, plain.labels) and torch.equal(without.places, plain.places)
    loud = Moods(informative=1.0, agrees=1.0)
    assert (loud.says[:, :2] == 2 * loud.labels[:, None] - 1).all()
    assert [e is None for e in loud.emojis] == [e is None for e in plain.emojis]
    assert not torch.equal(Moods("test").labels, plain.labels)


def test_a_batch_is_padded_and_masked():
    data = Moods("validation", size=20)
    batch = partial(collate, kinds=data.kinds)([data[i] for i in range(20)])
    assert batch["mask"]["emoji"].tolist() == [one is not None for one in data.emojis]
    lengths = [len(data.sounds[place]) for place in data.places]
    assert batch["mask"]["audio"].sum(1).tolist() == lengths
    assert batch["audio"].shape == (20, max(lengths)) and batch["text"] == data.texts
    assert torch.equal(batch["label"], data.labels)
    bare = Moods(size=2, emoji=0)
    assert not collate([bare[0], bare[1]], kinds=bare.kinds)["mask"]["emoji"].any()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"split": "dev"}, r"split: expected one of \['train', 'validation', 'test'\], got 'dev'"),
        ({"size": 0}, "size: expected a whole number of at least 1, got 0"),
        ({"size": 1.5}, "size: expected a whole number"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": True}, "seed: expected a whole number"),
        ({"informative": 1.1}, "informative: expected a probability between 0 and 1, got 1.1"),
        ({"agrees": float("nan")}, "agrees: expected a probability"),
        ({"emoji": -0.1}, "emoji: expected a probability"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Moods(**arguments)
    if arguments.keys() <= {"informative", "agrees", "emoji"}:
        with pytest.raises(ValueError, match=words):
            ceilings(**arguments)
