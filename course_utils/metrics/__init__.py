"""Scores, and how far to trust them.

Where what stands: `scores` has accuracy, `intervals` the intervals over seeds, `bootstrap` those
over groups, `retrieval` cosines, ranks and recall, `texts` what is asked of sentences and names.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "accuracy": "scores",
    "COVERAGE": "bootstrap",
    "FEW_GROUPS": "bootstrap",
    "mean_interval": "intervals",
    "paired": "intervals",
    "percent": "intervals",
    "cluster_bootstrap": "bootstrap",
    "cosines": "retrieval",
    "retrieval_ranks": "retrieval",
    "recall_at": "retrieval",
    "equal_names": "texts",
    "bleu": "texts",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
