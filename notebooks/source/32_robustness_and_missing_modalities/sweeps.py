"""The stored comparisons of page 32: noise by modality and strategy, modality dropout and what is
missing, shuffled pairs, another artist, attacks by modality, and four measures of robustness.

All seeds and settings of a row are trained at once: their weights are (seeds, settings, ...).
"""

from functools import cache

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from course_utils.audio import band_features
from course_utils.datasets import Digits, Emoji, collate
from course_utils.text import letter_features

SEEDS = range(5)
NAMES = ("text", "image", "audio")
SPLITS = ("train", "validation", "test")
RATES, DECAYS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2), (0.0, 1.0, 3.0, 10.0)
GRID = [(lr, decay) for lr in RATES for decay in DECAYS]
MARKS = 12  # times at which a training may end


def stacked(draws: list[dict], names=NAMES) -> dict:
    """A split a draw -> {split: {name: (seeds, N, D_m)}}, with the label (seeds, N)."""
    return {
        split: {n: torch.stack([draw[split][n] for draw in draws]) for n in (*names, "label")}
        for split in SPLITS
    }


class Many:
    """Networks without or with one hidden layer on the named modalities side by side, one for each
    seed and setting (rate, decay), trained by AdamW.

    `change(x, seed's generators)` may replace a batch {name: (S, B, D_m)} before each step, and
    `attack(many, x, label)` gives the picture of each model, (S, G, B, D).
    """

    def __init__(self, names, data, grid, *, hidden=0, drop=0.0):
        self.names, self.hidden, self.drop = names, hidden, drop
        self.dims = [data["train"][n].shape[2] for n in names]
        self.classes = int(data["train"]["label"].max()) + 1
        seeds, settings = len(data["train"]["label"]), len(grid)
        self.generators = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
        widths = [sum(self.dims), *([hidden] * bool(hidden)), self.classes]
        self.parameters = []
        for wide, narrow in zip(widths, widths[1:]):
            for shape in ((wide, narrow), (1, narrow)):
                drawn = [2 * torch.rand(shape, generator=g) - 1 for g in self.generators]
                start = torch.stack(drawn)[:, None] / wide**0.5
                self.parameters.append(start.repeat(1, settings, 1, 1))
        self.columns = [torch.tensor(c).view(1, -1, 1, 1) for c in zip(*grid)]
        self.moments = [(0 * p, 0 * p) for p in self.parameters]
        self.step = 0

    def first(self, x: dict, weight):
        """What the first layer makes of the modalities in x: (S, B, D_m), or (S, G, B, D_m) where
        each model has its own -> (S, G, B, H).
        """
        total, blocks = 0, dict(zip(self.names, weight.split(self.dims, dim=2)))
        for name, value in x.items():
            if name in blocks:
                value = value[:, None] if value.dim() == 3 else value
                total = total + value @ blocks[name]
        return total

    def rest(self, total, parameters, training=False):
        total = total + parameters[1]
        if not self.hidden:
            return total
        total = total.relu()
        if training and self.drop:
            total = F.dropout(total, self.drop)
        return total @ parameters[2] + parameters[3]

    def logits(self, x: dict, parameters=None, training=False):
        parameters = self.parameters if parameters is None else parameters
        return self.rest(self.first(x, parameters[0]), parameters, training)

    def fit(self, data, epochs, *, change=None, attack=None, judge=None):
        """Train; at each of MARKS times `judge(many)` gives a score (S, G), by default minus the
        validation loss, and the setting and the time of the best mean score are kept.
        """
        torch.manual_seed(0)
        judge = judge or (lambda many: -many.loss(data["validation"]))
        train, seeds = data["train"], torch.arange(len(self.generators))[:, None]
        scores, kept = [], []
        for epoch in range(epochs):
            rows = train["label"].shape[1]
            order = torch.stack([torch.randperm(rows, generator=g) for g in self.generators])
            for chosen in order.split(128, dim=1):
                x = {name: value[seeds, chosen] for name, value in train.items()}
                label = x.pop("label")
                x = change(x, self.generators) if change else x
                x = attack(self, x, label) if attack else x
                self.update(x, label)
            if (epoch + 1) % (epochs // MARKS) == 0:
                with torch.no_grad():
                    scores.append(judge(self))
                kept.append([p.clone() for p in self.parameters])
        self.scores = torch.stack(scores)  # (marks, S, G)
        best = self.scores.mean(1)  # (marks, G)
        self.setting = int(best.amax(0).argmax())
        self.mark, self.score = int(best[:, self.setting].argmax()), best.max().item()
        self.parameters = [p[:, [self.setting]] for p in kept[self.mark]]
        return self

    def update(self, x, label):
        for p in self.parameters:
            p.requires_grad_()
        logits = self.logits(x, training=True)
        loss = self.losses(logits, label).mean(2).sum()
        found = torch.autograd.grad(loss, self.parameters)
        lr, decay = self.columns
        self.step += 1
        with torch.no_grad():
            for p, gradient, (first, second) in zip(self.parameters, found, self.moments):
                p.requires_grad_(False)
                first.mul_(0.9).add_(gradient, alpha=0.1)
                second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                size = (second / (1 - 0.999**self.step)).sqrt() + 1e-8
                p.mul_(1 - lr * decay).sub_(lr * (first / (1 - 0.9**self.step)) / size)

    @staticmethod
    def losses(logits, label):
        """The cross-entropy of each row, (S, G, B)."""
        label = label[:, None].expand(logits.shape[:3])
        flat = F.cross_entropy(logits.flatten(0, 2), label.flatten(), reduction="none")
        return flat.view(label.shape)

    def loss(self, part):
        x = {name: part[name] for name in self.names}
        return self.losses(self.logits(x), part["label"]).mean(2)

    def right(self, part, x=None):
        """The accuracy (S, G) on a split, perhaps with other inputs."""
        x = x or {name: part[name] for name in self.names}
        with torch.no_grad():
            return (self.logits(x).argmax(3) == part["label"][:, None]).double().mean(2)


def rounded(values) -> list[float]:
    return [round(float(v), 4) for v in values]


def told(many: Many, grid) -> dict:
    """The setting that was chosen, and whether it stands at an edge of the grid: its rate at either
    end, or its decay at the largest (also where the grid has only one).
    """
    lr, decay = grid[many.setting]
    rates = sorted({one for one, _ in grid})
    return {
        "lr": lr,
        "weight_decay": decay,
        "mark": f"{many.mark + 1} of {MARKS}",
        "edge": lr in (rates[0], rates[-1]) or decay == max(d for _, d in grid),
    }


# ---- noise, by modality and strategy ----

PICTURE, SOUND = (0.0, 0.25, 0.5, 1.0, 2.0), (-10, -15, -20, -25, -30)
TYPED = (0.6, 0.7, 0.8, 0.9, 1.0)


@cache
def raw(seed: int, split: str, **dials) -> dict:
    """A split as {name: (N, ...)}, nothing standardised."""
    parts = []
    for batch in DataLoader(Digits(split, seed=seed, **dials), batch_size=512, collate_fn=collate):
        parts.append(
            {
                "text": letter_features(batch["text"], batch["mask"]["text"]),
                "audio": band_features(batch["audio"], batch["mask"]["audio"]),
            }
        )
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def noisy_draws(page: dict, draws: list[dict]) -> dict:
    """The test sets, {(modality, severity): {name: (S, N, D)}}, everything else as it was."""
    clean, found = stacked(draws)["test"], {}
    for place, sigma in enumerate(PICTURE):
        pictures = [
            page["camera"](draw["test"]["image"], sigma, torch.Generator().manual_seed(place))
            for draw in draws
        ]
        found["image", sigma] = clean | {"image": torch.stack(pictures)}
    for name, dial, levels in (("audio", "speech_snr", SOUND), ("text", "text_error", TYPED)):
        for level in levels:
            values = []
            for seed, draw in enumerate(draws):
                mean, spread = draw["scale"][name]
                values.append((raw(seed, "test", **{dial: level})[name] - mean) / spread)
            found[name, level] = clean | {name: torch.stack(values)}
    return found


def corruption(page: dict) -> dict:
    """Accuracy on `digits` with clear pictures while one modality gets worse at test time: each
    modality alone, glued, experts multiplied or averaged, and glued after training in noise.

    About two minutes on one core.
    """
    draws = [page["load"](seed, pixels=True, image_noise=0.0) for seed in tqdm(SEEDS, "load")]
    data, tests = stacked(draws), noisy_draws(page, draws)
    rows, alone = {}, {}

    def note(row, answers, **more):
        accuracy = {}
        for (name, level), part in tests.items():
            right = (answers(part).argmax(2) == part["label"]).double().mean(1)
            accuracy[f"{name} {level:g}"] = rounded(right)
        clean = (answers(data["test"]).argmax(2) == data["test"]["label"]).double().mean(1)
        rows[row] = {"accuracy": accuracy | {"clean": rounded(clean)}} | more

    def said(many):
        return lambda part: many.logits({n: part[n] for n in many.names})[:, 0]

    with torch.no_grad():
        for name in NAMES:
            with torch.enable_grad():
                alone[name] = Many((name,), data, GRID).fit(data, 60)
            note(f"{name} alone", said(alone[name]), **told(alone[name], GRID))

        def each(part):
            return torch.stack([said(alone[n])(part).log_softmax(2) for n in NAMES])

        note("product of experts", lambda part: each(part).sum(0))
        note("mean of probabilities", lambda part: each(part).exp().mean(0))
        for row, change in {
            "concat": None,
            "concat, trained in noise": page_noise(page),
            "concat, modality dropout": hidden_rows(page),
        }.items():
            with torch.enable_grad():
                many = Many(NAMES, data, GRID).fit(data, 60, change=change)
            note(row, said(many), **told(many, GRID))
        whole = data["test"]
        for name in NAMES:  # known to be broken, and hidden
            silent = whole | {name: torch.zeros_like(whole[name])}
            right = (said(many)(silent).argmax(2) == whole["label"]).double().mean(1)
            rows[f"concat, modality dropout, {name} hidden"] = {"accuracy": rounded(right)}
    return rows


def page_noise(page):
    """A change of batches: each row's picture in noise of its own size, from 0 to 1."""

    def change(x, generators):
        pictures = []
        for image, generator in zip(x["image"], generators):
            sizes = torch.rand(len(image), 1, generator=generator)
            pictures.append(page["camera"](image, sizes, generator))
        return x | {"image": torch.stack(pictures)}

    return change


def hidden_rows(page, p=0.3):
    """A change of batches: modalities hidden by the page's exercise, zeros in their place."""

    def change(x, generators):
        rows = x["text"].shape[1]
        luck = torch.stack([torch.rand(rows, len(x), generator=g) for g in generators])
        kept = page["hide_modalities"](torch.ones(luck.shape[0] * rows, len(x)).bool(),
                                       luck.flatten(0, 1), p, True)  # fmt: skip
        kept = kept.view(luck.shape).float()
        return {name: value * kept[..., [m]] for m, (name, value) in enumerate(x.items())}

    return change


def hidden_numbers(p=0.3):
    """The control: as much is hidden, but single numbers, and the rest scaled by 1 / (1 - p)."""

    def change(x, generators):
        found = {}
        for name, value in x.items():
            luck = torch.stack([torch.rand(value.shape[1:], generator=g) for g in generators])
            found[name] = value * (luck >= p) / (1 - p)
        return found

    return change


# ---- missing, mismatched, another artist ----

WAYS = {"glued": None, "modality dropout": hidden_rows, "numbers dropped": hidden_numbers}


def patterns() -> list[tuple]:
    """All that may be there but nothing, the most first."""
    every = [tuple(n for k, n in enumerate(NAMES) if bits >> k & 1) for bits in range(1, 8)]
    return sorted(every, key=lambda present: (-len(present), [NAMES.index(n) for n in present]))


def ridge(given, wanted, penalty):
    """The linear map, with a constant, from (S, N, D) to (S, N, E) of the least squares."""
    ones = torch.ones(*given.shape[:2], 1, dtype=given.dtype)
    given = torch.cat([given, ones], dim=2)
    gram = given.transpose(1, 2) @ given + penalty * torch.eye(given.shape[2])
    return torch.linalg.solve(gram, given.transpose(1, 2) @ wanted)


def filled(data, present, split):
    """What is missing in a split, guessed from what is there; the penalty that guesses best on the
    validation set.
    """
    given = {s: torch.cat([data[s][n] for n in present], dim=2) for s in SPLITS}
    ones = {s: torch.ones(*x.shape[:2], 1) for s, x in given.items()}
    result = {n: data[split][n] for n in present}
    for name in set(NAMES) - set(present):
        best = None
        for penalty in (30.0, 100.0, 300.0, 1e3, 3e3, 1e4):
            weight = ridge(given["train"], data["train"][name], penalty)
            guess = torch.cat([given["validation"], ones["validation"]], dim=2) @ weight
            error = (guess - data["validation"][name]).square().mean().item()
            if best is None or error < best[0]:
                best = error, weight
        result[name] = torch.cat([given[split], ones[split]], dim=2) @ best[1]
    return result


def missing(page: dict, seeds=range(10)) -> dict:
    """`digits` as ever, glued, with every pattern of what is there: trained on all three as ever,
    with modality dropout, or with single numbers dropped; the missing ones zeros or guessed; and a
    model for each pattern of its own. Ten seeds.

    About four minutes on one core.
    """
    data = stacked([page["load"](seed) for seed in tqdm(seeds, "load")])
    rows, test = {}, data["test"]
    for way, change in tqdm(WAYS.items()):
        many = Many(NAMES, data, GRID).fit(data, 60, change=change and (
            change(page) if change is hidden_rows else change()))  # fmt: skip
        row = rows[f"{way}, zeros"] = {"accuracy": {}} | told(many, GRID)
        guessed = {}
        for present in patterns():
            x = {n: test[n] if n in present else 0 * test[n] for n in NAMES}
            row["accuracy"][" + ".join(present)] = rounded(many.right(test, x))
            if way == "glued":
                x = {n: filled(data, present, "test")[n] for n in NAMES}
                guessed[" + ".join(present)] = rounded(many.right(test, x))
        if guessed:
            rows["glued, guessed"] = {"accuracy": guessed}
    own, experts = {}, {}
    for present in tqdm(patterns()[1:]):
        many = Many(present, data, GRID).fit(data, 60)
        own[" + ".join(present)] = rounded(many.right(test))
        rows[f"rate: {' + '.join(present)}"] = {"accuracy": {}} | told(many, GRID)
        if len(present) == 1:
            experts[present[0]] = many.logits({present[0]: test[present[0]]})[:, 0].log_softmax(2)
    own = {" + ".join(NAMES): rows["glued, zeros"]["accuracy"][" + ".join(NAMES)]} | own
    rows["a model of its own"] = {"accuracy": own}
    rows["product of experts"] = {"accuracy": {}}
    for present in patterns():
        answers = sum(experts[n] for n in present).argmax(2)
        right = (answers == test["label"]).double().mean(1)
        rows["product of experts"]["accuracy"][" + ".join(present)] = rounded(right)
    return rows


SHARES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


def mispaired(part: dict, name: str, share: float, seed: int) -> dict:
    """A split (S, N, ...) in which this share of one modality's rows are in another order."""
    moved = part[name].clone()
    for s in range(len(moved)):
        generator = torch.Generator().manual_seed(seed + s)
        rows = torch.randperm(moved.shape[1], generator=generator)
        rows = rows[: round(share * len(rows))]
        moved[s, rows] = part[name][s, rows.roll(1)]
    return part | {name: moved}


def mismatch(page: dict) -> dict:
    """`digits` as ever, a share of the sounds given to other rows of training and validation; the
    test's pairs are right. Glued, the sound alone, and text and picture without it.

    About two minutes on one core.
    """
    data, rows = stacked([page["load"](seed) for seed in tqdm(SEEDS, "load")]), {}
    for share in tqdm(SHARES):
        mixed = dict(data)
        for place, split in enumerate(("train", "validation")):
            mixed[split] = mispaired(data[split], "audio", share, 100 * place)
        for names in (NAMES, ("audio",)):
            many = Many(names, mixed, GRID).fit(mixed, 60)
            row = f"{' + '.join(names)}, {share:g}"
            rows[row] = {"accuracy": rounded(many.right(data["test"]))} | told(many, GRID)
    many = Many(NAMES[:2], data, GRID).fit(data, 60)
    rows["text + image"] = {"accuracy": rounded(many.right(data["test"]))} | told(many, GRID)
    return rows


@cache
def emoji(artist: str, split: str, seed: int) -> dict:
    """Picture in 12 x 12 points, 384 counts of runs of the name's letters, and the group."""
    from sklearn.feature_extraction.text import HashingVectorizer

    count = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=384, alternate_sign=False, norm=None
    )
    items = [*Emoji(split, artist=artist, seed=seed)]
    pictures = torch.stack([item["image"] for item in items])
    names = count.transform([item["text"] for item in items]).toarray()
    return {
        "text": torch.from_numpy(names).float().sqrt(),
        "image": F.adaptive_avg_pool2d(pictures, 12).flatten(1),
        "label": torch.tensor([item["label"] for item in items]),
    }


def shift(page: dict) -> dict:
    """The group of an emoji from its picture and its name, trained on one artist's, tested on new
    emoji of the same artist and of the other one; and with the other's pictures shuffled.

    About a minute on one core, with the emoji.
    """
    draws, others = [], []
    for seed in tqdm(SEEDS, "load"):
        draw = {split: emoji("google", split, seed) for split in SPLITS}
        scale = {n: (draw["train"][n].mean(0), draw["train"][n].std(0).clamp(min=0.1))
                 for n in NAMES[:2]}  # fmt: skip
        for parts, split in [(draw, s) for s in SPLITS] + [(None, "test")]:
            part = draw[split] if parts else emoji("twitter", "test", seed)
            moved = part | {n: (part[n] - mean) / spread for n, (mean, spread) in scale.items()}
            if parts:
                draw[split] = moved
            else:
                others.append(moved)
        draws.append(draw)
    data, rows = stacked(draws, NAMES[:2]), {}
    other = {n: torch.stack([one[n] for one in others]) for n in (*NAMES[:2], "label")}
    wrong = mispaired(other, "image", 1.0, 7)
    for row, names, change in (
        ("text", ("text",), None),
        ("image", ("image",), None),
        ("text + image", NAMES[:2], None),
        ("text + image, modality dropout", NAMES[:2], hidden_rows),
    ):
        many = Many(names, data, GRID).fit(data, 60, change=change and two_hidden(page))
        rows[row] = {
            "accuracy": {
                "same artist": rounded(many.right(data["test"])),
                "other artist": rounded(many.right(other)),
                "other artist, pictures shuffled": rounded(many.right(wrong)),
            }
        } | told(many, GRID)
    return rows


def two_hidden(page, p=0.3):
    """`hidden_rows` for a text and a picture."""

    def change(x, generators):
        return hidden_rows(page, p)({n: x[n] for n in NAMES[:2]}, generators)

    return change


# ---- attacks, by modality; four measures ----

HIDDEN, EPS, SIGMA = 64, 0.2, 0.5
FEWER = [(lr, decay) for lr in (1e-3, 3e-3, 1e-2, 3e-2) for decay in (0.0, 1.0, 3.0)]
QUICK = [(lr, 0.0) for lr in (1e-4, 3e-4, 1e-3, 3e-3)]


class Picture(nn.Module):
    """All models of a row as one function of their pictures (S * G * B, D), the rest as it is."""

    def __init__(self, many: Many, part: dict):
        super().__init__()
        self.many, self.parameters_now = many, [p.detach() for p in many.parameters]
        rest = {n: part[n] for n in many.names if n != "image"}
        self.base = many.first(rest, self.parameters_now[0]) if rest else 0

    def forward(self, images):
        shape = (*self.parameters_now[0].shape[:2], -1, images.shape[1])
        total = self.base + self.many.first({"image": images.view(shape)}, self.parameters_now[0])
        return self.many.rest(total, self.parameters_now).flatten(0, 2)


def flat(many: Many, part: dict) -> tuple:
    """Pictures (S * G * B, D) and labels of a split, once for each setting."""
    settings = many.parameters[0].shape[1]
    images = part["image"][:, None].expand(-1, settings, -1, -1)
    labels = part["label"][:, None].expand(-1, settings, -1)
    return images.flatten(0, 2), labels.flatten()


def against(page, many: Many, part: dict, eps, steps) -> torch.Tensor:
    """The accuracy (S, G) on pictures attacked with `pgd`."""
    images, labels = flat(many, part)
    generator = torch.Generator().manual_seed(0)
    start = 2 * torch.rand(images.shape, generator=generator) - 1
    with torch.enable_grad():
        found = page["pgd"](Picture(many, part), images, labels, eps, eps / 4, steps, start)
    right = (Picture(many, part)(found).argmax(1) == labels).double()
    return right.view(*many.parameters[0].shape[:2], -1).mean(2)


def along_l2(model, images, labels, radius, steps, start):
    """The same within a ball of the L2 norm: steps along the gradient, a quarter radius long."""
    found = (images + radius * start / start.norm(dim=1, keepdim=True)).clamp(0, 1)
    for _ in range(steps):
        found.requires_grad_()
        slope = torch.autograd.grad(F.cross_entropy(model(found), labels), found)[0]
        slope = slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-20)
        moved = found.detach() + radius / 4 * slope - images
        moved = moved * (radius / moved.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
        found = (images + moved).clamp(0, 1)
    return found


def attacks(page: dict) -> dict:
    """One modality attacked: the picture within a ball of either norm, the sound at a signal-to-
    noise ratio, one letter of the word; beside noise of the same size. On each modality alone and
    on all three, one hidden layer.

    About three minutes on one core.
    """
    draws = [page["load"](seed, pixels=True, image_noise=0.0) for seed in tqdm(SEEDS, "load")]
    data, rows, models = stacked(draws), {}, {}
    for names in (*[(n,) for n in NAMES], NAMES, NAMES[::2], NAMES[:2], NAMES[1:]):
        many = Many(names, data, FEWER, hidden=HIDDEN).fit(data, 36)
        models[names] = many
        rows[f"{' + '.join(names)}: clean"] = {
            "accuracy": rounded(many.right(data["test"]))
        } | told(many, FEWER)
    test = data["test"]
    for names in (("image",), NAMES):
        many, label = models[names], " + ".join(names)
        model, (images, labels) = Picture(many, test), flat(many, test)
        generator = torch.Generator().manual_seed(0)
        start = 2 * torch.rand(images.shape, generator=generator) - 1

        def note(row, found, model=model, labels=labels):
            right = (model(found).argmax(1) == labels).double().view(len(SEEDS), -1).mean(1)
            rows[row] = {"accuracy": rounded(right)}

        for eps in (0.02, 0.05, 0.1, 0.2):
            ways = {
                "random": (images + eps * start.sign()).clamp(0, 1),
                "FGSM": page["pgd"](model, images, labels, eps, eps, 1, 0 * start),
                "PGD": page["pgd"](model, images, labels, eps, eps / 4, 20, start),
                "L2 PGD": along_l2(model, images, labels, 16 * eps, 20, start),
            }
            for way, found in ways.items():
                note(f"{label}: image, {way}, {eps:g}", found)
    for seed, draw in enumerate(tqdm(draws, "sound and text")):
        for row, value in by_sound_and_text(page, draw, seed, models).items():
            rows.setdefault(row, {"accuracy": []})["accuracy"].append(round(value, 4))
    return rows


def by_sound_and_text(page, draw, seed, models) -> dict:
    """One seed's accuracies under the attacks of sound and text."""
    batch = next(iter(DataLoader(Digits("test", seed=seed, image_noise=0.0), batch_size=512,
                                 collate_fn=collate)))  # fmt: skip
    label, found = batch["label"], {}
    sound, heard = batch["audio"], batch["mask"]["audio"]
    ids, letters = batch["text"], batch["mask"]["text"]
    test = {n: draw["test"][n] for n in NAMES}

    def scaled(name, x):
        mean, spread = draw["scale"][name]
        return (x - mean) / spread

    def says(names, x):
        many = models[names]
        parameters = [p[[seed]] for p in many.parameters]
        x = {n: x[n][None] for n in names}
        return many.rest(many.first(x, parameters[0]), parameters)[0, 0]

    def score(logits):
        return (logits.argmax(1) == label).double().mean().item()

    generator = torch.Generator().manual_seed(seed)
    length = (sound.square() * heard).sum(1, keepdim=True).sqrt()
    noise = torch.randn(sound.shape, generator=generator) * heard
    for names in (("audio",), NAMES):
        who = " + ".join(names)
        for snr in (40, 30, 20):
            radius = length * 10 ** (-snr / 20)
            moved = radius * noise / noise.norm(dim=1, keepdim=True)

            def at(moved, names=names):
                bands = band_features(sound + moved, heard)
                return says(names, test | {"audio": scaled("audio", bands)})

            found[f"{who}: audio, random, {snr} dB"] = score(at(moved))
            for _ in range(8):
                moved = moved.detach().requires_grad_()
                slope = torch.autograd.grad(F.cross_entropy(at(moved), label), moved)[0] * heard
                slope = slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-20)
                moved = moved.detach() + radius / 3 * slope
                moved = moved * (radius / moved.norm(dim=1, keepdim=True)).clamp(max=1)
            found[f"{who}: audio, PGD, {snr} dB"] = score(at(moved))
    with torch.no_grad():
        for names in (("text",), NAMES):
            who, tried = " + ".join(names), []
            for place in range(ids.shape[1]):
                for letter in range(1, 27):
                    other = ids.clone()
                    other[:, place] = torch.where(letters[:, place], letter, ids[:, place])
                    x = test | {"text": scaled("text", letter_features(other, letters))}
                    logits = says(names, x)
                    losses = F.cross_entropy(logits, label, reduction="none")
                    tried.append((losses, logits.argmax(1) == label, letters[:, place]))
            losses, right, there = (torch.stack(one) for one in zip(*tried))
            worst = losses.argmax(0)
            rows = torch.arange(len(label))
            found[f"{who}: text, worst letter"] = right[worst, rows].double().mean().item()
            share = (right & there).double().sum(0) / there.double().sum(0).clamp(min=1)
            none = ~there.any(0)
            share = torch.where(none, right[0].double(), share)
            found[f"{who}: text, random letter"] = share.mean().item()
    return found


def picture_noise(page, most):
    """A change of batches: each picture in noise of its own size, from 0 to `most`."""

    def change(x, generators):
        pictures = []
        for image, generator in zip(x["image"], generators):
            sizes = most * torch.rand(len(image), 1, generator=generator)
            pictures.append(page["camera"](image, sizes, generator))
        return x | {"image": torch.stack(pictures)}

    return change


def attacked(page, eps, steps=5):
    """Each batch's pictures attacked before a step, for each model its own."""

    def attack(many, x, label):
        part = x | {"label": label}
        images, labels = flat(many, part)
        start = 2 * torch.rand(images.shape) - 1
        found = page["pgd"](Picture(many, part), images, labels, eps, eps / 2, steps, start)
        seeds, settings = many.parameters[0].shape[:2]
        return x | {"image": found.view(seeds, settings, -1, images.shape[1])}

    return attack


def one_measure(page, data, grid, *, noise=0.0, drop=0.0, eps=0.0) -> dict:
    """A row: setting and time chosen by the mean of clean, noisy and attacked accuracy on the
    validation set.
    """

    def three(many, part, steps):
        generator = torch.Generator().manual_seed(1)
        shaken = part | {"image": page["camera"](part["image"], SIGMA, generator)}
        right = [many.right(part), many.right(shaken)]
        return right + [against(page, many, part, EPS, steps)]

    many = Many(NAMES, data, grid, hidden=HIDDEN, drop=drop).fit(
        data, 36,
        change=picture_noise(page, noise) if noise else None,
        attack=attacked(page, eps) if eps else None,
        judge=lambda many: torch.stack(three(many, data["validation"], 5)).mean(0),
    )  # fmt: skip
    scores = three(many, data["test"], 20)
    names = ("clean", "noisy", "attacked")
    accuracy = {name: rounded(score) for name, score in zip(names, scores)}
    return {"accuracy": accuracy, "score": round(many.score, 4)} | told(many, grid)


def measures(page: dict) -> dict:
    """Noise in training, dropout, decay and training on attacked pictures: each alone at several
    strengths, all together, and all but one. All three modalities, one hidden layer, clear
    pictures; the picture is noisy or attacked in the test.

    About five minutes on one core.
    """
    data = stacked([page["load"](seed, pixels=True, image_noise=0.0) for seed in tqdm(SEEDS)])
    decays = [(lr, decay) for lr, _ in QUICK for decay in (0.3, 1.0, 3.0, 10.0)]
    strengths = {"noise": (0.25, 0.5, 1.0), "drop": (0.2, 0.5, 0.8), "eps": (0.05, 0.1, 0.2)}
    rows = {"nothing": one_measure(page, data, QUICK)}
    rows["decay"] = one_measure(page, data, decays)
    best = {}
    for name, values in strengths.items():
        for value in tqdm(values, name):
            rows[f"{name} {value:g}"] = one_measure(page, data, QUICK, **{name: value})
        best[name] = max(values, key=lambda value: rows[f"{name} {value:g}"]["score"])
    decay = [(lr, rows["decay"]["weight_decay"]) for lr, _ in QUICK]
    rows["all four"] = one_measure(page, data, decay, **best)
    rows["all but decay"] = one_measure(page, data, QUICK, **best)
    for name in tqdm(strengths, "all but"):
        rest = {one: value for one, value in best.items() if one != name}
        rows[f"all but {name}"] = one_measure(page, data, decay, **rest)
    return rows


SWEEPS = [corruption, missing, mismatch, shift, attacks, measures]
