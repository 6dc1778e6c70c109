"""What was learned beside what needs no learning, on fresh noise: the content of `mask.json`.

The rivals of each number of steps: evenly spaced and quadratic (`spacing.py`), those that leave
out the noisiest steps (late), the ELBO's optimum by dynamic programming, that of Gaussian data
(`mask_gaussian.py`), the likeliest steps of s as it is in the end, and all candidates (full).
Where the chain ends in noise alone (rescaled), no rival starts there: no candidate does, and a log
SNR would be infinite. Differences are from the learned steps, paired: on the same noise. Windows
of time series are the test's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.elbo import ErrorCurve, best_subsets, negative_elbo, snr
from models.masking import top_k, undecided
from orchestration import chains
from orchestration.config import Config
from orchestration.files import Json, write_json
from orchestration.mask_fit import Learned
from orchestration.mask_plan import Chain, indices
from orchestration.mask_refine import Found
from orchestration.rundir import RunDirectory
from orchestration.scoring import score_schedules
from search_spaces.schedule import StepSchedule
from search_spaces.spacing import known_grids, nearest

FORMAT = "step-mask/2"

ON_CANDIDATES = ("even", "quadratic")
"""Known spacings that the literal form is held against in its own form too."""


def schedule_of(config: Config, chain: Chain, mask: Sequence[int]) -> StepSchedule:
    """An ordinary schedule of kept candidates, at width 1."""
    return replace(chains.baseline(config), steps=chain.steps(mask))


def result(
    config: Config,
    run: RunDirectory,
    num_training: int,
    supernet: Path,
    chain: Chain,
    learned: Learned,
    found: Mapping[int, Found],
    gaussian: Mapping[int, tuple[int, ...]],
    say: Callable[[str], None],
) -> dict[str, Json]:
    """Writes the schedules and scores them, and their rivals, on fresh noise.

    Args:
        config: of the run.
        run: where schedules go.
        num_training: images, or windows, that the network learned from.
        supernet: folder of the network.
        chain: the candidates.
        learned: from the ELBO.
        found: for each number of steps.
        gaussian: the optimum for Gaussian data, where it was looked for.
        say: takes lines of progress.
    """
    results, facts = [], {}
    what = "windows" if config.data.is_windows else "images"
    for k, of_k in found.items():
        schedule = schedule_of(config, chain, of_k.mask)
        write_json(run.schedules / f"{k}.json", schedule.to_json())
        full = schedule_of(config, chain, range(len(chain.timesteps)))
        against = rivals(config, chain, learned, k, of_k.s, gaussian.get(k))
        named = {"learned": schedule, **against, "full": full}
        distinct = list(dict.fromkeys(s.steps for s in named.values()))
        say(f"mask    {k} steps: {len(distinct)} schedules on {config.score.num_images:,} {what}")
        members, facts = score_schedules(
            config, full, distinct, supernet, run, config.score.num_images, run.plan, say
        )
        of_steps = dict(zip(distinct, members, strict=True))
        scored = {
            name: {
                **of_steps[s.steps],
                "delta": of_steps[s.steps]["quality"] - members[0]["quality"],
                "timesteps": [t for t, *_ in s.steps],
                "log_snr": _log_snr(chain, s),
            }
            for name, s in named.items()
        }
        s = learned.s[config.mask.steps.index(k)]
        results.append({**_facts(chain, learned, k, of_k, s), "scored": scored})
    return {
        "format": FORMAT,
        **_of_all(facts),
        "training_images": num_training,
        "evaluations": learned.evaluations + sum(of_k.calls for of_k in found.values()),
        "results": results,
    }


def _of_all(facts: Mapping[str, Json]) -> dict[str, Json]:
    """What is said of the numbers of all results: no share of what was learned for the last k."""
    if "imputers" not in facts:
        return dict(facts)
    imputers = {
        name: {key: value for key, value in of.items() if not key.startswith("baseline_share")}
        for name, of in facts["imputers"].items()
    }
    return {**facts, "imputers": imputers}


def _facts(
    chain: Chain, learned: Learned, k: int, found: Found, of_elbo: Tensor
) -> dict[str, Json]:
    """What is known of a result before it is scored on fresh noise."""
    best = _best(learned, chain, k)[1] if chain.form == "respaced" else None
    return {
        "num_steps": k,
        "schedule": f"schedules/{k}.json",
        "calls": found.calls,
        "undecided": undecided(found.s),
        "undecided_by_elbo": undecided(of_elbo),
        "negative_elbo": _cost(learned, chain, found.mask),
        "negative_elbo_best": best,
        "negative_elbo_candidates": _cost(learned, chain, range(len(chain.timesteps))),
    }


def rivals(
    config: Config,
    chain: Chain,
    learned: Learned,
    k: int,
    s: Tensor,
    gaussian: tuple[int, ...] | None,
) -> dict[str, StepSchedule]:
    """What a learned schedule of k steps is held against, by name; see the module.

    The ELBO's optimum is known in the respaced form, that of Gaussian data (`gaussian`) for
    networks that stay as they are.
    """
    base = chains.baseline(config)
    grids = known_grids(config.diffusion.num_train_timesteps, k)
    named = {
        name: replace(base, steps=tuple((t, 1.0) for t in grid))
        for name, grid in grids.items()
        if chain.alphas_cumprod[grid[0]] > 0
    }
    own = {"likeliest": schedule_of(config, chain, indices(top_k(s, k)))}
    if gaussian is not None:
        own["gaussian optimum"] = schedule_of(config, chain, gaussian)
    if chain.form == "literal":
        same = {name: nearest(chain.timesteps, grids[name]) for name in ON_CANDIDATES}
        literal = {
            f"{name}, literal": schedule_of(config, chain, mask) for name, mask in same.items()
        }
        return named | literal | own
    best, _ = _best(learned, chain, k)
    return named | {"elbo optimum": schedule_of(config, chain, indices(best))} | own


def _best(learned: Learned, chain: Chain, k: int) -> tuple[Tensor, float]:
    return best_subsets(chain.grid, learned.errors, learned.second_moment, (k,))[k]


def _cost(learned: Learned, chain: Chain, mask: Sequence[int]) -> float:
    """Negative ELBO in nats per dimension, by the measured errors."""
    curve = ErrorCurve(chain.grid)
    curve.sums = torch.stack([learned.errors, torch.ones_like(learned.errors)])
    masks = chain.mask(mask)[None]
    levels = chain.levels(masks)
    return negative_elbo(masks, levels, curve(levels), learned.second_moment).item()


def _log_snr(chain: Chain, schedule: StepSchedule) -> list[float]:
    levels = [
        level[0] if level else chain.alphas_cumprod[t].item() for t, _, *level in schedule.steps
    ]
    return snr(torch.tensor(levels, dtype=torch.float64)).log().tolist()
