"""Evidence, benchmarks and comparisons: what the package claims, measured."""
