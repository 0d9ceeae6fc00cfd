"""Do the claims hold? Eight questions put to the shipped models, their answers with intervals.

``densityguide run configs/evidence/*.toml`` measures everything and writes the pages. A file here
is a question; `study` says what one is made of.
"""

from densityguide.evidence.config import check
from densityguide.evidence.run import run

__all__ = ["check", "run"]
