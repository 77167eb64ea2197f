"""What page 22 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import sys
from functools import partial

import pytest
import torch
from reading import gain, said, the_cell
from torch.nn import functional as F

from course_utils import exercises, gradients
from course_utils.exercises import reference, verdict
from course_utils.masks import masked_mean
from course_utils.rooms import stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

WIDTHS = (16, 64, 256)

# ---- the reader's own code ----


def layer_by_block(d_out, parts, weight):
    """A block of the weight for each part, by products of vectors."""
    blocks, d_parts, rest = [], {}, weight
    for name, part in parts.items():
        block, rest = rest[:, : part.shape[1]], rest[:, part.shape[1] :]
        blocks.append((d_out[:, :, None] * part[:, None, :]).sum(0))
        d_parts[name] = (d_out[:, :, None] * block).sum(1)
    return torch.cat(blocks, dim=1), torch.ones(len(d_out)).to(d_out) @ d_out, d_parts


def layer_by_package(d_out, parts, weight):
    glued = torch.hstack(list(parts.values()))
    d_glued, d_weight, d_bias = gradients.linear_backward(d_out, glued, weight)
    widths = {name: part.shape[1] for name, part in parts.items()}
    return d_weight, d_bias, gradients.concat_backward(d_glued, widths)


def layer_number_by_number(d_out, parts, weight):
    glued = torch.hstack(list(parts.values()))
    d_weight, d_glued = torch.zeros_like(weight), torch.zeros_like(glued)
    for n in range(len(d_out)):
        for c in range(len(weight)):
            d_weight[c] += d_out[n, c] * glued[n]
            d_glued[n] += d_out[n, c] * weight[c]
    widths = [part.shape[1] for part in parts.values()]
    return d_weight, d_out.sum(0), dict(zip(parts, d_glued.split(widths, dim=1)))


def table_by_package(d_mean, ids, mask, rows):
    return gradients.embedding_backward(gradients.masked_mean_backward(d_mean, mask), ids, rows)


def table_by_sorting(d_mean, ids, mask, rows):
    """Row by row: where does v stand?"""
    share = d_mean / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.stack([((ids == v) & mask).sum(1).to(share) @ share for v in range(rows)])


def losses_head_by_head(dims, weights, kept, labels, alpha, beta):
    """Each loss all the way down, added at the end."""
    known, open_gate = labels["known"], kept["before"] > 0
    p = kept["p"] - F.one_hot(labels["digit"], kept["p"].shape[1])
    d = (p @ weights["digit"] * open_gate) @ weights["hidden"] * alpha / len(p)
    if known.any():
        e = (kept["q"] - labels["even"])[known, None] * weights["even"] * open_gate[known]
        d[known] += beta * (e @ weights["hidden"]) / known.sum()
    return dict(zip(dims, d.split([*dims.values()], 1)))


@pytest.mark.parametrize(
    "key, answer",
    [
        ("22.1", layer_by_block),
        ("22.1", layer_by_package),
        ("22.2", table_by_package),
        ("22.2", table_by_sorting),
        ("22.3", losses_head_by_head),
    ],
)
def test_another_way_that_is_right_is_right(key, answer):
    assert verdict(exercises._find(key), answer)[0]


@pytest.mark.parametrize("key, answer", [("22.2", table_by_package), ("22.3", losses_head_by_head)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_loops_over_the_squares_of_a_batch_are_not_taken(accepted):
    taken, said = accepted("22.1", layer_number_by_number)
    assert taken is reference("22.1")
    assert said.startswith("22.1: the course's, because yours, though right, takes ")


def test_autograd_is_refused_by_name():
    def layer_backward(d_out, parts, weight):
        leaves = {name: part.clone().requires_grad_() for name, part in parts.items()}
        weight, bias = weight.clone().requires_grad_(), torch.zeros(len(weight)).to(weight)
        out = torch.hstack(list(leaves.values())) @ weight.T + bias.requires_grad_()
        wanted = [weight, bias, *leaves.values()]
        d_weight, d_bias, *rest = torch.autograd.grad(out, wanted, d_out)
        return d_weight, d_bias, dict(zip(leaves, rest))

    right, said = verdict(exercises._find("22.1"), layer_backward)
    assert not right and "autograd is called" in said


# ---- what stands in its cells ----


cell = partial(the_cell, "22")


def test_faults_are_in_the_lines_that_are_shown(capsys):
    names = {"torch": torch, "F": F}
    exec(cell("a = torch.tensor([2.0"), names)
    capsys.readouterr()
    said = []
    for words in (
        ("d_a = torch.where(d_h > 0",),
        ("d_a = torch.where(a > 0",),
        ("z, no =", "F.binary_cross_entropy(z.sigmoid()"),
        ("z, no =", "F.binary_cross_entropy_with_logits(z, no)"),
    ):
        exec(cell(*words), names)
        said.append(capsys.readouterr().out.strip().splitlines())
    assert [lines[-1].rpartition(": ")[2] for lines in said] == ["False", "True", "False", "True"]
    assert [lines[0] for lines in said[2:]] == [
        "loss 100.0   gradient 0.0",
        "loss 40.0   gradient 1.0",
    ]


def test_relu_of_the_library_section_fails_when_it_asks_the_wrong_number(capsys):
    shown = cell("import torch as pt")
    exec(shown, {})
    assert capsys.readouterr().out == "the ReLU's backward is right: True\n"
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        exec(shown.replace("return d_h * (a > 0)", "return d_h * (d_h > 0)"), {})


def test_first_figure_shows_what_the_loop_prints(capsys):
    """The numbers on the wires."""
    exec(cell("d_h[d] += d_z[c] * W[c, d]"), {"torch": torch})
    said = capsys.readouterr().out
    assert "logits: [4.0, 4.0]   d_z: [-0.5, 0.5]" in said
    assert "d_W: [[-0.5, -1.0, -1.5], [0.5, 1.0, 1.5]]" in said
    assert "d_h: [-0.5, 1.0, -0.5]" in said
    figure = cell("# The page in one graph")
    for one in ('"4, 4"', '"-½, ½"', '"-½ -1 -1½\\n½  1  1½"', '"-½, 1, -½"', '"1 0 1\\n0 2 0"'):
        assert one in figure
    loss = F.cross_entropy(torch.tensor([[4.0, 4.0]]), torch.tensor([0])).item()
    assert f'"{loss:.2f}"' in figure


@pytest.fixture(scope="module")
def page():
    names = measured_cells("22")
    names["layer_backward"], names["table_backward"] = reference("22.1"), reference("22.2")
    return names


def test_gradients_by_hand_are_autograds_to_the_last_bits(page):
    data = {name: one[:32] for name, one in page["load"]("test", 1).items()}
    net, _ = page["train"](page["by_hand"], data, seed=1, epochs=2)
    (loss, hand), (other, auto) = page["by_hand"](net, data), page["by_autograd"](net, data)
    assert loss == pytest.approx(other, abs=1e-14)
    assert hand.keys() == auto.keys() == net.keys()
    for name in net:
        assert torch.allclose(hand[name], auto[name], rtol=0, atol=1e-14), name


@pytest.mark.parametrize(
    "right, wrong",
    [
        ('(v["before"] > 0)', '(back["hidden"] > 0)'),
        ("/ 16 *", "*"),
        ('back["text"], batch', 'back["text"] / 2, batch'),
        ("/ len(labels)", "/ 10"),
        ('(v["map"] > 0)', '(v["map"] > -9)'),
    ],
)
def test_comparison_on_the_page_finds_a_slip(page, right, wrong):
    shown = cell("def by_hand(net, batch):")
    assert right in shown
    exec(shown.replace(right, wrong), names := dict(page))
    data = {name: one[:32] for name, one in page["load"]("test", 1).items()}
    net, _ = page["train"](page["by_hand"], data, seed=1, epochs=1)
    with pytest.raises(AssertionError, match="by hand and reference differ"):
        gradients.compare(names["by_hand"](net, data)[1], page["by_autograd"](net, data)[1])


def test_first_steps_of_three_optimisers(capsys):
    names = {"torch": torch, "verify": lambda *_: None}
    exec(cell("OPTIMIZERS = {"), names)
    exec(cell("moved = first_step(name"), names)
    numbers = [line.split()[-3:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert numbers == [
        ["0.990", "0.989", "0.890"],
        ["0.900", "0.900", "0.900"],
        ["0.990", "0.890", "0.890"],
    ]


def test_adam_with_l2_moves_by_the_rate_whatever_the_decay():
    for decay in (1e-3, 0.1, 10.0):
        weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
        weight.grad = torch.zeros_like(weight)
        torch.optim.Adam([weight], lr=0.1, weight_decay=decay).step()
        assert weight.item() == pytest.approx(0.9, abs=1e-5)


def test_word_of_the_loop_is_what_the_exercise_gives(capsys):
    exec(cell('word, d_mean = "too"'), {})
    assert capsys.readouterr().out.splitlines()[-1].endswith("'o': [0.2, -0.4], 't': [0.1, -0.2]}")
    d_mean = torch.tensor([[0.3, -0.6]], dtype=torch.float64)
    found = reference("22.2")(d_mean, torch.tensor([[2, 1, 1]]), torch.ones(1, 3) > 0, 3)
    expected = torch.tensor([[0, 0], [0.2, -0.4], [0.1, -0.2]], dtype=torch.float64)
    assert torch.allclose(found, expected)
    table = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    mean = masked_mean(table[torch.tensor([[2, 1, 1]])], torch.ones(1, 3) > 0)
    assert torch.allclose(torch.autograd.grad(mean, table, d_mean)[0], expected)


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("22")


def of(name, row, what="accuracy"):
    return stored("22", name)[row][what]


def percent(runs):
    return 100 * sum(runs) / len(runs)


def lost(way, width):
    """Points lost to the right gradient over the seeds, paired: mean, and half the interval."""
    return gain(of("slips", f"right, {width}"), of("slips", f"{way}, {width}"))


def test_the_bet_is_adas(text):
    assert 'outcome("21.c", "Ada")' in text
    right, slip = of("slips", "right, 64"), of("slips", "transposed, 64")
    assert max(one - other for one, other in zip(right, slip)) < 0.05
    assert min(slip) > 0.8


def test_transposed_and_random_cost_what_the_page_says(text):
    words = [f"{mean:.1f} ± {half:.1f}" for mean, half in (lost("transposed", w) for w in WIDTHS)]
    assert f"{words[0]} points at width 16, {words[1]} at 64, {words[2]} at 256" in text
    for width in WIDTHS:
        assert lost("random matrix", width)[0] == pytest.approx(lost("transposed", width)[0], abs=1)


def test_minus_is_at_chance_or_little_above():
    for width in WIDTHS:
        assert 9 < percent(of("slips", f"extra minus, {width}")) < 18


def test_frozen_first_layer_is_worse_at_16_and_hides_at_256(text):
    mean, half = lost("first layer frozen", 64)
    assert f"17 points at width 16, {mean:.1f} ± {half:.1f} at 64 and half a point at 256" in text
    assert round(lost("first layer frozen", 16)[0]) == 17
    assert lost("first layer frozen", 256)[0] == pytest.approx(0.5, abs=0.05)


def test_what_reaches_the_first_layer_turns_towards_the_right_gradient(text):
    start = of("slips", "transposed, 64", "cosine at the start")
    end = of("slips", "transposed, 64", "cosine at the end")
    assert (round(min(start), 2), round(max(start), 2)) == (-0.14, 0.21)
    assert (round(min(end), 2), round(max(end), 2)) == (0.24, 0.32)
    assert "near 0 at the start, and between 0.24 and 0.32 after training" in text


def test_with_the_layers_above_frozen_the_wrong_matrix_teaches_nothing(text, page):
    (right, wrong) = (
        [100 * one for one in of("frozen_above", way)] for way in ("right", "transposed")
    )
    assert max(wrong) < 18 and min(right) > 83
    assert "frozen the transposed matrix ends near chance." in text
    train, test = page["pixels"]("train", 2), page["pixels"]("test", 2)
    end = page["descend"]("transposed", 64, 2, *train, rates=(0.1, 0, 0))
    assert 100 * page["right_share"](end, *test) == pytest.approx(wrong[2], abs=3)


def test_step_of_the_input_alone():
    assert of("slips", "right, 64", "helped") == [1.0] * 5
    assert of("slips", "extra minus, 64", "helped") == [0.0] * 5
    shares = [round(100 * one) for one in of("slips", "transposed, 64", "helped")]
    assert (min(shares), max(shares)) == (37, 69)


def test_one_run_of_a_slip_made_again_agrees(page):
    train, test = page["pixels"]("train", 1), page["pixels"]("test", 1)
    for way in ("transposed", "first layer frozen", "extra minus"):
        again = page["right_share"](page["descend"](way, 16, 1, *train), *test)
        assert again == pytest.approx(of("slips", f"{way}, 16")[1], abs=0.03)


def test_curves_by_hand_and_by_autograd_are_one():
    for name, row in stored("22", "by_hand").items():
        assert len(row["difference"]) == 5 and max(row["difference"]) < 1e-12, name
    digits = [round(100 * one) for one in of("by_hand", "digits")]
    assert (min(digits), max(digits)) == (81, 83)
