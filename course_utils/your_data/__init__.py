"""An honest report on a folder of the reader's own.

    python -m course_utils.your_data FOLDER [--label NAME] [--group NAME]

    report = report_on("my_folder", label="label", group="patient")
    print(report)                                   # what was found, a sentence each
    report.predict({"file_name": "new.png", "note": "a text"})

To be read in this order: folder (the table, its columns), features (the encoders), compare (splits,
baselines, fusions, controls), verdict (intervals), traps, model (predict, export), tell and
pages (what is written), run (all of it). All its sentences stand in sentences.
"""

from course_utils.lazy import by_name

HOMES = {
    "Finding": "sentences",
    "NotUsable": "folder",
    "Report": "run",
    "dirty_example": "example",
    "report_on": "run",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
