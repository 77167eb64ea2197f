"""Notebook 26: what the wording alone answers, two pointers and their offset, and an answer for one
picture.
"""

from collections import Counter, defaultdict

import torch
from torch import nn
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 26.1 -----------------------------------------------------------------------------------------


def prior_answers(questions, answers, asked):
    """Sorted by how often and then by the alphabet, the first of each wording."""
    counts = defaultdict(Counter)
    for question, answer in zip(questions, answers):
        counts[question][answer] += 1
    counts = dict(counts)
    overall = Counter(answers)

    def first(counted):
        return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[0][0]

    return [first(counts.get(question, overall)) for question in asked]


def _prior(
    questions,
    answers,
    asked,
    best=lambda answers: min(sorted(set(answers)), key=lambda a: -answers.count(a)),
    key=lambda question: question,
    unknown=None,
):
    of = {}
    for question, answer in zip(questions, answers):
        of.setdefault(key(question), []).append(answer)
    overall = best(list(answers)) if unknown is None else unknown
    return [best(of[key(q)]) if key(q) in of else overall for q in asked]


def _skips_unknown(questions, answers, asked):
    return _prior(questions, answers, [q for q in asked if q in questions])


def _prior_cases(seed=1):
    yield ["a?", "a?", "b?"], ["no", "yes", "four"], ["b?", "a?"]
    yield ["is it red?", "is it red?", "is it red?"], ["no", "yes", "yes"], ["is it red?"]
    yield ["a?", "a?", "b?", "b?", "b?"], ["x", "x", "y", "y", "y"], ["c?", "a?", "b?"]
    yield ["a?", "a?", "a?", "a?"], ["yes", "no", "yes", "no"], ["a?", "z?"]
    yield ["a?", "b?", "b?", "a?", "c?"], ["u", "t", "u", "u", "t"], ["c?", "b?", "a?", "d?"]
    yield ["is it?", "is it red?"], ["no", "yes"], ["is it red?", "is it?", "is"]
    # part of a wording is another wording, and a tie goes by the alphabet, not by the length
    yield (
        ["is it red?", "Is it?", "is it?", "b?"],
        ["yes", "four", "one", "four"],
        ["is it", "is it?"],
    )
    yield ["a?", "a?", "a?", "a?"], ["yes", "four", "yes", "four"], ["a?", "z?"]
    draw = torch.Generator().manual_seed(seed)
    for size, wordings in ((20, 4), (60, 9)):
        places = torch.randint(wordings, (size,), generator=draw).tolist()
        said = torch.randint(3, (size,), generator=draw).tolist()
        asked = torch.randint(wordings + 2, (size // 2,), generator=draw).tolist()
        yield (
            [f"question {i}?" for i in places],
            [("no", "two", "yes")[i] for i in said],
            [f"question {i}?" for i in asked],
        )


def _prior_batch():
    return ["is it red?", "is it red?", "is it?"] * 200, ["no", "yes", "no"] * 200, ["is it?"] * 50


PRIOR = Exercise(
    key="26.1",
    reference=prior_answers,
    batch=_prior_batch,
    verified=True,
    cases=_prior_cases,
    returns="one answer for each question asked",
    misconceptions=(
        *ideas(
            "this is the most frequent answer of all, whatever is asked. Count for each wording.",
            lambda q, a, asked: [max(sorted(set(a)), key=list(a).count)] * len(asked),
        ),
        *ideas(
            "this is the first answer that the wording had, not its most frequent.",
            lambda q, a, asked: _prior(
                q,
                a,
                asked,
                lambda answers: (
                    answers[0] if len(answers) < len(a) else Counter(a).most_common()[0][0]
                ),
            ),
        ),
        *ideas(
            "this is the last answer that the wording had: a dict keeps the last. Count them all.",
            lambda q, a, asked: [
                dict(zip(q, a)).get(one, max(sorted(set(a)), key=list(a).count)) for one in asked
            ],
        ),
        *ideas(
            "a tie goes to the answer that was seen first. Here it goes to the one that comes first"
            " in the alphabet, so that the order of the rows does not matter.",
            lambda q, a, asked: _prior(q, a, asked, lambda x: Counter(x).most_common(1)[0][0]),
        ),
        *ideas(
            "a tie goes to the last answer of the alphabet. Here it goes to the first.",
            lambda q, a, asked: _prior(
                q, a, asked, lambda x: max(sorted(set(x))[::-1], key=x.count)
            ),
        ),
        *ideas(
            "a wording that was never seen gets no answer. It gets the most frequent of all.",
            lambda q, a, asked: _prior(q, a, asked, unknown=""),
            lambda q, a, asked: [x or None for x in _prior(q, a, asked, unknown="")],
            _skips_unknown,
        ),
        *ideas(
            'a wording that was never seen gets "no". It gets the most frequent answer of all.',
            lambda q, a, asked: _prior(q, a, asked, unknown="no"),
        ),
        *ideas(
            "questions are told apart by their first word. Two wordings are the same if all of the"
            " string is.",
            lambda q, a, asked: _prior(q, a, asked, key=lambda text: text.split()[0]),
        ),
        *ideas(
            "this is the rarest answer of each wording.",
            lambda q, a, asked: _prior(q, a, asked, lambda x: min(sorted(set(x)), key=x.count)),
        ),
        *ideas(
            "these are the answers to the questions that were counted. Asked are those of `asked`.",
            lambda q, a, asked: _prior(q, a, q),
        ),
    ),
)

# 26.2 -----------------------------------------------------------------------------------------


def two_pointers(first, second, cells):
    """By einsum, and the places of a grid that is made from rows and columns."""
    B, K, D = cells.shape
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    grid = torch.stack([x, y], -1).reshape(K, 2).to(cells.dtype)
    queries = torch.stack([first, second])  # (2, B, D)
    scores = torch.einsum("pbd,bkd->bpk", queries, cells) * D**-0.5
    powers = (scores - scores.amax(2, keepdim=True).detach()).exp()
    maps = powers / powers.sum(2, keepdim=True)
    places = torch.einsum("bpk,kc->bpc", maps, grid)
    return places[:, 0] - places[:, 1], maps


def _two(
    first,
    second,
    cells,
    x=lambda k: k % 8,
    y=lambda k: k // 8,
    turn=False,
    dim=2,
    scale=8.0,
    sign=1,
    own=True,
    weigh=None,
    offset=None,
):
    k = torch.arange(64)
    columns = [y(k), x(k)] if turn else [x(k), y(k)]
    grid = torch.stack(columns, 1).to(cells.dtype)
    queries = torch.stack([first, second if own else first], 1)
    scores = queries @ cells.mT / (cells.shape[2] ** 0.5 if scale == 8.0 else scale)
    maps = scores.softmax(dim) if weigh is None else weigh(scores)
    if offset is not None:
        return offset(maps, grid), maps
    places = maps @ grid
    return sign * (places[:, 0] - places[:, 1]), maps


def _largest(maps, grid):
    places = grid[maps.argmax(2)]
    return places[:, 0] - places[:, 1]


def _pointer_cases(seed=3):
    draw = draws(seed)
    # one clear cell for each: the first in row 1, column 6, the second in row 4, column 2
    cells = torch.zeros(1, 64, 2, dtype=torch.float64)
    cells[0, 8 * 1 + 6, 0] = 8.0
    cells[0, 8 * 4 + 2, 1] = 8.0
    yield *float64([[2.0, 0.0]], [[0.0, 2.0]]), cells
    yield *float64([[9.0, 0.0]], [[0.0, 9.0]]), cells
    yield draw(2, 4), draw(2, 4), draw(2, 64, 4)
    yield 2 * draw(3, 9), 2 * draw(3, 9), draw(3, 64, 9)
    yield 40 * draw(2, 16), 40 * draw(2, 16), 5 * draw(2, 64, 16)


def _with_gradient(answer, first, second, cells):
    """What comes out, and behind it a remark if no gradient comes through the offset."""
    out = answer(*(given.clone().requires_grad_() for given in (first, second, cells)))
    if not (isinstance(out, (tuple, list)) and len(out) == 2):
        return out
    if not all(isinstance(one, torch.Tensor) for one in out):
        return out
    kept = tuple(one.detach() for one in out)
    return kept if out[0].requires_grad else (*kept, "no gradient comes through this offset")


def _pointer_batch():
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 64, 64, generator=draw)
    cells = torch.randn(64, 64, 64, generator=draw)
    return first.requires_grad_(), second.requires_grad_(), cells.requires_grad_()


TWO_POINTERS = Exercise(
    key="26.2",
    reference=two_pointers,
    cases=_pointer_cases,
    use=_with_gradient,
    returns="one row per sample",
    batch=_pointer_batch,
    verified=True,
    misconceptions=(
        *ideas(
            "both maps come from the same query: the second pointer has a query of its own.",
            lambda a, b, cells: _two(a, b, cells, own=False),
        ),
        *ideas(
            "y is counted upward. Row 0 is at the top, and y grows downward, as in the boxes.",
            lambda a, b, cells: _two(a, b, cells, y=lambda k: 7 - k // 8),
        ),
        *ideas(
            "x and y are swapped. Cell k is in row k // 8, which is y, and in column k % 8, which"
            " is x.",
            lambda a, b, cells: _two(a, b, cells, turn=True),
        ),
        *ideas(
            "the offset has the wrong sign: it goes from the second to the first, first minus"
            " second.",
            lambda a, b, cells: _two(a, b, cells, sign=-1),
        ),
        *ideas(
            "the softmax goes over the two pointers, which then share each cell. Each pointer's 64"
            " weights sum to 1.",
            lambda a, b, cells: _two(a, b, cells, dim=1),
        ),
        *ideas(
            "the softmax goes over the questions of the batch, so that one answer depends on the"
            " others. It goes along the cells.",
            lambda a, b, cells: _two(a, b, cells, dim=0),
        ),
        *ideas(
            "the scores are not divided by the square root of D.",
            lambda a, b, cells: _two(a, b, cells, scale=1.0),
        ),
        *ideas(
            "the places are those of the largest weights. Through an argmax comes no gradient: take"
            " the mean place, weighted.",
            lambda a, b, cells: _two(a, b, cells, offset=_largest),
        ),
        *ideas(
            "no gradient comes through the offset: it is detached, and nothing could be learned"
            " from it.",
            lambda a, b, cells: _two(
                a, b, cells, offset=lambda maps, grid: ((maps[:, 0] - maps[:, 1]) @ grid).detach()
            ),
        ),
        *ideas(
            "the scores are used as weights, without a softmax.",
            lambda a, b, cells: _two(a, b, cells, weigh=lambda scores: scores),
        ),
        *ideas(
            "the offset is in pixels. Here it is in cells: a column is 1, not 8.",
            lambda a, b, cells: _two(a, b, cells, x=lambda k: k % 8 * 8, y=lambda k: k // 8 * 8),
        ),
        *ideas(
            "this is the place of the first thing alone. Subtract the second's.",
            lambda a, b, cells: _two(a, b, cells, offset=lambda maps, grid: (maps @ grid)[:, 0]),
        ),
    ),
)

# 26.3 -----------------------------------------------------------------------------------------

KNOWN = ["circle", "colour", "is", "red", "square", "the", "what"]
SAID = ["no", "yes", "red", "blue", "white"]


class Toy(nn.Module):
    """A small model of the page's form, with a dropout, as it leaves its training."""

    def __init__(self, seed):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.words = nn.Embedding(1 + len(KNOWN), 6, padding_idx=0)
        self.colours, self.head = nn.Linear(3 * 16, 6), nn.Linear(12, len(SAID))
        for one in self.parameters():
            one.data = torch.randn(one.shape, generator=draw)
        self.dropout = nn.Dropout(0.5)
        self.train()

    def forward(self, batch):
        ids, image, mask = batch["ids"], batch["image"], batch["mask"]
        if image.shape[1:] != (3, 64, 64) or ids.dtype != torch.int64 or mask.shape[1:] != (64,):
            raise ValueError(
                'the model takes "image" (B, 3, 64, 64), "ids" (B, T) int64 and "mask" (B, 64),'
                f" got {tuple(image.shape)}, {ids.dtype} and {tuple(mask.shape)}"
            )
        if mask.dtype != torch.bool:
            raise ValueError(f'the model takes "mask" as bool, got {mask.dtype}')
        if torch.is_grad_enabled():
            raise ValueError("the model is asked with gradients; torch.no_grad() keeps none")
        question = self.words(ids).sum(1)
        seen = (
            self.colours(F.avg_pool2d(image, 16).flatten(1))
            * mask.double().mean(1)[:, None].float()
        )
        return 0.2 * self.head(self.dropout(torch.cat([question, 3 * seen], 1)))


def _use(answer, toy, picture, question, words, answers, k):
    """The answer with the small model of this number."""
    return answer(Toy(toy), picture, question, words, answers, k)


def predict(model, picture, question, words, answers, k=3):
    """Word by word, with a table of their numbers."""
    table = {word: number for number, word in enumerate(words, start=1)}
    split = "".join(" " if letter == "?" else letter for letter in question).lower().split()
    unknown = [word for word in split if word not in table]
    ids = [table[word] for word in split if word in table]
    if not ids:
        return [], unknown
    there = picture is not None
    shown = torch.zeros(3, 64, 64) if picture is None else picture
    if shown.shape[-2:] != (64, 64):
        shown = F.interpolate(
            shown[None], size=(64, 64), mode="bilinear", align_corners=False, antialias=True
        )[0]
    model.eval()
    with torch.no_grad():
        logits = model(
            {"ids": torch.tensor([ids]), "image": shown[None], "mask": torch.full((1, 64), there)}
        )
    probs = torch.exp(logits[0] - torch.logsumexp(logits[0], 0)).tolist()
    order = sorted(range(len(answers)), key=lambda i: -probs[i])[:k]
    return [(answers[i], probs[i]) for i in order], unknown


def _predict(
    model,
    picture,
    question,
    words,
    answers,
    k,
    evaluate=True,
    change=lambda picture: picture,
    start=1,
    probs=lambda logits: logits.softmax(1)[0],
    largest=True,
    missing=False,
    tell=True,
    lower=True,
    empty=True,
    resize=True,
    unknown_as=None,
):
    text = question.replace("?", " ")
    said = (text.lower() if lower else text).split()
    unknown = [word for word in said if word not in words]
    ids = [start + words.index(word) for word in said if word in words]
    if unknown_as is not None:
        ids = [start + words.index(w) if w in words else unknown_as for w in said]
    if empty and not any(word in words for word in said):
        return [], unknown
    ids = ids or [0]
    shown = torch.zeros(1, 3, 64, 64) if picture is None else change(picture)[None]
    if resize and shown.shape[-2:] != (64, 64):
        shown = F.interpolate(shown, (64, 64), mode="bilinear", antialias=True)
    if not resize:
        shown = F.pad(
            shown[..., :64, :64], (0, max(0, 64 - shown.shape[3]), 0, max(0, 64 - shown.shape[2]))
        )
    if evaluate:
        model.eval()
    mask = torch.full((1, 64), picture is not None or missing)
    with torch.no_grad():
        logits = model({"ids": torch.tensor([ids]), "image": shown, "mask": mask})
    top = probs(logits).topk(k, largest=largest)
    found = [(answers[i], p) for p, i in zip(top.values.tolist(), top.indices.tolist())]
    return found, (unknown if tell else [])


def _predict_cases(seed=5):
    draw = torch.Generator().manual_seed(seed)

    def picture(height=64, width=64):
        return torch.rand(3, height, width, generator=draw)

    flat = torch.stack([torch.full((64, 64), level) for level in (0.8, 0.1, 0.05)])
    yield 7, None, "is the circle red?", KNOWN, SAID, 4
    yield 9, None, "what colour is the circle?", KNOWN, SAID, 2
    yield 1, flat, "what colour is the circle?", KNOWN, SAID, 2
    yield 2, flat, "What colour is the square?", KNOWN, SAID, 3
    yield 3, flat, "what colour is the dog?", KNOWN, SAID, 2
    yield 4, flat, "who are you?", KNOWN, SAID, 2
    yield 4, picture(128, 128), "what colour is the circle", KNOWN, SAID, 1
    yield 5, picture(40, 100), "is the wombat the red square?", KNOWN, SAID, 3
    yield 6, picture(), "the square is what colour?", KNOWN, SAID, 5
    yield 8, picture(96, 64), "is the square red ?", KNOWN, SAID, 2
    yield 8, flat, "what?is the square red", KNOWN, SAID, 2


PREDICT = Exercise(
    key="26.3",
    reference=predict,
    cases=_predict_cases,
    use=_use,
    returns="the answers with their probabilities, and the unknown words",
    misconceptions=(
        *ideas(
            "the model is still in training mode: its dropout draws anew at each call, and the same"
            " question gets another answer. Put it into eval mode first.",
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, evaluate=False),
        ),
        *ideas(
            "the picture is scaled twice: its numbers come from 0 to 1, as the model takes them.",
            lambda m, p, q, w, a, k: _predict(
                m, p, q, w, a, k, change=lambda picture: picture / 255
            ),
            lambda m, p, q, w, a, k: _predict(
                m, p, q, w, a, k, change=lambda picture: (picture - 0.5) / 0.5
            ),
            lambda m, p, q, w, a, k: _predict(
                m, p, q, w, a, k, change=lambda picture: 255 * picture
            ),
        ),
        *ideas(
            "the softmax goes over the questions, of which there is one, so that each probability"
            " is 1. It goes over the answers.",
            lambda m, p, q, w, a, k: _predict(
                m, p, q, w, a, k, probs=lambda logits: logits.softmax(0)[0]
            ),
        ),
        *ideas(
            "these are logits. Probabilities are their softmax over the answers.",
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, probs=lambda logits: logits[0]),
        ),
        *ideas(
            "these are sigmoids, which do not sum to 1 over the answers.",
            lambda m, p, q, w, a, k: _predict(
                m, p, q, w, a, k, probs=lambda logits: logits.sigmoid()[0]
            ),
        ),
        *ideas(
            "the first word has number 0 here, and 0 is padding: numbers begin with 1.",
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, start=0),
        ),
        *ideas(
            "without a picture the mask must be False everywhere. With True the model looks at a"
            " black picture.",
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, missing=True),
        ),
        *ideas(
            "unknown words are left out without a word. Return them, so that nobody takes the"
            " answer for one to the whole question.",
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, tell=False),
        ),
        *ideas(
            "an unknown word gets the number of a known one. Leave it out.",
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, unknown_as=1),
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, unknown_as=len(KNOWN)),
        ),
        *ideas(
            "capital letters make a word unknown. Put the question into small letters.",
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, lower=False),
        ),
        *ideas(
            "a question of which no word is known gets an answer. It gets none: [].",
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, empty=False),
        ),
        *ideas(
            "a picture of another size is cut, or padded. It is resized to 64 x 64.",
            lambda m, p, q, w, a, k: _predict(m, p, q, w, a, k, resize=False),
        ),
    ),
)

EXERCISES = [PRIOR, TWO_POINTERS, PREDICT]
