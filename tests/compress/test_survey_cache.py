"""The cache: a survey read is the survey taken, and none is ever read for another model, other data or other options."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import squeeze_onnx.compress.survey_cache
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.squeezing import carry_out, plan_for
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.compress.survey_cache import cached_survey, check_cache, survey_key
from squeeze_onnx.data.calibration import CalibrationBatch, session_showing
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.support.errors import DataError, OptionError
from squeeze_onnx.workflows.optimize import optimize
from tests.folders import snapshot
from tests.tiny_encoder import batch, encoder_model, weights_of, write_model_folder

QUICK = OptimizeConfig(method="whiten", keep=0.5, simulations=1)


def calibration(feeds: dict[str, np.ndarray] | None = None) -> tuple[CalibrationBatch, ...]:
    feeds = feeds or batch()
    return (CalibrationBatch(feeds, feeds["attention_mask"]),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model_folder(tmp_path / "model")


@pytest.fixture
def model(folder: Path) -> OnnxModel:
    return load_model(folder)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def stored(model: OnnxModel, cache: Path) -> Path:
    """Return the file of a survey by ``QUICK``."""
    cached_survey(Context(model, QUICK, calibration()), cache)
    [file] = cache.iterdir()
    return file


@pytest.fixture
def sealed(stored: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a survey by ``QUICK``; every attempt to measure anything else fails."""

    def fail(*_: object, **__: object) -> Survey:
        raise AssertionError("nothing is to be measured again")

    monkeypatch.setattr(squeeze_onnx.compress.survey_cache, "take_survey", fail)
    return stored


def squeezed(model: OnnxModel, survey: Survey, keep: float) -> tuple[Plan, dict[str, np.ndarray]]:
    result = carry_out(
        Context(model, batches=calibration()), plan_for(Context(model, replace(QUICK, keep=keep)), survey), survey
    )
    return result.plan, weights_of(ir.to_proto(model.ir))


class TestASurveyThatIsRead:
    @pytest.mark.parametrize("method", METHODS)
    def test_makes_the_same_models_bit_for_bit(
        self, folder: Path, model: OnnxModel, cache: Path, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        config = replace(QUICK, method=method, include=("embedding",))
        taken = cached_survey(Context(model, config, calibration()), cache)
        monkeypatch.setattr(squeeze_onnx.compress.survey_cache, "take_survey", None)
        read = cached_survey(Context(load_model(folder), config, calibration()), cache)
        for keep in (0.3, 0.7):
            plans, weights = zip(*(squeezed(load_model(folder), survey, keep) for survey in (taken, read)), strict=True)
            assert plans[0] == plans[1]
            assert set(weights[0]) == set(weights[1])
            assert all(np.array_equal(array, weights[1][name]) for name, array in weights[0].items())

    def test_has_every_field_and_shares_what_was_shared(self, folder: Path, model: OnnxModel, cache: Path) -> None:
        asked = replace(QUICK, remove_sublayers=True)
        taken = cached_survey(Context(model, asked, calibration()), cache)
        read = cached_survey(Context(load_model(folder), asked, calibration()), cache)
        same = {"method", "skipped", "stages", "whole_heads", "removable"}
        new = {"spectra", "moments", "blocks", "sharings", "objective", "timing", "fisher", "learned"}
        assert {field.name for field in fields(Survey)} == same | new
        assert all(getattr(read, name) == getattr(taken, name) for name in same)
        assert read.removable
        assert [site.name for site in read.sites] == [site.name for site in taken.sites]
        assert [measured.summary for measured in read.spectra] == [measured.summary for measured in taken.spectra]
        sensitivities = [[each.candidate.sensitivity for each in survey.spectra] for survey in (taken, read)]
        assert sensitivities[0] == sensitivities[1] != [1.0] * len(sensitivities[0])
        assert [sharing.sites for sharing in read.sharings] == [sharing.sites for sharing in taken.sharings] != []
        assert read.moments["layer.0/query"] is read.moments["layer.0/key"] is not read.moments["layer.0/ffn_in"]
        assert set(read.timing) == {"cache"} < set(taken.timing)

    @pytest.mark.usefixtures("sealed")
    def test_serves_every_budget(self, model: OnnxModel, cache: Path) -> None:
        for options in ({"keep": 0.2}, {"above_break_even": "denoise"}, {"external_data": True}, {"joint_qkv": False}):
            cached_survey(Context(model, replace(QUICK, **options), calibration()), cache)

    @pytest.mark.usefixtures("sealed")
    def test_serves_the_method_that_auto_stands_for(self, model: OnnxModel, cache: Path) -> None:
        cached_survey(Context(model, replace(QUICK, method="auto"), calibration()), cache)


class TestTheKey:
    def other_weights(self, folder: Path) -> OnnxModel:
        proto = onnx.load(folder / "model.onnx")
        proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
        return load_model(write_model_folder(folder.with_name("other"), proto))

    def test_is_that_of_the_same_bytes_elsewhere(self, folder: Path, model: OnnxModel) -> None:
        elsewhere = load_model(write_model_folder(folder.with_name("elsewhere")))
        assert survey_key(Context(elsewhere, QUICK, calibration())) == survey_key(Context(model, QUICK, calibration()))

    def test_is_another_for_other_weights(self, folder: Path, model: OnnxModel) -> None:
        assert survey_key(Context(self.other_weights(folder), QUICK, calibration())) != survey_key(
            Context(model, QUICK, calibration())
        )

    @pytest.mark.parametrize(
        "options",
        [
            *({"method": "svd"}, {"noise": "bulk"}, {"probability": 0.9}, {"include": ("embedding",)}),
            *({"exclude": ("key",)}, {"seed": 1}, {"simulations": 2}, {"provider": "cuda"}),
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_is_another_for_other_options(
        self, model: OnnxModel, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The session that tells how the model answers is opened here, where there may be no CUDA."""
        monkeypatch.setattr(
            "squeeze_onnx.compress.dense_run.session_showing",
            lambda model, values, _: session_showing(model, values, "cpu"),
        )
        assert survey_key(Context(model, replace(QUICK, **options), calibration())) != survey_key(
            Context(model, QUICK, calibration())
        )

    @pytest.mark.parametrize("what", ["tokens", "mask", "order", "nothing"])
    def test_is_another_for_other_calibration_data(self, model: OnnxModel, what: str) -> None:
        feeds = batch()
        two = (*calibration(), *calibration({name: array[:1] for name, array in feeds.items()}))
        others: dict[str, tuple[Sequence[CalibrationBatch], Sequence[CalibrationBatch]]] = {
            "tokens": (calibration(), calibration({**feeds, "input_ids": feeds["input_ids"] + 1})),
            "mask": (calibration(), (CalibrationBatch(feeds, None),)),
            "order": (two, two[::-1]),
            "nothing": (calibration(), ()),
        }
        first, second = others[what]
        assert survey_key(Context(model, QUICK, first)) != survey_key(Context(model, QUICK, second))

    def test_is_another_where_the_files_say_that_answers_are_read_otherwise(self, tmp_path: Path) -> None:
        several = {"problem_type": "multi_label_classification"}
        keys = {
            survey_key(
                Context(
                    load_model(write_model_folder(tmp_path / name, encoder_model(classifier=True), **said)),
                    QUICK,
                    calibration(),
                )
            )
            for name, said in (("one", {}), ("several", several))
        }
        assert len(keys) == 2

    def test_is_the_same_for_a_method_that_looks_at_no_data(self, model: OnnxModel) -> None:
        config = replace(QUICK, method="svd")
        assert survey_key(Context(model, config, calibration())) == survey_key(Context(model, config))

    def test_changes_with_the_version(self, model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
        before = survey_key(Context(model, QUICK, calibration()))
        monkeypatch.setattr(squeeze_onnx.compress.survey_cache, "__version__", "0.0")
        assert survey_key(Context(model, QUICK, calibration())) != before


class TestAFileThatIs:
    def read(self, model: OnnxModel, file: Path) -> None:
        cached_survey(Context(model, QUICK, calibration()), file.parent)

    @pytest.mark.parametrize("left", [0.0, 0.5, 0.999])
    def test_cut_off_is_refused(self, model: OnnxModel, stored: Path, left: float) -> None:
        content = stored.read_bytes()
        stored.write_bytes(content[: int(left * len(content))])
        with pytest.raises(DataError, match=r"survey-\w+\.npz is damaged \(.*\): delete it, and it is taken anew"):
            self.read(model, stored)

    def test_changed_in_a_byte_is_refused(self, model: OnnxModel, stored: Path) -> None:
        content = bytearray(stored.read_bytes())
        with ZipFile(stored) as archive:
            entries = archive.infolist()[::8]
        for entry in entries:
            start = entry.header_offset + 30
            start += sum(int.from_bytes(content[start - size : start - size + 2], "little") for size in (4, 2))
            place = start + entry.compress_size // 2  # not in a header, where no byte of the data changes
            changed = content.copy()
            changed[place] ^= 1
            stored.write_bytes(changed)
            with pytest.raises(DataError, match="is damaged"):
                self.read(model, stored)

    def test_a_pickle_is_refused(self, model: OnnxModel, stored: Path) -> None:
        np.savez(stored, document=np.array([{}]))
        with pytest.raises(DataError, match="is damaged"):
            self.read(model, stored)

    def test_without_a_survey_is_refused(self, model: OnnxModel, stored: Path) -> None:
        np.savez(stored, document=np.frombuffer(b"[]", np.uint8))
        with pytest.raises(DataError, match="is damaged"):
            self.read(model, stored)

    def test_of_another_key_is_refused(self, model: OnnxModel, sealed: Path) -> None:
        other = replace(QUICK, seed=1)
        key = survey_key(Context(model, other, calibration()))
        sealed.rename(sealed.with_name(f"survey-{key[:16]}.npz"))
        with pytest.raises(DataError, match="is the survey of another model, data or options: delete it"):
            cached_survey(Context(model, other, calibration()), sealed.parent)

    def test_half_written_is_not_there(self, model: OnnxModel, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(np, "savez", fail)
        with pytest.raises(KeyboardInterrupt):
            cached_survey(Context(model, QUICK, calibration()), cache)
        assert not cache.exists()


class TestTheFolder:
    def test_may_not_be_a_file(self, folder: Path) -> None:
        with pytest.raises(OptionError, match=r"`cache` .*config\.json is a file; name a folder"):
            check_cache(folder / "config.json", folder.with_name("out"))

    @pytest.mark.parametrize("inside", [".", "cache"])
    def test_may_not_lie_in_the_output(self, tmp_path: Path, inside: str) -> None:
        with pytest.raises(OptionError, match="lies in the output, which is replaced as a whole"):
            check_cache(tmp_path / "out" / inside, tmp_path / "out")

    def test_may_not_be_given_with_a_plan(self, folder: Path, tmp_path: Path, cache: Path) -> None:
        optimize(folder, tmp_path / "out", replace(QUICK, method="svd"))
        before = snapshot(tmp_path)
        plan = Plan("svd", {}, ())
        with pytest.raises(OptionError, match="leave it out with `plan`"):
            optimize(folder, tmp_path / "again", plan=plan, cache=cache)
        assert snapshot(tmp_path) == before
