"""The splits of a set: which rows train and which test, and whether a split has a row."""

import hashlib
from collections.abc import Hashable, Sequence


def split_groups(
    keys: Sequence[Hashable], sizes: dict[str, int], seed: int
) -> dict[str, list[int]]:
    """The places of each split's rows, in order: {"train": [...], and those of `sizes`}.

    `keys` says to which group each row belongs; no group is in two splits. Groups go, in an order
    drawn by hash, so that it is the same on any machine, into the first split of `sizes` (name:
    the most rows) that has room for all of it, else into "train".
    """
    members: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        members.setdefault(key, []).append(i)
    places: dict[str, list[int]] = {"train": [], **{name: [] for name in sizes}}
    for key in sorted(members, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest()):
        fits = [
            name for name, size in sizes.items() if len(places[name]) + len(members[key]) <= size
        ]
        places[[*fits, "train"][0]] += members[key]
    return {name: sorted(one) for name, one in places.items()}


def check_index(index: int, size: int, what: str, split: str) -> None:
    """Raises IndexError for an index that a split of `size` things has not, from the end or the
    beginning; `what` they are goes into the message.
    """
    if not -size <= index < size:
        raise IndexError(f"index {index} is outside the {size} {what} of split {split!r}")
