"""pip in a process of its own: its progress shown, its failures told in one sentence."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from mikata.errors import Cancelled, OutputError
from mikata.language import say
from mikata.offline import pip_elsewhere
from mikata.offline.errors import CollectError
from mikata.offline.target import Target
from mikata.types import Progress

# "Downloading x.whl (3 kB)"; not the lines about x.whl.metadata
_FETCHED = re.compile(r"^\s*(?:Downloading|Using cached|Processing) (?:\S.*[/\\])?([^/\\]+\.whl)(?: \(.*)?$")
# what pip says before it goes on as if the index had been empty
_NETWORK = re.compile(
    r"Retrying \(Retry|NewConnectionError|Could not fetch URL|ProxyError|ReadTimeoutError|ConnectTimeoutError|"
    r"ConnectionResetError|Temporary failure in name resolution|getaddrinfo failed|SSLError"
)
_LOOK_EVERY_S = 0.3


def require() -> None:
    """Raise `CollectError` at once where this Python has no pip."""
    if importlib.util.find_spec("pip") is None:
        raise CollectError(
            say(
                "This Python ({python}) has no pip, which fetches the wheels. Install it with: "
                "python -m ensurepip",
                python=sys.executable,
            )
        )


def download(
    words: Sequence[str], target: Target, folder: Path, progress: Progress, *, only: str | None = None
) -> None:
    """``pip download`` for another machine.

    Parameters
    ----------
    words:
        Options and requirements.
    target:
        The machine.
    folder:
        Takes the wheels.
    progress:
        Told about each wheel.
    only:
        The one index to look at, instead of all that pip was set up for.

    Raises
    ------
    CollectError
        If something cannot be fetched.
    Cancelled
        If the user stopped it.
    """
    # by its file, and that one's folder not on the path: nothing of Mikata is loaded beside pip
    command = ["-P", pip_elsewhere.__file__, json.dumps(target.environment()), "download"]
    command += [*target.pip_options, *words]
    without = () if only is None else ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")
    index = [] if only is None else ["--index-url", only]
    _run([*command, "--dest", str(folder), *index], target.shown, folder.parent, progress, without)


def build(words: Sequence[str], folder: Path, progress: Progress) -> None:
    """``pip wheel`` into a folder, on this machine; raises as `download` does."""
    _run(["-m", "pip", "wheel", "--wheel-dir", str(folder), *words], "", folder, progress)


def _run(
    words: Sequence[str], target: str, workshop: Path, progress: Progress, without: Sequence[str] = ()
) -> None:
    require()
    # pip leaves what it was fetching where it is stopped: gigabytes, which go with this folder
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=workshop, ignore_cleanup_errors=True) as temporary:
        env = {name: value for name, value in os.environ.items() if name not in without}
        env |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary)
        env |= {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
        status, said = _watch(words, env, progress)
    if status:
        raise _failure(status, said, target)


def _watch(words: Sequence[str], env: dict[str, str], progress: Progress) -> tuple[int, list[str]]:
    """Run pip until it ends or the user stops it; its exit status and what it said."""
    command = [sys.executable, *words, "--no-input", "--progress-bar", "off", "--disable-pip-version-check"]
    process = subprocess.Popen(  # noqa: S603 this Python's own pip
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env,
        text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    # read beside: while pip fetches a large file it says nothing, and the user may want to stop
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    said: list[str] = []
    try:
        fetched = 0
        while True:
            if progress.cancelled:
                raise Cancelled
            with contextlib.suppress(queue.Empty):
                line = lines.get(timeout=_LOOK_EVERY_S)
                if line is None:
                    break
                said.append(line)
                if found := _FETCHED.match(line):
                    fetched += 1
                    progress.show(say("Fetch wheels, {number}: {name}", number=fetched, name=found[1]))
        return process.wait(), said
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line.rstrip())
    lines.put(None)


def _failure(status: int, said: Sequence[str], target: str) -> Exception:
    text = "\n".join(said)
    problems = [line.removeprefix("ERROR:").strip() for line in said if line.startswith("ERROR:")]
    reason = (problems or [line for line in said if line.strip()] or [f"status {status}"])[-1]
    if status == pip_elsewhere.UNFIT:
        return CollectError(
            say(
                "This pip cannot choose wheels for another machine. Update it with: python -m pip install -U pip"
            )
        )
    if "No space left on device" in text or "[WinError 112]" in text:
        return OutputError(
            say(
                "The disk is full: the wheels, and pip's own temporary files, did not fit. "
                "Free some space or choose another disk."
            )
        )
    if broken := next((line for line in said if _NETWORK.search(line)), ""):
        return CollectError(
            say(
                "Wheels could not be fetched over the network (pip: {reason}). Run this on a machine with a "
                "network; behind a proxy or with a mirror, set up pip for it first (pip config).",
                reason=_short(broken),
            )
        )
    if unmet := re.search(r"No matching distribution found for (.+)", text):
        return CollectError(
            say(
                "There is no wheel of {package} for {target} where pip looks. Choose another Python version "
                "with python, or another build with compute.",
                package=unmet[1].split(" (from")[0],
                target=target,
            )
        )
    if "ResolutionImpossible" in text:
        sides = [line.strip() for line in said if " depends on " in line]
        return CollectError(
            say(
                "No set of packages for {target} meets all requirements (pip: {reason}).",
                target=target,
                reason="; ".join(dict.fromkeys(sides)) or reason,
            )
        )
    return CollectError(say("pip failed: {reason}", reason=reason))


def _short(line: str) -> str:
    """What broke, out of a line in which urllib3 has wrapped it."""
    inner = re.search(r"connection broken by '\w+\((.+)\)'", line)
    words = re.sub(r".*object at 0x\w+>: ", "", inner[1]) if inner else line
    words = words.removeprefix("WARNING: ").strip(" '\"")
    return words if len(words) <= 160 else words[:157] + "..."
