"""Pixels and maps in the form of features, and what a batch of pictures has to be."""

import torch
from torch import Tensor

from course_utils.checks import check_tensor


def pixel_features(images: Tensor) -> Tensor:
    """All pixels in one row: (B, C, H, W) float -> (B, C * H * W) float.

    Raises ValueError or TypeError for another shape and for what is no float.
    """
    check_tensor(images, "images")
    if images.dim() != 4:
        raise ValueError(f"images: expected shape (B, C, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"images: expected floats, got {images.dtype}; divide bytes by 255")
    return images.flatten(start_dim=1)


def check_images(images: Tensor, channels: int, least: int) -> None:
    """Raises ValueError or TypeError for what is no float batch (B, channels, H, W) with sides of
    at least `least`.
    """
    check_tensor(images, "images")
    if images.dim() != 4 or images.shape[1] != channels or min(images.shape[2:]) < least:
        raise ValueError(
            f"images: expected shape (B, {channels}, H, W) with H and W of at least {least}, got"
            f" {tuple(images.shape)}"
        )
    if not images.is_floating_point():
        raise TypeError(f"images: expected floats, got {images.dtype}; divide bytes by 255")


def places(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (B, D, H, W) as features (B, H * W, D) and their mask (B, H * W) bool, all True.

    Raises ValueError or TypeError for what is no tensor of four axes.
    """
    check_tensor(maps, "maps")
    if maps.dim() != 4:
        raise ValueError(f"maps: expected shape (B, D, H, W), got {tuple(maps.shape)}")
    features = maps.flatten(2).transpose(1, 2)
    return features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
