"""scikit-learn's 1,797 digits: 8x8, grey, values 0 to 16 spread over 0 to 255."""

from collections.abc import Iterator

import numpy as np

from orchestration.formats import Picture, Source, alike_glimpses, place


def digits() -> Source:
    """The digits, which need no file of the user's."""
    from sklearn.datasets import load_digits  # a second to import: only where it is needed

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]

    def read() -> Iterator[Picture]:
        for i, (pixels, label) in enumerate(zip(images, bunch.target, strict=True)):
            yield Picture(place("digits", i), pixels, int(label))

    return Source(
        stamp="scikit-learn",
        labels=tuple(str(name) for name in bunch.target_names),
        glance=lambda: alike_glimpses("digits", len(images), images.shape[1:]),
        read=read,
    )
