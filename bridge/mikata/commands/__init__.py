"""The table of commands: one typed function each, grouped as in ImageJ's menu."""

from mikata.command import Command, declaration
from mikata.commands.check import doctor
from mikata.commands.explain import grad_cam
from mikata.commands.formula import formula
from mikata.commands.learn import train
from mikata.commands.predict import predict

COMMANDS: tuple[Command, ...] = tuple(
    declaration(function) for function in (train, formula, predict, grad_cam, doctor)
)

__all__ = ["COMMANDS", "doctor", "formula", "grad_cam", "predict", "train"]
