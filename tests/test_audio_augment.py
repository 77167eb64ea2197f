"""What is changed at random: by how much, how evenly, the same with the same seed, and nothing of
the padding.
"""

import math

import pytest
import torch

from course_utils.audio_augment import mix_at_snr, spec_augment, time_shift

LENGTHS = [900, 300, 0, 901]
MASK = torch.arange(901) < torch.tensor(LENGTHS)[:, None]
HEARD = torch.arange(90) < torch.tensor([90, 30, 0, 89])[:, None]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


SOUND = torch.randn(4, 901, generator=seeded(), dtype=torch.float64).masked_fill(~MASK, 0)
NOISE = torch.rand(4, 901, generator=seeded(1), dtype=torch.float64)
TOKENS = torch.randn(4, 90, 20, generator=seeded(2), dtype=torch.float64).masked_fill(
    ~HEARD[..., None], 0
)


def mixed(sound, mask, seed=0):
    noise = NOISE[:, : sound.shape[1]].to(sound)
    return mix_at_snr(sound, mask, torch.nn.functional.pad(noise, (0, len(sound[0]) - 901)), 3.0)


def shifted(sound, mask, seed=0):
    return time_shift(sound, mask, 200, seeded(seed))


def holed(features, mask, seed=0):
    return spec_augment(features, mask, seeded(seed))


ALL = [(mixed, SOUND, MASK), (shifted, SOUND, MASK), (holed, TOKENS, HEARD)]
NAMES = ["mix_at_snr", "time_shift", "spec_augment"]


@pytest.mark.parametrize("change, values, mask", ALL, ids=NAMES)
def test_padding_does_not_matter_and_the_input_stays(change, values, mask):
    before = values.clone()
    out = change(values, mask)
    assert torch.equal(values, before) and out.shape == values.shape and out.dtype == values.dtype
    assert not out[~mask].any() and (out != values).any()
    there = mask if values.dim() == 2 else mask[..., None].expand_as(values)
    for wrong in (math.nan, 1e30):
        assert torch.equal(change(values.masked_fill(~there, wrong), mask), out)
    room = (0, 50) if values.dim() == 2 else (0, 0, 0, 50)
    longer = change(torch.nn.functional.pad(values, room), torch.nn.functional.pad(mask, (0, 50)))
    torch.testing.assert_close(longer[:, : values.shape[1]], out, rtol=0, atol=1e-12)
    assert change(values.float(), mask).dtype == torch.float32


@pytest.mark.parametrize("change, values, mask", ALL, ids=NAMES)
def test_slopes_are_finite_where_there_is_nothing(change, values, mask):
    there = mask if values.dim() == 2 else mask[..., None].expand_as(values)
    spoiled = values.masked_fill(~there, math.nan).requires_grad_()
    (slope,) = torch.autograd.grad(change(spoiled, mask).square().sum(), spoiled)
    assert slope.isfinite().all() and not slope[~there].any() and slope.any()


@pytest.mark.parametrize("change, values, mask", ALL[1:], ids=NAMES[1:])
def test_the_same_seed_gives_the_same_and_each_row_draws_for_itself(change, values, mask):
    assert torch.equal(change(values, mask, 5), change(values, mask, 5))
    assert not torch.equal(change(values, mask, 5), change(values, mask, 6))
    twins = change(values[:1].expand(2, *values.shape[1:]), mask[:1].expand(2, -1), 5)
    assert not torch.equal(twins[0], twins[1])
    torch.manual_seed(5)
    function = time_shift if change is shifted else spec_augment
    first = function(values, mask, *([200] if change is shifted else []))
    torch.manual_seed(5)
    assert torch.equal(function(values, mask, *([200] if change is shifted else [])), first)


# ---- noise ----


@pytest.mark.parametrize("snr", [-10.0, 0, 17.5, torch.tensor([3.0, -20.0, 5.0, 40.0])])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_the_ratio_of_powers_is_the_one_asked_for(snr, scale):
    noisy = mix_at_snr(SOUND * scale, MASK, NOISE, snr)
    expected = torch.as_tensor(snr).expand(4)
    for i, length in enumerate(LENGTHS):
        if length:
            clean = (SOUND * scale)[i, :length]
            added = noisy[i, :length] - clean
            got = 10 * math.log10((clean @ clean) / (added @ added))
            assert abs(got - expected[i]) < 1e-6
            # as the noise is, only louder or softer
            torch.testing.assert_close(
                added / added.norm(), NOISE[i, :length] / NOISE[i, :length].norm()
            )
    assert not noisy[2].any()


def test_no_noise_and_torchaudios_own():
    assert torch.equal(mix_at_snr(SOUND, MASK, NOISE, math.inf), SOUND)
    torchaudio = pytest.importorskip("torchaudio")
    snr = torch.tensor([3.0, -20.0, 5.0])
    rows = [0, 1, 3]
    theirs = torchaudio.functional.add_noise(
        SOUND[rows], NOISE[rows].masked_fill(~MASK[rows], 0), snr, torch.tensor([900, 300, 901])
    )
    ours = mix_at_snr(SOUND[rows], MASK[rows], NOISE[rows], snr)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


SILENT = SOUND.clone()
SILENT[1] = 0


@pytest.mark.parametrize(
    "sound, noise, snr, error, words",
    [
        (SILENT, NOISE, 0.0, ValueError, "sound 1 is silent"),
        (SOUND, SILENT, 0.0, ValueError, "noise 1 is silent"),
        (SOUND * math.nan, NOISE, 0.0, ValueError, "sound 0 holds NaN or infinity"),
        (SOUND, NOISE / 0, 0.0, ValueError, "noise 0 holds NaN or infinity"),
        (SOUND, NOISE[:1], 0.0, ValueError, r"noise: expected torch.float64 of shape \(4, 901\)"),
        (SOUND, NOISE.float(), 0.0, ValueError, "noise: expected torch.float64 .* torch.float32"),
        (SOUND, NOISE.tolist(), 0.0, TypeError, "noise: expected a tensor, got list"),
        (
            SOUND,
            NOISE,
            math.nan,
            ValueError,
            "snr: expected decibels, or inf for no noise, got nan",
        ),
        (SOUND, NOISE, -math.inf, ValueError, "snr: expected decibels, or inf .* got -inf"),
        (SOUND, NOISE, torch.zeros(3), ValueError, "one for each of 4 sounds, got shape .3,"),
        (SOUND[0], NOISE[0], 0.0, ValueError, r"sound: expected shape \(B, S\)"),
    ],
)
def test_what_cannot_be_mixed_is_refused_by_name(sound, noise, snr, error, words):
    with pytest.raises(error, match=words):
        mix_at_snr(sound, MASK, noise, snr)


# ---- time ----


def test_a_sound_is_moved_within_its_own_length():
    count, most = 4_000, 3
    sound = torch.tensor([[1.0, 2, 3, 4, 5, 0, 0]]).expand(count, -1)
    mask = torch.tensor([[True] * 5 + [False] * 2]).expand(count, -1)
    moved = time_shift(sound, mask, most, seeded())
    seen = {tuple(row) for row in moved.int().tolist()}
    earlier = {
        (1, 2, 3, 4, 5, 0, 0),
        (2, 3, 4, 5, 0, 0, 0),
        (3, 4, 5, 0, 0, 0, 0),
        (4, 5, 0, 0, 0, 0, 0),
    }
    later = {(0, 1, 2, 3, 4, 0, 0), (0, 0, 1, 2, 3, 0, 0), (0, 0, 0, 1, 2, 0, 0)}
    assert seen == earlier | later
    # seven shifts, each as likely: 571 of 4,000, give or take four deviations
    _, counts = moved.unique(dim=0, return_counts=True)
    assert counts.min() > 571 - 89 and counts.max() < 571 + 89
    assert torch.equal(time_shift(sound, mask, 0, seeded()), sound)
    # farther than the sound is long
    far = time_shift(sound[:200], mask[:200], 1_000, seeded())
    assert far.shape == (200, 7) and far.eq(0).all(1).sum() > 190


# ---- stripes ----


def hidden(out, values):
    return out != values


def test_stripes_are_as_wide_and_lie_where_they_say():
    count = 3_000
    values = torch.randn(1, 60, 12, generator=seeded(), dtype=torch.float64).expand(count, -1, -1)
    mask = (torch.arange(60) < 40).expand(count, -1)
    out = spec_augment(
        values, mask, seeded(), n_time_masks=1, time_mask_param=6, n_freq_masks=0, p=1.0
    )
    rows = hidden(out, values)[:, :40].all(2)  # (count, 40)
    assert torch.equal(rows, hidden(out, values)[:, :40].any(2))  # whole frames
    widths = rows.sum(1)
    numbers = widths.bincount(minlength=7)
    assert len(numbers) == 7 and (numbers - count / 7).abs().max() < 4 * (count * 6 / 49) ** 0.5
    edges = (rows[:, 1:] != rows[:, :-1]).sum(1) + rows[:, 0].int() + rows[:, -1].int()
    assert set(edges[widths > 0].tolist()) == {2}  # in one piece
    assert rows.any(0).all()  # the first and the last frame too
    bands = spec_augment(values, mask, seeded(), n_time_masks=0, n_freq_masks=1, freq_mask_param=12)
    columns = hidden(bands, values)[:, :40].all(1)  # (count, 12)
    assert set(columns.sum(1).tolist()) == set(range(13)) and columns.any(0).all()


def test_at_most_a_share_of_the_frames_is_hidden():
    options = {"n_time_masks": 1, "time_mask_param": 50, "n_freq_masks": 0}
    for p, most in ((0.2, [18, 6, 0, 17]), (0.0, [0] * 4), (1.0, [50, 30, 0, 50])):
        widest = torch.zeros(4, dtype=torch.long)
        for seed in range(400):
            out = spec_augment(TOKENS, HEARD, seeded(seed), p=p, **options)
            widest = widest.maximum(hidden(out, TOKENS).any(2).sum(1))
        assert widest.tolist() == most


def test_what_is_hidden_is_the_mean_of_what_is_there():
    out = spec_augment(TOKENS, HEARD, seeded(3), n_time_masks=3, n_freq_masks=3)
    for i, count in enumerate([90, 30, 0, 89]):
        changed = hidden(out, TOKENS)[i]
        expected = TOKENS[i, :count].mean() if count else torch.tensor([])
        if count:
            assert changed.any() and not changed[count:].any()
            torch.testing.assert_close(out[i][changed], expected.expand(int(changed.sum())))
    none = spec_augment(TOKENS, HEARD, seeded(), n_time_masks=0, n_freq_masks=0)
    assert torch.equal(none, TOKENS)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: time_shift(SOUND, MASK, -1), ValueError, "max_shift: .* at least 0, got -1"),
        (lambda: time_shift(SOUND, MASK, 0.5), ValueError, "max_shift: .* at least 0, got 0.5"),
        (
            lambda: time_shift(SOUND, MASK.flip(1), 3),
            ValueError,
            "mask: .* first and padding after",
        ),
        (lambda: time_shift(SOUND.int(), MASK, 3), TypeError, "sound: expected floats"),
        (lambda: holed(TOKENS[0], HEARD), ValueError, r"features: expected shape \(B, T, D\)"),
        (
            lambda: holed(TOKENS.int(), HEARD),
            TypeError,
            "features: expected floats, got torch.int32",
        ),
        (lambda: holed(TOKENS, HEARD[:, :1]), TypeError, r"mask: expected bool of shape \(4, 90\)"),
        (lambda: holed(TOKENS, HEARD.int()), TypeError, "mask: expected bool .* got torch.int32"),
        (lambda: spec_augment(TOKENS, HEARD, p=1.5), ValueError, "p: expected a share .* got 1.5"),
        (
            lambda: spec_augment(TOKENS, HEARD, freq_mask_param=-1),
            ValueError,
            "freq_mask_param: expected a whole number of at least 0, got -1",
        ),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
