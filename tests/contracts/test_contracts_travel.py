"""Contract 11: half precision, export, compile, and a refusal that says why."""

import logging
import warnings

import pytest
import torch
from contract_results import broken, seen
from gallery import AverageFusion, ListFusionMended
from torch import nn

from course_utils.contracts import LEGS, check_contracts


def travels(make, **sample):
    """Whether contract 11 is kept, and what it saw, with all legs."""
    result = check_contracts(make, numbers=[11], travel=True, **sample)[0]
    return result.kept, result.seen


# ---- half precision


def test_a_sum_over_tokens_that_is_divided_later_overflows():
    class Pools(nn.Module):
        def __init__(self, first):
            super().__init__()
            self.first, self.head = first, nn.Linear(6, 7)

        def forward(self, features):
            x = features["text"]  # (B, T, D)
            pooled = (x / x.shape[1]).sum(1) if self.first else x.sum(1) / x.shape[1]
            return self.head(pooled)

    sample = {"dims": {"text": 6}, "tokens": {"text": 8}}
    assert seen(lambda: Pools(first=True), 11, **sample).startswith("goes through float16")
    assert seen(lambda: Pools(first=False), 11, **sample).startswith("float16 overflows")


def test_a_hand_made_softmax_overflows_and_torchs_does_not():
    class Scores(AverageFusion):
        by_hand = True

        def classify(self, pooled):
            logits = super().classify(20 * pooled)  # (B, C)
            if self.by_hand:
                return logits.exp() / logits.exp().sum(1, keepdim=True)
            return logits.softmax(1)

    class ScoresMended(Scores):
        by_hand = False

    assert seen(Scores, 11).startswith("float16 overflows: not finite with inputs up to")
    assert broken(Scores) == (11,) and broken(ScoresMended) == ()


def test_a_product_gets_inputs_whose_product_is_representable():
    """[x; 1] three times: the result grows with the third power of the inputs."""
    assert (
        seen(ListFusionMended, 11) == "goes through float16, bfloat16; not tried: export, compile"
    )


def test_a_result_in_another_dtype_is_told():
    class Wide(AverageFusion):
        def classify(self, pooled):
            return super().classify(pooled).float()

    assert seen(Wide, 11) == "float16: the result is float32"


def test_what_fits_bfloat16_alone_may_refuse_float16():
    class Squares(AverageFusion):
        def classify(self, pooled):
            return super().classify(pooled / pooled.mul(1e3).square().mul(1e-6).add(1))

    assert seen(Squares, 11).startswith("float16 overflows")
    Squares.refuses = {"float16": "squares of thousands; use bfloat16"}
    assert broken(Squares) == ()
    assert (
        seen(Squares, 11) == "goes through bfloat16; not tried: export, compile;"
        " refuses float16: squares of thousands; use bfloat16"
    )


# ---- a refusal


def test_a_layer_may_refuse_every_leg():
    class Stays(AverageFusion):
        refuses = {leg: "it is a demonstration" for leg in LEGS}

        def forward(self, features, *, mask=None):
            if features["text"].dtype == torch.float16:
                raise ValueError("not asked for")
            return super().forward(features, mask=mask)

    expected = "; ".join(f"refuses {leg}: it is a demonstration" for leg in LEGS)
    assert seen(Stays, 11) == seen(Stays, 11, travel=True) == expected
    assert broken(Stays) == ()


@pytest.mark.parametrize(
    "refuses, words",
    [
        (("export",), "refuses: expected a dict {leg: why}"),
        (
            {"onnx": "no"},
            "refuses: expected legs out of float16, bfloat16, export, compile, got 'onnx'",
        ),
        ({"export": ""}, "refuses: export has no reason in words"),
        ({"export": True}, "refuses: export has no reason in words"),
    ],
)
def test_a_refusal_without_leg_or_reason_is_none(refuses, words):
    class Refuses(AverageFusion):
        pass

    Refuses.refuses = refuses
    assert seen(Refuses, 11) == words
    assert broken(Refuses) == (11,)


# ---- export and compile


@pytest.mark.slow
def test_a_sound_layer_goes_through_all_legs():
    kept, words = travels(AverageFusion)
    assert kept and words == "goes through float16, bfloat16, export, compile"


@pytest.mark.slow
def test_a_layer_without_a_mask_or_with_another_name_for_features_goes_too():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 7)

        def forward(self, batch):
            return self.head(batch["text"])

    assert travels(lambda: Plain(), dims={"text": 6}, dtype=torch.float32)[0]


@pytest.mark.slow
def test_a_batch_size_that_is_fixed_is_caught():
    class Fixed(AverageFusion):
        def classify(self, pooled):
            return super().classify(pooled) + torch.ones(len(pooled), 1, dtype=pooled.dtype)

    kept, words = travels(Fixed)
    assert not kept and words.startswith("export: raises ")
    assert check_contracts(Fixed, numbers=[11])[0].kept


@pytest.mark.slow
def test_an_export_that_is_wrong_for_a_larger_batch_alone_is_caught():
    class Late(AverageFusion):
        def classify(self, pooled):
            if torch.compiler.is_exporting():
                pooled = pooled + (torch.arange(pooled.shape[0])[:, None] >= 6)
            return super().classify(pooled)

    assert travels(Late) == (False, "export: another result with 12 rows")


@pytest.mark.slow
def test_what_is_counted_once_for_all_calls_gives_another_result():
    class Counts(AverageFusion):
        """A number that Python changes in each call is frozen in the export."""

        calls = 0

        def classify(self, pooled):
            self.calls = self.calls + 1
            return super().classify(pooled) + self.calls % 2

    Counts.refuses = {"float16": "chance", "bfloat16": "chance"}
    kept, words = travels(Counts)
    assert not kept and words.startswith("export: ")


@pytest.mark.slow
def test_a_layer_that_only_the_compiler_cannot_take_may_say_so():
    class Eager(AverageFusion):
        def classify(self, pooled):
            if torch.compiler.is_dynamo_compiling():
                return super().classify(pooled) + 1
            return super().classify(pooled)

    kept, words = travels(Eager)
    assert not kept and words == "compile: another result with 6 rows"
    Eager.refuses = {"compile": "it adds one"}
    kept, words = travels(Eager)
    assert kept and words.endswith("refuses compile: it adds one")


@pytest.mark.slow
def test_nothing_is_printed_and_the_callers_settings_are_left_alone(capfd):
    class Fails(AverageFusion):
        def classify(self, pooled):
            warnings.warn("to be heard by nobody", stacklevel=1)
            return super().classify(pooled) if pooled.sum() > 0 else pooled

    torch.manual_seed(5)
    expected = torch.rand(1)
    level, filters = logging.getLogger("torch").level, list(warnings.filters)
    torch.manual_seed(5)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        kept, _ = travels(Fails)
    assert not kept and heard == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch").level == level and warnings.filters == filters
    assert torch.equal(torch.rand(1), expected) and torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
