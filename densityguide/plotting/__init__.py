"""Pictures. Figures take arrays and return a matplotlib ``Figure``, which a notebook shows and
``figure.savefig`` writes; matplotlib is optional (extra ``plots``). The pages of the command line
are drawn with Pillow alone, and `dial` is a page of HTML.
"""

from densityguide.plotting.alignment import alignment
from densityguide.plotting.curves import convergence, log_density_paths
from densityguide.plotting.detail import detail, high_frequency_power, png_bytes, spearman
from densityguide.plotting.dial import Page, dial
from densityguide.plotting.dial_strip import dial_strip
from densityguide.plotting.images import images
from densityguide.plotting.intervals import intervals
from densityguide.plotting.pages import Label, image_grid, scatter_grid
from densityguide.plotting.plane import mesh, plane
from densityguide.plotting.results import results
from densityguide.plotting.spreads import spreads
from densityguide.plotting.strip import strip

__all__ = [
    "Label",
    "Page",
    "alignment",
    "convergence",
    "detail",
    "dial",
    "dial_strip",
    "high_frequency_power",
    "image_grid",
    "images",
    "intervals",
    "log_density_paths",
    "mesh",
    "plane",
    "png_bytes",
    "results",
    "scatter_grid",
    "spearman",
    "spreads",
    "strip",
]
