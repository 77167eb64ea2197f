# %% [markdown]
# # Where does p - y come from?
#
# A loss is one number, and from it every weight learns which way to move. With softmax and cross-entropy the message begins with $p - y$: here you derive it, build it, and train page 00's model with it.
#
# *About {minutes} minutes. You need page 00 and, from school, the derivatives of $e^x$ and $\log x$. Take paper.*

# %% [markdown]
# ## In this notebook you will
#
# 1. turn "how probable was what happened?" into a loss;
# 2. derive $p - y$ in one line, and measure it without theory;
# 3. walk back through a graph in the order that autograd takes;
# 4. build the gradient of a batch, and train page 00's model with it, without a loss;
# 5. recognise a NaN's cause, a softmax too many and a wrong axis;
# 6. build the gradient under a mask and, if you like, with class weights and smoothed labels.

# %% tags=["measured", "imports"]
# Imports, and random float64 numbers for checks.
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from course_utils import plots
from course_utils.audio import band_features
from course_utils.datasets import MODALITIES, Digits, collate
from course_utils.exercises import check, mine
from course_utils.exercises.draws import draws
from course_utils.gradients import compare, softmax_backward, softmax_jacobian, verify_gradient
from course_utils.image import pixel_features
from course_utils.metrics import accuracy, paired, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.text import letter_features
from course_utils.training import Batches

NAMES = ["one", "seven", "nine"]
draw = draws(21)

# %% tags=["figure"]
# Beliefs, labels and pushes, drawn. And what autograd sends back, for comparisons.
def sent_back(loss_of, logits):
    """The gradient of loss_of(logits) with respect to the logits, by autograd."""
    leaf = logits.clone().requires_grad_()
    loss_of(leaf).backward()
    return leaf.grad

figure, ax = plots.axes(width=5.4, height=2.6)
for place, belief, true in zip((0, 1.4, 2.8), (0.5, 0.375, 0.125), (0, 1, 0)):
    ax.bar(place, belief, width=0.5, color=plots.COLORS["fused"], alpha=0.75)
    ax.bar(place, true, width=0.6, fill=False, edgecolor=plots.INK, linestyle="--")
    arrow = {"arrowstyle": "-|>", "color": plots.INK, "linewidth": 1.6}
    ax.annotate("", (place + 0.4, true), (place + 0.4, belief), arrowprops=arrow)
    ax.text(place + 0.45, (belief + true) / 2, f"{true - belief:+.3f}", va="center")
ax.set_xticks((0, 1.4, 2.8), NAMES)
ax.set_xlim(-0.5, 3.7)
ax.set_ylabel("probability")
plots.show(
    figure,
    "What a model believes (filled) and what is true (dashed). The arrows are what each class's"
    " score gets from one step of descent at rate 1: y - p. They add up to zero.",
)

# %% [markdown]
# ## A question from page 00
#
# There the loop called `F.cross_entropy` and `loss.backward()`. Why this loss, and what does it say to the logits? (Page 20's bet is settled under *More: rare classes*.) Four samples came. To the digits that were there a model had given these probabilities:

# %%
given = torch.tensor([0.5, 0.25, 0.8, 0.1], dtype=torch.float64)
print(f"all four together: {given.prod():.2f}")
print(f"the logarithm of that: {given.prod().log():.3f}, a sum: {given.log().sum():.3f}")
print(f"mean of -log p: {-given.log().mean():.4f}")
print("of two batches:", [round(-half.log().mean().item(), 2) for half in given.chunk(2)])
print("a thousand such samples together:", given.repeat(250).prod().item())
z, y = draw(5, 3), torch.tensor([1, 0, 2, 2, 1])                   # (5, 3), (5,)
likelihood = z.softmax(dim=1)[range(5), y].prod()                  # (5, 3) -> (5,) -> one number
verify("21.1", by_hand=-likelihood.log() / 5, reference=F.cross_entropy(z, y))

# %% [markdown] owes="F9 F10 P1 P15"
# For independent samples the product is the **likelihood** (似然): how probable the model held what then happened. But for a thousand even float64 holds exactly 0. So one takes the logarithm, a sum, which keeps the order of models, and turns the sign, because a loss should fall. One sample's $-\log p$ is its **cross-entropy** (交叉熵). The mean over the data is page 08's empirical risk; learning looks for weights $\theta$ that make it small:
#
# $$ L(\theta) = -\frac{1}{N} \log \prod_{n=1}^{N} p_n(y_n) = \frac{1}{N} \sum_{n=1}^{N} \ell_n, \qquad \ell_n = -\log p_n(y_n) \tag{21.1} $$
#
# $N$ counts the data $D$ of page 00, text, image, audio *and* a label each. A batch of $B$ samples estimates it by its own mean: above, 1.04 and 1.26 for 1.15. `verify` compares both sides on random float64 numbers and would stop the page if they differed. Each numbered equation has such a line.

# %% [markdown]
# ## Three logits, and one line
#
# The probabilities come from the logits $z$, one score for each class, by **softmax** (归一化指数函数): $p_i = e^{z_i} / \sum_k e^{z_k}$. Take $z = (\log 4, \log 3, \log 1)$, and let "seven" be true. Work out $p$ and $\ell$ before you run the cell.

# %%
logits = torch.tensor([4.0, 3.0, 1.0], dtype=torch.float64).log()
p = logits.exp() / logits.exp().sum()                              # (3,)
for name, up, one in zip(NAMES, logits.exp(), p):
    print(f"{name:<6} e^z = {up:.0f}   p = {up:.0f}/8 = {one:.3f}")
print(f"loss if it is a seven: -log(3/8) = {-p[1].log():.4f}")

# %% [markdown] owes="F89" tags=["derivation"]
# Only the probability of "seven" stands in the loss. Does it depend on one logit, or on all? Put the softmax into $-\log p_y$:
#
# $$ \ell = -\log p_y = \log \sum_k e^{z_k} - z_y \tag{21.2} $$
#
# Now paper: differentiate this line with respect to one logit $z_k$, once for $k = y$ and once for $k \neq y$.
#
# <details><summary>Compare with your line</summary>
#
# $\frac{\partial}{\partial z_k} \log \sum_i e^{z_i} = \frac{e^{z_k}}{\sum_i e^{z_i}} = p_k$, by the chain rule. The derivative of $-z_y$ is $-1$ for $k = y$, else 0. Together: $p_k - 1$ for the true class, $p_k$ for the others.
#
# </details>
#
# And without theory: push each logit up and down by a millionth. Such slopes, $(f(x + h) - f(x - h)) / 2h$, are **central differences** (中心差分). The loss then changes in its seventh digit, and float32 has about seven: gradients are checked in float64.

# %%
def three_loss(z):
    """The loss of "seven" by (21.2): (3,) -> one number."""
    return z.exp().sum().log() - z[1]

e, h = torch.eye(3, dtype=torch.float64), 1e-6                     # e[k]: 1 at place k, else 0
for k, name in enumerate(NAMES):
    slope = (three_loss(logits + h * e[k]) - three_loss(logits - h * e[k])) / (2 * h)
    print(f"slope along the logit of {name:<6} {8 * slope:+.3f} eighths")
small, step = logits.float(), h * e[0].float()
rough = (three_loss(small + step) - three_loss(small - step)) / (2 * h)
print("the first one in float32 is right to one percent:", abs(8 * rough.item() - 4) < 0.04)
z = draw(3)
verify("21.2", by_hand=three_loss(z), reference=-z.softmax(dim=0)[1].log())
verify_gradient("21.3", three_loss, lambda z: z.softmax(dim=0) - e[1], (3,))

# %% [markdown]
# Write the label as a one-hot vector $y$ (page 01), 1 at the true class, else 0. Call $d_z$ the **gradient** (梯度): how fast the loss grows with each entry of $z$, in the shape of $z$. Your line is
#
# $$ d_z = p - y \tag{21.3} $$
#
# - All three logits matter, each stands in the sum. Descent goes *against* the gradient: it lifts "seven", and lowers "one", the stronger rival, four times as much as "nine".
# - They add up to zero: the same number added to all logits changes no loss.
# - None is larger than 1, however wrong the model.
# - The one minus is that of $-\log$; the chain rule brings none.
#
# ## What a logit does to each probability
#
# The one line went past the probabilities. What each logit does to each of them is a table, a **Jacobian** (雅可比矩阵), with a row for each output:
#
# $$ J_{ik} = \frac{\partial p_i}{\partial z_k} = p_i \big([i = k] - p_k\big), \qquad [i = k] \text{ is 1 if } i = k \text{, else 0} \tag{21.4} $$
#
# <details><summary>Why</summary>
#
# Write $p_i = e^{z_i} / S$. For $i = k$ the rule for quotients gives $(e^{z_k} S - e^{z_k} e^{z_k}) / S^2 = p_k - p_k^2$; for $i \neq k$ only the denominator moves: $-e^{z_i} e^{z_k} / S^2 = -p_i p_k$.
#
# </details>

# %%
J = torch.diag(p) - torch.outer(p, p)                              # (3,) -> (3, 3)
print("in 64ths; row: probability of, column: logit of", ", ".join(NAMES))
for name, row in zip(NAMES, 64 * J):
    print(f"{name:<6}", "".join(f"{value:6.0f}" for value in row))
d_p = -e[1] / p                                                    # -log p has the slope -1 / p
print("d_z in eighths:", [round(8 * value) for value in (J.T @ d_p).tolist()])
verify_gradient("21.4", lambda z: z.softmax(0), lambda z: softmax_jacobian(z.softmax(0)), (3,))

# %% [markdown] owes="F95 F176"
# What one probability gains the others lose. A logit acts on the loss by way of *every* probability, and the **chain rule** (链式法则) adds up all ways. The sum runs over the outputs, the rows of $J$: hence the transposed matrix.
#
# $$ d_{z_k} = \sum_i d_{p_i} J_{ik}, \qquad\text{that is}\qquad d_z = J^\top d_p = p \odot \big(d_p - \langle p, d_p \rangle\big) \tag{21.5} $$
#
# The last form multiplies entry by entry; $\langle p, d_p \rangle$ is the mean of $d_p$ under $p$. With $-1/p_y$ at the true class it is the long way to $p - y$: the $p_y$ in row $y$ of $J$ cancels it.
#
# ## One operation at a time
#
# A machine knows only the derivative of each single operation. PyTorch writes down each one while it runs, and goes back through what it wrote: **automatic differentiation** (自动微分) by **backpropagation** (反向传播). Each line below is one operation (the last also picks an entry). A **hook** (钩子) is a function that autograd calls when a result's gradient is complete; right after that it runs the operation backwards. In which order?

# %%
leaf = logits.clone().requires_grad_()                             # (3,)
largest = leaf.max()                                               # (3,) -> one number
shifted = leaf - largest
exps = shifted.exp()
total = exps.sum()                                                 # (3,) -> one number
probs = exps / total
log_probs = probs.log()
loss = -log_probs[1]                                               # "seven" is true
RESULTS = {"Neg": loss, "Log": log_probs, "Div": probs, "Sum": total, "Exp": exps,
           "Sub": shifted, "Max": largest, "z": leaf}
came = []
for name, tensor in RESULTS.items():
    tensor.retain_grad()                                           # keep it for later, in .grad
    tensor.register_hook(lambda grad, name=name: came.append(name))
loss.backward()
print("gradients complete, in this order:", ", ".join(came))

# %% tags=["figure"]
# The graph, with values and gradients on its wires; equation 21.5.
verify_gradient("21.5", lambda z: (z.softmax(0) ** 3).sum(),
                lambda z: softmax_backward(3 * z.softmax(0) ** 2, z.softmax(0)), (3,))
figure, ax = plots.axes(width=8.2, height=3.0)
ax.axis((-0.9, 8.6, -0.65, 1.6))
ax.set_axis_off()
BOXES = {"z": (-0.4, 0), "Max": (0.55, 1.3), "Sub": (1.5, 0), "Exp": (3.0, 0), "Sum": (3.75, 1.3),
         "Div": (4.5, 0), "Log": (5.8, 0), "Neg": (7.1, 0), "loss": (8.3, 0)}
PARTS = {"z Sub": shifted.grad, "z Max": (leaf == largest) * largest.grad, "Max Sub": largest.grad,
         "Sub Exp": shifted.grad, "Exp Div": probs.grad / total, "Sum Div": total.grad,
         "Exp Sum": total.grad.expand(3), "Div Log": probs.grad, "Log Neg": log_probs.grad,
         "Neg loss": loss.grad}
for (start, end), part in ((wire.split(), part) for wire, part in PARTS.items()):
    (x0, y0), (x1, y1) = BOXES[start], BOXES[end]
    ax.annotate("", (x1, y1), (x0, y0), arrowprops=arrow | {"shrinkA": 13, "shrinkB": 13})
    x, y = (x0 + x1) / 2 + 0.36 * (y1 < y0) - 0.45 * (y1 > y0), (y0 + y1) / 2
    for color, values, place in (("text", RESULTS[start], "bottom"), ("image", part, "top")):
        shown = "\n".join(f"{round(one, 3) + 0:g}" for one in values.flatten().tolist())
        ax.text(x, y + (0.08 if color == "text" else -0.1), shown, ha="center", va=place,
                fontsize=9, color=plots.COLORS[color])
for name, place in BOXES.items():
    ax.text(*place, name, ha="center", va="center", bbox=dict(boxstyle="round", fc="white"))
plots.show(figure, "The graph of the cell above. At each wire, above it: the values on their way"
           " forward; below it: what comes back through this wire alone.")

# %% [markdown]
# `exps` is used twice, in the quotient and in the sum. Its gradient is complete only when *both* wires have sent their part, so Sum runs before Exp, and in the same way Max before z. An operation waits for all that used its result: a **topological order** (拓扑序).
#
# By hand two rules are enough. **One way**: multiply by the operation's own derivative. **Several ways**: add what comes back.

# %%
d_log_probs = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)  # loss = -log_probs[1]
d_probs = d_log_probs / probs                                      # log' is 1 / p
d_total = -(d_probs * exps / total**2).sum()                       # three quotients: add
by_quotient = d_probs / total                                      # one of the two ways to exps
d_exps = by_quotient + d_total                                     # (3,): both
d_shifted = d_exps * exps                                          # exp' is exp
d_largest = -d_shifted.sum()
print("exps by the quotient alone:", [round(value, 3) for value in by_quotient.tolist()])
print("exps by both ways:         ", [round(value, 3) for value in d_exps.tolist()])
print("the maximum gets nothing:  ", d_largest.abs().item() < 1e-15)
found = compare({"probs": d_probs, "total": d_total, "exps": d_exps, "z": d_shifted},
                {"probs": probs.grad, "total": total.grad, "exps": exps.grad, "z": leaf.grad})

# %% [markdown]
# With the quotient's part alone, z would get (0, -1, 0), the label and no p. The largest logit, which was subtracted from all, gets nothing: a common shift changes nothing.
#
# ## A whole batch
#
# > **Exercise 21.1 · The gradient of a batch** — *5 minutes · core*
# >
# > Given logits and labels, return the gradient of the batch's *mean* cross-entropy with respect to the logits.
# >
# > - `logits` is `(B, C)` float, `labels` is `(B,)` int64. Return `(B, C)`.
# > - No autograd: write down what you derived.
# > - Logits of 10,000 must give a right answer, too.

# %% exercise="21.1" tags=["measured"]
def logits_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """d_logits of the mean softmax cross-entropy: (B, C), (B,) -> (B, C).

    Example: logits [[log 4, log 3, log 1]] with labels [1] give [[0.5, -0.625, 0.125]].
    """
    ### BEGIN SOLUTION
    one_hot = F.one_hot(labels, logits.shape[1])                    # (B,) -> (B, C)
    return (torch.softmax(logits, dim=1) - one_hot) / len(logits)   # (B, C)
    ### END SOLUTION

# %% [markdown] hints="21.1"
# <details><summary>A question that helps</summary>
#
# The batch's loss is a mean of B losses. By how much does one sample's loss count in it, and what is that sample's gradient by (21.3)?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Softmax of every row, minus the one-hot row of its label, and the whole difference divided by the number of rows.
#
# </details>
# <details><summary>If you see NaN where the logits are large</summary>
#
# You exponentiate the logits themselves, and $e^{10000}$ does not fit into a float. Use `torch.softmax`, or subtract each row's own maximum first.
#
# </details>

# %%
def autograd_gradient(scores, labels):
    """What autograd sends to the logits: (B, C), (B,) -> (B, C)."""
    return sent_back(lambda z: F.cross_entropy(z, labels), scores)

logits_gradient = mine("21.1", logits_gradient)
batch_logits, batch_labels = draw(4, 3), torch.tensor([1, 0, 2, 1])                # (4, 3), (4,)
by_hand = logits_gradient(batch_logits, batch_labels).double()
by_autograd = autograd_gradient(batch_logits, batch_labels)
found = compare({"d_logits": by_hand}, {"d_logits": by_autograd}, tolerance=1e-6)
verify_gradient("21.6", lambda z: F.cross_entropy(z, batch_labels),
                lambda z: (z.softmax(dim=1) - e[batch_labels]) / 4, (4, 3))

# %% [markdown]
# <details><summary>Compare with yours</summary>
#
# With the rows of a batch below each other, $Z$, $P$ and $Y$ are $(B, C)$:
#
# $$ d_Z = \frac{1}{B}\,(P - Y) \tag{21.6} $$
#
# The factor is the mean's. Without it the direction is right and every step of plain descent B times too long.
#
# </details>
#
# ### Page 00's model, without a loss
#
# Three modalities side by side, one linear layer. `scores.backward(d)` starts the way back at the logits with your numbers; below them autograd goes on.

# %% tags=["measured", "proof"]
# Page 00's features, each column standardised on the training set.
SPLITS = ("train", "test")

def extract(digits):
    """All samples of a data set as vectors: {name: (N, D_m)}, with their labels."""
    parts = []
    for batch in DataLoader(digits, batch_size=256, collate_fn=collate):
        text = letter_features(batch["text"], batch["mask"]["text"])
        audio = band_features(batch["audio"], batch["mask"]["audio"])
        parts.append({"text": text, "image": pixel_features(batch["image"]), "audio": audio,
                      "label": batch["label"]})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

def load(seed):
    """{split: {"features": (N, 590), "label": (N,)}} of `digits`."""
    data, raw = {}, {split: extract(Digits(split, seed=seed)) for split in SPLITS}
    for split in SPLITS:
        columns = []
        for name in MODALITIES:
            mean, spread = raw["train"][name].mean(dim=0), raw["train"][name].std(dim=0)
            columns.append((raw[split][name] - mean) / spread.clamp(min=0.1))
        data[split] = {"features": torch.cat(columns, dim=1), "label": raw[split]["label"]}
    return data

# %% tags=["measured"]
def train(gradient, rows, seed, rate=0.1, optimizer=torch.optim.SGD, head=None):
    """A linear head, trained for 20 epochs with `gradient(logits, labels)`."""
    generator = seed_everything(seed)
    head = nn.Linear(rows["features"].shape[1], 10) if head is None else head
    steps = optimizer(head.parameters(), lr=rate)
    for epoch in range(20):
        for batch in Batches(rows, 128, generator):
            scores = head(batch["features"])                       # (B, 590) -> (B, 10)
            steps.zero_grad()
            scores.backward(gradient(scores.detach(), batch["label"]))
            steps.step()
    return head

# %%
data, test_digits = load(seed=0), Digits("test", seed=0)
test_labels = data["test"]["label"]
ours, theirs = (train(one, data["train"], seed=0) for one in (logits_gradient, autograd_gradient))
test_logits = ours(data["test"]["features"]).detach()              # (252, 10)
report("test accuracy, trained by your gradient", accuracy(test_logits, test_labels), 0.917, 0.03)
apart = (ours.weight - theirs.weight).abs().max().item()
report("largest difference from autograd's weights", apart, near=0, within=1e-4)
residual = test_logits.softmax(dim=1) - F.one_hot(test_labels, 10)                 # p - y
for i in (8, 2, 7, 127, 66):
    print(f"typed {test_digits[i]['text']:5} truth {test_labels[i]}  "
          f"said {test_logits[i].argmax()}  largest |p - y| {residual[i].abs().max():.1f}")

# %% [markdown]
# Right and sure sends almost nothing back; wrong and sure sends nearly 1, and never more.
#
# ## Where it breaks
#
# ### Logits of 10,000
#
# $e^{89}$ does not fit into float32, in which networks train. `torch.softmax` subtracts the largest logit first, so it gives probabilities of any logits. Then the logarithm; right would be (1, -1, 0):

# %% tags=["fault"]
hot = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)         # the middle class is true
surprise = -hot.softmax(dim=1).log()[0, 1]
surprise.backward()
print("gradient", hot.grad[0].tolist(), "right:", hot.grad.tolist() == [[1.0, -1.0, 0.0]])

# %% [markdown]
# The probability was rounded to 0, its logarithm is minus infinity, and on the way back 0 times infinity is NaN. But (21.2) needs no probability, only the logarithm of a sum, and there a shift by the largest logit helps, $z_{max}$: $\log \sum_k e^{z_k} = z_{max} + \log \sum_k e^{z_k - z_{max}}$. No exponent is above 0, and one *is* 0. This is **log-sum-exp** (指数和的对数). `F.cross_entropy` does it inside: it takes *logits*.

# %%
hot = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
surprise = hot.logsumexp(dim=1)[0] - hot[0, 1]
surprise.backward()
print("gradient", hot.grad[0].tolist(), "right:", hot.grad.tolist() == [[1.0, -1.0, 0.0]])

# %% [markdown]
# ### A softmax too many
#
# A model ends in a softmax, since it should give probabilities; then comes `F.cross_entropy`. No error.

# %% tags=["fault"]
outputs = batch_logits.clone().requires_grad_()                    # (4, 3)
F.cross_entropy(outputs.softmax(dim=1), batch_labels).backward()
d_outputs = logits_gradient(batch_logits, batch_labels).double()
print("the gradient is (P - Y) / B:", torch.allclose(outputs.grad, d_outputs))

# %%
outputs = batch_logits.clone().requires_grad_()
F.cross_entropy(outputs, batch_labels).backward()                  # it takes logits
print("the gradient is (P - Y) / B:", torch.allclose(outputs.grad, d_outputs))

# %% [markdown]
# The loss took probabilities for logits: a softmax of a softmax. By (21.5) the gradient passes through $J$ once more (`twice_gradient`, folded):

# %% tags=["measured", "proof"]
# The gradient with a softmax too many.
def twice_gradient(scores, labels):
    """What arrives at the scores if the loss gets their softmax: (B, C), (B,) -> (B, C)."""
    probs_in = scores.softmax(dim=1)
    d_probs = logits_gradient(probs_in, labels).to(probs_in.dtype)
    return softmax_backward(d_probs, probs_in)

# %%
seven = torch.tensor([1])
CASES = {"unsure, wrong": [1.0, 0.0, 0.0], "sure, wrong": [8.0, 0.0, 0.0],
         "sure, right": [0.0, 8.0, 0.0]}
for words, row in CASES.items():
    scores = torch.tensor([row], dtype=torch.float64)              # (1, 3)
    once, twice = (d(scores, seven)[0, 1] for d in (logits_gradient, twice_gradient))
    print(f"{words:<14} the true logit gets {once:7.4f}, with a softmax too many {twice:7.4f}")

# %% [markdown]
# A model that is sure and wrong should be pushed hardest; here it gets two thousand times less. And the loss has a floor: at best it is handed the "logits" (1, 0, 0, ...), which cost $\log(e + C - 1) - 1$, for ten classes 1.46.
#
# What does it cost? Page 00's head (91 % there), here by SGD at rate 0.03 from a random start, has 92 %. With a softmax too many? In percent, to within 4.

# %%
guess("21.a", None, sure=0.5)

# %%
sweep = stored("21", "second_softmax")                             # python tools/sweep.py 21 ...
print("test accuracy in %, five seeds   from logits   a softmax too many")
for name in sweep:
    once, twice = (percent(sweep[name]["accuracy"][kind]) for kind in ("once", "twice"))
    print(f"{name:30}{once:>16}{twice:>16}")
outcome("21.a", 85, within=4)

# %% tags=["proof"]
# One stored run again, live.
name = "random start, SGD 0.03"
live = train(twice_gradient, data["train"], seed=0, rate=0.03)
drift = accuracy(live(data["test"]["features"]), test_labels) - sweep[name]["accuracy"]["twice"][0]
report("a softmax too many: live minus stored", drift, near=0, within=0.03)

# %% [markdown]
# From a random start it costs seven points at the slow rate; at a rate ten times higher, or with AdamW, no cost is seen. At rate 3, which is too high for logits, the weaker push is even three points ahead. From a head that is *sure and wrong* (trained first on labels moved by one class) SGD at rate 0.3 hardly leaves its wrong start: 17 % where logits give 92. At rate 3 it ends at 91, and so it does with AdamW, which divides each step by the gradients' size. The push has the right direction, but not the size.
#
# So accuracy need not tell. Look at the loss: if it never gets below that floor, search for a second softmax.
#
# ## Padding
#
# Texts differ in length: short rows of a batch are filled up, and a mask $m$ is 1 where a token is real. Two texts with the token losses (1, 3, padding) and (2, padding, padding) have the mean 6/3 = 2. Over all B x T places it would be 1, less with every padding, and the gradient, too. Right is
#
# $$ L = -\frac{1}{\sum_{n,t} m_{nt}} \sum_{n,t} m_{nt} \log p_{nt}(y_{nt}) \tag{21.7} $$
#
# > **Exercise 21.2 · A padded batch** — *6 minutes · core*
# >
# > Derive from (21.7) what arrives at the logits, and write it down.
# >
# > - `logits` is `(B, T, C)`, `labels` `(B, T)` int64 with 0 under padding, `mask` `(B, T)` bool, True for a real token. At least one token of the batch is real.
# > - Return `(B, T, C)`, with zeros under padding. Whatever stands there, even NaN, must not matter. No autograd.

# %% exercise="21.2"
def padded_gradient(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """d_logits of the mean over the real tokens: (B, T, C), (B, T), (B, T) bool -> (B, T, C).

    Example: logits of zeros (1, 2, 2), labels [[0, 0]] and mask [[True, False]] give
    [[[-0.5, 0.5], [0.0, 0.0]]].
    """
    ### BEGIN SOLUTION
    # (B, T, C): p - y of every token
    d_tokens = torch.softmax(logits, dim=-1) - F.one_hot(labels, logits.shape[-1])
    return torch.where(mask[..., None], d_tokens, 0) / mask.sum()   # (B, T, C)
    ### END SOLUTION

# %% [markdown] hints="21.2"
# <details><summary>A question that helps</summary>
#
# By which factor does one real token's loss count in (21.7)? And a padded one's?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Each real token sends back its $p - y$, divided by the number of real tokens in the whole batch. Padding sends nothing. Choose the zeros with `torch.where`, because 0 times NaN is NaN.
#
# </details>
# <details><summary>If you see "the mask has lost its last axis"</summary>
#
# `mask` is `(B, T)` and lines up with the last axis of `(B, T, C)`, the classes. `mask[..., None]` is `(B, T, 1)`.
#
# </details>

# %%
padded_gradient = mine("21.2", padded_gradient)
pad_logits, pad_labels = draw(2, 3, 4), torch.tensor([[1, 0, 0], [3, 0, 0]])   # (B, T, C), (B, T)
real = torch.tensor([[True, True, False], [True, False, False]])   # (B, T)
mean_real = F.cross_entropy(pad_logits[real], pad_labels[real])    # the 3 real tokens in a row
by_hand = padded_gradient(pad_logits, pad_labels, real).double()
by_autograd = sent_back(lambda z: F.cross_entropy(z[real], pad_labels[real]), pad_logits)
found = compare({"d_logits": by_hand}, {"d_logits": by_autograd}, tolerance=1e-6)
log_p = pad_logits.log_softmax(dim=-1).gather(-1, pad_labels[..., None])[..., 0]   # (B, T)
verify("21.7", by_hand=-(log_p * real).sum() / real.sum(), reference=mean_real)

# %% [markdown]
# <details><summary>Compare with yours</summary>
#
# $d_{z_{nt}} = m_{nt}\,(p_{nt} - y_{nt}) / \sum m$. Padding gets zero by a choice, not by a product.
#
# </details>
#
# ### The class axis
#
# `F.cross_entropy` wants the classes on axis 1. Three tokens, three classes:

# %% tags=["fault"]
tokens, token_labels = draw(2, 3, 3), torch.tensor([[0, 1, 2], [2, 2, 0]])   # (B, T, C), (B, T)
by_token = F.cross_entropy(tokens.flatten(0, 1), token_labels.flatten())
mean_loss = F.cross_entropy(tokens, token_labels)
print("the same as token by token:", torch.allclose(mean_loss, by_token))

# %% [markdown]
# With four tokens it raises. With as many tokens as classes it runs, and takes time for classes.

# %%
mean_loss = F.cross_entropy(tokens.transpose(1, 2), token_labels)  # (B, T, C) -> (B, C, T)
print("the same as token by token:", torch.allclose(mean_loss, by_token))

# %% [markdown]
# ## Other targets, one rule
#
# Many losses have other numbers in front of the logarithms. Each term alone is a cross-entropy with true class $i$, counted $s_i$ times, with the gradient $s_i (p - e_i)$, $e_i$ one-hot at $i$. Their sum:
#
# $$ \ell = -\sum_i s_i \log p_i \quad\Rightarrow\quad d_z = p \sum_i s_i - s \tag{21.8} $$
#
# | | numbers $s$ in front of the logarithms | one sample's $d_z$ | the mean divides by |
# |---|---|---|---|
# | a label | $y$ | $p - y$ | $B$ |
# | padding | $m\,y$ | $m\,(p - y)$ | the number of real tokens |
# | **soft labels** (软标签) that sum to 1, as shares of votes do | $s$ | $p - s$ | $B$ |
# | soft labels that do not | $s$ | $p \sum_i s_i - s$ | $B$ |
# | **label smoothing** (标签平滑): a share $\epsilon$ spread over all $C$ classes | $q = (1 - \epsilon)\,y + \epsilon / C$ | $p - q$ | $B$ |
# | **class weights** (类别权重) $w_c$ | $w_y\,y$ | $w_y\,(p - y)$ | $\sum_n w_{y_n}$ |
# | temperature (page 16): $p = \operatorname{softmax}(z / \tau)$ | $y$ | $(p - y) / \tau$ | $B$ |
#
# For p = (.5, .375, .125):

# %%
TARGETS = {"seven": e[1], "soft, sums to 1": 0.75 * e[1] + 0.25 * e[2],
           "soft, sums to 1.5": e[1] + 0.5 * e[2], "smoothed, 0.3": 0.7 * e[1] + 0.3 / 3,
           "seven, weight 2": 2 * e[1]}
for name, s in TARGETS.items():
    d_z = p * s.sum() - s                                          # (3,)
    print(f"{name:18} d_z {[round(one, 4) for one in d_z.tolist()]}")
both = 0.75 * (p - e[1]) + 0.25 * (p - e[2])
print("3/4 of one loss and 1/4 of another:", [round(one, 4) for one in both.tolist()])

# %% tags=["proof"]
# Equation 21.8 with numbers that do not add up to 1.
s_random = draw(3).abs()
verify_gradient("21.8", lambda z: -(s_random * z.log_softmax(0)).sum(),
                lambda z: z.softmax(0) * s_random.sum() - s_random, (3,))

# %% [markdown]
# The line "3/4 of one loss and 1/4 of another" is the second: a weighted sum of losses scales each $d$ at its source, and adds where the ways meet.

# %% [markdown]
# ## More: rare classes
#
# Not in the table: class weights and smoothing together. PyTorch's cross-entropy then computes
#
# $$ L = -\frac{1}{\sum_n w_{y_n}} \sum_n \sum_c w_c\, q_{nc} \log p_{nc}, \qquad q_{nc} = (1 - \epsilon)\,[c = y_n] + \frac{\epsilon}{C} \tag{21.9} $$
#
# > **Exercise 21.3 · Rare classes, smoothed labels** — *8 minutes · stretch*
# >
# > *More*: without it the page goes on with the course's function.
# >
# > Derive from (21.9) what arrives at the logits. It is *not* $w_y (p - q)$.
# >
# > - `logits` is `(B, C)`, `labels` `(B,)`, `class_weights` `(C,)` positive, `smoothing` a number from 0 to 1. Return `(B, C)`. No autograd.

# %% exercise="21.3" tags=["measured"]
def weighted_gradient(
    logits: Tensor, labels: Tensor, class_weights: Tensor, smoothing: float
) -> Tensor:
    """d_logits of (21.9): (B, C), (B,), (C,) and a number -> (B, C).

    Example: logits [[0.0, 0.0]], labels [0], class_weights [1.0, 3.0] and smoothing 0.5 give
    [[0.0, 0.0]].
    """
    ### BEGIN SOLUTION
    C = logits.shape[1]
    one_hot = F.one_hot(labels, C).to(logits.dtype)                              # (B,) -> (B, C)
    # (B, C): w_c q_c, which do not add up to 1
    target = class_weights * ((1 - smoothing) * one_hot + smoothing / C)
    d_logits = torch.softmax(logits, dim=1) * target.sum(dim=1, keepdim=True) - target
    return d_logits / class_weights[labels].sum()                                # (B, C)
    ### END SOLUTION

# %% [markdown] hints="21.3"
# <details><summary>A question that helps</summary>
#
# Which numbers stand in front of the $\log p_{nc}$ in (21.9)? Do they add up to 1?
#
# </details>
# <details><summary>The idea in words</summary>
#
# The numbers of sample n are $s_{nc} = w_c\, q_{nc}$. By (21.8) its gradient is $p$ times their sum, minus $s$. All of it is divided by the sum of the weights of the labels.
#
# </details>
# <details><summary>If the whole is only a little off in every entry</summary>
#
# Perhaps the sum runs over the batch, or over all entries. Each sample has its own sum, over its classes: `.sum(dim=1, keepdim=True)`.
#
# </details>

# %%
weighted_gradient = mine("21.3", weighted_gradient)
class_weights = torch.tensor([0.3, 1.7, 3.1], dtype=torch.float64)
def library_loss(z):
    return F.cross_entropy(z, batch_labels, weight=class_weights, label_smoothing=0.1)

by_hand = weighted_gradient(batch_logits, batch_labels, class_weights, 0.1).double()
by_autograd = sent_back(library_loss, batch_logits)
found = compare({"d_logits": by_hand}, {"d_logits": by_autograd}, tolerance=1e-6)
s_all = class_weights * (0.9 * e[batch_labels] + 0.1 / 3)          # (4, 3)
summed = -(s_all * batch_logits.log_softmax(dim=1)).sum()
verify("21.9", summed / class_weights[batch_labels].sum(), reference=library_loss(batch_logits))

# %% [markdown]
# What are weights for? Of the digits 5 to 9 every eighth training sample is kept (`rarer`, folded). Each class gets the weight that makes all ten count alike; as a control, the weights of the rare and of the other five are exchanged.

# %% tags=["measured", "proof"]
# Rare digits, and the weights that balance the classes.
def rarer(rows):
    """The training rows with one in eight of the digits 5 to 9, and each class's weight (10,)."""
    keep = rows["label"] < 5                                       # (N,)
    for digit in range(5, 10):
        keep[(rows["label"] == digit).nonzero()[::8, 0]] = True
    few = {name: column[keep] for name, column in rows.items()}
    share = few["label"].bincount(minlength=10) / len(few["label"])
    return few, 0.1 / share

# %%
few, balance = rarer(data["train"])
weighted = train(lambda z, y: weighted_gradient(z, y, balance, 0.0), few, seed=0)
hit = weighted(data["test"]["features"]).argmax(dim=1) == test_labels
report("rare digits, trained by your gradient", hit[test_labels >= 5].double().mean(), 0.8, 0.04)
rare_rows = stored("21", "rare")                                   # python tools/sweep.py 21 rare
for name, row in rare_rows.items():
    for kind in ("rare", "others"):
        print(f"{name:10} {kind:7}{percent(row['accuracy'][kind]):>11} %")
rare, others = (rare_rows["weights"]["accuracy"][kind] for kind in ("rare", "others"))
print("with weights the rare stay behind by {:.1f} ± {:.1f} points".format(*paired(others, rare)))
outcome("20.c", "Ben")

# %% [markdown] owes="P3"
# The weights bring 13.4 points to the rare digits and cost the others about one. Exchanged, they take 36 from the rare. The bet of page 20 goes to Ben: the loss counts all ten classes alike, and the rare ones stay 12.7 points behind the others.

# %% [markdown]
# ## The binary formula on many classes
#
# For one question of yes or no the cross-entropy is $-[\,y \log p + (1 - y) \log(1 - p)\,]$. A common mistake is to print this, summed over the classes, beside code that calls `CrossEntropyLoss`. The sum asks C questions ("does this word occur?"); a softmax answers one ("which word comes next?"). On a softmax the sum is another loss: the logits log 4, log 3, log 1 get 0.929, -1.054 and 0.125 instead of 0.5, -0.625 and 0.125.
#
# <details><summary>Its gradient</summary>
#
# With a one-hot $y$ the second term has the slope $r_i = (1 - y_i) / (1 - p_i)$ along $p_i$, and by (21.5)
#
# $$ d_z = (p - y) + p \odot \big(r - \langle p, r \rangle\big) \tag{21.10} $$
#
# </details>

# %% tags=["proof"]
# Equation 21.10 on random logits.
def binary_loss(z):
    p_in = z.softmax(dim=0)
    return -(e[1] * p_in.log() + (1 - e[1]) * (1 - p_in).log()).sum()

def binary_gradient(z):
    p_in = z.softmax(dim=0)
    return p_in - e[1] + softmax_backward((1 - e[1]) / (1 - p_in), p_in)

verify_gradient("21.10", binary_loss, binary_gradient, (3,))

# %% [markdown]
# ## With the library
#
# A backward of your own in PyTorch, and the tool that checks it by central differences:

# %%
import torch as pt


class CrossEntropy(pt.autograd.Function):
    @staticmethod
    def forward(ctx, z, labels):                                   # ctx keeps it for later
        ctx.save_for_backward(z, labels)
        return pt.nn.functional.cross_entropy(z, labels)

    @staticmethod
    def backward(ctx, d):                                          # d: what arrives at the loss
        z, labels = ctx.saved_tensors
        return d * (z.softmax(dim=1) - pt.eye(z.shape[1]).to(z)[labels]) / len(z), None

inputs = pt.tensor([[1.3, 0.2, -0.7], [0.1, 2.2, 0.6]], dtype=pt.float64, requires_grad=True)
print(pt.autograd.gradcheck(CrossEntropy.apply, (inputs, pt.tensor([1, 0]))))

# %% [markdown]
# `None`: the labels have no gradient. Leave out `/ len(z)`, and it raises.
#
# ## Recap
#
# You can now
#
# 1. **turn** a likelihood into a loss, the mean of $-\log p_y$, which a batch estimates;
# 2. **derive** $p - y$ from $\log \sum e^{z_k} - z_y$, and measure it by central differences;
# 3. **walk back**: multiply along a way, add over several, and wait for all that used a result;
# 4. **build** $(P - Y)/B$, and train with it and without a loss;
# 5. **recognise** three faults, and mend them: log-sum-exp for the NaN, logits for the loss, classes on axis 1;
# 6. **build** variants: with $s$ in front of the logarithms, $p \sum s - s$, divided by what the mean divides by.
#
# ## Questions
#
# <details><summary>1. The gradients of a sample's logits add up to zero. Why must they?</summary>
#
# The same number added to all logits changes no probability, so the loss does not change in that direction: the gradient along (1, 1, 1), which is their sum, is zero.
#
# </details>
# <details><summary>2. Where exactly does the factor 1/p, which explodes for a tiny p, go away?</summary>
#
# In the softmax's Jacobian: every entry of the true class's row has a factor p, which cancels it. (21.2) never has it.
#
# </details>
# <details><summary>3. The loss of a three-class model stops at 0.55 and its accuracy is fine. What do you suspect?</summary>
#
# A softmax in front of a loss that contains one: $\log(e + 2) - 1 = 0.551$ is the least it can reach.
#
# </details>
# <details><summary>4. A table has a row of logits for each letter, and says which letter comes next; each row is used for many tokens. For which p is its gradient zero?</summary>
#
# In a row the $p - y$ of all its tokens add up to (number of tokens) x $p$ minus the counts of what came next. That is zero where $p$ is the counted share: cross-entropy asks for the frequencies.
#
# </details>
# <details><summary>5. With the whole page: two annotators disagree about a third of your samples, half the tokens are padding, and one class is rare. Which d arrives at the logits?</summary>
#
# Take both annotators' votes as soft labels q, each class's share times its weight: $s_c = w_c q_c$. A real token gets $p \sum s - s$, padding 0. Divide by the number that your mean divides by, for example the sum of the $\sum_c s_c$ over the real tokens; say which.
#
# </details>
# <details><summary>6. With the whole page: a model's loss is NaN after 300 steps. It ends in a softmax, its loss is <code>-log(p)[y]</code>. What do you change, and how do you check your own backward?</summary>
#
# Let it end in logits, and use log-sum-exp minus the true logit (or `F.cross_entropy`): the logarithm of a probability that is rounded to 0 goes away. Then `gradcheck` in float64, with large logits among the inputs.
#
# </details>
#
# ## Read more
#
# - J. Bridle, *Probabilistic Interpretation of Feedforward Classification Network Outputs*, 1990. Where the softmax got its name.
# - A. Baydin, B. Pearlmutter, A. Radul, J. Siskind, *Automatic Differentiation in Machine Learning: a Survey*, JMLR 2018. What `backward()` is, and what it is not.
# - C. Szegedy and others, *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016. Label smoothing, with its gradient as the reason.
#
# ## A bet for page 22
#
# A network 64-64-64-10, in which everything trains. On the way back somebody multiplies with a matrix where its transpose belongs. The shapes fit.
#
# *Ada says: it ends within five points of the right one.* *Ben says: it stays at chance.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("21.c", None)
guesses("21")
