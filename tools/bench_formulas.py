"""The fusion strategies' formulas in plain PyTorch, with the weights of a copy (`twin`): what
`tools/bench.py` compares with.
"""

from collections.abc import Callable

import torch
from torch import cat, einsum, ones_like, stack, where, zeros_like
from torch.nn import functional as F
from torch.nn.functional import layer_norm, linear, log_softmax, pad, scaled_dot_product_attention


def share(scores, kept, dim: int = 1):
    """Softmax over what is kept; the rest gets 0, and a row without any gets zeros."""
    return scores.masked_fill(~kept, torch.finfo(scores.dtype).min).softmax(dim) * kept


def projected(twin, inputs: list, columns: list) -> list:
    """The twin's projections, zero where a modality or token is missing."""
    return (
        [
            torch.where(kept[..., None], project(x), 0)
            for project, x, kept in zip(twin.project.values(), inputs, columns)
        ]
        if twin.project
        else inputs
    )


def vector_formulas() -> dict[str, tuple[str, Callable]]:
    """By the name in STRATEGIES: what the counterpart is made of, and formula(twin, inputs,
    mask) -> (B, C). The mask is a list of M times (B,) bool.
    """

    def columns(mask) -> list:
        return [kept[:, None] for kept in mask]  # M times (B, 1)

    def hidden(twin, x, mask) -> list:
        return projected(twin, x, mask)

    def count(mask):
        return stack(mask, 1).sum(1, keepdim=True).clamp(min=1)

    def weighted(scores, x, mask) -> list:
        return [a[:, None] * h for a, h in zip(share(scores, stack(mask, 1)).unbind(1), x)]

    def late(twin, x, mask):
        return sum(
            where(kept, head(h), 0) for head, h, kept in zip(twin.heads.values(), x, columns(mask))
        ) / count(mask)

    def experts(twin, x, mask):
        return twin.log_prior + sum(
            where(kept, log_softmax(head(h), 1) - twin.log_prior, 0)
            for head, h, kept in zip(twin.heads.values(), x, columns(mask))
        )

    def largest(twin, x, mask):
        scored = [
            where(kept, project(h), -torch.inf)
            for project, h, kept in zip(twin.project.values(), x, columns(mask))
        ]
        return twin.head(where(stack(mask, 1).any(1, keepdim=True), stack(scored, 1).amax(1), 0))

    def gated(twin, x, mask):
        # (B, M, H)
        values = stack([value(h) for value, h in zip(twin.value.values(), x)], 1).tanh()
        return twin.head(
            (share(twin.gate(cat(x, 1)).view_as(values), stack(mask, 1)[..., None]) * values).sum(1)
        )

    def film(twin, x, mask):
        scale, shift = twin.film(cat(x[1:], 1)).chunk(2, 1)
        return twin.head((1 + scale) * x[0] + shift)

    def bilinear(twin, x, mask):
        a, b, c = hidden(twin, x, mask)
        return twin.head(
            cat([einsum("bi,bj->bij", *pair).flatten(1) for pair in ((a, b), (a, c), (b, c))], 1)
        )

    def tensor(twin, x, mask):
        return twin.head(
            einsum(
                "bi,bj,bk->bijk", *(pad(h, (0, 1), value=1) for h in hidden(twin, x, mask))
            ).flatten(1)
        )

    def low_rank(twin, x, mask):
        a, b, c = (factor(h) for factor, h in zip(twin.factors.values(), x))
        return (a * b * c).view(len(a), twin.rank, -1).sum(1) + twin.bias

    return {
        "weighted_concat": (
            "softmax + torch.cat + nn.Linear",
            lambda twin, x, mask: twin.head(cat(weighted(twin.scores, x, mask), 1)),
        ),
        "early": (
            "torch.cat + nn.Sequential",
            lambda twin, x, mask: twin.head(twin.encoder(cat(x, 1))),
        ),
        "late": ("nn.Linear each, mean", late),
        "product_of_experts": ("nn.Linear and log_softmax each, sum", experts),
        "sum": ("nn.Linear each, sum", lambda twin, x, mask: twin.head(sum(hidden(twin, x, mask)))),
        "mean": (
            "nn.Linear each, mean",
            lambda twin, x, mask: twin.head(sum(hidden(twin, x, mask)) / count(mask)),
        ),
        "weighted_sum": (
            "nn.Linear each, weighted sum",
            lambda twin, x, mask: twin.head(
                sum(weighted(twin.scores, hidden(twin, x, mask), mask))
            ),
        ),
        "max": ("nn.Linear each, amax", largest),
        "gated": ("nn.Linear, tanh and softmax", gated),
        "film": ("nn.Linear, (1 + scale) x + shift", film),
        "bilinear": ("einsum of each pair + nn.Linear", bilinear),
        "tensor": ("einsum of [h; 1] + nn.Linear", tensor),
        "low_rank": ("product of nn.Linear", low_rank),
    }


def token_formulas() -> dict[str, tuple[str, Callable]]:
    """As `vector_formulas`; the mask is a list of (B, T)."""

    def found(attend, q, k, v, kept):
        # (B, heads, T, d)
        q, k, v = (x.unflatten(2, (attend.heads, -1)).transpose(1, 2) for x in (q, k, v))
        return attend.out(
            scaled_dot_product_attention(q, k, v, kept[:, None, None]).transpose(1, 2).flatten(2)
        )

    def normed(norm, x):
        return layer_norm(x, norm.normalized_shape, norm.weight, norm.bias)

    def encoder_block(block, x, kept):
        q, k, v = (getattr(block.attention, name) for name in "qkv")
        weight, bias = (
            cat([q.weight, k.weight, v.weight]),
            cat([q.bias, zeros_like(q.bias), v.bias]),
        )
        x = x + found(
            block.attention,
            *linear(normed(block.before_attention, x), weight, bias).chunk(3, 2),
            kept,
        )
        return x + block.mlp(normed(block.before_mlp, x))

    def mean(x, kept):
        return where(kept[..., None], x, 0).sum(1) / kept.sum(1, keepdim=True).clamp(min=1)

    def pool(twin, x, mask):
        items, kept = cat(projected(twin, x, mask), 1), cat(mask, 1)
        # (B, 1, N) (B, N, D)
        return twin.head((share(twin.score(items), kept[..., None]).mT @ items)[:, 0])

    def cross(twin, x, mask):
        asking, *others = projected(twin, x, mask)
        keys = cat([*others, twin.null.expand(len(asking), 1, -1)], 1)
        kept = cat([*mask[1:], ones_like(mask[0][:, :1])], 1)
        (attend,) = twin.attend.values()
        return twin.head(
            mean(
                asking + found(attend, attend.q(asking), attend.k(keys), attend.v(keys), kept),
                mask[0],
            )
        )

    def bottleneck(twin, x, mask):
        x, n = projected(twin, x, mask), len(twin.bottlenecks)
        shared, there = (
            twin.bottlenecks.expand(len(x[0]), -1, -1),
            stack([kept.any(1) for kept in mask], 1),
        )
        wide = [cat([ones_like(kept[:, :1]).expand(-1, n), kept], 1) for kept in mask]
        for blocks in twin.layers:
            states = [
                encoder_block(block, cat([shared, h], 1), kept)
                for block, h, kept in zip(blocks.values(), x, wide)
            ]
            x = [state[:, n:] for state in states]
            # (B, M, 1, 1)
            kept = there[..., None, None]
            updates = where(kept, stack([state[:, :n] for state in states], 1), 0).sum(
                1
            ) / kept.sum(1).clamp(min=1)
            shared = where(kept.any(1), updates, shared)
        norm, head = twin.head
        return head(normed(norm, shared.mean(1)))

    def joint(twin, x, mask):
        x = projected(twin, x, mask)
        states = cat(
            [twin.token.expand(len(x[0]), 1, -1), *(h + kind for h, kind in zip(x, twin.kinds))], 1
        )
        kept = cat([ones_like(mask[0][:, :1]), *mask], 1)
        for block in twin.layers:
            states = encoder_block(block, states, kept)
        norm, head = twin.head
        return head(normed(norm, states[:, 0]))

    name = "scaled_dot_product_attention"
    return {
        "attention_pool": ("softmax + matmul", pool),
        "cross_attention": (name, cross),
        "bottleneck": (f"{name}, layer_norm", bottleneck),
        "joint_transformer": (f"{name}, layer_norm", joint),
    }


# ---- losses of alignment, from two sides (B, D)


def loss_formulas() -> dict[str, tuple[Callable, Callable]]:
    """What it is called, our loss and its formula in plain PyTorch, temperature .07 throughout."""
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss

    from course_utils.losses import SigmoidLoss, info_nce, triplet_loss

    def similarities(a, b):
        return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T

    def sigmoid(a, b):
        scores = 10 * similarities(a, b) - 10
        signs = 2 * torch.eye(len(a)) - 1
        return -F.logsigmoid(signs * scores).sum(1).mean()

    def hardest(a, b):
        scores = similarities(a, b)
        others = scores.masked_fill(torch.eye(len(a), dtype=torch.bool), -2)
        own = scores.diagonal()
        return sum(F.relu(0.2 + others.amax(d) - own).mean() for d in (0, 1)) / 2

    return {
        "info_nce; transformers, loss of CLIP": (
            lambda a, b: info_nce(a, b, 1 / 0.07),
            lambda a, b: image_text_contrastive_loss(similarities(a, b) / 0.07),
        ),
        "SigmoidLoss; logsigmoid as in transformers' SigLIP": (SigmoidLoss(), sigmoid),
        "triplet_loss, hardest; amax and relu": (
            lambda a, b: triplet_loss(a, b, miner="hard"),
            hardest,
        ),
    }


def ranks_by_sorting(scores, relevant):
    """The textbook: sort each query's whole list, and find the first relevant item in it."""
    order = scores.argsort(dim=1, descending=True)  # (Q, N)
    return relevant.gather(1, order).int().argmax(1) + 1
