"""What every gradient asks of its arguments; a wrong one is named."""

import torch

from course_utils.checks import check_floats, check_tensor


def check(value, name: str, shape: tuple | None, dtype: torch.dtype) -> None:
    """`shape` may be None, for any."""
    check_tensor(value, name)
    if value.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype}, got {value.dtype}")
    if shape is not None and tuple(value.shape) != tuple(shape):
        raise ValueError(f"{name}: expected shape {tuple(shape)}, got {tuple(value.shape)}")


def sizes(value, name: str, axes: str | tuple, dtype: torch.dtype | None = None) -> torch.Size:
    """The shape of a tensor that has these axes, one letter each; without a dtype, any floats."""
    if dtype is None:
        check_floats(value, name)
    check(value, name, None, value.dtype if dtype is None else dtype)
    if value.dim() != len(axes):
        raise ValueError(f"{name}: expected shape ({', '.join(axes)}), got {tuple(value.shape)}")
    return value.shape


def check_names(values, name: str, wanted: list[str] | None = None) -> None:
    """`values` is a dict with at least one entry, or with entries of just these names."""
    if not isinstance(values, dict):
        raise TypeError(f"{name}: expected a dict by name, got {type(values).__name__}")
    if not values or wanted is not None and set(values) != set(wanted):
        expected = "at least one modality" if wanted is None else f"the names {wanted}"
        raise ValueError(f"{name}: expected {expected}, got {list(values)}")
