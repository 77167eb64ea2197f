"""Answers to the exercises of page 07, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

COLLATE = """
def f(samples, classes, shape):
    batch, mask = {{}}, {{}}
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        there = torch.tensor([value is not None for value in values])
        if name == "label":
            batch[name] = {label}
        elif name == "image":
            batch[name] = torch.stack([torch.zeros(shape) if v is None else v for v in values])
            mask[name] = {image}
        else:
            like = next(value for value in values if value is not None)
            rows = [{empty} if value is None else value for value in values]
            batch[name] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True{side})
            lengths = torch.tensor([len(row) for row in rows])
            T = batch[name].shape[1]
            mask[name] = {mask}
    return {{**batch, "mask": mask}}
"""
PIECES = {
    "label": "torch.tensor([classes.index(value) for value in values])",
    "image": "there",
    "empty": "like[:0]",
    "side": "",
    "mask": "torch.arange(T) < lengths[:, None]",
}


def collate(**pieces):
    return COLLATE.format(**PIECES | pieces)


SPLIT = """
import random
def f(groups, share, seed):
    names = {names}
    {draw}.shuffle(names)
    n = {number}
    test = set(names[:n])
    train_rows = [i for i, group in enumerate(groups) if group not in test]
    test_rows = [i for i, group in enumerate(groups) if group in test]
    return {returned}
"""
PARTS = {
    "names": "sorted(set(groups))",
    "draw": "random.Random(seed)",
    "number": "max(1, min(len(names) - 1, round(share * len(names))))",
    "returned": "train_rows, test_rows",
}


def split(**parts):
    return SPLIT.format(**PARTS | parts)


MIRROR = """
import re
def f(sample):
    image, text = sample["image"], sample["text"]
    if image is not None:
        image = {image}
    if text is not None:
        text = {text}
    return {returned}
"""
HALVES = {
    "image": "image.flip(2)",
    "text": 're.sub(r"\\bleft\\b|\\bright\\b",'
    ' lambda m: "left" if m[0] == "right" else "right", text)',
    "returned": '{**sample, "image": image, "text": text}',
}


def mirror(**halves):
    return MIRROR.format(**HALVES | halves)


RIGHT = {
    "07.1": [
        collate(),
        collate(
            mask="torch.stack([torch.cat([torch.ones(n), torch.zeros(T - n)])"
            " for n in lengths.tolist()]).bool()"
        ),
        collate(empty="torch.zeros(0, dtype=like.dtype)"),
        """
        def f(samples, classes, shape):
            numbers = {word: i for i, word in enumerate(classes)}
            batch = {"mask": {}}
            for name, value in samples[0].items():
                values = [sample[name] for sample in samples]
                if isinstance(value, str):
                    batch["label"] = torch.as_tensor([numbers[word] for word in values])
                    continue
                if name == "image":
                    batch["mask"][name] = torch.tensor([v is not None for v in values])
                    batch[name] = torch.zeros(len(values), *shape)
                    for i in batch["mask"][name].nonzero().flatten().tolist():
                        batch[name][i] = values[i]
                    continue
                lengths = [0 if v is None else v.shape[0] for v in values]
                T = max(lengths)
                some = values[lengths.index(T)]
                full = some.new_zeros(len(values), T)
                mask = torch.zeros(len(values), T, dtype=torch.bool)
                for i, n in enumerate(lengths):
                    if n:
                        full[i, :n], mask[i, :n] = values[i], True
                batch[name], batch["mask"][name] = full, mask
            return batch
        """,
    ],
    "07.2": [
        split(),
        split(names="list(dict.fromkeys(groups))"),
        """
        import numpy as np
        def f(groups, share, seed):
            names = sorted(set(groups))
            number = max(1, min(len(names) - 1, round(share * len(names))))
            drawn = np.random.default_rng(seed).choice(names, number, replace=False)
            test = set(drawn.tolist())
            return (
                [row for row, group in enumerate(groups) if group not in test],
                [row for row, group in enumerate(groups) if group in test],
            )
        """,
        """
        import numpy as np
        def f(groups, share, seed):
            names, places = np.unique(groups, return_inverse=True)
            number = int(np.clip(round(share * len(names)), 1, len(names) - 1))
            test = np.random.default_rng(seed).choice(len(names), number, replace=False)
            is_test = np.isin(places, test)
            return np.flatnonzero(~is_test), np.flatnonzero(is_test)
        """,
        """
        def f(groups, share, seed):
            names = sorted(set(groups))
            number = max(1, min(len(names) - 1, round(share * len(names))))
            order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
            test = [names[i] for i in order[:number]]
            mask = torch.tensor([group in test for group in groups])
            return (~mask).nonzero().flatten(), mask.nonzero().flatten()
        """,
    ],
    "07.3": [
        mirror(),
        mirror(text='re.sub(r"\\bleft\\b", "\\0", text)').replace(
            "    return",
            '        text = re.sub(r"\\bright\\b", "left", text)\n'
            '        text = text.replace("\\0", "right")\n    return',
        ),
        mirror(
            image="torch.flip(image, dims=[-1])", returned="sample | dict(image=image, text=text)"
        ),
        """
        import copy
        def f(sample):
            new = copy.deepcopy(sample)
            if new["image"] is not None:
                columns = list(range(new["image"].shape[2]))[::-1]
                new["image"] = new["image"][:, :, columns]
            if new["text"] is not None:
                words = new["text"].split(" ")
                for i, word in enumerate(words):
                    bare = word.strip(".,;:!?")
                    if bare == "left":
                        words[i] = word.replace("left", "right")
                    elif bare == "right":
                        words[i] = word.replace("right", "left")
                new["text"] = " ".join(words)
            return new
        """,
    ],
}

WRONG = {
    "07.1": [
        (
            collate(label="torch.tensor([sorted(set(values)).index(v) for v in values])"),
            "numbered anew in each batch",
        ),
        (
            collate(label="torch.tensor([list(dict.fromkeys(values)).index(v) for v in values])"),
            "numbered anew in each batch",
        ),
        (collate(image="torch.ones(len(values), dtype=torch.bool)"), "missing modality"),
        (collate(mask="torch.ones(len(rows), T, dtype=torch.bool)"), "missing modality"),
        (collate(mask="there[:, None].expand(-1, T)"), "padding is marked as there"),
        (collate(mask="there"), "one entry a sample"),
        (collate(mask="torch.arange(T) >= lengths[:, None]", image="~there"), "turned round"),
        (collate(mask="torch.arange(T) <= lengths[:, None]"), 'entry ["mask"]["text"]'),
        (collate(side=', padding_side="left"'), "in front of the numbers"),
        (collate(empty="torch.zeros(0)"), "torch.zeros(0) is float32"),
        (collate(side=", padding_value=-1"), "is -1, expected 0"),
        (collate(label="values"), "still words"),
        (
            collate(mask="(torch.arange(T) < lengths[:, None]).float()", image="there.float()"),
            "masks are numbers",
        ),
        (collate(empty="value"), "raised"),
        (collate(label=PIECES["label"] + ".int()"), "is int32, expected int64"),
        (collate(mask="batch[name] != 0"), "read off the values"),
        (
            collate(image="torch.stack([v.any() for v in batch[name]])"),
            "a black picture",
        ),
        (collate(label="torch.tensor([float(classes.index(v)) for v in values])"), "float"),
    ],
    "07.2": [
        (
            """
            import random
            def f(groups, share, seed):
                rows = list(range(len(groups)))
                random.Random(seed).shuffle(rows)
                n = max(1, round(share * len(rows)))
                return sorted(rows[n:]), sorted(rows[:n])
            """,
            "rows are drawn, not groups",
        ),
        (
            """
            def f(groups, share, seed):
                n = len(groups) - max(1, round(share * len(groups)))
                return list(range(n)), list(range(n, len(groups)))
            """,
            "rows are drawn, not groups",
        ),
        (split(number="round(share * len(names))"), "one side may be empty"),
        (split(number="max(1, int(share * len(names)))"), "cut off"),
        (split(number="max(1, round(share * len(names)))"), "one side may be empty"),
        (split(names="sorted(groups)"), "groups test"),
        (split(draw="random.Random(0)"), "`seed` is not used"),
        (split(draw="random.SystemRandom()"), "another split each time"),
        (split(draw="random"), "another split each time"),
        (
            """
            import numpy as np
            def f(groups, share, seed):
                np.random.seed(seed)
                names = sorted(set(groups))
                number = max(1, min(len(names) - 1, round(share * len(names))))
                test = np.random.choice(names, number, replace=False)
                rows = range(len(groups))
                return [i for i in rows if groups[i] not in test], [
                    i for i in rows if groups[i] in test
                ]
            """,
            "that all programs share",
        ),
        (
            """
            def f(groups, share, seed):
                torch.manual_seed(seed)
                names = sorted(set(groups))
                number = max(1, min(len(names) - 1, round(share * len(names))))
                test = [names[i] for i in torch.randperm(len(names))[:number]]
                rows = range(len(groups))
                return [i for i in rows if groups[i] not in test], [
                    i for i in rows if groups[i] in test
                ]
            """,
            "that all programs share",
        ),
        (split(returned="[g in test for g in groups], test_rows"), "no row numbers"),
        (split(returned="test_rows, train_rows"), "swapped"),
        (split(returned="names[n:], names[:n]"), "names of groups"),
        (split(returned="list(range(len(groups))), test_rows"), "stand also in the first"),
        (split(returned="train_rows"), "not two lists"),
    ],
    "07.3": [
        (
            mirror(text='text.replace("left", "right").replace("right", "left")'),
            "one replacement undoes the other",
        ),
        (
            mirror(text='text.replace("left", "#").replace("right", "left").replace("#", "right")'),
            "bright becomes bleft",
        ),
        (
            mirror(
                text='" ".join({"left": "right", "right": "left"}.get(w, w) for w in text.split())'
            ),
            "a comma or a full stop",
        ),
        (mirror(text="text"), "caption left as it was"),
        (mirror(image="image"), "picture left as it was"),
        (mirror(image="image.flip(1)"), "along another axis"),
        (mirror(image="image.flip(0)"), "along another axis"),
        (mirror(image="image.rot90(2, (1, 2))"), "along another axis"),
        (mirror(returned='{"image": image, "text": text}'), "what else stood in the sample"),
        (mirror(text="text[::-1]"), "letters of the caption are turned round"),
        (
            """
            import re
            def f(sample):
                swap = {"left": "right", "right": "left"}
                if sample["image"] is not None:
                    sample["image"] = sample["image"].flip(-1)
                if sample["text"] is not None:
                    words = re.split(r"(\\W+)", sample["text"])
                    sample["text"] = "".join(swap.get(word, word) for word in words)
                return sample
            """,
            "changes its argument",
        ),
        (mirror(text='re.sub(r"\\bleft\\b", "right", text)'), "only one of the two words"),
        (mirror().replace("if image is not None", "if True"), "raised"),
    ],
}
