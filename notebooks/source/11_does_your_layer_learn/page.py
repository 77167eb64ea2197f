# %% [markdown]
# # It runs, it even scores. Does it learn?
#
# A fusion layer, the part of a network that joins modalities, can have the right shapes and a good score, and take one modality for another or never learn at all. This page measures how little of that the score shows, and asks the layer itself.
#
# *About {minutes} minutes. You need page 10: a layer that projects each modality, and a mask.*

# %% [markdown]
# ## In this notebook you will
#
# 1. settle the bet of page 10: swap two modalities, in every batch, at test time, in a mask;
# 2. write a test that says which numbers of a layer move in a step;
# 3. measure when a score shows that a layer never learns, and when it does not;
# 4. find the faults of four layers that look right;
# 5. write weights for what is present, safe against NaN and against rows with nothing;
# 6. build a layer that keeps eleven contracts, spoil it, and see which contract notices.

# %% tags=["measured", "imports"]
# Imports.
import os

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from course_utils import plots
from course_utils.contracts import check_contracts, show_contracts
from course_utils.datasets import Digits, collate
from course_utils.exercises import check, mine
from course_utils.image import pixel_features
from course_utils.metrics import paired, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.text import letter_features
from course_utils.training import Batches, evaluate, fit

# %% [markdown]
# ## The bet of page 10
#
# Somebody's layer takes the picture's features where it should take the text's, and the reverse, in every batch alike. Ada: one notices. Ben: nothing shows.
#
# This is the layer that we ask, shown whole: page 10's with a mean in place of the glue. It projects each modality, averages those that are there, and maps the mean to the classes.

# %% tags=["measured"]
def presence(names, features, mask):
    """Which rows have each modality: {name: (B, 1) bool}. What the mask leaves out is there."""
    there = {}
    for name in names:
        x = features[name]
        everywhere = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
        there[name] = (mask or {}).get(name, everywhere)[:, None]      # (B,) -> (B, 1)
    return there

# %% tags=["measured"]
class MeanFusion(nn.Module):
    """Project each modality, average those that are there, map the mean to the classes."""

    def __init__(self, dims, classes, width=64):
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})
        self.head = nn.Linear(width, classes)

    def forward(self, features, *, mask=None):
        there = presence(self.project, features, mask)
        total, count = 0.0, 0
        for name, project in self.project.items():
            x = torch.where(there[name], features[name], 0.0)              # (B, D_m)
            total = total + torch.where(there[name], project(x).relu(), 0.0)   # (B, width)
            count = count + there[name]                                    # (B, 1)
        return self.head(total / count.clamp(min=1))           # (B, width) -> (B, classes)

# %% [markdown]
# Everything in it goes by name. The next one goes by *place*: the first features that come are the text, whatever they are called.

# %% tags=["measured"]
class ByPlace(MeanFusion):
    """Takes features and mask in the order in which they come, whatever their names."""

    def forward(self, features, *, mask=None):
        features = dict(zip(self.project, features.values()))
        mask = dict(zip(self.project, (mask or {}).values()))
        return super().forward(features, mask=mask)

# %% [markdown]
# Both stand in a model for the typed word and the picture of `digits`. Each modality has an encoder that is trained along with the rest, 32 numbers wide, so that features in another order still fit. The layer is 64 wide. Folded: data, model, 20 epochs of training.

# %% tags=["measured", "proof"]
# The data: `digits` as vectors.
os.environ["COURSE_DEVICE"] = "cpu"        # one layer of this page cannot move: that is its fault
SPLITS, WIDTHS, ENCODED = ("train", "validation", "test"), {"text": 78, "image": 256}, 32

def load(split, seed):
    batches = DataLoader(Digits(split, seed=seed), batch_size=256, collate_fn=collate)
    parts = [{"text": letter_features(batch["text"], batch["mask"]["text"]),
              "image": pixel_features(batch["image"]), "label": batch["label"]}
             for batch in batches]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

# %% tags=["measured", "proof"]
# The model: an encoder for each modality, then a layer.
class Model(nn.Module):
    """`turned` says what comes to the layer in another order: features, mask."""

    def __init__(self, layer, frozen=False, turned=()):
        super().__init__()
        encoders = {m: nn.Sequential(nn.Linear(d, ENCODED), nn.ReLU()) for m, d in WIDTHS.items()}
        self.encoders = nn.ModuleDict(encoders)
        self.encoders.requires_grad_(not frozen)
        self.fusion, self.turned = layer, turned

    def forward(self, batch):
        features = {name: encode(batch[name]) for name, encode in self.encoders.items()}
        mask = batch.get("mask", {})
        if "features" in self.turned:
            features = dict(reversed(features.items()))
        if "mask" in self.turned:
            mask = dict(reversed(mask.items()))
        return self.fusion(features, mask=mask)

# %% tags=["measured", "proof"]
# Training and score.
def train(kind, data, seed, width=64, **options):
    generator = seed_everything(seed)
    model = Model(kind(dict.fromkeys(WIDTHS, ENCODED), 10, width), **options)
    fit(model, Batches(data["train"], 128, generator), Batches(data["validation"], 2048),
        epochs=20, lr=3e-3, weight_decay=0.1)
    return model

def score(model, part):
    return evaluate(model, Batches(part, 4096)).accuracy

# %% [markdown]
# Each is trained in order, and with its features turned in every batch alike. A second pair trains with four rows in ten lacking one of the two (zeros stand for it), in order, and with the *mask* turned in every batch.

# %%
sweep = stored("11", "order")                                # python tools/sweep.py 11 order
right = {name: percent(row["accuracy"]) for name, row in sweep.items()}
print("test accuracy in %, five seeds\nfeatures                by place       by name")
for when in ("in order", "turned in every batch", "turned at test time"):
    print(f"{when:22}{right['by place: ' + when]:>12}{right['by name: ' + when]:>14}")
in_order = sweep["by place: in order"]["accuracy"]
every_batch = sweep["by place: turned in every batch"]["accuracy"]
print("by place, turned in every batch, gains in points:", percent(every_batch, minus=in_order))
print("\nmask, by place         all there  text missing")
for when in ("in order", "turned in every batch"):
    print(f"{when:22}{right[f'mask {when}: all there']:>12}"
          f"{right[f'mask {when}: text missing']:>14}")
outcome("10.c", "Ben")

# %% tags=["figure"]
# One run again, and what it says of five samples.
splits = {split: load(split, seed=0) for split in SPLITS}
placed = train(ByPlace, splits, seed=0)
live = score(placed, splits["test"]) - sweep["by place: in order"]["accuracy"][0]
report("by place, in order: live minus stored", live, near=0, within=0.04)
samples, chosen, said = Digits("test", seed=0), [69, 163, 197, 187, 26], []
for turned in ((), ("features",)):
    placed.turned = turned
    with torch.no_grad():
        said.append(placed(splits["test"])[chosen].argmax(dim=1).tolist())
placed.turned = ()
assert said == [[5, 4, 2, 6, 5], [3, 9, 0, 9, 3]]
titles = [f'"{samples[i]["text"]}"\nin order: {one}\nturned: {other}'
          for i, one, other in zip(chosen, *said)]
plots.pictures(
    torch.stack([samples[i]["image"][0].clamp(0, 1) for i in chosen]),
    titles=titles,
    size=1.4,
    caption="One trained model, five test samples, the word as it was typed above each. Given its"
    " two modalities in another order, the same model says other digits. (In order, the fifth is"
    " wrong: it is an 8.)",
)

# %% [markdown]
# Ben wins. *Turned in every batch*, the layer by place scores as in order (-0.2 ± 2.2 points): each projection learns what comes to it. *Turned at test time alone* it has about 12 %, hardly more than a guess. Another dict, built in other code, can do that long after the score was measured.
#
# **The mask.** With everything there, both orders score alike. With the text missing, the layer whose mask is turned leaves out the *picture* and looks at zeros: a guess, 10 %, where 59 are possible. So nothing in a layer should go by place.
#
# ## Nine numbers, of which the optimiser sees three
#
# Another way to score without learning. The smallest layer that has it scales each column of two modalities by a number to be learned, takes their mean, and adds a bias. With $\odot$ for "entry by entry":
#
# $$ h = \tfrac12 \left( a^{\text{text}} \odot x^{\text{text}} + a^{\text{image}} \odot x^{\text{image}} \right) + b, \qquad \frac{\partial L}{\partial a^m} = \tfrac12 \sum_n g_n \odot x_n^m \tag{11.1} $$
#
# where $g_n$ is the loss's gradient by $h_n$, the result of sample n. An `nn.Parameter` is a tensor that is to be learned, and the scales are two, so they stand in a list.

# %% tags=["fault"]
small = nn.Module()
small.scales = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))]
small.bias = nn.Parameter(torch.zeros(3))
print("the optimiser sees all nine:", sum(p.numel() for p in small.parameters()) == 9)

# %% [markdown]
# `parameters()` gives the bias's three numbers. A module notices an `nn.Parameter`, or another module, when it is assigned to an attribute, and enters it in its register: it is then a **registered parameter** (注册参数). Nobody looks inside a list. `nn.ParameterList` and `nn.ModuleDict` register what they hold.

# %%
small.scales = nn.ParameterList([torch.ones(3), torch.ones(3)])
print("the optimiser sees all nine:", sum(p.numel() for p in small.parameters()) == 9)

# %% [markdown]
# What does a step do with the plain list? Two samples, text (1, 2, 0) and (0, 1, 3), image (2, 0, 1) and (1, 1, 1); all scales 1, the bias 0; the loss is the sum of the squared results. In column 1, h is 1.5 and 0.5, so g is 3 and 1, and (11.1) gives the text's scale ½ (3 · 1 + 1 · 0) = 1.5.

# %% tags=["figure"]
# One step of SGD with the plain list, as a table of numbers; (11.1) against autograd.
plain, shift = [nn.Parameter(torch.ones(3)) for _ in range(2)], nn.Parameter(torch.zeros(3))
two_texts = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])                  # (B, 3)
two_images = torch.tensor([[2.0, 0.0, 1.0], [1.0, 1.0, 1.0]])                 # (B, 3)
((plain[0] * two_texts + plain[1] * two_images) / 2 + shift).square().sum().backward()
torch.optim.SGD([shift], lr=0.1).step()
rows = []
for p, start in zip((*plain, shift), (1.0, 1.0, 0.0)):
    rows += [p.grad, p.detach() - start]
plots.table_of_numbers(
    torch.stack(rows),
    ["gradient", "moved by"] * 3,
    ["column 1", "column 2", "column 3"],
    row_groups=["text"] * 2 + ["image"] * 2 + ["bias"] * 2,
    caption="One step with the scales in a plain list. All nine numbers have a gradient, the bias"
    " moves by minus a tenth of its own, the scales do not move.",
)
seed_everything(0)
x = torch.randn(2, 4, 3, dtype=torch.float64)                                 # (M, B, 3)
a, b = torch.randn(3, 3, dtype=torch.float64).requires_grad_().split([2, 1])  # (M, 3), (1, 3)
h = (a[:, None] * x).sum(dim=0) / 2 + b                                       # (B, 3)
found = torch.autograd.grad(h.square().sum(), a)[0]
verify("11.1", by_hand=(2 * h.detach() * x).sum(dim=1) / 2, reference=found)

# %% [markdown]
# The scales *have* a gradient: autograd follows the computation and finds them. Only the optimiser never hears of them. So do not look at `.grad`; look at what *moves*.
#
# > **Exercise 11.1 · What moves in a step** — *6 minutes · core*
# >
# > Take one step with a layer, and say of each of its parameters how far it went.
# >
# > - The loss is `layer(features).square().mean()`, the optimiser `torch.optim.SGD(..., lr=0.1)`.
# > - Old gradients may still be there.
# > - Return `{name: largest absolute change}`, a number for each name in `layer.named_parameters()`: 0 for what does not move.

# %% exercise="11.1"
def what_moves(layer: nn.Module, features: dict[str, Tensor]) -> dict[str, float]:
    """How far each parameter goes in one step: {its name: its largest change}.

    Example: a layer with `weight` and an unused `bias` may give {"weight": 0.02, "bias": 0.0}.
    """
    ### BEGIN SOLUTION
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    optimizer.zero_grad()
    layer(features).square().mean().backward()
    optimizer.step()
    moved = {}
    for name, p in layer.named_parameters():
        moved[name] = (p.detach() - before[name]).abs().max().item()
    return moved
    ### END SOLUTION

# %% [markdown] hints="11.1"
# <details><summary>A question that helps</summary>
#
# You compare the numbers before the step with those after it. Where are the ones from before while the optimiser writes the new ones?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Copy every parameter, `p.detach().clone()`. Make the optimiser, clear old gradients, compute the loss, `backward()`, `step()`. Then go through the names and subtract.
#
# </details>
# <details><summary>If every change is 0</summary>
#
# `p.detach()` is the same memory under another name, and moves along. `.clone()` is a copy.
#
# </details>

# %% [markdown]
# Now the real layer with the fault: the projections in a plain dict. The test is yours.

# %% tags=["measured"]
class DictFusion(MeanFusion):
    def __init__(self, dims, classes, width=64):
        nn.Module.__init__(self)
        self.project = {name: nn.Linear(dim, width) for name, dim in dims.items()}
        self.head = nn.Linear(width, classes)

# %%
what_moves = mine("11.1", what_moves)
seed_everything(0)
dims = {"text": 3, "image": 2}
features = {"text": torch.randn(4, 3), "image": torch.randn(4, 2)}           # (B, D_m) each
for kind in (MeanFusion, DictFusion):
    moved = what_moves(kind(dims, 2), features)
    moving = sum(far > 0 for far in moved.values())
    print(f"{kind.__name__:10} {len(moved)} listed, {moving} move, the first: {next(iter(moved))}")

# %% [markdown]
# Of the second layer all that is *listed* moves. What is not listed cannot be asked. So count as well: here 2, where 6 are due. `state_dict()` saves from the same register, and `.to(device)` moves what is in it.
#
# <details><summary>It has been published</summary>
#
# The low-rank layer of [MultiBench](https://github.com/pliang279/MultiBench/blob/main/fusions/common_fusions.py) keeps its factors in a plain list and moves each parameter to a GPU *after* making it; at widths 48 and 192, 120 outputs and rank 40 such a layer registers 160 of 1,161,760 numbers on a CPU and, once something has really moved, none.
#
# </details>

# %% tags=["proof"]
# These counts: factors in a list, and parameters that are moved after they were made.
def low_rank(device):
    """How many numbers are registered of parameters that move to `device` when they are made."""
    layer = nn.Module()
    layer.factors = [nn.Parameter(torch.ones(40, dim + 1, 120)).to(device) for dim in (48, 192)]
    layer.weights = nn.Parameter(torch.ones(1, 40)).to(device)
    layer.bias = nn.Parameter(torch.ones(1, 120)).to(device)
    assert sum(p.numel() for p in (*layer.factors, layer.weights, layer.bias)) == 1_161_760
    return sum(p.numel() for p in layer.parameters())

# the device "meta" keeps shapes and no numbers: a move without a GPU
print(f"registered: {low_rank('cpu')} on the CPU, {low_rank('meta')} after a move")

# %% [markdown]
# ## Why accuracy cannot tell
#
# A **dead layer** (失效层) never changes its own numbers. `DictFusion` is dead but for its head. Put it beside its sound twin, in two settings:
#
# - **trained**: the encoders learn, as above;
# - **frozen**: the encoders stay as drawn at random, `requires_grad_(False)` (page 04's frozen network had learned before); the layer and its head learn.
#
# With frozen encoders the sound layer has 72 %. And the dead one, to within 8?

# %%
guess("11.a", None, sure=0.5)

# %%
dead = stored("11", "dead")                                  # python tools/sweep.py 11 dead
def runs(name):
    return dead[name]["accuracy"]

for row in ("trained, width 64", "frozen, width 64", "trained, width 16",
            "trained, width 64, picture shuffled"):
    both = [percent(runs(f"{kind}, {row}")) for kind in ("sound", "dead")]
    less = percent(runs(f"sound, {row}"), minus=runs(f"dead, {row}"))
    print(f"{row:35} sound {both[0]}  dead {both[1]}  difference {less}")
outcome("11.a", 50, within=8)

# %% tags=["figure"]
# What a score shows of the fault, by the layer's width; one dead run again.
width_of = {name: int(name.split("width ")[1].split(",")[0]) for name in dead if "width" in name}
widths = sorted({*width_of.values()})
gaps = {f"{setting} encoders": [paired(runs(f"sound, {setting}, width {width}"),
                                       runs(f"dead, {setting}, width {width}")) for width in widths]
        for setting in ("frozen", "trained")}
again = score(train(DictFusion, splits, seed=0, frozen=True), splits["test"])
live = again - dead["dead, frozen, width 64"]["accuracy"][0]
report("dead, frozen: live minus stored", live, near=0, within=0.06)
plots.curves(
    widths,
    gaps,
    xlabel="width of the fusion layer",
    label="sound minus dead (points)",
    log="x",
    caption="How many points of accuracy a dead layer costs, five seeds. Behind trained encoders a"
    " wide one costs a point or two; behind frozen encoders it costs over twenty.",
)

# %% tags=["proof"]
# Ten other seeds; the dead layer beside the text alone, and beside shuffled pictures.
more = stored("11", "more")                                  # python tools/sweep.py 11 more
others = [more[f"{kind}, trained, seeds 5 to 14"]["accuracy"] for kind in ("sound", "dead")]
row = "trained, width 64"
gains = [percent(others[0], minus=others[1]),
         percent(runs(f"dead, {row}"), minus=runs(f"text alone, {row}")),
         percent(runs(f"dead, {row}"), minus=runs(f"dead, {row}, picture shuffled"))]
print("ten other seeds {}; dead minus text alone {}; minus shuffled {}".format(*gains))

# %% [markdown]
# Behind trained encoders five seeds cannot tell the two apart at this width (ten others can, by 1.5 ± 1.1 points), and the dead one is eight points above the text alone and eleven above itself trained on shuffled pictures: it *fuses*. Freeze the encoders, which alone changes between the first two rows, and 22 points are missing: they had learned around the layer. In a narrow layer that works less well: at width 16 seven points are missing, too.
#
# So a good score says that the *model* found a way. Whether a layer took part, one must ask the layer.
#
# ## Eleven contracts
#
# A **contract** (契约) is what a layer must do whatever it was trained for. It is checked on random inputs, without training.
#
# | | contract | it asks |
# |---|---|---|
# | 1 | every parameter learns | is each one registered, does it get a gradient, does it move? |
# | 2 | a batch of one | does one row work as many do? |
# | 3 | full mask is no mask | does "all present" give the same as no mask, a name left out the same as one all there? |
# | 4 | masked is unseen | can what is masked, how much padding, or another row matter? |
# | 5 | nothing present | are result and gradients finite for a row without anything? |
# | 6 | saved and loaded | does a fresh layer give the same once it has loaded the state? |
# | 7 | moved and trainable | do the parameters survive `.to(...)`? |
# | 8 | inputs stay as given | are the caller's tensors untouched? |
# | 9 | counted | is the number of parameters what a formula says, if there is one? |
# | 10 | it goes by name | does another order of names give the same? |
# | 11 | it travels | does it go through half precision, export (a file for other programs), compile (to faster code)? |
#
# You have met 10, and in one fault 1, 6, 7 and 11: what is not registered is not saved, not moved, and stays behind in half precision. A layer by place breaks 3, too: where a mask leaves a name out, the next one takes its place.

# %%
show_contracts(MeanFusion)
for kind in (DictFusion, ByPlace):
    broken = [one.number for one in check_contracts(kind) if one.kept is False]
    print(f"{kind.__name__} breaks", broken)

# %% [markdown]
# ## Four suspects
#
# Each has `MeanFusion`'s `__init__` and the `forward` that you see. Each runs, has the right shapes, and trains. Each breaks exactly one of the contracts **2, 3, 4, 8**, no two the same. Write down which before you go on.

# %%
class SuspectA(MeanFusion):
    def forward(self, features, *, mask=None):
        there, total, count = presence(self.project, features, mask), 0.0, 0
        for name, project in self.project.items():
            part = project(features[name]).relu()
            total = total + torch.where(there[name], part, 0.0)
            count = count + there[name]
        return self.head(total / count.clamp(min=1))

# %%
class SuspectB(MeanFusion):
    def forward(self, features, *, mask=None):
        if mask is None:
            return super().forward(features)
        there, total = presence(self.project, features, mask), 0.0
        for name, project in self.project.items():
            x = torch.where(there[name], features[name], 0.0)
            total = total + torch.where(there[name], project(x).relu(), 0.0)
        return self.head(total)

# %%
class SuspectC(MeanFusion):
    def forward(self, features, *, mask=None):
        there = presence(self.project, features, mask)
        seen = {name: features[name].masked_fill_(~there[name], 0.0) for name in self.project}
        return super().forward(seen, mask=mask)

# %%
class SuspectD(MeanFusion):
    def forward(self, features, *, mask=None):
        logits = super().forward(features, mask=mask)[:, None]   # (B, 1, classes)
        return logits.squeeze()                                  # -> (B, classes)

# %%
for suspect in (SuspectA, SuspectB, SuspectC, SuspectD):
    for one in check_contracts(suspect):
        if one.kept is False:
            print(f"{suspect.__name__}, contract {one.number}: {one.seen}")

# %% [markdown]
# <details><summary>The four diagnoses</summary>
#
# **A** masks after the arithmetic. Each result is right; the gradient of the projection is 0 times what stood in the missing place, and 0 times NaN is NaN. Choose before *and* after.
#
# **B** has two paths. Without a mask the result comes from the mean, with one from the sum, which is M times as much when all are there. One path: no mask *is* a mask of ones.
#
# **C** works **in place** (原地): the underscore of `masked_fill_` means that the caller's own tensor is changed. What stood there is gone for the next layer and, where a loop passes the stored tensors, for the next epoch. `torch.where` makes a new tensor.
#
# **D** squeezes every axis of length 1. In a batch of one that is also the batch's. Name the axis: `squeeze(1)`.
#
# </details>
#
# In large batches of complete samples none of the four shows, if all come with a mask, or all without.
#
# ## Weights for what is present
#
# Contract 5 is left: a row with nothing. It is hardest where weights sum to 1. Your own layer gives each modality a score from its content, and a softmax over those that are *present* makes weights of the scores:
#
# $$ w_m = \frac{p_m\, e^{s_m}}{\sum_k p_k\, e^{s_k}}, \qquad p_m = 1 \text{ if modality } m \text{ is there, else } 0 \tag{11.2} $$
#
# Scores 1, 2, 3, the second missing: $e^1 = 2.72$ and $e^3 = 20.09$ share 22.80, the weights are 0.12, 0, 0.88. For a computer the formula hides three traps: $p_m e^{s_m}$ is NaN where a missing score is NaN, $e^{s}$ overflows, and a row with nothing divides by 0.
#
# > **Exercise 11.2 · A softmax over what is present** — *7 minutes · core*
# >
# > - `scores` is `(B, M)` float, `mask` `(B, M)` bool, True for present. Return the weights, `(B, M)`.
# > - The weights of the present ones sum to 1, the missing ones have exactly 0.
# > - A row without anything gets zeros. What stands in a missing place never matters, not even NaN.
# > - Gradients, too: those of the softmax, and 0 for every missing score.
# > - Scores may be large or far below zero: 900, -900.

# %% exercise="11.2"
def present_weights(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the modalities that are present: (B, M) float and (B, M) bool -> (B, M).

    Example: scores [[0.0, 1.0]] with mask [[True, False]] give [[1.0, 0.0]].
    """
    ### BEGIN SOLUTION
    empty = ~mask.any(dim=1, keepdim=True)                               # (B, M) -> (B, 1)
    scores = torch.where(mask, scores, -torch.inf)                       # exp(-inf) is 0
    # an empty row is all alike, not 0 / 0
    weights = torch.softmax(torch.where(empty, 0.0, scores), dim=1)
    return torch.where(mask, weights, 0.0)
    ### END SOLUTION

# %% [markdown] hints="11.2"
# <details><summary>A question that helps</summary>
#
# The softmax takes the exponential of every score. Which score makes an exponential of exactly 0?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Replace the scores of missing modalities by minus infinity *before* the softmax. Where a whole row is missing, put zeros there instead, so that the softmax stays finite, and set the weights to 0 afterwards.
#
# </details>
# <details><summary>If your result holds nan</summary>
#
# Either a row is empty, and the softmax divides 0 by 0; or the scores were multiplied by the mask, and a NaN in a missing place survived.
#
# </details>

# %%
present_weights = mine("11.2", present_weights)
scores = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])                         # (B, M)
print(present_weights(scores, torch.tensor([[True, False, True], [False] * 3])))

# %% tags=["proof"]
# (11.2) in loops, on random scores that include an absent NaN.
seed_everything(0)
s, p = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 3) < 0.7
p[:, 0] = True
powers = torch.where(p, s, 0.0).exp() * p
given = torch.where(p, s, torch.nan)
verify("11.2", powers / powers.sum(dim=1, keepdim=True), present_weights(given, p))

# %% [markdown] owes="F17"
# ## A layer of your own
#
# > **Exercise 11.3 · A layer that keeps all contracts** — *9 minutes · core*
# >
# > Project each modality, give each a score, and map the weighted sum to the classes: write `forward`.
# >
# > - A part is `project(x).relu()`, its score `self.score(part)`, the weights come from `present_weights`.
# > - `mask` is None or `{name: (B,) bool}`, True for present; a name that it leaves out is there. `presence` from above may help.
# > - Whatever stands in a missing place, and in a row with nothing (its sum is 0, so its logits are the head's bias): result *and gradients* are finite.
# > - Names decide, not the order. Inputs stay as given.

# %% exercise="11.3"
class CarefulFusion(nn.Module):
    """A weighted sum of what is there: {name: (B, D_m)} -> logits (B, classes)."""

    def __init__(self, dims: dict[str, int], classes: int, width: int = 64):
        """Makes `project`, `score` and `head`."""
        super().__init__()
        self.dims, self.classes, self.width = dims, classes, width
        self.project = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})
        self.score = nn.Linear(width, 1, bias=False)
        self.head = nn.Linear(width, classes)

    def forward(self, features: dict[str, Tensor], *, mask: dict | None = None) -> Tensor:
        """The logits (B, classes); mask[name] is (B,) bool."""
        ### BEGIN SOLUTION
        there, parts = presence(self.project, features, mask), []
        for name, project in self.project.items():
            x = torch.where(there[name], features[name], 0.0)              # (B, D_m)
            parts.append(project(x).relu())                                # (B, width)
        parts = torch.stack(parts, dim=1)                                  # (B, M, width)
        kept = torch.cat([there[name] for name in self.project], dim=1)    # (B, M)
        weights = present_weights(self.score(parts).squeeze(-1), kept)     # (B, M)
        return self.head((weights[..., None] * parts).sum(dim=1))          # -> (B, classes)
        ### END SOLUTION

    def parameter_formula(self) -> int:
        """How many numbers the layer should learn, by its widths."""
        projections = sum((dim + 1) * self.width for dim in self.dims.values())
        return projections + self.width + (self.width + 1) * self.classes

# %% [markdown] hints="11.3"
# <details><summary>A question that helps</summary>
#
# Which line of `MeanFusion` keeps a NaN out of the gradient? Which of its lines does your weighted sum replace?
#
# </details>
# <details><summary>The idea in words</summary>
#
# For each name: choose between features and zeros with `torch.where`, project, ReLU, keep the part in a list. Stack the parts to `(B, M, width)`, put what is there side by side to `(B, M)`, get scores `(B, M)` and weights. Multiply, sum over the modalities, head.
#
# </details>
# <details><summary>If you see "gradient of project... nan"</summary>
#
# The result is right and the gradient is not: something was computed with what is missing, and chosen away afterwards. Put the zeros in before the projection.
#
# </details>

# %% [markdown]
# `check` compares your numbers with the course's. The contracts need no numbers to compare with: what do they say of your layer, and of one that you spoil by the fault of this page's beginning?

# %%
CarefulFusion = mine("11.3", CarefulFusion)

class Careless(CarefulFusion):
    def forward(self, features, *, mask=None):
        return super().forward(dict(zip(self.project, features.values())), mask=mask)

for kind in (CarefulFusion, Careless):
    broken = [one.number for one in check_contracts(kind) if one.kept is False]
    print(f"{kind.__name__} breaks", broken)

# %% [markdown]
# ### Where the contracts end
#
# They do not know what you *meant*. Two faults keep all eleven: a mean that divides by M, present or not, and a missing score of -100 (let all present scores be lower). Your exercises refuse both, because there somebody has said which numbers are right. Whether a formula is the right one, a worked example must say; whether a layer *did* learn its task, a loss beside a baseline and a control.

# %% tags=["proof"]
# The two layers, asked; and what -100 does to the weights.
class OverAll(MeanFusion):
    def forward(self, features, *, mask=None):
        there, total = presence(self.project, features, mask), 0.0
        for name, project in self.project.items():
            x = torch.where(there[name], features[name], 0.0)
            total = total + torch.where(there[name], project(x).relu(), 0.0)
        return self.head(total / len(self.project))

class MinusHundred(MeanFusion):
    def forward(self, features, *, mask=None):
        there = presence(self.project, features, mask)
        parts = [project(torch.where(there[name], features[name], 0.0)).relu()
                 for name, project in self.project.items()]
        parts, kept = torch.stack(parts, dim=1), torch.cat(list(there.values()), dim=1)
        weights = torch.where(kept, parts.mean(dim=2), -100.0).softmax(dim=1) * kept
        return self.head((weights[..., None] * parts).sum(dim=1))

for kind in (OverAll, MinusHundred):
    assert not [one.number for one in check_contracts(kind) if one.kept is False]
assert torch.tensor([-900.0, -100.0]).softmax(dim=0).tolist() == [0.0, 1.0]
print("both keep all contracts")

# %% [markdown]
# ## With the library
#
# Three of the eleven in plain PyTorch, for its bilinear layer: what moves, a batch of one, saved and loaded. In a project such lines stand in a test; here they are folded.

# %% tags=["proof"]
# Three contracts in plain PyTorch.
import torch as pt

layer, fresh = pt.nn.Bilinear(3, 2, 4), pt.nn.Bilinear(3, 2, 4)
text, image = pt.randn(5, 3), pt.randn(5, 2)
before = [p.detach().clone() for p in layer.parameters()]
optimizer = pt.optim.SGD(layer.parameters(), lr=0.1)
layer(text, image).square().mean().backward()
optimizer.step()
print("all move:", all((p != old).any() for p, old in zip(layer.parameters(), before)))
pt.testing.assert_close(layer(text[:1], image[:1]), layer(text, image)[:1])
fresh.load_state_dict(layer.state_dict())
pt.testing.assert_close(fresh(text, image), layer(text, image))

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **settle** what goes by place: turned in every batch nothing shows; turned at test time 12 % are left, and with a turned mask a guess, once something is missing;
# 2. **test** what moves in a step, and count: what is not registered is not even asked;
# 3. **measure** when a score shows a dead layer: behind frozen encoders, or if it is narrow; at width 64 behind trained ones hardly anything (1.5 ± 1.1 points in ten seeds);
# 4. **find** a late mask, two paths, an in-place change, a bare `squeeze()`;
# 5. **weigh** what is present: minus infinity before the softmax, an empty row apart;
# 6. **build** a layer that keeps eleven contracts, and say what they do not prove.
#
# ## Questions
#
# <details><summary>1. After <code>backward()</code> every tensor of your layer has a <code>.grad</code> that is not 0. Does the layer learn?</summary>
#
# Not necessarily. Autograd also fills the gradient of what is not registered, and the optimiser never moves that. Look whether it *changes* in a step.
#
# </details>
# <details><summary>2. Why does the shuffled control not find a dead layer?</summary>
#
# It asks whether the model uses the picture. With a dead layer it does: the encoders learned to use the layer's random projections, and pictures shuffled in training and test cost it eleven points, as they do the sound one.
#
# </details>
# <details><summary>3. Why is <code>x * mask</code> not the same as <code>torch.where(mask, x, 0)</code>?</summary>
#
# They differ where x is NaN or infinite: times 0, both are NaN, in the result and in the gradient. `where` does no arithmetic with what it leaves out.
#
# </details>
# <details><summary>4. With the whole page: a colleague's fused model has 86 %, the best single modality 77. Name three faults that its layer may have all the same, and the test for each.</summary>
#
# It may be dead (what moves, and count), go by place (features, or a mask, in another order of names), or lose rows with something missing (a NaN in a masked place, a row with nothing). On complete data in one order the score gives none of them away.
#
# </details>
# <details><summary>5. With the whole page: a layer keeps all eleven contracts. What do you still not know?</summary>
#
# Whether its formula is the one that was meant (dividing by M keeps them all), whether it can express the task (a sum cannot say XOR, page 10), and whether training found it.
#
# </details>
#
# ## Read more
#
# - Z. Liu and others, *Efficient Low-rank Multimodal Fusion with Modality-Specific Factors*, ACL 2018. The layer. Its authors' [own code](https://github.com/Justin1904/Low-rank-Multimodal-Fusion/blob/master/model.py) makes each factor an attribute, and moves the tensor *before* it becomes a parameter; the list is MultiBench's.
# - C. Zhang, S. Bengio, Y. Singer, *Are All Layers Created Equal?*, JMLR 2022. Trained networks in which some layers go back to their first numbers, and the score stays.
# - A. Rahimi, B. Recht, *Random Features for Large-Scale Kernel Machines*, NIPS 2007. Why random numbers with a trained head behind them can score well.
# - E. Breck and others, *The ML Test Score*, IEEE Big Data 2017. What else around a model can be tested.
#
# ## A bet for page 12
#
# A layer averages text and picture with two learned weights that sum to 1. The text alone is right more often than the picture. In front of the average each modality has a projection, trained along.
#
# *Ada says: the weights stay near a half, since the projections can do the weighting.* *Ben says: training gives the text clearly the larger weight.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("11.c", None)
guesses("11")
