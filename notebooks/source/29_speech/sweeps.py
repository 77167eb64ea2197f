"""The stored comparisons of page 29: one digit seen and heard in noise; strings of digits by the
course's voices and by people, known ones and strangers; and what a recogniser says of sounds that
were put together.
"""

from functools import partial
from itertools import combinations, product

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.audio import open_sound
from course_utils.datasets import store
from course_utils.datasets.digits import SAMPLE_RATE
from course_utils.exercises import reference
from course_utils.training import Batches, evaluate, shuffle_splits

SEEDS = range(5)
SPLITS = ("train", "validation", "test")
TRAIN, TEST = 1500, 300  # strings
RATES = (1.5e-3, 3e-3, 6e-3, 1.2e-2)
HALF = 6e-3  # the rate for people's voices, half of what the course's voices choose
PAIRS = list(combinations(range(6), 2))
DIALS = (1e-3, 3e-3, 1e-2, 3e-2)  # learning rates of a classifier of one digit
# row: what is used, whether it is trained in noise, what is shuffled
MODELS = {
    "image": (("image",), False, None),
    "sound, trained clean": (("audio",), False, None),
    "sound, trained in noise": (("audio",), True, None),
    "both, trained clean": (("image", "audio"), False, None),
    "both, trained in noise": (("image", "audio"), True, None),
    "both, in noise, sound shuffled": (("image", "audio"), True, "audio"),
    "both, in noise, image shuffled": (("image", "audio"), True, "image"),
}


def built_in(log_probs, targets, frames, letters):
    """PyTorch's loss, which is faster, in the signs of exercise 29.1."""
    turned = log_probs.transpose(0, 1)
    return -F.ctc_loss(turned, targets, frames, letters, reduction="none")


def note(rows, name, **numbers):
    for key, value in numbers.items():
        rows.setdefault(name, {}).setdefault(key, []).append(round(float(value), 4))


def noise(page: dict) -> dict:
    """One digit seen and heard, in noise: the learning rate of each model chosen on the validation
    set of seed 0, in what it is trained in; accuracy on the test set by level. Of the one trained
    clean also with the sound's features held at their mean.

    About two minutes on one core.
    """
    rows, train = {}, page["train_pair"]
    draws = [{split: page["load"](split, seed) for split in SPLITS} for seed in SEEDS]

    def given(seed, in_noise, shuffled):
        levels = page["LEVELS"] if in_noise else page["LEVELS"][:1]
        parts = {
            split: page["in_noise"](draws[seed][split], levels, 10 * seed + k)
            for k, split in enumerate(SPLITS[:2])
        }
        for level in page["LEVELS"]:
            parts[level] = page["in_noise"](draws[seed]["test"], (level,), 10 * seed + 9)
        return shuffle_splits(parts, shuffled, seed) if shuffled else parts

    for name, (use, in_noise, shuffled) in tqdm(MODELS.items()):
        first, best = given(0, in_noise, shuffled), None
        for lr in DIALS:
            model = train(use, first["train"], first["validation"], 0, lr)
            loss = evaluate(model, Batches(first["validation"], 1024)).loss
            rows[f"rate: {name}, {lr:g}"] = {"accuracy": {}, "loss": round(loss, 4)}
            if best is None or loss < best[0]:
                best = (loss, lr)
        for seed in SEEDS:
            parts = given(seed, in_noise, shuffled)
            model = train(use, parts["train"], parts["validation"], seed, best[1])
            row = rows.setdefault(name, {"lr": best[1], "accuracy": {}})
            for level in page["LEVELS"]:
                score = evaluate(model, Batches(parts[level], 1024)).accuracy
                row["accuracy"].setdefault(f"{level:g}", []).append(round(score, 4))
            if name == "both, trained clean":
                score = round(sound_at_its_mean(page, model, parts["train"], parts[level]), 4)
                row = rows.setdefault(f"{name}, sound held", {"lr": best[1], "accuracy": {}})
                for level in page["LEVELS"]:
                    row["accuracy"].setdefault(f"{level:g}", []).append(score)
    return rows


@torch.no_grad()
def sound_at_its_mean(page, model, train, part):
    """Accuracy with the sound's features, in all rows, at their mean over the training samples."""
    x, heard = model.eval().ears(train["audio"], train["audio_heard"])
    features = torch.cat([page["masked_mean"](x, heard), x.amax(dim=1)], dim=1)  # (B, 64)
    seen = model.eye(part["image"])
    held = features.mean(dim=0).expand(len(seen), -1)
    logits = model.head(torch.cat([seen, held], dim=1))
    return (logits.argmax(dim=1) == part["label"]).double().mean().item()


def faster(clips, gaps, by=1.25):
    """A clip's samples taken at other places, so that it is shorter and higher."""

    def squeezed(clip):
        size = int(len(clip) / by)
        return F.interpolate(clip[None, None], size=size, mode="linear")[0, 0]

    return [squeezed(clip) for clip in clips], gaps


# how a text is put together from clips: (clips, gaps) -> (clips, gaps)
WAYS = {
    "as in training": lambda clips, gaps: (clips, gaps),
    "no silence between": lambda clips, gaps: (clips, [gaps[0], *[0] * (len(gaps) - 2), gaps[-1]]),
    "each clip cut by 80 ms at both ends": lambda clips, gaps: ([c[640:-640] for c in clips], gaps),
    "a quarter faster": faster,
    "each clip backwards": lambda clips, gaps: ([clip.flip(0) for clip in clips], gaps),
}


def people(who, takes):
    """FSDD's recordings of the speakers `who` (numbers from 0 to 5), those with these takes."""
    (folder,) = store.fetch("fsdd")
    names = sorted({file.stem.split("_")[1] for file in folder.glob("*.wav")})
    clips = {}
    for speaker, digit in product(who, range(10)):
        files = [folder / f"{digit}_{names[speaker]}_{take}.wav" for take in takes]
        sounds = [open_sound(file, SAMPLE_RATE) for file in files]
        clips[speaker, digit] = [sound / sound.abs().max() for sound in sounds]
    return clips


def _add(found, text, place, score):
    sums = found.setdefault(text, [float("-inf"), float("-inf")])
    sums[place] = np.logaddexp(sums[place], score)


def beam_one(log_probs, width=8, most=4):
    """The likeliest text, as numbers, of those that stay in a beam: (T, C) -> list. A text keeps
    two sums: of its paths that end in the blank, and of those that end in its last letter.
    """
    none = float("-inf")
    beam = {(): (0.0, none)}
    for frame in log_probs:
        best = frame.topk(most)
        found = {}
        for text, (blank, letter) in beam.items():
            total = np.logaddexp(blank, letter)
            for score, number in zip(best.values.tolist(), best.indices.tolist()):
                if number == 0:
                    _add(found, text, 0, total + score)
                elif text and text[-1] == number:
                    _add(found, text, 1, letter + score)
                    _add(found, (*text, number), 1, blank + score)
                else:
                    _add(found, (*text, number), 1, total + score)
        kept = sorted(found, key=lambda text: -np.logaddexp(*found[text]))[:width]
        beam = {text: found[text] for text in kept}
    return list(next(iter(beam)))


def put_together(speak, change, clips, gaps):
    return speak(*change(clips, gaps))


def voices(page: dict) -> dict:
    """Strings by the course's voices: known ones and new ones, greedy, beam and snapped; control
    with the texts shuffled; then new voices put together in other ways. The learning rate is chosen
    on the validation voices with seed 0.

    About three minutes on one core.
    """
    rows, greedy, rates, read = {}, reference("29.2"), page["rates"], page["read"]
    clips = {split: page["voices_of"](split) for split in SPLITS}
    data = [page["strings"](clips["train"], TRAIN, seed)[0] for seed in SEEDS]
    chosen, texts = page["strings"](clips["validation"], TEST, 50)
    losses = {}
    for lr in RATES:
        model = page["train"](data[0], 0, built_in, lr)
        losses[lr] = rates(read(model, chosen, greedy), texts)["CER"]
        rows[f"rate: {lr:g}"] = {"accuracy": {}, "CER": round(losses[lr], 4)}
    best = min(losses, key=losses.get)

    def noted(name, said, meant):
        both = rates(said, meant)
        note(rows, name, accuracy=1 - both["WER"], **both)

    for seed in tqdm(SEEDS):
        model = page["train"](data[seed], seed, built_in, best)
        for name, of in (("known voices", "train"), ("new voices", "test")):
            part, texts = page["strings"](clips[of], TEST, 100 + seed)
            said = read(model, part, greedy)
            noted(f"{name}, greedy", said, texts)
            noted(f"{name}, snapped", [page["snapped"](one) for one in said], texts)
            if of == "test":
                with torch.no_grad():
                    log_probs, frames = model(part["frames"], part["heard"])
                beam = [
                    page["spelled"](beam_one(one[:count]))
                    for one, count in zip(log_probs, frames.tolist())
                ]
                noted(f"{name}, beam", beam, texts)
                noted(f"{name}, beam, snapped", [page["snapped"](one) for one in beam], texts)
        for way, change in WAYS.items():
            say = partial(put_together, page["speak"], change)
            for name, of in (("known voices", "train"), ("new voices", "test")):
                part, texts = page["strings"](clips[of], 150, 200 + seed, say)
                noted(f"put together: {way}, {name}", read(model, part, greedy), texts)
        order = torch.randperm(TRAIN, generator=torch.Generator().manual_seed(seed))
        turned = data[seed] | {k: data[seed][k][order] for k in ("targets", "letters")}
        model = page["train"](turned, seed, built_in, best)
        part, texts = page["strings"](clips["test"], TEST, 100 + seed)
        noted("texts shuffled, greedy", read(model, part, greedy), texts)
    rows["new voices, greedy"]["lr"] = best
    return rows


def right_words(said, meant):
    """Which of the words `meant` stand in `said`, along a shortest way from one to the other."""
    costs = [[i + j for j in range(len(said) + 1)] for i in range(len(meant) + 1)]
    for i, word in enumerate(meant, 1):
        for j, other in enumerate(said, 1):
            costs[i][j] = min(
                costs[i - 1][j - 1] + (word != other), costs[i - 1][j] + 1, costs[i][j - 1] + 1
            )
    i, j, right = len(meant), len(said), [False] * len(meant)
    while i:
        same = j and meant[i - 1] == said[j - 1]
        if j and costs[i][j] == costs[i - 1][j - 1] + (not same):
            i, j = i - 1, j - 1
            right[i] = bool(same)
        elif costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
    return right


def strangers(page: dict) -> dict:
    """Strings by FSDD's people, two left out in all fifteen ways, one training each, with a
    learning rate that none of them chose: new takes of the four known, and the two
    strangers, of each of whom the table keeps the share of each digit's words that are wrong.

    About four minutes on one core, with FSDD.
    """
    greedy, rows = reference("29.2"), {}
    taught = {who: people([who], range(40)) for who in range(6)}
    asked = {who: people([who], range(40, 50)) for who in range(6)}
    tests = {who: page["strings"](clips, TEST, 100 + who) for who, clips in asked.items()}
    for seed, pair in enumerate(tqdm(PAIRS)):
        known = [who for who in range(6) if who not in pair]
        clips = {key: takes for who in known for key, takes in taught[who].items()}
        model = page["train"](page["strings"](clips, TRAIN, seed)[0], seed, built_in, HALF)
        for who in range(6):
            part, texts = tests[who]
            said = read_both(page, model, part, greedy)
            kind = "stranger" if who in pair else "known"
            for reading, told in said.items():
                both = page["rates"](told, texts)
                row = rows.setdefault(f"{kind}, {reading}", {"accuracy": [], "CER": [], "who": []})
                row["accuracy"].append(round(1 - both["WER"], 4))
                row["CER"].append(round(both["CER"], 4))
                row["who"].append([seed, who])
                if kind == "stranger":
                    row.setdefault("wrong", []).append(by_digit(page, told, texts))
    return rows


def read_both(page, model, part, greedy):
    said = page["read"](model, part, greedy)
    return {"greedy": said, "snapped": [page["snapped"](one) for one in said]}


def by_digit(page, said, texts):
    """The share of wrong words, for each of the ten."""
    words = {}
    for one, text in zip(said, texts):
        meant = text.split()
        for word, right in zip(meant, right_words(one.split(), meant)):
            words.setdefault(word, []).append(not right)
    return [round(sum(words[w]) / len(words[w]), 4) for w in page["WORDS"]]


SWEEPS = [noise, voices, strangers]
