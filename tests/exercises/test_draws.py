"""The numbers of the exercises' cases."""

import torch

from course_utils.exercises.draws import draws, float64


def test_numbers_have_one_decimal_and_none_is_zero():
    draw = draws(0)
    numbers, more = draw(200, 300), draw(200, 300)
    assert numbers.shape == (200, 300) and numbers.dtype == torch.float64
    assert torch.equal((10 * numbers).round() / 10, numbers) and (numbers != 0).all()
    assert torch.equal(draws(0)(200, 300), numbers) and not torch.equal(more, numbers)
    assert not torch.equal(draws(1)(200, 300), numbers)


def test_lists_become_float64_tensors():
    third, whole = float64([[1 / 3]], [2])
    assert third.dtype == whole.dtype == torch.float64
    assert third.tolist() == [[1 / 3]] and whole.tolist() == [2.0]
