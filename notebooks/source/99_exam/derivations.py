"""The exam's ten derivations, questions 31 to 40: which there are, on which page each rests."""

from course_utils.rooms import load

layers, fusion = load("99", "back_layers"), load("99", "back_fusion")

POINTS = 4
ASKED = (
    ("21", "cross-entropy over real tokens", "tokens"),
    ("21", "temperature and smoothing", "smoothed"),
    ("22", "a linear layer on tokens", "linear"),
    ("10", "layer norm", "norm"),
    ("24", "causal attention", "attention"),
    ("23", "a gate of one number", "gate"),
    ("13", "a factor of low rank", "factor"),
    ("24", "InfoNCE with more negatives", "pairs"),
    ("22", "words and places", "tables"),
    ("32", "modality dropout, expected", "dropout"),
)
WRITTEN = layers.WRITTEN | fusion.WRITTEN
LOSSES = layers.LOSSES | fusion.LOSSES


def derivations() -> list:
    """The ten, the same for every seed: their numbers are drawn when they are graded."""
    return [
        WRITTEN[name](str(key), page, topic, POINTS)
        for key, (page, topic, name) in enumerate(ASKED, 31)
    ]


def losses() -> dict:
    """{key: the way forward}."""
    return {str(key): LOSSES[name] for key, (_, _, name) in enumerate(ASKED, 31)}
