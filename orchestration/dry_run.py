"""What a command would do, told from the configuration and the data's headers alone."""

from pathlib import Path

from orchestration.config import Config
from orchestration.data import headers
from orchestration.errors import ConfigError
from orchestration.sections import Search


def check_network(config: Config, shape: tuple[int, int, int]) -> None:
    """Raises ConfigError where no network of one of the widths can be built for these images."""
    import torch  # heavy, as the others: not for commands that train nothing

    from models.networks import unet
    from orchestration.training_loop import network_arguments

    arguments = network_arguments(config, shape)
    try:
        with torch.device("meta"):
            for width in config.supernet.widths:
                unet(**arguments, width=width)
    except ValueError as error:
        raise ConfigError(f"network: {error}") from error


def describe_training(config: Config) -> list[str]:
    """Lines on the data and the training.

    Raises:
        DataError: the data are not there.
        ConfigError: the network can't be built.
    """
    header = headers(config.data)
    check_network(config, header.shape)
    shape = " x ".join(map(str, header.shape))
    labels = "no labels" if header.labels is None else f"{len(header.labels)} classes"
    train = config.train
    number = train.num_workers
    workers = "a worker for each GPU or CPU" if number is None else f"{number} workers"
    return [
        f"data: {header.name}, {header.count:,} images of {shape}, {labels}",
        f"supernet: widths {_listed(config.supernet.widths)}, {train.iterations:,} iterations of"
        f" {train.batch_size} images on {workers}",
    ]


def describe_search(config: Config) -> list[str]:
    """Lines on the search and on scoring the front again."""
    search, score = config.search, config.score
    return [
        f"search: {search.optimizer} on {_space(search)} of {config.sampler.name},"
        f" {search.num_images:,} images a candidate, until {_stopping_rules(search)}",
        f"front: at most {score.max_members} members, scored again on {score.num_images:,} images",
    ]


def plan(config: Config, out: Path, *, trains: bool, searches: bool) -> str:
    """The plan of a command, a line each stage."""
    lines = [f"run directory: {out}" + (" (there: resumes)" if out.exists() else "")]
    if trains and not (searches and config.score.scorer == "stub"):
        lines += describe_training(config)
    if searches:
        lines += describe_search(config)
    return "\n".join(lines)


def _space(search: Search) -> str:
    steps = f"{search.steps} steps"
    if search.space == "segments":
        return f"{steps} in at most {search.segments} segments"
    return steps if search.space == "per-step" else f"{steps} at full width (timesteps)"


def _stopping_rules(search: Search) -> str:
    rules = {
        "candidates": search.budget,
        "network calls x images": search.budget_calls,
        "minutes": search.budget_minutes,
        "generations without a larger hypervolume": search.patience,
    }
    return " or ".join(f"{value:,} {unit}" for unit, value in rules.items() if value is not None)


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
