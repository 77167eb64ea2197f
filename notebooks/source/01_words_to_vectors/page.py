# %% [markdown]
# # How does a sentence become a vector?
#
# A linear layer takes a fixed number of numbers; a sentence is a string of any length. Here you go the whole way with your own code, from words to one vector.
#
# *About {minutes} minutes. You need PyTorch's basics and page 00.*

# %% [markdown]
# ## In this notebook you will
#
# 1. turn sentences into a batch of ids with a mask;
# 2. build the mean of word vectors under that mask;
# 3. build one step of a recurrent network, and read in order with it;
# 4. see padding erase a text without an error, and repair it;
# 5. see what an extractor that reads in order adds to the model of page 00;
# 6. draw a map of words, and if you like build the loss of one skip-gram pair.

# %% tags=["imports", "measured"]
# Imports.
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import plots
from course_utils.datasets.collation import letter_ids
from course_utils.exercises import check, mine
from course_utils.masks import last_state, pad
from course_utils.metrics import percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.text import (
    Vocabulary,
    letter_features,
    nearest,
    negative_samples,
    skip_gram_pairs,
    tokenize,
)
from course_utils.training import Batches, evaluate, fit


# %% tags=["figure"]
# The page in one picture: words, ids, rows of a table, two ways to one vector.
def arrow(ax, start, end):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": plots.INK})
figure, ax = plots.axes(width=7.2, height=2.7)
ax.axis((-2.4, 8.0, 0.6, 5.6))
ax.set_axis_off()
ROWS = [(0, 2.9, "text", "2946"), (1.5, 2.9, "text", "9371"), (3, 2.9, "text", "4619"),
         (4.5, 2.9, "control", "5555"), (7.2, 2.9, "text", "5645"), (0, 0.9, "fused", "2856"),
         (1.5, 0.9, "fused", "7583"), (3, 0.9, "fused", "6739"), (7.2, 0.9, "fused", "6739")]
for across, up, color, shades in ROWS:
    for k, shade in enumerate(shades):
        square = {"width": 0.25, "bottom": up, "align": "edge", "color": plots.COLORS[color]}
        ax.bar(across - 0.5 + k / 4, 0.5, alpha=int(shade) / 10, **square)
WORDS = [(0, 5.2, "the"), (1.5, 5.2, "cat"), (3, 5.2, "sat"), (4.5, 5.2, "<pad>"), (0, 4.2, 2),
         (1.5, 4.2, 3), (3, 4.2, 4), (4.5, 4.2, 0), (-1.6, 5.2, "words"), (-1.6, 4.2, "ids"),
         (-1.6, 3.2, "rows"), (7.2, 3.7, "mean"), (-1.6, 1.2, "states"), (7.2, 1.7, "last state")]
for across, up, word in WORDS:
    ax.text(across, up, word, ha="center", va="center", color=plots.INK)
ROADS = [(0, 2.8, 0, 1.5), (1.5, 2.8, 1.5, 1.5), (3, 2.8, 3, 1.5), (0.55, 1.2, 0.95, 1.2),
         (2.05, 1.2, 2.45, 1.2), (3.5, 3.65, 6.5, 3.25), (3.6, 1.2, 6.5, 1.2)]
for *start, x1, y1 in ROADS:
    arrow(ax, start, (x1, y1))
ax.plot([-0.5, -0.5, 3.5, 3.5], [3.5, 3.65, 3.65, 3.5], color=plots.INK, linewidth=1)
plots.show(figure, "A word has an id, an id a row of a table. A sentence's vector is the mean of"
           " these, or the last state of a network that reads them. Padding is in neither.")

# %% [markdown]
# ## A question from page 00
#
# There a typed word became 78 numbers: how often each letter occurs, which is first, which is last. Two words can share them:

# %%
letters, letters_there = pad([letter_ids("seven"), letter_ids("sveen")])  # (2, 5), (2, 5)
one, other = letter_features(letters, letters_there)                      # (2, 78)
print("'seven' and 'sveen' get the same 78 numbers:", torch.equal(one, other))

# %% [markdown] owes="F2 F25"
# What must a vector keep, so that "sveen" is not "seven", and "dog bites man" is not "man bites dog"?
#
# ## Words, ids, a batch
#
# A **token** (词元) is one symbol of a text; cutting a string into tokens is **tokenisation** (词元化). Here a token is a word in lower case, a punctuation mark or an emoji. Finding the words of Chinese, which has no blanks, is **word segmentation** (分词); ours takes each character as a token.
#
# A **vocabulary** (词表) gives each token a number, its id. Two ids are kept free: 0 for padding, 1 for unknown tokens.

# %%
for text in ("Don't pay 3.50!", "猫坐在垫子上", ""):
    print(f"{text!r:18} {tokenize(text)}")
texts = ["the cat sat", "a bird"]
index = {"<pad>": 0, "<unk>": 1}
for text in texts:
    for token in tokenize(text):
        index.setdefault(token, len(index))
print(index)
print("'the fish sat' as ids:", [index.get(token, 1) for token in tokenize("the fish sat")])

# %% [markdown]
# "fish" became 1: what a vocabulary has never seen is lost before any network sees it.
#
# Sentences differ in length, and a tensor is a rectangle. So short rows are filled up with id 0, **padding** (填充). A **mask** (掩码) says which places are real.

# %%
T = max(len(tokenize(text)) for text in texts)
ids = torch.zeros(len(texts), T, dtype=torch.int64)                       # (B, T)
for row, text in enumerate(texts):
    for t, token in enumerate(tokenize(text)):
        ids[row, t] = index[token]
mask = ids > 0                                                            # (B, T)
print("ids: ", ids.tolist())
print("mask:", mask.tolist())

# %% [markdown] owes="F42"
# From here on `Vocabulary(texts).batch(texts)` does this.
#
# ## A table of vectors, and their mean
#
# The simplest vector of a text counts each word of the vocabulary, a **bag of words** (词袋): "the cat sat" is `[0, 0, 1, 1, 1, 0, 0]`. It is the sum of **one-hot** (独热) vectors $e_i$, which are 1 at place $i$ and 0 elsewhere.
#
# An **embedding** (嵌入) gives each word a short vector: row $i$ of a table $E$, `(V, D)` for V words. The rows are weights, learned like any other. Looking one up is the same as a linear layer on the one-hot vector:
#
# $$ \operatorname{embed}_E(i) = e_i^\top E \tag{01.1} $$
#
# A table chosen by hand; padding's row is large, so that we see it.
#
# One vector for the sentence: the mean of its word vectors. In row 0 `x[0].mean(dim=0)` will do. What does `x[1].mean(dim=0)` give?

# %%
E = torch.tensor([[9.0, 8.0], [0.0, 0.0],                                 # <pad>, <unk>
                  [0.0, 1.0], [4.0, 1.0], [2.0, 4.0],                     # the, cat, sat
                  [0.0, 1.0], [6.0, 3.0]], dtype=torch.float64)           # a, bird
x = F.embedding(ids, E)                                                   # (B, T) -> (B, T, D)
for row in range(2):
    for t in range(3):
        print(f"row {row}, place {t}: {list(index)[ids[row, t]]:6} {x[row, t].tolist()}")
verify("01.1", by_hand=F.one_hot(ids, 7).double() @ E, reference=x)

print("row 0, mean of all places:", x[0].mean(dim=0).tolist())
print("row 1, mean of all places:", x[1].mean(dim=0).tolist(), "with padding in it")
print("row 1, mean of 'a', 'bird':", ((x[1, 0] + x[1, 1]) / 2).tolist())

# %% [markdown] owes="F36"
# With the mask $m_t$, 1 for a real place and 0 for padding, the mean of the real places is
#
# $$ h = \frac{\sum_t m_t\, x_t}{\sum_t m_t} \tag{01.2} $$
#
# > **Exercise 01.1 · The mean under a mask** — *6 minutes · core*
# >
# > Given word vectors and their mask, return one mean for each text of the batch.
# >
# > - `x` is `(B, T, D)`, `mask` is `(B, T)` bool, True = real. Return `(B, D)`.
# > - A text without a token gives zeros.
# > - Padding may stand anywhere in a row. What is under it does not matter, not even NaN.

# %% exercise="01.1"
def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of each row's real tokens: (B, T, D), (B, T) bool -> (B, D).

    Example: x [[[1.0], [3.0], [9.0]]] with mask [[True, True, False]] gives [[2.0]].
    """
    ### BEGIN SOLUTION
    kept = torch.where(mask[..., None], x, 0)                  # (B, T, D), zeros under padding
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)         # (B, T) -> (B, 1)
    return kept.sum(dim=1) / count                             # (B, T, D) -> (B, D)
    ### END SOLUTION

# %% [markdown] hints="01.1"
# <details><summary>A question that helps</summary>
#
# What must stand under padding, so that a plain sum along the tokens is right? And by which number do you divide a row with two real tokens?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Replace what is under padding by zero, sum along the tokens, divide each row by its own number of True. Keep that number's axis, so that it divides a whole row. For a row without any True divide by 1.
#
# </details>
# <details><summary>If you get NaN</summary>
#
# `x * mask` does not remove a NaN, because 0 * NaN is NaN. `torch.where(condition, x, 0)` chooses instead of multiplying; the condition is the mask with one axis more, `mask[..., None]`. Or a row is empty, and you divide by 0.
#
# </details>

# %%
masked_mean = mine("01.1", masked_mean)
print("means under the mask:", masked_mean(x, mask).tolist())
verify("01.2", by_hand=torch.tensor([[2.0, 2], [3, 2]]).double(), reference=masked_mean(x, mask))
chased = ["the cat chases the dog", "the dog chases the cat"]
chased_ids, chased_mask = Vocabulary(chased).batch(chased)                # E's rows: other words
means = masked_mean(F.embedding(chased_ids, E), chased_mask)              # (2, 5) -> (2, 2)
print("who chases whom, the two means:", means.round(decimals=2).tolist())

# %% [markdown] owes="F40"
# A sum does not depend on the order of its terms. So neither a mean nor a bag of words can tell who chases whom, whatever the table holds.
#
# ## Reading in order: a recurrent network
#
# A **recurrent neural network** (循环神经网络), RNN for short, reads token after token, and changes a vector at each, its **hidden state** (隐藏状态). In the smallest one state and word are one number each; the new state is $\tanh(\text{word} + 0.5 \cdot \text{old state})$.

# %%
value = {"dog": 1.0, "bites": 0.5, "man": -1.0}
for sentence in ("dog bites man", "man bites dog"):
    number, path = 0.0, []
    for word in sentence.split():
        number = math.tanh(value[word] + 0.5 * number)
        path.append(f"{word} {number:+.2f}")
    print(f"state after each word: {',  '.join(path)}")

# %% [markdown]
# "bites" is the same number in both, and the state after it is not: through the old state the word before has come in. With vectors, and matrices $W$ and $U$:
#
# $$ h_t = \tanh(W x_t + U h_{t-1} + b) \tag{01.3} $$
#
# It begins with $h_0 = 0$. The last state is the sentence's vector.
#
# > **Exercise 01.2 · One step of an RNN** — *6 minutes · core*
# >
# > Given one word and the old state of each sentence in a batch, return the new states by (01.3).
# >
# > - `x` is `(B, D)`, `state` is `(B, H)`, `W` is `(H, D)`, `U` is `(H, H)`, `b` is `(H,)`. Return `(B, H)`.
# > - Samples are rows here; in (01.3) $x_t$ and $h_{t-1}$ are columns.

# %% exercise="01.2"
def rnn_step(x: Tensor, state: Tensor, W: Tensor, U: Tensor, b: Tensor) -> Tensor:
    """The states after one more word: (B, D), (B, H), (H, D), (H, H), (H,) -> (B, H).

    Example: x [[1.0]], state [[0.5]], W [[2.0]], U [[4.0]], b [-3.0] give [[0.7616]], tanh(1).
    """
    ### BEGIN SOLUTION
    return torch.tanh(x @ W.T + state @ U.T + b)               # (B, D), (B, H) -> (B, H)
    ### END SOLUTION

# %% [markdown] hints="01.2"
# <details><summary>A question that helps</summary>
#
# Page 00 wrote a linear layer for a batch as `z @ W.T + b`. Which of the two products here has that form, and what about the other one?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Two linear maps, one of the word and one of the old state, are added, and the bias, too. Then tanh of the whole sum. With samples as rows each matrix stands behind, transposed.
#
# </details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>
#
# `x` is (B, D) and `W` is (H, D): the inner sizes must agree, (B, D) times (D, H). Look at U twice: it is square, so without its transpose nothing complains, and the result is wrong.
#
# </details>

# %% tags=["measured"]
def read(x, W, U, b):
    """The state after each word: (B, T, D) and the weights of `rnn_step` -> (B, T, H)."""
    states = [x.new_zeros(x.shape[0], b.shape[0])]             # the state before the first word
    for t in range(x.shape[1]):
        states.append(rnn_step(x[:, t], states[-1], W, U, b))  # (B, D), (B, H) -> (B, H)
    return torch.stack(states[1:], dim=1)                      # T times (B, H) -> (B, T, H)

# %% [markdown]
# It reads our two texts, with weights chosen by hand. Look at the last state of "a bird".

# %%
rnn_step = mine("01.2", rnn_step)
W = torch.tensor([[0.3, 0.0], [0.0, 0.3]], dtype=torch.float64)
U = torch.tensor([[0.0, 0.5], [-0.5, 0.0]], dtype=torch.float64)          # mixes the two numbers
b = torch.zeros(2, dtype=torch.float64)
states = read(x, W, U, b)                                                 # (2, 3, 2) -> (2, 3, 2)
for row in range(2):
    for t in range(3):
        first, second = states[row, t].tolist()
        print(f"after {list(index)[ids[row, t]]:6} {first:+.2f} {second:+.2f}")

# %% tags=["proof"]
# Equation 01.3: the loop over steps against PyTorch's own RNN. And a count for later.
seed_everything(0)
random_x = torch.randn(3, 4, 5, dtype=torch.float64)
library_rnn = nn.RNN(5, 3, batch_first=True, dtype=torch.float64)
library_W, library_U, *biases = library_rnn.parameters()  # two biases, which add up
steps = read(random_x, library_W, library_U, sum(biases))
verify("01.3", by_hand=steps, reference=library_rnn(random_x)[0])

def unseen(seed):
    """Of a seed's test sentences those that are not in its training: how many, how many right."""
    seen, (sentences, labels) = set(chases(1000, 10 * seed)[0]), chases(1000, 10 * seed + 2)
    model, vocabulary, _ = by_rnn[seed]
    right = model({"text": vocabulary.batch(sentences)[0]}).argmax(dim=1) == labels     # (1000,)
    fresh = torch.tensor([text not in seen for text in sentences])
    return fresh.sum().item(), (fresh & right).sum().item()

# %% [markdown] owes="F41"
# After `<pad>` the state is another one: the network has read padding as if it were a word. `last_state(states, mask)` picks the state after "bird", in each row the one at the last True.
#
# ### With gates: the LSTM
#
# The **long short-term memory** (长短期记忆网络), LSTM for short, keeps a second state beside $h$, the cell state $c$. **Gates** (门) are numbers between 0 and 1: a sigmoid of a linear layer on $x_t$ and $h_{t-1}$. The forget gate $f$ says what stays of $c$, the input gate $i$ what is added of a candidate $g$ (a tanh of such a layer), the output gate $o$ what is shown: $c_t = f c_{t-1} + i g$ and $h_t = o \tanh(c_t)$, number by number.
#
# ### Who chases whom?
#
# A task that needs order: who chases in "the very old cat chases the dog"? There are four animals, and texts of many lengths.

# %% tags=["measured", "proof"]
# The sentences of this page, of a few parts: who chases whom; and templates for later.
ANIMALS = ["cat", "dog", "horse", "bird"]
PARTS = [["", "today", "now and then"], ["", "small", "very old"],
         ["", "big", "quick red"], ["", "away", "into the house"]]

def chases(size, seed):
    """Sentences in which one animal chases another, and the number of the one that chases."""
    draw, sentences, labels = torch.Generator().manual_seed(seed), [], []
    for _ in range(size):
        a, b = torch.randperm(4, generator=draw)[:2].tolist()
        p, q, r, s = torch.randint(3, (4,), generator=draw).tolist()
        parts = [PARTS[0][p], "the", PARTS[1][q], ANIMALS[a], "chases the"]
        parts += [PARTS[2][r], ANIMALS[b], PARTS[3][s]]
        sentences.append(" ".join(part for part in parts if part))
        labels.append(a)
    return sentences, torch.tensor(labels)

GROUPS = {"animal": ANIMALS, "food": ["bread", "soup", "apple", "cheese"],
          "place": ["house", "school", "garden", "station"]}
FRAMES = ["the {animal} eats {food} in the {place}", "a {animal} sleeps near the {place}",
          "she gives {food} to the {animal}", "he buys {food} at the {place}",
          "we take the {animal} to the {place}", "they wait at the {place} and eat {food}"]

# %% tags=["measured", "proof"]
# A reader's training; and the templates filled with nouns, for later.
def train_reader(kind, seed, padding=0):
    """A reader trained on 1,000 sentences (the epoch that was best on 300 others), its vocabulary,
    its accuracy on 1,000 more; each text gets `padding` more places of padding at its end."""
    vocabulary, data = Vocabulary(chases(1000, 10 * seed)[0]), {}
    for k, (split, size) in enumerate({"train": 1000, "validation": 300, "test": 1000}.items()):
        sentences, labels = chases(size, 10 * seed + k)
        padded = F.pad(vocabulary.batch(sentences)[0], (0, padding))      # (B, T + padding)
        data[split] = {"text": padded, "label": labels}
    draw = seed_everything(seed)
    model = Reader(kind, len(vocabulary))
    batches = Batches(data["train"], 64, draw)
    fit(model, batches, Batches(data["validation"], 512), epochs=8, lr=1e-2)
    return model, vocabulary, evaluate(model, Batches(data["test"], 512)).accuracy

def company(size, mixed=False):
    """Sentences about the twelve nouns; mixed: any noun may stand in any place."""
    draw, sentences = torch.Generator().manual_seed(0), []
    for _ in range(size):
        frame, *nouns = torch.randint(12, (4,), generator=draw).tolist()
        groups = [sum(GROUPS.values(), [])] * 3 if mixed else GROUPS.values()
        chosen = [group[noun % len(group)] for group, noun in zip(groups, nouns)]
        sentences.append(FRAMES[frame % 6].format(**dict(zip(GROUPS, chosen))))
    return sentences

# %% [markdown]
# Two readers, each with a table and a linear head: the masked mean, and your RNN's last real state (folded). Both train for eight epochs on 1,000 sentences.

# %% tags=["measured", "proof"]
# The two readers.
class Reader(nn.Module):
    """Ids (B, T) to logits (B, 4), by the "mean", the last "real" or the very "last" state."""
    def __init__(self, kind, V, D=32):
        super().__init__()
        self.kind, self.table, self.word = kind, nn.Embedding(V, D), nn.Linear(D, D)
        self.back, self.head = nn.Linear(D, D, bias=False), nn.Linear(D, 4)
    def forward(self, batch):
        x, mask = self.table(batch["text"]), batch["text"] > 0            # (B, T, D), (B, T)
        if self.kind == "mean":
            return self.head(masked_mean(x, mask))                        # (B, D) -> (B, 4)
        states = read(x, self.word.weight, self.back.weight, self.word.bias)  # (B, T, H)
        return self.head(last_state(states, mask) if self.kind == "real" else states[:, -1])

# %% [markdown]
# Guessing reaches 25 %. How many percent does the *mean* reach, to within 5? Put a number in place of `None`.

# %%
guess("01.a", None, sure=0.5)

# %%
by_mean = [train_reader("mean", seed)[2] for seed in range(5)]
report("masked mean, accuracy, mean of five seeds", sum(by_mean) / 5, near=0.50, within=0.03)
outcome("01.a", 50, within=5)
by_rnn = [train_reader("real", seed) for seed in range(5)]
accuracy = sum(accuracy for _, _, accuracy in by_rnn) / 5
report("your RNN, accuracy, mean of five seeds", accuracy, near=1.0, within=0.02)
fresh, right = (sum(counts) for counts in zip(*map(unseen, range(5))))
print(f"not in training: {fresh / 50:.0f} % of the test; your RNN has {right} of {fresh} right")
reader, reader_words, _ = by_rnn[0]
asked = ["the cat chases the dog", "the dog chases the cat", "the horse chases the big bird away",
         "today the small bird chases the cat", "now and then the dog chases the quick red bird"]
answers = reader({"text": reader_words.batch(asked)[0]}).argmax(dim=1)    # (5, 4) -> (5,)
for sentence, answer in zip(asked, answers):
    print(f"{sentence:48} the {ANIMALS[answer]} chases")

# %% [markdown]
# The mean sees two animals and has to toss a coin. The RNN gets all of them right, also the 37 % that were not in training.
#
# ## Where it breaks: padding behind a text
#
# A common mistake: pad every text *at the end* and take the very last state. Two texts of ten random words, an untrained LSTM: how large is the difference of the two states, divided by the norm of the first?

# %%
seed_everything(0)
table, lstm = nn.Embedding(50, 16).double(), nn.LSTM(16, 16, batch_first=True).double()
two_texts = torch.randint(2, 50, (2, 10))                                 # ten random words each
places = (0, 10, 20, 40)                                                  # of padding
padded = [F.pad(two_texts, (0, more)) for more in places]                 # 4 of (2, 10 + more)
all_states = [lstm(table(ids))[0] for ids in padded]                      # 4 of (2, T, 16)

def apart(one, other):
    return f"{(one - other).norm() / one.norm():.7f} apart"

# %% tags=["fault"]
ends = [states[:, -1] for states in all_states]                           # 4 of (2, 16)
for more, pair in zip(places, ends):
    print(f"{more:2} places of padding: {apart(*pair)}")
print("padding changes nothing:", all(torch.allclose(pair, ends[0]) for pair in ends))

# %% [markdown]
# No error, no warning: with more padding the states come closer, until they are nearly one vector. Mended, with the mask:

# %%
ends = [last_state(states, ids > 0) for states, ids in zip(all_states, padded)]
for more, pair in zip(places, ends):
    print(f"{more:2} places of padding: {apart(*pair)}")
print("padding changes nothing:", all(torch.allclose(pair, ends[0]) for pair in ends))

# %% [markdown]
# Does training help? The task and the RNN of above, padded further, five seeds (stored): with five or more places of padding the very last state is at or near chance (25 %), the last real state always right. Even without extra padding the shorter texts are padded, and the very last state has half of them wrong.

# %% tags=["proof"]
# The stored runs against padding, and one of them run again.
padding_sweep = stored("01", "padding")
for padding in (0, 5, 10, 20, 30):
    scores = padding_sweep[f"last, {padding}"]["accuracy"]
    assert max(scores) < (0.4 if padding else 0.75) and min(scores) < 0.35
    assert min(padding_sweep[f"real, {padding}"]["accuracy"]) > 0.995
live = train_reader("last", 0, padding=5)[2] - padding_sweep["last, 5"]["accuracy"][0]
assert abs(live) < 0.05
shown = [percent(padding_sweep[f"last, {padding}"]["accuracy"]) for padding in (0, 5, 30)]
worst = min(score for name, row in padding_sweep.items() if "real" in name
            for score in row["accuracy"])
print(f"right in %, 0, 5, 30 places more: very last {', '.join(shown)}; real {100 * worst:.0f}")

# %% [markdown]
# ## Plug it in
#
# Does reading in order help the model of page 00? There a typed word is a list of letters, so letters are the tokens: a table with 27 rows, then the masked mean or an LSTM's last real state, trained along with page 00's head.

# %% tags=["measured"]
class LetterReader(nn.Module):
    """Letters (B, T) to one vector (B, 64): a table, an LSTM, its last real state."""

    def __init__(self):
        super().__init__()
        self.table, self.lstm = nn.Embedding(27, 32), nn.LSTM(32, 64, batch_first=True)

    def forward(self, letters):
        return last_state(self.lstm(self.table(letters))[0], letters > 0)  # (B, T) -> (B, 64)

# %% tags=["measured", "proof"]
# The extractors to compare with, and page 00's classifier around any of them.
class LetterMean(LetterReader):
    def forward(self, letters):
        return masked_mean(self.table(letters), letters > 0)              # (B, T) -> (B, 32)

class LetterCounts(LetterReader):
    def forward(self, letters):
        return letter_features(letters, letters > 0)                      # (B, T) -> (B, 78)

class LetterSorted(LetterReader):
    def forward(self, letters):
        ordered = letters.where(letters > 0, 27).sort(dim=1).values       # padding stays behind
        return super().forward(ordered.where(ordered < 27, 0))            # (B, T) -> (B, 64)

class Plugged(nn.Module):
    def __init__(self, extractor, width, others):
        super().__init__()
        self.extractor, self.others = extractor(), others
        self.scale = nn.BatchNorm1d(width + 256 * len(others), affine=False)
        self.head = nn.Linear(width + 256 * len(others), 10)

    def forward(self, batch):
        parts = [self.extractor(batch["text"]), *(batch[name] for name in self.others)]
        return self.head(self.scale(torch.cat(parts, dim=-1)))            # (B, D) -> (B, 10)

# %% tags=["measured", "proof"]
# The data of page 00, its letters as ids, and its training, each weight decay tuned.
from course_utils.audio import band_features
from course_utils.datasets import Digits, collate
from course_utils.image import pixel_features


def load(seed):
    """The splits of `digits`: typed letters (B, T), picture and sound (B, 256), labels (B,)."""
    data = {}
    for split in ("train", "validation", "test"):
        batch = collate([*Digits(split, seed=seed)])
        data[split] = {"text": batch["text"], "label": batch["label"],
                       "image": pixel_features(batch["image"]),
                       "audio": band_features(batch["audio"], batch["mask"]["audio"])}
    return data

def train_plugged(model, data, seed, weight_decay):
    """The best validation loss and the test accuracy of a model, `Plugged` with its arguments."""
    draw = seed_everything(seed)
    model = Plugged(*model)
    train, validation = Batches(data["train"], 128, draw), Batches(data["validation"], 512)
    history = fit(model, train, validation, epochs=30, lr=3e-3, weight_decay=weight_decay)
    return min(history.validation_loss), evaluate(model, Batches(data["test"], 512)).accuracy

# %%
plug = stored("01", "plug") | stored("01", "order")
in_order = plug["letters, LSTM"]["accuracy"]
print("test accuracy in %, five seeds       text alone      all three   LSTM minus it")
for name, row in plug.items():
    shown = [percent(scores) for scores in row["accuracy"].values()]
    gain = percent(in_order["all three"], minus=row["accuracy"]["all three"])
    print(f"{name:32} {shown[0]:>14} {shown[1]:>14} {gain:>15}")
counted = plug["letters counted (page 00)"]["accuracy"]["text"]
print("text alone, LSTM minus letters counted:", percent(in_order["text"], minus=counted))
outcome("00.c", "Ada")

# %% tags=["proof"]
# One stored run again.
again = train_plugged((LetterReader, 64, ()), load(seed=0), 0, weight_decay=0.1)[1]  # live
report("text alone, live minus stored", again - in_order["text"][0], near=0, within=0.05)

# %% [markdown]
# The last column is the LSTM's gain with all three modalities, seed by seed. There mean, counts and sorted letters are level with each other, and the LSTM adds about two points; against the counts that interval only just reaches 0. ("(page 00)" is page 00's extractor under this page's training: thirty epochs, the best one kept.)
#
# Page 00's bet goes to Ada: from the text alone the reader in order is ahead of the counts by 1.6 ± 1.6 points, far from five, and five seeds do not settle whether it is ahead at all. The counts know the first and the last letter. Sorting the letters of every word from a to z costs the same LSTM seven points (77.0 to 69.8): it is the order that it uses. With texts shuffled among the samples the model falls to 82 %: twelve points lie between a text that belongs and one that does not; part of them may be harm done by the wrong text (page 00).
#
# ## With the library
#
# In plain PyTorch `pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)` lets an LSTM stop at each text's last real word; a folded cell does it.

# %% tags=["proof"]
# Packed sequences: a padded text's last state is what it is alone.
import torch as pt
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

batch = pad_sequence([pt.tensor([2, 3, 4]), pt.tensor([5, 6])], batch_first=True)  # (2, 3), ids
library_table = pt.nn.Embedding(7, 8, padding_idx=0)             # the row of padding stays 0
library_lstm = pt.nn.LSTM(8, 16, batch_first=True)
packed = pack_padded_sequence(library_table(batch), [3, 2], True, enforce_sorted=False)
_, (h_last, c_last) = library_lstm(packed)                       # h_last: (1, 2, 16)
alone = library_lstm(library_table(pt.tensor([[5, 6]])))[1][0][0, 0]                # (16,)
print("row 1, padded, is what it is alone:", pt.allclose(h_last[0, 1], alone, atol=1e-6))

# %% [markdown] owes="F37"
# ## Where good word vectors come from
#
# So far a table learns from labels. Does it need them? "You shall know a word by the company it keeps" (Firth, 1957). **Skip-gram** (跳字模型), one half of *word2vec* (2013), predicts a word's neighbours, here all at most two places away, the *window*. (The other half, CBOW, predicts the word from its neighbours.)
#
# In our corpus twelve nouns (four animals, four foods, four places) stand in templates such as "she gives bread to the cat".

# %%
FULL = False  # True learns from ten times as many sentences
corpus = company(20_000 if FULL else 2_000)
words = Vocabulary(corpus)
pairs = skip_gram_pairs([words.ids(text) for text in corpus], window=2)   # (P, 2)
print(f"{len(pairs):,} pairs (centre, context), the first sentence: {corpus[0]}")
for centre_id, context_id in pairs[:5].tolist():
    print("  from", *words.words([centre_id]), "predict", *words.words([context_id]))

# %% [markdown]
# Each word gets two vectors, $v$ as a centre and $u$ as a neighbour. How well they go together is one number, the **dot product** (点积) $u^\top v = \sum_d u_d v_d$. A softmax over these scores would predict the neighbour, but needs all V of them for every pair, and V may be 100,000.
#
# **Negative sampling** (负采样) asks less: is this pair *true*, or is its second word drawn at random? The **sigmoid** (逻辑斯谛函数) $\sigma(s) = 1 / (1 + e^{-s})$ turns a score into the probability of "true". For the centre $c$, its neighbour $o$ and $K$ random words the loss is
#
# $$ \ell = -\log \sigma(u_o^\top v_c) - \sum_{k=1}^{K} \log \sigma(-u_k^\top v_c) \tag{01.4} $$
#
# since $1 - \sigma(s) = \sigma(-s)$. Random words are drawn in proportion to (count)$^{0.75}$; of the powers that its authors tried it did best. Two scores and their probabilities:

# %%
v_cat = torch.tensor([1.0, 2.0])
for name, u_word in (("true, 'eats'", [2.0, 0.5]), ("random, 'at'", [1.0, -1.5])):
    score = (torch.tensor(u_word) * v_cat).sum()                          # (2,) -> one number
    print(f"cat, {name:14} score {score:+.1f}, called true with {torch.sigmoid(score):.2f}")

# %% [markdown]
# > **Exercise 01.3 · The loss of one pair** — *8 minutes · stretch*
# >
# > An extra: if you skip it, the map of words below is drawn with the course's own. Given the vectors of a batch of pairs, return the loss (01.4) of each.
# >
# > - `centre` and `context` are `(B, D)`, `negatives` is `(B, K, D)`: K random words for each pair. Return `(B,)`.
# > - A score of -1,000 or 1,000 must not give infinity: `F.logsigmoid(s)` is $\log \sigma(s)$ in one piece.

# %% exercise="01.3"
def pair_loss(centre: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
    """The loss of each true pair and its random ones: (B, D), (B, D), (B, K, D) -> (B,).

    Example: centre [[1.0]], context [[2.0]], negatives [[[0.0]]] give [0.8201], 0.1269 + 0.6931.
    """
    ### BEGIN SOLUTION
    true = (centre * context).sum(dim=-1)                      # (B, D) -> (B,)
    random = (negatives * centre[:, None]).sum(dim=-1)         # (B, K, D) -> (B, K)
    return -F.logsigmoid(true) - F.logsigmoid(-random).sum(dim=-1)
    ### END SOLUTION

# %% [markdown] hints="01.3"
# <details><summary>A question that helps</summary>
#
# How many scores does one true pair with K random words have? With which vector is each of the K random words multiplied?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Multiply number by number and sum over the last axis: that is a dot product for each row. For the random words the centre needs an axis of length 1 in the middle, (B, 1, D). Then logsigmoid of the true score, and of *minus* each random score; sum over K, and a minus before everything.
#
# </details>
# <details><summary>If you see "The size of tensor a must match the size of tensor b"</summary>
#
# (B, K, D) times (B, D) lines up K with B. `centre[:, None]` is (B, 1, D).
#
# </details>

# %%
pair_loss = mine("01.3", pair_loss)

def batch_loss(batch, v, u, draw):
    """The mean loss of pairs (B, 2) with five random words each; v, u are tables (V, D)."""
    centre, context = batch.T                                             # 2 x (B,)
    negatives = negative_samples(words.counts, (len(batch), 5), draw)     # (B, 5)
    return pair_loss(v[centre], u[context], u[negatives]).mean()

at_zero = batch_loss(pairs, *torch.zeros(2, len(words), 16), seed_everything(0))  # all scores 0
print(f"untrained, loss {at_zero:.4f}, that is 6 log 2 = {6 * math.log(2):.4f}")

# %% tags=["proof"]
# Training, the count of like words; and equation 01.4 with the sigmoid's definition.
def learn(pairs, seed, epochs=5, width=16):
    """Word vectors (V, width) from pairs (P, 2), in batches of 512."""
    draw = seed_everything(seed)
    tables = (0.1 * torch.randn(2, len(words), width)).requires_grad_()   # v and u
    optimizer = torch.optim.Adam([tables], lr=0.02)
    for _ in range(epochs):
        for rows in torch.randperm(len(pairs), generator=draw).split(512):
            optimizer.zero_grad()
            batch_loss(pairs[rows], *tables, draw).backward()
            optimizer.step()
    return tables[0].detach()

def own_group(vectors):
    """The share of each noun's three most similar words that are of its own group."""
    right = 0
    for group in GROUPS.values():
        for noun in group:
            alike, _ = nearest(vectors[2:], int(words.ids(noun)) - 2, 3)  # without <pad>, <unk>
            right += len(set(group) & set(words.words(alike + 2)))
    return right / 36

signed = (random_x[:, 1:] * random_x[:, :1]).sum(-1) * torch.tensor([-1, 1, 1])       # (3, 3)
by_hand = pair_loss(random_x[:, 0], random_x[:, 1], random_x[:, 2:])  # a true pair, two random
verify("01.4", by_hand=by_hand, reference=(1 + signed.exp()).log().sum(-1))

# %% [markdown]
# The **cosine similarity** (余弦相似度) is the dot product divided by both lengths: 1 for the same direction, 0 for a right angle. For each noun we take the three most similar of all words. How many of these 36 are of its own group?

# %%
untrained = learn(pairs, seed=0, epochs=0)
print(f"seed 0 before training, share of own group: {own_group(untrained):.2f}")
learned = [learn(pairs, seed) for seed in range(3)]
for seed, vectors in enumerate(learned):
    report(f"seed {seed}, share of own group", own_group(vectors), near=1.0, within=0.03)
mixed = [words.ids(text) for text in company(len(corpus), mixed=True)]
mixed_pairs = skip_gram_pairs(mixed, window=2)                            # (P, 2)
share = sum(own_group(learn(mixed_pairs, seed)) for seed in range(3)) / 3
report("nouns in any place, share of own group", share, near=0.27, within=0.12)

# %% tags=["figure"]
# The map: 16 numbers a word brought to two by PCA, before training and after.
from sklearn.decomposition import PCA

figure, panels = plots.axes(width=7.2, height=3.2, columns=2)
for ax, table_now, title in zip(panels, (untrained, learned[0]), ("before", "after")):
    flat = PCA(2).fit_transform(table_now[2:].numpy())
    for (group, nouns), color, marker in zip(
        GROUPS.items(), ("text", "image", "audio"), ("s", "o", "^")
    ):
        spots = flat[words.ids(" ".join(nouns)) - 2]
        ax.scatter(*spots.T, s=24, color=plots.COLORS[color], marker=marker, label=group)
        if title == "after":
            ax.annotate(", ".join(nouns), spots.mean(0), xytext=(0, -16), fontsize=8,
                        textcoords="offset points", ha="center")
    ax.set(title=title, xticks=[], yticks=[])
    ax.margins(0.45, 0.3)
panels[1].legend(frameon=False, fontsize=8)
plots.show(figure, "A map of the twelve nouns. Before training they lie anywhere; after it the"
           " words of each group lie together, though no text says which words belong to a group.")

# %% [markdown] owes="F26"
# Cats and dogs lie together, though they never meet in one sentence: they stand in the same *kinds* of sentences. The last line above is the control: when any noun may stand in any place, the share is that of chance among nouns (3 of 11). On real texts, word vectors also take over their authors' prejudices (Bolukbasi and others, 2016).
#
# A word has one vector, wherever it stands: "bank" by the river and "bank" with money are one row.
#
# <details><summary>Aside: cleaning texts, stop words and parts of speech</summary>
#
# Older recipes clean a text first: remove **stop words** (停用词), frequent little words such as "the", "is", "of"; or tag each word with its **part of speech** (词性) and keep nouns and adjectives. For finding documents on a subject this may do little harm. For questions it can remove the question: without the stop words of scikit-learn, "is the circle above the square?" and "is the circle below the square?" are both "circle square". Take all questions about the first 50 test scenes of the world `scenes`: 18 % can then no longer be told from a question on the same scene with another answer; with nouns and adjectives alone it is 32 %. No model can answer both.
#
# </details>

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **turn** sentences into ids, padded to one batch; the mask says what is real;
# 2. **build** the masked mean: zeros under padding, divided by each row's number of tokens; it forgets the order;
# 3. **build** one RNN step and read in order: on "who chases whom" 100 % where the mean has 50;
# 4. **repair** the silent fault: padding pulls last states together; take the last *real* one;
# 5. **plug in** an extractor and say what it adds: in text alone seven points for the order of the letters, about two when picture and sound are there, too;
# 6. **learn** from texts alone which words keep the same company, with the loss of a skip-gram pair.
#
# ## Questions
#
# <details><summary>1. Why does padding have an id of its own, and not that of a rare word?</summary>
#
# The mask is often read from the ids. If a real word had the id 0, it would be masked wherever it occurs.
#
# </details>
# <details><summary>2. Texts are padded in front, and the last state is taken without a mask. Is all well?</summary>
#
# Nearly: the last state has read the text last. But padding in front has changed the state that the text starts from, so a text's vector depends on the length of its batch.
#
# </details>
# <details><summary>3. "hot" and "cold" get similar vectors. Is that a failure?</summary>
#
# They stand among the same neighbours ("a ... day"). What is learned is who can stand where, not what is the opposite of what.
#
# </details>
# <details><summary>4. With the whole page: a colleague's LSTM on reviews, padded to 200 words, stays at chance; the mean of embeddings on the same data does well. What do you look at first, and how do you test it?</summary>
#
# Which state is taken, and on which side the padding stands. Put more padding behind the texts: if the results of a fixed model change, it reads padding. Then take the last real state, or pack the sequences.
#
# </details>
# <details><summary>5. With the whole page: for which tasks would you start with the mean and not with an RNN?</summary>
#
# Where the words decide and not their order, such as the subject of a document, and where data are few: the mean has no weights beyond the table. Try it first in any case: it is the baseline.
#
# </details>
#
# ## Read more
#
# - T. Mikolov, K. Chen, G. Corrado, J. Dean, *Efficient Estimation of Word Representations in Vector Space*, 2013. Skip-gram and CBOW.
# - T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean, *Distributed Representations of Words and Phrases and their Compositionality*, NeurIPS 2013. Negative sampling and the power 0.75.
# - S. Hochreiter, J. Schmidhuber, *Long Short-Term Memory*, Neural Computation 9(8), 1997. The cell state, with two gates, input and output.
# - F. Gers, J. Schmidhuber, F. Cummins, *Learning to Forget: Continual Prediction with LSTM*, Neural Computation 12(10), 2000. The forget gate.
# - T. Bolukbasi, K.-W. Chang, J. Zou, V. Saligrama, A. Kalai, *Man is to Computer Programmer as Woman is to Homemaker?*, NeurIPS 2016. What word vectors learn along with the meaning.
# - J. R. Firth, *A Synopsis of Linguistic Theory 1930-1955*, 1957. The sentence about a word's company.
#
# ## A bet for page 02
#
# Page 02 takes a network that has read very many sentences. How similar are its vectors of "the cat chases the dog" and "the dog chases the cat"?
#
# *Ada says: far apart. It has read enough to know who chases.* *Ben says: nearly the same. The words are the same, and it was trained to know what a sentence is about.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("01.b", None, sure=0.5)
guesses("01")
