"""Spaces of pieces, and codes of theirs."""

from itertools import product

import numpy as np
from hypothesis import strategies as st

from search_spaces.per_step import PerStepSpace
from search_spaces.schedule import SPACINGS, even_grid
from search_spaces.segments import SegmentsSpace

WIDTHS = (1.0, 0.75, 0.5, 0.25)
TINY = SegmentsSpace(PerStepSpace((40, 30, 20, 10, 0), (1.0, 0.5)), 2)


def space_of(num_steps, num_widths, num_segments, spacing="leading"):
    grid = even_grid(1000, num_steps, spacing)
    return SegmentsSpace(PerStepSpace(grid, WIDTHS[:num_widths], spacing), num_segments)


spaces = st.builds(
    space_of, st.integers(1, 12), st.integers(1, 4), st.integers(1, 5), st.sampled_from(SPACINGS)
)


@st.composite
def spaces_and_codes(draw, number=1):
    """A space and codes anywhere within its bounds."""
    space = draw(spaces)
    lowest, highest = space.bounds
    codes = [
        np.array([draw(st.integers(a, b)) for a, b in zip(lowest, highest, strict=True)], int)
        for _ in range(number)
    ]
    return space, *codes


def all_codes(space):
    ranges = [range(a, b + 1) for a, b in zip(*space.bounds, strict=True)]
    return [np.array(code) for code in product(*ranges)]
