# %% [markdown]
# # It runs, it even scores. Does it learn?
#
# A fusion layer can have the right shapes, give no error, train to a good score, and have learned nothing. This page shows how
# that happens, why the score does not tell, and eleven short tests that do.
#
# *About {minutes} minutes. You need notebook 10: fusion layers with a mask, XOR and its ceiling.*

# %% [markdown]
# ## In this notebook you will
#
# 1. count what an optimiser really sees of a layer, and find a layer of which it sees 160 numbers out of 1,161,760;
# 2. measure why accuracy cannot tell a layer that learns from one that does not, and in which setting it can;
# 3. meet eleven contracts that a fusion layer has to keep, nine of them through a layer that looks right and breaks it;
# 4. write a mean and a softmax over those modalities that are present, safe against NaN and against empty rows;
# 5. tell six faulty layers and a sound one apart among seven suspects, from their symptoms;
# 6. point the contracts at a layer of your own, and say what they do not prove.

# %% tags=["imports"]
# Imports.
import os
import random
import textwrap
from functools import cache

import torch
from ipywidgets import Dropdown
from torch import nn
from torch.nn import functional as F

from course_utils import plots

# layers with faults, on purpose: not to be used
from course_utils.contracts import check_contracts, gallery, show_contracts
from course_utils.datasets import Gates
from course_utils.exercises import check, reference
from course_utils.fusion import STRATEGIES
from course_utils.metrics import mean_interval
from course_utils.report import guess, guesses, outcome, passport, report, show_source, verify
from course_utils.runtime import seed_everything
from course_utils.training import Batches, evaluate, fit, shuffle_modality
from course_utils.widgets import Explorer

# %% [markdown]
# ## Two layers, one of them dead
#
# The world is `Gates("xor")` from notebook 10: one bit hidden in each of two vectors, the label 1 if the bits differ, a tenth of the
# labels flipped. A model has a small encoder for each modality, a fusion layer, and a linear head.
#
# Below, two such models train on the same samples in the same order. They differ in one line of the fusion layer. In one of them the
# layer learns. In the other it is a **dead layer** (失效层): of its 76 numbers only 4 ever change, and those that should combine
# the modalities stay as they were drawn at random.

# %%
FULL = False  # True runs ten seeds instead of five
SEEDS = range(10 if FULL else 5)
# some layers of this page cannot move to a GPU: that is one of their faults
os.environ["COURSE_DEVICE"] = "cpu"
WORLD = Gates("xor")

class Model(nn.Module):
    """An encoder for each modality, a fusion layer, a linear head; without `trainable` encoders
    the raw vectors go on.
    """

    def __init__(self, layer, trainable, width):
        super().__init__()
        def encoder():
            return (
                nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
                if trainable
                else nn.Identity()
            )
        self.encoders = nn.ModuleDict({name: encoder() for name in WORLD.names})
        self.fusion = layer({"text": 8, "image": 8}, width, rank=2)
        self.head = nn.Linear(width, 2)

    def forward(self, batch):
        # (B, 8) each
        encoded = {name: encoder(batch[name]) for name, encoder in self.encoders.items()}
        # -> (B, width) -> (B, 2)
        return self.head(self.fusion(encoded))

# %%
@cache
def run(layer, trainable, seed, width=2, shuffled=None):
    """Train one model on the data of its seed; return its training losses and its test accuracy
    in percent.
    """
    data = {
        "train": WORLD.sample(2000, seed=3 * seed),
        "validation": WORLD.sample(1000, seed=3 * seed + 1),
        "test": WORLD.sample(4000, seed=3 * seed + 2),
    }
    generator = seed_everything(seed)
    if shuffled:
        data = {
            split: shuffle_modality(part, shuffled, torch.randperm(len(part["label"])))
            for split, part in data.items()
        }
    model = Model(layer, trainable, width)
    train, validation = Batches(data["train"], 128, generator), Batches(data["validation"], 2048)
    history = fit(model, train, validation, epochs=12, lr=1e-2)
    return history.train_loss, 100 * evaluate(model, Batches(data["test"], 4096)).accuracy

# %%
pair = dict(zip("AB", random.Random(10).sample([gallery.ListFusion, gallery.ListFusionMended], 2)))
losses = {f"layer {letter}": run(layer, True, seed=0)[0] for letter, layer in pair.items()}
for name, values in losses.items():
    report(f"{name}, training loss of the last epoch", values[-1], near=0.33, within=0.03)
plots.curves(
    range(1, 13),
    losses,
    xlabel="epoch",
    label="training loss",
    caption=(
        "Two models that differ in one line of their fusion layer. One of the two layers never"
        " learns, and the curves do not show which."
    ),
)

# %% [markdown]
# Chance decided which one is called A. Which of the two layers is dead? Say "A" or "B", and how sure you are.

# %%
guess("11.a", None, sure=0.5)

# %% [markdown]
# ## Nine numbers, of which the optimiser sees three
#
# The smallest layer with the fault. It averages two modalities after scaling each column by a number to be learned, and adds a bias:
#
# $$ h_n = \tfrac12 \left( s^{\text{text}} \odot x_n^{\text{text}} + s^{\text{image}} \odot x_n^{\text{image}} \right) + b \tag{11.1} $$
#
# Two samples, three columns, so $s^{\text{text}}$, $s^{\text{image}}$ and $b$ hold three numbers each. (The sign $\odot$ multiplies
# entry by entry.) The two scales stand in a Python list, which is how one would write "one for each modality".

# %%
class ScaledMean(nn.Module):
    """Equation (11.1): {"text": (B, 3), "image": (B, 3)} -> (B, 3)."""

    def __init__(self):
        super().__init__()
        # a plain list
        self.scales = [nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2)]
        self.bias = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, batch):
        return (self.scales[0] * batch["text"] + self.scales[1] * batch["image"]) / 2 + self.bias

layer = ScaledMean()
batch = {"text": torch.tensor([[1.0, 2, 0], [0, 1, 3]], dtype=torch.float64),
         "image": torch.tensor([[2.0, 0, 1], [1, 1, 1]], dtype=torch.float64)}
print("the result:", layer(batch).tolist())
print("what parameters() lists:", [name for name, _ in layer.named_parameters()])
print("numbers the optimiser gets:", sum(p.numel() for p in layer.parameters()), "of 9")

# %% [markdown]
# The result is right. But `parameters()` lists the bias only. `nn.Module` notices an `nn.Parameter` when it is assigned to an attribute, and
# writes it into its register: it is then a **registered parameter** (注册参数). A list is not a parameter, so nobody looks inside. The cure is a list
# that registers what it holds, `nn.ParameterList`, or `nn.ModuleList` for modules.
#
# What happens in one training step? Let the loss be the sum of all squared results. Its gradient by the result is $g_n = 2 h_n$, and by
# the scale of modality m
#
# $$ \frac{\partial L}{\partial s^m} = \frac12 \sum_n g_n \odot x_n^m \tag{11.2} $$

# %%
layer(batch).square().sum().backward()                                          # fills every .grad
before = [p.detach().clone() for p in (*layer.scales, layer.bias)]
# one step: minus 0.1 times the gradient
torch.optim.SGD(layer.parameters(), lr=0.1).step()
rows = [
    number
    for p, old in zip((*layer.scales, layer.bias), before)
    for number in (p.grad, p.detach() - old)
]
plots.table_of_numbers(
    torch.stack(rows),
    ["gradient", "moved by"] * 3,
    ["column 1", "column 2", "column 3"],
    row_groups=["text"] * 2 + ["image"] * 2 + ["bias"] * 2,
    caption=(
        "One step of gradient descent. Every part of the layer has a gradient, the bias moves by "
        "minus a tenth of it, and the scales in the list do not move at all."
    ),
)

# both equations on random numbers
seed_everything(0)
probe = ScaledMean()
s, t, b = (p.data.normal_() for p in (*probe.scales, probe.bias))
h = torch.stack([(s * x + t * z) / 2 + b for x, z in zip(batch["text"], batch["image"])])
verify("11.1", by_hand=h, reference=probe(batch))
probe(batch).square().sum().backward()
verify(
    "11.2",
    by_hand=(2 * h[0] * batch["text"][0] + 2 * h[1] * batch["text"][1]) / 2,
    reference=probe.scales[0].grad,
)

# %% [markdown]
# Look at the first row: the scales *have* a gradient. Autograd follows the computation and finds them there; only the optimiser never
# hears of them. So a look at `.grad` would not have helped, and neither would the loss, which goes down because the bias moves.
#
# A register serves more than the optimiser. `state_dict()` saves from it, `.to(device)` moves what is in it, `zero_grad()` clears it. All three
# miss the list.

# %% [markdown]
# ## The same fault in a real layer
#
# **Low-rank fusion** (低秩融合; Liu et al., 2018) multiplies the modalities. For each of R ranks and each output it maps every modality to one number,
# multiplies these numbers, and adds up the ranks with weights. A 1 is appended to each vector, so that the products also contain the
# modalities alone. Notebook 13 derives it; here we need its parts, to count them:
#
# $$ f_{n,c} = \sum_{r=1}^{R} w_r \prod_{m} \sum_{i=1}^{D_m + 1} [h_n^m;\, 1]_i \, F^m_{r,i,c} + b_c \tag{11.3} $$

# %%
show_source(gallery.ListFusion.__init__)
show_source(gallery.ListFusion.forward)

seed_everything(0)
# the same formula
layer = gallery.ListFusionMended({"text": 3, "image": 2}, output_dim=2, rank=4).double()
h = {"text": torch.randn(3, dtype=torch.float64), "image": torch.randn(2, dtype=torch.float64)}

def entry(c):
    """Output c of equation (11.3) for one sample, in loops."""
    total = layer.bias[c].item()
    for r in range(4):
        product = layer.weights[r].item()
        for vector, factor in zip(h.values(), layer.factors):
            product *= sum(
                value * factor[r, i, c].item() for i, value in enumerate([*vector.tolist(), 1.0])
            )
        total += product
    return total

verify(
    "11.3",
    by_hand=[entry(0), entry(1)],
    reference=layer({name: vector[None] for name, vector in h.items()})[0],
)

# %% [markdown]
# The factors stand in a list once more. The last cell took the mended twin, whose only new line is `self.factors = nn.ParameterList(self.factors)`:
# `.double()` goes by the register as well, and would not have reached into the list.
#
# > **Exercise 11.1 · Count by formula** — *8 minutes · warm-up*
# >
# > Given the widths of the modalities, return how many numbers the layer (11.3) should learn.
# >
# > - `input_dims` maps names to widths $D_m$, `output_dim` is the number of outputs C, `rank` is R.
# > - Count the factors of all modalities, the weights and the biases.
# > - Return one whole number. Do not build the layer: the formula is there to check what was built.

# %% exercise="11.1"
def low_rank_parameters(input_dims: dict[str, int], output_dim: int, rank: int) -> int:
    """The number of parameters of the low-rank layer (11.3).

    Example: widths {"text": 2, "image": 1}, 2 outputs and rank 3 give 35.
    """
    ### BEGIN SOLUTION
    factors = sum(rank * (dim + 1) * output_dim for dim in input_dims.values())
    return factors + rank + output_dim
    ### END SOLUTION

# %% [markdown] hints="11.1"
# <details><summary>A question that helps</summary>
#
# In (11.3), which letters does each of $F$, $w$ and $b$ carry below it, and how many values does each letter take?
#
# </details>
# <details><summary>The idea in words</summary>
#
# $F^m$ has three indices: r takes R values, i takes $D_m + 1$ because of the appended 1, c takes C. Add these products over the modalities, then
# R weights and C biases.
#
# </details>
# <details><summary>If you see "can only concatenate str (not "int") to str"</summary>
#
# Walking through a dict gives its names. The widths are `input_dims.values()`.
#
# </details>

# %% [markdown]
# This very fault has been published, in code that others copied. Take a layer of a realistic size, with the widths 48 and 192, 120 outputs and
# rank 40. By the formula that makes 1,161,760 parameters. How many of them does the optimiser get? You can compute it.

# %%
guess("11.b", None, sure=0.5)

# %%
for layer in (gallery.ListFusion, gallery.ListFusionMended):
    built = layer({"audio": 48, "image": 192}, 120, rank=40)
    count, formula = sum(p.numel() for p in built.parameters()), reference("11.1")(
        {"audio": 48, "image": 192}, 120, 40
    )
    print(f"{layer.__name__:16} {count:9,} of {formula:,} parameters registered")
outcome("11.b", "160")

# %% [markdown]
# The optimiser gets the 40 weights and the 120 biases. All that looks at the modalities is in the list.
#
# ## Why accuracy cannot tell
#
# Such a layer runs and scores. Why does nobody notice? Two settings, five seeds each, with the dead layer and its mended
# twin:
#
# - **trainable encoders**: as above, a small network before the fusion layer for each modality;
# - **frozen encoders** (冻结), the plainest ones: each passes its vector on as it is, and nothing before the fusion layer learns.
#
# The head is trainable in both. The ceiling is known exactly, and so is the best that one modality could do: 50 %, a coin. With trainable
# encoders the model with the dead layer comes close to the ceiling. What will the dead layer score with *frozen* encoders, in percent? Guess to within 8.

# %%
guess("11.c", None, sure=0.5)

# %%
LAYERS = {"dead": gallery.ListFusion, "mended": gallery.ListFusionMended}
SETTINGS = {"trainable": True, "frozen": False}
scores = {f"{kind}, {setting}": [run(layer, trainable, seed)[1] for seed in SEEDS]
          for setting, trainable in SETTINGS.items() for kind, layer in LAYERS.items()}
for kind, layer in LAYERS.items():
    scores[f"{kind}, trainable, text shuffled"] = [
        run(layer, True, seed, shuffled="text")[1] for seed in SEEDS
    ]
for (name, values), near in zip(scores.items(), (89.4, 89.4, 64, 89.3, 50, 50)):
    report(
        f"{name}: accuracy",
        mean_interval(values)[0],
        near=near,
        within=5 if name == "dead, frozen" else 1.5,
        unit="%",
    )

for setting, near, within in (("trainable", 0, 0.5), ("frozen", 25, 5)):
    gains = [
        one - other for one, other in zip(scores[f"mended, {setting}"], scores[f"dead, {setting}"])
    ]
    mean, half = mean_interval(gains)
    report(f"mended minus dead, {setting}", mean, near=near, within=within, unit="points")
    place = (
        "within 1 point of 0"
        if abs(mean) + half < 1
        else "above 10 points" if mean - half > 10 else "elsewhere"
    )
    print("  its interval over seeds lies", place)
outcome("11.c", 64, within=8)
outcome("11.a", next(letter for letter, layer in pair.items() if layer is gallery.ListFusion))
print(
    f"ceiling of both {100 * WORLD.ceiling():.2f} %, of one modality alone"
    f" {100 * WORLD.ceiling(('text',)):.2f} %"
)
plots.bars(
    {name: mean_interval(values) for name, values in scores.items()},
    label="test accuracy (%)",
    chance=50,
    ceiling=100 * WORLD.ceiling(),
    caption=(
        "With trainable encoders the dead layer and its mended twin reach the ceiling alike. With"
        " frozen encoders the dead one falls behind. With the text shuffled and the model"
        " retrained, nothing is left for either."
    ),
)

# %% [markdown]
# With trainable encoders no difference can be seen, and the interval is narrow enough to exclude one of a whole point. The shuffled control
# shows that both models really use both modalities: cut the text's link to the image, retrain, and the score is that of a coin. So the dead layer *fuses*. How
# can it, with random factors?
#
# Because its formula multiplies, whether its numbers are learned or not. With random factors it multiplies *some* fixed combination of the text's numbers by
# *some* fixed combination of the image's. The encoders learn to write the two bits where the layer looks for them. They learn around the layer. With frozen encoders nobody
# can do that: the layer multiplies what it happened to be given, and the score depends on the draw: a wide interval, while
# the mended twin stays within about a point on the same data.
#
# There is a second way to hide a dead layer: make it wide. Many random products contain a few useful ones, and a trainable head picks them out. (Random
# features with a trained head are a method in their own right: Rahimi and Recht, 2007.) Again with frozen encoders:

# %%
widths = [2, 4, 8, 16, 32]
dead = [
    mean_interval([run(gallery.ListFusion, False, seed, width)[1] for seed in SEEDS])
    for width in widths
]
mended = [
    mean_interval([run(gallery.ListFusionMended, False, seed, width)[1] for seed in SEEDS])
    for width in widths
]
for width, near in ((2, 64), (8, 80), (32, 88)):
    report(
        f"dead, frozen, {width} outputs",
        dead[widths.index(width)][0],
        near=near,
        within=5,
        unit="%",
    )
gaps = [
    run(gallery.ListFusionMended, False, seed, 32)[1] - run(gallery.ListFusion, False, seed, 32)[1]
    for seed in SEEDS
]
report(
    "mended minus dead, frozen, 32 outputs",
    mean_interval(gaps)[0],
    near=1.4,
    within=1.2,
    unit="points",
)
plots.curves(
    widths,
    {"dead, frozen": dead, "mended, frozen": mended},
    xlabel="outputs of the fusion layer",
    label="test accuracy (%)",
    log="x",
    ceiling=100 * WORLD.ceiling(),
    chance=50,
    caption=(
        "A dead fusion layer and its mended twin behind frozen encoders, with more and more"
        " outputs, mean and 95 % interval over the seeds: from many random products the head can"
        " choose, and the gap nearly closes."
    ),
)

# %% [markdown]
# So a good score says that the *model* found a way. It says nothing about whether a given layer took part. To see a fault of the layer, look
# at the layer.
#
# ## Eleven contracts
#
# A **contract** (契约) is a property that a layer must have whatever it was trained for, checked in milliseconds on random inputs, without
# training. `show_contracts` takes a class, builds it, and tries eleven of them:

# %%
show_contracts(gallery.ListFusion)

# %% [markdown]
# | | contract | it asks |
# |---|---|---|
# | 1 | every parameter learns | is each one registered, does it get a gradient above round-off, and does it move in a step? |
# | 2 | a batch of one | does one row work as many do? |
# | 3 | full mask is no mask | does a mask that says "all present" give the same as no mask? |
# | 4 | masked is unseen | can what stands in a masked place, or in another row, change anything? |
# | 5 | nothing present | are result and gradients finite for a row without any modality? |
# | 6 | saved and loaded | does a fresh layer give the same results once it has loaded the state dict? |
# | 7 | moved and trainable | do the parameters survive `.to(...)`? |
# | 8 | inputs stay as given | are the caller's tensors untouched? |
# | 9 | counted | is the number of parameters what the formula says? |
# | 10 | it goes by name | do features, or a mask, in another order of names give the same result? |
# | 11 | it travels | does it go through half precision, export and compile, or say in `refuses` why not? |
#
# The plain list breaks five of them, since optimiser, saving, moving, counting and a change to half precision all go by the register. Most faults break just one.
# Contract 10 catches a layer that goes by place and takes text for images, contract 11 one that works only in the notebook where it was written. Export and
# compile take seconds, so they are tried only when you ask: `show_contracts(..., travel=True)`.
#
# ### 1. Every parameter learns
#
# The first contract you have met. One detail: a gradient counts only if it is larger than a billionth of the largest one, because round-off leaves
# about 1e-17 where the true gradient is 0. The price: a parameter with a real but tiny influence is reported too.
#
# To meet the others, we start from a layer that keeps them all. It encodes each modality, averages those that are present (`pool`, which you will write yourself in exercise
# 11.2), and maps the mean to the result. The **mask** (掩码) is a dict with one bool for each row of each modality; True means present, and so does a modality that it leaves out. Every layer below changes a few lines of this one.
#
# The function `meet` shows what a contract sees in the faulty layer and in its mended twin. For a closer look we keep a batch of four rows; in its mask each row but the first
# lacks one modality.

# %%
for part in ("__init__", "forward", "presence", "encode", "classify"):
    show_source(getattr(gallery.AverageFusion, part))

seed_everything(0)
DIMS = {"text": 3, "image": 2, "audio": 2}
batch = {name: torch.randn(4, dim) for name, dim in DIMS.items()}
mask = {
    "text": torch.tensor([True, True, True, False]),
    "image": torch.tensor([True, True, False, True]),
    "audio": torch.tensor([True, False, True, True]),
}

def meet(number, name):
    """Show what contract `number` sees in the layer `name` of the gallery, and in its mended
    twin.
    """
    for word, layer in (
        ("faulty", gallery.GALLERY[name].faulty),
        ("mended", gallery.GALLERY[name].mended),
    ):
        found = check_contracts(layer, numbers=[number])[0]
        text = f"contract {number}, {word}: {'kept' if found.kept else 'BROKEN'}, {found.seen}"
        print(textwrap.fill(text, 100, subsequent_indent="    "))

meet(1, "factors in a plain list")

# %% [markdown]
# ### 2. A batch of one
#
# `squeeze()` removes every axis of length 1. The author meant the one that the line itself had added.

# %%
show_source(gallery.SqueezeFusion.classify)
layer = gallery.SqueezeFusion(DIMS, 2)
for rows in (4, 1):
    print(
        rows,
        "rows in, shape out:",
        tuple(layer({name: x[:rows] for name, x in batch.items()}).shape),
    )
meet(2, "a bare squeeze")

# %% [markdown]
# In training on batches of 128 this is never seen. It is seen when the model serves one user, or when the last batch of an epoch holds one row. The mended
# twin names its axis: `squeeze(1)`.
#
# ### 3. A full mask is no mask
#
# This layer has one path for calls without a mask and another for calls with one. Each looks sensible.

# %%
show_source(gallery.TwoPathsFusion.forward)
layer = gallery.TwoPathsFusion(DIMS, 2)
without = layer(batch) - layer.head.bias
everything = {name: torch.ones(4, dtype=torch.bool) for name in DIMS}
full = layer(batch, mask=everything) - layer.head.bias
print(f"with a full mask : without one = {(full / without).mean().item():.3f} : 1, bias taken off")
meet(3, "two paths")

# %% [markdown]
# Without a mask the result comes from the mean, with one from the sum: three times as large with three modalities. Trained on complete data, without a
# mask, the model has an unremarkable score. The first mask in use multiplies the mean by the number of modalities present, by three for a full row. The cure is to have one path: no mask *is* a mask of ones.
#
# ### 4. Masked is unseen
#
# Masking by multiplication looks like arithmetic that cannot go wrong: a number times 0 is 0. It can, because NaN times 0 is NaN, and infinity times 0 as
# well. NaN stands for "not a number"; it is what pandas writes into the empty cells of a table.

# %%
show_source(gallery.TimesMaskFusion.pool)
holes = {name: torch.where(mask[name][:, None], x, torch.nan) for name, x in batch.items()}
for layer in (gallery.TimesMaskFusion(DIMS, 2), gallery.TimesMaskFusionMended(DIMS, 2)):
    print(
        f"{type(layer).__name__:21} rows finite:"
        f" {layer(holes, mask=mask).isfinite().all(dim=1).tolist()}"
    )
meet(4, "times the mask")

# %% [markdown]
# Three of four rows are lost, and with them the mean loss of the batch and, one step later, every weight. As long as missing modalities are filled with
# zeros, nobody notices. The mended twin *selects*: `torch.where(mask, x, 0)` does no arithmetic with what it does not take.
#
# The same contract looks at the neighbours: a row's result must not depend on who else is in the batch.
#
# ### 5. Nothing present
#
# Attention over modalities gives each a score, sets the scores of those missing to minus infinity, and lets a softmax make weights of them. Then comes a
# row in which everything is missing.

# %%
show_source(gallery.NoKeysFusion.pool)
in_all_but_the_last = torch.tensor([True, True, True, False])
nothing = {name: kept & in_all_but_the_last for name, kept in mask.items()}
layer = gallery.NoKeysFusion(DIMS, 2)
print("rows finite:", layer(batch, mask=nothing).isfinite().all(dim=1).tolist())
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
for step in (1, 2):
    optimizer.zero_grad()
    layer(batch, mask=nothing).square().mean().backward()
    optimizer.step()
    broken = [bool(p.isnan().any()) for p in layer.parameters()]
    print(f"after step {step}, {sum(broken)} of {len(broken)} parameter tensors hold NaN")
meet(5, "softmax over no keys")

# %% [markdown]
# One empty row is enough: after the first step the head holds NaN, after the second everything does. A curated test set may hold no such row; a stream
# from sensors holds one whenever all of them fail. PyTorch's own `nn.MultiheadAttention`, called with its defaults, gives NaN too when all keys of a row are
# masked (its issue 41508; some of its faster paths do not), so the guard belongs into your code.
#
# > **Exercise 11.2 · The mean of what is present** — *10 minutes · core*
# >
# > Given one vector per modality, return the mean over the modalities that are present: the `pool` of the sound layer.
# >
# > - `x` is `(B, M, D)` float and `mask` is `(B, M)` bool, True for present. Return `(B, D)`.
# > - Divide by the number of modalities present in that row.
# > - What stands in a missing place must not matter, not even NaN. A NaN in a present modality has to show.
# > - A row without any modality gives zeros.

# %% exercise="11.2"
def mean_of_present(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean of the modalities that are present: (B, M, D) and (B, M) bool -> (B, D).

    Example: x = [[[2.0], [9.0]]] and mask = [[True, False]] give [[2.0]].
    """
    ### BEGIN SOLUTION
    kept = torch.where(mask[..., None], x, 0)              # (B, M, D), zeros where missing
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)     # (B, M) -> (B, 1), at least 1
    return kept.sum(dim=1) / count                         # (B, M, D) -> (B, D)
    ### END SOLUTION

# %% [markdown] hints="11.2"
# <details><summary>A question that helps</summary>
#
# What does your row divide by if one of three modalities is there, and what if none is?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Select first: `torch.where` with the mask, given a last axis, puts zeros where something is missing. Then sum over the modalities, and divide by
# the number present, but at least by 1.
#
# </details>
# <details><summary>If you see "must match the size of tensor"</summary>
#
# The mask is `(B, M)` and x is `(B, M, D)`: give the mask a last axis of length 1, `mask[..., None]`. The number to divide by has to be `(B, 1)`:
# `keepdim=True` keeps the axis.
#
# </details>

# %% [markdown]
# As a formula, with $p_m = 1$ for a present modality and 0 for a missing one:
#
# $$ \bar h = \frac{\sum_m p_m h_m}{\max\left(1, \sum_m p_m\right)} \tag{11.4} $$
#
# A formula hides what the code has to see to: for a computer $p_m h_m$ is not 0 if $h_m$ is NaN. Here is a layer with this mean in it; put your own function in
# the place of the reference, and look at contracts 3 to 5.

# %%
class PresentMean(gallery.AverageFusion):
    def pool(self, x, present):
        # your function: mean_of_present(x, present)
        return reference("11.2")(x, present)

x = torch.randn(4, 3, 2, dtype=torch.float64)
present = torch.stack(list(nothing.values()), dim=1)  # (B, M)
p = present.double()
verify(
    "11.4",
    by_hand=torch.stack(
        [sum(p[n, m] * x[n, m] for m in range(3)) / max(1, p[n].sum()) for n in range(4)]
    ),
    reference=reference("11.2")(x, present),
)
print("contracts 3 to 5 kept:", [result.kept for result in check_contracts(PresentMean)[2:5]])

# %% [markdown]
# ### 6. Saved and loaded
#
# A fixed random rotation is no parameter, so it goes into a **buffer** (缓冲区), a tensor that belongs to the layer without being trained. The **state dict** (状态字典),
# all parameters and buffers by name, is what gets saved.

# %%
show_source(gallery.UnsavedFusion)
seed_everything(0)
layer, fresh = gallery.UnsavedFusion(DIMS, 2), gallery.UnsavedFusion(DIMS, 2)
missing, unexpected = fresh.load_state_dict(layer.state_dict())
print("names that loading finds missing or unexpected:", len(missing) + len(unexpected))
print(
    "parameters equal:",
    all(torch.equal(a, b) for a, b in zip(layer.parameters(), fresh.parameters())),
)
print("results equal:", torch.allclose(layer(batch), fresh(batch)))
meet(6, "not in the state dict")

# %% [markdown]
# `persistent=False` tells PyTorch not to save the buffer. Loading has nothing to complain of, the parameters are all there, and it is another model. The score
# measured before saving was right, and cannot be had from the saved file.
#
# ### 7. Moved and trainable
#
# A layer that wants to be on the right device from the start may write `nn.Parameter(...).to(device)`. If there is nothing to move, `.to` gives back the parameter
# itself. If there is, it gives a *new* tensor, computed from the parameter, and a computed tensor is no parameter. The `meta` device, which keeps shapes and no numbers,
# lets us see a move without a GPU.

# %%
show_source(gallery.MovedFusion.__init__)
for target in ("cpu", "meta"):
    moved = nn.Parameter(torch.ones(2)).to(target)
    print(f"nn.Parameter(...).to({target!r}) is a parameter:", isinstance(moved, nn.Parameter))
for target in ("cpu", "meta"):
    layer = gallery.MovedFusion(DIMS, 2, device=target)
    print(f"gain built for {target!r}: {len(list(layer.parameters()))} of 9 tensors registered")
meet(7, "a moved parameter")

# %% [markdown]
# On a laptop everything is as it should be, and on the machine where the training counts, `gain` is never trained. The cure is the other order: first move the tensor, then make it a
# parameter. Better still, do not move inside a layer at all, and let the caller say `.to(device)` once.
#
# ### 8. Inputs stay as given
#
# `x += shift` changes the tensor itself, **in place** (原地), and the tensor belongs to the caller. `x = x + shift` makes a new one.

# %%
show_source(gallery.InPlaceFusion.encode)
layer, given = gallery.InPlaceFusion(DIMS, 2), {name: x.clone() for name, x in batch.items()}
first, second = layer(given), layer(given)
print("two calls on one batch agree:", torch.allclose(first, second))
print("the batch is as it was:", all(torch.equal(given[name], batch[name]) for name in batch))
meet(8, "added in place")

# %% [markdown]
# Our `Batches` hands out copies, so in this course nobody would notice. Where a loop passes the stored tensors themselves, the whole set at once
# or slices `x[:128]`, which are views, each call adds the shift again, and what the layer sees drifts from epoch to epoch.
#
# ### 9. Counted
#
# A formula for the number of parameters, written from the widths alone, is a second opinion about what was built. Below, the two differ by eight, so one
# of them is wrong.

# %%
show_source(gallery.UncountedFusion.parameter_formula)
meet(9, "a bias not counted")
small = gallery.ListFusion({"text": 10, "image": 10}, 2, rank=1)
count = sum(p.numel() for p in small.parameters())
print("a small low-rank layer:", count, "registered, by the formula", small.parameter_formula())

# %% [markdown]
# A LayerNorm has a gain *and* a bias for each entry, and the formula forgot the second. Why not read the count off the layer itself, and assert that? The last line
# shows why. A unit test that asserts 3 here, where 47 is right, would pass for the faulty layer and fail for the mended one. A test that asserts what the
# code does, instead of what it should do, keeps the fault in place.

# %% [markdown]
# ## Seven suspects
#
# Now you are the one to find them. There are seven suspects. Six have faults that you have not met yet on this page. One is sound: a test that
# finds fault with everything would be worth nothing. The code of one of the seven stands below, and it, too, looks right.
#
# For one of them it helps to remember that a softmax takes no notice of a number added to *all* its scores:
#
# $$ \operatorname{softmax}(s + c)_m = \frac{e^{s_m + c}}{\sum_k e^{s_k + c}} = \operatorname{softmax}(s)_m \tag{11.5} $$

# %%
class Suspect(gallery.AverageFusion):
    """One of the seven letters has this code: some of the mean's entries are dropped at random,
    against overfitting.
    """

    def classify(self, pooled):
        return self.head(F.dropout(pooled, 0.3))           # (B, W) -> (B, C)

UNMET = (
    "a layer never called",
    "a bias that cancels",
    "masked too late",
    "centred by the batch",
    "no mask at all",
)
unmet = [gallery.GALLERY[name].faulty for name in UNMET]
SUSPECTS = dict(
    zip("ABCDEFG", random.Random(4).sample([*unmet, Suspect, gallery.AverageFusion], 7))
)
show_contracts(SUSPECTS["A"])

s, c = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
verify(
    "11.5",
    by_hand=(s + c).exp() / (s + c).exp().sum(dim=1, keepdim=True),
    reference=torch.softmax(s, dim=1),
)

# %%
for letter in "BCDEFG":
    broken = [result for result in check_contracts(SUSPECTS[letter]) if result.kept is False]
    for result in broken:
        print(f"{letter}, contract {result.number}: {result.seen}")
    if not broken:
        print(f"{letter}: all are kept")

# %% [markdown]
# For each letter, write down a diagnosis in one sentence before you unfold it. To see all lines of a suspect, change the letter in
# `show_contracts(SUSPECTS["A"])`; `show_source(SUSPECTS["A"])` shows the code, and with it the answer. Which letter has the code above?

# %%
guess("11.d", None, sure=0.5)

# %% [markdown]
# <details><summary>Suspect A</summary>
#
# **A bias that cancels.** Attention over modalities whose score has a bias. The bias is added to the scores of *all* modalities, and the softmax takes it out again, by
# (11.5). Autograd does compute a gradient for it, but that is round-off, about 1e-17: a test that asks only whether `.grad` is None lets it pass. It harms no
# result; it adds a number that can never learn, and the formula counts it too. It hints at an author who expected something of it. Mended: `bias=False`.
#
# </details>
# <details><summary>Suspect B</summary>
#
# **Masked too late.** The layer computes with the missing values and selects afterwards, `torch.where(kept, f(x), 0)`. Each result is right. In the backward pass the gradient
# of the weight is 0 times NaN. Mended: select before the arithmetic, `f(torch.where(kept, x, 0))`.
#
# </details>
# <details><summary>Suspect C</summary>
#
# **A layer never called.** `mix` is built, registered and counted, and `forward` does not use it. The formula agrees with the count, so contract 9 is silent. Mended: call it, or take
# it out.
#
# </details>
# <details><summary>Suspect D</summary>
#
# **Centred by the batch.** The mean over the *batch* is subtracted, in evaluation too. What the layer says about one sample then depends on the others, and the accuracy
# on the batch size. Mended: each row is centred by its own mean.
#
# </details>
# <details><summary>Suspect E</summary>
#
# **Sound.** It is the layer that all others are built on.
#
# </details>
# <details><summary>Suspect F</summary>
#
# **No mask at all.** `forward` takes no mask, so what stands for a missing modality counts like any other value. Contracts 3 to 5 cannot even be tried, which counts as broken.
#
# </details>
# <details><summary>Suspect G</summary>
#
# **Dropout that never stops**, and the code above. `F.dropout` drops entries whenever it is called, in evaluation too, because its argument `training` is True unless you say otherwise.
# Two calls on the same input differ. So whichever contract compares two calls fails, 3, 4, 6, 10 and 11: the words are about masks, state dicts and overflow, the cause is chance. Mended:
# `F.dropout(pooled, 0.3, self.training)`, or the module `nn.Dropout`, which knows the mode.
#
# </details>

# %%
outcome("11.d", next(letter for letter, layer in SUSPECTS.items() if layer is Suspect))
figure, ax = plots.axes(height=5.0)
for row, exhibit in enumerate(gallery.GALLERY.values()):
    found = check_contracts(exhibit.faulty, travel=exhibit.travel)
    broken = [result.number for result in found if result.kept is False]
    assert tuple(broken) == exhibit.breaks and all(
        result.kept is not False for result in check_contracts(exhibit.mended)
    )
    ax.scatter(broken, [row] * len(broken), marker="X", s=70, color=plots.COLORS["fused"])
ax.set_yticks(range(len(gallery.GALLERY)), list(gallery.GALLERY))
ax.set_xticks(range(1, 12))
ax.set_xlim(0.5, 11.5)
ax.invert_yaxis()
ax.grid(color="#DDDDDD", linewidth=0.6)
ax.set_axisbelow(True)
ax.set_xlabel("broken contract")
print(
    len(gallery.GALLERY),
    "faulty layers, each breaks the contracts that were expected; all mended twins keep them all",
)
plots.show(
    figure,
    "The gallery: each row is a layer that looks right, each cross a contract that it breaks. For"
    " every contract there is a layer that breaks no other, so that none of them can be left"
    " out.",
)

# %% [markdown]
# ## Try it: which contracts does a layer break?
#
# Choose a layer of the gallery, with its fault or mended. The tiles say which contracts it keeps, the sentence what was seen. The two
# rows below are one such layer with its fault and without.

# %% tags=["figure"]
# What each contract says of a layer, drawn.
def tiles(axes, results):
    """One tile per contract: filled and crossed where it is broken, pale where it is kept or
    does not apply.
    """
    for result in results:
        broken = result.kept is False
        axes.bar(
            result.number,
            1,
            width=0.9,
            color=plots.COLORS["image" if broken else "audio"],
            alpha=0.9 if broken else 0.25,
            hatch="xx" if broken else None,
            edgecolor="white",
        )
        axes.text(
            result.number,
            0.5,
            "broken" if broken else "kept" if result.kept else "-",
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
    axes.set_xticks(range(1, 12))
    axes.set_yticks([])

figure, both = plots.axes(width=7.2, height=2.2, rows=2, sharex=True)
for axes, version in zip(both, ("faulty", "mended")):
    tiles(axes, check_contracts(getattr(gallery.GALLERY["times the mask"], version)))
    axes.set_ylabel(version)
both[1].set_xlabel("contract")
plots.show(figure, "A layer that multiplies by the mask, above, breaks contract 4. "
                   "Its mended twin, below, keeps them all.")

# %% tags=["figure"]
# The widget: another layer of the gallery.
def results_of(layer, version):
    exhibit = gallery.GALLERY[layer]
    return check_contracts(getattr(exhibit, version), travel=exhibit.travel)

def render(layer, version):
    figure, axes = plots.axes(width=7.2, height=1.4)
    tiles(axes, results_of(layer, version))
    axes.set_xlabel("contract")
    return figure

def describe(layer, version):
    broken = [result for result in results_of(layer, version) if result.kept is False]
    return (
        "; ".join(f"{result.number}: {result.seen}" for result in broken)
        or "All contracts are kept."
    )

explorer = Explorer(
    render,
    {
        "layer": Dropdown(options=list(gallery.GALLERY), value="factors in a plain list"),
        "version": Dropdown(options=["faulty", "mended"]),
    },
    describe,
    caption="The contracts for the chosen layer, and what each broken one saw.",
)
explorer.show()

# %% [markdown]
# ## Weights for those that are present
#
# Attention over modalities came twice: scores in, a softmax, weights out. A score of minus infinity makes a weight of exactly 0, but a row of nothing but minus infinity has
# no softmax.
#
# > **Exercise 11.3 · A softmax over what is present** — *12 minutes · stretch*
# >
# > A colleague masks scores by multiplying, `torch.softmax(scores * mask, dim=1)`. Mend it.
# >
# > - `scores` is `(B, M)` float and `mask` is `(B, M)` bool, True for present. Return the weights, `(B, M)`.
# > - The weights of the present modalities sum to 1, those of the missing ones are 0.
# > - A row without any modality gets zeros, and nothing is ever NaN, whatever stands in a missing place.
# > - Scores may be large: 200 is no reason to overflow.

# %% exercise="11.3"
def present_weights(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Softmax over the modalities that are present: (B, M) float and (B, M) bool -> (B, M).

    Example: scores [[0.0, 1.0]] with mask [[True, False]] give [[1.0, 0.0]].
    """
    ### BEGIN SOLUTION
    empty = ~mask.any(dim=1, keepdim=True)                               # (B, M) -> (B, 1)
    scores = torch.where(mask, scores, -torch.inf)                       # exp(-inf) is 0
    # an empty row is all alike, not 0 / 0
    weights = torch.softmax(torch.where(empty, 0.0, scores), dim=1)
    return torch.where(mask, weights, 0)
    ### END SOLUTION

# %% [markdown] hints="11.3"
# <details><summary>A question that helps</summary>
#
# The softmax takes the exponential of every score. Which score makes an exponential of exactly 0?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Replace the scores of missing modalities by minus infinity *before* the softmax. Where a whole row is missing, put zeros there instead, so that the
# softmax stays finite, and set the weights to 0 afterwards.
#
# </details>
# <details><summary>If your result holds nan</summary>
#
# Either a row is empty, and the softmax divides 0 by 0; or the scores were multiplied by the mask, and a NaN in a missing place survived.
#
# </details>

# %% [markdown]
# ## A layer of your own
#
# Here is a template that passes as it stands: a weighted sum with one learned score for each modality, turned into weights by the exercise's reference. Change it into a
# layer of yours (another activation, a gate, a maximum) and run the cell again. Or break it on purpose, and see whether the contract that you expect notices.

# %%
class MyFusion(nn.Module):
    """A weighted sum of those present, with learned weights: features[m] (B, D_m), mask
    {m: (B,) bool} -> (B, output_dim).
    """

    def __init__(self, input_dims, output_dim, width=8):
        super().__init__()
        self.input_dims, self.width, self.output_dim = input_dims, width, output_dim
        self.project = nn.ModuleDict(
            {name: nn.Linear(dim, width) for name, dim in input_dims.items()}
        )
        self.score = nn.Parameter(torch.zeros(len(input_dims)))
        self.head = nn.Linear(width, output_dim)

    def forward(self, features, *, mask=None):
        columns, parts = [], []
        for name, project in self.project.items():
            x = features[name]  # (B, D_m)
            present = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
            if mask and name in mask:
                present = mask[name]
            columns.append(present)
            parts.append(torch.relu(project(torch.where(present[:, None], x, 0))))
        x, kept = torch.stack(parts, dim=1), torch.stack(columns, dim=1)  # (B, M, W), (B, M)
        # (B, M)
        weights = reference("11.3")(self.score.expand(len(x), -1), kept)
        # (B, C)
        return self.head((weights[..., None] * x).sum(dim=1))

    def parameter_formula(self):
        widths = self.input_dims.values()
        return (
            sum((dim + 1) * self.width for dim in widths)
            + len(widths)
            + (self.width + 1) * self.output_dim
        )

show_contracts(MyFusion)

# %% [markdown]
# For tokens, widths of your own and the like, see `help(check_contracts)`. In a project the call belongs into the tests:
# `assert all(result.kept is not False for result in check_contracts(MyFusion))`.
#
# ## Where the contracts end
#
# A layer that keeps them all is alive and its masks are tight. More is not proved. All strategies of `course_utils.fusion` pass, as they should, and
# so do two layers in which something is wrong:

# %%
class HomeMadeSoftmax(gallery.CancelledFusionMended):
    """Attention over modalities that takes its exponentials by hand."""

    def pool(self, x, present):
        powers = torch.exp(self.score(x).squeeze(-1)) * present                # (B, M)
        weights = powers / powers.sum(dim=1, keepdim=True).clamp(min=1e-9)
        return (weights[..., None] * torch.where(present[..., None], x, 0)).sum(dim=1)

for layer in (*STRATEGIES.values(), gallery.SumOverAllFusion, HomeMadeSoftmax):
    broken = [result.number for result in check_contracts(layer) if result.kept is False]
    print(f"{layer.__name__:22} contracts broken: {broken or 'none'}")

only_text = {name: torch.zeros(4, dtype=torch.bool) for name in ("image", "audio")}
results = []
for kind in (gallery.SumOverAllFusion, gallery.AverageFusion):
    # the same weights for both
    seed_everything(0)
    layer = kind(DIMS, 2)
    results.append(layer(batch, mask=only_text) - layer.head.bias)
print(
    "text alone present, SumOverAll : mean of those present ="
    f" {(results[0] / results[1]).mean().item():.3f} : 1"
)

layer = HomeMadeSoftmax(DIMS, 2)
layer.score.weight.data.fill_(100.0)                                           # large scores
print("HomeMadeSoftmax is finite with scores in the hundreds:", bool(layer(batch).isfinite().all()))

# %% [markdown]
# - **The right formula.** `SumOverAllFusion` divides by the number of all modalities. With one of three present, its result shrinks to a third. No
#   contract knows which formula was meant; only a test against numbers worked out by hand does, like the twin of (11.4).
# - **The right thing.** Linear `ConcatFusion` is sound and cannot learn XOR, as notebook 10 proved. Whether a layer *can* express the task is a question about its formula;
#   whether it *did* learn it, one about its loss, beside a ceiling and a shuffled control.
# - **The range of numbers.** All contracts but the last use inputs of ordinary size, in float64. The last one's are large, but what stands between them and an overflow can hide it: the home-made softmax gets its scores from a tanh, so they stay small until training makes the weights large.
# - **All sizes.** One sample of each kind is tried. "Kept" means: this sample did not break it. A fault that appears only with a thousand tokens stays unseen.
# - **Speed and memory.** Not looked at.
#
# ## Recap
#
# You can now
#
# 1. **count what the optimiser sees**: `parameters()` lists what is registered; a plain list hides the rest, here all but 160 of 1,161,760;
# 2. **say why accuracy cannot tell**: behind trainable encoders dead and mended differ by less than a point; behind frozen ones by about 25 points with two
#    outputs, which shrinks to one or two with 32;
# 3. **name eleven contracts** and for most of them a layer that looks right and breaks it;
# 4. **average and weight what is present**: select with `torch.where` before any arithmetic, divide by the number present but at least by 1, treat the empty row apart;
# 5. **go from a symptom to a fault**: which contracts break, and what they saw, narrows it down to a few lines;
# 6. **test a layer of your own**, and say what the contracts leave open: the right formula, the right task, large numbers, other sizes, speed.
#
# ## Questions
#
# <details><summary>1. After <code>backward()</code> every tensor of your layer has a <code>.grad</code> that is not zero. Is the layer alive?</summary>
#
# Not necessarily. Autograd also fills the gradient of tensors that are not registered, and the optimiser never moves those. Look whether they *change* in a step.
#
# </details>
# <details><summary>2. A dead fusion layer and a sound one score the same. Under which change of the experiment would you expect a difference?</summary>
#
# Freeze what stands before it, and keep it narrow. Then nothing else can do its work.
#
# </details>
# <details><summary>3. Why does the shuffled control not find a dead layer?</summary>
#
# It asks whether the model uses the link between modalities. With a dead layer it does: the encoders learned to use the random products.
#
# </details>
# <details><summary>4. Why is <code>x * mask</code> not the same as <code>torch.where(mask, x, 0)</code>?</summary>
#
# They differ where x is NaN or infinite: times 0 both are NaN, and a gradient through them is NaN as well. `where` does no arithmetic with what it leaves out.
#
# </details>
# <details><summary>5. A layer passes every test on your laptop, and on the GPU one of its parameters never changes. What do you look for?</summary>
#
# A `.to(device)` (or `.cuda()`, `.float()`) on an `nn.Parameter` inside the constructor. It gives a plain tensor as soon as there is something to move. Contract 7 sees it without a GPU.
#
# </details>
# <details><summary>6. Your colleague's test asserts <code>count_parameters(layer) == 3</code> and passes. What do you ask?</summary>
#
# Where the 3 comes from. From a formula, it is a test; read off the layer, it only says that nothing has changed.
#
# </details>
# <details><summary>7. Does a layer that keeps all eleven contracts learn your task?</summary>
#
# That is open. It *can be trained*: every parameter is reached and moves. Whether its formula can express the task, and whether training found it, shows in its loss beside a ceiling and a control.
#
# </details>
#
# ## Read more
#
# - Z. Liu, Y. Shen, V. B. Lakshminarasimhan, P. P. Liang, A. Zadeh, L.-P. Morency, *Efficient Low-rank Multimodal Fusion with Modality-Specific Factors*, ACL 2018. For the layer of this
#   page and its formula.
# - A. Rahimi, B. Recht, *Random Features for Large-Scale Kernel Machines*, NIPS 2007. For why a layer that nobody trains, with a trained head behind it, can score well.
# - C. Zhang, S. Bengio, Y. Singer, *Are All Layers Created Equal?*, JMLR 2022. For trained networks in which some layers can be put back to their first values and the score stays.
# - E. Breck, S. Cai, E. Nielsen, M. Salib, D. Sculley, *The ML Test Score: A Rubric for ML Production Readiness and Technical Debt Reduction*, IEEE Big Data 2017. For what else
#   around a model can be tested.
#
# ## Your guesses, your passport

# %%
guesses("11")
passport(
    "11",
    model="a fusion layer of your own, held to eleven contracts",
    checked=(
        "registered, trainable, masks tight against NaN and empty rows, saved, moved, counted, by"
        " name, in half precision"
    ),
    limits=(
        "contracts use small random inputs in float64; the right formula and the right task are not"
        " proved by them"
    ),
)
