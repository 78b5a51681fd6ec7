"""A track that remembers."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from squeeze_onnx.progress import Status, Track, no_status

T = TypeVar("T")


class RecordingTrack(Track):
    """Remembers, for each loop it was handed, the description and how many items were taken."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterator[T]:
        self.taken[description] = 0
        for item in items:
            self.taken[description] += 1
            yield item
