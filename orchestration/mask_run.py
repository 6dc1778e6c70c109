"""The stages of a mask's run, each of which is passed over if it is done.

data -> s from the ELBO (Ray Train) -> s from generated quality -> schedules, scored on fresh noise
beside known ones -> pictures, MLflow
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from models.elbo import best_subsets, negative_elbo, snr
from models.masking import top_k, undecided
from orchestration import data, setting, signals
from orchestration.config import Config, fingerprint
from orchestration.dry_run import check_features, check_network
from orchestration.errors import ConfigError, DataError
from orchestration.files import MANIFEST, Json, read_json, sha256_of, write_bytes, write_json
from orchestration.foreign import ensure_known
from orchestration.judge import ensure_judge, judged_setting
from orchestration.mask_fit import Learned, learn
from orchestration.mask_plan import Budgets, Chain, make_chain, plan_budgets
from orchestration.mask_plot import heat_png, kept_png
from orchestration.mask_quality import Round, as_mask, indices, num_images, refine, winner
from orchestration.members import with_interval
from orchestration.pool import Pool
from orchestration.progress import training_line
from orchestration.rundir import RunDirectory
from orchestration.scoring import score_schedules, scoring_pool
from orchestration.tracking import TrackedRun
from orchestration.training_state import Row
from search_spaces.schedule import StepSchedule
from search_spaces.spacing import known_grids, nearest

FORMAT = "step-mask/1"
MASK, HISTORY, QUALITY = "mask.json", "s.parquet", "quality.json"
HEAT, KEPT = "s.png", "kept.png"

Say = Callable[[str], None]
History = dict[int, list[tuple[int, list[float]]]]


@dataclass(frozen=True, eq=False)
class Found:
    """What was learned for one number of steps.

    Args:
        mask: indices of kept candidates.
        s: float64 (S,), in the end.
        calls: network calls x images for its quality.
    """

    mask: tuple[int, ...]
    s: Tensor
    calls: int


def learn_masks(
    config: Config, run: RunDirectory, supernet: Path | None, track: TrackedRun, say: Say
) -> dict[str, Json]:
    """Learns masks and writes all that a run leaves behind; the content of `mask.json`.

    Args:
        config: of the run.
        run: where it goes.
        supernet: folder of a trained network, ours or diffusers'; None where `mask.weights` is
            scratch.
        track: takes curves and pictures.
        say: takes lines of progress.

    Raises:
        ConfigError: the network was trained on another chain or other images, or is conditional
            and to be trained.
        DataError: an artifact is missing or damaged.
    """
    images = data.prepare(config.data, run.cache, say)
    check_features(config, images.header)
    chain, budgets = make_chain(config), plan_budgets(config, images.header.count)
    network = _network(config, run, images, supernet)
    asked: dict[str, Json] = {
        "mask": fingerprint(config),
        "data": sha256_of(images.folder / MANIFEST),
        "network": None if network is None else sha256_of(network / MANIFEST),
    }
    say(
        f"mask    {budgets.iterations:,} iterations of {budgets.batch_size} images: at most"
        f" {budgets.learning + budgets.quality:,} network calls x images"
    )

    def tell(row: Row) -> None:
        say(training_line(row))
        track.log({"loss": row.losses[1.0]}, row.iteration)

    learned = learn(config, budgets, images, network, run, asked, tell)
    signals.install()  # over the handler that Ray Train has put in place
    runs_on = run.supernet if config.mask.weights != "frozen" else network
    history = _history_of(config, learned)
    if config.mask.reward == "quality":
        found = _by_quality(
            config, run, images, runs_on, chain, budgets, learned, asked, history, say
        )
    else:
        found = {
            k: Found(indices(top_k(s, k)), s, 0)
            for k, s in zip(config.mask.steps, learned.s, strict=True)
        }
    _write_history(run, history, chain)
    if not (run.path / MASK).exists():
        result = _result(config, run, images, runs_on, chain, learned, found, say)
        write_json(run.path / MASK, result)
    result = read_json(run.path / MASK)
    _draw(run, chain, history, result)
    _track(run, track, history, result)
    return result


def schedule_of(config: Config, chain: Chain, mask: Sequence[int]) -> StepSchedule:
    """An ordinary schedule of kept candidates, at width 1."""
    like = torch.empty(len(chain.timesteps))
    return replace(setting.baseline(config), steps=chain.steps(as_mask(mask, like)))


def lines(result: dict[str, Json]) -> list[str]:
    """The result as lines for the terminal."""
    said = []
    for entry in result["results"]:
        num = entry["num_steps"]
        said.append(f"{num} steps ({entry['calls']:,} calls for quality)")
        for name, member in entry["scored"].items():
            said.append(
                f"  {name:<12} {result['quality']}"
                f" {with_interval(member['quality'], member['quality_ci'])}"
                f"   against even {with_interval(member['delta'], member['delta_ci'])}"
            )
    return said


def _network(
    config: Config, run: RunDirectory, images: data.DataSet, supernet: Path | None
) -> Path | None:
    """The folder of the network to begin with, held against the configuration."""
    if supernet is None:
        widest = config.supernet.model_copy(update={"widths": (1.0,)})
        alone = config.model_copy(update={"supernet": widest})
        check_network(alone, images.header.shape, images.header.num_classes)
        if config.network.conditional:
            raise ConfigError("network.conditional: got true, expected false to learn with a mask")
        return None
    folder = ensure_known(supernet, run.path / "network", config)
    setting.check_fits(folder, setting.baseline(config), [1.0])
    setting.check_shape(folder, images.header.shape)
    if setting.conditioning(setting.baseline(config), folder) and config.mask.weights == "tuned":
        raise ConfigError(
            f"mask.weights: got tuned, expected frozen where {folder} is conditional"
        )
    return folder


def _history_of(config: Config, learned: Learned) -> History:
    return {
        k: [(at, s[row].tolist()) for at, s in learned.history]
        for row, k in enumerate(config.mask.steps)
    }


def _by_quality(
    config: Config,
    run: RunDirectory,
    images: data.DataSet,
    supernet: Path,
    chain: Chain,
    budgets: Budgets,
    learned: Learned,
    asked: dict[str, Json],
    history: History,
    say: Say,
) -> dict[int, Found]:
    """Refines s by generated quality for each number of steps, round by round on disk."""
    path = run.path / QUALITY
    rounds = _read_rounds(path, asked)
    judge = ensure_judge(config, images, run.cache, say)
    found: dict[int, Found] = {}
    budget = budgets.quality // len(config.mask.steps)
    for row, k in enumerate(config.mask.steps):
        count = num_images(config.mask, k, budget)
        # A call has as many rows as a mask has images, and an error bar two blocks
        score = {"batch_size": count, "block_size": count // 2}
        own = config.model_copy(update={"score": config.score.model_copy(update=score)})
        chosen = judged_setting(own, setting.baseline(config), supernet, judge)
        earlier = [r for r in rounds if r.num_steps == k]
        with scoring_pool(own, chosen) as pool:

            def qualities(
                schedules: Sequence, seed: int, number: int, pool: Pool = pool
            ) -> list[float]:
                scores = pool.distances(schedules, seed, number)
                return [score.full for score in scores]

            at = history[k][-1][0]
            for done, s in refine(
                config.mask, chain, k, budget, learned.s[row], qualities, earlier
            ):
                at += 1
                history[k].append((at, s.tolist()))
                if done not in rounds:
                    rounds.append(done)
                    write_json(path, {"asked": asked, "rounds": [asdict(r) for r in rounds]})
                spent = sum(r.calls for r in rounds if r.num_steps == k)
                say(
                    f"mask    {k} steps, {done.kind}: {len(done.masks)} masks on {count} images,"
                    f" best {min(done.qualities):.3g}, {spent:,} of {budget:,} calls,"
                    f" undecided {undecided(s):.0%}"
                )
        found[k] = Found(winner(done), s, spent)
    return found


def _read_rounds(path: Path, asked: dict[str, Json]) -> list[Round]:
    if not path.exists():
        return []
    content = read_json(path)
    if content.get("asked") != asked:
        raise DataError(f"{path} belongs to another mask: expected another --out")
    return [
        Round(
            **{
                **row,
                "masks": tuple(tuple(mask) for mask in row["masks"]),
                "qualities": tuple(row["qualities"]),
            }
        )
        for row in content["rounds"]
    ]


def _result(
    config: Config,
    run: RunDirectory,
    images: data.DataSet,
    supernet: Path,
    chain: Chain,
    learned: Learned,
    found: dict[int, Found],
    say: Say,
) -> dict[str, Json]:
    """Writes the schedules and scores them on fresh noise beside those that need no learning."""
    results, facts = [], {}
    for k, of_k in found.items():
        schedule = schedule_of(config, chain, of_k.mask)
        write_json(run.schedules / f"{k}.json", schedule.to_json())
        rivals = _rivals(config, chain, learned, k)
        named = {"even": rivals.pop("even"), "learned": schedule, **rivals}
        distinct = list(dict.fromkeys(s.steps for s in named.values()))
        say(f"mask    {k} steps: {len(distinct)} schedules on {config.score.num_images:,} images")
        members, facts = score_schedules(
            config, named["even"], distinct, supernet, run, config.score.num_images, run.plan, say
        )
        of_steps = dict(zip(distinct, members, strict=True))
        results.append(
            {
                "num_steps": k,
                "schedule": f"schedules/{k}.json",
                "calls": of_k.calls,
                "undecided": undecided(of_k.s),
                "negative_elbo": _cost(learned, chain, of_k.mask),
                "negative_elbo_best": _best(learned, chain, k)[1]
                if chain.form == "respaced"
                else None,
                "negative_elbo_candidates": _cost(learned, chain, range(len(chain.timesteps))),
                "scored": {
                    name: {
                        **of_steps[s.steps],
                        "delta": of_steps[s.steps]["quality"] - members[0]["quality"],
                        "timesteps": [t for t, *_ in s.steps],
                        "log_snr": _log_snr(chain, s),
                    }
                    for name, s in named.items()
                },
            }
        )
    return {
        "format": FORMAT,
        **facts,
        "training_images": images.header.count,
        "evaluations": learned.evaluations + sum(of_k.calls for of_k in found.values()),
        "results": results,
    }


def _rivals(config: Config, chain: Chain, learned: Learned, k: int) -> dict[str, StepSchedule]:
    """Evenly spaced, quadratic, and the ELBO's optimum, which is known in the respaced form."""
    base = setting.baseline(config)
    grids = known_grids(config.diffusion.num_train_timesteps, k)
    rivals = {
        name: replace(base, steps=tuple((t, 1.0) for t in grids[name]))
        for name in ("even", "quadratic")
    }
    if chain.form == "literal":
        same = {
            name: nearest(chain.timesteps, grids[name]) for name in ("even", "quadratic")
        }
        return rivals | {
            f"{name}, literal": schedule_of(config, chain, mask) for name, mask in same.items()
        }
    best, _ = _best(learned, chain, k)
    return rivals | {"elbo optimum": schedule_of(config, chain, indices(best))}


def _best(learned: Learned, chain: Chain, k: int) -> tuple[Tensor, float]:
    return best_subsets(chain.grid, learned.errors, learned.second_moment, (k,))[k]


def _cost(learned: Learned, chain: Chain, mask: Sequence[int]) -> float:
    """Negative ELBO in nats per dimension, by the measured errors."""
    from models.elbo import ErrorCurve

    curve = ErrorCurve(chain.grid)
    curve.sums = torch.stack([learned.errors, torch.ones_like(learned.errors)])
    masks = as_mask(mask, learned.errors)[None]
    levels = chain.levels(masks)
    return negative_elbo(masks, levels, curve(levels), learned.second_moment).item()


def _log_snr(chain: Chain, schedule: StepSchedule) -> list[float]:
    levels = [
        level[0] if level else chain.alphas_cumprod[t].item() for t, _, *level in schedule.steps
    ]
    return snr(torch.tensor(levels, dtype=torch.float64)).log().tolist()


def _write_history(run: RunDirectory, history: History, chain: Chain) -> None:
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


def _draw(run: RunDirectory, chain: Chain, history: History, result: dict[str, Json]) -> None:
    write_bytes(run.path / HEAT, heat_png(history, chain.timesteps))
    named = {
        f"{name}, {entry['num_steps']}": member["log_snr"]
        for entry in result["results"]
        for name, member in entry["scored"].items()
    }
    write_bytes(run.path / KEPT, kept_png(named))


def _track(
    run: RunDirectory, track: TrackedRun, history: History, result: dict[str, Json]
) -> None:
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
