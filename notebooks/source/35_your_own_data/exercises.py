"""Notebook 35: a report on a folder that names its traps, and an interval that knows that splits
share rows.
"""

import csv
import functools
import math
import re
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.compare import difference

# 35.1 -----------------------------------------------------------------------------------------

KEYS = ("group", "file name", "too small", "noise")
MODALITIES = ("image", "sound")
FOLDERS = 9


def hidden(number: int, place: str | Path) -> Path:
    """Write the folder of this number under `place` and give it back: its table metadata.csv alone,
    in which the features stand already. The last digit says of which kind it is, what stands before
    it which draw.
    """
    folder = Path(place) / f"folder_{number}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = _rows(number)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


# people (0: no such column), rows of each, one class a person, what a person adds to each number,
# what the class adds to picture and sound, the noise, the file's name
KINDS = (
    (20, 10, False, 0.4, (0.8, 0.5), 1.0, lambda i, y, who: f"P{who:02d}_{i:04d}.png"),
    (30, 7, True, 1.0, (0.4, 0.0), 0.4, lambda i, y, who: f"scan_{i:04d}.png"),
    (18, 10, False, 0.2, (0.24, 0.24), 1.0, lambda i, y, who: f"{i:04d}_{y}.png"),
    (0, 60, False, 0.0, (0.6, 0.6), 1.0, lambda i, y, who: f"scan_{i:04d}.png"),
    (20, 10, False, 0.2, (0.7, 0.0), 1.0, lambda i, y, who: f"{i:04d}_{'kq'[i % 2]}.png"),
    (0, 180, False, 0.0, (0.6, 0.35), 1.0, lambda i, y, who: f"cam{i % 2}_{i:04d}.png"),
    (6, 34, True, 1.0, (0.1, 0.1), 0.4, lambda i, y, who: f"scan_{i:04d}.png"),
    (0, 200, False, 0.0, (0.0, 0.5), 1.0, lambda i, y, who: f"{'kq'[y == 'well']}_{i:04d}.png"),
    (30, 7, True, 0.2, (0.6, 0.5), 1.0, lambda i, y, who: f"scan_{i:04d}.png"),
)
UNEQUAL, COLUMNS = 0.66, 12  # the share of the first class of kinds 4 and 8; columns of a modality
LEAKS = (1, 6)  # kinds whose people are loud, and of one class each
NAMED = (2, 7)  # kinds whose files tell the class
WRONG_NAMES = 0.04  # of the files that are called as their class


# of each kind the draws of which any classifier and any folds say the same, twelve of them
CLEAR = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
    (42, 468, 1395, 3788, 3997, 5113, 5325, 5516, 6157, 6181, 7741, 9376),
    (6, 14, 17, 21, 23, 28, 33, 36, 38, 41, 43, 51),
    (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13),
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
    (0, 4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 21),
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
    (3, 65, 88, 90, 106, 108, 113, 119, 129, 133, 139, 142),
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
)


def _rows(number):
    """The table of a folder: the last digit is its kind, what stands before it one of the draws."""
    kind = number % 10
    draws = CLEAR[kind]
    return _draw(kind, np.random.default_rng([kind, draws[number // 10 % len(draws)]]))


def _draw(kind, rng):
    people, each, one_class, spread, strength, noise, named = KINDS[kind]
    first = UNEQUAL if kind == 4 else 0.5
    classes = ["well", "ill"] + (["unsure"] if kind == 5 else [])
    count = max(people, 1) * each
    who = np.repeat(np.arange(max(people, 1)), each)
    if one_class:
        labels = rng.permutation(np.arange(people) % (3 if kind == 8 else 2) == 1)[who]
    else:  # each person has every class as often as everybody
        share = np.full(len(classes), (1 - first) / (len(classes) - 1))
        share[0] = first
        if len(classes) == 3:
            share[:] = 1 / 3
        steps = np.minimum(np.searchsorted(share.cumsum(), (np.arange(each) + 0.5) / each), 2)
        labels = np.concatenate([rng.permutation(steps) for _ in range(max(people, 1))])
    faces = rng.normal(size=(max(people, 1), 2 * COLUMNS))
    signs = rng.choice([-1.0, 1.0], size=(1, 2 * COLUMNS)) * np.array([[1.0], [-1.0], [0.0]])
    if len(classes) == 3:
        signs = 2 * np.eye(3)[:, np.arange(2 * COLUMNS) % 3] - 1
    order, rows = rng.permutation(count), []
    for i, place in enumerate(order):
        y, person = int(labels[place]), int(who[place])
        by_class = np.repeat(strength, COLUMNS) * signs[y]
        numbers = by_class + spread * faces[person] + noise * rng.normal(size=2 * COLUMNS)
        name = named(i, classes[y], person)
        if kind == 2 and rng.random() < WRONG_NAMES:
            name = named(i, classes[1 - y], person)
        row = {"file_name": name}
        for m, modality in enumerate(MODALITIES):
            row |= {f"{modality}_{k}": f"{numbers[COLUMNS * m + k]:.2f}" for k in range(COLUMNS)}
        if people:
            row["person"] = f"P{person:02d}"
        rows.append(row | {"label": classes[y]})
    return rows


# ---- what can be said of a folder ----


def _facts(folder):
    """The numbers that a report rests on, from the table in a folder."""
    return _facts_of((Path(folder) / "metadata.csv").read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=64)
def _facts_of(text):
    return _measured(list(csv.DictReader(text.splitlines())))


def _measured(rows):
    labels = [row["label"] for row in rows]
    people = [row["person"] for row in rows] if "person" in rows[0] else None
    inputs = defaultdict(list)
    for name in rows[0]:
        if name.rpartition("_")[2].isdigit():
            inputs[name.rpartition("_")[0]].append(name)
    every = sum(inputs.values(), [])
    facts = {"rows": len(rows), "people": people and len(set(people)), "classes": len(set(labels))}
    facts["by rows"] = _right(rows, every, None)
    facts["by person"] = _right(rows, every, people) if people else facts["by rows"]
    facts["alone"] = {m: _right(rows, inputs[m], people) for m in inputs}
    facts["shuffled"] = {m: _right(rows, inputs[m], people, True) for m in inputs}
    facts["alone by rows"] = {m: _right(rows, inputs[m], None) for m in inputs}
    classes = defaultdict(set)
    for person, label in zip(people or (), labels):
        classes[person].add(label)
    facts["one class each"] = bool(classes) and max(map(len, classes.values())) == 1
    parts = [Path(row["file_name"]).stem.split("_") for row in rows]
    columns = [[part[k] for part in parts] for k in range(min(map(len, parts)))]
    facts["others"] = max(_told(column, labels, True) for column in columns)
    facts["itself"] = max(_told(column, labels, False) for column in columns)
    said = [label in part for label, part in zip(labels, parts)]
    facts["word"] = sum(said) / len(said)
    return facts


def _right(rows, names, people, shuffled=False):
    """The share of rows whose class is found by least squares, in five folds alike in classes."""
    rng = np.random.default_rng(3)
    x = np.array([[float(row[name]) for name in names] for row in rows])
    classes, y = np.unique([row["label"] for row in rows], return_inverse=True)
    units = np.arange(len(rows)) if people is None else np.unique(people, return_inverse=True)[1]
    if shuffled:
        x = x[rng.permutation(len(x))]
    x = np.hstack([(x - x.mean(0)) / x.std(0), np.ones((len(x), 1))])
    # units of one class follow one another, so that each fold has all classes
    first = np.array([y[units == unit][0] for unit in range(units.max() + 1)])
    order = rng.permutation(len(first))
    order = order[np.argsort(first[order], kind="stable")]
    fold = np.empty(len(first), dtype=int)
    fold[order] = np.arange(len(first)) % 5
    right = 0
    for k in range(5):
        test = fold[units] == k
        weights = np.linalg.lstsq(x[~test], np.eye(len(classes))[y[~test]], rcond=None)[0]
        right += ((x[test] @ weights).argmax(1) == y[test]).sum()
    return right / len(rows)


def _told(values, labels, others):
    """The share of rows whose class is the most frequent one of the rows with this value, the row
    itself left out where `others`.
    """
    counts, right = defaultdict(Counter), 0
    for value, label in zip(values, labels):
        counts[value][label] += 1
    for value, label in zip(values, labels):
        held = counts[value] - Counter([label]) if others else counts[value]
        right += bool(held) and max(held, key=held.__getitem__) == label
    return right / len(labels)


# ---- the report, each judgement of which a wrong idea can change ----


def _small(facts):
    return facts["rows"] / 5 < 30 or (facts["people"] or 10) < 10


def _leak(facts):
    return facts["by rows"] - facts["by person"] > 0.1


def _named(facts):
    return facts["others"] > 0.9


def _noise(facts):
    return [m for m, alone in facts["alone"].items() if alone - facts["shuffled"][m] < 0.1]


def _sentences(folder, small=_small, leak=_leak, named=_named, noise=_noise, only=True):
    facts = _facts(folder)
    found = ["too small: the test set"] if small(facts) else []
    if found and only:
        return found
    found += ["leak by group"] if leak(facts) else []
    found += ["the file name tells the label"] if named(facts) else []
    return found + [f"noise: {m}" for m in noise(facts)]


def my_report(folder):
    """A sentence for each trap that is in the folder."""
    return _sentences(folder)


def _ask(function, folder):
    """Which traps a function names in the folder of this number."""
    with tempfile.TemporaryDirectory() as place:
        said = function(hidden(folder, place))
    if not isinstance(said, (list, tuple)) or not all(isinstance(one, str) for one in said):
        return said
    return {"found": sorted({_key(one) for one in said}), "folder": folder}


def _key(sentence):
    """The one key that a sentence holds, with the modality where it is noise."""
    text = re.sub(r"[-_]", " ", sentence.lower()).replace("filename", "file name")
    held = [key for key in KEYS if key in text]
    if held == ["noise"]:
        return "noise: " + " and ".join(m for m in MODALITIES if m in text)
    return held[0] if len(held) == 1 else f"{len(held)} keys in {sentence[:50]!r}"


def _compare(got, expected):
    if not isinstance(expected, dict) or not isinstance(got, dict):
        return difference(got, expected["found"] if isinstance(expected, dict) else expected)
    missed = [key for key in expected["found"] if key not in got["found"]]
    false = [key for key in got["found"] if key not in expected["found"]]
    if not missed + false:
        return None
    words = [f"the trap {key!r} is not named" for key in missed]
    words += [f"{key!r} is said, and is not so" for key in false]
    rows = _rows(expected["folder"])
    lines = [list(rows[0]), *([*row.values()] for row in rows[:3])]
    table = ["  ".join(f"{cell:14}" for cell in line[:2] + ["...", *line[-2:]]) for line in lines]
    first = f"{' and '.join(words)} in this folder of {len(rows)} rows:"
    shown = [f"    {line.rstrip()}" for line in table]
    return "\n".join([first, *shown, f"    ({len(rows) - 3} more)"])


def _cases(seed=0):
    for kind in range(FOLDERS):
        yield (10 * seed + kind,)


MY_REPORT = Exercise(
    key="35.1",
    reference=my_report,
    cases=_cases,
    use=_ask,
    compare=_compare,
    returns="a sentence, as a string",
    time_limit=20.0,
    misconceptions=(
        *ideas(
            "the whole table is counted. What must be large enough is the test set, a fifth of it.",
            lambda folder: _sentences(
                folder, small=lambda f: f["rows"] < 30 or (f["people"] or 10) < 10
            ),
        ),
        *ideas(
            "two hundred rows of six people are six people: count the people, too.",
            lambda folder: _sentences(folder, small=lambda f: f["rows"] / 5 < 30),
        ),
        *ideas(
            "of a folder that is too small nothing else can be told, and here more is said: return"
            " that one sentence at once.",
            lambda folder: _sentences(folder, only=False),
        ),
        *ideas(
            "a column of people is no leak. It is one where the score falls as soon as nobody"
            " stands on both sides: compare the two splits.",
            lambda folder: _sentences(folder, leak=lambda f: f["people"] is not None),
            lambda folder: _sentences(folder, leak=lambda f: f["one class each"]),
        ),
        *ideas(
            "a high score is no leak. Compare it with the score of a split by person.",
            lambda folder: _sentences(folder, leak=lambda f: f["by rows"] > 0.9),
            lambda folder: _sentences(
                folder, leak=lambda f: f["people"] is not None and f["by rows"] > 0.9
            ),
        ),
        *ideas(
            "a row is told by itself: a running number stands once, and its only class is the"
            " row's own. Leave the row out, and count among the others.",
            lambda folder: _sentences(folder, named=lambda f: f["itself"] > 0.9),
        ),
        *ideas(
            "the class's own word is looked for in the name, or one part of it alone. A letter for"
            " each class tells it as well, and in any place: count classes by each part.",
            lambda folder: _sentences(folder, named=lambda f: f["word"] > 0.9),
        ),
        *ideas(
            "a name is let pass because some rows contradict it. A few wrong names change nothing:"
            " more than 90 % is enough.",
            lambda folder: _sentences(folder, named=lambda f: f["others"] == 1),
        ),
        *ideas(
            "a modality is compared with one in the number of classes. Where classes are unequal"
            " noise is above that, too: compare it with itself, shuffled.",
            lambda folder: _sentences(
                folder,
                noise=lambda f: [m for m in MODALITIES if f["alone"][m] - 1 / f["classes"] < 0.1],
            ),
        ),
        *ideas(
            "the weaker modality is called noise. It may be weak and still say something: compare"
            " it with itself, shuffled.",
            lambda folder: _sentences(
                folder, noise=lambda f: [min(MODALITIES, key=f["alone"].__getitem__)]
            ),
            lambda folder: _sentences(
                folder,
                noise=lambda f: [
                    m for m in MODALITIES if f["alone"][m] < max(f["alone"].values()) - 0.1
                ],
            ),
        ),
        *ideas(
            "noise is asked of the split by rows. There a modality that only tells who it is looks"
            " as if it told the class: where there are people, ask by person.",
            lambda folder: _sentences(
                folder,
                noise=lambda f: [
                    m for m in MODALITIES if f["alone by rows"][m] - f["shuffled"][m] < 0.1
                ],
            ),
        ),
        *ideas(
            "only the first trap is named. A folder may have two: collect the sentences in a list.",
            lambda folder: _sentences(folder)[:1],
        ),
    ),
)

# 35.2 -----------------------------------------------------------------------------------------


def corrected(scores, test, train):
    """In sums, from the variance of the mean; the quantile is SciPy's."""
    from scipy import stats

    J = len(scores)
    mean = math.fsum(scores) / J
    variance = math.fsum((one - mean) ** 2 for one in scores) / (J - 1)
    width = variance * (train + J * test) / (J * train)
    return mean, float(stats.t.ppf(0.975, J - 1)) * math.sqrt(width)


def _half(scores, width, ddof=1, df=None, t=None):
    from scipy import stats

    J = len(scores)
    quantile = t or float(stats.t.ppf(0.975, df or J - 1))
    return float(np.mean(scores)), quantile * float(np.std(scores, ddof=ddof)) * width


def _scores_cases(seed=2):
    yield [0.7, 0.9], 1, 4
    yield [0.81, 0.74, 0.88, 0.79, 0.85], 40, 120
    rng = np.random.default_rng(seed)
    for J, test, train in ((3, 30, 60), (5, 37, 111), (10, 20, 180)):
        yield rng.uniform(0.5, 1, J).round(3).tolist(), test, train


CORRECTED = Exercise(
    key="35.2",
    reference=corrected,
    cases=_scores_cases,
    returns="the mean and the half-width",
    verified=True,
    batch=lambda: ([0.81, 0.74, 0.88, 0.79, 0.85], 40, 120),
    misconceptions=(
        *ideas(
            "this is the usual interval, for scores that share no rows: 1 / J alone. Add test /"
            " train under the root.",
            lambda scores, test, train: _half(scores, len(scores) ** -0.5),
        ),
        *ideas(
            "the fraction is upside down: test rows over training rows.",
            lambda scores, test, train: _half(scores, (1 / len(scores) + train / test) ** 0.5),
        ),
        *ideas(
            "the test rows are divided by all rows. It is test over *train*.",
            lambda scores, test, train: _half(
                scores, (1 / len(scores) + test / (test + train)) ** 0.5
            ),
        ),
        *ideas(
            "the root is taken of 1 / J alone, or of both apart. Add first, then take the root.",
            lambda scores, test, train: _half(scores, len(scores) ** -0.5 + (test / train) ** 0.5),
            lambda scores, test, train: _half(scores, len(scores) ** -0.5 + test / train),
        ),
        *ideas(
            "the root is forgotten: 1 / J + test / train belongs to the variance.",
            lambda scores, test, train: _half(scores, 1 / len(scores) + test / train),
        ),
        *ideas(
            "1 / J is forgotten.", lambda scores, test, train: _half(scores, (test / train) ** 0.5)
        ),
        *ideas(
            "the spread is divided by J, not by J - 1 (np.std does so unless it gets ddof=1).",
            lambda scores, test, train: _half(
                scores, (1 / len(scores) + test / train) ** 0.5, ddof=0
            ),
        ),
        *ideas(
            "1.96 is the quantile for many scores. With few take Student's t.",
            lambda scores, test, train: _half(
                scores, (1 / len(scores) + test / train) ** 0.5, t=1.96
            ),
        ),
        *ideas(
            "Student's t has J - 1 degrees of freedom.",
            lambda scores, test, train: _half(
                scores, (1 / len(scores) + test / train) ** 0.5, df=len(scores)
            ),
        ),
        *ideas(
            "the quantile is that of 95 % on one side. Of a 95 % interval each side loses 2.5 %:"
            " 0.975.",
            lambda scores, test, train: _half(
                scores,
                (1 / len(scores) + test / train) ** 0.5,
                t=float(__import__("scipy.stats").stats.t.ppf(0.95, len(scores) - 1)),
            ),
        ),
        *ideas(
            "these are the two ends of the interval. Return the mean and half of the width.",
            lambda scores, test, train: (
                corrected(scores, test, train)[0] - corrected(scores, test, train)[1],
                corrected(scores, test, train)[0] + corrected(scores, test, train)[1],
            ),
        ),
    ),
)

EXERCISES = [MY_REPORT, CORRECTED]
