"""``python -m densityguide``: the command line."""

import sys

from densityguide.cli import main

if __name__ == "__main__":
    sys.exit(main())
