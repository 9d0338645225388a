"""Work on all cores, in Python processes of our own.

Not `multiprocessing`: its processes run the user's script again on Windows and macOS, and a script that was not
written for that fails. These import only the function they are to call, and end with the pipe to their parent.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from mikata.errors import MikataError
from mikata.language import say
from mikata.types import Progress

J = TypeVar("J")
R = TypeVar("R")

_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from mikata.fractals.workers import serve; serve()"
)


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))  # type: ignore[attr-defined, unused-ignore]
    except AttributeError:  # Windows, macOS
        return os.cpu_count() or 1


def spread(
    function: Callable[[J], R], jobs: Sequence[J], cores: int, progress: Progress
) -> Iterator[tuple[int, R]]:
    """Call `function` for each job, and give (number of the job, result) as they come.

    Parameters
    ----------
    function:
        Of a module that a new process can import, as its arguments and results must be picklable.
    cores:
        Processes; with 1, or one job only, everything is done in this process.
    progress:
        Asked several times a second whether to stop; the processes are then ended at once.

    Raises
    ------
    Cancelled
        When the user asked to stop.
    MikataError
        If a process ended by itself. Errors of `function` come as they are.
    """
    count = min(cores, len(jobs))
    if count <= 1:
        for number, job in enumerate(jobs):
            progress.check()
            yield number, function(job)
        return
    results: queue.SimpleQueue[tuple[int, bool, Any]] = queue.SimpleQueue()
    todo = iter(enumerate(jobs))
    lock = threading.Lock()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            process = _start()
            stack.callback(_end, process)
            tender = threading.Thread(
                target=_tend, args=(process, function, todo, lock, results), daemon=True
            )
            tender.start()
        for _ in jobs:
            while True:
                try:
                    number, good, value = results.get(timeout=0.2)
                    break
                except queue.Empty:
                    progress.check()
            progress.check()
            if not good:
                raise value
            yield number, value


def _start() -> subprocess.Popen[bytes]:
    # each works on one core; NumPy's own threads would only take memory
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603 this Python, with constant words
        [sys.executable, "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # no black window over Fiji
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what was on its way into it
            assert pipe is not None
            pipe.close()


def _tend(
    process: subprocess.Popen[bytes],
    function: Callable[[Any], Any],
    todo: Iterator[tuple[int, Any]],
    lock: threading.Lock,
    results: queue.SimpleQueue[tuple[int, bool, Any]],
) -> None:
    """Give one process job after job and pass its results on."""
    number = -1
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump(sys.path, process.stdin)
        while True:
            with lock:
                number, job = next(todo, (-1, None))
            if number < 0:
                return
            pickle.dump((function, job), process.stdin)
            process.stdin.flush()
            good, value = pickle.load(process.stdout)  # noqa: S301 from our own process
            results.put((number, good, value))
    except (OSError, EOFError, ValueError, pickle.UnpicklingError):
        code = process.wait()
        words = say(
            "A process that was drawing pictures ended by itself (exit code {code}). Most often the memory was "
            "used up: close other programs, or draw fewer or smaller pictures.",
            code=code,
        )
        results.put((number, False, MikataError(words)))


def serve() -> None:
    """The life of such a process: jobs from standard input, results to standard output, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    jobs, results = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not come between the results
    while True:
        try:
            function, job = pickle.load(jobs)  # noqa: S301 from our parent
        except EOFError:
            return
        try:
            answer = (True, function(job))
        except Exception as error:
            error.add_note("In a drawing process:\n" + traceback.format_exc())
            answer = (False, error)
        pickle.dump(answer, results, protocol=5)
        results.flush()
