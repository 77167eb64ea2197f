"""Features of clips: each frame alone, differences, trends and samples by hand, and what is masked
never matters.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.image import SmallCNN, pixel_features
from course_utils.masks import masked_mean
from course_utils.video import check_clips, frame_differences, frame_features, sample_frames, trend


def clips(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def holes(b, t, seed=0):
    """A mask with some, all, one and none of the frames."""
    mask = torch.rand(b, t, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[0], mask[1] = True, False
    mask[2] = torch.arange(t) == t // 2
    return mask


def unseen(x, mask, value):
    x = x.clone()
    x[~mask] = value
    return x


# ---- each frame alone ----


@pytest.mark.parametrize("colours", [(), (3,)])
def test_each_frame_gets_the_features_that_it_gets_alone(colours):
    video, mask = clips(5, 4, *colours, 9, 8), holes(5, 4)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(len(colours) and 3 or 1, 6, 3), nn.ReLU()).double()

    def encode(pictures):
        return network(pictures).mean((2, 3))

    features, seen = frame_features(unseen(video, mask, math.nan), mask, encode)
    assert features.shape == (5, 4, 6) and torch.equal(seen, mask)
    for i in range(5):
        for t in range(4):
            alone = encode(video[i, t].reshape(1, *(colours or (1,)), 9, 8))[0] * mask[i, t]
            torch.testing.assert_close(features[i, t], alone)


def test_without_an_encoder_features_are_pixels():
    video, mask = clips(4, 3, 2, 5), holes(4, 3)
    features, _ = frame_features(video, mask)
    assert torch.equal(features, video.flatten(2) * mask[..., None])


def test_frames_that_are_lost_do_not_enter_the_statistics_of_a_batch():
    torch.manual_seed(0)
    video, mask = clips(4, 3, 8, 8).float(), holes(4, 3)
    cnn = SmallCNN(channels=1, width=8).train()
    found = []
    for value in (0.0, 1e6, math.nan):
        features, _ = frame_features(
            unseen(video, mask, value), mask, lambda x: masked_mean(*cnn(x))
        )
        found.append(features)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_gradients_reach_the_frames_that_are_there_and_nothing_else():
    video, mask = clips(4, 3, 2, 2), holes(4, 3)
    video = unseen(video, mask, math.nan).requires_grad_()
    features, seen = frame_features(video, mask)
    steps, both = frame_differences(features, seen)
    with torch.autograd.set_detect_anomaly(True):
        (masked_mean(steps.square(), both).sum() + trend(features, seen).square().sum()).backward()
    assert video.grad.isfinite().all() and not video.grad[~mask].any() and video.grad[0].any()


# ---- differences ----


def test_differences_by_hand():
    frames = torch.tensor([[[0.3], [0.1], [math.nan], [0.7], [1 / 3]]], dtype=torch.float64)
    steps, both = frame_differences(frames, torch.tensor([[True, True, False, True, True]]))
    assert both.tolist() == [[True, False, False, True]]
    assert steps.flatten().tolist() == [0.1 - 0.3, 0, 0, 1 / 3 - 0.7]


@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5, 6, 7), (4, 5, 2, 6, 7)])
def test_of_a_clip_turned_round_they_are_the_negative_ones_turned_round(shape):
    video, mask = clips(*shape), holes(*shape[:2])
    steps, both = frame_differences(video, mask)
    back, back_both = frame_differences(video.flip(1), mask.flip(1))
    assert torch.equal(back, -steps.flip(1)) and torch.equal(back_both, both.flip(1))


def test_their_mean_is_last_minus_first():
    video = clips(3, 6, 4)
    steps, both = frame_differences(video, torch.ones(3, 6, dtype=torch.bool))
    torch.testing.assert_close(masked_mean(steps, both), (video[:, -1] - video[:, 0]) / 5)


# ---- trend ----


@pytest.mark.parametrize("seed", range(3))
def test_the_trend_is_the_slope_of_numpys_line(seed):
    features, mask = clips(9, 7, 3, seed=seed) + 1e3 / 3, holes(9, 7, seed)
    found = trend(unseen(features, mask, math.nan), mask)
    for i in range(9):
        place = np.flatnonzero(mask[i])
        expected = np.zeros(3)
        if len(place) > 1:
            expected = np.polyfit(place, features[i, place].numpy(), 1)[0]
        np.testing.assert_allclose(found[i].numpy(), expected, atol=1e-9)


def test_the_trend_of_a_line_is_its_slope_whatever_is_lost_and_turns_its_sign():
    time = torch.arange(8.0, dtype=torch.float64)[:, None]
    line = (0.1 + 0.3 * time).expand(4, 8, 1)
    mask = holes(4, 8)
    for x, kept, sign in ((line, mask, 1), (line.flip(1), mask.flip(1), -1)):
        expected = [sign * 0.3, 0, 0, sign * 0.3]
        assert trend(x, kept).flatten().tolist() == pytest.approx(expected, abs=1e-15)


# ---- samples of frames ----


@pytest.mark.parametrize(
    "total, count, expected",
    [
        (8, 4, [1, 3, 5, 7]),
        (9, 3, [1, 4, 7]),
        (5, 5, [0, 1, 2, 3, 4]),
        (5, 1, [2]),
        (7, 2, [1, 5]),
        (10, 4, [1, 3, 6, 8]),
    ],
)
def test_the_middle_of_each_part_is_taken(total, count, expected):
    video = torch.arange(float(total)).reshape(1, total, 1, 1)
    taken, seen = sample_frames(video, torch.ones(1, total, dtype=torch.bool), count)
    assert taken.flatten().tolist() == expected and seen.all()


def test_a_clip_with_padding_gives_what_it_gives_alone_and_a_lost_frame_stays_lost():
    video = torch.arange(1.0, 13).reshape(2, 6, 1)
    mask = torch.tensor([[1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]]).bool()
    taken, seen = sample_frames(video, mask, 4)
    alone, _ = sample_frames(video[:1, :4], mask[:1, :4], 4)
    assert torch.equal(taken[:1], alone) and seen.tolist() == [[1, 0, 1, 1], [0, 0, 0, 0]]
    short = torch.tensor([[True, True, False, False, False, False]])
    assert sample_frames(video[:1], short, 4)[0].flatten().tolist() == [1, 1, 2, 2]


def test_what_is_shorter_than_a_part_may_be_lost():
    flash = torch.zeros(1, 12, 1)
    flash[0, 5] = 1
    everything = torch.ones(1, 12, dtype=torch.bool)
    assert [bool(sample_frames(flash, everything, n)[0].any()) for n in (12, 4, 3)] == [1, 0, 0]


def test_what_repeats_looks_turned_round():
    """A turn in 4 frames, seen at every third: each picture is a quarter turn back."""
    turning = (torch.arange(12) % 4).float().reshape(1, 12, 1)
    taken, _ = sample_frames(turning, torch.ones(1, 12, dtype=torch.bool), 4)
    assert taken.flatten().tolist() == [1, 0, 3, 2]


# ---- what is refused ----

GOOD, ALL = torch.ones(2, 3, 4, 4), torch.ones(2, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: check_clips(GOOD.numpy(), ALL), TypeError, "clips: expected a tensor, got ndarr"),
        (
            lambda: check_clips(GOOD[0], ALL),
            ValueError,
            "clips: expected shape (B, T, H, W) or (B, T, C, H, W), got (3, 4, 4)",
        ),
        (lambda: check_clips(GOOD[:0], ALL[:0]), ValueError, "clips: expected shape (B, T, H, W)"),
        (
            lambda: check_clips(GOOD.byte(), ALL),
            TypeError,
            "clips: expected floats, got torch.uint8; divide bytes by 255",
        ),
        (lambda: check_clips(GOOD, None), TypeError, "mask: expected a bool tensor, got NoneType"),
        (
            lambda: frame_features(GOOD, ALL[:, :1]),
            TypeError,
            "mask: expected bool of shape (2, 3), got torch.bool of shape (2, 1)",
        ),
        (
            lambda: frame_features(GOOD, ALL.float()),
            TypeError,
            "mask: expected bool of shape (2, 3), got torch.float32 of shape (2, 3)",
        ),
        (
            lambda: frame_features(GOOD, ~ALL),
            ValueError,
            "mask: expected at least one frame in the batch, got none",
        ),
        (
            lambda: frame_features(GOOD, ALL, lambda x: x),
            ValueError,
            "encode: expected a function from 6 frames to shape (6, D), got (6, 1, 4, 4)",
        ),
        (
            lambda: frame_features(GOOD, ALL, SmallCNN(1, 8).forward),
            ValueError,
            "images: expected shape (B, 1, H, W) with H and W of at least 8, got (6, 1, 4, 4)",
        ),
        (
            lambda: frame_features(GOOD, ALL, lambda x: (pixel_features(x), None)),
            TypeError,
            "encode(frames): expected a tensor, got tuple",
        ),
        (
            lambda: frame_differences(GOOD[:, :1], ALL[:, :1]),
            ValueError,
            "frames: expected shape (B, T, ...) with T of at least 2, got (2, 1, 4, 4)",
        ),
        (
            lambda: frame_differences(GOOD.long(), ALL),
            TypeError,
            "frames: expected floats, got torch.int64",
        ),
        (
            lambda: trend(GOOD, ALL),
            ValueError,
            "features: expected shape (B, T, D), got (2, 3, 4, 4)",
        ),
        (
            lambda: trend(GOOD[0, 0], ALL),
            ValueError,
            "features: expected shape (B, T, ...) with T of at least 1, got (4, 4)",
        ),
        (
            lambda: sample_frames(GOOD.int(), ALL, 2),
            TypeError,
            "clips: expected floats, got torch.int32",
        ),
        (
            lambda: sample_frames(GOOD, ALL, 4),
            ValueError,
            "count: expected at most the 3 frames of a clip, got 4",
        ),
        (
            lambda: sample_frames(GOOD, ALL, 0),
            ValueError,
            "count: expected a whole number of at least 1, got 0",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)
