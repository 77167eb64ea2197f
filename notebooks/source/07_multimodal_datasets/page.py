# %% [markdown]
# # How do several modalities travel together?
#
# A model wants batches, in which the picture, the sound and the words of a sample stand in one row. What you have is a folder of files, and some are missing.
#
# *About {minutes} minutes. You need page 00: modalities, features, the shuffled control; and page 01 for the last experiment.*

# %% [markdown]
# ## In this notebook you will
#
# 1. turn a folder of pictures, sounds and a table into samples with names;
# 2. build `collate`: padding, masks and what is missing, in one batch;
# 3. pin what a loader draws, with any number of workers;
# 4. build a split that keeps groups together, and measure what a random one flatters;
# 5. build a mirror for pairs of picture and caption, and see what half a mirror costs;
# 6. say of this course's sets whether you may train on them, show and share them.

# %% tags=["measured", "imports"]
# Imports.
import csv
import re
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from course_utils import plots
from course_utils.datasets import Digits, collation, read_table
from course_utils.datasets.collation import letter_ids
from course_utils.datasets.digits import SAMPLE_RATE, WORDS, WRITER_BLOCKS
from course_utils.exercises import check, mine
from course_utils.masks import masked_mean
from course_utils.metrics import percent
from course_utils.report import guess, guesses, outcome, report
from course_utils.rooms import stored
from course_utils.runtime import seed_everything

# %% tags=["figure"]
# Five samples as one batch, drawn.
clean = {"image_noise": 0, "speech_snr": float("inf"), "text_error": 0.3}
digits = Digits("train", **clean, missing={"text": 0.1, "image": 0.1, "audio": 0.1})
figure, panels = plots.axes(width=7.2, height=3.0, columns=3)
for row, place in enumerate((0, 147, 399, 987, 1281)):
    sample = digits[place]
    word = (sample["text"] or "").ljust(6, "0")
    for column, letter in enumerate(word):
        color = plots.COLORS["control"] if letter == "0" else "black"
        panels[0].text(column, row, letter, ha="center", va="center", color=color)
    if sample["image"] is not None:
        panels[1].imshow(-sample["image"][0], cmap="gray", vmin=-1, vmax=0,
                         extent=(2, 3, row + 0.45, row - 0.45), aspect="auto")
    if sample["audio"] is not None:
        seconds = torch.arange(len(sample["audio"])) / SAMPLE_RATE
        panels[2].plot(seconds, row + 0.4 * sample["audio"], color=plots.COLORS["audio"], lw=0.5)
for panel, name, end in zip(panels, ("text", "image", "audio"), (5.5, 5, 0.6)):
    panel.set(title=name, xlim=(-0.03 * end, end), ylim=(4.6, -0.6), yticks=range(5))
panels[0].set(xlabel="letter", xlim=(-0.6, 5.6))
panels[1].set_xticks([])
panels[2].set_xlabel("seconds")
plots.show(figure, "Five samples of `digits` as one batch, a row for each. Gray zeros are padding;"
           " an empty row, or one of zeros alone, is a modality that is missing.")

# %% [markdown] owes="F21 F33"
# ## A folder becomes samples
#
# Page 00 took its samples from `Digits`. Your own data begin as a folder. A folded cell writes one: 60 samples of `digits` as files (the typist's slips are in the words), and a table in which columns that end in `file_name` name files, the form that Hugging Face reads too.

# %% tags=["imports"]
# Writes the folder: pictures as PNG, sounds as WAV, the table as CSV.
import tempfile

holder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
folder = Path(holder.name) / "data"
COLUMNS = ("image_file_name", "audio_file_name", "text", "label", "writer")
(folder / "images").mkdir(parents=True)
(folder / "sounds").mkdir()
written = [COLUMNS]
for i, place in enumerate(range(0, 1260, 21)):
    sample = digits[place]
    names = {"image": f"images/{i:02}.png", "audio": f"sounds/{i:02}.wav"}
    if sample["image"] is not None:
        pixels = (255 * sample["image"][0]).round().byte().numpy()
        Image.fromarray(pixels).save(folder / names["image"])
    if sample["audio"] is not None:
        soundfile.write(folder / names["audio"], sample["audio"].numpy(), SAMPLE_RATE)
    files = [names[name] if sample[name] is not None else "" for name in names]
    written.append((*files, sample["text"] or "", WORDS[sample["label"]], sample["writer"]))
with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows(written)

# %%
with open(folder / "metadata.csv", newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
print(list(rows[0]))
for row in rows[6:8]:
    print(list(row.values()))
for column in ("image_file_name", "audio_file_name", "text"):
    empty = sum(row[column] == "" for row in rows)
    print(f"{column:16} empty in {empty} of {len(rows)} rows")

# %% [markdown]
# A CSV knows strings alone, and a missing field is `""`. One function makes a sample of a row, and says `None` for what is missing. A common mistake, in a data set that calls itself multimodal:

# %% owes="F28 L14" tags=["fault"]
def sample_of(row):
    """One row of the table as a sample of a multimodal data set."""
    return {"text": letter_ids(row["text"]), "label": row["label"]}
print("brings all modalities:", {"text", "image", "audio"} <= set(sample_of(rows[0])))

# %% [markdown] owes="F22 F186"
# It runs, it trains, and never opens a picture. Look at one sample before you look at a loss. Mended, with two functions that give each modality *one* size, rate and scale: any picture becomes 16x16 gray floats from 0 to 1, 16-bit sound floats from -1 to 1, and sound of another rate is refused.

# %%
def open_picture(name):
    picture = Image.open(folder / name).convert("L").resize((16, 16))       # gray, 0 to 255
    return torch.from_numpy(np.array(picture)).float()[None] / 255          # (1, 16, 16), 0 to 1

def open_sound(name):
    sound, rate = soundfile.read(folder / name, dtype="float32")  # (S,), from -1 to 1
    if rate != SAMPLE_RATE:
        raise ValueError(f"{name}: {rate} samples a second, expected {SAMPLE_RATE}")
    return torch.from_numpy(sound)

def sample_of(row):
    """One row of the table as a sample; None where a modality is missing."""
    text, image, audio = row["text"], row["image_file_name"], row["audio_file_name"]
    return {"text": letter_ids(text) if text else None,          # (T,) int64, a is 1
            "image": open_picture(image) if image else None,     # (1, 16, 16)
            "audio": open_sound(audio) if audio else None,       # (S,)
            "label": row["label"]}
print("brings all modalities:", {"text", "image", "audio"} <= set(sample_of(rows[0])))

# %% [markdown]
# A **Dataset** (数据集类) of PyTorch is a length and an item. A file is opened when its sample is asked for, so the folder may be larger than the memory.

# %% owes="F29"
class Folder(Dataset):
    """The rows of a table, one dict a sample."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return sample_of(self.rows[index])

for name, value in Folder(rows)[7].items():
    print(name, tuple(value.shape) if torch.is_tensor(value) else value)

# %% [markdown]
# ## Samples become a batch
#
# `torch.stack` wants equal shapes, and nothing may be missing. Words differ in length: each is filled up with zeros to the longest *of its batch* (page 01's padding), not of the data set, and a mask says which entries were there.
#
# The label is a word as well, and a loss wants its number. Number the classes of each split for itself:

# %%
train_classes = sorted({row["label"] for row in rows[:50]})
test_classes = sorted({row["label"] for row in rows[50:]})
print("seven is class", train_classes.index("seven"), "in training and",
      test_classes.index("seven"), "in the test")

# %% [markdown]
# No error comes up. So *one* list, from the training rows, belongs to the model. (Cross-entropy wants class numbers, int64; `BCEWithLogitsLoss` wants floats.)
#
# > **Exercise 07.1 · collate** — *12 minutes · core*
# >
# > Bring samples together into one batch.
# >
# > - `samples` is a list of B dicts with the same keys. `"label"` is a string, `"image"` a float tensor of this `shape`, and whatever else there is a row of numbers `(T,)`: ids or sound. All but the label may be `None`.
# > - Rows of numbers become `(B, T)`, filled up with 0 at the end to the longest of the batch; ids stay whole numbers. Pictures become `(B, *shape)`, labels `(B,)` int64: their places in `classes`.
# > - `"mask"` is a dict with an entry for each modality. For rows of numbers it is `(B, T)` bool, True where a number was, for pictures `(B,)` bool, True where there was one. What is missing is zeros, and False in its whole row.
# > - A batch has at least one row of numbers of each name. It may be without any picture.

# %% exercise="07.1"
def collate(samples: list[dict], classes: list[str], shape: tuple) -> dict:
    """B samples as one batch of tensors by name, and their masks by name under "mask".

    Example: two samples {"text": tensor([3, 1]), "label": "b"} and {"text": None, "label": "a"}
    with classes ["a", "b"] give "text" [[3, 1], [0, 0]], "label" [1, 0] and
    "mask" {"text": [[True, True], [False, False]]}.
    """
    ### BEGIN SOLUTION
    batch, mask = {}, {}
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        there = torch.tensor([value is not None for value in values])            # (B,)
        if name == "label":
            batch[name] = torch.tensor([classes.index(value) for value in values])
        elif name == "image":
            filled = [torch.zeros(shape) if value is None else value for value in values]
            batch[name], mask[name] = torch.stack(filled), there
        else:
            first = next((value for value in values if value is not None), torch.zeros(0))
            filled = [first[:0] if value is None else value for value in values]
            lengths = torch.tensor([len(value) for value in filled])             # (B,)
            batch[name] = nn.utils.rnn.pad_sequence(filled, batch_first=True)    # (B, T)
            mask[name] = torch.arange(batch[name].shape[1]) < lengths[:, None]   # (B, T)
    return {**batch, "mask": mask}
    ### END SOLUTION

# %% [markdown] hints="07.1"
# <details><summary>A question that helps</summary>
#
# There are three kinds of values: a label, a picture, a row of numbers. What does each need, where a value is `None`? Which length has a row that is not there?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Go through the names of the first sample. Collect the B values of a name in a list. A picture that is missing becomes `torch.zeros(shape)`, then stack. A row that is missing becomes a row of length 0 and of the *same dtype*, then `torch.nn.utils.rnn.pad_sequence(..., batch_first=True)`. The mask is `arange(T) < lengths[:, None]`; a length of 0 makes a row of False by itself.
#
# </details>
# <details><summary>If you see "'NoneType' object has no attribute", or "expected Tensor ... got NoneType"</summary>
#
# A value is None. Replace it before anything asks for its length or stacks it.
#
# </details>
# <details><summary>If ids come out as floats</summary>
#
# `torch.zeros(0)` is float32, and `pad_sequence` takes the dtype of its first row. `first[:0]` has length 0 and the dtype of `first`.
#
# </details>

# %%
collate = mine("07.1", collate)
together = partial(collate, classes=train_classes, shape=(1, 16, 16))
batch = together([sample_of(row) for row in rows[5:9]])
for name in ("text", "image", "audio", "label"):
    print(f"{name:5}", tuple(batch[name].shape), batch[name].dtype)
print(batch["text"].tolist())
print("letters:", batch["mask"]["text"].sum(dim=1).tolist())
print("pictures:", batch["mask"]["image"].tolist())

# %% [markdown] owes="F27"
# One mask says both: *padded* is False behind the word, *missing* is False in the whole row. A mean over the second axis must use it, or every zero counts.
#
# **Truncation** (截断) is the other half: what is longer than the model takes is cut. A tokenizer does both: `padding=True, truncation=True, max_length=128` (page 02).
#
# <details><summary>Compare with yours: the course's own collate</summary>
#
# `course_utils.datasets.collate` does the same for any names, tells the kinds apart by their axes, and refuses what it cannot know: NaN, bytes that were not divided by 255, shapes that do not fit. On this folder a test of this page finds both alike.
#
# In the solution `next` has a second argument, for a batch in which no sample has a sound. Without it, `next` raises StopIteration, and to a `for` over a DataLoader that means "no more batches": the epoch ends there, and nothing is said.
#
# </details>

# %% [markdown] owes="F30"
# ## Who draws, when several work?
#
# A **DataLoader** asks a Dataset for samples in some order and hands them to `collate`. Give it a generator with a seed, and the order can be had again.
#
# With `num_workers=2` two processes open the files, each with *its own copy* of the Dataset. If that holds a random generator, for noise or for augmentation, both get the same one:

# %% tags=["fault"]
import copy

kept = np.random.default_rng(0)                        # the Dataset keeps it as self.generator
workers = [copy.deepcopy(kept) for _ in range(2)]      # what two workers get
noise = [worker.random(2).round(3).tolist() for worker in workers]
print("two workers draw different noise:", noise[0] != noise[1])

# %% [markdown]
# The remedy is to keep no generator: what a sample draws follows from seed, epoch and index. (So the Dataset must be told the epoch before each one.)
#
# <details><summary>And PyTorch's own numbers, and the next epoch?</summary>
#
# The copies are made anew for each epoch (unless `persistent_workers=True`), so every epoch repeats the noise too. PyTorch reseeds `torch`, `random` and NumPy's global numbers in each worker ([notes](https://docs.pytorch.org/docs/stable/data.html#randomness-in-multi-process-data-loading), [NumPy](https://github.com/pytorch/pytorch/pull/56488)); a generator of your own it does not know.
#
# </details>

# %%
def draw(seed, epoch, index):
    return np.random.default_rng([seed, epoch, index]).random(2).round(3).tolist()

noise = [draw(seed=0, epoch=0, index=index) for index in (0, 1)]
print("two workers draw different noise:", noise[0] != noise[1])

# %% [markdown]
# Then it does not matter who draws, or when. `Digits` draws from seed, split and index. A folded cell asks for its shuffled batches without and with two real workers, `DataLoader(Digits("test"), 64, shuffle=True, generator=order, num_workers=2, collate_fn=collate)`, and gets the same.

# %% tags=["proof"]
# The same batches from none and from two real workers.
loaded = []
for number in (0, 2):
    order = torch.Generator().manual_seed(0)
    loader = DataLoader(Digits("test"), 64, shuffle=True, generator=order, num_workers=number,
                        collate_fn=collation.collate)
    loaded.append(list(loader))
same = [torch.equal(a[name], b[name]) for a, b in zip(*loaded) for name in ("label", "image")]
print("none and two workers, the same order and the same noise:", all(same))

# %% [markdown]
# Why not with `Folder`? On Windows and macOS a worker is **spawned**: a new Python gets the Dataset as a pickle, with no more than the *name* of its class. `Digits` it finds by its file, `Folder` lives in this notebook alone. So put what workers need (Dataset, collate, augmentation) into a `.py` file beside the notebook.

# %% tags=["proof"]
# What a new Python says that is handed either class.
import os
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler


def new_process(wanted):
    """What a new Python says that is handed a pickled class, as a spawned worker is."""
    code = f"import pickle, sys; sys.path = {sys.path!r}; pickle.load(sys.stdin.buffer)"
    done = subprocess.run([sys.executable, "-c", code], input=ForkingPickler.dumps(wanted),
                          capture_output=True, env={**os.environ, "PYTHON_COLORS": "0"})
    said = done.stderr.decode().strip().splitlines()
    return "found" if done.returncode == 0 else said[-1].partition(":")[0]

print(f"Digits, from a file: {new_process(Digits)}; Folder, from here: {new_process(Folder)}")

# %% [markdown] owes="F31"
# ## What belongs together stays together
#
# A **split** (划分) into train, validation and test should ask what the model will meet: mostly *new people*, not new samples of the same. A **group** (组) is what must not be torn apart: a patient, a speaker, all frames of one video, all captions of one picture. Check too that classes and missing modalities are spread alike.

# %%
writers = [row["writer"] for row in rows]
print("rows of each writer:", [writers.count(writer) for writer in sorted(set(writers))])
print("the last fifth as the test; writers on both sides:", set(writers[48:]) & set(writers[:48]))

# %% [markdown]
# > **Exercise 07.2 · A split by groups** — *7 minutes · core*
# >
# > Given the group of each row, say which rows train and which test.
# >
# > - `groups` is a list with a number or a string for each row; the rows of a group need not stand together.
# > - `share` of the *groups*, rounded, test; at least one group tests, and at least one trains.
# > - Which ones is drawn with `seed`: the same seed gives the same split, also when Python starts anew; another one may give another. Use a generator of your own, not the global one.
# > - Return two lists of row numbers, the training rows first. Each row is in one of them.

# %% exercise="07.2"
def split_by_group(groups: list, share: float, seed: int) -> tuple[list[int], list[int]]:
    """The rows that train and the rows that test; no group is on both sides.

    Example: groups ["a", "b", "a", "c"] with share 0.3 give ([1, 3], [0, 2]), or ([0, 2, 3], [1]),
    or ([0, 1, 2], [3]), by the seed.
    """
    ### BEGIN SOLUTION
    names = sorted(set(groups))
    number = min(max(round(share * len(names)), 1), len(names) - 1)
    order = np.random.default_rng(seed).permutation(len(names))
    testing = {names[place] for place in order[:number]}
    train = [row for row, group in enumerate(groups) if group not in testing]
    test = [row for row, group in enumerate(groups) if group in testing]
    return train, test
    ### END SOLUTION

# %% [markdown] hints="07.2"
# <details><summary>A question that helps</summary>
#
# What is drawn by chance: rows, or groups?
#
# </details>
# <details><summary>The idea in words</summary>
#
# List the different groups, shuffle that list, and take as many from its start as the share says, but at least one and not all. Then go through the rows and look on which side each row's group is.
#
# </details>
# <details><summary>If the same seed gives two splits</summary>
#
# Python's `hash` of a string changes with each start of Python, and so does the order of a `set` of strings. Sort before you shuffle: `sorted(set(groups))`. And seed the generator inside the function.
#
# </details>

# %%
split_by_group = mine("07.2", split_by_group)
train_rows, test_rows = split_by_group(writers, share=0.2, seed=0)
both = {writers[row] for row in train_rows} & {writers[row] for row in test_rows}
print(len(train_rows), "rows train,", len(test_rows), "test; writers on both sides:", both)

# %% [markdown]
# ### What a random split flatters
#
# All 1,797 scans of `digits`, in 14 blocks of one writer each (two may share one). A scan gets the label of the nearest training scan. Three blocks test, eleven train; twenty splits. With as many random *rows* it is wrong in 1.4 of 100. How many with your split? In percent, to within 1. (It settles page 06's bet.)

# %%
guess("07.a", None, sure=0.5)

# %% tags=["proof"]
# All scans, who wrote them, their distances, and the mistakes of the nearest neighbour.
scans, labels = load_digits(return_X_y=True)                                   # (1797, 64)
blocks = np.searchsorted(WRITER_BLOCKS, np.arange(1797), side="right") - 1     # (1797,)
distance = torch.cdist(*[torch.from_numpy(scans)] * 2).numpy()                 # (1797, 1797)

def mistakes(train, test, struck=None):
    """Per cent of the test scans whose nearest training scan has another label.

    `struck` names for each test scan a writer whose training scans do not count for it.
    """
    apart = distance[np.ix_(test, train)]
    if struck is not None:
        apart = np.where(struck[:, None] == blocks[train], np.inf, apart)
    return 100 * (labels[train][apart.argmin(axis=1)] != labels[test]).mean()

# %%
ways = ("random rows", "without another writer", "without its own writer", "by group")
wrong = {way: [] for way in ways}
for seed in range(20):
    order = np.random.default_rng(seed).permutation(1797)
    train, test = order[385:], order[:385]
    for way, struck in zip(ways, (None, (blocks[test] + 1) % 14, blocks[test])):
        wrong[way].append(mistakes(train, test, struck))
    train_rows, test_rows = split_by_group(blocks.tolist(), 3 / 14, seed)
    wrong["by group"].append(mistakes(np.array(train_rows), np.array(test_rows)))
for (name, values), near in zip(wrong.items(), (1.4, 1.4, 3.8, 3.8)):
    report(f"{name}, wrong in 100", np.mean(values), near=near, within=1)
outcome("07.a", 3.8, within=1)
outcome("06.c", "Ada")

# %% [markdown]
# More than twice as many mistakes. The two middle rows tell why: the same random rows, but a test scan may not ask the scans of one writer. Without another's nothing changes; without its own writer's the flattery, a leakage as on page 06, is gone.
#
# ### Near-duplicates
#
# The sharpest case is a copy on both sides. A **hash** (哈希) of the bytes finds exact ones alone. Make one pixel of a copy a step brighter, as after saving it anew, and the hashes differ; the distance to the copy is 1, to the nearest other scan far more (folded).

# %% tags=["proof"]
# A scan, its copy, and the nearest other scan.
import hashlib

again = scans[7].copy()
again[20] += 1
hashes = [hashlib.sha256(scan.tobytes()).hexdigest() for scan in (scans[7], again)]
other = np.delete(distance[7], 7).min()
print(f"the hashes agree: {hashes[0] == hashes[1]}; distance to the copy"
      f" {np.linalg.norm(scans[7] - again)}, to the nearest other scan {other:.1f}")

# %% [markdown] owes="F32"
# So: hash first, then look at the smallest distances (of features, where pixels say little), and put near-duplicates into one group.
#
# ## A mirror for pairs
#
# Augmentation (page 03) makes more training samples out of those there are: cut, turn, flip, add noise. The label has to survive it, and in a pair the caption has to stay true as well. Two scans side by side, a zero and a one, and a caption; the label says whether it is true.

# %% tags=["measured", "proof"]
# Pairs: a zero and a one side by side, a caption of one of them, whether it is true.
CAPTION = "the {} is on the {}."
VOCABULARY = ["", "the", "zero", "is", "on", "left.", "right."]      # 0 is padding

def make_pairs(number, blocks, seed):
    """Samples {"image": (1, 8, 16), "text": a caption, "label": "yes" or "no"}; new noise each."""
    images, digit = load_digits(return_X_y=True)
    block = np.searchsorted(WRITER_BLOCKS, np.arange(1797), side="right") - 1
    pool = [np.flatnonzero((digit == one) & np.isin(block, blocks)) for one in (0, 1)]
    generator, samples = np.random.default_rng(seed), []
    for _ in range(number):
        zero, one = (images[generator.choice(places)].reshape(8, 8) / 16 for places in pool)
        side, said = generator.integers(2, size=2)     # where the zero is, and what is said
        image = np.hstack([zero, one] if side == 0 else [one, zero])              # (8, 16)
        image = image + 0.5 * generator.standard_normal(image.shape)
        samples.append({"image": torch.from_numpy(image).float()[None],
                        "text": CAPTION.format("zero", ("left", "right")[said]),
                        "label": "yes" if side == said else "no"})
    return samples

# %% tags=["figure"]
# Three pairs with their captions and labels.
few = make_pairs(100, range(0, 10), seed=0)
shown = [few[place] for place in (28, 7, 9)]
plots.pictures(
    [sample["image"][0] for sample in shown],
    titles=[f'"{sample["text"]}" {sample["label"]}' for sample in shown],
    columns=3,
    size=2.2,
    caption="Three pairs: two noisy scans, a caption of where the zero is, and whether it is true.",
)

# %% [markdown]
# Neither the caption nor the picture alone says anything about the label. Mirror both, and the label stays true.
#
# > **Exercise 07.3 · The mirrored pair** — *6 minutes · core*
# >
# > Mirror a sample, picture and words.
# >
# > - `"image"` is `(C, H, W)`: left becomes right. In `"text"`, a string in small letters, the word *left* becomes *right* and the other way round; *bright* and *leftover* are other words, and a comma or a full stop may follow.
# > - What is `None` stays `None`; the other of the two is mirrored all the same.
# > - Return a new dict in which everything else is as it was. The sample that came in stays as it is.

# %% exercise="07.3"
def mirror(sample: dict) -> dict:
    """A sample with its picture (C, H, W) flipped and "left" and "right" exchanged in its text.

    Example: [[[1., 2.]]] with "left of a bright cross" becomes [[[2., 1.]]] with
    "right of a bright cross".
    """
    ### BEGIN SOLUTION
    swap = {"left": "right", "right": "left"}
    image, text = sample["image"], sample["text"]
    if image is not None:
        image = image.flip(-1)                                       # (C, H, W), W turned round
    if text is not None:
        text = re.sub(r"\b(left|right)\b", lambda match: swap[match[0]], text)
    return {**sample, "image": image, "text": text}
    ### END SOLUTION

# %% [markdown] hints="07.3"
# <details><summary>A question that helps</summary>
#
# After `text.replace("left", "right")`, how do you still know which "right" was one before?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Both words must change at once. `re.sub(r"\b(left|right)\b", function, text)` calls a function for each match; `\b` is the edge of a word. Of the picture, the *last* axis is turned round. `{**sample, "image": ...}` is a new dict with one entry replaced.
#
# </details>
# <details><summary>If it "changes its argument in place"</summary>
#
# `sample["image"] = ...` writes into the caller's dict. Make a new one.
#
# </details>

# %%
mirror = mine("07.3", mirror)
for sample in shown[:2]:
    turned = mirror(sample)
    print(sample["text"], sample["label"], "->", turned["text"], turned["label"])

# %% tags=["measured", "proof"]
# The model, and what an image library's random flip does to a pair.
class Answer(nn.Module):
    """Picture (B, 1, 8, 16) and caption (B, T) to logits (B, 2), glued, with a hidden layer."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(len(VOCABULARY), 16)
        self.net = nn.Sequential(nn.Linear(128 + 16, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, batch):
        text = masked_mean(self.table(batch["text"]), batch["mask"]["text"])    # (B, 16)
        return self.net(torch.cat([5 * text, batch["image"].flatten(1)], dim=-1))

def flip_picture_only(sample):
    return {**sample, "image": sample["image"].flip(-1)}

# %% tags=["measured", "proof"]
# Training and scoring; `change` is done to every second training sample.
def drawn(samples, change, seed, epoch):
    """Ids for the captions; each sample changed by chance, from seed, epoch and index."""
    for index, sample in enumerate(samples):
        if np.random.default_rng([seed, epoch, index]).random() < 0.5:
            sample = change(sample)
        ids = [VOCABULARY.index(word) for word in sample["text"].split()]
        yield {**sample, "text": torch.tensor(ids)}

def accuracy_with(samples, test, change, collate_fn, seed, steps=300):
    generator, model = seed_everything(seed), Answer()
    bring = partial(collate_fn, classes=["no", "yes"], shape=(1, 8, 16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    size = min(50, len(samples))
    for epoch in range(steps * size // len(samples)):
        data = list(drawn(samples, change, seed, epoch))
        for batch in DataLoader(data, size, True, generator=generator, collate_fn=bring):
            optimizer.zero_grad()
            F.cross_entropy(model(batch), batch["label"]).backward()
            optimizer.step()
    whole = bring(list(drawn(test, lambda sample: sample, seed, 0)))
    return (model(whole).argmax(-1) == whole["label"]).double().mean().item()

# %% [markdown]
# Picture and caption glued, with a hidden layer behind, learn from such pairs, five seeds with each number of pairs, and are asked about new pairs by other writers. Now every second picture is mirrored by chance: with its caption, or, as an image library does it, without. In the second case half of the pairs of an epoch say the opposite of their label.
#
# With 100 pairs as they are, 84 of 100 answers are right. How many with the picture alone flipped? In percent, to within 5.

# %%
guess("07.b", None, sure=0.5)

# %%
sweep = stored("07", "mirrored")              # python tools/sweep.py 07 mirrored
for name, row in sweep.items():
    print(f"{name:42} {percent(row['accuracy'])} %")
    if name.endswith(" mirrored"):
        plain = sweep[name.replace("mirrored", "as they are")]
        print(f"{'    gain in points':41} {percent(row['accuracy'], minus=plain['accuracy'])}")
new = make_pairs(1000, range(10, 14), seed=100)
live = accuracy_with(few, new, mirror, collate, seed=0)
before = sweep["100 pairs, mirrored"]["accuracy"][0]
report("mirrored: live minus stored", live - before, near=0, within=0.03)
outcome("07.b", 54, within=5)

# %% [markdown] owes="F185 F198"
# With 100 pairs, half a mirror turns 84 % into little more than a coin; it differs from the whole one in nothing but the caption. The whole mirror gains 11 points, with a wide interval. With 300 nothing is left to gain: it costs 0.8 ± 0.7 points.
#
# The flip must suit the data as well: zeros and ones about survive it, a mirrored 2 is none. Think also of boxes and key points, of stereo sound, writing in a picture, *clockwise*.
#
# ## May I?
#
# May I **train** on a set, **show** it, **share** it? The *licence* says so. Behind it stand **provenance** (来源), who made it, when, how and out of what, and **consent** (同意): do the people in it know? A collector's licence cannot give what they did not. This course's own sets (no legal advice):
#
# | set | licence | train | show, share | who is in it |
# |---|---|---|---|---|
# | scans of `digits` (UCI) | CC BY 4.0 | yes | with the makers' names | 13 or 14 writers, unnamed |
# | its spoken words, `gates`, `scenes` | CC BY 4.0, ours | yes | with our name | nobody: a synthesiser, a seed |
# | MNIST | CC BY-SA 3.0 | yes | with names, share alike | writers, unnamed |
# | Free Spoken Digit Dataset | CC BY-SA 4.0 | yes | with names, share alike | six speakers, by name |
# | a folder from the web | none | ask | ask | ask them too |
#
# <details><summary>Emoji, easy-VQA, weights</summary>
#
# Names of emoji are MIT, the pictures of Noto Apache-2.0, of Twemoji CC BY 4.0; easy-VQA is MIT; the weights of MiniLM and EfficientNet-Lite0 are Apache-2.0, and the sets that they were trained on had terms too. With their notices or names all may be trained on, shown and shared.
#
# </details>
#
# *Share alike*: a set made from it goes on under the same licence; whether a model is one is disputed. A voice can be known again. Write down source, date, licence and hash when you download; later nobody knows.
#
# Multimodal data are costly: a sample needs its modalities, aligned, *and* a label. Before you pay for more, have some labelled twice, and count where both agree.
#
# ## With the library
#
# The course's `read_table` reads such a folder in one call: it opens each file, names the rows that cannot be used (`table.problems`), and splits by group. Three bad rows are put in first; a fourth is the folder's own, the only *five*, which no split could both learn and test.

# %% tags=["proof"]
# The same folder by `read_table`; three bad rows are put in first.
dirty = (folder / "metadata.csv").read_text(encoding="utf-8")
dirty += "images/99.png,,six,six,3\n" + ",,seven,,4\n" + dirty.splitlines()[2] + "\n"
(folder / "dirty.csv").write_text(dirty, encoding="utf-8")
table = read_table(folder / "dirty.csv", label="label", group="writer", texts=["text"], side=16)
kept_rows = len(table.train) + len(table.validation) + len(table.test)
print(f"read_table: {len(table.problems)} of {len(dirty.splitlines()) - 1} rows cannot be used,"
      f" {kept_rows} are split by writer")

# %% [markdown]
# Without our package, padding and groups are a line each:

# %%
import torch as pt
from sklearn.model_selection import GroupShuffleSplit
from torch.nn.utils.rnn import pad_sequence

padded = pad_sequence([pt.tensor([19, 9, 24]), pt.tensor([5])], batch_first=True)   # (2, 3)
is_there = pt.arange(3) < pt.tensor([3, 1])[:, None]                                # (2, 3)
patients = ["a", "b", "a", "c", "d", "b"]
splitter = GroupShuffleSplit(n_splits=1, test_size=0.25, random_state=0)
train_part, test_part = next(splitter.split(patients, groups=patients))
print(padded.tolist(), is_there.tolist())
print("train", train_part.tolist(), "test", test_part.tolist())

# %% [markdown]
# Hugging Face's `datasets` reads the folder too (folded): say which column is a sound, because its `imagefolder` takes every `file_name` for a picture.

# %% tags=["proof", "nbval-ignore-output"]
# Hugging Face's `datasets`; not compared, because the package may not be there.
import importlib.util

if importlib.util.find_spec("datasets"):
    from datasets import Audio, disable_progress_bars, load_dataset

    disable_progress_bars()
    hub = load_dataset("imagefolder", data_dir=str(folder), split="train",
                       cache_dir=holder.name + "/cache").cast_column("audio", Audio(decode=False))
    print(len(hub), {name: type(value).__name__ for name, value in hub[7].items()})
else:
    print("The package `datasets` is not installed; the course's extra `hub` brings it.")

# %% [markdown]
# ## On real data
#
# The 3,000 recordings of the Free Spoken Digit Dataset, and a linear classifier. Random thirds of the *recordings* test, fifteen times; or two of the six *speakers*, each pair in turn. (Page 09 stores both.)

# %% tags=["proof"]
# Random recordings against held-out speakers: the mean of each, and the ends.
speakers = {"random recordings": stored("09", "fsdd_random")["at random"],
            "two of six speakers": stored("09", "fsdd_speakers")["same peak"]}
ends = []
for name, row in speakers.items():
    values = [100 * value for value in row["accuracy"]]
    ends.append(f"{name} {np.mean(values):.0f} % ({min(values):.0f} to {max(values):.0f})")
print("the digit from its sound, " + ", ".join(ends))

# %% [markdown]
# Random recordings promise 93 %. For two new speakers it is 62 on average, and 40 to 88 by which two.
#
# ## Recap
#
# You can now
#
# 1. **read** a folder: a dict a row, None for what is missing, one scale for each modality;
# 2. **build** `collate`: one mask for padded and missing, one list of classes for all splits;
# 3. **pin** what is drawn: a generator for the order; seed, epoch and index for a sample;
# 4. **split** by group: a random split hides more than half of the mistakes, and says 93 % where new voices have 62;
# 5. **mirror** a pair as a whole; half a mirror turned 84 % into 54, a whole one into 95;
# 6. **say** of a set what you may do with it, and who is in it.
#
# ## Questions
#
# <details><summary>1. The mask of a batch of words is (B, T). How do you see that a word is missing, and not merely short?</summary>
#
# Its whole row is False: `mask.any(dim=1)` is False.
#
# </details>
# <details><summary>2. A data set has five captions for each photograph. What is the group?</summary>
#
# The photograph. With rows split at random, most test photographs have been seen in training, with other captions.
#
# </details>
# <details><summary>3. A colleague flips pictures by chance and keeps the captions, "the model will learn to ignore it". What do you measure?</summary>
#
# The share of captions that hold left or right, or anything else that a mirror changes; then three rows: no flip, pairs mirrored, pictures flipped, five seeds each.
#
# </details>
# <details><summary>4. With the whole page: validation accuracy 99 %, on the first new customer 60. Which parts of the pipeline do you look at?</summary>
#
# The split: are customers on both sides, or near-duplicates? The classes: numbered once? The common form: another rate, range or size in the new files? What is missing there that was never missing in training?
#
# </details>
# <details><summary>5. With the whole page: somebody sends you a folder and a table, "all cleaned". What do you do before the first epoch, in which order?</summary>
#
# Licence and consent. Open every file once and list what fails. Print samples. Count missing fields by split and class. Hash, then smallest distances. Find the group, split by it. Look at one batch with its masks.
#
# </details>
#
# ## Read more
#
# - T. Gebru and others, *Datasheets for Datasets*, Communications of the ACM 2021. The questions that a data set's page should answer.
# - S. Kaufman, S. Rosset, C. Perlich, O. Stitelman, *Leakage in Data Mining: Formulation, Detection, and Avoidance*, ACM TKDD 2012. What this page calls flattery, in general.
# - B. Barz, J. Denzler, *Do We Train on Test Data? Purging CIFAR of Near-Duplicates*, Journal of Imaging 2020. 3 to 10 % of two famous test sets.
# - S. Longpre and others, *A Large-Scale Audit of Dataset Licensing and Attribution in AI*, Nature Machine Intelligence 2024. How often the licence is lost on the way.
#
# ## A bet for page 08
#
# A validation set of 258 in batches of 64 leaves a last batch of two. One loop takes the mean of the five batch means, the other the mean of all samples.
#
# *Ada says: now and then they choose another epoch as the best.* *Ben says: two samples cannot move a choice between epochs.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("07.c", None)
guesses("07")
