"""`python -m mikata` is `mikata`."""

import sys

from mikata.app import main

if __name__ == "__main__":
    sys.exit(main())
