"""Starts the server of `server.py` as a process, asks it, and stops it again.

    with serving("model.pt2") as address:
        answer = ask(address, {"id": "a1", "text": "sevn"})
        print(load(address, questions, clients=16))
"""

import base64
import contextlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

SERVER = Path(__file__).with_name("server.py")


@contextlib.contextmanager
def serving(model: str | Path, *, seconds: float = 60, say=print) -> Iterator[str]:
    """The address of a server that is ready; its process has ended when the block is left.

    Raises TimeoutError where it is not ready after `seconds`, RuntimeError where it ends before.
    """
    command = [sys.executable, str(SERVER), str(model)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout])
    reader.start()  # a pipe that nobody empties would stop the server
    try:
        yield _ready(process, lines, seconds, say)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stdout.close()


def _ready(process: subprocess.Popen, lines: queue.Queue, seconds: float, say) -> str:
    """Wait for the line with the address, then for /health."""
    begin, said, printed = time.monotonic(), 0.0, []
    while (waited := time.monotonic() - begin) < seconds:
        if waited - said >= 2:
            said = waited
            say(f"waiting for the server: {waited:.0f} of at most {seconds:.0f} s")
        try:
            printed.append(lines.get(timeout=0.1).strip())
        except queue.Empty:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended: {' '.join(printed[-3:])}") from None
        address = next((line for line in printed if line.startswith("http://")), None)
        if address is not None:
            with contextlib.suppress(httpx.TransportError):  # not listening yet
                if httpx.get(f"{address}/health", timeout=5).status_code == 200:
                    return address
    raise TimeoutError(f"the server was not ready after {seconds:.0f} s: {' '.join(printed[-3:])}")


def encoded(sound) -> str:
    """Samples (S,), a tensor or an array, as the server takes them."""
    return base64.b64encode(np.asarray(sound, "<f4").tobytes()).decode()


def ask(address: str, question: dict) -> dict:
    """The server's answer, or its faults, with the status."""
    answer = httpx.post(f"{address}/predict", json=question, timeout=30)
    return {"status": answer.status_code} | answer.json()


def load(address: str, questions: list[dict], *, clients: int = 16) -> dict:
    """Ask all questions by `clients` threads at once, each with one connection that it keeps.

    {"answers": {id: answer}, "seconds": in all, "per_second", "p50", "p99": in ms, "lost": ids
    without an answer of their own}.
    """
    waiting: queue.SimpleQueue[dict] = queue.SimpleQueue()
    for question in questions:
        waiting.put(question)

    def one_client(_: int) -> list[tuple[str, dict, float]]:
        done = []
        with httpx.Client(base_url=address, timeout=30) as connection:
            while True:
                try:
                    question = waiting.get_nowait()
                except queue.Empty:
                    return done
                start = time.perf_counter()
                try:
                    answer = connection.post("/predict", json=question).json()
                except (httpx.HTTPError, ValueError):  # no answer, or no JSON
                    answer = {}
                done.append((question["id"], answer, time.perf_counter() - start))

    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        done = [row for rows in pool.map(one_client, range(clients)) for row in rows]
    seconds = time.perf_counter() - begin
    p50, p99 = np.percentile([1000 * took for _, _, took in done], [50, 99])
    return {
        "answers": {asked: answer for asked, answer, _ in done},
        "seconds": seconds,
        "per_second": len(done) / seconds,
        "p50": float(p50),
        "p99": float(p99),
        "lost": [asked for asked, answer, _ in done if answer.get("id") != asked],
    }
