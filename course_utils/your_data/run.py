"""From a folder to the report: stages that are kept, so that a run that was stopped goes on."""

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from course_utils.runtime import reader_folder
from course_utils.your_data.compare import (
    EPOCHS,
    QUICK_EPOCHS,
    Features,
    divide,
    fits_of_a_split,
    neighbours,
    one_single,
    one_split,
    one_thread,
    reduced,
    trained,
)
from course_utils.your_data.features import SMALL, Encoder, encoders_of
from course_utils.your_data.folder import Data, NotUsable, read_folder
from course_utils.your_data.model import Predictor, Whole, export_and_compare, vectors_of
from course_utils.your_data.pages import Table, html_page, markdown
from course_utils.your_data.sentences import WORDS, Finding, say
from course_utils.your_data.tell import card_of, charts_of, named, read, tables_of
from course_utils.your_data.traps import traps
from course_utils.your_data.verdict import Scores, verdicts

LEAST_SEEDS = 5
SAME = 1e-5  # the most by which exported probabilities may differ


@dataclass
class Report:
    """What was found on a folder.

    findings  sentences, each with a key such as "group_leak" or "too_small"
    problems  the rows that were left out, each with its reason
    tables    all that stands in the HTML file
    scores    the accuracies behind them
    out       the folder with report.html, model_card.md and model.pt2
    """

    findings: list[Finding]
    problems: list
    tables: list[Table]
    scores: Scores = field(repr=False)
    out: Path
    predict: Predictor = field(repr=False)

    def says(self, key: str) -> bool:
        """Whether there is a finding of this key."""
        return any(finding.key == key for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(f"- {finding.text}" for finding in self.findings)


def report_on(
    folder: str | Path,
    *,
    label: str | None = None,
    group: str | None = None,
    out: str | Path | None = None,
    seeds: int = LEAST_SEEDS,
    quick: bool = False,
    progress: bool | None = None,
) -> Report:
    """An honest report on a folder with a CSV table: file names of pictures and sounds, texts,
    numbers and a label, in the form that `read_table` takes.

      label     the column with the classes; None takes the one called label, class or the like
      group     the column that says which rows belong together; None guesses it and says so,
                "none" has each row stand for itself
      out       where report.html, model_card.md and model.pt2 are written; None takes a folder in
                the reader's own
      seeds     how many times the rows are split anew, at least 5
      quick     small encoders, one candidate a model, fewer epochs: to see whether all runs
      progress  a bar with the time left; None shows it where there is a terminal

    Stages are kept in the reader's folder by the content of all that they rest on: a run that was
    stopped goes on where it was, and a changed table is a new one. The same data and seeds give the
    same report. Raises NotUsable, a ValueError, for what the reader can mend.
    """
    if type(seeds) is not int or seeds < LEAST_SEEDS:
        raise NotUsable(f"seeds: expected a whole number of at least {LEAST_SEEDS}, got {seeds!r}")
    data = read_folder(folder, label, group)
    out = Path(out) if out else reader_folder() / "your_data" / data.columns.file.parent.name
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotUsable(f"out: cannot write into {out}: {error.strerror or error}") from None
    encoders, features, notes = _features(data, quick, progress)
    results = _results(data, encoders, features, seeds, quick, progress)
    grouped = data.columns.group is not None
    scores = Scores(results, features.labels.tolist(), features.groups.tolist())
    rows = divide(features, 0)
    findings = [read(data), *data.columns.notes, *notes]
    findings += verdicts(scores, list(data.kinds), neighbours(features) if grouped else None)
    findings += traps(data, features.vectors, rows)
    strategy, whole = _final(results, features, rows, quick)
    chosen = replace(features, choice=results[0]["choice"])
    difference = export_and_compare(whole, chosen, out / "model.pt2")
    if difference > SAME:
        raise RuntimeError(f"the exported model differs by {difference:.2g}")
    findings.append(say("exported", model=named(strategy)))
    tables = tables_of(data, scores, encoders, features)
    texts = [finding.text for finding in findings]
    title = f"Report on {data.columns.file.parent.resolve().name}"
    page = html_page(title, texts, tables, charts_of(data, scores), WORDS)
    card = card_of(data, scores, strategy, texts, tables)
    _write(out / "report.html", page)
    _write(out / "model_card.md", markdown(f"Model card: {named(strategy)}", card))
    taken = {name: encoders[name][place] for name, place in chosen.choice.items()}
    predictor = Predictor(whole, taken, data.columns, data.kinds, data.classes)
    return Report(findings, data.problems, tables, scores, out, predictor)


# ---- stages ----


def _features(data: Data, quick: bool, progress: bool | None):
    from tqdm import tqdm

    encoders, notes = {}, []
    for name, kind in data.kinds.items():
        if kind == "numbers":
            encoders[name] = [Encoder(SMALL[kind], len(data.columns.numbers), None)]
        else:
            encoders[name], why = encoders_of(kind, quick or kind == "text" and _short(data, name))
            notes += [why] if why else []
    there = {name: [value is not None for value in data.values[name]] for name in data.kinds}
    total = sum(sum(there[name]) * len(encoders[name]) for name in data.kinds)
    hidden = None if progress is None else not progress
    with tqdm(total=total, desc="features", disable=hidden) as bar:
        vectors = {
            name: [vectors_of(kind, data.values[name], one, bar.update) for one in encoders[name]]
            for name, kind in data.kinds.items()
        }
    present = {name: torch.tensor(each) for name, each in there.items()}
    features = Features(vectors, present, data.labels, data.groups, data.classes)
    return encoders, features, notes


def _short(data: Data, name: str) -> bool:
    """Whether a column of texts holds single words or signs, for which no sentence encoder is."""
    words = [len(value.split()) for value in data.values[name] if value is not None]
    return sum(words) < 1.5 * len(words)


def _results(data, encoders, features, seeds, quick, progress) -> list[dict]:
    from tqdm import tqdm

    grouped = data.columns.group is not None
    here = Path(__file__).parent
    code = "".join(
        (here / name).read_text(encoding="utf-8") for name in ("compare.py", "folder.py")
    )
    used = [[one.name for one in encoders[name]] for name in data.kinds]
    known = hashlib.sha256(f"{data.key} {used} {quick} {torch.__version__} {code}".encode())
    folder = reader_folder() / "your_data" / "splits" / known.hexdigest()[:16]
    hidden = None if progress is None else not progress
    each = fits_of_a_split(features, grouped)
    bar = tqdm(total=seeds * each, desc="models", disable=hidden)
    results = []
    for seed in range(seeds):
        file = folder / f"{seed}.json"
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            bar.update(each)
        except (OSError, ValueError):
            with one_thread():
                result = one_split(features, seed, quick, grouped, bar.update)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _write(file, json.dumps(result))
            except OSError:
                pass  # a stage that cannot be kept is right all the same
        results.append(result)
    bar.close()
    return one_single(results)


def _final(results: list[dict], features: Features, rows: dict, quick: bool) -> tuple[str, Whole]:
    """The model with the lowest mean validation loss, trained on the first split."""
    names = [name for name in results[0]["loss"] if name not in ("single", "fusion")]
    best = min(names, key=lambda name: sum(one["loss"][name] for one in results))
    strategy, inner, *setting = results[0]["setting"][best]
    features = replace(features, choice=results[0]["choice"])
    batches, reductions = reduced(features, rows)
    epochs = QUICK_EPOCHS if quick else EPOCHS
    with one_thread():
        chosen = trained(strategy, inner, tuple(setting), batches, len(features.classes), 0, epochs)
    return best, Whole(chosen, reductions, features.inner).eval()


def _write(file: Path, text: str) -> None:
    """In one step, so that no half of a file is ever found."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)
