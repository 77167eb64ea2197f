"""Pictures of every kind become the same tensor, or an error that says why not; networks give
features of places and a mask.
"""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import image
from course_utils.fusion import ConcatFusion
from course_utils.image import (
    SmallCNN,
    evaluation_transform,
    open_image,
    training_transform,
)
from course_utils.runtime import seed_everything

ORANGE = (200, 100, 50)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def saved(picture, format="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def plain(mode, color, size=(5, 4)):
    return Image.new(mode, size, color)


# ---- files ----


@pytest.mark.parametrize(
    "data, expected",
    [
        (saved(plain("RGB", ORANGE)), [200, 100, 50]),
        (saved(plain("L", 120)), [120, 120, 120]),
        (saved(plain("1", 1)), [255, 255, 255]),
        (saved(plain("P", 0).convert("RGB").quantize(4)), [0, 0, 0]),
        (saved(plain("RGB", ORANGE).quantize(4)), [204, 102, 51]),
        (saved(plain("RGBA", (*ORANGE, 255))), [200, 100, 50]),
        (saved(plain("RGBA", (0, 0, 0, 0))), [255, 255, 255]),  # nothing to be seen: paper
        (saved(plain("RGBA", (0, 0, 0, 51))), [204, 204, 204]),  # a fifth of black on white
        (saved(plain("LA", (0, 0))), [255, 255, 255]),
        (saved(plain("CMYK", (0, 255, 255, 0)), "TIFF"), [255, 0, 0]),
        # 16 bits: a fifth of 65,535
        (saved(Image.fromarray(np.full((4, 5), 13107, np.uint16))), [51, 51, 51]),
    ],
)
def test_every_mode_comes_out_as_rgb(data, expected):
    pixels = open_image(data)
    assert pixels.shape == (3, 4, 5) and pixels.dtype == torch.float32 and pixels.is_contiguous()
    if expected == [204, 102, 51]:  # a palette may round its colours
        expected = (255 * open_image(data)[:, 0, 0]).tolist()
        assert max(abs(a - b) for a, b in zip(expected, ORANGE)) <= 8
    torch.testing.assert_close(
        255 * pixels,
        torch.tensor(expected).float()[:, None, None].expand(3, 4, 5),
        rtol=0,
        atol=0.6,
    )


def test_transparent_palette_is_laid_on_white():
    picture = plain("P", 0)
    picture.putpalette([*ORANGE] * 256)
    assert open_image(saved(picture, transparency=0)).min() == 1


def test_rows_and_columns_are_where_they_were():
    pixels = open_image(saved(Image.fromarray(NOISE)))
    assert pixels.shape == (3, 40, 30)
    assert torch.equal(
        (255 * pixels).round().to(torch.uint8).permute(1, 2, 0), torch.from_numpy(NOISE)
    )


def test_exif_orientation_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert open_image(saved(Image.fromarray(NOISE), "JPEG", exif=exif)).shape == (3, 30, 40)


def test_of_an_animation_the_first_picture():
    first, second = plain("RGB", (255, 0, 0)), plain("RGB", (0, 0, 255))
    for format in ("GIF", "TIFF", "WEBP"):
        pixels = open_image(saved(first, format, save_all=True, append_images=[second]))
        assert pixels.shape == (3, 4, 5) and pixels[0].min() > 0.98 and pixels[2].max() < 0.02, (
            format
        )


def test_one_pixel_and_a_path(tmp_path):
    assert open_image(saved(plain("RGB", ORANGE, (1, 1)))).shape == (3, 1, 1)
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(NOISE)))
    assert torch.equal(open_image(tmp_path / "a.png"), open_image(str(tmp_path / "a.png")))


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "0 bytes: not a picture in a format"),
        (b"hello", "5 bytes: not a picture in a format"),
        (saved(Image.fromarray(NOISE))[:1500], "1500 bytes: a broken or cut-off picture"),
        (saved(Image.fromarray(NOISE), "JPEG")[:700], "700 bytes: a broken or cut-off picture"),
        (
            saved(Image.fromarray(np.zeros((4, 5), np.float32)), "TIFF"),
            "mode 'F', whose range is not known",
        ),
        (
            saved(Image.fromarray(np.zeros((4, 5), np.int32)), "TIFF"),
            "mode 'I', whose range is not known",
        ),
        (
            saved(plain("1", 0, (10_001, 5_000))),
            "a picture of 10001 x 5000, expected at most 50,000,000 pixels",
        ),
        (saved(plain("1", 0, (20_000, 10_000))), "far more than 50,000,000 pixels"),
    ],
)
def test_what_cannot_be_read_is_named(data, words):
    with pytest.raises(ValueError, match=words) as caught:
        open_image(data)
    assert "0x" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.png"):
        open_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match="text.png: not a picture"):
        open_image(tmp_path / "text.png")


# ---- transforms ----


def test_evaluation_keeps_proportions_and_normalises_once():
    wide = torch.zeros(3, 20, 40)
    wide[:, :, 10:30] = 1.0  # the middle square is white
    plain_result = evaluation_transform(10, normalise=False)(wide)
    assert (
        plain_result.shape == (3, 10, 10)
        and plain_result.min() > 0.4
        and plain_result[:, :, 1:-1].min() > 0.99
    )
    mean, std = (
        torch.tensor(image.IMAGENET_MEAN)[:, None, None],
        torch.tensor(image.IMAGENET_STD)[:, None, None],
    )
    torch.testing.assert_close(evaluation_transform(10)(wide), (plain_result - mean) / std)


def test_training_differs_each_time_and_evaluation_never():
    picture = torch.from_numpy(NOISE).permute(2, 0, 1).float() / 255
    seed_everything(0)
    one, other = training_transform(16)(picture), training_transform(16)(picture)
    assert one.shape == other.shape == (3, 16, 16) and not torch.equal(one, other)
    seed_everything(0)
    assert torch.equal(training_transform(16)(picture), one)
    assert torch.equal(evaluation_transform(16)(picture), evaluation_transform(16)(picture))


# ---- networks ----


def test_the_small_cnn_gives_places_that_fusion_takes():
    seed_everything(0)
    cnn, pictures = SmallCNN(channels=1, width=16), torch.rand(5, 1, 16, 24)
    features, mask = cnn(pictures)
    assert (
        features.shape == (5, 2 * 3, 16)
        and mask.shape == (5, 6)
        and mask.dtype == torch.bool
        and mask.all()
    )
    assert ConcatFusion({"image": 16}, 4)({"image": features}, mask={"image": mask}).shape == (5, 4)
    cnn.eval()
    # global average pooling
    torch.testing.assert_close(cnn(pictures)[0].mean(1), cnn.blocks(pictures).mean((2, 3)))


@pytest.mark.parametrize(
    "pictures, error, words",
    [
        (
            torch.rand(2, 3, 16, 16),
            ValueError,
            r"expected shape \(B, 1, H, W\) with H and W of at least 8, got \(2, 3, 16, 16\)",
        ),
        (torch.rand(1, 16, 16), ValueError, r"got \(1, 16, 16\)"),
        (torch.rand(2, 1, 16, 7), ValueError, r"at least 8, got \(2, 1, 16, 7\)"),
        (
            torch.ones(2, 1, 16, 16, dtype=torch.uint8),
            TypeError,
            "expected floats, got torch.uint8",
        ),
    ],
)
def test_the_small_cnn_names_a_bad_input(pictures, error, words):
    with pytest.raises(error, match=words):
        SmallCNN(channels=1)(pictures)
    with pytest.raises(ValueError, match="got 0 and 64"):
        SmallCNN(channels=0)
