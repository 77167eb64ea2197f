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
    the reference sends one, fewer digits where the page verifies, or much slower; "" where it can.
    `names` are those of the arguments.
    """
    needed = _reached(exercise, exercise.reference, names)
    try:
        reached = _reached(exercise, answer, names)
        own = _seconds(exercise, answer)
    except Exception as error:
        return f"yours raised {words_of(error)} on this page's data"
    if cut := [f"`{name}`" for name in needed if name not in reached]:
        return f"no gradient comes through yours to {' and '.join(cut)}"
    if exercise.verified and (less := _fewer_digits(exercise, answer)):
        return less
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


def _fewer_digits(exercise, answer) -> str:
    """Pages compare equations to twelve digits, in float64: in words, how the answer fails on the
    batch in float64 where the reference keeps it, else "".
    """
    import torch

    try:
        results = [
            one for _, one in _tensors((exercise.run(exercise.reference, *_wide(exercise)),))
        ]
    except Exception:
        return ""  # the lesson has one dtype
    if any(one.is_floating_point() and one.dtype != torch.float64 for one in results):
        return ""
    try:
        own = [one for _, one in _tensors((exercise.run(answer, *_wide(exercise)),))]
    except Exception as error:
        return f"yours raised {words_of(error)} on this page's data in float64"
    for one in own:
        if one.is_floating_point() and one.dtype != torch.float64:
            return (
                f"yours gives {one.dtype} where its input is torch.float64, in which the page"
                " compares; new tensors take the input's: dtype=x.dtype"
            )
    return ""


def _wide(exercise) -> tuple:
    """The batch with its float32 tensors in float64."""
    import torch

    def wide(value):
        if isinstance(value, torch.Tensor):
            return value.detach().double() if value.dtype == torch.float32 else value
        if type(value) in (list, tuple):
            return type(value)(wide(item) for item in value)
        if type(value) is dict:
            return {key: wide(item) for key, item in value.items()}
        return value

    return wide(copied(exercise.batch()))


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
