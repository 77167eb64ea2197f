"""Losses that bring two modalities into one space: pairs near, all others far.

    loss = InfoNCE()                                  # its temperature is learned
    value = loss(image, text)                         # (B, D), (B, D) -> one number
    value.backward()
    optimizer.step()                                  # over the parameters of networks and loss
    loss.clamp_()

Row i of one side belongs to row i of the other. Vectors are compared by the cosine, so their
lengths do not matter. Where a batch holds the same thing twice, `positives` (B, B) bool says which
pairs belong together, rows for the first side; without it these count as false negatives.

Vectors in half precision give a loss in float32. Values are not checked: NaN gives NaN.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.checks import check_bools, check_choice, check_that, finite
from course_utils.metrics import cosines

MINERS = ("all", "random", "semi-hard", "hard")


def paired_cosines(a: Tensor, b: Tensor, positives: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The cosines (B, B) of two sides with as many rows, and which pairs belong together, (B, B)
    bool: `positives`, by default row i and row i.

    Raises ValueError or TypeError as `cosines`, and for positives without the diagonal.
    """
    scores = cosines(a, b)
    if scores.shape[0] != scores.shape[1]:
        raise ValueError(f"b: expected {len(a)} rows as a, got {len(b)}: row i belongs to row i")
    if positives is None:
        return scores, torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    check_bools(positives, "positives", scores.shape)
    if not positives.diagonal().all():
        row = int((~positives.diagonal()).int().argmax())
        raise ValueError(f"positives: expected True on the diagonal, got False for row {row}")
    return scores, positives


def info_nce(a: Tensor, b: Tensor, scale: float | Tensor, positives: Tensor | None = None):
    """Symmetric InfoNCE: how surely each row of `a` (B, D) finds its own among the rows of `b`
    (B, D), and the reverse.

    The cross-entropy of the softmax over `scale` (1 / temperature) times the cosines, the mean over
    rows and columns. A row with several `positives` takes the mean of their log-probabilities. A
    batch of one has nothing to tell apart: its loss is 0.
    Raises ValueError or TypeError for other shapes or dtypes, a scale that is no finite number (its
    sign is not checked, nor a tensor), and positives without the diagonal.
    Source: van den Oord et al. 2018, Representation learning with contrastive predictive coding;
    both directions with a learned temperature: Radford et al. 2021 (CLIP). Several positives:
    Khosla et al. 2020, Supervised contrastive learning, the mean outside the logarithm.
    """
    if not isinstance(scale, Tensor):
        check_that("scale", finite(scale), "a finite number or a tensor", scale)
    scores, own = paired_cosines(a, b, positives)
    logits = scale * scores  # (B, B)
    losses = []
    for scores, right in ((logits, own), (logits.T, own.T)):
        logs = torch.where(right, scores.log_softmax(1), 0)
        losses.append(-(logs.sum(1) / right.sum(1)).mean())
    return (losses[0] + losses[1]) / 2


class InfoNCE(nn.Module):
    """`info_nce` with a temperature that is learned, as the logarithm of its inverse.

    forward: a and b (B, D), positives (B, B) bool or None -> a number.
    `temperature` is where it starts, `lowest` how small it may become. Call `clamp_()` after each
    step of the optimiser. (A clamp in the forward pass would do harm: once the parameter is past
    the limit its gradient is 0, and it never comes back.) What is learned is the parameter
    `log_scale`, the logarithm of 1 / temperature.
    Raises ValueError for temperatures that are not positive, or below `lowest`.
    """

    def __init__(self, temperature: float = 0.07, *, lowest: float = 0.01):
        super().__init__()
        if not (finite(temperature) and finite(lowest) and 0 < lowest <= temperature):
            raise ValueError(
                "temperature: expected a number from lowest on, which is above 0, got"
                f" temperature {temperature!r} and lowest {lowest!r}"
            )
        self.lowest = lowest
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    @property
    def temperature(self) -> float:
        """Where it is now: the cosines are divided by it."""
        return math.exp(-self.log_scale.item())

    def forward(self, a: Tensor, b: Tensor, positives: Tensor | None = None) -> Tensor:
        return info_nce(a, b, self.log_scale.exp(), positives)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the parameter back to where the temperature is `lowest`, if it is past that."""
        self.log_scale.clamp_(max=-math.log(self.lowest))


class SigmoidLoss(nn.Module):
    """Each pair of a batch asked alone: do these two belong together? The mean over the B rows of
    the sum over the columns of log(1 + exp(-y (scale * cosine + bias))), y = 1 for a positive and
    -1 for every other.

    forward: a and b (B, D), positives (B, B) bool or None -> a number.
    The scale, 1 / temperature, as its logarithm `log_scale`, and `bias` are learned; the bias
    starts low, because most pairs are negative. It has no `clamp_()`. Several `positives` in a
    row are each one yes. A batch of one is a single yes.
    Raises ValueError for a scale that is not positive and a bias that is not finite; forward, as
    `info_nce` does.
    Source: Zhai et al. 2023, Sigmoid loss for language image pre-training (SigLIP).
    """

    def __init__(self, scale: float = 10.0, bias: float = -10.0):
        super().__init__()
        check_that("scale", finite(scale) and scale > 0, "a positive number", scale)
        check_that("bias", finite(bias), "a finite number", bias)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, a: Tensor, b: Tensor, positives: Tensor | None = None) -> Tensor:
        scores, right = paired_cosines(a, b, positives)
        logits = self.log_scale.exp() * scores + self.bias  # (B, B)
        return F.softplus(torch.where(right, -logits, logits)).sum(1).mean()


def triplet_loss(
    a: Tensor,
    b: Tensor,
    margin: float = 0.2,
    *,
    miner: str = "semi-hard",
    positives: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Each row's own partner nearer, by `margin` in cosine, than a negative: max(0, margin + s_neg
    - s_pos), the mean over the rows of `a` and of `b` (B, D) as anchors.

    The partner is the row of the same number. Which negative, `miner` says: "hard", the nearest of
    the batch; "semi-hard", the nearest of those farther away than the partner, or the farthest of
    all if none is; "random", drawn by `generator`; "all", the mean over all. A row without a
    negative, as in a batch of one, adds 0.
    Raises ValueError for another miner or a margin below 0, and as `info_nce` does.
    Source: Schroff, Kalenichenko and Philbin 2015, FaceNet; both directions: Kiros, Salakhutdinov
    and Zemel 2014, Unifying visual-semantic embeddings.
    """
    check_choice(MINERS, miner=miner)
    check_that("margin", finite(margin) and margin >= 0, "a number of at least 0", margin)
    scores, own = paired_cosines(a, b, positives)
    if not isinstance(generator, (torch.Generator, type(None))):
        got = type(generator).__name__
        raise TypeError(f"generator: expected a torch.Generator or None, got {got}")
    losses = []
    for sims, right in ((scores, own), (scores.T, own.T)):
        partner = sims.diagonal()[:, None]  # (B, 1)
        chosen = _mined(sims.detach(), ~right, miner, generator)  # (B, B) bool
        costs = torch.where(chosen, (margin + sims - partner).clamp(min=0), 0)
        losses.append((costs.sum(1) / chosen.sum(1).clamp(min=1)).mean())
    return (losses[0] + losses[1]) / 2


def _mined(sims: Tensor, negative: Tensor, miner: str, generator) -> Tensor:
    """Which negatives count, (B, B) bool: one a row where there is one, or with "all" each."""
    if miner == "all":
        return negative
    if miner == "random":
        place = generator.device if generator else "cpu"
        rank = torch.rand(sims.shape, generator=generator, device=place).to(sims)
    elif miner == "hard":
        rank = sims
    else:
        farther = sims < sims.diagonal()[:, None]
        # cosines lie within -1 and 1: the farther ones come first, nearest in front, then the rest
        rank = torch.where(farther, sims, -sims - 4)
    best = rank.masked_fill(~negative, -torch.inf).argmax(1, keepdim=True)  # (B, 1)
    return torch.zeros_like(negative).scatter(1, best, True) & negative
