"""Trains a small fused model in several processes, and goes on after one of them is killed.

    torchrun --standalone --nproc-per-node 2 --max-restarts 3 ddp.py data.pt weights.pt

data.pt holds {"text": (N, D) float, "image": (N, D) float, "label": (N,) int64}; any two vectors
will do. On several machines the same file runs by another line on each of them:

    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        --max-restarts 3 ddp.py ...

Started by plain python it is one process with the same global batch, and gives the same weights.
"""

import argparse
import os
import signal
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel


class Fused(nn.Module):
    """Two vectors side by side, one hidden layer: (B, D_text), (B, D_image) -> (B, 10)."""

    def __init__(self, text: int, image: int, width: int = 32):
        super().__init__()
        self.hidden, self.head = nn.Linear(text + image, width), nn.Linear(width, 10)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        return self.head(self.hidden(torch.cat([text, image], 1)).relu())


def rows_of(step: int, count: int, batch: int, seed: int) -> Tensor:
    """The rows (batch,) of the global batch `step`: each epoch in an order that its number gives,
    the same in every process, and after a restart.
    """
    epoch, place = divmod(step, count // batch)  # what does not fill a batch is left out
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1000 * seed + epoch))
    return order[place * batch : (place + 1) * batch]


def save(state: dict, file: Path) -> None:
    """Whole or not at all: written beside, then renamed."""
    beside = file.with_name(file.name + ".part")
    torch.save(state, beside)
    os.replace(beside, file)


def join() -> None:
    """Join the group of processes that torchrun has started.

    Its store outlives a restart, and in it stand the addresses of the dead. So each life gets names
    of its own; else a new process may call a dead one, and fail or wait for ever.
    """
    store, rank, world = next(distributed.rendezvous("env://"))
    life = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = distributed.PrefixStore(f"life {life}", store)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)


def train(options: argparse.Namespace, rank: int, world: int) -> None:
    if options.batch % world:  # else some rows would count more than others
        raise ValueError(f"--batch: {options.batch} rows do not part evenly into {world} processes")
    data = torch.load(options.data, weights_only=True)
    text, image, label = data["text"].double(), data["image"].double(), data["label"]
    torch.manual_seed(options.seed)  # every process begins with the same weights
    model = Fused(text.shape[1], image.shape[1]).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    checkpoint, begin = options.weights.with_suffix(".checkpoint"), 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begin = state["step"]
        if rank == 0:
            print(f"resumed at step {begin}", flush=True)
    call = DistributedDataParallel(model) if world > 1 else model

    for step in range(begin, options.steps):
        # one after the other in turn: rank r has rows r, r + world, ...
        mine = rows_of(step, len(label), options.batch, options.seed)[rank::world]
        loss = F.cross_entropy(call(text[mine], image[mine]), label[mine])
        optimizer.zero_grad()
        loss.backward()  # DDP: the mean of all processes' gradients
        optimizer.step()
        if rank == 0 and (step + 1) % options.every == 0:
            parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save(parts | {"step": step + 1}, checkpoint)
        first_life = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if step + 1 == options.kill_at and rank == world - 1 and first_life:
            os.kill(os.getpid(), signal.SIGKILL)  # as a machine that fails: nothing is tidied up

    if rank == 0:
        save(model.state_dict(), options.weights)
        checkpoint.unlink(missing_ok=True)
        processes = "processes" if world > 1 else "process"
        print(f"{options.steps - begin} steps in {world} {processes}", flush=True)


def asked(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64, help="of all processes together")
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kill-at", type=int, help="the last process dies after this step, once")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = asked()
    torch.set_num_threads(1)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        join()
    try:
        train(options, int(os.environ.get("RANK", "0")), world)
    finally:
        if world > 1:
            distributed.destroy_process_group()
