"""Notebook 00: concatenation and one linear layer, the accuracy, a shuffled modality."""

import torch
from torch.nn import functional as F

from course_utils.exercises import Exercise, Misconception

# 00.1 -----------------------------------------------------------------------------------------


def classify(batch, names, weight, bias):
    """Logits (B, C): what each named modality says by its own block of the weight's columns, and
    the bias.
    """
    widths = [batch[name].shape[1] for name in names]
    blocks = weight.split(widths, dim=1)
    logits = bias.expand(len(batch[names[0]]), -1)
    for name, block in zip(names, blocks):
        # (B, D_m) and (C, D_m) -> (B, C)
        logits = logits + torch.einsum("bd,cd->bc", batch[name], block)
    return logits


def _classify_cases(seed=1):
    draw = torch.Generator().manual_seed(seed)

    def case(rows, classes, names, kept, **widths):
        batch = {"label": torch.arange(rows) % classes}
        for name, width in widths.items():
            batch[name] = torch.randn(rows, width, generator=draw, dtype=torch.float64)
        width = sum(widths[name] for name in names)
        weight = torch.randn(classes, width, generator=draw, dtype=torch.float64)
        bias = torch.randn(classes, generator=draw, dtype=torch.float64)
        return {name: batch[name] for name in kept}, names, weight, bias

    yield case(1, 2, ["text"], ["text"], text=1)
    # two modalities of one width, and a batch whose order is another than that of the names
    yield case(2, 3, ["text", "image"], ["image", "text"], text=2, image=2)
    # the batch holds more than the model shall use
    yield case(3, 2, ["image"], ["text", "image", "label"], text=2, image=2)
    # as many rows as classes, as many classes as columns
    yield case(3, 3, ["text", "audio"], ["text", "audio"], text=1, audio=2)
    # as many classes as rows, so that a bias for each row would fit
    yield case(4, 4, ["text", "image", "audio"], ["label", "audio", "image", "text"], text=3,
               image=4, audio=2)
    # neither in the alphabet's order nor against it
    yield case(2, 3, ["image", "text", "audio"], ["text", "image", "audio"], text=2, image=2,
               audio=2)
    yield case(5, 10, ["text", "image", "audio"], ["text", "image", "audio"], text=3, image=4,
               audio=2)


def _classify_batch():
    """One batch of the page's training, and the head that it trains."""
    draw = torch.Generator().manual_seed(0)
    widths = {"text": 78, "image": 256, "audio": 256}
    batch = {name: torch.randn(128, width, generator=draw) for name, width in widths.items()}
    batch["label"] = torch.randint(10, (128,), generator=draw)
    weight = 0.04 * torch.randn(10, sum(widths.values()), generator=draw)
    return batch, list(widths), weight.requires_grad_(), torch.zeros(10, requires_grad=True)


def _joined(batch, names):
    return torch.cat([batch[name] for name in names], dim=-1)


def _no_bias(batch, names, weight, bias):
    return _joined(batch, names) @ weight.T


def _order_of_the_batch(batch, names, weight, bias):
    return _joined(batch, [name for name in batch if name in names]) @ weight.T + bias


def _alphabetical(batch, names, weight, bias):
    return _joined(batch, sorted(names)) @ weight.T + bias


def _reversed(batch, names, weight, bias):
    return _joined(batch, names[::-1]) @ weight.T + bias


def _all_but_the_label(batch, names, weight, bias):
    return _joined(batch, [name for name in batch if name != "label"]) @ weight.T + bias


def _all_of_the_batch(batch, names, weight, bias):
    return torch.cat(list(batch.values()), dim=1) @ weight.T + bias


def _stacked_rows(batch, names, weight, bias):
    return torch.cat([batch[name] for name in names], dim=0) @ weight.T + bias


def _not_transposed(batch, names, weight, bias):
    return _joined(batch, names) @ weight + bias


def _classes_in_rows(batch, names, weight, bias):
    return classify(batch, names, weight, bias).T


def _bias_for_rows(batch, names, weight, bias):
    return _joined(batch, names) @ weight.T + bias[:, None]


def _softmax(batch, names, weight, bias):
    return classify(batch, names, weight, bias).softmax(dim=-1)


def _log_softmax(batch, names, weight, bias):
    return classify(batch, names, weight, bias).log_softmax(dim=-1)


def _decision(batch, names, weight, bias):
    return classify(batch, names, weight, bias).argmax(dim=-1)


def _one_modality(batch, names, weight, bias):
    first = batch[names[0]]
    return first @ weight[:, : first.shape[1]].T + bias


_NAMES = (
    " The weight's columns stand in the order of `names`, so take the modalities in that order,"
    " whatever the order in the batch."
)
_ALL = (
    "everything in the batch is put together. Only what stands in `names` is an input: no other"
    " modality, and never the label."
)
_PROBABILITIES = (
    "these are probabilities, or their logarithms. Return the logits, the scores before the"
    " softmax: the loss takes them."
)

CLASSIFY = Exercise(
    key="00.1",
    verified=True,
    reference=classify,
    cases=_classify_cases,
    returns="a row for each sample, a column for each class",
    batch=_classify_batch,
    misconceptions=(
        Misconception("the bias is missing: add it to the logits of every sample.", _no_bias),
        Misconception("the modalities stand in the order of the batch." + _NAMES,
                      _order_of_the_batch),
        Misconception("the modalities stand in the order of the alphabet." + _NAMES,
                      _alphabetical),
        Misconception("the modalities stand in reverse: the last name comes first." + _NAMES,
                      _reversed),
        Misconception(_ALL, _all_but_the_label),
        Misconception(_ALL, _all_of_the_batch),
        Misconception(
            "the modalities do not stand side by side. `torch.cat` along dim 0 puts them below each"
            " other, as if they were more samples, and a sum adds them up: side by side is"
            " `torch.cat` along the last axis, `dim=-1`.",
            _stacked_rows,
        ),
        Misconception(
            "the weight is not transposed. It has a row for each class: (B, D) @ (D, C) needs"
            " `weight.T`.",
            _not_transposed,
        ),
        Misconception(
            "the result is transposed: samples are the rows, classes the columns.",
            _classes_in_rows,
        ),
        Misconception(
            "the bias is added to rows instead of columns: it has one number for each class.",
            _bias_for_rows,
        ),
        Misconception(_PROBABILITIES, _softmax),
        Misconception(_PROBABILITIES, _log_softmax),
        Misconception(
            "these are decisions, one class a sample. Return all the scores.", _decision
        ),
        Misconception(
            "only the first modality is used, with its block of the weight.", _one_modality
        ),
    ),
)


# 00.2 -----------------------------------------------------------------------------------------


def accuracy(logits, labels):
    """The share of the samples whose largest logit stands at their label."""
    right = 0
    for row, label in zip(logits, labels):
        right += (row.argmax() == label).item()
    return right / len(labels)


def _accuracy_cases(seed=2):
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([[0.3, -0.2]], dtype=torch.float64), torch.tensor([0])
    yield (
        torch.tensor([[-1.0, 2.0], [0.5, -3.0], [-0.1, -0.7]], dtype=torch.float64),
        torch.tensor([1, 0, 1]),
    )
    # as many samples as classes, so that the wrong axis gives no error
    yield (
        torch.tensor([[0.9, 0.1, 0.3], [0.2, -0.4, 0.8], [0.1, 0.7, 1 / 3]], dtype=torch.float64),
        torch.tensor([0, 1, 2]),
    )
    # every logit below 0, and no sample right
    yield (
        torch.tensor([[-1 / 3, -0.7, -2.0], [-0.9, -0.3, -5.0]], dtype=torch.float64),
        torch.tensor([2, 0]),
    )
    for rows, classes in ((7, 3), (4, 4), (20, 10)):
        labels = torch.randint(classes, (rows,), generator=draw)
        noise = torch.randn(rows, classes, generator=draw, dtype=torch.float64)
        # about half of them right, so that no count is 0 or all
        yield noise + 1.5 * F.one_hot(labels, classes), labels


def _accuracy_batch():
    """The page's test set: about seven in ten right."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (252,), generator=draw)
    return torch.randn(252, 10, generator=draw) + 2 * F.one_hot(labels, 10), labels


def _right(logits, labels):
    return logits.argmax(dim=1) == labels


def _counted(logits, labels):
    return _right(logits, labels).sum().item()


def _percent(logits, labels):
    return 100 * accuracy(logits, labels)


def _error_rate(logits, labels):
    return 1 - accuracy(logits, labels)


def _wrong_axis(logits, labels):
    return (logits.argmax(dim=0) == labels).double().mean().item()


def _flat(logits, labels):
    return (logits.argmax() == labels).double().mean().item()


def _a_list(logits, labels):
    return _right(logits, labels)


def _values(logits, labels):
    return (logits.max(dim=1).values == labels).double().mean().item()


def _mean_probability(logits, labels):
    return logits.softmax(dim=1)[torch.arange(len(labels)), labels].mean().item()


def _by_classes(logits, labels):
    return _right(logits, labels).sum().item() / logits.shape[1]


def _lowest(logits, labels):
    return (logits.argmin(dim=1) == labels).double().mean().item()


ACCURACY = Exercise(
    key="00.2",
    reference=accuracy,
    cases=_accuracy_cases,
    returns="the share of samples that are right",
    batch=_accuracy_batch,
    misconceptions=(
        Misconception(
            "this is how many are right, not which share: divide by the number of samples.",
            _counted,
        ),
        Misconception("this is in percent. Return the share, between 0 and 1.", _percent),
        Misconception("this is the share that is wrong.", _error_rate),
        Misconception(
            "the largest logit is looked for in each column. A sample is a row: look along dim 1.",
            _wrong_axis,
        ),
        Misconception(
            "the largest logit of the whole batch is looked for. Each sample decides for itself:"
            " look along dim 1.",
            _flat,
        ),
        Misconception(
            "returned whether each sample is right, expected one number: take the mean.", _a_list
        ),
        Misconception(
            "the largest logit itself is compared with the label. Compare where it stands:"
            " `argmax`, not `max`.",
            _values,
        ),
        Misconception(
            "this is the mean probability of the true class. The accuracy asks only which class"
            " has the largest score.",
            _mean_probability,
        ),
        Misconception(
            "divided by the number of classes. The mean is taken over the samples.", _by_classes
        ),
        Misconception(
            "the smallest logit decides here. The class with the largest one is the decision.",
            _lowest,
        ),
    ),
)


# 00.3 -----------------------------------------------------------------------------------------


def shuffle(features, name, order):
    """New dict in which row i of `features[name]` is the old row order[i]; all else stays,
    "label" too.
    """
    return {
        key: value.index_select(0, order) if key == name else value
        for key, value in features.items()
    }


def _shuffle_cases(seed=3):
    def features(rows, **widths):
        values = {
            m: torch.arange(rows * d, dtype=torch.float32).view(rows, d) for m, d in widths.items()
        }
        return {**values, "label": torch.arange(rows) + 7}

    yield features(2, text=2, image=1), "text", torch.tensor([1, 0])
    # Not its own inverse: with order and its inverse confused, this one differs.
    yield features(3, text=2, image=1), "image", torch.tensor([2, 0, 1])
    yield features(3, text=3, image=3), "text", torch.tensor([1, 2, 0])
    draw = torch.Generator().manual_seed(seed)
    for name in ("text", "image", "audio", "audio"):
        rows, *widths = torch.randint(4, 9, (4,), generator=draw).tolist()
        values = {
            m: torch.randn(rows, d, generator=draw)
            for m, d in zip(("text", "image", "audio"), widths)
        }
        values["label"] = torch.randint(10, (rows,), generator=draw)
        yield values, name, torch.randperm(rows, generator=draw)


def _shuffle_batch():
    """The page's training set."""
    draw = torch.Generator().manual_seed(0)
    widths = {"text": 78, "image": 256, "audio": 256}
    features = {name: torch.randn(1287, width, generator=draw) for name, width in widths.items()}
    features["label"] = torch.randint(10, (1287,), generator=draw)
    return features, "audio", torch.randperm(1287, generator=draw)


_OTHERS = (
    "the choice is turned round: the named modality stays and others are shuffled. Shuffle the"
    " named one alone."
)
_ONLY = (
    "only the shuffled modality comes back: the result needs every modality and the label, under"
    " their names."
)

SHUFFLE = Exercise(
    key="00.3",
    reference=shuffle,
    cases=_shuffle_cases,
    returns="one row per sample",
    batch=_shuffle_batch,
    misconceptions=(
        Misconception(
            "the labels are shuffled too. The shuffled modality then still fits its labels, and it"
            " is the other modalities that are broken: leave the labels where they are.",
            lambda x, name, order: {
                k: v[order] if k in (name, "label") else v for k, v in x.items()
            },
        ),
        Misconception(
            "every modality is shuffled in the same way, so they still belong together and only the"
            " labels are wrong: shuffle the named one alone.",
            lambda x, name, order: {k: v if k == "label" else v[order] for k, v in x.items()},
        ),
        Misconception(
            "everything is shuffled in the same way. Each sample is still whole, only the order of"
            " the samples is new, and a model cannot notice: shuffle the named modality alone.",
            lambda x, name, order: {k: v[order] for k, v in x.items()},
        ),
        Misconception(
            "the columns are permuted, not the rows: `order` counts samples, which are the first"
            " axis.",
            lambda x, name, order: {**x, name: x[name][:, order]},
        ),
        Misconception(
            _OTHERS, lambda x, name, order: {k: v if k == name else v[order] for k, v in x.items()}
        ),
        Misconception(
            _OTHERS,
            lambda x, name, order: {
                k: v if k in (name, "label") else v[order] for k, v in x.items()
            },
        ),
        Misconception(_ONLY, lambda x, name, order: {name: x[name][order]}),
        Misconception(_ONLY, lambda x, name, order: x[name][order]),
        Misconception(
            "the order is read the other way round: row i of the result is the old row order[i], "
            "not old row i moved to place order[i].",
            lambda x, name, order: {**x, name: x[name][order.argsort()]},
        ),
        Misconception(
            "nothing is shuffled: indexing gives a new tensor, which must be put into the result.",
            lambda x, name, order: dict(x),
        ),
    ),
)

EXERCISES = [CLASSIFY, ACCURACY, SHUFFLE]
