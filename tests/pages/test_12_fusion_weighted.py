"""What page 12 goes on with of the reader's own code, what its fault is, and what it says of exact
numbers and of its stored runs.
"""

import math
import sys
from functools import partial

import pytest
import torch
from reading import gain, said, the_cell
from torch import nn

from course_utils.contracts import check_contracts
from course_utils.datasets import Cues
from course_utils.datasets.digits_public import REAL_SPLITS
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


def shares(variances, there):
    precision = torch.where(there, 1 / variances, 0.0)
    return (precision / precision.sum(1, keepdim=True)).nan_to_num()


def added(log_probs, log_prior, there):
    total = log_probs.masked_fill(~there[..., None], 0).sum(1)
    total = total - (there.sum(1, keepdim=True) - 1) * log_prior
    return total - total.logsumexp(1, keepdim=True)


def one_by_one(log_probs, log_prior, there):
    """Right, and slow: number by number, and that over and over."""
    result = []
    for one, kept in [*zip(log_probs, there)] * 3:
        row = []
        for c in range(len(log_prior)):
            row.append(sum((one[m, c] - log_prior[c] for m in range(len(kept)) if kept[m]), 0.0))
        row = [value + prior for value, prior in zip(row, log_prior)]
        result.append(torch.stack(row).log_softmax(0))
    return torch.stack(result[: len(there)])


@pytest.mark.parametrize("key, answer", [("12.1", shares), ("12.2", added)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_what_lets_no_gradient_through_or_is_slow_is_not_taken(accepted):
    taken, line = accepted("12.2", lambda *args: added(*[x.detach() for x in args]))
    assert taken is reference("12.2") and "no gradient comes through yours" in line
    taken, line = accepted("12.2", one_by_one)
    assert taken is reference("12.2") and "though right, takes" in line


cell = partial(the_cell, "12")


@pytest.fixture(scope="module")
def page():
    """The page's own layers, data and training."""
    return measured_cells("12") | {"check_contracts": check_contracts, "mine": reference_of}


def reference_of(key, answer):
    return answer


def broken(layer):
    return [one.number for one in check_contracts(layer) if one.kept is False]


@pytest.mark.parametrize("weigh", [shares, reference("12.1")])
def test_a_layer_with_any_right_weights_keeps_the_contracts(page, capsys, weigh):
    shown = cell("class ByVariance")
    names = page | {"inverse_variance": weigh}
    exec(shown, names)
    assert broken(names["ByVariance"]) == [] and broken(page["WeightedAverage"]) == []


@pytest.mark.parametrize("multiply", [added, reference("12.2")])
def test_experts_with_any_right_product_keep_the_contracts(page, capsys, multiply):
    names = page | {"product_of_experts": multiply, "check_contracts": lambda layer: []}
    exec(cell("class Experts"), names)
    assert broken(names["Experts"]) == []
    names["product_of_experts"] = lambda p, prior, there: multiply(p, prior, there).squeeze()
    assert 2 in broken(names["Experts"])


def test_who_is_missing_and_votes_keeps_the_contracts_and_is_refused(page, text):
    from course_utils.exercises import _find, verdict

    def votes(log_probs, log_prior, there):
        return ((log_probs - log_prior).sum(1) + log_prior).log_softmax(1)

    names = page | {"product_of_experts": votes, "check_contracts": lambda layer: []}
    exec(cell("class Experts"), names)
    assert broken(names["Experts"]) == [] and "vote all the same" in text
    right, why = verdict(_find("12.2"), votes)
    assert not right and "who is not there has a vote" in why


# ---- what stands in its cells ----


def test_broadcasting_is_the_fault(capsys):
    names = {"torch": torch, "seed_everything": torch.manual_seed}
    shown = cell("(text + image).mean(dim=1)")
    exec(shown, names)
    assert capsys.readouterr().out.endswith(": False\n")
    # what the page says it is: the text with the mean of all pictures
    text, image = names["text"], names["image"]
    assert torch.allclose(names["fused"], text[:, 0] + image.mean(0), atol=1e-6)
    exec(shown.replace("text + image", "text + image[:, None]"), names)
    assert capsys.readouterr().out.endswith(": True\n")
    exec(cell("fused = text.mean(dim=1) + image"), names)
    assert capsys.readouterr().out.endswith(": True\n")
    assert (torch.ones(4, 1) + torch.ones(4, 768)).shape == (4, 768)


def test_contract_4_finds_the_fault():
    class Mixes(nn.Module):
        def __init__(self, dims, classes):
            super().__init__()
            self.maps = nn.ModuleDict({name: nn.Linear(dims[name], classes) for name in dims})

        def forward(self, features, *, mask=None):
            first, *rest = (self.maps[name](features[name]) for name in self.maps)
            return (first[:, None] + sum(rest)).mean(1)

    assert 4 in broken(Mixes)


# ---- exact numbers ----


def phi(x):
    return 50 * math.erfc(-x / math.sqrt(2))


def test_the_ladder(text):
    assert [round(phi(x), 1) for x in (0.5, 1.0, math.sqrt(1.25))] == [69.1, 84.1, 86.8]
    assert "69.1, 84.1 and 86.8 %" in text and "69.1 and 84.1 % become 86.8" in text
    plain = phi(1 / math.sqrt(0.25 * 4 + 0.25))
    assert round(plain, 1) == 81.4 and "a plain mean of the readings 81.4" in text
    for weight, word in ((0.39, 1), (0.41, -1)):  # "from 0.4 on"
        spread = math.sqrt(4 * weight**2 + (1 - weight) ** 2)
        assert (phi(1 / spread) - phi(1)) * word > 0
    assert "from 0.4 on the mean is worse than" in text


def test_a_prior_counted_never_once_or_twice(text):
    def exact(bias):
        a, s = 1.25, math.sqrt(1.25)
        return (phi((a * 2 + bias) / (2 * s)) + 9 * phi((a * 2 - bias) / (2 * s))) / 10

    once = math.log(1 / 9)
    never, one, two = (exact(times * once) for times in (0, 1, 2))
    assert never < 90 < two < one
    world = Cues((0.5, 1.0), prior=0.1)
    assert 100 * world.rule_accuracy(world.product_weights()) == pytest.approx(one)
    assert round(0.2**2 / (0.2**2 + 0.8**2), 2) == 0.06 and "that is 0.06" in text


def test_the_weight_that_turns_negative(text):
    world = Cues((0.5, 1.0), rho=0.9)
    assert round(world.bayes_weights()[0], 1) == -4.2 and "**negative**, -4.2" in text
    assert world.ceiling() > 0.868 > world.ceiling(["image"]) > 0.803
    assert Cues((0.5, 1.0), rho=0.5).bayes_weights()[0] == pytest.approx(0, abs=1e-9)
    for rho, sign in ((0.31, 1), (0.315, -1)):  # as if independent, against the image alone
        one = Cues((0.5, 1.0), rho=rho)
        assert (one.rule_accuracy(one.product_weights()) - one.ceiling(["image"])) * sign > 0
    assert "beyond 0.31 the two together are worse than the image alone" in text.replace('" "', "")


def test_noise_of_each_sample(text):
    own = (phi(math.sqrt(4 + 1)) + phi(math.sqrt(1 / 16 + 1))) / 2
    fixed = max(
        sum(phi(1 / math.sqrt((a * s) ** 2 + (1 - a) ** 2)) for s in (0.5, 4)) / 2
        for a in torch.linspace(0, 1, 101).tolist()
    )
    assert own - fixed > 6


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("12")


def of(sweep, row, what="accuracy"):
    return stored("12", sweep)[row][what]


def percent(runs):
    return 100 * sum(runs) / len(runs)


def test_the_bet_in_numbers(text):
    means = {name: mean_interval(row["weight"]) for name, row in stored("12", "weights").items()}
    assert f"Ada wins: {means['trained'][0]:.2f}" in text
    assert f"with fast scores {means['trained, scores ten times as fast'][0]:.2f}" in text
    high, low = (means[f"trained, text begins at {start}"] for start in (0.8, 0.2))
    assert f"from 0.8 it comes to {high[0]:.2f}, from 0.2 to {low[0]:.2f}" in text
    middle = means["trained"][0]
    assert f"the same text ends at {low[0]:.2f}, {middle:.2f} or {high[0]:.2f}" in text
    assert f"({middle:.2f} from a half, {high[0]:.2f} from 0.8)" in text
    mixed = [means[f"trained, text shuffled{fast}"] for fast in ("", ", ten times as fast")]
    assert f"text ends at {mixed[0][0]:.2f}, with fast scores at {mixed[1][0]:.2f}" in text
    assert mixed[0][0] + mixed[0][1] < 0.5
    assert f"the text gets {means['frozen'][0]:.2f}, with fast scores all" in text
    assert means["frozen, scores ten times as fast"][0] > 0.99
    assert means["frozen"][0] - means["frozen"][1] > sum(means["trained"])
    mean, half = gain(of("weights", "trained"), of("weights", "trained, weights of a half"))
    assert f"{mean:.1f} ± {half:.1f} points ahead of halves" in text and mean > half
    assert "(77 % against 65)" in text
    assert round(percent(of("rules", "text"))) == 77 and round(percent(of("rules", "image"))) == 65


def test_digits_in_numbers(text):
    product = of("rules", "product of experts")
    mean, half = gain(product, of("rules", "linear fusion"))
    assert f"and {mean:.1f} ± {half:.1f} points between the trainings" in text and mean > half
    others = [name for name in stored("12", "rules") if name in load("12", "sweeps").RULES]
    best = max(others, key=lambda name: sum(of("rules", name)))
    mean, half = gain(product, of("rules", best))
    assert best == "weighted average" and mean < half
    assert f"comes nearest: {mean:.1f} ± {half:.1f} points behind, which five seeds do not" in text
    losses = of("rules", best, "loss"), of("rules", "product of experts", "loss")
    mean, half = mean_interval([a - b for a, b in zip(*losses)])
    assert mean > half
    assert f"{sum(losses[0]) / 5:.3f} against {sum(losses[1]) / 5:.3f}" in text
    mean, half = gain(product, of("rules", "mean of probabilities"))
    assert f"of probabilities is {mean:.1f} ± {half:.1f} points behind" in text and mean > half
    for name in ("product of experts", "linear fusion"):
        mean, half = gain(of("rules", name), of("rules", f"{name}, audio shuffled"))
        assert mean > half and "with the sound shuffled both ways lose" in text
    tuned = percent(stored("09", "baselines")["all three"]["accuracy"])
    assert f"with a hidden layer, has {tuned:.1f}.)" in text
    shown = [percent(of("rules", name)) for name in ("product of experts", best, "linear fusion")]
    words = "In percent: product {:.1f}, weighted average {:.1f}, linear fusion {:.1f}."
    assert words.format(*shown) in text
    same = [percent(stored(page, "digits")["concat"]["accuracy"]) for page in ("13", "19")]
    assert "has {:.1f} on page 13 and {:.1f} on page 19".format(*same) in text


def test_fewer_samples_and_shared_noise_in_numbers(text):
    def lead(case):
        names = [f"{way}, {case}" for way in ("product of experts", "linear fusion")]
        return gain(*(of("data_and_noise", name) for name in names))

    means = [lead(f"{count} samples")[0] for count in (160, 320, 640)]
    means.append(gain(of("rules", "product of experts"), of("rules", "linear fusion"))[0])
    assert means == sorted(means, reverse=True)
    assert f"the lead grows, to {means[0]:.1f} points at 160" in text
    (half, small), (one, more) = lead("shared noise 0.5"), lead("shared noise 1")
    assert half > small and one > more
    assert f"{one:.1f} ± {more:.1f} points at degree 1" in text
    sure = []
    for way in ("product of experts", "linear fusion"):
        row = stored("12", "data_and_noise")[f"{way}, shared noise 1"]
        mean, half = mean_interval([100 * (a - b) for a, b in zip(row["sure"], row["accuracy"])])
        assert mean > half
        sure.append(round(mean))
    assert f"is {sure[0]} points above its accuracy, linear fusion's {sure[1]}" in text


def test_trained_to_the_end_in_numbers(text):
    def lead(case, what="accuracy"):
        names = [f"{way}, {case}" for way in ("product of experts", "linear fusion")]
        return gain(*(of("to_the_end", name, what) for name in names))

    (few, small), (full, wide) = lead("160 samples"), lead("1,287 samples")
    assert f"{few:.1f} ± {small:.1f} points at 160, {full:.1f} ± {wide:.1f} with all" in text
    assert few > small and full < wide
    noisy, half = lead("shared noise 1")
    assert f"to the end it is {noisy:.1f} ± {half:.1f}" in text and noisy < half
    assert "which five seeds do not show; in cross-entropy they do (stored)" in text
    mean, half = lead("1,287 samples", "loss")
    assert mean < -half


def test_digits_has_as_many_samples_and_columns_as_said(page, text):
    data = page["load"](0)
    assert len(data["train"]["label"]) == 1287 and "1,287 samples" in text
    assert sum(page["dims_of"](data).values()) == 590 and "590 weights a class" in text


def test_max_alone_solves_the_xor_of_page_10(text):
    rows = stored("19", "fusion_gates")
    scores = {
        name: percent(rows[f"xor: {name}"]["accuracy"])
        for name in ("max", "sum", "mean", "weighted_sum", "weighted_concat", "concat")
    }
    assert round(scores.pop("max")) == 89 and "max gets 89 % and the other five 50" in text
    assert all(abs(score - 50) < 2 for score in scores.values())


def test_linear_fusion_as_the_fold_has_it(text):
    W = torch.randn(5, 3, dtype=torch.float64)
    x = torch.randn(3, dtype=torch.float64)
    column = W.T.reshape(-1)  # one column after the other
    assert torch.allclose(torch.kron(x[None], torch.eye(5).double()) @ column, W @ x)
    assert "(F^\\top \\otimes I)" in text and torch.kron(x[:, None], torch.eye(5)).shape[0] > 3


def test_what_validation_picks_from_20_samples(text):
    names = {"torch": torch, "nn": nn, "cues": Cues((0.5, 1.0))}
    exec(cell("def by_validation"), names)
    picked = names["by_validation"](*names["readings"](20))
    low, high = picked.min().item(), picked.max().item()
    assert f"picks anything from {low:.2f} to {high:.2f}" in text


def test_real_data_in_numbers(text):
    def row(sweep, name):
        return of(sweep, name)

    image, linear, product = (
        row("real", name) for name in ("image", "linear fusion", "product of experts")
    )
    mean, half = gain(product, linear)
    said_so = f"alone has {percent(image):.1f} %, linear fusion {percent(linear):.1f}, the product"
    assert f"{said_so} {percent(product):.1f}: {mean:.1f} ± {half:.1f} points more" in text
    assert mean > half
    mean, half = gain(product, row("real", "weighted average"))
    assert f"Against the weighted average it is {mean:.1f} ± {half:.1f}" in text
    mean, half = gain(row("real_mfcc", "product of experts"), row("real_mfcc", "linear fusion"))
    assert f"the lead is gone, {mean:.1f} ± {half:.1f}" in text and abs(mean) < half
    mean, half = gain(
        row("real_mfcc_scaled", "product of experts"), row("real_mfcc_scaled", "linear fusion")
    )
    assert f"and scaled it is back, {mean:.1f} ± {half:.1f}" in text and mean > half
    shuffled = [
        percent(row("real", f"{name}, audio shuffled"))
        for name in ("product of experts", "linear fusion")
    ]
    assert f"the product has {shuffled[0]:.1f} and linear fusion {shuffled[1]:.1f}" in text
    pairs = stored("09", "fsdd_speakers")["same peak"]
    shares = dict(zip(map(tuple, pairs["held_out"]), pairs["accuracy"]))
    tested = tuple(sorted({one for pair in shares for one in pair})[k] for k in (4, 5))
    assert REAL_SPLITS["test"][1] == range(4, 6) and max(shares, key=shares.get) == tested
    best, middle = 100 * shares[tested], percent([*shares.values()])
    assert len(shares) == 15
    assert f"reads best ({best:.0f} %, where the mean is {middle:.0f})" in text
    mean, half = gain(row("real", "audio"), row("real_scaled", "audio"))
    assert mean > half
    alone = percent(row("real_scaled", "audio")), percent(row("real", "audio"))
    assert f"alone {alone[0]:.1f} % instead of {alone[1]:.1f}" in text
    assert f"and linear fusion {percent(row('real_scaled', 'linear fusion')):.1f}." in text
    losses = [of(sweep, "audio", "validation_loss") for sweep in ("real_scaled", "real")]
    assert losses[0] > 2 * losses[1] and "speaker's loss said so before the test did" in text
