"""Every section of the configuration, and what must hold between their keys.

The sections with their keys, types, ranges and defaults are in `training_sections.py` and
`search_sections.py`; only what channels a width allows is left to `models.networks.unet`, which
builds them. Loading, and the one line that a mistake is answered with, are in `config.py`. Nothing
heavy is imported here.
"""

from pydantic import model_validator

from orchestration.search_sections import Mask, Ray, Sampler, Score, Search, Tracking
from orchestration.section import Section, wrong
from orchestration.training_sections import (
    Data,
    Diffusion,
    Features,
    Imputer,
    Network,
    Supernet,
    Train,
)
from search_spaces.schedule import even_grid


class Config(Section):
    """All sections, and what must hold between them."""

    data: Data = Data()
    network: Network = Network()
    imputer: Imputer = Imputer()
    diffusion: Diffusion = Diffusion()
    supernet: Supernet = Supernet()
    train: Train = Train()
    features: Features = Features()
    sampler: Sampler = Sampler()
    search: Search
    mask: Mask = Mask()
    score: Score = Score()
    tracking: Tracking = Tracking()
    ray: Ray = Ray()

    @model_validator(mode="after")
    def _check(self) -> "Config":
        timesteps = self.diffusion.num_train_timesteps
        if self.search.steps > timesteps:
            expected = f"at most diffusion.num_train_timesteps ({timesteps})"
            raise wrong("search.steps", self.search.steps, expected)
        self._check_rescaled()
        if self.sampler.guidance != 1 and not self.network.conditional:
            expected = "1 (none) where network.conditional is false"
            raise wrong("sampler.guidance", self.sampler.guidance, expected)
        for key, count in (
            ("search.num_images", self.search.num_images),
            ("score.num_images", self.score.num_images),
        ):
            if count < 2 * self.score.block_size:
                expected = f"at least two blocks of score.block_size ({self.score.block_size})"
                raise wrong(key, count, expected)
        self._check_racing()
        self._check_windows()
        if self.score.noise_seed == self.search.noise_seed:
            expected = "another than search.noise_seed, so that the front meets unseen noise"
            raise wrong("score.noise_seed", self.score.noise_seed, expected)
        return self

    def _check_rescaled(self) -> None:
        diffusion, search = self.diffusion, self.search
        last = diffusion.num_train_timesteps - 1
        grid = even_grid(diffusion.num_train_timesteps, search.steps, search.spacing)
        if (
            diffusion.rescale_zero_terminal_snr
            and diffusion.prediction == "epsilon"
            and grid[0] == last
        ):
            expected = (
                f"'v_prediction' where diffusion.rescale_zero_terminal_snr is true and the search"
                f" starts at {last}: nothing of the image is left there, and epsilon can't tell it"
            )
            raise wrong("diffusion.prediction", diffusion.prediction, expected)

    def _check_windows(self) -> None:
        if not self.data.is_windows:
            return
        where = f"where data.name is {self.data.name}, a time series"
        if self.sampler.clip_sample:
            raise wrong("sampler.clip_sample", True, f"false {where}: values have no bounds")
        if self.network.conditional:
            raise wrong("network.conditional", True, f"false {where}: windows have no labels")

    def _check_racing(self) -> None:
        search, score = self.search, self.score
        if search.racing and score.batch_size < 2 * score.block_size:
            expected = (
                f"at most half of score.batch_size ({score.batch_size}) where search.racing is"
                " true: candidates are compared after a batch, and an error bar needs two blocks"
            )
            raise wrong("score.block_size", score.block_size, expected)
        if search.max_images is not None and search.num_images % score.batch_size:
            expected = (
                f"a multiple of score.batch_size ({score.batch_size}) where search.max_images"
                " is set"
            )
            raise wrong("search.num_images", search.num_images, expected)


def keys_of(kind: type[Config]) -> list[str]:
    """Every key of a kind of configuration, in the order of the file."""
    return [
        f"{section}.{key}"
        for section, field in kind.model_fields.items()
        for key in field.annotation.model_fields
    ]


SUPERNET_SECTIONS = ("data", "network", "imputer", "diffusion", "supernet", "train")
"""What determines the weights of a supernet, with the data themselves and the code."""

KEYS = keys_of(Config)
"""Every key of the configuration that all commands share."""
