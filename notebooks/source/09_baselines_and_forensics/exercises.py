"""A draft for notebook 09: an interval over seeds, an honest gain."""

import random
import statistics

from course_utils.exercises import Exercise, Misconception, ideas

# 97.5 % quantiles of Student's t with n - 1 degrees of freedom, by n, from a table
T_QUANTILES = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 8: 2.365, 10: 2.262}


def _mean(values):
    return sum(values) / len(values)


# 09.1 -----------------------------------------------------------------------------------------


def seed_interval(values, t):
    """Mean and half-width of the 95 % interval over seeds: t * s / sqrt(n), s with n - 1."""
    return statistics.fmean(values), t * (statistics.variance(values) / len(values)) ** 0.5


def _interval_cases(seed=1):
    draw = random.Random(seed)
    yield [0.90, 0.94], T_QUANTILES[2]
    yield [0.80, 0.80, 0.80], T_QUANTILES[3]
    for n in (3, 4, 5, 5, 8, 10):
        yield [round(draw.uniform(0.6, 0.95), 3) for _ in range(n)], T_QUANTILES[n]


def _low_high(values, t):
    mean, half = seed_interval(values, t)
    return mean - half, mean + half


def _undivided(values, t):
    mean, half = seed_interval(values, t)
    return mean, half * (len(values) - 1) ** 0.5


SEED_INTERVAL = Exercise(
    key="09.1",
    reference=seed_interval,
    cases=_interval_cases,
    returns="the mean and the half-width",
    misconceptions=(
        Misconception(
            "the standard deviation divides by n. The mean was estimated from the same n values,"
            " which makes the deviations look too small: divide their squares by n - 1.",
            lambda values, t: (_mean(values), t * statistics.pstdev(values) / len(values) ** 0.5),
        ),
        Misconception(
            "the square root of n is missing. This is the spread of single runs; the mean of n runs"
            " is steadier: its standard error is s / sqrt(n).",
            lambda values, t: (_mean(values), t * statistics.stdev(values)),
        ),
        Misconception(
            "the standard deviation is divided by n, not by the square root of n.",
            lambda values, t: (_mean(values), t * statistics.stdev(values) / len(values)),
        ),
        Misconception(
            "t is not used. The second number is the standard error alone; multiplied by t it"
            " becomes the half-width of the 95 % interval.",
            lambda values, t: (_mean(values), statistics.stdev(values) / len(values) ** 0.5),
        ),
        Misconception(
            "the square root of the variance is missing: s is in the unit of the values, the"
            " variance in its square.",
            lambda values, t: (_mean(values), t * statistics.variance(values) / len(values) ** 0.5),
        ),
        Misconception(
            "these are the two ends of the interval. Return its middle and its half-width, "
            "as in 0.92 ± 0.25.",
            _low_high,
        ),
        Misconception(
            "1.96 stands in the place of t. It fits a great many runs; with few runs s itself is"
            " uncertain, so the interval must be wider: use the argument `t`.",
            lambda values, t: seed_interval(values, 1.96),
        ),
        Misconception(
            "2.776 stands in the place of t. It fits five seeds only: `t` depends on the number of"
            " seeds, use the argument.",
            lambda values, t: seed_interval(values, 2.776),
        ),
        Misconception(
            "this is the full width, from one end of the interval to the other. What stands after"
            " the ± is half of it.",
            lambda values, t: (_mean(values), 2 * seed_interval(values, t)[1]),
        ),
        Misconception(
            "s is divided by the square root of n - 1. The n - 1 is already inside s; the mean is "
            "taken over n runs: divide s by sqrt(n).",
            lambda values, t: (
                _mean(values),
                t * statistics.stdev(values) / (len(values) - 1) ** 0.5,
            ),
        ),
        Misconception(
            "the two numbers are swapped: return the mean first, then the half-width, as in 0.92 ±"
            " 0.25.",
            lambda values, t: seed_interval(values, t)[::-1],
        ),
        Misconception(
            "the squared deviations are summed but not divided by n - 1. A sum grows with every"
            " run, and s should not: it is the spread of one run.",
            _undivided,
        ),
    ),
)


# 09.2 -----------------------------------------------------------------------------------------


def honest_gain(single, fused):
    """For each seed, fused accuracy minus that of the modality with the highest mean over all
    seeds.
    """
    _, best = max((sum(values), values) for values in single.values())
    return [mine - its for mine, its in zip(fused, best, strict=True)]


def _gain_cases(seed=2):
    draw = random.Random(seed)
    yield {"text": [0.70]}, [0.80]
    # On the second seed the image wins, but text has the higher mean.
    yield {"text": [0.80, 0.70], "image": [0.60, 0.75]}, [0.85, 0.90]
    # The image has the highest single accuracy, text the higher mean; fusion loses on one seed.
    yield {"image": [0.80, 0.60], "text": [0.74, 0.76]}, [0.82, 0.70]
    # The best modality is neither the text nor the last name in the alphabet.
    yield {"text": [0.70, 0.72], "audio": [0.78, 0.80], "video": [0.60, 0.65]}, [0.90, 0.85]
    for n in (2, 3, 5, 5, 8):
        # Overlapping bands, so that the best modality of one seed is seldom the best of all.
        single = {
            m: [round(draw.uniform(0.55, 0.80), 3) for _ in range(n)]
            for m in ("text", "image", "audio")
        }
        yield single, [round(draw.uniform(0.60, 0.95), 3) for _ in range(n)]


def _minus(fused, baseline):
    return [mine - its for mine, its in zip(fused, baseline)]


def _worst(single, fused):
    return _minus(fused, min(single.values(), key=_mean))


def _worst_of_each_seed(single, fused):
    return _minus(fused, map(min, zip(*single.values())))


def _mean_of_all(single, fused):
    return _minus(fused, map(_mean, zip(*single.values())))


def _best_of_each_seed(single, fused):
    return _minus(fused, map(max, zip(*single.values())))


def _one_lucky_seed(single, fused):
    return _minus(fused, max(single.values(), key=max))


def _turned_round(single, fused):
    return [-gain for gain in honest_gain(single, fused)]


def _one_number(single, fused):
    return _mean(honest_gain(single, fused))


def _unpaired(single, fused):
    best = max(map(_mean, single.values()))
    return [mine - best for mine in fused]


def _by_name(single, fused):
    return _minus(fused, single[max(single)])


def _by_first_seed(single, fused):
    return _minus(fused, max(single.values()))


def _percent(single, fused):
    return [100 * gain for gain in honest_gain(single, fused)]


def _relative(single, fused):
    return [gain / (mine - gain) for gain, mine in zip(honest_gain(single, fused), fused)]


def _always_text(single, fused):
    return _minus(fused, single["text"])


HONEST_GAIN = Exercise(
    key="09.2",
    reference=honest_gain,
    cases=_gain_cases,
    returns="one difference per seed",
    misconceptions=(
        *ideas(
            "fused is compared with the worst modality. Almost anything beats that: choose one"
            " modality for all seeds, the one with the highest mean.",
            _worst,
            _worst_of_each_seed,
        ),
        Misconception(
            "fused is compared with the mean of the modalities. No model has that accuracy, it is"
            " lower than the best one's: compare with the best one.",
            _mean_of_all,
        ),
        Misconception(
            "the best modality is picked anew for each seed. No single model reaches that baseline,"
            " so the gain comes out too small: choose one modality for all seeds, the one with the"
            " highest mean.",
            _best_of_each_seed,
        ),
        Misconception(
            "the baseline is the modality that holds the single highest accuracy. One lucky seed "
            "decides then: choose by the mean over the seeds.",
            _one_lucky_seed,
        ),
        Misconception(
            "the sign is turned round: a gain is fused minus single, positive where fusion helps.",
            _turned_round,
        ),
        Misconception(
            "returned one number, expected a list: one difference per seed. The mean is right, but"
            " the interval needs the paired differences.",
            _one_number,
        ),
        Misconception(
            "every seed is compared with the mean of the best modality. The pairing is lost:"
            " subtract, seed by seed, what that modality reached with the same seed.",
            _unpaired,
        ),
        Misconception(
            "the best modality is chosen by its name: `max(single)` compares names and takes "
            "the last one in the alphabet. Compare the means of the accuracies.",
            _by_name,
        ),
        Misconception(
            "the best modality is chosen by its first seed alone, which is what `max` does with"
            " lists: it compares their first entries. Compare the means over all seeds.",
            _by_first_seed,
        ),
        Misconception(
            "the gains are in percent. Return the plain differences, 0.05 and not 5.",
            _percent,
        ),
        Misconception(
            "the gains are divided by the accuracy of the single modality. A relative gain looks"
            " large where that accuracy is low: return the difference alone.",
            _relative,
        ),
        Misconception(
            'the baseline is always "text". Other data have another best modality: choose it by the'
            " means in `single`.",
            _always_text,
        ),
    ),
)

EXERCISES = [SEED_INTERVAL, HONEST_GAIN]
