"""Gradients by hand: what each operation sends back, on plain tensors and without autograd.

    d_logits = cross_entropy_backward(logits, labels)  # (N, C), by default (p - y) / N
    d_fused, d_weight, d_bias = linear_backward(d_logits, fused, weight)  # (N, D), (C, D), (C,)
    d_features = concat_backward(d_fused, {"text": 16, "image": 32})  # (N, 16) and (N, 32)

One convention, everywhere: d_x is the gradient of the loss L with respect to x and has x's
shape. `<operation>_backward` takes d_out, the gradient with respect to the operation's result,
then what the operation itself was given, and returns the gradients of its inputs in their order,
by name where they came by name. A loss takes no d_out, because it starts the chain. No minus
sign is added on the way: the loss has one, and the chain rule has none.

`mask` is what the operation got: {name: (B,) bool} of modalities, or (B, K) bool of keys, True =
present; a modality that it leaves out is present. What is missing gets exactly 0, and what stands
there never matters, not even NaN. Hand over detached tensors: nothing is detached here.

To be read in this order: outputs, layers, fusion, attention, alignment, verify. Equation numbers
are those of pages 21, softmax and its losses, and 22, layers; fusion is page 23, attention and
alignment page 24. Wrong shapes and dtypes raise ValueError or TypeError. In half precision the
losses are computed in float32 and rounded once.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "cross_entropy_backward": "outputs",
    "binary_cross_entropy_backward": "outputs",
    "softmax_jacobian": "outputs",
    "softmax_backward": "outputs",
    "linear_backward": "layers",
    "activation_backward": "layers",
    "masked_mean_backward": "layers",
    "global_average_pool_backward": "layers",
    "embedding_backward": "layers",
    "concat_backward": "fusion",
    "weighted_concat_backward": "fusion",
    "sum_backward": "fusion",
    "mean_backward": "fusion",
    "weighted_sum_backward": "fusion",
    "linear_fusion_backward": "fusion",
    "max_backward": "fusion",
    "product_backward": "fusion",
    "outer_backward": "fusion",
    "low_rank_backward": "fusion",
    "gated_backward": "fusion",
    "film_backward": "fusion",
    "attention_pool_backward": "fusion",
    "late_backward": "fusion",
    "mixture_backward": "fusion",
    "product_of_experts_backward": "fusion",
    "attention_backward": "attention",
    "cross_attention_backward": "attention",
    "unit_length_backward": "alignment",
    "cosine_backward": "alignment",
    "info_nce_backward": "alignment",
    "sigmoid_loss_backward": "alignment",
    "triplet_backward": "alignment",
    "Comparison": "verify",
    "compare": "verify",
    "central_differences": "verify",
    "verify_gradient": "verify",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
