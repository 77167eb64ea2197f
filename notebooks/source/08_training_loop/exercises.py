"""Notebook 08: a loss of an epoch, one step of AdamW, and when to stop."""

import math
import random

import torch
from torch import nn
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 08.1 -----------------------------------------------------------------------------------------


class _Probe(nn.Module):
    """Gives the logits that stand in the batch; a part in training mode spoils them, as dropout
    would. It notes whether gradients were on.
    """

    def __init__(self, training):
        super().__init__()
        self.body, self.frozen = nn.Identity(), nn.Identity()
        self.train(training)
        self.frozen.eval()
        self.gradients = set()

    def forward(self, batch):
        self.gradients.add(torch.is_grad_enabled())
        training = self.training or self.body.training or self.frozen.training
        return batch["logits"] * (-0.5 if training else 1.0)


def _evaluated(evaluate, model, batches):
    """Loss and accuracy, and what the model is like afterwards; `model` says which mode it is in
    before, and one part of it is always frozen.
    """
    probe = _Probe(model == "in training mode")
    found = evaluate(probe, batches)
    if not isinstance(found, tuple | list) or len(found) != 2:
        return found
    return [
        *(float(value) for value in found),
        f"gradients on while it ran: {True in probe.gradients}",
        f"training mode afterwards: {probe.training}, body {probe.body.training},"
        f" frozen part {probe.frozen.training}",
    ]


def evaluate(model, batches):
    """Sums of losses and of hits, each divided once."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    losses, hits = [], []
    with torch.inference_mode():
        for batch in batches:
            logits = model(batch)
            losses.append(F.cross_entropy(logits, batch["label"], reduction="none"))
            hits.append(logits.argmax(dim=-1) == batch["label"])
    for part, training in modes:
        part.training = training
    return torch.cat(losses).mean().item(), torch.cat(hits).double().mean().item()


def _in_batches(logits, labels, size, training=True):
    parts = zip(logits.split(size), labels.split(size))
    mode = "in training mode" if training else "in evaluation mode"
    return mode, [{"logits": rows, "label": label} for rows, label in parts]


def _evaluate_cases(seed=1):
    draw, labels = draws(seed), torch.Generator().manual_seed(seed)
    (rows,) = float64([[2.0, 0.7], [0.3, 1.0], [-3.0, 4.0]])
    yield _in_batches(rows[:2], torch.tensor([0, 0]), 2)
    yield _in_batches(rows, torch.tensor([0, 1, 0]), 2)
    yield _in_batches(draw(4, 3), torch.randint(3, (4,), generator=labels), 4, training=False)
    for count, size in ((5, 2), (10, 4), (7, 3)):
        label = torch.randint(4, (count,), generator=labels)
        yield _in_batches(3 * draw(count, 4), label, size)


def _evaluate_batch():
    draw = torch.Generator().manual_seed(0)
    return _in_batches(torch.randn(258, 10, generator=draw), torch.arange(258) % 10, 64)


def _passed(model, batches, weigh=True, modes="kept", gradients=False, evaluation=True):
    """The reference in one piece, with what a wrong idea changes."""
    before = [(part, part.training) for part in model.modules()]
    if evaluation:
        model.eval()
    loss = hits = count = 0
    with torch.set_grad_enabled(gradients):
        for batch in batches:
            logits, label = model(batch), batch["label"]
            weight = len(label) if weigh else 1
            loss += weight * F.cross_entropy(logits, label).item()
            hits += weight * (logits.argmax(dim=1) == label).double().mean().item()
            count += weight
    for part, training in before:
        part.training = training if modes == "kept" else modes == "all on"
    return loss / count, hits / count


def _hits_of_batches(model, batches):
    return _passed(model, batches)[0], _passed(model, batches, weigh=False)[1]


def _summed(model, batches):
    loss, accuracy = _passed(model, batches)
    return loss * sum(len(batch["label"]) for batch in batches), accuracy


def _over_batches(model, batches):
    loss, accuracy = _summed(model, batches)
    return loss / len(batches), accuracy


def _counted(model, batches):
    loss, accuracy = _passed(model, batches)
    return loss, accuracy * sum(len(batch["label"]) for batch in batches)


def _percent(model, batches):
    loss, accuracy = _passed(model, batches)
    return loss, 100 * accuracy


def _turned(model, batches):
    return _passed(model, batches)[::-1]


def _as_tensor(model, batches):
    return torch.tensor(_passed(model, batches))


def _top_alone(model, batches):
    training = model.training
    found = _passed(model, batches)
    model.train(training)
    return found


EVALUATE = Exercise(
    key="08.1",
    reference=evaluate,
    cases=_evaluate_cases,
    use=_evaluated,
    batch=_evaluate_batch,
    returns="loss, accuracy, then what the model is like",
    misconceptions=(
        *ideas(
            "this is the mean of the batches' means: in a short last batch each sample counts for"
            " more. Weigh each batch by its number of samples, and divide by all samples.",
            lambda model, batches: _passed(model, batches, weigh=False),
            _hits_of_batches,
        ),
        *ideas(
            "the model is not put into evaluation mode: dropout and batch norm act as in training.",
            lambda model, batches: _passed(model, batches, evaluation=False),
        ),
        *ideas(
            "the model stays in evaluation mode: the next epoch would train without dropout.",
            lambda model, batches: _passed(model, batches, modes="all off"),
        ),
        *ideas(
            "model.train() puts every part into training mode, also one that was frozen, and also"
            " where the model was not training before. Note each part's mode and put it back.",
            lambda model, batches: _passed(model, batches, modes="all on"),
            _top_alone,
        ),
        *ideas(
            "gradients are on: each batch's graph is built for nothing. Use torch.no_grad().",
            lambda model, batches: _passed(model, batches, gradients=True),
        ),
        *ideas(
            "the sum of the losses is not divided by the number of samples.", _summed, _over_batches
        ),
        *ideas("the hits are counted and not divided by the number of samples.", _counted),
        *ideas("accuracy is a share, between 0 and 1.", _percent),
        *ideas("the loss comes first, then the accuracy.", _turned),
        *ideas("a tensor comes back. Return two numbers, `loss, accuracy`.", _as_tensor),
    ),
)

# 08.2 -----------------------------------------------------------------------------------------

BETAS, EPS = (0.9, 0.999), 1e-8


def adamw(weight, gradient, mean, square, step, lr, decay):
    """The decay first, as PyTorch does it; the averages by interpolation."""
    mean = mean.lerp(gradient, 1 - BETAS[0])
    square = square.lerp(gradient**2, 1 - BETAS[1])
    size = (square / (1 - BETAS[1] ** step)).sqrt() + EPS
    kept = weight * (1 - lr * decay)
    return kept - lr / (1 - BETAS[0] ** step) * mean / size, mean, square


def _adamw_cases(seed=2):
    draw = draws(seed)
    yield *float64([1.0], [0.3], [0.0], [0.0]), 1, 0.1, 0.0
    yield *float64([2.0], [-0.7], [0.0], [0.0]), 1, 0.1, 0.3
    yield *float64([1.0, -2.0], [0.3, 0.7], [0.1, -0.3], [0.2, 0.7]), 3, 0.1, 0.3
    yield *float64([1.0], [3e-7], [0.0], [0.0]), 1, 0.1, 0.0  # where eps decides
    for step in (1, 2, 30):
        yield draw(2, 3), draw(2, 3), draw(2, 3), draw(2, 3) ** 2, step, 0.03, 0.7


def _adamw_batch():
    draw = torch.Generator().manual_seed(0)
    weight, gradient, mean = torch.randn(3, 128, 590, generator=draw)
    return weight, gradient, mean, mean**2, 3, 1e-3, 0.01


def _l2(weight, gradient, mean, square, step, lr, decay):
    return adamw(weight, gradient + decay * weight, mean, square, step, lr, 0.0)


def _late(weight, gradient, mean, square, step, lr, decay):
    weight, mean, square = adamw(weight, gradient, mean, square, step, lr, 0.0)
    return weight * (1 - lr * decay), mean, square


def _whole_decay(weight, gradient, mean, square, step, lr, decay):
    new, mean, square = adamw(weight, gradient, mean, square, step, lr, 0.0)
    return new - decay * weight, mean, square


def _no_decay(weight, gradient, mean, square, step, lr, decay):
    return adamw(weight, gradient, mean, square, step, lr, 0.0)


def _uncorrected(weight, gradient, mean, square, step, lr, decay):
    return adamw(weight, gradient, mean, square, 10**9, lr, decay)


def _from_zero(weight, gradient, mean, square, step, lr, decay):
    """(1 - beta ** 0) is 0: by tensors, which divide by it without an error."""
    return adamw(weight, gradient, mean, square, torch.tensor(step - 1.0), lr, decay)


def _corrected_for_good(weight, gradient, mean, square, step, lr, decay):
    new, mean, square = adamw(weight, gradient, mean, square, step, lr, decay)
    return new, mean / (1 - BETAS[0] ** step), square / (1 - BETAS[1] ** step)


def _swapped(weight, gradient, mean, square, step, lr, decay):
    mean = (1 - BETAS[0]) * mean + BETAS[0] * gradient
    square = (1 - BETAS[1]) * square + BETAS[1] * gradient**2
    return _moved(weight, mean, square, step, lr, decay)


def _moved(weight, mean, square, step, lr, decay):
    size = (square / (1 - BETAS[1] ** step)).sqrt() + EPS
    step_by = mean / (1 - BETAS[0] ** step) / size
    return weight - lr * step_by - lr * decay * weight, mean, square


def _square_of_mean(weight, gradient, mean, square, step, lr, decay):
    mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
    square = BETAS[1] * square + (1 - BETAS[1]) * mean**2
    return _moved(weight, mean, square, step, lr, decay)


def _no_root(weight, gradient, mean, square, step, lr, decay):
    _, mean, square = adamw(weight, gradient, mean, square, step, lr, decay)
    size = square / (1 - BETAS[1] ** step) + EPS
    step_by = mean / (1 - BETAS[0] ** step) / size
    return weight - lr * step_by - lr * decay * weight, mean, square


def _inside(weight, gradient, mean, square, step, lr, decay):
    _, mean, square = adamw(weight, gradient, mean, square, step, lr, decay)
    size = (square / (1 - BETAS[1] ** step) + EPS).sqrt()
    step_by = mean / (1 - BETAS[0] ** step) / size
    return weight - lr * step_by - lr * decay * weight, mean, square


def _gradient_alone(weight, gradient, mean, square, step, lr, decay):
    _, mean, square = adamw(weight, gradient, mean, square, step, lr, decay)
    size = (square / (1 - BETAS[1] ** step)).sqrt() + EPS
    return weight - lr * gradient / size - lr * decay * weight, mean, square


def _upwards(weight, gradient, mean, square, step, lr, decay):
    new, mean, square = adamw(weight, gradient, mean, square, step, lr, decay)
    kept = weight * (1 - lr * decay)
    return 2 * kept - new, mean, square


ADAMW = Exercise(
    key="08.2",
    verified=True,
    reference=adamw,
    cases=_adamw_cases,
    batch=_adamw_batch,
    returns="weight, mean and square",
    misconceptions=(
        *ideas(
            "the decay goes through the averages, as in Adam with an L2 penalty. In AdamW it acts"
            " on the weight alone.",
            _l2,
        ),
        *ideas(
            "the decay shrinks what the step has just made. It takes lr * decay of the weight as it"
            " came.",
            _late,
        ),
        *ideas("the decay is not multiplied by the learning rate.", _whole_decay),
        *ideas("the weight does not decay.", _no_decay),
        *ideas(
            "the averages begin at 0 and are not corrected: divide each by 1 - beta ** step.",
            _uncorrected,
        ),
        *ideas("steps count from 1: with step - 1 the first correction divides by 0.", _from_zero),
        *ideas(
            "the corrected averages are returned. The next step needs them as they were before the"
            " correction.",
            _corrected_for_good,
        ),
        *ideas(
            "the old average keeps beta, the new gradient gets 1 - beta; here it is the other way"
            " round.",
            _swapped,
        ),
        *ideas(
            "`square` is the average of the squared gradients, not of the squared mean.",
            _square_of_mean,
        ),
        *ideas(
            "eps is added after the root, and there is one root: sqrt(square) + eps.",
            _inside,
            _no_root,
        ),
        *ideas("the step follows the gradient alone: its average was forgotten.", _gradient_alone),
        *ideas("the step goes up: it is subtracted from the weight.", _upwards),
    ),
)

# 08.3 -----------------------------------------------------------------------------------------


class EarlyStopping:
    """In parts that a wrong idea can change one by one."""

    def __init__(self, patience):
        self.patience, self.best, self.waited, self.weights = patience, math.inf, 0, None

    def better(self, loss):
        return loss < self.best

    def copied(self, model):
        return {name: value.detach().clone() for name, value in model.state_dict().items()}

    def step(self, loss, model):
        self.waited += 1
        if self.better(loss):
            self.best, self.waited, self.weights = loss, 0, self.copied(model)
        return self.waited >= self.patience


def _stopped(kind, losses, patience):
    """What each call of `step` says, and from which epoch (from 1) the weights are that it keeps.
    The weights change in place after each call, as an optimiser changes them.
    """
    stopper, model, said = kind(patience), nn.Linear(1, 1, bias=False), []
    for epoch, loss in enumerate(losses, start=1):
        with torch.no_grad():
            model.weight.fill_(epoch)
        said.append(stopper.step(loss, model))
        if said[-1]:
            break
    with torch.no_grad():
        model.weight.fill_(99)  # what training went on to
    if not isinstance(getattr(stopper, "weights", None), dict):
        return [*said, "no weights kept"]
    model.load_state_dict(stopper.weights)
    kept = round(model.weight.item())
    return [*said, f"keeps the weights of {f'epoch {kept}' if kept < 99 else 'a later moment'}"]


def _stopping_cases(seed=3):
    nan = math.nan
    yield [3.0, 2.0, 1.0], 2
    yield [1.0, 2.0, 3.0, 4.0], 2
    yield [2.0, 1.0, 1.5], 1
    yield [3.0, 2.0, 2.5, 2.2, 2.4, 0.5], 3
    yield [3.0, 2.0, 2.5, 1.5, 1.7, 1.4, 1.9, 1.8, 1.0], 2
    yield [2.0, 1.0, 1.0, 1.5, 1.5, 0.5], 2
    yield [1.0, 1.5, 0.9999, 1.2, 0.5], 2  # lower by little is lower
    yield [2.0, nan, 1.0, 1.5, 1.2], 2
    yield [nan, 2.0, 1.0, nan, 1.5, 0.5], 2
    yield [2.0, math.inf, 1.0, nan, nan, nan], 3
    draw = random.Random(seed)
    yield [draw.randint(1, 9) / 2 for _ in range(8)], draw.randint(2, 3)


class _Reference(EarlyStopping):
    def copied(self, model):
        return model.state_dict()


class _Last(EarlyStopping):
    def step(self, loss, model):
        said = super().step(loss, model)
        self.weights = self.copied(model)
        return said


class _NaNIsBest(EarlyStopping):
    def better(self, loss):
        return not loss >= self.best


class _NaNStays(EarlyStopping):
    def __init__(self, patience):
        super().__init__(patience)
        self.best = None

    def better(self, loss):
        return self.best is None or loss < self.best


class _NaNStops(EarlyStopping):
    def step(self, loss, model):
        return super().step(loss, model) or not math.isfinite(loss)


class _NaNIsSkipped(EarlyStopping):
    def step(self, loss, model):
        return not math.isnan(loss) and super().step(loss, model)


class _ByTheLast(EarlyStopping):
    def __init__(self, patience):
        super().__init__(patience)
        self.last = math.inf

    def better(self, loss):
        before, self.last = self.last, loss
        return loss < before


class _NeverReset(EarlyStopping):
    def __init__(self, patience):
        super().__init__(patience)
        self.all = 0

    def step(self, loss, model):
        self.all += not self.better(loss)
        super().step(loss, model)
        return self.all >= self.patience


class _OneLater(EarlyStopping):
    def step(self, loss, model):
        super().step(loss, model)
        return self.waited > self.patience


class _OneEarlier(EarlyStopping):
    def step(self, loss, model):
        super().step(loss, model)
        return self.waited >= max(self.patience - 1, 1)


class _TiesAreBetter(EarlyStopping):
    def better(self, loss):
        return loss <= self.best


class _Largest(EarlyStopping):
    def __init__(self, patience):
        super().__init__(patience)
        self.best = -math.inf

    def better(self, loss):
        return loss > self.best


class _GoesOn(EarlyStopping):
    def step(self, loss, model):
        return not super().step(loss, model)


STOPPING = Exercise(
    key="08.3",
    reference=EarlyStopping,
    cases=_stopping_cases,
    use=_stopped,
    batch=lambda: ([1.0 / (1 + n) for n in range(40)], 5),
    returns="True or False for each epoch, then whose weights are kept",
    misconceptions=(
        *ideas(
            "the weights that it keeps go on changing: state_dict() gives the model's own tensors."
            " Keep a copy, for example copy.deepcopy(model.state_dict()).",
            _Reference,
        ),
        *ideas("it keeps the last epoch's weights, not the best one's.", _Last),
        *ideas(
            "NaN passes for the best loss: every comparison with NaN is False, also >=. Ask whether"
            " the loss is lower.",
            _NaNIsBest,
        ),
        *ideas(
            "a NaN in the first epoch stays the best for ever: nothing is lower than NaN. Begin"
            " with infinity.",
            _NaNStays,
        ),
        *ideas(
            "a loss that is not a number is an epoch without improvement, like any other: it counts"
            " as one, and does not stop the training by itself.",
            _NaNStops,
            _NaNIsSkipped,
        ),
        *ideas(
            "the loss is compared with the one before it, not with the best so far.", _ByTheLast
        ),
        *ideas(
            "all bad epochs are counted. Patience is for bad ones in a row: an improvement sets the"
            " count to 0.",
            _NeverReset,
        ),
        *ideas("it stops one epoch too late: after `patience` bad ones in a row.", _OneLater),
        *ideas("it stops one epoch too early: after `patience` bad ones in a row.", _OneEarlier),
        *ideas("an equal loss is no improvement: keep the earlier epoch.", _TiesAreBetter),
        *ideas("the largest loss is kept. The best loss is the lowest.", _Largest),
        *ideas("the answer is turned round: True means that it is time to stop.", _GoesOn),
    ),
)

EXERCISES = [EVALUATE, ADAMW, STOPPING]
