"""Answers to the exercises of page 03, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

LOOPS = """
def f(x, weight, bias, stride=1, padding=0):
    x = torch.nn.functional.pad(x, (padding, padding, padding, padding))
    B, C, H, W = x.shape
    O, _, k, _ = weight.shape
    h, w = (H - k) // stride + 1, (W - k) // stride + 1
    y = torch.zeros(B, O, h, w, dtype=x.dtype)
    for b in range(B):
        for o in range(O):
            for i in range(h):
                for j in range(w):
                    window = x[b, :, i * stride : i * stride + k, j * stride : j * stride + k]
                    y[b, o, i, j] = (window * weight[o]).sum() + bias[o]
    return y
"""

NET = """
class f(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        nn = torch.nn
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(16), nn.BatchNorm2d(32), nn.BatchNorm2d(32)
        self.pool = nn.MaxPool2d(2)

    def maps(self, pictures):
        x = self.pool(torch.relu(self.bn1(self.conv1(pictures))))
        x = self.pool(torch.relu(self.bn2(self.conv2(x))))
        return torch.relu(self.bn3(self.conv3(x)))

    def forward(self, pictures):
        return self.maps(pictures).mean((2, 3))
"""

GRID = "def f(maps, grid):\n B, C, H, W = maps.shape\n h, w = H // grid, W // grid\n return {}"
CELLS = "maps.reshape(B, C, grid, h, grid, w)"

RIGHT = {
    "03.1": [
        LOOPS,
        """
        def f(x, weight, bias, stride=1, padding=0):
            return torch.nn.functional.conv2d(x, weight, bias, stride, padding)
        """,
        """
        def f(x, weight, bias, stride=1, padding=0):
            k = weight.shape[2]
            h = (x.shape[2] + 2 * padding - k) // stride + 1
            w = (x.shape[3] + 2 * padding - k) // stride + 1
            x = torch.nn.functional.pad(x, (padding,) * 4)
            y = bias[:, None, None].expand(len(x), len(weight), h, w).clone()
            for u in range(k):
                for v in range(k):
                    seen = x[:, :, u : u + stride * h : stride, v : v + stride * w : stride]
                    seen = seen[:, :, :h, :w]
                    y += torch.einsum("bchw,oc->bohw", seen, weight[:, :, u, v])
            return y
        """,
        """
        def f(x, weight, bias, stride=1, padding=0):
            x, k = torch.nn.functional.pad(x, (padding,) * 4), weight.shape[-1]
            windows = x.unfold(2, k, stride).unfold(3, k, stride)
            return torch.einsum("bchwuv,ocuv->bohw", windows, weight) + bias.view(1, -1, 1, 1)
        """,
    ],
    "03.2": [
        NET,
        """
        class f(torch.nn.Module):
            def __init__(self, channels):
                super().__init__()
                nn, layers = torch.nn, []
                for n, (a, b) in enumerate([(channels, 16), (16, 32), (32, 32)]):
                    layers += [nn.Conv2d(a, b, 3, padding="same", bias=False), nn.BatchNorm2d(b)]
                    layers += [nn.ReLU()] + [nn.MaxPool2d(2)] * (n < 2)
                self.body = nn.Sequential(*layers)
                self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

            def maps(self, pictures):
                return self.body(pictures)

            def forward(self, pictures):
                return self.mean(self.maps(pictures))
        """,
        # the pooling before ReLU gives the same: the largest stays the largest
        NET.replace(
            "self.pool(torch.relu(self.bn2(self.conv2(x))))",
            "torch.relu(self.pool(self.bn2(self.conv2(x))))",
        ),
        NET.replace(".mean((2, 3))", ".flatten(2).sum(2) / self.maps(pictures)[0, 0].numel()"),
    ],
    "03.3": [
        GRID.format(CELLS + ".mean((3, 5)).flatten(1)"),
        "def f(maps, grid): return torch.nn.functional.adaptive_avg_pool2d(maps, grid).flatten(1)",
        """
        def f(maps, grid):
            H, W = maps.shape[2] // grid, maps.shape[3] // grid
            cells = []
            for i in range(grid):
                for j in range(grid):
                    cell = maps[:, :, i * H : (i + 1) * H, j * W : (j + 1) * W]
                    cells.append(cell.mean((2, 3)))
            return torch.stack(cells, dim=2).flatten(1)
        """,
        GRID.format("torch.nn.functional.avg_pool2d(maps, (h, w)).reshape(B, -1)"),
    ],
}
CONV = "def f(x, weight, bias, stride=1, padding=0):\n F = torch.nn.functional\n return {}"
WRONG = {
    "03.1": [
        (LOOPS.replace(" + bias[o]", ""), "the bias is missing"),
        (
            LOOPS.replace(
                "(window * weight[o]).sum() + bias[o]", "(window * weight[o] + bias[o]).sum()"
            ),
            "added more than once",
        ),
        (LOOPS.replace("* weight[o])", "* weight[o].flip(1, 2))"), "the kernel is turned round"),
        (LOOPS.replace("* weight[o])", "* weight[o, 0])"), "their own part of the kernel"),
        (
            LOOPS.replace(
                "(H - k) // stride + 1, (W - k) // stride + 1",
                "(H - k) // stride, (W - k) // stride",
            ),
            "a place at the end is missing",
        ),
        (
            LOOPS.replace(
                "i * stride : i * stride + k, j * stride : j * stride + k", "i : i + k, j : j + k"
            ),
            "`stride` or `padding` is not used",
        ),
        (
            LOOPS.replace("(window * weight[o]).sum()", "(window * weight[o]).mean()"),
            "the products are averaged",
        ),
        (LOOPS.replace("x[b, :,", "x[0, :,"), "the result of the first one"),
        (
            CONV.format("F.conv2d(x, weight, stride=stride, padding=padding) + bias"),
            "lined up with the columns",
        ),
        (
            CONV.format("F.conv2d(F.pad(x, (padding, padding)), weight, bias, stride)"),
            "pads the last axis alone",
        ),
        (
            CONV.format(
                "F.conv2d(F.pad(x, (padding,) * 4, mode='replicate'), weight, bias, stride)"
            ),
            "repeats the edge",
        ),
        (CONV.format("F.conv2d(x, weight, bias)"), "returned shape"),
        (CONV.format("F.conv2d(x, weight, bias, stride, padding).sum(1)"), "returned shape"),
    ],
    "03.2": [
        (
            NET.replace("torch.relu(self.bn3(self.conv3(x)))", "self.bn3(self.conv3(x))"),
            "ReLU is missing, after",
        ),
        (NET.replace("torch.relu", ""), "ReLU is missing"),
        (
            NET.replace(
                "torch.relu(self.bn1(self.conv1(pictures)))",
                "self.bn1(torch.relu(self.conv1(pictures)))",
            )
            .replace("torch.relu(self.bn2(self.conv2(x)))", "self.bn2(torch.relu(self.conv2(x)))")
            .replace("torch.relu(self.bn3(self.conv3(x)))", "self.bn3(torch.relu(self.conv3(x)))"),
            "stands before batch",
        ),
        (
            NET.replace("self.bn1, self.bn2, self.bn3 = ", "self.norms = ")
            .replace(
                "nn.BatchNorm2d(16), nn.BatchNorm2d(32), nn.BatchNorm2d(32)",
                "[nn.BatchNorm2d(16), nn.BatchNorm2d(32), nn.BatchNorm2d(32)]",
            )
            .replace("self.bn1(", "self.norms[0](")
            .replace("self.bn2(", "self.norms[1](")
            .replace("self.bn3(", "self.norms[2]("),
            "layers in a plain list",
        ),
        (NET.replace(", bias=False", ""), "the convolutions have a bias"),
        (NET.replace("padding=1, ", ""), "the convolutions have no padding"),
        (NET.replace(".mean((2, 3))", ".mean((2, 3), keepdim=True)"), "still there, with length 1"),
        (NET.replace(".mean((2, 3))", ".flatten(1)"), "a number for each place"),
        (NET.replace(".mean((2, 3))", ".mean(1).flatten(1)"), "the mean runs over the channels"),
        (NET.replace("MaxPool2d(2)", "MaxPool2d(2, stride=1)"), "does not halve the sides"),
        (NET.replace("MaxPool2d(2)", "AvgPool2d(2)"), "keeps the mean, not the largest"),
        (
            NET.replace(
                "return torch.relu(self.bn3(self.conv3(x)))",
                "return self.pool(torch.relu(self.bn3(self.conv3(x))))",
            ),
            "a pooling after the third block",
        ),
        (NET.replace("        super().__init__()\n", ""), "raised AttributeError"),
        (
            NET.replace("return self.maps(pictures)", "return self.maps(pictures).detach()"),
            "raised RuntimeError",
        ),
    ],
    "03.3": [
        (GRID.format("maps.mean((2, 3))"), "the grid is not used"),
        (GRID.format(CELLS + ".mean((3, 5))"), "the axes of the grid are still there"),
        (GRID.format(CELLS + ".amax((3, 5)).flatten(1)"), "the largest of each cell"),
        (GRID.format("torch.nn.functional.avg_pool2d(maps, grid).flatten(1)"), "grid places wide"),
        (
            GRID.format("maps.reshape(B, C, h, grid, w, grid).mean((2, 4)).flatten(1)"),
            "every H/grid-th row",
        ),
        (
            GRID.format(CELLS + ".mean((3, 5)).permute(0, 2, 3, 1).flatten(1)"),
            "the order is another one",
        ),
        (GRID.format(CELLS + ".mean((3, 5)).flatten()"), "the samples are put behind each other"),
        (GRID.format(CELLS + ".sum((3, 5)).flatten(1)"), "the cells are added up"),
        (GRID.format("maps[:, :, ::h, ::w].flatten(1)"), "one place stands for each cell"),
        (GRID.format(CELLS + ".mean((1, 3, 5)).flatten(1)"), "the mean runs over the channels"),
    ],
}
