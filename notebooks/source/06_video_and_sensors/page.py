# %% [markdown]
# # What if a modality has its own clock?
#
# A clip is many pictures a second, a sensor sends a number when it likes, and a record was written once. You find out what a mean over time cannot know, bring two streams to one clock without looking into the future, and fill a table's gaps without hiding them.
#
# *About {minutes} minutes. You need PyTorch's basics, pages 01 and 03, and aliasing from page 05.*

# %% [markdown]
# ## In this notebook you will
#
# 1. turn a clip into vectors, and see which question their mean cannot answer;
# 2. build the steps between frames under a mask, and test models by turning clips round;
# 3. build the clock: two streams at the same ticks, with a mask;
# 4. measure what hold, nearest and linear do to a signal that you know;
# 5. catch a forecast that has seen the future, and an alarm whose clocks disagree;
# 6. build the filling of a record's gaps, and see what the flags beside it learn.

# %% tags=["imports", "measured"]
# Imports.
import math

import numpy as np
import torch
from sklearn import pipeline, preprocessing
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torch.nn import functional as F

from course_utils import plots
from course_utils.datasets import MovingDigits, SmartHome
from course_utils.exercises import check, mine, reference
from course_utils.masks import last_state, masked_mean
from course_utils.metrics import mean_interval, paired, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.sensors import resample
from course_utils.training import Batches, evaluate, fit
from course_utils.video import frame_features

SPLITS = ("train", "validation", "test")

# %% tags=["figure"]
# The page in one picture: a clip, and two streams with clocks of their own.
strip = MovingDigits("side").sample(6, seed=6)["video"][1]     # (8, 24, 24)
room = SmartHome(1)
figure, grid = plots.axes(width=8.2, height=2.4, columns=2)
lined = F.pad(strip, (1, 1, 1, 1), value=0.5)                  # (8, 26, 26)
film = torch.cat([torch.cat([*half], 1) for half in (lined[:4], lined[4:])])   # (52, 104)
grid[0].imshow(1 - film, cmap="gray", vmin=0, vmax=1)
grid[0].set(xticks=[], yticks=[], title="a clip: eight frames")
grid[0].spines[:].set_visible(False)
for stream_name, rate, kind, mark in (("motion", 1.0, "text", "o"), ("sound", 4.0, "audio", "x")):
    sent = room.stream(stream_name, 12, rate=rate, seed=1, loss=0.15)
    grid[1].plot(sent.times, sent.values, mark, ms=4, ls="none", color=plots.COLORS[kind],
                 label=stream_name)
for tick in range(1, 12, 2):
    grid[1].axvline(tick, color=plots.COLORS["control"], lw=0.8)
grid[1].set(xlabel="seconds", title="two sensors, and the clock we want (lines)")
grid[1].legend(frameon=False, loc="upper right", bbox_to_anchor=(1.32, 1))
plots.show(figure, "Left: a digit that leaves the frame and comes back at the other edge. Right:"
           " readings of two sensors; at hardly any tick of the clock does one fall.")

# %% [markdown]
# ## A question from page 05
#
# Page 05's bet: a digit moves left, right, up or down, and a model takes the mean of the frames' vectors. Is it at chance, 25 % (Ada), or at about half (Ben)?
#
# ## A clip is pictures in order
#
# A **video clip** (视频片段), clip for short on this page, of one colour is a tensor (T, H, W): T **video frames** (视频帧), frames for short, each a picture. Each goes alone through an encoder, here the mean gray of each square of 3 x 3 pixels. A batch of clips is (B, T, H, W), with a mask (B, T) for frames that were lost.

# %% tags=["measured"]
def clips(split, n, seed, wrap=True):
    """n clips of the split's writers, half of them along each line."""
    lines = [MovingDigits(question, wrap=wrap).sample(n // 2, seed, split)
             for question in ("side", "height")]
    both = {name: torch.cat([line[name] for line in lines]) for name in ("video", "mask", "label")}
    both["label"][n // 2 :] += 2               # (n,): 0 left, 1 right, 2 up, 3 down
    return both

def small(pictures):
    return F.avg_pool2d(pictures, 3).flatten(1)                # (N, 1, 24, 24) -> (N, 64)

# %% owes="F2 F36"
few = clips("train", 6, seed=0)
features, mask = frame_features(few["video"], few["mask"], small)
print("clips", tuple(few["video"].shape), "-> features (B, T, D)", tuple(features.shape))
back = features.flip(1)                                        # the last frame first
apart = (masked_mean(features, mask) - masked_mean(back, mask)).abs().max()
print(f"means of a clip and of the clip turned round differ by at most {apart:.0e}")

# %% [markdown]
# A sum does not know its order, so a mean over time is the same for a clip and its reverse. Here a clip turned round is as probable as the clip itself, with the opposite direction. So whatever rests on the mean has at most half of these answers right in the long run: a proof, not a measurement. The same holds for one frame: a digit that leaves comes back at the other edge, from a start that is drawn evenly.
#
# What does know the order? A frame minus the one before it. A digit that goes right darkens its right side. Of three frames with one number each, 1, 4, 2, the steps are 3 and -2; turned round, 2 and -3. If the second frame is lost, there is no step at all.
#
# > **Exercise 06.1 · Steps under a mask** — *5 minutes · core*
# >
# > Return each frame minus the one before it, and where that means something.
# >
# > - `features` is `(B, T, D)`, `mask` `(B, T)` bool, True where a frame is there. In a lost frame anything may stand, NaN too.
# > - The steps are `(B, T - 1, D)`, and 0 where one of both frames is lost.
# > - Their mask is `(B, T - 1)` bool. No step leads over a lost frame.

# %% exercise="06.1"
def steps(features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each frame minus the one before: (B, T, D), (B, T) bool -> (B, T - 1, D), (B, T - 1) bool.

    Example: [[[1.0], [4.0], [2.0]]] with [[True, True, False]] give [[[3.0], [0.0]]] and
    [[True, False]].
    """
    ### BEGIN SOLUTION
    both = mask[:, 1:] & mask[:, :-1]                          # (B, T - 1)
    moved = features[:, 1:] - features[:, :-1]                 # (B, T - 1, D)
    return torch.where(both[..., None], moved, 0.0), both
    ### END SOLUTION

# %% [markdown] hints="06.1"
# <details><summary>A question that helps</summary>
#
# Which slice of the clip holds all later frames, which all earlier ones? When is a step known?
#
# </details>
# <details><summary>The idea in words</summary>
#
# `features[:, 1:]` minus `features[:, :-1]`; the same two slices of the mask joined by `&`. The mask has no last axis yet: `both[..., None]`. Then `torch.where`, because NaN times 0 is NaN.
#
# </details>
# <details><summary>If you see "must match the size"</summary>
#
# The mask is (B, T - 1), the steps are (B, T - 1, D). Give the mask a third axis.
#
# </details>

# %%
steps = mine("06.1", steps)
moved, both = steps(features, mask)
print("steps", tuple(moved.shape), "of", tuple(features.shape))
mask_lost = mask.clone()
mask_lost[:, 3] = False                                        # the fourth frame of each clip
print("with one frame lost, steps of a clip:", steps(features, mask_lost)[1][0].sum().item())

# %% [markdown]
# ### Where it breaks: only how much
#
# A common mistake is to take the *size* of the changes for the motion.

# %% tags=["fault"]
change = moved.abs()
change_back = steps(back, mask)[0].abs()
one, other = (masked_mean(part, both) for part in (change, change_back))
print("a clip differs from its reverse:", not torch.allclose(one, other, atol=1e-5))

# %% [markdown]
# Turned round, each step changes its sign and nothing else; `abs` takes it off, and the mean is blind again. Mended, it keeps both signs apart:

# %%
change = torch.cat([moved.relu(), (-moved).relu()], dim=2)     # (B, T - 1, 2 * D)
moved_back = steps(back, mask)[0]
change_back = torch.cat([moved_back.relu(), (-moved_back).relu()], dim=2)
one, other = (masked_mean(part, both) for part in (change, change_back))
print("a clip differs from its reverse:", not torch.allclose(one, other, atol=1e-5))

# %% [markdown] owes="F50 F135"
# ## Small models along time
#
# Three ways to read T vectors. `Pooled` puts each through a layer and takes the mean. `Conv` slides a convolution of three frames along time, as page 03 did along a picture. `Reader` is a **GRU** (门控循环单元), a recurrent network like page 01's LSTM, with two gates and no second state (Cho and others, 2014); it gives its last state. (This page's clips have no words. Where subtitles or a question come along, this vector is glued to theirs, as a picture's on page 00, and one head says which object is seen.)

# %% tags=["measured"]
class Pooled(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer, self.head = nn.Linear(width, 24), nn.Linear(24, 4)

    def forward(self, batch):
        hidden = self.layer(batch["features"]).relu()          # (B, T, D) -> (B, T, 24)
        return self.head(masked_mean(hidden, batch["mask"]))   # (B, 24) -> (B, 4)

# %% tags=["measured", "proof"]
# A convolution along time, and the GRU.
class Conv(Pooled):
    def __init__(self, width):
        super().__init__(width)
        self.layer = nn.Conv1d(width, 24, 3, padding=1)

    def forward(self, batch):
        hidden = self.layer(batch["features"].transpose(1, 2)).relu()          # (B, 24, T)
        return self.head(masked_mean(hidden.transpose(1, 2), batch["mask"]))   # -> (B, 4)

class Reader(Pooled):
    def __init__(self, width):
        super().__init__(width)
        self.layer = nn.GRU(width, 24, batch_first=True)

    def forward(self, batch):
        states, _ = self.layer(batch["features"])              # (B, T, D) -> (B, T, 24)
        return self.head(last_state(states, batch["mask"]))    # -> (B, 4)

# %% tags=["measured", "proof"]
# A larger model on the mean, and the clips as vectors.
class Larger(Pooled):
    def __init__(self, width):
        super().__init__(width)
        self.layer = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 128))
        self.head = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4))

def encoded(seed, wrap=True):
    data = {}
    for split, n in zip(SPLITS, (1000, 400, 800)):
        part = clips(split, n, seed, wrap)
        features, mask = frame_features(part["video"], part["mask"], small)
        data[split] = {"features": features, "mask": mask, "label": part["label"]}
    return data

# %% tags=["measured", "proof"]
# What each model is given of the clips.
def sizes(features, mask):
    moved, both = steps(features, mask)
    return moved.abs(), both

def any_order(features, mask):
    order = torch.rand(mask.shape, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    return features.take_along_dim(order[..., None], 1), mask.take_along_dim(order, 1)

KINDS = {"first frame": (Pooled, lambda f, m: (f[:, :1], m[:, :1])),
         "frames, mean": (Pooled, lambda f, m: (f, m)),
         "frames, mean, larger": (Larger, lambda f, m: (f, m)),
         "sizes of steps, mean": (Pooled, sizes),
         "steps, mean": (Pooled, lambda f, m: steps(f, m)),
         "convolution": (Conv, lambda f, m: (f, m)), "GRU": (Reader, lambda f, m: (f, m)),
         "GRU, any order": (Reader, any_order)}
RATES = (1e-2, 3e-2, 1e-1)

# %% tags=["measured", "proof"]
# Training at the rate that validation prefers, and its scores.
def view(part, kind, turned=False):
    both = [part[name].flip(1) if turned else part[name] for name in ("features", "mask")]
    features, mask = KINDS[kind][1](*both)
    return {"features": features, "mask": mask, "label": part["label"]}

def train(kind, data, seed, rate):
    torch.manual_seed(seed)
    batch, checked = (view(data[split], kind) for split in SPLITS[:2])
    model = KINDS[kind][0](batch["features"].shape[2])
    batches = Batches(batch, 32, torch.Generator().manual_seed(seed))
    history = fit(model, batches, Batches(checked, 400), epochs=12, lr=rate)
    return min(history.validation_loss), model, rate

def runs(kind, data, seed, rates=RATES):
    _, model, rate = min((train(kind, data, seed, one) for one in rates), key=lambda run: run[0])
    told, back = (evaluate(model, Batches(view(data["test"], kind, turned), 400))
                  for turned in (False, True))
    line = told.logits.argmax(dim=1) // 2 == told.labels // 2  # (n,)
    return told.accuracy, back.accuracy, line.double().mean().item(), rate

def one_line(data):
    return {split: {name: value[part["label"] < 2] for name, value in part.items()}
            for split, part in data.items()}

# %% [markdown]
# The control: the same test clips **turned round, with their old labels**. A model that is blind to order cannot notice. What will the GRU have on them, in per cent?

# %%
guess("06.a", None)

# %%
ordered = stored("06", "order")                                # python tools/sweep.py 06 order
print(f"{'right in %, five seeds':28}{'as they are':>13}{'turned round':>14}{'the line':>13}")
for name, row in ordered.items():
    scores = [percent(row[column]) for column in ("accuracy", "turned", "line")]
    print(f"{name:28}{scores[0]:>13}{scores[1]:>14}{scores[2]:>13}")
outcome("05.c", "Ben")
outcome("06.a", 0, within=5)

# %% [markdown]
# Ben wins. The mean of 24 learned features a frame has 41 %: it knows the *line* in 84 % of the clips, and of the way along it nothing. A larger model on the mean knows the line in 93 % and has 47; the sizes of the steps, 99 % and 49. The nearer to every line, the nearer to half; above it, by the proof, no model gets.
#
# With their sign the steps have 92 % (their rate is the highest that we tried), the convolution 99, the GRU 99.8. Turned round, these three fall to 8, 0.4 and 0.1: they answer the opposite, as they must. The blind ones change in no digit. A GRU that gets its frames in any order, in training too, has 50: only the order was taken from it.
#
# The last two rows ask for left or right alone, and give *one* frame. If digits come back at the other edge, it is at chance. If they stay whole in the frame, they have to start on the side that they leave, and one frame has 90 %. So ask the first frame first: on such clips a high score shows no eye for motion.
#
# <details><summary>Frames that nobody took</summary>
#
# Long clips are thinned out: one takes every k-th frame. A digit goes 3 pixels a frame around a picture 24 pixels wide. Every seventh frame shows it at 0, 21, 18, 15: 21 pixels forward are 3 backward, and it runs the other way, page 05's aliasing once more. And what lasts less than seven frames may fall between two of those taken.
#
# </details>
#
# ## Streams and one clock
#
# A sensor's **stream** (数据流) is a list of times and a list of values: a thermometer's, a GPS receiver's, a traffic counter's, a weather station's, a soil probe's. (Radar and lidar give a whole picture of distances each time: encode it first, like a frame.) Here motion comes twice a second, sound eight times, and the model wants both *at the same ticks*. The safest way is to **hold** (保持): at each tick take the last reading, the tick's own included. Its **age** (信息年龄) is the time since then; where it is too old, a mask says so.

# %%
times, values = [0.0, 1.0, 3.0], [5.0, 6.0, 8.0]
for tick in (-0.5, 0.5, 1.0, 2.5, 4.0):
    known = [k for k in range(3) if times[k] <= tick]
    if known:
        old = tick - times[known[-1]]
        print(f"tick {tick}: value {values[known[-1]]}, age {old}, young enough: {old <= 1}")
    else:
        print(f"tick {tick}: nothing yet")

# %% [markdown] owes="F22 F186"
# > **Exercise 06.2 · One clock** — *10 minutes · core*
# >
# > Bring streams to one clock.
# >
# > - `streams` is a list of pairs `(times, values)`, each `(N,)` float64 with N of at least 1 and its own N; times ascend. `clock` is `(T,)`, ascending.
# > - At each tick take from each stream the last reading up to the tick; one of the very moment counts.
# > - A reading counts up to the age `max_age`, that included. Before the first reading there is none.
# > - `values` is `(T, number of streams)`, the `mask` `(T,)` bool: True where *all* streams have a reading. Elsewhere the whole row is 0.

# %% exercise="06.2"
def one_clock(
    streams: list, clock: torch.Tensor, max_age: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The last readings of all streams at each tick: (T, streams) and mask (T,) bool.

    Example: streams ([0, 1], [5, 6]) and ([0, 2], [2, 3]) at clock [1.5, 2.5] with max_age 1.5
    give [[6, 2], [6, 3]] and [True, True]; with max_age 1 [[0, 0], [0, 0]], [False, False].
    """
    ### BEGIN SOLUTION
    columns, mask = [], torch.ones(len(clock), dtype=torch.bool)
    for times, values in streams:
        last = torch.searchsorted(times, clock, right=True) - 1              # (T,), -1 for none
        age = clock - times[last.clamp(min=0)]                               # (T,)
        mask = mask & (last >= 0) & (age <= max_age)
        columns.append(values[last.clamp(min=0)])
    table = torch.stack(columns, dim=1)                                      # (T, streams)
    return torch.where(mask[:, None], table, 0.0), mask
    ### END SOLUTION

# %% [markdown] hints="06.2"
# <details><summary>A question that helps</summary>
#
# How many readings of a stream have times up to the tick? What is then the number of the last of them, and what if there are none?
#
# </details>
# <details><summary>The idea in words</summary>
#
# For each stream: `torch.searchsorted(times, clock, right=True)` counts the readings up to each tick, that of the very moment included; minus 1 it is the number of the last, or -1. Take the value with `.clamp(min=0)`, so that -1 does not wrap to the end, and let the mask say False there. The age is the tick minus the time of that reading. Join the masks with `&`.
#
# </details>
# <details><summary>If a value comes from the end of the stream</summary>
#
# Before the first reading the number is -1, and Python counts that from the end. `last >= 0` belongs in the mask.
#
# </details>

# %% owes="F51"
one_clock = mine("06.2", one_clock)
motion, sound = (room.stream(name, 60, seed=1) for name in ("motion", "sound"))
clock = 0.7 * torch.arange(86).double()                        # (T,), a tick every 0.7 s
table, mask_both = one_clock([motion[:2], sound[:2]], clock, max_age=1.0)
print(f"{len(motion.times)} and {len(sound.times)} readings -> {tuple(table.shape)},",
      f"both there at {mask_both.sum()} of {len(clock)} ticks")

# %% [markdown]
# ## What each way costs
#
# In `SmartHome`, rooms that we have made up, the signal behind each sensor is known: three waves, with mean 0 and power 1. So the error of each way of filling can be measured. Who always says 0 has a root mean square error (RMS) of 1.
#
# For hold there is a formula. A wave of amplitude $a$ and angular frequency $\omega$ (2π times its Hz), held for a time between 0 and the distance $h$ of two readings, has in the mean the squared error
#
# $$ E = a^2 \left(1 - \frac{\sin \omega h}{\omega h}\right) \tag{06.1} $$
#
# For small $\omega h$ its root is about $a\,\omega h / \sqrt{6}$. **Nearest** (最近邻) takes the closer of the readings before and after: at most $h / 2$ away, so its RMS is about half. **Linear interpolation** (线性插值) draws a line between both.

# %% tags=["measured", "proof"]
# The error of each way on a stream of motion; of held values where readings come late.
def ticks(number, step):
    return 60 + step * torch.arange(number).double()

def rms(how, seed, loss=0.0, gaps=0, max_age=math.inf):
    """RMS error where the mask is True, and the share of ticks where it is."""
    home, clock = SmartHome(seed), ticks(3000, 0.2718)
    sent = home.stream("motion", 1000, rate=2.0, loss=loss, gaps=gaps, gap=15.0, seed=seed)
    found, there = resample(sent.times, sent.values, clock, how=how, max_age=max_age)
    error = (found - home.signal("motion", clock))[there]
    return error.square().mean().sqrt().item(), there.double().mean().item()

def late(way, seed, delay=1.0):
    """RMS of held values where readings come in late, by `delay` seconds in the mean."""
    home, clock = SmartHome(seed), ticks(3000, 0.2718)
    times, values, arrived = home.stream("motion", 1000, rate=2.0, delay=delay, seed=seed)
    if way == "stamped on arrival":
        times, order = arrived.sort()
        values = values[order]
    came = arrived if way == "what was in" else None
    found, there = resample(times, values, clock, arrived=came)
    return (found - home.signal("motion", clock))[there].square().mean().sqrt().item(), 1.0

# %%
errors = stored("06", "errors")                                # python tools/sweep.py 06 errors
def rms_of(name, digits):
    middle, half = mean_interval(errors[name]["rms"])
    return f"{middle:.{digits}f} ± {half:.{digits}f}"

print("RMS error of motion, five rooms, a reading every half second")
for how in ("hold", "nearest", "linear"):
    line = [rms_of(f"{how}, {lost} lost", 3) for lost in ("0", ".3", ".6")]
    print(f"{how:8}", *(f"{one:>15}" for one in line), "  (0, 30, 60 % lost)")

# %% tags=["proof"]
# (06.1) against means over phases and ages, and against room 0; one GRU trained again.
def squared_error(a, omega, h):
    return a**2 * (1 - np.sin(omega * h) / (omega * h))

phase = (np.arange(64) * 2 * np.pi / 64)[:, None]              # (64, 1)
by_formula, by_mean = [], []
for a, omega, h in ((1.3, 2.0, 0.5), (0.7, 5.0, 1.1)):
    ages = (np.arange(4096) + 0.5) / 4096 * h                  # (4096,)
    wave = a * (np.sin(phase) - np.sin(phase - omega * ages))  # now minus then
    by_formula.append(squared_error(a, omega, h))
    by_mean.append((wave**2).mean())
hertz, amplitude, _ = SmartHome(0).waves("motion").T           # (3,)
by_waves = squared_error(amplitude, 2 * np.pi * hertz, 0.5).sum() ** 0.5
assert abs(by_waves - rms("hold", 0)[0]) < 0.002
assert abs(rms("hold", 0)[0] - errors["hold, 0 lost"]["rms"][0]) < 0.001
live = runs("GRU", encoded(0), 0, [ordered["GRU"]["rate"][0]])
assert abs(live[0] - ordered["GRU"]["accuracy"][0]) < 0.03
verify("06.1", by_hand=by_formula, reference=by_mean, tolerance=1e-5)

# %% [markdown]
# Nearest errs half as much as hold, as the formula says, and linear a twelfth. When readings get lost, all of them suffer: with 60 % lost, held values err by 0.93, hardly less than always saying 0.
#
# And a sensor that fails for a while? Hold goes on with the last value. Here `max_age` helps (`resample` of `course_utils.sensors` has your hold, and the other ways):

# %% tags=["proof"]
# The stored errors beside ten gaps of 15 s, where the mask is True.
no_limit, limit = ([rms_of(f"{how}, gaps, {age}", 2) for how in ("hold", "linear")]
                   for age in ("inf", "1"))
share = np.mean(errors["hold, gaps, 1"]["share"])
print(f"hold, linear: no limit {', '.join(no_limit)}; 1 s {', '.join(limit)},"
      f" {100 * share:.0f} % of ticks")

# %% tags=["figure"]
# A gap of six seconds: the signal, what is held, and the line across.
now = torch.linspace(0, 24, 600, dtype=torch.float64)
sent = room.stream("motion", 24, rate=2.0, seed=1)
kept = (sent.times < 9) | (sent.times > 15)
figure, ax = plots.axes(width=7.0, height=2.6)
ax.plot(now, room.signal("motion", now), color=plots.INK, lw=0.8, label="signal")
for how, kind, style in (("hold", "text", "-"), ("linear", "image", "--")):
    drawn, there = resample(sent.times[kept], sent.values[kept], now, how=how)
    drawn = torch.where(there, drawn, math.nan)
    ax.plot(now, drawn, color=plots.COLORS[kind], ls=style, lw=1.4, label=how)
ax.axvspan(9.9, 15.4, color=plots.COLORS["control"], alpha=0.2, lw=0)
ax.set(xlabel="seconds", ylabel="motion")
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plots.show(figure, "Readings every half second, none from 9 to 15 s. In the gap both ways make"
           " something up; with max_age 1 the gray part is masked for hold.")

# %% [markdown]
# With no limit hold errs by 0.55, a line across the gap by 0.44; up to an age of one second 0.28 and 0.08, for 87 % of the ticks (hold). The mask repairs nothing: it says where nothing is known.
#
# ## Where it breaks: a line into the future
#
# Linear has the smallest error, so one prepares a whole recording with it, and trains a forecast on that: will motion be above 0 in one second? The model sees the last four ticks, one a second; readings come every two. The first 60 % of the time trains, the rest tests: 86 % right, on paper. In use, the next reading is not in yet. The line then ends at the newest reading, whose value is held from there on: "known".

# %% tags=["measured", "proof"]
# A forecast of motion's sign a second ahead: trained on one way, used on another.
def windows(how, sent, clock):
    """Four ticks in a row, (T - 3, 4); "known": lines up to the newest reading in, then hold."""
    if how != "known":
        return resample(sent.times, sent.values, clock, how=how)[0].unfold(0, 4, 1)
    following = sent.times[torch.searchsorted(sent.times, clock)]                # (T,)
    is_in = following.unfold(0, 4, 1) <= clock[3:, None]                         # (T - 3, 4)
    return torch.where(is_in, windows("linear", sent, clock), windows("hold", sent, clock))

def forecast(trained, used, seed):
    """The accuracy of a logistic regression on four ticks."""
    home, clock = SmartHome(seed), ticks(3000, 1.0)
    sent = home.stream("motion", 3100, rate=0.5, noise=0.1, seed=seed)
    ahead = (home.signal("motion", clock[4:]) > 0).numpy()     # a second after the last tick
    sides = [windows(how, sent, clock)[:-1].numpy() for how in (trained, used)]  # (T - 4, 4)
    model = LogisticRegression().fit(sides[0][:1800], ahead[:1800])
    return model.score(sides[1][1810:], ahead[1810:])

# %% tags=["fault"]
prepared = "linear"
in_use = np.mean([forecast(prepared, "known", seed) for seed in range(5)])
print("right in use in more than 70 %:", in_use > 0.7)

# %% [markdown]
# Between two readings a line needs the second of them, which is from after the tick. So the test has seen the future: **leakage** (泄漏), and no split by time helps. Mended, training gets what is known in use, and nothing else:

# %%
prepared = "known"
in_use = np.mean([forecast(prepared, "known", seed) for seed in range(5)])
print("right in use in more than 70 %:", in_use > 0.7)

# %%
leaks = stored("06", "leak")                                   # python tools/sweep.py 06 leak
for name, row in leaks.items():
    print(f"{name:34} {percent(row['accuracy']):>12} % right, ten rooms")

# %% tags=["proof"]
# The stored errors where readings come in late.
ways = ("by their times", "what was in", "stamped on arrival")
print("late, RMS: "
      + ", ".join(f"{way} {rms_of(f'late, {way}', 2)}" for way in ways))

# %% [markdown]
# Of its 86 % linear keeps 52 in use. Trained on what is known in use, it has 76. That tells two parts of the fall apart: the future is worth 10 points; the other 24 are lost because the weights fit inputs that never come. Hold, the simplest, is as good here (77). Linear is for looking back, or for answers that may wait.
#
# <details><summary>Late readings: the same leakage by another way</summary>
#
# A file is sorted by the times of measuring, so nothing in it is late any more. Let readings come in one second late in the mean. Held by their own times, as if none were late: 0.27, which nobody had at that moment. With what was in (`resample(..., arrived=...)`): 0.88. With the time of arrival in place of the time of measuring: 1.12, worse than always 0. So store both times.
#
# </details>
#
# ## Two sensors, one moment
#
# The alarm of a room is on where motion and sound *disagree*: one is above 0, the other is not. Their waves have nothing to do with each other, and each is above 0 half of the time; so one sensor alone says nothing. A decision tree (its depth chosen on later ticks of the training time) gets the values that your `one_clock` gives at a tick, side by side as on page 00.
#
# Then the clock of the motion sensor goes one to three seconds fast. No error comes up. Beside the tree stands the rule "alarm where the signs differ".

# %% tags=["measured", "proof"]
# The alarm by a tree; and by the rule on the signs, with a clock that is off.
def alarm_tree(names, seed, shuffled=False, depths=(1, 2, 3, 5, 8, 12)):
    """Accuracy on the last 40 % of the time; `shuffled` takes the sound of another moment."""
    home, clock = SmartHome(seed), ticks(3000, 0.2718)
    streams = [home.stream(name, 1000, seed=seed)[:2] for name in ("motion", "sound")]
    table, _ = one_clock(streams, clock, math.inf)             # (3000, 2)
    if shuffled:
        draw = torch.Generator().manual_seed(seed)
        table[:, 1] = table[torch.randperm(3000, generator=draw), 1]
    inputs = table[:, [("motion", "sound").index(name) for name in names]].numpy()
    label = home.alarm(clock).numpy()
    train, checked, test = slice(0, 1300), slice(1340, 1800), slice(1840, 3000)
    trees = [DecisionTreeClassifier(max_depth=depth, random_state=0) for depth in depths]
    trees = [tree.fit(inputs[train], label[train]) for tree in trees]
    best = max(trees, key=lambda tree: tree.score(inputs[checked], label[checked]))
    return best.score(inputs[test], label[test])

def alarm_rule(how, seed, off=0.0):
    """Accuracy of the rule on signs; the motion sensor's clock is `off` seconds fast."""
    home, clock = SmartHome(seed), ticks(3000, 0.2718)
    signs = []
    for name, late in (("motion", off), ("sound", 0.0)):
        sent = home.stream(name, 1000, seed=seed)
        signs.append(resample(sent.times + late, sent.values, clock, how=how)[0] > 0)
    return ((signs[0] != signs[1]).long() == home.alarm(clock)).double().mean().item()

# %%
alarms = stored("06", "alarm")                                 # python tools/sweep.py 06 alarm
for name, row in alarms.items():
    print(f"{name:30} {percent(row['accuracy']):>12} % right, five rooms")
now_there = alarm_tree(["motion", "sound"], 0) - alarms["both"]["accuracy"][0]
report("both, room 0, live minus stored", now_there, near=0, within=0.02)

# %% [markdown] owes="F52"
# Each sensor alone is at chance, and so are both if the sound is of another moment: the answer lies in what happens *together*. The tree on held values has 88 %, the rule 89, and 99.6 with linear values, looking back. A clock one second fast costs 29 points. At three seconds the rule has 25 %, below chance. Nothing in the two streams says so. What helps is an event that both notice, such as a clap.
#
# <details><summary>Why below chance?</summary>
#
# The waves of motion last 4 to 12 s, three seconds are between a quarter and three quarters of each, and there a wave stands mostly on the other side of 0.
#
# </details>
#
# ## A record is a modality too
#
# A patient's record: numbers, each with a unit of its own, **missing values** (缺失值), and no clock at all. What is missing is NaN, and a model takes no NaN. Two things are needed: a value to put there, and a **missing indicator** (缺失指示), a column of flags that say so. The value comes from the *training* rows: a model in use may see one row alone.
#
# A column with 2, 4 and a gap in training has the mean 3. A row with a gap becomes 3 with flag 1, a row with 5 stays 5 with flag 0.
#
# > **Exercise 06.3 · Fill and flag** — *5 minutes · core*
# >
# > - `rows` `(N, D)` and `train` `(M, D)` are float tables, NaN where a value is missing.
# > - Return `(N, 2 * D)`: the D columns with gaps filled by the mean of the same column of `train`, over what is there; then D flags, 1 where a value of `rows` was missing, else 0.
# > - A column that is empty in `train` fills with 0.

# %% exercise="06.3"
def with_flags(rows: torch.Tensor, train: torch.Tensor) -> torch.Tensor:
    """Rows with their gaps filled, then flagged: (N, D), (M, D) -> (N, 2 * D).

    Example: [[nan], [5.0]] with train [[2.0], [4.0], [nan]] give [[3.0, 1.0], [5.0, 0.0]].
    """
    ### BEGIN SOLUTION
    gone = rows.isnan()                                        # (N, D)
    means = train.nanmean(dim=0).nan_to_num(0.0)               # (D,)
    return torch.cat([torch.where(gone, means, rows), gone.to(rows)], dim=1)
    ### END SOLUTION

# %% [markdown] hints="06.3"
# <details><summary>A question that helps</summary>
#
# Which of the two tables gives the means, and which the flags?
#
# </details>
# <details><summary>The idea in words</summary>
#
# The flags first, `rows.isnan()`. The means by `train.nanmean(dim=0)`, with `.nan_to_num(0.0)` for an empty column. `torch.where` fills, `torch.cat(..., dim=1)` puts the flags beside it.
#
# </details>
# <details><summary>If the flags are all 0</summary>
#
# They are made after the filling. Make them before.
#
# </details>

# %%
with_flags = mine("06.3", with_flags)
measured, benign = load_breast_cancer(return_X_y=True)         # (569, 30), (569,)
print(measured.shape, f"{100 * benign.mean():.1f} % benign;", "mean radius", measured[:3, 0])

# %% [markdown]
# ## On real data: who was measured?
#
# Scikit-learn's breast-cancer table: 569 tumours under the microscope (Street and others, 1993). It has no gaps; we make some in its first five columns, in three ways: **at random** (随机缺失), where a value is *large*, and by *choice* (who seems healthy is measured less). A logistic regression (a linear layer, trained to a yes or no) gets these five columns alone, filled, without the flags or with them. Ten random splits, 60 to 40; its penalty is chosen within the training rows. The splits share rows, so the difference's interval is widened 2.8 times (Nadeau and Bengio, 2003).

# %% tags=["measured", "proof"]
# Gaps in the first five columns; a regression on filled values, with flags or not.
GAPS = ("none", "at random", "large values", "by choice")

def with_gaps(table, benign, kind, draw):
    """40 % of the values missing at random; 80 % of those above the median; or 56 % and 16 %."""
    share = {"none": 0.0, "at random": 0.4,
             "large values": 0.8 * (table > np.median(table, axis=0)),
             "by choice": np.where(benign, 0.56, 0.16)[:, None]}[kind]
    return np.where(draw.random(table.shape) < share, np.nan, table)

def record(kind, flags, seed, used=None):
    """Accuracy with gaps of one kind in training, and of another kind (`used`) in the test."""
    table, benign = load_breast_cancer(return_X_y=True)
    table, draw = table[:, :5], np.random.default_rng(seed)
    learn, test = train_test_split(
        np.arange(569), test_size=0.4, stratify=benign, random_state=seed)
    sides = [with_gaps(table, benign, which, draw) for which in (kind, used or kind)]
    rows = [torch.from_numpy(side[part]) for side, part in zip(sides, (learn, test))]
    train, tested = (with_flags(one, rows[0])[:, : 10 if flags else 5].numpy() for one in rows)
    known, half = benign[learn], len(learn) * 2 // 3
    models = [pipeline.make_pipeline(preprocessing.StandardScaler(), LogisticRegression(C=C))
              for C in (0.01, 0.1, 1, 10)]
    best = max(models, key=lambda one: one.fit(train[:half], known[:half]).score(
        train[half:], known[half:]))
    return best.fit(train, known).score(tested, benign[test])

# %%
records = stored("06", "record")                               # python tools/sweep.py 06 record
print(f"{'right in %, ten splits':24}{'filled':>8}{'and flags':>11}{'difference':>15}")
for kind in (*GAPS, "by choice, then none"):
    filled, flagged = (records[f"{kind}, {way}"]["accuracy"] for way in ("filled", "flags"))
    more, half = paired(flagged, filled)
    half = half * math.sqrt(1 + 10 * 2 / 3)                    # the splits share rows
    means = 100 * np.mean([filled, flagged], axis=1)
    print(f"{kind:24}{means[0]:8.1f}{means[1]:11.1f}{more:8.1f} ± {half:.1f}")
now_there = record("at random", True, 0) - records["at random, flags"]["accuracy"][0]
report("at random with flags, split 0, live minus stored", now_there, near=0, within=0.01)

# %% [markdown]
# Gaps at random: the flags gain nothing here, as they have nothing to tell. Large values missing: the flag says "large", and gains 13 points. By choice, four in ten values are gone, and the flags make up for it: 93.7 %, where the five columns without a gap have 92.9. They have read who was measured, and that followed the diagnosis. Used where everything is measured (last row), this model has 82, nine points below the one without flags.
#
# So ask first why a value is missing. If a whole record is, `~rows.isnan().all(dim=1)` is its mask.
#
# ## With the library
#
# Without this course's code (folded): scikit-learn's `SimpleImputer(add_indicator=True)` fills and flags numbers, `OneHotEncoder` turns a category into columns; `np.searchsorted(times, clock, side="right") - 1` finds the readings to hold.

# %% tags=["proof"]
# Filling, flags, categories and held readings with scikit-learn and NumPy.
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

people = np.array([[61, "north"], [np.nan, "south"], [47, "north"]], dtype=object)
prepare = ColumnTransformer([("numbers", SimpleImputer(add_indicator=True), [0]),
                             ("places", OneHotEncoder(handle_unknown="ignore"), [1])])
reading_times, wanted = np.array([0.0, 1.0, 3.0]), np.array([0.5, 1.0, 2.5])
last_readings = np.searchsorted(reading_times, wanted, side="right") - 1
print("rows", prepare.fit_transform(people).tolist(), "last readings", last_readings.tolist())

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **turn** a clip into vectors; their mean has at most half of the directions right, by proof;
# 2. **build** steps under a mask: with their sign they tell the way; clips turned round show who uses the order;
# 3. **build** the clock: the last reading up to the tick, its age, the mask of all streams;
# 4. **measure**: hold errs 0.28, nearest half of that, linear least; in a gap all make something up;
# 5. **catch** the leak: 86 % on paper, 52 in use; and a clock three seconds fast, at 25 %;
# 6. **fill and flag** a record; what flags bring depends on why a value is missing.
#
# ## Questions
#
# <details><summary>1. A model has 50 % on clips that go left or right. You turn the test clips round, with the old labels, and it has 50 % again. What do you know?</summary>
#
# Not much: a blind model has the same in both, but so has one that guesses. Only a model above chance that falls below it is shown to use the order.
#
# </details>
# <details><summary>2. The mean of all steps of a clip without lost frames: which frames does it depend on?</summary>
#
# On two: (last - first) / (T - 1). Everything between cancels.
#
# </details>
# <details><summary>3. Ticks 0.25 s apart are split at random into training and test. Readings come every two seconds. What is wrong?</summary>
#
# With hold, neighbouring ticks carry the same reading, and it lies on both sides. Split by time, with a pause between.
#
# </details>
# <details><summary>4. With the whole page: somebody forecasts falls of patients from a camera, a bed sensor and their files, with 95 %. What do you ask first?</summary>
#
# Was anything interpolated, or sorted by times that were not known then? Do the clocks of camera and sensor agree, and who checked? What has the first frame alone? And who was measured, and why?
#
# </details>
# <details><summary>5. With the whole page: where do clip, stream and record each say "not there", and what stands in its place?</summary>
#
# A mask over frames with zeros; a mask over ticks with zeros, by age; a flag beside a mean. None of the three may count as a value.
#
# </details>
#
# ## Read more
#
# - K. Cho and others, *Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation*, EMNLP 2014. The GRU, in section 2.3.
# - L. Wang and others, *Temporal Segment Networks: Towards Good Practices for Deep Action Recognition*, ECCV 2016. Frames sampled over a whole clip, and differences of frames as an input.
# - Z. C. Lipton, D. C. Kale, R. Wetzel, *Directly Modeling Missing Data in Sequences with RNNs: Improved Classification of Clinical Time Series*, MLHC 2016. Flags beside filled values, and what hospitals choose to measure.
# - Z. Che and others, *Recurrent Neural Networks for Multivariate Time Series with Missing Values*, Scientific Reports 8, 2018. The age of a reading as an input of a GRU.
# - D. B. Rubin, *Inference and Missing Data*, Biometrika 63(3), 1976. At random, and not.
# - C. Nadeau, Y. Bengio, *Inference for the Generalization Error*, Machine Learning 52, 2003. Why splits that share rows look too sure.
# - W. N. Street, W. H. Wolberg, O. L. Mangasarian, *Nuclear Feature Extraction for Breast Tumor Diagnosis*, SPIE 1905, 1993. The table.
#
# ## A bet for page 07
#
# A scan of a digit gets the label of the nearest training scan. Test rows are drawn at random, so nearly always the writer of a test scan has other scans in training. Page 07 then forbids just these: a test scan may ask all other writers' scans, not its own writer's. (In a control, those of one other writer are forbidden.) How many are wrong then?
#
# *Ada says: at least twice as many as in the control. The nearest scan was one by the same hand.* *Ben says: nearly as few mistakes as before; a dozen other writers are left.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("06.c", None)
guesses("06")
