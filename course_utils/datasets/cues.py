"""Gaussian cues, whose Bayes rule is a sum; its datasheet stands in `gates`."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from course_utils.checks import check_that, check_whole, finite
from course_utils.datasets.gates import chosen, phi
from course_utils.datasets.names import MODALITIES


@dataclass(frozen=True)
class Cues:
    """Gaussian cues: y is -1 or 1 (label 0 or 1), and cue m is mu_m y + noise of standard
    deviation 1.

      mu      strengths of one to three cues: of text, image and audio, in this order
      rho     correlation of the noise between any two cues; at 0 they are independent given y
      prior   probability of y = 1

    >>> cues = Cues(mu=(0.5, 1.0))
    >>> ways = ["text"], ["image"], ["text", "image"]
    >>> [round(100 * cues.ceiling(present), 2) for present in ways]
    [69.15, 84.13, 86.82]

    Raises ValueError for a dial outside its range and, in the methods, for numbers and names that
    do not fit.
    """

    mu: tuple[float, ...] = (0.5, 1.0)
    rho: float = 0.0
    prior: float = 0.5

    def __post_init__(self):
        good = (
            isinstance(self.mu, (tuple, list))
            and 1 <= len(self.mu) <= 3
            and all(map(finite, self.mu))
        )
        check_that("mu", good, "one to three finite numbers", self.mu)
        # three cues cannot all be opposed: covariance needs positive eigenvalues
        least = -1 / max(1, len(self.mu) - 1)
        check_that(
            "rho",
            finite(self.rho) and least < self.rho < 1,
            f"a number above {least:g} and below 1",
            self.rho,
        )
        check_that(
            "prior",
            finite(self.prior) and 0 < self.prior < 1,
            "a probability above 0 and below 1",
            self.prior,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities of the cues."""
        return MODALITIES[: len(self.mu)]

    @property
    def covariance(self) -> np.ndarray:
        """Sigma, the covariance (M, M) of the noise: 1 on the diagonal, rho elsewhere."""
        return np.where(np.eye(len(self.mu)), 1.0, self.rho)

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        """`n` samples: each cue (n, 1) float32, and "label" (n,) int64."""
        check_whole(1, n=n)
        check_whole(0, seed=seed)
        label_rng, noise_rng = (np.random.default_rng([purpose, seed]) for purpose in (1, 2))
        labels = label_rng.random(n) < self.prior
        noise = noise_rng.standard_normal((n, len(self.mu))) @ np.linalg.cholesky(self.covariance).T
        # (n, M)
        cues = torch.from_numpy(
            np.where(labels[:, None], self.mu, np.negative(self.mu)) + noise
        ).float()
        return {
            **dict(zip(self.names, cues.split(1, dim=1))),
            "label": torch.from_numpy(labels).long(),
        }

    def bayes_weights(self, present: tuple[str, ...] | None = None) -> np.ndarray:
        """w (M,) in the log-odds of y = 1 given the cues, w . x + log(prior / (1 - prior)): w =
        2 Sigma^-1 mu.

        A missing cue is integrated out: mu and Sigma lose its entries, and its weight is 0.
        """
        at = [self.names.index(name) for name in chosen(self.names, present)]
        weights = np.zeros(len(self.mu))
        weights[at] = 2 * np.linalg.solve(
            self.covariance[np.ix_(at, at)], np.array(self.mu, dtype=float)[at]
        )
        return weights

    def product_weights(self, present: tuple[str, ...] | None = None) -> np.ndarray:
        """The same for the product of experts, which adds the log-odds 2 mu_m x_m of each cue as
        if rho were 0.
        """
        return 2 * np.array(self.mu, dtype=float) * np.isin(self.names, chosen(self.names, present))

    def rule_accuracy(self, weights, bias: float | None = None) -> float:
        """The exact accuracy of answering 1 when w . x + bias > 0; None takes the log-odds of
        the prior as bias.

        With a = w . mu and s = sqrt(w . Sigma w) it is prior Phi((a + bias) / s) + (1 - prior)
        Phi((a - bias) / s).
        """
        weights = np.asarray(weights, dtype=float)
        good = weights.shape == (len(self.mu),) and np.isfinite(weights).all()
        check_that("weights", good, f"{len(self.mu)} finite numbers", weights.tolist())
        bias = math.log(self.prior / (1 - self.prior)) if bias is None else bias
        check_that("bias", finite(bias), "a finite number", bias)
        signal, spread = (
            float(weights @ np.array(self.mu)),
            math.sqrt(weights @ self.covariance @ weights),
        )
        if not spread:  # no cue counts, and everything gets the same answer
            return self.prior if bias > 0 else 1 - self.prior
        return self.prior * phi((signal + bias) / spread) + (1 - self.prior) * phi(
            (signal - bias) / spread
        )

    def ceiling(self, present: tuple[str, ...] | None = None) -> float:
        """The accuracy of the Bayes rule that sees the cues in `present`; None means all of
        them, () none.

        With prior .5 it is Phi(sqrt(mu . Sigma^-1 mu)), and with rho 0 Phi of the length of mu.
        """
        return self.rule_accuracy(self.bayes_weights(present))
