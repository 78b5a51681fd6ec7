import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import Validation, validate
from squeeze_onnx.support.errors import DataError, ModelError, OptionError, ProviderError, TokenizerError
from tests.reference import classifier, minilm_l6
from tests.text_models import Vectors, write_classifier, write_encoder, write_tagger, write_tokenizer
from tests.tracks import RecordingTrack

SENTIMENT: Vectors = {"good": (-1.0, 1.0), "bad": (1.0, -1.0), "film": (0.0, 0.0), "meh": (0.25, 0.0)}
BLUNT: Vectors = {**SENTIMENT, "good": (-1.0, 1.5), "meh": (0.0, 0.25)}
"""Differs from SENTIMENT on ``meh`` alone."""

FEW: Vectors = {"film": (0.0, 0.0), "bad": (1.0, -1.0), "good": (-1.0, 1.0)}
"""The same words but one, with other numbers."""

SENTENCES = ("good film", "bad film", "meh", "good good film", "meh film")
LABELS = (1, 0, 0, 1, 0)

COMPASS: Vectors = {"north": (0.0, 1.0), "east": (1.0, 0.0), "up": (3.0, 3.0)}


def write_sst2(folder: Path, sentences: Sequence[str] = SENTENCES, labels: Sequence[int] = LABELS) -> Path:
    return write_split(folder / "SST-2" / "dev.tsv", "sentence", sentences, labels).parents[1]


def write_split(path: Path, columns: str, texts: Iterable[str], labels: Iterable[float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True)]
    path.write_text(f"{columns}\tlabel\n" + "".join(rows), encoding="utf-8")
    return path


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "baseline", SENTIMENT)


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "candidate", BLUNT)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_sst2(tmp_path / "glue")


def quick(**options: Any) -> ValidateConfig:
    return ValidateConfig(**{"latency_rounds": 1, "batch_size": 2, **options})


def test_a_candidate_is_scored_against_the_baseline(baseline: Path, candidate: Path, data: Path) -> None:
    report = validate(baseline, candidate, quick(task="sst2", data=data)).to_json()
    metric = report["metrics"]["accuracy"]
    assert (metric["baseline"], metric["candidate"]) == (1.0, 0.6)
    assert metric["drop_points"] == report["drop_points"] == 40.0
    low, high = metric["drop_interval"]
    assert 0 <= low < 40 < high <= 100
    assert report["agreement"] == 0.6
    assert report["max_abs_diff"] == 1.0  # "good good film": logit 3 against 2
    assert 0 < report["mean_kl"] < 1
    assert 0 < report["cosine_similarity"] < 1


def test_a_model_against_itself_loses_nothing(baseline: Path, data: Path) -> None:
    report = validate(baseline, baseline, quick(task="sst2", data=data, max_drop=0)).to_json()
    assert report["drop_points"] == 0.0
    assert report["drop_interval"] == [0.0, 0.0]
    assert (report["cosine_similarity"], report["agreement"], report["max_abs_diff"]) == (pytest.approx(1), 1.0, 0.0)
    assert report["passed"]


def test_the_report_has_the_keys_it_promises_and_is_plain_json(baseline: Path, candidate: Path, data: Path) -> None:
    report = validate(baseline, candidate, quick(task="sst2", data=data, max_drop=50)).to_json()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["format"] == "squeeze-onnx/validation/1"
    assert report["task"] == "sst2"
    assert report["primary_metric"] == "accuracy"
    assert report["head"] == "class_logits"
    assert report["data"]["rows"] == {"validation": 5}
    assert not report["data"]["partial"]
    assert report["providers"]["cpu"]["metrics"] == report["metrics"]
    assert set(report["latency"]["cpu"]) >= {"baseline", "candidate", "speedup", "speedup_interval"}
    assert report["latency"]["cpu"]["baseline"]["p50_ms"] > 0
    assert report["size"]["baseline_bytes"] == (baseline / "model.onnx").stat().st_size
    assert report["size"]["candidate_bytes"] == (candidate / "model.onnx").stat().st_size
    assert report["max_drop"] == 50
    assert report["passed"]


class TestGate:
    def test_a_drop_above_it_fails(self, baseline: Path, candidate: Path, data: Path) -> None:
        assert not validate(baseline, candidate, quick(task="sst2", data=data, max_drop=39.9)).passed

    def test_a_drop_of_exactly_as_much_passes(self, tmp_path: Path, baseline: Path, candidate: Path) -> None:
        # 0.86 − 0.85 is a little more than 0.01 in binary.
        sentences = ["good"] * 85 + ["meh"] + ["bad"] * 14
        glue = write_sst2(tmp_path / "glue", sentences, [1] * 85 + [0] + [1] * 14)
        validation = validate(baseline, candidate, quick(task="sst2", data=glue, max_drop=1))
        assert 100 * (0.86 - 0.85) > 1
        assert validation.to_json()["drop_points"] == 1.0
        assert validation.passed

    def test_a_gain_passes(self, baseline: Path, candidate: Path, data: Path) -> None:
        validation = validate(candidate, baseline, quick(task="sst2", data=data, max_drop=0))
        assert validation.to_json()["drop_points"] == -40.0
        assert validation.passed

    def test_without_it_everything_passes(self, baseline: Path, candidate: Path, data: Path) -> None:
        assert validate(baseline, candidate, quick(task="sst2", data=data)).passed


class TestTasks:
    def test_mnli_has_matched_and_mismatched_metrics(self, tmp_path: Path) -> None:
        words = {"same": (1.0, 0.0, 0.0), "other": (0.0, 0.0, 1.0)}
        model = write_classifier(tmp_path / "model", words)
        columns = "premise\thypothesis"
        write_split(tmp_path / "MNLI" / "dev.tsv", columns, ["same\tsame", "other\tother"], [0, 2])
        write_split(tmp_path / "MNLI" / "dev_mismatched.tsv", columns, ["same\tsame", "other\tother"], [0, 1])
        report = validate(model, model, quick(task="mnli", data=tmp_path)).to_json()
        found = {name: metric["baseline"] for name, metric in report["metrics"].items()}
        assert found == {"accuracy": 1.0, "accuracy_mismatched": 0.5}
        assert report["primary_metric"] == "accuracy"

    def test_labels_are_taken_in_the_order_of_the_config(self, tmp_path: Path, data: Path) -> None:
        turned = {word: vector[::-1] for word, vector in SENTIMENT.items()}
        labels = {"id2label": {"0": "POSITIVE", "1": "NEGATIVE"}}
        model = write_classifier(tmp_path / "turned", turned, **labels)
        report = validate(write_classifier(tmp_path / "b", SENTIMENT), model, quick(task="sst2", data=data)).to_json()
        assert report["metrics"]["accuracy"]["candidate"] == 1.0
        assert report["max_abs_diff"] == 0.0

    def test_mrpc_gives_f1_and_accuracy(self, tmp_path: Path, baseline: Path) -> None:
        pairs = ["good\tfilm", "good\tgood", "bad\tfilm", "bad\tbad"]
        write_split(tmp_path / "dev.tsv", "sentence1\tsentence2", pairs, [1, 0, 0, 0])
        report = validate(baseline, baseline, quick(task="mrpc", data=tmp_path)).to_json()
        found = {name: metric["baseline"] for name, metric in report["metrics"].items()}
        assert found == {"accuracy": 0.75, "f1": pytest.approx(2 / 3)}

    def test_a_regression_head_is_scored_by_correlation(self, tmp_path: Path) -> None:
        model = write_classifier(tmp_path / "model", {"one": (1.0,), "two": (2.0,), "four": (4.0,)})
        write_split(tmp_path / "dev.tsv", "sentence1\tsentence2", ["one\tone", "one\ttwo", "two\tfour"], [1, 2, 2.5])
        report = validate(model, model, quick(task="stsb", data=tmp_path)).to_json()
        assert report["head"] == "regression"
        assert report["metrics"]["spearman"]["baseline"] == pytest.approx(1.0)
        assert report["metrics"]["pearson"]["baseline"] == pytest.approx(np.corrcoef([2, 3, 6], [1, 2, 2.5])[0, 1])


class TestEmbeddings:
    PAIRS = ("north\tnorth north", "north\tup", "north\teast")

    @pytest.fixture
    def stsb(self, tmp_path: Path) -> Path:
        return write_split(tmp_path / "dev.tsv", "sentence1\tsentence2", self.PAIRS, [5, 3, 0]).parent

    @pytest.mark.parametrize(
        ("outputs", "head"),
        [
            (("last_hidden_state",), "token_embeddings"),
            (("sentence_embedding",), "sentence_embedding"),
            (("last_hidden_state", "sentence_embedding"), "sentence_embedding"),
        ],
    )
    def test_pooled_outside_or_in_the_graph(
        self, tmp_path: Path, stsb: Path, outputs: tuple[str, ...], head: str
    ) -> None:
        model = write_encoder(tmp_path / "model", COMPASS, outputs)
        report = validate(model, model, quick(task="stsb", data=stsb)).to_json()
        assert report["head"] == head
        assert report["metrics"]["spearman"]["baseline"] == pytest.approx(1.0)
        assert report["agreement"] is None

    def test_both_ways_give_the_same_and_can_be_compared(self, tmp_path: Path, stsb: Path) -> None:
        outside = write_encoder(tmp_path / "outside", COMPASS)
        inside = write_encoder(tmp_path / "inside", COMPASS, ["sentence_embedding"])
        report = validate(outside, inside, quick(task="stsb", data=stsb)).to_json()
        assert report["max_abs_diff"] < 1e-6
        assert report["drop_points"] == 0.0

    def test_embeddings_of_another_size_cannot(self, tmp_path: Path, stsb: Path) -> None:
        two = write_encoder(tmp_path / "two", COMPASS)
        three = write_encoder(tmp_path / "three", {word: (*vector, 1.0) for word, vector in COMPASS.items()})
        with pytest.raises(OptionError, match=r"answers with 2 numbers and .* with 3; these cannot be compared"):
            validate(two, three, quick(task="stsb", data=stsb))

    def test_an_encoder_cannot_be_compared_with_a_classifier(self, tmp_path: Path) -> None:
        encoder = write_encoder(tmp_path / "encoder", SENTIMENT)
        model = write_classifier(tmp_path / "classifier", SENTIMENT)
        with pytest.raises(OptionError, match=r"gives token_embeddings and .* class_logits; these cannot be compared"):
            validate(encoder, model, quick())


class TestWithoutATask:
    def test_own_sentences_are_asked(self, baseline: Path, candidate: Path) -> None:
        report = validate(baseline, candidate, quick()).to_json()
        assert report["task"] is report["primary_metric"] is report["drop_points"] is report["drop_interval"] is None
        assert report["metrics"] == {}
        assert report["data"]["rows"] == {"sentences": 64}
        assert report["passed"]

    def test_sentences_of_a_file_are_asked(self, tmp_path: Path, baseline: Path, candidate: Path) -> None:
        (tmp_path / "s.txt").write_text("good film\nmeh\n", encoding="utf-8")
        report = validate(baseline, candidate, quick(data=tmp_path / "s.txt")).to_json()
        assert report["data"]["rows"] == {"sentences": 2}
        assert report["agreement"] == 0.5


class TestSettings:
    @pytest.mark.parametrize("batch_size", [1, 3, 100])
    def test_the_batch_size_changes_nothing(self, baseline: Path, candidate: Path, data: Path, batch_size: int) -> None:
        report = validate(baseline, candidate, quick(task="sst2", data=data, batch_size=batch_size)).to_json()
        assert report["metrics"]["accuracy"]["candidate"] == 0.6
        assert report["max_abs_diff"] == 1.0

    def test_a_limit_asks_the_first_rows_and_says_so(self, baseline: Path, candidate: Path, data: Path) -> None:
        report = validate(baseline, candidate, quick(task="sst2", data=data, limit=2)).to_json()
        assert report["data"]["rows"] == {"validation": 2}
        assert report["data"]["partial"]
        assert report["metrics"]["accuracy"]["candidate"] == 1.0

    def test_the_candidate_may_be_a_bare_file(
        self, tmp_path: Path, baseline: Path, candidate: Path, data: Path
    ) -> None:
        bare = tmp_path / "bare" / "small.onnx"
        bare.parent.mkdir()
        (candidate / "model.onnx").rename(bare)
        report = validate(baseline, bare, quick(task="sst2", data=data)).to_json()
        assert report["metrics"]["accuracy"]["candidate"] == 0.6

    def test_a_tokenizer_can_be_named(self, tmp_path: Path, baseline: Path, candidate: Path) -> None:
        named = tmp_path / "elsewhere.json"
        (baseline / "tokenizer.json").rename(named)
        (candidate / "tokenizer.json").unlink()
        report = validate(baseline, candidate, quick(tokenizer=named)).to_json()
        assert report["data"]["tokenizer"] == str(named)

    @pytest.mark.parametrize("model", [write_classifier, write_tagger])
    def test_each_reads_the_numbers_that_its_own_tokenizer_has(
        self, tmp_path: Path, model: Callable[[Path, Vectors], Path]
    ) -> None:
        """As where a part of the vocabulary was kept; a word that one does not know is left out of what is compared by token."""
        whole, part = (model(tmp_path / name, vectors) for name, vectors in (("all", SENTIMENT), ("few", FEW)))
        texts = tmp_path / "texts.txt"
        texts.write_text("bad film\ngood bad film\n", encoding="utf-8")
        report = validate(whole, part, quick(data=texts, robustness=True)).to_json()
        assert report["max_abs_diff"] == 0.0
        assert report["data"]["tokenizer"] == f"{whole}/tokenizer.json; the candidate's: {part}/tokenizer.json"

    def test_progress_is_told(self, baseline: Path, candidate: Path, data: Path) -> None:
        track = RecordingTrack()
        validate(baseline, candidate, quick(task="sst2", data=data), track)
        assert list(track.taken) == ["Running the baseline on cpu", "Running the candidate on cpu"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "squad", "data": "glue"}, "`task` is one of sst2"),
        ({"task": "sst2"}, "`task` sst2 needs `data`"),
        ({"max_drop": 1.0}, "`max_drop` is in points of a task's metric; name the task"),
        ({"task": "sst2", "data": "glue", "max_drop": -1.0}, "`max_drop` is a number of points, 0 or more; got -1.0"),
        ({"task": "sst2", "data": "glue", "max_drop": math.nan}, "`max_drop` is a number of points"),
        ({"providers": ()}, "`provider` names each provider once; got none"),
        ({"providers": ("cpu", "cpu")}, "`provider` names each provider once; got cpu, cpu"),
        ({"batch_size": 0}, "`batch_size` is a positive integer; got 0"),
        ({"max_tokens": -1}, "`max_tokens` is a positive integer; got -1"),
        ({"limit": 0}, "`limit` is a positive integer; got 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ValidateConfig(**options)


class TestBadInput:
    def test_a_folder_without_a_task(self, baseline: Path, data: Path) -> None:
        with pytest.raises(DataError, match=r"without corpus\.jsonl; say with `task`"):
            validate(baseline, baseline, quick(data=data))

    def test_an_unknown_provider(self, baseline: Path) -> None:
        with pytest.raises(OptionError, match="`provider` is one of cpu, cuda; got 'npu'"):
            validate(baseline, baseline, quick(providers=("cpu", "npu")))

    def test_a_missing_tokenizer(self, baseline: Path, candidate: Path) -> None:
        (baseline / "tokenizer.json").unlink()
        (candidate / "tokenizer.json").unlink()
        with pytest.raises(TokenizerError, match=r"baseline/tokenizer\.json does not exist"):
            validate(baseline, candidate, quick())

    def test_a_tokenizer_of_a_larger_vocabulary(self, baseline: Path, candidate: Path) -> None:
        write_tokenizer(baseline, [*SENTIMENT, "one", "more"])
        with pytest.raises(TokenizerError, match=r"token ids up to 9, but .*baseline/model\.onnx has 8 tokens only"):
            validate(baseline, candidate, quick())

    def test_a_model_of_other_labels(self, tmp_path: Path, baseline: Path, data: Path) -> None:
        three = write_classifier(tmp_path / "three", {word: (*vector, 0.0) for word, vector in SENTIMENT.items()})
        with pytest.raises(OptionError, match=r"`task` sst2 has 2 labels .*three/model\.onnx has 3 labels"):
            validate(baseline, three, quick(task="sst2", data=data))

    def test_a_malformed_row(self, baseline: Path, data: Path) -> None:
        with (data / "SST-2" / "dev.tsv").open("a", encoding="utf-8") as file:
            file.write("one\ttab too many\t1\n")
        with pytest.raises(DataError, match=r"dev\.tsv line 7 has 3 fields"):
            validate(baseline, baseline, quick(task="sst2", data=data))

    def test_a_model_that_answers_nan(self, tmp_path: Path, baseline: Path, data: Path) -> None:
        broken = write_classifier(tmp_path / "broken", {**SENTIMENT, "meh": (math.nan, 0.0)})
        with pytest.raises(ModelError, match=r"broken/model\.onnx returns NaN or infinity in 'logits' on cpu"):
            validate(baseline, broken, quick(task="sst2", data=data))

    def test_a_missing_model(self, tmp_path: Path, baseline: Path) -> None:
        with pytest.raises(ModelError, match=r"absent\.onnx"):
            validate(baseline, tmp_path / "absent.onnx", quick())


@pytest.mark.cuda
def test_cuda_gives_what_the_cpu_gives(baseline: Path, candidate: Path, data: Path) -> None:
    config = quick(task="sst2", data=data, providers=("cpu", "cuda"), tf32=False)
    try:
        validation: Validation = validate(baseline, candidate, config)
    except ProviderError as error:
        pytest.skip(str(error))
    on_cpu, on_cuda = validation.comparisons
    assert on_cuda.candidate.metrics == on_cpu.candidate.metrics
    assert on_cuda.fidelity.max_abs_diff == pytest.approx(on_cpu.fidelity.max_abs_diff, rel=1e-5)


@pytest.mark.slow
class TestRealModels:
    """The numbers were measured with PyTorch, too."""

    def test_minilm_on_stsb(self, glue: Path, model_cache: Path) -> None:
        model = minilm_l6(model_cache)
        report = validate(model, model, quick(task="stsb", data=glue, batch_size=32)).to_json()
        assert report["metrics"]["spearman"]["baseline"] == pytest.approx(0.867, abs=0.001)

    @pytest.mark.parametrize(
        ("task", "metric", "value"),
        [("MRPC", "accuracy", 0.8113), ("SST-2", "accuracy", 0.8739), ("CoLA", "matthews", 0.3176)],
    )
    def test_minilm_classifiers(self, glue: Path, model_cache: Path, task: str, metric: str, value: float) -> None:
        model = classifier("minilm-l6", task, model_cache)
        report = validate(model, model, quick(task=task, data=glue, batch_size=32)).to_json()
        assert report["metrics"][metric]["baseline"] == pytest.approx(value, abs=0.003)
