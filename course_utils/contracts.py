"""Nine contracts that a fusion layer has to keep, each a small function that looks for one real
fault.

    show_contracts(ConcatFusion)                                                                   # one of ours
    show_contracts(lambda: MyFusion({"text": 6, "image": 5}, 4), dims={"text": 6, "image": 5})      # yours

A layer is a module with `forward(features, *, mask=None)`: features[m] is (B, D_m) or (B, T_m,
D_m), the mask is bool with True = present, (B, M) or {m: (B, T_m)}, the result one tensor (B,
C). Why not trust its score? Because trainable encoders below a layer and a head above it make up
for what the layer itself does not do.
"""

import copy
import inspect
import io
import textwrap
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DIMS, OUTPUT_DIM = {"text": 6, "image": 5, "audio": 4}, 7
ROUND_OFF = {torch.float64: 1e-9, torch.float32: 1e-5}  # relative to the largest entry


@dataclass(frozen=True)
class Result:
    """What one contract found: kept is True, False, or None if it does not apply; `seen` says it
    in words.
    """

    number: int
    contract: str
    kept: bool | None
    seen: str
    error: Exception | None = None


class Broken(Exception):
    """Raised by a contract; the message says what was seen."""


def expect(condition, otherwise: str) -> None:
    if not condition:
        raise Broken(otherwise)


class Case:
    """A layer's maker and a sample for it: random features, and which modalities are present,
    (B, M) bool.

    In `present` every modality is missing somewhere and no row is empty; in `empty` the last row
    has nothing.
    """

    def __init__(
        self, make: Callable, dims: dict | None, tokens: dict | None, seed: int, dtype: torch.dtype
    ):
        if isinstance(make, nn.Module) or not callable(make):
            raise TypeError(
                "make: expected a class or a function that builds the layer, got"
                f" {type(make).__name__}"
            )
        self.make = (lambda: make(dims or DIMS, OUTPUT_DIM)) if isinstance(make, type) else make
        self.seed, self.dtype = seed, dtype
        try:
            layer = self.build()
        except Exception:  # each contract meets it again, and tells
            layer = None
        dims = dims or getattr(layer, "input_dims", DIMS)
        tokens = tokens or (
            dict.fromkeys(dims, 3) if getattr(layer, "accepts", None) == "tokens" else {}
        )
        rows, M, rng = len(dims) + 3, len(dims), torch.Generator().manual_seed(seed)
        shapes = {
            name: (rows, tokens[name], dim) if name in tokens else (rows, dim)
            for name, dim in dims.items()
        }
        self.features = {
            name: torch.randn(shape, generator=rng, dtype=dtype) for name, shape in shapes.items()
        }
        self.present = torch.cat(
            [~torch.eye(M, dtype=torch.bool), torch.rand(3, M, generator=rng) < 0.6]
        )
        self.present[~self.present.any(1)] = True
        self.empty = torch.cat([self.present[:-1], torch.zeros(1, M, dtype=torch.bool)])
        self.full = torch.ones_like(self.present)
        self.holes = {name: torch.rand(rows, T, generator=rng) < 0.6 for name, T in tokens.items()}
        for hole in self.holes.values():
            hole[~hole.any(1)] = True

    def build(self, seed: int = 0) -> nn.Module:
        """A fresh layer, made in the case's dtype and not converted to it: conversion is the
        matter of contract 7.
        """
        default = torch.get_default_dtype()
        try:
            torch.manual_seed(self.seed + seed)
            torch.set_default_dtype(self.dtype)
            return self.make()
        finally:
            torch.set_default_dtype(default)

    def masks(self, present: Tensor) -> list:
        """The mask of whole modalities and, where there are tokens, one of tokens, with holes
        unless `present` is `full`.
        """
        columns = dict(zip(self.features, present.unbind(1)))
        tokens = {
            name: (hole | (present is self.full)) & columns[name][:, None]
            for name, hole in self.holes.items()
        }
        return [present, tokens] if tokens else [present]

    def run(
        self, layer: nn.Module, features: dict | None = None, mask=None, train: bool = False
    ) -> Tensor:
        """The layer's result on copies of the sample, so that only contract 8 meets a layer that
        changes it.
        """
        like = next(layer.parameters(), self.features[next(iter(self.features))])
        features = {name: x.to(like, copy=True) for name, x in (features or self.features).items()}
        result = layer.train(train)(
            features, **({} if mask is None else {"mask": copy.deepcopy(mask)})
        )
        if not isinstance(result, Tensor):
            raise TypeError(f"forward: expected one tensor (B, C), got {type(result).__name__}")
        return result

    def outcome(
        self, layer: nn.Module, mask=None, fill: float | None = None, train: bool = False
    ) -> dict[str, Tensor]:
        """The result, and the gradient of a random sum of it by each parameter and by the features.

        `fill` is written into every place of the features that the mask says is missing.
        """
        features = {name: x.clone() for name, x in self.features.items()}
        if fill is not None:
            for name, keep in (
                mask.items() if isinstance(mask, dict) else zip(features, mask.unbind(1))
            ):
                features[name][~keep] = fill
        result = self.run(
            layer, {name: x.requires_grad_() for name, x in features.items()}, mask, train
        )
        if not result.requires_grad:
            return {"": result}
        weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(1)).to(result)
        wanted = {name: p for name, p in layer.named_parameters() if p.requires_grad}
        wanted |= {f"features[{name!r}]": x for name, x in features.items()}
        gradients = torch.autograd.grad(
            (result * weights).sum(), wanted.values(), allow_unused=True
        )
        return {
            "": result.detach(),
            **{name: g for name, g in zip(wanted, gradients) if g is not None},
        }

    def same(self, a: Tensor, b: Tensor) -> bool:
        """Equal up to round-off; NaN equals nothing."""
        return a.shape == b.shape and bool(
            ((a - b).abs() <= ROUND_OFF[self.dtype] * b.abs().max()).all()
        )


def learns(case: Case) -> str:
    """1: every parameter is registered, gets a gradient, and moves in a step of SGD.

    The fault: factors in a plain list, of which optimiser, `.to` and state dict never hear; one
    published low-rank layer registers 160 of 1,161,760 numbers. Others: a parameter never used,
    detached, or cancelled by the formula. Accuracy does not show it, because encoders learn
    around a frozen random layer. A gradient counts from 1e-9 of the largest on (float64), and
    within three rounds, because some layers start from zero on purpose.
    """
    layer, alive = case.build(), set()
    names, hidden = (
        dict(layer.named_parameters()),
        [name for name, x in unregistered(layer) if x.requires_grad],
    )
    start, total = {name: p.detach().clone() for name, p in names.items()}, len(names) + len(hidden)
    expect(
        not hidden,
        f"{len(hidden)} of {total} parameter tensors are not registered: {_some(hidden)}",
    )
    # the zero: SGD takes no empty list
    optimizer = torch.optim.SGD([*layer.parameters(), torch.zeros(1)], lr=0.1)
    for mask in [
        None,
        *(case.masks(case.present) + case.masks(case.empty)) * _takes_mask(layer),
    ] * 3:
        try:
            gradients = case.outcome(layer, mask, train=True)
        except Exception:
            if mask is None:
                raise
            continue  # a mask that fails is the matter of contracts 3 to 5
        sizes = {name: gradients[name].abs().max() for name in names if name in gradients}
        if all(size.isfinite() for size in sizes.values()):
            alive |= {
                name for name in sizes if sizes[name] > ROUND_OFF[case.dtype] * max(sizes.values())
            }
            for name, p in names.items():
                p.grad = gradients[name] / (1 + sizes[name]) if name in sizes else None
            optimizer.step()
    dead = [name for name in names if name not in alive]
    expect(not dead, f"{len(dead)} of {total} parameter tensors got no gradient: {_some(dead)}")
    still = [name for name, p in layer.named_parameters() if torch.equal(p, start[name])]
    expect(not still, f"{len(still)} of {total} parameter tensors did not move: {_some(still)}")
    return f"all {total} parameter tensors get a gradient and move"


def batch_of_one(case: Case) -> str:
    """2: one row works as many do, in training and in evaluation.

    The fault: a bare `squeeze()` drops the batch axis too; batch normalisation cannot train on
    one row. Accuracy is computed on large batches, so it shows first in use, or in the last
    batch of an epoch.
    """
    layer, row = case.build(), {name: x[:1] for name, x in case.features.items()}
    expected = (1, *case.run(layer).shape[1:])
    for train in (False, True):
        for mask in [None, case.full[:1]][: 1 + _takes_mask(layer)]:
            result = case.run(layer, row, mask, train)
            expect(
                result.shape == expected,
                f"one row gives shape {tuple(result.shape)}, expected {expected}",
            )
            expect(result.isfinite().all(), "one row gives a result that is not finite")
    return f"one row gives shape {expected}"


def full_mask(case: Case) -> str:
    """3: a mask that says "all present" gives the same as no mask, up to round-off.

    The fault: two paths that differ, such as a mean without a mask and a sum with one. Trained
    and scored on complete data without a mask, the layer shows nothing; the first mask changes
    the scale of every result.
    """
    layer = case.build()
    free, results = case.run(layer), [case.run(layer, mask=mask) for mask in case.masks(case.full)]
    expect(
        all(case.same(result, free) for result in results), "an all-present mask changes the result"
    )
    exact = all(torch.equal(result, free) for result in results)
    return f"an all-present mask changes {'no bit' if exact else 'nothing beyond round-off'}"


def isolated(case: Case) -> str:
    """4: what stands in a masked place cannot matter, not even NaN, for result or gradient; nor
    can other rows.

    The fault: masking by multiplication (0 * NaN is NaN), or after the arithmetic (the result is
    right, the weight's gradient is NaN); statistics over the batch. On complete data in large
    batches the accuracy is the same.
    """
    layer, order = case.build(), torch.arange(len(case.present)).roll(1)
    for mask in case.masks(case.present):
        base = case.outcome(layer, mask)
        for fill, words in ((1e6, "a large number"), (torch.nan, "a NaN")):
            same = {
                name: case.same(x, base[name])
                for name, x in case.outcome(layer, mask, fill).items()
            }
            expect(same[""], f"{words} in a masked place changes the result")
            expect(
                all(same.values()),
                f"{words} in a masked place changes gradients, though not the result",
            )
    base, moved = (
        case.run(layer),
        case.run(layer, {name: x[order] for name, x in case.features.items()}),
    )
    others = case.run(
        layer, {name: torch.cat([x[:1], 9 - 3 * x[1:]]) for name, x in case.features.items()}
    )
    expect(
        case.same(others[:1], base[:1]), "a row's result changes with the other rows of its batch"
    )
    expect(case.same(moved, base[order]), "a row's result changes with its place in the batch")
    return "masked places and other rows change nothing"


def nothing_present(case: Case) -> str:
    """5: a row with everything missing gives a finite result and finite gradients.

    The fault: a softmax over no keys, or a mean over zero of them, is NaN, and after the next
    step every weight is. Test sets seldom hold such a row, so the accuracy on them is untouched;
    a real stream holds one soon.
    """
    layer = case.build()
    for mask in case.masks(case.empty):
        finite = {name: bool(x.isfinite().all()) for name, x in case.outcome(layer, mask).items()}
        expect(finite[""], "the result is not finite when everything is missing")
        expect(all(finite.values()), "a gradient is not finite when everything is missing")
    return "result and gradients are finite when everything is missing"


def round_trip(case: Case) -> str:
    """6: the state dict, saved and loaded into a freshly built layer, gives equal results and
    holds all that trains.

    The fault: random numbers that are in no saved buffer, or parameters that are not registered.
    The accuracy is right in the session that trained the model; what is loaded later is another
    model.
    """
    layer, fresh, file = case.build(), case.build(seed=1), io.BytesIO()
    expected, state = case.run(layer), layer.state_dict()
    lost = [
        name
        for name, x in [*layer.named_parameters(), *unregistered(layer)]
        if x.requires_grad and name not in state
    ]
    expect(not lost, f"the state dict lacks what should train: {_some(lost)}")
    torch.save(state, file)
    file.seek(0)
    try:
        fresh.load_state_dict(torch.load(file, weights_only=True))
    except RuntimeError:
        raise Broken("the state dict does not fit a freshly built layer") from None
    expect(
        case.same(case.run(fresh), expected),
        "the loaded layer gives other results: the state dict lacks something",
    )
    return "a freshly built layer gives equal results once it is loaded"


def moves(case: Case) -> str:
    """7: `.to(...)` takes everything along, and each parameter stays a registered, trainable
    `nn.Parameter`.

    The fault: `nn.Parameter(...).to(device)` is a parameter only while nothing has to move; on a
    GPU it is a plain tensor that no optimiser sees, while encoders learn around it and the
    accuracy stays. So the layer is also built with each `.to` in its constructor giving a copy,
    as between devices, and sent to the meta device and a GPU, if any.
    """
    layer, dtype = case.build(), torch.float32 if case.dtype == torch.float64 else torch.float64
    trains, reached = (
        {name: p.requires_grad for name, p in layer.named_parameters()},
        set(case.outcome(layer)),
    )

    def check(moved: nn.Module, when: str) -> None:
        now = {name: p.requires_grad for name, p in moved.named_parameters()}
        lost = [name for name in trains if now.get(name) != trains[name]]
        expect(
            not lost,
            f"{len(lost)} of {len(trains)} parameter tensors are no trainable parameters {when}:"
            f" {_some(lost)}",
        )

    with _EveryMoveCopies():
        check(case.build(), "if .to(...) in the constructor moves them")
    check(layer.to("meta"), "after .to(another device)")
    left = [name for name, x in unregistered(layer) if not x.is_meta]
    expect(not left, f"not registered, hence left behind by .to(another device): {_some(left)}")
    for device in ["cpu", "cuda"][: 1 + torch.cuda.is_available()]:
        moved = case.build().to(device, dtype)
        check(moved, "after .to(another dtype)")
        outcome = case.outcome(moved)
        expect(
            not trains or outcome[""].dtype == dtype,
            "the result's dtype is not the layer's after .to(another dtype)",
        )
        expect(
            reached == set(outcome),
            f"no gradient after .to(another dtype): {_some(sorted(reached - set(outcome)))}",
        )
    return f"all {len(trains)} parameter tensors stay trainable parameters"


def inputs_unchanged(case: Case) -> str:
    """8: features and mask are not changed in place.

    The fault: `x += shift` on the caller's tensor. Each call's own result is right, but the next
    layer that gets these features, and the next epoch where a loop passes the stored tensors
    themselves, see other data.
    """
    layer = case.build()
    for mask in [None, *case.masks(case.present) * _takes_mask(layer)]:
        features, given = copy.deepcopy((case.features, mask))
        layer(features) if mask is None else layer(features, mask=given)
        expect(
            list(features) == list(case.features), "names were added to the features or taken away"
        )
        changed = [
            name for name in features if not torch.equal(features[name], case.features[name])
        ]
        expect(not changed, f"features changed in place: {_some(changed)}")
        pairs = (
            zip(given.values(), mask.values())
            if isinstance(mask, dict)
            else [(given, mask)]
            if mask is not None
            else []
        )
        expect(all(torch.equal(a, b) for a, b in pairs), "the mask was changed in place")
    return "features and mask are as they were"


def counted(case: Case) -> str | None:
    """9: the number of parameters is what the layer's `parameter_formula()` says; skipped if it
    has none.

    The fault: a bias too many, a projection built twice, factors that are not registered.
    Accuracy hardly moves; what moves is the cost, the memory, and every comparison "at equal
    size".
    """
    layer = case.build()
    formula = layer.parameter_formula() if hasattr(layer, "parameter_formula") else None
    count = sum(p.numel() for p in layer.parameters())
    expect(
        formula in (None, count),
        f"{count:,} parameters are registered, the formula says {formula or 0:,}",
    )
    return None if formula is None else f"{count:,} parameters, as the formula says"


CONTRACTS = {
    "every parameter learns": learns,
    "a batch of one": batch_of_one,
    "full mask is no mask": full_mask,
    "masked is unseen": isolated,
    "nothing present": nothing_present,
    "saved and loaded": round_trip,
    "moved and trainable": moves,
    "inputs stay as given": inputs_unchanged,
    "counted": counted,
}


def check_contracts(
    make: Callable,
    *,
    dims: dict[str, int] | None = None,
    tokens: dict[str, int] | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> list[Result]:
    """Run the nine contracts on a layer; whatever it raises becomes a broken contract.

    make     a class, built as `make(dims, 7)`, or a function without arguments that builds the
             layer
    dims     widths of the modalities; if not given, the layer's own `input_dims`, else text 6,
             image 5, audio 4
    tokens   {name: T}: these modalities come as (B, T, D), the others as (B, D)
    seed     fixes sample and layer; the caller's own random numbers go on undisturbed
    """
    with torch.random.fork_rng(devices=[]):
        case, results = Case(make, dims, tokens, seed, dtype), []
        for number, (title, contract) in enumerate(CONTRACTS.items(), 1):
            try:
                expect(
                    number not in (3, 4, 5) or _takes_mask(case.build()), "forward takes no mask"
                )
                seen, error = contract(case), None
                kept = None if seen is None else True
            except Broken as fault:
                kept, seen, error = False, str(fault), None
            except Exception as raised:
                kept, seen, error = False, in_words(raised), raised
            results.append(Result(number, title, kept, seen or "no formula is given", error))
    return results


def show_contracts(make: Callable, **sample) -> None:
    """Print what `check_contracts` finds, a line for each contract: kept, BROKEN or skipped, and
    what was seen.
    """
    word, results = (
        {True: "kept", False: "BROKEN", None: "skipped"},
        check_contracts(make, **sample),
    )
    for r in results:
        print(
            textwrap.fill(
                f"{r.number}  {r.contract:<24}{word[r.kept]:<9}{r.seen}",
                110,
                subsequent_indent=" " * 36,
            )
        )
    print("broken:", ", ".join(str(r.number) for r in results if r.kept is False) or "none")


def in_words(error: Exception) -> str:
    """An error's kind and first line; of torch's own errors the kind alone, because their
    wording changes.
    """
    source = traceback.extract_tb(error.__traceback__)[-1].filename
    torchs = isinstance(
        error, (RuntimeError, IndexError, NotImplementedError)
    ) or source.startswith(torch.__path__[0])
    return f"raises {type(error).__name__}" + (
        "" if torchs else f": {str(error).splitlines()[0] if str(error) else ''}"
    )


def unregistered(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Tensors in attributes, lists, tuples, dicts and modules inside them that are neither
    parameters nor buffers.
    """
    known = {id(x) for x in [*layer.modules(), *layer.parameters(), *layer.buffers()]}

    def walk(name, value):
        if isinstance(value, Tensor) and id(value) not in known:
            yield name, value
        elif isinstance(value, nn.Module) and id(value) not in known:
            yield from (
                (f"{name}.{inner}", x)
                for inner, x in [*value.named_parameters(), *value.named_buffers()]
            )
        elif isinstance(value, (list, tuple, dict)):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                yield from walk(f"{name}.{key}", item)

    for path, module in layer.named_modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from walk(f"{path}.{name}".lstrip("."), value)


class _EveryMoveCopies(TorchFunctionMode):
    """While active, moving a parameter gives a plain tensor even if it stays where it is, as a
    real move does.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        moving = function in (
            Tensor.to,
            Tensor.cuda,
            Tensor.cpu,
            Tensor.float,
            Tensor.double,
            Tensor.half,
            Tensor.type,
        )
        return result.clone() if moving and isinstance(result, nn.Parameter) else result


def _takes_mask(layer: nn.Module) -> bool:
    parameters = inspect.signature(layer.forward).parameters.values()
    return any(p.name == "mask" or p.kind == p.VAR_KEYWORD for p in parameters)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
