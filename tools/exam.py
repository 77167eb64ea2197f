"""The exam in the classroom edition: thirty questions and ten derivations, drawn by a seed.

    python tools/build_notebooks.py --edition classroom exam1 exam2
    or: make classroom N="exam1 exam2"

Writes for each seed classroom/source/99_exam_1/99_exam_1.ipynb, which is handed out, and
teacher/99_exam_1.md, which is not: answers, pages, wrong ideas. Questions and checkers stand in the
room notebooks/source/99_exam, which is no page.

The file that is handed out holds no answer. Its hidden tests, which nbgrader takes out, hold none
either: they call the room's grading.py on the teacher's machine.
"""

import re
import sys

from classroom import metadata
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pages import ROOT, write

NAME = re.compile(r"exam(\d{1,9})")
MINUTES = 180
TITLE = """\
# Exam · Multimodal Learning, from Features to Fusion

*Variant {seed} · {minutes} minutes · {points} points*

Thirty questions, {question} points each, and ten derivations, {derivation} points each; an answer
gets all its points or none. They need not be done in order.

- Put your answer in place of `...`. **A number** may be an expression that gives it, and is right
  to a thousandth; a whole number must be hit. **A choice** is one letter, `"b"`; **a set** is all
  right letters in one string, `"bd"`. **A function** keeps its name and its arguments.
- The line below an answer shows what is handed in. It does not say whether that is right.
- Cells of your own may stand anywhere, to compute or to try. `torch`, `F`, `nn` and `math` are
  there.
- A derivation is written as a formula: its function calls no `backward`, `torch.autograd` or
  `torch.func`, else it gets no point. In a cell of your own you may compare it with autograd. It is
  graded on random shapes in float64.
- Before you hand in: *Restart and run all*. Keep the file's name, `{name}.ipynb`."""
SET_UP = '''\
# Set-up: run this first. It knows no answer.
import math

import torch
import torch.nn.functional as F
from torch import nn


def handed_in(key, answer):
    """Say what stands there now."""
    shown = "nothing yet" if answer is ... else "a function" if callable(answer) else repr(answer)
    print(f"{key}: {shown}")'''
CHECK = """\
handed_in("{key}", {answer})
### BEGIN HIDDEN TESTS
from course_utils.rooms import load
load("99", "grading").grade("{key}", {answer}, seed={seed})
### END HIDDEN TESTS"""
ASKS = {
    "number": "*One number.*",
    "choice": "*One letter.*",
    "set": "*All letters that are right, at least one.*",
    "function": "*A function.*",
}


def room_part(part):
    """A module of the exam's room; imported late, since pages are built without it."""
    sys.path.insert(0, str(ROOT))
    from course_utils.rooms import load

    return load("99", part)


def asked(seed) -> list:
    return list(room_part("grading").exam(seed).values())


def name_of(seed) -> str:
    return f"99_exam_{seed}"


def hand_in_of(question) -> str:
    """The name that holds a question's answer."""
    function = re.search(r"^def (\w+)", question.code, re.M)
    return function[1] if function else f"answer_{question.key}"


def heading(question) -> str:
    word = "Question" if int(question.key) <= 30 else "Derivation"
    return f"### {word} {question.key} · {question.points} points"


def notebook(seed):
    """The exam of one seed, with hidden tests, not executed."""
    questions = asked(seed)
    title = TITLE.format(
        seed=seed,
        minutes=MINUTES,
        points=sum(question.points for question in questions),
        question=questions[0].points,
        derivation=questions[-1].points,
        name=name_of(seed),
    )
    set_up = {"nbgrader": metadata("set-up", locked=True)}
    cells = [
        new_markdown_cell(title, id="title"),
        new_code_cell(SET_UP, id="set-up", metadata=set_up),
    ]
    for question in questions:
        name = f"question-{question.key}"
        text = f"{heading(question)}\n\n{question.text}\n\n{ASKS[question.kind]}"
        check = CHECK.format(key=question.key, answer=hand_in_of(question), seed=seed)
        grade = metadata(name, grade=True, locked=True, points=question.points)
        cells += [
            new_markdown_cell(text, id=f"{name}-text"),
            new_code_cell(question.code, id=name),
            new_code_cell(check, id=f"{name}-check", metadata={"nbgrader": grade}),
        ]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}
    )


# ---- for the teacher alone ----


def sheet(seed) -> str:
    """The answers, the pages that they rest on, and the sentences that name a wrong idea."""
    questions = asked(seed)
    lines = [f"# Exam, variant {seed}: answers", "", "For the teacher alone.", ""]
    lines += ["| | page | about | kind | points | answer |", "|---|---|---|---|---|---|"]
    for question in questions:
        row = [question.key, question.page, question.topic, question.kind, str(question.points)]
        lines.append(f"| {' | '.join([*row, short(question)])} |")
    for question in questions:
        lines += ["", heading(question), "", f"*Page {question.page}*", "", question.text, ""]
        if question.kind == "function":
            lines += ["```python", question.answer.rstrip(), "```", ""]
            ideas = [idea.message for idea in question.exercise.misconceptions]
            lines += [f"- {idea}" for idea in dict.fromkeys(ideas)]
        else:
            lines += [f"Right: **{short(question)}**. Wrong:", ""]
            lines += [f"- {said(wrong)}: {why}" for wrong, why in told(question)]
    return "\n".join([*lines, ""])


def told(question):
    """(wrong answer, why); of a set the options that are no part of it."""
    return [
        (wrong, why)
        for wrong, why in question.wrong.items()
        if question.kind != "set" or wrong not in question.answer
    ]


def short(question) -> str:
    if question.kind == "function":
        return "below"
    return said(question.answer)


def said(answer) -> str:
    if isinstance(answer, float):
        return f"{answer:.4g}"
    return "".join(sorted(answer)) if isinstance(answer, frozenset) else str(answer)


def write_all(root, names) -> int:
    """Write the exams named "exam1", "exam2" ..., each with its teacher's sheet."""
    for seed in [int(NAME.fullmatch(name)[1]) for name in names]:
        nb, name = notebook(seed), name_of(seed)
        paths = [
            root / "classroom" / "source" / name / f"{name}.ipynb",
            root / "teacher" / f"{name}.md",
        ]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        write(paths[0], nb)
        paths[1].write_text(sheet(seed), encoding="utf-8", newline="\n")
        worth = sum(question.points for question in asked(seed))
        shown = " and ".join(path.relative_to(root).as_posix() for path in paths)
        print(f"{shown}: questions 30, derivations 10, points {worth}")
    return 0
