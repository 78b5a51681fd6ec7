"""Which part of the vocabulary stays."""

from dataclasses import dataclass

from squeeze_onnx.compress.settings.base import Part
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name


@made_by_name
@dataclass(frozen=True)
class KeptWords(Part):
    """Which tokens stay in the vocabulary, before anything else is done (`squeeze_onnx.compress.kept_vocabulary`).

    keep_vocabulary: files of texts whose tokens stay, glue:TASK, general:en, or languages such as de: all tokens of their
        scripts; none for the whole vocabulary.
    """

    keep_vocabulary: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise OptionError for a source that is empty, or given twice."""
        sources = self.keep_vocabulary
        if any(not source.strip() for source in sources) or len(set(sources)) < len(sources):
            raise OptionError(
                f"`keep_vocabulary` names files of text or languages, each once; got {', '.join(sources)!r}"
            )
        for source in sources:
            if source.endswith(".npz"):
                raise OptionError(
                    f"`keep_vocabulary` {source} holds numbers of tokens; name a file of the texts that the model reads"
                )
