"""Networks by name, their weights in and out, and images made into what they take."""

from mikata.networks.building import build, check_size, head, input_size, is_package, names
from mikata.networks.inputs import InputSpec, to_input
from mikata.networks.package import Model, read_package
from mikata.networks.stopping import asked_between_layers
from mikata.networks.weights import imagenet_normalisation, read_state

__all__ = [
    "InputSpec",
    "Model",
    "asked_between_layers",
    "build",
    "check_size",
    "head",
    "imagenet_normalisation",
    "input_size",
    "is_package",
    "names",
    "read_package",
    "read_state",
    "to_input",
]
