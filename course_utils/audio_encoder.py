"""Pretrained encoders for sounds: samples in, features of a frozen network out.

    encoder = load_audio_encoder()                          # its weights come with the course
    sound, mask = pad([open_sound(file, encoder.sample_rate) for file in files])
    features, heard = encoder(sound, mask)                  # (B, T, 64), (B, T) bool
    vectors, there = encoder(sound, mask, "mean")           # (B, 64), (B,) bool

Features and mask go into the fusion interface as they are: True where there is something.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.audio import check_sound, lengths, log_mel
from course_utils.checks import check_choice
from course_utils.features import (
    asked_for_gradient,
    cache_folder,
    cached_vectors,
    model_fingerprint,
)
from course_utils.masks import masked_mean
from course_utils.runtime import DATA, reads
from course_utils.weights import DIGITS_CNN_SHA256, WAV2VEC2, WAV2VEC2_SHA256, verified

AUDIO_ENCODERS = ("digits-cnn", "wav2vec2")
POOLINGS = ("tokens", "mean")
DIGITS_CNN = DATA / "audio_encoder" / "digits_cnn.safetensors"
LEAST = 400  # samples that wav2vec 2.0 needs for one frame, 25 ms


class AudioEncoder(nn.Module):
    """A frozen network for sounds, always in eval mode.

    forward: sounds (B, S) float at `sample_rate` and their mask (B, S), pooling -> features
    float32, mask bool
      "tokens"  (B, T, width), (B, T): one every 40 or 20 ms, zeros where there is none
      "mean"    (B, width), (B,): the mean of a sound's tokens; zeros for one that is missing

    Padding and the other sounds of a batch change no more than the last digits. `trained` says
    whether the weights were learned or are random.
    Raises what `course_utils.audio.frames` raises, and ValueError for another pooling.

    `cache` is a folder for the means, or None: see `course_utils.features`. A file's name has the
    sound's content, `weights` (where the network comes from) and the network as it is in memory at
    that call. Where a gradient is asked for, of the sounds or of weights that somebody has set
    free, nothing is read or kept, and both poolings are differentiable.
    Sounds are computed `batch_size` at a time, so that memory does not grow with B.
    """

    def __init__(
        self,
        body: nn.Module,
        width: int,
        sample_rate: int,
        trained: bool,
        *,
        weights: str = "",
        cache: Path | None = None,
        batch_size: int = 32,
    ):
        super().__init__()
        self.body, self.width, self.trained = body.eval().requires_grad_(False), width, trained
        self.sample_rate, self.weights = sample_rate, weights
        self.cache, self.batch_size = cache, batch_size

    def train(self, mode: bool = True) -> "AudioEncoder":
        super().train(mode)
        self.body.eval()
        return self

    def forward(
        self, sound: Tensor, mask: Tensor, pooling: str = "tokens"
    ) -> tuple[Tensor, Tensor]:
        check_choice(POOLINGS, pooling=pooling)
        check_sound(sound, mask)
        sound, there = sound.float(), mask.any(1)
        if pooling == "mean" and not asked_for_gradient(self.body, sound):
            return self._means(sound, mask).to(sound.device), there
        parts = zip(sound.split(self.batch_size), mask.split(self.batch_size))
        features, heard = (torch.cat(each) for each in zip(*(self.body(*part) for part in parts)))
        return (features, heard) if pooling == "tokens" else (masked_mean(features, heard), there)

    @torch.no_grad()
    def _means(self, sound: Tensor, mask: Tensor) -> Tensor:
        means, counts = sound.new_zeros(len(sound), self.width, device="cpu"), lengths(mask).cpu()
        there = counts.nonzero().flatten()

        def compute(wanted: list[int]) -> Iterator[tuple[list[int], Tensor]]:
            # of like length together, so that little is padding
            wanted = sorted(wanted, key=lambda i: int(counts[there[i]]))
            for start in range(0, len(wanted), self.batch_size):
                batch = wanted[start : start + self.batch_size]
                rows, longest = there[batch], int(counts[there[batch]].max())
                yield batch, masked_mean(*self.body(sound[rows, :longest], mask[rows, :longest]))

        def names() -> list[str]:
            known = f"{self.weights}\n{model_fingerprint(self.body, '')}\nmean"
            return [f"{known}\n{_content(sound[i, : counts[i]])}" for i in there.tolist()]

        means[there] = cached_vectors(len(there), self.width, compute, names, self.cache)
        return means


def _content(samples: Tensor) -> str:
    """What a sound is: its length, and the SHA-256 of its numbers."""
    return f"{len(samples)} {hashlib.sha256(samples.cpu().numpy().tobytes()).hexdigest()}"


class DigitsCNN(nn.Module):
    """Log-mel frames, less their mean over the sound, through four convolutions over time.

    forward: sounds (B, S) float32 at 8 kHz, mask (B, S) -> tokens (B, T, width), one every 40 ms,
    and mask (B, T) bool. What is no frame is zero before each convolution, as what lies beyond the
    ends is, so that padding does not matter.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(before, width, 5, stride=stride, padding=2)
            for before, stride in ((40, 1), (width, 2), (width, 2), (width, 1))
        )

    def forward(self, sound: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        # far above digital silence; `band_features` adds as much before its logarithm
        frames, heard = log_mel(sound, mask, floor=1e-3)
        centred = frames - masked_mean(frames, heard)[:, None]
        x = torch.where(heard[..., None], centred, 0).transpose(1, 2)  # (B, 40, T)
        for layer in self.layers:
            heard = heard[:, :: layer.stride[0]]
            x = torch.where(heard[:, None], layer(x).relu(), 0)  # (B, width, T)
        return x.transpose(1, 2), heard


class Wav2Vec2(nn.Module):
    """transformers' wav2vec 2.0 on sounds of any length, one every 20 ms.

    forward: sounds (B, S) float32 at 16 kHz, mask (B, S) -> tokens (B, T, width), mask (B, T) bool.
    Only sounds of the same length are computed together, because the first layer normalises over
    time, and padding would change what it does. Each sound is given mean 0 and variance 1, as
    transformers' feature extractor does it.
    forward raises ValueError for a sound of fewer than 400 samples (25 ms), and for NaN.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, sound: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        counts, width = lengths(mask), self.model.config.hidden_size
        for i, count in enumerate(counts.tolist()):
            if 0 < count < LEAST:
                raise ValueError(f"sound {i} has {count} samples, expected at least {LEAST}")
            if not sound[i, :count].isfinite().all():
                raise ValueError(f"sound {i} holds NaN or infinity under its mask")
        most = max(1, self._frames(sound.shape[1]))
        features = sound.new_zeros(len(sound), most, width)
        heard = mask.new_zeros(len(sound), most)
        for count in counts.unique().tolist():
            if count:
                rows, frames = counts == count, self._frames(count)
                x = sound[rows, :count]  # (b, count)
                variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
                states = self.model((x - mean) / (variance + 1e-7).sqrt()).last_hidden_state
                features[rows, :frames], heard[rows, :frames] = states, True
        return features, heard

    def _frames(self, samples: int) -> int:
        return int(self.model._get_feat_extract_output_lengths(samples)) if samples else 0


def load_audio_encoder(
    name: str = "digits-cnn", *, random: bool = False, download: bool = True, cache: bool = True
) -> AudioEncoder:
    """The network `name`, one of AUDIO_ENCODERS, with its weights.

      name          width  at      weights
      "digits-cnn"  64     8 kHz   299 kB, in data/audio_encoder: trained on the 40 training voices
                                   of `Digits` by `python tools/train_audio_encoder.py`, and on
                                   nothing else, so that it knows ten words
      "wav2vec2"    768    16 kHz  380 MB, from the Hugging Face cache or, with `download`, once
                                   over the network; facebook/wav2vec2-base, trained without
                                   labels on 960 hours of English that was read aloud

    The weights' SHA-256 is checked before they are used, and nothing in their file is executed.
    `random=True` builds a network with random weights instead, for shapes: of wav2vec 2.0 a tiny
    one, of width 32. `trained` is then False. With `cache` the means of features are kept in the
    folder features beside the course's data sets.

    Raises ValueError for another name or an altered file, and OSError where there are no weights,
    with what to do. Source: Baevski et al. 2020, wav2vec 2.0.
    """
    check_choice(AUDIO_ENCODERS, name=name)
    where = cache_folder() if cache and not random else None
    if name == "wav2vec2":
        body = Wav2Vec2(_wav2vec2(random, download))
        width, rate, sha256 = body.model.config.hidden_size, 16_000, WAV2VEC2_SHA256
    else:
        body, width, rate, sha256 = DigitsCNN(), 64, 8_000, DIGITS_CNN_SHA256
        if not random:
            from safetensors.torch import load

            mend = "`git checkout data/audio_encoder` brings it back."
            body.load_state_dict(load(verified(reads(DIGITS_CNN), sha256, mend)), strict=True)
    return AudioEncoder(body, width, rate, not random, weights=sha256, cache=where)


def _wav2vec2(random: bool, download: bool) -> nn.Module:
    """transformers' model. Its defaults are those of wav2vec2-base, whose configuration is not
    read.
    """
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    if random:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        sizes |= {"intermediate_size": 64, "conv_dim": (16,) * 7}
        sizes |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
        return Wav2Vec2Model(Wav2Vec2Config(**sizes))
    content = _wav2vec2_weights(download)
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return Wav2Vec2Model.from_pretrained(
        None, config=Wav2Vec2Config(), state_dict=state, dtype=torch.float32
    )


def _wav2vec2_weights(download: bool) -> bytes:
    import huggingface_hub

    repository, file, revision = WAV2VEC2
    try:
        path = huggingface_hub.hf_hub_download(
            repository, file, revision=revision, local_files_only=not download
        )
    except OSError as error:  # offline, no network, no such page
        raise OSError(
            f"the weights of {repository} are not here and could not be fetched. With a network and"
            " without HF_HUB_OFFLINE, call this again: the Hugging Face hub has them, 380 MB."
            ' Without one, "digits-cnn" comes with the course, and random=True builds a tiny'
            f" network that has learned nothing. ({error})"
        ) from error
    return verified(Path(path), WAV2VEC2_SHA256, "Delete it, and call this again with a network.")
