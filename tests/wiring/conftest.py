"""The networks of others stand beside the shipped models."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "third_party"))
