"""Knowing log p: traces, probes, error bars, encoding, bits per dimension, SDEs."""
