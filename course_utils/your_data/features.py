"""A vector for each value by the default encoder of its kind, kept by the value's content."""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.audio import log_mel
from course_utils.datasets.files import open_image, open_sound
from course_utils.features import cached_vectors
from course_utils.runtime import device, reader_folder
from course_utils.your_data.folder import RATE, content_hash
from course_utils.your_data.sentences import Finding, say

BATCH = 16
SEGMENTS, MELS = 8, 40
LONGEST = 30 * RATE  # samples of a sound that are heard
WINDOW = 256
PIXELS, PIECES = 12, 512
SMALL = {
    "image": f"pixels {PIXELS} x {PIXELS}",
    "text": f"pieces of words in {PIECES} columns",
    "audio": f"log-mel statistics, {SEGMENTS} parts",
    "numbers": "the numbers themselves",
}


class Encoder(NamedTuple):
    """name: what goes into the report and the cache; encode: values to vectors (b, width)."""

    name: str
    width: int
    encode: object


def encoders_of(kind: str, small: bool) -> tuple[list[Encoder], Finding | None]:
    """The encoders of a kind, of which each split takes the better one: the pretrained one, without
    `small`, and one that has learned nothing. A sentence where the first is not to be had.
    """
    if kind == "audio":
        return [Encoder(SMALL[kind], (SEGMENTS + 1) * MELS, _log_mel)], None
    found, why = [], None
    if not small:
        try:
            found.append((_efficientnet if kind == "image" else _minilm)())
        except (OSError, ValueError, ImportError) as error:
            why = say("small_encoder", kind=kind, small=SMALL[kind], why=error)
    width, encode = (3 * PIXELS**2, _pixels) if kind == "image" else (PIECES, _pieces)
    return [*found, Encoder(SMALL[kind], width, encode)], why


def vectors(kind: str, values: list, encoder: Encoder, step=lambda count: None) -> Tensor:
    """(N, width) float32, zeros where the value is None; `step(count)` hears of each batch."""
    there = [i for i, value in enumerate(values) if value is not None]
    cache = reader_folder() / "your_data" / "features"

    def compute(wanted: list[int]) -> Iterator[tuple[list[int], Tensor]]:
        step(len(there) - len(wanted))
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            with torch.no_grad():
                yield batch, encoder.encode([values[there[i]] for i in batch])
            step(len(batch))

    def names() -> list[str]:
        return [f"{encoder.name}\n{_content(values[i])}" for i in there]

    found = torch.zeros(len(values), encoder.width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a folder that cannot be written, of long texts
        found[there] = cached_vectors(len(there), encoder.width, compute, names, cache)
    return found


def _content(value: Path | str) -> str:
    if isinstance(value, Path):
        return content_hash(value)
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


# ---- the encoders ----


def _efficientnet() -> Encoder:
    from course_utils.image_encoder import load_image_encoder

    network = load_image_encoder("efficientnet-lite0", cache=False).to(device())
    transform = network.transform(224)

    def encode(paths: list[Path]) -> Tensor:
        # laid into a square, so that nothing is cut away
        pictures = torch.stack([transform(_square(open_image(path))) for path in paths])
        return network(pictures.to(device()), "mean")[0].cpu()

    return Encoder(f"EfficientNet-Lite0 {network.weights[:12]}", network.width, encode)


def _minilm() -> Encoder:
    from course_utils.text_encoder import load_text_encoder

    network = load_text_encoder("minilm", cache=False).to(device())
    return Encoder(
        f"MiniLM {network.weights[:12]}", network.width, lambda texts: network(texts)[0].cpu()
    )


def _square(image: Tensor) -> Tensor:
    side = max(image.shape[1:])
    down, across = side - image.shape[1], side - image.shape[2]
    return F.pad(image, (across // 2, across - across // 2, down // 2, down - down // 2), value=1.0)


def _pixels(paths: list[Path]) -> Tensor:
    rows = []
    for path in paths:
        small = F.interpolate(
            _square(open_image(path))[None], (PIXELS, PIXELS), mode="bilinear", antialias=True
        )
        rows.append(small.flatten())
    return torch.stack(rows)


def _pieces(texts: list[str]) -> Tensor:
    """How often each run of one to three characters comes, hashed into columns, as a logarithm."""
    counts = torch.zeros(len(texts), PIECES)
    for i, text in enumerate(texts):
        text = f" {text.lower()} "
        for size in (1, 2, 3):
            for start in range(len(text) - size + 1):
                piece = text[start : start + size].encode("utf-8", "replace")
                counts[
                    i, int.from_bytes(hashlib.blake2b(piece, digest_size=4).digest()) % PIECES
                ] += 1
    return counts.log1p()


def _log_mel(paths: list[Path]) -> Tensor:
    """The mean energy of each mel filter in eight parts of the sound, and its spread over all."""
    rows = []
    for path in paths:
        sound = open_sound(path, RATE)[:LONGEST]
        sound = F.pad(sound, (0, max(0, WINDOW - len(sound))))
        tokens, _ = log_mel(sound[None], torch.ones(1, len(sound), dtype=torch.bool), floor=1e-6)
        parts = F.adaptive_avg_pool1d(tokens.mT, SEGMENTS)  # (1, T, 40) -> (1, 40, 8)
        rows.append(torch.cat([parts.flatten(), tokens[0].std(0, correction=0)]))
    return torch.stack(rows)
