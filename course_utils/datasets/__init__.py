"""The worlds that the course is played on, each behind one class, the reader's own tables, and
the collation that they share.

A name is looked up in its module when it is asked for, so that whoever wants one thing does not
load, or depend on, all the others.
"""

import importlib

WHERE = {
    "Cues": "gates",
    "Digits": "digits",
    "Gates": "gates",
    "LARGE": "gates",
    "MODALITIES": "names",
    "SMALL": "gates",
    "Scenes": "scenes",
    "collate": "collation",
    "read_table": "table",
}
__all__ = sorted(WHERE)


def __getattr__(name: str):
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
