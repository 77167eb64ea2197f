"""Notebook 32: whole modalities hidden in training, and PGD, an attack within a ball."""

import torch
from torch import nn
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 32.1 -----------------------------------------------------------------------------------------


def hide_modalities(there, luck, p, training):
    """Row by row: the unlucky ones go, and the one that is spared comes back."""
    kept = there.clone()
    if not training:
        return kept
    for row in range(len(kept)):
        at = [m for m in range(kept.shape[1]) if there[row, m]]
        stay = [m for m in at if not luck[row, m] < p]
        if at and not stay:
            stay = [max(at, key=lambda m: float(luck[row, m]))]
        for m in at:
            kept[row, m] = m in stay
    return kept


def _hide_cases(seed=1):
    def case(there, luck, p, training=True):
        return torch.tensor(there).bool(), *float64(luck), p, training

    yield case([[1, 1]], [[0.9, 0.1]], 0.3)
    yield case([[1, 1]], [[0.2, 0.1]], 0.3)
    yield case([[1, 1]], [[0.9, 0.1]], 0.3, training=False)
    # luck of exactly p stays; the largest luck of all belongs to what is missing
    yield case([[1, 0, 1], [0, 0, 0]], [[0.3, 0.95, 0.6], [0.9, 0.8, 0.7]], 0.3)
    yield case([[1, 0, 1], [0, 1, 0]], [[0.11, 0.95, 0.22], [0.9, 0.1, 0.7]], 0.5)
    yield case([[1, 1, 1], [1, 1, 1]], [[0.9, 0.1, 0.5], [0.1, 0.8, 0.6]], 0.3)
    generator = torch.Generator().manual_seed(seed)
    for B, M, p in ((3, 2, 0.5), (5, 3, 0.3), (6, 4, 0.9), (4, 3, 0.0)):
        there = torch.rand(B, M, generator=generator) < 0.8
        luck = torch.rand(B, M, generator=generator, dtype=torch.float64)
        yield there, luck, p, True
        yield there, luck, p, False


def _hide_batch():
    """A batch of the page."""
    luck = torch.rand(128, 3, generator=torch.Generator().manual_seed(0))
    return torch.ones(128, 3).bool(), luck, 0.3, True


def _spared(there, luck, stays):
    """What stays, and in a row that would lose all the luckiest of what is there."""
    luck = torch.where(there, luck, -1.0)
    return there & (stays | (luck == luck.amax(1, keepdim=True)))


HIDE_MODALITIES = Exercise(
    key="32.1",
    verified=True,
    reference=hide_modalities,
    cases=_hide_cases,
    batch=_hide_batch,
    returns="True for each modality that a row still has",
    misconceptions=(
        *ideas(
            "a row can lose all that it has, and then there is nothing to learn from: the luckiest"
            " of what is there stays.",
            lambda there, luck, p, training: there & (luck >= p) if training else there,
        ),
        *ideas(
            "modalities are hidden in evaluation, too. There everything stays as it came.",
            lambda there, luck, p, training: _spared(there, luck, luck >= p),
            lambda there, luck, p, training: there & (luck >= p),
        ),
        *ideas(
            "one draw decides for the whole batch, so all its rows lose the same modality. Each row"
            " has its own luck.",
            lambda there, luck, p, training: (
                _spared(there, luck[:1].expand_as(luck), luck[:1] >= p) if training else there
            ),
            lambda there, luck, p, training: there & (luck[:1] >= p) if training else there,
        ),
        *ideas(
            "what stays is divided by 1 - p. A modality that is there is the same beside a hidden"
            " one: return a bool mask.",
            lambda there, luck, p, training: (
                _spared(there, luck, luck >= p) / (1 - p) if training else there
            ),
            lambda there, luck, p, training: (
                _spared(there, luck, luck >= p) / (1 - p) if training else there.double()
            ),
            lambda there, luck, p, training: (there & (luck >= p)) / (1 - p) if training else there,
        ),
        *ideas(
            "what was missing can be spared, or come back: a row that has lost all keeps the"
            " luckiest of what *was there*.",
            lambda there, luck, p, training: (
                (there & (luck >= p)) | (luck == luck.amax(1, keepdim=True)) if training else there
            ),
            lambda there, luck, p, training: (
                there & ((luck >= p) | (luck == luck.amax(1, keepdim=True))) if training else there
            ),
            lambda there, luck, p, training: (
                (luck >= p) | (luck == luck.amax(1, keepdim=True)) if training else there
            ),
        ),
        *ideas(
            "p is read as the chance to stay. What has luck *below* p is hidden.",
            lambda there, luck, p, training: _spared(there, luck, luck < p) if training else there,
            lambda there, luck, p, training: there & (luck < p) if training else there,
        ),
        *ideas(
            "luck of exactly p is hidden, too. Hide what is *below* p: with p = 0 nothing goes.",
            lambda there, luck, p, training: _spared(there, luck, luck > p) if training else there,
        ),
        *ideas(
            "the unluckiest is spared where a row would lose all. Keep the one with the *largest*"
            " luck.",
            lambda there, luck, p, training: (
                _spared(there, torch.where(luck < p, 1 - luck, 2.0), luck >= p)
                if training
                else there
            ),
        ),
        *ideas(
            "a row that would lose all keeps all. It keeps one, the luckiest.",
            lambda there, luck, p, training: (
                torch.where((there & (luck >= p)).any(1, keepdim=True), there & (luck >= p), there)
                if training
                else there
            ),
        ),
        *ideas(
            "the luckiest is looked for along the batch. It is one of each *row*: the second axis,"
            " kept (keepdim=True).",
            lambda there, luck, p, training: (
                there & ((luck >= p) | (luck == luck.amax(0, keepdim=True))) if training else there
            ),
            lambda there, luck, p, training: (
                there & ((luck >= p) | (luck == luck.max())) if training else there
            ),
        ),
    ),
)

# 32.2 -----------------------------------------------------------------------------------------


class _Judge(nn.Module):
    """A small network whose answers depend on its mode."""

    def __init__(self, D, H, C):
        super().__init__()
        self.first, self.norm = nn.Linear(D, H), nn.BatchNorm1d(H)
        self.last = nn.Linear(H, C)

    def forward(self, images):
        return self.last(torch.tanh(self.norm(self.first(images))))


def _attack(function, model, images, labels, eps, rate, steps, start):
    """The pictures that a function finds for the network that `model` describes, and what it has
    done to the network.
    """
    state, mode = model["state"], model["training"]
    H, D = state["first.weight"].shape
    with torch.random.fork_rng(devices=[]):
        judge = _Judge(D, H, len(state["last.bias"])).to(images.dtype)
    judge.load_state_dict(state)
    judge.train(mode)
    for p in judge.parameters():
        p.grad = torch.full_like(p, 0.5)
    found = function(judge, images, labels, eps, rate, steps, start)
    if not isinstance(found, torch.Tensor):
        return found
    touched = any(p.grad is None or not bool((p.grad == 0.5).all()) for p in judge.parameters())
    moved = any(not torch.equal(value, state[name]) for name, value in judge.state_dict().items())
    frozen = not all(p.requires_grad for p in judge.parameters())
    return {
        "pictures": found,
        "has a graph": found.requires_grad,
        "the model trains": judge.training,
        "gradients of the model changed": touched,
        "the model changed": moved,
        "the model is frozen": frozen,
    }


def _ball(model, images, labels, eps, rate, steps, start, **wrong):
    """The attack in steps that a wrong idea can change one by one."""
    modes = [(part, part.training) for part in model.modules()]
    if wrong.get("evaluate", True):
        model.eval()
    found = images if wrong.get("clean") else images + wrong.get("size", eps) * start
    found, slope = _pictures(found, wrong, "start"), None
    for _ in range(steps):
        if slope is None or wrong.get("again", True):
            slope = _slope(model, found, labels, wrong)
        step = torch.sign(slope) if wrong.get("sign", True) else slope
        found = found + wrong.get("along", 1) * rate * step
        if wrong.get("project", True):
            found = torch.minimum(torch.maximum(found, images - eps), images + eps)
        found = _pictures(found, wrong, "step")
    if wrong.get("restore", True):
        for part, mode in modes:
            part.training = mode
    return found.requires_grad_() if wrong.get("graph") else found


def _pictures(found, wrong, at):
    found = found.detach()
    if at in wrong.get("boxless", ()):
        return found
    return torch.minimum(torch.maximum(found, found * 0), found * 0 + 1)


def _slope(model, found, labels, wrong):
    leaf = found.clone().requires_grad_()
    loss = -F.log_softmax(model(leaf), dim=1).gather(1, labels[:, None]).mean()
    if wrong.get("leave"):
        loss.backward()
        return leaf.grad
    return torch.autograd.grad(loss, [leaf])[0]


def pgd(model, images, labels, eps, rate, steps, start):
    """The steps of `_ball`, none of them changed."""
    return _ball(model, images, labels, eps, rate, steps, start)


def _attack_cases(seed=2):
    draw = draws(seed)

    def case(B, D, eps, rate, steps, training=False):
        generator = torch.Generator().manual_seed(100 * seed + 10 * B + steps)
        state = {"first.weight": draw(3, D), "first.bias": draw(3)}
        state |= {"norm.weight": draw(3), "norm.bias": draw(3), "norm.running_mean": draw(3)}
        state |= {"norm.running_var": draw(3).abs() + 0.5}
        state |= {"norm.num_batches_tracked": torch.tensor(0)}
        state |= {"last.weight": draw(3, 3), "last.bias": draw(3)}
        images = torch.rand(B, D, generator=generator, dtype=torch.float64).mul(100).round() / 100
        labels = torch.randint(3, (B,), generator=generator)
        start = 2 * torch.rand(B, D, generator=generator, dtype=torch.float64).mul(10).round() / 10
        return {"state": state, "training": training}, images, labels, eps, rate, steps, start - 1

    yield case(1, 2, 0.1, 0.05, 0)
    yield case(2, 2, 0.8, 0.05, 0)  # the start leaves the range from 0 to 1
    yield case(1, 2, 0.2, 0.05, 1)
    yield case(1, 2, 0.1, 0.08, 3)
    yield case(2, 3, 0.3, 0.1, 4, training=True)
    yield case(3, 4, 0.5, 0.2, 5, training=True)
    yield case(4, 5, 0.05, 0.02, 6)
    yield case(5, 6, 0.9, 0.25, 8, training=True)


def _attack_batch():
    """The pictures of a batch of the page, and a network of its width."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = _Judge(256, 64, 10)
        images, labels = torch.rand(128, 256), torch.randint(10, (128,))
        start = 2 * torch.rand(128, 256) - 1
    state = {name: value.clone() for name, value in judge.state_dict().items()}
    return {"state": state, "training": True}, images, labels, 0.1, 0.05, 5, start


PGD = Exercise(
    key="32.2",
    verified=True,
    reference=pgd,
    cases=_attack_cases,
    use=_attack,
    batch=_attack_batch,
    returns="the pictures that the attack finds, (B, D)",
    misconceptions=(
        *ideas(
            "nothing brings the pictures back into the ball. After each step the difference to"
            " `images` may be at most eps.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, project=False),
        ),
        *ideas(
            "the pictures leave the range from 0 to 1. Clamp them, at the start and after each"
            " step.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, boxless=["start", "step"]),
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, boxless=["start"]),
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, boxless=["step"]),
        ),
        *ideas(
            "the attack begins at the clean picture. Begin at images + eps * start.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, clean=True),
        ),
        *ideas(
            "the start is not scaled: it runs from -1 to 1, and the ball from -eps to eps.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, size=1),
        ),
        *ideas(
            "the loss falls: that helps the model. Step *along* the sign of the gradient.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, along=-1),
        ),
        *ideas(
            "the step is the gradient, not its sign. A gradient may be as small as 1e-6; its sign"
            " moves every pixel by `rate`.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, sign=False),
        ),
        *ideas(
            "the gradient is taken once, at the start. It changes on the way: take it again in each"
            " step.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, again=False),
        ),
        *ideas(
            "the model is attacked in the mode in which it comes. In training mode dropout and"
            " batch statistics make another model of it: model.eval() first.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, evaluate=False),
        ),
        *ideas(
            "the model stays in evaluation mode. Whoever trains on attacked pictures would go on"
            " without dropout: give it back in the mode in which it came.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, restore=False),
        ),
        *ideas(
            "the attack leaves gradients in the model: backward() adds to the .grad of every"
            " parameter. torch.autograd.grad(loss, pictures) gives that of the pictures alone.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, leave=True),
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, leave=True, restore=False),
        ),
        *ideas(
            "the pictures still ask for a gradient. Return them detached.",
            lambda m, x, y, e, r, n, s: _ball(m, x, y, e, r, n, s, graph=True),
        ),
    ),
)

EXERCISES = [HIDE_MODALITIES, PGD]
