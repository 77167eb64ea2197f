"""The names of this course's own modalities. Data of a reader's own may have any others."""

MODALITIES = ("text", "image", "audio")  # everywhere in this order
