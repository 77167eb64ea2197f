"""The stored comparisons of page 34: one task through all that makes it smaller or sooner; its
speed; the server; several processes; what is watched in use.
"""

import contextlib
import copy
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune
from tqdm import tqdm

from course_utils.audio import mel_filters
from course_utils.rooms import load, room
from course_utils.runtime import seed_everything

SEEDS = range(5)
KINDS = ("typed word", "frozen", "LoRA", "all", "from nothing")
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)
PRUNED = (0.3, 0.5, 0.7, 0.8, 0.9)
BEYOND = {  # an end of the rates that was chosen for some seed, and the rate one step beyond it
    "typed word": (3e-3, 1e-3),
    "frozen": (3e-2, 1e-1),
    "LoRA": (1e-2, 2e-2),
    "all": (1e-2, 3e-2),
    "from nothing": (3e-3, 1e-3),
    "sound": (3e-2, 1e-1),
}


def note(rows, name, accuracy=None, **values):
    """Values of one seed; shares of what is right stand in "accuracy"."""
    row = rows.setdefault(name, {"accuracy": {}})
    if accuracy is not None:
        row["accuracy"] = [*row["accuracy"], round(float(accuracy), 4)]
    for key, value in values.items():
        row.setdefault(key, []).append(round(float(value), 6))


def right(logits, part):
    return (logits.argmax(1) == part["label"]).double().mean().item()


def exits(cheap, full, label, threshold):
    """(share right, share that goes on) of logits (N, 10) of both models."""
    sure, first = cheap.softmax(1).max(1)
    on = sure < threshold
    return (torch.where(on, full.argmax(1), first) == label).double().mean(), on.double().mean()


# ---- one task ----


def wordless(part):
    return part | {"letters": torch.zeros_like(part["letters"])}


def models(page):
    """One task: what is trained, early exit, int8, pruning, wrong inputs, errors by voice.

    About four minutes and a half on one core.
    """
    rows, int8 = {}, load("34", "int8")
    for seed in tqdm(SEEDS):
        train, held, test = (page["digits"](name, seed) for name in ("train", "validation", "test"))
        found = {}
        for kind in KINDS:
            begin = time.process_time()
            tried = {}
            rates = page["RATES"].get(kind, (3e-3, 1e-2, 3e-2))
            for rate in rates:
                tried[rate] = page["fit"](kind, train, held, seed, rate)
            rate = min(tried, key=lambda one: tried[one][1])
            seconds = (time.process_time() - begin) / len(rates)
            model = tried[rate][0]
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            if kind == "LoRA":  # merged, as it is used
                for layer in model.heard.layers:
                    parametrize.remove_parametrizations(layer, "weight")
            with torch.no_grad():
                z, v = page["logits"](model, test), page["logits"](model, held)
            found[kind] = model, z, v
            size = int8.size(model)
            note(rows, kind, right(z, test), validation=right(v, held), rate=rate)
            note(rows, kind, trained=trained, bytes=size, seconds=seconds)
        tried = {
            rate: page["fit"]("frozen", wordless(train), wordless(held), seed, rate, alone=True)
            for rate in (3e-3, 1e-2, 3e-2)
        }
        rate = min(tried, key=lambda one: tried[one][1])
        with torch.no_grad():
            z = page["logits"](tried[rate][0], wordless(test))
        note(rows, "sound", right(z, test), rate=rate)
        with torch.no_grad():
            early(rows, found, held, test, seed)
            smaller(rows, page, found, test)
            wrong_inputs(rows, found["frozen"][0], test)
        answers = found["frozen"][1].argmax(1)
        for voice in test["voice"].unique().tolist():
            spoken = test["voice"] == voice
            missed = (answers[spoken] != test["label"][spoken]).sum().item()
            note(rows, f"voice {voice}", 1 - missed / spoken.sum().item(), missed=missed)
            note(rows, f"voice {voice}", asked=spoken.sum().item())
        sizes = [(test["voice"] == voice) for voice in test["voice"].unique()]
        wrong = (answers != test["label"]).double()
        draw, gaps = torch.Generator().manual_seed(seed), []
        for k in range(301):
            order = wrong if k == 0 else wrong[torch.randperm(len(wrong), generator=draw)]
            shares = [order[one].mean().item() for one in sizes]
            gaps.append(max(shares) - min(shares))
        chance = sum(gap >= gaps[0] for gap in gaps[1:]) / 300
        note(rows, "gap of voices", gap=gaps[0], chance=chance, usual=statistics.median(gaps[1:]))
    return rows


def early(rows, found, held, test, seed):
    """Early exit at fixed thresholds, at chosen ones, and what else skips as many."""
    cheap, cheap_v = found["typed word"][1:]
    for kind in ("frozen", "LoRA"):
        full, full_v = found[kind][1:]
        for threshold in THRESHOLDS:
            share, on = exits(cheap, full, test["label"], threshold)
            note(rows, f"{kind}, exit {threshold:g}", share, on=on)
    full, full_v = found["frozen"][1:]
    grid = torch.linspace(0, 1.005, 202).tolist()
    aim = right(full_v, held)
    for lose in (0.0, 0.01, 0.02):
        chosen = min(t for t in grid if exits(cheap_v, full_v, held["label"], t)[0] >= aim - lose)
        share, on = exits(cheap, full, test["label"], chosen)
        before = exits(cheap_v, full_v, held["label"], chosen)[0]
        name = f"chosen, {100 * lose:g} given away"
        note(rows, name, share, on=on, threshold=chosen, validation=before)
        # as many rows at random: the expectation over all draws
        note(rows, f"{name}, at random", on * right(full, test) + (1 - on) * right(cheap, test))
    best = max(grid, key=lambda t: exits(cheap, full, test["label"], t)[0])
    share, on = exits(cheap, full, test["label"], best)
    note(rows, "chosen on test", share, on=on, threshold=best)
    on = cheap.max(1).values < 0.9
    answers = torch.where(on, full.argmax(1), cheap.argmax(1))
    note(rows, "logits, 0.9", (answers == test["label"]).double().mean(), on=on.double().mean())


def edges(page):
    """Rates one step beyond the grid of `models`, where its end was chosen, against that end.

    About three minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        train, held, test = (page["digits"](name, seed) for name in ("train", "validation", "test"))
        for kind, rates in BEYOND.items():
            alone = kind == "sound"
            parts = [wordless(one) if alone else one for one in (train, held, test)]
            for name, rate in zip(("the end", "beyond"), rates):
                made = "frozen" if alone else kind
                model, loss = page["fit"](made, *parts[:2], seed, rate, alone=alone)
                with torch.no_grad():
                    share = right(page["logits"](model, parts[2]), test)
                note(rows, f"{kind}: {name}", share, rate=rate, loss=loss)
    return rows


def layers_of(model):
    return [part for part in model.modules() if isinstance(part, (nn.Linear, nn.Conv1d))]


def smaller(rows, page, found, test):
    """int8 and pruning of the models with a frozen encoder and with LoRA."""
    int8 = load("34", "int8")
    for kind in ("frozen", "LoRA"):
        model, z = found[kind][:2]
        for name, kinds in (("Linear", (nn.Linear,)), ("all", (nn.Linear, nn.Conv1d))):
            small = int8.in_int8(model, kinds)
            y = page["logits"](small, test)
            changed = (y.argmax(1) != z.argmax(1)).sum()
            note(rows, f"{kind}, int8 {name}", right(y, test), changed=changed)
            note(rows, f"{kind}, int8 {name}", bytes=int8.size(small))
    model = found["frozen"][0]
    for share in PRUNED:
        cut = copy.deepcopy(model)
        weights = [(layer, "weight") for layer in layers_of(cut)]
        prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=share)
        masked = int8.size(cut)
        for layer, name in weights:
            prune.remove(layer, name)
        y = page["logits"](cut, test)
        note(rows, f"pruned {share:g}", right(y, test), masked=masked, bytes=int8.size(cut))


def wrong_inputs(rows, model, test):
    """The same model, fed otherwise than in training: no error comes."""
    letters, sound, samples = test["letters"], test["sound"], test["samples"]
    faster = F.interpolate(sound[:, None], scale_factor=2)[:, 0, : sound.shape[1]]
    ways = {
        "as in training": (letters, sound, samples),
        "padding counted as sound": (letters, sound, torch.full_like(samples, sound.shape[1])),
        "letters from 0": ((letters - 1).clamp(min=0), sound, samples),
        "another row's sound": (letters, sound.roll(1, 0), samples.roll(1, 0)),
        "sound at 16 kHz": (letters, faster, (2 * samples).clamp(max=sound.shape[1])),
        "sound ten times as loud": (letters, 10 * sound, samples),
        "sound left out, and said so": (letters, sound, torch.zeros_like(samples)),
    }
    for name, inputs in ways.items():
        z = torch.cat([model(*few) for few in zip(*(one.split(64) for one in inputs))])
        note(rows, f"fed: {name}", right(z, test), sure=z.softmax(1).max(1).values.mean())


def distilled(page):
    """Late fusion of 16 numbers each: from labels alone; with the page's model as teacher; and with
    what the teacher says of another row of the same digit, so that only how digits look alike is
    told, and nothing of the row.

    About four minutes on one core.
    """
    files, rows = load("34", "model"), {}

    class Late(nn.Module):
        def __init__(self, width=16):
            super().__init__()
            self.typed, self.heard = files.Typed(width), files.Heard(width)
            self.word, self.sound = nn.Linear(width, 10), nn.Linear(width, 10)

        def forward(self, part):
            heard = self.heard(part["frames"], part["heard"])
            return (self.word(self.typed(part["letters"])) + self.sound(heard)) / 2

    for seed in tqdm(SEEDS):
        train, held, test = (page["digits"](name, seed) for name in ("train", "validation", "test"))
        teacher = page["fit"]("LoRA", train, held, seed, 5e-3)[0]
        with torch.no_grad():
            taught = page["logits"](teacher, train)
            note(rows, "teacher", right(page["logits"](teacher, test), test))
        mixed = torch.Generator().manual_seed(seed)
        other = torch.empty_like(train["label"])
        for digit in range(10):
            same = (train["label"] == digit).nonzero()[:, 0]
            other[same] = same[torch.randperm(len(same), generator=mixed)]
        for name in ("labels", "teacher's logits", "another row's logits"):
            told = taught[other] if name == "another row's logits" else taught
            best = (np.inf, None)
            for rate in (5e-3, 1e-2):
                seed_everything(seed)
                model, draw = Late(), torch.Generator().manual_seed(seed)
                optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
                schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=30 * 21)
                for _ in range(30):
                    for r in torch.randperm(len(train["label"]), generator=draw).split(64):
                        few = {key: train[key][r] for key in ("letters", "frames", "heard")}
                        z = model(few)
                        loss = F.cross_entropy(z, train["label"][r])
                        if name != "labels":  # the softened answers of the teacher
                            soft = F.kl_div(
                                (z / 2).log_softmax(1),
                                (told[r] / 2).log_softmax(1),
                                log_target=True,
                                reduction="batchmean",
                            )
                            loss = loss / 2 + 2 * soft
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                        schedule.step()
                    with torch.no_grad():
                        left = F.cross_entropy(model(held), held["label"]).item()
                        if left < best[0]:
                            best = left, right(model(test), test), rate
            weights = sum(p.numel() for p in model.parameters())
            note(rows, f"late, {name}", best[1], rate=best[2], weights=weights)
    return rows


# ---- speed ----


def speed(page):
    """Computing time in one thread, by batch and length, of the model and of what is to be quicker;
    weights do not matter for it, so they are untrained. Five runs.

    About a minute and a half on one core.
    """
    files, int8, rows = load("34", "model"), load("34", "int8"), {}
    part = page["digits"]("validation", 0)
    cheap, model = page["make"]("typed word", 0).eval(), page["make"]("frozen", 0).eval()
    small = int8.in_int8(model)
    both = files.Look(mel_filters()).eval()
    median_ms = partial(load("34", "timing").median_ms, clock=time.process_time)
    both_small = int8.in_int8(both)
    cut = copy.deepcopy(model)
    weights = [(each, "weight") for each in layers_of(cut)]
    prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=0.9)
    for each in weights:
        prune.remove(*each)
    for run in tqdm([-1, *SEEDS]):  # the first one is not noted
        with torch.inference_mode():
            for size in (1, 8, 32, 128):
                times = 60 if size == 1 else 15
                x = [part[name][:size].clone() for name in ("letters", "sound", "samples")]
                image = torch.rand(size, 1, 16, 16)
                calls = {
                    "typed word": partial(cheap, x[0]),
                    "frames": partial(model.log_mel, *x[1:]),
                    "all": partial(model, *x),
                    "int8": partial(small, *x),
                    "pruned 0.9": partial(cut, *x),
                    "picture and sound": partial(both, image, *x[1:]),
                    "picture and sound, int8": partial(both_small, image, *x[1:]),
                }
                for name, call in calls.items():
                    taken = median_ms(call, times)
                    if run >= 0:
                        note(rows, f"batch {size}: {name}", ms=taken)
            for length in (1_000, 2_000, 4_000, 8_000):
                x = [part["letters"][:1], part["sound"][:1, :length]]
                x.append(torch.tensor([length]))
                taken = median_ms(partial(model, *x), 60)
                if run >= 0:
                    note(rows, f"samples {length}", ms=taken)
    return rows


def exported(page):
    """The model with the encoder as `torch.export` writes it, beside the model itself: computing
    time of one row in one thread, the file's bytes, how far apart a logit is at most over the
    validation rows. Five untrained models: time and size do not ask for the weights. The file holds
    the four rows of the example as well.

    About half a minute on one core.
    """
    rows, dynamic = {}, {0: torch.export.Dim.DYNAMIC}
    median_ms = partial(load("34", "timing").median_ms, clock=time.process_time)
    for seed in tqdm(SEEDS):
        part, model = page["digits"]("validation", seed), page["make"]("frozen", seed).eval()
        x = tuple(part[name] for name in ("letters", "sound", "samples"))
        example = tuple(each[:4].clone() for each in x)
        program = torch.export.export(model, example, dynamic_shapes=(dynamic,) * 3)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.pt2"
            torch.export.save(program, file)
            size, again = file.stat().st_size, torch.export.load(file).module()
        one = [each[:1].clone() for each in x]
        with torch.inference_mode():
            off = (again(*x) - model(*x)).abs().max().item()
            again(*one)  # the first call is slower
            taken = [median_ms(partial(each, *one), 200) for each in (again, model)]
            note(rows, "exported", ms=taken[0], bytes=size, furthest=off)
            note(rows, "model", ms=taken[1])
    return rows


def layers(page):
    """One linear layer, one row: float32; int8 turned into float32 at each call; and PyTorch's own
    routine that multiplies the bytes as they are, in bfloat16, beside bfloat16 itself. Computing
    time in one thread, five runs.

    About half a minute on one core.
    """
    int8, rows = load("34", "int8"), {}
    median_ms = partial(load("34", "timing").median_ms, clock=time.process_time)
    for width in (512, 2048, 4096):
        torch.manual_seed(0)
        layer, x = nn.Linear(width, width, bias=False), torch.randn(1, width)
        small, half, y = int8.in_int8(layer), copy.deepcopy(layer).bfloat16(), x.bfloat16()
        scale = small.scale.bfloat16()
        calls = {
            "float32": partial(layer, x),
            "int8, turned back": partial(small, x),
            "bfloat16": partial(half, y),
            "int8 as it is": partial(torch._weight_int8pack_mm, y, small.numbers, scale),
        }
        with torch.inference_mode():
            given = [call().float() for call in calls.values()]
            assert all((one - given[0]).abs().max() < 0.05 for one in given)
            for _ in tqdm(SEEDS):
                for name, call in calls.items():
                    note(rows, f"{width}: {name}", ms=median_ms(call, 15))
    return rows


# ---- out of the notebook ----


def questions(page, part, count):
    """Requests, every third with the word alone, and what is right."""
    client, asked = load("34", "client"), []
    for i in range(count):
        k = i % len(part["label"])
        word = "".join(chr(96 + letter) for letter in part["letters"][k].tolist() if letter)
        sound = client.encoded(part["sound"][k, : part["samples"][k]])
        asked.append(
            {"id": f"q{i}", "text": word or None, "audio": sound if i % 3 or not word else None}
        )
    return asked


def served(page):
    """The server asked by 1, 4 and 16 clients, and without the socket's option; five starts.

    About two minutes and a half, on two cores. Needs the extra `deploy`.
    """
    client, rows = load("34", "client"), {}
    part = page["digits"]("validation", 0)
    model = page["make"]("frozen", 0).eval()
    x = tuple(part[name][:4] for name in ("letters", "sound", "samples"))
    dynamic = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(model, x, dynamic_shapes=(dynamic,) * 3)
    asked = questions(page, part, 400)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pt2"
        torch.export.save(program, file)
        slow = Path(folder) / "slow.py"
        code = room("34", "server.py").read_text(encoding="utf-8")
        slow.write_text(code.replace(", socket.IPPROTO_TCP", ""), encoding="utf-8")
        for _ in tqdm(SEEDS):
            with client.serving(file) as address:
                client.load(address, asked[:50], clients=4)  # warm
                for clients in (1, 4, 16):
                    given = client.load(address, asked, clients=clients)
                    numbers = {name: given[name] for name in ("per_second", "p50", "p99")}
                    note(rows, f"{clients} clients", **numbers, lost=len(given["lost"]))
            usual, client.SERVER = client.SERVER, slow
            with contextlib.ExitStack() as stack:
                stack.callback(setattr, client, "SERVER", usual)
                address = stack.enter_context(client.serving(file))
                given = client.load(address, asked[:100], clients=1)
                numbers = {name: given[name] for name in ("per_second", "p50", "p99")}
                note(rows, "1 client, without the option", **numbers, lost=len(given["lost"]))
    return rows


def furthest(one, other):
    return max((one[name] - other[name]).abs().max().item() for name in one)


def processes(page):
    """One process, two, and two of which one is killed: how far their weights are apart.

    About three minutes on two cores.
    """
    ddp, run, rows = load("34", "ddp"), load("34", "processes").torchrun, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in tqdm(SEEDS):
            part = page["digits"]("train", seed)
            text = F.one_hot(part["letters"], 27)[..., 1:].sum(1).float()
            sound = F.adaptive_avg_pool1d(part["frames"].transpose(1, 2), 8).flatten(1)
            data = {"text": text, "image": sound, "label": part["label"]}
            torch.save(data, folder / "data.pt")

            def options(weights, seed=seed):
                return [folder / "data.pt", folder / weights, "--seed", seed]

            ddp.train(ddp.asked([str(one) for one in options("one.pt")]), 0, 1)
            script = room("34", "ddp.py")
            begin = time.perf_counter()
            run(script, *options("two.pt"))
            seconds = time.perf_counter() - begin
            lines = run(script, *options("killed.pt"), "--kill-at", 35, restarts=3)

            def at(name):
                return torch.load(folder / f"{name}.pt", weights_only=True)

            one, two, killed = (at(x) for x in ("one", "two", "killed"))
            same = folder / "same.py"
            code = script.read_text(encoding="utf-8")
            code = code.replace("[rank::world]", "[: options.batch // world]")
            same.write_text(code, encoding="utf-8")
            run(same, *options("same.pt"))
            row = {"two": furthest(one, two), "killed": furthest(two, killed)}
            row["same"] = furthest(one, at("same"))
            resumed = int(lines[0].split()[-1])
            for key, value in row.items():
                rows.setdefault(key, {"accuracy": {}, "furthest": []})["furthest"].append(value)
            note(rows, "two", seconds=seconds)
            note(rows, "killed", resumed=resumed)
    return rows


# ---- in use ----

GERMAN = "null eins zwei drei vier fuenf sechs sieben acht neun".split()


def watched(page):
    """Membership by the loss; alarms for drift; old and new data for training again.

    About three minutes on one core.
    """
    from scipy.stats import ks_2samp
    from sklearn.metrics import roc_auc_score

    rows = {}
    for seed in tqdm(SEEDS):
        part = page["digits"]("train", seed)
        x = torch.cat(
            [
                F.one_hot(part["letters"], 27)[..., 1:].float().sum(1),
                F.adaptive_avg_pool1d(
                    torch.where(part["heard"][..., None], part["frames"], 0.0).transpose(1, 2), 8
                ).flatten(1),
            ],
            1,
        )
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        inside, outside = order[:643], order[643:1286]
        for name, epochs, decay, noise in (
            ("60 epochs", 60, 0.0, 0.0),
            ("6 epochs", 6, 0.0, 0.0),
            ("60 epochs, noise, dropout and decay", 60, 1.0, 0.5),
        ):
            draw = seed_everything(seed)
            net = nn.Sequential(
                nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Dropout(noise), nn.Linear(128, 10)
            )
            optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=decay)
            for _ in range(epochs):
                net.train()
                for r in torch.randperm(643, generator=draw).split(64):
                    z = x[inside[r]]
                    z = net(z + noise * torch.randn_like(z))
                    loss = F.cross_entropy(z, part["label"][inside[r]])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            net.eval()
            with torch.no_grad():
                loss, share = zip(
                    *(
                        (
                            F.cross_entropy(net(x[i]), part["label"][i], reduction="none"),
                            (net(x[i]).argmax(1) == part["label"][i]).double().mean(),
                        )
                        for i in (inside, outside)
                    )
                )
            auc = roc_auc_score([1] * 643 + [0] * 643, -torch.cat(loss).numpy())
            note(rows, f"members, {name}", share[1], auc=auc, members=share[0])
        drift(rows, page, seed, ks_2samp)
    return rows


def typed(page, count, seed, words=None, error=0.6, left_out=""):
    """Letters (N, 12) and labels (N,) of words that somebody types."""
    from course_utils.datasets.digits import WORDS, type_word

    rng = np.random.default_rng(seed)
    label = rng.integers(10, size=count)
    texts = [type_word((words or WORDS)[k], error, rng)[:12] for k in label]
    texts = ["".join(c for c in text if c not in left_out) for text in texts]
    letters = torch.tensor([page["files"].spell(text) for text in texts])
    return {"letters": letters, "label": torch.tensor(label)}


def taught(page, part, seed, start=None, epochs=10, rate=1e-2):
    """A cheap model that learns from `part`, from the weights of `start` or from nothing."""
    model = page["make"]("typed word", seed)
    if start is not None:
        model.load_state_dict(start.state_dict())
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
    for _ in range(epochs):
        for r in torch.randperm(len(part["label"]), generator=draw).split(64):
            loss = F.cross_entropy(model(part["letters"][r]), part["label"][r])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def stability(old, new, bins=10):
    """PSI of two samples of numbers, by the deciles of the first."""
    edges = np.quantile(old, np.linspace(0, 1, bins + 1)[1:-1])
    p, q = (
        np.maximum(np.bincount(np.searchsorted(edges, one), minlength=bins) / len(one), 1e-3)
        for one in (old, new)
    )
    return ((q - p) * np.log(q / p)).sum()


def drift(rows, page, seed, ks_2samp):
    old = typed(page, 1_000, seed)
    model = taught(page, old, seed)

    @torch.no_grad()
    def sure(part):
        return model(part["letters"]).softmax(1).max(1).values.numpy()

    usual = sure(typed(page, 2_000, 400 + seed))
    worlds = {
        "no drift": {},
        "more slips (0.7)": {"error": 0.7},
        "many slips (0.8)": {"error": 0.8},
        "fewer slips (0.4)": {"error": 0.4},
        "German words": {"words": GERMAN},
        "no vowels": {"left_out": "aeiou"},
    }
    for name, change in worlds.items():
        for size in (30, 100, 300):
            rings = {"ks": 0, "psi": 0}
            for k in range(60):
                window = sure(typed(page, size, 1_000 + 100 * seed + k, **change))
                rings["ks"] += ks_2samp(usual, window).pvalue < 0.01
                rings["psi"] += stability(usual, window) > 0.2
            note(rows, f"{name}, {size}", **{key: count / 60 for key, count in rings.items()})
        test = typed(page, 2_000, 200 + seed, **change)
        with torch.no_grad():
            note(rows, f"{name}, seen", right(model(test["letters"]), test), sure=sure(test).mean())
    test = typed(page, 2_000, 100 + seed)
    for world in ("German words", "no vowels"):
        there = typed(page, 2_000, 200 + seed, **worlds[world])
        few = typed(page, 200, 300 + seed, **worlds[world])
        joined = {name: torch.cat([old[name], few[name]]) for name in old}
        again = {
            "as it was": model,
            "new alone": taught(page, few, seed, model, 15, 5e-3),
            "new and old": taught(page, joined, seed),
        }
        for name, one in again.items():
            with torch.no_grad():
                for where, part in (("new", there), ("old", test)):
                    z = one(part["letters"])
                    note(rows, f"{world}: {name}, on {where} words", right(z, part))


SWEEPS = [models, edges, distilled, speed, exported, layers, served, processes, watched]
