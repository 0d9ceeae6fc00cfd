"""What the command line does, one file per idea; ``densityguide.cli`` is the thin door to it."""
