"""The exam's questions for a number. Each function takes a generator and gives the text, the right
number and {the number of a wrong idea: what is wrong about it}; None where it is to be drawn again.

The right number is computed, where it can be by the layers and optimisers themselves.
"""

import itertools
import math

import torch
from torch import nn


def glued(draw):
    left, right, start = ([draw.randint(-9, 9) / 10 for _ in range(3)] for _ in range(3))
    bias = [draw.randint(1, 9) / 10 for _ in range(2)]
    text, before = start[:2], start[2]
    after = before + draw.choice([2, 3, 4])
    moved = after - before
    scores = [
        sum(w * x for w, x in zip(row, [*text, after])) + b for row, b in zip((left, right), bias)
    ]
    asked = f"""\
A text of two numbers and an image of one are glued, `h = [text; image]`, and a linear head gives
two logits, `W @ h + b`:

```
W = [[{left[0]}, {left[1]}, {left[2]}],
     [{right[0]}, {right[1]}, {right[2]}]]
b = [{bias[0]}, {bias[1]}]        text = {text}
```

The image's number rises from {before} to {after}, the text stays. By how much does
(logit 1 - logit 0) change?"""
    return (
        asked,
        (right[2] - left[2]) * moved,
        {
            right[2] * moved: "only one of the two logits is looked at: the other one moves, too.",
            (left[2] - right[2]) * moved: "the difference is taken the wrong way round.",
            scores[1] - scores[0]: "this is the difference itself, and not what the image changed;"
            " text and bias do not matter for that.",
            (right[0] - left[0]) * moved: "a column of the text is taken for the image's.",
        },
    )


def flattened(draw):
    side, kernel, out = draw.randint(40, 90), draw.choice([5, 7]), draw.choice([12, 16, 24])
    pad = kernel // 2
    layers = [nn.Conv2d(3, 8, kernel, stride=2, padding=pad), nn.Conv2d(8, out, 3, stride=2)]
    right = nn.Sequential(*layers, nn.Flatten())(torch.zeros(1, 3, side, side)).shape[1]

    def after(size, kernel, pad, down=math.floor):
        return down((size + 2 * pad - kernel) / 2) + 1

    unpadded = after(after(side, kernel, 0), 3, 0)
    rounded_up = after(after(side, kernel, pad, math.ceil), 3, 0, math.ceil)
    asked = f"""\
A batch `(B, 3, {side}, {side})` goes through

```python
nn.Conv2d(3, 8, {kernel}, stride=2, padding={pad}), nn.ReLU(),
nn.Conv2d(8, {out}, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(N, 10)
```

Which N is right?"""
    return (
        asked,
        right,
        {
            out * unpadded**2: "the padding is forgotten.",
            out * rounded_up**2: "a window that does not fit is counted: the division rounds down.",
            right // out: "the channels are forgotten: Flatten lines up all maps.",
            out: "this would be right behind a mean over places; Flatten keeps every place.",
        },
    )


def frozen(draw):
    asked = """\
The pretrained `encoder` (convolutions with batch norm) shall stay exactly as it came. After an
epoch its answer to one and the same picture has changed, asked in evaluation mode before and after,
although no parameter has moved. Which line is at fault?

```
1  for p in encoder.parameters(): p.requires_grad_(False)
2  model = nn.Sequential(encoder, nn.Linear(512, 10))
3  optimiser = torch.optim.AdamW(model[1].parameters(), lr=1e-3)
4  model.train()
5  for images, labels in loader: step(model, optimiser, images, labels)
```"""
    return (
        asked,
        4,
        {
            1: "it does all that it should: no parameter moves. Running means are no parameters.",
            2: "putting encoder and head in a row changes nothing in either.",
            3: "the optimiser holds the head alone, as it should.",
            5: "a step moves what has a gradient, and batch norm only in the mode that was set.",
        },
    )


def mixed(draw):
    real, padded = 5, 3
    sound = [draw.choice([-4, -3, -2, 2, 3, 4]) for _ in range(real)] + [0] * padded
    noise = [draw.choice([-3, -2, -1, 1, 2, 3]) for _ in range(real + padded)]
    decibel = draw.choice([-10, -6, 6, 10, 15])

    def power(samples):
        return sum(x * x for x in samples) / len(samples)

    def factor(ratio):
        return math.sqrt(ratio / 10 ** (decibel / 10))

    ratio = power(sound[:real]) / power(noise[:real])
    sizes = [sum(abs(x) for x in samples[:real]) for samples in (sound, noise)]
    asked = f"""\
A clip of {real} samples is padded to {real + padded}; noise of the same length is ready:

```
sound = {sound}
noise = {noise}
```

`sound + g * noise` is to have, over the clip's own samples, a signal-to-noise ratio of
{decibel} dB. Which g > 0?"""
    return (
        asked,
        factor(ratio),
        {
            factor(ratio) ** 2: "this is the ratio of powers: a factor of amplitudes is its root.",
            math.sqrt(ratio * 10 ** (decibel / 10)): "more decibels mean less noise, not more.",
            factor(power(sound) / power(noise)): "the power is taken over the padding, too.",
            sizes[0] / sizes[1] / 10 ** (decibel / 10): "decibels compare powers: mean squares, and"
            " not mean sizes.",
        },
    )


def kept(draw):
    early = [0.9 - 0.1 * i + draw.randint(0, 4) / 100 for i in range(draw.randint(1, 3))]
    best = min(early) - 0.1
    worse = [best + draw.randint(2, 9) / 100 for _ in range(2)]
    losses = [math.nan, *early, best, *worse, best - 0.15, best - 0.2]
    patience, lowest, chosen, waited = 2, math.inf, None, 0
    for epoch, loss in enumerate(losses):
        if loss < lowest:
            lowest, chosen, waited = loss, epoch, 0
        else:
            waited += 1
        if waited == patience:
            break
    shown = ", ".join(f"{loss:.2f}" for loss in losses)
    asked = f"""\
Early stopping with a patience of {patience}: training ends after {patience} epochs in a row that
are no new best, and the best epoch's weights are put back. A NaN is never a best; the count begins
anew with each best. These would be the validation losses of epochs 0, 1, 2, ...:

```
{shown}
```

Of which epoch are the weights that you get?"""
    return (
        asked,
        chosen,
        {
            len(losses) - 1: "training has ended before: nobody sees the losses that come later.",
            epoch: "this is the last epoch that ran; the best one's weights are put back.",
            0: "a NaN is kept as the best: no number is lower than NaN.",
            chosen + 1: "the epochs are counted from 0.",
        },
    )


def interaction(draw):
    (low, high), (left, right) = ([draw.randint(-30, 30) / 10 for _ in range(2)] for _ in range(2))

    def sure(logit):
        return 1 / (1 + math.exp(-logit))

    asked = f"""\
A model says these logits for "yes", for two texts and two images:

| | image 0 | image 1 |
|---|---|---|
| text 0 | {low} | {high} |
| text 1 | {left} | {right} |

How large is the interaction: by how much is the image's effect (image 1 minus image 0) on the logit
larger beside text 1 than beside text 0?"""
    return (
        asked,
        right - left - high + low,
        {
            right - left: "this is the image's effect beside one text.",
            right - left + high - low: "both effects are added; a sum without interaction would not"
            " give 0.",
            right - low: "text and image are changed at once.",
            sure(right) - sure(left) - sure(high) + sure(low): "probabilities are bent by the"
            " sigmoid: even a plain sum shows an interaction in them.",
        },
    )


def registered(draw):
    dims = [draw.randint(5, 9), draw.randint(10, 20)]
    width, classes = draw.randint(6, 12), draw.randint(3, 5)

    class Fuse(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = [nn.Linear(dim, width) for dim in dims]
            self.scale = nn.Parameter(torch.ones(width)).to(torch.float64)
            self.register_buffer("mean", torch.zeros(width))
            self.head = nn.Linear(width, classes)

    layer = Fuse()
    right = sum(p.numel() for p in layer.parameters())
    maps = sum(p.numel() for one in layer.maps for p in one.parameters())
    asked = f"""\
```python
class Fuse(nn.Module):
    def __init__(self):
        super().__init__()
        self.maps = [nn.Linear(dim, {width}) for dim in {dims}]
        self.scale = nn.Parameter(torch.ones({width})).to(torch.float64)
        self.register_buffer("mean", torch.zeros({width}))
        self.head = nn.Linear({width}, {classes})
```

How many numbers can `torch.optim.AdamW(Fuse().parameters())` move?"""
    return (
        asked,
        right,
        {
            right + maps: "the layers in a plain list are not registered: nn.ModuleList would be.",
            right + width: "`.to` with another dtype gives a plain tensor, and no parameter; a"
            " buffer is none either.",
            right + maps + width: "neither a plain list nor what `.to` gives is registered.",
            right - classes: "the head has a bias.",
        },
    )


def experts(draw):
    prior = draw.choice([0.2, 0.3, 0.6, 0.7, 0.8])
    says = [draw.randint(11, 19) / 20 for _ in range(2)] + [draw.randint(2, 9) / 20]

    def combined(power):
        """Of class 1, with the prior to this power."""
        yes, no = prior**power, (1 - prior) ** power
        for one in says:
            yes, no = yes * one, no * (1 - one)
        return yes / (yes + no)

    asked = f"""\
Three experts each learned alone, from data in which class 1 of two has a share of {prior}. For a
sample they say {says[0]}, {says[1]} and {says[2]} for class 1; given the class, what they see is
independent. What does their product, with the prior counted once, say for class 1?"""
    return (
        asked,
        combined(1 - len(says)),
        {
            combined(0): "each expert brings the prior along: it is counted three times.",
            combined(1): "the prior is put in once more, although each expert has brought it.",
            combined(-len(says)): "the prior is taken out of every expert, and not put back once.",
            sum(says) / 3: "a mean of probabilities is no product.",
        },
    )


def both_ways(draw):
    first = [draw.randint(1, 6) for _ in range(3)]
    second = [draw.randint(-6, 2) for _ in range(3)]
    dot = sum(a * b for a, b in zip(first, second))
    if dot >= -2:  # they must be in conflict: drawn again
        return None
    length = sum(a * a for a in first)
    other = sum(b * b for b in second)
    asked = f"""\
Two losses send the gradients g1 and g2 to a shared trunk:

```
g1 = {first}
g2 = {second}
```

The trunk takes a very small plain step against g1 + λ g2. Up to which λ does the *first* loss not
rise?"""
    return (
        asked,
        -length / dot,
        {
            -dot / length: "the fraction stands on its head.",
            -other / dot: "this is where the second loss has nothing left: the first one's own"
            " length counts.",
            -dot / math.sqrt(length * other): "a cosine alone says nothing: the lengths count.",
            math.sqrt(length / other): "equal lengths do not help against an angle.",
        },
    )


def projected(draw):
    table = [[draw.randint(-9, 9) for _ in range(3)] for _ in range(3)]
    row, column = sum(table[1]) / 3, sum(line[1] for line in table) / 3
    mean = sum(map(sum, table)) / 9
    rows = "\n".join(f"| text {i} | {' | '.join(map(str, line))} |" for i, line in enumerate(table))
    asked = f"""\
A test set has three samples: text 0 with image 0, text 1 with image 1, text 2 with image 2. The
model's logit on all pairs:

| | image 0 | image 1 | image 2 |
|---|---|---|---|
{rows}

What is the logit of EMAP, its additive projection, for the sample of text 1 with image 1?"""
    return (
        asked,
        row + column - mean,
        {
            float(table[1][1]): "this is the model's own logit, with its interaction.",
            row: "the image's part is missing.",
            row + column: "the mean of all pairs is in both parts, and must be taken off once.",
            mean: "this is the mean of all pairs.",
        },
    )


def softmax_too_many(draw):
    classes = draw.randint(4, 30)
    best = torch.eye(classes, dtype=torch.float64)[:1]
    right = nn.functional.cross_entropy(best, torch.tensor([0])).item()
    asked = f"""\
A model of {classes} classes ends in a softmax, and its probabilities go into `F.cross_entropy`. It
learns perfectly. Below which value can its mean loss not fall?"""
    return (
        asked,
        right,
        {
            0.0: "the loss takes a softmax of the probabilities: 1 and 0 are no certainty there.",
            math.log(classes): "this is the loss of a guess.",
            right + 1: "the true class's own logit, 1, is not subtracted.",
            math.log(math.e / (math.e + classes - 1)) + 1: "the softmax's share of the others is"
            " not what is left.",
        },
    )


def decoupled(draw):
    rate, decay = draw.choice([0.1, 0.2]), draw.choice([0.25, 0.5])
    weight, slope = draw.choice([2.0, 3.0, 4.0]), -draw.randint(1, 4) / 10
    parameter = nn.Parameter(torch.tensor([weight], dtype=torch.float64))
    parameter.grad = torch.tensor([slope], dtype=torch.float64)
    torch.optim.AdamW([parameter], lr=rate, weight_decay=decay).step()
    asked = f"""\
A weight is {weight}, its gradient in the very first step {slope}. `AdamW(lr={rate},
weight_decay={decay})` takes this step. What is the weight afterwards?"""
    return (
        asked,
        parameter.item(),
        {
            weight - rate * (slope + decay * weight): "so goes SGD: Adam's first step is as long as"
            " the rate, however small the gradient.",
            weight - rate: "decay and gradient are added before the division: so goes Adam.",
            weight + rate: "the decay is missing.",
            weight - rate * decay * weight - rate: "a step goes against the gradient, which is"
            " negative here.",
        },
    )


def prior_of_wordings(draw):
    def pair():
        few, many = draw.randint(1, 4), draw.randint(6, 9)
        return (few, many) if draw.random() < 0.5 else (many, few)

    train = [pair() for _ in range(3)]
    test = [(draw.randint(2, 9), draw.randint(2, 9)) for _ in range(4)]
    total = [sum(one[i] for one in train) for i in range(2)]
    if total[0] == total[1]:  # drawn again
        return None
    overall = total.index(max(total))
    number = sum(map(sum, test))
    said = [one.index(max(one)) for one in train]
    seen = sum(one[answer] for one, answer in zip(test, said))
    rows = "\n".join(
        f"| {name} | {a} | {b} | {c} | {d} |"
        for name, (a, b), (c, d) in zip(
            ("is it red?", "is it large?", "is it left of the circle?", "is there a star?"),
            [*train, (0, 0)],
            test,
        )
    )
    asked = f"""\
How often each wording was answered:

| wording | training: yes | training: no | test: yes | test: no |
|---|---|---|---|---|
{rows}

What share of the *test* questions does the prior per wording answer rightly, with the most frequent
answer of all for a wording that was never seen? (Between 0 and 1.)"""
    return (
        asked,
        (seen + test[3][overall]) / number,
        {
            sum(map(max, test)) / number: "a prior is counted on training questions: this one has"
            " seen the answers.",
            sum(one[overall] for one in test) / number: "one answer for all wordings.",
            seen / number: "a wording that was never seen gets an answer, too.",
            sum(map(max, train)) / sum(total): "this is its share on the training questions.",
        },
    )


def low_rank_step(draw):
    weight, down, up = ([[draw.randint(-4, 4) for _ in range(2)] for _ in range(2)] for _ in "abc")
    x, alpha = [draw.randint(1, 4), draw.randint(1, 4)], draw.choice([6, 8, 10])

    def times(matrix, vector):
        return [sum(a * b for a, b in zip(row, vector)) for row in matrix]

    plain, added = times(weight, x)[0], times(up, times(down, x))[0]
    asked = f"""\
A linear layer with LoRA, `A` and `B` trained, r = 2, α = {alpha}:

```
W = {weight}    (frozen)        A = {down}        B = {up}        x = {x}
```

What is the *first* number of the layer's output (there is no bias)?"""
    return (
        asked,
        plain + alpha / 2 * added,
        {
            float(plain + alpha * added): "α is not divided by r.",
            float(plain + added): "the scale α / r is missing.",
            plain + alpha / 2 * times(down, times(up, x))[0]: "A comes first, then B.",
            alpha / 2 * added: "what is added is not all: the frozen layer still speaks.",
        },
    )


def paths(draw):
    table = []
    for _ in range(3):
        cuts = sorted(draw.sample(range(2, 9), 2))
        table.append([cuts[0] / 10, (cuts[1] - cuts[0]) / 10, (10 - cuts[1]) / 10])

    def read(path):
        merged = [sign for sign, _ in itertools.groupby(path)]
        return [sign for sign in merged if sign]

    def chance(path):
        return math.prod(row[sign] for row, sign in zip(table, path))

    ways = [path for path in itertools.product(range(3), repeat=3) if read(path) == [1, 2]]
    unmerged = [path for path in ways if 0 in path]
    rows = "\n".join(
        f"| step {i + 1} | {' | '.join(map(str, row))} |" for i, row in enumerate(table)
    )
    asked = f"""\
A recogniser says for three steps:

| | blank | a | b |
|---|---|---|---|
{rows}

What probability does CTC give the text "ab"?"""
    return (
        asked,
        sum(map(chance, ways)),
        {
            max(map(chance, ways)): "this is the best path alone; the loss adds up all of them.",
            sum(chance(path) for path in ways if 0 not in path): "paths with a blank count, too.",
            sum(map(chance, unmerged)): "a sign may stay for several steps: they are merged.",
            sum(map(chance, ways)) - chance((0, 1, 2)): "a blank may stand at the beginning.",
        },
    )


def hidden(draw):
    there, p = draw.choice([2, 3]), draw.choice([0.3, 0.4, 0.5, 0.6])
    right = 0.0
    for pattern in itertools.product([True, False], repeat=there):  # True: to be hidden
        chance = math.prod(p if one else 1 - p for one in pattern)
        right += chance * (1 - 1 / there if all(pattern) else pattern[0])
    words = {2: "two", 3: "three"}[there]
    asked = f"""\
Modality dropout in training: each modality of a row that is there is hidden with probability {p};
where all that are there would be hidden, one of them, by lot, stays. A row has {words} of the
data's four modalities. With which probability is a given one of these {words} hidden?"""
    return (
        asked,
        right,
        {
            p: "the rule that one stays is forgotten.",
            p - p**4 / 4: "the modalities that are missing cannot stay: only those there count.",
            p - p**there: "if all are unlucky, one stays, and the others are hidden.",
            p * (1 - p): "the others may be hidden as well, only not all.",
        },
    )


def heads(draw):
    asked = """\
Self-attention with several heads; `mask` is True for real words. No error comes and all shapes are
right, but a change of a *masked* word changes the results of others. Which line is at fault?

```
1  q, k, v = to_q(x), to_k(x), to_v(x)                                    # each (B, T, D)
2  q, k, v = (one.view(B, heads, T, D // heads) for one in (q, k, v))
3  scores = q @ k.transpose(-2, -1) / (D // heads) ** 0.5                 # (B, heads, T, T)
4  weights = scores.masked_fill(~mask[:, None, None], -math.inf).softmax(-1)
5  out = (weights @ v).transpose(1, 2).reshape(B, T, D)
```"""
    return (
        asked,
        2,
        {
            1: "each word has its own query, key and value here: nothing is mixed yet.",
            3: "the division is by the root of one head's width, as it should be.",
            4: "the mask stands on the keys, before the softmax: where it should.",
            5: "heads go back behind the words, and then side by side: as it should be.",
        },
    )
