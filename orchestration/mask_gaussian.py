"""The steps that would be best if the data were Gaussian: what a learning tries first.

They cost no network call beyond those that the ELBO has made: the spectrum comes from its errors.
"""

from models.gaussian_chain import GaussianChain
from models.spectrum import spectrum_of
from orchestration import setting
from orchestration.config import Config
from orchestration.mask_fit import Learned
from orchestration.mask_plan import Chain
from orchestration.mask_rounds import Kept
from search_spaces.descent import descend
from search_spaces.spacing import known_grids, nearest


def gaussian_masks(config: Config, chain: Chain, learned: Learned, num_steps: int) -> list[Kept]:
    """The optimum for this sampler, then known spacings, the best first.

    The optimum by descent from each of them.

    Args:
        config: of the run.
        chain: the candidates.
        learned: from the ELBO.
        num_steps: K.
    """
    data = spectrum_of(chain.grid, learned.errors, learned.second_moment)
    gaussian = GaussianChain(setting.sampler_of(setting.baseline(config)), data)

    def loss(mask: Kept) -> float:
        return gaussian.loss(chain.steps(mask))

    size = len(chain.timesteps)
    known = sorted(known_masks(chain, num_steps), key=loss)
    optimum = min((descend(mask, size, loss) for mask in known), key=loss)
    return list(dict.fromkeys([optimum, *known]))


def known_masks(chain: Chain, num_steps: int) -> list[Kept]:
    """The candidates nearest to spacings that need no search, each once."""
    grids = known_grids(len(chain.alphas_cumprod), num_steps).values()
    return list(dict.fromkeys(tuple(nearest(chain.timesteps, grid)) for grid in grids))
