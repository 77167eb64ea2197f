"""The stored comparisons of page 31: six small systems, each modality alone, both, and the control
whose last modality belongs to another row.
"""

from functools import partial

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from tqdm import tqdm

from course_utils.exercises import reference

SEEDS = range(10)
COSTS = {"patient": (20, 1), "road": (50, 1), "gate": (100, 1)}  # of a miss, of a false alarm


def note(rows, name, **values):
    """Values of one seed: shares that are right stand in "accuracy"."""
    row = rows.setdefault(name, {"accuracy": {}})
    for key, value in values.items():
        where = row["accuracy"] if key in ("right", "left") else row
        where.setdefault(key, []).append(round(float(value), 5))


def paid(scores, labels, cut, miss, alarm):
    """Mean cost of a case."""
    called = scores >= cut
    return (miss * (labels & ~called) + alarm * (~labels & called)).double().mean().item()


def priced(rows, name, val, test, labels, costs):
    """AUC, and the cost at a threshold that validation chose, at 1/2 and at the costs' odds."""
    val, test, known, labels = (torch.as_tensor(x) for x in (val, test, *labels))
    cut = reference("31.1")(val, known, *costs)
    labels = labels.bool()
    note(
        rows,
        name,
        auc=roc_auc_score(labels, test),
        cost=paid(test, labels, cut, *costs),
        half=paid(test, labels, 0.5, *costs),
        odds=paid(test, labels, costs[1] / sum(costs), *costs),
        peeked=paid(test, labels, reference("31.1")(test, labels.long(), *costs), *costs),
        missed=(test < cut)[labels].double().mean(),
        false=(test >= cut)[~labels].double().mean(),
    )


def at_best(labels, probs, costs=COSTS["road"]):
    """The mean cost at the best threshold for these very cases, by cumulative sums."""
    order = np.argsort(-probs[:, 1], kind="stable")
    scores, true = probs[order, 1], labels[order]
    ends = np.append(scores[1:] != scores[:-1], True)  # equals fall on the same side
    cost = costs[0] * (true.sum() - true.cumsum()) + costs[1] * (1 - true).cumsum()
    return min(costs[0] * true.sum(), cost[ends].min()) / len(labels)


def patient(page: dict) -> dict:
    """Record and pictures of patients in ten splits by patient: AUC and cost; and the nearest
    neighbour in splits by row and by patient, with true labels and with labels by lot.

    About two minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        data, labels, who = page["by_patient"](seed)
        each = [p.reshape(-1, 4)[:, 0] for p in labels[1:]]
        for name, sides in page["system"](data, labels, seed).items():
            val, test = (side[:, 1].reshape(-1, 4).mean(1) for side in sides)
            priced(rows, name, val, test, each, COSTS["patient"])
        none = torch.ones(len(each[1])).bool()
        note(rows, "nobody is called", cost=20 * each[1].mean(), right=1 - each[1].mean())
        note(rows, "all are called", cost=paid(none * 1.0, torch.tensor(each[1]).bool(), 0, 20, 1))
        for split in ("row", "patient"):
            data, labels, who = page["by_patient"](seed, split)
            inputs = {name: page["encoded"](parts) for name, parts in data.items()}
            inputs["both"] = [np.hstack(parts) for parts in zip(*inputs.values())]
            lot = np.random.default_rng(seed).permutation(569) < 212
            for kind, known in (("true", labels), ("by lot", [lot[one] for one in who])):
                for name, parts in inputs.items():
                    near = KNeighborsClassifier(1).fit(parts[0], known[0])
                    right = near.score(parts[2], known[2])
                    note(rows, f"{name}, split by {split}, {kind}", right=right)
    return rows


def road(page: dict) -> dict:
    """Picture and range on a road with fog: AUC and cost, in three ranges of sight; and with things
    that are all equally tall.

    About two minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        for tall in (None, 1.5):
            parts = [page["road"](n, [seed, k], tall=tall) for k, n in enumerate(SIZES)]
            data = {name: [p[k] for p in parts] for k, name in enumerate(("picture", "range"))}
            labels, sight = [p[2] for p in parts], parts[2][3]
            for name, sides in page["system"](data, labels, seed).items():
                val, test = (side[:, 1] for side in sides)
                end = "" if tall is None else ", equally tall"
                priced(rows, name + end, val, test, labels[1:], COSTS["road"])
                for low, high in ((15, 35), (35, 85), (85, 200)) if tall is None else ():
                    some = (low <= sight) & (sight < high)
                    auc = roc_auc_score(labels[2][some], test[some])
                    note(rows, f"{name}, sight {low} to {high}", auc=auc)
            if tall is None:
                cheapest = partial(page["chosen"], by=at_best)
                for name, sides in page["system"](data, labels, seed, cheapest).items():
                    val, test = (side[:, 1] for side in sides)
                    row = f"{name}, model chosen by cost"
                    priced(rows, row, val, test, labels[1:], COSTS["road"])
    return rows


SIZES = (1500, 700, 1500)


def gate(page: dict) -> dict:
    """A gate watched by picture and sound: ranked by models of normal moments; what each kind of
    anomaly scores, and what a threshold costs where one moment in a hundred is one.

    About a minute on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        parts = [page["gate"](n, [seed, k], s) for k, (n, s) in enumerate(GATES)]
        data = {name: [p[k] for p in parts] for k, name in enumerate(("picture", "sound"))}
        labels = [(p[2] > 0).astype(int) for p in parts]
        ways = page["system"](data, labels, seed, page["unusual"])
        mixed = {name: page["encoded"](x) for name, x in data.items()}
        order = np.random.default_rng(seed).permutation(len(mixed["sound"][0]))
        mixed["sound"][0] = mixed["sound"][0][order]
        joined = list(map(np.hstack, zip(*mixed.values())))
        ways["both, pairs of training shuffled"] = page["unusual"](joined, labels)
        for name, sides in ways.items():
            val, test = map(torch.from_numpy, sides)
            known, true = (torch.from_numpy(one) for one in labels[1:])
            row = {
                "auc": roc_auc_score(true, test),
                "precision": average_precision_score(true, test),
            }
            row["precision_third"] = average_precision_score(known, val)
            for k, kind in enumerate(("seen", "heard", "crossed"), 1):
                some = (parts[2][2] == 0) | (parts[2][2] == k)
                row[kind] = roc_auc_score(labels[2][some], test[some])
            share = known.double().mean().item()
            cuts = {
                "cost": reference("31.1")(val, known, 100 * 0.01 / share, 0.99 / (1 - share)),
                "as_it_is": reference("31.1")(val, known, 100, 1),
                "quantile": val[known == 0].quantile(0.99).item(),
            }
            for way, cut in cuts.items():
                row[way] = paid(test, true.bool(), cut, *COSTS["gate"])
                row[f"alarms_{way}"] = (test >= cut).double().mean()
            row["promised"] = reference("31.2")(val, known, cuts["cost"], 100, 1, 0.01)
            note(rows, name, **row)
        note(rows, "no alarm", cost=100 * true.double().mean())
    return rows


GATES = ((1500, 0.0), (600, 1 / 3), (10_000, 0.01))


def house(page: dict) -> dict:
    """Sensors and a spoken word in a house, with other words in each seed: the right action; with
    the person named first (from the whole sound, or from its pitch), and with the person known; and
    how sure the namer is of residents and of four visitors.

    About four minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        parts = [page["house"](n, seed, k) for k, n in enumerate((1200, 600, 1200))]
        data = {"sensors": [p[0] for p in parts], "sound": [p[1] for p in parts]}
        labels, who = [p[2] for p in parts], [p[3] for p in parts]
        for name, (_, test) in page["system"](data, labels, seed).items():
            note(rows, name, right=(test.argmax(1) == labels[2]).mean())
        note(rows, "nothing, always", right=(labels[2] == 0).mean())
        sounds = {"sound": data["sound"], "pitch": [part[:, :1] for part in data["sound"]]}
        strange = np.random.default_rng([4, seed]).permutation(np.setdiff1d(range(60), RESIDENTS))
        visit = page["house"](600, seed, 2, voices=strange[:4])[1]
        known = [np.hstack([p[0], np.eye(4)[p[3]]]) for p in parts]
        inputs = {"person known": known[2]}
        for by, sound in sounds.items():
            val, test = page["chosen"](page["encoded"](sound), who)
            right = [(side.argmax(1) == w).mean() for side, w in zip((val, test), who[1:])]
            note(rows, f"who it is, by {by}", right=right[1], val=right[0])
            inputs[f"named first, by {by}"] = np.hstack([parts[2][0], np.eye(4)[test.argmax(1)]])
            heard = page["encoded"]([*sound[:2], visit[:, : sound[0].shape[1]]])
            guest = page["chosen"](heard, who)[1]
            note(rows, f"a visitor, by {by}", sure=guest.max(1).mean(), own=test.max(1).mean())
        for name, last in inputs.items():
            told = page["chosen"]([*known[:2], last], labels)
            note(rows, name, right=(told[1].argmax(1) == labels[2]).mean())
    return rows


RESIDENTS = (11, 17, 7, 10)


def calls(page: dict) -> dict:
    """Words, voice and face of callers in ten splits by voice; and how many answers stay wrong
    where the least sure ones go to people.

    About two minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        data, labels = page["calls"](3000, seed)
        ways = page["system"](data, labels, seed)
        ways["product"] = [np.prod([ways[n][k] for n in data], 0) for k in (0, 1)]
        ways["product"] = [side / side.sum(1, keepdims=True) for side in ways["product"]]
        for name, (val, test) in ways.items():
            wrong = [torch.from_numpy(s.argmax(1) != y) for s, y in zip((val, test), labels[1:])]
            doubt = [torch.from_numpy(1 - side.max(1)) for side in (val, test)]
            cut = reference("31.1")(doubt[0], wrong[0].long(), 9, 1)
            sent = doubt[1] >= cut
            fifth = doubt[1].argsort(descending=True, stable=True)[: len(sent) // 5]
            kept = torch.ones(len(sent)).bool()
            kept[fifth] = False
            note(
                rows,
                name,
                right=1 - wrong[1].double().mean(),
                left=1 - wrong[1][kept].double().mean(),
                sent=sent.double().mean(),
                cost=(10 * (wrong[1] & ~sent) + 1 * sent).double().mean(),
            )
    return rows


def shop(page: dict) -> dict:
    """Regret of the item that is shown first, of the old ones that a user has not rated and of
    new ones, by six ways to choose; the dials are chosen on ratings of other items.

    About two minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        for name, (old, new) in page["shown_first"](seed).items():
            note(rows, name, old=old, new=new)
    return rows


SWEEPS = [patient, road, gate, house, calls, shop]
