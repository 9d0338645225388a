"""One file from an https address into the user's cache; nothing else is ever fetched for a package."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import re
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit, urlunsplit

import platformdirs

from mikata.errors import OutputError, PackageError
from mikata.language import say
from mikata.networks.package_safety import LARGEST_PACKAGE
from mikata.types import SILENT, Progress

_MOST_REDIRECTS = 5
_PATIENCE = 30  # seconds without an answer
_BLOCK = 2**18  # bytes
_KEPT = "!#$%&'()*+,/:;=?@[]~"  # marks of addresses, and percents that are there already
_DEVIATING = frozenset("ßς\u200c\u200d")  # IDNA of 2003 and of 2008 differ in these


def cache_folder() -> Path:
    """Where fetched packages lie, each under its SHA-256; deleting them does no harm."""
    return platformdirs.user_cache_path("mikata", appauthor=False) / "packages"


def fetch(address: str, *, sha256: str = "", progress: Progress = SILENT) -> tuple[Path, str]:
    """A file by its https address, from the cache where its checksum is given and it is there.

    Without a checksum it is fetched each time, since the file at an address may change.

    Parameters
    ----------
    address:
        May hold letters of any script, as browsers show them (an IRI of RFC 3987).
    sha256:
        64 hexadecimal digits, or empty.

    Returns
    -------
    tuple
        The file in the cache, and its SHA-256.

    Raises
    ------
    PackageError
        If the address is no https one or leads (also over a redirect) to one of this computer or a private network, cannot be
        reached, is larger than a package may be, or is not what the checksum tells of. Nothing is kept then.
    OutputError
        If the cache cannot be written.
    Cancelled
        If the user stopped it.
    """
    wanted = checksum(sha256)
    if wanted and (kept := _kept(wanted)):
        return kept, wanted
    _refuse_address(_encoded(address))
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as beside:
            file = Path(beside) / "package.zip"
            found = _download(address, file, progress)
            if wanted and found != wanted:
                raise PackageError(
                    say(
                        "{address} is refused: its SHA-256 is {found}, not {wanted}. It is another file than the one "
                        "that the checksum was written for.",
                        address=address,
                        found=found,
                        wanted=wanted,
                    )
                )
            file.replace(folder / f"{found}.zip")
    except OSError as error:
        raise OutputError(
            say("{path} cannot be written: {reason}.", path=folder, reason=error.strerror or error)
        ) from error
    return folder / f"{found}.zip", found


def checksum(text: str) -> str:
    """A SHA-256 in small letters, or empty.

    Raises
    ------
    PackageError
        If it is neither.
    """
    plain = text.strip().casefold()
    if plain and not re.fullmatch("[0-9a-f]{64}", plain):
        raise PackageError(
            say("'{text}' is no SHA-256: 64 digits from 0 to f are expected.", text=text.strip()[:80])
        )
    return plain


def _kept(sha256: str) -> Path | None:
    path = cache_folder() / f"{sha256}.zip"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return path if hashlib.file_digest(file, "sha256").hexdigest() == sha256 else None


def _encoded(address: str) -> str:
    """An address in ASCII, as RFC 3987 makes a URI of it: its host by IDNA, all else by percents of UTF-8.

    Raises
    ------
    PackageError
        If its host cannot be a name in the internet.
    """
    try:
        parts = urlsplit(address.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:  # it is refused as what it is
        return address
    if parts.username is not None or parts.password is not None or not host or ":" in host:
        return address if address.isascii() else quote(address, safe=_KEPT)
    if _DEVIATING & set(host):  # two rules make two hosts of them
        raise _unknown_host(address)
    try:
        # letters of full width become plain ones here: what the host is, is judged behind this
        ascii_host = host.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise _unknown_host(address) from error
    return urlunsplit(
        (
            parts.scheme,
            ascii_host if port is None else f"{ascii_host}:{port}",
            quote(parts.path, safe=_KEPT),
            quote(parts.query, safe=_KEPT),
            "",
        )
    )


def _unknown_host(address: str) -> PackageError:
    return PackageError(
        say(
            "{address} is refused: its host is no name that can be looked up in the internet (a part of it is empty, longer "
            "than 63 letters, or has letters of no clear meaning). Copy the address from a browser.",
            address=address[:300],
        )
    )


def _refuse_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
        parts = urlsplit("")
    if parts.scheme != "https" or not host or parts.username is not None or parts.password is not None:
        raise PackageError(
            say(
                "{address} is refused: packages are fetched from addresses that begin with https:// only, without a "
                "user's name or password.",
                address=address,
            )
        )
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        private = host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
    else:
        private = not literal.is_global
    if private:
        raise _private(address)


def _private(address: str) -> PackageError:
    return PackageError(
        say(
            "{address} is refused: it leads to this computer or a private network. Save the package there with a browser "
            "and import the file.",
            address=address,
        )
    )


class _Connection(http.client.HTTPSConnection):
    """A connection that is closed before anything is asked where it leads into a private network."""

    def connect(self) -> None:
        super().connect()
        # behind a proxy the other end is the proxy, which is the user's own choice
        if getattr(self, "_tunnel_host", None) is None and not _is_public(self.sock.getpeername()[0]):
            self.close()
            raise _private(self.host)


def _is_public(number: str) -> bool:
    return ipaddress.ip_address(number.partition("%")[0]).is_global


class _Handler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Connection, req, context=ssl.create_default_context())


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _MOST_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        newurl = _encoded(newurl)
        _refuse_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(address: str) -> Any:
    opener = urllib.request.OpenerDirector()
    # no handler of file:, ftp:, data: and plain http: addresses
    for handler in (
        urllib.request.ProxyHandler(),
        _Handler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(address, headers={"User-Agent": "mikata"})  # noqa: S310  # judged to be https
    return opener.open(request, timeout=_PATIENCE)


def _download(address: str, target: Path, progress: Progress) -> str:
    """Write what an address gives, and return its SHA-256."""
    digest = hashlib.sha256()
    try:
        with _open(_encoded(address)) as answer, target.open("wb") as file:
            stated = answer.headers.get("Content-Length") or ""
            total = int(stated) if stated.isdecimal() else 0
            _refuse_size(address, total)
            done = 0
            read: Callable[[int], bytes] = answer.read
            while block := read(_BLOCK):
                done += len(block)
                _refuse_size(address, done)
                digest.update(block)
                file.write(block)
                progress.step(say("Fetch the package"), done, max(done, total))
            if total and done != total:
                raise PackageError(
                    say(
                        "{address} broke off after {done} of {total} bytes. Try again.",
                        address=address, done=done, total=total,
                    )
                )  # fmt: skip
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        ssl.SSLError,
        TimeoutError,
        ConnectionError,
        UnicodeError,  # of a host that a redirect leads to
    ) as error:
        reason = (str(getattr(error, "reason", None) or error).splitlines() or [type(error).__name__])[0]
        raise PackageError(
            say(
                "{address} cannot be fetched: {reason}.",
                address=address,
                reason=reason[:200].rstrip("."),
            )
        ) from error
    return digest.hexdigest()


def _refuse_size(address: str, size: int) -> None:
    if size > LARGEST_PACKAGE:
        raise PackageError(
            say(
                "{address} is refused: it is larger than {most:.0f} MB.",
                address=address,
                most=LARGEST_PACKAGE / 2**20,
            )
        )
