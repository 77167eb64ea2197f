"""Notebook 30: the loss of flow matching, one guided step, and pictures as codebook tokens."""

import torch
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws


def _weights(draw, pixels, letters, inside=3):
    return (
        0.5 * draw(pixels, inside),
        draw(inside),
        0.5 * draw(letters, inside),
        draw(inside, pixels),
    )


class _Network:
    """A small network with given numbers, curved in picture, time and word, that insists on one
    time a row: (B, D), (B,), (B, W) -> (B, D).
    """

    def __init__(self, weights):
        self.of_picture, self.of_time, self.of_word, self.across = weights

    def __call__(self, x, times, words):
        if not isinstance(times, torch.Tensor) or times.shape != x.shape[:1]:
            raise ValueError("the network wants one time for each row, shape (B,)")
        if words.shape != (len(x), len(self.of_word)):
            raise ValueError("the network wants one word for each row, shape (B, W)")
        dtype = self.of_picture.dtype
        inner = x.to(dtype) @ self.of_picture + torch.outer(times.to(dtype), self.of_time)
        inner = inner + words.to(dtype) @ self.of_word
        return torch.tanh(inner) @ self.across


def _use_loss(function, network, pictures, words, noise, times, dropped):
    """`network` stands in a case as its numbers."""
    return function(_Network(network), pictures, words, noise, times, dropped)


def _use_step(function, network, x, time, size, words, weight):
    return function(_Network(network), x, time, size, words, weight)


# 30.1 -----------------------------------------------------------------------------------------


def flow_loss(network, pictures, words, noise, times, dropped):
    """By torch's own functions."""
    x = torch.lerp(noise, pictures, times.unsqueeze(1))
    given = words.masked_fill(dropped.unsqueeze(1), 0)
    return F.mse_loss(network(x, times, given), pictures - noise)


def _loss(network, pictures, words, noise, times, dropped, **change):
    """The same in steps that a wrong idea can change one by one."""
    t = change.get("t", lambda t: t[:, None])(times)
    start, end = (pictures, noise) if change.get("back") else (noise, pictures)
    x = change.get("x", lambda x: x)((1 - t) * start + t * end)
    keep = change.get("keep", lambda d: ~d)(dropped)
    words = torch.where(keep[:, None], words, 0.0)
    target = change.get("target", lambda p, e: p - e)(pictures, noise)
    wrong = network(x, change.get("told", lambda t: t)(times), words) - target
    return change.get("mean", lambda w: w.square().mean())(wrong)


def _only_with_words(network, pictures, words, noise, times, dropped):
    keep = ~dropped
    return flow_loss(network, *(part[keep] for part in (pictures, words, noise, times, dropped)))


def _sees_the_picture(network, pictures, words, noise, times, dropped):
    words = torch.where(dropped[:, None], 0.0, words)
    return (network(pictures, times, words) - (pictures - noise)).square().mean()


def _loss_cases(seed=1):
    draw, luck = draws(seed), torch.Generator().manual_seed(seed)

    def case(rows, pixels, letters, dropped):
        times = (10 * torch.rand(rows, generator=luck, dtype=torch.float64)).floor() / 10 + 0.05
        return (
            _weights(draw, pixels, letters),
            draw(rows, pixels),
            draw(rows, letters),
            draw(rows, pixels),
            times,
            torch.tensor(dropped),
        )

    yield case(1, 2, 2, [False])
    yield case(2, 3, 2, [False, False])
    yield case(2, 2, 3, [True, False])
    yield case(3, 3, 2, [False, True, False])  # as many pictures as pixels
    yield case(4, 6, 5, [False, True, True, False])
    yield case(5, 4, 3, [True] * 5)


def _loss_batch():
    draw = torch.Generator().manual_seed(0)

    def numbers(*shape, learnt=False):
        return torch.randn(shape, generator=draw, requires_grad=learnt)

    weights = tuple(numbers(*shape, learnt=True) for shape in ((64, 32), (32,), (78, 32), (32, 64)))
    times, dropped = torch.rand(128, generator=draw), torch.rand(128, generator=draw) < 0.1
    return weights, numbers(128, 64), numbers(128, 78), numbers(128, 64), times, dropped


LOSS = Exercise(
    key="30.1",
    reference=flow_loss,
    cases=_loss_cases,
    use=_use_loss,
    batch=_loss_batch,
    verified=True,
    returns="a number, the mean over all pixels of all pictures",
    misconceptions=(
        *ideas(
            "the target is the picture plus the noise. The path goes from noise to picture, and"
            " its velocity is the difference: picture minus noise.",
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, target=lambda p, e: p + e),
        ),
        *ideas(
            "the target points from the picture to the noise. At t = 1 the picture stands, so the"
            " velocity is picture minus noise.",
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, target=lambda p, e: e - p),
        ),
        *ideas(
            "the target is a place (the picture, or the noise) or what is left of the way, not the"
            " velocity: picture minus noise, of the whole way.",
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, target=lambda p, e: p),
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, target=lambda p, e: e),
            lambda n, p, c, e, t, d: _loss(
                n, p, c, e, t, d, target=lambda p, e: (1 - t[:, None]) * (p - e)
            ),
        ),
        *ideas(
            "the path runs the other way: here t = 0 is the noise and t = 1 the picture.",
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, back=True),
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, back=True, target=lambda p, e: e - p),
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, told=lambda t: 1 - t),
        ),
        *ideas(
            "`times` is multiplied as it is. (B,) lines up with the *pixels*: an error, or, where"
            " there are as many pictures as pixels, a time for each pixel. Make it (B, 1).",
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, t=lambda t: t),
        ),
        *ideas(
            "one time serves the whole batch. Each row has its own.",
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, t=lambda t: t[:1, None]),
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, t=lambda t: t.mean()),
        ),
        *ideas(
            "the word is never dropped. Where `dropped` is True the network gets the null word,"
            " zeros.",
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, keep=lambda d: d | ~d),
        ),
        *ideas(
            "the mask is read the other way round: True means dropped.",
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, keep=lambda d: d),
        ),
        *ideas(
            "as soon as one row is dropped all of them are. Each row has its own entry.",
            lambda n, p, c, e, t, d: _loss(
                n, p, c, e, t, d, keep=lambda d: (~d).all().expand(len(d))
            ),
        ),
        *ideas(
            "rows without their word are left out of the loss. They count: from them the network"
            " learns what to draw for the null word.",
            _only_with_words,
        ),
        *ideas(
            "the network is shown the finished picture. It has to tell the velocity from the place"
            " x on the path.",
            _sees_the_picture,
        ),
        *ideas(
            "the squares are not averaged over all pixels of all pictures: a sum, or absolute"
            " values.",
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, mean=lambda w: w.square().sum()),
            lambda n, p, c, e, t, d: _loss(
                n, p, c, e, t, d, mean=lambda w: w.square().sum(1).mean()
            ),
            lambda n, p, c, e, t, d: _loss(
                n, p, c, e, t, d, mean=lambda w: w.square().mean(1).sum()
            ),
            lambda n, p, c, e, t, d: _loss(n, p, c, e, t, d, mean=lambda w: w.abs().mean()),
        ),
    ),
)

# 30.2 -----------------------------------------------------------------------------------------


def guided_step(network, x, time, size, words, weight):
    """The weighted mean of both velocities, found in one call on a double batch."""
    rows = len(x)
    times = torch.full((2 * rows,), time, dtype=x.dtype)
    both = network(torch.cat([x, x]), times, torch.cat([words, torch.zeros_like(words)]))
    return x + size * (weight * both[:rows] + (1 - weight) * both[rows:])


def _step(network, x, time, size, words, weight, mix=None, null=None, sign=1, after=None):
    times = torch.full((len(x),), time, dtype=x.dtype)
    without = network(x, times, torch.zeros_like(words) if null is None else null(words))
    mix = mix or (lambda v0, v1, w: v0 + w * (v1 - v0))
    moved = x + sign * size * mix(without, network(x, times, words), weight)
    return moved if after is None else after(moved)


def _step_cases(seed=3):
    draw, luck = draws(seed), torch.Generator().manual_seed(seed)

    def case(rows, pixels, letters, size, weight):
        time = float(torch.randint(1, 8, (), generator=luck)) / 10
        words = draw(rows, letters)
        return _weights(draw, pixels, letters), draw(rows, pixels), time, size, words, weight

    yield case(1, 2, 2, 0.5, 1.0)
    yield case(1, 2, 2, 0.5, 2.0)
    yield case(2, 3, 2, 0.25, 0.0)
    yield case(3, 3, 4, 0.1, 3.0)
    yield case(4, 6, 5, 0.05, 1.5)


def _step_batch():
    weights, pictures, words, *_ = _loss_batch()
    return tuple(part.detach() for part in weights), pictures, 0.3, 0.05, words, 2.0


STEP = Exercise(
    key="30.2",
    reference=guided_step,
    cases=_step_cases,
    use=_use_step,
    batch=_step_batch,
    verified=True,
    returns="one picture a row, a step further",
    misconceptions=(
        *ideas(
            "here weight 1 gives more than the word's own velocity: this counts from weight 0 on."
            " In (30.3) weight 0 ignores the word, and 1 is no guidance.",
            lambda n, x, t, s, c, w: _step(
                n, x, t, s, c, w, mix=lambda v0, v1, w: v1 + w * (v1 - v0)
            ),
        ),
        *ideas(
            "the weight is used less 1. In (30.3) it multiplies the whole difference.",
            lambda n, x, t, s, c, w: _step(
                n, x, t, s, c, w, mix=lambda v0, v1, w: v0 + (w - 1) * (v1 - v0)
            ),
        ),
        *ideas(
            "the two velocities are exchanged: guidance goes from the null word's towards the"
            " word's.",
            lambda n, x, t, s, c, w: _step(
                n, x, t, s, c, w, mix=lambda v0, v1, w: v1 + w * (v0 - v1)
            ),
            lambda n, x, t, s, c, w: _step(
                n, x, t, s, c, w, mix=lambda v0, v1, w: v0 + w * (v0 - v1)
            ),
        ),
        *ideas(
            "the step is subtracted: this goes back to the noise. Sampling runs from t = 0, noise,"
            " to t = 1, the picture.",
            lambda n, x, t, s, c, w: _step(n, x, t, s, c, w, sign=-1),
        ),
        *ideas(
            "the word's velocity alone is multiplied by the weight: that is a longer step, not a"
            " clearer word.",
            lambda n, x, t, s, c, w: _step(n, x, t, s, c, w, mix=lambda v0, v1, w: w * v1),
        ),
        *ideas(
            "both velocities are added whole. What the weight multiplies is their difference.",
            lambda n, x, t, s, c, w: _step(n, x, t, s, c, w, mix=lambda v0, v1, w: v0 + w * v1),
        ),
        *ideas(
            "the weight is not used.",
            lambda n, x, t, s, c, w: _step(n, x, t, s, c, w, mix=lambda v0, v1, w: v1),
        ),
        *ideas(
            "the null word is zeros. Ones, another row's word or the batch's mean are words too.",
            lambda n, x, t, s, c, w: _step(n, x, t, s, c, w, null=torch.ones_like),
            lambda n, x, t, s, c, w: _step(n, x, t, s, c, w, null=lambda c: c.roll(1, 0)),
            lambda n, x, t, s, c, w: _step(n, x, t, s, c, w, null=lambda c: c.mean(0).expand_as(c)),
        ),
        *ideas(
            "the velocity is not multiplied by the step's size.",
            lambda n, x, t, s, c, w: x + (guided_step(n, x, t, s, c, w) - x) / s,
        ),
        *ideas(
            "the network is asked for another time than the step's start: its end, or 1 - t.",
            lambda n, x, t, s, c, w: guided_step(n, x, t + s, s, c, w),
            lambda n, x, t, s, c, w: guided_step(n, x, 1 - t, s, c, w),
            lambda n, x, t, s, c, w: guided_step(n, x, 0.0, s, c, w),
        ),
        *ideas(
            "what is returned is the change, not the new place.",
            lambda n, x, t, s, c, w: guided_step(n, x, t, s, c, w) - x,
        ),
        *ideas(
            "the place is cut to -1 ... 1. On the way it may lie outside, as noise does; only the"
            " finished picture is cut.",
            lambda n, x, t, s, c, w: _step(n, x, t, s, c, w, after=lambda x: x.clamp(-1, 1)),
        ),
    ),
)

# 30.3 -----------------------------------------------------------------------------------------


def picture_tokens(pictures, codebook):
    """In loops over rows and columns of patches."""
    shown = pictures.reshape(-1, 8, 8)
    ids = []
    for row in range(0, 8, 2):
        for column in range(0, 8, 2):
            patch = torch.stack(
                [shown[:, row + r, column + c] for r in range(2) for c in range(2)], dim=1
            )
            apart = (patch[:, None] - codebook[None]).square().sum(2)  # (B, K)
            ids.append(apart.argmin(1))
    return torch.stack(ids, 1)


def _patches(pictures, order=(0, 1, 3, 2, 4)):
    """(B, 64) -> (B, 16, 4); `order` of batch, patch row, pixel row, patch column, pixel column,
    in which they stand as 0, 1, 2, 3, 4.
    """
    return pictures.reshape(-1, 4, 2, 4, 2).permute(order).reshape(-1, 16, 4)


def _apart(patches, codebook):
    return (patches[:, :, None] - codebook).square().sum(-1)  # (B, 16, K)


def _token_cases(seed=3):
    draw = draws(seed)

    def case(rows, codes):
        """Drawn anew where two codes are equally near: rounding would choose between them."""
        while True:
            pictures, codebook = draw(rows, 64), draw(codes, 4)
            nearest = _apart(_patches(pictures), codebook).sort(2).values  # (B, 16, K)
            if (nearest[..., 1] - nearest[..., 0]).min() > 1e-6:
                return pictures, codebook

    yield case(1, 2)
    yield case(1, 4)
    yield case(2, 8)
    yield case(3, 16)
    yield case(5, 3)


TOKENS = Exercise(
    key="30.3",
    reference=picture_tokens,
    cases=_token_cases,
    batch=lambda: (torch.rand(256, 64), torch.rand(16, 4)),
    returns="16 ids a picture",
    misconceptions=(
        *ideas(
            "four pixels side by side are no patch: `reshape(B, 16, 4)` cuts a row into strips."
            " Cut rows and columns by 2 first, and bring the two axes of a patch together.",
            lambda p, c: _apart(p.reshape(-1, 16, 4), c).argmin(2),
        ),
        *ideas(
            "the patches are counted column by column. They stand row by row, as one reads.",
            lambda p, c: _apart(_patches(p, (0, 3, 1, 2, 4)), c).argmin(2),
        ),
        *ideas(
            "a patch's four pixels stand column by column. The codes have them row by row.",
            lambda p, c: _apart(_patches(p, (0, 1, 3, 4, 2)), c).argmin(2),
        ),
        *ideas(
            "this takes the farthest code. The nearest has the smallest distance.",
            lambda p, c: _apart(_patches(p), c).argmax(2),
        ),
        *ideas(
            "this takes the code with the largest dot product. A long code wins that without being"
            " near: compare distances.",
            lambda p, c: (_patches(p) @ c.T).argmax(2),
        ),
        *ideas(
            "this takes the code with the most similar direction. A code's length, how much ink it"
            " has, counts as well.",
            lambda p, c: torch.cosine_similarity(_patches(p)[:, :, None], c, dim=3).argmax(2),
        ),
        *ideas(
            "the distance is the sum of absolute differences, or the largest one. Asked is the"
            " usual one, of squares.",
            lambda p, c: (_patches(p)[:, :, None] - c).abs().sum(3).argmin(2),
            lambda p, c: (_patches(p)[:, :, None] - c).abs().amax(3).argmin(2),
        ),
        *ideas(
            "the differences are added before they are squared: plus and minus cancel.",
            lambda p, c: (_patches(p)[:, :, None] - c).sum(3).square().argmin(2),
        ),
        *ideas(
            "the codes are returned, not their numbers. A token is an id.",
            lambda p, c: c[_apart(_patches(p), c).argmin(2)],
        ),
        *ideas(
            "the distances are returned, not the place of the smallest.",
            lambda p, c: _apart(_patches(p), c).amin(2),
        ),
        *ideas(
            "for each code this finds the nearest patch. Asked is the nearest code for each patch.",
            lambda p, c: _apart(_patches(p), c).argmin(1),
        ),
    ),
)

EXERCISES = [LOSS, STEP, TOKENS]
