"""What a page says, and what stored runs say: for the tests of single pages."""

from course_utils.metrics import mean_interval
from course_utils.rooms import room


def said(page: str) -> str:
    """The page's source with its lines joined."""
    source = room(page, "page.py").read_text(encoding="utf-8")
    return " ".join(source.replace("\n# ", "\n").split())


def gain(one: list[float], other: list[float], seeds: int = 5) -> tuple[float, float]:
    """The mean difference in points over the seeds, paired, and half its interval."""
    assert len(one) == len(other) == seeds
    return mean_interval([100 * (a - b) for a, b in zip(one, other)])


def the_cell(page: str, *words: str) -> str:
    """The one cell of the page's source in which all these words stand."""
    cells = room(page, "page.py").read_text(encoding="utf-8").split("# %%")
    found = [one for one in cells if all(word in one for word in words)]
    assert len(found) == 1
    return found[0].partition("\n")[2]


def printed(capsys, shown: str, names: dict) -> str:
    """The True or False that a cell prints behind its colon."""
    exec(shown, names)
    return capsys.readouterr().out.partition(": ")[2].split()[0]
