"""Words, ids, masks; word vectors against formulas by hand."""

import math

import pytest
import torch

from course_utils.datasets import Scenes
from course_utils.rooms import room
from course_utils.text import (
    BOS,
    EOS,
    PAD,
    UNKNOWN,
    Vocabulary,
    nearest,
    negative_samples,
    skip_gram_pairs,
    tokenize,
    words,
)

# ---- tokens ----


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
        kind = words._kind(chr(code).lower()[0])
        # no mark alone
        assert len(tokenize(f"a {chr(code)} b")) == (2 if kind in " mz" else 3), hex(code)


@pytest.mark.parametrize("wrong", [None, 3, b"cat", ["cat"]])
def test_tokenize_names_a_bad_input(wrong):
    with pytest.raises(TypeError, match=f"text: expected a string, got {type(wrong).__name__}"):
        tokenize(wrong)


# ---- vocabulary ----

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


# ---- sentences with a beginning and an end ----


CAPTIONS = ["A cat, a dog; and 3.50!", "is there a cat?", ""]


def test_marks_stand_before_the_words_and_change_no_other_count():
    with_marks, without = Vocabulary(CAPTIONS, marks=True), Vocabulary(CAPTIONS)
    assert with_marks.words(range(5)) == ["<pad>", "<unk>", "<bos>", "<eos>", "a"]
    assert without.words(range(3)) == ["<pad>", "<unk>", "a"]
    assert (PAD, UNKNOWN, BOS, EOS) == (0, 1, 2, 3) and len(with_marks) == len(without) + 2
    assert with_marks.counts.tolist() == [0, 0, 0, 0, *without.counts[2:].tolist()]
    assert torch.equal(
        with_marks.ids("a cat cow"), without.ids("a cat cow") + torch.tensor([2, 2, 0])
    )
    assert "<bos>" not in with_marks and "<eos>" not in with_marks and with_marks.marks
    few = Vocabulary(CAPTIONS, marks=True, most=1)
    assert few.counts.tolist() == [0, 11, 0, 0, 3] and len(few) == 5
    # a text cannot smuggle a mark in
    assert EOS not in with_marks.ids("<eos> <bos>").tolist()
    assert not negative_samples(with_marks.counts, (500,)).lt(4).any()


def test_encoded_sentences_have_both_marks_and_come_back():
    vocabulary = Vocabulary(CAPTIONS, marks=True)
    ids, mask = vocabulary.encode(["a cat", "", "is cow"])
    a, cat, is_ = vocabulary.ids("a cat is").tolist()
    assert ids.tolist() == [[2, a, cat, 3], [2, 3, 0, 0], [2, is_, 1, 3]]
    assert mask.sum(1).tolist() == [4, 2, 4] and torch.equal(mask, ids != PAD)
    assert vocabulary.decode(ids) == ["a cat", "", "is <unk>"]
    assert vocabulary.decode(vocabulary.encode(CAPTIONS)[0]) == [c.lower() for c in CAPTIONS]


def test_what_stands_after_the_end_is_not_read():
    vocabulary = Vocabulary(["a b"], marks=True)
    a, b = vocabulary.ids("a b").tolist()
    assert vocabulary.decode([[2, a, 3, b, 3], [a, 0, b, 0, 0], [3, a, a, a, a]]) == [
        "a",
        "a b",
        "",
    ]
    assert Vocabulary(["a b"]).decode([[2, 3, 0]]) == ["a b"]
    assert vocabulary.decode(torch.zeros(0, 3, dtype=torch.int64)) == []


@pytest.mark.parametrize("split", ["train", "novel"])
def test_captions_and_questions_of_scenes_come_back_as_they_were(split):
    scenes = Scenes(split, size=300)
    texts = [scenes[i][name] for i in range(len(scenes)) for name in ("caption", "question")]
    vocabulary = Vocabulary(texts, marks=True)
    assert vocabulary.decode(vocabulary.encode(texts)[0]) == texts


def test_a_vocabulary_without_marks_encodes_no_sentence():
    with pytest.raises(ValueError, match="no <bos> and <eos>: build it with marks=True"):
        Vocabulary(["a"]).encode(["a"])
    with pytest.raises(ValueError, match="ids: expected 0 to 4, got 2 to 5"):
        Vocabulary(["a"], marks=True).decode([[2, 5]])
    for wrong in (torch.tensor([2, 3]), 5, "ab"):
        with pytest.raises(TypeError, match=r"ids: expected \(B, T\) or a list of \(T,\), got"):
            Vocabulary(["a"], marks=True).decode(wrong)


# ---- word vectors ----


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


@pytest.mark.parametrize("wrong", [[0.3, 2.7], [[2, 3]], ["cat"], None, torch.tensor([0.3])])
def test_ids_that_are_no_row_of_whole_numbers_are_refused(wrong):
    """Cut to whole numbers, 2.7 would be the word 2."""
    with pytest.raises(TypeError, match=r"ids: expected \(T,\) whole numbers"):
        Vocabulary(["a cat"]).words(wrong)
    with pytest.raises(TypeError, match=r"sentences\[1\]: expected \(T,\) whole numbers"):
        skip_gram_pairs([[2, 3], wrong], 1)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_counts_below_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="counts: expected finite numbers of at least 0"):
        negative_samples(torch.tensor([0, 0, 3, wrong]), (2,))
