"""What people run: the command line, its commands, batch jobs."""
