# %% [markdown]
# # Can a word draw a picture?
#
# You type "sevn", and a small network draws a seven. Here you build its loss and its sampler, and then ask three questions of what it draws: is it what was meant, is it copied, and is it always the same?
#
# *About {minutes} minutes. You need pages 00, 03 and 09: typed words, pictures as vectors, intervals and controls.*

# %% [markdown]
# ## In this notebook you will
#
# 1. settle the bet of page 29: does a drawing understand a slip as well as a classifier does?
# 2. build the loss that turns noise into pictures, and train with it;
# 3. build one guided step of the sampler, and watch a word become a digit;
# 4. measure truth, copies and spread, by guidance and by the number of steps;
# 5. tell, if you like, a collapsed GAN from a sound one;
# 6. write, if you like, pictures in tokens of a codebook.

# %% tags=["measured", "imports"]
# Imports.
import math

import numpy as np
import torch
from IPython.display import display
from ipywidgets import HTML, FloatSlider, Image, IntSlider, Text, VBox
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
from course_utils.metrics import mean_interval, percent
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
    """A word with slips, as page 00 types it; where nothing is typed, again."""
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
# The judge, a support vector machine on other writers; truth, distance and spread.
def moved(pictures, down, right):
    wide = F.pad(pictures.view(-1, 8, 8), (1, 1, 1, 1), value=-1.0)
    return wide[:, 1 - down : 9 - down, 1 - right : 9 - right].flatten(1)

def make_judge(split="judge", gamma=0.08):
    pictures, digits = scans(split)
    moves = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
    more = torch.cat([moved(pictures, *move) for move in moves])
    machine = SVC(C=10, gamma=gamma).fit(more.numpy(), digits.repeat(len(moves)).numpy())
    return lambda drawn: torch.tensor(machine.predict(drawn.numpy()))

def share_right(drawn, digits, read):
    return (read(drawn) == digits).float().mean().item()

def nearest(drawn, pictures):
    """The mean distance from a drawing to the nearest of the pictures."""
    return torch.cdist(drawn, pictures).amin(dim=1).mean().item()   # (B, N) -> (B,)

def spread(drawn, digits):
    """The variance of a pixel among drawings of one digit: mean over pixels and digits."""
    return sum(drawn[digits == d].var(dim=0).mean().item() for d in range(10)) / 10

# %% [markdown]
# ## The bet of page 29
#
# A network draws a digit from a typed word, and a classifier reads the same words. Both learn from the same pairs, and both are asked with slips that they have never seen. Ada: a judge reads the drawing as the digit that was meant as often as the classifier is right (less than 2 points apart). Ben: the drawings are right less often, by 2 points or more.
#
# Five writers' pictures, 8x8 pixels, are paired with words that page 00's hurried typist makes, eight for each picture. The new words are in none of these pairs:

# %%
data = pairs(seed=0)
words, meant = asked(0, data["seen"])
print(len(data["words"]), "pairs,", len(data["seen"]), "different words; new ones:")
for digit in (3, 7):
    print(f"{WORDS[digit]:>6}:", *words[100 * digit : 100 * digit + 9])

# %% tags=["proof"]
# The stored runs, and a table of them.
runs = stored("30", "draws")                                 # python tools/sweep.py 30 draws
real = stored("30", "real")["all test pictures"]["accuracy"]
NOISE = stored("30", "real")["noise"]["accuracy"]["most"]
tried = {name: row["chosen by"] for name, row in runs.items() if name.startswith("rate: weight")}
BEST = float(max(tried, key=tried.get).split(": ")[2])       # chosen on validation words

def interval(row, what="right", scale=100, digits=1):
    mean, half = mean_interval(values := [scale * value for value in row["accuracy"][what]])
    return f"{mean:.{digits}f}" + f" ± {half:.{digits}f}" * (len({*values}) > 1)

def more(one, other, what="right"):
    """Points that one row has more than the other, seed by seed."""
    return percent(one["accuracy"][what], minus=other["accuracy"][what])

def table(title, rows, names, columns):
    """A line for each name; `columns` has, by head, what stands below it and its scale."""
    print(f"{title:34}", *(f"{head:>14}" for head in columns))
    for name, label in names.items():
        found = [interval(rows[name], *column) for column in columns.values()]
        print(f"{label:34}", *(f"{one:>14}" for one in found))

# %%
RIGHT = {"right, %": ("right", 100, 1)}
table("new slips, five seeds", runs,
      {"classifier": "the classifier", "drawing, weight 1": "the drawing, weight 1",
       "drawing, best weight": f"the drawing, weight {BEST:g}",
       "classifier, real picture": "classifier, then a real picture"}, RIGHT)
print("the drawing minus ...            the classifier    a real picture")
for name in ("drawing, weight 1", "drawing, best weight"):
    gaps = [more(runs[name], runs[other]) for other in ("classifier", "classifier, real picture")]
    print(f"{name:30}{gaps[0]:>17}{gaps[1]:>18}")
outcome("29.c", "Ben")

# %% [markdown]
# Ben wins: the drawings are right 25.4 ± 1.5 points less often at weight 1, and 8.0 ± 2.2 at the best weight. The *judge* is a classifier of pictures that learned from five other writers and reads 94.8 % of real pictures of yet others rightly. (Five seeds draw words, noise and starts anew; the writers are the same.) A dial of the sampler, the *weight*, changes much; you build it below.
#
# <details><summary>The judge? ("a real picture")</summary>
#
# Its errors explain only a part: where it reads a *real* picture of the digit that the classifier said, 75.4 % are right. Behind *that* the drawings stay by 21.3 ± 2.1 points at weight 1; at the best weight by 3.9 ± 2.8, and Ben's 2 points lie inside this interval.
#
# </details>
#
# ## From noise to a picture
#
# A picture of 64 pixels is a point in a space of 64 axes, and noise is another point. **Flow matching** (流匹配) joins them by a straight path, from noise $e$ at time 0 to the picture $x$ at time 1. How fast and where a point moves on it is its **velocity** (速度), here the same at all times:
#
# $$ x_t = (1 - t)\, e + t\, x, \qquad \frac{d x_t}{d t} = x - e \tag{30.1} $$
#
# Two pixels, a quarter of the way:

# %%
picture, noise = torch.tensor([1.0, -1.0]), torch.tensor([0.2, 0.6])      # (D,) each
place = (1 - 0.25) * noise + 0.25 * picture
print("place:", place, "velocity:", picture - noise)
print("the rest of the way:", place + 0.75 * (picture - noise))
e, x, t = torch.tensor([[0.2, 0.6], [1.0, -1.0], [0.3, 0.3]], dtype=torch.float64)
slope = torch.autograd.functional.jacobian(lambda at: (1 - at) * e + at * x, t[0])
verify("30.1", by_hand=x - e, reference=slope)

# %% [markdown]
# A network sees a place, a time and a word, $c$, and is asked for the velocity. It is trained on random pictures, random noise and random times:
#
# $$ L = \operatorname{mean} \left( v(x_t, t, c) - (x - e) \right)^2 \tag{30.2} $$
#
# Many paths pass the same place at the same time, and their velocities differ. A squared error is least at their *mean*: for any $v$, the mean of $(v - u)^2$ over $u$ is $(v - \bar u)^2$ plus the variance of $u$. And the mean is enough: points that move, at each place, with the mean velocity of all paths there are at each time spread like the paths themselves ([Lipman and others](https://arxiv.org/abs/2210.02747) prove it).
#
# Now and then the word is dropped in training: in its place stands the **null word** (空词), zeros. So one network also learns what to draw when nothing was asked.
#
# > **Exercise 30.1 · The loss** — *10 minutes · core*
# >
# > - `pictures` and `noise` are `(B, D)`, `words` is `(B, W)`, `times` `(B,)` between 0 and 1.
# > - Where `dropped`, `(B,)` bool, is True, the network gets the null word.
# > - `network(x, times, words)` gives velocities, `(B, D)`; it wants `times` as `(B,)`.
# > - Return (30.2), the mean over all pixels of all pictures.

# %% exercise="30.1"
def flow_loss(network, pictures: Tensor, words: Tensor, noise: Tensor, times: Tensor,
              dropped: Tensor) -> Tensor:
    """The mean squared error of the velocity, a number.

    Example: where the network always says 0, picture [[1., -1.]] and noise [[0.2, 0.6]] give the
    mean of 0.8 and -1.6 squared, 1.6.
    """
    ### BEGIN SOLUTION
    t = times[:, None]                                       # (B,) -> (B, 1)
    x = (1 - t) * noise + t * pictures                       # (B, D)
    given = torch.where(dropped[:, None], 0.0, words)        # (B, W)
    return (network(x, times, given) - (pictures - noise)).square().mean()
    ### END SOLUTION

# %% [markdown] hints="30.1"
# <details><summary>A question that helps</summary>
#
# Which of your tensors has a row for each picture and no second axis, and what does `(B,) * (B, D)` do?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Give `times` a second axis and mix noise and picture by (30.1). Choose zeros for dropped rows with `torch.where` and `dropped[:, None]`. Ask the network, subtract `pictures - noise`, square, mean.
#
# </details>
# <details><summary>If you see "The size of tensor a must match the size of tensor b"</summary>
#
# `times * pictures` lines `(B,)` up with the pixels. It has to be `(B, 1)`.
#
# </details>

# %% [markdown]
# Without the second axis it is page 12's broadcasting again: an error, except in a batch of 64 pictures of 64 pixels.

# %% tags=["fault"]
both = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))   # (2, B, D)
times = torch.linspace(0, 1, 64)                                            # (B,)
x = (1 - times) * both[0] + times * both[1]                                 # (B, D)
print("the last row is at time 1:", torch.equal(x[-1], both[1, -1]))

# %% [markdown]
# Each *pixel* got a time of its own, the same in all rows. Shapes, loss and training run; a batch of 128 would have raised. Never test with B equal to another size.

# %%
x = (1 - times[:, None]) * both[0] + times[:, None] * both[1]               # (B, D)
print("the last row is at time 1:", torch.equal(x[-1], both[1, -1]))

# %% [markdown]
# The network: the word goes through one layer, the time becomes 16 sines and cosines, and three layers mix them with the place. Then the training, with your loss; one word in ten is dropped.

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

# %% tags=["measured", "proof"]
# The training: random pictures, noise and times, one word in ten dropped.
def train(data, loss_of, seed, rate=1.6e-2, drop=0.1, steps=3000):
    generator, network = seed_everything(seed), Drawer()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(data["words"]), (128,), generator=generator)
        noise = torch.randn(128, 64, generator=generator)
        times = torch.rand(128, generator=generator)
        dropped = torch.rand(128, generator=generator) < drop
        loss = loss_of(network, data["pictures"][rows], data["words"][rows], noise, times, dropped)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network

# %%
flow_loss = mine("30.1", flow_loss)
drawer = train(data, flow_loss, seed=0)
others, digits = scans("validation")
luck = torch.Generator().manual_seed(0)
with torch.no_grad():
    unseen = flow_loss(drawer, others, spell([WORDS[d] for d in digits]),
                       torch.randn(258, 64, generator=luck), torch.rand(258, generator=luck),
                       torch.zeros(258, dtype=torch.bool))
report("loss on other writers, clean words", unseen.item(), near=0.57, within=0.03)

# %% tags=["proof"]
# (30.2) through your function, and pixel by pixel.
seed_everything(0)
still = lambda x, times, words: 0.5 * x + words.sum(1, keepdim=True)
b = [torch.randn(3, n, dtype=torch.float64) for n in (4, 2, 4)]
t, gone = torch.rand(3, dtype=torch.float64), torch.tensor([True, False, False])
total = 0.0
for p, c, n, at, off in zip(*b, t, gone):
    v = 0.5 * ((1 - at) * n + at * p) + (0.0 if off else c.sum())
    total = total + sum((v[i] - p[i] + n[i]) ** 2 for i in range(4)) / 12
verify("30.2", total, flow_loss(still, *b, t, gone))

# %% [markdown]
# However good the network, this loss does not come to 0: the velocities that pass one place differ, and their variance stays. So look at the drawings.
#
# ## One step, and guidance
#
# To draw, start with noise at time 0, and go: **x** plus a small step times the velocity, until time 1. (This is Euler's method.) At each place the network can be asked twice, with the word, $v_1$, and with the null word, $v_0$. What differs is what the word asks for, and **guidance** (引导) makes more of it:
#
# $$ v = v_0 + w \left( v_1 - v_0 \right) \tag{30.3} $$
#
# With $v_0$ = 0.2 and $v_1$ = 0.6: weight 0 gives 0.2, the word is ignored; 1 gives 0.6, no guidance; 2 gives 1.0, further than any training asked for.
#
# > **Exercise 30.2 · One guided step** — *5 minutes · core*
# >
# > - `x` is `(B, D)`, the places at the time `time`, a Python number, the same for all rows.
# > - The step goes from `time` to `time + size`; `words` is `(B, W)`, the null word is zeros.
# > - Ask the network at the step's *start*. It wants `(B,)` times.
# > - Return the places at the step's end, `(B, D)`, by (30.3) with `weight` for $w$.

# %% exercise="30.2"
def guided_step(network, x: Tensor, time: float, size: float, words: Tensor,
                weight: float) -> Tensor:
    """The places (B, D) a step later.

    Example: x 0, size 0.5, velocities 0.6 with the word and 0.2 without it, weight 2: 0.5.
    """
    ### BEGIN SOLUTION
    times = torch.full((len(x),), time, dtype=x.dtype)       # (B,)
    with_word = network(x, times, words)                     # (B, D)
    without = network(x, times, torch.zeros_like(words))     # (B, D)
    return x + size * (without + weight * (with_word - without))
    ### END SOLUTION

# %% [markdown] hints="30.2"
# <details><summary>A question that helps</summary>
#
# How often do you ask the network, and what differs between the questions?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Make a time for each row with `torch.full`. Ask with the words and with `torch.zeros_like(words)`. Mix both by (30.3), multiply by the step's size, add to x.
#
# </details>
# <details><summary>If the drawings look like noise</summary>
#
# The step is added, from noise towards the picture, and the time that the network is told rises from 0.
#
# </details>

# %% [markdown]
# The sampler is a loop over your step. Put your own words into the list:

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

# %%
guided_step = mine("30.2", guided_step)
TYPED = ["sevn", "thee", "fiv"]
drawn, way = draw(drawer, guided_step, spell(TYPED), weight=2.0, seed=3)

# %% tags=["figure"]
# The way from noise to a picture; (30.3) by hand.
seen = torch.stack([way[k][i] for i in range(3) for k in (0, 4, 8, 12, 16, 20)]).view(-1, 8, 8)
plots.pictures(
    (seen.clamp(-1, 1) + 1) / 2,
    titles=[f'"{word}", t = {k / 20:.1f}' for word in TYPED for k in (0, 4, 8, 12, 16, 20)],
    columns=6,
    size=1.2,
    caption="Three typed words, each from its own noise: the places on the way, weight 2.",
)
v1, v0 = lambda c: c.sum(1, keepdim=True), 0.2
by_hand = torch.tensor([[0.25 * (v0 + 3.0 * (0.6 - v0))]], dtype=torch.float64)
told = torch.tensor([[0.1, 0.3]], dtype=torch.float64)
verify("30.3", by_hand, guided_step(lambda x, times, c: v0 + v1(c) + 0 * x, by_hand * 0, 0.5, 0.25,
                                    told, 3.0))

# %% [markdown]
# ## Is it true, is it copied, is it always the same?
#
# A pleasing picture says little. Three measures, each beside what *real* pictures of new writers have:
#
# - **truth**: how often the judge reads what was meant. It must be trained apart: a judge that shares the drawer's pictures may share its mistakes. And it always names a digit, of pure noise the same digit in 86 of 100 cases (below).
# - **copies**: the distance to the nearest picture that was trained on. New writers' pictures are 2.63 away. Drawings that come closer lean on the training pictures.
# - **spread**: how much drawings of the same digit differ: here the *variance* of a pixel (on other pages its root is meant). Real ones of new writers: 0.160.

# %% [markdown]
# Together the steps go from 0 to 1: fewer steps are longer. *A single step* of size 1, weight 1, from pure noise: how many of a hundred clean words does the judge read as meant? (With 20 steps it is 88.)

# %%
guess("30.a", None, sure=0.5)

# %%
COLUMNS = {"right, %": ("right", 100, 1), "to nearest": ("nearest", 1, 2),
           "to judge's": ("strangers", 1, 2), "spread": ("spread", 1, 3)}
table("clean words, five seeds", runs | {"real": {"accuracy": real}},
      {"steps 1": "1 step, weight 1", "steps 2": "2 steps", "steps 5": "5 steps",
       "steps 20": "20 steps", "steps 50": "50 steps", "weight 0": "20 steps, weight 0",
       "weight 2": "weight 2", "weight 3": "weight 3", "weight 8": "weight 8",
       "real": "real pictures, new writers"}, COLUMNS)
print("weight 2 minus 20 steps at weight 1:", more(runs["weight 2"], runs["steps 20"]), "points")
print(f"of pure noise the judge says one digit in {100 * np.mean(NOISE):.0f} of 100 cases")
outcome("30.a", round(100 * mean_interval(runs["steps 1"]["accuracy"]["right"])[0]), within=3)

# %% tags=["figure"]
# Truth, nearness and spread by the weight, in % of real pictures'; your drawer again.
read = make_judge()
plain, asked_for = spell(WORDS).repeat_interleave(50, 0), torch.arange(10).repeat_interleave(50)
live = share_right(draw(drawer, guided_step, plain)[0], asked_for, read)
report("clean words read as meant: live minus stored",
       live - runs["weight 1"]["accuracy"]["right"][0], near=0, within=0.06)

def by_weight(rows, what):
    whole = mean_interval(real[what])[0]
    found = [rows[f"weight {w}"]["accuracy"][what] for w in (0, 1, 2, 3, 5, 8)]
    return [mean_interval([100 * value / whole for value in values]) for values in found]

plots.curves(
    (0, 1, 2, 3, 5, 8),
    {"read as meant": by_weight(runs, "right"), "distance to nearest": by_weight(runs, "nearest"),
     "spread": by_weight(runs, "spread")},
    xlabel="weight of guidance",
    label="% of real pictures",
    chance=10,
    caption="At a weight of 2 or 3 most drawings are readable. Larger weights lead away from all"
    " pictures.",
)

# %% [markdown]
# **One step or two** are read best at weight 1, 95.4 and 95.0 %, and differ least: the spread is 0.067 and 0.063. At time 0 the place is the noise $e$ itself, and the mean of $x - e$ over a word's pictures $x$ is their mean minus $e$. A whole step from there ends at the *mean picture*, whatever the noise; the network does so only roughly. More steps bring variety, and with it drawings that the judge reads as something else: 87.6 % and 0.118 with 50.
#
# **Guidance.** At weight 0 what is read is chance. From weight 1 to 2 the share read as meant rises by 9.8 ± 1.6 points. Beyond 3 the drawings leave the pictures: at 8 the nearest is 6.41 away, and 57.3 % are read as meant. Their spread is large there, 0.423, but many are wrong: a spread says something only beside truth and distance.
#
# <details><summary>Does guidance make drawings more alike?</summary>
#
# It often does. Here, from weight 1 to 2 the spread changes by -0.004 ± 0.004, among those read as meant by 0.001 ± 0.005: not seen here. At weight 1 it is 0.113, less than real pictures have.
#
# </details>
#
# **Copies?** At weight 1 the nearest picture that was trained on is 2.52 away, the nearest of about as many that never trained the drawer ("to judge's", by the judge's writers) 2.78: 0.26 more. For new real pictures the two are 2.63 and 2.69. So the drawings lean on the pictures of training. A mean may hide a few copies, which have distance 0. But the nearest hundredth of your drawings, the first two lines below, is about as near as that of new real pictures.
#
# ### The controls

# %%
own, drawn = scans("own")[0], draw(drawer, guided_step, plain)[0]
for name, shown, near in (("drawings", drawn, 1.63), ("real pictures", scans("test")[0], 1.66)):
    apart = torch.cdist(shown, own).amin(dim=1)               # (B, 64), (N, 64) -> (B,)
    report(f"one in a hundred {name} is nearer than", apart.quantile(0.01).item(), near, 0.15)

checks = stored("30", "controls")                            # python tools/sweep.py 30 controls
ALL = {f"never dropped, weight {w}": f"word never dropped, weight {w}" for w in (0, 1, 3, 8)}
ALL |= {"words shuffled, weight 1": "another pair's word, weight 1",
        "minus dropped, weight 2": "null word -1, weight 2",
        "minus never dropped, weight 2": "null word -1, never dropped"}
table("clean words, five seeds", checks | stored("30", "nulls"), ALL, COLUMNS)

# %% [markdown]
# With the words of other pairs the drawings are read as meant in 10.3 %, which is chance: what makes them right is the word. If no word is ever dropped in training, zeros as null word lose nothing that five seeds show. With 78 times -1, which training never saw, guidance leads far away from all pictures. So drop some words, and test.
#
# <details><summary>One run that fell apart, and two null words in numbers</summary>
#
# Other pairs' words. One of these five runs fell apart, far from all pictures. (The learning rate, 0.016, is the best of five; at twice that nothing is learned.)
#
# If no word is ever dropped: against the network with one in ten dropped, at weight 1: 2.2 ± 1.1 points, a little better; at weight 3: -1.4 ± 3.2; at weight 8: -8.4 ± 17.9, which five seeds do not tell from nothing. What it draws for the null word, of which it never heard, is no farther from pictures (2.86 and 2.83). So with this null word, zeros, as if no letter had been typed, nothing is lost that five seeds show.
#
# That is not so for every null word. Take 78 times -1, which no word can be. Where it stood for one word in ten in training, 97.6 % are read as meant at weight 2. Where it never did, 10.0 %, chance: each time the same, far from all pictures. At weight 1 nothing of this is seen (90.7 %): only guidance asks for the null word.
#
# </details>
#
# ### Why a drawing misreads more often than a classifier
#
# Of ten people who type one and the same slip, seven may mean a four and three a five. A classifier says the most probable digit. A sampler *draws* one: a good one draws a five three times in ten. On the same new slips:

# %%
PARTS = {"classifier": "the classifier's answer",
         "classifier drawn, weight 1": "that answer, typed and drawn",
         "answer thrown": "an answer sampled by probability",
         "thrown drawn, weight 1": "a sampled answer, typed and drawn",
         "drawing, weight 1": "the slip itself drawn, weight 1",
         "drawing, best weight": f"the slip itself drawn, weight {BEST:g}",
         "classifier drawn, best weight": f"the answer drawn, weight {BEST:g}"}
table("new slips, five seeds", runs, PARTS, RIGHT)
CHAIN = ("classifier", "answer thrown", "thrown drawn, weight 1", "drawing, weight 1")
LAST = ("classifier drawn, best weight", "drawing, best weight")
for one, other in (*zip(CHAIN[1:], CHAIN), LAST):
    print(f"{PARTS[one]} minus {PARTS[other]}:", more(runs[one], runs[other]))

# %% [markdown]
# To sample the answer by its probability instead of choosing it costs 8.1 ± 0.9 points. To draw the sampled answer from its clean word and have it read, 7.8 ± 2.0 more. To give the slip itself to the drawer, and not a sampled answer, another 9.6 ± 2.1: after this training it understands slips less well than the classifier does. For what was *most probably* meant, decide first and draw then: 77.5 % at weight 3, 6.0 ± 1.3 points above the slip itself.

# %% [markdown]
# ## More: the older way, two networks against each other
#
# *More: nothing later needs this section.* A **generative adversarial network** (生成对抗网络, GAN) has a **generator** (生成器) that makes a picture of noise and word in one go, and a **discriminator** (判别器) that sees a picture beside a word and says how probably the picture is real. Each is trained against the other. A GAN can show **mode collapse** (模式崩溃): whatever the noise, it draws the same.

# %% tags=["measured", "proof"]
# The losses of the two networks.
def beside(one, words):
    return torch.cat([one, words], dim=1)

def discriminator_loss(generator, discriminator, pictures, words, noise):
    made = generator(beside(noise, words)).detach()                # (B, 16 + 78) -> (B, 64)
    real = discriminator(beside(pictures, words))                  # (B, 64 + 78) -> (B, 1)
    false = discriminator(beside(made, words))
    return F.softplus(-real).mean() + F.softplus(false).mean()     # -log p, and -log(1 - p)

def generator_loss(generator, discriminator, words, noise):
    return F.softplus(-discriminator(beside(generator(beside(noise, words)), words))).mean()

# %% [markdown]
# If made pictures could not be told from real ones, the discriminator could only say p = 0.5: its loss, -ln p for a real picture plus -ln (1 - p) for a made one, would be 2 ln 2 = 1.39, the generator's, -ln p for a made one, ln 2 = 0.69. Three GANs learn from our pairs: both networks take one turn each; the generator takes three for one of the other's; one turn each, but without the noise.

# %%
gans = stored("30", "gans") | stored("30", "turns")          # python tools/sweep.py 30 gans
GANS = {"one turn": "one turn each", "three turns": "three of the generator's",
        "no noise": "one turn each, no noise"}
table("GANs, five seeds", gans, GANS, COLUMNS)
LOSSES = {"discriminator": ("discriminator", 1, 2), "generator": ("generator", 1, 2)}
table("their losses at the end", gans, GANS, LOSSES)

# %% tags=["figure"]
# What three GANs draw of two clean words, one seed, four draws of the noise each.
shown = [torch.tensor(gans[name]["shown"]).view(-1, 8, 8) / 16 for name in GANS]
plots.pictures(
    torch.cat(shown),
    titles=["one turn"] * 8 + ["three turns"] * 8 + ["no noise"] * 8,
    columns=8,
    size=0.95,
    caption="Seed 0. Rows: one turn each; three of the generator's; no noise. In each row four"
    " threes, then four sevens.",
)

# %% [markdown] owes="F74 F118"
# The sound GAN (one turn each): 92.3 % read as meant, a spread of 0.103 (the flow in one step: 0.067). Without its noise it can only draw one picture a word, spread 0, and yet 82.0 % are read as meant: *a judge does not see a collapse*. The losses even mislead: with three turns of the generator they end at 1.38 and 0.71, within 0.02 of perfect drawings' (the sound GAN's are far from those), and the spread is 0.055, half of the sound GAN's. So look at the spread, beside that of real pictures (0.160).
#
# <details><summary>Other ways, a line each</summary>
#
# | another way | in one line |
# |---|---|
# | conditional GAN from text | what stands above, for photographs: [Reed and others](https://arxiv.org/abs/1605.05396), 2016 |
# | GAN for pairs of modalities | two generators share layers and draw *both* halves of a pair: [CoGAN](https://arxiv.org/abs/1606.07536). Captions are harder: a word is chosen, and no gradient passes a choice |
# | "adversarial fusion" | no fusion layer: a discriminator guesses which modality a vector came from, and the encoders learn to hide it: [Wang and others](https://doi.org/10.1145/3123266.3123326), for retrieval (page 17) |
# | VAE | an encoder to a small noisy code and a decoder back: [Kingma and Welling](https://arxiv.org/abs/1312.6114) |
# | diffusion | a network removes noise step by step along a curved path: [Ho and others](https://arxiv.org/abs/2006.11239). Flow matching with straight paths is its close relative |
# | latent diffusion | the same among a VAE's codes in place of pixels, with the text through cross-attention (page 15): [Rombach and others](https://arxiv.org/abs/2112.10752), Stable Diffusion |
#
# </details>

# %% [markdown]
# ## More: a picture in tokens
#
# *More: nothing later needs this section.* A common mistake gives a language model a picture by writing its pixel values, 0 to 255, where ids of words stand. But ids are *names*: level 9 and level 10, neighbours in the picture, are two different words. The right repair makes a **codebook** (码本): cut the pictures of the training set into patches, find K typical ones by k-means, and call each patch by the number of the nearest.
#
# > **Exercise 30.3 · A picture's tokens** — *6 minutes · stretch*
# >
# > - `pictures` is `(B, 64)`, each 8x8 pixels, row after row; `codebook` is `(K, 4)`.
# > - Cut each picture into sixteen 2x2 patches, row by row; a patch's four pixels also stand row by row.
# > - Return `(B, 16)` int64: for each patch the number of the nearest code (smallest squared distance).

# %% exercise="30.3"
def picture_tokens(pictures: Tensor, codebook: Tensor) -> Tensor:
    """The nearest code of each 2x2 patch: (B, 64) and (K, 4) -> (B, 16) int64.

    Example: a white picture (all -1) with the codes [[1., 1, 1, 1], [-1, -1, -1, -1]]: all 1.
    """
    ### BEGIN SOLUTION
    patches = pictures.view(-1, 4, 2, 4, 2).transpose(2, 3)          # (B, 4, 4, 2, 2)
    patches = patches.reshape(len(pictures), 16, 4)
    distances = torch.cdist(patches, codebook.expand(len(pictures), -1, -1))   # (B, 16, K)
    return distances.argmin(dim=2)
    ### END SOLUTION

# %% [markdown] hints="30.3"
# <details><summary>A question that helps</summary>
#
# An 8x8 picture is four rows of patches of two rows of pixels, of four columns of patches of two columns of pixels. In which order do these four axes have to stand?
#
# </details>
# <details><summary>The idea in words</summary>
#
# View as (B, 4, 2, 4, 2): patch row, pixel row, patch column, pixel column. Exchange the middle two, reshape to (B, 16, 4). Subtract each code, square, sum, argmin over the codes.
#
# </details>
# <details><summary>If check says "strips"</summary>
#
# `reshape(B, 16, 4)` alone takes four pixels of one row.
#
# </details>

# %% tags=["measured", "proof"]
# The codebook by k-means, tokens back to pictures, a small model that writes tokens.
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

# %%
picture_tokens = mine("30.3", picture_tokens)
codebook, new = make_codebook(scans("own")[0], codes=16), scans("test")[0]    # (K, 4), (B, 64)
back = from_tokens(picture_tokens(new[:3], codebook), codebook)               # -> (3, 64)
plots.pictures((torch.cat([new[:3], back]).view(-1, 8, 8) + 1) / 2, columns=6, size=1.2,
               titles=["a real picture"] * 3 + ["from 16 tokens"] * 3,
               caption="Three real pictures, and what is left when each patch is one of 16 codes.")

# %% [markdown]
# Now every picture one level darker. First the mistake: each pixel's level, 0 to 16, is its id.

# %% tags=["fault"]
def ids(shown):
    return (8 * shown + 8).round().long()                     # (B, 64) -> (B, 64), 0 to 16
same = (ids(new) == ids((new + 1 / 8).clamp(max=1))).float().mean().item()
print("most ids stay as they were:", same > 0.5)

# %%
def ids(shown):
    return picture_tokens(shown, codebook)                    # (B, 64) -> (B, 16)
same = (ids(new) == ids((new + 1 / 8).clamp(max=1))).float().mean().item()
print("most ids stay as they were:", same > 0.5)

# %%
books = stored("30", "tokens")                                # python tools/sweep.py 30 tokens
table("new writers' pictures, from tokens", books,
      {f"codes {k}": f"{k} codes" for k in (4, 8, 16, 32, 64)},
      {"read, %": ("right", 100, 1), "tokens kept, %": ("kept", 100, 1)})
table("drawn from clean words", books | runs | gans,
      {"written": "16 codes, token by token", "weight 1": "flow, weight 1",
       "one turn": "GAN, one turn each"}, COLUMNS)

# %% [markdown]
# With 16 codes a picture is 16 tokens of 4 bits, and the judge reads 90.3 % of new writers' pictures, with 64 codes 93.8 (pixels: 94.8). One level darker leaves 89 of 100 tokens as they were. And tokens can be *written* one after the other, as captions are: a small network that sees the word and the tokens so far draws readable digits in 76.5 %, fewer than the flow, with the spread of real pictures (0.163, the wrong ones included).
#
# <details><summary>Larger systems</summary>
#
# Larger systems learn the codebook along with a network that draws from it (VQ-VAE, below). Where pictures are only read, page 28's soft tokens need no ids.
#
# </details>

# %% [markdown]
# ## Try it
#
# Type a word, and watch the steps. (Without a kernel you see the first setting.)

# %% tags=["figure"]
# The widget: a word that you type, a weight, how far to go.
FIELDS = {"word": Text(value="sevn"), "weight": FloatSlider(value=2, min=0, max=8, step=1),
          "step": IntSlider(value=20, min=0, max=20)}
screen, line = Image(format="png"), HTML()

def follow(change=None):
    word, weight, step = [field.value for field in FIELDS.values()]
    word = "".join(one for one in word.lower() if "a" <= one <= "z")[:20]
    asked_for = spell([word] * 5) if word else torch.zeros(5, 78)
    finished, places = draw(drawer, guided_step, asked_for, weight, seed=5)
    seen = (places[step].clamp(-1, 1).view(-1, 8, 8) + 1) / 2
    screen.value = plots.png(plots.pictures.figure(seen, titles=[f"{step / 20:.2f}"] * 5))
    screen.layout.width = f"{plots.shown_width(screen.value)}px"
    line.value = f'"{word}": the five finished drawings are read as {read(finished).tolist()}.'

for name, field in FIELDS.items():
    field.description, field.continuous_update = name, False
    field.observe(follow, "value")
follow()
box, caption = VBox([*FIELDS.values(), screen, line]), "Five drawings of a word, from five noises."
picture, about = plots.bundle(screen.value, caption)
view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
display({"application/vnd.jupyter.widget-view+json": view, **picture}, metadata=about, raw=True)
display({"text/markdown": f"*{caption}*", "text/plain": caption}, raw=True)

# %% [markdown]
# ## With the library
#
# Flow matching in plain PyTorch, for points in a plane that lie on a circle:

# %%
import torch as pt

pt.manual_seed(0)
wide, end = pt.nn.Linear(64, 64), pt.nn.Linear(64, 2)
net = pt.nn.Sequential(pt.nn.Linear(3, 64), pt.nn.SiLU(), wide, pt.nn.SiLU(), end)
optimizer = pt.optim.Adam(net.parameters(), lr=5e-3)
for _ in range(600):
    start, t = pt.randn(256, 2), pt.rand(256, 1)
    goal = pt.nn.functional.normalize(pt.randn(256, 2), dim=1)
    x = (1 - t) * start + t * goal
    loss = (net(pt.cat([x, t], 1)) - (goal - start)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
x = pt.randn(1000, 2)
for k in range(50):
    x = x + net(pt.cat([x, pt.full((1000, 1), k / 50)], 1)).detach() / 50
print(f"mean radius {x.norm(dim=1).mean():.1f}")

# %% [markdown]
# <details><summary>A large one, where there is a network: Stable Diffusion</summary>
#
# ```python
# import torch
# from diffusers import StableDiffusion3Pipeline
#
# pipe = StableDiffusion3Pipeline.from_pretrained(
#     "stabilityai/stable-diffusion-3.5-medium", torch_dtype=torch.bfloat16).to("cuda")
# image = pipe("a handwritten seven", num_inference_steps=28, guidance_scale=4.5).images[0]
# image.save("seven.png")
# ```
#
# `guidance_scale` is our $w$, `num_inference_steps` our steps; the third version is trained with straight paths ([Esser and others](https://arxiv.org/abs/2403.03206)). (Not run here: it fetches many GB, and asks you to accept a licence.)
#
# </details>
#
# ## Recap
#
# You can now
#
# 1. **settle** the bet: a drawing is right 25.4 ± 1.5 points less often than a classifier: a sampler draws by chance where a classifier chooses; the drawing, and how the drawer reads slips, cost the rest;
# 2. **build** the loss: a place on the straight path, its velocity, a squared error, a time for each row;
# 3. **build** the guided step; weight 0 ignores the word, 1 is no guidance, 2 or 3 is read best here; a null word that training never saw may break it (ours, zeros, did not);
# 4. **measure** truth by a judge trained apart, copies by distances, and spread, each beside real pictures; one step draws the mean;
# 5. **tell** a collapsed GAN by its spread: neither its losses nor a judge need show it;
# 6. **write** a picture in 16 tokens of a codebook, where pixel values are no ids.
#
# ## Questions
#
# <details><summary>1. Why does one single step draw nearly the same picture from every noise?</summary>
#
# At time 0 the place is the noise e itself, and the mean of x - e over all pictures x of the word is their mean minus e. A whole step from e ends at that mean picture, whatever e was.
#
# </details>
# <details><summary>2. A judge reads 99 % of the drawings rightly, and 95 % of real pictures. Are the drawings better than real ones?</summary>
#
# They are more typical. Its errors on real pictures are on unusual ones, and a sampler that leaves these out is read better. Look at the spread beside it.
#
# </details>
# <details><summary>3. The losses of your GAN are 1.39 and 0.69. Is it finished?</summary>
#
# These are the losses of a discriminator that cannot tell. That is so for perfect drawings, and also where the discriminator has learned too little. Measure spread and distance.
#
# </details>
# <details><summary>4. Why not give a language model the pixels' values as ids?</summary>
#
# An id is a name: 9 and 10 have nothing in common. And a picture would be a text of many thousand words. A codebook's ids stand for what recurs; embeddings of patches (page 28) need no ids at all.
#
# </details>
# <details><summary>5. With the whole page: an assistant is to draw what the user most probably meant. And if it is to show what the user may have meant?</summary>
#
# For the first decide, then draw: a classifier's answer, typed cleanly, or weight 3. For the second draw several times at weight 1; whoever always takes the most probable meaning never shows the other one.
#
# </details>
# <details><summary>6. With the whole page: somebody shows you ten fine drawings from a new model. What do you ask for?</summary>
#
# Drawings that nobody chose; a judge that was trained apart, and what it says of real pictures and of noise; the nearest training pictures, beside the distance of new real ones; the spread for one prompt; prompts shuffled, as a control.
#
# </details>
#
# ## Read more
#
# - Y. Lipman and others, *Flow Matching for Generative Modeling*, ICLR 2023 (arXiv:2210.02747). The loss, and the proof that the mean velocity is enough.
# - X. Liu, C. Gong, Q. Liu, *Flow Straight and Fast*, ICLR 2023 (arXiv:2209.03003). The same straight paths, and how to need fewer steps.
# - J. Ho, T. Salimans, *Classifier-Free Diffusion Guidance*, 2022 (arXiv:2207.12598). The dropped condition and the weight; their weight counts from our 1.
# - I. Goodfellow and others, *Generative Adversarial Nets*, NeurIPS 2014 (arXiv:1406.2661). Where 2 ln 2 comes from.
# - A. van den Oord and others, *Neural Discrete Representation Learning*, NeurIPS 2017 (arXiv:1711.00937), and A. Ramesh and others, *Zero-Shot Text-to-Image Generation*, ICML 2021 (arXiv:2102.12092). A learned codebook; pictures written token by token after their text.
# - C. Meehan, K. Chaudhuri, S. Dasgupta, *A Non-Parametric Test to Detect Data-Copying in Generative Models*, AISTATS 2020 (arXiv:2004.05675). Copies, tested against held-out data.
#
# ## A bet for page 31
#
# In three of the next page's systems a miss costs more than a false alarm. Each has two modalities; the two alone and their fusion are ranked once by AUC, and once by what they cost at the threshold that validation chose. Two ways are ranked differently where one leads clearly by AUC and the other clearly by cost: both intervals of the differences keep clear of 0.
#
# *Ada says: in at least one of the three the rankings differ.* *Ben says: they are the same in all three.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("30.c", None)
guesses("30")
