"""From samples with holes to logits: a batch of `collate`, with the masks that it made, gives each
row what that row gives alone, without padding and put together by hand.
"""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from course_utils.datasets import collate
from course_utils.fusion import STRATEGIES

WIDTH = 6
KINDS = {"word": "ids", "tone": (None, 4), "scan": (2, 3, 3), "table": (3,)}
# what each of 9 samples lacks; a batch of three of them lacks the scan altogether
HOLES = [
    (),
    ("word",),
    ("tone", "table"),
    ("scan",),
    ("scan", "tone"),
    ("scan", "word"),
    ("word", "tone", "scan", "table"),
    ("word", "scan", "table"),
    ("table",),
]


def make_samples() -> list[dict]:
    generator = torch.Generator().manual_seed(0)

    def number(least: int, most: int, count: tuple = ()) -> torch.Tensor:
        return torch.randint(least, most + 1, count, generator=generator)

    samples = []
    for i, holes in enumerate(HOLES):
        sample = {
            "word": number(1, 9, (int(number(1, 5)),)),
            "tone": torch.randn(int(number(1, 7)), 4, generator=generator),
            "scan": torch.rand(2, 3, 3, generator=generator),
            "table": torch.randn(3, generator=generator),
            "label": int(number(0, 4)),
        }
        sample |= dict.fromkeys(holes)
        names = sorted(sample, reverse=i % 2 == 1)
        samples.append({name: sample[name] for name in names})
    return samples


class Encoders(nn.Module):
    """All to one width: words, frames and places as tokens, the table as a vector."""

    def __init__(self, table_as_token: bool):
        super().__init__()
        torch.manual_seed(1)
        self.word = nn.Embedding(10, WIDTH)
        self.tone = nn.Linear(4, WIDTH)
        self.scan = nn.Linear(2, WIDTH)
        self.table = nn.Linear(3, WIDTH)
        self.table_as_token = table_as_token
        self.double()

    def forward(self, batch: dict) -> dict:
        places = batch["scan"].flatten(2).mT  # (B, 2, 3, 3) -> (B, 9, 2)
        table = self.table(batch["table"].double())  # (B, 6)
        return {
            "table": table[:, None] if self.table_as_token else table,
            "scan": self.scan(places.double()),  # (B, 9, 6)
            "tone": self.tone(batch["tone"].double()),  # (B, T, 6)
            "word": self.word(batch["word"]),  # (B, T, 6)
        }


def alone(sample: dict, encode: Encoders, fusion: nn.Module) -> torch.Tensor:
    """The logits of one sample, (1, C): nothing padded, what is missing masked."""
    stand_ins = {
        "word": torch.tensor([3]),
        "tone": torch.full((2, 4), 7.0),
        "scan": torch.full((2, 3, 3), 7.0),
        "table": torch.full((3,), 7.0),
    }
    row, mask = {}, {}
    for name, stand_in in stand_ins.items():
        row[name] = (stand_in if sample[name] is None else sample[name])[None]
        if sample[name] is None:
            mask[name] = torch.tensor([False])
    return fusion(encode(row), mask=mask)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_batch_gives_each_row_what_it_gives_alone(strategy):
    torch.manual_seed(2)
    fusion = STRATEGIES[strategy](dict.fromkeys(KINDS, WIDTH), 5).double()
    nn.utils.vector_to_parameters(  # away from zeros and ones, which would hide a term
        torch.randn(sum(p.numel() for p in fusion.parameters()), dtype=torch.float64) / 3,
        fusion.parameters(),
    )
    encode = Encoders(table_as_token=fusion.accepts == "tokens")
    samples = make_samples()
    loader = DataLoader(samples, batch_size=3, collate_fn=partial(collate, kinds=KINDS))
    with torch.no_grad():
        batches = list(loader)
        found = torch.cat([fusion(encode(batch), mask=batch["mask"]) for batch in batches])
        expected = torch.cat([alone(sample, encode, fusion) for sample in samples])
    assert not batches[1]["mask"]["scan"].any() and torch.isfinite(found).all()
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)
    assert torch.cat([batch["label"] for batch in batches]).tolist() == [
        sample["label"] for sample in samples
    ]


def test_the_masks_of_a_batch_matter():
    """Without them the result is another one, so the test above can fail."""
    torch.manual_seed(2)
    batch = collate(make_samples()[:3], kinds=KINDS)
    fusion = STRATEGIES["concat"](dict.fromkeys(KINDS, WIDTH), 5).double()
    encode = Encoders(table_as_token=False)
    features = encode(batch)
    assert not torch.allclose(fusion(features), fusion(features, mask=batch["mask"]))
    without = {**batch["mask"], "word": torch.ones_like(batch["mask"]["word"])}
    assert not torch.allclose(fusion(features, mask=without), fusion(features, mask=batch["mask"]))
