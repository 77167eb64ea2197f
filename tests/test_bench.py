"""`make bench`: what it times, that it compares like with like, and the table it makes. No test
looks at a real clock.
"""

import ast
import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import bench  # noqa: E402  (after the path)
import bench_formulas  # noqa: E402
from bench import Case, Counterpart  # noqa: E402


class Clock:
    """A clock that only work moves: `clock.task(2.0)` is a task that takes two seconds."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def task(self, *seconds, name="", drift=1.0):
        """Takes these numbers of seconds in turn, each time over `drift` times as long."""
        calls = []

        def work():
            self.now += seconds[len(calls) % len(seconds)] * drift ** len(calls)
            calls.append(None)
            self.log.append(name)

        return work


# ---- timing ----


def test_each_task_gets_the_seconds_of_one_call():
    clock = Clock()
    rounds = bench.interleave(
        {"slow": clock.task(0.5), "quick": clock.task(0.125)}, least=3, most=3, clock=clock
    )
    assert rounds == {"slow": [0.5] * 3, "quick": [0.125] * 3}


def test_a_quick_task_is_called_until_its_turn_is_long_enough():
    clock = Clock()
    rounds = bench.interleave(
        {"quick": clock.task(0.25, name="q"), "slow": clock.task(4.0, name="s")},
        turn=1.125,
        least=1,
        most=1,
        clock=clock,
    )
    assert rounds["quick"] == [0.25]
    # two calls to warm up, then one turn each
    assert clock.log == ["q", "q", "s", "s"] + ["q"] * 5 + ["s"]


def test_the_first_call_counts_neither_as_time_nor_for_the_length_of_a_turn():
    clock = Clock()
    compiled = clock.task(100.0, *[0.5] * 99, name="c")
    rounds = bench.interleave({"compiled": compiled}, turn=1.0, least=2, most=2, clock=clock)
    assert rounds == {"compiled": [0.5, 0.5]} and len(clock.log) == 2 + 2 * 2


def test_tasks_take_turns_forth_and_back():
    clock = Clock()
    bench.interleave(
        {name: clock.task(1.0, name=name) for name in "abc"}, least=3, most=3, clock=clock
    )
    assert "".join(clock.log)[6:] == "abccbaabc"


@pytest.mark.parametrize("seconds, rounds", [(0, 7), (10, 10), (9.5, 10), (100, 41)])
def test_rounds_end_by_time_within_their_bounds(seconds, rounds):
    clock = Clock()
    assert (
        len(bench.interleave({"one": clock.task(1.0)}, seconds=seconds, clock=clock)["one"])
        == rounds
    )


def test_a_task_that_the_clock_cannot_see_does_not_stop_it():
    clock = Clock()
    assert (
        len(
            bench.interleave(
                {"none": lambda: clock.log.append(1)}, turn=1e-7, least=1, most=1, clock=clock
            )["none"]
        )
        == 1
    )


def test_a_ratio_is_the_median_of_the_rounds_and_its_quartiles():
    assert bench.ratio([2.0, 3.0, 4.0, 5.0, 600.0], [1.0] * 5) == (4.0, 3.0, 5.0)


def test_what_disturbs_a_whole_round_does_not_change_the_ratio():
    # The ratio of the medians would be 0.2 here.
    assert bench.ratio([2.0, 2.0, 20.0], [1.0, 10.0, 10.0])[0] == 2.0


def test_a_ratio_of_rounds_that_do_not_match_is_refused():
    with pytest.raises(ValueError):
        bench.ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    "seconds, text",
    [
        (2.5, "2.50 s"),
        (0.0123, "12.3 ms"),
        (0.123, "123 ms"),
        (0.00025, "250 us"),
        (0.0000005, "0.500 us"),
        (12.0, "12.0 s"),
        (0.0009999, "1.00 ms"),
        (123.4, "123 s"),
    ],
)
def test_durations_have_three_digits_and_a_unit(seconds, text):
    assert bench.duration(seconds) == text


# ---- like with like ----


SMALL = {
    "digits": {"samples": 5},
    "bands": {"clips": 3},
    "log_mels": {"clips": 3},
    "minilm": {"sentences": 2},
    "efficientnet": {"pictures": 2},
    "scenes": {"count": 8},
    "cnn": {"batch": 2},
    "concat": {"sizes": (((3, 4, 5), 2), ((8, 8, 8), 6)), "rows": 4},
    "vectors": {"sizes": (((3, 4, 5), 2), ((8, 8, 8), 6)), "rows": 8},
    "attention": {
        "sizes": (((3, 4, 5), 2), ((8, 8, 8), 6)),
        "lengths": (2, 5),
        "widths": (4, 8),
        "rows": 8,
    },
    "tokens": {"lengths": (1, 3), "rows": 4, "width": 8},
    "memory": {"widths": (2, 8), "rows": 4},
    "losses": {"batch": 6, "width": 3},
    "search": {"queries": 3, "gallery": 12, "width": 4},
}


def cases(name):
    return list(bench.ROWS[name](**SMALL[name]))


def test_every_row_is_tried_here_on_little():
    assert set(SMALL) == set(bench.ROWS)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_compared_gives_the_same_results(name):
    missing = []
    for case in cases(name):
        for other in case.counterparts:
            if other.call is None:
                missing.append(other.name)
                continue
            assert other.difference() <= other.tolerance, f"{case.work}: {other.name}"
            other.call()  # what is timed runs
    if missing:
        pytest.skip(f"not installed, the others agree: {', '.join(missing)}")


@pytest.mark.parametrize("name", SMALL)
def test_what_has_grown_is_four_times_as_much(name):
    for case in cases(name):
        assert case.items > 0 and case.larger
        ours = case.ours()
        for what, call in case.larger.items():
            more = call()
            if name == "digits":
                assert sum(len(batch["label"]) for batch in more) == 4 * case.items
            elif name == "log_mels" and what == "length":
                # a step of 80, and one frame more than steps
                assert (ours.shape[1], more.shape[1]) == (51, 201) and len(more) == len(ours)
            elif what == "length":
                assert more.shape == ours.shape
            elif name == "tokens":
                assert (
                    what.startswith("tokens")
                    and more[0].shape == ours[0].shape
                    and more[1].shape[1] == 4 * ours[1].shape[1]
                )
            elif name == "search":
                assert what == "gallery" and len(more) == len(ours)
            elif name in ("bands", "log_mels", "minilm", "efficientnet", "scenes"):
                assert len(more) == 4 * len(ours) == 4 * case.items
            else:
                assert len(more[0]) == 4 * len(ours[0]) == 4 * case.items


def test_longer_clips_are_four_times_as_long(monkeypatch):
    from course_utils import audio

    monkeypatch.setattr(audio, "band_features", lambda sound, mask: mask.sum(1).tolist())
    _, equal = bench.bands(clips=3)
    # 0.5 s at 8 kHz
    assert equal.ours() == [4_000] * 3 and equal.larger["length"]() == [16_000] * 3


def test_the_public_digits_are_as_noisy_as_ours():
    pytest.importorskip("torchaudio")
    from course_utils.datasets import Digits

    clean = Digits("train", image_noise=0.0, speech_snr=float("inf"), text_error=0.0)
    noisy = Digits("train")
    for sample in (noisy.__getitem__, bench.public_digits(noisy)):
        drawn, power = [sample(i) for i in range(100)], []
        pixels = torch.cat(
            [(one["image"] - clean[i]["image"]).flatten() for i, one in enumerate(drawn)]
        )
        # enlarging averages 0.5 down to 0.336
        assert abs(pixels.mean()) < 0.03 and 0.32 < pixels.std() < 0.35
        for one in drawn:
            clip = torch.from_numpy(noisy._from.clips[one["voice"], one["label"]][0]).float()
            power.append(
                ((one["audio"] - clip).square().mean() / clip.square().mean()).log10() * 10
            )
        # -10 dB: noise ten times the sound
        assert abs(sum(power) / len(power) - 10) < 0.3
        assert len({one["voice"] for one in drawn}) > 10
        assert sum(one["text"] != clean[i]["text"] for i, one in enumerate(drawn)) > 80


def test_textbook_code_that_forgets_the_mask_is_seen():
    from course_utils.fusion import ConcatFusion

    wrong = bench.fusion_case(
        ConcatFusion,
        "wrong",
        lambda twin, inputs, mask: twin.head(torch.cat(inputs[::-1], 1)),
        (4, 4, 4),
        2,
        True,
        4,
    ).counterparts[0]
    assert not wrong.difference() <= wrong.tolerance


def test_every_strategy_has_a_row():
    from course_utils.fusion import STRATEGIES

    assert ["concat", *bench_formulas.vector_formulas(), *bench_formulas.token_formulas()] == list(
        STRATEGIES
    )


FORMULAS = bench_formulas.vector_formulas() | bench_formulas.token_formulas()


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def small_case(key, formula):
    from course_utils.fusion import STRATEGIES

    options = {"tokens": 3, "width": 8} if key in bench_formulas.token_formulas() else {}
    return bench.fusion_case(STRATEGIES[key], key, formula, (3, 4, 5), 3, True, 16, **options)


@pytest.mark.parametrize("key", FORMULAS)
def test_formulas_give_the_same_to_the_last_digits(key, double):
    case = small_case(key, FORMULAS[key][1])
    assert case.ours()[0].dtype == torch.float64 and case.counterparts[0].difference() < 1e-9


@pytest.mark.parametrize("key", sorted(set(FORMULAS) - {"early", "film", "low_rank"}))
def test_a_formula_that_takes_all_for_present_is_seen(key):
    # These three get zeros for what is missing and, without a projection, no bias: their formulas
    # need no mask.
    def unmasked(twin, inputs, mask):
        return FORMULAS[key][1](twin, inputs, [torch.ones_like(kept) for kept in mask])

    other = small_case(key, unmasked).counterparts[0]
    assert not other.difference() <= other.tolerance


def test_what_is_missing_is_nan_and_comes_through_nowhere():
    for name in ("concat", "vectors", "attention", "tokens"):
        for case in cases(name):
            if "no mask" not in case.work:
                assert all(
                    result.isfinite().all()
                    for call in (case.ours, *case.larger.values())
                    for result in call()
                ), case.work


def test_growth_with_tokens_stands_beside_that_of_the_formula():
    from course_utils.fusion import JointTransformerFusion, describe

    case, *_ = bench.tokens(lengths=(5,), rows=2, width=8)
    fusion = JointTransformerFusion({"text": 8, "image": 8}, 10, width=None)
    short, long = (describe(fusion, {"text": n, "image": n}).multiply_adds for n in (5, 20))
    assert (
        list(case.larger) == [f"tokens, multiply-adds {long / short:.2f}, time"]
        and case.share == 0.5
    )


def test_what_autograd_keeps_is_counted_once_and_without_what_was_there():
    x, y = torch.ones(10, requires_grad=True), torch.ones(10)
    assert bench.kept_bytes(lambda: x * y, [x, y]) == 0
    assert bench.kept_bytes(lambda: x * y, [x]) == 40
    # exp keeps its result, which the product keeps too
    assert bench.kept_bytes(lambda: (x.exp() * x).exp(), [x]) == 2 * 40
    assert bench.kept_bytes(lambda: y * y, []) == 0


def test_memory_follows_the_formulas():
    rows, classes, rank = 4, 10, 4
    for width, case in zip((8, 16), bench.memory(widths=(8, 16), rows=rows), strict=True):
        side = width + 1
        for text, parameters, least in (
            (case.work, classes * side**3 + classes, side**3 + side**2),
            (case.counterparts[0].name, 3 * rank * classes * side + classes, 5 * rank * classes),
        ):
            found, kept = re.search(r": ([\d,]+) parameters, ([\d,]+) kB kept", text).groups()
            assert int(found.replace(",", "")) == parameters
            assert (
                -0.5
                < int(kept.replace(",", "")) - 4 * rows * least / 1e3
                < 4 * rows * 3 * 2 * side / 1e3 + 1
            ), text


def test_a_row_of_many_cases_takes_its_share_of_the_time(monkeypatch, tmp_path, capsys):
    command(monkeypatch, tmp_path)
    real, given = bench.interleave, []
    monkeypatch.setattr(
        bench,
        "interleave",
        lambda tasks, **options: given.append(options["seconds"]) or real(tasks),
    )
    monkeypatch.setitem(bench.ROWS, "two", lambda: iter([Case("work", int, 1, "x", share=0.5)]))
    bench.ROWS["two"].__doc__ = "What two is."
    assert bench.main(["--seconds", "3"]) == 0 and given == [3, 1.5]


def test_a_step_starts_from_no_gradients():
    for case in [case for name in ("concat", "vectors", "attention") for case in cases(name)]:
        for call in (case.ours, case.counterparts[0].call):
            once = [result.clone() for result in call()]
            assert bench.largest_difference(once, call()) == 0


@pytest.mark.parametrize(
    "ours, theirs, apart",
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), 0.5),
        (
            [torch.tensor([1.0]), torch.tensor([True])],
            [torch.tensor([1.25]), torch.tensor([False])],
            1.0,
        ),
        (
            {"a": torch.tensor([1.0]), "b": torch.tensor([3])},
            {"b": torch.tensor([3]), "a": torch.tensor([1.0])},
            0.0,
        ),
        (torch.zeros(2, 1), torch.zeros(2), float("inf")),
        ([torch.zeros(1)], [torch.zeros(1)] * 2, float("inf")),
        ({"a": torch.zeros(1)}, {"b": torch.zeros(1)}, float("inf")),
    ],
)
def test_largest_difference(ours, theirs, apart):
    assert bench.largest_difference(ours, theirs) == apart


@pytest.mark.parametrize("place", [0, 1])
def test_nan_among_many_results_is_not_lost(place):
    ours = [torch.tensor([1.0]), torch.tensor([1.0])]
    theirs = [torch.tensor([1.0]), torch.tensor([1.0])]
    theirs[place] = torch.tensor([float("nan")])
    apart = bench.largest_difference(ours, theirs)
    assert apart != apart
    case = Case("work", int, 1, "x", [Counterpart("lib", int, lambda: apart)])
    assert bench.measure("row", case, **quickly())[1]


# ---- the table ----


def quickly():
    """Options that time a task of a second on a clock of its own."""
    ticks = iter(range(10**6))
    return {"clock": lambda: next(ticks), "least": 2, "most": 2, "turn": 0.5}


def measured(*counterparts, larger=()):
    return bench.measure(
        "concat",
        Case("some work", int, 128, "rows", list(counterparts), {what: int for what in larger}),
        **quickly(),
    )


def test_a_line_says_work_rate_counterpart_ratio_difference_and_growth():
    lines, problems = measured(Counterpart("numpy.sum", int, lambda: 2e-6), larger=["rows"])
    assert lines == [
        [
            "concat",
            "some work",
            "1.00 s",
            "128 rows",
            "numpy.sum",
            "1.00 s",
            "1.00 (1.00 to 1.00)",
            "2e-06",
            "rows: 1.00 (1.00 to 1.00)",
        ]
    ]
    assert problems == []


def test_each_counterpart_has_a_line_and_a_missing_one_says_so():
    lines, problems = measured(
        Counterpart("librosa.stft"), Counterpart("numpy.sum", int, lambda: 0.0), larger=["rows"]
    )
    assert [line[4:8] for line in lines] == [
        ["librosa.stft", "not installed", "-", "-"],
        ["numpy.sum", "1.00 s", "1.00 (1.00 to 1.00)", "0"],
    ]
    assert lines[0][:4] == ["concat", "some work", "1.00 s", "128 rows"] and lines[1][:4] == [
        "concat",
        "",
        "",
        "",
    ]
    assert problems == []


def test_without_a_counterpart_the_line_says_so_and_keeps_its_growth():
    (line,), _ = measured(larger=["samples"])
    assert line[4:] == ["no public counterpart", "-", "-", "-", "samples: 1.00 (1.00 to 1.00)"]


@pytest.mark.parametrize("apart", [0.5, float("inf"), float("nan")])
def test_a_counterpart_with_other_results_is_a_problem(apart):
    _, problems = measured(Counterpart("numpy.sum", int, lambda: apart))
    assert len(problems) == 1 and "some work: numpy.sum gives other results" in problems[0]


def test_what_is_not_installed_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)  # import then raises ImportError
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    assert bench.optional("librosa") is None and bench.optional("json") is json
    for name in SMALL:
        counterparts = [other for case in cases(name) for other in case.counterparts]
        assert counterparts and all(
            (other.call is None) is bool(re.search("librosa|torchaudio", other.name))
            for other in counterparts
        )


def well_formed(text):
    """The tables of a Markdown text, as lists of cells; each has a header, a rule and lines of
    the same width.
    """
    tables = [
        [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in block.splitlines()]
        for block in text.split("\n\n")
        if block.startswith("|")
    ]
    for table in tables:
        assert (
            {len(cells) for cells in table} == {len(table[0])}
            and set(table[1]) == {"---"}
            and len(table) > 2
        )
    return tables


def no_machine(text):
    """Nothing in the text tells whose machine it was."""
    import getpass
    import platform

    assert not re.search(r"(^|[\s(`])(/|~/|[A-Z]:\\)\w", text), "a path"
    assert platform.node() not in text and f"/{getpass.getuser()}" not in text


RUNS = [
    bench.run_notebooks.Run("00_a", 12.34, 800.4, None),
    bench.run_notebooks.Run("01_b", 61.0, 1600.0, None),
    bench.run_notebooks.Run("02_c", 3.0, 90.0, "code cell 1: ValueError: no"),
    bench.run_notebooks.Run("03_d", 0.0, None, "not run: out of time; `make run` runs every page"),
]


def test_the_page_has_a_comparison_and_the_pages_with_their_budget():
    lines, _ = measured(Counterpart("numpy.sum", int, lambda: 0.0))
    text = bench.document(["concat", "pages"], lines, RUNS, ("0.1", "0.2"))
    comparison, pages = well_formed(text)
    assert comparison[0] == bench.HEADER and len(comparison) == 3 and all(comparison[2][:5])
    assert pages[2:] == [
        ["00_a", "12.3", "800", "within"],
        ["01_b", "61.0", "1600", "over 60 s, over 1500 MB"],
        ["02_c", "3.0", "90", "code cell 1: ValueError: no"],
        ["03_d", "-", "-", "not run: out of time; `make run` runs every page"],
    ]
    assert (
        re.search(r"`make bench` on \d{4}-\d\d-\d\d, on \d+ processors", text)
        and f"torch {torch.__version__.split('+')[0]}" in text
    )
    no_machine(text)


def test_rows_that_are_named_are_printed_and_nothing_is_written(monkeypatch, tmp_path, capsys):
    command(monkeypatch, tmp_path)
    assert bench.main(["one"]) == 0
    printed = capsys.readouterr().out
    assert (
        "| one | work |" in printed
        and "| two |" not in printed
        and "**one.** What one is." in printed
    )
    assert not (tmp_path / "data").exists()


def test_all_rows_are_written(monkeypatch, tmp_path, capsys):
    command(monkeypatch, tmp_path)
    assert bench.main([]) == 0
    text = (tmp_path / "data" / "bench.md").read_text()
    comparison, pages = well_formed(text)
    assert [line[0] for line in comparison[2:]] == ["one", "two"] and pages[2][0] == "00_a"
    assert text in capsys.readouterr().out
    no_machine(text)


def test_other_results_and_failed_pages_end_in_an_error(monkeypatch, tmp_path, capsys):
    command(monkeypatch, tmp_path, apart=1.0)
    assert bench.main(["two"]) == 1
    assert "PROBLEM: work: lib gives other results" in capsys.readouterr().err
    command(monkeypatch, tmp_path, runs=RUNS)
    assert bench.main(["pages"]) == 1
    # out of time is no problem
    assert capsys.readouterr().err == "PROBLEM: 02_c: code cell 1: ValueError: no\n"


def test_an_unknown_row_is_named_with_those_that_exist(capsys):
    with pytest.raises(SystemExit) as stopped:
        bench.main(["concats"])
    assert stopped.value.code == 2
    assert re.search(
        r"no row 'concats'; there are: digits, bands, .*concat.*, pages", capsys.readouterr().err
    )


def command(monkeypatch, folder, apart=0.0, runs=RUNS[:1]):
    """The command with two small rows and no page to run."""

    def one():
        """What one is."""
        yield Case("work", int, 1, "x")

    def two():
        """What two is."""
        yield Case("work", int, 1, "x", [Counterpart("lib", int, lambda: apart)])

    real = bench.interleave
    monkeypatch.setattr(bench, "ROWS", {"one": one, "two": two})
    monkeypatch.setattr(bench, "interleave", lambda tasks, **_: real(tasks, **quickly()))
    monkeypatch.setattr(bench, "measure_pages", lambda limit: list(runs))
    monkeypatch.setattr(bench, "ROOT", folder)
    monkeypatch.setattr(bench, "FILE", folder / "data" / "bench.md")
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    assert threads == torch.get_num_threads()


def test_the_stored_table_has_every_row():
    text = bench.FILE.read_text(encoding="utf-8")
    comparison, pages = well_formed(text)
    assert {line[0] for line in comparison[2:]} == set(bench.ROWS), "run `make bench` again"
    assert all(line[4] for line in comparison[2:]) and comparison[0] == bench.HEADER
    assert pages[0][:3] == ["page", "seconds", "peak MB"]
    no_machine(text)


# ---- pages ----


@pytest.fixture
def here(monkeypatch):
    """Pages "run" in this process: what each was given, and a clock that an hour a page moves."""
    given, now = [], [0.0]

    class Pool:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, function, path, timeout):
            assert function is bench.run_notebooks.run_notebook
            given.append(
                (
                    path.stem,
                    Path(os.environ["COURSE_HOME"]).is_dir(),
                    os.environ["COURSE_HOME"],
                    "MPLBACKEND" in os.environ,
                )
            )
            now[0] += 3600
            return self

        def result(self):
            return bench.run_notebooks.Run(given[-1][0], 1.0, 80.0, None)

    monkeypatch.setattr(bench, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(bench.time, "monotonic", lambda: now[0])
    return given


def test_each_page_has_a_home_of_its_own_and_a_readers_is_left_alone(here, tmp_path, monkeypatch):
    for name in ("00_a", "01_b"):
        (tmp_path / f"{name}.ipynb").touch()
    monkeypatch.setenv("COURSE_HOME", "mine")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    assert [run.problem for run in bench.measure_pages(float("inf"), tmp_path)] == [None, None]
    assert (os.environ["COURSE_HOME"], os.environ["MPLBACKEND"]) == ("mine", "Agg")
    (_, folder, home, backend), (_, other_folder, other_home, _) = here
    assert folder and other_folder and len({home, other_home, "mine"}) == 3 and not backend


def test_no_page_is_begun_after_the_limit(here, tmp_path):
    for name in ("00_a", "01_b", "02_c"):
        (tmp_path / f"{name}.ipynb").touch()
    runs = bench.measure_pages(3601, tmp_path)
    assert [run.problem is None for run in runs] == [True, True, False] and "out of time" in runs[
        2
    ].problem


def test_the_memory_of_a_page_is_not_that_of_this_process(tmp_path):
    """Linux hands a process's peak on to what it starts; that is more than a small page needs."""
    nbformat.write(new_notebook(cells=[new_code_cell("x = 1")]), tmp_path / "00_a.ipynb")
    held = torch.ones(100_000_000)  # 400 MB
    (run,) = bench.measure_pages(float("inf"), tmp_path)
    assert run.problem is None and 20 < run.peak_mb < 150 and held.all()


def test_the_process_between_holds_little():
    # `make bench` starts it from this file, so what stands at its top is loaded there too.
    tree = ast.parse(Path(bench.__file__).read_text(encoding="utf-8"))
    loaded = {
        name.split(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert loaded - set(sys.stdlib_module_names) == {"tqdm", "run_notebooks"}
