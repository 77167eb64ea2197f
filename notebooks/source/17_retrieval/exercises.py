"""Notebook 17: places in a search, with ties and equals, and zero-shot classes."""

import torch
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 17.1 -----------------------------------------------------------------------------------------


def search_ranks(scores, relevant):
    """Query by query, item by item."""
    places = []
    for row, right in zip(scores.tolist(), relevant.tolist()):
        best = max(score for score, yes in zip(row, right) if yes)
        place = 1.0
        for score, yes in zip(row, right):
            if score > best:
                place += 1
            elif score == best and not yes:
                place += 0.5
        places.append(place)
    return torch.tensor(places, dtype=scores.dtype)


def _best(scores, relevant):
    return scores.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)


def _ranks(scores, relevant, best=_best, tied=lambda ties, yes: (ties & ~yes).sum(1) / 2, first=1):
    """The same in steps that a wrong idea can change one by one."""
    own = best(scores, relevant)
    return first + (scores > own).sum(1) + tied(scores == own, relevant)


def _sorted(scores, relevant):
    """Of a list that is sorted, the first that is right: ties by their place in the table."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    return 1.0 + relevant.gather(1, order).int().argmax(1)


def _own_only(scores, relevant):
    own = scores.diagonal()[:, None]
    others = ~torch.eye(*scores.shape, dtype=torch.bool)
    return 1 + (scores > own).sum(1) + ((scores == own) & others).sum(1) / 2


def _mean_of_all(scores, relevant):
    best = scores.masked_fill(~relevant, 0).sum(1) / relevant.sum(1)
    return best[:, None]


def _worst(scores, relevant):
    return scores.masked_fill(~relevant, torch.inf).amin(1, keepdim=True)


def _first(scores, relevant):
    return scores.gather(1, relevant.int().argmax(1, keepdim=True))


def _zeros(scores, relevant):
    """Items that are not right set to 0: a negative score of the right one is lost."""
    return (scores * relevant).amax(1, keepdim=True)


def _all_others(scores, relevant):
    """Right items that stand before the best right one: there are none; ties counted among all."""
    return _ranks(scores, relevant, tied=lambda ties, yes: (ties.sum(1) - 1) / 2)


def _rank_cases(seed=1):
    # the second and the third tie, and the third is right: half a place is lost
    yield float64([[0.9, 0.5, 0.5, 0.1]])[0], torch.tensor([[False, False, True, False]])
    # two that are right, the better one counts; a second query
    yield (
        float64([[0.2, 0.7, 0.4], [0.3, 0.8, 0.1]])[0],
        torch.tensor([[True, False, True], [True, False, False]]),
    )
    # right ones that tie with each other cost nothing
    yield float64([[0.5, 0.5, 0.5, 0.5, 0.5]])[0], torch.tensor([[True, True, False, False, False]])
    # cosines below 0, and a space in which all lie at one point
    yield float64([[-0.2, -0.9, -0.5], [-0.7, -0.3, -0.1]])[0], torch.eye(2, 3).bool()
    yield torch.ones(4, 4, dtype=torch.float64), torch.eye(4).bool()
    # near is no tie
    yield float64([[0.5, 0.501, 0.3, 0.1]])[0], torch.tensor([[True, False, False, False]])
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)
    for queries, items in ((3, 3), (5, 8), (8, 5)):
        coarse = (2 * draw(queries, items)).round() / 2  # many ties
        right = torch.rand(queries, items, generator=chance) < 0.3
        right[torch.arange(queries), torch.arange(queries) % items] = True
        yield coarse, right
    yield draw(6, 9), torch.eye(6, 9).bool()


def _rank_batch():
    """The page's table: 500 sentences, 500 pictures."""
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(500, 500, generator=draw)
    return scores, (torch.rand(500, 500, generator=draw) < 0.05) | torch.eye(500).bool()


SEARCH_RANKS = Exercise(
    key="17.1",
    reference=search_ranks,
    cases=_rank_cases,
    batch=_rank_batch,
    returns="the places, a float tensor of shape (Q,)",
    misconceptions=(
        *ideas(
            "ties are not counted: an item with exactly the same score may as well stand before the"
            " right one. It takes half a place.",
            lambda s, r: _ranks(s, r, tied=lambda ties, yes: 0).double(),
        ),
        *ideas(
            "a tie takes a whole place. Half the orders put it behind: it takes half a place.",
            lambda s, r: _ranks(s, r, tied=lambda ties, yes: (ties & ~yes).sum(1)).double(),
            lambda s, r: (s >= _best(s, r)).sum(1).double(),
        ),
        *ideas(
            "the right item ties with itself, or with others that are right. Only ties that are"
            " *not* relevant take half a place.",
            lambda s, r: _ranks(s, r, tied=lambda ties, yes: ties.sum(1) / 2),
            _all_others,
            lambda s, r: _ranks(s, r, tied=lambda ties, yes: ties.sum(1).double()),
        ),
        *ideas(
            "places are counted from 0. The first is 1, else recall@1 counts the second, too.",
            lambda s, r: _ranks(s, r, first=0),
        ),
        *ideas(
            "only the diagonal counts as right. `relevant` says what is right, and it may be"
            " several items, or stand elsewhere.",
            _own_only,
        ),
        *ideas(
            "the wrong relevant item is taken: of several, the *highest* score counts.",
            lambda s, r: _ranks(s, r, best=_worst),
            lambda s, r: _ranks(s, r, best=_first),
            lambda s, r: _ranks(s, r, best=_mean_of_all),
        ),
        *ideas(
            "the list is read along the wrong axis: a row is a query.",
            lambda s, r: _ranks(s.T, r.T),
            lambda s, r: _ranks(s, r, best=lambda s, r: s.masked_fill(~r, -torch.inf).amax(0)),
        ),
        *ideas(
            "the list is sorted from the lowest score up. The highest score is the nearest.",
            lambda s, r: _ranks(-s, r),
        ),
        *ideas(
            "after sorting, ties stand as the sort has left them, by their place in the table. A"
            " tie takes half a place, wherever it stands.",
            _sorted,
        ),
        *ideas(
            "items that are not relevant are set to 0, which is more than a negative cosine. Set"
            " them to minus infinity.",
            lambda s, r: _ranks(s, r, best=_zeros),
        ),
        *ideas(
            "this is the share that is found. Asked is the place of each query.",
            lambda s, r: (_ranks(s, r) <= 1).double().mean(),
            lambda s, r: (_ranks(s, r) <= 1).double(),
        ),
    ),
)

# 17.2 -----------------------------------------------------------------------------------------


def zero_shot(pictures, prompts):
    """Class by class, with sums."""
    columns = []
    for vectors in prompts:
        middle = sum(v / v.square().sum().sqrt() for v in vectors)
        middle = middle / middle.square().sum().sqrt()
        columns.append((pictures * middle).sum(1) / pictures.square().sum(1).sqrt())
    return torch.stack(columns, 1)


def _unit(x, dim=-1):
    return F.normalize(x, dim=dim)


def _zero(pictures, prompts, each=_unit, join=lambda x: x.mean(1), whole=_unit, side=_unit):
    return side(pictures) @ whole(join(each(prompts))).T


def _same(x):
    return x


def _zero_cases(seed=2):
    # a prompt that is ten times as long has no more to say; one picture, two classes, two templates
    pictures, prompts = (
        torch.tensor([[1.0, 0.0]], dtype=torch.float64),
        torch.tensor([[[10.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 0.0]]], dtype=torch.float64),
    )
    yield pictures, prompts
    draw = draws(seed)
    yield draw(2, 3), draw(2, 1, 3)
    yield 4 * draw(5, 4), draw(3, 2, 4)
    yield draw(3, 4), 5 * draw(3, 3, 4) * torch.tensor([1.0, 3.0, 0.2])[:, None]
    yield draw(1, 6), draw(8, 5, 6)


def _zero_batch():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(500, 32, generator=draw), torch.randn(6, 3, 32, generator=draw)


ZERO_SHOT = Exercise(
    key="17.2",
    reference=zero_shot,
    cases=_zero_cases,
    batch=_zero_batch,
    verified=True,
    returns="cosines, a float tensor of shape (N, C)",
    misconceptions=(
        *ideas(
            "the prompts are averaged before they have length 1: a long vector then outweighs the"
            " other templates.",
            lambda p, c: _zero(p, c, each=_same),
        ),
        *ideas(
            "the mean of the templates is not brought back to length 1: a class whose templates"
            " disagree then gets lower scores, whatever the picture is. (The mean of the templates'"
            " cosines is the same thing.)",
            lambda p, c: _zero(p, c, whole=_same),
            lambda p, c: _zero(p, c, each=_same, whole=_same),
        ),
        *ideas(
            "the pictures are not brought to length 1: these are no cosines.",
            lambda p, c: _zero(p, c, side=_same),
            lambda p, c: _zero(p, c, side=_same, whole=_same),
        ),
        *ideas(
            "the templates are added up. Cosines go from -1 to 1: bring the sum to length 1.",
            lambda p, c: _zero(p, c, join=lambda x: x.sum(1), whole=_same),
        ),
        *ideas(
            "only one template is used. Each class has T of them.",
            lambda p, c: _zero(p, c, join=lambda x: x[:, 0]),
            lambda p, c: _zero(p, c, join=lambda x: x[:, -1]),
        ),
        *ideas(
            "the best template counts here. Asked is one vector a class, their mean.",
            lambda p, c: torch.einsum("bd,ctd->bct", _unit(p), _unit(c)).amax(2),
        ),
        *ideas(
            "the vectors are scaled along the wrong axis: the last one holds the D numbers of a"
            " vector.",
            lambda p, c: _zero(p, c, each=lambda x: _unit(x, 1)),
            lambda p, c: _zero(p, c, each=lambda x: _unit(x, 0)),
            lambda p, c: _zero(p, c, side=lambda x: _unit(x, 0)),
            lambda p, c: _zero(p, c, whole=lambda x: _unit(x, 0)),
        ),
        *ideas(
            "these are the classes. Asked are the cosines (N, C); their argmax is the class.",
            lambda p, c: _zero(p, c).argmax(1),
        ),
        *ideas(
            "classes and pictures have changed places: a row is a picture.",
            lambda p, c: _zero(p, c).T,
        ),
        *ideas(
            "these are probabilities. Asked are the cosines.", lambda p, c: _zero(p, c).softmax(1)
        ),
    ),
)

EXERCISES = [SEARCH_RANKS, ZERO_SHOT]
