"""The steps that would be best if the data were Gaussian: what a learning tries first.

They cost no network call beyond those that the ELBO has made: the spectrum comes from its errors.
"""

from models.gaussian_chain import GaussianChain, spectrum_of
from orchestration import setting
from orchestration.config import Config
from orchestration.mask_fit import Learned
from orchestration.mask_plan import Chain
from orchestration.mask_quality import known_masks
from orchestration.mask_rounds import Kept
from search_spaces.descent import descend


def gaussian_optimum(config: Config, chain: Chain, learned: Learned, num_steps: int) -> Kept:
    """The best of so many steps for this sampler, by descent from each of the known spacings.

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
    return min((descend(mask, size, loss) for mask in known_masks(chain, num_steps)), key=loss)
