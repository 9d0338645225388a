"""Networks by name, their weights in and out, and images made into what they take."""

from mikata.networks.building import Weights, build, build_with_fit, check_size, names
from mikata.networks.door import kind_of, pixel_network
from mikata.networks.fit import Fit, take
from mikata.networks.inputs import InputSpec, to_input
from mikata.networks.package import Model, read_package, read_pixel_network
from mikata.networks.parts import Features, blocks, features, head, heads
from mikata.networks.pixelwise import PixelNetwork, Sides
from mikata.networks.published import (
    Preprocessing,
    imagenet_normalisation,
    input_size,
    preprocessing,
    published,
)
from mikata.networks.reading import is_package, read_own, read_source, source_of
from mikata.networks.sources import Normalisation, Source
from mikata.networks.stopping import asked_between_layers
from mikata.networks.weights import read_state

__all__ = [
    "Features",
    "Fit",
    "InputSpec",
    "Model",
    "Normalisation",
    "PixelNetwork",
    "Preprocessing",
    "Sides",
    "Source",
    "Weights",
    "asked_between_layers",
    "blocks",
    "build",
    "build_with_fit",
    "check_size",
    "features",
    "head",
    "heads",
    "imagenet_normalisation",
    "input_size",
    "is_package",
    "kind_of",
    "names",
    "pixel_network",
    "preprocessing",
    "published",
    "read_own",
    "read_package",
    "read_pixel_network",
    "read_source",
    "read_state",
    "source_of",
    "take",
    "to_input",
]
