"""easy-VQA: questions about pictures of one shape, as a real set that somebody else has made.

5,000 pictures of 64 x 64 pixels, each a circle, rectangle or triangle in one of eight colours, and
48,248 questions in 107 wordings with 13 answers. Of the pip package `easy-vqa` (the extra
`offline`) only the files are read, once their SHA-256 is right; its code is not run.
Source: V. Zhou, easy-VQA, 2019, github.com/vzhou842/easy-VQA, MIT.
"""

import hashlib
import json
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from course_utils.checks import check_choice, check_whole
from course_utils.datasets.files import open_image
from course_utils.datasets.splits import check_index
from course_utils.packages import install_on_colab, package_folder
from course_utils.weights import EASY_VQA, EASY_VQA_FILES

(FILE,) = EASY_VQA_FILES
CREDIT = "easy-VQA, V. Zhou, MIT"
COLORS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
SHAPES = ("circle", "rectangle", "triangle")
YES_NO = ("no", "yes")
ANSWERS = (*COLORS, *SHAPES, *YES_NO)
KINDS = {"all": ANSWERS, "color": COLORS, "shape": SHAPES, "yes/no": YES_NO}
SIDE = 64  # pixels
# The pictures of each published split; its questions and pictures, one after the other.
PICTURES = {"train": 4_000, "test": 1_000}
SHA256 = {
    "train": "23b68570a0a428c5dcdc8415f7405a6157d26da5cdb245164a8cf0f79213a7b4",
    "test": "72c810de400a25271585df3bac8586729f3b089540d7f2f28835ff97183a0073",
}
VALIDATION = 500  # of the 4,000 pictures that train
MEND = f"Install it anew: pip install --force-reinstall --no-deps {EASY_VQA}"


class EasyVQA(Dataset):
    """The questions of one split, one dict a sample.

    A sample is {"image": (3, 64, 64) float32 from 0 to 1, "text": str, the question, "label": int,
    the answer's place in `answers`, "picture": int, the same for all questions about one picture}.
    `collate` needs `kinds=dataset.kinds`.

      split    "train" (3,500 pictures), "validation" (500 of those that are published for training,
               drawn by `seed`, so that nothing is chosen on the test set) or "test" (1,000). About
               ten questions a picture; no picture is in two splits
      about    "color" and "shape" keep the questions that these answer, "yes/no" the others, "all"
               all of them
      seed     another seed is another validation set, of the same size

    `pictures` (P, 3, 64, 64) uint8 holds each picture once, and `places` (N,) int64 says which one
    a question is about, so that a network can read each once for all its questions. `texts` and
    `labels` (N,) int64 are the questions and the answers' places.

    Raises ValueError for a bad argument and for files that have been altered, FileNotFoundError,
    which says what to do, where the package is not installed.
    """

    def __init__(self, split: str = "train", *, about: str = "all", seed: int = 0):
        if split not in ("train", "validation", "test"):
            raise ValueError(f"split: expected train, validation or test, got {split!r}")
        check_choice(KINDS, about=about)
        check_whole(0, seed=seed)
        pictures, questions = _read(_folder(), "test" if split == "test" else "train")
        chosen = _chosen(split, seed)
        place = {picture: i for i, picture in enumerate(chosen)}
        kept = [row for row in questions if row[2] in place and row[1] in KINDS[about]]
        self.split, self.about, self.answers = split, about, KINDS[about]
        self.pictures = pictures[chosen]
        self.texts = [text for text, _, _ in kept]
        self.labels = torch.tensor([self.answers.index(answer) for _, answer, _ in kept])
        self.places = torch.tensor([place[picture] for _, _, picture in kept])

    @property
    def kinds(self) -> dict:
        """What `collate` needs to know."""
        return {"text": "text", "image": (3, SIDE, SIDE)}

    def __repr__(self) -> str:
        return (
            f"EasyVQA({self.split!r}, about={self.about!r}), {len(self):,} questions about"
            f" {len(self.pictures):,} pictures. {CREDIT}"
        )

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict:
        check_index(index, len(self), "questions", self.split)
        place = self.places[index].item()
        return {
            "image": self.pictures[place] / 255,
            "text": self.texts[index],
            "label": self.labels[index].item(),
            "picture": place,
        }


def available() -> bool:
    """Whether the package is installed, so that a page can go on without it."""
    return package_folder(EASY_VQA, FILE) is not None


def _folder() -> Path:
    install_on_colab(EASY_VQA)
    folder = package_folder(EASY_VQA, FILE)
    if folder is None:
        raise FileNotFoundError(
            f"easy-VQA is not here. It comes with the extra offline, or alone, 3 MB:"
            f" pip install --no-deps {EASY_VQA}"
        )
    return folder


def _chosen(split: str, seed: int) -> list[int]:
    """The numbers of a split's pictures, in order."""
    if split == "test":
        return list(range(PICTURES["test"]))
    draw = torch.Generator().manual_seed(int(seed))
    order = torch.randperm(PICTURES["train"], generator=draw).tolist()
    rows = order[:VALIDATION] if split == "validation" else order[VALIDATION:]
    return sorted(rows)


@cache
def _read(folder: Path, split: str) -> tuple[Tensor, list]:
    """The pictures (P, 3, 64, 64) uint8 and the rows [question, answer, picture] of a published
    split; what was checked is what is used.
    """
    names = ["questions.json", *(f"images/{i}.png" for i in range(PICTURES[split]))]
    digest, contents = hashlib.sha256(), []
    for name in names:
        try:
            contents.append((folder / split / name).read_bytes())
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(f"{folder / split / name} cannot be read: {reason}. {MEND}") from error
        digest.update(contents[-1])
    if digest.hexdigest() != SHA256[split]:
        raise ValueError(f"The files in {folder / split} are not those that were published. {MEND}")
    pictures = [(open_image(content) * 255).round().byte() for content in contents[1:]]
    return torch.stack(pictures), json.loads(contents[0])
