"""``python -m densityguide``: the command line."""

from densityguide.app.cli import program

if __name__ == "__main__":
    program()
