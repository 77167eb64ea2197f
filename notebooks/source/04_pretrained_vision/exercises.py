"""Notebook 04: the residual block, and the linear probe as ridge regression."""

import torch
from torch import nn
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 04.1 -----------------------------------------------------------------------------------------


class ResidualBlock(nn.Module):
    """The two ways as lists of layers."""

    bias, act, last = False, nn.ReLU, nn.ReLU
    strides = (True, False)  # which convolution has the stride
    shortcut_norm, always, never, plain = True, False, False, False
    norms = True

    def __init__(self, channels, maps, stride):
        super().__init__()
        first, second = (stride if one else 1 for one in self.strides)
        layers = [self.conv(channels, maps, first), self.norm(maps), self.act()]
        layers += [self.conv(maps, maps, second), self.norm(maps)]
        self.way = nn.Sequential(*layers)
        self.shortcut = nn.Sequential()
        if (stride != 1 or channels != maps or self.always) and not self.never:
            self.shortcut.append(self.point(channels, maps, stride))
            if self.shortcut_norm:
                self.shortcut.append(nn.BatchNorm2d(maps))

    def conv(self, before, after, stride):
        return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=self.bias)

    def point(self, before, after, stride):
        return nn.Conv2d(before, after, 1, stride=stride, bias=self.bias)

    def norm(self, maps):
        return nn.BatchNorm2d(maps) if self.norms else nn.Identity()

    def forward(self, x):
        return self.last()(self.way(x) + self.shortcut(x))


def _facts(block, asked, channels, maps, stride, side):
    """One fact of the contract: about the block as it is made, or with known weights."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4, channels, side, side, generator=draw)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        net = block(channels, maps, stride)
        net.eval()(x.clone())  # before its first picture a lazy layer has no weights
    net.train()
    if asked == "number of weights":
        return sum(weight.numel() for weight in net.parameters())
    if asked == "weights that get a gradient":
        with torch.enable_grad():
            net(x).square().sum().backward()
        return sum(weight.numel() for weight in net.parameters() if weight.grad is not None)
    net = net.double().train(asked == "result in training, known weights")
    before = x.double()
    with torch.no_grad():
        if asked == "shape":
            return tuple(net(before).shape)
        for weight in net.parameters():
            _fill(weight)
        given = before.clone()
        result = net(given)
        return torch.equal(given, before) if asked == "x is left as it was" else result


def _fill(weight):
    """Numbers that depend on a parameter's shape alone: a block may keep its own in any order."""
    waves = torch.sin(torch.arange(1.0, weight.numel() + 1, dtype=weight.dtype) ** 2)
    weight.copy_(waves.view(weight.shape) / 2 if weight.dim() > 1 else 0.3 + 0.4 * waves.abs())


def _block_cases(seed=1):
    yield "shape", 2, 2, 1, 4
    yield "number of weights", 2, 2, 1, 4
    yield "result, known weights", 1, 1, 1, 2
    yield "result, known weights", 2, 2, 1, 3
    yield "x is left as it was", 2, 2, 1, 3
    yield "result in training, known weights", 2, 2, 1, 4
    yield "shape", 2, 3, 2, 4
    yield "number of weights", 2, 3, 2, 4
    yield "number of weights", 2, 3, 1, 4
    yield "number of weights", 2, 2, 2, 4
    yield "result, known weights", 2, 3, 2, 4
    yield "result, known weights", 3, 2, 1, 5
    yield "result, known weights", 2, 2, 2, 6
    yield "result in training, known weights", 2, 3, 2, 5
    yield "weights that get a gradient", 2, 3, 2, 4
    draw = torch.Generator().manual_seed(seed)
    for asked in ("number of weights", "shape", "result, known weights"):
        channels, maps, stride, side = torch.randint(1, 5, (4,), generator=draw).tolist()
        yield asked, channels, maps, min(stride, 2), side + 2


class _ReluBeforeAdding(ResidualBlock):
    def forward(self, x):
        return self.way(x).relu() + self.shortcut(x)


class _NoLastRelu(ResidualBlock):
    last = nn.Identity


class _NoInnerRelu(ResidualBlock):
    act = nn.Identity


class _NoShortcut(ResidualBlock):
    def forward(self, x):
        return self.way(x).relu()


class _NotStrided(ResidualBlock):
    def point(self, before, after, stride):
        return nn.Conv2d(before, after, 1, bias=False)


class _BareShortcut(ResidualBlock):
    never = True


class _OnlyForChannels(ResidualBlock):
    def __init__(self, channels, maps, stride):
        super().__init__(channels, maps, stride)
        if channels == maps:
            self.shortcut = nn.Sequential()


class _OnlyForStride(ResidualBlock):
    def __init__(self, channels, maps, stride):
        super().__init__(channels, maps, stride)
        if stride == 1:
            self.shortcut = nn.Sequential()


class _Always(ResidualBlock):
    always = True


class _ShortcutWithoutNorm(ResidualBlock):
    shortcut_norm = False


class _Bias(ResidualBlock):
    bias = True


class _OneNorm(ResidualBlock):
    def __init__(self, channels, maps, stride):
        super().__init__(channels, maps, stride)
        self.way[4] = self.way[1]


class _FirstNormTwice(ResidualBlock):
    def forward(self, x):
        conv1, norm1, act, conv2, _ = self.way
        return (norm1(conv2(act(norm1(conv1(x))))) + self.shortcut(x)).relu()


class _OneConv(ResidualBlock):
    def __init__(self, channels, maps, stride):
        super().__init__(channels, maps, stride)
        if channels == maps and stride == 1:
            self.way[3] = self.way[0]


class _StrideTwice(ResidualBlock):
    strides = (True, True)


class _StrideSecond(ResidualBlock):
    strides = (False, True)


class _NoNorms(ResidualBlock):
    norms = False


class _InPlace(ResidualBlock):
    def forward(self, x):
        way = self.way(x)
        if len(self.shortcut):
            return (way + self.shortcut(x)).relu()
        x += way
        return x.relu()


class _Glued(ResidualBlock):
    def forward(self, x):
        return torch.cat([self.way(x), self.shortcut(x)], dim=1).relu()


class _WideShortcut(ResidualBlock):
    def point(self, before, after, stride):
        return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)


RESIDUAL_BLOCK = Exercise(
    key="04.1",
    verified=True,
    reference=ResidualBlock,
    cases=_block_cases,
    use=_facts,
    batch=lambda: ("weights that get a gradient", 16, 16, 1, 8),
    returns="samples first, then channels, then rows and columns where there are any",
    misconceptions=(
        *ideas(
            "the last ReLU stands before the addition. It comes after it, over the sum.",
            _ReluBeforeAdding,
        ),
        *ideas("the sum goes out without a ReLU: there is one after the addition.", _NoLastRelu),
        *ideas(
            "between the two convolutions there is no ReLU, so that the two are one linear map.",
            _NoInnerRelu,
        ),
        *ideas("x does not come back: the shortcut is missing in the sum.", _NoShortcut, _Glued),
        *ideas(
            "the two parts of the sum come out in different sizes: the first convolution takes the"
            " stride, and so does the shortcut's.",
            _NotStrided,
        ),
        *ideas(
            "where x has other channels or another size than the result, it cannot be added as it"
            " is: there the shortcut is a convolution of 1 x 1 with the stride, and a batch norm."
            " Either of the two is reason enough.",
            _BareShortcut,
            _OnlyForChannels,
            _OnlyForStride,
        ),
        *ideas(
            "there are weights in the shortcut where x fits as it is: with the same channels and"
            " stride 1 it is x itself.",
            _Always,
        ),
        *ideas("the shortcut's convolution has no batch norm behind it.", _ShortcutWithoutNorm),
        *ideas(
            "the convolutions have a bias. The batch norm behind each takes it off: bias=False.",
            _Bias,
        ),
        *ideas(
            "one layer is used twice. Each convolution and each batch norm has weights of its own.",
            _OneNorm,
            _FirstNormTwice,
            _OneConv,
        ),
        *ideas(
            "the stride belongs to the first convolution, and to it alone (the shortcut has its"
            " own).",
            _StrideTwice,
            _StrideSecond,
        ),
        *ideas(
            "x is changed in place (`x += ...`), and with it the maps of whoever called. Write the"
            " sum into a new tensor.",
            _InPlace,
        ),
    ),
)


# 04.2 -----------------------------------------------------------------------------------------


def linear_probe(features, targets, new, penalty):
    """By the Cholesky factor of the system, which is symmetric."""
    mean = features.mean(0)
    deviation = features.std(0, correction=0).clamp(min=1e-6)
    x, z = (features - mean) / deviation, (new - mean) / deviation
    level = targets.mean(0)
    gram = x.T @ x
    gram.diagonal().add_(penalty)
    factor = torch.linalg.cholesky(gram)
    return z @ torch.cholesky_solve(x.T @ (targets - level), factor) + level


def _probe_cases(seed=2):
    yield *float64([[1.0], [3.0]], [[0.0], [4.0]], [[5.0]]), 2.0
    yield *float64([[1.0], [3.0]], [[0.0], [4.0]], [[5.0], [6.0]]), 0.5
    # a feature that is the same in all
    yield *float64([[1.0, 7.0], [3.0, 7.0], [4.0, 7.0]], [[1.0], [2.0], [0.0]], [[2.0, 7.0]]), 1.0
    draw = draws(seed)
    for N, D, K, M, penalty in (
        (4, 2, 1, 3, 1.0),
        (5, 2, 3, 2, 0.3),
        (6, 3, 2, 6, 10.0),  # as many new ones
        (5, 4, 2, 4, 2.0),
        (8, 3, 3, 1, 0.1),  # one new one: its own deviation is 0
        (7, 4, 4, 5, 100.0),
    ):
        scale = torch.arange(1.0, D + 1, dtype=torch.float64) ** 2
        yield 4 + scale * draw(N, D), 2 + draw(N, K), 5 + scale * draw(M, D), penalty


def _solved(x, targets, new, penalty, level=None):
    """Ridge with what is given as it is; `level` is what is taken off the targets."""
    level = targets.mean(0) if level is None else level
    gram = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype)
    return new @ torch.linalg.solve(gram, x.T @ (targets - level)) + level


def _scaled(x, like, deviation=True):
    spread = like.std(0, correction=0).clamp(min=1e-6) if deviation else 1
    return (x - like.mean(0)) / spread


def _own_statistics(features, targets, new, penalty):
    return _solved(_scaled(features, features), targets, _scaled(new, new), penalty)


def _of_both(features, targets, new, penalty):
    both = torch.cat([features, new])
    x = _scaled(features, both)
    level, mean = targets.mean(0), x.mean(0)
    return _solved(x - mean, targets, _scaled(new, both) - mean, penalty, level)


def _of_both_uncentred(features, targets, new, penalty):
    both = torch.cat([features, new])
    return _solved(_scaled(features, both), targets, _scaled(new, both), penalty)


def _raw(features, targets, new, penalty):
    return _solved(features, targets, new, penalty)


def _raw_no_level(features, targets, new, penalty):
    return _solved(features, targets, new, penalty, 0)


def _new_raw(features, targets, new, penalty):
    return _solved(_scaled(features, features), targets, new, penalty)


def _only_centred(features, targets, new, penalty):
    x, z = _scaled(features, features, False), _scaled(new, features, False)
    return _solved(x, targets, z, penalty)


def _no_level(features, targets, new, penalty):
    return _solved(_scaled(features, features), targets, _scaled(new, features), penalty, 0)


def _no_penalty(features, targets, new, penalty):
    x, z, level = _scaled(features, features), _scaled(new, features), targets.mean(0)
    return z @ torch.linalg.solve(x.T @ x, x.T @ (targets - level)) + level


def _penalty_everywhere(features, targets, new, penalty):
    x, z, level = _scaled(features, features), _scaled(new, features), targets.mean(0)
    return z @ torch.linalg.solve(x.T @ x + penalty, x.T @ (targets - level)) + level


def _sample_deviation(features, targets, new, penalty):
    spread = features.std(0).clamp(min=1e-6)
    x, z = ((one - features.mean(0)) / spread for one in (features, new))
    return _solved(x, targets, z, penalty)


def _one_number(features, targets, new, penalty):
    x, z = ((one - features.mean()) / features.std(correction=0) for one in (features, new))
    return _solved(x, targets, z, penalty)


def _bias_penalised(features, targets, new, penalty):
    x, z = _scaled(features, features), _scaled(new, features)
    x, z = (torch.cat([one, torch.ones_like(one[:, :1])], 1) for one in (x, z))
    return _solved(x, targets, z, penalty, 0)


def _divided(features, targets, new, penalty):
    spread = features.std(0, correction=0)
    x, z = ((one - features.mean(0)) / spread for one in (features, new))
    return _solved(x, targets, z, penalty)


def _classes(features, targets, new, penalty):
    return linear_probe(features, targets, new, penalty).argmax(1)


def _softmax(features, targets, new, penalty):
    return linear_probe(features, targets, new, penalty).softmax(1)


def _of_train(features, targets, new, penalty):
    return linear_probe(features, targets, features, penalty)


def _page_batch():
    draw = torch.Generator().manual_seed(0)
    features, new = torch.randn(400, 1280, generator=draw), torch.randn(200, 1280, generator=draw)
    targets = F.one_hot(torch.randint(4, (400,), generator=draw), 4).float()
    return features, targets, new, 100.0


LINEAR_PROBE = Exercise(
    key="04.2",
    verified=True,
    reference=linear_probe,
    cases=_probe_cases,
    batch=_page_batch,
    returns="one row for each row of new, one column for each target",
    misconceptions=(
        *ideas(
            "the new features are scaled by their own mean and deviation. A model that is asked"
            " about one picture has none: use those of the training features.",
            _own_statistics,
        ),
        *ideas(
            "mean and deviation are taken over training and new features together. What is asked"
            " about must not change the model.",
            _of_both,
            _of_both_uncentred,
        ),
        *ideas(
            "the features are not standardised: (x - mean) / deviation, column by column.",
            _raw,
            _raw_no_level,
        ),
        *ideas(
            "the training features are standardised and the new ones are not. Both go through the"
            " same step.",
            _new_raw,
        ),
        *ideas("the features are centred, but not divided by their deviation.", _only_centred),
        *ideas(
            "mean and deviation are one number for all features. Each column has its own: dim=0.",
            _one_number,
        ),
        *ideas(
            "the targets' mean is missing: take it off before solving, and add it to what is said.",
            _no_level,
        ),
        *ideas(
            "the constant is penalised with the weights. Take the targets' mean off in its place.",
            _bias_penalised,
        ),
        *ideas(
            "the penalty is not what stands in (04.3): add it, as it is, to each entry of the"
            " diagonal.",
            _no_penalty,
            _penalty_everywhere,
            lambda features, targets, new, penalty: linear_probe(
                features, targets, new, penalty * len(features)
            ),
            lambda features, targets, new, penalty: linear_probe(
                features, targets, new, penalty / len(features)
            ),
            lambda features, targets, new, penalty: linear_probe(
                features, targets, new, penalty**2
            ),
        ),
        *ideas(
            "the deviation divides by N - 1. Here it divides by N: std(dim=0, correction=0).",
            _sample_deviation,
        ),
        *ideas(
            "a feature that is the same in all samples has the deviation 0, and 0 / 0 is NaN: keep"
            " the deviation at 1e-6 at least.",
            _divided,
        ),
        *ideas(
            "expected the scores themselves, one for each target and row of new, without argmax or"
            " softmax.",
            _classes,
            _softmax,
            _of_train,
        ),
    ),
)

EXERCISES = [RESIDUAL_BLOCK, LINEAR_PROBE]
