"""Notebook 03: the convolution with all its axes, a network by its contract, a grid's means."""

import random

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 03.1 -----------------------------------------------------------------------------------------


def conv_output(x, weight, bias, stride=1, padding=0):
    """All windows as columns, times the kernels as rows."""
    B, _, H, W = x.shape
    O, k = len(weight), weight.shape[-1]
    windows = F.unfold(x, k, padding=padding, stride=stride)  # (B, C k k, places)
    y = weight.flatten(1) @ windows + bias[:, None]  # (B, O, places)
    return y.view(B, O, (H + 2 * padding - k) // stride + 1, (W + 2 * padding - k) // stride + 1)


def _conv_cases(seed=1):
    yield *float64([[[[1.0, 2.0, 3.0]]]], [[[[10.0]]]], [0.5]), 2, 0
    yield *float64([[[[1.0, 2.0], [3.0, 5.0]]]], [[[[2.0]]]], [0.5]), 1, 1
    yield *float64([[[[1.0]], [[2.0]]]], [[[[3.0]], [[5.0]]]], [7.25]), 1, 0  # two channels
    yield *float64([[[[1.0, 2.0]]]], [[[[3.0]]], [[[5.0]]]], [7.0, 9.0]), 1, 0  # two outputs
    draw = draws(seed)
    for B, C, O, H, W, k, stride, padding in (
        (1, 1, 1, 2, 2, 2, 1, 0),
        (2, 1, 1, 2, 1, 1, 1, 0),
        (1, 2, 2, 3, 4, 2, 1, 0),
        (2, 2, 2, 4, 3, 3, 1, 1),
        (1, 2, 3, 2, 2, 3, 1, 1),  # the window fits with its frame only
        (1, 3, 2, 5, 6, 3, 2, 0),
        (2, 1, 2, 5, 5, 3, 2, 1),
        (1, 2, 2, 8, 6, 3, 3, 0),
        (2, 2, 2, 4, 4, 2, 3, 2),
    ):
        yield draw(B, C, H, W), draw(O, C, k, k), draw(O), stride, padding


def _conv(x, weight, bias, stride, padding):
    return F.conv2d(x, weight, bias, stride=stride, padding=padding)


def _frame_on_two_sides(x, weight, bias, stride, padding):
    return _conv(F.pad(x, (padding, padding)), weight, bias, stride, 0)


def _frame_of_edges(x, weight, bias, stride, padding):
    return _conv(F.pad(x, (padding,) * 4, mode="replicate"), weight, bias, stride, 0)


def _no_plus_one(x, weight, bias, stride, padding):
    h, w = ((side + 2 * padding - weight.shape[-1]) // stride for side in x.shape[2:])
    return _conv(x, weight, bias, stride, padding)[:, :, :h, :w]


def _range_too_short(x, weight, bias, stride, padding):
    ends = [side + 2 * padding - weight.shape[-1] for side in x.shape[2:]]
    h, w = (len(range(0, end, stride)) for end in ends)
    return _conv(x, weight, bias, stride, padding)[:, :, :h, :w]


def _over_the_edge(x, weight, bias, stride, padding):
    more = padding + stride - 1
    return _conv(F.pad(x, (padding, more, padding, more)), weight, bias, stride, 0)


def _by_one(x, weight, bias, stride, padding):
    h, w = ((side + 2 * padding - weight.shape[-1]) // stride + 1 for side in x.shape[2:])
    return _conv(x, weight, bias, 1, padding)[:, :, :h, :w]


def _axes_swapped(x, weight, bias, stride, padding):
    if weight.shape[0] != weight.shape[1]:
        raise RuntimeError
    return _conv(x, weight.transpose(0, 1), bias, stride, padding)


CONV_OUTPUT = Exercise(
    key="03.1",
    verified=True,
    reference=conv_output,
    cases=_conv_cases,
    returns="for each sample and each output channel a map of H' rows and W' columns",
    misconceptions=(
        *ideas(
            "the kernel is turned round, as in mathematics. In deep learning, and in (03.1), it"
            " stays as it is.",
            lambda x, w, b, s, P: _conv(x, w.flip(2, 3), b, s, P),
        ),
        *ideas(
            "the channels of x do not all meet their own part of the kernel: weight[o, c] belongs"
            " to channel c.",
            lambda x, w, b, s, P: _conv(x, w[:, :1].expand_as(w), b, s, P),
            lambda x, w, b, s, P: _conv(x[:, :1], w[:, :1], b, s, P),
        ),
        *ideas(
            "the products are averaged. (03.1) adds them up, and divides by nothing.",
            lambda x, w, b, s, P: _conv(x, w / w[0].numel(), b, s, P),
        ),
        *ideas(
            "the bias is missing, or added more than once: it is one number for each output, added"
            " after the sum.",
            lambda x, w, b, s, P: _conv(x, w, None, s, P),
            lambda x, w, b, s, P: _conv(x, w, b * w[0].numel(), s, P),
            lambda x, w, b, s, P: _conv(x, w, b * w.shape[1], s, P),
        ),
        *ideas(
            "the bias is lined up with the columns of the map. It belongs to the outputs: give it"
            " two more axes, bias[:, None, None].",
            lambda x, w, b, s, P: _conv(x, w, None, s, P) + b,
        ),
        *ideas(
            "the outputs are added to one map. Each row of the weight has a map of its own.",
            lambda x, w, b, s, P: _conv(x, w, b, s, P).sum(1, keepdim=True),
        ),
        *ideas(
            "all samples get the result of the first one.",
            lambda x, w, b, s, P: _conv(x[:1], w, b, s, P).repeat(len(x), 1, 1, 1),
        ),
        *ideas(
            "`stride` or `padding` is not used everywhere: the window moves by `stride` to the"
            " right and downwards, through x with `padding` zeros around it.",
            lambda x, w, b, s, P: _conv(x, w, b, 1, P),
            lambda x, w, b, s, P: _conv(x, w, b, s, 0),
            lambda x, w, b, s, P: _conv(x, w, b, (s, 1), P),
            _by_one,
        ),
        *ideas(
            "the frame is not `padding` zeros wide on all four sides: F.pad(x, (P, P)) pads the"
            " last axis alone, and a frame that repeats the edge holds no zeros.",
            _frame_on_two_sides,
            _frame_of_edges,
        ),
        *ideas(
            "a place at the end is missing: the window's last row may be the last row of x. Try it"
            " with a kernel as large as x.",
            _no_plus_one,
            _range_too_short,
        ),
        *ideas(
            "there is a place too many: the window stands over the edge there. It has to fit in as"
            " a whole; what is left over is left out.",
            _over_the_edge,
        ),
        *ideas(
            "the first two axes of the weight are exchanged: it is (O, C, k, k), outputs first.",
            _axes_swapped,
        ),
    ),
)


# 03.2 -----------------------------------------------------------------------------------------


class PictureNet(nn.Module):
    """The three blocks as one list of layers."""

    bias, norm, last_pool = False, True, False
    padding, activation = 1, nn.ReLU

    def __init__(self, channels):
        super().__init__()
        layers = []
        for before, after in ((channels, 16), (16, 32), (32, 32)):
            layers += [*self.block(before, after), self.pool()]
        self.layers = nn.Sequential(*(layers if self.last_pool else layers[:-1]))

    def block(self, before, after):
        layers = [nn.Conv2d(before, after, 3, padding=self.padding, bias=self.bias)]
        layers += [nn.BatchNorm2d(after)] if self.norm else []
        return [*layers, self.activation()]

    def pool(self):
        return nn.MaxPool2d(2)

    def maps(self, pictures):
        return self.layers(pictures)

    def forward(self, pictures):
        return self.maps(pictures).mean((2, 3))


def _facts(network, asked, channels, side):
    """One fact of the contract: about the network as it is made, or with known weights."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        net = network(channels)
        pictures = torch.rand(2, channels, side, side)
    if asked == "number of weights":
        return sum(weight.numel() for weight in net.parameters())
    if asked == "weights that get a gradient":
        net(pictures).sum().backward()
        return sum(weight.numel() for weight in net.parameters() if weight.grad is not None)
    net.eval()
    with torch.no_grad():
        if asked == "shape of the maps":
            return tuple(net.maps(pictures).shape)
        if asked == "shape of the vectors":
            return tuple(net(pictures).shape)
        for weight in net.parameters():
            _fill(weight)
        return net.maps(pictures) if asked == "maps, known weights" else net(pictures)


def _fill(weight):
    """Numbers that depend on a parameter's shape alone: a network may keep its own in any order."""
    waves = torch.sin(torch.arange(1.0, weight.numel() + 1) ** 2).view(weight.shape)
    weight.copy_(waves if weight.dim() > 1 else 0.1 + 0.4 * waves.abs())


def _net_cases(seed=2):
    yield "number of weights", 1, 8
    yield "number of weights", 3, 16
    yield "shape of the maps", 1, 16
    yield "shape of the maps", 1, 24
    yield "shape of the vectors", 1, 16
    yield "shape of the vectors", 3, 32
    yield "maps, known weights", 1, 8
    yield "vectors, known weights", 2, 8
    yield "vectors, known weights", 1, 16
    yield "weights that get a gradient", 1, 8
    draw = random.Random(seed)
    for asked in ("number of weights", "shape of the maps", "vectors, known weights"):
        yield asked, draw.randint(1, 4), 4 * draw.randint(2, 6)


class _NoReLU(PictureNet):
    activation = nn.Identity


class _NoLastReLU(PictureNet):
    def __init__(self, channels):
        super().__init__(channels)
        self.layers = self.layers[:-1]


class _ReLUFirst(PictureNet):
    def block(self, before, after):
        conv, norm, relu = super().block(before, after)
        return [conv, relu, norm]


class _NoNorm(PictureNet):
    norm = False


class _NormsInAList(PictureNet):
    def __init__(self, channels):
        super().__init__(channels)
        norms = [layer for layer in self.layers if isinstance(layer, nn.BatchNorm2d)]
        self.hidden = [norms]
        self.layers = nn.ModuleList(
            [layer for layer in self.layers if not isinstance(layer, nn.BatchNorm2d)]
        )

    def maps(self, pictures):
        norms = iter(self.hidden[0])
        for layer in self.layers:
            pictures = layer(pictures)
            if isinstance(layer, nn.Conv2d):
                pictures = next(norms)(pictures)  # which no .eval() reaches
        return pictures


class _Bias(PictureNet):
    bias = True


class _NoPadding(PictureNet):
    padding = 0


class _ThreePools(PictureNet):
    last_pool = True


class _PoolByOne(PictureNet):
    def pool(self):
        return nn.MaxPool2d(2, stride=1)


class _NoPool(PictureNet):
    def pool(self):
        return nn.Identity()


class _MeanPool(PictureNet):
    def pool(self):
        return nn.AvgPool2d(2)


class _Flattened(PictureNet):
    def forward(self, pictures):
        return self.maps(pictures).flatten(1)


class _OverChannels(PictureNet):
    def forward(self, pictures):
        return self.maps(pictures).mean(1).flatten(1)


class _OneMean(PictureNet):
    def forward(self, pictures):
        return self.maps(pictures).flatten(1).mean(1)


class _Largest(PictureNet):
    def forward(self, pictures):
        return self.maps(pictures).amax((2, 3))


class _AxesLeft(PictureNet):
    def forward(self, pictures):
        return self.maps(pictures).mean((2, 3), keepdim=True)


class _OnlyWidth(PictureNet):
    def forward(self, pictures):
        return self.maps(pictures).mean(3).flatten(1)


class _TwoBlocks(PictureNet):
    def __init__(self, channels):
        super().__init__(channels)
        self.layers = self.layers[:8]


PICTURE_NET = Exercise(
    key="03.2",
    reference=PictureNet,
    cases=_net_cases,
    use=_facts,
    batch=lambda: ("weights that get a gradient", 1, 28),
    returns="samples first, then channels, then rows and columns where there are any",
    misconceptions=(
        *ideas(
            "ReLU is missing, after all blocks or after the last one, or stands before batch"
            " normalisation: it ends each block.",
            _NoReLU,
            _NoLastReLU,
            _ReLUFirst,
        ),
        *ideas(
            "batch normalisation is missing, or not registered: layers in a plain list are no part"
            " of the network, those in an nn.ModuleList are.",
            _NoNorm,
            _NormsInAList,
        ),
        *ideas(
            "the convolutions have a bias. Batch normalisation takes each map's mean off and adds"
            " a number of its own, so it would do nothing: bias=False.",
            _Bias,
        ),
        *ideas(
            "the convolutions have no padding, so each one takes two rows and two columns off.",
            _NoPadding,
        ),
        *ideas(
            "there is a pooling after the third block, too. Two poolings by 2 make a place of the"
            " maps 4 pixels.",
            _ThreePools,
        ),
        *ideas(
            "the pooling does not halve the sides: nn.MaxPool2d(2) moves by 2.", _PoolByOne, _NoPool
        ),
        *ideas("the pooling between the blocks keeps the mean, not the largest.", _MeanPool),
        *ideas(
            "the vector has a number for each place. It is the mean over all places, 32 numbers.",
            _Flattened,
            _OnlyWidth,
        ),
        *ideas(
            "the mean runs over the channels. The places are the last two axes.",
            _OverChannels,
            _OneMean,
        ),
        *ideas("the vector keeps the largest of all places, not their mean.", _Largest),
        *ideas(
            "the two axes of the places are still there, with length 1. The result is (B, 32).",
            _AxesLeft,
        ),
        *ideas("the third block is missing.", _TwoBlocks),
    ),
)


# 03.3 -----------------------------------------------------------------------------------------


def pool_grid(maps, grid):
    """Each side is cut into grid parts of one length, and the two inner axes are averaged."""
    B, C, H, W = maps.shape
    cells = maps.reshape(B, C, grid, H // grid, grid, W // grid)
    return cells.mean((3, 5)).reshape(B, C * grid * grid)


def _grid_cases(seed=3):
    yield *float64([[[[1.0, 2.0]]]]), 1
    yield *float64([[[[1.0, 2.0], [4.0, 8.0]]]]), 2
    draw = draws(seed)
    for B, C, H, W, grid in (
        (1, 2, 2, 2, 1),
        (1, 1, 2, 4, 2),
        (2, 1, 4, 2, 2),
        (2, 2, 4, 4, 2),
        (2, 3, 6, 6, 2),
        (1, 2, 6, 6, 3),
        (3, 2, 3, 6, 3),
        (2, 2, 2, 2, 2),
    ):
        yield draw(B, C, H, W), grid


def _cells(maps, grid):
    """(B, C, grid, H / grid, grid, W / grid)"""
    B, C, H, W = maps.shape
    return maps.reshape(B, C, grid, H // grid, grid, W // grid)


def _interleaved(maps, grid):
    B, C, H, W = maps.shape
    return maps.reshape(B, C, H // grid, grid, W // grid, grid).mean((2, 4)).flatten(1)


POOL_GRID = Exercise(
    key="03.3",
    reference=pool_grid,
    cases=_grid_cases,
    batch=lambda: (torch.rand(64, 32, 4, 4).requires_grad_(), 2),
    returns="for each sample C times grid times grid means",
    misconceptions=(
        *ideas(
            "the mean runs over the channels, too. Each channel has its own means.",
            lambda maps, g: _cells(maps, g).mean((1, 3, 5)).flatten(1),
        ),
        *ideas(
            "the grid is not used: one mean for each channel.", lambda maps, g: maps.mean((2, 3))
        ),
        *ideas(
            "the largest of each cell is kept, not the mean.",
            lambda maps, g: _cells(maps, g).amax((3, 5)).flatten(1),
        ),
        *ideas(
            "the cells are added up. Divide by the number of places in a cell.",
            lambda maps, g: _cells(maps, g).sum((3, 5)).flatten(1),
        ),
        *ideas(
            "the order is another one: first all cells of channel 0, then all of channel 1; in a"
            " channel from left to right, and then the next row.",
            lambda maps, g: _cells(maps, g).mean((3, 5)).permute(0, 2, 3, 1).flatten(1),
            lambda maps, g: _cells(maps, g).mean((3, 5)).mT.flatten(1),
        ),
        *ideas(
            "a cell takes every H/grid-th row and not the rows beside each other.", _interleaved
        ),
        *ideas(
            "the axes of the grid are still there. The result is (B, C * grid * grid).",
            lambda maps, g: _cells(maps, g).mean((3, 5)),
            lambda maps, g: _cells(maps, g).mean((3, 5)).flatten(2),
        ),
        *ideas(
            "the cells are grid places wide. There shall be grid cells on each side.",
            lambda maps, g: F.avg_pool2d(maps, g).flatten(1),
        ),
        *ideas(
            "one place stands for each cell. Take the mean of all its places.",
            lambda maps, g: _cells(maps, g)[:, :, :, 0, :, 0].flatten(1),
        ),
        *ideas(
            "only the upper left places are taken.", lambda maps, g: maps[:, :, :g, :g].flatten(1)
        ),
        *ideas(
            "the samples are put behind each other. Keep the first axis: flatten(1).",
            lambda maps, g: _cells(maps, g).mean((3, 5)).flatten(),
        ),
    ),
)

EXERCISES = [CONV_OUTPUT, PICTURE_NET, POOL_GRID]
