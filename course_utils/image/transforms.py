"""Pictures made ready for a network."""

# The mean and standard deviation of ImageNet's training pictures, by colour: what networks trained
# on it expect.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def training_transform(size: int, *, normalise: bool = True, degrees: float = 10.0):
    """For training: a random crop of 70 to 100 % of the picture, turned by up to `degrees`, to
    (3, size, size).

    No flip: it would turn a 2 into something else and "left" into "right". `normalise` as in
    `evaluation_transform`.
    """
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(0.9, 1.1), antialias=True),
            v2.RandomRotation(degrees),
            *_normalised(v2, normalise),
        ]
    )


def evaluation_transform(size: int, *, normalise: bool = True):
    """For evaluation, always the same: the shorter side to `size`, the middle cut out, (3, size,
    size).

    With `normalise` ImageNet's mean is taken off each colour and its standard deviation divided
    out, once.
    """
    from torchvision.transforms import v2

    return v2.Compose(
        [v2.Resize(size, antialias=True), v2.CenterCrop(size), *_normalised(v2, normalise)]
    )


def _normalised(v2, normalise: bool) -> list:
    return [v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)] if normalise else []
