"""Every strategy is exported, compiled, halved, mapped over rows, trained in two processes and
derived twice, and the table in the package's README says so.
"""

import copy
import io
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from fusion_cases import THREE, TWO, build, by_name, sample
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from course_utils.fusion import STRATEGIES, export, full_mask
from course_utils.runtime import ROOT

strategies = pytest.mark.parametrize("name", STRATEGIES)
shapes = pytest.mark.parametrize(
    "tokens", [None, {"text": 3, "image": 2, "audio": 4}], ids=["vectors", "tokens"]
)
# exporting takes seconds: the others are slow
SAMPLE = ["cross_attention"]
some_strategies = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in SAMPLE else pytest.mark.slow) for name in STRATEGIES],
)
COLUMNS = [
    "export",
    "compile",
    "float16",
    "bfloat16",
    "functional_call",
    "per-sample gradients",
    "DDP",
    "double backward",
]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def readme():
    """{(strategy, column): cell} of the README's table, and the strategies in its order."""
    page = (ROOT / "course_utils" / "README.md").read_text(encoding="utf-8")
    section = page.split("## Where a strategy travels\n")[1].split("\n## ")[0]
    head, _, *rows = [cells(line) for line in section.splitlines() if line.startswith("|")]
    names, table = [], {}
    for first, *stated in rows:
        for name in first.replace("`", "").split(", "):
            names.append(name)
            for column, cell in zip(head[1:], stated, strict=True):
                table[name, column] = cell
    return names, table


NAMES, STATED = readme()


def test_the_readme_names_every_strategy_once_and_every_way_to_travel():
    assert sorted(NAMES) == sorted(STRATEGIES)
    assert set(STATED) == {(name, column) for name in STRATEGIES for column in COLUMNS}


def masked_sample(name, tokens, batch=5):
    """Features, and a mask of single tokens where there are any; of at least three rows the last
    has nothing.
    """
    features, present = sample(THREE, batch=max(batch, 3), tokens=tokens, name=name, length=2)
    features = {m: x[:batch] for m, x in features.items()}
    rng = torch.Generator().manual_seed(7)
    mask = by_name(present[:batch])
    for m, x in features.items():
        if x.dim() == 3:
            mask[m] = mask[m][:, None] & (torch.rand(x.shape[:2], generator=rng) < 0.7)
    return features, mask


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


# ---- export and compile


@some_strategies
@shapes
def test_a_program_takes_other_rows_and_tokens_and_any_mask(name, tokens):
    """The example has one row of few tokens; the program runs after being stored."""
    assert STATED[name, "export"] == "yes"
    fusion = build(name).eval()
    features, _ = masked_sample(name, tokens, batch=1)
    stored = io.BytesIO()
    torch.export.save(export(fusion, features), stored)
    stored.seek(0)
    program = torch.export.load(stored).module()

    ones = dict.fromkeys(THREE, 1)
    other = {"text": 5, "image": 1, "audio": 7}
    for batch, lengths in ((1, ones), (4, other), (9, ones)):
        features, mask = masked_sample(name, tokens and lengths, batch)
        some = {"image": mask["image"]}
        whole = {m: kept if kept.dim() == 1 else kept[:, 0] for m, kept in mask.items()}
        for given in (None, {}, some, whole, mask, dict(reversed(mask.items()))):
            same(program(features, mask=full_mask(features, given)), fusion(features, mask=given))


def test_a_full_mask_has_an_entry_for_each_modality():
    """The text has tokens, the image is a vector."""
    features = {"text": torch.ones(2, 3, 6), "image": torch.ones(2, 5)}
    yes, no = [True] * 3, [False] * 3
    expected = {"text": [yes, yes], "image": [True, True]}
    for mask in (None, {}):
        found = full_mask(features, mask)
        assert {m: kept.tolist() for m, kept in found.items()} == expected
        assert all(kept.dtype == torch.bool for kept in found.values())

    found = full_mask(features, {"text": torch.tensor([False, True])})
    assert found["text"].tolist() == [no, yes] and found["image"].tolist() == [True, True]
    found = full_mask(features, {"image": torch.tensor([False, True])})
    assert found["text"].tolist() == [yes, yes] and found["image"].tolist() == [False, True]


@pytest.mark.parametrize(
    "mask, error, words",
    [
        ({"video": torch.ones(2) > 0}, ValueError, r"mask: expected modalities out of \['text', "),
        ({"text": torch.ones(2)}, TypeError, r"mask\['text'\]: expected torch.bool"),
        ({"image": torch.ones(2, 1) > 0}, ValueError, r"mask\['image'\]: expected shape \(2,\)"),
        (torch.ones(2, 2) > 0, TypeError, "mask: expected a dict of boolean tensors by name"),
    ],
    ids=["name", "dtype", "shape", "tensor"],
)
def test_a_full_mask_of_a_mask_that_does_not_fit(mask, error, words):
    with pytest.raises(error, match=words):
        full_mask({"text": torch.ones(2, 3, 6), "image": torch.ones(2, 5)}, mask)


@pytest.mark.parametrize(
    "features, words",
    [
        ({"text": torch.ones(2, 6)}, r"features: expected a dict .* got \['text'\]"),
        ([torch.ones(2, 6), torch.ones(2, 5)], "features: expected a dict .* got list"),
        (
            {"text": torch.ones(2, 6), "image": torch.ones(2, 4)},
            r"features\['image'\]: expected shape \(B, 5\) or \(B, T, 5\), got \(2, 4\)",
        ),
        (
            {"text": torch.ones(0, 6), "image": torch.ones(0, 5)},
            r"features\['text'\]: expected at least one row and one token, got shape \(0, 6\)",
        ),
    ],
    ids=["name", "list", "width", "empty"],
)
def test_an_export_of_features_that_do_not_fit(features, words):
    with pytest.raises(ValueError, match=words):
        export(STRATEGIES["concat"](TWO, 3), features)


@some_strategies
@torch.no_grad()
def test_compiled_for_other_rows_and_tokens(name):
    """Contract 11 compiles the vectors; here the number of tokens changes too."""
    assert STATED[name, "compile"] == "yes"
    torch._dynamo.reset()
    fusion = build(name).eval()
    compiled = torch.compile(fusion, backend="aot_eager", dynamic=True)
    for batch, lengths in ((4, (3, 2, 4)), (9, (5, 6, 7))):
        features, mask = masked_sample(name, dict(zip(THREE, lengths)), batch)
        same(compiled(features, mask=mask), fusion(features, mask=mask))
    torch._dynamo.reset()


# ---- half precision


@strategies
@pytest.mark.parametrize("others", [60, 1])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@torch.no_grad()
def test_the_mean_of_many_large_tokens_within_the_dtypes_precision(name, others, dtype):
    """3,000 tokens about 60 sum to 180,000, far past float16. A product of three such means is
    past it too, which no pooling can help.
    """
    half = getattr(torch, dtype)
    rng = torch.Generator().manual_seed(0)
    features = {m: others * torch.ones(2, 2, dim, dtype=half) for m, dim in THREE.items()}
    features["text"] = (60 + torch.randn(2, 3000, THREE["text"], generator=rng)).to(half)
    mask = {"text": torch.rand(2, 3000, generator=rng) < 0.7}
    fusion = build(name, dtype=half).eval()
    results = [fusion(features), fusion(features, mask=mask)]

    wide = {m: x.double() for m, x in features.items()}
    fusion.double()
    references = [fusion(wide), fusion(wide, mask=mask)]
    fits = others == 1 or STATED[name, dtype] == "yes"
    for result, reference in zip(results, references):
        assert result.dtype == half
        off = (result.double() - reference).abs().max() / reference.abs().max()
        assert bool(off < 8 * torch.finfo(half).eps) == fits


@pytest.mark.parametrize("name", ["tensor", "low_rank"])
@torch.no_grad()
def test_a_product_of_normalised_modalities_stays_in_float16(name):
    torch.manual_seed(0)
    features = {m: 60 + torch.randn(2, dim) for m, dim in THREE.items()}
    halves = {m: x.half() for m, x in features.items()}
    for normalise in (False, True):
        fusion = STRATEGIES[name](THREE, 7, normalise=normalise).half()
        assert bool(fusion(halves).isfinite().all()) == normalise


# ---- functional_call and gradients of single rows


@strategies
@shapes
def test_functional_call_computes_with_the_parameters_it_is_given(name, tokens):
    assert STATED[name, "functional_call"] == "yes"
    fusion = build(name)
    features, mask = masked_sample(name, tokens)
    before = copy.deepcopy(fusion.state_dict())
    given = {key: p.detach() / 3 for key, p in fusion.named_parameters()}

    other = build(name)
    other.load_state_dict(given, strict=False)
    for keywords in ({}, {"mask": mask}):
        found = functional_call(fusion, given, (features,), keywords)
        assert torch.equal(found, other(features, **keywords))
        assert not torch.equal(found, fusion(features, **keywords))
    for key, value in fusion.state_dict().items():
        assert torch.equal(value, before[key])


@strategies
@shapes
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_of_single_rows_equal_those_of_batches_of_one(name, tokens, masked):
    assert STATED[name, "per-sample gradients"] == "yes"
    fusion = build(name)
    features, mask = masked_sample(name, tokens)
    parameters = {key: p.detach() for key, p in fusion.named_parameters()}
    mask = mask if masked else {}

    def loss(parameters, row, kept):
        row = {m: x[None] for m, x in row.items()}
        kept = {m: k[None] for m, k in kept.items()}
        return functional_call(fusion, parameters, (row,), {"mask": kept}).square().sum()

    found = vmap(grad(loss), in_dims=(None, 0, 0 if masked else None))(parameters, features, mask)
    for i in range(5):
        row = {m: x[i : i + 1] for m, x in features.items()}
        kept = {m: k[i : i + 1] for m, k in mask.items()}
        fusion.zero_grad()
        fusion(row, mask=kept).square().sum().backward()
        for key, p in fusion.named_parameters():
            same(found[key][i], p.grad)


# ---- two processes


def halves():
    """Two batches of four rows, with masks; the second never has a text."""
    rng = torch.Generator().manual_seed(0)
    batches = []
    for texts in (True, False):
        features, mask = {}, {}
        for m, dim in THREE.items():
            features[m] = torch.randn(4, 2, dim, generator=rng, dtype=torch.float64)
            mask[m] = torch.rand(4, 2, generator=rng) < 0.7
        mask["text"] &= texts
        batches.append((features, mask))
    return batches


def train(fusion, features, mask, steps=2):
    optimiser = torch.optim.SGD(fusion.parameters(), lr=1 / 3)
    for _ in range(steps):
        optimiser.zero_grad()
        fusion(features, mask=mask).square().mean().backward()
        optimiser.step()


def one_of_two(rank, folder):
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    states = {}
    for name in STRATEGIES:
        fusion = build(name)
        train(DistributedDataParallel(fusion), *halves()[rank])
        states[name] = fusion.state_dict()
    torch.save(states, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_of_which_one_never_sees_a_text_train_like_one(tmp_path):
    """Without `find_unused_parameters`: in the second step DDP would raise for a parameter that
    the first one left out.
    """
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    first, second = halves()
    both = [{m: torch.cat([a[m], b[m]]) for m in THREE} for a, b in zip(first, second)]
    for name in STRATEGIES:
        assert STATED[name, "DDP"] == "yes"
        fusion, start = build(name), build(name).state_dict()
        train(fusion, *both)
        for key, value in fusion.state_dict().items():
            same(ranks[0][name][key], value)
            same(ranks[1][name][key], value)
        assert any(not torch.equal(p, start[key]) for key, p in fusion.named_parameters())


@strategies
@pytest.mark.parametrize("missing", THREE)
def test_parameters_of_a_modality_that_is_never_there_still_get_a_gradient(name, missing):
    """Zeros, not None: DDP waits for each parameter's gradient."""
    fusion = build(name)
    features, mask = masked_sample(name, None)
    mask[missing] = torch.zeros_like(mask[missing])
    fusion(features, mask=mask).sum().backward()
    assert [key for key, p in fusion.named_parameters() if p.grad is None] == []


# ---- second derivatives


@strategies
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_double_backward(name, masked):
    """Against finite differences of the gradient; where the fused attention has none, torch's
    plain one has.
    """
    options = {}
    if name in ("bottleneck", "joint_transformer"):
        options = {"layers": 1, "heads": 1}
    if STRATEGIES[name].accepts != "vectors":
        options["width"] = 4
    torch.manual_seed(0)
    fusion = STRATEGIES[name](TWO, 3, **options).double()
    lengths = {"text": 3, "image": 2} if STRATEGIES[name].accepts != "vectors" else None
    features, present = sample(TWO, batch=3, tokens=lengths, name=name)
    mask = by_name(present, TWO) if masked else None
    leaves = [x.requires_grad_() for x in features.values()]
    parameters = dict(fusion.named_parameters())

    def run(text, image, *values):
        given = dict(zip(parameters, values))
        keywords = {"mask": mask}
        return functional_call(fusion, given, ({"text": text, "image": image},), keywords)

    def plainly(*values):
        with sdpa_kernel(SDPBackend.MATH):
            return run(*values)

    inputs = (*leaves, *parameters.values())
    if STATED[name, "double backward"] == "yes":
        assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)
        return
    assert STATED[name, "double backward"] == "with MATH"
    assert "SDPBackend.MATH" in STRATEGIES[name].__doc__
    found = torch.autograd.grad(run(*inputs).square().sum(), leaves[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="attention.* is not implemented"):
        found.sum().backward()
    assert torch.autograd.gradgradcheck(plainly, inputs, fast_mode=True)
