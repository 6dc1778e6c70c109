"""plan.json: how the subnets run here, and how fast.

Measured once, by the driver; every actor and every resume of the run does as it says.
"""

from dataclasses import asdict

from orchestration.config import Config
from orchestration.files import write_json
from orchestration.pool import Pool
from orchestration.rundir import RunDirectory
from orchestration.setting import Setting, execution

FORMAT = "step-plan/1"


def write_plan(config: Config, run: RunDirectory, chosen: Setting, pool: Pool) -> None:
    """Writes the plan, unless it is there."""
    if run.plan.exists():
        return
    plan = {
        "format": FORMAT,
        "dtype": "float32",
        "compiled": False,
        **asdict(execution(config)),
        "macs": {f"{width:g}": macs for width, macs in chosen.macs.items()},
    }
    if chosen.image_shape is not None:
        latencies = pool.one("latencies")
        plan["latency_ms"] = {f"{width:g}": ms for width, ms in latencies.items()}
    write_json(run.plan, plan)
