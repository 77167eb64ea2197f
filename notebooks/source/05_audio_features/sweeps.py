"""The stored comparisons of page 05: the steps of the MFCC taken away one by one, six models of
spoken digits on clips and on speakers that they have not heard, noise, and page 00's model with
other vectors of its sound.

Recordings are those of the Free Spoken Digit Dataset, 500 of each of six people. Two of the six
are left out, in all fifteen ways, one training each: the pairs are the replicates. Beside it a
random third of all clips is left out, five times. An epoch has 28 steps of 64 clips.
"""

from functools import partial
from itertools import combinations

import torch
from tqdm import tqdm

from course_utils.exercises import reference
from course_utils.rooms import load
from course_utils.training import Batches, evaluate, shuffle_splits

SEEDS = range(5)
SPLITS = ("train", "validation", "test")
PAIRS = list(combinations(range(6), 2))
LEVELS = (None, 20, 10, 5, 0, -5, -10)  # dB; None is no noise
PLUGGED = {  # row: what stands for the sound, whether it is shuffled among the samples
    "bands (page 00)": ("bands", False),
    "MFCC (05)": ("mfcc", False),
    "SoundNet (05)": ("vector", False),
    "SoundNet, vectors shuffled": ("vector", True),
}


def parts(page: dict) -> dict:
    """The page's names, with the course's own answers to its exercises."""
    page.update(mel_filters=reference("05.1"), mix_at_snr=reference("05.2"))
    return page


def heard_by(page: dict, make, data: dict, speaker, shuffled: bool = False) -> dict:
    """Accuracies of one model: a row for each random third, and for each pair of speakers the two
    speakers' own.
    """
    chosen = []
    for seed in SEEDS:
        order = torch.randperm(len(speaker), generator=torch.Generator().manual_seed(seed))
        chosen.append((seed, order < 1000))
    chosen += [(k, (speaker == a) | (speaker == b)) for k, (a, b) in enumerate(PAIRS)]
    random, pairs = [], []
    for place, (seed, test) in enumerate(tqdm(chosen)):
        splits = page["parted"](data | {"speaker": speaker}, test, seed)
        if shuffled:
            draw = torch.Generator().manual_seed(seed)
            train = splits["train"]
            train["label"] = train["label"][torch.randperm(len(train["label"]), generator=draw)]
        model = page["train"](make, splits, seed)
        told = evaluate(model, Batches(splits["test"], 512))
        right = (told.logits.argmax(dim=1) == told.labels).double()
        if place < len(SEEDS):
            random.append(round(right.mean().item(), 4))
        else:
            who = splits["test"]["speaker"]
            pairs.append([round(right[who == one].mean().item(), 4) for one in PAIRS[seed]])
    both = [round(sum(pair) / 2, 4) for pair in pairs]
    return {"accuracy": {"random": random, "speakers": both}, "by_speaker": pairs}


def steps(page: dict) -> dict:
    """A linear head on the means of eight parts of a sound, each step of the MFCC left out. Its
    batch norm gives all numbers the same spread; in the last two rows coefficients keep their own.

    About three minutes on one core, with FSDD.
    """
    page, rows = parts(page), {}
    sound, mask, label, speaker = page["recordings"]()
    power, heard = page["power_spectrogram"](sound, mask, hop_length=160)
    for name, options in page["STEPS"].items():
        vectors = page["eighths"](page["cepstra"](power, **options), heard)
        data = {"vectors": vectors, "label": label}
        width = vectors.shape[1]
        make = partial(linear, page, "vectors", width)
        rows[name] = {"numbers": width, **heard_by(page, make, data, speaker)}
    for kept in (13, 40):
        vectors = page["eighths"](page["cepstra"](power, kept=kept), heard)
        vectors = vectors - vectors.mean(dim=0)
        data = {"vectors": vectors / vectors.std(), "label": label}
        width = vectors.shape[1]
        make = partial(unscaled, page, "vectors", width)
        row = heard_by(page, make, data, speaker)
        rows[f"{kept} kept, one scale for all"] = {"numbers": width, **row}
    return rows


def heads(page: dict) -> dict:
    """A linear head on page 00's bands and on MFCC, with its control, and the network along time
    with two floors under its logarithm.

    About four minutes on one core, with FSDD.
    """
    page = parts(page)
    *clips, speaker = page["recordings"]()
    data = page["prepared"](*clips)
    return {
        "bands, linear": heard_by(page, partial(linear, page, "bands", 256), data, speaker),
        "MFCC, linear": heard_by(page, partial(linear, page, "mfcc", 104), data, speaker),
        "MFCC, labels shuffled": heard_by(
            page, partial(linear, page, "mfcc", 104), data, speaker, shuffled=True
        ),
        "SoundNet": heard_by(page, partial(network, page, "SoundNet", 64), data, speaker),
        "SoundNet, floor 1e-10": heard_by(
            page,
            partial(network, page, "SoundNet", 64),
            page["prepared"](*clips, floor=1e-10),
            speaker,
        ),
    }


def lstm(page: dict) -> dict:
    """The LSTM over frames.

    About three minutes on one core, with FSDD.
    """
    return one_network(page, "FrameLSTM", 64)


def picture(page: dict) -> dict:
    """Page 03's network, with the spectrogram as its picture.

    About four minutes on one core, with FSDD.
    """
    return one_network(page, "Pictured", 32)


def waveform(page: dict) -> dict:
    """Convolutions on the waveform itself.

    About three minutes on one core, with FSDD.
    """
    return one_network(page, "WaveformNet", 64)


def one_network(page: dict, name: str, width: int) -> dict:
    page = parts(page)
    *clips, speaker = page["recordings"]()
    data = page["prepared"](*clips)
    return {name: heard_by(page, partial(network, page, name, width), data, speaker)}


def linear(page: dict, name: str, width: int):
    return page["Classifier"](page["Given"](name, width), width)


def unscaled(page: dict, name: str, width: int):
    """A linear head without the batch norm before it."""
    model = linear(page, name, width)
    model.body.scale = torch.nn.Identity()
    return model


def network(page: dict, name: str, width: int):
    return page["Classifier"](page[name](), width)


def noise(page: dict) -> dict:
    """The network along time on the course's own voices, trained on clean sounds, in noise, and
    with bands and frames erased; tested in white noise.

    About three minutes on one core.
    """
    page, rows = parts(page), {}
    for seed in tqdm(SEEDS):
        data = page["voices"](seed)
        for kind, change in page["CHANGES"].items():
            model = page["train_in_noise"](change, data, seed)
            for level in LEVELS:
                score = page["accuracy"](model, page["in_noise"](data["test"], level))
                row = rows.setdefault(f"{kind}, {'clean' if level is None else level}", {})
                row.setdefault("accuracy", []).append(round(score, 4))
    return rows


def plug(page: dict) -> dict:
    """Page 00's model with MFCC and with the network's vector in the place of its bands, and the
    control with the vectors shuffled: the sound alone and all three modalities, each weight decay
    chosen on the validation set of seed 0.

    About three minutes on one core.
    """
    page, rows = parts(page), {}
    draws = [page["load"](seed) for seed in tqdm(SEEDS, "load")]
    for name, (sound, shuffled) in tqdm(PLUGGED.items()):
        data = draws
        if shuffled:
            data = [shuffle_splits(draw, sound, seed) for seed, draw in enumerate(draws)]
        accuracy, decays = {}, {}
        for inputs, others in {"audio": [], "all three": ["text", "pixels"]}.items():
            make = partial(page["Glued"], [sound, *others])
            decays[inputs], accuracy[inputs] = load("03", "sweeps").by_decay(page, make, data)
        rows[name] = {"weight_decay": decays, "accuracy": accuracy}
    return rows


SWEEPS = [steps, heads, lstm, picture, waveform, noise, plug]
