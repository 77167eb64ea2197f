"""Intervals that know that splits share rows, and what they allow to say."""

import warnings

import numpy as np

from course_utils.attribution import interactions, shapley
from course_utils.metrics import cluster_bootstrap, mean_interval
from course_utils.your_data.sentences import Finding, percent, say

TELL = 0.1  # a gain; where an interval holds it and 0, the data are too small to tell
FEW_ROWS, FEW_GROUPS = 50, 10  # tested in all splits together, below which they always are
MAY_HELP = 0.1  # a lead, however uncertain, of what is not called noise
GAP = 0.05  # a difference that is worth a sentence


def corrected(values: list[float], ratio: float) -> tuple[float, float]:
    """The mean over J splits and the half-width t s sqrt(1 / J + ratio) of its 95 % interval;
    `ratio` is test rows over training rows.

    The splits draw the same rows again, so their scores are not independent, and sqrt(1 / J) alone
    would promise too much. Source: Nadeau and Bengio 2003, Inference for the generalization error.
    """
    mean, half = mean_interval(values)
    return mean, half * (1 + len(values) * ratio) ** 0.5


class Scores:
    """The accuracies of all models on all splits.

    An interval is the wider of two: over the splits (`corrected`) and over whole groups drawn
    again (`cluster_bootstrap`) of each row's mean over the splits that tested it; at least 3 / n,
    for n rows without a mistake do not show that there is none.
    """

    def __init__(self, results: list[dict], labels: list[int], groups: list[int]):
        self.results, self.groups = results, groups
        self.hits = {
            name: [self._right(one, name, labels) for one in results]
            for name in results[0]["predicted"]
        }
        sizes = [one["sizes"] for one in results]
        self.ratio = sum(one["test"] for one in sizes) / sum(one["train"] for one in sizes)
        self.rows = sorted({row for one in results for row in one["test"]})
        self.tested_groups = len({groups[row] for row in self.rows})

    @staticmethod
    def _right(result: dict, name: str, labels: list[int]) -> list[float]:
        said = zip(result["predicted"][name], result["test"])
        return [float(answer == labels[row]) for answer, row in said]

    def accuracies(self, name: str) -> list[float]:
        return [float(np.mean(hits)) for hits in self.hits[name]]

    def interval(self, name: str, minus: str | None = None) -> tuple[float, float]:
        """Mean and half-width of a model's accuracy, or of its lead over another, paired."""
        parts = [np.array(hits) for hits in self.hits[name]]
        if minus is not None:
            parts = [one - np.array(other) for one, other in zip(parts, self.hits[minus])]
        mean, over_splits = corrected([float(part.mean()) for part in parts], self.ratio)
        sums, counts = dict.fromkeys(self.rows, 0.0), dict.fromkeys(self.rows, 0)
        for result, part in zip(self.results, parts):
            for row, value in zip(result["test"], part.tolist()):
                sums[row] += value
                counts[row] += 1
        means = [sums[row] / counts[row] for row in self.rows]
        low, high = bootstrap(means, [self.groups[row] for row in self.rows])
        return mean, max(over_splits, (high - low) / 2, 3 / len(self.rows))

    def lead(self, values: list[float]) -> tuple[float, float]:
        """Mean and half-width of one number a split."""
        return corrected(values, self.ratio)


def bootstrap(values: list[float], groups: list[int]) -> tuple[float, float]:
    """`cluster_bootstrap` without its warning of few groups, for which there is a sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return cluster_bootstrap(values, groups)


def verdicts(
    scores: Scores, modalities: list[str], near: list[float] | None = None
) -> list[Finding]:
    """What the numbers allow to say, a sentence each; `near` is that of `neighbours` where there
    are groups.
    """
    grouped = near is not None
    fused = "fusion" in scores.hits
    gain = scores.interval("fusion", "single") if fused else scores.interval("single", "majority")
    what = (
        "fusion over the best single modality" if fused else "the only modality over the majority"
    )
    rows, groups = len(scores.rows), scores.tested_groups
    held = f"{rows} rows" + (f" of {groups} groups" if grouped else "")
    found, seen = [_score(scores, fused, grouped)], gain[0] - gain[1] > 0
    told = {"held": held, "what": what, "gain": percent(gain)}
    unclear = not seen and gain[0] + gain[1] > TELL
    if rows < FEW_ROWS or groups < FEW_GROUPS or unclear:
        found.append(say("too_small", **told, half=100 * gain[1]))
    elif seen:
        wide = "; how large it is these data do not tell well" if gain[1] > gain[0] / 2 else ""
        found.append(say("gain", **told, wide=wide))
    else:
        found.append(say("no_gain", **told, most=100 * max(0, gain[0] + gain[1])))
    if grouped and groups < FEW_GROUPS:
        every = len(set(scores.groups))
        more = f" More splits test more of all {every}: --seeds {every}." if groups < every else ""
        found.append(say("few_groups", groups=groups, more=more))
    found += [one for name in modalities if (one := _noise(scores, name, fused))]
    if grouped:
        found.append(_group_leak(scores, "fusion" if fused else "single", near))
    if fused:
        found.append(_together(scores))
    return found


def _score(scores: Scores, fused: bool, grouped: bool) -> Finding:
    """How good the model is, beside what it must beat."""
    best = scores.results[0].get("single", "")
    score, single, majority = (
        percent(scores.interval(name))
        for name in ("fusion" if fused else "single", "single", "majority")
    )
    return say(
        "score",
        model="The chosen fusion" if fused else "The model",
        score=score,
        held="the rows of groups" if grouped else "the rows",
        majority=majority,
        single=f", and {best!r} alone, the best single modality, in {single} %" if fused else "",
    )


def _noise(scores: Scores, name: str, fused: bool) -> Finding | None:
    """Whether a modality is noise: useless alone, and not missed by the fused model."""
    alone = scores.interval(name, f"{name}, shuffled")
    missed = scores.interval("fusion", f"fusion, {name} shuffled") if fused else None
    if alone[0] - alone[1] > 0 or (missed and missed[0] - missed[1] > 0):
        return None
    numbers = f"alone it leads its own shuffled control by {percent(alone)} points"
    if missed:
        numbers += f", and the fusion loses {percent(missed)} points when it is shuffled"
    unclear = max(alone[0], missed[0] if missed else 0) >= MAY_HELP
    return say("unclear_modality" if unclear else "noise_modality", name=name, numbers=numbers)


def _group_leak(scores: Scores, model: str, near: list[float]) -> Finding:
    """Whether a split by rows promises more: to the model, or to the nearest row."""
    by_rows, by_group = [one["by rows"] for one in scores.results], scores.accuracies(model)
    lead = scores.lead([a - b for a, b in zip(by_rows, by_group)])
    low, high = bootstrap(near, scores.groups)
    known = float(np.mean(near)), (high - low) / 2
    numbers = (
        f"split by rows the model reaches {100 * np.mean(by_rows):.1f} %, split by group"
        f" {100 * np.mean(by_group):.1f} %, a difference of {percent(lead)} points; to take the"
        f" label of the most similar row goes {percent(known)} points better if it may be of the"
        " same group"
    )
    leak = any(mean > max(GAP, half) for mean, half in (lead, known))
    return say("group_leak" if leak else "no_group_leak", numbers=numbers)


def _together(scores: Scores) -> Finding:
    uses = [one["uses"] for one in scores.results]
    lost = scores.lead([one["of the same rows"] - one["emap"] for one in uses])
    adding = sum(_adds(one.get("setting", {}).get("fusion")) for one in scores.results)
    if adding > len(uses) / 2:
        return say("additive", adding=adding, splits=len(uses))
    key = "interaction" if lost[0] - lost[1] > 0 else "no_interaction"
    return say(key, lost=percent(lost))


def _adds(setting: list | None) -> bool:
    """Whether a fusion's logits are a sum over modalities, whatever it learns."""
    strategy, _, hidden, _ = setting or (None,) * 4
    return strategy == "late" or (strategy == "concat" and hidden is None)


def uses(scores: Scores) -> tuple[dict[str, list[float]], dict[tuple, list[float]]]:
    """Shapley values by modality and interactions by pair, a number each split."""
    values, pairs = {}, {}
    for one in scores.results:
        subsets = {frozenset(names): value for names, value in one["uses"]["subsets"]}
        for name, value in shapley(subsets).items():
            values.setdefault(name, []).append(value)
        for pair, value in interactions(subsets).items():
            pairs.setdefault(tuple(sorted(pair)), []).append(value)
    return values, pairs
