"""A server for the page's model: python server.py model.pt2 [--port 8000]

    POST /predict  {"id": "a1", "text": "sevn", "audio": null}
                   -> {"id": "a1", "digit": 7, "word": "seven", "probability": 0.93, ...}
    GET  /health   -> {"status": "ready", "model": "3f2a..."}

`audio` is base64 of float32 samples (little endian, -1 to 1) at 8 kHz, at most one second. One of
the two may be null or left out: then it is missing. It needs the exported file, torch and FastAPI;
nothing of the course. Without --port the system chooses one, and the first line printed names it.
"""

import argparse
import base64
import binascii
import hashlib
import math
import socket
from pathlib import Path

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

LETTERS, SAMPLES, LEAST = 12, 8_000, 256
LARGEST = 64_000  # bytes of a request; a second of sound is 43 kB
EXPECTED = {  # for pydantic's own errors
    "string_type": "expected a text",
    "string_unicode": "expected a text",
    "missing": "expected, and not there",
    "extra_forbidden": "expected no more than id, text and audio",
    "json_invalid": "expected JSON",
    "model_attributes_type": "expected a JSON object with id, text and audio",
}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Question(BaseModel):
    """One request. A word and a sound, or one of the two."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=64)
    text: str | None = None
    audio: str | None = None

    @field_validator("text")
    @classmethod
    def spelled(cls, text: str | None) -> str | None:
        if text is None:
            return None
        if not 1 <= len(text) <= LETTERS:
            raise ValueError(f"expected 1 to {LETTERS} letters, got {len(text)}")
        if odd := sorted(set(text.lower()) - set("abcdefghijklmnopqrstuvwxyz")):
            raise ValueError(f"expected the letters a to z, got {odd[0]!a}")
        return text.lower()

    @field_validator("audio")
    @classmethod
    def sounds(cls, audio: str | None) -> str | None:
        if audio is not None:
            samples(audio)
        return audio

    @model_validator(mode="after")
    def something(self) -> "Question":
        if self.text is None and self.audio is None:
            raise ValueError("expected text, audio or both, got neither")
        return self


def samples(audio: str) -> np.ndarray:
    """The samples (S,) float32 in a base64 text; ValueError says what is wrong with it."""
    try:
        content = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"expected base64, got a text that is none ({error})") from None
    if len(content) % 4:
        raise ValueError(f"expected float32, 4 bytes each, got {len(content)} bytes")
    sound = np.frombuffer(content, "<f4")
    if not LEAST <= len(sound) <= SAMPLES:
        raise ValueError(
            f"expected {LEAST} to {SAMPLES:,} samples (8 kHz, at most 1 s), got {len(sound):,}"
        )
    if broken := int((~np.isfinite(sound)).sum()):
        raise ValueError(f"expected finite samples, got NaN or infinity in {broken}")
    if (top := float(np.abs(sound).max())) > 100:  # noise at -10 dB has samples of 1 to 3
        raise ValueError(
            f"expected samples of about -1 to 1, got {top:,.0f}; divide int16 by 32768"
        )
    return sound


def tensors(question: Question) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the exported program takes: letters (1, 12), sound (1, 8000), samples (1,)."""
    letters = torch.zeros(1, LETTERS, dtype=torch.int64)
    sound, count = torch.zeros(1, SAMPLES), torch.zeros(1, dtype=torch.int64)
    for place, letter in enumerate(question.text or ""):
        letters[0, place] = ord(letter) - 96
    if question.audio is not None:
        heard = samples(question.audio)
        sound[0, : len(heard)], count[0] = torch.from_numpy(heard.copy()), len(heard)
    return letters, sound, count


def make_app(file: Path) -> FastAPI:
    """The application around an exported program, loaded and tried once before it is ready."""
    torch.set_num_threads(1)  # many requests side by side, each on one core
    program = torch.export.load(file).module()
    version = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    app = FastAPI()

    @torch.inference_mode()
    def probabilities(question: Question) -> list[float]:
        return program(*tensors(question)).softmax(1)[0].tolist()

    probabilities(Question(id="warm-up", text="one"))

    @app.middleware("http")
    async def not_too_large(request: Request, go_on):
        length = request.headers.get("content-length")
        if request.method == "POST" and length is None:
            return refused(411, "body", "no length", "the header content-length")
        if length is not None and int(length) > LARGEST:
            return refused(413, "body", f"{int(length):,} bytes", f"at most {LARGEST:,} bytes")
        return await go_on(request)

    @app.exception_handler(RequestValidationError)
    async def in_words(request: Request, error: RequestValidationError):
        return JSONResponse({"faults": [told(each) for each in error.errors()]}, status_code=422)

    @app.exception_handler(400)
    async def unreadable(request: Request, error: Exception):
        return refused(400, "body", "what is none", "JSON")

    @app.get("/health")
    def health() -> dict:
        return {"status": "ready", "model": version}

    @app.post("/predict")
    def predict(question: Question) -> dict:
        shares = probabilities(question)
        digit = max(range(10), key=shares.__getitem__)
        present = [name for name in ("text", "audio") if getattr(question, name) is not None]
        return {
            "id": question.id,
            "digit": digit,
            "word": WORDS[digit],
            "probability": shares[digit],
            "present": present,
            "model": version,
        }

    return app


def told(fault: dict) -> dict:
    """One of pydantic's errors: which field, what is wrong in words, what came."""
    kind, path = fault["type"], [str(part) for part in fault["loc"][1:]]
    message = EXPECTED.get(kind, fault["msg"].removeprefix("Value error, "))
    field = "body" if kind == "json_invalid" or not path else ".".join(path)
    return {"field": field, "fault": message, "got": shown(fault.get("input"))}


def refused(status: int, field: str, got: str, expected: str) -> JSONResponse:
    fault = {"field": field, "fault": f"expected {expected}, got {got}", "got": got}
    return JSONResponse({"faults": [fault]}, status_code=status)


def shown(value) -> str:
    """What came, as a short text: NaN is no JSON, and a sound is long."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    app = make_app(options.model)
    # Bound here, so that nobody takes the port before us. Without the last word asyncio does not
    # set TCP_NODELAY, and each answer waits 40 ms for the client's receipt.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", options.port))
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
