"""The machine that the wheels are for: a system and a Python version, in pip's and in the markers' words."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from mikata.errors import ParameterError
from mikata.language import say

SYSTEMS = ("windows", "linux", "macos-arm")
PYTHONS = ("3.11", "3.12", "3.13")

# What pip takes for a foreign system. It widens macOS's tag to all older ones by itself, Linux's not.
# glibc 2.28 is what torch's own wheels ask for; macOS 14 is the oldest that Apple still repairs.
_TAGS = {
    "windows": ("win_amd64",),
    "linux": (
        *(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)),
        "manylinux2014_x86_64",
        "linux_x86_64",
    ),
    "macos-arm": ("macosx_14_0_arm64",),
}
_MARKERS = {
    "windows": {
        "os_name": "nt",
        "sys_platform": "win32",
        "platform_system": "Windows",
        "platform_machine": "AMD64",
    },
    "linux": {
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    },
    "macos-arm": {
        "os_name": "posix",
        "sys_platform": "darwin",
        "platform_system": "Darwin",
        "platform_machine": "arm64",
    },
}
_SHOWN = {"windows": "Windows", "linux": "Linux", "macos-arm": "macOS"}


@dataclass(frozen=True)
class Target:
    """A system and a Python version, such as ``windows`` and ``3.12``."""

    system: str
    python: str

    @property
    def shown(self) -> str:
        """For messages: ``Windows and Python 3.12``, without words that a language has."""
        return f"{_SHOWN[self.system]}, Python {self.python}"

    @property
    def abi(self) -> str:
        """The tag of CPython's binary interface, such as ``cp312``."""
        return "cp" + self.python.replace(".", "")

    @property
    def pip_options(self) -> list[str]:
        """What tells pip which wheels to take."""
        options = ["--only-binary=:all:", "--implementation", "cp", "--abi", self.abi]
        options += ["--python-version", self.python]
        for tag in _TAGS[self.system]:
            options += ["--platform", tag]
        return options

    def environment(self, patch: int = 0) -> dict[str, str]:
        """Values of all environment markers, but for ``extra``.

        Parameters
        ----------
        patch:
            Third number of Python's version. The first release is the one that needs most: packages that stand
            in for a part of Python are asked for below a version.
        """
        full = f"{self.python}.{patch}"
        return _MARKERS[self.system] | {
            "implementation_name": "cpython",
            "implementation_version": full,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_version": "",
            "python_full_version": full,
            "python_version": self.python,
        }


def choose(system: str, python: str) -> Target:
    """The target that was asked for; what was left empty is this machine's.

    Raises
    ------
    ParameterError
        If there are no wheels for it.
    """
    return Target(_system(system.strip().lower()), _python(python.strip()))


def _system(asked: str) -> str:
    if asked in SYSTEMS:
        return asked
    if asked in ("macos", "macos-intel", "darwin"):
        raise ParameterError(
            say(
                "system is {system!r}: PyTorch makes no wheels for Macs with an Intel processor any more; "
                "for one with Apple's own processor give macos-arm.",
                system=asked,
            )
        )
    if asked:
        raise ParameterError(
            say("system is {system!r}; it must be one of windows, linux, macos-arm.", system=asked)
        )
    here = (sys.platform, platform.machine().lower())
    for system, markers in _MARKERS.items():
        if here == (markers["sys_platform"], markers["platform_machine"].lower()):
            return system
    raise ParameterError(
        say(
            "For a machine like this one ({platform}, {machine}) wheels of all that Mikata needs are not made; "
            "give system: windows, linux or macos-arm.",
            platform=here[0],
            machine=here[1],
        )
    )


def _python(asked: str) -> str:
    chosen = asked or f"{sys.version_info[0]}.{sys.version_info[1]}"
    if chosen not in PYTHONS:
        raise ParameterError(say("python is {python!r}; it must be one of 3.11, 3.12, 3.13.", python=chosen))
    return chosen
