"""Names that a package imports from their modules only when somebody asks for them.

So whoever wants one thing neither loads nor depends on all the others: a page's staleness follows
an imported name to the module that defines it.
"""

import importlib
import sys
from collections.abc import Callable


def by_name(package: str, homes: dict[str, str]) -> tuple[Callable, Callable, list[str]]:
    """`__getattr__`, `__dir__` and `__all__` for the `__init__` of `package` (PEP 562); `homes`
    says in which of its modules each name is, or by its whole name in which other module of the
    course.

    A name and a module that are called alike would hide each other.
    """

    def get(name: str):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        if not home.startswith(f"{package.split('.')[0]}."):
            home = f"{package}.{home}"
        return getattr(importlib.import_module(home), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names, sorted(homes)
