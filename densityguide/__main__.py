"""``python -m densityguide``: the command line."""

from densityguide.cli import program

if __name__ == "__main__":
    program()
