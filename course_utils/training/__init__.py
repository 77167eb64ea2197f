"""A training loop that can be trusted: samples weighted alike, the epoch that was best on the
validation set kept.

Where what stands: `batches` deals out samples, `loop` fits and evaluates, `controls` shuffles a
modality.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "Batches": "batches",
    "to_device": "batches",
    "NO_BATCHES": "loop",
    "Evaluation": "loop",
    "History": "loop",
    "evaluate": "loop",
    "fit": "loop",
    "shuffle_modality": "controls",
    "shuffle_splits": "controls",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
