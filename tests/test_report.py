"""The ground floor: seeds, reports, twins of equations, guesses."""

import ast
import json
import math
import random
import sys

import numpy as np
import pytest
import torch

from course_utils.report import guess, guesses, outcome, passport, report, verify
from course_utils.runtime import ROOT, device, seed_everything

sys.path.insert(0, str(ROOT / "tools"))
import build_notebooks

ROUNDING = ("as_tensor", "full", "linspace", "rand", "randn", "tensor")


def rounded_before_widened(source):
    """Lines where torch makes numbers without a dtype, so in float32, that `.double()` then widens:
    what float32 rounds away is gone, and a random number keeps 24 of its 53 bits.
    """
    return [
        call.lineno
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and (call.func.attr == "double" or ast.unparse(call).endswith(".to(torch.float64)"))
        for made in ast.walk(call.func.value)
        if isinstance(made, ast.Call)
        and ast.unparse(made.func) in [f"torch.{name}" for name in ROUNDING]
        and not any(keyword.arg == "dtype" for keyword in made.keywords)
    ]


def test_no_number_is_rounded_to_float32_before_float64():
    assert rounded_before_widened("x = 2\ny = -torch.tensor([0.3]).log().double()") == [2]
    assert rounded_before_widened("torch.rand(3).to(torch.float64)") == [1]
    assert rounded_before_widened("torch.tensor([0.3], dtype=torch.float64).double()") == []
    files = [*ROOT.glob("course_utils/**/*.py"), *ROOT.glob("tests/**/*.py")]
    found = {path.as_posix(): rounded_before_widened(path.read_text("utf-8")) for path in files}
    assert len(files) > 50 and {name: lines for name, lines in found.items() if lines} == {}


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


@pytest.mark.parametrize(
    "value, near, within, unit, line",
    [
        (0.93, 0.94, 0.02, "", "x: 0.930   [expected 0.94, within 0.02]"),
        (0.955, 0.94, 0.02, "", "x: 0.955   [expected 0.94, within 0.02]"),
        (47.26, 48, 3, "%", "x: 47.3 %   [expected 48, within 3]"),
        (12_345, 12_000, 400, "", "x: 12345   [expected 12000, within 400]"),
        (-0.12345678, -0.123, 0.001, "s", "x: -0.1235 s   [expected -0.123, within 0.001]"),
        (1.25e-15, 0, 1e-12, "", "x: 1.2e-15   [expected 0, within 1e-12]"),
    ],
)
def test_report_prints_the_number_and_what_is_expected(value, near, within, unit, line, capsys):
    report("x", value, near, within, unit)
    assert capsys.readouterr().out == line + "\n"


def rules():
    """The rules by which nbval compares, as the builder reads them."""
    return build_notebooks.sanitising(ROOT)


@pytest.mark.parametrize("unit", ["", "%", "nats"])
def test_tests_compare_all_of_a_report_but_its_number(unit, capsys):
    for value in (0.93, 0.9412, 0.95):
        report("fused: accuracy", value, 0.94, 0.02, unit)
    report("loss apart by", 3e-16, 0, 1e-12, unit)
    report("loss apart by", -12e-14, 0, 1e-12, unit)
    lines = build_notebooks.sanitised(capsys.readouterr().out, rules()).splitlines()
    unit = f" {unit}" if unit else ""
    assert set(lines) == {
        f"fused: accuracy: NUMBER{unit}   [expected 0.94, within 0.02]",
        f"loss apart by: NUMBER{unit}   [expected 0, within 1e-12]",
    }
    for other in (
        f"fused: accuracy: {unit}   [expected 0.94, within 0.02]",
        f"fused: accuracy: nan{unit}   [expected 0.94, within 0.02]",
        f"fused: accuracy: 0.94{unit}   [expected 0.95, within 0.02]",
        f"fused: accuracy: 0.94{unit} [expected 0.94, within 0.02]",
        f"fused: accuracy 0.94{unit}   [expected 0.94, within 0.02]",
    ):
        assert build_notebooks.sanitised(other, rules()) not in lines


@pytest.mark.parametrize("value", [0.9, 0.97, math.nan, math.inf])
def test_report_outside_its_band_stops_a_strict_run_and_tells_a_reader(value, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(AssertionError, match="within 0.02]: outside the band"):
        report("fused accuracy", value, near=0.94, within=0.02)
    monkeypatch.setenv("COURSE_STRICT", "0")
    report("fused accuracy", value, near=0.94, within=0.02)
    out = capsys.readouterr().out
    assert out.startswith(f"fused accuracy: {value:.3f}   [expected 0.94, within 0.02]\n")
    assert "Outside that band. If you changed something above, this is your result" in out


@pytest.mark.parametrize("within", [0, -0.1, math.nan, math.inf])
def test_report_needs_a_band(within):
    with pytest.raises(ValueError, match="within must be positive"):
        report("accuracy", 0.5, near=0.5, within=within)


def test_verify_accepts_a_twin_and_refuses_a_wrong_formula(capsys):
    x = torch.randn(4, 3, dtype=torch.float64)
    verify("00.1", by_hand=x.exp() / x.exp().sum(1, keepdim=True), reference=x.softmax(dim=1))
    assert capsys.readouterr().out == "equation 00.1 holds: by hand and reference agree to 1e-09\n"
    with pytest.raises(AssertionError, match="00.1"):
        verify("00.1", by_hand=x.softmax(dim=0), reference=x.softmax(dim=1))


def doubles(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize(
    "by_hand, reference, error, words",
    [
        (torch.ones(2), torch.ones(2), TypeError, "torch.float32"),
        (doubles(1, 1), doubles(1, 1, 1), ValueError, r"\(2,\).*\(3,\)"),
        (doubles(0, 0), doubles(0, 0), ValueError, "proves nothing"),
        (doubles(math.nan), doubles(1), ValueError, "not finite"),
    ],
)
def test_verify_refuses_what_proves_nothing(by_hand, reference, error, words):
    with pytest.raises(error, match=words):
        verify("00.1", by_hand, reference)


@pytest.mark.parametrize("tolerance", [0, -1e-9, 1, math.inf, math.nan])
def test_verify_refuses_a_tolerance_that_zeros_would_meet(tolerance):
    with pytest.raises(ValueError, match="tolerance: expected more than 0 and less than 1, got"):
        verify("00.1", 1 / 3, 1 / 3, tolerance)


DOUBLE = torch.tensor([[1 / 3, 7 / 9]], dtype=torch.float64)
SAME = {
    "tensor": DOUBLE,
    "tensor with a gradient": DOUBLE.clone().requires_grad_(),
    "array": DOUBLE.numpy(),
    "list": [[1 / 3, 7 / 9]],
    "tuple": ((1 / 3, 7 / 9),),
    "list of tensors": [list(DOUBLE[0])],
    "list of NumPy's numbers": [list(DOUBLE[0].numpy())],
}
NARROW = {
    "tensor": DOUBLE.float(),
    "half": DOUBLE.half(),
    "array": DOUBLE.numpy().astype(np.float32),
    "list of tensors": [list(DOUBLE[0].float())],
    "list of NumPy's numbers": [list(DOUBLE[0].float().numpy())],
    "list with one": [[1 / 3, np.float32(7 / 9)]],
    "whole numbers": DOUBLE.long(),
    "complex": DOUBLE.to(torch.complex128),
}


@pytest.mark.parametrize("value", SAME.values(), ids=list(SAME))
def test_verify_takes_numbers_in_any_form_without_rounding_them(value, capsys):
    """1 / 3 in float32 is 1e-8 off."""
    verify("00.1", value, DOUBLE, tolerance=1e-15)
    verify("00.1", DOUBLE, value, tolerance=1e-15)
    verify("00.2", [2, 1 / 3], (2, 1 / 3), tolerance=1e-15)


@pytest.mark.parametrize("value", SAME.values(), ids=list(SAME))
def test_verify_compares_where_the_numbers_are(value, capsys):
    """Also while new tensors go elsewhere, unless their place is said."""
    with torch.device("meta"):
        verify("00.1", value, DOUBLE, tolerance=1e-15)
        with pytest.raises(AssertionError, match="equation 00.1: by hand and reference differ"):
            verify("00.1", value, 2 * DOUBLE)


@pytest.mark.parametrize("value", NARROW.values(), ids=list(NARROW))
def test_verify_refuses_less_than_float64_wherever_it_stands(value):
    with pytest.raises(TypeError, match="00.1: by_hand is .*, expected torch.float64"):
        verify("00.1", value, DOUBLE, tolerance=0.5)
    with pytest.raises(TypeError, match="00.1: reference is .*, expected torch.float64"):
        verify("00.1", DOUBLE, value, tolerance=0.5)


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
    assert "You said 0.9, 70% sure: not this time, off by 0.04." in out
    assert (
        "Guess 00.3: 'No.', 90% sure: right" in out and "Guess 00.4: '0.93', 50% sure: right" in out
    )
    assert "Guess 00.5: 'many', 50% sure: not this time" in out
    assert json.loads((home / "guesses.json").read_text())["00.3"]["right"] is True


@pytest.mark.parametrize(
    "answer, result, within, verdict",
    [
        (91, 0.91, 0.01, "right"),
        ("91%", 0.91, 0.01, "right"),
        (" 90 % ", 0.91, 0.02, "right, off by 0.01"),
        ("0,92", 0.91, 0.02, "right, off by 0.01"),
        ("0.5%", 0.005, 0.0, "right"),
        (0.5, 0.91, 0.1, "not this time, off by 0.41"),
        (1, 0.91, 0.1, "right, off by 0.09"),
        (91, 91, 0, "right"),
        (3, 1, 0, "not this time, off by 2"),
        ("91%", 91.0, 0, "right"),
        ("many", 0.91, 0.1, "not this time"),
        ("No, it won't", "no", 0, "right"),
        ("no", "no", 0, "right"),
        ("Not audio", "audio", 0, "not this time"),
        ("nothing", "no", 0, "not this time"),
        ("Audio and text.", "audio and text", 0, "right"),
        ("", "no", 0, "not this time"),
    ],
)
def test_a_guess_may_be_said_in_any_natural_form(answer, result, within, verdict, home, capsys):
    guess("00.1", answer)
    outcome("00.1", result, within=within)
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"50% sure: {verdict}.")


@pytest.mark.parametrize("within", [-0.1, math.inf, math.nan])
def test_an_outcome_needs_a_band_that_can_be_missed(within, home):
    with pytest.raises(ValueError, match="within: expected a finite number of at least 0"):
        outcome("00.1", 0.9, within=within)


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
        "Guess 00.1: the result is 0.94, within 0.03. You made no guess.",
        "You made no guesses on page 00.",
    ]
    assert not list(home.iterdir())


def test_guesses_that_make_no_sense_are_refused(home):
    for sure in (70, 1.01, -0.01, "much"):
        with pytest.raises(ValueError, match="sure is a probability"):
            guess("00.1", 0.9, sure=sure)
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
        "Guess 00.1: the result is 0.3. You made no guess.",
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
