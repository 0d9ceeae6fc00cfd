"""Choosing log p: guidance, noise, landing, scaling, alignment."""
