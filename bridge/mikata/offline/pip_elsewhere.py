"""pip, in a process of its own, with the environment markers of another machine.

``pip download --platform`` chooses wheels of another system, but asks the running one which dependencies are
needed there: from Linux it would look for Linux's CUDA libraries among the wheels for Windows, and leave out what
only Windows needs. No option changes that; here the one function that pip's markers ask is replaced, in a process
that does nothing else. Whoever starts this checks the wheels that come back against their own metadata.

Usage: ``python -P pip_elsewhere.py '{"sys_platform": "win32", ...}' download ...``
"""

from __future__ import annotations

import json
import sys

UNFIT = 96
"""Exit status where this pip does not let itself be told about another machine."""


def main() -> int:
    """Run pip with the markers of the first argument."""
    environment: dict[str, str] = json.loads(sys.argv[1])
    try:
        from pip._internal.cli.main import main as pip
        from pip._vendor.packaging import markers

        markers.default_environment = lambda: dict(environment)
        told = all(
            markers.Marker(f'{name} == "{value}"').evaluate() for name, value in environment.items() if value
        )
    except (ImportError, AttributeError):
        return UNFIT
    if not told:
        return UNFIT
    return int(pip(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
