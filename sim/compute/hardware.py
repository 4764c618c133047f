"""Hardware presets: what one node of a kind can really do.

A preset takes the peak of the maker's data sheet and multiplies it by an efficiency that we assume
and name in `source`. One server of a preset is the whole accelerator (or the whole CPU):
`flop_per_s` and `bytes_per_s` hold for each of a node's servers, so `servers: 4` on `a100-40gb`
means four cards.

Assumed, because no data sheet tells: the efficiencies (0.5 of the dense peak on discrete GPUs and
CPUs, 0.4 on Jetson modules and on the power-capped T4; 0.8 of the DRAM bandwidth), the launch cost
of a layer's fused kernel, the effective storage speed, the share of memory that the system leaves
to a model (0.75 of shared memory, 0.9 of a card's own), and idle power. A calibration replaces all
of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from sim.config import Hardware

if TYPE_CHECKING:
    from collections.abc import Mapping

_GIB = 2.0**30
_BANDWIDTH_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Figures of one data sheet, before any efficiency."""

    peak_flop_per_s: (
        float  # dense (no structured sparsity): fp16 tensor on GPUs, fp32 vector on CPUs
    )
    efficiency: float
    peak_bytes_per_s: float
    memory_gib: float
    usable: float
    storage_bytes_per_s: float
    storage_delay_s: float
    kernel_s: float
    idle_w: float
    busy_w: float
    source: str


_SHEETS: Mapping[str, _Sheet] = {
    "a100-40gb": _Sheet(
        312e12, 0.5, 1555e9, 40, 0.9, 3.0e9, 1e-4, 1e-5, 55.0, 400.0,
        "NVIDIA A100 data sheet (SXM4): 312 TFLOPS dense fp16 tensor, 1555 GB/s, 40 GB, 400 W",
    ),
    "h100-80gb": _Sheet(
        989e12, 0.5, 3350e9, 80, 0.9, 5.0e9, 1e-4, 1e-5, 70.0, 700.0,
        "NVIDIA H100 data sheet (SXM5): 989 TFLOPS dense fp16 tensor, 3.35 TB/s, 80 GB, 700 W",
    ),
    "intel-nuc": _Sheet(
        358e9, 0.5, 51.2e9, 32, 0.75, 2.0e9, 1e-4, 5e-6, 8.0, 40.0,
        "Intel NUC 11, Core i7-1165G7: 4 cores x 2.8 GHz x 32 fp32 FLOP per cycle (AVX-512, one FMA"
        " unit) = 358 GFLOPS, 2 x DDR4-3200 = 51.2 GB/s, 28 W processor, NVMe",
    ),
    "jetson-agx-orin": _Sheet(
        42.5e12, 0.4, 204.8e9, 64, 0.75, 1.5e9, 1e-4, 2e-5, 12.0, 60.0,
        "NVIDIA Jetson AGX Orin 64 GB, technical brief: GPU 170 sparse INT8 TOPS, so 42.5 TFLOPS"
        " dense fp16 tensor, 204.8 GB/s, 15-60 W; DLAs unused; NVMe assumed",
    ),
    "jetson-orin-nano": _Sheet(
        10e12, 0.4, 68e9, 8, 0.75, 1.0e9, 1e-4, 2e-5, 5.0, 15.0,
        "NVIDIA Jetson Orin Nano 8 GB data sheet (15 W mode): 40 sparse INT8 TOPS, so 10 TFLOPS"
        " dense fp16 tensor, 68 GB/s, 7-15 W; NVMe assumed",
    ),
    "jetson-xavier-nx": _Sheet(
        6.75e12, 0.4, 59.7e9, 8, 0.75, 1.0e9, 1e-4, 2e-5, 5.0, 15.0,
        "NVIDIA Jetson Xavier NX data sheet: 48 Volta tensor cores x 128 FLOP per cycle x 1.1 GHz"
        " = 6.75 TFLOPS dense fp16, 128-bit LPDDR4x 59.7 GB/s, 10-15 W; DLAs unused; NVMe assumed",
    ),
    "raspberry-pi-5": _Sheet(
        153.6e9, 0.5, 17.1e9, 8, 0.75, 9.0e7, 1e-3, 1e-5, 3.0, 8.0,
        "Raspberry Pi 5, BCM2712: 4 Cortex-A76 x 2.4 GHz x 16 fp32 FLOP per cycle = 153.6 GFLOPS,"
        " 32-bit LPDDR4X-4267 = 17.1 GB/s, 8 GB, SDR104 micro-SD; power as reviewers measured",
    ),
    "rtx-4090": _Sheet(
        165.2e12, 0.5, 1008e9, 24, 0.9, 3.0e9, 1e-4, 1e-5, 20.0, 450.0,
        "NVIDIA Ada whitepaper, RTX 4090: 165.2 TFLOPS dense fp16 tensor with fp32 accumulation,"
        " 1008 GB/s, 24 GB, 450 W",
    ),
    "t4": _Sheet(
        65e12, 0.4, 320e9, 16, 0.9, 2.0e9, 1e-4, 1e-5, 10.0, 70.0,
        "NVIDIA T4 data sheet: 65 TFLOPS fp16 tensor, 320 GB/s, 16 GB, 70 W (capped clocks)",
    ),
    "xeon-8c": _Sheet(
        1843e9, 0.5, 204.8e9, 64, 0.75, 2.0e9, 1e-4, 5e-6, 60.0, 220.0,
        "Intel Xeon Gold 6334: 8 cores x 3.6 GHz x 64 fp32 FLOP per cycle (AVX-512, two FMA units)"
        " = 1843 GFLOPS, 8 x DDR4-3200 = 204.8 GB/s, 165 W processor",
    ),
}  # fmt: skip


def _preset(name: str, sheet: _Sheet) -> Hardware:
    assumed = (
        f"; assumed: {sheet.efficiency:g} of the peak FLOP rate, {_BANDWIDTH_SHARE:g} of the"
        f" bandwidth, {sheet.usable:g} of the memory, storage, launch cost, idle power"
    )
    return Hardware(
        name=name,
        flop_per_s=sheet.peak_flop_per_s * sheet.efficiency,
        bytes_per_s=sheet.peak_bytes_per_s * _BANDWIDTH_SHARE,
        memory_bytes=sheet.memory_gib * _GIB * sheet.usable,
        storage_bytes_per_s=sheet.storage_bytes_per_s,
        storage_delay_s=sheet.storage_delay_s,
        kernel_s=sheet.kernel_s,
        idle_w=sheet.idle_w,
        busy_w=sheet.busy_w,
        source=sheet.source + assumed,
    )


HARDWARE: Mapping[str, Hardware] = MappingProxyType(
    {name: _preset(name, sheet) for name, sheet in sorted(_SHEETS.items())}
)
