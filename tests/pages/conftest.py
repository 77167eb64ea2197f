"""What the tests of single pages share."""

import pytest

from course_utils import exercises
from course_utils.exercises import check, mine


@pytest.fixture
def accepted(monkeypatch, capsys):
    """Gives what `mine` makes of an answer that `check` has accepted, and what it prints."""
    monkeypatch.setattr(exercises, "_accepted", {})
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)

    def tell(key, answer):
        check(key, answer)
        assert "· right (" in capsys.readouterr().out
        return mine(key, answer), capsys.readouterr().out

    return tell
