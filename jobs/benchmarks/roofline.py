"""`roofline`: the share of this machine's matrix-product peak that a network's calls reach.

The peak is measured: the fastest of several sizes of square bfloat16 products, and of float32 ones
beside it. A call's work is two operations for each multiply-accumulate that `models.cost` counts.
`width_1` is the CIFAR-10-size network's share of the bfloat16 peak at full width; a processor
without bfloat16 units has a peak below its own float32 one there, and a share that says little:
`width_1_float32` is the share of the float32 peak.
"""

import time
from functools import partial

import torch

from jobs.benchmarks import subjects
from jobs.benchmarks.report import Report, Row, Say
from jobs.benchmarks.side_by_side import side_by_side
from models.cost import macs_by_width

SIZES = (1024, 2048, 4096)
LONGEST_S = 5.0  # of one product: a larger one at the rate so far is left out
BATCH = {"digits": 250, "fashion-mnist": 64, "cifar10": 8}


@torch.inference_mode()
def run(repetitions: int, say: Say) -> Report:
    """Measures with all the cores that torch uses."""
    rows, peaks = [], {}
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        say(f"products, {name}")
        products = {n: partial(_product, n, dtype) for n in _sizes(dtype)}
        timings = side_by_side(products, repetitions)
        rows += [Row(f"product, {name}", f"{n} x {n}", t) for n, t in timings.items()]
        peaks[name] = max(2 * n**3 / timing.median for n, timing in timings.items())
    notes = {f"peak_{name}_gflops": peak / 1e9 for name, peak in peaks.items()}
    figures = {}
    for name, batch_size in BATCH.items():
        say(f"{name}, batch {batch_size}")
        supernet, (x, t) = subjects.supernet(name), subjects.inputs(name, batch_size)
        subnets = {
            width: supernet.subnet(width).to(memory_format=torch.channels_last)
            for width in supernet.widths
        }
        calls = {f"width {width:g}": partial(net, x, t) for width, net in subnets.items()}
        timings = side_by_side(calls, repetitions)
        rows += [Row(f"{name}, batch {batch_size}", rival, t) for rival, t in timings.items()]
        macs = macs_by_width(subnets, subjects.shape(name))
        for width, timing in zip(subnets, timings.values(), strict=True):
            flops = 2 * macs[width] * batch_size / timing.median
            notes[f"{name}_{width:g}_gflops"] = flops / 1e9
            notes[f"{name}_{width:g}_share_of_float32"] = flops / peaks["float32"]
            if (name, width) == ("cifar10", 1):
                figures["width_1"] = flops / peaks["bfloat16"]
                figures["width_1_float32"] = flops / peaks["float32"]
    return Report("roofline", figures, rows, notes)


def _sizes(dtype: torch.dtype) -> list[int]:
    """Those whose products take no longer than LONGEST_S, as far as smaller ones tell."""
    sizes = [SIZES[0]]
    for n in SIZES[1:]:
        start = time.perf_counter()
        _product(sizes[-1], dtype)
        seconds = (time.perf_counter() - start) * (n / sizes[-1]) ** 3
        if seconds > LONGEST_S:
            break
        sizes.append(n)
    return sizes


def _product(n: int, dtype: torch.dtype) -> torch.Tensor:
    a = torch.ones(n, n, dtype=dtype)
    return a @ a
