"""The stored comparisons of page 02: six ways to learn who chases whom from few labels, three to
learn what people rated above 0 in real tweets, and page 00's model with another text extractor.
"""

from tqdm import tqdm

from course_utils.exercises import reference

SEEDS = range(5)
CONTROL = "frozen, random weights"
EXTRACTORS = {
    "MiniLM, frozen (02)": ["text"],
    "letters counted and MiniLM (02)": ["letters", "text"],
}


def text_labels(page: dict) -> dict:
    """Who chases whom, by frozen and fine-tuned vectors, an LSTM, words and pairs of words, by the
    number of labels.

    About six minutes on one core.
    """
    return by_labels(page, [kind for kind in page["LEARNERS"] if kind != CONTROL])


def text_labels_control(page: dict) -> dict:
    """The same by a head on the frozen vectors of random weights.

    About two minutes on one core.
    """
    return by_labels(page, [CONTROL])


def by_labels(page: dict, kinds: list[str]) -> dict:
    """The accuracies of all seeds, by learner and number of labels."""
    page |= {"sentence_vectors": reference("02.1")}
    rows = {}
    for kind in kinds:
        for count in tqdm((10, 20, 50, 100, 200), desc=kind):
            rows[f"{kind}, {count}"] = {
                "accuracy": [round(page["who_chases"](kind, count, seed), 4) for seed in SEEDS]
            }
    return rows


def plug(page: dict) -> dict:
    """Page 00's model with MiniLM as text extractor, by itself and beside counted letters: text
    alone and all three modalities, each weight decay chosen on the validation set of seed 0.

    About four minutes on one core.
    """
    page |= {"sentence_vectors": reference("02.1")}
    splits = ("train", "validation", "test")
    draws = [{split: page["load"](split, seed) for split in splits} for seed in tqdm(SEEDS, "load")]
    rows = {}
    for name, texts in EXTRACTORS.items():
        accuracy, decays = {}, {}
        for inputs, others in {"text": (), "all three": ("image", "audio")}.items():
            names = (*texts, *others)
            losses = {
                decay: page["train_glued"](names, draws[0], 0, decay)[0]
                for decay in tqdm((0.01, 0.1, 1.0, 3.0), f"{name}, {inputs}")
            }
            decays[inputs] = min(losses, key=losses.get)
            scores = [
                page["train_glued"](names, draw, seed, decays[inputs])[1]
                for seed, draw in enumerate(draws)
            ]
            accuracy[inputs] = [round(score, 4) for score in scores]
        rows[name] = {"weight_decay": decays, "accuracy": accuracy}
    return rows


def tweet_labels(page: dict) -> dict:
    """Whether a real tweet was rated above 0, by frozen vectors, those of random weights, and
    counted words, by the number of labels. Needs tweets/tweets_GroundTruth.txt in $COURSE_DATA,
    from hutto_ICWSM_2014.tar.gz in the repository cjhutto/vaderSentiment.

    About six minutes on one core.
    """
    page |= {"sentence_vectors": reference("02.1")}
    rows = {}
    for kind in ("frozen", CONTROL, "bag of words"):
        for count in tqdm((20, 100, 500), desc=kind):
            rows[f"{kind}, {count}"] = {
                "accuracy": [round(page["likes"](kind, count, seed), 4) for seed in SEEDS]
            }
    return rows


SWEEPS = [text_labels, text_labels_control, plug, tweet_labels]
