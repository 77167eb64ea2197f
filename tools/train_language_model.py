"""Train the small language model that `load_language_model("scenes-gpt")` gives, on text alone.

    python tools/train_language_model.py            says how good it is; writes nothing
    python tools/train_language_model.py --write    writes the file in data/language_model

It reads texts about scenes of a seed of its own and never sees a picture: what is in a scene, then
turns about it, which are questions with their answers, statements, captions, and the description
asked for again. At most 20 minutes on one core. The same machine and versions give the same file;
others may differ in the last digits, so a file that was written anew needs its SHA-256, which is
printed, in `course_utils/weights.py`.
"""

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from train_audio_encoder import command

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from course_utils.datasets import Scenes  # noqa: E402  (after the path)
from course_utils.datasets.scene_words import (  # noqa: E402
    ATTRIBUTES,
    caption,
    description,
    pick,
    shuffle,
)
from course_utils.language_model import (  # noqa: E402
    DESCRIBE,
    SCENES_GPT,
    scenes_gpt,
    scenes_tokenizer,
)
from course_utils.masks import pad  # noqa: E402
from course_utils.text import BOS, EOS  # noqa: E402

SEED, SIZE = 1_000, 6_000  # of the scenes with each number of things; pages use small seeds
STEPS, ROWS, TURNS, RATE, WARM = 2_400, 32, 6, 2e-3, 100
TEXT = 0.1  # what a word counts in the loss that is not a reply; a reply's counts 1
ASKED = ("exists", "count", "compare", *ATTRIBUTES)  # a description says no relations


def texts(split: str, things: int, size: int, seed: int) -> list[tuple[str, list, list]]:
    """What can be said of scenes with so many things: each scene's description, 12 questions with
    their answers, kinds and answers about as frequent as each other, and 4 captions.
    """
    scenes = Scenes(split, size=size, seed=seed, objects=(things, things))
    rng = Random(f"texts {split} {things} {size} {seed}").random
    found = []
    for i in range(size):
        objects = scenes[i]["objects"]
        answered = defaultdict(lambda: defaultdict(list))
        for question, answer, kind in scenes.questions(i):
            answered[kind][answer].append(question)
        kinds = [kind for kind in ASKED if kind in answered]
        asked = []
        for _ in range(12):
            kind = pick(kinds, rng)
            answer = pick(list(answered[kind]), rng)
            asked.append((pick(answered[kind][answer], rng), answer))
        captions = [caption(objects, rng) for _ in range(4)]
        found.append((description(objects, rng), asked, captions))
    return found


def dialogue(text: tuple[str, list, list], words, rng) -> tuple[Tensor, Tensor]:
    """A description and TURNS turns about it, each between `<bos>` and `<eos>`: ids (T,) and what
    each counts in the loss (T,).
    """
    told, asked, captions = text
    turns = [("", told, TEXT)]
    for question, answer in shuffle(asked, rng)[:TURNS]:
        chance = rng()
        if chance < 0.08:
            question, answer = DESCRIBE, told
        if chance > 0.92:
            question, answer = "", pick(captions, rng)
        turns.append((question, answer, 1.0 if question else TEXT))
    ids, counts = [], []
    for prompt, reply, count in turns:
        given, said = [BOS, *words(prompt)], [*words(reply), EOS]
        ids += given + said
        counts += [TEXT] * len(given) + [count] * len(said)
    return torch.tensor(ids), torch.tensor(counts)


def train(generator: torch.Generator) -> tuple[nn.Module, nn.Module]:
    """The model without its last layer, which is its table of words again, and the whole."""
    model, tokenizer = scenes_gpt().train(), scenes_tokenizer()
    words = remembered(tokenizer)
    read = {things: texts("train", things, SIZE, SEED) for things in (1, 2, 3)}
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, pace)
    rng = Random(f"dialogues {SEED}").random
    for step in range(STEPS):
        numbers = (1,) if step < STEPS * 0.05 else (1, 2) if step < STEPS * 0.12 else (1, 2, 3, 3)
        rows = [dialogue(pick(read[pick(numbers, rng)], rng), words, rng) for _ in range(ROWS)]
        ids, _ = pad([ids for ids, _ in rows])  # (B, T)
        counts, _ = pad([counts for _, counts in rows])  # (B, T), 0 at padding
        # padding stands on the right, where no word before it looks: no mask is needed
        logits = model(input_ids=ids).logits[:, :-1]  # (B, T - 1, V)
        each = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        weights = counts[:, 1:].flatten()  # (B * (T - 1),)
        loss = (each * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 199:
            print(f"step {step + 1}: {shares(model, 'validation', 100)}", flush=True)
    return model.model.eval(), model.eval()


def pace(step: int) -> float:
    """What the rate is multiplied by: up in WARM steps, then down along a cosine."""
    return min((step + 1) / WARM, 1) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / STEPS)))


def remembered(tokenizer) -> Callable[[str], list[int]]:
    """The tokenizer's ids of a text, each text read once."""
    return cache(lambda text: tokenizer(text)["input_ids"])


@torch.no_grad()
def answered(model: nn.Module, split: str, things: int, size: int) -> Iterator[tuple[str, bool]]:
    """Of scenes' own questions, but for relations: the kind, and whether the reply to a true
    description is the answer, word for word, and ends there.
    """
    scenes = Scenes(split, size=size, objects=(things, things))
    rng = Random(f"answered {split} {things}").random
    items = [scenes[i] for i in range(size)]
    items = [item for item in items if item["kind"] != "relation"]
    words = remembered(scenes_tokenizer())
    model.eval()
    for item in items:
        told = [BOS, *words(description(item["objects"], rng)), EOS]
        prompt = [*told, BOS, *words(item["question"])]
        expected = [*words(item["answer"]), EOS]
        ids = torch.tensor([prompt + expected])
        said = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].argmax(1)
        yield item["kind"], said.tolist() == expected
    model.train()


def shares(model: nn.Module, split: str, size: int, most: int = 3) -> str:
    """The share that is answered right, by number of things and by kind."""
    right = defaultdict(list)
    for things in range(1, most + 1):
        for kind, good in answered(model, split, things, size):
            right[f"{things} things"].append(good)
            if things <= 3:
                right[kind].append(good)
    return ", ".join(f"{name} {sum(each) / len(each):.3f}" for name, each in right.items())


def told(body: nn.Module, model: nn.Module) -> Iterator[str]:
    for split in ("train", "validation", "test", "novel"):
        yield f"right from a true description, {split}: {shares(model, split, 700, most=4)}"


if __name__ == "__main__":
    command("Train the language model of scenes.", SCENES_GPT, train, told)
