"""Make the spoken sentences that ship in data/moods, and say whether they came out as before.

Run it with `make data`. It needs espeak-ng and SciPy, as `make_data` does, whose way of speaking
it takes. Each of 34 voices says nine sentences: one for each pair of what the words say and how
they are said, negative, neutral or positive. Neither a voice nor a sentence is in two splits.
"""

import sys
from pathlib import Path

import numpy as np
from make_data import ACCENTS, RATE, VARIANTS, command, speak, write

SIGNS = (-1, 0, 1)
OFFSET = 15  # of the pitch (0-99) and of the speed (words a minute), up for 1 and down for -1
LONGEST = 1.5  # seconds
PEAK = 0.35  # of full scale: half as loud as the digits, and a bit less a sample in the file
VOICES = {
    "train": VARIANTS["train"].split()[:18],
    "validation": VARIANTS["validation"].split()[2:6],
    "test": VARIANTS["test"].split() + VARIANTS["validation"].split()[:2],
}
SENTENCES = {
    "train": {
        -1: (
            "I hate this place.",
            "That was awful.",
            "You broke my heart.",
            "We lost everything.",
            "This is so unfair.",
            "I feel terrible.",
        ),
        0: (
            "The bus is here.",
            "It is on the table.",
            "We meet at noon.",
            "The door is open.",
            "I wrote it down.",
            "She lives upstairs.",
        ),
        1: (
            "I really love this.",
            "What a lovely day.",
            "That made me happy.",
            "You did so well.",
            "This is great news.",
            "We won the match.",
        ),
    },
    "validation": {
        -1: ("What a sad story.", "It hurts so badly."),
        0: ("The box is brown.", "He has two bags."),
        1: ("I feel wonderful.", "Best meal ever."),
    },
    "test": {
        -1: ("The food was bad.", "I am really angry.", "Nobody likes me.", "A stupid mistake."),
        0: (
            "The train leaves soon.",
            "It is half past nine.",
            "They moved the chairs.",
            "I read the page.",
        ),
        1: (
            "It works perfectly.",
            "They were so kind.",
            "I am very proud.",
            "Such a nice surprise.",
        ),
    },
}


def clips() -> list[dict]:
    """The 306 clips, voice by voice, as rows of file, split, voice, accent, variant, speed, pitch,
    text, words and tone (-1, 0 or 1). In a split each sentence comes as often in each tone.
    """
    rows = []
    voices = [(split, variant) for split, names in VOICES.items() for variant in names]
    for i, (split, variant) in enumerate(voices):
        for words in SIGNS:
            for tone in SIGNS:
                said = SENTENCES[split][words]
                # the multipliers only spread the settings evenly, without a random generator
                rows.append(
                    {
                        "file": f"{i:02d}_{3 * (words + 1) + tone + 1}.flac",
                        "split": split,
                        "voice": i,
                        "accent": ACCENTS[i * 3 % len(ACCENTS)],
                        "variant": variant,
                        "speed": 195 + i * 17 % 31 + OFFSET * tone,
                        "pitch": 35 + i * 13 % 31 + OFFSET * tone,
                        "text": said[(i + tone) % len(said)],
                        "words": words,
                        "tone": tone,
                    }
                )
    return rows


def make(folder: Path) -> dict:
    """Write 306 FLAC clips and manifest.json into `folder`; return the manifest."""
    rows = clips()
    return write(folder, ((row["file"], spoken(row)) for row in rows), rows=rows)


def spoken(row: dict) -> np.ndarray:
    """One clip, (samples,) int16. Raises ValueError where it is too long."""
    clip = speak(row["text"], row, PEAK)
    if len(clip) > LONGEST * RATE:
        raise ValueError(f"{row['file']}: {len(clip) / RATE:.2f} s, at most {LONGEST} wanted")
    return clip


if __name__ == "__main__":
    sys.exit(command("Make the sentences of data/moods again.", "moods", make))
