"""Do the claims hold? Ten questions put to the shipped models and to networks of others, and their
answers with intervals.

``python -m studies evidence`` measures everything and writes the pages. A file here
is a question; `study` says what one is made of.
"""

from studies.evidence.config import check
from studies.evidence.run import run

__all__ = ["check", "run"]
