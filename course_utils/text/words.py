"""From a string to ids: tokens and the vocabulary."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor

from course_utils.checks import strings
from course_utils.masks import pad
from course_utils.text.letters import seen

# One letter for what each character is: l letter, n number, m mark on the character before it, c
# Chinese or kana, r half of a flag, k skin colour, z joiner, s any other symbol; ' . , and the
# blank stand for themselves.
TOKEN = re.compile(r"n+(?:[.,]n+)+|[ln][lnmz]*(?:'[ln][lnmz]*)*|cm*|rr|[^ lncmz][mk]*(?:zs[mk]*)*")
PAD, UNKNOWN, BOS, EOS = range(4)


def tokenize(text: str) -> list[str]:
    """Lower-cased words and numbers; every symbol and every Chinese character or kana is a token
    of its own.

    >>> tokenize("Don't pay 3.50, 你好 👍🏽!")
    ["don't", 'pay', '3.50', ',', '你', '好', '👍🏽', '!']

    Letters keep their combining marks (NFC form), an emoji its colour and what is joined to it;
    ’ is read as '. Empty and blank texts give []. Scripts without blanks, such as Thai, come as
    one long word. Raises TypeError for what is no string.
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
    then by alphabet. With `marks`, 2 is `<bos>` and 3 `<eos>`, where a sentence begins and ends.

    Kept are words that occur at least `least` times, and of these the `most` most frequent
    (None: all). `len(vocabulary)` is V, `"cat" in vocabulary` is a bool; `counts` is (V,) int64:
    how often each occurs, at `<unk>` all that were left out.
    Raises TypeError or ValueError for what are no strings, none at all, and bounds below 1.
    """

    def __init__(
        self, texts: Iterable[str], *, least: int = 1, most: int | None = None, marks: bool = False
    ):
        if least < 1 or (most is not None and most < 1):
            raise ValueError(f"least, most: expected at least 1, got {least} and {most}")
        found = Counter(word for text in strings(texts) for word in tokenize(text))
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        kept = [item for item in ordered if item[1] >= least][:most]
        special = ["<pad>", "<unk>", *(["<bos>", "<eos>"] if marks else [])]
        self.marks, self._words = bool(marks), [*special, *(word for word, _ in kept)]
        self._index = {word: len(special) + k for k, (word, _) in enumerate(kept)}
        left_out = found.total() - sum(n for _, n in kept)
        self.counts = torch.tensor(
            [0, left_out, *([0] * (len(special) - 2)), *(n for _, n in kept)]
        )

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, word: str) -> bool:
        return word in self._index

    def ids(self, text: str) -> Tensor:
        """(T,) int64, one id a token; 1 for a word that is not in the vocabulary.

        Raises TypeError for what is no string.
        """
        return torch.tensor(
            [self._index.get(word, UNKNOWN) for word in tokenize(text)], dtype=torch.int64
        )

    def words(self, ids: Tensor | list[int]) -> list[str]:
        """The words of (T,) ids, "<pad>" and "<unk>" among them. Raises ValueError for an id
        outside 0 to V - 1.
        """
        ids = id_row("ids", ids).tolist()
        if ids and not 0 <= min(ids) <= max(ids) < len(self):
            raise ValueError(f"ids: expected 0 to {len(self) - 1}, got {min(ids)} to {max(ids)}")
        return [self._words[index] for index in ids]

    def batch(self, texts: Iterable[str], *, side: str = "right") -> tuple[Tensor, Tensor]:
        """ids (B, T) int64 and mask (B, T) bool, padded with 0 on that `side` ("right", "left")
        to the longest text.

        A text without a word is a row without a True; T is at least 1.
        Raises TypeError or ValueError for what are no strings, none at all, and another side.
        """
        return pad([self.ids(text) for text in strings(texts)], side=side)

    def encode(self, texts: Iterable[str]) -> tuple[Tensor, Tensor]:
        """Sentences with their marks: ids (B, T + 2) int64, `<bos>`, the words, `<eos>`, and mask
        (B, T + 2) bool, padded on the right.

        Raises ValueError for a vocabulary without marks, and as `batch` does.
        """
        if not self.marks:
            raise ValueError("this vocabulary has no <bos> and <eos>: build it with marks=True")
        begin, end = torch.tensor([BOS]), torch.tensor([EOS])
        return pad([torch.cat([begin, self.ids(text), end]) for text in strings(texts)])

    def decode(self, ids: Tensor | list) -> list[str]:
        """The sentences of (B, T) ids: words up to the first `<eos>`, without `<pad>` and `<bos>`,
        a blank between two words and none before a mark such as "," or "?".

        Raises TypeError for another shape, ValueError for an id outside 0 to V - 1.
        """
        if not isinstance(ids, (Tensor, list)) or (isinstance(ids, Tensor) and ids.dim() != 2):
            raise TypeError(f"ids: expected (B, T) or a list of (T,), got {seen(ids)}")
        sentences = []
        for row in ids:
            words = self.words(row)
            if "<eos>" in words:
                words = words[: words.index("<eos>")]
            text = " ".join(word for word in words if word not in ("<pad>", "<bos>"))
            sentences.append(re.sub(r" ([.,;:?!])(?= |$)", r"\1", text))
        return sentences


def id_row(argument: str, ids) -> Tensor:
    """(T,) whole numbers as int64. Raises TypeError for anything else, with the argument's name."""
    try:
        row = ids if isinstance(ids, Tensor) else torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{argument}: expected (T,) whole numbers, got {ids!r:.60}") from None
    whole = not (row.is_floating_point() or row.is_complex() or row.dtype == torch.bool)
    if row.dim() != 1 or (len(row) and not whole):
        raise TypeError(f"{argument}: expected (T,) whole numbers, got {seen(row)}")
    return row.long()
