"""Contracts 3, 4 and 5: other ways to break them than the gallery's, and masks of tokens."""

import torch
from contract_results import broken, seen
from gallery import AverageFusion
from torch import nn


def test_true_read_as_ignore_is_caught():
    class Inverted(AverageFusion):
        def presence(self, features, mask):
            return super().presence(features, {name: ~kept for name, kept in mask.items()})

    assert broken(Inverted) == (3, 4)


def test_a_step_in_float32_on_the_way_of_a_mask_is_caught():
    class Rounds(AverageFusion):
        def forward(self, features, *, mask=None):
            logits = super().forward(features, mask=mask)
            return logits if mask is None else logits.float().to(logits)

    assert seen(Rounds, 3) == "an all-present mask changes the result"
    assert broken(Rounds, dtype=torch.float32) == ()


def test_a_modality_left_out_and_taken_for_missing_is_caught():
    class NotNamed(AverageFusion):
        def presence(self, features, mask):
            present = super().presence(features, mask)
            for place, name in enumerate(self.input_dims):
                if mask and name not in mask:
                    present[:, place] = False
            return present

    assert broken(NotNamed) == (3,)
    assert (
        seen(NotNamed, 3)
        == "a mask that leaves text out gives not what one gives where it is all True"
    )


def test_a_mask_that_must_name_all_is_caught():
    class AllNames(AverageFusion):
        def presence(self, features, mask):
            if mask:
                return torch.stack([mask[name] for name in self.input_dims], 1)
            return super().presence(features, mask)

    assert broken(AllNames) == (3,)
    assert seen(AllNames, 3) == "raises KeyError: 'text'"


def test_one_modality_alone_keeps_them_all():
    assert broken(lambda: AverageFusion({"text": 4}, 3)) == ()


class Pools(nn.Module):
    """Pools the tokens of text, whose mask is (B,) or (B, T); with `leaks` it forgets (B, T)."""

    def __init__(self, leaks):
        super().__init__()
        self.leaks, self.head = leaks, nn.Linear(6, 7)

    def forward(self, features, *, mask=None):
        x = features["text"]  # (B, T, D)
        kept = torch.ones(x.shape[:2], dtype=torch.bool)  # (B, T)
        if mask and mask["text"].dim() == 1:
            kept = mask["text"][:, None].expand(x.shape[:2])
        elif mask and not self.leaks:
            kept = mask["text"]
        total = torch.where(kept[..., None], x, 0).sum(1)  # (B, D)
        return self.head(total / kept.sum(1, keepdim=True).clamp(min=1))


def test_masks_of_tokens_are_tried_where_tokens_are_given():
    sample = {"dims": {"text": 6}, "tokens": {"text": 4}, "numbers": (3, 4, 5, 8, 10)}
    assert broken(lambda: Pools(leaks=True), **sample) == (4,)
    assert broken(lambda: Pools(leaks=False), **sample) == ()


class Padded(Pools):
    """Divides by the number of steps, present or not; without a mask it is the mean."""

    def forward(self, features, *, mask=None):
        kept = (mask or {}).get("text", torch.ones(features["text"].shape[:2]).bool())
        kept = kept.reshape(len(kept), -1, 1)  # (B, T, 1), or (B, 1, 1)
        return self.head(torch.where(kept, features["text"], 0).mean(1))


def test_padding_that_counts_is_caught():
    for length in (1, 4):
        sample = {"dims": {"text": 6}, "tokens": {"text": length}}
        assert broken(lambda: Padded(leaks=False), numbers=range(2, 11), **sample) == (4,)
        seen_of_it = seen(lambda: Padded(leaks=False), 4, **sample)
        assert seen_of_it == "more padding changes the result"


def test_a_row_that_knows_its_place_in_the_batch_is_caught():
    class Counts(AverageFusion):
        def classify(self, pooled):
            places = torch.arange(len(pooled), dtype=pooled.dtype)
            return super().classify(pooled + places[:, None])

    assert broken(Counts) == (4,)
    assert seen(Counts, 4) == "a row's result changes with its place in the batch"


def test_a_division_by_zero_put_right_afterwards_still_spoils_the_gradient():
    class Divides(AverageFusion):
        def pool(self, x, present):
            count = present.sum(1, keepdim=True)
            return torch.where(count > 0, x.sum(1) / count, 0)

    assert broken(Divides) == (5,)
    assert seen(Divides, 5) == "a gradient is not finite when everything is missing"
