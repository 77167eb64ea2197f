"""The model that is kept: it answers a new row, and travels without this package."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.datasets.cells import Dirty
from course_utils.your_data.compare import Chosen, Features, Reduction
from course_utils.your_data.features import Encoder, vectors
from course_utils.your_data.folder import Columns, NotUsable, values_of


class Whole(nn.Module):
    """Encoders' vectors {modality: (B, width)} and masks {modality: (B,) bool} to probabilities
    (B, C): the reduction that was learned, then the strategy. Modalities are called as the
    reader's.
    """

    def __init__(self, chosen: Chosen, reductions: dict[str, Reduction], inner: dict[str, str]):
        super().__init__()
        self.inner = {name: short for name, short in inner.items() if short in chosen.names}
        self.fusion = chosen.model.fusion
        for name, short in self.inner.items():
            self.register_buffer(f"{short}_mean", reductions[name].mean)
            self.register_buffer(f"{short}_matrix", reductions[name].matrix)

    def forward(self, vectors: dict[str, Tensor], mask: dict[str, Tensor]) -> Tensor:
        inputs, there = {}, {}
        for name, short in self.inner.items():
            mean, matrix = getattr(self, f"{short}_mean"), getattr(self, f"{short}_matrix")
            inputs[short] = (vectors[name] - mean) @ matrix  # (B, width) -> (B, k)
            there[short] = mask[name]
        return self.fusion(inputs, mask=there).softmax(1)


def export_and_compare(whole: Whole, features: Features, file: Path) -> float:
    """Write the model by `torch.export`, load it again, and give the largest difference between
    the probabilities of the two on all rows.
    """
    inputs = {name: features.vectors[name] for name in whole.inner}
    masks = {name: features.present[name] for name in whole.inner}
    rows = torch.export.Dim.DYNAMIC
    axes = {name: {0: rows} for name in whole.inner}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(whole, (inputs, masks), dynamic_shapes=(axes, axes))
        torch.export.save(program, file)
        loaded = torch.export.load(file).module()
    with torch.no_grad():
        one, other = whole(inputs, masks), loaded(inputs, masks)
        last = {name: x[-1:] for name, x in inputs.items()}
        single = loaded(last, {name: there[-1:] for name, there in masks.items()})
    return max((one - other).abs().max().item(), (one[-1:] - single).abs().max().item())


class Predictor:
    """`predict(row)`: a dict of cells, as the table's, to the class and all probabilities."""

    def __init__(
        self, whole: Whole, encoders: dict[str, Encoder], columns: Columns, kinds, classes
    ):
        self.whole, self.encoders, self.columns = whole, encoders, columns
        self.kinds, self.classes = kinds, classes

    def __call__(self, row: dict) -> dict:
        columns = self.columns
        inputs = columns.files + columns.texts + columns.numbers
        if not isinstance(row, dict):
            raise NotUsable(f"row: expected a dict with some of {inputs}, got {type(row).__name__}")
        if unknown := [name for name in row if name not in columns.header]:
            raise NotUsable(f"row: {unknown} not among the columns {columns.header}")
        cells = {name: "" for name in columns.header}
        cells |= {name: "" if value is None else str(value) for name, value in row.items()}
        try:
            _, values = values_of(columns, [cells])
            found, there = {}, {}
            for name in self.whole.inner:
                value = values[name][0]
                there[name] = torch.tensor([value is not None])
                found[name] = vectors_of(self.kinds[name], [value], self.encoders[name])
        except (Dirty, ValueError, OSError) as error:
            raise NotUsable("row: " + ": ".join(map(str, error.args))) from None
        with torch.no_grad():
            chances = self.whole(found, there)[0].tolist()
        return {
            "class": self.classes[max(range(len(chances)), key=chances.__getitem__)],
            "probabilities": dict(zip(self.classes, chances)),
            "missing": [name for name in there if not there[name]],
        }


def vectors_of(kind: str, values: list, encoder: Encoder, step=lambda count: None) -> Tensor:
    """The vectors of one modality; numbers are their own."""
    if kind != "numbers":
        return vectors(kind, values, encoder, step)
    blank = torch.zeros(encoder.width)
    step(sum(value is not None for value in values))
    return torch.stack([blank if value is None else value for value in values])
