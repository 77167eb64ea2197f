"""Answers to the exercises of page 30, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

RIGHT = {
    "30.1": [
        """
        def f(network, pictures, words, noise, times, dropped):
            B, D = pictures.shape
            x = noise + times.view(B, 1) * (pictures - noise)
            known = words.clone()
            known[dropped] = 0
            v = network(x, times, known)
            return torch.nn.functional.mse_loss(v, pictures - noise)
        """,
        """
        def f(network, pictures, words, noise, times, dropped):
            x = torch.empty_like(pictures)
            known = []
            for b in range(len(pictures)):
                x[b] = (1 - times[b]) * noise[b] + times[b] * pictures[b]
                known.append(words[b] * (0 if dropped[b] else 1))
            v = network(x, times, torch.stack(known))
            total = 0
            for b in range(len(pictures)):
                for d in range(pictures.shape[1]):
                    total = total + (v[b, d] - pictures[b, d] + noise[b, d]) ** 2
            return total / pictures.numel()
        """,
        """
        def f(network, pictures, words, noise, times, dropped):
            x = torch.einsum("b,bd->bd", times, pictures)
            x = x + torch.einsum("b,bd->bd", 1 - times, noise)
            v = network(x, times, words * (~dropped)[:, None])
            return ((pictures - noise - v) ** 2).mean(1).mean()
        """,
        """
        def f(network, pictures, words, noise, times, dropped):
            pictures, noise, words = pictures.float(), noise.float(), words.float()
            t = times.float().unsqueeze(-1)
            x = t * pictures + (1 - t) * noise
            v = network(x, times, words.masked_fill(dropped.unsqueeze(-1), 0.0))
            return (v - (pictures - noise)).pow(2).mean()
        """,
    ],
    "30.2": [
        """
        def f(network, x, time, size, words, weight):
            times = time * torch.ones(x.shape[0], dtype=x.dtype)
            v0 = network(x, times, 0 * words)
            v1 = network(x, times, words)
            return x + size * ((1 - weight) * v0 + weight * v1)
        """,
        """
        def f(network, x, time, size, words, weight):
            times = torch.tensor([time] * len(x)).to(x)
            v1 = network(x, times, words)
            if weight == 1:
                return x + size * v1
            v0 = network(x, times, torch.zeros(words.shape).to(words))
            return x + size * torch.lerp(v0, v1, weight)
        """,
        """
        def f(network, x, time, size, words, weight):
            rows = []
            for place, word in zip(x, words):
                t = torch.full((1,), time, dtype=x.dtype)
                v1 = network(place[None], t, word[None])[0]
                v0 = network(place[None], t, torch.zeros_like(word)[None])[0]
                rows.append(place + size * (v0 + weight * (v1 - v0)))
            return torch.stack(rows)
        """,
        """
        def f(network, x, time, size, words, weight):
            times = torch.full((len(x),), time)
            v0, v1 = network(x, times, torch.zeros_like(words)), network(x, times, words)
            return torch.add(x, v0 + (v1 - v0) * weight, alpha=size)
        """,
    ],
    "30.3": [
        """
        def f(pictures, codebook):
            B = pictures.shape[0]
            shown = pictures.reshape(B, 1, 8, 8)
            patches = torch.nn.functional.unfold(shown, 2, stride=2)      # (B, 4, 16)
            patches = patches.transpose(1, 2)
            return (patches.unsqueeze(2) - codebook).pow(2).sum(-1).argmin(-1)
        """,
        """
        def f(pictures, codebook):
            shown = pictures.view(-1, 8, 8)
            corners = [shown[:, r::2, c::2].flatten(1) for r in (0, 1) for c in (0, 1)]
            patches = torch.stack(corners, dim=2)
            apart = (patches ** 2).sum(2, keepdim=True) - 2 * patches @ codebook.T
            apart = apart + (codebook ** 2).sum(1)
            return apart.argmin(dim=2)
        """,
        """
        def f(pictures, codebook):
            out = torch.zeros(len(pictures), 16, dtype=torch.long)
            for b, picture in enumerate(pictures.reshape(-1, 8, 8)):
                for i in range(4):
                    for j in range(4):
                        patch = picture[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(4)
                        out[b, 4 * i + j] = (codebook - patch).norm(dim=1).argmin()
            return out
        """,
    ],
}

WRONG = {
    "30.1": [
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                t = times[:, None]
                x = (1 - t) * noise + t * pictures
                given = torch.where(dropped[:, None], 0.0, words)
                return (network(x, times, given) - (pictures + noise)).square().mean()
            """,
            "the target is the picture plus the noise",
        ),
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                t = times[:, None]
                x = t * noise + (1 - t) * pictures
                given = torch.where(dropped[:, None], 0.0, words)
                return (network(x, times, given) - (pictures - noise)).square().mean()
            """,
            "the path runs the other way",
        ),
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                x = (1 - times) * noise + times * pictures
                given = torch.where(dropped[:, None], 0.0, words)
                return (network(x, times, given) - (pictures - noise)).square().mean()
            """,
            "`times` is multiplied as it is",
        ),
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                t = times.unsqueeze(1)
                x = noise + t * (pictures - noise)
                return (network(x, times, words) - (pictures - noise)).pow(2).mean()
            """,
            "the word is never dropped",
        ),
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                t = times.unsqueeze(1)
                x = noise + t * (pictures - noise)
                given = words * dropped[:, None]
                return (network(x, times, given) - (pictures - noise)).pow(2).mean()
            """,
            "the mask is read the other way round",
        ),
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                t = times.unsqueeze(1)
                x = noise + t * (pictures - noise)
                given = words * ~dropped[:, None]
                return (network(x, t, given) - (pictures - noise)).pow(2).mean()
            """,
            "the network wants one time for each row",
        ),
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                t = times.unsqueeze(1)
                x = noise + t * (pictures - noise)
                given = words * ~dropped[:, None]
                return (network(x, times, given) - (pictures - noise)).pow(2).sum(1).mean()
            """,
            "the squares are not averaged over all pixels",
        ),
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                t = times.unsqueeze(1)
                x = noise + t * (pictures - noise)
                words[dropped] = 0
                return (network(x, times, words) - (pictures - noise)).pow(2).mean()
            """,
            "changes its argument `words` in place",
        ),
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                x = noise + times[:, None] * (pictures - noise)
                given = words.masked_fill(dropped[:, None], 0)
                return (network(x, times, given) - (pictures - x)).square().mean()
            """,
            "what is left of the way",
        ),
        (
            """
            def f(network, pictures, words, noise, times, dropped):
                x = noise + times[:, None] * (pictures - noise)
                given = words.masked_fill(dropped[:, None], 0)
                return (network(x, 1 - times, given) - (pictures - noise)).square().mean()
            """,
            "the path runs the other way",
        ),
    ],
    "30.2": [
        (
            """
            def f(network, x, time, size, words, weight):
                times = torch.full((len(x),), time, dtype=x.dtype)
                v0, v1 = network(x, times, 0 * words), network(x, times, words)
                return x + size * (v1 + weight * (v1 - v0))
            """,
            "here weight 1 gives more than the word's own velocity",
        ),
        (
            """
            def f(network, x, time, size, words, weight):
                times = torch.full((len(x),), time, dtype=x.dtype)
                v0, v1 = network(x, times, 0 * words), network(x, times, words)
                return x - size * (v0 + weight * (v1 - v0))
            """,
            "the step is subtracted",
        ),
        (
            """
            def f(network, x, time, size, words, weight):
                v0, v1 = network(x, time, 0 * words), network(x, time, words)
                return x + size * (v0 + weight * (v1 - v0))
            """,
            "the network wants one time for each row",
        ),
        (
            """
            def f(network, x, time, size, words, weight):
                times = torch.full((len(x),), 1 - time, dtype=x.dtype)
                v0, v1 = network(x, times, 0 * words), network(x, times, words)
                return x + size * (v0 + weight * (v1 - v0))
            """,
            "the network is asked for another time",
        ),
        (
            """
            def f(network, x, time, size, words, weight):
                times = torch.full((len(x),), time, dtype=x.dtype)
                return x + size * weight * network(x, times, words)
            """,
            "the word's velocity alone is multiplied",
        ),
        (
            """
            def f(network, x, time, size, words, weight):
                times = torch.full((len(x),), time, dtype=x.dtype)
                v0, v1 = network(x, times, 0 * words), network(x, times, words)
                return x + v0 + weight * (v1 - v0)
            """,
            "the velocity is not multiplied by the step's size",
        ),
        (
            """
            def f(network, x, time, size, words, weight):
                times = torch.full((len(x),), time, dtype=x.dtype)
                v0, v1 = network(x, times, 0 * words), network(x, times, words)
                x += size * (v0 + weight * (v1 - v0))
                return x
            """,
            "changes its argument `x` in place",
        ),
    ],
    "30.3": [
        (
            """
            def f(pictures, codebook):
                patches = pictures.view(len(pictures), 16, 4)
                return torch.cdist(patches, codebook.expand(len(pictures), -1, -1)).argmin(2)
            """,
            "cuts a row into strips",
        ),
        (
            """
            def f(pictures, codebook):
                patches = pictures.view(-1, 4, 2, 4, 2).transpose(2, 3)
                patches = patches.reshape(len(pictures), 16, 4)
                return (patches @ codebook.T).argmax(2)
            """,
            "the largest dot product",
        ),
        (
            """
            def f(pictures, codebook):
                patches = pictures.view(-1, 4, 2, 4, 2).permute(0, 3, 1, 2, 4)
                patches = patches.reshape(len(pictures), 16, 4)
                return torch.cdist(patches, codebook.expand(len(pictures), -1, -1)).argmin(2)
            """,
            "counted column by column",
        ),
        (
            """
            def f(pictures, codebook):
                patches = pictures.view(-1, 4, 2, 4, 2).transpose(2, 3)
                patches = patches.reshape(len(pictures), 16, 4)
                ids = torch.cdist(patches, codebook.expand(len(pictures), -1, -1)).argmin(2)
                return codebook[ids]
            """,
            "the codes are returned, not their numbers",
        ),
        (
            """
            def f(pictures, codebook):
                patches = pictures.view(-1, 4, 2, 4, 2).transpose(2, 3)
                patches = patches.reshape(len(pictures), 16, 4)
                return torch.cdist(patches, codebook.expand(len(pictures), -1, -1)).argmin(1)
            """,
            "for each code this finds the nearest patch",
        ),
        (
            """
            def f(pictures, codebook):
                patches = pictures.view(-1, 4, 2, 4, 2).transpose(2, 3)
                patches = patches.reshape(len(pictures), 16, 4)
                return torch.cdist(patches, codebook.expand(len(pictures), -1, -1)).min(2)
            """,
            "expected",
        ),
    ],
}
