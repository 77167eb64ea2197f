# %% [markdown]
# # Who should look at whom?
#
# A question asks about one thing in a picture. Cross-attention lets each word of it look at all places of the picture, and take what it needs. Where do the words look, is it where they should, and does it matter?
#
# *About {minutes} minutes. You need pages 10, 13 and 14: sums and XOR; a product, number by number; query, key, value and a mask.*

# %% [markdown]
# ## In this notebook you will
#
# 1. settle the bet of page 14: weights over two modality vectors, and XOR;
# 2. build cross-attention with a mask and a null key;
# 3. mend a query that does not matter, and compare what each way costs;
# 4. train a model whose words look at a picture, and score where they look;
# 5. take away what they look at;
# 6. read where attention gains nothing.

# %% tags=["measured", "imports"]
# Imports.
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import plots
from course_utils.datasets import Gates, Scenes
from course_utils.datasets.scene_words import ATTRIBUTES, KINDS
from course_utils.exercises import check, mine
from course_utils.fusion import STRATEGIES
from course_utils.masks import masked_mean
from course_utils.metrics import percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.training import Batches, evaluate, fit

# %% [markdown] owes="F64 F65 P7"
# ## The bet of page 14
#
# Attention weighs items by their content. Let the items be n parts $F_i$ of a picture and m parts $T_j$ of a text, all of one width, each with a score of its own. The result is $Z = \sum_i \alpha_i F_i + \sum_j \beta_j T_j$, and the weights are a softmax of the scores.
#
# One softmax over all n + m lets the two compete. (With one softmax for each modality, n = m = 1 would leave both weights at 1.) With n = m = 1 it is **attention over modalities** (模态注意力), and a linear head reads Z. Does this solve XOR, page 10's question whether two bits differ? Ada: it stops at 70 %. Ben: yes, since the weights depend on the content. A tenth of the labels is flipped, so 90 % is the ceiling.

# %% owes="F17"
class WeighFusion(nn.Module):
    """A score for each modality from its content, one softmax, a weighted sum, a head."""
    def __init__(self, head, width=32):
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(8, width) for name in ("text", "image")})
        self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
        self.head = head
    def forward(self, batch):
        items = [project(batch[name]) for name, project in self.project.items()]
        items = torch.stack(items, dim=1)                           # (B, M, width)
        weights = self.score(items).softmax(dim=1)                  # (B, M, 1)
        return self.head((weights * items).sum(dim=1))              # (B, width) -> (B, 2)

# %% tags=["proof"]
# 2,000 samples of XOR, and the training.
world = Gates("xor")
gates = {"train": world.sample(2000, seed=1), "validation": world.sample(1000, seed=2),
         "test": world.sample(4000, seed=3)}

def learn(head, seed):
    generator, model = seed_everything(seed), WeighFusion(head())
    fit(model, Batches(gates["train"], 64, generator), Batches(gates["validation"], 1000),
        epochs=30, lr=1e-2)
    return evaluate(model, Batches(gates["test"], 4000)).accuracy

# %%
HEADS = {"linear": lambda: nn.Linear(32, 2),
         "hidden": lambda: nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))}
for (name, head), near in zip(HEADS.items(), (0.70, 0.89)):
    runs = [learn(head, seed) for seed in range(5)]
    report(f"{name} head, mean of five seeds", sum(runs) / 5, near=near, within=0.02)
outcome("14.d", "Ada")

# %% [markdown]
# Ada wins: 70 %, and so have the five stored runs of the package's `AttentionPoolFusion`. Why just there? Call the sum of the exponentials $S$. The weights sum to 1, so the head's bias may be taken along with each item:
#
# $$ W \sum_m \frac{e^{s_m}}{S} h_m + b = \frac{1}{S} \sum_m e^{s_m} (W h_m + b) \tag{15.1} $$
#
# The two classes share the same $S > 0$, and dividing by it changes no order: the *decision* is that of the sum on the right, in which each term knows one modality only. Page 10 showed that a sum is right at three of XOR's four corners at most. That is .75 · .9 + .25 · .1 = .70.
#
# Only the head must change: with a hidden layer in it, and all else alike, the same way of weighing leads to 89 %.

# %% tags=["proof"]
# (15.1) on random numbers, the decisions of both sides, and the package's stored runs.
seed_everything(0)
items, s = torch.randn(2000, 2, 8).double(), torch.randn(2000, 2, 1).double()     # M = 2
head, powers = nn.Linear(8, 3, dtype=torch.float64), s.exp()
logits = head((s.softmax(dim=1) * items).sum(dim=1)).detach()
additive = (powers * head(items)).sum(dim=1).detach()
verify("15.1", by_hand=additive / powers.sum(dim=1), reference=logits)
assert torch.equal(additive.argmax(dim=1), logits.argmax(dim=1))                  # 2,000 of 2,000
kept = stored("19", "fusion_gates")["xor: attention_pool"]["accuracy"]
assert all(0.69 < accuracy < 0.71 for accuracy in kept)

# %% [markdown] owes="F6 F13 F14 F66 P17"
# ## Words ask regions
#
# In that sum an item's score knows nothing of the other modality. In **cross-attention** (交叉注意力) it does: the items of one modality give the queries, those of the other keys and values. With width $D$:
#
# $$ \text{found} = \operatorname{softmax}\!\left(\frac{Q\,[K; k_0]^\top}{\sqrt D}\right) [V; v_0], \qquad Q = X W_Q,\ K = Y W_K,\ V = Y W_V \tag{15.2} $$
#
# $X$ and $Y$ may have any widths: the learned matrices bring both to $D$. The softmax goes along the keys, and masked keys have minus infinity for a score. The **null key** (空键) $k_0$ with its value $v_0$ is one more place, learned and never masked. There a query can look at nothing, and when *everything* else is masked the softmax still has one finite score.
#
# One query by loop, D = 1. Three regions, of which the third is not there; the null key is 0, so its score is 0.

# %%
query, keys, values = 2.0, [1.0, 0.0, 5.0], [10.0, 20.0, 30.0]
there, null_value = [True, True, False], 40.0
powers_of = [math.exp(query * key) if here else 0.0 for key, here in zip(keys, there)]
powers_of.append(math.exp(0.0))                                  # null is always there
small_weights = [power / sum(powers_of) for power in powers_of]
found_here = sum(w * v for w, v in zip(small_weights, [*values, null_value]))
print("exponentials", [round(power, 2) for power in powers_of])
print("weights     ", [round(w, 2) for w in small_weights], " found", round(found_here, 1))

# %% [markdown]
# $e^2 = 7.39$ beside two ones: 0.79, 0.11, 0, 0.11. The third region has the largest key and no weight.
#
# > **Exercise 15.1 · Cross-attention with a mask and a null key** — *12 minutes · core*
# >
# > - `queries` `(B, T, D)`, `keys` `(B, S, D)`, `values` `(B, S, E)`; `mask` `(B, S)` bool, True for what is there; `null_key` `(D,)`, `null_value` `(E,)`.
# > - Return what each query finds, `(B, T, E)`, and the weights, `(B, T, S + 1)`, null last.
# > - Masked keys get weight 0; each query's weights sum to 1.
# > - Where all keys of a row are masked, its queries find `null_value`.
# > - What stands in a masked *value* never matters, not even NaN.
# > - Scores may be far below zero: -20,000.

# %% exercise="15.1"
def cross_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor,
    null_key: Tensor, null_value: Tensor,
) -> tuple[Tensor, Tensor]:
    """What each query finds (B, T, E), and its weights (B, T, S + 1), null last.

    Example: one query 1, one key 1 with value 3, a null key 0 with value 9: the weights are
    [0.73, 0.27], and it finds 4.61.
    """
    ### BEGIN SOLUTION
    B, S, D = keys.shape
    values = torch.where(mask[..., None], values, 0.0)
    keys = torch.cat([keys, null_key.expand(B, 1, D)], dim=1)                  # (B, S + 1, D)
    values = torch.cat([values, null_value.expand(B, 1, -1)], dim=1)           # (B, S + 1, E)
    kept = F.pad(mask, (0, 1), value=True)                                     # (B, S + 1)
    scores = queries @ keys.transpose(1, 2) / math.sqrt(D)                     # (B, T, S + 1)
    weights = scores.masked_fill(~kept[:, None], -torch.inf).softmax(dim=-1)
    return weights @ values, weights
    ### END SOLUTION

# %% [markdown] hints="15.1"
# <details><summary>A question that helps</summary>
#
# If null is simply one more key, one more value and one more True in the mask, which line needs to know of it?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Put zeros in masked values with `torch.where`. Repeat the null key for each row, `null_key.expand(B, 1, D)`, and join it behind the keys along axis 1; the null value likewise, and a column of True behind the mask. Scores, minus infinity where the mask is False (`kept[:, None]` lines up with `(B, T, S + 1)`), softmax along the last axis, times the values.
#
# </details>
# <details><summary>If a row is nan</summary>
#
# Either all its places are masked, null too; or a masked value is NaN, and 0 times NaN is NaN.
#
# </details>

# %%
cross_attention = mine("15.1", cross_attention)
seed_everything(0)
asking, regions = torch.randn(2, 3, 4), torch.randn(2, 5, 4)                   # T = 3, S = 5
mask = torch.tensor([[True] * 5, [False] * 5])                                 # the second has none
found, weights = cross_attention(asking, regions, regions, mask, torch.zeros(4), torch.ones(4))
print("weights", tuple(weights.shape), "  row 1 looks at null:", weights[1, :, -1].tolist())
print("row 1 finds the null value:", bool((found[1] == 1).all()))

# %% tags=["proof"]
# (15.2) in loops, with the package's mask.
seed_everything(0)
x, y = torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(2, 4, 6, dtype=torch.float64)
W_Q, W_K, W_V = (torch.randn(size, 7, dtype=torch.float64) for size in (5, 6, 6))
nulls, kept_here = torch.randn(2, 7, dtype=torch.float64), torch.rand(2, 4) < 0.5
expected = torch.zeros(2, 3, 7, dtype=torch.float64)
for b in range(2):
    K_all = torch.cat([y[b][kept_here[b]] @ W_K, nulls[:1]])
    V_all = torch.cat([y[b][kept_here[b]] @ W_V, nulls[1:]])
    for t in range(3):
        expected[b, t] = (x[b, t] @ W_Q @ K_all.T / math.sqrt(7)).softmax(dim=0) @ V_all
by_hand, _ = cross_attention(x @ W_Q, y @ W_K, y @ W_V, kept_here, *nulls)
verify("15.2", by_hand=by_hand, reference=expected)

# %% [markdown]
# ### One key is no choice
#
# The fault that everyone meets: the text asks *the picture*, pooled to one vector, and there is no null.

# %% tags=["fault"]
pooled = regions.mean(dim=1, keepdim=True)                                     # (B, 1, D): one key
one = F.scaled_dot_product_attention(asking, pooled, pooled)
other = F.scaled_dot_product_attention(-10 * asking, pooled, pooled)
print("another question finds something else:", not torch.allclose(one, other))

# %% [markdown]
# A softmax over one score is 1. Whatever is asked, the answer is the picture's value, and query and key get no gradient. It trains, and it may even score; but it is no attention. Keep the regions:

# %%
one = F.scaled_dot_product_attention(asking, regions, regions)
other = F.scaled_dot_product_attention(-10 * asking, regions, regions)
print("another question finds something else:", not torch.allclose(one, other))

# %% [markdown] owes="F72"
# ## One joint sequence, and what each way costs
#
# If words and regions are tokens alike, why not put them in *one* sequence, in which each asks all? That is **joint attention** (联合注意力). A picture's tokens are *vectors*: cut patches (page 14), and map each by a linear layer to the width of the words. It can go wrong without an error: pixels are whole numbers, and so are token ids. Looked up in the table of words, a picture is 12,288 tokens, and the grey levels 130 and 131 are two words with nothing in common.

# %% tags=["proof"]
# One grey level darker: as ids it is another picture, as projected patches the same.
picture = Scenes("train", size=1)[0]["image"].clamp(min=0.1)                   # (3, 64, 64)
table, project = nn.Embedding(300, 16), nn.Linear(192, 16)
as_ids = [table((255 * x).long()).reshape(-1, 16) for x in (picture, picture - 1 / 255)]
patches = picture.unfold(1, 8, 8).unfold(2, 8, 8).permute(1, 2, 0, 3, 4).reshape(64, 192)
as_patches = [project(patches), project(patches - 1 / 255)]                    # (64, 16) both
alike = [F.cosine_similarity(*two, dim=-1).mean().item() > 0.9 for two in (as_ids, as_patches)]
print(f"one grey level darker is nearly the same: as ids {alike[0]}, as patches {alike[1]}")

# %% [markdown] owes="F20 F67 L26"
# <details><summary>If you meet this in a listing</summary>
#
# A common mistake: a data set's `__getitem__` joins `input_ids` and flattened pixels with `torch.cat`. With whole numbers it runs, and even trains; with floats the embedding complains about indices. Keep both under names of their own; in the model project the picture's features to the width of the words, join them with the *embedded* words (`inputs_embeds` in transformers), and make the mask longer by as many.
#
# </details>
#
# Two ways lie between asking once and asking all. In **co-attention** (协同注意力) each modality asks the other. With **bottlenecks** (瓶颈词元) each modality attends within itself and to four extra tokens, through which alone the two meet. The package has all of them, and its formulas count multiply-adds (folded, in one layer of width 32).

# %% tags=["proof"]
# Thousand multiply-adds with 256 words and 256 patches.
WAYS = {"one way": ("cross_attention", {}), "co-attention": ("cross_attention", {"co": True}),
        "bottlenecks": ("bottleneck", {"layers": 1}), "joint": ("joint_transformer", {"layers": 1})}
costs = {}
for name, (strategy, options) in WAYS.items():
    layer = STRATEGIES[strategy]({"text": 32, "image": 32}, 2, width=None, **options)
    cost = round(layer.multiply_adds({"text": 256, "image": 256}) / 1000)
    costs[name] = f"{cost:,}"
print("thousand multiply-adds:", "; ".join(f"{name} {cost}" for name, cost in costs.items()))

# %% [markdown] owes="F196"
# At 256 + 256 tokens the joint sequence costs four times as much as one modality asking the other, and bottlenecks save two fifths of it. With the few tokens of this page cost does not decide, so we take the simplest that can choose: words ask cells.
#
# <details><summary>One key, and yet 89 % on XOR?</summary>
#
# Page 19 has that of one-way attention, each vector as one token. Beside the null key the question decides how much of the one picture it takes, and what it finds is added to the question's own vector. It can choose no more than that, so the package's docstring still refuses single vectors.
#
# </details>
#
# ## A question about a picture
#
# `scenes` has pictures of one to four things, and questions such as "what colour is the small circle?" There are twelve answers, and the thing is always named so that it is the only one. A frozen network makes 48 numbers of each of 8 x 8 cells. It was trained to say what stands in a cell, *with labels for the cells*, which real pictures seldom have. Folded: data, network, its training.

# %% tags=["measured", "proof"]
# The data: questions about the colour, shape and size of one thing in a picture.
ANSWERS = [word for words in ATTRIBUTES.values() for word in words]            # 12
WORDS = ["what", "is", "the", *ATTRIBUTES, *ANSWERS, "thing"]                  # 19; 0 is padding

def named(question, things):
    """The one thing that "what colour is the small circle?" asks about."""
    words = set(question.strip("?").split()[4:]) - {"thing"}
    (one,) = [thing for thing in things if words <= {thing.size, thing.colour, thing.shape}]
    return one

def in_cells(things):
    """For each 8 x 8 cell the number of size, colour and shape that it shows most of, (3, 8, 8);
    0 where no thing has 8 pixels in it.
    """
    seen = torch.stack([thing.mask() for thing in things]).float()             # (K, 64, 64)
    most, which = (64 * F.avg_pool2d(seen[None], 8)[0]).max(dim=0)             # (8, 8) both
    table = [[1 + values.index(getattr(thing, name)) for thing in things]
             for name, values in ATTRIBUTES.items()]
    return torch.where(most >= 8, torch.tensor(table)[:, which], 0)

# %% tags=["measured", "proof"]
# One split: the first `size` scenes that ask about size, colour or shape.
def load(split, size):
    """Tensors by name, a row a scene, and the questions as they were asked."""
    asked = [KINDS.index(name) for name in ATTRIBUTES]
    places = [i for i in range(7 * size) if i % 7 in asked][:size]
    scenes = Scenes(split, size=7 * size)
    part = {"image": [], "in_cells": [], "box": [], "label": [], "ids": torch.zeros(size, 7).long()}
    questions = []
    for row, i in enumerate(places):
        scene = scenes[i]
        words = scene["question"].strip("?").split()
        part["ids"][row, :len(words)] = torch.tensor([1 + WORDS.index(word) for word in words])
        part["image"].append(scene["image"])
        part["in_cells"].append(in_cells(scene["objects"]))
        part["box"].append(torch.tensor(named(scene["question"], scene["objects"]).box))
        part["label"].append(torch.tensor(ANSWERS.index(scene["answer"])))
        questions.append(words)
    return {name: torch.stack(list(x)) for name, x in part.items()}, questions

# %% tags=["measured", "proof"]
# The frozen network: it was trained to say what stands in each cell.
class CellNetwork(nn.Module):
    """Pictures (B, 3, 64, 64) to features of 8 x 8 cells (B, 48, 8, 8), and a head for training."""

    def __init__(self):
        super().__init__()
        layers, widths = [], (3, 16, 32, 48, 48)
        for k, (size, stride) in enumerate(((5, 2), (3, 2), (3, 2), (3, 1))):
            conv = nn.Conv2d(widths[k], widths[k + 1], size, stride, size // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(widths[k + 1]), nn.ReLU()]
        self.body, self.head = nn.Sequential(*layers), nn.Conv2d(48, 3 + 7 + 5, 1)

    def forward(self, image):
        return self.head(self.body(image)).split([3, 7, 5], dim=1)   # size, colour, shape

def cell_features(network, part):
    """Tokens (N, 64, 48), each of mean 0 and spread 1, and a mask (N, 64): all are there."""
    with torch.no_grad():
        maps = torch.cat([network.body(images) for images in part["image"].split(500)])
    cells = F.layer_norm(maps.flatten(2).mT, (48,))          # (N, 48, 8, 8) -> (N, 64, 48)
    return cells, torch.ones(cells.shape[:2], dtype=torch.bool)

# %% tags=["measured", "proof"]
# Its training: cross-entropy over the cells, four passes over the training scenes.
def train_cells(part, epochs=4, rows=32):
    generator, network = seed_everything(0), CellNetwork()
    optimizer, steps = torch.optim.AdamW(network.parameters(), lr=6e-3), len(part["image"]) // rows
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=epochs * steps)
    for _ in range(epochs):
        order = torch.randperm(len(part["image"]), generator=generator)
        for chosen in order[:steps * rows].view(steps, rows):
            said, true = network(part["image"][chosen]), part["in_cells"][chosen].unbind(1)
            loss = sum(F.cross_entropy(logits, target) for logits, target in zip(said, true))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()

# %% tags=["proof"]
# 3,000 scenes to learn from, and the features of their cells.
data, questions = {}, {}
for split, size in {"train": 3000, "validation": 500, "test": 1000}.items():
    data[split], questions[split] = load(split, size)
network = train_cells(data["train"])                                           # about 7 seconds
for split, part in data.items():
    part["cells"], part["mask"] = cell_features(network, part)             # (N, 64, 48), (N, 64)
print(" ".join(questions["test"][0]), "->", ANSWERS[data["test"]["label"][0]])

# %% [markdown]
# Each word asks with its own vector plus the mean of the question's: so "circle" knows that a *small* one is meant. What the words find is averaged and goes, beside the question, through a small network.

# %% tags=["measured"]
class Asker(nn.Module):
    """Each word of a question asks the 64 cells of a picture: batch -> logits (B, 12)."""
    def __init__(self, attend, context=True, width=64):
        super().__init__()
        self.attend, self.context = attend, context
        self.words = nn.Embedding(1 + len(WORDS), width, padding_idx=0)
        self.query = nn.Linear(width, width)
        self.key, self.value = nn.Linear(48, width), nn.Linear(48, width)
        self.null = nn.Parameter(torch.zeros(2, width))           # a key and a value
        self.head = nn.Sequential(nn.Linear(2 * width, 64), nn.ReLU(), nn.Linear(64, 12))

    def look(self, batch):
        there, words = batch["ids"] > 0, self.words(batch["ids"])  # (B, T), (B, T, width)
        question = masked_mean(words, there)                      # -> (B, width)
        asking = words + question[:, None] if self.context else words
        keys, values = self.key(batch["cells"]), self.value(batch["cells"])  # (B, 64, width)
        found, weights = self.attend(self.query(asking), keys, values, batch["mask"], *self.null)
        return question, masked_mean(found, there), weights       # weights (B, T, 64 + 1)
    def forward(self, batch):                                     # -> (B, 12)
        return self.head(torch.cat(self.look(batch)[:2], dim=-1))

# %% [markdown]
# In one training picture of ten all cells are masked, so that the model meets a missing picture. (There the null value learns and the null key does not: alone it has weight 1, whatever it is.) One run with your function:

# %% tags=["measured", "proof"]
# Training and score, and one picture in ten that is missing from the training set.
def some_missing(part, seed, share=0.1):
    """The part with all cells masked in about `share` of its rows."""
    draw = torch.Generator().manual_seed(seed)
    gone = torch.rand(len(part["label"]), 1, generator=draw) < share
    return part | {"mask": part["mask"] & ~gone}

def train(make, data, seed, epochs=10, lr=3e-3):
    """`make()` after seeding, trained; the epoch that is best on the validation set."""
    generator = seed_everything(seed)
    model = make()
    history = fit(model, Batches(data["train"], 64, generator), Batches(data["validation"], 500),
                  epochs=epochs, lr=lr, weight_decay=0.01)
    return model, history

def score(model, part):
    return evaluate(model, Batches(part, 500)).accuracy

# %% tags=["measured", "proof"]
# Beside attention: the cells' mean, glued to the question or multiplied with it.
class Pooled(nn.Module):
    """`how`: concat, product, question alone, picture alone; `largest`: no mean over the cells."""

    def __init__(self, how, width=64, largest=False):
        super().__init__()
        self.how, self.largest = how, largest
        self.words = nn.Embedding(1 + len(WORDS), width, padding_idx=0)
        self.cells, self.query = nn.Linear(48, width), nn.Linear(width, width)
        inputs = 2 * width if how == "concat" else width
        self.head = nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 12))

    def forward(self, batch):
        question = masked_mean(self.words(batch["ids"]), batch["ids"] > 0)       # (B, width)
        cells = self.cells(batch["cells"]).relu()                                # (B, 64, width)
        largest = torch.where(batch["mask"][..., None], cells, 0).amax(dim=1)    # (B, width)
        picture = largest if self.largest else masked_mean(cells, batch["mask"])
        parts = {"concat": torch.cat([question, picture], dim=-1), "question alone": question,
                 "product": self.query(question) * picture, "picture alone": picture}
        return self.head(parts[self.how])
# %%
with_gaps = data | {"train": some_missing(data["train"], seed=0)}
model, history = train(lambda: Asker(cross_attention), with_gaps, seed=0)
sweep = stored("15", "questions")                              # python tools/sweep.py 15 questions
harder = stored("15", "harder")                                # python tools/sweep.py 15 harder
live = score(model, data["test"])
report("words ask cells: live minus stored", live - sweep["attention"]["accuracy"][0], 0, 0.03)

print("test accuracy in %, five seeds        complete       no picture")
shown = sweep | {name: row for name, row in harder.items() if name not in sweep}
for name, row in shown.items():
    missing = percent(row["picture missing"]) if "picture missing" in row else ""
    print(f"{name:33}{percent(row['accuracy']):>13}{missing:>17}")

# %% [markdown]
# The words find nearly everything: 96 %. Pooled to their mean before the question comes, the same cells give 71 % glued and 76 multiplied; by the largest number over the cells, 72 and 85. (Each row has the learning rate that is best of four on the first seed's validation set.) The question alone has 32.5 %, the picture alone 28, and with pictures shuffled among the samples, in training and test, 32 are left. *No context* changes one thing, the words ask without the rest of the question: ten points less.
#
# **A missing picture.** The model then answers about as well as the question alone, 32 %. Trained with all pictures present, and all else alike, it has 25: it has never met a gap. A null that is not learned and stays zeros has 32, too, if training has gaps. So the gaps are what counts.

# %% [markdown]
# ## Where does each word look?
#
# A map is the row of a word's weights, laid on the picture. In the weights of the run above:

# %% tags=["measured"]
def maps_of(model, part):
    """Weights of each word on the cells (N, T, 64), and their mean over the words (N, 64)."""
    with torch.no_grad():
        _, _, weights = model.eval().look(part)
    cells, there = weights[..., :64], (part["ids"] > 0)[..., None]             # without null
    return cells, (cells * there).sum(dim=1) / there.sum(dim=1)

# %% tags=["figure"]
# One question of the test set, word by word.
words_maps, mean_maps = maps_of(model, data["test"])
SHOWN = 29
asked_here = questions["test"][SHOWN]
panel_count = 1 + len(asked_here)
plots.overlay(
    [data["test"]["image"][SHOWN]] * panel_count,
    titles=["the picture", *(f'"{word}"' for word in asked_here)],
    boxes=[{"": data["test"]["box"][SHOWN].tolist()}] * panel_count,
    attention=[None, *words_maps[SHOWN, :len(asked_here)].view(-1, 8, 8)],
    columns=panel_count,
    size=1.4,
    caption="One question, where each of its words looks, and the true box. The words that name the"
    " cross look at it; some others do too, and some spread over cells with nothing in them.",
)

# %% [markdown]
# Pictures convince too easily. `scenes` knows the true box of the thing that is asked about, so let us count.
#
# > **Exercise 15.2 · Does it point into the box?** — *7 minutes · stretch*
# >
# > (If you skip it, the page goes on with the course's.)
# >
# > - `maps` `(N, 8, 8)`, in rows and columns; `boxes` `(N, 4)`: left, top, right, bottom in pixels of a 64 x 64 picture.
# > - For each map take the cell with the largest weight. It points at its middle, in pixels.
# > - It counts if this lies in the box, grown by `tolerance` pixels on all four sides: left and top inclusive, right and bottom exclusive.
# > - Return the share of maps that count.
# >
# > A control is only another map. So it gets the same tolerance.

# %% exercise="15.2"
def pointing(maps: Tensor, boxes: Tensor, tolerance: float) -> float:
    """The share of maps (N, 8, 8) whose largest weight lies in its box (N, 4), in pixels.

    Example: the largest weight in row 1, column 2 points at x = 20, y = 12.
    """
    ### BEGIN SOLUTION
    place = maps.flatten(1).argmax(dim=1)                          # (N, 8, 8) -> (N,)
    middle = 8 * torch.stack([place % 8, place // 8], dim=1) + 4   # (N, 2): x, y
    low, high = boxes[:, :2] - tolerance, boxes[:, 2:] + tolerance
    return ((middle >= low) & (middle < high)).all(dim=1).double().mean().item()
    ### END SOLUTION

# %% [markdown] hints="15.2"
# <details><summary>A question that helps</summary>
#
# Which of row and column says how far to the right a cell is?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Flatten each map, take the place of its largest weight: divided by 8 the whole part is the row and the rest the column. Column 2 begins at pixel 16, its middle is 20. Compare x with left and right, y with top and bottom, after the box has grown.
#
# </details>
# <details><summary>If a share is a little too low</summary>
#
# The middle is 4 pixels from the cell's corner. And the tolerance belongs to all four sides.
#
# </details>

# %%
pointing = mine("15.2", pointing)
boxes = data["test"]["box"]
for tolerance, near in ((0, 0.66), (4, 0.97)):
    share = pointing(mean_maps.view(-1, 8, 8), boxes, tolerance)
    report(f"the words together, {tolerance} pixels tolerance", share, near=near, within=0.06)

# %%
LOOKS = {"all words, their mean": "pointing", "words that name it": "naming",
         '"what", "is", "the"': "what is the", "the word asked for": "asked",
         "control: the centre": "control centre", "control: any cell": "control any",
         "control: any filled cell": "control with something in them"}
print("points into the box, %, five seeds     strict  4 pixels tolerance")
for name, key in LOOKS.items():
    columns = [percent(sweep["attention"][f"{key}, {way}"]) for way in ("strict", "tolerant")]
    print(f"{name:30}{columns[0]:>16}{columns[1]:>16}")
largest = [percent(harder["attention"][f"control largest thing, {way}"])
           for way in ("strict", "tolerant")]
print(f"{'control: the largest thing':30}{largest[0]:>16}{largest[1]:>16}")
for word in ATTRIBUTES:
    shares = sweep["attention"][f"asked {word}, at nothing"]
    print(f'"{word}" looks most at an empty cell, seed by seed:', *[f"{x:.0%}" for x in shares])

# %% tags=["proof"]
# Accuracy and pointing before training and after 200 steps, five seeds.
start = stored("15", "beginning")                              # python tools/sweep.py 15 beginning
steps = start["seed 0"]["step"]
begun = {}
for what in ("accuracy", "pointing"):
    for step in (steps[0], 200):
        runs = [100 * start[f"seed {seed}"][what][steps.index(step)] for seed in range(5)]
        begun[what, step] = f"{sum(runs) / 5:.0f}"
print("before training and after 200 steps, %: right answers {} and {}, into the box {} and {}"
      .format(*begun.values()))

# %% tags=["figure"]
# Five questions of the test set, the map of all words, and what this run says.
SAMPLES, TOLD = [1, 29, 51, 46, 423], ["square", "small", "white", "cross", "white"]
with torch.no_grad():
    chosen = {name: x[SAMPLES] for name, x in data["test"].items()}
    assert [ANSWERS[i] for i in model(chosen).argmax(dim=1)] == TOLD
headings = []
for row, told in zip(SAMPLES, TOLD):
    true = ANSWERS[data["test"]["label"][row]]
    line = " ".join(questions["test"][row][3:]) + f"\n{questions['test'][row][1]}: {told}"
    headings.append(line + f", not {true}" * (told != true))
plots.overlay(
    chosen["image"],
    titles=headings,
    boxes=[{"": box} for box in chosen["box"].tolist()],
    attention=list(mean_maps[SAMPLES].view(-1, 8, 8)),
    columns=5,
    size=1.9,
    caption="Five questions, the mean of their words' maps, the true box, and what the model says,"
    " as all five seeds do. In the last it looks at the yellow cross and at a white thing near it.",
)

# %% [markdown]
# A cell is 8 pixels wide and a small thing 9 to 11 pixels, so the strict score asks for much; a control gets the same tolerance. All words together point into the box in 66 % of the questions, with tolerance 97; any filled cell in 35 and 55, and the middle of the largest thing, a sharper control, in 55 and 57. They look where they should.
#
# Word by word it is less tidy. Of the words alone, those that *name* the thing do best. "What", "is" and "the" say nothing of the thing, yet with the tolerance 78 % of them look there: each asks with the question's mean added. And below the mean of the word asked for lie two kinds of runs. "Shape" looks at an empty cell in all questions of three seeds, and in none of the other two. These five runs have the same accuracy to within a point. So where *one* word looks is a fact about one run, not about the question.
#
# An untrained model is a control, too: it begins at 36 %, since before any training the words point into the box, with tolerance, in a third of the questions. Then answers and pointing rise together.

# %% [markdown]
# ## Does it matter where they look?
#
# A map shows what was weighed, not what the answer rests on. So take it away: mask, for each question, the four cells of 64 that its words look at most. The accuracy was 96 %. What is it now, in percent, to within 6?

# %%
guess("15.a", None, sure=0.5)

# %% tags=["measured"]
def without(part, maps, count):
    """The part with the `count` cells of the largest weight masked in each row."""
    gone = torch.zeros_like(part["mask"]).scatter(1, maps.topk(count, dim=1).indices, True)
    return part | {"mask": part["mask"] & ~gone}

# %%
live = score(model, without(data["test"], mean_maps, 4))
report("four cells masked: live minus stored",
       live - sweep["attention"]["without 4 looked at"][0], near=0, within=0.06)
print(f"{'test accuracy in %; cells masked:':34}" + "".join(f"{n:>12}" for n in (1, 2, 4, 8)))
for way in ("looked at", "any", "with something in them"):
    cells = [percent(sweep["attention"][f"without {count} {way}"]) for count in (1, 2, 4, 8)]
    print(f"{way:34}" + "".join(f"{cell:>12}" for cell in cells))
print(f"{'four masked':34}   attention     product")
for way in ("looked at", "of the thing asked about", "of other things"):
    cells = [percent(harder[name][f"without 4 {way}"]) for name in ("attention", "product")]
    print(f"{way:34}" + "".join(f"{cell:>12}" for cell in cells))
outcome("15.a", 68, within=6)

# %% [markdown]
# It matters: without the four cells that are looked at most, 68 % are left; without any four filled ones 87, without any four 96. But is it because these are *looked at*, or because they show the thing? Four cells of the thing asked about, drawn blindly, cost as much: 69 are left. Four of other things cost nothing, 97. And the product, which looks nowhere, loses on the same cells, too: from 76 to 59.
#
# So the fall says that the words look where the answer stands, as the boxes said already. That does not make a map an explanation: "shape" looks at the thing in one run and at nothing in another, at the same accuracy, and whether weights explain is disputed (Read more). What can be said is what was taken away, and what that cost, beside a control that is as hard.
#
# ## Where attention gains nothing
#
# [easy-VQA](https://github.com/vzhou842/easy-VQA), made by Victor Zhou, has 5,000 pictures of *one* shape each, and asks for its colour or its name. A small network trained along leaves 4 x 4 cells. Attention: the question, as one query, asks the cells. Product and concatenation get the maximum over the cells.

# %% tags=["figure"]
# The stored comparison on easy-VQA, every run a dot.
real = stored("15", "real")                                    # python tools/sweep.py 15 real
figure, ax = plots.axes(height=2.6)
for place, (name, row) in enumerate(real.items()):
    color = plots.COLORS["control" if "shuffled" in name or "alone" in name else "fused"]
    shares = [100 * share for share in row["accuracy"]]
    ax.scatter(shares, [place] * 5, color=color, s=26, alpha=0.7)
ax.set_yticks(range(len(real)), list(real))
ax.invert_yaxis()
ax.set_xlim(0, 101)
ax.set_xlabel("test accuracy (%)")
ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
means = {name: f"{name} {20 * sum(row['accuracy']):.1f}" for name, row in real.items()}
means.pop("attention")
worst = min(zip(real["attention"]["accuracy"], real["attention"]["shape"]))
plots.show(figure, "easy-VQA, colour and shape, five runs each. Attention does not beat product or"
           f" concatenation, and one of its runs has {100 * worst[0]:.0f} %, of the shapes"
           f" {100 * worst[1]:.0f}. Means in %: " + "; ".join(means.values()) + ".")

# %% [markdown]
# Product and concatenation have 98.9 and 99.2 %. Four runs of attention have 98 to 99, and one 72: it tells colours, and of the shapes 44 % only. With one thing in a picture there is nothing to choose, and a maximum over the cells finds it. The controls say that both halves count: the question alone has 23 %, the picture alone 50, shuffled pictures leave 23. On `scenes`, with up to four things, words that ask were worth eleven points over the best that pools, the product of the largest numbers. First ask whether your question has to choose.
#
# ## With the library
#
# Masked attention of words among themselves, then words that ask cells, in plain PyTorch. `add_bias_kv` is a learned null. Mind the mask: here True means *left out*.

# %%
import torch as pt

itself = pt.nn.MultiheadAttention(32, num_heads=4, batch_first=True)
cross = pt.nn.MultiheadAttention(32, 4, kdim=48, vdim=48, add_bias_kv=True, batch_first=True)
text, image = pt.randn(2, 7, 32), pt.randn(2, 64, 48)
padding = pt.tensor([[False] * 7, [False] * 5 + [True] * 2])       # the second text has 5 words
no_image = pt.tensor([[False] * 64, [True] * 64])                  # and no picture
text, _ = itself(text, text, text, key_padding_mask=padding)
found, weights = cross(text, image, image, key_padding_mask=no_image)
print(tuple(found.shape), tuple(weights.shape), "finite:", bool(found.isfinite().all()))

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **settle** the bet: behind one softmax a linear head decides by a sum, 70 % on XOR; a hidden layer in the head has 89;
# 2. **build** cross-attention: a null key that is never masked, minus infinity before the softmax, zeros in masked values;
# 3. **mend** the one key, which is no choice, and keep pixels out of the table of words; at 256 + 256 tokens a joint sequence costs four times one-way attention, bottlenecks save two fifths of that;
# 4. **score** a map by true boxes, beside controls with the same tolerance: 97 % against 57 for the largest thing;
# 5. **take away** what is looked at: 68 % of 96 are left; four other cells of the same thing cost as much, and cost a model that looks nowhere, too;
# 6. **read** where attention gains nothing: one shape a picture.
#
# ## Questions
#
# <details><summary>1. Attention over two modality vectors has logits with an interaction, and yet decides by a sum. How can both be true?</summary>
#
# The logits are the sum divided by S, and S depends on both modalities. The division changes the logits' size, never their order.
#
# </details>
# <details><summary>2. A text asks one pooled picture vector, and the accuracy is good. What has been learned?</summary>
#
# A projection of the picture that is added to the text. Queries and keys have had no gradient: with one key the weight is 1. Test: replace the queries by noise, and nothing changes.
#
# </details>
# <details><summary>3. A colleague's maps hit the box in 60 % of the cases, with a tolerance of 8 pixels. What do you ask for?</summary>
#
# The controls under the same tolerance: the centre, any cell, any cell with something in it, the largest thing. And other seeds.
#
# </details>
# <details><summary>4. With the whole page: 256 words and 256 patches, words may be missing, and the label depends on which word stands beside which patch. Which way of attending do you take?</summary>
#
# Not one softmax with a linear head: it decides by a sum. One-way attention with masks and null is the cheapest that compares words and patches. If patches must ask words as well, co-attention or bottlenecks; the joint sequence if four times the cost does not hurt.
#
# </details>
# <details><summary>5. With the whole page: your words attend to cells, the accuracy is that of the mean over cells. Name three reasons.</summary>
#
# There is nothing to choose (one thing a picture); there is one key; the words ask without the context that says which thing is meant. Or training stopped early: look at the curve.
#
# </details>
#
# ## Read more
#
# - J. Lu, J. Yang, D. Batra, D. Parikh, *Hierarchical Question-Image Co-Attention for Visual Question Answering*, NIPS 2016. Words and regions, both ways.
# - A. Nagrani and others, *Attention Bottlenecks for Multimodal Fusion*, NeurIPS 2021 (arXiv:2107.00135). The few tokens through which modalities meet.
# - W. Kim, B. Son, I. Kim, *ViLT*, ICML 2021 (arXiv:2102.03334). Words and patches in one sequence.
# - J. Zhang and others, *Top-down Neural Attention by Excitation Backprop*, ECCV 2016. The pointing game.
# - S. Jain, B. C. Wallace, *Attention is not Explanation*, NAACL 2019, and S. Wiegreffe, Y. Pinter, *Attention is not not Explanation*, EMNLP 2019. The dispute.
#
# ## A bet for page 16
#
# 1,636 emoji, each a small picture with a name, 1,200 of them to learn from. We want to find one of 300 that were never seen by its name. A *contrastive* loss pulls the vectors of a picture and its own name together and pushes all other names away. The plain rival, ridge regression, maps picture features to the name's vector and knows of no others.
#
# *Ada says: the contrastive loss finds more of them.* *Ben says: it does not, with so few pairs.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("15.c", None)
guesses("15")
