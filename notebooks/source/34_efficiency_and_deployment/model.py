"""The page's model, whole: a typed word and a sound in, logits of the ten digits out.

Plain PyTorch. What is done to words and sounds before the network is part of it, so that an
exported file needs nothing beside it. A word is (B, 12) int64, 1 to 26 for the letters and 0 after
them; a sound is (B, 8000) float at 8 kHz, of which the first `samples` (B,) int64 count. A word
without letters and a sound without samples are missing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LETTERS, SAMPLES, RATE = 12, 8_000, 8_000
WINDOW, HOP, BANDS = 256, 80, 40  # 32 ms, 10 ms, mel filters
STRIDES = (1, 2, 2, 1)  # of the convolutions over time
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Typed(nn.Module):
    """The cheap half: which letters, the first and the last one -> (B, width)."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.layer = nn.Linear(78, width)

    def forward(self, letters: Tensor) -> Tensor:
        each = F.one_hot(letters, 27)[..., 1:].float()  # (B, 12) -> (B, 12, 26)
        last = (letters > 0).sum(1).sub(1).clamp(min=0)  # (B,)
        end = each.gather(1, last[:, None, None].expand(-1, 1, 26))[:, 0]  # (B, 26)
        return self.layer(torch.cat([each.sum(1), each[:, 0], end], 1)).relu()


class LogMel(nn.Module):
    """The sound's log-mel frames, less their mean: (B, S), (B,) -> (B, T, 40), (B, T) bool.

    The Fourier transform is a convolution with fixed cosines and sines, so that it exports.
    """

    def __init__(self, filters: Tensor):
        super().__init__()
        place = torch.arange(WINDOW, dtype=torch.float64)
        angle = 2 * torch.pi / WINDOW * torch.outer(place[: WINDOW // 2 + 1], place)
        window = torch.hann_window(WINDOW, dtype=torch.float64)
        waves = torch.cat([angle.cos(), angle.sin()]) * window  # (258, 256)
        self.register_buffer("waves", waves[:, None].float())
        self.register_buffer("filters", filters.float())  # (40, 129)

    def forward(self, sound: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        inside = torch.arange(sound.shape[1], device=sound.device) < samples[:, None]
        sound = torch.where(inside, sound, 0.0)
        real, imaginary = F.conv1d(sound[:, None], self.waves, stride=HOP).chunk(2, 1)
        power = (real.square() + imaginary.square()).transpose(1, 2)  # (B, T, 129)
        frames = (power @ self.filters.T).clamp(min=1e-3).log()  # (B, T, 40)
        begin = HOP * torch.arange(frames.shape[1], device=sound.device)
        heard = begin + WINDOW <= samples[:, None]  # (B, T): frames without padding
        return frames - mean(frames, heard)[:, None], heard


class Heard(nn.Module):
    """The costly half: log-mel frames through four convolutions over time -> (B, width).

    At width 64 the weights of the course's "digits-cnn" (data/audio_encoder) fit.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        sizes = (BANDS, width, width, width)
        self.layers = nn.ModuleList(
            nn.Conv1d(before, width, 5, stride=stride, padding=2)
            for before, stride in zip(sizes, STRIDES)
        )

    def forward(self, frames: Tensor, heard: Tensor) -> Tensor:
        x = torch.where(heard[..., None], frames, 0.0).transpose(1, 2)  # (B, 40, T)
        for layer, stride in zip(self.layers, STRIDES):
            heard = heard[:, ::stride]
            x = torch.where(heard[:, None], layer(x).relu(), 0.0)  # (B, width, T)
        return mean(x.transpose(1, 2), heard)


class Model(nn.Module):
    """Both halves side by side, and a hidden layer: letters, sound, samples -> logits (B, 10)."""

    def __init__(self, filters: Tensor, width: int = 64):
        super().__init__()
        self.log_mel, self.typed, self.heard = LogMel(filters), Typed(width), Heard(width)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, letters: Tensor, sound: Tensor, samples: Tensor) -> Tensor:
        return self.fuse(letters, *self.log_mel(sound, samples))

    def fuse(self, letters: Tensor, frames: Tensor, heard: Tensor) -> Tensor:
        """From frames, which need not be computed again in each epoch."""
        text, audio = self.typed(letters), self.heard(frames, heard)  # (B, width) each
        text = torch.where((letters > 0).any(1)[:, None], text, 0.0)
        audio = torch.where(heard.any(1)[:, None], audio, 0.0)
        return self.head(torch.cat([text, audio], 1))  # (B, 2 width) -> (B, 10)


class Look(nn.Module):
    """A picture of 16 x 16 and a sound side by side, the small classifier of page 33's bet:
    (B, 1, 16, 16), (B, S), (B,) -> (B, 10).
    """

    def __init__(self, filters: Tensor, width: int = 64):
        super().__init__()
        self.log_mel, self.heard = LogMel(filters), Heard(width)
        self.look = nn.Sequential(
            nn.Flatten(), nn.Linear(256, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, image: Tensor, sound: Tensor, samples: Tensor) -> Tensor:
        heard = self.heard(*self.log_mel(sound, samples))
        return self.head(torch.cat([self.look(image), heard], 1))  # (B, 2 width) -> (B, 10)


def mean(values: Tensor, kept: Tensor) -> Tensor:
    """The mean over time of what is kept, (B, T, D), (B, T) -> (B, D); zeros where nothing is."""
    total = torch.where(kept[..., None], values, 0.0).sum(1)
    return total / kept.sum(1).clamp(min=1)[:, None]


def spell(word: str) -> list[int]:
    """A word of small letters as the model takes it: its letters' numbers, then zeros."""
    return [ord(letter) - 96 for letter in word] + [0] * (LETTERS - len(word))
