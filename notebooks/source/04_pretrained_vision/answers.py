"""Answers to the exercises of page 04, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

BLOCK = """
class f(torch.nn.Module):
    def __init__(self, channels, maps, stride=1):
        super().__init__()
        nn = torch.nn
        self.conv1 = nn.Conv2d(channels, maps, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(maps, maps, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(maps), nn.BatchNorm2d(maps)
        self.down = None
        if stride != 1 or channels != maps:
            point = nn.Conv2d(channels, maps, 1, stride, bias=False)
            self.down = nn.Sequential(point, nn.BatchNorm2d(maps))

    def forward(self, x):
        way = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.down is not None:
            x = self.down(x)
        return torch.relu(way + x)
"""

PROBE = (
    "\ndef f(features, targets, new, penalty):\n"
    " mean, deviation = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)\n"
    " x, z = (features - mean) / deviation, (new - mean) / deviation\n"
    " level = targets.mean(0)\n"
    " A = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype)\n"
    " W = torch.linalg.solve(A, x.T @ (targets - level))\n"
    " return z @ W + level\n"
)

RIGHT = {
    "04.1": [
        BLOCK,
        """
        class f(torch.nn.Module):
            def __init__(self, channels, maps, stride):
                super().__init__()
                from torchvision.models.resnet import BasicBlock

                down = None
                if (channels, stride) != (maps, 1):
                    point = torch.nn.Conv2d(channels, maps, 1, stride, bias=False)
                    down = torch.nn.Sequential(point, torch.nn.BatchNorm2d(maps))
                self.block = BasicBlock(channels, maps, stride, down)

            def forward(self, x):
                return self.block(x)
        """,
        """
        class f(torch.nn.Module):
            def __init__(self, channels, maps, stride):
                super().__init__()
                nn = torch.nn
                self.shortcut = nn.Identity()
                if channels != maps or stride > 1:
                    self.shortcut = nn.Sequential(
                        nn.Conv2d(channels, maps, 1, stride=stride, bias=False),
                        nn.BatchNorm2d(maps),
                    )
                self.way = nn.Sequential(
                    nn.Conv2d(channels, maps, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(maps),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(maps, maps, 3, padding=1, bias=False),
                    nn.BatchNorm2d(maps),
                )

            def forward(self, x):
                y = self.shortcut(x) + self.way(x)
                return torch.nn.functional.relu(y, inplace=True)
        """,
        BLOCK.replace("torch.relu(way + x)", "(x + way).clamp(min=0)"),
        BLOCK.replace("nn.Conv2d(channels, ", "nn.LazyConv2d("),
    ],
    "04.2": [
        PROBE,
        # the constant as a column that is not penalised
        """
        def f(features, targets, new, penalty):
            mean = features.mean(dim=0, keepdim=True)
            deviation = features.var(dim=0, correction=0).sqrt().clamp(min=1e-6)
            x = torch.cat([(features - mean) / deviation, features.new_ones(len(features), 1)], 1)
            z = torch.cat([(new - mean) / deviation, new.new_ones(len(new), 1)], 1)
            diagonal = x.new_full((x.shape[1],), penalty)
            diagonal[-1] = 0
            return z @ torch.linalg.solve(x.T @ x + diagonal.diag(), x.T @ targets)
        """,
        """
        def f(features, targets, new, penalty):
            from sklearn.linear_model import Ridge
            from sklearn.preprocessing import StandardScaler

            deviation = features.std(0, correction=0).clamp(min=1e-6)
            x, z = (features - features.mean(0)) / deviation, (new - features.mean(0)) / deviation
            said = Ridge(alpha=penalty).fit(x.numpy(), targets.numpy()).predict(z.numpy())
            return torch.tensor(said).reshape(len(new), targets.shape[1])
        """,
        """
        def f(features, targets, new, penalty):
            deviation = torch.clamp(features.std(dim=0, unbiased=False), min=1e-6)
            x = (features - features.mean(0)) / deviation
            z = (new - features.mean(0)) / deviation
            inverse = torch.linalg.inv(x @ x.T + penalty * torch.eye(len(x)).to(x))
            return targets.mean(0) + z @ x.T @ inverse @ (targets - targets.mean(0))
        """,
    ],
}

WRONG = {
    "04.1": [
        (BLOCK.replace("torch.relu(way + x)", "torch.relu(way) + x"), "before the addition"),
        (BLOCK.replace("torch.relu(way + x)", "way + x"), "goes out without a ReLU"),
        (BLOCK.replace("torch.relu(way + x)", "torch.relu(way)"), "x does not come back"),
        (BLOCK.replace("torch.relu(self.bn1(self.conv1(x)))", "self.bn1(self.conv1(x))"), "linear"),
        (BLOCK.replace("self.bn2(self.conv2", "self.bn1(self.conv2"), "one layer is used twice"),
        (BLOCK.replace("maps, 1, stride, bias", "maps, 1, bias"), "come out in different sizes"),
        (BLOCK.replace("if stride != 1 or channels != maps", "if channels != maps"), "Either of"),
        (BLOCK.replace("if stride != 1 or channels != maps", "if stride != 1"), "Either of"),
        (BLOCK.replace("if stride != 1 or channels != maps", "if True"), "where x fits as it is"),
        (BLOCK.replace(", bias=False", ""), "have a bias"),
        (BLOCK.replace("3, 1, 1, bias", "3, stride, 1, bias"), "belongs to the first convolution"),
        (BLOCK.replace("nn.Sequential(point, nn.BatchNorm2d(maps))", "point"), "no batch norm"),
        (
            BLOCK.replace("return torch.relu(way + x)", "x += way\n        return torch.relu(x)"),
            "in place",
        ),
        (BLOCK.replace("way + x", "torch.cat([way, x], dim=1)"), "x does not come back"),
        (BLOCK.replace("3, stride, 1, bias", "3, stride, bias"), "raised"),
    ],
    "04.2": [
        (
            PROBE.replace(
                "(new - mean) / deviation",
                "(new - new.mean(0)) / new.std(0, correction=0).clamp(min=1e-6)",
            ),
            "scaled by their own mean",
        ),
        (PROBE.replace("return z @ W + level", "return z @ W"), "the targets' mean is missing"),
        (PROBE.replace("return z @ W + level", "return new @ W + level"), "the new ones are not"),
        (PROBE.replace("penalty * torch.eye", "torch.eye"), "not right yet"),
        (PROBE.replace(" + penalty * torch.eye(x.shape[1], dtype=x.dtype)", ""), "the penalty is"),
        (PROBE.replace("penalty *", "penalty * len(x) *"), "the penalty is not"),
        (PROBE.replace("penalty * torch.eye(x.shape[1], dtype=x.dtype)", "penalty"), "the penalty"),
        (PROBE.replace("correction=0", "correction=1"), "divides by N - 1"),
        (PROBE.replace(".clamp(min=1e-6)", ""), "0 / 0 is NaN"),
        (PROBE.replace("return z @ W + level", "return (z @ W + level).argmax(1)"), "scores them"),
        (
            PROBE.replace("return z @ W + level", "return (z @ W + level).softmax(-1)"),
            "scores them",
        ),
        (
            PROBE.replace(" / deviation, (new - mean) / deviation", ", new - mean"),
            "not divided by their deviation",
        ),
        (
            PROBE.replace("mean(0), features.std(0, ", "mean(), features.std("),
            "one number for all features",
        ),
        (PROBE.replace("dtype=x.dtype", "dtype=torch.float32").replace("x.T @ x", "x"), "raised"),
    ],
}
