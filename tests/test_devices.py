"""What a helper makes stands where its input is, and what is no tensor or has another shape is
refused by name.

Each is called three times beside the plain call: with all inputs on `meta`, which knows shapes and
no values; on the CPU while new tensors go to `meta` unless their place is said, which finds a
forgotten `device=` on any machine; and on a GPU where there is one.
"""

import copy
import importlib
import inspect
import pkgutil

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

import course_utils
from course_utils import attribution, audio, audio_augment, gradients, losses, masks, sensors, video
from course_utils.datasets import SmartHome, collate
from course_utils.decoding import beam, greedy, sample
from course_utils.gradients.attention import PROJECTIONS
from course_utils.image import SmallCNN, check_images, pixel_features, places
from course_utils.language_model import reply_loss, with_soft_tokens
from course_utils.metrics import accuracy, equal_names, recall_at, retrieval_ranks
from course_utils.text import (
    Vocabulary,
    letter_features,
    nearest,
    negative_samples,
    skip_gram_pairs,
)
from course_utils.training import Batches, shuffle_modality, shuffle_splits

# what has tests of its own on every device, or is no helper; a report gets its vectors on the CPU
ELSEWHERE = ("exercises", "contracts", "fusion", "doctor", "doctor_machine", "widgets", "your_data")
VALUES = "must read values, which meta does not have"
ROWS = torch.tensor([[True, True, True], [True, False, False]])
X = torch.linspace(0.1, 0.9, 24, dtype=torch.float64).reshape(2, 3, 4)
FLAT = X[:, 0]  # (2, 4)
EIGHT = torch.linspace(-1, 1, 64, dtype=torch.float64).reshape(8, 8)
ONE = ROWS[:, 1]
SQUARE = torch.linspace(-1, 1, 16, dtype=torch.float64).reshape(4, 4)
WIDE = FLAT.float()
IDS = torch.tensor([[1, 2, 3], [4, 0, 0]])
SOUND = torch.linspace(-1, 1, 1200).sin().reshape(2, 600)
HEARD = torch.ones(2, 600, dtype=torch.bool)
# loud at all frequencies, since the logarithm of what is nearly silent is not the same twice
HISS = torch.arange(1200, dtype=torch.float64).square().sin().reshape(2, 600)
PICTURES = torch.linspace(0, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
TIMES, CLOCK = X[0, 0], X[0].flatten()
VOCABULARY = Vocabulary(["a cat and a dog", "a cow"])


def batches(x, label):
    data = {"x": x, "label": label}
    return [*Batches(data, 1), *Batches(data, 1, torch.Generator().manual_seed(0))]


def next_word(last, state):
    """Logits of five words, by far the largest for the one after the last."""
    return 90 * one_hot((last + 1) % 5, 5).float(), state


def run(network):
    """A call of a copy of the network where the inputs are."""

    def call(*inputs):
        places = [x.device for x in inputs if isinstance(x, Tensor)]
        return copy.deepcopy(network).to(places[0] if places else "cpu")(*inputs)

    return call


def pair(x):
    return {"text": x, "image": x}


def same(x):
    return x


def fused(name, *kinds):
    """A call of a gradient of fusion, of two modalities of which one misses a row: d_out, its
    arguments of these kinds, the mask.
    """

    def call(d_out, *given):
        arguments = [kind(x) for kind, x in zip(kinds, given)]
        backward = getattr(gradients, f"{name}_backward")
        return backward(d_out, *arguments, {"image": given[-1]})

    return call


def projections(weight, bias):
    names = [*PROJECTIONS, "null"]
    return {name: weight if name.endswith("weight") else bias for name in names}


def multiplied(inputs):
    return inputs["text"] * inputs["image"]


def scored(function, absent):
    """A call of a function that scores a product of two modalities."""

    def call(text, image):
        inputs = {"text": text, "image": image}
        found = function(multiplied, inputs, lambda x: x[0].sum().item(), absent)
        return torch.tensor(list(found.values()), device=text.device)

    return call


# {function: (a call of it, its inputs, why meta cannot stand in for them)}
CASES = {
    "attribution.ablation.ablation_scores": (
        scored(attribution.ablation_scores, "mean"),
        (FLAT, FLAT.flip(0)),
        VALUES,
    ),
    "attribution.sums.emap": (
        lambda text, image: attribution.emap(multiplied, {"text": text, "image": image}),
        (FLAT, FLAT.flip(0)),
        None,
    ),
    "attribution.scores.subset_scores": (
        scored(attribution.subset_scores, "permutation"),
        (FLAT, FLAT.flip(0)),
        VALUES,
    ),
    "audio.bands.band_features": (audio.band_features, (SOUND, HEARD), VALUES),
    "audio.sounds.check_sound": (audio.check_sound, (SOUND, HEARD), None),
    "audio.spectra.dct": (lambda x: audio.dct(x, 3), (X,), None),
    "audio.spectra.frames": (audio.frames, (HISS, HEARD), VALUES),
    "audio.sounds.lengths": (audio.lengths, (HEARD,), VALUES),
    "audio.spectra.log_mel": (audio.log_mel, (HISS, HEARD), VALUES),
    "audio.spectra.mfcc": (audio.mfcc, (HISS, HEARD), VALUES),
    "audio.spectra.mfcc_features": (audio.mfcc_features, (HISS, HEARD), VALUES),
    "audio.spectra.power_spectrogram": (audio.power_spectrogram, (HISS, HEARD), VALUES),
    "audio_augment.mix_at_snr": (
        lambda x, kept, noise: audio_augment.mix_at_snr(x, kept, noise, 3.0),
        (SOUND, HEARD, SOUND.flip(1).contiguous()),
        VALUES,
    ),
    "audio_augment.spec_augment": (
        lambda x, kept: audio_augment.spec_augment(x, kept, torch.Generator("cpu").manual_seed(0)),
        (X, ROWS),
        VALUES,
    ),
    "audio_augment.time_shift": (
        lambda x, kept: audio_augment.time_shift(x, kept, 9, torch.Generator("cpu").manual_seed(0)),
        (SOUND, HEARD),
        VALUES,
    ),
    "datasets.collation.collate": (
        lambda x: collate([{"s": x[0], "p": None, "y": 1}, {"s": None, "p": x, "y": 0}]),
        (PICTURES[0],),
        VALUES,
    ),
    "datasets.smart_home.SmartHome.alarm": (SmartHome().alarm, (CLOCK,), None),
    "datasets.smart_home.SmartHome.signal": (
        lambda times: SmartHome().signal("sound", times),
        (CLOCK,),
        None,
    ),
    "decoding.beam": (
        lambda start: beam(next_word, start, end=3, limit=4, width=2),
        (IDS,),
        VALUES,
    ),
    "decoding.greedy": (lambda start: greedy(next_word, start, end=3, limit=4), (IDS,), VALUES),
    "decoding.sample": (lambda start: sample(next_word, start, end=3, limit=4), (IDS,), VALUES),
    "gradients.alignment.cosine_backward": (
        gradients.cosine_backward,
        (FLAT[:, :2], FLAT, FLAT.flip(0)),
        None,
    ),
    "gradients.alignment.info_nce_backward": (
        gradients.info_nce_backward,
        (FLAT, FLAT.flip(0), FLAT[0, 0]),
        None,
    ),
    "gradients.alignment.sigmoid_loss_backward": (
        gradients.sigmoid_loss_backward,
        (FLAT, FLAT.flip(0), FLAT[0, 0], FLAT[0, 1]),
        None,
    ),
    "gradients.alignment.triplet_backward": (
        gradients.triplet_backward,
        (FLAT, FLAT.flip(0), ~torch.eye(2).bool(), ~torch.eye(2).bool()),
        None,
    ),
    "gradients.alignment.unit_length_backward": (
        gradients.unit_length_backward,
        (X, X - 0.5),
        None,
    ),
    "gradients.attention.attention_backward": (
        gradients.attention_backward,
        (X[:, :2], X[:, :2], X, X + 1, ROWS),
        None,
    ),
    "gradients.attention.cross_attention_backward": (
        lambda d, x, W, b, kept: gradients.cross_attention_backward(
            d, x, x, projections(W, b), 2, kept, kept
        ),
        (X, X - 0.5, SQUARE, FLAT[0], ROWS),
        None,
    ),
    "gradients.fusion.attention_pool_backward": (
        fused("attention_pool", pair, same, same, same),
        (FLAT, FLAT, SQUARE, FLAT[0], FLAT[1], ONE),
        None,
    ),
    "gradients.fusion.film_backward": (
        fused("film", pair, same, lambda x: "text"),
        (FLAT, FLAT, EIGHT[:, :4], FLAT, ONE),
        None,
    ),
    "gradients.fusion.gated_backward": (
        fused("gated", pair, pair, same, same),
        (FLAT, FLAT, FLAT, EIGHT, EIGHT[0], ONE),
        None,
    ),
    "gradients.fusion.late_backward": (fused("late", pair, pair), (FLAT, FLAT, SQUARE, ONE), None),
    "gradients.fusion.linear_fusion_backward": (
        fused("linear_fusion", pair, pair),
        (FLAT, FLAT, SQUARE, ONE),
        None,
    ),
    "gradients.fusion.low_rank_backward": (
        fused("low_rank", pair, pair),
        (FLAT, FLAT[:, :2], X.mT, ONE),
        None,
    ),
    "gradients.fusion.max_backward": (fused("max", pair), (FLAT, FLAT, ONE), None),
    "gradients.fusion.mean_backward": (fused("mean", pair), (FLAT, FLAT, ONE), None),
    "gradients.fusion.mixture_backward": (fused("mixture", pair), (FLAT, FLAT, ONE), None),
    "gradients.fusion.outer_backward": (
        fused("outer", pair),
        (EIGHT[:2].repeat(1, 2)[:, :9], FLAT[:, :2], ONE),
        None,
    ),
    "gradients.fusion.product_backward": (fused("product", pair), (FLAT, FLAT, ONE), None),
    "gradients.fusion.product_of_experts_backward": (
        fused("product_of_experts", pair),
        (FLAT, FLAT, ONE),
        None,
    ),
    "gradients.fusion.sum_backward": (fused("sum", pair), (FLAT, FLAT, ONE), None),
    "gradients.fusion.weighted_concat_backward": (
        fused("weighted_concat", pair, same),
        (EIGHT[:2], FLAT, FLAT[:, 0], ONE),
        None,
    ),
    "gradients.fusion.weighted_sum_backward": (
        fused("weighted_sum", pair, same),
        (FLAT, FLAT, FLAT[:, 0], ONE),
        None,
    ),
    "gradients.layers.activation_backward": (gradients.activation_backward, (X, X - 0.5), None),
    "gradients.outputs.binary_cross_entropy_backward": (
        gradients.binary_cross_entropy_backward,
        (FLAT, (FLAT > 0.3).double()),
        VALUES,
    ),
    "gradients.verify.central_differences": (
        lambda x: gradients.central_differences(lambda x: (x**2).sum(), x),
        (FLAT,),
        VALUES,
    ),
    "gradients.fusion.concat_backward": (
        lambda d: gradients.concat_backward(d, {"text": 1, "image": 3}),
        (FLAT,),
        None,
    ),
    "gradients.outputs.cross_entropy_backward": (
        lambda x, y: gradients.cross_entropy_backward(x, y, smoothing=0.1),
        (FLAT, torch.tensor([3, 0])),
        VALUES,
    ),
    "gradients.layers.embedding_backward": (
        lambda d, ids: gradients.embedding_backward(d, ids, 5, padding_idx=0),
        (X, IDS),
        VALUES,
    ),
    "gradients.layers.global_average_pool_backward": (
        lambda d: gradients.global_average_pool_backward(d, (2, 2)),
        (FLAT,),
        None,
    ),
    "gradients.layers.linear_backward": (gradients.linear_backward, (X[..., 0], FLAT, X[0]), None),
    "gradients.layers.masked_mean_backward": (gradients.masked_mean_backward, (FLAT, ROWS), None),
    "gradients.outputs.softmax_backward": (gradients.softmax_backward, (X, X), None),
    "gradients.outputs.softmax_jacobian": (gradients.softmax_jacobian, (FLAT[0],), None),
    "image.cnn.SmallCNN.forward": (run(SmallCNN(3, 8).eval()), (PICTURES,), None),
    "image.pixels.check_images": (lambda x: check_images(x, 3, 8), (PICTURES,), None),
    "image.pixels.pixel_features": (pixel_features, (PICTURES,), None),
    "image.pixels.places": (places, (PICTURES,), None),
    "language_model.reply_loss": (reply_loss, (X, IDS), VALUES),
    "language_model.with_soft_tokens": (
        lambda soft, inputs, kept: with_soft_tokens(soft, inputs, kept)[:2],
        (X, X, ROWS),
        None,
    ),
    "losses.InfoNCE.forward": (run(losses.InfoNCE()), (WIDE, WIDE.flip(0)), VALUES),
    "losses.SigmoidLoss.forward": (run(losses.SigmoidLoss()), (WIDE, WIDE.flip(0)), VALUES),
    "losses.info_nce": (lambda a, b: losses.info_nce(a, b, 5.0), (FLAT, FLAT.flip(0)), VALUES),
    "losses.paired_cosines": (losses.paired_cosines, (FLAT, FLAT.flip(0)), None),
    "losses.triplet_loss": (
        lambda a, b: losses.triplet_loss(
            a, b, miner="random", generator=torch.Generator("cpu").manual_seed(0)
        ),
        (FLAT, FLAT.flip(0)),
        VALUES,
    ),
    "masks.last_state": (masks.last_state, (X, ROWS), None),
    "masks.masked_mean": (masks.masked_mean, (X, ROWS), None),
    "masks.masked_softmax": (lambda x, m: masks.masked_softmax(x, m, -1), (X[..., 0], ROWS), None),
    "masks.pad": (lambda a, b: masks.pad([a, b], side="left"), (X[0], X[1, :2]), None),
    "metrics.scores.accuracy": (accuracy, (FLAT, torch.tensor([3, 0])), VALUES),
    "metrics.retrieval.cosines": (losses.cosines, (FLAT, FLAT.flip(0)), None),
    "metrics.texts.equal_names": (
        lambda a, b: equal_names(["sun", "moon"], ["a", "b"], vectors=a, other_vectors=b),
        (FLAT, FLAT.flip(0)),
        None,
    ),
    "metrics.retrieval.recall_at": (lambda ranks: recall_at(ranks, 1), (IDS[0],), VALUES),
    "metrics.retrieval.retrieval_ranks": (retrieval_ranks, (FLAT, FLAT > FLAT[:, 1:2]), VALUES),
    "sensors.age": (lambda t, c: sensors.age(t, c, arrived=t), (TIMES, CLOCK), VALUES),
    "sensors.check_stream": (sensors.check_stream, (TIMES, X[0].mT), VALUES),
    "sensors.resample": (
        lambda t, x, c: [
            *sensors.resample(t, x, c, arrived=t),
            *(part for how in sensors.WAYS for part in sensors.resample(t, x, c, how=how)),
        ],
        (TIMES, X[0].mT, CLOCK),
        VALUES,
    ),
    "text.words.Vocabulary.decode": (VOCABULARY.decode, (IDS,), VALUES),
    "text.words.Vocabulary.words": (VOCABULARY.words, (IDS[1],), VALUES),
    "text.letters.letter_features": (letter_features, (IDS, ROWS), VALUES),
    "text.vectors.nearest": (lambda x: nearest(x, 0, 2), (X[0],), None),
    "text.vectors.negative_samples": (
        lambda counts: negative_samples(counts, (3,)) * 0,
        (torch.tensor([0, 0, 3, 1]),),
        VALUES,
    ),
    "text.vectors.skip_gram_pairs": (lambda ids: skip_gram_pairs([ids], 1), (IDS[0] + 1,), VALUES),
    "training.batches.Batches.__init__": (batches, (X, IDS[:, 0]), None),
    "training.controls.shuffle_modality": (
        lambda x, kept: shuffle_modality(
            {"text": x, "mask": {"text": kept}}, "text", torch.tensor([1, 0], device="cpu")
        ),
        (X, ROWS),
        None,
    ),
    "training.controls.shuffle_splits": (
        lambda x: shuffle_splits({"all": {"x": x}}, "x", 0),
        (X,),
        None,
    ),
    "video.check_clips": (video.check_clips, (PICTURES, ROWS), None),
    "video.frame_differences": (video.frame_differences, (PICTURES, ROWS), None),
    "video.frame_features": (video.frame_features, (PICTURES, ROWS), VALUES),
    "video.sample_frames": (lambda x, m: video.sample_frames(x, m, 2), (PICTURES, ROWS), None),
    "video.trend": (video.trend, (X, ROWS), None),
}
# that take or give a tensor and are no case, with the reason
NO_CASE = {
    "audio_encoder.AudioEncoder.forward": "runs a network that is moved as a whole",
    "audio_encoder.DigitsCNN.forward": "is run by AudioEncoder",
    "audio_encoder.Wav2Vec2.forward": "is run by AudioEncoder",
    "features.asked_for_gradient": "asks, and computes nothing",
    "features.cached_vectors": "gives what is on disk, on the CPU",
    "features.write_vectors": "writes to the disk",
    "gradients.verify.compare": "compares values and gives numbers",
    "gradients.verify.verify_gradient": "makes its inputs itself",
    "image_encoder.frozen.ImageEncoder.classes": "runs a network that is moved as a whole",
    "image_encoder.frozen.ImageEncoder.forward": "runs a network that is moved as a whole",
    "language_model.LoRALinear.forward": "is plain layers, which are moved as a whole",
    "training.loop.Evaluation.__init__": "holds results of evaluate, on the CPU",
}


def takes_tensors() -> set[str]:
    """All public functions and methods of the package with a parameter that is said to be a
    Tensor.
    """
    found = set()
    for module in pkgutil.walk_packages(course_utils.__path__, "course_utils."):
        name = module.name.removeprefix("course_utils.")
        if name.split(".")[0] not in ELSEWHERE:
            found |= {f"{name}.{each}" for each in _of_module(module.name)}
    return found


def _of_module(name: str):
    for own, value in vars(importlib.import_module(name)).items():
        if own.startswith("_") or getattr(value, "__module__", None) != name:
            continue
        functions = {own: value}
        if inspect.isclass(value):
            functions = {f"{own}.{method}": f for method, f in vars(value).items()}
        for called, function in functions.items():
            private = called.split(".")[-1].startswith("_") and not called.endswith("__init__")
            if private or not inspect.isfunction(function):
                continue
            annotations = inspect.get_annotations(function)
            annotations.pop("return", None)
            if any("Tensor" in str(kind) for kind in annotations.values()):
                yield called


def tensors(value) -> list[Tensor]:
    """All tensors in nested dicts, lists and tuples; a number as a tensor of its own."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in tensors(part)]
    return [value] if isinstance(value, Tensor) else []


def test_every_function_that_takes_tensors_is_a_case():
    # list[dict] and dict[str, dict] do not say what they hold
    unsaid = {"datasets.collation.collate", "training.controls.shuffle_splits"}
    assert takes_tensors() == set(CASES) - unsaid | set(NO_CASE)


@pytest.mark.parametrize("name", CASES)
def test_results_stand_on_the_inputs_device(name):
    call, inputs, why = CASES[name]
    if why:
        pytest.skip(f"{name} {why}")
    expected = tensors(call(*inputs))
    got = tensors(call(*(x.to("meta") for x in inputs)))
    assert [(x.device.type, x.shape, x.dtype) for x in got] == [
        ("meta", x.shape, x.dtype) for x in expected
    ]


@pytest.mark.parametrize("name", CASES)
def test_no_tensor_is_made_where_the_default_device_says(name):
    call, inputs, _ = CASES[name]
    expected = tensors(call(*inputs))
    with torch.device("meta"):
        got = tensors(call(*inputs))
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_gradients_are_compared_where_they_are(capsys):
    with torch.device("meta"):
        gradients.compare({"x": X.exp()}, {"x": X.exp()})
        gradients.verify_gradient("00.1", lambda x: (x**3).sum(), lambda x: 3 * x**2, (2, 3))
    assert "DIFFERS" not in capsys.readouterr().out


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_gives_the_same(name):
    call, inputs, _ = CASES[name]
    expected = tensors(call(*inputs))
    got = tensors(call(*(x.cuda() for x in inputs)))
    assert len(got) == len(expected) and all(x.is_cuda for x in got)
    for a, b in zip(got, expected):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-4, atol=1e-5)


# whose inputs have any shape or may be lists, or which say so in tests of their own
NOT_STRICT = (
    "audio.spectra.dct",
    "gradients.",
    "masks.",
    "datasets.collation.collate",
    "text.vectors.skip_gram_pairs",
    "text.words.Vocabulary.decode",
    "text.words.Vocabulary.words",
    "training.controls.shuffle_modality",
    "training.controls.shuffle_splits",
)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(NOT_STRICT)])
@pytest.mark.parametrize(
    "wrong, error",
    [
        (lambda x: x.tolist(), TypeError),
        (lambda x: x.numpy(), TypeError),
        (lambda x: None, TypeError),
        (lambda x: x[None], (ValueError, TypeError)),
    ],
    ids=["list", "array", "None", "one axis more"],
)
def test_what_is_no_tensor_or_has_another_shape_is_refused_by_name(name, wrong, error):
    call, inputs, _ = CASES[name]
    for place, right in enumerate(inputs):
        changed = [*inputs[:place], wrong(right), *inputs[place + 1 :]]
        with pytest.raises(error, match=r"(\w+(\[.*\])?: |^)expected"):
            call(*changed)
