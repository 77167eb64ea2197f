"""Text in, features out: letters, words and their ids, word vectors.

    vocabulary = Vocabulary(["A small cat.", "A dog, a cat!"])
    ids, mask = vocabulary.batch(["a dog"])                 # (1, 2) int64, (1, 2) bool
    features = nn.Embedding(len(vocabulary), 8)(ids)        # (1, 2) -> (1, 2, 8)

Features and mask go into the fusion interface as they are: True where there is something. The
pretrained encoder stands in `text_encoder`, means and last states under a mask in `masks`.

Where what stands: `letters` counts letters, `words` cuts into words and numbers them, `vectors` has
what trains word vectors and looks among them.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "letter_features": "letters",
    "TOKEN": "words",
    "PAD": "words",
    "UNKNOWN": "words",
    "BOS": "words",
    "EOS": "words",
    "tokenize": "words",
    "Vocabulary": "words",
    "skip_gram_pairs": "vectors",
    "negative_samples": "vectors",
    "nearest": "vectors",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
