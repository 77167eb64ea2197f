# %% tags=["measured", "imports"]
# Imports.
import itertools
import random
from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils import plots
from course_utils.datasets import Scenes
from course_utils.datasets.scene_truth import FORMS, caption_truth
from course_utils.datasets.scene_words import RELATIONS, caption
from course_utils.decoding import beam, greedy, sample
from course_utils.exercises import check, mine
from course_utils.gradients import verify_gradient
from course_utils.image_encoder import load_image_encoder
from course_utils.metrics import bleu, mean_interval
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.text import BOS, EOS, PAD, Vocabulary, tokenize

# %% tags=["measured", "proof"]
# The data: scenes of one to three things, their cells, true captions of each.
def load(split, size, seed=0, captions=3):
    scenes = Scenes(split, size=size, seed=seed, objects=(1, 3))
    items = [scenes[i] for i in range(size)]
    images = torch.stack([item["image"] for item in items])            # (N, 3, 64, 64)
    with torch.no_grad():
        cells, _ = load_image_encoder("scenes-cnn", cache=False)(images)   # (N, 64, 64)
    said = []
    for i, item in enumerate(items):
        draws = [random.Random(f"{split} {seed} {i} {j}").random for j in range(captions)]
        said.append([caption(item["objects"], draw) for draw in draws])
    things = [item["objects"] for item in items]
    return {"image": images, "cells": cells, "things": things, "captions": said}

# %% tags=["measured"]
def attend(query, keys, values, heads=4):
    """(B, T, D) asks (B, S, D): what is found (B, T, D), and the weights (B, heads, T, S)."""
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, keys, values))
    weights = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(dim=3)
    return (weights @ v).transpose(1, 2).flatten(2), weights

# %% tags=["measured"]
class Captioner(nn.Module):
    """Cells (B, 64, 64) and words (B, T) -> logits of each next word (B, T, V)."""

    def __init__(self, words):
        super().__init__()
        self.table, self.gru = nn.Embedding(words, 48), nn.GRU(48, 96, batch_first=True)
        self.place = nn.Parameter(torch.randn(64, 64) / 2)     # learned: where a cell is
        self.begin, self.query = nn.Linear(64, 96), nn.Linear(96, 64)
        self.key, self.value = nn.Linear(64, 64), nn.Linear(64, 64)
        self.head = nn.Sequential(nn.Linear(160, 128), nn.ReLU(), nn.Linear(128, words))

    def see(self, cells):
        x = cells + self.place                                 # (B, 64, 64)
        return self.begin(cells.mean(dim=1)).tanh(), self.key(x), self.value(x)

    def say(self, words, seen):
        h, keys, values = seen                                 # (B, 96), (B, 64, 64) twice
        states, h = self.gru(self.table(words), h[None].contiguous())      # (B, T, 96)
        found, weights = attend(self.query(states), keys, values)          # (B, T, 64)
        logits = self.head(torch.cat([states, found], dim=2))  # (B, T, V)
        return logits, (h[0], keys, values), weights

    def forward(self, cells, words):
        return self.say(words, self.see(cells))[0]

    def step(self, last, seen):
        logits, seen, _ = self.say(last[:, None], seen)
        return logits[:, 0], seen                              # (B, V)

# %% tags=["measured", "proof"]
# Training: batches of captions of like length, one learning rate up and down (OneCycle).
def train(part, ids, loss_of, seed, rate=6e-3, epochs=10, rows=64, quiet=True):
    generator = seed_everything(seed)
    owner = torch.arange(len(part["cells"])).repeat_interleave(len(ids) // len(part["cells"]))
    model, length = Captioner(int(ids.max()) + 1), (ids != PAD).sum(dim=1)
    optimizer, count = torch.optim.AdamW(model.parameters(), lr=rate), len(ids) // rows
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=count * epochs)
    for _ in tqdm(range(epochs), desc="training", leave=False, disable=quiet):
        order = torch.randperm(len(ids), generator=generator)[: count * rows]
        order = torch.cat([c[length[c].argsort()] for c in order.split(rows * 16)])
        batches = order.view(count, rows)
        for chosen in batches[torch.randperm(count, generator=generator)]:
            words = ids[chosen, : length[chosen].max()]
            loss = loss_of(model, part["cells"][owner[chosen]], words)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()

# %% tags=["measured", "proof"]
# Captions of many pictures; what of them is true; the share of next words named right.
@torch.no_grad()
def describe(model, cells, vocabulary, how=greedy, start="", **options):
    """A caption for each picture, all of which begin with the words `start`."""
    seen = model.see(cells)
    first = torch.cat([torch.tensor([BOS]), vocabulary.ids(start)])
    first = first.expand(len(cells), -1).clone()
    found = how(model.step, first, seen, end=EOS, limit=30, **options)
    found = found.first() if how is beam else found
    return [f"{start} {rest}".strip() for rest in vocabulary.decode(found.tokens)]

def truths(captions, things):
    return [caption_truth(said, shown) for said, shown in zip(captions, things)]

def share(values):
    values = [float(value) for value in values]
    return sum(values) / len(values)

@torch.no_grad()
def forced(model, cells, ids):
    """Which next words are named right when all words before are the true ones; and the loss."""
    logits = model(cells, ids[:, :-1])                         # (B, T - 1, V)
    there = ids[:, 1:] != PAD
    right = (logits.argmax(dim=2) == ids[:, 1:])[there].double().mean().item()
    return right, F.cross_entropy(logits[there], ids[:, 1:][there]).item()

# %% tags=["measured", "proof"]
# Where it looks at the noun: the caption's nouns that name one thing, and the map at that step.
NOUNS = ("circle", "square", "triangle", "cross", "thing")
def nouns(words, things):
    """(place of the noun, place of the phrase's first word, the thing) of a caption's words."""
    found = []
    for end, word in enumerate(words):
        start = max((k for k in range(end) if words[k] in ("a", "the")), default=end)
        said = set(words[start + 1 : end + 1]) - {"thing"}
        fits = [x for x in things if said <= {x.size, x.colour, x.shape}]
        if word in NOUNS and end - start <= 3 and len(fits) == 1:
            found.append((end, start, fits[0]))
    return found

@torch.no_grad()
def maps(model, cells, ids):
    """Weights (B, heads, T, 64) with which word t of `ids`, without the start, was chosen."""
    return model.say(ids[:, :-1], model.see(cells))[2]

# %% tags=["measured"]
def turned(text):
    """The caption with its relation turned round, if it has one."""
    turns = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    word = next((word for word in RELATIONS if word in text), None)
    return text if word is None else text.replace(word, turns[word])

