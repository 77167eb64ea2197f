# %% [markdown]
# # What does each modality feel?
#
# Fusion decides which gradient each modality gets. Here you send gradients back through a glue, a gate and a product of experts, and then follow them through a training in which one modality learns faster than the other.
#
# *About {minutes} minutes. You need pages 12, 13, 21 and 22.*

# %% [markdown]
# ## In this notebook you will
#
# 1. see on three small graphs what each modality gets, number by number;
# 2. build the way back through a gate, with the path through the gate;
# 3. follow a weaker modality's share of the gradient through a training, and settle a bet;
# 4. try what balancing brings, at a short and at a long budget, against tuned baselines;
# 5. build the way back through a product of experts, its prior counted once;
# 6. train, if you like, a network of three modalities with your two functions, beside autograd.

# %% tags=["imports", "measured"]
# Imports.
import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils import plots
from course_utils.audio import band_features
from course_utils.datasets import MODALITIES, Digits, Gates, collate, store
from course_utils.exercises import check, mine
from course_utils.gradients import compare, linear_backward, verify_gradient
from course_utils.image import pixel_features
from course_utils.metrics import accuracy, mean_interval, percent
from course_utils.report import guess, guesses, outcome, report
from course_utils.rooms import stored
from course_utils.text import letter_features

# %% tags=["figure"]
# A graph with values and gradients on its wires, and the first of three.
ENDS = {"text": (0, 3, "text"), "image": (0, 0, "image")}
def graph(boxes, wires, caption, height=2.6):
    """`boxes`: name to (across, up, color). `wires`: (from, to) to (value, gradient, place)."""
    figure, ax = plots.axes(width=7.8, height=height)
    ax.axis((-0.8, 10.4, -0.6, 3.6))
    ax.set_axis_off()
    for (start, end), (value, back, place) in wires.items():
        x0, y0, x1, y1 = *boxes[start][:2], *boxes[end][:2]
        line = {"arrowstyle": "-|>", "color": plots.INK, "shrinkA": 20, "shrinkB": 20}
        ax.annotate("", (x1, y1), (x0, y0), arrowprops=line)
        x, y, slope = x0 + place * (x1 - x0), y0 + place * (y1 - y0), abs((y1 - y0) / (x1 - x0))
        lift = 0.12 + slope * max(0.12, 0.06 * len(value))     # long words clear a steep wire
        over = {"ha": "center", "bbox": {"fc": "white", "ec": "none", "pad": 0.6}}
        ax.text(x, y + lift, value, va="bottom", color=plots.INK, **over)
        ax.text(x, y - lift, back, va="top", color="#B3123F", fontweight="bold", **over)
    for name, (x, y, color) in boxes.items():
        box = {"boxstyle": "round,pad=0.4", "fc": "white", "ec": plots.COLORS[color]}
        ax.text(x, y, name, ha="center", va="center", bbox=box, zorder=3)
    plots.show(figure, caption)
graph(ENDS | {"glue": (3.2, 1.5, "control"), "head": (6.2, 1.5, "fused"),
              "loss": (9.4, 1.5, "control")},
      {("text", "glue"): ("1", "-1", 0.5), ("image", "glue"): ("2", "½", 0.5),
       ("glue", "head"): ("1, 2", "-1, ½", 0.5), ("head", "loss"): ("1, 1", "-½, ½", 0.5)},
      "The glue. Above each wire its value, below it, bold and red, the gradient that comes back.")

# %% [markdown]
# ## The glue: one residual for both
#
# A text of one number and an image of one, glued, and a head of two classes; class 0 is true. This is page 22's layer, on the smallest numbers. Work out what each modality gets before you run the cell.

# %%
W = {"text": torch.tensor([[3.0], [1.0]]), "image": torch.tensor([[-1.0], [0.0]])}   # (C, D_m)
h = {"text": torch.tensor([1.0]), "image": torch.tensor([2.0])}
logits = W["text"] @ h["text"] + W["image"] @ h["image"]                 # (2,)
residual = logits.softmax(dim=0) - torch.tensor([1.0, 0.0])              # page 21: p - y
print("logits", logits.tolist(), "  residual", residual.tolist())
for name in h:
    print(f"{name} gets", (residual @ W[name]).tolist())

# %% [markdown] owes="F93"
# The residual is computed once, from *all* that was said, and each modality reads it through its own columns of the head. For a batch, $R = (P - Y)/B$:
#
# $$ d_{H^m} = R\, W^m, \qquad \text{the same } R \text{ for every } m \tag{23.1} $$
#
# This does not say how well *it* did, only what is still wrong when all have spoken. Keep this for the bet.
#
# A warning about sizes. Measure the image in other units: ten times the number, a tenth of the weight.

# %%
W["image"], h["image"] = W["image"] / 10, h["image"] * 10
again = W["text"] @ h["text"] + W["image"] @ h["image"]
residual = again.softmax(dim=0) - torch.tensor([1.0, 0.0])
print("logits", again.tolist(), "  residual", residual.tolist())
for name in h:
    print(f"{name} gets", [round(value, 3) for value in (residual @ W[name]).tolist()])
W["image"], h["image"] = W["image"] * 10, h["image"] / 10

# %% tags=["proof"]
# (23.1) on random numbers.
def glue_loss(text, image, W_text, W_image):
    return F.cross_entropy(text @ W_text.T + image @ W_image.T, torch.tensor([0, 2, 1]))

def glue_by_hand(text, image, W_text, W_image):
    R = (text @ W_text.T + image @ W_image.T).softmax(dim=1) - torch.eye(3)[[0, 2, 1]]
    R = R / 3                                                            # (B, C)
    return R @ W_text, R @ W_image, R.T @ text, R.T @ image

verify_gradient("23.1", glue_loss, glue_by_hand, (3, 2), (3, 4), (3, 2), (3, 4))

# %% [markdown]
# The same predictions and residual, but the image gets a tenth. A gradient's size depends on units. It does not tell how much a modality matters.
#
# ## The gate: two paths
#
# Page 13's gate, with the values themselves as its inputs: $z = \sigma(s)$, $s = U\,[t; i] + c$, and $h = z \odot t + (1 - z) \odot i$, for text $t$ and image $i$. Numbers: $t = 3$, $i = -1$, $U = (1, 3)$, $c = 0$, and $h$ gets the gradient 1. First without theory: push each by a hundred-thousandth.

# %%
def gate_out(t, i):
    z = torch.sigmoid(1 * t + 3 * i)
    return z * t + (1 - z) * i

t, i, step = torch.tensor(3.0).double(), torch.tensor(-1.0).double(), 1e-5
pushed = {"text": (gate_out(t + step, i) - gate_out(t - step, i)).item() / (2 * step),
          "image": (gate_out(t, i + step) - gate_out(t, i - step)).item() / (2 * step)}
print("out", gate_out(t, i).item())
print("pushed:", {name: round(value, 4) for name, value in pushed.items()})

# %% [markdown]
# Here is a common mistake. Somebody takes the gate for a number, as a weight that was fixed by hand would be:

# %% tags=["fault"]
t, i = torch.tensor(3.0, requires_grad=True), torch.tensor(-1.0, requires_grad=True)
z = torch.sigmoid(1 * t + 3 * i).detach()
(z * t + (1 - z) * i).backward()
print("text gets", t.grad.item(), "  image gets", i.grad.item())
print("the same as pushed:", abs(t.grad.item() - pushed["text"]) < 1e-3)

# %% [markdown]
# Nothing raises. But the gate's weights get no gradient, and each modality misses a part, here the larger one. Mended:

# %%
t, i = torch.tensor(3.0, requires_grad=True), torch.tensor(-1.0, requires_grad=True)
z = torch.sigmoid(1 * t + 3 * i)
(z * t + (1 - z) * i).backward()
print("text gets", t.grad.item(), "  image gets", i.grad.item())
print("the same as pushed:", abs(t.grad.item() - pushed["text"]) < 1e-3)

# %% tags=["figure"]
# The gate's graph.
graph(ENDS | {"score s": (3.2, 1.5, "control"), "gate z": (5.8, 1.5, "fused"),
              "out h": (9.4, 1.5, "fused")},
      {("text", "score s"): ("3", "1", 0.42), ("image", "score s"): ("-1", "3", 0.42),
       ("score s", "gate z"): ("0", "1", 0.5), ("gate z", "out h"): ("½", "4", 0.32),
       ("text", "out h"): ("3", "½", 0.4), ("image", "out h"): ("-1", "½", 0.4)},
      "The gate. Each modality has two ways to the result: itself, times its gate, and through the"
      " score. What comes back on both is added: text ½ + 1, image ½ + 3.", height=3.0)

# %% [markdown] tags=["derivation"]
# Now paper. Differentiate $h = z\,t + (1 - z)\,i$ with respect to $z$, then $z = \sigma(s)$ with respect to $s$, and go on through the linear layer. Add what meets at $t$ and at $i$.
#
# <details><summary>Compare with your lines</summary>
#
# $\partial h / \partial z = t - i$, and the sigmoid's slope is $z(1 - z)$ (page 22). So
#
# $d_s = d_h \odot (t - i) \odot z \odot (1 - z)$. Directly, the text gets $z \odot d_h$ and the image $(1 - z) \odot d_h$. Through the gate both get their columns of $d_s U$.
#
# Here: $d_s = 1 \cdot 4 \cdot ½ \cdot ½ = 1$; the text gets $½ + 1 \cdot 1$, the image $½ + 1 \cdot 3$.
#
# </details>
#
# > **Exercise 23.1 · Back through a gate** — *8 minutes · core*
# >
# > The way forward was `gate = (torch.cat([text, image], dim=1) @ weight.T + bias).sigmoid()` and `out = gate * text + (1 - gate) * image`. Given `d_out`, return what arrives at text, image, weight and bias.
# >
# > - `d_out`, `text`, `image`, `gate` are `(B, H)`; `weight` is `(H, 2 H)`.
# > - Return `(d_text, d_image, d_weight, d_bias)`: `(B, H)`, `(B, H)`, `(H, 2 H)`, `(H,)`.
# > - The mean's $1/B$ is already in `d_out`. Autograd is refused.

# %% exercise="23.1"
def gate_backward(
    d_out: Tensor, text: Tensor, image: Tensor, gate: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(d_text (B, H), d_image (B, H), d_weight (H, 2 H), d_bias (H,)).

    Example: d_out [[1.0]], text [[3.0]], image [[-1.0]], gate [[0.5]], weight [[1.0, 3.0]] give
    [[1.5]], [[3.5]], [[3.0, -1.0]] and [1.0].
    """
    ### BEGIN SOLUTION
    d_score = d_out * (text - image) * gate * (1 - gate)          # (B, H)
    d_glued = d_score @ weight                                    # (B, H) @ (H, 2 H) -> (B, 2 H)
    through_text, through_image = d_glued.chunk(2, dim=1)         # (B, H) each
    d_text = gate * d_out + through_text
    d_image = (1 - gate) * d_out + through_image
    d_weight = d_score.T @ torch.cat([text, image], dim=1)        # (H, B) @ (B, 2 H)
    return d_text, d_image, d_weight, d_score.sum(dim=0)
    ### END SOLUTION

# %% [markdown] hints="23.1"
# <details><summary>A question that helps</summary>
#
# In how many places of the way forward does `text` stand?
#
# </details>
# <details><summary>The idea in words</summary>
#
# First the score: what the gate gets is $d_h (t - i)$, times the sigmoid's slope. From there it is page 22's layer: the weight gets `d_score.T @ glued`, the glued values `d_score @ weight`, cut in half. To each half add the direct part.
#
# </details>
# <details><summary>If you see "both modalities are given the same"</summary>
#
# The direct part of the image is $(1 - z)$ times what came. And `d_score @ weight` has `2 H` columns: the first half is the text's.
#
# </details>

# %%
gate_backward = mine("23.1", gate_backward)

def gate_forward(text, image, weight, bias):
    gate = (torch.cat([text, image], dim=1) @ weight.T + bias).sigmoid()          # (B, H)
    return gate, gate * text + (1 - gate) * image

def gate_loss(*inputs):
    return (gate_forward(*inputs)[1] ** 2).sum() / 2                     # so d_out is the result

def gate_by_hand(text, image, weight, bias):
    gate, out = gate_forward(text, image, weight, bias)
    return gate_backward(out, text, image, gate, weight)

verify_gradient("23.2", gate_loss, gate_by_hand, (4, 3), (4, 3), (3, 6), (3,))

# %% [markdown]
# Together, with $d_s = d_h \odot (t - i) \odot z \odot (1 - z)$ and $(\cdot)_t$ for the text's columns:
#
# $$ d_t = z \odot d_h + (d_s U)_t, \qquad d_i = (1 - z) \odot d_h + (d_s U)_i \tag{23.2} $$
#
# Where $t = i$ the gate gets nothing: it does not matter who passes. At $z = 0$ or $1$ it gets nothing either.
#
# ## The bet of page 22: the weaker one's share
#
# Two modalities, glued in front of one head. By (23.1) both get the same residual. We follow them through a training, in two worlds:
#
# - **gates**: the text carries the label's bit, in 8 noisy numbers, with 10 % flips. The image hides the *parity* of three bits (page 13) in 24 numbers, with 2 % flips. So the image knows more, but it is the harder one to learn. (The best rule has 89.8 % from the text, 97.4 from the image and 97.7 from both: here fusion can win next to nothing, and may lose.)
# - **digits**: the typed word as letter counts, and the noisy scan. Alone, the image is the weaker.
#
# Each modality has an encoder, text one hidden layer, image two, both 32 wide. Plain descent with momentum (page 08), batches of 64. The **share** of a modality is the length of its encoder's gradient, divided by the sum of both lengths. Lengths depend on units and on the number of weights, so a weaker modality may begin with more than half: follow the change, not the level.

# %% tags=["measured", "proof"]
# Two worlds, each as five samples at once: {name: (5, N, D_m)} and labels (5, N).
SPLITS, PAIR = ("train", "validation", "test"), ("text", "image")

def gates(split, seed):
    """An easy bit as text, the parity of three bits as image; 4,000, 2,000 and 4,000 samples."""
    n, draw = {"train": (4000, 0), "validation": (2000, 10), "test": (4000, 20)}[split]
    easy = Gates("unique", flips=0.1).sample(n, 1000 + draw + seed)
    hard = Gates("parity", flips=0.02).sample(n, draw + seed)
    turn = torch.where(easy["label"] == hard["label"], 1.0, -1.0)[:, None]       # (n, 1)
    image = torch.cat([hard[m] for m in MODALITIES], dim=1)              # 3 of (n, 8) -> (n, 24)
    return {"text": turn * easy["text"], "image": image, "label": hard["label"]}

def digits(split, seed, **options):
    batch = collate(list(Digits(split, seed=seed, **options)))
    return {"text": letter_features(batch["text"], batch["mask"]["text"]),       # (N, 78)
            "image": pixel_features(batch["image"]),                     # (N, pixels)
            "audio": band_features(batch["audio"], batch["mask"]["audio"]),      # (N, 256)
            "label": batch["label"]}

# %% tags=["measured", "proof"]
# Five samples at once, and the columns of digits in one unit.
def world(load, seeds=range(5), **options):
    """{split: {name: (5, N, D_m)}}; columns of digits with the training set's mean 0, spread 1."""
    data = {}
    for split in SPLITS:
        parts = [load(split, seed, **options) for seed in seeds]
        data[split] = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
    for name in () if load is gates else MODALITIES:
        mean = data["train"][name].mean(dim=1, keepdim=True)             # (5, 1, D_m)
        spread = data["train"][name].std(dim=1, keepdim=True).clamp(min=0.1)
        for split in SPLITS:
            data[split][name] = (data[split][name] - mean) / spread
    return data

# %% tags=["measured", "proof"]
# Five networks at once, one a seed: all weights have a leading axis of 5.
def network(train_set, seed=0, width=32):
    generator, net = torch.Generator().manual_seed(seed), {}
    runs, classes = len(train_set["label"]), int(train_set["label"].max()) + 1
    for m, hidden in (("text", ()), ("image", (64,))):
        widths = [train_set[m].shape[-1], *hidden, width]
        for layer, (d_in, d_out) in enumerate(zip(widths, widths[1:])):
            random = torch.randn(runs, d_out, d_in, generator=generator)
            net[f"{m} {layer}"] = random * (2 / d_in) ** 0.5
            net[f"{m} {layer} bias"] = torch.zeros(runs, 1, d_out)
        random = torch.randn(runs, classes, width, generator=generator)
        net[f"head {m}"] = random * (0.5 / width) ** 0.5
    net["head bias"] = torch.zeros(runs, 1, classes)
    return {name: weight.requires_grad_() for name, weight in net.items()}

def spoken(net, rows, names):
    """What each modality adds to the logits: {name: (5, B, C)}."""
    found = {}
    for m in names:
        x, layer = rows[m], 0
        while f"{m} {layer}" in net:
            x = (x @ net[f"{m} {layer}"].mT + net[f"{m} {layer} bias"]).relu()
            layer += 1
        found[m] = x @ net[f"head {m}"].mT                               # (5, B, 32) -> (5, B, C)
    return found

# %% tags=["measured", "proof"]
# The ways to train: which residual reaches which encoder.
def cross_entropies(logits, labels):
    """One loss a run: (5, B, C), (5, B) -> (5,)."""
    return F.cross_entropy(logits.mT, labels, reduction="none").mean(dim=1)

def losses(way, parts, bias, labels):
    """Each run's loss (5,). "own residual": every modality by its own loss, none shared."""
    alone = sum(cross_entropies(part + bias, labels) for part in parts.values())
    if way == "own residual":
        return alone
    together = cross_entropies(sum(parts.values()) + bias, labels)
    return together + alone if way == "unimodal losses" else together

# %% tags=["measured", "proof"]
# Training; every 50 steps what is asked of it.
def train(data, way, rate, steps=1500, decay=0.0, make=torch.optim.SGD, change=None, seed=0):
    """A record for every 50 steps; `way` as in `losses`, or a modality; `change` may change d."""
    net, names = network(data["train"], seed), (way,) if way in PAIR else PAIR
    momentum = {"momentum": 0.9} if make is torch.optim.SGD else {}
    optimizer = make(net.values(), lr=rate, weight_decay=decay, **momentum)
    generator, lengths, records = torch.Generator().manual_seed(seed + 1), [], []
    runs, n = data["train"]["label"].shape
    for step in range(1, steps + 1):
        picked = torch.randint(n, (runs, 64), generator=generator)
        rows = {m: x[torch.arange(runs)[:, None], picked] for m, x in data["train"].items()}
        if way.endswith(" shuffled"):
            rows = mixed(rows, way.split()[0], generator)
        parts = spoken(net, rows, names)
        optimizer.zero_grad()
        losses(way, parts, net["head bias"], rows["label"]).sum().backward()
        lengths.append({m: length(net, m) for m in names})
        if change:
            change(net, parts, rows["label"])
        optimizer.step()
        if step % 50 == 0:
            mean = {m: torch.stack([one[m] for one in lengths[-50:]]).mean(dim=0) for m in names}
            records.append({"step": step, "length": mean} | asked(net, data, names))
    return records

# %% tags=["measured", "proof"]
# What `train` calls.
def mixed(rows, name, generator):
    """The batch with this modality dealt out anew among its samples."""
    order = torch.randperm(rows[name].shape[1], generator=generator)
    return rows | {name: rows[name][:, order]}

def length(net, m):
    """The length of the gradient of a modality's encoder, in each run: (5,)."""
    return sum((w.grad**2).sum(dim=(1, 2)) for name, w in net.items() if name.startswith(m)).sqrt()

# %% tags=["measured", "proof"]
# And what it asks every 50 steps.
@torch.no_grad()
def asked(net, data, names):
    """Validation loss and test accuracy in each run, and the accuracy of the image's part."""
    found = {}
    for split in ("validation", "test"):
        parts, labels = spoken(net, data[split], names), data[split]["label"]
        logits = sum(parts.values()) + net["head bias"]                  # (5, N, C)
        found[split] = cross_entropies(logits, labels)
        found[f"{split} accuracy"] = (logits.argmax(dim=2) == labels).double().mean(dim=1)
    if "image" in parts:
        alone = (parts["image"] + net["head bias"]).argmax(dim=2)
        found["image part"] = (alone == labels).double().mean(dim=1)
    return found

# %%
gates_world, digits_world = world(gates), world(digits)
live = train(gates_world, "joint", rate=0.02, steps=300)
share = [record["length"]["image"] / (record["length"]["image"] + record["length"]["text"])
         for record in live]                                             # a share for each seed
for record, one in zip(live, share):
    print(f"steps up to {record['step']:3}: the image's share", *(f"{x:.2f}" for x in one))
report("gates, test accuracy after 300 steps", 100 * live[-1]["test accuracy"].mean().item(),
       near=94, within=1.5, unit="%")

# %% tags=["figure"]
# Shares, lengths, accuracies by step, as stored; and a row of the tables below.
paths = stored("23", "paths")                                 # tools/sweep.py 23 paths
def curve(name, key):
    return torch.tensor(paths[name][key]) * (1 if key == "pull" else 100)     # (30, 5)
def shown(row, joint):
    """Accuracies after 300 and 1,500 steps, and what they have more than the joint training."""
    found = [percent(one) for one in row] + [percent(a, minus=b) for a, b in zip(row, joint)]
    return "".join(f"{one:>13}" for one in found)
steps = range(50, 1501, 50)
figure, panels = plots.axes(width=8.6, height=5.0, columns=3, rows=2)
for line_of, kind in zip(panels, ("gates", "digits")):
    line_of[0].plot(steps, curve(f"{kind}: joint", "share"), color=plots.COLORS["image"], lw=1)
    for way, color, line in (("joint", "fused", "-"), ("own residual", "image", "--"),
                             ("text shuffled", "control", "-.")):
        for ax, key in zip(line_of[1:], ("pull", "curve")):
            if key == "pull" or way != "text shuffled":
                ax.plot(steps, curve(f"{kind}: {way}", key).mean(dim=1), line, label=way,
                        color=plots.COLORS[color], lw=1.8)
    for ax, name in zip(line_of, ("image's share (%)", "gradient length", "test accuracy (%)")):
        ax.set_title(f"{kind}: {name}", fontsize=10)
        ax.set_xlabel("step")
panels[0][1].legend(frameon=False, fontsize=8)
plots.show(figure, "Left: the image's share in the joint training, five seeds. Middle: the length"
           " of its encoder's gradient; right: test accuracy; both are means of five seeds.")

# %%
outcome("22.c", "Ben")
for kind in ("gates", "digits"):
    for way in ("joint", "text shuffled", "image shuffled", "image times 10"):
        start, end = (mean_interval(100 * torch.tensor(paths[f"{kind}: {way}"]["share"][place]))
                      for place in (0, -1))
        print(f"{kind:7} {way:15} image's share, first 50 steps {start[0]:.0f} ± {start[1]:.0f} %,"
              f"  last 50 {end[0]:.0f} ± {end[1]:.0f} %")
long = [sum(paths[f"gates: {way}"]["pull"][1]) / 5 for way in ("joint", "text shuffled")]
print("gates, steps 51 to 100, gradient's length: joint {:.2f}, text shuffled {:.2f}".format(*long))
first, *_, last = paths["digits: image times 10"]["share"]
print("digits, image times 10: the share falls in", sum(b < a for a, b in zip(first, last)), "of 5")

# %% [markdown]
# The share grows, in every run of both worlds: Ben. Two controls: with the image dealt out anew among the samples, so that it explains nothing, its share *falls*; with the text dealt out anew it grows to more. So Ben's reason is not needed: the share grows even where the text has explained nothing.
#
# And units? With the image's numbers ten times as large the share still grows in gates, but in digits it *falls* in four of five runs. There the bet is settled for one choice of units only.
#
# But Ada saw something, too. Look at the middle: the length itself. In gates, up to step 100, it is 0.12 in the joint training, and 0.27 where the text is shuffled, with the same network and the same samples. What the text has explained is missing from the residual, and the image gets nothing else. The share grows all the same: it compares with the text's length, and that shrinks.
#
# ## One shared residual
#
# Is it the *shared* residual? Change that alone. In "own residual" each modality gets the residual of its own loss, $p_m - y$ instead of $p - y$. The answer is still the sum.

# %%
print("test accuracy in %, one rate     300 steps  1,500 steps      minus joint, at both")
for kind, way in [(kind, way) for kind in ("gates", "digits")
                  for way in ("text", "image", "joint", "own residual", "image shuffled")]:
    row, joint = ([*paths[f"{kind}: {one}"]["accuracy"].values()] for one in (way, "joint"))
    print(f"{kind:7} {way:20}", shown(row, joint))
for rate in (0.01, 0.04):
    one, other = (paths[f"gates, rate {rate}: {way}"]["accuracy"] for way in ("image", "joint"))
    print(f"gates, rate {rate}, 300 steps: image minus joint",
          percent(one["300"], minus=other["300"]))

# %% [markdown]
# - **gates, 300 steps**: the joint network sees the image and more, and is 1.7 ± 1.4 points *worse* than the image alone. This is **modality competition** (模态竞争): beside the easy modality the other one learns more slowly. With own residuals the length is back, and the lead is 2.0 ± 1.2 over the joint training.
# - **gates, 1,500 steps**: joint and image alone are level, a difference of 0.0 ± 0.5. So most of it was **under-training** (训练不足), a delay. A larger step makes up for the shorter gradient: within the same 300 steps the gap is 4.6 ± 1.2 at half the rate, and at twice the rate the joint training has a lead of 0.2 ± 0.5. Not all is delay: own residuals still lead the joint training by 0.8 ± 0.3.
# - **digits**: fusion helps at once, and still own residuals lead by 4.4 ± 0.9 points at 300 steps. At 1,500 nothing is left that five seeds could show, 0.5 ± 2.3.
#
# [Wang and others](https://arxiv.org/abs/1905.12681) saw joint networks lose to the best single modality; [Huang and others](https://arxiv.org/abs/2203.12221) prove for a simple network that only some modalities are learned. A **greedy** (贪心) learner takes first what is quickest to learn. In gates it is mostly rate and time: ask for both first.
#
# And what does the share say? Not who is neglected: in gates the image has 80 to 87 % of the gradient in the last 50 of 300 steps, and the joint network is still behind. Not how much a modality matters: other units, another share.
#
# ## What balancing brings
#
# **OGM** (动态梯度调制) by [Peng and others](https://arxiv.org/abs/2203.15332) slows down who is ahead. On each batch, $\rho$ is the probability that one modality's part of the logits gives to the true classes, summed, over that of the other. The encoder with $\rho > 1$ gets its gradient times $1 - \tanh(\alpha \rho)$. Its head is not slowed. (The paper's whole method, OGM-GE, also adds noise; left out here, so the table does not judge it.) **Unimodal losses** go the other way: beside the joint loss each modality has its own. That is Wang's remedy, with all weights 1.
#
# A fair table tunes everybody. Rate, decay and OGM's $\alpha$ have the lowest mean loss on the validation sets, each run stops at its best of the validations.

# %%
tuned = {kind: stored("23", f"tuned_{kind}") for kind in ("gates", "digits")}    # sweep.py 23
print("test accuracy in %, tuned        300 steps  1,500 steps      minus joint, at both")
for kind, way in [(kind, way) for kind in ("gates", "digits") for way in
                  ("text", "image", "joint", "own residual", "unimodal losses", "OGM",
                   "text shuffled", "image shuffled")]:
    row, joint = ([tuned[kind][f"{budget}: {one}"]["accuracy"] for budget in ("short", "long")]
                  for one in (way, "joint"))
    print(f"{kind:7} {way:20}", shown(row, joint))
for way in ("OGM", "OGM turned"):
    one, other = (paths[f"gates: {name}"]["accuracy"]["300"] for name in (way, "joint"))
    print(f"gates, the old rate, 300 steps: {way} minus joint", percent(one, minus=other))

# %% [markdown]
# - **gates**: the leads of 300 steps are gone. Joint training and image alone are level within 300 steps, 0.0 ± 0.5. Within 1,500 the joint training stays 0.5 ± 0.4 *below* the image alone. Over the joint training only unimodal losses are clear of 0, by 0.3 ± 0.2 within 1,500.
# - **digits**: within 300 steps own residuals keep 2.0 ± 1.3 points, and OGM has 0.5 ± 0.4. Within 1,500 no interval is clear of 0.
# - **OGM turned round**, slowing who is behind, costs 4.1 ± 1.4 points in gates at the old rate, where $\alpha$ is 0.5. So its factor acts; the right way round it brought -0.2 ± 0.4 there.
#
# So most of what balancing brought at one rate, a tuned rate brings as well.
#
# <details><summary>At the edge of the grids</summary>
#
# The lowest rate for the joint training and OGM on gates at the long budget; the lowest decay for text, joint and OGM on digits; OGM's $\alpha$ nearly always the smaller.
#
# </details>

# %% [markdown]
# ## The other strategies
#
# The same three moves give each row: multiply along a way, add where ways meet, cut what was glued. $d$ is what reaches the fused result. The package has a tested function for each row but the last (`course_utils.gradients`).
#
# <details><summary>Eleven ways to fuse, and what each modality gets</summary>
#
# | what comes out | what each modality gets | in words |
# |---|---|---|
# | $t + i$; their mean | $d$; $d / 2$ | a sum does not know who brought what |
# | $W t + V i$ | $W^\top d$ and $V^\top d$ | no modality changes what the other gets |
# | $\max(t, i)$ | $d$ where it wins, half at a tie | the loser could move and change nothing |
# | $t \odot i$ | $d \odot i$ and $d \odot t$ | the other is the factor; where it is 0, nothing comes |
# | $\operatorname{vec}([t; 1]\,[i; 1]^\top)$ | $D\,[i; 1]$, with $d$ as a matrix $D$ | the 1 lets something through beside zeros |
# | $\sum_r$ of products, low rank | $d$ times the product of the others, through its own matrix | the product, R times |
# | $(1 + \gamma) \odot t + \beta$, FiLM | $t$: $(1 + \gamma) \odot d$; condition: $d \odot t$ by $\gamma$ and $d$ by $\beta$ | the condition's gradient is in units of $t$ |
# | mean of the heads' logits | $(p - y) / 2$ through its own head | the error is that of the mean |
# | log of the mean of probabilities | $r_m\,(p_m - y)$, $r_m$ its part of the true class's probability | who was right is asked more |
# | weights $a = \operatorname{softmax}(s)$: $\sum_m a_m h_m$ | $a_m\, d$; the scores by (23.3) | passes less forward, passes less back |
# | a weighted sum of losses | see (22.7) | scaled at the source, added where ways meet |
#
# </details>
#
# Weights that compete have one line of their own. With $g_m = \langle h_m, d \rangle$, page 21's softmax (21.5) gives
#
# $$ d_{s_m} = a_m \Big( g_m - \sum_k a_k\, g_k \Big) \tag{23.3} $$
#
# The gate of (23.2) is this line for two: $z(1 - z)(t - i)$ is $z\,(t - out)$.

# %% tags=["proof"]
# (23.3) on random numbers.
def weighted_loss(t, i, s):
    a = s.softmax(dim=0)
    return ((a[0] * t + a[1] * i) ** 2).sum() / 2

def weighted_by_hand(t, i, s):
    a = s.softmax(dim=0)
    d = a[0] * t + a[1] * i
    g = torch.stack([(t * d).sum(), (i * d).sum()])
    return a[0] * d, a[1] * d, a * (g - (a * g).sum())

verify_gradient("23.3", weighted_loss, weighted_by_hand, (4, 3), (4, 3), (2,))

# %% [markdown]
# ## Product of experts: the prior once
#
# Page 12's product, on two experts and two classes. Both say half and half, of something that comes in one case out of five. By (12.6) their product says 0.8 for the rare class: one half is much more than a fifth, and two say so. The common class is true. What do the experts and the prior get?

# %%
said = torch.tensor([[0.0, 0.0], [0.0, 0.0]]).double().requires_grad_()          # logits (M, C)
log_prior = torch.tensor([0.2, 0.8]).double().log().requires_grad_()             # (C,)
total = log_prior + (said.log_softmax(dim=1) - log_prior).sum(dim=0)             # (C,)
print("the product says", [round(value, 2) for value in total.softmax(dim=0).tolist()])
F.cross_entropy(total, torch.tensor(1)).backward()
for name, felt in zip(("text", "image", "prior"), (*said.grad, log_prior.grad)):
    print(f"{name:5} gets", [round(value, 2) + 0.0 for value in felt.tolist()])

# %% tags=["figure"]
# The product's graph.
graph(ENDS | {"prior": (0, 1.5, "control"), "sum": (5.0, 1.5, "fused"),
              "loss": (9.4, 1.5, "control")},
      {("text", "sum"): ("log ½, log ½", ".8, -.8", 0.3),
       ("prior", "sum"): ("log .2, log .8, times -1", "-.8, .8", 0.42),
       ("image", "sum"): ("log ½, log ½", ".8, -.8", 0.3),
       ("sum", "loss"): ("p = .8, .2", ".8, -.8", 0.5)},
      "The product. Each expert's logarithm goes into the sum once, the prior's 1 - 2 times: what"
      " it gets is the residual, turned round.", height=3.0)

# %% [markdown]
# Both get $p - y$ of the *product*: 0.8 and -0.8, though each alone has said one half. Why nothing of the expert's own softmax? An expert with the logits $o_m$ gives $\log p_m = o_m - \operatorname{logsumexp}(o_m)$. On the way back that is $d - p_m \sum_c d_c$, and the residual's entries sum to 0. The prior stands in the sum once for itself and minus once for each expert who is there. With $K_n$ experts in row $n$:
#
# $$ d_{o_{nm}} = R_n \ \text{ if } m \text{ is there, else } 0, \qquad d_{\log p_0} = \sum_n (1 - K_n)\, R_n, \qquad R = (P - Y) / B \tag{23.4} $$
#
# One residual again. Trained together, experts are the glue of (23.1): page 12's product, whose experts learn alone, is the row "own residual" of the tables above, and page 19's, trained as one model, the row "joint".
#
# > **Exercise 23.2 · Back through a product of experts** — *9 minutes · core*
# >
# > From the experts' logits go forward by (12.6) and the mean cross-entropy, and then back.
# >
# > - `logits` is `(B, M, C)`, `log_prior` `(C,)`, `there` `(B, M)` bool, `labels` `(B,)` int64.
# > - Return `(d_logits, d_log_prior)`: `(B, M, C)` and `(C,)`.
# > - Who is not there has no say and gets exactly 0, whatever stands in its place, NaN too. A row with nobody there says the prior, and teaches it.
# > - Autograd is refused.

# %% exercise="23.2"
def experts_backward(
    logits: Tensor, log_prior: Tensor, there: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """(d_logits (B, M, C), d_log_prior (C,)) of the product's mean cross-entropy.

    Example: logits [[[0, 0], [0, 0]]], the logarithms of [0.2, 0.8], both there, labels [1] give
    [[[0.8, -0.8], [0.8, -0.8]]] and [-0.8, 0.8].
    """
    ### BEGIN SOLUTION
    evidence = torch.where(there[..., None], logits.log_softmax(dim=2) - log_prior, 0.0)
    p = (log_prior + evidence.sum(dim=1)).softmax(dim=1)          # (B, M, C) -> (B, C)
    residual = (p - F.one_hot(labels, p.shape[1])) / len(labels)
    d_logits = torch.where(there[..., None], residual[:, None], 0.0)     # -> (B, M, C)
    count = 1 - there.sum(dim=1, keepdim=True)                    # (B, 1): 1 - K
    return d_logits, (count * residual).sum(dim=0)
    ### END SOLUTION

# %% [markdown] hints="23.2"
# <details><summary>A question that helps</summary>
#
# What is $p$ in the residual: one expert's, or the product's? And how often does $\log p_0$ stand in row $n$'s sum?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Forward as on page 12: take the prior out of each expert, choose 0 for who is missing, add, put the prior in once, softmax. Then one residual for each row, handed to all who are there. The prior gets it $1 - K_n$ times, added over the rows.
#
# </details>
# <details><summary>If you get NaN</summary>
#
# Zero times NaN is NaN: choose with `torch.where`, on the way forward and on the way back.
#
# </details>

# %%
experts_backward = mine("23.2", experts_backward)
there, labels = torch.tensor([[True, True], [True, False], [False, False]]), torch.tensor([1, 0, 2])

def experts_loss(logits, log_prior):
    added = torch.where(there[..., None], logits.log_softmax(dim=2) - log_prior, 0.0)
    return F.cross_entropy(log_prior + added.sum(dim=1), labels)

verify_gradient("23.4", experts_loss,
                lambda logits, log_prior: experts_backward(logits, log_prior, there, labels),
                (3, 2, 3), (3,))

# %% [markdown]
# ## More: trained to the end, by hand
#
# *More: the rest of the page does not need it.* Both in one network, on `digits`. Word and picture pass a gate and make one expert; the sound is the other. For every third sample there is no sound. The loss is that of the product.

# %% tags=["measured"]
def forward(net, x):
    """What the way back will ask for, by name."""
    v = {m: (x[m] @ net[m].T + net[f"{m} bias"]).tanh() for m in PAIR}   # (B, 16) each
    glued = torch.cat([v["text"], v["image"]], dim=1)                    # -> (B, 32)
    v["gate"] = (glued @ net["gate"].T + net["gate bias"]).sigmoid()     # -> (B, 16)
    v["seen"] = v["gate"] * v["text"] + (1 - v["gate"]) * v["image"]
    seen = v["seen"] @ net["eye"].T + net["eye bias"]                    # -> (B, 10)
    heard = x["audio"] @ net["ear"].T + net["ear bias"]                  # (B, 256) -> (B, 10)
    v["logits"] = torch.stack([seen, heard], dim=1)                      # -> (B, 2, 10)
    return v

# %% tags=["measured"]
def by_hand(net, x):
    """The gradients of all weights, by your two functions and page 22's layer."""
    d, v = {}, forward(net, x)
    back, d["prior"] = experts_backward(v["logits"], net["prior"], x["there"], x["label"])
    d_seen, d["eye"], d["eye bias"] = linear_backward(back[:, 0], v["seen"], net["eye"])
    _, d["ear"], d["ear bias"] = linear_backward(back[:, 1], x["audio"], net["ear"])
    found = gate_backward(d_seen, v["text"], v["image"], v["gate"], net["gate"])
    d["gate"], d["gate bias"] = found[2:]
    for m, d_value in zip(PAIR, found):
        d_before = d_value * (1 - v[m] ** 2)                             # tanh' = 1 - tanh^2
        _, d[m], d[f"{m} bias"] = linear_backward(d_before, x[m], net[m])
    return d

# %% tags=["measured", "proof"]
# The loss, autograd's gradients, one world's samples, and plain descent.
def product_logits(net, x):
    added = torch.where(x["there"][..., None],
                        forward(net, x)["logits"].log_softmax(dim=2) - net["prior"], 0.0)
    return net["prior"] + added.sum(dim=1)                               # (B, 2, 10) -> (B, 10)

def by_autograd(net, x):
    leaves = {name: weight.clone().requires_grad_() for name, weight in net.items()}
    loss = F.cross_entropy(product_logits(leaves, x), x["label"])
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))

def samples(data, split, seed):
    """One seed's rows in float64; no sound for every third."""
    rows = {m: x[seed] if m == "label" else x[seed].double() for m, x in data[split].items()}
    silent = torch.arange(len(rows["label"])) % 3 == 0
    return rows | {"there": torch.stack([silent | True, ~silent], dim=1)}

# %% tags=["measured", "proof"]
# The training, and the start.
def start(rows, seed):
    generator, net = torch.Generator().manual_seed(seed), {}
    shapes = {"text": (16, rows["text"].shape[1]), "image": (16, rows["image"].shape[1]),
              "gate": (16, 32), "eye": (10, 16), "ear": (10, rows["audio"].shape[1])}
    for name, shape in shapes.items():
        random = torch.randn(shape, generator=generator, dtype=torch.float64)
        net[name], net[f"{name} bias"] = random / shape[1] ** 0.5, random.new_zeros(shape[0])
    return net | {"prior": torch.full((10,), 0.1, dtype=torch.float64).log()}

def descend(gradients_of, rows, seed, epochs=20, rate=0.2):
    """The trained network, and the loss of every step."""
    net, curve_of = start(rows, seed), []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for picked in torch.randperm(len(rows["label"]), generator=generator).split(64):
            x = {m: one[picked] for m, one in rows.items()}
            curve_of.append(F.cross_entropy(product_logits(net, x), x["label"]).item())
            d = gradients_of(net, x)
            net = {name: weight - rate * d[name] for name, weight in net.items()}
    return net, curve_of

# %%
rows = {split: samples(digits_world, split, seed=0) for split in ("train", "test")}
batch = {m: one[:64] for m, one in rows["train"].items()}
untrained = start(rows["train"], seed=0)
found = compare(by_hand(untrained, batch), by_autograd(untrained, batch), tolerance=1e-12)
net, hand_losses = descend(by_hand, rows["train"], seed=0)
_, autograd_losses = descend(by_autograd, rows["train"], seed=0)
apart = max(abs(a - b) for a, b in zip(hand_losses, autograd_losses))
report("largest difference of the two loss curves", apart, near=0, within=1e-10)
right = accuracy(product_logits(net, rows["test"]), rows["test"]["label"])
report("test accuracy of the network trained by hand", 100 * right, near=90, within=4, unit="%")

# %% [markdown]
# Every weight was trained by lines that you derived. Any other fusion goes the same way: draw the graph, multiply along a way, add where ways meet.

# %% [markdown]
# ## With the library
#
# Shares in your own model: after `backward()`, ask each encoder's weights.

# %%
import torch as pt

encoders = pt.nn.ModuleDict({"text": pt.nn.Linear(8, 16), "image": pt.nn.Linear(24, 16)})
head = pt.nn.Linear(32, 2)
text, image, answers = pt.randn(64, 8), pt.randn(64, 24), pt.randint(2, (64,))
glued = pt.cat([encoders["text"](text).relu(), encoders["image"](image).relu()], dim=1)
pt.nn.functional.cross_entropy(head(glued), answers).backward()
lengths = {m: pt.nn.utils.get_total_norm([w.grad for w in part.parameters()])
           for m, part in encoders.items()}
shares = [length / sum(lengths.values()) for length in lengths.values()]
print("the shares sum to", round(sum(shares).item(), 4))

# %% [markdown]
# ## On real data
#
# 5,000 of MNIST's test images with a typed word, the same networks and steps; stored, five seeds.

# %%
mnist = stored("23", "public")                                # tools/sweep.py 23 public
print("test accuracy in %         300 steps  1,500 steps      minus joint, at both")
for way in ("text", "image", "joint", "own residual"):
    row, joint = ([*mnist[one]["accuracy"].values()] for one in (way, "joint"))
    print(f"{way:22}", shown(row, joint))

# %% tags=["real-data", "nbval-ignore-output"]
# Not compared: without the data (18 MB, fetched once) it says how to get them.
if store.have("mnist", "fsdd"):
    public_world = world(digits, seeds=range(1), source="mnist-fsdd")
    again = train(public_world, "joint", rate=0.005, steps=300)
    report("MNIST: live minus stored", again[-1]["test accuracy"].item()
           - mnist["joint"]["accuracy"]["300"][0], 0, within=0.03)

# %% [markdown]
# Here the picture is strong and the word weak. The glue leads from the start, and own residuals add 2.4 ± 0.2 points after 300 steps and still 2.0 ± 0.3 after 1,500, at this one rate, not tuned.
#
# ## Recap
#
# You can now
#
# 1. **read** a graph: what each modality gets is what comes back on all its ways, added;
# 2. **build** the way back through a gate: the direct part, and the part through the score with the sigmoid's slope;
# 3. **follow** a share: it grew in every run; in other units, in digits, it fell in four of five; the weaker modality's gradient was shorter than by its own residual;
# 4. **judge** balancing: tuning takes its lead of 300 steps away in gates, and in digits 2.0 ± 1.3 of 4.4 points stay; tuned, within 1,500 steps, no lead of more than 0.3 points is shown;
# 5. **build** the way back through a product of experts: one residual for all who are there, $1 - K$ times for the prior;
# 6. **train** a network of three modalities with both, on autograd's curve.
#
# ## Questions
#
# <details><summary>1. Why does a gate that is fully open (z = 1) get no gradient?</summary>
#
# The sigmoid's slope $z(1 - z)$ is 0 there. Only an undecided gate learns whether to open or to shut.
#
# </details>
# <details><summary>2. An expert gives the truth a probability of 0.99, the product gives it 0.5. What does this expert's logit of the true class get?</summary>
#
# $0.5 - 1 = -0.5$, over B: the product's residual, not its own -0.01. It has to become surer still, to make up for the others.
#
# </details>
# <details><summary>3. A single expert is there. What does the prior get, and why?</summary>
#
# $1 - K = 0$: the prior is taken out of the expert and put in once, so it cancels.
#
# </details>
# <details><summary>4. Somebody divides the image's features by 10 and multiplies its first weights by 10. What becomes of the share of that layer?</summary>
#
# The predictions stay, and the gradient of these weights is a tenth. The share falls although nothing has changed for the model. It compares units as much as modalities.
#
# </details>
# <details><summary>5. With the whole page: a report says "our balancing brings two points after ten epochs". What do you ask?</summary>
#
# Was the baseline's learning rate tuned as well, at the same budget? Is the lead there at five times the budget? How far is the best single modality? What does the method bring if it is turned round, or a modality is shuffled? Over how many seeds, paired?
#
# </details>
# <details><summary>6. With the whole page: derive what text and image get in <i>h = z t + (1 - z) i</i>, where <i>z</i> is the sigmoid of one number that looks at the text alone.</summary>
#
# Directly $z\,d$ and $(1 - z)\,d$. The score is one number for all entries, so their parts add up: $d_s = z(1 - z) \sum_k d_k (t_k - i_k)$. With $s = u \cdot t$ the text gets $d_s u$ as well. The image gets nothing by the gate, since the gate does not look at it.
#
# </details>
#
# ## Read more
#
# - J. Arevalo and others, *Gated Multimodal Units for Information Fusion*, 2017 (arXiv:1702.01992). The gate of (23.2).
# - W. Wang, D. Tran, M. Feiszli, *What Makes Training Multi-Modal Classification Networks Hard?*, CVPR 2020 (arXiv:1905.12681). Networks of several modalities that lose to one, and losses of their own as a remedy, with weights.
# - X. Peng and others, *Balanced Multimodal Learning via On-the-fly Gradient Modulation*, CVPR 2022 (arXiv:2203.15332). OGM-GE; compare its settings with those of our table.
# - Y. Huang and others, *Modality Competition: What Makes Joint Training of Multi-modal Network Fail in Deep Learning? (Provably)*, ICML 2022 (arXiv:2203.12221). A proof, for a simple network.
#
# ## A bet for page 24
#
# In attention (page 14) a query gives weights to items by a softmax of its scores. In one sample it puts 0.98 of its weight on the wrong item and 0.02 on the right one. The loss is large, and its gradient comes back to the scores.
#
# *Ada says: it is very wrong, so the scores get a strong gradient.* *Ben says: the softmax is saturated, so the scores get almost none.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("23.c", None)
guesses("23")
