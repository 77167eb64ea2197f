"""What page 03 goes on with of the reader's own code, what its faults, its canvas and its smaller
networks are, and what it says of its stored runs.
"""

import sys

import pytest
import torch
from reading import gain, said
from torch import nn
from torch.nn import functional as F

from course_utils import exercises
from course_utils.exercises import reference
from course_utils.rooms import stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

SEEDS, PIXELS = range(5), range(9)

# ---- the reader's own code ----


def conv_by_windows(x, weight, bias, stride=1, padding=0):
    """All windows at once, by a product."""
    x, k = F.pad(x, (padding,) * 4), weight.shape[-1]
    windows = x.unfold(2, k, stride).unfold(3, k, stride)  # (B, C, H', W', k, k)
    return torch.einsum("bchwuv,ocuv->bohw", windows, weight) + bias[:, None, None]


def conv_number_by_number(x, weight, bias, stride=1, padding=0):
    """Slow and right: nothing on the page waits for this function."""
    x, k = F.pad(x, (padding,) * 4), weight.shape[-1]
    h, w = ((side - k) // stride + 1 for side in x.shape[2:])
    y = torch.zeros(len(x), len(weight), h, w, dtype=x.dtype)
    for b, o, i, j in torch.cartesian_prod(*map(torch.arange, y.shape)).tolist():
        window = x[b, :, i * stride : i * stride + k, j * stride : j * stride + k]
        y[b, o, i, j] = (window * weight[o]).sum() + bias[o]
    return y


class NetOfLists(nn.Module):
    """Convolutions and norms in two lists, the pooling by windows."""

    def __init__(self, channels):
        super().__init__()
        sizes = ((channels, 16), (16, 32), (32, 32))
        self.norms = nn.ModuleList([nn.BatchNorm2d(after) for _, after in sizes])
        self.convs = nn.ModuleList([nn.Conv2d(*both, 3, 1, 1, bias=False) for both in sizes])

    def maps(self, pictures):
        for k, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            pictures = norm(conv(pictures)).clamp(min=0)
            if k < 2:
                pictures = pictures.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
        return pictures

    def forward(self, pictures):
        return self.maps(pictures).flatten(2).mean(2)


def grid_cell_by_cell(maps, grid):
    h, w = maps.shape[2] // grid, maps.shape[3] // grid
    cells = []
    for i in range(grid):
        for j in range(grid):
            cells.append(maps[:, :, i * h : (i + 1) * h, j * w : (j + 1) * w].mean((2, 3)))
    return torch.stack(cells, dim=2).flatten(1)


def grid_by_area(maps, grid):
    return F.interpolate(maps, size=(grid, grid), mode="area").flatten(1)


def grid_without_gradient(maps, grid):
    return grid_by_area(maps, grid).detach()


def grid_map_by_map(maps, grid):
    """Sample by sample, channel by channel."""
    rows = [[grid_cell_by_cell(one[None, None], grid) for one in sample] for sample in maps]
    return torch.stack([torch.cat(row, dim=1)[0] for row in rows])


@pytest.mark.parametrize(
    "key, answer",
    [
        ("03.1", conv_by_windows),
        ("03.1", conv_number_by_number),
        ("03.2", NetOfLists),
        ("03.3", grid_cell_by_cell),
        ("03.3", grid_by_area),
    ],
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_a_grid_that_lets_no_gradient_through_is_not_taken(accepted):
    taken, said = accepted("03.3", grid_without_gradient)
    assert taken is reference("03.3")
    assert said == "03.3: the course's, because no gradient comes through yours to `maps`\n"


def test_a_grid_that_is_far_too_slow_is_not_taken(accepted):
    taken, said = accepted("03.3", grid_map_by_map)
    assert taken is reference("03.3")
    assert said.startswith("03.3: the course's, because yours, though right, takes ")


def test_batch_of_the_grid_has_the_size_of_the_page():
    maps, grid = exercises._find("03.3").batch()
    assert maps.shape == (64, 32, 4, 4) and maps.requires_grad and grid == 2


# ---- what stands in its folded cells ----


@pytest.fixture(scope="module")
def page():
    names = measured_cells("03")
    names["PictureNet"], names["pool_grid"] = reference("03.2"), reference("03.3")
    return names


def test_canvas_shifts_a_digit_without_loss(page):
    image = torch.rand(3, 1, 16, 16)
    for pixels in PIXELS:
        moved = page["canvas"]({"image": image, "label": None}, pixels)["image"]
        assert moved.shape == (3, 1, 16, 32)
        assert torch.equal(moved[..., 4 + pixels : 20 + pixels], image)
        assert torch.equal(moved.sum(), image.sum()) or moved.sum() == pytest.approx(
            image.sum().item(), rel=1e-5
        )


def test_canvas_shifts_each_picture_by_its_own_number(page):
    image = torch.rand(3, 1, 16, 16)
    moved = page["canvas"]({"image": image, "label": None}, torch.tensor([0, 5, 8]))["image"]
    for k, pixels in enumerate((0, 5, 8)):
        assert torch.equal(moved[k, :, :, 4 + pixels : 20 + pixels], image[k])


@pytest.mark.parametrize(
    "name, places, side",
    [
        ("two convolutions", 8, 8),
        ("two, batch norm", 8, 8),
        ("three, the last 1 x 1, batch norm", 4, 10),
        ("three, batch norm (PictureNet)", 4, 18),
    ],
)
def test_smaller_networks_differ_as_the_page_says(page, name, places, side):
    """Places of the maps of a digit; pixels that one place sees, by the gradient of many draws."""
    torch.manual_seed(0)
    layers = page["Stack"](*page["STACKS"][name], 1).layers.eval()
    assert layers(torch.rand(1, 1, 16, 16)).shape == (1, 32, places, places)
    pictures = torch.rand(300, 1, 40, 40, requires_grad=True)
    maps = layers(pictures)
    middle = maps.shape[2] // 2
    maps[:, :, middle, middle].sum().backward()
    seen = (pictures.grad.abs().sum((0, 1)) > 0).any(0).sum().item()
    assert seen == side


def test_last_smaller_network_is_the_reference(page):
    stack = page["Stack"](*page["STACKS"]["three, batch norm (PictureNet)"], 1)
    net = reference("03.2")(1)
    assert [p.shape for p in stack.layers.parameters()] == [p.shape for p in net.parameters()]
    for mine, theirs in zip(net.parameters(), stack.layers.parameters()):
        mine.data.copy_(theirs.data)
    pictures = torch.rand(4, 1, 16, 16)
    assert torch.allclose(net.eval().maps(pictures), stack.layers.eval()(pictures), atol=1e-6)


def test_combinations_never_occur_in_training_and_each_part_does(page):
    train = page["load_shapes"]("train", 0, 400)
    novel = page["load_shapes"]("novel", 0, 200)
    assert set(train["pair"].tolist()) == {-1} and train["label"].unique().tolist() == [0, 1, 2, 3]
    assert set(novel["pair"].tolist()) == {0, 1, 2, 3}


def test_flattened_network_made_again_agrees(page):
    """One run of the sweep: the canvas, the training and the test of seed 1."""
    data = {split: page["load_digits"](split, 1, image_noise=0) for split in page["SPLITS"]}
    model = page["train_shifted"]("flattened", data, 1)
    rows = stored("03", "shift")
    for pixels in (0, 4, 8):
        again = page["accuracy"](model, page["canvas"](data["test"], pixels))
        assert again == pytest.approx(rows[f"flattened, {pixels}"]["accuracy"][1], abs=0.05)


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("03")


def of(name, row):
    return stored("03", name)[row]["accuracy"]


def percent(runs):
    return 100 * sum(runs) / len(runs)


def test_digits_clean_and_noisy_in_words(text):
    clean, _ = gain(of("digits", "clean: PictureNet"), of("digits", "clean: pixels, linear"))
    noisy, _ = gain(of("digits", "noisy: PictureNet"), of("digits", "noisy: pixels, linear"))
    assert (round(clean), round(noisy)) == (8, -15)
    assert "eight points better" in text and "fifteen points *worse*" in text


def test_colours_in_numbers(text):
    known = [100 * run for run in of("colours", "held out: known")]
    assert f"the network has {min(known):.0f} to {max(known):.0f} %" in text
    red = [100 * run for run in of("colours", "held out: red triangle")]
    assert f"red triangles from {min(red):.0f} to {max(red):.0f} %" in text
    green = of("colours", "held out: green circle")
    assert sum(run == 0 for run in green) == 2 and round(100 * max(green)) == 53
    assert "green circles 0 in two runs and 53 in one" in text
    pairs = ("red triangle", "yellow square", "green circle", "blue cross")
    runs = [run for pair in pairs for run in of("colours", f"held out: {pair}")]
    below = sum(run < 0.25 for run in runs)
    assert f"worse than chance in {below} of {len(runs)} cases" in text
    shown = [100 * run for pair in pairs for run in of("colours", f"shown: {pair}")]
    assert f"all four are read at {min(shown):.0f} to {max(shown):.0f} %" in text


def test_shift_in_numbers(text):
    flat = [percent(of("shift", f"flattened, {pixels}")) for pixels in PIXELS]
    assert f"falls from {flat[0]:.0f} to {flat[8]:.0f} %" in text
    anywhere = [percent(of("shift", f"flattened, trained anywhere, {pixels}")) for pixels in PIXELS]
    assert f"has {min(anywhere):.0f} to {max(anywhere):.0f} % at each" in text
    assert round(percent(of("shift", "one mean, 8"))) == 94 and "has 94 % at eight pixels" in text


def test_one_mean_between_whole_places():
    still = of("shift", "one mean, 0")
    between = [gain(of("shift", f"one mean, {pixels}"), still)[0] for pixels in (2, 3, 6, 7)]
    assert all(-3.5 < one < -2 for one in between)  # "up to three points less"
    for pixels in (1, 2, 3, 5, 6, 7):  # "hardly shown by five seeds"
        mean, half = gain(of("shift", f"one mean, {pixels}"), still)
        assert -3.5 < mean < 0 and -mean < half + 0.2
    for pixels in (4, 8):
        mean, half = gain(of("shift", f"one mean, {pixels}"), still)
        assert abs(mean) < 1 and mean - half < 0 < mean + half


def test_what_a_mean_needs_in_numbers(text):
    one = {name: of("pooling", f"{name}, 1 x 1") for name in NETWORKS}
    four = {name: of("pooling", f"{name}, 2 x 2") for name in NETWORKS}
    two, norm, third, whole = NETWORKS
    assert f"one mean leaves {percent(one[two]):.0f} %" in text
    assert f"a grid of 2 x 2 leaves {percent(four[two]):.0f}:" in text
    assert f"is worth {gain(four[two], one[two])[0]:.0f} points" in text
    mean, half = gain(one[third], one[norm])
    assert round(mean) == 16 and mean - half > 0
    assert "A third layer with its pooling does, even" in text
    for after, before in ((norm, two), (whole, third)):  # "nothing"
        mean, half = gain(one[after], one[before])
        assert mean - half < 0 < mean + half
    mean, half = gain(four[whole], one[whole])
    assert round(mean) == 11 and mean - half > 0 and "about eleven points from the grid" in text


NETWORKS = [
    "two convolutions",
    "two, batch norm",
    "three, the last 1 x 1, batch norm",
    "three, batch norm (PictureNet)",
]


def test_plug_in_numbers(text):
    rows = {name: row["accuracy"] for name, row in stored("03", "plug").items()}
    net, pixels = rows["PictureNet (03)"], rows["pixels (page 00)"]
    shuffled = rows["PictureNet, vectors shuffled"]
    assert f"{percent(net['image']):.0f} against {percent(pixels['image']):.0f} %" in text
    mean, half = gain(net["all three"], pixels["all three"])
    assert round(mean) == 2 and mean - half > 0 and "by about two points" in text
    mean, half = gain(net["all three"], shuffled["all three"])
    assert round(mean) == 4 and mean - half > 0 and "about four points" in text
    noisy = percent(of("digits", "noisy: PictureNet"))
    shown = f"(The network of the last section has {noisy:.0f}, with the head that was trained"
    assert f"{shown} along" in text
