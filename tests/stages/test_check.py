"""What `check` and `preset` refuse, before anything runs or is written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline import params
from pipeline.errors import UserError
from pipeline.stages import check, preset

ROOT = Path.cwd()
CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A folder with params.yaml, presets and a small ISIC 2019 layout in it, as the current directory."""
    for name in ("params.yaml", "corrections.csv", "presets"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
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


def lay(name: str | None = "lesion-small", data: str | None = "my data") -> params.Params:
    preset.run(name, data)
    return params.load()


def refused(told: str, name: str | None = "lesion-small", data: str | None = "my data") -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(UserError, match=told):
        preset.run(name, data)
    assert Path("params.yaml").read_bytes() == before
    assert not Path("artifacts").exists()


def test_a_preset_is_merged_with_comments_kept_and_told(workplace, capsys):
    loaded = lay()
    assert loaded.data.source == "isic2019"
    assert loaded.data.path == "my data"
    text = Path("params.yaml").read_text()
    assert "# temperature, > 0; the paper's 0.5 sharpens, 1 to 4 softens" in text
    assert "weights: null " in text
    told = capsys.readouterr().out
    assert "data.source: phantom -> isic2019" in told
    assert "tau" not in told
    check.run(loaded)
    assert Path("artifacts/check.txt").exists()


def test_presets_name_the_same_parameters_so_that_switching_leaves_nothing_behind():
    def keys(tree: dict, prefix: str = "") -> set[str]:
        return {
            leaf
            for key, value in tree.items()
            for leaf in (keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"})
        }

    overlays = {path.stem: params.read_yaml(path) for path in (ROOT / "presets").glob("*.yaml")}
    assert set(overlays) == {"phantom", "phantom-chest", "lesion-small", "cardio-small", "paper-lesion", "paper-cardio"}
    assert len({frozenset(keys(overlay)) for overlay in overlays.values()}) == 1


def test_the_phantom_preset_restores_the_default_byte_for_byte(workplace):
    original = (ROOT / "params.yaml").read_text()
    lay()
    preset.run("phantom-chest", str(ROOT / "pipeline/data/phantom.py"))
    overlay = params.read_yaml(ROOT / "presets/phantom.yaml")
    document = YAML().load(original)
    preset.merge(document, overlay)
    assert params.validate(params.read_yaml(ROOT / "params.yaml"), "") == params.validate(
        YAML(typ="safe").load(original), ""
    )
    preset.run("phantom", str(ROOT / "pipeline/data/phantom.py"))
    restored = (
        Path("params.yaml").read_text().replace(str(ROOT / "pipeline/data/phantom.py"), "pipeline/data/phantom.py")
    )
    assert params.read_yaml(Path("params.yaml")) | {"data": 0} == params.read_yaml(ROOT / "params.yaml") | {"data": 0}
    assert [line.split("#")[0].rstrip() for line in restored.splitlines()] == [
        line.split("#")[0].rstrip() for line in original.splitlines()
    ]


def test_an_unknown_preset_lists_the_known_ones(workplace):
    refused("PRESET is 'lesion'; the presets are cardio-small, lesion-small", name="lesion")


def test_a_path_that_does_not_exist_is_told(workplace):
    refused("data.path is 'nowhere': no such folder.*ISIC_2019_Training_Input", data="nowhere")


def test_a_missing_table_is_told(workplace):
    Path("my data/ISIC_2019_Training_Metadata.csv").unlink()
    refused("ISIC_2019_Training_Metadata.csv: no such file")


def test_a_table_without_a_column_is_told(workplace):
    table = Path("my data/ISIC_2019_Training_GroundTruth.csv")
    table.write_text(table.read_text().replace("VASC", "Vasc"))
    refused("GroundTruth.csv: no column VASC; it has image, MEL")


def test_an_image_that_is_named_and_missing_is_told(workplace):
    Path("my data/ISIC_2019_Training_Input/ISIC_0000003.jpg").unlink()
    refused(r"data row 4: image 'ISIC_0000003' is not in .* \(1 of 40 are missing\)")


def test_a_row_that_is_not_one_hot_is_told(workplace):
    table = Path("my data/ISIC_2019_Training_GroundTruth.csv")
    lines = table.read_text().splitlines()
    lines[2] = "ISIC_0000001,1.0,1.0,0,0,0,0,0,0,0"
    table.write_text("\n".join(lines))
    refused(r"data row 2 \(ISIC_0000001\).*is not one-hot")


def test_a_class_with_too_few_groups_is_told(workplace):
    table = Path("my data/ISIC_2019_Training_GroundTruth.csv")
    lines = table.read_text().splitlines()
    kept = [line for line in lines if not line.endswith("1.0,0.0")] + [
        line for line in lines if line.endswith("1.0,0.0")
    ][:2]
    table.write_text("\n".join(kept))
    refused(r"too few groups.*SCC \(2\)")


def test_an_empty_table_is_told(workplace):
    table = Path("my data/ISIC_2019_Training_GroundTruth.csv")
    table.write_text(table.read_text().splitlines()[0] + "\n")
    refused("the table has no rows")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("ISIC_0000001,XYZ", "unknown class 'XYZ'; the classes are MEL, NV"),
        ("ISIC_9999999,MEL", "no sample 'ISIC_9999999'"),
        ("ISIC_0000001,MEL\nISIC_0000001,NV", "stands there twice"),
    ],
)
def test_corrections_that_do_not_fit_are_told(workplace, rows, told):
    Path("corrections.csv").write_text(f"sample_id,label\n{rows}\n")
    refused(told)


def test_a_correction_of_a_test_sample_is_told(workplace):
    from pipeline.data.sources import open_source
    from pipeline.data.splits import assign
    from pipeline.labels import encode

    loaded = lay()
    source = open_source(loaded)
    targets = encode(source.samples["label"], source.classes, "multiclass", origin="")
    split = assign(source.samples, targets, source.classes, loaded.split)
    name = source.samples["sample_id"][int(np.flatnonzero(split == "test")[0])]
    Path("corrections.csv").write_text(f"sample_id,label\n{name},MEL\n")
    with pytest.raises(UserError, match="is in the test split"):
        check.run(loaded)
