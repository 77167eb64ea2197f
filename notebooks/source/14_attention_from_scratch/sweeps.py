"""The stored comparisons of page 14: pictures with and without positions, who chases whom under
each mask, a GPT on captions, and what the state of a last word keeps.
"""

import re

import torch
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.exercises import reference

SEEDS = range(5)
COLOURS = "red|yellow|green|blue|pink|white"
THING = rf"(?:(?:small|large) )?(?:(?:{COLOURS}) )?(?:circle|square|triangle|cross|thing)(?:e?s)?"
LISTED = rf"(?:a|two|three) {THING}(?:(?:, (?:a|two|three) {THING})* and (?:a|two|three) {THING})?"
WHERE = "(?:left of|right of|above|below)"
FORMS = re.compile(
    rf"(?:a picture of |there (?:is|are) )?{LISTED}"
    rf"|{LISTED}; the {THING} is {WHERE} the {THING}"
    rf"|a {THING} is {WHERE} a {THING}"
    rf"|{WHERE} a {THING} there is a {THING}"
)
TWO_NAMED = re.compile(rf"({LISTED}); the ({THING}) is {WHERE} the ({THING})")


def ready(page):
    """The page's names, with the course's answers where the reader's stand."""
    for key, name in (("14.1", "attend"), ("14.2", "multi_head"), ("14.3", "causal_mask")):
        page[name] = reference(key)
    return page


def add(rows, name, **values):
    row = rows.setdefault(name, {})
    for key, value in values.items():
        row.setdefault(key, []).append(value)


def pictures(page: dict) -> dict:
    """Colour and half of pictures with one object, by patches with and without positions.

    About two minutes on one core.
    """
    page, rows = ready(page), {}
    data = {"train": page["one_object"]("train", 2000), "test": page["one_object"]("test", 1000)}
    for seed in tqdm(SEEDS):
        for asked in ("colour", "half"):
            for name, positions, shuffled in (
                ("no positions", False, False),
                ("positions", True, False),
                ("positions, pictures shuffled", True, True),
            ):
                score = page["train_pictures"](data, asked, positions, seed, shuffled=shuffled)
                add(rows, f"{asked}, {name}", accuracy=round(score, 4))
    return rows


def order(page: dict) -> dict:
    """Who chases whom, by mask, positions and layers; and as a language model, epoch by epoch.

    About four minutes on one core.
    """
    page, rows = ready(page), {}
    for seed in tqdm(SEEDS):
        for layers in (1, 2):
            for positions in (False, True):
                place = f"{'' if positions else 'no '}positions, {layers}"
                how = {"layers": layers, "positions": positions}
                for causal in (False, True):
                    _, _, curve = page["train_chases"](
                        seed, epochs=12, every_word=False, causal=causal, **how
                    )
                    name = f"{'causal' if causal else 'sees all'}, {place}"
                    add(rows, name, accuracy=round(curve[-1][0], 4))
                _, _, curve = page["train_chases"](seed, **how)
                add(
                    rows,
                    f"language model, {place}",
                    accuracy=round(curve[-1][0], 4),
                    by_epoch=[round(right, 4) for right, _ in curve],
                    loss=[round(loss, 4) for _, loss in curve],
                )
    return rows


def holds(text):
    """Whether the two things that a text relates are two of its list, each named as one there; None
    where it relates none.
    """
    if not (found := TWO_NAMED.fullmatch(text)):
        return None
    listed, one, other = found.groups()
    items = re.split(", | and ", listed)
    return one != other and items.count(f"a {one}") == items.count(f"a {other}") == 1


def written(texts):
    """The shares of texts whose form is one of the grammar's, and that hold together."""
    texts = [text.replace(" ,", ",").replace(" ;", ";") for text in texts]
    bound = [holds(text) for text in texts if holds(text) is not None]
    formed = sum(bool(FORMS.fullmatch(text)) for text in texts) / len(texts)
    return {"form": round(formed, 4), "holds": round(sum(bound) / max(1, len(bound)), 4)}


def add_captions(rows, name, loss, texts, **more):
    add(rows, name, loss=round(loss, 4), **more)
    shares = rows[name].setdefault("accuracy", {})
    for kind, value in written(texts).items():
        shares.setdefault(kind, []).append(value)


def captions(page: dict) -> dict:
    """A GPT on captions beside counted words and pairs of words, its words shuffled, no positions.

    About two minutes on one core.
    """
    page, rows = ready(page), {}
    for seed in tqdm(SEEDS):
        texts = page["captions"]("train", 2000, seed)
        words = page["Vocabulary"](texts)
        ids, tests = (words.batch(t)[0] for t in (texts, page["captions"]("test", 500, seed)))
        kept, V = tests[:, 1:] > 0, len(words)
        pairs = torch.full((V, V), 0.1)
        for text in ids.tolist():
            for a, b in zip(text, text[1:]):
                pairs[a, b] += b > 0
        for name, counts in (
            ("words counted", pairs.sum(0).expand(V, V)),
            ("pairs counted", pairs),
        ):
            # (N, T - 1, V)
            logs = (counts / counts.sum(1, keepdim=True)).log()[tests[:, :-1]]
            loss = F.nll_loss(logs[kept], tests[:, 1:][kept]).item()
            table = counts.log()
            said = page["write"](lambda ids, t=table: t[ids], words, ["."] * 200, _draw(seed))
            add_captions(rows, name, loss, said)
        for name, how in (
            ("GPT", {}),
            ("GPT without positions", {"positions": False}),
            ("GPT, words shuffled", {"shuffled": True}),
        ):
            model, words, loss = page["train_gpt"](seed, **how)
            said, more = page["write"](model, words, ["."] * 200, _draw(seed)), {}
            if not how:
                asked = words.ids(". a red circle and a blue square ; the red circle is above the")
                with torch.no_grad():
                    probs = model(asked[None])[0, -1].softmax(0)
                for colour in ("red", "blue"):
                    more[colour] = round(probs[words.ids(colour)].item(), 4)
            add_captions(rows, name, loss, said, **more)
    return rows


def _draw(seed):
    return torch.Generator().manual_seed(seed)


def feature(page: dict) -> dict:
    """Who chases, read by a linear head off a frozen GPT's states, by what its texts' endings were.

    About one minute on one core.
    """
    page, rows = ready(page), {}
    for seed in tqdm(SEEDS):
        for name, how in (
            ("not trained", {"epochs": 0}),
            ("any animal", {"useful": False}),
            ("the one that chases", {}),
        ):
            model, words, _ = page["train_chases"](seed, **how)
            for place, value in page["read_off"](model, words, seed).items():
                add(rows, f"{name}: {place}", accuracy=round(value, 4))
            if name == "any animal":
                for place, value in page["read_off"](model, words, seed, size=1000).items():
                    add(rows, f"{name}, 1,000 sentences: {place}", accuracy=round(value, 4))
    return rows


SWEEPS = [pictures, order, captions, feature]
