# %% [markdown]
# # Two features, one decision: what do we lose by gluing them together?
#
# Concatenation is the simplest fusion there is, and often a good one. What does it cost when one modality is louder or wider than the other, and which questions can it not answer at all?
#
# *About {minutes} minutes. You need pages 00, 01 and 03: features, the shuffled control, masks, a network for pictures. Page 09 says what a tuned baseline is.*

# %% [markdown]
# ## In this notebook you will
#
# 1. glue a picture to a text, and mend two faults that raise no error;
# 2. build `ConcatFusion`: projection, normalisation, and nothing said for what is missing;
# 3. measure what a loud or a wide picture costs, and which remedy helps;
# 4. compute one number that shows whether a model lets its modalities interact;
# 5. train four models on a question that no sum can answer, and read that number off each;
# 6. if you like, set two hidden units by hand that answer it.

# %% tags=["measured", "imports"]
# Imports.
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from course_utils import plots
from course_utils.audio import band_features
from course_utils.datasets import Digits, Gates, collate
from course_utils.exercises import check, mine
from course_utils.fusion import ConcatFusion as CourseFusion
from course_utils.fusion import EarlyFusion, LateFusion
from course_utils.image import pixel_features
from course_utils.metrics import mean_interval, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.text import letter_features
from course_utils.training import Batches, evaluate, fit

# %% tags=["figure"]
# The four corners of "do they differ?", drawn.
figure, ax = plots.axes(width=4.2, height=3.6)
seed_everything(0)
for label, color, marker, bits in (
    (0, "control", "o", ((0, 0), (1, 1))),
    (1, "fused", "D", ((0, 1), (1, 0))),
):
    # (120, 2)
    clouds = torch.cat([torch.tensor(pair) + 0.12 * torch.randn(60, 2) for pair in bits])
    ax.scatter(*clouds.T, s=14, color=plots.COLORS[color], marker=marker, label=f"label {label}")
ax.set_xlabel("what the text says")
ax.set_ylabel("what the image says")
ax.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
plots.show(
    figure,
    "The label is 1 if text and image disagree. No straight line separates the two labels, "
    "and concatenation with a linear layer draws just straight lines.",
)

# %% [markdown]
# ## One vector out of two
#
# Page 00 put three vectors side by side, and gained 17 points. Here the picture is still a feature map, as a network of convolutions leaves it, and the text is a row of letters with a vector each. Page 03 has the picture's part: average each map over its places. Now glue.

# %%
seed_everything(0)
feature_map = torch.randn(4, 16, 6, 5)            # (B, channels, height, width)
letters = torch.randn(4, 5, 16)                   # (B, T, D)
image = feature_map.mean(dim=(2, 3))              # (4, 16, 6, 5) -> (4, 16)
print("picture", tuple(image.shape), "  letters", tuple(letters.shape))

# %% [markdown]
# The two do not fit side by side: one has an axis of time, the other has not. A new axis for the picture makes them fit, and no error tells that something else has been built.

# %% owes="L5" tags=["fault"]
glued = torch.cat([image[:, None], letters], dim=1)           # (4, 1, 16), (4, 5, 16)
print("one vector for each sample:", tuple(glued.shape) == (4, 32))

# %% [markdown] owes="F13"
# Axis 1 is *time*: the picture has become one more letter, `(4, 6, 16)`. **Intermediate fusion** (中间融合) wants one vector from each modality, joined along the *last* axis.

# %% owes="F56"
text = letters.mean(dim=1)                                    # (4, 5, 16) -> (4, 16)
glued = torch.cat([image, text], dim=-1)                      # (4, 16), (4, 16) -> (4, 32)
print("one vector for each sample:", tuple(glued.shape) == (4, 32))

# %% [markdown]
# ### A modality that is not there
#
# Put zeros in the place of a missing picture, and the layers behind speak for it all the same: a projection, and **layer normalisation** (层归一化), which takes the mean off each vector, divides by its spread, then scales and shifts each entry by numbers that it learns.

# %% tags=["fault"]
project, norm = nn.Linear(2, 4), nn.LayerNorm(4)
missing = torch.zeros(1, 2)                                   # the picture that is not there
said = norm(project(missing))                                 # (1, 2) -> (1, 4)
print("a missing picture says nothing:", bool((said == 0).all()))

# %%
present = torch.tensor([False])                               # (B,)
said = torch.where(present[:, None], norm(project(missing)), 0.0)   # (1, 4)
print("a missing picture says nothing:", bool((said == 0).all()))

# %% [markdown] owes="F17"
# The projection's bias was speaking, and normalisation made it as loud as a picture. So the zeros come *last*. And they are chosen, not multiplied: 0 times NaN is NaN (page 01). (The gradient multiplies too: to *train* with NaN, put zeros in before the projection as well.)
#
# > **Exercise 10.1 · ConcatFusion** — *12 minutes · core*
# >
# > Write the layer that this page runs on.
# >
# > - `dims` is `{name: D_m}`. Make three things under these names, which `check` fills: `self.project` and `self.norm`, each an `nn.ModuleDict` with a layer for each name, `nn.Linear(D_m, width)` and `nn.LayerNorm(width)`; and `self.head`, one `nn.Linear` from all widths to the classes.
# > - `features[name]` is `(B, D_m)`. Project it, then normalise it.
# > - `mask[name]` is `(B,)` bool, True where the modality is there. A name that is not in `mask` is there in every row. What is missing adds zeros to the glued vector, *whatever* stands in `features`.
# > - Join in the order of `dims`, whatever the order in `features`. Return logits `(B, classes)`.

# %% exercise="10.1"
class ConcatFusion(nn.Module):
    """Features side by side, then one linear layer: {name: (B, D_m)} -> logits (B, classes)."""

    def __init__(self, dims: dict[str, int], width: int, classes: int):
        """Makes `project`, `norm` and `head`; `super().__init__()` comes first."""
        ### BEGIN SOLUTION
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width) for name in dims})
        self.head = nn.Linear(len(dims) * width, classes)
        ### END SOLUTION

    def forward(self, features: dict[str, Tensor], mask: dict[str, Tensor]) -> Tensor:
        """The logits (B, classes); mask[name] is (B,) bool, and may leave names out."""
        ### BEGIN SOLUTION
        parts = []
        for name in self.project:
            part = self.norm[name](self.project[name](features[name]))   # (B, D_m) -> (B, width)
            if name in mask:
                part = torch.where(mask[name][:, None], part, 0.0)
            parts.append(part)
        return self.head(torch.cat(parts, dim=-1))             # (B, M * width) -> (B, classes)
        ### END SOLUTION

# %% [markdown] hints="10.1"
# <details><summary>A question that helps</summary>
#
# Which of the three steps (project, normalise, put zeros) can turn zeros into something else? What has to come after it?
#
# </details>
# <details><summary>The idea in words</summary>
#
# An `nn.ModuleDict` is made of a dict of layers, and keeps its order. Go through its names: project, normalise, and where the mask has that name, choose between the result and zero with `torch.where`. Collect the parts in a list and join them along the last axis.
#
# </details>
# <details><summary>If you see "Missing key(s)" or "Unexpected key(s)"</summary>
#
# The layers have other names than `project`, `norm` and `head`, or stand in a plain dict, where PyTorch does not find their weights.
#
# </details>
# <details><summary>If you see "The size of tensor a must match the size of tensor b"</summary>
#
# The mask is `(B,)` and lines up with the last axis. `mask[name][:, None]` is `(B, 1)`.
#
# </details>

# %%
ConcatFusion = mine("10.1", ConcatFusion)
seed_everything(0)
glue = ConcatFusion({"text": 3, "image": 2}, width=4, classes=2)
features = {"text": torch.ones(2, 3), "image": torch.full((2, 2), 5.0)}
logits = glue(features, {"image": torch.tensor([True, False])})               # (2, 2)
print("logits with and without the image:", logits.detach().double().round(decimals=3).tolist())

# %% [markdown] owes="F42 F70 L5"
# ### Two layers that are one
#
# A common mistake: behind the glue a "fusion layer" `nn.Linear(2 * D, D)`, then a "classifier" `nn.Linear(D, C)`, and no activation between them. The two are one linear map, of a rank no higher than D:
#
# $$ W_2\,(W_1 z + b_1) + b_2 = (W_2 W_1)\,z + (W_2 b_1 + b_2) \tag{10.1} $$
#
# An `nn.Embedding` with an `nn.Linear` behind it is one table in the same way. Here with numbers:

# %%
seed_everything(0)
z = torch.randn(5, 32, dtype=torch.float64)
first, second = nn.Linear(32, 16, dtype=torch.float64), nn.Linear(16, 40, dtype=torch.float64)
W = second.weight @ first.weight                              # (40, 16) @ (16, 32) -> (40, 32)
b = second.weight @ first.bias + second.bias                  # (40,)
verify("10.1", by_hand=z @ W.T + b, reference=second(first(z)))

# %% [markdown] owes="F132 L20"
# ## Loud and wide
#
# Flatten 64 maps of 52 x 52 places, and the picture has 173,056 numbers; put them beside the 64 of an LSTM that has read the text. We ask `digits`: the typed word and the picture, glued, then one linear layer. The picture comes in three ways:
#
# - **as it comes**: 256 pixels between 0 and 1;
# - **loud**: the same, counted from 0 to 255;
# - **wide**: ten copies side by side, 2,560 numbers and nothing new in them.
#
# There are two remedies: `LayerNorm`, which makes all modalities equally loud, and `projection` of each to 64 numbers. Yours has both. A stored sweep has neither, each and both, for 10 and for 60 epochs, with the learning rate that is best on the validation set.

# %% tags=["measured", "proof"]
# Data as vectors, the ways the picture comes, the package's layer with each remedy.
SPLITS, WIDTHS = ("train", "validation", "test"), {"text": 78, "image": 256}
EXTRACT = {"text": lambda batch: letter_features(batch["text"], batch["mask"]["text"]),
           "image": lambda batch: pixel_features(batch["image"]),
           "audio": lambda batch: band_features(batch["audio"], batch["mask"]["audio"])}
WAYS = {"as it comes": lambda x: x, "loud": lambda x: 255 * x, "wide": lambda x: x.repeat(1, 10)}
REMEDIES = {"nothing": {}, "LayerNorm": {"normalise": True}, "projection": {"width": 64},
            "both": {"normalise": True, "width": 64}}

def load(split, seed, names=("text", "image"), **dials):
    """The named modalities of a split of `digits` as vectors, with labels: one row a sample."""
    batches = DataLoader(Digits(split, seed=seed, **dials), batch_size=256, collate_fn=collate)
    parts = [{name: EXTRACT[name](batch) for name in names} | {"label": batch["label"]}
             for batch in batches]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

def changed(data, way):
    return {split: part | {"image": WAYS[way](part["image"])} for split, part in data.items()}

def with_remedy(names, way, remedy):
    dims = {name: WIDTHS[name] for name in names}
    dims |= {"image": 2560} if way == "wide" and "image" in names else {}
    return CourseFusion(dims, 10, **REMEDIES[remedy])

# %% tags=["measured", "proof"]
# The loop: any layer from features by name to logits, trained and tested.
class Model(nn.Module):
    """A fusion layer for `fit` and `evaluate`: batch -> logits (B, C)."""

    def __init__(self, fusion):
        super().__init__()
        self.fusion, self.names = fusion, getattr(fusion, "names", ("text", "image"))

    def forward(self, batch):
        return self.fusion({name: batch[name] for name in self.names}, mask={})

def train(make, data, seed, epochs, lr, wrap=Model):
    """`make()` after seeding, trained; its best epoch on the validation set."""
    generator = seed_everything(seed)
    model = wrap(make())
    fit(model, Batches(data["train"], 128, generator), Batches(data["validation"], 2048),
        epochs=epochs, lr=lr, weight_decay=0.1)
    return model

def score(model, data):
    return evaluate(model, Batches(data["test"], 4096))

# %% [markdown]
# Alone, the text has 77 % and the picture 64; glued as they come they have 85, with ten epochs each. Now the pixels from 0 to 255, everything else as it was. How much do both together have? In percent, to within 5.

# %%
guess("10.a", None, sure=0.5)

# %%
sweep = stored("10", "imbalance")                              # python tools/sweep.py 10 imbalance
right = {name: percent(row["accuracy"]) for name, row in sweep.items()}
print("text + image, test accuracy in %\n" + " " * 18 + "".join(f"{name:>12}" for name in REMEDIES))
for epochs in (10, 60):
    for way in WAYS:
        rows = [f"text + image, {way}, {remedy}, {epochs} epochs" for remedy in REMEDIES]
        print(f"{epochs} ep., {way:11}" + "".join(f"{right[row]:>12}" for row in rows))
print("text alone, 10 epochs   ", right["text, as it comes, nothing, 10 epochs"])
print("  page 09's, tuned       ", percent(stored("09", "baselines")["text"]["accuracy"]))
print("picture alone           ", right["image, as it comes, nothing, 10 epochs"])
print("both, picture shuffled  ", right["text + image, as it comes, both, 10 epochs, shuffled"])
outcome("10.a", 58, within=5)

# %% [markdown]
# Glued as it comes, the picture adds eight points to the text. Loud, both together have 58 %, wide 69: less than the text alone.
#
# - **LayerNorm** gives the same vector for x and for 255 x, so loudness is gone. Against width it is worth seven points.
# - **Projection** is worth 17 against width. Against loudness it does nothing in ten epochs that five seeds show.
# - **Time** mends a part: after 60 epochs the wide glue has 77, the projected loud one 82. The loud glue without a remedy still has 60.
# - **Both** have 88 in all six rows, and with the pictures shuffled among the samples 76, no more than the text.
#
# A folded cell runs your layer once, on the loud picture, beside the stored run of the package.

# %% tags=["proof"]
# One run with `ConcatFusion` on the loud picture, beside the stored one of the package.
data = changed({split: load(split, seed=0) for split in SPLITS}, "loud")
row = sweep["text + image, loud, both, 10 epochs"]
model = train(lambda: ConcatFusion(WIDTHS, 64, 10), data, seed=0, epochs=10, lr=row["lr"])
live = score(model, data).accuracy
report("ConcatFusion, loud picture: live minus stored", live - row["accuracy"][0], 0, within=0.03)

# %% [markdown]
# ## What a sum cannot say
#
# With a linear head the logits are a sum, $f(a, b) = W_a a + W_b b + c$: a part of the text, a part of the picture. Take two texts and two pictures, and the four combinations. Here are such logits of one class, and the effect of the text, once with each picture.

# %%
text_part, image_part = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
table = text_part[:, None] + image_part                       # (2, 1) + (2,) -> (2, 2)
print("first text :", table[0].tolist())
print("second text:", table[1].tolist())
print("what changing the text does, with each picture:", (table[1] - table[0]).tolist())

# %% [markdown]
# The effect is the same, -3, whatever the picture. The difference of the two effects is the **interaction** (交互),
# $f(a, b) - f(a', b) - f(a, b') + f(a', b')$. In a sum it is zero for *all* texts and pictures: each part stands in it once with a plus and once with a minus.
#
# > **Exercise 10.2 · Four points, one number** — *5 minutes · core*
# >
# > Given a model's logits at the four combinations of two texts and two pictures, return the interaction.
# >
# > - `logits` is `(2, 2, C)`: entry `[i, j]` holds the logits of text i with picture j.
# > - Return `(C,)`, the interaction in each class: of the logits, not of probabilities.

# %% exercise="10.2"
def four_point(logits: Tensor) -> Tensor:
    """The interaction of text and image at four points: (2, 2, C) logits -> (C,).

    Example: logits [[[1.0], [2.0]], [[5.0], [6.0]]] are a sum of a text's and an image's part,
    so the answer is [0.0].
    """
    ### BEGIN SOLUTION
    return logits[0, 0] - logits[1, 0] - logits[0, 1] + logits[1, 1]
    ### END SOLUTION

# %% [markdown] hints="10.2"
# <details><summary>A question that helps</summary>
#
# How much does the logit change when only the text changes, once with the first picture, once with the second?
#
# </details>
# <details><summary>The idea in words</summary>
#
# A difference of differences. Two of the four entries come with a plus, the two on the diagonal.
#
# </details>
# <details><summary>If you see "one axis of length 2 is left"</summary>
#
# Both axes of length 2 have to go. Pick entries by two numbers, `logits[0, 1]`, which leaves the classes.
#
# </details>

# %%
four_point = mine("10.2", four_point)
print("of the sum above:", four_point(table[..., None]).tolist())
xor = torch.tensor([[[-1.0], [1.0]], [[1.0], [-1.0]]])        # positive where the two differ
print("of 'do they differ?':", four_point(xor).tolist())

# %% [markdown]
# "Do they differ?" wants positive logits at (0, 1) and (1, 0), negative ones at (0, 0) and (1, 1): an interaction of -4 here, and in any case below zero. A sum has zero. No weights can do it, and no training.
#
# ### Trained
#
# The world `Gates("xor")` hides one bit in each of two vectors. The label is 1 if the bits differ, and a tenth of the labels is flipped, so that the best possible rule has just below 90 %, its **ceiling** (上限). Four models:
#
# - **concat**: your `ConcatFusion`.
# - **concat, hidden**: the same with a hidden layer behind it.
# - **early**: **early fusion** (早期融合) glues the raw inputs, and one network takes it from there.
# - **late, hidden**: **late fusion** (晚期融合), a network with a hidden layer for each modality, and the mean of their logits.
#
# One of the three that are *not* linear fails all the same. Which: "hidden", "early" or "late"?

# %%
guess("10.b", None, sure=0.5)

# %%
world, dims = Gates("xor"), {"text": 8, "image": 8}
gates = {"train": world.sample(2000, seed=1), "validation": world.sample(1000, seed=2),
         "test": world.sample(4000, seed=3)}

class WithHidden(nn.Module):
    """Your layer with 32 hidden units for classes, a ReLU, and one more linear layer."""

    def __init__(self, dims, classes):
        super().__init__()
        self.glue, self.last = ConcatFusion(dims, 32, 32), nn.Linear(32, classes)

    def forward(self, features, mask):
        return self.last(self.glue(features, mask).relu())            # (B, 32) -> (B, classes)

# %%
MODELS = {"concat": lambda: ConcatFusion(dims, 32, 2),
          "concat, hidden": lambda: WithHidden(dims, 2),
          "early": lambda: EarlyFusion(dims, 2),
          "late, hidden": lambda: LateFusion(dims, 2, hidden=32)}
trained, xor_results = {}, {}
for name, make in MODELS.items():
    trained[name] = [train(make, gates, seed, epochs=20, lr=1e-2) for seed in range(5)]
    xor_results[name] = [score(one, gates) for one in trained[name]]
for name, near in (("concat", 0.695), ("concat, hidden", 0.36), ("early", 0.36),
                   ("late, hidden", 0.695)):
    losses = [one.loss for one in xor_results[name]]
    report(f"{name}, cross-entropy", sum(losses) / 5, near, within=0.02)
outcome("09.c", "Ben")                                         # a coin has ln 2 = 0.693

# %% tags=["figure"]
# Accuracies of the four, with the ceiling.
outcome("10.b", "late")
plots.bars(
    {name: mean_interval([100 * one.accuracy for one in results])
     for name, results in xor_results.items()},
    label="test accuracy (%)",
    chance=50,
    ceiling=100 * world.ceiling(),
    caption="XOR: a hidden layer behind the glue, or an early network, gets near the ceiling. A sum"
    " stays at chance, and so does late fusion, whatever stands in its branches.",
)

# %% [markdown]
# Late fusion is not linear, but it is a sum: each branch bends its own modality as it likes, and then they are averaged. Your number sees it. It takes the test set's texts and pictures in pairs, two of each.

# %%
@torch.no_grad()
def interaction(model, part):
    """The mean size of the interaction over pairs of texts and of images, in logits."""
    halves = {name: part[name].chunk(2) for name in ("text", "image")}        # 2 x (N/2, D)
    corners = [[model({"text": text, "image": image}).flatten() for image in halves["image"]]
               for text in halves["text"]]
    logits = torch.stack([torch.stack(row) for row in corners])               # (2, 2, N/2 * C)
    return four_point(logits).abs().mean().item()

for name, models in trained.items():
    size = sum(interaction(model, gates["test"]) for model in models) / 5
    print(f"{name:15} interaction {'none' if size < 1e-4 else 'yes'}")

# %% [markdown] owes="F71 F133"
# A coin has a cross-entropy of $\ln 2 = 0.693$, and there the two sums sit: they have learned to say nothing. (A sum *could* be right at three of the four corners, 70 % with the flips. Cross-entropy punishes the fourth corner more than it rewards that.)
#
# ## Is this the same digit?
#
# "Do these two fit?" is a question of this kind. Take a picture of `digits` and a typed word, both clean: do they mean the same digit? Half of the pairs do. By construction the picture alone tells nothing, nor does the word.

# %% tags=["measured", "proof"]
# Pairs with their label, and the ways to glue them.
def pairs(split, seed, other="text", **dials):
    """A picture and a word that mean the same digit (label 1) or two different ones (label 0),
    half and half.
    """
    part = load(split, seed, ("image", other), image_noise=0, text_error=0, **dials)
    generator = torch.Generator().manual_seed(seed)
    same = torch.rand(len(part["label"]), generator=generator) < 0.5
    # (B, B): which words would fit
    equal = part["label"][:, None] == part["label"]
    partner = torch.multinomial(
        torch.where(same[:, None], equal, ~equal).double(), 1, generator=generator
    )[:, 0]
    digits = {"shown": part["label"], "named": part["label"][partner]}
    return {other: part[other][partner], "image": part["image"], "label": same.long()} | digits


GLUES = {"late, hidden": lambda dims: LateFusion(dims, 2, normalise=True, hidden=64),
         "concat": lambda dims: CourseFusion(dims, 2, normalise=True),
         "concat, hidden": lambda dims: CourseFusion(dims, 2, normalise=True, hidden=64)}

# %%
fits = {split: pairs(split, seed=0) for split in SPLITS}
pair_models = [train(lambda: WithHidden(WIDTHS, 2), fits, seed, epochs=20, lr=3e-3)
               for seed in range(3)]
accuracies = [score(model, fits).accuracy for model in pair_models]
report("ConcatFusion with a hidden layer, three runs", sum(accuracies) / 3, near=0.90, within=0.03)

# %% tags=["figure"]
# The stored comparison: every way to glue, each modality alone, the control.
compared = {name: mean_interval([100 * value for value in row["accuracy"]])
            for name, row in stored("10", "fits").items()}
order = ["text alone, hidden", "image alone, hidden", "late, hidden", "concat", "concat, hidden",
         "concat, hidden, shuffled"]
plots.bars(
    {name: compared[name] for name in order},
    label="test accuracy (%)",
    chance=50,
    caption="Do picture and word mean the same digit? The package's glue, unprojected, 64 hidden"
    " units, five seeds. Only a hidden layer behind the glue can tell; with the words shuffled it"
    " cannot.",
)

# %% [markdown]
# The answer lies in neither modality, only between them. Information of this kind is called **synergy** (协同). On page 00 each modality had evidence of its own about the digit, and such evidence adds up: page 00's best rule, the product, is a sum too, of log-probabilities.
#
# Five pairs of the test set, and what all three runs say of them. The last is wrong:

# %%
test_pairs = fits["test"]
with torch.no_grad():
    said = torch.stack([model(test_pairs).softmax(-1)[:, 1] for model in pair_models])  # (3, N)
lowest, highest = said.min(dim=0).values, said.max(dim=0).values
PLACES = [0, 1, 4, 7, 28]
for i in PLACES:
    verdict = "the same" if lowest[i] > 0.7 else "different" if highest[i] < 0.3 else "?"
    shown, named = test_pairs["shown"][i].item(), test_pairs["named"][i].item()
    print(f"picture of {shown}, word for {named}: said {verdict}")

# %% [markdown]
# ## More: two hidden units are enough
#
# Let text and image each say -1 or +1, or any size with either sign. One hidden layer of two units gives the logit
#
# $$ v^\top \operatorname{relu}(W x + b) + c, \qquad x = (\text{text}, \text{image}) \tag{10.2} $$
#
# > **Exercise 10.3 · Two units by hand** — *7 minutes · stretch*
# >
# > Text and image each are `size` or `-size`. Return `W (2, 2)`, `b (2,)`, `v (2,)` and `c`, one number, so that the logit (10.2) is above 0 where the two differ and below 0 where they agree.
# >
# > - Many answers are right; begin with size 1.

# %% exercise="10.3"
def two_units(size: float) -> tuple[Tensor, Tensor, Tensor, float]:
    """W (2, 2), b (2,), v (2,), c of two hidden units that tell whether two signs differ.

    Example: W all 0, b = [1., 1.], v = [1., 1.], c = -3. gives -1 at every corner, right at two.
    """
    ### BEGIN SOLUTION
    W = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])   # how far text is above image, and the reverse
    return W / size, torch.zeros(2), torch.ones(2), -1.0
    ### END SOLUTION

# %% [markdown] hints="10.3"
# <details><summary>A question that helps</summary>
#
# Which sum of text and image, with signs, is largest at (1, -1), and which at (-1, 1)? What is left of it behind a ReLU at the other corners?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Each unit watches for one of the two corners where they differ: it is above zero there and zero elsewhere. Add the two, and take off something smaller than what they give.
#
# </details>
# <details><summary>If a corner where they agree comes out at exactly 0</summary>
#
# Then nothing is decided there. That is what `c` is for.
#
# </details>

# %%
two_units = mine("10.3", two_units)
W1, b1, v, c = two_units(size=1.0)

def by_hand(x):
    """(10.2) for signs x (..., 2) -> (...)."""
    return (x @ W1.T.to(x) + b1.to(x)).relu() @ v.to(x) + c

signs = torch.tensor([[[-1.0, -1.0], [-1.0, 1.0]], [[1.0, -1.0], [1.0, 1.0]]])   # (2, 2, 2)
print("logit above 0:", (by_hand(signs) > 0).tolist())
print("interaction below 0:", four_point(by_hand(signs)[..., None]).item() < 0)

# %% tags=["figure"]
# Two sums and the two units in the plane; (10.2) against PyTorch's layers.
def draw_corners(ax, logit, title):
    """Colour the plane by the sign of the logit, mark the four corners; how many are right."""
    side = torch.linspace(-2, 2, 161)
    x = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)          # (161, 161, 2)
    colors = [plots.COLORS["control"], plots.COLORS["fused"]]
    ax.contourf(side, side, logit(x).detach(), levels=[-99, 0, 99], colors=colors, alpha=0.3)
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])    # (4, 2)
    differ = corners.prod(dim=1) < 0                                            # (4,)
    right = int(((logit(corners) > 0) == differ).sum())
    for corner, odd in zip(corners, differ.int()):
        ax.scatter(*corner, s=90, color=colors[odd], marker="oD"[odd], edgecolor="black")
    ax.set_title(f"{title}: {right} of 4", fontsize=9)
    ax.set_xlabel("text")

figure, panels = plots.axes(width=7.2, height=2.7, columns=3, sharey=True)
draw_corners(panels[0], lambda x: x[..., 0] + 0.5 * x[..., 1], "a sum")
draw_corners(panels[1], lambda x: -1 + 0.7 * (x[..., 1] - x[..., 0]), "a sum with a bias")
draw_corners(panels[2], by_hand, "two hidden units")
panels[0].set_ylabel("image")
hidden = F.linear(signs.double(), W1.double(), b1.double()).relu()             # (2, 2, 2)
verify("10.2", by_hand(signs.double()), F.linear(hidden, v.double()[None]).squeeze(-1) + c)
plots.show(figure, "Diamonds should lie on purple, circles on gray. A line gets two or three right,"
           " two hidden units all four.")

# %% [markdown] owes="F8 F108 F135"
# ## Trained end to end
#
# **End to end** (端到端) means that the loss moves everything, the extractors too: a network for the picture, an embedding and a masked mean for the letters, the glue with a hidden layer. Any object is recognised so from picture and words; a video's frames go through the same network one by one (page 06). Two networks for the picture, both with one mean over all places: two convolutions, and page 03's three.

# %% tags=["measured", "proof"]
# The model end to end: a network, a table of letters, the package's layer.
class EndToEnd(nn.Module):
    """Pictures and letters to logits (B, 10), by a network, a table and the package's layer."""

    def __init__(self, network):                # (B, 1, 16, 16) -> (B, 32)
        super().__init__()
        self.network, self.letters = network, nn.Embedding(27, 16, padding_idx=0)
        self.fusion = CourseFusion({"text": 16, "image": 32}, 10, hidden=64, normalise=True)

    def forward(self, batch):
        features = {"text": self.letters(batch["text"]), "image": self.network(batch["image"])}
        mask = {"text": batch["letters_there"], "image": batch["image_there"]}   # (B, T), (B,)
        return self.fusion(features, mask=mask)

# %%
joint = stored("10", "end_to_end")                             # python tools/sweep.py 10 end_to_end
for name, row in joint.items():
    print(f"{name:26} {percent(row['accuracy'])} %")

# %% [markdown] owes="F12 F73 F177 L20 P9"
# Behind two convolutions one mean leaves the picture 28 %, and it adds three points to the text. Behind page 03's three it has 58 and adds more than twelve. So it is not the mean as such.
#
# <details><summary>What it is</summary>
#
# Page 03 takes the difference apart, on the same pictures and networks, each with a linear head of its own (31 and 51 %): a third layer with its pooling gives one mean 16 points more; batch norm and a wider view give nothing that five seeds show.
#
# </details>
#
# ## Early, intermediate, late
#
# | | glues | then | can modalities interact? | a missing modality |
# |---|---|---|---|---|
# | **early** | raw inputs | one encoder for everything | yes, from the first layer on | zeros that look like real ones |
# | **intermediate**, linear head | features | one linear layer | no: a sum | adds nothing |
# | **intermediate**, hidden layer | features | a small network | yes | a block of zeros, which it has to learn |
# | **late**, averaged | decisions | an average | no: a sum, however deep the branches | left out of the average |
#
# In page 00's symbols: early fusion is $z = f(x^{\text{text}}, x^{\text{image}})$, one extractor for both raw inputs; the others are $g(f_{\text{text}}(x^{\text{text}}), f_{\text{image}}(x^{\text{image}}))$, on features or on decisions.
#
# <details><summary>If you come from Keras</summary>
#
# `layers.Concatenate()([a, b])` is `torch.cat([a, b], dim=-1)`. `Dense(128)` infers its inputs, `nn.Linear(in, 128)` wants them named. Images are `(B, H, W, C)` there and `(B, C, H, W)` here, so "the last axis" is another one. `Embedding(mask_zero=True)` hands its mask on by itself, here you carry it. `validation_split=0.2` takes the *last* fifth of the data before shuffling, which is one class alone if the files were sorted.
#
# </details>
#
# ## With the library
#
# The glue is `torch.cat([text, image], dim=-1)`, and behind it `nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))`: a folded cell learns XOR with these two lines of plain PyTorch. Take the hidden layer out, and the loss stays at 0.69; how many are right is then luck.

# %% tags=["proof"]
# XOR in plain PyTorch.
import torch as pt

pt.manual_seed(0)
said_text, said_image = pt.randint(0, 2, (2, 512, 1)).float()            # 2 x (512, 1)
side_by_side = pt.cat([said_text, said_image], dim=-1)                   # (512, 2)
differ = (said_text != said_image).float()                               # (512, 1)
xor_net = pt.nn.Sequential(pt.nn.Linear(2, 16), pt.nn.ReLU(), pt.nn.Linear(16, 1))
optimizer = pt.optim.Adam(xor_net.parameters(), lr=0.05)
for _ in range(200):
    optimizer.zero_grad()
    loss = pt.nn.functional.binary_cross_entropy_with_logits(xor_net(side_by_side), differ)
    loss.backward()
    optimizer.step()
share = ((xor_net(side_by_side) > 0) == differ.bool()).float().mean().item()
print(f"XOR in plain PyTorch, loss below 0.1: {loss.item() < 0.1}, right: {share}")

# %% [markdown]
# ## On real data
#
# The same question for 5,000 of MNIST's 10,000 test images (its training set is not used): with the typed word, and with a *recording* of the Free Spoken Digit Dataset, in which three people train and two others test. Five seeds, stored.

# %% tags=["proof"]
# The real pairs: means of five seeds, and the ends of the voices.
real = stored("10", "fits_real")
rows = [real[f"image + {name}"]["accuracy"]
        for name in ("text: late, hidden", "text: concat, hidden", "audio: concat, hidden")]
late, word, voice = [100 * sum(row) / len(row) for row in rows]
print(f"word: a sum {late:.0f} %, a hidden layer {word:.0f} %; voice: a hidden layer {voice:.0f} %"
      f" ({100 * min(rows[2]):.0f} to {100 * max(rows[2]):.0f})")

# %% [markdown]
# With the word, a hidden layer gets 94 %, a sum stays at chance. With voices the hidden layer gets about 62 %, from 51 to 70 by seed. A layer that *can* express an interaction does not therefore find it.

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **glue** along the last axis, one vector from each modality;
# 2. **build** ConcatFusion; what is missing is set to zero last, and chosen, not multiplied;
# 3. **balance**: normalise against loudness, project against width; with both, 58 and 69 % became 88;
# 4. **compute** the interaction at four points, of logits;
# 5. **tell** a sum from the rest: concatenation with a linear head and late fusion have none, and stay at chance on XOR;
# 6. **set** (More) two hidden units that answer it.
#
# ## Questions
#
# <details><summary>1. Two linear layers in a row have 20 times as many weights as one. Can they represent more?</summary>
#
# No. Their product is one linear map, of a rank no higher than the width between them.
#
# </details>
# <details><summary>2. Why must the interaction be computed from logits?</summary>
#
# The softmax bends a sum: probabilities of an additive model show differences of differences that come from the bend.
#
# </details>
# <details><summary>3. A missing picture comes as zeros, without a mask. Name two places on this page where it speaks all the same.</summary>
#
# The bias of its projection, and the shift of its normalisation. With early fusion it speaks in a third way: the encoder takes it for a black picture.
#
# </details>
# <details><summary>4. With the whole page: your fused model is worse than its better half. What do you look at, in which order?</summary>
#
# Shapes: was something glued along time? Scale and width of each modality: normalise, project. The budget: does it still improve with more epochs? The mask: do missing ones speak? Then the shuffled control.
#
# </details>
# <details><summary>5. With the whole page: "Does this caption describe that photograph?" Somebody glues both vectors and trains one linear layer. What do you say before it runs?</summary>
#
# The label is a question of fit, so a sum stays at chance if photographs and captions occur equally often in both classes. If it is above chance, the classes differ in one modality alone: look for that fault in the data. Then put a hidden layer behind the glue.
#
# </details>
#
# ## Read more
#
# - J. Ngiam and others, *Multimodal Deep Learning*, ICML 2011. A shared layer on concatenated features.
# - C. Snoek, M. Worring, A. Smeulders, *Early versus Late Fusion in Semantic Video Analysis*, ACM Multimedia 2005. The two names, compared on video.
# - J. L. Ba, J. R. Kiros, G. E. Hinton, *Layer Normalization*, 2016 (arXiv:1607.06450). The remedy for loudness.
# - P. Williams, R. Beer, *Nonnegative Decomposition of Multivariate Information*, 2010 (arXiv:1004.2515). Where synergy got its number.
# - J. Hessel, L. Lee, *Does my multimodal model learn cross-modal interactions? It's harder to tell than you might think!*, EMNLP 2020. The best sum in place of a trained model: a test of what its interactions are worth.
#
# ## A bet for page 11
#
# Somebody's fusion layer runs, trains and scores well. But it takes the picture's features where it should take the text's, and the text's where the picture's belong, in every batch alike.
#
# *Ada says: its accuracy will be clearly worse, one notices.* *Ben says: nothing shows; it learns the other way round.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("10.c", None)
guesses("10")
