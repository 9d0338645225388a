"""Axes and sizes of a stranger's network, as the commands take them: one plane with channels in, planes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from mikata.language import say
from mikata.networks.importing.refusals import NotRunError
from mikata.networks.importing.tensors import Axis, Tensor
from mikata.networks.pixelwise import Sides

_PLANE = ("y", "x")


@dataclass(frozen=True)
class Layout:
    """The order of a tensor's axes; those but b, c, y and x have a size of 1."""

    letters: str

    @property
    def dims(self) -> str:
        """Its axes of b, c, y and x, in their order."""
        return "".join(letter for letter in self.letters if letter in "bcyx")

    def arranged(self, values: Values) -> Values:
        """Planes (N, C, H, W) in this order; without a batch axis N must be 1, without a channel axis C."""
        for place, letter in reversed(list(enumerate("bcyx"))):
            if letter not in self.letters:
                values = values.squeeze(place)
        given = [letter for letter in "bcyx" if letter in self.letters]
        values = values.permute([given.index(letter) for letter in self.dims])
        for place, letter in enumerate(self.letters):
            if letter not in "bcyx":
                values = values.unsqueeze(place)
        return values.contiguous()

    def plain(self, values: Values) -> Values:
        """A tensor in this order as planes (N, C, H, W); missing axes have a size of 1.

        Raises
        ------
        NotRunError
            If it has another number of axes, or more than 1 along one that must have 1.
        """
        shape = tuple(values.shape)
        if len(shape) != len(self.letters):
            raise NotRunError(
                say("it gives an array of shape {shape} instead of {axes}", shape=shape, axes=self.letters)
            )
        for place, letter in reversed(list(enumerate(self.letters))):
            if letter not in "bcyx":
                if shape[place] != 1:
                    raise NotRunError(
                        say(
                            "it gives an array of shape {shape} instead of {axes}",
                            shape=shape,
                            axes=self.letters,
                        )
                    )
                values = values.squeeze(place)
        given = [letter for letter in "bcyx" if letter in self.letters]
        values = values.permute([self.dims.index(letter) for letter in given])
        for place, letter in enumerate("bcyx"):
            if letter not in self.letters:
                values = values.unsqueeze(place)
        return values

    def arranged_array(self, values: NDArray[Any]) -> NDArray[Any]:
        """As `arranged`, for one image (C, H, W)."""
        return self.arranged(torch.from_numpy(np.ascontiguousarray(values))[None]).numpy()

    def plain_array(self, values: NDArray[Any]) -> NDArray[Any]:
        """As `plain`, for one image: (C, H, W)."""
        return self.plain(torch.from_numpy(np.ascontiguousarray(values)))[0].numpy()


def layout_of(tensor: Tensor) -> Layout:
    """The order of a tensor's axes.

    Raises
    ------
    NotRunError
        If it has axes that an image of one plane does not have: z, time or index of more than 1.
    """
    for axis in tensor.axes:
        if axis.letter not in ("b", "c", *_PLANE) and axis.fixed != 1:
            raise NotRunError(
                say(
                    "{tensor} has the axis {axis} of more than one plane; Mikata's commands work plane by plane",
                    tensor=tensor.name,
                    axis=axis.letter,
                )
            )
    letters = tensor.letters
    if len(set(letters)) != len(letters) or len(letters) != len(tensor.axes):
        raise NotRunError(say("{tensor} has the axes {axes}", tensor=tensor.name, axes=letters or "-"))
    return Layout(letters)


def axis_of(tensor: Tensor, letter: str) -> Axis | None:
    """An axis of a tensor, None where it has none of this letter."""
    return next((axis for axis in tensor.axes if axis.letter == letter), None)


def one_at_a_time(tensor: Tensor) -> bool:
    """Whether a network takes one image at a time: it has no batch axis, or one of a fixed size of 1."""
    axis = axis_of(tensor, "b")
    return axis is None or axis.fixed == 1


def sides_of(tensor: Tensor, letter: str) -> Sides:
    """Which lengths of a side an input takes.

    Raises
    ------
    NotRunError
        If it is not stated.
    """
    axis = axis_of(tensor, letter)
    if axis is not None and axis.fixed is not None and axis.fixed > 0:
        return Sides(axis.fixed, 0)
    if axis is not None and axis.smallest is not None and axis.smallest > 0:
        return Sides(axis.smallest, axis.step or 0)
    raise NotRunError(say("the size of {axis} of {tensor} is not stated", axis=letter, tensor=tensor.name))


def scale_of(source: Tensor, output: Tensor, *, old: bool) -> int:
    """Output px an input px.

    Raises
    ------
    NotRunError
        If it is no whole number from 1 up, differs between height and width, or the output has a border less: its
        pixels would not be those of the image.
    """
    scales = []
    for letter in _PLANE:
        before, after = axis_of(source, letter), axis_of(output, letter)
        if before is None or after is None:
            raise NotRunError(say("{tensor} has the axes {axes}", tensor=output.name, axes=output.letters))
        if after.offset:
            raise NotRunError(
                say("{tensor} is smaller or larger than the image by a border", tensor=output.name)
            )
        if after.fixed is not None and before.fixed is not None:
            ratio = after.fixed / before.fixed
        elif old:
            ratio = 1.0 if after.scale is None else after.scale
        else:  # in format 0.5 it is the size of a pixel
            ratio = (before.scale or 1.0) / (after.scale or 1.0)
        scales.append(ratio)
    if scales[0] != scales[1] or scales[0] < 1 or scales[0] != int(scales[0]):
        raise NotRunError(
            say(
                "{tensor} has {height:g} times the height and {width:g} times the width of the image",
                tensor=output.name,
                height=scales[0],
                width=scales[1],
            )
        )
    return int(scales[0])


def halo_of(outputs: Sequence[Tensor], scale: int) -> int | None:
    """The widest border that a description wants cut off, in px of the input; None where one output states none."""
    found = [axis for tensor in outputs for axis in tensor.axes if axis.letter in _PLANE]
    if not all(axis.halo_stated for axis in found):
        return None
    return -(-max((axis.halo for axis in found), default=0) // scale)
