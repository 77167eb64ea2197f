"""Exercises: every checker names its misconceptions, and no answer harms the notebook.

The registered exercises are tested through their own definition (first part), by answers written
by hand (second part) and by the solution that the page shows (third). Then comes the machinery,
at last in a real kernel.
"""

import ast
import importlib
import inspect
import io
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from course_utils import exercises
from course_utils.contracts import check_contracts
from course_utils.contracts.gallery import AverageFusion
from course_utils.exercises import Exercise, Misconception, check, is_stub, verdict
from course_utils.exercises.compare import Array, difference, freeze, show
from course_utils.exercises.e00_start_here import honest_gain, seed_interval

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

NOTEBOOKS = sorted(
    path.stem[1:3] for path in (ROOT / "course_utils" / "exercises").glob("e[0-9][0-9]_*.py")
)
KEYS = [key for notebook in NOTEBOOKS for key in exercises.keys(notebook)]
each_exercise = pytest.mark.parametrize(
    "exercise", [exercises._find(key) for key in KEYS], ids=KEYS
)


def tell(answer, key="00.1", **options):
    return verdict(exercises._find(key), answer, **options)


def define(code, name):
    """A function that exists only as code, as in a notebook cell: no file to read its source
    from.
    """
    space = {"torch": torch, "np": np, "math": math}
    exec(compile(code, "<cell>", "exec"), space)
    return space[name]


# ---- every registered exercise
# --------------------------------------------------------------------


@each_exercise
def test_its_reference_is_right(exercise):
    right, text = verdict(exercise, exercise.reference)
    assert (
        right and text == f"Exercise {exercise.key} · right ({len(list(exercise.cases()))} cases)."
    )


@each_exercise
def test_each_misconception_is_refused_by_its_name(exercise):
    assert len(exercise.misconceptions) >= 3
    for idea in exercise.misconceptions:
        right, text = verdict(exercise, idea.wrong)
        assert not right
        assert text.splitlines()[0] == f"Exercise {exercise.key} · not right yet: {idea.message}"
        assert text.splitlines()[1].startswith(f"  smallest case: {exercise.reference.__name__}(")
        assert (False, text) == verdict(exercise, idea.wrong), "not the same text twice"
        assert "0x" not in text and str(ROOT) not in text and "Traceback" not in text


@each_exercise
def test_its_cases_tell_any_two_misconceptions_apart(exercise):
    """Both ways round, since the order of the list would otherwise decide which sentence a
    reader gets.
    """

    def results(function):
        for args in exercise.cases():
            try:
                yield freeze(function(*args))
            except Exception as error:
                yield freeze(f"raised {type(error).__name__}")

    ideas = [list(results(idea.wrong)) for idea in exercise.misconceptions] + [
        list(results(exercise.reference))
    ]
    for i, one in enumerate(ideas):
        for k, other in enumerate(ideas):
            assert i == k or any(map(exercise.compare, one, other)), (
                f"numbers {i} and {k} agree on every case"
            )


@each_exercise
def test_its_cases_are_the_same_each_time_and_the_smallest_comes_first(exercise):
    cases = [repr(freeze(list(args))) for args in exercise.cases()]
    assert cases == [repr(freeze(list(args))) for args in exercise.cases()]
    assert len(cases) >= 4 and min(map(len, cases)) == len(cases[0])


@each_exercise
def test_stub_missing_return_and_wrong_parameters(exercise):
    name, parameters = (
        exercise.reference.__name__,
        ", ".join(inspect.signature(exercise.reference).parameters),
    )
    stub = define(f'def {name}({parameters}):\n    """What it gives."""\n    ...\n', name)
    assert verdict(exercise, stub) == (
        False,
        (
            f"Exercise {exercise.key} · not attempted yet: replace the ... "
            "in the cell above, run it, then run this one."
        ),
    )
    forgot = define(f"def {name}({parameters}):\n    result = 1\n", name)
    assert "returned None: is a `return` missing?" in verdict(exercise, forgot)[1]
    assert (
        "expected " in verdict(exercise, lambda: 0)[1]
        and "0 parameters (none)" in verdict(exercise, lambda: 0)[1]
    )


@each_exercise
def test_the_solution_on_the_page_is_right(exercise):
    notebook = exercise.key.split(".")[0]
    sources = list((ROOT / "notebooks" / "source").glob(f"{notebook}_*.py"))
    if not sources:
        pytest.skip(f"notebooks/source has no notebook {notebook} yet")
    import build_notebooks

    code = build_notebooks.solutions(sources[0])
    assert set(code) == set(exercises.keys(notebook)), "page and checker know different exercises"
    name = exercise.reference.__name__
    defined = [
        node.name
        for node in ast.parse(code[exercise.key]).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert defined == [name], (
        f"exercise {exercise.key} is called {defined} on the page and {name} in its checker"
    )
    space = {}
    # the page's imports, which a solution may use
    for node in ast.parse(sources[0].read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            exec(compile(ast.Module([node], []), "<cell>", "exec"), space)
    exec(compile(code[exercise.key], "<cell>", "exec"), space)
    assert (
        inspect.signature(space[name]).parameters.keys()
        == inspect.signature(exercise.reference).parameters.keys()
    )
    right, text = verdict(exercise, space[name])
    assert right, text


# ---- answers written by hand
# ----------------------------------------------------------------------

RIGHT = {
    "00.1": [
        """
        def f(values, t):
            n = len(values)
            mean = sum(values) / n
            s = (sum((v - mean) ** 2 for v in values) / (n - 1)) ** 0.5
            return mean, t * s / n ** 0.5
        """,
        """
        def f(values, t):
            values = np.array(values)
            return [values.mean(), t * values.std(ddof=1) / np.sqrt(len(values))]
        """,
        """
        def f(values, t):
            x = torch.tensor(values)
            return x.mean(), t * x.std() / math.sqrt(len(x))
        """,
    ],
    "00.2": [
        """
        def f(single, fused):
            best = max(single, key=lambda m: sum(single[m]) / len(single[m]))
            return [fused[i] - single[best][i] for i in range(len(fused))]
        """,
        """
        def f(single, fused):
            table = torch.tensor(list(single.values()))
            return torch.tensor(fused) - table[table.mean(dim=1).argmax()]
        """,
    ],
    "00.3": [
        """
        def f(features, name, order):
            result = dict(features)
            result[name] = result[name][order]
            return result
        """,
        """
        def f(features, name, order):
            rows = [features[name][i] for i in order.tolist()]
            return features | {name: torch.stack(rows)}
        """,
        """
        def f(features, name, order):
            chosen = torch.nn.functional.one_hot(order, len(order)).float()
            return {**features, name: (chosen @ features[name]).requires_grad_()}
        """,
    ],
    "09.1": [
        """
        def f(feature_map, letters, mask):
            image = torch.nn.AdaptiveAvgPool2d(1)(feature_map).flatten(1)
            text = letters.masked_fill(~mask.unsqueeze(-1), float("nan")).nanmean(dim=1)
            return torch.hstack([image, text])
        """,
        """
        def f(feature_map, letters, mask):
            rows = []
            for i in range(len(mask)):
                image = feature_map[i].mean(-1).mean(-1)
                rows.append(torch.cat([image, letters[i, mask[i]].mean(0)]))
            return torch.stack(rows)
        """,
        """
        def f(feature_map, letters, mask):
            kept = letters.clone()
            kept[~mask] = 0
            weights = mask / mask.sum(1, keepdim=True)
            return torch.cat((feature_map.flatten(2).mean(2), torch.einsum("bt,btd->bd", weights, kept)), 1)
        """,
    ],
    "09.2": [
        """
        def f(logits):
            with_first, with_second = logits[1, 0] - logits[0, 0], logits[1, 1] - logits[0, 1]
            return with_second - with_first
        """,
        """
        def f(logits):
            signs = torch.tensor([1.0, -1.0])
            return torch.einsum("ijc,i,j->c", logits, signs, signs)
        """,
        """
        def f(logits):
            (a, b), (c, d) = logits.double()
            return a - b - c + d
        """,
    ],
}
PICTURE, TEXT = "x.mean((2, 3))", "torch.stack([t[m].mean(0) for t, m in zip(letters, mask)])"
# picture, text, axis
GLUE = "def f(feature_map, letters, mask):\n x = feature_map\n return torch.cat([{}, {}], {})"
WRONG = {
    "00.1": [
        (
            "def f(values, t): return np.mean(values), t * np.std(values) / len(values) ** .5",
            "divides by n. The mean was",
        ),
        (
            "def f(values, t): return np.mean(values), t * np.std(values, ddof=1)",
            "the square root of n is missing",
        ),
        (
            "def f(values, t): return np.mean(values), np.std(values, ddof=1) / len(values) ** .5",
            "t is not used",
        ),
        (
            (
                "def f(values, t): m, h = np.mean(values), t * np.std(values, ddof=1) / len(values)"
                " ** .5; return m - h, m + h"
            ),
            "these are the two ends of the interval",
        ),
        (
            "def f(values, t): return np.mean(values)",
            "returned one number, expected a tuple of 2 numbers: the mean and the half-width.",
        ),
        ("def f(values, t): return np.mean(values), 0.0", "entry [1] is 0.0, expected 0.2541."),
        (
            (
                "def f(values, t): return np.mean(values), 1.96 * np.std(values, ddof=1) /"
                " len(values) ** .5"
            ),
            "1.96 stands in the place of t",
        ),
        (
            (
                "def f(values, t): return np.mean(values), 2.776 * np.std(values, ddof=1) /"
                " len(values) ** .5"
            ),
            "`t` depends on the number of seeds, use the argument",
        ),
        (
            (
                "def f(values, t): h = t * np.std(values, ddof=1) / len(values) ** .5; m ="
                " np.mean(values); return m, (m + h) - (m - h)"
            ),
            "this is the full width",
        ),
        (
            (
                "def f(values, t): return np.mean(values), t * np.std(values, ddof=1) /"
                " (len(values) - 1) ** .5"
            ),
            "s is divided by the square root of n - 1",
        ),
        (
            (
                "def f(values, t): return t * np.std(values, ddof=1) / len(values) ** .5,"
                " np.mean(values)"
            ),
            "the two numbers are swapped",
        ),
        (
            (
                "def f(values, t): m = np.mean(values); return m, t * sum((v - m) ** 2 for v in"
                " values) ** .5 / len(values) ** .5"
            ),
            "the squared deviations are summed but not divided by n - 1",
        ),
    ],
    "00.2": [
        (
            "def f(single, fused): return [f - min(s) for f, *s in zip(fused, *single.values())]",
            "compared with the worst modality of each seed",
        ),
        (
            (
                "def f(single, fused): b = max(sum(s) / len(s) for s in single.values()); return [f"
                " - b for f in fused]"
            ),
            "The pairing is lost",
        ),
        (
            "def f(single, fused): return [f - s for f, s in zip(fused, single[max(single)])]",
            "chosen by its name",
        ),
        (
            "def f(single, fused): return [f - s for f, s in zip(fused, max(single.values()))]",
            "chosen by its first seed alone",
        ),
        (
            (
                "def f(single, fused):\n b = single[max(single, key=lambda n: single[n])]\n return"
                " [f - s for f, s in zip(fused, b)]"
            ),
            "chosen by its first seed alone",
        ),
        (
            (
                "def f(single, fused):\n b = max(single.values(), key=sum)\n return [100 * (f - s)"
                " for f, s in zip(fused, b)]"
            ),
            "the gains are in percent",
        ),
        (
            (
                "def f(single, fused):\n b = max(single.values(), key=sum)\n return [f / s - 1 for"
                " f, s in zip(fused, b)]"
            ),
            "divided by the accuracy of the single modality",
        ),
        (
            "def f(single, fused): return [f - s for f, s in zip(fused, single['text'])]",
            'the baseline is always "text"',
        ),
        (
            "def f(single, fused): return [f - s for f, s in zip(fused, single['audio'])]",
            "raised KeyError: 'audio'",
        ),
        (
            "def f(single, fused): return [f - max(s) for f, *s in zip(fused, *single.values())]",
            "picked anew for each seed. No single model reaches that baseline",
        ),
        (
            (
                "def f(single, fused): return [f - sum(s) / len(s) for f, *s in zip(fused,"
                " *single.values())]"
            ),
            "compared with the mean of the modalities",
        ),
        (
            (
                "def f(single, fused):\n b = sorted(single.values(), key=sum)[0]\n return [f - s"
                " for f, s in zip(fused, b)]"
            ),
            "compared with the worst modality",
        ),
        (
            (
                "def f(single, fused): return sum(fused) / len(fused) - max(sum(s) / len(s) for s"
                " in single.values())"
            ),
            "returned one number, expected a list: one difference per seed",
        ),
        (
            "def f(single, fused): return max(fused)",
            "returned one number, expected a list of 1 number: one difference per seed.",
        ),
        (
            "def f(single, fused): return single",
            "returned a dict with the key text, expected a list of 1 number",
        ),
    ],
    "00.3": [
        (
            (
                "def f(features, name, order):\n new = dict(features)\n for k in (name, 'label'):"
                " new[k] = new[k][order]\n return new"
            ),
            "the labels are shuffled too",
        ),
        (
            (
                "def f(features, name, order): return {k: v if k == 'label' else v[order] for k, v"
                " in features.items()}"
            ),
            "every modality is shuffled in the same way",
        ),
        (
            (
                "def f(features, name, order):\n x = torch.empty_like(features[name])\n x[order] ="
                " features[name]\n return {**features, name: x}"
            ),
            "the order is read the other way round",
        ),
        (
            "def f(features, name, order): return {**features, name: features[name].T[order].T}",
            "the columns are permuted",
        ),
        (
            (
                "def f(features, name, order): return {k: v[order] if k != name else v for k, v in"
                " features.items()}"
            ),
            "the choice is turned round",
        ),
        (
            (
                "def f(features, name, order):\n new = dict(features)\n for k in set(new) - {name,"
                " 'label'}: new[k] = new[k][order]\n return new"
            ),
            "the choice is turned round",
        ),
        (
            "def f(features, name, order): return {name: features[name][order]}",
            "only the shuffled modality comes back",
        ),
        (
            "def f(features, name, order): features[name] = features[name][order]; return features",
            "changes its argument `features` in place",
        ),
        (
            (
                "def f(features, name, order): features[name].copy_(features[name][order]); return"
                " dict(features)"
            ),
            "changes its argument `features` in place",
        ),
        (
            "def f(features, name, order): features[name][order]; return dict(features)",
            "nothing is shuffled",
        ),
        (
            "def f(features, name, order): return {**features, name: features[name][order][0]}",
            'entry ["text"] came as shape (2,), expected (2, 2): one row per sample.',
        ),
        (
            (
                "def f(features, name, order): return {**features, 'label':"
                " features['label'].float(), name: features[name][order]}"
            ),
            'entry ["label"] came as a tensor of float values, expected int: one row per sample.',
        ),
        (
            (
                "def f(features, name, order): return {**features, name:"
                " features[name][torch.randperm(len(order))]}"
            ),
            'entry ["',
        ),
    ],
    "09.1": [
        (
            GLUE.format("x.mean((2, 3))[:, None]", "letters", 1),
            "the picture has become one more letter",
        ),
        (GLUE.format(PICTURE, "letters", 1), "raised RuntimeError"),
        (
            GLUE.format("x.mean((2, 3))[:, None].repeat(1, letters.shape[1], 1)", "letters", 2),
            "repeated beside each letter",
        ),
        (GLUE.format(PICTURE, "letters.mean(1)", 1), "the mask is not used"),
        (GLUE.format(PICTURE, "(letters * mask[..., None]).mean(1)", 1), "the sum is divided by T"),
        (
            GLUE.format(PICTURE, "letters.where(mask[..., None], 0).mean(1)", 1),
            "the sum is divided by T",
        ),
        (
            GLUE.format(PICTURE, "(letters * mask[..., None]).sum(1) / mask.sum(1)[:, None]", 1),
            "0 * NaN is NaN",
        ),
        (
            GLUE.format(
                PICTURE, "torch.einsum('bt,btd->bd', mask / mask.sum(1, keepdim=True), letters)", 1
            ),
            "0 * NaN is NaN",
        ),
        (
            GLUE.format(PICTURE, "torch.where(mask[..., None], letters, 0).sum(1)", 1),
            "the letters are summed",
        ),
        (
            GLUE.format(PICTURE, "letters.sum(1) / mask.sum(1, keepdim=True)", 1),
            "but still runs over all T places",
        ),
        (
            GLUE.format(
                PICTURE,
                "letters.masked_fill(mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)",
                1,
            ),
            "the mask is turned round: letters became zero",
        ),
        (
            GLUE.format(
                PICTURE, "torch.stack([t[:n].mean(0) for t, n in zip(letters, mask.sum(1))])", 1
            ),
            "the mask is read as a length",
        ),
        (GLUE.format(TEXT, PICTURE, 1), "the text stands first"),
        (GLUE.format("x.mean((1, 2))", TEXT, 1), "the channels of the picture are averaged"),
        (
            GLUE.format(
                "x.mean(1).flatten(1)",
                "(letters * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)",
                1,
            ),
            "the channels of the picture are averaged",
        ),
        (
            GLUE.format("torch.nn.AdaptiveMaxPool2d(1)(x).flatten(1)", TEXT, 1),
            "the largest value over the places is taken",
        ),
        (
            GLUE.format(PICTURE, "torch.stack([t[m].amax(0) for t, m in zip(letters, mask)])", 1),
            "the largest value over the letters is taken",
        ),
        (
            GLUE.format(
                "x.amax((2, 3))", "torch.stack([t[m].amax(0) for t, m in zip(letters, mask)])", 1
            ),
            "the largest values are taken",
        ),
        (GLUE.format("x.reshape(len(x), -1)", TEXT, 1), "the map is flattened"),
        (
            GLUE.format("torch.nn.AdaptiveAvgPool2d(1)(x).squeeze()", TEXT, -1),
            "squeeze() removes every axis of length 1, the batch too",
        ),
        (
            GLUE.format("x.mean((0, 2, 3))", "letters[mask].mean(0)", -1),
            "the mean runs over the whole batch",
        ),
        (
            GLUE.format(PICTURE, "letters[mask].mean(0).repeat(len(x), 1)", 1),
            "the mean runs over the whole batch",
        ),
        (GLUE.format(PICTURE, TEXT, 0), "joined along axis 0"),
        (
            "def f(feature_map, letters, mask): letters[~mask] = 0; return letters",
            "changes its argument `letters` in place",
        ),
        (
            "def f(feature_map, letters, mask): return feature_map.mean((2, 3))",
            "returned shape (1, 2), expected (1, 3): one vector of C + D numbers per sample.",
        ),
    ],
    "09.2": [
        (
            (
                "def f(logits): p = torch.softmax(logits, -1); return p[0, 0] - p[1, 0] - p[0, 1] +"
                " p[1, 1]"
            ),
            "the logits are turned into probabilities first",
        ),
        (
            (
                "def f(logits): p = torch.log_softmax(logits, -1); return p[0, 0] - p[1, 0] - p[0,"
                " 1] + p[1, 1]"
            ),
            "these are the differences of log-probabilities",
        ),
        (
            "def f(logits): return logits[0, 1] + logits[1, 0] - logits[0, 0] - logits[1, 1]",
            "the sign is turned round",
        ),
        (
            "def f(logits): return sum(logits[i, j] for i in (0, 1) for j in (0, 1))",
            "all four points are added",
        ),
        ("def f(logits): return logits[0, 0] + logits[1, 1]", "two of the four points are added"),
        (
            "def f(logits): return torch.diagonal(logits).sum(-1)",
            "two of the four points are added",
        ),
        (
            "def f(logits): return logits[1, 1] - logits[0, 0]",
            "this is the difference of two points alone",
        ),
        (
            "def f(logits): return logits[0, 1] - logits[0, 0]",
            "this is the difference of two points alone",
        ),
        (
            "def f(logits): return logits[0, 0] - logits[1, 0] + logits[0, 1] - logits[1, 1]",
            "the signs pair up a row or a column",
        ),
        (
            (
                "def f(logits): return torch.tensor([[1., -1.], [-1., 1.]]).view(4) @"
                " logits.view(4, -1) / 4"
            ),
            "the right number, divided",
        ),
        (
            (
                "def f(logits): return (logits[0, 0] - logits[1, 0] - logits[0, 1] + logits[1,"
                " 1]).mean()"
            ),
            "into one number",
        ),
        (
            (
                "def f(logits): return float((logits[0, 0] - logits[1, 0] - logits[0, 1] +"
                " logits[1, 1]).sum())"
            ),
            "into one number",
        ),
        ("def f(logits): return logits.diff(dim=0)[0]", "one axis of length 2 is left"),
        (
            "def f(logits): return logits.diff(dim=0).diff(dim=1)",
            "returned shape (1, 1, 1), expected (1,): one number per class.",
        ),
        (
            "def f(logits): return logits[0, 0] - logits[1, 0] - logits[0, 1] - logits[1, 1]",
            "entry [0] is -12.0, expected 0.0.",
        ),
    ],
}
# a notebook's answers may stand in a file of their own
for _file in sorted(Path(__file__).parent.glob("answers_[0-9][0-9].py")):
    _answers = importlib.import_module(_file.stem)
    RIGHT, WRONG = RIGHT | _answers.RIGHT, WRONG | _answers.WRONG
each_right = pytest.mark.parametrize(
    "key, code", [(key, code) for key, some in RIGHT.items() for code in some]
)
each_wrong = pytest.mark.parametrize(
    "key, code, words", [(key, *one) for key, some in WRONG.items() for one in some]
)


def test_every_exercise_has_answers_written_by_hand():
    assert set(RIGHT) == set(WRONG) == set(KEYS)
    assert all(len(RIGHT[key]) >= 2 and len(WRONG[key]) >= 3 for key in RIGHT)


@each_right
def test_different_right_answers_are_accepted(key, code):
    right, text = tell(define(inspect.cleandoc(code), "f"), key)
    assert right, text


@each_wrong
def test_wrong_answers_get_the_message_that_helps(key, code, words):
    answer = define(code, "f")
    right, text = tell(answer, key)
    assert not right and words in text.splitlines()[0], text
    assert text == tell(answer, key)[1]


# ---- the machinery: verdicts
# ----------------------------------------------------------------------


def test_check_prints_one_verdict_and_returns_none(capsys):
    assert (
        check("00.1", lambda values, t: (print("noise"), print("more", file=sys.stderr)) and None)
        is None
    )
    captured = capsys.readouterr()
    assert (
        captured.out == "Exercise 00.1 · not right yet: returned None: is a `return` missing?\n"
        "  smallest case: seed_interval(values=[0.9, 0.94], t=12.706)\n"
        "  returned:      None\n"
        "  expected:      (0.92, 0.2541)\n"
    )
    assert captured.err == ""


def test_nbgrader_gets_an_error_instead(monkeypatch, capsys):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(AssertionError, match="not attempted yet"):
        check("00.1", ...)
    with pytest.raises(AssertionError, match="not right yet: t is not used"):
        check("00.1", lambda values, t: seed_interval(values, 1.0))
    assert capsys.readouterr().out == ""
    check("00.1", seed_interval)
    assert "right (8 cases)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "key, words",
    [
        ("00.9", "no exercise '00.9': notebook 00 has 00.1, 00.2, 00.3"),
        ("00", "no exercise '00': notebook 00 has 00.1"),
        ("99.1", 'a key is a string such as "00.1", and the notebooks with exercises are 00'),
        (0.1, "no exercise 0.1: a key is a string"),
        ("", "a key is a string"),
    ],
)
def test_an_unknown_key_is_an_error_that_lists_the_known_ones(key, words):
    with pytest.raises(ValueError) as error:
        check(key, seed_interval)
    assert words in str(error.value)


def test_the_reference_is_there_for_what_follows_on_the_page():
    assert exercises.reference("00.2") is honest_gain


@pytest.mark.parametrize(
    "code, stub",
    [
        ("def f(x): ...", True),
        ("def f(x: int) -> int:\n    '''Doc.'''\n    ...", True),
        ("def f(x):\n    pass", True),
        ("def f(x):\n    return ...", True),
        ("f = lambda x: ...", True),
        (
            (
                "def outer():\n    k = 1\n    def f(x):\n        '''Doc.'''\n        ...\n    def"
                " g(): return k, f\n    return f\nf = outer()"
            ),
            True,
        ),
        (
            (
                "import functools\ndef wrap(g):\n    @functools.wraps(g)\n    def inner(*a): return"
                " g(*a)\n    return inner\n@wrap\ndef f(x): ..."
            ),
            True,
        ),
        ("def f(x):\n    y = x", False),
        ("def f(x):\n    x", False),
        ("def f(x):\n    return 0", False),
        ("def f(x):\n    return x", False),
        ("def f(x):\n    ...\n    return [x]", False),
        ("def f(x):\n    yield", False),
        ("f = len", False),
        ("f = 3", False),
    ],
)
def test_a_stub_is_known_by_its_code(code, stub):
    assert is_stub(define(code, "f")) is stub


def test_placeholders_left_in_a_finished_function_are_not_an_attempt():
    for answer in (..., define("def f(values, t):\n    mean = ...\n    return mean", "f")):
        assert "not attempted yet" in tell(answer)[1]


def test_a_misconception_is_decided_on_all_cases():
    """On the first cases right and wrong coincide, and so do the two wrong ideas up to the last
    one.
    """
    exercise = Exercise(
        "77.1",
        reference=lambda x: x * x,
        cases=lambda: iter([(0,), (1,), (2,), (3,)]),
        misconceptions=(
            Misconception("doubles", lambda x: x + x),
            Misconception("adds one", lambda x: x + 1 if x > 1 else x),
        ),
    )
    assert "not right yet: adds one" in verdict(exercise, lambda x: 3 if x == 2 else x + (x > 1))[1]
    assert (
        "not right yet: the result is 6, expected 9."
        in verdict(exercise, lambda x: x * x if x < 3 else 2 * x)[1]
    )
    named = verdict(exercise, lambda x: 2 * x)[1]
    # the first case that shows it is x = 1
    assert "not right yet: doubles" in named and "returned:      2\n" in named


def test_a_misconception_may_raise_where_the_answer_raises():
    exercise = Exercise(
        "77.2",
        reference=lambda x: x[0],
        cases=lambda: iter([([1],), ([1, 2],)]),
        misconceptions=(Misconception("counts from one", lambda x: x[1]),),
    )
    text = verdict(exercise, lambda values: values.__getitem__(1))[1]
    assert text.splitlines()[0].endswith("not right yet: counts from one")
    assert (
        text.splitlines()[2]
        == "  returned:      nothing, it raised IndexError: list index out of range"
    )


# ---- the machinery: whatever an answer is or returns
# ------------------------------------------------


@pytest.mark.parametrize(
    "answer, words",
    [
        (None, "got None, expected the function itself"),
        (
            0.5,
            (
                'got one number, expected the function itself: write check("00.1", seed_interval),'
                " without calling it."
            ),
        ),
        ((0.9, 0.1), "got a tuple of 2 numbers"),
        ("seed_interval", "got a string"),
        (torch.zeros(2, 3), "got a tensor of shape (2, 3)"),
        (dict, "got a class"),
        (lambda values: 1, "the function takes 1 parameter (values), expected 2 (values, t)."),
        (
            lambda values, t, k: 1,
            "the function takes 3 parameters (values, t, k), expected 2 (values, t).",
        ),
    ],
)
def test_answers_that_cannot_be_called(answer, words):
    text = tell(answer)[1]
    assert words in text and "\n" not in text


def endless_list():
    values = []
    values.append(values)
    return values


async def later():
    return 1


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: (i for i in range(2)), "returned a generator, expected a tuple of 2 numbers"),
        (lambda: later(), "returned a coroutine, expected"),
        (lambda: NotImplemented, "returned NotImplemented, expected"),
        (lambda: "0.92, 0.25", "returned a string, expected"),
        (lambda: {0.92, 0.25}, "returned a set, expected"),
        (lambda: {"mean": 0.92}, "returned a dict with the key mean, expected"),
        (lambda: {}, "returned an empty dict, expected"),
        (lambda: lambda: 1, "returned a function, expected"),
        (lambda: tuple, "returned a class, expected"),
        (lambda: object(), "returned an object, expected"),
        (lambda: True, "returned True, expected"),
        (lambda: (0.92,), "returned a tuple of 1 number, expected a tuple of 2 numbers"),
        (lambda: (0.92, None), "entry [1] came as None, expected one number"),
        (lambda: (0.92, "0.25"), "entry [1] came as a string, expected one number"),
        (lambda: (0.92, float("nan")), "entry [1] is nan, expected 0.2541"),
        (lambda: (0.92, 10**5000), "entry [1] is inf, expected 0.2541"),
        (lambda: (0.92, 0.25 + 1j), "entry [1] came as a complex, expected one number"),
        (
            lambda: torch.zeros(2, 2),
            "returned a tensor of shape (2, 2), expected a tuple of 2 numbers",
        ),
        (lambda: np.array(["a"]), "returned a NumPy array of shape (1,), expected"),
        (
            lambda: np.array([object(), 1], dtype=object),
            "entry [0] came as an object, expected one number",
        ),
        (endless_list, "calls itself without an end"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_whatever_is_returned_is_said_in_words(make, words):
    text = tell(lambda values, t: make())[1]
    assert words in text and "0x" not in text, text


def test_numbers_of_every_library_are_numbers():
    mean, half = seed_interval([0.9, 0.94], 12.706)
    for kind in (
        float,
        np.float32,
        np.float64,
        np.array,
        torch.tensor,
        lambda x: torch.tensor(x, requires_grad=True),
    ):
        assert difference(freeze((kind(mean), kind(half))), freeze((mean, half))) is None
    assert (
        difference(freeze(np.int64(3)), 3) is None
        and difference(freeze(np.bool_(True)), True) is None
    )
    assert "expected True" in difference(1, True)


def test_difference_of_tensors():
    x = torch.arange(6.0).reshape(2, 3)
    same = [x.double(), x.to(torch.bfloat16), x.long(), x.clone().requires_grad_() * 1]
    assert [difference(freeze(y), freeze(x)) for y in same] == [None] * 4
    assert (
        difference(freeze(x + torch.tensor([0, 0, 1e-3])), freeze(x))
        == "entry [0, 2] is 2.001, expected 2.0"
    )
    assert difference(freeze(x[0]), freeze(x)) == "returned shape (3,), expected (2, 3)"
    assert (
        difference(freeze(x.numpy()), freeze(x))
        == "returned a NumPy array of shape (2, 3), expected a tensor of shape (2, 3)"
    )
    assert (
        difference(freeze(x > 2), freeze(x)) == "returned a tensor of bool values, expected float"
    )
    assert difference(freeze(torch.zeros(0, 3)), freeze(torch.zeros(0, 3))) is None
    nan = torch.tensor([float("nan"), float("inf"), 1.0])
    assert difference(freeze(nan), freeze(nan)) is None
    assert difference(freeze(nan), freeze(-nan)) == "entry [1] is inf, expected -inf"


def test_values_are_shown_short_and_apart():
    assert (
        show(freeze(torch.tensor([[1.0, -0.0], [1 / 3, 2e-9]])))
        == "tensor([[1.0, 0.0], [0.3333, 2e-09]])"
    )
    assert show(freeze(torch.zeros(40, 3))) == "a tensor of shape (40, 3)"
    assert show(freeze(np.zeros((2, 0)))) == "array([[], []])"
    assert show([0.1] * 20) == "a list of 20 numbers"
    assert show((1,)) == "(1,)" and show({"a": [None, True]}) == "{'a': [None, True]}"
    assert len(show("x" * 1000)) < 70
    assert (
        difference(0.12344567, 0.123444, rtol=1e-6) == "the result is 0.123446, expected 0.123444"
    )
    assert freeze(torch.tensor(2)) == Array("tensor", "int", (), [2])


# ---- the machinery: whatever an answer does
# ---------------------------------------------------------


def raises(error):
    def answer(values, t):
        raise error

    return answer


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize(
    "error, words",
    [
        (ZeroDivisionError("division by zero"), "raised ZeroDivisionError: division by zero"),
        (ValueError("first line\nsecond line"), "raised ValueError: first line"),
        (ValueError(), "raised ValueError"),
        (
            TypeError("got <object object at 0x7f00deadbeef>"),
            "raised TypeError: got <object object at 0x...>",
        ),
        (
            FileNotFoundError("no /some/folder/of/mine/file.txt"),
            "raised FileNotFoundError: no file.txt",
        ),
        (Unspeakable(), "raised Unspeakable"),
        (BaseException("all"), "raised BaseException: all"),
        (GeneratorExit(), "raised GeneratorExit"),
    ],
)
def test_exceptions_become_one_line(error, words):
    lines = tell(raises(error))[1].splitlines()
    assert lines == [
        f"Exercise 00.1 · not right yet: {words}",
        "  smallest case: seed_interval(values=[0.9, 0.94], t=12.706)",
    ]


@pytest.mark.parametrize(
    "leave",
    [lambda: exit(), lambda: quit(1), lambda: sys.exit("bye"), lambda: raises(SystemExit(0))(0, 0)],
)
def test_leaving_is_refused_and_standard_input_stays_open(leave, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    before = sys.stdin
    assert "left by exit() or SystemExit" in tell(lambda values, t: leave())[1]
    assert sys.stdin is before and not before.closed


def test_endless_recursion():
    def answer(values, t):
        return answer(values, t)

    assert "calls itself without an end (RecursionError)" in tell(answer)[1]


LOOPS = {
    "plain": "def f(values, t):\n while True: pass",
    "except Exception": (
        "def f(values, t):\n while True:\n  try: len(values)\n  except Exception: pass"
    ),
    "bare except": "def f(values, t):\n while True:\n  try: len(values)\n  except: pass",
    "sleeps": "import time\ndef f(values, t):\n while True:\n  try: time.sleep(9)\n  except: pass",
    "three deep": (
        """
import time
def f(values, t):
    while True:
        try:
            while True:
                try:
                    while True:
                        try: time.sleep(9)
                        except: continue
                except: pass
        except: pass"""
    ),
    "exit again and again": (
        "def f(values, t):\n while True:\n  try: exit()\n  except BaseException: pass"
    ),
    "recursion again and again": (
        """
def f(values, t):
    try: f(values, t)
    except: f(values, t)"""
    ),
    "returns without end": "def f(values, t):\n while True:\n  print('x' * 100)",
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timer")
@pytest.mark.parametrize("code", list(LOOPS.values()), ids=list(LOOPS))
def test_endless_loops_end(code):
    begin = time.monotonic()
    text = tell(define(code, "f"), time_limit=0.2)[1]
    assert "did not finish within 0.2 seconds: is there a loop without an end?" in text
    assert time.monotonic() - begin < 10  # without the alarms: never
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timer")
def test_timer_and_handler_of_the_notebook_are_put_back():
    def mine(signum, frame):
        raise AssertionError("not now")

    old = signal.signal(signal.SIGALRM, mine)
    try:
        signal.setitimer(signal.ITIMER_REAL, 100, 7)
        tell(seed_interval)
        tell(define(LOOPS["sleeps"], "f"), time_limit=0.1)
        left, every = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 0 < left <= 100 and every == 7 and signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_works_outside_the_main_thread():
    told = []
    thread = threading.Thread(target=lambda: told.append(tell(seed_interval)))
    thread.start()
    thread.join()
    assert told[0][0] is True


def test_the_reader_can_still_interrupt():
    stdout = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        tell(raises(KeyboardInterrupt()))
    assert sys.stdout is stdout


@pytest.mark.parametrize(
    "change", ["values.append(1.0)", "values[0] = 0.0", "values.clear()", "values.append(values)"]
)
def test_a_changed_argument_is_named_even_when_the_result_is_right(change):
    code = f"def f(values, t):\n    m = sum(values) / len(values)\n    {change}\n    return m, 1.0"
    text = tell(define(code, "f"))[1]
    assert "changes its argument `values` in place" in text or "without an end" in text
    assert "values=[0.9, 0.94]" in text  # the case itself is as it was


def test_random_state_stays_and_every_call_begins_with_the_same():
    drawn = []

    def answer(values, t):
        drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        return seed_interval(values, t)

    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = state()
    assert tell(answer)[0] and len(set(drawn)) == 1 and state() == before


def test_nothing_heavy_is_imported():
    loaded = (
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'transformers', 'matplotlib') if m"
        " in sys.modules]);"
    )
    code = (
        "import sys; from course_utils.exercises import check;"
        + loaded
        # the second may use what the course's own metrics use
        + "check('00.1', lambda values, t: 0);"
        + loaded
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    on_import, on_check = (line for line in done.stdout.splitlines() if line.startswith("["))
    assert on_import == "[]" and on_check in ("[]", "['torch']")


def test_the_references_make_layers_that_keep_the_contracts():
    """The page builds layers from them, so their gradients have to be finite too."""

    class Mean(AverageFusion):
        def pool(self, x, present):
            return exercises.reference("10.2")(x, present)

    class Weighted(AverageFusion):
        def pool(self, x, present):
            weights = exercises.reference("10.3")(x.mean(2), present)
            return (weights[..., None] * torch.where(present[..., None], x, 0)).sum(1)

    for layer in (Mean, Weighted):
        assert [result.seen for result in check_contracts(layer) if result.kept is False] == []


# ---- in a real kernel
# -------------------------------------------------------------------------------

CELLS = [
    (
        "from course_utils.exercises import check\n\ndef seed_interval(values, t):\n    '''Mean and"
        " half-width.'''\n    ..."
    ),
    "check('00.1', seed_interval)",
    "check('00.1', lambda values, t: exit())",
    "check('00.1', lambda values, t: quit())",
    (
        "def f(values, t):\n    while True:\n        try: len(values)\n        except:"
        " pass\ncheck('00.1', f, time_limit=0.3)"
    ),
    "def f(values, t):\n    return f(values, t)\ncheck('00.1', f)",
    "def f(values, t):\n    print('noise')\n    return sum(values)\ncheck('00.1', f)",
    "print('still here')",
]
REPLIES = [
    "",
    "not attempted yet",
    "left by exit()",
    "left by exit()",
    "did not finish within 0.3 seconds",
    "calls itself without an end",
    "returned one number, expected a tuple of 2 numbers",
    "still here",
]


def test_the_kernel_survives():
    start_new_kernel = pytest.importorskip(
        "jupyter_client.manager", reason="Jupyter is not installed"
    ).start_new_kernel
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("NBGRADER_EXECUTION", None)
    manager, client = start_new_kernel(kernel_name="python3", env=environment)
    try:
        for code, expected in zip(CELLS, REPLIES, strict=True):
            printed = []

            def collect(message):
                if message["msg_type"] == "stream":
                    printed.append(message["content"]["text"])

            reply = client.execute_interactive(code, output_hook=collect, timeout=60)["content"]
            text = "".join(printed)
            # a payload would be "ask_exit"
            assert reply["status"] == "ok" and not reply.get("payload"), reply
            assert expected in text and "noise" not in text, text
        assert manager.is_alive()
        # after check, exit exits again
        client.execute_interactive("exit()", output_hook=lambda message: None, timeout=60)
        for _ in range(100):
            if not manager.is_alive():
                break
            time.sleep(0.1)
        assert not manager.is_alive()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
