"""The ground floor: seeds, reports, twins of equations, guesses."""

import json
import math
import random

import numpy as np
import pytest
import torch

from course_utils.report import guess, guesses, outcome, passport, report, verify
from course_utils.runtime import device, seed_everything


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    return tmp_path


def test_one_seed_call_seeds_every_generator():
    def draw():
        return (
            random.random(),
            np.random.rand(),
            torch.rand(1).item(),
            torch.rand(1, generator=generator).item(),
        )

    generator = seed_everything(3)
    first = draw()
    generator = seed_everything(3)
    assert draw() == first
    generator = seed_everything(4)
    assert all(a != b for a, b in zip(draw(), first))


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    assert device() == torch.device("cpu")


def test_report_prints_the_same_sentence_anywhere_inside_its_band(capsys):
    for value in (0.93, 0.9412, 0.951):
        report("fused accuracy", value, near=0.94, within=0.02)
    assert set(capsys.readouterr().out.splitlines()) == {"fused accuracy: 0.94, give or take 0.02"}


@pytest.mark.parametrize("value", [0.9, 0.97, math.nan, math.inf])
def test_report_outside_its_band_stops_a_strict_run_and_tells_a_reader(value, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(AssertionError, match="outside the band"):
        report("fused accuracy", value, near=0.94, within=0.02)
    monkeypatch.setenv("COURSE_STRICT", "0")
    report("fused accuracy", value, near=0.94, within=0.02)
    assert (
        "outside the band of this page, which is 0.94, give or take 0.02" in capsys.readouterr().out
    )


def test_report_needs_a_band():
    with pytest.raises(ValueError, match="within must be positive"):
        report("accuracy", 0.5, near=0.5, within=0)


def test_verify_accepts_a_twin_and_refuses_a_wrong_formula(capsys):
    x = torch.randn(4, 3, dtype=torch.float64)
    verify("00.1", by_hand=x.exp() / x.exp().sum(1, keepdim=True), reference=x.softmax(dim=1))
    assert capsys.readouterr().out == "equation 00.1 holds: by hand and reference agree to 1e-09\n"
    with pytest.raises(AssertionError, match="00.1"):
        verify("00.1", by_hand=x.softmax(dim=0), reference=x.softmax(dim=1))


@pytest.mark.parametrize(
    "by_hand, reference, error, words",
    [
        (torch.ones(2), torch.ones(2), TypeError, "torch.float32"),
        (torch.ones(2).double(), torch.ones(3).double(), ValueError, r"\(2,\).*\(3,\)"),
        (torch.zeros(2).double(), torch.zeros(2).double(), ValueError, "proves nothing"),
        (torch.tensor([math.nan]).double(), torch.ones(1).double(), ValueError, "not finite"),
    ],
)
def test_verify_refuses_what_proves_nothing(by_hand, reference, error, words):
    with pytest.raises(error, match=words):
        verify("00.1", by_hand, reference)


def test_a_guess_is_kept_and_compared(home, capsys):
    guess("00.1", 0.9, sure=0.7)
    guess("00.3", "No.", sure=0.9)
    guess("00.4", "0.93")
    guess("00.5", "many")
    outcome("00.1", 0.94, within=0.03)
    outcome("00.4", 0.94, within=0.03)
    outcome("00.5", 0.94, within=0.03)
    outcome("00.3", "no")
    guesses("00")
    out = capsys.readouterr().out
    assert "You said 0.9, 70% sure: not this time." in out
    assert (
        "Guess 00.3: 'No.', 90% sure: right" in out and "Guess 00.4: '0.93', 50% sure: right" in out
    )
    assert "Guess 00.5: 'many', 50% sure: not this time" in out
    assert json.loads((home / "guesses.json").read_text())["00.3"]["right"] is True


def test_a_guess_made_anew_forgets_how_the_old_one_went(home, capsys):
    guess("00.1", 0.9)
    outcome("00.1", 0.9)
    guess("00.1", 0.5)
    guesses("00")
    assert "result not seen yet" in capsys.readouterr().out.splitlines()[-1]


def test_without_a_guess_one_fixed_line_is_printed_and_nothing_is_written(home, capsys):
    guess("00.1", None)
    outcome("00.1", 0.94, within=0.03)
    guesses("00")
    assert capsys.readouterr().out.splitlines() == [
        "Guess 00.1: nothing noted yet. Put your answer in place of None and run this cell again.",
        "Guess 00.1: the result is 0.94, give or take 0.03. You made no guess.",
        "You made no guesses on page 00.",
    ]
    assert not list(home.iterdir())


def test_guesses_that_make_no_sense_are_refused(home):
    with pytest.raises(ValueError, match="sure is a probability"):
        guess("00.1", 0.9, sure=70)
    with pytest.raises(TypeError, match="a number or a word, got list"):
        guess("00.1", [0.9])


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"00.1": 7}',
        b'{"00.1": {"answer": [], "sure": 0.3, "right": null}}',
        b'{"00.1": {"answer": 1, "sure": "very", "right": null}}',
        b'{"00.1": {"answer": 1, "sure": 0.3, "right": "perhaps"}}',
    ],
    ids=lambda content: content.decode(errors="replace")[:60],
)
def test_a_damaged_file_of_notes_is_named_and_kept_and_stops_no_page(content, home, capsys):
    file = home / "guesses.json"
    file.write_bytes(content)
    guesses("00")
    guess("00.1", 7 / 9, sure=1 / 3)
    outcome("00.1", 0.777, within=0.001)
    guesses("00")
    out = capsys.readouterr().out
    assert file.read_bytes() == content
    assert out.count(f"{file}: ") == 1 and out.count("Move the file away") == 1
    assert out.endswith("Guess 00.1: 0.7777777777777778, 33% sure: right\n")
    file.rename(home / "old.json")
    guess("00.2", "text")
    assert set(json.loads(file.read_text())) == {"00.1", "00.2"}, "what waited is written too"


@pytest.mark.parametrize("note", [{"right": True}, {"answer": 1}, {}])
def test_a_note_without_a_guess_is_none(note, home, capsys):
    (home / "guesses.json").write_text(json.dumps({"00.1": note}))
    outcome("00.1", 0.3)
    guesses("00")
    assert capsys.readouterr().out.splitlines() == [
        "Guess 00.1: the result is 0.3, give or take 0. You made no guess.",
        "You made no guesses on page 00.",
    ]


def test_a_number_too_large_for_a_float_is_a_wrong_guess(home, capsys):
    guess("00.1", 10**400)
    outcome("00.1", 0.3)
    assert "not this time" in capsys.readouterr().out


def test_the_passport_collects_pages(home, capsys):
    passport("00", model="a linear layer")
    passport("09", model="concatenation")
    assert set(json.loads((home / "passport.json").read_text())) == {"00", "09"}
    assert "  model: a linear layer" in capsys.readouterr().out
