"""Notebook 18: two questions on one trunk, and the angle between what they ask of it."""

import math

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws

# 18.1 -----------------------------------------------------------------------------------------


class TwoQuestions(nn.Module):
    """In steps that a wrong idea can change one by one."""

    def __init__(self, inputs, width, classes, values):
        super().__init__()
        self.trunk = nn.Linear(inputs, width)
        self.digit = nn.Linear(width, classes)
        self.other = nn.Linear(width, values)

    def forward(self, x):
        h = self.trunk(x).clamp(min=0)
        return self.digit(h), self.other(h)

    def losses(self, x, labels, targets, weight):
        logits, values = self(x)
        first, second = self.first(logits, labels), self.second(values, targets)
        return self.total(first, second, weight), first, second

    def first(self, logits, labels):
        """Of the rows with a label alone, by logsumexp."""
        kept = labels >= 0
        z, y = logits[kept], labels[kept]
        own = z[torch.arange(len(y)), y]
        return (z.logsumexp(1) - own).sum() / max(len(y), 1)

    def second(self, values, targets):
        kept = ~targets.isnan()
        return (values[kept] - targets[kept]).pow(2).sum() / max(int(kept.sum()), 1)

    def total(self, first, second, weight):
        return first + weight * second


class _EveryRow(TwoQuestions):
    def first(self, logits, labels):
        return super().first(logits, labels) * (labels >= 0).double().mean()


class _EveryValue(TwoQuestions):
    def second(self, values, targets):
        return super().second(values, targets) * (~targets.isnan()).double().mean()


class _Both(_EveryRow):
    second = _EveryValue.second


def _there(targets):
    return ~targets.isnan()


class _Rows(TwoQuestions):
    """The squares summed over the values, the mean over rows."""

    def second(self, values, targets):
        rows = _there(targets).any(1).sum().clamp(min=1)
        return super().second(values, targets) * _there(targets).sum() / rows


class _RowByRow(TwoQuestions):
    """The mean of the rows' means."""

    def second(self, values, targets):
        there = _there(targets)
        squares = (values - targets.nan_to_num()).square() * there
        rows = squares.sum(1) / there.sum(1).clamp(min=1)
        return rows.sum() / there.any(1).sum().clamp(min=1)


class _WholeRows(TwoQuestions):
    """Leaves out every row in which a target is missing."""

    def second(self, values, targets):
        full = _there(targets).all(1)
        return super().second(values[full], targets[full])


class _LabelledAlone(TwoQuestions):
    """Asks the second question only of rows that have an answer to the first."""

    def losses(self, x, labels, targets, weight):
        hidden = (labels < 0)[:, None]
        return super().losses(x, labels, targets.masked_fill(hidden, math.nan), weight)


class _Zeros(TwoQuestions):
    def second(self, values, targets):
        return (values - targets.nan_to_num()).square().mean()


class _ClassZero(TwoQuestions):
    def first(self, logits, labels):
        return F.cross_entropy(logits, labels.clamp(min=0))


class _ChosenLate(TwoQuestions):
    def second(self, values, targets):
        squares = torch.where(_there(targets), (values - targets).square(), 0.0)
        return squares.sum() / _there(targets).sum().clamp(min=1)


class _NoneKnown(TwoQuestions):
    def first(self, logits, labels):
        return F.cross_entropy(logits, labels)


class _NoValueKnown(TwoQuestions):
    def second(self, values, targets):
        there = _there(targets)
        return F.mse_loss(values[there], targets[there])


class _NeitherKnown(_NoneKnown):
    second = _NoValueKnown.second


class _WeightOnFirst(TwoQuestions):
    def total(self, first, second, weight):
        return weight * first + second


class _WeightOnBoth(TwoQuestions):
    def total(self, first, second, weight):
        return weight * (first + second)


class _NoWeight(TwoQuestions):
    def total(self, first, second, weight):
        return first + second


class _Weighted(TwoQuestions):
    def losses(self, x, labels, targets, weight):
        total, first, second = super().losses(x, labels, targets, weight)
        return total, first, weight * second


class _NoReLU(TwoQuestions):
    def forward(self, x):
        h = self.trunk(x)
        return self.digit(h), self.other(h)


class _Cut(TwoQuestions):
    def forward(self, x):
        h = self.trunk(x).relu()
        return self.digit(h), self.other(h.detach())


class _Softmax(TwoQuestions):
    def first(self, logits, labels):
        return super().first(logits.softmax(1), labels)


def _built(model, inputs, width, classes, values, state, x, labels, targets, weight):
    """What forward and losses give, and the gradients of the total, of a model with these weights,
    which go by the names that the card gives.
    """
    with torch.random.fork_rng(devices=[]):
        built = model(inputs, width, classes, values)
    own = {name.replace("trunk.0.", "trunk."): name for name in built.state_dict()}
    if lost := [name for name in state if name not in own]:
        return f"its weights lack {lost[0]}"
    if more := [name for name in own if name not in state]:
        return f"its weights have {more[0]} besides"
    if wrong := [n for n, v in state.items() if built.state_dict()[own[n]].shape != v.shape]:
        return f"its {wrong[0]} has the shape {tuple(built.state_dict()[own[wrong[0]]].shape)}"
    if x.dtype == torch.float64:
        built = built.double()
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    named = {own[name]: value for name, value in weights.items()}
    out = functional_call(
        _Losses(built), {f"model.{n}": v for n, v in named.items()}, (x, labels, targets, weight)
    )
    (logits, values_), losses = out
    found = {"logits": logits, "values": values_}
    if not (isinstance(losses, (tuple, list)) and len(losses) == 3):
        return found | {"losses": losses}
    found |= dict(zip(("total", "first", "second"), losses))
    total = losses[0]
    if torch.is_tensor(total) and total.requires_grad and total.dim() == 0:
        gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
        for (name, p), gradient in zip(weights.items(), gradients):
            found[f"gradient of {name}"] = torch.zeros_like(p) if gradient is None else gradient
    return found


class _Losses(nn.Module):
    """Both methods of a model in one call."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, labels, targets, weight):
        return self.model(x), self.model.losses(x, labels, targets, weight)


def _state(draw, inputs, width, classes, values):
    shapes = {
        "trunk.weight": (width, inputs),
        "trunk.bias": (width,),
        "digit.weight": (classes, width),
        "digit.bias": (classes,),
        "other.weight": (values, width),
        "other.bias": (values,),
    }
    return {name: draw(*shape) for name, shape in shapes.items()}


def _question_cases(seed=1):
    draw = draws(seed)
    nan = math.nan

    def case(sizes, labels, missing, weight):
        """`missing` names the targets (row, column) that are NaN."""
        inputs, width, classes, values = sizes
        targets = draw(len(labels), values)
        for row, column in missing:
            targets[row, column] = nan
        return (
            *sizes,
            _state(draw, *sizes),
            draw(len(labels), inputs),
            torch.tensor(labels),
            targets,
            weight,
        )

    small = (2, 2, 2, 1)
    yield case(small, [0], [], 1.0)
    yield case(small, [1, 0], [], 0.5)
    yield case(small, [1, -100], [], 2.0)
    yield case(small, [1, 0, 1], [(1, 0)], 2.0)
    yield case((2, 3, 3, 2), [2, -100, 0], [(0, 0), (0, 1), (2, 1)], 0.3)
    yield case(small, [-100, -100], [], 3.0)  # no label at all
    yield case(small, [1, 0], [(0, 0), (1, 0)], 3.0)  # no target at all
    yield case((3, 4, 4, 3), [3, -100, 1, -100], [(0, 1), (1, 1), (3, 0), (3, 1), (3, 2)], 10.0)
    yield case((4, 5, 3, 2), [0, 1, 2, -100, 2, 1], [(2, 0), (3, 1)], 0.0)


def _question_batch():
    """As on the page: 256 pictures, 100 with a label, 26 letters each."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    labels = torch.randint(10, (256,), generator=generator)
    labels[100:] = -100
    targets = draw(256, 26)
    targets[200:] = math.nan
    sizes = (256, 64, 10, 26)
    return (*sizes, _state(draw, *sizes), draw(256, 256), labels, targets, 10.0)


TWO_QUESTIONS = Exercise(
    key="18.1",
    reference=TwoQuestions,
    cases=_question_cases,
    use=_built,
    batch=_question_batch,
    verified=True,
    returns="what forward gives, the three losses, and the gradients of the total",
    misconceptions=(
        *ideas(
            "the cross-entropy is divided by all rows. Its mean is over the rows that have a label:"
            " else each missing label makes the first question count less.",
            _EveryRow,
            _Both,
        ),
        *ideas("the squares are divided by all targets, also by those that are NaN.", _EveryValue),
        *ideas(
            "the mean of the squares is one over all numbers that are there, not over rows, and"
            " not a mean of the rows' means.",
            _Rows,
            _RowByRow,
        ),
        *ideas(
            "a row that lacks one answer loses its others, too. Leave out the number or the label"
            " that is missing, not its row.",
            _WholeRows,
            _LabelledAlone,
        ),
        *ideas(
            "a missing target counts as 0, and a missing label as class 0: the model then learns"
            " what nobody has said.",
            _Zeros,
            _ClassZero,
        ),
        *ideas(
            "the losses are right and the gradients NaN: the NaN was in the difference, and was"
            " chosen away after it. Take it out of the targets before you subtract.",
            _ChosenLate,
        ),
        *ideas(
            "a batch without a single label (or target) gives 0 / 0. Nothing asked costs 0.",
            _NoneKnown,
            _NoValueKnown,
            _NeitherKnown,
        ),
        *ideas(
            "the weight belongs to the second loss alone, and to the total alone: `first` and"
            " `second` come back as they are.",
            _WeightOnFirst,
            _WeightOnBoth,
            _NoWeight,
            _Weighted,
        ),
        *ideas(
            "the trunk ends in a ReLU, and the heads are linear: nothing comes after them.", _NoReLU
        ),
        *ideas(
            "the second question does not reach the trunk: no gradient comes back through a"
            " `detach`.",
            _Cut,
        ),
        *ideas("cross-entropy takes logits: its softmax is inside.", _Softmax),
    ),
)

# 18.2 -----------------------------------------------------------------------------------------


def gradient_cosine(first, second, shared):
    """Parameter by parameter, with sums."""
    a = torch.autograd.grad(first, shared, retain_graph=True, allow_unused=True)
    b = torch.autograd.grad(second, shared, retain_graph=True, allow_unused=True)
    dot, lengths = 0.0, [0.0, 0.0]
    for p, x, y in zip(shared, a, b):
        x = torch.zeros_like(p) if x is None else x
        y = torch.zeros_like(p) if y is None else y
        dot = dot + (x * y).sum()
        lengths = [lengths[0] + x.square().sum(), lengths[1] + y.square().sum()]
    length = lengths[0].sqrt() * lengths[1].sqrt()
    return dot / length if length > 0 else torch.zeros_like(length)


class _Pair(nn.Module):
    """A trunk of two layers and two heads; one of the two may use only a part of the trunk."""

    def __init__(self, kind, state):
        super().__init__()
        self.kind = kind
        for name, value in state.items():
            setattr(self, name, nn.Parameter(value.detach().clone()))

    def shared(self):
        return [self.one, self.bias, self.two]

    def losses(self, x, y, z):
        h = x @ self.one.T + self.bias
        skipped = h
        h = h.tanh() @ self.two.T
        first = (h @ self.first - y).square().mean()
        if self.kind == "the second skips a layer":
            h = skipped
        if self.kind == "the second never looks":
            return first, (self.second - z).square().mean()
        return first, ((h @ self.second) - z).square().mean()


def _angled(function, network, x, goals):
    """The cosine that a function finds in the network that `network` describes: its kind, its
    state and what its `.grad` still hold; whether these are as they were, and whether both losses
    can still be stepped on.
    """
    pair = _Pair(network["kind"], network["state"])
    left = network["gradients left"]
    if left:
        for p in pair.parameters():
            p.grad = torch.full_like(p, left)
    first, second = pair.losses(x, *goals)
    if network["kind"] == "one question twice":
        second = first * 2.5
    if network["kind"] == "turned round":
        second = -0.3 * first
    said = function(first, second, pair.shared())
    if said is None:
        return None
    grads = [p.grad for p in pair.parameters()]
    kept = all(
        (g is None) if not left else (g is not None and bool((g == left).all())) for g in grads
    )
    try:
        (first + second).backward()
        steps = True
    except RuntimeError:
        steps = False
    said = torch.as_tensor(said, dtype=first.dtype).detach() if _one(said) else said
    return {"cosine": said, ".grad as it was": kept, "backward() still works": steps}


def _one(said):
    return isinstance(said, (int, float)) or (
        isinstance(said, torch.Tensor) and said.numel() == 1 and said.dim() == 0
    )


def _angle_cases(seed=2):
    draw = draws(seed)

    def case(kind, rows, left=0.0):
        state = {
            "one": draw(2, 2),
            "bias": draw(2),
            "two": draw(2, 2),
            "first": draw(2),
            "second": draw(2) if kind != "the second never looks" else draw(1),
        }
        network = {"kind": kind, "state": state, "gradients left": left}
        return network, draw(rows, 2), (draw(rows), draw(rows))

    yield case("two questions", 1)
    yield case("the second skips a layer", 2)
    yield case("two questions", 3, left=0.7)
    yield case("one question twice", 3)
    yield case("turned round", 2)
    yield case("the second never looks", 2)
    yield case("the second skips a layer", 4, left=-0.3)
    yield case("two questions", 5)


def _vectors(first, second, shared, unused=True):
    found = []
    for loss in (first, second):
        grads = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=unused)
        found.append([torch.zeros_like(p) if g is None else g for p, g in zip(shared, grads)])
    return found


def _flat(grads):
    return torch.cat([g.flatten() for g in grads])


def _cosine(a, b):
    return F.cosine_similarity(a, b, dim=0)


def _flat_cosine(a, b):
    return _cosine(_flat(a), _flat(b))


def _of(first, second, shared, what):
    """`what` of both lists of gradients."""
    return what(*_vectors(first, second, shared))


def _mean_of_cosines(a, b):
    return torch.stack([_cosine(x.flatten(), y.flatten()) for x, y in zip(a, b)]).mean()


def _both_touched(first, second, shared):
    """Leaves out, for both losses, what one of them does not touch."""
    a, b = (
        torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
        for loss in (first, second)
    )
    pairs = [(x, y) for x, y in zip(a, b) if x is not None and y is not None]
    if not pairs:
        return torch.zeros((), dtype=first.dtype)
    return _cosine(_flat([x for x, _ in pairs]), _flat([y for _, y in pairs]))


def _backward(first, second, shared, before=True, between=True):
    """By backward(), which fills `.grad`; cleared before it and between both, or not."""
    vectors = []
    for loss, clear in ((first, before), (second, between)):
        for p in shared:
            p.grad = None if clear else p.grad
        loss.backward(retain_graph=True)
        vectors.append(
            _flat([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in shared])
        )
    return _cosine(*vectors)


def _released(first, second, shared):
    vectors = []
    for loss in (first, second):
        grads = torch.autograd.grad(loss, shared, allow_unused=True)
        vectors.append(
            _flat([torch.zeros_like(p) if g is None else g for p, g in zip(shared, grads)])
        )
    return _cosine(*vectors)


def _undefined(a, b):
    a, b = _flat(a), _flat(b)
    return a @ b / (a.norm() * b.norm())


ANGLE = Exercise(
    key="18.2",
    reference=gradient_cosine,
    cases=_angle_cases,
    use=_angled,
    batch=lambda: list(_angle_cases())[-1],
    verified=True,
    returns="the cosine, a number; whether .grad and the graph are left as they were",
    misconceptions=(
        *ideas(
            "each parameter has a cosine of its own here, and their mean is taken. Lay all"
            " gradients into one vector first.",
            lambda first, second, shared: _of(first, second, shared, _mean_of_cosines),
        ),
        *ideas(
            "only the first parameter is looked at, or only the last, or the matrices without the"
            " biases. All that are shared make one vector.",
            lambda first, second, shared: _of(
                first, second, shared, lambda a, b: _cosine(a[0].flatten(), b[0].flatten())
            ),
            lambda first, second, shared: _of(
                first, second, shared, lambda a, b: _cosine(a[-1].flatten(), b[-1].flatten())
            ),
            lambda first, second, shared: _of(
                first, second, [p for p in shared if p.dim() > 1], _flat_cosine
            ),
        ),
        *ideas(
            "a parameter that one loss does not touch is left out for both. It counts as 0 for that"
            " loss, and still lengthens the other's vector.",
            _both_touched,
        ),
        *ideas(
            "a parameter that one loss does not touch raises an error, or gives None: ask for"
            " allow_unused=True, and put zeros.",
            lambda first, second, shared: _cosine(
                *(_flat(v) for v in _vectors(first, second, shared, unused=False))
            ),
        ),
        *ideas(
            "backward() adds to what .grad holds, and leaves it changed: the next step of the"
            " optimiser would take it along. torch.autograd.grad gives gradients and touches"
            " nothing.",
            lambda first, second, shared: _backward(first, second, shared),
            lambda first, second, shared: _backward(first, second, shared, between=False),
            lambda first, second, shared: _backward(first, second, shared, False, False),
        ),
        *ideas(
            "the graph is used up by the first gradient: retain_graph=True keeps it, for both, so"
            " that the step can still be taken.",
            _released,
        ),
        *ideas(
            "0 / 0: a question that touches nothing has a vector of zeros. Its cosine is 0.",
            lambda first, second, shared: _of(first, second, shared, _undefined),
        ),
        *ideas(
            "this is the dot product. Divide by both lengths: the angle does not know how loud a"
            " question is.",
            lambda first, second, shared: _of(
                first, second, shared, lambda a, b: _flat(a) @ _flat(b)
            ),
        ),
        *ideas(
            "the sign is lost. Below 0 is what we look for: the questions pull apart.",
            lambda first, second, shared: _of(
                first, second, shared, lambda a, b: _cosine(_flat(a), _flat(b)).abs()
            ),
        ),
        *ideas(
            "this is the angle, or one minus the cosine. Asked is the cosine.",
            lambda first, second, shared: _of(
                first, second, shared, lambda a, b: _cosine(_flat(a), _flat(b)).clamp(-1, 1).acos()
            ),
            lambda first, second, shared: _of(
                first,
                second,
                shared,
                lambda a, b: torch.rad2deg(_cosine(_flat(a), _flat(b)).clamp(-1, 1).acos()),
            ),
            lambda first, second, shared: _of(
                first, second, shared, lambda a, b: 1 - _cosine(_flat(a), _flat(b))
            ),
        ),
        *ideas(
            "the cosine of the first question with the *sum* is taken, not with the second.",
            lambda first, second, shared: _of(
                first, second, shared, lambda a, b: _cosine(_flat(a), _flat(a) + _flat(b))
            ),
        ),
    ),
)

EXERCISES = [TWO_QUESTIONS, ANGLE]
