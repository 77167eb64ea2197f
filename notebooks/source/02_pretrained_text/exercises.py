"""Notebook 02: sentence vectors from a tokenizer and a model, and search among them."""

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.compare import same_kind

# 02.1 -----------------------------------------------------------------------------------------

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the cat dog ##s sleep on . not good"


def sentence_vectors(texts, tokenizer, model):
    """The mean that leaves out NaN, of states that are NaN under padding."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    padding = batch["attention_mask"][..., None] == 0
    mean = model(**batch).last_hidden_state.masked_fill(padding, torch.nan).nanmean(dim=1)
    return mean / mean.square().sum(dim=1, keepdim=True).sqrt()


def _tiny(seed):
    """A BERT with a vocabulary of 15 pieces and width 4, all its weights random, in float64."""
    from transformers import BertConfig, BertModel, BertTokenizer

    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(WORDS.split())})
    sizes = {"hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1}
    config = BertConfig(vocab_size=15, num_attention_heads=2, max_position_embeddings=40, **sizes)
    model, draw = BertModel(config).eval().double(), torch.Generator().manual_seed(seed)
    for weights in model.parameters():
        numbers = torch.randn(weights.shape, generator=draw, dtype=torch.float64)
        weights.requires_grad_(False).copy_(0.7 * numbers)
    return tokenizer, model


def _text_cases(seed=0):
    for number, texts in enumerate(
        (
            ["cat"],
            ["a cat", "dog"],  # as many tokens as numbers in a vector
            ["the cat sleeps.", "dogs", "a dog on the cat"],
            ["a", "not good", "the dog is not good.", "cats"],  # as many texts as numbers
            ["dogs sleep on the cats.", "", "good"],
            ["the dog sleeps on a dog", "the cat."],
            ["good", "not good", "a good cat sleeps on the good dog."],
        )
    ):
        yield texts, *_tiny(seed + number if number else 0)


def _unit(x):
    return F.normalize(x, dim=1)


def _states(texts, tokenizer, model, attend=True):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"]
    output = model(**batch) if attend else model(input_ids=batch["input_ids"])
    return output.last_hidden_state, mask[..., None].double()


def _mean(x, mask):
    return (x * mask).sum(1) / mask.sum(1)


def _of_states(message, *wrongs, attend=True):
    """Misconceptions; `wrongs` take the states (B, T, D) and the mask (B, T, 1) in numbers."""
    return ideas(
        message,
        *(
            lambda texts, tokenizer, model, of=of: of(*_states(texts, tokenizer, model, attend))
            for of in wrongs
        ),
    )


def _without_special(x, mask):
    """The mean without the first and the last real token, 0 where nothing is left."""
    real = mask.cumsum(1) * mask
    kept = ((real > 1) & (real < mask.sum(1, keepdim=True))).double()
    return (x * kept).sum(1) / kept.sum(1).clamp(min=1)


def _last(x, mask):
    return x[torch.arange(len(x)), mask.sum(1).long().flatten() - 1]


def _pooler(texts, tokenizer, model):
    return _unit(model(**tokenizer(texts, padding=True, return_tensors="pt")).pooler_output)


def _table(texts, tokenizer, model):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    rows = model.get_input_embeddings()(batch["input_ids"])
    return _unit(_mean(rows, batch["attention_mask"][..., None].double()))


SENTENCE_VECTORS = Exercise(
    key="02.1",
    reference=sentence_vectors,
    cases=_text_cases,
    returns="one row of length 1 for each text",
    misconceptions=(
        *_of_states(
            "padding is in the mean: a text's vector changes with the other texts of its batch."
            " Let the attention mask say which tokens count.",
            lambda x, mask: _unit(x.mean(1)),
        ),
        *_of_states(
            "the model reads the padding. Give it the attention mask, too: model(**batch).",
            lambda x, mask: _unit(_mean(x, mask)),
            lambda x, mask: _unit(x.mean(1)),
            attend=False,
        ),
        *_of_states(
            "this is the state of [CLS], the first token. This model was trained with the mean of"
            " all real tokens.",
            lambda x, mask: _unit(x[:, 0]),
        ),
        *ideas(
            "this is pooler_output: [CLS] once more, through a layer that this model was not"
            " trained with. Take the mean of last_hidden_state.",
            _pooler,
        ),
        *_of_states(
            "the rows do not have length 1. Divide each row by its own length at the end.",
            _mean,
            lambda x, mask: (x * mask).sum(1),
            lambda x, mask: (x * mask).mean(1),
            lambda x, mask: _mean(F.normalize(x, dim=2), mask),
        ),
        *_of_states(
            "scaled along the wrong axis. A text is a row: norm(dim=1, keepdim=True) has the shape"
            " (B, 1).",
            lambda x, mask: F.normalize(_mean(x, mask), dim=0),
            lambda x, mask: _mean(x, mask) / _mean(x, mask).norm(dim=1),
        ),
        *_of_states(
            "all rows are divided by one number, the length of the whole matrix. Each row has its"
            " own length.",
            lambda x, mask: _mean(x, mask) / _mean(x, mask).norm(),
        ),
        *_of_states(
            "[CLS] and [SEP] are left out. This model was trained with the mean over all tokens of"
            " the text, these two included.",
            lambda x, mask: _unit(_without_special(x, mask)),
            lambda x, mask: _unit((x * mask)[:, 1:].sum(1)),
        ),
        *_of_states(
            "this is the state of one token at the end, not the mean of all.",
            lambda x, mask: _unit(_last(x, mask)),
            lambda x, mask: _unit(x[:, -1]),
        ),
        *_of_states(
            "this is the largest value over the tokens, not their mean.",
            lambda x, mask: _unit(x.masked_fill(mask == 0, -torch.inf).amax(1)),
        ),
        *ideas(
            "these are rows of the table of piece vectors, before the layers. Send the ids through"
            " the whole model.",
            _table,
        ),
        *_of_states(
            "the rows are scaled, but not to length 1: the length is the root of the sum of"
            " squares.",
            lambda x, mask: F.normalize(_mean(x, mask), p=1, dim=1),
            lambda x, mask: _mean(x, mask) / _mean(x, mask).square().sum(1, keepdim=True),
        ),
    ),
)


# 02.2 -----------------------------------------------------------------------------------------


def search(vectors, i, k):
    """Row by row, with PyTorch's own cosine and Python's sort."""
    cosines = [F.cosine_similarity(vectors[i], row, dim=0).item() for row in vectors]
    others = sorted(set(range(len(vectors))) - {i}, key=lambda j: -cosines[j])
    return torch.tensor(others[:k])


def _search_cases(seed=2):
    def float64(*rows):
        return torch.tensor(rows, dtype=torch.float64)

    yield float64([1, 1], [0.3, 0.3], [0, 9]), 0, 1
    yield float64([0, 2], [1, 3], [0, -7]), 0, 2  # one points the other way
    yield float64([1, 0], [-0.3, 0.7], [-1, 0.3]), 0, 1  # all others have negative cosines
    # the same direction twice, and row i stands behind
    yield float64([0.3, 0.7], [2, -1], [0.6, 1.4], [1, 1]), 2, 2
    draw = torch.Generator().manual_seed(seed)
    for N, D, i, k in ((4, 4, 3, 2), (5, 3, 0, 2), (6, 2, 4, 5), (7, 4, 2, 3), (9, 5, 8, 4)):
        rows = torch.randn(N, D, generator=draw, dtype=torch.float64) + 0.4
        lengths = torch.randint(1, 9, (N, 1), generator=draw)
        yield (10 * rows * lengths).round() / 10, i, k


def _sorted(scores, k, largest=True):
    return scores.argsort(descending=largest, stable=True)[:k]


def _found(message, *wrongs):
    """Misconceptions; `wrongs` take the cosines (N,) with row i, then vectors, i and k."""
    return ideas(
        message,
        *(
            lambda vectors, i, k, of=of: of(_unit(vectors) @ _unit(vectors)[i], vectors, i, k)
            for of in wrongs
        ),
    )


def _hidden(scores, i, value):
    scores = scores.clone()
    scores[i] = value
    return scores


SEARCH = Exercise(
    key="02.2",
    reference=search,
    cases=_search_cases,
    compare=same_kind,
    returns="k places, the most similar row first",
    misconceptions=(
        *_found(
            "it finds the row itself: nothing is more similar to a row than the row. Leave it out.",
            lambda c, v, i, k: _sorted(c, k),
        ),
        *_found(
            "the first hit is thrown away without a look at which row it is. Another row of the"
            " same direction may stand there: leave out row i by its place.",
            lambda c, v, i, k: _sorted(c, k + 1)[1:],
        ),
        *_found(
            "row i gets the cosine 0, and wins where all others are negative. Nothing may be"
            " below it: -torch.inf.",
            lambda c, v, i, k: _sorted(_hidden(c, i, 0), k),
        ),
        *_found(
            "row i is cut out, and the rows behind it have moved up by one: these places are"
            " places in the shorter list.",
            lambda c, v, i, k: _sorted(torch.cat([c[:i], c[i + 1 :]]), k),
        ),
        *_found(
            "the least similar rows come first. The largest cosine is the most similar.",
            lambda c, v, i, k: _sorted(_hidden(c, i, torch.inf), k, largest=False),
        ),
        *_found(
            "these are the right places from behind: the best of them stands last.",
            lambda c, v, i, k: _sorted(_hidden(c, i, -torch.inf), k).flip(0),
        ),
        *_found(
            "long rows win, because their products are large. Scale every row to length 1 first.",
            lambda c, v, i, k: _sorted(_hidden(v @ v[i], i, -torch.inf), k),
        ),
        *_found(
            "these are the rows at the smallest distance. A row of the same direction may be far"
            " away because it is long: scale the rows to length 1 first.",
            lambda c, v, i, k: _sorted(
                _hidden((v - v[i]).norm(dim=1), i, torch.inf), k, largest=False
            ),
        ),
        *_found(
            "scaled along the wrong axis. A vector is a row: dim=1.",
            lambda c, v, i, k: _sorted(
                _hidden(F.normalize(v, dim=0) @ F.normalize(v, dim=0)[i], i, -torch.inf), k
            ),
        ),
        *_found(
            "a row that points the other way counts as similar: the sign of the cosine is lost.",
            lambda c, v, i, k: _sorted(_hidden(c.abs(), i, -torch.inf), k),
        ),
        *_found(
            "these are the cosines. The places at which they stand are asked for.",
            lambda c, v, i, k: _hidden(c, i, -torch.inf).sort(descending=True).values[:k],
        ),
        *_found(
            "the places are right, but floats. They are to pick rows: whole numbers.",
            lambda c, v, i, k: _sorted(_hidden(c, i, -torch.inf), k).double(),
        ),
    ),
)

EXERCISES = [SENTENCE_VECTORS, SEARCH]
