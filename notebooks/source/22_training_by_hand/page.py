# %% [markdown]
# # Can these gradients train a network?
#
# Page 21 ended at the logits, with $(P - Y)/B$. Here you carry it on by hand, through a head, a glue and a mean down to a table of letters, and train a network of two modalities with nothing else.
#
# *About {minutes} minutes. You need pages 01, 03, 08 and 21.*

# %% [markdown]
# ## In this notebook you will
#
# 1. derive what a linear layer sends back into two glued modalities, and build it;
# 2. see which slips on the way back show in the score, which hide, and a loss that goes silent;
# 3. build the way back from a masked mean into a table of letters;
# 4. train a network of two modalities with your own functions, beside autograd;
# 5. work out weight decay in three optimisers;
# 6. derive, alone and if you like, the gradient of three modalities under two losses, one with missing labels.

# %% tags=["imports", "measured"]
# Imports.
import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils import plots
from course_utils.datasets import Digits, collate, store
from course_utils.exercises import check, mine
from course_utils.gradients import compare, verify_gradient
from course_utils.masks import masked_mean
from course_utils.metrics import accuracy, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored

# %% tags=["figure"]
# The page in one graph: values and gradients on the wires.
figure, ax = plots.axes(width=7.6, height=2.7)
ax.axis((-0.7, 10.6, 0.3, 4.4))
ax.set_axis_off()
NODES = {"text": (0, 3.2, "text"), "image": (0, 0.8, "image"), "glue": (3.2, 2, "control"),
         "linear": (6.2, 2, "fused"), "loss": (9.2, 2, "control"), "W": (6.2, 4.0, "fused")}
for name, (across, up, color) in NODES.items():
    box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": plots.COLORS[color]}
    ax.text(across, up, name, ha="center", va="center", bbox=box, zorder=3)
for x0, y0, x1, y1 in [(0.55, 3.2, 2.6, 2.2), (0.55, 0.8, 2.6, 1.8), (3.8, 2, 5.45, 2),
                       (6.95, 2, 8.6, 2), (6.2, 3.6, 6.2, 2.4)]:
    ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-|>", "color": plots.INK})
VALUES = [(1.85, 3.0, "1, 2"), (1.2, 1.6, "3"), (4.6, 2.35, "1, 2, 3"), (7.75, 2.35, "4, 4"),
          (5.55, 3.0, "1 0 1\n0 2 0"), (10.0, 2, "0.69")]
BACK = [(1.2, 2.35, "-½, 1"), (1.85, 1.05, "-½"), (4.6, 1.6, "-½, 1, -½"), (7.75, 1.6, "-½, ½"),
        (7.1, 3.0, "-½ -1 -1½\n½  1  1½")]
for texts, color, weight in ((VALUES, plots.INK, "normal"), (BACK, "#B3123F", "bold")):
    for across, up, text in texts:
        ax.text(across, up, text, ha="center", va="center", color=color, fontweight=weight)
plots.show(figure, "A text of two numbers and an image of one, glued, a linear layer, the loss."
           " Beside each wire its value and, in bold red, the gradient that comes back. The glue's"
           " gradient is cut where the modalities were joined.")

# %% [markdown]
# ## One layer back, by loop
#
# A text of two numbers and an image of one, glued to $h$, then two logits $z_c = \sum_d W_{cd}\, h_d$. Class 0 is true. As on page 21, $d_x$ is the gradient of the loss with respect to $x$, of the shape of $x$.

# %%
h = torch.tensor([1.0, 2.0, 3.0])                                        # text 1, 2; image 3
W = torch.tensor([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]])                     # (C, D)
z = W @ h                                                                # (2,)
d_z = z.softmax(dim=0) - torch.tensor([1.0, 0.0])                        # page 21: p - y
print("logits:", z.tolist(), "  d_z:", d_z.tolist())
d_W, d_h = torch.zeros(2, 3), torch.zeros(3)
for c in range(2):
    for d in range(3):
        d_W[c, d] += d_z[c] * h[d]                                       # dz_c / dW_cd = h_d
        d_h[d] += d_z[c] * W[c, d]                                       # dz_c / dh_d  = W_cd
print("d_W:", d_W.tolist())
print("d_h:", d_h.tolist())

# %% [markdown] owes="F93"
# A weight has one way to the loss, a product. A feature has one for each class, so they add up. And the glue only copied: the first two numbers of $d_h$ are the text's, the last is the image's.
#
# In a batch all samples go through the same $W$ and $b$, so what they send there adds up too. With samples as rows, $H = [H^{text}, H^{image}]$ and $W$ cut in the same place:
#
# $$ d_W = d_Z^\top H, \qquad d_b = \sum_n d_{Z_n}, \qquad d_{H^{text}} = d_Z\, W^{text}, \quad d_{H^{image}} = d_Z\, W^{image} \tag{22.1} $$
#
# Both modalities get the *same* $d_Z$: one residual, shared.
#
# > **Exercise 22.1 · Back through a layer, into what was glued** — *7 minutes · core*
# >
# > `out = torch.cat(list(parts.values()), dim=1) @ weight.T + bias` has been computed. Given `d_out`, return what arrives at the weight, the bias and each part.
# >
# > - `d_out` is `(B, C)`, `parts` is `{name: (B, D_m)}` in the order of the glue, `weight` is `(C, D)`, where D is the sum of all `D_m`.
# > - Return `(d_weight, d_bias, d_parts)`: `(C, D)`, `(C,)`, and `{name: (B, D_m)}`.
# > - The mean's $1/B$ is already in `d_out`. Autograd is refused.

# %% exercise="22.1"
def layer_backward(d_out: Tensor, parts: dict[str, Tensor], weight: Tensor) -> tuple:
    """(d_weight (C, D), d_bias (C,), {name: (B, D_m)}) from (B, C), {name: (B, D_m)}, (C, D).

    Example: d_out [[2.0]], parts {"text": [[5.0]], "image": [[7.0]]} and weight [[3.0, 4.0]]
    give [[10.0, 14.0]], [2.0] and {"text": [[6.0]], "image": [[8.0]]}.
    """
    ### BEGIN SOLUTION
    glued = torch.cat(list(parts.values()), dim=1)                # -> (B, D)
    d_weight = d_out.T @ glued                                    # (C, B) @ (B, D) -> (C, D)
    d_bias = d_out.sum(dim=0)                                     # (B, C) -> (C,)
    d_glued = d_out @ weight                                      # (B, C) @ (C, D) -> (B, D)
    widths = [part.shape[1] for part in parts.values()]
    return d_weight, d_bias, dict(zip(parts, d_glued.split(widths, dim=1)))
    ### END SOLUTION

# %% [markdown] hints="22.1"
# <details><summary>A question that helps</summary>
#
# For one sample $d_{W_{cd}} = d_{z_c} h_d$. Which index has to be summed away for a batch, and which product of matrices sums over it?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Glue the parts again. Weight: sum over the samples. Bias: the same with 1 in place of the feature. Glued features: sum over the classes. Then cut these at the widths of the parts; `torch.split` takes a list of widths.
#
# </details>
# <details><summary>If you see "transposed"</summary>
#
# Write the shapes under each factor. `(B, C)` and `(B, D)` can only become `(C, D)` if the first is transposed. Where all sizes are equal shapes cannot help: go back to the indices.
#
# </details>

# %%
layer_backward = mine("22.1", layer_backward)
labels = torch.tensor([0, 3, 1, 1, 2])

def head_loss(text, image, W, b):
    return F.cross_entropy(torch.cat([text, image], dim=1) @ W.T + b, labels)

def head_by_hand(text, image, W, b):
    P = (torch.cat([text, image], dim=1) @ W.T + b).softmax(dim=1)
    d_Z = (P - F.one_hot(labels, 4)) / 5                                 # page 21: (P - Y) / B
    d_W, d_b, d_parts = layer_backward(d_Z, {"text": text, "image": image}, W)
    return d_parts["text"], d_parts["image"], d_W, d_b

verify_gradient("22.1", head_loss, head_by_hand, (5, 2), (5, 1), (4, 3), (4,))

# %% [markdown]
# ### The ReLU
#
# Between two layers stands a ReLU, $h = \max(a, 0)$. Its slope is 1 where it was open and 0 where it was shut, so $d_a = d_h \odot [a > 0]$. A common slip asks the wrong number, and raises nothing.

# %%
a = torch.tensor([2.0, -1.0, 0.5, -3.0], requires_grad=True)             # before the ReLU
d_h = torch.tensor([0.5, 0.25, -0.125, 0.75])                            # what comes back to it
a.relu().backward(d_h)
print("autograd:", a.grad.tolist())

# %% tags=["fault"]
d_a = torch.where(d_h > 0, d_h, 0.0)
print("by hand: ", d_a.tolist())
print("the same as autograd:", torch.allclose(d_a, a.grad))

# %% [markdown]
# The slip looked at what comes back. But the way back needs numbers from the way forward, so they are kept.

# %%
d_a = torch.where(a > 0, d_h, 0.0)
print("by hand: ", d_a.tolist())
print("the same as autograd:", torch.allclose(d_a, a.grad))

# %% [markdown] owes="P4"
# ## The bet of page 21: a wrong matrix on the way back
#
# For a text vector $t$ fused by $g$ one meets the chain rule as $\frac{\partial L}{\partial t} = -\frac{\partial g}{\partial t} \frac{\partial L}{\partial g}$. The minus is one too many: the loss has the only one. And with outputs as rows the Jacobian must be transposed: the way forward multiplies by $W^\top$, the way back by $W$.
#
# What do these slips cost? A network 64-64-64-10 on clean scans, everything trained. One line changes: how the gradient crosses the *middle* matrix, on its way to the first layer.

# %% tags=["measured"]
WAYS = {"right": lambda d, W: d @ W,
        "transposed": lambda d, W: d @ W.T,
        "random matrix": lambda d, W: d @ drawn([W.shape], seed=99)[0],
        "first layer frozen": lambda d, W: 0 * d @ W,
        "extra minus": lambda d, W: -d @ W}

# %% tags=["measured", "proof"]
# The way there and back through three layers; random weights.
def send_on(weights, x):
    """What the three layers give, the first two before their ReLU."""
    a1 = x @ weights[0].T                                                # (B, 64) -> (B, width)
    a2 = a1.relu() @ weights[1].T                                        # -> (B, width)
    return a1, a2, a2.relu() @ weights[2].T                              # -> (B, 10)

def send_back(weights, x, labels, way):
    """The gradients of three layers' weights, and of the input (B, 64), by one of the WAYS."""
    a1, a2, logits = send_on(weights, x)
    d_z = (logits.softmax(dim=1) - F.one_hot(labels, 10)) / len(labels)
    d_a2 = (d_z @ weights[2]) * (a2 > 0)
    d_a1 = WAYS[way](d_a2, weights[1]) * (a1 > 0)
    return [d_a1.T @ x, d_a2.T @ a1.relu(), d_z.T @ a2.relu()], d_a1 @ weights[0]

def drawn(shapes, seed):
    """Random float64 matrices (out, in), each as large as suits a ReLU."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) * (2 / shape[1]) ** 0.5
            for shape in shapes]

# %% tags=["measured", "proof"]
# Data as 64 standardised pixels; plain descent in steps that fall to 0.
def pixels(split, seed):
    """The scans of a split without noise: (B, 64) float64, and labels (B,)."""
    batch = collate(list(Digits(split, seed=seed, image_noise=0)))
    x = F.avg_pool2d(batch["image"].double(), 2).flatten(1)              # -> (B, 64)
    return (x - x.mean()) / x.std(), batch["label"]

def descend(way, width, seed, x, labels, epochs=30, rates=(0.1, 0.1, 0.1)):
    """The weights of a network 64-width-width-10 after training, each layer at its rate."""
    weights = drawn([(width, 64), (width, width), (10, width)], seed)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(64):
            d, _ = send_back(weights, x[rows], labels[rows], way)
            fall = 1 - epoch / epochs
            weights = [w - rate * fall * g for w, g, rate in zip(weights, d, rates)]
    return weights

def right_share(weights, x, labels):
    return accuracy(send_on(weights, x)[-1], labels)

# %%
slips = stored("22", "slips")                                 # tools/sweep.py 22 slips
WIDTHS = (16, 64, 256)
print(f"{'test accuracy in %, five seeds':32}", *(f"{f'width {width}':>13}" for width in WIDTHS))
for way in WAYS:
    rows = [slips[f"{way}, {width}"]["accuracy"] for width in WIDTHS]
    print(f"{way:32}", *(f"{percent(row):>13}" for row in rows))
for way in ("transposed", "first layer frozen"):
    pairs = [[slips[f"{one}, {width}"]["accuracy"] for one in (way, "right")] for width in WIDTHS]
    print(f"{way + ', minus right':32}", *(f"{percent(a, minus=b):>13}" for a, b in pairs))
outcome("21.c", "Ada")
# %% tags=["figure"]
# Each run's accuracy, by slip and width, and one run again.
weights = descend("transposed", 64, 0, *pixels("train", 0))
live = right_share(weights, *pixels("test", 0))
report("transposed, live minus stored", live - slips["transposed, 64"]["accuracy"][0], 0, 0.03)
figure, panels = plots.axes(width=8.0, height=2.7, columns=3, sharey=True)
LOOKS = {"right": ("fused", "o"), "extra minus": ("image", "x")}
for ax, width in zip(panels, WIDTHS):
    for row, way in enumerate(WAYS):
        color, marker = LOOKS.get(way, ("text", "D"))
        scores = [100 * one for one in slips[f"{way}, {width}"]["accuracy"]]
        ax.scatter(scores, [row] * 5, color=plots.COLORS[color], marker=marker, s=28, alpha=0.8)
    ax.axvline(10, color=plots.INK, linestyle=":", linewidth=1)
    ax.set_title(f"width {width}", fontsize=10)
    ax.set_xlim(0, 100)
    ax.set_xlabel("test accuracy (%)")
panels[0].set_yticks(range(len(WAYS)), list(WAYS))
panels[0].invert_yaxis()
plots.show(figure, "Five runs a row; dotted is chance. The minus is plain to see. The wrong matrix"
           " costs a few points at width 16, and hides at 64 and 256; at 256 a first layer that"
           " does not learn at all costs half a point.")

# %% [markdown]
# - **The minus** drives the first layer uphill: chance, or little above it, at every width.
# - **The transposed matrix** costs, paired by seed, 4.0 ± 2.2 points at width 16, 1.3 ± 2.0 at 64, 0.5 ± 0.4 at 256. A random matrix, drawn once, costs about as much.
# - **A frozen first layer** costs 17 points at width 16, 2.5 ± 2.4 at 64 and half a point at 256.
#
# <details><summary>Why does a wrong matrix work at all?</summary>
#
# At width 64 the **cosine** (余弦), the dot product over both lengths, of what reaches the first layer with what should is near 0 at the start, and between 0.24 and 0.32 after training (the next cell prints it). [Lillicrap and others](https://www.nature.com/articles/ncomms13276) found this with random matrices: the layers above learn until the wrong signal helps. Here, too: with both of them frozen the transposed matrix ends near chance.
#
# </details>
#
# And where nothing is trained? Leave all weights alone, at random, and let only the *input* take a small step:

# %%
print("share of test scans whose loss a small step of the input lowers, in %, seed by seed")
for way in ("right", "transposed", "extra minus"):
    shares = [f"{100 * share:4.0f}" for share in slips[f"{way}, 64"]["helped"]]
    print(f"width 64, {way:12}" + " ".join(shares))
for when in ("start", "end"):
    cosines = slips["transposed, 64"][f"cosine at the {when}"]
    print(f"transposed, cosine at the {when + ':':6}", *(f"{one:5.2f}" for one in cosines))

# %% [markdown] owes="F90 F94 P14 P16"
# The right gradient helps every scan, the minus none, the transposed matrix 37 to 69 of a hundred. So judge a gradient beside autograd, or by one small step, not by a score.
#
# ## Two classes: the sigmoid
#
# A question with two answers, or a tag that is there or not, needs one logit. The sigmoid (page 01) makes a probability of it, and **binary cross-entropy** (二元交叉熵) has one term for either answer:
#
# $$ p = \sigma(z) = \frac{1}{1 + e^{-z}}, \qquad \ell = -\big[\,y \log p + (1 - y) \log(1 - p)\,\big] \tag{22.2} $$
#
# The sigmoid's slope is $p\,(1-p)$. Multiply both links on paper before you read on.
#
# $$ \frac{\partial \ell}{\partial z} = -\Big(\frac{y}{p} - \frac{1-y}{1-p}\Big)\; p\,(1-p) = p - y \tag{22.3} $$
#
# With $M$ for the model's output one often meets the left form, for weights $\theta$:
#
# $$ \frac{\partial L}{\partial \theta} = -\frac{1}{N} \sum_n \Big(\frac{y_n}{M_n} - \frac{1 - y_n}{1 - M_n}\Big) \frac{\partial M_n}{\partial \theta} = \frac{1}{N} \sum_n (M_n - y_n)\, \frac{\partial z_n}{\partial \theta} \tag{22.4} $$
#
# Both are right on paper. But the left one divides by $1 - M$, which a computer may round to 0.

# %%
z, y = torch.tensor([2.0, -1.0]).double(), torch.tensor([1.0, 1.0]).double()
p = 1 / (1 + (-z).exp())
verify("22.2", -(y * p.log() + (1 - y) * (1 - p).log()),
       F.binary_cross_entropy_with_logits(z, y, reduction="none"))
verify("22.3", -(y / p - (1 - y) / (1 - p)) * p * (1 - p), p - y)
X = torch.tensor([[0.3, -1.2], [0.7, 0.1]]).double()                     # z = X theta
verify_gradient("22.4", lambda theta: F.binary_cross_entropy_with_logits(X @ theta, y),
                lambda theta: X.T @ ((X @ theta).sigmoid() - y) / 2, (2,))

# %% [markdown]
# A model is sure of a 1, logit 40, and the label is 0. It should be pushed hard.

# %% tags=["fault"]
z, no = torch.tensor(40.0, requires_grad=True), torch.tensor(0.0)
loss = F.binary_cross_entropy(z.sigmoid(), no)
loss.backward()
print("loss", loss.item(), "  gradient", z.grad.item())
print("the gradient is p - y:", torch.allclose(z.grad, z.sigmoid() - no))

# %% [markdown]
# The probability was rounded to 1, and PyTorch [cuts off the logarithm of 0 at -100](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html), without a word. The loss is finite, and the gradient is 0: this sample pushes nothing any more. The loss that takes logits has cancelled on paper first:

# %%
z, no = torch.tensor(40.0, requires_grad=True), torch.tensor(0.0)
loss = F.binary_cross_entropy_with_logits(z, no)
loss.backward()
print("loss", loss.item(), "  gradient", z.grad.item())
print("the gradient is p - y:", torch.allclose(z.grad, z.sigmoid() - no))

# %% [markdown]
# ## Down to the letters
#
# Page 01 made a word's vector in two steps: look up a row of a table for each letter, take the mean. Back the same way, for the word "too" with two numbers a letter, by loop:

# %%
word, d_mean = "too", [0.3, -0.6]
d_table = {letter: [0.0, 0.0] for letter in "aot"}
for letter in word:
    share = [one / len(word) for one in d_mean]                          # the mean's 1/3
    d_table[letter] = [old + new for old, new in zip(d_table[letter], share)]
    print(f"{letter}:", {name: [round(x, 2) for x in row] for name, row in d_table.items()})

# %% [markdown]
# Each letter has the same share in the mean, whatever its vector is. The row of "o" was used twice, so it gets two shares. With a mask $m$ and letters $id$, over the whole batch, row v of the table $E$ gets
#
# $$ d_{E_v} = \sum_{n, t\,:\; id_{nt} = v} \frac{m_{nt}}{\sum_s m_{ns}}\; d_{mean_n} \tag{22.5} $$
#
# > **Exercise 22.2 · From the mean into the table** — *7 minutes · core*
# >
# > Given what arrives at the masked means of a batch of texts, return what arrives at the table.
# >
# > - `d_mean` is `(B, D)`, `ids` `(B, T)` int64, `mask` `(B, T)` bool, True = real, `rows` the number V of the table's rows. Return `(V, D)`.
# > - Row v gets what *all* its places in the whole batch send.
# > - Padding sends nothing, whatever id stands there. A text without a letter sends nothing.

# %% exercise="22.2"
def table_backward(d_mean: Tensor, ids: Tensor, mask: Tensor, rows: int) -> Tensor:
    """d_table (V, D) from (B, D), (B, T), (B, T) bool and V.

    Example: d_mean [[6.0]], ids [[1, 1, 0]], mask [[True, True, False]] and rows 3 give
    [[0.0], [6.0], [0.0]].
    """
    ### BEGIN SOLUTION
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)            # (B, T) -> (B, 1)
    share = d_mean / count                                        # (B, D)
    d_x = torch.where(mask[..., None], share[:, None], 0.0)       # -> (B, T, D)
    d_table = torch.zeros(rows, d_mean.shape[1], dtype=d_mean.dtype)
    return d_table.index_add(0, ids.flatten(), d_x.flatten(0, 1))
    ### END SOLUTION

# %% [markdown] hints="22.2"
# <details><summary>A question that helps</summary>
#
# By which number is text n's gradient divided? And how many times does row v have to be increased, if its letter stands five times in the batch?
#
# </details>
# <details><summary>The idea in words</summary>
#
# First one gradient for each place, `(B, T, D)`: the text's own share, or zero under padding. Then add each to the row that its id names. `index_add` adds all of them; `table[ids] = ...` and `table[ids] += ...` each keep only one where an id is repeated.
#
# </details>
# <details><summary>If you see "self and source expected to have the same dtype"</summary>
#
# Make the table of zeros with `dtype=d_mean.dtype`. `index_add(0, index, source)` wants a flat index `(B * T,)` and a source `(B * T, D)`.
#
# </details>

# %%
table_backward = mine("22.2", table_backward)
ids, mask = torch.tensor([[3, 1, 1], [1, 2, 1]]), torch.tensor([[True] * 3, [True, True, False]])

def mean_of(E):
    return masked_mean(F.embedding(ids, E), mask)                        # (5, 4) -> (2, 4)

verify_gradient("22.5", lambda E: (mean_of(E) ** 2).sum(),
                lambda E: table_backward(2 * mean_of(E), ids, mask, 5), (5, 4))

# %% [markdown]
# ## A network trained by hand
#
# Now the whole of it, on `digits`. The typed word: a table (27 x 16) and the masked mean. The noisy scan of 16 x 16 pixels: 32 kernels of 9 x 9 in steps of 2, ReLU, the mean over the 4 x 4 places. Both glued, a hidden layer with ReLU, a head.

# %% tags=["measured"]
def forward(net, batch):
    """Every intermediate result of the network, by name."""
    v = {"letters": F.embedding(batch["text"], net["table"])}            # (B, T) -> (B, T, 16)
    v["text"] = masked_mean(v["letters"], batch["mask"])                 # -> (B, 16)
    kernels = net["kernels"].view(32, 1, 9, 9)
    v["map"] = F.conv2d(batch["image"], kernels, net["kernels_bias"], stride=2)  # (B, 32, 4, 4)
    v["image"] = v["map"].relu().mean(dim=(2, 3))                        # -> (B, 32)
    glued = torch.cat([v["text"], v["image"]], dim=1)                    # -> (B, 48)
    v["before"] = glued @ net["hidden"].T + net["hidden_bias"]           # -> (B, 64)
    v["logits"] = v["before"].relu() @ net["head"].T + net["head_bias"]  # -> (B, 10)
    return v

# %% [markdown]
# The convolution's way back is given, and it is yours: a linear layer on each of 16 squares, 81 pixels in, 32 numbers out, with the same weights. `F.unfold` cuts the squares out.

# %% tags=["measured"]
def convolution_backward(d_map, image, kernels):
    squares = F.unfold(image, 9, stride=2).transpose(1, 2).flatten(0, 1)         # (B * 16, 81)
    d_places = d_map.flatten(2).transpose(1, 2).flatten(0, 1)                    # (B * 16, 32)
    return layer_backward(d_places, {"squares": squares}, kernels)[:2]

# %% owes="F95" tags=["measured"]
def by_hand(net, batch):
    """The loss of a batch and its gradients, by the rules of pages 21 and 22 alone."""
    d, v, labels = {}, forward(net, batch), batch["label"]
    d_logits = (v["logits"].softmax(dim=1) - F.one_hot(labels, 10)) / len(labels)    # (B, 10)
    parts = {"hidden": v["before"].relu()}
    d["head"], d["head_bias"], back = layer_backward(d_logits, parts, net["head"])
    d_before = back["hidden"] * (v["before"] > 0)                                # (B, 64)
    parts = {"text": v["text"], "image": v["image"]}
    d["hidden"], d["hidden_bias"], back = layer_backward(d_before, parts, net["hidden"])
    d["table"] = table_backward(back["text"], batch["text"], batch["mask"], 27)
    d_map = back["image"][..., None, None] / 16 * (v["map"] > 0)                 # (B, 32, 4, 4)
    found = convolution_backward(d_map, batch["image"], net["kernels"])
    d["kernels"], d["kernels_bias"] = found
    return F.cross_entropy(v["logits"], labels).item(), d

# %% tags=["measured", "proof"]
# The same from autograd; data; descent in steps that fall to 0.
def by_autograd(net, batch):
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in net.items()}
    loss = F.cross_entropy(forward(leaves, batch)["logits"], batch["label"])
    return loss.item(), dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))

def load(split, seed, **dials):
    """A split of `digits` as one batch, pictures (B, 1, 16, 16) float64."""
    batch = collate(list(Digits(split, seed=seed, **dials)))
    image = F.adaptive_avg_pool2d(batch["image"].double(), 16)           # MNIST's are 28 x 28
    return {"text": batch["text"], "mask": batch["mask"]["text"], "image": image,
            "label": batch["label"]}

def train(gradients_of, data, seed, epochs, size=0.3):
    """The network after training on batches of 64, and the loss of every step."""
    names, losses = ("table", "kernels", "hidden", "head"), []
    net = dict(zip(names, drawn([(27, 16), (32, 81), (64, 48), (10, 64)], seed)))
    net |= {f"{name}_bias": torch.zeros(len(net[name])).double() for name in names[1:]}
    generator = torch.Generator().manual_seed(seed)
    for step in range(epochs):
        for rows in torch.randperm(len(data["label"]), generator=generator).split(64):
            loss, d = gradients_of(net, {name: one[rows] for name, one in data.items()})
            net = {name: w - size * (1 - step / epochs) * d[name] for name, w in net.items()}
            losses.append(loss)
    return net, losses

# %% [markdown]
# First one batch: seven tensors, your gradients beside autograd's. Then the training, with yours and with autograd's, from the same start.

# %%
data = {split: load(split, seed=0) for split in ("train", "test")}
untrained, _ = train(by_hand, data["train"], seed=0, epochs=0)
batch = {name: tensor[:64] for name, tensor in data["train"].items()}
compare(by_hand(untrained, batch)[1], by_autograd(untrained, batch)[1], tolerance=1e-12)
epochs = 40
net, hand_losses = train(by_hand, data["train"], 0, epochs)
_, autograd_losses = train(by_autograd, data["train"], 0, epochs)
apart = max(abs(a - b) for a, b in zip(hand_losses, autograd_losses))
report("largest difference of the two loss curves", apart, near=0, within=1e-10)
result = accuracy(forward(net, data["test"])["logits"], data["test"]["label"])
report("test accuracy of the network trained by hand", 100 * result, near=82, within=3, unit="%")

# %% tags=["figure"]
# Both loss curves, epoch by epoch.
mean = {name: torch.tensor(losses).reshape(epochs, -1).mean(dim=1).tolist()
        for name, losses in (("autograd", autograd_losses), ("by hand", hand_losses))}
figure, ax = plots.axes(width=6.0, height=2.9)
ax.plot(range(1, epochs + 1), mean["autograd"], linewidth=5, color=plots.COLORS["control"],
        alpha=0.5, label="autograd")
ax.plot(range(1, epochs + 1), mean["by hand"], linewidth=1.4, color=plots.COLORS["fused"],
        marker="o", markevery=5, markersize=4, label="by hand")
ax.set_xlabel("epoch")
ax.set_ylabel("training loss")
ax.legend(frameon=False)
plots.show(figure, "The same network, trained with your gradients (thin, dots) and with autograd's"
           " (thick grey): one curve on top of the other.")

# %% [markdown] owes="F96 P13"
# There is no magic in `loss.backward()`: it is the list of these two pages.
#
# ## Weight decay, three times not the same
#
# Weight decay (page 08) lets every weight shrink by the share $\eta \lambda$ at each step, with the learning rate $\eta$. In plain descent (SGD) this is **L2 regularisation** (L2 正则化), a loss with $\frac{\lambda}{2} \lVert \theta \rVert^2$ added: its gradient is $d + \lambda \theta$.
#
# Not in Adam: in its first step it divides the gradient by its own size, so the step is a sign. `Adam(weight_decay=...)` adds $\lambda\theta$ *before* this division; **AdamW** decays beside it, **decoupled**. The first step of each:
#
# $$ \theta \leftarrow \theta - \begin{cases} \eta\, d + \eta\lambda\,\theta & \text{SGD} \\ \eta\, g \,/\, (\lvert g \rvert + \varepsilon), \quad g = d + \lambda\theta & \text{Adam with L2} \\ \eta\, d \,/\, (\lvert d \rvert + \varepsilon) + \eta\lambda\,\theta & \text{AdamW} \end{cases} \tag{22.6} $$
#
# Take three weights of 1 with gradients 0, 0.01 and 1, and $\eta = \lambda = 0.1$. Fill in on paper, three optimisers by three weights, before you run the cell.

# %% tags=["proof"]
# PyTorch's first step; equation 22.6 beside it.
OPTIMIZERS = {"SGD": torch.optim.SGD, "Adam + L2": torch.optim.Adam, "AdamW": torch.optim.AdamW}

def first_step(name, weights, d):
    """What PyTorch's optimiser makes of `weights` in its first step with the gradient `d`."""
    weights = weights.clone().requires_grad_()
    weights.grad = d.clone()
    OPTIMIZERS[name]([weights], lr=0.1, weight_decay=0.1).step()
    return weights.detach()

w, d_w = torch.tensor([0.3, -1.7, 0.9]).double(), torch.tensor([-0.2, 0.6, 1.1]).double()
g = d_w + 0.1 * w
on_paper = torch.stack([w - 0.1 * d_w - 0.01 * w, w - 0.1 * g / (g.abs() + 1e-8),
                        w - 0.1 * d_w / (d_w.abs() + 1e-8) - 0.01 * w])
verify("22.6", on_paper, torch.stack([first_step(name, w, d_w) for name in OPTIMIZERS]))

# %%
gradients = torch.tensor([0.0, 0.01, 1.0]).double()
print("gradient  ", "".join(f"{value:8.3f}" for value in gradients))
for name in OPTIMIZERS:
    moved = first_step(name, torch.ones(3).double(), gradients)
    print(f"{name:10}", "".join(f"{value:8.3f}" for value in moved))

# %% [markdown]
# First column: a weight that the loss does not care about decays by $\eta\lambda = 0.01$ in SGD and AdamW. In Adam with L2 it moves by the full 0.1, whatever $\lambda$ is: the decay is all there is to divide. So the same `weight_decay=0.01` means two things in two optimisers.

# %% [markdown]
# ## More: alone with three modalities and two losses
#
# Text, image and audio are glued and go through one hidden layer with ReLU. Two heads sit on it: ten logits for the digit, and one for "is it even?", which has been answered for some samples only.
#
# $$ L = \alpha\, \frac{1}{B} \sum_n -\log p_{n, y_n} \; - \; \beta\, \frac{1}{K} \sum_{n\ \text{known}} \big[\,e_n \log q_n + (1 - e_n) \log (1 - q_n)\,\big] \tag{22.7} $$
#
# Here $p$ is the softmax of the digit's logits, $q$ the sigmoid of the other, $e_n$ is 1 for even, and K is how many answers are known.
#
# > **Exercise 22.3 · What each modality gets** — *14 minutes · stretch*
# >
# > *More*: nothing after this section needs it.
# >
# > On paper first: draw the graph from the three features to L. Then return what arrives at each modality.
# >
# > - `dims` is `{name: D_m}` in the order of the glue. The way forward was `before = glued @ hidden.T`, `h = before.relu()`, `p = (h @ digit.T).softmax(dim=1)`, `q = (h @ even).sigmoid()`.
# > - So `weights` has `hidden` `(H, D)`, `digit` `(C, H)`, `even` `(H,)`, and `kept` has `before` `(B, H)`, `p` `(B, C)`, `q` `(B,)`.
# > - `labels` has `digit` `(B,)` int64, `even` `(B,)` of 0 and 1, `known` `(B,)` bool. What `even` holds where nothing is known does not matter, not even NaN. If nothing at all is known, the second loss is 0.
# > - `alpha` and `beta` are numbers. Return `{name: (B, D_m)}`. Autograd is refused.

# %% exercise="22.3"
def two_losses_backward(
    dims: dict, weights: dict, kept: dict, labels: dict, alpha: float, beta: float
) -> dict[str, Tensor]:
    """What arrives at each modality, {name: (B, D_m)}, from the loss (22.7).

    Example: dims {"text": 1}, all three weights 1, before [[2.0]], p [[1.0]], q [0.881], digit
    [0], even [1.0], known [True], alpha 1, beta 2 give {"text": [[-0.238]]}.
    """
    ### BEGIN SOLUTION
    p, q, known = kept["p"], kept["q"], labels["known"]
    d_digit = alpha * (p - F.one_hot(labels["digit"], p.shape[1])) / len(p)      # (B, C)
    wrong = torch.where(known, q - labels["even"], 0.0)                          # (B,)
    d_even = beta * wrong / known.sum().clamp(min=1)                             # (B,)
    d_h = d_digit @ weights["digit"] + d_even[:, None] * weights["even"]         # (B, H)
    d_before = d_h * (kept["before"] > 0)                                        # (B, H)
    d_glued = d_before @ weights["hidden"]                                       # -> (B, D)
    return dict(zip(dims, d_glued.split(list(dims.values()), dim=1)))
    ### END SOLUTION

# %% [markdown] hints="22.3"
# <details><summary>A question that helps</summary>
#
# At how many places does the hidden layer's result go into the loss? What does the chain rule do where ways meet?
#
# </details>
# <details><summary>Step 1: the two ends</summary>
#
# At the ten logits arrives page 21's residual, divided by B. At the single logit arrives $q - e$ by (22.3), divided by K, and only where the answer is known. Each is scaled by its own number, at its source.
#
# </details>
# <details><summary>Step 2: where they meet</summary>
#
# Each head sends its own gradient to the hidden layer; there they add. For the single logit of sample n that is $d_{even_n}$ times the vector `weights["even"]`: a column times a row.
#
# </details>
# <details><summary>Step 3: the rest</summary>
#
# One ReLU, one matrix, one cut. You have done all three.
#
# </details>
# <details><summary>If you get NaN</summary>
#
# Zero times NaN is NaN: choose with `torch.where`. Or nothing is known, and you divide 0 by 0.
#
# </details>

# %% tags=["proof"]
# A small network, four samples, and the loss.
def way_forward(features, weights):
    """What the way back will ask for: before (B, H), p (B, C), q (B,)."""
    before = torch.cat(list(features.values()), dim=1) @ weights["hidden"].T     # (B, D) -> (B, H)
    p = (before.relu() @ weights["digit"].T).softmax(dim=1)                      # -> (B, C)
    q = (before.relu() @ weights["even"]).sigmoid()                              # -> (B,)
    return {"before": before, "p": p, "q": q}

dims, shapes = {"text": 2, "image": 4, "audio": 1}, [(6, 7), (10, 6), (1, 6)]
some_weights = dict(zip(("hidden", "digit", "even"), drawn(shapes, seed=3)))
some_weights["even"] = some_weights["even"][0]                           # (1, 6) -> (6,)
answers = {"digit": torch.tensor([3, 0, 8, 1]), "even": torch.tensor([0, 1, 1, 0]).double(),
           "known": torch.tensor([True, False, True, False])}

def sent(features, alpha, beta):
    kept = way_forward(dict(zip(dims, features)), some_weights)
    return two_losses_backward(dims, some_weights, kept, answers, alpha, beta)

def both_losses(*features):
    kept = way_forward(dict(zip(dims, features)), some_weights)
    q, e = kept["q"][answers["known"]], answers["even"][answers["known"]]
    digit_loss = F.nll_loss(kept["p"].log(), answers["digit"])
    return 0.7 * digit_loss + 0.3 * F.binary_cross_entropy(q, e)

# %%
two_losses_backward = mine("22.3", two_losses_backward)
verify_gradient("22.7", both_losses, lambda *features: tuple(sent(features, 0.7, 0.3).values()),
                (4, 2), (4, 4), (4, 1))
for alpha, beta in ((0.7, 0.0), (0.0, 0.3), (0.7, 0.3)):
    audio = sent(drawn([(4, 2), (4, 4), (4, 1)], seed=4), alpha, beta)["audio"]  # (4, 1)
    print(f"alpha {alpha}, beta {beta}: sent to the audio of samples 0 and 1:",
          f"{audio[0].item():+.4f} {audio[1].item():+.4f}")

# %% [markdown]
# The last line is the sum of the two above it, up to rounding: a weighted sum of losses scales each gradient at its source and adds where the ways meet. Sample 1 has no answer to the second question, and gets nothing from the second loss.

# %% [markdown]
# ## With the library
#
# A backward of your own in plain PyTorch, beside central differences. `gradcheck` wants float64.

# %%
import torch as pt


class ReLU(pt.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return a.clamp(min=0)

    @staticmethod
    def backward(ctx, d_h):
        (a,) = ctx.saved_tensors
        return d_h * (a > 0)                                             # try d_h * (d_h > 0)

numbers = pt.randn(3, 4, dtype=pt.float64, requires_grad=True)
print("the ReLU's backward is right:", pt.autograd.gradcheck(ReLU.apply, numbers))

# %% [markdown]
# ## On real data
#
# The same network and gradients on 5,000 of MNIST's test images, each with a typed word; five seeds, stored.

# %% tags=["proof"]
# The stored runs on MNIST: python tools/sweep.py 22 by_hand.
mnist = stored("22", "by_hand")["mnist"]
print("test accuracy in %:", ", ".join(f"{100 * value:.0f}" for value in mnist["accuracy"]),
      "  loss within 1e-12 of autograd's:", max(mnist["difference"]) < 1e-12)

# %% tags=["real-data", "nbval-ignore-output"]
# Not compared: without the data (18 MB, fetched once) it says how to get them.
if store.have("mnist", "fsdd"):
    public = {split: load(split, 0, source="mnist-fsdd") for split in ("train", "test")}
    public_net, _ = train(by_hand, public["train"], 0, epochs=10)
    live = accuracy(forward(public_net, public["test"])["logits"], public["test"]["label"])
    report("MNIST: live minus stored", live - mnist["accuracy"][0], 0, within=0.02)

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **go back** through a layer, $d_Z^\top H$ and $d_Z W$, and cut where the modalities were glued;
# 2. **say** which slips show (a minus) and which hide (a transposed matrix), and how a loss on probabilities goes silent;
# 3. **send** a mean's gradient into a table: equal shares, added where a row was used twice;
# 4. **train** a network of two modalities with gradients of your own, on autograd's curve;
# 5. **work out** weight decay: L2 in SGD, lost in Adam's division, decoupled in AdamW;
# 6. **derive** what three modalities get from two losses, of which one has missing labels.
#
# ## Questions
#
# <details><summary>1. Why is there a sum over the samples in the weight's gradient and none in the features'?</summary>
#
# All samples went through the same weights, so each has a way to the loss through them. A sample's features belong to it alone.
#
# </details>
# <details><summary>2. A word occurs in half of the texts, another once. What follows for their rows of the table?</summary>
#
# The first row gets a sum of many shares at every step, the other gets something in the one batch where it occurs, and exactly zero in all others.
#
# </details>
# <details><summary>3. Why does the way back through the masked mean not need the tokens?</summary>
#
# A mean is linear: its derivative is each token's share, whatever the token is. The ReLU's is not: it asks where it was open.
#
# </details>
# <details><summary>4. A model with <code>BCELoss</code> stops improving on a few samples whose loss is exactly 100. What is it?</summary>
#
# Their probability was rounded to 0 or 1 on the wrong side. The logarithm is cut off at -100, and the gradient is 0. Use the loss that takes logits.
#
# </details>
# <details><summary>5. With the whole page: a colleague's layer with a backward of their own trains to a good score. Is the backward right?</summary>
#
# The score can hardly tell. At width 256 a first layer that did not learn lost half a point, and a transposed matrix hid at 64. Put each gradient beside autograd's, or central differences, in float64 and with sizes that differ from each other, so that a transposed matrix raises.
#
# </details>
# <details><summary>6. With the whole page: a third of your samples has no label for the second task, and you put 0 there. What happens on the way back?</summary>
#
# Each of them sends $q - 0$ instead of nothing: the second head learns to say "no", and this reaches the hidden layer, the cut, and from there every modality and its table. The mask belongs in the loss, and the mean's divisor is the number of known labels.
#
# </details>
#
# ## Read more
#
# - D. Rumelhart, G. Hinton, R. Williams, *Learning representations by back-propagating errors*, Nature 1986. The chain rule as a way to learn.
# - T. Lillicrap, D. Cownden, D. Tweed, C. Akerman, *Random synaptic feedback weights support error backpropagation for deep learning*, Nature Communications 2016. Why a wrong matrix can work.
# - I. Loshchilov, F. Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019. The table of this page, over whole trainings.
#
# ## A bet for page 23
#
# Two modalities are glued in front of one head, and one is easier than the other. Both get the same residual. Follow the weaker one's share of the gradient through the training.
#
# *Ada says: it shrinks; what the easy one has explained no longer pulls at the other.* *Ben says: it grows; once the easy one is done, all that is left is the other's to explain.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("22.c", None)
guesses("22")
