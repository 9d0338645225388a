"""A source of weights: named tensors, with the preprocessing they were made for and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from mikata.errors import NetworkError
from mikata.language import say

EIGHT_BIT = (0.0, 255.0)


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted and divided by before a network: it sees ``(x - mean) / std``.

    Attributes
    ----------
    mean, std:
        One number a channel, in the unit of the images' values.
    unit:
        That unit, as in `Model.value_unit`; empty where it is not stated.
    value_range:
        Smallest and largest value that the images can have; None where it is not stated.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    unit: str = ""
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError("mean and std need one number a channel each")
        if not all(abs(value) < float("inf") for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise ValueError("mean and std must be finite, std above 0")

    def for_channels(self, channels: int) -> Normalisation:
        """The same for a network whose first convolution was adapted to another number of channels.

        Colours (3) become their average, and grey (1) is repeated, as the convolution's weights are summed
        and spread.

        Raises
        ------
        NetworkError
            If neither is so: which channel is which is not known.
        """
        own = len(self.mean)
        if own == channels:
            return self
        if own not in (1, 3):
            raise NetworkError(
                say(
                    "The weights are made for {own} channels, but the images have {channels}: only grey and "
                    "colour can be made into one another.",
                    own=own,
                    channels=channels,
                )
            )
        mean, std = sum(self.mean) / own, sum(self.std) / own
        return Normalisation((mean,) * channels, (std,) * channels, self.unit, self.value_range)

    def refuse_other_values(self, unit: str, value_range: Sequence[float], source: str) -> None:
        """Say why this normalisation does not suit images of this unit and range.

        Parameters
        ----------
        unit:
            Of the images' values; ``grey`` when nothing is known.
        value_range:
            0 and 255 for 8-bit images, else their smallest and largest value.
        source:
            Name of the weights, for the message.

        Raises
        ------
        NetworkError
            If the unit is another, or one of both is for 8-bit images (0 to 255) and the other is not.
            What is not stated is not compared.
        """
        other_unit = bool(self.unit) and self.unit != unit
        eight_bit = tuple(value_range) == EIGHT_BIT
        other_range = self.value_range is not None and (self.value_range == EIGHT_BIT) != eight_bit
        if not (other_unit or other_range):
            return
        low, high = ("?", "?") if self.value_range is None else (f"{end:g}" for end in self.value_range)
        raise NetworkError(
            say(
                "The normalisation of {source} is for values of {low} to {high} {expected}, but these images have "
                'values of {own_low:g} to {own_high:g} {unit}. Say normalisation = "data" in the recipe.',
                source=source,
                low=low,
                high=high,
                expected=self.unit or "grey",
                own_low=float(value_range[0]),
                own_high=float(value_range[1]),
                unit=unit,
            )
        )


def own_normalisation(state: Mapping[str, Tensor]) -> Normalisation | None:
    """The normalisation inside the weights of a whole `Classifier`; None where there is none.

    Raises
    ------
    ValueError
        If it is none: not finite, or a standard deviation of 0 or less.
    """
    found = [state.get(f"normalise.{key}") for key in ("mean", "std")]
    if found[0] is None or found[1] is None:
        return None
    return Normalisation(tuple(found[0].flatten().tolist()), tuple(found[1].flatten().tolist()))


def without_normalisation(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the two tensors that :func:`own_normalisation` reads."""
    return {key: value for key, value in state.items() if key not in ("normalise.mean", "normalise.std")}


@dataclass(frozen=True, eq=False)
class Source:
    """Weights that a network can start from.

    Attributes
    ----------
    label:
        What messages call them, such as the path of their file.
    state:
        Named tensors, as they were found: prefixes and heads included.
    name:
        What a record calls them: without folders, since a path tells of the computer and its user.
    kind:
        ``torchvision``, ``timm``, ``file``, ``package`` (of Mikata's) or ``foreign package``.
    network:
        Name of the network that they belong to; empty where it is not known.
    normalisation:
        What belongs to the weights; None where it is not known.
    no_normalisation:
        Where it is not known: a sentence that says why, and what to do.
    size:
        Height and width in px of the images they were made for; None where it is not known.
    sha256:
        Of the file that holds them, or empty.
    id, version:
        Of the package that they come from, or empty.
    stated_source:
        Where they come from as their user or package says, or empty.
    """

    label: str
    state: Mapping[str, Tensor] = field(repr=False)
    name: str
    kind: str
    network: str = ""
    normalisation: Normalisation | None = None
    no_normalisation: str = ""
    size: tuple[int, int] | None = None
    sha256: str = ""
    id: str = ""
    version: str = ""
    stated_source: str = ""

    def parent(self) -> dict[str, str]:
        """The parent's entry in a training record: what is known of ``name``, ``sha256``, ``id`` and so on."""
        found = {
            "name": self.name,
            "kind": self.kind,
            "sha256": self.sha256,
            "id": self.id,
            "version": self.version,
            "source": self.stated_source,
        }
        return {key: value for key, value in found.items() if value}
