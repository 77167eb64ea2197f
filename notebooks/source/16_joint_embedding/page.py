# %% tags=["measured", "imports"]
# Imports.
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import plots
from course_utils.datasets import Scenes, store
from course_utils.datasets.emoji import Emoji
from course_utils.datasets.scene_words import ATTRIBUTES
from course_utils.exercises import check, mine
from course_utils.image_encoder import load_image_encoder
from course_utils.metrics import mean_interval, recall_at, retrieval_ranks
from course_utils.report import guess, guesses, outcome, report, verify
from course_utils.rooms import stored
from course_utils.runtime import seed_everything
from course_utils.text_encoder import load_text_encoder

# %% tags=["measured", "proof"]
# The data: pictures of one thing each with a true sentence, and which sentence fits which picture.
VALUES = [word for words in ATTRIBUTES.values() for word in words]             # 12
WORDS = ["a", "picture", "of", "there", "is", "thing", *VALUES]                # 18; 0 is padding

def load(split, size, seed=0):
    """Tensors by name, a row a scene, and the sentences."""
    scenes = Scenes(split, size=size, seed=seed, objects=(1, 1), background=0.5)
    items = [scenes[i] for i in range(size)]
    captions = [item["caption"] for item in items]
    ids, shown = torch.zeros(size, 7).long(), torch.zeros(size, 12).bool()
    for row, item in enumerate(items):
        words, (thing,) = captions[row].split(), item["objects"]
        ids[row, :len(words)] = torch.tensor([1 + WORDS.index(word) for word in words])
        shown[row] = torch.tensor([x in (thing.size, thing.colour, thing.shape) for x in VALUES])
    said = (ids[..., None] == 7 + torch.arange(12)).any(dim=1)                 # (N, 12)
    image = F.avg_pool2d(torch.stack([item["image"] for item in items]), 2)    # (N, 3, 32, 32)
    return {"image": image, "ids": ids, "said": said, "shown": shown}, captions

def fits(said, shown):
    """Which sentences are true of which pictures: (N, 12), (M, 12) -> (N, M) bool."""
    return (said[:, None] <= shown).all(dim=2)

# %% tags=["measured"]
class Pictures(nn.Module):
    """Pictures (B, 3, 32, 32) -> vectors (B, width): three convolutions, the largest over places."""
    def __init__(self, width=32):
        super().__init__()
        layers = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
            conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body, self.project = nn.Sequential(*layers), nn.Linear(64, width)
    def forward(self, image):
        return self.project(self.body(image).amax(dim=(2, 3)))     # (B, 64, 4, 4) -> (B, width)

class Sentences(nn.Module):
    """Ids (B, T) -> vectors (B, width): the mean of the words, projected."""
    def __init__(self, width=32):
        super().__init__()
        self.words = nn.EmbeddingBag(1 + len(WORDS), 64, mode="mean", padding_idx=0)
        self.project = nn.Linear(64, width)
    def forward(self, ids):
        return self.project(self.words(ids))                       # (B, T) -> (B, width)

# %% tags=["measured", "proof"]
# Training with any objective(picture vectors, sentence vectors, batch), and the score.
def pair():
    return [Pictures(), Sentences()]

def train(objective, part, seed, lr=1e-2, steps=200, rows=128, make=pair, watch=None):
    """Both networks after training; `watch(step, networks)` is called before each step."""
    generator, count = seed_everything(seed), len(part["ids"])
    networks = nn.ModuleList(make())
    if isinstance(objective, nn.Module):
        networks.append(objective)
    optimizer, order = torch.optim.AdamW(networks.parameters(), lr=lr), torch.arange(0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for step in range(steps):
        if watch is not None:
            watch(step, networks)
        if len(order) < rows:                                      # the next pass over the pairs
            order = torch.randperm(count, generator=generator)
        chosen, order = order[:rows], order[rows:]
        batch = {name: x[chosen] for name, x in part.items()}
        loss = objective(networks[0](batch["image"]), networks[1](batch["ids"]), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return networks.eval()

@torch.no_grad()
def embed(networks, part):
    """Unit vectors of pictures and sentences, (N, width) both."""
    vectors = networks[0](part["image"]), networks[1](part["ids"])
    return [F.normalize(x, dim=1) for x in vectors]

def hits(table, part):
    """Of a table sentences x pictures (N, N): the share of sentences whose nearest picture fits, and
    of pictures whose nearest sentence does.
    """
    right = fits(part["said"], part["shown"])                                  # (N, N)
    found = table.argmax(dim=1, keepdim=True), table.argmax(dim=0, keepdim=True)
    return [right.gather(dim, x).double().mean().item() for dim, x in zip((1, 0), found)]

def score(networks, part):
    pictures, sentences = embed(networks, part)
    return hits(sentences @ pictures.T, part)

# %% tags=["measured"]
def effective_rank(vectors):
    """How many directions unit vectors (N, D) use: exp of the entropy of their singular values."""
    values = torch.linalg.svdvals(vectors)
    shares = values / values.sum()
    return torch.special.entr(shares).sum().exp().item()

def random_cosine(vectors):
    """The mean cosine of two different rows."""
    table = vectors @ vectors.T
    return (table.sum() - table.trace()).item() / (len(table) * (len(table) - 1))

# %% tags=["measured", "proof"]
# Emoji: vectors of pictures and names, scaled on the training split; and the ranks in a search.
def emoji_pairs(seed, look, read, short_names=False):
    """By split: "image" (N, 1280) and "text" (N, 384), scaled; "name" (N, 384), unit and centred."""
    pairs = {}
    for split in ("train", "validation", "test"):
        items = [*Emoji(split, seed=seed, short_names=short_names)]
        pictures = look.transform(96)(torch.stack([item["image"] for item in items]))
        text = read([item["text"] for item in items])[0]
        pairs[split] = {"image": look(pictures, "mean")[0], "text": text,
                        "name": F.normalize(text, dim=1)}
    start = {name: x.clone() for name, x in pairs["train"].items()}
    for part in pairs.values():
        part["name"] = part["name"] - start["name"].mean(dim=0)
        for name in ("image", "text"):
            part[name] = (part[name] - start[name].mean(0)) / start[name].std(0).clamp(min=1e-6)
    return pairs

def places(said, pictures):
    """Where each sentence's own picture stands in its list, 1 for the first: (N, D) twice -> (N,)."""
    table = F.normalize(said, dim=1) @ F.normalize(pictures, dim=1).T
    return retrieval_ranks(table, torch.eye(len(table)).bool())

def ridge_places(pairs, split, penalty):
    """Ridge regression from pictures to names; the places of the pictures of a split."""
    x, y = pairs["train"]["image"], pairs["train"]["name"]
    weights = torch.linalg.solve(x.T @ x + penalty * torch.eye(1280), x.T @ y)
    return places(pairs[split]["name"], pairs[split]["image"] @ weights)

# %% tags=["measured", "proof"]
# Emoji: two linear maps into one space, trained by a contrastive loss.
def contrast_places(pairs, loss_of, seed, rate, dropout, decay, epochs=60, rows=128, width=512):
    """For every fourth epoch the places in the validation and in the test split."""
    generator, x, y = seed_everything(seed), pairs["train"]["image"], pairs["train"]["text"]
    maps = nn.ModuleList([nn.Linear(1280, width), nn.Linear(384, width)])
    optimizer = torch.optim.AdamW(maps.parameters(), lr=rate, weight_decay=decay)
    found = []
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(x), generator=generator)
        for chosen in order.split(rows)[:max(1, len(x) // rows)]:
            both = [layer(F.dropout(z[chosen], dropout)) for layer, z in zip(maps, (x, y))]
            optimizer.zero_grad()
            loss_of(*both, 0.07).backward()
            optimizer.step()
        if epoch % 4 == 0:
            with torch.no_grad():
                ends = [places(maps[1](pairs[split]["text"]), maps[0](pairs[split]["image"]))
                        for split in ("validation", "test")]
            found.append((epoch, *ends))
    return found
