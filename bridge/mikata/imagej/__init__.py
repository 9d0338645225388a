"""ImageJ inside Python: the one folder of Mikata that knows Java.

>>> import mikata.imagej
>>> ij = mikata.imagej.start()
>>> ij.run_macro('newImage("a", "8-bit", 64, 64, 1); run("Invert");')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mikata.imagej.gateway import ImageJ, attach, start

__all__ = ["ImageJ", "attach", "start"]


def __getattr__(name: str) -> Any:
    # late, so that `import mikata.imagej` costs nothing until ImageJ is asked for
    if name in __all__:
        from mikata.imagej import gateway

        return getattr(gateway, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
