"""The stored comparison of page 14: what a small GPT keeps at its first and last token.

A draft: its page is not written yet; draft.md holds its text.
"""

import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F
from tqdm import tqdm
from transformers import GPT2Config, GPT2Model

from course_utils.masks import last_state, masked_mean
from course_utils.runtime import seed_everything
from course_utils.text import Vocabulary

SEEDS = range(5)
ANIMALS = ["cat", "dog", "fox", "owl"]


def chases(size, seed, ending=""):
    """Sentences "the ... a chases the ... b", and the place of a; a "useful" ending names it, a
    "useless" one any animal.
    """
    draws = torch.Generator().manual_seed(seed)

    def pick(options):
        return options[int(torch.randint(len(options), (), generator=draws))]

    texts, labels = [], []
    for _ in range(size):
        a, b = torch.randperm(4, generator=draws)[:2].tolist()
        parts = [
            pick(["", "today", "now and then"]),
            "the",
            pick(["", "small", "very old"]),
            ANIMALS[a],
            "chases the",
            pick(["", "big", "quick red"]),
            ANIMALS[b],
            pick(["", "away", "into the house"]),
        ]
        if ending:
            parts.append(
                "so the "
                + ("" if ending == "cut" else ANIMALS[a] if ending == "useful" else pick(ANIMALS))
            )
        texts.append(
            " ".join(filter(None, parts)).strip() + " is tired" * (ending in ("useful", "useless"))
        )
        labels.append(a)
    return texts, torch.tensor(labels)


def linear_head(x, y, test_x, test_y):
    """The test accuracy of a linear head that learns from vectors x (N, D) and labels y (N,)."""
    return LogisticRegression(C=10, max_iter=3000).fit(x, y).score(test_x, test_y)


def word_pairs(texts, y, test_texts, test_y):
    """The same on counted pairs of neighbours, of those that the labelled texts have."""
    counter = CountVectorizer(ngram_range=(2, 2)).fit(texts)
    return linear_head(counter.transform(texts), y, counter.transform(test_texts), test_y)


def labelled_and_fresh(labelled, seed, ending=""):
    """Texts and labels to learn from, then 500 others to be tested on, none of which is among
    the first.
    """
    texts, labels = chases(labelled, 10 * seed + 1, ending)
    fresh = [
        (text, label)
        for text, label in zip(*chases(1000, 10 * seed + 2, ending))
        if text not in texts
    ][:500]
    return texts, labels, [text for text, _ in fresh], torch.tensor([label for _, label in fresh])


def pretrain(ending, seed, epochs):
    """A small GPT trained to predict the next word of 3,000 sentences; the network, its
    vocabulary, the last loss.
    """
    texts, _ = chases(3000, 10 * seed, ending)
    words = Vocabulary(texts)
    generator = seed_everything(seed)
    gpt = GPT2Model(
        GPT2Config(
            vocab_size=len(words),
            n_embd=64,
            n_layer=2,
            n_head=4,
            n_positions=32,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    optimizer, loss = torch.optim.AdamW(gpt.parameters(), lr=3e-3), torch.zeros(())
    ids, mask = words.batch(texts)
    for _ in range(epochs):
        for rows in torch.randperm(len(ids), generator=generator).split(64):
            # (64, T, 64)
            states = gpt(input_ids=ids[rows], attention_mask=mask[rows].long()).last_hidden_state
            # the table of words is the head
            logits, following = states[:, :-1] @ gpt.wte.weight.T, ids[rows, 1:]
            loss = F.cross_entropy(logits[mask[rows, 1:]], following[mask[rows, 1:]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return gpt.eval(), words, loss.item()


def probe(gpt, words, seed):
    """Who chases? The accuracy of linear heads at "... so the", learned from 100 sentences,
    tested on 500 others.
    """
    texts, y, test_texts, test_y = labelled_and_fresh(100, seed, "cut")
    vectors = []
    for some in (texts, test_texts):
        ids, mask = words.batch(some)
        with torch.no_grad():
            # (N, T, 64)
            states = gpt(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        vectors.append(
            {
                "first": states[:, 0],
                "mean": masked_mean(states, mask),
                "last": last_state(states, mask),
            }
        )
    scores = {
        place: linear_head(vectors[0][place], y, vectors[1][place], test_y) for place in vectors[0]
    }
    return scores | {"word pairs": word_pairs(texts, y, test_texts, test_y)}


def text_gpt(page: dict) -> dict:
    """What a small GPT keeps at its first and last token and in the mean, by what its
    texts' endings were.

    About six minutes on one core.
    """
    rows = {}
    for ending, epochs in (("useful", 20), ("useless", 20), ("useful", 0)):
        for seed in tqdm(SEEDS, desc=ending):
            gpt, words, loss = pretrain(ending, seed, epochs)
            row = rows.setdefault(ending if epochs else "untrained", {"loss": [], "accuracy": {}})
            row["loss"].append(round(loss, 4) if epochs else None)
            for place, value in probe(gpt, words, seed).items():
                row["accuracy"].setdefault(place, []).append(round(value, 4))
    return rows


SWEEPS = [text_gpt]
