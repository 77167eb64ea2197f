"""Answers to the exercises of page 08, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

EVALUATE = """
def f(model, batches):
    modes = {{part: part.training for part in model.modules()}}
    {}
    total, hits, count = 0.0, 0, 0
    with {}:
        for batch in batches:
            logits, label = model(batch), batch["label"]
            total += {}
            hits += {}
            count += {}
    {}
    return total / count, hits / count
"""
NO_GRAD, SUM = (
    "torch.no_grad()",
    'torch.nn.functional.cross_entropy(logits, label, reduction="sum").item()',
)
MEAN, HITS = (
    "torch.nn.functional.cross_entropy(logits, label).item()",
    "(logits.argmax(1) == label).sum().item()",
)
BACK = "for part, mode in modes.items(): part.training = mode"

ADAMW = """
def f(weight, gradient, mean, square, step, lr, decay):
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient ** 2
    m, s = {}
    return {}, mean, square
"""
FAIR = "mean / (1 - 0.9 ** step), square / (1 - 0.999 ** step)"

STOP = """
class f:
    def __init__(self, patience):
        self.patience, self.bad, self.best, self.weights = patience, 0, {}, None

    def step(self, loss, model):
        import copy
        if {}:
            self.best, self.bad = loss, 0
            self.weights = {}
        else:
            self.bad {}
        return {}
"""
COPY, LOWER, LONG = (
    "copy.deepcopy(model.state_dict())",
    "loss < self.best",
    "self.bad >= self.patience",
)

RIGHT = {
    "08.1": [
        EVALUATE.format("model.eval()", NO_GRAD, SUM, HITS, "len(label)", BACK).replace(
            "total / count, hits / count", "[total / count, hits / count]"
        ),
        EVALUATE.format("model.eval()", NO_GRAD, SUM, HITS, "len(label)", BACK),
        EVALUATE.format(
            "model.eval()",
            "torch.inference_mode()",
            f"{MEAN} * len(label)",
            HITS,
            "len(label)",
            BACK,
        ),
        """
        @torch.no_grad()
        def f(model, batches):
            before = [p.training for p in model.modules()]
            for p in model.modules():
                p.training = False
            pairs = [(model(b), b["label"]) for b in batches]
            for p, mode in zip(model.modules(), before):
                p.training = mode
            logits = torch.cat([one for one, _ in pairs])
            label = torch.cat([one for _, one in pairs])
            right = logits.max(-1).indices.eq(label).double()
            return torch.nn.functional.cross_entropy(logits, label), right.mean()
        """,
    ],
    "08.2": [
        ADAMW.format(FAIR, "weight - lr * (m / (s.sqrt() + 1e-8) + decay * weight)"),
        """
        def f(weight, gradient, mean, square, step, lr, decay):
            parameter = torch.nn.Parameter(weight.clone())
            optimizer = torch.optim.AdamW([parameter], lr=lr, weight_decay=decay)
            optimizer.state[parameter] = {
                "step": torch.tensor(step - 1.0),
                "exp_avg": mean.clone(), "exp_avg_sq": square.clone()}
            parameter.grad = gradient
            optimizer.step()
            now = optimizer.state[parameter]
            return parameter.detach(), now["exp_avg"], now["exp_avg_sq"]
        """,
        """
        def f(weight, gradient, mean, square, step, lr, decay):
            mean = mean.lerp(gradient, 0.1)
            square = square.clone().mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            weight = weight - lr * decay * weight
            up, down = mean / (1 - 0.9 ** step), (square / (1 - 0.999 ** step)) ** 0.5 + 1e-8
            return torch.addcdiv(weight, up, down, value=-lr), mean, square
        """,
    ],
    "08.3": [
        STOP.format("float('inf')", LOWER, COPY, "+= 1", LONG),
        STOP.format(
            "None",
            "loss == loss and (self.best is None or loss < self.best)",
            "{name: value.clone() for name, value in model.state_dict().items()}",
            "= self.bad + 1",
            "self.bad == self.patience",
        ),
        STOP.format("1e30", LOWER, COPY, "+= 1", "bool(self.bad > self.patience - 1)"),
    ],
}

WRONG = {
    "08.1": [
        (
            EVALUATE.format(
                "model.eval()", NO_GRAD, MEAN, HITS.replace("sum()", "double().mean()"), "1", BACK
            ),
            "the mean of the batches' means",
        ),
        (
            EVALUATE.format("pass", NO_GRAD, SUM, HITS, "len(label)", BACK),
            "not put into evaluation mode",
        ),
        (
            EVALUATE.format("model.eval()", NO_GRAD, SUM, HITS, "len(label)", "pass"),
            "stays in evaluation mode",
        ),
        (
            EVALUATE.format("model.eval()", NO_GRAD, SUM, HITS, "len(label)", "model.train()"),
            "model.train() puts every part",
        ),
        (
            EVALUATE.format(
                "was = model.training; model.eval()",
                NO_GRAD,
                SUM,
                HITS,
                "len(label)",
                "model.train(was)",
            ),
            "model.train() puts every part",
        ),
        (
            EVALUATE.format("model.eval()", "torch.enable_grad()", SUM, HITS, "len(label)", BACK),
            "gradients are on",
        ),
        (
            EVALUATE.format("model.eval()", NO_GRAD, SUM, HITS, "len(label)", BACK).replace(
                "hits / count", "hits"
            ),
            "the hits are counted",
        ),
        (
            EVALUATE.format("model.eval()", NO_GRAD, SUM, HITS, "len(label)", BACK).replace(
                "total / count,", "total,"
            ),
            "is not divided by the number of samples",
        ),
        (
            EVALUATE.format("model.eval()", NO_GRAD, SUM, HITS, "len(label)", BACK).replace(
                "total / count, hits / count", "torch.tensor([total / count, hits / count])"
            ),
            "a tensor comes back",
        ),
    ],
    "08.2": [
        (ADAMW.format(FAIR, "weight - lr * m / (s.sqrt() + 1e-8)"), "the weight does not decay"),
        (
            ADAMW.format("mean, square", "weight - lr * (m / (s.sqrt() + 1e-8) + decay * weight)"),
            "are not corrected",
        ),
        (
            ADAMW.format(FAIR, "weight - lr * (m / (s + 1e-8).sqrt() + decay * weight)"),
            "eps is added after the root",
        ),
        (
            ADAMW.format(FAIR, "weight - lr * (m / (s + 1e-8) + decay * weight)"),
            "eps is added after the root",
        ),
        (
            ADAMW.format(FAIR, "weight + lr * m / (s.sqrt() + 1e-8) - lr * decay * weight"),
            "the step goes up",
        ),
        (
            ADAMW.format(FAIR, "weight - lr * m / (s.sqrt() + 1e-8) - decay * weight"),
            "not multiplied by the learning rate",
        ),
        (
            "def f(weight, gradient, mean, square, step, lr, decay):\n"
            "    gradient = gradient + decay * weight"
            + ADAMW.format(FAIR, "weight - lr * m / (s.sqrt() + 1e-8)").split("decay):")[1],
            "the decay goes through the averages",
        ),
    ],
    "08.3": [
        (STOP.format("float('inf')", LOWER, "model.state_dict()", "+= 1", LONG), "go on changing"),
        (
            STOP.format("float('inf')", LOWER, "model.state_dict().copy()", "+= 1", LONG),
            "go on changing",
        ),
        (
            STOP.format("None", "self.best is None or loss < self.best", COPY, "+= 1", LONG),
            "nothing is lower than NaN",
        ),
        (
            STOP.format("float('inf')", LOWER, COPY, "+= 1", "self.bad > self.patience"),
            "one epoch too late",
        ),
        (
            STOP.format("float('inf')", "loss <= self.best", COPY, "+= 1", LONG),
            "an equal loss is no improvement",
        ),
        (
            STOP.format("float('inf')", "not loss >= self.best", COPY, "+= 1", LONG),
            "NaN passes for the best loss",
        ),
        (
            STOP.format("float('inf')", "loss < self.best - 0.001", COPY, "+= 1", LONG),
            "expected",
        ),
        (
            STOP.format("float('inf')", LOWER, COPY, "+= 0 if loss != loss else 1", LONG),
            "like any other",
        ),
        (STOP.format("0.0", "loss > self.best", COPY, "+= 1", LONG), "the largest loss is kept"),
    ],
}
