# %% [markdown]
# # Who knows how you feel: your words, your voice or your emoji?
#
# People rate a message, a word list of 2014 rates it, a network rates it: who comes nearest to what the others say? Then a voice joins the words, in pieces of unequal length, and an emoji that is often not there.
#
# *About {minutes} minutes. You need pages 01, 02, 05 and 10: words as vectors, MiniLM, frames of sound, fusion by concatenation.*

# %% [markdown]
# ## In this notebook you will
#
# 1. settle the bet of page 26: one person, or a word list?
# 2. build the mean of the *others*, so that nobody is compared with themselves;
# 3. add a modality that is often missing, and see what it costs to forget the mask;
# 4. hold, if you like, a rating and a yes-or-no answer against each other, on one trunk (page 18);
# 5. build packing: an LSTM's last state, at each row's own end;
# 6. find out which of words, tone and emoji carries what, against exact ceilings.

# %% tags=["measured", "imports"]
# Imports.
import json

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from course_utils import plots
from course_utils.audio import frames
from course_utils.datasets import Moods, RatedTexts, store
from course_utils.datasets.moods import ceilings
from course_utils.exercises import check, mine
from course_utils.masks import pad
from course_utils.metrics import mean_interval, percent
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import DATA, reads, seed_everything
from course_utils.text import tokenize


# %% tags=["measured", "proof"]
# The pitch of a voice, 33 times a second: how soon a piece of sound repeats itself.
def pitch(sounds):
    """Sounds at 8 kHz -> log of the pitch in Hz, where a voice sounds, mask; (B, T) each."""
    sound, mask = pad(sounds)
    pieces, heard = frames(sound, mask, n_fft=480, hop_length=240)         # (B, T, 480)
    window = torch.hann_window(480)
    pieces = (pieces - pieces.mean(dim=2, keepdim=True)) * window

    def repeats(x):                                     # how like itself it is, n samples later
        power = torch.fft.rfft(x, n=1024).abs() ** 2
        again = torch.fft.irfft(power)[..., :115]                          # (..., 115)
        return again / again[..., :1].clamp(min=1e-9)

    alike = (repeats(pieces) / repeats(window))[..., 22:]                  # 364 down to 70 Hz
    best = alike.amax(dim=2)                                               # (B, T)
    first = 22 + (alike >= 0.88 * best[..., None]).int().argmax(dim=2)     # the first that is near
    sounding = heard & (best > 0.6) & (pieces.square().mean(dim=2) > 1e-4)
    return (8_000 / first).log(), sounding, heard

# %% tags=["measured", "proof"]
# Each clip of `moods` once: melody, tone (0 low, 1 as it is, 2 high), voice.
ROWS = json.loads((reads(DATA / "moods") / "manifest.json").read_text(encoding="utf-8"))["rows"]

def melodies(split, centred=True):
    rows = [row for row in ROWS if row["split"] == split]
    voice = torch.tensor([row["voice"] for row in rows])
    log_pitch, sounding, mask = pitch(Moods(split).sounds)
    middle = torch.full(log_pitch.shape, 4.9)            # one middle for all, 134 Hz
    for one in voice.unique() if centred else []:
        who = voice == one
        middle[who] = log_pitch[who][sounding[who]].mean()
    melody = torch.where(sounding, 5 * (log_pitch - middle), 0.0)          # (N, T)
    steps = torch.stack([melody, sounding.float()], dim=2)                 # (N, T, 2)
    tone = torch.tensor([row["tone"] + 1 for row in rows])
    return {"steps": steps, "mask": mask, "tone": tone, "voice": voice}

# %% tags=["figure", "nbval-ignore-output"]
# One voice, three tones: melodies, padding, players. Not compared: last bits differ.
parts = {split: melodies(split) for split in ("train", "validation", "test")}
figure, ax = plots.axes(width=7.2, height=2.6)
test_part, drawn = parts["test"], {}
for tone, name, color, marker in ((2, "high: a good tone", "audio", "^"),
                                  (1, "as it is", "control", "s"),
                                  (0, "low: a bad tone", "image", "v")):
    own = (test_part["voice"] == test_part["voice"][0]) & (test_part["tone"] == tone)
    row = own.nonzero()[0, 0]
    drawn[name] = Moods("test").sounds[row]
    sounding = test_part["steps"][row, :, 1] > 0
    times = 0.03 * torch.arange(len(sounding))[sounding]
    ax.plot(times, test_part["steps"][row, sounding, 0] / 5, color=plots.COLORS[color],
            marker=marker, markersize=4, label=name)
    end = 0.03 * test_part["mask"][row].sum().item()
    ax.axvline(end, color=plots.COLORS[color], linestyle=":", linewidth=1)
ax.set_xlim(0, 0.03 * test_part["mask"].shape[1])
ax.set_xlabel("seconds")
ax.set_ylabel("pitch, as a logarithm,\nless the voice's own mean")
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
plots.show(figure, "Three clips of one voice that the page will try to read. Dotted: where each"
           " clip ends (two end together). In a batch all are as long as the longest: what follows"
           " is padding.")
plots.players(drawn, 8_000)

# %% [markdown] owes="F157"
# High it says "A stupid mistake.", as it is "Nobody likes me.", low "I am really angry.": all of them bad words. Listen: does it mean them? (It is a synthesiser; no voice says one sentence in two tones.)
#
# ## The bet of page 26
#
# 4,200 short messages, each rated by at least 20 people from -4 (most negative) to 4; their mean is the published rating ([Hutto and Gilbert, 2014](https://github.com/cjhutto/vaderSentiment)). *Ada: one person who reads whole sentences comes nearer to the mean of the others. Ben: a word list of 2014 does.*
#
# A **sentiment lexicon** (情感词典), below *the word list*: VADER holds some 7,500 words and emoticons, each rated by ten people, and a few rules ("not", "very", capitals). Beside it: a bag of words (which words does the text have?) and MiniLM's sentence vectors (page 02), each with ridge regression (page 04) to the rating. Near-duplicates are a group, and no group is in two of the splits. All numbers of this section are stored; they come from the real messages.

# %%
kept = stored("27", "posts")                                 # python tools/sweep.py 27 posts
def shown(row, what, sheet=kept, minus=None):
    """Of a row, or of how much more it has than the row `minus`: the mean, and its interval."""
    rows = [sheet[name] for name in (row, minus) if name]
    values = [one[what] if what in one else one["accuracy"][what] for one in rows]
    mean, half = mean_interval([a - b for a, b in zip(*values)] if minus else values[0])
    return f"{mean:z.2f} ± {half:.2f}"

print("test messages, five splits          mean error      correlation r")
for row in ("always the mean", "bag of words", "MiniLM", "MiniLM, ratings shuffled",
            "bag of words and MiniLM", "one person", "word list", "one person, on a line",
            "word list and MiniLM"):
    print(f"{row:30} {shown(row, 'mae'):>16} {shown(row, 'r'):>18}")
rest = "word list, against the others"
for one, other in (("one person", "word list"), ("one person", rest),
                   ("one person, on a line", rest)):
    more = [shown(one, what, minus=other) for what in ("mae", "r")]
    print(f"{one} minus {other}: {more[0]}, r {more[1]}")
outcome("26.c", "Ben")

# %% [markdown]
# "One person" is drawn at random from each message's raters, 20 times, and compared with the mean of the rest. Ben wins by the words of the bet: the list's error is 0.10 ± 0.03 smaller against the mean of all, as in the table, and against means that leave one rater out it leads by 0.09 ± 0.04. But look what was compared. The list's number, from -1 to 1, was put on a **straight line** that was fitted to the ratings of the training messages. The person got no such line: people answer in whole numbers, and more boldly than a mean does. Give the person a line, too, fitted the same way, and against such others no lead is shown: 0.01 ± 0.04. The **correlation** (相关系数) r does not see a line at all, and shows no difference either: -0.01 ± 0.02.
#
# So with a line for both nobody is shown to be ahead. And the list is on its own ground: list and ratings come from one paper, from people found in the same way. What can be said: on *these* messages no difference is shown between the list and one person. It beats MiniLM with ridge regression, which reads 2,940 rated messages and knows no list, and both together are best. (By [its makers' own words](https://github.com/cjhutto/vaderSentiment#resources-and-dataset-descriptions) 200 of the 4,200 messages were made up to test rules such as the list's.)
#
# Settle it by hand. Four people rate one message:

# %%
one_post = torch.tensor([3.0, 1.0, 2.0, -2.0])                             # (K,)
everybody = one_post.mean()
others = [(one_post.sum() - rating) / 3 for rating in one_post]
print(f"the mean of all: {everybody:.0f}")
print("the fourth is away from all by:   ", abs(one_post[3] - everybody).item())
print("the fourth is away from others by:", abs(one_post[3] - others[3]).item())

# %% [markdown]
# The mean of all holds the fourth rating itself, and so is nearer to it than it should be. With n people, $r_k$ what person k says:
#
# $$ \bar r_{-k} = \frac{1}{n-1} \sum_{j \ne k} r_j = \frac{\sum_j r_j - r_k}{n - 1} \tag{27.1} $$
#
# > **Exercise 27.1 · The others** — *7 minutes · core*
# >
# > - `ratings` `(N, K)` float, a row a message; `mask` `(N, K)` bool says which ratings are there. What stands elsewhere may be anything, NaN too.
# > - Return (27.1) `(N, K)`: for each rating that is there the mean of the row's *other* ratings. 0 where there is no rating, and 0 where there are no others.

# %% exercise="27.1"
def others_mean(ratings: Tensor, mask: Tensor) -> Tensor:
    """For each rating the mean (N, K) of the other ratings of its row.

    Example: ratings [[3, 1, 2, 9]], the last not there: [[1.5, 2.5, 2.0, 0.0]].
    """
    ### BEGIN SOLUTION
    there = torch.where(mask, ratings, 0)                                  # (N, K)
    total = there.sum(dim=1, keepdim=True)                                 # (N, 1)
    count = mask.sum(dim=1, keepdim=True)                                  # (N, 1)
    means = (total - there) / (count - 1).clamp(min=1)                     # (N, K)
    return torch.where(mask & (count > 1), means, 0)
    ### END SOLUTION

# %% [markdown] hints="27.1"
# <details><summary>A question that helps</summary>
#
# If you know the sum of a row and how many ratings it has, what must go to leave one person out?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Zeros where nothing is. Sum and count of each row, with the axis kept. Subtract each rating from the sum, divide by the count less one, at least 1. Then zeros where there is no rating, and in rows with a single one.
#
# </details>
# <details><summary>If you see nan</summary>
#
# `nan * 0` is nan. `torch.where(mask, ratings, 0)` chooses and does not multiply.
#
# </details>

# %% [markdown]
# With it, 120 of the test messages, each with all its ratings:

# %%
others_mean = mine("27.1", others_mean)
some = kept["test posts, first split"]
ratings, there = pad([torch.tensor(one).float() for one in some["ratings"]])  # (120, 99) both
others = others_mean(ratings, there)                                       # (120, 99)
everyone = (ratings * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)
for name, target, near in (("a person from the others", others, 0.722),
                           ("a person from all", everyone, 0.705)):
    report(name, (ratings - target).abs()[there].mean(), near=near, within=0.01)
from_list = torch.tensor(some["word list"])[:, None]                       # (120, 1)
away_by = (from_list - others).abs()[there].mean()
report("the list from the others", away_by, near=0.544, within=0.01)

# %% [markdown]
# One person is not many. Take the mean of k people against the mean of those who are left. From which k on is it nearer than the list? Your guess, a whole number:

# %%
guess("27.a", None)

# %% tags=["figure"]
# The error of the mean of k people, beside the list's.
crowd = {1: "one person", 2: "2 people", 3: "3 people", 5: "5 people", 10: "10 people"}
listed = mean_interval(kept["word list"]["mae"])
plots.curves(
    list(crowd),
    {
        "k people": [mean_interval(kept[row]["mae"]) for row in crowd.values()],
        "text, word list": [listed] * 5,
    },
    xlabel="people whose mean is taken (k)",
    label="mean error, in rating points",
    caption="One person is farther from the rest than the list is, two people are nearer.",
)
below = [k for k, row in crowd.items() if mean_interval(kept[row]["mae"])[0] < listed[0]]
outcome("27.a", min(below))

# %% [markdown]
# Messages of the test set, what people say of them on average, and what list and MiniLM say:

# %%
print("people   list  MiniLM   message")
for number in (17, 45, 55, 10, 15, 102):
    row = [some[who][number] for who in ("published", "word list", "MiniLM")]
    print(f"{row[0]:6.1f} {row[1]:6.1f} {row[2]:7.1f}   {some['texts'][str(number)]}")
print("(C. J. Hutto and E. Gilbert, VADER, ICWSM 2014, MIT)")

# %% [markdown] owes="F34"
# In the last but one the list follows "LOL", where people do not; in the last MiniLM misses a complaint.
#
# ## A modality that is often missing
#
# One message in six or seven has an **emoticon**: typed signs, such as `:)` or `<3`. (An *emoji*, further down, is one sign.) Taken out of the text it is a modality of its own, mostly missing. A weighted mean of what each modality says, $m$ being 1 where it is there:
#
# $$ \hat y = \frac{\sum_i m_i w_i \hat y_i}{\sum_i m_i w_i} \tag{27.2} $$
#
# A message without emoticon. The text says 2.0; where nothing is, a batch has a 0:

# %% tags=["fault"]
says = torch.tensor([[2.0, 0.0]])                                          # text, emoticon
has = torch.tensor([[1.0, 0.0]])
fused = says.mean(dim=1)
print("no emoticon, so what the text says:", torch.equal(fused, says[:, 0]))

# %% [markdown]
# It says 1.0. The 0 was taken for "neutral", and nothing raised. With the mask:

# %%
has = torch.tensor([[1.0, 0.0]])
fused = (has * says).sum(dim=1) / has.sum(dim=1)
print("no emoticon, so what the text says:", torch.equal(fused, says[:, 0]))

# %% tags=["proof"]
# (27.1) by a mean over those that are left, one by one; in float64.
draw = torch.Generator().manual_seed(0)
given = torch.randn(4, 6, generator=draw, dtype=torch.float64)
seen = torch.rand(4, 6, generator=draw) < 0.7
left_out = torch.zeros_like(given)
for n in range(4):
    for k in range(6):
        rest = [given[n, j] for j in range(6) if j != k and seen[n, j]]
        if seen[n, k] and rest:
            left_out[n, k] = sum(rest) / len(rest)
verify("27.1", by_hand=left_out, reference=others_mean(given, seen))

# %% tags=["proof"]
# (27.2) against a loop over those that are there.
weigh = torch.tensor([0.7, 0.3], dtype=torch.float64)
marks = torch.tensor([[1, 0], [1, 1], [0, 1]], dtype=torch.float64)
told = torch.tensor([[2.0, 9.0], [-1.0, 3.0], [9.0, 0.5]], dtype=torch.float64)
looped = []
for row, have in zip(told, marks):
    pairs = [(w, y) for w, y, m in zip(weigh, row, have) if m]
    looped.append(sum(w * y for w, y in pairs) / sum(w for w, _ in pairs))
verify("27.2", (marks * weigh * told).sum(1) / (marks * weigh).sum(1), looped)

# %% owes="F137"
signs = stored("27", "emoticons")                        # python tools/sweep.py 27 emoticons
print("test messages that have an emoticon          mean error     right sign")
for row in ("text", "text, on a line fitted on these", "emoticon", "weighted mean", "together",
            "together, shuffled", "together, another's emoticon at the test"):
    print(f"{row:42} {shown(row, 'mae', signs):>14} {shown(row, 'sign', signs):>14}")
print("\ntest messages that have none")
for row in ("text", "mean with 0", "mean with the emoticons' mean"):
    name = f"without emoticon: {row}"
    print(f"{row:42} {shown(name, 'mae', signs):>14} {shown(name, 'sign', signs):>14}")
less, none = shown("emoticon", "mae", signs, "together"), "without emoticon: "
cost = shown(none + "mean with 0", "mae", signs, none + "text")
print(f"\nemoticon minus together: {less}; none: mean with 0 minus text: {cost}")

# %% [markdown] owes="F139"
# **There.** The emoticon alone is nearer to the ratings than MiniLM's reading of the words. Both in one ridge regression ("together") are nearer by another 0.12 ± 0.06 than the emoticon. With emoticons of other messages, in training and test, that regression has no more than the text on a line of its own: so it is the right emoticon that helps, and not the line.
#
# **Missing.** On messages without emoticon the mean without a mask costs 0.19 ± 0.02 where 0 stands for it. Its signs stay right: half of a number has the number's sign. With the emoticons' own mean in that place it costs as much, and signs, too.
#
# **Misleading.** A regression that has learned to trust the emoticon gets, at the test alone, that of another message: it falls behind the text. Words and emoticon that really disagree (the list on the bare words against the emoticon's mean) are so few, 10 messages a split, that nothing follows from them.

# %% [markdown]
# ## More: the same words in another place
#
# *More: the rest of the page does not need it.* MiniLM's regression and the list, learned or made for messages, on sentences about products and films (3,708 and 10,605, rated by people, too). That is a **domain shift** (领域偏移): the same task on data of another kind.

# %%
away = stored("27", "shift")                                 # python tools/sweep.py 27 shift
print("correlation r, five splits      messages        products         films")
for row in ("learned there", "learned there, 2595", "learned from posts", "word list"):
    cells = []
    for domain in ("posts", "products", "film"):
        name = f"{domain}: {row}"
        cells.append(shown(name, "r", away) if name in away else "-")
    print(f"{row.replace('posts', 'messages'):24}", *(f"{cell:>15}" for cell in cells))
for row in ("learned there", "learned there, 2595"):
    cells = [shown(f"{domain}: {row}", "r", away, f"{domain}: learned from posts")
             for domain in ("products", "film")]
    print(f"{row} minus from messages: {cells[0]} on products, {cells[1]} on films")

# %% [markdown] owes="F90 F92"
# There both have less, the list most: 0.43 on films after 0.88, where it falls behind MiniLM's regression from messages. Part of that is not the place, as films are harder for what was learned *there*, too: 0.67 after 0.81. Learned on the spot, r is higher by 0.11 ± 0.00 on films and by 0.07 ± 0.02 on products. Is that the place, or more texts? On films, from 2,595 of its sentences, fewer than the 2,940 messages, 0.10 ± 0.01: the place.
#
# <details><summary>What is not taken apart here</summary>
#
# Films and products were rated by the same kind of people, for the same paper, and what differs besides the subject, such as length and spelling, is not taken apart. MiniLM itself was trained on a billion pairs of sentences from the web; whether some of these texts, without ratings, were among them, nobody has checked.
#
# </details>

# %% [markdown]
# ## More: a number, or yes and no?
#
# *More: the rest of the page does not need it.* So far we asked for a rating: **regression** (回归), a head with one output and the mean squared error. One may also ask only "good or bad?": **classification** (分类), a head whose one logit goes into the binary cross-entropy. In both, mind a shape: the targets are `(B,)`, `nn.Linear(64, 1)` gives `(B, 1)`, and their difference would be a table `(B, B)`; `squeeze(-1)` mends it.
#
# One trunk on MiniLM's vectors, 64 wide, and on it the rating's head, the sign's head, or both. (The rate and the decay of each are chosen on validation; the sign's head gets its error from a line through its logit.)

# %%
heads = stored("27", "heads")                                # python tools/sweep.py 27 heads
print("head               mean error   correlation r      right sign")
for row in ("rating", "sign", "both"):
    cells = [shown(row, what, heads) for what in ("mae", "r", "sign")]
    print(f"{row:13}", *(f"{cell:>15}" for cell in cells))
for row in ("sign", "both"):
    cells = [shown(row, what, heads, minus="rating") for what in ("mae", "r", "sign")]
    print(f"{row + ' - rating':13}", *(f"{cell:>15}" for cell in cells))

# %% [markdown] owes="F136"
# Asked for the sign alone, the trunk still orders the messages: but it costs 0.03 ± 0.00 of r and 0.07 ± 0.01 of error. What does the rating's head lose on the sign? Nothing is shown: the right signs differ by 0.0 ± 0.5 points. Both heads on one trunk: 0.01 ± 0.02 of error against the rating's head alone, no difference shown. (The decay stands at the top of its grid in most runs.) So on this trunk: if you have ratings, and may be asked for yes and no, train on the ratings.

# %% [markdown]
# ## Words, a tone of voice and an emoji
#
# Now a voice. The course's `moods` are clips of a synthesiser: a sentence, spoken lower and slower (bad), as it is, or higher and quicker (good), and an emoji. Each modality says nothing in 40 to 50 % of the samples, else the truth in 90 %. So the best possible accuracy is known exactly:

# %%
for known, best in ceilings().items():
    print(f"{' + '.join(known):22} {100 * best:.1f} %")
mood = Moods("test")[4]
print(f'\n"{mood["text"]}" {mood["emoji"] or "no emoji"}  words {mood["words"]},'
      f' tone {mood["tone"]}, emoji {mood["sign"]} -> mood {mood["label"]}')

# %% [markdown]
# The training clips hold 18 sentences, and the test's are others. What do 18 sentences teach? A bag of words finds hardly a word again. So the **words** get their score from elsewhere: from MiniLM's regression on the rated messages, stored for each of the 36 sentences.
#
# The **emoji** is one of six, a one-hot vector, and all zeros where there is none.
#
# The **tone** is the work of this page. Pitch alone says little, as some voices are high by nature; so from each frame's pitch the mean of its voice is taken off (over that voice's nine clips, without labels; but by design they are three of each tone, so that the mean is a fair middle, which a single call would not give). What is left is a melody, two numbers a step: how far above the voice's own mean, and whether there is a voice at all.
#
# What reads the melody is an LSTM (page 01): it goes through the steps and carries a state. Its last state is one vector for the whole clip, and a line makes three tones of it. What `read` has to do is the question of the next section.

# %% owes="F48" tags=["measured"]
class SequenceReader(nn.Module):
    def __init__(self, read, width=2, hidden=16, outputs=3):
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, batch_first=True)
        self.head = nn.Linear(hidden, outputs)
        self.read = read                                # (lstm, steps, mask) -> (B, hidden)

    def forward(self, steps, mask):                     # (B, T, D), (B, T) -> (B, outputs)
        return self.head(self.read(self.lstm, steps, mask))

# %% tags=["measured", "proof"]
# Training: batches of 32, cut to the longest clip; the best epoch by validation.
def read_tone(read, data, seed, lr=0.03, epochs=60):
    """A trained reader and its loss on validation."""
    generator = seed_everything(seed)
    reader, best = SequenceReader(read, data["train"]["steps"].shape[2]), (float("inf"), None)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=lr, weight_decay=0.01)
    part, seen = data["train"], data["validation"]
    for _ in range(epochs):
        for rows in torch.randperm(len(part["tone"]), generator=generator).split(32):
            mask = part["mask"][rows]
            longest = mask.sum(dim=1).max()
            logits = reader(part["steps"][rows, :longest], mask[:, :longest])
            loss = F.cross_entropy(logits, part["tone"][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            missed = F.cross_entropy(reader(seen["steps"], seen["mask"]), seen["tone"]).item()
        if missed < best[0]:
            best = missed, {name: w.clone() for name, w in reader.state_dict().items()}
    reader.load_state_dict(best[1])
    return reader, best[0]

# %% tags=["measured", "proof"]
# The three vectors of each sample.
EMOJIS = sorted({sign for sign in Moods("train").emojis if sign})
def features(split, seed, tone_logits):
    """Of each sample: score of the words (N, 1), tone (N, 3), emoji (N, 6); and labels (N,)."""
    drawn = Moods(split, seed=seed)
    scores = stored("27", "read_sentences")["sentences"]["score"]
    words = torch.tensor([[scores[text] / 2] for text in drawn.texts])     # (N, 1)
    tone = tone_logits[drawn.places]                                       # (108, 3) -> (N, 3)
    emoji = torch.tensor([[sign == one for one in EMOJIS] for sign in drawn.emojis]).float()
    return {"words": words, "tone": tone, "emoji": emoji}, drawn.labels

# %% [markdown]
# ## One vector from many steps
#
# PyTorch's `nn.LSTM` has two traps in a row. The first: it reads `(T, B, D)`, unless it is told otherwise. (And `(B, D)`, without time, as one sequence of B steps.)

# %% tags=["fault"]
clips = torch.randn(4, 7, 2, generator=torch.Generator().manual_seed(0))   # (B, T, D)
lstm = nn.LSTM(2, 3)
alone, together = lstm(clips[1:2])[0][0], lstm(clips)[0][1]                # (T, 3) both
print("clip 1 gives the same beside others:", torch.allclose(alone, together, atol=1e-6))

# %% [markdown]
# The batch was taken for time: clip 0 leaked into clip 1 as if it had come before it. The shapes are right all the way. It is a common mistake, and done twice where words and sound have an LSTM each.

# %%
lstm = nn.LSTM(2, 3, batch_first=True)
alone, together = lstm(clips[1:2])[0][0], lstm(clips)[0][1]                # (T, 3) both
print("clip 1 gives the same beside others:", torch.allclose(alone, together, atol=1e-6))

# %% [markdown]
# The second trap is the padding, which page 01 met; here you build what mends it. A clip of two steps beside one of four; the state after each step, of an LSTM with one number of state:

# %%
seed_everything(8)
tiny = nn.LSTM(1, 1, batch_first=True)
short, long = torch.tensor([[1.0], [1.0]]), torch.tensor([[1.0], [1.0], [-1.0], [2.0]])
steps, mask = pad([short, long])                                           # (2, 4, 1), (2, 4)
after = tiny(steps)[0].squeeze(2)                                          # (2, 4)
for name, row in zip(("short", "long"), after.tolist()):
    print(f"{name:6}", [round(state, 3) for state in row])

# %% [markdown]
# The short one then reads zeros, and its state goes on changing. What we want is a state that *holds*: with $m_t$ the mask and $h$ state and cell,
#
# $$ h_t = m_t \operatorname{LSTM}(x_t, h_{t-1}) + (1 - m_t)\, h_{t-1}, \qquad h_0 = 0 \tag{27.3} $$
#
# Then $h_T$ is each row's state at its own end. PyTorch has this as **packing** (打包): `pack_padded_sequence` takes the padded steps and each row's length, and the LSTM stops each row where it ends.
#
# An LSTM may also be **bidirectional** (双向): a second one reads from the last step to the first. Its "last" state stands at the *first* step.
#
# > **Exercise 27.2 · Packing** — *12 minutes · core*
# >
# > - `lstm`: an `nn.LSTM` with `batch_first=True`, one layer, in one direction or two. `steps` `(B, T, D)`, `mask` `(B, T)` bool, True first and padding after it. The rows are not sorted by length.
# > - Return `(B, H)`, (27.3) at the end: each row's state where it ends. With two directions `(B, 2H)`: forward, then backward, each after it has read the whole row, without padding.
# > - A row without a single step is missing: zeros. (`pack_padded_sequence` refuses length 0.)

# %% exercise="27.2"
def packed_last(lstm: nn.LSTM, steps: Tensor, mask: Tensor) -> Tensor:
    """The LSTM's last state of each row, at its own end: (B, H), or (B, 2H) in two directions.

    Example: a row of two steps gives what `lstm` gives for these two steps alone.
    """
    ### BEGIN SOLUTION
    lengths = mask.sum(dim=1)                                              # (B,)
    packed = pack_padded_sequence(
        steps, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
    )
    last = lstm(packed)[1][0]                                # (directions, B, H)
    last = last.transpose(0, 1).flatten(1)                   # -> (B, directions * H)
    return torch.where(lengths[:, None] > 0, last, 0)
    ### END SOLUTION

# %% [markdown] hints="27.2"
# <details><summary>A question that helps</summary>
#
# An LSTM returns `output, (h, c)`. Which of `output` and `h` stands at each row's own end, if it was given a packed sequence?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Lengths are the mask's sums; make them at least 1. Pack with `batch_first=True, enforce_sorted=False`. Of what the LSTM returns take `h`, `(directions, B, H)`, and bring the batch to the front. Put zeros where the length was 0. (Or go row by row, over `steps[i, :length]`; that is right, and slower.)
#
# </details>
# <details><summary>If you see "lengths must be on the CPU" or "not sorted"</summary>
#
# `.cpu()`; and `enforce_sorted=False`, which sorts and puts the rows back.
#
# </details>
# <details><summary>If only the second half is wrong</summary>
#
# `output[:, -1]` in the backward direction has read one step. `h[-1]` is the whole backward pass; `h[0]` the forward one.
#
# </details>

# %%
packed_last = mine("27.2", packed_last)
print("packed:", [round(state, 3) for state in packed_last(tiny, steps, mask).flatten().tolist()])

# %% tags=["proof"]
# (27.3) step by step with an LSTM cell that holds, against packing; float64.
torch.manual_seed(0)
wide = nn.LSTM(2, 3, batch_first=True, dtype=torch.float64)
cell = nn.LSTMCell(2, 3, dtype=torch.float64)
cell.load_state_dict({name.removesuffix("_l0"): w for name, w in wide.state_dict().items()})
inputs = torch.randn(4, 6, 2, dtype=torch.float64)
heard = torch.arange(6) < torch.tensor([3, 6, 1, 4])[:, None]
state = 2 * [torch.zeros(4, 3, dtype=torch.float64)]
for t in range(6):
    new, here = cell(inputs[:, t], state), heard[:, t, None]
    state = [here * after_it + ~here * before for after_it, before in zip(new, state)]
verify("27.3", by_hand=state[0].detach(), reference=packed_last(wide, inputs, heard).detach())

# %% [markdown]
# The usual line, `output[:, -1]`, on a clip that stands beside a longer one:

# %% tags=["fault"]
seed_everything(0)
lstm = nn.LSTM(1, 3, batch_first=True)
beside = lstm(steps)[0][:, -1]                                             # (2, 3)
alone = packed_last(lstm, steps[:1, :2], mask[:1, :2])                     # the short clip, alone
print("the short clip as when it is alone:", torch.allclose(beside[:1], alone, atol=1e-6))

# %% [markdown]
# So an answer depends on who else is in the batch. Nothing raises, and a score is computed. With your packing:

# %%
beside = packed_last(lstm, steps, mask)                                    # (2, 3)
alone = packed_last(lstm, steps[:1, :2], mask[:1, :2])                     # the short clip, alone
print("the short clip as when it is alone:", torch.allclose(beside[:1], alone, atol=1e-6))

# %% [markdown]
# ## Reading a tone
#
# Now the reader, with your function as its `read`. 162 clips of 18 voices train it; the test has 12 other voices and other sentences. (Rate and epoch of each row are chosen on validation.)

# %%
tones = stored("27", "tone")                                 # python tools/sweep.py 27 tone
reader, _ = read_tone(packed_last, parts, seed=0, lr=tones["packed"]["rate"][0])
with torch.no_grad():
    tone_logits = reader(test_part["steps"], test_part["mask"])            # (108, 3)
right = (tone_logits.argmax(dim=1) == test_part["tone"]).double().mean().item()
live = 100 * (right - tones["packed"]["accuracy"][0])
report("packed, right of three tones: live minus stored", live, near=0, within=4, unit="points")
print("right of three tones in %, ten seeds  packed minus it")
for row in ("packed", "read at the padding", "padding on the left", "mean over the steps",
            "packed, pitch not centred", "packed, tones shuffled"):
    own, packed = tones[row]["accuracy"], tones["packed"]["accuracy"]
    print(f"{row:26} {percent(own):>11} {percent(packed, minus=own):>13}")

# %% [markdown]
# Over ten seeds (at first five were run), reading the state at the padding costs 8.4 ± 5.1 points (single runs: from -2 to 19; with the 12 voices drawn again: from 3.5 to 13.0). Is it the padding as such? With the same line, but the padding *before* the steps, no loss is shown: 0.9 ± 1.4. Nor with the mean of the states over the real steps: -0.6 ± 2.1. So the fault is *where* the state is read, and packing is one remedy of three. (The padding in front leaves a state that depends on the batch: it begins with as many zeros as the longest neighbour asks for.) What matters most is what is read: without taking off each voice's own mean the reader loses 28.0 ± 3.2 points. Trained on shuffled tones it guesses.
#
# ## All three together
#
# Each modality is now one small vector: the words' score (1), the reader's three logits for the tone, the emoji (6). Glued together they go into a logistic regression: page 10's concatenation. 600 samples are drawn from the training clips.

# %%
logits = {}
for split, part in parts.items():
    with torch.no_grad():
        logits[split] = reader(part["steps"], part["mask"])
(given, label), (asked, answer) = (features(s, 0, logits[s]) for s in ("train", "test"))
model = LogisticRegression(C=1.0, max_iter=1000).fit(torch.cat([*given.values()], dim=1), label)
chance_of_good = torch.from_numpy(model.predict_proba(torch.cat([*asked.values()], dim=1))[:, 1])
right = ((chance_of_good > 0.5) == answer).double().mean().item()
report("words, tone and emoji", 100 * right, near=85, within=5, unit="%")

# %%
moods = stored("27", "moods")                                # python tools/sweep.py 27 moods
def tell(title, best, *rows):
    """Each row, and how much more `best` has."""
    first = moods[best]["accuracy"]["right"]
    print(f"{title:40} {'in %':>12}    {best} minus it")
    for row in rows:
        share = moods[row]["accuracy"]["right"]
        print(f"{row:40} {percent(share):>12} {percent(first, minus=share):>14}")
    return first

ALL = "words + tone + emoji"
whole = tell("all three, or two; five seeds", ALL, "all, words shuffled", "all, tone shuffled",
             "all, emoji shuffled", "words + emoji", "signs")
tell("the words alone", "words", "words", "MiniLM learned here", "bag of words learned here")
tell("words and tone", "bag of words' weights + tone", "two LSTMs", "bag of words' weights + tone")
alone = [moods[name]["accuracy"]["right"] for name in ("words", "tone", "emoji")]
single = [max(shares) for shares in zip(*alone)]
print("all three minus the best single of each seed:", percent(whole, minus=single))

# %% tags=["figure"]
# Alone and together, each with its exact ceiling.
groups = {"text (words)": ("words",), "audio (tone)": ("tone",), "emoji": ("emoji",),
          "words + tone": ("words", "tone"), "words + emoji": ("words", "emoji"),
          "tone + emoji": ("tone", "emoji"), "all three": ("words", "tone", "emoji")}
best = ceilings()
bar_rows = {}
for name, known in groups.items():
    values = moods[" + ".join(known)]["accuracy"]["right"]
    bar_rows[name] = mean_interval([100 * value for value in values])
plots.bars(
    bar_rows,
    label="right moods of new voices and sentences (%)",
    chance=50,
    ceiling=[100 * best[known] for known in groups.values()],
    caption="Five draws from the same clips. All three are above each pair of"
    " them, and below the ceiling.",
)

# %% [markdown] owes="F138"
# Together 84.0 ± 4.0 %, where 88.1 are possible: 10.0 ± 2.8 points above the best single modality of each seed. The seeds draw samples anew, but from the same clips; with the 12 test voices drawn again as groups the gain lies between 6.8 and 13.0.
#
# **Which carries what?** Shuffle one modality, in training, validation and test, and the model keeps its size and loses only what that modality says: 7.3 ± 2.1 points without the words, 7.6 ± 2.4 without the emoji, 2.5 ± 1.5 without the tone. That is what the tone adds to words and emoji, too: 2.6 ± 1.5. Told what each modality really says (the row "signs") the same regression has 89.0 % (above 88.1, as 600 drawn samples may be). So it is the reading that falls short, and not the fusion.
#
# **What do 18 sentences teach?** A bag of words that learns from them is no better than chance, 47.5 ± 8.8. But MiniLM's vectors, with the same 18 sentences, come out where its score lent by the rated messages does (0.5 ± 1.1 points apart). Little text teaches little; a pretrained encoder brings the rest with it. The lent score needs no mood of ours at all: its bare sign is as often right as the regression on it.
#
# <details><summary>Where words and tone disagree</summary>
#
# One would like to know whom the model believes. But that is 29 to 48 samples of 600, on 18 to 21 clips. From so few we say nothing.
#
# </details>
#
# ## With the library
#
# Words and voice by two LSTMs: the last state of each, glued, one logit. Plain PyTorch, in another folder too. (Emotion from *video* is the same with a third LSTM: of a face each frame is one vector, and a clip is one more sequence of unequal length. No face is measured here. Common mistakes: whole outputs glued along `dim=1`, which is time or batch; a target of another shape than the output; no packing.)

# %% owes="F41 L29" tags=["measured"]
import torch
from torch import nn


class WordsAndVoice(nn.Module):
    def __init__(self, text_width=1, audio_width=2, hidden=8):
        super().__init__()
        self.text = nn.LSTM(text_width, hidden, batch_first=True)
        self.audio = nn.LSTM(audio_width, hidden, batch_first=True)
        self.head = nn.Linear(2 * hidden, 1)

    def forward(self, text, text_lengths, audio, audio_lengths):           # -> (B,) logits
        ends = []
        for lstm, steps, lengths in ((self.text, text, text_lengths),
                                     (self.audio, audio, audio_lengths)):
            packed = nn.utils.rnn.pack_padded_sequence(
                steps, lengths, batch_first=True, enforce_sorted=False)
            ends.append(lstm(packed)[1][0][-1])                            # (B, H)
        return self.head(torch.cat(ends, dim=-1)).squeeze(-1)              # (B, 1) -> (B,)

# %% [markdown]
# Trained on the mood alone, on the words' lent weights and the melody, this has 71.6 ± 3.5 %. In two stages (the words' weights summed up, the tone's reader first trained on the tones, which the two LSTMs are never told) the same inputs have 74.6 ± 3.0: 3.0 ± 3.7 points apart, so no difference is shown.
#
# ## On real data
#
# The first table's bag of words again, live, where the messages are at hand (2 MB).

# %% tags=["real-data", "nbval-ignore-output"]
# Not compared: needs the rated texts, and else says how to get them.
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge

if store.have("texts"):
    train, test = (RatedTexts(split, apart=False, seed=0) for split in ("train", "test"))
    bag = CountVectorizer(binary=True, min_df=2, token_pattern=r"(?u)\b\w+\b|[^\w\s]+")
    ridge = Ridge(alpha=3.0).fit(bag.fit_transform(train.texts), train.ratings)
    said = torch.from_numpy(ridge.predict(bag.transform(test.texts)))
    live = (said - test.ratings).abs().mean() - kept["bag of words"]["mae"][0]
    report("bag of words: live minus stored", live, near=0, within=0.03)

# %% [markdown] owes="F138"
# ## Recap
#
# You can now
#
# 1. **settle** the bet: the list's number, on its line, is nearer than one person's, by 0.09 against means that leave one rater out; with a line for both, no difference is shown; two people are nearer;
# 2. **build** the mean of the others: a target that holds nobody's own answer;
# 3. **add** an emoticon: it is nearer than the words, both are nearer still, and without a mask the messages that have none pay 0.19;
# 4. **choose**, if you like, a head: one that learned ratings is not shown to be worse at the sign, one that learned signs is worse at ratings;
# 5. **build** packing: each row's state at its own end, the same alone and in a batch; the state at the padding costs 8.4 points, and two other remedies do as well;
# 6. **find** who carries what: all three are above each pair, the tone adds least, and the reading, not the fusion, keeps them below an exact ceiling.
#
# ## Questions
#
# <details><summary>1. Why is one person compared with the others, and not with the mean of all?</summary>
#
# The mean of all holds that person's own rating, and so is nearer to it than any stranger's could be. With 20 raters a twentieth of the target is one's own answer.
#
# </details>
# <details><summary>2. Mean error says that the list wins, r says that nothing is shown. Which is right?</summary>
#
# Both. Mean error asks whether the number itself is right, r whether the order and the distances are, up to a straight line. The list had such a line fitted. Say which question you ask, and give both sides the same help.
#
# </details>
# <details><summary>3. You sort your clips by length and make batches of equal length. Do you still need packing?</summary>
#
# Not in these batches: there is no padding at the end. But the model, once used on other batches, answers differently again. The code should not depend on it.
#
# </details>
# <details><summary>4. Why is gathering <code>output</code> at each row's own end right in one direction and wrong in two?</summary>
#
# Forward, the state at the end has not seen the padding, which comes later. Backward, the padding comes first: the state has gone through it before it meets the last real step.
#
# </details>
# <details><summary>5. With the whole page: a colleague's sentiment model for calls gains three points from the voice. What do you ask for?</summary>
#
# The words alone, tuned as well; the voice shuffled; speakers and sentences split, so that no voice is known; an interval that counts speakers, not calls; whether the same answers come out alone and in a batch.
#
# </details>
# <details><summary>6. With the whole page: who may say "better than a human"?</summary>
#
# Somebody who names the human (one, or the mean of several), compares with ratings that hold neither side, gives both the same line, and says where list, raters and texts come from. Here no difference from one person was shown, on the list's own ground, and two people were nearer to the rest.
#
# </details>
#
# ## Read more
#
# - C. J. Hutto, E. Gilbert, *VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text*, ICWSM 2014. How the list was rated, and how the messages were.
# - S. Hochreiter, J. Schmidhuber, *Long Short-Term Memory*, Neural Computation 9(8), 1997.
# - R. Snow, B. O'Connor, D. Jurafsky, A. Ng, *Cheap and Fast, But is it Good?*, EMNLP 2008. How many raters equal an expert.
# - A. Zadeh and others, *Tensor Fusion Network for Multimodal Sentiment Analysis*, EMNLP 2017 (arXiv:1707.07250). Words, voice and face on real videos.
# - H. Cao and others, *CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset*, IEEE Transactions on Affective Computing 2014. Moving faces: 7,442 clips of 91 actors, rated by sound alone, by face alone, and by both.
#
# ## A bet for page 28
#
# A language model that knows only text is to see: a picture's vectors are put in front of the question as if they were words (soft tokens). It is then trained on questions about pictures (one row in four: on a description), with the same number of steps in two ways: *all* its parameters, or two in a hundred of them, in small added matrices (LoRA), the rest frozen. Each way gets its own best learning rate.
#
# *Ada says: training all of them answers more new questions rightly.* *Ben says: no difference is shown.* "More" means: five seeds, an interval clear of 0. Whom do you back? Put "Ada" or "Ben" in place of `None`.

# %%
guess("27.c", None)
guesses("27")
