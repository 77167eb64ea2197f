"""Word vectors: pairs to learn from, words to tell them from, and the nearest."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from course_utils.text.letters import seen
from course_utils.text.words import PAD, UNKNOWN, id_row


def skip_gram_pairs(
    sentences: Iterable[Tensor | list[int]], window: int, *, unknown: bool = True
) -> Tensor:
    """All pairs of words at most `window` places apart in one sentence: (P, 2) int64, centre and
    context.

    `sentences` are ids, (T,) each. Pads, and with `unknown=False` unknown words too, are taken
    out before places are counted. Every distance counts the same (word2vec draws the window's
    size anew for each centre). Raises TypeError for ids that are no whole numbers, and ValueError
    for a window below 1.
    """
    if window < 1:
        raise ValueError(f"window: expected at least 1, got {window}")
    steps = [step for step in range(-window, window + 1) if step]
    pairs = []
    for i, sentence in enumerate(sentences):
        ids = id_row(f"sentences[{i}]", sentence)
        ids = ids[ids > (PAD if unknown else UNKNOWN)]
        # (T, 2 * window)
        offsets = torch.tensor(steps, device=ids.device)
        other = torch.arange(len(ids), device=ids.device)[:, None] + offsets
        centre, column = ((other >= 0) & (other < len(ids))).nonzero(as_tuple=True)
        pairs.append(torch.stack([ids[centre], ids[other[centre, column]]], 1))
    return torch.cat(pairs) if pairs else torch.zeros(0, 2, dtype=torch.int64)


def negative_samples(
    counts: Tensor, shape: tuple[int, ...], generator: torch.Generator | None = None
) -> Tensor:
    """Ids of random words, int64 of that shape: from (V,) counts to the power 0.75, never
    `<pad>` or `<unk>`.

    The power, found by trial in Mikolov et al. 2013, makes rare words a little more likely than
    they are. Raises TypeError or ValueError for counts that are no finite numbers (V,), are
    negative, or count no word.
    """
    if not isinstance(counts, Tensor) or counts.dim() != 1 or counts.is_complex():
        raise TypeError(f"counts: expected a (V,) tensor of numbers, got {seen(counts)}")
    weights = counts.double() ** 0.75  # NaN below 0
    if not weights.isfinite().all():
        raise ValueError("counts: expected finite numbers of at least 0")
    weights[: UNKNOWN + 1] = 0
    if not weights.any():
        raise ValueError("counts: expected at least one word beside <pad> and <unk>")
    return torch.multinomial(
        weights, torch.Size(shape).numel(), replacement=True, generator=generator
    ).reshape(shape)


def nearest(vectors: Tensor, index: int, count: int) -> tuple[Tensor, Tensor]:
    """The `count` rows of (V, D) most like row `index` by cosine, itself left out: indices and
    cosines, (count,) each.

    Rows 0 and 1 of a vocabulary's vectors, `<pad>` and `<unk>`, are rows like others: cut them
    off before. Raises TypeError or ValueError for what is no float (V, D), an index that has no
    row, and a count outside 1 to V - 1.
    """
    if not isinstance(vectors, Tensor) or not vectors.is_floating_point():
        raise TypeError(f"vectors: expected a float tensor, got {seen(vectors)}")
    if vectors.dim() != 2:
        raise ValueError(f"vectors: expected shape (V, D), got {tuple(vectors.shape)}")
    last = len(vectors) - 1
    if not 0 <= index <= last or not 1 <= count <= last:
        raise ValueError(
            f"index, count: expected 0 to {last} and 1 to {last}, got {index} and {count}"
        )
    cosines = normalize(vectors, dim=1) @ normalize(vectors[index], dim=0)  # (V, D) -> (V,)
    cosines[index] = -torch.inf
    cosines, indices = cosines.topk(count)
    return indices, cosines
