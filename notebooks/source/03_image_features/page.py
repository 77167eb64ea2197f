# %% [markdown]
# # How does a picture become a vector?
#
# A picture is a block of numbers in which no single number means anything. On this page you turn it into a few dozen numbers that do: by hand on a 5 x 5 picture,
# with a small network that trains in seconds, and with a large one that others have trained.
#
# *About {minutes} minutes. You need PyTorch's basics and notebook 00. Notebooks 01 and 02 do the same for text, independently of this one.*

# %% [markdown]
# ## In this notebook you will
#
# 1. bring any picture file into the one form that a network takes, and see what goes wrong when its colours, its proportions or its scale are not what the network expects;
# 2. compute a convolution by hand, predict the size of its result, and see what a filter answers to;
# 3. train a small convolutional network, look at its feature maps and at its mistakes, and find out what it has really learned;
# 4. choose between global pooling and flattening by what happens when the picture is shifted;
# 5. take a residual block apart, and use a large network as an extractor.

# %% tags=["measured", "imports"]
# Imports.
import io

import torch
import torchvision
from ipywidgets import Dropdown, IntSlider
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

from course_utils import plots
from course_utils.datasets import Digits, collate, store
from course_utils.datasets.scenes import HELD_OUT, SHAPES, Scenes
from course_utils.exercises import check, reference
from course_utils.image import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SmallCNN,
    evaluation_transform,
    feature_maps,
    open_image,
    pixel_features,
    training_transform,
)
from course_utils.image_encoder import load_image_encoder
from course_utils.masks import masked_mean
from course_utils.metrics import mean_interval
from course_utils.report import guess, guesses, outcome, passport, report, show_source, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.training import Batches, evaluate, fit
from course_utils.widgets import Explorer

# %% tags=["measured"]
FULL = False  # True trains on four times as many scenes

# %% [markdown]
# ## A picture is numbers
#
# Two kinds of pictures keep us company. `digits` are the scans of notebook 00, gray and small. `scenes` are drawn by the course: coloured shapes on a dark ground, of which everything is known.
# A **pixel** (像素) of a colour picture is three numbers, for red, green and blue (**RGB**).

# %%
scene = Scenes("train", size=8)[3]
# (3, 64, 64) -> three times (64, 64)
red, green, blue = scene["image"]
print(
    f"shape (channels, height, width): {tuple(scene['image'].shape)}; values from {red.min():.2f}"
    f" to {red.max():.2f} in red"
)
x, y = scene["objects"][0].centre
print(f"the pixel in the middle of the {scene['objects'][0].colour} {scene['objects'][0].shape}:",
      [round(value, 2) for value in scene["image"][:, int(y), int(x)].tolist()])
plots.pictures(
    [scene["image"], red, green, blue],
    titles=["the picture", "red (dark = much)", "green", "blue"],
    columns=4,
    size=1.8,
    caption=(
        f"A scene ({scene['caption']}) and its three channels, drawn as ink on paper: dark means "
        "much of that colour."
    ),
)

# %% [markdown]
# PyTorch wants `(channels, height, width)` with floats from 0 to 1. Files come as `(height, width, channels)` with bytes from 0 to 255, and often not even that: gray scans have one channel, screenshots a
# fourth one for transparency, printers' files four inks, medical pictures 16 bits. A recipe that is often copied, here from an article on question answering, resizes, converts and normalises every file alike. This is what it makes of five files that look
# equally innocent in a file manager, beside the course's `open_image` (which does not resize).

# %%
def as_file(mode, color, size=(40, 30), format="PNG"):
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, format)
    return buffer.getvalue()

FILES = {
    "RGB": as_file("RGB", (200, 100, 50)),
    "gray": as_file("L", 120),
    "RGBA": as_file("RGBA", (200, 100, 50, 0)),
    "palette": as_file("P", 7),
    "CMYK": as_file("CMYK", (0, 128, 255, 0), format="JPEG"),
}
recipe = v2.Compose([v2.Resize((32, 32)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
                      v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
for name, data in FILES.items():
    try:
        result = f"shape {tuple(recipe(Image.open(io.BytesIO(data))).shape)}"
    except (RuntimeError, ValueError, TypeError) as error:
        result = type(error).__name__
    print(f"{name:<8} the recipe: {result:<22} open_image: shape {tuple(open_image(data).shape)}")

# %% [markdown]
# Where an error is raised one is lucky. The gray and the palette picture pass: `Normalize` spreads their single channel over three. For the gray one that is what one would want; the numbers of a palette file are no brightness, but places in a
# table of colours, and now mean nothing at all. `open_image` makes RGB of all of them and says in its docstring what happens to each kind (transparent parts are laid on white, of an animation it takes the first picture, 16 bits are divided by
# 65,535), and it refuses what it cannot know.
#
# ### Before the network: resize, crop, turn, normalise
#
# A network takes pictures of one size. `Resize((64, 64))` squeezes a wide picture; resizing the *shorter side* and cutting out the middle keeps proportions and loses the edges. For training one also varies the picture at
# random, so that the network meets every object a little larger, smaller and turned: **data augmentation** (数据增强). Never for evaluation: a test should give the same result twice.

# %%
wide = torch.full((3, 60, 100), 0.15)
# a blue square of 30 x 30
wide[:, 15:45, 35:65] = torch.tensor([0.2, 0.35, 0.8])[:, None, None]
# and something at the edge
wide[:, 20:40, 0:12] = torch.tensor([0.8, 0.35, 0.1])[:, None, None]
seed_everything(3)
augment = training_transform(64, normalise=False)
shown = [
    wide,
    v2.Resize((64, 64))(wide),
    evaluation_transform(64, normalise=False)(wide),
    *(augment(wide) for _ in range(3)),
]
plots.pictures(
    shown,
    titles=["60 x 100", "squeezed", "middle cut out", "training", "again", "and again"],
    columns=6,
    size=1.35,
    caption=(
        "A wide picture: squeezed, the square becomes a tall box; cut out, it stays a square and"
        " the edge is lost. Right: three random versions for training."
    ),
)
print(
    "evaluation twice the same:",
    torch.equal(evaluation_transform(64)(wide), evaluation_transform(64)(wide)),
)

# %% [markdown]
# Last comes **normalisation** (标准化): take the mean of a channel off and divide by its standard deviation, both measured once on the training data,
#
# $$ x'_c = \frac{x_c - \mu_c}{\sigma_c} \tag{03.1} $$
#
# so that the numbers have a common scale when training starts. A pretrained network must get the numbers that *its* training had: for ImageNet
# $\mu = (0.485, 0.456, 0.406)$ and $\sigma = (0.229, 0.224, 0.225)$.
#
# > **Exercise 03.1 · From any array to a network's input** — *10 minutes · warm-up*
# >
# > Given a picture as bytes, return what an ImageNet network expects.
# >
# > - `pixels` is a uint8 tensor: `(H, W)` gray, or `(H, W, 3)` RGB.
# > - Return `(3, H, W)` float32: from 0 to 1, then normalised once by (03.1) with `IMAGENET_MEAN` and `IMAGENET_STD`, gray as three equal channels *before* normalising.

# %% exercise="03.1"
def network_input(pixels: torch.Tensor) -> torch.Tensor:
    """A uint8 picture (H, W) or (H, W, 3) as a normalised (3, H, W) float32.

    Example: one black gray pixel [[0]] gives [[[-2.1179]], [[-2.0357]], [[-1.8044]]].
    """
    ### BEGIN SOLUTION
    if pixels.dim() == 2:
        pixels = pixels[..., None].expand(-1, -1, 3)                # (H, W) -> (H, W, 3)
    x = pixels.permute(2, 0, 1).float() / 255                       # (H, W, 3) -> (3, H, W)
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return (x - mean[:, None, None]) / std[:, None, None]           # (3, H, W)
    ### END SOLUTION

# %% [markdown] hints="03.1"
# <details><summary>A question that helps</summary>
#
# The mean and the standard deviation were measured on pixels from 0 to 1. What has to be done before they may be used?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Give a gray picture its third axis and repeat it. Bring the channels to the front. Divide by 255. Then subtract and divide channel by channel.
#
# </details>
# <details><summary>If the mean is lined up with the width</summary>
#
# The mean has three numbers and stands for channels: give it two more axes, `mean[:, None, None]`, so that it lines up with `(3, H, W)`.
#
# </details>

# %% [markdown]
# ## Convolution by hand
#
# One pixel means nothing; a small neighbourhood does: an edge, a corner, a stroke. A **convolution** (卷积) slides a small window of weights, the **kernel** (卷积核) or filter, over the picture. At each place it multiplies what it covers with its weights
# and adds up. With stride $s$, padding $P$ (a frame of zeros) and a bias $b$:
#
# $$ y_{ij} = b + \sum_{u=0}^{k-1} \sum_{v=0}^{k-1} K_{uv}\; x_{s \cdot i + u - P,\; s \cdot j + v - P} \tag{03.2} $$
#
# where $x$ is 0 outside the picture. # Below, a 5 x 5 picture that is bright on its right, and a kernel that compares right with left. Work out the first two numbers of the result on paper.

# %%
# (5, 5): dark on the left, bright on the right
picture = torch.tensor([[0., 0., 0., 1., 1.]] * 5)
kernel = torch.tensor([[-1., 0., 1.]] * 3)                          # (3, 3): right minus left
result = torch.zeros(3, 3)
for i in range(3):
    for j in range(3):
        # what the kernel covers at this place
        window = picture[i:i + 3, j:j + 3]
        result[i, j] = (window * kernel).sum()
print("result:", result.tolist())
plots.table_of_numbers(
    picture,
    rows=[f"row {i}" for i in range(5)],
    columns=[str(j) for j in range(5)],
    groups=["image"] * 5,
    caption="The picture: dark on the left, bright on the right.",
)
plots.table_of_numbers(
    result,
    rows=[f"row {i}" for i in range(3)],
    columns=[str(j) for j in range(3)],
    caption="The result: 3 wherever the window covers the edge, 0 where all is the same.",
)

# %% [markdown]
# > **Exercise 03.2 · Convolve** — *12 minutes · core*
# >
# > Write (03.2) for one channel, with stride and padding, no bias.
# >
# > - `picture` is `(H, W)`, `kernel` `(k, k)`. Return the result as `(H', W')`, as many places as fit.
# > - Loops are fine, and `F.pad`. `F.conv2d` would be accepted and teach nothing: it is for the comparison afterwards.

# %% exercise="03.2"
def convolve(
    picture: torch.Tensor, kernel: torch.Tensor, stride: int = 1, padding: int = 0
) -> torch.Tensor:
    """Slide the kernel over the picture: (H, W) and (k, k) -> (H', W').

    Example: picture [[1.0, 2.0, 3.0]], kernel [[10.0]] and stride 2 give [[10.0, 30.0]].
    """
    ### BEGIN SOLUTION
    padded, k = F.pad(picture, (padding,) * 4), len(kernel)         # (H + 2P, W + 2P)
    rows = range(0, padded.shape[0] - k + 1, stride)
    columns = range(0, padded.shape[1] - k + 1, stride)
    return torch.stack(
        [
            torch.stack([(padded[i : i + k, j : j + k] * kernel).sum() for j in columns])
            for i in rows
        ]
    )
    ### END SOLUTION

# %% [markdown] hints="03.2"
# <details><summary>A question that helps</summary>
#
# At which rows may the upper edge of the window stand, so that its lower edge is still inside?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Put the frame of zeros around the picture first. Then go through the allowed rows and columns in steps of the stride, cut out a k x k window, multiply, and add up.
#
# </details>
# <details><summary>If you see "the kernel is turned round"</summary>
#
# In mathematics a convolution flips the kernel; in deep learning, and in (03.2), it does not. (The right word would be *cross-correlation*. Nobody says it.)
#
# </details>

# %%
seed_everything(0)
ours, theirs = [], []
for seed, (stride, padding) in enumerate(((1, 0), (2, 1), (3, 2))):
    x = torch.randn(9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    K = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 10))
    ours.append(reference("03.2")(x, K, stride, padding).flatten())
    theirs.append(F.conv2d(x[None, None], K[None, None], stride=stride, padding=padding).flatten())
verify("03.2", by_hand=torch.cat(ours), reference=torch.cat(theirs))
x = torch.rand(3, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
mean, std = (
    torch.tensor(values, dtype=torch.float64)[:, None, None]
    for values in (IMAGENET_MEAN, IMAGENET_STD)
)
verify("03.1", by_hand=(x - mean) / std, reference=v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)(x))

# %% [markdown]
# How large is the result? The window's upper edge may stand at $0, s, 2s, \dots$, as long as the window fits into $n + 2P$ pixels:
#
# $$ n' = \left\lfloor \frac{n + 2P - k}{s} \right\rfloor + 1 \tag{03.3} $$
#
# The floor is not decoration. What does not fit is left out, silently: with $n = 8$, $k = 3$, $s = 2$ and no padding the last column is never looked at.
#
# > **Exercise 03.3 · What comes out of a stack?** — *8 minutes · core*
# >
# > Layers are given as `(kernel, stride, padding)`, in the order in which the picture meets them. Return how many pixels a side of `n` has at the end.
# >
# > - What does not fit is left out, as in (03.3). You may assume that every window fits at least once.

# %% exercise="03.3"
def side_after(n: int, layers: list) -> int:
    """The side after a stack of convolutions or poolings, each (kernel, stride, padding).

    Example: side_after(28, [(3, 1, 1), (2, 2, 0)]) gives 14.
    """
    ### BEGIN SOLUTION
    for kernel, stride, padding in layers:
        n = (n + 2 * padding - kernel) // stride + 1
    return n
    ### END SOLUTION

# %% [markdown] hints="03.3"
# <details><summary>A question that helps</summary>
#
# What is n for the second layer?
#
# </details>
# <details><summary>The idea in words</summary>
#
# Apply (03.3) once for each layer, always to what the layer before has left; `//` is Python's division with a floor.
#
# </details>
# <details><summary>If you are off by one</summary>
#
# Was the + 1 forgotten, or divided by the stride, too? Is it rounded down, not up? Is the frame counted on both sides?
#
# </details>

# %%
cases = [(n, k, s, P) for n in (5, 8, 13) for k in (2, 3, 5) for s in (1, 2, 3) for P in (0, 1, 2)]
by_formula = [float((n + 2 * P - k) // s + 1) for n, k, s, P in cases]
by_torch = [
    float(F.conv2d(torch.zeros(1, 1, n, n), torch.zeros(1, 1, k, k), stride=s, padding=P).shape[-1])
    for n, k, s, P in cases
]
verify("03.3", by_hand=by_formula, reference=by_torch)
convolution, dense = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(16 * 16, 8 * 16 * 16)
count = {
    name: sum(p.numel() for p in layer.parameters())
    for name, layer in (("convolution", convolution), ("dense", dense))
}
print(
    f"from 16 x 16 pixels to 8 maps of 16 x 16: convolution {count['convolution']} weights, dense"
    f" layer {count['dense']:,}"
)

# %% [markdown]
# With several channels in, each channel has a kernel of its own, and their answers are added. With several out, that is done once for each, and every result is called a **feature map** (特征图): from 3 channels to 8 maps with 3 x 3, a convolution has
# $3 \cdot 3 \cdot 3 \cdot 8 = 216$ weights and 8 biases.
#
# Eighty weights against half a million, because a convolution uses the same weights at every place. That is a statement about pictures: what is worth looking for is worth looking for everywhere. It has a consequence that one can write down. Let $K * x$ be the convolution (with stride 1) and $T$ a shift by whole pixels; away from the edges,
#
# $$ K * (T x) = T\,(K * x) \tag{03.4} $$
#
# A shifted picture gives a shifted result. This is called **translation equivariance** (平移等变性).
#
# What does a filter answer to? Here are four on one digit. Learned filters look less tidy, but the first layer of almost every network contains some like these.

# %%
x = torch.rand(3, 1, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
K = torch.randn(1, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
shifted = F.conv2d(x.roll((2, 3), dims=(2, 3)), K)                  # (3, 1, 18, 18)
verify(
    "03.4",
    by_hand=shifted[..., 2:, 3:],
    reference=F.conv2d(x, K).roll((2, 3), dims=(2, 3))[..., 2:, 3:],
)

FILTERS = {"right minus left": [[-1, 0, 1]] * 3, "below minus above": [[-1] * 3, [0] * 3, [1] * 3],
           "blur": [[1 / 9] * 3] * 3, "middle minus rim": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]}
digit = Digits("train", image_noise=0)[4]["image"]                  # (1, 16, 16)
answers = {
    name: F.conv2d(digit[None], torch.tensor(K).float()[None, None])[0, 0]
    for name, K in FILTERS.items()
}
plots.pictures(
    [
        digit[0],
        *((answer - answer.min()) / (answer.max() - answer.min()) for answer in answers.values()),
    ],
    titles=["the digit", *FILTERS],
    columns=5,
    size=1.5,
    caption=(
        "What filters answer on one digit (from white, the smallest answer, to black, the largest):"
        " one side of each stroke, its upper side, a blurred digit, its inner lines."
    ),
)

# %% [markdown]
# ## Try it: slide a filter over a digit
#
# Choose a filter and move the window. At which places is its answer large, at which is it near zero, and why is it so in the middle of a stroke, too? First three places as a fixed picture:

# %% tags=["figure"]
# A filter slides over a digit, drawn.
def slide(panels, name, row, column):
    """The digit with the window, the products under the window, and the result up to this place."""
    K = torch.tensor(FILTERS[name]).float()
    window = digit[0, row:row + 3, column:column + 3]
    answer = F.conv2d(digit[None], K[None, None])[0, 0]             # (14, 14)
    seen = answer.flatten().where(torch.arange(196) <= 14 * row + column, torch.nan).view(14, 14)
    panels[0].imshow(digit[0], cmap="gray_r", vmin=0, vmax=1)
    corner = (column - 0.5, row - 0.5)
    panels[0].add_patch(
        plots.Rectangle(corner, 3, 3, fill=False, edgecolor=plots.COLORS["image"], linewidth=2)
    )
    panels[1].imshow(window * K, cmap="PuOr_r", vmin=-2, vmax=2)
    for (i, j), value in zip([(i, j) for i in range(3) for j in range(3)], (window * K).flatten()):
        panels[1].text(j, i, f"{value:.1f}", ha="center", va="center")
    panels[2].imshow(seen, cmap="PuOr_r", vmin=-3, vmax=3)
    for ax, words in zip(panels, (name, f"adds up to {answer[row, column]:.1f}", "result so far")):
        ax.set_title(words, fontsize=9)
        ax.set_axis_off()

figure, grid = plots.axes(width=6.4, height=6.2, columns=3, rows=3)
for panels, place in zip(
    grid, (("right minus left", 5, 3), ("right minus left", 5, 7), ("right minus left", 11, 5))
):
    slide(panels, *place)
plots.show(
    figure,
    "The same filter at three places: what the window covers, times the kernel, added up, is one"
    " pixel of the result.",
)

# %% tags=["figure"]
# The widget: another filter, another place.
def render(**setting):
    figure, panels = plots.axes(width=6.4, height=2.3, columns=3)
    slide(panels, **setting)
    return figure

def describe(name, row, column):
    answer = F.conv2d(digit[None], torch.tensor(FILTERS[name]).float()[None, None])[
        0, 0, row, column
    ]
    return f"At row {row}, column {column} the filter '{name}' answers {answer:.1f}."

Explorer(
    render,
    {
        "name": Dropdown(value="below minus above", options=list(FILTERS)),
        "row": IntSlider(value=5, min=0, max=13),
        "column": IntSlider(value=3, min=0, max=13),
    },
    describe,
    caption="Left the window on the digit, in the middle the nine products, right the result.",
).show()

# %% [markdown]
# ## A small network
#
# One filter finds edges. Filters on the answers of filters find corners, strokes, loops. `SmallCNN` stacks three blocks: convolution, batch normalisation, ReLU, pooling. **Batch normalisation** (批归一化) is (03.1) inside the network: in training each channel is normalised by the mean and standard deviation of the batch at hand, in
# evaluation by running means of these, kept from training. **Pooling** (池化) keeps the largest of each 2 x 2 places. The maps get smaller and more: fewer places, more to say about each.

# %%
show_source(SmallCNN.__init__)
show_source(SmallCNN.forward)
small = SmallCNN(channels=3, width=32)
with feature_maps(small, ["blocks.0", "blocks.1", "blocks.2"]) as maps:
    features, mask = small(scene["image"][None])                    # (1, 3, 64, 64) -> (1, 64, 32)
for name, result in [("picture", scene["image"][None]), *maps.items(), ("features", features)]:
    # features: 8 x 8 = 64 places with 32 numbers each
    print(f"{name:<9} {tuple(result.shape)}")

# %% [markdown]
# Its result is one vector for each place, `(B, T, D)`, with a mask, as the fusion layers of this course take it. To decide, we pool the places and put a linear layer on top.

# %% tags=["measured"]
class Classifier(nn.Module):
    """SmallCNN, pooled, and a linear head: batch -> logits. `places` is None for global pooling,
    else flattens that many.
    """

    def __init__(self, channels, classes, places=None, width=32):
        super().__init__()
        self.cnn, self.flatten = SmallCNN(channels, width), places is not None
        self.head = nn.Linear(width * (places or 1), classes)

    def forward(self, batch):
        # (B, C, H, W) -> (B, T, D)
        features, mask = self.cnn(batch["image"])
        # (B, T * D) or (B, D)
        pooled = features.flatten(1) if self.flatten else masked_mean(features, mask)
        return self.head(pooled)


def train(make, data, seed, epochs, lr=3e-3):
    """Train the model that `make()` gives after seeding, on {"train", "validation"}."""
    generator = seed_everything(seed)
    model = make()
    fit(
        model,
        Batches(data["train"], 64, generator),
        Batches(data["validation"], 512),
        epochs=epochs,
        lr=lr,
        weight_decay=0.1,
    )
    return model


def test(model, data):
    return evaluate(model, Batches(data, 512)).accuracy

# %% tags=["measured"]
def load_digits(split, seed, **dials):
    batch = collate(list(Digits(split, seed=seed, **dials)))
    return {"image": batch["image"], "label": batch["label"]}


def load_shapes(split, seed, size, gray=False):
    """Scenes with one large object, halved to 32 x 32, from -1 to 1; the label is its shape.
    Gray: three equal channels.
    """
    scenes = Scenes(split, size=size, seed=seed, objects=(1, 1), background=0.5)
    items = [
        item for item in (scenes[i] for i in range(size)) if item["objects"][0].size == "large"
    ]
    # (N, 3, 64, 64) -> (N, 3, 32, 32)
    image = F.avg_pool2d(torch.stack([item["image"] for item in items]), 2)
    image = image.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1) if gray else image
    return {
        "image": 2 * image - 1,
        "label": torch.tensor([SHAPES.index(item["objects"][0].shape) for item in items]),
    }


class Pixels(nn.Module):
    """The baseline: a linear layer on all pixels."""

    def __init__(self, pixels=256):
        super().__init__()
        self.head = nn.Linear(pixels, 10)

    def forward(self, batch):
        return self.head(pixel_features(batch["image"]))

# %% [markdown]
# First the digits, at the default noise of notebook 00 and without noise, against a linear layer on the pixels. Five seeds are a stored sweep (`python tools/sweep.py 03 image_cnn`), one run is repeated here
# and compared: "live minus stored" should be 0.

# %%
sweep = stored("03", "image_cnn")
data = {split: load_digits(split, 0, image_noise=0) for split in ("train", "validation", "test")}
cnn = train(lambda: Classifier(1, 10, width=64), data, seed=0, epochs=15)
live = test(cnn, data["test"]) - sweep["clean: network"]["accuracy"][0]
report("clean digits, network: live minus stored", live, near=0, within=0.03)
for noise in ("clean", "noisy"):
    gains = [
        100 * (a - b)
        for a, b in zip(
            sweep[f"{noise}: network"]["accuracy"], sweep[f"{noise}: pixels, linear"]["accuracy"]
        )
    ]
    mean, half = mean_interval(gains)
    print(
        f"{noise}: network minus linear layer, in points: {mean:.1f}, interval {mean - half:.1f} to"
        f" {mean + half:.1f}"
    )
rows = [name for name in sweep if name.startswith(("clean", "noisy"))]
plots.bars(
    {
        "{1}, {0} image".format(*name.split(": ")): mean_interval(
            [100 * value for value in sweep[name]["accuracy"]]
        )
        for name in rows
    },
    label="test accuracy (%)",
    chance=10,
    caption=(
        "Handwritten digits, five seeds. On clean pictures the network is clearly better; under"
        " noise of 0.5 no gain shows."
    ),
)

# %% [markdown]
# On clean digits the network gains nine points over the pixels; under noise it gains nothing, and may well lose some. A likely reason: from 1,287 training pictures it has to find out what a stroke is while much of what it sees is noise, and a linear layer on all pixels averages noise out from the start. A network is not
# better because it is deeper: measure, each time.
#
# ### What its maps show, what it gets wrong

# %%
with feature_maps(cnn.cnn, ["blocks.0"]) as maps:
    cnn.cnn.eval()(digit[None])
# those that vary most
strongest = maps["blocks.0"][0].std(dim=(1, 2)).argsort(descending=True)[:5]
# five maps of 8 x 8
maps_shown = [maps["blocks.0"][0, k] / maps["blocks.0"][0].max() for k in strongest]
logits = evaluate(cnn, Batches(data["test"], 512)).logits
wrong = (logits.argmax(dim=1) != data["test"]["label"]).nonzero()[:, 0]
report(
    "share of the test digits that it gets wrong", len(wrong) / len(logits), near=0.04, within=0.03
)
plots.pictures(
    [digit[0], *maps_shown, *(data["test"]["image"][k, 0] for k in wrong[:6])],
    titles=[
        "a digit",
        *(f"map {k + 1}" for k in range(5)),
        *(f"{data['test']['label'][k]} read as {logits[k].argmax()}" for k in wrong[:6]),
    ],
    columns=6,
    size=1.35,
    caption=(
        "Above: one digit and the five maps of the first block that vary most (dark: a strong"
        " answer). Below: digits that it misreads."
    ),
)

# %% [markdown]
# Each map keeps another part of the digit: strokes of one direction, one side of them, the ground beside them. At some of the mistakes we would hesitate, too, at others not. A map or a mistake that *surprises* is worth more than the accuracy.
#
# ### What has it really learned?
#
# Now `scenes`: one large object on a cloudy ground, four shapes to tell apart. In the splits train, validation and test, some combinations of colour and shape never occur (red triangles, for example);
# the split `novel` shows just these. A person who has seen red circles and blue triangles has no difficulty with a red triangle. Guess the network's accuracy on `novel`, in percent, to within 12 (it reaches 100 on the test split; chance is 25).

# %%
guess("03.a", None, sure=0.5)

# %%
size = 8000 if FULL else 2000
shapes = {
    split: load_shapes(split, 0, n)
    for split, n in (("train", size), ("validation", 600), ("test", 1000), ("novel", 1000))
}
looker = train(lambda: Classifier(3, 4), shapes, seed=0, epochs=20)
print("held out:", ", ".join(" ".join(pair) for pair in HELD_OUT))
for split in ("test", "novel"):
    live, stored = test(looker, shapes[split]), sweep[f"shapes in colour: {split}"]["accuracy"][0]
    report(
        f"{split}: live minus stored",
        live - stored,
        near=0,
        within=0.02 if split == "test" else 0.2,
    )
outcome(
    "03.a", round(100 * mean_interval(sweep["shapes in colour: novel"]["accuracy"])[0]), within=12
)
BARS = {"known, colour image": "in colour: test", "new, colour image": "in colour: novel",
        "known, gray image": "in gray: test", "new, gray image": "in gray: novel"}
plots.bars(
    {
        words: mean_interval([100 * value for value in sweep[f"shapes {row}"]["accuracy"]])
        for words, row in BARS.items()
    },
    label="accuracy (%)",
    chance=25,
    caption=(
        "Which shape? Five seeds. In colour the network is perfect on known combinations and much"
        " worse on new ones; trained on gray pictures it sees brightness only, and is not misled."
    ),
)

# %% [markdown]
# The network was never told to look at shapes. It was told to predict the label, and colour helps with that: nothing red was ever a triangle. So it took a **shortcut** (捷径), and no accuracy on the usual test split could show it. Trained on gray pictures, where the shortcut does not exist, it
# learns the shape. Whoever tests on data from the same source as the training data tests the shortcut along with everything else.
#
# ### Normalise once
#
# The network above was trained on pixels from -1 to 1. A pipeline that normalises in the data set *and* in the transform does it twice, and nothing fails. What does it cost?

# %%
twice = {"image": 2 * shapes["test"]["image"] - 1, "label": shapes["test"]["label"]}
never = {"image": (shapes["test"]["image"] + 1) / 2, "label": shapes["test"]["label"]}
for words, part, near, within in (
    ("once", shapes["test"], 1.0, 0.02),
    ("twice", twice, 0.27, 0.1),
    ("never", never, 0.22, 0.1),
):
    report(f"normalised {words}", test(looker, part), near=near, within=within)
one = shapes["test"]["image"][0]
# what the network takes them for, undone once
seen = [(x + 1) / 2 for x in (one, 2 * one - 1, (one + 1) / 2)]
plots.pictures(
    [x.clamp(0, 1) for x in seen],
    titles=["once", "twice", "never"],
    columns=3,
    size=1.6,
    caption=(
        "The same picture, as a network sees it that takes everything for normalised once: 'twice'"
        " is too dark, 'never' too pale."
    ),
)

# %% [markdown]
# Nothing failed, no warning came, and a perfect network is near chance: its weights are right, but for other numbers. Normalise in one place, and print the mean of a batch once.
#
# ## Pool or flatten?
#
# Between the map `(B, C, H, W)` and a linear layer the places have to go. Three ways, of which the first is a fault:
#
# - **nothing**: `nn.Linear` acts on the last axis, which is the width. It raises an error, unless the width happens to equal its number of inputs; then it mixes columns;
# - **flatten** (展平): all places side by side, $C \cdot H \cdot W$ inputs. The layer knows what stands *where*;
# - **global average pooling** (全局平均池化): the mean over the places, $C$ inputs. It knows *what* there is, not where.

# %%
for width, words in ((10, "10 wide"), (8, "8 wide")):
    try:
        # (2, 8, 6, width) -> (2, 8, 6, 4), if it runs
        result = nn.Linear(8, 4)(torch.zeros(2, 8, 6, width))
        print(f"Linear(8, 4) on a map of 8 channels, {words}: runs, shape {tuple(result.shape)}")
    except RuntimeError as error:
        print(f"Linear(8, 4) on a map of 8 channels, {words}: {type(error).__name__}")
for side in (7, 14, 28):
    flattened, pooled = (512 * side**2 + 1) * 1000, (512 + 1) * 1000
    print(
        f"512 maps of {side} x {side}, 1,000 classes: flattened {flattened:>11,} weights, pooled"
        f" {pooled:,}"
    )

# %% [markdown]
# The price of flattening is not only in weights. Train both on digits that stand in the middle of a larger canvas, and then shift the test digits to the right, pixel by pixel. What the convolutions see is shifted along (03.4). And the heads?

# %% tags=["measured"]
def canvas(part, shift):
    """Digits in the middle of a canvas of 32 x 32, shifted to the right by 0 to 8 pixels."""
    image = torch.zeros(len(part["image"]), 1, 32, 32)
    image[:, :, 8:24, 8 + shift:24 + shift] = part["image"]
    return {"image": image, "label": part["label"]}


def shifted(seed, shifts=range(9)):
    """Accuracy at each shift of a network that pools and of one that flattens, both trained
    without any shift.
    """
    draw = {
        split: load_digits(split, seed, image_noise=0) for split in ("train", "validation", "test")
    }
    still = {split: canvas(part, 0) for split, part in draw.items()}
    models = {"pooled": train(lambda: Classifier(1, 10), still, seed, epochs=8),
              "flattened": train(lambda: Classifier(1, 10, places=16), still, seed, epochs=8)}
    return {
        name: [test(model, canvas(draw["test"], shift)) for shift in shifts]
        for name, model in models.items()
    }

# %%
live = shifted(0, shifts=(0, 8))
for name, values in live.items():
    for shift, value in zip((0, 8), values):
        stored = sweep[f"{name}: shifted by {shift}"]["accuracy"][0]
        report(
            f"{name}, shifted by {shift}: live minus stored", value - stored, near=0, within=0.08
        )
series = {
    f"{name} image": [
        mean_interval([100 * value for value in sweep[f"{name}: shifted by {k}"]["accuracy"]])
        for k in range(9)
    ]
    for name in live
}
plots.curves(
    range(9),
    series,
    xlabel="shift to the right (pixels)",
    label="test accuracy (%)",
    chance=10,
    caption=(
        "Trained in one place, tested in another, five seeds: flattened features lose their"
        " accuracy, pooled ones get it back at whole places."
    ),
)

# %% [markdown]
# Flattened, the network has learned each place by itself and knows nothing about the others: two in ten right at the end, from nine. Pooled, it has as many right at a shift of 8 as without one. In between it loses up to ten points, with wide intervals: each of the three poolings halves the map, and (03.4) holds for whole places only. A shift by 8 pixels is one whole place of the
# last map, one by 4 is whole for two of the three poolings, and there most of the accuracy is back. Where positions matter, as in "left of", pooling has forgotten them and flattening must learn each place anew;
# keep the places, `(B, T, D)`, and let a later layer attend to them. That is why our extractors return all of them.
#
# ## Deep networks: the residual block
#
# Stack thirty convolutions and little of the gradient arrives at the first. The **residual block** (残差块; He and others, 2016) adds its input to its result, so that there is always a direct way back:
#
# $$ y = \operatorname{relu}\big(F(x) + x\big), \qquad F = \text{BN} \circ \text{conv} \circ \operatorname{relu} \circ \text{BN} \circ \text{conv} \tag{03.5} $$
#
# ($F$ is read from right to left.) Here is one of torchvision's, taken apart; and then thirty plain convolutions, with and without the addition.

# %%
seed_everything(0)
block = torchvision.models.resnet.BasicBlock(8, 8).double().eval()
print("its parts:", ", ".join(name for name, _ in block.named_children()))
x = torch.cat(
    [
        torch.randn(1, 8, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for seed in range(3)
    ]
)
F_x = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))      # (3, 8, 6, 6)
verify("03.5", by_hand=(F_x + x).relu(), reference=block(x))

def first_gradient(residual, depth=30):
    """The size of the gradient that reaches the input through a stack of convolutions."""
    seed_everything(0)
    layers = [nn.Conv2d(8, 8, 3, padding=1) for _ in range(depth)]
    start = torch.randn(4, 8, 12, 12).requires_grad_()
    x = start
    for layer in layers:
        x = (layer(x) + x).relu() if residual else layer(x).relu()
    x.mean().backward()
    return start.grad.norm().item()

for words, residual in (("with", True), ("without", False)):
    power = round(torch.tensor(first_gradient(residual)).log10().item())
    print(f"thirty layers {words} the addition: a gradient of about 10^{power} reaches the input")

# %% [markdown]
# ## Networks that others have trained
#
# A network trained on the 1.3 million photographs of ImageNet has seen more edges, fur and wheels than we can show it. Take off its last layer, and what remains is an **extractor** (特征提取器). torchvision has many; the numbers below come from its own tables, and
# the networks are built on the `meta` device, without numbers.

# %%
for name, side in (("resnet18", 224), ("resnet50", 224), ("resnet101", 224), ("inception_v3", 299)):
    with torch.device("meta"):
        network = torchvision.models.get_model(
            name, weights=None, **({"init_weights": False} if "inception" in name else {})
        )
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    print(f"{name:<13} input {side} x {side}, features {network.fc.in_features:>4}, "
          f"{sum(p.numel() for p in network.parameters()) / 1e6:5.1f} million weights, "
          f"ImageNet accuracy {weights.meta['_metrics']['ImageNet-1K']['acc@1']:.1f} %")
# the shape without the knowledge
encoder = load_image_encoder("resnet18", random=True)
features, mask = encoder(evaluation_transform(96)(scene["image"])[None])
print(
    f"resnet18 on 96 x 96: {tuple(features.shape)}, 96 / 32 = 3 places a side; learned:"
    f" {encoder.trained}"
)

# %% [markdown]
# `load_image_encoder` gives the network without its last layers, frozen and always in evaluation mode, so that batch normalisation does not drift. With `random=True` it has learned nothing; without, it takes the weights from torch's cache or fetches them (45 MB). One meets listings that call a
# `ResNetFeatureExtractor` of the library transformers. It does not exist, and the class that comes nearest, an *image processor*, only resizes and normalises.
#
# If ResNet-18's weights are in torch's cache, the next cell puts a linear layer on its features of our shapes.

# %% tags=["nbval-ignore-output"]
# Not compared: a reader need not have the weights, and then this says so.
import textwrap

from sklearn.linear_model import LogisticRegression

try:
    encoder = load_image_encoder("resnet18", download=False)
    # normalised once, as *its* training was
    to_imagenet = v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    with torch.no_grad():
        features = {
            split: masked_mean(*encoder(to_imagenet(F.interpolate((part["image"] + 1) / 2, 96))))
            for split, part in shapes.items()
        }
    head = LogisticRegression(max_iter=2000).fit(features["train"], shapes["train"]["label"])
    for split in ("test", "novel"):
        print(split, f"{head.score(features[split], shapes[split]['label']):.2f}")
except (OSError, ValueError) as error:
    print(textwrap.fill(str(error), 100))

# %% [markdown]
# ## On real data
#
# MNIST, 5,000 training pictures of 28 x 28, the same small network (four epochs only) and the linear layer, five seeds in the sweep.

# %%
for name in ("MNIST: network", "MNIST: pixels, linear"):
    mean, half = mean_interval([100 * value for value in sweep[name]["accuracy"]])
    print(f"{name:<22} {mean:.1f} %, interval {mean - half:.1f} to {mean + half:.1f}")

# %% tags=["real-data", "nbval-ignore-output"]
# Not compared: without the data (18 MB, fetched once) it says how to get them.
if store.have("mnist", "fsdd"):
    public = {
        split: load_digits(split, 0, source="mnist-fsdd")
        for split in ("train", "validation", "test")
    }
    live = test(train(lambda: Classifier(1, 10, width=64), public, 0, epochs=4), public["test"])
    report(
        "MNIST, network: live minus stored",
        live - sweep["MNIST: network"]["accuracy"][0],
        near=0,
        within=0.02,
    )

# %% [markdown]
# ## Recap
#
# You can now
#
# 1. **bring** any picture to `(3, H, W)`, from 0 to 1, with its proportions, normalised once, and say what happens when one of these is missing;
# 2. **compute** a convolution, its size with the floor, and name what it buys: few weights, and a shifted answer for a shifted picture;
# 3. **train** a small network in seconds, read its maps and mistakes, and test it on combinations that it has not seen: here it had learned colours where we meant shapes;
# 4. **choose** pooling when the place does not matter, flattening when it is always the same, and the places themselves when a later layer shall look;
# 5. **take apart** a residual block, and use a large network without its head as an extractor, frozen and in evaluation mode.
#
# ## Questions
#
# <details><summary>1. A transparent PNG comes out black where it should be empty. Which step was forgotten?</summary>
#
# Its fourth channel was cut off instead of used. Under transparent pixels there is often black; lay the picture on white first.
#
# </details>
# <details><summary>2. A side of 224 goes through a convolution with kernel 7, stride 2, padding 3. What is left, and what would be left without the padding?</summary>
#
# (224 + 6 - 7) // 2 + 1 = 112, and (224 - 7) // 2 + 1 = 109.
#
# </details>
# <details><summary>3. Why has a convolution so few weights, and what does it assume about pictures?</summary>
#
# It uses the same kernel at every place. That assumes that what is worth finding is worth finding everywhere, which holds for edges in photographs and not for, say, the fields of a form.
#
# </details>
# <details><summary>4. A network has 100 % on the test split. Does it recognise shapes?</summary>
#
# It predicts the labels of pictures like those that it was trained on. Whether by shape or by colour only pictures can tell in which the two disagree.
#
# </details>
# <details><summary>5. Global pooling survives a shift. What does it lose?</summary>
#
# The place: "a circle left of a square" and "a square left of a circle" give nearly the same mean.
#
# </details>
# <details><summary>6. A frozen ResNet gives other features after some training of the head. What was forgotten?</summary>
#
# Evaluation mode. In training mode batch normalisation keeps updating its running means, even if no weight has a gradient.
#
# </details>
#
# ## Read more
#
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, *Gradient-Based Learning Applied to Document Recognition*, Proceedings of the IEEE 1998. Convolutions for digits, and MNIST.
# - K. He, X. Zhang, S. Ren, J. Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016. The residual block.
# - C. Szegedy and others, *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016. The network behind "Inception features".
# - R. Geirhos and others, *Shortcut Learning in Deep Neural Networks*, Nature Machine Intelligence 2020. What our network did with colour, in many fields.
# - R. Zhang, *Making Convolutional Networks Shift-Invariant Again*, ICML 2019. Why pooling by 2 makes waves, and what to do.
#
# ## Your guesses, your passport

# %%
guesses("03")
passport("03", model="a small convolutional network on digits and coloured shapes",
         can="features for each place of a picture, which survive a shift",
         limits="on shapes it learned colours along with them: new combinations are misread")
