"""Notebook 03: bytes become a network's input, a convolution by hand, the side of what comes
out.
"""

import functools
import math
import random
from itertools import permutations

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


def _same_precision(got, expected):
    """`difference`, and broken numbers have to be of the type that is asked for."""
    text = difference(got, expected)
    floats = all(isinstance(one, Array) and one.kind == "float" for one in (got, expected))
    if text is None and floats and got.dtype != expected.dtype:
        return f"returned {got.dtype}, expected {expected.dtype}"
    return text


_MEAN, _STD = torch.tensor(IMAGENET_MEAN)[:, None, None], torch.tensor(IMAGENET_STD)[:, None, None]


def _front(x):
    return x.expand(3, *x.shape) if x.dim() == 2 else x.movedim(2, 0)


def _norm(x, mean=_MEAN, std=_STD):
    return (x - mean) / std


def _bytes(message, *wrongs):
    """Misconceptions in float32 and in float64; `wrongs` take the bytes as floats, (H, W) or (H,
    W, 3).
    """
    return ideas(
        message,
        *(
            lambda pixels, of=of, dtype=dtype: of(pixels.to(dtype))
            for of in wrongs
            for dtype in (torch.float32, torch.float64)
        ),
    )


def _unit(message, *wrongs):
    """Misconceptions about (03.1); `wrongs` take x from 0 to 1, (3, H, W)."""
    return _bytes(message, *(lambda x, of=of: of(_front(x) / 255) for of in wrongs))


def _gray(message, *wrongs):
    """Misconceptions about gray pictures, with colours right; `wrongs` take x from 0 to 1, (H,
    W).
    """
    return _bytes(
        message,
        *(
            lambda x, of=of: of(x / 255) if x.dim() == 2 else _norm(_front(x) / 255)
            for of in wrongs
        ),
    )


def _moved(message, *moves, finish=lambda x: _norm(x / 255)):
    """Misconceptions about the axes of (H, W, 3), for colours alone and for gray pictures that
    got such an axis.
    """

    def wrong(x, move, both):
        if x.dim() == 2 and not both:
            return _norm(_front(x) / 255)
        return finish(move(x if x.dim() == 3 else x[..., None].expand(-1, -1, 3)))

    return _bytes(
        message,
        *(
            functools.partial(wrong, move=move, both=both)
            for move in moves
            for both in (False, True)
        ),
    )


def _own(x, axes, fewer):
    rest = x - x.mean(axes, keepdim=True)
    places = math.prod(x.shape[axis] for axis in axes)
    return rest / (rest.square().sum(axes, keepdim=True) / (places - fewer)).sqrt()


def _last(x):
    return _norm(x / 255, _MEAN.flatten(), _STD.flatten())


def _middle(x):
    return _norm(x / 255, _MEAN[:, 0], _STD[:, 0])


def _stops(*_, error=RuntimeError):
    raise error


def _only_red(x):
    return torch.stack([x, 0 * x, 0 * x])


_STILL_LAST = "the channels are still last. PyTorch wants them in front: (3, H, W)."
_GUESSED = (
    "a side of three pixels is taken for the axis of the colours. How many axes there are tells"
    " gray from colour; a length of 3 tells nothing."
)

NETWORK_INPUT = Exercise(
    key="03.1",
    reference=network_input,
    cases=_pixel_cases,
    compare=_same_precision,
    returns="three channels, then height and width, as float32",
    misconceptions=(
        *_bytes(
            "the bytes are not divided by 255. ImageNet's mean and standard deviation belong to"
            " values from 0 to 1: bring the bytes there first.",
            lambda x: _norm(_front(x)),
        ),
        *_bytes(
            "mean and standard deviation are not in the same range: one is for bytes, the other for"
            " values from 0 to 1.",
            lambda x: _norm(_front(x), 255 * _MEAN),
            lambda x: _norm(_front(x) / 255, std=255 * _STD),
        ),
        *_bytes(
            "divided by 256. The largest byte is 255, and that one has to become 1.",
            lambda x: _norm(_front(x) / 256),
        ),
        *_bytes(
            "normalised before dividing by 255. The mean belongs to values from 0 to 1, so the"
            " range comes first.",
            lambda x: _norm(_front(x)) / 255,
        ),
        *_bytes(
            "divided by 255 as whole numbers: everything below 255 became 0. Use / and not //.",
            lambda x: _norm(_front(x) // 255),
        ),
        *_bytes(
            "divided by 255 twice. After the first time the values are from 0 to 1.",
            lambda x: _norm(_front(x) / 255 / 255),
        ),
        *_unit(
            "normalised twice. Nothing fails, but a network would see colours far too strong:"
            " (03.1) comes once.",
            lambda x: _norm(_norm(x)),
        ),
        *_unit("from 0 to 1, but not normalised: (03.1) is missing.", lambda x: x),
        *ideas(
            "these are the bytes themselves. They have to be brought to values from 0 to 1 and then"
            " normalised.",
            lambda pixels: _front(pixels.float()),
        ),
        *_unit(
            "the mean is not taken off: only the standard deviation is used.", lambda x: x / _STD
        ),
        *_unit(
            "the standard deviation is not used: only the mean is taken off.", lambda x: x - _MEAN
        ),
        *_unit(
            "multiplied by the standard deviation. Look again at (03.1): it stands under the line.",
            lambda x: (x - _MEAN) * _STD,
        ),
        *_unit(
            "divided by the variance, the square of the standard deviation. 0.229, 0.224 and 0.225"
            " are standard deviations already.",
            lambda x: _norm(x, std=_STD**2),
            lambda x: _norm(x, std=_STD.sqrt()),
        ),
        *_unit("the mean is added. Look at the sign in (03.1).", lambda x: _norm(x, -_MEAN)),
        *_unit("mean and standard deviation are swapped.", lambda x: _norm(x, _STD, _MEAN)),
        *_unit(
            "this is the way back, from normalised values to a picture. Here the mean has to come"
            " off.",
            lambda x: x * _STD + _MEAN,
        ),
        *_unit(
            "the mean is taken off after the division. (03.1) takes it off first.",
            lambda x: x / _STD - _MEAN,
        ),
        *_unit(
            "the picture's own mean and standard deviation are used. Then the same gray comes out"
            " differently in every picture: use those of ImageNet.",
            *(
                lambda x, axes=axes, fewer=fewer: _own(x, axes, fewer)
                for axes in ((1, 2), (0, 1, 2))
                for fewer in (0, 1)
            ),
        ),
        *_unit(
            "brought to values from -1 to 1. Other networks want that; one trained on ImageNet has"
            " a mean and a standard deviation for each colour.",
            lambda x: 2 * x - 1,
        ),
        *_unit(
            "one mean and one standard deviation are used for all colours. Each channel has its"
            " own.",
            lambda x: _norm(x, _MEAN.mean(), _STD.mean()),
            lambda x: _norm(x, _MEAN[0], _STD[0]),
        ),
        *_unit(
            "the mean is lined up with the width, the last axis: that runs when the picture is 3"
            " pixels wide, and is wrong. It stands for channels and needs two more axes.",
            lambda x: _norm(x, _MEAN.flatten(), _STD.flatten()),
        ),
        *_unit(
            "the mean is lined up with the height: that runs when the picture is 3 pixels high, and"
            " is wrong. It stands for channels and needs two more axes.",
            lambda x: _norm(x, _MEAN[:, 0], _STD[:, 0]),
        ),
        *_moved(_STILL_LAST, lambda x: x, finish=_last),
        *_moved(_STILL_LAST, lambda x: x),
        *_moved(
            "the channels are still last, and height and width are exchanged. PyTorch wants (3,"
            " H, W).",
            lambda x: x.transpose(0, 1),
            finish=_last,
        ),
        *_gray(
            "the three channels of a gray picture are last. They belong in front, as for colours.",
            lambda x: _norm(x[..., None], _MEAN.flatten(), _STD.flatten()),
        ),
        *_moved(
            "the numbers are only counted off anew (reshape or view): the shape is right, the"
            " picture is torn to pieces. Move the axis, as permute does.",
            lambda x: x.reshape(3, *x.shape[:2]),
        ),
        *_moved(
            "height and width are exchanged: the picture lies on its side. Only the axis of the"
            " channels has to move.",
            lambda x: x.permute(2, 1, 0),
        ),
        *_moved(
            "the channels are in the middle. They belong in front, before height and width.",
            lambda x: x.transpose(1, 2),
            lambda x: x.permute(1, 2, 0),
            finish=_middle,
        ),
        *_unit(
            "the colours stand in the order blue, green, red. `pixels` has red first, and so do the"
            " mean and the result.",
            lambda x: _norm(x.flip(0)),
            lambda x: _norm(x, _MEAN.flip(0), _STD.flip(0)),
            lambda x: _norm(x).flip(0),
        ),
        *_gray(
            "a gray picture keeps one channel. The network wants three: repeat it before you"
            " normalise.",
            lambda x: _norm(x[None], _MEAN[0], _STD[0]),
            lambda x: _norm(x[None], _MEAN.mean(), _STD.mean()),
            lambda x: x[None],
        ),
        *_gray(
            "a gray picture is normalised with one mean for all channels. It has three channels"
            " first, and then each gets its own mean, as for colours.",
            lambda x: _norm(_front(x), _MEAN.mean(), _STD.mean()),
            lambda x: _norm(_front(x), _MEAN[0], _STD[0]),
        ),
        *_gray("a gray picture is not normalised. (03.1) is for its three channels, too.", _front),
        *_gray(
            "a gray picture stands in one channel, with zeros in the others, so it would look"
            " coloured. All three have to be equal before normalising.",
            lambda x: _norm(_only_red(x)),
            lambda x: _norm(_front(x)) * (_MEAN == _MEAN[0]),
        ),
        *_gray(
            "a gray picture has its channels in front already, and then the axes are moved once"
            " more. Give it the channels where colours have them, or move the axes of colours"
            " only.",
            lambda x: _norm(_front(x).permute(2, 0, 1)),
        ),
        *_gray(
            "a gray picture stops with an error: it has two axes, (H, W). Give it a third one"
            " before you move axes or look for channels.",
            _stops,
        ),
        *_bytes(
            _GUESSED,
            lambda x: _stops() if x.dim() == 2 and x.shape[1] == 3 else _norm(_front(x) / 255),
            lambda x: _norm((x if x.dim() == 3 and len(x) == 3 else _front(x)) / 255),
        ),
        *_bytes(
            "there is an axis for a batch in front. One picture has three axes: (3, H, W).",
            lambda x: _norm(_front(x) / 255)[None],
        ),
        *ideas(
            "the numbers are right, but float64. Networks have float32 weights and refuse it; NumPy"
            " makes float64 unless told otherwise.",
            lambda pixels: _norm(_front(pixels.double()) / 255),
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


def _places(side, k, stride):
    return range(0, side - k + 1, stride)


def _zeros(picture, padding):
    return F.pad(picture, (padding,) * 4)


def _sum(window, kernel):
    return (window * kernel).sum()


def _slide(picture, kernel, stride, padding, frame=_zeros, value=_sum, places=_places, beyond=0):
    """Window by window; `stride` may be a pair, for rows and columns, and `beyond` adds zeros
    after the places are counted.
    """
    x, k, strides = (
        frame(picture, padding),
        len(kernel),
        stride if isinstance(stride, tuple) else (stride, stride),
    )
    rows, columns = (places(side, k, s) for side, s in zip(x.shape, strides))
    x = F.pad(x, (0, beyond, 0, beyond))
    return torch.stack(
        [torch.stack([value(x[i : i + k, j : j + k], kernel) for j in columns]) for i in rows]
    )


def _framed(message, *frames):
    return ideas(message, *(functools.partial(_slide, frame=frame) for frame in frames))


def _valued(message, *values):
    return ideas(message, *(functools.partial(_slide, value=value) for value in values))


def _after(message, *changes):
    """Misconceptions that change the right result; `changes` take it and the result with stride
    1, and the stride.
    """

    def wrong(picture, kernel, stride, padding, change):
        return change(
            convolve(picture, kernel, stride, padding),
            convolve(picture, kernel, 1, padding),
            stride,
        )

    return ideas(message, *(functools.partial(wrong, change=change) for change in changes))


def _gaps(y, full, s):
    result = torch.zeros_like(full)
    result[::s, ::s] = y
    return result


def _repeated(mode):
    return lambda picture, padding: F.pad(picture[None], (padding,) * 4, mode=mode)[0]


def _as_without_frame(picture, kernel, stride, padding):
    rows, columns = (len(_places(side, len(kernel), stride)) for side in picture.shape)
    return convolve(picture, kernel, stride, padding)[:rows, :columns]


def _without_its_frame(picture, kernel, stride, padding):
    return _slide(
        picture, kernel, stride, 0, places=lambda side, k, s: _places(side + 2 * padding, k, s)
    )


def _one_fewer(picture, kernel, stride, padding, empty):
    k, x = len(kernel), _zeros(picture, padding)
    rows, columns = (
        (side - k) // stride if empty == "size" else len(range(0, side - k, stride))
        for side in x.shape
    )
    if not rows * columns and empty == "list":
        return torch.tensor([[]] * rows)
    return convolve(picture, kernel, stride, padding)[:rows, :columns]


def _square(picture, kernel, stride, padding, axis):
    return _slide(
        picture,
        kernel,
        stride,
        padding,
        places=lambda side, k, s: _places(picture.shape[axis] + 2 * padding, k, s),
    )


_TOO_MANY = (
    "there is a place too many: the window stands over the edge there. It has to fit in as a whole,"
    " and what is left over is left out."
)
_MANY = (
    lambda side, k, s: range(0, side, s),
    lambda side, k, s: range(0, side - k + 2, s),
    lambda side, k, s: range(0, side - k + s, s),
)

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
            lambda x, K, s, P: convolve(x, K.flip(0, 1), s, P),
        ),
        *ideas(
            "the kernel is mirrored. Its first row lies on the window's first row, its first column"
            " on the first column.",
            *(lambda x, K, s, P, axis=axis: convolve(x, K.flip(axis), s, P) for axis in (0, 1)),
        ),
        *ideas(
            "the kernel is transposed: its rows lie on the window's columns. u counts the rows of"
            " both, v the columns.",
            lambda x, K, s, P: convolve(x, K.T, s, P),
        ),
        *ideas(
            "the stride is not used: the window moves by one pixel. It has to move by `stride`.",
            lambda x, K, s, P: convolve(x, K, 1, P),
        ),
        *ideas(
            "the padding is not used: the window never leaves the picture. Put the frame of zeros"
            " around it first.",
            lambda x, K, s, P: convolve(x, K, s, 0),
        ),
        *ideas("neither stride nor padding is used.", lambda x, K, s, P: convolve(x, K)),
        *ideas(
            "the stride is used for the rows only: from left to right the window moves by it, too.",
            lambda x, K, s, P: _slide(x, K, (s, 1), P),
        ),
        *ideas(
            "the stride is used for the columns only: from top to bottom the window moves by it,"
            " too.",
            lambda x, K, s, P: _slide(x, K, (1, s), P),
        ),
        *_after(
            "there are as many places as there should be, but the window moves by one pixel. At"
            " which row of the picture does place i begin?",
            lambda y, full, s: full[: len(y), : y.shape[1]],
        ),
        *_after(
            "the first place is left out: the window begins in the upper left corner, and moves by"
            " the stride from there.",
            lambda y, full, s: full[s - 1 :: s, s - 1 :: s],
            lambda y, full, s: full[s // 2 :: s, s // 2 :: s],
        ),
        *_after(
            "the numbers stand as far apart as in the picture, with zeros between them. With a"
            " stride the result is smaller: one entry for each place of the window.",
            _gaps,
        ),
        *ideas(
            "with a stride above 1 there is an error. Rows 0, s, 2 s of the picture belong to rows"
            " 0, 1, 2 of the result: are they told apart?",
            lambda x, K, s, P: _stops() if s > 1 else convolve(x, K, s, P),
            lambda x, K, s, P: _stops(error=IndexError) if s > 1 else convolve(x, K, s, P),
        ),
        *_framed(
            "the frame is only above and on the left. It goes all round.",
            lambda x, P: F.pad(x, (P, 0, P, 0)),
        ),
        *_framed(
            "the frame is only below and on the right. It goes all round.",
            lambda x, P: F.pad(x, (0, P, 0, P)),
        ),
        *_framed(
            "rows of zeros are added above and below, but no columns. The frame goes all round.",
            lambda x, P: F.pad(x, (0, 0, P, P)),
        ),
        *_framed(
            "columns of zeros are added left and right, but no rows: F.pad(x, (P, P)) takes the"
            " last axis alone. The frame goes all round.",
            lambda x, P: F.pad(x, (P, P)),
        ),
        *_framed(
            "the frame is twice as wide: `padding` is its width on each side.",
            lambda x, P: _zeros(x, 2 * P),
        ),
        *_framed(
            "the frame is filled with ones. Outside the picture there is nothing: zeros.",
            lambda x, P: F.pad(x, (P,) * 4, value=1),
        ),
        *_framed(
            "the frame repeats the picture. Padding here means zeros.",
            *map(_repeated, ("replicate", "reflect", "circular")),
        ),
        *ideas(
            "the frame is put around the result. It belongs around the picture, before the window"
            " moves.",
            lambda x, K, s, P: _zeros(convolve(x, K, s), P),
        ),
        *ideas(
            "the places are counted in the picture without its frame, so the last are missing."
            " Count in the padded one.",
            _as_without_frame,
        ),
        *ideas(
            "the places are counted with the frame, but the windows are cut out of the picture"
            " without it. Cut them out of the padded one.",
            _without_its_frame,
            lambda x, K, s, P: _stops(error=IndexError) if P else convolve(x, K, s, P),
        ),
        *ideas(
            "the frame is k // 2 wide whatever `padding` says: that keeps the picture's size, which"
            " nobody asked for.",
            lambda x, K, s, P: convolve(x, K, s, len(K) // 2),
        ),
        *ideas(
            "a place at the end is missing: the window's last row may be the picture's last row."
            " Try it with a kernel as large as the picture.",
            *(functools.partial(_one_fewer, empty=way) for way in ("crop", "size", "list")),
            lambda x, K, s, P: _slide(x, K, s, P, places=lambda side, k, s: range(0, side - k, s)),
        ),
        *ideas(
            _TOO_MANY,
            *(
                functools.partial(_slide, places=places, beyond=zeros)
                for places in _MANY
                for zeros in (0, 3)
            ),
        ),
        *ideas(
            "height and width are taken to be equal: the height counts the columns, too. A picture"
            " need not be square.",
            functools.partial(_square, axis=0),
        ),
        *ideas(
            "height and width are taken to be equal: the width counts the rows, too. A picture need"
            " not be square.",
            functools.partial(_square, axis=1),
        ),
        *_after(
            "rows and columns of the result are exchanged. The place's row comes first, as in the"
            " picture.",
            lambda y, full, s: y.T,
        ),
        *_after(
            "the axes for batch and channel are still there: the result is (H', W').",
            lambda y, full, s: y[None, None],
            lambda y, full, s: y[None],
        ),
        *_valued(
            "the products are averaged. (03.2) adds them up, and divides by nothing.",
            lambda window, K: (window * K).mean(),
        ),
        *_valued(
            "the largest of the products is taken. (03.2) adds them up.",
            lambda window, K: (window * K).max(),
        ),
        *_valued(
            "window and kernel are multiplied as matrices. (03.2) multiplies each pixel with the"
            " weight that lies on it: * and not @.",
            lambda window, K: (window @ K).sum(),
            lambda window, K: (K @ window).sum(),
            lambda window, K: window @ K,
        ),
        *_valued(
            "the products are not added up: each place of the window gives one number.",
            lambda window, K: window * K,
        ),
        *_valued(
            "the products are added up along one axis alone: each place of the window gives one"
            " number.",
            lambda window, K: (window * K).sum(0),
            lambda window, K: (window * K).sum(1),
        ),
        *_valued(
            "window and kernel are added up before they are multiplied. Each pixel has its own"
            " weight: multiply first.",
            lambda window, K: window.sum() * K.sum(),
        ),
        *_valued(
            "the kernel is not used: this only gathers what lies under the window.",
            lambda window, K: window.sum(),
            lambda window, K: window.mean(),
            lambda window, K: window.max(),
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


def _fits(n, k, p):
    return n + 2 * p >= k


def _right(n, k, s, p):
    return (n + 2 * p - k) // s + 1


def _through(layer, fits=None):
    """A function of n and layers that applies `layer` to each of them, with ValueError unless
    `fits`.
    """

    def step(n, one):
        k, s, p = one
        if fits and not fits(n, k, p):
            raise ValueError
        return layer(n, k, s, p)

    return lambda n, layers: functools.reduce(step, layers, n)


def _layer(message, *layers, fits=(None,), finish=lambda n: n):
    """Misconceptions about one layer; `layers` take n, kernel, stride and padding, and `fits`
    says where there is no error.
    """

    def wrong(layer, fit):
        after = _through(layer, fit)
        return lambda n, layers: finish(after(n, layers))

    return ideas(message, *(wrong(layer, fit) for layer in layers for fit in fits))


def _stack(message, *changes, fits=(None,)):
    """Misconceptions about the stack; `changes` take n, the layers, and a function that gives
    the side after layers.
    """

    def wrong(change, fit):
        after = _through(_right, fit)
        return lambda n, layers: change(n, layers, after)

    return ideas(message, *(wrong(change, fit) for change in changes for fit in fits))


def _read_as(*order):
    return lambda n, layers, after: after(n, [[one[i] for i in order] for one in layers])


_ORDER = "the three numbers of a layer are read in another order: (kernel, stride, padding)."
_NEAREST = (
    "rounded to the nearest whole number. What does not fill a whole step is left out: round down."
)

SIDE_AFTER = Exercise(
    key="03.3",
    reference=side_after,
    cases=_side_cases,
    returns="how many pixels a side has at the end",
    misconceptions=(
        *_layer(
            "the floor is missing: there are no parts of pixels. What does not fill a whole step is"
            " left out.",
            lambda n, k, s, p: (n + 2 * p - k) / s + 1,
        ),
        *_layer(
            "rounded up. What does not fill a whole step is left out: round down.",
            lambda n, k, s, p: -(-(n + 2 * p - k) // s) + 1,
        ),
        *_layer(
            _NEAREST,
            lambda n, k, s, p: round((n + 2 * p - k) / s) + 1,
            lambda n, k, s, p: round((n + 2 * p - k) / s + 1),
        ),
        *_layer(_NEAREST, lambda n, k, s, p: (n + 2 * p - k) / s + 1, finish=round),
        *_layer(
            "the + 1 is missing. That counts the steps; there is one place more than steps.",
            lambda n, k, s, p: (n + 2 * p - k) // s,
        ),
        *_layer(
            "the last place is missing: the window may end where the picture ends. range() stops"
            " before its second number.",
            lambda n, k, s, p: -(-(n + 2 * p - k) // s),
        ),
        *_layer(
            "the + 1 is divided by the stride, too. It comes after the floor: one place before the"
            " first step.",
            lambda n, k, s, p: (n + 2 * p - k + 1) // s,
        ),
        *_layer(
            "the padding counts once. The frame has two sides.",
            lambda n, k, s, p: (n + p - k) // s + 1,
            fits=(None, lambda n, k, p: n + p >= k),
        ),
        *_layer(
            "the padding is not used: the window moves in the picture with its frame.",
            lambda n, k, s, p: (n - k) // s + 1,
            fits=(None, lambda n, k, p: n >= k),
        ),
        *_layer(
            "the padding is taken off. The frame makes the picture larger.",
            lambda n, k, s, p: (n - 2 * p - k) // s + 1,
        ),
        *_layer(
            "the kernel is not used: a window needs room, and so stops before the end.",
            lambda n, k, s, p: (n + 2 * p) // s + 1,
            lambda n, k, s, p: (n + 2 * p) // s,
        ),
        *_layer(
            "the kernel is taken off without one of its pixels, and there is a + 1 at the end"
            " besides. (03.3) has it once.",
            lambda n, k, s, p: (n + 2 * p - k + 1) // s + 1,
        ),
        *_layer(
            "only the strides are used: each layer divides the side by its own. Kernel and padding"
            " count, too.",
            lambda n, k, s, p: n // s,
        ),
        *_layer(
            "this is the side divided by the stride, rounded up, which holds for one special"
            " padding. Use (03.3).",
            lambda n, k, s, p: -(-n // s),
        ),
        *_layer(
            "the stride is not used: the window is taken to move by one pixel.",
            lambda n, k, s, p: n + 2 * p - k + 1,
        ),
        *_layer(
            "the stride divides the kernel alone: division comes before plus and minus. Where are"
            " brackets needed?",
            lambda n, k, s, p: n + 2 * p - k // s + 1,
            lambda n, k, s, p: n + 2 * p - k / s + 1,
        ),
        *_layer(
            "the stride divides the side before the kernel is taken off. The window has to fit in"
            " before it moves.",
            lambda n, k, s, p: (n + 2 * p) // s - k + 1,
        ),
        *_layer(
            "multiplied by the stride. The longer the steps, the fewer places there are.",
            lambda n, k, s, p: (n + 2 * p - k) * s + 1,
        ),
        *_stack(
            "only the last layer counts: each begins with the first side again. A layer gets what"
            " the one before has left.",
            lambda n, layers, after: after(n, layers[-1:]),
        ),
        *_stack(
            "only the first layer counts. Is there a `return` inside the loop?",
            lambda n, layers, after: after(n, layers[:1]),
        ),
        *_stack(
            "the last layer is left out: its result counts, too.",
            lambda n, layers, after: after(n, layers[:-1]),
        ),
        *_stack(
            "the layers are taken from behind. The first in the list meets the picture first.",
            lambda n, layers, after: after(n, layers[::-1]),
        ),
        *_stack(
            "all layers are taken as one, their kernels, strides and paddings put together. Apply"
            " (03.3) once for each.",
            lambda n, layers, after: after(
                n,
                [
                    (
                        sum(k for k, _, _ in layers),
                        math.prod(s for _, s, _ in layers),
                        sum(p for _, _, p in layers),
                    )
                ],
            ),
        ),
        *_stack(
            _ORDER, *(_read_as(*order) for order in permutations(range(3)) if order != (0, 1, 2))
        ),
        *_stack(_ORDER, _read_as(0, 2, 1), _read_as(1, 0, 2), fits=(_fits,)),
        *_stack(
            "these are the pixels of the whole picture. The side is asked for.",
            lambda n, layers, after: after(n, layers) ** 2,
        ),
        *_layer(
            "there is an error where the window still fits: the frame counts, on both sides.",
            _right,
            fits=(lambda n, k, p: n >= k, lambda n, k, p: n + p >= k),
        ),
        *_layer(
            "there is an error where the window just fits: a window as large as what it gets has"
            " one place.",
            _right,
            fits=(lambda n, k, p: n + 2 * p > k,),
        ),
    ),
)

EXERCISES = [NETWORK_INPUT, CONVOLVE, SIDE_AFTER]
