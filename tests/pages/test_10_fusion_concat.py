"""What page 10 goes on with of the reader's own code, what its faults and its pairs are, and what
it says of its stored runs.
"""

import sys
from functools import partial

import pytest
import torch
from reading import gain, said, the_cell
from torch import nn
from torch.nn import functional as F

from course_utils import exercises
from course_utils.exercises import reference, verdict
from course_utils.metrics import mean_interval
from course_utils.rooms import stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

NAMES, WAYS = ("text", "image"), ("as it comes", "loud", "wide")

# ---- the reader's own code ----


class Layers(nn.Module):
    """The three things that exercise 10.1 asks for."""

    def __init__(self, dims, width, classes):
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(dims[name], width) for name in dims})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width) for name in dims})
        self.head = nn.Linear(len(dims) * width, classes)

    def part(self, name, features, mask):
        said = self.norm[name](self.project[name](features[name]))
        return said.masked_fill(~mask[name][:, None], 0) if name in mask else said


class HeadByParts(Layers):
    """A block of the head's matrix for each modality, and their sum: nothing is glued."""

    def forward(self, features, mask):
        blocks = self.head.weight.chunk(len(self.project), dim=1)
        logits = self.head.bias
        for name, block in zip(self.project, blocks):
            logits = logits + self.part(name, features, mask) @ block.T
        return logits


class ZerosFirstAndLast(Layers):
    """Puts zeros in before the projection too, so that no NaN comes back by the gradient."""

    def forward(self, features, mask):
        clean = {}
        for name in self.project:
            clean[name] = features[name]
            if name in mask:
                clean[name] = clean[name].masked_fill(~mask[name][:, None], 0)
        return self.head(torch.hstack([self.part(name, clean, mask) for name in self.project]))


class Detached(HeadByParts):
    def forward(self, features, mask):
        return super().forward({name: x.detach() for name, x in features.items()}, mask)


class NumberByNumber(Layers):
    """Each logit of each sample by itself."""

    def forward(self, features, mask):
        glued = torch.hstack([self.part(name, features, mask) for name in self.project])
        rows = []
        for vector in glued:
            logits = []
            for weights, bias in zip(self.head.weight, self.head.bias):
                logits.append((weights * vector).sum() + bias)
            rows.append(torch.stack(logits))
        return torch.stack(rows)


def four_point_by_product(logits):
    signs = torch.tensor([1.0, -1.0])
    return torch.einsum("ijc,i,j->c", logits, signs, signs)


def four_point_class_by_class(logits):
    numbers = [one[0, 0] - one[0, 1] - one[1, 0] + one[1, 1] for one in logits.unbind(-1)]
    return torch.stack(numbers)


def two_units_shared(size):
    """Both look at the sum of the two; one is above zero from -size on, one at (size, size)."""
    W = torch.tensor([[1, 1], [1, 1]])
    return W, torch.tensor([size, -size]), torch.tensor([1, -3]), torch.tensor(-size / 2)


def two_units_learned(size):
    W = nn.Parameter(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) / size)
    return W, torch.zeros(2), torch.ones(2), -1.0


@pytest.mark.parametrize(
    "key, answer",
    [
        ("10.1", HeadByParts),
        ("10.1", ZerosFirstAndLast),
        ("10.2", four_point_by_product),
        ("10.3", two_units_shared),
        ("10.3", two_units_learned),
    ],
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_a_layer_that_lets_no_gradient_through_is_not_taken(accepted):
    taken, said = accepted("10.1", Detached)
    assert taken is reference("10.1")
    assert said.startswith("10.1: the course's, because no gradient comes through yours to ")


@pytest.mark.parametrize(
    "key, answer", [("10.1", NumberByNumber), ("10.2", four_point_class_by_class)]
)
def test_what_is_far_too_slow_is_not_taken(accepted, key, answer):
    taken, said = accepted(key, answer)
    assert taken is reference(key)
    assert said.startswith(f"{key}: the course's, because yours, though right, takes ")


def test_lists_for_the_two_units_are_refused_before_the_page_computes_with_them():
    def two_units(size):
        return [[1 / size, -1 / size], [-1 / size, 1 / size]], [0, 0], [1, 1], -1

    right, said = verdict(exercises._find("10.3"), two_units)
    assert not right and "W, b and v are not all tensors" in said


# ---- what stands in its cells ----


cell = partial(the_cell, "10")


@pytest.mark.parametrize("layer", ["reference", HeadByParts, ZerosFirstAndLast])
def test_hidden_layer_goes_behind_any_right_layer(layer):
    """Whatever the reader's layer does with its head: the four corners, learned."""
    names = {"nn": nn, "ConcatFusion": reference("10.1") if layer == "reference" else layer}
    names |= {"Gates": lambda kind: type("", (), {"sample": lambda *_, **seed: {}})}
    exec(cell("class WithHidden"), names)
    torch.manual_seed(0)
    model = names["WithHidden"]({"text": 2, "image": 2}, 2)
    bits = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    features = {"text": F.one_hot(bits[:, 0].long(), 2).float()}
    features["image"] = F.one_hot(bits[:, 1].long(), 2).float()
    labels = torch.tensor([0, 1, 1, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(features, mask={}), labels).backward()
        optimizer.step()
    assert torch.equal(model(features, mask={}).argmax(-1), labels)


@pytest.mark.parametrize("layer, finite", [("reference", False), (ZerosFirstAndLast, True)])
def test_nan_comes_back_by_the_gradient_unless_zeros_come_first_too(layer, finite):
    torch.manual_seed(0)
    glue = (reference("10.1") if layer == "reference" else layer)({"text": 3, "image": 2}, 4, 2)
    features = {"text": torch.ones(2, 3), "image": torch.tensor([[1.0, 2.0], [torch.nan] * 2])}
    logits = glue(features, {"image": torch.tensor([True, False])})
    logits.sum().backward()
    assert logits.isfinite().all()
    assert glue.project["image"].weight.grad.isfinite().all() == finite
    assert glue.project["text"].weight.grad.isfinite().all()


def test_faults_are_in_the_lines_that_are_shown(capsys):
    names = {"torch": torch, "nn": nn}
    exec("image, letters = torch.rand(4, 16), torch.rand(4, 5, 16)", names)
    torch.manual_seed(0)
    said = []
    for words in (
        ("glued = torch.cat([image[:, None]",),
        ("glued = torch.cat([image, text]",),
        ("project, norm = ",),
        ("present = torch.tensor",),
    ):
        exec(cell(*words), names)
        said.append(capsys.readouterr().out.strip().rpartition(": ")[2])
    assert said == ["False", "True", "False", "True"]


def test_plain_glue_without_its_hidden_layer_stays_at_the_loss_that_is_named(capsys):
    shown = cell("import torch as pt")
    hidden = "pt.nn.Linear(2, 16), pt.nn.ReLU(), pt.nn.Linear(16, 1)"
    assert hidden in shown
    exec(shown, names := {})
    assert capsys.readouterr().out.endswith("loss below 0.1: True, right: 1.0\n")
    exec(shown.replace(hidden, "pt.nn.Linear(2, 1)"), names)
    assert round(names["loss"].item(), 2) == 0.69


@pytest.fixture(scope="module")
def page():
    return measured_cells("10")


def test_pairs_are_what_their_label_says(page):
    part = page["pairs"]("test", 0)
    assert torch.equal(part["label"], (part["shown"] == part["named"]).long())
    assert 0.4 < part["label"].float().mean() < 0.6
    assert part["text"].shape[1] + part["image"].shape[1] == 334


def test_one_run_of_the_pairs_made_again_agrees(page):
    data = {split: page["pairs"](split, 1) for split in page["SPLITS"]}
    dims = {"text": 78, "image": 256}
    for name in ("late, hidden", "concat, hidden"):
        make = partial(page["GLUES"][name], dims)
        model = page["train"](make, data, 1, epochs=20, lr=3e-3)
        assert page["score"](model, data).accuracy == pytest.approx(of("fits", name)[1], abs=0.04)


def test_one_run_of_the_loud_picture_made_again_agrees(page):
    draw = {split: page["load"](split, 1) for split in page["SPLITS"]}
    data = page["changed"](draw, "loud")
    for remedy in ("LayerNorm", "projection"):
        row = stored("10", "imbalance")[f"text + image, loud, {remedy}, 10 epochs"]
        make = partial(page["with_remedy"], NAMES, "loud", remedy)
        model = page["train"](make, data, 1, 10, row["lr"])
        assert page["score"](model, data).accuracy == pytest.approx(row["accuracy"][1], abs=0.04)


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("10")


def of(name, row):
    return stored("10", name)[row]["accuracy"]


def percent(runs):
    return 100 * sum(runs) / len(runs)


def glued(way, remedy, epochs=10):
    return of("imbalance", f"text + image, {way}, {remedy}, {epochs} epochs")


def test_loud_and_wide_in_numbers(text):
    alone, picture = (of("imbalance", f"{name}, as it comes, nothing, 10 epochs") for name in NAMES)
    assert f"the text has {percent(alone):.0f} % and the picture {percent(picture):.0f};" in text
    plain = glued("as it comes", "nothing")
    assert f"as they come they have {percent(plain):.0f}, with ten epochs" in text
    assert round(gain(plain, alone)[0]) == 8 and "the picture adds eight points" in text
    loud, wide = glued("loud", "nothing"), glued("wide", "nothing")
    assert f"Loud, both together have {percent(loud):.0f} %, wide {percent(wide):.0f}: less" in text
    for one in (loud, wide):
        mean, half = gain(one, alone)
        assert mean + half < 0  # "less than the text alone"
    assert f"with both, {percent(loud):.0f} and {percent(wide):.0f} % became 88" in text


def test_remedies_in_numbers(text):
    mean, half = gain(glued("wide", "LayerNorm"), glued("wide", "nothing"))
    assert round(mean) == 7 and mean - half > 0 and "width it is worth seven points" in text
    mean, half = gain(glued("wide", "projection"), glued("wide", "nothing"))
    assert f"is worth {mean:.0f} against width" in text and mean - half > 0
    mean, half = gain(glued("loud", "projection"), glued("loud", "nothing"))
    assert mean - half < 0 < mean + half and "nothing in ten epochs that five seeds show" in text
    for epochs in (10, 60):  # "without a trace"
        same = gain(glued("loud", "LayerNorm", epochs), glued("as it comes", "LayerNorm", epochs))
        assert abs(same[0]) < 0.5


def test_more_epochs_in_numbers(text):
    wide, loud = glued("wide", "nothing", 60), glued("loud", "projection", 60)
    assert f"glue has {percent(wide):.0f}, the projected loud one {percent(loud):.0f}." in text
    assert f"a remedy still has {percent(glued('loud', 'nothing', 60)):.0f}." in text


def test_both_remedies_and_their_control_in_numbers(text):
    rows = [glued(way, "both", epochs) for way in WAYS for epochs in (10, 60)]
    assert {round(percent(row)) for row in rows} == {88} and "have 88 in all six rows" in text
    shuffled = of("imbalance", "text + image, as it comes, both, 10 epochs, shuffled")
    assert f"shuffled among the samples {percent(shuffled):.0f}, no more" in text
    mean, half = gain(shuffled, of("imbalance", "text, as it comes, both, 10 epochs"))
    assert mean - half < 0 < mean + half


def test_only_a_hidden_layer_finds_the_relation():
    for name, prefix in (("fits", ""), ("fits_real", "image + text: ")):
        for glue in ("late, hidden", "concat", "concat, hidden, shuffled"):
            mean, half = mean_interval([100 * run for run in of(name, prefix + glue)])
            assert mean - half < 50 < mean + half, (name, glue)
        mean, half = mean_interval([100 * run for run in of(name, f"{prefix}concat, hidden")])
        assert mean - half > 85


def test_voices_in_numbers(text):
    word = of("fits_real", "image + text: concat, hidden")
    assert f"a hidden layer gets {percent(word):.0f} %" in text
    voice = of("fits_real", "image + audio: concat, hidden")
    low, high = (round(100 * end(voice)) for end in (min, max))
    assert f"gets about {percent(voice):.0f} %, from {low} to {high} by seed" in text


def test_end_to_end_in_numbers(text):
    said, alone = of("end_to_end", "text"), "image: {}"
    two, three = "two convolutions", "three (page 03)"
    assert f"leaves the picture {percent(of('end_to_end', alone.format(two))):.0f} %" in text
    assert f"three it has {percent(of('end_to_end', alone.format(three))):.0f}" in text
    mean, half = gain(of("end_to_end", f"both: {two}"), said)
    assert round(mean) == 3 and mean - half > 0 and "adds three points to the text" in text
    mean, half = gain(of("end_to_end", f"both: {three}"), said)
    assert 12 < mean < 13 and mean - half > 0 and "adds more than twelve" in text


def test_what_page_10_says_of_pooling_is_what_page_03_has_stored(text):
    rows = {name: row["accuracy"] for name, row in stored("03", "pooling").items()}
    two, norm, narrow, wide = (
        rows[f"{name}, 1 x 1"]
        for name in (
            "two convolutions",
            "two, batch norm",
            "three, the last 1 x 1, batch norm",
            "three, batch norm (PictureNet)",
        )
    )
    assert f"linear head of its own ({percent(two):.0f} and {percent(wide):.0f} %)" in text
    mean, half = gain(narrow, norm)
    assert mean - half > 0 and f"gives one mean {mean:.0f} points more" in text
    assert "batch norm and a wider view give nothing" in text and "forgets where" not in text
    for one, other in ((norm, two), (wide, narrow)):
        mean, half = gain(one, other)
        assert abs(mean) < half, "batch norm or the wider view shows something"


def test_the_text_alone_is_no_weaker_than_page_09s_tuned_one():
    own = mean_interval(
        stored("10", "imbalance")["text, as it comes, nothing, 10 epochs"]["accuracy"]
    )
    tuned = mean_interval(stored("09", "baselines")["text"]["accuracy"])
    assert abs(own[0] - tuned[0]) < tuned[1]
