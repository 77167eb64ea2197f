"""The course's language model: its words, its loader and what that refuses; prompt and reply, soft
tokens, the loss on the reply alone; LoRA.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from course_utils import language_model
from course_utils.datasets import Scenes
from course_utils.language_model import (
    DESCRIBE,
    IGNORED,
    MARKS,
    SCENES_GPT,
    WORDS,
    LoRALinear,
    add_lora,
    load_language_model,
    prompt_and_reply,
    reply_loss,
    scenes_gpt,
    scenes_tokenizer,
    with_soft_tokens,
)
from course_utils.text import Vocabulary, tokenize

GENERATOR = torch.Generator().manual_seed(0)
PROMPTS, REPLIES = ["is there a circle?", "how many things are there?"], ["yes", "two"]


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


@pytest.fixture(scope="module")
def tokenizer():
    return scenes_tokenizer()


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return scenes_gpt().double().eval()


# ---- words ----


def test_the_words_are_all_that_scenes_say_and_have_the_ids_of_a_vocabulary(tokenizer):
    texts = [DESCRIBE]
    for split in ("train", "novel"):
        scenes = Scenes(split, size=70)
        for i in range(70):
            asked = [f"{question} {answer}" for question, answer, _ in scenes.questions(i)]
            texts += [scenes[i]["caption"], *asked]
    assert set(WORDS) == {word for text in texts for word in tokenize(text)}
    vocabulary = Vocabulary([" ".join(WORDS)], marks=True)
    assert vocabulary.words(list(range(len(vocabulary)))) == [*MARKS, *WORDS]
    for text in dict.fromkeys(texts):
        assert tokenizer(text)["input_ids"] == vocabulary.ids(text).tolist()
    ids, _ = vocabulary.encode(texts[:9])
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == vocabulary.decode(ids)
    assert tokenizer("A zebra")["input_ids"] == [len(MARKS) + WORDS.index("a"), 1]


# ---- the loader ----


def right_of(model, tokenizer, objects, size=60):
    """The share of attribute questions that are answered right from a true description."""
    scenes = Scenes("test", size=size, objects=(objects, objects), seed=5)
    prompts, answers = [], []
    for i in range(size):
        item = scenes[i]
        if item["kind"] in ("colour", "shape", "size", "count", "exists"):
            told = [f"a {thing.size} {thing.colour} {thing.shape}" for thing in item["objects"]]
            if len(set(told)) == len(told):
                told = " and ".join(filter(None, [", ".join(told[:-1]), told[-1]]))
                prompts.append(f"<bos>{told}<eos><bos>{item['question']}")
                answers.append(item["answer"])
    batch = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
    said = model.generate(**batch, max_new_tokens=3, do_sample=False)
    replies = said[:, batch["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(replies, skip_special_tokens=True)
    return sum(a == b for a, b in zip(texts, answers)) / len(answers)


def test_the_shipped_model_answers_from_a_true_description():
    model, tokenizer = load_language_model()
    assert not model.training and model.dtype == torch.float32
    assert right_of(model, tokenizer, 1) > 0.9 and right_of(model, tokenizer, 2) > 0.8


def test_the_shipped_file_is_small():
    assert SCENES_GPT.stat().st_size < 4_000_000


@pytest.mark.parametrize("content", [b"", b"other weights"])
def test_an_altered_file_is_refused(content, tmp_path, monkeypatch):
    file = tmp_path / "scenes_gpt.safetensors"
    file.write_bytes(content)
    monkeypatch.setattr(language_model, "SCENES_GPT", file)
    with pytest.raises(ValueError, match="not the file .* `git checkout data/language_model`"):
        load_language_model()


@pytest.mark.parametrize("name", ["gpt2", "", "a/b/c", "/b", None, 3])
def test_another_name_is_refused(name):
    with pytest.raises(ValueError, match='expected "scenes-gpt" or "owner/model" on the hub, got'):
        load_language_model(name)


def test_a_public_model_without_a_network_says_what_it_needs(monkeypatch):
    import huggingface_hub

    def offline(*args, **kwargs):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(OSError, match="model a/b is not here .* With a network .* always here"):
        load_language_model("a/b")


def test_a_public_model_comes_from_its_files(tmp_path, monkeypatch, tokenizer):
    import huggingface_hub

    model = scenes_gpt()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    asked = {}

    def download(name, allow_patterns):
        asked[name] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    loaded, words = load_language_model("somebody/small")
    assert list(asked) == ["somebody/small"] and not any(
        pattern.endswith((".bin", ".py", ".pt")) for pattern in asked["somebody/small"]
    )
    ids = torch.tensor([words("is there a circle?")["input_ids"]])
    assert not loaded.training and torch.equal(
        ids, torch.tensor([tokenizer(PROMPTS[0])["input_ids"]])
    )
    torch.testing.assert_close(loaded(ids).logits, model.eval()(ids).logits)


# ---- prompt and reply ----


def test_labels_are_the_reply_and_its_end_alone(tokenizer):
    ids, mask, labels = prompt_and_reply(tokenizer, PROMPTS, REPLIES)
    assert ids.shape == mask.shape == labels.shape == (2, 9) and ids.dtype == labels.dtype
    assert mask.sum(1).tolist() == [8, 9] and ids[0, 8] == 0
    kept = labels != IGNORED
    assert kept.nonzero().tolist() == [[0, 6], [0, 7], [1, 7], [1, 8]]
    assert torch.equal(labels[kept], ids[kept])
    assert [tokenizer.decode(row[row != IGNORED]) for row in labels] == ["yes <eos>", "two <eos>"]
    assert (ids[:, 0] == 2).all() and tokenizer.batch_decode(ids, skip_special_tokens=True) == [
        f"{prompt} {reply}" for prompt, reply in zip(PROMPTS, REPLIES)
    ]


def test_a_prompt_and_a_reply_without_a_word(tokenizer):
    ids, mask, labels = prompt_and_reply(tokenizer, ["", "what"], ["", "a circle"])
    assert ids[0].tolist() == [2, 3, 0, 0, 0] and labels[0].tolist() == [-100, 3] + 3 * [-100]
    assert mask.sum(1).tolist() == [2, 5]


def test_a_tokenizer_without_a_beginning_gets_none(tokenizer):
    other = copy.deepcopy(tokenizer)
    other.bos_token = None
    ids, _, labels = prompt_and_reply(other, PROMPTS[:1], REPLIES[:1])
    assert ids[0, 0] != 2 and (labels[0] != IGNORED).sum() == 2


@pytest.mark.parametrize(
    "prompts, replies, error, words",
    [
        ("is there?", ["yes"], TypeError, "for one text write"),
        (
            ["is there?"],
            ["yes", "no"],
            ValueError,
            "replies: expected 1, as many as prompts, got 2",
        ),
        ([], [], ValueError, "expected at least one string"),
        (["is there?"], [None], TypeError, r"replies\[0\]: expected a string"),
    ],
)
def test_prompts_that_are_refused(tokenizer, prompts, replies, error, words):
    with pytest.raises(error, match=words):
        prompt_and_reply(tokenizer, prompts, replies)


def test_soft_tokens_extend_mask_and_labels():
    soft, inputs = random(2, 3, 4), random(2, 5, 4)
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    labels = torch.arange(10).reshape(2, 5)
    longer, seen, aims = with_soft_tokens(soft, inputs, mask, labels)
    assert torch.equal(longer[:, :3], soft) and torch.equal(longer[:, 3:], inputs)
    assert seen.dtype == torch.bool and seen.sum(1).tolist() == [8, 5] and seen[:, :3].all()
    assert (aims[:, :3] == IGNORED).all() and torch.equal(aims[:, 3:], labels)
    assert with_soft_tokens(soft, inputs, mask)[2] is None


def test_soft_tokens_get_a_gradient_and_padding_does_not_matter(untrained, tokenizer):
    ids, mask, labels = prompt_and_reply(tokenizer, PROMPTS, REPLIES)
    soft = random(2, 3, 128).requires_grad_()
    table = untrained.get_input_embeddings()
    inputs, seen, aims = with_soft_tokens(soft, table(ids), mask, labels)
    logits = untrained(inputs_embeds=inputs, attention_mask=seen).logits
    reply_loss(logits, aims).backward()
    assert soft.grad.abs().sum((1, 2)).min() > 0
    alone = torch.cat([soft[:1], table(ids[:1, :8])], 1)
    torch.testing.assert_close(untrained(inputs_embeds=alone).logits, logits[:1, :11])


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("soft", torch.ones(2, 3, 5), r"soft: expected shape \(2, S, 4\), .* got \(2, 3, 5\)"),
        ("soft", torch.ones(1, 3, 4), r"soft: expected shape \(2, S, 4\), .* got \(1, 3, 4\)"),
        ("soft", torch.ones(2, 4), r"soft: expected shape \(B, T, D\), got \(2, 4\)"),
        ("soft", torch.ones(2, 3, 4).long(), "soft: expected floats"),
        ("inputs", torch.ones(2, 5).long(), "inputs: expected floats"),
        ("mask", torch.ones(2, 8).bool(), r"mask: expected shape \(2, 5\), .* got \(2, 8\)"),
        ("mask", None, "mask: expected a tensor, got NoneType"),
        ("labels", torch.ones(2, 8).long(), r"labels: expected shape \(2, 5\), .* got \(2, 8\)"),
    ],
)
def test_soft_tokens_that_do_not_fit(name, value, words):
    given = {
        "soft": torch.ones(2, 3, 4),
        "inputs": torch.ones(2, 5, 4),
        "mask": torch.ones(2, 5, dtype=torch.bool),
        "labels": torch.ones(2, 5, dtype=torch.long),
    }
    with pytest.raises((TypeError, ValueError), match=words):
        with_soft_tokens(**{**given, name: value})


def test_the_loss_is_shifted_once_and_counts_the_reply_alone(untrained):
    logits = random(2, 4, 7)
    labels = torch.tensor([[IGNORED, IGNORED, 5, 3], [IGNORED, 6, IGNORED, IGNORED]])
    by_hand = [-logits[b, t].log_softmax(0)[k] for b, t, k in ((0, 1, 5), (0, 2, 3), (1, 0, 6))]
    torch.testing.assert_close(reply_loss(logits, labels), sum(by_hand) / 3)
    ids = torch.tensor([[2, 5, 9, 3], [2, 7, 3, 0]])
    labels = torch.where(torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0]]).bool(), ids, IGNORED)
    said = untrained(ids, labels=labels)
    loss = reply_loss(said.logits, labels)
    torch.testing.assert_close(loss.float(), said.loss, rtol=1e-5, atol=0)


def test_what_stands_first_or_is_ignored_changes_no_loss():
    logits, labels = random(1, 4, 7), torch.tensor([[4, IGNORED, 2, 1]])
    expected = cross_entropy(logits[0, 1:3], labels[0, 2:])
    torch.testing.assert_close(reply_loss(logits, labels), expected)


@pytest.mark.parametrize(
    "logits, labels, words",
    [
        (torch.ones(1, 4, 7), torch.full((1, 4), IGNORED), "at least one after the first place"),
        (torch.ones(1, 4, 7), torch.ones(1, 3).long(), r"\(1, 4, 7\) and \(1, 3\)"),
        (torch.ones(4, 7), torch.ones(4).long(), r"\(4, 7\) and \(4,\)"),
        (torch.ones(1, 4, 7).long(), torch.ones(1, 4).long(), "logits: expected floats"),
    ],
)
def test_losses_that_are_refused(logits, labels, words):
    with pytest.raises((TypeError, ValueError), match=words):
        reply_loss(logits, labels)


# ---- LoRA ----


def test_lora_changes_nothing_at_first_and_then_by_its_formula():
    layer = nn.Linear(6, 4).double()
    lora, x = LoRALinear(layer, rank=2, alpha=6.0), random(3, 5, 6)
    assert lora.A.shape == (2, 6) and lora.B.shape == (4, 2) and lora.A.any() and not lora.B.any()
    assert torch.equal(lora(x), layer(x))
    lora.B.data = random(4, 2)
    product = lora.B @ lora.A  # (4, 6)
    expected = x @ (layer.weight + 3 * product).T + layer.bias
    torch.testing.assert_close(lora(x), expected)
    torch.testing.assert_close(lora.merged()(x), expected)
    assert type(lora.merged()) is nn.Linear and torch.equal(lora.inner.weight, layer.weight)


def test_lora_trains_a_and_b_alone():
    lora = LoRALinear(nn.Linear(6, 4), rank=2)
    lora(torch.ones(1, 6)).sum().backward()
    assert lora.inner.weight.grad is None and lora.B.grad.any() and not lora.A.grad.any()
    assert {name for name, w in lora.named_parameters() if w.requires_grad} == {"A", "B"}


def test_lora_in_a_model(untrained):
    model = copy.deepcopy(untrained)
    ids = torch.tensor([[2, 5, 9, 3]])
    trained = add_lora(model, ["q_proj", "v_proj"], rank=4, alpha=8.0)
    assert len(trained) == 2 * 2 * 3 and sum(w.numel() for w in trained) == 6 * 4 * 2 * 128
    free = [w for w in model.parameters() if w.requires_grad]
    assert {id(w) for w in free} == {id(w) for w in trained}
    assert torch.equal(model(ids).logits, untrained(ids).logits)
    layers = [m for m in model.modules() if isinstance(m, LoRALinear)]
    assert len(layers) == 6 and {layer.scale for layer in layers} == {2.0}
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for _ in range(2):
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, value in model.state_dict().items():
        moved = not torch.equal(value, before[name])
        assert moved == name.endswith((".A", ".B")), name


def test_lora_that_is_refused_changes_nothing(untrained):
    model = copy.deepcopy(untrained)
    with pytest.raises(ValueError, match=r"no layer named \['query'\]"):
        add_lora(model, ["q_proj", "query"])
    with pytest.raises(TypeError, match="expected nn.Linear, got Lfm2RMSNorm"):
        add_lora(model, ["q_proj", "ffn_norm"])
    with pytest.raises(ValueError, match="rank: expected a whole number of at least 1, got 0"):
        add_lora(model, ["q_proj"], rank=0)
    assert not any(isinstance(m, LoRALinear) for m in model.modules())
    add_lora(model, ["q_proj"])
    with pytest.raises(TypeError, match="expected nn.Linear, got LoRALinear"):
        add_lora(model, ["q_proj"])
