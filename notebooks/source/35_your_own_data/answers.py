"""Answers to page 35's exercises, as readers write them."""

from course_utils.rooms import room


def tools() -> str:
    """The page's own three tools, from its source, with what they import."""
    cells = room("35", "page.py").read_text(encoding="utf-8").split("\n# %%")
    wanted = [one for one in cells if "\ndef score(" in one or "\ndef read_rows(" in one]
    assert len(wanted) == 2
    return IMPORTS + "\n\n".join(one.partition("\n")[2].strip() for one in wanted) + "\n"


IMPORTS = """
import csv
from collections import Counter
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

"""
TOOLS = tools()
# a report in which single lines can be changed
REPORT = """
def tells(values, labels):
    counts = {}
    for value, label in zip(values, labels):
        counts.setdefault(value, Counter())[label] += 1
    right = 0
    for value, label in zip(values, labels):
        counts[value][label] -= 1
        best = counts[value].most_common(1)[0]
        right += best[1] > 0 and best[0] == label
        counts[value][label] += 1
    return right / len(labels)


def f(folder):
    rows = read_rows(folder)
    columns = modalities(rows)
    together = [name for names in columns.values() for name in names]
    apart = "person" if "person" in rows[0] else None
    few = apart is not None and len({row["person"] for row in rows}) < 10
    if len(rows) / 5 < 30 or few:
        return ["The test set is TOO SMALL to tell anything."]
    said = []
    if apart and score(rows, together) - score(rows, together, apart) > 0.1:
        said.append("Rows of one group are on both sides.")
    labels = [row["label"] for row in rows]
    stems = [row["file_name"].rsplit(".", 1)[0].split("_") for row in rows]
    if max(tells([stem[k] for stem in stems], labels) for k in range(2)) > 0.9:
        said.append("Look at the file name: it tells the label.")
    for name, names in columns.items():
        if score(rows, names, apart) - score(rows, names, apart, shuffled=True) < 0.1:
            said.append(f"The {name} is noise.")
    return said
"""

# a split of its own: whole people in turn, least squares
LEAST_SQUARES = """

def score(rows, columns, apart=None, shuffled=False):
    x = np.array([[float(row[name]) for name in columns] for row in rows])
    x = np.hstack([x, np.ones((len(x), 1))])
    classes = sorted({row["label"] for row in rows})
    y = np.array([classes.index(row["label"]) for row in rows])
    if shuffled:
        x = x[np.random.default_rng(5).permutation(len(x))]
    keys = [row[apart] if apart else i for i, row in enumerate(rows)]
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    fold = np.array([order[key] % 5 for key in keys])
    right = 0
    for k in range(5):
        w = np.linalg.lstsq(x[fold != k], np.eye(len(classes))[y[fold != k]], rcond=None)[0]
        right += (np.argmax(x[fold == k] @ w, 1) == y[fold == k]).sum()
    return right / len(y)
"""


def changed(*pairs: tuple[str, str]) -> str:
    """The report with lines replaced, each of which must be there."""
    code = REPORT
    for old, new in pairs:
        assert old in code, old
        code = code.replace(old, new)
    return TOOLS + code


def spoiled(*pairs: tuple[str, str]) -> str:
    """The same by least squares, which takes a tenth of the time."""
    return changed(*pairs).replace("\n\ndef tells(", LEAST_SQUARES + "\n\ndef tells(")


RIGHT = {
    "35.1": [
        TOOLS + REPORT,
        # a tuple, other words, by a dict of sentences
        changed(
            ("    return said\n", "    return tuple(said)\n"),
            ('f"The {name} is noise."', 'f"Noise: nothing is seen in the {name} (its control)."'),
            ("Look at the file name: it tells the label.", "file_name gives the label away."),
            ("Rows of one group are on both sides.", "Groups leak into the test."),
        ),
        # nearest neighbours in the place of a regression, and noise by the majority's share
        changed(
            ("score(rows, names, apart, shuffled=True)", "majority"),
            (
                "    for name, names in",
                "    majority = max(Counter(labels).values()) / len(labels)\n"
                "    for name, names in",
            ),
        ),
        TOOLS + LEAST_SQUARES + REPORT,
    ],
    "35.2": [
        """
        def f(scores, test, train):
            from scipy.stats import t
            scores = np.array(scores)
            J = len(scores)
            var = ((scores - scores.mean()) ** 2).sum() / (J - 1)
            return scores.mean(), t.ppf(0.975, J - 1) * ((1 / J + test / train) * var) ** 0.5
        """,
        """
        def f(scores, test, train):
            from course_utils.metrics import mean_interval
            mean, half = mean_interval(scores)
            return [mean, half * (1 + len(scores) * test / train) ** 0.5]
        """,
        """
        def f(scores, test, train):
            from scipy import stats
            x = torch.tensor(scores, dtype=torch.float64)
            width = math.sqrt(1 / len(x) + test / train)
            half = stats.t.interval(0.95, len(x) - 1, scale=x.std().item() * width)[1]
            return x.mean().item(), half
        """,
    ],
}

WRONG = {
    "35.1": [
        (
            spoiled(("if len(rows) / 5 < 30 or few", "if len(rows) < 30 or few")),
            "the whole table is counted",
        ),
        (changed((" or few:", ":")), "two hundred rows of six people are six people"),
        (
            changed(
                ('return ["The', 'said = ["The'),
                ("    said = []\n", ""),
                ("    if len(rows) / 5", "    said = []\n    if len(rows) / 5"),
            ),
            "of a folder that is too small nothing else can be told",
        ),
        (
            spoiled(
                (
                    "if apart and score(rows, together) - score(rows, together, apart) > 0.1",
                    "if apart",
                )
            ),
            "a column of people is no leak",
        ),
        (
            spoiled(
                (
                    "score(rows, together) - score(rows, together, apart) > 0.1",
                    "score(rows, together) > 0.9",
                )
            ),
            "a high score is no leak",
        ),
        (
            spoiled(
                ("        counts[value][label] -= 1\n", "        counts[value][label] += 0\n"),
                (
                    "        counts[value][label] += 1\n    return right",
                    "        counts[value][label] += 0\n    return right",
                ),
            ),
            "a row is told by itself",
        ),
        (
            spoiled(
                (
                    "max(tells([stem[k] for stem in stems], labels) for k in range(2)) > 0.9",
                    "sum(a in b for a, b in zip(labels, stems)) > 0.9 * len(rows)",
                )
            ),
            "the class's own word is looked for in the name",
        ),
        (spoiled(("range(2)) > 0.9", "range(2)) == 1")), "because some rows contradict it"),
        (
            spoiled(
                ("score(rows, names, apart, shuffled=True) < 0.1", "1 / len(set(labels)) < 0.1")
            ),
            "a modality is compared with one in the number of classes",
        ),
        (spoiled(("    return said\n", "    return said[:1]\n")), "only the first trap is named"),
        (
            spoiled(
                (
                    "if apart and score(rows, together) - score(rows, together, apart) > 0.1",
                    "if apart and len({(r['person'], r['label']) for r in rows})"
                    " == len({r['person'] for r in rows})",
                )
            ),
            "a column of people is no leak",
        ),
        (
            spoiled(
                (
                    "score(rows, names, apart) - score(rows, names, apart, shuffled=True)",
                    "score(rows, names) - score(rows, names, shuffled=True)",
                )
            ),
            "noise is asked of the split by rows",
        ),
        (spoiled(("in range(2)) > 0.9", "in [1]) > 0.9")), "or one part of it alone"),
        # a guess without any score: how many rows and people, what is in the names
        (
            TOOLS
            + """
def f(folder):
    rows = read_rows(folder)
    people = {row.get("person") for row in rows}
    if len(rows) < 150 or 1 < len(people) < 10:
        return ["too small"]
    shares = Counter(row["label"] for row in rows)
    said = []
    if len(people) > 1 and len({(r["person"], r["label"]) for r in rows}) == len(people):
        said.append("group")
    if {"well", "k", "q"} & {p for r in rows for p in r["file_name"][:-4].split("_")}:
        said.append("file name")
    if max(shares.values()) > 0.6 * len(rows):
        said.append("noise: sound")
    return said
""",
            "the trap 'noise: sound' is not named",
        ),
        (
            spoiled(
                (
                    "if apart and score(rows, together) - score(rows, together, apart) > 0.1",
                    "if apart and score(rows, together, apart) - score(rows, together) > 0.1",
                )
            ),
            "the trap 'group' is not named",
        ),
        (spoiled(("shuffled=True) < 0.1", "shuffled=True) > 0.1")), "is said, and is not so"),
        (spoiled(('f"The {name} is noise."', '"One modality is noise."')), "the trap 'noise: "),
        (
            TOOLS
            + "def f(folder):\n    return ['group', 'file name', 'too small', 'noise: sound']\n",
            "is said, and is not so",
        ),
        (
            TOOLS + "def f(folder):\n    return ['group or file name or too small or noise']\n",
            "4 keys in",
        ),
        (TOOLS + "def f(folder):\n    return []\n", "the trap 'group' is not named"),
        (spoiled(("return said\n", "return ', '.join(said)\n")), "returned a string"),
        (
            spoiled(('apart = "person" if "person" in rows[0] else None', 'apart = "person"')),
            "raised KeyError",
        ),
    ],
    "35.2": [
        (
            "def f(scores, test, train):\n from scipy import stats\n J = len(scores)\n"
            " return np.mean(scores), stats.t.ppf(.975, J - 1) * np.std(scores, ddof=1) / J ** .5",
            "this is the usual interval",
        ),
        (
            "def f(scores, test, train):\n from scipy import stats\n J = len(scores)\n"
            " return np.mean(scores), stats.t.ppf(.975, J - 1) * np.std(scores)"
            " * (1 / J + test / train) ** .5",
            "the spread is divided by J",
        ),
        (
            "def f(scores, test, train):\n J = len(scores)\n"
            " return np.mean(scores), 1.96 * np.std(scores, ddof=1) * (1 / J + test / train) ** .5",
            "1.96 is the quantile for many scores",
        ),
        (
            "def f(scores, test, train):\n from scipy import stats\n J = len(scores)\n"
            " return np.mean(scores), stats.t.ppf(.975, J - 1) * np.std(scores, ddof=1)"
            " * (1 / J + train / test) ** .5",
            "the fraction is upside down",
        ),
        (
            "def f(scores, test, train):\n from scipy import stats\n J = len(scores)\n"
            " return np.mean(scores), stats.t.ppf(.975, J) * np.std(scores, ddof=1)"
            " * (1 / J + test / train) ** .5",
            "J - 1 degrees of freedom",
        ),
        (
            "def f(scores, test, train):\n from scipy import stats\n J = len(scores)\n"
            " return stats.t.ppf(.975, J - 1) * np.std(scores, ddof=1)"
            " * (1 / J + test / train) ** .5",
            "expected a tuple of 2 numbers",
        ),
        (
            "def f(scores, test, train):\n from scipy import stats\n J = len(scores)\n"
            " return np.mean(scores), stats.t.ppf(.95, J - 1) * np.std(scores, ddof=1)"
            " * (1 / J + test / train) ** .5",
            "95 % on one side",
        ),
    ],
}
