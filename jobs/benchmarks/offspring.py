"""A generation of an evolved population: what a search scores most of the time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.benchmarks import landscape, subjects
from search_spaces.optimizers import make_optimizer
from search_spaces.per_step import PerStepSpace
from search_spaces.prefixes import Step, count_calls
from search_spaces.schedule import even_grid

Steps = tuple[Step, ...]


@dataclass(frozen=True)
class Generation:
    """The offspring that are scored, and the parents whose states are kept."""

    offspring: tuple[Steps, ...]
    parents: tuple[Steps, ...]

    def calls(self) -> dict[str, int]:
        """Network calls for a block of images, without and with the engine's sharing."""
        return {
            "one_by_one": sum(map(len, self.offspring)),
            "prefixes": count_calls(self.offspring),
            "parents": count_calls(self.offspring, self.parents),
        }

    def macs(self, table: Mapping[float, int]) -> dict[str, int]:
        """What these calls cost an image: prefixes that are shared are narrower than the rest."""
        offspring, parents = _prefixes(self.offspring), _prefixes(self.parents)
        return {
            "one_by_one": sum(table[width] for steps in self.offspring for _, width in steps),
            "prefixes": sum(table[prefix[-1][1]] for prefix in offspring),
            "parents": sum(table[prefix[-1][1]] for prefix in offspring - parents),
        }


def evolve(grid_steps: int, population: int, generations: int, seed: int) -> Generation:
    """The generation after so many of the search's own optimizer on the closed-form landscape."""
    space = PerStepSpace(even_grid(1000, grid_steps), subjects.WIDTHS)
    optimizer = make_optimizer("nsga2", space, seed, population)
    for _ in range(generations):
        asked = optimizer.ask_generation(population)
        genomes = [candidate.genome for candidate in asked]
        optimizer.tell_generation(asked, landscape.losses(genomes, space))
    asked = optimizer.ask_generation(population)
    return Generation(
        tuple(space.decode(candidate.genome) for candidate in asked),
        tuple(space.decode(genome) for genome in optimizer.survivors()),
    )


def _prefixes(schedules: Sequence[Steps]) -> set[Steps]:
    return {steps[:k] for steps in schedules for k in range(1, len(steps) + 1)}
