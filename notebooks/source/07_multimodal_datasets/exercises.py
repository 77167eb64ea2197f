"""Notebook 07: samples to a batch, a split by groups, a mirrored pair."""

import math
import random
import re

import numpy as np
import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.compare import difference, same_kind
from course_utils.exercises.draws import draws

# 07.1 -----------------------------------------------------------------------------------------


def collate(samples, classes, shape):
    """Entry by entry, into tensors of zeros that are large enough."""
    return _collated(samples, classes, shape)


def _collated(
    samples,
    classes,
    shape,
    *,
    number=lambda samples, classes, i: classes.index(samples[i]["label"]),
    longest=lambda rows: max((len(row) for row in rows if row is not None), default=0),
    start=lambda longest, length: 0,
    filling=0,
    padded=False,
    lacking=False,
    lacking_image=False,
    mask_start=None,
    blank=0.0,
    one_mask=False,
):
    batch, mask = {}, {}
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        if name == "label":
            batch[name] = torch.tensor([number(samples, classes, i) for i in range(len(samples))])
        elif name == "image":
            batch[name] = torch.full((len(values), *shape), blank)
            mask[name] = torch.full((len(values),), lacking_image)
            for i, value in enumerate(values):
                if value is not None:
                    batch[name] = batch[name].to(value.dtype)
                    batch[name][i], mask[name][i] = value, True
        else:
            # A default: without one, a batch that lacks the modality raises StopIteration, and a
            # loop over a DataLoader takes that for its end.
            dtype = next((value.dtype for value in values if value is not None), torch.float32)
            size = (len(values), longest(values))
            batch[name] = torch.full(size, filling, dtype=dtype)
            mask[name] = torch.full(size, padded)
            for i, value in enumerate(values):
                if value is None:
                    mask[name][i] = lacking
                    continue
                first = start(size[1], len(value))
                batch[name][i, first : first + len(value)] = value
                first = first if mask_start is None else mask_start
                mask[name][i, first : first + len(value)] = True
            if one_mask:
                mask[name] = torch.tensor([value is not None for value in values])
    return {**batch, "mask": mask}


def _collate_cases(seed=7):
    draw, chance = draws(seed), random.Random(seed)

    def ids(length):
        return torch.tensor([chance.randint(1, 26) for _ in range(length)])

    def image(*shape):
        return draw(*shape).float()

    a = {"text": torch.tensor([3, 1]), "label": "b"}
    yield [a, {"text": None, "label": "a"}], ["a", "b"], (1, 1, 1)
    yield [a, {"text": torch.tensor([20]), "label": "c"}], ["a", "b", "c"], (1, 1, 1)
    silent = {"audio": torch.tensor([0.0, 0.5]), "label": "b"}
    yield [silent, {"audio": None, "label": "a"}], ["a", "b"], (1, 1, 1)
    row = {"image": image(1, 1, 2), "text": torch.tensor([5]), "label": "no"}
    lacking = {"image": None, "text": torch.tensor([2, 9, 9]), "label": "yes"}
    yield [row, lacking], ["no", "yes"], (1, 1, 2)
    yield [lacking, row], ["yes", "no"], (1, 1, 2)
    yield [lacking, lacking], ["no", "yes"], (1, 2, 2)
    yield [{**row, "image": torch.zeros(1, 1, 2)}, lacking], ["no", "yes"], (1, 1, 2)
    sound = {"audio": draw(3).float(), "text": torch.tensor([4]), "label": "two"}
    yield [{**sound, "audio": None}, sound, {**sound, "text": None}], ["one", "two"], (1, 1, 1)
    words = ["zero", "one", "two", "three"]
    samples = [
        {
            "text": ids(length) if length else None,
            "image": image(1, 2, 3) if place != 1 else None,
            "audio": draw(size).float() if size else None,
            "label": words[label],
        }
        for place, (length, size, label) in enumerate(
            [(3, 4, 3), (0, 2, 1), (2, 0, 3), (5, 6, 0), (1, 1, 1)]
        )
    ]
    yield samples, words, (1, 2, 3)
    yield samples[1:4], words, (1, 2, 3)


def _collate_batch():
    """32 samples as in the page's folder."""
    draw, chance = torch.Generator().manual_seed(0), random.Random(0)
    samples = []
    for place in range(32):
        length, size = chance.randint(2, 7), chance.randint(2000, 6000)
        samples.append(
            {
                "text": torch.randint(1, 27, (length,), generator=draw),
                "image": torch.rand(1, 16, 16, generator=draw) if place % 8 else None,
                "audio": torch.rand(size, generator=draw) if place % 8 != 1 else None,
                "label": chance.choice(["no", "yes"]),
            }
        )
    return samples, ["no", "yes"], (1, 16, 16)


def _place_in_own(names):
    return lambda samples, classes, i: names(samples).index(samples[i]["label"])


def _at_the_end(longest, length):
    return longest - length


def _own_sorted(samples):
    return sorted({sample["label"] for sample in samples})


def _own_by_appearance(samples):
    return list(dict.fromkeys(sample["label"] for sample in samples))


def _without_the_missing(samples, classes, shape):
    kept = [sample for sample in samples if None not in sample.values()]
    return _collated(kept or samples, classes, shape)


def _words_for_labels(samples, classes, shape):
    return {**_collated(samples, classes, shape), "label": [one["label"] for one in samples]}


def _inverted(samples, classes, shape):
    batch = _collated(samples, classes, shape)
    return {**batch, "mask": {name: ~mask for name, mask in batch["mask"].items()}}


def _numbers_for_masks(samples, classes, shape):
    batch = _collated(samples, classes, shape)
    return {**batch, "mask": {name: mask.float() for name, mask in batch["mask"].items()}}


def _mask_of_values(samples, classes, shape, *, rows=True, pictures=True):
    batch = _collated(samples, classes, shape)
    for name in batch["mask"]:
        if name == "image" and pictures:
            batch["mask"][name] = batch[name].flatten(1).any(1)
        elif name != "image" and rows:
            batch["mask"][name] = batch[name] != 0
    return batch


def _floats(samples, classes, shape):
    batch = _collated(samples, classes, shape)
    return {name: value.float() if name == "text" else value for name, value in batch.items()}


def _pads_from_the_first(samples, classes, shape):
    """`torch.zeros(0)` for a missing row: the first row's dtype is that of the batch."""
    batch = _collated(samples, classes, shape)
    lead = {name for name in batch["mask"] if name != "image" and samples[0][name] is None}
    return {name: value.float() if name in lead else value for name, value in batch.items()}


def _same(got, expected):
    """`same_kind`, and labels of the one type that cross-entropy takes."""
    if found := same_kind(got, expected):
        return found
    dtype = getattr(got["label"], "dtype", "int64")
    if dtype != "int64":
        return f'entry ["label"] is {dtype}, expected int64, as cross-entropy asks'


COLLATE = Exercise(
    key="07.1",
    reference=collate,
    cases=_collate_cases,
    compare=_same,
    batch=_collate_batch,
    returns="one row for each sample",
    misconceptions=(
        *ideas(
            "the classes are numbered anew in each batch. The same word then has another number in"
            " the next one: take its place in `classes`.",
            lambda samples, classes, shape: _collated(
                samples, classes, shape, number=_place_in_own(_own_sorted)
            ),
            lambda samples, classes, shape: _collated(
                samples, classes, shape, number=_place_in_own(_own_by_appearance)
            ),
        ),
        *ideas(
            "the classes are sorted again. `classes` has an order, and the model knows that one:"
            " classes.index(label).",
            lambda samples, classes, shape: _collated(samples, sorted(classes), shape),
        ),
        *ideas(
            "padding is marked as there: a mask that is True in the whole row makes every zero"
            " count, in a mean for example. It is True for the numbers of the sample alone.",
            lambda samples, classes, shape: _collated(samples, classes, shape, padded=True),
        ),
        *ideas(
            "a missing modality is marked as there. Its row of the mask is False throughout.",
            lambda samples, classes, shape: _collated(
                samples, classes, shape, lacking=True, lacking_image=True
            ),
            lambda samples, classes, shape: _collated(samples, classes, shape, lacking_image=True),
            lambda samples, classes, shape: _collated(
                samples, classes, shape, lacking=True, padded=True
            ),
            lambda samples, classes, shape: _collated(
                samples, classes, shape, lacking=True, padded=True, lacking_image=True
            ),
        ),
        *ideas(
            "the mask is turned round. Here True says that something is there. (PyTorch's"
            " key_padding_mask is the opposite, hence the confusion.)",
            _inverted,
        ),
        *ideas(
            "the mask of a row of numbers has one entry a sample. It says for each of the T places"
            " whether something is there: (B, T).",
            lambda samples, classes, shape: _collated(samples, classes, shape, one_mask=True),
        ),
        *ideas(
            "samples with something missing are left out. They keep their row, and the mask says"
            " what is not there.",
            _without_the_missing,
        ),
        *ideas(
            "the zeros stand in front of the numbers. They come at the end.",
            lambda samples, classes, shape: _collated(samples, classes, shape, start=_at_the_end),
            lambda samples, classes, shape: _collated(
                samples, classes, shape, start=_at_the_end, mask_start=0
            ),
        ),
        *ideas(
            "the masks are numbers. Make them bool: torch.where and ~ need it.", _numbers_for_masks
        ),
        *ideas(
            "ids became floats. A row of length 0 takes the dtype of the others, `first[:0]`;"
            " torch.zeros(0) is float32.",
            _pads_from_the_first,
            _floats,
        ),
        *ideas(
            "the mask is read off the values, so a zero that was there (silence, a black picture)"
            " counts as not there. It follows from the lengths, and from None.",
            lambda samples, classes, shape: _mask_of_values(samples, classes, shape),
            lambda samples, classes, shape: _mask_of_values(
                samples, classes, shape, pictures=False
            ),
            lambda samples, classes, shape: _mask_of_values(samples, classes, shape, rows=False),
        ),
        *ideas(
            "the labels are still words: their places in `classes`, as an int64 tensor.",
            _words_for_labels,
        ),
    ),
)


# 07.2 -----------------------------------------------------------------------------------------

LEAST = 20  # possible splits from which on two draws that agree are no accident


def split_by_group(groups, share, seed):
    """The groups shuffled by Python's own generator."""
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    tested = set(names[: _how_many(names, share)])
    return _sides(groups, tested)


def _how_many(names, share):
    return min(max(round(share * len(names)), 1), len(names) - 1)


def _sides(groups, tested):
    rows = range(len(groups))
    return (
        [row for row in rows if groups[row] not in tested],
        [row for row in rows if groups[row] in tested],
    )


def _generators():
    """Where the generators are that all programs share."""
    _, numbers, place, *_ = np.random.get_state()
    return random.getstate(), numbers.tolist(), place, torch.get_rng_state().tolist()


def _listed(result, count):
    """Both sides as sorted lists of row numbers, or None where these are none."""
    sides = []
    for side in result:
        side = side.tolist() if hasattr(side, "tolist") else side
        if not isinstance(side, (list, tuple, set, range)):
            return None
        side = [row.item() if hasattr(row, "item") else row for row in side]
        if not all(type(row) is int and 0 <= row < count for row in side):
            return None
        sides.append(sorted(side))
    return sides


def _splits(split, groups, share, seed):
    """What holds of the split, in words; which groups test is left to the answer's generator."""
    before = _generators()
    result = split(list(groups), share, seed)
    moved = before != _generators()
    if result is None:
        return None
    asked = math.comb(len(set(groups)), _how_many(set(groups), share)) >= LEAST
    found = ["not asked"] * (8 if asked else 5)
    if not isinstance(result, (list, tuple)) or len(result) != 2:
        return ["not two lists", *found[1:]]
    sides = _listed(result, len(groups))
    if sides is None:
        named = all(len(side) and set(side) <= set(groups) for side in map(list, result))
        return [f"two of {'the names' if named else 'something'}, no row numbers", *found[1:]]
    train, test = sides
    lost = set(range(len(groups))) - set(train) - set(test)
    found[0] = "two lists of row numbers"
    found[1] = "rows on both sides" if set(train) & set(test) else "no row on both sides"
    found[2] = "rows on no side" if lost else "each row on a side"
    testing = {groups[row] for row in test}
    if testing & {groups[row] for row in train}:
        found[3] = "a group on both sides"
        return found
    found[3] = "no group on both sides"
    found[4] = f"{len(testing)} of {len(set(groups))} groups test"
    if asked:
        count = len(groups)
        again = [_listed(split(list(groups), share, seed), count) for _ in range(3)]
        others = [_listed(split(list(groups), share, seed + k), count) for k in range(1, 6)]
        same, differ = all(one == sides for one in again), any(one != sides for one in others)
        found[5] = f"the same seed gives {'the same split' if same else 'other splits'}"
        found[6] = f"other seeds give {'other splits' if differ else 'the same split'}"
        found[7] = f"the generators that all share are {'changed' if moved else 'left alone'}"
    return found


def _split_cases(seed=8):
    # Sizes in which rows that are drawn one by one can hardly make up whole groups, and names that
    # are no row numbers.
    chance = random.Random(seed)
    yield [40, 40, 40, 90, 90, 90], 0.2, 0
    yield [40, 40, 40, 90, 90, 90, 90], 0.9, 2
    yield list("abcabcabc"), 0.4, 1
    yield list("xyzxyzxyzxyzx"), 0.6, 3
    yield [name for name in "abcdefgh" for _ in range(1 + ord(name) % 4)], 0.3, 4
    for count, share in ((8, 0.35), (10, 0.2), (7, 0.55)):
        groups = [100 + chance.randrange(count) for _ in range(3 * count)]
        groups += [100 + one for one in range(count)]
        chance.shuffle(groups)
        yield groups, share, chance.randrange(100)


def _split_batch():
    """1,797 rows of 14 groups, as on the page."""
    return [row * 14 // 1797 for row in range(1797)], 3 / 14, 0


def _rows_drawn(groups, share, seed):
    rows = list(range(len(groups)))
    random.Random(seed).shuffle(rows)
    number = min(max(round(share * len(rows)), 1), len(rows) - 1)
    return rows[number:], rows[:number]


def _drawn(groups, seed):
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    return names


def _rounded(groups, share, seed):
    names = _drawn(groups, seed)
    return _sides(groups, set(names[: round(share * len(names))]))


def _cut_off(groups, share, seed):
    names = _drawn(groups, seed)
    return _sides(groups, set(names[: max(int(share * len(names)), 1)]))


def _rounded_up(groups, share, seed):
    names = _drawn(groups, seed)
    return _sides(groups, set(names[: min(math.ceil(share * len(names)), len(names) - 1)]))


def _never_all(groups, share, seed):
    names = _drawn(groups, seed)
    return _sides(groups, set(names[: max(round(share * len(names)), 1)]))


def _share_of_rows(groups, share, seed):
    names, tested, rows = _drawn(groups, seed), set(), 0
    while rows < share * len(groups) and len(tested) < len(names) - 1:
        tested.add(names[len(tested)])
        rows = sum(group in tested for group in groups)
    return _sides(groups, tested)


def _last_groups(groups, share, seed):
    names = sorted(set(groups))
    return _sides(groups, set(names[-_how_many(names, share) :]))


def _unseeded(groups, share, seed):
    names = sorted(set(groups))
    random.SystemRandom().shuffle(names)
    return _sides(groups, set(names[: _how_many(names, share)]))


def _unseeded_for_all(groups, share, seed):
    names = sorted(set(groups))
    random.shuffle(names)
    return _sides(groups, set(names[: _how_many(names, share)]))


def _seeded_for_all(groups, share, seed):
    random.seed(seed)
    return _unseeded_for_all(groups, share, seed)


def _names_returned(groups, share, seed):
    names = _drawn(groups, seed)
    number = _how_many(names, share)
    return names[number:], names[:number]


def _one_row_a_group(groups, share, seed):
    train, test = split_by_group(groups, share, seed)
    firsts = {groups.index(group) for group in groups}
    return [row for row in train if row in firsts], [row for row in test if row in firsts]


def _by_runs(groups, share, seed):
    """Each run of equal neighbours is taken for a group."""
    runs, run = [], -1
    for place, group in enumerate(groups):
        run += place == 0 or group != groups[place - 1]
        runs.append(run)
    names = _drawn(runs, seed)
    return _sides(runs, set(names[: _how_many(set(groups), share)]))


SPLIT = Exercise(
    key="07.2",
    reference=split_by_group,
    cases=_split_cases,
    use=_splits,
    batch=_split_batch,
    returns="what holds of the two lists of rows",
    misconceptions=(
        *ideas(
            "each run of equal neighbours is taken for a group. The rows of a group need not stand"
            " together: it is the name that counts.",
            _by_runs,
        ),
        *ideas(
            "rows are drawn, not groups: rows of one group lie on both sides. Draw among the"
            " different groups, then ask for each row on which side its group is.",
            _rows_drawn,
        ),
        *ideas(
            "one side may be empty: a small share of few groups rounds to no group at all, a large"
            " one to all. At least one group tests, and at least one trains.",
            _rounded,
            _never_all,
        ),
        *ideas(
            "the number of test groups is cut off or rounded up. Round it.", _cut_off, _rounded_up
        ),
        *ideas(
            "the share is counted in rows. Here it is a share of the groups. (Both are done;"
            " large groups make the difference.)",
            _share_of_rows,
        ),
        *ideas("`seed` is not used: the same groups test always, the last by name.", _last_groups),
        *ideas(
            "the same seed gives another split each time. Make the generator in the function, from"
            " `seed`, and sort the groups before you shuffle.",
            _unseeded,
            _unseeded_for_all,
        ),
        *ideas(
            "the generator that all programs share is seeded or drawn from: whatever else draws"
            " from it, the noise of a training for example, now depends on this call. Make one of"
            " your own: np.random.default_rng(seed), or random.Random(seed).",
            _seeded_for_all,
        ),
        *ideas("these are names of groups. Return the numbers of their rows.", _names_returned),
        *ideas(
            "only one row of each group is kept. All rows of a group go where it goes.",
            _one_row_a_group,
        ),
        *ideas(
            "the test rows stand also in the first list: a model would train on them.",
            lambda groups, share, seed: (
                list(range(len(groups))),
                split_by_group(groups, share, seed)[1],
            ),
        ),
        *ideas(
            "the two lists are swapped: the training rows come first.",
            lambda groups, share, seed: split_by_group(groups, share, seed)[::-1],
        ),
    ),
)


# 07.3 -----------------------------------------------------------------------------------------

SWAP = {"left": "right", "right": "left"}


def mirror(sample):
    """Piece by piece, where a piece is a word or what stands between two words."""
    image, text = sample["image"], sample["text"]
    return sample | {
        "image": None if image is None else _turned(image),
        "text": None if text is None else _exchanged(text),
    }


def _turned(image):
    return image[..., torch.arange(image.shape[-1] - 1, -1, -1)]


def _exchanged(text):
    return "".join(SWAP.get(piece, piece) for piece in re.split(r"(\W+)", text))


def _mirrored(sample, image=_turned, text=_exchanged):
    """A mirror of which one half may be another."""
    return {
        **sample,
        "image": None if sample["image"] is None else image(sample["image"]),
        "text": None if sample["text"] is None else text(sample["text"]),
    }


def _mirror_cases(seed=9):
    draw = draws(seed)
    small = torch.tensor([[[1.5, 2.5]]])
    yield ({"image": None, "text": "left"},)
    yield ({"image": small, "text": "left of it"},)
    yield ({"image": small, "text": "right of a bright cross", "label": "yes"},)
    yield ({"image": None, "text": "here a red thing is left of a blue thing", "label": "no"},)
    yield ({"image": draw(1, 2, 3), "text": None, "label": "yes"},)
    yield ({"image": draw(1, 2, 3), "text": "left of right is left.", "writer": 3},)
    yield ({"image": draw(3, 2, 4), "text": "on the right, upright, a leftover", "label": "no"},)
    yield ({"image": draw(2, 3, 3), "text": "above a circle, below a square", "label": "yes"},)


def _mirror_batch():
    return ({"image": torch.rand(1, 8, 16), "text": "the zero is on the left.", "label": "yes"},)


def _one_after_the_other(text):
    return text.replace("left", "right").replace("right", "left")


def _the_other_way(text):
    return text.replace("right", "left").replace("left", "right")


def _inside_words(text):
    return re.sub("left|right", lambda match: SWAP[match[0]], text)


def _between_blanks(text):
    return " ".join(SWAP.get(word, word) for word in text.split(" "))


def _only_two(sample):
    whole = mirror(sample)
    return {"image": whole["image"], "text": whole["text"]}


def _label_too(sample):
    other = {"yes": "no", "no": "yes"}
    whole = mirror(sample)
    return whole | {"label": other[whole["label"]]} if "label" in whole else whole


def _nothing_where_one_is_missing(sample):
    if sample["image"] is None or sample["text"] is None:
        return dict(sample)
    return mirror(sample)


MIRROR = Exercise(
    key="07.3",
    reference=mirror,
    cases=_mirror_cases,
    compare=lambda got, expected: difference(got, expected, rtol=1e-6, atol=1e-9),
    batch=_mirror_batch,
    returns="the sample's own names",
    misconceptions=(
        *ideas(
            "one replacement undoes the other: after the first, all are the same word, and the"
            " second turns them all. Both have to change at once.",
            lambda sample: _mirrored(sample, text=_one_after_the_other),
            lambda sample: _mirrored(sample, text=_the_other_way),
        ),
        *ideas(
            "the letters are replaced inside other words, and bright becomes bleft. Look for whole"
            r" words: \bleft\b.",
            lambda sample: _mirrored(sample, text=_inside_words),
        ),
        *ideas(
            'a word with a comma or a full stop behind it is missed: "left." is not "left".',
            lambda sample: _mirrored(sample, text=_between_blanks),
        ),
        *ideas(
            "only one of the two words is exchanged: what was on the right is now on the left.",
            lambda sample: _mirrored(sample, text=lambda text: re.sub(r"\bleft\b", "right", text)),
            lambda sample: _mirrored(sample, text=lambda text: re.sub(r"\bright\b", "left", text)),
        ),
        *ideas(
            "the picture is flipped and the caption left as it was: it says the wrong side.",
            lambda sample: _mirrored(sample, text=lambda text: text),
        ),
        *ideas(
            "the caption is exchanged and the picture left as it was.",
            lambda sample: _mirrored(sample, image=lambda image: image),
        ),
        *ideas(
            "the picture is turned along another axis. Left and right are the last one, W.",
            lambda sample: _mirrored(sample, image=lambda image: image.flip(-2)),
            lambda sample: _mirrored(sample, image=lambda image: image.flip(0)),
            lambda sample: _mirrored(sample, image=lambda image: image.flip(-1, -2)),
        ),
        *ideas(
            "the letters of the caption are turned round. It says the same picture's mirror image"
            " in words: exchange left and right.",
            lambda sample: _mirrored(sample, text=lambda text: text[::-1]),
            lambda sample: _mirrored(sample, text=lambda text: " ".join(reversed(text.split(" ")))),
        ),
        *ideas("what else stood in the sample is lost: begin with {**sample, ...}.", _only_two),
        *ideas(
            "the label is changed as well. A mirrored caption is as true of the mirrored picture as"
            " it was before.",
            _label_too,
        ),
        *ideas(
            "where one of the two is missing, the other is left as it was. Mirror what is there.",
            _nothing_where_one_is_missing,
        ),
    ),
)


EXERCISES = [COLLATE, SPLIT, MIRROR]
