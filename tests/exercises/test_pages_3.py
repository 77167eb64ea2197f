"""The exercises of pages 30 to 39."""

from asked import OfEveryExercise


class TestPages(OfEveryExercise, tens="3"):
    pass
