"""Every strategy: the nine contracts, its formula, its masks, and an error for everything that does not fit."""
import copy
import itertools
import math

import pytest
import torch
from torch import nn

from course_utils.contracts import check_contracts
from course_utils.datasets import collate
from course_utils.fusion import STRATEGIES, ConcatFusion, EarlyFusion, Fusion, FusionInfo, LateFusion, masked_mean

TWO, THREE = {"text": 6, "image": 5}, {"text": 6, "image": 5, "audio": 4}
VARIANTS = {name: (cls, {}) for name, cls in STRATEGIES.items()} | {
    "concat hidden": (ConcatFusion, {"hidden": 9}),
    "concat projected": (ConcatFusion, {"width": 3, "normalise": True}),
    "concat placeholder": (ConcatFusion, {"placeholder": True}),
    "concat everything": (ConcatFusion, {"hidden": 9, "placeholder": True, "width": 3, "normalise": True}),
    "early encoder": (EarlyFusion, {"hidden": 8, "encoder": lambda i, o: nn.Sequential(nn.Linear(i, o), nn.Tanh())}),
    "late normalised": (LateFusion, {"normalise": True}),
    "late hidden, projected": (LateFusion, {"hidden": 9, "width": 3}),
}
variants = pytest.mark.parametrize("name", VARIANTS)


def build(name, dims=THREE, output_dim=7, dtype=torch.float64):
    cls, options = VARIANTS[name]
    torch.manual_seed(0)
    return cls(dims, output_dim, **options).to(dtype)


def sample(dims=THREE, batch=8, tokens=None, seed=0, dtype=torch.float64):
    """Random features and a random mask with each modality missing somewhere, and in the last row all of them."""
    rng = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(*((batch, tokens[name], dim) if name in (tokens or {}) else (batch, dim)),
                                  generator=rng, dtype=dtype) for name, dim in dims.items()}
    mask = torch.rand(batch, len(dims), generator=rng) < 0.6
    mask[:len(dims)] ^= torch.eye(len(dims), dtype=torch.bool)
    mask[-1] = False
    return features, mask


class SumOfProjections(Fusion):
    """A strategy as a contributor would write it: the shared parts come from the base."""

    def __init__(self, input_dims, output_dim, *, width=8, **options):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.head = nn.Linear(width, output_dim)

    def fuse(self, inputs, present):
        return self.head(torch.stack(inputs, 1).sum(1))

    def own_parameters(self):
        return (self.width + 1) * self.output_dim


class MaxOverTokens(Fusion):
    """The largest of all present tokens' projections, 0 where there is none."""
    accepts = "both"

    def __init__(self, input_dims, output_dim, *, width=8, **options):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.head = nn.Linear(width, output_dim)

    def fuse(self, inputs, present):
        tokens, kept = torch.cat(inputs, 1), torch.cat(present, 1)
        largest = tokens.masked_fill(~kept[..., None], -torch.inf).amax(1)
        return self.head(torch.where(kept.any(1, keepdim=True), largest, 0))

    def own_parameters(self):
        return (self.width + 1) * self.output_dim


class OnlyTokens(MaxOverTokens):
    accepts = "tokens"


# ---- the nine contracts

@variants
@pytest.mark.parametrize("dims, tokens", [(TWO, None), (THREE, None), (TWO, {"text": 3, "image": 4}), (THREE, {"text": 5, "audio": 1})],
                         ids=["2 vectors", "3 vectors", "2 tokens", "3 mixed"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_every_strategy_keeps_all_nine_contracts(name, dims, tokens, dtype):
    cls, options = VARIANTS[name]
    for seed in (0, 1) if dtype == torch.float64 else (0,):
        results = check_contracts(lambda: cls(dims, 7, **options), tokens=tokens, seed=seed, dtype=dtype)
        kept = [True] * 8 + [None if name == "early encoder" else True]  # no formula for a reader's own encoder
        assert [r.kept for r in results] == kept, results
        assert results[2].seen == "an all-present mask changes no bit"


@pytest.mark.parametrize("cls", [SumOfProjections, MaxOverTokens, OnlyTokens])
def test_a_new_strategy_of_a_few_lines_keeps_them_too(cls):
    for dims, tokens in ((TWO, None), (THREE, {"text": 5, "image": 2, "audio": 1})):
        assert all(r.kept for r in check_contracts(cls, dims=dims, tokens=tokens))


def test_the_table_of_strategies_builds_every_class():
    assert list(STRATEGIES) == ["concat", "early", "late"]
    for cls in STRATEGIES.values():
        fusion = cls({"text": 6, "image": 5, "audio": 4}, 7)
        assert fusion(sample(dtype=torch.float32)[0]).shape == (8, 7)
        assert fusion.accepts == "vectors" and fusion.names == ("text", "image", "audio")


@pytest.mark.parametrize("fusion, count", [
    (ConcatFusion(TWO, 4), 11 * 4 + 4), (ConcatFusion(TWO, 4, hidden=3), 12 * 3 + 4 * 4),
    (ConcatFusion(TWO, 4, width=3, normalise=True, placeholder=True), 7 * 3 + 6 * 3 + 2 * 6 + 6 + 7 * 4),
    (EarlyFusion(TWO, 4, hidden=3), 12 * 3 + 4 * 3 + 4 * 4), (LateFusion(TWO, 4), 7 * 4 + 6 * 4),
    (LateFusion(TWO, 4, hidden=3, normalise=True), 2 * 11 + 7 * 3 + 6 * 3 + 2 * 16)])
def test_the_parameter_formula_by_hand(fusion, count):
    assert fusion.parameter_formula() == count == sum(p.numel() for p in fusion.parameters())


# ---- the formulas

def test_linear_concat_is_a_linear_layer_on_the_concatenation():
    features, mask = sample()
    fusion = build("concat")
    glued = torch.cat([features[name] for name in THREE], 1)
    assert torch.equal(fusion(features), nn.functional.linear(glued, fusion.head.weight, fusion.head.bias))
    kept = torch.repeat_interleave(mask, torch.tensor(list(THREE.values())), 1)
    assert torch.equal(fusion(features, mask=mask), nn.functional.linear(glued * kept, fusion.head.weight, fusion.head.bias))


def test_late_fusion_is_the_mean_of_the_present_heads():
    features, mask = sample()
    fusion = build("late hidden, projected")
    heads = {name: fusion.heads[name](fusion.project[name](features[name])) for name in THREE}
    for i, row in enumerate(mask):
        present = [heads[name][i] for name, here in zip(THREE, row) if here]
        expected = torch.stack(present).mean(0) if present else torch.zeros(7, dtype=torch.float64)
        assert torch.allclose(fusion(features, mask=mask)[i], expected, rtol=0, atol=1e-14)


def test_the_mean_of_logits_is_the_normalised_geometric_mean_of_probabilities():
    features, _ = sample()
    fusion = build("late")
    probs = torch.stack([fusion.heads[name](features[name]).softmax(1) for name in THREE])
    geometric = probs.prod(0) ** (1 / 3)
    assert torch.allclose(fusion(features).softmax(1), geometric / geometric.sum(1, keepdim=True), atol=1e-14)


def test_early_fusion_hands_the_raw_inputs_to_one_encoder():
    features, _ = sample()
    fusion = EarlyFusion(THREE, 4, hidden=15, encoder=lambda inputs, hidden: nn.Identity()).double()
    assert torch.equal(fusion(features), fusion.head(torch.cat([features[name] for name in THREE], 1)))
    with pytest.raises(TypeError, match="width"):
        EarlyFusion(THREE, 4, width=3)


def test_normalised_modalities_reach_the_map_at_one_scale():
    features, _ = sample()
    loud = features | {"image": 1000 * features["image"]}
    scale = {}
    for normalise in (False, True):
        fusion = ConcatFusion(THREE, 7, normalise=normalise).double()
        scale[normalise] = [fusion._prepare(n, loud[n], torch.ones(8, 1, dtype=torch.bool)).std().item() for n in THREE]
    assert scale[False][1] > 500 * scale[False][0]
    assert scale[True] == pytest.approx([1, 1, 1], abs=0.15)


@pytest.mark.parametrize("name", ["concat", "concat projected", "concat placeholder", "late", "late hidden, projected"])
def test_contributions_sum_to_the_logits_minus_the_bias(name):
    features, mask = sample(tokens={"audio": 3})
    fusion = build(name)
    bias = fusion.head.bias if name.startswith("concat") else 0
    for given in (None, mask):
        logits, info = fusion(features, mask=given, return_info=True)
        assert torch.equal(logits, fusion(features, mask=given))
        assert info.contributions.shape == (8, 3, 7)
        assert torch.allclose(info.contributions.sum(1), logits - bias, rtol=0, atol=1e-14)
    if name != "concat placeholder":
        assert not info.contributions[~mask].any()


def test_late_weights_sum_to_one_where_anything_is_present():
    features, mask = sample()
    _, info = build("late")(features, mask=mask, return_info=True)
    assert torch.allclose(info.weights.sum(1), mask.any(1).double())
    assert torch.equal(info.weights > 0, mask)


def test_what_has_no_contributions_says_so():
    for name in ("concat hidden", "early"):
        assert build(name)(sample()[0], return_info=True)[1] == FusionInfo(None, None, None)


def interaction(fusion):
    """The four-point statistic of the logits, f(a, b) - f(a', b) - f(a, b') + f(a', b')."""
    (a, b), (c, d) = (sample(TWO, seed=seed)[0].values() for seed in (1, 2))
    f = [fusion({"text": x, "image": y}) for x, y in ((a, b), (c, b), (a, d), (c, d))]
    return (f[0] - f[1] - f[2] + f[3]).abs().max().item()


def test_additive_strategies_have_no_interaction_and_hidden_layers_have():
    for name in ("concat", "concat projected", "concat placeholder", "late", "late normalised", "late hidden, projected"):
        assert interaction(build(name, TWO)) < 1e-14, name
    for name in ("concat hidden", "early", "early encoder"):
        assert interaction(build(name, TWO)) > 1e-2, name


@variants
@pytest.mark.parametrize("tokens", [None, {"text": 3, "image": 2}], ids=["vectors", "tokens"])
def test_gradcheck(name, tokens):
    features, mask = sample(TWO, batch=4, tokens=tokens)
    fusion = EarlyFusion(TWO, 3, hidden=5).double() if name == "early" else build(name, TWO, 3)
    leaves = [x.requires_grad_() for x in features.values()]
    parameters = dict(fusion.named_parameters())

    def run(text, image, *values):
        return torch.func.functional_call(fusion, dict(zip(parameters, values)), ({"text": text, "image": image},), {"mask": mask})

    assert torch.autograd.gradcheck(run, (*leaves, *parameters.values()))


# ---- masks

@variants
@pytest.mark.parametrize("seed", range(3))
def test_a_masked_batch_equals_each_row_alone_without_what_is_masked(name, seed):
    """Row by row: only the present tokens are handed over, and a missing modality is any other numbers, masked."""
    tokens = {"text": 5, "audio": 4}
    features, present = sample(tokens=tokens, seed=seed)
    rng = torch.Generator().manual_seed(100 + seed)
    mask = {n: (torch.rand(8, T, generator=rng) < 0.5) & present[:, list(THREE).index(n), None] for n, T in tokens.items()}
    mask["image"] = present[:, 1:2]
    fusion = build(name)
    together = fusion(features, mask=mask)
    for i in range(8):
        alone, here = {}, []
        for n, x in features.items():
            kept = mask[n][i]
            here.append(bool(kept.any()))
            alone[n] = x[i:i + 1] if x.dim() == 2 else x[i:i + 1, kept] if here[-1] else torch.rand(1, 2, x.shape[2]).double()
        assert torch.allclose(fusion(alone, mask=torch.tensor([here])), together[i:i + 1], atol=1e-13)


@variants
def test_nan_in_masked_places_changes_neither_results_nor_gradients(name):
    features, present = sample(tokens={"text": 5})
    holes = torch.rand(8, 5, generator=torch.Generator().manual_seed(3)) < 0.5
    for mask in (present, {"text": holes & present[:, :1], "image": present[:, 1:2], "audio": present[:, 2:]}):
        seen = []
        for fill in (0.0, 7.0, math.inf, math.nan):
            fusion = build(name)
            spoiled = {n: x.clone() for n, x in features.items()}
            for n, keep in mask.items() if isinstance(mask, dict) else zip(THREE, mask.unbind(1)):
                spoiled[n][~(keep[:, 0] if spoiled[n].dim() == 2 and keep.dim() == 2 else keep)] = fill
            leaves = {n: x.requires_grad_() for n, x in spoiled.items()}
            result = fusion(leaves, mask=mask)
            result.square().sum().backward()
            seen.append([result.detach(), *(p.grad for p in fusion.parameters()), *(x.grad for x in leaves.values())])
        for other in seen[1:]:
            assert all(torch.equal(a, b) for a, b in zip(seen[0], other))
        assert all(x.isfinite().all() for x in seen[0])
        assert not seen[0][-1][~present[:, 2]].any()  # no gradient reaches a missing modality


@pytest.mark.parametrize("name", ["concat", "concat projected", "late", "late hidden, projected", "late normalised"])
def test_a_masked_modality_is_as_if_the_strategy_were_built_without_it(name):
    features, _ = sample()
    whole, part = build(name), build(name, TWO)
    state = {key: whole.state_dict()[key] for key in part.state_dict()}
    if name.startswith("concat"):
        state["head.weight"] = whole.head.weight[:, :sum(part.dims)]
    part.load_state_dict(state)
    mask = torch.tensor([[True, True, False]]).expand(8, 3)
    without = part({n: features[n] for n in TWO})
    assert torch.allclose(whole(features, mask=mask), without, atol=1e-14)


@pytest.mark.parametrize("name, expected", [("concat", "bias"), ("concat projected", "bias"), ("late", "zeros"), ("early", "encoder of zeros"),
                                            ("concat placeholder", "placeholders")])
def test_a_row_without_anything_gives_what_the_docstring_says(name, expected):
    features, mask = sample()
    fusion = build(name)
    if name == "concat placeholder":
        nn.init.normal_(fusion.placeholder)
    value = {"bias": lambda: fusion.head.bias, "zeros": lambda: torch.zeros(7, dtype=torch.float64),
             "encoder of zeros": lambda: fusion.head(fusion.encoder(torch.zeros(15, dtype=torch.float64))),
             "placeholders": lambda: fusion.head(fusion.placeholder)}[expected]()
    assert torch.allclose(fusion(features, mask=mask)[-1], value, atol=1e-14)


def test_a_dict_mask_may_cover_some_modalities_and_both_forms_agree():
    features, mask = sample(tokens={"text": 5})
    for name in VARIANTS:
        fusion = build(name)
        assert torch.equal(fusion(features, mask={}), fusion(features))
        columns = {"text": mask[:, :1].expand(8, 5), "image": mask[:, 1:2], "audio": mask[:, 2:]}
        assert torch.equal(fusion(features, mask=columns), fusion(features, mask=mask))
        only = torch.cat([mask[:, :1], torch.ones(8, 2, dtype=torch.bool)], 1)
        assert torch.equal(fusion(features, mask={"text": columns["text"]}), fusion(features, mask=only))


def test_the_masks_of_collate_fit():
    samples = [{"text": "two", "image": torch.rand(1, 4, 4), "label": 2}, {"text": None, "image": None, "label": 0},
               {"text": "seven", "image": None, "label": 7}]
    batch = collate(samples)
    features = {"text": nn.functional.one_hot(batch["text"], 27).float(), "image": batch["image"].flatten(1)}
    mask = {"text": batch["mask"]["text"], "image": batch["present"][:, 1:]}
    fusion = ConcatFusion({"text": 27, "image": 16}, 10)
    logits = fusion(features, mask=mask)
    assert torch.equal(logits[1], fusion.head.bias)
    assert torch.allclose(logits[2], fusion.head.bias + fusion.head.weight[:, :27] @ features["text"][2, :5].mean(0))


def test_masked_mean():
    tokens, mask = torch.tensor([[[2.0], [4.0], [math.nan]], [[math.inf], [1.0], [1.0]]]), torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()
    assert masked_mean(tokens, mask).tolist() == [[3.0], [0.0]]


def test_tokens_are_pooled_for_vector_strategies():
    features, _ = sample(tokens=dict.fromkeys(THREE, 4))
    pooled = {name: x.mean(1) for name, x in features.items()}
    single = {name: x[:, None] for name, x in pooled.items()}
    for name in VARIANTS:
        fusion = build(name)
        assert torch.allclose(fusion(features), fusion(pooled), atol=1e-14) and torch.equal(fusion(single), fusion(pooled))


@variants
def test_the_order_of_modalities_is_the_constructors(name):
    features, mask = sample()
    fusion = build(name)
    for order in itertools.permutations(THREE):
        assert torch.equal(fusion({n: features[n] for n in order}, mask=mask), fusion(features, mask=mask))


# ---- where it runs

@variants
def test_it_runs_on_the_meta_device_and_under_autocast(name):
    features, mask = sample(dtype=torch.float32)
    fusion = build(name, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = features | {"text": features["text"].bfloat16()}
        assert torch.allclose(fusion(mixed, mask=mask).float(), fusion(features, mask=mask).float(), atol=0.1)
    meta = copy.deepcopy(fusion).to("meta")
    assert meta({n: x.to("meta") for n, x in features.items()}, mask=mask.to("meta")).shape == (8, 7)


# ---- what does not fit

X = {"text": torch.zeros(3, 6), "image": torch.zeros(3, 5)}
FITS = torch.ones(3, 2, dtype=torch.bool)


@pytest.mark.parametrize("features, error, message", [
    ({}, ValueError, "features: expected a dict with the modalities ['text', 'image'], got []; a missing modality keeps its name"),
    ([1, 2], ValueError, "got list"),
    ({"text": X["text"]}, ValueError, "['text', 'image'], got ['text']"),
    (X | {"audio": X["text"]}, ValueError, "got ['text', 'image', 'audio']"),
    (X | {"image": [[0.0] * 5] * 3}, TypeError, "features['image']: expected a tensor, got list"),
    (X | {"image": X["image"].long()}, TypeError, "features['image']: expected torch.float32 like the parameters, got torch.int64"),
    (X | {"image": X["image"].double()}, TypeError, "features['image']: expected torch.float32 like the parameters, got torch.float64"),
    (X | {"text": torch.zeros(3, 5)}, ValueError, "features['text']: expected shape (B, 6) or (B, T, 6), got (3, 5)"),
    (X | {"text": torch.zeros(6)}, ValueError, "features['text']: expected shape (B, 6) or (B, T, 6), got (6,)"),
    (X | {"text": torch.zeros(3, 2, 2, 6)}, ValueError, "got (3, 2, 2, 6)"),
    (X | {"text": torch.zeros(4, 6)}, ValueError, "features: expected as many rows in each modality, got {'text': 4, 'image': 3}"),
    (X | {"text": torch.zeros(0, 6)}, ValueError, "features['text']: expected at least one row and one token, got shape (0, 6)"),
    (X | {"text": torch.zeros(3, 0, 6)}, ValueError, "got shape (3, 0, 6)"),
    (X | {"text": torch.zeros(3, 6, device="meta")}, ValueError, "features['text']: expected on cpu like the parameters, got meta"),
])
@pytest.mark.parametrize("cls", STRATEGIES.values())
def test_features_that_do_not_fit(cls, features, error, message):
    with pytest.raises(error) as caught:
        cls(TWO, 4)(features, mask=FITS)
    assert message in str(caught.value)


@pytest.mark.parametrize("mask, error, message", [
    (torch.ones(3, 2), TypeError, "mask: expected torch.bool, True = present, got torch.float32"),
    (torch.ones(3, 2).long(), TypeError, "got torch.int64"),
    (FITS.tolist(), TypeError, "mask: expected a boolean tensor or a dict of them by modality, got list"),
    (FITS[:, :1], ValueError, "mask: expected shape (3, 2) (rows, modalities ['text', 'image']), got (3, 1)"),
    (FITS.T, ValueError, "expected shape (3, 2) (rows, modalities ['text', 'image']), got (2, 3)"),
    (FITS[0], ValueError, "got (2,)"),
    (FITS.to("meta"), ValueError, "mask: expected on cpu like the parameters, got meta"),
    ({"video": FITS}, ValueError, "mask: expected modalities out of ['text', 'image'], got ['video']"),
    ({"text": FITS}, ValueError, "mask['text']: expected shape (3, 4) of features['text'], got (3, 2)"),
    ({"image": FITS}, ValueError, "mask['image']: expected shape (3, 1) of features['image'], got (3, 2)"),
    ({"text": torch.ones(3, 4)}, TypeError, "mask['text']: expected torch.bool"),
    ({"text": None}, TypeError, "mask['text']: expected a boolean tensor, got NoneType"),
])
def test_masks_that_do_not_fit(mask, error, message):
    with pytest.raises(error) as caught:
        ConcatFusion(TWO, 4)(X | {"text": torch.zeros(3, 4, 6)}, mask=mask)
    assert message in str(caught.value)


@pytest.mark.parametrize("dims, output_dim, options, message", [
    ({}, 4, {}, "input_dims: expected at least one modality as {name: width}, got {}"),
    ([6, 5], 4, {}, "input_dims: expected at least one modality as {name: width}, got [6, 5]"),
    ({"text": 0}, 4, {}, "input_dims['text']: expected a whole number of at least 1, got 0"),
    ({"text": 6.0}, 4, {}, "got 6.0"),
    ({"keys": 6}, 4, {}, "input_dims: 'keys' cannot name a modality"),
    ({"a.b": 6}, 4, {}, "'a.b' cannot name a modality"),
    (TWO, 0, {}, "output_dim: expected a whole number of at least 1, got 0"),
    (TWO, 4, {"hidden": -1}, "hidden: expected a whole number of at least 1, got -1"),
    (TWO, 4, {"width": 0}, "width: expected a whole number of at least 1, got 0"),
    ({"text": 1}, 4, {"normalise": True}, "normalise: expected widths of at least 2, got [1]"),
])
def test_constructor_arguments_that_do_not_fit(dims, output_dim, options, message):
    with pytest.raises(ValueError) as caught:
        ConcatFusion(dims, output_dim, **options)
    assert message in str(caught.value)


def test_a_token_strategy_refuses_vectors():
    with pytest.raises(ValueError, match=r"features\['text'\]: expected shape \(B, T, 6\), got \(3, 6\)"):
        OnlyTokens(TWO, 4)(X)
