"""A file that DVC was killed while writing does not stop the next run."""

import pytest

from pipeline.runtime.lock_file import set_damaged_files_aside

WHOLE = """schema: '2.0'
stages:
  check:
    cmd: python -m pipeline.stages check
    deps:
    - path: params.yaml
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 5
    outs:
    - path: artifacts/check.txt
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 7
"""


def test_a_whole_one_stays(tmp_path, capsys):
    path = tmp_path / "dvc.lock"
    set_damaged_files_aside(tmp_path)
    path.write_text(WHOLE)
    set_damaged_files_aside(tmp_path)
    assert path.read_text() == WHOLE
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "content",
    [
        "",
        "schema: '2.0'\n",
        "schema: '2.0'\nstages:\n",
        *(WHOLE[:end] for end in (60, 90, 130, 150, 170, 270)),
        "\x00" * 9,
    ],
)
def test_one_that_is_cut_off_is_set_aside(tmp_path, capsys, content):
    path = tmp_path / "dvc.lock"
    path.write_text(content)
    set_damaged_files_aside(tmp_path)
    assert not path.exists()
    assert (tmp_path / "dvc.lock.damaged").read_text() == content
    assert "dvc.lock: was cut off while DVC wrote it; set aside as dvc.lock.damaged" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", '{"read": {}, "wri', "\x00" * 9, "[]"])
def test_half_a_record_of_paths_in_use_is_set_aside(tmp_path, capsys, content):
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    set_damaged_files_aside(tmp_path)
    assert not path.exists()
    assert "rwlock: was cut off while DVC wrote it" in capsys.readouterr().out


def test_a_whole_record_of_paths_in_use_stays(tmp_path, capsys):
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text('{"write": {"/a": {"pid": 1, "cmd": "dvc repro"}}, "read": {}}')
    set_damaged_files_aside(tmp_path)
    assert path.exists()
    assert capsys.readouterr().out == ""
