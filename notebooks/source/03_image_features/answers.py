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
        (
            INPUT.format(GRAY, COLOURS, "(x / x.max() - M) / S"),
            "divided by the largest byte of this picture",
        ),
        (
            INPUT.format(GRAY, COLOURS, "(x.float() - x.float().mean()) / x.float().std()"),
            "the picture's own mean and standard deviation",
        ),
        (
            INPUT.format(
                GRAY,
                COLOURS,
                "(x / 255 - (x / 255).mean((1, 2), keepdim=True)) / (x / 255).std((1, 2),"
                " correction=0, keepdim=True)",
            ),
            "the picture's own mean and standard deviation",
        ),
        (
            INPUT.format(GRAY, COLOURS, "(x.double() / 255 - M) / S"),
            "returned float64 (NumPy makes",
        ),
        (INPUT.format(GRAY, COLOURS, "((x / 255 - M) / S).half()"), "returned float16, expected"),
        (INPUT.format(GRAY, COLOURS, "((x / 255 - M) / S)[None]"), "returned shape (1, 3, 1, 1)"),
        (
            BY_GRAY.format(
                "if pixels.ndim == 2: return ((pixels / 255 - m[0]) / s[0]).repeat(3, 1, 1)"
            ),
            "entry [1, 0, 0] is ",
        ),
        (INPUT.format(GRAY, COLOURS, "(x - M) / S"), "the bytes are not divided by 255"),
        (INPUT.format(GRAY, COLOURS, "(x.double() - M) / S"), "the bytes are not divided by 255"),
        (INPUT.format(GRAY, COLOURS, "((x / 255 - M) / S - M) / S"), "normalised twice"),
        (INPUT.format(GRAY, COLOURS, "x.float() / 255"), "(03.1) is missing, or one half of it"),
        (INPUT.format(GRAY, COLOURS, "x / 255 / S"), "(03.1) is missing, or one half of it"),
        (INPUT.format(GRAY, COLOURS, "x / 255 - M"), "(03.1) is missing, or one half of it"),
        (INPUT.format(GRAY, COLOURS, "x / 127.5 - 1"), "brought to values from -1 to 1"),
        (INPUT.format(GRAY, COLOURS, "(x / 255 - 0.5) / 0.5"), "brought to values from -1 to 1"),
        (INPUT.format(GRAY, COLOURS, "(x / 255 - m) / s"), "the mean is lined up with the width"),
        (
            INPUT.format("torch.stack([pixels] * 3, -1)", "pixels", "(x / 255 - m) / s"),
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
            BY_GRAY.format(
                "if pixels.ndim == 2: return ((pixels / 255 - m.mean()) / s.mean()).expand(3,"
                " -1, -1)"
            ),
            "a gray picture is normalised with one mean for all channels",
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
            INPUT.format(GRAY, COLOURS, "((x / 255 - M) / S).numpy()"),
            "returned a NumPy array of shape (3, 1, 1), expected a tensor",
        ),
        (INPUT.format(GRAY, COLOURS, "(x / 254 - M) / S"), "entry [0, 0, 0] is "),
        (
            "def f(pixels): x = pixels; x += 1; return x.float()",
            "changes its argument `pixels` in place",
        ),
    ],
    "03.2": [
        (
            CONVOLVE.format(FRAME, "range(0, len(x), s)", "range(0, len(x[0]), s)", WINDOW, VALUE),
            "a place too many",
        ),
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
        (
            CONVOLVE.format(
                FRAME, "range(len(x) - k + 1)", "range(len(x[0]) - k + 1)", WINDOW, VALUE
            ),
            "`stride` or `padding` is not used: the window",
        ),
        (
            CONVOLVE.format("picture", ROWS, COLUMNS, WINDOW, VALUE),
            "`stride` or `padding` is not used: the window",
        ),
        (
            CONVOLVE.format(
                "picture", "range(len(x) - k + 1)", "range(len(x[0]) - k + 1)", WINDOW, VALUE
            ),
            "`stride` or `padding` is not used: the window",
        ),
        (
            CONVOLVE.format(FRAME, ROWS, "range(len(x[0]) - k + 1)", WINDOW, VALUE),
            "the stride is used in one direction only",
        ),
        (
            CONVOLVE.format(FRAME, "range(len(x) - k + 1)", COLUMNS, WINDOW, VALUE),
            "the stride is used in one direction only",
        ),
        (
            SIZED.format(FRAME, HIGH, WIDE, WINDOW),
            "as many places as there should be, but the window moves by one pixel",
        ),
        (
            "def f(picture, kernel, stride, padding):\n x, k = torch.nn.functional.pad(picture,"
            " (padding,) * 4), len(kernel)\n y = torch.zeros((len(x) - k) // stride + 1,"
            " (len(x[0]) - k) // stride + 1)\n for i in range(0, len(x) - k + 1, stride):\n "
            " for j in range(0, len(x[0]) - k + 1, stride):\n   y[i, j] = (x[i:i + k, j:j + k]"
            " * kernel).sum()\n return y",
            "with a stride above 1 there is an error",
        ),
        (
            CONVOLVE.format("pad(picture, (P, 0, P, 0))", ROWS, COLUMNS, WINDOW, VALUE),
            "the frame is not `padding` zeros wide all",
        ),
        (
            CONVOLVE.format("pad(picture, (P, P))", ROWS, COLUMNS, WINDOW, VALUE),
            "the frame is not `padding` zeros wide all",
        ),
        (
            CONVOLVE.format("pad(picture, (2 * P,) * 4)", ROWS, COLUMNS, WINDOW, VALUE),
            "the frame is not `padding` zeros wide all",
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
            SIZED.format(FRAME, "(H + 2 * P - k) // s", "(W + 2 * P - k) // s", STEP),
            "a place at the end is missing",
        ),
        (
            CONVOLVE.format(FRAME, "range(0, len(x), s)", "range(0, len(x[0]), s)", WINDOW, VALUE),
            "a place too many",
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
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "(window @ K).sum()"),
            "multiplied as matrices",
        ),
        (
            CONVOLVE.replace("torch.tensor(result)", "result").format(
                FRAME, ROWS, COLUMNS, WINDOW, "float(" + VALUE + ")"
            ),
            "returned a list of 1 item, expected a tensor of shape (1, 2): one row per place of"
            " the window",
        ),
        (
            CONVOLVE.format(FRAME, ROWS, COLUMNS, WINDOW, "-" + VALUE),
            "entry [0, 0] is -10.0, expected 10.0.",
        ),
        (
            "def f(picture, kernel, stride, padding): picture *= kernel[0, 0]; return"
            " picture[:, ::stride]",
            "changes its argument `picture` in place",
        ),
    ],
    "03.3": [
        (SIDE.format("len(range(0, n + 2 * P - k, s))"), "the + 1 is missing"),
        (SIDE.format("(n + 2 * P - k) / s + 1"), "the floor is missing"),
        (
            SIDE.format("math.ceil((n + 2 * P - k) / s) + 1"),
            "rounded up, or to the nearest whole number",
        ),
        (
            SIDE.replace("return n", "return math.ceil(n)").format("(n + 2 * P - k) / s + 1"),
            "rounded up, or to the nearest whole number",
        ),
        (
            SIDE.format("round((n + 2 * P - k) / s) + 1"),
            "rounded up, or to the nearest whole number",
        ),
        (SIDE.format("(n + 2 * P - k) // s"), "the + 1 is missing"),
        (RAISING.format("n + 2 * P < k", "(n + 2 * P - k) // s"), "the + 1 is missing"),
        (SIDE.format("(n + 2 * P - k + 1) // s"), "the + 1 is divided by the stride, too"),
        (SIDE.format("(n + P - k) // s + 1"), "the padding counts once"),
        (SIDE.format("(n - k) // s + 1"), "the padding is not used"),
        (RAISING.format("n + 2 * P < k", "(n - k) // s + 1"), "the padding is not used"),
        (SIDE.format("(n + 2 * P) // s + 1"), "the kernel is not used"),
        (SIDE.format("n // s"), "the kernel is not used: a window needs"),
        (
            "def f(n, layers): return n // math.prod(s for _, s, _ in layers)",
            "the kernel is not used: a window needs",
        ),
        (SIDE.format("n + 2 * P - k + 1"), "the stride is not used"),
        (SIDE.format("n + 2 * P - k // s + 1"), "the stride divides the kernel alone"),
        (SIDE.format("n + 2 * P - k / s + 1"), "the stride divides the kernel alone"),
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
            SIDE.replace("k, s, P", "k, P, s").format("(n + 2 * P - k) // s + 1"),
            "read in another order",
        ),
        (
            SIDE.replace("k, s, P", "s, k, P").format("(n + 2 * P - k) // s + 1"),
            "read in another order",
        ),
        (
            SIDE.replace("return n", "return [n]").format("(n + 2 * P - k) // s + 1"),
            "returned a list of 1 number, expected one number: how many pixels a side has at"
            " the end.",
        ),
        (
            SIDE.replace("return n", "return n, n").format("(n + 2 * P - k) // s + 1"),
            "returned a tuple of 2 numbers, expected one number",
        ),
        (SIDE.format("(n + 2 * P - k) // s + 2"), "the result is 3, expected 2."),
        (
            "def f(n, layers):\n while layers:\n  k, s, P = layers.pop(0)\n  n = (n + 2 * P -"
            " k) // s + 1\n return n",
            "changes its argument `layers` in place",
        ),
    ],
}
