"""A track that remembers, and one that sends all that it maps through files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from squeeze_onnx.integrations.dask.transport import Sender, pack_answer, unpack, unpack_answer
from squeeze_onnx.support.progress import Status, Track, no_status

T = TypeVar("T")
R = TypeVar("R")


class RecordingTrack(Track):
    """Remembers, for each loop it was handed, the description and how many items were taken."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterator[T]:
        self.taken[description] = 0
        for item in items:
            self.taken[description] += 1
            yield item


class PostedTrack(RecordingTrack):
    """Does each task as a worker would: on what came out of a message, and its answer goes into another one."""

    def __init__(self, folder: Path, hands: int) -> None:
        super().__init__()
        self._folder = folder
        self._hands = hands

    def hands(self) -> int:
        return self._hands

    def map(self, task: Callable[[T], R], items: Sequence[T], description: str) -> Iterator[R]:
        for item in self(items, description):
            sender = Sender(self._folder)
            sent, job = unpack(sender.pack((task, item)))
            yield unpack_answer(pack_answer(sent(job), self._folder), sender.sites)
