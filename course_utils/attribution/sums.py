"""What a model answers without interaction: EMAP."""

from collections.abc import Callable

import torch
from torch import Tensor

from course_utils.attribution.outputs import answer_of, check_inputs, each_of
from course_utils.checks import check_choice


def emap(
    predict: Callable,
    inputs: dict[str, Tensor | dict[str, Tensor]],
    alone: str | None = None,
    *,
    batch_size: int = 1024,
) -> Tensor:
    """The empirical multimodally-additive projection of a model's outputs, (N, C): the nearest
    outputs, in squares over all N^2 pairs of text and image, that are a function of the text plus
    a function of the image.

    Row i is the mean over j of f(text i, image j), plus that of f(text j, image i), minus that over
    all pairs. A model that scores as well with it does not show, by its answers, that it has used
    what the two say together; its outputs may have changed all the same. With more than two
    modalities it splits `alone` (default: the first) from all others together.

    `predict` runs on N^2 pairs, at most `batch_size` at once, without gradients; some hundred
    samples are enough. Sums are float64, the result has the dtype of the outputs.

    Raises TypeError or ValueError as `subset_scores` does, and for one modality, an unknown
    `alone`, and outputs that are not (B, C).
    Source: Hessel and Lee 2020, Does my multimodal model learn cross-modal interactions?
    (arXiv:2010.06572).
    """
    rows = check_inputs(predict, inputs, batch_size)
    names = list(inputs)
    alone = names[0] if alone is None else alone
    if len(names) < 2:
        raise ValueError(f"inputs: expected at least two modalities, got {names}")
    check_choice(names, alone=alone)
    of_alone = of_others = None
    for start in range(0, rows * rows, batch_size):
        pair = torch.arange(start, min(start + batch_size, rows * rows), device="cpu")
        i, j = pair // rows, pair % rows
        batch = {
            name: each_of(value, lambda x, at=i if name == alone else j: x[at.to(x.device)])
            for name, value in inputs.items()
        }
        answer = answer_of(predict, batch, len(pair))
        if answer.dim() != 2 or not answer.is_floating_point():
            raise ValueError(
                f"predict: expected floats (B, C), got {answer.dtype} {tuple(answer.shape)}"
            )
        answers = answer.double()  # (B, C)
        if of_alone is None:
            of_alone, of_others = answers.new_zeros(2, rows, answers.shape[1])  # each (N, C)
        of_alone.index_add_(0, i.to(answers.device), answers)
        of_others.index_add_(0, j.to(answers.device), answers)
    projected = (of_alone + of_others - of_alone.mean(0)) / rows
    return projected.to(answer.dtype)
