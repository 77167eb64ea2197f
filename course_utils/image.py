"""Pictures in, features out."""
from torch import Tensor


def pixel_features(images: Tensor) -> Tensor:
    """All pixels in one row: (B, C, H, W) float -> (B, C * H * W) float."""
    return images.flatten(start_dim=1)
