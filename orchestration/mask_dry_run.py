"""What `jobs.mask` would do, told from the configuration and the data's headers alone."""

from orchestration.config import Config
from orchestration.dry_run import data_lines
from orchestration.formats import Header
from orchestration.mask_plan import Budgets, Chain, calls_each
from orchestration.mask_quality import num_images
from orchestration.mask_refine import finer_of
from orchestration.window_formats import WindowHeader


def describe_mask(
    config: Config,
    header: Header | WindowHeader,
    odd: list[str],
    chain: Chain,
    budgets: Budgets,
) -> list[str]:
    """Lines on the data, the masks, the calls, the rounds, and the scores in the end.

    Args:
        config: of the run.
        header: of the data.
        odd: lines on what is odd in them.
        chain: the candidates.
        budgets: network calls x images.
    """
    mask = config.mask
    return [
        *data_lines(config, header, odd),
        f"mask: {', '.join(map(str, mask.steps))} of {len(chain.timesteps)} steps ({mask.form}),"
        f" weights {mask.weights}, by {mask.reward}",
        _calls_line(config, budgets),
        *([_rounds_line(config, chain, budgets)] if mask.reward == "quality" else []),
        f"score: each schedule beside known ones, on {config.score.num_images:,} {_what(config)}",
    ]


def _calls_line(config: Config, budgets: Budgets) -> str:
    mask, what = config.mask, _what(config)
    learned = "the ELBO" if mask.weights == "frozen" else "weights and the ELBO"
    parts = [
        f"{budgets.learning:,} for {learned}, in {budgets.iterations:,} iterations of"
        f" {budgets.batch_size} {what}{' (two calls each)' if budgets.passes == 2 else ''}"
    ]
    if mask.reward == "quality":
        each = budgets.quality // len(mask.steps)
        shared = f", {each:,} for each number of steps" if len(mask.steps) > 1 else ""
        parts.append(f"{budgets.quality:,} for quality{shared}")
    total = budgets.learning + budgets.quality
    return f"calls: at most {total:,} network calls x {what}: {'; '.join(parts)}"


def _rounds_line(config: Config, chain: Chain, budgets: Budgets) -> str:
    mask, what = config.mask, _what(config)
    each = calls_each(config)
    budget = budgets.quality // len(mask.steps) // each
    told = []
    for k in mask.steps:
        finer = finer_of(config, chain, k, budget)
        against = f", held against {len(finer)} steps" if finer else ""
        count = num_images(mask, k, budget, finer)
        told.append(f"of {k} steps on {count} {what} each{against}")
    times = f" ({each} calls a step of one)" if each > 1 else ""  # samples, guidance
    return f"rounds: masks {'; '.join(told)}{times}"


def _what(config: Config) -> str:
    return "windows" if config.data.is_windows else "images"
