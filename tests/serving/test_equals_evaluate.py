"""What is served of a whole test split, from its image files, is what the network says of the prepared images."""

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from models import serving
from models.classifier import save_weights
from models.inference import predict
from models.networks import build
from pipeline.common.layout import Layout
from pipeline.data.prepared import load_prepared
from pipeline.evaluation.metrics import decide, probabilities
from pipeline.evaluation.predictions import write_logits
from pipeline.evaluation.tuning import tune_thresholds
from pipeline.stages import export, noise, prepare, split

REAL = Path("../shared/data/isic2019/ISIC_2019_Training_Input").resolve()
COUNT, CPU = 90, torch.device("cpu")


def files() -> list[bytes]:
    """Real lesions where they are beside the clone, else drawn JPEGs of several sizes."""
    if REAL.is_dir():
        return [path.read_bytes() for path in sorted(REAL.iterdir())[:COUNT]]
    rng, found = np.random.default_rng(0), []
    for number in range(COUNT):
        stream = io.BytesIO()
        pixels = rng.integers(0, 256, (7, 9, 3), np.uint8)
        Image.fromarray(pixels).resize((60 + number, 128)).save(stream, "JPEG")
        found.append(stream.getvalue())
    return found


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_labels_and_probabilities(task, tmp_path, make_params):
    folder, contents = tmp_path / "own", dict(zip((f"{i}.jpg" for i in range(COUNT)), files(), strict=True))
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    labels = ["A", "B", "C"] if task == "multiclass" else ["A", "A|B", "B|C", ""]
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "dx"), *((f"{i}.jpg", labels[i % len(labels)]) for i in range(COUNT))])
    params = make_params(
        task=task, methods=["baseline_1"], noise={"kind": "none"}, views={"preset": "none"},
        data={"source": "table", "path": str(folder), "image_size": 32, "resize": "pad",
              "table": {"label": "dx", "separator": None if task == "multiclass" else "|"}},
        student={"width": 0.25}, machine={"workers": 1},
    )  # fmt: skip
    layout = Layout(tmp_path / "artifacts")
    for stage in (prepare, split, noise):
        stage.run(params, layout)
    prepared = load_prepared(layout, task)
    logits = _student(params, layout, prepared)
    export.run(params, layout)

    served = serving.ServedStudent()
    served.load_context(SimpleNamespace(artifacts={"onnx": str(layout.onnx)}, model_config=None))  # type: ignore[arg-type]
    names = prepared.sample_ids[prepared.rows("test")]
    answers = served.answer([contents[name] for name in names])
    scores = probabilities(task, logits["test"])
    found = [list(answer["probabilities"].values()) for answer in answers]
    assert len(names) >= 20
    np.testing.assert_allclose(found, scores, atol=1e-4, rtol=0)
    thresholds = tune_thresholds(logits["val"], prepared.targets("val")) if task == "multilabel" else None
    called = decide(task, scores, thresholds)
    assert [answer["label"] for answer in answers] == ["|".join(np.array(prepared.classes)[row]) for row in called]


def _student(params, layout, prepared) -> dict[str, np.ndarray]:
    """Leave the weights of a network that nobody has trained, and its answers, as the stages do; returns them."""
    torch.manual_seed(0)
    network = params.student_network
    model = build(network.architecture, num_classes=len(prepared.classes), weights=None, **network.layers)
    model(torch.rand(16, 3, 32, 32))
    torch.nn.init.normal_(model.head.weight, std=0.5)  # answers that differ between images
    weights = layout.student_weights(0, None, "baseline_1", "last")
    weights.parent.mkdir(parents=True)
    save_weights(model.state_dict(), weights)
    logits = {name: predict(model.eval(), prepared.images, prepared.rows(name), CPU) for name in ("val", "test")}
    write_logits(layout.student_predictions(0, None, "baseline_1"), {"last": logits})
    return logits
