"""Data sets and their declared transforms."""

from densityguide.data.dataset import NAMES, Dataset, checksum, load
from densityguide.data.transforms import Dequantise, nats_to_bits_per_dim

__all__ = ["NAMES", "Dataset", "Dequantise", "checksum", "load", "nats_to_bits_per_dim"]
