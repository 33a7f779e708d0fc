"""params.yaml: what it holds, and what is refused of the file as a whole; single values have a file of their own."""

import copy

import pytest
from ruamel.yaml import YAML

from pipeline.common.errors import SettingError, UserError
from pipeline.params import file as params_file
from pipeline.params.tree import decisive, flatten, of_images
from tests.params.trees import PRETRAINED, TREE, changed


def test_the_repositorys_params_are_valid_and_complete():
    loaded = params_file.load()
    assert loaded.distillation.tau == 4.0
    assert loaded.teachers.architectures == ("resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121")
    assert loaded.methods == (
        "baseline_1", "baseline_2", "baseline_3", "baseline_3_same", "baseline_4", "baseline_5", "roskd_unseen",
        "roskd",
    )  # fmt: skip


@pytest.mark.parametrize("storage", ["sqlite", "postgresql://ada:secret@db.example:5432/optuna"])
def test_the_storage_of_a_study_is_a_file_or_a_database(make_params, storage):
    assert make_params(study={"storage": storage}).study.storage == storage


def test_values_are_set_by_dotted_names(make_params):
    params = params_file.with_values(make_params(), {"distillation.tau": 2.0, "teachers.stem": "small"}, "trial 3")
    assert (params.distillation.tau, params.teachers.stem) == (2.0, "small")
    assert params == make_params(distillation={"tau": 2.0}, teachers={"stem": "small"})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("distillation.tua", 1.0, "trial 3: distillation.tua is not a parameter; did you mean distillation.tau?"),
        ("zzz", 1.0, "trial 3: zzz is not a parameter; params.yaml shows all of them"),
        ("distillation", 1.0, "trial 3: distillation is not a parameter"),
        ("distillation.tau", -1.0, "trial 3: distillation.tau is -1.0"),
    ],
)
def test_a_dotted_name_that_does_not_fit_is_refused(make_params, name, value, message):
    with pytest.raises(UserError) as error:
        params_file.with_values(make_params(), {name: value}, "trial 3")
    assert str(error.value).startswith(message)


def test_what_decides_a_result_names_no_machine_path_page_tracker_server_or_study(make_params):
    names = set(decisive(make_params()))
    assert {"task", "seeds", "noise.rate", "training.lr", "distillation.weighting.per"} <= names
    left_out = {"data.path", "data.corrections", "data.medmnist.download", "methods"}
    sections = ("machine", "audit", "landscape", "robustness", "tracking", "registry", "serving", "study")
    assert set(flatten(make_params())) - names == left_out | {
        name for name in flatten(make_params()) if name.split(".")[0] in sections
    }


@pytest.mark.parametrize(
    ("serving", "message"),
    [
        ({"providers": ["CUDAExecutionProvider"]}, "serving.providers is .*the last one CPUExecutionProvider"),
        ({"providers": []}, "the last one CPUExecutionProvider"),
        ({"providers": ["CPUExecutionProvider", "CPUExecutionProvider"]}, "must be unique"),
        ({"providers": ["CudaExecutionProvider", "CPUExecutionProvider"]}, "serving.providers.0 is 'CudaExec"),
        ({"providers": ["CPUExecutionProvider"], "require_gpu": True}, "add CUDAExecutionProvider before it"),
        ({"workers": 0}, "serving.workers is 0"),
    ],
)
def test_a_server_that_cannot_be(make_params, serving, message):
    with pytest.raises(UserError, match=message):
        make_params(serving=serving)


def test_images_depend_on_the_parameters_of_their_own_source(make_params):
    assert list(of_images(make_params())) == [
        "task", "data.source", "data.image_size", "data.resize", "data.max_images", "data.phantom.images",
        "data.phantom.seed",
    ]  # fmt: skip
    medmnist = of_images(make_params(data={"source": "medmnist"}))
    assert {name for name in medmnist if name.count(".") == 2} == {"data.medmnist.dataset", "data.medmnist.size"}


def test_teachers_whose_loss_has_no_class_weights_cannot_be_balanced(make_params):
    for balance in ("weighted", "logit_adjusted"):
        with pytest.raises(
            UserError, match=f"training.balance is {balance}, but teachers.loss gce, which has no class"
        ):
            make_params(training={"balance": balance}, teachers={"loss": "gce"})
    make_params(training={"balance": "none"}, teachers={"loss": "gce"})


def test_statistics_of_whole_batches_need_gpus(make_params):
    assert make_params(training={"batch_norm": "sync"}).machine.device == "auto"
    with pytest.raises(UserError, match=r"training\.batch_norm is sync, but machine\.device is cpu; SyncBatchNorm"):
        make_params(training={"batch_norm": "sync"}, machine={"device": "cpu"})


OLD_NAMES = {
    "training.device": "machine.device",
    "training.data_on_device": "machine.data_on_device",
    "training.compile": "machine.compile",
    "training.launcher": "machine.launcher",
    "training.processes": "machine.processes",
    "data.workers": "machine.workers",
}


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_a_parameter_that_has_moved_is_named_with_its_new_place(old, new):
    assert params_file.MOVED == OLD_NAMES
    with pytest.raises(UserError) as error:
        params_file.validate(changed(old, 1), "params.yaml")
    assert str(error.value) == f"params.yaml: {old} has moved; set {new} instead"
    assert new in flatten(params_file.load())


def test_a_missing_parameter_is_named():
    tree = copy.deepcopy(TREE)
    del tree["distillation"]["tau"]
    with pytest.raises(UserError, match=r"distillation\.tau is missing"):
        params_file.validate(tree, "params.yaml")


def test_all_mistakes_are_listed_at_once():
    tree = changed("distillation.tau", 0)
    tree["training"]["epochs"] = 0
    with pytest.raises(UserError) as error:
        params_file.validate(tree, "params.yaml")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(("content", "message"), [("task: [", "cannot be read as YAML"), ("", "valid dictionary")])
def test_a_broken_file_is_reported(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        params_file.load(path)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        params_file.load(tmp_path / "params.yaml")


def test_flatten_gives_dotted_leaves():
    flat = flatten(params_file.load())
    assert flat["distillation.weighting.per"] == "step"
    assert flat["seeds"] == (0,)
    assert not any(hasattr(value, "model_fields") for value in flat.values())


@pytest.mark.parametrize(
    "name", ["/etc/roskd", "../outside", "a/../../b", "~/x", "\\server\\x", "two\nlines", "", "x" * 201]
)
def test_an_experiment_that_would_leave_the_project_is_refused(name):
    with pytest.raises(UserError, match=r"tracking\.experiment"):
        params_file.validate(changed("tracking.experiment", name), "params.yaml")
    params_file.validate(changed("tracking.experiment", "lesions, 2nd try"), "params.yaml")


def test_a_message_stays_short_whatever_aliases_hold(tmp_path):
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]" for i in range(12)]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join([*levels, "task: *a11"]))
    with pytest.raises(UserError) as error:
        params_file.load(path)
    assert len(str(error.value)) < 20_000


def test_the_storage_of_earlier_versions_is_named_with_its_successor():
    with pytest.raises(UserError, match=r"study: storage journal is gone; set sqlite"):
        params_file.validate(changed("study.storage", "journal"), "params.yaml")


@pytest.mark.parametrize(
    ("methods", "train", "message"),
    [
        (["roskd", "knn"], "all", "grid names knn, which answer from stored features, but student.train is all; set"),
        (["linear_probe", "knn", "roskd"], "all", "grid names knn, linear_probe, which answer from stored features"),
        (["linear_probe", "knn"], "head", "grid names knn, linear_probe alone, which leave no network to export. Add"),
    ],
)
def test_probes_need_stored_features_and_a_student_beside_them(make_params, methods, train, message):
    params = make_params(student=PRETRAINED | {"train": train})
    with pytest.raises(SettingError) as error:
        params.require_possible(methods, "grid")
    assert str(error.value).startswith(message)


def test_methods_that_have_what_they_need_are_possible(make_params):
    params = make_params(student=PRETRAINED)
    params.require_possible(["linear_probe", "knn", "roskd", "co_teaching"], "grid")
    make_params().require_possible(["roskd", "baseline_1", "co_teaching"], "grid")
    without_noise = make_params(noise={"kind": "none"})
    without_noise.require_possible(["roskd"], "grid")
    with pytest.raises(SettingError, match=r"^grid names co_teaching, .*with noise\.kind none that is unknown"):
        without_noise.require_possible(["roskd", "co_teaching"], "grid")


def test_methods_of_the_file_are_tried_when_it_is_loaded(tmp_path):
    path = tmp_path / "params.yaml"
    YAML().dump(changed("methods", ["roskd", "knn"]), path)
    with pytest.raises(SettingError, match=r"params\.yaml: methods names knn, .*student\.train is all"):
        params_file.load(path)
    tree = changed("methods", ["roskd", "knn"])
    tree["student"] |= PRETRAINED
    YAML().dump(tree, path)
    assert params_file.load(path).methods == ("roskd", "knn")
