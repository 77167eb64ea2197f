"""What page 11 goes on with of the reader's own code, what its faults and suspects are, and what it
says of its stored runs.
"""

import sys
from functools import partial

import pytest
import torch
from reading import printed, the_cell
from torch import nn

from course_utils.contracts import check_contracts
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, room, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


class Careful(nn.Module):
    """The three things that exercise 11.3 asks for, and its weighted sum in pieces."""

    def __init__(self, dims, classes, width=64):
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(dims[name], width) for name in dims})
        self.score = nn.Linear(width, 1, bias=False)
        self.head = nn.Linear(width, classes)

    def parts(self, features, mask):
        """Parts (B, M, width) and what is there (B, M)."""
        parts, there = [], []
        for name, project in self.project.items():
            x = features[name]
            kept = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
            kept = (mask or {}).get(name, kept)
            parts.append(project(x.masked_fill(~kept[:, None], 0)).relu())
            there.append(kept)
        return torch.stack(parts, 1), torch.stack(there, 1)

    def forward(self, features, *, mask=None):
        parts, there = self.parts(features, mask)
        lowest = torch.finfo(parts.dtype).min
        scores = torch.where(there, self.score(parts)[..., 0], lowest)
        return self.head(((scores.softmax(1) * there)[..., None] * parts).sum(1))

    def parameter_formula(self):
        classes, width = self.head.weight.shape
        return sum(p.in_features * width + width for p in self.project.values()) + (
            width + width * classes + classes
        )


class RowByRow(Careful):
    """Each sample by itself, and in it what is there alone."""

    def forward(self, features, *, mask=None):
        rows = []
        for parts, there in zip(*self.parts(features, mask)):
            total = 0 * parts.sum(0)
            if there.any():
                present = parts[there]
                total = self.score(present).softmax(0).T @ present
            rows.append(self.head(total.reshape(-1)))
        return torch.stack(rows)


class Detached(Careful):
    def forward(self, features, *, mask=None):
        return super().forward({name: x.detach() for name, x in features.items()}, mask=mask)


def moves_in_a_copy(layer, features):
    import copy

    after = copy.deepcopy(layer)
    after.zero_grad()
    after(features).pow(2).mean().backward()
    torch.optim.SGD(after.parameters(), lr=0.1).step()
    moved = {}
    for (name, old), new in zip(layer.named_parameters(), after.parameters()):
        moved[name] = float((new - old).detach().abs().max())
    return moved


def weights_mended_afterwards(scores, mask):
    """NaN in an empty row's weights, replaced; its scores are chosen away, and so its gradient."""
    return torch.where(mask, scores, -torch.inf).softmax(1).nan_to_num()


@pytest.mark.parametrize(
    "key, answer",
    [("11.1", moves_in_a_copy), ("11.2", weights_mended_afterwards), ("11.3", Careful)],
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_a_layer_that_lets_no_gradient_through_is_not_taken(accepted):
    taken, said = accepted("11.3", Detached)
    assert taken is reference("11.3")
    assert said.startswith("11.3: the course's, because no gradient comes through yours to ")


def test_what_is_far_too_slow_is_not_taken(accepted):
    taken, said = accepted("11.3", RowByRow)
    assert taken is reference("11.3")
    assert said.startswith("11.3: the course's, because yours, though right, takes ")


def broken(layer, **how):
    return [one.number for one in check_contracts(layer, **how) if one.kept is False]


@pytest.mark.parametrize("layer", ["reference", Careful, RowByRow])
def test_what_exercise_3_accepts_keeps_all_contracts(layer):
    layer = reference("11.3") if layer == "reference" else layer
    assert all(one.kept for one in check_contracts(layer))


@pytest.mark.slow
def test_the_reference_of_exercise_3_travels():
    assert not broken(reference("11.3"), travel=True)


# ---- what stands in its cells ----


cell = partial(the_cell, "11")


@pytest.fixture(scope="module")
def page():
    """The page's own layers, data and training."""
    return measured_cells("11")


def test_the_list_is_the_fault(capsys):
    names = {"nn": nn, "torch": torch}
    shown = cell("small = nn.Module()")
    assert printed(capsys, shown, names) == "False"
    mended = shown.replace("= [nn.", "= nn.ParameterList([nn.").replace("(3))]", "(3))])")
    assert printed(capsys, mended, dict(names)) == "True"
    assert printed(capsys, cell("small.scales = nn.ParameterList"), names) == "True"


@pytest.mark.parametrize("layer", ["reference", Careful])
def test_order_for_name_is_the_fault_on_any_right_layer(capsys, layer):
    layer = reference("11.3") if layer == "reference" else layer
    names = {"CarefulFusion": layer, "check_contracts": check_contracts}
    names["mine"] = lambda key, function: function
    exec(cell("class Careless", "zip("), names)
    name = names["CarefulFusion"].__name__
    assert capsys.readouterr().out == f"{name} breaks []\nCareless breaks [10]\n"


# (contract, faulty line, sound line) of each suspect
SUSPECTS = {
    "A": (
        4,
        "part = project(features[name]).relu()",
        "part = project(torch.where(there[name], features[name], 0.0)).relu()",
    ),
    "B": (3, "self.head(total)", "self.head(total / sum(there.values()).clamp(min=1))"),
    "C": (8, "features[name].masked_fill_(", "features[name].masked_fill("),
    "D": (2, ".squeeze()", ".squeeze(1)"),
}


@pytest.mark.parametrize("letter", SUSPECTS)
def test_each_suspect_breaks_one_contract_by_the_line_that_is_shown(page, letter):
    number, faulty, sound = SUSPECTS[letter]
    shown, name = cell(f"class Suspect{letter}("), f"Suspect{letter}"
    assert faulty in shown and "__init__" not in shown
    exec(shown, names := dict(page))
    assert broken(names[name]) == [number]
    exec(shown.replace(faulty, sound), names)
    assert broken(names[name]) == []
    text = room("11", "page.py").read_text(encoding="utf-8")
    assert f"# **{letter}** " in text and "contracts **2, 3, 4, 8**" in text


def test_layers_that_are_shown_break_what_is_said(page):
    assert broken(page["MeanFusion"]) == []
    assert broken(page["DictFusion"]) == [1, 6, 7, 11]
    assert broken(page["ByPlace"]) == [3, 10]


def test_what_the_contracts_let_pass_the_exercises_refuse(page, capsys):
    from course_utils.exercises import _find, verdict

    exec(cell("class OverAll"), dict(page))
    assert capsys.readouterr().out == "both keep all contracts\n"
    hundred = verdict(
        _find("11.2"), lambda scores, mask: scores.masked_fill(~mask, -100).softmax(1) * mask
    )
    assert not hundred[0] and "a number such as -100" in hundred[1]

    class OverAll(Careful):
        def forward(self, features, *, mask=None):
            parts, there = self.parts(features, mask)
            return self.head((parts * there[..., None]).sum(1) / there.shape[1])

    assert broken(OverAll) == [1]  # its score never learns
    right, said = verdict(_find("11.3"), OverAll)
    assert not right and "divided by M" in said


def test_encoders_are_trained_or_frozen_as_said_and_a_dead_layer_stays(page):
    data = {split: page["load"](split, 1) for split in page["SPLITS"]}
    for frozen in (False, True):
        model = page["train"](page["DictFusion"], data, 1, frozen=frozen)
        torch.manual_seed(1)
        fresh = page["Model"](page["DictFusion"](dict.fromkeys(page["WIDTHS"], 32), 10))
        pairs = zip(model.encoders.parameters(), fresh.encoders.parameters())
        assert all(torch.equal(one, other) == frozen for one, other in pairs)
        for name, project in model.fusion.project.items():
            assert torch.equal(project.weight, fresh.fusion.project[name].weight)
        assert not torch.equal(model.fusion.head.weight, fresh.fusion.head.weight)
        name = f"dead, {'frozen' if frozen else 'trained'}, width 64"
        score = page["score"](model, data["test"])
        assert score == pytest.approx(of("dead", name)[1], abs=0.05)


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    """The page's source with its lines joined."""
    source = room("11", "page.py").read_text(encoding="utf-8")
    return " ".join(source.replace("\n# ", "\n").split())


def of(name, row):
    return stored("11", name)[row]["accuracy"]


def percent(runs):
    return 100 * sum(runs) / len(runs)


def gain(one, other):
    """Mean difference in points over the seeds, and half its interval."""
    assert len(one) == len(other) == 5
    return mean_interval([100 * (a - b) for a, b in zip(one, other)])


def test_the_bet_in_numbers(text):
    start = of("order", "by place: in order")
    mean, half = gain(of("order", "by place: turned in every batch"), start)
    assert f"scores as in order ({mean:.1f} ± {half:.1f} points)" in text and abs(mean) < half
    at_test = of("order", "by place: turned at test time")
    assert f"*Turned at test time alone* it has about {percent(at_test):.0f} %" in text
    assert f"turned at test time {percent(at_test):.0f} % are left" in text
    assert of("order", "by name: turned at test time") == of("order", "by name: in order") == start


def test_the_mask_in_numbers(text):
    rows = {}
    for when in ("in order", "turned in every batch"):
        for what in ("all there", "text missing"):
            rows[when, what] = of("order", f"mask {when}: {what}")
    mean, half = gain(rows["turned in every batch", "all there"], rows["in order", "all there"])
    assert mean - half < 0 < mean + half and "both orders score alike" in text
    data = {"label": torch.zeros(2000), "text": torch.ones(2000, 1), "image": torch.ones(2000, 1)}
    there = load("11", "sweeps").some_missing(data, 0)["mask"]
    lacking = 1 - (there["text"] & there["image"]).double().mean()
    assert lacking == pytest.approx(0.4, abs=0.05) and "four rows in ten lacking one" in text
    lost = rows["turned in every batch", "text missing"]
    kept = rows["in order", "text missing"]
    assert f"a guess, {percent(lost):.0f} %, where {percent(kept):.0f} are possible" in text
    mean, half = mean_interval([100 * run for run in lost])
    assert mean - half < 10 < mean + half  # a guess among ten digits


def difference(setting, width):
    row = f"{setting}, width {width}"
    return gain(of("dead", f"sound, {row}"), of("dead", f"dead, {row}"))


def test_the_dead_layer_in_numbers(text):
    mean, half = difference("trained", 64)
    assert mean - half < 0 < mean + half and "five seeds cannot tell the two apart" in text
    others = [of("more", f"{kind}, trained, seeds 5 to 14") for kind in ("sound", "dead")]
    points = [100 * (one - other) for one, other in zip(*others)]
    mean, half = mean_interval(points)
    assert len(points) == 10 and mean - half > 0
    assert f"(ten others can, by {mean:.1f} ± {half:.1f} points)" in text
    mean, half = difference("frozen", 64)
    assert mean - half > 10 and f"and {mean:.0f} points are missing: they had learned" in text
    mean, half = difference("trained", 16)
    assert round(mean) == 7 and mean - half > 0 and "at width 16 seven points are missing" in text
    sound, dead = (percent(of("dead", f"{kind}, frozen, width 64")) for kind in ("sound", "dead"))
    assert f"the sound layer has {sound:.0f} %" in text
    assert f'outcome("11.a", {dead:.0f}, within=8)' in text
    for width in (4, 8, 16, 32):  # "or if it is narrow"
        mean, half = difference("trained", width)
        assert mean - half > 0


def test_controls_of_the_dead_layer_in_numbers(text):
    dead = of("dead", "dead, trained, width 64")
    mean, half = gain(dead, of("dead", "text alone, trained, width 64"))
    assert round(mean) == 8 and mean - half > 0 and "is eight points above the text alone" in text
    for kind in ("dead", "sound"):
        row = f"{kind}, trained, width 64"
        mean, half = gain(of("dead", row), of("dead", f"{row}, picture shuffled"))
        assert round(mean) == 11 and mean - half > 0
    assert "and eleven above itself trained on shuffled pictures" in text
    assert "training and test cost it eleven points, as they do the sound one" in text
