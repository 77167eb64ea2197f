"""Answers to the exercises of page 02, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

# Ends in their order, what is looked up, what is kept, where nothing fits, the next start, what is
# returned.
CUT = (
    "\ndef f(word, vocabulary):\n found, start = [], 0\n while start < len(word):\n  for end in"
    " {}:\n   piece = {}\n   if piece in vocabulary: break\n  else:\n   {}\n  found.append({})\n "
    " start = {}\n return {}"
)
ENDS, PIECE = "range(len(word), start, -1)", "('##' if found else '') + word[start:end]"
UNKNOWN = "return ['[UNK]']"
FIND = (  # u and v are the rows at length 1
    "\ndef f(queries, gallery):\n q, g = queries, gallery\n"
    " u, v = q / q.norm(dim=1, keepdim=True), g / g.norm(dim=1, keepdim=True)\n return {}"
)
SORT = "\ndef f(lengths):\n order = lengths.argsort(stable=True)\n back = {}\n return {}"


def cut(ends=ENDS, piece=PIECE, unknown=UNKNOWN, kept="piece", start="end", result="found"):
    return CUT.format(ends, piece, unknown, kept, start, result)


RIGHT = {
    "02.1": [
        cut(),
        """
        def f(word, vocabulary):
            def cut(rest, mark):
                if not rest:
                    return []
                for n in range(len(rest), 0, -1):
                    if mark + rest[:n] in vocabulary:
                        others = cut(rest[n:], "##")
                        return None if others is None else [mark + rest[:n]] + others
                return None
            pieces = cut(word, "")
            return ["[UNK]"] if pieces is None else pieces
        """,
        """
        def f(word, vocabulary):
            longest_first = sorted(vocabulary, key=len, reverse=True)
            begin = [entry for entry in longest_first if not entry.startswith("##")]
            go_on = [entry for entry in longest_first if entry.startswith("##")]
            pieces = []
            while word:
                ends = go_on if pieces else begin
                fits = [e for e in ends if word.startswith(e.replace("##", ""))]
                if not fits:
                    return ["[UNK]"]
                pieces.append(fits[0])
                word = word[len(fits[0]) - 2 * fits[0].startswith("##"):]
            return tuple(pieces)
        """,
        """
        def f(word, vocabulary):
            pieces = []
            rest = word
            while rest != "" and rest != "##":
                end = len(rest)
                while end > 0 and rest[:end] not in vocabulary:
                    end -= 1
                if end == 0:
                    return ["[UNK]"]
                pieces += [rest[:end]]
                rest = "##" + rest[end:]
            return pieces
        """,
    ],
    "02.2": [
        FIND.format("(u @ v.T).argmax(dim=1)"),
        FIND.format("torch.max(q @ v.T, dim=1)[1]"),  # to scale the gallery alone is enough
        FIND.format("torch.cdist(u, v).argmin(dim=1)"),
        FIND.format(
            "torch.nn.functional.cosine_similarity(q[:, None], g[None],"
            " dim=2).topk(1).indices[:, 0]"
        ),
        FIND.format("(g @ u.T / g.norm(dim=1)[:, None]).argmax(dim=0)"),
        """
        def f(queries, gallery):
            found = []
            for a in queries:
                cosines = [float(a @ b / (a.norm() * b.norm())) for b in gallery]
                found.append(cosines.index(max(cosines)))
            return torch.tensor(found)
        """,
    ],
    "02.3": [
        SORT.format("order.argsort()", "order, back"),
        SORT.format(
            "torch.empty_like(order)", "[order, back.scatter(0, order, torch.arange(len(order)))]"
        ),
        SORT.format(
            "(order[None] == torch.arange(len(order))[:, None]).int().argmax(dim=1)", "order, back"
        ),
        """
        def f(lengths):
            pairs = sorted((n, i) for i, n in enumerate(lengths.tolist()))
            order = [i for _, i in pairs]
            back = [order.index(i) for i in range(len(order))]
            return torch.tensor(order), torch.tensor(back)
        """,
        """
        def f(lengths):
            i = torch.arange(len(lengths))
            before = (lengths < lengths[:, None]) | (lengths == lengths[:, None]) & (i < i[:, None])
            back = before.sum(dim=1)
            return back.argsort(), back
        """,
    ],
}
WRONG = {
    "02.1": [
        (cut(ends="range(start + 1, len(word) + 1)"), "the shortest piece that fits is taken"),
        (cut(piece="word[start:end]"), "looked up without ##"),
        (cut(piece="word[start:end]", kept="'##' * (start > 0) + piece"), "looked up without ##"),
        (cut(piece="word[start:end]", unknown="return found + ['[UNK]']"), "looked up without ##"),
        (cut(kept="word[start:end]"), "have lost their ##"),
        (cut(kept="piece.strip('#')"), "have lost their ##"),
        (
            cut().replace(
                "if piece in vocabulary", "if piece in vocabulary or word[start:end] in vocabulary"
            ),
            "also taken from the entries without ##",
        ),
        (cut(piece="'##' + word[start:end]"), "the first piece is looked up with ##"),
        (cut(kept="'##' + word[start:end]"), "the first piece comes back with ##"),
        (
            cut(unknown="return found + ['[UNK]']"),
            "the pieces found so far are kept and [UNK] stands for the rest",
        ),
        (
            cut(unknown="found.append('[UNK]'); break"),
            "the pieces found so far are kept and [UNK] stands for the rest",
        ),
        (cut(unknown="break"), "the pieces found so far come back"),
        (
            cut(
                unknown="found.append('[UNK]'); start += 1; continue",
                piece="('##' if start else '') + word[start:end]",
            ),
            "[UNK] stands for the one letter",
        ),
        (
            cut(unknown="start += 1; continue", piece="('##' if start else '') + word[start:end]"),
            "a letter where nothing fits is left out",
        ),
        (cut(unknown="return []"), "the list is empty"),
        (cut(unknown="return '[UNK]'"), "a bare string comes back"),
        (cut(unknown="return"), "returned None"),
        (cut(result="' '.join(found)"), "joined into one string"),
        (cut(result="''.join(found)", unknown="return '[UNK]'"), "joined into one string"),
        (
            (
                "def f(word, vocabulary):\n found = []\n while word:\n  for start in"
                " range(len(word)):\n   piece = '##' * (start > 0) + word[start:]\n   if piece in"
                " vocabulary: break\n  else: return ['[UNK]']\n  found = [piece] + found\n  word ="
                " word[:start]\n return found"
            ),
            "the word is cut from its right end",
        ),
        (cut(result="list(reversed(found))"), "in the order from right to left"),
        (cut(start="end + 1"), "a letter is lost after each piece"),
        (
            "def f(word, vocabulary): return [word] if word in vocabulary else ['[UNK]']",
            "at once. It is for such words",
        ),
        (cut(ends="range(len(word) - 1, start, -1)"), "every word is"),
        (cut(ends="range(len(word), start + 1, -1)"), "a piece of a single letter is never tried"),
        (
            (
                "def f(word, vocabulary):\n if word in vocabulary: return [word]\n for end in"
                " range(len(word), 0, -1):\n  if word[:end] in vocabulary:\n   rest = '##' +"
                " word[end:]\n   return [word[:end], rest] if rest in vocabulary else ['[UNK]']\n"
                " return ['[UNK]']"
            ),
            "after the first piece the rest is only tried as a whole",
        ),
        (
            cut().replace(" return found", "  if len(found) == 2: break\n return found"),
            "it ends after two pieces",
        ),
        (cut().replace("\n return found", "\n  return found"), "only the first piece comes back"),
        (
            (
                "def f(word, vocabulary):\n def cut(rest, mark):\n  if not rest: return []\n  for"
                " end in range(len(rest), 0, -1):\n   more = cut(rest[end:], '##') if mark +"
                " rest[:end] in vocabulary else None\n   if more is not None: return [mark +"
                " rest[:end]] + more\n return cut(word, '') or ['[UNK]']"
            ),
            "another cut is tried where the longest piece leads nowhere",
        ),
        (
            "def f(word, vocabulary): return list(word)",
            "returned a list of 3 items, expected a list of 1 item",
        ),
        (
            "def f(word, vocabulary): return word",
            "returned a string, expected a list of 1 item: the pieces from the left",
        ),
    ],
    "02.2": [
        (FIND.format("(q @ g.T).argmax(dim=1)"), "long rows of the gallery win"),
        (FIND.format("(u @ g.T).argmax(dim=1)"), "long rows of the gallery win"),
        (FIND.format("(q @ (g / g.norm()).T).argmax(dim=1)"), "long rows of the gallery win"),
        (
            FIND.format("((q / q.norm(dim=0)) @ (g / g.norm(dim=0)).T).argmax(dim=1)"),
            "scaled along the wrong axis",
        ),
        (
            FIND.format("(u @ (g / g.norm(dim=0, keepdim=True)).T).argmax(dim=1)"),
            "scaled along the wrong axis",
        ),
        (
            FIND.format("((q / q.norm(dim=1)) @ (g / g.norm(dim=1)).T).argmax(dim=1)"),
            "lined up with the columns",
        ),
        (FIND.format("(u @ v.T).argmin(dim=1)"), "this is the least similar row"),
        (FIND.format("torch.cdist(u, v).argmax(dim=1)"), "this is the least similar row"),
        (FIND.format("(u @ v.T).argmax(dim=0)"), "the maximum runs over the queries"),
        (FIND.format("(v @ u.T).argmax(dim=1)"), "the maximum runs over the queries"),
        (FIND.format("(u @ v.T).argmax()"), "without dim, argmax"),
        (
            FIND.format("torch.cdist(q, g).argmin(dim=1)"),
            "this is the row at the smallest distance",
        ),
        (FIND.format("(u @ v.T).max(dim=1).values"), "these are the cosines themselves"),
        (FIND.format("(u @ v.T).max(dim=1)"), "max gives the values and the places together"),
        (
            FIND.format("(u @ v.T).abs().argmax(dim=1)"),
            "a row that points the other way counts as similar",
        ),
        (
            FIND.format("((u @ v.T) ** 2).argmax(dim=1)"),
            "a row that points the other way counts as similar",
        ),
        (
            FIND.format(
                "torch.corrcoef(torch.cat([q, g]))[:len(q), len(q):].nan_to_num().argmax(dim=1)"
            ),
            "a mean is taken off",
        ),
        (
            FIND.format("(q @ (g / (g ** 2).sum(dim=1, keepdim=True)).T).argmax(dim=1)"),
            "divided by the square of the length",
        ),
        (
            FIND.format("(q @ (g / g.abs().sum(dim=1, keepdim=True)).T).argmax(dim=1)"),
            "scaled, but not to length 1",
        ),
        (FIND.format("torch.cosine_similarity(q, g)"), "query i is compared with row i"),
        (FIND.format("(u @ v.T).argmax(dim=1).float()"), "the places are right, but floats"),
        (FIND.format("(u @ v.T).argmax(dim=1) + 1"), "the places are counted from 1"),
        (
            FIND.format("(u @ v.T).argmax(dim=1, keepdim=True)"),
            "returned shape (1, 1), expected (1,): one place in the gallery",
        ),
        (FIND.format("u @ v.T"), "returned shape (1, 2), expected (1,): one place in the gallery"),
        (
            FIND.format("g[(u @ v.T).argmax(dim=1)]"),
            "returned shape (1, 2), expected (1,): one place in the gallery",
        ),
        (
            FIND.format("(u @ v.T).argmax(dim=1).tolist()"),
            "expected a tensor of shape (1,): one place in the gallery",
        ),
        ("def f(queries, gallery): return (queries @ gallery).argmax(dim=1)", "not right yet"),
        (
            (
                "def f(queries, gallery):\n gallery /= gallery.norm(dim=1, keepdim=True)\n"
                " return (queries @ gallery.T).argmax(dim=1)"
            ),
            "changes its argument `gallery` in place",
        ),
    ],
    "02.3": [
        (SORT.format("order", "order, back"), "back is the order once more"),
        (SORT.format("order[order]", "order, back"), "the order is applied twice"),
        (SORT.format("torch.arange(len(order))", "order, back"), "back is 0, 1, 2"),
        (SORT.format("lengths[order].argsort(stable=True)", "order, back"), "back is 0, 1, 2"),
        (SORT.format("order.sort().values", "order, back"), "back is 0, 1, 2"),
        (
            SORT.format("order.flip(0)", "order, back"),
            "with the longest first, or read from behind",
        ),
        (
            SORT.format("lengths.argsort(descending=True, stable=True)", "order, back"),
            "with the longest first, or read from behind",
        ),
        (SORT.format("order.argsort(descending=True)", "order, back"), "back is turned round"),
        (SORT.format("order.argsort().flip(0)", "order, back"), "back is turned round"),
        (
            (
                "def f(lengths): order = lengths.argsort(descending=True, stable=True); return"
                " order, order.argsort()"
            ),
            "the longest text stands first",
        ),
        (
            (
                "def f(lengths): order = lengths.argsort(stable=True).flip(0); return order,"
                " order.argsort()"
            ),
            "the longest text stands first",
        ),
        (SORT.format("order.argsort()", "back, order"), "order and back are swapped"),
        (
            SORT.format("order.argsort()", "lengths[order], back"),
            "the first of the two holds the sorted lengths",
        ),
        (
            "def f(lengths): return lengths.sort(stable=True)",
            "the first of the two holds the sorted lengths",
        ),
        (SORT.format("lengths", "order, back"), "the second of the two holds lengths"),
        (SORT.format("lengths[order]", "order, back"), "the second of the two holds lengths"),
        (
            (
                "def f(lengths):\n order = torch.tensor(sorted(range(len(lengths)), key=lambda i:"
                " (lengths[i], -i)))\n return order, order.argsort()"
            ),
            "texts of equal length do not keep the order",
        ),
        (
            SORT.format(
                "torch.tensor(sorted(range(len(lengths)), key=lambda i: (lengths[i],"
                " -i))).argsort()",
                "order, back",
            ),
            "order and back treat equal lengths differently",
        ),
        (
            SORT.format("lengths.unique(return_inverse=True)[1]", "order, back"),
            "texts of equal length share a place",
        ),
        (
            SORT.format(
                "torch.tensor([sorted(lengths.tolist()).index(n) for n in lengths.tolist()])",
                "order, back",
            ),
            "texts of equal length share a place",
        ),
        (
            (
                "def f(lengths): order = lengths.unique(return_inverse=True)[1]; return order,"
                " order.argsort()"
            ),
            "these are ranks",
        ),
        (SORT.format("order.argsort()", "order + 1, back + 1"), "the places are counted from 1"),
        (SORT.format("order.argsort()", "order"), "only the order is returned"),
        (
            SORT.format("order.argsort()", "order.float(), back.float()"),
            "the numbers are right, but floats",
        ),
        (
            SORT.format("order.argsort()", "order.tolist(), back.tolist()"),
            (
                "entry [0] came as a list of 1 number, expected a tensor of shape (1,): order, then"
                " back"
            ),
        ),
        (
            SORT.format("order.argsort()", "torch.stack([order, back])"),
            "returned a tensor of shape (2, 1), expected a tuple",
        ),
        (
            (
                "def f(lengths): lengths -= lengths.min(); order = lengths.argsort(stable=True);"
                " return order, order.argsort()"
            ),
            "changes its argument `lengths` in place",
        ),
    ],
}
