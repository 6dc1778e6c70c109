"""What learning a mask consists of, worked out from the configuration: candidates and budgets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.diffusion import noise_levels, timestep_at
from models.elbo import mask_levels
from orchestration import chains
from orchestration.config import Config
from orchestration.errors import ConfigError
from search_spaces.prefixes import Step
from search_spaces.schedule import even_grid
from search_spaces.spacing import known_grids, late_grid, nearest

FINER_BY = 10
"""Steps that a finer schedule has more than the masks that are held against it."""


@dataclass(frozen=True)
class Budgets:
    """Network calls x images, at most.

    Args:
        learning: for the errors that the ELBO is made of, and for training.
        quality: for rewards from generated quality.
        batch_size: images of an iteration.
        passes: rows that an image makes in it: 2 where the network learns, one under each of two
            masks on the same noise; else 1.
    """

    learning: int
    quality: int
    batch_size: int
    passes: int

    @property
    def iterations(self) -> int:
        """Of the learning; the last one may have fewer rows where the network is frozen."""
        rows = self.batch_size * self.passes
        return max(1, self.learning // rows if self.passes == 2 else -(-self.learning // rows))


def plan_budgets(config: Config, num_images: int) -> Budgets:
    """The budgets for a number of training images.

    Raises:
        ConfigError: too few evaluations for an iteration.
    """
    mask, train = config.mask, config.train
    most = 2 * num_images if mask.evaluations is None else mask.evaluations
    by_quality = mask.reward == "quality"
    learning = int(most * mask.elbo_share) if by_quality else most
    quality = most - learning if by_quality else 0
    batch_size = min(train.batch_size, num_images)
    if mask.weights == "frozen":
        return Budgets(learning, quality, batch_size, 1)
    if mask.weights == "scratch" and mask.evaluations is None:
        learning, quality = 2 * batch_size * train.iterations, most * by_quality
    if learning < 2 * batch_size:
        raise ConfigError(
            f"mask.evaluations: got {most}, expected at least an iteration's: twice"
            f" train.batch_size ({batch_size}){', over mask.elbo_share' * by_quality}"
        )
    return Budgets(learning, quality, batch_size, 2)


def evaluations_for(config: Config, num_images: int, quality: int) -> int:
    """The least `mask.evaluations` that leave so many network calls x images to judge masks by.

    Args:
        config: of the run.
        num_images: that there are to learn from.
        quality: network calls x images, for all numbers of steps together.
    """
    share, learning = config.mask.elbo_share, 0
    if config.mask.weights != "frozen":
        learning = 2 * min(config.train.batch_size, num_images)
    enough = max(int((quality - 1) / (1 - share)), int(learning / share))
    while enough - int(enough * share) < quality or int(enough * share) < learning:
        enough += 1
    return enough


def calls_each(config: Config) -> int:
    """Network calls x rows of a step of an image, or of a window, where masks are judged.

    A window is sampled several times, and a guided step calls the network twice.
    """
    samples = config.search.num_samples if config.data.is_windows else 1
    return samples * chains.baseline(config).calls_per_step


@dataclass(frozen=True, eq=False)
class Chain:
    """The candidates, by rising timestep, and the levels that masks over them give.

    Args:
        timesteps: S of them.
        alphas_cumprod: float64 (T,), of the training chain.
        form: "respaced" or "literal".
    """

    timesteps: tuple[int, ...]
    alphas_cumprod: Tensor
    form: str

    @property
    def grid(self) -> Tensor:
        """The training chain's levels at the candidates: float64 (S,)."""
        return self.alphas_cumprod[list(self.timesteps)]

    def levels(self, masks: Tensor) -> Tensor:
        """The levels under masks (M, S): float64 (M, S)."""
        return mask_levels(masks, self.grid, self.form)

    def told(self, index: Tensor, levels: Tensor) -> Tensor:
        """What the network is told at candidates (n,) of such levels (n,): timesteps (n,)."""
        if self.form == "respaced":
            return torch.tensor(self.timesteps)[index]
        return timestep_at(levels, self.alphas_cumprod).float()

    def mask(self, kept: Sequence[int]) -> Tensor:
        """The mask that keeps these candidates: bool (S,)."""
        mask = torch.zeros(len(self.timesteps), dtype=torch.bool)
        mask[list(kept)] = True
        return mask

    def steps(self, kept: Sequence[int]) -> tuple[Step, ...]:
        """The steps of kept candidates, in sampling order, at width 1."""
        falling = sorted(kept, reverse=True)
        if self.form == "respaced":
            return tuple((self.timesteps[i], 1.0) for i in falling)
        levels = self.levels(self.mask(kept)[None])[0].tolist()
        return tuple((self.timesteps[i], 1.0, levels[i]) for i in falling)


def indices(mask: Tensor) -> tuple[int, ...]:
    """The kept candidates of a mask (S,), rising."""
    return tuple(mask.nonzero()[:, 0].tolist())


def known_masks(chain: Chain, num_steps: int) -> list[tuple[int, ...]]:
    """The candidates nearest to spacings that need no search, each once."""
    grids = known_grids(len(chain.alphas_cumprod), num_steps).values()
    return list(dict.fromkeys(tuple(nearest(chain.timesteps, grid)) for grid in grids))


def finer_steps(chain: Chain, num_steps: int) -> tuple[Step, ...]:
    """What masks of so many steps are held against: FINER_BY more, spaced late, or all candidates.

    All of a long chain would cost far more, and need not be better: where predictions are clipped
    a network that has not learned for long gets worse by many steps.
    """
    count, size = num_steps + FINER_BY, len(chain.timesteps)
    if count >= size:
        return chain.steps(range(size))
    grid = late_grid(len(chain.alphas_cumprod), count, 1.0)
    return chain.steps(nearest(chain.timesteps, grid))


def make_chain(config: Config) -> Chain:
    """The chain of a configuration.

    Raises:
        ConfigError: more candidates than timesteps, or one where nothing of the image is left.
    """
    diffusion, count = config.diffusion, config.mask.candidates
    if count > diffusion.num_train_timesteps:
        raise ConfigError(
            f"mask.candidates: got {count}, expected at most diffusion.num_train_timesteps"
            f" ({diffusion.num_train_timesteps})"
        )
    grid = even_grid(diffusion.num_train_timesteps, count, config.search.spacing)
    levels = noise_levels(
        diffusion.num_train_timesteps, diffusion.betas, diffusion.rescale_zero_terminal_snr
    )
    if levels[grid[0]] == 0:
        raise ConfigError(
            "search.spacing: got trailing, expected leading for a mask where"
            " diffusion.rescale_zero_terminal_snr is true: the ELBO of noise alone is infinite"
        )
    return Chain(tuple(reversed(grid)), levels, config.mask.form)
