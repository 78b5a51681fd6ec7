"""What all stages of one run read: built once, changed by none of them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self, TypeVar, cast

from squeeze_onnx.compress.calibration_source import CalibrationConfig, load_calibration
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.dense_run import DenseRun, features_of_heads, outputs_are_cheap
from squeeze_onnx.compress.held_back import needed_of
from squeeze_onnx.compress.kept_vocabulary import KeptVocabulary
from squeeze_onnx.compress.methods import METHODS, Method
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.sensitivity import Start, find_starts, values_of_starts
from squeeze_onnx.compress.site_choice import choose_sites, find_sites_of
from squeeze_onnx.compress.text_amounts import TO_CALIBRATE, TO_MAP
from squeeze_onnx.compress.text_needed import half_of, part_of, text_needed
from squeeze_onnx.compress.usual_text import usual_text
from squeeze_onnx.compress.validation_text import text_to_learn_on
from squeeze_onnx.data.calibration import CalibrationBatch, values_met
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.io.size import ModelSize, measure_size
from squeeze_onnx.graph.io.spilling import Store, in_memory
from squeeze_onnx.graph.match.sites import MatMulSite, SiteSearch, SkippedSite
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.learning.fisher import FisherGraph, fisher_graph
from squeeze_onnx.learning.parts import in_parts
from squeeze_onnx.support.errors import ModelError
from squeeze_onnx.support.freed_memory import give_back_freed_memory
from squeeze_onnx.support.progress import Track, silent

T = TypeVar("T")

TOKENS_AT_ONCE = 512
"""For which gradients are computed: those of all sites are there at the same time."""


@dataclass(frozen=True, eq=False)
class Context:
    """One run: the ``dense`` model, which stays as it is, and what is asked for.

    ``batches`` are the calibration data, with what is held back beside them. A ``plan`` is one that is re-applied. Distillation
    keeps its state in ``checkpoint``, new weights go to ``store``, ``track`` is told how far it got. ``looked_at`` says that what
    becomes of the model is held against it in the end: it is run for that too while it is open. ``spare`` are the bytes that
    weights in a higher precision may take beyond what all take in the one that is asked for, None for any. ``words`` says which
    part of its vocabulary the dense model has left, None for all. What a stage derives of the model (its sites, how it answers, a
    session) is derived when it is first asked for, and is there for all others then.
    """

    dense: OnnxModel
    config: OptimizeConfig = field(default_factory=OptimizeConfig)
    batches: Sequence[CalibrationBatch] = ()
    plan: Plan | None = None
    checkpoint: CheckpointConfig | None = None
    store: Store = in_memory
    track: Track = silent
    looked_at: bool = False
    spare: float | None = None
    words: KeptVocabulary | None = None
    _known: dict[str, Any] = field(default_factory=dict, repr=False)

    def at(self, keep: float) -> Self:
        """Return the same run with another budget; what is known of the model does not depend on that."""
        return replace(self, config=replace(self.config, keep=keep))

    def with_text(self, calibration: CalibrationConfig | None, taken: Collection[str] = ()) -> Self:
        """Return the same run with the text of ``calibration``, as much as the method needs; see `load_calibration`."""
        if calibration is None:
            return self
        usual, session = usual_text(self.config), self.outputs_run.session
        read = partial(load_calibration, self.dense, calibration, taken=taken, asked=self.config.asked, session=session)
        said = calibration.rows is not None or not calibration.reads_text
        if said or not self._weighs_inputs or self._learns_spectra or usual is TO_MAP:
            return replace(self, batches=read(usual))
        weighed = TO_CALIBRATE if self.config.distill else usual
        needed = text_needed(self.dense, self.sites, read, weighed, self.config.provider)
        return replace(self, batches=replace(read(usual if self.config.distill else needed), needed=needed.tokens))

    @property
    def found(self) -> SiteSearch:
        """The sites of the model, and what is none."""
        return self.once("found", lambda: find_sites_of(self.dense.ir, self.config))

    @property
    def sites(self) -> tuple[MatMulSite, ...]:
        """The sites to squeeze; raises as `choose_sites` does."""
        return self._chosen[0]

    @property
    def skipped(self) -> tuple[SkippedSite, ...]:
        """All others, with the reason why they are left alone."""
        return self._chosen[1]

    @property
    def _chosen(self) -> tuple[tuple[MatMulSite, ...], tuple[SkippedSite, ...]]:
        return self.once("chosen", lambda: choose_sites(self.dense, self.found, self.config, self.plan))

    @property
    def size(self) -> ModelSize:
        """The bytes and parameters of the model."""
        return self.once("size", lambda: measure_size(self.dense))

    @property
    def given_size(self) -> ModelSize:
        """The same of the model that was given: with its whole vocabulary."""
        return self.size if self.words is None else self.words.sizes[0]

    @property
    def head(self) -> Head:
        """How the model answers.

        Raises ModelError if nothing is known of that, RepositoryError and OptionError as `choose_head` does.
        """
        found = self.once("head", self._find_head)
        if isinstance(found, ModelError):
            raise found
        return found

    @property
    def known_head(self) -> Head | None:
        """The same; None if nothing is known of it, and nothing was said of it."""
        try:
            return self.head
        except ModelError:
            if self.config.asked.pooling is not None or self.config.asked.answer is not None:
                raise
            return None

    @property
    def fitted(self) -> Sequence[CalibrationBatch]:
        """What of the text weights may be fitted to: all that distillation does not hold out; raises as `text_to_learn_on`."""
        return text_to_learn_on(self.batches, self.config)

    @property
    def weighed(self) -> Sequence[CalibrationBatch]:
        """What of the text moments are estimated on: a part of what distillation learns on if that is enough."""
        return self.batches if self._part is None else self._part

    @property
    def differentiated(self) -> Sequence[CalibrationBatch]:
        """What of the text gradients are estimated on: half of what moments are where that is no more than is needed.

        Fisher information is shrunk by a tenth, and weighs only what is lost anyway.
        """
        return self.weighed if needed_of(self.batches) is None else half_of(self.weighed)

    @property
    def regressed(self) -> Sequence[CalibrationBatch]:
        """What of the text weights are regressed on; none that distillation holds out, raises as `text_to_learn_on`."""
        return self.fitted if self._part is None else self._part

    @property
    def _part(self) -> Sequence[CalibrationBatch] | None:
        """As much of `fitted` as the choice of ranks needs; None where that is not known or all there is."""
        needed = needed_of(self.batches)
        return None if needed is None or not self.config.distill else part_of(self.fitted, needed)

    @property
    def starts(self) -> tuple[Start, ...]:
        """Where a run can start to see what the sites of a layer do."""
        return self.once("starts", lambda: find_starts(self.dense.ir, self.sites, self.config.answer))

    @property
    def values_run(self) -> DenseRun:
        """The session that shows what sites meet, and from where probes start; its outputs too, unless they cost much."""
        return self.once("values run", self._open_values)

    @property
    def outputs_run(self) -> DenseRun:
        """The session that shows the outputs, and what linear heads read: the same one, unless they cost much."""
        return self.once("outputs run", self._open_outputs)

    @property
    def fisher_graph(self) -> FisherGraph:
        """The model and its adjoint; raises as `squeeze_onnx.learning.fisher.fisher_graph`."""
        return self.once(
            "fisher graph",
            lambda: fisher_graph(
                self.dense.ir,
                self.sites,
                in_parts(self.differentiated, self.dense.ir, most_tokens=TOKENS_AT_ONCE).parts,
                self.head,
                self.outputs_run.session,
                seed=self.config.seed,
            ),
        )

    def close_sessions(self) -> None:
        """Give back what the sessions on the dense model hold; the next use opens one anew."""
        for name in ("values run", "outputs run"):
            if name in self._known:
                self._known[name].close()
        give_back_freed_memory()

    @property
    def _weighs_inputs(self) -> bool:
        """Whether the method looks at what weights read."""
        return self._foreseen is not None and self._foreseen.needs_calibration

    @property
    def _learns_spectra(self) -> bool:
        return self._foreseen is not None and self._foreseen.learns

    @property
    def _foreseen(self) -> Method | None:
        """The method, or one like it for ``auto``; None if the plan has none that is known."""
        if self.plan is not None:
            return METHODS.get(self.plan.method)
        if self.config.method != "auto":
            return METHODS[self.config.method]
        return METHODS["squeeze" if self.config.preset or self.config.rank_rule is not None else "whiten"]

    def _find_head(self) -> Head | ModelError:
        try:
            return choose_head(self.outputs_run.session, read_settings(self.dense.path, self.config.asked), None)
        except ModelError as error:
            return error

    def _open_values(self) -> DenseRun:
        method, values = self._foreseen, list[str]()
        if self._weighs_inputs:
            values += values_met(self.sites)
        if method is not None and method.probes and self.plan is None:
            values += values_of_starts(self.dense.ir, self.starts)
        if values and not outputs_are_cheap(self.dense):
            return DenseRun(self.dense, values, self.config.provider, outputs=False)
        return DenseRun(self.dense, (*values, *features_of_heads(self.dense)), self.config.provider)

    def _open_outputs(self) -> DenseRun:
        if outputs_are_cheap(self.dense):
            return self.values_run
        return DenseRun(self.dense, features_of_heads(self.dense), self.config.provider)

    def once(self, name: str, find: Callable[[], T]) -> T:
        """Return what ``find`` returns, found once under this ``name`` for all budgets."""
        if name not in self._known:
            self._known[name] = find()
        return cast(T, self._known[name])
