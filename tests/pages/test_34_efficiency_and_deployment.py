"""What lies in page 34's room: the model and its export, the server, the processes, int8; what it
goes on with of the reader's own code, what its faults are, and what it says of its stored runs.
"""

import base64
import contextlib
import copy
import importlib.util
import math
import os
import socket
import statistics
import struct
import subprocess
import sys
import threading
from functools import partial

import pytest
import torch
from reading import gain, printed, said, the_cell
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import prune

from course_utils.audio import mel_filters
from course_utils.audio_encoder import load_audio_encoder
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, room, stored
from course_utils.runtime import DATA, seed_everything

PAGE = "34"
model_file, int8 = load(PAGE, "model"), load(PAGE, "int8")
LETTERS, SAMPLES, spell = model_file.LETTERS, model_file.SAMPLES, model_file.spell


def questions(count, seed=0):
    """Letters (N, 12), sounds (N, 8000), samples (N,); some words and some sounds are missing."""
    generator = seed_everything(seed)
    words = ["seven", "to", "", "fore", "nine", "sicks"]
    letters = torch.tensor([spell(words[i % len(words)]) for i in range(count)])
    samples = torch.randint(300, SAMPLES, (count,), generator=generator)
    samples[1::4] = 0
    samples[letters[:, 0] == 0] = 4_000  # a word or a sound
    return letters, 0.3 * torch.randn(count, SAMPLES, generator=generator), samples


@pytest.fixture(scope="module")
def model():
    seed_everything(0)
    made = model_file.Model(mel_filters(), width=16)
    for part in made.modules():  # so that the answers differ clearly
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.5)
    return made.eval()


def exported(made, rows):
    dynamic = {0: torch.export.Dim.DYNAMIC}
    return torch.export.export(made, rows, dynamic_shapes=(dynamic,) * 3)


@pytest.fixture(scope="module")
def program(model):
    return exported(model, questions(4))


@pytest.fixture(scope="module")
def file(program, tmp_path_factory):
    path = tmp_path_factory.mktemp("page34") / "model.pt2"
    torch.export.save(program, path)
    return path


# ---- the model ----


def test_the_convolution_is_the_fourier_transform(model):
    sound = questions(2)[1].double()
    log_mel = model_file.LogMel(mel_filters())
    frames, heard = log_mel(sound.float(), torch.tensor([SAMPLES, 300]))
    pieces = sound.unfold(1, 256, 80) * torch.hann_window(256, dtype=torch.float64)
    energy = torch.fft.rfft(pieces).abs().square() @ mel_filters().T
    expected = energy.clamp(min=1e-3).log()
    torch.testing.assert_close(
        frames[0].double(), expected[0] - expected[0].mean(0), atol=1e-4, rtol=1e-4
    )
    assert heard.sum(1).tolist() == [97, 1]


@torch.no_grad()
def test_what_is_missing_or_padding_cannot_matter(model):
    letters, sound, samples = questions(8)
    expected = model(letters, sound, samples)
    padded = torch.arange(SAMPLES) >= samples[:, None]
    torch.testing.assert_close(
        model(letters, sound.masked_fill(padded, math.nan), samples), expected
    )
    alone = torch.cat([model(*(x[i : i + 1] for x in (letters, sound, samples))) for i in range(8)])
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-5)
    nothing = model(torch.zeros_like(letters), sound, torch.zeros_like(samples))
    assert nothing.isfinite().all() and (nothing == nothing[:1]).all()
    assert (expected[samples == 0] != nothing[samples == 0]).any(1).all()


def test_the_courses_sound_encoder_fits(model):
    heard = model_file.Heard()
    heard.load_state_dict(load_file(DATA / "audio_encoder" / "digits_cnn.safetensors"))
    frames = torch.randn(2, 50, 40)
    kept = torch.arange(50) < torch.tensor([[50], [23]])
    x = torch.where(kept[..., None], frames, 0.0).transpose(1, 2)
    for layer in load_audio_encoder(cache=False).body.layers:
        kept = kept[:, :: layer.stride[0]]
        x = torch.where(kept[:, None], layer(x).relu(), 0.0)
    expected = x.sum(2) / kept.sum(1, keepdim=True)
    seen = torch.arange(50) < torch.tensor([[50], [23]])
    torch.testing.assert_close(heard(frames, seen), expected)


# ---- export ----


@pytest.mark.slow
@torch.no_grad()
def test_the_exported_model_gives_the_same(model, file):
    again = torch.export.load(file).module()
    for count in (1, 2, 7):
        rows = questions(count, seed=count)
        torch.testing.assert_close(again(*rows), model(*rows))


@pytest.mark.slow
@torch.no_grad()
def test_onnx_gives_the_same(model, program, tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not here: the extra `deploy` brings it")
    import onnxruntime

    torch.onnx.export(program, dynamo=True, verbose=False).save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]
    assert names == ["letters", "sound", "samples"]
    for count in (1, 2, 7):
        rows = questions(count, seed=count)
        (logits,) = session.run(None, {name: x.numpy() for name, x in zip(names, rows)})
        torch.testing.assert_close(torch.from_numpy(logits), model(*rows), atol=1e-4, rtol=1e-4)


# ---- the server ----

needs_server = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "httpx")),
    reason="FastAPI, uvicorn or httpx is not here: the extra `deploy` brings them",
)


class Tiny(nn.Module):
    """Anything that takes what the model takes."""

    def forward(self, letters, sound, samples):
        return letters[:, :10] + torch.outer(sound.sum(1) + samples / 100, torch.arange(10) / 10)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """A client of the application in this process, without a port."""
    from starlette.testclient import TestClient

    path = tmp_path_factory.mktemp("page34") / "tiny.pt2"
    torch.export.save(exported(Tiny(), questions(4)), path)
    threads = torch.get_num_threads()
    yield TestClient(load(PAGE, "server").make_app(path), raise_server_exceptions=False)
    torch.set_num_threads(threads)


def sound(*samples, times=1):
    """Samples as the server takes them."""
    return base64.b64encode(struct.pack(f"<{len(samples)}f", *samples) * times).decode()


QUIET = [0.1] * 300


@needs_server
@pytest.mark.parametrize(
    "change, field, fault",
    [
        ({"text": None}, "body", "expected text, audio or both, got neither"),
        ({"text": ""}, "text", "expected 1 to 12 letters, got 0"),
        ({"text": "seven" * 3}, "text", "expected 1 to 12 letters, got 15"),
        ({"text": "se7en"}, "text", "expected the letters a to z, got '7'"),
        ({"text": "二"}, "text", r"expected the letters a to z, got '\u4e8c'"),
        ({"text": 7}, "text", "expected a text"),
        ({"id": 7}, "id", "expected a text"),
        ({"id": "x" * 65}, "id", "at most 64 characters"),
        ({"image": [0, 1]}, "image", "expected no more than id, text and audio"),
        ({"audio": [0.0] * 300}, "audio", "expected a text"),
        ({"audio": "%%%%"}, "audio", "expected base64"),
        ({"audio": "AAA"}, "audio", "expected base64"),
        ({"audio": "AAAA"}, "audio", "expected float32, 4 bytes each, got 3 bytes"),
        ({"audio": ""}, "audio", "expected 256 to 8,000 samples"),
        ({"audio": sound(0.1, times=255)}, "audio", "(8 kHz, at most 1 s), got 255"),
        ({"audio": sound(0.1, times=8_001)}, "audio", "(8 kHz, at most 1 s), got 8,001"),
        ({"audio": sound(*QUIET, math.nan)}, "audio", "finite samples, got NaN or infinity in 1"),
        ({"audio": sound(*QUIET, -math.inf)}, "audio", "got NaN or infinity in 1"),
        ({"audio": sound(*QUIET, -2e4)}, "audio", "got 20,000; divide int16 by 32768"),
    ],
    ids=range(19),
)
def test_a_bad_question_is_answered_in_words(app, change, field, fault):
    answer = app.post("/predict", json={"id": "a", "text": "two"} | change)
    (told,) = answer.json()["faults"]
    assert answer.status_code == 422 and told["field"] == field and fault in told["fault"]
    assert len(told["got"]) <= 60


@needs_server
@pytest.mark.parametrize(
    "content, status, fault",
    [
        (b"{", 422, "expected JSON"),
        (b"", 422, "expected, and not there"),
        (b"[1]", 422, "expected a JSON object with id, text and audio"),
        (b'{"text": "two"}', 422, "expected, and not there"),
        (b'{"id": "a", "text": NaN}', 422, "expected a text"),
        (b'{"id": "a", "text": 1e999}', 422, "expected a text"),
        (b'{"id": "\\ud800", "text": "two"}', 422, "expected a text"),
        (b"\xff", 400, "expected JSON"),
        (b"[" * 30_000, 400, "expected JSON"),
        (b" " * 64_001, 413, "expected at most 64,000 bytes, got 64,001 bytes"),
        (iter([b"{}"]), 411, "expected the header content-length"),
    ],
    ids=range(11),
)
def test_a_bad_body_is_answered_in_words(app, content, status, fault):
    headers = {"content-type": "application/json"}
    answer = app.post("/predict", content=content, headers=headers)
    assert answer.status_code == status
    assert fault in answer.json()["faults"][0]["fault"]


@needs_server
def test_the_application_gives_the_exported_programs_answer(app):
    assert app.get("/health").json()["status"] == "ready"
    question = {"id": "a1", "text": "B", "audio": sound(0.01, times=400)}
    answer = app.post("/predict", json=question).json()
    logits = Tiny()(torch.tensor([spell("b")]), torch.full((1, 400), 0.01), torch.tensor([400]))
    best, digit = logits.softmax(1).max(1)
    assert answer["id"] == "a1" and answer["present"] == ["text", "audio"]
    assert answer["digit"] == digit.item() and answer["word"] == model_file.WORDS[digit]
    assert 0.1 < answer["probability"] < 0.99
    assert answer["probability"] == pytest.approx(best.item())


@needs_server
def test_what_cannot_be_seen_at_the_door_is_answered(app):
    heard = [math.sin(0.3 * i) for i in range(2_000)]
    for wrong in (heard + 6_000 * [0.0], [x for x in heard for _ in range(2)], heard[::-1]):
        answer = app.post("/predict", json={"id": "a", "text": "two", "audio": sound(*wrong)})
        assert answer.status_code == 200


def closed(address):
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as trying:
        return trying.connect_ex((host, int(port))) != 0


@needs_server
@pytest.mark.slow
@torch.no_grad()
def test_many_clients_lose_nothing_and_get_their_own_answers(model, file):
    client = load(PAGE, "client")
    letters, sounds, samples = questions(60)
    asked = []
    for i in range(60):
        text = "".join(chr(96 + letter) for letter in letters[i].tolist() if letter)
        heard = client.encoded(sounds[i, : samples[i]]) if samples[i] else None
        asked.append({"id": f"q{i}", "text": text or None, "audio": heard})
    expected = model(letters, sounds, samples).softmax(1)
    with client.serving(file, say=lambda line: None) as address:
        assert not closed(address)
        wrong = client.ask(address, {"id": "a", "text": "4"})
        assert wrong["status"] == 422 and wrong["faults"][0]["field"] == "text"
        given = client.load(address, asked, clients=12)
    assert closed(address)
    assert given["lost"] == [] and set(given["answers"]) == {each["id"] for each in asked}
    assert 0 < given["p50"] <= given["p99"] and given["per_second"] > 0
    best = expected.max(1).values
    # else answers could change places unseen
    assert len({round(share, 4) for share in best.tolist()}) > 30
    for i, each in enumerate(asked):
        answer = given["answers"][each["id"]]
        assert answer["digit"] == expected[i].argmax()
        assert answer["probability"] == pytest.approx(best[i].item(), abs=1e-5)


@needs_server
@pytest.mark.slow
def test_a_server_is_stopped_whatever_happens(file, tmp_path):
    client = load(PAGE, "client")
    with contextlib.suppress(ZeroDivisionError), client.serving(file, say=print) as address:
        1 / 0  # noqa: B018
    assert closed(address)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="the server ended: .*no_model"):
        with client.serving(tmp_path / "no_model.pt2", say=lambda line: None):
            pass
    with pytest.raises(TimeoutError, match="not ready after 0 s"):
        with client.serving(file, seconds=0.2, say=lambda line: None):
            pass
    assert threading.active_count() == before


@needs_server
@pytest.mark.slow
def test_the_server_needs_nothing_of_the_course(file, tmp_path):
    server = room(PAGE, "server.py")
    (tmp_path / "server.py").write_bytes(server.read_bytes())
    code = f"import sys; from server import make_app, Path; make_app(Path({str(file)!r}));"
    code += "print([name for name in sys.modules if name.startswith('course_utils')])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


# ---- several processes ----


STEPS = ("--steps", "12", "--batch", "30")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data.pt to train on."""
    made = tmp_path_factory.mktemp("page34")
    generator = seed_everything(0)
    text, image = (torch.randn(210, width, generator=generator) for width in (7, 5))
    label = (text[:, 0] > image[:, 0]).long()
    torch.save({"text": text, "image": image, "label": label}, made / "data.pt")
    return made


def alone(folder, *options):
    """The weights after training in this process."""
    ddp, weights = load(PAGE, "ddp"), folder / "alone.pt"
    ddp.train(ddp.asked([str(folder / "data.pt"), str(weights), *STEPS, *options]), 0, 1)
    return torch.load(weights, weights_only=True)


def together(folder, name, *options, **keywords):
    """The weights after training by torchrun in two processes, and what they print."""
    given = [folder / "data.pt", folder / f"{name}.pt", *STEPS, *options]
    lines = load(PAGE, "processes").torchrun(
        room(PAGE, "ddp.py"), *given, say=lambda line: None, **keywords
    )
    return torch.load(folder / f"{name}.pt", weights_only=True), lines


def furthest(weights, others):
    return max((weights[name] - others[name]).abs().max().item() for name in weights)


def test_one_process_resumes_where_it_was(folder, monkeypatch):
    ddp = load(PAGE, "ddp")
    whole = alone(folder)
    assert furthest(whole, alone(folder, "--seed", "1")) > 0.1
    monkeypatch.setattr(ddp.os, "kill", lambda pid, signal: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        alone(folder, "--kill-at", "8", "--every", "5")
    saved = torch.load(folder / "alone.checkpoint", weights_only=True)
    assert saved["step"] == 5 and furthest(saved["model"], whole) > 0.001
    assert furthest(alone(folder), whole) == 0
    assert not (folder / "alone.checkpoint").exists()
    with pytest.raises(ValueError, match="30 rows do not part evenly into 4 processes"):
        ddp.train(ddp.asked(["data.pt", "weights.pt", *STEPS]), 0, 4)


@pytest.mark.slow
def test_two_processes_train_as_one_and_survive_a_death(folder):
    one = alone(folder)
    both, lines = together(folder, "both")
    assert lines == ["12 steps in 2 processes"]
    assert 0 < furthest(one, both) < 1e-12  # other sums, so not the last bit
    after, lines = together(folder, "after", "--kill-at", 8, "--every", 5, restarts=3)
    assert lines[0] == "resumed at step 5" and lines[-1].endswith("steps in 2 processes")
    assert furthest(after, both) == 0
    assert {path.suffix for path in folder.iterdir()} == {".pt"}  # no checkpoint, no part


def test_a_new_life_does_not_see_the_addresses_of_the_dead(monkeypatch):
    ddp, kept, stores = load(PAGE, "ddp"), torch.distributed.HashStore(), []
    monkeypatch.setattr(ddp.distributed, "rendezvous", lambda where: iter([(kept, 1, 2)]))
    monkeypatch.setattr(
        ddp.distributed,
        "init_process_group",
        lambda kind, store, rank, world_size: stores.append((store, kind, rank, world_size)),
    )
    for life in "001":
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", life)
        ddp.join()
    assert [one[1:] for one in stores] == [("gloo", 1, 2)] * 3
    stores[0][0].set("address", "of rank 0")
    assert stores[1][0].check(["address"]) and not stores[2][0].check(["address"])


@pytest.mark.slow
def test_a_process_that_dies_without_a_restart_is_told(folder):
    with pytest.raises(RuntimeError, match="exitcode  : -9"):
        together(folder, "dead", "--kill-at", 3)


@pytest.mark.slow
def test_processes_that_hang_are_ended(tmp_path, monkeypatch):
    script = tmp_path / "hangs.py"
    script.write_text(
        "import os, time\n"
        "with open(os.environ['RANK'] + '.pid', 'w') as file:\n"
        "    file.write(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    monkeypatch.chdir(tmp_path)
    lines = []
    with pytest.raises(TimeoutError, match="not done after 15 s"):
        load(PAGE, "processes").torchrun(script, seconds=15, say=lines.append)
    assert lines[0] == "2 processes at work: 5 of at most 15 s"
    pids = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_every_process_has_its_part_of_the_same_batch():
    ddp = load(PAGE, "ddp")
    seen = [ddp.rows_of(step, 210, 30, 0) for step in range(7)]
    assert sorted(torch.cat(seen).tolist()) == list(range(210))
    assert not torch.equal(ddp.rows_of(7, 210, 30, 0), seen[0])  # another epoch, another order
    torch.testing.assert_close(ddp.rows_of(3, 210, 30, 0), seen[3])


def test_a_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch):
    ddp, file = load(PAGE, "ddp"), tmp_path / "state.pt"
    ddp.save({"step": 1}, file)

    def dies(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        ddp.save({"step": 2}, file)
    assert torch.load(file, weights_only=True) == {"step": 1}


# ---- int8 ----


def test_int8_by_hand():
    weight = torch.tensor([[1.0, -0.4, 0.0], [0.0, 0.0, 0.0], [-254.0, 2.0, 4.2]])
    numbers, scale = int8.quantized(weight)
    assert numbers.dtype == torch.int8
    assert numbers.tolist() == [[127, -51, 0], [0, 0, 0], [-127, 1, 2]]
    torch.testing.assert_close(scale, torch.tensor([[1 / 127], [1.0], [2.0]]))


@pytest.mark.parametrize("bias", [True, False])
def test_an_int8_layer_is_the_layer_with_rounded_weights(bias):
    seed_everything(0)
    layer, x = nn.Linear(30, 7, bias=bias), torch.randn(4, 5, 30)
    quantized = int8.in_int8(layer)
    numbers, scale = int8.quantized(layer.weight.detach())
    rounded = numbers * scale
    assert ((rounded - layer.weight).abs() <= scale / 2 + 1e-7).all()
    expected = nn.functional.linear(x, rounded, layer.bias)
    torch.testing.assert_close(quantized(x), expected)
    off = (quantized(x) - layer(x)).abs().max()
    assert 0 < off < 0.05
    assert not list(quantized.parameters()) and quantized.numbers.dtype == torch.int8


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 2}, {"bias": False, "groups": 2}])
def test_an_int8_convolution_is_the_convolution_with_rounded_weights(options):
    seed_everything(0)
    layer, x = nn.Conv1d(6, 4, 5, **options), torch.randn(2, 6, 20)
    small = int8.in_int8(nn.Sequential(layer))[0]
    rounded = nn.Conv1d(6, 4, 5, **options)
    rounded.load_state_dict(layer.state_dict())
    numbers, scale = int8.quantized(layer.weight.detach().flatten(1))
    rounded.weight.data = (numbers * scale).view_as(layer.weight)
    torch.testing.assert_close(small(x), rounded(x).detach())
    assert small.numbers.shape == layer.weight.shape and (small(x) != layer(x)).any()


def test_a_model_in_int8_is_a_copy_with_fewer_bytes(model):
    kinds = (nn.Linear, nn.Conv1d)
    small, only_linear = int8.in_int8(model), int8.in_int8(model, (nn.Linear,))
    layers = [part for part in model.modules() if isinstance(part, kinds)]
    assert len(layers) == 7 and not any(isinstance(part, kinds) for part in small.modules())
    assert sum(isinstance(part, nn.Conv1d) for part in only_linear.modules()) == 4
    saved = sum(3 * part.weight.numel() - 4 * len(part.weight) for part in layers)
    assert int8.size(model) - int8.size(small) == saved
    tied = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    tied[1].weight = tied[0].weight
    assert int8.size(tied) == 4 * (64 + 16)
    with torch.no_grad():
        off = small(*questions(8)) - model(*questions(8))
    assert 0 < off.abs().max() < 0.5
    small.load_state_dict(small.state_dict())


def test_int8_is_torchaos(model):
    quantization = pytest.importorskip(
        "torchao.quantization",
        reason="torchao is not here, because transformers would import it and warn on every page;"
        " pip install --no-deps --target FOLDER torchao, then PYTHONPATH=FOLDER",
    )
    seed_everything(0)
    layers = nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))
    x = torch.randn(6, 48)
    ours = int8.in_int8(layers, top=127.5)
    quantization.quantize_(layers, quantization.Int8WeightOnlyConfig())
    for mine, theirs in zip(ours[::2], layers[::2]):
        assert torch.equal(mine.numbers, theirs.weight.qdata)
        torch.testing.assert_close(mine.scale, theirs.weight.scale[:, 0])
    torch.testing.assert_close(layers(x), ours(x), atol=1e-5, rtol=1e-5)


# ---- the reader's own code ----


def by_mask(cheap, full, threshold):
    on = cheap.softmax(1).amax(1) < threshold
    logits = cheap.clone()
    if on.any():
        logits[on] = full(on)
    return logits.argmax(1), on


def by_sorting(confidence, thresholds, cheap, full):
    below = torch.searchsorted(confidence.sort().values, thresholds)
    return cheap + full * below.to(confidence.dtype) / len(confidence)


@pytest.mark.parametrize("key, answer", [("34.1", by_mask), ("34.2", by_sorting)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_the_whole_model_runs_for_no_row_that_leaves():
    asked = []

    def full(rows):
        asked.extend(rows.tolist())
        return torch.eye(3)[[0] * len(rows)]

    cheap = torch.tensor([[9.0, 0, 0], [0, 0.1, 0], [0, 0, 9.0], [0.2, 0.1, 0]])
    labels, on = reference("34.1")(cheap, full, 0.8)
    assert asked == [1, 3] and labels.tolist() == [0, 0, 2, 0]
    assert on.tolist() == [False, True, False, True]


# ---- what stands in its cells ----

cell = partial(the_cell, PAGE)


def test_zeros_take_their_bytes(capsys):
    seed_everything(0)
    names = {"copy": copy, "nn": nn, "prune": prune, "load": load, "weigh": int8.size}
    names["whole"] = model_file.Model(mel_filters(), width=16)
    fault = cell("prune.global_unstructured")
    assert printed(capsys, fault, dict(names)) == "False"
    assert printed(capsys, cell("small = load", "in_int8(whole)", "smaller"), dict(names)) == "True"
    halved = fault.replace("amount=0.9)", "amount=0.9)\nsmall.half()")
    assert printed(capsys, halved, dict(names)) == "True"


def test_padding_that_counts_as_sound_is_seen_by_known_samples(capsys):
    samples = torch.arange(300, 552)
    test = {"samples": samples, "label": samples % 10, "letters": torch.zeros(252, 12).long()}
    test["sound"] = torch.zeros(252, 8000)

    def counts(letters, sound, samples):
        return nn.functional.one_hot(samples % 10, 10).float()

    def does_not(letters, sound, samples):
        return counts(letters, sound, next(rest))

    names = {"torch": torch, "test": test}
    fault, mended = cell("torch.full_like(test"), cell('sent = test["samples"]')
    assert printed(capsys, fault, names | {"again": counts}) == "False"
    assert printed(capsys, mended, names | {"again": counts}) == "True"
    rest = iter(samples.split(63))
    assert printed(capsys, fault, names | {"again": does_not}) == "True"


def test_the_small_costs_in_words():
    sure, thresholds = torch.tensor([1.0, 0.9, 0.7, 0.5]), torch.tensor([0.0, 0.8, 1.01])
    assert reference("34.2")(sure, thresholds, 1, 20).tolist() == [1, 11, 21]
    assert "$1 + 0.5 \\cdot 20 = 11$" in said(PAGE) and "Who says 10.5 forgets" in said(PAGE)


def test_parts_that_are_equal_give_the_same_gradient(capsys):
    names = {"torch": torch, "nn": nn, "F": nn.functional, "verify": lambda *both: None}
    names["seed_everything"] = seed_everything
    exec(cell("def gradient"), names)
    assert capsys.readouterr().out == "[4, 4] the same: True\n[5, 3] the same: False\n"


def test_a_median_leaves_out_the_first_calls():
    times = iter([0, 9, 10, 19, 20, 29, 30, 31, 40, 43, 50, 52])
    clock = load(PAGE, "timing").median_ms(lambda: None, times=3, clock=lambda: next(times))
    assert clock == 2000


def test_the_bets_classifier_takes_pictures_and_sounds():
    both = model_file.Look(mel_filters(), width=8).eval()
    sound, samples = questions(3)[1:]
    image = torch.rand(3, 1, 16, 16)
    given = both(image, sound, samples)
    assert given.shape == (3, 10)
    assert (both(1 - image, sound, samples) != given).any(1).all()
    assert (both(image, -2 * sound.flip(0), samples) != given).any(1).sum() >= 2


# ---- what the page says of its stored runs ----

RUNS, SPEED, WATCHED = (stored(PAGE, name) for name in ("models", "speed", "watched"))


@pytest.fixture(scope="module")
def text():
    return said(PAGE)


def share(name, what="accuracy", rows=RUNS):
    return 100 * mean_interval(rows[name][what])[0]


def both_sides(name, what="accuracy", rows=RUNS):
    return "{:.1f} ± {:.1f}".format(*mean_interval([100 * x for x in rows[name][what]]))


def apart(one, other, rows=RUNS):
    """The paired difference in words, and whether it is clear of 0."""
    middle, half = gain(rows[one]["accuracy"], rows[other]["accuracy"])
    return f"{middle:.1f} ± {half:.1f}", abs(middle) > half


def ms(name):
    return statistics.median(SPEED[name]["ms"])


def slower(what, size):
    name = f"batch {size}: {what}"
    return mean_interval([a / b for a, b in zip(SPEED[f"{name}, int8"]["ms"], SPEED[name]["ms"])])


def test_the_bet_in_numbers(text):
    small, many = slower("picture and sound", 1), slower("picture and sound", 32)
    assert "int8 takes {:.2f} ± {:.2f} times as long".format(*small) in text
    assert "no difference is seen ({:.2f} ± {:.2f})".format(*many) in text
    assert small[0] - small[1] > 1 and abs(many[0] - 1) < many[1]


def test_one_layer_in_numbers(text):
    wide = stored(PAGE, "layers")

    def times(width, one, other):
        both = zip(wide[f"{width}: {one}"]["ms"], wide[f"{width}: {other}"]["ms"])
        return mean_interval([a / b for a, b in both])

    for width in (512, 2048, 4096):
        middle, half = times(width, "int8, turned back", "float32")
        assert middle - half > 1.5
        for other in ("float32", "bfloat16"):
            middle, half = times(width, "int8 as it is", other)
            assert middle + half < 0.6
    large = times(4096, "int8, turned back", "float32")[0]
    assert f"at 4,096 x 4,096 it takes {large:.0f} times as long" in text
    assert 0.28 < times(2048, "int8 as it is", "float32")[0] < 0.38 and "a third of" in text
    assert 0.45 < times(2048, "int8 as it is", "bfloat16")[0] < 0.55 and "half of what" in text


def test_where_the_time_goes_in_numbers(text):
    first, many = (ms(f"batch {n}: frames") / ms(f"batch {n}: all") for n in (1, 32))
    assert f"takes {100 * first:.0f} % of the whole model's time at batch 1, and" in text
    assert f"and {100 * many:.0f} % at batch 32" in text
    assert ms("batch 32: all") / 32 < ms("batch 1: all") / 2
    assert ms("samples 1000") > ms("samples 8000") / 2
    assert 15 < ms("batch 1: all") / ms("batch 1: typed word") < 18 and "costs a sixteenth" in text


def test_early_exit_in_numbers(text):
    assert f"With {share('frozen, exit 0.8', 'on'):.1f} % of the rows going on" in text
    for name, words in (("0.8", "({} points)"), ("0.9", "at 0.9 ({})")):
        loss, clear = apart(f"frozen, exit {name}", "frozen")
        assert words.format(loss) in text and not clear
    word, both, at = (RUNS[name] for name in ("typed word", "frozen", "frozen, exit 0.8"))
    runs = zip(word["accuracy"], both["accuracy"], at["on"])
    middle, half = gain(at["accuracy"], [a + q * (b - a) for a, b, q in runs])
    assert f"by chance it would be {middle:.1f} ± {half:.1f} points worse" in text
    assert middle > half
    chosen = "chosen, 0 given away"
    assert apart(chosen, f"{chosen}, at random")[1]
    loss, clear = apart(chosen, "frozen")
    assert f"loses nothing clear ({loss} points), and {share(chosen, 'on'):.0f} % go on" in text
    assert not clear
    low, high = min(RUNS[chosen]["on"]), max(RUNS[chosen]["on"])
    # 37.7 and 76.6 %
    assert f"lies between {100 * low:.0f} and {100 * high:.0f} %" in text
    luck = gain(RUNS["chosen on test"]["accuracy"], RUNS["frozen"]["accuracy"])[0]
    assert f"looks {luck:.1f} points *better*" in text
    assert f"is a low bar: {share('logits, 0.9', 'on'):.0f} % go on" in text


def test_smaller_in_numbers(text):
    assert max(RUNS["frozen, int8 all"]["changed"]) == 1
    left = RUNS["frozen, int8 all"]["bytes"][0] / RUNS["frozen"]["bytes"][0]
    assert f"takes {100 * left:.0f} % of the bytes" in text
    loss, clear = apart("frozen", "pruned 0.5")
    assert f"Half pruned loses nothing clear ({loss} points)" in text and not clear
    assert not apart("pruned 0.8", "typed word")[1]
    assert RUNS["pruned 0.9"]["bytes"] == RUNS["frozen"]["bytes"] < RUNS["pruned 0.9"]["masked"]
    late = stored(PAGE, "distilled")
    words = f"has {both_sides('late, labels', rows=late)} % from labels alone and "
    assert words + both_sides("late, teacher's logits", rows=late) in text
    more, clear = apart("late, teacher's logits", "late, labels", late)
    assert f"logits: {more} points more" in text and clear
    other = "late, another row's logits"
    assert f"same digit it has {both_sides(other, rows=late)}:" in text
    assert apart("late, teacher's logits", other, late)[1]
    assert share(other, rows=late) < share("late, labels", rows=late)
    assert late["late, labels"]["weights"][0] == 8708


def test_wrong_inputs_in_numbers(text):
    padded = "fed: padding counted as sound"
    assert f"gives {share(padded):.0f} % right" in text
    assert f"mean confidence of {share(padded, 'sure'):.0f} %" in text
    assert f"from 0 leave {share('fed: letters from 0'):.0f} %" in text
    faster = share("fed: sound at 16 kHz")
    assert f"twice its rate {faster:.0f} %" in text
    loud = RUNS["fed: sound ten times as loud"]["accuracy"]
    assert loud == RUNS["fed: as in training"]["accuracy"] == RUNS["frozen"]["accuracy"]


def test_the_server_in_numbers(text):
    runs = stored(PAGE, "served")
    assert all(sum(row["lost"]) == 0 for row in runs.values())
    told = {
        name: {what: statistics.median(row[what]) for what in ("per_second", "p50", "p99")}
        for name, row in runs.items()
    }
    one, many, late = (
        told[name] for name in ("1 clients", "16 clients", "1 client, without the option")
    )
    assert f"({many['per_second']:.0f} and {one['per_second']:.0f})" in text
    assert f"{many['p50']:.0f} ms in place of {one['p50']:.0f}. To serve" in text
    assert 11.5 < many["p50"] / one["p50"] < 12.9 and many["p99"] > 3 * one["p99"]
    assert f"the median wait is {late['p50']:.0f} ms in place of {one['p50']:.0f}" in text
    pairs = zip(runs["1 client, without the option"]["p50"], runs["1 clients"]["p50"])
    assert all(slow - fast > 40 for slow, fast in pairs)


def test_processes_in_numbers(text):
    runs = stored(PAGE, "processes")
    assert max(runs["two"]["furthest"]) < 1e-15 and "the same weights, up to rounding;" in text
    assert max(runs["killed"]["furthest"]) == 0 and set(runs["killed"]["resumed"]) == {30}
    assert f"differ by up to {max(runs['same']['furthest']):.2f}" in text


def test_the_one_table_in_numbers(text):
    lead, clear = apart("LoRA", "frozen")
    assert f"(LoRA minus frozen {lead} points)" in text and not clear
    for one, other in (("LoRA", "all"), ("frozen", "all"), ("frozen", "from nothing")):
        assert not apart(one, other)[1]
    weights = RUNS["all"]["trained"][0] / RUNS["frozen"]["trained"][0]
    assert 5.8 < weights < 6.5 and "a sixth of the weights" in text
    loss, clear = apart("LoRA", "LoRA, exit 0.9")
    assert f"at 0.9 loses {loss} points against LoRA" in text and not clear
    edges, taken, tried = stored(PAGE, "edges"), 0, 0
    for kind in ("typed word", "frozen", "LoRA", "all", "from nothing", "sound"):
        chosen = {*RUNS[kind]["rate"]} - {edges[f"{kind}: the end"]["rate"][0]}
        assert chosen <= {5e-3, 1e-2}  # all others are inside of the grid
        pairs = zip(edges[f"{kind}: beyond"]["loss"], edges[f"{kind}: the end"]["loss"])
        better = [beyond < end for beyond, end in pairs]
        taken, tried = taken + sum(better), tried + len(better)
    assert f"took that step in one of {tried} runs" in text and taken == 1


def test_the_expected_costs_in_words(text):
    whole, cheap = ms("batch 1: all"), ms("batch 1: typed word")
    costs = {
        t: (cheap + share(f"frozen, exit {t}", "on") / 100 * whole) / whole for t in (0.8, 0.9)
    }
    assert 0.45 < costs[0.8] < 0.55 and 0.62 < costs[0.9] < 0.71
    assert "is half of the whole model's at 0.8, and two thirds at 0.9" in text


def test_the_simplest_model_stands_beside_the_table(text):
    missing = stored("32", "missing")["a model of its own"]["accuracy"]
    whole, sound = missing["text + audio"], missing["audio"]
    middle, half = mean_interval([100 * share for share in whole])
    assert (
        f"has {middle:.1f} ± {half:.1f} % on these splits (ten seeds)" in text and len(whole) == 10
    )
    more, half = gain(whole[:5], RUNS["frozen"]["accuracy"])
    assert f"the same five seeds {more:.1f} ± {half:.1f} more than the frozen encoder" in text
    assert more - half > 0 and "3,340 weights" in text and (78 + 256) * 10 == 3340
    assert f"the sound alone at {share('sound'):.1f} %" in text
    assert f"page 32's bands have {100 * sum(sound) / 10:.0f};" in text
    teacher = stored("34", "distilled")["teacher"]["accuracy"]
    assert f"which has {20 * sum(teacher):.1f} at its one learning rate" in text


def test_drift_in_numbers(text):
    def rings(world, size, kind):
        return share(f"{world}, {size}", kind, WATCHED)

    assert f"alarm in {rings('no drift', 30, 'psi'):.0f} % of the quiet windows of 30" in text
    assert rings("more slips (0.7)", 300, "psi") < 1
    lost = gain(
        WATCHED["no drift, seen"]["accuracy"], WATCHED["more slips (0.7), seen"]["accuracy"]
    )[0]
    assert f"a drift that costs {lost:.0f} points" in text
    assert all(rings("no drift", size, "ks") < 1.5 for size in (30, 100, 300))
    small = rings("more slips (0.7)", 300, "ks")
    assert f"even with 300 words in {small:.0f} % only" in text
    assert rings("more slips (0.7)", 100, "ks") < 30 < 50 < rings("more slips (0.7)", 300, "ks")
    assert rings("fewer slips (0.4)", 100, "ks") > rings("many slips (0.8)", 100, "ks")


def test_training_again_in_numbers(text):
    new = "{}: new and old, on new words", "{}: as it was, on new words"
    won, clear = apart(*(one.format("German words") for one in new), WATCHED)
    assert f"German gains {won} points" in text and clear
    won = apart(*(one.format("no vowels") for one in new), WATCHED)[0]
    assert f"words without vowels {won}:" in text
    old = "German words: as it was, on old words", "German words: new alone, on old words"
    lost, clear = apart(*old, WATCHED)
    assert f"*alone* lose {lost} points" in text and clear


def test_membership_in_numbers(text):
    heart, early, noisy = (
        f"members, {name}"
        for name in ("60 epochs", "6 epochs", "60 epochs, noise, dropout and decay")
    )
    shares = [share(name, "auc", WATCHED) / 100 for name in (heart, early, noisy)]
    assert "{:.2f} against {:.2f} after 6 epochs and {:.2f} with noise".format(*shares) in text
    assert all(gain(WATCHED[heart]["auc"], WATCHED[one]["auc"])[0] > 5 for one in (early, noisy))
    middle, half = mean_interval(WATCHED[noisy]["auc"])
    chance = 1.96 * math.sqrt((643 + 643 + 1) / (12 * 643 * 643))
    assert f"(0.50 ± {chance:.2f} in one run)" in text
    assert min(WATCHED[noisy]["auc"]) > 0.5 + chance
    assert middle - half > 0.5 and share(heart, "members", WATCHED) == 100
    assert not apart(noisy, heart, WATCHED)[1] and "costs nothing clear in accuracy" in text


def test_groups_in_numbers(text):
    wrong = {
        name: 100 * row["missed"][0] / row["asked"][0]
        for name, row in RUNS.items()
        if name.startswith("voice")
    }
    assert f"voice 53 has {wrong['voice 53']:.0f} % wrong and voice 52 has" in text
    assert f"voice 52 has {wrong['voice 52']:.0f}:" in text
    assert max(wrong, key=wrong.get) == "voice 53" and min(wrong, key=wrong.get) == "voice 52"
    gap = RUNS["gap of voices"]
    assert f"The gap is {100 * gap['gap'][0]:.0f} points" in text
    assert f"in {100 * gap['chance'][0]:.0f} % of the shufflings" in text
    assert sum(chance < 0.05 for chance in gap["chance"]) == 2
    asked = [RUNS[name]["asked"][0] for name in wrong]
    assert f"with {min(asked):.0f} to {max(asked):.0f} samples a voice" in text
    pooled = [
        100 * sum(sum(RUNS[n]["missed"]) for n in some) / sum(sum(RUNS[n]["asked"]) for n in some)
        for some in (["voice 53"], [name for name in wrong if name != "voice 53"])
    ]
    assert "voice 53 has {:.0f} % wrong, and the others {:.0f}.".format(*pooled) in text


def test_the_exported_program_of_the_table():
    rows = stored(PAGE, "exported")
    taken = [a / b for a, b in zip(rows["exported"]["ms"], rows["model"]["ms"])]
    mean, half = mean_interval(taken)
    assert f"it takes {mean:.2f} ± {half:.2f} times as long" in said(PAGE)
    assert max(rows["exported"]["furthest"]) == 0
    size = rows["exported"]["bytes"][0]
    assert f"its {size / 1000:.0f} kB hold the example's four sounds" in said(PAGE)
    # weights and what is fixed (kept in the sweep "models") with four sounds of a second at 8 kHz
    assert size > RUNS["frozen"]["bytes"][0] + 4 * 8_000 * 4
