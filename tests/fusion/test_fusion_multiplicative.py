"""The formulas of gates, scales and products, written another way."""

import pytest
import torch
from fusion_cases import THREE, TWO, build, rows_with, sample, unrounded

from course_utils.fusion import BilinearFusion, LowRankTensorFusion, TensorFusion


def test_the_gate_of_two_is_z_and_one_minus_z():
    features, _ = sample(TWO)
    fusion = build("gated", TWO)
    x = torch.cat([*features.values()], 1)
    (U1, U2), (d1, d2) = fusion.gate.weight.chunk(2), fusion.gate.bias.chunk(2)
    z = torch.sigmoid(x @ (U1 - U2).T + d1 - d2)
    v1, v2 = (torch.tanh(fusion.value[n](features[n])) for n in TWO)
    logits, info = fusion(features, return_info=True)
    assert torch.allclose(logits, fusion.head(z * v1 + (1 - z) * v2), rtol=0, atol=1e-13)
    assert torch.allclose(info.weights[:, 0], z.mean(1), rtol=0, atol=1e-14)


def test_film_scales_and_shifts_and_leaves_alone_what_has_no_condition():
    features, _ = sample()
    fusion = build("film content")
    h = {n: fusion.project[n](x) for n, x in features.items()}
    G, S = fusion.film.weight.chunk(2)
    c = torch.cat([h["text"], h["audio"]], 1)
    assert torch.allclose(
        fusion(features), fusion.head((1 + c @ G.T) * h["image"] + c @ S.T), rtol=0, atol=1e-13
    )
    alone = fusion(features, mask=rows_with("image"))
    assert torch.allclose(alone, fusion.head(h["image"]), rtol=0, atol=1e-14)


def test_bilinear_and_tensor_fusion_equal_their_explicit_products():
    features, _ = sample()
    t, i, a = features.values()
    fusion = unrounded(BilinearFusion(THREE, 7, width=None).double())
    W = fusion.head.weight.split([30, 24, 20], 1)
    pairs = [
        torch.einsum("bi,cij,bj->bc", x, w.view(7, x.shape[1], y.shape[1]), y)
        for w, (x, y) in zip(W, ((t, i), (t, a), (i, a)))
    ]
    assert torch.allclose(fusion(features), sum(pairs) + fusion.head.bias, rtol=0, atol=1e-13)
    fusion = unrounded(TensorFusion(THREE, 7, width=None).double())
    one = [torch.cat([x, torch.ones(8, 1, dtype=torch.float64)], 1) for x in (t, i, a)]
    z = torch.einsum("bi,bj,bk->bijk", *one)
    assert torch.allclose(fusion(features), fusion.head(z.flatten(1)), rtol=0, atol=1e-13)


def test_low_rank_fusion_is_the_sum_of_products_and_at_full_rank_any_tensor_fusion():
    features, _ = sample()
    fusion, ones = build("low_rank"), torch.ones(8, 1, dtype=torch.float64)
    # (R, C, D + 1)
    F = [torch.cat([f.weight, f.bias[:, None]], 1).view(4, 7, -1) for f in fusion.factors.values()]
    one = [torch.cat([x, ones], 1) for x in features.values()]
    explicit = torch.einsum("bi,bj,bk,rci,rcj,rck->bc", *one, *F) + fusion.bias
    assert torch.allclose(fusion(features), explicit, rtol=0, atol=1e-12)

    full = unrounded(TensorFusion(TWO, 3, width=None).double())
    low = LowRankTensorFusion(TWO, 3, rank=6).double()  # the smaller of 6 + 1 and 5 + 1
    # for each class
    U, S, Vh = torch.linalg.svd(full.head.weight.view(3, 7, 6), full_matrices=False)
    # (R C, D + 1)
    left, right = (U * S[:, None]).permute(2, 0, 1).flatten(0, 1), Vh.permute(1, 0, 2).flatten(0, 1)
    low.load_state_dict(
        {
            "bias": full.head.bias,
            "factors.text.weight": left[:, :-1],
            "factors.text.bias": left[:, -1],
            "factors.image.weight": right[:, :-1],
            "factors.image.bias": right[:, -1],
        }
    )
    two = {n: features[n] for n in TWO}
    assert torch.allclose(low(two), full(two), rtol=0, atol=1e-12)


@pytest.mark.parametrize("M", [2, 4, 7])
def test_low_rank_fusion_starts_at_one_scale_for_any_number_of_modalities(M):
    dims = {f"m{i}": 20 for i in range(M)}
    torch.manual_seed(0)
    squares = [
        LowRankTensorFusion(dims, 10)({n: torch.randn(200, 20) for n in dims}).square().mean()
        for _ in range(20)
    ]
    assert 0.5 < torch.stack(squares).mean() < 2
