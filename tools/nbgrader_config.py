"""nbgrader's settings for a class of this course. `make classroom` copies this file into
classroom/ once; that copy is yours to change, and nbgrader reads it when it is run in that
folder.
"""

import os
import re
import sys
import warnings

import nbformat
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    NbGraderPreprocessor,
    OverwriteCells,
    OverwriteKernelspec,
)

c = get_config()  # noqa: F821  nbgrader gives this function

# ---- where the pages run ----

os.environ.pop("COURSE_STRICT", None)  # a dial that a student has turned is not an error
# guesses go beside each submission, not into your own notes
os.environ["COURSE_HOME"] = "my_course"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# nbgrader calls alembic by name
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]

# seconds for one cell; nbgrader's own 30 are too few
c.Execute.timeout = 300
c.ClearSolutions.code_stub = {"python": "..."}  # what `check` calls "not attempted yet"

# Two warnings for each submission that tell a teacher nothing.
c.Execute.extra_arguments = ["--log-level=ERROR"]
warnings.filterwarnings("ignore", message="Object of type <Submitted")

# ---- what the files from your learning platform are called ----

# anna_10_fusion_concat.ipynb; also "anna_Copy of 10_fusion_concat.ipynb", "anna_10_fusion_concat
# (1).ipynb". What stands before the page's name is taken for the student.
c.FileNameCollectorPlugin.named_regexp = (
    r".*[/\\](?P<student_id>[^/\\]+?)_(?:Copy of )?(?P<file_id>\d\d_\w+?)(?:["
    r" -]+\(?\d+\)?)?\.ipynb$"
)

# ---- which cell is which ----

LANDMARK = re.compile(r'^(# Set-up:|def \w+\(|check\("[\d.]+",|handed_in\("\d\d",)', re.M)


class FindCells(NbGraderPreprocessor):
    """Put nbgrader's metadata back where it belongs, by what stands in the cells.

    nbgrader goes by metadata alone. A copied cell brings a second set, at which nbgrader stops
    for the whole class (jupyter/nbgrader #1083); a page from the public badge has none and gets
    0 points without a word; a deleted check cell takes its points along. Only the check cells
    decide on points, so these are made sure of.
    """

    def preprocess(self, nb, resources):
        names = resources["nbgrader"]
        released = nbformat.read(
            os.path.join("release", names["assignment"], names["notebook"] + ".ipynb"), as_version=4
        )
        nb = nbformat.v4.upgrade(nb)  # Colab writes an older format, in which cells have no ids
        brought = {id(cell): cell.metadata.pop("nbgrader", {}).get("grade_id") for cell in nb.cells}
        place = len(nb.cells)
        for wanted in released.cells:
            if "nbgrader" not in wanted.metadata:
                continue
            name, landmark = wanted.metadata.nbgrader.grade_id, LANDMARK.search(wanted.source)
            free = [
                i
                for i, cell in enumerate(nb.cells)
                if cell.cell_type == wanted.cell_type and "nbgrader" not in cell.metadata
            ]
            found = [i for i in free if brought.get(id(nb.cells[i])) == name]
            if landmark and not found:
                found = [
                    i
                    for i in free
                    if re.search("^" + re.escape(landmark[0]), nb.cells[i].source, re.M)
                ]
            if found:
                place = found[-1]  # the last of several, as nbgrader does
                nb.cells[place].metadata.nbgrader = wanted.metadata.nbgrader
            elif wanted.metadata.nbgrader.grade:
                self.log.warning("Cell '%s' is missing; it is put back.", name)
                place += 1
                nb.cells.insert(place, wanted)
            else:  # the function may come from anywhere, so its check waits until the end
                place = len(nb.cells)
        return nb, resources


c.Autograde.sanitize_preprocessors = [
    ClearOutput,
    FindCells,
    OverwriteKernelspec,
    OverwriteCells,
    CheckCellMetadata,
]
