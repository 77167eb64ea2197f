# %% [markdown]
# # What is attention, before there are two modalities?
#
# A mean takes each word of a sentence with the same weight. Attention lets each word choose, by what the words say, how much it takes of which; here you build it, and nearly all of a small GPT.
#
# *About {minutes} minutes. You need page 01: words, padding, a mask; and pages 04 and 10 for two parts of a block.*

# %% [markdown]
# ## In this notebook you will
#
# 1. compute attention over four words by hand, and build it for a padded batch;
# 2. build several heads under any mask, equal to PyTorch's, and see a mask read the wrong way round;
# 3. put a block together, and count what it costs by length;
# 4. cut a picture into patches, and measure what is lost without positions;
# 5. build the causal mask, settle the bet of page 13, and see training leap;
# 6. train a small GPT, and ask what the state of its last word keeps.

# %% tags=["measured", "imports"]
# Imports.
import math
from random import Random

import torch
from ipywidgets import Dropdown, IntSlider
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_utils import plots
from course_utils.datasets import Scenes
from course_utils.exercises import check, mine
from course_utils.masks import last_state, masked_mean
from course_utils.metrics import mean_interval, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.text import Vocabulary, tokenize
from course_utils.widgets import Explorer

# %% tags=["figure"]
# Attention in one picture: the words, what "drinks" takes of each, and what comes out.
figure, ax = plots.axes(width=6.4, height=2.2)
ax.axis((-0.9, 6.6, 0.1, 3.3))
ax.set_axis_off()
for place, (word, share) in enumerate(zip(["the", "small", "cat", "drinks"], [8, 22, 61, 8])):
    ax.text(1.5 * place, 2.4, f"{word}\n{share} %", ha="center", color=plots.INK, fontsize=11)
    ax.plot([1.5 * place, 4.5], [2.15, 0.8], color=plots.COLORS["text"], linewidth=share / 6,
            solid_capstyle="butt")
ax.text(4.5, 0.35, "the result at drinks: mostly the value of cat", ha="center", color=plots.INK)
plots.show(figure, "What \"drinks\" takes of each word. The shares come from its query and the"
           " words' keys; the result is the sum of the values with these shares.")

# %% [markdown]
# ## The bet of page 13
#
# A small language model guesses each next word and reads from left to right. Nobody tells it where a word stands. Can it tell "the cat chases the dog" from "the dog chases the cat"? Ada: no. Ben: yes. On page 01 a mean could not, and a recurrent network could. This model is neither: it mixes words by **attention** (注意力). So first: what is that?
#
# ## Four words
#
# In "the small cat drinks", who drinks? Each word has three vectors. Its **query** (查询) says what it looks for, its **key** (键) what it is found by, its **value** (值) what it hands over. They are chosen by hand here, and learned later. The keys have four columns: determiner (such as "the"), adjective, noun, verb. The query of "drinks" looks for a noun, and half as much for an adjective.
#
# The **score** (得分) of a word is the dot product of query and key, divided by $\sqrt D$, here by 2. A softmax makes weights of the scores.

# %%
words = ["the", "small", "cat", "drinks"]
key = torch.eye(4)                                 # (S, D): determiner, adjective, noun, verb
value = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])    # (S, E)
query = torch.tensor([0.0, 2.0, 4.0, 0.0])                                # (D,), of "drinks"
scores = [(query * k).sum().item() / math.sqrt(4) for k in key]
powers = [math.exp(score) for score in scores]
weights = [power / sum(powers) for power in powers]
for word, score, power, weight in zip(words, scores, powers, weights):
    print(f"{word:7} score {score:.0f}   e to the score {power:.2f}   weight {weight:.2f}")
result = sum(weight * v for weight, v in zip(weights, value))             # (E,)
print("result: cat", round(result[0].item(), 2), " small", round(result[1].item(), 2))

# %% [markdown]
# The powers add up to 12.11, and 7.39 of it belong to "cat". So far one query. In **self-attention** (自注意力) every word has one, and looks at all words, itself too. With $m_s$ 1 for a real word and 0 for padding, the weights and the result of word t are
#
# $$ a_{ts} = \frac{m_s\, e^{q_t \cdot k_s / \sqrt D}}{\sum_r m_r\, e^{q_t \cdot k_r / \sqrt D}}, \qquad h_t = \sum_s a_{ts}\, v_s \tag{14.1} $$
#
# Each *query* shares out its attention: the sum goes over keys. Why $\sqrt D$? A dot product adds D products. If these are independent, with mean 0 and variance 1, the sum has variance D, and divided by $\sqrt D$ it has variance 1 at any width.
#
# > **Exercise 14.1 · Attention of one head** — *7 minutes · core*
# >
# > - `query` is `(B, T, D)`, `key` `(B, S, D)`, `value` `(B, S, E)`; `mask` is `(B, S)` bool, True = a real key. Return `(B, T, E)` by (14.1).
# > - A text without a real key gives zeros.
# > - Masked keys have weight 0, whatever finite numbers stand there. Scores may be large, or far below zero.

# %% exercise="14.1"
def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention: (B, T, D), (B, S, D), (B, S, E), (B, S) bool -> (B, T, E).

    Example: query [[[0.0]]], key [[[1.0], [5.0]]], value [[[2.0], [4.0]]] give [[[3.0]]] with
    mask [[True, True]], and [[[2.0]]] with [[True, False]].
    """
    ### BEGIN SOLUTION
    scores = query @ key.mT / math.sqrt(query.shape[-1])     # (B, T, D), (B, D, S) -> (B, T, S)
    scores = scores.masked_fill(~mask[:, None], -torch.inf)  # (B, S) -> (B, 1, S)
    empty = ~mask.any(dim=1)[:, None, None]                  # (B, 1, 1)
    weights = torch.softmax(scores.masked_fill(empty, 0), dim=-1).masked_fill(empty, 0)
    return weights @ value                                   # (B, T, S), (B, S, E) -> (B, T, E)
    ### END SOLUTION

# %% [markdown] hints="14.1"
# <details><summary>A question that helps</summary>
#
# The scores are a table: a row for each query, a column for each key. Which product of two matrices gives all of them at once? Along which axis do the weights sum to 1?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Multiply the queries by the transposed keys, `key.mT`, and divide by the root of D. Put minus infinity in every *column* whose key is padding, then take the softmax along the last axis and multiply by the values. A text without a real key has only minus infinity: treat it apart (as page 11's present weights do).
#
# </details>
# <details><summary>If you see NaN</summary>
#
# A softmax over nothing but minus infinity divides 0 by 0. Put zeros in such a row before the softmax, and set its weights to 0 behind it.
#
# </details>

# %%
attend = mine("14.1", attend)
keys = torch.stack([key, key])                                            # (B, S, D)
mask = torch.tensor([[True] * 4, [True, False, True, False]])             # (B, S)
found = attend(query.expand(2, 1, 4), keys, value.expand(2, 4, 2), mask)  # -> (B, 1, E)
print("all four words:        ", found[0, 0].numpy().round(2))
print("only 'the' and 'cat':  ", found[1, 0].numpy().round(2))
seed_everything(0)
q, k, v = (torch.randn(3, 5, 4, dtype=torch.float64) for _ in range(3))   # (B, T, D) each
kept = torch.arange(5) < torch.tensor([[5], [3], [1]])                    # (B, T)
by_torch = F.scaled_dot_product_attention(q, k, v, attn_mask=kept[:, None])
verify("14.1", by_hand=attend(q, k, v, kept), reference=by_torch)

# %% [markdown]
# **Zeros after the softmax.** A common mistake is to set the weights of padding to 0 *behind* the softmax. Text 1 alone, and as it stands in a batch, with two places of padding:

# %% tags=["fault"]
shares = torch.softmax(q[1] @ k[1].T / math.sqrt(4), dim=-1)              # (T, T)
shares = shares * kept[1]                                                 # zeros for padding
print("sums of the rows:", shares.sum(dim=-1).numpy().round(2))
alone = F.scaled_dot_product_attention(q[1], k[1, :3], v[1, :3])          # (T, D)
print("as without padding:", torch.allclose(shares @ v[1], alone))

# %% [markdown]
# Padding has taken its share, and the share is thrown away. No error: a word's result shrinks with the length of its *neighbours* in the batch. Mask the scores:

# %%
shares = (q[1] @ k[1].T / math.sqrt(4)).masked_fill(~kept[1], -torch.inf)
shares = torch.softmax(shares, dim=-1)                                    # (T, T)
print("sums of the rows:", shares.sum(dim=-1).numpy().round(2))
print("as without padding:", torch.allclose(shares @ v[1], alone))

# %% [markdown]
# ## Several heads
#
# One softmax gives one pattern: whoever looks for the noun has little weight left for the rest. **Multi-head attention** (多头注意力) makes h patterns. Four matrices, all learned, `(D, D)` each: three make queries, keys and values of the words, as linear layers do. Head 1 takes the first D/h columns of each, head 2 the next. The results stand side by side, and the fourth matrix mixes them:
#
# $$ \operatorname{head}_i = \operatorname{attend}(x W_q^{i\top},\, x W_k^{i\top},\, x W_v^{i\top}), \qquad y = [\operatorname{head}_1 \dots \operatorname{head}_h]\, W_o^\top \tag{14.2} $$
#
# where $W^i$ are the rows of $W$ that make the columns of head i. One text, two heads, by loop:

# %%
seed_everything(0)
x = torch.randn(1, 3, 4, dtype=torch.float64)                             # (B, T, D), three words
W_q, W_k, W_v, W_o = torch.randn(4, 4, 4, dtype=torch.float64)            # (D, D) each
heads_found = []
for rows in (slice(0, 2), slice(2, 4)):
    parts = [x @ W[rows].T for W in (W_q, W_k, W_v)]                      # (1, 3, 2) each
    heads_found.append(attend(*parts, torch.ones(1, 3, dtype=torch.bool)))
by_loop = torch.cat(heads_found, dim=-1) @ W_o.T                          # -> (1, 3, 4)
print("each head:", tuple(heads_found[0].shape), " all:", tuple(by_loop.shape))

# %% [markdown]
# Without a loop the heads become an axis of their own, like the batch: `(B, T, D)` is cut to `(B, T, h, D/h)`, then turned to `(B, h, T, D/h)`. And one mask serves all cases if it says for each word what *it* may look at: `sees[b, t, s]` is True if word t may look at word s.
#
# > **Exercise 14.2 · Multi-head attention under a mask** — *10 minutes · stretch*
# >
# > (If you skip it, the page goes on with the course's.)
# >
# > - `x` is `(B, T, D)`, `sees` `(B, T, T)` bool, the four matrices are `(D, D)`, and `heads` divides D. Return `(B, T, D)` by (14.2).
# > - Where word t may look at nothing, its heads give zeros.
# > - A loop over heads is right, too.

# %% exercise="14.2"
def multi_head(
    x: Tensor, sees: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, W_o: Tensor, heads: int
) -> Tensor:
    """Multi-head self-attention: (B, T, D), (B, T, T) bool, four (D, D) -> (B, T, D).

    Example: if each word sees only itself, the result is x @ W_v.T @ W_o.T.
    """
    ### BEGIN SOLUTION
    B, T, D = x.shape
    cut = []
    for W in (W_q, W_k, W_v):
        cut.append((x @ W.T).view(B, T, heads, D // heads).transpose(1, 2))   # (B, h, T, D/h)
    q, k, v = cut
    scores = q @ k.mT / math.sqrt(D // heads)                  # (B, h, T, T)
    scores = scores.masked_fill(~sees[:, None], -torch.inf)    # (B, T, T) -> (B, 1, T, T)
    empty = ~sees.any(dim=-1)[:, None, :, None]                # (B, 1, T, 1)
    weights = torch.softmax(scores.masked_fill(empty, 0), dim=-1).masked_fill(empty, 0)
    mixed = (weights @ v).transpose(1, 2).reshape(B, T, D)     # (B, h, T, D/h) -> (B, T, D)
    return mixed @ W_o.T
    ### END SOLUTION

# %% [markdown] hints="14.2"
# <details><summary>A question that helps</summary>
#
# A matrix product works on the last two axes. Which two must these be for scores, and where do the heads stand meanwhile? Over how many numbers does a head's dot product go?
#
# </details>
# <details><summary>The idea in words</summary>
#
# `x @ W_q.T`, cut with `.view(B, T, heads, D // heads)`, turned with `.transpose(1, 2)`; the same for keys and values. Scores by the root of D/h, the mask with an axis for the heads, `sees[:, None]`, softmax, times values. Turn back, `.transpose(1, 2).reshape(B, T, D)`, and multiply by `W_o.T`.
#
# </details>
# <details><summary>If you see "view size is not compatible"</summary>
#
# After a transpose the numbers do not lie in order in memory. `.reshape` copies where it must, `.view` never does.
#
# </details>

# %%
multi_head = mine("14.2", multi_head)
everything = torch.ones(1, 3, 3, dtype=torch.bool)                        # (B, T, T)
at_once = multi_head(x, everything, W_q, W_k, W_v, W_o, 2)                # (1, 3, 4)
print("heads as an axis, as by loop:", torch.allclose(at_once, by_loop))
turned = torch.tensor([2, 0, 1])
after = multi_head(x[:, turned], everything, W_q, W_k, W_v, W_o, 2)
print("words permuted first, or afterwards:", torch.allclose(after, at_once[:, turned]))

# %% tags=["proof"]
# PyTorch's own layer with the same matrices; two texts, the second padded by one word.
library = nn.MultiheadAttention(4, 2, bias=False, batch_first=True, dtype=torch.float64)
library.in_proj_weight.data = torch.cat([W_q, W_k, W_v])                  # 3 x (D, D) -> (3 D, D)
library.out_proj.weight.data = W_o
texts = torch.cat([x, x.flip(1)])                                         # (2, 3, D)
real = torch.tensor([[True, True, True], [True, True, False]])            # (2, T)
own = multi_head(texts, real[:, None].expand(2, 3, 3), W_q, W_k, W_v, W_o, 2)

# %% [markdown]
# `library` (folded) is PyTorch's `nn.MultiheadAttention` with your matrices, so it must give your numbers, also for two texts of which the second is padded by one word (`real` says so):

# %% tags=["fault"]
theirs = library(texts, texts, texts, key_padding_mask=real)[0]           # (2, T, D)
print("NaN in text 0, in text 1:", theirs.isnan().any(dim=2).any(dim=1).tolist())
print("equal to yours:", torch.allclose(theirs, own))

# %% [markdown]
# `key_padding_mask` means the opposite of ours: True is *ignored*. Text 1 looks at its padding alone, and no error says so. Text 0 ignores all its words and is NaN; with `need_weights=False`, as `nn.TransformerEncoderLayer` calls it in training, not even that: it is zeros (folded below). In `scaled_dot_product_attention` True takes part, as in ours.

# %%
theirs = library(texts, texts, texts, key_padding_mask=~real)[0]          # (2, T, D)
print("NaN in text 0, in text 1:", theirs.isnan().any(dim=2).any(dim=1).tolist())
print("equal to yours:", torch.allclose(theirs, own))

# %% [markdown]
# ## A block
#
# Attention only *mixes* values. A **transformer block** (Transformer 块) adds to each word what attention brings, then what a small network makes of each word by itself. Before each stands a layer normalisation (page 10: each vector gets mean 0 and variance 1). Adding, instead of replacing, is the skip connection of page 04.

# %% tags=["measured"]
class Block(nn.Module):
    """Attention, then a hidden layer, each added to what comes in: (B, T, D) -> (B, T, D)."""

    def __init__(self, D, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D, bias=False), nn.LayerNorm(D, bias=False)
        self.q, self.k, self.v, self.o = (nn.Linear(D, D, bias=False) for _ in range(4))
        self.wide, self.back = nn.Linear(D, 4 * D, bias=False), nn.Linear(4 * D, D, bias=False)
        self.heads = heads

    def forward(self, x, sees):
        matrices = [layer.weight for layer in (self.q, self.k, self.v, self.o)]
        x = x + multi_head(self.norm1(x), sees, *matrices, self.heads)
        return x + self.back(self.wide(self.norm2(x)).relu())

# %% tags=["proof"]
# (14.2) and the library; all keys masked; a block and PyTorch's layer.
sound = library(texts, texts, texts, key_padding_mask=~real)[0].detach()
verify("14.2", by_hand=own, reference=sound)
nothing = torch.zeros(1, 3, 3, dtype=torch.bool)
assert not F.scaled_dot_product_attention(*[x] * 3, attn_mask=nothing).isnan().any()
assert not multi_head(x, nothing, W_q, W_k, W_v, W_o, 2).any()
ignored = torch.ones(1, 3, dtype=torch.bool)
assert library(x, x, x, key_padding_mask=ignored)[0].isnan().all()
assert not library(x, x, x, key_padding_mask=ignored, need_weights=False)[0].any()
seed_everything(0)
small_block = Block(8, 2).double()
layer = nn.TransformerEncoderLayer(8, 2, 32, dropout=0, batch_first=True, norm_first=True,
                                   bias=False, dtype=torch.float64)
three = [small_block.q.weight, small_block.k.weight, small_block.v.weight]
state = {"self_attn.in_proj_weight": torch.cat(three), "linear1.weight": small_block.wide.weight,
         "self_attn.out_proj.weight": small_block.o.weight,
         "linear2.weight": small_block.back.weight, "norm1.weight": small_block.norm1.weight,
         "norm2.weight": small_block.norm2.weight}
layer.load_state_dict(state)
x8, real8 = torch.randn(2, 5, 8, dtype=torch.float64), torch.arange(5) < torch.tensor([[5], [3]])
own8 = small_block(x8, real8[:, None].expand(2, 5, 5))
theirs8 = layer(x8, src_key_padding_mask=~real8)
assert torch.allclose(own8[real8], theirs8[real8], atol=1e-12)

# %% [markdown]
# With your `multi_head` in it, it equals `nn.TransformerEncoderLayer` (folded).
#
# **What it costs**, in multiplications for T words of width D:
#
# $$ 12\,T D^2 + 2\,T^2 D \tag{14.3} $$
#
# The second part, words with words, overtakes the first at T = 6D. Padding words cost as much as real ones.
#
# <details><summary>Where does each part come from?</summary>
#
# Four matrices of D x D for each of T words are $4TD^2$ multiplications, the hidden layer of width 4D has $8TD^2$. Scores and weighted sum take each word with each, $T^2 D$ twice. PyTorch counts what the matrix products of its layer do, two operations for each multiplication with its addition (`MATH`: attention by matrix products).
#
# </details>

# %% tags=["proof"]
# (14.3) against PyTorch's count for its own layer; at T = 6D half is words with words.
layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True, norm_first=True, bias=False)
counts = []
for T in (16, 128, 384, 1024):
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, T, 64))
    counts.append(counter.get_total_flops() / 2)
assert 2 * 384 * 384 * 64 == counts[2] / 2
verify("14.3", counts, [12 * T * 64**2 + 2 * T * T * 64 for T in (16, 128, 384, 1024)])

# %% [markdown]
# ## A picture as words, and what positions are for
#
# A block does not ask what its vectors stand for. Cut a picture into squares, **patches** (图像块), write the pixels of each in a row, and they are 16 "words".

# %% tags=["measured"]
def patches(images, side=16):
    """(B, 3, H, W) -> (B, patches, 3 * side * side), row by row from the top left."""
    B, _, H, W = images.shape
    cut = images.view(B, 3, H // side, side, W // side, side)   # (B, 3, rows, side, columns, side)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, 3 * side * side)

# %% [markdown]
# What is not in them is *where* each comes from. You saw it with heads: permute the words, and each result goes along, unchanged, since (14.1) is a sum over words, and a sum has no order. So without positions any number of blocks, and a mean behind them, is blind to order. The remedy: to each word's vector add one for its place, a **position embedding** (位置嵌入), a learned table.
#
# Pictures of one object, one block, a mean, a head; five seeds, under the figure. Its *colour*, of six, is found without positions (100 %). Whether it is in the *left or right half* is not: 56 ± 2 %, no more than a rule's 56.5 that knows only where in its patch an object begins. With positions, which alone are added, it is 94 ± 4. With pictures shuffled among the labels it is 49.

# %% tags=["measured", "proof"]
# Patches, linear, block, mean, classes; `place` says where each patch was. Training.
class PatchReader(nn.Module):
    """Patches -> linear -> block -> mean -> classes; `place` says where each patch was."""

    def __init__(self, classes, positions, D=32):
        super().__init__()
        self.word, self.block, self.head = nn.Linear(768, D), Block(D, 4), nn.Linear(D, classes)
        self.place = nn.Parameter(0.5 * torch.randn(16, D)) if positions else 0.0

    def forward(self, images):
        x = self.word(4 * patches(images) - 0.8) + self.place              # -> (B, 16, D)
        sees = torch.ones(len(x), 16, 16, dtype=torch.bool)
        return self.head(self.block(x, sees).mean(dim=1))                  # (B, D) -> (B, classes)

def learn(model, loss, rows, draw, epochs, lr=3e-3):
    """Trains on batches of 64 by `loss(their rows)`; yields each epoch's mean loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    for _ in range(epochs):
        losses = []
        for some in torch.randperm(rows, generator=draw).split(64):
            optimizer.zero_grad()
            losses.append(loss(some))
            losses[-1].backward()
            optimizer.step()
        yield sum(losses).item() / len(losses)

# %% tags=["measured", "proof"]
# Pictures of one object, and a reader trained on them.
def one_object(split, size):
    scenes = Scenes(split, size=size, objects=(1, 1))
    items = [scenes[i] for i in range(size)]
    colours = sorted({item["objects"][0].colour for item in items})
    return {"image": torch.stack([item["image"] for item in items]),
            "colour": torch.tensor([colours.index(item["objects"][0].colour) for item in items]),
            "half": torch.tensor([int(item["objects"][0].centre[0] > 32) for item in items])}

def train_pictures(data, asked, positions, seed, epochs=12, shuffled=False):
    """Test accuracy of a PatchReader; `shuffled`: pictures of others, in training and test."""
    draw, classes = seed_everything(seed), 6 if asked == "colour" else 2
    model = PatchReader(classes, positions)
    images = {split: part["image"] for split, part in data.items()}
    if shuffled:
        images = {split: one[torch.randperm(len(one))] for split, one in images.items()}
    labels = data["train"][asked]
    def loss(rows):
        return F.cross_entropy(model(images["train"][rows]), labels[rows])
    list(learn(model, loss, len(labels), draw, epochs))
    with torch.no_grad():
        right = model(images["test"]).argmax(dim=1) == data["test"][asked]
    return right.double().mean().item()

# %% tags=["figure"]
# A picture's patches; one run again, beside a rule that knows columns.
seen = stored("14", "pictures")                              # python tools/sweep.py 14 pictures
objects = {split: one_object(split, size) for split, size in (("train", 2000), ("test", 1000))}
live = train_pictures(objects, "half", True, 0) - seen["half, positions"]["accuracy"][0]
report("half, positions: live minus stored", live, near=0, within=0.06)
begins = {split: (part["image"].amax(dim=(1, 2)) > 0.2).int().argmax(dim=1) % 16
          for split, part in objects.items()}                                  # (N,) columns
halves = objects["train"]["half"]
mostly = torch.tensor([halves[begins["train"] == k].double().mean() > 0.5 for k in range(16)])
right = (mostly[begins["test"]] == objects["test"]["half"]).double().mean().item()
assert abs(right - 0.565) < 0.01
picture = objects["test"]["image"][4]                                          # (3, 64, 64)
figure, grid = plots.axes(width=7.0, height=2.0, columns=2)
row_of = torch.ones(3, 36, 152)
for n, tile in enumerate(patches(picture[None])[0].view(16, 3, 16, 16)):
    row_of[:, 19 * (n // 8):19 * (n // 8) + 16, 19 * (n % 8):19 * (n % 8) + 16] = tile
for ax, shown in zip(grid, (picture, row_of)):
    ax.imshow(shown.permute(1, 2, 0))
    ax.set_axis_off()
shares = {case: percent(row["accuracy"]) for case, row in seen.items()}
plots.show(figure, "A picture of one object, and the sixteen words that it becomes. Found in %,"
           f" five seeds: colour, no positions {shares['colour, no positions']}; half, no positions"
           f" {shares['half, no positions']}, with positions {shares['half, positions']}, pictures"
           f" shuffled {shares['half, positions, pictures shuffled']}.")

# %% [markdown]
# <details><summary>Other ways to say where</summary>
#
# A learned table has a row for each place, as in GPT-2. The first transformer took fixed sines of many wavelengths, so that any length has one. Many of today's language models turn queries and keys by an angle that grows with the place (RoPE), so that a score depends on the distance.
#
# </details>

# %% [markdown]
# ## Left to right
#
# A language model of the GPT family guesses each next word from those before it. Ours read two kinds of texts, made in the folded cells: sentences about who chases whom, as on page 01, and captions of pictures. All train in the same loop.

# %% tags=["measured", "proof"]
# The sentences, as on page 01, with an ending.
ANIMALS = ["cat", "dog", "horse", "bird"]
PARTS = [["", "today", "now and then"], ["", "small", "very old"],
         ["", "big", "quick red"], ["", "away", "into the house"]]

def chases(size, seed, useful=True):
    """Sentences "the ... a chases the ... b ... so the", which of ANIMALS a is, and the ending:
    a, or if not `useful` any animal."""
    draw, sentences, labels = torch.Generator().manual_seed(seed), [], []
    for _ in range(size):
        a, b = torch.randperm(4, generator=draw)[:2].tolist()
        p, q, r, s = torch.randint(3, (4,), generator=draw).tolist()
        parts = [PARTS[0][p], "the", PARTS[1][q], ANIMALS[a], "chases the"]
        parts += [PARTS[2][r], ANIMALS[b], PARTS[3][s], "so the"]
        sentences.append(" ".join(part for part in parts if part))
        labels.append(a)
    labels = torch.tensor(labels)
    endings = labels if useful else torch.randint(4, (size,), generator=draw)
    return sentences, labels, endings

def unseen(size, seed, known):
    """Sentences whose words, in whatever order, no known one has; and who chases in them."""
    bags, (sentences, labels, _) = {str(sorted(s.split())) for s in known}, chases(15 * size, seed)
    rows = [n for n, s in enumerate(sentences) if str(sorted(s.split())) not in bags][:size]
    return [sentences[n] for n in rows], labels[rows]

# %% tags=["measured", "proof"]
# A network trained on them: its words, and after each epoch accuracy and loss.
def train_chases(seed, epochs=20, useful=True, every_word=True, **network):
    """`every_word`: the loss of a language model, at each place; else at the ending alone."""
    sentences, _, endings = chases(1000, 10 * seed, useful)
    words = Vocabulary(sentences)
    names = words.batch(ANIMALS)[0][:, 0]                                 # (4,) ids
    ids, mask = words.batch([f"{s} {ANIMALS[e]}" for s, e in zip(sentences, endings)])
    last = mask.sum(dim=1, keepdim=True) - 1                              # (N, 1)
    asked = mask if every_word else torch.arange(ids.shape[1]) == last    # (N, T)
    given = ids if every_word else ids.masked_fill(asked, 0)              # the ending is not seen
    tests, labels = unseen(1000, 10 * seed + 2, sentences)
    test_ids, test_mask = words.batch(tests)
    draw, model, rows = seed_everything(seed), Transformer(len(words), **network), []
    def loss(some):
        kept = asked[some, 1:]                                            # (64, T - 1)
        return F.cross_entropy(model(given[some, :-1])[kept], ids[some, 1:][kept])
    for mean in learn(model, loss, len(ids), draw, epochs):
        with torch.no_grad():
            said = last_state(model(test_ids), test_mask)[:, names].argmax(dim=1)
        rows.append(((said == labels).double().mean().item(), mean))
    return model.eval(), words, rows

# %% tags=["measured", "proof"]
# Captions, also with shuffled words; a GPT trained on them, its loss on others.
def captions(split, size, seed, shuffled=False):
    scenes, draw = Scenes(split, size=size, seed=seed, objects=(2, 3)), Random(seed)
    texts = [scenes[i]["caption"] for i in range(size)]
    if shuffled:
        texts = [" ".join(draw.sample(tokenize(text), len(tokenize(text)))) for text in texts]
    return [f". {text} ." for text in texts]

def train_gpt(seed, epochs=8, shuffled=False, positions=True):
    texts = captions("train", 2000, seed, shuffled)
    words = Vocabulary(texts)
    ids, tests = (words.batch(one)[0] for one in (texts, captions("test", 500, seed, shuffled)))
    draw, model = seed_everything(seed), Transformer(len(words), positions=positions)
    def next_word_loss(some):
        kept = some[:, 1:] > 0                                            # (B, T - 1)
        return F.cross_entropy(model(some[:, :-1])[kept], some[:, 1:][kept])
    list(learn(model, lambda rows: next_word_loss(ids[rows]), len(ids), draw, epochs, lr=5e-3))
    with torch.no_grad():
        return model.eval(), words, next_word_loss(tests).item()

# %% tags=["measured", "proof"]
# Writing word by word; a linear head that says who chases, on frozen states.
def write(model, words, start, draw):
    """Texts that go on from `start` to the next full stop."""
    ids = torch.stack([words.ids(text) for text in start])                # (B, T)
    for _ in range(30):
        with torch.no_grad():
            probs = model(ids)[:, -1].softmax(dim=-1)                     # (B, V)
        ids = torch.cat([ids, torch.multinomial(probs, 1, generator=draw)], dim=1)
    return [" ".join(words.words(row)).split(" . ")[0].strip(". ") for row in ids]

def read_off(model, words, seed, size=100):
    """Accuracy of "who chases" by place: the first word's state, the mean, the last word's."""
    others, fresh = unseen(500, 10 * seed + 6, chases(1000, 10 * seed)[0])
    known, labels = unseen(size, 10 * seed + 5, others)
    vectors = []
    for texts in (known, others):
        ids, mask = words.batch(texts)
        with torch.no_grad():
            states = model.states(ids)                                    # (N, T, D)
        vectors.append({"first word": states[:, 0], "mean": masked_mean(states, mask),
                        "last word": last_state(states, mask)})
    heads = {place: LogisticRegression(C=10, max_iter=3000).fit(x, labels)
             for place, x in vectors[0].items()}
    return {place: head.score(vectors[1][place], fresh) for place, head in heads.items()}

# %% [markdown]
# If a word could look ahead, it would copy the answer. A **causal mask** (因果掩码) forbids it: word t sees itself and what stands before. So one pass makes all T guesses of a text.
#
# > **Exercise 14.3 · The causal mask** — *4 minutes · core*
# >
# > - `mask` is `(B, T)` bool, True = a real word. Return `(B, T, T)` bool for `multi_head`: True at `[b, t, s]` if word t of text b may look at word s.
# > - It may if s is real, and not later than t.
# > - Padding may stand anywhere. Rows of padding words follow the same rule.

# %% exercise="14.3"
def causal_mask(mask: Tensor) -> Tensor:
    """Who may look at whom, left to right: (B, T) bool -> (B, T, T) bool.

    Example: [[True, True]] gives [[[True, False], [True, True]]].
    """
    ### BEGIN SOLUTION
    T = mask.shape[1]
    before = torch.ones(T, T, dtype=torch.bool, device=mask.device).tril()    # (T, T)
    return before & mask[:, None]                             # (T, T), (B, 1, T) -> (B, T, T)
    ### END SOLUTION

# %% [markdown] hints="14.3"
# <details><summary>A question that helps</summary>
#
# Rows are who looks, columns who is looked at. In row 0, which columns may be True? In the last row?
#
# </details>
# <details><summary>The idea in words</summary>
#
# A square of True, below and on the diagonal: `torch.ones(T, T, dtype=torch.bool).tril()`. And the column must be a real word: combine with `mask` as a row for each text, `mask[:, None]`.
#
# </details>
# <details><summary>If the shape is (T, T)</summary>
#
# Each text has padding of its own. `&` with a `(B, 1, T)` makes it `(B, T, T)`.
#
# </details>

# %% tags=["measured"]
class Transformer(nn.Module):
    """Ids (B, T) -> logits of the next word (B, T, V); mask and positions can be taken away."""
    def __init__(self, V, D=32, layers=2, heads=4, causal=True, positions=True):
        super().__init__()
        self.table, self.place = nn.Embedding(V, D), nn.Embedding(64, D)
        self.blocks = nn.ModuleList([Block(D, heads) for _ in range(layers)])
        self.norm, self.causal, self.positions = nn.LayerNorm(D, bias=False), causal, positions
        nn.init.normal_(self.table.weight, std=0.1)
        nn.init.normal_(self.place.weight, std=0.1)

    def states(self, ids):
        sees = causal_mask(ids > 0) if self.causal else (ids > 0)[:, None].expand(*ids.shape, -1)
        places = self.positions * self.place(torch.arange(ids.shape[1]))  # (T, D), or zeros
        x = self.table(ids) + places                                      # (B, T) -> (B, T, D)
        for block in self.blocks:
            x = block(x, sees)
        return self.norm(x)

    def forward(self, ids):
        return self.states(ids) @ self.table.weight.T                     # (B, T, D) -> (B, T, V)

# %% [markdown]
# ### The bet
#
# Does the last "the" of "the cat chases the dog so the" know who chases? Four networks *without positions*, untrained, random weights. Cat and dog change places: do the logits behind the last word change? (The table of words also scores the next one: tied weights.)

# %%
causal_mask = mine("14.3", causal_mask)
swapped = ["the cat chases the dog so the", "the dog chases the cat so the"]
ids, _ = Vocabulary(swapped).batch(swapped)                               # (2, 7)
for layers in (1, 2):
    for causal in (False, True):
        seed_everything(0)
        network = Transformer(9, layers=layers, causal=causal, positions=False)
        one, other = network(ids)[:, -1]                                  # (V,) each
        same = torch.allclose(one, other, atol=1e-5)
        print(f"layers: {layers}, {'causal' if causal else 'sees all':8}  same logits: {same}")

# %% [markdown]
# With one layer the last word attends to a bag of words, and a bag has no order. With two, and the causal mask, the order is there, although no number says so: in layer 1 "chases" has seen the first animal and not the second, so *its* vector tells which came first, and in layer 2 the last word can read that. Without the causal mask every word has seen both.
#
# That is possible. Does training find it? 1,000 sentences such as "today the small cat chases the dog away so the cat": the last word is the one that chases. Then 1,000 others, none of them one of the first with its words reordered: which of four animals comes last?

# %%
order = stored("14", "order")                                # python tools/sweep.py 14 order
print("who chases, in %, five seeds    1 layer        2 layers")
for name in ("sees all, no positions", "causal, no positions", "sees all, positions",
             "causal, positions", "language model, no positions", "language model, positions"):
    shares = [percent(order[f"{name}, {n}"]["accuracy"]) for n in (1, 2)]
    print(f"{name:30}{shares[0]:>12}  {shares[1]:>12}")
outcome("13.c", "Ben")

# %% [markdown]
# Ben wins, by the second layer: with one Ada is right about the last word. (The first four rows have the loss at the ending only, since a network that sees all would copy any other word; the last two are language models.) That models without positions learn where they are was found in large ones by [Haviv and others](https://aclanthology.org/2022.findings-emnlp.99/) in 2022.
#
# ### Training leaps
#
# The same two-layer language models without positions, epoch by epoch; a nat is the unit of cross-entropy with the natural logarithm:

# %% tags=["figure"]
# Accuracy and loss by epoch, a line for each seed; one run again.
leaps = order["language model, no positions, 2"]
first, first_words, again = train_chases(0, positions=False)
live = again[-1][0] - leaps["accuracy"][0]
report("who chases, seed 0: live minus stored", live, near=0, within=0.05)
figure, grid = plots.axes(width=7.4, height=2.7, columns=2)
for ax, curves, label in ((grid[0], leaps["by_epoch"], "who chases (%)"),
                          (grid[1], leaps["loss"], "loss (nats a word)")):
    for n, curve in enumerate(curves):
        scale = 100 if ax is grid[0] else 1
        ax.plot(range(1, 21), [scale * value for value in curve], color=plots.COLORS["text"],
                linestyle=plots.LINES[n % 4], linewidth=1.3, marker=plots.MORE_MARKERS[n],
                markersize=3)
    ax.set(xlabel="epoch (16 steps)", ylabel=label)
grid[0].axhline(50, color=plots.INK, linestyle=":", linewidth=1)
places = [next(n + 1 for n in range(20) if min(curve[n:]) > 0.9) for curve in leaps["by_epoch"]]
plots.show(figure, "Five seeds, a line each; dotted: knowing the two animals, 50 %. Who chases is"
           " found in a leap, sooner or later by seed (above 90 % for good from epoch"
           f" {', '.join(map(str, sorted(places)))}); the loss of all words hardly shows it.")

# %% [markdown]
# For some epochs little happens, then the accuracy leaps, between epochs 6 and 10 by seed. So do not stop at the first plateau, and watch the number that you care about.
#
# <details><summary>Who has seen such leaps?</summary>
#
# [Olsson and others](https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads/index.html) saw such a **phase change** (相变) in language models, when heads of two layers begin to work together. Ours come with positions, too, and then in *one* layer as well (stored): two are not what a leap needs.
#
# </details>
#
# ## Try it
#
# The attention of a trained one, seed 0: sentence, head, mask. In its layer 2 head 1 lets the last word look at the second "the", which stands between the animals. Find the other heads; and what does the model say if you take its mask away?

# %% tags=["figure"]
# The widget: weights by `attend`, the identity as values, each query a row of a batch.
ASKED = ["the cat chases the dog so the", "the dog chases the cat so the",
         "today the very old horse chases the bird away so the"]

def watch(sentence, head, mask):
    """(weights (T, T), the animal that comes next) of head 1 to 8: four in each layer."""
    ids, _ = first_words.batch([sentence])
    first.causal = mask == "causal"
    real = ids > 0
    sees = causal_mask(real) if first.causal else real[:, None].expand(-1, ids.shape[1], -1)
    with torch.no_grad():
        said = first(ids)[0, -1].argmax().item()
        inside = first.table(ids)
        for block in first.blocks[:(head - 1) // 4]:
            inside = block(inside, sees)
        block, start = first.blocks[(head - 1) // 4], 8 * ((head - 1) % 4)
        rows = slice(start, start + 8)
        inside = block.norm1(inside)[0]                                    # (T, D)
        q, k = inside @ block.q.weight[rows].T, inside @ block.k.weight[rows].T
        T = len(q)
        found = attend(q[:, None], k.expand(T, T, 8), torch.eye(T).expand(T, T, T), sees[0])
    first.causal = True
    return found[:, 0], first_words.words([said])[0]

# %% tags=["figure"]
# Maps as pictures; two of them fixed, and the widget.
def maps(settings):
    figure, grid = plots.axes(width=3.4 * len(settings), height=3.3, columns=len(settings),
                              squeeze=False)
    for ax, (sentence, head, mask) in zip(grid.flat, settings):
        spoken = sentence.split()
        ax.imshow(watch(sentence, head, mask)[0], cmap="Blues", vmin=0, vmax=1)
        ax.set_xticks(range(len(spoken)), spoken, rotation=90, fontsize=8)
        ax.set_yticks(range(len(spoken)), spoken, fontsize=8)
        ax.set_title(f"layer {1 + (head - 1) // 4}, head {1 + (head - 1) % 4}, {mask}", fontsize=9)
        ax.set(xlabel="looked at", ylabel="looks")
    return figure

plots.show(maps([(ASKED[0], 1, "causal"), (ASKED[0], 5, "causal")]), "Rows look at columns, dark is"
           " a large weight. Nothing lies right of the diagonal.")
Explorer(
    lambda sentence, head, mask: maps([(sentence, head, mask)]),
    {"sentence": Dropdown(options=ASKED), "head": IntSlider(value=5, min=1, max=8),
     "mask": Dropdown(options=["causal", "sees all"])},
    lambda sentence, head, mask: f"The model says next: {watch(sentence, head, mask)[1]}.",
    caption="Heads 1 to 4 are in layer 1, 5 to 8 in layer 2.").show()

# %% [markdown]
# ## A small GPT
#
# The same class, on 2,000 captions of `scenes`, each between two full stops: ". a red circle is left of a blue square ." It writes by a loop: ask for the next word, draw one by its probability, append it, ask again.

# %% tags=["nbval-ignore-output"]
# Not compared: a draw may fall otherwise where the last bits differ.
gpt, gpt_words, gpt_loss = train_gpt(seed=0)
for text in write(gpt, gpt_words, ["."] * 5, torch.Generator().manual_seed(0)):
    print(text)

# %%
talk = stored("14", "captions")                              # python tools/sweep.py 14 captions
report("GPT, seed 0, loss on other captions", gpt_loss, near=0.98, within=0.03)
print("five seeds             loss (nats a word)   form right (%)   holds together (%)")
for name, row in talk.items():
    mean, half = mean_interval(row["loss"])
    shares = [percent(row["accuracy"][kind]) for kind in ("form", "holds")]
    print(f"{name:24}{mean:.3f} ± {half:.3f} {shares[0]:>17} {shares[1]:>19}")

# %% [markdown] owes="F39"
# Beside it: counted words, counted pairs of words, no positions, and a control whose captions have their words shuffled, in training and test. *Form right*: of 200 texts that it writes, how many have a form that the captions' grammar has. *Holds together*: of those like "a red circle and a blue square; the red circle is above the blue square", how many relate two different things that they have listed. Real captions have 100 % in both.
#
# Without the order of the words the loss is 1.6 nats higher; more than one word back is worth half a nat. The form is right in more than nine of ten texts, and the content holds together in about one of thirty: at this size and budget the GPT is fluent, and does not keep to what it said. The loss did not tell. Without positions it is no worse, as far as five seeds show.
#
# ### The last word's state as a feature
#
# In a causal model only the last real word has read everything. Its state is what one takes from a GPT as the vector of a text; `[:, -1]` of a batch that is padded behind is the state of padding (page 01). What does it keep? GPTs read the sentences about animals, trained on texts that end in *any* animal, or in *the one that chases*. Each is frozen; a linear probe (page 04), trained on 100 sentences, says who chases in 500 new ones.

# %%
kept_in = stored("14", "feature")                            # python tools/sweep.py 14 feature
print("who chases, in %, five seeds    first word          mean     last word")
for name in ("any animal", "any animal, 1,000 sentences", "the one that chases"):
    shares = [percent(kept_in[f"{name}: {place}"]["accuracy"])
              for place in ("first word", "mean", "last word")]
    print(f"{name:28}" + "".join(f"{share:>14}" for share in shares))

# %% [markdown]
# The endings differ in one word, and the last state follows: 100 % in each seed where the next word is the one that chases, 80 ± 10 where it may be any animal. Most of it is there, too, but harder to find: from 1,000 sentences a probe reads 92 %. The mean over all words has nearly everything in both. So with few labels read the last word for what the next word needs, else try the mean. The first word, which has read only itself, is at chance.
#
# ## With the library
#
# A causal transformer in plain PyTorch. Mind the masks: both say True for what is *not* looked at.

# %%
import torch as pt

layer = pt.nn.TransformerEncoderLayer(32, 4, 128, batch_first=True, norm_first=True)
encoder = pt.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
table, place = pt.nn.Embedding(9, 32), pt.nn.Embedding(64, 32)
ids = pt.tensor([[5, 6, 7, 8], [5, 6, 7, 3], [5, 6, 0, 0]])               # (B, T), 0 is padding
later = pt.ones(4, 4, dtype=pt.bool).triu(1)                              # (T, T)
states = encoder(table(ids) + place(pt.arange(4)), mask=later, src_key_padding_mask=ids == 0)
logits = states @ table.weight.T                                          # (B, T, 9)
print("another last word changes the states before it:",
      not pt.allclose(states[0, :3], states[1, :3], atol=1e-5))

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **compute** attention: scores by $\sqrt D$, a softmax over keys, a sum of values; the mask comes before the softmax;
# 2. **build** heads as an axis; in `key_padding_mask` True means ignored, in `scaled_dot_product_attention` it means takes part;
# 3. **put together** a block, and count: $12TD^2 + 2T^2D$, half of it words with words at T = 6D;
# 4. **read** a picture as patches: its colour without positions, its half only with them;
# 5. **mask** the future: with two causal layers the order is there without positions, and in every run training found it suddenly, between epochs 6 and 10;
# 6. **train** a small GPT, fluent and forgetful, whose last state has at hand what the next word needs.
#
# ## Questions
#
# <details><summary>1. A colleague's attention has its softmax over the queries. What do all shapes say, and what would you print?</summary>
#
# With as many queries as keys all shapes are right. Print the sum of one query's weights over the keys: it should be 1.
#
# </details>
# <details><summary>2. Why is <code>.view(B, heads, T, D // heads)</code> without a transpose wrong, though its shape is right?</summary>
#
# The numbers of one word lie next to each other. A view with heads before words cuts the long row of all words into `heads` parts, so a "head" gets whole words, and pieces of several as one.
#
# </details>
# <details><summary>3. Why can the last word of a causal network of one layer, without positions, not tell who chases?</summary>
#
# It sees keys and values of single words, without places: a bag. Only in a second layer do the keys and values come from vectors that have seen what stood before them.
#
# </details>
# <details><summary>4. With the whole page: your classifier takes a GPT's state at <code>[:, -1]</code>, and is near chance. Three suspects, and a test for each.</summary>
#
# The state is padding's: compare one text alone and in a batch. The mask is off, or missing in training: change a later word, and see whether earlier states move. The state does not keep it: put the same probe on the mean of the words.
#
# </details>
# <details><summary>5. With the whole page: someone trains for six epochs, sees a loss that hardly falls and an answer at chance, and reports that attention cannot do the task. What do you ask?</summary>
#
# For more epochs and other seeds: here the answer leapt between epochs 6 and 10. And whether it can be done at all: positions, layers and mask decide what is possible, as for the one-layer network without positions that stays at 50.
#
# </details>
#
# ## Read more
#
# - A. Vaswani and others, *Attention Is All You Need*, NeurIPS 2017. Section 3: the scaled dot product, heads, blocks; its norm comes after the addition, ours before.
# - A. Dosovitskiy and others, *An Image is Worth 16x16 Words*, ICLR 2021. Patches, at full size.
# - A. Haviv and others, *Transformer Language Models without Positional Encodings Still Learn Positional Information*, Findings of EMNLP 2022. The bet, in models of real size.
# - C. Olsson and others, *In-context Learning and Induction Heads*, Transformer Circuits Thread 2022. A leap in training, and two layers that work together.
#
# ## A bet for page 15
#
# Text and picture have one bit each, and the label is their XOR; nine labels in ten are right, so 90 % is the ceiling. A layer looks at the two modality vectors by attention: it gives each a score from its content, a softmax makes weights of the two scores, and a linear head reads the weighted sum.
#
# *Ada says: it stops at 70 %.* *Ben says: the weights depend on the content, so it solves XOR and reaches 90 %.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("14.d", None)
guesses("14")
