"""Own tables of text in every format, and which columns hold what."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from squeeze_onnx.data.columns import Columns
from squeeze_onnx.data.tables import read_table
from squeeze_onnx.support.errors import DataError, OptionError

ROWS = [("a cat sat", "the mat, it is red", 1), ("a dog", 'she said "yes"', 0)]
OBJECTS = [{"sentence1": first, "sentence2": second, "label": label} for first, second, label in ROWS]
PAIRS = tuple((first, second) for first, second, _ in ROWS)

CONTENTS = {
    "rows.jsonl": "\n".join(map(json.dumps, OBJECTS)) + "\n",
    "rows.txt": "\n".join(map(json.dumps, OBJECTS)),
    "rows.json": json.dumps(OBJECTS, indent=1),
    "nested.json": json.dumps({"version": 1, "data": OBJECTS}),
    "list.txt": json.dumps(OBJECTS, indent=1),
    "rows.csv": 'sentence1,sentence2,label\na cat sat,"the mat, it is red",1\na dog,"she said ""yes""",0\n',
    "semicolons.csv": 'Sentence1;sentence2;label\na cat sat;the mat, it is red;1\na dog;"she said ""yes""";0\n',
    "looks-like-csv.txt": 'sentence1,sentence2,label\na cat sat,"the mat, it is red",1\na dog,"she said ""yes""",0\n',
    "rows.tsv": 'sentence1\tsentence2\tlabel\na cat sat\tthe mat, it is red\t1\na dog\tshe said "yes"\t0\n',
    "lines.json": "\n".join(map(json.dumps, OBJECTS)) + "\n",
    "columns.json": json.dumps({name: [row[name] for row in OBJECTS] for name in OBJECTS[0]}),
    "numbered.json": json.dumps({name: {"0": OBJECTS[0][name], "1": OBJECTS[1][name]} for name in OBJECTS[0]}),
    "trailing.csv": 'sentence1,sentence2,label\n\na cat sat,"the mat, it is red",1\na dog,"she said ""yes""",0\n\n\n',
    "tabs.csv": 'sentence1\tsentence2\tlabel\na cat sat\tthe mat, it is red\t1\na dog\t"she said ""yes"""\t0\n',
    "quoted.tsv": 'sentence1\tsentence2\tlabel\na cat sat\tthe mat, it is red\t1\na dog\t"she said ""yes"""\t0\n',
    "all-quoted.tsv": '"sentence1"\t"sentence2"\t"label"\n"a cat sat"\t"the mat, it is red"\t1\n'
    '"a dog"\t"she said ""yes"""\t0\n',
    "bars.csv": 'sentence1|sentence2|label\na cat sat|the mat, it is red|1\na dog|"she said ""yes"""|0\n',
    "told.csv": 'sep=;\nsentence1;sentence2;label\na cat sat;the mat, it is red;1\na dog;"she said ""yes""";0\n',
    "split.json": json.dumps({"columns": [*OBJECTS[0]], "index": [0, 1], "data": [[*row.values()] for row in OBJECTS]}),
    "by-number.json": json.dumps({str(number): row for number, row in enumerate(OBJECTS)}),
    "pairs.jsonl": "\n".join(json.dumps(pair) for pair in PAIRS),
    "pairs.tsv": 'a cat sat\tthe mat, it is red\na dog\tshe said "yes"\n',
    "pairs.txt": 'a cat sat\tthe mat, it is red\r\na dog\tshe said "yes"\r\n',
}


@pytest.mark.parametrize("name", CONTENTS)
def test_pairs_stay_pairs_in_every_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(CONTENTS[name], encoding="utf-8", newline="")
    table = read_table(tmp_path / name)
    assert table.texts == PAIRS
    if not name.startswith("pairs"):
        assert [str(label) for label in table.labels or ()] == ["1", "0"]
    assert (
        "no line names the columns" if name in ("pairs.tsv", "pairs.txt") else "`columns`"
    ) in table.format.described()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "rows.tsv.gz"  # what it is packed by stands in the file
    path.write_bytes(pack(CONTENTS["rows.tsv"].encode()))
    table = read_table(path)
    assert (table.format.kind, table.texts) == ("TSV", PAIRS)
    path.write_bytes(pack(CONTENTS["rows.tsv"].encode())[:-9])
    with pytest.raises(DataError, match=r"rows\.tsv\.gz cannot be unpacked: "):
        read_table(path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"PK\x03\x04\x14\0", "a ZIP archive or a spreadsheet"), (b"film\na\0b\n", "no text: line 2 has a zero byte")],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "rows.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"rows\.txt is {kind}: save its rows as JSON Lines, CSV, TSV, Parquet"):
        read_table(tmp_path / "rows.txt")


@pytest.mark.parametrize("text", ['"yes" she said', '"yes"', 'a "b" c', '"a', 'she said "yes"'])
def test_quotation_marks_between_tabs_are_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.tsv").write_text(f"text\tlabel\na cat\t1\n{text}\t0\n", encoding="utf-8")
    assert read_table(tmp_path / "rows.tsv").texts == (("a cat",), (text,))


@pytest.mark.parametrize("name", ["rows.parquet", "rows"])
def test_parquet_is_read(tmp_path: Path, name: str) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(OBJECTS), tmp_path / name)
    table = read_table(tmp_path / name)
    assert (table.texts, table.labels) == (PAIRS, (1, 0))


def test_words_of_a_text_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"tokens": ["a", "cat"], "ner_tags": ["O", "B-X"]}\n', encoding="utf-8")
    table = read_table(tmp_path / "rows.jsonl")
    assert (table.texts, table.labels) == ((("a cat",),), (["O", "B-X"],))


@pytest.mark.parametrize("name", ["rows.conll", "rows.txt", "rows", "rows.tsv"])
def test_tagged_words_are_sentences(tmp_path: Path, name: str) -> None:
    """Further columns, such as parts of speech, stand between a word and its tag; documents begin with a line of their own."""
    lines = ["-DOCSTART- -X- O O", "", "Ann NNP B-NP B-PER", "Lee NNP I-NP I-PER", "", "", "runs VBZ B-VP O", ""]
    (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    table = read_table(tmp_path / name)
    assert (table.format.kind, table.texts) == ("CoNLL", (("Ann Lee",), ("runs",)))
    assert table.words == (("Ann", "Lee"), ("runs",))
    assert table.labels == (["B-PER", "I-PER"], ["O"])
    assert table.places == (f"{tmp_path / name} line 3", f"{tmp_path / name} line 7")


def test_a_word_without_its_tag_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.bio").write_text("Ann B-PER\nruns\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows.bio line 2 is 'runs', not a word and its tag"):
        read_table(tmp_path / "rows.bio")


def test_rows_of_squad_are_its_questions(tmp_path: Path) -> None:
    question = {"id": "7", "question": "who?", "answers": [{"text": "she", "answer_start": 0}]}
    document = {"version": "1.1", "data": [{"title": "T", "paragraphs": [{"context": "she came", "qas": [question]}]}]}
    (tmp_path / "dev.json").write_text(json.dumps(document), encoding="utf-8")
    table = read_table(tmp_path / "dev.json")
    assert table.texts == (("who?", "she came"),)
    assert table.format.columns == Columns("question", "context", "answers")


@pytest.mark.parametrize(
    ("lines", "columns"),
    [
        (["a cat sat\t1", "a dog\t0"], Columns("column 1", None, "column 2")),
        (["1\ta cat sat", "0\ta dog"], Columns("column 2", None, "column 1")),
        (["a cat sat\tgood", "a dog\tbad"] * 5, Columns("column 1", None, "column 2")),
        (["a cat sat\tgood", "a dog\tbad"], Columns("column 1", "column 2")),
    ],
)
def test_columns_without_names_are_texts_or_labels(tmp_path: Path, lines: list[str], columns: Columns) -> None:
    (tmp_path / "rows.tsv").write_text("\n".join(lines), encoding="utf-8")
    table = read_table(tmp_path / "rows.tsv")
    assert table.format.columns == columns
    assert len(table.texts) == len(lines)
    assert "no line names the columns" in table.format.described()


@pytest.mark.parametrize(
    "content",
    [
        "one sentence\nanother, with a comma\n",
        "text: a cat\n",
        "text, said he\nyes, she said\n",
        "[1] a footnote\n[2]\n",
        "{braces} are text\n",
        f"{'long ' * 40_000}\nshort\n",
    ],
)
def test_sentences_are_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "text").write_text(content, encoding="utf-8")
    table = read_table(tmp_path / "text")
    assert (table.format.kind, table.format.columns) == ("a sentence a line", None)
    assert table.texts == tuple((line,) for line in content.splitlines())


def test_columns_are_taken_as_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,text,summary\n7,a long text,short\n", encoding="utf-8")
    table = read_table(tmp_path / "rows.csv", Columns.parse("text=summary,label=id"))
    assert (table.texts, table.labels) == ((("short",),), ("7",))
    assert not table.format.guessed


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("id", "Text", "Label"), Columns("Text", None, "Label")),
        (("premise", "hypothesis", "gold_label"), Columns("premise", "hypothesis", "gold_label")),
        (("question", "sentence", "label"), Columns("question", "sentence", "label")),
        (("query", "passage", "score"), Columns("query", "passage", "score")),
        (("review", "stars"), Columns("review", None, "stars")),
        (("source", "target"), Columns("source", "target", None)),
    ],
)
def test_columns_are_guessed_by_common_names(names: tuple[str, ...], columns: Columns) -> None:
    assert Columns.guess(names, "rows.csv") == columns


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("rows.csv", "a,b,c\n1,2,3\n", r"rows\.csv has no column of a name .* it has a, b, c: name it with `columns`"),
        ("rows.csv", "remark,kind\na b,3\n", r"rows\.csv has no column of a name .* it has remark, kind"),
        ("rows.csv", "a b,c d,e f\ng h,i j,k l\n", r"rows\.csv has 3 columns and no header"),
        ("rows.csv", '"text', r"rows\.csv line 1 is not CSV"),
        ("rows.csv", "text,label\na,1\nb\n", r"rows\.csv line 3 has 1 fields; the first line has 2: text, label"),
        ("rows.csv", 'text,label\n"a,1\n', r"rows\.csv line \d is not CSV"),
        ("rows.jsonl", '{"text": "a"}\n{"text": 3}\n', r"rows\.jsonl line 2: text is 3, not a text"),
        ("rows.jsonl", '{"text": "a"}\n{"txt": "b"}\n', r"line 2 has no text; it has txt"),
        ("rows.jsonl", '{"text": "a"}\nb\n', r"rows\.jsonl line 2 is not JSON"),
        ("rows.json", '{"text": "a"}', r"rows\.json is JSON, but no list of rows"),
        ("rows.tsv", "text\tlabel\n \t1\n", r"rows\.tsv line 2: text is blank"),
        ("rows.txt", "a\n\nb\n", r"rows\.txt line 2 is empty; a sentence a line is expected"),
        ("rows.csv", "text,label\n", r"rows\.csv has no rows"),
        ("rows.csv", "sep=;\n", r"rows\.csv has no rows"),
        ("rows.csv", 'sep=;\ntext;label\na;"1', r"rows\.csv line 3 is not CSV"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=sentence):
        read_table(tmp_path / name)


@pytest.mark.parametrize("spelled", ["sentence", "label=y", "text=", "text=a,text=b", "text=a,words=b"])
def test_columns_that_are_not_spelled_right_are_refused(spelled: str) -> None:
    with pytest.raises(OptionError, match="`columns` is text=NAME, with text2=NAME"):
        Columns.parse(spelled)
