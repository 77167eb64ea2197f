"""What the tests of gradients share: random numbers, and for each gradient by hand a forward pass
to ask autograd about.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional as F

from course_utils import fusion, gradients, losses
from course_utils.masks import masked_mean, masked_softmax

SEEDS = range(20)
N, C, D, T, V = 5, 4, 3, 6, 8
ROWS = 9  # of what may be missing: with fewer a modality may win nothing


class Draw:
    """Random float64 tensors from one seed; what `leaf` gives can be asked for its gradient."""

    def __init__(self, seed):
        self.generator, self.made = torch.Generator().manual_seed(seed), []

    def __call__(self, *shape):
        self.made.append(torch.randn(*shape, generator=self.generator, dtype=torch.float64))
        return self.made[-1]

    def leaf(self, *shape):
        return self(*shape).requires_grad_()

    def soft(self, *shape):
        return self(*shape).softmax(-1)

    def below(self, top, *shape):
        return torch.randint(top, shape, generator=self.generator)

    def mask(self, *shape):
        """At least one True in every row, and one False somewhere."""
        mask = torch.rand(*shape, generator=self.generator) < 0.6
        mask[..., 0], mask[0, -1] = True, False
        return mask

    def masks(self, names, rows):
        """By name (rows,) bool: row 0 has all modalities, row 1 none, row 2 all but the first."""
        masks = torch.rand(len(names), rows, generator=self.generator) < 0.6
        masks[:, 0], masks[:, 1], masks[:, 2], masks[0, 2] = True, False, True, False
        return dict(zip(names, masks))


class Half(Draw):
    """Draws float64 numbers that a half precision holds. Called in the place of `gradients`, it
    hands its functions the same numbers in that precision.
    """

    def __init__(self, seed, dtype):
        super().__init__(seed)
        self.dtype = dtype

    def __call__(self, *shape):
        return super().__call__(*shape).to(self.dtype).double()

    def __getattr__(self, name):
        return lambda *args, **options: self.back(
            getattr(gradients, name)(
                *map(self.narrow, args), **{key: self.narrow(x) for key, x in options.items()}
            )
        )

    def narrow(self, x):
        if isinstance(x, dict):
            return {name: self.narrow(one) for name, one in x.items()}
        return x.to(self.dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    def back(self, found):
        if isinstance(found, dict):
            return {name: self.back(x) for name, x in found.items()}
        if isinstance(found, tuple):
            return tuple(map(self.back, found))
        assert found.dtype == self.dtype
        return found.double()


def entropy_case(soft=False, weighted=False, smoothing=0.0, temperature=1.0, padded=False):
    """cross_entropy_backward against autograd through torch's own loss, in one combination of
    its options.
    """

    def case(module, draw):
        rows = (2, T) if padded else (N,)
        z = draw.leaf(*rows, C)
        labels = draw.soft(*rows, C) if soft else draw.below(C, *rows)
        options = {"class_weights": draw(C).exp()} if weighted else {}
        mask = draw.mask(*rows) if padded else torch.ones(rows, dtype=torch.bool)
        loss = F.cross_entropy(
            z[mask] / temperature,
            labels[mask],
            weight=options.get("class_weights"),
            label_smoothing=smoothing,
        )
        # what stands under padding does not matter
        given = torch.where(mask[..., None], z.detach(), torch.nan)
        if padded:
            options["mask"] = mask
            labels = torch.where(
                mask[..., None] if soft else mask, labels, torch.nan if soft else -100
            )
        by_hand = module.cross_entropy_backward(
            given, labels, smoothing=smoothing, temperature=temperature, **options
        )
        return {"logits": by_hand}, {"logits": torch.autograd.grad(loss, z)[0]}

    return case


def binary_case(*shape, number=None):
    """binary_cross_entropy_backward against autograd, with a `pos_weight` of this shape, a number
    in its place, or none.
    """

    def case(module, draw):
        z, labels = draw.leaf(N, C), draw(N, C).sigmoid()
        v = draw(*shape).exp() if shape else number
        options = {} if v is None else {"pos_weight": v}
        given = torch.tensor(v, dtype=torch.float64) if number else v
        loss = F.binary_cross_entropy_with_logits(z, labels, pos_weight=given)
        by_hand = module.binary_cross_entropy_backward(z.detach(), labels, **options)
        return {"logits": by_hand}, {"logits": torch.autograd.grad(loss, z)[0]}

    return case


def layer_case(name, forward, *shapes, by_hand):
    """A layer inside a chain: `forward(*leaves)`, then a random d_out; `by_hand(module, d_out,
    *leaves)` gives a tuple.
    """

    def case(module, draw):
        leaves = [draw.leaf(*shape) for shape in shapes]
        out = forward(draw, *leaves)
        d_out = draw(*out.shape)
        names = [f"{name} {i}" for i in range(len(leaves))]
        reference = torch.autograd.grad(out, leaves, d_out)
        return (
            dict(
                zip(names, by_hand(module, d_out, *(leaf.detach() for leaf in leaves)), strict=True)
            ),
            dict(zip(names, reference, strict=True)),
        )

    return case


class Setup(NamedTuple):
    """A forward pass to be asked about.

    leaves   {name: tensor}, what it is asked about
    forward  of the leaves, gives its result
    by_hand  of the module of gradients, d_out and the leaves: {name: gradient}
    absent   {name: bool}, where a leaf is missing: it must get exactly 0
    """

    leaves: dict
    forward: Callable
    by_hand: Callable
    absent: dict


def asked(build):
    """A case out of `build(draw)`, which gives a Setup; a loss gets the d_out 1."""

    def case(module, draw):
        setup = build(draw)
        leaves = {name: x.detach().requires_grad_() for name, x in setup.leaves.items()}
        out = setup.forward(leaves)
        d_out = draw(*out.shape) if out.dim() else torch.ones((), dtype=torch.float64)
        reference = torch.autograd.grad(out, list(leaves.values()), d_out)
        by_hand = setup.by_hand(module, d_out, {name: x.detach() for name, x in leaves.items()})
        for name, gone in setup.absent.items():
            assert not by_hand[name][gone].any(), f"{name}: what is missing got a gradient"
        return by_hand, dict(zip(leaves, reference))

    case.build = build
    return case


EQUAL = {"text": 3, "image": 3, "audio": 3}
WIDTHS = {"text": 2, "image": 3, "audio": 1}


def strategy(cls, back, dims, output, shape=(), values=torch.clone, **options):
    """A strategy of `course_utils.fusion` with missing modalities, in whose place NaN stands. Its
    head, if it has one, is the identity. `back(module, d_out, features, mask, leaves)` gives the
    gradients of features and parameters by name.
    """

    def build(draw):
        layer = cls(dims, output, **options).double()
        mask = draw.masks(dims, ROWS)
        if shape:
            mask = {name: draw.mask(ROWS, *shape) & kept[:, None] for name, kept in mask.items()}
        leaves = {name: values(draw(ROWS, *shape, dim)) for name, dim in dims.items()}
        own = [name for name in layer.state_dict() if not name.startswith("head.")]
        leaves |= {name: draw(*layer.state_dict()[name].shape) for name in own}
        head = {"weight": torch.eye(output).double(), "bias": torch.zeros(output).double()}
        head = {f"head.{name}": x for name, x in head.items() if hasattr(layer, "head")}

        def features(leaves):
            return {
                name: torch.where(mask[name][..., None], leaves[name], torch.nan) for name in dims
            }

        def forward(leaves):
            parameters = head | {name: leaves[name] for name in own}
            given = ((features(leaves),), {"mask": mask})
            return torch.func.functional_call(layer, parameters, *given)

        def by_hand(module, d_out, leaves):
            return back(module, d_out, features(leaves), mask, leaves)

        return Setup(leaves, forward, by_hand, {name: ~kept for name, kept in mask.items()})

    return asked(build)


def combined(call, name, dims, values=torch.clone):
    """The same for a formula without a class: `call(features, mask)` is its result."""

    def build(draw):
        mask = draw.masks(dims, ROWS)
        # `key`, not `name`: Python 3.13.0 loses the name that a function inside also uses
        leaves = {key: values(draw(ROWS, dim)) for key, dim in dims.items()}

        def forward(leaves):
            return call(
                torch.stack([*leaves.values()], 1), torch.stack([*mask.values()], 1)[..., None]
            )

        def by_hand(module, d_out, leaves):
            hidden = {
                key: torch.where(mask[key][:, None], x, torch.nan) for key, x in leaves.items()
            }
            return getattr(module, name)(d_out, hidden, mask)

        return Setup(leaves, forward, by_hand, {key: ~kept for key, kept in mask.items()})

    return asked(build)


def zeroed(features, mask):
    return {name: torch.where(mask[name][:, None], x, 0) for name, x in features.items()}


def from_maps(where, found):
    """(d_inputs, d_weights, d_biases) under the names of the layers in `where`."""
    d_inputs, d_weights, d_biases = found
    named = {f"{where}.{name}.weight": x for name, x in d_weights.items()}
    return d_inputs | named | {f"{where}.{name}.bias": x for name, x in d_biases.items()}


def maps(where, leaves, dims, kind="weight"):
    return {name: leaves[f"{where}.{name}.{kind}"] for name in dims}


def weighted(name):
    def back(module, d_out, x, mask, leaves):
        d_x, d_scores = getattr(module, name)(d_out, x, leaves["scores"], mask)
        return d_x | {"scores": d_scores}

    return back


def linear_maps(name, where):
    def back(module, d_out, x, mask, leaves):
        return from_maps(where, getattr(module, name)(d_out, x, maps(where, leaves, x), mask))

    return back


def low_rank(module, d_out, x, mask, leaves):
    R, C = 2, d_out.shape[1]
    weights, biases = maps("factors", leaves, x), maps("factors", leaves, x, "bias")
    factors = {
        name: torch.cat([weights[name], biases[name][:, None]], 1).unflatten(0, (R, C))
        for name in x
    }
    d_x, d_factors, d_bias = module.low_rank_backward(d_out, x, factors, mask)
    flat = {name: each.flatten(0, 1) for name, each in d_factors.items()}
    d_weights = {name: each[:, :-1] for name, each in flat.items()}
    d_biases = {name: each[:, -1] for name, each in flat.items()}
    return from_maps("factors", (d_x, d_weights, d_biases)) | {"bias": d_bias}


def through_maps(where, d_results, x, leaves):
    """Back through the layers in `where`, each of one modality."""
    weights = maps(where, leaves, x)
    found = {key: gradients.linear_backward(d_results[key], x[key], weights[key]) for key in x}
    return from_maps(where, [{key: one[i] for key, one in found.items()} for i in range(3)])


def results(where, x, leaves):
    weights, biases = maps(where, leaves, x), maps(where, leaves, x, "bias")
    return {name: F.linear(x[name], weights[name], biases[name]) for name in x}


def gated(module, d_out, x, mask, leaves):
    clean = zeroed(x, mask)
    before = results("value", clean, leaves)
    values = {name: one.tanh() for name, one in before.items()}
    gate = leaves["gate.weight"], leaves["gate.bias"]
    d_values, d_x, d_weight, d_bias = module.gated_backward(d_out, values, x, *gate, mask)
    d_before = {
        name: gradients.activation_backward(d, before[name], "tanh") for name, d in d_values.items()
    }
    found = through_maps("value", d_before, clean, leaves)
    both = {name: found[name] + d for name, d in d_x.items()}
    return found | both | {"gate.weight": d_weight, "gate.bias": d_bias}


def film(module, d_out, x, mask, leaves):
    d_x, d_weight = module.film_backward(d_out, x, leaves["film.weight"], "image", mask)
    return d_x | {"film.weight": d_weight}


def attention_pool(module, d_out, x, mask, leaves):
    names = ["score.0.weight", "score.0.bias", "score.2.weight"]
    weight, bias, context = (leaves[name] for name in names)
    d_x, *found = module.attention_pool_backward(d_out, x, weight, bias, context[0], mask)
    return d_x | dict(zip(names, [*found[:2], found[2][None]]))


def experts(module, d_out, x, mask, leaves):
    clean = zeroed(x, mask)
    logits = results("heads", clean, leaves)
    d_logits, d_prior = module.product_of_experts_backward(d_out, logits, mask)
    return through_maps("heads", d_logits, clean, leaves) | {"log_prior": d_prior}


def crossed(module, d_out, x, mask, leaves):
    there, others = mask["image"], ["text", "audio"]
    prefix = "attend.image."
    parameters = {
        name.removeprefix(prefix): p for name, p in leaves.items() if name.startswith(prefix)
    }
    d_tokens = gradients.masked_mean_backward(d_out, there)
    d_x, d_keys, d = module.cross_attention_backward(
        d_tokens,
        x["image"],
        torch.cat([x[name] for name in others], 1),
        parameters | {"null": leaves["null"][0]},
        2,
        torch.cat([mask[name] for name in others], 1),
        there,
    )
    d_null = d.pop("null")[None]
    d_others = dict(zip(others, d_keys.split(T, 1)))
    return (
        {"image": d_x + d_tokens, "null": d_null} | d_others | {prefix + k: g for k, g in d.items()}
    )


def mixture(scores, present):
    probs = torch.where(present, scores.softmax(2), 0)
    mean = probs.sum(1) / present.sum(1).clamp(min=1)
    return torch.where(present.any(1), mean, 1).log()


def attention_case(*between, keys=T, masked=True, empty=False):
    """softmax(Q K^T / sqrt(d)) V with these axes between rows and queries, masked keys, NaN in
    their place, and rows without any key.
    """

    def build(draw):
        leaves = {name: draw(N, *between, size, D) for name, size in zip("qk", (C, keys))}
        leaves["v"] = draw(N, *between, keys, 2)
        kept = draw.mask(N, keys) if masked else torch.ones(N, keys, dtype=torch.bool)
        kept[1] &= not empty
        wide = kept.reshape(N, *[1] * len(between), 1, keys)

        def forward(leaves):
            q, k, v = leaves.values()
            if empty:
                return masked_softmax(q @ k.mT / D**0.5, wide, -1) @ v
            return F.scaled_dot_product_attention(q, k, v, attn_mask=wide)

        def by_hand(module, d_out, leaves):
            q, k, v = leaves.values()
            k, v = (torch.where(wide.mT, one, torch.nan) for one in (k, v))
            mask = (kept,) if masked else ()
            return dict(zip("qkv", module.attention_backward(d_out, q, k, v, *mask)))

        gone = (~wide.mT).expand(N, *between, keys, 1)[..., 0]
        return Setup(leaves, forward, by_hand, {"k": gone, "v": gone})

    return asked(build)


def plain_cross_attention(p, x, y, kept, heads):
    asked = F.linear(x, p["q.weight"], p["q.bias"]).chunk(heads, 2)
    keys = F.linear(y, p["k.weight"]).chunk(heads, 2)
    values = F.linear(y, p["v.weight"], p["v.bias"]).chunk(heads, 2)
    parts = []
    for q, k, v in zip(asked, keys, values):
        weights = masked_softmax(q @ k.mT / q.shape[2] ** 0.5, kept[:, None], 2)
        parts.append(weights @ v)
    return F.linear(torch.cat(parts, 2), p["out.weight"], p["out.bias"])


def cross_attention_case(heads, masked=True):
    """Multi-head attention without a null token, with rows without any key and masked queries."""
    width = 4

    def build(draw):
        leaves = {"x": draw(N, 3, width), "y": draw(N, T, width)}
        for name in ("q", "k", "v", "out"):
            leaves[f"{name}.weight"] = draw(width, width)
            leaves |= {} if name == "k" else {f"{name}.bias": draw(width)}
        kept = draw.mask(N, T) if masked else torch.ones(N, T, dtype=torch.bool)
        kept[1] &= not masked
        asks = draw.mask(N, 3) if masked else kept[:, :3]

        def forward(leaves):
            out = plain_cross_attention(leaves, leaves["x"], leaves["y"], kept, heads)
            return torch.where(asks[..., None], out, 0)

        def by_hand(module, d_out, leaves):
            p = {name: x for name, x in leaves.items() if name not in "xy"}
            y = torch.where(kept[..., None], leaves["y"], torch.nan)
            x = torch.where(asks[..., None], leaves["x"], torch.nan)
            mask = {"mask": kept, "query_mask": asks} if masked else {}
            d_x, d_y, d = module.cross_attention_backward(d_out, x, y, p, heads, **mask)
            return d | {"x": d_x, "y": d_y}

        return Setup(leaves, forward, by_hand, {"x": ~asks, "y": ~kept})

    return asked(build)


def unit_length_case(zeros=False):
    def build(draw):
        gone = torch.zeros(2, N, dtype=torch.bool)
        gone[0, 1] = zeros
        leaves = {"x": torch.where(gone[..., None], 0, draw(2, N, D))}
        return Setup(
            leaves,
            lambda leaves: torch.where(gone[..., None], 0, F.normalize(leaves["x"], dim=-1)),
            lambda module, d_out, leaves: {"x": module.unit_length_backward(d_out, leaves["x"])},
            {"x": gone},
        )

    return asked(build)


@asked
def cosine_case(draw):
    return Setup(
        {"a": draw(N, D), "b": draw(C, D)},
        lambda leaves: losses.cosines(*leaves.values()),
        lambda module, d_out, leaves: dict(
            zip("ab", module.cosine_backward(d_out, *leaves.values()))
        ),
        {},
    )


def paired(call, back, scalars=(), several=False):
    """A loss of `course_utils.losses` on two sides, by default with one positive a row."""

    def build(draw):
        leaves = {"a": draw(N, D), "b": draw(N, D)}
        leaves |= {name: draw(1).squeeze() for name in scalars}
        positives = None
        if several:
            positives = draw.mask(N, N) & ~draw.mask(N, N) | torch.eye(N, dtype=torch.bool)
            positives[0] = True  # a row without a negative

        def forward(leaves):
            return call(*leaves.values(), positives)

        def by_hand(module, d_out, leaves):
            given = () if positives is None else (positives,)
            return dict(zip(leaves, back(module, d_out, *leaves.values(), *given)))

        return Setup(leaves, forward, by_hand, {})

    return asked(build)


def sigmoid_loss(a, b, log_scale, bias, positives):
    loss, parameters = losses.SigmoidLoss(), {"log_scale": log_scale, "bias": bias}
    return torch.func.functional_call(loss, parameters, (a, b, positives))


def triplets(miner, margin):
    def seeded():
        return torch.Generator().manual_seed(7)

    def call(a, b, positives):
        return losses.triplet_loss(
            a, b, margin, miner=miner, positives=positives, generator=seeded()
        )

    def back(module, d_out, a, b, positives=None):
        own = torch.eye(N, dtype=torch.bool) if positives is None else positives
        scores, generator = losses.cosines(a, b), seeded()
        chosen = losses._mined(scores, ~own, miner, generator)
        chosen_b = losses._mined(scores.T, ~own.T, miner, generator)
        return module.triplet_backward(a, b, chosen, chosen_b, margin)

    return call, back


def info_nce_case(several=False):
    return paired(
        lambda a, b, log_scale, positives: losses.info_nce(a, b, log_scale.exp(), positives),
        lambda module, d_out, *given: module.info_nce_backward(*given),
        ["log_scale"],
        several,
    )


def sigmoid_case(several=False):
    return paired(
        sigmoid_loss,
        lambda module, d_out, *given: module.sigmoid_loss_backward(*given),
        ["log_scale", "bias"],
        several,
    )


MASK = Draw(99).mask(N, T)
MASK[1] = False  # a row without any token
# 3 occurs three times, 0 is padding, 2 never occurs
IDS = torch.tensor([[1, 3, 3, 0], [7, 3, 0, 0]])
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": F.gelu}

CASES = {
    "cross_entropy_backward": entropy_case(),
    "cross_entropy_backward, soft labels": entropy_case(soft=True),
    "cross_entropy_backward, smoothing": entropy_case(smoothing=0.2),
    "cross_entropy_backward, class weights": entropy_case(weighted=True),
    "cross_entropy_backward, weights and smoothing": entropy_case(weighted=True, smoothing=0.2),
    "cross_entropy_backward, soft labels, weights and smoothing": entropy_case(
        soft=True, weighted=True, smoothing=0.2
    ),
    "cross_entropy_backward, temperature": entropy_case(temperature=0.3),
    "cross_entropy_backward, soft labels and temperature": entropy_case(
        soft=True, temperature=7 / 9
    ),
    "cross_entropy_backward, padded": entropy_case(padded=True),
    "cross_entropy_backward, everything": entropy_case(
        weighted=True, smoothing=1 / 3, temperature=7 / 9, padded=True
    ),
    "cross_entropy_backward, everything, soft": entropy_case(
        True, weighted=True, smoothing=1 / 3, temperature=7 / 9, padded=True
    ),
    "binary_cross_entropy_backward": binary_case(),
    "binary_cross_entropy_backward, a weight for all": binary_case(number=1 / 3),
    "binary_cross_entropy_backward, a weight for each class": binary_case(C),
    "binary_cross_entropy_backward, a weight for each row": binary_case(N, 1),
    "binary_cross_entropy_backward, a weight for each entry": binary_case(N, C),
    "linear_backward": layer_case(
        "linear",
        lambda draw, x, W, b: F.linear(x, W, b),
        (N, D),
        (C, D),
        (C,),
        by_hand=lambda module, d_out, x, W, b: module.linear_backward(d_out, x, W),
    ),
    "linear_backward, more axes": layer_case(
        "linear",
        lambda draw, x, W, b: F.linear(x, W, b),
        (2, T, D),
        (C, D),
        (C,),
        by_hand=lambda module, d_out, x, W, b: module.linear_backward(d_out, x, W),
    ),
    **{
        f"activation_backward, {name}": layer_case(
            name,
            lambda draw, x, phi=phi: phi(x),
            (N, D),
            by_hand=lambda module, d_out, x, name=name: (
                module.activation_backward(d_out, x, name),
            ),
        )
        for name, phi in ACTIVATIONS.items()
    },
    "softmax_jacobian": layer_case(
        "softmax",
        lambda draw, z: z.softmax(-1),
        (N, C),
        by_hand=lambda module, d_out, z: (
            (d_out[:, None] @ module.softmax_jacobian(z.softmax(-1)))[:, 0],
        ),
    ),
    "softmax_backward": layer_case(
        "softmax",
        lambda draw, z: z.softmax(-1),
        (2, N, C),
        by_hand=lambda module, d_out, z: (module.softmax_backward(d_out, z.softmax(-1)),),
    ),
    "masked_mean_backward": layer_case(
        "mean",
        lambda draw, x: masked_mean(x, MASK),
        (N, T, D),
        by_hand=lambda module, d_out, x: (module.masked_mean_backward(d_out, MASK),),
    ),
    "global_average_pool_backward": layer_case(
        "pool",
        lambda draw, x: F.adaptive_avg_pool2d(x, 1).flatten(1),
        (N, C, 3, 2),
        by_hand=lambda module, d_out, x: (module.global_average_pool_backward(d_out, (3, 2)),),
    ),
    "embedding_backward": layer_case(
        "table",
        lambda draw, table: F.embedding(IDS, table),
        (V, D),
        by_hand=lambda module, d_out, table: (module.embedding_backward(d_out, IDS, V),),
    ),
    "embedding_backward, padding": layer_case(
        "table",
        lambda draw, table: F.embedding(IDS, table, padding_idx=0),
        (V, D),
        by_hand=lambda module, d_out, table: (
            module.embedding_backward(d_out, IDS, V, padding_idx=0),
        ),
    ),
    "concat_backward": layer_case(
        "concat",
        lambda draw, text, image: torch.cat([text, image], -1),
        (N, D),
        (N, C),
        by_hand=lambda module, d_out, text, image: module.concat_backward(
            d_out, {"text": D, "image": C}
        ).values(),
    ),
    "concat_backward, missing": strategy(
        fusion.ConcatFusion,
        lambda module, d_out, x, mask, leaves: module.concat_backward(d_out, WIDTHS, mask),
        WIDTHS,
        6,
    ),
    "weighted_concat_backward": strategy(
        fusion.WeightedConcatFusion, weighted("weighted_concat_backward"), WIDTHS, 6
    ),
    "sum_backward": strategy(
        fusion.SumFusion,
        lambda module, d_out, x, mask, leaves: module.sum_backward(d_out, list(x), mask),
        EQUAL,
        3,
        width=None,
    ),
    "mean_backward": strategy(
        fusion.MeanFusion,
        lambda module, d_out, x, mask, leaves: module.mean_backward(d_out, list(x), mask),
        EQUAL,
        3,
        width=None,
    ),
    "weighted_sum_backward": strategy(
        fusion.WeightedSumFusion, weighted("weighted_sum_backward"), EQUAL, 3, width=None
    ),
    "linear_fusion_backward": strategy(
        fusion.SumFusion, linear_maps("linear_fusion_backward", "project"), WIDTHS, 4, width=4
    ),
    **{
        f"max_backward{words}": strategy(
            fusion.MaxFusion,
            lambda module, d_out, x, mask, leaves: module.max_backward(d_out, x, mask),
            EQUAL,
            3,
            values=values,
            width=None,
        )
        for words, values in (("", torch.clone), (", ties", torch.round))
    },
    **{
        f"product_backward{words}": combined(
            lambda x, present: torch.where(present, x, 1).prod(1), "product_backward", EQUAL, values
        )
        for words, values in (("", torch.clone), (", zeros", torch.round))
    },
    "outer_backward": strategy(
        fusion.TensorFusion,
        lambda module, d_out, x, mask, leaves: module.outer_backward(d_out, x, mask),
        WIDTHS,
        24,
        width=None,
    ),
    "outer_backward, one modality": strategy(
        fusion.TensorFusion,
        lambda module, d_out, x, mask, leaves: module.outer_backward(d_out, x, mask),
        {"text": 3},
        4,
        width=None,
    ),
    "low_rank_backward, two modalities": strategy(
        fusion.LowRankTensorFusion, low_rank, {"text": 2, "image": 3}, C, rank=2
    ),
    "low_rank_backward": strategy(fusion.LowRankTensorFusion, low_rank, WIDTHS, C, rank=2),
    "gated_backward": strategy(fusion.GatedFusion, gated, WIDTHS, 4, hidden=4),
    "film_backward": strategy(fusion.FiLMFusion, film, WIDTHS, 3, content="image"),
    "attention_pool_backward": strategy(
        fusion.AttentionPoolFusion, attention_pool, EQUAL, 3, width=None
    ),
    "late_backward": strategy(fusion.LateFusion, linear_maps("late_backward", "heads"), WIDTHS, C),
    "mixture_backward": combined(mixture, "mixture_backward", EQUAL),
    "product_of_experts_backward": strategy(fusion.ProductOfExpertsFusion, experts, WIDTHS, C),
    "attention_backward": attention_case(),
    "attention_backward, heads": attention_case(2),
    "attention_backward, all keys": attention_case(masked=False),
    "attention_backward, rows without a key": attention_case(2, empty=True),
    "cross_attention_backward": strategy(
        fusion.CrossAttentionFusion,
        crossed,
        {"text": 4, "image": 4, "audio": 4},
        4,
        shape=(T,),
        query="image",
        heads=2,
        width=None,
    ),
    "cross_attention_backward, no null": cross_attention_case(2),
    "cross_attention_backward, one head, all keys": cross_attention_case(1, masked=False),
    "unit_length_backward": unit_length_case(),
    "unit_length_backward, a row of zeros": unit_length_case(zeros=True),
    "cosine_backward": cosine_case,
    "info_nce_backward": info_nce_case(),
    "info_nce_backward, several positives": info_nce_case(several=True),
    "sigmoid_loss_backward": sigmoid_case(),
    "sigmoid_loss_backward, several positives": sigmoid_case(several=True),
    **{
        f"triplet_backward, {miner}{words}": paired(*triplets(miner, margin), several=several)
        for miner in losses.MINERS
        for words, margin, several in (("", 0.7, False), (", several positives", 1 / 3, True))
    },
}
BACKWARDS = [name for name in gradients.__all__ if name.endswith(("_backward", "_jacobian"))]
