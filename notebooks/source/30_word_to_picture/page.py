# %% [markdown]
# # Can a word draw a picture?
#
# You type "sevn", and a small network draws a seven. Here you build its loss and its sampler, and then ask three questions of what it draws: is it what was meant, is it copied, and is it always the same?
#
# *About {minutes} minutes. You need pages 01 and 03: words and pictures as vectors.*

# %% [markdown]
# ## In this notebook you will
#
# 1. settle the bet of page 29: does a drawing understand a slip as well as a classifier does?
# 2. build the loss that turns noise into pictures, and train with it;
# 3. build one guided step of the sampler, and watch a word become a digit;
# 4. measure truth, copies and spread, by guidance and by the number of steps;
# 5. tell a collapsed GAN from a sound one;
# 6. write pictures in tokens of a codebook.

# %% tags=["measured", "imports"]
# Imports.
import math

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import plots
from course_utils.datasets.collation import letter_ids
from course_utils.datasets.digits import WORDS, WRITER_BLOCKS, type_word
from course_utils.exercises import check, mine
from course_utils.masks import pad
from course_utils.metrics import mean_interval
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.text import letter_features

# %% tags=["measured", "proof"]
# The pictures, split by writer, and the words.
BLOCKS = {"own": (0, 5), "judge": (5, 10), "validation": (10, 12), "test": (12, 14)}

def scans(split):
    """Pictures (N, 64), paper -1 and ink 1, and their digits (N,), of a few writers."""
    bunch, (start, end) = load_digits(), BLOCKS[split]
    rows = slice(WRITER_BLOCKS[start], WRITER_BLOCKS[end])
    return torch.tensor(bunch.data[rows] / 8 - 1).float(), torch.tensor(bunch.target[rows])

def typed(digit, random):
    """A word with slips (page 01's channel); who types nothing types again."""
    word = ""
    while not word:
        word = type_word(WORDS[int(digit)], 0.6, random)
    return word

def spell(words):
    """78 numbers a word: (B, 78)."""
    return letter_features(*pad([letter_ids(word) for word in words]))

# %% tags=["measured", "proof"]
# The pairs that everything learns from, and words that are in none of them.
def pairs(seed, copies=8):
    """Each picture of the first writers with eight typed words."""
    (pictures, digits), random = scans("own"), np.random.default_rng([30, seed])
    digits = digits.repeat(copies)
    words = [typed(digit, random) for digit in digits]
    return {"pictures": pictures.repeat(copies, 1), "digits": digits, "words": spell(words),
            "seen": {*words}}

def asked(seed, seen, each=100):
    """New words, `each` a digit: the words, and the digits that were meant."""
    random, words = np.random.default_rng([31, seed]), []
    for digit in range(10):
        found = []
        while len(found) < each:
            word = typed(digit, random)
            found += [word] * (word not in seen)
        words += found
    return words, torch.arange(10).repeat_interleave(each)

# %% tags=["measured", "proof"]
# The judge: a support vector machine on other writers, each picture also moved by a pixel.
def moved(pictures, down, right):
    wide = F.pad(pictures.view(-1, 8, 8), (1, 1, 1, 1), value=-1.0)
    return wide[:, 1 - down : 9 - down, 1 - right : 9 - right].flatten(1)

def make_judge(split="judge", gamma=0.08):
    pictures, digits = scans(split)
    moves = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
    more = torch.cat([moved(pictures, *move) for move in moves])
    machine = SVC(C=10, gamma=gamma).fit(more.numpy(), digits.repeat(len(moves)).numpy())
    return lambda drawn: torch.tensor(machine.predict(drawn.numpy()))
# %% tags=["measured"]
class Drawer(nn.Module):
    """The velocity at a place x, a time and a word: (B, 64), (B,), (B, 78) -> (B, 64)."""

    def __init__(self, width=128):
        super().__init__()
        self.word = nn.Sequential(nn.Linear(78, 64), nn.ReLU())
        self.net = nn.Sequential(nn.Linear(64 + 16 + 64, width), nn.SiLU(),
                                 nn.Linear(width, width), nn.SiLU(),
                                 nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 64))

    def forward(self, x, times, words):
        angles = times[:, None] * math.pi * torch.arange(1, 9) / 2         # (B,) -> (B, 8)
        parts = [x, angles.sin(), angles.cos(), self.word(words)]
        return self.net(torch.cat(parts, dim=1))                           # (B, 144) -> (B, 64)

# %% tags=["measured"]
def train(data, loss_of, seed, rate=4e-3, drop=0.1, steps=3000):
    generator, network = seed_everything(seed), Drawer()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(data["words"]), (128,), generator=generator)
        noise, times = torch.randn(128, 64, generator=generator), torch.rand(128, generator=generator)
        dropped = torch.rand(128, generator=generator) < drop
        loss = loss_of(network, data["pictures"][rows], data["words"][rows], noise, times, dropped)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network
# %% tags=["measured"]
@torch.no_grad()
def draw(network, step_of, words, weight=1.0, steps=20, seed=0):
    """Pictures (B, 64) for words (B, 78), and the places on the way."""
    x = torch.randn(len(words), 64, generator=torch.Generator().manual_seed(seed))
    way = [x]
    for k in range(steps):
        x = step_of(network, x, k / steps, 1 / steps, words, weight)
        way.append(x)
    return x.clamp(-1, 1), way
# %% tags=["measured"]
def share_right(drawn, digits, read):
    return (read(drawn) == digits).float().mean().item()

def nearest(drawn, pictures):
    """The mean distance from a drawing to the nearest of the pictures."""
    return torch.cdist(drawn, pictures).amin(dim=1).mean().item()   # (B, N) -> (B,)

def spread(drawn, digits):
    """The variance of a pixel among drawings of one digit: mean over pixels and digits."""
    return sum(drawn[digits == d].var(dim=0).mean().item() for d in range(10)) / 10
# %% tags=["measured"]
def beside(one, words):
    return torch.cat([one, words], dim=1)

def critic_loss(forger, critic, pictures, words, dice):
    forged = forger(beside(dice, words)).detach()                   # (B, 16 + 78) -> (B, 64)
    true, false = critic(beside(pictures, words)), critic(beside(forged, words))   # (B, 1) each
    return F.softplus(-true).mean() + F.softplus(false).mean()      # -log p, -log(1 - p)

def forger_loss(forger, critic, words, dice):
    return F.softplus(-critic(beside(forger(beside(dice, words)), words))).mean()

# %% tags=["measured", "proof"]
# The GAN's two networks and its training; `turns` forger's steps follow each of the critic's.
def layers(before, after, *end):
    return nn.Sequential(nn.Linear(before, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128),
                         nn.LeakyReLU(0.2), nn.Linear(128, after), *end)

def train_gan(data, seed, dice=1.0, turns=1, rate=1e-3, steps=3000):
    """The forger, and both losses of the last 500 steps; `dice` 0 takes its noise away."""
    generator, losses = seed_everything(seed), []
    forger, critic = layers(16 + 78, 64, nn.Tanh()), layers(64 + 78, 1)
    optimizers = [torch.optim.Adam(part.parameters(), lr=rate, betas=(0.5, 0.99))
                  for part in (critic, forger)]
    for _ in range(steps):
        rows = torch.randint(len(data["words"]), (64,), generator=generator)
        pictures, words = data["pictures"][rows], data["words"][rows]
        for turn in range(1 + turns):
            drawn, which = dice * torch.randn(64, 16, generator=generator), optimizers[turn > 0]
            loss = (forger_loss(forger, critic, words, drawn) if turn else
                    critic_loss(forger, critic, pictures, words, drawn))
            which.zero_grad()
            loss.backward()
            which.step()
            losses.append(loss.item())
    table = np.reshape(losses, (steps, 1 + turns))[-500:]
    return forger, (float(table[:, 0].mean()), float(table[:, 1:].mean()))

@torch.no_grad()
def forge(forger, words, dice=1.0, seed=0):
    noise = dice * torch.randn(len(words), 16, generator=torch.Generator().manual_seed(seed))
    return forger(beside(noise, words))
# %% tags=["measured", "proof"]
# The codebook by k-means, tokens back to pictures, and a small model that writes tokens.
def make_codebook(pictures, codes, seed=0):
    """(K, 4): the middles of K crowds of 2x2 patches."""
    patches = pictures.view(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 4)
    means = KMeans(codes, n_init=3, random_state=seed).fit(patches.numpy()).cluster_centers_
    return torch.tensor(means).float()

def from_tokens(tokens, codebook):
    """(B, 16) -> (B, 64)."""
    return codebook[tokens].view(-1, 4, 4, 2, 2).transpose(2, 3).reshape(-1, 64)

class Writer(nn.Module):
    """Logits of the token at a place from those before it and the word."""

    def __init__(self, codes):
        super().__init__()
        self.codes = codes
        self.net = nn.Sequential(nn.Linear(16 * (codes + 1) + 16 + 78, 256), nn.ReLU(),
                                 nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, codes))

    def forward(self, tokens, places, words):
        known = torch.where(torch.arange(16) < places[:, None], tokens + 1, 0)      # (B, 16)
        known = F.one_hot(known, self.codes + 1).float().flatten(1)
        return self.net(torch.cat([known, F.one_hot(places, 16).float(), words], dim=1))
