"""Notebook 03: bytes become a network's input, a convolution by hand, the side of what comes
out.
"""

import math
import random

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.compare import Array, difference
from course_utils.image import IMAGENET_MEAN, IMAGENET_STD

# 03.1 -----------------------------------------------------------------------------------------


def network_input(pixels):
    """Channel by channel, through a table of what each of the 256 bytes becomes."""
    tables = [
        (torch.arange(256) / 255 - mean) / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD)
    ]
    channels = [pixels] * 3 if pixels.dim() == 2 else pixels.unbind(2)
    return torch.stack(
        [table[channel.long()] for table, channel in zip(tables, channels, strict=True)]
    )


def _pixel_cases(seed=30):
    draw = torch.Generator().manual_seed(seed)
    yield (torch.tensor([[0]], dtype=torch.uint8),)
    yield (torch.tensor([[[255, 128, 0]]], dtype=torch.uint8),)
    # Three pixels wide or high, too: what raises elsewhere runs here.
    for shape in (
        (1, 2),
        (2, 3),
        (3, 2),
        (3, 3),
        (2, 2, 3),
        (4, 3, 3),
        (3, 2, 3),
        (3, 3, 3),
        (4, 5),
        (2, 5, 3),
    ):
        yield (torch.randint(256, shape, generator=draw, dtype=torch.uint8),)


def _float32(got, expected):
    """`difference`, and broken numbers have to be float32. A wrong idea may give float64: it then
    stands for both.
    """
    text = difference(got, expected)
    floats = all(isinstance(one, Array) and one.kind == "float" for one in (got, expected))
    if text is None and floats and got.dtype != "float32" == expected.dtype:
        numpy = " (NumPy makes it unless told otherwise)" if got.dtype == "float64" else ""
        return f"returned {got.dtype}{numpy}, expected float32"
    return text


_MEAN = torch.tensor(IMAGENET_MEAN, dtype=torch.float64)[:, None, None]
_STD = torch.tensor(IMAGENET_STD, dtype=torch.float64)[:, None, None]


def _last(pixels):
    """From 0 to 1, (H, W, 3) for gray, too."""
    x = pixels.double() / 255
    return x if x.dim() == 3 else x[..., None].expand(-1, -1, 3)


def _front(pixels):
    """From 0 to 1, (3, H, W)."""
    return _last(pixels).permute(2, 0, 1)


def _norm(x):
    return (x - _MEAN) / _STD


def _gray_stops(pixels):
    if pixels.dim() == 2:
        raise RuntimeError
    return _norm(_front(pixels))


def _colours_by_last_length(pixels):
    if pixels.shape[-1] == 3:
        return _norm(pixels.permute(2, 0, 1).double() / 255)
    return _norm(_front(pixels))


def _ready_by_first_length(pixels):
    if pixels.dim() == 3 and pixels.shape[0] == 3:
        return _norm(pixels.double() / 255)
    return _norm(_front(pixels))


def _one_mean_for_gray(pixels):
    if pixels.dim() == 2:
        return (_front(pixels) - _MEAN.mean()) / _STD.mean()
    return _norm(_front(pixels))


def _colours_still_last(pixels):
    if pixels.dim() == 2:
        return _norm(_front(pixels))
    return (_last(pixels) - _MEAN.flatten()) / _STD.flatten()


def _colours_torn(pixels):
    if pixels.dim() == 2:
        return _norm(_front(pixels))
    return _norm(_last(pixels).reshape(3, *pixels.shape[:2]))


def _colours_on_their_side(pixels):
    if pixels.dim() == 2:
        return _norm(_front(pixels))
    return _norm(_last(pixels).permute(2, 1, 0))


NETWORK_INPUT = Exercise(
    key="03.1",
    reference=network_input,
    cases=_pixel_cases,
    compare=_float32,
    returns="three channels, then height and width, as float32",
    misconceptions=(
        *ideas(
            "the bytes are not divided by 255. ImageNet's mean and standard deviation belong to"
            " values from 0 to 1: bring the bytes there first.",
            lambda pixels: _norm(255 * _front(pixels)),
        ),
        *ideas(
            "divided by the largest byte of this picture. Then a dark picture comes out bright, and"
            " a black one as 0 / 0: every picture is divided by 255.",
            lambda pixels: _norm(255 * _front(pixels) / pixels.max()),
        ),
        *ideas(
            "(03.1) is missing, or one half of it: take each channel's mean off, then divide by its"
            " standard deviation.",
            _front,
            lambda pixels: _front(pixels) - _MEAN,
            lambda pixels: _front(pixels) / _STD,
        ),
        *ideas(
            "normalised twice. Nothing fails, but a network would see colours far too strong:"
            " (03.1) comes once.",
            lambda pixels: _norm(_norm(_front(pixels))),
        ),
        *ideas(
            "the picture's own mean and standard deviation are used. Then the same gray comes out"
            " differently in every picture: use those of ImageNet.",
            lambda pixels: (_front(pixels) - _front(pixels).mean()) / _front(pixels).std(),
            lambda pixels: (
                (_front(pixels) - _front(pixels).mean((1, 2), keepdim=True))
                / _front(pixels).std((1, 2), correction=0, keepdim=True)
            ),
        ),
        *ideas(
            "brought to values from -1 to 1. Other networks want that; one trained on ImageNet has"
            " a mean and a standard deviation for each colour.",
            lambda pixels: 2 * _front(pixels) - 1,
        ),
        *ideas(
            "the mean is lined up with the width, the last axis: that runs when the picture is 3"
            " pixels wide, and is wrong. It stands for channels and needs two more axes.",
            lambda pixels: (_front(pixels) - _MEAN.flatten()) / _STD.flatten(),
        ),
        *ideas(
            "the axes are in another order than PyTorch's (3, H, W): the channels are still last,"
            " or height and width are exchanged. Move the last axis to the front, and only that.",
            lambda pixels: (_last(pixels) - _MEAN.flatten()) / _STD.flatten(),
            _colours_still_last,
            lambda pixels: _norm(_last(pixels).permute(2, 1, 0)),
            _colours_on_their_side,
        ),
        *ideas(
            "the numbers are only counted off anew (reshape or view): the shape is right, the"
            " picture is torn to pieces. Move the axis, as permute does.",
            lambda pixels: _norm(_last(pixels).reshape(3, *pixels.shape[:2])),
            _colours_torn,
        ),
        *ideas(
            "a gray picture stops with an error: it has two axes, (H, W). Give it a third one"
            " before you move axes or look for channels.",
            _gray_stops,
        ),
        *ideas(
            "a side of three pixels is taken for the axis of the colours. How many axes there are"
            " tells gray from colour; a length of 3 tells nothing.",
            _colours_by_last_length,
            _ready_by_first_length,
        ),
        *ideas(
            "a gray picture is normalised with one mean for all channels. It has three channels"
            " first, and then each gets its own mean, as for colours.",
            _one_mean_for_gray,
        ),
    ),
)


# 03.2 -----------------------------------------------------------------------------------------


def convolve(picture, kernel, stride=1, padding=0):
    """Weight by weight: each one times all the pixels that it ever meets."""
    (h, w), k = picture.shape, len(kernel)
    x = picture.new_zeros(h + 2 * padding, w + 2 * padding)
    x[padding : padding + h, padding : padding + w] = picture
    bottom, right = len(x) - k + 1, x.shape[1] - k + 1
    return sum(
        kernel[u, v] * x[u : u + bottom : stride, v : v + right : stride]
        for u in range(k)
        for v in range(k)
    )


def _convolve_cases(seed=31):
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0]]), 2, 0
    yield torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[1.0, 10.0], [100.0, 1000.0]]), 1, 0
    yield torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[2.0]]), 1, 1
    for h, w, k, stride, padding in (
        (3, 4, 2, 1, 0),
        (3, 2, 2, 1, 1),
        (5, 4, 3, 2, 0),
        (4, 4, 3, 1, 1),
        (6, 7, 3, 3, 1),
        (4, 6, 3, 2, 2),
        (7, 5, 2, 3, 0),
        (8, 8, 3, 3, 0),
    ):
        picture, kernel = (
            torch.randint(-9, 10, shape, generator=draw).float() for shape in ((h, w), (k, k))
        )
        yield (
            picture,
            kernel + torch.rand(k, k, generator=draw).mul(10).round() / 10,
            stride,
            padding,
        )


def _conv(x, kernel, stride, padding):
    """As PyTorch has it: (1, 1, H', W')."""
    return F.conv2d(x[None, None], kernel[None, None], stride=stride, padding=padding)


def _windows(picture, kernel, stride, padding):
    """(H', W', k, k)"""
    x, k = F.pad(picture, (padding,) * 4), len(kernel)
    return x.unfold(0, k, stride).unfold(1, k, stride)


def _sides(picture, kernel, padding):
    """How far a window may move: height and width, with the frame, without the kernel."""
    return [side + 2 * padding - len(kernel) for side in picture.shape]


def _by_one(picture, kernel, stride, padding):
    h, w = (side // stride + 1 for side in _sides(picture, kernel, padding))
    return convolve(picture, kernel, 1, padding)[:h, :w]


def _stride_stops(picture, kernel, stride, padding):
    if stride > 1:
        raise IndexError
    return convolve(picture, kernel, stride, padding)


def _no_plus_one(picture, kernel, stride, padding):
    h, w = (side // stride for side in _sides(picture, kernel, padding))
    return convolve(picture, kernel, stride, padding)[:h, :w]


def _range_too_short(picture, kernel, stride, padding):
    h, w = (len(range(0, side, stride)) for side in _sides(picture, kernel, padding))
    return convolve(picture, kernel, stride, padding)[:h, :w]


def _over_the_edge(picture, kernel, stride, padding):
    x, k = F.pad(picture, (padding,) * 4), len(kernel)
    rows, columns = (range(0, side, stride) for side in x.shape)
    values = [(x[i : i + k, j : j + k] * kernel).sum() for i in rows for j in columns]
    return torch.stack(values).view(len(rows), len(columns))


def _counted_without_frame(picture, kernel, stride, padding):
    h, w = (side // stride + 1 for side in _sides(picture, kernel, 0))
    return convolve(picture, kernel, stride, padding)[:h, :w]


CONVOLVE = Exercise(
    key="03.2",
    reference=convolve,
    cases=_convolve_cases,
    returns=(
        "one row per place of the window from top to bottom, one column per place from left to"
        " right"
    ),
    misconceptions=(
        *ideas(
            "the kernel is turned round, as in mathematics. In deep learning, and in (03.2), it"
            " stays as it is.",
            lambda x, kernel, s, P: convolve(x, kernel.flip(0, 1), s, P),
        ),
        *ideas(
            "`stride` or `padding` is not used: the window moves by `stride` pixels, through the"
            " picture with a frame of `padding` zeros around it.",
            lambda x, kernel, s, P: convolve(x, kernel, 1, P),
            lambda x, kernel, s, P: convolve(x, kernel, s, 0),
            lambda x, kernel, s, P: convolve(x, kernel, 1, 0),
        ),
        *ideas(
            "there are as many places as there should be, but the window moves by one pixel. At"
            " which row of the picture does place i begin?",
            _by_one,
        ),
        *ideas(
            "the stride is used in one direction only: the window moves by it from left to right"
            " and from top to bottom.",
            lambda x, kernel, s, P: _conv(x, kernel, (s, 1), P)[0, 0],
            lambda x, kernel, s, P: _conv(x, kernel, (1, s), P)[0, 0],
        ),
        *ideas(
            "the frame is not `padding` zeros wide all round. F.pad takes left, right, top, bottom,"
            " and F.pad(x, (P, P)) the last axis alone.",
            lambda x, kernel, s, P: convolve(F.pad(x, (P, P)), kernel, s),
            lambda x, kernel, s, P: convolve(F.pad(x, (P, 0, P, 0)), kernel, s),
            lambda x, kernel, s, P: convolve(x, kernel, s, 2 * P),
        ),
        *ideas(
            "with a stride above 1 there is an error. Rows 0, s, 2 s of the picture belong to rows"
            " 0, 1, 2 of the result: are they told apart?",
            _stride_stops,
        ),
        *ideas(
            "a place at the end is missing: the window's last row may be the picture's last row."
            " Try it with a kernel as large as the picture.",
            _no_plus_one,
            _range_too_short,
        ),
        *ideas(
            "there is a place too many: the window stands over the edge there. It has to fit in as"
            " a whole, and what is left over is left out.",
            _over_the_edge,
        ),
        *ideas(
            "the places are counted in the picture without its frame, so the last are missing."
            " Count in the padded one.",
            _counted_without_frame,
        ),
        *ideas(
            "the axes for batch and channel are still there: the result is (H', W').",
            lambda x, kernel, s, P: _conv(x, kernel, s, P),
            lambda x, kernel, s, P: _conv(x, kernel, s, P)[0],
        ),
        *ideas(
            "the products are averaged. (03.2) adds them up, and divides by nothing.",
            lambda x, kernel, s, P: convolve(x, kernel, s, P) / kernel.numel(),
        ),
        *ideas(
            "window and kernel are multiplied as matrices. (03.2) multiplies each pixel with the"
            " weight that lies on it: * and not @.",
            lambda x, kernel, s, P: (_windows(x, kernel, s, P) @ kernel).sum((2, 3)),
            lambda x, kernel, s, P: _windows(x, kernel, s, P) @ kernel,
        ),
    ),
)


# 03.3 -----------------------------------------------------------------------------------------


def side_after(n, layers):
    """Counts the places of the window one by one: where its upper edge may stand."""
    for kernel, stride, padding in layers:
        n = len(range(0, n + 2 * padding - kernel + 1, stride))
        if n == 0:
            raise ValueError(f"a window of {kernel} fits nowhere")
    return n


# a case in which ValueError is right is not possible: `verdict` takes every error for a fault
def _side_cases(seed=33):
    yield 5, [(2, 2, 0)]
    yield 4, [(3, 1, 1)]
    yield 2, [(3, 1, 1)]  # fits with its frame only
    yield 2, [(5, 1, 2)]  # and this with both sides of it
    yield 3, [(3, 1, 0)]  # fits once
    yield 28, [(3, 1, 1), (2, 2, 0)]
    yield 11, [(2, 2, 0), (3, 1, 0)]
    yield 13, [(2, 3, 1), (4, 2, 3)]
    yield 28, [(5, 1, 0), (2, 2, 0), (5, 1, 0), (2, 2, 0)]
    yield 30, [(3, 2, 0), (3, 2, 0), (2, 3, 1)]
    yield 224, [(7, 2, 3), (3, 2, 1)]
    yield 224, [(11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0)]
    draw = random.Random(seed)
    for n in (41, 64):
        yield n, [(draw.randint(2, 5), draw.randint(1, 3), draw.randint(0, 2)) for _ in range(2)]


def _through(layer, n, layers):
    """`layer(n, kernel, stride, padding)` for each of them, one after the other."""
    for k, s, p in layers:
        n = layer(n, k, s, p)
    return n


SIDE_AFTER = Exercise(
    key="03.3",
    reference=side_after,
    cases=_side_cases,
    returns="how many pixels a side has at the end",
    misconceptions=(
        *ideas(
            "the floor is missing: there are no parts of pixels. What does not fill a whole step is"
            " left out.",
            lambda n, layers: _through(lambda n, k, s, p: (n + 2 * p - k) / s + 1, n, layers),
        ),
        *ideas(
            "rounded up, or to the nearest whole number. What does not fill a whole step is left"
            " out: round down.",
            lambda n, layers: _through(
                lambda n, k, s, p: math.ceil((n + 2 * p - k) / s) + 1, n, layers
            ),
            lambda n, layers: _through(
                lambda n, k, s, p: round((n + 2 * p - k) / s) + 1, n, layers
            ),
            lambda n, layers: _through(
                lambda n, k, s, p: round((n + 2 * p - k) / s + 1), n, layers
            ),
        ),
        *ideas(
            "the + 1 is missing. That counts the steps; there is one place more than steps. (And"
            " range() stops before its second number.)",
            lambda n, layers: _through(lambda n, k, s, p: (n + 2 * p - k) // s, n, layers),
            lambda n, layers: _through(
                lambda n, k, s, p: len(range(0, n + 2 * p - k, s)), n, layers
            ),
        ),
        *ideas(
            "the + 1 is divided by the stride, too. It comes after the floor: one place before the"
            " first step.",
            lambda n, layers: _through(lambda n, k, s, p: (n + 2 * p - k + 1) // s, n, layers),
        ),
        *ideas(
            "the padding counts once. The frame has two sides.",
            lambda n, layers: _through(lambda n, k, s, p: (n + p - k) // s + 1, n, layers),
        ),
        *ideas(
            "the padding is not used: the window moves in the picture with its frame.",
            lambda n, layers: _through(lambda n, k, s, p: (n - k) // s + 1, n, layers),
        ),
        *ideas(
            "the kernel is not used: a window needs room, and so stops before the end.",
            lambda n, layers: _through(lambda n, k, s, p: (n + 2 * p) // s + 1, n, layers),
            lambda n, layers: _through(lambda n, k, s, p: n // s, n, layers),
        ),
        *ideas(
            "the stride is not used: the window is taken to move by one pixel.",
            lambda n, layers: _through(lambda n, k, s, p: n + 2 * p - k + 1, n, layers),
        ),
        *ideas(
            "the stride divides the kernel alone: division comes before plus and minus. Where are"
            " brackets needed?",
            lambda n, layers: _through(lambda n, k, s, p: n + 2 * p - k // s + 1, n, layers),
            lambda n, layers: _through(lambda n, k, s, p: n + 2 * p - k / s + 1, n, layers),
        ),
        *ideas(
            "only the last layer counts: each begins with the first side again. A layer gets what"
            " the one before has left.",
            lambda n, layers: side_after(n, layers[-1:]),
        ),
        *ideas(
            "only the first layer counts. Is there a `return` inside the loop?",
            lambda n, layers: side_after(n, layers[:1]),
        ),
        *ideas(
            "the three numbers of a layer are read in another order: (kernel, stride, padding).",
            lambda n, layers: _through(lambda n, k, p, s: (n + 2 * p - k) // s + 1, n, layers),
            lambda n, layers: _through(lambda n, s, k, p: (n + 2 * p - k) // s + 1, n, layers),
        ),
    ),
)

EXERCISES = [NETWORK_INPUT, CONVOLVE, SIDE_AFTER]
