"""Runs a script in several processes by torchrun, and leaves none of them behind."""

import queue
import subprocess
import sys
import threading
import time
from pathlib import Path


def torchrun(
    script: str | Path, *options, processes: int = 2, restarts: int = 0, seconds=120, say=print
) -> list[str]:
    """The lines that the processes print; what goes on is said every five seconds.

    Raises RuntimeError where the script fails, TimeoutError after `seconds`. In both cases, and
    when a reader stops the cell, the processes have ended.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    process = subprocess.Popen(
        [*command, str(script), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    lines: queue.Queue[str] = queue.Queue()
    errors: list[str] = []
    readers = [
        threading.Thread(target=lambda: [lines.put(line.rstrip()) for line in process.stdout]),
        threading.Thread(target=lambda: errors.extend(process.stderr)),
    ]
    for reader in readers:
        reader.start()
    begin, said = time.monotonic(), 0.0
    try:
        while process.poll() is None:
            waited = time.monotonic() - begin
            if waited > seconds:
                raise TimeoutError(f"the processes were not done after {seconds:.0f} s")
            if waited - said >= 5:
                said = waited
                say(f"{processes} processes at work: {waited:.0f} of at most {seconds:.0f} s")
            time.sleep(0.1)
    finally:
        if process.poll() is None:
            process.terminate()  # SIGTERM: torchrun ends its workers first
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for reader in readers:
            reader.join()
        process.stdout.close()
        process.stderr.close()
    if process.returncode:
        # the script's own error stands first, torchrun's summary last
        told = "".join(errors)
        told = told if len(told) < 4_000 else f"{told[:2_000]}\n...\n{told[-2_000:]}"
        raise RuntimeError(f"torchrun failed: {told}")
    return list(lines.queue)
