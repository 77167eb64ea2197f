"""What a trained multimodal model uses: its score without modalities, their Shapley values and
interactions, and what is left of its answers when nothing may interact.

    scores = subset_scores(predict, {"text": text, "image": image}, score)    # 2^M scores
    shapley(scores)           # {"text": .21, "image": .19}, together full score - empty score
    interactions(scores)      # {("text", "image"): .4}, above 0 where each needs the other
    emap(predict, {"text": text, "image": image})    # (N, C), the additive part of the logits

`predict(inputs)` is any function from a batch of the modalities, by name, to a tensor with a row
for each sample, as a `Fusion` is. A modality is a tensor (N, ...) or a dict of tensors that belong
together, such as tokens and their mask. What "absent" means is a choice that changes the numbers.

A batch of `collate` has one mask for all its modalities, and the label. Hand each its own part, and
let `predict` put the batch together:

    inputs = {name: {"values": batch[name], "mask": batch["mask"][name]} for name in names}

    def predict(inputs):
        values = {name: part["values"] for name, part in inputs.items()}
        return model(values | {"mask": {name: part["mask"] for name, part in inputs.items()}})

Where what stands: `outputs` asks a model with some modalities absent, `scores` has its scores for
all subsets, `ablation` those without one modality, `shares` divides them, Shapley values and
interactions, `sums` is EMAP.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "ABSENT": "outputs",
    "MOST_MODALITIES": "outputs",
    "subset_scores": "scores",
    "ablation_scores": "ablation",
    "shapley": "shares",
    "interactions": "shares",
    "emap": "sums",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
