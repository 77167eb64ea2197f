"""The alignment losses against slow references in loops and against the gradients by hand."""

import math

import pytest
import torch
from torch import nn

from course_utils.losses import InfoNCE, SigmoidLoss, cosines, info_nce, triplet_loss

SHAPES = ((1, 3), (2, 1), (3, 4), (6, 5))


def draw(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2)]


def doubles(size, seed=0):
    """Pairs that belong together, the diagonal and others, not the same when turned."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(size, size, generator=generator) < 0.3) | torch.eye(size).bool()


def slow_cosine(x, y):
    dot = sum(float(p) * float(q) for p, q in zip(x, y))
    return dot / math.sqrt(sum(float(p) ** 2 for p in x)) / math.sqrt(sum(float(q) ** 2 for q in y))


def slow_table(a, b):
    return [[slow_cosine(x, y) for y in b] for x in a]


def slow_info_nce(a, b, scale, positives):
    table, total, size = slow_table(a, b), 0.0, len(a)
    for flip in (False, True):
        for i in range(size):
            row = [scale * (table[j][i] if flip else table[i][j]) for j in range(size)]
            top = max(row)
            log_sum = top + math.log(sum(math.exp(score - top) for score in row))
            own = [j for j in range(size) if (positives[j][i] if flip else positives[i][j])]
            total -= sum(row[j] - log_sum for j in own) / len(own) / (2 * size)
    return total


def slow_sigmoid(a, b, scale, bias, positives):
    total = 0.0
    for i, row in enumerate(slow_table(a, b)):
        for j, cosine in enumerate(row):
            sign = 1 if positives[i][j] else -1
            total += math.log1p(math.exp(-sign * (scale * cosine + bias))) / len(a)
    return total


def slow_triplet(a, b, margin, miner, positives):
    table, total, size = slow_table(a, b), 0.0, len(a)
    for flip in (False, True):
        for i in range(size):
            score = [table[j][i] if flip else table[i][j] for j in range(size)]
            own = [positives[j][i] if flip else positives[i][j] for j in range(size)]
            negatives = [score[j] for j in range(size) if not own[j]]
            if not negatives:
                continue
            farther = [one for one in negatives if one < score[i]]
            if miner == "hard":
                negatives = [max(negatives)]
            elif miner == "semi-hard":
                negatives = [max(farther) if farther else min(negatives)]
            costs = [max(0.0, margin + one - score[i]) for one in negatives]
            total += sum(costs) / len(costs) / (2 * size)
    return total


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", SHAPES)
def test_cosines(shape, seed):
    a, b = draw(shape, seed)
    torch.testing.assert_close(
        cosines(a, b), torch.tensor(slow_table(a, b), dtype=torch.float64), rtol=0, atol=1e-14
    )
    one = cosines(a[:1], b)
    torch.testing.assert_close(one, cosines(a, b)[:1], rtol=0, atol=1e-14)
    torch.testing.assert_close(cosines(7 * a, b / 3), cosines(a, b), rtol=0, atol=1e-14)


def test_a_row_of_zeros_has_no_direction():
    a, b = draw((2, 3))
    assert cosines(torch.zeros_like(a), b).abs().max() == 0


@pytest.mark.parametrize("twice", [False, True], ids=["own alone", "doubles"])
@pytest.mark.parametrize("scale", [1 / 3, 14.3, 1000.0])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_info_nce_by_loops(shape, seed, scale, twice):
    a, b = draw(shape, seed)
    own = doubles(len(a), seed) if twice else None
    table = torch.eye(len(a), dtype=torch.bool) if own is None else own
    expected = slow_info_nce(a, b, scale, table.tolist())
    assert info_nce(a, b, scale, own).item() == pytest.approx(expected, rel=1e-11, abs=1e-13)


def test_positives_are_rows_of_the_first_side():
    """An asymmetric table, which a loss that forgets to turn it would mistake."""
    a, b = draw((3, 4))
    own = torch.tensor([[True, True, False], [False, True, False], [False, False, True]])
    turned = info_nce(b, a, 5.0, own.T.contiguous())
    torch.testing.assert_close(info_nce(a, b, 5.0, own), turned, rtol=0, atol=1e-14)
    assert abs(info_nce(a, b, 5.0, own) - info_nce(b, a, 5.0, own)) > 1e-2
    # where nobody else belongs to a row, its own partner counts alone
    assert abs(info_nce(a, b, 5.0, own) - info_nce(a, b, 5.0)) > 1e-2


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_of_info_nce_by_hand(seed):
    """d S = (softmax by rows + softmax by columns - 2 I) / 2N, then the unit length."""
    a, b = (x.requires_grad_() for x in draw((5, 4), seed))
    kappa = torch.tensor(math.log(7 / 3), dtype=torch.float64, requires_grad=True)
    info_nce(a, b, kappa.exp()).backward()
    with torch.no_grad():
        unit = [x / x.norm(dim=1, keepdim=True) for x in (a, b)]
        scores = kappa.exp() * unit[0] @ unit[1].T
        d = (scores.softmax(1) + scores.softmax(0) - 2 * torch.eye(5)) / 10
        for x, u, other, table in ((a, unit[0], unit[1], d), (b, unit[1], unit[0], d.T)):
            d_unit = kappa.exp() * table @ other
            across = d_unit - (d_unit * u).sum(1, keepdim=True) * u
            by_hand = across / x.norm(dim=1, keepdim=True)
            torch.testing.assert_close(x.grad, by_hand, rtol=0, atol=1e-14)
        torch.testing.assert_close(kappa.grad, (d * scores).sum(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("loss", [InfoNCE(), SigmoidLoss()], ids=["InfoNCE", "sigmoid"])
def test_large_logits_stay_finite(loss):
    a, b = (x.requires_grad_() for x in draw((4, 3), dtype=torch.float32))
    with torch.no_grad():
        loss.log_scale.fill_(math.log(1e6))
    loss(a, b).backward()
    assert all(one.grad.isfinite().all() for one in (a, b, *loss.parameters()))
    # wrong pairs at a scale of a million: the loss is their distance, not infinite
    assert 1e3 < loss(a, b).item() < 1e8


def test_a_batch_of_one():
    a, b = (x.requires_grad_() for x in draw((1, 3)))
    info_nce(a, b, 10.0).backward()
    assert info_nce(a, b, 10.0) == 0 and a.grad.abs().max() == 0
    for miner in ("all", "random", "semi-hard", "hard"):
        assert triplet_loss(a, b, miner=miner) == 0
        triplet_loss(a, b, miner=miner).backward()
    loss = SigmoidLoss(1 / 3, 0.2)
    expected = math.log1p(math.exp(-(slow_cosine(a.detach()[0], b.detach()[0]) / 3 + 0.2)))
    assert loss(a, b).item() == pytest.approx(expected, abs=1e-7)


def test_nothing_but_positives():
    a, b = draw((3, 4))
    everything = torch.ones(3, 3, dtype=torch.bool)
    assert triplet_loss(a, b, positives=everything) == 0
    expected = slow_info_nce(a, b, 5.0, everything.tolist())
    assert info_nce(a, b, 5.0, everything).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1 / 3])
def test_the_module_is_the_function_at_its_temperature(temperature):
    a, b = draw((4, 3))
    loss = InfoNCE(temperature).double()
    assert loss.temperature == pytest.approx(temperature, rel=1e-6)
    expected = info_nce(a, b, 1 / temperature, doubles(4))
    torch.testing.assert_close(loss(a, b, doubles(4)), expected, rtol=1e-5, atol=0)


def test_the_clamp_acts_on_the_parameter_after_the_step():
    """Pairs that fit want an ever lower temperature; at the limit it stays, and comes back."""
    a, _ = draw((4, 3))
    loss = InfoNCE(0.02, lowest=0.01).double()
    optimizer = torch.optim.SGD(loss.parameters(), lr=1e3)
    hot = draw((4, 3), seed=5)[1]
    for _ in range(3):
        optimizer.zero_grad()
        loss(a, a + 0.5 * hot).backward()
        with torch.no_grad():
            loss.log_scale.grad.fill_(-1.0)  # wants a larger scale
        optimizer.step()
        assert loss.temperature < 0.01
        loss.clamp_()
        assert loss.temperature == pytest.approx(0.01)
    # wrong pairs want a higher temperature, and the gradient at the limit says so
    optimizer.zero_grad()
    loss(a, a.flip(0)).backward()
    assert loss.log_scale.grad > 0
    torch.optim.SGD(loss.parameters(), lr=1e-3).step()
    loss.clamp_()
    assert loss.temperature > 0.01


def test_a_temperature_above_its_limit_is_left_alone():
    loss = InfoNCE(0.5)
    loss.clamp_()
    assert loss.temperature == pytest.approx(0.5)


@pytest.mark.parametrize("twice", [False, True], ids=["own alone", "doubles"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_sigmoid_by_loops(shape, seed, twice):
    a, b = draw(shape, seed)
    own = doubles(len(a), seed) if twice else None
    table = torch.eye(len(a), dtype=torch.bool) if own is None else own
    loss = SigmoidLoss(7 / 3, -1.1).double()
    scale, bias = loss.log_scale.exp().item(), loss.bias.item()
    assert (scale, bias) == pytest.approx((7 / 3, -1.1), rel=1e-6)
    expected = slow_sigmoid(a, b, scale, bias, table.tolist())
    assert loss(a, b, own).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("twice", [False, True], ids=["own alone", "doubles"])
@pytest.mark.parametrize("miner", ["all", "semi-hard", "hard"])
@pytest.mark.parametrize("margin", [0.0, 0.2, 1.7])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", SHAPES)
def test_triplet_by_loops(shape, seed, margin, miner, twice):
    a, b = draw(shape, seed)
    own = doubles(len(a), seed) if twice else None
    table = torch.eye(len(a), dtype=torch.bool) if own is None else own
    expected = slow_triplet(a, b, margin, miner, table.tolist())
    found = triplet_loss(a, b, margin, miner=miner, positives=own).item()
    assert found == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("miner", ["semi-hard", "hard"])
def test_a_negative_as_near_as_the_partner_is_not_farther(miner):
    a, b = draw((5, 3))
    b[1] = b[0]
    table = torch.eye(5, dtype=torch.bool).tolist()
    found = triplet_loss(a, b, 0.5, miner=miner).item()
    assert found == pytest.approx(slow_triplet(a, b, 0.5, miner, table), abs=1e-13)
    b_too = b.clone()
    b_too[2] = b[0]
    assert triplet_loss(a, b_too, 0.5, miner=miner).item() == pytest.approx(
        slow_triplet(a, b_too, 0.5, miner, table), abs=1e-13
    )


def test_the_random_miner_draws_each_negative_alike_and_no_positive():
    """The mean of many draws is the mean over all negatives; the generator decides."""
    a, b = draw((5, 3), seed=2)
    own = doubles(5)
    losses = [
        triplet_loss(
            a, b, 1.0, miner="random", positives=own, generator=torch.Generator().manual_seed(seed)
        )
        for seed in range(1500)
    ]
    expected = triplet_loss(a, b, 1.0, miner="all", positives=own)
    spread = torch.stack(losses).std() / 1500**0.5
    assert abs(torch.stack(losses).mean() - expected) < 4 * spread
    again = [
        triplet_loss(a, b, miner="random", generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    ]
    assert again[0] == again[1] and len({one.item() for one in losses}) > 10


@pytest.mark.parametrize("miner", ["all", "random", "semi-hard", "hard"])
def test_triplet_moves_partner_and_negative(miner):
    a, b = (x.requires_grad_() for x in draw((4, 3)))
    assert torch.autograd.gradcheck(
        lambda a, b: triplet_loss(
            a, b, 1.9, miner=miner, generator=torch.Generator().manual_seed(0)
        ),
        (a, b),
    )


@pytest.mark.parametrize(
    "loss",
    [lambda a, b: info_nce(a, b, 14.0), SigmoidLoss(), triplet_loss, cosines],
    ids=["InfoNCE", "sigmoid", "triplet", "cosines"],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype):
    a, b = draw((6, 5))
    a, b = (300 * x for x in (a, b))  # whose squares float16 cannot hold
    rounded = loss(a.to(dtype), b.to(dtype))
    assert rounded.dtype == torch.float32
    exact = loss(a.to(dtype).double(), b.to(dtype).double())
    torch.testing.assert_close(rounded, exact.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", [InfoNCE(), SigmoidLoss()], ids=["InfoNCE", "sigmoid"])
def test_training_brings_pairs_together(loss):
    torch.manual_seed(0)
    a = torch.randn(32, 6)
    b = a @ torch.randn(6, 5)  # the same thing, seen otherwise
    left, right = nn.Linear(6, 16), nn.Linear(5, 16)
    parameters = [*left.parameters(), *right.parameters(), *loss.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    before = loss(left(a), right(b)).item()
    for _ in range(150):
        optimizer.zero_grad()
        value = loss(left(a), right(b))
        value.backward()
        optimizer.step()
    assert value.item() < before / 2
    found = cosines(left(a), right(b)).argmax(1) == torch.arange(32)
    assert found.double().mean() > 0.9


A, B = torch.ones(3, 4), torch.ones(3, 4)
EYE = torch.eye(3, dtype=torch.bool)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: info_nce([1.0], B, 1.0), TypeError, "a: expected a tensor"),
        (lambda: info_nce(A, B.long(), 1.0), TypeError, "b: expected floats, got torch.int64"),
        (lambda: info_nce(A[0], B, 1.0), ValueError, r"a: expected vectors \(N, D\), got shape"),
        (lambda: info_nce(A[:0], B[:0], 1.0), ValueError, r"a: expected vectors \(N, D\)"),
        (lambda: info_nce(A, B[:, :3], 1.0), ValueError, "b: expected torch.float32 of width 4"),
        (lambda: info_nce(A, B.double(), 1.0), ValueError, "b: expected torch.float32 of width 4"),
        (lambda: info_nce(A, B[:2], 1.0), ValueError, "b: expected 3 rows as a, got 2"),
        (lambda: triplet_loss(A, B[:2]), ValueError, "b: expected 3 rows as a, got 2"),
        (lambda: SigmoidLoss()(A, B[:2]), ValueError, "b: expected 3 rows as a, got 2"),
        (lambda: info_nce(A, B, 1.0, EYE.float()), TypeError, "positives: expected bool of shape"),
        (lambda: info_nce(A, B, 1.0, EYE[:2]), TypeError, "positives: expected bool of shape"),
        (lambda: info_nce(A, B, 1.0, "all"), TypeError, "positives: expected a bool tensor"),
        (lambda: InfoNCE()(A, B, ~EYE), ValueError, "True on the diagonal, got False for row 0"),
        (lambda: InfoNCE(0.0), ValueError, "temperature: expected a number from lowest on"),
        (lambda: InfoNCE(0.005), ValueError, "got temperature 0.005 and lowest 0.01"),
        (lambda: InfoNCE(lowest=0.0), ValueError, "temperature: expected a number from lowest"),
        (lambda: InfoNCE(math.nan), ValueError, "temperature: expected a number from lowest"),
        (lambda: SigmoidLoss(-1.0), ValueError, "scale: expected a positive number, got -1.0"),
        (lambda: triplet_loss(A, B, miner="easy"), ValueError, "miner: expected one of"),
        (lambda: triplet_loss(A, B, -0.1), ValueError, "margin: expected a number of at least 0"),
        (lambda: triplet_loss(A, B, math.nan), ValueError, "margin: expected a number of at le"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
