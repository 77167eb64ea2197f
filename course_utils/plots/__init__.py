"""The figures of the pages, in the look of `look`: bars, curves, points, pictures, sounds; and by
the same name what `look` and `drawings` have.

Where what stands: `intervals` has what is drawn with an interval, bars and points, `lines` the
curves, `images` pictures with boxes and maps on them, `sounds` spectrograms and players.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "bars": "intervals",
    "points": "intervals",
    "curves": "lines",
    "spread": "lines",
    "pictures": "images",
    "panels": "images",
    "overlay": "images",
    "spectrograms": "sounds",
    "listen": "sounds",
    "players": "sounds",
    "CEILING": "course_utils.look",
    "COLORS": "course_utils.look",
    "DPI": "course_utils.look",
    "INK": "course_utils.look",
    "LINES": "course_utils.look",
    "MARKERS": "course_utils.look",
    "MORE_MARKERS": "course_utils.look",
    "SHOWN_AT": "course_utils.look",
    "axes": "course_utils.look",
    "bundle": "course_utils.look",
    "kind": "course_utils.look",
    "png": "course_utils.look",
    "sentence": "course_utils.look",
    "show": "course_utils.look",
    "shown_width": "course_utils.look",
    "styles": "course_utils.look",
    "as_texts": "course_utils.drawings",
    "pipeline": "course_utils.drawings",
    "table_of_numbers": "course_utils.drawings",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
