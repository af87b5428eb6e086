"""What GPUs can do at most: memory and bfloat16 products, as their makers publish them.

Peaks are dense (no structured sparsity) tensor-core rates with float32 sums. What a training
reaches of them is an assumption of the plan, never hidden in this table.
"""

import re
from dataclasses import dataclass

from notus.errors import UsageError, explain, explain_unknown

GIB = 2**30
_SPECIFICATION = re.compile(r"(?:(?P<count>[1-9]\d*)\s*[xX]\s*)?(?P<name>\S+)")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU."""

    name: str
    memory: float
    """Bytes that its driver reports, which are fewer than its name says."""
    peak: float
    """bfloat16 operations a second."""
    source: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Equal GPUs."""

    count: int
    gpu: Gpu


def _gpu(name: str, gib: float, teraflops: float, source: str) -> Gpu:
    return Gpu(name=name, memory=gib * GIB, peak=teraflops * 1e12, source=source)


GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        _gpu("A100-40GB", 39.4, 312, "NVIDIA A100 datasheet (2021), SXM4 and PCIe"),
        _gpu("A100-80GB", 79.2, 312, "NVIDIA A100 datasheet (2021), SXM4 and PCIe"),
        _gpu("H100", 79.1, 989.4, "NVIDIA H100 architecture whitepaper (2022), SXM5 80GB"),
        _gpu("H100-PCIe", 79.1, 756, "NVIDIA H100 architecture whitepaper (2022), PCIe 80GB"),
        _gpu("H200", 139.8, 989.4, "NVIDIA H200 datasheet (2023), SXM"),
        _gpu("A10", 22.5, 125, "NVIDIA A10 datasheet (2021)"),
        _gpu("L4", 22.0, 121, "NVIDIA L4 datasheet (2023); 242 with sparsity"),
        _gpu("L40S", 44.4, 362, "NVIDIA L40S datasheet (2023)"),
        _gpu("RTX-3090", 23.6, 71, "NVIDIA GA102 whitepaper (2020), table 2"),
        _gpu("RTX-4090", 23.5, 165.2, "NVIDIA Ada architecture whitepaper (2022), appendix A"),
    )
}


def parse_machine(text: str) -> Machine:
    """Read `8xA100-40GB`, or `L4` for one.

    Raises:
        UsageError: It is no such text, or no known GPU.
    """
    match = _SPECIFICATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            explain(
                found=f"GPUs {text!r}",
                expected="a number, an x and a name, such as 8xA100-40GB",
                where="--gpus",
                remedy=f"known names: {', '.join(GPUS)}",
            )
        )
    known = {name.casefold(): gpu for name, gpu in GPUS.items()}
    gpu = known.get(match["name"].casefold())
    if gpu is None:
        raise UsageError(explain_unknown("GPU", match["name"], GPUS, where="--gpus"))
    return Machine(count=int(match["count"] or 1), gpu=gpu)
