"""Train the small network for spoken digits that `load_audio_encoder` gives by default.

    python tools/train_audio_encoder.py            says how good it is; writes nothing
    python tools/train_audio_encoder.py --write    writes data/audio_encoder/digits_cnn.safetensors

It hears the 400 clips of the 40 training voices of `Digits`, moved in time, three of four in white
noise of -10 to 20 dB. Half a minute on one core. The same machine and versions give the
same file; others may differ in the last digits, so a file that was written anew needs its SHA-256,
which is printed, in `course_utils/weights.py`.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from course_utils.audio_augment import mix_at_snr, time_shift  # noqa: E402  (after the path)
from course_utils.audio_encoder import DIGITS_CNN, DigitsCNN  # noqa: E402
from course_utils.datasets.digits import _bundled  # noqa: E402
from course_utils.masks import masked_mean, pad  # noqa: E402
from course_utils.metrics import accuracy  # noqa: E402
from course_utils.runtime import seed_everything  # noqa: E402

EPOCHS, ROWS = 60, 50


def clips(split: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All clips of a split's voices: sounds (N, S), mask (N, S), digits (N,)."""
    source = _bundled()
    keys = [(voice, digit) for voice in source.voices_of[split] for digit in range(10)]
    sound, mask = pad([torch.from_numpy(source.clips[key][0]).float() for key in keys])
    return sound, mask, torch.tensor([digit for _, digit in keys])


def train(generator: torch.Generator) -> tuple[DigitsCNN, nn.Linear]:
    body, head = DigitsCNN(), nn.Linear(64, 10)
    weights = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=2e-3, weight_decay=0.01)
    sound, mask, digit = clips("train")
    steps = EPOCHS * -(-len(digit) // ROWS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(digit), generator=generator).split(ROWS):
            kept = mask[rows]
            moved = time_shift(sound[rows], kept, 400, generator)
            noise = torch.randn(moved.shape, generator=generator)
            snr = torch.rand(len(rows), generator=generator) * 30 - 10
            snr[::4] = torch.inf
            tokens = body(mix_at_snr(moved, kept, noise, snr), kept)
            loss = nn.functional.cross_entropy(head(masked_mean(*tokens)), digit[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return body.eval(), head.eval()


@torch.no_grad()
def heard_right(body: DigitsCNN, head: nn.Linear, split: str, snr: float) -> float:
    sound, mask, digit = clips(split)
    noise = torch.randn(sound.shape, generator=torch.Generator().manual_seed(1))
    noisy = mix_at_snr(sound, mask, noise, snr)
    return accuracy(head(masked_mean(*body(noisy, mask))), digit)


def told(body: DigitsCNN, head: nn.Linear) -> Iterator[str]:
    for snr in (torch.inf, 0.0, -10.0):
        right = ", ".join(
            f"{split} {heard_right(body, head, split, snr):.3f}"
            for split in ("train", "validation", "test")
        )
        yield f"accuracy with its own last layer at {snr:g} dB: {right}"


def command(about: str, file: Path, train: Callable, told: Callable) -> None:
    """Train an encoder, (body, head), print what `told` says of it, and keep the body's weights in
    `file` where --write asks for that.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--write", action="store_true", help=f"write {file.name}")
    write = parser.parse_args().write
    torch.set_num_threads(1)
    start = time.process_time()
    body, head = train(seed_everything(0))
    print(f"trained in {time.process_time() - start:.0f} s of processor time")
    for line in told(body, head):
        print(line)
    content = save({name: value.contiguous() for name, value in body.state_dict().items()})
    print(f"SHA-256 {hashlib.sha256(content).hexdigest()}, {len(content):,} bytes")
    if write:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        print(f"{file.relative_to(ROOT)} is written")


if __name__ == "__main__":
    command("Train the default audio encoder.", DIGITS_CNN, train, told)
