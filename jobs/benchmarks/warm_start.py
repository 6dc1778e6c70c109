"""`warm_start`: what a learned mask brings a search, at equal network calls.

On the landscape of `landscape.py`, block by block as in `racing.py`: s is learned from generated
quality for each of STEPS as `jobs.mask` does, from nothing (the landscape has no ELBO, and no
images that could be held against those of a finer schedule), by MASK_CALLS in all; then the same
search begins from it (`search.warm_start`), in each space where it can. Judged is what a search
hands over: the hypervolume of the true qualities of the members that it chooses.

`SPACE_charged`: the mask's calls are taken from the search's, as where a mask is learned for the
search alone. `SPACE_free`: they are not, as where there is a mask anyhow. Both are ratios to the
search without a mask, the mean over seeds, and `..._long` is at the larger budget. Differences
between seeds are in the notes.
"""

import numpy as np

from jobs.benchmarks.landscape import SPACE
from jobs.benchmarks.racing import NOISES, LandscapePool, searched
from jobs.benchmarks.report import Report, Say
from models.diffusion import noise_levels
from orchestration.files import Json
from orchestration.mask_plan import Chain, known_masks
from orchestration.mask_quality import best_of, refine
from orchestration.mask_refine import scores_of
from orchestration.search_sections import Mask
from search_spaces.guided import Guide, on_grid

STEPS = (20, 10, 5)
MASK_CALLS = 120_000  # network calls x images
BUDGETS = {"": 1_000_000, "_long": 3_000_000}
SPACES = ("per-step", "timesteps")
NOISE = NOISES["demo"]


def run(repetitions: int, say: Say) -> Report:
    """Searches with as many seeds as repetitions."""
    say(f"masks of {repetitions} seeds")
    masks = [learned(seed) for seed in range(repetitions)]
    spent = [calls for _, calls in masks]
    figures: dict[str, float] = {}
    notes: dict[str, Json] = {"seeds": repetitions, "calls_of_masks": spent, "noise": NOISE}
    for suffix, calls in BUDGETS.items():
        for space in SPACES:
            say(f"{space}, {calls:,} calls: {3 * repetitions} searches")
            volumes: dict[str, list[float]] = {"plain": [], "charged": [], "free": []}
            for seed, (guide, taken) in enumerate(masks):
                volumes["plain"].append(_volume(space, seed, calls))
                volumes["charged"].append(_volume(space, seed, calls - taken, guide))
                volumes["free"].append(_volume(space, seed, calls, guide))
            for kind in ("charged", "free"):
                ratios = np.array(volumes[kind]) / np.array(volumes["plain"])
                figures[f"{space}_{kind}{suffix}"] = float(ratios.mean())
            notes[f"{space}{suffix}"] = {"calls": calls, "hypervolumes": volumes}
    return Report("warm_start", figures, [], notes)


def learned(seed: int) -> tuple[Guide, int]:
    """What `search.warm_start` would read, and the network calls x images that it took."""
    settings = Mask(steps=STEPS, seed=seed)
    rising = tuple(reversed(SPACE.grid))
    chain = Chain(rising, noise_levels(1000, "linear"), "respaced")
    score = scores_of(LandscapePool(NOISE))
    kept, chosen, calls = {}, {}, 0
    for k in STEPS:
        first = known_masks(chain, k)
        rounds = list(refine(settings, chain, k, MASK_CALLS // len(STEPS), score, first))
        calls += sum(done.calls for done, _ in rounds)
        s = rounds[-1][1]
        kept[k] = on_grid(SPACE.grid, rising, s.tolist(), k)
        chosen[k] = tuple(t for t, *_ in chain.steps(best_of([done for done, _ in rounds])))
    return Guide(kept, chosen), calls


def _volume(space: str, seed: int, calls: int, guide: Guide | None = None) -> float:
    return searched(NOISE, seed, calls, guide, space=space).hypervolume
