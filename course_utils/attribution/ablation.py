"""What a model scores without one modality."""

from collections.abc import Callable

from torch import Tensor

from course_utils.attribution.outputs import Outputs, check_inputs
from course_utils.attribution.scores import check_score, number_of


def ablation_scores(
    predict: Callable,
    inputs: dict[str, Tensor | dict[str, Tensor]],
    score: Callable[[Tensor], float],
    absent: str | dict[str, Tensor] = "mean",
    *,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[str, float]:
    """The score with one modality absent and all others there, {name of the absent one: score},
    in M passes.

    Two modalities that say the same look useless here, each of them: `subset_scores` sees it.
    Arguments and errors are those of `subset_scores`; "permutation" is permutation importance.
    """
    check_inputs(predict, inputs, batch_size, seed)
    check_score(score)
    names = list(inputs)
    outputs = Outputs(predict, inputs, absent, batch_size, seed)
    return {name: number_of(score(outputs.of(frozenset(names) - {name}))) for name in names}
