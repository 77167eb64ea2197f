"""The stored comparisons of page 35: two splits of folders by people, how often an interval holds
the truth, and three sets that are not ours, written out as folders.
"""

import csv
import math
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

SEEDS = range(10)
# what the person adds to a picture and to the words, what the illness adds
FOLDERS = {"a little": (0.3, 0.31), "some": (0.6, 0.3), "much": (1.0, 0.19)}
LEFT_OUT = {"much, the person taken out": (0.0, 0.19)}


def people(page: dict) -> dict:
    """Folders of twenty people's rows, the share of the person in them small to large: accuracy
    split by rows and by person, with the classes as they are and given to people by lot; of the
    last one also each modality alone, other penalties, and the person taken out.

    About one minute on one core.
    """
    rows, make, score = {}, page["people_rows"], page["score"]

    def note(name, table, columns, **options):
        for split, apart in (("by rows", None), ("by person", "person")):
            row = rows.setdefault(f"{name}: {split}", {"accuracy": []})
            row["accuracy"].append(round(float(score(table, columns, apart, **options)), 4))

    for seed in tqdm(SEEDS):
        for name, (person, illness) in (FOLDERS | LEFT_OUT).items():
            table = make(person, illness, seed)
            inputs = page["modalities"](table)
            note(name, table, sum(inputs.values(), []))
            if name == "much":
                for modality, columns in inputs.items():
                    note(f"{name}, {modality} alone", table, columns)
                for C in (0.01, 1.0):
                    note(f"{name}, C = {C:g}", table, sum(inputs.values(), []), C=C)
                note(f"{name}, shuffled", table, sum(inputs.values(), []), shuffled=True)
            if name in FOLDERS:
                lot = make(person, illness, seed, lot=True)
                note(f"{name}, classes by lot", lot, sum(inputs.values(), []))
    return rows


ROWS, WIDTH, APART = 200, 10, 1.0  # rows of a data set, numbers of a row, the classes' distance
DRAWS = 200  # data sets a seed


def _truth(means):
    """The share of all rows that the rule "the nearer mean" gets right."""
    between, half = means[1] - means[0], np.zeros(WIDTH)
    half[0] = APART / 2
    threshold = between @ means.mean(0)
    size = math.sqrt(between @ between)
    right = [0.5 * (1 + math.erf((sign * (between @ (sign * half) - threshold)) / size / 2**0.5))
             for sign in (-1, 1)]  # fmt: skip
    return sum(right) / 2


def held(page: dict) -> dict:
    """How often a 95 % interval over splits holds the true accuracy: the usual one and the
    corrected one, 5 splits and 25, and five data sets in the place of five splits. Two normal
    classes, the rule of the nearer mean; the truth is its mean over training sets of that size.

    About one minute on one core.
    """
    train, test = 120, 40
    rng = np.random.default_rng(99)

    def drawn(count, rng):
        y = rng.integers(0, 2, count)
        x = rng.normal(size=(count, WIDTH))
        x[:, 0] += APART * (y - 0.5)
        return x, y

    def means_of(x, y):
        return np.stack([x[y == k].mean(0) for k in (0, 1)])

    def tested(means, x, y):
        near = ((x[:, None] - means) ** 2).sum(2).argmin(1)
        return float((near == y).mean())

    truth = np.mean([_truth(means_of(*drawn(train, rng))) for _ in range(5_000)])
    rows = {}

    def note(name, values):
        rows.setdefault(name, {"accuracy": []})["accuracy"].append(round(float(np.mean(values)), 4))

    for seed in tqdm(SEEDS):
        rng, hits = np.random.default_rng(seed), {}
        for _ in range(DRAWS):
            x, y = drawn(ROWS, rng)
            scores = []
            for _ in range(25):
                order = rng.permutation(ROWS)
                a, b = order[:train], order[train : train + test]
                scores.append(tested(means_of(x[a], y[a]), x[b], y[b]))
            anew = []
            for _ in range(5):
                x, y = drawn(train + test, rng)
                anew.append(tested(means_of(x[:train], y[:train]), x[train:], y[train:]))
            for name, values, ratio in (
                ("usual, 5 splits", scores[:5], 0),
                ("corrected, 5 splits", scores[:5], test),
                ("usual, 25 splits", scores, 0),
                ("corrected, 25 splits", scores, test),
                ("usual, 5 new data sets", anew, 0),
            ):
                mean, half = page["corrected"](values, ratio, train)
                hits.setdefault(name, []).append(abs(mean - truth) <= half)
        for name, values in hits.items():
            note(name, values)
    return rows


# ---- sets that are not ours ----

FOREIGN = 400  # rows of each
LABEL = {"emoji": "category", "texts": "label", "digits": "label"}
GROUP = {"emoji": "family", "texts": "group", "digits": "speaker"}


def _emoji(folder, rng):
    from PIL import Image

    from course_utils.datasets import Emoji
    from course_utils.datasets.emoji import CATEGORIES

    data, lines = Emoji("train"), [["file_name", "name", "category", "family"]]
    for k, i in enumerate(rng.permutation(len(data))[:FOREIGN].tolist()):
        sample, name = data[i], f"e{k:04d}.png"
        pixels = (sample["image"].permute(1, 2, 0).numpy() * 255).astype("uint8")
        Image.fromarray(pixels).save(folder / name)
        category = CATEGORIES[sample["label"]]
        lines.append([name, sample["text"], category, f"G{sample['group']}"])
    return lines


def _texts(folder, rng):
    from course_utils.datasets import RatedTexts

    data, lines = RatedTexts("train"), [["text", "emoticon", "label", "group"]]
    have = [i for i in range(len(data)) if data.emoticons[i]]
    lack = [i for i in range(len(data)) if not data.emoticons[i]]
    chosen = [have[i] for i in rng.permutation(len(have))[: FOREIGN // 2]]
    chosen += [lack[i] for i in rng.permutation(len(lack))[: FOREIGN // 2]]
    for i in rng.permutation(chosen).tolist():
        label = "positive" if data.ratings[i] > 0 else "negative"
        lines.append([data.texts[i], data.emoticons[i] or "", label, f"T{data.groups[i]}"])
    return lines


def _digits(folder, rng):
    import soundfile
    from PIL import Image

    from course_utils.datasets import Digits

    parts = [Digits(split, source="mnist-fsdd") for split in ("train", "validation", "test")]
    lines = [["file_name", "sound_file_name", "label", "speaker"]]
    for k in range(FOREIGN):
        data = parts[int(rng.choice(3, p=[1 / 2, 1 / 6, 1 / 3]))]
        sample, sound = data[int(rng.integers(len(data)))], f"{k:04d}.wav"
        pixels = (255 * (1 - sample["image"][0].numpy())).astype("uint8")
        Image.fromarray(pixels).save(folder / f"{k:04d}.png")
        wave = sample["audio"].numpy()
        soundfile.write(folder / sound, 0.9 * wave / max(1, abs(wave).max()), 8000)
        lines.append([f"{k:04d}.png", sound, f"digit {sample['label']}", f"S{sample['voice']}"])
    return lines


def _by_hand(which, folder):
    """{modality: (N, D)} of simple features made from the raw files, without the package."""
    import soundfile
    from PIL import Image
    from scipy.signal import stft
    from sklearn.feature_extraction.text import TfidfVectorizer

    with open(folder / "metadata.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found, pieces = {}, {"analyzer": "char_wb", "ngram_range": (1, 3)}
    for name in {"emoji": ["name"], "texts": ["text", "emoticon"], "digits": []}[which]:
        cells = [row[name] for row in rows]
        found[name] = TfidfVectorizer(**pieces).fit_transform(cells).toarray()
    if which != "texts":
        images = [Image.open(folder / row["file_name"]).convert("RGB") for row in rows]
        small = [np.asarray(image.resize((12, 12))).ravel() / 255 for image in images]
        found["image"] = np.stack(small)
    if which == "digits":
        parts = []
        for row in rows:
            wave, rate = soundfile.read(folder / row["sound_file_name"])
            power = np.log(abs(stft(wave, rate, nperseg=256, noverlap=176)[2][1:]) ** 2 + 1e-6)
            bands = power.reshape(32, 4, -1).mean(1)  # (32, T)
            parts.append(np.concatenate([b.mean(1) for b in np.array_split(bands, 8, 1)]))
        sound = np.stack(parts)
        found["sound"] = (sound - sound.mean(0)) / sound.std(0)
    if len(found) > 1:
        found["both"] = np.hstack(list(found.values()))
    return rows, found


def foreign(page: dict, seeds=range(5)) -> dict:
    """Three sets as folders of 400 rows (emoji with names, rated texts with emoticons, MNIST with
    spoken digits), and the report on each; beside it scikit-learn on the raw files, by group.

    About three minutes on one core.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

    from course_utils.your_data import report_on

    rows = {}
    for which, make in (("texts", _texts), ("digits", _digits), ("emoji", _emoji)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / which
            folder.mkdir()
            lines = make(folder, np.random.default_rng(0))
            with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(lines)
            report = report_on(
                folder, label=LABEL[which], out=Path(place) / "out", seeds=len(seeds)
            )
            scores = report.scores
            for name in scores.hits:
                if "shuffled" not in name or name.startswith("fusion"):
                    values = [round(one, 4) for one in scores.accuracies(name)]
                    rows[f"{which}: {name}"] = {"accuracy": values}
            sizes = [one["sizes"] for one in scores.results]
            rows[f"{which}: said"] = {
                "accuracy": {},
                "keys": [finding.key for finding in report.findings],
                "test": sum(one["test"] for one in sizes),
                "train": sum(one["train"] for one in sizes),
                "rows": sum(sizes[0].values()),
                "groups": len(set(scores.groups)),
                "left out": len(report.problems),
            }
            table, found = _by_hand(which, folder)
            y = [row[LABEL[which]] for row in table]
            groups = [row[GROUP[which]] for row in table]
            for name, x in found.items():
                folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
                model = LogisticRegression(max_iter=500)
                values = cross_val_score(model, x, y, groups=groups, cv=folds)
                rows[f"{which}, by hand: {name}"] = {"accuracy": values.round(4).tolist()}
    return rows


SWEEPS = [people, held, foreign]
