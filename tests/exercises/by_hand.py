"""Answers as a reader writes them, in a notebook's cell."""

import math

import numpy as np
import torch

from course_utils import exercises
from course_utils.exercises import verdict


def define(code, name="f"):
    """A function that exists only as code, as in a cell: no file to read its source from.

    Without a module's name pickle would look for it in every module, and so load them all.
    """
    space = {"__name__": "__main__", "torch": torch, "np": np, "math": math}
    exec(compile(code, "<cell>", "exec"), space)
    return space[name]


def tell(answer, key="09.1", **options):
    """(right, text): the verdict on `answer` to exercise `key`."""
    return verdict(exercises._find(key), answer, **options)
