# %% [markdown]
# # Start here: what is multimodal learning, and does it pay?
#
# A digit was scanned, spoken and typed, each time badly. Can a model that sees, hears and reads it do better
# than one that only sees, only hears or only reads, and by how much?
#
# *About {minutes} minutes. You need Python and the basics of PyTorch: tensors, a linear layer, a training loop.*

# %% [markdown]
# ## In this notebook you will
#
# 1. see, hear and read one sample, and name its parts in symbols;
# 2. build the classifier that this page runs on: vectors side by side, then one linear layer;
# 3. train it with a short loop of plain PyTorch, and compare it with single modalities over five seeds;
# 4. draw, type and play a digit of your own, and watch three beliefs become one;
# 5. see in which of five settings more modalities do not pay;
# 6. build the control that shows whether a gain comes from their pairing.
#
# Run the cells from the top (Shift + Enter). In an exercise you write the body of a function, and `check` says what is
# right or wrong; hints are folded below. If you skip one, the page goes on with the course's own function.

# %% tags=["measured", "imports"]
# Imports.
import math
import tomllib

import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import Audio, Markdown, display
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from course_utils import plots
from course_utils.audio import band_features
from course_utils.datasets import MODALITIES, Digits, collate
from course_utils.datasets.collation import Typed
from course_utils.datasets.digits import SAMPLE_RATE, add_noise
from course_utils.exercises import check, mine
from course_utils.image import pixel_features
from course_utils.metrics import paired, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import ROOMS, stored
from course_utils.runtime import reads, seed_everything
from course_utils.text import letter_features
from course_utils.training import Batches

# %% owes="F7 L1 L9 L21" tags=["figure"]
# The parts of every model of this course, drawn.
plots.pipeline(
    "Every model of this course has these parts. The gradient of the loss flows back through head"
    " and fusion, and into an extractor if that has weights to learn (on this page none has).",
    {"text": '"siexen"', "image": "16 x 16 pixels", "audio": "0.76 s of sound"},
)

# %% [markdown] owes="F1"
# ## One thing, three modalities
#
# A **modality** (模态) is a form in which information comes: a picture, a sound, a text.
# **Multimodal learning** (多模态学习) trains one model on several at once; **unimodal** (单模态) learning uses one.
#
# The running example is the data set `digits`. The pictures are real handwriting, 1,797 scans from scikit-learn; the
# sounds come from a speech synthesiser with 60 voices, the words from a simulated typist in a hurry. No voice and no
# block of scans (one writer's, as far as is known) is in two of training, validation and test. One sample:

# %%
clean = Digits("train", image_noise=0, speech_snr=math.inf, text_error=0)[7]
noisy = Digits("train")[7]
for key, value in noisy.items():
    print(f"{key:7}", tuple(value.shape) if torch.is_tensor(value) else value)

# %% tags=["figure", "nbval-ignore-output"]
# The sample, clean and noisy. Not compared: a sound's last bits may differ.
plots.pictures(
    [clean["image"][0], noisy["image"][0]],
    titles=[clean["text"], noisy["text"]],
    caption="The same seven, clean and as the model meets it, under the word as typed.",
)
plots.spectrograms(
    {"clean": clean["audio"], "noisy": noisy["audio"]},
    SAMPLE_RATE,
    caption="The spoken word, clean and in white noise of ten times its power (-10 dB).",
)
plots.players({"clean": clean["audio"], "noisy": noisy["audio"]}, SAMPLE_RATE)

# %% [markdown] owes="F5 F9 P1"
# Listen to both, not too loud. In the picture 0 is paper and 1 is ink; the sound is 8,000 numbers a
# second.
#
# ## The same in symbols
#
# | symbol | in code | meaning |
# |---|---|---|
# | $\mathcal{D}=\{(x_n^{\text{text}}, x_n^{\text{image}}, x_n^{\text{audio}}, y_n)\}$ | `Digits("train")` | the **data set** (数据集): N samples, each with all modalities *and its label* |
# | $f_m$ | `letter_features`, ... | **extractor** (特征提取器) of modality $m$: raw input in, vector out |
# | $z^m = f_m(x^m)$ | `batch["image"]`, `(B, D_m)` | **features** (特征) of a batch of B samples, $D_m$ numbers each |
# | $g$ | `torch.cat` | **fusion** (融合): all features in, one vector out |
# | $W, b$ | `weight`, `bias` | **head** (输出层): fused vector in, one score per class out, the **logits** (未规范化的预测) |
# | $p = \operatorname{softmax}(\text{logits})$ | `probs`, `(B, C)` | probabilities of the C classes |
# | $L$ | `F.cross_entropy` | **loss** (损失): the mean of $-\log p_n(y_n)$, how surprising the true labels are |
#
# <details><summary>Letters that change their meaning from page to page</summary>
#
# *T*: tokens (01), temperature (09). *m*: modality (here), mask (01), mel (05), running mean (08). *H*: width of a
# state (01), height (03), entropy (09). *P*: padding (03), places (04), power (05), precision (09). *K*: words drawn (01), kernel (03),
# outputs (04). Each page says which it means.
#
# </details>
#
# The simplest fusion is **concatenation** (拼接), *gluing* for short: put the vectors side by side. With a linear head behind
# it, each modality has its own block of the weight's columns, and the logits are a sum of what each modality says:
#
# $$ \text{logits} = W\,[z^{\text{text}};\, z^{\text{image}};\, z^{\text{audio}}] + b
#    = W_{\text{text}}\,z^{\text{text}} + W_{\text{image}}\,z^{\text{image}} + W_{\text{audio}}\,z^{\text{audio}} + b
#    \tag{00.1} $$
#
# ### With numbers small enough to check by hand
#
# Three samples: one number from the text, two from the picture, one from the sound.

# %%
toy = {"text": torch.tensor([[3.0], [4.0], [5.0]]),                  # (3, 1)
       "image": torch.tensor([[0.2, 0.0], [0.4, 1.0], [0.6, 2.0]]),  # (3, 2)
       "audio": torch.tensor([[0.4], [0.4], [0.3]])}                 # (3, 1)
plots.table_of_numbers(
    torch.cat(list(toy.values()), dim=-1), ["one", "four", "eight"],  # 1 + 2 + 1 -> (3, 4)
    ["letters", "ink", "holes", "seconds"], groups=["text", "image", "image", "audio"],
    caption="Concatenation: each row is a sample, each colour a modality's columns.")

# %% [markdown]
# A head with two classes, "one" and "eight", has four weights for each, here chosen by hand. Follow the logit of "one"
# for the sample "four".

# %%
weight = torch.tensor([[-1.0, 0.0, -1.0, 2.0],    # "one": few letters, no holes, long
                       [1.0, 0.0, 1.0, -2.0]])    # "eight"
bias = torch.tensor([4.0, -4.0])
logit = bias[0].item()                            # it begins with the bias, 4.0
columns, values = ["letters", "ink", "holes", "seconds"], [4.0, 0.4, 1.0, 0.4]
for column, w, value in zip(columns, weight[0], values):
    logit += w.item() * value
    print(f"{column:8} add {w.item() * value:5.1f}, so far {logit:5.1f}")

# %% [markdown]
# The text says -4.0, the image 0.0 and -1.0, the audio 0.8.
#
# > **Exercise 00.1 · Concatenate and classify** — *8 minutes · core*
# >
# > Given a batch, the names of the modalities to use, and a head, return the logits.
# >
# > - `batch` is a dict: `batch[name]` is `(B, D_m)`. It may hold more than you need, a `"label"` for example.
# > - `names` is a list. The weight's columns stand in *its* order, whatever the order in the batch.
# > - `weight` is `(C, D)`, a row for each class, D the sum of the widths; `bias` is `(C,)`.
# > - Return `(B, C)`: no softmax, the loss takes the logits. Gradients must reach `weight` and `bias`.

# %% exercise="00.1" tags=["measured"]
def classify(
    batch: dict[str, torch.Tensor], names: list[str], weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The logits (B, C) of a linear layer on the named modalities, put side by side.

    Example: classify({"a": [[1.]], "b": [[2.]]}, ["b", "a"], [[10., 1.]], [0.5]), all of them
    tensors, is [[21.5]], because 2 * 10 + 1 * 1 + 0.5 = 21.5.
    """
    ### BEGIN SOLUTION
    fused = torch.cat([batch[name] for name in names], dim=-1)  # (B, D_1), ... -> (B, D)
    return fused @ weight.T + bias                              # (B, D) @ (D, C) -> (B, C)
    ### END SOLUTION

# %% [markdown] hints="00.1"
# <details><summary>A question that helps</summary>
#
# For one sample you have D numbers and, for each class, D weights. Which product of matrices does that for B samples
# and C classes at once, and which of the two has to be turned so that the D's meet?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Collect `batch[name]` for each name in `names`, in that order. `torch.cat` along the last axis makes `(B, D)` of
# them. Multiply by the transposed weight, `(D, C)`, and add the bias; it is added to every row by itself.
#
# </details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>
#
# Print both shapes. If the rows are too many, you have put the modalities below each other (`dim=0`). If D and C are
# in each other's place, the weight is not transposed. If D is too large, something not in `names` came along.
#
# </details>

# %%
classify = mine("00.1", classify)
for name, row in zip(["one", "four", "eight"], classify(toy, list(MODALITIES), weight, bias)):
    print(f"{name:6} {row[0]:5.1f} for class one, {row[1]:5.1f} for class eight")

torch.manual_seed(0)
z = {m: torch.randn(5, width, dtype=torch.float64) for m, width in zip(MODALITIES, (3, 4, 2))}
layer = nn.Linear(9, 10, dtype=torch.float64)
blocks = layer.weight.split([3, 4, 2], dim=1)                    # W_m: (10, D_m)
by_hand = sum(z[m] @ block.T for m, block in zip(MODALITIES, blocks)) + layer.bias
verify("00.1", by_hand, classify(z, list(MODALITIES), layer.weight, layer.bias))

# %% [markdown] owes="F8"
# The "four" gets the -0.2 of the loop. `verify` compares two ways to one result, here sum of blocks and one layer, and stops
# the page if they differ.
#
# ## The whole pipeline
#
# The training set fits the weights, the validation set chooses settings, the test set is asked once, at the end.
#
# **Extract.** Three plain extractors, none with a weight to learn: how often each letter occurs, which is first and which
# last (3 x 26 numbers); all the pixels in a row (256); how loud each of 32 frequency bands is in each eighth of the sound
# (256). Words and sounds differ in length: `collate` fills a batch up to its longest, and `mask` tells what is real.

# %% tags=["measured"]
SPLITS = ("train", "validation", "test")

def extract(digits):
    """Every sample of a data set as vectors: {name: (N, D_m)}, with its label."""
    parts = []
    for batch in DataLoader(digits, batch_size=256, collate_fn=collate):
        text = letter_features(batch["text"], batch["mask"]["text"])     # (B, T) -> (B, 78)
        image = pixel_features(batch["image"])                # (B, 1, 16, 16) -> (B, 256)
        audio = band_features(batch["audio"], batch["mask"]["audio"])    # (B, S) -> (B, 256)
        parts.append({"text": text, "image": image, "audio": audio, "label": batch["label"]})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

# %% [markdown]
# Loudness and pixels come in different units. So each column is moved to mean 0 and divided by its **standard deviation** (标准差), its
# spread, at least 0.1; both come from the training set. Folded: `standardise`, which does it, and `load`.

# %% tags=["measured", "proof"]
# The columns at mean 0 and spread 1; the three splits as vectors.
def standardise(part, scale):
    """Each column minus its mean, divided by its spread: `scale` is {name: (mean, spread)}."""
    moved = {m: (part[m] - mean) / spread for m, (mean, spread) in scale.items()}
    return part | moved


def load(seed, **dials):
    """The three splits as vectors, standardised, and the training set's scale."""
    data = {split: extract(Digits(split, seed=seed, **dials)) for split in SPLITS}
    train_set = data["train"]
    scale = {m: (train_set[m].mean(dim=0), train_set[m].std(dim=0).clamp(min=0.1))
             for m in MODALITIES}
    return {split: standardise(data[split], scale) for split in SPLITS} | {"scale": scale}

# %%
data = load(seed=0)
for split in SPLITS:
    print(f"{split:10}", {name: tuple(rows.shape) for name, rows in data[split].items()})

# %% [markdown]
# **Train.** `classify` in the middle of the loop is yours. `Batches` deals out the training set in random order, 128
# samples at a time. With one name it trains a unimodal model, with three the fused one.

# %% owes="F176" tags=["measured"]
def train(names, data, weight_decay, seed):
    """A linear layer on the named modalities, trained in plain PyTorch."""
    generator = seed_everything(seed)
    head = nn.Linear(sum(data["train"][m].shape[1] for m in names), 10)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3, weight_decay=weight_decay)
    for epoch in range(20):
        for batch in Batches(data["train"], 128, generator):
            logits = classify(batch, names, head.weight, head.bias)   # (B, D) -> (B, 10)
            loss = F.cross_entropy(logits, batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head

# %% [markdown]
# `weight_decay` holds the weights back. Each model gets the value that is best for it on the validation set, so that no
# baseline is easy to beat only because nobody tuned it. Folded: `MODELS`, which lists the modalities of each model;
# `logits_of`, a trained layer's logits for a whole split; and `tune`.

# %% tags=["measured", "proof"]
# The models by name, their logits without a gradient, the search for the weight decay.
MODELS = {"text": ["text"], "image": ["image"], "audio": ["audio"],
          "text + image": ["text", "image"], "text + audio": ["text", "audio"],
          "all three": list(MODALITIES)}


def logits_of(names, head, part):
    """What a trained layer says of every sample of a split, (N, 10)."""
    with torch.no_grad():
        return classify(part, names, head.weight, head.bias)


def tune(names, data):
    """The weight decay whose model has the lowest loss on the validation set, of three."""
    losses = {}
    for decay in (0.1, 1.0, 3.0):
        logits = logits_of(names, train(names, data, decay, seed=0), data["validation"])
        losses[decay] = F.cross_entropy(logits, data["validation"]["label"]).item()
    return min(losses, key=losses.get)

# %% [markdown]
# **Evaluate.** How often is the model right?
#
# > **Exercise 00.2 · Accuracy** — *3 minutes · warm-up*
# >
# > Given the logits `(B, C)` and the labels `(B,)`, whole numbers, return the share of samples that are right.
# >
# > - A sample is right if its largest logit stands at its label.
# > - Return one number between 0 and 1.

# %% exercise="00.2" tags=["measured"]
def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of samples whose largest logit stands at their label.

    Example: accuracy(torch.tensor([[2., 1.], [0., 3.]]), torch.tensor([0, 0])) is 0.5.
    """
    ### BEGIN SOLUTION
    decided = logits.argmax(dim=1)                    # (B, C) -> (B,)
    return (decided == labels).double().mean().item()
    ### END SOLUTION

# %% [markdown] hints="00.2"
# <details><summary>A question that helps</summary>
#
# Which class does each row of the logits vote for? What is the mean of a list of zeros and ones?
#
# </details>
# <details><summary>The idea in words</summary>
#
# `argmax` along the classes gives one class a sample. Compare with the labels: True or False a sample. Turn these
# into numbers and take their mean.
#
# </details>
# <details><summary>If you see "mean(): could not infer output dtype"</summary>
#
# A tensor of True and False has no mean. Turn it into floats first: `.double()` or `.float()`.
#
# </details>

# %%
accuracy = mine("00.2", accuracy)

def test_accuracy(names, head, data):
    return accuracy(logits_of(names, head, data["test"]), data["test"]["label"])

decay = {name: tune(names, data) for name, names in MODELS.items()}
for name, near in (("text", 0.71), ("image", 0.64), ("audio", 0.75)):
    head = train(MODELS[name], data, decay[name], seed=0)
    score = test_accuracy(MODELS[name], head, data)
    report(f"{name} alone, one seed", score, near=near, within=0.04)

# %% [markdown]
# Blind guessing would reach 0.10. What will all three together reach? Put a number between 0 and 1 in place of `None`, and
# how sure you are to be at most 0.03 away.

# %%
guess("00.a", None, sure=0.5)

# %%
head = train(MODELS["all three"], data, decay["all three"], seed=0)
score = test_accuracy(MODELS["all three"], head, data)
report("all three, one seed", score, near=0.91, within=0.03)
outcome("00.a", 0.91, within=0.03)

# %% [markdown]
# ## Does it pay? Five seeds
#
# A **seed** (随机种子) fixes what is left to chance: which voice goes with which scan, all the noise, the first weights, the
# order of the batches. We repeat all with five.

# %%
FULL = False  # True runs ten seeds instead of five
draws = [data] + [load(seed) for seed in range(1, 10 if FULL else 5)]
heads, scores = {}, {}
for name, names in MODELS.items():
    heads[name] = [train(names, draw, decay[name], seed) for seed, draw in enumerate(draws)]
    scores[name] = [test_accuracy(names, head, draw) for head, draw in zip(heads[name], draws)]

# %% tags=["figure"]
# Accuracies in rows: a dot for each seed, the mean a line. And what all seeds agree on.
def dots(rows, caption):
    figure, ax = plots.axes(height=0.9 + 0.42 * len(rows))
    for row, (name, values) in enumerate(rows.items()):
        points, mean = [100 * value for value in values], 100 * sum(values) / len(values)
        color, marker = plots.COLORS[plots.kind(name)], plots.MARKERS[plots.kind(name)]
        ax.plot(points, [row] * len(values), marker, color=color, alpha=0.6, markersize=7)
        ax.vlines(mean, row - 0.3, row + 0.3, color=plots.INK, linewidth=1.5)
        ax.text(101, row, f"{mean:.1f}", va="center", color=plots.INK)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.invert_yaxis()
    ax.set(xlim=(50, 100), xlabel="test accuracy (%), mean at the right")
    plots.show(figure, caption)

def agreed(name, i):
    """The class that the models of all seeds give, each in its own scale, by over 0.05; or "?"."""
    votes = set()
    for head, draw in zip(heads[name], draws):
        part = standardise(unscaled, draw["scale"])
        (first, second), classes = logits_of(MODELS[name], head, part)[i].softmax(dim=0).topk(2)
        votes.add(str(classes[0].item()) if first - second > 0.05 else "?")
    return votes.pop() if len(votes) == 1 else "?"

dots(scores, "Every seed is a dot: the worst run of all three beats the best run of any one"
     " modality, and of text and image together.")

# %% [markdown]
# How large is the gain? The honest baseline is the **best single modality**, tuned as carefully. Both models of a seed saw
# the same noise, so `paired` subtracts seed by seed. It gives the mean, in points, and half its 95 % interval: how far
# chance over the seeds may move it; page 09 builds one.

# %%
best = max(MODALITIES, key=lambda name: sum(scores[name]))
mean, half = paired(scores["all three"], scores[best])
report(f"gain of all three over {best} alone, in points", mean, near=17.5, within=2)
print("its 95 % interval over the seeds lies above 10:", mean - half > 10)
tuned = stored("09", "baselines")["text"]["accuracy"]       # python tools/sweep.py 09 baselines
mean, half = paired(scores["all three"][:5], tuned[: len(draws)])
report("gain over page 09's text, better tuned, in points", mean, near=15, within=2)

# %% [markdown]
# Here it pays, by about 17 points over this page's text, by 15 over page 09's, which has a hidden layer (a linear
# layer, ReLU, another linear layer). Text and sound are level here: of five seeds the text is the best single modality, of ten
# (below) the sound, and then the gain is 15. The interval covers noise and training, not other writers and voices.
#
# ### Five samples, and what each model says
#
# The models of all five seeds get the same five samples. A number is shown where they clearly agree, a question mark where not.

# %%
test_digits = Digits("test")                    # with seed 0's noise
unscaled = extract(test_digits)                 # not standardised yet
chosen = [146, 240, 107, 123, 64]
print("typed   truth    text image audio    all three")
for i in chosen:
    word, truth = test_digits[i]["text"], test_digits[i]["label"]
    said = [agreed(name, i) for name in (*MODALITIES, "all three")]
    print(f"{word:8}{truth:4}{said[0]:>8}{said[1]:>6}{said[2]:>6}{said[3]:>11}")
plots.pictures(
    [test_digits[i]["image"][0] for i in chosen], titles=[test_digits[i]["text"] for i in chosen],
    caption="The five samples in the order of the table.")

# %% [markdown]
# In the second and third row one modality is wrong, and the fused model goes with the other two. In the fourth, text and sound
# are wrong, the picture is undecided, and the fused model is right in all five runs. It takes no vote: by
# (00.1) every logit is a sum. In the last row the sound is right, and the fused model says 4, as the picture does.
#
# ## Your own digit
#
# Draw with the 8 x 8 buttons, type the word as badly as you like, choose a voice and how loud it is against the noise
# (SNR). A bar is a model's probability of a digit, its *belief*. How wrong may one of the three be before the fused model
# follows it?

# %% tags=["figure"]
# What each model of seed 0 believes of a sample, as bars; tried on one of the test set.
def beliefs(image, word, sound):
    """{model: (10,) probabilities} of a picture (1, 16, 16), a word and a sound (S,)."""
    sample = {"text": Typed(word), "image": image, "audio": sound, "label": 0}
    part = standardise(extract([sample]), data["scale"])
    found = {}
    for name in (*MODALITIES, "all three"):
        found[name] = logits_of(MODELS[name], heads[name][0], part).softmax(dim=1)[0]
    return found

def belief_bars(image, word, sound):
    """A bar chart for each model."""
    figure, grid = plots.axes(height=2, columns=4, sharey=True)
    for ax, (name, probs) in zip(grid, beliefs(image, word, sound).items()):
        ax.bar(range(10), 100 * probs.numpy(), color=plots.COLORS[plots.kind(name)])
        ax.set_title(f'{name}: "{word}"' if name == "text" else name, fontsize=10)
        ax.set_xticks(range(10))
        ax.set_ylim(0, 100)
    grid[0].set_ylabel("belief (%)")
    return figure

expected = logits_of(MODELS["all three"], heads["all three"][0], data["test"])[123].softmax(dim=0)
got = beliefs(*(test_digits[123][name] for name in ("image", "text", "audio")))["all three"]
torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)

# %% tags=["figure"]
# A drawing as a picture, a voice in noise; one setting for readers without a kernel.
SEVEN = ["........", ".######.", ".....##.", "....##..",
         "..####..", "...##...", "...#....", "...#...."]
spoken = {}
for seed in range(4):
    for one in Digits("test", seed=seed, image_noise=0, speech_snr=math.inf, text_error=0):
        spoken.setdefault((one["voice"], one["label"]), one["audio"])

def say(voice, digit, snr):
    sound = spoken[voice, digit].double().numpy()
    return torch.from_numpy(add_noise(sound, snr, np.random.default_rng(0))).float()

def enlarged(rows):
    scan = torch.tensor([[float(cell == "#") for cell in row] for row in rows])
    return F.interpolate(scan[None, None], scale_factor=2, mode="bilinear")[0]  # -> (1, 16, 16)

plots.show(belief_bars(enlarged(SEVEN), "nyne", say(57, 7, -10)),
           "A seven, drawn and spoken, but typed as nyne: the fused model goes with the other two.")
typed = widgets.Text(value="sevn", description="typed")
voice = widgets.Dropdown(options=range(50, 60), value=57, description="voice")
digit = widgets.Dropdown(options=range(10), value=7, description="it says")
snr = widgets.Dropdown(options=[-20, -15, -10, -5, 0], value=-10, description="SNR (dB)")

# %% tags=["figure", "game", "nbval-ignore-output"]
# Live where there is a kernel, else a picture. Not compared: a reader changes it.
buttons = [[widgets.ToggleButton(value=cell == "#", layout={"width": "28px", "height": "28px"})
            for cell in row] for row in SEVEN]
picture, player = widgets.Image(format="png"), widgets.Audio(format="wav", autoplay=False)

def follow(change=None):
    word = "".join(letter for letter in typed.value.lower() if "a" <= letter <= "z") or "x"
    rows = ["".join(".#"[button.value] for button in row) for row in buttons]
    sound = say(voice.value, digit.value, snr.value)
    player.value = Audio(sound.numpy(), rate=SAMPLE_RATE).data
    picture.value = plots.png(belief_bars(enlarged(rows), word, sound))

for control in [button for row in buttons for button in row] + [typed, voice, digit, snr]:
    control.observe(follow, "value")
follow()
pad = widgets.VBox([widgets.HBox(row) for row in buttons])
choices = widgets.VBox([typed, voice, digit, snr, player])
game = widgets.VBox([widgets.HBox([pad, choices]), picture])
caption = "What text, image and audio believe of your digit, each alone, and all three."
shown, about = plots.bundle(picture.value, caption)
view = {"version_major": 2, "version_minor": 0, "model_id": game.model_id}
display({"application/vnd.jupyter.widget-view+json": view, **shown}, metadata=about, raw=True)
display({"text/markdown": f"*{caption}*", "text/plain": caption}, raw=True)

# %% [markdown]
# ## When does it not pay?
#
# We set how noisy each modality is. Here are five settings.
#
# <details><summary>The five settings in numbers</summary>
#
# | setting | image: spread of the noise | audio: signal-to-noise ratio | text: probability of a homophone ("for"), and of a slip at each letter |
# |---|---|---|---|
# | clean | 0 | 60 dB | 0 |
# | easy | 0.3 | -5 dB | 0.3 |
# | default | 0.5 | -10 dB | 0.6 |
# | hard | 0.7 | -13 dB | 0.75 |
# | one clear sense | 1 | 0 dB | 0.9 |
#
# </details>
#
# In "one clear sense" the sound alone is right 93 times in 100, the text 57, the picture 37.
#
# Ten seeds each, stored (`python tools/sweep.py 00 digits_dials`). The **product** multiplies the probabilities of the three
# single models class by class. The last column is the cross-entropy of all three minus that of the best single modality.

# %%
sweep = stored("00", "digits_dials")
settings = ["clean", "easy", "default", "hard", "one clear sense"]
print("accuracy in points            all three       product  product - all three   cross-entropy")
for setting in settings:
    right, loss = sweep[setting]["accuracy"], sweep[setting]["loss"]
    best_one = max(MODALITIES, key=lambda name: sum(right[name]))
    row = f"{setting:15} over {best_one:5}"
    for one, other in (("all three", best_one), ("product", best_one), ("product", "all three")):
        row += "  {:5.2f} ± {:.2f}".format(*paired(right[one], right[other]))
    print(f"{row} {(sum(loss['all three']) - sum(loss[best_one])) / 10:21.3f}")
for setting in ("clean", "one clear sense"):
    alone = [f"{m} {percent(sweep[setting]['accuracy'][m])}" for m in MODALITIES]
    print(f"{setting}, each alone, in per cent: {', '.join(alone)}")

# %% tags=["proof"]
# The default setting live against what is stored.
drift = (sum(scores["all three"][:5]) - sum(sweep["default"]["accuracy"]["all three"][:5])) / 5
report("all three: live minus stored, mean of five", drift, near=0, within=0.02)

# %% [markdown]
# In "clean" the text alone is always right, and fusion loses a little. With one clear sense no gain
# in accuracy is seen: the interval of ten seeds holds 0 (the cross-entropy falls). Yet the poor senses hold something: the
# product gains over the sound, and beats concatenation in all five settings.
#
# ## Is it the pairing? The shuffled control
#
# The fused model has more inputs and more weights. Would any extra input have done? The **shuffled control** (打乱对照):
# shuffle one modality among the samples, train anew, test again. It keeps its size and values and loses only its link to
# the other modalities and the label.
#
# > **Exercise 00.3 · The shuffled control** — *6 minutes · core*
# >
# > Given a dict of features, return a new dict in which one modality is shuffled among the samples.
# >
# > - `features` maps names to tensors with a row for each sample: `(B, D_m)` for modalities, `(B,)` for `"label"`.
# > - `name` is the modality to shuffle; `order` is `(B,)`: row i of the result is row `order[i]` of the input.
# > - Everything else stays as it is, and the dict that came in is not changed.

# %% exercise="00.3"
def shuffle(
    features: dict[str, torch.Tensor], name: str, order: torch.Tensor
) -> dict[str, torch.Tensor]:
    """A copy of `features` in which the rows of `name` stand in the given order.

    Example: with order [1, 0] the two rows of the named modality change places, and the labels
    do not.
    """
    ### BEGIN SOLUTION
    shuffled = dict(features)
    shuffled[name] = features[name][order]
    return shuffled
    ### END SOLUTION

# %% [markdown] hints="00.3"
# <details><summary>A question that helps</summary>
#
# If the labels moved along with the modality, what would still be paired with what?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Make a new dict with the same entries. Replace one entry by the same tensor with its rows picked in another order: a tensor
# indexed with a tensor of row numbers gives just that.
#
# </details>
# <details><summary>If you see "index 3 is out of bounds for dimension 0 with size 2", or the like</summary>
#
# Something was indexed that has fewer rows than `order` has numbers: perhaps the dict's values one by one, or a single row.
# Only `features[name]` is indexed, as a whole, with the whole of `order`.
#
# </details>

# %%
shuffle = mine("00.3", shuffle)
generator = torch.Generator().manual_seed(0)
broken = []                                     # one accuracy a seed
for seed, draw in enumerate(draws):
    control = {}
    for split in SPLITS:
        order = torch.randperm(len(draw[split]["label"]), generator=generator)
        control[split] = shuffle(draw[split], "audio", order)
    head = train(MODELS["all three"], control, decay["all three"], seed)
    broken.append(test_accuracy(MODELS["all three"], head, control))
mean, half = paired(broken, scores["text + image"])
report("audio shuffled minus text + image, in points", mean, near=-0.2, within=2)
right = sweep["default"]["accuracy"]
for name, others in (("audio", "text + image"), ("image", "text + audio")):
    for model in ("all three", f"all three, {name} shuffled"):
        gain = percent(right[model], minus=right[others])
        print(f"stored: {model:25} over {others} {gain}")

# %% [markdown]
# With this shuffle the control ends about where text and image end without any sound, so size alone did not bring the gain. In this
# layer the picture adds nothing that ten seeds show to text and sound (with another head it does: page 04); shuffled, it costs
# nearly five points: a control can cost by itself. It has to
# be *retrained*: shuffled only in the test, it measures how much this model relies on the sound.
#
# ## Where it breaks: two loaders, each shuffling for itself
#
# Each modality has its own loader, each loader shuffles. Sample i is the word for i and the picture of i.

# %% tags=["fault"]
words, pictures = torch.arange(6), torch.arange(6)
generator = torch.Generator().manual_seed(0)
first, second = torch.randperm(6, generator=generator), torch.randperm(6, generator=generator)
print("pairs that match:", (words[first] == pictures[second]).sum().item(), "of 6")
print("every word meets its own picture:", torch.equal(words[first], pictures[second]))

# %% [markdown]
# A **silent fault**: no error, what it trains is a shuffled control, new in every epoch. Mended, one order moves whole samples:

# %%
first = second = torch.randperm(6, generator=generator)
print("every word meets its own picture:", torch.equal(words[first], pictures[second]))

# %% [markdown]
# ## With the library
#
# Without this course's package: `hstack([upper, lower])`, then scikit-learn's
# `make_pipeline(StandardScaler(), LogisticRegression())`. The two "modalities" are the halves of a scan; the last fifth of the
# scans, by other writers as far as is known, is the test.

# %% tags=["proof"]
# Two halves of a scan, each alone and both, with scikit-learn.
from numpy import hstack
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

scans, digits = load_digits(return_X_y=True)                       # (1797, 64), (1797,)
upper, lower = scans[:, :32], scans[:, 32:]
found = []
for half_name, X in {"upper": upper, "lower": lower, "both": hstack([upper, lower])}.items():
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    model.fit(X[:1437], digits[:1437])
    found.append(f"{half_name} {model.score(X[1437:], digits[1437:]):.2f}")
print("scikit-learn, halves of a scan: " + ", ".join(found))

# %% [markdown]
# ## On real data
#
# The voices and the typist of `digits` are programs. Does the result hold for people? `source="mnist-fsdd"` pairs **MNIST**'s
# 10,000 test images (LeCun and others, 1998) with the **Free Spoken Digit Dataset** (Jackson and others, 2018): of six
# people three train, one validates, two test. No noise is added; the words are simulated again. Ten runs are stored
# (`python tools/sweep.py 00 digits_real`).

# %% tags=["figure"]
# The stored runs on real data, and the gain over the best single modality.
real = stored("00", "digits_real")["mnist-fsdd"]
names_shown = (*MODALITIES, "text + image", "all three", "all three, audio shuffled")
dots({name: real["accuracy"][name] for name in names_shown},
     "MNIST pictures, recorded voices, typed words: all three beat text and image, and these beat"
     " the control with the sound shuffled.")
whole, under = real["accuracy"]["all three"], ("image", *names_shown[3::2])
gains = [percent(whole, minus=real["accuracy"][name]) for name in under]
print("all three minus image {}, text + image {}, audio shuffled {}".format(*gains))

# %% [markdown]
# It holds: all three are right seven points more often than the picture alone. The sound adds two of these to text and image;
# shuffled, it costs three. But seeds vary pairing, typing and training, never the *people* (page 07 does).
#
# ## The map of the course
#
# The course has 36 pages. After page 17 go on with whole systems (25) or with gradients (21). In a hurry: 00, 01,
# 02, 03, 04, 10, 11, 12, 13, 14, 15, 16, 25, 26, 28. (A page may open with a question from one that you left out.)

# %% tags=["figure"]
# The titles of all pages, from the file that the README's map comes from.
parts = tomllib.loads(reads(ROOMS / "map.toml").read_text(encoding="utf-8"))
lines = []
for part, named in parts.items():
    pages = "; ".join(f"{number} {title}" for number, title in named.items())
    lines.append(f"**{part}**: {pages}")
titles = "\n\n".join(lines)
display(Markdown(f"<details><summary>All titles</summary>\n\n{titles}\n\n</details>"))

# %% [markdown] owes="F2 F18 F54 F55 F174 F175 F181 F183 L2 L3 L4 L10 L11 L12 L22 L23 L24 L25"
# <details><summary>Where this comes from</summary>
#
# | year | what happened |
# |---|---|
# | 1976 | McGurk and MacDonald: what we see changes what we hear; a voice saying "ba" over lips saying "ga" is heard as "da" |
# | 1984 | Petajan builds a speech recogniser that also reads lips; audio-visual speech recognition becomes the field's first task |
# | 1990s | retrieval in multimedia archives: pictures, captions, video with its sound track |
# | 2011 | Ngiam and colleagues train deep networks on sound and video together |
# | 2015 | deep networks caption pictures (Vinyals et al.), and visual question answering gets its benchmark (Antol et al.) |
# | 2021 | CLIP learns one space for pictures and sentences from 400 million pairs (Radford et al.); Frozen gives a language model eyes (Tsimpoukelli et al.) |
# | since 2022 | language models with eyes and ears: a picture becomes some dozens to hundreds of extra tokens |
#
# </details>
# <details><summary>Which modalities there are, and where this course has them</summary>
#
# | family | modalities | in this course |
# |---|---|---|
# | seen | pictures, video, medical images, depth | pictures in most pages, video in 06 |
# | heard | speech, music, noises | 05, 27, 29 |
# | written | language, computer code (a text with a grammar of its own), emoji | 01, 02, 27 |
# | measured | radar, lidar, position, temperature, motion | 06, 31 |
# | recorded | patient records, ratings, clicks | 06, 31 |
# | touched, smelled | pressure, texture, odour | none: sensors are rare and public data hardly exist yet |
#
# </details>
# <details><summary>Tools: what older advice tells you to install, and what to do instead</summary>
#
# | older advice | today |
# |---|---|
# | conda with Python 3.8 | Python 3.11 or newer; current PyTorch and Transformers do not install on 3.8 |
# | `cudatoolkit=11.1` from the `pytorch` conda channel | the channel is no longer updated; `pip install torch` brings the GPU libraries along |
# | `torchtext` | no longer developed; its last release (0.18) cannot be imported beside current PyTorch; not needed |
# | pandas, notebook, ipython, each by name | `make lab` installs what this course uses: NumPy, scikit-learn, Matplotlib, tqdm, JupyterLab, Transformers |
# | `pip install transformers` without a version | the newest comes, and code for an older one may fail at its imports; `constraints.txt` holds this course's versions |
# | TensorFlow or Keras beside PyTorch | one framework is enough; page 10 has a fold for those who come from Keras |
# | MMF as the multimodal framework | hardly changed since 2023; treat it as history |
# | a GPU | not needed for any page; on Colab, use the badge at the top |
#
# </details>
#
# ## Recap
#
# You can now
#
# 1. **name the parts**: raw inputs $x^m$ *and a label*; extractors $f_m$, fusion $g$, head, loss;
# 2. **build the classifier**: `torch.cat`, one matrix product, a bias; each modality has its block of columns;
# 3. **train and compare it**: tuned single modalities, five seeds, paired differences; here about 17 points over the text (ten seeds: 15 over the sound);
# 4. **watch beliefs become one**: two against one, and three that disagree;
# 5. **say when it does not pay**: with one clear sense and two poor ones, ten seeds show no gain of this fusion;
# 6. **run the control**: shuffle one modality, retrain; a gain that survives was not from the pairing.
#
# ## Questions
#
# <details><summary>1. A paper reports 20 points of gain for fusion, measured against the image alone, where the text alone is the best modality. What do you ask for?</summary>
#
# The gain over the text alone, tuned as carefully as the fused model, over several seeds with an interval.
#
# </details>
# <details><summary>2. Why are mean and spread of each column taken from the training set alone?</summary>
#
# At the test the model must know nothing of the test samples, not even their mean. One new sample has no mean of its own either.
#
# </details>
# <details><summary>3. Concatenation and a linear head: can the model learn "the sound counts only if the picture is blank"?</summary>
#
# No. By (00.1) the logits are a sum of one term for each modality; what the sound adds is the same whatever the picture shows.
#
# </details>
# <details><summary>4. With the whole page: with one clear sense, this fusion shows no gain over the sound. Somebody concludes that the poor senses hold no information. Which two results of this page speak against it, and what would you measure next?</summary>
#
# The poor senses alone are right 57 and 37 times in 100, far above chance; and the product of the same three models gains 1.5 points over
# the sound (interval 0.8 to 2.2). Next: the shuffled control in this setting, with the product as the fused model.
#
# </details>
# <details><summary>5. With the whole page: where on the drawing at the top does the gradient stop on this page, and which equation says how much of it each modality's weights see?</summary>
#
# At the head: no extractor has weights. By (00.1) each block $W_m$ multiplies its own $z^m$, so its gradient is the common error of the logits times $z^m$.
#
# </details>
#
# ## Read more
#
# - T. Baltrušaitis, C. Ahuja, L.-P. Morency, *Multimodal Machine Learning: A Survey and Taxonomy*, IEEE TPAMI 2019. For the
#   field's five problems.
# - W. Wang, D. Tran, M. Feiszli, *What Makes Training Multi-Modal Classification Networks Hard?*, CVPR 2020. For why the best
#   single modality can beat the joint model.
#
# ## A bet for the next page
#
# The text model counts letters and keeps no order but the first and the last. A learned reader goes through them in order. By how
# much does it beat the counts, from the text alone? Ada: by less than five points; there are only 1,287 words to learn from. Ben:
# by five or more; the order is what makes a word. "Ada" or "Ben"? Page 01 settles it.

# %%
guess("00.c", None, sure=0.5)
guesses("00")
