"""Made-up captioned clips, tiny models trained on them, and their training: a self-test, never a judge of real models."""

from pathlib import Path
from typing import Final

WEIGHTS: Final = Path(__file__).parent / "weights"
"""The folder of the models and extractors that the package ships, one folder each by its id."""
