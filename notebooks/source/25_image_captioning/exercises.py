"""Notebook 25: the loss of a caption, a search with a beam, and a list that is true."""

import heapq

import torch
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws
from course_utils.text import BOS, EOS, PAD

# 25.1 -----------------------------------------------------------------------------------------


def caption_loss(model, cells, ids):
    """By hand: the log-probabilities of the right words, those of padding times 0."""
    logs = model(cells, ids[:, :-1]).log_softmax(2)  # (B, T - 1, V)
    right = logs.gather(2, ids[:, 1:, None])[..., 0]  # (B, T - 1)
    counted = (ids[:, 1:] != PAD).to(right.dtype)
    return -(right * counted).sum() / counted.sum()


def _asked(program, table, cells, ids):
    """A model whose next word depends on the last one, by a table, and on the picture."""

    def model(seen, words):
        return table[words] + seen[:, None]  # (B, T, V)

    return program(model, cells, ids)


def _mean(losses, keep):
    return losses[keep].mean()


def _loss(
    model,
    cells,
    ids,
    given=lambda x: x[:, :-1],
    wanted=lambda x: x[:, 1:],
    keep=lambda x: x[:, 1:] != PAD,
    mean=_mean,
):
    """The same in steps that a wrong idea can change one by one."""
    logits, target = model(cells, given(ids)), wanted(ids)
    losses = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    return mean(losses, keep(ids))


def _same(x):
    return x


def _reshaped(model, cells, ids):
    """(B, T, V) called (B, V, T): the numbers stay where they are and get other places."""
    logits = model(cells, ids[:, :-1])
    rows, length, words = logits.shape
    losses = F.cross_entropy(logits.reshape(rows, words, length), ids[:, 1:], reduction="none")
    return losses[ids[:, 1:] != PAD].mean()


def _twice(model, cells, ids):
    probs = model(cells, ids[:, :-1]).softmax(2)
    return F.cross_entropy(probs.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)


def _log_of_softmax(model, cells, ids):
    logs = model(cells, ids[:, :-1]).softmax(2).log()
    keep = ids[:, 1:] != PAD
    return -logs.gather(2, ids[:, 1:, None])[..., 0][keep].mean()


def _of_means(losses, keep):
    return ((losses * keep).sum(1) / keep.sum(1)).mean()


def _loss_cases(seed=1):
    draw = draws(seed)
    # one caption of one word
    yield draw(5, 5), draw(1, 5), torch.tensor([[BOS, 4, EOS]])
    # a short one beside a longer one
    yield draw(5, 5), draw(2, 5), torch.tensor([[BOS, 4, EOS, PAD], [BOS, 4, 4, EOS]])
    # two columns that hold padding alone, and large logits
    ids = torch.tensor([[BOS, 4, 5, 5, EOS, PAD, PAD], [BOS, 5, EOS, PAD, PAD, PAD, PAD]])
    yield 1000 * draw(6, 6), draw(2, 6), ids
    for rows, words, length in ((3, 7, 6), (4, 6, 9)):
        ids, chance = torch.zeros(rows, length).long(), torch.Generator().manual_seed(seed)
        for row in range(rows):
            end = int(torch.randint(2, length, (1,), generator=chance))
            ids[row, :end] = torch.randint(4, words, (end,), generator=chance)
            ids[row, 0], ids[row, end] = BOS, EOS
        yield draw(words, words), draw(rows, words), ids


def _loss_batch():
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 38, (64, 20), generator=draw)
    ids[:, 0], ids[:32, 12], ids[32:, 19], ids[:32, 13:] = BOS, EOS, EOS, PAD
    table = torch.randn(38, 38, generator=draw).requires_grad_()
    return table, torch.randn(64, 38, generator=draw), ids


CAPTION_LOSS = Exercise(
    key="25.1",
    reference=caption_loss,
    cases=_loss_cases,
    use=_asked,
    batch=_loss_batch,
    verified=True,
    returns="the loss, one number",
    misconceptions=(
        *ideas(
            "the input is the target: the model is handed the very word that it should say. Give it"
            " ids[:, :-1] and ask for ids[:, 1:].",
            lambda m, c, x: _loss(m, c, x, given=_same, wanted=_same, keep=lambda x: x != PAD),
            lambda m, c, x: _loss(m, c, x, given=lambda x: x[:, 1:]),
            lambda m, c, x: _loss(
                m, c, x, wanted=lambda x: x[:, :-1], keep=lambda x: x[:, :-1] != PAD
            ),
        ),
        *ideas(
            "this is shifted the wrong way: each word is asked for the one *before* it.",
            lambda m, c, x: _loss(
                m,
                c,
                x,
                given=lambda x: x[:, 1:],
                wanted=lambda x: x[:, :-1],
                keep=lambda x: x[:, :-1] != PAD,
            ),
        ),
        *ideas(
            "this is shifted twice: each word is asked for the one after the next.",
            lambda m, c, x: _loss(
                m,
                c,
                x,
                given=lambda x: x[:, :-2],
                wanted=lambda x: x[:, 2:],
                keep=lambda x: x[:, 2:] != PAD,
            ),
        ),
        *ideas(
            "padding is counted. It is no word: leave out the places whose *target* is padding.",
            lambda m, c, x: _loss(m, c, x, mean=lambda losses, keep: losses.mean()),
        ),
        *ideas(
            "the losses of padding are set to 0 and still counted in the mean: divide by the number"
            " of words, not of places.",
            lambda m, c, x: _loss(m, c, x, mean=lambda losses, keep: (losses * keep).mean()),
        ),
        *ideas(
            "the end is masked away: a model that never learns to say `<eos>` never stops.",
            lambda m, c, x: _loss(m, c, x, keep=lambda x: (x[:, 1:] != PAD) & (x[:, 1:] != EOS)),
        ),
        *ideas(
            "the mask asks whether the *input* is padding: one place too many is kept, where the"
            " input is `<eos>`. Ask the target.",
            lambda m, c, x: _loss(m, c, x, keep=lambda x: x[:, :-1] != PAD),
        ),
        *ideas(
            "this is the mean of the captions' means: a word of a short caption counts for more."
            " Divide the sum of all by the number of all words.",
            lambda m, c, x: _loss(m, c, x, mean=_of_means),
        ),
        *ideas(
            "the sum is divided by the number of captions, or by nothing. Divide by the number of"
            " words.",
            lambda m, c, x: _loss(m, c, x, mean=lambda losses, keep: losses[keep].sum()),
            lambda m, c, x: _loss(m, c, x, mean=lambda losses, keep: (losses * keep).sum(1).mean()),
        ),
        *ideas(
            "places and words are mixed up: `reshape` or `view` does not exchange two axes,"
            " `transpose(1, 2)` does.",
            _reshaped,
        ),
        *ideas(
            "cross_entropy takes logits, and here it gets probabilities: the softmax is taken"
            " twice.",
            _twice,
        ),
        *ideas(
            "a softmax of a very low logit is 0 in a computer, and its logarithm minus infinity."
            " log_softmax takes both in one.",
            _log_of_softmax,
        ),
    ),
)

# 25.2 -----------------------------------------------------------------------------------------


def beam_search(step, start, state, end, limit, width):
    """Sentences as keys of a dict, the best by a heap."""
    kept = {(): (0.0, state)}
    for _ in range(limit):
        grown = {}
        for words, (total, before) in kept.items():
            if words and words[-1] == end:
                grown[words] = (total, before)
                continue
            log_probs, after = step(words[-1] if words else start, before)
            values, ids = log_probs.topk(min(width, len(log_probs)))
            for value, word in zip(values.tolist(), ids.tolist()):
                grown[*words, word] = (total + value, after)
        kept = dict(heapq.nlargest(width, grown.items(), key=lambda one: one[1][0]))
        if all(words[-1] == end for words in kept):
            break
    words, (total, _) = next(iter(kept.items()))
    return list(words), total


def _searched(program, table, start, state, end, limit, width):
    """The next word depends on the last two; the state is the word before the last."""

    def step(word, before):
        return table[before, word], int(word)

    found = program(step, start, state, end, limit, width)
    if isinstance(found, tuple) and len(found) == 2 and hasattr(found[0], "__len__"):
        return [[int(word) for word in found[0]], float(found[1])]
    return found


def _total(one):
    return one[1]


def _grow(step, start, state, end, limit, width, add=None, rank=_total, **otherwise):
    """The same in steps that a wrong idea can change one by one."""
    add = add or (lambda total, value: total + value)
    kept, aside = [([start], 0.0, state)], []
    for _ in range(limit):
        grown = []
        for words, total, before in kept:
            if len(words) > 1 and words[-1] == end and not otherwise.get("goes_on"):
                grown += [] if otherwise.get("dropped") else [(words, total, before)]
                continue
            logs, after = step(words[-1], state if otherwise.get("shared") else before)
            state = after
            more = [(words + [k], add(total, x), after) for k, x in enumerate(logs.tolist())]
            alone = otherwise.get("alone") if len(kept) > 1 else None
            grown += sorted(more, key=rank, reverse=True)[:alone]
        if not grown:
            break
        grown = sorted(grown, key=rank, reverse=True)
        if otherwise.get("aside") is not None:
            kept = grown[: width - otherwise["aside"] * len(aside)]
            if not otherwise["aside"]:
                kept = [one for one in grown if one[0][-1] != end][:width]
                aside += [one for one in grown[:width] if one[0][-1] == end]
            else:
                aside += [one for one in kept if one[0][-1] == end]
                kept = [one for one in kept if one[0][-1] != end]
            if not kept:
                break
        else:
            kept = grown[-width:] if otherwise.get("worst") else grown[:width]
        done = [one[0][-1] == end for one in kept]
        if all(done) or (otherwise.get("first_end") and any(done)):
            break
    if otherwise.get("first_end"):
        kept = [one for one in kept if one[0][-1] == end] or kept
    best = max(kept + aside, key=rank)
    return best[0][1:], best[1]


def _greedy(step, start, state, end, limit, width):
    return _grow(step, start, state, end, limit, 1)


def _with_start(step, start, state, end, limit, width):
    words, total = _grow(step, start, state, end, limit, width)
    return [start, *words], total


def _without_end(step, start, state, end, limit, width):
    words, total = _grow(step, start, state, end, limit, width)
    return [word for word in words if word != end], total


def _one_more(step, start, state, end, limit, width):
    return _grow(step, start, state, end, limit + 1, width)


def _probability(step, start, state, end, limit, width):
    words, total = _grow(step, start, state, end, limit, width)
    return words, torch.tensor(total, dtype=torch.float64).exp()


def _table(words, generator):
    """Log-probabilities of the next word, by the two before: (V, V, V)."""
    drawn = torch.randn(words, words, words, generator=generator, dtype=torch.float64)
    return (1.5 * drawn).log_softmax(2)


def _beam_cases(seed=2):
    # the example: 0 is the start, 3 the end
    table = torch.full((4, 4, 4), -9.0, dtype=torch.float64)
    table[:, 0, 1:] = torch.tensor([-0.6, -0.9, -3.0], dtype=torch.float64)
    table[:, 1, 1:] = torch.tensor([-1.2, -1.1, -1.3], dtype=torch.float64)
    table[:, 2, 1:] = torch.tensor([-2.0, -3.0, -0.2], dtype=torch.float64)
    yield table, 0, 0, 3, 2, 2
    # here it matters that finished sentences and growing ones compete for the same places
    for words, limit, width, drawn in ((3, 4, 2, 67), (3, 4, 2, 80), (4, 4, 3, 17), (4, 5, 2, 3)):
        yield _table(words, torch.Generator().manual_seed(drawn)), 0, 0, words - 1, limit, width
    generator = torch.Generator().manual_seed(seed)
    for words, limit, width in (
        (3, 2, 2), (3, 3, 2), (4, 4, 2), (4, 4, 3), (5, 5, 3), (5, 3, 1),
        (3, 3, 27), (6, 6, 3), (4, 6, 2), (6, 5, 2), (5, 6, 4), (6, 7, 3),
    ):  # fmt: skip
        yield _table(words, generator), 0, 0, words - 1, limit, width


def _beam_batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(38, 38, 38, generator=generator)
    return logits.log_softmax(2), 0, 0, 3, 20, 3


BEAM_SEARCH = Exercise(
    key="25.2",
    reference=beam_search,
    cases=_beam_cases,
    use=_searched,
    batch=_beam_batch,
    returns="the words of the best sentence, then its log-probability",
    misconceptions=(
        *ideas("the likeliest word is taken at each step: this is greedy, a beam of one.", _greedy),
        *ideas(
            "each sentence keeps only its own best one. All continuations of all sentences"
            " compete for the `width` places.",
            lambda f, w, m, e, n, k: _grow(f, w, m, e, n, k, alone=1),
        ),
        *ideas(
            "probabilities are added up. Probabilities of words one after the other multiply, so"
            " their *logarithms* add up.",
            lambda f, w, m, e, n, k: _grow(
                f,
                w,
                m,
                e,
                n,
                k,
                add=lambda total, x: total + torch.tensor(x, dtype=torch.float64).exp().item(),
            ),
        ),
        *ideas(
            "only the last word's log-probability counts. Add it to that of the words before.",
            lambda f, w, m, e, n, k: _grow(f, w, m, e, n, k, add=lambda total, x: x),
        ),
        *ideas(
            "finished sentences fall out. One that has said the end goes on competing, as it is.",
            lambda f, w, m, e, n, k: _grow(f, w, m, e, n, k, dropped=True),
        ),
        *ideas(
            "a sentence goes on after its end. After `end` nothing is added.",
            lambda f, w, m, e, n, k: _grow(f, w, m, e, n, k, goes_on=True),
        ),
        *ideas(
            "one state serves all sentences: each has its own, the one that `step` gave for *its*"
            " words.",
            lambda f, w, m, e, n, k: _grow(f, w, m, e, n, k, shared=True),
        ),
        *ideas(
            "the search stops at the first end. A sentence that is still growing may end up"
            " likelier.",
            lambda f, w, m, e, n, k: _grow(f, w, m, e, n, k, first_end=True),
        ),
        *ideas(
            "finished sentences stand aside: here they compete for the same `width` places, at each"
            " step.",
            lambda f, w, m, e, n, k: _grow(f, w, m, e, n, k, aside=0),
            lambda f, w, m, e, n, k: _grow(f, w, m, e, n, k, aside=1),
        ),
        *ideas(
            "the score is divided by the length. Asked is the plain sum of the log-probabilities.",
            lambda f, w, m, e, n, k: _grow(
                f, w, m, e, n, k, rank=lambda one: one[1] / (len(one[0]) - 1)
            ),
        ),
        *ideas(
            "the least likely are kept.",
            lambda f, w, m, e, n, k: _grow(f, w, m, e, n, k, worst=True),
        ),
        *ideas(
            "the words are right, but not what is returned: the words with the end and without the"
            " start, at most `limit`, and the sum of their log-probabilities.",
            _with_start,
            _without_end,
            _one_more,
            _probability,
        ),
    ),
)

# 25.3 -----------------------------------------------------------------------------------------


def list_is_true(phrases, things):
    """By counting how often each thing is named."""
    named = [0] * len(things)
    exact = True
    for number, said in phrases:
        hits = [int(said.issubset(thing)) for thing in things]
        exact = exact and sum(hits) == number
        named = [a + b for a, b in zip(named, hits)]
    return exact and named == [1] * len(things)


def _fitting(said, things):
    return [k for k, thing in enumerate(things) if said <= thing]


def _alone(phrases, things):
    return all(len(_fitting(said, things)) == number for number, said in phrases)


def _covered(phrases, things):
    return {k for _, said in phrases for k in _fitting(said, things)} == set(range(len(things)))


def _no_repeat(phrases, things):
    named = [k for _, said in phrases for k in _fitting(said, things)]
    return len(named) == len(set(named))


def _what_is_left(phrases, things):
    left = list(things)
    for number, said in phrases:
        hits = [thing for thing in left if said <= thing]
        if len(hits) < number:
            return False
        for thing in hits[:number]:
            left.remove(thing)
    return not left


def _by_first_place(phrases, things):
    named = [things.index(things[k]) for _, said in phrases for k in _fitting(said, things)]
    return _alone(phrases, things) and sorted(named) == list(range(len(things)))


def _list_cases(seed=3):
    red, small_red = {"large", "red", "circle"}, {"small", "red", "circle"}
    blue, cross = {"small", "blue", "square"}, {"large", "blue", "cross"}
    yield [(1, {"blue"})], [red]
    yield [(1, {"red", "circle"})], [red]
    yield [(1, {"red", "circle"}), (1, {"red", "circle"})], [red]
    yield [(1, {"red"})], [red, blue]
    yield [(1, {"circle"})], [red, small_red]
    yield [(2, {"red", "circle"})], [red, small_red]
    yield [(1, {"red"}), (1, {"red"})], [red, blue]
    yield [(1, {"red"}), (1, {"circle"})], [red, small_red]
    yield [(3, {"red"})], [red, small_red]
    yield [(2, set())], [red, blue]
    yield [(1, {"square"}), (1, {"red"}), (1, {"cross"})], [red, blue, cross]
    yield [(2, {"blue"}), (1, {"cross"})], [blue, cross]
    yield [(2, {"blue"}), (1, {"red"})], [red, blue, cross]
    yield [(1, {"blue"}), (1, {"green"})], [blue]
    # things that look exactly alike: about one scene of twenty has two
    yield [(2, {"red"})], [red, set(red)]
    yield [(2, {"red"}), (1, {"blue"})], [red, blue, set(red)]
    chance = torch.Generator().manual_seed(seed)

    def pick(items):
        return items[int(torch.randint(len(items), (1,), generator=chance))]

    for _ in range(12):
        things = [
            {pick(("small", "large")), pick(("red", "blue")), pick(("circle", "cross"))}
            for _ in range(pick((2, 3)))
        ]
        phrases = [
            (pick((1, 1, 2)), {pick(sorted(pick(things))) for _ in range(pick((1, 2)))})
            for _ in range(pick((1, 2, 2)))
        ]
        yield phrases, things


LIST_IS_TRUE = Exercise(
    key="25.3",
    reference=list_is_true,
    cases=_list_cases,
    returns="True or False",
    misconceptions=(
        *ideas(
            "each phrase is tested alone: what is said twice passes, and what is left out.", _alone
        ),
        *ideas(
            "a thing that is named twice passes. A set forgets how often.",
            lambda p, t: _alone(p, t) and _covered(p, t),
        ),
        *ideas(
            "things that no phrase names are forgotten: a list names all of them.",
            lambda p, t: _alone(p, t) and _no_repeat(p, t),
        ),
        *ideas(
            'numbers are exact: "a circle" is false of two.',
            lambda p, t: (
                all(len(_fitting(s, t)) >= n for n, s in p) and _covered(p, t) and _no_repeat(p, t)
            ),
            lambda p, t: all(_fitting(s, t) for _, s in p) and _covered(p, t) and _no_repeat(p, t),
            _what_is_left,
        ),
        *ideas(
            "at least as many is not enough, numbers are exact; and each thing is named once.",
            lambda p, t: all(len(_fitting(s, t)) >= n for n, s in p),
            lambda p, t: all(_fitting(s, t) for _, s in p),
        ),
        *ideas(
            "numbers that add up do not show that each thing is named once.",
            lambda p, t: _alone(p, t) and sum(n for n, _ in p) == len(t),
            lambda p, t: _alone(p, t) and len(p) == len(t),
        ),
        *ideas(
            'a phrase need not say all: "red circle" fits a small red circle. Ask for a subset,'
            " not for equality.",
            lambda p, t: (
                sorted(sorted(s) for n, s in p for _ in range(n)) == sorted(sorted(x) for x in t)
            ),
        ),
        *ideas(
            "two things may look exactly alike: count them by their place in `things`, not by their"
            " words.",
            _by_first_place,
        ),
        *ideas(
            "one true phrase is not enough: all of them have to be true.",
            lambda p, t: any(len(_fitting(s, t)) == n for n, s in p) and _covered(p, t),
            lambda p, t: any(len(_fitting(s, t)) == n for n, s in p),
        ),
        *ideas(
            "asked is one bool for the whole list.",
            lambda p, t: sum(len(_fitting(s, t)) == n for n, s in p) / len(p),
            lambda p, t: [len(_fitting(s, t)) == n for n, s in p],
        ),
    ),
)

EXERCISES = [CAPTION_LOSS, BEAM_SEARCH, LIST_IS_TRUE]
