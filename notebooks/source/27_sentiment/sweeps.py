"""The stored comparisons of page 27: rated texts by lists, networks and people, emoticons beside
them, other domains, LSTMs over words and over a voice, and moods.

posts, emoticons, shift and words need the rated texts and MiniLM; the first three also the package
vaderSentiment 3.3.2, whose word list they ask.
"""

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.datasets import Moods, RatedTexts
from course_utils.datasets.rated_texts import raters
from course_utils.masks import last_state, pad
from course_utils.metrics import cluster_bootstrap
from course_utils.runtime import seed_everything
from course_utils.text import tokenize
from course_utils.text_encoder import load_text_encoder

SEEDS = range(5)
SPLITS = ("train", "validation", "test")
PENALTIES = 10.0 ** np.arange(-2, 4, 0.5)
TOKEN = r"(?u)\b\w+\b|[^\w\s]+"
SHOWN = (17, 45, 55, 10, 15, 102)  # of every seventh test post of the first split


# ---- what is measured ----


def note(rows, name, **values):
    """Values of one seed; shares of what is right stand in "accuracy"."""
    row = rows.setdefault(name, {"accuracy": {}})
    for key, value in values.items():
        where = row["accuracy"] if key in ("sign", "decided", "right") else row
        where.setdefault(key, []).append(round(float(value), 4))


def scores(rows, name, said, true):
    """Mean absolute error, Pearson's r, and the share of right signs."""
    r = np.corrcoef(said, true)[0, 1] if np.std(said) else 0.0
    note(rows, name, mae=error(said, true), r=r, sign=((said > 0) == (true > 0)).mean())


def error(said, true):
    return np.abs(said - true).mean()


def ridge(x, y):
    """Of each split what ridge regression says, its penalty chosen by validation."""
    tried = [Ridge(alpha=penalty).fit(x[0], y[0]) for penalty in PENALTIES]
    best = min(tried, key=lambda one: error(one.predict(x[1]), y[1]))
    return [best.predict(part) for part in x]


def line(x, y):
    """x stretched and moved by a line that is fitted on training."""
    slope, start = np.polyfit(x[0], y[0], 1)
    return [slope * part + start for part in x]


def late(one, other, y):
    """A weighted mean of two, the weight chosen by validation."""
    weights = np.linspace(0, 1, 21)
    best = min(weights, key=lambda w: error(w * one[1] + (1 - w) * other[1], y[1]))
    return [best * a + (1 - best) * b for a, b in zip(one, other)]


def counts(texts):
    """Which words a text has, of those that two training texts have: a bag of words."""
    words = CountVectorizer(binary=True, min_df=2, token_pattern=TOKEN).fit(texts[0])
    return [words.transform(part) for part in texts]


def listed(texts):
    """What the published word list and its rules say, from -1 to 1."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    ask = SentimentIntensityAnalyzer().polarity_scores
    return np.array([ask(text)["compound"] for text in texts])


def vectors(texts):
    """MiniLM's vector of each text (N, 384); zeros for a text without a token."""
    return load_text_encoder("minilm")(texts)[0].numpy()


def all_vectors(domain, apart):
    """{row: vector} of a domain, whatever the split."""
    found = {}
    for split in SPLITS:
        part = RatedTexts(split, domain=domain, apart=apart)
        found |= dict(zip(part.rows, vectors(part.texts)))
    return found


def open_splits(seed, domain="posts", apart=True):
    parts = [RatedTexts(split, domain=domain, apart=apart, seed=seed) for split in SPLITS]
    return parts, [part.ratings.numpy().astype(float) for part in parts]


# ---- rated texts ----


def people(rows, name, given, fit_on=None, k=1, draws=20, seed=0):
    """The mean of k people drawn from each text against the mean of the others."""
    rng, totals = np.random.default_rng(seed), []
    for _ in range(draws):
        pairs = []
        for ratings in given:
            order = rng.permutation(ratings)
            pairs.append((order[:k].mean(), order[k:].mean()))
        own, others = np.array(pairs).T
        if fit_on is not None:
            own = np.polyval(fit_on, own)
        totals.append(
            (
                error(own, others),
                np.corrcoef(own, others)[0, 1],
                ((own > 0) == (others > 0)).mean(),
                ((own > 0) == (others > 0))[own != 0].mean(),
            )
        )
    mae, r, sign, decided = np.mean(totals, axis=0)
    note(rows, name, mae=mae, r=r, sign=sign, decided=decided)


def stretch(given, seed):
    """The line from one person to the mean of the others, fitted on training texts."""
    rng = np.random.default_rng(seed)
    pairs = [(order[0], order[1:].mean()) for order in map(rng.permutation, given)]
    return np.polyfit(*np.array(pairs).T, 1)


def posts(page: dict) -> dict:
    """Five splits by groups of near-duplicates: posts with their emoticons in the text, rated by
    the mean, a bag of words, MiniLM, the published list, people; and what they say of the posts
    that the page shows.

    About one minute on one core, MiniLM's vectors (another two) kept from an earlier run.
    """
    rows, given, known = {}, raters(), all_vectors("posts", apart=False)
    for seed in tqdm(SEEDS):
        parts, y = open_splits(seed, apart=False)
        texts = [part.texts for part in parts]
        said = {
            "always the mean": [np.full(len(part), y[0].mean()) for part in y],
            "bag of words": ridge(counts(texts), y),
            "MiniLM": ridge([np.stack([known[i] for i in part.rows]) for part in parts], y),
            "word list": line([listed(part) for part in texts], y),
        }
        said["bag of words and MiniLM"] = late(said["bag of words"], said["MiniLM"], y)
        said["word list and MiniLM"] = late(said["word list"], said["MiniLM"], y)
        for name, values in said.items():
            scores(rows, name, values[2], y[2])
        note(rows, "word list, as it is", sign=((listed(texts[2]) > 0) == (y[2] > 0)).mean())
        mixed = np.random.default_rng(seed).permutation(len(y[0]))
        turned = [y[0][mixed], *y[1:]]
        control = ridge([np.stack([known[i] for i in part.rows]) for part in parts], turned)
        scores(rows, "MiniLM, ratings shuffled", control[2], y[2])

        people_test = [np.array(given[i]) for i in parts[2].rows]
        people(rows, "one person", people_test, seed=seed)
        fitted = stretch([np.array(given[i]) for i in parts[0].rows], seed)
        people(rows, "one person, on a line", people_test, fitted, seed=seed)
        for k in (2, 3, 5, 10):
            people(rows, f"{k} people", people_test, k=k, seed=seed)
        rest = [np.random.default_rng(seed).permutation(one)[1:].mean() for one in people_test]
        scores(rows, "word list, against the others", said["word list"][2], np.array(rest))

        if seed == 0:
            kept = range(0, len(y[2]), 7)
            rows["test posts, first split"] = {
                "accuracy": {},
                "ratings": [people_test[i].tolist() for i in kept],
                "published": [round(float(y[2][i]), 4) for i in kept],
                "word list": [round(float(said["word list"][2][i]), 3) for i in kept],
                "MiniLM": [round(float(said["MiniLM"][2][i]), 3) for i in kept],
            }
            rows["test posts, first split"]["texts"] = {str(k): texts[2][kept[k]] for k in SHOWN}
    whole = [RatedTexts(split) for split in SPLITS]
    groups = [group for part in whole for group in part.groups]
    differ = 0
    for part in whole:
        own = np.array([np.mean(given[i]) for i in part.rows])
        differ += (np.abs(own - part.ratings.numpy()) > 0.006).sum()
    rows["facts"] = {
        "accuracy": {},
        "posts": len(groups),
        "in a group with others": sum(groups.count(group) > 1 for group in groups),
        "other mean": int(differ),
        "raters, fewest and most": [min(map(len, given)), max(map(len, given))],
        "ratings": sum(map(len, given)),
    }
    return rows


def stack(texts, bags):
    """The text's score and the emoticon's columns, side by side, of each split."""
    return [np.c_[text, bag] for text, bag in zip(texts, bags)]


def fitted(x, y):
    """Ridge regression, its penalty chosen by validation."""
    tried = [Ridge(alpha=penalty).fit(x[0], y[0]) for penalty in PENALTIES]
    return min(tried, key=lambda one: error(one.predict(x[1]), y[1]))


def plain(emoticons):
    """Emoticons in one spelling: without noses, at most two of a sign in a row."""
    import re

    return re.sub(r"(.)\1{2,}", r"\1\1", emoticons.replace("-", "")).lower()


def emoticons(page: dict) -> dict:
    """Posts with the emoticons taken out of their text, as a second modality: on those that have
    one, alone and together, shuffled, misleading; on those that have none, with and without mask.

    About half a minute on one core.
    """
    rows, known = {}, all_vectors("posts", apart=True)
    for seed in tqdm(SEEDS):
        rng = np.random.default_rng(seed)
        parts, y = open_splits(seed)
        text = ridge([np.stack([known[i] for i in part.rows]) for part in parts], y)
        there = [np.array([sign is not None for sign in part.emoticons]) for part in parts]
        signs = [[plain(sign) for sign in part.emoticons if sign] for part in parts]
        bag = CountVectorizer(binary=True, token_pattern=r"\S+", lowercase=False).fit(signs[0])
        x = [bag.transform(part).toarray() for part in signs]
        ys, texts = ([v[yes] for v, yes in zip(values, there)] for values in (y, text))
        note(rows, "facts", posts=there[2].sum(), positive=100 * (ys[2] > 0).mean())
        alone = ridge(x, ys)
        scores(rows, "text", texts[2], ys[2])
        scores(rows, "text, on a line fitted on these", line(texts, ys)[2], ys[2])
        scores(rows, "emoticon", alone[2], ys[2])
        both = late(texts, alone, ys)
        scores(rows, "weighted mean", both[2], ys[2])

        together = fitted(stack(texts, x), ys)
        scores(rows, "together", together.predict(stack(texts, x)[2]), ys[2])
        mixed = [part[rng.permutation(len(part))] for part in x]
        control = fitted(stack(texts, mixed), ys)
        scores(rows, "together, shuffled", control.predict(stack(texts, mixed)[2]), ys[2])
        wrong = stack(texts, [*x[:2], mixed[2]])[2]
        scores(rows, "together, another's emoticon at the test", together.predict(wrong), ys[2])

        none = ~there[2]
        scores(rows, "without emoticon: text", text[2][none], y[2][none])
        scores(rows, "without emoticon: mean with 0", text[2][none] / 2, y[2][none])
        scores(
            rows,
            "without emoticon: mean with the emoticons' mean",
            (text[2][none] + ys[0].mean()) / 2,
            y[2][none],
        )
        masked = text[2].copy()
        masked[there[2]] = both[2]
        scores(rows, "all posts: text", text[2], y[2])
        scores(rows, "all posts: with mask", masked, y[2])

        words = listed(parts[2].texts)[there[2]]
        against = (words * alone[2] < 0) & (np.abs(words) > 0.05)
        right = ((ys[2] > 0) == (alone[2] > 0))[against]
        note(rows, "words against emoticon", posts=against.sum(), emoticon_right=right.sum())
    return rows


def shift(page: dict) -> dict:
    """Ratings of sentences on films and products: learned there, learned from posts, and as many
    posts as there are training texts; the list.

    About one minute on one core, MiniLM's vectors (another five) kept from an earlier run.
    """
    rows, domains = {}, ("posts", "products", "film")
    known = {domain: all_vectors(domain, apart=False) for domain in domains}
    for seed in tqdm(SEEDS):
        data = {}
        for domain in domains:
            parts, y = open_splits(seed, domain, apart=False)
            x = [np.stack([known[domain][i] for i in part.rows]) for part in parts]
            lists = line([listed(part.texts) for part in parts], y)
            data[domain] = x, y, lists
        for domain, (x, y, lists) in data.items():
            scores(rows, f"{domain}: learned there", ridge(x, y)[2], y[2])
            scores(rows, f"{domain}: word list", lists[2], y[2])
            fewer = len(data["products"][1][0])
            chosen = np.random.default_rng(seed).permutation(len(y[0]))[:fewer]
            cut = ridge([x[0][chosen], *x[1:]], [y[0][chosen], *y[1:]])
            scores(rows, f"{domain}: learned there, {fewer}", cut[2], y[2])
            if domain != "posts":
                posts_x, posts_y, _ = data["posts"]
                moved = ridge([*posts_x[:2], x[2]], posts_y)
                scores(rows, f"{domain}: learned from posts", moved[2], y[2])
                back = line([ridge([*posts_x[:2], part], posts_y)[2] for part in x], y)
                scores(rows, f"{domain}: learned from posts, on a line", back[2], y[2])
    return rows


def read_sentences(page: dict) -> dict:
    """What the rated texts say of the sentences of `moods`: a score for each word, from a bag of
    words without emoticons, and MiniLM's for each sentence. First split only.

    About ten seconds on one core, MiniLM's vectors kept from an earlier run.
    """
    parts, y = open_splits(0)
    sentences = sorted({text for split in SPLITS for text in Moods(split).texts})
    known = all_vectors("posts", apart=True)
    x = [np.stack([known[i] for i in part.rows]) for part in parts]
    said = ridge([*x[:2], vectors(sentences)], y)[2]
    words = CountVectorizer(binary=True, min_df=2, tokenizer=tokenize, token_pattern=None)
    bags = words.fit_transform(parts[0].texts), words.transform(parts[1].texts)
    tried = [Ridge(alpha=penalty).fit(bags[0], y[0]) for penalty in PENALTIES]
    best = min(tried, key=lambda one: error(one.predict(bags[1]), y[1]))
    index = words.vocabulary_
    used = sorted({word for text in sentences for word in tokenize(text)})
    found = {word: round(float(best.coef_[index[word]]), 3) for word in used if word in index}
    return {
        "sentences": {
            "accuracy": {},
            "score": {text: round(float(v), 3) for text, v in zip(sentences, said)},
        },
        "words": {"accuracy": {}, "weight": found, "asked for": len(used)},
    }


# ---- two heads ----

RATES, DECAYS = (1e-4, 3e-4, 1e-3, 3e-3), (0.1, 1.0, 3.0)
SHARES = (0.3, 1.0)  # of the sign's loss, where both heads learn


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(384, 64), nn.ReLU())
        self.rating, self.sign = nn.Linear(64, 1), nn.Linear(64, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.rating(h).squeeze(-1), self.sign(h).squeeze(-1)


def head_losses(said, y):
    """Mean squared error in units of the ratings' variance, which is 3 or so; binary CE."""
    rating, logit = said
    return F.mse_loss(rating, y) / 3, F.binary_cross_entropy_with_logits(logit, (y > 0).float())


def one_head(x, y, seed, weights, rate, decay, epochs=15):
    """What both heads say of all splits at the epoch with the least validation loss, and that."""
    generator = seed_everything(seed)
    net, best = TwoHeads(), (float("inf"), None)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    for _ in range(epochs):
        for rows in torch.randperm(len(y[0]), generator=generator).split(128):
            losses = head_losses(net(x[0][rows]), y[0][rows])
            optimizer.zero_grad()
            sum(w * loss for w, loss in zip(weights, losses)).backward()
            optimizer.step()
        with torch.no_grad():
            losses = head_losses(net(x[1]), y[1])
            total = sum(float(w > 0) * loss.item() for w, loss in zip(weights, losses))
            if total < best[0]:
                best = total, [[part.numpy() for part in net(one)] for one in x]
    return best


def heads(page: dict) -> dict:
    """A trunk on MiniLM's vectors of posts with a head for the rating, for the sign, or both; rate,
    decay, epoch and the share of the second loss chosen by validation.

    About two minutes on one core.
    """
    rows, known = {}, all_vectors("posts", apart=False)
    for seed in tqdm(SEEDS):
        parts, y = open_splits(seed, apart=False)
        x = [np.stack([known[i] for i in part.rows]) for part in parts]
        middle, spread = x[0].mean(0), x[0].std()
        x = [torch.from_numpy((part - middle) / spread).float() for part in x]
        targets = [torch.from_numpy(part).float() for part in y]
        kinds = {"rating": [(1, 0)], "sign": [(0, 1)], "both": [(1, w) for w in SHARES]}
        for name, choices in kinds.items():
            tried = [
                (*one_head(x, targets, seed, weights, rate, decay), rate, decay, weights[1])
                for weights in choices
                for rate in RATES
                for decay in DECAYS
            ]
            _, said, rate, decay, share = min(tried, key=lambda one: one[0])
            ratings = [one[0] for one in said]
            logits = [one[1] for one in said]
            rated = line(logits, y)[2] if name == "sign" else ratings[2]
            note(
                rows,
                name,
                mae=error(rated, y[2]),
                r=np.corrcoef(rated, y[2])[0, 1],
                sign=(((ratings if name == "rating" else logits)[2] > 0) == (y[2] > 0)).mean(),
                rate=rate,
                decay=decay,
                share=share,
            )
    return rows


# ---- a state at the end of a sequence ----


def own_end(lstm, steps, mask):
    """What packing gives in one direction, from the padded pass: the state at each row's end."""
    return last_state(lstm(steps)[0], mask)


def padding_end(lstm, steps, mask):
    return lstm(steps)[0][:, -1]


def left_end(lstm, steps, mask):
    """The same line, with the padding before the steps."""
    places = (torch.arange(steps.shape[1]) - (~mask).sum(1, keepdim=True)) % steps.shape[1]
    moved = steps.gather(1, places[..., None].expand_as(steps))
    return lstm(moved)[0][:, -1]


def steps_mean(lstm, steps, mask):
    return (lstm(steps)[0] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


TONE_RATES = (0.003, 0.01, 0.03, 0.1, 0.3)


def tone(page: dict, seeds=range(10)) -> dict:
    """Tones of new voices by an LSTM over the melody: its state at each row's own end, at the
    padding, with the padding before the steps, the mean of its states; without the voice's own
    mean; with the tones of training and validation shuffled. Rate and epoch chosen by validation.
    Ten seeds, because five left it open what reading at the padding costs.

    About four minutes on one core.
    """
    rows = {}
    data = {split: page["melodies"](split) for split in SPLITS}
    plain_data = {split: page["melodies"](split, centred=False) for split in SPLITS}
    right = {}
    for seed in tqdm(seeds):
        generator, mixed = seed_everything(seed), dict(data)
        for split in ("train", "validation"):
            order = torch.randperm(len(data[split]["tone"]), generator=generator)
            mixed[split] = data[split] | {"tone": data[split]["tone"][order]}
        ways = {
            "packed": (own_end, data),
            "read at the padding": (padding_end, data),
            "padding on the left": (left_end, data),
            "mean over the steps": (steps_mean, data),
            "packed, pitch not centred": (own_end, plain_data),
            "packed, tones shuffled": (own_end, mixed),
        }
        for name, (read, given) in ways.items():
            tried = []
            for rate in TONE_RATES:
                reader, loss = page["read_tone"](read, given, seed, rate)
                tried.append((loss, rate, reader))
            _, rate, reader = min(tried, key=lambda one: one[0])
            part = given["test"]
            with torch.no_grad():
                said = reader(part["steps"], part["mask"]).argmax(1)
                fit = given["train"]
                trained = reader(fit["steps"], fit["mask"]).argmax(1) == fit["tone"]
            good = (said == part["tone"]).double()
            right.setdefault(name, []).append(good)
            row = rows.setdefault(name, {"accuracy": [], "trained on": [], "rate": []})
            row["accuracy"].append(round(good.mean().item(), 4))
            row["trained on"].append(round(trained.double().mean().item(), 4))
            row["rate"].append(rate)
    voices = data["test"]["voice"].tolist()
    for name in list(ways)[1:]:
        apart = torch.stack(right["packed"]).mean(0) - torch.stack(right[name]).mean(0)
        low, high = cluster_bootstrap(apart.tolist(), voices)
        rows[name]["packed leads, by voices"] = [round(low, 4), round(high, 4)]
    return rows


# ---- moods ----

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)


def regress(x, y):
    """A logistic regression, its strength chosen by validation (the loss, which ties less)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    tried = [LogisticRegression(C=c, max_iter=3000).fit(x[0], y[0]) for c in STRENGTHS]
    return min(tried, key=lambda one: log_loss(y[1], one.predict_proba(x[1])))


def fit_moods(x, y, names):
    """A regression on these modalities glued together, and its inputs of each split."""
    inputs = [np.hstack([x[split][name] for name in names]) for split in SPLITS]
    return regress(inputs, [y[split] for split in SPLITS]), inputs


def told_right(model, inputs, y):
    return model.predict(inputs[2]) == y["test"]


def end_to_end(page, data, seed):
    """Right in test of two LSTMs, words and melody, trained together on the mood alone."""
    tried = []
    for rate in (0.003, 0.01, 0.03):
        generator = seed_everything(seed)
        net, best = page["WordsAndVoice"](), (float("inf"), 0.0)
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
        for _ in range(25):
            for rows in torch.randperm(600, generator=generator).split(64):
                batch = [part[rows] for part in data["train"]]
                loss = F.binary_cross_entropy_with_logits(net(*batch[:4]), batch[4])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                *inputs, y = data["validation"]
                loss = F.binary_cross_entropy_with_logits(net(*inputs), y).item()
                *inputs, y = data["test"]
                if loss < best[0]:
                    best = loss, ((net(*inputs) > 0) == y).double().mean().item()
        tried.append(best)
    return min(tried)[1]


def moods(page: dict) -> dict:
    """Words, tone and emoji of `moods` alone and together, shuffled, missing at the test, where
    words and tone disagree; other scores for the words; two LSTMs trained on the mood alone.

    About four minutes on one core.
    """
    lent = page["stored"]("27", "read_sentences")
    weight, score = lent["words"]["weight"], lent["sentences"]["score"]
    rates = page["stored"]("27", "tone")["packed"]["rate"]
    rows, gains, voices = {}, [], []
    melodies = {split: page["melodies"](split) for split in SPLITS}
    sentences = sorted(score)
    known = dict(zip(sentences, vectors(sentences)))
    for seed in tqdm(SEEDS):
        rng = np.random.default_rng(seed)
        reader, _ = page["read_tone"](own_end, melodies, seed, rates[seed])
        drawn = {split: Moods(split, seed=seed) for split in SPLITS}
        x, y, together = {}, {}, {}
        for split, part in melodies.items():
            with torch.no_grad():
                logits = reader(part["steps"], part["mask"])
            found, label = page["features"](split, seed, logits)
            x[split] = {name: value.numpy() for name, value in found.items()}
            y[split] = label.numpy()
            texts = drawn[split].texts
            bags = [sum(weight.get(w, 0.0) for w in page["tokenize"](text)) for text in texts]
            x[split]["bag of words' weights"] = np.array(bags)[:, None]
            x[split]["word list"] = listed(texts)[:, None]
            x[split]["MiniLM learned here"] = np.stack([known[text] for text in texts])
            x[split]["signs"] = drawn[split].says.numpy().astype(float)
            words, seen = pad(
                [
                    torch.tensor([[weight.get(w, 0.0)] for w in page["tokenize"](text)])
                    for text in texts
                ]
            )
            places = drawn[split].places
            together[split] = (
                words,
                seen.sum(1),
                part["steps"][places],
                part["mask"].sum(1)[places],
                label.float(),
            )
        bag = CountVectorizer(binary=True, tokenizer=page["tokenize"], token_pattern=None)
        bag.fit(drawn["train"].texts)
        for split in SPLITS:
            x[split]["bag of words learned here"] = bag.transform(drawn[split].texts).toarray()

        all_three, found = ("words", "tone", "emoji"), {}
        for names in (
            ("words",),
            ("tone",),
            ("emoji",),
            ("words", "tone"),
            ("words", "emoji"),
            ("tone", "emoji"),
            all_three,
            ("bag of words' weights",),
            ("word list",),
            ("MiniLM learned here",),
            ("bag of words learned here",),
            ("bag of words' weights", "tone"),
            ("signs",),
        ):
            found[names] = told_right(*fit_moods(x, y, names), y)
            note(rows, " + ".join(names), right=found[names].mean())
        for name in all_three:
            mixed = {}
            for split in SPLITS:
                order = rng.permutation(len(y[split]))
                mixed[split] = x[split] | {name: x[split][name][order]}
            control = told_right(*fit_moods(mixed, y, all_three), y)
            note(rows, f"all, {name} shuffled", right=control.mean())
        model, inputs = fit_moods(x, y, all_three)
        for name, (start, end) in zip(all_three, ((0, 1), (1, 4), (4, 10))):
            other = inputs[2].copy()
            other[:, start:end] = other[rng.permutation(len(other)), start:end]
            wrong = told_right(model, [None, None, other], y)
            note(rows, f"all, another's {name} at the test", right=wrong.mean())
        says = drawn["test"].says.numpy()
        there = says[:, 2] != 0
        note(rows, "all, samples with emoji", right=found[all_three][there].mean())
        note(rows, "all, samples without emoji", right=found[all_three][~there].mean())
        note(
            rows, "words + tone, samples without emoji", right=found["words", "tone"][~there].mean()
        )
        apart = says[:, 0] * says[:, 1] == -1
        clips = len(set(drawn["test"].places[torch.from_numpy(apart)].tolist()))
        note(
            rows,
            "all, where words and tone disagree",
            right=found[all_three][apart].mean(),
            samples=apart.sum(),
            clips=clips,
        )
        single = max(all_three, key=lambda name: rows[name]["accuracy"]["right"][-1])
        gains.extend(found[all_three].astype(float) - found[(single,)].astype(float))
        voices.extend(melodies["test"]["voice"][drawn["test"].places].tolist())
        note(rows, "two LSTMs", right=end_to_end(page, together, seed))
    low, high = cluster_bootstrap(gains, voices)
    rows["all, lead over the best single, by voices"] = {
        "accuracy": {},
        "interval": [round(low, 4), round(high, 4)],
    }
    return rows


SWEEPS = [posts, emoticons, shift, heads, read_sentences, tone, moods]
