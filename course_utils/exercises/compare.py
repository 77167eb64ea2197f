"""What came, what was expected, and the first difference between them in words.

A reader's function may return anything. `freeze` first turns its result into plain Python, so
that nothing of the reader's is called afterwards; tensors and NumPy arrays become `Array`, which
is why this file needs neither library.
"""

import copy
import sys
from dataclasses import dataclass

LONG = 24  # values; what is longer is printed by its shape
PASTED = 120  # values of one argument that is shown to be pasted

# (relative, absolute) error that is still right, by what the numbers can hold after some steps. A
# Python number stands with float32, because `.item()` of a float32 tensor makes one.
CAN_HOLD = {
    "float64": (1e-6, 1e-6),
    "float32": (1e-4, 1e-6),
    "float16": (1e-2, 1e-3),
    "bfloat16": (5e-2, 1e-2),
}


@dataclass(frozen=True)
class Array:
    """A tensor or a NumPy array: what it is called, the kind of its numbers, shape, flat values,
    and the type of its numbers by name.
    """

    word: str
    kind: str
    shape: tuple
    flat: list
    dtype: str = ""


@dataclass(frozen=True)
class Other:
    """Anything that no exercise expects, by its name in words."""

    words: str


def freeze(value):
    """Plain Python copy of `value`: numbers, strings, lists, tuples, dicts, sets, `Array` and
    `Other`.
    """
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if value is None or value is ... or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    # a class of the reader's own could answer `tolist` with anything
    if torch is not None and type(value) in (torch.Tensor, torch.nn.Parameter):
        value = value.detach().cpu()
        flat, dtype = value.reshape(-1).tolist(), str(value.dtype).removeprefix("torch.")
        return Array("tensor", _kind(dtype), tuple(value.shape), flat, dtype)
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        scalar, value = isinstance(value, numpy.generic), numpy.asarray(value)
        if scalar and value.dtype.kind in "biuf":
            return value.item() if value.dtype.kind in "biu" else float(value)
        flat, dtype = [freeze(item) for item in value.reshape(-1).tolist()], str(value.dtype)
        return Array("NumPy array", _kind(dtype), value.shape, flat, dtype)
    if isinstance(value, int):
        return int(value) if abs(value) < 10**300 else float("inf")  # longer ones cannot be printed
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(freeze(item) for item in value)
    if isinstance(value, dict):
        return {_hashable(key): freeze(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return frozenset(map(_hashable, value))
    if value is NotImplemented:
        return Other("NotImplemented")
    if isinstance(value, type):
        return Other("a class")
    name = type(value).__name__
    if name in ("generator", "coroutine"):
        value.close()  # else Python complains later, in some other cell, that it never ran
    return Other(f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}")


def _hashable(value):
    value = freeze(value)
    return value if isinstance(value, (str, int, frozenset)) else show(value)


def _kind(dtype):
    return next((kind for kind in ("bool", "int", "float", "complex") if kind in dtype), dtype)


def copied(value):
    """Copy of a case's arguments. What `copy.deepcopy` gives, but far faster for tensors, and
    tensors are what most cases are made of.
    """
    torch = sys.modules.get("torch")
    if torch is not None and type(value) is torch.Tensor:
        return value.detach().clone().requires_grad_(value.requires_grad)
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return copy.deepcopy(value)


def describe(value) -> str:
    """A frozen value by type and size, as in `a list of 5 numbers`."""
    match value:
        case None:
            return "None"
        case bool():
            return str(value)
        case int() | float():
            return "one number"
        case str():
            return "a string"
        case Array():
            return f"a {value.word} of shape {value.shape}"
        case list() | tuple():
            of = {describe(item) for item in value}
            items = "number" if of == {"one number"} else "item"
            return f"a {type(value).__name__} of {len(value)} {items}{'s' * (len(value) != 1)}"
        case dict():
            return "an empty dict" if not value else "a dict with " + _keys(value)
        case frozenset():
            return "a set"
        case Other():
            return value.words
    return "..."


def _keys(mapping):
    words = (str(key) if isinstance(key, (str, int)) else show(key) for key in mapping)
    return f"the key{'s' * (len(mapping) != 1)} " + ", ".join(words)


def paste(value) -> str:
    """A frozen value as code that gives it again, with every digit and its dtype; by type, shape
    and dtype where it has more than `PASTED` values.
    """
    match value:
        case float():
            return repr(value) if abs(value) < float("inf") else f"float('{value}')"
        case str():
            return repr(value)
        case Array() if len(value.flat) > PASTED:
            return f"{describe(value)}, {value.dtype}"
        case Array():
            library, made, usual = ("torch", "tensor", "float32")
            if value.word != "tensor":
                library, made, usual = ("np", "array", "float64")
            dtype = f", dtype={library}.{value.dtype}"
            if not value.flat:
                return f"{library}.zeros({value.shape}{dtype})"
            if value.dtype in (usual, "int64", "bool"):  # what the values alone make
                dtype = ""
            exact = [_exact(item, value.dtype) for item in value.flat]
            return f"{library}.{made}({_nested(exact, value.shape)}{dtype})"
        case list() | tuple() if len(value) <= PASTED:
            inner = ", ".join(map(paste, value))
            if isinstance(value, list):
                return f"[{inner}]"
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case dict() if len(value) <= PASTED:
            return "{" + ", ".join(f"{paste(k)}: {paste(v)}" for k, v in value.items()) + "}"
        case frozenset() if len(value) <= PASTED:
            inner = ", ".join(sorted(map(paste, value)))
            return f"frozenset({{{inner}}})" if inner else "frozenset()"
    return show(value)


def _exact(number, dtype):
    """A number as code, in as few digits as its type needs."""
    if dtype in ("float32", "float16", "bfloat16"):
        number = float(str(sys.modules["numpy"].float32(number)))
    return paste(number)


def show(value, digits: int = 4) -> str:
    """A frozen value as a reader would type it, rounded; by type and shape when it is long."""
    match value:
        case float():
            return repr(float(f"{value:.{digits}g}") + 0.0)  # + 0.0: no minus zero
        case str():
            return repr(value) if len(value) <= 60 else repr(value[:57] + "...")
        case Array() if len(value.flat) <= LONG:
            word = "tensor" if value.word == "tensor" else "array"
            texts = [show(item, digits) for item in value.flat]
            return f"{word}({_nested(texts, value.shape)})"
        case list() | tuple() if len(value) <= LONG:
            inner = ", ".join(show(item, digits) for item in value)
            if isinstance(value, list):
                return f"[{inner}]"
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case dict() if len(value) <= LONG:
            return "{" + ", ".join(f"{show(k)}: {show(v, digits)}" for k, v in value.items()) + "}"
        case frozenset() if 0 < len(value) <= LONG:
            return "{" + ", ".join(sorted(map(show, value))) + "}"
        case Array() | list() | tuple() | dict() | frozenset() | Other():
            return describe(value)
    return repr(value)


def _nested(texts, shape):
    if not shape:
        return texts[0]
    step = len(texts) // shape[0] if shape[0] else 0
    rows = (texts[i * step : (i + 1) * step] for i in range(shape[0]))
    return "[" + ", ".join(_nested(row, shape[1:]) for row in rows) + "]"


def difference(got, expected, where: str = "", rtol: float | None = None, atol: float = 0.0):
    """First difference between two frozen values as the rest of a sentence; None when they agree.

    Lenient where a reader may choose: float32 or float64, a tuple or one-dimensional array for
    a list, a tensor with one value and no axes for a number. Strict on shapes, keys and on
    integers or booleans that became floats. `where` names the place, as in `["audio"]`. Numbers
    agree as far as their type can hold them (`CAN_HOLD`), or to `rtol` and `atol` where given.
    """
    came = f"entry {where} came as " if where else "returned "
    if got is None and expected is not None:
        return (
            f"{came}None, expected {describe(expected)}"
            if where
            else "returned None: is a `return` missing?"
        )
    if isinstance(got, Array) and got.shape == () and not isinstance(expected, Array):
        return difference(got.flat[0], expected, where, *_tolerance(rtol, atol, got))
    match expected:
        case bool() | str() | None | frozenset():
            same = type(got) is type(expected) and got == expected
        case int() | float():
            if isinstance(got, bool) or not isinstance(got, (int, float)):
                return f"{came}{describe(got)}, expected {describe(expected)}"
            same = _close(got, expected, *_tolerance(rtol, atol))
        case Array():
            if not isinstance(got, Array) or got.word != expected.word:
                return f"{came}{describe(got)}, expected {describe(expected)}"
            if got.shape != expected.shape:
                return f"{came}shape {got.shape}, expected {expected.shape}"
            if got.kind != expected.kind and (got.kind, expected.kind) != ("int", "float"):
                return f"{came}a tensor of {got.kind} values, expected {expected.kind}"
            rtol, atol = _tolerance(rtol, atol, got, expected)
            for i, (a, b) in enumerate(zip(got.flat, expected.flat)):
                if not _close(a, b, rtol, atol):
                    place = [] if expected.shape else None
                    for size in reversed(expected.shape):
                        i, at = divmod(i, size)
                        place.insert(0, at)
                    return "{}is {}, expected {}".format(_at(where, place), *show_apart(a, b))
            return None
        case list() | tuple():
            row = got
            if isinstance(got, Array) and len(got.shape) == 1:
                row, (rtol, atol) = got.flat, _tolerance(rtol, atol, got)
            if not isinstance(row, (list, tuple)) or len(row) != len(expected):
                return f"{came}{describe(got)}, expected {describe(expected)}"
            pairs = ((f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(row, expected)))
            return next(
                filter(None, (difference(a, b, at, rtol, atol) for at, a, b in pairs)), None
            )
        case dict():
            if not isinstance(got, dict):
                return f"{came}{describe(got)}, expected {describe(expected)}"
            if got.keys() != expected.keys():
                return f"{came}{describe(got)}, expected {_keys(expected)}"
            pairs = ((f'{where}["{key}"]', got[key], b) for key, b in expected.items())
            return next(
                filter(None, (difference(a, b, at, rtol, atol) for at, a, b in pairs)), None
            )
    return None if same else "{}is {}, expected {}".format(_at(where), *show_apart(got, expected))


def same_kind(got, expected):
    """`difference`, both ways round: whole numbers pass for floats only one way; use it where
    the kinds have to agree.
    """
    return difference(got, expected) or difference(expected, got)


def _at(where, place=None):
    return f"entry {where}{place if place else ''} " if where or place else "the result "


def show_apart(got, expected) -> tuple[str, str]:
    """Both values as text, with as many digits as it takes to tell them apart."""
    for digits in (4, 6, 9, 17):
        if show(got, digits) != show(expected, digits):
            break
    return show(got, digits), show(expected, digits)


def _tolerance(rtol, atol, *arrays):
    """(rtol, atol) as given, else the widest that the arrays' types ask for."""
    if rtol is not None:
        return rtol, atol
    known = [CAN_HOLD[array.dtype] for array in arrays if array.dtype in CAN_HOLD]
    return max(known, default=CAN_HOLD["float32"])


def _close(a, b, rtol, atol):
    if a == b or (a != a and b != b):  # equal infinities, or both not a number
        return True
    return abs(a - b) <= atol + rtol * abs(b) if abs(b) != float("inf") else False
