"""What a mask's run leaves beside its schedules: s over the learning, pictures, lines, MLflow."""

from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from models.masking import undecided
from orchestration.config import Config
from orchestration.files import Json, write_bytes
from orchestration.mask_fit import Learned
from orchestration.mask_plan import Chain
from orchestration.mask_plot import heat_png, kept_png
from orchestration.mask_refine import History
from orchestration.members import with_interval
from orchestration.rundir import RunDirectory
from orchestration.tracking import TrackedRun

MASK, HISTORY = "mask.json", "s.parquet"
HEAT, KEPT = "s.png", "kept.png"


def history_of(config: Config, learned: Learned) -> History:
    """(updates, s) of each number of steps, over the learning from the ELBO."""
    return {
        k: [(at, s[row].tolist()) for at, s in learned.history]
        for row, k in enumerate(config.mask.steps)
    }


def write_history(run: RunDirectory, history: History, chain: Chain) -> None:
    """Writes s over the learning as a table: steps, updates, t, s."""
    size = len(chain.timesteps)
    table = pd.DataFrame(
        {
            "num_steps": np.repeat(
                list(history), [len(of_k) * size for of_k in history.values()]
            ),
            "updates": np.repeat([at for of_k in history.values() for at, _ in of_k], size),
            "t": np.tile(chain.timesteps, sum(len(of_k) for of_k in history.values())),
            "s": [value for of_k in history.values() for _, s in of_k for value in s],
        }
    )
    content = BytesIO()
    pq.write_table(pa.Table.from_pandas(table), content, write_page_checksum=True)
    write_bytes(run.path / HISTORY, content.getvalue())


def draw(run: RunDirectory, chain: Chain, history: History, result: dict[str, Json]) -> None:
    """Writes the pictures: s over the learning, and the steps that each schedule keeps."""
    write_bytes(run.path / HEAT, heat_png(history, chain.timesteps))
    named = {
        f"{name}, {entry['num_steps']}": member["log_snr"]
        for entry in result["results"]
        for name, member in entry["scored"].items()
    }
    write_bytes(run.path / KEPT, kept_png(named))


def track_results(
    run: RunDirectory, track: TrackedRun, history: History, result: dict[str, Json]
) -> None:
    """Tells MLflow of the learning and its result."""
    for k, of_k in history.items():
        for at, s in of_k:
            tensor = torch.tensor(s)
            metrics = {f"undecided/{k} steps": undecided(tensor)}
            metrics[f"mass/{k} steps"] = tensor.sum().item()
            track.log(metrics, at)
    for entry in result["results"]:
        for name, member in entry["scored"].items():
            metric = f"quality/{name.replace(',', '')}"
            track.log({metric: member["quality"]}, entry["num_steps"])
    track.write(*(run.path / name for name in (MASK, HEAT, KEPT)))


def lines(result: dict[str, Json]) -> list[str]:
    """The result as lines for the terminal."""
    said = []
    for entry in result["results"]:
        num, kept = entry["num_steps"], len(entry["scored"]["learned"]["timesteps"])
        fewer = f", of which {kept} are kept" if kept < num else ""
        said.append(f"{num} steps{fewer} ({entry['calls']:,} calls for quality)")
        for name, member in entry["scored"].items():
            said.append(
                f"  {name:<12} {result['quality']}"
                f" {with_interval(member['quality'], member['quality_ci'])}"
                f"   against learned {with_interval(member['delta'], member['delta_ci'])}"
            )
    return said
