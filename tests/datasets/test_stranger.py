"""A stranger's dirty table meets every public function that takes data: it works, or says what
is wrong with which argument.
"""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from course_utils.audio import band_features
from course_utils.datasets import collate, read_table
from course_utils.datasets.files import open_image, open_sound
from course_utils.image import SmallCNN, evaluation_transform, pixel_features, training_transform
from course_utils.metrics import accuracy, cluster_bootstrap, mean_interval
from course_utils.text import Vocabulary, letter_features, tokenize
from course_utils.training import Batches, evaluate, fit, shuffle_modality

NAMES = {"Foto", "Aufnahme", "Bericht", "numbers"}


@pytest.fixture(scope="module")
def table(stranger):
    return read_table(stranger.file, **stranger.options, side=16)


@pytest.fixture(scope="module")
def whole(table):
    """All rows of the training split as one batch."""
    return table.collate(list(table.train))


@pytest.fixture(scope="module")
def features(table, whole):
    """What the extractors make of it, with the masks that it came with."""
    vocabulary = Vocabulary([text for text in whole["Bericht"] if text])
    ids, mask = vocabulary.batch(whole["Bericht"])
    words = nn.functional.one_hot(ids, len(vocabulary)).float()  # (B, T) -> (B, T, V)
    torch.manual_seed(0)
    places, _ = SmallCNN(width=8)(whole["Foto"])  # (B, 4, 8)
    found = {
        "Bericht": (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1),
        "Foto": places.mean(1).detach(),
        "Aufnahme": band_features(whole["Aufnahme"], whole["mask"]["Aufnahme"]),
        "numbers": whole["numbers"],
    }
    return found | {"label": whole["label"], "mask": whole["mask"]}


class Linear(nn.Module):
    def __init__(self, dims, classes):
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(dim, classes) for name, dim in dims.items()})

    def forward(self, batch):
        return sum(head(0.01 * batch[name]) for name, head in self.heads.items())


def test_every_extractor_gives_finite_features_and_zeros_where_nothing_is(features, whole):
    rows = len(whole["label"])
    for name in NAMES:
        assert features[name].shape[0] == rows and features[name].dim() == 2
        assert torch.isfinite(features[name]).all() and features[name].any()
    for name in ("Bericht", "Aufnahme", "numbers"):
        mask = whole["mask"][name]
        kept = mask if mask.dim() == 1 else mask.any(1)
        assert not features[name][~kept].any()
        assert features[name][kept].any(1).all()
    assert pixel_features(whole["Foto"]).shape == (rows, 3 * 16 * 16)


def test_every_text_has_tokens_and_ids(table):
    texts = [cells["Bericht"] for cells in table.train.cells]
    vocabulary = Vocabulary(texts)
    for one in texts:
        assert "".join(tokenize(one)).replace(" ", "") != "" or not one
        assert vocabulary.words(vocabulary.ids(one)) == tokenize(one)
    assert {"größe", "unverändert", "小", "猫", "👍🏽"} & set(
        vocabulary.words(range(len(vocabulary)))
    )
    with pytest.raises(ValueError, match=r"expected letters a to z, got \['\.', 'G', .*Vocabulary"):
        collate([{"t": "Größe."}], kinds={"t": "letters"})


def test_every_transform_takes_every_picture(table):
    for sample in list(table.train)[:8]:
        if sample["Foto"] is not None:
            for transform in (evaluation_transform(32), training_transform(32)):
                picture = transform(sample["Foto"])
                assert picture.shape == (3, 32, 32) and torch.isfinite(picture).all()
                assert torch.equal(collate([{"p": picture}])["p"][0], picture)


def test_the_loop_trains_on_it_and_scores_it(table, features):
    parts = {name: features[name] for name in NAMES} | {"label": features["label"]}
    model = Linear({name: features[name].shape[1] for name in NAMES}, len(table.classes))
    history = fit(model, Batches(parts, 8), Batches(parts, 8), epochs=2)
    assert all(map(math.isfinite, history.train_loss + history.validation_loss))
    found = evaluate(model, Batches(parts, 8))
    assert found.logits.shape == (len(table.train), 3)
    hits = (found.logits.argmax(1) == found.labels).double()
    assert found.accuracy == accuracy(found.logits, found.labels) == hits.mean().item()
    groups = [cells["Patientin"] for cells in table.train.cells]
    low, high = cluster_bootstrap(hits, groups, draws=200)
    assert 0 <= low <= hits.mean() <= high <= 1


def test_batches_keep_each_row_with_its_masks(features, whole):
    parts = {"row": whole["row"], "mask": features["mask"], "Foto": features["Foto"]}
    generator = torch.Generator().manual_seed(0)
    for batch in Batches(parts, 7, generator):
        for i, row in enumerate(batch["row"].tolist()):
            at = whole["row"].tolist().index(row)
            assert torch.equal(batch["Foto"][i], features["Foto"][at])
            for name, mask in batch["mask"].items():
                assert torch.equal(mask[i], whole["mask"][name][at])


def test_the_shuffled_control_moves_each_modality_with_its_mask(whole):
    order = torch.randperm(len(whole["label"]), generator=torch.Generator().manual_seed(1))
    for name in NAMES:
        moved = shuffle_modality(whole, name, order)
        assert torch.equal(moved["mask"][name], whole["mask"][name][order])
        for other in NAMES - {name}:
            assert moved[other] is whole[other] and moved["mask"][other] is whole["mask"][other]


def test_a_model_reads_the_loader_itself(table):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn, self.head = SmallCNN(width=8), nn.Linear(8, 3)

        def forward(self, batch):
            return self.head(self.cnn(batch["Foto"])[0].mean(1))

    loader = DataLoader(table.train, batch_size=8, collate_fn=table.collate)
    assert math.isfinite(fit(Reader(), loader, loader, epochs=1).train_loss[0])


# ---- what does not fit is refused by name
# ---------------------------------------------------------

IDS, HERE = torch.tensor([[1, 2, 0]]), torch.tensor([[True, True, False]])
SOUND, HEARD = torch.rand(2, 900), torch.ones(2, 900, dtype=torch.bool)
X, Y = torch.rand(3, 2), torch.tensor([0, 1, 1])


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, batch):
        return self.layer(batch["x"])


class Single(Flat):
    def forward(self, batch):
        return super().forward(batch)[:, 0]


REFUSED = {
    "letter ids as floats": (lambda: letter_features(IDS.float(), HERE), "ids: expected .* int64"),
    "ids of words": (lambda: letter_features(IDS + 30, HERE), "ids: expected letters, 1 to 26"),
    "negative ids": (lambda: letter_features(IDS - 5, HERE), "ids: .* got -5 to -3"),
    "strings for ids": (lambda: letter_features(["Größe"], HERE), "ids: expected .* got list"),
    "a mask of rows": (lambda: letter_features(IDS, HERE.any(1)), r"mask: .* got torch.bool .*\(1"),
    "a mask to broadcast": (lambda: letter_features(IDS, HERE[:, :1]), r"mask: .* \(1, 1\)"),
    "a float mask": (lambda: letter_features(IDS, HERE.float()), "mask: .* got torch.float32"),
    "bytes for pixels": (lambda: pixel_features(torch.ones(1, 3, 4, 4).byte()), "images: .* 255"),
    "one picture": (lambda: pixel_features(torch.ones(3, 4, 4)), r"images: .* got \(3, 4, 4\)"),
    "a list of pictures": (lambda: pixel_features([torch.ones(3, 4, 4)]), "images: .* got list"),
    "stereo": (lambda: band_features(torch.ones(1, 2, 900), HEARD), "sound: .* one channel"),
    "one sound": (lambda: band_features(SOUND[0], HEARD[0]), r"sound: .* got \(900,\)"),
    "a list of sounds": (lambda: band_features([SOUND[0]], HEARD), "sound: .* tensor, got list"),
    "int16 sound": (lambda: band_features(SOUND.short(), HEARD), "sound: .* int16 by 32768"),
    "no sound": (lambda: band_features(SOUND[:0], HEARD[:0]), r"sound: .* got \(0, 900\)"),
    "a sound of NaN": (lambda: band_features(SOUND * math.nan, HEARD), "sound 0 holds NaN"),
    "a sound's float mask": (
        lambda: band_features(SOUND, HEARD.float()),
        "mask: .* got torch.float32 of shape .2, 900",
    ),
    "a sound's mask of rows": (lambda: band_features(SOUND, HEARD[:, 0]), r"mask: .* \(2,\)"),
    "pictures H x W x C": (lambda: SmallCNN()(torch.rand(1, 16, 16, 3)), r"images: .* \(B, 3, H"),
    "one pixel": (lambda: SmallCNN()(torch.rand(1, 3, 1, 1)), "images: .* at least 8"),
    "no picture": (lambda: SmallCNN()(None), "images: expected a tensor, got NoneType"),
    "no file": (lambda: open_image(None), "file: expected a path"),
    "pixels for a file": (lambda: open_image(np.zeros((3, 3))), "file: .* got ndarray"),
    "an empty file": (lambda: open_image(b""), "0 bytes: not a picture"),
    "no sound file": (lambda: open_sound(None, 8_000), "file: expected a path"),
    "no text": (lambda: Vocabulary(["a", None]), r"texts\[1\]: .* got NoneType"),
    "a number for a text": (lambda: Vocabulary([math.nan]), r"texts\[0\]: .* got float"),
    "one text": (lambda: Vocabulary("Größe"), "texts: .* a single string"),
    "bytes for a text": (lambda: Vocabulary(["a"]).ids(b"a"), "text: .* got bytes"),
    "a list in batches": (lambda: Batches({"x": [1, 2, 3]}, 2), r"tensors\['x'\]: .* got list"),
    "texts in batches": (lambda: Batches({"x": ["a"]}, 2), r"tensors\['x'\]: .* got list"),
    "None in batches": (lambda: Batches({"x": None}, 2), r"tensors\['x'\]: .* got NoneType"),
    "a number in batches": (lambda: Batches({"x": torch.tensor(1)}, 2), "got a single number"),
    "a mask too short": (lambda: Batches({"x": X, "mask": {"x": HERE}}, 2), "'x': 3, .*: 1}"),
    "no labels": (lambda: evaluate(Flat(), [{"x": X}]), r'batches: .* "label" .* got \[\'x\'\]'),
    "words for labels": (lambda: evaluate(Flat(), [{"x": X, "label": ["a"]}]), '"label".*classes='),
    "float labels": (lambda: evaluate(Flat(), [{"x": X, "label": Y / 2}]), '"label".*float32'),
    "labels too large": (lambda: evaluate(Flat(), [{"x": X, "label": Y + 5}]), "0 to 1, .* 5 to 6"),
    "NaN to evaluate": (lambda: evaluate(Flat(), [{"x": X * math.nan, "label": Y}]), "NaN in 3 of"),
    "one logit": (lambda: evaluate(Single(), [{"x": X, "label": Y}]), r"logits: .* got \(3,\)"),
    "a pair for a batch": (lambda: fit(Flat(), [(X, Y)], [], epochs=1), "train in .* got tuple"),
    "no batch": (lambda: fit(Flat(), [], [], epochs=1), "train in .*: expected batches, got none"),
    "NaN to validate": (
        lambda: fit(Flat(), [{"x": X, "label": Y}], [{"x": X * math.nan, "label": Y}], epochs=1),
        "NaN in 3 of 3 rows",
    ),
    "labels of -1": (lambda: fit(Flat(), [{"x": X, "label": Y - 1}], [], epochs=1), "-1 to 0"),
    "a tensor to shuffle": (lambda: shuffle_modality(X, "x", Y), "features: .* got Tensor"),
    "nothing to shuffle": (lambda: shuffle_modality({"x": None}, "x", Y), r"features\['x'\]: "),
    "logits of NaN": (lambda: accuracy(X * math.nan, Y), "logits: .* NaN"),
    "lists to score": (lambda: accuracy([[0.5, 0.5]], [0]), "logits: expected a tensor, got list"),
    "float labels to score": (lambda: accuracy(X, Y + 0.5), "labels: expected whole numbers"),
    "labels beyond the logits": (lambda: accuracy(X, Y + 5), "labels: .* from 5 to 6"),
    "words for scores": (lambda: mean_interval(["n/a", "3,5"]), "values: expected numbers"),
    "NaN among scores": (lambda: mean_interval([0.5, math.nan]), "values: expected finite"),
    "NaN among hits": (lambda: cluster_bootstrap([1, math.nan], [0, 1]), "values: .* finite"),
    "no name for a group": (lambda: cluster_bootstrap([1, 0], ["P1", None]), "groups: .* None"),
    "a NaN for a group": (lambda: cluster_bootstrap([1, 0], [1, math.nan]), "groups: .* NaN"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    call, words = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((ValueError, TypeError), match=words):
            call()
