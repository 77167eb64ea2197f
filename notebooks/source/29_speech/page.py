# %% [markdown]
# # draft

# %% tags=["measured", "imports"]
# Imports.
import json
import re
import shutil
import subprocess
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import plots
from course_utils.audio import log_mel, open_sound
from course_utils.datasets import Digits, collate, store
from course_utils.datasets.digits import SAMPLE_RATE, WORDS
from course_utils.exercises import check, mine, reference
from course_utils.masks import masked_mean, pad
from course_utils.metrics import mean_interval
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import DATA, reads, seed_everything
from course_utils.training import Batches, evaluate, fit

# %% tags=["measured", "proof"]
# Frames of a sound, every 20 ms, less the mean of each band; and the network that hears them.
def frames_of(sound, mask):
    """(B, S) and mask -> log-mel (B, T, 40), mask (B, T)."""
    frames, heard = log_mel(sound, mask, hop_length=160, floor=1e-4)
    mean = masked_mean(frames, heard)[:, None]                             # (B, 1, 40)
    return torch.where(heard[..., None], (frames - mean) / 2, 0.0), heard

class Ears(nn.Module):
    """Convolutions over time, (B, T, 40) -> (B, T', width): a step every 40 ms, wide views."""

    def __init__(self, width, dilations):
        super().__init__()
        self.first = nn.Conv1d(40, width, 5, stride=2, padding=2)
        self.more = nn.ModuleList(
            [nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in dilations])
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for _ in range(1 + len(dilations))])

    def forward(self, frames, heard):
        heard = heard[:, ::2]                                              # (B, T')
        x = self.norms[0](self.first(frames.transpose(1, 2))).relu() * heard[:, None]
        for conv, norm in zip(self.more, self.norms[1:]):
            x = (x + norm(conv(x)).relu()) * heard[:, None]                # (B, width, T')
        return x.transpose(1, 2), heard

# %% tags=["measured", "proof"]
# One digit, seen and heard: `digits` without noise in its sound, and its sound in noise.
def load(split, seed):
    samples = collate([*Digits(split, seed=seed, speech_snr=float("inf"))])
    sound = samples["audio"] / samples["audio"].abs().amax(dim=1, keepdim=True)
    return {"image": samples["image"].flatten(1), "sound": sound,
            "there": samples["mask"]["audio"], "label": samples["label"]}

LEVELS = (float("inf"), 10.0, 0.0, -5.0, -10.0, -15.0)                     # dB

def in_noise(part, levels, seed):
    """The part with white noise in its sound, each row at a level drawn from `levels`."""
    draw = torch.Generator().manual_seed(seed)
    sound, there = part["sound"], part["there"]
    level = torch.tensor(levels)[torch.randint(len(levels), (len(sound),), generator=draw)]
    power = (sound.square() * there).sum(dim=1) / there.sum(dim=1)         # (B,)
    spread = (power / 10 ** (level / 10)).sqrt()[:, None]
    noisy = sound + spread * torch.randn(sound.shape, generator=draw)
    frames, heard = frames_of(torch.where(there, noisy, 0.0), there)
    return {"image": part["image"], "audio": frames, "audio_heard": heard, "label": part["label"]}

# %% tags=["measured", "proof"]
# Its classifier: pixels, sound, or both, glued.
class Pair(nn.Module):
    def __init__(self, use, width=32):
        super().__init__()
        self.use, self.ears = use, Ears(width, (1,))
        self.eye = nn.Sequential(nn.Linear(256, 64), nn.ReLU())
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(64 * ("image" in use) + 2 * width * ("audio" in use), 10)

    def forward(self, batch):
        parts = []
        if "image" in self.use:
            parts.append(self.eye(batch["image"]))                         # (B, 64)
        if "audio" in self.use:
            x, heard = self.ears(batch["audio"], batch["audio_heard"])
            parts += [masked_mean(x, heard), x.amax(dim=1)]                # (B, 32) both
        return self.head(self.drop(torch.cat(parts, dim=1)))

def train_pair(use, train, validation, seed, lr=1e-3, decay=0.1, epochs=15):
    generator = seed_everything(seed)
    model = Pair(use)
    fit(model, Batches(train, 64, generator), Batches(validation, 1024), epochs=epochs, lr=lr,
        weight_decay=decay)
    return model

# %% tags=["measured"]
def speak(clips, gaps):
    """Clips (S,), one behind the other, with silences of `gaps` samples before, between, after."""
    parts = [torch.zeros(gaps[0])]
    for clip, gap in zip(clips, gaps[1:]):
        parts += [clip, torch.zeros(gap)]
    return torch.cat(parts)

# %% tags=["measured", "proof"]
# The voices that ship with the course: {(voice, digit): [clips]}; and FSDD's six people.
def voices_of(split):
    folder = reads(DATA / "digits")
    listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["voices"]
    clips = {}
    for voice in (one["voice"] for one in listed if one["split"] == split):
        for digit in range(10):
            sound = open_sound(folder / "speech" / f"{voice:02d}_{digit}.flac", SAMPLE_RATE)
            clips[voice, digit] = [sound / sound.abs().max()]
    return clips

def people(who, takes):
    """FSDD's recordings of the speakers `who` (numbers from 0 to 5), those with these takes."""
    (folder,) = store.fetch("fsdd")
    names = sorted({file.stem.split("_")[1] for file in folder.glob("*.wav")})
    clips = {}
    for speaker, digit in product(who, range(10)):
        files = [folder / f"{digit}_{names[speaker]}_{take}.wav" for take in takes]
        sounds = [open_sound(file, SAMPLE_RATE) for file in files]
        clips[speaker, digit] = [sound / sound.abs().max() for sound in sounds]
    return clips

# %% tags=["measured", "proof"]
# Strings of two to four digits, each in one voice, as a batch with its letters.
LETTERS = " " + "".join(sorted(set("".join(WORDS))))                       # 16; 0 is the blank

def numbered(texts):
    rows = [torch.tensor([1 + LETTERS.index(letter) for letter in text]) for text in texts]
    return {"targets": pad(rows)[0], "letters": torch.tensor([len(row) for row in rows])}

def batch_of(sounds, digits, rng):
    """Sounds (S,) in a faint hiss, and what they say, as tensors by name."""
    hissing = [sound + 0.01 * torch.from_numpy(rng.standard_normal(len(sound))).float()
               for sound in sounds]
    frames, heard = frames_of(*pad(hissing))
    texts = [" ".join(WORDS[digit] for digit in said) for said in digits]
    return {"frames": frames, "heard": heard, **numbered(texts)}, texts

def strings(clips, count, seed, say=speak):
    rng, sounds, digits = np.random.default_rng(seed), [], []
    voices = sorted({voice for voice, _ in clips})
    for _ in range(count):
        voice, said = int(rng.choice(voices)), rng.integers(10, size=rng.integers(2, 5)).tolist()
        takes = [clips[voice, digit] for digit in said]
        chosen = [of_one[int(rng.integers(len(of_one)))] for of_one in takes]
        gaps = rng.integers(0, 1600, size=1 + len(said)).tolist()          # up to 0.2 s
        sounds.append(say(chosen, gaps))
        digits.append(said)
    return batch_of(sounds, digits, rng)

# %% tags=["measured"]
class Recogniser(nn.Module):
    """Frames -> log-probabilities of 16 letters and the blank, every 40 ms: (B, T', 17)."""

    def __init__(self, width=64):
        super().__init__()
        self.ears = Ears(width, (1, 2, 4))
        self.out = nn.Linear(width, 1 + len(LETTERS))

    def forward(self, frames, heard):
        x, heard = self.ears(frames, heard)                                # (B, T', 64)
        return self.out(x).log_softmax(dim=2), heard.sum(dim=1)            # (B, T', 17), (B,)

# %% tags=["measured"]
def train(data, seed, ctc, lr=6e-3, steps=300):
    generator = seed_everything(seed)
    model = Recogniser()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(data["frames"]), (32,), generator=generator)
        log_probs, frames = model(data["frames"][rows], data["heard"][rows])
        letters = data["letters"][rows]
        loss = -(ctc(log_probs, data["targets"][rows], frames, letters) / letters).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()

# %% tags=["measured"]
def edits(said, meant):
    """The fewest letters (or words) to put in, take out or change: (S + D + I)."""
    row = list(range(len(meant) + 1))                      # from nothing to each beginning
    for i, one in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(meant, 1):
            change = before + (one != other)
            before, row[j] = row[j], min(change, row[j] + 1, row[j - 1] + 1)
    return row[-1]

def error_rate(said, meant):
    return sum(map(edits, said, meant)) / sum(map(len, meant))

# %% tags=["measured", "proof"]
# Reading what a recogniser hears, letter by letter; snapped to the ten words; both rates.
def spelled(numbers):
    return "".join(LETTERS[number - 1] for number in numbers)

def words_of(texts):
    return [text.split() for text in texts]

@torch.no_grad()
def read(model, batch, greedy):
    log_probs, frames = model(batch["frames"], batch["heard"])
    return [spelled(numbers) for numbers in greedy(log_probs, frames)]

def snapped(text):
    """Each word becomes the one of the ten that is nearest in edits."""
    return " ".join(min(WORDS, key=lambda word: edits(word, heard)) for heard in text.split())

def rates(said, meant):
    return {"CER": error_rate(said, meant), "WER": error_rate(words_of(said), words_of(meant))}

# %% tags=["measured", "proof"]
# A prefix beam: the likeliest texts, each the sum of those of its paths that stay in the beam.
def beam_one(log_probs, width=8, most=4):
    """(T, C) -> the best text's numbers. A text keeps two sums: paths that end in the blank, or
    in its last letter."""
    none = float("-inf")
    beam = {(): (0.0, none)}
    for frame in log_probs:
        best = frame.topk(most)
        found = {}
        def add(text, place, score):
            sums = found.setdefault(text, [none, none])
            sums[place] = np.logaddexp(sums[place], score)
        for text, (blank, letter) in beam.items():
            total = np.logaddexp(blank, letter)
            for score, number in zip(best.values.tolist(), best.indices.tolist()):
                if number == 0:
                    add(text, 0, total + score)
                elif text and text[-1] == number:
                    add(text, 1, letter + score)
                    add((*text, number), 1, blank + score)
                else:
                    add((*text, number), 1, total + score)
        kept = sorted(found, key=lambda text: -np.logaddexp(*found[text]))[:width]
        beam = {text: found[text] for text in kept}
    return list(next(iter(beam)))
