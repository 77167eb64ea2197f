"""The exam: its right answers by other programs, its wrong ones, what is handed out, the marks.

The last part needs nbgrader: make teach-test.
"""

import ast
import collections
import importlib.util
import itertools
import json
import math
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from course_utils import attribution, exercises
from course_utils.audio_augment import mix_at_snr
from course_utils.rooms import load

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import build_notebooks as builder
import exam
import pages

SEEDS = (1, 2, 3, 4, 5)
GRADING, DERIVATIONS = load("99", "grading"), load("99", "derivations")
FUNCTIONS = {key: one for key, one in GRADING.exam(1).items() if one.kind == "function"}
DERIVED = {key: one for key, one in FUNCTIONS.items() if int(key) > 30}
each_seed = pytest.mark.parametrize("seed", SEEDS)
each_function = pytest.mark.parametrize("key", FUNCTIONS)
each_derivation = pytest.mark.parametrize("key", DERIVED)


def right(question, answer) -> bool:
    return GRADING.verdict(question, answer)[0]


def defined(code):
    """The function that some code defines, where a student's set-up stands."""
    names = {"torch": torch, "F": F, "nn": nn, "math": math}
    exec(code, names)
    return names[re.search(r"^def (\w+)", code, re.M)[1]]


# ---- what is asked ----


@each_seed
def test_forty_questions_stand_for_all_parts_of_the_course(seed):
    asked = list(GRADING.exam(seed).values())
    assert [question.key for question in asked] == [f"{i:02}" for i in range(1, 41)]
    assert sum(question.points for question in asked) == 100
    parts = collections.Counter(
        (question.page > "09") + (question.page > "20") + (question.page > "24")
        for question in asked[:30]
    )
    assert parts == {0: 9, 1: 10, 2: 4, 3: 7}
    standing = {room.name[:2] for room in pages.sources(ROOT)}
    assert {question.page for question in asked} <= standing
    kinds = collections.Counter(question.kind for question in asked[:30])
    assert kinds == {"number": 17, "choice": 6, "set": 2, "function": 5}
    assert all(question.kind == "function" for question in asked[30:])
    for question in asked:
        assert len(question.topic) < 50 and len(question.text.split()) < 170


def test_a_seed_gives_the_same_exam_and_another_one_other_answers():
    drawn = [
        {key: one.answer for key, one in GRADING.exam(seed).items() if one.kind != "function"}
        for seed in (1, 2)
    ]
    again = load("99", "questions").questions(1)
    assert all(one.answer == drawn[0][one.key] for one in again if one.kind != "function")
    assert sum(drawn[0][key] != drawn[1][key] for key in drawn[0]) >= 18


@each_seed
def test_right_answers_get_the_point_and_wrong_ones_do_not(seed):
    for question in GRADING.exam(seed).values():
        if question.kind == "number":
            assert right(question, question.answer)
            assert right(question, torch.tensor(question.answer, dtype=torch.float64))
            assert len(question.wrong) >= 4
            for wrong, why in question.wrong.items():
                assert GRADING.verdict(question, wrong) == (False, why)
            for wrong in (1.01 * question.answer, -question.answer, math.nan, "1", None, True):
                assert not right(question, wrong), (question.key, wrong)
        elif question.kind == "choice":
            assert right(question, question.answer) and right(question, question.answer.upper())
            assert len(question.wrong) >= 3 and question.answer not in question.wrong
            for wrong, why in question.wrong.items():
                assert GRADING.verdict(question, wrong) == (False, why)
            for wrong in (question.answer + "".join(question.wrong), "", "z", 1, None):
                assert not right(question, wrong)
        elif question.kind == "set":
            letters = sorted(question.wrong)
            for size in range(len(letters) + 1):
                for taken in itertools.combinations(letters, size):
                    fits = frozenset(taken) == question.answer
                    assert right(question, ", ".join(taken)) == right(question, set(taken)) == fits
        assert not right(question, ...)


@each_seed
def test_no_option_is_told_by_its_length(seed):
    """Of the six right options at most three are the longest."""
    longest = total = 0
    for question in GRADING.exam(seed).values():
        if question.kind == "choice":
            options = dict(re.findall(r"^- \*\*(\w)\*\*: (.*)", question.text, re.M))
            longest += max(options, key=lambda letter: len(options[letter])) == question.answer
            total += 1
    assert longest <= total / 2


@each_function
def test_each_wrong_idea_of_a_function_is_named_and_gets_nothing(key):
    exercise = FUNCTIONS[key].exercise
    assert len({idea.message for idea in exercise.misconceptions}) >= 5
    for idea in exercise.misconceptions:
        verdict, words = exercises.verdict(exercise, idea.wrong)
        assert not verdict and idea.message in " ".join(words.split()), (idea.message, words)


# ---- right answers, found in another way: from the text that a student reads ----


def texts(place, seed):
    return GRADING.exam(seed)[place].text


def numbers(text):
    return [float(one) for one in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", text)]


def table(text):
    """The numbers of a Markdown table, row by row, without its heads."""
    rows = [line.strip("|").split("|")[1:] for line in text.splitlines() if line.startswith("|")]
    return [[float(one) for one in row] for row in rows[2:]]


def listed(text, name):
    """What stands behind `name = ` in a text, as Python."""
    written = re.search(rf"\b{name} = (\[.*?\])(?= {{4}}|\n\S|$)", text, re.S | re.M)[1]
    return ast.literal_eval(written)


def by_layer(text):
    W, b, said = (torch.tensor(listed(text, name)) for name in ("W", "b", "text"))
    before, after = numbers(re.search(r"rises from (.*), the text", text)[1])
    moved = [W @ torch.cat([said, torch.tensor([image])]) + b for image in (after, before)]
    return ((moved[0] - moved[1])[1] - (moved[0] - moved[1])[0]).item()


def by_shape(text):
    layers = re.search(r"```python\n(.*), nn.Linear\(N, 10\)", text, re.S)[1]
    shape = ast.literal_eval(re.search(r"`\(B, (.*?)\)`", text)[1])
    return nn.Sequential(*eval(f"[{layers}]", {"nn": nn}))(torch.zeros(2, *shape)).shape[1]


def by_mixing(text):
    sound, noise = (
        torch.tensor([listed(text, name)], dtype=torch.float64) for name in ("sound", "noise")
    )
    mixed = mix_at_snr(sound, sound != 0, noise, numbers(re.search(r"(\S+) dB", text)[0])[0])
    return ((mixed - sound) / noise)[0, 0].item()


def by_waiting(text):
    losses = [float(one) for one in re.search(r"nan.*", text)[0].split(", ")]
    best = [min(range(1, i + 1), key=losses.__getitem__, default=0) for i in range(len(losses))]
    stop = next(i for i in range(2, len(losses)) if i - best[i] == 2)
    return best[stop]


def by_four_points(text):
    logits = np.array(table(text))
    return np.diff(np.diff(logits, axis=0), axis=1).item()


def by_counting(text):
    names = {"nn": nn, "torch": torch}
    exec(re.search(r"```python\n(.*?)```", text, re.S)[1], names)
    optimiser = torch.optim.AdamW(names["Fuse"]().parameters())
    return sum(p.numel() for group in optimiser.param_groups for p in group["params"])


def by_bayes(text):
    prior = numbers(re.search(r"share of (\S+)\.", text)[1])[0]
    says = numbers(re.search(r"say (.*) for class 1; given", text, re.S)[1])
    odds = prior / (1 - prior)
    for one in says:  # each brings a likelihood ratio
        odds *= one / (1 - one) / (prior / (1 - prior))
    return odds / (1 + odds)


def by_steps(text):
    """Two linear losses, with the gradients of the text: where the first one stops to fall."""
    first, second = (torch.tensor(listed(text, name), dtype=torch.float64) for name in ("g1", "g2"))
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        falls = first @ -(first + middle * second) < 0
        low, high = (middle, high) if falls else (low, middle)
    return low


def by_emap(text):
    logits = torch.tensor(table(text), dtype=torch.float64)

    def predict(batch):
        return logits[batch["text"], batch["image"]][:, None]

    found = attribution.emap(predict, {"text": torch.arange(3), "image": torch.arange(3)})
    return found[1].item()


def by_descent(text):
    classes = int(numbers(text)[0])
    probs = torch.eye(classes, dtype=torch.float64)[:1].clamp(1e-12)
    return F.cross_entropy(probs, torch.tensor([0])).item()


def by_hand(text):
    """AdamW's first step as its paper writes it."""
    weight, slope, rate, decay = numbers(text.replace("AdamW(lr=", " ").replace("decay=", " "))
    mean, square = 0.1 * slope / (1 - 0.9), 0.001 * slope**2 / (1 - 0.999)
    return weight - rate * (mean / (math.sqrt(square) + 1e-8) + decay * weight)


def by_voting(text):
    rows, hits, asked = table(text), 0, 0
    total = collections.Counter()
    for yes, no, *_ in rows:
        total.update(yes=yes, no=no)
    for yes, no, *test in rows:
        votes = {"yes": yes, "no": no} if yes + no else total
        hits += test[votes["no"] > votes["yes"]]
        asked += sum(test)
    return hits / asked


def by_lora(text):
    W, A, B, x = (
        torch.tensor(listed(text, name), dtype=torch.float64) for name in ("W", "A", "B", "x")
    )
    alpha = numbers(re.search(r"α = (\d+)", text)[1])[0]
    return ((W + alpha / 2 * B @ A) @ x)[0].item()


def by_ctc(text):
    log_probs = torch.tensor(table(text), dtype=torch.float64).log()[:, None]
    loss = F.ctc_loss(log_probs, torch.tensor([[1, 2]]), [3], [2], reduction="sum")
    return math.exp(-loss.item())


def by_formula(text):
    p = numbers(re.search(r"probability (\S+);", text)[1])[0]
    there = {"two": 2, "three": 3}[re.search(r"one of these (\w+) hidden", text)[1]]
    return p - p**there / there


BY_ANOTHER = {
    "01": by_layer,
    "03": by_shape,
    "05": by_mixing,
    "08": by_waiting,
    "10": by_four_points,
    "11": by_counting,
    "12": by_bayes,
    "17": by_steps,
    "19": by_emap,
    "20": by_descent,
    "21": by_hand,
    "25": by_voting,
    "26": by_lora,
    "27": by_ctc,
    "29": by_formula,
}


@each_seed
@pytest.mark.parametrize("key", BY_ANOTHER)
def test_a_number_is_what_another_program_finds_from_the_text(key, seed):
    question = GRADING.exam(seed)[key]
    assert BY_ANOTHER[key](question.text) == pytest.approx(question.answer, rel=1e-5)


def option(question, words):
    """The letter of the option that begins with these words."""
    return re.search(rf"^- \*\*(\w)\*\*: {words}", question.text, re.M)[1]


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_verdict_is_the_paired_t_test_s(seed):
    question = GRADING.exam(seed)["18"]
    first, second = table(question.text)
    assert f"is {stats.t.ppf(0.975, 4):.3f}." in question.text
    clear = stats.ttest_rel(first, second).pvalue < 0.05
    assert question.answer == option(question, "A is better" if clear else "It cannot be told")
    assert np.mean(first) > np.mean(second) and stats.ttest_ind(first, second).pvalue > 0.05


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_suspicion_is_judged_by_the_floor(seed):
    question = GRADING.exam(seed)["09"]
    share, loss = numbers(
        " ".join(re.search(r"has (\d+) %.*is (\S+) nats", question.text, re.S).groups())
    )
    q = share / 100
    floor = stats.entropy([q, *[(1 - q) / 9] * 9])
    below = loss < floor - 0.25
    assert below or abs(loss - floor) < 0.04, "neither at the floor nor clearly below"
    wanted = "Shuffling alone has not" if below else "Shuffling may have"
    assert question.answer == option(question, wanted)


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_map_is_judged_by_its_strongest_control(seed):
    question = GRADING.exam(seed)["15"]
    hits = [numbers(line)[:2] for line in question.text.splitlines() if line.endswith("% |")]
    (found, spread), *controls = hits
    clear = found - spread > max(control[0] for control in controls)
    assert question.answer == option(question, "The map finds" if clear else "No more than")


def test_both_verdicts_occur():
    for key in ("09", "15", "18"):
        options = set()
        for seed in range(1, 21):
            question = GRADING.exam(seed)[key]
            words = re.search(rf"\*\*{question.answer}\*\*: (.*)", question.text)[1]
            options.add(words[:20])
        assert len(options) == 2


def test_what_products_of_two_tell_is_what_least_squares_tell():
    bits = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))
    shared = bits.clone()
    shared[:, 1] = shared[:, 0]
    t, v, a = bits.T
    labels = {
        "whether text and image differ": (bits, -t * v),
        "whether image and sound agree": (bits, v * a),
        "the text's own bit": (bits, t),
        "whether the number of -1": (bits, t * v * a),
        "a bit that text and image": (shared, shared[:, 0]),
    }
    told = set()
    for words, (seen, label) in labels.items():
        t, v, a = seen.T
        products = torch.stack([t * v, t * a, v * a, torch.ones(8)], 1)
        fitted = products @ torch.linalg.lstsq(products, label[:, None], driver="gelsd").solution
        if (fitted[:, 0] * label).mean() > 0.5:
            told.add(option(GRADING.exam(1)["13"], words))
    assert told == GRADING.exam(1)["13"].answer


@each_seed
def test_what_gets_no_gradient_gets_none_from_autograd(seed):
    question = GRADING.exam(seed)["23"]
    draw = torch.Generator().manual_seed(seed)
    maps = [
        torch.randn(4, 4, generator=draw, dtype=torch.float64).requires_grad_() for _ in range(4)
    ]
    words = torch.randn(3, 4, generator=draw, dtype=torch.float64)
    picture = torch.randn(1, 4, generator=draw, dtype=torch.float64).requires_grad_()
    rows = picture.expand(3 if "three equal copies" in question.text else 1, 4)
    q, k, v, o = maps
    found = ((words @ q) @ (rows @ k).T / 2).softmax(-1) @ (rows @ v) @ o
    grads = torch.autograd.grad(found.square().sum(), [*maps, picture])
    names = ("W_q", "W_k", "W_v", "W_o", "the picture's vector Y")
    silent = {option(question, name) for name, grad in zip(names, grads) if grad.abs().max() < 1e-9}
    assert silent == question.answer


def test_the_encoder_moves_by_line_four_alone():
    def epoch(mode):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
        for p in encoder.parameters():
            p.requires_grad_(False)
        model = nn.Sequential(encoder, nn.Linear(4 * 36, 10))
        optimiser = torch.optim.AdamW(model[1].parameters(), lr=1e-3)
        picture, before = torch.randn(1, 3, 8, 8), [p.clone() for p in encoder.parameters()]
        answer = encoder.eval()(picture)
        mode(model)
        for _ in range(3):
            F.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.arange(4)).backward()
            optimiser.step()
        assert all(map(torch.equal, before, encoder.parameters()))
        return torch.equal(answer, encoder.eval()(picture))

    assert not epoch(lambda model: model.train())
    assert epoch(lambda model: model.train() and model[0].eval())
    assert GRADING.exam(1)["04"].answer == 4


def test_the_heads_are_mixed_by_line_two_alone():
    lines = re.search(r"```\n(.*?)```", texts("14", 1), re.S)[1].splitlines()
    code = [line[1:].strip() for line in lines]

    def others_move(code):
        torch.manual_seed(0)
        B, T, D, heads = 2, 4, 6, 3
        x, mask = torch.randn(B, T, D), torch.tensor([[True] * 4, [True, True, True, False]])
        layers = [nn.Linear(D, D) for _ in range(3)]
        found = []
        for change in (0.0, 1.0):
            names = dict(zip(("to_q", "to_k", "to_v"), layers))
            names |= {"x": x + change * ~mask[..., None], "mask": mask, "math": math}
            names |= {"B": B, "T": T, "D": D, "heads": heads}
            exec("\n".join(code), names)
            found.append(names["out"])
        assert found[0].shape == (B, T, D)
        return not torch.allclose(found[0][mask], found[1][mask])

    assert others_move(code)
    view = "one.view(B, heads, T, D // heads)"
    assert view in code[1]
    mended = "one.view(B, T, heads, D // heads).transpose(1, 2)"
    code[1] = code[1].replace(view, mended)
    assert not others_move(code)
    assert GRADING.exam(1)["14"].answer == 2


# ---- functions and derivations: autograd, and other right ways ----


@each_derivation
@pytest.mark.parametrize("seed", (0, 1, 2))
def test_a_solution_is_what_autograd_gives(key, seed):
    exercise, forward = DERIVED[key].exercise, DERIVATIONS.losses()[key]
    for case in exercise.cases(seed=seed):
        free = [isinstance(one, torch.Tensor) and one.is_floating_point() for one in case]
        assert all(one.dtype == torch.float64 for one, is_free in zip(case, free) if is_free)
        args = [
            one.clone().requires_grad_() if is_free else one for one, is_free in zip(case, free)
        ]
        loss = forward(*args)
        loss, by = loss if isinstance(loss, tuple) else (loss, args[:1])
        wanted = torch.autograd.grad(loss, by)
        found = exercise.reference(*case)
        found = found if isinstance(found, tuple) else (found,)
        for got, want in zip(found, wanted, strict=True):
            assert got.dtype == torch.float64
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


RIGHT = {
    "02": """
def masked_mean(vectors, mask):
    found = torch.zeros(len(vectors), vectors.shape[2], dtype=vectors.dtype)
    for row, (one, real) in enumerate(zip(vectors, mask)):
        if real.any():
            found[row] = one[real].mean(0)
    return found
""",
    "06": """
def hold(times, values, ticks, longest):
    held, mask = torch.zeros_like(ticks), torch.zeros(len(ticks), dtype=torch.bool)
    for i, tick in enumerate(ticks):
        for time, value in zip(times, values):
            if time <= tick:
                mask[i] = tick - time <= longest
                held[i] = value if mask[i] else 0.0
    return held, mask
""",
    "16": """
def places(scores):
    found = []
    for i, row in enumerate(scores.tolist()):
        others = row[:i] + row[i + 1 :]
        found.append(1 + sum((one > row[i]) + 0.5 * (one == row[i]) for one in others))
    return torch.tensor(found)
""",
    "24": """
def caption_loss(logits, ids, pad):
    total, words = 0.0, 0
    for row, line in zip(logits, ids):
        for t in range(len(line) - 1):
            if line[t + 1] != pad:
                total, words = total - row[t].log_softmax(0)[line[t + 1]], words + 1
    return total / words
""",
    "28": """
def least_cost(scores, labels, miss, alarm):
    called = scores >= torch.cat([scores, torch.tensor([math.inf])])[:, None]
    return (miss * (~called & labels).sum(1) + alarm * (called & ~labels).sum(1)).min()
""",
    "31": """
def tokens_back(logits, labels, mask):
    found = torch.zeros_like(logits)
    for b, t in mask.nonzero().tolist():
        found[b, t] = torch.exp(logits[b, t]) / torch.exp(logits[b, t]).sum()
        found[b, t, labels[b, t]] -= 1
    return found / mask.sum()
""",
    "32": """
def smoothed_back(logits, labels, tau, smoothing):
    B, C = logits.shape
    found = torch.softmax(logits / tau, 1) - smoothing / C
    for row, label in zip(found, labels):
        row[label] -= 1 - smoothing
    return found / B / tau
""",
    "33": """
def linear_back(d_y, x, W):
    d_W = torch.einsum("bte,btd->ed", d_y, x)
    return torch.einsum("bte,ed->btd", d_y, W), d_W, torch.einsum("bte->e", d_y)
""",
    "34": """
def norm_back(d_y, x, g, eps):
    D, rows = x.shape[1], []
    for row, d in zip(x, d_y * g):
        centred = row - row.mean()
        s = torch.sqrt((centred**2).mean() + eps)
        jacobian = torch.eye(D) - 1 / D - torch.outer(centred, centred) / (D * s**2)
        rows.append((jacobian.to(d) / s) @ d)
    deviation = torch.sqrt(x.var(1, correction=0, keepdim=True) + eps)
    d_g = (d_y * (x - x.mean(1, keepdim=True)) / deviation).sum(0)
    return torch.stack(rows), d_g, d_y.sum(0)
""",
    "35": """
def attention_back(d_O, Q, K, V):
    T, D = Q.shape
    d_Q, d_K, d_V = torch.zeros_like(Q), torch.zeros_like(K), torch.zeros_like(V)
    for t in range(T):
        keys, values = K[: t + 1], V[: t + 1]
        a = (keys @ Q[t] / D**0.5).softmax(0)
        d_s = (torch.diag(a) - torch.outer(a, a)) @ (values @ d_O[t])
        d_Q[t] = d_s @ keys / D**0.5
        d_K[: t + 1] += torch.outer(d_s, Q[t]) / D**0.5
        d_V[: t + 1] += torch.outer(a, d_O[t])
    return d_Q, d_K, d_V
""",
    "36": """
def gate_back(d_h, t, v, u, c):
    D = t.shape[1]
    z = torch.sigmoid(t @ u[:D] + v @ u[D:] + c)
    d_s = z * (1 - z) * torch.einsum("bd,bd->b", d_h, t - v)
    d_t = z[:, None] * d_h + torch.outer(d_s, u[:D])
    d_v = (1 - z)[:, None] * d_h + torch.outer(d_s, u[D:])
    return d_t, d_v, torch.cat([d_s @ t, d_s @ v]), d_s.sum()
""",
    "37": """
def factor_back(d_logits, h, f, others):
    d_f, d_h = torch.zeros_like(f), torch.zeros_like(h)
    for b in range(len(h)):
        for r in range(len(f)):
            for c in range(f.shape[1]):
                d_a = d_logits[b, c] * others[b, r, c]
                d_f[r, c, :-1] += d_a * h[b]
                d_f[r, c, -1] += d_a
                d_h[b] += d_a * f[r, c, :-1]
    return d_f, d_h
""",
    "38": """
def pairs_back(a, b, tau):
    N, M = len(a), len(b)
    d_a, d_b, d_tau = torch.zeros_like(a), torch.zeros_like(b), torch.zeros_like(tau)
    for n in range(N):
        cos = F.cosine_similarity(a[n : n + 1], b)
        p = (cos / tau).softmax(0)
        for j in range(M):
            d = (p[j] - float(j == n)) / N
            d_tau -= d * cos[j] / tau**2
            x, y = a[n] / a[n].norm(), b[j] / b[j].norm()
            d_a[n] += d / tau * (y - cos[j] * x) / a[n].norm()
            d_b[j] += d / tau * (x - cos[j] * y) / b[j].norm()
    return d_a, d_b, d_tau
""",
    "39": """
def tables_back(d_h, ids, mask, V, P):
    words, places = torch.zeros(V, d_h.shape[1]), torch.zeros(P, d_h.shape[1])
    words, places = words.to(d_h), places.to(d_h)
    for b, t in mask.nonzero().tolist():
        words[ids[b, t]] += d_h[b] / mask[b].sum()
        places[t] += d_h[b] / mask[b].sum()
    return words, places
""",
    "40": """
def dropout_back(s, y, p):
    B, M = s.shape
    found = torch.zeros_like(s)
    for number in range(2**M):
        kept = torch.tensor([number >> m & 1 for m in range(M)]).to(s)
        chance = (1 - p) ** kept.sum() * p ** (M - kept.sum())
        masks = [kept] if number else torch.eye(M).to(s)
        for k in masks:
            found += chance / len(masks) * k * ((s * k).sum(1) - y)[:, None] / B
    return found
""",
}


@each_function
def test_solutions_and_other_right_ways_get_the_points(key):
    question = FUNCTIONS[key]
    for code in (question.answer, RIGHT[key]):
        assert right(question, defined(code)), GRADING.verdict(question, defined(code))


@each_derivation
def test_autograd_gets_no_point(key):
    question, forward = DERIVED[key], DERIVATIONS.losses()[key]
    names = list(exercises.inspect.signature(question.exercise.reference).parameters)

    def by_autograd(*args):
        args = [
            one.requires_grad_()
            if isinstance(one, torch.Tensor) and one.is_floating_point()
            else one
            for one in args
        ]
        loss = forward(*args)
        loss, by = loss if isinstance(loss, tuple) else (loss, args[:1])
        return torch.autograd.grad(loss, by)

    given = ", ".join(names)
    answer = eval(f"lambda {given}: by_autograd({given})", {"by_autograd": by_autograd})
    verdict, words = GRADING.verdict(question, answer)
    assert not verdict and "autograd is not asked for" in words


@each_function
def test_what_is_given_gets_no_point(key):
    assert not right(FUNCTIONS[key], defined(FUNCTIONS[key].code))


# ---- what is handed out ----


def released(seed):
    """The exam without its hidden tests, as nbgrader takes them out."""
    nb = exam.notebook(seed)
    for cell in nb.cells:
        cell.source = re.sub(
            r"\n### BEGIN HIDDEN TESTS\n.*### END HIDDEN TESTS", "", cell.source, flags=re.S
        )
    return nb


def answered(nb, seed, keys=None):
    """Solutions in the cells of the answers, of these questions or of all."""
    for cell in nb.cells:
        question = GRADING.exam(seed).get(cell.id.removeprefix("question-"))
        if question is not None and (keys is None or question.key in keys):
            cell.source = question.answer
            if question.kind != "function":
                shown = sorted(question.answer) if question.kind == "set" else question.answer
                cell.source = f"answer_{question.key} = {shown!r}"
    return nb


def marks(nb):
    """{key: points} of an exam that is run from top to bottom, as grading does."""
    names, found = {}, {}
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        grade = cell.metadata.get("nbgrader", {})
        try:
            exec(cell.source, names)
        except Exception:
            assert grade.get("grade"), cell.source
            found[cell.id[9:11]] = 0
        else:
            if grade.get("grade"):
                found[cell.id[9:11]] = grade["points"]
    return found


def test_all_solutions_get_all_points_an_empty_exam_none_a_half_its_own(capsys):
    assert sum(marks(answered(exam.notebook(2), 2)).values()) == 100
    shown = capsys.readouterr().out
    assert "31: a function" in shown
    assert set(marks(exam.notebook(2)).values()) == {0}
    assert "01: nothing yet" in capsys.readouterr().out
    some = ["03", "13", "18", "24", "40"]
    found = marks(answered(exam.notebook(2), 2, some))
    assert sum(found.values()) == 12 and {key for key in found if found[key]} == set(some)


def test_the_answers_of_another_variant_do_not_do():
    found = marks(answered(exam.notebook(2), 1))
    drawn = [one.key for one in GRADING.exam(1).values() if one.kind != "function"]
    assert sum(found[key] > 0 for key in drawn) <= 7


@each_seed
def test_the_file_that_is_handed_out_holds_no_answer(seed):
    nb = released(seed)
    nbformat.validate(nb)
    text = json.dumps(nb)
    for word in ("course_utils", "HIDDEN", "SOLUTION", "grade(", "misconception", "hash", "Page"):
        assert word not in text, word
    sources = "\n".join(cell.source for cell in nb.cells)
    for question in GRADING.exam(seed).values():
        if question.kind == "function":
            given = {line.strip() for line in question.code.splitlines()}
            solved = {line.strip() for line in question.answer.splitlines()} - given
            assert solved and not any(line in sources for line in solved if len(line) > 9)
            for idea in question.exercise.misconceptions:
                assert idea.message not in sources
        else:
            assert not any(why in sources for why in question.wrong.values() if why)
    assert all(cell.get("outputs", []) == [] for cell in nb.cells)
    # what the question's own text says does not give the number away
    for question in GRADING.exam(seed).values():
        if isinstance(question.answer, float):
            assert f"{question.answer:.6g}" not in re.findall(r"-?\d+\.\d+", question.text)


def test_nothing_but_the_call_of_a_checker_is_hidden():
    nb, names = exam.notebook(1), {}
    assert "import course" not in nb.cells[1].source
    for cell in nb.cells:
        grade = cell.metadata.get("nbgrader", {})
        if not grade.get("grade"):
            assert "HIDDEN" not in cell.source
            continue
        key = cell.id[9:11]
        name = exam.hand_in_of(GRADING.exam(1)[key])
        shown, begin, *hidden, end = cell.source.splitlines()
        assert shown == f'handed_in("{key}", {name})'
        assert hidden == [
            "from course_utils.rooms import load",
            f'load("99", "grading").grade("{key}", {name}, seed=1)',
        ]
        names[grade["grade_id"]] = grade["points"]
        assert grade["locked"] and grade["schema_version"] == 3
    assert len(names) == 40 and sum(names.values()) == 100


def test_the_teacher_s_sheet_holds_all_and_goes_to_no_class(tmp_path, capsys):
    assert exam.write_all(tmp_path, ["exam1", "exam2"]) == 0
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert files == [
        "classroom/source/99_exam_1/99_exam_1.ipynb",
        "classroom/source/99_exam_2/99_exam_2.ipynb",
        "teacher/99_exam_1.md",
        "teacher/99_exam_2.md",
    ]
    assert (
        "teacher/99_exam_2.md: questions 30, derivations 10, points 100" in capsys.readouterr().out
    )
    sheet = (tmp_path / files[2]).read_text(encoding="utf-8")
    for question in GRADING.exam(1).values():
        assert f"*Page {question.page}*" in sheet and question.text in sheet
        if question.kind == "function":
            assert question.answer.rstrip() in sheet
    assert re.search(r"^\| 23 \| 24 \| what one key teaches \| set \| 2 \| \w\w \|$", sheet, re.M)
    first = (tmp_path / files[0]).read_bytes()
    assert exam.write_all(tmp_path, ["exam1"]) == 0
    assert (tmp_path / files[0]).read_bytes() == first


def test_the_classroom_edition_knows_it_and_the_course_does_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(builder, "sources", lambda root: pages.sources(ROOT)[:1])
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    assert builder.main(["--edition", "classroom", "exam7"], tmp_path) == 0
    assert [path.name for path in (tmp_path / "classroom/source").iterdir()] == ["99_exam_7"]
    assert (tmp_path / "classroom/nbgrader_config.py").is_file()
    for wrong in (["exam"], ["exam1x"], ["99"]):
        assert builder.main(["--edition", "classroom", *wrong], tmp_path) == 1
    assert builder.main(["exam1"], tmp_path) == 1, "it is built for a class alone"
    assert "99" not in {room.name[:2] for room in pages.sources(ROOT)}
    assert not list((ROOT / "notebooks").glob("99*"))
    assert "99" not in pages.course_map(ROOT)
    assert exercises.keys("99") == []


def test_grading_runs_a_function_in_a_process_without_the_answers(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    GRADING.grade("31", defined(RIGHT["31"]), seed=1)
    thief = """
def places(scores):
    from course_utils.rooms import load
    return load("99", "functions").places(scores)
"""
    with pytest.raises(AssertionError, match="16: .*raised"):
        GRADING.grade("16", defined(thief), seed=1)


# ---- what nbgrader makes of it ----

needs_nbgrader = pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None,
    reason="nbgrader is not installed here: make teach-test",
)


@needs_nbgrader
@pytest.mark.timeout(1200)  # a process for each function, one to three minutes on a quiet machine
def test_nbgrader_hands_it_out_and_gives_the_points(tmp_path, monkeypatch):
    from nbgrader.api import Gradebook
    from test_classroom import Course

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert builder.classroom.write_all(ROOT, [], tmp_path / "classroom") == 0
    assert exam.write_all(tmp_path, ["exam1"]) == 0
    course = Course(tmp_path / "classroom")
    course.nbgrader("generate_assignment", "99_exam_1")
    given = course.notebook("release", "99_exam_1")
    assert [cell.source for cell in given.cells] == [cell.source for cell in released(1).cells]

    half = [f"{i:02}" for i in range(1, 41, 4)]
    for student, keys in {"blank": [], "solved": None, "half": half, "lost": half}.items():
        nb = answered(course.notebook("release", "99_exam_1"), 1, keys)
        if student == "lost":  # another program has dropped the metadata
            for cell in nb.cells:
                cell.metadata.pop("nbgrader", None)
        path = course.folder / "submitted" / student / "99_exam_1" / "99_exam_1.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(nb, path)
    course.nbgrader("autograde", "99_exam_1")
    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as book:
        found = {one.student.id: one.score for one in book.assignment_submissions("99_exam_1")}
        assert book.find_assignment("99_exam_1").max_score == 100
    worth = sum(GRADING.exam(1)[key].points for key in half)
    assert found == {"blank": 0, "solved": 100, "half": worth, "lost": worth}
