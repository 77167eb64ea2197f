"""Language models for texts and, after some work, for pictures: how they are loaded, LoRA, and a
loss on the reply alone.

    model, tokenizer = load_language_model("scenes-gpt")
    ids, mask, labels = prompt_and_reply(tokenizer, ["is there a circle?"], ["yes"])  # (1, T) each
    inputs = model.get_input_embeddings()(ids)                                       # (1, T, D)
    inputs, mask, labels = with_soft_tokens(soft, inputs, mask, labels)              # (1, S + T, D)
    loss = reply_loss(model(inputs_embeds=inputs, attention_mask=mask).logits, labels)

Model and tokenizer are those of transformers, so that what a lesson does with the course's small
model goes with a public one too.
"""

import copy
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from course_utils.checks import check_floats, check_tensor, check_whole, strings
from course_utils.masks import pad
from course_utils.runtime import DATA, reads
from course_utils.weights import SCENES_GPT_SHA256, verified

SCENES_GPT = DATA / "language_model" / "scenes_gpt.safetensors"
IGNORED = -100  # a label that no loss counts, as PyTorch and transformers have it
MARKS = ("<pad>", "<unk>", "<bos>", "<eos>")  # with the ids of `Vocabulary(marks=True)`
# every word of captions, questions and answers of `Scenes`, and what asks for a description
WORDS = """, ; ? a above and are as below blue circle circles colour cross crosses four green how in
is large left many more no of one picture pink red right shape size small square squares than the
there thing things three triangle triangles two what white yellow yes zero""".split()
DESCRIBE = "what is in the picture?"


def load_language_model(name: str = "scenes-gpt"):
    """A language model and its tokenizer, both of transformers: (model, tokenizer).

      "scenes-gpt"    the course's own, which knows texts about `Scenes` and nothing else, and has
                      seen no picture: data/language_model
      "owner/model"   a repository of the Hugging Face hub, from its cache or over the network;
                      only safetensors are read, and no code of it is run

    The model is in eval mode and float32. Its tokenizer pads on the right; generate from several
    prompts with `tokenizer(texts, padding=True, padding_side="left")`.

    Raises ValueError for another name or an altered file, and OSError where a model is not here
    and cannot be fetched, with what to do.
    """
    if name == "scenes-gpt":
        return _scenes_gpt()
    if not isinstance(name, str) or name.count("/") != 1 or not all(name.split("/")):
        raise ValueError(f'name: expected "scenes-gpt" or "owner/model" on the hub, got {name!r}')
    return _from_hub(name)


def scenes_gpt() -> nn.Module:
    """The network of "scenes-gpt" with random weights, by transformers' own class: a layer that
    mixes each word with the two before it, then three of attention.

    Source: Liquid AI's LFM2, which is built of these two kinds of layers.
    """
    from transformers import Lfm2Config, Lfm2ForCausalLM

    config = Lfm2Config(
        vocab_size=len(MARKS) + len(WORDS),
        hidden_size=128,
        intermediate_size=256,
        block_auto_adjust_ff_dim=False,
        layer_types=["conv", "full_attention", "full_attention", "full_attention"],
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        initializer_range=0.09,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    return Lfm2ForCausalLM(config)


def scenes_tokenizer():
    """The tokenizer of "scenes-gpt": words and marks as `Vocabulary` has them, in small letters.

    It adds no mark of its own.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {word: k for k, word in enumerate([*MARKS, *WORDS])}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    names = dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), MARKS))
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=True,
        **names,
    )


def _scenes_gpt():
    from safetensors.torch import load

    model = scenes_gpt()
    mend = "`git checkout data/language_model` brings it back."
    weights = load(verified(reads(SCENES_GPT), SCENES_GPT_SHA256, mend))
    model.model.load_state_dict(weights, strict=True)  # its last layer is its table of words
    return model.eval(), scenes_tokenizer()


def _from_hub(name: str):
    import huggingface_hub
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        wanted = ["*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer.model"]
        folder = Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise OSError(
            f"the language model {name} is not here and could not be fetched. With a network and"
            " without HF_HUB_OFFLINE, call this again: the Hugging Face hub must have it, as"
            f' safetensors. Without one, "scenes-gpt" is always here. ({error})'
        ) from error
    return model.eval(), tokenizer


# ---- prompt and reply ----


def prompt_and_reply(
    tokenizer, prompts: Iterable[str], replies: Iterable[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """B prompts, each with its reply, as one row each: `<bos>`, prompt, reply, `<eos>`.

    Gives ids (B, T) int64, mask (B, T) bool, True where there is a token, padded on the right, and
    labels (B, T) int64: the ids of the reply and of `<eos>`, and -100 at the prompt and at the
    padding. Labels are not shifted: `reply_loss` does that, and so does a model of transformers
    that is handed `labels`. A tokenizer without `<bos>` gets none.

    Raises TypeError or ValueError for what are no two lists of as many strings.
    """
    prompts, replies = strings(prompts, "prompts"), strings(replies, "replies")
    if len(prompts) != len(replies):
        raise ValueError(
            f"replies: expected {len(prompts)}, as many as prompts, got {len(replies)}"
        )
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids, labels = [], []
    for prompt, reply in zip(prompts, replies):
        given = begin + tokenizer(prompt, add_special_tokens=False)["input_ids"]
        said = tokenizer(reply, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        ids.append(torch.tensor(given + said))
        labels.append(torch.tensor([IGNORED] * len(given) + said))
    ids, mask = pad(ids)  # (B, T) both
    labels = torch.where(mask, pad(labels)[0], IGNORED)
    return ids, mask, labels


def with_soft_tokens(
    soft: Tensor, inputs: Tensor, mask: Tensor, labels: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Soft tokens (B, S, D) put before the embeddings (B, T, D) of a text: inputs (B, S + T, D),
    and its mask (B, T) and labels (B, T) with S entries more, True and -100.

    Raises TypeError or ValueError for tensors that do not fit together, by name.
    """
    for name, value in {"soft": soft, "inputs": inputs}.items():
        check_floats(value, name)
        if value.dim() != 3:
            raise ValueError(f"{name}: expected shape (B, T, D), got {tuple(value.shape)}")
    if soft.shape[0] != inputs.shape[0] or soft.shape[2] != inputs.shape[2]:
        raise ValueError(
            f"soft: expected shape ({inputs.shape[0]}, S, {inputs.shape[2]}), as inputs have, got"
            f" {tuple(soft.shape)}"
        )
    beside = {"mask": mask} if labels is None else {"mask": mask, "labels": labels}
    for name, value in beside.items():
        check_tensor(value, name)
        if value.shape != inputs.shape[:2]:
            raise ValueError(
                f"{name}: expected shape {tuple(inputs.shape[:2])}, (B, T) of inputs, got"
                f" {tuple(value.shape)}"
            )
    seen = mask.new_ones(soft.shape[:2])  # (B, S)
    inputs = torch.cat([soft.to(inputs.dtype), inputs], 1)  # (B, S + T, D)
    mask = torch.cat([seen, mask], 1)  # (B, S + T)
    if labels is not None:
        labels = torch.cat([labels.new_full(soft.shape[:2], IGNORED), labels], 1)
    return inputs, mask, labels


def reply_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy over all labels that are not -100, a number.

    logits (B, T, V) at a place foretell the label (B, T) at the next one: the shift is made here,
    once. Raises TypeError or ValueError for other shapes, and where no label is left.
    """
    check_floats(logits, "logits")
    check_tensor(labels, "labels")
    if logits.dim() != 3 or labels.shape != logits.shape[:2]:
        raise ValueError(
            "logits, labels: expected shapes (B, T, V) and (B, T), got"
            f" {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    foretold, true = logits[:, :-1], labels[:, 1:]  # (B, T - 1, V), (B, T - 1)
    if (true == IGNORED).all():
        raise ValueError("labels: expected at least one after the first place that is not -100")
    return cross_entropy(foretold.flatten(0, 1), true.flatten(), ignore_index=IGNORED)


# ---- LoRA ----


class LoRALinear(nn.Module):
    """A frozen linear layer and beside it a trained product of two thin matrices:
    W x + b + (alpha / r) B A x.

      inner  the layer as it was, (..., in) -> (..., out), which gets no gradient
      A      (r, in), random as nn.Linear's weights are
      B      (out, r), zeros: at the start nothing is changed

    r (in + out) weights are trained instead of in * out.
    Raises TypeError for another layer, ValueError for a rank below 1.
    Source: Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models (arXiv:2106.09685).
    """

    def __init__(self, inner: nn.Linear, rank: int = 8, alpha: float = 16.0):
        super().__init__()
        if not isinstance(inner, nn.Linear):
            raise TypeError(f"inner: expected nn.Linear, got {type(inner).__name__}")
        check_whole(1, rank=rank)
        self.inner, self.scale = inner, alpha / rank
        inner.requires_grad_(False)
        like = {"device": inner.weight.device, "dtype": inner.weight.dtype}
        self.A = nn.Parameter(torch.empty(rank, inner.in_features, **like))
        self.B = nn.Parameter(torch.zeros(inner.out_features, rank, **like))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        change = x @ self.A.T @ self.B.T  # (..., in) -> (..., r) -> (..., out)
        return self.inner(x) + self.scale * change

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain linear layer that computes the same, in (in, out) weights."""
        layer = copy.deepcopy(self.inner)
        layer.weight += self.scale * self.B @ self.A
        return layer


def add_lora(
    model: nn.Module,
    names: Iterable[str] = ("q_proj", "v_proj"),
    rank: int = 8,
    alpha: float = 16.0,
) -> list[nn.Parameter]:
    """Freezes a model, puts a `LoRALinear` in the place of every linear layer whose last name is
    one of `names`, and gives the weights that are trained, A and B of each.

    Raises TypeError for a layer of such a name that is not linear (a LoRALinear is none: a second
    call does not wrap twice), and ValueError for a name that no layer has.
    """
    names = tuple(strings(names, "names"))
    found = {name: m for name, m in model.named_modules() if name.split(".")[-1] in names}
    missing = set(names) - {name.split(".")[-1] for name in found}
    if missing:
        raise ValueError(f"names: the model has no layer named {sorted(missing)}")
    # all are made before one is put in its place, so that a refusal leaves no half
    wrapped = {name: LoRALinear(layer, rank, alpha) for name, layer in found.items()}
    model.requires_grad_(False)
    for name, layer in wrapped.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, layer)
    trained = [weight for layer in wrapped.values() for weight in (layer.A, layer.B)]
    return [weight.requires_grad_() for weight in trained]
