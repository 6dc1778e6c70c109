"""The steps that would be best of Gaussian data, for the chain and sampler of a configuration.

They cost no network call beyond those that the ELBO has made: the spectrum comes from its errors.
Clipping and guidance, which are not linear, are left out.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from models.gaussian_chain import GaussianChain
from models.spectrum import spectrum_of
from orchestration import chains
from orchestration.config import Config
from orchestration.mask_fit import Learned
from orchestration.mask_plan import Chain, known_masks
from orchestration.mask_rounds import Kept
from search_spaces.descent import descend


def gaussian_masks(config: Config, chain: Chain, learned: Learned, num_steps: int) -> list[Kept]:
    """The best of so many steps that descents find, then the known spacings, the best first.

    Args:
        config: of the run.
        chain: the candidates.
        learned: from the ELBO, of a network that stays as it is: where it learns, its errors at
            candidates that were given up early are old ones.
        num_steps: K.
    """
    data = spectrum_of(chain.grid, learned.errors, learned.second_moment)
    gaussian = GaussianChain(chains.sampler_of(chains.baseline(config)), data)

    @cache
    def loss(mask: Kept) -> float:
        return gaussian.loss(chain.steps(mask))

    size = len(chain.timesteps)
    known = sorted(known_masks(chain, num_steps), key=loss)
    ends = [descend(mask, size, loss) for mask in known]
    return list(dict.fromkeys([min(ends, key=loss), *known]))


def first_masks(
    num_steps: Sequence[int],
    chain: Chain,
    learned: Learned,
    by_gaussian: Mapping[int, Sequence[Kept]],
) -> dict[int, list[Kept]]:
    """What a learning from quality begins with, the most promising ones first.

    Args:
        num_steps: `mask.steps`.
        chain: the candidates.
        learned: from the ELBO.
        by_gaussian: of `gaussian_masks`, where they were looked for.
    """
    return {
        k: [mask, *by_gaussian.get(k, known_masks(chain, k))]
        for k, mask in zip(num_steps, learned.masks, strict=True)
    }
