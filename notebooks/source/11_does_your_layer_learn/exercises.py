"""Notebook 11: what moves in a step, weights for what is there, a layer that keeps contracts."""

import math

import torch
from torch import nn
from torch.func import functional_call

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

RATE = 0.1

# 11.1 -----------------------------------------------------------------------------------------


class _Layer(nn.Module):
    """Three maps of one width, text + image, of which each kind of layer uses what it uses."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.text = nn.Linear(2, 2, dtype=torch.float64)
        self.image = nn.Linear(2, 2, dtype=torch.float64)
        self.mix = nn.Linear(2, 2, bias=False, dtype=torch.float64)

    def forward(self, features):
        text, image = self.text(features["text"]), self.image(features["image"])
        if self.kind == "text cut off":
            text = text.detach()
        total = text + image
        return total if self.kind == "mix never called" else self.mix(total)


def what_moves(layer, features):
    """One step by hand: minus a tenth of the gradient, where there is one."""
    parameters = dict(layer.named_parameters())
    loss = layer(features).square().mean()
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    moved = {}
    for (name, p), gradient in zip(parameters.items(), gradients):
        moved[name] = 0.0 if gradient is None else RATE * gradient.abs().max().item()
        if gradient is not None:
            p.data -= RATE * gradient
    return moved


def _moves(function, layer, features):
    """What a function says of the layer that `layer` describes: its kind, its state, and what its
    `.grad` still hold from an earlier batch.
    """
    with torch.random.fork_rng(devices=[]):
        built = _Layer(layer["kind"])
    built.load_state_dict(layer["state"])
    if layer["gradients left"]:
        for p in built.parameters():
            p.grad = torch.full_like(p, layer["gradients left"])
    said = function(built, features)
    if isinstance(said, dict):
        return {name: _number(value) for name, value in said.items()}
    return said


def _number(value):
    one = isinstance(value, torch.Tensor) and value.numel() == 1 and not value.requires_grad
    return value.item() if one else value


def _move_cases(seed=1):
    draw = draws(seed)

    def case(kind, rows, left=0.0):
        state = {}
        for name in ("text", "image"):
            state |= {f"{name}.weight": draw(2, 2), f"{name}.bias": draw(2)}
        state["mix.weight"] = draw(2, 2)
        layer = {"kind": kind, "state": state, "gradients left": left}
        return layer, {"text": draw(rows, 2), "image": draw(rows, 2)}

    yield case("all used", 1)
    yield case("mix never called", 1)
    yield case("text cut off", 2)
    yield case("all used", 3, left=0.7)
    yield case("mix never called", 3, left=-0.3)
    yield case("text cut off", 4)


def _step(layer, features, make=None, zero=True, loss=None):
    """(names, parameters before, parameters after, their gradients) of one step."""
    optimizer = (make or (lambda ps: torch.optim.SGD(ps, lr=RATE)))(list(layer.parameters()))
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    if zero:
        optimizer.zero_grad()
    (loss or (lambda out: out.square().mean()))(layer(features)).backward()
    optimizer.step()
    return before, dict(layer.named_parameters())


def _changes(layer, features, of=None, **how):
    of = of or (lambda change: change.abs().max())
    before, after = _step(layer, features, **how)
    return {name: of(after[name].detach() - before[name]).item() for name in before}


def _only_reached(layer, features):
    changes = _changes(layer, features)
    return {name: changes[name] for name, p in layer.named_parameters() if p.grad is not None}


def _largest_gradients(layer, features, unreached):
    _step(layer, features)
    sizes = {}
    for name, p in layer.named_parameters():
        sizes[name] = unreached(p) if p.grad is None else p.grad.abs().max().item()
    return sizes


WHAT_MOVES = Exercise(
    key="11.1",
    reference=what_moves,
    cases=_move_cases,
    use=_moves,
    batch=lambda: next(iter(_move_cases())),
    returns="a number for each name in layer.named_parameters()",
    misconceptions=(
        *ideas(
            "nothing moves. Either no step is taken, or the numbers from before are the parameters"
            " themselves, which move along: .detach() shares their memory, .clone() copies it.",
            lambda layer, features: {name: 0.0 for name, _ in layer.named_parameters()},
        ),
        *ideas(
            "old gradients are still there: backward() adds to what .grad holds. Clear them before"
            " it, with optimizer.zero_grad().",
            lambda layer, features: _changes(layer, features, zero=False),
        ),
        *ideas(
            "these are gradients, not changes. A gradient says what would move, if the optimiser"
            " knew of it: compare the numbers before the step with those after it.",
            lambda layer, features: _largest_gradients(layer, features, lambda p: 0.0),
            lambda layer, features: _largest_gradients(layer, features, lambda p: None),
            lambda layer, features: _largest_gradients(layer, features, lambda p: p.grad.abs()),
        ),
        *ideas(
            "what gets no gradient is left out. That is what we look for: its change is 0.",
            _only_reached,
        ),
        *ideas(
            "a change below zero counts as a small one: take the absolute value before the"
            " largest.",
            lambda layer, features: _changes(layer, features, of=lambda change: change.max()),
            lambda layer, features: _changes(layer, features, of=lambda change: (-change).max()),
            lambda layer, features: _changes(layer, features, of=lambda c: c.max().abs()),
        ),
        *ideas(
            "the mean change of a parameter's numbers, or their sum. One number that moves is"
            " enough: take the largest.",
            lambda layer, features: _changes(layer, features, of=lambda c: c.abs().mean()),
            lambda layer, features: _changes(layer, features, of=lambda c: c.abs().sum()),
            lambda layer, features: _changes(layer, features, of=lambda c: c.norm()),
        ),
        *ideas(
            "the step is one of Adam, which is about as long for a gradient of 1e-9 as for one of"
            " 1. Take torch.optim.SGD with lr=0.1.",
            lambda layer, features: _changes(
                layer, features, make=lambda ps: torch.optim.Adam(ps, lr=RATE)
            ),
            lambda layer, features: _changes(
                layer, features, make=lambda ps: torch.optim.AdamW(ps, lr=RATE)
            ),
        ),
        *ideas(
            "the loss is the sum of the squares, or the mean without squares. Take"
            " layer(features).square().mean().",
            lambda layer, features: _changes(layer, features, loss=lambda out: out.square().sum()),
            lambda layer, features: _changes(layer, features, loss=lambda out: out.mean()),
            lambda layer, features: _changes(layer, features, loss=lambda out: out.sum()),
        ),
    ),
)

# 11.2 -----------------------------------------------------------------------------------------


def present_weights(scores, mask):
    """exp of the distance to the largest present score, divided by its sum, or by 1 where the row
    is empty. (`clamp(min=1)` would do for the values. Its gradient where the sum is 1 depends on
    the release of PyTorch.)
    """
    kept = scores.masked_fill(~mask, -math.inf)
    largest = kept.amax(1, keepdim=True).detach()
    powers = (kept - largest.masked_fill(largest == -math.inf, 0)).exp()
    return powers / torch.where(mask.any(1, keepdim=True), powers.sum(1, keepdim=True), 1)


def _with_gradient(function, scores, mask):
    """The weights, and the gradient of a sum of them, each times another number."""
    leaf = scores.detach().clone().requires_grad_()
    weights = function(leaf, mask)
    if not isinstance(weights, torch.Tensor):
        return weights
    gradient = torch.zeros_like(scores)
    if weights.shape != scores.shape:
        return {"weights": weights, "gradient of scores": gradient}
    if weights.requires_grad:
        ramp = torch.arange(1.0, 1 + scores.numel(), dtype=scores.dtype).view_as(scores)
        found = torch.autograd.grad((ramp * weights).sum(), leaf, allow_unused=True)[0]
        gradient = gradient if found is None else found
    return {"weights": weights, "gradient of scores": gradient}


def _weight_cases(seed=3):
    yield *float64([[0.0, 1.0]]), torch.tensor([[True, False]])
    yield (
        *float64([[0.3, 1.1, 2.7], [3.1, 4.3, 5.9]]),
        torch.tensor([[True, True, False], [False, False, False]]),
    )
    yield (
        *float64([[0.1, 1.3, 900.3], [1.7, math.nan, 2.9]]),
        torch.tensor([[True, True, False], [True, False, True]]),
    )
    yield (
        *float64([[900.3, 899.1], [-900.3, -901.1]]),
        torch.tensor([[True, True], [True, True]]),
    )
    # far below whatever may stand for a missing score, 0 or -100
    low = [[-900.1, 3.3, -901.3], [-50.7, 3.1, -51.3], [-3.1, 3.7, -4.3]]
    yield *float64(low), torch.tensor([[True, False, True]] * 3)
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)
    for B, M in ((3, 2), (4, 3), (5, 4)):
        mask = torch.rand(B, M, generator=chance) < 0.6
        mask[0], mask[1] = True, False
        yield 2 * draw(B, M), mask


def _weight_batch():
    """The scores of a batch of the page, as its layer makes them."""
    scores = torch.randn(128, 2, generator=torch.Generator().manual_seed(0))
    return scores, torch.ones(128, 2, dtype=torch.bool)


def _divided(weights):
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-12)


PRESENT_WEIGHTS = Exercise(
    key="11.2",
    verified=True,
    reference=present_weights,
    cases=_weight_cases,
    use=_with_gradient,
    batch=_weight_batch,
    returns="one weight per modality",
    misconceptions=(
        *ideas(
            "a missing modality goes into the softmax with the score 0, and exp(0) = 1 is a weight"
            " like any other: its score must be minus infinity.",
            lambda scores, mask: (scores * mask).softmax(1),
            lambda scores, mask: (scores * mask).softmax(1) * mask,
            lambda scores, mask: scores.masked_fill(~mask, 0).softmax(1),
            lambda scores, mask: scores.masked_fill(~mask, 0).softmax(1) * mask,
        ),
        *ideas(
            "the weights are masked after the softmax. What the missing ones took is lost, so the"
            " weights sum to less than 1: mask the scores, before the softmax.",
            lambda scores, mask: scores.softmax(1) * mask,
            lambda scores, mask: scores.softmax(1).masked_fill(~mask, 0),
        ),
        *ideas(
            "the weights are masked and divided by their sum after a softmax in which the missing"
            " ones took part. If one of those has by far the largest score, or NaN, nothing is left"
            " to divide: its score must be minus infinity, before the softmax.",
            lambda scores, mask: _divided(scores.softmax(1) * mask),
            lambda scores, mask: _divided((scores * mask).softmax(1) * mask),
            lambda scores, mask: _divided(scores.masked_fill(~mask, 0).softmax(1) * mask),
        ),
        *ideas(
            "a missing score is replaced by a number such as -100. A present score may be lower,"
            " and then the missing modality takes the weight: use minus infinity.",
            lambda scores, mask: scores.masked_fill(~mask, -100).softmax(1),
            lambda scores, mask: scores.masked_fill(~mask, -100).softmax(1) * mask,
        ),
        *ideas(
            "the exponentials overflow: exp(900) is infinite, and 0 times infinity is NaN. Use"
            " torch.softmax, which subtracts the largest score first, and mask the scores before"
            " it.",
            lambda scores, mask: _divided(scores.exp() * mask),
            lambda scores, mask: _divided(scores.exp().masked_fill(~mask, 0)),
        ),
        *ideas(
            "the sum of the exponentials is taken to be at least 1. A number of modalities is, but"
            " exp(-2) is small: where all scores are low, the weights sum to less than 1.",
            lambda scores, mask: (
                scores.exp().masked_fill(~mask, 0)
                / scores.exp().masked_fill(~mask, 0).sum(1, keepdim=True).clamp(min=1)
            ),
        ),
        *ideas(
            "a row without any modality is NaN: its scores are all minus infinity, and the softmax"
            " divides 0 by 0. Treat this row apart, its weights are 0.",
            lambda scores, mask: scores.masked_fill(~mask, -math.inf).softmax(1),
        ),
        *ideas(
            "a row without any modality gets equal weights. Nothing is present there, so its"
            " weights are 0.",
            lambda scores, mask: scores.masked_fill(~mask, -1e9).softmax(1),
        ),
        *ideas(
            "the weights sum to 1 along the batch, not along the modalities, which are the second"
            " axis.",
            lambda scores, mask: scores.masked_fill(~mask, -math.inf).softmax(0).nan_to_num(),
        ),
        *ideas(
            "the scores are not used: every present modality gets the same weight.",
            lambda scores, mask: mask / mask.sum(1, keepdim=True).clamp(min=1),
        ),
        *ideas(
            "the mask is read the other way round: True means present.",
            lambda scores, mask: present_weights(scores, ~mask),
        ),
        *ideas(
            "the mask is not used: a missing modality takes part in the softmax.",
            lambda scores, mask: scores.softmax(1),
        ),
    ),
)

# 11.3 -----------------------------------------------------------------------------------------


class CarefulFusion(nn.Module):
    """In steps that a wrong idea can change one by one."""

    bias = False

    def __init__(self, dims, classes, width=64):
        super().__init__()
        self.dims, self.classes, self.width = dict(dims), classes, width
        self.project = nn.ModuleDict({name: nn.Linear(dims[name], width) for name in dims})
        self.score = nn.Linear(width, 1, bias=self.bias)
        self.head = nn.Linear(width, classes)

    def named(self, features):
        return features

    def there(self, name, features, mask):
        """(B, 1) bool."""
        x = features[name]
        rows = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
        return (mask or {}).get(name, rows)[:, None]

    def part(self, name, x, there):
        return self.project[name](x.masked_fill(~there, 0)).relu()

    def weights(self, scores, kept):
        return present_weights(scores, kept)

    def forward(self, features, *, mask=None):
        features = self.named(features)
        there = {name: self.there(name, features, mask) for name in self.dims}
        parts = [self.part(name, features[name], there[name]) for name in self.dims]
        x, kept = torch.stack(parts, 1), torch.cat(list(there.values()), 1)  # (B, M, W), (B, M)
        weights = self.weights(self.score(x)[..., 0], kept)
        return self.head(torch.einsum("bm,bmw->bw", weights, x))

    def parameter_formula(self):
        inputs = sum(self.dims.values()) + len(self.dims)
        return self.width * (inputs + 1 + self.classes) + self.classes


def _careful(fusion, dims, classes, width, state, features, mask):
    """Logits, gradients by the weights, and the formula, of a layer with these weights, which go
    by the names that the card gives.
    """
    with torch.random.fork_rng(devices=[]):
        layer = fusion(dims, classes, width)
    if lost := [name for name in state if name not in layer.state_dict()]:
        return f"its weights lack {lost[0]}"
    if more := [name for name in layer.state_dict() if name not in state]:
        return f"its weights have {more[0]} besides"
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    logits = functional_call(layer, weights, (features,), {"mask": mask}, strict=True)
    found = {"logits": logits, "parameter_formula": layer.parameter_formula()}
    if torch.is_tensor(logits) and logits.requires_grad:
        gradients = torch.autograd.grad(
            logits.square().sum(), list(weights.values()), allow_unused=True, retain_graph=True
        )
        for (name, p), gradient in zip(weights.items(), gradients):
            found[f"gradient of {name}"] = torch.zeros_like(p) if gradient is None else gradient
    return found


def _state(draw, dims, classes, width):
    shapes = {}
    for name, dim in dims.items():
        shapes |= {f"project.{name}.weight": (width, dim), f"project.{name}.bias": (width,)}
    shapes |= {"score.weight": (1, width), "head.weight": (classes, width), "head.bias": (classes,)}
    state = {name: draw(*shape) for name, shape in shapes.items()}
    for name in dims:
        state[f"project.{name}.bias"] = state[f"project.{name}.bias"].abs()
    return state


def _low(state, features, highest):
    """Makes all scores negative, and the highest of them `highest`."""
    for name in features:
        features[name] = features[name].abs()
        state[f"project.{name}.weight"] = state[f"project.{name}.weight"].abs()
    score = state["score.weight"].abs()
    sums = []
    for name, x in features.items():
        part = x @ state[f"project.{name}.weight"].T + state[f"project.{name}.bias"]
        sums.append(part @ score.T)  # (B, 1)
    state["score.weight"] = highest * score / torch.cat(sums).min()


def _careful_cases(seed=4):
    draw = draws(seed)

    def case(dims, classes, there, filling=None, turned=False, highest=None, width=2):
        """`there`: {name: a 0 or 1 for each row}, or the number of rows, without a mask."""
        rows = there if isinstance(there, int) else len(next(iter(there.values())))
        features = {name: draw(rows, dim) for name, dim in dims.items()}
        mask = None
        state = _state(draw, dims, classes, width)
        if highest is not None:
            _low(state, features, highest)
        if not isinstance(there, int):
            mask = {name: torch.tensor(row) == 1 for name, row in there.items()}
            for name, kept in mask.items():
                if filling is not None:
                    features[name][~kept] = filling
        if turned:
            features = dict(reversed(features.items()))
            mask = mask and dict(reversed(mask.items()))
        return dims, classes, width, state, features, mask

    two, nan = {"text": 2, "image": 2}, math.nan
    yield case({"text": 1, "image": 1}, 1, 1)
    yield case(two, 2, {"text": [1, 1], "image": [1, 1]})
    yield case(two, 2, {"image": [0, 1]}, 7.3)
    yield case(two, 2, 2, turned=True)
    yield case(two, 2, {"text": [0, 1], "image": [1, 0]}, 0.0, turned=True)
    yield case(two, 2, {"text": [0, 1], "image": [1, 1]}, nan)
    yield case(two, 2, {"text": [0, 1], "image": [0, 1]}, math.inf)
    yield case(two, 2, {"text": [0, 1, 1], "image": [1, 1, 0]}, 0.0, highest=-60.7)
    yield case(two, 2, {"text": [0, 1, 1], "image": [1, 1, 0]}, 0.0, highest=-900.1)
    yield case({"text": 2, "image": 3, "audio": 4}, 3, {"audio": [1, 0, 1, 0]}, nan, width=3)
    yield case({"text": 5, "image": 3}, 2, {"text": [1, 0, 0], "image": [0, 1, 0]}, 3.3, width=3)


def _careful_batch():
    """A batch as on the page: what two encoders give."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    dims = {"text": 32, "image": 32}
    features = {name: draw(128, dim).requires_grad_() for name, dim in dims.items()}
    return dims, 10, 64, _state(draw, dims, 10, 64), features, {}


class _FeaturesByPlace(CarefulFusion):
    def named(self, features):
        return dict(zip(self.dims, features.values()))


class _MaskByPlace(CarefulFusion):
    def forward(self, features, *, mask=None):
        return super().forward(features, mask=dict(zip(self.dims, (mask or {}).values())))


class _PlainDict(CarefulFusion):
    def __init__(self, dims, classes, width=64):
        super().__init__(dims, classes, width)
        layers = dict(self.project)
        del self.project
        self.project = layers


class _ScoreWithBias(CarefulFusion):
    bias = True


class _MaskedLate(CarefulFusion):
    def part(self, name, x, there):
        return self.project[name](x).relu().masked_fill(~there, 0)


class _NeverZero(CarefulFusion):
    def part(self, name, x, there):
        return self.project[name](x).relu()


class _ZeroScore(CarefulFusion):
    def weights(self, scores, kept):
        return (scores * kept).softmax(1)


class _ZeroScoreThenZero(CarefulFusion):
    def weights(self, scores, kept):
        return (scores * kept).softmax(1) * kept


class _Renormalised(CarefulFusion):
    def weights(self, scores, kept):
        return _divided((scores * kept).softmax(1) * kept)


class _Hundred(CarefulFusion):
    def weights(self, scores, kept):
        return scores.masked_fill(~kept, -100).softmax(1) * kept


class _Empty(CarefulFusion):
    def weights(self, scores, kept):
        return scores.masked_fill(~kept, -math.inf).softmax(1)


class _Equal(CarefulFusion):
    def weights(self, scores, kept):
        return kept.to(scores.dtype) / kept.shape[1]


class _MeanOfPresent(CarefulFusion):
    def weights(self, scores, kept):
        return kept.to(scores.dtype) / kept.sum(1, keepdim=True).clamp(min=1)


class _OverTheBatch(CarefulFusion):
    def weights(self, scores, kept):
        return scores.masked_fill(~kept, -math.inf).softmax(0).nan_to_num()


class _NeedsAMask(CarefulFusion):
    def there(self, name, features, mask):
        return mask[name][:, None]


class _FormulaWithoutBiases(CarefulFusion):
    def parameter_formula(self):
        return super().parameter_formula() - self.width * len(self.dims) - self.classes


class _FormulaWithAScoreBias(CarefulFusion):
    def parameter_formula(self):
        return super().parameter_formula() + 1


CAREFUL = Exercise(
    key="11.3",
    reference=CarefulFusion,
    cases=_careful_cases,
    use=_careful,
    batch=_careful_batch,
    returns="logits (B, classes), the gradients of the weights, and the formula's number",
    misconceptions=(
        *ideas(
            "features are taken in the order in which they come. Whoever calls may give them in"
            " any order: go by the names of `dims`.",
            _FeaturesByPlace,
        ),
        *ideas(
            "the mask is taken in the order in which it comes, so that another modality is left"
            " out than the missing one: go by name.",
            _MaskByPlace,
        ),
        *ideas(
            "the projections stand in a plain dict or list, where no optimiser finds them. An"
            " nn.ModuleDict under the name `project` registers them.",
            _PlainDict,
        ),
        *ideas(
            "the score has a bias. It would be added to all scores alike, and the softmax takes it"
            " out again, so it can never learn: bias=False.",
            _ScoreWithBias,
        ),
        *ideas(
            "what is missing gets zeros too late. The result may be right, but its gradient is 0 *"
            " NaN: put the zeros in before the projection, with torch.where.",
            _MaskedLate,
        ),
        *ideas(
            "what is missing is computed with: a weight of 0, or a mask that is multiplied in, does"
            " not help, since 0 * NaN is NaN. Put zeros in before the projection, with"
            " torch.where.",
            _NeverZero,
        ),
        *ideas(
            "a missing modality has the score 0 and takes part in the softmax. Give scores and"
            " mask to present_weights.",
            _ZeroScore,
            _ZeroScoreThenZero,
            _Renormalised,
        ),
        *ideas(
            "a missing score is replaced by -100. Present scores may be lower, and then nothing is"
            " left for them: use minus infinity, as present_weights does.",
            _Hundred,
        ),
        *ideas(
            "a row without any modality is NaN: a softmax over nothing. Its weights are 0.",
            _Empty,
        ),
        *ideas(
            "the scores are not used: a sum divided by M, or a mean, is no weighted sum.",
            _Equal,
            _MeanOfPresent,
        ),
        *ideas(
            "the mask is asked for a name that it has not, or there is no mask at all. What it"
            " leaves out is there in every row.",
            _NeedsAMask,
        ),
        *ideas(
            "the formula counts wrongly: each projection and the head have biases, the score has"
            " none.",
            _FormulaWithoutBiases,
            _FormulaWithAScoreBias,
        ),
    ),
)

EXERCISES = [WHAT_MOVES, PRESENT_WEIGHTS, CAREFUL]
