"""params.yaml: what is refused, and in which words."""

import copy
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.common.errors import SettingError, UserError
from pipeline.params import file as params_file
from pipeline.params.tree import decisive, flatten, of_images

TREE = params_file.read_yaml(Path("params.yaml"))

PRETRAINED = {"weights": "imagenet", "width": 1.0, "train": "head"}


def changed(key: str, value: object) -> dict:
    tree = copy.deepcopy(TREE)
    *parents, last = key.split(".")
    section = tree
    for parent in parents:
        section = section[parent]
    section[last] = value
    return tree


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


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("distillation.tau", 0, "greater than 0"),
        ("distillation.tau", -1.5, "distillation.tau is -1.5"),
        ("distillation.tau", float("nan"), "finite"),
        ("distillation.tau", "0.5", "valid number"),
        ("distillation.alpha", 1.01, "less than or equal to 1"),
        ("distillation.alpha", -0.1, "greater than or equal to 0"),
        ("distillation.taux", 1, "did you mean tau?"),
        ("study.sampler", "tpee", "study.sampler is 'tpee': should be 'tpe', 'random' or 'qmc'"),
        ("study.metric", "f1", "study.metric is 'f1': should be 'f1_macro', 'auroc_macro' or 'loss'"),
        ("study.space", {"distillation.tau": {"low": 2, "high": 1}}, "low is 2 and high is 1, an empty range"),
        ("study.space", {"distillation.tau": {"low": 0, "high": 1, "log": True}}, "must begin above 0"),
        ("study.space", {"distillation.tau": {"choices": []}}, "study.space.distillation.tau: choices is empty"),
        ("study.space", {"distillation.tau": {"low": 1}}, "needs low and high, or choices"),
        ("study.space", {"distillation.tau": {"lo": 1}}, "did you mean low?"),
        ("study.grids", {"mine": {"methods": [], "vary": [{}]}}, "study.grids.mine.methods"),
        (
            "robustness.methods",
            ["roskd", "knn"],
            "methods names 'knn', which answers from stored features and gives no",
        ),
        (
            "robustness.methods",
            ["roskdd"],
            "robustness: methods names 'roskdd', which is no method; did you mean roskd?",
        ),
        ("robustness.methods", ["roskd", "roskd"], "the values must be unique"),
        ("robustness.methods", [], "the methods whose students are tried"),
        ("robustness.attacks.l2", [0.1, -0.5], "robustness.attacks: l2 has a budget of -0.5; budgets are in pixels"),
        ("robustness.attacks.l2", [0.0], "greater than 0 and at most 1000"),
        (
            "robustness.attacks.linf",
            [0],
            "linf has a budget of 0; budgets are in 255ths, greater than 0 and at most 255",
        ),
        ("robustness.attacks.linf", [256], "at most 255"),
        ("robustness.attacks.linf", [8, 4], "linf is [8.0, 4.0]; budgets must be unique and in ascending order"),
        ("robustness.attacks.l2", [0.1, 0.1], "budgets must be unique"),
        ("robustness.attacks.l3", [1], "robustness.attacks.l3 is not a parameter; known here: images, l2, linf"),
        (
            "robustness.attacks.autoattack",
            1,
            "robustness.attacks.autoattack is not a parameter; known here: images, l2",
        ),
        ("robustness.attacks.findings", ["A"], "attacks.findings names findings to switch, but task is multiclass"),
        ("robustness.attacks.findings", ["A", "A"], "findings is ['A', 'A']; the values must be unique"),
        ("robustness.attacks.steps", 0, "robustness.attacks.steps is 0: should be greater than or equal to 1"),
        ("robustness.attacks.restarts", 0, "restarts of PGD from random points, at least 1"),
        ("robustness.attacks.queries", 0, "forward passes of the Square attack per image, at least 1"),
        ("robustness.attacks.images", 0, "test images that are attacked, at least 1; null: all"),
        ("robustness.attacks", TREE["robustness"]["attacks"] | {"l2": [], "linf": []}, "name at least one budget"),
        ("subsets.overlap", 1.2, "overlap ratio p in [0, 1]"),
        ("subsets.partitions", 0, "how often the data is divided anew, at least 1"),
        ("subsets.scheme", "ring", "'cyclic', 'core' or 'within'"),
        ("noise.rate", 1.0, "less than 1"),
        ("noise.rate", -0.1, "noise.rate is -0.1"),
        ("noise", TREE["noise"] | {"kind": "instance", "per": "group"}, "goes by each image's look; set it to image"),
        ("noise.per", "patient", "noise.per is 'patient': should be 'image' or 'group'"),
        ("training.length", "passes", "training.length is 'passes': should be 'epochs' or 'steps'"),
        ("teachers.loss", "co_teaching", "should be 'cross_entropy', 'label_smoothing', 'gce', 'sce' or 'elr'"),
        ("teachers.checkpoint", "best", "teachers.checkpoint is 'best': should be 'last' or 'selected'"),
        ("noise.kind", "flip", "for task multiclass it is one of none, symmetric, pair"),
        ("training.epochs", 0, "greater than or equal to 1"),
        ("training.epochs", 2.5, "valid integer"),
        ("training.epochs", True, "valid integer"),
        ("training.batch_size", 1, "at least 2"),
        ("training.decay_at", [0.8, 0.5], "must increase"),
        ("training.epoch", 3, "training.epoch is not a parameter; did you mean epochs?"),
        ("machine.data_on_device", "gpu", "machine.data_on_device is 'gpu': should be 'auto', True or False"),
        ("machine.compile", "yes", "machine.compile is 'yes'"),
        ("machine.workers", -1, "machine.workers is -1"),
        ("machine.launcher", "mpirun", "machine.launcher is 'mpirun': should be 'python' or 'torchrun'"),
        ("machine.device", "tpu", "machine.device is 'tpu': should be 'auto', 'cpu' or 'cuda'"),
        ("machine.process", 2, "machine.process is not a parameter; did you mean processes?"),
        ("machine", TREE["machine"] | {"launcher": "torchrun", "processes": 3}, "64, which 3 processes cannot share"),
        ("registry.force", "yes", "registry.force is 'yes'"),
        ("registry.metric", "accuracy", "registry.metric is 'accuracy': should be 'f1_macro' or 'auroc_macro'"),
        ("methods", [], "methods is []"),
        ("methods", ["roskd", "baseline_1", "roskd"], "the values must be unique"),
        ("methods", ["roskd", "rosk"], "methods names 'rosk', which is no method; did you mean roskd?"),
        ("methods", ["baseline_6"], "methods names 'baseline_6', which is no method; did you mean baseline_"),
        ("methods", ["hinton"], "which is no method; the methods are baseline_1, baseline_2, baseline_3, stochastic_f"),
        ("methods", "roskd", "methods is 'roskd'"),
        ("study.storage", "", "study.storage is ''"),
        ("robustness.methods", [], "robustness.methods is []"),
        ("robustness.methods", ["roskd", "roskd"], "robustness: methods is ['roskd', 'roskd']; the values must be uni"),
        ("robustness.methods", ["roskdd"], "methods names 'roskdd', which is no method; did you mean roskd?"),
        ("robustness.methods", ["knn"], "methods names 'knn', which answers from stored features and gives no gr"),
        ("robustness.corruptions.kinds", ["fog"], "robustness.corruptions: kinds names 'fog', which is no corruption"),
        ("robustness.corruptions.kinds", ["jpg"], "which is no corruption; did you mean jpeg?"),
        ("robustness.corruptions.kinds", [], "which corruptions, or null for those that suit"),
        ("robustness.corruptions.kinds", ["jpeg", "jpeg"], "kinds is ['jpeg', 'jpeg']; the values must be unique"),
        ("robustness.corruptions.severities", [1, 6], "robustness.corruptions.severities.1 is 6: should be less than "),
        ("robustness.corruptions.severities", [0], "robustness.corruptions.severities.0 is 0: should be greater than "),
        ("robustness.corruptions.severities", [], "robustness.corruptions.severities is []"),
        ("robustness.corruptions.severities", [3, 3], "severities is [3, 3]; the values must be unique"),
        ("robustness.corruptions.images", 1, "so many test images, at least 2, or null for all"),
        ("robustness.external", "", "robustness.external is ''"),
        ("training.precision", "bf16", "'auto' or 'float32'"),
        ("seeds", [], "at least 1 item"),
        ("seeds", [1, 1], "seeds is [1, 1]; the values must be unique"),
        ("seeds", [-1], "greater than or equal to 0"),
        ("student.architecture", "resnet19", "'resnet19' is no network; did you mean resnet18"),
        ("teachers.architectures", [], "at least 1 item"),
        ("teachers.architectures", ["resnet18", "resnet18"], "names one network twice"),
        ("teachers.architectures", ["vgg16"], "'vgg16' is no network; Known are resnet18"),
        ("student.architecture", "timm:", "'timm:' is no network; Known are resnet18, "),
        ("student.architecture", "timm:a b", "'timm:a b' is no network"),
        ("student.architecture", "tf_efficientnet_lite0", "densenet121, and timm:NAME for timm's"),
        ("student.architecture", "timm:test_resnet", "timm:test_resnet has its own stem and width; set stem to imagen"),
        ("student", TREE["student"] | {"width": 1.0, "stem": "small", "architecture": "timm:a"}, "timm:a has its own"),
        ("teachers.architectures", ["resnet18", "timm:a"], "teachers: timm:a has its own stem and width"),
        (
            "teachers",
            TREE["teachers"] | {"width": 1.0, "architectures": ["resnet18", "timm:resnet18"]},
            "architectures names a network of torchvision and its namesake of timm; take one of them",
        ),
        ("student.weights", "imagenet", "weights is imagenet and width 0.25; pretrained weights have width 1"),
        ("teachers.weights", "w/all.pth", "weights is w/all.pth and width 0.25; pretrained weights have width 1"),
        ("student.weights", "", "student.weights is ''"),
        ("student.train", "head", "student: train is head and weights null: a frozen backbone that was never trained"),
        ("teachers.train", "head", "teachers: train is head and weights null: a frozen backbone that was never"),
        ("teachers.train", "backbone", "teachers.train is 'backbone': should be 'all' or 'head'"),
        ("student", TREE["student"] | PRETRAINED | {"stem": "small"}, "train is head and stem small, whose first"),
        ("student.head", "deep", "student.head is 'deep': should be 'linear' or 'mlp'"),
        ("student.hidden", 0, "units of the head's hidden layer, at least 1"),
        ("student.dropout", 1.0, "before the last layer, in [0, 1)"),
        ("student.heads", ["linear"], "student.heads is not a parameter; did you mean head?"),
        ("teachers.heads", ["linear"], "heads is a list, but train is all; one backbone has several heads where train"),
        ("teachers", TREE["teachers"] | PRETRAINED | {"heads": []}, "at least 1 item"),
        ("teachers.heads", ["mlp"], "'mlp' is no head; it is linear, or the number of hidden units, 1 to 65536"),
        ("teachers.heads", [128, 0], "0 is no head"),
        ("teachers.heads", [65537], "65537 is no head"),
        ("teachers.heads", [True], "True is no head"),
        ("teachers.heads", ["128"], "'128' is no head"),
        ("training.optimiser", "adam", "training.optimiser is 'adam': should be 'sgd' or 'adamw'"),
        ("training.backbone_lr", -0.1, "at least 0; 0 freezes it"),
        ("training.lr_warmup", 1.0, "share of the steps in which lr rises from 0, in [0, 1)"),
        ("training.decay", "linear", "training.decay is 'linear': should be 'step' or 'cosine'"),
        ("task", "multilabel", "noise.kind is symmetric"),
        ("split.test", 0.2, "must sum to 1"),
        ("split.official", True, "no official test list"),
        ("data.source", "imagenet", "'phantom', 'isic2019', 'chestxray14', 'medmnist' or 'table'"),
        ("data.table.label", 3, "data.table.label"),
        ("split.folds", 1, "at least 2"),
        ("data.source", "chestxray14", "is multilabel"),
        ("data.image_size", 16, "32 to 1024"),
        ("views.count", 0, "at least 1"),
        ("smoothing.warmup", 1.0, "less than 1"),
        ("split", TREE["split"] | {"folds": 3, "fold": 3}, "fold is 3, but there are 3 folds, 0 to 2"),
        (
            "split",
            TREE["split"] | {"folds": 3, "official": True},
            "a test list and cross-validation exclude each other",
        ),
        ("landscape.grid", 2, "landscape.grid is 2: should be greater than or equal to 3"),
        ("landscape.grid", 10, "landscape: grid is 10, whose centre is no point; the trained weights are the centre"),
        ("landscape.radius", 0.0, "landscape.radius is 0.0: should be greater than 0"),
        ("landscape.radius", -1.0, "how far each axis reaches, in (0, 10]"),
        ("landscape.images", 0, "landscape.images is 0: should be greater than or equal to 2"),
        ("landscape.images", -64, "test images, 2 to 4096"),
        ("landscape.clamp", 0.0, "the highest loss that is drawn, in nats, greater than 0"),
        ("landscape.methods", [], "landscape.methods is []"),
        ("landscape.methods", ["roskd", "roskd"], "landscape: methods is ['roskd', 'roskd']; the values must be"),
        ("landscape.methods", ["rosk"], "landscape: methods names 'rosk', which is no method; did you mean roskd?"),
        ("landscape.methods", ["roskd", "knn"], "landscape: methods names knn, which answers without a network, so"),
        ("landscape.methods", ["linear_probe"], "has no gradient and no loss landscape; leave it out"),
        ("landscape.hessian.draws", 1, "random vectors for the trace, 2 to 10000"),
        ("landscape.hessian.iterations", 0, "of power iteration at most, 1 to 10000"),
        ("landscape.hessian.tolerance", 1.0, "power iteration's relative residual, in (0, 1)"),
        ("extra", 1, "extra is not a parameter"),
    ],
)
def test_a_mistake_is_reported_with_parameter_value_and_remedy(key, value, message):
    with pytest.raises(UserError) as error:
        params_file.validate(changed(key, value), "params.yaml")
    assert message in str(error.value)
    assert str(error.value).startswith("params.yaml: ")


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
