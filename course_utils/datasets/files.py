"""Picture and sound files as tensors, whatever form they come in.

image = open_image("scan.png")              # any file that Pillow reads -> (3, H, W) from 0 to 1
sound = open_sound("word.wav", rate=8_000)  # any file that soundfile reads -> (S,) mono
"""

import io
import math
import warnings
from pathlib import Path

import torch
from torch import Tensor

MOST_PIXELS = 50_000_000  # a picture of 50 megapixels takes 600 MB as float32
# outside these a sampling rate is a damaged header, and resampling would fill the memory
LEAST_RATE, MOST_RATE = 1_000, 768_000
MOST_PEAK = 10  # a float file may pass 1 a little; whole numbers as floats pass it a thousandfold


def open_image(file: str | Path | bytes) -> Tensor:
    """A picture file, or its bytes, as three colours: (3, H, W) float32 from 0 to 1.

    Whatever its mode, it comes out as RGB: gray and black-and-white three times the same,
    palette and CMYK converted, 16 bits scaled by 65,535, what is transparent laid on white,
    turned as its EXIF orientation says. Of an animation or a file of several pages it is the
    first picture.

    Raises FileNotFoundError when there is no such file, and ValueError, which names it, when it
    is no picture, is cut off, has more than 50 million pixels, or holds numbers without a known
    range (32 bits, float).
    """
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not isinstance(file, (str, Path, bytes)):
        raise TypeError(f"file: expected a path or a file's bytes, got {type(file).__name__}")
    name = f"{len(file)} bytes" if isinstance(file, bytes) else str(file)
    try:
        with (
            warnings.catch_warnings(),
            Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as picture,
        ):
            # the limit below is ours
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(
                    f"{name}: a picture of {picture.width} x {picture.height}, expected at most"
                    f" {MOST_PIXELS:,} pixels"
                )
            picture = ImageOps.exif_transpose(picture)
            if picture.mode.startswith("I;16"):
                gray = torch.from_numpy(np.asarray(picture).astype(np.float32) / 65_535)
                # (H, W) -> (3, H, W)
                return gray.expand(3, -1, -1).clone()
            if picture.mode in ("I", "F"):
                raise ValueError(
                    f"{name}: pixels of mode {picture.mode!r}, whose range is not known; expected 8"
                    " or 16 bits"
                )
            pixels = np.array(on_white(picture))  # (H, W, 3) uint8
    except FileNotFoundError:
        raise
    except UnidentifiedImageError:
        raise ValueError(f"{name}: not a picture in a format that Pillow knows") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{name}: a picture of far more than {MOST_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, EOFError) as error:
        # what Pillow raises for a broken file
        raise ValueError(f"{name}: a broken or cut-off picture ({error})") from error
    # (H, W, 3) -> (3, H, W)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous() / 255


def on_white(picture):
    """A picture of Pillow's as RGB, what is transparent laid on white."""
    from PIL import Image

    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


def open_sound(file: str | Path, rate: int) -> Tensor:
    """A sound file as one channel at `rate` Hz: (S,) float32, from -1 to 1.

    Whole numbers of any width are scaled by their range, floats stay as they are: loud ones, and
    what MP3 or resampling adds at an edge, may pass 1 a little. Several channels become their mean;
    another rate is resampled by scipy's `resample_poly`.

    Raises FileNotFoundError when there is no such file, and ValueError, which names it, when it
    is no sound, is broken or a WAV that is cut off, has a sampling rate outside 1,000 to 768,000
    Hz, holds no sample, or one that is NaN, infinite or above 10.
    """
    import soundfile
    from scipy.signal import resample_poly

    if type(rate) is not int or rate < 1:
        raise ValueError(f"rate: expected a whole number of Hz, got {rate!r}")
    if not isinstance(file, (str, Path)):
        raise TypeError(f"file: expected a path, got {type(file).__name__}")
    if not Path(file).exists():
        raise FileNotFoundError(f"{file}: no such file")
    try:
        sound, own_rate = soundfile.read(file, dtype="float32", always_2d=True)  # (S, channels)
    except (OSError, RuntimeError, TypeError) as error:  # soundfile's own is a RuntimeError
        raise ValueError(f"{file}: a broken sound, or none that soundfile knows") from error
    if _cut_off(Path(file)):
        raise ValueError(f"{file}: a sound that is cut off: its header promises more than is there")
    if not LEAST_RATE <= own_rate <= MOST_RATE:
        raise ValueError(
            f"{file}: a sampling rate of {own_rate:,} Hz, expected {LEAST_RATE:,} to {MOST_RATE:,}"
        )
    if not len(sound):
        raise ValueError(f"{file}: a sound without a single sample")
    mono = torch.from_numpy(sound).mean(1)  # (S, channels) -> (S,)
    if not torch.isfinite(mono).all():
        raise ValueError(f"{file}: a sound that holds NaN or infinity")
    if (peak := float(mono.abs().max())) > MOST_PEAK:
        raise ValueError(
            f"{file}: a sound of floats up to {peak:,.0f}, expected -1 to 1; divide numbers of"
            " 16 bits by 32768"
        )
    if own_rate == rate:
        return mono
    shared = math.gcd(own_rate, rate)
    resampled = resample_poly(mono.numpy(), rate // shared, own_rate // shared)
    return torch.from_numpy(resampled).float()


def _cut_off(file: Path) -> bool:
    """Whether a WAV file is shorter than its header says; libsndfile reads on as if nothing were.
    A pipe writes 0 or the largest number, because it does not know, and a last odd byte may be
    missing.
    """
    with open(file, "rb") as opened:
        head = opened.read(8)
    promised = int.from_bytes(head[4:], "little")
    known = head[:4] == b"RIFF" and 0 < promised < 2**32 - 1
    return known and promised + 8 > file.stat().st_size + 1
