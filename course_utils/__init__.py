"""The helpers of *Multimodal Learning, from Features to Fusion*, small enough to be read in an
evening.

Nothing heavy is imported here: a notebook pays for what it uses.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("multimodal-course")  # stands in pyproject.toml alone
except PackageNotFoundError:  # as on Colab, where the folder is used without being installed
    __version__ = "0+not-installed"
