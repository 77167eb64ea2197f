"""The stored comparisons of page 01: padding that an RNN reads, and page 00's model with another
text extractor.
"""

from tqdm import tqdm

from course_utils.exercises import reference
from course_utils.training import shuffle_splits

SEEDS = range(5)
EXTRACTORS = {  # row: class, width, whether the text is shuffled among the samples
    "letters counted (page 00)": ("LetterCounts", 78, False),
    "letters, masked mean": ("LetterMean", 32, False),
    "letters, LSTM": ("LetterReader", 64, False),
    "letters, LSTM, text shuffled": ("LetterReader", 64, True),
}
WITHOUT_ORDER = {"letters sorted a to z, LSTM": ("LetterSorted", 64, False)}


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
    """Page 00's model with three text extractors, and the control with its texts shuffled: text
    alone and all three modalities, each weight decay chosen on the validation set of seed 0.

    About five minutes on one core.
    """
    return plugged(page, EXTRACTORS)


def order(page: dict) -> dict:
    """The same for the LSTM when the letters of every word are sorted.

    About two minutes on one core.
    """
    return plugged(page, WITHOUT_ORDER)


def plugged(page: dict, extractors: dict) -> dict:
    """The rows of `extractors`: the chosen weight decays, and the accuracies of all seeds."""
    page |= {"masked_mean": reference("01.1")}
    draws = [page["load"](seed) for seed in tqdm(SEEDS, "load")]
    rows = {}
    for name, (extractor, width, shuffled) in tqdm(extractors.items()):
        data = draws
        if shuffled:
            data = [shuffle_splits(draw, "text", seed) for seed, draw in enumerate(draws)]
        accuracy, decays = {}, {}
        for inputs, others in {"text": (), "all three": ("image", "audio")}.items():
            model = page[extractor], width, others
            losses = {
                decay: page["train_plugged"](model, data[0], 0, decay)[0]
                for decay in (0.01, 0.1, 1.0, 3.0)
            }
            decays[inputs] = min(losses, key=losses.get)
            scores = [
                page["train_plugged"](model, draw, seed, decays[inputs])[1]
                for seed, draw in enumerate(data)
            ]
            accuracy[inputs] = [round(score, 4) for score in scores]
        rows[name] = {"weight_decay": decays, "accuracy": accuracy}
    return rows


SWEEPS = [padding, plug, order]
