# %% [markdown]
# # Can your model leave the notebook?
#
# A model that is right on the test set still has to answer soon, fit where it runs, take what strangers send, and stay right next month. You let easy questions out early, make the model smaller, and start and stop a server and several processes from this page.
#
# *About {minutes} minutes. You need pages 05, 08, 09 and 10: log-mel frames, the training loop, AUC and intervals, features side by side. Page 28 has LoRA, page 31 thresholds.*

# %% [markdown]
# ## In this notebook you will
#
# 1. settle the bet of page 33, and see where the time goes;
# 2. build early exit: easy rows skip the costly modality;
# 3. make the model smaller, and see what "smaller" did not bring;
# 4. export it, serve it to bad requests and many clients, and train, if you like, in several processes;
# 5. build the expected cost of early exit, and put one task into one table;
# 6. watch it in use: drift and, if you like, membership and groups.

# %% tags=["measured", "imports"]
# Imports.
import copy
import math
import statistics
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune

from course_utils import plots
from course_utils.audio import mel_filters
from course_utils.audio_encoder import load_audio_encoder
from course_utils.datasets import Digits
from course_utils.exercises import check, mine
from course_utils.metrics import mean_interval, percent
from course_utils.progress import show_guesses
from course_utils.report import guess, guesses, made_guesses, outcome, passport, report, verify
from course_utils.rooms import load, room, stored
from course_utils.runtime import seed_everything

warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch 2.11, on loading

# %% tags=["measured", "proof"]
# Data: typed words, noisy sounds, labels. The sounds' frames are computed once.
files = load("34", "model")                                    # model.py in this page's room
log_mel = files.LogMel(mel_filters())

@torch.no_grad()
def digits(split, seed=0):
    """Tensors by name: letters (N, 12), sound (N, 8000), samples (N,), frames, heard, label."""
    data = Digits(split, seed=seed)
    items = [data[i] for i in range(len(data))]
    samples = torch.tensor([len(item["audio"]) for item in items])
    sound = torch.zeros(len(items), files.SAMPLES)
    for row, item in zip(sound, items):
        row[: len(item["audio"])] = item["audio"]
    parts = [log_mel(*both) for both in zip(sound.split(64), samples.split(64))]
    frames, heard = map(torch.cat, zip(*parts))                # (N, T, 40), (N, T)
    letters = torch.tensor([files.spell(str(item["text"])) for item in items])
    part = {name: torch.tensor([item[name] for item in items]) for name in ("label", "voice")}
    inputs = {"letters": letters, "sound": sound, "samples": samples}
    return part | inputs | {"frames": frames, "heard": heard}

# %% tags=["measured", "proof"]
# The cheap model; LoRA; rows that lose their word or their sound.
class Cheap(nn.Module):
    """The typed word alone: (B, 12) -> (B, 10)."""
    def __init__(self, width=64):
        super().__init__()
        self.typed, self.head = files.Typed(width), nn.Linear(width, 10)
    def forward(self, letters):
        return self.head(self.typed(letters))

class Beside(nn.Module):
    """Page 28's LoRA on a weight of any shape, taken as (out, rest)."""
    def __init__(self, weight, rank=4):
        super().__init__()
        rest = weight[0].numel()
        self.A = nn.Parameter(torch.randn(rank, rest) / rest**0.5)
        self.B = nn.Parameter(torch.zeros(len(weight), rank))
    def forward(self, weight):
        return weight + (self.B @ self.A).view_as(weight)

def left_out(part, draw, share=0.2):
    """Some rows lose their word, others their sound, so that either may be missing in use."""
    chance = torch.rand(len(part["label"]), generator=draw)[:, None]
    letters = part["letters"].masked_fill(chance < share, 0)
    return part | {"letters": letters, "heard": part["heard"] & (chance <= 1 - share)}

# %% tags=["measured", "proof"]
# One of six models, untrained.
def make(kind, seed):
    seed_everything(seed)
    if kind == "typed word":
        return Cheap()
    model = files.Model(mel_filters())
    if kind != "from nothing":                                 # the course's encoder for sounds
        model.heard.load_state_dict(load_audio_encoder(cache=False).body.state_dict())
    model.heard.requires_grad_(kind in ("all", "from nothing"))
    if kind == "LoRA":
        for layer in model.heard.layers:
            parametrize.register_parametrization(layer, "weight", Beside(layer.weight))
    return model

EPOCHS = {"typed word": 30, "from nothing": 10}                # the others: 5
RATES = {"all": (3e-4, 1e-3, 3e-3, 1e-2), "LoRA": (2e-3, 5e-3, 1e-2)}  # others: 3e-3, 1e-2, 3e-2

def logits(model, part):
    if isinstance(model, Cheap):
        return model(part["letters"])
    return model.fuse(part["letters"], part["frames"], part["heard"])

# %% tags=["measured", "proof"]
# Training; the epoch with the lowest validation loss is kept.
def fit(kind, part, held, seed, rate, alone=False):
    """A trained model and its validation loss. `alone`: the sound alone."""
    model, draw = make(kind, seed), torch.Generator().manual_seed(seed)
    free = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=rate, weight_decay=0.1)
    epochs, best = EPOCHS.get(kind, 5), (math.inf, None)
    steps = epochs * math.ceil(len(part["label"]) / 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(part["label"]), generator=draw).split(64):
            few = {name: part[name][rows] for name in ("letters", "frames", "heard", "label")}
            few = few if alone or kind == "typed word" else left_out(few, draw)
            loss = F.cross_entropy(logits(model, few), few["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            loss = F.cross_entropy(logits(model, held), held["label"]).item()
        best = min(best, (loss, copy.deepcopy(model.state_dict())), key=lambda pair: pair[0])
    model.load_state_dict(best[1])
    return model.eval(), best[0]

# %% tags=["proof"]
# The data, the stored runs, their numbers in words, and the rows of the last table.
train, held, test = (digits(name) for name in ("train", "validation", "test"))
kept, speed = stored("34", "models"), stored("34", "speed")    # python tools/sweep.py 34 models

def ms(name):
    """The median of five runs."""
    return statistics.median(speed[name]["ms"])

def times(one, other):
    """How many times as long one takes as another, in the same run."""
    mean, half = mean_interval([a / b for a, b in zip(speed[one]["ms"], speed[other]["ms"])])
    return f"{mean:.2f} ± {half:.2f}"

def minus(one, other):
    return percent(kept[one]["accuracy"], minus=kept[other]["accuracy"])

TABLE = {"typed word": "the word alone (cheap)", "sound": "the whole model, without any word",
         "frozen": "encoder frozen",
         "LoRA": "encoder with LoRA, merged", "all": "all weights, from the course's encoder",
         "from nothing": "all weights, from nothing", "LoRA, int8 all": "LoRA, then int8",
         "LoRA, exported": "LoRA, exported", "LoRA, exit 0.9": "LoRA, early exit at 0.9"}
exported = stored("34", "exported")                            # python tools/sweep.py 34 exported
longer = [a / b for a, b in zip(exported["exported"]["ms"], exported["model"]["ms"])]
linear = stored("32", "missing")["a model of its own"]["accuracy"]["text + audio"]
frozen = kept["frozen"]["accuracy"]

# %% [markdown]
# ## The bet of page 33
#
# A small classifier of pictures and sounds, with its weights in one byte each, as **int8** (八位整数), turned back into numbers at each call. Does it answer sooner? Ada: no. Ben: yes. Five runs in one thread, CPU time:

# %%
for size in (1, 32):
    name, other = f"batch {size}: picture and sound", f"batch {size}: picture and sound, int8"
    print(f"batch {size:2}   float32 {ms(name):6.2f} ms   int8 {ms(other):6.2f} ms   int8 over",
          "float32", times(other, name))
outcome("33.c", "Ada")
wide = stored("34", "layers")                                  # python tools/sweep.py 34 layers
WAYS = ("float32", "int8, turned back", "bfloat16", "int8 as it is")
print("one layer, one row, ms", *(f"{way:>18}" for way in WAYS))
for width in (512, 2048, 4096):
    taken = [statistics.median(wide[f"{width}: {way}"]["ms"]) for way in WAYS]
    print(f"{width:5,} x {width:5,} weights ", *(f"{one:18.3f}" for one in taken))

# %% [markdown]
# Ada wins, on this machine (one core of an AMD EPYC): each byte is made a float32 again, before the same multiplication. At batch 1 int8 takes 1.16 ± 0.04 times as long; at batch 32 no difference is seen (1.02 ± 0.05).
#
# A larger layer does not turn it round: at 4,096 x 4,096 it takes 10 times as long. What does is a routine that multiplies the bytes *as they are* (PyTorch's own, in bfloat16): at 2,048 a third of float32's time, and half of what bfloat16 takes. So ask which routine runs, not only how many bytes are stored.
#
# ## How long, and how much?
#
# This page's task: a typed word, often mistyped, and a noisy sound of the same digit. The **cheap** model reads the word alone. The **whole** one also hears the sound: its **front end** (前端) is a fixed Fourier transform to log-mel frames; then come the package's encoder for sounds (frozen; it has learned from the training voices), and trained layers on both. In training a row may lose its word or its sound (page 32's modality dropout). **Latency** (延迟) is how long one waits for an answer: call a few times before you measure, take the median of many, say the batch.

# %% tags=["proof", "nbval-ignore-output"]
# Not compared: your machine's times; `timing.py` and `int8.py` lie in this page's room.
median_ms = load("34", "timing").median_ms
look = files.Look(mel_filters()).eval()                        # all untrained: it is about time
look8 = load("34", "int8").in_int8(look)
image, spelled = torch.rand(1, 1, 16, 16), make("typed word", 0).eval()
model = make("frozen", 0).eval()
with torch.inference_mode():
    x = [test[name][:1] for name in ("letters", "sound", "samples")]
    calls = {"float32": lambda: look(image, *x[1:]), "int8": lambda: look8(image, *x[1:]),
             "cheap": lambda: spelled(x[0]), "front end": lambda: log_mel(*x[1:]),
             "whole": lambda: model(*x)}
    yours = {name: round(median_ms(call), 2) for name, call in calls.items()}
    print("your machine, ms:", yours)

# %%
heads = ("cheap", "front end", "whole")
print(f"{'ms for one answer':17}", *(f"{head:>15}" for head in heads), "largest tensor, kB")
for size in (1, 8, 32, 128):
    one = [f"{ms(f'batch {size}: {what}') / size:15.3f}"
           for what in ("typed word", "frames", "all")]
    waves = F.conv1d(test["sound"][:size, None], log_mel.waves, stride=80)     # (B, 258, 97)
    print(f"batch {size:3}        ", *one, f"{waves.nbytes / 1000:18,.0f}")
print("whole, by samples, ms:", {n: round(ms(f"samples {n}"), 2) for n in (1000, 2000, 4000, 8000)})
weigh = load("34", "int8").size                                # bytes of weights and fixed numbers
print(f"whole {weigh(model) / 1000:.0f} kB, in it the front end {weigh(log_mel) / 1000:.0f} kB")

# %% [markdown]
# - The front end takes 40 % of the whole model's time at batch 1, and 59 % at batch 32. See what a network waits for before you shrink it.
# - An answer in a batch of 32 costs less than half of a single one, perhaps as a fixed part is shared; but the first waits for the last.
# - A sound of an eighth of the length takes more than half of the time.
#
# Memory: the model takes 639 kB, whatever the batch. What grows is what is made on the way: the output of the Fourier transform alone takes 100 kB a row.
#
# ## Leave early
#
# The cheap model costs a sixteenth of the whole one. Must every row pay for its sound? Four words, and how sure the cheap model is, its largest probability:

# %%
cheap = fit("typed word", train, held, 0, kept["typed word"]["rate"][0])[0]
whole = fit("frozen", train, held, 0, kept["frozen"]["rate"][0])[0]
with torch.no_grad():
    for word in ("seven", "one", "ne", "th"):
        probs = cheap(torch.tensor([files.spell(word)])).softmax(dim=1)[0]     # (10,)
        print(f"{word:6} {files.WORDS[probs.argmax()]:6} sure {probs.max():.1f}")

# %% [markdown]
# With a threshold of 0.8 the first two leave, and the others go on. This is **early exit** (提前退出): with the cheap model's logits $z$ and the whole model $f$,
#
# $$ \hat{y}(x) = \begin{cases} \arg\max_c z_c & \text{if } \max_c \text{softmax}(z)_c \ge t \\ \arg\max_c f(x)_c & \text{otherwise} \end{cases} \tag{34.1} $$
#
# $f$ must not run for the rows that leave: else nothing is saved.
#
# > **Exercise 34.1 · Early exit** — *12 minutes · core*
# >
# > - `logits` `(B, C)`: the cheap model's, $z$. `full(rows)`, with the numbers `(R,)` of some rows, gives their logits `(R, C)` by the whole model. `threshold`: a number.
# > - Return the labels `(B,)` by (34.1), and which rows went on, `(B,)` bool. A confidence of exactly the threshold leaves. Call `full` for no other rows.

# %% exercise="34.1"
def early_exit(logits: Tensor, full, threshold: float) -> tuple[Tensor, Tensor]:
    """Labels (B,), and which rows went on to `full`, (B,) bool.

    Example: logits [[3, 0], [0, 0.4]] have confidences 0.95 and 0.60. With a threshold of 0.7
    the first is class 0, and `full(torch.tensor([1]))` gives the second's logits.
    """
    ### BEGIN SOLUTION
    sure, labels = logits.softmax(dim=1).max(dim=1)            # (B,), (B,)
    on = sure < threshold                                      # (B,)
    rows = on.nonzero()[:, 0]                                  # (R,)
    if len(rows):
        labels[rows] = full(rows).argmax(dim=1)
    return labels, on
    ### END SOLUTION

# %% [markdown] hints="34.1"
# <details><summary>A question that helps</summary>
#
# After the cheap model you have B labels and B confidences. Which of the labels must be written anew, and where?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Softmax over the classes, its maximum and where it is. Compare with the threshold, row by row. Take the numbers of the rows below it (`nonzero`), call `full` with them, and write its argmax to these rows.
#
# </details>
# <details><summary>If you see an error about an empty tensor</summary>
#
# Perhaps nobody goes on. Then `full` need not be called.
#
# </details>

# %%
early_exit = mine("34.1", early_exit)

def full(rows):
    """The whole model's logits of some rows of the test set."""
    return whole(*(test[name][rows] for name in ("letters", "sound", "samples")))

with torch.no_grad():
    labels, on = early_exit(cheap(test["letters"]), full, 0.8)
live = (labels == test["label"]).double().mean().item()
report("right at 0.8, live minus stored", live - kept["frozen, exit 0.8"]["accuracy"][0],
       near=0, within=0.03)

# %% tags=["proof"]
# (34.1) with logarithms: log p of the best is its logit minus a sum's log; next rows.
draw = torch.Generator().manual_seed(0)
z, other = (torch.randn(40, 5, generator=draw, dtype=torch.float64) for _ in range(2))
best = (z.max(1).values - z.logsumexp(1)) >= math.log(0.5)
expected = torch.where(best, z.argmax(1), other.argmax(1)).double()
verify("34.1", early_exit(z, lambda rows: other[rows], 0.5)[0].double(), expected)

ROWS = {"frozen, exit 0": "threshold 0: cheap alone", "frozen, exit 0.5": "0.5",
        "frozen, exit 0.7": "0.7", "frozen, exit 0.8": "0.8", "frozen, exit 0.9": "0.9",
        "frozen, exit 1.01": "above 1: whole alone", "sound": "(the sound alone)",
        "chosen, 0 given away": "chosen on validation", "chosen on test": "chosen on test (wrong)",
        "at random": "as many as at 0.8, drawn", "logits, 0.9": "0.9 of a logit (wrong)"}
least, most, at = (kept[name] for name in ("typed word", "frozen", "frozen, exit 0.8"))
kept["at random"] = {"on": at["on"], "accuracy": [              # the mean over all draws
    a + q * (b - a) for a, b, q in zip(least["accuracy"], most["accuracy"], at["on"])]}

# %%
print("five seeds                 right in %   goes on in %   minus the whole model, points")
for name, label in ROWS.items():
    scores, went = kept[name]["accuracy"], kept[name].get("on")
    print(f"{label:24} {percent(scores):>12} {percent(went) if went else '':>14}",
          f"{minus(name, 'frozen'):>20}")
print("at 0.8, minus as many rows drawn by chance:", minus("frozen, exit 0.8", "at random"))
each = [100 * share for share in kept["chosen, 0 given away"]["on"]]
print(f"chosen on {len(held['label'])} rows: from {min(each):.0f} to {max(each):.0f} % go on")

# %% tags=["figure"]
# The first figure: right answers over the share that goes on.
SHOWN = {"0": 0, "0.5": 1, "0.7": 2, "0.8": 3, "0.9": 4, "1.01": 5}
figure, ax = plots.axes(height=3.0)
for name in SHOWN:
    row = kept[f"frozen, exit {name}"]
    ax.plot([100 * q for q in row["on"]], [100 * a for a in row["accuracy"]], "o",
            color="#7A3B8F", alpha=0.45, markersize=5)
names = [kept[f"frozen, exit {name}"] for name in SHOWN]
ax.plot([100 * statistics.mean(row["on"]) for row in names],
        [100 * statistics.mean(row["accuracy"]) for row in names], color="#7A3B8F")
ax.set_xlabel("rows for which the whole model runs, in %")
ax.set_ylabel("right, in %")
plots.show(figure, "Early exit: each dot is a seed, the line their means. Most of the way from the"
           " cheap model (left) to the whole one (right) is made by less than half of the rows.")

# %% [markdown]
# Five seeds, each with its own noise, misspellings and first weights. With 44.5 % of the rows going on at 0.8, the loss against the whole model is not clear (-0.6 ± 1.5 points), nor is it at 0.9 (-0.3 ± 0.6). What goes on is not any row: with as many drawn by chance it would be 5.3 ± 1.4 points worse.
#
# The threshold is **chosen on validation data** and tested once: the smallest that loses nothing there. In the test it loses nothing clear (-0.1 ± 0.9 points), and 59 % go on; but over seeds that share lies between 38 and 77 %: 258 rows are few for a threshold.
#
# <details><summary>The two rows marked wrong</summary>
#
# Chosen on the test rows it can never look worse than the whole model (the choice above 1), and it looks 0.3 points *better*: luck. And 0.9 of a *logit* is a low bar: 7 % go on.
#
# </details>
#
# ## Smaller
#
# A weight of four bytes becomes a whole number of one byte from -127 to 127, with one scale for each output. By hand:

# %%
weight = torch.tensor([[1.0, -0.4, 0.0], [0.2, 0.1, -0.2], [50.0, 2.0, 4.2]])  # (out, in)
scale = weight.abs().amax(dim=1, keepdim=True) / 127           # (3, 1): the largest becomes 127
numbers = (weight / scale).round().to(torch.int8)              # (3, 3)
print(numbers.tolist())
off = ((numbers * scale - weight) / scale).abs().max().item()
print("largest error, in scales:", round(off, 1))

# %% [markdown] owes="F170"
# One scale for the whole table would leave the first two rows with hardly any digits.
#
# Another way is **pruning** (剪枝): the weights nearest to zero become zero, here nine of ten. So the file must be smaller:

# %% tags=["fault"]
small = copy.deepcopy(whole)
parts = [(one, "weight") for one in small.modules() if isinstance(one, (nn.Linear, nn.Conv1d))]
prune.global_unstructured(parts, pruning_method=prune.L1Unstructured, amount=0.9)
print("smaller:", weigh(small) < weigh(whole))

# %% [markdown]
# A zero takes four bytes, too, and the mask of the zeros takes more. One byte each does make it smaller:

# %%
small = load("34", "int8").in_int8(whole)                      # linear layers and convolutions
print("smaller:", weigh(small) < weigh(whole))

# %%
print("frozen encoder                right in %      kB    minus float32, points")
for name, label in (("frozen", "float32"), ("frozen, int8 Linear", "int8, linear layers"),
                    ("frozen, int8 all", "int8, and convolutions"),
                    ("pruned 0.5", "half pruned"), ("pruned 0.8", "8 of 10 pruned"),
                    ("pruned 0.9", "9 of 10 pruned")):
    row = kept[name]
    size = row["bytes"][0] / 1000
    print(f"{label:25} {percent(row['accuracy']):>14} {size:7.0f} {minus(name, 'frozen'):>16}")
print("answers that int8 changes, of 252:", kept["frozen, int8 all"]["changed"])
for name, label in (("all", "float32"), ("int8", "int8"), ("pruned 0.9", "9 of 10 pruned")):
    print(f"{label}: {ms(f'batch 1: {name}'):.2f} ms at batch 1")

# %% [markdown] owes="F172 F197"
# int8 changes at most one answer of 252 in each seed, and takes 59 % of the bytes: the layers' weights shrink to a quarter, the front end's 285 kB stay. No time is won. Half pruned loses nothing clear (1.4 ± 1.7 points), 8 of 10 take the model down to the cheap one, and bytes and time stay: a zero is stored and multiplied like any number. Pruning pays where zeros are stored sparsely, or whole channels go.
#
# <details><summary>And a library's int8?</summary>
#
# With 127.5 in place of 127, numbers and scales are those of `torchao`'s int8, bit for bit, where it is installed; a test compares.
#
# </details>
#
# **Distillation** (蒸馏) is a third way: a small student learns the large model's softened probabilities beside the labels. Here it gains 3.3 points over the labels alone, and still needs the front end.
#
# <details><summary>Distillation in numbers</summary>
#
# A late fusion of 8,708 weights has 85.5 ± 3.1 % from labels alone and 88.7 ± 2.0 from labels and a LoRA model's logits: 3.3 ± 1.8 points more, and level with this teacher, which has 88.3 at its one learning rate (five seeds, 30 epochs, for each the better of two rates on validation). With what the teacher says of *another* row of the same digit it has 84.5 ± 0.8: what helps is what is said of this row, not which digits look alike.
#
# </details>
#
# ## Out of the notebook
#
# `torch.export` follows one call and writes down every operation, with the weights: a file that needs no class of ours. `Dim.DYNAMIC` says that the batch may have any size. As the front end is part of the model, what is done to the input is exported, too. The file also keeps the example: give it rows that may leave your hands.

# %% owes="F171"
folder = tempfile.TemporaryDirectory()
file = Path(folder.name) / "model.pt2"
example = tuple(test[name][:4] for name in ("letters", "sound", "samples"))
program = torch.export.export(whole, example, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},) * 3)
torch.export.save(program, file)
loaded = torch.export.load(file)
again = loaded.module()
print("the example is in the file:", torch.equal(loaded.example_inputs[0][1], example[1]))
with torch.no_grad():
    for count in (1, 50):
        some = [test[name][:count] for name in ("letters", "sound", "samples")]
        print(f"rows {count:2}, equal:", torch.allclose(again(*some), whole(*some), atol=1e-5))

# %% tags=["proof", "nbval-ignore-output"]
# Not compared: ONNX, with the extra `deploy`; questions; data for several processes.
import importlib.util

if all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
    import onnxruntime as ort
    torch.onnx.export(program, dynamo=True, verbose=False).save(file.with_suffix(".onnx"))
    session = ort.InferenceSession(file.with_suffix(".onnx"), providers=["CPUExecutionProvider"])
    sent = dict(zip(("letters", "sound", "samples"), (one.numpy() for one in some)))
    given = torch.tensor(session.run(None, sent)[0])
    with torch.no_grad():
        print("ONNX, equal:", torch.allclose(given, whole(*some), atol=1e-4))
else:
    print("ONNX is not here: the extra `deploy` brings it.")

served = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "httpx"))
encode = load("34", "client").encoded if served else str
sound = encode(test["sound"][0, : test["samples"][0]])
bad = [{"id": "a2"}, {"id": "a3", "text": "se7en"}, {"id": "a4", "text": "two", "image": 1},
       {"id": "a5", "audio": encode(30_000 * test["sound"][0, :4000])}]
many = [{"id": f"q{i}", "text": files.WORDS[i % 10], "audio": sound if i % 3 else None}
        for i in range(200)]
data = {"text": F.one_hot(train["letters"], 27)[..., 1:].sum(1).float(), "label": train["label"],
        "image": F.adaptive_avg_pool1d(train["frames"].transpose(1, 2), 8).flatten(1)}
torch.save(data, Path(folder.name) / "data.pt")

# %% [markdown]
# <details><summary>What is ONNX?</summary>
#
# **ONNX** is a format that other programs run, in C++, in browsers, on phones. A *graph* that is written down can also be *optimised*: neighbours joined, constants computed once. Compare its results with the notebook's, for one row and for many.
#
# </details>
#
# ### Where it breaks: the same numbers, prepared otherwise
#
# A colleague's program fills each sound up with zeros to one second, and sends 8,000 as its number of samples. Shapes and types are right:

# %% tags=["fault"]
sent = torch.full_like(test["samples"], 8000)
with torch.no_grad():
    few = zip(test["letters"].split(63), test["sound"].split(63), sent.split(63))
    found = torch.cat([again(*rows) for rows in few])
print("as right as before:", (found.argmax(1) == test["label"]).double().mean().item() > 0.8)

# %% [markdown]
# No error comes. Send how many samples are sound:

# %%
sent = test["samples"]
with torch.no_grad():
    few = zip(test["letters"].split(63), test["sound"].split(63), sent.split(63))
    found = torch.cat([again(*rows) for rows in few])
print("as right as before:", (found.argmax(1) == test["label"]).double().mean().item() > 0.8)

# %%
print("sent                             right in %    mean confidence in %")
for name in ("as in training", "padding counted as sound", "letters from 0",
             "another row's sound", "sound at 16 kHz", "sound ten times as loud"):
    row = kept[f"fed: {name}"]
    print(f"{name:28} {percent(row['accuracy']):>14} {percent(row['sure']):>18}")

# %% [markdown] owes="F173"
# Padding counted as sound gives 12 % right, near chance, at a mean confidence of 94 %. So the preparation belongs in the file, and what cannot be inside is checked at the door. Not all can be: the server below answers padding with the status 200.
#
# <details><summary>Why, and the other rows</summary>
#
# Such frames of silence were never in training. Letters counted from 0 leave 35 %, and a sound at twice its rate 70 %. Only the loudness is harmless here: log-mel less its mean does not see it. The server answers a wrong rate and another row's sound with 200, too.
#
# </details>
#
# ### A server
#
# `server.py` in this page's room loads the exported file, and answers over HTTP with FastAPI. A question has an `id`, and `text`, `audio` or both. What can be seen to be wrong is refused before the model sees it. The cell starts it, asks one good question and four bad ones, lets 1 and then 16 clients ask at once, and stops it:

# %% tags=["nbval-ignore-output"]
# Not compared: needs the extra `deploy`, and times differ. Starts a process, asks it, stops it.
if served:
    client = load("34", "client")
    with client.serving(file) as address:
        told = client.ask(address, {"id": "a1", "text": "sevn", "audio": sound})
        print({name: told[name] for name in ("status", "id", "word", "present")})
        for question in bad:
            told = client.ask(address, question)
            print(told["status"], told["faults"][0]["field"], "·", told["faults"][0]["fault"][:70])
        for clients in (1, 16):
            given = client.load(address, many, clients=clients)
            print("clients", clients, {name: round(given[name]) for name in
                                       ("per_second", "p50", "p99")}, "lost", len(given["lost"]))
    print("the server has ended")
else:
    print("FastAPI is not here: the extra `deploy` brings it. The stored runs are below.")

# %%
print("medians of five starts           answers a second   p50, ms   p99, ms   lost")
for name, row in stored("34", "served").items():               # python tools/sweep.py 34 served
    a, b, c = [statistics.median(row[what]) for what in ("per_second", "p50", "p99")]
    name = "1 client" if name == "1 clients" else name
    print(f"{name:33} {a:12.0f} {b:13.1f} {c:9.1f} {sum(row['lost']):6.0f}")

# %% [markdown]
# Nothing is lost, in these runs on a quiet machine; yours above may be slower. **p50** is the median of the waiting times, **p99** what one in a hundred exceeds. Sixteen clients get about as many answers a second as one (217 and 207): one process answers, on two cores that it shares with the clients. So each waits twelve times as long, 58 ms in place of 5. To serve more, start more servers; first make an answer cheaper.
#
# <details><summary>The last row: right answers, all of them late</summary>
#
# The last row is one word of difference in `server.py`: without it the socket's option TCP_NODELAY is off, and the second part of an answer waits for the client's receipt, which comes some 40 ms late. Each answer is right, and all are late: the median wait is 48 ms in place of 5. No test of answers finds that; a load test does.
#
# </details>

# %% [markdown]
# ## More: several processes
#
# *More: nothing later needs this section.* **Data parallel** (数据并行) training: each of $W$ processes has a copy of the weights $\theta$ and an equal part $B_r$ of the batch $B$. It computes its own gradient; then all take the mean, and make the same step. For a loss that is a mean over rows this is the same as one process with the whole batch:
#
# $$ \nabla_\theta \frac{1}{|B|} \sum_{i \in B} \ell_i = \frac{1}{W} \sum_{r=1}^{W} \nabla_\theta \frac{1}{|B_r|} \sum_{i \in B_r} \ell_i \qquad \text{if } |B_r| = |B| / W \tag{34.2} $$
#
# With parts of 5 and 3 rows it does not hold: each of the three then counts more.
#
# <details><summary>Why does it hold?</summary>
#
# The sum over $B$ is the sum of the parts' sums, and $\frac{1}{|B|} = \frac{1}{W |B_r|}$.
#
# </details>

# %%
x, y = torch.randn(2, 8, 3, generator=seed_everything(1), dtype=torch.float64)
line, everything = nn.Linear(3, 3).double(), torch.arange(8)

def gradient(rows):
    return torch.autograd.grad(F.mse_loss(line(x[rows]), y[rows]), line.weight)[0]

for parts in ((everything[0::2], everything[1::2]), (everything[:5], everything[5:])):
    mean = sum(gradient(rows) for rows in parts) / 2
    print([len(rows) for rows in parts], "the same:", torch.allclose(mean, gradient(everything)))
verify("34.2", (gradient(everything[0::2]) + gradient(everything[1::2])) / 2, gradient(everything))

# %% [markdown]
# `ddp.py` does so with PyTorch's `DistributedDataParallel`: join the group, take rows `[rank::world]`, save a checkpoint now and then. `torchrun` starts the processes, and starts them again when one dies. Two start here, and one kills itself after step 35:

# %% tags=["nbval-ignore-output"]
# Not compared: starts processes, and says while it waits what they do.
ddp, place = load("34", "ddp"), [f"{folder.name}/{name}.pt" for name in ("data", "one", "two")]
ddp.train(ddp.asked(place[:2]), 0, 1)                          # one process: this one
try:
    print(*load("34", "processes").torchrun(room("34", "ddp.py"), place[0], place[2], "--kill-at",
                                            35, restarts=3), sep="\n")
    weights = [torch.load(name, weights_only=True) for name in place[1:]]
    print("as one process:", all(torch.allclose(weights[0][k], weights[1][k]) for k in weights[0]))
except (RuntimeError, TimeoutError, OSError) as error:
    print("no two processes here:", str(error)[:200])

# %% [markdown] owes="F111 F180"
# Five seeds: two processes and one end with the same weights, up to rounding; the two that died at step 35 went on from step 30, and ended exactly as two without an accident. It is not faster here: each process needs seconds to start. It can pay where a step takes long.
#
# <details><summary>The same rows twice</summary>
#
# If both take the same rows (`[: n]` in place of `[rank::world]`) all runs as well, and is one process with half the batch: the weights then differ by up to 0.16.
#
# </details>
# <details><summary>Restarts, several machines, and Lightning</summary>
#
# Each life of a process has its own names in the group's store. Without that, some restarts failed or hung when this page was written: a new process called the address of a dead one.
#
# On several machines the same file is started on each of them by `torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 ddp.py data.pt weights.pt`. That was not tried for this page, which had one machine. With graphics cards the group is `nccl` in place of `gloo`, and a process takes one card. PyTorch Lightning has the loop inside: `Trainer(strategy="ddp", devices=2)` does the same steps (not run here).
#
# </details>

# %% [markdown]
# ## What does it cost, all in all?
#
# Back to early exit. The cheap model runs for every row, at cost $a$. The whole one, at cost $b$, for the share $q(t)$ of rows whose confidence $s$ is below the threshold:
#
# $$ q(t) = \frac{1}{N} \sum_{i=1}^{N} [s_i < t], \qquad E(t) = a + q(t)\, b \tag{34.3} $$
#
# The four words from above, with confidences 1.0, 0.9, 0.7 and 0.5, costs 1 and 20, threshold 0.8: two of four go on, $1 + 0.5 \cdot 20 = 11$. Who says 10.5 forgets that the two that go on paid for the cheap model, too. Early exit pays only if $E(t) < b$, which is $q(t) < 1 - a / b$.
#
# > **Exercise 34.2 · The expected cost** — *6 minutes · core*
# >
# > - `confidence` `(N,)`: the cheap model's largest probabilities. `thresholds` `(K,)`. `cheap_cost` and `full_cost`: what one row costs by each model.
# > - Return (34.3) for each threshold, `(K,)`, in the dtype of `confidence`.

# %% exercise="34.2"
def exit_costs(
    confidence: Tensor, thresholds: Tensor, cheap_cost: float, full_cost: float
) -> Tensor:
    """The expected cost of a row for each threshold, (K,).

    Example: confidences [0.9, 0.4], thresholds [0.5, 0.95], costs 1 and 20: [11, 21].
    """
    ### BEGIN SOLUTION
    share = (confidence[:, None] < thresholds).to(confidence.dtype).mean(dim=0)   # (N, K) -> (K,)
    return cheap_cost + share * full_cost
    ### END SOLUTION

# %% [markdown] hints="34.2"
# <details><summary>A question that helps</summary>
#
# For one threshold and one row: what is paid if it leaves, and what if it goes on?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Compare each confidence with each threshold, a table (N, K). Its mean over the rows is the share that goes on. Each row pays for the cheap model; this share also for the whole one.
#
# </details>
# <details><summary>If shapes do not fit</summary>
#
# `confidence[:, None]` is (N, 1), and compared with (K,) it gives (N, K).
#
# </details>

# %%
exit_costs = mine("34.2", exit_costs)
sure = torch.tensor([1.0, 0.9, 0.7, 0.5])
print("by hand, the four words:", exit_costs(sure, torch.tensor([0.0, 0.8, 1.01]), 1, 20).tolist())
with torch.no_grad():
    sure = cheap(test["letters"]).softmax(dim=1).amax(dim=1)   # (N,)
paid = [ms("batch 1: typed word"), ms("batch 1: all")]         # ms
grid = torch.tensor([0.0, 0.5, 0.7, 0.8, 0.9, 1.01])
expected = (0.06, 0.25, 0.46, 0.58, 0.74, 1.06)
for threshold, cost, near in zip(grid.tolist(), exit_costs(sure, grid, *paid), expected):
    report(f"threshold {threshold:.2f}: cost in units of the whole model", cost / paid[1],
           near=near, within=0.1)

# %% tags=["proof"]
# The table below, line by line; and (34.3) by sorting, and counting with searchsorted.
lines = []
for name, label in TABLE.items():
    base = kept[name.split(",")[0]]
    row = kept.get(name, base)                                 # exported: the same answers
    cost = {"typed word": paid[0], "LoRA, int8 all": ms("batch 1: int8"),
            "LoRA, exported": paid[1] * statistics.mean(longer)}.get(name, paid[1])
    size = (row.get("bytes") or base.get("bytes") or kept["frozen"]["bytes"])[0] / 1000
    if "exported" in name:
        size = exported["exported"]["bytes"][0] / 1000         # four rows of sound in it
    trained = base.get("trained", kept["frozen"]["trained"])[0]
    if "exit" in name:                                         # both models; (34.3), five seeds
        cost = paid[0] + statistics.mean(row["on"]) * paid[1]
        size, trained = size + weigh(cheap) / 1000, trained + kept["typed word"]["trained"][0]
    lines.append((label, percent(row["accuracy"]), trained, size, cost))
draw = torch.Generator().manual_seed(2)
s, t = (torch.rand(n, generator=draw, dtype=torch.float64) for n in (50, 7))
below = torch.searchsorted(s.sort().values, t).double() / 50
verify("34.3", by_hand=exit_costs(s, t, 0.05, 0.8), reference=0.05 + 0.8 * below)

# %% [markdown] owes="F77 F187 F207"
# Over the five seeds the expected cost is half of the whole model's at 0.8, and two thirds at 0.9 (with seed 0, printed here, a little more). Above 1 it is *more* than without early exit, as everybody pays for both. Costs are whatever you pay: milliseconds, energy, the price of a call.
#
# One task through all of it:

# %%
print("five seeds                               right in %   trained      kB   ms, batch 1")
for label, share, trained, size, cost in lines:
    print(f"{label:38} {share:>13} {trained:9,.0f} {size:7.0f} {cost:9.2f}")
print("LoRA minus frozen", minus("LoRA", "frozen"), "  with early exit minus without",
      minus("LoRA, exit 0.9", "LoRA"))
print("exported over LoRA: {:.2f} ± {:.2f} times as long".format(*mean_interval(longer)))
print("page 32's linear layer", percent(linear), " minus frozen", percent(linear[:5], minus=frozen))

# %% [markdown] owes="F119"
# A frozen encoder that others have trained, LoRA, and all weights cannot be told apart here (LoRA minus frozen 1.4 ± 2.3 points); the frozen one trains a sixth of the weights. Early exit at 0.9 loses 0.1 ± 0.5 points against LoRA. A larger model would be a row like these, with its points and what they cost.
#
# The simplest model belongs beside them: page 32's linear layer on letters and a sound's bands, 3,340 weights, has 90.6 ± 1.8 % on these splits (ten seeds), over the same five seeds 2.9 ± 1.3 more than the frozen encoder. So this table compares ways to train *this* model, and a smaller one is at least as good at the task.
#
# <details><summary>By the sound alone</summary>
#
# The frozen encoder reads the sound alone at 62.6 %, where page 32's bands have 76; why, no row shows.
#
# </details>
# <details><summary>The exported program</summary>
#
# It gives the same answers, to the last bit; called from Python it takes 1.42 ± 0.05 times as long, and its 917 kB hold the example's four sounds.
#
# </details>
# <details><summary>How do large models grow?</summary>
#
# How large models grow, and what is gained, is told by those who can pay for the comparison ([Hoffmann and others, 2022](https://arxiv.org/abs/2203.15556)).
#
# </details>
# <details><summary>Were all trained equally well?</summary>
#
# Learning rates come from a grid of three or four, by validation. Where an end of it was chosen, one step beyond was tried in all seeds; validation took that step in one of 30 runs.
#
# </details>
#
# ## In use
#
# **Drift** (漂移): what people send changes, and nobody sends labels. What can be seen is, for one, the cheap model's confidence: compare a window of new requests with old ones. Two usual alarms: a Kolmogorov-Smirnov test (how far apart two distributions are at most) at p < 0.01, and the population stability index (how much the shares of bins have moved) above 0.2, by a rule of thumb.

# %% owes="F120"
watch = stored("34", "watched")                                # python tools/sweep.py 34 watched
print("alarms in % of windows   KS test at 30 / 100 / 300 words       index at 30 / 100 / 300")
for world in ("no drift", "more slips (0.7)", "many slips (0.8)", "fewer slips (0.4)",
              "German words", "no vowels"):
    shares = [100 * statistics.mean(watch[f"{world}, {size}"][kind])
              for kind in ("ks", "psi") for size in (30, 100, 300)]
    print(f"{world:22}", *(f"{share:9.0f}" for share in shares), "   right",
          f"{100 * statistics.mean(watch[f'{world}, seen']['accuracy']):.0f} %")
print("trained again, right in %: German words    old words      no vowels      old words")
for name in ("as it was", "new alone", "new and old"):
    shares = [percent(watch[f"{world}: {name}, on {where} words"]["accuracy"])
              for world in ("German words", "no vowels") for where in ("new", "old")]
    print(f"{name:22}", *(f"{share:>14}" for share in shares))
for words in ("German words: {}, on new words", "no vowels: {}, on new words",
              "German words: {}, on old words"):
    way = "new and old" if "new" in words else "new alone"
    one, other = (watch[words.format(name)]["accuracy"] for name in (way, "as it was"))
    print(words.format(way), "minus as it was", percent(one, minus=other))

# %% [markdown]
# The index raises an alarm in 81 % of the quiet windows of 30 words, and with 300 it misses a drift that costs 7 points: a threshold without a sample size means nothing. A window that became *easier* raises the alarm, too.
#
# <details><summary>The KS test?</summary>
#
# It raises one in 1 % of the quiet windows, as promised, and even with 300 words in 59 % only of those with the small drift.
#
# </details>
#
# Does an alarm say "train again"? Two worlds, one alarm: German words, and words without vowels. With 200 new labels, German gains 31.5 ± 3.4 points when trained with the old words, words without vowels 1.7 ± 1.2: perhaps what told the digits apart is no longer written. And new words *alone* lose 11.1 ± 1.3 points on the old ones. So: alarm, label 50 to 200, train a copy on old and new, test it on both, then decide. An alarm on confidence misses a change that leaves the model as sure as before: so label some rows by calendar, too.

# %% [markdown]
# ### More: privacy and groups
#
# *More: nothing later needs this section.* **Privacy** (隐私). Somebody has a sample and asks: was it in your training set? The simplest attack looks at the loss: a small one says "member". Its AUC is the probability that a member has a smaller loss than others; 0.5 is "cannot tell". A small network, 643 members, and 643 others of the same writers and voices:

# %%
for name in ("60 epochs", "6 epochs", "60 epochs, noise, dropout and decay"):
    row = watch[f"members, {name}"]
    print(f"{name:38} AUC {{:.2f}} ± {{:.2f}}".format(*mean_interval(row["auc"])),
          f"  members {percent(row['members']):>11}   others {percent(row['accuracy'])}")
chance = 1.96 * math.sqrt((643 + 643 + 1) / (12 * 643 * 643))  # of ranks without any order
print(f"by chance, in 95 % of single runs: AUC 0.50 ± {chance:.2f}")

# %% [markdown] owes="F168 F193"
# The attack works best on the network that has memorised its members: 0.69 against 0.61 after 6 epochs and 0.57 with noise, dropout and decay, which costs nothing clear in accuracy. A voice is personal data by itself: keep no sound that you do not need, and say how long.
#
# <details><summary>Is 0.57 chance?</summary>
#
# It is still beyond what chance gives (0.50 ± 0.03 in one run).
#
# </details>
#
# **Groups.** Is the model equally good for all ten test voices? Seed 0's errors, with Wilson's 95 % intervals:

# %% tags=["figure"]
# Errors by voice of one run, with Wilson's intervals; and of five runs.
voices = sorted(name for name in kept if name.startswith("voice"))

def wilson(k, n, z=1.96):
    middle, half = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    return 100 * (middle - half) / (n + z * z), 100 * (middle + half) / (n + z * z)

figure, ax = plots.axes(height=3.0)
RUNS = (("one run", slice(1), "#B07AC0", "D"), ("five runs", slice(5), "#4B1D5E", "v"))
for label, runs, color, mark in RUNS:
    for place, voice in enumerate(voices):
        k, n = (sum(kept[voice][what][runs]) for what in ("missed", "asked"))
        low, high = wilson(k, n)
        x = place + (0.13 if label == "five runs" else -0.13)
        ax.plot([x, x], [low, high], color=color, zorder=1)
        ax.plot(x, 100 * k / n, mark, color=color, label=label if place == 0 else None)
ax.set_xticks(range(10), [name.split()[1] for name in voices])
ax.set_xlabel("voice")
ax.set_ylabel("wrong, in %")
ax.legend(frameon=False)
k, n = ([kept[f"voice {v}"][what][0] for v in (53, 52)] for what in ("missed", "asked"))
print(f"one run: voice 53 {100 * k[0] / n[0]:.0f} % wrong, voice 52 {100 * k[1] / n[1]:.0f} %")
plots.show(figure, "Wrong answers by voice, with 95 % intervals that take the samples as drawn one"
           " by one: one run (18 to 44 samples a voice), and five runs put together.")

# %% [markdown] owes="F167 F184 F201 F203"
# In this run voice 53 has 33 % wrong and voice 52 has 4: the worst of ten against the best tells nothing. Five runs together, in the figure, still set 53 apart.
#
# <details><summary>How often chance gives such a gap; five runs</summary>
#
# The gap is 29 points. Shuffle the voices over the same answers, and in 16 % of the shufflings the gap is as large, with 18 to 44 samples a voice. In two of five runs chance gives such a gap in fewer than 5 %. Put together, voice 53 has 30 % wrong, and the others 10. But ten clips of one synthetic voice are the same in all runs, so the true interval is wider than drawn.
#
# </details>
#
# Ten voices say little about an eleventh. So: say the group, the number, the interval; collect more of the group before you mend; and call no model fair because no gap was found.
#
# What numbers do not show needs people, **human review** (人工审核). Write down beforehand who may refuse, who reads a sample of answers before and after launch, what happens after a harmful one, which error hurts whom.

# %% [markdown]
# ## What is often asked
#
# <details><summary>Six questions, and short answers</summary>
#
# | asked | in short, and where |
# |---|---|
# | Is multimodal learning right for every task? | No. If one modality answers, take it (pages 09 and 19); here the word alone has 77.5 %, and early exit asks for the sound in 44.5 % of the rows. |
# | What is hard in practice? | Pairs, missing parts, other people's data (pages 07, 09, 32), and that what is fed in use is what was fed in training: "Where it breaks". |
# | How fast is it, and how does it become faster? | Measure by batch and length, find the costly part, do not run it where it is not needed. Then the graph, the number of threads, another machine. Smaller files come last. |
# | What does it cost to train? | Each row of the large table says its weights; frozen features cost least. Count all your trials, not the last one. |
# | Should the model be larger? | Only if a larger one is better on *your* validation data at a cost that you can pay; see the table. |
# | Which books? | I. Goodfellow, Y. Bengio, A. Courville, *Deep Learning*, and the list of papers below and on each page. |
#
# </details>
#
# Your passport: what somebody must know who takes this model from you.

# %% tags=["nbval-ignore-output"]
# Not compared: your own numbers and guesses.
passport("34", task="a digit, from a typed word and a sound", right=f"{100 * live:.0f} % at 0.8",
         goes_on=f"{100 * on.double().mean():.0f} % to the whole model",
         size=f"{weigh(whole) / 1000:.0f} kB",
         input="samples counts the sound, not the padding; 8 kHz",
         not_known="voices beyond ten, other languages, more than one machine")
show_guesses(made_guesses())

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **settle** the bet: int8 does not answer sooner here, and about half of the time is the front end;
# 2. **build** early exit, row by row, with a threshold from validation data;
# 3. **make** a model smaller by int8, nearly without a changed answer; pruned weights take bytes and time as before;
# 4. **export**, serve, refuse in words, count what is lost; and train in two processes as in one;
# 5. **build** the expected cost $a + q b$, and read one table, with the simplest model beside it;
# 6. **watch**: an alarm says that something changed, labels say whether to train again; groups of 25 tell little.
#
# ## Questions
#
# <details><summary>1. The whole model costs 3, the cheap one 1. From which share of leaving rows does early exit pay?</summary>
#
# $1 + q \cdot 3 < 3$ gives $q < 2/3$: more than a third of the rows must leave.
#
# </details>
# <details><summary>2. Early exit is served in batches of 32. What is saved?</summary>
#
# The whole model still runs for each batch in which one row goes on, with fewer rows. Its fixed part is then shared by fewer. Measure with the batch that you serve.
#
# </details>
# <details><summary>3. Every answer has the status 200. Is the service well?</summary>
#
# Not shown. The padding that was counted as sound gave 200, and answers at the level of chance. Send some known samples now and then, and compare with what the notebook gives.
#
# </details>
# <details><summary>4. Two processes, rows by <code>[rank::world]</code>. What happens if both take the same rows?</summary>
#
# No error. Both gradients are equal, and so is their mean: it is one process with half of the batch, at twice the cost.
#
# </details>
# <details><summary>5. With the whole page: the confidence of your cheap model falls. What do you do, in order?</summary>
#
# See how many more rows now go on, since that is cost at once. Look at some rows. Label 50 to 200 of them, test the old model on them, train a copy on old and new rows together, test it on both, and decide.
#
# </details>
# <details><summary>6. With the whole page: somebody offers a model "four times smaller, three times faster, equally good". What do you ask for?</summary>
#
# Bytes of the file; median and p99 at your batch, on your machine, with the front end; accuracy over seeds minus the old one's, paired, and the number of changed answers; the same inputs through both; and groups.
#
# </details>
#
# ## Read more
#
# - T. Schuster and others, *Confident Adaptive Language Modeling*, NeurIPS 2022 (arXiv:2207.07061). Early exit with a guarantee.
# - S. Han, H. Mao, W. J. Dally, *Deep Compression*, ICLR 2016 (arXiv:1510.00149). Pruning, stored sparsely.
# - T. Dettmers and others, *LLM.int8()*, NeurIPS 2022 (arXiv:2208.07339). Which features must stay in 16 bits.
# - S. Li and others, *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*, VLDB 2020 (arXiv:2006.15704). Behind `DistributedDataParallel`.
# - S. Rabanser, S. Günnemann, Z. C. Lipton, *Failing Loudly*, NeurIPS 2019 (arXiv:1810.11953). Tests for drift, compared.
# - S. Yeom and others, *Privacy Risk in Machine Learning*, CSF 2018 (arXiv:1709.01604), and N. Carlini and others, *Membership Inference Attacks From First Principles*, IEEE S&P 2022 (arXiv:2112.03570). The attack by the loss, and whom an average hides.
#
# ## A bet for page 35
#
# A folder of 200 rows, pictures and texts by twenty people, ten rows each, comes with the note "94 % right: ill or well". The split was drawn by rows. Ten people are ill, in all their rows. Page 35 makes such a folder, in which a row tells more of the person than of the illness, and tests on people whom the model has not seen.
#
# *Ada says: with nobody on both sides it is still 85 or more.* *Ben says: less.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("34.c", None)
guesses("34")
