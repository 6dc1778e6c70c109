"""Reading the images of a source, and keeping account of what is odd in them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

from orchestration.alike import check_bad, read_alike
from orchestration.errors import DataError
from orchestration.files import Json
from orchestration.formats import Bad, Header, Picture, Source
from orchestration.training_sections import Data

REPORT_S = 10.0  # between two lines of progress
NUM_NAMED = 3  # images left out that a line names; the manifest names all


@dataclass
class Odd:
    """What is to be said of the images of a source.

    Args:
        skipped: those that were left out.
        notes: how many images had what done to them.
    """

    skipped: list[Bad] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def facts(self, passed_over: int) -> dict[str, Json]:
        """For the manifest; what there is none of is left out."""
        found = {
            "skipped": [asdict(bad) for bad in self.skipped],
            "notes": dict(self.notes),
            "passed_over": passed_over,
        }
        return {key: value for key, value in found.items() if value}


def read_good(
    source: Source, header: Header, data: Data, odd: Odd, say: Callable[[str], None]
) -> Iterator[Picture]:
    """The images of a source that can be used.

    Args:
        source: to read.
        header: what it gives.
        data: of the configuration.
        odd: takes what is odd.
        say: takes a line of progress every now and then.

    Raises:
        DataError: more images are bad than may be, or all.
    """
    said, count = time.monotonic(), 0
    for item in read_alike(source, header.shape, data):
        if isinstance(item, Bad):
            odd.skipped.append(item)
            check_bad(odd.skipped, data)
            continue
        odd.notes.update(item.notes)
        count += 1
        yield item
        if time.monotonic() - said > REPORT_S:
            said = time.monotonic()
            say(f"data    {count:,} of {header.count:,} images read")
    if not count:
        raise DataError(f"data.path {data.path} holds no image that can be read")


def describe_odd(facts: Mapping[str, Json]) -> list[str]:
    """Lines on what is odd in a data set, by its manifest."""
    lines = []
    if skipped := facts.get("skipped"):
        named = "; ".join(f"{bad['name']} {bad['reason']}" for bad in skipped[:NUM_NAMED])
        more = " ..." if len(skipped) > NUM_NAMED else ""
        lines.append(f"{len(skipped):,} left out (data.skip_bad): {named}{more}")
    lines += [f"{count:,} {note}" for note, count in sorted(facts.get("notes", {}).items())]
    if passed_over := facts.get("passed_over"):
        lines.append(f"files passed over, which are no images by their names: {passed_over:,}")
    return lines
