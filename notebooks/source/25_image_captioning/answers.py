"""Answers to the exercises of page 25, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

LOSS = """
import torch
import torch.nn.functional as F


def f(model, cells, ids):
    given, target = ids[:, :-1], ids[:, 1:]
    logits = model(cells, given)
    losses = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    mask = (target != 0).to(losses.dtype)
    return (losses * mask).sum() / mask.sum()
"""

BEAM = """
def f(step, start, state, end, limit, width):
    beams = [([], 0.0, state)]
    for _ in range(limit):
        candidates = []
        for words, total, memory in beams:
            if words and words[-1] == end:
                candidates.append((words, total, memory))
                continue
            last = words[-1] if words else start
            log_probs, after = step(last, memory)
            for k in range(len(log_probs)):
                candidates.append((words + [k], total + log_probs[k].item(), after))
        candidates.sort(key=lambda c: c[1], reverse=True)
        beams = candidates[:width]
    return beams[0][0], beams[0][1]
"""

LIST = """
def f(phrases, things):
    count = [0 for _ in things]
    for number, words in phrases:
        hits = 0
        for k, thing in enumerate(things):
            if words.issubset(thing):
                hits += 1
                count[k] += 1
        if hits != number:
            return False
    return all(c == 1 for c in count)
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "25.1": [
        LOSS,
        # one long list of places, only those that count
        """
        import torch.nn.functional as F
        def f(model, cells, ids):
            logits = model(cells, ids[:, :-1])
            there = ids[:, 1:] != 0
            return F.cross_entropy(logits[there], ids[:, 1:][there])
        """,
        # the whole caption is given, and what comes after its last word is not used
        """
        import torch.nn.functional as F
        def f(model, cells, ids):
            logits = model(cells, ids)[:, :-1]
            return F.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1), ignore_index=0
            )
        """,
        # place by place
        """
        import torch
        def f(model, cells, ids):
            logs = torch.log_softmax(model(cells, ids[:, :-1]), dim=-1)
            total, count = 0, 0
            for n in range(ids.shape[0]):
                for t in range(1, ids.shape[1]):
                    if ids[n, t] != 0:
                        total = total - logs[n, t - 1, ids[n, t]]
                        count += 1
            return total / count
        """,
        # with one-hot targets, in float32
        """
        import torch
        import torch.nn.functional as F
        def f(model, cells, ids):
            logs = model(cells, ids[:, :-1]).float().log_softmax(-1)
            hot = F.one_hot(ids[:, 1:], logs.shape[-1]).float()
            mask = (ids[:, 1:] > 0).float()
            return -torch.einsum("btv,btv,bt->", logs, hot, mask) / mask.sum()
        """,
    ],
    "25.2": [
        BEAM,
        # by topk over all continuations, sums as a tensor
        """
        import torch
        def f(step, start, state, end, limit, width):
            kept = [((start,), torch.tensor(0.0, dtype=torch.float64), state, False)]
            for _ in range(limit):
                if all(one[3] for one in kept):
                    break
                grown = [one for one in kept if one[3]]
                for words, total, before, done in kept:
                    if not done:
                        logs, after = step(words[-1], before)
                        top = torch.topk(logs, min(width, len(logs)))
                        for v, k in zip(top.values, top.indices):
                            grown.append((words + (k.item(),), total + v, after, k.item() == end))
                totals = torch.stack([one[1] for one in grown])
                best = torch.topk(totals, min(width, len(grown))).indices
                kept = [grown[i] for i in best]
            return list(kept[0][0][1:]), kept[0][1]
        """,
        # it stops as soon as the best has ended: log-probabilities only get smaller
        changed(
            BEAM,
            (
                "        beams = candidates[:width]\n",
                "        beams = candidates[:width]\n"
                "        if beams[0][0][-1] == end:\n            break\n",
            ),
        ),
        # words as a tensor
        changed(
            BEAM,
            ("def f", "import torch\n\n\ndef f"),
            ("return beams[0][0],", "return torch.tensor(beams[0][0]),"),
        ),
        # by recursion
        """
        def f(step, start, state, end, limit, width):
            def search(beams, left):
                ended = left < limit and all(w[-1] == end for w, _, _ in beams)
                if left == 0 or ended:
                    best = max(beams, key=lambda b: b[1])
                    return best[0][1:], best[1]
                grown = []
                for words, total, memory in beams:
                    if len(words) > 1 and words[-1] == end:
                        grown.append((words, total, memory))
                    else:
                        logs, after = step(words[-1], memory)
                        for k, v in enumerate(logs.tolist()):
                            grown.append((words + [k], total + v, after))
                return search(sorted(grown, key=lambda b: -b[1])[:width], left - 1)
            return search([([start], 0.0, state)], limit)
        """,
    ],
    "25.3": [
        LIST,
        """
        def f(phrases, things):
            named = []
            for number, words in phrases:
                fits = [i for i in range(len(things)) if not words - things[i]]
                if number != len(fits):
                    return False
                named.extend(fits)
            return len(named) == len(set(named)) == len(things)
        """,
        """
        from collections import Counter
        def f(phrases, things):
            c = Counter()
            ok = True
            for n, words in phrases:
                fits = [k for k, t in enumerate(things) if all(w in t for w in words)]
                ok = ok and len(fits) == n
                c.update(fits)
            return ok and set(c) == set(range(len(things))) and max(c.values()) == 1
        """,
        # thing by thing
        """
        def f(phrases, things):
            for thing in things:
                if sum(words <= thing for _, words in phrases) != 1:
                    return False
            return all(sum(words <= t for t in things) == n for n, words in phrases)
        """,
    ],
}

WRONG = {
    "25.1": [
        (
            changed(LOSS, ("given, target = ids[:, :-1], ids[:, 1:]", "given, target = ids, ids")),
            "the input is the target",
        ),
        (changed(LOSS, ("mask.sum()", "mask.numel()")), "still counted in the mean"),
        (changed(LOSS, ("(target != 0)", "(target > -1)")), "padding is counted"),
        (changed(LOSS, ("(target != 0)", "(given != 0)")), "asks whether the *input*"),
        (changed(LOSS, ("(target != 0)", "(target > 3)")), "the end is masked away"),
        (changed(LOSS, ("/ mask.sum()", "/ len(ids)")), "divided by the number of captions"),
        (
            changed(
                LOSS,
                (
                    "(losses * mask).sum() / mask.sum()",
                    "((losses * mask).sum(1) / mask.sum(1)).mean()",
                ),
            ),
            "a word of a short caption counts for more",
        ),
        (changed(LOSS, ("ids[:, :-1], ids[:, 1:]", "ids[:, 1:], ids[:, :-1]")), ""),
        (
            """
            import torch
            def f(model, cells, ids):
                p = model(cells, ids[:, :-1]).softmax(-1)
                right = p.gather(2, ids[:, 1:, None])[..., 0]
                mask = ids[:, 1:] != 0
                return -right.log()[mask].mean()
            """,
            "log_softmax takes both in one",
        ),
    ],
    "25.2": [
        (changed(BEAM, ("beams = candidates[:width]", "beams = candidates[:1]")), "this is greedy"),
        (
            changed(
                BEAM,
                ("candidates.append((words, total, memory))\n                continue", "continue"),
                (
                    "        candidates.sort",
                    "        if not candidates:\n            break\n        candidates.sort",
                ),
            ),
            "finished sentences fall out",
        ),
        (
            changed(
                BEAM,
                ("step(last, memory)", "step(last, state)"),
                ("            for k", "            state = after\n            for k"),
            ),
            "one state serves all sentences",
        ),
        (
            changed(BEAM, ("log_probs[k].item()", "log_probs[k].exp().item()")),
            "probabilities are added up",
        ),
        (changed(BEAM, ("if words and words[-1] == end:", "if False:")), "goes on after its end"),
        (changed(BEAM, ("reverse=True", "reverse=False")), ""),
        (changed(BEAM, ("return beams[0][0], beams[0][1]", "return beams[0][0]")), ""),
        (
            changed(BEAM, ("key=lambda c: c[1]", "key=lambda c: c[1] / max(len(c[0]), 1)")),
            "divided by the length",
        ),
        (changed(BEAM, ("words + [k]", "words.append(k) or words")), ""),
    ],
    "25.3": [
        (changed(LIST, ("all(c == 1 for c in count)", "True")), "each phrase is tested alone"),
        (changed(LIST, ("all(c == 1", "all(c >= 1")), "named twice passes"),
        (changed(LIST, ("all(c == 1", "all(c <= 1")), "things that no phrase names"),
        (changed(LIST, ("hits != number", "hits < number")), "numbers are exact"),
        (changed(LIST, ("words.issubset(thing)", "words == thing")), "Ask for a subset"),
        (changed(LIST, ("words.issubset(thing)", "words & thing")), ""),
        (
            changed(
                LIST, ("all(c == 1 for c in count)", "sum(n for n, _ in phrases) == len(things)")
            ),
            "numbers that add up",
        ),
        (
            changed(LIST, ("count[k] += 1", "count[things.index(thing)] += 1")),
            "two things may look exactly alike",
        ),
    ],
}
