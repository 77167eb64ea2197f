"""The formulas of attention over tokens, against loops over the rows and against torch."""

import math

import pytest
import torch
from fusion_cases import THREE, TWO, VARIANTS, build, by_name, rows_with, sample
from torch import nn

from course_utils.fusion import BottleneckFusion
from course_utils.fusion.attention import _Block
from course_utils.masks import masked_mean


def test_attention_pool_equals_a_loop_over_the_rows():
    features, present = sample(tokens={"text": 4, "audio": 2})
    fusion = build("attention_pool")
    holes = torch.rand(8, 4, generator=torch.Generator().manual_seed(1)) < 0.6
    mask = {
        "text": holes & present[:, :1],
        "image": present[:, 1],
        "audio": torch.ones(8, 2, dtype=torch.bool),
    }
    logits, info = fusion(features, mask=mask, return_info=True)
    for i in range(8):
        items = []
        for n, x in features.items():
            kept = mask[n][i].view(-1)  # (T_m,), one for a vector
            items.append(fusion.project[n](x[i].view(-1, THREE[n])[kept]))
        h = torch.cat(items)
        a = (
            torch.tanh(h @ fusion.score[0].weight.T + fusion.score[0].bias)
            @ fusion.score[2].weight[0]
        ).softmax(0)
        assert torch.allclose(logits[i], fusion.head(a @ h), rtol=0, atol=1e-13)
        parts = a.split([len(x) for x in items])
        sums = torch.stack([part.sum() for part in parts])
        assert torch.allclose(info.weights[i], sums, rtol=0, atol=1e-14)
        there = info.attention["text"][i][mask["text"][i]]
        assert torch.allclose(there, parts[0], rtol=0, atol=1e-14)
    assert (
        info.attention["text"].shape == (8, 4) and not info.attention["text"][~mask["text"]].any()
    )


@pytest.mark.parametrize("name", ["cross_attention", "cross_attention query", "cross_attention co"])
def test_cross_attention_equals_torchs_and_the_explicit_formula(name):
    tokens = {"text": 3, "image": 4, "audio": 2}
    features, present = sample(tokens=tokens)
    present[:, :2] |= ~present.any(1, keepdim=True)
    holes = {
        n: (
            (torch.rand(8, T, generator=torch.Generator().manual_seed(T)) < 0.7)
            & present[:, i : i + 1]
        )
        for i, (n, T) in enumerate(tokens.items())
    }
    fusion = build(name)
    nn.init.normal_(fusion.null)
    logits, info = fusion(features, mask=holes, return_info=True)
    x = {n: fusion._prepare(n, features[n], holes[n]) for n in THREE}
    pooled, asked = [], []
    for null, (asker, attend) in zip(fusion.null, fusion.attend.items()):
        keys = torch.cat([*(x[n] for n in THREE if n != asker), null.expand(8, 1, -1)], 1)
        kept = torch.cat(
            [*(holes[n] for n in THREE if n != asker), torch.ones(8, 1, dtype=torch.bool)], 1
        )
        found, weights = [], []
        rows = zip(
            *(m.weight.chunk(attend.heads) for m in (attend.q, attend.k, attend.v)),
            *(m.bias.chunk(attend.heads) for m in (attend.q, attend.v)),
        )
        for Wq, Wk, Wv, bq, bv in rows:
            Q, K, V = x[asker] @ Wq.T + bq, keys @ Wk.T, keys @ Wv.T + bv
            S = (Q @ K.transpose(1, 2) / math.sqrt(Q.shape[2])).masked_fill(
                ~kept[:, None], -math.inf
            )
            weights.append(S.softmax(2))
            found.append(weights[-1] @ V)
            torchs = nn.functional.scaled_dot_product_attention(Q, K, V, attn_mask=kept[:, None])
            assert torch.allclose(found[-1], torchs, rtol=0, atol=1e-13)
        assert info.attention[asker].shape == (8, attend.heads, tokens[asker], keys.shape[1])
        there = holes[asker][:, None, :, None]
        assert torch.allclose(
            info.attention[asker], torch.stack(weights, 1) * there, rtol=0, atol=1e-13
        )
        assert torch.allclose(
            info.attention[asker].sum(3, keepdim=True),
            there.double().expand(-1, attend.heads, -1, -1),
            rtol=0,
            atol=1e-14,
        )
        pooled.append(masked_mean(x[asker] + attend.out(torch.cat(found, 2)), holes[asker]))
        asked.append(holes[asker].any(1, keepdim=True))
    mean = sum(pooled) / sum(asked).clamp(min=1)
    assert torch.allclose(logits, fusion.head(mean), rtol=0, atol=1e-12) and info.weights is None


def test_without_the_query_modality_one_way_attention_gives_the_bias_and_co_attention_does_not():
    features, _ = sample(name="cross_attention")
    mask = rows_with("image", "audio")
    one, both = build("cross_attention"), build("cross_attention co")
    assert torch.equal(one(features, mask=mask), one.head.bias.expand(8, 7))
    assert (both(features, mask=mask) - both.head.bias).abs().min() > 1e-6


def test_the_transformer_block_is_torchs_without_the_key_bias():
    torch.manual_seed(0)
    ours = _Block(8, 2).double()
    theirs = nn.TransformerEncoderLayer(
        8, 2, 16, 0, "gelu", batch_first=True, norm_first=True
    ).double()
    for p in ours.parameters():
        nn.init.normal_(p)
    a, zero = ours.attention, torch.zeros(8, dtype=torch.float64)
    theirs.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat([a.q.weight, a.k.weight, a.v.weight]),
            "self_attn.in_proj_bias": torch.cat([a.q.bias, zero, a.v.bias]),
            "self_attn.out_proj.weight": a.out.weight,
            "self_attn.out_proj.bias": a.out.bias,
            **{
                f"linear{i}.{k}": v
                for i, j in ((1, 0), (2, 2))
                for k, v in ours.mlp[j].state_dict().items()
            },
            **{f"norm1.{k}": v for k, v in ours.before_attention.state_dict().items()},
            **{f"norm2.{k}": v for k, v in ours.before_mlp.state_dict().items()},
        }
    )
    x, kept = torch.randn(4, 5, 8, dtype=torch.float64), torch.rand(4, 5) < 0.6
    kept[:, 0] = True
    assert torch.allclose(ours(x, kept), theirs(x, src_key_padding_mask=~kept), rtol=0, atol=1e-11)


def test_bottleneck_and_joint_transformer_equal_loops_over_rows_and_present_modalities():
    features, present = sample(tokens={"text": 4, "audio": 2})
    narrow, joint = build("bottleneck"), build("joint_transformer")
    together = [fusion(features, mask=by_name(present)) for fusion in (narrow, joint)]
    for i in range(8):
        here = [n for n, there in zip(THREE, present[i]) if there]
        x, shared = (
            {n: narrow.project[n](features[n][i].view(1, -1, THREE[n])) for n in here},
            narrow.bottlenecks[None],
        )
        for blocks in narrow.layers:
            # the order of tokens does not matter
            whole = {n: torch.cat([x[n], shared], 1) for n in here}
            whole = {
                n: blocks[n](z, torch.ones(1, z.shape[1], dtype=torch.bool))
                for n, z in whole.items()
            }
            x, last = {n: z[:, :-4] for n, z in whole.items()}, [z[:, -4:] for z in whole.values()]
            shared = sum(last) / len(last) if last else shared
        assert torch.allclose(together[0][i], narrow.head(shared.mean(1))[0], rtol=0, atol=1e-12)
        z = torch.cat(
            [
                joint.token.view(1, 1, -1),
                *(
                    joint.project[n](features[n][i].view(1, -1, THREE[n])) + joint.kinds[m]
                    for m, n in enumerate(THREE)
                    if n in here
                ),
            ],
            1,
        )
        for block in joint.layers:
            z = block(z, torch.ones(1, z.shape[1], dtype=torch.bool))
        assert torch.allclose(together[1][i], joint.head(z[:, 0])[0], rtol=0, atol=1e-12)


def test_bottlenecks_start_different():
    rows = BottleneckFusion(TWO, 7).bottlenecks
    assert torch.pdist(rows).min() > 1e-3


def test_the_joint_transformer_without_anything_gives_the_same_for_each_such_row():
    features, _ = sample()
    logits = build("joint_transformer")(features, mask=rows_with())
    assert torch.allclose(logits, logits[:1].expand(8, 7), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "name", [name for name, (cls, _) in VARIANTS.items() if cls.accepts != "vectors"]
)
def test_the_order_of_tokens_does_not_matter(name):
    features, present = sample(tokens={"text": 5, "image": 4}, name=name)
    holes = torch.rand(8, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    mask = {"text": holes, "image": present[:, 1]}
    fusion, order = build(name), torch.tensor([3, 0, 4, 1, 2])
    moved = fusion(
        features | {"text": features["text"][:, order]},
        mask=mask | {"text": mask["text"][:, order]},
    )
    assert torch.allclose(moved, fusion(features, mask=mask), rtol=0, atol=1e-12)
