"""Gradients by hand: against autograd on 20 seeds, against central differences and gradcheck, in
half precision, and broken on purpose, term by term.
"""

import ast
import importlib
import inspect
import re
import types

import pytest
import torch
from gradient_cases import BACKWARDS, CASES, SEEDS, Draw, Half
from torch.nn import functional as F

from course_utils import gradients
from course_utils.gradients import central_differences, compare
from course_utils.rooms import room
from course_utils.runtime import ROOT


def test_every_gradient_has_a_case():
    assert {name.split(",")[0] for name in CASES} == set(BACKWARDS)


@pytest.mark.parametrize("name", CASES)
def test_it_is_autograds_gradient_to_1e_12_over_20_seeds(name, capsys):
    for seed in SEEDS:
        draw = Draw(seed)
        compare(*CASES[name](gradients, draw), tolerance=1e-12)
        assert all(tensor._version == 0 for tensor in draw.made), "an argument was changed in place"


class ByHand(torch.autograd.Function):
    """A forward pass whose backward is the one by hand, so that gradcheck can ask about it."""

    @staticmethod
    def forward(ctx, setup, *leaves):
        ctx.setup = setup
        ctx.save_for_backward(*leaves)
        return setup.forward(dict(zip(setup.leaves, leaves)))

    @staticmethod
    def backward(ctx, d_out):
        leaves = dict(zip(ctx.setup.leaves, ctx.saved_tensors))
        by_hand = ctx.setup.by_hand(gradients, d_out, leaves)
        scale = d_out if not d_out.dim() else 1  # a loss starts the chain, with 1
        return None, *(scale * by_hand[name] for name in leaves)


SMOOTH = [
    name
    for name in CASES
    if hasattr(CASES[name], "build") and not name.endswith(("ties", "a row of zeros"))
]


@pytest.mark.parametrize("name", SMOOTH)
def test_differences_agree_and_gradcheck_passes(name):
    draw = Draw(0)
    setup = CASES[name].build(draw)
    leaves = setup.leaves
    out = setup.forward(leaves)
    d_out = draw(*out.shape) if out.dim() else torch.ones((), dtype=torch.float64)
    by_hand = setup.by_hand(gradients, d_out, leaves)
    for key, x in leaves.items():

        def loss(x, key=key):
            return (setup.forward(leaves | {key: x}) * d_out).sum()

        expected = by_hand[key]
        measured = central_differences(loss, x)
        torch.testing.assert_close(expected, measured, rtol=0, atol=1e-7 * expected.abs().max())
    trainable = [x.requires_grad_() for x in leaves.values()]
    assert torch.autograd.gradcheck(lambda *given: ByHand.apply(setup, *given), trainable)


HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


@HALVES
@pytest.mark.parametrize("name", CASES)
def test_in_half_precision_it_is_autograds_gradient_in_float64_to_that_precision(name, dtype):
    for seed in SEEDS:
        half = Half(seed, dtype)
        by_hand, reference = CASES[name](half, half)
        largest = max(expected.abs().max() for expected in reference.values())
        # a chain of six maps, each rounded
        roundings = 8 if name.startswith("cross_attention") else 4
        for key, expected in reference.items():
            atol = roundings * torch.finfo(dtype).eps * largest
            torch.testing.assert_close(by_hand[key], expected, rtol=0, atol=atol)


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
    pages = {
        number: room(number, "page.py").read_text(encoding="utf-8")
        for number in ("21", "22", "23", "24")
    }
    for name in BACKWARDS:
        words = getattr(gradients, name).__doc__
        numbers = re.findall(r"\((2[1-4]\.\d+)\)", words)
        sections = re.findall(r'Page (\d\d), "(.+)"\.', words)  # where nothing has a number
        assert numbers or sections, name
        assert all(f"\\tag{{{number}}}" in pages[number[:2]] for number in numbers), name
        assert all(re.search(f"^# ##+ {title}$", pages[page], re.M) for page, title in sections)


def test_the_map_in_the_readme_has_every_gradient_and_no_other():
    text = (ROOT / "course_utils" / "README.md").read_text(encoding="utf-8")
    table = text.split("## Map of gradients")[1].split("\n## ")[0]
    by_name = [name.removesuffix("_backward") for name in BACKWARDS]
    verify = ["compare", "central_differences", "verify_gradient"]
    assert sorted(re.findall(r"`([a-z_]+)`", table)) == sorted([*by_name, *verify, "_backward"])


def test_nothing_is_left_to_autograd():
    for name in BACKWARDS:
        source = inspect.getsource(getattr(gradients, name))
        assert not any(
            word in source for word in ("autograd", "backward()", ".grad", "requires_grad", "func.")
        ), name


# ---- broken on purpose ----

CALLS = ("where", "sum", "clamp", "index_add_", "split", "masked_fill", "softmax", "log_softmax")
CALLS += ("tanh", "sigmoid", "exp", "amax", "normalize", "masked_softmax")
HOMES = ("outputs", "layers", "fusion", "attention", "alignment")
TURNS = {ast.Eq: ast.NotEq, ast.Gt: ast.LtE, ast.GtE: ast.Lt}
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}


def arithmetic(node):
    """The places in a function's tree that carry its formula: operators, minus signs, sums,
    selections, comparisons, assignments to a part.
    """
    return [
        part
        for part in ast.walk(node)
        if isinstance(part, ast.BinOp)
        and type(part.op) in (*SWAPS, ast.MatMult)
        or isinstance(part, ast.UnaryOp)
        and isinstance(part.op, (ast.USub, ast.Invert))
        and not isinstance(part.operand, ast.Constant)
        or isinstance(part, ast.Compare)
        and type(part.ops[0]) in TURNS
        or isinstance(part, ast.Assign)
        and isinstance(part.targets[0], ast.Subscript)
        or isinstance(part, ast.Call)
        and called(part) in CALLS
    ]


def called(part):
    return getattr(part.func, "attr", None) or getattr(part.func, "id", None)


def broken(part):
    """The same expression with one term of it spoilt."""
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.MatMult):
        # a @ b -> -(a @ b)
        return ast.UnaryOp(ast.USub(), part)
    if isinstance(part, ast.BinOp):
        # + <-> -, * <-> /
        return ast.BinOp(part.left, SWAPS[type(part.op)](), part.right)
    if isinstance(part, ast.Compare):
        # == <-> !=, > <-> <=
        return ast.Compare(part.left, [TURNS[type(part.ops[0])]()], part.comparators)
    if isinstance(part, ast.UnaryOp):
        return part.operand  # -x -> x, ~x -> x
    if isinstance(part, ast.Assign):
        # d[i] = 0 -> d[i] = 1
        return ast.Assign(part.targets, ast.Constant(1))
    # the last one wins; the blocks swapped
    if called(part) in ("index_add_", "split"):
        return ast.parse(
            ast.unparse(part)
            .replace("index_add_", "index_copy_")
            .replace("list(dims.values())", "list(dims.values())[::-1]"),
            mode="eval",
        ).body
    if called(part) == "where":
        # where(mask, x, 0) -> x
        return part.args[1]
    if called(part) in ("clamp", "masked_fill"):
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
    """(what was broken, the function, its home, the module with just that broken), for every term
    of every formula in `gradients`.
    """
    for home in HOMES:
        source = source_of(home)
        for index in range(len(list(formula_parts(ast.parse(source))))):
            tree = ast.parse(source)
            function, part = list(formula_parts(tree))[index]
            before = ast.unparse(part)
            tree = ast.fix_missing_locations(Break(part).visit(tree))
            yield f"{home}.{function}: {before}", function, home, module_of(tree)


def source_of(home):
    return inspect.getsource(importlib.import_module(f"course_utils.gradients.{home}"))


def module_of(tree):
    module = types.ModuleType("broken_gradients")
    exec(compile(tree, "broken_gradients", "exec"), module.__dict__)
    return module


def formula_parts(tree):
    """The arithmetic of each function, and of what the functions share."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            name, statements = node.name, node.body
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_SLOPES":
            name, statements = "_SLOPES", [node.value]
        else:
            continue
        for statement in statements:
            if not isinstance(statement, ast.If) or "raise" not in ast.unparse(statement):
                yield from ((name, part) for part in arithmetic(statement))


def cases_of(function, home):
    """The cases of a function; for what functions share, those of all in its home."""
    for name, case in CASES.items():
        own = name.split(",")[0]
        if own == function or function not in BACKWARDS and gradients.HOMES[own] == home:
            yield case


def is_noticed(module, function, home):
    """Whether a case tells the broken module from autograd, on one of three seeds."""
    for case in cases_of(function, home):
        for seed in range(3):
            try:
                compare(*case(module, Draw(seed)))
            except Exception:
                return True
    return False


def test_a_broken_term_is_noticed_wherever_it_is(capsys):
    """Every operator, minus sign, sum and selection of every formula, spoilt one at a time."""
    for home in HOMES:
        unbroken = module_of(ast.parse(source_of(home)))
        assert not is_noticed(unbroken, "all", home)
    found = list(mutants())
    survived = [what for what, *where in found if not is_noticed(where[2], *where[:2])]
    assert survived == []
    # some have no steps of their own: what they share is broken there
    shared = {f"{name}_backward" for name in ("weighted_concat", "weighted_sum", "linear_fusion")}
    broken_ones = {function for _, function, _, _ in found}
    assert {*BACKWARDS, "_SLOPES"} - broken_ones == shared | {"late_backward"}
    assert len(found) >= 200
