"""Whether a page can go on with the reader's own answer, which `check` has accepted."""

import time

from .compare import copied
from .sandbox import words_of

clock = time.process_time  # of all threads, and not of what else the machine does
SLOWER = 5  # times the reference's time
UNNOTICED = 0.002  # seconds a call that no reader feels, however fast the reference is
ROUNDS = 3  # the best of them counts


def hindrance(exercise, answer, names: list[str]) -> str:
    """Why the page cannot go on with it, in words: an error on the page's data, no gradient where
    the reference sends one, or much slower than the reference; "" where it can. `names` are those
    of the arguments.
    """
    needed = _reached(exercise, exercise.reference, names)
    try:
        reached = _reached(exercise, answer, names)
        own = _seconds(exercise, answer)
    except Exception as error:
        return f"yours raised {words_of(error)} on this page's data"
    if cut := [f"`{name}`" for name in needed if name not in reached]:
        return f"no gradient comes through yours to {' and '.join(cut)}"
    theirs = _seconds(exercise, exercise.reference)
    if own > max(SLOWER * theirs, UNNOTICED):
        return f"yours, though right, takes {own / theirs:.0f} times as long on this page's data"
    return ""


def _reached(exercise, program, names) -> list[str]:
    """The names of the batch's tensors that the sum of the program's results sends a gradient."""
    import torch

    args = copied(exercise.batch())
    leaves = dict(_tensors(dict(zip(names, args))))
    wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    if not wanted:
        return []
    with torch.enable_grad():
        results = [one for _, one in _tensors((exercise.run(program, *args),))]
        sent = [one.double().sum() for one in results if one.requires_grad]
        if not sent:
            return []
        grads = torch.autograd.grad(sum(sent), list(wanted.values()), allow_unused=True)
    return [name for name, grad in zip(wanted, grads) if grad is not None]


def _tensors(value, name=""):
    """(name, tensor) of each tensor in nested tuples, lists and dicts."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, (tuple, list)):
        parts = enumerate(value)
    else:
        return [(name.strip("."), value)] if hasattr(value, "requires_grad") else []
    return [found for key, part in parts for found in _tensors(part, f"{name}.{key}")]


def _seconds(exercise, program) -> float:
    times = []
    for _ in range(ROUNDS):
        args = copied(exercise.batch())
        start = clock()
        exercise.run(program, *args)
        times.append(clock() - start)
    return max(min(times), 1e-9)
