# %% [markdown]
# # Does the map show why?
#
# A model answers, and beside the answer somebody shows a map: "because it looked here". You take away what the map names, change one thing in the picture, and make the model's weights random. Then you know which maps say something about the model, and what they cannot say.
#
# *About {minutes} minutes. You need pages 15 and 26: words that ask cells; a question that looks at a picture.*

# %% [markdown]
# ## In this notebook you will
#
# 1. settle the bet of page 32: attention, or gradient times input?
# 2. build the deletion gap: take away what a map names, and as much at random;
# 3. change the colour of one thing, and see what a map cannot show;
# 4. build integrated gradients, and, if you like, choose their baseline;
# 5. make the weights random, and see which maps do not notice.

# %% tags=["measured", "imports"]
# Imports.
from dataclasses import replace

import torch
from ipywidgets import Dropdown
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import plots
from course_utils.datasets.scene_truth import read_question
from course_utils.datasets.scene_words import ATTRIBUTES, COLOURS, KINDS, SHAPES
from course_utils.datasets.scenes import HELD_OUT, Scenes
from course_utils.exercises import check, mine
from course_utils.image_encoder import load_image_encoder
from course_utils.masks import masked_mean
from course_utils.metrics import mean_interval, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.training import Batches
from course_utils.widgets import Explorer

# %% [markdown]
# ## The bet of page 32
#
# A small network reads the question "what colour is the square?" and looks at the regions of a scene by attention. Two explanations say which regions mattered: its attention weights, and gradient times input. Take away the three regions that each names. The probability of the answer falls. Ada: further for attention. Ben: for the gradient.
#
# The network is page 26's: 64 regions (its cells) of 8 x 8 pixels, 64 frozen numbers each; the question is one query. It is asked for the colour, shape or size of one thing, three of that page's seven kinds of questions (98.9 % are right, in the mean of five trainings).

# %% tags=["measured", "proof"]
# The data of page 26: questions about one thing, and a frozen network's regions.
ANSWERS = [word for words in ATTRIBUTES.values() for word in words]            # 12
WORDS = ["what", "is", "the", *ATTRIBUTES, *ANSWERS, "thing"]                  # 0 is padding
encoder = load_image_encoder("scenes-cnn", cache=False)
EMPTY, WHITE = encoder(torch.stack([torch.full((3, 64, 64), level) for level in (40 / 255, 0.98)])
                       )[0][:, 27]                                             # (64,) each

def as_part(items):
    asked = [item["question"].strip("?").split() for item in items]
    rows = [torch.tensor([1 + WORDS.index(word) for word in words]) for words in asked]
    cells, mask = encoder(torch.stack([item["image"] for item in items]))      # (N, 64, 64)
    label = torch.tensor([ANSWERS.index(item["answer"]) for item in items])
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {"ids": F.pad(ids, (0, 7 - ids.shape[1])), "label": label, "cells": cells, "mask": mask}

def load(split, size):
    places = [i for i in range(7 * size) if KINDS[i % 7] in ATTRIBUTES][:size]
    scenes = Scenes(split, size=7 * size)
    items = [scenes[i] for i in places]
    return as_part(items), items

# %% tags=["measured"]
class Asker(nn.Module):
    """A question, as one query, asks the regions of a picture: batch -> logits (B, 12)."""
    def __init__(self, width=64):
        super().__init__()
        self.words = nn.Embedding(1 + len(WORDS), width, padding_idx=0)
        self.query = nn.Linear(width, 64)
        self.null = nn.Parameter(torch.zeros(64))                 # looked at if nothing is there
        self.head = nn.Sequential(nn.Linear(width + 64, 64), nn.ReLU(), nn.Linear(64, 12))
    def look(self, batch):
        question = masked_mean(self.words(batch["ids"]), batch["ids"] > 0)       # (B, width)
        null = self.null.expand(len(question), 1, 64)
        cells = torch.cat([batch["cells"], null], dim=1)                         # (B, 65, 64)
        scores = (cells @ self.query(question)[:, :, None])[..., 0] / 8          # (B, 65)
        there = F.pad(batch["mask"], (0, 1), value=True)
        weights = scores.masked_fill(~there, -torch.inf).softmax(dim=1)
        return question, (weights[:, None] @ cells)[:, 0], weights               # found (B, 64)
    def forward(self, batch):
        question, found, _ = self.look(batch)
        return self.head(torch.cat([question, found], dim=1))

# %% tags=["measured", "proof"]
# Page 26's training: a rate that rises and falls; the best epoch by validation loss.
def some_missing(part, seed, share=0.1):
    draw = torch.Generator().manual_seed(seed)
    gone = torch.rand(len(part["label"]), 1, generator=draw) < share
    return part | {"mask": part["mask"] & ~gone}

def train(make, part, validation, seed, epochs=20, lr=1e-2):
    generator, model = seed_everything(seed), make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    steps = epochs * -(-len(part["label"]) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1)
    best = float("inf"), None
    for _ in range(epochs):
        for batch in Batches(part, 64, generator):
            optimizer.zero_grad()
            F.cross_entropy(model(batch), batch["label"]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            now = F.cross_entropy(model(validation), validation["label"]).item()
        if now < best[0]:
            best = now, {name: x.clone() for name, x in model.state_dict().items()}
    model.load_state_dict(best[1])
    return model.eval(), best[0]

# %% tags=["measured", "proof"]
# What the model says, its logit and probability; which answers suit a question.
KIND_OF = {name: k for k, name in enumerate(ATTRIBUTES)}
ALLOWED = torch.stack([torch.tensor([word in words for word in ANSWERS])
                       for words in ATTRIBUTES.values()])                      # (3, 12)

def said(model, part):
    with torch.no_grad():
        return model(part).argmax(dim=1)                                       # (B,)

def right(model, part):
    return (said(model, part) == part["label"]).double()

def score_of(model, part, answer):
    """A function of regions (B, 64, 64): the logit of each sample's answer (B,)."""
    return lambda cells: model(part | {"cells": cells}).gather(1, answer[:, None])[:, 0]

def probability(model, part, answer):
    """The same for the probability, without gradients."""
    def of(cells):
        with torch.no_grad():
            return model(part | {"cells": cells}).softmax(dim=1).gather(1, answer[:, None])[:, 0]
    return of

# %%
data = {}
for split, size in {"train": 3000, "validation": 500, "test": 1000}.items():
    data[split], drawn = load(split, size)         # the last ones are the test's
test, items = data["test"], {"test": drawn}        # of the others only the regions are needed
model, _ = train(Asker, some_missing(data["train"], 0), data["validation"], seed=0)
del data["train"], data["validation"]              # and now only the test set
kept = stored("33", "deletion")                                # python tools/sweep.py 33 deletion
live = right(model, test).mean().item()
report("right answers, live minus stored", live - kept["model"]["accuracy"]["right"][0], 0, 0.02)
print("right answers in %, five trainings:", percent(kept["model"]["accuracy"]["right"]))

# %% [markdown]
# Two maps with one number for each region. **Saliency** (显著性) asks the derivative: if a region's numbers moved a little, how would the logit of the answer move? Gradient times input multiplies that by the numbers themselves and sums over a region's 64.

# %% tags=["measured"]
def attention(model, part):
    with torch.no_grad():
        return model.look(part)[2][:, :64]                        # (B, 64), without null

def gradient_input(score, cells):
    cells = cells.clone().requires_grad_()
    slope, = torch.autograd.grad(score(cells).sum(), cells)       # (B, 64, 64)
    return (slope * cells).detach().sum(dim=2)                    # -> (B, 64)

# %%
answer = said(model, test)
maps = {"attention": attention(model, test),
        "gradient times input": gradient_input(score_of(model, test, answer), test["cells"])}

# %% tags=["figure"]
# Two questions, and both maps of each; of gradient times input what is above 0.
fitting = [i for i, item in enumerate(items["test"]) if item["kind"] == "colour"
           and len(item["objects"]) == 4 and answer[i] == test["label"][i]]
SAMPLES = fitting[:2]
shown = [(row, name) for row in SAMPLES for name in ("picture", *maps)]
plots.overlay(
    [items["test"][row]["image"] for row, _ in shown],
    titles=[items["test"][row]["question"].replace(" is ", "\nis ") + f"\n{ANSWERS[answer[row]]}"
            if name == "picture" else name for row, name in shown],
    attention=[None if name == "picture" else maps[name][row].clamp(min=0).view(8, 8)
               for row, name in shown],
    columns=3, size=2.1,
    caption="Two questions and the model's answers, and where two explanations say that it matters."
    " Of gradient times input only what is above 0 is drawn.",
)

# %% [markdown]
# Both look plausible. That is no test. Page 15 took away the cells that were looked at most, and saw the accuracy fall from 96 to 68 %, no further than without as many cells of the asked thing. Here the fall is made a number for *any* map, by the probability of the answer, and maps compete: is what the map names what the *answer* needs?

# %% [markdown]
# ## Take it away
#
# Four regions with one number each; the probability of the answer is the sigmoid of their sum. A map names region 0. Put 0 in its place, and then in the place of each region in turn.

# %%
small = torch.tensor([3.0, 1.0, 0.0, -1.0])
whole = small.sum().sigmoid()
falls = [whole - small.scatter(0, torch.tensor(i), 0.0).sum().sigmoid() for i in range(4)]
print("whole", round(whole.item(), 2), "  falls", [round(fall.item(), 2) for fall in falls])
print("the named one", round(falls[0].item(), 2), "  a random one, in the mean",
      round((sum(falls) / 4).item(), 2))

# %% [markdown]
# It falls by 0.45 without the named region, and by 0.12 in the mean without any one: in a picture *something* always falls. (Without region 3, which speaks against the answer, it rises.) The difference is the **deletion gap** (删除差距). With $x_{-S}$ for the picture in which the regions $S$ are blank, $T$ for the $k$ regions of the largest attribution, and $R$ random draws $S_r$ of $k$ regions:
#
# $$ \text{gap} = \big(p(x) - p(x_{-T})\big) - \frac{1}{R} \sum_{r=1}^{R} \big(p(x) - p(x_{-S_r})\big) \tag{33.1} $$
#
# > **Exercise 33.1 · The deletion gap** — *12 minutes · core*
# >
# > - `model(cells)` takes the regions of all samples at once, `(B, K, D)`, in their order, and gives the probability of each one's answer, `(B,)`.
# > - `attribution` `(B, K)`: the larger, the more a region speaks *for* the answer. `blank` `(D,)` is put in the place of what goes.
# > - `random` `(R, B, k)` int64: R draws of k different regions for each sample. As many, k, go by the attribution.
# > - Return the gap of each sample, `(B,)`. `cells` stay as they are.

# %% exercise="33.1"
def deletion_gap(
    model, cells: Tensor, attribution: Tensor, blank: Tensor, random: Tensor
) -> Tensor:
    """How much further the probability falls without the k regions of the largest attribution than
    without k random ones, (B,).

    Example: falls of 0.45 by the attribution, and of 0.45, 0.07, 0 and -0.03 by four draws, give
    0.33.
    """
    ### BEGIN SOLUTION
    def fall(places):
        gone = torch.zeros_like(attribution, dtype=torch.bool).scatter(1, places, True)   # (B, K)
        return model(cells) - model(torch.where(gone[..., None], blank, cells))           # (B,)

    k = random.shape[2]
    named = attribution.topk(k, dim=1).indices                                            # (B, k)
    return fall(named) - torch.stack([fall(places) for places in random]).mean(dim=0)
    ### END SOLUTION

# %% [markdown] hints="33.1"
# <details><summary>A question that helps</summary>
#
# Which part of the work is the same for the named regions and for a random draw?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Write a function from places `(B, k)` to falls `(B,)`: a mask of False, set to True at the places by `scatter`, `torch.where` with the mask as `(B, K, 1)`, the model before minus after. Call it with `topk(...).indices` and with each of the R draws; subtract the mean over the draws.
#
# </details>
# <details><summary>If all gaps are nearly the same</summary>
#
# Look whether each sample loses its own regions: `topk` along axis 1.
#
# </details>

# %%
deletion_gap = mine("33.1", deletion_gap)
draw = torch.Generator().manual_seed(0)
random = torch.rand(10, 1000, 64, generator=draw).argsort(dim=2)[..., :3]      # (R, B, 3)
chances = probability(model, test, answer)
colour = torch.tensor([item["kind"] == "colour" for item in items["test"]])
for name, one in maps.items():
    gaps = deletion_gap(chances, test["cells"], one, EMPTY, random)            # (B,)
    off = gaps[colour].mean().item() - kept[name]["accuracy"]["colour"][0]
    report(f"{name}, colour: live minus stored", off, near=0, within=0.04)
outcome("32.c", "Ada")

# %% tags=["proof"]
# (33.1) in loops, on three samples; and the small numbers.
x, few = test["cells"][:3].double(), {name: one[:3] for name, one in test.items()}
exact = probability(Asker().double(), few, answer[:3])
falls_of = []
for places in [maps["attention"][:3].argsort(dim=1, descending=True)[:, :3], *random[:, :3]]:
    left = x.clone()
    for b in range(3):
        for place in places[b]:
            left[b, place] = EMPTY.double()
    falls_of.append(exact(x) - exact(left))
by_loops = falls_of[0] - sum(falls_of[1:]) / 10
yours = deletion_gap(exact, x, maps["attention"][:3].double(), EMPTY.double(), random[:, :3])
verify("33.1", by_hand=by_loops, reference=yours)

# %% tags=["proof"]
# The stored runs, and how they are written.
def gap(row, kind="all"):
    return percent(row["accuracy"][kind])

def more(one, other, kind="all"):
    return percent(one["accuracy"][kind], minus=other["accuracy"][kind])

# %%
print(f"{'deletion gap, 3 of 64 regions; points, five seeds':52}{'all':>12}{'colour':>14}")
for name in ("attention", "gradient times input", "its size", "true pixels", "any filled",
             "other things"):
    print(f"{name:50}{gap(kept[name]):>14}{gap(kept[name], 'colour'):>14}")
print("the random fall itself", gap(kept["the random fall itself"]))
for kind in ("all", "colour"):
    print(f"attention minus gradient times input, {kind}:",
          more(kept["attention"], kept["gradient times input"], kind))

# %% [markdown] owes="F164"
# Ada wins: on questions about colour the answer falls 18.7 ± 2.4 points further for attention, on all questions 12.9 ± 2.7. (Five starts on one set of scenes: another set is not in the interval.) And it is not enough to hit something, it has to be the asked thing: regions of other things have a gap of nothing.
#
# <details><summary>Maps that need no model, and the size of gradient times input</summary>
#
# Beside them stand maps that need no model. *True pixels* names the regions that the asked thing covers most: 27.0 points, as much as attention. The size of gradient times input, sign dropped, has 22.6 (on colour 30.3): nearer, and Ada wins then, too. *Any filled* draws regions with something in them, 7.2; *other things* draws those of things that are not asked about (and empty ones where there are no others): -0.2.
#
# The random fall itself is small, 0.3 points: most of 64 regions are empty.
#
# </details>
# <details><summary>Does it hang on what is put there, or on how it was trained?</summary>
#
# What goes is replaced by an empty region, a value that means "nothing here". With the mean region in its place attention has 27.0 points and gradient times input 14.1, much the same. With a region that is white all over the random fall is 9.4 in place of 0.3, and attention's gap 31.9: the blank says something now. The model met missing pictures in training, never a picture with holes. Trained with a tenth of the single regions missing, in place of a tenth of the pictures, attention has 25.8 and gradient times input 14.1. And with one, six or ten regions in place of three attention has 4.7, 54.7 and 64.0 points, gradient times input 4.1, 19.2 and 19.7.
#
# </details>

# %% [markdown]
# ## Change one thing
#
# To say that the colour *causes* the answer, change the colour and nothing else. For photographs this is hard. `scenes` are drawn, so anything can be drawn again with one thing changed: a **counterfactual** (反事实). And what the answer then *should* be is known.

# %% tags=["measured", "proof"]
# Scores of pictures, the thing that is asked about, and how much of each region is its.
def whole_score(body, model, part, answer):
    return lambda images: score_of(model, part, answer)(body(images).flatten(2).mT)

def asked_thing(item):
    wanted = read_question(item["question"]).first
    (place,) = [k for k, thing in enumerate(item["objects"]) if wanted.fits(thing)]
    return place

def covered(items):
    """The share of each region that the asked thing covers, and that others do, (N, 64) each."""
    masks = [(item["objects"][asked_thing(item)].mask(), torch.stack(
        [thing.mask() for thing in item["objects"]]).any(dim=0)) for item in items]
    own, filled = (torch.stack(one).float() for one in zip(*masks))
    return tuple(F.avg_pool2d(x[:, None], 8).flatten(1) for x in (own, filled - own))

def fixed_score(model, part, answer):
    """`score_of` with the attention weights of the whole picture held fixed."""
    with torch.no_grad():
        question, _, weights = model.look(part)
    def of(cells):
        found = (weights[:, None, :64] @ cells)[:, 0] + weights[:, 64:] * model.null
        logits = model.head(torch.cat([question, found], dim=1))
        return logits.gather(1, answer[:, None])[:, 0]
    return of

# %% tags=["measured", "proof"]
# The size of three maps over the pixels (N, 4096); one thing in all six colours.
def pixel_maps(integrate, body, model, part, images, answer):
    score, x = whole_score(body, model, part, answer), images.clone().requires_grad_()
    slope, = torch.autograd.grad(score(x).sum(), x)
    ground = torch.full_like(images, 40 / 255)
    whole = integrate(score, images, ground, 8)
    found = {"gradient": slope.abs().amax(dim=1), "integrated gradients": whole.sum(dim=1),
             "gradient times input": (slope * images).sum(dim=1)}
    return {name: one.abs().flatten(1) for name, one in found.items()}

def colour_swaps(split, size):
    found = []
    for item in (one for one in load(split, size)[1] if one["kind"] == "shape"):
        which = asked_thing(item)
        for colour in COLOURS:
            one = changed(item, which, colour=colour)
            if one is not None:
                found.append(one | {"colour": colour, "box": item["objects"][which].box})
    return found

# %% tags=["measured", "proof"]
# Scenes drawn again, one thing with another colour or shape.
def stamp(shape, side):
    x = 2 * torch.arange(side) - (side - 1)
    y, down = x[:, None], torch.arange(side)[:, None]
    return {"circle": x**2 + y**2 <= side**2, "square": (x * y).abs() >= 0,
            "triangle": x.abs() <= down.clamp(min=1),
            "cross": (3 * x.abs() < side) | (3 * y.abs() < side)}[shape]

def repaint(things, which=None, **change):
    """The things, the one at `which` with another colour or shape, and their picture."""
    picture, new = torch.full((3, 64, 64), 40 / 255), []
    for k, thing in enumerate(things):
        new.append(replace(thing, **change) if k == which else thing)
        left, top, right_end, bottom = thing.box
        ink = torch.tensor(COLOURS[new[-1].colour])[:, None, None] / 255
        window = picture[:, top:bottom, left:right_end]
        window.copy_(torch.where(stamp(new[-1].shape, bottom - top), ink, window))
    return new, picture

def changed(item, which, **change):
    """The item after the change, with the answer that is now right; None if there is none."""
    things, picture = repaint(item["objects"], which, **change)
    true = read_question(item["question"]).answer(things)
    return None if true is None else item | {"objects": things, "image": picture, "answer": true}

# %% tags=["measured", "proof"]
# All swaps of some scenes, by their kind.
def swapped(items):
    found = {}
    for row, item in enumerate(items):
        for which, thing in enumerate(item["objects"]):
            for name, words in (("colour", tuple(COLOURS)), ("shape", SHAPES)):
                new = words[(words.index(getattr(thing, name)) + 1) % len(words)]
                one = changed(item, which, **{name: new})
                if one is None:
                    continue
                whose = "asked thing" if which == asked_thing(item) else "another thing"
                what = "what is asked" if name == item["kind"] else "something else"
                one |= {"row": row, "stays": one["answer"] == item["answer"]}
                pair = one["objects"][which].colour, one["objects"][which].shape
                name_of = f"{whose}, {what}" + ", never shown" * (pair in HELD_OUT)
                found.setdefault(name_of, []).append(one)
    return found

# %%
kept_swaps = stored("33", "swaps")                             # python tools/sweep.py 33 swaps
good, redrawn = right(model, test), swapped(items["test"][:200])
for whose in ("asked thing", "another thing"):
    name = f"{whose}, what is asked"
    before = good[torch.tensor([item["row"] for item in redrawn[name]])] == 1  # right so far
    share = right(model, as_part(redrawn[name]))[before].mean().item()
    report(f"{name}: live minus stored", share - kept_swaps[name]["accuracy"]["right"][0], 0, 0.06)

# %%
SHOULD = {"asked thing, what is asked": "changes", "asked thing, something else": "stays",
          "another thing, what is asked": "stays", "another thing, something else": "stays"}
print(f"{'what is changed':32}{'the answer should':>19}{'does, %':>13}{'to a new pair':>16}")
for name, what in SHOULD.items():
    shares = [gap(kept_swaps[name + pair], "right") for pair in ("", ", never shown")]
    print(f"{name:32}{what:>19}{shares[0]:>13}{shares[1]:>16}")

# %% tags=["figure"]
# One question: the scene, the asked thing and another thing in another colour.
ROW = next(i for i, item in enumerate(items["test"]) if item["kind"] == "colour" and good[i]
           and len(item["objects"]) == 4 and item["answer"] != "white")
scene = items["test"][ROW]
asked, rival = asked_thing(scene), (asked_thing(scene) + 1) % 4
views_of = [scene, changed(scene, asked, colour="white"), changed(scene, rival, colour="white")]
shown_part = as_part(views_of)
plots.overlay(
    [item["image"] for item in views_of],
    titles=[f"{what}\n{ANSWERS[word]}" for what, word in zip(
        (scene["question"].replace(" is ", "\nis "), "it in white", "another in white"),
        said(model, shown_part))],
    attention=list(attention(model, shown_part).view(-1, 8, 8)), columns=3, size=2.1,
    caption="One scene, and two changes: the asked thing's colour, another thing's. The answer of"
    " the model stands above, its attention lies on the picture.",
)

# %% [markdown]
# Change what is asked, and the answer follows in 99.5 % of the cases. Change something else of the same thing, and it stays in 99.0; change another thing, and it stays in 99.1 and 99.5. That is a statement about causes, because only one thing was changed and we know how the pictures are made. A map cannot make it: it names places, and colour and shape stand at the same place.
#
# The last column has the same changes where they lead to one of four pairs of colour and shape that no training picture had. There the answer follows in 42.4 %, and stays in 72.5.
#
# <details><summary>Which changes count</summary>
#
# Each change is the next word of the list; it counts where the model was right before and the question still fits one thing.
#
# </details>

# %% [markdown]
# ### A combination that was never shown
#
# The frozen network has never seen a red triangle, a yellow square, a green circle or a blue cross. Page 03 saw a small classifier of shapes break on such new combinations. Now ask "what shape is the large thing?" and change only its *colour*, through all six. The shape stays, so the answer should stay. Over the same frozen network the asker is trained in three ways, five times each, always on 3,000 scenes: without the four pairs; with all four, in half of the scenes; and the same without the one pair of the row:

# %%
combos = stored("33", "combinations")              # python tools/sweep.py 33 combinations
print("right, %, seeds 0 to 4       without all four      without this one              with all")
for name in ("known", "red triangle", "yellow square", "green circle", "blue cross", "new"):
    line = f"{name:26}"
    for way, wide in (("held out", 20), (f"but {name}", 22), ("shown", 22)):
        shares = combos.get(f"{way}: {name}", {"accuracy": {"right": []}})["accuracy"]["right"]
        line += " ".join(f"{100 * share:3.0f}" for share in shares).rjust(wide)
    print(line)
print("attention points at the asked thing, %, four pixels tolerance")
for name in ("held out: known", "held out: new", "held out: new and wrong"):
    print(f"    {name:28}{gap(combos[name], 'pointing'):>14}")

# %% [markdown] owes="F165"
# Without the four pairs 98 % of the known ones are right, and in the mean 32 % of the new ones (last row, all four). Shown them, the asker has 93 %: so the frozen network's regions tell these shapes; an asker that was never shown the pair does not use it.
#
# *Which* new pair breaks depends on the pair and on the seed. Green circles break in every run, 1 to 3 %. Red triangles lie between 26 and 88 %, blue crosses between 38 and 78: the same scenes, another seed. Whoever trains once can tell any of these stories.
#
# <details><summary>One missing pair is not simply less than four</summary>
#
# Nor is one missing pair simply less than four: red triangles fall from 65 to 6 %, yellow squares rise from 10 to 41. Where three of the pairs are shown they are frequent, so colours and shapes go together otherwise than before. The table does not tell whether that is why.
#
# </details>
#
# And the maps? Where the pair is new, the attention points at the asked thing in 99 % of the pictures; where the answer is *wrong*, also in 99. The model looks at the right thing and reads it wrongly. A map says where, and not what.
#
# <details><summary>What does "causal" need?</summary>
#
# Somebody who can change one thing and leave all else: here the drawing programme. Where nobody can, a swap by hand or by a generator changes more than one thing, and the sentence is about all that was changed.
#
# </details>
#
# **Try it.** Give the asked thing another colour, and ask again.

# %% tags=["figure"]
# The widget: a question, and the colour of the thing that is asked.
CHOICES = {f"{i}: {items['test'][i]['question']}": i for i in range(24)
           if items["test"][i]["kind"] != "size"}

def put(question, colour):
    item = items["test"][CHOICES[question]]
    one = changed(item, asked_thing(item), colour=colour)
    if one is None:
        return item, None, None, None
    part_of = as_part([one])
    return one, one["answer"], ANSWERS[said(model, part_of)], attention(model, part_of).view(8, 8)

def draw_put(question, colour):
    item, true, told, one_map = put(question, colour)
    return plots.overlay.figure([item["image"]], titles=[told or "no such thing"],
                                attention=[one_map], size=3.0)

def tell_put(question, colour):
    item, true, told, _ = put(question, colour)
    found = f'Now right: "{true}". The model: "{told}".' if true else "No such thing is there."
    return f"{question} {found}"

Explorer(draw_put, {"question": Dropdown(options=list(CHOICES)),
                    "colour": Dropdown(options=list(COLOURS))}, tell_put,
         caption="The asked thing in the chosen colour, the answer, and the attention.").show()

# %% [markdown]
# ## The gradient at the end of the road
#
# Gradient times input stays behind attention. A derivative says what a *small* step does, and here a region goes as a whole.
#
# Smaller: $f(x) = \min(x, 1)$, and $x = 3$. The derivative is 0: one step more changes nothing. So gradient times input says that $x$ does not matter, though $f(3) - f(0) = 1$. **Integrated gradients** (积分梯度) of [Sundararajan and others](https://arxiv.org/abs/1703.01365) go the way from a baseline $x_0$ to $x$ and take the mean of the gradients on it:
#
# $$ a = (x - x_0) \odot \frac{1}{n} \sum_{i=0}^{n-1} \nabla f\!\left(x_0 + \frac{i + 0.5}{n} (x - x_0)\right) \tag{33.2} $$
#
# With $x_0 = 0$ and three steps the points are 0.5, 1.5, 2.5, their derivatives 1, 0, 0, and $a = 3 \cdot 1/3 = 1$. With more steps the attributions come to what the score has gained on the way (**completeness** (完备性)):
#
# $$ \sum_j a_j \to f(x) - f(x_0) \tag{33.3} $$
#
# > **Exercise 33.2 · Integrated gradients** — *12 minutes · core*
# >
# > - `score(x)` takes all samples at once, `(B, ...)`, in their order, and gives a number a sample, `(B,)`, of that sample alone. `x` `(B, ...)`; `baseline` has the shape of `x` or of one sample.
# > - `steps` points, at the *middles* of equal steps: $(i + 0.5) / n$.
# > - Return the attributions, in the shape of `x`, without a gradient of their own. `x` stays as it is.

# %% exercise="33.2"
def integrated_gradients(score, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    """(x - baseline) times the mean gradient of the score on the way from baseline to x.

    Example: the score x ** 2 at x = 3 from 1 in one step gives (3 - 1) * 2 * 2 = 8.
    """
    ### BEGIN SOLUTION
    total = torch.zeros_like(x)
    for i in range(steps):
        point = baseline + (i + 0.5) / steps * (x - baseline)              # (B, ...)
        point = point.detach().requires_grad_()
        total += torch.autograd.grad(score(point).sum(), point)[0]
    return ((x - baseline) * total / steps).detach()
    ### END SOLUTION

# %% [markdown] hints="33.2"
# <details><summary>A question that helps</summary>
#
# The scores of all samples are summed before `backward`. Why does that give each sample its own gradient?
#
# </details>
# <details><summary>The idea in words</summary>
#
# A loop over `i`. The point on the way, detached from what was before and with `requires_grad_()`. `torch.autograd.grad(score(point).sum(), point)[0]`, added up. At the end divide by `steps` and multiply by `x - baseline`.
#
# </details>
# <details><summary>If the sum comes out twice as large, or half</summary>
#
# Compare with $f(x) = x^2$: which of the factors is there twice?
#
# </details>

# %%
integrated_gradients = mine("33.2", integrated_gradients)
score, W = score_of(model, test, answer), torch.randn(4, dtype=torch.float64)
gained = (score(test["cells"]) - score(EMPTY.expand_as(test["cells"]))).detach()      # (B,)
for steps in (1, 4, 16, 64):
    summed = integrated_gradients(score, test["cells"], EMPTY, steps).sum(dim=(1, 2))
    print(f"steps {steps:2}: away from the gain by", f"{(summed - gained).abs().mean():.2f}")
ways = kept | stored("33", "baselines")                        # python tools/sweep.py 33 baselines
for name in ("gradient times input", "gradient times input, from the empty region",
             "attention held fixed", "integrated gradients", "integrated gradients, from zero"):
    print(f"gap, all questions: {name:46}", gap(ways[name]))
for one, other in (("integrated gradients", "gradient times input"),
                   ("integrated gradients", "attention"),
                   ("attention held fixed", "gradient times input")):
    print(f"{one} minus {other}:", more(ways[one], ways[other]))
def curve(x):                                                      # smooth: many steps suffice
    return torch.tanh((x * W).sum(dim=1))                          # (B, 4) -> (B,)
by_parts = integrated_gradients(curve, 2 * W[None], W, 3000).sum(dim=1)
verify("33.3", by_parts, curve(2 * W[None]) - curve(W[None]), tolerance=1e-6)

# %% tags=["proof"]
# (33.2) in a loop over the points.
seed_everything(0)
x0, x1 = torch.randn(2, 4, dtype=torch.float64)
line = (W * x0).sum(), (W * (x1 - x0)).sum()
slopes = [W * (1 - torch.tanh(line[0] + (i + 0.5) / 5 * line[1]) ** 2) for i in range(5)]
verify("33.2", by_hand=(x1 - x0) * sum(slopes) / 5,
       reference=integrated_gradients(curve, x1[None], x0, 5)[0])

# %% [markdown]
# With more steps the sum comes nearer to the gain. Integrated gradients (16 steps, from the empty region) have a gap of 27.4 points: 13.3 ± 1.9 more than gradient times input. From attention they do not differ clearly (0.5 ± 0.8 more). Gradient times input goes from zero, integrated gradients from the empty region, and along the way. It is the way that helps: gradient times input from the empty region has 13.7, integrated gradients from zero 26.9.
#
# <details><summary>Why is gradient times input behind?</summary>
#
# The logit depends on a region in two ways: by what it brings, and by how much it is looked at. Hold the attention weights fixed, and take the same gradient times input of what is left: 20.4 points in place of 14.1, 6.2 ± 1.4 more. Only that one thing changed, so the way through the softmax is a part of what spoils it. It is not all: attention has 27.0. Nor is it all that spoils it: with the softmax in place and only the sign dropped, it is 22.6. In 36 % of the questions the region with most attention has a negative product.
#
# </details>
# <details><summary>Would it be best to try out each region, exactly?</summary>
#
# The map that takes away each one alone, and notes the fall, has 14.0 points. What three regions do together is not the sum of what each does alone.
#
# </details>

# %% [markdown]
# ### More: white is a colour, too
#
# *More: nothing later needs this section, but its fault is met by everybody.* The same for pixels: the score of the whole model, network included. A white thing is asked about, and the baseline is a white page. How much of the attribution lies on the thing?

# %%
whites = [i for i, item in enumerate(items["test"])
          if item["objects"][asked_thing(item)].colour == "white" and answer[i] == test["label"][i]]
whites = whites[:20]
images = torch.stack([items["test"][i]["image"] for i in whites])              # (20, 3, 64, 64)
part = {name: x[whites] for name, x in test.items()}
on_thing = torch.stack([items["test"][i]["objects"][asked_thing(items["test"][i])].mask()
                        for i in whites])                                      # (20, 64, 64)
pixel_score = whole_score(encoder.body, model, part, answer[whites])

# %% tags=["fault"]
page_of = torch.full_like(images, 250 / 255)                    # a white page
sizes = integrated_gradients(pixel_score, images, page_of, 8).abs().sum(dim=1)
share = (sizes * on_thing).sum() / sizes.sum()
print("the white thing matters for what is said of it:", bool(share > 0.1))

# %% [markdown]
# Integrated gradients multiply by $x - x_0$. Where the picture *is* the baseline, they are 0, whatever the model does. A black page does the same to black things. The picture with nothing in it is the empty scene, a dark grey:

# %%
page_of = torch.full_like(images, 40 / 255)                     # an empty scene
sizes = integrated_gradients(pixel_score, images, page_of, 8).abs().sum(dim=1)
share = (sizes * on_thing).sum() / sizes.sum()
print("the white thing matters for what is said of it:", bool(share > 0.1))

# %% tags=["figure"]
# One white thing under three baselines, and feature maps of its picture.
first = {name: x[:1] for name, x in part.items()}
first_score = whole_score(encoder.body, model, first, answer[whites[:1]])
views = {level: integrated_gradients(first_score, images[:1], torch.full_like(images[:1], value), 8)
         for level, value in (("white page", 250 / 255), ("black page", 0.0), ("empty", 40 / 255))}
features = {}
for name, depth in (("first layer", 3), ("last layer", 13)):
    feature = encoder.body[:depth](images[:1])[0]              # (channels, h, w)
    chosen = feature.flatten(1).std(dim=1).topk(2).indices
    features |= {f"{name}, {c.item()}": feature[c].clamp(min=0) + 1e-6 for c in chosen}
plots.overlay(
    [images[0]] * 8,
    titles=[items["test"][whites[0]]["question"].replace(" is ", "\nis "), *views, *features],
    attention=[None, *(x.abs().sum(dim=(0, 1)) for x in views.values()), *features.values()],
    columns=4, size=1.9,
    caption="A picture; integrated gradients (size) from a white page, a black page and an empty"
    " scene; two feature maps of the first layer and two of the last, what is above 0.",
)

# %% [markdown] owes="F163"
# Feature maps (page 03) are the other thing that is often shown as an explanation: what one channel of a layer gives at each place. In the figure the first layer answers at edges, the last over the whole thing. They belong to the picture, not to the answer: the question does not occur in them.

# %% [markdown]
# ## Make the weights random
#
# A map is meant to say something about the *model*. So spoil the model: if the map stays, it shows the picture, as an edge detector would. [Adebayo and others](https://arxiv.org/abs/1810.03292) did this to the usual maps of networks for photographs, and several stayed. Here: first the head gets new random weights, then also what reads the question, then the last of the frozen network's convolutions, then all of them. Likeness is the rank correlation of the two maps, 1 for the same order of all places:


# %%
checks = stored("33", "sanity")                                # python tools/sweep.py 33 sanity
COLUMNS = {"gradient": "all", "gradient times input": "all", "integrated gradients": "all",
           "on things": "things", "attention": "all"}
HEADS = ("gradient", "times input", "integrated", "its things", "attention")
print(f"{'like the trained one, five seeds':32}" + "".join(f"{head:>13}" for head in HEADS))
for stage in ("another seed", "head", "question", "last convolution", "all convolutions",
              "labels shuffled", "another picture"):
    line = f"{stage:32}"
    for name, where in COLUMNS.items():
        row = checks[f"{stage}: {'integrated gradients' if name == 'on things' else name}"]
        mean, half = mean_interval(row["accuracy"][where])
        line += f"{f'{mean:.2f} ± {half:.2f}':>13}"
    print(line)

# %% tags=["figure"]
# One picture under the trained model, and under one with random weights throughout.
seed_everything(0)
noise_body, noise_model = load_image_encoder("scenes-cnn", random=True).body, Asker().eval()
one_part, one_image = {name: x[[ROW]] for name, x in test.items()}, scene["image"][None]
drawn, heads = [None], [scene["question"].replace(" is ", "\nis ")]
pair_of = {"trained": (encoder.body, model), "random": (noise_body, noise_model)}
for which, (network, asker) in pair_of.items():
    sizes_of = pixel_maps(integrated_gradients, network, asker, one_part, one_image, answer[[ROW]])
    with torch.no_grad():
        cells_of = network(one_image).flatten(2).mT
    drawn += [sizes_of["integrated gradients"].view(64, 64),
              attention(asker, one_part | {"cells": cells_of}).view(8, 8)]
    heads += [f"{which}:\nintegrated gradients", f"{which}:\nattention"]
plots.overlay(
    [scene["image"]] * 5, titles=heads, attention=drawn, columns=5, size=2.1,
    caption="A picture, and two maps under the trained model and one that has learned nothing."
    " Integrated gradients draw the things in both; under random weights attention is flat.",
)

# %% [markdown] owes="F75 F166 F169 F191 F199 F209"
# Attention does not notice a random head, 1.00: it is computed before the head, and cannot say what the head does with it. When the question is read at random, nothing is left of it, -0.04.
#
# Integrated gradients stay at 0.99 when *all* convolutions are random, too (only the batch norms' scales are left, and the vector that is looked at if nothing is there). Why? They multiply by $x - x_0$, and that is 0 wherever nothing stands, whatever the model is. So the map shows where things are. Among the pixels of things alone the likeness falls to -0.01 (another seed: 0.75). The plain gradient has no such factor: 0.25, where another seed has 0.89 and another picture 0.11. With shuffled labels, where nothing can be learned and only memorised, attention is at -0.28 and the gradient at 0.18.
#
# So compare with random weights, and on the places that can differ. And mind the last row, another picture: what two maps have in common that have nothing to do with each other. It is not 0 for each kind of map, and it is what a likeness is to be read against.
#
# <details><summary>Rules as a prior: an answer that cannot be right is masked</summary>
#
# "What colour ...?" cannot be answered by "cross". Such a rule can stand outside of the model: mask the logits that it forbids. After 30 training questions (and 500 that choose the epoch) this lifts the accuracy from 27.1 ± 4.2 to 36.7 ± 1.9 %: 9.6 ± 3.4 points. The rule alone, with a guess among what it allows, has 30.5: so most of the 36.7 is the rule's. A rule may also be a term in the loss, a graph of what can be together, or a programme that checks the answer. It cannot take away a right answer as long as it is true, and it is the part of the model that can be read.
#
# Somebody who uses the model wants to do something with an explanation: to switch a modality off, to forbid an answer, to correct a region. How explainable it is, is then measurable: how often does what was changed change the answer as it should?
#
# Knowledge, causes and reward are often asked for together. A rule as a mask is a small piece of the first, the swaps above are the second. **Reinforcement learning** (强化学习) would reward answers that pass a check, where nobody gives the right one; it is not tried here.
#
# </details>
# <details><summary>A small game: which modality do you protect?</summary>
#
# An attacker replaces either the question or the picture by another sample's. You can protect one of them, and he does not see which. The payoff is the accuracy: $c$ if he meets the protected one, else $n_q$ (question replaced) or $n_p$ (picture replaced). Whoever always protects the same is hit at the other. A **mixed strategy** (混合策略) protects the question with probability $q$, such that both attacks cost the same (while $c$ is the largest of the three):
#
# $$ q = \frac{c - n_q}{2c - n_q - n_p}, \qquad \text{value} = \frac{c^2 - n_q n_p}{2c - n_q - n_p} \tag{33.4} $$
#
# With more modalities and attacks there is no such formula, but the best mix is a linear programme: maximise $v$, such that each attack leaves at least $v$. `scipy.optimize.linprog` solves it. Here $c$, $n_q$, $n_p$ are 0.99, 0.20 and 0.32: protect the question with probability 0.54, and 0.63 are right, whatever he attacks.
#
# </details>

# %% tags=["proof"]
# (33.4), from the measured accuracies, against the linear programme.
from scipy.optimize import linprog

c, n_q, n_p = (sum(kept_swaps[f"attack: {name}"]["accuracy"]["right"]) / 5
               for name in ("none", "question", "picture"))
payoff = torch.tensor([[c, n_p], [n_q, c]], dtype=torch.float64)   # protected x attacked
best_mix = linprog([0, 0, -1], A_ub=F.pad(-payoff.T, (0, 1), value=1.0).numpy(), b_ub=[0, 0],
                   A_eq=[[1, 1, 0]], b_eq=[1], bounds=[(0, 1), (0, 1), (None, None)]).x
closed = [(c - n_q) / (2 * c - n_q - n_p), (c * c - n_q * n_p) / (2 * c - n_q - n_p)]
verify("33.4", by_hand=closed, reference=[float(best_mix[0]), float(best_mix[2])])

# %% [markdown]
# ## With the library
#
# <details><summary>The same with Captum</summary>
#
# [Captum](https://captum.ai) has this map and many others; it is installed apart. The same numbers:
#
# ```python
# from captum.attr import IntegratedGradients
#
# IntegratedGradients(net).attribute(
#     x, baselines=0.0, target=0, n_steps=50, method="riemann_middle")
# ```
#
# </details>
#
# Integrated gradients in plain PyTorch, for any network that takes one sample:

# %%
import torch as pt

net = pt.nn.Sequential(pt.nn.Linear(4, 16), pt.nn.Tanh(), pt.nn.Linear(16, 3))
x, start = pt.randn(5, 4), pt.zeros(4)
slopes_of = pt.func.vmap(pt.func.grad(lambda one: net(one)[0]))    # of logit 0, sample by sample
way = x - start
mean_slope = sum(slopes_of(start + (i + 0.5) / 50 * way) for i in range(50)) / 50
given = (way * mean_slope).sum(dim=1)                              # (5,)
print("complete:", pt.allclose(given, net(x)[:, 0] - net(start)[0], atol=1e-3))

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **settle** the bet: on colour questions the answer falls 37 points further without the three regions of attention than without three at random, 18 for gradient times input;
# 2. **build** the deletion gap, and read it beside maps that need no model: regions with anything in them have 7;
# 3. **change** one thing of a picture: the answer follows what is asked in 99.5 %, and on new pairs the attention points rightly where the answer is wrong;
# 4. **build** integrated gradients, 27 points, and, with More, choose a baseline that means nothing: white and black are colours;
# 5. **spoil** the weights: integrated gradients keep their outline, attention does not notice the head.
#
# ## Questions
#
# <details><summary>1. "Without the 32 regions that our map names, of 64, the probability falls by 40 points." What do you ask?</summary>
#
# How far it falls without 32 random ones, and without 32 that have something in them. Half of a picture is missing.
#
# </details>
# <details><summary>2. Integrated gradients give a black cat no attribution. Does the cat not matter?</summary>
#
# The baseline is black. Where the picture equals the baseline, the factor is 0. Take another baseline, one that means "nothing here".
#
# </details>
# <details><summary>3. The head gets random weights, and the attention map is as before. Is that a fault of the code?</summary>
#
# No. The map is computed before the head. It says what was passed on, and not what became of it.
#
# </details>
# <details><summary>4. The map points exactly at the thing, and the answer is wrong. What has the map told you?</summary>
#
# Where the model looked. What it read there, the map does not say: change the colour and nothing else, and you see.
#
# </details>
# <details><summary>5. With the whole page: somebody shows a map and says "the model decides by shape". How do you test it?</summary>
#
# Change the shape and nothing else, and count how often the answer follows; change the colour, and count how often it stays. With several trainings, and separately for pairs that training did not have.
#
# </details>
# <details><summary>6. With the whole page: a new kind of map is published. Which three numbers do you want?</summary>
#
# Its deletion gap beside attention and beside regions with anything in them; its likeness to the map of a model with random weights, on places that can differ; both for five seeds.
#
# </details>
#
# ## Read more
#
# - M. Sundararajan, A. Taly, Q. Yan, *Axiomatic Attribution for Deep Networks*, ICML 2017 (arXiv:1703.01365). Integrated gradients, and why a gradient alone breaks at saturation.
# - J. Adebayo and others, *Sanity Checks for Saliency Maps*, NeurIPS 2018 (arXiv:1810.03292). Random weights and shuffled labels.
# - S. Jain, B. C. Wallace, *Attention is not Explanation*, NAACL 2019, and S. Wiegreffe, Y. Pinter, *Attention is not not Explanation*, EMNLP 2019. What attention can be asked for.
# - S. Hooker and others, *A Benchmark for Interpretability Methods in Deep Neural Networks*, NeurIPS 2019 (arXiv:1806.10758). Remove, train again, and then compare: a picture with holes is a new kind of picture.
# - D. Kaushik, E. Hovy, Z. Lipton, *Learning the Difference that Makes a Difference with Counterfactually-Augmented Data*, ICLR 2020. Swaps written by people, for texts.
#
# ## A bet for page 34
#
# The weights of a small classifier of pictures and sounds are stored in one byte each instead of four, and turned back into numbers as each layer needs them.
#
# *Ada says: it does not answer sooner on your machine.* *Ben says: it does, for a quarter of the bytes is read.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("33.c", None)
guesses("33")
