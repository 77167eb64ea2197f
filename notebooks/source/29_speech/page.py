# %% [markdown]
# # How does speech become text, when nobody says where a letter is?
#
# A network writes down spoken digits. It learns from sounds and texts alone: which piece of sound is which letter, nobody has marked. You build the loss that makes this possible, and let strangers speak.
#
# *About {minutes} minutes. You need pages 05 and 21: log-mel frames, decibels, voices that were left out; the gradient of a softmax. Page 10 has the fusion, page 25 the beam.*

# %% [markdown]
# ## In this notebook you will
#
# 1. settle the bet of page 28: is it the digit, or the voice?
# 2. see when a picture helps a sound in noise, and when it is of no use;
# 3. put spoken texts together from clips, and listen;
# 4. build the loss that sums over all ways to place the letters, and train with it;
# 5. build the reading of its frames, count errors, and see what a list of ten words is worth;
# 6. ask strangers and, if you like, let your recogniser judge a voice.

# %% tags=["measured", "imports"]
# Imports.
import json
import re
import shutil
import subprocess
import tempfile
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import plots
from course_utils.audio import log_mel, open_sound
from course_utils.datasets import Digits, collate
from course_utils.datasets.digits import SAMPLE_RATE, WORDS
from course_utils.exercises import check, mine
from course_utils.masks import masked_mean, pad
from course_utils.metrics import mean_interval, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import DATA, reads, seed_everything
from course_utils.training import Batches, evaluate, fit

# %% [markdown]
# ## The bet of page 28
#
# A network learns from four of FSDD's six people, and the other two ask it, in all fifteen pairs. Its errors on them: do they depend on the voice (Ada) or on the digit (Ben)?

# %% tags=["figure"]
# The table, what explains its variation, and the trainings that were not slow.
asked = stored("29", "strangers")                              # python tools/sweep.py 29 strangers
FAST = [k for k in range(15) if 0.7 < np.mean([right for (one, _), right in zip(
    *(asked["known, greedy"][column] for column in ("who", "accuracy"))) if one == k])]
def wrong_table(row, trainings=range(15)):
    """Shares of wrong words (6 strangers, 10 digits), the mean over the networks."""
    shares, which = torch.tensor(row["wrong"]), torch.tensor(row["who"])   # (30, 10), (30, 2)
    used = torch.isin(which[:, 0], torch.tensor([*trainings]))             # (30,)
    return torch.stack([shares[used & (which[:, 1] == who)].mean(dim=0) for who in range(6)])

def explained(table):
    """Shares of the variation: which speaker, which digit."""
    apart = table - table.mean()
    speaker = table.shape[1] * apart.mean(dim=1).square().sum() / apart.square().sum()
    digit = table.shape[0] * apart.mean(dim=0).square().sum() / apart.square().sum()
    return speaker.item(), digit.item()

table = wrong_table(asked["stranger, greedy"])                             # (6, 10)
plots.table_of_numbers(
    (100 * table).round(),
    [f"person {who + 1}" for who in range(6)], list(WORDS),
    caption="Wrong words in % of each stranger (rows) and digit (columns), read letter by letter:"
    " the mean over the five networks that have not heard this stranger. (A word too many counts"
    " for no digit.)",
)

# %%
for name, trainings in (("greedy", range(15)), ("greedy", FAST), ("snapped", range(15))):
    speaker, digit = explained(wrong_table(asked[f"stranger, {name}"], trainings))
    print(f"{name}, {len(trainings)} trainings: speaker {speaker:.3f}, digit {digit:.3f}, the rest"
          f" {1 - speaker - digit:.3f}; per way to differ {speaker / 5:.3f}, {digit / 9:.3f}")
outcome("28.c", "Ada")

# %% tags=["figure"]
# How firm the shares are: shuffled, other networks, one person less, halves.
draw, chances, numbers = np.random.default_rng(0), [], table.numpy()
for axis in (0, 1):                            # shuffled among the speakers, among the digits
    shares = [explained(torch.tensor(draw.permuted(numbers, axis=axis)))[axis]
              for _ in range(2000)]
    as_much = np.mean(np.array(shares) >= explained(table)[axis])
    chances.append(f"{np.mean(shares):.2f} ({as_much:.0%})")
rows = torch.tensor(asked["stranger, greedy"]["wrong"])                    # (30, 10)
people_of = torch.tensor([who for _, who in asked["stranger, greedy"]["who"]])
of_each = torch.stack([rows[people_of == who] for who in range(6)])        # (6, 5, 10)
others = [of_each[torch.arange(6)[:, None], torch.from_numpy(draw.integers(5, size=(6, 5)))]
          for _ in range(2000)]
ahead = np.mean([speaker < digit for speaker, digit in (explained(o.mean(dim=1)) for o in others)])
without = [explained(table[torch.arange(6) != who]) for who in range(6)]
halves = []
for trainings in (range(0, 15, 2), range(1, 15, 2)):
    half = wrong_table(asked["stranger, greedy"], trainings)
    rest = half - half.mean(dim=1, keepdim=True) - half.mean(dim=0) + half.mean()
    halves.append(rest.flatten())
print(f"shuffled: voice {chances[0]}, digit {chances[1]}; ahead redrawn {ahead:.0%},"
      f" one less {sum(d > s for s, d in without)} of 6; halves {np.corrcoef(*halves)[0, 1]:.2f}")

# %% [markdown]
# By the bet's words Ada wins, narrowly. Which speaker accounts for 20.2 % of the variation of this table, which digit for 19.5 %; with each word replaced by the nearest of the ten (below: *snapped*), for 23 and 17 %. Draw each person's five networks anew, and in a third of the draws the digit is ahead. (Two of the fifteen trainings learned slowly: without both the speaker leads by 2.6 points.)
#
# But ten digits have nine ways to differ, six speakers five, and chance fills each. For each way to differ a speaker accounts for about twice as much as a digit, whichever of the six we leave out. So Ada, for these six; of other people six say little.
#
# <details><summary>How much is chance?</summary>
#
# Shuffle every person's numbers among the digits: the digit keeps 13 %, and 19.5 or more in one shuffle of seven. Shuffled among the speakers, the speaker keeps 8 %, and 20.2 or more in one of fifty. Leave out the first of the two slow trainings alone: the digit leads by 1.5 points. Leave out one of the six: by plain shares the digit is then ahead in four cases of six; snapped, in one.
#
# </details>
#
# Sixty per cent is neither: it is *this* stranger with *this* digit. Of person 5 nearly every "two" is wrong and hardly a "six"; of person 4 it is nearly every "six" and few of "nine". That is not the luck of a training: the even and the odd trainings agree on this rest with a correlation of 0.83 (asked by the same recordings).
#
# ## One word in noise: what a picture adds
#
# **Audio-visual recognition** (视听识别) also looks at the lips. We have none; a written digit of `digits` stands for them. White noise comes into the sound, down to -15 dB (32 times the sound's power). Rate and epoch of each model are chosen by validation.

# %% tags=["measured", "proof"]
# Frames of a sound, every 20 ms, less each band's mean; the network that hears them.
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
# One digit, seen and heard: `digits` without noise in its sound, and in noise.
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

def train_pair(use, train, validation, seed, lr, epochs=15):
    generator = seed_everything(seed)
    model = Pair(use)
    fit(model, Batches(train, 64, generator), Batches(validation, 1024), epochs=epochs, lr=lr,
        weight_decay=0.01)
    return model

# %%
heard_so = stored("29", "noise")                               # python tools/sweep.py 29 noise
IMAGE, SOUND, CLEAN, NOISY = (heard_so[name]["accuracy"] for name in (
    "image", "sound, trained in noise", "both, trained clean", "both, trained in noise"))
print("right in %, five seeds           no noise           0 dB         -10 dB         -15 dB")
for name, one, other in (
        ("image", IMAGE, None), ("sound, trained in noise", SOUND, None),
        ("both, trained clean", CLEAN, None), ("    minus image", CLEAN, IMAGE),
        ("both, trained in noise", NOISY, None), ("    minus image", NOISY, IMAGE),
        ("    minus sound", NOISY, SOUND)):
    levels = [percent(one[at], other and other[at]) for at in ("inf", "0", "-10", "-15")]
    print(f"{name:26}", *(f"{values:>14}" for values in levels))

# %% tags=["figure"]
# Accuracy by the level of the noise; and one of these models trained again.
places = list(heard_so["image"]["accuracy"])
shown = {"image alone": "image", "sound alone, trained in noise": "sound, trained in noise"}
shown |= {name: name for name in ("both, trained clean", "both, trained in noise")}
looks = zip(("image", "audio", "fused", "fused"), ("s-", "^-", "o:", "o-"))
figure, ax = plots.axes(height=3.4)
for (label, name), (color, line) in zip(shown.items(), looks):
    pairs = [mean_interval([100 * v for v in heard_so[name]["accuracy"][at]]) for at in places]
    ax.errorbar(range(len(places)), [m for m, _ in pairs], yerr=[h for _, h in pairs], capsize=3,
                fmt=line, color=plots.COLORS[color], label=label)
ax.set_xticks(range(len(places)), ["none", *(f"{at} dB" for at in places[1:])])
ax.set(xlabel="level of the sound against the noise", ylabel="right (%)", ylim=(0, 102))
ax.legend(frameon=False, fontsize=9)
plots.show(figure, "Five seeds, with intervals. Trained on clean sound, picture and sound together"
           " fall below the picture alone; trained in noise they stay above it down to -10 dB.")
parts = {split: load(split, 0) for split in ("train", "validation", "test")}
quiet = [in_noise(parts[split], LEVELS[:1], k) for k, split in enumerate(("train", "validation"))]
row = heard_so["both, trained clean"]
clean_pair = train_pair(("image", "audio"), *quiet, 0, row["lr"])
loud = evaluate(clean_pair, Batches(in_noise(parts["test"], (-10.0,), 9), 1024)).accuracy
report("both, trained clean, -10 dB: live minus stored", loud - row["accuracy"]["-10"][0], 0, 0.08)

# %% [markdown]
# Without noise the sound is nearly enough. At -10 dB the picture, with 65.1 % at every level, is worth more. But the same network on both, *trained on clean sound*, has 39.3 % there: 25.8 ± 10.4 points *below* the picture alone. *Trained in noise* it is above the picture alone by 18.0 ± 1.7 points at 0 dB and 3.1 ± 2.0 at -10, and no longer at -15 (-2.5 ± 2.7). Over the sound alone, trained in the same noise, the picture gains 28.8 ± 5.0 points at -10 dB, and 0.5 ± 1.6 in quiet: it helps where the sound fails.
#
# <details><summary>Why below, what it costs, and the controls</summary>
#
# The networks trained on clean sound: the noise is not the whole reason. With the sound's features held at their training mean (*sound held*) these networks have 47.1 %, still 18.0 ± 7.3 below. Perhaps, beside a sound that is nearly enough, the picture's part has learned less.
#
# In quiet the training in noise costs 2.5 ± 2.3 points. The controls say that both are used: with the sound shuffled among the samples nearly the picture's accuracy is left, with the picture shuffled about the sound's. (One rate, that of the clean sound alone, is the largest one tried; we compare nothing with it.)
#
# </details>
#
# ## From text to sound, in one cell
#
# The simplest way to let a machine speak is to put clips together, **concatenative synthesis** (拼接合成). The course has ten clips of each of sixty voices. (Your own digits go into `typed`, in the folded cell.)

# %% owes="F141" tags=["measured"]
def speak(clips, gaps):
    """Clips (S,), one behind the other, with silences of `gaps` samples before, between, after."""
    parts = [torch.zeros(gaps[0])]
    for clip, gap in zip(clips, gaps[1:]):
        parts += [clip, torch.zeros(gap)]
    return torch.cat(parts)

# %% tags=["measured", "proof"]
# Letters as numbers; the voices of the course, {(voice, digit): [its clips]}.
LETTERS = " " + "".join(sorted(set("".join(WORDS))))                       # 16; 0 is the blank

def numbered(texts):
    rows = [torch.tensor([1 + LETTERS.index(letter) for letter in text]) for text in texts]
    return {"targets": pad(rows)[0], "letters": torch.tensor([len(row) for row in rows])}

def voices_of(split):
    folder = reads(DATA / "digits")
    listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["voices"]
    clips = {}
    for voice in (one["voice"] for one in listed if one["split"] == split):
        for digit in range(10):
            sound = open_sound(folder / "speech" / f"{voice:02d}_{digit}.flac", SAMPLE_RATE)
            clips[voice, digit] = [sound / sound.abs().max()]
    return clips

# %% tags=["measured", "proof"]
# Strings of two to four digits, each in one voice, as a batch with its letters.
def batch_of(sounds, digits, rng):
    """Sounds (S,) in a faint hiss, and what they say, as tensors by name."""
    longest = torch.zeros(max(len(sound) for sound in sounds))             # a row for its length
    parts = []
    for start in range(0, len(sounds), 200):                               # spares memory
        hissing = [sound + 0.01 * torch.from_numpy(rng.standard_normal(len(sound))).float()
                   for sound in sounds[start:start + 200]]
        frames, heard = frames_of(*pad([*hissing, longest]))
        parts.append((frames[:-1], heard[:-1]))
    frames, heard = (torch.cat(each) for each in zip(*parts))
    texts = [" ".join(WORDS[digit] for digit in said) for said in digits]
    return {"frames": frames, "heard": heard, **numbered(texts)}, texts

def strings(clips, count, seed, say=speak):
    rng, sounds, digits = np.random.default_rng(seed), [], []
    voices = sorted({voice for voice, _ in clips})
    for _ in range(count):
        voice, said = int(rng.choice(voices)), rng.integers(10, size=rng.integers(2, 5)).tolist()
        chosen = [of[int(rng.integers(len(of)))] for of in (clips[voice, d] for d in said)]
        gaps = rng.integers(0, 1600, size=1 + len(said)).tolist()          # up to 0.2 s
        sounds.append(say(chosen, gaps))
        digits.append(said)
    return batch_of(sounds, digits, rng)

# %% tags=["figure", "nbval-ignore-output"]
# Not compared: not everybody has espeak-ng.
train_clips, test_clips = voices_of("train"), voices_of("test")
voice, typed = min(test_clips)[0], "three nine seven"          # your own digits
chosen = [test_clips[voice, WORDS.index(word)][0] for word in typed.split()]
spoken = {"clips": speak(chosen, [800, 400, 400, 800])}                    # samples at 8 kHz
if shutil.which("espeak-ng"):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["espeak-ng", "-w", f"{folder}/said.wav", typed], check=True)
        spoken["espeak-ng"] = open_sound(f"{folder}/said.wav", SAMPLE_RATE)
plots.listen(spoken, SAMPLE_RATE, caption=f'"{typed}" from clips; by espeak-ng, if installed.')

# %% [markdown]
# Each word ends as if nothing came. espeak-ng computes a whole sentence by rules (the clips are its work, too, word by word). Many trained systems predict log-mel frames, some also how long each sound lasts; a second network, the **vocoder** (声码器), makes samples of the frames.
#
# Turned round, this is our data: strings of two to four digits, one voice each, random silences up to 0.2 s, a faint hiss. 40 voices train, 10 others test.

# %%
data, _ = strings(train_clips, 1500, seed=0)
test, texts = strings(test_clips, 300, seed=100)
steps = (test["heard"].sum(dim=1)[0] + 1) // 2                             # one every 40 ms
print("frames (B, T, 40):", tuple(data["frames"].shape))
print(f'the first of the test: "{texts[0]}", {len(texts[0])} letters, {steps} steps of 40 ms')

# %% [markdown]
# ## Many paths, one text
#
# The network gives, for each step of 40 ms, probabilities of 16 symbols (15 letters and the space between words). Which is right at which step? The data do not say. A clip may be 0.2 s or 0.8 s long, and to mark each letter by hand costs hours.
#
# *Connectionist temporal classification*, **CTC** (连接时序分类), needs no marks. It adds one symbol, the **blank** (空白符), written `-`, "nothing new here". A *path* has one symbol a step. A path becomes a text in two moves: merge neighbours that are equal, *then* drop the blanks. So `-ss-eee-vveen-` becomes "seven". And two equal letters in a row need a blank between them: `three` cannot be said without `e-e`.
#
# The smallest case that has this: the text "ee", four steps, three symbols.

# %%
paths = ["".join(symbols) for symbols in product("-eh", repeat=4)]
fits = [path for path in paths if re.fullmatch("-*e+-+e+-*", path)]
y = torch.tensor([[0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]],
                 dtype=torch.float64)                          # (T, C): what the network says
def probability(path):
    return torch.stack([y[t, "-eh".index(symbol)] for t, symbol in enumerate(path)]).prod()

print(len(paths), "paths, of which become ee:", fits)
print("their probabilities:", [round(probability(path).item(), 4) for path in fits])
print("the text's:", round(sum(probability(path).item() for path in fits), 4))

# %% [markdown]
# With $y_t(k)$ for the probability of symbol $k$ at step $t$, and $\pi$ for a path:
#
# $$ p(\text{text}) = \sum_{\pi \,\to\, \text{text}} \; \prod_{t=1}^{T} y_t(\pi_t) \tag{29.1} $$
#
# The loss is $-\log p$. But nobody can list the paths of a real string. The way out: paths that have come *equally far* in the text go on alike, so add them up before they go on. Write the text with blanks around and between: `- e - e -`, the *states* $z_0, z_1, \dots, z_{2L}$. Let $\alpha_t(s)$ be the sum over all beginnings of $t$ steps that stand in state $s$. One step earlier they stood there too, or one state before, or two, if the state between is a blank that may be left out:
#
# $$ \alpha_t(s) = y_t(z_s) \left( \alpha_{t-1}(s) + \alpha_{t-1}(s-1) + [z_s \ne \text{blank}, z_s \ne z_{s-2}]\; \alpha_{t-1}(s-2) \right) \tag{29.2} $$
#
# At the first step only $s = 0$ and $s = 1$ are possible. At the end the text is said if the path stands in the last letter, or in the blank behind it: $p = \alpha_T(2L) + \alpha_T(2L - 1)$.

# %% tags=["figure"]
# The table of (29.2) for "ee", from all paths of one to four steps.
def beginnings(form, t):
    """The probability of all paths of t steps of a form."""
    those = ["".join(symbols) for symbols in product("-eh", repeat=t)]
    return sum(probability(path).item() for path in those if re.fullmatch(form, path))

forms = ["-+", "-*e+", "-*e+-+", "-*e+-+e+", "-*e+-+e+-+"]
plots.table_of_numbers(
    [[beginnings(form, t) for t in range(1, 5)] for form in forms],
    ["-", "e", "- (must)", "e (again)", "- (last)"],
    [f"step {t}" for t in range(1, 5)],
    caption='The sums for the text "ee", state by state (down) and step by step (right). At step 2'
    " the first e has 0.4 (0.7 + 0.2) = 0.36. The last two numbers of step 4 add up to the text's"
    " probability.",
)

# %% [markdown]
# With 40 steps the products become tiny, with 1,000 they are 0 even in float64. So compute with logarithms: a product becomes a sum, and a sum becomes `logsumexp`. For the log of 0, `-inf` gives a right value and then NaN as its gradient; -1e30 gives both right.
#
# > **Exercise 29.1 · All paths at once** — *20 minutes · core*
# >
# > The log-probability of each row's text, by (29.2), for a batch.
# >
# > - `log_probs` `(B, T, C)`: logarithms; number 0 is the blank. `targets` `(B, L)` int: the letters, padded with 0. `frames` `(B,)` and `letters` `(B,)` int: how many of the T steps and of the L letters each row has, at least 1.
# > - Return `(B,)`: $\log p$. A loop over T is fine, one over rows is slow.
# > - Begin with these lines: the states $z$ of each row, and what each step says of each state.
# >
# > ```python
# > B, T, _ = log_probs.shape
# > states = targets.new_zeros(B, 2 * targets.shape[1] + 1)          # (B, S)
# > states[:, 1::2] = targets
# > says = log_probs.gather(2, states[:, None].expand(-1, T, -1))    # (B, T, S)
# > ```
# >
# > - What stands in the padding does not matter, not to the gradient either. Not `F.ctc_loss`.

# %% exercise="29.1"
def ctc_log_likelihood(log_probs: Tensor, targets: Tensor, frames: Tensor,
                       letters: Tensor) -> Tensor:
    """The log-probability (B,) of each row's text, summed over all paths.

    Example: the page's `y` as log_probs (1, 4, 3), targets [[1, 1]], frames [4], letters [2]:
    the log of the sum over five paths.
    """
    ### BEGIN SOLUTION
    B, T, _ = log_probs.shape
    states = targets.new_zeros(B, 2 * targets.shape[1] + 1)                # (B, S)
    states[:, 1::2] = targets
    skip = torch.zeros_like(states, dtype=torch.bool)
    skip[:, 2:] = (states[:, 2:] != 0) & (states[:, 2:] != states[:, :-2])
    says = log_probs.gather(2, states[:, None].expand(-1, T, -1))          # (B, T, S)
    alpha = torch.full_like(says[:, 0], -1e30)                             # (B, S)
    alpha[:, :2] = says[:, 0, :2]
    for t in range(1, T):
        one = F.pad(alpha, (1, -1), value=-1e30)
        two = F.pad(alpha, (2, -2), value=-1e30).masked_fill(~skip, -1e30)
        new = torch.stack([alpha, one, two]).logsumexp(dim=0) + says[:, t]
        alpha = torch.where((t < frames)[:, None], new, alpha)
    last = 2 * letters[:, None]
    return torch.logaddexp(alpha.gather(1, last), alpha.gather(1, last - 1))[:, 0]
    ### END SOLUTION

# %% [markdown] hints="29.1"
# <details><summary>A question that helps</summary>
#
# If you had a tensor `alpha` (B, S) of one step, S = 2L + 1, which three shifted copies of it do you add for the next?
#
# </details>
# <details><summary>The idea in words</summary>
#
# `states` has zeros, and the targets at the odd places. `alpha` (B, S) begins at -1e30 but for its first two states. At each step: itself, itself shifted by one, itself shifted by two where that is allowed; `logsumexp` of the three; add what the step says. Rows that have ended keep theirs (`torch.where`). At the end gather two states of each row: 2 · letters, and the one before.
#
# </details>
# <details><summary>If a longer row is right and a shorter one wrong</summary>
#
# The shorter one has its last state at 2 · *its own* letters, and its last frame at its own `frames`.
#
# </details>

# %%
ctc_log_likelihood = mine("29.1", ctc_log_likelihood)
ee, one_row = torch.tensor([[1, 1]]), (torch.tensor([4]), torch.tensor([2]))
print("ee:", round(ctc_log_likelihood(y.log()[None], ee, *one_row).exp().item(), 4))
first = test["targets"][:1], steps[None], test["letters"][:1]
zeros = torch.zeros(1, int(steps), 1 + len(LETTERS), dtype=torch.float64)
count = ctc_log_likelihood(zeros, *first) / np.log(10)         # each path counts 1
report(f'paths of "{texts[0]}": ten to the power', count.item(), near=24, within=0.1)
summed = torch.stack([probability(path) for path in fits]).sum()
verify("29.1", by_hand=ctc_log_likelihood(y.log()[None], ee, *one_row)[0], reference=summed.log())

# %% tags=["proof"]
# (29.2) against PyTorch's loss on random rows.
draw = torch.Generator().manual_seed(0)
random_logs = torch.randn(4, 14, 6, generator=draw, dtype=torch.float64).log_softmax(dim=2)
random_texts = torch.randint(1, 6, (4, 5), generator=draw)
sizes = torch.tensor([14, 12, 14, 11]), torch.tensor([5, 3, 4, 1])
theirs = -F.ctc_loss(random_logs.transpose(0, 1), random_texts, *sizes, reduction="none")
verify("29.2", by_hand=ctc_log_likelihood(random_logs, random_texts, *sizes), reference=theirs)

# %% [markdown]
# With 0 as every logarithm each path counts 1, so your function counts them.
#
# ### Where it breaks: a loss below 0
#
# PyTorch has this loss: `F.ctc_loss(log_probs, targets, frames, letters)`, with log_probs as `(T, B, C)`. It believes that it is given logarithms of probabilities, and does not look. (Page 21 met the other fault: one softmax too many.)

# %% tags=["fault"]
scores = torch.full((4, 1, 3), 2.0)                            # (T, B, C): a network's outputs
loss = F.ctc_loss(scores, ee, *one_row)
print("at least 0, as minus the log of a probability is:", loss.item() >= 0)

# %% [markdown]
# No error. Trained so, your loss asks for larger outputs alone and falls without end. PyTorch's gradient is worked out as if a softmax stood before it: steps *down* that gradient let the number rise. Take logarithms of probabilities first:

# %%
scores = torch.full((4, 1, 3), 2.0).log_softmax(dim=2)         # (T, B, C)
loss = F.ctc_loss(scores, ee, *one_row)
print("at least 0, as minus the log of a probability is:", loss.item() >= 0)

# %% tags=["proof"]
# Fifty steps down from outputs that are no logarithms, by your loss and by PyTorch's.
at, built_at = torch.full((2, 4, 1, 3), 2.0, requires_grad=True)           # (T, B, C) each
for _ in range(50):
    own = -ctc_log_likelihood(at.transpose(0, 1), ee, *one_row).sum()
    built_in = F.ctc_loss(built_at, ee, *one_row, reduction="sum")
    at = at - 0.1 * torch.autograd.grad(own, at)[0]
    built_at = built_at - 0.1 * torch.autograd.grad(built_in, built_at)[0]
print(f"from -9.6 in 50 steps: yours to {own.item():.1f}, PyTorch's to {built_in.item():.2f}")

# %% [markdown]
# ## Train it
#
# Four convolutions over time, then a linear layer to 17 logarithms. The loss is yours, per letter.

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

# %% tags=["measured", "proof"]
# Training: 300 steps of 32 strings, the loss by letter.
def train(data, seed, ctc, lr=0.012, steps=300):
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

# %% owes="F140"
recogniser = train(data, 0, ctc_log_likelihood)                # 300 steps of 32 strings
with torch.no_grad():
    log_probs, frames = recogniser(test["frames"], test["heard"])          # (300, T', 17), (300,)
known = torch.arange(log_probs.shape[1]) < frames[:, None]     # (300, T')
blank = (log_probs.argmax(dim=2) == 0)[known].double().mean().item()
report("steps at which the blank is the likeliest", 100 * blank, near=39, within=12, unit="%")

# %% [markdown]
# What did it learn from? Let $\gamma_t(k)$ be the share of the text's probability that belongs to paths with symbol $k$ at step $t$. It is the gradient of $\log p$, and for the outputs $o$ before the softmax, the gradient of the loss is page 21's once more (there $y$ was the label; here $\gamma$ is):
#
# $$ \frac{\partial \log p}{\partial \log y_t(k)} = \gamma_t(k), \qquad \frac{\partial (-\log p)}{\partial o_t(k)} = y_t(k) - \gamma_t(k) \tag{29.3} $$
#
# So the labels of the steps exist after all: the network makes them itself, soft ones, from what it hears and what was said.

# %% tags=["figure"]
# (29.3) against all paths; and the posterior of one test string by autograd.
outputs = y.log().clone().requires_grad_()
log_p = ctc_log_likelihood(outputs.log_softmax(dim=1)[None], ee, *one_row)[0]
share = torch.stack([sum(probability(path) for path in fits if path[t] == symbol) / summed
                     for t in range(4) for symbol in "-eh"]).view(4, 3)      # (T, C)
leaf = y.log().clone().requires_grad_()
own = torch.autograd.grad(ctc_log_likelihood(leaf[None], ee, *one_row)[0], leaf)[0]
down = torch.autograd.grad(-log_p, outputs)[0]
verify("29.3", by_hand=torch.stack([own, down]), reference=torch.stack([share, y - share]))
leaf = log_probs[:1, : int(steps)].clone().requires_grad_()
posterior = torch.autograd.grad(ctc_log_likelihood(leaf, *first).sum(), leaf)[0][0]
names = ["-", *LETTERS.replace(" ", "_")]
figure, ax = plots.axes(height=3.6)
ax.imshow(posterior.T, aspect="auto", cmap="Greys", vmin=0, vmax=1)
ax.set_yticks(range(len(names)), names)
ax.set_xlabel("step of 40 ms")
ax.set_ylabel("symbol")
plots.show(figure, f'Which symbol each step says, given the text "{texts[0]}" (dark: surely).'
           " Nobody marked it. - is the blank, _ the space between words.")

# %% [markdown]
# Read the dark steps from left to right: they spell the text. At about four steps of ten the likeliest symbol is the blank.
#
# ## Read it
#
# The simplest reading, greedy decoding (page 25): take each step's likeliest symbol, then the two moves.
#
# > **Exercise 29.2 · From steps to letters** — *6 minutes · core*
# >
# > - `log_probs` `(B, T, C)`, number 0 is the blank; `frames` `(B,)`: how many of the T *steps* each row has (a step is two frames).
# > - Return a list with one list of numbers a row: the letters of its likeliest path.

# %% exercise="29.2"
def greedy_letters(log_probs: Tensor, frames: Tensor) -> list[list[int]]:
    """The numbers of each row's letters: the likeliest symbol of each step, merged, no blanks.

    Example: a row whose steps say 1 1 0 1 gives [1, 1]; one whose steps say 0 2 2 0 gives [2].
    """
    ### BEGIN SOLUTION
    rows = []
    for path, count in zip(log_probs.argmax(dim=2), frames):
        merged = path[:count].unique_consecutive()
        rows.append(merged[merged != 0].tolist())
    return rows
    ### END SOLUTION

# %% [markdown] hints="29.2"
# <details><summary>A question that helps</summary>
#
# What does `e-e` become if the blank goes first?
#
# </details>
# <details><summary>The idea in words</summary>
#
# `argmax` over the symbols. Row by row: cut at the row's own number of frames, merge equal neighbours (`unique_consecutive`, `itertools.groupby`, or a loop that remembers the last symbol), and then leave out the zeros.
#
# </details>
# <details><summary>If "three" comes out with a single e at its end</summary>
#
# The blank between the two e is what keeps them apart. Drop it last.
#
# </details>

# %% tags=["measured", "proof"]
# Reading what a recogniser hears, by letters; snapped to the ten words; both rates.
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

# %%
greedy_letters = mine("29.2", greedy_letters)
written = read(recogniser, test, greedy_letters)
for place in (0, 1, 2, 3, 4):
    print(f"said: {texts[place]:24} written: {written[place]}")

# %% [markdown]
# How good is that? Count the letters (and spaces) that are too many (I), missing (D) or changed (S), as few as possible, over all texts, and divide by all N that were said:
#
# $$ \text{error rate} = \frac{\sum (S + D + I)}{\sum N} \tag{29.4} $$
#
# Of letters it is the **character error rate** (字符错误率, CER), of words the **word error rate** (词错误率, WER). A system that writes too much can exceed 100 %.

# %% tags=["measured"]
def edits(said, meant):
    """The fewest letters (or words) to put in, take out or change, S + D + I."""
    row = list(range(len(meant) + 1))                      # from nothing to each beginning
    for i, one in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(meant, 1):
            change = before + (one != other)
            before, row[j] = row[j], min(change, row[j] + 1, row[j - 1] + 1)
    return row[-1]

def error_rate(said, meant):                               # two lists of texts, (29.4)
    return sum(map(edits, said, meant)) / sum(map(len, meant))

# %%
rate = error_rate(["oge", "trhee", "two"], ["one", "three", "to"])         # 1 + 2 + 1 edits of 10
verify("29.4", by_hand=np.float64(rate), reference=np.float64(4 / 10))
report("CER", 100 * error_rate(written, texts), near=7.7, within=4, unit="%")
report("WER", 100 * error_rate(words_of(written), words_of(texts)), near=17, within=9, unit="%")
print(f'"one" written as "nine one one": WER {error_rate([["nine", "one", "one"]], [["one"]]):.0%}')

# %% [markdown]
# Two ways to read better. The likeliest *path* need not belong to the likeliest *text*: a **prefix beam** (前缀束搜索), page 25's beam over texts in place of paths, keeps the eight best beginnings of texts (here from each step's four likeliest symbols) and adds up their paths. And we know that only ten words exist, a **lexicon** (词典): *snapping* replaces each word by the nearest of the ten.

# %%
kept = stored("29", "voices")                                  # python tools/sweep.py 29 voices
def runs(values):
    return " ".join(f"{100 * value:5.1f}" for value in values)

print("five seeds, each             CER in %                         WER in %")
for name in ("known voices, greedy", "new voices, greedy", "new voices, beam",
             "new voices, snapped", "new voices, beam, snapped", "texts shuffled, greedy"):
    print(f"{name:26}", runs(kept[name]["CER"]), "  ", runs(kept[name]["WER"]))
live = error_rate(written, texts) - kept["new voices, greedy"]["CER"][0]
report("CER of new voices, live minus stored", live, near=0, within=0.05)

# %% [markdown]
# Four of the five trainings write new voices with a WER of 13 to 24 %, the fifth with 53: it has learned slowly, and also of the voices that it knows it gets 42 % of the words wrong (the others 2 to 3). A mean would hide that there are two kinds of runs. Texts shuffled among the sounds teach it nothing: it writes nothing.
#
# <details><summary>How the learning rate was chosen</summary>
#
# The learning rate is the best of four on validation voices with seed 0, and the largest of the four; at half of it two of the next section's fifteen are slow, too.
#
# </details>
#
# The beam gains a point of WER at most, the lexicon about half of the WER in each of the four. By letters it sometimes loses: "twofive" becomes one word.
#
# ## Strangers
#
# The course's voices are a program's. Now people: FSDD's six, the fifteen pairs of the bet. Each network is asked by the two strangers, and by the four whom it knows, with recordings that it has not heard. One network, one test; only who speaks is other.

# %%
def by_person(row, values, trainings=range(15)):
    """The mean of each of the six people, over these trainings."""
    which = torch.tensor(row["who"])                                       # (30 or 60, 2)
    used = torch.isin(which[:, 0], torch.tensor([*trainings]))
    return [torch.tensor(values)[used & (which[:, 1] == who)].mean().item() for who in range(6)]

print("six people, each the mean        CER in %      WER in %   WER of each")
for name in ("known, greedy", "stranger, greedy", "known, snapped", "stranger, snapped"):
    wrong = by_person(asked[name], [1 - right for right in asked[name]["accuracy"]])
    print(f"{name:22}{percent(by_person(asked[name], asked[name]['CER'])):>19}"
          f"{percent(wrong):>14}  ", *(f"{100 * each:3.0f}" for each in wrong))
for trainings in (range(15), FAST):
    near, far = (by_person(row, [1 - right for right in row["accuracy"]], trainings)
                 for row in (asked["known, greedy"], asked["stranger, greedy"]))
    print(f"greedy, {len(trainings)} trainings: WER {percent(near)}, {percent(far)},"
          f" the gap {percent(far, minus=near)}")

# %% [markdown]
# From known people to strangers the WER rises from 19.5 to 53.8 %, by 34.2 ± 14.9 points (an interval over six people); snapped, from 9.6 to 28.4. Two of the fifteen trainings learned slowly and are counted. Without them known people have a WER of 11.9 %, strangers 47.5: the gap, 35.5 ± 11.8 points, stays. A random split of the recordings asks known people only, as the first number does. And the six are far apart, from 38 to 72 %: a test with one or two strangers says little of a third. (Pages 12, 13, 19 and 20 have such a pair. Which people are easy depends on the system: here it is person 3.)
#
# <details><summary>Two slow trainings</summary>
#
# The two slow trainings show in what they know: people whom they know, they get wrong at 59 and 79 %, the others at most 16. Without both the shares of the bet change by at most 2 points.
#
# </details>
#
# With the course's voices: known ones 2 to 3 %, new ones 13 to 24. But a known voice has one clip a digit, the one that trained: this flatters more than a random split.

# %% [markdown]
# ## More: a voice that is judged by a recogniser
#
# *More: nothing later needs this section.* Is synthetic speech good? One way to ask without people: let a recogniser write it down, and count (a *round trip*). Texts are put together in five ways, from voices that the recogniser knows and from ones it does not.

# %%
print("CER in %, the median of five seeds         known voices   new voices")
for name in kept:
    way, _, of = name.removeprefix("put together: ").rpartition(", ")
    if name.startswith("put together") and of == "known voices":
        medians = [100 * np.median(kept[f"put together: {way}, {who} voices"]["CER"])
                   for who in ("known", "new")]
        print(f"{way:42} {medians[0]:12.1f} {medians[1]:12.1f}")

# %% [markdown]
# The same way of speaking has a CER of 0.6 % with voices that the judge knows (by these very clips), and of 6.8 with new ones: a judge flatters whom it has heard. And the CER rises with the distance from what the judge was trained on: without silences it is higher, a quarter faster (and so higher in pitch) above 20 %. So say who judges, take a judge that has not heard the voice, and let people listen, too.

# %% [markdown]
# ## With the library
#
# The loss, as you will meet it: `nn.CTCLoss`, time first. (A text that does not fit, "three" in five steps, has an infinite loss. `zero_infinity=True` leaves such rows out, silently.)

# %%
import torch as pt

logs = pt.randn(50, 8, 17).log_softmax(dim=2)                  # (T, B, C)
labels = pt.randint(1, 17, (8, 12))                            # (B, L), no blank among them
criterion = pt.nn.CTCLoss(blank=0, zero_infinity=True)
batch_loss = criterion(logs, labels, pt.full((8,), 50), pt.full((8,), 12))
print("loss above 0:", batch_loss.item() > 0)

# %% [markdown]
# And a recogniser that others trained, Whisper (folded). It runs where its weights are in the cache of transformers already; else it says so.

# %% tags=["figure", "nbval-ignore-output"]
# Not compared: who has the weights hears another line than who has not.
from huggingface_hub import try_to_load_from_cache

name = "openai/whisper-tiny.en"
if isinstance(try_to_load_from_cache(name, "model.safetensors"), str):
    from transformers import pipeline

    listen = pipeline("automatic-speech-recognition", model=name)
    sixteen = F.interpolate(spoken["clips"][None, None], scale_factor=2, mode="linear")[0, 0]
    print(listen({"raw": sixteen.numpy(), "sampling_rate": 16_000})["text"])
else:
    print("Whisper is not here; pipeline(..., model=name) fetches it (150 MB).")

# %% [markdown] owes="F49"
# <details><summary>Six systems whose names you will meet</summary>
#
# | system | what goes in | how letters find their time | what it adds |
# |---|---|---|---|
# | [wav2vec 2.0](https://arxiv.org/abs/2006.11477) | the raw waveform | CTC | learns from sound without texts first |
# | [RNN transducer](https://arxiv.org/abs/1211.3711) | frames | a path, as CTC | a next letter that knows the letters before; works while one speaks |
# | [Whisper](https://arxiv.org/abs/2212.04356) | log-mel | attention of a decoder | 680,000 hours of sound with texts from the web |
# | [AV-HuBERT](https://arxiv.org/abs/2201.02184) | lips and sound | CTC or attention | learns from both together first |
# | [SALMONN](https://arxiv.org/abs/2310.13289), [Qwen-Audio](https://arxiv.org/abs/2311.07919) | features of such encoders | a language model with soft tokens (page 28) | answers questions about sounds |
# | [Tacotron 2](https://arxiv.org/abs/1712.05884) | text | attention | text to log-mel frames, and a vocoder |
#
# </details>
#
# ## Recap
#
# You can now
#
# 1. **settle** the bet: speaker 20.2 %, digit 19.5, of which chance alone gives 8 and 13; most is this speaker with this digit;
# 2. **train** picture and sound in the noise that they will meet: trained clean, both together fall below the picture alone;
# 3. **speak** by clips, and say what is missing in it;
# 4. **build** the CTC loss: a sum over all paths, by one table, in logarithms, with two ends; its gradient makes the labels that nobody gave;
# 5. **read** greedily, merging before dropping blanks; count CER and WER; a lexicon of ten words halves the WER;
# 6. **ask** strangers: a WER of 54 %, of known people 20 (without two slow trainings 47 and 12); a recogniser as a judge prefers voices that it knows.
#
# ## Questions
#
# <details><summary>1. Why does CTC need the blank?</summary>
#
# Two equal letters in a row would merge: without it no path becomes "three". And where there is nothing new to say, between words and behind the last, the blank says that.
#
# </details>
# <details><summary>2. A text has 9 letters, two of them equal neighbours. How many steps does it need at least?</summary>
#
# Ten: one for each letter, and one blank between the two equal ones. With fewer its probability is 0 and the loss infinite.
#
# </details>
# <details><summary>3. The loss of a run is -3. What has happened?</summary>
#
# Minus the log of a probability is never below 0. The loss was given outputs that are no logarithms of probabilities: `log_softmax` is missing.
#
# </details>
# <details><summary>4. A recogniser has 3 % WER on a random tenth of all recordings. What do you ask?</summary>
#
# Whether its speakers are in the other nine tenths. Ask again with speakers left out, several times, and show the single speakers.
#
# </details>
# <details><summary>5. With the whole page: a system shall understand digits beside a machine of -10 dB, with a camera on the lips. What do you measure?</summary>
#
# The picture alone, tuned; the sound alone; both, trained in such noise; both with the sound shuffled; by level of the noise, on speakers who were left out, with intervals over trainings. Trained clean, both together can be worse than the picture alone.
#
# </details>
# <details><summary>6. With the whole page: which label does a step get, if nobody gives it one?</summary>
#
# The posterior over symbols, given what the network says now and the text: the share of the paths' probability. The gradient pulls the network's probabilities toward it.
#
# </details>
#
# ## Read more
#
# - A. Graves and others, *Connectionist Temporal Classification*, ICML 2006. Sections 3 and 4: the paths, the recursion forward and backward, the gradient.
# - A. Hannun, *[Sequence Modeling with CTC](https://distill.pub/2017/ctc/)*, Distill 2017. The best pictures of it, and the prefix beam.
# - A. Radford and others, *Robust Speech Recognition via Large-Scale Weak Supervision*, 2022 (arXiv:2212.04356). Whisper; section 3.2 on how the choice of counting words moves the WER.
# - B. Shi and others, *Learning Audio-Visual Speech Representation by Masked Multimodal Cluster Prediction*, ICLR 2022 (arXiv:2201.02184). Lips and sound.
#
# ## A bet for page 30
#
# A network draws a digit from a typed word, slips and all ("sevn"), typed as page 00's words are. A classifier reads the same words. Both learn from the same pairs, and both are asked with slips they have not seen.
#
# *Ada says: a judge reads the drawing as the digit that was meant as often as the classifier is right (less than 2 points apart).* *Ben says: the drawings are right less often, by 2 points or more.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("29.c", None)
guesses("29")
