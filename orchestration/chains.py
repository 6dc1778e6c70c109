"""The chain that a configuration samples by: its baseline, the space around it, its moves."""

from models.chain_noise import NOISE
from models.diffusion import noise_levels
from models.sampling import Sampler
from orchestration.config import Config
from search_spaces.per_step import PerStepSpace
from search_spaces.schedule import StepSchedule, even_grid


def space(config: Config) -> PerStepSpace:
    """The space that is searched."""
    spacing = config.search.spacing
    grid = even_grid(config.diffusion.num_train_timesteps, config.search.steps, spacing)
    return PerStepSpace(grid, config.supernet.widths, spacing)


def baseline(config: Config) -> StepSchedule:
    """Every timestep of the grid at width 1."""
    return StepSchedule(
        **config.diffusion.model_dump(),
        sampler=config.sampler.name,
        eta=config.sampler.eta,
        clip_sample=config.sampler.clip_sample,
        guidance=config.sampler.guidance,
        steps=tuple((t, 1.0) for t in space(config).grid),
    )


def sampler_of(schedule: StepSchedule) -> Sampler:
    """The reverse moves of a schedule's chain."""
    return Sampler(
        schedule.sampler,
        noise_levels(
            schedule.num_train_timesteps, schedule.betas, schedule.rescale_zero_terminal_snr
        ),
        schedule.eta,
        schedule.clip_sample,
        schedule.prediction,
    )


def noise_kind(config: Config) -> dict[str, str]:
    """How the noise of moves is made, for what results are known by; nothing where there is none.

    So what was begun with noise of another kind is not gone on with.
    """
    return {"noise": NOISE} if sampler_of(baseline(config)).adds_noise else {}
