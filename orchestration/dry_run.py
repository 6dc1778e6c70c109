"""What a command would do, told from the configuration and the data's headers alone."""

from pathlib import Path

from orchestration.config import Config
from orchestration.data import look
from orchestration.errors import ConfigError
from orchestration.formats import Header, why_unlabelled
from orchestration.rundir import Kind, check_same
from orchestration.search_sections import Search
from orchestration.section import show
from orchestration.weights import PUBLISHED, check_files, weights_place
from orchestration.window_formats import WindowHeader
from orchestration.windows import check_count, check_counts

MAX_NAMES = 8  # variables of windows that are named
MIN_IMAGES = 4  # two halves, each with a covariance


def check_network(
    config: Config, shape: tuple[int, int, int], num_classes: int | None = None
) -> None:
    """Raises ConfigError where no network of one of the widths can be built for these images."""
    channels, height, width = shape
    if height != width and not config.data.is_windows:
        raise ConfigError(
            f"data.image_size: got {show(config.data.image_size)} for images of {width}x{height}"
            " pixels, expected a size: they become squares of it, by data.fit"
        )
    import torch  # heavy, as the others: not for commands that train nothing

    from orchestration.checkpoints import builder
    from orchestration.training_network import network_arguments

    build, _ = builder(network_arguments(config, shape, num_classes))
    try:
        with torch.device("meta"):
            for width in config.supernet.widths:
                build(width)
    except ValueError as error:
        if config.data.is_windows:
            raise ConfigError(f"imputer: {error}") from error
        raise ConfigError(f"network: {error}{_remedy(config, height)}") from error


def check_features(
    config: Config, header: Header | WindowHeader, *, searches: bool = True
) -> None:
    """Raises ConfigError where quality can't be told of these data.

    That is where the features need labels and the data have none, or where there are too few
    images; or, of time series, where there are not as many windows as are asked for, by a search
    too if there is to be one.
    """
    if isinstance(header, WindowHeader):
        check_counts(config, header, searches=searches)
        return
    num_classes = len(header.labels or ())
    if config.features.name == "classifier" and num_classes < 2:
        found, other = f"have {num_classes} label", ""
        if header.labels is None:
            reason = why_unlabelled(config.data)
            found, other = f"have no labels{reason}", "labels, or " if reason else ""
        raise ConfigError(
            f"features.name: got \"classifier\", which learns labels, but the images of"
            f" {header.name} {found}; expected {other}features.name=efficientnet, which needs none"
        )
    if header.count < MIN_IMAGES:
        raise ConfigError(
            f"data.name: got {header.count} images of {header.name}, expected at least"
            f" {MIN_IMAGES}, to tell two halves of them apart by"
        )


def check_number(num_images: int, header: Header | WindowHeader) -> None:
    """ConfigError where a schedule is to be scored on more windows than the test has."""
    if isinstance(header, WindowHeader):
        check_count("--num-images", num_images, header, "test")


def describe_training(config: Config) -> list[str]:
    """Lines on the data and the training.

    Raises:
        DataError: the data are not there.
        ConfigError: the network can't be built.
    """
    return training_lines(config, *look(config.data))


def describe_features(config: Config, header: Header | WindowHeader) -> list[str]:
    """Lines on what quality is measured by: pretrained features, or CRPS; none on the classifier.

    Raises:
        ConfigError: a classifier has no labels to learn.
        DataError: a given file is missing or wrong.
        MachineError: a package is missing.
    """
    features = config.features
    check_features(config, header)
    if isinstance(header, WindowHeader):
        return [_judged_line(config, header)]
    if features.name == "classifier":
        return []
    check_files(features)
    place = weights_place(features)
    number = min(header.count, features.num_real or header.count)
    reference = f", against {features.reference}" if features.reference is not None else ""
    fetched = "" if place.exists() else " (to be downloaded)"
    lines = [f"features: {place}{fetched}, of {number:,} real images{reference}"]
    dimension = PUBLISHED[features.name].dimension
    few = {"search": config.search.num_images, "score": config.score.num_images}
    told = [f"{name}.num_images={value:,}" for name, value in few.items() if value < dimension]
    if told:
        lines.append(
            f"note: {' and '.join(told)}: fewer than these features' {dimension:,} dimensions, so"
            " that distances are too large and tell schedules apart less well"
        )
    return lines


def describe_search(config: Config) -> list[str]:
    """Lines on the search and on scoring the front again."""
    search, score = config.search, config.score
    guidance = config.sampler.guidance
    guided = "" if guidance == 1 else f" with guidance {guidance:g} (two calls each)"
    cost = ", for predicted latency" * (search.cost == "latency")
    what = "windows" if config.data.is_windows else "images"
    return [
        f"search: {search.optimizer} on {_space(search)} of {config.sampler.name}{guided},"
        f" {search.num_images:,} {what} a candidate{cost}, until {_stopping_rules(search)}",
        f"front: at most {score.max_members} members, scored again on {score.num_images:,} {what}",
    ]


def plan(
    config: Config, out: Path, *, trains: bool, searches: bool, kind: Kind = "search"
) -> str:
    """The plan of a command, a line each stage; `kind` is that of its run directory.

    Raises:
        ConfigError: the run directory holds another run, or the network can't be built.
        DataError: the data are not there.
    """
    check_same(out, config, kind)
    lines = [f"run directory: {out}" + (" (there: resumes)" if out.exists() else "")]
    if not (searches and config.score.scorer == "stub"):
        header, odd = look(config.data)
        if trains:
            lines += training_lines(config, header, odd)
        if searches:
            lines += describe_features(config, header)
    if searches:
        lines += [*describe_search(config), *_warm_start_lines(config)]
    return "\n".join(lines)


def _warm_start_lines(config: Config) -> list[str]:
    """A line on the mask that the search begins with, if any; DataError where it cannot."""
    path = config.search.warm_start
    if path is None:
        return []
    from orchestration.chains import baseline
    from orchestration.warm_start import read_warm_start

    sizes = sorted(read_warm_start(path, baseline(config)).kept, reverse=True)
    return [f"warm start: {path}, learned for {', '.join(map(str, sizes))} steps"]


def training_lines(config: Config, header: Header, odd: list[str]) -> list[str]:
    """As `describe_training`, of what was looked at already."""
    check_network(config, header.shape, header.num_classes)
    what = "windows" if isinstance(header, WindowHeader) else "images"
    return [*data_lines(config, header, odd), _supernet_line(config, what)]


def data_lines(config: Config, header: Header | WindowHeader, odd: list[str]) -> list[str]:
    """Lines on data that were looked at already, and on what is odd in them."""
    if isinstance(header, WindowHeader):
        return _windows_lines(header, odd)
    shape = " x ".join(map(str, header.shape))
    labels = "no labels" if header.labels is None else f"{len(header.labels)} classes"
    mirrored = ", mirrored at random" if config.data.flips else ""
    return [
        f"data: {header.name}, {header.count:,} images of {shape}, {labels}{mirrored}",
        *(f"data: {line}" for line in odd),
    ]


def _supernet_line(config: Config, what: str) -> str:
    train = config.train
    number = train.num_workers
    workers = "a worker for each GPU or CPU" if number is None else f"{number} workers"
    return (
        f"supernet: widths {_listed(config.supernet.widths)}, {train.iterations:,} iterations of"
        f" {train.batch_size} {what} on {workers}"
    )


def _windows_lines(header: WindowHeader, odd: list[str]) -> list[str]:
    counts = ", ".join(f"{count:,} to {_USES[part]}" for part, count in header.counts.items())
    return [
        f"data: {header.name}, windows of {len(header.variables)} variables x {header.length}"
        f" times: {counts}",
        f"data: of {_named(header.variables)}",
        *(f"data: {line}" for line in odd),
    ]


def _named(variables: tuple[str, ...]) -> str:
    rest = len(variables) - MAX_NAMES
    return ", ".join(variables[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


_USES = {"train": "train", "validation": "search on", "test": "report on"}


def _judged_line(config: Config, header: WindowHeader) -> str:
    score = config.score
    hidden = "what the data hide" if header.hides else f"{score.hide:.0%} hidden"
    return (
        f"quality: CRPS of {hidden}, by {config.search.num_samples} samples a window in the search"
        f" and {score.num_samples} in the end"
    )


def _remedy(config: Config, size: int) -> str:
    """What to set where the images don't halve at every level."""
    shrink = 2 ** (len(config.network.block_out_channels) - 1)
    if size % shrink == 0:
        return ""
    larger = -(-size // shrink) * shrink
    return (
        f": set data.image_size={larger} (and data.fit=pad to keep the pixels), or fewer levels in"
        " network.block_out_channels and network.attention"
    )


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
