# %% [markdown]
# # Can I trust my loop?
#
# A loop that trains runs without an error also when it averages wrongly, keeps the wrong weights or forgets half of itself at a break. On this page you take one apart, and build the parts that you can trust.
#
# *About {minutes} minutes. You need page 00: its features, `Batches`, the three splits; and page 03 for batch norm.*

# %% [markdown]
# ## In this notebook you will
#
# 1. find what a short last batch does to the loss of an epoch, and build `evaluate`;
# 2. build one step of AdamW, and train a network with it;
# 3. read a grid of learning rates and batch sizes, and test three habits of training, each alone;
# 4. stop a training, go on, and get the same numbers to the last bit;
# 5. watch a network learn wrong labels by heart, and compare what helps against it;
# 6. build early stopping that keeps the best weights and survives a NaN.

# %% tags=["measured", "imports"]
# Imports.
import copy
import io
import math

import torch
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import plots
from course_utils.audio import band_features
from course_utils.datasets import Digits, collate
from course_utils.exercises import check, mine
from course_utils.image import pixel_features
from course_utils.metrics import accuracy, mean_interval, paired, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.text import letter_features
from course_utils.training import Batches

# %% owes="F8" tags=["measured", "proof"]
# Page 00's three modalities, glued; and labels of which a share is drawn anew.
SPLITS = ("train", "validation", "test")

def load(seed, **dials):
    """{split: {"features": (N, 590), "label": (N,)}}."""
    data = {}
    for split in SPLITS:
        samples = collate([*Digits(split, seed=seed, **dials)])
        text = letter_features(samples["text"], samples["mask"]["text"])
        audio = band_features(samples["audio"], samples["mask"]["audio"])
        glued = torch.cat([text, pixel_features(samples["image"]), audio], dim=1)
        data[split] = {"features": glued, "label": samples["label"]}
    return data

def relabelled(data, seed, share=0.3):
    """The same, with labels drawn anew in the training and the validation set."""
    draw, changed = torch.Generator().manual_seed(seed), {}
    for split in SPLITS[:2]:
        label = data[split]["label"].clone()
        rows = torch.rand(len(label), generator=draw) < share
        label[rows] = torch.randint(10, (int(rows.sum()),), generator=draw)
        changed[split] = data[split] | {"label": label}
    return data | changed

# %% owes="F11" tags=["measured", "proof"]
# The network: every column at mean 0 and spread 1, one hidden layer, dropout.
class Network(nn.Module):
    """A batch with "features" (B, width) to logits (B, 10)."""

    def __init__(self, hidden=128, drop=0.0, width=590):
        super().__init__()
        self.scale = nn.BatchNorm1d(width, affine=False)
        self.body = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(drop),
                                  nn.Linear(hidden, 10))

    def forward(self, batch):
        return self.body(self.scale(batch["features"]))

@torch.no_grad()
def losses(net, part):
    """The loss of every sample of a split, (N,)."""
    net.eval()
    return F.cross_entropy(net(part), part["label"], reduction="none")

@torch.no_grad()
def right(net, part):
    """The share of a split that is told rightly."""
    return accuracy(net.eval()(part), part["label"])

# %% tags=["measured", "proof"]
# A plan for the learning rate; an epoch by steps of one's own.
def factor(plan, now, steps):
    """By what the learning rate is multiplied in step `now` of `steps`."""
    warm, turn = min(1.0, (now + 1) / (0.1 * steps)), 0.5 * (1 + math.cos(math.pi * now / steps))
    return {None: 1.0, "warm-up": warm, "cosine": turn, "both": warm * turn}[plan]

def own_epoch(net, batches, step_by, lr, decay):
    """One epoch by a function such as `adamw` below."""
    averages = [(torch.zeros_like(w), torch.zeros_like(w)) for w in net.parameters()]
    for step, batch in enumerate(batches, start=1):
        grads = torch.autograd.grad(F.cross_entropy(net(batch), batch["label"]), net.parameters())
        for i, (weight, gradient) in enumerate(zip(net.parameters(), grads)):
            new, *averages[i] = step_by(weight.detach(), gradient, *averages[i], step, lr, decay)
            weight.data = new

# %% tags=["measured", "proof"]
# The stored comparisons' loop: torch's AdamW, and each habit of training if asked for.
def train(data, seed, epochs, lr=1e-3, size=64, decay=0.01, hidden=128, drop=0.0, clip=None,
          plan=None, watch=None):
    """The network, and the loss of the training and the validation set after each epoch."""
    draw, curve = seed_everything(seed), []
    net = Network(hidden, drop, width=data["train"]["features"].shape[1])
    batches = Batches(data["train"], size, draw)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=decay)
    steps = epochs * len([*Batches(data["train"], size)])
    plans = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda now: factor(plan, now, steps))
    for _ in range(epochs):
        net.train()
        for batch in batches:
            F.cross_entropy(net(batch), batch["label"]).backward()
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
            plans.step()
            optimizer.zero_grad()
        curve.append([losses(net, data[split]).mean().item() for split in SPLITS[:2]])
        if watch:
            watch(net)
    return net, curve
# %% tags=["figure"]
# Training and validation loss over forty epochs, five seeds.
figure, ax = plots.axes(width=5.6, height=3.0)
for seed, curve in enumerate(stored("08", "remedies")["nothing"]["curves"]):
    for column, (name, color, style) in enumerate(
        (("training set", "text", "-"), ("validation set", "image", "--"))
    ):
        values = [one[column] for one in curve]
        label = name if seed == 0 else None
        ax.plot(range(1, 41), values, style, color=plots.COLORS[color], linewidth=1, label=label)
ax.set(xlabel="epoch", ylabel="mean loss", ylim=(0, 3.2))
ax.legend(frameon=False)
plots.show(
    figure,
    "A network that is trained for forty epochs on labels of which three in ten were drawn anew."
    " On the training set it gets ever better; on the validation set its best moment is over after"
    " about four epochs. Five seeds.",
)

# %% [markdown] owes="F10 P12"
# ## One epoch, two means
#
# Training wants the smallest mean loss over all N samples, $\hat\theta = \arg\min_\theta \frac{1}{N} \sum_n \ell_n(\theta)$. The mean is called **empirical risk** (经验风险). It is met in batches, and the last one is often short. Here are the losses of ten samples, in batches of four; the two hard ones come last.

# %%
ten = torch.tensor([1.0] * 8 + [5.0] * 2)
for part in ten.split(4):                                     # (10,) -> (4,), (4,), (2,)
    print([round(value, 1) for value in part.tolist()], "mean", part.mean().item())

# %% owes="L7" tags=["fault"]
total = 0.0
for part in ten.split(4):
    total += part.mean().item()
epoch_loss = total / 3
print("the mean of the ten:", abs(epoch_loss - ten.mean().item()) < 1e-6)

# %% [markdown]
# It gives 2.33, where the ten have 1.8. The two hard samples count for a third, as one batch of three.

# %%
total, count = 0.0, 0
for part in ten.split(4):
    total += part.mean().item() * len(part)                   # the sum of this batch
    count += len(part)
epoch_loss = total / count
print("the mean of the ten:", abs(epoch_loss - ten.mean().item()) < 1e-6)

# %% [markdown] owes="F123"
# ### Does it change which epoch is best?
#
# A validation set of 258 samples, in batches of 64, leaves two samples for the last one. They get a fifth of the mean. In twenty runs (seeds 0 to 19, stored) the lowest validation loss was looked for by both means.

# %%
means = stored("08", "means")                                 # python tools/sweep.py 08 means
by_samples, by_batches = means["samples"], means["batch means"]
differ = sum(a != b for a, b in zip(by_samples["best"], by_batches["best"]))
points = percent(by_samples["accuracy"], minus=by_batches["accuracy"])
print(f"another epoch in {differ} of 20 runs; by samples the test accuracy gains {points} points")
outcome("07.c", "Ada")

# %% [markdown] owes="F102"
# In half of the runs another epoch is chosen. Twenty runs do not show that the test accuracy suffers. The number is wrong all the same.
#
# ### Modes
#
# **Dropout** (随机失活) sets a share of the numbers to zero, at random, while it trains; batch norm uses the batch's own mean and spread. Both do something else at test time, and `model.eval()` and `model.train()` switch between the two. They switch *every* part (page 04 met it). Where a part is to stay frozen, with the statistics that its batch norm has, note each part's mode first:

# %%
small = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.Linear(2, 2), nn.Dropout(0.5))
modes = {part: part.training for part in small.modules()}     # what each part was
small.eval()
for part, mode in modes.items():
    part.training = mode
print("batch norm still frozen:", not small[0].training)

# %% [markdown] owes="F109"
# > **Exercise 08.1 · A loss that means something** — *10 minutes · core*
# >
# > Return the model's loss and accuracy on all batches.
# >
# > - `batches` is a list of dicts with `"label"`, `(B,)`. `model(batch)` gives logits `(B, C)`. Batches differ in size.
# > - Loss is the mean cross-entropy over *samples*, accuracy the share of samples that are right: two numbers.
# > - The model runs in evaluation mode and without gradients. Afterwards every part is in the mode in which it was.

# %% exercise="08.1"
def evaluate(model: nn.Module, batches) -> tuple[float, float]:
    """Mean loss and accuracy over the samples of all batches.

    Example: two batches of 4 and 1 samples with mean losses 1.0 and 2.0 have a loss of 1.2.
    """
    ### BEGIN SOLUTION
    modes = {part: part.training for part in model.modules()}
    model.eval()
    total, hits, count = 0.0, 0, 0
    with torch.no_grad():
        for batch in batches:
            logits, label = model(batch), batch["label"]      # (B, C), (B,)
            total += F.cross_entropy(logits, label, reduction="sum").item()
            hits += (logits.argmax(dim=1) == label).sum().item()
            count += len(label)
    for part, mode in modes.items():
        part.training = mode
    return total / count, hits / count
    ### END SOLUTION

# %% [markdown] hints="08.1"
# <details><summary>A question that helps</summary>
#
# What would you have to know of each batch to get the mean over all samples at the end? What would `model.train()` at the end do to a part that was frozen?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Note the mode of each of `model.modules()`, then `model.eval()`. Without gradients, add up three things: the losses (`reduction="sum"`), the hits, the samples. Put each mode back, and divide twice.
#
# </details>
# <details><summary>If you see "not all arguments converted" or get a tensor</summary>
#
# `.item()` makes a Python number out of a tensor with one entry; the function returns two numbers, `loss, accuracy`.
#
# </details>

# %%
evaluate = mine("08.1", evaluate)
data = load(seed=0)
net, _ = train(data, seed=0, epochs=3)
odd, whole = Batches(data["test"], 100), Batches(data["test"], 252)
print("test set in batches of 100, 100 and 52, or in one:",
      f"{evaluate(net, odd)[0]:.4f} and {evaluate(net, whole)[0]:.4f}")

# %% [markdown] owes="F97 F98"
# ## One step of AdamW
#
# **Stochastic gradient descent** (随机梯度下降), SGD, takes the learning rate times the gradient off each weight. Adam makes two changes. It follows not the last gradient g but a running mean m of them, and it divides by the root of a running mean v of their squares, so that each weight gets steps of its own size. Here is one weight whose gradient is +1, -1, +1, -1:

# %%
m, v = 0.0, 0.0
for step, g in enumerate((1.0, -1.0, 1.0, -1.0), start=1):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    fair_m, fair_v = m / (1 - 0.9**step), v / (1 - 0.999**step)
    print(f"gradient {g:+.0f}:  m {m:+.3f}  v {v:.4f}  corrected {fair_m:+.3f} and {fair_v:.3f},"
          f"  step {-fair_m / fair_v**0.5:+.3f}")

# %% [markdown] owes="F99"
# Both means begin at zero, so they come out too small at first; dividing by 1 - 0.9 to the power of the step corrects this. The later steps are short because the gradients contradict one another: four times +1 gives four steps of -1. AdamW also takes a share of each weight off, its **weight decay** (权重衰减), beside the averages and not through them. With learning rate η, decay λ and step t:
#
# $$ w \leftarrow w - \eta \frac{m / (1 - 0.9^t)}{\sqrt{v / (1 - 0.999^t)} + 10^{-8}} - \eta \lambda w \tag{08.1} $$
#
# > **Exercise 08.2 · One step** — *8 minutes · core*
# >
# > Return the new weight, `m` and `v` after one step of AdamW.
# >
# > - All of `weight`, `gradient`, `mean` and `square` have one shape; `mean` and `square` are m and v *before* this step.
# > - `step` counts from 1. The averages keep 0.9 and 0.999 of themselves.
# > - Return three new tensors, and leave the arguments as they were.

# %% exercise="08.2"
def adamw(weight: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: int,
          lr: float, decay: float) -> tuple[Tensor, Tensor, Tensor]:
    """The weight, the running mean of gradients and that of their squares after one step.

    Example: weight 1., gradient 2., mean and square 0., step 1, lr .1, decay 0. gives weight 0.9.
    """
    ### BEGIN SOLUTION
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient**2
    fair_mean, fair_square = mean / (1 - 0.9**step), square / (1 - 0.999**step)
    move = fair_mean / (fair_square.sqrt() + 1e-8)
    return weight - lr * move - lr * decay * weight, mean, square
    ### END SOLUTION

# %% [markdown] hints="08.2"
# <details><summary>A question that helps</summary>
#
# Which two numbers does the next step need: the averages as they run, or as they are corrected?
#
# </details>
# <details><summary>The idea in words</summary>
#
# First the two averages, with this gradient in them. Then a corrected copy of each. The move is one divided by the root of the other plus 1e-8. From the weight take lr times the move, and lr times decay times the *old* weight.
#
# </details>
# <details><summary>If you see "division by zero" or nan</summary>
#
# In step 1 you divide by 1 - 0.9 to the power of 1. With `step - 1` in the exponent it is 0.
#
# </details>

# %%
adamw = mine("08.2", adamw)
draw = seed_everything(0)
net = Network()
before = evaluate(net, Batches(data["validation"], 258))[0]
own_epoch(net, Batches(data["train"], 64, draw), adamw, lr=1e-3, decay=0.01)
after = evaluate(net, Batches(data["validation"], 258))[0]
_, curve = train(data, seed=0, epochs=1)                      # the same with torch.optim.AdamW
print(f"validation loss before {before:.3f}, after an epoch by your steps {after:.3f}")
print(f"PyTorch's steps end within 0.001 of it: {abs(after - curve[0][1]) < 0.001}")

# %% tags=["proof"]
# (08.1) over five steps in float64 against torch.optim.AdamW.
seed_everything(0)
weight = torch.randn(3, 4, dtype=torch.float64)
parameter, averages = nn.Parameter(weight.clone()), (torch.zeros_like(weight),) * 2
optimizer = torch.optim.AdamW([parameter], lr=0.03, weight_decay=0.7)
for step in range(1, 6):
    parameter.grad = torch.randn(3, 4, dtype=torch.float64)
    weight, *averages = adamw(weight, parameter.grad, *averages, step, 0.03, 0.7)
    optimizer.step()
verify("08.1", by_hand=weight, reference=parameter)

# %% [markdown] owes="F96"
# <details><summary>SGD, Adam, AdamW: what weight decay does in each</summary>
#
# | | step | weight decay |
# |---|---|---|
# | SGD | -lr g | lr times decay times w, whether it is added to g or taken off w |
# | SGD with momentum 0.9 | -lr times a running sum of g | if added to g, it is summed too |
# | Adam | -lr times m over the root of v | added to g: it goes through m and v, so weights with large gradients decay *less* |
# | AdamW | the same | taken off w itself: all weights decay alike |
#
# </details>
#
# ## Rate, batch size, and three habits
#
# A **hyperparameter** (超参数) is what the loop does not learn. The two that matter first are the learning rate and the **batch size** (批大小), how many samples share a step. Sixteen pairs of them, twenty epochs each, five seeds:

# %% owes="F100 F116" tags=["figure"]
# The stored grid as a picture.
grid, sizes = stored("08", "grid"), (8, 32, 128, 512)         # python tools/sweep.py 08 grid
rates = (1e-4, 1e-3, 1e-2, 1e-1)
cells = torch.tensor([[sum(grid[f"{size} samples, rate {rate}"]["accuracy"]) / 5
                       for rate in rates] for size in sizes])
figure, ax = plots.axes(width=4.6, height=3.2)
ax.imshow(cells, cmap="cividis", vmin=0.6, vmax=0.95)
for row in range(4):
    for column in range(4):
        value = cells[row, column].item()
        ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center",
                color="white" if value < 0.8 else "black")
ax.set_xticks(range(4), rates)
ax.set_yticks(range(4), sizes)
ax.set(xlabel="learning rate", ylabel="samples a batch")
plots.show(figure, "Accuracy on the validation set in %, mean of five seeds, after twenty epochs.")

# %% [markdown]
# The best of a row moves to the right, from 0.0001 for 8 samples to 0.01 for 512 (there by half a point only). In an epoch a batch of 512 takes 3 steps where one of 8 takes 161; perhaps too few at the smallest rate. Each at its best rate, all sizes have 90 to 93 %.
#
# Three habits come with every recipe. **Warm-up** (预热): the rate grows from near zero to its full size over the first tenth of the steps. A **schedule** (学习率调度): here it falls along a cosine to zero. **Gradient clipping** (梯度裁剪): a gradient of a length above 1 is shortened to 1. Each alone and all together, once at the rate that is best on the validation set (0.001) and once at ten times this rate.

# %%
habits = stored("08", "habits")                               # python tools/sweep.py 08 habits
plain = [habits[f"nothing, x {times}"]["accuracy"] for times in (1, 10)]
print(f"{'rate':22}{'0.001':>12}{'0.01':>12}")
print(f"{'nothing, right in %':22}{percent(plain[0]):>12}{percent(plain[1]):>12}")
for name in ("warm-up", "cosine schedule", "clipping", "all three"):
    small_rate, large_rate = (habits[f"{name}, x {times}"]["accuracy"] for times in (1, 10))
    print(f"{name + ', gain':22}{percent(small_rate, minus=plain[0]):>12}"
          f"{percent(large_rate, minus=plain[1]):>12}")

# %% [markdown]
# At the best rate none of them gains what five seeds could show. Ten times this rate loses three points; all three together save 2.6 of them, and of none alone do five seeds show that it helps. So search the rate first. (Deep networks and large batches are another matter; see Goyal, *Read more*.)

# %% [markdown]
# ## Stop and go on
#
# Four epochs without a break, against two epochs, a file, and two more in new objects. The network has dropout. The first try keeps the weights:

# %% tags=["proof"]
# Starting, and going on.
def start(seed):
    """A network with dropout, its optimiser, and the generator of its batches."""
    draw = seed_everything(seed)
    net = Network(drop=0.5)
    return net, torch.optim.AdamW(net.parameters(), lr=1e-3), draw

def go_on(net, optimizer, draw, epochs):
    net.train()
    for _ in range(epochs):
        for batch in Batches(data["train"], 64, draw):
            F.cross_entropy(net(batch), batch["label"]).backward()
            optimizer.step()
            optimizer.zero_grad()

# %% tags=["proof"]
# A break through a file; four epochs without one, and the state half way.
def resumed(kept, epochs=2):
    """The weights after `epochs` more, in new objects that get what was kept."""
    torch.save(kept, file := io.BytesIO())
    file.seek(0)
    found, (net, optimizer, draw) = torch.load(file, weights_only=True), start(seed=1)
    net.load_state_dict(found["net"])
    if "optimizer" in found:
        optimizer.load_state_dict(found["optimizer"])
    if "draw" in found:
        draw.set_state(found["draw"])
    if "torch" in found:
        torch.set_rng_state(found["torch"])
    go_on(net, optimizer, draw, epochs)
    return net.state_dict()

def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())

unbroken = start(seed=0)
go_on(*unbroken, epochs=4)
in_one = unbroken[0].state_dict()
half_way = start(seed=0)
go_on(*half_way, epochs=2)
chance = torch.get_rng_state()                                # where dropout's numbers stand

# %% tags=["fault"]
net, optimizer, draw = half_way
kept = {"net": net.state_dict()}
print("the same as without a break:", same(resumed(kept), in_one))

# %%
net, optimizer, draw = half_way
kept = {"net": net.state_dict(), "optimizer": optimizer.state_dict(),
        "draw": draw.get_state(), "torch": chance}
print("the same as without a break:", same(resumed(kept), in_one))

# %% [markdown]
# Bit for bit the same (`torch.save`, `torch.load`, `load_state_dict`: folded above). Which of the four does it need? Each of the other three left out, in turn:

# %%
for name in ("optimizer", "draw", "torch"):
    rest = {key: value for key, value in kept.items() if key != name}
    print(f"without {name:10} the same: {same(resumed(rest), in_one)}")

# %% [markdown]
# The optimiser has its averages, `draw` the order of the batches, `torch` the numbers of dropout. A schedule and early stopping have a state too (and a GPU has `torch.cuda.get_rng_state_all()`).

# %% [markdown]
# ## Labels learned by heart
#
# Three in ten of the training and validation samples are labelled blindly (drawn anew from ten classes). The test labels are right. The network is trained for forty epochs, until its training loss is about 0.02. How much of the *test set* does it tell rightly, in percent, as the mean of five seeds? In its best epoch it had about 84.

# %%
guess("08.a", None)

# %%
noisy = relabelled(data, seed=0)
learned, curve = train(noisy, seed=0, epochs=40)
best = min(range(40), key=lambda epoch: curve[epoch][1])
print(f"validation loss: lowest {curve[best][1]:.2f} in epoch {best + 1},"
      f" at the end {curve[-1][1]:.2f}")
report("training loss at the end", curve[-1][0], near=0.025, within=0.02)
report("test accuracy at the end", right(learned, data["test"]), near=0.70, within=0.05)
five = stored("08", "remedies")["nothing"]["accuracy"]        # python tools/sweep.py 08 remedies
print(f"five seeds, stored: {100 * sum(five) / 5:.1f} % on average")
outcome("08.a", 73, within=4)

# %% [markdown] owes="F103"
# This is **overfitting** (过拟合): the loss on the training set falls on, that on other samples has long been rising. The cheapest remedy is **early stopping** (早停): after each epoch look at the validation set, keep the best epoch's weights, and stop when it has not been beaten for a while.
#
# > **Exercise 08.3 · Early stopping** — *8 minutes · core*
# >
# > `step(loss, model)` is called after each epoch with its validation loss.
# >
# > - `self.weights` holds the `state_dict` of the best epoch so far, *as it was then*: training goes on and changes the model in place.
# > - `step` returns True when it is time to stop: after `patience` epochs in a row that were no better than the best.
# > - Better is lower. An equal loss is not better; nor is NaN, wherever it comes. There may be one in the first epoch.

# %% exercise="08.3"
class EarlyStopping:
    """Keeps the best epoch's weights: losses 3, 2, 4, 5 with patience 2 stop in the fourth."""

    def __init__(self, patience: int):
        """`weights` is None as long as no epoch was better than nothing."""
        ### BEGIN SOLUTION
        self.patience, self.weights = patience, None
        self.best, self.waited = math.inf, 0
        ### END SOLUTION

    def step(self, loss: float, model: nn.Module) -> bool:
        """Whether it is time to stop."""
        ### BEGIN SOLUTION
        if loss < self.best:                                  # False for NaN
            self.best, self.waited = loss, 0
            self.weights = copy.deepcopy(model.state_dict())
        else:
            self.waited += 1
        return self.waited >= self.patience
        ### END SOLUTION

# %% [markdown] hints="08.3"
# <details><summary>A question that helps</summary>
#
# What is `float("nan") < 1.0`, and what is `1.0 < float("nan")`? What has to stand in for "the best so far" before the first epoch?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Three things are remembered: the lowest loss (infinity at first), how many epochs have passed since, and a copy of the weights. A lower loss sets all three; anything else adds one to the count.
#
# </details>
# <details><summary>If the weights come out as those of a later moment</summary>
#
# `state_dict()` hands out the model's own tensors, and the optimiser changes them in place. `copy.deepcopy(...)` keeps them as they are.
#
# </details>

# %%
EarlyStopping = mine("08.3", EarlyStopping)

def stopped(data, seed, patience):
    """The best epoch's network, and how many epochs were run."""
    draw = seed_everything(seed)
    net, stopper = Network(), EarlyStopping(patience)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    for epoch in range(1, 41):
        net.train()
        for batch in Batches(data["train"], 64, draw):
            F.cross_entropy(net(batch), batch["label"]).backward()
            optimizer.step()
            optimizer.zero_grad()
        if stopper.step(evaluate(net, Batches(data["validation"], 64))[0], net):
            break
    net.load_state_dict(stopper.weights)
    return net, epoch

early, epochs = stopped(noisy, seed=0, patience=3)
report(f"test accuracy, best of {epochs} epochs", right(early, data["test"]), 0.82, within=0.05)

# %% [markdown]
# Six of the samples that were labelled blindly, and what the two networks say of them:

# %%
wrong = (noisy["train"]["label"] != data["train"]["label"]).nonzero()[:, 0]     # (W,)
with torch.no_grad():
    at_end, at_best = learned.eval()(data["train"]), early.eval()(data["train"])  # (N, 10)
sure = at_end.softmax(dim=1).amax(dim=1).minimum(at_best.softmax(dim=1).amax(dim=1))
for i in wrong[sure[wrong].argsort(descending=True)[:6]].tolist():
    print(f"is {data['train']['label'][i]}, labelled {noisy['train']['label'][i]}:"
          f"  after 40 epochs {at_end[i].argmax()}, stopped early {at_best[i].argmax()}")
as_it_is = (at_best.argmax(dim=1) == data["train"]["label"])[wrong].double().mean().item()
report(f"of all {len(wrong)}, stopped early as they are", as_it_is, near=0.85, within=0.05)

# %% [markdown]
# After forty epochs the network says what was written on the samples: it has learned them by heart. Stopped early, it mostly says what they are, against its own training labels.
#
# Other remedies, each alone with its strength chosen on the validation set. "Stopped early" is the best of all forty epochs. Five seeds:

# %% owes="F101 F102" tags=["figure"]
# The stored remedies as dots.
remedies = stored("08", "remedies")                           # python tools/sweep.py 08 remedies
right_of = {name: row["accuracy"] for name, row in remedies.items()}
twice = percent(right_of["nothing"], minus=right_of["half of the samples"])
print(f"with nothing done, twice the samples gain {twice} points over half of them")
NAMES = ["nothing", "weight decay", "dropout", "a smaller network"]
marks = {"after 40 epochs": [], "stopped early": []}
for name in NAMES:
    early_name = "early stopping" if name == "nothing" else f"{name} and early stopping"
    for series, row in zip(marks.values(), (remedies[name], remedies[early_name])):
        series.append(mean_interval([100 * score for score in row["accuracy"]]))
settings = ["nothing"] + [f"{name}\n({remedies[name]['strength']:g})" for name in NAMES[1:]]
plots.points(settings, marks, label="test accuracy (%)",
             caption="Labels of which three in ten were drawn anew: test accuracy on right labels,"
             " five seeds. In brackets the chosen strength.")

# %% tags=["proof"]
# The remedies, paired by seed.
parts = []
for one, other in (("early stopping", "nothing"), ("weight decay", "early stopping"),
                   ("dropout", "early stopping")):
    parts.append(percent(right_of[one], minus=right_of[other]))
for one, other in (("dropout and early stopping", "dropout"),
                   ("weight decay and early stopping", "weight decay"),
                   ("a smaller network", "nothing"), ("nothing", "half of the samples")):
    middle, half = paired(right_of[one], right_of[other])
    assert abs(middle) < half                                 # not shown by five seeds
print("early stopping {} over nothing; over it weight decay {}, dropout {}".format(*parts))

# %% [markdown]
# Early stopping is worth 11 points. Weight decay and dropout, strong enough, are worth more, and with them stopping early adds nothing that five seeds show. A smaller network (8 hidden units, the best of four sizes) and twice the samples, with the same share of wrong labels, are no remedies that five seeds show.
#
# ## Common mistakes, in runnable lines
#
# A folded cell runs three. `loss = loss(...)` takes a name twice: the second batch calls a number, and the loop stops. Two run on. `CrossEntropyLoss` wants the classes on axis 1, `(B, C, T)`; when T equals C the wrong order raises nothing. And a list of lists is *multilabel* to scikit-learn: `f1_score` gives a number for each place in the sentence. Flatten both lists first.

# %% owes="F89" tags=["proof"]
# Three common mistakes: one stops, two do not.
criterion = nn.CrossEntropyLoss()
scores, goal = torch.randn(2, 5, 5), torch.randint(5, (2, 5))        # (B, T, C) with T = C, (B, T)
try:
    loss_now = criterion
    for t in range(2):
        loss_now = loss_now(scores[:, t], goal[:, t])                # the name is taken twice
except TypeError as error:
    stops = str(error)
classes_second = criterion(scores.transpose(1, 2), goal)             # (B, C, T): as it is wanted
assert criterion(scores, goal) != classes_second
flags = [[0, 1, 1], [1, 0, 1]]                                       # 2 sentences of 3 words
assert len(f1_score(flags, flags, average=None)) == 3
print("the one that stops:", stops)

# %% [markdown] owes="F106 F110 F182 L6 L8 L18 L27"
# Output layer and loss go together: one logit and `BCEWithLogitsLoss` for yes or no, C logits and `CrossEntropyLoss` for one of C classes, a number and `MSELoss`. And no line can show what is missing: a loop that reports its best *training* loss, or picks the epoch on the test set, has measured nothing.
#
# <details><summary>Devices, half precision, and keeping a log</summary>
#
# ```python
# device = "cuda" if torch.cuda.is_available() else "cpu"
# model.to(device)                                   # before the optimiser is made
# batch = {name: value.to(device) for name, value in batch.items()}   # and every batch
#
# scaler = torch.amp.GradScaler("cuda")              # for a GPU: float16 products, float32 weights
# with torch.autocast("cuda", dtype=torch.float16):
#     loss = F.cross_entropy(model(batch), batch["label"])
# scaler.scale(loss).backward()
# scaler.step(optimizer)
# scaler.update()
#
# from torch.utils.tensorboard import SummaryWriter  # pip install tensorboard
# log = SummaryWriter("runs/first")
# log.add_scalar("loss/validation", loss_value, epoch)
# ```
#
# A model that stays on the CPU while its batches move gives an error at once. With bfloat16 no scaler is needed. Weights & Biases (`pip install wandb`) keeps such a log on a server: `wandb.init()`, then `wandb.log({...})`.
#
# </details>
#
# ## With the library
#
# This page's loops are plain PyTorch but for `Batches`. A folded cell has `DataLoader(TensorDataset(x, y), 64, shuffle=True)` in its place: it shuffles and batches, and a dozen lines learn random labels by heart.

# %% owes="F30" tags=["proof"]
# Random labels learned by heart, in plain PyTorch.
import torch as pt

pt.manual_seed(0)
x, y = pt.randn(256, 20), pt.randint(0, 2, (256,))
model = pt.nn.Sequential(pt.nn.Linear(20, 32), pt.nn.ReLU(), pt.nn.Linear(32, 2))
optimizer = pt.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
loader = pt.utils.data.DataLoader(pt.utils.data.TensorDataset(x, y), 64, shuffle=True)
for _ in range(50):
    for features, label in loader:                            # (64, 20), (64,)
        optimizer.zero_grad()
        pt.nn.functional.cross_entropy(model(features), label).backward()
        pt.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
print("random labels, learned by heart:", (model(x).argmax(dim=1) == y).float().mean().item() > 0.9)

# %% [markdown]
# ## On real data
#
# The same on pictures of MNIST, typed words and recordings of other speakers (`Digits(..., source="mnist-fsdd")`), stored, five seeds:

# %% tags=["proof"]
# The stored runs on real data.
real = stored("08", "real")                                   # python tools/sweep.py 08 real
parts = []
for name, row in real.items():
    parts.append(f"{name} {percent(row['accuracy'])} %")
print("real data: " + ", ".join(parts))

# %% [markdown]
# Early stopping is worth 30 points here, against 11 above.
#
# ## Recap
#
# You can now
#
# 1. **average** over samples, in evaluation mode, and leave every part in the mode in which it was;
# 2. **step** by AdamW: a mean of gradients over the root of a mean of squares, and a decay beside them;
# 3. **search** learning rate and batch size on the validation set before you believe in warm-up, schedule or clipping;
# 4. **resume** with weights, optimiser and both generators, to the last bit;
# 5. **see** overfitting, where the validation loss turns, and compare what helps against it;
# 6. **stop** early with the best weights, NaN or not.
#
# ## Questions
#
# <details><summary>1. Ten samples in batches of 4, 4 and 2. By what factor does a sample of the last batch count for more in the mean of batch means?</summary>
#
# By two: it has a sixth of the result, a third through two. The others have a twelfth.
#
# </details>
# <details><summary>2. In the first step of AdamW every weight moves by about the learning rate, whatever its gradient. Why?</summary>
#
# After the corrections m is the gradient and v its square. One divided by the root of the other is +1 or -1.
#
# </details>
# <details><summary>3. The validation set had wrong labels, too. Why could it choose an epoch all the same?</summary>
#
# Its wrong labels were drawn independently of the training set's: learning those by heart does not help to predict these. What lowers its loss is what both have in common.
#
# </details>
# <details><summary>4. With the whole page: a paper's new optimiser beats AdamW by two points, both at a rate of 0.01. What do you ask for?</summary>
#
# A rate for each that was searched on the validation set, several seeds with an interval, the same number of steps, and a test set that chose nothing.
#
# </details>
# <details><summary>5. With the whole page: after a crash you go on from the best epoch's weights with a new optimiser. What may the loss do, and what would you have had to keep?</summary>
#
# It may jump: the averages begin at zero again, the batches come in another order, the best epoch is not the last one. Keep the last epoch's weights, optimiser, generators, schedule and the stopper's state.
#
# </details>
#
# ## Read more
#
# - D. P. Kingma, J. Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015 (arXiv:1412.6980). The two averages and their correction.
# - I. Loshchilov, F. Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019 (arXiv:1711.05101). Why AdamW is not Adam with L2.
# - L. Prechelt, *Early Stopping: But When?*, in Neural Networks: Tricks of the Trade, 1998. Criteria for stopping, compared.
# - C. Zhang and others, *Understanding deep learning requires rethinking generalization*, ICLR 2017 (arXiv:1611.03530). Networks that fit random labels.
# - P. Goyal and others, *Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour*, 2017 (arXiv:1706.02677). Warm-up and rate by batch size, where they pay.
#
# ## A bet for page 09
#
# A test set has 252 spoken digits, by ten voices. The 95 % interval of a model's accuracy is found twice by drawing from these again and again: once single samples are drawn, once whole voices. How wide is the second?
#
# *Ada says: about twice as wide. The samples of one voice succeed and fail together.* *Ben says: wider by a third at most; 252 samples are 252 samples.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("08.c", None)
guesses("08")
