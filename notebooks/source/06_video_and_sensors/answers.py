"""Answers to the exercises of page 06, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

STEPS = """
def f(features, mask):
    both = mask[:, 1:] & mask[:, :-1]
    moved = features[:, 1:] - features[:, :-1]
    return torch.where(both[..., None], moved, 0.0), both
"""

STEP_LOOP = """
def f(features, mask):
    B, T, D = features.shape
    moved = torch.zeros(B, T - 1, D, dtype=features.dtype)
    both = torch.zeros(B, T - 1, dtype=torch.bool)
    for b in range(B):
        for t in range(1, T):
            if mask[b, t] and mask[b, t - 1]:
                moved[b, t - 1] = features[b, t] - features[b, t - 1]
                both[b, t - 1] = True
    return moved, both
"""

CLOCK = """
def f(streams, clock, max_age):
    columns, mask = [], torch.ones(len(clock), dtype=torch.bool)
    for times, values in streams:
        last = torch.searchsorted(times, clock, right=True) - 1
        age = clock - times[last.clamp(min=0)]
        mask = mask & (last >= 0) & (age <= max_age)
        columns.append(values[last.clamp(min=0)])
    table = torch.stack(columns, dim=1)
    return torch.where(mask[:, None], table, 0.0), mask
"""

CLOCK_LOOP = """
def f(streams, clock, max_age):
    table = torch.zeros(len(clock), len(streams), dtype=torch.float64)
    mask = torch.zeros(len(clock), dtype=torch.bool)
    for t, tick in enumerate(clock):
        row = []
        for times, values in streams:
            known = (times <= tick).nonzero()[:, 0]
            if len(known) and tick - times[known[-1]] <= max_age:
                row.append(values[known[-1]])
        if len(row) == len(streams):
            table[t], mask[t] = torch.stack(row), True
    return table, mask
"""

FLAGS = """
def f(rows, train):
    gone = rows.isnan()
    means = train.nanmean(dim=0).nan_to_num(0.0)
    return torch.cat([torch.where(gone, means, rows), gone.to(rows)], dim=1)
"""

FLAG_LOOP = """
def f(rows, train):
    filled, flags = rows.clone(), torch.zeros_like(rows)
    for d in range(rows.shape[1]):
        known = train[~train[:, d].isnan(), d]
        mean = known.mean() if len(known) else 0.0
        for n in range(len(rows)):
            if torch.isnan(rows[n, d]):
                filled[n, d], flags[n, d] = mean, 1.0
    return torch.cat([filled, flags], 1)
"""

RIGHT = {
    "06.1": [
        STEPS,
        STEP_LOOP,
        STEPS.replace("features[:, 1:] - features[:, :-1]", "features.diff(dim=1)"),
        STEPS.replace(
            "torch.where(both[..., None], moved, 0.0)", "moved.masked_fill(~both[..., None], 0)"
        ),
        STEPS.replace("mask[:, 1:] & mask[:, :-1]", "mask.unfold(1, 2, 1).all(2)"),
    ],
    "06.2": [
        CLOCK,
        CLOCK_LOOP,
        CLOCK.replace(
            "torch.searchsorted(times, clock, right=True) - 1",
            "(times[None] <= clock[:, None]).sum(1) - 1",
        ),
        CLOCK.replace(
            "torch.searchsorted(times, clock, right=True)",
            "torch.bucketize(clock, times, right=True)",
        ),
        CLOCK.replace("torch.where(mask[:, None], table, 0.0)", "table * mask[:, None]"),
    ],
    "06.3": [
        FLAGS,
        FLAG_LOOP,
        FLAGS.replace(
            "train.nanmean(dim=0).nan_to_num(0.0)",
            "train.nan_to_num(0.0).sum(0) / (~train.isnan()).sum(0).clamp(min=1)",
        ),
        FLAGS.replace("gone.to(rows)", "gone.float()"),
        FLAGS.replace("rows.isnan()", "rows != rows"),
    ],
}

WRONG = {
    "06.1": [
        (STEPS.replace("1:] & mask", "1:] | mask"), "where one of its two frames is there"),
        (STEPS.replace("mask[:, 1:] & mask[:, :-1]", "mask[:, 1:]"), "one of the two frames alone"),
        (
            STEPS.replace(
                "features[:, 1:] - features[:, :-1]", "features[:, :-1] - features[:, 1:]"
            ),
            "the sign is turned round",
        ),
        (STEPS.replace(", moved, 0.0)", ", moved.abs(), 0.0)"), "the sign is lost"),
        (
            STEPS.replace("torch.where(both[..., None], moved, 0.0)", "moved * both[..., None]"),
            "NaN times 0",
        ),
        (
            STEPS.replace("torch.where(both[..., None], moved, 0.0)", "moved"),
            "a lost frame is read",
        ),
        (STEPS.replace("both[..., None]", "both"), "came as shape (1, 2, 2)"),
        (
            STEPS.replace(
                "features[:, 1:] - features[:, :-1]", "features - features.roll(1, 1)"
            ).replace("mask[:, 1:] & mask[:, :-1]", "mask & mask.roll(1, 1)"),
            "roll goes round",
        ),
        (
            STEPS.replace("[:, 1:]", "[1:]").replace("[:, :-1]", "[:-1]"),
            "subtracted from each other",
        ),
    ],
    "06.2": [
        (CLOCK.replace(", right=True", ""), "of the very moment of the tick is not used"),
        (CLOCK.replace("& (last >= 0) ", ""), "the first one is taken, which comes later"),
        (
            CLOCK.replace("& (last >= 0) ", "").replace("last.clamp(min=0)", "last"),
            "Python takes the last reading",
        ),
        (CLOCK.replace(" & (age <= max_age)", ""), "the age is not used"),
        (CLOCK.replace("age <= max_age", "age < max_age"), "exactly max_age old"),
        (CLOCK.replace("torch.where(mask[:, None], table, 0.0)", "table"), "there are values left"),
        (CLOCK.replace("mask = mask & (last >= 0)", "mask = (last >= 0)"), "joined by &"),
        (
            CLOCK.replace("mask & (last >= 0)", "mask & (there := (last >= 0)")
            .replace("& (age <= max_age)", "& (age <= max_age))")
            .replace(
                "values[last.clamp(min=0)])", "torch.where(there, values[last.clamp(min=0)], 0.0))"
            )
            .replace("torch.where(mask[:, None], table, 0.0)", "table"),
            "The whole row is 0",
        ),
        (
            CLOCK.replace(
                "torch.searchsorted(times, clock, right=True) - 1",
                "(times - clock[:, None]).abs().argmin(1)",
            ).replace("clock - times[last.clamp(min=0)]", "(clock - times[last]).abs()"),
            "from after the tick is used",
        ),
        (
            CLOCK.replace(
                "torch.ones(len(clock), dtype=torch.bool)",
                "torch.zeros(len(clock), dtype=torch.bool)",
            ).replace(
                "mask & (last >= 0) & (age <= max_age)", "mask | ((last >= 0) & (age <= max_age))"
            ),
            "It needs all",
        ),
        (
            CLOCK.replace(
                "age = clock - times[last.clamp(min=0)]",
                "age = times[(last + 1).clamp(max=len(times) - 1)] - clock",
            ),
            "from the wrong end",
        ),
        (CLOCK.replace("dim=1", "dim=0").replace("mask[:, None]", "mask"), "shape"),
    ],
    "06.3": [
        (FLAGS.replace("train.nanmean", "rows.nanmean"), "those of `rows`"),
        (FLAGS.replace("torch.where(gone, means, rows)", "rows.nan_to_num(0.0)"), "filled with 0"),
        (
            FLAGS.replace("torch.where(gone, means, rows)", "rows * ~gone + means * gone"),
            "NaN times 0",
        ),
        (
            FLAGS.replace("train.nanmean(dim=0).nan_to_num(0.0)", "train.nan_to_num(0.0).mean(0)"),
            "count as 0 in its mean",
        ),
        (FLAGS.replace("train.nanmean(dim=0)", "train.nanmean()"), "one mean is used for all"),
        (FLAGS.replace("gone.to(rows)", "(~gone).to(rows)"), "turned round"),
        (FLAGS.replace(".nan_to_num(0.0)", ""), "stays NaN"),
        (
            FLAGS.replace(
                "torch.cat([torch.where(gone, means, rows), gone.to(rows)], dim=1)",
                "torch.where(gone, means, rows)",
            ),
            "the flags are missing",
        ),
        (
            FLAGS.replace(
                "    return", "    rows = torch.where(gone, means, rows)\n    return"
            ).replace("gone.to(rows)", "rows.isnan().to(rows)"),
            "made after the filling",
        ),
        (
            FLAGS.replace(
                "[torch.where(gone, means, rows), gone.to(rows)]",
                "[gone.to(rows), torch.where(gone, means, rows)]",
            ),
            "before the values",
        ),
    ],
}
