"""The exercises of pages 00 to 09."""

from asked import OfEveryExercise


class TestPages(OfEveryExercise, tens="0"):
    pass
