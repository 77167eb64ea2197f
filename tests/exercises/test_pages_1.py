"""The exercises of pages 10 to 19."""

from asked import OfEveryExercise


class TestPages(OfEveryExercise, tens="1"):
    pass
