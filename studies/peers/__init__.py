"""The race: densityguide beside what one could use instead, on one machine in one run."""
