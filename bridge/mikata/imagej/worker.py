"""The Python process behind a user's Fiji: `python -m mikata.imagej.worker`, started by the menu scripts.

Appose carries requests and answers over the pipes that Fiji has opened, and images in shared memory; nothing
listens on a network. A request is a dictionary of words and numbers; so is its answer, which tells errors too: a
failure of Appose's own kind would mean that this module is broken.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mikata.errors import Cancelled, ImageError, ImageJError, MikataError, ParameterError
from mikata.language import LANGUAGE_VARIABLE, say
from mikata.types import Image, Progress

if TYPE_CHECKING:
    from appose import NDArray as Shared
    from appose.python_worker import Task
    from numpy.typing import NDArray

    from mikata.command import Command

_SHOW_SECONDS = 0.1  # how often progress is told; each time is a line through the pipe
_ARENA_MAX = -8  # malloc.h
_END_SECONDS = 20.0  # how long a training may take to end once Fiji is gone

_busy: Task | None = None
_numbers = itertools.count()
_lent: dict[str, Any] = {}  # memory that Fiji has not read yet; Windows frees what nobody holds
# Appose gives every request a thread of its own. The C library keeps a heap for each thread that works beside another
# and gives little of it back, so commands in changing threads would fill heap after heap; in one thread they fill one.
_one_thread = ThreadPoolExecutor(1, "mikata")


class _Tasks(dict[str, "Task"]):
    """Appose's requests. One of its threads goes through them and forgets those that are done, while another one adds
    to them: without a copy the first dies of that sooner or later, and everything is remembered from then on."""

    def items(self) -> Any:
        """All, as they are at this moment."""
        return list(super().items())


def main() -> None:
    """Serve until Fiji closes the pipe."""
    # NumPy before anything reads the pipe: on Windows its import hangs while another thread waits for input there
    import numpy  # noqa: F401
    from appose import python_worker

    _share_heap()
    # Ctrl-C in Fiji's terminal comes here too, and would leave a training alone behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.excepthook = _thread_died
    sys.stdout = _Pipe(_own_output())
    worker = python_worker.Worker()
    worker.tasks = _Tasks()
    try:
        worker.run()
    finally:
        _end()


def _share_heap() -> None:
    """Let all threads share one heap, before there are any: a command runs in one, and large tiles use memory again.

    Where each has its own, glibc fetches every large tensor from the system anew (`mikata.tiling.heap`): three times the
    time for a U-Net's layers.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_ARENA_MAX, 1)


def _thread_died(what: threading.ExceptHookArgs) -> None:
    """End where Appose's own thread has died: nobody would hear Fiji any more, and Fiji would wait for ever."""
    threading.__excepthook__(what)
    if what.thread is not None and what.thread.name == "Appose-Receiver":
        sys.stderr.flush()
        os._exit(1)


def _own_output() -> io.TextIOWrapper:
    """The pipe to Fiji; what libraries in C print goes where errors go from now on, not between the answers."""
    pipe = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    os.dup2(2, 1)
    return pipe


class _Pipe(io.TextIOBase):
    """Lets whole lines of Appose's through, and sends everything else that is printed to the errors."""

    def __init__(self, pipe: io.TextIOWrapper) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._begun = threading.local()

    def write(self, text: str) -> int:
        """Take text; a line goes out when it is whole."""
        begun = getattr(self._begun, "text", "")
        if begun and _is_answer(text):  # somebody has printed words without an end
            sys.stderr.write(begun + "\n")
            begun = ""
        *lines, self._begun.text = (begun + text).split("\n")
        for line in lines:
            if _is_answer(line):
                with self._lock:
                    self._pipe.write(line + "\n")
                    self._pipe.flush()
            else:
                sys.stderr.write(line + "\n")
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def fileno(self) -> int:
        """Where C prints."""
        return 1


def _is_answer(text: str) -> bool:
    return text.startswith("{") and '"responseType"' in text


def _end() -> None:
    """Fiji is gone: let a training save what it can, and leave no process behind."""
    task, until = _busy, time.monotonic() + _END_SECONDS
    if task is not None:
        task.cancel_requested = True
        while _busy is not None and time.monotonic() < until:
            time.sleep(0.05)
    os._exit(0)


def answer(task: Task, request: Mapping[str, Any], pixels: Shared | None = None) -> dict[str, Any]:
    """Answer one request of the menu scripts.

    Parameters
    ----------
    task:
        Appose's, for progress and for the question whether to stop.
    request:
        ``do``: ``ping``, ``check`` (a dialog's values), ``run`` or ``read`` (Fiji has read what has these ``names``).
        ``command``: the function's name. ``options`` of a macro with its ``variables``, or values ``given``, as
        words. ``image``: facts as `mikata.imagej.wire.image` takes them, or None. ``menu``: what says whether Fiji
        and Python fit together. ``language`` and ``surroundings``.
    pixels:
        Of the image: (planes, height, width) in shared memory.

    Returns
    -------
    dict
        ``answer``: what was asked for; or ``error`` (a sentence), ``kind`` (``parameter``, ``user``, ``cancelled``,
        ``fault``), ``trace``, and ``broken`` where this process must be replaced. Beside either ``forgotten``: Info
        and labels with which the window names no patient.
    """
    if request["do"] == "read":  # comes beside other requests, and must not disturb them
        _give_back(request["names"])
        return {"answer": {}}
    if request["do"] == "run":
        return _one_thread.submit(_work, task, request, pixels).result()
    return _answer(task, request, pixels)


def _work(task: Task, request: Mapping[str, Any], pixels: Shared | None) -> dict[str, Any]:
    global _busy
    _give_back(list(_lent))
    _busy = task
    try:
        return _answer(task, request, pixels)
    finally:
        _busy = None
        _trim()


def _trim() -> None:
    """Give memory that a command has freed back to the system: Fiji, which waits beside it, may need it.

    The GNU C library alone keeps up to 64 MB for each thread that a command has had.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _answer(task: Task, request: Mapping[str, Any], pixels: Shared | None) -> dict[str, Any]:
    os.environ[LANGUAGE_VARIABLE] = request.get("language") or "en"
    noted: dict[str, Any] = {}
    try:
        said = noted | {"answer": _DO[request["do"]](task, request, pixels, noted)}
        json.dumps(said, allow_nan=False)  # Fiji would drop an answer with a number that JSON does not know
        return said
    except BaseException as error:  # whatever it is, Fiji is waiting for an answer
        from mikata.imagej import calls

        said = {"error": calls.words(error), "kind": _kind(error), "trace": calls.trace(error)}
        return said | noted | {"broken": _is_broken(error)}


def _kind(error: BaseException) -> str:
    if isinstance(error, ParameterError):
        return "parameter"
    if isinstance(error, Cancelled):
        return "cancelled"
    return "user" if isinstance(error, MikataError) else "fault"


def _is_broken(error: BaseException | None) -> bool:
    """Whether this process is of no use any more: after an error of CUDA's own every other call fails too."""
    torch = sys.modules.get("torch")
    while torch is not None and error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return False
        if isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _ping(
    task: Task, request: Mapping[str, Any], pixels: Shared | None, noted: dict[str, Any]
) -> dict[str, Any]:
    return {"process": os.getpid()}


def _check(
    task: Task, request: Mapping[str, Any], pixels: Shared | None, noted: dict[str, Any]
) -> dict[str, Any]:
    """Whether a dialog's values can be run, and the options of the macro line that says the same."""
    from mikata.imagej import calls

    item = _command(request)
    calls.values(item, request["given"])
    return {"options": calls.options_of(item, request["given"])}


def _run(
    task: Task, request: Mapping[str, Any], pixels: Shared | None, noted: dict[str, Any]
) -> dict[str, Any]:
    from mikata.checkup import tell
    from mikata.imagej import calls, wire

    item = _command(request)
    if request["options"] is not None:
        given = calls.given_by_macro(item, request["options"], request["variables"].get)
    else:
        given = request["given"]
    values = calls.values(item, given)
    if name := calls.takes_current(item, values):
        facts = request["image"]
        if facts is None or pixels is None:
            raise calls.missing_image(item)
        values[name] = _image(facts, pixels, keep_metadata=bool(values.get("keep_metadata")))
        if calls.forgets(values):
            noted["forgotten"] = _forgotten(facts)  # also where the command fails
    tell(request.get("surroundings") or {})
    result = item.function(**values, progress=_Told(task))
    sent = wire.outcome(result, _share)
    return sent | {"log": calls.log(result)}


def _command(request: Mapping[str, Any]) -> Command:
    from mikata.commands import COMMANDS
    from mikata.imagej import scripts

    if request["menu"] != scripts.fingerprint():
        raise ImageJError(
            say(
                "Fiji's menu and Python are out of step: the menu scripts belong to another Mikata than the one in "
                "{python}. Run there: {command}, and start Fiji anew.",
                python=sys.executable,
                command="mikata fiji install --fiji DIR",
            )
        )
    return next(item for item in COMMANDS if item.name == request["command"])


def _image(facts: Mapping[str, Any], pixels: Shared, *, keep_metadata: bool) -> Image:
    import numpy as np

    from mikata.imagej import wire

    planes = pixels.ndarray()
    if facts["colour"]:
        packed, planes = planes, np.empty((*planes.shape, 3), np.uint8)
        for plane, target in zip(packed, planes, strict=True):
            wire.from_packed_rgb(plane, target)
    return wire.image(facts, planes, keep_metadata=keep_metadata)


def _forgotten(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """What Fiji's window is to keep of texts that name a patient; None where there are none."""
    from mikata.images import dicom_text

    changed = dicom_text.forgotten(facts["info"], facts["labels"])
    return None if changed is None else {"info": changed[0], "labels": changed[1]}


def _share(planes: NDArray[Any]) -> dict[str, Any]:
    """Planes in shared memory under a name that tells whose they are, so that Fiji can clear up after a crash."""
    import numpy as np
    from appose import SharedMemory

    from mikata.imagej import wire

    shape, kind = planes.shape[:3], "int32" if planes.ndim == 4 else planes.dtype.name
    size = shape[1] * shape[2] * np.dtype(kind).itemsize
    _refuse_where_full(shape[0] * size)
    name = f"mikata_{os.getpid()}_{next(_numbers)}"
    memory = SharedMemory(name=name, create=True, rsize=max(1, shape[0] * size))
    _lent[name] = memory
    target = np.ndarray(shape, kind, memory.buf)
    for plane, place in zip(planes, target, strict=True):
        place[...] = wire.to_packed_rgb(plane) if planes.ndim == 4 else plane
    return {"name": name, "dtype": kind, "shape": list(shape), "bytes": size}


def _refuse_where_full(needed: int) -> None:
    """Writing into a block beyond what there is would end this process without a word."""
    room = Path("/dev/shm")  # noqa: S108
    if room.is_dir() and (free := shutil.disk_usage(room).free) < needed:
        raise ImageError(
            say(
                "The result needs {needed} MB of shared memory, but only {free} MB are free (/dev/shm). Close other "
                "programs, or let the command save its results: out=[...].",
                needed=needed >> 20,
                free=free >> 20,
            )
        )


def _give_back(names: list[str]) -> None:
    """Let go of memory that Fiji has read; it is Fiji that deletes it."""
    for name in names:
        if memory := _lent.pop(name, None):
            memory.close()


class _Told(Progress):
    """Progress in Fiji's status bar, and the question whether the user has cancelled."""

    def __init__(self, task: Task) -> None:
        from mikata.imagej.calls import TimeLeft

        self._task = task
        self._left = TimeLeft()
        self._shown = 0.0
        self._stopping = False

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        """Tell Fiji, if it was not told a moment ago."""
        text, now = self._left.words(message, done, total), time.monotonic()
        if now - self._shown >= _SHOW_SECONDS or not total or done >= total:
            self._shown = now
            self._task.update(text, done, total)

    @property
    def cancelled(self) -> bool:
        """Whether the user has cancelled; Fiji then hears that the command has taken notice."""
        if self._task.cancel_requested and not self._stopping:
            self._stopping = True
            self._task.update(say("Stopping"), info={"stopping": True})
        return bool(self._task.cancel_requested)


_DO = {"ping": _ping, "check": _check, "run": _run}

if __name__ == "__main__":
    # the copy that Appose's tasks import must be this one, with its memory of what is going on
    sys.modules["mikata.imagej.worker"] = sys.modules["__main__"]
    main()
