"""The stored comparisons of page 25: five captioners, how they speak and what of it is true; five
that never saw their picture; the rates of both; and what BLEU says of true captions.
"""

import itertools
from itertools import combinations

import torch
from tqdm import tqdm

from course_utils.datasets.scene_truth import FORMS, caption_truth, read_caption
from course_utils.datasets.scene_words import RELATIONS
from course_utils.decoding import beam, greedy, sample
from course_utils.metrics import bleu
from course_utils.rooms import load as of_room
from course_utils.rooms import stored
from course_utils.text import BOS, EOS, Vocabulary, tokenize

SEEDS = range(5)
CHOOSING = 100  # the scenes that choose the rates are in no comparison
RATES = (1.5e-3, 3e-3, 6e-3, 1.2e-2, 2.4e-2)
TEST, REFERENCES = 500, 5
STARTS = ("there are", "a picture of", "a picture of a", "there is a", "left of", "there is a red")


def note(rows, name, **values):
    row = rows.setdefault(name, {"accuracy": {}})
    for key, value in values.items():
        row["accuracy"].setdefault(key, []).append(round(float(value), 4))


def chosen(rows, kind):
    """The learning rate with the lowest validation loss, of those that `rates` tried."""
    tried = [name for name in rows if name.startswith(f"rate: {kind} ")]
    return float(min(tried, key=lambda name: rows[name]["loss"]).split()[2])


def spaced(sentence):
    return " ".join(tokenize(sentence))


def data(page, seed, *splits):
    """Parts by name, the vocabulary of the training captions and ids by name."""
    sizes = {"train": (2_000, 3), "validation": (400, 1), "test": (TEST, REFERENCES)}
    parts = {split: page["load"](split, sizes[split][0], seed, sizes[split][1]) for split in splits}
    words = Vocabulary(itertools.chain(*parts["train"]["captions"]), marks=True)
    ids = {"train": words.encode(itertools.chain(*parts["train"]["captions"]))[0]}
    for split in splits[1:]:
        ids[split] = words.encode([each[0] for each in parts[split]["captions"]])[0]
    return parts, words, ids


def made(page, parts, ids, kind, seed, rate):
    """A captioner that sees its pictures, zeros, or other scenes' pictures; and what it may see."""
    part, given = dict(parts["train"]), lambda cells: cells
    if kind == "blind":
        given = torch.zeros_like
    if kind == "shuffled":
        order = torch.Generator().manual_seed(seed)
        given = lambda cells: cells[torch.randperm(len(cells), generator=order)]  # noqa: E731
    part["cells"] = given(part["cells"])
    loss_of = of_room("25", "exercises").caption_loss
    return page["train"](part, ids["train"], loss_of, seed, rate), given


def judged(rows, name, said, part, page, lists=False):
    """What is true of captions, and how they speak; with `lists`, of the lists among them, and how
    many of these have each phrase right.
    """
    found = page["truths"](said, part["things"])
    share, phrases = page["share"], sum(one.phrases for one in found)
    note(
        rows,
        name,
        strict=share(one.strict for one in found),
        hallucinated=sum(one.hallucinated for one in found) / max(phrases, 1),
        repeated=share(one.repeated > 0 for one in found),
        **{f"form {form}": share(one.form == form for one in found) for form in FORMS},
    )
    if lists:
        only = [one for one in found if one.form == "list"]
        alone = share(one.right == one.phrases for one in only)
        note(rows, name, lists=share(one.strict for one in only), alone=alone)
    first = [([*read_caption(one).phrases, (0, None)])[0][0] for one in said]
    # pictures in which two things have a colour or a shape in common
    pairs = [
        one.strict
        for one, shown in zip(found, part["things"])
        if any(a.colour == b.colour or a.shape == b.shape for a, b in combinations(shown, 2))
    ]
    note(
        rows,
        name,
        pairs=share(pairs),
        plural=share(number > 1 for number in first),
        words=share(len(tokenize(one)) for one in said) / 100,
    )


def against(rows, name, said, part):
    own, known = [spaced(one) for one in said], part["captions"]
    one = bleu(own, [[spaced(each[0])] for each in known])
    four = bleu(own, [[spaced(text) for text in each[:4]] for each in known])
    note(rows, name, bleu_one=one / 100, bleu_four=four / 100)


def rates(rows, page, *kinds):
    """The validation loss of five learning rates, one training each, for captioners that see their
    picture, zeros, or another scene's.
    """
    parts, _, ids = data(page, CHOOSING, "train", "validation")
    for kind, rate in tqdm(list(itertools.product(kinds, RATES))):
        model, given = made(page, parts, ids, kind, CHOOSING, rate)
        right, loss = page["forced"](model, given(parts["validation"]["cells"]), ids["validation"])
        found = {"loss": round(loss, 4), "forced": round(right, 4)}
        rows[f"rate: {kind} {rate}"] = {"accuracy": {}} | found  # one seed has no interval


def relations(rows, said, part):
    """How often a relation that is said stands so; and with a word drawn instead."""
    turned = {word: [] for word in RELATIONS}
    holding = []
    for text, things in zip(said, part["things"]):
        found = caption_truth(text, things)
        if not found.relations or found.form == "broken":
            continue
        word = next(word for word in RELATIONS if word in text)
        holding.append(found.holding)
        for other in RELATIONS:
            turned[other].append(caption_truth(text.replace(word, other), things).holding)
    drawn = sum(sum(each) for each in turned.values()) / 4 / len(holding)
    note(rows, "relations", hold=sum(holding) / len(holding), drawn=drawn)


def hit(thing, x, y, slack):
    left, top, right, bottom = thing.box
    return left - slack <= x < right + slack and top - slack <= y < bottom + slack


def covered(thing):
    """The cells, of 64, that a thing's box touches."""
    left, top, right, bottom = thing.box
    across, down = range(left // 8, (right - 1) // 8 + 1), range(top // 8, (bottom - 1) // 8 + 1)
    return {8 * y + x for y in down for x in across}


@torch.no_grad()
def hiding(model, cells, ids, end, thing, things):
    """The probability of the noun that was said, with all cells, without the named thing's and
    without another's: a triple for the first other thing that touches as many cells alone.
    """
    for other in things:
        own, its = covered(thing) - covered(other), covered(other) - covered(thing)
        if other is thing or len(own) != len(its):
            continue
        h, keys, values = model.see(cells)
        chances = []
        for away in (set(), own, its):
            keep = [k for k in range(64) if k not in away]
            seen = h, keys[:, keep], values[:, keep]
            logits = model.say(ids[:, : end + 1], seen)[0][0, end]
            chances.append(logits.softmax(0)[ids[0, end + 1]].item())
        return [tuple(chances)]
    return []


def pointing(rows, page, model, part, words):
    """The heaviest cell at the noun, at the phrase's first word and one step late, and controls,
    for captions of pictures with two or three things.
    """
    first = torch.full((TEST,), BOS)
    tokens = greedy(model.step, first, model.see(part["cells"]), end=EOS, limit=30).tokens
    ids = torch.cat([first[:, None], tokens], 1)
    weights = page["maps"](model, part["cells"], ids)  # (N, heads, T, 64)
    middle = torch.arange(64)
    across, down = 8 * (middle % 8) + 4, 8 * (middle // 8) + 4
    found, hidden = {}, []
    for i, things in enumerate(part["things"]):
        for end, start, thing in page["nouns"](words.words(tokens[i]), things):
            if len(things) == 1:
                continue
            hidden += hiding(model, part["cells"][i : i + 1], ids[i : i + 1], end, thing, things)
            largest = max(things, key=lambda one: (one.box[2] - one.box[0], one.box))
            looked = {
                "noun": weights[i, :, end].mean(0),
                "first word": weights[i, :, start].mean(0),
            }
            looked |= {f"head {k}": weights[i, k, end] for k in range(4)}
            for slack in (0, 4):
                for name, each in looked.items():
                    best = int(each.argmax())
                    ok = hit(thing, across[best], down[best], slack)
                    found.setdefault((name, slack), []).append(ok)
                box = largest.box
                ok = hit(thing, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, slack)
                found.setdefault(("largest", slack), []).append(ok)
                found.setdefault(("centre", slack), []).append(hit(thing, 32, 32, slack))
                every = [hit(thing, x, y, slack) for x, y in zip(across, down)]
                found.setdefault(("any cell", slack), []).append(sum(every) / 64)
    whole, named, other = (sum(each) / len(hidden) for each in zip(*hidden))
    note(rows, "hidden cells", none=whole, named=named, other=other)
    rows["hidden cells"].setdefault("count", []).append(len(hidden))
    for (name, slack), values in found.items():
        note(rows, f"pointing: {name}", **{f"{slack} px": sum(values) / len(values)})
    rows["pointing: noun"].setdefault("count", []).append(len(found["noun", 0]))


def captions(page: dict) -> dict:
    """Five captioners: teacher forcing, greedy, beams and samples as they stand and begun with
    given words, relations, BLEU, other pictures at test, where they look. Before them the rates.

    About five minutes on one core.
    """
    rows = {}
    rates(rows, page, "sighted")
    for seed in tqdm(SEEDS):
        parts, words, ids = data(page, seed, "train", "test")
        model, _ = made(page, parts, ids, "sighted", seed, chosen(rows, "sighted"))
        test, cells = parts["test"], parts["test"]["cells"]
        describe = page["describe"]
        note(rows, "sighted", forced=page["forced"](model, cells, ids["test"])[0])
        said = describe(model, cells, words)
        judged(rows, "sighted", said, test, page, lists=True)
        against(rows, "sighted", said, test)
        relations(rows, said, test)
        for power in (0.0, 1.0):
            found = describe(model, cells, words, beam, width=3, power=power)
            judged(rows, f"beam, power {power:.0f}", found, test, page, lists=True)
        for start in STARTS:
            for name, how, options in (("greedy", greedy, {}), ("beam", beam, {"width": 3})):
                found = describe(model, cells, words, how, start, **options)
                judged(rows, f"{start}: {name}", found, test, page)
        for temperature in (0.3, 0.7, 1.0):
            draw = torch.Generator().manual_seed(seed)
            options = {"temperature": temperature, "generator": draw}
            found = describe(model, cells, words, sample, **options)
            judged(rows, f"temperature {temperature}", found, test, page)
        other = describe(model, cells.roll(1, 0), words)
        judged(rows, "another scene's picture", other, test, page)
        judged(rows, "zeros", describe(model, torch.zeros_like(cells), words), test, page)
        pointing(rows, page, model, test, words)
    return rows


def openings(page: dict, seeds=range(5, 10)) -> dict:
    """Five other captioners: greedy against a beam of three, as they stand and begun alike.

    About two minutes on one core.
    """
    rows, rate = {}, chosen(stored("25", "captions"), "sighted")
    for seed in tqdm(seeds):
        parts, words, ids = data(page, seed, "train", "test")
        model, _ = made(page, parts, ids, "sighted", seed, rate)
        test = parts["test"]
        for start in ("", "there are", "a picture of", "a picture of a"):
            for name, how, options in (("greedy", greedy, {}), ("beam", beam, {"width": 3})):
                found = page["describe"](model, test["cells"], words, how, start, **options)
                judged(rows, f"{start}: {name}", found, test, page)
    return rows


def controls(page: dict) -> dict:
    """Five captioners that learn with zeros in place of pictures, and five with pictures of other
    scenes, the same in test. Before them the rates.

    About five minutes on one core.
    """
    rows = {}
    rates(rows, page, "blind", "shuffled")
    for seed in tqdm(SEEDS):
        parts, words, ids = data(page, seed, "train", "test")
        for kind in ("blind", "shuffled"):
            model, given = made(page, parts, ids, kind, seed, chosen(rows, kind))
            cells = given(parts["test"]["cells"])
            note(rows, kind, forced=page["forced"](model, cells, ids["test"])[0])
            said = page["describe"](model, cells, words)
            judged(rows, kind, said, parts["test"], page)
            against(rows, kind, said, parts["test"])
    return rows


def true_captions(page: dict) -> dict:
    """True captions in the place of a model's: against others of the same picture, with the
    relation turned, and of another scene. Five draws of 500 scenes.

    About fifteen seconds on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        test = page["load"]("test", TEST, seed, REFERENCES)
        told = [each[4] for each in test["captions"]]
        for name, said in (
            ("true", told),
            ("turned", [page["turned"](text) for text in told]),
            ("other", told[1:] + told[:1]),
        ):
            judged(rows, name, said, test, page)
            against(rows, name, said, test)
            itself = bleu([spaced(one) for one in said], [[spaced(one)] for one in told])
            note(rows, name, bleu_self=itself / 100)
    return rows


SWEEPS = [captions, openings, controls, true_captions]
