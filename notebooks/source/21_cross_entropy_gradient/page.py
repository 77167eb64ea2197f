# %% [markdown]
# # Where does p - y come from?
#
# A network with two modalities makes one decision, and the loss scores it with one number. From this number every weight is told which way to move, down to the
# vector of every letter and the kernels that look at the pixels. It all starts with one line, $p - y$. On this page you derive it, check it, follow it down, and
# train a network with nothing else.
#
# *About {minutes} minutes, best in two sittings (the second begins at "Two classes: the sigmoid"). You need PyTorch's basics, notebook 00, and from school the derivatives of $e^x$, $\log x$ and
# a quotient. Take paper.*

# %% [markdown]
# ## In this notebook you will
#
# 1. derive on paper what softmax and cross-entropy send back to the logits, and see autograd agree to the last digits;
# 2. walk back through a loss one operation at a time, and through a linear head into two modalities;
# 3. settle two classical slips by experiment: a minus sign too many, and a transposed Jacobian;
# 4. derive variants by yourself: padded sequences, class weights with label smoothing;
# 5. tell softmax from sigmoid, and say which gradient the binary formula has on a task with many classes;
# 6. train a network of two modalities with your own gradients alone, and say what weight decay does in SGD, Adam and AdamW.

# %% tags=["measured", "imports"]
# Imports, and the names of three classes.
import math

import sympy
import torch
from ipywidgets import Dropdown, FloatSlider
from torch.nn import functional as F

from course_utils import plots
from course_utils.datasets import Digits, collate, store
from course_utils.exercises import check, reference
from course_utils.gradients import (
    activation_backward,
    binary_cross_entropy_backward,
    compare,
    concat_backward,
    cross_entropy_backward,
    embedding_backward,
    global_average_pool_backward,
    linear_backward,
    masked_mean_backward,
    softmax_backward,
    softmax_jacobian,
    verify_gradient,
)
from course_utils.masks import masked_mean
from course_utils.metrics import accuracy
from course_utils.report import guess, guesses, outcome, passport, report, show_source, verify
from course_utils.rooms import stored
from course_utils.widgets import Explorer

NAMES = ["one", "seven", "nine"]

# %% tags=["figure"]
# Beliefs, labels and pushes, drawn.
figure, ax = plots.axes(width=5.4, height=2.6)
for place, p, y in zip((0, 1.4, 2.8), (0.5, 0.375, 0.125), (0, 1, 0)):
    ax.bar(place, p, width=0.5, color=plots.COLORS["fused"], alpha=0.75)
    ax.bar(place, y, width=0.6, fill=False, edgecolor=plots.INK, linestyle="--")
    ax.annotate(
        "",
        (place + 0.4, y),
        (place + 0.4, p),
        arrowprops={"arrowstyle": "-|>", "color": plots.INK, "linewidth": 1.6},
    )
    ax.text(place + 0.45, (p + y) / 2, f"{y - p:+.3f}", va="center")
ax.set_xticks((0, 1.4, 2.8), NAMES)
ax.set_xlim(-0.5, 3.7)
ax.set_ylabel("probability")
plots.show(
    figure,
    "What a model believes (filled), what is true (dashed: 1 for the true class, 0 for the others),"
    " and the push that each class's score will get: y - p. The three pushes add up to zero.",
)

# %% [markdown]
# ## Three logits, on paper
#
# Somebody has scribbled a digit and typed its name. A model is to say which of three digits it was. The signs on this page, first with one sample in mind:
#
# | sign | shape | what it is |
# |---|---|---|
# | $\mathcal{D} = \{(x_n^{text}, x_n^{image}, y_n)\}$ | | the data: $N$ samples, each with its modalities and its label |
# | $h^{text}, h^{image}$ | $(D^{text}), (D^{image})$ | features: what an extractor makes of each modality |
# | $h$ | $(D)$ | the fused vector, here $h^{text}$ and $h^{image}$ glued together |
# | $z = W h + b$ | $(C)$ | the **logits** (对数几率): one score per class, any real numbers |
# | $p = \operatorname{softmax}(z)$ | $(C)$ | probabilities |
# | $y$ | $(C)$ | the label as a **one-hot** vector: $y_k = 1$ for the true class, 0 for the others. Where $y$ is an index, as in $p_y$, it names the true class |
# | $\ell$, $L$ | one number | the loss of one sample; its mean over the batch |
# | $d_x$ | as $x$ | the **gradient** (梯度) $\partial L / \partial x$: for every entry of $x$, how fast $L$ grows with it. Always of the shape of $x$ |
#
# Learning means to find weights $\theta$ for which the **empirical risk** (经验风险), the mean loss over the data, is as small as possible:
#
# $$ L(\theta) = \frac{1}{N} \sum_{n=1}^{N} \ell\big(z_\theta(x_n),\, y_n\big) \tag{21.1} $$
#
# **Softmax** makes probabilities of the logits, and **cross-entropy** (交叉熵) is the negative logarithm of the one that belongs to the true class:
#
# $$ p_i = \frac{e^{z_i}}{\sum_k e^{z_k}} \tag{21.2} $$
#
# $$ \ell = -\sum_i y_i \log p_i = -\log p_y \tag{21.3} $$
#
# The minus belongs to the loss: logarithms of probabilities are negative, and a loss should be positive. Remember where it stands: on the whole way
# back no other will be added.
#
# Take logits whose exponentials are easy: $z = (\log 4, \log 3, \log 1)$, and let "seven" be true. Work out $p$ and $\ell$ on paper before you run the cell.

# %%
logits = torch.tensor([4.0, 3.0, 1.0], dtype=torch.float64).log()
exps = [math.exp(z) for z in logits.tolist()]
probs = torch.tensor([e / sum(exps) for e in exps], dtype=torch.float64)
for name, e, p in zip(NAMES, exps, probs):
    print(f"{name:<6} e^z = {e:.0f}   p = {e:.0f}/8 = {p:.3f}")
print(f"loss if it is a seven: -log(3/8) = {-math.log(probs[1]):.4f}")

# from here on: the same on random numbers, against PyTorch
def draws(*shape):
    """Random float64 numbers of three seeds: (3, *shape)."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    return torch.stack(
        [torch.randn(shape, generator=generator, dtype=torch.float64) for generator in generators]
    )

z, y = draws(3), torch.tensor([1, 0, 2])
p = z.exp() / z.exp().sum(1, keepdim=True)                         # (3, 3)
losses = torch.stack([-p[n, y[n]].log() for n in range(3)])        # (3,), one sample at a time
verify("21.1", by_hand=losses.mean(), reference=F.cross_entropy(z, y))
verify("21.2", by_hand=p, reference=z.softmax(1))
verify(
    "21.3",
    by_hand=-(F.one_hot(y, 3) * p.log()).sum(1),
    reference=F.cross_entropy(z, y, reduction="none"),
)

# %% [markdown]
# ### Push one logit, watch all probabilities
#
# Push the logit of "one" up a little. Its probability rises, by how much? And the others, whose logits have not moved? Write $S = \sum_k e^{z_k}$, so that $p_i = e^{z_i} / S$, and take the
# derivative of this quotient with respect to $z_k$, once for $i = k$ and once for $i \neq k$, on paper.
#
# <details><summary>Compare with your derivation</summary>
#
# $S$ contains $e^{z_k}$ once, so $\partial S / \partial z_k = e^{z_k}$. The rule for quotients:
#
# - for $i = k$ the numerator moves too: $(e^{z_k} S - e^{z_k} e^{z_k}) / S^2 = p_k - p_k^2 = p_k (1 - p_k)$;
# - for $i \neq k$ only the denominator moves: $(0 - e^{z_i} e^{z_k}) / S^2 = - p_i \, p_k$.
#
# </details>
#
# Both cases in one line, where $[i = k]$ is 1 if $i = k$ and 0 otherwise:
#
# $$ J_{ik} = \frac{\partial p_i}{\partial z_k} = p_i \big([i = k] - p_k\big) \tag{21.4} $$
#
# A table of all derivatives of several outputs with respect to several inputs is called a **Jacobian** (雅可比矩阵). Its rows stand for the outputs. For our numbers every entry is a fraction
# over 64. The cell measures the same by pushing each logit by 0.000001.
#
# From here on `verify_gradient` checks each derivative on random numbers of three seeds, twice: against autograd, and against **central differences** (中心差分), the measured $(f(x + h) - f(x - h)) / 2h$, which need
# no theory at all.

# %%
print("measured, in 64ths; row: probability of, column: logit of", ", ".join(NAMES))
push = 1e-6
columns = [
    (torch.softmax(logits + push * torch.eye(3).double()[k], 0) - probs) / push for k in range(3)
]
for i, name in enumerate(NAMES):
    print(f"{name:<6}", "".join(f"{64 * columns[k][i]:6.0f}" for k in range(3)))

J = torch.diag(probs) - torch.outer(probs, probs)                  # (3, 3): (21.4) as a matrix
compare({"Jacobian": J}, {"Jacobian": softmax_jacobian(probs)})
verify_gradient("21.4", lambda z: torch.softmax(z, 0),
                lambda z: torch.diag(z.softmax(0)) - torch.outer(z.softmax(0), z.softmax(0)), (3,))

# %% [markdown]
# Read a column from top to bottom: 16 - 12 - 4 = 0. Every column adds up to zero, and so does every row. Probabilities share a fixed total of 1, so what one gains
# the others lose, the larger ones more. The softmax is a seesaw.

# %% tags=["figure"]
# Each logit pushed up in turn, drawn as a seesaw.
figure, panels = plots.axes(width=8.4, height=2.5, columns=3, sharey=True)
for k, ax in enumerate(panels):
    others = [i for i in range(3) if i != k]
    tilt, places = J[k, k].item(), {k: -1.0, others[0]: 0.75, others[1]: 1.35}
    ax.plot([-1.6, 1.6], [0.5 * tilt, -0.5 * tilt], color=plots.INK, linewidth=3)
    ax.fill([-0.18, 0.18, 0], [-0.32, -0.32, 0], color="#777777")
    for i, x in places.items():
        base, change = -x * tilt / 3.2, J[i, k].item()
        color, hatch = (plots.COLORS["fused"], None) if i == k else (plots.COLORS["control"], "//")
        ax.bar(x, change, bottom=base, width=0.45, color=color, hatch=hatch, edgecolor="white")
        ax.text(
            x,
            base + change + (0.03 if i == k else -0.03),
            f"{NAMES[i]}\n{64 * change:+.0f}/64",
            ha="center",
            va="bottom" if i == k else "top",
            fontsize=9,
        )
    ax.set_title(f'logit of "{NAMES[k]}" pushed up', fontsize=10)
    ax.set_axis_off()
    ax.set_ylim(-0.5, 0.5)
plots.show(
    figure,
    "The softmax as a seesaw; the boxes are changes, not weights. The probability whose logit is"
    " pushed rises by p(1 - p), and the other two sink by just as much together, the more probable"
    " one further.",
)

# %% [markdown]
# Only the probability of the true class, "seven", stands in the loss $-\log p_y$. Which *logits* does the loss move, then: "one" of them, or "all"?

# %%
guess("21.a", None, sure=0.5)

# %% [markdown]
# ### The chain rule, and a cancellation
#
# First the loss and the probabilities. In (21.3) only $p_y$ occurs, and the derivative of $-\log p$ is $-1/p$:
#
# $$ \frac{\partial \ell}{\partial p_i} = -\frac{y_i}{p_i} \tag{21.5} $$
#
# For our numbers $d_p = (0, -8/3, 0)$. Now a logit $z_k$ acts on the loss by way of *every* probability. The **chain rule** (链式法则) adds up all ways:
#
# $$ \frac{\partial \ell}{\partial z_k} = \sum_i \frac{\partial \ell}{\partial p_i}\, \frac{\partial p_i}{\partial z_k} \qquad\text{that is}\qquad d_z = J^\top d_p \tag{21.6} $$
#
# The sum runs over the *outputs* $i$, the rows of $J$. That is why the transposed matrix appears when gradients are columns. (As rows, one writes $d_z = d_p J$, the same numbers. The softmax's $J$ happens to be symmetric; the next
# layer's will not be.) Whoever writes the
# sum and keeps every gradient in the shape of its tensor has no layout to argue about.
#
# Put (21.4) and (21.5) into the sum. All terms but the one with $i = y$ vanish, and the $p_y$ in front cancels the $p_y$ below. ($[y = k]$ is the entry $y_k$ of the one-hot vector.)
#
# $$ \frac{\partial \ell}{\partial z_k} = -\frac{1}{p_y}\; p_y \big([y = k] - p_k\big) = p_k - y_k \qquad\text{that is}\qquad d_z = p - y \tag{21.7} $$
#
# Division by a probability, which may be tiny, has gone. What remains is what the model believes minus what is true.

# %%
d_p = -torch.tensor([0.0, 1.0, 0.0]) / probs                       # (3,)
print("d_p in thirds: ", " ".join(f"{3 * value + 0:.0f}" for value in d_p))
print("d_z in eighths:", " ".join(f"{8 * value:.0f}" for value in J.T @ d_p))
outcome("21.a", "all")

Y = torch.eye(3).double()[1]
# |p|: draws may be negative
verify_gradient("21.5", lambda p: -(Y * p.abs().log()).sum(), lambda p: -Y / p, (3,))
# any function of p will do: this is about the chain
verify_gradient("21.6", lambda z: (z.softmax(0) ** 3).sum(),
                lambda z: softmax_jacobian(z.softmax(0)).T @ (3 * z.softmax(0) ** 2), (3,))
verify_gradient("21.7", lambda z: -torch.log_softmax(z, 0)[1], lambda z: z.softmax(0) - Y, (3,))

# the same with letters instead of numbers
z, y = sympy.symbols("z:3", real=True), sympy.symbols("y:3")
p = [sympy.exp(one) / sum(map(sympy.exp, z)) for one in z]
# y adds up to 1
loss = -sum(a * sympy.log(b) for a, b in zip(y, p)).subs(y[2], 1 - y[0] - y[1])
entries = [sympy.diff(p[i], z[k]) - p[i] * (int(i == k) - p[k]) for i in range(3) for k in range(3)]
entries += [
    sympy.diff(loss, z[k]) - (p[k] - (y[k] if k < 2 else 1 - y[0] - y[1])) for k in range(3)
]
right = sum(sympy.simplify(entry) == 0 for entry in entries)
print(f"SymPy: {right} of {len(entries)} entries of (21.4) and (21.7) are right for all numbers")

# %% [markdown]
# All three logits move, by $(4, -5, 1)$ eighths, though two of the probabilities do not stand in the loss: they are coupled through the seesaw. The gradient of the true logit is negative, so
# descent, which goes *against* the gradient, lifts it; it lowers "one", the stronger rival, four times as much as "nine". And the three add up to zero, as they must: adding the same number to all
# logits changes no probability.
#
# ## One operation at a time
#
# This is how a machine does it. It does not know (21.7). It knows the derivative of each single operation, and the chain rule. PyTorch writes down each operation while it runs,
# and walks through this list backwards. That is **automatic differentiation** (自动微分), and the walk is **backpropagation** (反向传播). The list is made anew in every forward pass, so a
# model may use Python's `if` and `for`; this is what people mean by a *dynamic graph*. Let us make the list by hand, for a batch of four samples. Each line below is one operation.

# %%
z = draws(4, 3)[0].requires_grad_()                                # (4, 3)
y = torch.tensor([1, 0, 2, 1])
largest = z.max(dim=1, keepdim=True).values                        # (4, 3) -> (4, 1)
shifted = z - largest                                              # (4, 3)
exps = shifted.exp()                                               # (4, 3)
total = exps.sum(dim=1, keepdim=True)                              # (4, 3) -> (4, 1)
probs = exps / total                                               # (4, 3)
log_probs = probs.log()                                            # (4, 3)
picked = log_probs[range(4), y]                                    # (4, 3) -> (4,)
# (4,) -> one number (two operations, to be exact)
loss = -picked.mean()

tape, ahead = [], [loss.grad_fn]
# what autograd has written down, from the end
while ahead:
    node = ahead.pop(0)
    if node is not None and node not in tape:
        tape.append(node)
        ahead += [before for before, _ in node.next_functions]
print("autograd's list:", ", ".join(type(node).__name__.split("Backward")[0] for node in tape))

results = {
    "log_probs": log_probs,
    "probs": probs,
    "total": total,
    "exps": exps,
    "shifted": shifted,
    "z": z,
}
for tensor in results.values():
    tensor.retain_grad()
loss.backward()

# %% [markdown]
# It holds every operation of the cell, from the last to the first, and our leaf `z` (`AccumulateGrad` stores its gradient). Now backwards by hand. Two rules are enough:
#
# - **One way:** multiply by the operation's own derivative.
# - **Several ways:** what is used in several places gets the *sum* of what comes back from them. `total` is used by three quotients; each entry of `exps` is used twice, in its quotient and in `total`.

# %%
Y = F.one_hot(y, 3).double()                                       # (4,) -> (4, 3)
# the loss is minus the mean of four picked entries
d_log_probs = -Y / 4
d_probs = d_log_probs / probs                                      # log' is 1 / p
# d(e/S)/dS = -e/S^2, for three quotients: (4, 3) -> (4, 1)
d_total = (-d_probs * exps / total**2).sum(dim=1, keepdim=True)
# d(e/S)/de = 1/S, and S is a sum: slope 1 for each e
d_exps = d_probs / total + d_total
d_shifted = d_exps * exps                                          # exp' is exp
d_largest = -d_shifted.sum(dim=1, keepdim=True)                    # (4, 3) -> (4, 1)
# and the way over `largest`? See the assertion
d_z = d_shifted

assert d_largest.abs().max() < 1e-15                               # the shift sends nothing back
by_hand = {
    "log_probs": d_log_probs,
    "probs": d_probs,
    "total": d_total,
    "exps": d_exps,
    "shifted": d_shifted,
    "z": d_z,
}
_ = compare(by_hand, {name: tensor.grad for name, tensor in results.items()}, tolerance=1e-12)

# %% [markdown]
# Six intermediate results, and each gradient agrees. The maximum that was subtracted gets nothing back: shifting all logits changes nothing, so the loss does not care how far we shifted.
#
# Seven lines of code, and they must come out as something short. In (21.7) you have derived what.
#
# > **Exercise 21.1 · The closed form, for a batch** — *8 minutes · warm-up*
# >
# > Given logits and labels, return the gradient of the *mean* cross-entropy of the batch with respect to the logits.
# >
# > - `logits` is `(N, C)` float, `labels` `(N,)` int64. Return `(N, C)`.
# > - One or two lines, no autograd.
# > - Logits of 10,000 must give a right answer, too.

# %% exercise="21.1"
def logits_gradient(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """d_logits of the mean softmax cross-entropy: (N, C) and (N,) -> (N, C).

    Example: logits [[log 4, log 3, log 1]] with labels [1] give [[0.5, -0.625, 0.125]].
    """
    ### BEGIN SOLUTION
    wanted = F.one_hot(labels, logits.shape[1])                     # (N,) -> (N, C)
    return (torch.softmax(logits, dim=1) - wanted) / len(logits)    # (N, C)
    ### END SOLUTION

# %% [markdown] hints="21.1"
# <details><summary>A question that helps</summary>
#
# The loss of the batch is a mean of N losses. By how much does one sample's loss count in it, and what is that sample's gradient by (21.7)?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Softmax of every row, minus the one-hot row of its label, and the whole divided by the number of rows.
#
# </details>
# <details><summary>If you see NaN where the logits are large</summary>
#
# You exponentiate the logits themselves, and $e^{10000}$ does not fit into a float. Use `torch.softmax`, or subtract each row's maximum first.
#
# </details>

# %% [markdown]
# With the rows of the batch below each other, $Z$, $P$ and $Y$ are matrices $(N, C)$, and what you have written is
#
# $$ d_Z = \frac{1}{N}\,(P - Y) \tag{21.8} $$
#
# The factor $1/N$ is the mean's. It is the part that is most often forgotten; the direction is then still right and the step N times too long.
#
# ## Where it breaks: logits of 10,000
#
# $e^{710}$ is more than float64 can hold, and $e^{89}$ more than float32, in which networks train. Written as in (21.2) and (21.3), softmax and logarithm fail at logits that a network reaches easily. The remedy is the shift that we have just seen
# to be free. With $m = \max_k z_k$,
#
# $$ \log \sum_k e^{z_k} = m + \log \sum_k e^{z_k - m} \tag{21.9} $$
#
# Every exponent on the right is at most 0, and one of them is 0, so nothing overflows and the logarithm never sees a zero. Since $-\log p_y = \log \sum_k e^{z_k} - z_y$, the loss needs no probability at all.
# This is the **log-sum-exp** trick, and `F.cross_entropy` and `nn.CrossEntropyLoss` do it inside: they take *logits*.

# %%
verify_gradient(
    "21.8", lambda z: F.cross_entropy(z, y), lambda z: (z.softmax(dim=1) - Y) / 4, (4, 3)
)
z3, m = draws(3), draws(3).max(dim=1, keepdim=True).values
verify(
    "21.9", by_hand=m[:, 0] + (z3 - m).exp().sum(dim=1).log(), reference=z3.exp().sum(dim=1).log()
)

large, label = torch.tensor([[1e4, 0.0, -1e4]], dtype=torch.float64), torch.tensor([1])
LOSSES = {"exp, divide, log ": lambda z: -(z.exp() / z.exp().sum(dim=1, keepdim=True)).log()[0, 1],
          "log of softmax   ": lambda z: -z.softmax(dim=1).log()[0, 1],
          "F.cross_entropy  ": lambda z: F.cross_entropy(z, label)}
for name, function in LOSSES.items():
    z = large.clone().requires_grad_()
    loss = function(z)
    loss.backward()
    print(f"{name} loss {loss.item():>7.0f}   gradient {z.grad[0].tolist()}")
print(
    f"p - y by hand                   gradient {cross_entropy_backward(large, label)[0].tolist()}"
)

# %% [markdown]
# The first two lose both: an infinite loss, and a gradient of NaN, which makes every weight NaN with the next step. The second only *looks* careful: its softmax is stable, but a probability rounded to 0 has no
# logarithm. The closed form has nothing to overflow: (1, -1, 0) is the exact answer.
#
# ### The silent relative: a softmax too many
#
# `F.cross_entropy` takes logits. Whoever hands it probabilities gets no error. The loss falls, too. But it is the cross-entropy of a softmax of a softmax, and the gradient has to pass through the Jacobian (21.4)
# once more, which is almost zero for a model that is sure:

# %%
for words, z in (
    ("unsure, wrong", [1.0, 0.0, 0.0]),
    ("sure, wrong", [8.0, 0.0, 0.0]),
    ("sure, right", [0.0, 8.0, 0.0]),
):
    z, seven = torch.tensor([z], dtype=torch.float64), torch.tensor([1])
    right = cross_entropy_backward(z, seven)
    twice = softmax_backward(cross_entropy_backward(z.softmax(dim=1), seven), z.softmax(dim=1))
    again = z.clone().requires_grad_()
    F.cross_entropy(again.softmax(dim=1), seven).backward()
    assert torch.allclose(twice, again.grad, rtol=0, atol=1e-15)
    print(
        f"{words:<14} true logit's gradient: from logits {right[0, 1]:8.4f}, from probabilities"
        f" {twice[0, 1]:8.4f}; loss {F.cross_entropy(z, seven):.3f} and"
        f" {F.cross_entropy(z.softmax(dim=1), seven):.3f}"
    )

# %% [markdown]
# A model that is sure and wrong should be pushed hardest. With the softmax too many it is pushed two thousand times less than it should be. And one that is sure and right still shows a loss of 0.55: at best
# it hands over the "logits" (1, 0, 0), whose cross-entropy is $\log(e + C - 1) - 1$. If a training never gets below that number, look for a second softmax.
#
# ## From the logits into two modalities
#
# One step further down stands the head, $z_c = \sum_d W_{cd}\, h_d + b_c$ for each sample. So $\partial z_c / \partial W_{cd} = h_d$, $\partial z_c / \partial b_c = 1$ and $\partial z_c / \partial h_d = W_{cd}$. All samples use the
# same $W$ and $b$: several ways, so their contributions add up.
#
# > **Exercise 21.2 · Back through the head** — *10 minutes · core*
# >
# > Given `d_logits`, what the loss has sent to the logits of a batch, return what arrives at the weights, at the bias and at the fused features of `logits = features @ weight.T + bias`.
# >
# > - `d_logits` is `(N, C)`, `features` `(N, D)`, `weight` `(C, D)` as in `nn.Linear`.
# > - Return the tuple `(d_weight, d_bias, d_features)` of shapes `(C, D)`, `(C,)`, `(N, D)`: each has the shape of what it belongs to.
# > - The mean's $1/N$ is already in `d_logits`.

# %% exercise="21.2"
def head_gradients(d_logits: torch.Tensor, features: torch.Tensor, weight: torch.Tensor) -> tuple:
    """(d_weight, d_bias, d_features) from (N, C), (N, D) and (C, D): shapes (C, D), (C,) and (N,
    D).

    Example: d_logits [[1.0, -1.0]], features [[5.0]], weight [[2.0], [3.0]] give [[5.0],
    [-5.0]], [1.0, -1.0] and [[-1.0]].
    """
    ### BEGIN SOLUTION
    d_weight = d_logits.T @ features                                # (C, N) @ (N, D) -> (C, D)
    d_bias = d_logits.sum(dim=0)                                    # (N, C) -> (C,)
    d_features = d_logits @ weight                                  # (N, C) @ (C, D) -> (N, D)
    return d_weight, d_bias, d_features
    ### END SOLUTION

# %% [markdown] hints="21.2"
# <details><summary>A question that helps</summary>
#
# For one sample, $d_{W_{cd}}$ is $d_{z_c} h_d$. Which index has to be summed away for the batch, and which product of matrices sums over it?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Weight: sum over samples of "gradient of the logit times feature". Bias: sum over samples of the gradient of the logit. Features: for each sample, sum over the classes of "gradient of the logit times weight".
#
# </details>
# <details><summary>If you see "transposed"</summary>
#
# Write the shapes under each factor. `(N, C)` and `(N, D)` can only become `(C, D)` if the *first* is transposed and N is summed away. If all sizes are equal, shapes cannot help you: go back to the indices.
#
# </details>

# %% [markdown]
# In matrices:
#
# $$ d_W = d_Z^\top H, \qquad d_b = \sum_n d_{Z_n}, \qquad d_H = d_Z\, W \tag{21.10} $$
#
# A row of $H$ is $[h^{text}, h^{image}]$. Its entries are copies, so each modality takes its own columns of $d_H$. With $W = [W^{text}, W^{image}]$ cut in the same place, that is
#
# $$ d_{H^{text}} = d_Z\, W^{text}, \qquad d_{H^{image}} = d_Z\, W^{image} \tag{21.11} $$
#
# Look at what stands in both: the *same* $d_Z = (P - Y)/N$. Text and image share one residual. As soon as the text alone makes $p$ right, nothing is left for the image to learn from. Notebook 23 measures what that does.
#
# ### Two slips, settled by one step of descent
#
# In articles on this subject one meets the chain rule for a text vector $t$, fused by a function $g$, as $\frac{\partial L}{\partial t} = -\frac{\partial g}{\partial t} \frac{\partial L}{\partial g}$. Two things can be wrong with it. The minus always is: $L$ already
# carries the only one. And if the Jacobian has its outputs as rows, as ours has, it must be transposed, as in (21.6).
#
# No authority is needed to decide this. A gradient is right if a small step *against* it lowers the loss. We draw a thousand small networks: $t$ (4 numbers) goes through a random projection $A$ to $h = A\,t$ (so the Jacobian is $A$, square, and the wrong
# order runs without an error), then through a random head. In how many of the thousand does a small step lower the loss, if $A$ is used where $A^\top$ is right: 0, 320, 500, 680 or all 1000?

# %%
guess("21.b", None, sure=0.5)

# %%
# C = 4, D = 3, N = 5
head, features, labels = draws(4, 3)[0], draws(5, 3)[1], torch.tensor([0, 3, 1, 1, 2])
verify_gradient(
    "21.10",
    lambda W, b, H: F.cross_entropy(H @ W.T + b, labels),
    lambda W, b, H: reference("21.2")(cross_entropy_backward(H @ W.T + b, labels), H, W),
    (4, 3),
    (4,),
    (5, 3),
)
glued = lambda text, image: torch.cat([text, image], dim=1)         # (5, 1), (5, 2) -> (5, 3)
verify_gradient(
    "21.11",
    lambda text, image: F.cross_entropy(glued(text, image) @ head.T, labels),
    lambda text, image: tuple(
        cross_entropy_backward(glued(text, image) @ head.T, labels) @ block
        for block in (head[:, :1], head[:, 1:])
    ),
    (5, 1),
    (5, 2),
)

start, A, W = draws(1000, 4)[0], draws(1000, 4, 4)[1] / 2, draws(1000, 4, 4)[2] / 2
y = torch.arange(1000) % 4

def logits_of(t):
    # W A t of each small network: (1000, 4)
    return torch.einsum("bcd,bde,be->bc", W, A, t)

def slip(kind, t):
    """d_t of every small network's own loss, (1000, 4): right, or with one of the two slips."""
    # (1000, 4)
    d_h = torch.einsum("bc,bcd->bd", logits_of(t).softmax(1) - F.one_hot(y, 4), W)
    # A^T d_h for each
    right = torch.einsum("bd,bde->be", d_h, A)
    return {
        "right": right,
        "with a minus": -right,
        "transposed": torch.einsum("bed,bd->be", A, d_h),
    }[kind]

# %%
def losses_of(t):
    return F.cross_entropy(logits_of(t), y, reduction="none")       # (1000,)

def descend(kind, steps, size):
    """The mean loss of the thousand after each step against d_t."""
    t, curve = start, [losses_of(start).mean().item()]
    for _ in range(steps):
        t = t - size * slip(kind, t)
        curve.append(losses_of(t).mean().item())
    return curve

t = start.clone().requires_grad_()
losses_of(t).sum().backward()
compare({"d_t, right": slip("right", start)}, {"d_t, right": t.grad})
for kind in ("right", "with a minus", "transposed"):
    change = losses_of(start - 1e-3 * slip(kind, start)) - losses_of(start)
    print(
        f"{kind:<13} one step lowers the loss in {(change < 0).sum():4d} of 1000 networks, mean"
        f" change {change.mean():+.4f}"
    )
outcome("21.b", 684, within=80)
plots.curves(
    range(101),
    {kind: descend(kind, 100, 0.02) for kind in ("right", "with a minus", "transposed")},
    xlabel="step of descent",
    label="mean loss",
    caption=(
        "The same descent with three gradients. Against the right one the loss falls, with a minus"
        " too many it climbs, with the transposed Jacobian it falls a little and then goes nowhere."
    ),
)

# %% [markdown]
# The loss decides it. The right gradient lowers all thousand, the minus lowers none: training climbs. The transposed Jacobian is the treacherous one. Its first step lowers two thirds of them, because $A$ and $A^\top$ have the
# same diagonal, so that part of the direction is right. A training with it improves at first and then gets stuck, which looks like any other difficult training. With a matrix that is not square the slip would have
# raised an error; with a symmetric one, such as the softmax's, it would even have been right.
#
# ## Other targets, other losses
#
# The derivation carries further than it seems. A loss is often a sum of such logarithms with other numbers in front, $\ell = -\sum_i s_i \log p_i$. Each term alone is a cross-entropy
# with the true class $i$, counted $s_i$ times, and you know its gradient: $s_i\,(p - e_i)$, where $e_i$ is one-hot at $i$. Add up the terms: $p$ occurs $\sum_i s_i$ times, and the $s_i e_i$ make the vector $s$.
#
# $$ \ell = -\sum_i s_i \log p_i \quad\Rightarrow\quad d_z = p \sum_i s_i - s \tag{21.12} $$
#
# If the targets add up to 1 (**soft labels**, two annotators who disagree, say) this is $p - s$. If they do not, $p$ comes with their sum. 
#
# A **temperature** (温度) $\tau$ divides the logits before the softmax; high ones make $p$ flatter. The chain rule adds one factor:
#
# $$ p = \operatorname{softmax}(z / \tau) \quad\Rightarrow\quad d_z = \frac{1}{\tau}\,(p - y) \tag{21.13} $$
#
# Sentences of different lengths are padded. Only the real tokens, $m_{nt} = 1$, may count, and they all count alike:
#
# $$ L = -\frac{1}{\sum_{n,t} m_{nt}} \sum_{n,t} m_{nt} \log p_{nt,\,y_{nt}} \tag{21.14} $$
#
# Rare classes can be given a weight $w_c$, and **label smoothing** (标签平滑) takes a share $\epsilon$ of every target and spreads it evenly over all $C$ classes. PyTorch's cross-entropy, given both, computes
#
# $$ L = -\frac{1}{\sum_n w_{y_n}} \sum_n \sum_c w_c\, q_{nc} \log p_{nc}, \qquad q_{nc} = (1 - \epsilon)\,[c = y_n] + \frac{\epsilon}{C} \tag{21.15} $$

# %%
# targets that do not add up to 1
s = draws(3)[0].abs()
verify_gradient(
    "21.12", lambda z: -(s * z.log_softmax(0)).sum(), lambda z: z.softmax(0) * s.sum() - s, (3,)
)
verify_gradient("21.13", lambda z: F.cross_entropy(z / 2.5, torch.tensor([2, 0])),
                lambda z: ((z / 2.5).softmax(1) - torch.eye(3).double()[[2, 0]]) / 2 / 2.5, (2, 3))

# three batches of two sequences
z, y = draws(2, 4, 3), torch.arange(24).reshape(3, 2, 4) % 3
mask = torch.tensor([[True, True, True, True], [True, True, False, False]])    # (B, T)
log_p = z.log_softmax(-1)
picked = log_p.gather(-1, y[..., None])[..., 0]                     # (3, 2, 4, 3) -> (3, 2, 4)
verify("21.14", by_hand=-(picked * mask).sum((1, 2)) / mask.sum(),
       reference=torch.stack([F.cross_entropy(z[k][mask], y[k][mask]) for k in range(3)]))

w, epsilon = torch.tensor([1.0, 2.0, 4.0]).double(), 0.1
q = (1 - epsilon) * F.one_hot(y, 3).double() + epsilon / 3
verify(
    "21.15",
    by_hand=-(w * q * log_p).sum((1, 2, 3)) / w[y].sum((1, 2)),
    reference=torch.stack(
        [
            F.cross_entropy(z[k].flatten(0, 1), y[k].flatten(), weight=w, label_smoothing=epsilon)
            for k in range(3)
        ]
    ),
)

# %% [markdown]
# > **Exercise 21.3 · A padded batch of sequences** — *12 minutes · core*
# >
# > Derive from (21.14) what arrives at the logits, and write it down.
# >
# > - `logits` is `(B, T, C)`, `labels` `(B, T)` int64 with 0 under padding, `mask` `(B, T)` bool, True for a real token. At least one token of the batch is real.
# > - Return `(B, T, C)`, with zeros under padding. Whatever stands there, even NaN, must not matter.

# %% exercise="21.3"
def padded_gradient(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """d_logits of the mean cross-entropy over the real tokens: (B, T, C), (B, T) and (B, T) bool
    -> (B, T, C).

    Example: logits of zeros (1, 2, 2), labels [[0, 0]] and mask [[True, False]] give [[[-0.5,
    0.5], [0.0, 0.0]]].
    """
    ### BEGIN SOLUTION
    # (B, T, C): p - y of every token
    d_tokens = torch.softmax(logits, dim=-1) - F.one_hot(labels, logits.shape[-1])
    return torch.where(mask[..., None], d_tokens, 0) / mask.sum()                     # (B, T, C)
    ### END SOLUTION

# %% [markdown] hints="21.3"
# <details><summary>A question that helps</summary>
#
# By which factor does one real token's loss count in (21.14)? And a padded one's?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Each real token sends back its $p - y$ divided by the number of real tokens in the whole batch. Padding sends nothing. Choose the zeros with `torch.where`, because 0 times NaN is NaN.
#
# </details>
# <details><summary>If you see "divided by B * T"</summary>
#
# `mean()` over everything counts padding as tokens whose loss is zero. Then a batch with much padding moves the weights less than one without, for no good reason.
#
# </details>

# %% [markdown]
# ### The class axis
#
# PyTorch wants the classes on axis 1, `(B, C, T)`. A listing that hands over `(B, T, C)` raises an error, unless T happens to equal C. Then it runs, and compares the wrong numbers.

# %%
# (2, 4): cross_entropy leaves out labels of -100
padded = torch.where(mask, y[0], -100)
try:
    F.cross_entropy(z[0], padded)                                   # (2, 4, 3) beside (2, 4)
except RuntimeError as error:
    print("classes on the last axis, 4 tokens:", type(error).__name__)
print(f"the same with 3 tokens: runs, loss {F.cross_entropy(z[0][:, :3], padded[:, :3]):.4f}")
print(
    "with the classes on axis 1:      "
    f" {F.cross_entropy(z[0][:, :3].transpose(1, 2), padded[:, :3]):.4f}"
)

verify_gradient("21.14", lambda z: F.cross_entropy(z.transpose(1, 2), padded),
                lambda z: reference("21.3")(z, y[0], mask), (2, 4, 3))
print(
    f"divided by B x T instead, every gradient is {mask.sum() / mask.numel():.2f} of what it"
    " should be"
)

# %% [markdown]
# > **Exercise 21.4 · Rare classes, soft targets** — *15 minutes · stretch*
# >
# > Class weights alone give $w_{y}(p - y)$, smoothing alone gives $p - q$, each divided by its normaliser. Both together are *not* $w_y (p - q)$. Derive from (21.15) what they are.
# >
# > - `logits` is `(N, C)`, `labels` `(N,)`, `class_weights` `(C,)` positive, `smoothing` a number from 0 to 1. Return `(N, C)`.

# %% exercise="21.4"
def smoothed_weighted_gradient(
    logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """d_logits of (21.15): (N, C), (N,), (C,) and a number -> (N, C).

    Example: logits [[0.0, 0.0]], labels [0], class_weights [1.0, 3.0] and smoothing 0.5 give
    [[0.0, 0.0]].
    """
    ### BEGIN SOLUTION
    C = logits.shape[1]
    one_hot = F.one_hot(labels, C).to(logits.dtype)                              # (N,) -> (N, C)
    # (N, C): w_c q_c, which do not add up to 1
    target = class_weights * ((1 - smoothing) * one_hot + smoothing / C)
    d_logits = torch.softmax(logits, dim=1) * target.sum(dim=1, keepdim=True) - target
    return d_logits / class_weights[labels].sum()                                # (N, C)
    ### END SOLUTION

# %% [markdown] hints="21.4"
# <details><summary>A question that helps</summary>
#
# Which numbers stand in front of the $\log p_{nc}$ in (21.15)? Do they add up to 1?
#
# </details>
# <details><summary>The idea in words</summary>
#
# The targets of sample n are $t_{nc} = w_c\, q_{nc}$. By (21.12) the gradient of one sample is $p$ times the sum of its targets, minus the targets. All of it is divided by the sum of the weights of the labels.
#
# </details>
# <details><summary>If you differ by some 1e-9</summary>
#
# You have lost digits: `F.one_hot` gives integers, and 0.9 times integers is float32 in PyTorch. Convert first, `.to(logits.dtype)`.
#
# </details>

# %% [markdown]
# ## Two classes: the sigmoid
#
# For a question with two answers one logit is enough. The **sigmoid** makes a probability of it, and the cross-entropy has one term for either answer:
#
# $$ p = \sigma(z) = \frac{1}{1 + e^{-z}}, \qquad \ell = -\big[\,y \log p + (1 - y) \log(1 - p)\,\big] \tag{21.16} $$
#
# It is a softmax in disguise: with two logits, $p_1 = \sigma(z_1 - z_0)$. So the same gradient should come out. The slope of the sigmoid is $p\,(1 - p)$, as on the diagonal of (21.4), and
#
# $$ \frac{\partial \ell}{\partial z} = -\Big(\frac{y}{p} - \frac{1-y}{1-p}\Big)\; p\,(1-p) = p - y \tag{21.17} $$
#
# In articles one meets the gradient with respect to a model's weights, with $M$ for the model's output, in the form on the left. It is correct. But it divides by $M$ and by $1 - M$, which a computer may round to zero. With $M = \sigma(z)$ it is the right side:
#
# $$ \frac{\partial L}{\partial \theta} = -\frac{1}{N} \sum_n \Big(\frac{y_n}{M_n} - \frac{1 - y_n}{1 - M_n}\Big) \frac{\partial M_n}{\partial \theta} = \frac{1}{N} \sum_n (M_n - y_n)\, \frac{\partial z_n}{\partial \theta} \tag{21.18} $$
#
# That is why `BCEWithLogitsLoss`, which sees $z$, exists beside `BCELoss`, which sees only $M$.

# %%
y = torch.tensor([1.0, 0.0, 1.0, 0.3], dtype=torch.float64)         # 0.3: a soft label
verify("21.16", by_hand=-(y * draws(4).sigmoid().log() + (1 - y) * (1 - draws(4).sigmoid()).log()),
       reference=F.binary_cross_entropy_with_logits(draws(4), y.expand(3, 4), reduction="none"))
verify_gradient(
    "21.17",
    lambda z: F.binary_cross_entropy_with_logits(z, y, reduction="sum"),
    lambda z: z.sigmoid() - y,
    (4,),
)

# four samples with three features; z = X theta
X = draws(4, 3)[0]
def left(theta):
    M = (X @ theta).sigmoid()
    d_M = (M * (1 - M))[:, None] * X                                # dM / dtheta: (4, 3)
    return -((y / M - (1 - y) / (1 - M))[:, None] * d_M).mean(dim=0)

verify_gradient("21.18", lambda theta: F.binary_cross_entropy_with_logits(X @ theta, y), left, (3,))
verify_gradient("21.18", lambda theta: F.binary_cross_entropy_with_logits(X @ theta, y),
                lambda theta: X.T @ binary_cross_entropy_backward(X @ theta, y), (3,))
z = draws(2)
assert torch.allclose(z.softmax(dim=1)[:, 1], (z[:, 1] - z[:, 0]).sigmoid())

# the model is sure of a 1, and it is a 0
M = torch.tensor(40.0, dtype=torch.float64).sigmoid()
print(
    f"logit 40, label 0: the left form gives {(1 / (1 - M) * M * (1 - M)).item()}, p - y gives"
    f" {M.item()}"
)

# %% [markdown]
# ### The binary formula on many classes
#
# Articles about captioning sometimes print the *binary* formula as their loss, $-\sum_i [y_i \log p_i + (1 - y_i) \log (1 - p_i)]$, with $p$ from a softmax over thousands of words, while their code calls `CrossEntropyLoss`. Captioning's loss
# is (21.14): which word comes next is *one* question with $C$ answers. The binary formula asks $C$ questions, "does this word occur?", which is a fair loss for tags, with a sigmoid for each.
#
# What if somebody does apply it to a softmax? It runs, and even trains, but its gradient is not $p - y$. Here is how to find the gradient of *any* loss on a softmax. Put the Jacobian (21.4) into the chain rule (21.6), and with
# $\langle p, d_p \rangle = \sum_i p_i\, d_{p_i}$, the average of $d_p$ under $p$, it becomes ($\odot$ multiplies entry by entry)
#
# $$ d_z = p \odot \big(d_p - \langle p, d_p \rangle\big) \tag{21.19} $$
#
# With $d_p = -y/p$ this is $p - y$ again. The binary formula has more terms: the derivative of $-(1 - y_i) \log (1 - p_i)$ is $r_i = (1 - y_i) / (1 - p_i)$. So
#
# $$ d_z = (p - y) + p \odot \big(r - \langle p, r \rangle\big) \tag{21.20} $$
#
# (You can do the same with any other loss. Try $-(1 - p_y)^2 \log p_y$, the *focal loss*, some evening: its $d_p$ has a single entry.)

# %%
def binary_on_softmax(z):
    p = z.softmax(dim=-1)
    return -(Y * p.log() + (1 - Y) * (1 - p).log()).sum()

def its_gradient(z):
    p = z.softmax(dim=-1)
    r = (1 - Y) / (1 - p)                                           # (C,)
    return (p - Y) + p * (r - (p * r).sum())                        # (C,)

Y = torch.eye(3).double()[1]                                        # "seven" is true
verify_gradient("21.19", lambda z: (z.softmax(0) ** 3).sum(),
                lambda z: softmax_backward(3 * z.softmax(0) ** 2, z.softmax(0)), (3,))
verify_gradient("21.20", binary_on_softmax, its_gradient, (3,))
for words, z in (
    ("logits log 4, log 3, log 1", logits),
    ("logits 2, 1, 0", torch.tensor([2.0, 1.0, 0.0]).double()),
):
    print(words)
    for name, gradient in (("p - y", z.softmax(0) - Y), ("binary formula", its_gradient(z))):
        print(
            f"  {name:<15}",
            "  ".join(f"{word} {value:+.3f}" for word, value in zip(NAMES, gradient)),
        )

# %% [markdown]
# The true class and its strongest rival are pushed almost twice as hard. The weak rival is a toss-up: in the first case it is left alone, by the accident that $p_{one}$ is exactly one half, in the second it is pushed
# *less* than by $p - y$. That is not absurd, but it is another loss than the one that is printed, named and believed. Check your loss against your formula.
#
# ## Down to the letters and the kernels
#
# Three small rules more, and the gradient reaches the bottom. Each is one line, and each has its reason.
#
# An **activation** works entry by entry, $h = \varphi(a)$, so its Jacobian is diagonal and one multiplies by the slope. For ReLU the slope is 1 or 0: a gate.
#
# $$ d_a = d_h \odot \varphi'(a) \tag{21.21} $$
#
# A **masked mean** over the letters gives each present letter the same share, and so does **global average pooling** over the $H \times W$ places of a feature map:
#
# $$ d_{x_t} = \frac{m_t}{\sum_s m_s}\, d_{mean}, \qquad d_{map} = \frac{1}{H W}\, d_{pool} \tag{21.22} $$
#
# An **embedding** looks up row $v$ of a table $E$ wherever the letter $v$ stands, in any word of the batch. A row is used in several places, so it gets the sum; letters that do not occur get zero.
#
# $$ d_{E_v} = \sum_{n, t\,:\; id_{nt} = v} d_{x_{nt}} \tag{21.23} $$

# %%
# your exercise 21.2, with the layer's first input first
show_source(linear_backward)
verify_gradient(
    "21.21",
    lambda a: (torch.tanh(a) ** 3).sum() + (a.relu() ** 2).sum(),
    lambda a: activation_backward(3 * torch.tanh(a) ** 2, a, "tanh")
    + activation_backward(2 * a.relu(), a, "relu"),
    (4, 3),
)
mask = torch.tensor([[True, True, False], [True, False, False]])
verify_gradient(
    "21.22",
    lambda x, maps: (masked_mean(x, mask) ** 2).sum() + (maps.mean(dim=(2, 3)) ** 2).sum(),
    lambda x, maps: (
        masked_mean_backward(2 * masked_mean(x, mask), mask),
        global_average_pool_backward(2 * maps.mean(dim=(2, 3)), (3, 2)),
    ),
    (2, 3, 4),
    (2, 5, 3, 2),
)
ids = torch.tensor([[5, 1, 1], [1, 4, 0]])                          # letter 1 occurs three times
verify_gradient("21.23", lambda E: (F.embedding(ids, E) ** 2).sum(),
                lambda E: embedding_backward(2 * E[ids], ids, rows=7), (7, 4))
counts = embedding_backward(torch.ones(2, 3, 1), ids, rows=7)[:, 0]
print("a gradient of 1 from every place; the rows of the table get", counts.tolist())

# %% [markdown]
# ## A network trained by hand
#
# Now the whole of it. `digits` again: a typed word with slips, and a noisy scan of 16 x 16 pixels. The network (notebook 10 takes it apart):
#
# - letters: embedding (27 x 16), masked mean: 16 numbers;
# - picture: a convolution with 32 kernels of 9 x 9 pixels in steps of 2, which gives a map of 32 x 4 x 4, ReLU, global average pooling: 32 numbers;
# - both glued, a hidden layer of 64 with ReLU, a head with ten logits.
#
# A convolution is a linear layer, 81 pixels in, 32 numbers out, that is applied to each of the 4 x 4 squares of the picture with the same weights: one more case of "used in several places, so add". Cut out the squares (`F.unfold`), and (21.10) is all it
# needs. The forward pass keeps what the way back will ask for. The way back is one line per layer; each function is one rule of this page and nothing else, in `course_utils/gradients.py`.

# %% tags=["measured"]
def forward(net, batch):
    """Every intermediate result of the network, by name."""
    # (B, T) -> (B, T, 16)
    v = {"letters": net["table"][batch["text"]]}
    # (B, 32, 4, 4)
    v["map"] = F.conv2d(
        batch["image"], net["kernels"].view(32, 1, 9, 9), net["kernels_bias"], stride=2
    )
    # (B, T, 16) -> (B, 16)
    v["text"] = masked_mean(v["letters"], batch["mask"])
    # (B, 32, 4, 4) -> (B, 32)
    v["image"] = v["map"].relu().mean(dim=(2, 3))
    v["glued"] = torch.cat([v["text"], v["image"]], dim=1)                              # (B, 48)
    v["before"] = v["glued"] @ net["hidden"].T + net["hidden_bias"]                     # (B, 64)
    v["logits"] = v["before"].relu() @ net["head"].T + net["head_bias"]                 # (B, 10)
    return v

def by_hand(net, batch):
    """The loss of a batch and its gradients, by the rules of this page alone."""
    d, v = {}, forward(net, batch)
    d_logits = cross_entropy_backward(v["logits"], batch["label"])                  # (B, 10)
    d_hidden, d["head"], d["head_bias"] = linear_backward(d_logits, v["before"].relu(), net["head"])
    d_before = activation_backward(d_hidden, v["before"])                           # (B, 64)
    d_glued, d["hidden"], d["hidden_bias"] = linear_backward(d_before, v["glued"], net["hidden"])
    d_features = concat_backward(d_glued, {"text": 16, "image": 32})
    d["table"] = embedding_backward(
        masked_mean_backward(d_features["text"], batch["mask"]), batch["text"], rows=27
    )
    d_map = activation_backward(global_average_pool_backward(d_features["image"], (4, 4)), v["map"])
    # (B, 1, 16, 16) -> (B, 16, 81)
    squares = F.unfold(batch["image"], 9, stride=2).transpose(1, 2)
    _, d["kernels"], d["kernels_bias"] = linear_backward(
        d_map.flatten(2).transpose(1, 2), squares, net["kernels"]
    )
    return F.cross_entropy(v["logits"], batch["label"]).item(), d

# %% tags=["measured"]
def by_autograd(net, batch):
    """The same from PyTorch."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in net.items()}
    loss = F.cross_entropy(forward(leaves, batch)["logits"], batch["label"])
    return loss.item(), dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))

def load(split, seed, **dials):
    """A split of `digits` as one batch: letters (N, T) with their mask, pictures (N, 1, 16, 16)
    float64, labels (N,).
    """
    batch = collate(list(Digits(split, seed=seed, **dials)))
    # MNIST's are 28 x 28, ours are 16 x 16
    image = F.adaptive_avg_pool2d(batch["image"].double(), 16)
    return {
        "text": batch["text"],
        "mask": batch["mask"]["text"],
        "image": image,
        "label": batch["label"],
    }

def train(gradients_of, data, seed, epochs, size=0.3, decay=1e-3):
    """Descent with weight decay on batches of 64, in steps that fall to 0; returns the network
    and the loss of every step.
    """
    generator, losses = torch.Generator().manual_seed(seed), []
    net = {"table": torch.randn(27, 16, generator=generator, dtype=torch.float64)}
    for name, (rows, columns) in {
        "kernels": (32, 81),
        "hidden": (64, 48),
        "head": (10, 64),
    }.items():
        net[name] = (
            torch.randn(rows, columns, generator=generator, dtype=torch.float64)
            * (2 / columns) ** 0.5
        )
        net[name + "_bias"] = torch.zeros(rows, dtype=torch.float64)
    for epoch in range(epochs):
        for rows in torch.randperm(len(data["label"]), generator=generator).split(64):
            loss, d = gradients_of(net, {name: tensor[rows] for name, tensor in data.items()})
            net = {
                name: w - size * (1 - epoch / epochs) * (d[name] + decay * w)
                for name, w in net.items()
            }
            losses.append(loss)
    return net, losses

# %% [markdown]
# First one batch: seven tensors of weights, all gradients side by side with autograd's.

# %%
data = {split: load(split, seed=0) for split in ("train", "test")}
untrained, _ = train(by_hand, data["train"], seed=0, epochs=0)
batch = {name: tensor[:64] for name, tensor in data["train"].items()}
found = compare(by_hand(untrained, batch)[1], by_autograd(untrained, batch)[1], tolerance=1e-12)

# %% [markdown]
# Then the training, twice from the same start: once with our gradients, once with autograd's.

# %%
FULL = False  # True trains five times as long
epochs = 200 if FULL else 40
net, hand_losses = train(by_hand, data["train"], 0, epochs)
_, autograd_losses = train(by_autograd, data["train"], 0, epochs)
largest = max(abs(a - b) for a, b in zip(hand_losses, autograd_losses))
report("largest difference of the two curves, over all steps", largest, near=0, within=1e-10)
result = accuracy(forward(net, data["test"])["logits"], data["test"]["label"])
report("test accuracy of the network trained by hand", 100 * result, near=79, within=3, unit="%")

mean = {name: torch.tensor(losses).reshape(epochs, -1).mean(dim=1).tolist()
        for name, losses in (("by hand", hand_losses), ("autograd", autograd_losses))}
plots.curves(
    range(1, epochs + 1),
    mean,
    xlabel="epoch",
    label="training loss",
    caption="Training with our gradients and with autograd's: two curves, one on top of the other.",
)

# %% tags=["nbval-ignore-output"]
# Not compared: the last bits differ between machines.
for name, one in found.items():
    print(
        f"{name:<13} bit for bit the same: {one.exact!s:<6} largest difference: {one.largest:.1e}"
    )
print(f"the two loss curves, over all steps: largest difference {largest:.1e}")

# %%
def residual(net, batch):
    """P - Y, rows sorted by label: (N, 10)."""
    order = batch["label"].argsort(stable=True)
    return (forward(net, batch)["logits"].softmax(dim=1) - F.one_hot(batch["label"], 10))[order]

figure, panels = plots.axes(width=8.4, height=3.6, columns=2, sharey=True)
for ax, words, weights in zip(panels, ("before training", "after training"), (untrained, net)):
    picture = ax.imshow(
        residual(weights, data["train"]),
        cmap="PuOr",
        vmin=-1,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
    )
    ax.set_title(words, fontsize=10)
    ax.set_xlabel("class")
    ax.set_xticks(range(10))
panels[0].set_ylabel("training samples, sorted by label")
figure.colorbar(picture, ax=list(panels), label="p - y")
# half of the row's sizes is 1 - p of the true class
sizes = {words: residual(weights, data["train"]).abs().sum(dim=1) / 2
         for words, weights in (("before", untrained), ("after", net))}
share = (
    sizes["after"].sort(descending=True).values[: len(sizes["after"]) // 5].sum()
    / sizes["after"].sum()
)
report(
    "mean of 1 - p of the true class before training", sizes["before"].mean(), near=0.9, within=0.05
)
report("mean of it after training", sizes["after"].mean(), near=0.19, within=0.04)
report("the worst fifth of the samples holds this share of it", share, near=0.65, within=0.08)
plots.show(
    figure,
    "p - y of the training samples. Before: a dark stair of true classes, nearly all missed, and a"
    " tint everywhere. After: most rows are pale, and what is left of the stair are the samples"
    " that are still wrong.",
)

# %% [markdown]
# The two curves lie on each other to about the fifteenth decimal. There is no magic in `loss.backward()`: it is the list of this page. The picture of the residuals shows where the training's
# force is at the end: most rows are pale and send back almost nothing, and a fifth of the samples holds nearly two thirds of the error ($1 - p$ of the true class is half the sum of the row's sizes). Gradient descent works on what is still wrong.
#
# (About 80 % is what this small network reaches on the noisy digits. A linear layer on fixed, normalised features had 87 % in notebook 10, which also shows what global pooling costs. This page is about the gradient, not
# about the best model.)
#
# ## Weight decay, three times not the same
#
# Above, `train` took the step $d + \lambda \theta$ instead of $d$. With plain gradient descent this is the gradient of the loss plus $\frac{\lambda}{2} \lVert \theta \rVert^2$ (**L2 regularisation**), and it is also what is
# called **weight decay** (权重衰减): every weight shrinks by the share $\eta \lambda$ per step, where $\eta$ is the learning rate.
#
# $$ \theta \leftarrow \theta - \eta\, d_\theta - \eta \lambda\, \theta \tag{21.24} $$
#
# With Adam the two part. Adam divides each gradient by a running mean of its size. In the first step that is the gradient's own size, $g / \lvert g \rvert$, so Adam's first step is the *sign* of the gradient times $\eta$
# (with a tiny $\varepsilon$ that prevents division by zero). If the decay is added to the gradient, as `Adam(weight_decay=...)` does, it is divided as well:
#
# $$ \theta \leftarrow \theta - \eta\, \frac{g}{\lvert g \rvert + \varepsilon}, \qquad g = d_\theta + \lambda \theta \tag{21.25} $$
#
# **AdamW** decays beside the division, so that $\lambda$ means again what it meant in (21.24):
#
# $$ \theta \leftarrow \theta - \eta\, \frac{d_\theta}{\lvert d_\theta \rvert + \varepsilon} - \eta \lambda\, \theta \tag{21.26} $$
#
# Take three weights of 1 with gradients 0, 0.01 and 1, and $\eta = \lambda = 0.1$. Fill in the table on paper: three optimisers, three weights.

# %%
rate, decay, tiny = 0.1, 0.1, 1e-8
OPTIMIZERS = {
    "SGD + L2": (torch.optim.SGD, lambda w, d: w - rate * d - rate * decay * w),
    "Adam + L2": (
        torch.optim.Adam,
        lambda w, d: w - rate * (d + decay * w) / ((d + decay * w).abs() + tiny),
    ),
    "AdamW": (torch.optim.AdamW, lambda w, d: w - rate * d / (d.abs() + tiny) - rate * decay * w),
}

def one_step(name, weight, d):
    """What PyTorch's optimiser makes of `weight` in its first step with the gradient `d`."""
    weight = weight.clone().requires_grad_()
    optimizer = OPTIMIZERS[name][0]([weight], lr=rate, weight_decay=decay)
    weight.grad = d.clone()
    optimizer.step()
    return weight.detach()

w, d = draws(5), draws(5).flip(0)
verify("21.24", by_hand=OPTIMIZERS["SGD + L2"][1](w, d), reference=one_step("SGD + L2", w, d))
verify("21.25", by_hand=OPTIMIZERS["Adam + L2"][1](w, d), reference=one_step("Adam + L2", w, d))
verify("21.26", by_hand=OPTIMIZERS["AdamW"][1](w, d), reference=one_step("AdamW", w, d))
ones, d = torch.ones(3).double(), torch.tensor([0.0, 0.01, 1.0], dtype=torch.float64)
print(f"{'gradient':<12}", "".join(f"{value:8.3f}" for value in d))
for name in OPTIMIZERS:
    print(f"{name:<12}", "".join(f"{value:8.3f}" for value in one_step(name, ones, d)))

# %% [markdown]
# Read by columns. A weight whose gradient is 0 should only decay, by 0.01. Under SGD and AdamW it does; Adam with L2 moves it by the full 0.1, because the decay is all there is to divide. A gradient of 0.01 counts for little in SGD (0.001) and as much as any other in
# Adam (0.1), with the decay beside it in AdamW and lost in Adam with L2; the last column is the same. So in Adam, L2 decays most what the loss cares least about, by an amount that $\lambda$ hardly sets. In later steps the running mean is not exactly
# the gradient's own size, but the division stays. This is why listings that fine-tune pretrained models
# use AdamW, and why the same `weight_decay=0.01` means two things in two optimisers.
#
# ## Try it: push the logits
#
# Three logits, a label, a temperature. Make the model sure and right, then sure and wrong. When is the gradient largest, and can it exceed 1? What does a high temperature do to a wrong answer's gradient, and what a low one? First three settings as a picture:

# %% tags=["figure"]
# Probabilities and gradient, drawn.
def draw(panels, one, seven, nine, label, temperature):
    """Left the probabilities, with the label dashed, right the gradient of the three logits."""
    z, y = torch.tensor([[one, seven, nine]], dtype=torch.float64), torch.tensor(
        [NAMES.index(label)]
    )
    probs = (z / temperature).softmax(dim=1)[0]
    d = cross_entropy_backward(z, y, temperature=temperature)[0]
    for ax, values, words in zip(panels, (probs, d), ("probability", "gradient")):
        ax.barh(range(3), values, color=plots.COLORS["fused"], alpha=0.75)
        ax.set_yticks(range(3), NAMES)
        ax.set_ylim(2.6, -0.6)
        ax.set_xlabel(words)
        for row, value in enumerate(values):
            # behind the dashed label
            end = 1.0 if ax is panels[0] and value > 0.85 else max(value.item(), 0)
            ax.text(end, row, f" {value:+.2f}" if ax is panels[1] else f" {value:.2f}", va="center")
    panels[0].barh(y.item(), 1, fill=False, edgecolor=plots.INK, linestyle="--")
    panels[0].set_xlim(0, 1.25)
    panels[1].set_xlim(-1.3 * max(1, 1 / temperature), 1.5 * max(1, 1 / temperature))
    panels[1].axvline(0, color=plots.INK, linewidth=1)

figure, grid = plots.axes(width=7.6, height=5.2, columns=2, rows=3)
for panels, setting in zip(
    grid,
    ((4.0, 0.0, 0.0, "one", 1.0), (4.0, 0.0, 0.0, "seven", 1.0), (4.0, 0.0, 0.0, "seven", 4.0)),
):
    draw(panels, *setting)
    panels[0].set_title(
        f'logits 4, 0, 0; true: "{setting[3]}"; temperature {setting[4]:g}', fontsize=9
    )
plots.show(
    figure,
    "Sure and right: almost no gradient. Sure and wrong: nearly 1. The same at temperature 4: the"
    " probabilities are flatter, and p - y is divided by 4.",
)

# %% tags=["figure"]
# The widget: your own logits.
def render(**setting):
    figure, panels = plots.axes(width=7.2, height=2.0, columns=2)
    draw(panels, **setting)
    return figure

def describe(one, seven, nine, label, temperature):
    z, y = torch.tensor([[one, seven, nine]]) / temperature, torch.tensor([NAMES.index(label)])
    size = (z.softmax(dim=1) - F.one_hot(y, 3)).abs().max() / temperature
    return (
        f"The loss is {F.cross_entropy(z, y):.2f}; the largest push on a logit is {size:.2f}; the"
        " three gradients add up to 0."
    )

logit = dict(min=-6.0, max=6.0, step=0.5)
controls = {name: FloatSlider(value=value, **logit) for name, value in zip(NAMES, (1.5, 1.0, 0.0))}
controls |= {
    "label": Dropdown(value="seven", options=NAMES),
    "temperature": FloatSlider(value=1.0, min=0.25, max=4.0, step=0.25),
}
Explorer(
    render,
    controls,
    describe,
    caption=(
        "Probabilities with the label dashed, and the gradient: descent moves the weights so that"
        " each logit goes against it."
    ),
).show()

# %% [markdown]
# At temperature 1 the gradient of a logit never exceeds 1, however wrong the model is: a loss that is bounded in its slope, though not in its value. The temperature divides it, and a low one multiplies it: at 0.25, up to 4.
#
# ## On real data
#
# The same network and the same gradients on 5,000 pictures of MNIST, each with a typed word that has slips. (The recordings that come with this source are not used here.) Five seeds are a stored sweep (`python tools/sweep.py 21 by_hand`).

# %%
sweep = stored("21", "by_hand")
for name, row in sweep.items():
    print(
        f"{name:<8} test accuracy, seed by seed:"
        f" {', '.join(f'{100 * value:.0f} %' for value in row['accuracy'])}; curves apart by less"
        f" than 1e-12 in all: {max(row['difference']) < 1e-12}"
    )
report(
    "digits, seed 0: live minus stored",
    result - sweep["digits"]["accuracy"][0],
    near=0,
    within=0.02,
)

# %% tags=["real-data", "nbval-ignore-output"]
# Not compared: without the data (18 MB, fetched once) it says how to get them.
if store.have("mnist", "fsdd"):
    public = {split: load(split, 0, source="mnist-fsdd") for split in ("train", "test")}
    public_net, _ = train(by_hand, public["train"], 0, epochs=10)
    live = accuracy(forward(public_net, public["test"])["logits"], public["test"]["label"])
    report("MNIST: live minus stored", live - sweep["mnist"]["accuracy"][0], near=0, within=0.02)

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **derive** $p - y$: the softmax's Jacobian, $-1/p_y$, and a cancellation; for a batch $(P - Y)/N$, at any size of the logits;
# 2. **walk back** one operation at a time: multiply along a way, add over several ways; through a head $d_Z^\top H$, $d_Z W$, and a cut between the modalities;
# 3. **settle** a question of sign or layout by one step of descent, instead of by authority;
# 4. **derive variants**: find the numbers in front of the logarithms, $d_z = p \sum_i s_i - s$, and divide by what the mean divides by;
# 5. **tell apart** softmax and sigmoid: both give $p - y$, and the binary formula on a softmax gives something else;
# 6. **train** with gradients of your own, and say that weight decay is L2 in SGD, is swallowed by Adam, and is restored by AdamW.
#
# ## Questions
#
# <details><summary>1. The three gradients of the logits always add up to zero. Why must they?</summary>
#
# Adding the same number to all logits changes no probability, so the loss does not change in that direction: the gradient along (1, 1, 1), which is their sum, is zero.
#
# </details>
# <details><summary>2. A colleague's gradient has the right direction and is 64 times too large. What is the first thing to look at?</summary>
#
# The factor 1/N of the mean, with a batch of 64. A sum instead of a mean is the same as a learning rate that grows with the batch.
#
# </details>
# <details><summary>3. A batch of captions is half padding, and the loss is `(loss_per_token * mask).mean()`. What happens to the training?</summary>
#
# It divides by B x T instead of by the number of real tokens, so all gradients are half as large as they should be, and how much too small depends on each batch's padding.
#
# </details>
# <details><summary>4. Where exactly does the factor 1/p, which explodes for a tiny p, disappear?</summary>
#
# In the Jacobian of the softmax: every entry of the true class's row contains a factor p. It cancels 1/p in (21.7). A loss on probabilities that does not go through a softmax or sigmoid keeps it.
#
# </details>
# <details><summary>5. Text and image are concatenated in front of a linear head. What do their gradients have in common?</summary>
#
# The residual $d_Z = (P - Y)/N$. Each is this residual times its own block of weights. What one modality has explained no longer pulls at the other.
#
# </details>
# <details><summary>6. The loss of a three-class model stops at 0.55 and its accuracy is fine. What do you suspect?</summary>
#
# A softmax before a loss that contains one. The smallest value that it then can reach is $-\log(e / (e + 2)) = 0.551$.
#
# </details>
# <details><summary>7. Why may the backward pass of the masked mean not look at the tokens themselves?</summary>
#
# A mean is linear: its derivative is the share of each token, whatever the token is. So a NaN under padding cannot come back through it, as long as the forward pass has not multiplied it in.
#
# </details>
#
# ## Read more
#
# - D. Rumelhart, G. Hinton, R. Williams, *Learning representations by back-propagating errors*, Nature 1986. Four pages; the chain rule as a learning algorithm.
# - J. Bridle, *Probabilistic Interpretation of Feedforward Classification Network Outputs*, 1990. Where the softmax got its name and its place before the cross-entropy.
# - A. Baydin, B. Pearlmutter, A. Radul, J. Siskind, *Automatic Differentiation in Machine Learning: a Survey*, JMLR 2018. What `backward()` is, and what it is not.
# - C. Szegedy and others, *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016. Label smoothing, with its gradient as the reason.
# - G. Hinton, O. Vinyals, J. Dean, *Distilling the Knowledge in a Neural Network*, 2015. What a high temperature is good for; notebook 34 uses it.
# - I. Loshchilov, F. Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019. The last table of this page, over whole trainings.
#
# ## Your guesses, your passport

# %%
guesses("21")
passport(
    "21",
    model="letters and a convolution, concatenated, trained with gradients derived by hand",
    can="show where every one of its gradients comes from; they agree with autograd's to 1e-12",
    limits=(
        "one small network in float64; normalisation layers and sequence models are left to"
        " autograd"
    ),
)
