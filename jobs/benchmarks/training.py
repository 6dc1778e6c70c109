"""`training`: what each way to train a supernet is worth, width by width.

Every variant but `longer` trains as many iterations as the configuration says, on the same data,
from the same initial weights, in the same order of images, and keeps its run directory,
<out>/<variant>: the same command resumes, and passes over what is done.

Of each width there is

    loss_...  the squared error of the prediction by the averaged weights, on NUM_ROWS rows of
              noise that no training meets, the same for all variants
    fd_...    the Fréchet distance of `score.num_images` samples by `search.steps` evenly spaced
              steps at that width alone, on the same noise for all variants

each with the difference from `plain` on the same rows and images, with its 95 % interval (notes).
`cost_...` is what the training computes, in trainings of `plain`, by multiply-accumulates: a call
and its gradient count three, a teacher's call one. `longer` is `plain` for as many iterations as
cost what `all` costs, since a dearer variant must be worth more than a longer training; where both
cost the same it is left out. The classifier and the data are those of the searches; there is one
training a variant, so that another seed's luck is not in the intervals.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jobs.benchmarks.report import Report
from models.diffusion import add_noise, noise_levels, velocity
from models.images import from_uint8
from models.intervals import Replicates, estimate, paired
from models.losses import drawn_widths
from models.noise import normal, uniform_integers
from models.supernet import predict
from orchestration import chains, data, setting, signals
from orchestration.checkpoints import load_supernet
from orchestration.cluster import cluster
from orchestration.config import Config, flatten, overlay
from orchestration.dry_run import check_features, check_network
from orchestration.extractor import ensure_extractor
from orchestration.files import Json, read_json, write_json
from orchestration.plan import follow_plan
from orchestration.progress import training_line
from orchestration.rundir import RunDirectory, open_run
from orchestration.scoring import scoring_pool
from orchestration.training import train
from orchestration.training_sections import Train

VARIANTS: dict[str, dict[str, dict[str, Json]]] = {
    "plain": {},
    "distillation": {"train": {"distillation": 0.5}},
    "distillation-average": {"train": {"distillation": 0.5, "teacher": "average"}},
    "private-norms": {"supernet": {"private_norms": True}},
    "uniform": {"train": {"width_sampling": "uniform"}},
    "widest": {"train": {"width_sampling": "widest"}},
    "all": {"train": {"width_sampling": "all"}},
}
"""Values that go over the configuration."""

NUM_ROWS = 4096
ROWS_A_CALL = 256
VALIDATION = 16 << 32  # of the noise's seed: neither training nor scoring has it
COST_ITERATIONS = 3000  # over which the cost of an iteration is averaged

Say = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """What there is of one variant.

    Args:
        losses: by width, float64 (NUM_ROWS,).
        distances: by width.
        images_per_s: of the training's last report; None where there is none.
        iterations: of the training.
        cost: of the training, in multiply-accumulates, an image of the batch.
        quality: name of the distance.
    """

    losses: dict[float, np.ndarray]
    distances: dict[float, Replicates]
    images_per_s: float | None
    iterations: int
    cost: float
    quality: str


def run(config: Config, out: Path, say: Say) -> Report:
    """Trains and scores what is missing, and compares.

    Args:
        config: of the plain variant.
        out: holds a run directory for each variant, and what they share.
        say: takes lines of progress.
    """
    found: dict[str, Found] = {}
    with cluster(config):
        for name, values in VARIANTS.items():
            say(f"\n{name}")
            found[name] = _variant(overlay(config, values), out, name, say)
        ratio = found["all"].cost / found["plain"].cost
        iterations = round(ratio * config.train.iterations)
        if iterations > config.train.iterations:
            say(f"\nlonger: plain, {iterations:,} iterations")
            values = {"train": {"iterations": iterations}}
            found["longer"] = _variant(overlay(config, values), out, "longer", say)
    figures, notes = compare(found)
    asked = {key: value for key, value in flatten(config).items() if key.startswith("train.")}
    about = {"variants": VARIANTS, "data": config.data.name, "steps": config.search.steps, **asked}
    return Report("training", figures, [], {"comparison": notes, **about})


def compare(found: Mapping[str, Found]) -> tuple[dict[str, float], dict[str, Json]]:
    """The figures, and differences from `plain` with their intervals, by variant."""
    plain = found["plain"]
    figures: dict[str, float] = {}
    notes: dict[str, Json] = {}
    for name, variant in found.items():
        figures[f"cost_{name}"] = variant.cost / plain.cost
        of_width: dict[str, Json] = {}
        for width, distance in sorted(variant.distances.items(), reverse=True):
            loss, before = variant.losses[width], plain.losses[width]
            change = paired(distance, plain.distances[width])
            figures[f"loss_{name}_{width:g}"] = float(loss.mean())
            figures[f"fd_{name}_{width:g}"] = distance.full
            of_width[f"{width:g}"] = {
                "loss": float(loss.mean()),
                "loss_change": float((loss - before).mean()),
                "loss_change_ci": list(_interval(loss - before)),
                "fd": distance.full,
                "fd_ci": list(estimate(distance).interval()),
                "fd_change": change.value,
                "fd_change_ci": list(change.interval()),
            }
        notes[name] = {
            "widths": of_width, "iterations": variant.iterations,
            "images_per_s": variant.images_per_s, "quality": variant.quality,
        }  # fmt: skip
    return figures, notes


def cost_of_iteration(macs: Mapping[float, int], settings: Train) -> float:
    """Multiply-accumulates of an iteration, an image of the batch, in the mean."""
    drawn = [
        drawn_widths(tuple(macs), settings.seed, i, settings.width_sampling)
        for i in range(COST_ITERATIONS)
    ]
    calls = 3 * sum(macs[width] for widths in drawn for width in widths) / len(drawn)
    teaches = settings.distillation > 0 and settings.teacher == "average"
    return calls + (macs[1.0] if teaches else 0)


def losses_by_width(config: Config, supernet_folder: Path, images: Tensor) -> dict[float, Tensor]:
    """The loss of each row at each width: float64 (NUM_ROWS,).

    Args:
        config: its diffusion.
        supernet_folder: of the supernet.
        images: uint8 (n, C, H, W); row r shows image r mod n.
    """
    supernet, chain = load_supernet(supernet_folder), config.diffusion
    levels = noise_levels(chain.num_train_timesteps, chain.betas, chain.rescale_zero_terminal_snr)
    losses: dict[float, list[Tensor]] = {width: [] for width in supernet.widths}
    conditional = supernet.full.config["num_class_embeds"]
    for start in range(0, NUM_ROWS, ROWS_A_CALL):
        rows = range(start, min(start + ROWS_A_CALL, NUM_ROWS))
        x_0 = from_uint8(images[torch.tensor(rows) % len(images)])
        t = uniform_integers(VALIDATION, rows, 0, len(levels))
        eps = normal(VALIDATION, rows, 0, tuple(x_0.shape[1:]))
        x_t = add_noise(x_0, eps, levels[t])
        target = velocity(x_0, eps, levels[t]) if chain.prediction == "v_prediction" else eps
        # A conditional network is judged as it is where labels are hidden
        told = () if conditional is None else (torch.full_like(t, conditional - 1),)
        for width in supernet.widths:
            with torch.inference_mode():
                error = target - predict(lambda *x, w=width: supernet(*x[:2], w, *x[2:]),
                                         x_t, t, *told)
            losses[width].append(error.double().square().flatten(1).mean(1))
    return {width: torch.cat(parts) for width, parts in losses.items()}


def _variant(config: Config, out: Path, name: str, say: Say) -> Found:
    with open_run(out / name, config, out) as run:
        images = data.prepare(config.data, run.cache, say)
        check_network(config, images.header.shape, images.header.num_classes)
        check_features(config, images.header)
        extractor = ensure_extractor(config, images, run.cache, say)
        rows = train(config, images.folder, run.path, lambda row: say(training_line(row)))
        signals.install()  # over the handler that Ray Train has put in place
        chosen = setting.network_setting(
            config, chains.baseline(config), run.supernet, extractor
        )
        path = run.path / "scores.json"
        if not path.exists():
            say("scored  ...")
            pixels = torch.from_numpy(data.load_arrays(images.folder)[0])
            losses = losses_by_width(config, run.supernet, pixels)
            distances = _distances(config, run, chosen, say)
            write_json(path, _scores(losses, distances))
        losses, distances = _read(path)
    return Found(
        losses,
        distances,
        rows[-1].images_per_s if rows else None,
        config.train.iterations,
        cost_of_iteration(chosen.macs, config.train) * config.train.iterations,
        chosen.quality.name(config.score.num_images),
    )


def _distances(
    config: Config, run: RunDirectory, chosen: setting.Setting, say: Say
) -> dict[float, Replicates]:
    grid = chains.space(config).grid
    schedules = [tuple((t, width) for t in grid) for width in config.supernet.widths]
    with scoring_pool(config, chosen) as pool:
        follow_plan(config, run, chosen, pool, say)
        scores = pool.distances(schedules, config.score.noise_seed, config.score.num_images)
    return dict(zip(config.supernet.widths, scores, strict=True))


def _scores(losses: Mapping[float, Tensor], distances: Mapping[float, Replicates]) -> Json:
    return {
        "losses": {str(width): of_width.tolist() for width, of_width in losses.items()},
        "distances": {
            str(width): {
                "full": d.full, "without": d.without.tolist(), "counts": d.counts.tolist(),
            }
            for width, d in distances.items()
        },
    }  # fmt: skip


def _read(path: Path) -> tuple[dict[float, np.ndarray], dict[float, Replicates]]:
    content = read_json(path)
    losses = {float(width): np.array(values) for width, values in content["losses"].items()}
    distances = {
        float(width): Replicates(d["full"], np.array(d["without"]), np.array(d["counts"]))
        for width, d in content["distances"].items()
    }
    return losses, distances


def _interval(differences: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of their mean, by the normal distribution."""
    mean, reach = differences.mean(), 1.96 * differences.std() / len(differences) ** 0.5
    return float(mean - reach), float(mean + reach)
