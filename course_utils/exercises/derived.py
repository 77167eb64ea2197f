"""Answers that are to be derived, not to be left to autograd."""

from collections.abc import Callable

import torch


def without_autograd(answer: Callable, *args):
    """What `answer` gives where no graph can be recorded: derived by hand, it needs none.

    Raises RuntimeError("autograd is not asked for") where it begins one.
    """
    with torch.autograd.graph.saved_tensors_hooks(_refuse, _refuse):
        try:
            return answer(*args)
        except RuntimeError as error:
            if "saved tensor hooks" in str(error):  # torch.func says this in its own words
                _refuse()
            raise


def _refuse(*_):
    raise RuntimeError("autograd is not asked for")
