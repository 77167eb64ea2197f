# %% [markdown]
# # How does a sentence become a vector?
#
# A network takes numbers of a fixed kind; a sentence is a string of any length. On this page you go the whole way by hand: words, ids, a padded batch with its mask, one vector per
# word, one vector per sentence. Two faults on this way are silent, and both are in code that people publish.
#
# *About {minutes} minutes. You need PyTorch's basics and notebook 00.*

# %% [markdown]
# ## In this notebook you will
#
# 1. cut a sentence into tokens, give them ids, and pad a batch with a mask that says what is real;
# 2. say what a bag of words keeps and what it forgets, and what an embedding layer really is;
# 3. run a recurrent network by hand, find out how padding can erase a text, and mend it in two ways;
# 4. learn word vectors from nothing but neighbours, with a gradient that you derive yourself;
# 5. see what is lost when "unimportant" words are removed from a question.

# %% tags=["imports"]
# Imports.
import torch
from ipywidgets import Dropdown, IntSlider
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from course_utils import plots
from course_utils.datasets import Scenes
from course_utils.exercises import check, reference
from course_utils.gradients import verify_gradient
from course_utils.masks import masked_mean
from course_utils.metrics import mean_interval
from course_utils.report import guess, guesses, outcome, passport, report, show_source, verify
from course_utils.runtime import seed_everything
from course_utils.text import (
    SkipGram,
    Vocabulary,
    nearest,
    negative_samples,
    skip_gram_pairs,
    tokenize,
)
from course_utils.training import Batches, evaluate, fit
from course_utils.widgets import Explorer

# %%
FULL = False  # True learns word vectors from ten times as many sentences

# %% [markdown]
# ## Words, ids, a batch
#
# A text is written in one of the oldest modalities of all: symbols in a row. The first decision is what one symbol is. **Tokenisation** (分词) cuts a string into tokens. Here a token is a word in lower case; a punctuation mark is one, too, and so is an emoji. Chinese is written without blanks, so each of its characters is one.

# %%
for text in ("The cat sat on the mat.", "Don't pay 3.50!", "猫坐在垫子上", "well done 👍🏽👍🏽", ""):
    print(f"{text!r:<28} {tokenize(text)}")

texts = ["the cat sat on the mat", "the dog sat", "a bird"]
vocabulary = Vocabulary(texts)
print("vocabulary:", vocabulary.words(range(len(vocabulary))))
ids = vocabulary.ids("the fish sat")
print("'the fish sat' as ids:", ids.tolist(), "and back:", vocabulary.words(ids))

# %% [markdown]
# A **vocabulary** (词表) gives each word a number, frequent words first. Two numbers are kept free: 0 for padding, 1 for words that it does not know. "fish" came back as `<unk>`: what the vocabulary has not seen is lost before any network sees it. (Notebook 02 cuts words into pieces, so that nothing is unknown.)
#
# Sentences differ in length, and a tensor is a rectangle. So short rows are **padded** (填充), and a **mask** (掩码) says which places are real. This pair, `(ids, mask)`, accompanies every text in this course.
#
# > **Exercise 01.1 · Pad a batch** — *8 minutes · warm-up*
# >
# > Given lists of ids of different lengths, return one rectangle and its mask.
# >
# > - Return `(ids, mask)`: `(B, T)` int64, padded with 0 at the end, and `(B, T)` bool, True for a real token. T is the longest row.
# > - A row may be empty.

# %% exercise="01.1"
def pad_batch(rows: list) -> tuple:
    """ids (B, T) int64 and mask (B, T) bool from B lists of ids.

    Example: [[5, 6], [7]] gives [[5, 6], [7, 0]] and [[True, True], [True, False]].
    """
    ### BEGIN SOLUTION
    T = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), T, dtype=torch.int64)
    mask = torch.zeros(len(rows), T, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[i, :len(row)] = True
    return ids, mask
    ### END SOLUTION

# %% [markdown] hints="01.1"
# <details><summary>A question that helps</summary>
#
# What do the two rectangles look like before a single row has been put in?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Start with zeros and with False everywhere. Each row then overwrites as many places at its beginning as it has tokens, in both.
#
# </details>
# <details><summary>If an empty row makes trouble</summary>
#
# `torch.tensor([])` is a float tensor. Say `dtype=torch.int64`.
#
# </details>

# %% [markdown]
# ## A bag, and a table
#
# The simplest vector of a sentence counts its words: a **bag of words** (词袋), `(B, T) -> (B, V)` for a vocabulary of V words. It is a sum of **one-hot** vectors $e_i$, which are 1 at place $i$ and 0 elsewhere, and it forgets the order.
#
# An **embedding** (嵌入) gives each word a short vector of its own, a row of a table $E$ of shape `(V, D)`, learned like any weight. One looks it up. But it is also a linear layer, applied to a one-hot vector:
#
# $$ \operatorname{embed}_E(i) = e_i^\top E \tag{01.1} $$
#
# One vector for a sentence: the mean of its words' vectors $x_t$, over the real ones only, whose mask $m_t$ is 1. (`masked_mean` gives zeros for an empty text.)
#
# $$ h = \frac{\sum_t m_t\, x_t}{\sum_t m_t} \tag{01.2} $$

# %%
ids, mask = vocabulary.batch(texts)                                 # (3, 6), (3, 6)
one_hot = F.one_hot(ids, len(vocabulary)) * mask[..., None]         # (3, 6) -> (3, 6, V)
bag = one_hot.sum(dim=1)                                            # (3, 6, V) -> (3, V)
plots.table_of_numbers(
    bag,
    rows=[f'"{text}"' for text in texts],
    columns=vocabulary.words(range(len(vocabulary))),
    groups=["text"] * len(vocabulary),
    caption="Three sentences as bags of words: how often each word occurs.",
)

seeds = [torch.Generator().manual_seed(seed) for seed in range(3)]
# (3, V, 4)
E = torch.stack(
    [torch.randn(len(vocabulary), 4, dtype=torch.float64, generator=seed) for seed in seeds]
)
verify("01.1", by_hand=one_hot.double() @ E[0], reference=F.embedding(ids, E[0]) * mask[..., None])
by_loops = [
    [
        sum(E[k][i] for i, real in zip(row, kept) if real) / kept.sum()
        for row, kept in zip(ids, mask)
    ]
    for k in range(3)
]
verify("01.2", by_hand=torch.stack([torch.stack(rows) for rows in by_loops]),
       reference=torch.stack([masked_mean(F.embedding(ids, table), mask) for table in E]))
same = vocabulary.batch(["the cat sat on the dog", "the dog sat on the cat"])
print(
    "'the cat sat on the dog' and 'the dog sat on the cat': same bag",
    torch.equal(*F.one_hot(same[0]).sum(dim=1)),
    "and same mean",
    torch.allclose(*masked_mean(F.embedding(same[0], E[0]), same[1])),
)

# %% [markdown]
# ## Reading in order: a recurrent network
#
# A **recurrent network** (循环神经网络, RNN) reads one token after the other and keeps a **state** (状态), what it has understood so far:
#
# $$ h_t = \tanh(W x_t + U h_{t-1} + b) \tag{01.3} $$
#
# It starts with $h_0 = 0$, and the state after the last token is the sentence's vector. An **LSTM** (长短期记忆网络) is a recurrent network with three gates, numbers from 0 to 1 by which it decides what to keep, what to add and what to show; it remembers over longer distances. From outside both look alike: `(B, T, D)` in, a state for every place out.

# %%
seed_everything(0)
rnn = nn.RNN(4, 5, batch_first=True).double()
# PyTorch keeps two biases; they add up
W, U, b = rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0 + rnn.bias_hh_l0
# (3, 6, 4)
x = torch.stack([torch.randn(6, 4, dtype=torch.float64, generator=seed) for seed in seeds])
state, states = torch.zeros(3, 5, dtype=torch.float64), []
for t in range(6):                                                  # one token after the other
    state = torch.tanh(x[:, t] @ W.T + state @ U.T + b)             # (3, 4), (3, 5) -> (3, 5)
    states.append(state)
verify("01.3", by_hand=torch.stack(states, dim=1), reference=rnn(x)[0])

# %% [markdown]
# ### Where it breaks: a text that was padded away
#
# A listing from an article, in Keras, pads every text to 100 places *at the end*, runs an LSTM over all of it, and takes the last state. Nothing is masked. So after a text of ten words the LSTM reads ninety times the same vector, that of the padding token. What is left of the text? Here are two different texts, ten words each, an LSTM with its random starting weights, and the
# distance between the two sentence vectors, relative to their size:

# %%
seed_everything(0)
embedding, lstm = nn.Embedding(50, 16).double(), nn.LSTM(16, 16, batch_first=True).double()
one, other = torch.randint(2, 50, (2, 10))                          # two texts of ten random words

def distance(padding, side):
    """How far apart the last states of the two texts are, relative to their size, with so many
    zeros at one side.
    """
    zeros = torch.zeros(2, padding, dtype=torch.int64)
    rows = torch.stack([one, other])                                # (2, 10)
    # (2, 10 + padding)
    ids = torch.cat([rows, zeros] if side == "end" else [zeros, rows], dim=1)
    with torch.no_grad():
        a, b = lstm(embedding(ids))[0][:, -1]                       # (2, T, 16) -> (2, 16)
    return ((a - b).norm() / a.norm()).item()

far = {side: [distance(padding, side) for padding in range(0, 41, 5)] for side in ("end", "front")}
for side, name in (("end", "at the end"), ("front", "in front")):
    powers = [f"10^{round(torch.tensor(far[side][k]).log10().item())}" for k in (0, 4, 8)]
    print(f"{name}: distance about {', '.join(powers)} with 0, 20, 40 padding tokens; "
          f"with 90 less than 10^-12: {distance(90, side) < 1e-12}")
plots.curves(
    range(0, 41, 5),
    {"padded at the end": far["end"], "padded in front": far["front"]},
    xlabel="padding tokens",
    label="relative distance of the texts",
    log="y",
    caption=(
        "Every padding token behind a text takes the two texts' states nearer to each other, by a"
        " constant factor. In front it does little harm."
    ),
)

# %% [markdown]
# With ninety padding tokens behind them the two texts are the same vector for the network, up to rounding. No error, no warning. (Whether training helps we shall see below.)
#
# Two ways mend it. Take the state at the last *real* token; or let the LSTM stop there by itself, with a packed sequence.
#
# > **Exercise 01.2 · The state after the last word** — *8 minutes · core*
# >
# > Given the states at all places and the mask, return each row's state at its last real token.
# >
# > - `states` is `(B, T, D)`, `mask` `(B, T)` bool, padding at the end, at least one token in each row. Return `(B, D)`.
# > - What stands under padding, even NaN, must not matter.

# %% exercise="01.2"
def last_state(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The state at each row's last real token: (B, T, D) and (B, T) bool -> (B, D).

    Example: states [[[1.0], [2.0], [9.0]]] with mask [[True, True, False]] give [[2.0]].
    """
    ### BEGIN SOLUTION
    last = mask.sum(dim=1) - 1                                      # (B, T) -> (B,)
    return states[torch.arange(len(states)), last]                  # (B, T, D) -> (B, D)
    ### END SOLUTION

# %% [markdown] hints="01.2"
# <details><summary>A question that helps</summary>
#
# At which place does a row with three real tokens end? How does the mask tell you that there are three?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Count the True of each row; the last one stands at that number minus one. Then pick, for row 0 its place, for row 1 its place, and so on: two index tensors of length B, side by side.
#
# </details>
# <details><summary>If you get a shape (B, B, D)</summary>
#
# `states[:, last]` takes every row at *all* the places in `last`. Give the rows an index, too: `torch.arange(B)`.
#
# </details>

# %%
ids = torch.zeros(2, 100, dtype=torch.int64)
ids[0, :10], ids[1, :10] = one, other
mask, lengths = ids > 0, torch.tensor([10, 10])
with torch.no_grad():
    # (2, 100, 16) -> (2, 16); also in course_utils.text
    picked = reference("01.2")(lstm(embedding(ids))[0], mask)
    packed = pack_padded_sequence(embedding(ids), lengths, batch_first=True, enforce_sorted=False)
    # an LSTM has two states, of which h is the one to show
    _, (h, c) = lstm(packed)
    # where each row has ended: (2, 16)
    stopped = h[0]
assert torch.allclose(picked, stopped, atol=1e-6)
again = ((picked[0] - picked[1]).norm() / picked[0].norm()).item()
print(
    "masked, the distance is what it was without padding:", abs(again - distance(0, "end")) < 1e-6
)

# %% [markdown]
# ### Does order matter? Who chases whom
#
# A question that a bag cannot answer: in "the old cat chases the small dog", who chases? Four animals, some filling words, so that lengths differ. Three models: the masked mean of embeddings; an LSTM whose state is taken at the last real token; and the same LSTM with all texts padded to 40 places and the last state taken, as in the listing. Guess: how many percent does
# the *mean* reach, to within 5, if chance is 25?

# %%
guess("01.a", None, sure=0.5)

# %%
ANIMALS = ["cat", "dog", "horse", "bird"]


def chases(size, seed):
    """Sentences in which one animal chases another, and which animal it is: (texts, labels
    (N,)).
    """
    generator, texts, labels = torch.Generator().manual_seed(seed), [], []

    def pick(words):
        return words[int(torch.randint(len(words), (), generator=generator))]
    for _ in range(size):
        a, b = torch.randperm(4, generator=generator)[:2].tolist()
        parts = [
            pick(["", "today", "now and then"]),
            "the",
            pick(["", "small", "very old"]),
            ANIMALS[a],
            "chases",
            "the",
            pick(["", "big", "quick red"]),
            ANIMALS[b],
            pick(["", "away", "into the house"]),
        ]
        texts.append(" ".join(filter(None, parts)))
        labels.append(a)
    return texts, torch.tensor(labels)

texts, labels = chases(3, seed=0)
for text, label in zip(texts, labels):
    print(f"{text}: the {ANIMALS[label]}")

# %%
class Reader(nn.Module):
    """Ids to logits by a masked mean ("mean"), an LSTM's last real state ("masked") or its very
    last state ("last").
    """

    def __init__(self, kind, words, width=32):
        super().__init__()
        self.kind, self.table, self.lstm = (
            kind,
            nn.Embedding(words, width),
            nn.LSTM(width, width, batch_first=True),
        )
        self.head = nn.Linear(width, 4)

    def forward(self, batch):
        # (B, T, D), (B, T)
        x, mask = self.table(batch["text"]), batch["text"] > 0
        if self.kind == "mean":
            return self.head(masked_mean(x, mask))
        states = self.lstm(x)[0]                                                        # (B, T, D)
        return self.head(states[:, -1] if self.kind == "last" else reference("01.2")(states, mask))

# %%
def read_order(kind, seed, epochs=8):
    """The test accuracy of one reader after training on 1,000 sentences; "last" gets them padded
    to 40 places.
    """
    vocabulary, data = None, {}
    for k, (split, size) in enumerate({"train": 1000, "validation": 300, "test": 1000}.items()):
        texts, labels = chases(size, 10 * seed + k)
        vocabulary = vocabulary or Vocabulary(texts)
        ids, _ = vocabulary.batch(texts)
        data[split] = {
            "text": F.pad(ids, (0, 40 - ids.shape[1])) if kind == "last" else ids,
            "label": labels,
        }
    generator = seed_everything(seed)
    model = Reader(kind, len(vocabulary))
    fit(
        model,
        Batches(data["train"], 64, generator),
        Batches(data["validation"], 512),
        epochs=epochs,
        lr=1e-2,
    )
    return evaluate(model, Batches(data["test"], 512)).accuracy


READERS = {"text, mean": "mean", "text, LSTM, masked": "masked", "text, LSTM, padding read": "last"}

# %%
scores = {
    name: [100 * read_order(kind, seed) for seed in range(5)] for name, kind in READERS.items()
}
for name, near in zip(scores, (50, 100, 25)):
    report(
        f"{name}, mean of five seeds", mean_interval(scores[name])[0], near=near, within=4, unit="%"
    )
outcome("01.a", 50, within=5)
plots.bars(
    {name: mean_interval(values) for name, values in scores.items()},
    label="test accuracy (%)",
    chance=25,
    caption=(
        "Who chases whom? The mean knows which two animals there are and not which one chases; the"
        " LSTM reads the order, unless padding has erased the text."
    ),
)

# %% [markdown]
# The mean gets half of them right: it sees two animals and has to toss a coin. The masked LSTM gets all. The same LSTM, with the same weights to learn from the same sentences, stays at chance when it has to carry a text through some thirty padding tokens: at this budget, eight epochs, training did not help.
#
# ## Where good word vectors come from
#
# The tables above start at random and are learned along with a task. Can one learn what words mean *without* a task, from texts alone? "You shall know a word by the company it keeps" (Firth, 1957): words that stand among the same neighbours mean similar things. **word2vec**
# (Mikolov and others, 2013) turns this into a guessing game: given a word, tell its true neighbours from random words. This variant is called *skip-gram*; neighbours are words at most two places away, the *window*. To see whether it works, we take a corpus of which we know the structure: sixteen nouns in four groups, in frames like "the cat sleeps near the house".

# %%
GROUPS = {
    "animal": ["cat", "dog", "horse", "bird"],
    "food": ["bread", "soup", "apple", "cheese"],
    "vehicle": ["car", "bus", "train", "boat"],
    "place": ["house", "school", "garden", "station"],
}
FRAMES = [
    "the {animal} eats {food} in the {place}",
    "a {animal} sleeps near the {place}",
    "we take the {vehicle} to the {place}",
    "the {vehicle} stops at the {place}",
    "she gives {food} to the {animal}",
    "he buys {food} at the {place}",
    "the {animal} runs after the {vehicle}",
    "they wait for the {vehicle} and eat {food}",
]

def corpus(size, seed):
    """Random sentences from the frames, each group's word drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    def draw(items):
        return items[int(torch.randint(len(items), (), generator=generator))]
    return [
        draw(FRAMES).format(**{group: draw(words) for group, words in GROUPS.items()})
        for _ in range(size)
    ]

sentences = corpus(20_000 if FULL else 2_000, seed=0)
words = Vocabulary(sentences)
# (P, 2): centre and neighbour
pairs = skip_gram_pairs([words.ids(text) for text in sentences], window=2)
print(
    f"{len(sentences):,} sentences, {len(words) - 2} words, {len(pairs):,} pairs; the first:"
    f" {sentences[0]!r}"
)
print("its first pairs:", ", ".join(" - ".join(words.words(pair)) for pair in pairs[:5]))

# %% [markdown]
# Each word has two vectors, $v$ as the centre and $u$ as a neighbour. Their product is a logit: how much do the two belong together? A true pair (label 1) should get a high one, a pair of the word with a random word (label 0, a **negative sample**, 负采样; now and then it happens to be a true neighbour, which does little harm) a low one. With the sigmoid
# $\sigma(s) = 1 / (1 + e^{-s})$, the centre $c$, its neighbour $o$ and $K$ random words, the loss of one true pair is
#
# $$ \ell = -\log \sigma(u_o^\top v_c) - \sum_{k=1}^{K} \log \sigma(-u_k^\top v_c) \tag{01.4} $$
#
# Each term is a binary cross-entropy. Notebook 21 derives what one of them sends back; you can do it here, from the slope of the sigmoid, $\sigma' = \sigma (1 - \sigma)$, and from $\sigma(-s) = 1 - \sigma(s)$.
#
# > **Exercise 01.3 · What one pair teaches** — *12 minutes · core*
# >
# > The loss of one pair is $-\log \sigma(s)$ if its label is 1 and $-\log \sigma(-s)$ if it is 0, with $s = u^\top v$. Return its gradients with respect to $v$ and $u$.
# >
# > - `centre` is $v$, `context` is $u$, both `(D,)`; `label` is 1.0 or 0.0. Return `(d_centre, d_context)`.

# %% exercise="01.3"
def pair_gradient(centre: torch.Tensor, context: torch.Tensor, label: float) -> tuple:
    """(d_centre, d_context) of one pair's loss: (D,), (D,) and 1.0 or 0.0 -> (D,), (D,).

    Example: centre [0.0, 0.0], context [2.0, 4.0] and label 1.0 give [-1.0, -2.0] and [0.0, 0.0].
    """
    ### BEGIN SOLUTION
    # one number: the probability minus the label
    push = torch.sigmoid(centre @ context) - label
    return push * context, push * centre
    ### END SOLUTION

# %% [markdown] hints="01.3"
# <details><summary>A question that helps</summary>
#
# What is the derivative of $-\log \sigma(s)$ with respect to $s$? And how does $s$ change when one entry of $v$ changes?
#
# </details>
# <details><summary>The idea in words</summary>
#
# With respect to $s$ both losses give the same short form, in which the label occurs once: find it. Then $s = \sum_d u_d v_d$, so the slope of $s$ with respect to $v_d$ is $u_d$, and the other way round.
#
# </details>
# <details><summary>If you have an extra factor p (1 - p)</summary>
#
# The derivative of the logarithm has to be multiplied in as well: $1/p$ for a true pair, $1/(1 - p)$ for a random one. It cancels one of the two factors.
#
# </details>

# %%
# one true neighbour, two random words
labels = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)

def loss(v, u):
    # (3, D) @ (D,) -> (3,)
    return -(labels * F.logsigmoid(u @ v) + (1 - labels) * F.logsigmoid(-(u @ v))).sum()

def by_hand(v, u):
    parts = [reference("01.3")(v, one, label) for one, label in zip(u, labels.tolist())]
    return sum(part[0] for part in parts), torch.stack([part[1] for part in parts])

verify_gradient("01.4", loss, by_hand, (5,), (3, 5))
show_source(SkipGram.forward)

# %%
def learn(pairs, counts, seed, epochs=5, width=16):
    """Word vectors (V, width) from pairs of ids, by the game above with five negatives a pair."""
    seed_everything(seed)
    model, generator = SkipGram(len(counts), width), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(epochs):
        for rows in torch.randperm(len(pairs), generator=generator).split(512):
            # (512, 5)
            negatives = negative_samples(counts, (len(rows), 5), generator)
            loss = model(pairs[rows, 0], pairs[rows, 1], negatives).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.centre.weight.detach()

def neighbours(vectors, word, count=3):
    """The most similar words and their cosines; rows 0 and 1 are no words."""
    indices, cosines = nearest(vectors[2:], int(words.ids(word)) - 2, count)
    return words.words(indices + 2), cosines

# %%
vectors = [learn(pairs, words.counts, seed) for seed in range(3)]
untrained = SkipGram(len(words), 16).centre.weight.detach()
members = [(group, noun) for group, nouns in GROUPS.items() for noun in nouns]
for name, table in [
    ("untrained", untrained),
    *((f"seed {seed}", table) for seed, table in enumerate(vectors)),
]:
    right = sum(
        other in GROUPS[group] for group, noun in members for other in neighbours(table, noun)[0]
    )
    report(
        f"{name}: nearest words of the same group, of 48",
        right,
        near=2 if name == "untrained" else 48,
        within=3,
    )
print(
    "nearest to 'cat':",
    ", ".join(f"{word} {cosine:.1f}" for word, cosine in zip(*neighbours(vectors[0], "cat"))),
)

# %% [markdown]
# Of the three nearest words of each noun all, or nearly all, are of its own group, for three seeds. Nobody has told the model what an animal is: cats and dogs became similar because they eat, sleep and run in the same *kinds* of sentences, though they never meet in one. (Here the words of a group are interchangeable by construction: the easiest case.) On real texts the same game finds countries, verbs and first names, and with them the prejudices of its authors. What it cannot do is
# give "bank" two meanings: one word, one vector. That is the subject of notebook 02.
#
# ## Try it: nearest words
#
# The **cosine** (余弦) of two vectors is their product divided by their lengths: 1 for the same direction. Choose a word. Are its neighbours those that you expect, and what are the neighbours of a word that belongs to no group, "the" or "eats"? First two words as a fixed picture:

# %% tags=["figure"]
# The neighbours of three words, drawn.
def similar(ax, word, count):
    others, cosines = neighbours(vectors[0], word, count)
    ax.barh(range(count), cosines, color=plots.COLORS["text"], alpha=0.8)
    ax.set_yticks(range(count), others)
    ax.set_ylim(count - 0.4, -0.6)
    ax.set_xlim(-1, 1.05)
    ax.set_xlabel(f"cosine with '{word}'")

figure, panels = plots.axes(width=7.2, height=2.4, columns=2)
for ax, word in zip(panels, ("bread", "eats")):
    similar(ax, word, 6)
plots.show(
    figure,
    "The six words nearest to 'bread' and to 'eats'. The other food words come first, then a gap; "
    "around a verb there is none.",
)

# %% tags=["figure"]
# The widget: any word and its neighbours.
def render(word, count):
    figure, ax = plots.axes(width=5.2, height=1.1 + 0.28 * count)
    similar(ax, word, count)
    return figure

def describe(word, count):
    others, cosines = neighbours(vectors[0], word, count)
    return f"Nearest to '{word}' is '{others[0]}', with a cosine of {cosines[0]:.1f}."

Explorer(render, {"word": Dropdown(value="cat", options=sorted(words.words(range(2, len(words))))),
                  "count": IntSlider(value=6, min=3, max=12)}, describe,
         caption="Words by similarity of their vectors: 1 is the same direction.").show()

# %% [markdown]
# ## Where it breaks: words that seem unimportant
#
# Old recipes clean a text before anything else: remove **stop words** (停用词), the frequent little words such as "the", "is", "of"; or tag each word with its **part of speech** (词性) and keep nouns and adjectives. For finding documents about a subject this does little harm. Then the recipe is copied into a model that answers *questions*.
#
# Here are questions about one scene of the world `scenes`, with their answers. We remove scikit-learn's English stop words ("above", "below", "more", "how" and "not" are among them), and, second, all but nouns and adjectives (the world's grammar is small, so a list of its nouns and adjectives is a perfect tagger).

# %%
KEPT = {
    "circle",
    "square",
    "triangle",
    "cross",
    "thing",
    "small",
    "large",
    "red",
    "yellow",
    "green",
    "blue",
    "pink",
    "white",
}

def without_stop_words(question):
    return " ".join(
        word for word in tokenize(question) if word not in ENGLISH_STOP_WORDS and word != "?"
    )

def nouns_and_adjectives(question):
    return " ".join(
        word
        for word in tokenize(question)
        if {word, word.removesuffix("s"), word.removesuffix("es")} & KEPT
    )

scenes = Scenes("test", size=50, objects=(3, 4))
asked = [
    [(question, answer) for question, answer, _ in scenes.questions(i)] for i in range(len(scenes))
]

def torn(pairs, clean):
    """Those of a scene's questions that, cleaned, are the same as one with another answer:
    {words: [(question, answer)]}.
    """
    groups = {}
    for question, answer in pairs:
        groups.setdefault(clean(question), []).append((question, answer))
    return {
        words: group for words, group in groups.items() if len({answer for _, answer in group}) > 1
    }

# %%
for word, clean in (
    ("above", without_stop_words),
    ("more", without_stop_words),
    ("left of", nouns_and_adjectives),
):
    found = torn(asked[0], clean).items()
    left, group = next(
        (left, group) for left, group in found if any(word in question for question, _ in group)
    )
    print(f"'{left}' is what remains of")
    one = next(pair for pair in group if word in pair[0])
    other = next(pair for pair in group if pair[1] != one[1])
    print(f"    {one[0]} {one[1]}   and of   {other[0]} {other[1]}")
total = sum(map(len, asked))
for name, clean, near in (("as it is", str, 0.0), ("stop words removed", without_stop_words, 0.19),
                          ("nouns and adjectives only", nouns_and_adjectives, 0.33)):
    share = sum(len(group) for pairs in asked for group in torn(pairs, clean).values()) / total
    report(
        f"{name}: share of questions that are no longer told from one with another answer",
        share,
        near=near,
        within=0.03,
    )

# %% [markdown]
# A fifth of the questions, a third under the second recipe, can then no longer be told from a question whose answer is another one: no model, however large, can answer both. What was cleaned away *was* the question: "above", "more", "how many". Whether a word is important depends on the task, and a network that is trained on the task can find it out. So today one keeps all words, and lets the model weigh them.
#
# ## Recap
#
# You can now
#
# 1. **cut** a text into tokens, give them ids, pad a batch, and carry a mask with it;
# 2. **say** that a bag and a mean keep the words and forget their order, and that an embedding is a linear layer on one-hot vectors;
# 3. **run** a recurrent network by hand, and take its state at the last *real* token: ninety zeros behind a text erase it;
# 4. **learn** word vectors from neighbours alone, with a gradient that is the probability minus the label, times the other vector;
# 5. **keep** the small words: without them a question may become another question.
#
# ## Questions
#
# <details><summary>1. Why must padding have an id of its own, and not that of a rare word?</summary>
#
# The mask is often read from the ids. If a real word had the id 0, it would be masked away wherever it occurs.
#
# </details>
# <details><summary>2. An embedding is a linear layer. Why is it not computed as one?</summary>
#
# A product with a one-hot vector multiplies V - 1 rows by zero. Looking up the row gives the same result without the work.
#
# </details>
# <details><summary>3. Texts are padded in front, and the last state is taken without a mask. Is all well?</summary>
#
# Nearly: the last state has read the text last. But the zeros in front have moved the starting state, so a text's vector depends on how much padding its batch needed.
#
# </details>
# <details><summary>4. Why does word2vec need negative samples?</summary>
#
# With true pairs alone the best solution is to make all products large: every word would be similar to every other.
#
# </details>
# <details><summary>5. "hot" and "cold" get similar vectors. Is that a failure?</summary>
#
# They stand among the same neighbours ("a ... day"). The game learns who can stand where, not what is the opposite of what.
#
# </details>
#
# ## Read more
#
# - T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean, *Distributed Representations of Words and Phrases and their Compositionality*, NeurIPS 2013. Skip-gram with negative sampling.
# - S. Hochreiter, J. Schmidhuber, *Long Short-Term Memory*, Neural Computation 1997. The gates.
# - T. Bolukbasi and others, *Man is to Computer Programmer as Woman is to Homemaker?*, NeurIPS 2016. What word vectors learn along with the meaning.
# - J. R. Firth, *A Synopsis of Linguistic Theory 1930-1955*, 1957. The sentence about a word's company.
#
# ## Your guesses, your passport

# %%
guesses("01")
passport(
    "01",
    model="an LSTM over words, its state taken at the last real token; word vectors by skip-gram",
    can="tell who chases whom, and which words keep the same company",
    limits=(
        "made-up sentences from small grammars; one vector a word, whatever it means in its place"
    ),
)
