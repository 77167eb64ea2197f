"""Compare the course's speed with named public code that does the same work, in the same run.

    python tools/bench.py                  every row; writes data/results/bench.md (seven minutes)
    python tools/bench.py concat digits    these rows, printed only

librosa and torchaudio are an extra:
    .venv/bin/python -m pip install -c constraints.txt -e ".[bench]"

To add a row, write a function that yields a `Case` for each thing to time, and put `@row` above
it; its docstring becomes the note under the table. A fusion strategy needs only its formula in
plain PyTorch, in `tools/bench_formulas.py`.
"""

import argparse
import copy
import importlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from inspect import cleandoc
from multiprocessing import get_context
from pathlib import Path

# torch and its like are imported by the rows: pages are measured in a process that loads this file,
# and is to stay small.
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import run_notebooks  # noqa: E402  (after the path)

FILE = ROOT / "data" / "results" / "bench.md"
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scikit-learn",
    "transformers",
    "timm",
    "librosa",
    "torchaudio",
)
PAGE_SECONDS, PAGE_MB = 60, 1500
Call = Callable[[], object]


@dataclass
class Counterpart:
    """Public code that does the same work; `call` is None where its package is not installed."""

    name: str
    call: Call | None = None
    # the largest difference between its results and ours
    difference: Callable[[], float] | None = None
    tolerance: float = 1e-4


@dataclass
class Case:
    """One thing to time: one call of ours, what it is compared with, and the same call on four
    times as much.
    """

    work: str
    ours: Call
    items: int  # what one call gets done, for the rate: so many of `unit`
    unit: str
    counterparts: list[Counterpart] = field(default_factory=list)
    # by what has grown, for example {"clips": call}
    larger: dict[str, Call] = field(default_factory=dict)
    # of the time for a case; less in a row of many
    share: float = 1


# ---- timing
# ---------------------------------------------------------------------------------------


def interleave(
    tasks: dict[str, Call],
    *,
    seconds: float = 4,
    least: int = 7,
    most: int = 41,
    turn: float = 0.02,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """The seconds that one call of each task takes, a number a round.

    In a round each task has its turn (forth, then in the next round back, so that none always
    follows the same one), and a quick task is called so often that its turn takes at least
    `turn` seconds. Rounds go on for `seconds`, but there are at least `least` and at most
    `most`. The clock counts this process's own processor time, so that another job on the
    machine disturbs little; with one thread and no other job that is the time on the wall.
    """
    calls = {}
    for name, task in tasks.items():
        # what happens only once (imports, caches, compiling) is not counted
        task()
        start = clock()
        task()
        calls[name] = max(1, -int(-turn // max(clock() - start, 1e-9)))
    rounds = {name: [] for name in tasks}
    began = clock()
    for number in range(most):
        if number >= least and clock() - began >= seconds:
            break
        for name in list(tasks)[:: -1 if number % 2 else 1]:
            start = clock()
            for _ in range(calls[name]):
                tasks[name]()
            rounds[name].append((clock() - start) / calls[name])
    return rounds


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """The median of the rounds' ratios ours / theirs, with its lower and upper quartile."""
    low, middle, high = statistics.quantiles(
        [a / b for a, b in zip(ours, theirs, strict=True)], n=4, method="inclusive"
    )
    return middle, low, high


# ---- rows
# -----------------------------------------------------------------------------------------

ROWS: dict[str, Callable[[], Iterator[Case]]] = {}


def row(function: Callable[..., Iterator[Case]]) -> Callable[..., Iterator[Case]]:
    """Make a function that yields cases one of the rows that `make bench` knows."""
    ROWS[function.__name__] = function
    return function


def optional(module: str):
    """A module, or None when it is not installed or does not load beside the installed torch."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError):
        return None


def largest_difference(ours, theirs) -> float:
    """The largest difference between two results: tensors, or lists or dicts of them. Infinite
    where they do not match.
    """
    if isinstance(ours, dict):
        if set(ours) != set(theirs):
            return float("inf")
        ours, theirs = list(ours.values()), [theirs[key] for key in ours]
    if isinstance(ours, (list, tuple)):
        if len(ours) != len(theirs):
            return float("inf")
        apart = [largest_difference(*pair) for pair in zip(ours, theirs)]
        # NaN, if there is one: plain max may lose it
        return max(apart, key=lambda value: (value != value, value))
    return (
        float("inf")
        if ours.shape != theirs.shape
        else (ours.double() - theirs.double()).abs().max().item()
    )


@row
def digits(samples: int = 64) -> Iterator[Case]:
    """Samples drawn from `Digits("train")` at its default dials and brought together by
    `collate`, 64 a batch.

    No package has this data set. The counterpart is what one would write with public parts for
    the same pictures, sounds and words: `v2.GaussianNoise` and `v2.Resize` for the picture,
    `torchaudio.functional.add_noise` for the sound, `pad_sequence` and `stack` for the batch;
    its words come from the course's own `type_word`. With noise and slips off both give the same
    batch; with them on, both draw from the same distribution. Beyond the counterpart, ours makes
    each sample depend on seed, split and index alone, and looks for NaN in each batch.
    """
    from course_utils.datasets import Digits, collate

    data = Digits("train")

    def draw(
        count: int, sample: Callable[[int], dict] = data.__getitem__, together: Callable = collate
    ):
        return [
            together([sample(i % len(data)) for i in range(start, min(start + 64, count))])
            for start in range(0, count, 64)
        ]

    name = "torchvision.transforms.v2 + torchaudio.functional.add_noise + pad_sequence"
    other = Counterpart(name)
    if optional("torchaudio"):
        public, clean = (
            public_digits(data),
            {"image_noise": 0.0, "speech_snr": float("inf"), "text_error": 0.0},
        )
        quiet = Digits("train", **clean)
        quiet_public = public_digits(quiet)

        def difference() -> float:  # without noise, and with the voices that ours has drawn
            ours = draw(samples, quiet.__getitem__)
            return largest_difference(
                ours, draw(samples, lambda i: quiet_public(i, quiet[i]["voice"]), public_collate)
            )

        other = Counterpart(name, lambda: draw(samples, public, public_collate), difference, 1e-6)
    yield Case(
        f'Digits("train") and collate, {samples} samples',
        lambda: draw(samples),
        samples,
        "samples",
        [other],
        {"samples": lambda: draw(4 * samples)},
    )


def public_digits(data) -> Callable[..., dict]:
    """A sample of `Digits` from public parts, with the same dials; it draws from global random
    numbers.
    """
    import numpy as np
    import torch
    import torchaudio
    from torchvision.transforms import v2

    from course_utils.datasets.digits import WORDS, WRITER_BLOCKS, type_word

    source, places, voices = data._from, data._places, data._voices
    # (N, 1, 8, 8)
    scans = torch.from_numpy(source.scans[places]).float()[:, None]
    clips = {
        key: [torch.from_numpy(clip).float() for clip in takes]
        for key, takes in source.clips.items()
    }
    picture = v2.Compose(
        [v2.GaussianNoise(sigma=data.image_noise, clip=False), v2.Resize((16, 16), antialias=False)]
    )
    writers = np.searchsorted(WRITER_BLOCKS, places, side="right") - 1
    snr, rng = torch.tensor(data.speech_snr), np.random.default_rng(0)

    def sample(index: int, voice: int | None = None) -> dict:
        digit = int(source.labels[places[index]])
        voice = int(rng.choice(voices)) if voice is None else voice
        takes = clips[voice, digit]
        sound = takes[int(rng.integers(len(takes)))]
        # (1, 16, 16)
        return {
            "text": type_word(WORDS[digit], data.text_error, rng),
            "image": picture(scans[index]),
            "audio": torchaudio.functional.add_noise(sound, torch.randn_like(sound), snr),
            "label": digit,
            "writer": int(writers[index]),
            "voice": voice,
        }

    return sample


def public_collate(samples: list[dict]) -> dict:
    """What `collate` gives, by torch's own functions."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    parts = {
        "text": [
            torch.tensor([ord(letter) - ord("a") + 1 for letter in sample["text"]])
            for sample in samples
        ],
        "audio": [sample["audio"] for sample in samples],
    }
    # (B, T) and (B, S)
    batch = {name: pad_sequence(values, batch_first=True) for name, values in parts.items()}
    batch["mask"] = {
        name: pad_sequence([torch.ones(len(x), dtype=torch.bool) for x in values], batch_first=True)
        for name, values in parts.items()
    }
    batch["mask"]["image"] = torch.ones(len(samples), dtype=torch.bool)
    # (B, 1, 16, 16)
    batch["image"] = torch.stack([sample["image"] for sample in samples])
    return {
        **batch,
        **{
            name: torch.tensor([sample[name] for sample in samples])
            for name in ("label", "writer", "voice")
        },
    }


@row
def bands(clips: int = 64) -> Iterator[Case]:
    """`band_features`: the logarithm of the energy in 32 bands, averaged over eighths of the sound.

    Each counterpart computes the spectrum by its own function with the same window, step and
    padding at the edges, then the same bands, logarithm and eighths. Clips of different lengths
    are taken one by one by all of them; where all are equally long, torchaudio takes the whole
    batch in one call.
    """
    import torch

    from course_utils.audio import band_features
    from course_utils.datasets import Digits, collate

    data = Digits("train")
    batches = {
        count: collate([data[i % len(data)] for i in range(count)]) for count in (clips, 4 * clips)
    }
    sounds, masks = (
        {count: part(batch) for count, batch in batches.items()}
        for part in (lambda batch: batch["audio"], lambda batch: batch["mask"]["audio"])
    )
    yield bands_case(
        f"band_features, {clips} spoken digits",
        sounds[clips],
        masks[clips],
        spectra(),
        {"clips": lambda: band_features(sounds[4 * clips], masks[4 * clips])},
    )
    noise = torch.randn(clips, 4 * 4_000, generator=torch.Generator().manual_seed(0))
    whole = torch.ones(noise.shape, dtype=torch.bool)
    yield bands_case(
        f"band_features, {clips} clips of 0.5 s",
        noise[:, :4_000],
        whole[:, :4_000],
        whole_batch(),
        {"length": lambda: band_features(noise, whole)},
    )


def bands_case(
    work: str, sound, mask, makers: dict[str, Callable | None], larger: dict[str, Call]
) -> Case:
    """`band_features` of one batch against each of `makers`, functions (sound, mask) -> (B,
    256), None where not installed.
    """
    from course_utils.audio import band_features

    others = []
    for name, features in makers.items():
        call = features and (lambda features=features: features(sound, mask))
        others.append(
            Counterpart(
                name,
                call,
                call and (lambda call=call: largest_difference(band_features(sound, mask), call())),
            )
        )
    return Case(work, lambda: band_features(sound, mask), len(sound), "clips", others, larger)


def in_bands(power):
    """Power spectra (..., 129, frames) -> (..., 256), as `band_features` does it."""
    import torch
    from torch.nn.functional import adaptive_avg_pool1d

    from course_utils.audio import BANDS, SEGMENTS

    # (..., 129, F) -> (..., 32, F)
    energy = power[..., 1:, :].unflatten(-2, (BANDS, -1)).mean(-2)
    # (..., 32, F) -> (..., 256)
    return adaptive_avg_pool1d(torch.log(energy + 1e-3), SEGMENTS).flatten(-2)


def spectra() -> dict[str, Callable | None]:
    """Features of clips of different lengths, (B, S) and mask -> (B, 256), by the function that
    gives the spectrum.
    """
    import torch
    from transformers.audio_utils import spectrogram, window_function

    from course_utils.audio import HOP, WINDOW

    def one_by_one(power_of: Callable):
        return lambda sound, mask: torch.stack(
            [
                in_bands(power_of(samples[:length]))
                for samples, length in zip(sound, mask.sum(1).tolist())
            ]
        )

    hann = window_function(WINDOW, "hann")
    makers = {
        "transformers.audio_utils.spectrogram": one_by_one(
            lambda clip: torch.from_numpy(spectrogram(clip.numpy(), hann, WINDOW, HOP, power=2.0))
        ),
        "librosa.stft": None,
        "torchaudio.transforms.Spectrogram": None,
    }
    if librosa := optional("librosa"):
        makers["librosa.stft"] = one_by_one(
            lambda clip: (
                torch.from_numpy(
                    librosa.stft(
                        clip.numpy(),
                        n_fft=WINDOW,
                        hop_length=HOP,
                        window="hann",
                        center=True,
                        pad_mode="reflect",
                    )
                ).abs()
                ** 2
            )
        )
    if torchaudio := optional("torchaudio"):
        makers["torchaudio.transforms.Spectrogram"] = one_by_one(
            torchaudio.transforms.Spectrogram(WINDOW, hop_length=HOP)
        )
    return makers


def whole_batch() -> dict[str, Callable | None]:
    """Features of clips that are equally long, in one call."""
    from course_utils.audio import HOP, WINDOW

    torchaudio = optional("torchaudio")
    spectrum = torchaudio and torchaudio.transforms.Spectrogram(WINDOW, hop_length=HOP)
    return {
        "torchaudio.transforms.Spectrogram, one call": (
            spectrum and (lambda sound, mask: in_bands(spectrum(sound)))
        )
    }


@row
def log_mels(clips: int = 64) -> Iterator[Case]:
    """`log_mel` and `mfcc` at 8 kHz: 40 mel filters, windows of 256, a step of 80, 13 coefficients.

    Each counterpart computes the mel spectrum by its own function, with the same filters, edges and
    floor, then the same logarithm and SciPy's cosine transform. Clips of different lengths are
    taken one by one by all of them; where all are equally long, torchaudio takes the whole batch in
    one call. Ours takes clips of any lengths in one call, and also looks for NaN in each batch.
    A difference in a logarithm is large where there is next to no energy: single precision.
    """
    import torch

    from course_utils.audio import log_mel, mfcc
    from course_utils.datasets import Digits, collate

    data = Digits("train")
    batches = [collate([data[i % len(data)] for i in range(n)]) for n in (clips, 4 * clips)]
    few, many = ((batch["audio"], batch["mask"]["audio"]) for batch in batches)
    noise = torch.randn(clips, 4 * 4_000, generator=torch.Generator().manual_seed(0))
    long = noise, torch.ones(noise.shape, dtype=torch.bool)
    short = tuple(part[:, :4_000] for part in long)
    makers = mel_spectra()
    whole = {"torchaudio.transforms.MelSpectrogram, one call": makers.pop("one call")}
    for name, ours, last in (("log_mel", log_mel, None), ("mfcc", mfcc, 13)):
        for what, (sound, mask), others, growth in (
            ("spoken digits", few, makers, ("clips", many)),
            ("clips of 0.5 s", short, whole, ("length", long)),
        ):
            counterparts = [
                mel_counterpart(other, mels, ours, sound, mask, last)
                for other, mels in others.items()
            ]
            larger, more = growth
            yield Case(
                f"{name}, {clips} {what}",
                lambda ours=ours, sound=sound, mask=mask: ours(sound, mask)[0],
                clips,
                "clips",
                counterparts,
                {larger: lambda ours=ours, more=more: ours(*more)[0]},
            )


def mel_counterpart(
    name: str, mels: Callable | None, ours: Callable, sound, mask, count: int | None
) -> Counterpart:
    """What others make of a batch: a list of (T_i, 40), or of (T_i, count) by SciPy's transform."""
    import scipy.fft
    import torch

    def transformed(energies):
        logs = energies.clamp(min=1e-10).log()
        if count is None:
            return logs
        return torch.from_numpy(scipy.fft.dct(logs.numpy(), norm="ortho")[..., :count])

    def call() -> list:
        return [transformed(each) for each in mels(sound, mask)]

    def difference() -> float:
        tokens, heard = ours(sound, mask)
        rows = [row[kept] for row, kept in zip(tokens, heard)]
        theirs = call()
        return largest_difference(rows, list(theirs[0]) if len(theirs) < len(rows) else theirs)

    return Counterpart(name, mels and call, mels and difference, 1e-3)


def mel_spectra() -> dict[str, Callable | None]:
    """Mel spectra of a batch by public functions: a list of one (T_i, 40) for each sound, or, in
    one call, of one (B, T, 40).
    """
    import torch
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    options = {"n_fft": 256, "hop_length": 80, "n_mels": 40}

    def one_by_one(mels_of: Callable):
        return lambda sound, mask: [
            mels_of(samples[:length]) for samples, length in zip(sound, mask.sum(1).tolist())
        ]

    hann = window_function(256, "hann")
    filters = mel_filter_bank(129, 40, 0, 4_000, 8_000, norm="slaney", mel_scale="slaney")
    makers = {
        "transformers.audio_utils.spectrogram": one_by_one(
            lambda clip: torch.from_numpy(
                spectrogram(clip.numpy(), hann, 256, 80, power=2.0, mel_filters=filters).T
            )
        ),
        "librosa.feature.melspectrogram": None,
        "torchaudio.transforms.MelSpectrogram": None,
        "one call": None,
    }
    if librosa := optional("librosa"):
        makers["librosa.feature.melspectrogram"] = one_by_one(
            lambda clip: torch.from_numpy(
                librosa.feature.melspectrogram(
                    y=clip.numpy(), sr=8_000, pad_mode="reflect", **options
                ).T
            )
        )
    if torchaudio := optional("torchaudio"):
        mel = torchaudio.transforms.MelSpectrogram(
            8_000, norm="slaney", mel_scale="slaney", **options
        )
        makers["torchaudio.transforms.MelSpectrogram"] = one_by_one(lambda clip: mel(clip).mT)
        makers["one call"] = lambda sound, mask: [mel(sound).mT]
    return makers


@row
def minilm(sentences: int = 16) -> Iterator[Case]:
    """Sentences to vectors by the real MiniLM, masked mean, features not taken from the disk.

    sentence-transformers does the same with the same weights, batches of like length as we do,
    and divides by the vector's length, which the comparison of results allows for. The plain
    counterpart is transformers' tokeniser and model on all sentences in one batch, padded to the
    longest.
    """
    import torch
    from torch.nn.functional import normalize

    from course_utils.datasets import Scenes
    from course_utils.masks import masked_mean
    from course_utils.text_encoder import load_text_encoder

    try:
        encoder = load_text_encoder(cache=False)
    except OSError:  # no weights here
        return
    scenes = Scenes("test", size=4 * sentences)
    # 6 to 60 tokens
    texts = [" ".join([scenes[i]["caption"] + "."] * (1 + i % 3)) for i in range(4 * sentences)]

    def plain(count: int = sentences):
        batch = encoder.tokenizer(texts[:count], padding=True, return_tensors="pt")
        with torch.no_grad():
            return masked_mean(
                encoder.model(**batch).last_hidden_state, batch["attention_mask"].bool()
            )

    def ours(count: int = sentences):
        return encoder(texts[:count])[0]

    others = [
        Counterpart(
            "transformers, one padded batch", plain, lambda: largest_difference(ours(), plain())
        )
    ]
    if package := optional("sentence_transformers"):
        theirs = package.SentenceTransformer(encoder.model.config._name_or_path, device="cpu")

        def public():
            return theirs.encode(
                texts[:sentences], batch_size=64, convert_to_tensor=True, show_progress_bar=False
            )

        others.append(
            Counterpart(
                "sentence-transformers",
                public,
                lambda: largest_difference(normalize(ours(), dim=1), normalize(public(), dim=1)),
            )
        )
    yield Case(
        f"MiniLM, {sentences} sentences of mixed lengths",
        ours,
        sentences,
        "sentences",
        others,
        {"sentences": lambda: ours(4 * sentences)},
    )


@row
def efficientnet(pictures: int = 16) -> Iterator[Case]:
    """Pictures of 96 x 96 to vectors by the real EfficientNet-Lite0, the mean over places, features
    not taken from the disk.

    The counterpart is timm's own network with the same weights and its own pooling, all pictures
    in one batch.
    """
    import torch

    from course_utils.image_encoder import load_image_encoder

    try:
        encoder = load_image_encoder("efficientnet-lite0", cache=False)
    except OSError:  # no weights here
        return
    theirs = copy.deepcopy(encoder.body)
    theirs.reset_classifier(0, "avg")
    batch = torch.rand(4 * pictures, 3, 96, 96, generator=torch.Generator().manual_seed(0))

    def plain():
        with torch.no_grad():
            return theirs(batch[:pictures])

    def ours(count: int = pictures):
        return encoder(batch[:count], "mean")[0]

    yield Case(
        f"EfficientNet-Lite0, {pictures} pictures",
        ours,
        pictures,
        "pictures",
        [Counterpart("timm", plain, lambda: largest_difference(ours(), plain()))],
        {"pictures": lambda: ours(4 * pictures)},
    )


@row
def scenes(count: int = 256) -> Iterator[Case]:
    """The pictures of `Scenes` drawn from their objects (a whole item, with caption and
    question, takes about five times as long).

    The counterpart draws the same boxes with `PIL.ImageDraw`. At the rims of circles and
    triangles it chooses a pixel differently here and there: the difference given is the mean
    over all pixels.
    """
    import numpy as np
    import torch
    from PIL import Image, ImageDraw

    from course_utils.datasets import Scenes
    from course_utils.datasets.scenes import COLOURS, DARK, SIDE

    data = Scenes("train", size=4 * count)
    things = [data[i]["objects"] for i in range(4 * count)]

    def ours(number: int = count):
        return [data._paint(objects, i) for i, objects in enumerate(things[:number])]

    def pillow(objects: list):
        picture = Image.new("RGB", (SIDE, SIDE), (DARK,) * 3)
        draw = ImageDraw.Draw(picture)
        for thing in objects:
            left, top, right, bottom = thing.box
            side, color, box = (
                right - left,
                COLOURS[thing.colour],
                (left, top, right - 1, bottom - 1),
            )
            arm = (side - 1) // 3
            if thing.shape == "circle":
                draw.ellipse(box, fill=color)
            elif thing.shape == "triangle":
                draw.polygon(
                    [((left + right - 1) / 2, top), (left, bottom - 1), (right - 1, bottom - 1)],
                    fill=color,
                )
            elif thing.shape == "cross":
                draw.rectangle((left + arm, top, right - 1 - arm, bottom - 1), fill=color)
                draw.rectangle((left, top + arm, right - 1, bottom - 1 - arm), fill=color)
            else:
                draw.rectangle(box, fill=color)
        return torch.from_numpy(np.asarray(picture) / np.float32(255)).permute(2, 0, 1)

    def public():
        return [pillow(objects) for objects in things[:count]]

    def difference() -> float:
        return (torch.stack(ours()) - torch.stack(public())).abs().mean().item()

    yield Case(
        f"pictures of {count} scenes",
        ours,
        count,
        "pictures",
        [Counterpart("PIL.ImageDraw", public, difference, 0.02)],
        {"pictures": lambda: ours(4 * count)},
    )


@row
def cnn(batch: int = 64) -> Iterator[Case]:
    """`SmallCNN`, forward and backward to its weights, on pictures of 64 x 64.

    The counterpart is the same layers in an `nn.Sequential` with `AdaptiveAvgPool2d`; ours also
    checks its input and hands out the places with a mask before the mean.
    """
    import torch
    from torch import nn

    from course_utils.image import SmallCNN
    from course_utils.masks import masked_mean

    torch.manual_seed(0)
    ours = SmallCNN(3, 32)
    plain = nn.Sequential(copy.deepcopy(ours.blocks), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pictures = torch.rand(4 * batch, 3, 64, 64)

    def step(network: nn.Module, forward: Callable, count: int = batch) -> Call:
        def run() -> list:
            output = forward(pictures[:count])
            return [
                output.detach(),
                *torch.autograd.grad(output.square().sum(), list(network.parameters())),
            ]

        return run

    own, lean = (lambda x: masked_mean(*ours(x))), plain
    yield Case(
        f"SmallCNN, {batch} pictures",
        step(ours, own),
        batch,
        "pictures",
        [
            Counterpart(
                "nn.Sequential",
                step(plain, lean),
                lambda: largest_difference(step(ours, own)(), step(plain, lean)()),
                1e-2,
            )
        ],
        {"pictures": step(ours, own, 4 * batch)},
    )


# widths D_m and C
SIZES = (((78, 256, 256), 10), ((512, 512, 512), 128), ((2048, 2048, 2048), 512))


@row
def concat(sizes=SIZES, rows: int = 128) -> Iterator[Case]:
    """`ConcatFusion`, forward and backward, in a batch of 128, to parameters and features (as
    behind encoders).

    The counterpart is the leanest code for the same formula: `torch.where` on the rows that the
    mask names, if there is one, `torch.cat`, one `nn.Linear` with the same weights. Ours also
    checks names, shapes, types and devices on each call and brings the mask to one form, which
    takes the same few tens of microseconds at each size. The target is at most 1.1 times at the
    largest.
    """
    import torch

    from course_utils.fusion import ConcatFusion

    yield from fusion_cases(
        ConcatFusion,
        "torch.cat + nn.Linear",
        lambda twin, inputs, mask: twin.head(torch.cat(inputs, 1)),
        sizes,
        rows,
    )


def fusion_cases(
    strategy: type, name: str, formula: Callable, sizes=SIZES, rows: int = 128
) -> Iterator[Case]:
    """A fusion strategy against its formula in plain PyTorch, at each size, without a mask and
    with one.
    """
    for dims, output_dim in sizes:
        for masked in (False, True):
            yield fusion_case(strategy, name, formula, dims, output_dim, masked, rows)


def fusion_case(
    strategy: type,
    name: str,
    formula: Callable,
    dims: tuple[int, ...],
    output_dim: int,
    masked: bool,
    rows: int,
    *,
    tokens: int | None = None,
    grow: str = "rows",
    **options,
) -> Case:
    """`formula(twin, inputs, mask)` gets a copy of the strategy, for its parameters, the
    features as a list, zero where they are missing, and the mask as a list of (B,) bool, or None;
    it gives (B, C). With `tokens` T each of the features is (B, T, D_m), and the mask a list of
    (B, T).
    `grow`: four times as many "rows", or "tokens".
    """
    import torch

    torch.manual_seed(0)
    ours = strategy(dict(zip(("text", "image", "audio"), dims)), output_dim, **options)
    twin = copy.deepcopy(ours)
    small = (rows,) if tokens is None else (rows, tokens)
    large = tuple(4 * n if what == grow else n for what, n in zip(("rows", "tokens"), small))
    features = [torch.randn(*large, dim) for dim in dims]
    present = torch.rand(*large, len(dims)) > 0.3
    if tokens is not None:
        present &= torch.rand(large[0], 1, len(dims)) > 0.3  # whole modalities are missing too
    present[0] = False  # one row has nothing
    if masked:
        features = [
            torch.where(kept[..., None], x, torch.nan)
            for kept, x in zip(present.unbind(-1), features)
        ]
    towards = torch.randn(large[0], output_dim)  # the gradient that comes from above

    def own(inputs: list, mask):
        named = None if mask is None else dict(zip(ours.names, mask))
        return ours(dict(zip(ours.names, inputs)), mask=named)

    def plain(inputs: list, mask):
        if mask is not None:
            inputs = [torch.where(kept[..., None], x, 0) for kept, x in zip(mask, inputs)]
        return formula(twin, inputs, mask)

    def step(forward: Callable, module: torch.nn.Module, size: tuple[int, ...] = small) -> Call:
        part = tuple(map(slice, size))
        inputs = [x[part].clone().requires_grad_() for x in features]
        mask, gradient = None, towards[: size[0]]
        if masked:
            mask = [kept.contiguous() for kept in present[part].unbind(-1)]
        leaves = [*inputs, *module.parameters()]

        def run() -> list:
            for leaf in leaves:
                leaf.grad = None
            output = forward(inputs, mask)
            output.backward(gradient)
            return [output.detach(), *(leaf.grad for leaf in leaves)]

        return run

    work = (
        f"{strategy.__name__}, {' + '.join(map(str, dims))} to {output_dim},"
        f" {'with' if masked else 'no'} mask"
    )
    if tokens is not None:
        work += f", {tokens} tokens each, width {ours.dims[0]}"
    if grow == "tokens":
        costs = [ours.multiply_adds(dict.fromkeys(ours.names, n)) for n in (tokens, 4 * tokens)]
        grow = f"tokens, multiply-adds {costs[1] / costs[0]:.2f}, time"
    ours_step, plain_step = step(own, ours), step(plain, twin)
    other = Counterpart(
        name,
        plain_step,
        lambda: largest_difference(ours_step(), plain_step()),
        # norms over tokens that start near 0: gradients of hundreds
        1e-4 if tokens is None else 1e-3,
    )
    return Case(work, ours_step, rows, "rows", [other], {grow: step(own, ours, large)})


@row
def vectors(sizes=SIZES, rows: int = 128) -> Iterator[Case]:
    """The other strategies on vectors, as **concat**, always with a mask, with their own default
    widths and ranks.

    The counterpart is the formula of the class's docstring written out in plain PyTorch with the
    same weights. What is missing is NaN here, so both sides set it to zero before the
    projection, if there is one, and again after it, because of its bias (code that trusts it to
    be finite can leave out the first). The target is at most 1.1 times at the largest.
    """
    from bench_formulas import vector_formulas

    yield from formula_cases(
        vector_formulas(), [(dims, output_dim, rows, {}) for dims, output_dim in sizes]
    )


@row
def attention(
    sizes=SIZES, lengths=(16, 32, 64), widths=(32, 64, 128), rows: int = 8
) -> Iterator[Case]:
    """The strategies that look at tokens, forward and backward, in a batch of 8, with a mask of
    tokens.

    The counterpart is the formula of the class's docstring written out with
    `scaled_dot_product_attention`, the queries', keys' and values' maps of a block as one
    product, with the same weights. As in **vectors** both sides set to zero what is missing, and
    the target is at most 1.1 times at the largest.
    """
    from bench_formulas import token_formulas

    yield from formula_cases(
        token_formulas(),
        [
            (*size, rows, {"tokens": length, "width": width})
            for size, length, width in zip(sizes, lengths, widths, strict=True)
        ],
    )


def formula_cases(formulas: dict[str, tuple[str, Callable]], sizes: list[tuple]) -> Iterator[Case]:
    """Each strategy against its formula, at each size: widths, C, rows, options."""
    from course_utils.fusion import STRATEGIES

    for key, (name, formula) in formulas.items():
        for dims, output_dim, rows, options in sizes:
            yield replace(
                fusion_case(
                    STRATEGIES[key], name, formula, dims, output_dim, True, rows, **options
                ),
                share=0.5,
            )


@row
def tokens(lengths=(64, 128), rows: int = 4, width: int = 64) -> Iterator[Case]:
    """How attention over two modalities grows with their number of tokens: forward and backward,
    a batch of 4.

    Growth is our time for four times as many tokens divided by our time, beside the same factor
    of the multiply-adds by formula (`describe`), which count the products of the forward pass
    alone. One joint sequence grows with the square of all tokens together; with bottlenecks each
    modality grows with the square of its own. Counterparts as in **attention**.
    """
    from bench_formulas import token_formulas

    formulas = token_formulas()
    for name in ("joint_transformer", "cross_attention", "bottleneck"):
        yield from formula_cases(
            {name: formulas[name]},
            [
                ((width, width), 10, rows, {"tokens": length, "grow": "tokens", "width": None})
                for length in lengths
            ],
        )


@row
def memory(
    widths=(8, 16, 32, 64), rows: int = 16, classes: int = 10, rank: int = 4
) -> Iterator[Case]:
    """`TensorFusion` and `LowRankTensorFusion` as the width D of three modalities grows: forward
    and backward, with a mask.

    Both compute one and the same function: the tensor's weights are multiplied out from the
    factors of low rank. By formula the tensor has C (D + 1)^3 + C parameters and its products
    are (D + 1)^3 + (D + 1)^2 numbers a row; the factors have 3 R C (D + 1) + C, and their
    products 5 R C numbers a row. "Kept" is what autograd held after a forward pass, features and
    parameters not counted, but copies of the features are; it is counted, not timed.
    """
    import torch

    from course_utils.fusion import LowRankTensorFusion, TensorFusion

    for width in widths:
        torch.manual_seed(0)
        dims = dict.fromkeys(("text", "image", "audio"), width)
        factors, full = (
            LowRankTensorFusion(dims, classes, rank=rank),
            TensorFusion(dims, classes, width=None),
        )
        maps = [
            torch.cat([f.weight, f.bias[:, None]], 1).view(rank, classes, -1)
            for f in factors.factors.values()
        ]
        with torch.no_grad():
            full.head.weight.copy_(torch.einsum("rci,rcj,rck->cijk", *maps).flatten(1))
            full.head.bias.copy_(factors.bias)
        features = {name: torch.randn(4 * rows, width) for name in dims}
        mask = {name: torch.rand(4 * rows) > 0.3 for name in dims}
        towards = torch.randn(4 * rows, classes)

        def step(
            fusion, count: int = rows, features=features, mask=mask, towards=towards
        ) -> tuple[Call, str]:
            """A call, and how much memory it is about."""
            inputs = {name: x[:count].clone().requires_grad_() for name, x in features.items()}
            part = {name: kept[:count] for name, kept in mask.items()}
            leaves, gradient = [*inputs.values(), *fusion.parameters()], towards[:count]

            def run() -> list:
                for leaf in leaves:
                    leaf.grad = None
                output = fusion(inputs, mask=part)
                output.backward(gradient)
                # the parameters are not the same
                return [output.detach(), *(x.grad for x in inputs.values())]

            parameters, kept = (
                sum(x.numel() for x in fusion.parameters()),
                kept_bytes(lambda: fusion(inputs, mask=part), leaves),
            )
            return run, f"{parameters:,} parameters, {kept / 1e3:,.0f} kB kept"

        (ours, size), (theirs, lean) = step(full), step(factors)
        other = Counterpart(
            f"LowRankTensorFusion, rank {rank}: {lean}",
            theirs,
            lambda ours=ours, theirs=theirs: largest_difference(ours(), theirs()),
        )
        yield Case(
            f"TensorFusion, 3 x {width} to {classes}: {size}",
            ours,
            rows,
            "rows",
            [other],
            {"rows": step(full, 4 * rows)[0]},
            share=0.5,
        )


@row
def losses(batch: int = 128, width: int = 128) -> Iterator[Case]:
    """Losses of alignment, forward and backward to both sides, each (batch, width).

    Ours check shapes and types on each call, take several positives a row, and leave the diagonal
    out of what is mined; the counterparts know the diagonal only. All compare each row with each,
    so that time grows with the batch's square once the matrix is what costs.
    """
    import torch
    from bench_formulas import loss_formulas

    torch.manual_seed(0)
    sides = [torch.randn(4 * batch, width) for _ in range(2)]

    def step(loss: Callable, count: int = batch) -> Call:
        leaves = [side[:count].clone().requires_grad_() for side in sides]

        def run() -> list:
            for leaf in leaves:
                leaf.grad = None
            value = loss(*leaves)
            value.backward()
            return [*(leaf.grad for leaf in leaves), value.detach()]

        return run

    for name, (own, plain) in loss_formulas().items():
        work, other = name.split("; ")
        ours, theirs = step(own), step(plain)
        yield Case(
            f"{work}, a batch of {batch}, width {width}",
            ours,
            batch,
            "pairs",
            [
                Counterpart(
                    other,
                    theirs,
                    lambda ours=ours, theirs=theirs: largest_difference(ours(), theirs()),
                )
            ],
            {"pairs": step(own, 4 * batch)},
        )


@row
def search(queries: int = 64, gallery: int = 1_636, width: int = 384) -> Iterator[Case]:
    """Search as the gallery grows: the ten nearest by `cosines`, and `retrieval_ranks` of what
    should have been found.

    Nothing is indexed: each query is compared with all of the gallery, so that time grows with it.
    The ranks' counterpart sorts each list, which ours need not.
    """
    import torch
    from bench_formulas import ranks_by_sorting

    from course_utils.losses import cosines
    from course_utils.metrics import retrieval_ranks

    torch.manual_seed(0)
    asked, found = torch.randn(queries, width), torch.randn(4 * gallery, width)
    scores = cosines(asked, found)  # (Q, 4 N)
    relevant = torch.rand(queries, 4 * gallery) < 2 / gallery
    relevant[:, 0] = True
    places = min(10, gallery)

    def nearest(count: int = gallery) -> list:
        return list(cosines(asked, found[:count]).topk(places, dim=1))

    others = []
    if package := optional("sentence_transformers.util"):

        def public() -> list:
            hits = package.semantic_search(asked, found[:gallery], top_k=places)
            kinds = (("score", torch.float32), ("corpus_id", torch.int64))
            return [
                torch.tensor([[hit[key] for hit in row] for row in hits], dtype=kind)
                for key, kind in kinds
            ]

        others.append(
            Counterpart(
                "sentence_transformers.util.semantic_search",
                public,
                lambda: largest_difference(nearest(), public()),
            )
        )
    yield Case(
        f"cosines and topk, {queries} queries, {gallery:,} items",
        nearest,
        queries,
        "queries",
        others,
        {"gallery": lambda: nearest(4 * gallery)},
    )

    def ranks(count: int = gallery):
        return retrieval_ranks(scores[:, :count], relevant[:, :count])

    def sorted_ranks():
        return ranks_by_sorting(scores[:, :gallery], relevant[:, :gallery])

    yield Case(
        f"retrieval_ranks, {queries} queries, {gallery:,} items",
        ranks,
        queries,
        "queries",
        [
            Counterpart(
                "argsort and argmax",
                sorted_ranks,
                lambda: largest_difference(ranks(), sorted_ranks()),
            )
        ],
        {"gallery": lambda: ranks(4 * gallery)},
    )


def kept_bytes(forward: Call, known: list) -> int:
    """The memory that autograd holds for the backward pass after `forward`, without that of the
    tensors in `known`.
    """
    import torch

    held = {}

    def pack(x):
        held[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        # keeps the graph, so that no storage is freed and its place used again
        output = forward()  # noqa: F841
    own = {x.untyped_storage().data_ptr() for x in known}
    return sum(storage.nbytes() for place, storage in held.items() if place not in own)


# ---- pages
# ----------------------------------------------------------------------------------------


def measure_pages(limit: float, folder: Path = run_notebooks.NOTEBOOKS) -> list[run_notebooks.Run]:
    """Every page run as `make run` does it, each in a new kernel; none is begun after `limit`
    seconds.
    """
    runs, start = [], time.monotonic()
    backend, home = os.environ.pop("MPLBACKEND", None), os.environ.get("COURSE_HOME")
    try:
        for path in run_notebooks.chosen(folder, []):
            if time.monotonic() - start >= limit:
                runs.append(
                    run_notebooks.Run(
                        path.stem, 0.0, None, "not run: out of time; `make run` runs every page"
                    )
                )
                continue
            # Linux counts in a new process's peak what its parent held, so the kernel gets a parent
            # that holds little.
            with (
                tempfile.TemporaryDirectory(prefix="course-home-") as own,
                ProcessPoolExecutor(1, get_context("spawn")) as pool,
            ):
                os.environ["COURSE_HOME"] = own
                runs.append(pool.submit(run_notebooks.run_notebook, path, 300).result())
    finally:
        for name, value in (("MPLBACKEND", backend), ("COURSE_HOME", home)):
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    return runs


# ---- the table
# ------------------------------------------------------------------------------------

HEADER = [
    "row",
    "work of one call",
    "ours",
    "a second",
    "counterpart",
    "its time",
    "ours / its time",
    "results differ by at most",
    "growth, n to 4n",
]


def duration(seconds: float) -> str:
    """Three digits and a unit: 0.0123 -> "12.3 ms"."""
    seconds = float(f"{seconds:.3g}")
    unit, scale = next(
        (pair for pair in (("s", 1), ("ms", 1e-3)) if seconds >= pair[1]), ("us", 1e-6)
    )
    return f"{seconds / scale:#.3g}".rstrip(".") + f" {unit}"


def spread(values: tuple[float, float, float]) -> str:
    return "{:.2f} ({:.2f} to {:.2f})".format(*values)


def measure(name: str, case: Case, **options) -> tuple[list[list[str]], list[str]]:
    """The lines of the table for one case, one a counterpart, and what went wrong."""
    problems, differences = [], {}
    for other in case.counterparts:
        if other.call:
            differences[other.name] = other.difference()
            if not differences[other.name] <= other.tolerance:  # not ">", because of NaN
                problems.append(
                    f"{case.work}: {other.name} gives other results, by"
                    f" {differences[other.name]:.1e}"
                )
    tasks = {"ours": case.ours} | {
        f"its {other.name}": other.call for other in case.counterparts if other.call
    }
    rounds = interleave(
        tasks | {f"larger {what}": call for what, call in case.larger.items()}, **options
    )
    typical = statistics.median(rounds["ours"])
    growth = "; ".join(
        f"{what}: {spread(ratio(rounds[f'larger {what}'], rounds['ours']))}" for what in case.larger
    )
    first = [name, case.work, duration(typical), f"{case.items / typical:,.0f} {case.unit}"]
    lines = []
    for other in case.counterparts or [Counterpart("no public counterpart")]:
        if other.call:
            theirs = rounds[f"its {other.name}"]
            apart = differences[other.name]
            cells = [
                duration(statistics.median(theirs)),
                spread(ratio(rounds["ours"], theirs)),
                f"{apart:.0e}" if apart else "0",
            ]
        else:
            cells = ["not installed" if case.counterparts else "-", "-", "-"]
        lines.append([*first, other.name, *cells, growth])
        first, growth = [name, "", "", ""], ""
    return lines, problems


def markdown(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines]
    )


def pages_table(runs: list[run_notebooks.Run]) -> str:
    lines = []
    for run in runs:
        over = [f"over {PAGE_SECONDS} s"] * (run.seconds > PAGE_SECONDS) + [
            f"over {PAGE_MB} MB"
        ] * ((run.peak_mb or 0) > PAGE_MB)
        ran = run.peak_mb is not None
        lines.append(
            [
                run.name,
                f"{run.seconds:.1f}" if ran else "-",
                f"{run.peak_mb:.0f}" if ran else "-",
                run.problem or ", ".join(over) or "within",
            ]
        )
    return markdown(
        ["page", "seconds", "peak MB", f"budget: {PAGE_SECONDS} s, {PAGE_MB} MB"], lines
    )


def versions() -> str:
    def one(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} not installed"

    return ", ".join([f"Python {platform.python_version()}", *map(one, PACKAGES)])


def load() -> str:
    """How busy the machine is: jobs that ran or waited in the last minute, where the system
    counts them.
    """
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def document(
    names: list[str],
    lines: list[list[str]],
    runs: list[run_notebooks.Run] | None,
    loads: tuple[str, str],
) -> str:
    """The whole page in Markdown."""
    parts = [
        f"# How fast the course's code is\n\nMade by `make bench` on {date.today()}, on"
        f" {os.cpu_count()} processors, one thread; jobs running or waiting on the machine:"
        f" {loads[0]} at the start, {loads[1]} at the end.\n{versions()}.\n\nEach line compares two"
        " things that took turns in one run. Times are processor time of one call, the median of"
        " the rounds; a ratio is the median of the rounds' ratios, with the quartiles in brackets,"
        " and below 1 ours is the quicker. Results are compared before the clock starts. Growth is"
        " our time for four times as much, divided by our time: 4 means that time grows with the"
        " amount; it is less where a part of each call costs the same for any amount."
    ]
    if lines:
        parts.append(markdown(HEADER, lines))
    parts += [f"**{name}.** {cleandoc(ROWS[name].__doc__)}" for name in names if name in ROWS]
    if runs is not None:
        parts.append(
            "**pages.** Each page executed in a kernel of its own, as by `make run`: seconds on the"
            " wall, and the most memory that the kernel held."
        )
        parts.append(pages_table(runs))
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Compare the course's speed with public code that does the same work."
    )
    known = [*ROWS, "pages"]
    parser.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"of {', '.join(known)} (default: all, written to {FILE.name})",
    )
    parser.add_argument(
        "--pages-limit",
        type=float,
        metavar="SECONDS",
        default=None,
        help=(
            "begin no page after this long (default: 150 with all rows, no limit for rows that are"
            " named)"
        ),
    )
    parser.add_argument(
        "--seconds", type=float, default=4, help="how long a case is timed (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    for name in options.rows:
        if name not in known:
            parser.error(f"there is no row {name!r}; there are: {', '.join(known)}")
    names = [name for name in known if not options.rows or name in options.rows]
    limit = (
        options.pages_limit
        if options.pages_limit is not None
        else float("inf")
        if options.rows
        else 150
    )

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    before, runs, lines, problems = load(), None, [], []
    if "pages" in names:
        runs = measure_pages(limit)
        problems += [
            f"{run.name}: {run.problem}"
            for run in runs
            if run.problem and not run.problem.startswith("not run")
        ]
    if set(names) - {"pages"}:
        import torch

        torch.set_num_threads(1)
    for name in names:
        for case in tqdm(
            ROWS[name]() if name in ROWS else (), desc=name, unit="case", disable=name not in ROWS
        ):
            done, wrong = measure(name, case, seconds=options.seconds * case.share)
            lines, problems = lines + done, problems + wrong
    text = document(names, lines, runs, (before, load()))
    if options.rows:
        print(text)
    else:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(text, encoding="utf-8")
        print(text + f"\nThis is now {FILE.relative_to(ROOT)}.")
    for problem in problems:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped; nothing was written.")
