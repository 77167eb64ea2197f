"""The exercises of pages 20 to 29."""

from asked import OfEveryExercise


class TestPages(OfEveryExercise, tens="2"):
    pass
