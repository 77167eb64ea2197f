"""The stored comparisons of page 02: frozen, adapted, from scratch; what a small GPT keeps."""

from tqdm import tqdm

SEEDS = range(5)


def text_labels(page: dict) -> dict:
    """Who chases whom, by page 02: frozen and adapted vectors, an LSTM, words and pairs of
    words, by the number of labels.

    About six minutes on one core.
    """
    rows = {}
    for kind in page["LEARNERS"]:
        for count in tqdm((10, 20, 50, 100, 200), desc=kind):
            rows[f"{kind}, {count}"] = {
                "accuracy": [round(page["who_chases"](kind, count, seed), 4) for seed in SEEDS]
            }
    return rows


def text_gpt(page: dict) -> dict:
    """What page 02's small GPT keeps at its first and last token and in the mean, by what its
    texts' endings were.

    About six minutes on one core.
    """
    rows = {}
    for ending, epochs in (("useful", 20), ("useless", 20), ("useful", 0)):
        for seed in tqdm(SEEDS, desc=ending):
            gpt, words, loss = page["pretrain"](ending, seed, epochs)
            row = rows.setdefault(ending if epochs else "untrained", {"loss": [], "accuracy": {}})
            row["loss"].append(round(loss, 4) if epochs else None)
            for place, value in page["probe"](gpt, words, seed).items():
                row["accuracy"].setdefault(place, []).append(round(value, 4))
    return rows


SWEEPS = [text_labels, text_gpt]
