"""Contracts 1, 6, 7 and 9: what a layer registers as its own is what learns, is saved, moves and
is counted.
"""

import io
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from course_utils.contracts.case import ROUND_OFF, Case, takes_mask
from course_utils.contracts.registry import Broken, contract, expect, some


@contract(1, "every parameter learns")
def learns(case: Case) -> str:
    """Every parameter is registered, gets a gradient, and moves in a step of SGD.

    The fault: factors in a plain list, of which optimiser, `.to` and state dict never hear; one
    published low-rank layer registers 160 of 1,161,760 numbers. Others: a parameter never used,
    detached, or cancelled by the formula. Accuracy does not show it, because encoders learn
    around a frozen random layer.

    A gradient counts from 1e-9 of the largest on (float64), because round-off is no gradient;
    and within three rounds, because some layers start from zero on purpose.
    """
    layer = case.build()
    parameters = dict(layer.named_parameters())
    start = {name: p.detach().clone() for name, p in parameters.items()}
    hidden = [name for name, x in unregistered(layer) if x.requires_grad]
    total = len(parameters) + len(hidden)
    expect(
        not hidden, f"{len(hidden)} of {total} parameter tensors are not registered: {some(hidden)}"
    )
    reached = _train_a_little(case, layer, parameters)
    dead = [name for name in parameters if name not in reached]
    expect(not dead, f"{len(dead)} of {total} parameter tensors got no gradient: {some(dead)}")
    still = [name for name, p in layer.named_parameters() if torch.equal(p, start[name])]
    expect(not still, f"{len(still)} of {total} parameter tensors did not move: {some(still)}")
    return f"all {total} parameter tensors get a gradient and move"


def _train_a_little(case: Case, layer: nn.Module, parameters: dict[str, nn.Parameter]) -> set[str]:
    """Three rounds of SGD, a step for each mask; which parameters ever got a gradient."""
    masks = [None]
    if takes_mask(layer):
        masks.extend([*case.partial, *case.empty])
    # the zero: SGD takes no empty list
    optimizer = torch.optim.SGD([*layer.parameters(), torch.zeros(1)], lr=0.1)
    reached = set()
    for mask in masks * 3:
        try:
            gradients = case.outcome(layer, mask, train=True).gradients
        except Exception:
            if mask is None:
                raise
            continue  # a mask that fails is the matter of contracts 3 to 5
        sizes = {name: gradients[name].abs().max() for name in parameters if name in gradients}
        if not all(size.isfinite() for size in sizes.values()):
            continue
        for name, p in parameters.items():
            p.grad = None
            if name in sizes:
                p.grad = gradients[name] / (1 + sizes[name])  # a step of bounded length
            if name in sizes and sizes[name] > ROUND_OFF[case.dtype] * max(sizes.values()):
                reached.add(name)
        optimizer.step()
    return reached


@contract(6, "saved and loaded")
def round_trip(case: Case) -> str:
    """The state dict, saved and loaded into a freshly built layer, gives equal results and holds
    all that trains.

    The fault: random numbers that are in no saved buffer, or parameters that are not registered.
    The accuracy is right in the session that trained the model; what is loaded later is another
    model.
    """
    layer = case.build()
    expected = case.run(layer)
    state = layer.state_dict()
    trains = [*layer.named_parameters(), *unregistered(layer)]
    lost = [name for name, x in trains if x.requires_grad and name not in state]
    expect(not lost, f"the state dict lacks what should train: {some(lost)}")

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    fresh = case.build(seed=1)
    try:
        fresh.load_state_dict(torch.load(file, weights_only=True))
    except RuntimeError:
        raise Broken("the state dict does not fit a freshly built layer") from None
    expect(
        case.same(case.run(fresh), expected),
        "the loaded layer gives other results: the state dict lacks something",
    )
    return "a freshly built layer gives equal results once it is loaded"


@contract(7, "moved and trainable")
def moves(case: Case) -> str:
    """`.to(...)` takes everything along, and each parameter stays a registered, trainable
    `nn.Parameter`.

    The fault: `nn.Parameter(...).to(device)` is a parameter only while nothing has to move; on a
    GPU it is a plain tensor that no optimiser sees, while encoders learn around it and the
    accuracy stays. So the layer is also built with each `.to` in its constructor giving a copy,
    as between devices, and sent to the meta device and a GPU, if any.
    """
    layer = case.build()
    trains = {name: p.requires_grad for name, p in layer.named_parameters()}
    reached = set(case.outcome(layer).gradients)

    with _EveryMoveCopies():
        built = case.build()
    _still_trains(trains, built, "if .to(...) in the constructor moves them")

    layer.to("meta")
    _still_trains(trains, layer, "after .to(another device)")
    left = [name for name, x in unregistered(layer) if not x.is_meta]
    expect(not left, f"not registered, hence left behind by .to(another device): {some(left)}")

    dtype = torch.float32 if case.dtype == torch.float64 else torch.float64
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        moved = case.build().to(device, dtype)
        _still_trains(trains, moved, "after .to(another dtype)")
        outcome = case.outcome(moved)
        expect(
            not trains or outcome.result.dtype == dtype,
            "the result's dtype is not the layer's after .to(another dtype)",
        )
        lost = sorted(reached - set(outcome.gradients))
        expect(not lost, f"no gradient after .to(another dtype): {some(lost)}")
    return f"all {len(trains)} parameter tensors stay trainable parameters"


def _still_trains(trains: dict[str, bool], moved: nn.Module, when: str) -> None:
    now = {name: p.requires_grad for name, p in moved.named_parameters()}
    lost = [name for name in trains if now.get(name) != trains[name]]
    expect(
        not lost,
        f"{len(lost)} of {len(trains)} parameter tensors are no trainable parameters {when}:"
        f" {some(lost)}",
    )


class _EveryMoveCopies(TorchFunctionMode):
    """While active, moving a parameter gives a plain tensor even if it stays where it is, as a
    real move does.
    """

    MOVES = (
        Tensor.to,
        Tensor.cuda,
        Tensor.cpu,
        Tensor.float,
        Tensor.double,
        Tensor.half,
        Tensor.type,
    )

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function in self.MOVES and isinstance(result, nn.Parameter):
            return result.clone()
        return result


@contract(9, "counted", needs="formula")
def counted(case: Case) -> str:
    """The number of parameters is what the layer's `parameter_formula()` says.

    The fault: a bias too many, a projection built twice, factors that are not registered.
    Accuracy hardly moves; what moves is the cost, the memory, and every comparison "at equal
    size".
    """
    layer = case.build()
    formula = layer.parameter_formula()
    count = sum(p.numel() for p in layer.parameters())
    expect(count == formula, f"{count:,} parameters are registered, the formula says {formula:,}")
    return f"{count:,} parameters, as the formula says"


def unregistered(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and values of the tensors that are neither parameters nor buffers of the layer, though
    it holds them: in attributes, lists, tuples, dicts and modules inside them.
    """
    known = {id(x) for x in [*layer.modules(), *layer.parameters(), *layer.buffers()]}
    for path, module in layer.named_modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from _tensors_in(value, f"{path}.{name}".lstrip("."), known)


def _tensors_in(value, name: str, known: set[int]) -> Iterator[tuple[str, Tensor]]:
    if id(value) in known:
        return
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, nn.Module):
        for inner, x in [*value.named_parameters(), *value.named_buffers()]:
            yield f"{name}.{inner}", x
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors_in(item, f"{name}.{key}", known)
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from _tensors_in(item, f"{name}.{place}", known)
