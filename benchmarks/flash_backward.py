"""Flash attention on the CPU in bfloat16 and float32, by length: what `attention.SHORT` rests on.

    python benchmarks/flash_backward.py [--repeats 30]

One causal call and its backward for 3 key heads of 3 query heads each, 64 wide (SmolLM2-135M), the
two types in turn; medians. Writes benchmarks/results/flash_backward_DATE.md.
"""

import argparse
import datetime
import statistics
import time
from pathlib import Path

import torch

from notus.manifest import hardware, versions
from notus.scoring.attention import SHORT

LENGTHS = (32, 64, 128, 256, 512, 1024)
TYPES = (torch.bfloat16, torch.float32)
forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def once(length: int, dtype: torch.dtype) -> tuple[float, float]:
    """Milliseconds of one forward and one backward call."""
    q, k, v, grad = (torch.randn(3, 3, length, 64).to(dtype) for _ in range(4))
    began = time.perf_counter()
    out, lse = forward(q, k, v, 0.0, True)
    between = time.perf_counter()
    backward(grad, q, k, v, out, lse, 0.0, True)
    return 1e3 * (between - began), 1e3 * (time.perf_counter() - between)


def main() -> None:
    """Time every length and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    machine = hardware()
    lines = [
        "# Flash attention's forward and backward by type",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {torch.get_num_threads()} threads; torch "
        f"{versions()['torch']}; median of {repeats} calls, milliseconds. Parts under {SHORT} "
        "tokens go backward in float32.",
        "",
        "| tokens | forward bfloat16 | float32 | backward bfloat16 | float32 | backward ratio |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for length in LENGTHS:
        times = [[once(length, dtype) for dtype in TYPES] for _ in range(repeats + 3)][3:]
        (ahead, back), (ahead32, back32) = (
            [statistics.median(run[kind][part] for run in times) for part in range(2)]
            for kind in range(2)
        )
        cells = [f"{value:.2f}" for value in (ahead, ahead32, back, back32, back / back32)]
        lines.append(f"| {length} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    path = Path(__file__).parent / "results" / f"flash_backward_{datetime.date.today()}.md"
    path.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
