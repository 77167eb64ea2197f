"""Short texts that people have rated: words, emoticons and a feeling from -4 to 4.

4,200 posts, with 10,605 sentences on films and 3,708 on products as other domains, as
`course_utils.datasets.store` brings them. Emoticons are taken out of the text, as a modality of
their own. Source: C. J. Hutto and E. Gilbert, VADER, ICWSM 2014, github.com/cjhutto/vaderSentiment.
"""

import html
import json
import math
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from course_utils.checks import check_choice, check_whole
from course_utils.datasets.splits import check_index, split_groups

CREDIT = "Texts and ratings: C. J. Hutto and E. Gilbert, VADER, ICWSM 2014, MIT"
FILES = {
    "posts": "tweets_GroundTruth.txt",
    "film": "movieReviewSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
}
SHARES = {"test": 0.2, "validation": 0.1}  # of the rows; the others train
ALIKE = 0.6  # shared words of two near-duplicates, of all the words that they have
EMOTICON = re.compile(
    r"""
      </?3+(?!\d)                                            # <3 and </3
    | >?[:;=]['`]?[-~^*o0]?[][(){}|*]+                       # :) ;-) :'( =]
    | >?[:;=]-?[/\\]+(?![/\w])                                # :/ but not that of http://
    | [:;=]['`]?[-~^*o]?[DPpSOoXcL3](?!\w)                   # :D =P :3
    | (?<!\w)(?:[xX]D+|D:|-_-|\^[-_]\^|[oO0][_.][oO])(?!\w)  # xD ^_^ O_o
    | \\o/
    """,
    re.VERBOSE,
)
NO_WORDS = re.compile(r"@\w+|https?://\S+|\brt\b")  # what stands for a name, an address, a repeat


class RatedTexts(Dataset):
    """The rated texts of one split, one dict a sample.

    A sample is {"text": str, "emoticon": str or None, "rating": float from -4 (most negative) to 4,
    the mean of at least 20 people, "row": int, its place in the public file, "group": int}.
    HTML is unescaped, the emoticons are taken out of the text and stand in their order, with a
    blank between. `collate` needs `kinds=texts.kinds`; its mask says where there is no emoticon.

      split   "train", "validation" (10 %) or "test" (20 %). Near-duplicates are a group, and so are
              the sentences of one product review; no group is in two splits
      domain  "posts" (4,200, short messages as they were posted, names and addresses removed),
              "film" (10,605 sentences of film reviews) or "products" (3,708 of product reviews).
              A model trained on one domain is tested on the test split of another
      apart   with False the text keeps its emoticons, which "emoticon" repeats
      seed    another seed is another split, of the same sizes; the same on any machine

    `texts`, `emoticons` (with None) and `groups` are the columns as lists, `ratings` (N,) float32.

    The first use downloads 2 MB, see `course_utils.datasets.store`. Raises ValueError for a bad
    argument, and `store.StoreError` when the public data cannot be had or have been altered.
    """

    def __init__(
        self, split: str = "train", *, domain: str = "posts", apart: bool = True, seed: int = 0
    ):
        from course_utils.datasets import store

        check_choice(("train", *SHARES), split=split)
        check_choice(FILES, domain=domain)
        if not isinstance(apart, bool):
            raise ValueError(f"apart: expected True or False, got {apart!r}")
        check_whole(0, seed=seed)
        (folder,) = store.fetch("texts")
        rows, groups = _rows(folder / FILES[domain])
        self.split, self.domain = split, domain
        sizes = {name: round(share * len(groups)) for name, share in SHARES.items()}
        self.rows = split_groups(groups, sizes, seed)[split]
        self.groups = [groups[i] for i in self.rows]
        taken = [take_emoticons(rows[i][1]) for i in self.rows]
        self.texts = [one[0] for one in taken] if apart else [rows[i][1] for i in self.rows]
        self.emoticons = [" ".join(one[1]) or None for one in taken]
        self.ratings: Tensor = torch.tensor([rows[i][0] for i in self.rows])

    @property
    def kinds(self) -> dict:
        """What `collate` needs to know: both modalities are strings."""
        return {"text": "text", "emoticon": "text"}

    @property
    def credit(self) -> str:
        """Whom to name where these texts are shown."""
        return CREDIT

    def __repr__(self) -> str:
        return f"RatedTexts({self.split!r}, domain={self.domain!r}), {len(self)} texts. {CREDIT}"

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        check_index(index, len(self), "texts", self.split)
        return {
            "text": self.texts[index],
            "emoticon": self.emoticons[index],
            "rating": float(self.ratings[index]),
            "row": self.rows[index],
            "group": self.groups[index],
        }


def raters() -> list[list[int]]:
    """What each person gave to each of the 4,200 posts: 20 to 99 whole numbers from -4 to 4, by
    row. Who gave them is not known: the places of two rows are not the same person.

    In 199 rows their mean is not the published rating, which `RatedTexts` gives. The first use
    downloads 2 MB. Raises `store.StoreError` when the data cannot be had.
    """
    from course_utils.datasets import store

    (folder,) = store.fetch("raters")
    lines = (folder / "tweets_anonDataRatings.txt").read_text(encoding="utf-8").splitlines()
    return [json.loads(line.split("\t")[3]) for line in lines]


def take_emoticons(text: str) -> tuple[str, list[str]]:
    """A text without its emoticons, single blanks between its words, and the emoticons in order.

    >>> take_emoticons("Home :-) see http://a.b <3")
    ('Home see http://a.b', [':-)', '<3'])
    """
    found = EMOTICON.findall(text)
    return " ".join(EMOTICON.sub(" ", text).split()), found


def near_duplicates(
    texts: list[str], alike: float = ALIKE, first: list[int] | None = None
) -> list[int]:
    """For each text the place of the first text of its group; `first` has those that are together
    from the start.

    Two texts are near-duplicates when the words that they share are at least the part `alike` of
    the words that either has (Jaccard's index), without emoticons, capitals, names, addresses and
    punctuation. A chain of near-duplicates is one group. A text without words is alone.
    Raises ValueError where `alike` is not above 0 and at most 1.
    """
    if not 0 < alike <= 1:
        raise ValueError(f"alike: expected a part above 0 and at most 1, got {alike!r}")
    return _groups([_words(text) for text in texts], alike, first)


def _words(text: str) -> set[str]:
    plain = NO_WORDS.sub(" ", take_emoticons(text)[0].lower())
    return set(re.findall(r"[^\W_]+", plain))


def _groups(bags: list[set[str]], alike: float, first: list[int] | None = None) -> list[int]:
    """The place of each bag's group; `first` says which are together from the start."""
    group = list(range(len(bags))) if first is None else list(first)

    def top(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    often = Counter(word for bag in bags for word in bag)
    holders = defaultdict(list)
    for i, bag in enumerate(bags):
        # Who has that much in common shares one of the rarest words: not all can be among the rest.
        rarest = sorted(bag, key=lambda word: (often[word], word))
        rarest = rarest[: len(bag) - math.ceil(alike * len(bag)) + 1]
        for j in {j for word in rarest for j in holders[word]}:
            shared = len(bag & bags[j])
            if shared >= alike * (len(bag) + len(bags[j]) - shared):
                low, high = sorted((top(i), top(j)))
                group[high] = low
        for word in rarest:
            holders[word].append(i)
    return [top(i) for i in range(len(bags))]


@cache
def _rows(file: Path) -> tuple[list[tuple[float, str]], list[int]]:
    """(rating, text with HTML unescaped) of each row, and each row's group. A product review's
    sentences have its number in their own, "12_3".
    """
    lines = file.read_bytes().decode("utf-8").split("\r\n")
    fields = [line.split("\t") for line in lines if line]
    rows = [(float(rating), html.unescape(text)) for _, rating, text in fields]
    reviews: dict[str, int] = {}
    first = [reviews.setdefault(name.split("_")[0], i) for i, (name, *_) in enumerate(fields)]
    return rows, near_duplicates([text for _, text in rows], first=first)
