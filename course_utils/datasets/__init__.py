"""The worlds that the course is played on, each behind one class, the reader's own tables, and
the collation that they share.

A name is looked up in its module when it is asked for, so that whoever wants one thing does not
load, or depend on, all the others.
"""

from course_utils.lazy import by_name

HOMES = {
    "Cues": "cues",
    "Digits": "digits",
    "EasyVQA": "easy_vqa",
    "Emoji": "emoji",
    "Gates": "gates",
    "LARGE": "gates",
    "MODALITIES": "names",
    "Moods": "moods",
    "MovingDigits": "moving_digits",
    "RatedTexts": "rated_texts",
    "SMALL": "gates",
    "Scenes": "scenes",
    "SmartHome": "smart_home",
    "answer_is_true": "scene_truth",
    "caption_truth": "scene_truth",
    "collate": "collation",
    "read_table": "table",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
