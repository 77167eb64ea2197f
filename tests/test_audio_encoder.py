"""The pretrained audio encoders: always frozen, whatever the padding, what is kept on disk, where
the weights come from.
"""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForPreTraining

from course_utils import audio_encoder, weights
from course_utils.audio_encoder import AUDIO_ENCODERS, AudioEncoder, load_audio_encoder
from course_utils.masks import masked_mean

LENGTHS = [3_000, 900, 0, 2_999, 900]
MASK = torch.arange(3_000) < torch.tensor(LENGTHS)[:, None]
SOUND = torch.randn(5, 3_000, generator=torch.Generator().manual_seed(0)).masked_fill(~MASK, 0) / 10


@pytest.fixture(params=AUDIO_ENCODERS)
def encoder(request):
    """Both networks; `sizes` are the batches that the network has seen."""
    torch.manual_seed(0)
    encoder = load_audio_encoder(request.param, random=True)
    encoder.batch_size, encoder.sizes = 2, []
    encoder.body.register_forward_hook(lambda body, args, out: encoder.sizes.append(len(args[0])))
    return encoder


def test_tokens_and_means_whatever_the_padding_and_the_batch(encoder):
    features, heard = encoder(SOUND, MASK)
    means, there = encoder(SOUND, MASK, "mean")
    step = {8_000: 320, 16_000: 320}[encoder.sample_rate]
    assert features.shape == (5, heard.shape[1], encoder.width) and features.dtype == torch.float32
    assert abs(heard.shape[1] - 3_000 / step) < 1.1 and not encoder.trained
    assert not features[~heard].any() and there.tolist() == [True, True, False, True, True]
    torch.testing.assert_close(means, masked_mean(features, heard), rtol=1e-4, atol=1e-5)
    assert max(encoder.sizes) == 2 and means[there].any(1).all()
    spoiled = SOUND.masked_fill(~MASK, math.nan)
    assert torch.equal(encoder(spoiled, MASK)[0], features)
    for i in (0, 1, 3):
        alone, _ = encoder(SOUND[i : i + 1, : LENGTHS[i]], MASK[i : i + 1, : LENGTHS[i]])
        torch.testing.assert_close(alone[0], features[i, heard[i]], rtol=1e-4, atol=1e-5)
    none, missing = encoder(SOUND[2:3], MASK[2:3], "mean")
    assert not none.any() and not missing.any()


def test_a_frozen_encoder_stays_as_it_is(encoder):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    assert not encoder.train().body.training
    first, again = encoder(SOUND, MASK)[0], encoder(SOUND, MASK)[0]
    assert torch.equal(first, again) and not first.requires_grad
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_a_gradient_that_is_asked_for_is_there_and_nothing_is_kept(encoder, tmp_path):
    expected, _ = encoder(SOUND, MASK, "mean")
    encoder.cache = tmp_path
    sound = SOUND.masked_fill(~MASK, math.nan).requires_grad_()
    means, _ = encoder(sound, MASK, "mean")
    torch.testing.assert_close(means, expected, rtol=1e-4, atol=1e-5)
    (slope,) = torch.autograd.grad(means.square().sum(), sound)
    assert slope.isfinite().all() and slope[MASK].any() and not slope[~MASK].any()
    for free in (True, False):
        encoder.body.requires_grad_(free)
        assert encoder(SOUND, MASK, "mean")[0].requires_grad == free
        assert any(tmp_path.iterdir()) != free


def test_a_sound_that_is_known_is_not_computed_again(encoder, tmp_path):
    encoder.cache = tmp_path
    first, _ = encoder(SOUND, MASK, "mean")
    assert encoder.sizes == [2, 2]
    # in another order, with more padding
    longer = [torch.nn.functional.pad(x, (0, 70)).flip(0) for x in (SOUND, MASK)]
    assert torch.equal(encoder(*longer, "mean")[0].flip(0), first) and encoder.sizes == [2, 2]
    changed = SOUND[:2].clone()
    changed[0, 2_999] += 1e-6
    encoder(changed, MASK[:2], "mean")
    encoder(SOUND[:1], MASK[3:4], "mean")  # the same numbers, one less
    assert encoder.sizes == [2, 2, 1, 1]
    weight = list(encoder.body.parameters())[-1]
    weight.data += 0.1
    assert not torch.allclose(encoder(SOUND, MASK, "mean")[0], first)
    assert encoder.sizes == [2, 2, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "sound, mask, pooling, error, words",
    [
        (
            SOUND,
            MASK,
            "cls",
            ValueError,
            r"pooling: expected one of \['tokens', 'mean'\], got 'cls'",
        ),
        (SOUND[:, :200], MASK[:, :200], "mean", ValueError, "sound 0 has 200 samples, expected"),
        (SOUND[:, :200], MASK[:, :200], "tokens", ValueError, "sound 0 has 200 samples, expected"),
        (SOUND * math.nan, MASK, "tokens", ValueError, "sound 0 holds NaN or infinity"),
        (SOUND, MASK.flip(1), "mean", ValueError, "mask: expected what is there first"),
        (SOUND.short(), MASK, "mean", TypeError, "divide int16 by 32768"),
        (SOUND[0], MASK[0], "mean", ValueError, r"sound: expected shape \(B, S\)"),
    ],
)
def test_what_is_refused(encoder, sound, mask, pooling, error, words):
    with pytest.raises(error, match=words):
        encoder(sound, mask, pooling)


def test_another_name_is_refused():
    with pytest.raises(ValueError, match=r"one of \['digits-cnn', 'wav2vec2'\], got 'whisper'"):
        load_audio_encoder("whisper")


# ---- the network for digits ----


def linear_probe(features, labels, more, answers):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1_000).fit(features.numpy(), labels)
    return (model.predict(more.numpy()) == np.array(answers)).mean()


def test_the_default_knows_digits_of_voices_that_it_has_not_heard(tmp_path, monkeypatch):
    from course_utils.datasets import Digits, collate

    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    encoder = load_audio_encoder()
    assert encoder.trained and encoder.cache == tmp_path / "features"
    data = {split: Digits(split, speech_snr=math.inf) for split in ("train", "test")}
    batches = {split: collate([x[i] for i in range(200)]) for split, x in data.items()}
    features, labels = {}, {split: batch["label"].tolist() for split, batch in batches.items()}
    untrained = {}
    torch.manual_seed(0)
    random = load_audio_encoder(random=True)
    for split, batch in batches.items():
        features[split] = encoder(batch["audio"], batch["mask"]["audio"], "mean")[0]
        untrained[split] = random(batch["audio"], batch["mask"]["audio"], "mean")[0]
    known, by_chance = (
        linear_probe(x["train"], labels["train"], x["test"], labels["test"])
        for x in (features, untrained)
    )
    assert known > 0.9 and known > by_chance + 0.1


@pytest.mark.parametrize("content", [b"", b"other weights"])
def test_an_altered_file_is_refused(content, tmp_path, monkeypatch):
    file = tmp_path / "digits_cnn.safetensors"
    file.write_bytes(content)
    monkeypatch.setattr(audio_encoder, "DIGITS_CNN", file)
    with pytest.raises(ValueError, match="not the file .* `git checkout data/audio_encoder`"):
        load_audio_encoder()


# ---- wav2vec 2.0 ----


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A tiny pretrained model as the hub keeps it, in a cache of the hub's; no network is asked."""
    import huggingface_hub

    torch.manual_seed(1)
    config = audio_encoder._wav2vec2(True, False).config
    model = Wav2Vec2ForPreTraining(config).eval()
    # as the file of 2021 names what torch has renamed since
    old = {"original0": "weight_g", "original1": "weight_v"}
    state = {
        name.replace("parametrizations.weight." + name.split(".")[-1], old[name.split(".")[-1]])
        if "parametrizations" in name
        else name: value
        for name, value in model.state_dict().items()
    }
    assert any(name.endswith("weight_g") for name in state)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    file = tmp_path / "pytorch_model.bin"
    file.write_bytes(buffer.getvalue())
    asked = []

    def download(*repository_and_file, **options):
        asked.append((*repository_and_file, options))
        return str(file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr("transformers.Wav2Vec2Config", lambda: config)
    return model, file, asked


def test_features_are_those_of_transformers(tiny, monkeypatch):
    import hashlib

    model, file, asked = tiny
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(audio_encoder, "WAV2VEC2_SHA256", digest)
    encoder = load_audio_encoder("wav2vec2", cache=False, download=False)
    revision = "0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8"
    options = {"revision": revision, "local_files_only": True}
    assert asked == [("facebook/wav2vec2-base", "pytorch_model.bin", options)]
    assert encoder.trained and encoder.sample_rate == 16_000 and encoder.weights == digest
    features, heard = encoder(SOUND, MASK)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    for i in (0, 1, 3):
        values = extractor(
            SOUND[i, : LENGTHS[i]].numpy(), sampling_rate=16_000, return_tensors="pt"
        )["input_values"]
        with torch.no_grad():
            theirs = model.wav2vec2(values).last_hidden_state
        torch.testing.assert_close(features[i, heard[i]], theirs[0], rtol=1e-4, atol=1e-5)


def test_an_altered_download_is_refused_and_not_loaded(tiny, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("used"))
    message = "is not the file that it should be: .* expected 3249fe98bfc6.* Delete it"
    with pytest.raises(ValueError, match=message):
        load_audio_encoder("wav2vec2")


@pytest.mark.parametrize("download", [True, False])
def test_without_a_network_it_says_what_to_do(download, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = 'weights of facebook/wav2vec2-base are not here .*380 MB.*"digits-cnn".*random=True'
    with pytest.raises(OSError, match=message):
        load_audio_encoder("wav2vec2", download=download)


def test_the_defaults_of_transformers_are_the_public_models_sizes():
    """Baevski et al. 2020, table of the base model: 12 blocks of 768, 95 million weights."""
    config = Wav2Vec2Config()
    with torch.device("meta"):
        model = Wav2Vec2ForPreTraining(config)
    # the file has 380,267,417 bytes, four for each number and a little for names
    numbers = sum(value.numel() for value in model.state_dict().values())
    assert (config.num_hidden_layers, config.hidden_size, config.feat_extract_norm) == (
        12,
        768,
        "group",
    )
    assert 0 < 380_267_417 - 4 * numbers < 200_000


def test_the_weights_are_named_once():
    assert Path(audio_encoder.DIGITS_CNN).stat().st_size < 400_000
    assert len(weights.DIGITS_CNN_SHA256) == len(weights.WAV2VEC2_SHA256) == 64
    assert isinstance(load_audio_encoder(cache=False), AudioEncoder)
