"""Notebook 02: sentence vectors from a tokenizer and a model, and search among them."""

import functools

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.compare import same_kind

# 02.1 -----------------------------------------------------------------------------------------

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the cat dog ##s sleep on . not good"


def sentence_vectors(texts, tokenizer, model):
    """The mean that leaves out NaN, of states that are NaN under padding."""
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    padding = batch["attention_mask"][..., None] == 0
    mean = model(**batch).last_hidden_state.masked_fill(padding, torch.nan).nanmean(dim=1)
    return mean / mean.square().sum(dim=1, keepdim=True).sqrt()


def _bert(seed, scale, **sizes):
    """A BERT with a vocabulary of 15 pieces, all its weights random: its tokenizer, the model."""
    from transformers import BertConfig, BertModel, BertTokenizer

    with torch.random.fork_rng(devices=[]):  # a model draws its first weights
        model = BertModel(BertConfig(vocab_size=15, **sizes)).eval()
    vocabulary = {piece: i for i, piece in enumerate(WORDS.split())}
    longest = model.config.max_position_embeddings
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=longest)
    draw = torch.Generator().manual_seed(seed)
    for weights in model.parameters():
        numbers = torch.randn(weights.shape, generator=draw, dtype=torch.float64)
        weights.requires_grad_(False).copy_(scale * numbers)
    return tokenizer, model


def _tiny(seed):
    """One layer of width 4, for 64 tokens; in float32, as pretrained models are."""
    sizes = {"hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1}
    return _bert(seed, 0.7, num_attention_heads=2, max_position_embeddings=64, **sizes)


def _text_cases(seed=0):
    # with these weights the states of the three tokens are 1, 1.9 and 1 long, so that it matters
    # which of mean and length comes first
    yield ["cat"], *_tiny(1068)
    for number, texts in enumerate(
        (
            ["a cat", "dog"],  # as many tokens as numbers in a vector
            ["the cat sleeps.", "dogs", "a dog on the cat"],
            ["a", "not good", "the dog is not good.", "cats"],  # as many texts as numbers
            ["dogs sleep on the cats.", "", "good"],
            ["the dog sleeps on a dog", "the cat."],
            # longer than the page's max_length=12
            ["good", "not good", "a good cat sleeps on the good dog. the dog is not good."],
            ["dogs", "a good cat sleeps on the good dog. " * 5],  # 52 tokens
        )
    ):
        yield texts, *_tiny(seed + number + 1)


@functools.cache
def _minilm_wide():
    """Two layers, as wide as MiniLM's six and as long, in float32."""
    sizes = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 2}
    return _bert(0, 0.02, num_attention_heads=12, **sizes)


def _page_texts():
    """Typed words, many at once, as where the page plugs the vectors in. It trains nothing through
    them: without a gradient they are as good.
    """
    return 32 * ["cats", "dog"], *_minilm_wide()


def _unit(x):
    return F.normalize(x, dim=1)


def _states(texts, tokenizer, model):
    """The last states (B, T, D), and the mask (B, T, 1) in numbers."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    return model(**batch).last_hidden_state, batch["attention_mask"][..., None].double()


def _mean(x, mask):
    return (x * mask).sum(1) / mask.sum(1)


def _masked(texts, tokenizer, model):
    """The right mean, not scaled."""
    return _mean(*_states(texts, tokenizer, model))


def _padding_in_the_mean(texts, tokenizer, model):
    return _unit(_states(texts, tokenizer, model)[0].mean(1))


def _padding_read(texts, tokenizer, model):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    x = model(input_ids=batch["input_ids"]).last_hidden_state
    return _unit(_mean(x, batch["attention_mask"][..., None].double()))


def _padding_read_and_in_the_mean(texts, tokenizer, model):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    return _unit(model(input_ids=batch["input_ids"]).last_hidden_state.mean(1))


def _pooler(texts, tokenizer, model):
    return _unit(model(**tokenizer(texts, padding=True, return_tensors="pt")).pooler_output)


def _sum(texts, tokenizer, model):
    x, mask = _states(texts, tokenizer, model)
    return (x * mask).sum(1)


def _by_all_places(texts, tokenizer, model):
    x, mask = _states(texts, tokenizer, model)
    return (x * mask).mean(1)


def _without_keepdim(texts, tokenizer, model):
    mean = _masked(texts, tokenizer, model)
    return mean / mean.norm(dim=1)


def _by_one_number(texts, tokenizer, model):
    mean = _masked(texts, tokenizer, model)
    return mean / mean.norm()


def _without_special(texts, tokenizer, model):
    """The mean without the first and the last real token, NaN where nothing is left."""
    x, mask = _states(texts, tokenizer, model)
    place = mask.cumsum(1) * mask
    kept = ((place > 1) & (place < mask.sum(1, keepdim=True))).double()
    return _unit(_mean(x, kept))


def _without_special_or_zero(texts, tokenizer, model):
    return _without_special(texts, tokenizer, model).nan_to_num()


def _without_cls(texts, tokenizer, model):
    x, mask = _states(texts, tokenizer, model)
    return _unit((x * mask)[:, 1:].sum(1))


def _last_real(texts, tokenizer, model):
    x, mask = _states(texts, tokenizer, model)
    return _unit(x[torch.arange(len(x)), mask.sum(1).long().flatten() - 1])


def _largest(texts, tokenizer, model):
    x, mask = _states(texts, tokenizer, model)
    return _unit(x.masked_fill(mask == 0, -torch.inf).amax(1))


def _table(texts, tokenizer, model):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    rows = model.get_input_embeddings()(batch["input_ids"])
    return _unit(_mean(rows, batch["attention_mask"][..., None].double()))


def _tokens_scaled(texts, tokenizer, model):
    x, mask = _states(texts, tokenizer, model)
    return _unit(_mean(F.normalize(x, dim=2), mask))


def _cut(texts, tokenizer, model):
    settings = {"padding": True, "truncation": True, "max_length": 12}
    batch = tokenizer(texts, return_tensors="pt", **settings)
    x = model(**batch).last_hidden_state
    return _unit(_mean(x, batch["attention_mask"][..., None].double()))


SENTENCE_VECTORS = Exercise(
    key="02.1",
    reference=sentence_vectors,
    cases=_text_cases,
    batch=_page_texts,
    returns="one row of length 1 for each text",
    misconceptions=(
        *ideas(
            "padding is in the mean: a text's vector changes with the other texts of its batch."
            " Let the attention mask say which tokens count.",
            _padding_in_the_mean,
        ),
        *ideas(
            "the model reads the padding. Give it the attention mask, too: model(**batch).",
            _padding_read,
            _padding_read_and_in_the_mean,
        ),
        *ideas(
            "this is the state of [CLS], the first token. This model was trained with the mean of"
            " all real tokens.",
            lambda texts, tokenizer, model: _unit(_states(texts, tokenizer, model)[0][:, 0]),
        ),
        *ideas(
            "this is pooler_output: [CLS] once more, through a layer that this model was not"
            " trained with. Take the mean of last_hidden_state.",
            _pooler,
        ),
        *ideas(
            "the rows do not have length 1. Divide each row by its own length at the end.",
            _masked,
            _sum,
            _by_all_places,
        ),
        *ideas(
            "scaled along the wrong axis, or by one number for all. Each text is a row and has its"
            " own length: norm(dim=1, keepdim=True) has the shape (B, 1).",
            lambda texts, tokenizer, model: F.normalize(_masked(texts, tokenizer, model), dim=0),
            _without_keepdim,
            _by_one_number,
        ),
        *ideas(
            "[CLS] and [SEP] are left out. This model was trained with the mean over all tokens of"
            " the text, these two included.",
            _without_special,
            _without_special_or_zero,
            _without_cls,
        ),
        *ideas(
            "this is the state of one token at the end, not the mean of all.",
            _last_real,
            lambda texts, tokenizer, model: _unit(_states(texts, tokenizer, model)[0][:, -1]),
        ),
        *ideas("this is the largest value over the tokens, not their mean.", _largest),
        *ideas(
            "these are rows of the table of piece vectors, before the layers. Send the ids through"
            " the whole model.",
            _table,
        ),
        *ideas(
            "each token is scaled before the mean, so that all count alike. First the mean, then"
            " length 1, once for each text.",
            _tokens_scaled,
        ),
        *ideas(
            "long texts lose their end: max_length=12 cuts them. Leave both settings away, or cut"
            " where the authors did, at 256.",
            _cut,
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
    yield float64([0, 2], [1, 3], [0, -7]), 0, 2  # one points the other way, behind row i
    yield float64([0, -7], [3, 1], [0, 2]), 2, 2  # and before it
    yield float64([1, 0], [-0.3, 0.7], [-1, 0.3]), 0, 1  # all others have negative cosines
    # the same direction twice, and row i stands behind
    yield float64([0.3, 0.7], [2, -1], [0.6, 1.4], [1, 1]), 2, 2
    draw = torch.Generator().manual_seed(seed)
    for N, D, i, k in ((4, 4, 3, 2), (5, 3, 0, 2), (6, 2, 4, 5), (7, 4, 2, 3), (9, 5, 8, 4)):
        rows = _rows(N, D, draw)
        while not _clear_order(rows, i):
            rows = _rows(N, D, draw)
        yield rows, i, k


def _rows(N, D, draw):
    rows = torch.randn(N, D, generator=draw, dtype=torch.float64) + 0.4
    return (10 * rows * torch.randint(1, 9, (N, 1), generator=draw)).round() / 10


def _clear_order(rows, i):
    """Whether no row is 0 and no two have the same cosine with row i: else rounding decides."""
    others = [j for j in range(len(rows)) if j != i]
    cosines = F.cosine_similarity(rows, rows[i : i + 1])[others].sort().values
    return bool(rows.any(dim=1).all() and cosines.diff().min() > 1e-3)


def _page_vectors():
    """The 120 sentences of the page; whole numbers come back, and no gradient."""
    return torch.randn(120, 384, generator=torch.Generator().manual_seed(2)), 0, 3


def _cosines(vectors, i):
    """Of all rows with row i, this one too: (N,)."""
    return _unit(vectors) @ _unit(vectors)[i]


def _largest_first(scores, k):
    return scores.argsort(descending=True, stable=True)[:k]


def _hidden(scores, i, value):
    scores = scores.clone()
    scores[i] = value
    return scores


def _right(vectors, i, k):
    return _largest_first(_hidden(_cosines(vectors, i), i, -torch.inf), k)


def _cut_out(vectors, i, k):
    cosines = _cosines(vectors, i)
    return _largest_first(torch.cat([cosines[:i], cosines[i + 1 :]]), k)


def _smallest_first(vectors, i, k):
    return _largest_first(_hidden(-_cosines(vectors, i), i, -torch.inf), k)


def _products(vectors, i, k):
    return _largest_first(_hidden(vectors @ vectors[i], i, -torch.inf), k)


def _distances(vectors, i, k):
    return _largest_first(_hidden(-(vectors - vectors[i]).norm(dim=1), i, -torch.inf), k)


def _columns_scaled(vectors, i, k):
    unit = F.normalize(vectors, dim=0)
    return _largest_first(_hidden(unit @ unit[i], i, -torch.inf), k)


def _without_sign(vectors, i, k):
    return _largest_first(_hidden(_cosines(vectors, i).abs(), i, -torch.inf), k)


def _values(vectors, i, k):
    return _hidden(_cosines(vectors, i), i, -torch.inf).sort(descending=True).values[:k]


SEARCH = Exercise(
    key="02.2",
    reference=search,
    cases=_search_cases,
    batch=_page_vectors,
    compare=same_kind,
    returns="k places, the most similar row first",
    misconceptions=(
        *ideas(
            "it finds the row itself: nothing is more similar to a row than the row. Leave it out.",
            lambda vectors, i, k: _largest_first(_cosines(vectors, i), k),
        ),
        *ideas(
            "the first hit is thrown away without a look at which row it is. Another row of the"
            " same direction may stand there: leave out row i by its place.",
            lambda vectors, i, k: _largest_first(_cosines(vectors, i), k + 1)[1:],
        ),
        *ideas(
            "row i gets the cosine 0, and wins where all others are negative. Nothing may be"
            " below it: -torch.inf.",
            lambda vectors, i, k: _largest_first(_hidden(_cosines(vectors, i), i, 0), k),
        ),
        *ideas(
            "row i gets the cosine -1, and so has a row that points exactly the other way: these"
            " two are level. Nothing may be level with row i: -torch.inf.",
            lambda vectors, i, k: _largest_first(_hidden(_cosines(vectors, i), i, -1), k),
            lambda vectors, i, k: _hidden(_cosines(vectors, i), i, -1).argsort().flip(0)[:k],
        ),
        *ideas(
            "row i is cut out, and the rows behind it have moved up by one: these places are"
            " places in the shorter list.",
            _cut_out,
        ),
        *ideas(
            "the least similar rows come first. The largest cosine is the most similar.",
            _smallest_first,
        ),
        *ideas(
            "these are the right places from behind: the best of them stands last.",
            lambda vectors, i, k: _right(vectors, i, k).flip(0),
        ),
        *ideas(
            "the rows keep their lengths: a long row has large products, and is far away from a"
            " short one of the same direction. Scale every row to length 1 first.",
            _products,
            _distances,
        ),
        *ideas("scaled along the wrong axis. A vector is a row: dim=1.", _columns_scaled),
        *ideas(
            "a row that points the other way counts as similar: the sign of the cosine is lost.",
            _without_sign,
        ),
        *ideas("these are the cosines. The places at which they stand are asked for.", _values),
        *ideas(
            "the places are right, but floats. They are to pick rows: whole numbers.",
            lambda vectors, i, k: _right(vectors, i, k).double(),
        ),
    ),
)

EXERCISES = [SENTENCE_VECTORS, SEARCH]
