"""What `check` and `preset` refuse, before anything runs or is written."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from ruamel.yaml import YAML
from safetensors.torch import save_file

from models.errors import ModelError
from pipeline.common.errors import UserError
from pipeline.common.labels import encode
from pipeline.common.layout import Layout
from pipeline.data.sources import open_source
from pipeline.data.splits import assign
from pipeline.params import file as params_file
from pipeline.params.overlay import merge
from pipeline.params.tree import Params
from pipeline.stages import check, preset

ROOT = Path.cwd()
LAYOUT = Layout()
CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A folder with params.yaml, presets and a small ISIC 2019 layout in it, as the current directory."""
    for name in ("params.yaml", "corrections.csv", "presets"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    for path in (tmp_path / "params.yaml", *(tmp_path / "presets").glob("*.yaml")):
        path.write_text(re.sub(r"(landscape: {|^  )images: 64\b", r"\1images: 2", path.read_text(), flags=re.MULTILINE))
    write_isic(tmp_path / "my data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_isic(root: Path) -> None:
    images = root / "ISIC_2019_Training_Input"
    images.mkdir(parents=True)
    truth, metadata = ["image," + ",".join((*CLASSES, "UNK"))], ["image,age_approx,anatom_site_general,lesion_id,sex"]
    for i in range(40):
        name = f"ISIC_{i:07d}" + ("_downsampled" if i % 7 == 0 else "")
        Image.fromarray(np.full((9, 12, 3), i, dtype=np.uint8)).save(images / f"{name}.jpg")
        truth.append(f"{name}," + ",".join("1.0" if c == i % 8 else "0.0" for c in range(9)))
        metadata.append(f"{name},50,,{'' if i % 5 == 0 else f'HAM_{i}'},male")
    (root / "ISIC_2019_Training_GroundTruth.csv").write_text("\n".join(truth) + "\n")
    (root / "ISIC_2019_Training_Metadata.csv").write_text("\n".join(metadata) + "\n")


def lay(name: str | None = "lesion-small", data: str | None = "my data") -> Params:
    preset.run(name, data, None, LAYOUT)
    return params_file.load()


def refused(message: str, name: str | None = "lesion-small", data: str | None = "my data") -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(UserError, match=message):
        preset.run(name, data, None, LAYOUT)
    assert Path("params.yaml").read_bytes() == before
    assert not Path("artifacts").exists()


def change(section: str, **values: object) -> None:
    """Set parameters that no preset names."""
    yaml = YAML()
    document = yaml.load(Path("params.yaml").read_text())
    document[section].update(values)
    with Path("params.yaml").open("w") as stream:
        yaml.dump(document, stream)


def edit_preset(old: str, new: str) -> None:
    path = Path("presets/lesion-small.yaml")
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def test_a_preset_is_merged_with_comments_kept_and_reported(workplace, capsys):
    loaded = lay()
    assert loaded.data.source == "isic2019"
    assert loaded.data.path == "my data"
    text = Path("params.yaml").read_text()
    assert "# temperature, > 0; the paper's 0.5 sharpens, 1 to 4 softens" in text
    assert "weights: null " in text
    printed = capsys.readouterr().out
    assert "data.source: phantom -> isic2019" in printed
    assert "momentum" not in printed
    check.run(loaded, LAYOUT)
    assert Path("artifacts/check.txt").exists()


def test_presets_name_the_same_parameters_so_that_switching_leaves_nothing_behind():
    def keys(tree: dict, prefix: str = "") -> set[str]:
        return {
            leaf
            for key, value in tree.items()
            for leaf in (keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"})
        }

    overlays = {path.stem: params_file.read_yaml(path) for path in (ROOT / "presets").glob("*.yaml")}
    assert set(overlays) == {
        "phantom", "phantom-chest", "lesion-small", "cardio-small", "paper-lesion", "paper-cardio", "medmnist",
        "own-images", "lesion-study", "cardio-study", "blood-cells", "blood-cells-features",
        "lesion-features", "own-images-features",
    }  # fmt: skip
    assert len({frozenset(keys(overlay)) for overlay in overlays.values()}) == 1


def test_the_phantom_preset_restores_the_default_and_every_comment(workplace):
    original, path = Path("params.yaml").read_text(), str(ROOT / "pipeline/data/phantom.py")
    default = params_file.read_yaml(Path("params.yaml"))
    named = params_file.read_yaml(Path("params.yaml"))
    merge(named, params_file.read_yaml(Path("presets/phantom.yaml")))
    assert named == default
    lay()
    preset.run("phantom-chest", path, None, LAYOUT)
    assert params_file.load().task == "multilabel"
    preset.run("phantom", path, None, LAYOUT)
    restored = Path("params.yaml").read_text().replace(path, "pipeline/data/phantom.py")
    for part in (0, 2):  # before and after the sign of a comment, whose column may have moved
        assert [line.partition("#")[part].strip() for line in restored.splitlines()] == [
            line.partition("#")[part].strip() for line in original.splitlines()
        ]


def features_preset(weights: str) -> None:
    """Lay a preset of heads over the small ISIC 2019 layout."""
    preset.run("lesion-features", "my data", weights, LAYOUT)


def test_weights_are_named_where_a_network_has_any(workplace):
    torch.manual_seed(0)
    save_file(timm.create_model("tf_efficientnet_lite0").state_dict(), "own.safetensors")
    features_preset("own.safetensors")
    params = params_file.load()
    assert params.teachers.weights == params.student.weights == "own.safetensors"
    preset.run("lesion-small", "my data", None, LAYOUT)
    before = Path("params.yaml").read_bytes()
    with pytest.raises(UserError, match=r"WEIGHTS is own\.safetensors, but teachers\.weights and student"):
        preset.run(None, None, "own.safetensors", LAYOUT)
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("gone.safetensors", r"weights gone\.safetensors: no such file or folder; name one, or imagenet, or null"),
        ("my data", r"weights my data: the folder has no tf_efficientnet_lite0\.safetensors"),
        ("params.yaml", r"weights params\.yaml: cannot be read .*nothing is executed from a file"),
    ],
)
def test_weights_that_cannot_be_had_leave_everything_as_it_was(workplace, weights, message):
    before = Path("params.yaml").read_bytes()
    with pytest.raises(ModelError, match=message):
        features_preset(weights)
    assert Path("params.yaml").read_bytes() == before


def test_a_network_that_timm_does_not_have_is_named_with_the_nearest(workplace):
    lay()
    change("student", architecture="timm:tf_eficientnet_lite0")
    with pytest.raises(ModelError, match="timm has no such network; did you mean timm:tf_efficientnet_lite0"):
        preset.run(None, None, None, LAYOUT)


def test_an_unknown_preset_lists_the_known_ones(workplace):
    refused("PRESET is 'lesion'; the presets are blood-cells, blood-cells-features, cardio-small", name="lesion")


def test_a_path_that_does_not_exist_is_reported(workplace):
    refused("data.path is 'nowhere': no such folder.*ISIC_2019_Training_Input", data="nowhere")


def test_a_missing_table_is_reported(workplace):
    Path("my data/ISIC_2019_Training_Metadata.csv").unlink()
    refused("ISIC_2019_Training_Metadata.csv: no such file")


def test_a_table_without_a_column_is_reported(workplace):
    table = Path("my data/ISIC_2019_Training_GroundTruth.csv")
    table.write_text(table.read_text().replace("VASC", "Vasc"))
    refused("GroundTruth.csv: no column VASC; it has image, MEL")


def test_an_image_that_is_named_and_missing_is_reported(workplace):
    Path("my data/ISIC_2019_Training_Input/ISIC_0000003.jpg").unlink()
    refused(r"data row 4: image 'ISIC_0000003' is not in .* \(1 of 40 are missing\)")


def test_a_row_that_is_not_one_hot_is_reported(workplace):
    table = Path("my data/ISIC_2019_Training_GroundTruth.csv")
    lines = table.read_text().splitlines()
    lines[2] = "ISIC_0000001,1.0,1.0,0,0,0,0,0,0,0"
    table.write_text("\n".join(lines))
    refused(r"data row 2 \(ISIC_0000001\).*is not one-hot")


def test_a_class_with_too_few_groups_is_reported(workplace):
    table = Path("my data/ISIC_2019_Training_GroundTruth.csv")
    lines = table.read_text().splitlines()
    kept = [line for line in lines if not line.endswith("1.0,0.0")] + [
        line for line in lines if line.endswith("1.0,0.0")
    ][:2]
    table.write_text("\n".join(kept))
    refused(r"too few groups.*SCC \(2\)")


def test_a_gpu_that_is_not_there_is_reported(workplace, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    change("machine", device="cuda")
    refused("machine.device is cuda, but torch sees no CUDA device; set it to auto or cpu")


def test_an_old_parameter_is_reported_with_its_new_place(workplace):
    change("training", device="cpu")
    refused("training.device has moved; set machine.device instead")


def test_an_empty_table_is_reported(workplace):
    table = Path("my data/ISIC_2019_Training_GroundTruth.csv")
    table.write_text(table.read_text().splitlines()[0] + "\n")
    refused("the table has no rows")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("ISIC_0000001,XYZ", "unknown class 'XYZ'; the classes are MEL, NV"),
        ("ISIC_9999999,MEL", "no sample 'ISIC_9999999'"),
        ("ISIC_0000001,MEL\nISIC_0000001,NV", "data row 2, column sample_id: 'ISIC_0000001' is duplicated"),
        ("ISIC_0000001,nan", "unknown class 'nan'"),
    ],
)
def test_corrections_that_do_not_fit_are_reported(workplace, rows, message):
    Path("corrections.csv").write_text(f"sample_id,label\n{rows}\n")
    refused(message)


def of_split(loaded: Params, name: str) -> list[str]:
    """The sample ids that check places in a split."""
    source = open_source(loaded)
    targets = encode(source.samples["label"], source.classes, "multiclass", origin="")
    split = assign(source.samples, targets, source.classes, loaded.split)
    return source.samples["sample_id"][split == name].tolist()


def test_a_correction_of_a_test_sample_is_reported(workplace):
    loaded = lay()
    Path("corrections.csv").write_text(f"sample_id,label\n{of_split(loaded, 'test')[0]},MEL\n")
    with pytest.raises(UserError, match="is in the test split"):
        check.run(loaded, LAYOUT)


def test_where_images_were_left_out_the_test_split_is_another_and_left_to_stage_noise(workplace):
    loaded = lay()
    samples = open_source(loaded).samples
    LAYOUT.samples.parent.mkdir(parents=True)
    Path("corrections.csv").write_text(f"sample_id,label\n{of_split(loaded, 'test')[0]},MEL\n")
    samples.to_csv(LAYOUT.samples, index=False)
    with pytest.raises(UserError, match="is in the test split"):
        check.run(loaded, LAYOUT)
    samples.iloc[1:].to_csv(LAYOUT.samples, index=False)
    check.run(loaded, LAYOUT)
    Path("corrections.csv").write_text("sample_id,label\nISIC_9999999,MEL\n")
    with pytest.raises(UserError, match="no sample 'ISIC_9999999'"):
        check.run(loaded, LAYOUT)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("matrix", r"noise.matrix is 'nowhere.csv': no such file; name a CSV that exists.*lesion_confusion.csv"),
        ("symmetric", r"'nowhere.csv': no such file \(noise.kind symmetric does not read it, but DVC hashes it\)"),
    ],
)
def test_a_missing_noise_matrix_is_reported_whatever_the_kind_is(workplace, kind, message):
    change("noise", matrix="nowhere.csv")
    edit_preset("kind: symmetric", f"kind: {kind}")
    refused(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class,", "label,", "the first column is headed 'label'; it should be 'class'"),
        ("VASC,0.22", "Vasc,0.22", "row 'Vasc' is not a class; the classes of the data are MEL, NV"),
        ("SCC,0.04,0.02,0.35,0.40,0.15,0.03,0.01,0\n", "", "7 rows and 8 columns, so it is not square: no row for SCC"),
        ("MEL,0,0.55", "MEL,0,nan", "row 'MEL', column 'NV' is 'nan'; it must be a probability"),
        ("MEL,0,0.55", "MEL,0,0.5", "row 'MEL' sums to 0.95; each row must sum to 1"),
        ("MEL,0,0.55", "MEL,0.6,-0.05", "row 'MEL', column 'NV' is '-0.05'; it must be a probability"),
    ],
)
def test_a_noise_matrix_that_does_not_fit_is_reported(workplace, old, new, message):
    text = Path("presets/noise/lesion_confusion.csv").read_text()
    assert text.count(old) == 1
    Path("my noise.csv").write_text(text.replace(old, new))
    change("noise", matrix="my noise.csv")
    lay()  # another kind does not read it
    edit_preset("kind: symmetric", "kind: matrix")
    refused(
        f"my noise.csv: .*{re.escape(message)}"
        if not message.startswith("7")
        else f"my noise.csv: {re.escape(message)}"
    )


def test_the_built_in_noise_matrix_fits_the_lesion_classes(workplace):
    edit_preset("kind: symmetric", "kind: matrix")
    check.run(lay(), LAYOUT)
    assert Path("artifacts/check.txt").exists()


def test_too_many_folds_for_a_class_are_reported(workplace):
    lay()
    change("split", folds=7)
    refused(r"too few groups .* in each of the 7 folds \(split.folds\), train and val: MEL \(5\), NV \(5\)", None, None)
    change("split", folds=5)
    table = check.inspect(lay(None, None), LAYOUT)
    assert table["samples"]["test"] == table["groups"]["test"] == 8
    assert (table.to_numpy() >= 1).all()


def test_an_external_table_is_checked_before_anything_runs(workplace):
    """Its columns are those of data.table whatever the source is; classes are the lesions'."""
    folder = workplace / "clinic"
    folder.mkdir()
    Image.new("RGB", (9, 9)).save(folder / "a.jpg")
    for label, message in ((None, "no such file; name a CSV"), ("melanoma", "no class of its labels is one of ours")):
        if label:
            (folder / "t.csv").write_text(f"image,label\na.jpg,{label}\n")
        params = params_file.with_values(lay(), {"robustness.external": str(folder / "t.csv")}, "test")
        with pytest.raises(UserError, match=message):
            check.run(params, LAYOUT)
    (folder / "t.csv").write_text("image,label\na.jpg,MEL\n")
    check.run(params, LAYOUT)
    assert Path("artifacts/check.txt").exists()
