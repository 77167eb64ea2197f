"""Strategies that attend: over modalities, or over the tokens of all modalities."""

import math

import torch
from torch import Tensor, nn

from course_utils.checks import check_whole
from course_utils.fusion.additive import SumFusion
from course_utils.fusion.base import Fusion, FusionInfo, mlp, one_of
from course_utils.masks import masked_mean, masked_softmax


class AttentionPoolFusion(SumFusion):
    """One softmax over all present items of all modalities: logits = W sum_i a_i h_i + b.

        a = softmax_i(u . tanh(U h_i + c)),   i over the tokens of all modalities together

    A vector is one item, so with vectors this is attention over modalities. A modality of many
    tokens has many items and by that more weight at the start. Not additive: the softmax makes
    modalities compete. Over single vectors it only reweighs what is summed, and XOR of two signs
    stays out of reach. Order does not matter.

    Cost in multiply-adds a row, D = `width`, N items: N D (D + 1) + D C.
    Missing items have weight 0 and no gradient. A row without any item gives b.
    Weights: the sum of a over a modality's items. Attention: a, by modality (B, T_m).
    Contributions: W times the sum of a_i h_i over a modality's items; they sum to the logits
    minus b.
    Source: Yang et al. 2016, Hierarchical attention networks for document classification
    (NAACL), for the score.
    """

    accepts = "both"

    def __init__(self, input_dims: dict[str, int], output_dim: int, **options):
        super().__init__(input_dims, output_dim, **options)
        width = self.sizes[0]
        self.score = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False)
        )

    def values(self, inputs: list[Tensor]) -> Tensor:
        # M times (B, T_m, D) -> (B, N, D)
        return torch.cat(inputs, 1)

    def weights(self, inputs: list[Tensor], present: list[Tensor]) -> Tensor:
        # (B, N, 1)
        return masked_softmax(self.score(self.values(inputs)), torch.cat(present, 1)[..., None], 1)

    def explain(self, inputs: list[Tensor], present: list[Tensor]) -> FusionInfo:
        items = super().explain(inputs, present)
        lengths = [x.shape[1] for x in inputs]
        attention = items.weights.split(lengths, 1)  # M times (B, T_m)
        parts = items.contributions.split(lengths, 1)  # M times (B, T_m, C)
        return FusionInfo(
            weights=torch.stack([a.sum(1) for a in attention], 1),
            attention=dict(zip(self.names, attention)),
            contributions=torch.stack([part.sum(1) for part in parts], 1),
        )

    def own_parameters(self) -> int:
        return super().own_parameters() + self.sizes[0] * (self.sizes[0] + 2)

    def own_multiply_adds(self, lengths: dict[str, int]) -> int:
        D, N = self.sizes[0], sum(lengths.values())
        return super().own_multiply_adds(lengths) + N * D * (D + 1)


class CrossAttentionFusion(Fusion):
    """The tokens of one modality ask those of all others, and what they find is added to them.

        logits = W mean_i (x_i + attention(x_i, [y; null])) + b

    with i over the present tokens of the query modality, which is the first, or `query="name"`.
    Its multi-head attention is softmax(Q K^T / sqrt(d)) V with d = `width` / `heads`. A learned
    token, null (with `co` one for each that asks), stands among keys and values: a query can look
    at nothing, and the softmax is finite when everything else is masked. With `co=True` every
    modality asks all others (an attention of its own for each) and the pooled vectors are averaged
    over the modalities present. The order of tokens does not matter; add positions to the features
    if it should. Single vectors are refused: a vector as the only key gets all the attention
    whatever the query is, and beside null the query could only choose how much of it to take.

    Cost in multiply-adds a row, D = `width`, for T queries and K keys (null is one): D (2 D (T +
    K) + 2 T K), with `co` for each modality, and D C for the head.
    Missing: masked keys have weight 0. One-way, a row without the query modality gives b
    whatever the others say. Attention: {query modality: (B, heads, T, K)}, the others' tokens in
    order, null last; rows of masked queries are zero. Weights stay None, because what comes past
    the attention, x_i itself, has none.
    Double backward: torch's fused attention has none; call the layer under
    `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`, which costs memory.
    Source: Vaswani et al. 2017, Attention is all you need (arXiv:1706.03762); both ways in Lu et
    al. 2019, ViLBERT (arXiv:1908.02265).
    """

    accepts = "tokens"
    at_least = 2

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        query: str | None = None,
        co: bool = False,
        heads: int = 4,
        width: int | None = 32,
        **options,
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        if co and query is not None:
            raise ValueError(
                f"query: expected None with co=True, where every modality asks, got {query!r}"
            )
        self.asking = self.names if co else (one_of("query", query, self.names),)
        self.sizes = [width := self._equal_width(), output_dim]
        self.attend = nn.ModuleDict({name: _Attention(width, heads) for name in self.asking})
        # zero: its first score is 0 for any query
        self.null = nn.Parameter(torch.zeros(len(self.asking), width))
        self.head = mlp(self.sizes)

    def _question(
        self, asker: int, inputs: list[Tensor], present: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, T, D), keys (B, K, D) with null as the last, and which keys are there, (B,
        K).
        """
        at = self.names.index(self.asking[asker])
        null = self.null[asker].expand(inputs[0].shape[0], 1, -1)  # (B, 1, D)
        always = torch.ones_like(present[0][:, :1])  # (B, 1)
        keys = torch.cat([*inputs[:at], *inputs[at + 1 :], null], 1)
        kept = torch.cat([*present[:at], *present[at + 1 :], always], 1)
        return inputs[at], keys, kept

    def fuse(self, inputs: list[Tensor], present: list[Tensor]) -> Tensor:
        there = [present[self.names.index(name)] for name in self.asking]
        pooled = []
        for i, attend in enumerate(self.attend.values()):
            x, keys, kept = self._question(i, inputs, present)
            pooled.append(masked_mean(x + attend(x, keys, kept), there[i]))  # (B, D)
        asked = torch.stack([kept.any(1) for kept in there], 1)  # (B, askers)
        return self.head(masked_mean(torch.stack(pooled, 1), asked))  # (B, D) -> (B, C)

    def explain(self, inputs: list[Tensor], present: list[Tensor]) -> FusionInfo:
        attention = {}
        for i, (name, attend) in enumerate(self.attend.items()):
            there = present[self.names.index(name)][:, None, :, None]  # (B, 1, T, 1)
            weights = attend.weights(*self._question(i, inputs, present))
            attention[name] = torch.where(there, weights, 0)
        return FusionInfo(attention=attention)

    def own_parameters(self) -> int:
        D = self.sizes[0]
        return super().own_parameters() + len(self.asking) * 4 * (D**2 + D)

    def own_multiply_adds(self, lengths: dict[str, int]) -> int:
        D, total = self.sizes[0], super().own_multiply_adds(lengths)
        for name in self.asking:
            T = lengths[name]
            K = sum(lengths.values()) - T + 1
            total += D * (2 * D * (T + K) + 2 * T * K)
        return total


class BottleneckFusion(Fusion):
    """Bottleneck transformer: modalities meet only in a few extra tokens, so attention grows
    with each T_m squared.

    In each of `layers` layers every modality's tokens and the n = `bottlenecks` learned tokens
    go through a transformer block of that modality; then the bottlenecks become the mean of what
    the modalities present made of them. The head reads the mean of the last ones, normalised
    (the paper reads a class token of each modality). The order of tokens within a modality does
    not matter; add positions to the features if it should.

    Cost in multiply-adds a row, D = `width`: layers times sum_m (8 (T_m + n) D^2 + 2 (T_m + n)^2
    D), and D C for the head. The scores of one joint sequence would take (sum_m T_m)^2 in the
    place of sum_m (T_m + n)^2.
    Missing: masked tokens are no keys; a missing modality is left out of the mean. A row without
    any modality keeps the learned bottlenecks, which gives the same logits for every such row.
    Double backward: torch's fused attention has none; call the layer under
    `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`, which costs memory.
    Source: Nagrani et al. 2021, Attention bottlenecks for multimodal fusion (arXiv:2107.00135).
    """

    accepts = "both"

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        bottlenecks: int = 4,
        layers: int = 2,
        heads: int = 4,
        width: int | None = 32,
        **options,
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        check_whole(1, bottlenecks=bottlenecks, layers=layers)
        self.sizes = [width := self._equal_width(), output_dim]
        # different, or all would stay alike
        self.bottlenecks = nn.Parameter(0.02 * torch.randn(bottlenecks, width))
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: _Block(width, heads) for name in self.names})
            for _ in range(layers)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), mlp(self.sizes))

    def fuse(self, inputs: list[Tensor], present: list[Tensor]) -> Tensor:
        n = self.bottlenecks.shape[0]
        shared = self.bottlenecks.expand(inputs[0].shape[0], -1, -1)  # (B, n, D)
        always = torch.ones_like(shared[..., 0], dtype=torch.bool)  # (B, n)
        there = torch.stack([kept.any(1) for kept in present], 1)  # (B, M)
        for blocks in self.layers:
            states = []
            for block, x, kept in zip(blocks.values(), inputs, present):
                x = torch.cat([shared, x], 1)  # (B, n + T_m, D)
                states.append(block(x, torch.cat([always, kept], 1)))
            inputs = [state[:, n:] for state in states]
            updates = torch.stack([state[:, :n].flatten(1) for state in states], 1)  # (B, M, n D)
            updated = masked_mean(updates, there).view_as(shared)
            shared = torch.where(there.any(1)[:, None, None], updated, shared)
        return self.head(shared.mean(1))  # (B, D) -> (B, C)

    def own_parameters(self) -> int:
        (n, D), blocks = self.bottlenecks.shape, len(self.layers) * len(self.names)
        return super().own_parameters() + (n + 2) * D + blocks * (8 * D**2 + 10 * D)

    def own_multiply_adds(self, lengths: dict[str, int]) -> int:
        n, D = self.bottlenecks.shape
        block = sum(8 * (T + n) * D**2 + 2 * (T + n) ** 2 * D for T in lengths.values())
        return super().own_multiply_adds(lengths) + len(self.layers) * block


class JointTransformerFusion(Fusion):
    """Single-stream transformer: all tokens of all modalities in one sequence, every token asks
    every other one.

    The sequence is a learned class token, then x + e_m for each token x of modality m, with one
    learned e_m for each modality so that the blocks can tell them apart. After `layers` blocks
    the head reads the normalised class token. Order of tokens within a modality does not matter;
    add positions to the features if it should.

    Cost in multiply-adds a row, D = `width`, N = 1 + sum T_m: layers times (8 N D^2 + 2 N^2 D),
    and D C for the head.
    Missing: masked tokens are no keys. A row without any modality leaves the class token alone,
    which gives the same logits for every such row.
    Double backward: torch's fused attention has none; call the layer under
    `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`, which costs memory.
    Source: Li et al. 2019, VisualBERT (arXiv:1908.03557); Kim, Son and Kim 2021, ViLT
    (arXiv:2102.03334).
    """

    accepts = "both"

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        layers: int = 2,
        heads: int = 4,
        width: int | None = 32,
        **options,
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        check_whole(1, layers=layers)
        self.sizes = [width := self._equal_width(), output_dim]
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.kinds = nn.Parameter(0.02 * torch.randn(len(self.names), width))
        self.layers = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), mlp(self.sizes))

    def fuse(self, inputs: list[Tensor], present: list[Tensor]) -> Tensor:
        token = self.token.expand(inputs[0].shape[0], 1, -1)
        # (B, N, D)
        states = torch.cat([token, *(x + kind for x, kind in zip(inputs, self.kinds))], 1)
        # (B, N)
        kept = torch.cat([torch.ones_like(present[0][:, :1]), *present], 1)
        for block in self.layers:
            states = block(states, kept)
        # (B, D) -> (B, C)
        return self.head(states[:, 0])

    def own_parameters(self) -> int:
        # class token, kinds, last norm; then the blocks
        D, M = self.sizes[0], len(self.names)
        return super().own_parameters() + (1 + M + 2) * D + len(self.layers) * (8 * D**2 + 10 * D)

    def own_multiply_adds(self, lengths: dict[str, int]) -> int:
        D, N = self.sizes[0], 1 + sum(lengths.values())
        return super().own_multiply_adds(lengths) + len(self.layers) * (8 * N * D**2 + 2 * N**2 * D)


class _Attention(nn.Module):
    """Multi-head attention softmax(Q K^T / sqrt(d)) V of queries x (B, T, D) to keys y (B, K,
    D), d = D / heads.

    `kept` (B, K) says which keys are there; the caller takes care that one is. K has no bias: it
    would add the same number to all scores of a query, the softmax cancels that, and it could
    never learn.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        check_whole(1, heads=heads)
        if width % heads:
            raise ValueError(f"heads: expected a divisor of the width {width}, got {heads}")
        self.heads = heads
        self.q, self.v, self.out = (nn.Linear(width, width) for _ in range(3))
        self.k = nn.Linear(width, width, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, T, D) -> (B, heads, T, d)

    def forward(self, x: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        q, k, v = self._split(self.q(x)), self._split(self.k(y)), self._split(self.v(y))
        found = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=kept[:, None, None])
        return self.out(found.transpose(1, 2).flatten(2))  # (B, heads, T, d) -> (B, T, D)

    def weights(self, x: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        """The softmax alone, (B, heads, T, K), which the fused kernel of `forward` does not hand
        out.
        """
        q, k = self._split(self.q(x)), self._split(self.k(y))
        return masked_softmax(q @ k.mT / math.sqrt(q.shape[-1]), kept[:, None, None], 3)


class _Block(nn.Module):
    """A transformer block that normalises first: x + attention(norm(x)), then x + MLP(norm(x)),
    (B, T, D) -> (B, T, D).

    8 D^2 + 10 D parameters: attention 4 D^2 + 3 D, the MLP 4 D^2 + 3 D, two norms 4 D.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        y = self.before_attention(x)
        x = x + self.attention(y, y, kept)
        return x + self.mlp(self.before_mlp(x))
