"""A small network for pictures."""

from torch import Tensor, nn

from course_utils.image.pixels import check_images, places


class SmallCNN(nn.Module):
    """Three convolutions of 3 x 3, each with batch normalisation, ReLU and a pooling by 2:
    pictures -> features of places.

    forward: (B, channels, H, W) float -> features (B, H/8 * W/8, width), mask (B, H/8 * W/8)
    bool, all True. Trains on the course's worlds in seconds. Sides that 8 does not divide lose
    their rest. Raises ValueError for channels below 1 and a width below 4; forward, ValueError or
    TypeError for sides below 8, other channels, and what is no float.
    """

    def __init__(self, channels: int = 3, width: int = 64):
        super().__init__()
        if channels < 1 or width < 4:
            raise ValueError(
                f"expected channels of at least 1 and width of at least 4, got {channels} and"
                f" {width}"
            )
        self.channels, self.width = channels, width
        widths = (channels, width // 4, width // 2, width)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                )
                for before, after in zip(widths, widths[1:])
            )
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        check_images(images, self.channels, least=8)
        return places(self.blocks(images))
