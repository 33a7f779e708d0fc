"""The table: what is kept of a killed run, cut to the byte, and whose table is left alone."""

import csv
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.common.files import locked
from pipeline.predict.table import Table

IMAGES = ["a.png", "b, c.png", "d\ne.png", "f.png"]


def table(path: Path, model: str = "m/1 (00)", columns: tuple[str, ...] = ("label", "probability_NV")) -> Table:
    return Table(path, columns, model)


def write(path: Path, images: list[str] = IMAGES) -> bytes:
    with table(path).writing(images) as writer:
        writer.rows([row(image) for image in images[writer.counts.rows :]])
    return path.read_bytes()


def row(image: str) -> tuple[str, list[str], str]:
    return (image, ["", ""], "is damaged\nand so") if image == "f.png" else (image, ["NV", "0.5"], "")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_table_is_a_row_a_line(tmp_path):
    assert write(tmp_path / "out.csv").decode() == (
        "image,label,probability_NV,error,model\n"
        "a.png,NV,0.5,,m/1 (00)\n"
        '"b, c.png",NV,0.5,,m/1 (00)\n'
        "d\\ne.png,NV,0.5,,m/1 (00)\n"
        "f.png,,,is damaged\\nand so,m/1 (00)\n"
    )
    assert names(tmp_path) == ["out.csv"]


def test_wherever_a_run_is_killed_the_next_ends_with_the_same_bytes(tmp_path):
    whole = write(tmp_path / "whole.csv")
    for size in range(len(whole) + 1):
        path = tmp_path / "out.csv"
        (tmp_path / "out.csv.unfinished").write_bytes(whole[:size])
        with table(path).writing(IMAGES) as writer:
            kept = writer.counts.rows
            assert kept == max(0, whole[:size].count(b"\n") - 1)
            for image in IMAGES[kept:]:
                writer.rows(
                    [(image, ["NV", "0.5"], "")] if image != "f.png" else [(image, ["", ""], "is damaged\nand so")]
                )
            assert (writer.counts.rows, writer.counts.unreadable) == (4, 1)
            assert writer.counts.examples == ["f.png: is damaged\\nand so"]
        assert path.read_bytes() == whole
        path.unlink()


def test_a_failed_run_leaves_no_table_but_its_rows(tmp_path):
    with pytest.raises(KeyboardInterrupt), table(tmp_path / "out.csv").writing(IMAGES) as writer:  # noqa: PT012
        writer.rows([("a.png", ["NV", "0.5"], "")])
        raise KeyboardInterrupt
    assert names(tmp_path) == ["out.csv.unfinished"]
    assert write(tmp_path / "out.csv").count(b"a.png") == 1


def test_rows_of_images_that_have_gone_are_written_again(tmp_path):
    whole = write(tmp_path / "out.csv")
    (tmp_path / "out.csv").rename(tmp_path / "out.csv.unfinished")
    fewer = write(tmp_path / "out.csv", ["a.png", "d\ne.png", "f.png"])
    assert fewer == b"".join(line for line in whole.splitlines(keepends=True) if b"b, c" not in line)


@pytest.mark.parametrize("name", ["out.csv", "out.csv.unfinished"])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model": "m/2 (11)"}, r"is of model m/1 \(00\), not of m/2 \(11\)\. Name another --out, delete it, or"),
        (
            {"columns": ("findings", "probability_NV")},
            r"has other columns, image, label, probability_NV, error, model",
        ),
        (
            {"columns": ("label",)},
            r"than this model's table, image, label, error, model\. Name another --out",
        ),
    ],
)
def test_the_table_of_another_model_or_of_other_columns_is_left_alone(tmp_path, name, other, message):
    whole = write(tmp_path / "out.csv")
    (tmp_path / "out.csv").rename(tmp_path / name)
    with pytest.raises(UserError, match=message), table(tmp_path / "out.csv", **other).writing(IMAGES):
        pass
    assert (tmp_path / name).read_bytes() == whole


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"sample,label\nx,y\n", b"\x89PNG\r\n\x1a\n\0\0", b'"' + b"x" * 200_000]
)
def test_a_file_that_is_no_such_table_is_left_alone(tmp_path, content):
    (tmp_path / "out.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"out\.csv: has other columns, "):
        table(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == content


def test_the_same_model_writes_its_table_again(tmp_path):
    first = write(tmp_path / "out.csv", IMAGES[:2])
    assert len(write(tmp_path / "out.csv")) > len(first)


def test_two_processes_do_not_write_one_table(tmp_path):
    out = tmp_path / "out.csv"
    refused = pytest.raises(UserError, match="another process writes it")
    with locked(tmp_path / "out.csv.unfinished"), refused, table(out).writing(IMAGES):
        pass


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(UserError, match="is a folder; name the file"):
        table(tmp_path)


def test_odd_names_can_be_read_back(tmp_path):
    odd = ["a\udcff.png", "\u2028.png", 'quote".png', "tab\t.png", "Bär.png"]
    write(tmp_path / "out.csv", odd)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        names = [row["image"] for row in csv.DictReader(stream)]
    assert names == ["a\\udcff.png", "\\u2028.png", 'quote".png', "tab\\t.png", "Bär.png"]
