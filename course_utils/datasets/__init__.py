"""The worlds that the course is played on, each behind one class, and the collation that they
share.
"""

from course_utils.datasets.collation import collate
from course_utils.datasets.digits import Digits
from course_utils.datasets.gates import LARGE, SMALL, Cues, Gates
from course_utils.datasets.names import MODALITIES
from course_utils.datasets.scenes import Scenes

__all__ = ["LARGE", "MODALITIES", "SMALL", "Cues", "Digits", "Gates", "Scenes", "collate"]
