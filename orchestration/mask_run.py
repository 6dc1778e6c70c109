"""The stages of a mask's run, each of which is passed over if it is done.

data -> s from the ELBO (Ray Train) -> s from generated quality -> schedules, scored on fresh noise
beside known ones -> pictures, MLflow
"""

from collections.abc import Callable
from pathlib import Path

from orchestration import chains, compatibility, data, setting, signals
from orchestration.config import Config, fingerprint
from orchestration.dry_run import check_features, check_network
from orchestration.errors import ConfigError
from orchestration.files import MANIFEST, Json, read_json, sha256_of, write_json
from orchestration.foreign import check_foreign, ensure_known
from orchestration.formats import Header
from orchestration.mask_dry_run import describe_mask
from orchestration.mask_fit import Learned, learn
from orchestration.mask_gaussian import first_masks, gaussian_masks
from orchestration.mask_plan import Chain, make_chain, plan_budgets
from orchestration.mask_quality import check_budget
from orchestration.mask_records import MASK, draw, history_of, track_results, write_history
from orchestration.mask_refine import Found, by_quality, check_images
from orchestration.mask_result import FORMAT
from orchestration.mask_result import result as scored_result
from orchestration.mask_rounds import Kept
from orchestration.progress import training_line
from orchestration.rundir import RunDirectory
from orchestration.tracking import TrackedRun
from orchestration.training_state import Row
from orchestration.window_formats import WindowHeader

NETWORK = "network"  # where one from elsewhere is put

Say = Callable[[str], None]


def check(config: Config, supernet: Path | None) -> list[str]:
    """Refuses what `learn_masks` would, as far as headers tell; else the lines of its plan.

    Raises:
        ConfigError: settings that don't go together, or with the data or the network.
        DataError: the data or the network are missing.
    """
    header, odd = data.look(config.data)
    check_features(config, header, searches=False)
    check_images(config, header)
    chain, budgets = make_chain(config), plan_budgets(config, _num_training(header))
    if config.mask.reward == "quality":
        check_budget(config, _num_training(header))
    if config.search.cost != "macs":
        raise ConfigError(
            f"search.cost: got {config.search.cost}, expected macs: masks are held against each"
            " other at equal numbers of steps"
        )
    if supernet is None:
        _check_scratch(config, header)
    elif (supernet / MANIFEST).exists():
        _check_network(config, supernet, header)
    else:
        check_foreign(supernet, config, header)
    return describe_mask(config, header, odd, chain, budgets)


def network_of(run: RunDirectory, supernet: Path | None) -> Path:
    """The supernet's folder that the schedules of a run are sampled with."""
    own = (run.supernet, run.path / NETWORK)
    return next((folder for folder in own if folder.exists()), supernet)


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
            and to be trained; there are too few windows.
        DataError: an artifact is missing or damaged.
    """
    images = data.prepare(config.data, run.cache, say)
    check_features(config, images.header, searches=False)
    check_images(config, images.header)
    num_training = _num_training(images.header)
    chain, budgets = make_chain(config), plan_budgets(config, num_training)
    network = _network(config, run, images, supernet)
    asked = _asked(config, images, network)
    what = "windows" if config.data.is_windows else "images"
    say(
        f"mask    {budgets.iterations:,} iterations of {budgets.batch_size} {what}: at most"
        f" {budgets.learning + budgets.quality:,} network calls x {what}"
    )

    def tell(row: Row) -> None:
        say(training_line(row))
        track.log({"loss": row.losses[1.0]}, row.iteration)

    learned = learn(config, budgets, images, network, run, asked, tell, say)
    signals.install()  # over the handler that Ray Train has put in place
    runs_on = run.supernet if config.mask.weights != "frozen" else network
    history = history_of(config, learned)
    by_gaussian = {} if is_done(run) else _by_gaussian(config, chain, learned, say)
    if config.mask.reward == "quality":
        first = first_masks(config.mask.steps, chain, learned, by_gaussian)
        found = by_quality(
            config, run, images, runs_on, chain, budgets, first, asked, history, say
        )
    else:
        found = _by_elbo(config, learned)
    write_history(run, history, chain)
    if not is_done(run):
        result = scored_result(
            config, run, num_training, runs_on, chain, learned, found,
            {k: masks[0] for k, masks in by_gaussian.items()}, say,
        )  # fmt: skip
        write_json(run.path / MASK, result)
    result = read_json(run.path / MASK)
    draw(run, chain, history, result)
    track_results(run, track, history, result)
    return result


def _asked(config: Config, images: data.DataSet, network: Path | None) -> dict[str, Json]:
    """What decides the result, the code apart."""
    return {
        "format": FORMAT,
        "mask": fingerprint(config),
        "data": sha256_of(images.folder / MANIFEST),
        "network": None if network is None else sha256_of(network / MANIFEST),
        **chains.noise_kind(config),
    }


def is_done(run: RunDirectory) -> bool:
    """Whether all that needs Ray is done."""
    return (run.path / MASK).exists()


def _by_elbo(config: Config, learned: Learned) -> dict[int, Found]:
    """What the ELBO alone has found."""
    learned_of = zip(config.mask.steps, learned.masks, learned.s, strict=True)
    return {k: Found(mask, s, 0) for k, mask, s in learned_of}


def _by_gaussian(
    config: Config, chain: Chain, learned: Learned, say: Say
) -> dict[int, list[Kept]]:
    """`gaussian_masks` for each number of steps, where the errors are of one network."""
    if config.mask.weights != "frozen":
        return {}
    say("mask    looks for the steps that would be best of Gaussian data ...")
    return {k: gaussian_masks(config, chain, learned, k) for k in config.mask.steps}


def _num_training(header: data.Header | WindowHeader) -> int:
    """Images, or windows, that are learned from."""
    return header.counts["train"] if isinstance(header, WindowHeader) else header.count


def _network(
    config: Config, run: RunDirectory, images: data.DataSet, supernet: Path | None
) -> Path | None:
    """The folder of the network to begin with, held against the configuration."""
    if supernet is None:
        _check_scratch(config, images.header)
        return None
    folder = ensure_known(supernet, run.path / NETWORK, config, images.header)
    _check_network(config, folder, images.header)
    return folder


def _check_scratch(config: Config, header: Header | WindowHeader) -> None:
    widest = config.supernet.model_copy(update={"widths": (1.0,)})
    alone = config.model_copy(update={"supernet": widest})
    check_network(alone, header.shape, header.num_classes)
    if config.network.conditional:
        raise ConfigError("network.conditional: got true, expected false to learn with a mask")


def _check_network(config: Config, folder: Path, header: Header | WindowHeader) -> None:
    compatibility.check_imputes(folder, config.data.is_windows)
    compatibility.check_fits(folder, chains.baseline(config), [1.0])
    compatibility.check_data(folder, header)
    if setting.conditioning(chains.baseline(config), folder) and config.mask.weights == "tuned":
        raise ConfigError(
            f"mask.weights: got tuned, expected frozen where {folder} is conditional"
        )
