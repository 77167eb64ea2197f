"""What page 05 goes on with of the reader's own code, what its fault and its folded cells do, and
what it says of its stored runs.
"""

import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from reading import gain, said
from scipy.signal import resample_poly

from course_utils import exercises
from course_utils.audio import power_spectrogram
from course_utils.exercises import reference
from course_utils.rooms import stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


def filters_by_corners(n_mels, n_fft, rate):
    """Numpy's interpolation between the corners."""
    top = 2595 * np.log10(1 + rate / 1400)
    corners = 700 * (10 ** (np.linspace(0, top, n_mels + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(n_fft, 1 / rate)
    rows = [np.interp(bins, corners[k : k + 3], [0, 1, 0]) for k in range(n_mels)]
    return torch.tensor(np.array(rows))


def mixed_at_once(sound, noise, snr_db, mask):
    strong, weak = ((x * mask).norm(dim=1, keepdim=True) for x in (sound, noise))
    scale = torch.where(weak > 0, strong / weak, 0) * 10 ** (-snr_db[:, None] / 20)
    return torch.where(mask, sound + scale * noise, 0)


def mixed_number_by_number(sound, noise, snr_db, mask):
    """Right, and some fifty times as slow: number by number, and that over and over."""
    mixed = torch.zeros_like(sound)
    for i, here in [*enumerate(mask)] * 8:
        strong = weak = 0.0
        for x, y, there in zip(sound[i].tolist(), noise[i].tolist(), here.tolist()):
            strong, weak = strong + there * x * x, weak + there * y * y
        scale = (strong / weak / 10 ** (snr_db[i].item() / 10)) ** 0.5 if weak else 0.0
        mixed[i, here] = sound[i, here] + scale * noise[i, here]
    return mixed


@pytest.mark.parametrize("key, answer", [("05.1", filters_by_corners), ("05.2", mixed_at_once)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_mixing_that_is_far_too_slow_is_not_taken(accepted):
    taken, line = accepted("05.2", mixed_number_by_number)
    assert taken is reference("05.2")
    assert line.startswith("05.2: the course's, because yours, though right, takes ")


def test_batch_of_the_mixing_has_the_size_of_the_page():
    sound, noise, snr, mask = exercises._find("05.2").batch()
    assert sound.shape == noise.shape == mask.shape == (64, 8000) and snr.shape == (64,)


# ---- the fault ----


def test_wrong_rate_halves_a_frequency_and_resampling_mends_it():
    file = torch.sin(2 * torch.pi * 440 * torch.arange(16_000).double() / 16_000)

    def loudest(samples):
        return torch.fft.rfft(samples).abs().argmax().item() * 8_000 / len(samples)

    assert loudest(file) == 220
    assert loudest(torch.from_numpy(resample_poly(file.numpy(), 1, 2))) == 440


# ---- what stands in its folded cells ----


@pytest.fixture(scope="module")
def page():
    names = measured_cells("05")
    names["mel_filters"], names["mix_at_snr"] = reference("05.1"), reference("05.2")
    return names


def clips(lengths, size=4000):
    torch.manual_seed(0)
    mask = torch.arange(size) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), size) * mask, mask


def test_padding_does_not_reach_the_features(page):
    sound, mask = clips([4000, 2000])
    frames, heard = page["log_mels"](sound, mask)
    alone, there = page["log_mels"](sound[1:, :2000], mask[1:, :2000])
    assert heard.sum(dim=1).tolist() == [26, 13] and there.all()
    assert torch.allclose(frames[1, :13], alone[0], atol=1e-5)
    assert torch.allclose(frames[1, 13:], torch.tensor(1e-3).log())
    both = page["eighths"](frames, heard)
    assert torch.allclose(both[1], page["eighths"](alone, there)[0], atol=1e-5)


def test_each_step_can_be_left_out_alone(page):
    sound, mask = clips([4000])
    power, _ = power_spectrogram(sound, mask, hop_length=160)
    sizes = {
        name: page["cepstra"](power, **steps).shape[2] for name, steps in page["STEPS"].items()
    }
    assert list(sizes.values()) == [13, 13, 13, 40, 13, 40]
    whole = page["cepstra"](power, kept=40)
    assert torch.equal(whole[..., :13], page["cepstra"](power))
    logs = page["cepstra"](power, kept=None)
    # a rotation: nothing is lost before coefficients are cut off
    assert torch.allclose(whole.square().sum(2), logs.square().sum(2), rtol=1e-4)
    energies = page["cepstra"](power, log=False, kept=None)
    assert torch.allclose(energies.clamp(min=1e-3).log(), logs)


@pytest.mark.parametrize("name", ["SoundNet", "FrameLSTM", "WaveformNet", "Pictured"])
def test_each_reader_gives_a_vector_and_learns_in_every_part(page, name):
    sound, mask = clips([5040, 2500, 4000, 1200], 5040)
    batch = page["prepared"](sound, mask, torch.arange(4))
    width = 32 if name == "Pictured" else 64
    model = page["Classifier"](page[name](), width)
    assert model.body(batch).shape == (4, width)
    model(batch).square().sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_lstm_does_not_read_padding(page):
    reader = page["FrameLSTM"]().eval()
    heard = torch.arange(12)[None] < 7
    frames = torch.randn(1, 12, 40)
    other = torch.where(heard[..., None], frames, 9.0)
    given = [reader({"frames": one, "heard": heard}) for one in (frames, other)]
    assert torch.equal(*given)


def test_nobody_of_the_test_trains(page):
    data = {"label": torch.arange(600) % 10, "speaker": torch.arange(600) % 6}
    test = (data["speaker"] == 1) | (data["speaker"] == 4)
    parts = page["parted"](data, test, 0)
    assert set(parts["test"]["speaker"].tolist()) == {1, 4}
    assert set(parts["train"]["speaker"].tolist()) == {0, 2, 3, 5}
    assert [len(parts[split]["label"]) for split in page["SPLITS"]] == [200, 200, 200]


def test_noise_has_the_level_that_is_asked_for(page):
    sound, mask = clips([4000, 2000, 3000])
    part = {"sound": sound, "mask": mask, "label": torch.arange(3)}
    for level in (20, 0, -5):
        noisy = page["in_noise"](part, level)["sound"]
        noise = (noisy - sound) * mask
        ratio = 10 * torch.log10(sound.square().sum(1) / noise.square().sum(1))
        assert torch.allclose(ratio, torch.full((3,), float(level)), atol=1e-3)
        assert not noisy[~mask].any()
    assert torch.equal(page["in_noise"](part, None)["sound"], sound)


def test_erasing_leaves_most_and_touches_stripes_alone(page):
    torch.manual_seed(0)
    frames = torch.randn(200, 34, 40)
    heard = (torch.arange(34) < 30).expand(200, 34)
    erased = page["erased"]({"frames": frames, "heard": heard})["frames"]
    assert torch.equal(erased[:, 30:], frames[:, 30:])  # padding, which looks like silence
    gone = (erased != frames)[:, :30]
    rows, columns = gone.all(dim=2), gone.all(dim=1)  # (B, 30), (B, 40)
    assert torch.equal(gone, rows[:, :, None] | columns[:, None])
    for stripe in (rows, columns):
        widths = stripe.sum(dim=1)
        assert widths.min() == 0 and widths.max() == 8
        edges = stripe.int().diff(dim=1).abs().sum(dim=1)
        assert edges.max() <= 2  # one stripe


# ---- what the page says of its stored runs ----

PAIRS = list(combinations(range(6), 2))


@pytest.fixture(scope="module")
def text():
    return said("05")


def people(name, row):
    """The six people's accuracies."""
    own = {person: [] for person in range(6)}
    for pair, scores in zip(PAIRS, stored("05", name)[row]["by_speaker"]):
        for person, score in zip(pair, scores):
            own[person].append(score)
    return [sum(scores) / 5 for scores in own.values()]


def mean(runs):
    return 100 * sum(runs) / len(runs)


def test_steps_in_numbers(text):
    whole = people("steps", "all steps (MFCC)")
    log, _ = gain(whole, people("steps", "without the logarithm"), 6)
    assert f"The logarithm is worth {log:.0f} points on new people" in text
    mel, half = gain(whole, people("steps", "without the mel scale"), 6)
    assert mel - half < 0 < mel + half  # "these six people show nothing"
    clips = [stored("05", "steps")[row]["accuracy"]["random"] for row in stored("05", "steps")]
    mel, half = gain(clips[0], clips[1])
    assert round(mel) == 1 and mel > half and "and one point on new clips is lost" in text
    for row in ("without the DCT, 40 bands", "without the DCT, 13 bands"):
        difference, half = gain(whole, people("steps", row), 6)
        assert abs(difference) < half  # "Nor can they tell"
    cut, half = gain(whole, people("steps", "DCT, all 40 kept"), 6)
    assert cut > half and 9 < cut < 10.5 and "new people ten points worse" in text
    better, half = gain(clips[list(stored("05", "steps")).index("DCT, all 40 kept")], clips[0])
    assert better > half and "new clips are read better" in text
    wide, few = (people("steps", f"{kept} kept, one scale for all") for kept in (40, 13))
    better, half = gain(wide, people("steps", "DCT, all 40 kept"), 6)
    assert better > half and 9.5 < better < 10.5 and "the 40 gain ten points" in text
    below, half = gain(few, wide, 6)
    assert below < half and "no longer shown to be below 13" in text


def test_people_in_numbers(text):
    rows = stored("05", "heads") | stored("05", "lstm")
    rows |= stored("05", "waveform") | stored("05", "picture")
    bands, mfcc = rows["bands, linear"]["accuracy"], rows["MFCC, linear"]["accuracy"]
    assert (
        f"The bands go from {mean(bands['random']):.0f} % on new clips to"
        f" {mean(bands['speakers']):.0f} on new people, MFCC from {mean(mfcc['random']):.0f} to"
        f" {mean(mfcc['speakers']):.0f}"
    ) in text
    assert mean(bands["speakers"]) < 75 and mean(mfcc["speakers"]) < 75  # Ben
    low, high = (round(100 * score) for score in (min(mfcc["speakers"]), max(mfcc["speakers"])))
    assert f"the pairs run from {low} to {high} %" in text
    for name, row in rows.items():
        if "shuffled" not in name:
            lost = mean(row["accuracy"]["random"]) - mean(row["accuracy"]["speakers"])
            assert lost > 20 and "loses 20 points or more" in text
    assert mean(rows["MFCC, labels shuffled"]["accuracy"]["speakers"]) < 15
    ours = people("heads", "SoundNet")
    below = (
        ("lstm", "FrameLSTM"),
        ("waveform", "WaveformNet"),
        ("picture", "Pictured"),
        ("heads", "SoundNet, floor 1e-10"),
    )
    for name, row in below:
        difference, half = gain(ours, people(name, row), 6)
        assert difference > half
    assert round(difference) == 10 and "ten points for one number" in text
    difference, half = gain(ours, people("heads", "MFCC, linear"), 6)
    assert abs(difference) < half
    clips, half = gain(rows["SoundNet"]["accuracy"]["random"], mfcc["random"])
    assert 3 <= clips < 4 and clips > half and "by three points" in text


def test_pairs_are_the_fifteen(page):
    for name in ("steps", "heads", "lstm", "waveform", "picture"):
        for row in stored("05", name).values():
            assert [len(pair) for pair in row["by_speaker"]] == [2] * 15
    row = {"by_speaker": [[float(a), float(b)] for a, b in PAIRS]}
    assert page["by_person"](row) == [0, 1, 2, 3, 4, 5]
    assert people("heads", "SoundNet") == pytest.approx(
        page["by_person"](stored("05", "heads")["SoundNet"])
    )


def test_plug_in_numbers(text):
    rows = {name: row["accuracy"] for name, row in stored("05", "plug").items()}
    bands, mfcc, net = (rows[name] for name in ("bands (page 00)", "MFCC (05)", "SoundNet (05)"))
    assert f"{mean(mfcc['audio']):.0f} % by MFCC, {mean(bands['audio']):.0f} by bands" in text
    more, half = gain(mfcc["audio"], bands["audio"])
    assert round(more) == 4 and more > half and "four points more" in text
    assert f"the `SoundNet` has {mean(net['audio']):.0f}." in text
    for row in (mfcc, net):
        more, half = gain(row["all three"], bands["all three"])
        assert more < half  # "no row is shown to be above"
    control = rows["SoundNet, vectors shuffled"]["all three"]
    less, half = gain(bands["all three"], control)
    assert round(less) == 7 and less > half and "falls by seven points" in text


def test_noise_in_numbers(text):
    rows = {name: row["accuracy"] for name, row in stored("05", "noise").items()}
    clean, noisy = (
        {level: rows[f"{kind}, {level}"] for level in ("clean", 20, 10)}
        for kind in ("trained clean", "trained in noise")
    )
    assert f"with {mean(clean['clean']):.0f} % has {mean(clean[10]):.0f} at 10 dB" in text
    lost = mean(clean["clean"]) - mean(clean[20])
    assert f"lost {lost:.0f} points already" in text
    price, half = gain(clean["clean"], noisy["clean"])
    assert round(price) == 9 and price > half and "pays with nine points" in text
    assert round(mean(noisy[10])) == 92 and "Trained in noise it has 92 at 10 dB" in text
    for level in ("clean", 20, 10, 5, 0, -5, -10):
        more, half = gain(rows[f"SpecAugment, {level}"], rows[f"trained clean, {level}"])
        assert more < half  # "no gain here"


def test_one_run_of_the_plug_made_again_agrees(page):
    data = page["load"](1)
    once = stored("05", "plug")["MFCC (05)"]
    decay = once["weight_decay"]["audio"]
    model = page["train"](lambda: page["Glued"](["mfcc"]), data, 1, 30, 128, decay)
    again = page["accuracy"](model, data["test"])
    assert again == pytest.approx(once["accuracy"]["audio"][1], abs=0.04)


def test_one_model_was_trained_three_times(text):
    plug = stored("01", "plug") | stored("03", "plug") | stored("05", "plug")
    rows = [f"{name} (page 00)" for name in ("letters counted", "pixels", "bands")]
    runs = (plug[row]["accuracy"]["all three"] for row in rows)
    shown = [f"{20 * sum(run):.1f}" for run in runs]
    assert "with all three: {}, {} and {}.".format(*shown) in text


def test_the_bands_in_a_logistic_regression(text):
    random, apart = stored("09", "fsdd_random"), stored("09", "fsdd_speakers")
    scores = (random["at random"]["accuracy"], apart["same peak"]["accuracy"])
    shown = [f"{100 * sum(runs) / 15:.0f}" for runs in scores]
    assert (
        "Pages 07 and 09 fit a logistic regression to the bands and have {} and {}.".format(*shown)
        in text
    )
