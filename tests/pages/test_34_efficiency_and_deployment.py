"""What lies in page 34's room: the model and its export, the server, the processes, int8."""

import base64
import contextlib
import importlib.util
import math
import os
import socket
import struct
import subprocess
import sys
import threading

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from course_utils.audio import mel_filters
from course_utils.audio_encoder import load_audio_encoder
from course_utils.rooms import load, room
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
    return torch.load(weights)


def together(folder, name, *options, **keywords):
    """The weights after training by torchrun in two processes, and what they print."""
    given = [folder / "data.pt", folder / f"{name}.pt", *STEPS, *options]
    lines = load(PAGE, "processes").torchrun(
        room(PAGE, "ddp.py"), *given, say=lambda line: None, **keywords
    )
    return torch.load(folder / f"{name}.pt"), lines


def furthest(weights, others):
    return max((weights[name] - others[name]).abs().max().item() for name in weights)


def test_one_process_resumes_where_it_was(folder, monkeypatch):
    ddp = load(PAGE, "ddp")
    whole = alone(folder)
    assert furthest(whole, alone(folder, "--seed", "1")) > 0.1
    monkeypatch.setattr(ddp.os, "kill", lambda pid, signal: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        alone(folder, "--kill-at", "8", "--every", "5")
    saved = torch.load(folder / "alone.checkpoint")
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
    assert torch.load(file) == {"step": 1}


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
