"""Clips in, features out.

    features, seen = frame_features(video, mask)              # (B, T, H * W), (B, T)
    steps, both = frame_differences(features, seen)           # (B, T - 1, H * W), (B, T - 1)
    vectors = torch.cat([masked_mean(features, seen), trend(features, seen)], 1)

A clip is (B, T, H, W) or, with colours, (B, T, C, H, W), and mask (B, T) bool says which frames are
there. What stands in a frame that is not never matters, not even NaN. The mean over time,
`masks.masked_mean`, is the same for any order of the frames; `frame_differences` and `trend` are
not: of a clip turned round they have the other sign.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from course_utils.checks import check_bools, check_floats, check_tensor, check_whole
from course_utils.image import pixel_features


def frame_features(
    clips: Tensor, mask: Tensor, encode: Callable[[Tensor], Tensor] = pixel_features
) -> tuple[Tensor, Tensor]:
    """The features of each frame alone: (B, T, H, W) or (B, T, C, H, W) float and mask (B, T) bool
    -> (B, T, D), zeros where there is no frame, and the mask.

    `encode` takes pictures (N, C, H, W), C being 1 without colours, and gives (N, D). It gets only
    the frames that are there, so that the others cannot enter the statistics of a batch either.
    Raises ValueError or TypeError for clips and masks of another shape or dtype, for a batch
    without any frame, and for an `encode` that gives something else.
    """
    check_clips(clips, mask)
    pictures = clips[mask]  # (N, H, W) or (N, C, H, W), the frames that are there
    if not len(pictures):
        raise ValueError("mask: expected at least one frame in the batch, got none")
    if not callable(encode):
        raise TypeError(f"encode: expected a function of pictures, got {type(encode).__name__}")
    encoded = encode(pictures if clips.dim() == 5 else pictures[:, None])
    check_tensor(encoded, "encode(frames)")
    if encoded.dim() != 2 or len(encoded) != len(pictures):
        raise ValueError(
            f"encode: expected a function from {len(pictures)} frames to shape"
            f" ({len(pictures)}, D), got {tuple(encoded.shape)}"
        )
    features = encoded.new_zeros(*mask.shape, encoded.shape[1])
    return features.index_put((mask,), encoded), mask  # (N, D) -> (B, T, D)


def frame_differences(frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Each frame minus the one before it: (B, T, ...) float and mask (B, T) bool -> (B, T - 1, ...)
    and mask (B, T - 1), True where both frames are there; zeros elsewhere.

    Frames may be pictures or features. Their mean over all times is only (last - first) / (T - 1),
    and their absolute values no longer tell which frame came first.
    Raises ValueError or TypeError for less than two frames, and for another shape or dtype.
    """
    _check_frames(frames, mask, "frames", least=2)
    both = mask[:, 1:] & mask[:, :-1]
    inside = both.reshape(*both.shape, *[1] * (frames.dim() - 2))
    # what is not there is taken out before the subtraction, so that no NaN reaches a gradient
    later, earlier = (torch.where(inside, part, 0) for part in (frames[:, 1:], frames[:, :-1]))
    return later - earlier, both


def trend(features: Tensor, mask: Tensor) -> Tensor:
    """How much each feature rises from one frame to the next, by least squares over the frames that
    are there: (B, T, D) float and mask (B, T) bool -> (B, D).

    sum_t (t - mean t) x_t / sum_t (t - mean t)^2. Zeros for a row with less than two frames.
    Raises ValueError or TypeError for another shape or dtype.
    """
    _check_frames(features, mask, "features")
    if features.dim() != 3:
        raise ValueError(f"features: expected shape (B, T, D), got {tuple(features.shape)}")
    time = torch.arange(mask.shape[1], device=mask.device, dtype=features.dtype)  # (T,)
    count = mask.sum(1, keepdim=True).clamp(min=1)
    middle = (mask * time).sum(1, keepdim=True) / count  # (B, 1)
    weights = torch.where(mask, time - middle, 0)  # (B, T), they sum to 0
    spread = weights.square().sum(1, keepdim=True)  # (B, 1), 0 for a single frame
    weights = weights / torch.where(spread > 0, spread, 1)
    kept = torch.where(mask[..., None], features, 0)
    return (weights[..., None] * kept).sum(1)  # (B, T, D) -> (B, D)


def sample_frames(clips: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`count` frames of each clip, evenly spread: (B, T, ...) and mask (B, T) bool -> (B, count,
    ...) and (B, count).

    A clip lasts up to its last frame that is there. It is cut into `count` equal parts, and the
    middle of each is taken, there or not; so a clip shorter than `count` gives frames twice.
    What lasts less than a part may fall between two frames, and is lost without a sign; what
    repeats faster than every second part looks slower than it is, or turned round.
    Raises ValueError or TypeError for another shape or dtype, or a count that is no whole number
    from 1 to T.
    """
    _check_frames(clips, mask, "clips")
    check_whole(1, count=count)
    total = mask.shape[1]
    if count > total:
        raise ValueError(f"count: expected at most the {total} frames of a clip, got {count}")
    place = torch.arange(total, device=mask.device)
    length = (mask * (place + 1)).amax(1, keepdim=True).clamp(min=1)  # (B, 1)
    part = torch.arange(count, device=mask.device)
    taken = (2 * part + 1) * length // (2 * count)  # (B, count)
    rows = torch.arange(len(mask), device=mask.device)[:, None]
    return clips[rows, taken], mask[rows, taken]


def check_clips(clips: Tensor, mask: Tensor) -> None:
    """Raises ValueError or TypeError for what is no float batch (B, T, H, W) or (B, T, C, H, W)
    with a bool mask (B, T).
    """
    check_tensor(clips, "clips")
    if clips.dim() not in (4, 5) or not clips.numel():
        raise ValueError(
            f"clips: expected shape (B, T, H, W) or (B, T, C, H, W), got {tuple(clips.shape)}"
        )
    if not clips.is_floating_point():
        raise TypeError(f"clips: expected floats, got {clips.dtype}; divide bytes by 255")
    _check_frames(clips, mask, "clips")


def _check_frames(frames: Tensor, mask: Tensor, name: str, least: int = 1) -> None:
    """`frames` (B, T, ...) with T of at least `least`, and their `mask` (B, T)."""
    check_floats(frames, name)
    if frames.dim() < 3 or frames.shape[1] < least:
        raise ValueError(
            f"{name}: expected shape (B, T, ...) with T of at least {least}, got"
            f" {tuple(frames.shape)}"
        )
    check_bools(mask, "mask", frames.shape[:2])
