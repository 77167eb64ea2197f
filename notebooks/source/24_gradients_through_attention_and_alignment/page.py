# %% [markdown]
# # What do a query and a pair feel?
#
# Attention asks, weighs and adds up; a contrastive loss pulls pairs together and pushes all others apart. Here you carry the gradient back through both by hand, and see who gets much, and who nothing at all.
#
# *About {minutes} minutes. You need pages 14, 15, 16, 21 and 22: attention, a null key, pairs in one space, p - y, sums over weights.*

# %% [markdown]
# ## In this notebook you will
#
# 1. settle the bet of page 23: what the scores of a sure softmax get;
# 2. build attention's way back, with a mask;
# 3. see why one key teaches the query nothing, and what a null key changes;
# 4. work out what unit length does to a gradient;
# 5. build the way back from pairs, and train two modalities with it;
# 6. compare other losses and, if you like, derive alone the gradient of a fusion that no page shows.

# %% tags=["measured", "imports"]
# Imports.
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils import plots
from course_utils.audio import band_features
from course_utils.datasets import Digits, Gates, collate, store
from course_utils.exercises import check, mine
from course_utils.gradients import compare, verify_gradient
from course_utils.losses import info_nce
from course_utils.metrics import percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored

# %% tags=["figure"]
# The page's first way back as a graph: values and gradients on the wires.
figure, ax = plots.axes(width=7.8, height=3.0)
ax.axis((-0.8, 11.2, -0.1, 4.5))
ax.set_axis_off()
NODES = {"query": (0, 2.9, "text"), "keys": (0, 0.9, "image"), "scores": (2.8, 1.9, "control"),
         "softmax": (5.2, 1.9, "control"), "values": (5.2, 4, "image"), "sum": (7.7, 1.9, "fused"),
         "loss": (10.2, 1.9, "control")}
for name, (across, up, color) in NODES.items():
    box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": plots.COLORS[color]}
    ax.text(across, up, name, ha="center", va="center", bbox=box, zorder=3)
for x0, y0, x1, y1 in [(0.6, 2.8, 2.1, 2.2), (0.6, 1.0, 2.1, 1.7), (3.5, 1.9, 4.4, 1.9),
                       (6.0, 1.9, 7.2, 1.9), (5.8, 3.7, 7.4, 2.3), (8.2, 1.9, 9.6, 1.9)]:
    ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-|>", "color": plots.INK})
VALUES = [(1.5, 2.85, "1.10"), (1.1, 1.65, "1\n0"), (3.95, 2.55, "1.10\n0"),
          (6.55, 2.5, ".75\n.25"), (7.2, 3.5, "0\n4"), (8.9, 2.3, "1"), (10.95, 1.9, "2")]
BACK = [(1.1, 2.2, "1.5"), (1.75, 0.8, "1.65\n-1.65"), (3.95, 1.2, "1.5\n-1.5"),
        (6.55, 1.2, "0\n-8"), (5.9, 3.05, "-1.5\n-.5"), (8.9, 1.5, "-2")]
for texts, color, weight in ((VALUES, plots.INK, "normal"), (BACK, "#B3123F", "bold")):
    for across, up, text in texts:
        ax.text(across, up, text, ha="center", va="center", color=color, fontweight=weight)
plots.show(figure, "One query, two keys with their values. Beside each wire its value and, in bold"
           " red, the gradient that comes back. What the two scores get adds up to zero.")

# %% [markdown]
# ## One query, two keys
#
# Page 15 showed that with one key another question finds nothing else, and said that query and key get no gradient. Why? Go back through attention, operation by operation; $d_x$ is the loss's gradient with respect to $x$, in the shape of $x$. Queries $Q$ $(T, D)$ come from one modality, keys $K$ $(S, D)$ and values $V$ $(S, E)$ from another, and the softmax goes along the keys:
#
# $$ \text{scores} = \frac{Q K^\top}{\sqrt D}, \qquad A = \operatorname{softmax}(\text{scores}), \qquad \text{found} = A\,V \tag{24.1} $$
#
# One query of width 1, so $\sqrt D$ is 1. The query found 1 and should have found 3, with the loss $\frac{1}{2}(1-3)^2 = 2$.

# %%
query, keys, values = math.log(3), [1.0, 0.0], [0.0, 4.0]
powers = [math.exp(query * key) for key in keys]                   # 3 and 1
weights = [power / sum(powers) for power in powers]
found = sum(w * value for w, value in zip(weights, values))
d_found = found - 3                                                # the slope of the loss
d_values = [w * d_found for w in weights]                          # value s counts w_s times
d_weights = [value * d_found for value in values]                  # weight s brings value s
mean = sum(w * d for w, d in zip(weights, d_weights))
d_scores = [w * (d - mean) for w, d in zip(weights, d_weights)]    # page 21: softmax, backwards
d_query = sum(d * key for d, key in zip(d_scores, keys))           # the query met every key
d_keys = [d * query for d in d_scores]
for name, numbers in {"weights": weights, "d_values": d_values, "d_weights": d_weights,
                      "d_scores": d_scores, "d_keys": d_keys, "d_query": [d_query]}.items():
    print(f"{name:10}", *[f"{number + 0:6.2f}" for number in numbers])

# %% [markdown]
# Descent goes against $d_{scores}$: the first item brings 0, worse than the *mean* under the weights, so its score falls; the second rises by as much. A score learns only whether its item is better than the mean, and in proportion to the weight that it already has.
#
# ## The bet of page 23: sure, and wrong
#
# Attention puts .98 of its weight on the wrong item and .02 on the right one. Ada: so the scores get a strong push. Ben: a softmax so sure is **saturated** (饱和), and they get almost nothing. For two items with weights $w_1 + w_2 = 1$, which get $g_1$ and $g_2$, the mean is $w_1 g_1 + w_2 g_2$, so
#
# $$ d_{score_1} = w_1 (g_1 - w_1 g_1 - w_2 g_2) = w_1 w_2\, (g_1 - g_2) = -d_{score_2} \tag{24.2} $$
#
# The product $w_1 w_2$ is 0.25 at most, and .98 · .02 = 0.0196. What does that cost? The wrong item's value is -1, the right one's +1, the loss $\frac{1}{2}(\text{found} - 1)^2$. Beside it the same softmax at the *end* of the chain, with the loss $-\log w_{right}$. How many steps of rate 1 until the right item has half of the weight?

# %%
def inside(w):                                                     # what two scores get
    d_found = w[1] - w[0] - 1                                      # found - 1
    return w[0] * w[1] * d_found * torch.tensor([-2.0, 2.0])       # g is -d_found and d_found

def at_the_end(w):
    return w - torch.tensor([0.0, 1.0])                            # p - y

for gap in (1.0, 2.0, math.log(49), 6.0):
    row = f"right one's weight {1 / (1 + math.exp(gap)):.3f}"
    for push in (inside, at_the_end):
        s, steps = torch.tensor([gap, 0.0]), 0
        first = push(s.softmax(dim=0))[1]
        while s[0] > s[1] + 1e-6:
            s, steps = s - push(s.softmax(dim=0)), steps + 1
        row += f"   {push.__name__} {first:.3f}, steps {steps:2}"
    print(row)
outcome("23.c", "Ben")
verify_gradient("24.2", lambda s: (s.softmax(0) * torch.tensor([3.0, -1.0])).sum(),
                lambda s: s.softmax(0).prod() * torch.tensor([4.0, -4.0]).double(), (2,))

# %% [markdown]
# Ben: -0.077, where the softmax at the end gets -0.980; surer still, it takes 55 steps, not 4. What differs is the loss: the slope of $-\log w_{right}$ is $-1/w_{right}$ and cancels the small weight; $p - y$ is left. The place is not what matters: with the loss $-\log\big((1 + \text{found})/2\big)$, which is $-\log w_{right}$, attention in the middle would be pushed as hard. Where what comes back stays bounded, as in the first column, a sure softmax lets little through.
#
# > **Exercise 24.1 · Attention, backwards** — *9 minutes · core*
# >
# > Given what comes back to what was found, return what queries, keys and values get.
# >
# > - `d_found` is `(B, T, E)`, `query` `(B, T, D)`, `key` `(B, S, D)`, `value` `(B, S, E)`; `mask` is `(B, S)` bool, True = there.
# > - Return `(d_query, d_key, d_value)`, each in the shape of its own.
# > - A masked key had weight exactly 0; it and its value get exactly 0. What stands there never matters, not even NaN.
# > - A row without any key found zeros, whatever was asked: it sends nothing back.
# > - Autograd is refused. Begin with these lines:
# >
# > ```python
# > key = torch.where(mask[..., None], key, 0.0)      # (B, S, D): 0 times NaN is NaN
# > value = torch.where(mask[..., None], value, 0.0)  # (B, S, E)
# > ```

# %% exercise="24.1"
def attention_backward(
    d_found: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(d_query (B, T, D), d_key (B, S, D), d_value (B, S, E)), back through (24.1).

    Example: d_found [[[2.0]]], query [[[0.0]]], key [[[1.0], [5.0]]], value [[[3.0], [7.0]]]
    give d_query [[[8.0]]], d_key zeros, d_value [[[1.0], [1.0]]] if both are there.
    """
    ### BEGIN SOLUTION
    key = torch.where(mask[..., None], key, 0.0)  # (B, S, D), no NaN left
    value = torch.where(mask[..., None], value, 0.0)  # (B, S, E)
    root = math.sqrt(query.shape[-1])
    scores = (query @ key.mT / root).masked_fill(~mask[:, None], -torch.inf)  # (B, T, S)
    weights = torch.where(mask[:, None], scores.softmax(dim=-1), 0.0)
    d_value = weights.mT @ d_found  # (B, S, T) @ (B, T, E)
    d_weights = d_found @ value.mT  # (B, T, E) @ (B, E, S)
    mean = (weights * d_weights).sum(dim=-1, keepdim=True)  # (B, T, 1)
    d_scores = weights * (d_weights - mean) / root  # (B, T, S)
    return d_scores @ key, d_scores.mT @ query, d_value
    ### END SOLUTION

# %% [markdown] hints="24.1"
# <details><summary>A question that helps</summary>
#
# Write the shape under each result of the loop. A value was used by every query, a query met every key: over which axis does each gradient add up?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Compute the weights again, as on page 14. Then the six lines of the loop, each as a product of matrices; the mean goes along the keys and keeps its axis. Divide by the root of D once for the queries and once for the keys: both met in the scores.
#
# </details>
# <details><summary>If you see NaN</summary>
#
# A softmax over nothing but minus infinity is NaN: choose zeros there with `torch.where`.
#
# </details>

# %% tags=["proof"]
# (24.1), three queries and keys.
torch.manual_seed(0)
q, k, v, d_out = torch.randn(4, 2, 3, 4, dtype=torch.float64)      # (B, 3, 4) each
mask = torch.tensor([[True, True, False], [True, True, True]])     # (B, S)
verify("24.1", by_hand=(q @ k.mT / math.sqrt(4)).softmax(dim=-1) @ v,
       reference=F.scaled_dot_product_attention(q, k, v))

# %%
attention_backward = mine("24.1", attention_backward)

def asked(q, k, v):
    """What is found under the mask, by PyTorch: three (2, 3, 4) -> (2, 3, 4)."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])

verify_gradient("24.3", lambda *qkv: (asked(*qkv) ** 2).sum(),
                lambda *qkv: attention_backward(2 * asked(*qkv), *qkv, mask), *[(2, 3, 4)] * 3)
d_A = d_out @ v.mT                                                 # (B, T, S)
zero = torch.zeros(2, 3, dtype=torch.float64)

# %% [markdown]
# <details><summary>Compare with yours</summary>
#
# $$ d_V = A^\top d_{found}, \quad d_A = d_{found} V^\top, \quad d_{scores} = A \odot \big(d_A - \langle A, d_A \rangle_{row}\big), \quad d_Q = \frac{d_{scores} K}{\sqrt D}, \quad d_K = \frac{d_{scores}^\top Q}{\sqrt D} \tag{24.3} $$
#
# The last step of page 22 follows: with $Q = X W_Q$ the queries' modality gets $d_Q W_Q^\top$, and the other one, with $K = Y W_K$ and $V = Y W_V$, gets $d_K W_K^\top + d_V W_V^\top$. It is found as a key and read as a value, two ways, so they add. Attention over the items of two modalities in one softmax is the case of one query.
#
# </details>
#
# ### The mask comes first
#
# A common slip masks too late: it goes back through a softmax over all keys and clears the masked scores afterwards.

# %% tags=["fault"]
A = (q @ k.mT / 2).softmax(dim=-1)                                 # (B, T, S)
d_scores = A * (d_A - (A * d_A).sum(dim=-1, keepdim=True))
d_scores = d_scores.masked_fill(~mask[:, None], 0)
print("masked scores get 0:", not d_scores[0, :, 2].any())
print("each query's scores get 0 in all:", torch.allclose(d_scores.sum(dim=-1), zero))

# %% [markdown]
# Each row must add up to 0. Here a key that is not there had a share. Mask the *scores*:

# %%
A = (q @ k.mT / 2).masked_fill(~mask[:, None], -torch.inf).softmax(dim=-1)
d_scores = A * (d_A - (A * d_A).sum(dim=-1, keepdim=True))
print("masked scores get 0:", not d_scores[0, :, 2].any())
print("each query's scores get 0 in all:", torch.allclose(d_scores.sum(dim=-1), zero))

# %% [markdown]
# ## One key teaches no query
#
# A text asks a picture, pooled to one vector:

# %% tags=["fault"]
there = mask[:, :1]                                                # (B, 1): one key, present
d_q, d_k, d_v = attention_backward(d_out, q, k[:, :1], v[:, :1], there)
print("the value gets something:", bool(d_v.any()))
print("query and key get something:", bool(d_q.any() and d_k.any()))

# %% [markdown]
# The only weight is 1, so the mean *is* $d_A$, and $d_{scores} = 1 \cdot (d_A - d_A) = 0$, for every loss. No other way to train would help: what is found is the value, whatever was asked. Give the query a second place to look at, page 15's null key:

# %%
null = torch.full((2, 1, 4), 0.1, dtype=torch.float64)             # (B, 1, D)
there = mask[:, :2]                                                # (B, 2), all True
k_two, v_two = torch.cat([k[:, :1], null], dim=1), torch.cat([v[:, :1], -null], dim=1)
d_q, d_k, d_v = attention_backward(d_out, q, k_two, v_two, there)
print("the value gets something:", bool(d_v.any()))
print("query and key get something:", bool(d_q.any() and d_k.any()))

# %% [markdown]
# Does it matter? Page 10's XOR: the text asks the picture, its only key, and a linear head reads what is found. Chance is 50 %, the ceiling 90. Your function trains it, without and with a learned null (folded).

# %% tags=["measured", "proof"]
# A text asks one picture: there, and back by hand.
def ask(net, text, image, null):
    """Queries (B, 1, 16), keys and values (B, 1 or 2, 16), what is found (B, 16), logits (B, 2)."""
    query, key, value = (text @ net["query"])[:, None], image @ net["key"], image @ net["value"]
    key, value = key[:, None], value[:, None]
    if null:
        key = torch.cat([key, net["null key"].expand(len(text), 1, 16)], dim=1)
        value = torch.cat([value, net["null value"].expand(len(text), 1, 16)], dim=1)
    found = ((query @ key.mT / 4).softmax(dim=-1) @ value)[:, 0]
    return query, key, value, found, found @ net["head"] + net["bias"]

def ask_back(net, text, image, labels, null):
    """The gradient of all that takes part."""
    query, key, value, found, logits = ask(net, text, image, null)
    d_z = (logits.softmax(dim=1) - F.one_hot(labels, 2)) / len(labels)
    there = torch.ones(key.shape[:2], dtype=torch.bool)
    d_q, d_k, d_v = attention_backward((d_z @ net["head"].T)[:, None], query, key, value, there)
    d = {"head": found.T @ d_z, "bias": d_z.sum(0), "query": text.T @ d_q[:, 0],
         "key": image.T @ d_k[:, 0], "value": image.T @ d_v[:, 0]}
    learned = {"null key": d_k[:, -1].sum(0), "null value": d_v[:, -1].sum(0)}
    return d | (learned if null == "learned" else {})

# %% tags=["measured", "proof"]
# Data, start, and descent in steps that fall to 0.
world = Gates("xor")
asks = [world.sample(size, seed=seed) for size, seed in ((2000, 1), (4000, 3))]
asks = [(part["text"].double(), part["image"].double(), part["label"]) for part in asks]
SHAPES = {"query": (8, 16), "key": (8, 16), "value": (8, 16), "head": (16, 2)}

def learn_to_ask(null, seed, blind=False, epochs=20, rate=1.0):
    """The net before and after, and its test accuracy. `blind`: all rows ask the same."""
    generator = torch.Generator().manual_seed(seed)
    net = {name: torch.randn(shape, generator=generator, dtype=torch.float64) / shape[0] ** 0.5
           for name, shape in SHAPES.items()}
    net |= {name: torch.zeros(size, dtype=torch.float64)
            for name, size in (("bias", 2), ("null key", 16), ("null value", 16))}
    (text, image, labels), (test_text, test_image, test_labels), start = *asks, net
    if blind:
        text, test_text = torch.ones_like(text), torch.ones_like(test_text)
    for epoch in range(epochs):
        for rows in torch.randperm(2000, generator=generator).split(64):
            d = ask_back(net, text[rows], image[rows], labels[rows], null)
            step = rate * (1 - epoch / epochs)
            net = {name: w - step * d[name] if name in d else w for name, w in net.items()}
    said = ask(net, test_text, test_image, null)[-1].argmax(dim=1)
    return start, net, (said == test_labels).double().mean().item()

# %%
asked_of = stored("24", "null")                                    # python tools/sweep.py 24 null
for null, seen, near in (("", "one key", 49), ("learned", "one key and a learned null", 89)):
    start, net, right_share = learn_to_ask(null, seed=0)
    print("the query's map has moved:", not torch.equal(start["query"], net["query"]))
    report(f"{seen}, test accuracy", 100 * right_share, near=near, within=3, unit="%")
for name, row in asked_of.items():
    print(f"{name:34}{percent(row['accuracy']):>12} %, five seeds")

# %% [markdown]
# From chance to nearly the ceiling, and only the null was added. Where all rows ask the same it is chance again: the gain comes through the query. So it is, here, with a null that stays at zero. (Page 15's null at zero, beside 64 cells, cost nothing; why it does here, no run shows. All starts share one test set of 4,000; another may move a row near 50 % by 1.5 points.)
#
# ## Length is divided out
#
# Pairs are compared by cosines, so a vector $x$ is first brought to length 1: $u = x / \lVert x \rVert$. What does $x$ get? Take $x = (3, 4)$, so that $u = (0.6, 0.8)$, and $d_u = (1, 0)$. A step along $u$ changes the length alone: that part must go. What is left is divided by the length 5.
#
# $$ d_x = \frac{d_u - \langle u, d_u \rangle\, u}{\lVert x \rVert} \tag{24.4} $$

# %%
x, d_u = torch.tensor([3.0, 4.0]).double(), torch.tensor([1.0, 0.0]).double()
for long in (x, 10 * x):
    u = long / long.norm()                                         # (0.6, 0.8) both times
    d_x = (d_u - (u @ d_u) * u) / long.norm()
    print(f"length {long.norm():.0f}: d_x", [round(one, 4) for one in d_x.tolist()])
    print(f"   along x: {abs((d_x @ x).item()):.1f}")
verify_gradient("24.4", lambda x: F.normalize(x, dim=0)[0], lambda x: (
    d_u - (F.normalize(x, dim=0) @ d_u) * F.normalize(x, dim=0)) / x.norm(), (2,))

# %% [markdown]
# The gradient is perpendicular to $x$, an **orthogonal projection** (正交投影). Ten times the length is a tenth of the gradient, and ten times as far to go: in plain descent a vector turns more slowly by the *square* of its length. Three vectors, 120° from where they should point, 60 steps of rate 0.1:

# %%
goal = torch.tensor([1.0, 0.0]).double()
for length in (1.0, 3.0, 10.0):
    x = length * torch.tensor([-0.5, math.sqrt(0.75)]).double()
    for step in range(60):
        u = x / x.norm()
        x = x + 0.1 * (goal - (u @ goal) * u) / x.norm()           # descent on minus the cosine
    angle = math.degrees(math.acos((x @ goal / x.norm()).item()))
    print(f"length {length:2.0f}: {angle:5.1f} degrees left, length now {x.norm():.2f}")

# %% [markdown] owes="F83"
# No length has become smaller, and in plain descent none can: $\lVert x - \eta d_x \rVert^2 = \lVert x \rVert^2 + \eta^2 \lVert d_x \rVert^2$, for the step is perpendicular.
#
# ## A table of pairs
#
# Three pictures (rows) and three names (columns): their cosines $c_{ij}$, times a scale $e^\kappa = 5$, give the logits $s_{ij}$ of the table. Page 16's temperature is $\tau = e^{-\kappa} = 0.2$, and its symmetric loss, InfoNCE, is a cross-entropy for each row and each column, whose classes are the batch:
#
# $$ L = \frac{1}{2N} \sum_i \Big[ -\log \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}} \; - \; \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}} \Big], \qquad s_{ij} = e^\kappa\, \frac{\langle a_i, b_j \rangle}{\lVert a_i \rVert \lVert b_j \rVert} \tag{24.5} $$

# %%
NAMES, y = ["cat", "dog", "sun"], torch.eye(3).double()
cosines = torch.tensor([[0.7, 0.4, 0.0], [0.45, 0.3, -0.2], [0.1, 0.0, 0.8]]).double()
logits = 5 * cosines                                               # (N, N)
d_rows, d_columns = torch.zeros(2, 3, 3).double()
for i in range(3):
    d_rows[i] = logits[i].softmax(dim=0) - y[i]                 # picture i seeks its name
    d_columns[:, i] = logits[:, i].softmax(dim=0) - y[i]        # name i seeks its picture
for name, d_table in (("rows", d_rows), ("both", (d_rows + d_columns) / 2)):
    print(f"{name:8}", *[f"{one:>7}" for one in NAMES])
    for row, numbers in zip(NAMES, d_table):
        print(f"  {row:6}", *[f"{one:7.2f}" for one in numbers])

# %% [markdown]
# Negative is pulled together, positive pushed apart. The dog's picture, nearer to "cat", gets most. With rows alone the column of "cat" adds up to 0.49: that name is pushed away more than its own picture pulls. Both ways it is half of that, since each name's own softmax adds 0.
#
# Several partners may be right (page 16): of 64 spoken digits about six are a seven. Then $y$ is shared equally among the positives of a row; in the other direction, among those of a column. Without it a seven is pushed away from other sevens.
#
# > **Exercise 24.2 · The way back from pairs** — *10 minutes · core*
# >
# > Symmetric InfoNCE, (24.5), with positives. Return what reaches the vectors and $\kappa$.
# >
# > - `a` and `b` are `(N, D)`, of any lengths, none of them 0; `log_scale` is $\kappa$, a tensor of shape `()`.
# > - `positives` is `(N, N)` bool, rows for `a`, True on the diagonal; not always symmetric.
# > - Return `(d_a, d_b, d_log_scale)` in the shapes of the three. Autograd is refused. Begin with these lines:
# >
# > ```python
# > unit_a, unit_b = F.normalize(a, dim=1), F.normalize(b, dim=1)  # (N, D)
# > logits = log_scale.exp() * unit_a @ unit_b.T                   # (N, N)
# > ```

# %% exercise="24.2"
def pairs_backward(
    a: Tensor, b: Tensor, log_scale: Tensor, positives: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(d_a (N, D), d_b (N, D), d_log_scale ()) of the symmetric InfoNCE.

    Example: one pair alone has nothing to tell apart: all zeros.
    """
    ### BEGIN SOLUTION
    length_a, length_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    unit_a, unit_b = a / length_a, b / length_b  # (N, D)
    logits = log_scale.exp() * unit_a @ unit_b.T  # (N, N)
    right = positives.to(a.dtype)
    d_rows = logits.softmax(dim=1) - right / right.sum(dim=1, keepdim=True)
    d_columns = logits.softmax(dim=0) - right / right.sum(dim=0, keepdim=True)
    d_logits = (d_rows + d_columns) / (2 * len(a))  # (N, N)
    d_unit_a = log_scale.exp() * d_logits @ unit_b  # (N, N) @ (N, D)
    d_unit_b = log_scale.exp() * d_logits.T @ unit_a
    d_a = d_unit_a - (d_unit_a * unit_a).sum(dim=1, keepdim=True) * unit_a
    d_b = d_unit_b - (d_unit_b * unit_b).sum(dim=1, keepdim=True) * unit_b
    return d_a / length_a, d_b / length_b, (d_logits * logits).sum()
    ### END SOLUTION

# %% [markdown] hints="24.2"
# <details><summary>A question that helps</summary>
#
# In which order were the results made: unit vectors, logits, two softmaxes, a mean? Go through this list from its end. Where does the scale stand between the logits and the unit vectors?
#
# </details>
# <details><summary>The idea in words</summary>
#
# The table above is $d_{logits}$ but for a factor: divide by N, and share $y$ among the positives. A logit is the scale times a dot product of two unit vectors, so each gets the scale times the other one; unit vector $i$ of `a` stood in row i, one of `b` in a column. Then (24.4). For $\kappa$: $\partial s / \partial \kappa = s$, and it stands in all logits.
#
# </details>
# <details><summary>If only d_b is wrong</summary>
#
# One vector of `b` stood in a column: `d_logits.T`. Its positives are shared along the column.
#
# </details>

# %%
pairs_backward = mine("24.2", pairs_backward)
right = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]]) == 1
verify_gradient("24.6", lambda a, b, kappa: info_nce(a, b, kappa.exp(), right),
                lambda a, b, kappa: pairs_backward(a, b, kappa, right), (4, 3), (4, 3), ())

# %% [markdown]
# <details><summary>Compare with yours</summary>
#
# $$ d_{logits} = \frac{P_{rows} + P_{columns} - Y_{rows} - Y_{columns}}{2N}, \qquad d_{\hat a} = e^\kappa\, d_{logits}\, \hat b, \qquad d_{\hat b} = e^\kappa\, d_{logits}^\top\, \hat a, \qquad d_\kappa = \sum_{ij} d_{s_{ij}} s_{ij} \tag{24.6} $$
#
# Then the projection (24.4) for each vector.
#
# </details>

# %% tags=["figure"]
# Three pairs on the unit circle, and where descent turns each. (24.5).
def on_circle(*degrees):
    turned = torch.tensor(degrees).double().deg2rad()
    return torch.stack([turned.cos(), turned.sin()], dim=1)        # (3, 2)

a, b, own = on_circle(75.0, 150.0, 240.0), on_circle(35.0, 100.0, 300.0), torch.eye(3) == 1
figure, panels = plots.axes(width=7.4, height=3.6, columns=2)
for ax, temperature in zip(panels, (1.0, 0.05)):
    d_a, d_b, _ = pairs_backward(a, b, -torch.tensor(temperature).double().log(), own)
    ax.plot(*on_circle(*range(361)).T, color="#CCCCCC", linewidth=1)
    size = -0.6 / torch.cat([d_a, d_b]).norm(dim=1).max()
    for color, marker, points, d in (("image", "o", a, d_a), ("text", "s", b, d_b)):
        ax.plot(*points.T, marker, color=plots.COLORS[color], markersize=7)
        for name, (x0, y0), (dx, dy) in zip(NAMES, points.tolist(), (size * d).tolist()):
            if abs(dx) > 0.01:
                ax.annotate("", (x0 + dx, y0 + dy), (x0, y0), arrowprops={
                    "arrowstyle": "-|>", "color": plots.COLORS[color], "linewidth": 1.6})
            ax.text(0.7 * x0, 0.7 * y0, name, ha="center", va="center", color=plots.COLORS[color])
    ax.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.5), aspect="equal")
    ax.set_axis_off()
    ax.set_title(f"temperature {temperature:g}", fontsize=10)
plots.show(figure, "Pictures (circles) and names (squares), all of length 1; the arrows show where"
           " descent moves them, the longest of a panel always drawn as long.")
s = 2 * a @ b.T
verify("24.5", (s.logsumexp(1) + s.logsumexp(0) - 2 * s.diagonal()).mean() / 2, info_nce(a, b, 2.0))

# %% [markdown]
# All arrows are tangents, by (24.4). At temperature 1 the sun's pair is still pulled together; at 0.05 it gets next to nothing, because its own is far nearer than all others. The cat's picture, nearer to "dog", gets much in both.
#
# ## What the temperature gets
#
# As long as the own score lies, on average, above the one that the softmax *expects*, the scale grows and the temperature falls.
#
# <details><summary>In a formula</summary>
#
# Put $p - y$ into $d_\kappa = \sum_{ij} d_{s_{ij}} s_{ij}$. With one positive each it is a difference of means:
#
# $$ d_\kappa = \frac{1}{2N} \sum_i \Big[ \Big(\sum_j p_{ij}\, s_{ij} - s_{ii}\Big) + \Big(\sum_j p'_{ji}\, s_{ji} - s_{ii}\Big) \Big] \tag{24.7} $$
#
# with the softmax $p$ of the row and $p'$ of the column.
#
# </details>
#
# ## Trained by hand
#
# Noisy scans of digits, and digits spoken in noise, each through one linear map to 16 numbers. In a batch of 64 all rows of one digit are positives. All gradients are yours, $\kappa$'s too.

# %% tags=["measured"]
def towers_by_hand(net, scan, sound, positives):
    """The loss of a batch, and its gradients by hand."""
    a, b = scan @ net["scan"].T, sound @ net["sound"].T            # (B, 16) both
    d_a, d_b, d_log_scale = pairs_backward(a, b, net["log_scale"], positives)
    loss = info_nce(a, b, net["log_scale"].exp(), positives).item()
    return loss, {"scan": d_a.T @ scan, "sound": d_b.T @ sound, "log_scale": d_log_scale}

# %% tags=["measured", "proof"]
# The same from autograd; data, each feature standardised by the training set.
def towers_by_autograd(net, scan, sound, positives):
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in net.items()}
    a, b = scan @ leaves["scan"].T, sound @ leaves["sound"].T
    loss = info_nce(a, b, leaves["log_scale"].exp(), positives)
    return loss.item(), dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))


def load(seed, **dials):
    """{split: scans (B, 64), sounds (B, 256) and labels (B,)}, float64."""
    parts = {}
    for split in ("train", "validation", "test"):
        batch = collate(list(Digits(split, seed=seed, **dials)))
        scan = F.adaptive_avg_pool2d(batch["image"].double(), 8).flatten(1)
        sound = band_features(batch["audio"], batch["mask"]["audio"]).double()
        parts[split] = [scan, sound, batch["label"]]
    for place in (0, 1):
        middle, spread = parts["train"][place].mean(0), parts["train"][place].std(0) + 1e-6
        for part in parts.values():
            part[place] = (part[place] - middle) / spread
    return parts

# %% tags=["measured", "proof"]
# Training; and how often the nearest, but for their own, is right.
def train_towers(gradients_of, part, seed, epochs=10, rate=1.0, shared=True):
    """The net after training on batches of 64, and the loss of every step."""
    generator, (scans, sounds, labels) = torch.Generator().manual_seed(seed), part
    net = {name: torch.randn(16, size, generator=generator, dtype=torch.float64) / size**0.5
           for name, size in (("scan", scans.shape[1]), ("sound", sounds.shape[1]))}
    net["log_scale"], losses = torch.tensor(5.0).double().log(), []
    for epoch in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(64):
            same = labels[rows][:, None] == labels[rows]
            positives = same if shared else torch.eye(len(rows)) == 1
            loss, d = gradients_of(net, scans[rows], sounds[rows], positives)
            step = rate * (1 - epoch / epochs)
            net = {name: w - step * d[name] for name, w in net.items()}
            losses.append(loss)
    return net, losses

def finds(net, part):
    """The share whose nearest in the other modality, but for their own, is the same digit."""
    a, b = F.normalize(part[0] @ net["scan"].T), F.normalize(part[1] @ net["sound"].T)
    near = (a @ b.T).fill_diagonal_(-2)
    hits = [part[2][near.argmax(dim=dim)] == part[2] for dim in (0, 1)]
    return torch.cat(hits).double().mean().item()

# %%
digits = load(seed=0)
net, hand_losses = train_towers(towers_by_hand, digits["train"], seed=0)
_, autograd_losses = train_towers(towers_by_autograd, digits["train"], seed=0)
scan, sound, labels = [part[:64] for part in digits["train"]]
batch = scan, sound, labels[:, None] == labels
compare(towers_by_hand(net, *batch)[1], towers_by_autograd(net, *batch)[1], tolerance=1e-12)
apart = max(abs(one - other) for one, other in zip(hand_losses, autograd_losses))
report("largest difference of the two loss curves", apart, near=0, within=1e-10)
report("finds the same digit, test", 100 * finds(net, digits["test"]), 48, 5, unit="%")

# %%
pairs = stored("24", "pairs")                                      # python tools/sweep.py 24 pairs
for name, row in pairs.items():
    found, heat = percent(row["accuracy"]), row["temperature"]
    print(f"{name:18}{found:>11} %   temperature {min(heat):.2f} to {max(heat):.2f}")
shared, each = (pairs[name]["accuracy"] for name in ("positives shared", "one positive each"))
print("shared minus one each, in points:", percent(shared, minus=each))

# %% [markdown]
# Your loss lies on autograd's. The stored runs, rate and epochs chosen on the validation set for each row and seed: with shared positives 47.7 ± 3.1 % find their digit, 10.6 ± 2.4 points more, paired, than with one positive each, where other sevens count as wrong. Shuffled sounds leave chance, and a temperature without meaning. But sharing uses the labels. The temperature differs, too: 0.22 to 0.24 with shared positives, 0.10 to 0.14 with one.
#
# ## Other losses, other gradients
#
# **Sigmoid loss** asks each pair alone whether it is one. **Triplet loss** wants the own cosine larger by a margin than a wrong one.
#
# <details><summary>Both as formulas</summary>
#
# Sigmoid, with $y_{ij} = 1$ for a pair and -1 else, and a learned bias in $s$: $\frac{1}{N} \sum_{ij} \log(1 + e^{-y_{ij} s_{ij}})$. Triplet, with the margin $\mu$ and pictures as anchors: $\frac{1}{N(N-1)} \sum_{i \neq j} \max(0, \mu + c_{ij} - c_{ii})$. What a wrong pair $i \neq j$ gets:
#
# $$ d_{s_{ij}} = \frac{\sigma(s_{ij})}{N} \ \text{(sigmoid)}, \qquad d_{c_{ij}} = \frac{[\,\mu + c_{ij} - c_{ii} > 0\,]}{N(N-1)} \ \text{(triplet)} \tag{24.8} $$
#
# </details>

# %% tags=["proof"]
# (24.8): what every pair gets from sigmoid and from triplet loss.
def sigmoid_gets(s):
    y = 2 * torch.eye(len(s)) - 1
    return -y * (-y * s).sigmoid() / len(s)

def triplet_gets(c):
    near = (0.2 + c - c.diagonal()[:, None] > 0) & (torch.eye(len(c)) == 0)
    gets = near.to(c) / (len(c) * (len(c) - 1))
    return gets - torch.diag(gets.sum(dim=1))

def both_losses(s, c):
    hinge = (0.2 + c - c.diagonal()[:, None]).clamp(min=0).fill_diagonal_(0)
    return F.softplus(-(2 * torch.eye(4) - 1) * s).sum() / 4 + hinge.sum() / 12

verify_gradient("24.8", both_losses, lambda s, c: (sigmoid_gets(s), triplet_gets(c)),
                (4, 4), (4, 4))

# %% tags=["figure"]
# (24.7), expected minus own; and the three pairs of the table under three losses.
def expected_minus_own(a, b, kappa):
    s = kappa.exp() * F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    return ((s.softmax(1) * s).sum() + (s.softmax(0) * s).sum() - 2 * s.trace()) / (2 * len(a))

log_five = torch.tensor(5.0).double().log()
verify("24.7", expected_minus_own(a, b, log_five), pairs_backward(a, b, log_five, own)[2])

GETS = {"InfoNCE": 5 * (d_rows + d_columns) / 6, "sigmoid": 5 * sigmoid_gets(5 * cosines - 2),
        "triplet": (triplet_gets(cosines) + triplet_gets(cosines.T).T) / 2}
figure, panels = plots.axes(width=7.6, height=2.7, columns=3)
for ax, (name, gets) in zip(panels, GETS.items()):
    ax.imshow(gets, cmap="PuOr", vmin=-2 * gets.abs().max(), vmax=2 * gets.abs().max())
    for i, row in enumerate(gets.tolist()):
        for j, one in enumerate(row):
            ax.text(j, i, f"{one:.2f}" if one else "0", ha="center", va="center")
    ax.set_xticks(range(3), NAMES)
    ax.set_yticks(range(3), NAMES)
    ax.set_title(name, fontsize=10)
plots.show(figure, "What each cosine gets from three losses, both directions, scale 5, bias -2,"
           " margin 0.2; rows are pictures. Only the triplet has exact zeros.")

# %% [markdown]
# | loss | a wrong pair gets | the own pair gets |
# |---|---|---|
# | InfoNCE | its share $p$ of the row, and of the column | $p - 1$ of both; with n positives $p - \frac{1}{n}$ |
# | sigmoid | $\sigma(s)$, whatever the others do | $-\sigma(-s)$ |
# | triplet | 1 while it is too near, else 0 | minus the number of these |
#
# In the triplet's table six of nine cosines get exactly nothing. The sun is nearer to its own by the margin: done. The other two losses still pull it a little.

# %% [markdown]
# ## More: alone with a fusion that no page shows
#
# The package's README adds a layer that no page shows, `HadamardFusion`. With modalities of one width D, a head $W$ $(C, D)$ and a bias:
#
# $$ \text{logits} = W \prod_{m\ \text{present}} \tanh(h_m) \; + \; b, \qquad \text{entry by entry} \tag{24.9} $$
#
# A missing modality is a factor 1. The slope of tanh is $1 - \tanh^2$.
#
# > **Exercise 24.3 · Alone with a product** — *8 minutes · stretch*
# >
# > *More*: nothing after this section needs it.
# >
# > On paper first. Then return what arrives at the modalities, the head and its bias.
# >
# > - `d_logits` is `(B, C)`, `inputs` `{name: (B, D)}`, `present` `{name: (B,)}` bool with the same names, `weight` `(C, D)`.
# > - Return `(d_inputs, d_weight, d_bias)`: `{name: (B, D)}`, `(C, D)`, `(C,)`.
# > - A missing modality gets exactly 0; what stands there never matters, not even NaN. An entry of a present one may be exactly 0. Autograd is refused.

# %% exercise="24.3"
def hadamard_backward(
    d_logits: Tensor, inputs: dict[str, Tensor], present: dict[str, Tensor], weight: Tensor
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """({name: (B, D)}, d_weight (C, D), d_bias (C,)), back through (24.9).

    Example: d_logits [[2.0]], weight [[3.0]] and inputs {"text": [[0.0]], "image": [[50.0]]},
    both present, give {"text": [[6.0]], "image": [[0.0]]}, [[0.0]] and [2.0].
    """
    ### BEGIN SOLUTION
    factors = {}
    for name, x in inputs.items():
        factors[name] = torch.where(present[name][:, None], x.tanh(), 1.0)  # (B, D)
    product = torch.stack(list(factors.values())).prod(dim=0)  # (M, B, D) -> (B, D)
    d_product, d_inputs = d_logits @ weight, {}  # (B, C) @ (C, D)
    for name in inputs:
        others = torch.ones_like(product)
        for other in inputs:
            if other != name:
                others = others * factors[other]
        slope = 1 - factors[name] ** 2  # 0 where the factor is 1
        d_inputs[name] = d_product * others * slope
    return d_inputs, d_logits.T @ product, d_logits.sum(dim=0)
    ### END SOLUTION

# %% [markdown] hints="24.3"
# <details><summary>A question that helps</summary>
#
# Which factor of the product depends on $h_m$, and what are the others for it?
#
# </details>
# <details><summary>If you see NaN</summary>
#
# The product divided by one's own factor is not the product of the others where that factor is 0. And 0 times NaN is NaN: choose with `torch.where`.
#
# </details>

# %% tags=["proof"]
# (24.9) with three modalities, some missing; its gradients by the reader's function.
HERE = {"text": torch.tensor([True, True, False]), "image": torch.tensor([True, False, True]),
        "audio": torch.tensor([True, True, True])}
truth = torch.tensor([0, 2, 1])

def hadamard(h, weight, bias):
    ones = [torch.where(HERE[name][:, None], x.tanh(), 1) for name, x in zip(HERE, h)]
    return torch.stack(ones).prod(dim=0) @ weight.T + bias         # (3, 4)

def hadamard_gets(*given):
    *h, weight, bias = given
    d_z = (hadamard(h, weight, bias).softmax(dim=1) - F.one_hot(truth, 4)) / 3
    d_inputs, d_weight, d_bias = hadamard_backward(d_z, dict(zip(HERE, h)), HERE, weight)
    return *d_inputs.values(), d_weight, d_bias

torch.manual_seed(0)
h, W = torch.randn(3, 3, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
bias, by_rows = W[:, 0] / 2, []
for n in range(3):
    seen = [h[m, n].tanh() for m, name in enumerate(HERE) if HERE[name][n]]
    by_rows.append(W @ torch.stack(seen).prod(dim=0) + bias)
verify("24.9", by_hand=torch.stack(by_rows), reference=hadamard(h, W, bias))

# %%
hadamard_backward = mine("24.3", hadamard_backward)
verify_gradient("24.10", lambda *x: F.cross_entropy(hadamard(x[:3], *x[3:]), truth),
                hadamard_gets, (3, 2), (3, 2), (3, 2), (4, 2), (4,))

# %% [markdown]
# <details><summary>Compare with yours</summary>
#
# $$ d_{h_m} = \big(d_{logits}\, W\big) \odot \prod_{k \neq m} \tanh(h_k) \odot \big(1 - \tanh^2(h_m)\big), \qquad d_W = d_{logits}^\top \prod_m \tanh(h_m) \tag{24.10} $$
#
# The others are its factors. A modality whose $h_m$ is large gets next to nothing: its tanh is saturated.
#
# </details>

# %% [markdown]
# ## With the library
#
# Symmetric InfoNCE in plain PyTorch:

# %%
import torch as pt
import torch.nn.functional as fn

pictures, texts = pt.randn(8, 16, requires_grad=True), pt.randn(8, 16, requires_grad=True)
table = fn.normalize(pictures, dim=1) @ fn.normalize(texts, dim=1).T / 0.07
table.retain_grad()
target = pt.arange(8)
((fn.cross_entropy(table, target) + fn.cross_entropy(table.T, target)) / 2).backward()
p_minus_y = (table.softmax(dim=1) + table.softmax(dim=0) - 2 * pt.eye(8)) / 16
print("p - y, both ways:", pt.allclose(table.grad, p_minus_y, atol=1e-6))

# %% [markdown]
# ## On real data
#
# The same maps and gradients on 5,000 of MNIST's test images paired with spoken digits of FSDD (of its six speakers the test has the easiest two, page 12), untuned (rate 1, ten epochs); five seeds, stored.

# %% tags=["proof"]
# The stored runs on MNIST and FSDD: python tools/sweep.py 24 mnist.
mnist = stored("24", "mnist")
print("find it, %:", *(f"{name} {percent(row['accuracy'])};" for name, row in mnist.items()))

# %% tags=["real-data", "nbval-ignore-output"]
# Not compared: without the data (18 MB, fetched once) it says how to get them.
if store.have("mnist", "fsdd"):
    public = load(0, source="mnist-fsdd")
    public_net, _ = train_towers(towers_by_hand, public["train"], 0)
    live = finds(public_net, public["test"])
    report("live minus stored", live - mnist["positives shared"]["accuracy"][0], 0, within=0.02)

# %% [markdown]
# 62.8 ± 1.6 % find their digit with shared positives, 63.0 ± 2.9 with one positive each, 10.6 ± 2.5 with shuffled sounds: here sharing makes no difference that five seeds can show.
#
# ## Recap
#
# You can now
#
# 1. **settle** the bet: a softmax of .98 and .02 passes on a share of .0196, unless the loss's slope cancels it;
# 2. **build** attention's way back, with the mask before the softmax; each query's scores get 0 in all;
# 3. **show** why one key teaches no query, and that a learned null takes XOR from 49 to 89 %;
# 4. **project**: through unit length a gradient is perpendicular to the vector; long vectors turn slowly;
# 5. **go back** from a table of pairs, both ways, to vectors and temperature, and train on autograd's curve;
# 6. **compare**: InfoNCE shares the push by p, sigmoid asks each pair alone, the triplet is silent where it is far enough; and, if you like, **derive** what a product of tanh sends back.
#
# ## Questions
#
# <details><summary>1. Why does a masked key need no line of its own on the way back?</summary>
#
# Its weight is exactly 0, and the weight is a factor of what its score, its key and its value get. Only NaN needs a line: 0 times NaN is not 0.
#
# </details>
# <details><summary>2. Two keys are equal, with equal values. What does the query get?</summary>
#
# Nothing, again. Both weights are one half, both bring the mean, so each $d_A$ is the mean. One key is only the plainest case of "nothing to choose".
#
# </details>
# <details><summary>3. A model "aligns" two modalities by $f = g(h_1 + h_2)$. What do the two get?</summary>
#
# The same vector: a sum sends back to each what reaches it. Nothing in it says that these two belong together and others do not. For that a similarity of the two is needed, before they are added, and a loss on it.
#
# </details>
# <details><summary>4. After training with <code>d_rows</code> alone all seems well. How do you see in a second that a direction is missing?</summary>
#
# Print the table's sums: with one direction each row of $d_{logits}$ adds up to 0. With both, neither rows nor columns need to; only the whole does.
#
# </details>
# <details><summary>5. With the whole page: attention in the middle is sure and wrong, and InfoNCE at the end is sure and wrong. Which recovers, and why?</summary>
#
# InfoNCE: its logarithm's slope cancels the small probability, and the own pair gets nearly -1. In the middle the small weight stays a factor. It recovers, too, but the surer, the later: look at the table of the bet.
#
# </details>
# <details><summary>6. With the whole page: a text asks one pooled picture, and both are trained by InfoNCE against other modalities. What do query, key, value and the two towers' lengths learn?</summary>
#
# Query and key nothing, the weight is 1. The value's map learns, and only in directions: what reaches each vector before its unit length is perpendicular to it.
#
# </details>
#
# ## Read more
#
# - A. Vaswani and others, *Attention Is All You Need*, NIPS 2017 (arXiv:1706.03762). Section 3.2.1: why the root, and what a large score does to the softmax's gradient.
# - T. Wang, P. Isola, *Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere*, ICML 2020 (arXiv:2005.10242). Two losses.
# - P. Khosla and others, *Supervised Contrastive Learning*, NeurIPS 2020 (arXiv:2004.11362). Several positives.
# - X. Zhai and others, *Sigmoid Loss for Language Image Pre-Training*, ICCV 2023 (arXiv:2303.15343), and F. Schroff, D. Kalenichenko, J. Philbin, *FaceNet*, CVPR 2015 (arXiv:1503.03832), for the triplet.
#
# ## A bet for page 25
#
# A model writes captions word by word. *Greedy* always takes the likeliest next word; a *beam* keeps the three likeliest beginnings and ends with the likeliest whole caption. Both are made to begin with "there are", so that all are lists. Whose are more often *true* of the picture, word for word?
#
# *Ada says: the beam's, for no first word traps it.* *Ben says: not the beam's, for likelier is not truer.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("24.a", None)
guesses("24")
