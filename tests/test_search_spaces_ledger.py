import numpy as np

from models.diffusion import alphas_cumprod, linear_betas
from models.population import sample_population
from models.sampling import Sampler
from models.states import StateCache
from search_spaces.ledger import Ledger
from search_spaces.prefixes import charge

GRID = (900, 600, 300, 0)


def random_schedules(rng, number):
    schedules = []
    while len(schedules) < number:
        widths = rng.choice([0.0, 0.5, 1.0], len(GRID))
        steps = tuple((t, w) for t, w in zip(GRID, widths.tolist(), strict=True) if w)
        schedules += [steps] if steps else []
    return schedules


def test_where_every_schedule_is_sampled_on_all_images_it_is_the_charge_of_a_population():
    rng = np.random.default_rng(0)
    ledger, parents = Ledger(2), []
    for _ in range(30):
        ledger.keep(parents)
        children = random_schedules(rng, 5)
        expected = charge(children, parents)
        assert ledger.add(0, children) == ledger.add(1, children) == expected
        pool = [*parents, *children]
        parents = [pool[i] for i in rng.choice(len(pool), 4, replace=False)]


def test_it_counts_the_network_calls_that_sampling_with_a_cache_makes():
    """Races of which ever fewer go on to further images, against the calls of `StateCache`."""
    rng = np.random.default_rng(1)
    sampler = Sampler("ddim", alphas_cumprod(linear_betas(1000)), 0.0, True)
    networks = {width: (lambda x, t: 0.1 * x) for width in (0.5, 1.0)}
    states, ledger, parents = StateCache(2**20), Ledger(3), []
    for _ in range(12):
        states.retain(parents)
        ledger.keep(parents)
        alive = children = random_schedules(rng, 6)
        for place in range(3):
            before = states.calls
            list(sample_population(
                networks, sampler, alive, seed=0, images=range(2 * place, 2 * place + 2),
                shape=(1, 2, 2), batch=2, states=states,
            ))  # fmt: skip
            assert sum(ledger.add(place, alive)) == states.calls - before
            alive = alive[: rng.integers(1, len(alive) + 1)]
        pool = [*parents, *children]
        parents = [pool[i] for i in rng.choice(len(pool), 4, replace=False)]
    assert 0 < states.hits
