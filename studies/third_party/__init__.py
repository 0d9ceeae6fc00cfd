"""Networks that others trained: README.md says whose they are."""
