"""The stored comparisons of page 30: drawings from typed words beside a classifier of the same
words, their truth, nearness and spread; controls; GANs; tokens.
"""

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.datasets.digits import WORDS
from course_utils.rooms import load as of_room
from course_utils.rooms import stored
from course_utils.runtime import seed_everything

SEEDS = range(5)
CHOOSING = 100  # the seed that chooses rates, weights and steps; it is in no comparison
RATES = (2e-3, 4e-3, 8e-3, 1.6e-2)
READER_RATES = (1e-3, 3e-3, 1e-2)
DECAYS = (1e-1, 1.0, 3.0)
WEIGHTS = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
STEPS = (1, 2, 5, 10, 20, 50)


def note(rows, name, **values):
    row = rows.setdefault(name, {"accuracy": {}})
    for key, value in values.items():
        row["accuracy"].setdefault(key, []).append(round(float(value), 4))


def loss_of():
    return of_room("30", "exercises").flow_loss


def step_of():
    return of_room("30", "exercises").guided_step


def clean(page, each=50):
    """The ten words without a slip, each several times, and their digits."""
    return page["spell"](WORDS).repeat_interleave(each, 0), torch.arange(10).repeat_interleave(each)


# ---- a classifier of the same words ----


def reader(data, words, digits, seed, rate, decay, steps=800):
    """A classifier of typed words, at the step with the smallest loss on validation words; and that
    loss.
    """
    generator = seed_everything(seed)
    network = nn.Sequential(nn.Linear(78, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    best, kept = float("inf"), None
    for step in range(1, steps + 1):
        rows = torch.randint(len(data["words"]), (256,), generator=generator)
        loss = F.cross_entropy(network(data["words"][rows]), data["digits"][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            with torch.no_grad():
                found = F.cross_entropy(network(words), digits).item()
            if found < best:
                best = found
                kept = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network, best


def words_for(page, seed, data):
    """Unseen slips for choosing and for the comparison: ((B, 78), (B,)) each."""
    found = []
    for other in (1000 + seed, seed):
        words, digits = page["asked"](other, data["seen"])
        found.append((page["spell"](words), digits))
    return found


def choose(rows, kind):
    """The setting of a kind with the largest number on validation words."""
    tried = {name: row["chosen by"] for name, row in rows.items() if name.startswith(f"{kind}: ")}
    return max(tried, key=tried.get).split(": ")[2].split(", ")


def draws(page: dict) -> dict:
    """The bet, and what guidance and steps do: five drawers and five classifiers.

    About two minutes on one core.
    """
    rows, read = {}, page["make_judge"]()
    draw, share_right = page["draw"], page["share_right"]
    data = page["pairs"](CHOOSING)
    (words, digits), _ = words_for(page, CHOOSING, data)
    for rate in READER_RATES:
        for decay in DECAYS:
            loss = reader(data, words, digits, CHOOSING, rate, decay)[1]
            rows[f"rate: classifier: {rate}, {decay}"] = {"accuracy": {}, "chosen by": -loss}
    drawers = {}
    for rate in tqdm(RATES):
        drawers[rate] = page["train"](data, loss_of(), CHOOSING, rate)
        found = share_right(draw(drawers[rate], step_of(), words)[0], digits, read)
        rows[f"rate: drawer: {rate}"] = {"accuracy": {}, "chosen by": round(found, 4)}
    best = float(choose(rows, "rate: drawer")[0])
    for weight in WEIGHTS[1:]:
        drawn = draw(drawers[best], step_of(), words, weight)[0]
        found = share_right(drawn, digits, read)
        rows[f"rate: weight: {weight}"] = {"accuracy": {}, "chosen by": round(found, 4)}
    for seed in tqdm(SEEDS):
        one_seed(page, rows, seed, read, best)
    return rows


def edges(page: dict) -> dict:
    """Rates beyond those of `draws`, with the seed that chooses: is the best one at an edge?

    About half a minute on one core.
    """
    rows, read = {}, page["make_judge"]()
    data = page["pairs"](CHOOSING)
    (words, digits), _ = words_for(page, CHOOSING, data)
    for rate, decay in ((3e-4, 1e-1), (1e-3, 1e-2), (3e-3, 1e-2)):
        loss = reader(data, words, digits, CHOOSING, rate, decay)[1]
        rows[f"rate: classifier: {rate}, {decay}"] = {"accuracy": {}, "chosen by": -loss}
    drawer = page["train"](data, loss_of(), CHOOSING, 3.2e-2)
    found = page["share_right"](page["draw"](drawer, step_of(), words)[0], digits, read)
    rows["rate: drawer: 0.032"] = {"accuracy": {}, "chosen by": round(found, 4)}
    return rows


def one_seed(page, rows, seed, read, rate):
    draw, share_right = page["draw"], page["share_right"]
    data = page["pairs"](seed)
    (chosen, known), (words, digits) = words_for(page, seed, data)
    own, (true, labels) = page["scans"]("own")[0], page["scans"]("test")
    numbers = [float(one) for one in choose(rows, "rate: classifier")]
    weight = float(choose(rows, "rate: weight")[0])

    network, _ = reader(data, chosen, known, seed, *numbers)
    with torch.no_grad():
        chances = network(words).softmax(1)
    said = chances.argmax(1)
    luck = torch.Generator().manual_seed(seed)
    thrown = chances.multinomial(1, generator=luck)[:, 0]
    picks = [
        torch.nonzero(labels == d)[:, 0][
            torch.randint(int((labels == d).sum()), (), generator=luck)
        ]
        for d in said.tolist()
    ]
    note(rows, "classifier", right=(said == digits).float().mean())
    note(rows, "answer thrown", right=(thrown == digits).float().mean())
    note(rows, "classifier, real picture", right=share_right(true[picks], digits, read))

    drawer, ten = page["train"](data, loss_of(), seed, rate), page["spell"](WORDS)
    for name, w in (("weight 1", 1.0), ("best weight", weight)):
        drawn = draw(drawer, step_of(), words, w, seed=seed)[0]
        note(rows, f"drawing, {name}", right=share_right(drawn, digits, read))
        for which, answers in (("classifier", said), ("thrown", thrown)):
            drawn = draw(drawer, step_of(), ten[answers], w, seed=seed)[0]
            note(rows, f"{which} drawn, {name}", right=share_right(drawn, digits, read))

    plain, asked = clean(page)
    measure = facts(page, own, asked, read)
    for w in WEIGHTS:
        note(rows, f"weight {w:g}", **measure(draw(drawer, step_of(), plain, w, seed=seed)[0]))
    for steps in STEPS:
        drawn = draw(drawer, step_of(), plain, 1.0, steps, seed)[0]
        note(rows, f"steps {steps}", **measure(drawn))
    null = read(draw(drawer, step_of(), torch.zeros(1000, 78), seed=seed)[0])
    note(rows, "null word", most=null.bincount(minlength=10).max() / 1000)


def facts(page, own, digits, read):
    """A function of drawings: read as meant, nearest to own and to strangers' pictures, spread."""
    strangers = page["scans"]("judge")[0]
    return lambda drawn: {
        "right": page["share_right"](drawn, digits, read),
        "nearest": page["nearest"](drawn, own),
        "strangers": page["nearest"](drawn, strangers),
        "spread": page["spread"](drawn, digits),
    }


def real(page: dict, seeds=SEEDS) -> dict:
    """What the judge and the measures say of the real pictures of two writers from whom nothing
    learned, and of noise, drawn by five seeds.

    About five seconds on one core.
    """
    rows, read = {}, page["make_judge"]()
    (own, own_digits), (true, labels) = page["scans"]("own"), page["scans"]("test")
    measure = facts(page, own, labels, read)
    for gamma in (0.01, 0.02, 0.04, 0.08, 0.16):
        pictures, digits = page["scans"]("validation")
        found = page["share_right"](pictures, digits, page["make_judge"](gamma=gamma))
        rows[f"rate: judge: {gamma}"] = {"accuracy": {}, "chosen by": round(found, 4)}
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        note(rows, "all test pictures", **measure(true))
        note(rows, "own pictures", spread=page["spread"](own, own_digits))
        noise = torch.randn(1000, 64, generator=generator).clamp(-1, 1)
        note(rows, "noise", most=read(noise).bincount(minlength=10).max() / 1000)
    return rows


def controls(page: dict) -> dict:
    """The word never dropped, and another pair's word; what guidance does.

    About two minutes on one core.
    """
    rows, read = {}, page["make_judge"]()
    own, rate = page["scans"]("own")[0], float(choose(stored("30", "draws"), "rate: drawer")[0])
    plain, digits = clean(page)
    measure = facts(page, own, digits, read)
    for seed in tqdm(SEEDS):
        data = page["pairs"](seed)
        order = torch.randperm(len(data["words"]), generator=torch.Generator().manual_seed(seed))
        mixed = data | {"words": data["words"][order]}
        for name, given, drop in (("never dropped", data, 0.0), ("words shuffled", mixed, 0.1)):
            drawer = page["train"](given, loss_of(), seed, rate, drop)
            for weight in (0.0, 1.0, 3.0, 8.0) if drop == 0 else (1.0,):
                drawn = page["draw"](drawer, step_of(), plain, weight, seed=seed)[0]
                note(rows, f"{name}, weight {weight:g}", **measure(drawn))
            null = read(page["draw"](drawer, step_of(), torch.zeros(1000, 78), seed=seed)[0])
            note(rows, f"{name}, null word", most=null.bincount(minlength=10).max() / 1000)
    return rows


# ---- another null word ----


def with_null(network, value):
    """The network with another null word: where a word is all zeros it gets 78 times `value`."""

    def asked(x, times, words):
        return network(x, times, torch.where((words == 0).all(1, keepdim=True), value, words))

    return asked


def nulls(page: dict, zeros=False) -> dict:
    """A null word that is like no typed word, 78 times -1, trained and never trained.

    About two minutes on one core.
    """
    rows, read = {}, page["make_judge"]()
    own, rate = page["scans"]("own")[0], float(choose(stored("30", "draws"), "rate: drawer")[0])
    plain, digits = clean(page)
    measure, loss = facts(page, own, digits, read), loss_of()

    def with_minus(network, *rest):
        return loss(with_null(network, -1.0), *rest)

    kinds = (("minus dropped", with_minus, 0.1, -1.0), ("minus never dropped", loss, 0.0, -1.0))
    for seed in tqdm(SEEDS):
        data = page["pairs"](seed)
        for name, used, drop, value in (("zeros dropped", loss, 0.1, 0.0),) if zeros else kinds:
            drawer = with_null(page["train"](data, used, seed, rate, drop), value)
            for weight in (0.0, 1.0, 2.0, 3.0, 8.0):
                drawn = page["draw"](drawer, step_of(), plain, weight, seed=seed)[0]
                sure = read(drawn) == digits
                told = measure(drawn)
                if weight < 8 and all((sure & (digits == d)).sum() > 1 for d in range(10)):
                    told["sure"] = page["spread"](drawn[sure], digits[sure])
                note(rows, f"{name}, weight {weight:g}", **told)
    return rows


def sure(page: dict) -> dict:
    """The network of `draws` again: the spread of only those drawings that are read as meant.

    About a minute on one core.
    """
    return nulls(page, zeros=True)


# ---- GANs ----


def layers(before, after, *end):
    return nn.Sequential(
        nn.Linear(before, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, after),
        *end,
    )


def train_gan(page, data, seed, size=1.0, turns=1, rate=1e-3, steps=3000):
    """The generator, and both losses of the last 500 steps. `size` 0 takes its noise away; `turns`
    of the generator's steps follow each of the discriminator's.
    """
    luck, losses = seed_everything(seed), []
    networks = layers(16 + 78, 64, nn.Tanh()), layers(64 + 78, 1)
    optimizers = [
        torch.optim.Adam(one.parameters(), lr=rate, betas=(0.5, 0.99)) for one in networks
    ]
    for _ in range(steps):
        rows = torch.randint(len(data["words"]), (64,), generator=luck)
        pictures, words = data["pictures"][rows], data["words"][rows]
        for turn in range(1 + turns):
            noise = size * torch.randn(64, 16, generator=luck)
            if turn:
                loss = page["generator_loss"](*networks, words, noise)
            else:
                loss = page["discriminator_loss"](*networks, pictures, words, noise)
            optimizers[turn == 0].zero_grad()
            loss.backward()
            optimizers[turn == 0].step()
            losses.append(loss.item())
    last = torch.tensor(losses).view(steps, 1 + turns)[-500:]
    return networks[0], (last[:, 0].mean().item(), last[:, 1:].mean().item())


@torch.no_grad()
def made_by(page, generator, words, size, seed):
    luck = torch.Generator().manual_seed(seed)
    noise = size * torch.randn(len(words), 16, generator=luck)
    return generator(page["beside"](noise, words))


def gans(page: dict, runs=(("one turn", 1, 1.0), ("no noise", 1, 0.0))) -> dict:
    """GANs on the same pairs: their losses, and what they draw of clean words and of new slips.

    About three minutes on one core.
    """
    rows, read = {}, page["make_judge"]()
    own, (plain, digits) = page["scans"]("own")[0], clean(page)
    measure = facts(page, own, digits, read)
    for seed in tqdm(SEEDS):
        data = page["pairs"](seed)
        words, meant = words_for(page, seed, data)[1]
        for name, turns, size in runs:
            generator, found = train_gan(page, data, seed, size, turns)
            drawn = made_by(page, generator, plain, size, seed)
            answers = made_by(page, generator, words, size, seed)
            slips = page["share_right"](answers, meant, read)
            losses = dict(zip(("discriminator", "generator"), found))
            note(rows, name, **measure(drawn), **losses, slips=slips)
            shown = drawn.view(10, 50, 64)[[3, 7], :4].flatten(0, 1)
            rows[name].setdefault("shown", (8 * shown + 8).round().int().tolist())
    return rows


def turns(page: dict) -> dict:
    """The same with three of the generator's steps after each of the discriminator's.

    About three minutes on one core.
    """
    return gans(page, (("three turns", 3, 1.0),))


def tokens(page: dict) -> dict:
    """Codebooks of several sizes, and a small model that writes tokens one by one.

    About two minutes on one core.
    """
    rows, read = {}, page["make_judge"]()
    to_tokens = of_room("30", "exercises").picture_tokens
    (own, _), (true, labels) = page["scans"]("own"), page["scans"]("test")
    plain, digits = clean(page)
    measure = facts(page, own, digits, read)
    for seed in tqdm(SEEDS):
        for codes in (4, 8, 16, 32, 64):
            codebook = page["make_codebook"](own, codes, seed)
            found = to_tokens(true, codebook)
            brighter = to_tokens((true + 1 / 8).clamp(-1, 1), codebook)
            back = page["from_tokens"](found, codebook)
            note(
                rows,
                f"codes {codes}",
                right=page["share_right"](back, labels, read),
                kept=(found == brighter).float().mean(),
            )
        codebook = page["make_codebook"](own, 16, seed)
        written = write(page, to_tokens, codebook, page["pairs"](seed), plain, seed)
        note(rows, "written", **measure(page["from_tokens"](written, codebook)))
    return rows


def write(page, to_tokens, codebook, data, words, seed, steps=2000):
    """Train a writer of tokens, and let it write."""
    generator = seed_everything(seed)
    writer = page["Writer"](len(codebook))
    optimizer = torch.optim.AdamW(writer.parameters(), lr=3e-3, weight_decay=0.1)
    all_tokens = to_tokens(data["pictures"], codebook)
    for _ in range(steps):
        rows = torch.randint(len(all_tokens), (128,), generator=generator)
        places = torch.randint(16, (128,), generator=generator)
        known = all_tokens[rows]
        logits = writer(known, places, data["words"][rows])
        loss = F.cross_entropy(logits, known.gather(1, places[:, None])[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    written = torch.zeros(len(words), 16, dtype=torch.long)
    with torch.no_grad():
        for place in range(16):
            logits = writer(written, torch.full((len(words),), place), words)
            drawn = logits.softmax(1).multinomial(1, generator=generator)
            written[:, place] = drawn[:, 0]
    return written


SWEEPS = [draws, edges, real, controls, nulls, sure, gans, turns, tokens]
