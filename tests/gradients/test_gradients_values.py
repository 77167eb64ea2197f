"""A second opinion on gradients by hand: SymPy, closed forms and sums worked by hand."""

import math

import pytest
import sympy
import torch
from gradient_cases import ACTIVATIONS, EQUAL, Draw, T
from torch.nn import functional as F

from course_utils import gradients, losses


def test_sympy_confirms_the_jacobian_and_p_minus_y():
    z, y = sympy.symbols("z:3", real=True), sympy.symbols("y:2")
    # a label, hard or soft: it sums to 1
    y = (*y, 1 - sum(y))
    probs = [sympy.exp(one) / sum(map(sympy.exp, z)) for one in z]
    loss = -sum(share * sympy.log(p) for share, p in zip(y, probs))
    for i, k in ((i, k) for i in range(3) for k in range(3)):
        assert sympy.simplify(sympy.diff(probs[i], z[k]) - probs[i] * (int(i == k) - probs[k])) == 0
    assert all(sympy.simplify(sympy.diff(loss, z[k]) - (probs[k] - y[k])) == 0 for k in range(3))


def test_ours_gives_what_sympy_gives():
    z = sympy.symbols("z:3", real=True)
    probs = [sympy.exp(one) / sum(map(sympy.exp, z)) for one in z]
    at = dict(zip(z, (sympy.log(4), sympy.log(3), sympy.log(2))))
    logits = torch.tensor([4.0, 3.0, 2.0], dtype=torch.float64).log()
    jacobian = [[float(sympy.diff(p, one).subs(at)) for one in z] for p in probs]
    assert jacobian == [
        [20 / 81, -12 / 81, -8 / 81],
        [-12 / 81, 18 / 81, -6 / 81],
        [-8 / 81, -6 / 81, 14 / 81],
    ]
    torch.testing.assert_close(
        gradients.softmax_jacobian(logits.softmax(0)),
        torch.tensor(jacobian, dtype=torch.float64),
        rtol=0,
        atol=1e-15,
    )
    expected = torch.tensor([[4 / 9, -6 / 9, 2 / 9]], dtype=torch.float64)
    torch.testing.assert_close(
        gradients.cross_entropy_backward(logits[None], torch.tensor([1])),
        expected,
        rtol=0,
        atol=1e-15,
    )


@pytest.mark.parametrize("size", [1e3, 1e4, 1e300])
def test_large_logits_keep_exact_gradients(size):
    rows = [[1.0, -1.0, 0.5], [1.0, -1.0, 1.0], [-1.0, 1.0, 0.5]]
    logits = size * torch.tensor(rows, dtype=torch.float64)
    by_hand = gradients.cross_entropy_backward(logits, torch.tensor([1, 0, 1]))
    sixths = [[2.0, -2.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    expected = torch.tensor(sixths, dtype=torch.float64) / 6
    torch.testing.assert_close(by_hand, expected, rtol=0, atol=1e-15)
    binary = gradients.binary_cross_entropy_backward(
        size * torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64),
        torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64),
    )
    assert binary.tolist() == [1 / 3, -1 / 3, 0]


def test_a_confident_positive_keeps_its_digits():
    """1 - p computed by subtraction is 0 from a logit of 37 on; sigmoid(-logit) is not."""
    by_hand = gradients.binary_cross_entropy_backward(
        torch.tensor([40.3], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    )
    assert by_hand.item() == pytest.approx(-1 / (1 + math.exp(40.3)), rel=1e-12)


@pytest.mark.parametrize("name, phi", ACTIVATIONS.items())
def test_float32_stays_float32_and_relu_has_no_slope_at_zero(name, phi):
    assert gradients.activation_backward(torch.ones(2), torch.zeros(2), name).dtype == torch.float32
    assert gradients.activation_backward(torch.ones(1), torch.zeros(1), "relu").item() == 0
    out = gradients.cross_entropy_backward(torch.randn(2, 3), torch.tensor([0, 2]), smoothing=0.1)
    assert (
        out.dtype
        == gradients.masked_mean_backward(torch.ones(2, 3), torch.ones(2, 4).bool()).dtype
        == torch.float32
    )


# ---- what each modality feels ----


def labelled(draw, C=4):
    """Logits of three modalities (5, C), labels, and y."""
    logits = {name: draw(5, C) for name in EQUAL}
    labels = draw.below(C, 5)
    return logits, labels, F.one_hot(labels, C).double()


def exact(values):
    return torch.tensor(values, dtype=torch.float64)


def close(found, expected, atol=1e-14):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_every_expert_gets_p_minus_y_and_the_prior_counts_once():
    logits, labels, y = labelled(Draw(3))
    fused = sum(z.log_softmax(1) for z in logits.values())
    d_fused = gradients.cross_entropy_backward(fused, labels)
    d_logits, d_prior = gradients.product_of_experts_backward(d_fused, logits)
    for d in d_logits.values():
        close(d, (fused.softmax(1) - y) / 5)
    close(d_prior, -2 * d_fused.sum(0))  # three experts, each with the prior in it
    _, alone = gradients.product_of_experts_backward(d_fused, {"text": logits["text"]})
    assert not alone.any()


def test_in_a_mixture_who_gave_the_truth_more_is_asked_more():
    logits, labels, y = labelled(Draw(4))
    probs = {name: z.softmax(1) for name, z in logits.items()}
    truth = {name: (p * y).sum(1, keepdim=True) for name, p in probs.items()}
    # the gradient of -log mean_m p_m at the true class is -y / N
    d_logits = gradients.mixture_backward(-y / 5, logits)
    for name, d in d_logits.items():
        share = truth[name] / sum(truth.values())
        close(d, share * (probs[name] - y) / 5)


@pytest.mark.parametrize("size", [1e3, 1e300])
def test_experts_that_are_sure_keep_finite_gradients(size):
    sure = {"text": exact([[size, 0.0]]), "image": exact([[0.0, size]])}
    y = exact([[1.0, 0.0]])
    found = gradients.mixture_backward(-y, sure)
    assert found["text"].tolist() == found["image"].tolist() == [[0, 0]]
    found, _ = gradients.product_of_experts_backward(y, sure)
    assert found["text"].tolist() == [[0, 0]] and found["image"].tolist() == [[1, -1]]


def test_a_tie_is_shared_and_the_rest_gets_nothing():
    ones = torch.ones(1, 2).double()
    inputs = {"text": 0 * ones, "image": exact([[0.0, -1.0]]), "audio": -ones}
    found = gradients.max_backward(ones, inputs)
    assert [d.tolist() for d in found.values()] == [[[1 / 2, 1]], [[1 / 2, 0]], [[0, 0]]]
    # relu's ties at 0, one of them missing, where more stands
    inputs["text"] = inputs["text"] + 7
    found = gradients.max_backward(ones, inputs, {"text": torch.tensor([False])})
    assert [d.tolist() for d in found.values()] == [[[0, 0]], [[1, 1 / 2]], [[0, 1 / 2]]]


def test_a_product_with_a_zero_reaches_only_the_zero():
    inputs = {name: exact([[x]]) for name, x in zip("abc", (0.0, 3.0, 5.0))}
    found = gradients.product_backward(torch.ones(1, 1).double(), inputs)
    assert [d.item() for d in found.values()] == [15, 0, 0]


def test_the_one_of_the_outer_product_lets_a_modality_feel_something_beside_zeros():
    """vec([t; 1] (x) [j; 1]) has t * 1 as its second entry."""
    inputs = {"text": exact([[2.0]]), "image": exact([[0.0]])}
    d_out = exact([[1.0, 10.0, 100.0, 1000.0]])  # t j, t, j, 1
    found = gradients.outer_backward(d_out, inputs)
    assert [d.item() for d in found.values()] == [0 * 1 + 10, 2 * 1 + 100]


def test_the_gate_of_two_is_the_sigmoid_with_its_two_paths():
    """h = g t + (1 - g) j, g = sigmoid(W [t; j] + b): d_s = d (t - j) g (1 - g)."""
    draw, D = Draw(5), 3
    t, j, d = draw(4, D), draw(4, D), draw(4, D)
    U, b = draw(2 * D, 2 * D), draw(2 * D)
    W = U[:D] - U[D:]
    g = torch.sigmoid(torch.cat([t, j], 1) @ W.T + b[:D] - b[D:])
    d_s = d * (t - j) * g * (1 - g)
    both = {"text": t, "image": j}
    d_values, d_inputs, d_weight, d_bias = gradients.gated_backward(d, both, both, U, b)
    close(d_values["text"] + d_inputs["text"], d * g + (d_s @ W)[:, :D])
    close(d_values["image"] + d_inputs["image"], d * (1 - g) + (d_s @ W)[:, D:])
    close(d_weight[:D], d_s.T @ torch.cat([t, j], 1))
    close(d_weight[D:], -d_weight[:D])
    close(d_bias, torch.cat([d_s.sum(0), -d_s.sum(0)]))


def test_alone_a_modality_gets_all_and_its_weight_nothing():
    draw = Draw(6)
    x, d = {"text": draw(4, 3), "image": draw(4, 3)}, draw(4, 3)
    missing = {"image": torch.zeros(4, dtype=torch.bool)}
    found, d_scores = gradients.weighted_sum_backward(d, x, draw(2), missing)
    assert torch.equal(found["text"], d) and not found["image"].any() and not d_scores.any()
    found = gradients.mean_backward(d, list(x), missing)
    assert torch.equal(found["text"], d) and not found["image"].any()


def test_one_key_teaches_neither_query_nor_key():
    draw = Draw(7)
    q, k, v, d = draw(2, 5, 3), draw(2, 1, 3), draw(2, 1, 3), draw(2, 5, 3)
    d_q, d_k, d_v = gradients.attention_backward(d, q, k, v)
    assert not d_q.any() and not d_k.any()
    close(d_v, d.sum(1, keepdim=True))
    # the same where all others are masked; a null token beside it brings the question back
    names = ("q.weight", "k.weight", "v.weight", "out.weight")
    parameters = {name: draw(4, 4) for name in names}
    parameters |= {name: draw(4) for name in ("q.bias", "v.bias", "out.bias")}
    x, y, d = draw(2, 5, 4), draw(2, T, 4), draw(2, 5, 4)
    one = torch.arange(T).expand(2, T) == 2
    d_x, d_y, d_p = gradients.cross_attention_backward(d, x, y, parameters, 2, one)
    assert not d_x.any() and not d_p["q.weight"].any() and not d_p["k.weight"].any()
    assert d_y[:, 2].all() and not d_y[:, :2].any() and not d_y[:, 3:].any()
    parameters["null"] = draw(4)
    d_x, _, d_p = gradients.cross_attention_backward(d, x, y, parameters, 2, one)
    assert d_x.any() and d_p["q.weight"].any() and d_p["null"].any()


def test_nothing_to_look_at_but_null():
    draw = Draw(8)
    parameters = {f"{name}.weight": draw(2, 2) for name in ("q", "k", "v", "out")}
    parameters |= {name: draw(2) for name in ("q.bias", "v.bias", "out.bias", "null")}
    x, y, d = draw(1, 3, 2), torch.full((1, 2, 2), torch.nan, dtype=torch.float64), draw(1, 3, 2)
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    d_x, d_y, d_p = gradients.cross_attention_backward(d, x, y, parameters, 1, nothing)
    assert not d_x.any() and not d_y.any()
    close(d_p["null"], d.sum((0, 1)) @ parameters["out.weight"] @ parameters["v.weight"])


# ---- alignment ----


def test_unit_length_sends_back_what_is_orthogonal_and_less_to_the_long():
    draw = Draw(9)
    x, d = draw(6, 3), draw(6, 3)
    found = gradients.unit_length_backward(d, x)
    close((found * x).sum(1), torch.zeros(6).double())
    close(gradients.unit_length_backward(d, 8 * x), found / 8)


def test_two_pairs_by_hand():
    """Orthogonal pairs: S = scale I, so P is sigmoid(scale) on the diagonal, both ways."""
    scale, x = 3.0, torch.eye(2).double()
    miss = 1 / (1 + math.exp(scale))
    found = gradients.info_nce_backward(x, x, exact(math.log(scale)))
    d_scores = exact([[-miss, miss], [miss, -miss]]) / 2
    # c_ii = 1 has no slope, c_ij = 0 turns a_i to b_j
    expected = scale * d_scores.fill_diagonal_(0) @ x
    close(found[0], expected)
    close(found[1], expected)
    assert found[2].item() == pytest.approx(-miss * scale, rel=1e-12)


@pytest.mark.parametrize("margin", [0, 1 / 3])
def test_a_batch_of_one_has_nothing_to_tell_apart(margin):
    a, b, none = Draw(1)(1, 3), Draw(2)(1, 3), torch.zeros(1, 1, dtype=torch.bool)
    for d in gradients.info_nce_backward(a, b, exact(1 / 3)):
        assert d.abs().max() < 1e-15
    for d in gradients.triplet_backward(a, b, none, none, margin):
        assert not d.any()


def test_a_hinge_at_its_corner_is_that_of_pytorch():
    """With margin 0 and a negative equal to the partner, the cost is 0 and clamp hands on."""
    draw = Draw(3)
    a, b = draw(2, 3).requires_grad_(), draw(1, 3).repeat(2, 1)
    losses.triplet_loss(a, b, 0, miner="all").backward()
    negatives = ~torch.eye(2).bool()
    close(gradients.triplet_backward(a.detach(), b, negatives, negatives, 0)[0], a.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_a_loss_of_pairs_is_rounded_once(dtype):
    draw = Draw(5)
    a, b = draw(6, 4).to(dtype), draw(6, 4).to(dtype)
    scale, bias = torch.tensor(1 / 3).to(dtype), torch.tensor(-7 / 9).to(dtype)
    negatives = ~torch.eye(6).bool()
    for backward, more in (
        (gradients.info_nce_backward, (scale,)),
        (gradients.sigmoid_loss_backward, (scale, bias)),
        (gradients.triplet_backward, (negatives, negatives, 7 / 9)),
    ):
        wide = [x.double() if isinstance(x, torch.Tensor) and x.dtype == dtype else x for x in more]
        wanted = backward(a.double(), b.double(), *wide)
        for found, expected in zip(backward(a, b, *more), wanted, strict=True):
            assert found.dtype == dtype
            half_a_unit = torch.finfo(dtype).eps / 2 * expected.abs()
            before = 32 * torch.finfo(torch.float32).eps * expected.abs().max()
            before = max(before, torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps)
            assert ((found - expected).abs() <= half_a_unit + before).all()
