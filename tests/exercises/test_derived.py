"""An answer that is to be derived, and not to be left to autograd."""

import pytest
import torch

from course_utils.exercises.derived import without_autograd

X = torch.tensor([1.0, 2.0], dtype=torch.float64)


def by_hand(x):
    return 2 * x


def by_a_leaf(x):
    x = x.clone().requires_grad_()
    (x**2).sum().backward()
    return x.grad


def by_grad(x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad((x**2).sum(), x)[0]


def with_the_gradients_switched_on(x):
    with torch.enable_grad():
        return by_grad(x)


def by_func(x):
    return torch.func.grad(lambda x: (x**2).sum())(x)


def by_jacobian(x):
    return torch.autograd.functional.jacobian(lambda x: (x**2).sum(), x)


def test_what_is_derived_comes_back():
    assert torch.equal(without_autograd(by_hand, X), 2 * X)
    assert torch.equal(without_autograd(torch.add, X, X), 2 * X)


@pytest.mark.parametrize(
    "answer", [by_a_leaf, by_grad, with_the_gradients_switched_on, by_func, by_jacobian]
)
def test_autograd_is_refused_and_works_again_afterwards(answer):
    with pytest.raises(RuntimeError, match="^autograd is not asked for$"):
        without_autograd(answer, X)
    assert torch.equal(answer(X), 2 * X)


def test_an_error_of_the_answer_s_own_stays_as_it_is():
    with pytest.raises(RuntimeError, match="size of tensor"):
        without_autograd(torch.add, X, torch.ones(3))
    with pytest.raises(KeyError, match="no such"):
        without_autograd({}.__getitem__, "no such")
