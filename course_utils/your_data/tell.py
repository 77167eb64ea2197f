"""The report's tables, charts and card, from what was measured."""

from collections import Counter

from course_utils.your_data.compare import FUSIONS, Features
from course_utils.your_data.folder import Data
from course_utils.your_data.pages import BLUE, GREY, ORANGE, Chart, Table
from course_utils.your_data.sentences import Finding, percent, say
from course_utils.your_data.verdict import Scores, uses

NAMES = {"single": "best single modality", "fusion": "chosen fusion"}


def named(model: str) -> str:
    """What a reader sees of a model's name."""
    return NAMES.get(model, model)


def read(data: Data) -> Finding:
    """What came out of the table."""
    groups = f", {len(set(data.groups.tolist()))} groups" if data.columns.group else ""
    return say(
        "read",
        table=data.columns.file.name,
        rows=len(data.rows),
        lost=len(data.problems),
        label=data.columns.label,
        classes=len(data.classes),
        groups=groups,
        modalities=", ".join(f"{name} ({kind})" for name, kind in data.kinds.items()),
    )


def tables_of(data: Data, scores: Scores, encoders: dict, features: Features) -> list[Table]:
    """All tables: scores, classes, modalities, controls, uses, and the rows that were left out."""
    fused = "fusion" in scores.hits
    counts = Counter(data.labels.tolist())
    order = ["majority", *data.kinds, "single", *((*FUSIONS, "fusion") if fused else ())]
    recalls = _recalls(data, scores, "fusion" if fused else "single")
    here = {name: int(there.sum()) for name, there in features.present.items()}
    title = "Test accuracy in per cent, mean over the splits ± half of the 95 % interval"
    rows = [[named(name), percent(scores.interval(name))] for name in order]
    tables = [Table(title, ["model", "accuracy"], rows)]
    rows = [[name, str(counts[i]), recalls[i]] for i, name in enumerate(data.classes)]
    tables.append(Table("Classes", ["class", "rows", "recall of the model, %"], rows))
    chosen = [one["choice"] for one in scores.results]
    rows = [
        [name, kind, str(here[name]), encoder.name, str(sum(one[name] == i for one in chosen))]
        for name, kind in data.kinds.items()
        for i, encoder in enumerate(encoders[name])
    ]
    header = ["modality", "kind", "rows that have it", "encoder", "splits that chose it"]
    tables.append(Table("Modalities", header, rows))
    header, title = ["model", "as it is", "shuffled", "lead"], "Shuffled controls, in per cent"
    tables.append(Table(title, header, _controls(data, scores, fused)))
    tables += _uses(data, scores) if fused else []
    lines = [[str(one.row), one.column, one.reason] for one in data.problems]
    title = f"Rows left out: {len(lines)} (the header is row 1)"
    tables.append(Table(title, ["row", "column", "reason"], lines or [["none", "", ""]]))
    return tables


def _uses(data: Data, scores: Scores) -> list[Table]:
    """What the chosen fusion uses."""
    values, pairs = uses(scores)
    full, rows = scores.accuracies("fusion"), []
    for name in data.kinds:
        kept = [_score_without(one, name) for one in scores.results]
        lost = [a - one["uses"]["permuted"][name] for a, one in zip(full, scores.results)]
        rows.append([name, *(percent(scores.lead(one)) for one in (kept, lost, values[name]))])
    header = ["modality", "accuracy without it", "lost if permuted", "Shapley value"]
    without = Table("The chosen fusion with a modality taken away, in per cent", header, rows)
    rows = [[" and ".join(pair), percent(scores.lead(value))] for pair, value in pairs.items()]
    header = ["pair", "interaction index"]
    return [without, Table("What a pair brings beyond both, in points", header, rows)]


def _score_without(result: dict, name: str) -> float:
    subsets = {frozenset(names): value for names, value in result["uses"]["subsets"]}
    return subsets[max(subsets, key=len) - {name}]


def _controls(data: Data, scores: Scores, fused: bool) -> list[list[str]]:
    pairs = []
    for name in data.kinds:
        pairs.append((name, f"{name}, shuffled"))
        pairs += [("fusion", f"fusion, {name} shuffled")] if fused else []
    return [
        [
            control,
            *(percent(scores.interval(*one)) for one in ((model,), (control,), (model, control))),
        ]
        for model, control in pairs
    ]


def _recalls(data: Data, scores: Scores, model: str) -> list[str]:
    right, asked = Counter(), Counter()
    for result, hits in zip(scores.results, scores.hits[model]):
        for row, hit in zip(result["test"], hits):
            right[int(data.labels[row])] += hit
            asked[int(data.labels[row])] += 1
    return [
        f"{100 * right[i] / asked[i]:.0f}" if asked[i] else "never tested"
        for i in range(len(data.classes))
    ]


def charts_of(data: Data, scores: Scores) -> list[Chart]:
    """The accuracies, and the Shapley values."""

    def point(name: str, colour: str) -> tuple:
        middle, half = scores.interval(name)
        return named(name), 100 * middle, 100 * half, colour

    fused = "fusion" in scores.hits
    points = [point("majority", GREY), *(point(name, BLUE) for name in data.kinds)]
    if fused:
        points += [point(name, ORANGE) for name in FUSIONS]
        points += [point(f"fusion, {name} shuffled", GREY) for name in data.kinds]
    charts = [Chart("Test accuracy (%) of each model, with 95 % intervals", points)]
    if fused:
        values, _ = uses(scores)
        shares = [
            (name, *(100 * x for x in scores.lead(value)), BLUE) for name, value in values.items()
        ]
        charts.append(Chart("What the chosen fusion uses: Shapley values in points", shares))
    return charts


def card_of(
    data: Data, scores: Scores, strategy: str, texts: list[str], tables: list[Table]
) -> dict:
    """The model card: what it is, how good, for what not, how that was measured."""
    sizes, splits = scores.results[0]["sizes"], len(scores.results)
    inputs = ", ".join(f"{name} ({kind})" for name, kind in data.kinds.items())
    accuracy, how = percent(scores.interval(strategy)), "groups" if data.columns.group else "rows"
    what = [
        f"A classifier of {data.columns.label!r} into {len(data.classes)} classes from {inputs}.",
        f"Strategy: {named(strategy)}, trained on {sizes['train']} rows; {sizes['validation']}"
        f" chose its settings, {sizes['test']} tested it.",
        f"Test accuracy, mean over {splits} splits: {accuracy} %.",
        "model.pt2 takes {modality: vectors of its encoder} and {modality: True where it is there}"
        " for any number of rows, and gives the probabilities of the classes in the order below."
        " The encoders are not in it.",
    ]
    limits = [
        "People, places, devices or times unlike those in the table: nothing was tested on them.",
        "Decisions on people: nobody has looked at what its mistakes cost whom.",
    ]
    measured = [
        f"{splits} splits of 60, 20 and 20 % of the rows, by {how}.",
        "An interval is the wider of two: over the splits, corrected because they share rows"
        f" (Nadeau and Bengio 2003), and over whole {how} drawn again.",
        "Settings, encoders and the fusion were chosen on each split's validation rows, the best"
        " modality on those of all; no fusion had more candidates than a modality alone.",
    ]
    return {
        "What it is": what,
        "What was found": texts,
        "Scores": tables[0],
        "Classes": tables[1],
        "Inputs": tables[2],
        "What it is not for": limits,
        "How it was measured": measured,
    }
