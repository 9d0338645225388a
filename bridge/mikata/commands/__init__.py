"""The table of commands: one typed function each, grouped as in ImageJ's menu."""

from mikata.command import Command, declaration
from mikata.commands.agreement import agreement
from mikata.commands.check import doctor
from mikata.commands.detect import detect
from mikata.commands.explain import grad_cam
from mikata.commands.explain_montage import montage
from mikata.commands.explain_regions import heat_by_region
from mikata.commands.explain_robustness import robustness
from mikata.commands.formula import formula
from mikata.commands.learn import ensemble, train
from mikata.commands.learn_detection import train_detection
from mikata.commands.learn_segmentation import train_segmentation
from mikata.commands.overlap import region_overlap
from mikata.commands.package import check_package, export_package, import_package
from mikata.commands.predict import predict
from mikata.commands.segment import segment
from mikata.commands.stages import compare, derive, search

COMMANDS: tuple[Command, ...] = tuple(
    declaration(function)
    for function in (
        train,
        train_segmentation,
        train_detection,
        ensemble,
        derive,
        compare,
        search,
        formula,
        predict,
        segment,
        detect,
        grad_cam,
        montage,
        heat_by_region,
        agreement,
        region_overlap,
        robustness,
        export_package,
        check_package,
        import_package,
        doctor,
    )
)

__all__ = [
    "COMMANDS",
    "agreement",
    "check_package",
    "compare",
    "derive",
    "detect",
    "doctor",
    "ensemble",
    "export_package",
    "formula",
    "grad_cam",
    "heat_by_region",
    "import_package",
    "montage",
    "predict",
    "region_overlap",
    "robustness",
    "search",
    "segment",
    "train",
    "train_detection",
    "train_segmentation",
]
