"""`python -m pipeline.predict`: answers in order, unreadable files, kills, threads, and models that are missing."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from models import serving
from models.errors import ModelError
from models.predictor import BATCH, Predictor
from pipeline.common.errors import UserError
from pipeline.predict import run as run_module
from pipeline.predict.__main__ import app
from pipeline.predict.run import AHEAD, decoded
from tests.conftest import REPOSITORY
from tests.models.made_student import OF_BLUE, OF_GREEN, OF_RED


def predict(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_image_has_its_row_in_order(folder, onnx, tmp_path, workers):
    status, printed = predict(folder, "--model", onnx, "--out", tmp_path / "out.csv", "--workers", workers)
    assert status == 1, "an image could not be read"
    assert "70 rows in" in printed
    assert f"{folder}/a30.png: not an image file; JPEG, PNG, TIFF, BMP and DICOM can be read" in printed
    rows = read(tmp_path / "out.csv")
    assert list(rows) == [
        "image", "label", "probability_MEL", "probability_NV", "probability_BCC", "error", "model",
    ]  # fmt: skip
    assert list(rows["image"]) == [f"{folder}/a{i:02}.png" for i in range(70)]
    assert list(rows["error"].drop(30)) == [""] * 69
    assert list(rows.loc[30, ["label", "probability_MEL"]]) == ["", ""]
    figures = rows.drop(30).filter(like="probability_").astype(float)
    wanted = np.array([OF_RED, OF_GREEN, OF_BLUE])[figures.index % 3]
    np.testing.assert_allclose(figures, wanted, atol=1e-6)
    assert list(rows["label"][[0, 2, 68]]) == ["MEL", "BCC", "BCC"]
    assert rows["model"].str.fullmatch(r"student\.onnx \([0-9a-f]{12}\)").all()


def test_several_findings_are_joined(folder, write_student, tmp_path):
    onnx = write_student("multilabel")
    assert predict(folder / "a00.png", folder / "a02.png", "--model", onnx, "--out", tmp_path / "out.csv")[0] == 0
    rows = read(tmp_path / "out.csv")
    assert list(rows["findings"]) == ["MEL", "NV|BCC"]


def test_dicom_is_read(tmp_path, onnx):
    from pydicom.data import get_testdata_file

    path = get_testdata_file("CT_small.dcm")
    assert predict(path, "--model", onnx, "--out", tmp_path / "out.csv")[0] == 0
    assert float(read(tmp_path / "out.csv")["probability_MEL"][0]) > 0


def test_a_killed_run_continues(folder, onnx, tmp_path):
    """SIGKILL when the first rows are on disk; what was finished is not predicted again, and the end is the same."""
    predict(folder, "--model", onnx, "--out", tmp_path / "whole.csv")
    out, unfinished = tmp_path / "out.csv", tmp_path / "out.csv.unfinished"
    slow = (
        "import time; from pipeline.predict import run; plain = run._answered\n"
        "run._answered = lambda *a: (time.sleep(0.5), plain(*a))[1]\n"
        "from pipeline.predict.__main__ import app; app()"
    ).replace("\\\n", "\n")
    command = [sys.executable, "-c", slow, str(folder), "--model", str(onnx), "--out", str(out)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    while not (unfinished.exists() and unfinished.read_bytes().count(b"\n") > BATCH):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = unfinished.read_bytes().count(b"\n") - 1
    assert not out.exists()
    _, printed = predict(folder, "--model", onnx, "--out", out)
    assert f"continuing from an earlier run, which has {kept} images" in printed
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not unfinished.exists()


def test_few_batches_are_decoded_before_the_network_has_taken_them(folder, onnx, monkeypatch):
    """Memory does not grow with the number of images: at most AHEAD batches a thread, and the one at work."""
    lock, decoded_images = threading.Lock(), 0
    plain = run_module._decode

    def counted(paths, predictor):
        nonlocal decoded_images
        with lock:
            decoded_images += len(paths)
        return plain(paths, predictor)

    monkeypatch.setattr(run_module, "_decode", counted)
    images = [str(folder / "a00.png")] * (40 * BATCH)
    batches = decoded(images, Predictor(onnx), workers=2)
    for taken in range(1, 21):
        assert len(next(batches)) == BATCH
        time.sleep(0.01)
        assert decoded_images <= (taken + 2 * AHEAD + 1) * BATCH
    batches.close()


def test_the_registered_champion_is_named_by_its_version(folder, write_student, tmp_path, monkeypatch):
    onnx = write_student()
    store = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    mlflow.set_tracking_uri(store)
    client = mlflow.MlflowClient(store)
    experiment = client.create_experiment("test", str(tmp_path / "mlruns"))
    with mlflow.start_run(experiment_id=experiment):
        info = mlflow.pyfunc.log_model(name="student", **serving.model_spec(onnx))
    mlflow.register_model(info.model_uri, "roskd-phantom")
    client.set_registered_model_alias("roskd-phantom", "champion", "1")
    out = tmp_path / "out.csv"
    assert predict(folder / "a00.png", "--model", "models:/roskd-phantom@champion", "--out", out)[0] == 0
    rows = read(out)
    assert rows["model"][0].startswith("roskd-phantom/1 (")
    with pytest.raises(UserError, match="no version or alias 'canary'; known: 1, champion"):
        predict(folder, "--model", "models:/roskd-phantom@canary", "--out", out)
    with pytest.raises(UserError, match="no registered model roskd-other; it holds roskd-phantom"):
        predict(folder, "--model", "models:/roskd-other/1", "--out", out)
    for name in ("models:/roskd-phantom", "models:roskd-phantom@x", "models:/@champion"):
        with pytest.raises(UserError, match="names no registered model; write models:/NAME@ALIAS"):
            predict(folder, "--model", name, "--out", out)


def test_models_that_cannot_answer_are_named(folder, write_student, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(UserError, match="no such tracking store; run make repro first"):
        predict(folder, "--model", "models:/roskd-phantom@champion", "--out", tmp_path / "out.csv")
    with pytest.raises(UserError, match=r"lost\.onnx: no such ONNX file; run make repro"):
        predict(folder, "--model", tmp_path / "lost.onnx", "--out", tmp_path / "out.csv")
    onnx = write_student(classes=["A", "B"])
    with pytest.raises(ModelError, match="and 2 classes"):
        predict(folder, "--model", onnx, "--out", tmp_path / "out.csv")
    (onnx := write_student()).write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"student\.onnx: cannot be opened as an ONNX network"):
        predict(folder, "--model", onnx, "--out", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(folder, onnx, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="locked"):
        predict(folder, "--model", onnx, "--out", tmp_path / "locked/out.csv")


def test_an_output_below_a_file_is_named(folder, onnx, tmp_path):
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "pipeline.predict", str(folder), "--model", str(onnx), "--out"]
    result = subprocess.run([*command, str(tmp_path / "file/out.csv")], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {tmp_path}/file")
    assert "Traceback" not in result.stderr
