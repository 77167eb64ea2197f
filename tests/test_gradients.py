"""Gradients by hand: against autograd on 20 seeds, against central differences and SymPy, and
broken on purpose, term by term.
"""

import ast
import inspect
import math
import re
import types

import pytest
import sympy
import torch
from torch.nn import functional as F

from course_utils import gradients
from course_utils.gradients import central_differences, compare, verify_gradient
from course_utils.masks import masked_mean
from course_utils.rooms import room

SEEDS = range(20)
N, C, D, T, V = 5, 4, 3, 6, 8


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
}
BACKWARDS = [name for name in vars(gradients) if name.endswith(("_backward", "_jacobian"))]


def test_every_gradient_has_a_case():
    assert {name.split(",")[0] for name in CASES} == set(BACKWARDS)


@pytest.mark.parametrize("name", CASES)
def test_it_is_autograds_gradient_to_1e_12_over_20_seeds(name, capsys):
    for seed in SEEDS:
        draw = Draw(seed)
        compare(*CASES[name](gradients, draw), tolerance=1e-12)
        assert all(tensor._version == 0 for tensor in draw.made), "an argument was changed in place"


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
        return x.to(self.dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    def back(self, found):
        if isinstance(found, dict):
            return {name: self.back(x) for name, x in found.items()}
        if isinstance(found, tuple):
            return tuple(map(self.back, found))
        assert found.dtype == self.dtype
        return found.double()


HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


@HALVES
@pytest.mark.parametrize("name", CASES)
def test_in_half_precision_it_is_autograds_gradient_in_float64_to_that_precision(name, dtype):
    for seed in SEEDS:
        half = Half(seed, dtype)
        by_hand, reference = CASES[name](half, half)
        for key, expected in reference.items():
            largest = expected.abs().max()
            torch.testing.assert_close(
                by_hand[key], expected, rtol=0, atol=4 * torch.finfo(dtype).eps * largest
            )


@HALVES
@pytest.mark.parametrize(
    "loss, options",
    [
        (gradients.cross_entropy_backward, {}),
        (gradients.cross_entropy_backward, {"temperature": 0.7}),
        (gradients.binary_cross_entropy_backward, {}),
        (gradients.binary_cross_entropy_backward, {"pos_weight": 7 / 9}),
    ],
)
def test_a_loss_in_half_precision_is_rounded_once(loss, options, dtype):
    """One rounding is off by half a unit in the last place at most, and float32 adds little."""
    kept = torch.finfo(dtype)
    for seed in SEEDS:
        draw = torch.Generator().manual_seed(seed)
        logits = torch.randn(7, 9, generator=draw).to(dtype)
        labels = torch.randint(9, (7, 9), generator=draw) / 8  # a half precision holds eighths
        exact = loss(logits.double(), labels.double(), **options)
        found = loss(logits, labels.to(dtype), **options)
        unit = kept.eps * exact.abs().clamp(min=kept.tiny).log2().floor().exp2()
        before = 16 * torch.finfo(torch.float32).eps * exact.abs().max()
        assert ((found - exact).abs() <= unit / 2 + before).all()


@HALVES
@pytest.mark.parametrize("soft", [False, True])
def test_a_mean_over_more_rows_than_float16_can_count(soft, dtype):
    """70,001 is infinite in float16, whose largest number is 65,504."""
    rows, temperature = 70_001, 0.01
    logits, labels = torch.zeros(rows, 4, dtype=dtype), torch.ones(rows, dtype=torch.int64)
    labels = F.one_hot(labels, 4).to(dtype) if soft else labels
    by_hand = gradients.cross_entropy_backward(logits, labels, temperature=temperature)
    expected = torch.tensor([1 / 4, -3 / 4, 1 / 4, 1 / 4], dtype=torch.float64)
    expected = expected / (rows * temperature)
    close = {"rtol": torch.finfo(dtype).eps, "atol": 0}
    torch.testing.assert_close(by_hand[-1].double(), expected, **close)
    there = torch.ones(2, rows, dtype=torch.bool)
    by_hand = gradients.masked_mean_backward(torch.full((2, 1), 60_000, dtype=dtype), there)
    expected = torch.full((1,), 60_000 / rows, dtype=torch.float64)
    torch.testing.assert_close(by_hand[1, -1].double(), expected, **close)


@HALVES
def test_a_word_that_occurs_3000_times_gets_all_of_them(dtype):
    """One by one they would stop at 2,048 in float16, and at 256 in bfloat16."""
    ids, ones = torch.zeros(3_000, dtype=torch.int64), torch.ones(3_000, 2, dtype=dtype)
    by_hand = gradients.embedding_backward(ones, ids, rows=1)
    assert by_hand.tolist() == [[torch.tensor(3_000.0, dtype=dtype).item()] * 2]


def test_each_names_an_equation_of_its_page():
    pages = {number: room(number, "page.py").read_text(encoding="utf-8") for number in ("21", "22")}
    for name in BACKWARDS:
        words = getattr(gradients, name).__doc__
        numbers = re.findall(r"\(((?:21|22)\.\d+)\)", words)
        sections = re.findall(r'Page (\d\d), "(.+)"\.', words)  # where nothing has a number
        assert numbers or sections, name
        assert all(f"\\tag{{{number}}}" in pages[number[:2]] for number in numbers), name
        assert all(re.search(f"^# ##+ {title}$", pages[page], re.M) for page, title in sections)


def test_nothing_is_left_to_autograd():
    for name in BACKWARDS:
        source = inspect.getsource(getattr(gradients, name))
        assert not any(
            word in source for word in ("autograd", "backward()", ".grad", "requires_grad", "func.")
        ), name


# ---- broken on purpose ----

CALLS = ("where", "sum", "clamp", "index_add_", "split")
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}


def arithmetic(node):
    """The places in a function's tree that carry its formula: operators, minus signs, sums,
    selections, assignments to a part.
    """
    return [
        part
        for part in ast.walk(node)
        if isinstance(part, ast.BinOp)
        and type(part.op) in (*SWAPS, ast.MatMult)
        or isinstance(part, ast.UnaryOp)
        and isinstance(part.op, ast.USub)
        and not isinstance(part.operand, ast.Constant)
        or isinstance(part, ast.Assign)
        and isinstance(part.targets[0], ast.Subscript)
        or isinstance(part, ast.Call)
        and isinstance(part.func, ast.Attribute)
        and part.func.attr in CALLS
    ]


def broken(part):
    """The same expression with one term of it spoilt."""
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.MatMult):
        # a @ b -> -(a @ b)
        return ast.UnaryOp(ast.USub(), part)
    if isinstance(part, ast.BinOp):
        # + <-> -, * <-> /
        return ast.BinOp(part.left, SWAPS[type(part.op)](), part.right)
    if isinstance(part, ast.UnaryOp):
        return part.operand  # -x -> x
    if isinstance(part, ast.Assign):
        # d[i] = 0 -> d[i] = 1
        return ast.Assign(part.targets, ast.Constant(1))
    # the last one wins; the blocks swapped
    if part.func.attr in ("index_add_", "split"):
        return ast.parse(
            ast.unparse(part)
            .replace("index_add_", "index_copy_")
            .replace("list(dims.values())", "list(dims.values())[::-1]"),
            mode="eval",
        ).body
    if part.func.attr == "where":
        # where(mask, x, 0) -> x
        return part.args[1]
    if part.func.attr == "clamp":
        return part.func.value
    # x.sum() -> 2 x.sum()
    return ast.BinOp(part, ast.Mult(), ast.Constant(2))


class Break(ast.NodeTransformer):
    """Puts `broken(part)` in the place of one part of a tree."""

    def __init__(self, part):
        self.part = part

    def visit(self, node):
        return broken(node) if node is self.part else self.generic_visit(node)


def mutants():
    """(what was broken, the module with just that broken), for every term of every formula in
    `gradients`.
    """
    source = inspect.getsource(gradients)
    for index, (function, part) in enumerate(formula_parts(ast.parse(source))):
        tree = ast.parse(source)
        function, part = list(formula_parts(tree))[index]
        before = ast.unparse(part)
        tree = ast.fix_missing_locations(Break(part).visit(tree))
        yield f"{function}: {before}", function, module_of(tree)


def module_of(tree):
    module = types.ModuleType("course_utils.gradients")
    exec(compile(tree, "broken_gradients", "exec"), module.__dict__)
    return module


def formula_parts(tree):
    for node in tree.body:
        name = getattr(node, "name", None) or (
            ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
        )
        if name in BACKWARDS or name == "_SLOPES":
            for statement in node.body if isinstance(node, ast.FunctionDef) else [node.value]:
                if (
                    not isinstance(statement, ast.If)
                    or name not in BACKWARDS
                    or "raise" not in ast.unparse(statement)
                ):
                    yield from ((name, part) for part in arithmetic(statement))


def is_noticed(module, function):
    """Whether a case of this function tells the broken module from autograd, on one of three
    seeds.
    """
    for name, case in CASES.items():
        if (
            name.split(",")[0] == function
            or function == "_SLOPES"
            and name.startswith("activation")
        ):
            for seed in range(3):
                try:
                    compare(*case(module, Draw(seed)))
                except Exception:
                    return True
    return False


def test_a_broken_term_is_noticed_wherever_it_is(capsys):
    """Every operator, minus sign, sum and selection of every formula, spoilt one at a time."""
    unbroken = module_of(ast.parse(inspect.getsource(gradients)))
    assert not any(is_noticed(unbroken, function) for function in (*BACKWARDS, "_SLOPES"))
    found = list(mutants())
    survived = [what for what, function, module in found if not is_noticed(module, function)]
    assert {function for _, function, _ in found} == {*BACKWARDS, "_SLOPES"} and len(found) >= 45
    assert survived == []


# ---- a second opinion ----


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


# ---- compare, central differences, verify_gradient ----


def test_compare_tells_exact_within_and_largest(capsys):
    x = torch.tensor([0.3, -7 / 9], dtype=torch.float64)
    found = compare({"d_x": x, "d_weight": x + 1e-13}, {"d_x": x.clone(), "d_weight": x})
    assert found["d_x"] == gradients.Comparison(exact=True, within=True, largest=0.0)
    assert (
        not found["d_weight"].exact
        and found["d_weight"].within
        and 0 < found["d_weight"].largest < 2e-13
    )
    assert capsys.readouterr().out.splitlines() == [
        "d_x       (2,)          agrees to 1e-10",
        "d_weight  (2,)          agrees to 1e-10",
    ]


def test_compare_raises_outside_after_all_lines(capsys):
    x = torch.ones(2, dtype=torch.float64)
    with pytest.raises(AssertionError, match=r"differ: d_x by 2 \(allowed: 1e-10\)"):
        compare({"d_x": -x, "d_y": x}, {"d_x": x, "d_y": x})
    assert [line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()] == [
        "DIFFERS by 2",
        "agrees to 1e-10",
    ]


@pytest.mark.parametrize("tolerance", [0, -1e-10, torch.inf, torch.nan])
def test_compare_needs_something_to_compare_and_a_tolerance(tolerance):
    x = torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="expected at least one gradient .* got \\[\\] and"):
        compare({}, {})
    with pytest.raises(ValueError, match=r"positive, finite tolerance, got \['a'\] and "):
        compare({"a": x}, {"a": x}, tolerance)


@pytest.mark.parametrize(
    "by_hand, reference, error, words",
    [
        (
            {"a": torch.ones(2, dtype=torch.float64)},
            {"b": torch.ones(2, dtype=torch.float64)},
            ValueError,
            r"by_hand has the names \['a'\], reference has \['b'\]",
        ),
        (
            {"a": torch.ones(2)},
            {"a": torch.ones(2, dtype=torch.float64)},
            TypeError,
            "a: by_hand is torch.float32",
        ),
        (
            {"a": torch.ones(2, dtype=torch.float64)},
            {"a": torch.ones(1, 2, dtype=torch.float64)},
            ValueError,
            r"a: by_hand has shape \(2,\)",
        ),
        (
            {"a": torch.zeros(2, dtype=torch.float64)},
            {"a": torch.zeros(2, dtype=torch.float64)},
            ValueError,
            "a: the reference is zero everywhere",
        ),
        (
            {"a": torch.full((2,), torch.nan, dtype=torch.float64)},
            {"a": torch.ones(2, dtype=torch.float64)},
            ValueError,
            "a: by_hand holds values that are not",
        ),
    ],
)
def test_compare_refuses_what_proves_nothing(by_hand, reference, error, words):
    with pytest.raises(error, match=words):
        compare(by_hand, reference)


def test_central_differences_of_a_loss_and_of_a_vector():
    x = Draw(1)(2, 3)
    torch.testing.assert_close(
        central_differences(lambda x: (x**3).sum(), x), 3 * x**2, rtol=0, atol=1e-8
    )
    jacobian = central_differences(lambda x: x.softmax(-1), x[0])
    torch.testing.assert_close(
        jacobian, gradients.softmax_jacobian(x[0].softmax(-1)), rtol=0, atol=1e-9
    )
    assert central_differences(lambda x: x.sum(1), x).shape == (2, 2, 3)


def test_central_differences_of_a_number():
    x = torch.tensor(100.0, dtype=torch.float64)
    assert central_differences(torch.square, x).item() == pytest.approx(200, rel=1e-8)
    x = torch.tensor(1 / 3, dtype=torch.float64)
    assert central_differences(torch.log, x).item() == pytest.approx(3, rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_central_differences_refuse_less_than_float64(dtype):
    x = torch.tensor([100], dtype=dtype)
    with pytest.raises(TypeError, match=f"x: expected torch.float64, got {dtype}"):
        central_differences(torch.square, x)
    with pytest.raises(TypeError, match=rf"function\(x\): expected torch.float64, got {dtype}"):
        central_differences(lambda x: x.to(dtype), x.double())


def test_central_differences_need_an_entry():
    with pytest.raises(ValueError, match=r"x: expected at least one entry, got shape \(2, 0\)"):
        central_differences(torch.sum, torch.zeros(2, 0, dtype=torch.float64))


@pytest.mark.parametrize("shapes, seeds", [(((3,),), 0), (((3,),), -1), ((), 3)])
def test_verify_gradient_needs_something_to_compare(shapes, seeds, capsys):
    with pytest.raises(ValueError, match=f"expected at least one shape .* seeds={seeds}"):
        verify_gradient("20.1", torch.sum, torch.zeros_like, *shapes, seeds=seeds)
    assert "holds" not in capsys.readouterr().out


def test_verify_gradient_accepts_a_gradient_and_a_jacobian(capsys):
    verify_gradient(
        "20.1", lambda x, y: (x**2 @ y).sum(), lambda x, y: (2 * x * y, (x**2).sum(0)), (4, 3), (3,)
    )
    verify_gradient(
        "20.2",
        lambda z: z.softmax(-1),
        lambda z: gradients.softmax_jacobian(z.softmax(-1)),
        (3,),
        seeds=5,
    )
    assert capsys.readouterr().out.splitlines() == [
        "equation 20.1 holds: by hand, autograd and central differences agree on 3 seeds",
        "equation 20.2 holds: by hand, autograd and central differences agree on 5 seeds",
    ]


def test_verify_gradient_names_what_disagrees():
    with pytest.raises(
        AssertionError,
        match="equation 20.1: by hand and autograd differ by 2 .* gradient 2 of 2, seed 0",
    ):
        verify_gradient("20.1", lambda x, y: (x * y).sum(), lambda x, y: (y, -x), (3,), (3,))
    with pytest.raises(ValueError, match="by_hand gives 1 gradients, expected 2"):
        verify_gradient("20.1", lambda x, y: (x * y).sum(), lambda x, y: y, (3,), (3,))
    # what autograd is told to leave out, a measurement finds
    with pytest.raises(AssertionError, match="central differences"):
        verify_gradient("20.1", lambda x: (x * x.detach()).sum(), lambda x: x, (3,))
    # one seed that fits is not enough
    with pytest.raises(AssertionError, match="seed 2"):
        verify_gradient(
            "20.1", lambda x: x.sum(), lambda x: torch.where(x > 0.5, 1, -1).to(x), (1,)
        )


# ---- bad input ----

Z, Y = torch.zeros(2, 3), torch.tensor([0, 2])


@pytest.mark.parametrize(
    "call, error, words",
    [
        (
            lambda: gradients.cross_entropy_backward(Z, Y[:1]),
            ValueError,
            r"labels: expected shape \(2,\), got \(1,\)",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y.int()),
            TypeError,
            "labels: expected torch.int64, got torch.int32",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Z.double()),
            TypeError,
            "labels: expected torch.float32, got torch.float64",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Z[0]),
            ValueError,
            r"labels: expected shape \(2, 3\), got \(3,\)",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y + 1),
            ValueError,
            "labels: expected classes 0 to 2, got 1 to 3",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y - 1),
            ValueError,
            "labels: expected classes 0 to 2, got -1 to 1",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, mask=torch.ones(2)),
            TypeError,
            "mask: expected torch.bool, got torch.float32",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, mask=torch.ones(2, 3).bool()),
            ValueError,
            r"mask: expected shape \(2,\)",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, mask=torch.zeros(2).bool()),
            ValueError,
            "mask: no row counts",
        ),
        (lambda: gradients.cross_entropy_backward(Z[:0], Y[:0]), ValueError, "no row counts"),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, class_weights=torch.zeros(3)),
            ValueError,
            "weight 0",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, class_weights=torch.ones(2)),
            ValueError,
            r"class_weights: expected shape \(3,\)",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, smoothing=1.5),
            ValueError,
            "smoothing from 0 to 1 .* got 1.5",
        ),
        (
            lambda: gradients.cross_entropy_backward(Z, Y, temperature=0),
            ValueError,
            "temperature > 0, got 0.0 and 0",
        ),
        (lambda: gradients.binary_cross_entropy_backward(Z, Y), ValueError, "labels"),
        (
            lambda: gradients.binary_cross_entropy_backward(Z, Z.double()),
            TypeError,
            "labels: expected torch.float32",
        ),
        (
            lambda: gradients.linear_backward(Z, Z, torch.ones(2, 3)),
            ValueError,
            r"d_out: expected shape \(2, 2\), got \(2, 3\)",
        ),
        (
            lambda: gradients.linear_backward(Z, torch.ones(2, 4), torch.ones(3, 5)),
            ValueError,
            r"x: expected shape \(2, 5\)",
        ),
        (
            lambda: gradients.activation_backward(Z, Z, "swish"),
            ValueError,
            r"activation: expected one of \['relu', .*'swish'",
        ),
        (lambda: gradients.activation_backward(Z, Z[:1]), ValueError, "d_out: expected shape"),
        (lambda: gradients.softmax_backward(Z, Z[0]), ValueError, "d_out: expected shape"),
        (
            lambda: gradients.masked_mean_backward(Z, torch.ones(2, 4)),
            TypeError,
            "mask: expected torch.bool",
        ),
        (
            lambda: gradients.masked_mean_backward(Z, torch.ones(3, 4).bool()),
            ValueError,
            r"d_out: expected shape \(3, 3\)",
        ),
        (
            lambda: gradients.embedding_backward(Z, Y, 2),
            ValueError,
            "ids: expected rows 0 to 1 of the table, got 0 to 2",
        ),
        (
            lambda: gradients.embedding_backward(Z, Y[:1], 3),
            ValueError,
            r"d_out: expected shape \(1, 3\)",
        ),
        (
            lambda: gradients.concat_backward(Z, {"text": 2, "image": 2}),
            ValueError,
            r"d_out: expected shape \(2, 4\), got \(2, 3\)",
        ),
    ],
)
def test_bad_input_names_the_argument(call, error, words):
    with pytest.raises((error, TypeError) if words == "labels" else error, match=words):
        call()


# What each is called with, under the names of its arguments.
VALID = {
    "cross_entropy_backward": {
        "logits": Z,
        "labels": Y,
        "class_weights": torch.ones(3),
        "mask": torch.ones(2, dtype=torch.bool),
    },
    "binary_cross_entropy_backward": {"logits": Z, "labels": Z, "pos_weight": torch.ones(3)},
    "linear_backward": {"d_out": torch.ones(2, 4), "x": Z, "weight": torch.ones(4, 3)},
    "activation_backward": {"d_out": Z, "x": Z},
    "softmax_jacobian": {"probs": Z},
    "softmax_backward": {"d_out": Z, "probs": Z},
    "masked_mean_backward": {"d_out": Z, "mask": torch.ones(2, 4, dtype=torch.bool)},
    "global_average_pool_backward": {"d_out": Z, "size": (2, 2)},
    "embedding_backward": {"d_out": Z, "ids": Y, "rows": 3},
    "concat_backward": {"d_out": Z, "dims": {"text": 1, "image": 2}},
}


def takes_tensors(function):
    """The arguments of a function that are annotated as tensors."""
    signature = inspect.signature(getattr(gradients, function))
    names = [name for name, one in signature.parameters.items() if "Tensor" in str(one.annotation)]
    given = {name for name, x in VALID[function].items() if isinstance(x, torch.Tensor)}
    assert set(names) == given
    return names


def test_every_gradient_has_a_valid_call():
    assert set(VALID) == set(BACKWARDS)
    for function, arguments in VALID.items():
        getattr(gradients, function)(**arguments)


ARGUMENTS = [(function, name) for function in VALID for name in takes_tensors(function)]


@pytest.mark.parametrize("function, name", ARGUMENTS)
def test_what_is_no_tensor_or_holds_other_numbers_is_refused_by_name(function, name):
    right = VALID[function][name]
    for wrong in (right.tolist(), right.numpy(), right.int()):
        with pytest.raises(TypeError, match=f"^{name}: expected .*, got "):
            getattr(gradients, function)(**VALID[function] | {name: wrong})


@pytest.mark.parametrize(
    "function, name",
    [one for one in ARGUMENTS if one[1] in ("labels", "mask", "class_weights", "pos_weight")],
)
def test_a_shape_that_does_not_fit_is_refused_by_name(function, name):
    right = VALID[function][name]
    for shape in ((5,), (2, 1, 3), (1, 1, 1), (2, 3, 1)):
        with pytest.raises(ValueError, match=rf"^{name}: expected .*, got \({shape[0]},"):
            getattr(gradients, function)(**VALID[function] | {name: right.new_ones(shape)})
