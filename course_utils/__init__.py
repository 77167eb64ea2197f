"""The helpers of *Multimodal Learning, from Features to Fusion*, small enough to be read in an
evening.

Nothing heavy is imported here: a notebook pays for what it uses.
"""
