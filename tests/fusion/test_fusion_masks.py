"""Masks go by name: what is masked never matters, and a mask that does not fit is refused."""

import itertools
import math

import pytest
import torch
from fusion_cases import THREE, TWO, VARIANTS, X, build, by_name, rows_with, sample, variants
from torch import nn

from course_utils.fusion import ConcatFusion, ModalityDropout


@variants
def test_a_mask_goes_by_name_in_any_order(name):
    features, present = sample(name=name)
    fusion = build(name)
    expected = fusion(features, mask=by_name(present))
    for order in itertools.permutations(THREE):
        mask = {n: present[:, list(THREE).index(n)] for n in order}
        assert torch.equal(fusion(features, mask=mask), expected)
        reordered = {n: features[n] for n in order}
        assert torch.equal(fusion(reordered, mask=by_name(present)), expected)


def test_a_mask_may_leave_modalities_out_and_speak_of_all_tokens_at_once():
    for name in VARIANTS:
        features, present = sample(tokens={"text": 5}, name=name)
        fusion = build(name)
        assert torch.equal(fusion(features, mask={}), fusion(features))
        whole = by_name(present)
        by_token = whole | {"text": present[:, :1].expand(8, 5)}
        assert torch.equal(fusion(features, mask=whole), fusion(features, mask=by_token))
        everywhere = rows_with(*THREE) | {"text": whole["text"]}
        only = {"text": whole["text"]}
        assert torch.equal(fusion(features, mask=only), fusion(features, mask=everywhere))


def test_without_a_mask_nothing_is_masked(monkeypatch):
    """Where all is present, `torch.where` over the features would cost as much as a small fusion
    itself.
    """
    fusion, features = build("concat everything"), sample(tokens={"text": 3})[0]
    fusion.placeholder = None
    expected = fusion(features, mask=rows_with(*THREE))
    monkeypatch.delattr(torch, "where")
    assert torch.equal(fusion(features), expected)


@variants
@pytest.mark.parametrize("seed", range(3))
def test_a_masked_batch_equals_each_row_alone_without_what_is_masked(name, seed):
    """Row by row: only the present tokens are handed over, and a missing modality is any other
    numbers, masked.
    """
    rng = torch.Generator().manual_seed(100 + seed)
    tokens = dict(zip(("text", "audio"), torch.randint(1, 6, (2,), generator=rng).tolist()))
    features, present = sample(tokens=tokens, seed=seed, name=name)
    mask = {
        n: (torch.rand(8, T, generator=rng) < 0.5) & present[:, list(THREE).index(n), None]
        for n, T in tokens.items()
    }
    mask["image"] = present[:, 1]
    fusion = build(name)
    together = fusion(features, mask=mask)
    for i in range(8):
        alone, here = {}, {}
        for n, x in features.items():
            kept = mask[n][i].view(-1)  # (T_m,), one for a whole modality
            here[n] = kept.any()[None]
            alone[n] = (
                x[i : i + 1]
                if x.dim() == 2
                else x[i : i + 1, kept]
                if here[n]
                else torch.rand(1, 2, x.shape[2], dtype=torch.float64)
            )
        found = fusion(alone, mask=here)
        assert torch.allclose(found, together[i : i + 1], rtol=0, atol=1e-12)


@variants
def test_nan_in_masked_places_changes_neither_results_nor_gradients(name):
    features, present = sample(tokens={"text": 5}, name=name)
    holes = torch.rand(8, 5, generator=torch.Generator().manual_seed(3)) < 0.5
    for mask in (by_name(present), by_name(present) | {"text": holes & present[:, :1]}):
        seen = []
        for fill in (0.0, 7.0, math.inf, math.nan):
            fusion = build(name)
            spoiled = {n: x.clone() for n, x in features.items()}
            for n, keep in mask.items():
                spoiled[n][~keep] = fill
            leaves = {n: x.requires_grad_() for n, x in spoiled.items()}
            result = fusion(leaves, mask=mask)
            result.square().sum().backward()
            seen.append(
                [
                    result.detach(),
                    *(p.grad for p in fusion.parameters()),
                    *(x.grad for x in leaves.values()),
                ]
            )
        for other in seen[1:]:
            assert all(torch.equal(a, b) for a, b in zip(seen[0], other))
        assert all(x.isfinite().all() for x in seen[0])
        assert not seen[0][-1][~present[:, 2]].any()  # no gradient reaches a missing modality


NOT_AS_IF_BUILT_WITHOUT = {
    **dict.fromkeys(
        ("concat placeholder", "concat everything", "weighted_concat everything"),
        "a missing block is learned",
    ),
    **dict.fromkeys(
        ("low_rank", "low_rank projected"),
        "the factor of [0; 1] is learned, and would have to be 1",
    ),
    "early encoder": "a reader's own encoder may do as it likes",
}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in NOT_AS_IF_BUILT_WITHOUT])
@pytest.mark.parametrize(
    "tokens", [None, {"text": 3, "image": 2, "audio": 4}], ids=["vectors", "tokens"]
)
def test_a_masked_modality_is_as_if_the_strategy_were_built_without_it(name, tokens):
    """The one built without gets the same numbers: of each tensor the leading part that it has."""
    features, _ = sample(tokens=tokens, name=name)
    whole, part, mask = build(name), build(name, TWO), rows_with("text", "image")
    given = whole.state_dict()
    if name == "tensor":  # of [h_audio; 1] only the 1 is left
        given["head.weight"] = whole.head.weight.view(7, -1, whole.dims[2] + 1)[:, :, -1]
    part.load_state_dict(
        {key: given[key][tuple(slice(n) for n in x.shape)] for key, x in part.state_dict().items()}
    )
    without = part({n: features[n] for n in TWO})
    assert torch.allclose(whole(features, mask=mask), without, rtol=0, atol=1e-12)


ROW_OF_NOTHING = {
    **dict.fromkeys(
        (
            "concat",
            "concat projected",
            "weighted_concat",
            "sum",
            "mean",
            "weighted_sum",
            "weighted_sum fixed",
            "max",
            "gated",
            "film",
            "bilinear",
            "attention_pool",
            "cross_attention",
            "cross_attention co",
        ),
        lambda f: f.head.bias,
    ),
    "concat placeholder": lambda f: f.head(f.placeholder),
    "weighted_concat everything": lambda f: f.head(f.placeholder),
    "early": lambda f: f.head(f.encoder(torch.zeros(15, dtype=torch.float64))),
    "late": lambda f: torch.zeros(7, dtype=torch.float64),
    "product_of_experts": lambda f: torch.full((7,), 1 / 7, dtype=torch.float64).log(),
    "product_of_experts prior": lambda f: f.log_prior,
    "tensor": lambda f: f.head.bias + f.head.weight[:, -1],
    "low_rank": (
        lambda f: f.bias + math.prod(factor.bias for factor in f.factors.values()).view(4, 7).sum(0)
    ),
    "bottleneck": lambda f: f.head(f.bottlenecks.mean(0)),
}


@pytest.mark.parametrize("name", ROW_OF_NOTHING)
def test_a_row_without_anything_gives_what_the_docstring_says(name):
    features, present = sample(name=name)
    fusion = build(name)
    if hasattr(fusion, "placeholder") and fusion.placeholder is not None:
        nn.init.normal_(fusion.placeholder)
    # an even prior was built in float32
    tolerance = 1e-7 if name == "product_of_experts" else 1e-14
    found = fusion(features, mask=by_name(present))[-1]
    assert torch.allclose(found, ROW_OF_NOTHING[name](fusion), rtol=0, atol=tolerance)


BOOL = torch.ones(3, 2, dtype=torch.bool)


@pytest.mark.parametrize(
    "mask, error, message",
    [
        (
            BOOL,
            TypeError,
            "mask: expected a dict of boolean tensors by name, out of ['text', 'image'], got a"
            " tensor of shape (3, 2), in which nothing would show it if two modalities had changed"
            " places",
        ),
        (
            BOOL.tolist(),
            TypeError,
            "mask: expected a dict of boolean tensors by name, out of ['text', 'image'], got list",
        ),
        (
            {"video": BOOL[:, 0]},
            ValueError,
            "mask: expected modalities out of ['text', 'image'], got ['video']",
        ),
        (
            {"text": BOOL},
            ValueError,
            "mask['text']: expected shape (3,) for the whole modality or (3, 4) for its tokens, as"
            " features['text'] is (3, 4, 6), got (3, 2)",
        ),
        ({"text": BOOL[:, :1]}, ValueError, "as features['text'] is (3, 4, 6), got (3, 1)"),
        ({"text": torch.ones(4, dtype=torch.bool)}, ValueError, "(3, 4, 6), got (4,)"),
        ({"text": torch.ones(4, 3, dtype=torch.bool)}, ValueError, "(3, 4, 6), got (4, 3)"),
        (
            {"image": BOOL[:, :1]},
            ValueError,
            "mask['image']: expected shape (3,), as features['image'] is (3, 5), got (3, 1)",
        ),
        ({"image": torch.ones(3, 5, dtype=torch.bool)}, ValueError, "(3, 5), got (3, 5)"),
        ({"image": torch.tensor(True)}, ValueError, "(3, 5), got ()"),
        (
            {"text": torch.ones(3, 4)},
            TypeError,
            "mask['text']: expected torch.bool, True = present, got torch.float32",
        ),
        ({"image": torch.ones(3).long()}, TypeError, "mask['image']: expected torch.bool"),
        ({"text": None}, TypeError, "mask['text']: expected a boolean tensor, got NoneType"),
        ({"text": [True] * 3}, TypeError, "mask['text']: expected a boolean tensor, got list"),
        (
            {"text": BOOL[:, 0].to("meta")},
            ValueError,
            "mask['text']: expected on cpu like the parameters, got meta",
        ),
    ],
)
@pytest.mark.parametrize("takes_mask", ["a strategy", "modality dropout"])
def test_masks_that_do_not_fit(mask, error, message, takes_mask):
    features = X | {"text": torch.zeros(3, 4, 6)}
    with pytest.raises(error) as caught:
        if takes_mask == "a strategy":
            ConcatFusion(TWO, 4)(features, mask=mask)
        else:
            ModalityDropout(0.5)(features, mask)
    assert message in str(caught.value)
