"""Timm's networks and their published weights. Timm is imported only when one of its names is used.

Wightman, PyTorch Image Models, doi:10.5281/zenodo.4414861.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mikata.architecture import TIMM
from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks.weights import read_state

_REMOTE = ("model.safetensors", "pytorch_model.bin")  # what timm's repositories name their weights


@functools.cache
def timm_names() -> list[str]:
    """Names of timm's networks, each after ``timm:``, without tags."""
    import timm

    return [TIMM + name for name in timm.list_models()]


def is_timm(name: str) -> bool:
    """Whether a name is written as timm's are, and not whether there is such a network."""
    return name.startswith(TIMM)


def plain_name(name: str) -> str:
    """The name without the tag of its weights."""
    return name.partition(".")[0] if is_timm(name) else name


def refuse_unknown_tag(name: str) -> None:
    """Say which tags there are where the one in a known network's name is another.

    Raises
    ------
    NetworkError
        If so.
    """
    import timm

    plain, dot, tag = name.partition(".")
    if not dot:
        return
    pretrained = timm.list_pretrained(plain.removeprefix(TIMM) + ".*")
    known = [found.partition(".")[2] for found in pretrained]
    if tag in known:
        return
    if not known:
        raise NetworkError(say("{name} has no published weights: write it without a tag.", name=plain))
    raise NetworkError(
        say(
            "{name} has no weights with the tag '{tag}'. Its tags are: {known}.",
            name=plain,
            tag=tag,
            known=", ".join(known),
        )
    )


def timm_settings(name: str) -> Any:
    """What timm states of a network's weights (its ``pretrained_cfg``): the default tag's where none is named."""
    from timm.models import get_pretrained_cfg

    found = get_pretrained_cfg(name.removeprefix(TIMM), allow_unregistered=False)
    if found is None:
        raise NetworkError(say("There is no network named '{name}'.", name=name))
    return found


def weights_name(settings: Any) -> str:
    """``resnet18.a1_in1k``: architecture and tag of published weights."""
    return f"{settings.architecture}.{settings.tag}" if settings.tag else str(settings.architecture)


def timm_weights(name: str) -> tuple[dict[str, Tensor], Path]:
    """Timm's published weights of a plain network with its own head and colours, and their file.

    A file that the user has copied into torch's folder of checkpoints goes before timm's own cache, and
    that before the internet.

    Raises
    ------
    NetworkError
        If there are none, they are neither on this computer nor can be fetched, or the file is damaged.
    """
    import timm

    settings = timm_settings(name)
    if not settings.has_weights:
        raise NetworkError(
            say("{name} has no published weights: train it from random weights, or name another.", name=name)
        )
    file = _file(name, settings)
    # Read by us as plain tensors: timm would take a cached file as it finds it. It then gives the tensors
    # their present names, as its networks have changed since some weights were published.
    state = read_state(file)
    try:
        network = timm.create_model(
            weights_name(settings), pretrained=True, pretrained_cfg_overlay={"state_dict": state}
        )
    except (RuntimeError, KeyError, ValueError, AttributeError, TypeError, AssertionError) as error:
        raise NetworkError(
            say(
                "The weights {file} are not those of {name} ({reason}). Delete the file, and fetch or copy "
                "it again.",
                file=file,
                name=name,
                reason=(str(error).splitlines() or [""])[0].rstrip(".:"),
            )
        ) from error
    return dict(network.state_dict()), file


def _file(name: str, settings: Any) -> Path:
    if settings.file:
        return Path(settings.file)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    copied = folder / f"{weights_name(settings)}.safetensors"
    if copied.is_file():
        return copied
    if settings.hf_hub_id:
        return _from_hub(name, settings.hf_hub_id, copied)
    url = settings.url
    copied = folder / Path(url).name
    if not copied.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(copied), progress=False)
        except OSError as error:
            raise _absent(name, error, Path(url).name, url, copied) from error
    return copied


def _from_hub(name: str, repository: str, copied: Path) -> Path:
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = repository.partition("@")
    place: dict[str, Any] = {"repo_id": repository, "revision": revision or None}
    for file in _REMOTE:
        try:
            return Path(hf_hub_download(filename=file, local_files_only=True, **place))
        except (LocalEntryNotFoundError, OSError):
            continue
    for file in _REMOTE:
        try:
            return Path(hf_hub_download(filename=file, **place))
        except (OSError, HfHubHTTPError, EntryNotFoundError, ValueError, RuntimeError) as error:
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue  # the repository has the other format only
            raise _absent(
                name, error, _REMOTE[0], hf_hub_url(filename=_REMOTE[0], **place), copied
            ) from error
    raise NetworkError(
        say("The published weights of {name} are in no format that can be read safely.", name=name)
    )


def _absent(name: str, error: Exception, file: str, address: str, copied: Path) -> NetworkError:
    reason = str(getattr(error, "reason", None) or error).strip()
    return NetworkError(
        say(
            "The published weights of {name} are not on this computer and could not be fetched ({reason}). "
            "Copy the file {file} from a computer with internet ({address}) into the folder {folder} under the "
            "name {copied}, or train from random weights.",
            name=name,
            reason=(reason.splitlines() or [type(error).__name__])[0].rstrip("."),
            file=file,
            address=address,
            folder=copied.parent,
            copied=copied.name,
        )
    )
