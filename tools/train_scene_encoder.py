"""Train the small network for coloured shapes that `load_image_encoder("scenes-cnn")` gives.

    python tools/train_scene_encoder.py            says how good it is; writes nothing
    python tools/train_scene_encoder.py --write    writes data/scene_encoder/scenes_cnn.safetensors

It sees 4,000 scenes of a seed of its own and learns, for each cell of 8 x 8 pixels, the size, the
colour and the shape of the thing that covers most of it, at least 8 pixels. So it is told where
each thing is. Under a minute on one core. The same machine and versions give the same file; others
may differ in the last digits, so a file that was written anew needs its SHA-256, which is printed,
in `course_utils/weights.py`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy
from train_audio_encoder import command

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from course_utils.datasets import Scenes  # noqa: E402  (after the path)
from course_utils.datasets.scene_words import ATTRIBUTES  # noqa: E402
from course_utils.image_encoder import SCENES_CNN, scenes_cnn  # noqa: E402

SEED, SIZE = 1_000, 4_000  # of the scenes; pages use small seeds
EPOCHS, ROWS, RATE, LEAST = 10, 32, 6e-3, 8
CLASSES = [1 + len(values) for values in ATTRIBUTES.values()]  # 0 is "nothing"


def in_cells(things: list) -> Tensor:
    """(3, 8, 8) int64: the size, colour and shape that each cell shows most of, counted from 1; 0
    where no thing has LEAST pixels in it.
    """
    seen = torch.stack([thing.mask() for thing in things]).float()  # (K, 64, 64)
    most, which = (64 * avg_pool2d(seen[None], 8)[0]).max(dim=0)  # (8, 8) both
    table = [
        [1 + values.index(getattr(thing, name)) for thing in things]
        for name, values in ATTRIBUTES.items()
    ]
    return torch.where(most >= LEAST, torch.tensor(table)[:, which], 0)


def scenes(split: str, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, 64, 64) and what is in their cells (N, 3, 8, 8)."""
    items = list(map(Scenes(split, size=size, seed=seed).__getitem__, range(size)))
    images = torch.stack([item["image"] for item in items])
    return images, torch.stack([in_cells(item["objects"]) for item in items])


def train(generator: torch.Generator) -> tuple[nn.Module, nn.Module]:
    body, head = scenes_cnn(), nn.Conv2d(64, sum(CLASSES), 1)
    images, cells = scenes("train", SIZE, SEED)
    weights = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE)
    steps = EPOCHS * -(-SIZE // ROWS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(SIZE, generator=generator).split(ROWS):
            said = head(body(images[rows])).split(CLASSES, dim=1)
            loss = sum(map(cross_entropy, said, cells[rows].unbind(1)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return body.eval(), head.eval()


@torch.no_grad()
def named_right(body: nn.Module, head: nn.Module, split: str) -> str:
    """The share of the cells with a thing in them that are named right, for each attribute."""
    images, cells = scenes(split, 1_000, 0)
    said = head(body(images)).split(CLASSES, dim=1)
    shares = []
    for name, logits, true in zip(ATTRIBUTES, said, cells.unbind(1)):
        right = (logits.argmax(1) == true)[true > 0]
        shares.append(f"{name} {right.double().mean():.3f}")
    empty = (said[0].argmax(1) == 0)[cells[:, 0] == 0]
    return ", ".join([*shares, f"nothing {empty.double().mean():.3f}"])


def told(body: nn.Module, head: nn.Module) -> Iterator[str]:
    for split in ("train", "validation", "test", "novel"):
        yield f"cells named right, {split}: {named_right(body, head, split)}"


if __name__ == "__main__":
    command("Train the encoder of scenes.", SCENES_CNN, train, told)
