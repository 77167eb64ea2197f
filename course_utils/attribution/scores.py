"""What a model scores with some modalities absent."""

import math
from collections.abc import Callable

from torch import Tensor

from course_utils.attribution.outputs import MOST_MODALITIES, Outputs, check_inputs, subsets


def subset_scores(
    predict: Callable,
    inputs: dict[str, Tensor | dict[str, Tensor]],
    score: Callable[[Tensor], float],
    absent: str | dict[str, Tensor] = "mean",
    *,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[frozenset, float]:
    """The score of a model for each of the 2^M subsets of modalities: {names present: score}, from
    none to all.

    `score(outputs)` gets the outputs of all N samples in their order, (N, ...), and gives a number:
    `lambda logits: accuracy(logits, labels)`. What stands for a modality that is `absent`:

      "mean"         its mean over the N samples
      "zero"         zeros
      "permutation"  the values of another sample, drawn with `seed`; absent modalities come from
                     the same sample, so that they still belong together
      "mask"         what is there, and `predict(inputs, mask=mask)` is told by `mask`, {name: (B,)
                     bool}, True = present
      {name: value}  a value of your own for each modality, such as the training set's mean, as a
                     tensor without the axis N, of the dtype of the modality

    `predict` sees at most `batch_size` rows at once, without gradients; put a model into eval mode
    first.

    Raises TypeError or ValueError for inputs that are no tensors, or differ in their number of
    rows, a "mask" among them, more than 8 modalities, whole numbers that shall have a mean, an
    unknown `absent`, a model in training mode, outputs that have not a row for each sample, and a
    score that is no number.
    """
    check_inputs(predict, inputs, batch_size, seed)
    check_score(score)
    names = list(inputs)
    if len(names) > MOST_MODALITIES:
        raise ValueError(
            f"inputs: expected at most {MOST_MODALITIES} modalities, got {len(names)}, which have"
            f" 2^{len(names)} subsets"
        )
    outputs = Outputs(predict, inputs, absent, batch_size, seed)
    return {present: number_of(score(outputs.of(present))) for present in subsets(names)}


def check_score(score) -> None:
    """Raises TypeError for what is no function."""
    if not callable(score):
        raise TypeError(f"score: expected a function of the outputs, got {type(score).__name__}")


def number_of(value) -> float:
    """A score as a float. Raises TypeError for what is no number, ValueError if not finite."""
    try:
        value = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"score: expected a function that gives a number, got {type(value).__name__}"
        ) from error
    if not math.isfinite(value):
        raise ValueError(f"score: expected a finite number, got {value}")
    return value
