"""`python -m sekring` is the command `sekring`."""

import sys

from sekring.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
