"""Names of units of length and time, as files spell them."""

from __future__ import annotations

MICROMETRE = "µm"

_LENGTHS = {
    "µm": ("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"),
    "nm": ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    "mm": ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    "cm": ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
    "m": ("m", "meter", "meters", "metre", "metres"),
    "inch": ("inch", "inches", "in"),
    "pixel": ("", "pixel", "pixels", "px"),
}
_METRES = {"nm": 1e-9, MICROMETRE: 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "inch": 0.0254}
_SECONDS = {
    1.0: ("", "s", "sec", "second", "seconds"),
    1e-3: ("ms", "msec", "millisecond", "milliseconds"),
    1e-6: ("us", "usec", "µs", "μs", "microsecond", "microseconds"),
    60.0: ("min", "minute", "minutes"),
    3600.0: ("h", "hr", "hour", "hours"),
}


def unit_name(spelling: str) -> str:
    """One name for each unit of length: ``µm`` for um and micron; unknown ones as they are."""
    spelling = spelling.strip()
    for name, spellings in _LENGTHS.items():
        if spelling.lower() in spellings:
            return name
    return spelling


def converted(length: float, unit: str, to: str) -> float:
    """`length` in another unit; unchanged where either unit is not one of length."""
    if unit == to or unit not in _METRES or to not in _METRES:
        return length
    return length * (_METRES[unit] / _METRES[to])


def in_seconds(time: float, unit: str) -> float:
    """`time` in seconds; 0, which stands for unknown, where the unit is not one of time."""
    for factor, spellings in _SECONDS.items():
        if unit.strip().lower() in spellings:
            return time * factor
    return 0.0
