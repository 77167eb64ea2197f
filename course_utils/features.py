"""Feature vectors of frozen networks, kept on disk: one mechanism for all pretrained encoders.

A file for each vector, named by the SHA-256 of all that determines it. A file appears in one step
and is never changed: so processes share the folder without a lock, which a data base on a network
disk could not promise, and damage costs one vector.
"""

import hashlib
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.datasets.place import StoreError, folder

# From the warning in `write_vectors` to whoever called an encoder: that function, cached_vectors,
# the encoder's method and forward, torch's no_grad and its two frames of a module's call.
CALLER = 8


def cache_folder() -> Path | None:
    """The folder features beside the data sets; None, with a warning, where there is no place for
    it.
    """
    try:
        return folder() / "features"
    except StoreError as error:
        warnings.warn(f"features are not kept: {error}", stacklevel=3)
        return None


def asked_for_gradient(network: nn.Module, inputs: Tensor) -> bool:
    """Whether a gradient is to reach the inputs, or weights of a network that somebody set free."""
    wanted = inputs.requires_grad or any(one.requires_grad for one in network.parameters())
    return torch.is_grad_enabled() and wanted


def model_fingerprint(model: nn.Module, settings: object) -> str:
    """A model as it is now: layers, `settings` that its layers do not show, libraries, a checksum
    of each tensor.

    Read anew each time (0.03 s for 22.7 million numbers): torch's own counters of changes do not
    see what is written through `.data` or NumPy.
    """
    known = f"{torch.__version__}\n{settings}\n{model}\n"
    digest = hashlib.sha256(known.encode())
    for name, value in model.state_dict().items():
        content = value.cpu().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name} {value.dtype} {zlib.crc32(content)}\n".encode())
    return digest.hexdigest()


def cached_vectors(
    count: int,
    width: int,
    compute: Callable[[list[int]], Iterable[tuple[list[int], Tensor]]],
    names: Callable[[], list[str]],
    cache: Path | None,
) -> Tensor:
    """`count` vectors, (count, width) float32 on the CPU: from the folder `cache` where it has
    them.

    `compute(places)` yields the others, batch by batch: (places, vectors (b, width)); each batch is
    kept as soon as it is there. `names()`, asked only with a cache, says for each vector all that
    determines it.
    """
    vectors, files = torch.zeros(count, width), []
    for name in names() if cache else ():
        digest = hashlib.sha256(name.encode()).hexdigest()
        files.append(cache / digest[:2] / digest)
    wanted = []
    for i in range(count):
        if files and (vector := read_vector(files[i], width)) is not None:
            vectors[i] = vector
        else:
            wanted.append(i)
    for batch, computed in compute(wanted):
        vectors[batch] = computed.float().cpu()
        if files:
            write_vectors(cache, {files[i]: vectors[i] for i in batch})
    return vectors


def read_vector(file: Path, width: int) -> Tensor | None:
    """What `write_vectors` has kept: 32 bytes of SHA-256, then the vector; None if there is
    nothing or it is damaged.
    """
    try:
        content = file.read_bytes()
    except OSError:
        return None
    good = len(content) == 32 + 4 * width and hashlib.sha256(content[32:]).digest() == content[:32]
    return torch.frombuffer(bytearray(content[32:]), dtype=torch.float32) if good else None


def write_vectors(cache: Path, vectors: dict[Path, Tensor]) -> None:
    """Keep vectors in their files below `cache`; where that fails, warn and go on."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as temporary:
            for file, vector in vectors.items():
                content = vector.numpy().tobytes()
                file.parent.mkdir(exist_ok=True)
                new = Path(temporary, file.name)
                new.write_bytes(hashlib.sha256(content).digest() + content)
                os.replace(new, file)
    except OSError as error:  # features that cannot be kept are right all the same
        warnings.warn(
            f"features are not kept in {cache}: {error.strerror or error}; with cache=False"
            " nothing is tried",
            stacklevel=CALLER,
        )
