"""Exercises that ask for a class: it is built, used, and compared like a function."""

import dataclasses
import inspect

import asked
import pytest
import torch
from torch import nn

from course_utils import exercises
from course_utils.exercises import Exercise, check, ideas, is_stub, mine


class Scale(nn.Module):
    """x times a learned factor an entry."""

    def __init__(self, width):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.factor


class Written(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return torch.stack([row * self.factor for row in x])


class Added(Written):
    def forward(self, x):
        return x + self.factor


class OneForAll(Written):
    def __init__(self, width):
        super().__init__(1)


class Forgotten(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.factor = torch.ones(width)

    def forward(self, x):
        return x * self.factor


class Stub(nn.Module):
    def __init__(self, width):
        """Make the factor."""
        ...

    def forward(self, x):
        return x * self.factor


def use(scale, x, factor):
    layer = scale(len(factor))
    layer.load_state_dict({"factor": factor})
    return layer(x)


def cases():
    return [
        (torch.ones(1, 2), torch.tensor([1 / 3, 2.0])),
        (torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7 / 9]]), torch.tensor([0.3, -1.0, 2.0])),
    ]


EXERCISE = Exercise(
    "00.1",
    Scale,
    cases,
    (*ideas("The factor is added, not multiplied.", Added),),
    use=use,
    batch=lambda: (torch.ones(4, 2, requires_grad=True), torch.tensor([0.3, 0.7])),
)


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr(exercises, "_find", lambda key: EXERCISE)
    monkeypatch.setattr(exercises, "_accepted", {})
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)


def said(answer, capsys):
    check("00.1", answer)
    return capsys.readouterr().out


def test_a_class_that_does_the_same_is_right_and_the_page_goes_on_with_it(capsys):
    assert said(Written, capsys) == "Exercise 00.1 · right (2 cases).\n"
    assert mine("00.1", Written) is Written


def test_a_wrong_idea_is_named_with_the_case_that_shows_it(capsys):
    out = said(Added, capsys)
    assert "not right yet: The factor is added, not multiplied." in out
    assert "smallest case: Scale(x=torch.tensor([[1.0, 1.0]]), factor=torch.tensor(" in out
    assert mine("00.1", Added) is Scale


@pytest.mark.parametrize("answer", [OneForAll, Forgotten], ids=lambda one: one.__name__)
def test_parameters_of_other_names_or_shapes_are_told(answer, capsys):
    assert "not right yet: raised RuntimeError: Error(s) in loading state_dict" in said(
        answer, capsys
    )


def test_a_class_with_an_empty_method_is_not_attempted(capsys):
    assert is_stub(Stub) and not is_stub(Written)
    assert "not attempted yet" in said(Stub, capsys)
    mine("00.1", Stub)
    assert "yours is not written yet" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [Written(2), use, 3], ids=["instance", "function", "number"])
def test_what_is_no_class_is_told_so(answer, capsys):
    words = " ".join(said(answer, capsys).split())
    assert 'expected the class itself: write check("00.1", Scale)' in words


def test_a_class_is_graded_in_a_process_of_its_own(capsys, monkeypatch):
    pytest.importorskip("cloudpickle")
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    check("00.1", Written)
    with pytest.raises(AssertionError, match="added, not multiplied"):
        check("00.1", Added)


def test_an_answer_that_trains_has_a_time_limit_of_its_own(capsys, monkeypatch):
    class Endless(Written):
        def forward(self, x):
            while True:
                pass

    short = Exercise("00.1", Scale, cases, (), use=use, time_limit=0.2)
    monkeypatch.setattr(exercises, "_find", lambda key: short)
    assert "did not finish within 0.2 seconds" in said(Endless, capsys)


class Squared(Written):
    def forward(self, x):
        return x * self.factor**2


class Unused(Written):
    def forward(self, x):
        return x


def test_a_room_whose_exercise_is_a_class_is_asked_the_same(monkeypatch):
    more = ideas("The factor is used twice.", Squared) + ideas("It is not used.", Unused)
    exercise = dataclasses.replace(EXERCISE, misconceptions=(*EXERCISE.misconceptions, *more))
    page = {"00.1": inspect.getsource(Written).replace("Written", "Scale")}
    monkeypatch.setattr(asked, "solutions", lambda number: page)
    every = asked.OfEveryExercise()
    every.test_its_reference_is_right(exercise)
    every.test_each_misconception_is_refused_by_its_name(exercise)
    every.test_its_misconceptions_are_few_and_plain(
        dataclasses.replace(exercise, key="30.1")  # not a page whose list may be longer
    )
    every.test_its_cases_tell_any_two_misconceptions_apart(exercise)
    every.test_stub_missing_return_and_wrong_parameters(exercise)
    every.test_the_solution_on_the_page_is_right(exercise)
    page["00.1"] = page["00.1"].replace("row * self.factor", "row + self.factor")
    with pytest.raises(AssertionError, match="added, not multiplied"):
        every.test_the_solution_on_the_page_is_right(exercise)
    page["00.1"] = page["00.1"].replace("class Scale", "class Other")
    with pytest.raises(AssertionError, match="Other"):
        every.test_the_solution_on_the_page_is_right(exercise)
