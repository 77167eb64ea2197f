"""The stored comparisons of page 06: models along time on four directions, what each way of filling
does to a known signal, a forecast that sees the future, an alarm of two sensors, and a record.
"""

import math

from tqdm import tqdm

from course_utils.exercises import reference

SEEDS = range(5)
LOST = {"0": 0.0, ".3": 0.3, ".6": 0.6}
AGES = {"inf": math.inf, "5": 5.0, "2": 2.0, "1": 1.0, "0.6": 0.6}


def parts(page: dict) -> dict:
    """The page's names, with the course's own answers to its exercises."""
    page.update({name: reference(f"06.{k}") for k, name in enumerate(EXERCISED, 1)})
    return page


EXERCISED = ("steps", "one_clock", "with_flags")


def order(page: dict) -> dict:
    """Eight models on four directions, with the test clips as they are and turned round, each
    rate chosen on the validation clips; and the first frame alone on left or right, also of digits
    that stay whole in the frame.

    About two minutes on one core.
    """
    page, rows = parts(page), {}
    for seed in tqdm(SEEDS):
        data = page["encoded"](seed)
        whole = page["one_line"](page["encoded"](seed, wrap=False))
        jobs = [(kind, kind, data) for kind in page["KINDS"]]
        jobs.append(("left or right: first frame", "first frame", page["one_line"](data)))
        jobs.append(("the same, digits stay whole", "first frame", whole))
        for name, kind, clips in jobs:
            found = page["runs"](kind, clips, seed)
            row = rows.setdefault(name, {"accuracy": [], "turned": [], "line": [], "rate": []})
            for column, value in zip(row, found):
                row[column].append(round(value, 4))
    return rows


def errors(page: dict) -> dict:
    """The RMS error of hold, nearest and linear on motion, five rooms, with lost readings and with
    gaps, and of hold with late ones.

    About five seconds on one core.
    """
    rows = {}
    for how in ("hold", "nearest", "linear"):
        for name, loss in LOST.items():
            rows[f"{how}, {name} lost"] = measured(page["rms"], how, loss=loss)
        for name, age in AGES.items():
            rows[f"{how}, gaps, {name}"] = measured(page["rms"], how, gaps=10, max_age=age)
    for way in ("by their times", "what was in", "stamped on arrival"):
        rows[f"late, {way}"] = measured(page["late"], way)
    return rows


def measured(error, way: str, **dials) -> dict:
    found = [error(way, seed, **dials) for seed in SEEDS]
    return {
        "accuracy": {},
        "rms": [round(error, 4) for error, _ in found],
        "share": [round(share, 4) for _, share in found],
    }


def leak(page: dict, seeds=range(10)) -> dict:
    """The forecast trained on three ways, on paper and in use, ten rooms.

    About five seconds on one core.
    """
    ways = {
        "linear, on paper": ("linear", "linear"),
        "linear, in use": ("linear", "known"),
        "known, on paper and in use": ("known", "known"),
        "hold, on paper and in use": ("hold", "hold"),
    }
    return {
        name: {"accuracy": [round(page["forecast"](*way, seed), 4) for seed in seeds]}
        for name, way in ways.items()
    }


def alarm(page: dict) -> dict:
    """The alarm by trees on one sensor, on both and on the sound of another moment; and by the
    rule on signs, with the clock of one sensor off.

    About five seconds on one core.
    """
    page = parts(page)
    trees = {
        "motion alone": (["motion"], False),
        "sound alone": (["sound"], False),
        "both": (["motion", "sound"], False),
        "both, sound of another moment": (["motion", "sound"], True),
    }
    rules = {
        "rule, hold": ("hold", 0.0),
        "rule, linear": ("linear", 0.0),
        "rule, linear, clock 1 s off": ("linear", 1.0),
        "rule, linear, clock 2 s off": ("linear", 2.0),
        "rule, linear, clock 3 s off": ("linear", 3.0),
    }
    rows = {
        name: [page["alarm_tree"](names, seed, shuffled) for seed in SEEDS]
        for name, (names, shuffled) in trees.items()
    }
    rows |= {
        name: [page["alarm_rule"](how, seed, off) for seed in SEEDS]
        for name, (how, off) in rules.items()
    }
    return {name: {"accuracy": [round(value, 4) for value in row]} for name, row in rows.items()}


def record(page: dict, seeds=range(10)) -> dict:
    """The record with gaps of four kinds, filled, and filled with flags; and trained with gaps by
    choice, used without gaps. Ten splits.

    About five seconds on one core.
    """
    page, rows = parts(page), {}
    kinds = {kind: (kind, kind) for kind in page["GAPS"]}
    kinds["by choice, then none"] = ("by choice", "none")
    for name, (kind, used) in kinds.items():
        for way, flags in (("filled", False), ("flags", True)):
            right = [round(page["record"](kind, flags, seed, used), 4) for seed in seeds]
            rows[f"{name}, {way}"] = {"accuracy": right}
    return rows


SWEEPS = [order, errors, leak, alarm, record]
