# %% [markdown]
# # Six small systems: does a second modality lead to better decisions?
#
# A clinic, a road, a house, a shop, a call centre, a gate. In each, two or three modalities meet, a decision follows, and a mistake has a price. You build the threshold that costs least, and find each system's own trap.
#
# *About {minutes} minutes. You need pages 06, 07, 09 and 10: intervals that are made wider, splits by group, AUC and controls, fusion by concatenation.*

# %% [markdown]
# ## In this notebook you will
#
# 1. build the threshold that costs least, and see what it does for patients and on a road;
# 2. see a split by rows recognise patients and, if you like, a house that asks "who?" first;
# 3. recommend, if you like, items that nobody has rated, where the true utility is known;
# 4. decide which calls go to a human;
# 5. build the cost in use, where anomalies are rarer than in your sample, and settle the bet of page 30 (it needs three of the systems, so it comes at the end).

# %% tags=["measured", "imports"]
# Imports.
import json
import warnings

import numpy as np
import torch
from sklearn import decomposition, ensemble, linear_model, neural_network, pipeline, preprocessing
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.mixture import GaussianMixture

from course_utils import plots
from course_utils.audio import frames, log_mel
from course_utils.datasets import Moods
from course_utils.datasets.files import open_sound
from course_utils.exercises import check, mine
from course_utils.look import show as pictured
from course_utils.masks import masked_mean, pad
from course_utils.metrics import mean_interval
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import DATA, reads

warnings.filterwarnings("ignore", category=ConvergenceWarning)

# %% tags=["measured", "proof"]
# The models that compete in every system; and what the best of them says.
def candidates():
    lines = [linear_model.LogisticRegression(C=C, max_iter=500) for C in (1e-3, 0.01, 0.1, 1, 10)]
    nets = [neural_network.MLPClassifier((32,), alpha=alpha, learning_rate_init=0.01, max_iter=60,
                                         random_state=0) for alpha in (0.01, 0.1, 1.0, 10.0)]
    trees = [ensemble.ExtraTreesClassifier(100, min_samples_leaf=k, random_state=0)
             for k in (2, 5, 15)]
    return [pipeline.make_pipeline(preprocessing.StandardScaler(), model)
            for model in lines + nets + trees]

def chosen(inputs, labels, by=log_loss):
    """What the model with the least `by` on validation says of validation and test."""
    (train, val, test), (known, checked, _) = inputs, labels
    fitted = [model.fit(train, known) for model in candidates()]
    best = min(fitted, key=lambda model: by(checked, model.predict_proba(val)))
    return best.predict_proba(val), best.predict_proba(test)

def encoded(parts, width=16):
    """Columns scaled on the training rows; of more than `width`, the first components."""
    steps = [preprocessing.StandardScaler(), decomposition.PCA(width, svd_solver="covariance_eigh")]
    encoder = pipeline.make_pipeline(*steps[: 1 + (parts[0].shape[1] > width)]).fit(parts[0])
    return [encoder.transform(part) for part in parts]

# %% tags=["measured", "proof"]
# One system: alone, both, shuffled; what decisions cost; what a list of items loses.
def system(data, labels, seed, ways=chosen):
    """{name: [train, validation, test]} -> {way: what `chosen` gives}."""
    data = {name: encoded(parts) for name, parts in data.items()}
    draw, last = np.random.default_rng([31, seed]), list(data)[-1]
    other = [part[draw.permutation(len(part))] for part in data[last]]
    inputs = data | {"both": list(map(np.hstack, zip(*data.values())))}
    inputs[f"both, {last} shuffled"] = list(
        map(np.hstack, zip(*(data | {last: other}).values())))
    return {name: ways(parts, labels) for name, parts in inputs.items()}

def paid(val, test, labels, miss, alarm):
    """The mean cost in test, at your threshold from validation."""
    cut = threshold(torch.from_numpy(val), torch.from_numpy(labels[1]), miss, alarm)
    return (miss * labels[2] * (test < cut) + alarm * (1 - labels[2]) * (test >= cut)).mean()

def regrets(score, utility, ratings, draw):
    """The best utility minus that of the first in the list, equals by lot: old, new."""
    score, found = score + 1e-9 * draw.random(score.shape), []
    for part in (OLD, NEW):
        shut = ~np.isnan(ratings[:, part]) & (part == OLD)
        value, mark = (np.where(shut, -np.inf, x[:, part]) for x in (utility, score))
        picked = np.take_along_axis(value, mark.argmax(1)[:, None], 1)[:, 0]
        found.append((value.max(1) - picked).mean())
    return found

# %% tags=["measured", "proof"]
# Patients: a real record, and four pictures drawn from other columns of the real table.
def outline(radius, rough, draw, noise=0.8, side=16):
    place = (np.arange(side) + 0.5) / side * 2 - 1
    y, x = np.meshgrid(place, place, indexing="ij")
    angle, turn = np.arctan2(y, x), draw.uniform(0, 2 * np.pi, 3)
    wave = sum(np.cos(k * angle + t) / 2 for k, t in zip((3, 5, 7), turn))
    inside = np.hypot(x, y) < radius * (1 + rough * wave)
    return inside + draw.normal(0, noise, (side, side))                    # (16, 16)

def patients(seed, views=4):
    """Record (569, 4), pictures (569, 4, 256), malignant (569,)."""
    table, benign = load_breast_cancer(return_X_y=True)
    draw, z = np.random.default_rng(seed), (table - table.mean(0)) / table.std(0)
    radius, rough = 0.3 + 0.12 * z[:, 0].clip(-1.5, 3), 0.1 + 0.1 * z[:, 7].clip(-1, 3)
    shown = [[outline(r, q, draw).ravel() for _ in range(views)] for r, q in zip(radius, rough)]
    return table[:, [1, 4, 8, 9]], np.array(shown), 1 - benign

# %% tags=["measured", "proof"]
# The parts: by patient, or by row.
def by_patient(seed, rows="patient"):
    """Parts of the rows (a row a picture): inputs, labels."""
    record, shown, label = patients(seed)
    who = np.repeat(np.arange(569), 4)
    draw = np.random.default_rng([1, seed])
    order = draw.permutation(569) if rows == "patient" else draw.permutation(len(who))
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    place = place[who] if rows == "patient" else place
    cuts = [0, len(order) // 2, len(order) * 7 // 10, len(order)]
    parts = [np.flatnonzero((a <= place) & (place < b)) for a, b in zip(cuts, cuts[1:])]
    rows_of = {"record": record[who], "picture": shown.reshape(len(who), -1)}
    data = {name: [table[p] for p in parts] for name, table in rows_of.items()}
    return data, [label[who][p] for p in parts], [who[p] for p in parts]

# %% tags=["measured", "proof"]
# What is drawn: a person, a sign or a bush on a road; the face of a caller.
def silhouette(kind, height, draw, side=24):
    place = np.arange(side) + 0.5
    u = (place - side / 2 - draw.uniform(-2, 2))[None, :] / height
    v = (side - 1 - place)[:, None] / height
    if kind == 0:                                                          # a person
        legs = (abs(u) > 0.04) & (abs(u) < 0.15) & (v >= 0) & (v <= 0.4)
        return (np.hypot(u, v - 0.88) < 0.12) | legs | ((abs(u) < 0.15) & (v > 0.4) & (v < 0.77))
    if kind == 1:                                                          # a sign
        return (np.hypot(u, v - 0.8) < 0.2) | ((abs(u) < 0.05) & (v >= 0) & (v < 0.7))
    return np.hypot(u / 0.45, (v - 0.45) / 0.5) < 1                        # a bush

def face(sign, draw, noise=1.0, side=12):
    """Two eyes and a mouth that bends by `sign`; the noise of a bad line."""
    shown = np.zeros((side, side))
    shown[3:5, [3, 8]] = 1
    for column in range(3, 9):
        bend = (abs(column - 5.5) - 1.5) * sign
        shown[int(round(8.5 - bend)), column] = 1
    return (shown + draw.normal(0, noise, shown.shape)).ravel()

# %% tags=["measured", "proof"]
# A road in fog: what camera and eight beams get of it; whether to brake.
def road(n, seed, sight=None, tall=None):
    """Picture (n, 576), range (n, 8) in m, brake (n,), sight (n,) in m, distance (n,)."""
    draw = np.random.default_rng(seed)
    kind, far = draw.integers(3, size=n), draw.uniform(6, 50, n)
    height = np.where(kind == 0, draw.uniform(1, 1.9, n), draw.uniform(0.8, 2.2, n))
    height = height if tall is None else np.full(n, tall)
    sight = np.exp(draw.uniform(*np.log((15, 200)), n)) if sight is None else np.full(n, sight)
    shown = np.stack([silhouette(k, 90 * h / d, draw) for k, h, d in zip(kind, height, far)])
    shown = 1 - 0.8 * shown * np.exp(-3 * far / sight)[:, None, None]
    shown += draw.normal(0, 0.15, shown.shape)
    half = np.array([0.25, 0.25, 0.6])[kind] / far                         # of its width, as angle
    hit = abs(np.arange(8) - 3.5)[None] * 0.01 <= np.maximum(half, 0.005)[:, None]
    back = hit & (draw.random((n, 8)) > 0.1)
    beams = np.where(back, far[:, None] + draw.normal(0, 1, (n, 8)), 60.0)
    return shown.reshape(n, -1), beams, ((kind == 0) & (far < 25)).astype(int), sight, far

# %% tags=["measured", "proof"]
# A gate: light and noise of an hour; what is seen, what is heard, what does not fit.
def gate(n, seed, share=0.0):
    """Picture (n, 64), sound (n, 8), kind (n,): 0 normal, 1 seen, 2 heard, 3 crossed."""
    draw = np.random.default_rng(seed)
    kind = np.where(draw.random(n) < share, draw.integers(1, 4, n), 0)
    hour = draw.uniform(0, 24, n)
    light = 1 / (1 + np.exp(-3 * np.cos((hour - 13) / 24 * 2 * np.pi)))
    crowd = light + draw.normal(0, 0.1, n)
    crowd = np.where(kind == 3, 1 - crowd, crowd)                          # noise at night ...
    wall = np.random.default_rng(0).uniform(0.5, 1, (8, 8))                # the same every day
    shown = light[:, None, None] * wall + draw.normal(0, 0.1, (n, 8, 8))
    for i, (row, column) in enumerate(draw.integers(0, 6, (n, 2))):
        walker = 0.25 * (draw.random() < light[i])
        shown[i, 3:6, column] -= walker
        shown[i, row : row + 2, column : column + 2] -= 0.25 * (kind[i] == 1)   # a bag is left
    heard = crowd[:, None] * np.linspace(1, 0.3, 8) + draw.normal(0, 0.2, (n, 8))
    heard[:, 5:] += 0.45 * (kind == 2)[:, None]                            # glass breaks
    return shown.reshape(n, -1), heard, kind

def unusual(inputs, labels):
    """-log p under the mixture of Gaussians (of normal rows) that validation ranks best."""
    train, val, test = inputs
    fitted = [GaussianMixture(k, reg_covar=1e-3, random_state=0).fit(train) for k in (1, 2, 4, 8)]
    best = max(fitted, key=lambda one: roc_auc_score(labels[1], -one.score_samples(val)))
    return -best.score_samples(val), -best.score_samples(test)

# %% tags=["measured", "proof"]
# Sounds as numbers: the pitch of a voice (as on page 27), bands; words in some voices.
def pitch(sounds):
    """The mean logarithm of the period of a sound, over loud pieces, (N,)."""
    pieces, _ = frames(*pad(sounds), n_fft=480, hop_length=240)            # (N, T, 480)
    window = torch.hann_window(480)
    again, alone = (torch.fft.irfft(torch.fft.rfft(x, n=1024).abs() ** 2)[..., 22:115]
                    for x in (pieces * window, window))                    # 364 down to 70 Hz
    alike = again / alone                                                  # (N, T, 93)
    best = alike.amax(2, keepdim=True)
    period = (22 + (alike >= 0.88 * best).int().argmax(2)).double().log()
    power = pieces.square().mean(2)
    loud = power > power.amax(1, keepdim=True) / 10
    return masked_mean(period[..., None], loud)[:, 0].numpy()

def spoken(voices, words):
    """Each word in each voice: sounds, who (a number from 0)."""
    folder = reads(DATA / "digits") / "speech"
    files = [(k, folder / f"{v:02d}_{w}.flac") for k, v in enumerate(voices) for w in words]
    return [open_sound(file, rate=8_000) for _, file in files], np.array([k for k, _ in files])

def heard(sounds):
    """Of each sound: its pitch, and the mean over time of 20 mel bands, (N, 21)."""
    sound, mask = pad(sounds)
    bands, there = log_mel(sound, mask, n_fft=256, hop_length=128, n_mels=20)
    return np.column_stack([pitch(sounds), masked_mean(bands, there)])

# %% tags=["measured", "proof"]
# A house: a word from one of four people, temperature and motion; the right action.
LIKES = np.array([15.5, 18.0, 20.5, 23.0])                     # from here, 3 degrees

def house(n, seed, split, voices=(11, 17, 7, 10)):
    """Sensors (n, 9), sound (n, 21), action (n,) 0 none, 1 heat, 2 cool; who (n,)."""
    words = np.random.default_rng([3, seed]).permutation(10)               # six, two and two
    draw, words = np.random.default_rng([seed, split]), np.split(words, [6, 8])[split]
    sounds, who = spoken(voices, words)
    clip = draw.integers(len(sounds), size=n)
    who, there = who[clip], draw.random(n) < 0.7                           # or the radio speaks
    warm = draw.uniform(13, 28, n)
    motion = draw.normal(size=(n, 8)) + there[:, None]
    action = there * (1 * (warm < LIKES[who]) + 2 * (warm > LIKES[who] + 3))
    sensors = np.column_stack([warm + draw.normal(0, 0.3, n), motion])
    return sensors, heard(sounds)[clip], action, who

# %% tags=["measured", "proof"]
# Calls: words, tone of voice and face, from `moods`, in parts by voice; bad mood is 1.
def calls(n, seed):
    """Parts by voice: words, voice and face of n calls, and whether the mood is bad."""
    moods, draw = Moods("train", size=n, seed=seed), np.random.default_rng([2, seed])
    rows = json.loads((reads(DATA / "moods") / "manifest.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row["split"] == "train"]
    voice = np.array([row["voice"] for row in rows])
    tone = pitch(moods.sounds)
    own = np.array([tone[voice == v].mean() for v in voice])
    texts = sorted({row["text"] for row in rows})
    lexicon = sorted({word for text in texts for word in text.lower().strip(".").split()})
    place, sign = moods.places.numpy(), moods.says[:, 2].numpy()
    words = np.array([[w in t.lower().strip(".").split() for w in lexicon] for t in moods.texts])
    shown = np.array([face(s, draw) if s else np.zeros(144) for s in sign])
    data = {"words": 1.0 * words, "voice": (tone - own)[place, None],
            "face": np.column_stack([shown, sign != 0])}
    order = draw.permutation(18)
    groups = [np.isin(voice[place], part) for part in np.split(order, [11, 14])]
    data = {name: [rows[g] for g in groups] for name, rows in data.items()}
    return data, [1 - moods.labels.numpy()[g] for g in groups]

# %% tags=["measured", "proof"]
# A shop: items with a picture (colour), a title (shape), a quality; what users like.
def shop(seed, users=300):
    """Utility (300, 320), ratings (NaN where none), pictures (320, 192), titles (320, 26)."""
    draw = np.random.default_rng([seed, 5])
    colour, shape = draw.integers(6, size=(2, 320))
    taste, form = draw.normal(size=(2, users, 6))
    utility = taste[:, colour] + form[:, shape] + draw.normal(0, 0.7, 320)
    paint = np.random.default_rng(1).uniform(0, 1, (6, 3))
    shown = paint[colour][:, None] * (draw.random((320, 64, 1)) < 0.4)
    shown = (shown + draw.normal(0, 0.3, (320, 64, 3))).reshape(320, -1)
    title = np.column_stack([np.eye(6)[shape], draw.random((320, 20)) < 0.2])
    rated = draw.random((users, 320)) < 0.15
    ratings = np.where(rated, utility + draw.normal(0, 1, utility.shape), np.nan)
    return utility, ratings, shown, title, taste[:, colour] + form[:, shape]

OLD, CHECKED, NEW = slice(0, 200), slice(200, 260), slice(260, 320)

def ridge(x, y, penalty):
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)

# %% tags=["measured", "proof"]
# Matrix factorisation by turns; ridge regression from content.
def factors(ratings, k, penalty, rounds=10):
    """Users (U, k + 1), items (k + 1, N), whose product is near the ratings that are there."""
    draw, there = np.random.default_rng(0), ~np.isnan(ratings)
    items = np.vstack([draw.normal(0, 0.5, (k, ratings.shape[1])), np.ones(ratings.shape[1])])
    for _ in range(rounds):
        users = np.array([ridge(items[:, t].T, row[t], penalty)
                          for row, t in zip(ratings, there)])
        for j, t in enumerate(there.T):
            rest = ratings[t, j] - users[t, k]
            items[:k, j] = ridge(users[t, :k], rest, penalty)
    return users, items

def like_ratings(pred, ratings):
    there = ~np.isnan(ratings)
    return np.corrcoef(pred[there], ratings[there])[0, 1] if np.ptp(pred) else 0.0

def from_content(content, users, items, ratings):
    """Ridge regression from the content of old items to their factors: scores of all."""
    one = np.ones((len(content), 1))
    content = np.hstack([content, one])
    preds = [users @ np.hstack([content @ ridge(content[OLD], items[:-1].T, p), one]).T
             for p in (0.1, 1, 10, 100, 1000)]
    return max(preds, key=lambda pred: like_ratings(pred[:, CHECKED], ratings[:, CHECKED]))

# %% tags=["measured", "proof"]
# Ways to choose what a user sees first; the dials by the ratings of items held back.
def shown_first(seed):
    """{way: mean regret among old items not yet rated, among new ones}."""
    utility, ratings, picture, title, taste = shop(seed)
    draw, kept = np.random.default_rng(seed), np.random.default_rng([6, seed])
    known = np.where(kept.random(ratings.shape) < 0.8, ratings, np.nan)[:, OLD]
    held = np.where(np.isnan(known), ratings[:, OLD], np.nan)
    dials = [(k, penalty) for k in (6, 12, 24) for penalty in (3, 6, 10, 15)]
    best = max(dials, key=lambda one: like_ratings(np.matmul(*factors(known, *one)), held))
    users, items = factors(ratings[:, OLD], *best)                         # all that there are
    liked, by_user = np.zeros(utility.shape), np.zeros(utility.shape)      # new ones stay equal
    there = ~np.isnan(ratings[:, OLD])
    liked[:, OLD] = np.nansum(ratings[:, OLD], 0) / (there.sum(0) + 5)
    by_user[:, OLD] = users @ items
    picture, title = (encoded([x[OLD], x], 32)[1] for x in (picture, title))
    texts = title[draw.permutation(320)]
    contents = {"picture": picture, "title": title, "both": np.hstack([picture, title]),
                "both, titles shuffled": np.hstack([picture, texts])}
    ways = {"by lot": 0 * utility, "most liked": liked, "ratings": by_user}
    ways |= {n: from_content(c, users, items, ratings) for n, c in contents.items()}
    ways["all that content can tell"] = taste
    return {name: regrets(score, utility, ratings, draw) for name, score in ways.items()}

# %% tags=["figure"]
# What is drawn, and what of it the systems see; a word; moments at the gate.
draw = np.random.default_rng(0)
pairs = {"clinic: an outline": [outline(0.5, 0.3, draw, n) for n in (0.0, 0.8)],
         "call: a face": [face(-1, draw, n) for n in (0.0, 1.0)]}
person = 1 - 0.8 * silhouette(0, 17, draw)
pairs["road: a person in fog"] = [person, 1 - 0.2 * (1 - person) + draw.normal(0, 0.15, (24, 24))]
figure, grid = plots.axes(width=8.4, height=3.6, columns=4, rows=2)
for column, (title, views) in enumerate(pairs.items()):
    for ax, view in zip(grid[:, column], views):
        ax.imshow(view.reshape(2 * [int(view.size**0.5)]), cmap="gray")
        ax.set(xticks=[], yticks=[])
    grid[0, column].set_title(title, fontsize=9)
grid[0, 3].plot(spoken([11], [3])[0][0], lw=0.5, color=plots.COLORS["audio"])
grid[0, 3].set(xticks=[], yticks=[])
grid[0, 3].set_title("house: a word", fontsize=9)
seen, noise, odd = gate(600, 0, 0.3)
for which, color, mark in ((0, "control", "o"), (3, "image", "X")):
    grid[1, 3].plot(seen[odd == which].mean(1), noise[odd == which].mean(1), mark, ms=3, ls="none",
                    color=plots.COLORS[color])
grid[1, 3].set(xlabel="gate: light", ylabel="noise")
plots.show(figure, "Top: what is drawn, and a spoken word. Below: the same as the systems get it,"
           " and moments at the gate: normal ones (dots), and crosses where light and noise do not"
           " fit. All pictures of this page are drawn by code.")

# %% tags=["figure"]
# A table of means and intervals.
def span(row, what, label=""):
    """Mean and interval, as numbers and in words; in per cent where the label says so."""
    middle, half = mean_interval(row[what] if what in row else row["accuracy"][what])
    factor, digits = (100, 1) if "%" in label else (1, 2)
    words = f"{factor * middle:.{digits}f} ± {factor * half:.{digits}f}"
    return factor * middle, factor * half, words

def listed(rows, names, **columns):
    """Print the columns of some rows."""
    wide = max(map(len, names))
    print(" " * wide, *(f"{label:>14}" for label in columns.values()))
    for name in names:
        print(f"{name:{wide}}", *(f"{span(rows[name], *one)[2]:>14}" for one in columns.items()))

def ahead(rows, what, label, *pairs, wider=1):
    """Print how much one row of each pair has more than the other, seed by seed."""
    factor, digits = (100, 1) if "%" in label or "points" in label else (1, 2)
    for pair in pairs:
        one, other = (row.get(what) or row["accuracy"][what] for row in map(rows.get, pair))
        mean, half = mean_interval(factor * np.subtract(one, other))
        print(f"{label}: {' minus '.join(pair)} {mean:+.{digits}f} ± {half * wider:.{digits}f}")

# %% tags=["figure"]
# The same, and its first columns as dots.
KINDS = {"text": ("record",), "image": ("picture",), "audio": ("sound",)}

def show(rows, names, caption, drawn=2, **columns):
    """Print them, and draw the first ones, each row in its colour."""
    listed(rows, names, **columns)
    figure, grid = plots.axes(7.6, 2.5, columns=drawn, sharey=True, squeeze=False)
    for ax, (what, label) in zip(grid[0], columns.items()):
        for place, name in enumerate(names):
            look = next((one for one, known in KINDS.items() if name in known), "fused")
            look = "control" if "shuffled" in name else look
            middle, half, _ = span(rows[name], what, label)
            ax.errorbar(middle, place, xerr=half, color=plots.COLORS[look], capsize=3,
                        marker=plots.MARKERS[look])
        ax.set_xlabel(label)
    grid[0, 0].set_yticks(range(len(names)), names)
    grid[0, 0].invert_yaxis()
    pictured(figure, caption)

# %% [markdown]
# ## One recipe for six systems
#
# Each modality is scaled and, if it has more than 16 numbers, cut to its first 16 principal components (the directions in which the rows differ most). Twelve small models of scikit-learn compete (five logistic regressions, four small networks, three forests, the mean of 100 decision trees each); validation picks one, by log loss, this course's cross-entropy. This is done for **each modality alone**, for **both** side by side (page 10's concatenation), and for the control: both, with the last modality **shuffled**, each row with that of another. So alone and both are tuned on the same list. Shop and gate need other models, named there. Ten seeds; ± is half of a 95 % interval over them. (In clinic and calls the ten splits share patients or voices: there intervals of *differences* are made wider, as on page 06.) How hard each world is we set by AUC, before any cost was computed. `system(data, labels, seed)`, folded, does it all.
#
# ## What a threshold costs
#
# A system gives scores; somebody has to be called or not. Six patients, a **miss** (漏报) costs 5, a **false alarm** (误报) costs 1:

# %%
six_scores = torch.tensor([0.9, 0.7, 0.7, 0.4, 0.2, 0.1], dtype=torch.float64)
six_labels = torch.tensor([1, 0, 1, 1, 0, 0])
for cut in (0.9, 0.7, 0.4, 0.2):
    called = six_scores >= cut
    misses, alarms = ((six_labels == 1) & ~called).sum(), ((six_labels == 0) & called).sum()
    print(f"threshold {cut}: {misses} missed, {alarms} false, cost {5 * misses + alarms}")

# %% [markdown]
# The lowest cost stands at 0.4: one false alarm. Between two neighbouring scores nothing changes. So only the scores themselves have to be tried, and one choice more.
#
# > **Exercise 31.1 · The threshold that costs least** — *11 minutes · core*
# >
# > - `scores` `(N,)` float, `labels` `(N,)` of 0 and 1, two costs.
# > - Return a threshold, one number. It will be used as `scores >= threshold`.
# > - No alarm at all must be possible, too (infinity), and so must an alarm for everybody. If several cost the same, any of them is right.

# %% exercise="31.1"
def threshold(
    scores: torch.Tensor, labels: torch.Tensor, cost_miss: float, cost_alarm: float
) -> float:
    """The threshold whose decisions `scores >= threshold` cost least on these cases.

    Example: scores [0.9, 0.7, 0.4, 0.1], labels [1, 0, 1, 0], costs 5 and 1: 0.4.
    """
    ### BEGIN SOLUTION
    cuts = torch.cat([scores.unique(), scores.new_tensor([torch.inf])])    # (K,)
    called = scores >= cuts[:, None]                                       # (K, N)
    true = labels.bool()
    costs = cost_miss * (true & ~called).sum(1) + cost_alarm * (~true & called).sum(1)
    return cuts[costs.argmin()].item()
    ### END SOLUTION

# %% [markdown] hints="31.1"
# <details><summary>A question that helps</summary>
#
# Which thresholds give different decisions? How many are there at most?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Go through all different scores and infinity. For each, count the positives below it and the negatives that reach it, each with its own cost. Keep the cheapest.
#
# </details>
# <details><summary>If the cost is higher than what you counted</summary>
#
# Did you cut a sorted list in the middle of equal scores? A threshold takes all of them or none.
#
# </details>

# %% [markdown]
# ### Where it breaks: larger, or at least as large?
#
# The threshold is one of the scores, so somebody stands exactly on it. A library, a colleague or a database may write `>`:

# %%
threshold = mine("31.1", threshold)
best_cut = threshold(six_scores, six_labels, 5, 1)

# %% tags=["fault"]
called = six_scores > best_cut
missed = ((six_labels == 1) & ~called).sum().item()
print("nobody is missed, as on validation:", missed == 0)

# %% [markdown]
# Nothing raises, and the cost is six times that of the search.

# %%
called = six_scores >= best_cut
missed = ((six_labels == 1) & ~called).sum().item()
print("nobody is missed, as on validation:", missed == 0)

# %% [markdown] owes="F52 F147 F152"
# ## 1 · A patient's record and pictures
#
# *Real:* 569 tumours of scikit-learn's breast-cancer table, of which 37 % are malignant. Its four weaker columns (texture, smoothness, symmetry, fractal dimension) are the **record**. *Drawn by us:* four noisy pictures a patient, outlines whose size and roughness come from two other columns, the real mean radius and concave points. So the picture is a stand-in, no scan.
#
# Before we looked, we set: a missed cancer costs 20, a needless examination 1. A patient's score is the mean over four rows, one a picture. Half of the *patients* train, a fifth chooses model and threshold, the rest tests.

# %%
clinic = stored("31", "patient")                               # python tools/sweep.py 31 patient
show(clinic, ("record", "picture", "both", "both, picture shuffled"), "The clinic: both rank best;"
     " at the threshold from validation they cost least, in the mean.",
     auc="AUC", cost="cost", half="at 1/2", odds="at 1/21")
for name in ("nobody is called", "all are called"):
    print(f"{name}: cost {span(clinic[name], 'cost')[2]}")
gap, half = mean_interval(np.subtract(clinic["both"]["cost"], clinic["both"]["odds"]))
print(f"both, cost minus that at 1/21: {gap:.2f} ± {7**0.5 * half:.2f} (made wider)")

# %% [markdown]
# Both together rank best. "Nobody" is right for 60 % of the patients (the ten test parts happen to hold 40 % malignant) and costs most. To call everybody costs 0.60, and neither modality alone is shown to cost less. A threshold of one half costs two to four times as much as the one that validation chose (column "cost").
#
# There is a second way. Let $C_m$ be the cost of a miss and $C_a$ that of a false alarm. If a score is the true probability $p$, an alarm is worth its price when $p\,C_m \ge (1 - p)\,C_a$, that is $p \ge C_a / (C_m + C_a)$, here 1/21. No search is needed. With both modalities that costs 0.32 (last column) and the searched threshold 0.45; a difference is not shown, 0.13 ± 0.37 (made 2.6 times wider). But the rule needs true probabilities; for the road's range sensor, below, the search is far ahead.
#
# Four rows a patient are a trap. We draw the labels **by lot**, one a patient: there is nothing to learn. The nearest training row (scaled record alone) answers. If *rows* are split at random instead of patients, how many per cent will it have right?

# %%
guess("31.a", None)

# %%
print(f"{'nearest row, right in %':24}{'rows split':>15}{'patients split':>18}")
for name in ("record", "both"):
    for kind in ("true", "by lot"):
        cells = [span(clinic[f"{name}, split by {by}, {kind}"], "right", "%")[2]
                 for by in ("row", "patient")]
        print(f"{name + ', labels ' + kind:24}{cells[0]:>15}{cells[1]:>18}")
outcome("31.a", round(span(clinic["record, split by row, by lot"], "right", "%")[0]), within=5)
data, labels, _ = by_patient(0)                                # your threshold, on the first split
both = list(map(np.hstack, zip(*map(encoded, data.values()))))
val, test = (side[:, 1].reshape(-1, 4).mean(1) for side in chosen(both, labels))
live = paid(val, test, [part[::4] for part in labels], 20, 1)
report("both, cost, live minus stored", live - clinic["both"]["cost"][0], near=0, within=0.1)

# %% [markdown] owes="F51 F146 F153"
# Where labels are by lot, two patients agree in 0.37² + 0.63² = 53 %. The split by rows has 94.0 ± 1.4 % right: a record is the same in all four rows, so it names its patient. With true labels the same split promises 97 %, and new patients get 74 %. With the noisy pictures beside the record the nearest row is hardly ever the patient's own any more, and the split by rows gains nothing, here. So the model that one happens to try may hide a leak. Split by patient.
#
# *Limit:* pictures were drawn from the same table, ten splits share its 569 rows, and no doctor was asked. No clinical claim.
#
# ## 2 · A road in fog
#
# *Drawn:* a person, a sign or a bush, 6 to 50 m away. Brake if it is a person nearer than 25 m (13 % of cases). A child that is near and a man who is far fill the same pixels, and fog takes contrast away, by $e^{-3d/V}$ at distance $d$ and sight $V$ (Koschmieder, 1924: at $d = V$ a twentieth is left). Eight **range** beams give the distance to 1 m, a tenth of them is lost, and no beam knows what it hit. Set before we looked: a person not seen costs 50, needless braking 1.

# %%
street = stored("31", "road")                                  # python tools/sweep.py 31 road
for name, row in list(street.items()):                         # the last column stands in rows
    if f"{name}, model chosen by cost" in street:
        row["by_cost"] = street[f"{name}, model chosen by cost"]["cost"]
listed(street, ("picture", "range", "both", "both, range shuffled"),
       auc="AUC", cost="cost", odds="at 1/51", by_cost="model by cost")
listed(street, ("range", "both"), missed="missed, %", false="braked, %")
BOTH, RANGE = (f"{name}, model chosen by cost" for name in ("both", "range"))
ahead(street, "auc", "AUC, points", ("both", "range"), (BOTH, RANGE))
ahead(street, "cost", "cost", ("both", "range"), ("both", BOTH), (BOTH, RANGE))

# %% tags=["figure"]
# AUC by sight; and one part of the table again, with your threshold.
sights = ("15 to 35", "35 to 85", "85 to 200")
figure, ax = plots.axes(width=6.4, height=2.6)
for shift, (name, color, mark) in enumerate((("picture", "image", "o"), ("range", "audio", "^"),
                                             ("both", "fused", "D"))):
    spans = [mean_interval(street[f"{name}, sight {one}"]["auc"]) for one in sights]
    ax.errorbar(np.arange(3) + 0.12 * (shift - 1), *zip(*spans), color=plots.COLORS[color],
                marker=mark, ls="none", capsize=2, label=name)
ax.set_xticks(range(3), [f"{one} m" for one in sights])
ax.set(xlabel="how far one can see", ylabel="AUC")
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(figure, "AUC by how far one can see. The picture loses in fog; the range sensor, by"
           " construction, does not.")
parts = [road(n, [0, k]) for k, n in enumerate((1500, 700, 1500))]
labels = [part[2] for part in parts]                           # your threshold, on the first seed
val, test = (side[:, 1] for side in chosen(encoded([part[1] for part in parts]), labels))
live = paid(val, test, labels, 50, 1)
report("range, cost, live minus stored", live - street["range"]["cost"][0], near=0, within=0.1)

# %% [markdown] owes="F145 F151"
# By AUC both are 2.0 ± 0.6 points ahead of the range sensor. By cost they are behind it, by 0.11 ± 0.09: the range sensor misses 1.2 % and brakes for 24 % of the rest, both miss 2.1 % and brake for 30 %. Is it the fusion, or our way to choose a model, by log loss? Let validation choose the model, too, by its cost at the best threshold (last column): both then cost 0.12 ± 0.07 less, and are level with the range sensor (a difference of -0.01 ± 0.08). So the choice of the model was the trap. The lead in AUC stays, 2.2 ± 0.5 points, and buys nothing that shows at this price.
#
# <details><summary>Is it the fog that limits the picture, or the things' size?</summary>
#
# Size is not what limits the picture most: with all things equally tall (1.5 m) it gains 1.6 ± 1.1 points; from thick fog to clear sight, 15.3 ± 2.7.
#
# </details>
#
# *Limit:* one thing in an empty scene, a camera read by 16 components and small models, no convolutional net, and a range sensor that fog leaves alone. A real laser loses in fog, too (Bijelic and others, 2020).

# %% [markdown]
# ## More: 3 · A house that knows you
#
# *More: nothing later needs this section.* *Clips of a synthesiser:* four voices, chosen by us for their pitch, say a digit's name. *Drawn:* temperature, and eight noisy readings of a motion sensor. Each person likes another range of three degrees. The house heats, cools or does nothing; and nothing, if nobody is there and the word came from the radio (three in ten). Six words train, two choose, two test; each seed draws them anew.

# %%
home = stored("31", "house")                                   # python tools/sweep.py 31 house
listed(home, ("nothing, always", "sensors", "sound", "both", "both, sound shuffled",
              "named first, by sound", "named first, by pitch", "person known"), right="right, %")
ahead(home, "right", "points", ("both", "sensors"), ("both, sound shuffled", "sensors"),
      ("named first, by sound", "both"), ("named first, by pitch", "named first, by sound"),
      ("person known", "named first, by pitch"))
for by in ("sound", "pitch"):
    sure = [span(home[f"a visitor, by {by}"], key)[2] for key in ("own", "sure")]
    print(f"who it is, by {by}: {span(home[f'who it is, by {by}'], 'right', '%')[2]} % right;"
          f" largest probability {sure[0]}, of visitors {sure[1]}")

# %% [markdown] owes="F53 F143 F156"
# The word alone says nothing of what to do. Beside the sensors it gains 6.7 ± 2.4 points; shuffled it gains none and loses 1.8 ± 1.2. "Named first" cuts the task in two: one model says *who*, and its answer goes as four columns beside the sensors. That has 4.4 ± 3.0 points more than both side by side, though it names only 79 % of the words rightly. And a step of its own can be tested, and mended, alone: the pitch, one of the sound's 21 numbers, names 97 % (we chose the four by their pitch). With it the house gains 3.6 ± 2.4 points more, and to a person known no difference is shown (0.5 ± 0.7). The two steps were also told more: who spoke, in training.
#
# And a **visitor** gets a resident's name, by the sound as surely as residents do (0.87 and 0.89), by the pitch nearly as surely (0.91 and 0.97): a classifier of four names has no word for a stranger.
#
# <details><summary>Limits</summary>
#
# Four voices, eight clips in a test. Who is allowed to be listened to, and whether they agreed, comes before all this.
#
# </details>

# %% [markdown]
# ## More: 4 · A shop with new items
#
# *More: nothing later needs this section.* *Drawn, so that the truth is known:* 300 users, 200 old items, 60 to choose the dials, 60 new. A user's **utility** of an item is a taste for its colour, plus a taste for its shape, plus a quality that all users share. The picture shows the colour, the title names the shape among twenty other words, nothing shows the quality. One rating in seven exists, with noise; new items have none. That is the **cold start** (冷启动).
#
# **Matrix factorisation** (矩阵分解) gives each user and each item a vector, so that their dot product is near the ratings that exist. For a new item there is nothing to be near to: all new ones get the same score, and the first is chosen by lot. From content: ridge regression from picture, title or both to the *old* items' vectors, and then the same dot product. What counts is the **regret** (遗憾): the utility of the best item on the shelf minus that of the one we show.

# %%
store_runs = stored("31", "shop")                              # python tools/sweep.py 31 shop
listed(store_runs, list(store_runs), old="regret, old", new="regret, new")
ahead(store_runs, "new", "new", ("ratings", "by lot"), ("title", "both"), ("picture", "both"))
ahead(store_runs, "old", "old", ("both", "ratings"), ("both", "most liked"))

# %% [markdown] owes="F154"
# For new items ratings do no better than the lot (-0.05 ± 0.10), as expected, since all new items have one score, and "most liked" neither: nobody has liked them yet. Content works: both have 0.33 ± 0.16 less regret than the title and 0.76 ± 0.23 less than the picture, and with shuffled titles this is gone. From content there are still 1.3 to go to a shop that knew all tastes.
#
# <details><summary>Old items, and limits</summary>
#
# For old items it is the other way round. There ratings are better than content by 0.53 ± 0.14, and from "most liked", which knows no user, content does not differ (0.04 ± 0.24): it knows the user and not the quality, "most liked" the quality and not the user.
#
# In a real shop nobody knows the utility. One sees what was shown and bought, and what was shown was chosen by the last system.
#
# </details>

# %% [markdown]
# ## 5 · A call, and when a human takes over
#
# The clips of `moods` (page 27): a sentence in a tone of voice. *Drawn:* a face whose mouth bends up or down, on a bad line, and in half of the calls no camera. The voice is its pitch against the same caller's mean, so it takes somebody who called before. Each of the three often says nothing and sometimes lies; somebody who could read them all perfectly would have 88 % right. Is the caller in a bad mood? Eleven of 18 voices train, three choose, four test.
#
# A wrong answer costs 10, a human 1. So the question is your `threshold` again: the score is the *doubt*, 1 minus the largest probability; the label is "the model was wrong". A miss then costs 9 more than a human.

# %%
centre = stored("31", "calls")                                 # python tools/sweep.py 31 calls
listed(centre, list(centre), right="right, %", cost="cost", left="4/5 kept, %",
       sent="to humans, %")
wider = (1 + 10 * 4 / 11) ** 0.5                               # ten splits, 11 voices train, 4 test
ahead(centre, "right", "points", ("both", "words"), ("both", "both, face shuffled"),
      ("product", "both"), wider=wider)
ahead(centre, "cost", "cost", ("words", "product"), wider=wider)
spared, half = mean_interval(1 - np.array(centre["product"]["cost"]))
print(f"a human for every call minus product: {spared:.2f} ± {half * wider:.2f};",
      f"product cheaper in {sum(cost < 1 for cost in centre['product']['cost'])} of 10 splits")

# %% [markdown] owes="F144 F155"
# All three together ("both") have 80 %, 10.7 ± 7.1 more than the words (made 2.2 times wider: ten splits share 18 voices). With the face of another call (shuffled) they have 2.7 ± 3.7 less: what the face adds is not shown. The **product** of the three models' probabilities, right in theory where the modalities are independent given the mood, is not clearly better (0.7 ± 5.3).
#
# <details><summary>Why not page 27's 84.0 %?</summary>
#
# There the words are read by rated texts, and the emoji are not drawn on a bad line; but here the sentences are known.
#
# </details>
#
# Now the price. To send *every* call to a human costs 1. Words alone cost 1.08, so there the humans may as well take all. Voice alone costs 1.26 ± 0.37: its threshold was chosen on three voices, and may fail on others. The product costs least, 0.82, 0.25 ± 0.22 less than the words, and sends 57 % to humans; of the surest four fifths it has 88 % right. Is it cheaper than a human for every call? In nine splits of ten, yes; widened, 0.18 ± 0.21 is not shown.
#
# *Limit:* callers say the eighteen sentences of training. And "a human is always right" is our assumption; measure it as well.
#
# ## 6 · A gate at night
#
# *Drawn:* by day a gate is light and loud, at night dark and quiet; walkers pass. Training has **normal moments only**. Three kinds of anomaly: something is left in the picture (*seen*), glass breaks (*heard*), and the noise of a crowd at night or silence at noon (*crossed*): picture and sound are each as usual, and do not fit each other. The score is $-\log p$ under a mixture of Gaussians (a density made of a few bells), whose size validation chose among 1, 2, 4 and 8.

# %%
guard = stored("31", "gate")                                   # python tools/sweep.py 31 gate
show(guard, ("picture", "sound", "both", "both, pairs of training shuffled"), "At the gate: each"
     " modality sees its own kind of anomaly, and only both what is crossed.", drawn=4,
     auc="AUC of all", seen="of seen", heard="of heard", crossed="of crossed")
ahead(guard, "heard", "AUC of heard, points", ("sound", "both"))

# %% [markdown]
# Only both together notice what is crossed, and if the pairs of training are shuffled, which leaves each modality as it was, this is gone. For what is *heard*, both are worse than the sound alone (by 6.5 ± 1.9 points).
#
# Now the price. A break-in not seen costs 100, a guard who walks over 1, set before we looked. Validation was *collected*: one moment in three is an anomaly. At the gate it is one in a hundred. With $s$ the share of positives in use (in medicine the **prevalence** (患病率)), $M$ the share of positives that are missed and $A$ the share of negatives with an alarm, both counted in the sample, each within its own class, a case costs
#
# $$ K_s = s \, C_m \, M + (1 - s) \, C_a \, A \tag{31.1} $$
#
# > **Exercise 31.2 · The cost in use** — *5 minutes · core*
# >
# > - `scores` `(N,)`, `labels` `(N,)` of 0 and 1, both kinds present; the alarm is `scores >= cut`.
# > - Return (31.1), a number or a tensor that holds one. `share` is $s$, the share of positives in use.

# %% exercise="31.2"
def cost_in_use(
    scores: torch.Tensor,
    labels: torch.Tensor,
    cut: float,
    cost_miss: float,
    cost_alarm: float,
    share: float,
) -> torch.Tensor:
    """The mean cost of a case where `share` of the cases are positive, not as many as here.

    Example: scores [0.9, 0.7, 0.4, 0.1], labels [1, 0, 1, 0], cut 0.5, costs 10 and 1, share 0.1:
    0.1 * 10 * 0.5 + 0.9 * 1 * 0.5 = 0.95.
    """
    ### BEGIN SOLUTION
    called, true = scores >= cut, labels.bool()                            # (N,) both
    missed = (~called[true]).double().mean()
    false = called[~true].double().mean()
    return share * cost_miss * missed + (1 - share) * cost_alarm * false
    ### END SOLUTION

# %% [markdown] hints="31.2"
# <details><summary>A question that helps</summary>
#
# Of the positives of the sample, which share is missed? Does that share depend on how many positives there are?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Two means: of "no alarm" over the positives, and of "alarm" over the negatives. Weigh the first by the share and the cost of a miss, the second by the rest and the cost of an alarm.
#
# </details>
# <details><summary>If the cost hardly changes with the share</summary>
#
# Did you divide by all cases? Divide by those of the class.
#
# </details>

# %% [markdown]
# How do you get the threshold for it? By the one you have. In a sample with a share $q$ of positives, your search makes $q\,C_m M + (1 - q)\,C_a A$ small. Give it the costs $C_m\,s/q$ and $C_a\,(1 - s)/(1 - q)$ in place of $C_m$ and $C_a$, and this becomes (31.1).

# %%
cost_in_use = mine("31.2", cost_in_use)
parts = [gate(n, [0, k], s) for k, (n, s) in enumerate(((1500, 0.0), (600, 1 / 3)))]
both = list(map(np.hstack, zip(*(encoded([p[k] for p in parts]) for k in (0, 1)))))
odd_ones = (parts[1][2] > 0).astype(int)
surprise = torch.from_numpy(unusual([*both, both[1]], [None, odd_ones])[0])
known = torch.from_numpy(odd_ones)
q, share = known.double().mean().item(), 0.01
for name, costs in (("as it is", (100, 1)), ("for use", (100 * share / q, (1 - share) / (1 - q)))):
    cut = threshold(surprise, known, *costs)
    live = cost_in_use(surprise, known, cut, 100, 1, share).item()
    print(f"threshold {name}: cost in use {live:.2f}")
report("for use, live minus stored", live - guard["both"]["promised"][0], near=0, within=0.05)
listed(guard, ("picture", "sound", "both", "both, sound shuffled"), cost="cost",
       as_it_is="as it is", quantile="at a quantile", precision="precision")
print("no alarm at all: cost", span(guard["no alarm"], "cost")[2])
print("both, on the collected sample: cost promised", span(guard["both"], "promised")[2],
      " precision", span(guard["both"], "precision_third")[2])
for what, key in (("for use", "alarms_cost"), ("as it is", "alarms_as_it_is")):
    print(f"both, threshold {what}: alarm in {span(guard['both'], key, '%')[2]} % of the moments")

# %% tags=["proof"]
# (31.1) by a loop; the search for it; and one part of house, shop and calls again.
lot = torch.Generator().manual_seed(0)
some = torch.randn(60, generator=lot, dtype=torch.float64)
marks = (torch.rand(60, generator=lot) < 0.4).long()
yes, no = some[marks == 1].tolist(), some[marks == 0].tolist()
rates = sum(s < 0.3 for s in yes) / len(yes), sum(s >= 0.3 for s in no) / len(no)
verify("31.1", by_hand=0.05 * 7 * rates[0] + 0.95 * 2 * rates[1],
       reference=cost_in_use(some, marks, 0.3, 7, 2, 0.05))
part_of = len(yes) / 60
best = threshold(some, marks, 7 * 0.05 / part_of, 2 * 0.95 / (1 - part_of))
least = min(cost_in_use(some, marks, c, 7, 2, 0.05) for c in [*some.tolist(), torch.inf])
assert abs(cost_in_use(some, marks, best, 7, 2, 0.05) - least) < 1e-9
parts = [house(n, 0, k) for k, n in enumerate((1200, 600, 1200))]
named = chosen(encoded([part[1] for part in parts]), [part[3] for part in parts])[1].argmax(1)
once = home["who it is, by sound"]["accuracy"]["right"][0]
assert abs((named == parts[2][3]).mean() - once) < 0.02
assert abs(shown_first(0)["both"][1] - store_runs["both"]["new"][0]) < 0.1
data, labels = calls(3000, 0)
told = chosen(encoded(data["words"]), labels)[1].argmax(1)
assert abs((told == labels[2]).mean() - centre["words"]["accuracy"]["right"][0]) < 0.03

# %% [markdown]
# With the threshold as validation gave it, 96 % of all moments (of 10,000) are alarms, and a moment costs 0.96, as much as no alarm at all. Corrected, it costs 0.48, and validation had promised 0.46: the same ranking, the same model, half of the price. Without any anomaly to learn from one takes a quantile of normal moments, here 99 %: 0.64. Note the precision (average precision, in use): 0.27. On the collected sample it was 0.78. AUC does not see that difference (page 09); the guard does, who is called in 17 % of the moments, for one anomaly in a hundred.
#
# *Limit:* our anomalies are of three known kinds. The next one is of a fourth, and validation has none of it.
#
# ## The bet of page 30
#
# In clinic, road and gate a miss costs more than a false alarm. Each has two modalities. Rank the two and their fusion by AUC, and by cost. *Ada: in at least one of the three the rankings differ. Ben: they are the same in all three.* They differ where, of some pair, one leads clearly by AUC and the other clearly by cost: both intervals of the paired differences keep clear of 0.

# %%
BETS = {"clinic": (clinic, ("record", "picture"), 7**0.5),
        "road": (street, ("picture", "range"), 1), "gate": (guard, ("picture", "sound"), 1)}
print(f"{'first minus second':34}{'AUC, points':>16}{'cost saved':>16}")
for name, (rows, (one, other), wider) in BETS.items():
    for a, b in ((one, other), ("both", one), ("both", other)):
        leads = [(mean_interval(np.subtract(rows[a]["auc"], rows[b]["auc"]) * 100), 1),
                 (mean_interval(np.subtract(rows[b]["cost"], rows[a]["cost"])), 2)]
        cells = [f"{lead:.{d}f} ± {half * wider:.{d}f}" for (lead, half), d in leads]
        print(f"{name + ': ' + a + ', ' + b:34}{cells[0]:>16}{cells[1]:>16}")
outcome("30.c", "Ada")

# %% [markdown]
# Ada wins, by the road alone: there both lead the range sensor by AUC and cost more. That holds for models chosen by log loss, as everywhere on this page; chosen by cost, the two cost the same and nothing turns round. At the gate all three pairs agree, and clearly. In the clinic no difference in cost is clear: we cannot tell, and a tie is no turn. With other costs than these the rankings may be others. So choose model and threshold by what you will pay.
#
# ## With the library
#
# The same in plain scikit-learn, 1.5 or later: `TunedThresholdClassifierCV` searches the threshold inside cross-validation. Give it your cost and, where several rows share a patient, a split by groups.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV


def saved(y, told):
    (_, false), (missed, _) = confusion_matrix(y, told, labels=[0, 1])
    return -(20 * missed + false)

table, benign = load_breast_cancer(return_X_y=True)
model = LogisticRegression(max_iter=5_000)
tuned = TunedThresholdClassifierCV(model, scoring=make_scorer(saved), cv=5)
tuned.fit(table[:400, :5], 1 - benign[:400])
print("a miss costs 20: threshold below one half:", tuned.best_threshold_ < 0.5)

# %% [markdown] owes="F158 F159 F160 F210"
# ## The rest of the list
#
# <details><summary>What else is named when people list uses of multimodal learning, which pages have its tools, and where to read on</summary>
#
# | application | what meets | pages | read on |
# |---|---|---|---|
# | VR, AR | head and hand sensors, picture, speech | 06, 29 | Grauman and others, *Ego4D*, CVPR 2022 |
# | games | screen, text, actions | 28 | Fan and others, *MineDojo*, NeurIPS 2022 |
# | navigation | instruction, view | 15, 26 | Anderson and others, *Vision-and-Language Navigation*, CVPR 2018 |
# | driving | cameras, lidar, radar, maps | 06, 32 | Caesar and others, *nuScenes*, CVPR 2020; Bijelic and others, *Seeing Through Fog Without Seeing Fog*, CVPR 2020 |
# | where a vehicle is, how it is turned | cameras, inertial sensor, GPS | 06 | Geiger and others, *Vision meets Robotics: The KITTI Dataset*, International Journal of Robotics Research 2013 |
# | medicine | slides, record, genes | this page, 1 | Cheerla, Gevaert, *Deep Learning with Multimodal Representation for Pancancer Prognosis Prediction*, Bioinformatics 2019 |
# | traffic, city | many sensors on a map, clock | 06 | Li and others, *Diffusion Convolutional Recurrent Neural Network*, ICLR 2018 |
# | agriculture | leaf pictures, weather, soil | 04, 06 | Mohanty, Hughes, Salathé, *Using Deep Learning for Image-Based Plant Disease Detection*, Frontiers in Plant Science 2016 |
# | education | answers, clicks, text | 18 | Choi and others, *EdNet*, AIED 2020 |
# | manufacturing | picture, 3D scan | this page, 6 | Bergmann and others, *The MVTec 3D-AD Dataset*, VISAPP 2022 |
# | energy | load, weather, calendar | 06 | Hong and others, *Probabilistic energy forecasting*, International Journal of Forecasting 2016 |
# | finance | prices, messages | 06, 27 | Xu, Cohen, *Stock Movement Prediction from Tweets and Historical Prices*, ACL 2018 |
# | robots | camera, instruction, joints | 28 | Brohan and others, *RT-1*, 2022 (arXiv:2212.06817) |
# | user interface | speech and pointing | 06, 29 | Bolt, *Put-that-there*, SIGGRAPH 1980; Oviatt, *Ten myths of multimodal interaction*, Communications of the ACM 1999 |
#
# </details>
#
# ## Recap
#
# You can now
#
# 1. **build** the threshold that costs least: try every score and infinity, on validation, with `>=`;
# 2. **see** a split by rows recognise patients even from labels by lot, and, with More, a house whose step "who?" is mended alone;
# 3. **recommend**, with More, what nobody has rated, from content; ratings alone choose by lot there;
# 4. **decide** which calls go to a human: the least sure, up to where a mistake costs more;
# 5. **build** the cost in use and settle the bet: on the road the fusion ranked better and cost more than the range sensor alone, until its model was chosen by cost.
#
# ## Questions
#
# <details><summary>1. A model has the higher AUC and the higher cost. How can that be?</summary>
#
# AUC counts all pairs of a positive and a negative alike. The cost looks at one threshold, and where misses are expensive that is at the far end, where nearly all positives are found. And whoever chooses models by another number than the cost may choose the wrong one.
#
# </details>
# <details><summary>2. Why is infinity among the thresholds?</summary>
#
# If alarms are expensive and the scores poor, calling nobody can be cheapest. No score as a threshold says that: the largest score calls at least one.
#
# </details>
# <details><summary>3. You chose the threshold on the test set. What is wrong with the cost that you report?</summary>
#
# It is the least of many, on these very cases. New cases cost more.
#
# </details>
# <details><summary>4. Somebody balanced the sample, half anomalies. What do you do?</summary>
#
# Give the search other costs, with the share of anomalies in use. The ranking may stay; threshold and precision may not.
#
# </details>
# <details><summary>5. With the whole page: a hospital sends three scans of each patient and wants 99 % accuracy. Which three questions come first?</summary>
#
# Are patients split, not scans? How many of the patients in use are ill? What does a miss cost, and what an alarm?
#
# </details>
# <details><summary>6. With the whole page: your fusion beats each modality in AUC. What do you still have to show?</summary>
#
# The shuffled control, the cost at a threshold from validation, each alone tuned on the same list, and that cost at the share of positives in use.
#
# </details>
#
# ## Read more
#
# - C. Elkan, *The Foundations of Cost-Sensitive Learning*, IJCAI 2001. Costs, thresholds, and other shares in use.
# - J. Davis, M. Goadrich, *The Relationship Between Precision-Recall and ROC Curves*, ICML 2006.
# - C. K. Chow, *On Optimum Recognition Error and Reject Tradeoff*, IEEE Transactions on Information Theory 1970. When to hand over.
# - Y. Koren, R. Bell, C. Volinsky, *Matrix Factorization Techniques for Recommender Systems*, Computer 42(8), 2009.
# - H. Koschmieder, *Theorie der horizontalen Sichtweite*, Beiträge zur Physik der freien Atmosphäre 12, 1924. How fog takes contrast.
# - A. Schein and others, *Methods and Metrics for Cold-Start Recommendations*, SIGIR 2002.
# - Z. Gantner and others, *Learning Attribute-to-Feature Mappings for Cold-Start Recommendations*, ICDM 2010. The way of section 4.
#
# ## A bet for page 32
#
# Concat is trained on the three modalities of `digits` twice: as ever, and with modality dropout (each is hidden from three rows in ten). The test shows all three. *Ada says: hiding costs a point or more of accuracy there.* *Ben says: it costs less than a point, or gains.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("31.c", None)
guesses("31")
