"""The stored comparisons of page 01: padding that an RNN reads, and page 00's model with another
text extractor.
"""

from tqdm import tqdm

from course_utils.exercises import reference

SEEDS = range(5)
EXTRACTORS = {
    "letters counted (page 00)": "counts",
    "letters, masked mean (01)": "mean",
    "letters, LSTM (01)": "LSTM",
}


def padding(page: dict) -> dict:
    """Who chases whom, by the very last and by the last real state, with padding behind the texts.

    About three minutes on one core.
    """
    page |= {"rnn_step": reference("01.2"), "masked_mean": reference("01.1")}
    rows = {}
    for places in tqdm((0, 5, 10, 20, 30)):
        for kind in ("last", "real"):
            scores = [page["train_reader"](kind, seed, places)[2] for seed in SEEDS]
            rows[f"{kind}, {places}"] = {"accuracy": [round(score, 4) for score in scores]}
    return rows


def plug(page: dict) -> dict:
    """Page 00's model with three text extractors: text alone and all three modalities, each weight
    decay chosen on the validation set of seed 0.

    About four minutes on one core.
    """
    page |= {"masked_mean": reference("01.1")}
    splits = ("train", "validation", "test")
    draws = [{split: page["load"](split, seed) for split in splits} for seed in tqdm(SEEDS, "load")]
    rows = {}
    for name, kind in tqdm(EXTRACTORS.items()):
        accuracy, decays = {}, {}
        for inputs, others in {"text": (), "all three": ("image", "audio")}.items():
            losses = {
                decay: page["train_plugged"](kind, others, draws[0], 0, decay)[0]
                for decay in (0.01, 0.1, 1.0, 3.0)
            }
            decays[inputs] = min(losses, key=losses.get)
            scores = [
                page["train_plugged"](kind, others, draw, seed, decays[inputs])[1]
                for seed, draw in enumerate(draws)
            ]
            accuracy[inputs] = [round(score, 4) for score in scores]
        rows[name] = {"weight_decay": decays, "accuracy": accuracy}
    return rows


SWEEPS = [padding, plug]
