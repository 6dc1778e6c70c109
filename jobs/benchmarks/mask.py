"""`mask`: learned steps against evolution over timesteps that makes TIMES as many network calls.

For each of `mask.steps`, and for each seed of as many as there are repetitions, from a trained
network as it is:

    learned   what `jobs.mask` finds for this number of steps alone
    evolved   the rival of `timestep_evolution.py` on the same candidates, with TIMES the network
              calls x images that the mask took in all, those for the ELBO included

Both are then scored, as the mask's own result and its rivals were, on noise that none of them has
met, `score.num_images` images each, another noise for each seed, with paired differences from
the learned one. `difference_K` is the mean over seeds of learned - evolved, and `within_K` the
share of seeds at which the 95 % interval of that difference does not say that the learned one is
worse; `better_than_even_K`, and so on for each of BETTER_THAN, is the share at which the interval
says that it is better. These intervals are of the images: they know the two schedules, and not how
good another seed's would be. From two seeds on `difference_low_K` and `difference_high_K` are the
95 % interval over seeds, by Student's t, of the difference between the two ways of searching.

Each pair has a run directory, <out>/<K>-<seed>, with all that `jobs.mask` leaves, the generations
of evolution and the scores (`versus.json`). What is done is passed over: the same command resumes,
and one with more repetitions adds seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.table import Table

from jobs.benchmarks.report import Report
from jobs.benchmarks.timestep_evolution import Evolution, evolve, num_images
from models.intervals import Estimate
from orchestration import data, telling
from orchestration.cluster import cluster
from orchestration.config import Config, overlay
from orchestration.errors import ConfigError, DataError
from orchestration.files import MANIFEST, Json, read_json, sha256_of, write_json
from orchestration.foreign import ensure_known
from orchestration.mask_plan import calls_each, make_chain
from orchestration.mask_refine import most_images, read_rounds, scores
from orchestration.mask_result import schedule_of
from orchestration.mask_rounds import Round, winner
from orchestration.mask_run import NETWORK, check, learn_masks
from orchestration.rundir import RunDirectory, open_run
from orchestration.scoring import score_schedules
from search_spaces.schedule import StepSchedule

TIMES = 10
VERSUS, GENERATIONS = "versus.json", "evolution.json"
BETTER_THAN = ("even", "quadratic", "elbo optimum")
LEARNED = ("learned", "evolved", "full", "likeliest", "elbo optimum", "gaussian optimum")
"""What is not among the known spacings: it goes by rewards, or by the network's errors."""

Say = Callable[[str], None]
Versus = Mapping[str, Json]


def check_pairs(config: Config, supernet: Path) -> None:
    """Refuses what `run` would, as far as headers tell.

    Raises:
        ConfigError: the weights are to learn, calls don't suffice, or settings don't go together.
        DataError: the data or the network are missing.
    """
    if config.mask.weights != "frozen":
        raise ConfigError(f"mask.weights: got {config.mask.weights}, expected frozen")
    for k in config.mask.steps:
        check(pair_config(config, k, 0), supernet)


def run(config: Config, supernet: Path, out: Path, repetitions: int, say: Say) -> Report:
    """Learns, evolves and scores what is missing, and compares.

    Args:
        config: of the masks.
        supernet: folder of a trained network.
        out: holds a run directory for each pair, and what they share.
        repetitions: seeds.
        say: takes lines of progress.

    Raises:
        ConfigError, DataError: as `check_pairs`; what is there tells of another network.
    """
    check_pairs(config, supernet)
    found = []
    with cluster(config):
        for seed in range(repetitions):
            for k in config.mask.steps:
                say(f"\n{k} steps, seed {seed}")
                found.append(_pair(pair_config(config, k, seed), supernet, out, say))
    figures, notes = compare(found)
    about: dict[str, Json] = {"times": TIMES, "seeds": repetitions, "data": config.data.name}
    return Report("mask", figures, [], {**about, "pairs": found, "over_seeds": notes})


def pair_config(config: Config, num_steps: int, seed: int) -> Config:
    """The configuration of one number of steps and one seed: its final noise is its own."""
    return overlay(
        config,
        {
            "mask": {"steps": [num_steps], "seed": seed},
            "score": {"noise_seed": config.score.noise_seed + 1000 * seed},
        },
    )


def compare(found: Sequence[Versus]) -> tuple[dict[str, float], dict[str, Json]]:
    """The figures, and for each number of steps what varies between seeds."""
    figures: dict[str, float] = {}
    notes: dict[str, Json] = {}
    for k in dict.fromkeys(each["num_steps"] for each in found):
        of_k = [each for each in found if each["num_steps"] == k]
        differences = np.array([each["difference"] for each in of_k])
        figures[f"difference_{k}"] = float(differences.mean())
        figures[f"within_{k}"] = float(np.mean([each["difference_ci"][0] <= 0 for each in of_k]))
        for name in (name for name in BETTER_THAN if name in of_k[0]["scored"]):
            low = [each["scored"][name]["delta_ci"][0] for each in of_k]
            figures[f"better_than_{_word(name)}_{k}"] = float(np.mean(np.array(low) > 0))
        for name in of_k[0]["scored"]:
            qualities = [each["scored"][name]["quality"] for each in of_k]
            figures[f"{_word(name)}_{k}"] = float(np.mean(qualities))
        over_seeds = _over_seeds(of_k)
        if over_seeds is not None:
            figures[f"difference_low_{k}"], figures[f"difference_high_{k}"] = over_seeds.interval()
        notes[str(k)] = {
            "differences": differences.tolist(),
            "standard_error": None if over_seeds is None else over_seeds.se,
        }
    return figures, notes


def _over_seeds(of_k: Sequence[Versus]) -> Estimate | None:
    """The mean difference of pairs, each a draw of its own; None of one pair."""
    differences = np.array([each["difference"] for each in of_k])
    if len(of_k) < 2:
        return None
    error = differences.std(ddof=1) / len(of_k) ** 0.5
    return Estimate(float(differences.mean()), float(error), len(of_k))


def _word(name: str) -> str:
    return name.replace(" ", "_")


def mask_table(report: Report) -> Table:
    """A row for each number of steps (K) and seed, and the mean of the seeds.

    `known` is the best that learns nothing.
    """
    pairs = report.notes["pairs"]
    name = pairs[0]["quality"]
    table = Table(title=f"{name}: learned against evolved with {TIMES} x the network calls")
    for column in ("K", "seed", "calls", "even", "known", "learned", "evolved"):
        table.add_column(column, justify="right")
    table.add_column("difference", justify="right", no_wrap=True)
    for k in dict.fromkeys(each["num_steps"] for each in pairs):
        of_k = [each for each in pairs if each["num_steps"] == k]
        rows = [_qualities(each) for each in of_k]
        for each, row in zip(of_k, rows, strict=True):
            difference = _difference(each["difference"], each["difference_ci"])
            _add(table, k, str(each["seed"]), each["calls"], row, difference)
        over_seeds = _over_seeds(of_k)
        if over_seeds is not None:
            calls = round(np.mean([each["calls"] for each in of_k]))
            difference = _difference(over_seeds.value, over_seeds.interval())
            _add(table, k, "mean", calls, np.mean(rows, axis=0), difference)
        table.add_section()
    return table


def _qualities(each: Versus) -> list[float]:
    """Even steps, the best that learns nothing, the learned and the evolved ones."""
    scored = {key: value["quality"] for key, value in each["scored"].items()}
    known = min(v for key, v in scored.items() if key not in LEARNED)
    return [scored["even"], known, scored["learned"], scored["evolved"]]


def _difference(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{value:+.2g} ({low:+.2g}, {high:+.2g})"


def _add(
    table: Table, k: int, seed: str, calls: int, row: Sequence[float], difference: str
) -> None:
    table.add_row(str(k), seed, f"{calls:,}", *(f"{value:.3g}" for value in row), difference)


def _pair(config: Config, supernet: Path, out: Path, say: Say) -> Versus:
    (k,), seed = config.mask.steps, config.mask.seed
    with open_run(out / f"{k}-{seed}", config, out, "mask") as run:
        path = run.path / VERSUS
        network = ensure_known(supernet, run.path / NETWORK, config, data.headers(config.data))
        asked = sha256_of(network / MANIFEST)
        if not path.exists():
            with telling.tracked(config, run, "mask") as track:
                learned = learn_masks(config, run, supernet, track, say)
            generations = _evolved(config, run, network, TIMES * learned["evaluations"], say)
            scored = _scored(config, run, network, learned, generations, say)
            write_json(path, {"network": asked, **scored})
        found = read_json(path)
    if found.get("network", asked) != asked:  # older ones don't say
        raise DataError(f"{path} tells of another network than {supernet}: expected another --out")
    return found


def _evolved(
    config: Config, run: RunDirectory, network: Path, budget: int, say: Say
) -> list[Round]:
    """All generations, those that are on disk among them."""
    images, (k,) = data.prepare(config.data, run.cache, say), config.mask.steps
    each = calls_each(config)
    budget //= each
    count = num_images(config.mask.num_images, k, budget)
    chain, most = make_chain(config), most_images(images)
    search = Evolution(chain, k, budget, config.mask.seed, count, most)
    path = run.path / GENERATIONS
    asked: dict[str, Json] = {"num_steps": k, "budget": budget, "images": count}
    earlier, rounds = read_rounds(path, asked), []
    with scores(config, run, images, network, count, say) as score:
        for done in evolve(search, score, earlier):
            rounds.append(done)
            if len(rounds) > len(earlier):
                write_json(path, {"asked": asked, "rounds": [asdict(r) for r in rounds]})
            spent = each * sum(r.calls for r in rounds)
            say(
                f"evolved {k} steps, {len(done.masks)} of them, {done.kind}: best"
                f" {min(done.qualities):.3g}, {spent:,} of {each * budget:,} calls"
            )
    return rounds


def _scored(
    config: Config,
    run: RunDirectory,
    network: Path,
    learned: Mapping[str, Json],
    generations: Sequence[Round],
    say: Say,
) -> Versus:
    """The evolved one beside what the mask was held against, on the same fresh noise."""
    (k,), (entry,) = config.mask.steps, learned["results"]
    found = StepSchedule.from_json(read_json(run.path / entry["schedule"]))
    evolved = schedule_of(config, make_chain(config), winner(generations[-1]))
    distinct = list(dict.fromkeys([found.steps, evolved.steps]))
    full = StepSchedule.from_json(entry["scored"]["full"]["schedule"])  # which savings are of
    members, facts = score_schedules(
        config, full, distinct, network, run, config.score.num_images, run.plan, say
    )
    delta = members[-1]["quality"] - members[0]["quality"]
    scored = {**entry["scored"], "evolved": {**members[-1], "delta": delta}}
    low, high = scored["evolved"]["delta_ci"]
    return {
        "num_steps": k,
        "seed": config.mask.seed,
        "quality": facts["quality"],
        "calls": learned["evaluations"],
        "calls_evolved": calls_each(config) * sum(r.calls for r in generations),
        "difference": -scored["evolved"]["delta"],
        "difference_ci": [-high, -low],
        "scored": scored,
    }
