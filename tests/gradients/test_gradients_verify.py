"""compare, central_differences and verify_gradient: what they accept, measure and refuse."""

import pytest
import torch
from gradient_cases import Draw

from course_utils import gradients
from course_utils.gradients import central_differences, compare, verify_gradient


def test_compare_tells_exact_within_and_largest(capsys):
    x = torch.tensor([0.3, -7 / 9], dtype=torch.float64)
    found = compare({"d_x": x, "d_weight": x + 1e-13}, {"d_x": x.clone(), "d_weight": x})
    assert found["d_x"] == gradients.Comparison(exact=True, within=True, largest=0.0)
    assert (
        not found["d_weight"].exact
        and found["d_weight"].within
        and 0 < found["d_weight"].largest < 2e-13
    )
    assert capsys.readouterr().out.splitlines() == [
        "d_x       (2,)          agrees to 1e-10",
        "d_weight  (2,)          agrees to 1e-10",
    ]


def test_compare_raises_outside_after_all_lines(capsys):
    x = torch.ones(2, dtype=torch.float64)
    with pytest.raises(AssertionError, match=r"differ: d_x by 2 \(allowed: 1e-10\)"):
        compare({"d_x": -x, "d_y": x}, {"d_x": x, "d_y": x})
    assert [line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()] == [
        "DIFFERS by 2",
        "agrees to 1e-10",
    ]


@pytest.mark.parametrize("tolerance", [0, -1e-10, torch.inf, torch.nan])
def test_compare_needs_something_to_compare_and_a_tolerance(tolerance):
    x = torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="expected at least one gradient .* got \\[\\] and"):
        compare({}, {})
    with pytest.raises(ValueError, match=r"positive, finite tolerance, got \['a'\] and "):
        compare({"a": x}, {"a": x}, tolerance)


@pytest.mark.parametrize(
    "by_hand, reference, error, words",
    [
        (
            {"a": torch.ones(2, dtype=torch.float64)},
            {"b": torch.ones(2, dtype=torch.float64)},
            ValueError,
            r"by_hand has the names \['a'\], reference has \['b'\]",
        ),
        (
            {"a": torch.ones(2)},
            {"a": torch.ones(2, dtype=torch.float64)},
            TypeError,
            "a: by_hand is torch.float32",
        ),
        (
            {"a": torch.ones(2, dtype=torch.float64)},
            {"a": torch.ones(1, 2, dtype=torch.float64)},
            ValueError,
            r"a: by_hand has shape \(2,\)",
        ),
        (
            {"a": torch.zeros(2, dtype=torch.float64)},
            {"a": torch.zeros(2, dtype=torch.float64)},
            ValueError,
            "a: the reference is zero everywhere",
        ),
        (
            {"a": torch.full((2,), torch.nan, dtype=torch.float64)},
            {"a": torch.ones(2, dtype=torch.float64)},
            ValueError,
            "a: by_hand holds values that are not",
        ),
    ],
)
def test_compare_refuses_what_proves_nothing(by_hand, reference, error, words):
    with pytest.raises(error, match=words):
        compare(by_hand, reference)


def test_central_differences_of_a_loss_and_of_a_vector():
    x = Draw(1)(2, 3)
    torch.testing.assert_close(
        central_differences(lambda x: (x**3).sum(), x), 3 * x**2, rtol=0, atol=1e-8
    )
    jacobian = central_differences(lambda x: x.softmax(-1), x[0])
    torch.testing.assert_close(
        jacobian, gradients.softmax_jacobian(x[0].softmax(-1)), rtol=0, atol=1e-9
    )
    assert central_differences(lambda x: x.sum(1), x).shape == (2, 2, 3)


def test_central_differences_of_a_number():
    x = torch.tensor(100.0, dtype=torch.float64)
    assert central_differences(torch.square, x).item() == pytest.approx(200, rel=1e-8)
    x = torch.tensor(1 / 3, dtype=torch.float64)
    assert central_differences(torch.log, x).item() == pytest.approx(3, rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_central_differences_refuse_less_than_float64(dtype):
    x = torch.tensor([100], dtype=dtype)
    with pytest.raises(TypeError, match=f"x: expected torch.float64, got {dtype}"):
        central_differences(torch.square, x)
    with pytest.raises(TypeError, match=rf"function\(x\): expected torch.float64, got {dtype}"):
        central_differences(lambda x: x.to(dtype), x.double())


def test_central_differences_need_an_entry():
    with pytest.raises(ValueError, match=r"x: expected at least one entry, got shape \(2, 0\)"):
        central_differences(torch.sum, torch.zeros(2, 0, dtype=torch.float64))


@pytest.mark.parametrize("shapes, seeds", [(((3,),), 0), (((3,),), -1), ((), 3)])
def test_verify_gradient_needs_something_to_compare(shapes, seeds, capsys):
    with pytest.raises(ValueError, match=f"expected at least one shape .* seeds={seeds}"):
        verify_gradient("20.1", torch.sum, torch.zeros_like, *shapes, seeds=seeds)
    assert "holds" not in capsys.readouterr().out


def test_verify_gradient_accepts_a_gradient_and_a_jacobian(capsys):
    verify_gradient(
        "20.1", lambda x, y: (x**2 @ y).sum(), lambda x, y: (2 * x * y, (x**2).sum(0)), (4, 3), (3,)
    )
    verify_gradient(
        "20.2",
        lambda z: z.softmax(-1),
        lambda z: gradients.softmax_jacobian(z.softmax(-1)),
        (3,),
        seeds=5,
    )
    assert capsys.readouterr().out.splitlines() == [
        "equation 20.1 holds: by hand, autograd and central differences agree on 3 seeds",
        "equation 20.2 holds: by hand, autograd and central differences agree on 5 seeds",
    ]


def test_verify_gradient_names_what_disagrees():
    with pytest.raises(
        AssertionError,
        match="equation 20.1: by hand and autograd differ by 2 .* gradient 2 of 2, seed 0",
    ):
        verify_gradient("20.1", lambda x, y: (x * y).sum(), lambda x, y: (y, -x), (3,), (3,))
    with pytest.raises(ValueError, match="by_hand gives 1 gradients, expected 2"):
        verify_gradient("20.1", lambda x, y: (x * y).sum(), lambda x, y: y, (3,), (3,))
    # what autograd is told to leave out, a measurement finds
    with pytest.raises(AssertionError, match="central differences"):
        verify_gradient("20.1", lambda x: (x * x.detach()).sum(), lambda x: x, (3,))
    # one seed that fits is not enough
    with pytest.raises(AssertionError, match="seed 2"):
        verify_gradient(
            "20.1", lambda x: x.sum(), lambda x: torch.where(x > 0.5, 1, -1).to(x), (1,)
        )
