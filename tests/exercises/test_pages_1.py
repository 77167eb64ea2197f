"""The exercises of pages 10 to 19."""

import torch
from asked import OfEveryExercise

from course_utils import exercises
from course_utils.contracts import check_contracts
from course_utils.contracts.gallery import AverageFusion


class TestPages(OfEveryExercise, tens="1"):
    pass


def test_the_references_of_page_11_make_layers_that_keep_the_contracts():
    """The page builds layers from them, so their gradients have to be finite too."""

    class Mean(AverageFusion):
        def pool(self, x, present):
            return exercises.reference("11.2")(x, present)

    class Weighted(AverageFusion):
        def pool(self, x, present):
            weights = exercises.reference("11.3")(x.mean(2), present)
            return (weights[..., None] * torch.where(present[..., None], x, 0)).sum(1)

    for layer in (Mean, Weighted):
        broken = [result.seen for result in check_contracts(layer) if result.kept is False]
        assert broken == []
