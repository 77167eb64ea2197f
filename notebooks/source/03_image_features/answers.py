"""Answers to the exercises of page 03, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

NUMBERS = " m, s = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])\n"
INPUT = (  # of gray, of colours, result
    "def f(pixels):\n"
    + NUMBERS
    + " x = {} if pixels.ndim == 2 else {}\n M, S = m[:, None, None], s[:, None, None]\n return {}"
)
GRAY, COLOURS, NORMAL = "pixels.repeat(3, 1, 1)", "pixels.permute(2, 0, 1)", "(x / 255 - M) / S"
# what happens to gray
BY_GRAY = (
    "def f(pixels):\n"
    + NUMBERS
    + " M, S = m[:, None, None], s[:, None, None]\n {}\n return "
    + "(pixels.permute(2, 0, 1) / 255 - M) / S"
)
CONVOLVE = (  # frame, rows, columns, window, value
    "def f(picture, kernel, stride, padding):\n (H, W), k, s, P, pad = picture.shape, len(kernel),"
    " stride, padding, torch.nn.functional.pad\n x = {}\n rows, columns, K, result = {}, {},"
    " kernel, []\n for i in rows:\n  result.append([])\n  for j in columns:\n   window = {}\n  "
    " result[-1].append({})\n return torch.tensor(result)"
)
SIZED = (  # frame, height, width, window: the result is made first, and then filled
    "def f(picture, kernel, stride, padding):\n (H, W), k, s, P, pad = picture.shape, len(kernel),"
    " stride, padding, torch.nn.functional.pad\n x = {}\n y = torch.zeros({}, {})\n for i in"
    " range(y.shape[0]):\n  for j in range(y.shape[1]):\n   y[i, j] = ({} * kernel).sum()\n"
    " return y"
)
FRAME, ROWS, COLUMNS = (
    "pad(x := picture, (P, P, P, P))",
    "range(0, len(x) - k + 1, s)",
    "range(0, len(x[0]) - k + 1, s)",
)
WINDOW, VALUE, HIGH, WIDE = (
    "x[i:i + k, j:j + k]",
    "(window * K).sum()",
    "(H + 2 * P - k) // s + 1",
    "(W + 2 * P - k) // s + 1",
)
STEP = "x[i * s:i * s + k, j * s:j * s + k]"
CONV2D = (
    "def f(picture, kernel, stride, padding):\n y = torch.nn.functional.conv2d({}, {},"
    " stride=stride, padding=padding)\n return {}"
)
X, K = "picture[None, None]", "kernel[None, None]"
SIDE = "def f(n, layers):\n for k, s, P in layers:\n  n = {}\n return n"
RAISING = (
    "def f(n, layers):\n for k, s, P in layers:\n  if {}: raise ValueError('too large')\n  n = {}\n"
    " return n"
)

RIGHT = {
    "03.1": [
        """
        def f(pixels):
            x = pixels if pixels.dim() == 3 else torch.stack([pixels] * 3, dim=-1)
            x = x / 255
            x = (x - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
            return x.permute(2, 0, 1)
        """,
        """
        def f(pixels):
            from torchvision.transforms.functional import normalize
            if pixels.ndim == 2:
                x = pixels.unsqueeze(0).repeat(3, 1, 1)
            else:
                x = torch.movedim(pixels, -1, 0)
            return normalize(x.float().div(255), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        """,
        """
        def f(pixels):
            array = np.asarray(pixels, dtype=np.float64) / 255
            if array.ndim == 2:
                array = np.dstack([array, array, array])
            array = (array - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
            return torch.from_numpy(array.transpose(2, 0, 1)).float()
        """,
        """
        def f(pixels):
            mean = 255 * torch.tensor([0.485, 0.456, 0.406])
            std = 255 * torch.tensor([0.229, 0.224, 0.225])
            if pixels.dim() == 2:
                pixels = pixels.unsqueeze(2)
            return torch.einsum("hwc->chw", (pixels - mean) / std)
        """,
        """
        def f(pixels):
            H, W = pixels.shape[:2]
            result = torch.empty(3, H, W)
            for c, (m, s) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
                for i in range(H):
                    for j in range(W):
                        byte = pixels[i, j] if pixels.dim() == 2 else pixels[i, j, c]
                        result[c, i, j] = (byte.item() / 255 - m) / s
            return result
        """,
    ],
    "03.2": [
        """
        def f(picture, kernel, stride=1, padding=0):
            x, k = picture[None, None], kernel[None, None]
            return torch.nn.functional.conv2d(x, k, stride=stride, padding=padding)[0, 0]
        """,
        """
        def f(picture, kernel, stride=1, padding=0):
            x = torch.nn.functional.pad(picture, (padding, padding, padding, padding))
            k = len(kernel)
            H, W = (x.shape[0] - k) // stride + 1, (x.shape[1] - k) // stride + 1
            result = torch.zeros(H, W)
            for i in range(H):
                for j in range(W):
                    top, left = i * stride, j * stride
                    result[i, j] = (x[top:top + k, left:left + k] * kernel).sum()
            return result
        """,
        """
        def f(picture, kernel, stride=1, padding=0):
            x, k = torch.nn.functional.pad(picture, [padding] * 4), kernel.shape[0]
            return torch.einsum("hwuv,uv->hw", x.unfold(0, k, stride).unfold(1, k, stride), kernel)
        """,
        """
        def f(picture, kernel, stride=1, padding=0):
            (H, W), k = picture.shape, len(kernel)
            result = []
            for top in range(-padding, H + padding - k + 1, stride):
                row = []
                for left in range(-padding, W + padding - k + 1, stride):
                    total = 0.0
                    for u in range(k):
                        for v in range(k):
                            if 0 <= top + u < H and 0 <= left + v < W:
                                total += float(kernel[u, v]) * float(picture[top + u, left + v])
                    row.append(total)
                result.append(row)
            return torch.tensor(result)
        """,
        """
        def f(picture, kernel, stride=1, padding=0):
            x, k = torch.nn.functional.pad(picture.double(), (padding,) * 4), len(kernel)
            full = torch.nn.functional.unfold(x[None, None], k)[0].T @ kernel.double().flatten()
            return full.reshape(x.shape[0] - k + 1, -1)[::stride, ::stride]
        """,
    ],
    "03.3": [
        """
        def f(n, layers):
            for k, s, P in layers:
                if k > n + 2 * P:
                    raise ValueError("too large")
                n = math.floor((n + 2 * P - k) / s + 1)
            return n
        """,
        """
        def f(n, layers):
            if not layers:
                return n
            (k, s, P), *rest = layers
            places = [top for top in range(-P, n + P, s) if top + k <= n + P]
            if not places:
                raise ValueError
            return f(len(places), rest)
        """,
        """
        def f(n, layers):
            x = torch.zeros(1, 1, n)
            for k, s, P in layers:
                try:
                    x = torch.nn.functional.conv1d(x, torch.zeros(1, 1, k), stride=s, padding=P)
                except RuntimeError as error:
                    raise ValueError from error
            return x.shape[-1]
        """,
        """
        def f(n, layers):
            # a floor at the end alone gives the same: only whole numbers are added in between
            for layer in layers:
                n = (n + 2 * layer[2] - layer[0]) / layer[1] + 1
            return int(n + 1e-9)
        """,
        """
        def f(n, layers):
            for k, s, P in layers:
                assert n + 2 * P >= k
                n = (n + 2 * P - k + s) // s
            return n
        """,
    ],
}
WRONG = {
    "03.1": [
        (INPUT.format(GRAY, COLOURS, "(x - M) / S"), "the bytes are not divided by 255"),
        (INPUT.format(GRAY, COLOURS, "(x.double() - M) / S"), "the bytes are not divided by 255"),
        (INPUT.format(GRAY, COLOURS, "(x.float() - 255 * M) / S"), "not in the same range"),
        (INPUT.format(GRAY, COLOURS, "(x / 256 - M) / S"), "divided by 256"),
        (INPUT.format(GRAY, COLOURS, "((x - M) / S) / 255"), "normalised before dividing by 255"),
        (INPUT.format(GRAY, COLOURS, "(x // 255 - M) / S"), "divided by 255 as whole numbers"),
        (
            INPUT.format(GRAY, COLOURS, "((x / 255).long() - M) / S"),
            "divided by 255 as whole numbers",
        ),
        (INPUT.format(GRAY, COLOURS, "(x / 255 / 255 - M) / S"), "divided by 255 twice"),
        (INPUT.format(GRAY, COLOURS, "((x / 255 - M) / S - M) / S"), "normalised twice"),
        (INPUT.format(GRAY, COLOURS, "x.float() / 255"), "but not normalised"),
        (INPUT.format(GRAY, COLOURS, "x.float()"), "these are the bytes themselves"),
        (INPUT.format(GRAY, COLOURS, "x"), "these are the bytes themselves"),
        (INPUT.format(GRAY, COLOURS, "x / 255 / S"), "the mean is not taken off"),
        (INPUT.format(GRAY, COLOURS, "x / 255 - M"), "the standard deviation is not used"),
        (INPUT.format(GRAY, COLOURS, "(x / 255 - M) * S"), "multiplied by the standard deviation"),
        (INPUT.format(GRAY, COLOURS, "(x / 255 - M) / S ** 2"), "divided by the variance"),
        (INPUT.format(GRAY, COLOURS, "(x / 255 - M) / S.sqrt()"), "divided by the variance"),
        (INPUT.format(GRAY, COLOURS, "(x / 255 + M) / S"), "the mean is added"),
        (
            INPUT.format(GRAY, COLOURS, "(x / 255 - S) / M"),
            "mean and standard deviation are swapped",
        ),
        (INPUT.format(GRAY, COLOURS, "x / 255 * S + M"), "this is the way back"),
        (
            INPUT.format(GRAY, COLOURS, "x / 255 / S - M"),
            "the mean is taken off after the division",
        ),
        (
            INPUT.format(
                GRAY,
                COLOURS,
                "(x - x.float().mean((1, 2), keepdim=True)) / x.float().std((1, 2), correction=0,"
                " keepdim=True)",
            ),
            "the picture's own mean and standard deviation",
        ),
        (
            INPUT.format(
                GRAY, COLOURS, "(x / 255 - (x / 255).mean()) / (x / 255).std(correction=0)"
            ),
            "the picture's own mean and standard deviation",
        ),
        (INPUT.format(GRAY, COLOURS, "x / 127.5 - 1"), "brought to values from -1 to 1"),
        (INPUT.format(GRAY, COLOURS, "(x / 255 - 0.5) / 0.5"), "brought to values from -1 to 1"),
        (
            INPUT.format(GRAY, COLOURS, "(x / 255 - m.mean()) / s.mean()"),
            "one mean and one standard deviation are used for all",
        ),
        (INPUT.format(GRAY, COLOURS, "(x / 255 - m) / s"), "the mean is lined up with the width"),
        (
            INPUT.format(GRAY, COLOURS, "(x / 255 - m[:, None]) / s[:, None]"),
            "the mean is lined up with the height",
        ),
        (
            INPUT.format("torch.stack([pixels] * 3, -1)", "pixels", "(x / 255 - m) / s"),
            "the channels are still last",
        ),
        (
            INPUT.format("torch.stack([pixels] * 3, -1)", "pixels", "(x / 255 - M) / S"),
            "the channels are still last",
        ),
        (
            INPUT.format(
                GRAY,
                "pixels",
                "(x / 255 - (m if pixels.ndim == 3 else M)) / (s if pixels.ndim == 3 else S)",
            ),
            "the channels are still last",
        ),
        (
            INPUT.format(
                "torch.stack([pixels] * 3, -1)", "pixels", "((x / 255 - m) / s).transpose(0, 1)"
            ),
            "the channels are still last, and height and width are exchanged",
        ),
        (
            BY_GRAY.format("if pixels.ndim == 2: return (pixels[..., None] / 255 - m) / s"),
            "the three channels of a gray picture are last",
        ),
        (
            INPUT.format(GRAY, "pixels.reshape(3, *pixels.shape[:2])", NORMAL),
            "the numbers are only counted off anew",
        ),
        (
            INPUT.format(
                "torch.stack([pixels] * 3, -1).view(3, *pixels.shape)",
                "pixels.view(3, *pixels.shape[:2])",
                NORMAL,
            ),
            "the numbers are only counted off anew",
        ),
        (INPUT.format(GRAY, "pixels.permute(2, 1, 0)", NORMAL), "height and width are exchanged"),
        (
            INPUT.format("pixels.T.repeat(3, 1, 1)", "pixels.permute(2, 1, 0)", NORMAL),
            "height and width are exchanged",
        ),
        (INPUT.format(GRAY, "pixels.transpose(0, 2)", NORMAL), "height and width are exchanged"),
        (
            INPUT.format(
                "torch.stack([pixels] * 3, 1)",
                "pixels.permute(0, 2, 1)",
                "(x / 255 - m[:, None]) / s[:, None]",
            ),
            "the channels are in the middle",
        ),
        (INPUT.format(GRAY, "pixels.permute(2, 0, 1)[[2, 1, 0]]", NORMAL), "blue, green, red"),
        (INPUT.format(GRAY, COLOURS, "(x / 255 - M.flip(0)) / S.flip(0)"), "blue, green, red"),
        (INPUT.format(GRAY, COLOURS, "((x / 255 - M) / S).flip(0)"), "blue, green, red"),
        (
            BY_GRAY.format("if pixels.ndim == 2: return (pixels[None] / 255 - 0.485) / 0.229"),
            "a gray picture keeps one channel",
        ),
        (
            BY_GRAY.format(
                "if pixels.ndim == 2: return (pixels[None] / 255 - m.mean()) / s.mean()"
            ),
            "a gray picture keeps one channel",
        ),
        (
            BY_GRAY.format("if pixels.ndim == 2: return pixels[None] / 255"),
            "a gray picture keeps one channel",
        ),
        (
            BY_GRAY.format(
                "if pixels.ndim == 2: return ((pixels / 255 - m.mean()) / s.mean()).expand(3,"
                " -1, -1)"
            ),
            "a gray picture is normalised with one mean for all channels",
        ),
        (
            BY_GRAY.format(
                "if pixels.ndim == 2: return ((pixels / 255 - m[0]) / s[0]).repeat(3, 1, 1)"
            ),
            "a gray picture is normalised with one mean for all channels",
        ),
        (
            BY_GRAY.format("if pixels.ndim == 2: return pixels.repeat(3, 1, 1) / 255"),
            "a gray picture is not normalised",
        ),
        (
            INPUT.format("torch.stack([pixels, 0 * pixels, 0 * pixels])", COLOURS, NORMAL),
            "a gray picture stands in one channel",
        ),
        (
            INPUT.format(
                "torch.cat([pixels[None], torch.zeros(2, *pixels.shape)])", COLOURS, NORMAL
            ),
            "a gray picture stands in one channel",
        ),
        (
            BY_GRAY.format("if pixels.ndim == 2: pixels = pixels.repeat(3, 1, 1)"),
            "and then the axes are moved once more",
        ),
        (BY_GRAY.format("pass"), "a gray picture stops with an error"),
        (
            BY_GRAY.format("if pixels.ndim == 2: pixels = pixels.repeat(3, 1)"),
            "a gray picture stops with an error",
        ),
        (
            BY_GRAY.format("if pixels.shape[-1] != 3: pixels = torch.stack([pixels] * 3, -1)"),
            "a side of three pixels is taken for",
        ),
        (
            "def f(pixels):\n"
            + NUMBERS
            + " M, S = m[:, None, None], s[:, None, None]\n if pixels.dim() == 2: pixels ="
            " pixels.expand(3, -1, -1)\n if pixels.shape[0] != 3: pixels = pixels.permute(2, 0,"
            " 1)\n return (pixels / 255 - M) / S",
            "a side of three pixels is taken for",
        ),
        (
            INPUT.format(GRAY, COLOURS, "((x / 255 - M) / S)[None]"),
            "there is an axis for a batch in front",
        ),
        (
            INPUT.format(GRAY, COLOURS, "(x.double() / 255 - M) / S"),
            "the numbers are right, but float64",
        ),
        (
            (
                "def f(pixels):\n a = pixels.numpy() / 255\n a = np.stack([a] * 3, -1) if a.ndim =="
                " 2 else a\n a = (a - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224,"
                " 0.225])\n return torch.from_numpy(a).permute(2, 0, 1)"
            ),
            "the numbers are right, but float64",
        ),
        (
            INPUT.format(GRAY, COLOURS, "((x / 255 - M) / S).numpy()"),
            "returned a NumPy array of shape (3, 1, 1), expected a tensor",
        ),
        (
            INPUT.format(GRAY, COLOURS, "((x / 255 - M) / S).half()"),
            "returned float16, expected float32",
        ),
        (INPUT.format(GRAY, COLOURS, "(x / 254 - M) / S"), "entry [0, 0, 0] is "),
        (
            "def f(pixels): x = pixels; x += 1; return x.float()",
            "changes its argument `pixels` in place",
        ),
    ],
    "03.2": [
        (
            CONV2D.format(X, "kernel.flip(0, 1)[None, None]", "y[0, 0]"),
            "the kernel is turned round",
        ),
        (
            CONVOLVE.format(
                FRAME,
                ROWS,
                COLUMNS,
                WINDOW,
                "sum(K[u, v] * window[k - 1 - u, k - 1 - v] for u in range(k) for v in range(k))",
            ),
            "the kernel is turned round",
        ),
        (CONV2D.format(X, "kernel.flip(0)[None, None]", "y[0, 0]"), "the kernel is mirrored"),
        (CONV2D.format(X, "kernel.T[None, None]", "y[0, 0]"), "the kernel is transposed"),
        (
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "(window @ K).trace()"),
            "the kernel is transposed",
        ),
        (
            CONVOLVE.format(
                FRAME, "range(len(x) - k + 1)", "range(len(x[0]) - k + 1)", WINDOW, VALUE
            ),
            "the stride is not used",
        ),
        (CONVOLVE.format("picture", ROWS, COLUMNS, WINDOW, VALUE), "the padding is not used"),
        (
            CONVOLVE.format(
                "picture", "range(len(x) - k + 1)", "range(len(x[0]) - k + 1)", WINDOW, VALUE
            ),
            "neither stride nor padding",
        ),
        (
            CONVOLVE.format(FRAME, ROWS, "range(len(x[0]) - k + 1)", WINDOW, VALUE),
            "the stride is used for the rows only",
        ),
        (
            CONVOLVE.format(FRAME, "range(len(x) - k + 1)", COLUMNS, WINDOW, VALUE),
            "the stride is used for the columns only",
        ),
        (
            SIZED.format(FRAME, HIGH, WIDE, WINDOW),
            "as many places as there should be, but the window moves by one pixel",
        ),
        (
            CONV2D.replace("stride=stride, ", "").format(
                X, K, "y[0, 0, stride - 1::stride, stride - 1::stride]"
            ),
            "the first place is left out",
        ),
        (
            CONV2D.replace("stride=stride, ", "").format(
                X, K, "y[0, 0, stride // 2::stride, stride // 2::stride]"
            ),
            "the first place is left out",
        ),
        (
            (
                "def f(picture, kernel, stride, padding):\n x, k = torch.nn.functional.pad(picture,"
                " (padding,) * 4), len(kernel)\n y = torch.zeros(len(x) - k + 1, len(x[0]) - k +"
                " 1)\n for i in range(0, len(y), stride):\n  for j in range(0, len(y[0]),"
                " stride):\n   y[i, j] = (x[i:i + k, j:j + k] * kernel).sum()\n return y"
            ),
            "the numbers stand as far apart as in the picture",
        ),
        (
            (
                "def f(picture, kernel, stride, padding):\n x, k = torch.nn.functional.pad(picture,"
                " (padding,) * 4), len(kernel)\n y = torch.zeros((len(x) - k) // stride + 1,"
                " (len(x[0]) - k) // stride + 1)\n for i in range(0, len(x) - k + 1, stride):\n "
                " for j in range(0, len(x[0]) - k + 1, stride):\n   y[i, j] = (x[i:i + k, j:j + k]"
                " * kernel).sum()\n return y"
            ),
            "with a stride above 1 there is an error",
        ),
        (
            CONVOLVE.format("pad(picture, (P, 0, P, 0))", ROWS, COLUMNS, WINDOW, VALUE),
            "the frame is only above and on the left",
        ),
        (
            CONVOLVE.format("pad(picture, (0, P, 0, P))", ROWS, COLUMNS, WINDOW, VALUE),
            "the frame is only below and on the right",
        ),
        (
            CONVOLVE.format("pad(picture, (0, 0, P, P))", ROWS, COLUMNS, WINDOW, VALUE),
            "rows of zeros are added above and below",
        ),
        (
            CONVOLVE.format("pad(picture, (P, P))", ROWS, COLUMNS, WINDOW, VALUE),
            "columns of zeros are added left and right",
        ),
        (
            CONVOLVE.format("pad(picture, (2 * P,) * 4)", ROWS, COLUMNS, WINDOW, VALUE),
            "the frame is twice as wide",
        ),
        (
            CONVOLVE.format("pad(picture, (P,) * 4, value=1)", ROWS, COLUMNS, WINDOW, VALUE),
            "the frame is filled with ones",
        ),
        (
            CONVOLVE.format(
                "torch.from_numpy(np.pad(picture.numpy(), P, mode='edge'))",
                ROWS,
                COLUMNS,
                WINDOW,
                VALUE,
            ),
            "the frame repeats the picture",
        ),
        (
            CONVOLVE.format(
                "pad(picture[None], (P,) * 4, mode='circular')[0]", ROWS, COLUMNS, WINDOW, VALUE
            ),
            "the frame repeats the picture",
        ),
        (
            CONVOLVE.replace("torch.tensor(result)", "pad(torch.tensor(result), (P,) * 4)").format(
                "picture", ROWS, COLUMNS, WINDOW, VALUE
            ),
            "the frame is put around the result",
        ),
        (
            SIZED.format(FRAME, "(H - k) // s + 1", "(W - k) // s + 1", STEP),
            "the places are counted in the picture without its frame",
        ),
        (
            CONVOLVE.format(
                FRAME, "range(0, H - k + 1, s)", "range(0, W - k + 1, s)", WINDOW, VALUE
            ),
            "the places are counted in the picture without its frame",
        ),
        (
            SIZED.format("picture", HIGH, WIDE, STEP),
            "but the windows are cut out of the picture without it",
        ),
        (
            CONVOLVE.format(
                "picture",
                f"range({HIGH})",
                f"range({WIDE})",
                "None",
                "sum(K[u, v] * x[i * s + u - P, j * s + v - P] for u in range(k) for v in"
                " range(k))",
            ),
            "but the windows are cut out of the picture without it",
        ),
        (
            CONVOLVE.format("pad(picture, (k // 2,) * 4)", ROWS, COLUMNS, WINDOW, VALUE),
            "the frame is k // 2 wide whatever",
        ),
        (
            SIZED.format(FRAME, "(H + 2 * P - k) // s", "(W + 2 * P - k) // s", STEP),
            "a place at the end is missing",
        ),
        (
            CONVOLVE.format(
                FRAME, "range(0, len(x) - k, s)", "range(0, len(x[0]) - k, s)", WINDOW, VALUE
            ),
            "a place at the end is missing",
        ),
        (
            (
                "def f(picture, kernel, stride, padding):\n x, k = torch.nn.functional.pad(picture,"
                " (padding,) * 4), len(kernel)\n return torch.stack([torch.stack([(x[i:i + k, j:j +"
                " k] * kernel).sum() for j in range(0, x.shape[1] - k, stride)])\n                 "
                "    for i in range(0, x.shape[0] - k, stride)])"
            ),
            "a place at the end is missing",
        ),
        (
            SIZED.format(
                FRAME,
                "math.ceil((H + 2 * P - k) / s) + 1",
                "math.ceil((W + 2 * P - k) / s) + 1",
                STEP,
            ),
            "a place too many",
        ),
        (
            CONVOLVE.format(FRAME, "range(0, len(x), s)", "range(0, len(x[0]), s)", WINDOW, VALUE),
            "a place too many",
        ),
        (
            CONVOLVE.format(
                FRAME,
                "range(0, len(x) - k + 2, s)",
                "range(0, len(x[0]) - k + 2, s)",
                WINDOW,
                VALUE,
            ),
            "a place too many",
        ),
        (
            SIZED.format(
                "pad(picture, (P, P + k, P, P + k))",
                "math.ceil((H + 2 * P - k) / s) + 1",
                "math.ceil((W + 2 * P - k) / s) + 1",
                STEP,
            ),
            "there is a place too many",
        ),
        (SIZED.format(FRAME, HIGH, HIGH, STEP), "the height counts the columns, too"),
        (CONVOLVE.format(FRAME, COLUMNS, COLUMNS, WINDOW, VALUE), "the width counts the rows, too"),
        (
            CONVOLVE.format(FRAME, COLUMNS, ROWS, "x[j:j + k, i:i + k]", VALUE),
            "rows and columns of the result are exchanged",
        ),
        (CONV2D.format(X, K, "y"), "the axes for batch and channel are still there"),
        (CONV2D.format("picture[None]", K, "y"), "the axes for batch and channel are still there"),
        (
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "(window * K).mean()"),
            "the products are averaged",
        ),
        (
            CONV2D.format(X, "kernel[None, None] / kernel.numel()", "y[0, 0]"),
            "the products are averaged",
        ),
        (
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "(window * K).max()"),
            "the largest of the products",
        ),
        (
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "(window @ K).sum()"),
            "multiplied as matrices",
        ),
        (
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "(window * K).tolist()"),
            "the products are not added up",
        ),
        (
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "(window * K).sum(0).tolist()"),
            "along one axis alone",
        ),
        (
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "window.sum() * K.sum()"),
            "added up before they are multiplied",
        ),
        (CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "window.max()"), "the kernel is not used"),
        (CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "window.sum()"), "the kernel is not used"),
        (
            CONVOLVE.replace("torch.tensor(result)", "result").format(
                FRAME, ROWS, COLUMNS, WINDOW, "float(" + VALUE + ")"
            ),
            (
                "returned a list of 1 item, expected a tensor of shape (1, 2): one row per place of"
                " the window"
            ),
        ),
        (
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "-" + VALUE),
            "entry [0, 0] is -10.0, expected 10.0.",
        ),
        (
            (
                "def f(picture, kernel, stride, padding): picture *= kernel[0, 0]; return"
                " picture[:, ::stride]"
            ),
            "changes its argument `picture` in place",
        ),
    ],
    "03.3": [
        (SIDE.format("(n + 2 * P - k) / s + 1"), "the floor is missing"),
        (SIDE.format("math.ceil((n + 2 * P - k) / s) + 1"), "rounded up. What does not fill"),
        (
            SIDE.replace("return n", "return math.ceil(n)").format("(n + 2 * P - k) / s + 1"),
            "rounded up. What does not fill",
        ),
        (SIDE.format("round((n + 2 * P - k) / s) + 1"), "rounded to the nearest whole number"),
        (
            SIDE.replace("return n", "return round(n)").format("(n + 2 * P - k) / s + 1"),
            "rounded to the nearest whole number",
        ),
        (SIDE.format("(n + 2 * P - k) // s"), "the + 1 is missing"),
        (SIDE.format("len(range(0, n + 2 * P - k, s))"), "the last place is missing"),
        (RAISING.format("n + 2 * P < k", "(n + 2 * P - k) // s"), "the + 1 is missing"),
        (SIDE.format("(n + 2 * P - k + 1) // s"), "the + 1 is divided by the stride, too"),
        (SIDE.format("(n + P - k) // s + 1"), "the padding counts once"),
        (RAISING.format("n + P < k", "(n + P - k) // s + 1"), "the padding counts once"),
        (SIDE.format("(n - k) // s + 1"), "the padding is not used"),
        (RAISING.format("n < k", "(n - k) // s + 1"), "the padding is not used"),
        (RAISING.format("n + 2 * P < k", "(n - k) // s + 1"), "the padding is not used"),
        (SIDE.format("(n - 2 * P - k) // s + 1"), "the padding is taken off"),
        (SIDE.format("(n + 2 * P) // s + 1"), "the kernel is not used"),
        (SIDE.format("(n + 2 * P) // s"), "the kernel is not used"),
        (
            SIDE.format("(n + 2 * P - (k - 1)) // s + 1"),
            "the kernel is taken off without one of its pixels",
        ),
        (SIDE.format("n // s"), "only the strides are used"),
        (
            "def f(n, layers): return n // math.prod(s for _, s, _ in layers)",
            "only the strides are used",
        ),
        (SIDE.format("math.ceil(n / s)"), "this is the side divided by the stride, rounded up"),
        (SIDE.format("n + 2 * P - k + 1"), "the stride is not used"),
        (SIDE.format("n + 2 * P - k // s + 1"), "the stride divides the kernel alone"),
        (SIDE.format("n + 2 * P - k / s + 1"), "the stride divides the kernel alone"),
        (
            SIDE.format("(n + 2 * P) // s - k + 1"),
            "the stride divides the side before the kernel is taken off",
        ),
        (SIDE.format("(n + 2 * P - k) * s + 1"), "multiplied by the stride"),
        (
            SIDE.replace("  n = ", "  m = ")
            .replace("return n", "return m")
            .format("(n + 2 * P - k) // s + 1"),
            "only the last layer counts",
        ),
        (
            SIDE.replace("  n = ", "  return ").format("(n + 2 * P - k) // s + 1"),
            "only the first layer counts",
        ),
        (
            SIDE.replace("in layers", "in layers[:-1]").format("(n + 2 * P - k) // s + 1"),
            "the last layer is left out",
        ),
        (
            SIDE.replace("in layers", "in reversed(layers)").format("(n + 2 * P - k) // s + 1"),
            "the layers are taken from behind",
        ),
        (
            (
                "def f(n, layers):\n K, S, P = sum(k for k, _, _ in layers), math.prod(s for _, s,"
                " _ in layers), sum(p for _, _, p in layers)\n return (n + 2 * P - K) // S + 1"
            ),
            "all layers are taken as one",
        ),
        (
            SIDE.replace("k, s, P", "k, P, s").format("(n + 2 * P - k) // s + 1"),
            "read in another order",
        ),
        (
            RAISING.replace("k, s, P", "k, P, s").format(
                "n + 2 * P < k", "(n + 2 * P - k) // s + 1"
            ),
            "read in another order",
        ),
        (
            SIDE.replace("k, s, P", "s, k, P").format("(n + 2 * P - k) // s + 1"),
            "read in another order",
        ),
        (
            RAISING.replace("k, s, P", "s, k, P").format(
                "n + 2 * P < k", "(n + 2 * P - k) // s + 1"
            ),
            "read in another order",
        ),
        (
            SIDE.replace("return n", "return n * n").format("(n + 2 * P - k) // s + 1"),
            "these are the pixels of the whole picture",
        ),
        (
            RAISING.format("n < k", "(n + 2 * P - k) // s + 1"),
            "an error where the window still fits",
        ),
        (
            RAISING.format("n + P < k", "(n + 2 * P - k) // s + 1"),
            "an error where the window still fits",
        ),
        (
            RAISING.format("n + 2 * P <= k", "(n + 2 * P - k) // s + 1"),
            "an error where the window just fits",
        ),
        (
            SIDE.replace("return n", "return [n]").format("(n + 2 * P - k) // s + 1"),
            (
                "returned a list of 1 number, expected one number: how many pixels a side has at"
                " the end."
            ),
        ),
        (
            SIDE.replace("return n", "return n, n").format("(n + 2 * P - k) // s + 1"),
            "returned a tuple of 2 numbers, expected one number",
        ),
        (SIDE.format("(n + 2 * P - k) // s + 2"), "the result is 3, expected 2."),
        (
            (
                "def f(n, layers):\n while layers:\n  k, s, P = layers.pop(0)\n  n = (n + 2 * P -"
                " k) // s + 1\n return n"
            ),
            "changes its argument `layers` in place",
        ),
    ],
}
