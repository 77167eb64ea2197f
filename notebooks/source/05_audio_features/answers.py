"""Answers to the exercises of page 05, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

LOOPS = """
def f(n_mels, n_fft, rate):
    import math

    top = 2595 * math.log10(1 + (rate / 2) / 700)
    corners = []
    for k in range(n_mels + 2):
        m = top * k / (n_mels + 1)
        corners.append(700 * (10 ** (m / 2595) - 1))
    filters = torch.zeros(n_mels, n_fft // 2 + 1, dtype=torch.float64)
    for b in range(n_mels):
        left, middle, right = corners[b], corners[b + 1], corners[b + 2]
        for k in range(n_fft // 2 + 1):
            f = k * rate / n_fft
            if left < f <= middle:
                filters[b, k] = (f - left) / (middle - left)
            elif middle < f < right:
                filters[b, k] = (right - f) / (right - middle)
    return filters
"""

ROWS = """
def f(n_mels, n_fft, rate):
    import math

    top = 2595 * math.log10(1 + rate / 2 / 700)
    corners = torch.linspace(0, top, n_mels + 2, dtype=torch.float64)
    corners = 700 * (10 ** (corners / 2595) - 1)
    f = torch.arange(n_fft // 2 + 1).double() * rate / n_fft
    up = (f - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    down = (corners[2:, None] - f) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(up, down).clamp(min=0)
"""

BY_ROW = """
def f(sound, noise, snr_db, mask):
    mixed = torch.zeros_like(sound)
    for i in range(len(sound)):
        n = int(mask[i].sum())
        if n == 0:
            continue
        strong, weak = (sound[i, :n] ** 2).mean(), (noise[i, :n] ** 2).mean()
        a = 0.0 if weak == 0 else torch.sqrt(strong / (weak * 10 ** (snr_db[i] / 10)))
        mixed[i, :n] = sound[i, :n] + a * noise[i, :n]
    return mixed
"""

BATCH = """
def f(sound, noise, snr_db, mask):
    count = mask.sum(dim=1).clamp(min=1)
    strong = (sound**2 * mask).sum(dim=1) / count
    weak = (noise**2 * mask).sum(dim=1) / count
    a = (strong / weak.clamp(min=1e-30) / 10 ** (snr_db / 10)).sqrt()
    a = torch.where(weak > 0, a, torch.zeros_like(a))
    return torch.where(mask, sound + a[:, None] * noise, 0.0)
"""

RIGHT = {
    "05.1": [
        LOOPS,
        ROWS,
        # the mel scale by the natural logarithm, with the factor that belongs to it
        LOOPS.replace("2595 * math.log10(1 + (rate / 2) / 700)", "math.log1p(rate / 1400)").replace(
            "10 ** (m / 2595) - 1", "math.exp(m) - 1"
        ),
        ROWS.replace(
            "torch.minimum(up, down).clamp(min=0)", "torch.relu(torch.where(up < down, up, down))"
        ),
        ROWS.replace(
            "torch.arange(n_fft // 2 + 1).double() * rate / n_fft",
            "torch.fft.rfftfreq(n_fft, 1 / rate, dtype=torch.float64)",
        ),
    ],
    "05.2": [
        BY_ROW,
        BATCH,
        BATCH.replace(
            "(strong / weak.clamp(min=1e-30) / 10 ** (snr_db / 10)).sqrt()",
            "(strong / weak.clamp(min=1e-30)).sqrt() * 10 ** (-snr_db / 20)",
        ),
        BATCH.replace(" / count", ""),
        BATCH.replace("(sound**2 * mask)", "torch.where(mask, sound, 0.0).square()"),
    ],
}

WRONG = {
    "05.1": [
        (
            ROWS.replace(
                "corners = 700 * (10 ** (corners / 2595) - 1)",
                "corners = torch.linspace(0, rate / 2, n_mels + 2, dtype=torch.float64)",
            ),
            "equally far apart in Hz",
        ),
        (
            ROWS.replace("    corners = 700 * (10 ** (corners / 2595) - 1)\n", ""),
            "the corners are still in mel",
        ),
        (ROWS.replace("math.log10", "math.log"), "the logarithm is the natural one"),
        (ROWS.replace("rate / 2 / 700", "rate / 700"), "highest corner lies at the rate"),
        (ROWS.replace(".clamp(min=0)", ""), "outside its corners"),
        (
            ROWS.replace(
                "return torch.minimum(up, down).clamp(min=0)",
                "filters = torch.minimum(up, down).clamp(min=0)\n"
                "    return filters * 2 / (corners[2:] - corners[:-2])[:, None]",
            ),
            "the triangles are scaled",
        ),
        (
            ROWS.replace(
                "return torch.minimum(up, down).clamp(min=0)",
                "filters = torch.minimum(up, down).clamp(min=0)\n"
                "    return filters / filters.sum(dim=1, keepdim=True)",
            ),
            "the triangles are scaled",
        ),
        (LOOPS.replace("filters[b, k] = (right - f) / (right - middle)", "pass"), "half of each"),
        (
            LOOPS.replace("(n_mels + 2)", "(n_mels + 1)")
            .replace("k / (n_mels + 1)", "k / n_mels")
            .replace("torch.zeros(n_mels,", "torch.zeros(n_mels - 1,")
            .replace("for b in range(n_mels)", "for b in range(n_mels - 1)"),
            "too few corners",
        ),
        (
            LOOPS.replace("(n_fft // 2 + 1)", "(n_fft // 2)").replace(
                "n_fft // 2 + 1, dtype", "n_fft // 2, dtype"
            ),
            "returned shape",
        ),
        (
            ROWS.replace(", dtype=torch.float64", "").replace(".double()", ""),
            "rounding of float32",
        ),
        (ROWS.replace("corners[:-2, None]", "corners[:-2]"), "raised RuntimeError"),
        (ROWS.replace(".clamp(min=0)", ".clamp(min=0).T"), "returned shape"),
    ],
    "05.2": [
        (BATCH.replace("10 ** (snr_db / 10)", "10 ** (snr_db / 20)"), "a ratio of amplitudes"),
        (BATCH.replace(").sqrt()\n", ")\n"), "comes squared into"),
        (BATCH.replace("snr_db / 10", "-snr_db / 10"), "a larger snr gives more noise"),
        (BATCH.replace("10 ** (snr_db / 10)", "snr_db"), "20 dB are a ratio of 100"),
        (
            BATCH.replace("(sound**2 * mask).sum(dim=1) / count", "(sound**2).mean(dim=1)").replace(
                "(noise**2 * mask).sum(dim=1) / count", "(noise**2).mean(dim=1)"
            ),
            "taken over the padding",
        ),
        (
            BATCH.replace("(noise**2 * mask).sum(dim=1) / count", "(noise**2).mean(dim=1)"),
            "taken over the padding",
        ),
        (
            BATCH.replace("strong / weak.clamp(min=1e-30)", "strong"),
            "one of the two powers is not used",
        ),
        (BATCH.replace("strong / weak", "1 / weak"), "one of the two powers is not used"),
        (
            BATCH.replace(
                "return torch.where(mask, sound + a[:, None] * noise, 0.0)",
                "return sound + a[:, None] * noise",
            ),
            "noise in the padding",
        ),
        (
            BATCH.replace("weak.clamp(min=1e-30)", "weak").replace(
                "    a = torch.where(weak > 0, a, torch.zeros_like(a))\n", ""
            ),
            "silence divides by 0",
        ),
        (BATCH.replace("a[:, None] * noise", "a * noise"), "lined up with the samples"),
        (
            BATCH.replace("sum(dim=1) / count", "sum(dim=1, keepdim=True)")
            .replace("a[:, None] * noise", "a * noise"),
            "lined up with the samples",
        ),
        (BATCH.replace("sum(dim=1)", "sum()"), "share one power"),
        (
            BATCH.replace("    count =", "    noise *= 2\n    count ="),
            "changes its argument `noise` in place",
        ),
    ],
}
