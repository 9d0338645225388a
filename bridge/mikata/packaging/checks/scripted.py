"""Point 18: what a TorchScript file names, and whether deepImageJ's engines have it.

`IN_2_0` and `IN_NEITHER` were found by comparing the operations of torch 2.15 with the schemas inside libtorch 1.13.1 and 2.0.0.
"""

from __future__ import annotations

import torch

from mikata.language import say
from mikata.networks.importing.code import Script
from mikata.packaging.checks.findings import Finding

IN_2_0 = frozenset(
    """_fused_sdp_choice _is_all_true _is_any_true _native_batch_norm_legit
    _native_batch_norm_legit_functional _prelu_kernel _prelu_kernel_backward _reshape_copy
    _scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention max_pool2d_backward
    scaled_dot_product_attention""".split()
)
IN_NEITHER = frozenset(
    """_assert_scalar _batch_norm_no_update _batch_norm_with_update _batch_norm_with_update_functional
    _chunk_cat _functional_assert_async _functional_assert_scalar _fused_rms_norm _fused_rms_norm_backward
    _grouped_mm _int_mm _lazy_clone _native_batch_norm_legit_no_training _safe_softmax
    _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_fused_attention_overrideable _scaled_mm
    _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate _upsample_lanczos2d_aa
    _upsample_lanczos2d_aa_backward _weight_int8pack_mm batch_norm_backward broadcast_shapes dist_backward
    empty_permuted get_autocast_dtype hash_tensor linalg__powsum linalg_matrix_sqrth linalg_polar
    masked_scatter_backward nonzero_static quantized_max_pool3d rms_norm rrelu_with_noise_functional
    slice_inverse""".split()
)
"""Operations that libtorch 1.13.1 lacks: those that 2.0.0 has, and those that neither engine has."""

_FAMILIES = ("torch.", "ops.prim.", "ops.aten.")


def loads(script: Script | None, problem: str) -> Finding:
    """Point 18; `problem` says why the file could not be read."""
    if script is None and not problem:
        return Finding("18", "not applicable", say("There are no TorchScript weights."))
    if script is None:
        return Finding(
            "18",
            "failed",
            say("The TorchScript file cannot be read: {reason}.", reason=problem),
            say("deepImageJ cannot load it, or it may hold code that must not be run."),
            say("Make the file anew with torch.jit.trace and torch.jit.save, or get it again."),
        )
    problems = _problems(script)
    if problems:
        return Finding(
            "18",
            "failed",
            " ".join(what for what, _ in problems),
            say("A stock deepImageJ runs libtorch 1.13.1 or 2.0.0 on a CPU, which cannot load or run this."),
            " ".join(dict.fromkeys(todo for _, todo in problems)),
        )
    return Finding("18", "passed", say("All operations of the TorchScript are in libtorch 1.13.1 and 2.0.0."))


def _problems(script: Script) -> list[tuple[str, str]]:
    found = []
    traced = say("Trace the network on the CPU, in float32 and eval mode, with torch.jit.trace.")
    names = {name.rpartition(".")[2] for name in script.operations}
    if newer := sorted(names & (IN_2_0 | IN_NEITHER)):
        missing = [f"{name} (2.0.0)" if name in IN_2_0 else name for name in newer]
        found.append(
            (
                say("Operations that libtorch 1.13.1 does not have: {names}.", names=", ".join(missing)),
                say(
                    "Write them with plain operations (attention as softmax of a product), and trace the network: "
                    "scripted layers name operations that they never run."
                ),
            )
        )
    foreign = sorted(name for name in script.operations if not name.startswith(_FAMILIES))
    if foreign:
        found.append(
            (
                say("Operations of other libraries or devices: {names}.", names=", ".join(foreign[:5])),
                say(
                    "Save the network without torch.jit.optimize_for_inference and without other libraries' layers."
                ),
            )
        )
    half = [n for n, t in script.tensors().items() if t.dtype in (torch.bfloat16, torch.float16)]
    if half:
        found.append(
            (
                say("Weights of 16-bit floating point numbers: {names}.", names=", ".join(half[:3])),
                traced,
            )
        )
    devices = sorted(device for device in script.devices() if device != "cpu")
    if devices:
        found.append((say("It names the device {names}.", names=", ".join(devices)), traced))
    if script.training:
        found.append(
            (
                say("Layers in training mode: {names}.", names=", ".join(script.training[:3])),
                traced,
            )
        )
    return found
