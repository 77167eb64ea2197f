"""What page 23 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import sys
from functools import partial

import pytest
import torch
from reading import gain, said, the_cell
from torch.nn import functional as F

from course_utils import exercises, gradients
from course_utils.datasets import Gates
from course_utils.exercises import reference, verdict
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

WORLDS = ("gates", "digits")
cell = partial(the_cell, "23")

# ---- the reader's own code ----


def gate_by_package(d_out, text, image, gate, weight):
    """The package's gate has a softmax over two scores: this one's score and 0."""
    values = {"text": text, "image": image}
    bias = gate.logit() - torch.cat([text, image], dim=1) @ weight.T  # (B, H), a row for each
    found = []
    for n in range(len(text)):
        one = {name: value[n : n + 1] for name, value in values.items()}
        both = torch.cat([weight, torch.zeros_like(weight)])
        shift = torch.cat([bias[n], torch.zeros_like(bias[n])])
        found.append(gradients.gated_backward(d_out[n : n + 1], one, one, both, shift))
    d_text, d_image = (
        torch.cat([direct[name] + through[name] for direct, through, *_ in found])
        for name in values
    )
    H = len(weight)
    return d_text, d_image, sum(w[:H] for *_, w, _ in found), sum(b[:H] for *_, b in found)


def experts_by_package(logits, log_prior, there, labels):
    names = [str(m) for m in range(logits.shape[1])]
    evidence = torch.where(there[..., None], logits.log_softmax(2) - log_prior, 0).sum(1)
    d_out = gradients.cross_entropy_backward(log_prior + evidence, labels)
    found, d_prior = gradients.product_of_experts_backward(
        d_out, dict(zip(names, logits.unbind(1))), dict(zip(names, there.unbind(1)))
    )
    return torch.stack([*found.values()], dim=1), d_prior


def test_package_gives_the_gates_gradients():
    for case in list(exercises._find("23.1").cases())[:4]:  # without the gates of 0 and 1
        for one, other in zip(gate_by_package(*case), reference("23.1")(*case)):
            assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_package_is_a_right_answer_to_the_product():
    assert verdict(exercises._find("23.2"), experts_by_package)[0]


@pytest.mark.parametrize("key", ["23.1", "23.2"])
def test_float32_is_right(key):
    def small(*inputs):
        float32 = [x.float() if x.is_floating_point() else x for x in inputs]
        return reference(key)(*float32)

    exercise = exercises._find(key)
    if key == "23.1":
        right = verdict(
            exercise,
            lambda d_out, text, image, gate, weight: small(d_out, text, image, gate, weight),
        )
    else:
        right = verdict(
            exercise,
            lambda logits, log_prior, there, labels: small(logits, log_prior, there, labels),
        )
    assert right[0]


def test_another_way_that_is_right_is_taken(accepted):
    def gate_backward(d_out, text, image, gate, weight):
        score = gate * (text - (gate * text + (1 - gate) * image)) * d_out
        glued = torch.hstack([text, image])
        a, b = torch.tensor_split(score @ weight, 2, dim=1)
        return gate * d_out + a, (1 - gate) * d_out + b, score.T @ glued, score.sum(0)

    assert accepted("23.1", gate_backward) == (gate_backward, "23.1: yours\n")
    taken, words = accepted("23.2", experts_by_package)
    assert (taken, words) == (experts_by_package, "23.2: yours\n")


# ---- what stands in its cells ----


def test_fault_is_in_the_line_that_is_shown(capsys):
    exec(cell("def gate_out(t, i):"), names := {"torch": torch})
    assert "pushed: {'text': 1.5, 'image': 3.5}" in capsys.readouterr().out
    exec(cell(".sigmoid(1 * t + 3 * i).detach()"), names)
    assert capsys.readouterr().out.splitlines() == [
        "text gets 0.5   image gets 0.5",
        "the same as pushed: False",
    ]
    shown = cell(".sigmoid(1 * t + 3 * i).detach()").replace(".detach()", "")
    assert shown.strip() == cell("z = torch.sigmoid(1 * t + 3 * i)\n(z * t").strip()
    exec(shown, names)
    assert capsys.readouterr().out.splitlines() == [
        "text gets 1.5   image gets 3.5",
        "the same as pushed: True",
    ]


def test_figures_show_what_the_cells_print(capsys):
    exec(cell('W = {"text"'), names := {"torch": torch})
    words = capsys.readouterr().out
    assert "residual [-0.5, 0.5]" in words
    assert "text gets [-1.0]\nimage gets [0.5]" in words
    first = cell("# A graph with values and gradients")
    assert '("text", "glue"): ("1", "-1", 0.5), ("image", "glue"): ("2", "½", 0.5)' in first
    assert '("head", "loss"): ("1, 1", "-½, ½", 0.5)' in first
    exec(cell("said = torch.tensor("), names | {"F": F})
    words = capsys.readouterr().out
    assert "the product says [0.8, 0.2]" in words
    for name in ("text ", "image"):
        assert f"{name} gets [0.8, -0.8]" in words
    assert "prior gets [-0.8, 0.8]" in words
    product = cell("# The product's graph")
    assert '(".8, -.8"' not in product and product.count('".8, -.8"') == 3
    assert '"-.8, .8"' in product


def test_gate_of_two_is_the_line_for_weights_that_compete():
    """z (1 - z) (t - i) is z (t - out)."""
    z, t, i = torch.rand(3, 50, dtype=torch.float64)
    assert torch.allclose(z * (1 - z) * (t - i), z * (t - (z * t + (1 - z) * i)))


@pytest.fixture(scope="module")
def page():
    names = measured_cells("23")
    names["gate_backward"], names["experts_backward"] = reference("23.1"), reference("23.2")
    return names


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("1 - v[m] ** 2", "1 - v[m]"),
        ("found[2:]", "found[2] / 2, found[3]"),
        ("back[:, 0]", "back[:, 1]"),
        (
            'experts_backward(v["logits"], net["prior"]',
            'experts_backward(v["logits"], net["ear bias"]',
        ),
    ],
)
def test_comparison_on_the_page_finds_a_slip(page, right, wrong):
    shown = cell("def by_hand(net, x):")
    assert right in shown
    exec(shown.replace(right, wrong), names := dict(page))
    data = {
        "train": {m: torch.randn(1, 32, d) for m, d in (("text", 5), ("image", 6), ("audio", 4))}
    }
    data["train"]["label"] = torch.arange(32)[None] % 10
    rows = page["samples"](data, "train", 0)
    net, _ = page["descend"](page["by_hand"], rows, seed=0, epochs=1)
    gradients.compare(page["by_hand"](net, rows), page["by_autograd"](net, rows))
    with pytest.raises(AssertionError, match="by hand and reference differ"):
        gradients.compare(names["by_hand"](net, rows), page["by_autograd"](net, rows))


# ---- its worlds and ways ----


def test_gates_world_is_what_the_page_says(page):
    """The text errs on about a tenth; the image's bits tell the label, none of them alone."""
    rows = page["gates"]("test", 3)
    again = page["gates"]("test", 3)
    assert all(torch.equal(rows[name], again[name]) for name in rows)
    assert tuple(rows["image"].shape) == (4000, 24) and tuple(rows["text"].shape) == (4000, 8)
    side = 2 * rows["label"].double() - 1
    along = F.normalize((rows["text"] * side[:, None]).mean(dim=0), dim=0)
    right = ((rows["text"] @ along.float() > 0) == (side > 0)).double().mean()
    assert right.item() == pytest.approx(0.9, abs=0.02)
    for block in rows["image"].split(8, dim=1):
        assert (block * side[:, None]).mean(dim=0).abs().max() < 0.05
    one, other = rows["text"][:, 0], rows["image"][:, 0]
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.06  # noises of their own


def test_best_rules_of_the_gates_world_are_those_that_the_page_names(text):
    """Drawn from the worlds' formulas: of a vector only t = sign + .35 n matters."""
    n, noise, generator = 1_000_000, 0.35, torch.Generator().manual_seed(0)

    def signs(*shape):
        return 2.0 * torch.randint(2, shape, generator=generator) - 1

    def seen(label, flips, bits):
        """The mean of the label, 1 or -1, under all that these bits tell."""
        sign = signs(n, bits)
        flipped = torch.where(torch.rand(n, generator=generator) < flips, -label, label)
        sign[:, 0] = flipped * sign[:, 1:].prod(dim=1)
        t = sign + noise * torch.randn(n, bits, generator=generator)
        return (1 - 2 * flips) * (t / noise**2).tanh().prod(dim=1)

    label = signs(n)
    text_tells, image_tells = seen(label, 0.1, 1), seen(label, 0.02, 3)
    both = text_tells.atanh() + image_tells.atanh()  # independent given the label
    found = [(one * label > 0).double().mean().item() for one in (text_tells, image_tells, both)]
    assert found == pytest.approx([0.898, 0.974, 0.977], abs=0.0008)
    assert Gates("unique", flips=0.1).ceiling(("text",)) == pytest.approx(found[0], abs=0.001)
    assert Gates("parity", flips=0.02).ceiling() == pytest.approx(found[1], abs=0.001)
    assert "89.8 % from the text, 97.4 from the image and 97.7 from both" in text


def test_own_residual_changes_the_residual_alone(page):
    """The gradient that an encoder gets alone is the one that it gets by its own residual."""
    data = {"train": {m: x[None, :200] for m, x in page["gates"]("train", 0).items()}}
    net = page["network"](data["train"])
    found = []
    for way, names in (("own residual", page["PAIR"]), ("image", ("image",))):
        for weight in net.values():
            weight.grad = None
        parts = page["spoken"](net, data["train"], names)
        loss = page["losses"](way, parts, net["head bias"], data["train"]["label"])
        loss.sum().backward()
        found.append(net["image 0"].grad.clone())
    assert torch.allclose(*found)


def test_ogm_slows_who_is_ahead_and_no_head(page):
    ogm = load("23", "sweeps").ogm
    net = {f"{m} 0": torch.ones(1, 2, 2, requires_grad=True) for m in page["PAIR"]}
    net |= {f"head {m}": torch.ones(1, 2, 2, requires_grad=True) for m in page["PAIR"]}
    net["head bias"] = torch.zeros(1, 1, 2, requires_grad=True)
    labels = torch.zeros(1, 4, dtype=torch.int64)
    sure, unsure = torch.tensor([4.0, -4.0]), torch.tensor([0.5, -0.5])
    parts = {"text": sure.expand(1, 4, 2), "image": unsure.expand(1, 4, 2)}
    rho = (sure.softmax(0)[0] / unsure.softmax(0)[0]).item()
    for turned, slow in ((False, "text"), (True, "image")):
        for weight in net.values():
            weight.grad = torch.ones_like(weight)
        ogm(0.5, turned)(net, parts, labels)
        factor = 1 - torch.tanh(torch.tensor(0.5 * rho)).item()
        for name, weight in net.items():
            expected = factor if name == f"{slow} 0" else 1.0
            assert torch.allclose(weight.grad, torch.full_like(weight, expected)), name


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("23")


def of(row, steps, sweep="paths"):
    return stored("23", sweep)[row]["accuracy"][str(steps)]


def words(pair):
    mean, half = pair
    return f"{abs(mean) if abs(mean) < 0.05 else mean:.1f} ± {half:.1f}"


def test_share_of_the_image_grows_in_every_run_and_falls_where_it_is_shuffled():
    for world in WORLDS:
        shares = {
            way: stored("23", "paths")[f"{world}: {way}"]["share"]
            for way in ("joint", "image shuffled", "text shuffled")
        }
        assert all(end > start for start, end in zip(shares["joint"][0], shares["joint"][-1]))
        pairs = zip(shares["image shuffled"][0], shares["image shuffled"][-1])
        assert all(end < start for start, end in pairs)
        pairs = zip(shares["joint"][-1], shares["text shuffled"][-1])
        assert all(alone > joint for joint, alone in pairs)


def test_pull_on_the_text_shrinks_in_every_run():
    for world in WORLDS:
        row = stored("23", "paths")[f"{world}: joint"]
        start, end = (
            [pull * (1 - share) / share for pull, share in zip(row["pull"][at], row["share"][at])]
            for at in (0, -1)
        )
        assert all(late < 0.5 * early for early, late in zip(start, end))


def test_pull_is_less_than_half_in_the_joint_training(text):
    pulls = {
        way: stored("23", "paths")[f"gates: {way}"]["pull"][1]
        for way in ("joint", "own residual", "text shuffled")
    }
    means = {way: sum(one) / 5 for way, one in pulls.items()}
    assert f"it is {means['joint']:.2f} in the joint training" in text
    assert f"and {means['text shuffled']:.2f} where the text is shuffled" in text
    assert means["own residual"] == pytest.approx(means["text shuffled"], abs=0.02)


def test_competition_is_seen_at_the_short_budget_and_not_at_the_long_one(text):
    short = gain(of("gates: image", 300), of("gates: joint", 300))
    assert f"is {words(short)} points *worse* than the image alone" in text
    own = gain(of("gates: own residual", 300), of("gates: joint", 300))
    assert f"the lead is {words(own)} over" in text
    long = gain(of("gates: joint", 1500), of("gates: image", 1500))
    assert f"a difference of {words(long)}" in text
    late = gain(of("gates: own residual", 1500), of("gates: joint", 1500))
    assert f"own residuals still lead the joint training by {words(late)}" in text
    half, twice = (
        gain(of(f"gates, rate {rate}: {one}", 300), of(f"gates, rate {rate}: {other}", 300))
        for rate, one, other in ((0.01, "image", "joint"), (0.04, "joint", "image"))
    )
    assert f"the gap is {words(half)} at half the rate" in text
    assert f"has a lead of {words(twice)}." in text


def test_share_of_a_larger_image_grows_in_one_world_only():
    grown = {}
    for world in WORLDS:
        share = stored("23", "paths")[f"{world}: image times 10"]["share"]
        grown[world] = sum(end > start for start, end in zip(share[0], share[-1]))
    assert grown == {"gates": 5, "digits": 1}


def test_own_residuals_on_digits(text):
    short = gain(of("digits: own residual", 300), of("digits: joint", 300))
    assert f"own residuals lead by {words(short)} points" in text
    long = gain(of("digits: own residual", 1500), of("digits: joint", 1500))
    assert f"could show, {words(long)}" in text


def test_share_at_the_end_of_the_short_budget(text):
    last = [round(100 * one) for one in stored("23", "paths")["gates: joint"]["share"][5]]
    assert f"{min(last)} to {max(last)} % of the gradient" in text


def tuned_gain(world, budget, way):
    rows = stored("23", f"tuned_{world}")
    return gain(rows[f"{budget}: {way}"]["accuracy"], rows[f"{budget}: joint"]["accuracy"])


def test_what_is_left_after_tuning(text):
    level = tuned_gain("gates", "short", "image")
    assert f"are level within 300 steps, {words(level)}." in text
    below = tuned_gain("gates", "long", "image")
    assert below[0] > below[1]
    assert f"the joint training stays {words(below)} *below* the image alone" in text
    ways, clear = ("own residual", "unimodal losses", "OGM"), {}
    for world in WORLDS:
        for budget in ("short", "long"):
            for way in ways:
                mean, half = tuned_gain(world, budget, way)
                if mean > half:
                    clear[world, budget, way] = words((mean, half))
    own, ogm = (clear["digits", "short", way] for way in ("own residual", "OGM"))
    assert f"keep {own} points, and OGM has {ogm}." in text
    late = clear["gates", "long", "unimodal losses"]
    assert f"only unimodal losses are clear of 0, by {late} within 1,500." in text
    assert len(clear) == 3
    untuned = gain(of("digits: own residual", 300), of("digits: joint", 300))
    assert f"in digits {own} of {untuned[0]:.1f} points stay" in text
    for way in ways:
        mean, half = tuned_gain("digits", "long", way)
        assert abs(mean) < half
    right, turned = (
        gain(of(f"gates: {way}", 300), of("gates: joint", 300)) for way in ("OGM", "OGM turned")
    )
    assert f"costs {words((-turned[0], turned[1]))} points in gates" in text
    assert f"it brought {words(right)} there" in text


def test_edges_of_the_grids_are_those_that_the_page_names():
    sweeps = load("23", "sweeps")
    at_edge = set()
    for world in WORLDS:
        rates, decays = sweeps.RATES[world], [one for one in sweeps.DECAYS[world] if one]
        for name, row in stored("23", f"tuned_{world}").items():
            if row.get("rate") in (rates[0], rates[-1]):
                at_edge.add((world, name, "rate"))
            if world == "digits" and row.get("decay") in (decays[0], decays[-1]):
                at_edge.add((world, name.split(": ")[1], "decay"))
    assert at_edge == {
        ("gates", "long: joint", "rate"),
        ("gates", "long: OGM", "rate"),
        ("digits", "text", "decay"),
        ("digits", "joint", "decay"),
        ("digits", "OGM", "decay"),
    }


def test_own_residuals_on_mnist(text):
    for steps, form in ((300, "add {} points after 300"), (1500, "still {} after 1,500")):
        found = gain(of("own residual", steps, "public"), of("joint", steps, "public"))
        assert form.format(words(found)) in text


def test_network_by_hand_is_autograds():
    row = stored("23", "by_hand")["digits"]
    assert len(row["difference"]) == 5 and max(row["difference"]) < 1e-12
    right = [round(100 * one) for one in row["accuracy"]]
    assert (min(right), max(right)) == (90, 93)


def test_one_run_made_again_agrees(page):
    data = page["world"](page["gates"])
    again = page["train"](data, "own residual", 0.02, steps=100)
    curve = stored("23", "paths")["gates: own residual"]["curve"][1]
    for one, other in zip(again[-1]["test accuracy"].tolist(), curve):
        assert one == pytest.approx(other, abs=0.02)
