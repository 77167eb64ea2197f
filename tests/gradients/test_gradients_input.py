"""Bad input of gradients by hand is refused, and the argument named."""

import inspect
import re

import pytest
import torch
from gradient_cases import BACKWARDS

from course_utils import gradients
from course_utils.gradients.attention import PROJECTIONS

Z, Y = torch.zeros(2, 3), torch.tensor([0, 2])
ZERO, EYE, TOKENS = torch.tensor(0.0), torch.eye(2).bool(), torch.ones(2, 4, 3)
BOTH = {"text": Z + 1 / 3, "image": Z}
MAPS = {"text": torch.ones(3, 3), "image": torch.ones(3, 3)}
MASK = {"image": torch.tensor([True, False])}


@pytest.mark.parametrize(
    "call, error, words",
    [
        (
            lambda: gradients.cross_entropy_backward(Z, Y[:1]),
            ValueError,
            r"labels: expected shape \(2,\), got \(1,\)",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y.int()),
            TypeError,
            "labels: expected torch.int64, got torch.int32",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Z.double()),
            TypeError,
            "labels: expected int64 classes, or soft labels in torch.float32 .* got torch.float64",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Z[0]),
            ValueError,
            r"labels: expected shape \(2, 3\), got \(3,\)",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y + 1),
            ValueError,
            "labels: expected classes 0 to 2, got 1 to 3",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y - 1),
            ValueError,
            "labels: expected classes 0 to 2, got -1 to 1",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, mask=torch.ones(2)),
            TypeError,
            "mask: expected torch.bool, got torch.float32",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, mask=torch.ones(2, 3).bool()),
            ValueError,
            r"mask: expected shape \(2,\)",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, mask=torch.zeros(2).bool()),
            ValueError,
            "mask: no row counts",
        ),
        (lambda: gradients.cross_entropy_backward(Z[:0], Y[:0]), ValueError, "no row counts"),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, class_weights=torch.zeros(3)),
            ValueError,
            "weight 0",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, class_weights=torch.ones(2)),
            ValueError,
            r"class_weights: expected shape \(3,\)",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, smoothing=1.5),
            ValueError,
            "smoothing from 0 to 1 .* got 1.5",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, temperature=0),
            ValueError,
            "temperature > 0, got 0.0 and 0",
        ),
        (lambda: gradients.binary_cross_entropy_backward(Z, Y), ValueError, "labels"),
        (
            lambda: gradients.binary_cross_entropy_backward(Z, Z.double()),
            TypeError,
            "labels: expected torch.float32",
        ),
        (
            lambda: gradients.linear_backward(Z, Z, torch.ones(2, 3)),
            ValueError,
            r"d_out: expected shape \(2, 2\), got \(2, 3\)",
        ),
        (
            lambda: gradients.linear_backward(Z, torch.ones(2, 4), torch.ones(3, 5)),
            ValueError,
            r"x: expected shape \(2, 5\)",
        ),
        (
            lambda: gradients.activation_backward(Z, Z, "swish"),
            ValueError,
            r"activation: expected one of \['relu', .*'swish'",
        ),
        (lambda: gradients.activation_backward(Z, Z[:1]), ValueError, "d_out: expected shape"),
        (lambda: gradients.softmax_backward(Z, Z[0]), ValueError, "d_out: expected shape"),
        (
            lambda: gradients.masked_mean_backward(Z, torch.ones(2, 4)),
            TypeError,
            "mask: expected torch.bool",
        ),
        (
            lambda: gradients.masked_mean_backward(Z, torch.ones(3, 4).bool()),
            ValueError,
            r"d_out: expected shape \(3, 3\)",
        ),
        (
            lambda: gradients.embedding_backward(Z, Y, 2),
            ValueError,
            "ids: expected rows 0 to 1 of the table, got 0 to 2",
        ),
        (
            lambda: gradients.embedding_backward(Z, Y[:1], 3),
            ValueError,
            r"d_out: expected shape \(1, 3\)",
        ),
        (
            lambda: gradients.concat_backward(Z, {"text": 2, "image": 2}),
            ValueError,
            r"d_out: expected shape \(2, 4\), got \(2, 3\)",
        ),
        (
            lambda: gradients.film_backward(Z, BOTH, torch.ones(6, 3), "smell"),
            ValueError,
            r"content: expected one of at least two \['text', 'image'\], got 'smell'",
        ),
        (
            lambda: gradients.film_backward(Z, {"text": Z}, torch.ones(6, 3), "text"),
            ValueError,
            r"content: expected one of at least two \['text'\]",
        ),
        (
            lambda: gradients.gated_backward(Z, BOTH, {"text": Z}, Z, Z),
            ValueError,
            r"inputs: expected the names \['text', 'image'\], got \['text'\]",
        ),
        (
            lambda: gradients.attention_backward(Z, Z, Z, Z),
            ValueError,
            r"query: expected \(B, ..., items, width\), got \(2, 3\)",
        ),
        (
            lambda: gradients.cross_attention_backward(
                **VALID["cross_attention_backward"] | {"heads": 2}
            ),
            ValueError,
            "heads: expected a divisor of the width 3, got 2",
        ),
        (
            lambda: gradients.info_nce_backward(Z, Z, ZERO, ~EYE),
            ValueError,
            "positives: expected True on the diagonal",
        ),
        (
            lambda: gradients.triplet_backward(Z, Z, EYE, EYE, margin=-1),
            ValueError,
            "margin: expected a number of at least 0, got -1",
        ),
    ],
)
def test_bad_input_names_the_argument(call, error, words):
    with pytest.raises((error, TypeError) if words == "labels" else error, match=words):
        call()


# What each is called with, under the names of its arguments.
VALID = {
    "cross_entropy_backward": {
        "logits": Z,
        "labels": Y,
        "class_weights": torch.ones(3),
        "mask": torch.ones(2, dtype=torch.bool),
    },
    "binary_cross_entropy_backward": {"logits": Z, "labels": Z, "pos_weight": torch.ones(3)},
    "linear_backward": {"d_out": torch.ones(2, 4), "x": Z, "weight": torch.ones(4, 3)},
    "activation_backward": {"d_out": Z, "x": Z},
    "softmax_jacobian": {"probs": Z},
    "softmax_backward": {"d_out": Z, "probs": Z},
    "masked_mean_backward": {"d_out": Z, "mask": torch.ones(2, 4, dtype=torch.bool)},
    "global_average_pool_backward": {"d_out": Z, "size": (2, 2)},
    "embedding_backward": {"d_out": Z, "ids": Y, "rows": 3},
    "concat_backward": {"d_out": Z, "dims": {"text": 1, "image": 2}, "mask": MASK},
    "weighted_concat_backward": {
        "d_out": torch.ones(2, 6),
        "inputs": BOTH,
        "scores": Z[:, 0],
        "mask": MASK,
    },
    "sum_backward": {"d_out": Z, "names": ["text", "image"], "mask": MASK},
    "mean_backward": {"d_out": Z, "names": ["text", "image"], "mask": MASK},
    "weighted_sum_backward": {"d_out": Z, "inputs": BOTH, "scores": Z[:, 0], "mask": MASK},
    "linear_fusion_backward": {"d_out": Z, "inputs": BOTH, "weights": MAPS, "mask": MASK},
    "max_backward": {"d_out": Z, "inputs": BOTH, "mask": MASK},
    "product_backward": {"d_out": Z, "inputs": BOTH, "mask": MASK},
    "outer_backward": {"d_out": torch.ones(2, 16), "inputs": BOTH, "mask": MASK},
    "low_rank_backward": {
        "d_out": Z,
        "inputs": BOTH,
        "factors": {"text": torch.ones(2, 3, 4), "image": torch.ones(2, 3, 4)},
        "mask": MASK,
    },
    "gated_backward": {
        "d_out": Z,
        "values": BOTH,
        "inputs": BOTH,
        "weight": torch.ones(6, 6),
        "bias": torch.ones(6),
        "mask": MASK,
    },
    "film_backward": {
        "d_out": Z,
        "inputs": BOTH,
        "weight": torch.ones(6, 3),
        "content": "text",
        "mask": MASK,
    },
    "attention_pool_backward": {
        "d_out": Z,
        "inputs": BOTH,
        "weight": torch.ones(4, 3),
        "bias": torch.ones(4),
        "context": torch.ones(4),
        "mask": MASK,
    },
    "late_backward": {"d_out": Z, "inputs": BOTH, "weights": MAPS, "mask": MASK},
    "mixture_backward": {"d_out": Z, "logits": BOTH, "mask": MASK},
    "product_of_experts_backward": {"d_out": Z, "logits": BOTH, "mask": MASK},
    "attention_backward": {
        "d_out": TOKENS,
        "query": TOKENS,
        "key": TOKENS,
        "value": TOKENS,
        "mask": torch.ones(2, 4, dtype=torch.bool),
    },
    "cross_attention_backward": {
        "d_out": TOKENS,
        "x": TOKENS,
        "y": TOKENS,
        "parameters": {
            name: torch.ones(*([3, 3] if "weight" in name else [3]))
            for name in (*PROJECTIONS, "null")
        },
        "mask": torch.ones(2, 4, dtype=torch.bool),
        "query_mask": torch.ones(2, 4, dtype=torch.bool),
    },
    "unit_length_backward": {"d_out": Z, "x": Z},
    "cosine_backward": {"d_out": torch.ones(2, 2), "a": Z, "b": Z},
    "info_nce_backward": {"a": Z, "b": Z, "log_scale": ZERO, "positives": EYE},
    "sigmoid_loss_backward": {"a": Z, "b": Z, "log_scale": ZERO, "bias": ZERO, "positives": EYE},
    "triplet_backward": {"a": Z, "b": Z, "chosen_a": ~EYE, "chosen_b": ~EYE},
}


def takes_tensors(function):
    """The arguments of a function that are annotated as tensors, or as dicts of tensors."""
    signature = inspect.signature(getattr(gradients, function))
    names = [name for name, one in signature.parameters.items() if "Tensor" in str(one.annotation)]
    assert set(names) == {name for name, x in VALID[function].items() if entries(x)}
    return names


def entries(value):
    """The tensors in an argument, each with its place: None for the argument itself."""
    if isinstance(value, torch.Tensor):
        return {None: value}
    if isinstance(value, dict):
        return {key: x for key, x in value.items() if isinstance(x, torch.Tensor)}
    return {}


def test_every_gradient_has_a_valid_call():
    assert set(VALID) == set(BACKWARDS)
    for function, arguments in VALID.items():
        getattr(gradients, function)(**arguments)


ARGUMENTS = [
    (function, name, key)
    for function in VALID
    for name in takes_tensors(function)
    for key in entries(VALID[function][name])
]


def refused(function, name, key, change, error, got):
    """The call with one tensor changed is refused under that tensor's name."""
    given = VALID[function][name]
    changed = change(given) if key is None else given | {key: change(given[key])}
    called = re.escape(name if key is None else f"{name}[{key!r}]")
    with pytest.raises(error, match=f"^{called}: expected .*, got {got}"):
        getattr(gradients, function)(**VALID[function] | {name: changed})


@pytest.mark.parametrize("function, name, key", ARGUMENTS)
def test_what_is_no_tensor_or_holds_other_numbers_is_refused_by_name(function, name, key):
    for change in (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.int):
        refused(function, name, key, change, TypeError, "")


STRICT = ("labels", "mask", "class_weights", "pos_weight", "query_mask", "positives", "scores")
STRICT += ("inputs", "values", "logits", "weights", "factors", "bias", "context", "parameters")
STRICT += ("log_scale", "chosen_a", "chosen_b", "a", "b")


@pytest.mark.parametrize(
    "function, name, key",
    [
        one
        for one in ARGUMENTS
        if one[1] in STRICT and (one[1] != "logits" or one[2])  # a loss takes logits of any shape
    ],
)
def test_a_shape_that_does_not_fit_is_refused_by_name(function, name, key):
    for shape in ((5,), (2, 1, 3), (1, 1, 1), (2, 3, 1)):
        refused(
            function, name, key, lambda x, s=shape: x.new_ones(s), ValueError, rf"\({shape[0]},"
        )


BY_NAME = [(function, name) for function, name, key in ARGUMENTS if key is not None]


@pytest.mark.parametrize("function, name", dict.fromkeys(BY_NAME))
def test_names_that_do_not_fit_are_refused(function, name):
    given = VALID[function]
    call = getattr(gradients, function)
    with pytest.raises(TypeError, match=f"^{name}: expected a dict by name, got list"):
        call(**given | {name: [*given[name].values()]})
    if name in ("inputs", "values", "logits"):
        changed = {}  # any names will do, but there have to be some
    else:
        changed = given[name] | {"smell": next(iter(given[name].values()))}
    with pytest.raises(ValueError, match=rf"^{name}: expected .*got \[.*\]"):
        call(**given | {name: changed})
