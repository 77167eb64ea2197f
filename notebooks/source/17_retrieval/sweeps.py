"""The stored comparisons of page 17: a search in scenes, emoji of two artists, and what else a
space is good for.
"""

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.losses import info_nce
from course_utils.metrics import equal_names, recall_at, retrieval_ranks
from course_utils.runtime import seed_everything

SEEDS = range(5)
PENALTIES = (100.0, 300.0, 1e3, 3e3, 1e4, 3e4)
ARTISTS = ("google", "twitter")
SIZES = (25, 50, 100, 200, 300)
QUERIES = (
    "a plant",
    "a fast vehicle",
    "something to drink",
    "I am happy",
    "sad",
    "animal with wings",
    "something to eat",
    "no rain",
)
THERE = ("crying face", "wine glass")  # looked for in the gallery of QUERIES
TEMPLATES = ("{}", "a picture of {}", "an emoji of {}", "a drawing of {}", "{}, an icon")


def note(rows, name, **values):
    """Values of one seed; shares of what is found or right stand in "accuracy"."""
    row = rows.setdefault(name, {"accuracy": {}})
    for key, value in values.items():
        where = row if key in ("median", "gap", "penalty", "nmi") else row["accuracy"]
        where.setdefault(key, []).append(round(float(value), 4))


def both_ways(rows, name, scores, right):
    """`scores` (sentences, pictures), and which belong together."""
    for way, table, yes in (("picture", scores, right), ("sentence", scores.T, right.T)):
        ranks = retrieval_ranks(table, yes)
        shares = {f"{way} {k}": recall_at(ranks, k) for k in (1, 10)}
        note(rows, name, **shares)
        rows[name].setdefault(f"median {way}", []).append(ranks.quantile(0.5).item())


# ---- scenes ----

WAYS = {"colour": "a {} thing", "shape": "a {}", "size": "a {} thing"}
SCENE_TEMPLATES = {"bare": ("{}",), "templates": ("a {0}", "a picture of a {0}", "there is a {0}")}


def prompts(page, pair, values, thing, templates):
    """(C, T, D): a row a class."""
    texts = [one.format(f"{value}{thing}") for value in values for one in templates]
    with torch.no_grad():
        vectors = pair[1](page["numbered"](texts)[0])
    return F.normalize(vectors, dim=1).unflatten(0, (len(values), len(templates)))


def share(scores, labels):
    return (scores.argmax(1) == labels).double().mean().item()


def probe(x, labels, count, validation, val_labels, test, test_labels):
    """Ridge regression to the classes, the penalty chosen on validation: right in test."""
    like, tried = x, []
    x, validation, test = (
        torch.cat([(z - like.mean(0)) / like.std(0).clamp(min=1e-6), torch.ones(len(z), 1)], 1)
        for z in (x, validation, test)
    )
    y = F.one_hot(labels, count).float()
    gram, right = x.T @ x, x.T @ y
    for penalty in (0.1, 1.0, 10.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5):
        weights = torch.linalg.solve(gram + penalty * torch.eye(len(gram)), right)
        tried.append(
            (share(validation @ weights, val_labels), penalty, share(test @ weights, test_labels))
        )
    return max(tried)[2]


def scenes(page: dict) -> dict:
    """Five seeds of the page's two networks: what is found, counted in three ways; a space that
    learned from shuffled pairs; the gap and its shift; zero-shot, means and a probe.

    About two minutes on one core.
    """
    rows = {}
    for seed in tqdm(SEEDS):
        part, _ = page["load"]("train", 3_200, seed)
        test, _ = page["load"]("test", 500, seed)
        val, _ = page["load"]("validation", 500, seed)
        order = torch.randperm(3_200, generator=torch.Generator().manual_seed(seed))
        pair = page["train"](part, seed)
        pictures, sentences = page["embed"](pair, test)
        own = torch.eye(500).bool()
        same = (test["said"][:, None] == test["said"]).all(2)
        fit = page["fits"](test["said"], test["shown"])
        scores = sentences @ pictures.T
        for name, right in (("own", own), ("same", same), ("fits", fit)):
            both_ways(rows, name, scores, right)
            both_ways(rows, f"{name}, collapsed", torch.ones(500, 500), right)
        mixed = page["train"](part | {n: part[n][order] for n in ("ids", "said")}, seed)
        others = page["embed"](mixed, test)
        both_ways(rows, "fits, pairs shuffled", others[1] @ others[0].T, fit)

        gap = pictures.mean(0) - sentences.mean(0)
        for step in (0.0, 0.5, 1.0):
            p = F.normalize(pictures - step / 2 * gap, dim=1)
            s = F.normalize(sentences + step / 2 * gap, dim=1)
            both_ways(rows, f"shift {step}", s @ p.T, fit)
            everything = s @ torch.cat([p, s]).T
            everything[:, 500:].fill_diagonal_(-2)
            nearest = everything.topk(10, 1).indices
            note(
                rows,
                f"shift {step}",
                gap=(p.mean(0) - s.mean(0)).norm(),
                mixed=(nearest < 500).double().mean(),
            )

        known, _ = page["embed"](pair, part)
        valid, _ = page["embed"](pair, val)
        start = 0
        for kind, values in page["ATTRIBUTES"].items():
            labels, val_labels, true = (
                one["shown"][:, start : start + len(values)].int().argmax(1)
                for one in (part, val, test)
            )
            start += len(values)
            thing = "" if kind == "shape" else " thing"
            for name, templates in SCENE_TEMPLATES.items():
                vectors = prompts(page, pair, values, "" if name == "bare" else thing, templates)
                note(
                    rows,
                    f"zero-shot, {name}",
                    **{kind: share(pictures @ F.normalize(vectors.mean(1), dim=1).T, true)},
                )
                vectors = prompts(page, mixed, values, "" if name == "bare" else thing, templates)
                note(
                    rows,
                    f"zero-shot, {name}, pairs shuffled",
                    **{kind: share(others[0] @ F.normalize(vectors.mean(1), dim=1).T, true)},
                )
            means = torch.stack([known[labels == c].mean(0) for c in range(len(values))])
            note(rows, "class means", **{kind: share(pictures @ F.normalize(means, dim=1).T, true)})
            note(
                rows,
                "linear probe",
                **{kind: probe(known, labels, len(values), valid, val_labels, pictures, true)},
            )
            a, b = page["embed"](mixed, part)[0], page["embed"](mixed, val)[0]
            note(
                rows,
                "linear probe, pairs shuffled",
                **{kind: probe(a, labels, len(values), b, val_labels, others[0], true)},
            )
            note(rows, "most frequent", **{kind: (true == labels.mode().values).double().mean()})
    return rows


# ---- emoji ----


def encoders(page):
    return page["load_image_encoder"]("efficientnet-lite0"), page["load_text_encoder"]()


def reciprocal(said, pictures):
    """The mean of 1 / place, by which the penalty is chosen on the validation split."""
    scores = F.normalize(said, dim=1) @ F.normalize(pictures, dim=1).T
    return (1 / retrieval_ranks(scores, torch.eye(len(scores)).bool())).mean().item()


def by_ridge(x, y, validation, penalties=PENALTIES):
    """Weights of the best penalty on `validation`, a list of (names, pictures)."""
    tried = []
    gram, right = x.T @ x, x.T @ y
    for penalty in penalties:
        weights = torch.linalg.solve(gram + penalty * torch.eye(len(gram)), right)
        score = sum(reciprocal(names, pictures @ weights) for names, pictures in validation)
        tried.append((score, penalty, weights))
    return max(tried, key=lambda one: one[0])[1:]


def equals(data, where):
    """Names that are equal or nearly so."""
    names = [data["said"][i] for i in where.tolist()]
    return equal_names(names, vectors=data["name"][where])


def whole_groups(page, train, seed, size=300):
    """Numbers of trained emoji, drawn by whole groups as the test split is, and which share of a
    gallery has a sibling in it: a function.
    """
    group = {x["emoji"]: x["group"] for x in page["Emoji"]("train", seed=seed)}
    group |= {x["emoji"]: x["group"] for x in page["Emoji"]("test", seed=seed)}
    members, found = {}, []
    for one in train.tolist():
        members.setdefault(group[one], []).append(one)
    lists = list(members.values())
    draw = torch.Generator().manual_seed(100 + seed)
    for i in torch.randperm(len(lists), generator=draw).tolist():
        if len(found) + len(lists[i]) <= size:
            found += lists[i]

    def siblings(where):
        groups = torch.tensor([group[one] for one in where.tolist()])
        return ((groups[:, None] == groups).sum(1) > 1).double().mean().item()

    return torch.tensor(found), siblings


def artists(page: dict) -> dict:
    """Ridge regression from pictures to names, learned from one artist's drawings of 1,200 emoji
    or from both. Galleries of 300: emoji never seen, an artist never seen, both, neither; own name
    alone and names nearly equal as right; a shift of the other artist's mean and deviation; and
    galleries of other sizes. Penalties are chosen on the validation split. Needs the emoji.

    About three minutes on one core.
    """
    rows, data = {}, page["emoji_vectors"](*encoders(page))
    scaled = page["scaled"]
    for seed in tqdm(SEEDS):
        split = page["emoji_split"](seed)
        train, val, test = split["train"], split["validation"], split["test"]
        draw = torch.Generator().manual_seed(seed)
        old = train[torch.randperm(1_200, generator=draw)[:300]]
        half = torch.rand(1_200, generator=draw) < 0.5
        whole, siblings = whole_groups(page, train, seed)
        for kind, where in (("never-seen emoji", test), ("one by one", old), ("whole", whole)):
            note(rows, "siblings", **{kind: siblings(where)})
        name = data["name"] - data["name"][train].mean(0)
        for first, second in (ARTISTS, ARTISTS[::-1]):
            one, two = data[first], data[second]
            a, b = scaled(one, one[train]), scaled(two, one[train])
            penalty, weights = by_ridge(a[train], name[train], [(name[val], a[val])])
            note(rows, f"from {first}", penalty=penalty)
            own = {
                "mean": (two - two[train].mean(0)) / one[train].std(0).clamp(min=1e-6),
                "mean and deviation": scaled(two, two[train]),
            }
            galleries = {
                "never-seen emoji": (test, a),
                "never-seen artist": (old, b),
                "both": (test, b),
                "neither": (old, a),
                "never-seen artist, whole groups": (whole, b),
            }
            for kind, pictures in own.items():
                galleries[f"never-seen artist, {kind}"] = old, pictures
                galleries[f"both, {kind}"] = test, pictures
            for kind, (where, pictures) in galleries.items():
                scores = (
                    F.normalize(name[where], dim=1)
                    @ F.normalize(pictures[where] @ weights, dim=1).T
                )
                both_ways(rows, f"{first}: {kind}", scores, equals(data, where))
                both_ways(rows, f"{first}: {kind}, own only", scores, torch.eye(300).bool())
            mixed = by_ridge(
                a[train], name[train][torch.randperm(1_200, generator=draw)], [(name[val], a[val])]
            )[1]
            scores = F.normalize(name[test], dim=1) @ F.normalize(a[test] @ mixed, dim=1).T
            both_ways(
                rows, f"{first}: never-seen emoji, pairs shuffled", scores, equals(data, test)
            )

            like = torch.cat([one[train], two[train]])
            p, q = scaled(one, like), scaled(two, like)
            choices = {
                "2,400 pairs of both": (torch.cat([p[train], q[train]]), name[train].repeat(2, 1)),
                "1,200 pairs of both": (
                    torch.where(half[:, None], p[train], q[train]),
                    name[train],
                ),
            }
            for kind, (x, y) in choices.items():
                _, weights_both = by_ridge(x, y, [(name[val], p[val]), (name[val], q[val])])
                for which, pictures in (("first", p), ("second", q)):
                    scores = (
                        F.normalize(name[test], dim=1)
                        @ F.normalize(pictures[test] @ weights_both, dim=1).T
                    )
                    both_ways(rows, f"{first}: {kind}, {which}", scores, equals(data, test))

            if first == "google":
                said, shown = F.normalize(name[test], dim=1), F.normalize(a @ weights, dim=1)
                for size in SIZES:
                    for _ in range(1 if size == 300 else 20):
                        some = torch.randperm(300, generator=draw)[:size]
                        places = retrieval_ranks(
                            said[some] @ shown[test[some]].T, equals(data, test[some])
                        )
                        rows.setdefault(f"gallery {size}", {"accuracy": {}})
                        for k in (1, 10):
                            rows[f"gallery {size}"].setdefault(f"draws {k}", []).append(
                                recall_at(places, k)
                            )
                    row = rows[f"gallery {size}"]
                    note(
                        rows,
                        f"gallery {size}",
                        **{
                            f"picture {k}": sum(row[f"draws {k}"]) / len(row.pop(f"draws {k}"))
                            for k in (1, 10)
                        },
                    )
                where = torch.cat([test, train])
                right = equal_names(
                    [data["said"][i] for i in test.tolist()],
                    [data["said"][i] for i in where.tolist()],
                    vectors=data["name"][test],
                    other_vectors=data["name"][where],
                )
                places = retrieval_ranks(said @ shown[where].T, right)
                note(
                    rows, "gallery 1500", **{f"picture {k}": recall_at(places, k) for k in (1, 10)}
                )
    return rows


DIALS = ((3e-4, 0.1), (3e-4, 1.0), (1e-3, 1.0))  # rate, weight decay


def contrast(x, y, validation, seed, rate, decay, epochs=60, dropout=0.5, width=512):
    """Two linear maps by InfoNCE, as they were in the epoch with the best validation score."""
    generator = seed_everything(seed)
    maps = nn.ModuleList([nn.Linear(x.shape[1], width), nn.Linear(y.shape[1], width)])
    optimizer, best = torch.optim.AdamW(maps.parameters(), lr=rate, weight_decay=decay), (-1, None)
    for epoch in range(1, epochs + 1):
        for chosen in torch.randperm(len(x), generator=generator).split(128)[:9]:
            a, b = maps[0](F.dropout(x[chosen], dropout)), maps[1](F.dropout(y[chosen], dropout))
            optimizer.zero_grad()
            info_nce(a, b, 1 / 0.07).backward()
            optimizer.step()
        if epoch % 4 == 0:
            with torch.no_grad():
                score = reciprocal(maps[1](validation[1]), maps[0](validation[0]))
                if score > best[0]:
                    best = score, [(m.weight.clone(), m.bias.clone()) for m in maps]
    (u, c), (v, d) = best[1]
    return best[0], lambda z: z @ u.T + c, lambda z: z @ v.T + d


def tuned(x, y, validation, seed, choices=DIALS):
    """Both maps, and the dials of the best validation score."""
    found = {dials: contrast(x, y, validation, seed, *dials) for dials in choices}
    best = max(found, key=lambda dials: found[dials][0])
    return *found[best][1:], best


def uses(page: dict) -> dict:
    """Spaces of ridge and of contrast from one artist's emoji, each also from shuffled pairs: the
    bet with contrast; zero-shot classes, class means and probes; clusters. Needs the emoji.

    About four minutes on one core.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    rows = {}
    look, read = encoders(page)
    data, scaled = page["emoji_vectors"](look, read), page["scaled"]
    label, count = data["label"], len(page["CATEGORIES"])
    names = [one.lower().replace("&", "and") for one in page["CATEGORIES"]]
    asked = F.normalize(read([t.format(n) for n in names for t in TEMPLATES])[0], dim=1)
    for seed in tqdm(SEEDS):
        split = page["emoji_split"](seed)
        train, val, test = split["train"], split["validation"], split["test"]
        draw = torch.Generator().manual_seed(seed)
        old = train[torch.randperm(1_200, generator=draw)[:300]]
        order = train[torch.randperm(1_200, generator=draw)]
        mean = data["name"][train].mean(0)
        name, asks = data["name"] - mean, asked - mean
        a, b = (scaled(data[x], data["google"][train]) for x in ARTISTS)
        words = scaled(data["name"], data["name"][train])
        ask_words = scaled(asked, data["name"][train])
        valid = [(name[val], a[val])]

        most = label[train].mode().values
        note(rows, "most frequent", probe=(label[test] == most).double().mean())
        spaces, dials, penalty = {}, None, None
        for kind, partner in (("", train), (", pairs shuffled", order)):
            chosen = [penalty] if kind else PENALTIES
            penalty, weights = by_ridge(a[train], name[partner], valid, chosen)
            spaces[f"ridge{kind}"] = a @ weights, b @ weights, name, asks
            # pairs shuffled: the dials of the right ones
            choices = [dials] if kind else DIALS
            held = a[val], words[val]
            see, hear, dials = tuned(a[train], words[partner], held, seed, choices)
            spaces[f"contrast{kind}"] = see(a), see(b), hear(words), hear(ask_words)
        spaces["random map"] = a @ torch.randn(1280, 384, generator=draw), None, None, None
        spaces["picture vectors"] = a, None, None, None
        for kind, (mine, other, said, ask) in spaces.items():
            part = [mine[x] for x in (train, val, test)]
            note(
                rows,
                kind,
                probe=probe(
                    part[0], label[train], count, part[1], label[val], part[2], label[test]
                ),
            )
            means = torch.stack(
                [F.normalize(part[0], dim=1)[label[train] == c].mean(0) for c in range(count)]
            )
            note(rows, kind, means=share(page["cosines"](part[2], means), label[test]))
            groups = KMeans(count, n_init=4, random_state=seed).fit_predict(
                F.normalize(part[2], dim=1).numpy()
            )
            note(rows, kind, nmi=normalized_mutual_info_score(label[test].numpy(), groups))
            if said is None:
                continue
            ask = F.normalize(ask, dim=1).unflatten(0, (count, len(TEMPLATES)))
            for form, vectors in (("bare", ask[:, 0]), ("templates", ask.mean(1))):
                note(rows, kind, **{form: share(page["cosines"](part[2], vectors), label[test])})
            middle = torch.stack(
                [F.normalize(said[train], dim=1)[label[train] == c].mean(0) for c in range(count)]
            )
            note(rows, kind, names=share(page["cosines"](part[2], middle), label[test]))
            for gallery, where, pictures in (
                ("never-seen emoji", test, mine),
                ("never-seen artist", old, other),
                ("both", test, other),
            ):
                both_ways(
                    rows,
                    f"{kind}: {gallery}",
                    page["cosines"](said[where], pictures[where]),
                    equals(data, where),
                )
            if kind == "contrast":
                p, s = F.normalize(part[2], dim=1), F.normalize(said[test], dim=1)
                gap = p.mean(0) - s.mean(0)
                for step in (0.0, 1.0):
                    u, v = p - step / 2 * gap, s + step / 2 * gap
                    both_ways(rows, f"shift {step}", page["cosines"](v, u), equals(data, test))
                    note(rows, f"shift {step}", gap=(u.mean(0) - v.mean(0)).norm())
        groups = KMeans(count, n_init=4, random_state=seed).fit_predict(name[test].numpy())
        note(rows, "names", nmi=normalized_mutual_info_score(label[test].numpy(), groups))
    return rows


def words(page: dict) -> dict:
    """The five emoji of 300 never seen that ridge regression finds for words, in the first split,
    and the recall of their own names in all five. Needs the emoji.

    About fifteen seconds on one core.
    """
    rows = {}
    look, read = encoders(page)
    data = page["emoji_vectors"](look, read)
    asked = F.normalize(read(list(QUERIES))[0], dim=1)
    for seed in SEEDS:
        split = page["emoji_split"](seed)
        train, val, test = split["train"], split["validation"], split["test"]
        mean = data["name"][train].mean(0)
        name, a = data["name"] - mean, page["scaled"](data["google"], data["google"][train])
        weights = by_ridge(a[train], name[train], [(name[val], a[val])])[1]
        scores = page["cosines"](name[test], a[test] @ weights)
        both_ways(rows, "ridge", scores, equals(data, test))
        if seed == 0:
            gallery = [data["said"][i] for i in test.tolist()]
            rows["ridge"]["there"] = [one for one in THERE if one in gallery]
            near = page["cosines"](asked - mean, a[test] @ weights).topk(5).indices.tolist()
            rows["ridge"]["found"] = {
                query: [data["said"][test[i]] for i in found] for query, found in zip(QUERIES, near)
            }
    return rows


SWEEPS = [scenes, artists, uses, words]
