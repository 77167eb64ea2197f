"""A mood in words, in a tone of voice and in an emoji, of which each may be silent or mislead.

The sentences are the clips in data/moods, read by a synthesiser in many voices, whose pitch and
speed go up or down. How often a modality says something, and how often that is right, is set by
dials, so that the best possible accuracy of each modality and of all together is known exactly:
`ceilings`. See data/moods/README.md for the datasheet.
"""

import json
from functools import cache
from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from course_utils.checks import check_choice, check_whole
from course_utils.datasets.files import open_sound
from course_utils.datasets.splits import check_index
from course_utils.runtime import DATA, reads

SAMPLE_RATE = 8_000  # Hz
SIZES = {"train": 600, "validation": 200, "test": 600}  # samples, where no size is given
EMOJI = {-1: ("😞", "😡", "👎"), 1: ("😀", "😍", "👍")}
SAYS = ("words", "tone", "emoji")  # what each modality says of the mood: -1, 0 or 1


class Moods(Dataset):
    """Spoken sentences of one split with an emoji, one dict a sample.

    A sample is {"text": str, the sentence, "audio": (S,) float from -1 to 1 at 8 kHz, at most 1.5
    s, "emoji": str or None, "label": 0 (bad mood) or 1 (good), "words", "tone" and "sign": what
    the sentence, the voice and the emoji say, -1, 0 or 1, "voice", "sentence" and "clip": int}.
    `collate` needs `kinds=moods.kinds`; its mask says where there is no emoji.

    A sample is drawn so: a mood, each as often; then words, tone and emoji, independent given the
    mood; then one of the split's clips with these words and this tone.

      split        "train" (18 voices, 18 sentences, 162 clips), "validation" (4, 6, 36) or "test"
                   (12, 12, 108). Neither a voice nor a sentence is in two of them
      size         number of samples; None for 600, 200 or 600. Clips come again and again: what is
                   learned is learned from the clips, and an interval counts voices, not samples
      informative  probability that the words say something (else they are neutral), and that the
                   tone does; 0.6
      agrees       probability that a modality which says something says the truth; 0.9
      emoji        probability that there is an emoji; 0.5
      seed         another seed is another draw from the same clips

    `sounds`, a list of (S,), holds each clip of the split once, and `places` (N,) int64 says which
    one a sample has, so that features are computed once a clip. `texts`, `emojis` (with None),
    `labels` (N,) int64 and `says` (N, 3) int64, in the order of SAYS, are the columns.

    Turning one dial leaves the draws of the others as they were. Raises ValueError for a bad
    argument.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        size: int | None = None,
        informative: float = 0.6,
        agrees: float = 0.9,
        emoji: float = 0.5,
        seed: int = 0,
    ):
        check_choice(SIZES, split=split)
        size = SIZES[split] if size is None else size
        check_whole(1, size=size)
        check_whole(0, seed=seed)
        _check_dials(informative, agrees, emoji)
        rows, sounds = _clips()
        self.split, self.seed = split, seed
        self.informative, self.agrees, self.emoji = informative, agrees, emoji
        of_split = [i for i, row in enumerate(rows) if row["split"] == split]
        self._rows = [rows[i] for i in of_split]
        self.sounds = [sounds[i] for i in of_split]
        # a generator for each purpose, so that one dial does not shift the numbers of another
        key = [seed, list(SIZES).index(split)]
        mood_rng, says_rng, true_rng, clip_rng, sign_rng = (
            np.random.default_rng([*key, k]) for k in range(5)
        )
        self.labels: Tensor = torch.from_numpy(mood_rng.integers(2, size=size))
        mood = 2 * self.labels.numpy() - 1
        says = says_rng.random((size, 3)) < [informative, informative, emoji]
        right = true_rng.random((size, 3)) < agrees
        says = says * np.where(right, 1, -1) * mood[:, None]  # (N, 3)
        self.says: Tensor = torch.from_numpy(says)
        cells: dict[tuple[int, int], list[int]] = {}
        for i, row in enumerate(self._rows):
            cells.setdefault((row["words"], row["tone"]), []).append(i)
        chance, which = clip_rng.random(size), sign_rng.integers(3, size=size)
        places = [
            cells[words, tone][int(u * len(cells[words, tone]))]
            for (words, tone, _), u in zip(says.tolist(), chance)
        ]
        self.places: Tensor = torch.tensor(places)
        self.texts = [self._rows[i]["text"] for i in places]
        self.emojis = [
            EMOJI[sign][k] if sign else None for sign, k in zip(says[:, 2].tolist(), which)
        ]

    @property
    def kinds(self) -> dict:
        """What `collate` needs to know where a modality is missing in a whole batch."""
        return {"text": "text", "audio": "sequence", "emoji": "text"}

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict:
        check_index(index, len(self), "samples", self.split)
        place = int(self.places[index])
        words, tone, sign = self.says[index].tolist()
        return {
            "text": self.texts[index],
            "audio": self.sounds[place],
            "emoji": self.emojis[index],
            "label": int(self.labels[index]),
            "words": words,
            "tone": tone,
            "sign": sign,
            "voice": self._rows[place]["voice"],
            "sentence": self._rows[place]["sentence"],
            "clip": place,
        }


def ceilings(
    informative: float = 0.6, agrees: float = 0.9, emoji: float = 0.5
) -> dict[tuple[str, ...], float]:
    """The best accuracy that anybody can reach who knows what these modalities say, by their
    names: {("words",): 0.74, ..., ("words", "tone", "emoji"): 0.881}.

    Exact: for each of the 27 cases of what is said, the likelier mood is guessed. The dials are
    those of `Moods`. Raises ValueError for a bad one.
    """
    _check_dials(informative, agrees, emoji)
    often = dict(zip(SAYS, (informative, informative, emoji)))

    def chance(name: str, sign: int, mood: int) -> float:
        """Of `sign` from one modality, given the mood."""
        if sign == 0:
            return 1 - often[name]
        return often[name] * (agrees if sign == mood else 1 - agrees)

    best = {}
    for known in (names for k in (1, 2, 3) for names in combinations(SAYS, k)):
        best[known] = sum(
            max(
                0.5 * np.prod([chance(name, sign, mood) for name, sign in zip(known, signs)])
                for mood in (-1, 1)
            )
            for signs in product((-1, 0, 1), repeat=len(known))
        )
    return {known: float(accuracy) for known, accuracy in best.items()}


def _check_dials(informative: float, agrees: float, emoji: float) -> None:
    for name, rate in (("informative", informative), ("agrees", agrees), ("emoji", emoji)):
        if not 0 <= rate <= 1:
            raise ValueError(f"{name}: expected a probability between 0 and 1, got {rate!r}")


@cache
def _clips() -> tuple[list[dict], list[Tensor]]:
    """The rows of the manifest, each with the number of its sentence, and the sounds."""
    folder = reads(DATA / "moods")
    rows = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["rows"]
    numbers: dict[str, int] = {}
    for row in rows:
        row["sentence"] = numbers.setdefault(row["text"], len(numbers))
    return rows, [open_sound(folder / "speech" / row["file"], SAMPLE_RATE) for row in rows]
