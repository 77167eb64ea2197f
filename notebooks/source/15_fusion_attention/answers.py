"""Answers to the exercises of page 15, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

ATTENTION = """
import math
import torch


def f(queries, keys, values, mask, null_key, null_value):
    B, K, D = keys.shape
    values = torch.where(mask[:, :, None], values, 0)
    keys = torch.cat([keys, null_key.expand(B, 1, D)], 1)
    values = torch.cat([values, null_value.expand(B, 1, values.shape[2])], 1)
    kept = torch.cat([mask, torch.ones(B, 1, dtype=torch.bool)], 1)
    scores = queries @ keys.transpose(1, 2) / math.sqrt(D)
    scores = scores.masked_fill(~kept[:, None, :], -torch.inf)
    weights = torch.softmax(scores, -1)
    return weights @ values, weights
"""

POINTING = """
import torch


def f(maps, boxes, tolerance):
    place = maps.reshape(len(maps), 64).argmax(1)
    x, y = 8 * (place % 8) + 4, 8 * (place // 8) + 4
    left, top, right, bottom = boxes.T
    across = (x >= left - tolerance) & (x < right + tolerance)
    down = (y >= top - tolerance) & (y < bottom + tolerance)
    return (across & down).float().mean().item()
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "15.1": [
        ATTENTION,
        # row by row, and in it what is there alone
        """
        def f(queries, keys, values, mask, null_key, null_value):
            found, weights = [], []
            for q, k, v, m in zip(queries, keys, values, mask):
                places = torch.cat([m.nonzero()[:, 0], torch.tensor([len(m)])])
                k = torch.cat([k[m], null_key[None]])
                v = torch.cat([v[m], null_value[None]])
                w = (q @ k.T / k.shape[1] ** 0.5).softmax(1)
                all_weights = torch.zeros(len(q), len(m) + 1, dtype=w.dtype)
                all_weights[:, places] = w
                found.append(w @ v)
                weights.append(all_weights)
            return torch.stack(found), torch.stack(weights)
        """,
        # the null apart: its score beside the others
        """
        def f(queries, keys, values, mask, null_key, null_value):
            scale = queries.shape[-1] ** -0.5
            scores = torch.einsum("btd,bkd->btk", queries, keys) * scale
            scores = scores.masked_fill(~mask[:, None], float("-inf"))
            null = (queries @ null_key * scale)[..., None]
            weights = torch.cat([scores, null], dim=2).softmax(dim=2)
            clean = values.masked_fill(~mask[..., None], 0)
            return weights[..., :-1] @ clean + weights[..., -1:] * null_value, weights
        """,
        # the lowest finite number, since null is always there
        changed(ATTENTION, ("-torch.inf", "torch.finfo(scores.dtype).min")),
        # the fused kernel for what is found
        """
        def f(queries, keys, values, mask, null_key, null_value):
            B, K, D = keys.shape
            values = torch.where(mask[..., None], values, 0)
            keys = torch.cat([keys, null_key.repeat(B, 1, 1)], 1)
            values = torch.cat([values, null_value.repeat(B, 1, 1)], 1)
            kept = torch.nn.functional.pad(mask, (0, 1), value=True)[:, None]
            attend = torch.nn.functional.scaled_dot_product_attention
            found = attend(queries, keys, values, attn_mask=kept)
            scores = torch.where(kept, queries @ keys.mT / D ** 0.5, -torch.inf)
            return found, scores.softmax(-1)
        """,
    ],
    "15.2": [
        POINTING,
        """
        def f(maps, boxes, tolerance):
            count = 0
            for one, (left, top, right, bottom) in zip(maps, boxes):
                row, column = torch.unravel_index(one.argmax(), one.shape)
                x, y = column * 8 + 4, row * 8 + 4
                if left - tolerance <= x < right + tolerance:
                    if top - tolerance <= y < bottom + tolerance:
                        count += 1
            return count / len(maps)
        """,
        """
        def f(maps, boxes, tolerance):
            columns = maps.amax(1).argmax(1)
            rows = maps.amax(2).argmax(1)
            middle = torch.stack([columns, rows], 1) * 8 + 4
            inside = (middle >= boxes[:, :2] - tolerance) & (middle < boxes[:, 2:] + tolerance)
            return inside.all(1).double().mean()
        """,
    ],
}

WRONG = {
    "15.1": [
        (changed(ATTENTION, ("torch.softmax(scores, -1)", "torch.softmax(scores, 1)")), "queries"),
        (
            changed(
                ATTENTION,
                ("scores = scores.masked_fill(~kept[:, None, :], -torch.inf)", "pass"),
                ("torch.softmax(scores, -1)", "torch.softmax(scores, -1) * kept[:, None, :]"),
            ),
            "set to zero after the softmax",
        ),
        (changed(ATTENTION, ("-torch.inf", "0")), "have the score 0"),
        (changed(ATTENTION, ("-torch.inf", "-100")), "a number such as -100"),
        (changed(ATTENTION, ("torch.ones(B", "torch.zeros(B")), "null is masked with the rest"),
        (changed(ATTENTION, (" / math.sqrt(D)", "")), "not divided by the square root of D"),
        (
            changed(ATTENTION, ("math.sqrt(D)", "math.sqrt(values.shape[2])")),
            "not divided by the square root of D",
        ),
        (
            changed(ATTENTION, ("values = torch.where(mask[:, :, None], values, 0)", "pass")),
            "a weight of 0 times a NaN",
        ),
        (
            changed(
                ATTENTION, ("torch.where(mask[:, :, None], values, 0)", "values * mask[:, :, None]")
            ),
            "a weight of 0 times a NaN",
        ),
        (changed(ATTENTION, ("~kept", "kept")), "expected"),
        (
            changed(
                ATTENTION,
                ("[keys, null_key.expand(B, 1, D)]", "[null_key.expand(B, 1, D), keys]"),
                (
                    "[values, null_value.expand(B, 1, values.shape[2])]",
                    "[null_value.expand(B, 1, values.shape[2]), values]",
                ),
                (
                    "[mask, torch.ones(B, 1, dtype=torch.bool)]",
                    "[torch.ones(B, 1, dtype=torch.bool), mask]",
                ),
            ),
            "null stands first",
        ),
        (
            changed(ATTENTION, ("return weights @ values, weights", "return weights @ values")),
            "came as None",
        ),
        (
            """
        def f(queries, keys, values, mask, null_key, null_value):
            scores = queries @ keys.transpose(1, 2) / keys.shape[2] ** 0.5
            weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
            return weights @ torch.where(mask[..., None], values, 0), weights
        """,
            "the null key is missing",
        ),
        (
            changed(ATTENTION, ("null_key.expand(B, 1, D)", "null_key.expand(1, 1, D)")),
            "RuntimeError",
        ),
        (
            changed(ATTENTION, ("queries @ keys", "queries.detach() @ keys")),
            'entry ["gradient of queries"]',
        ),
    ],
    "15.2": [
        (changed(POINTING, ("x, y =", "y, x =")), "x and y are swapped"),
        (changed(POINTING, ("- tolerance", ""), ("+ tolerance", "")), "the tolerance is not used"),
        (changed(POINTING, ("+ tolerance", "")), "two sides only"),
        (changed(POINTING, ("+ 4", "")), "corner, not its middle"),
        (changed(POINTING, ("8 * (place % 8) + 4", "place % 8")), "expected"),
        (changed(POINTING, ("across & down", "across | down")), "expected"),
        (changed(POINTING, (".float().mean().item()", "")), "expected"),
        (
            changed(POINTING, ("maps.reshape(len(maps), 64).argmax(1)", "maps.argmax(1)")),
            "expected",
        ),
        (changed(POINTING, ("argmax(1)", "argmin(1)")), "the smallest weight"),
        (
            changed(POINTING, (".float().mean().item()", ".sum().item()")),
            "the number of maps that point inside",
        ),
    ],
}
