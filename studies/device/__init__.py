"""What an accelerator does: throughput, what precision costs and brings, repeatability.

``python -m studies device`` takes a few minutes on one device and needs nothing but the package;
``--small`` rehearses all of it in miniature, on any machine.
"""

from studies.device.run import run

__all__ = ["run"]
