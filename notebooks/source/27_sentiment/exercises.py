"""Notebook 27: the mean of the others, and an LSTM's last state at each row's own end."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws

# 27.1 -----------------------------------------------------------------------------------------


def others_mean(ratings, mask):
    """Person by person, over a list of those that are left."""
    table = []
    for row, there in zip(ratings.tolist(), mask.tolist()):
        line = []
        for k, present in enumerate(there):
            rest = [row[j] for j, yes in enumerate(there) if yes and j != k]
            line.append(sum(rest) / len(rest) if present and rest else 0.0)
        table.append(line)
    return torch.tensor(table, dtype=ratings.dtype)


def _others(ratings, mask, zeros=None, less=1, own=True, end=None, axis=1):
    """The same in steps that a wrong idea can change one by one."""
    there = torch.where(mask, ratings, 0) if zeros is None else zeros(ratings, mask)
    total = there.sum(axis, keepdim=True)
    count = mask.sum(axis, keepdim=True)
    means = (total - there if own else total + 0 * there) / (count - less).clamp(min=1)
    keep = mask & (count > 1)
    return torch.where(keep, means, 0) if end is None else end(means, mask, count)


def _with_all(ratings, mask):
    """The mean of all, itself included."""
    return _others(ratings, mask, own=False, less=0, end=lambda x, m, c: torch.where(m, x, 0))


def _width(ratings, mask):
    there = torch.where(mask, ratings, 0)
    means = (there.sum(1, keepdim=True) - there) / (mask.shape[1] - 1)
    return torch.where(mask & (mask.sum(1, keepdim=True) > 1), means, 0)


def _no_clamp(ratings, mask):
    """A row with one person divides by 0."""
    there = torch.where(mask, ratings, 0)
    means = (there.sum(1, keepdim=True) - there) / (mask.sum(1, keepdim=True) - 1)
    return torch.where(mask, means, 0)


def _zero_is_missing(ratings, mask):
    there = torch.where(mask, ratings, 0)
    count = (there != 0).sum(1, keepdim=True)
    return torch.where(mask, (there.sum(1, keepdim=True) - there) / (count - 1).clamp(min=1), 0)


def _no_keepdim(ratings, mask):
    there = torch.where(mask, ratings, 0)
    return (there.sum(1) - there) / (mask.sum(1) - 1).clamp(min=1)


def _others_cases(seed=1):
    # two people: each one's other
    yield torch.tensor([[4.0, -2.0]], dtype=torch.float64), torch.tensor([[True, True]])
    # three people and an empty place, in which anything may stand
    yield (
        torch.tensor([[3.0, 1.0, 2.0, 9.0]], dtype=torch.float64),
        torch.tensor([[True, True, True, False]]),
    )
    # one alone has no others; a row without anybody
    yield (
        torch.tensor([[2.0, 5.0], [1.0, 1.0]], dtype=torch.float64),
        torch.tensor([[True, False], [False, False]]),
    )
    # what stands where no rating is may be nan
    yield (
        torch.tensor([[float("nan"), 1.0, -3.0], [0.0, 2.0, 4.0]], dtype=torch.float64),
        torch.tensor([[False, True, True], [True, True, True]]),
    )
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)
    for rows, people in ((3, 4), (4, 4), (5, 7)):
        yield draw(rows, people), torch.rand(rows, people, generator=chance) < 0.7


def _others_batch():
    draw = torch.Generator().manual_seed(0)
    ratings = torch.randint(-4, 5, (120, 40), generator=draw).float()
    return ratings, torch.rand(120, 40, generator=draw) < 0.6


OTHERS = Exercise(
    key="27.1",
    reference=others_mean,
    cases=_others_cases,
    batch=_others_batch,
    verified=True,
    returns="means, a float tensor of shape (N, K)",
    misconceptions=(
        *ideas(
            "the mean holds the person's own rating. Take it out of the sum *and* out of the"
            " count.",
            _with_all,
        ),
        *ideas(
            "the own rating is out of the sum, but still counted: divide by the count less one.",
            lambda r, m: _others(r, m, less=0),
        ),
        *ideas(
            "the own rating is out of the count, but still in the sum.",
            lambda r, m: _others(r, m, own=False),
        ),
        *ideas(
            "this divides by the width of the table. How many others there are differs from row to"
            " row: count the mask.",
            _width,
        ),
        *ideas(
            "what stands where no rating is goes into the sum. The mask says what to leave out.",
            lambda r, m: _others(r, m, zeros=lambda r, m: r),
            lambda r, m: _others(r, m, zeros=lambda r, m: r.nan_to_num()),
            lambda r, m: (r.sum(1, keepdim=True) - r) / (r.shape[1] - 1),
        ),
        *ideas(
            "nan * 0 is nan: a product with the mask does not remove what is not there."
            " `torch.where` chooses.",
            lambda r, m: _others(r, m, zeros=lambda r, m: r * m),
            lambda r, m: _others(r, m, zeros=lambda r, m: r * m, end=lambda x, m, c: x * m),
        ),
        *ideas(
            "where no rating is stands the mean of the row. Asked is 0 there.",
            lambda r, m: _others(r, m, end=lambda x, m, c: torch.where(c > 1, x, 0)),
            lambda r, m: _others(r, m, end=lambda x, m, c: x),
        ),
        *ideas(
            "somebody alone in a row has no others, and should get 0.",
            _no_clamp,
            lambda r, m: torch.where(m & (m.sum(1, keepdim=True) == 1), r, _others(r, m)),
        ),
        *ideas(
            "the means are taken along the wrong axis: a row is a message.",
            lambda r, m: _others(r, m, axis=0),
        ),
        *ideas(
            "a rating of 0 counts as missing here. It is an answer, neutral; what is missing says"
            " the mask.",
            _zero_is_missing,
        ),
        *ideas(
            "sum and count of the rows stand as one line and go down the columns of a square"
            " table, each to the wrong ratings. Keep the axis: `keepdim=True`.",
            _no_keepdim,
            lambda r, m: torch.where(m, _no_keepdim(r, m), 0),
        ),
        *ideas(
            "this is how far each is from the others. Asked is the others' mean.",
            lambda r, m: torch.where(m, r - _others(r, m), 0),
            lambda r, m: torch.where(m, (r - _others(r, m)).abs(), 0),
        ),
    ),
)


# 27.2 -----------------------------------------------------------------------------------------


def packed_last(lstm, steps, mask):
    """Row by row, over its own steps alone."""
    ways, width = (2 if lstm.bidirectional else 1), lstm.hidden_size
    rows = []
    for row, length in zip(steps, mask.sum(1).tolist()):
        if length == 0:
            rows.append(steps.new_zeros(ways * width))
            continue
        output = lstm(row[None, :length])[0][0]  # (length, ways * H)
        rows.append(torch.cat([output[-1, :width], output[0, width:]]))
    return torch.stack(rows)


def _built(function, layer, steps, mask):
    """What a function says with the LSTM that `layer` describes by its state."""
    hidden, width = (layer["weight_hh_l0"].shape[1], layer["weight_ih_l0"].shape[1])
    with torch.random.fork_rng(devices=[]):
        lstm = nn.LSTM(
            width,
            hidden,
            batch_first=True,
            bidirectional="weight_hh_l0_reverse" in layer,
            dtype=layer["weight_hh_l0"].dtype,
        )
    lstm.load_state_dict(layer)
    return function(lstm, steps, mask)


def _lengths(mask):
    return mask.sum(1)


def _pack(steps, lengths):
    return pack_padded_sequence(steps, lengths.cpu(), batch_first=True, enforce_sorted=False)


def _last(lstm, steps, mask, take=lambda h: h.transpose(0, 1).flatten(1), of=0, empty=True):
    """The packed pass in steps that a wrong idea can change one by one."""
    lengths = _lengths(mask)
    state = lstm(_pack(steps, lengths.clamp(min=1)))[1][of]
    out = take(state)
    return torch.where(lengths[:, None] > 0, out, 0) if empty else out


def _at(output, places):
    return output[torch.arange(len(output)), places]


def _zeros(lstm, steps, mask, out):
    return torch.where(_lengths(mask)[:, None] > 0, out, 0)


def _padding(lstm, steps, mask):
    return _zeros(lstm, steps, mask, lstm(steps)[0][:, -1])


def _padding_h(lstm, steps, mask):
    state = lstm(steps)[1][0].transpose(0, 1).flatten(1)
    return _zeros(lstm, steps, mask, state)


def _repadded(lstm, steps, mask):
    packed = lstm(_pack(steps, _lengths(mask).clamp(min=1)))[0]
    return _zeros(lstm, steps, mask, pad_packed_sequence(packed, batch_first=True)[0][:, -1])


def _own_end(lstm, steps, mask):
    packed = lstm(_pack(steps, _lengths(mask).clamp(min=1)))[0]
    output = pad_packed_sequence(packed, batch_first=True)[0]
    return _zeros(lstm, steps, mask, _at(output, (_lengths(mask) - 1).clamp(min=0)))


def _padded_own_end(lstm, steps, mask):
    output = lstm(steps)[0]
    return _zeros(lstm, steps, mask, _at(output, (_lengths(mask) - 1).clamp(min=0)))


def _padded_both(lstm, steps, mask):
    """Forward at its own end, backward at the first step, after the padding."""
    output, width = lstm(steps)[0], lstm.hidden_size
    forward = _at(output, (_lengths(mask) - 1).clamp(min=0))[:, :width]
    return _zeros(lstm, steps, mask, torch.cat([forward, output[:, 0, width:]], 1))


def _sorted(lstm, steps, mask):
    order = _lengths(mask).argsort(descending=True, stable=True)
    return _last(lstm, steps[order], mask[order])


def _mean(lstm, steps, mask):
    output = lstm(_pack(steps, _lengths(mask).clamp(min=1)))[0]
    output = pad_packed_sequence(output, batch_first=True)[0]
    there = mask[:, : output.shape[1], None]
    return (output * there).sum(1) / there.sum(1).clamp(min=1)


def _time_first(lstm, steps, mask):
    lengths = _lengths(mask).clamp(min=1)
    state = lstm(pack_padded_sequence(steps, lengths.cpu(), enforce_sorted=False))[1][0]
    return state.transpose(0, 1).flatten(1)


def _turn(state):
    return state.flip(0).transpose(0, 1).flatten(1)


def _pack_cases(seed=2):
    draw = draws(seed)

    def case(lengths, width=2, hidden=2, both=False, wide=None):
        layer = {}
        for way in ("", "_reverse") if both else ("",):
            layer |= {
                f"weight_ih_l0{way}": draw(4 * hidden, width),
                f"weight_hh_l0{way}": draw(4 * hidden, hidden),
                f"bias_ih_l0{way}": draw(4 * hidden),
                f"bias_hh_l0{way}": draw(4 * hidden),
            }
        longest = max(*lengths, wide or 1)
        mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
        # what stands in the padding may be anything
        return layer, draw(len(lengths), longest, width), mask

    yield case([1, 2], width=1, hidden=1)
    yield case([2, 1, 3], hidden=2)
    yield case([2, 0], width=1, hidden=2)
    yield case([1, 3], width=1, hidden=2, both=True)
    yield case([2, 4, 3, 4], hidden=3)
    yield case([2, 2], wide=4)  # wider than its longest row
    yield case([3, 0, 5, 1], width=3, hidden=2, both=True)
    yield case([4, 2, 4], width=2, hidden=4, both=True)


def _pack_batch():
    """A batch of the page's clips."""
    draw = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = {name: w.detach() for name, w in nn.LSTM(2, 16).state_dict().items()}
    steps = torch.randn(32, 36, 2, generator=draw).requires_grad_()
    return layer, steps, torch.arange(36) < torch.randint(20, 37, (32, 1), generator=draw)


PACKING = Exercise(
    key="27.2",
    reference=packed_last,
    cases=_pack_cases,
    use=_built,
    batch=_pack_batch,
    verified=True,
    returns="states, a float tensor of shape (B, H), or (B, 2H) in two directions",
    misconceptions=(
        *ideas(
            "the state is read at the padding: a short row has gone on reading what stands there.",
            _padding,
            _padding_h,
            lambda lstm, s, m: _padding(lstm, s * m[..., None], m),
            lambda lstm, s, m: _zeros(
                lstm, s, m, lstm(s * m[..., None])[1][0].transpose(0, 1).flatten(1)
            ),
        ),
        *ideas(
            "after packing, `output[:, -1]` is zeros for every row that is shorter than the"
            " longest. The LSTM's second result holds each row's last state.",
            _repadded,
        ),
        *ideas(
            "the backward direction is read at the row's end, where it has seen one step. It has"
            " read the whole row at the *first* step.",
            _own_end,
        ),
        *ideas(
            "the backward direction begins in the padding. It needs packing, or each row turned"
            " within its own length.",
            _padded_both,
            _padded_own_end,
            lambda lstm, s, m: _padded_both(lstm, s * m[..., None], m),
            lambda lstm, s, m: _padded_own_end(lstm, s * m[..., None], m),
        ),
        *ideas(
            "of two directions one is returned. Both are asked for, forward first.",
            lambda lstm, s, m: _last(lstm, s, m, take=lambda h: h[-1]),
            lambda lstm, s, m: _last(lstm, s, m, take=lambda h: h[0]),
        ),
        *ideas(
            "backward stands before forward. Asked is forward, then backward.",
            lambda lstm, s, m: _last(lstm, s, m, take=_turn),
        ),
        *ideas(
            "`h` is (directions, B, H). A reshape mixes the rows: bring the batch to the front"
            " first, `h.transpose(0, 1).flatten(1)`.",
            lambda lstm, s, m: _last(lstm, s, m, take=lambda h: h.reshape(h.shape[1], -1)),
        ),
        *ideas(
            "this is the cell state `c`. Asked is the state `h`.",
            lambda lstm, s, m: _last(lstm, s, m, of=1),
        ),
        *ideas(
            "a row without a single step should get zeros. Made one step long, it has read what"
            " stands in the padding.",
            lambda lstm, s, m: _last(lstm, s, m, empty=False),
        ),
        *ideas(
            "the rows come back sorted by their length. Put them back, or let"
            " `enforce_sorted=False` do it.",
            _sorted,
        ),
        *ideas("this is the mean over the steps. Asked is the last state.", _mean),
        *ideas(
            "this packs as if time came first: `pack_padded_sequence` needs `batch_first=True` of"
            " its own.",
            _time_first,
            lambda lstm, s, m: _zeros(lstm, s, m, _time_first(lstm, s, m)),
        ),
    ),
)

EXERCISES = [OTHERS, PACKING]
