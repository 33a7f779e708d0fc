"""Where every artefact is: the one place that spells the paths below artifacts/."""

from pathlib import Path
from typing import Final, Literal

Pool = Literal["full", "subset"]
"""Which teachers: those trained on all data, or each on its own subset."""
Checkpoint = Literal["last", "selected", "smoothed"]
"""Weights of a student: after the last epoch, of the best validation epoch, and averaged."""

POOLS: tuple[Pool, ...] = ("full", "subset")
CHECKPOINTS: tuple[Checkpoint, ...] = ("last", "selected", "smoothed")


class Layout:
    """The paths of one artifacts folder, `root`."""

    def __init__(self, root: Path = Path("artifacts")) -> None:
        self.root: Final = root
        self.checked: Final = root / "check.txt"
        self.code: Final = root / "code"
        self.images: Final = root / "data/images.npy"
        self.samples: Final = root / "data/samples.csv"
        self.data_report: Final = root / "data/report.json"
        self.splits: Final = root / "splits/splits.csv"
        self.labels: Final = root / "splits/labels.csv"
        self.noise: Final = root / "splits/noise.json"
        self.subsets: Final = root / "splits/subsets.csv"
        self.features: Final = root / "features.json"
        self.all_predictions: Final = root / "predictions"
        self.student_metrics: Final = root / "metrics/students.csv"
        self.teacher_metrics: Final = root / "metrics/teachers.csv"
        self.training_metrics: Final = root / "metrics/training.csv"
        self.comparisons: Final = root / "metrics/comparisons.csv"
        self.intervals: Final = root / "metrics/intervals.csv"
        self.corrections: Final = root / "metrics/corrections.csv"
        self.summary: Final = root / "metrics/summary.json"
        self.method_figures: Final = root / "metrics/methods.csv"
        self.curves: Final = root / "metrics/curves.csv"
        self.report: Final = root / "report/index.html"
        self.data_card: Final = root / "report/data_card.html"
        self.table: Final = root / "report/table.txt"
        self.figures: Final = root / "report/figures"
        self.audit: Final = root / "audit"
        self.suspects: Final = root / "audit/suspects.csv"
        self.audit_summary: Final = root / "audit/summary.json"
        self.near_duplicates: Final = root / "audit/near_duplicates.csv"
        self.orders: Final = root / "audit/orders.csv"
        self.audit_page: Final = root / "audit/index.html"
        self.external: Final = root / "external"
        self.external_images: Final = root / "external/images.npy"
        self.external_samples: Final = root / "external/samples.csv"
        self.external_report: Final = root / "external/report.json"
        self.all_shifts: Final = root / "shift"
        self.landscapes: Final = root / "landscape"
        self.robustness: Final = root / "robustness"
        self.robust_figures: Final = root / "metrics/robustness.csv"
        self.robust_switches: Final = root / "metrics/robustness_switches.csv"
        self.robust_comparisons: Final = root / "metrics/robustness_comparisons.csv"
        self.trust_checks: Final = root / "metrics/trust_checks.csv"
        self.onnx: Final = root / "onnx/student.onnx"
        self.onnx_half: Final = root / "onnx/student_float16.onnx"
        self.onnx_meta: Final = root / "onnx/student.json"
        self.triton: Final = root / "onnx/config.pbtxt"
        self.store: Final = root / "store"
        self.compared: Final = root / "store/compared.json"
        self.outcomes: Final = root / "store/outcomes"
        self.studies: Final = root / "studies"
        self.launch: Final = root / "launch.json"

    def teachers(self, seed: int, pool: Pool) -> Path:
        """The folder of one pool's teachers."""
        return self.root / "teachers" / str(seed) / pool

    def teacher_weights(self, seed: int, pool: Pool, name: str) -> Path:
        """A teacher's safetensors file."""
        return self.teachers(seed, pool) / f"{name}.safetensors"

    def teacher_history(self, seed: int, pool: Pool, name: str) -> Path:
        """A teacher's training curves: CSV with the columns epoch, split, metric, value."""
        return self.teachers(seed, pool) / f"{name}.history.csv"

    def teacher_predictions(self, seed: int, pool: Pool, name: str) -> Path:
        """A teacher's logits on validation and test (npz)."""
        return self.teachers(seed, pool) / f"{name}.predictions.npz"

    def soft_labels(self, seed: int, pool: Pool) -> Path:
        """The folder of one pool's soft labels."""
        return self.root / "soft_labels" / str(seed) / pool

    def answers(self, seed: int, pool: Pool, name: str) -> Path:
        """A teacher's logits on the training split: float16 (V + 1, N, C), the clean view last."""
        return self.soft_labels(seed, pool) / f"{name}.npy"

    def students(self, seed: int, pool: Pool | None) -> Path:
        """The folder of the students that learn from one pool of teachers, or from none."""
        return self.root / "students" / str(seed) / (pool or "plain")

    def student_weights(self, seed: int, pool: Pool | None, run: str, checkpoint: Checkpoint) -> Path:
        """One checkpoint of a student run."""
        return self.students(seed, pool) / run / f"{checkpoint}.safetensors"

    def student_history(self, seed: int, pool: Pool | None, run: str) -> Path:
        """A student's training curves: CSV with the columns epoch, split, metric, value."""
        return self.students(seed, pool) / run / "history.csv"

    def student_predictions(self, seed: int, pool: Pool | None, run: str) -> Path:
        """The logits of a student's checkpoints on validation and test (npz)."""
        return self.students(seed, pool) / run / "predictions.npz"

    def student_margins(self, seed: int, pool: Pool | None, run: str) -> Path:
        """The plain student's margins and disagreement with each training label (npz)."""
        return self.students(seed, pool) / run / "margins.npz"

    def predictions(self, seed: int, method: str, checkpoint: Checkpoint) -> Path:
        """A method's logits on validation and test, with sample ids and targets (npz)."""
        return self.all_predictions / str(seed) / f"{method}-{checkpoint}.npz"

    def landscape(self, seed: int, method: str) -> Path:
        """The folder of the loss landscape around one student."""
        return self.landscapes / str(seed) / method

    def surface(self, seed: int, method: str) -> Path:
        """The loss on a grid around a student's weights: CSV with the columns step_1, step_2, loss."""
        return self.landscape(seed, method) / "surface.csv"

    def slices(self, seed: int, method: str) -> Path:
        """The loss along each direction: CSV with the columns direction, step, loss."""
        return self.landscape(seed, method) / "slices.csv"

    def sharpness(self, seed: int, method: str) -> Path:
        """Loss at the weights, top eigenvalue and trace of the Hessian (JSON)."""
        return self.landscape(seed, method) / "sharpness.json"

    def attacked(self, seed: int, method: str) -> Path:
        """The folder of the attacks on one student."""
        return self.robustness / str(seed) / method

    def attack_figures(self, seed: int, method: str) -> Path:
        """Figures under each attack and budget: CSV with the columns attack, norm, eps, metric, value."""
        return self.attacked(seed, method) / "attacks.csv"

    def switched(self, seed: int, method: str) -> Path:
        """How often one finding was switched: CSV with the columns finding, wanted, norm, eps, n_images, switched."""
        return self.attacked(seed, method) / "switches.csv"

    def attack_checks(self, seed: int, method: str) -> Path:
        """Whether the attacks can be trusted: CSV with the columns check, norm, eps, value, limit, passed."""
        return self.attacked(seed, method) / "checks.csv"

    def attacked_logits(self, seed: int, method: str) -> Path:
        """The logits of clean and attacked images, with sample ids, groups and targets (npz)."""
        return self.attacked(seed, method) / "logits.npz"

    def shift(self, seed: int, method: str) -> Path:
        """The folder of a method's figures on corrupted images and on those of another source."""
        return self.all_shifts / str(seed) / method

    def corruption_figures(self, seed: int, method: str) -> Path:
        """Figures by corruption and severity: CSV."""
        return self.shift(seed, method) / "corruptions.csv"

    def external_figures(self, seed: int, method: str) -> Path:
        """Figures on the external test set and on our own: CSV; not there without an external set."""
        return self.shift(seed, method) / "external.csv"

    def shift_summary(self, seed: int, method: str) -> Path:
        """What a method was tried on: JSON."""
        return self.shift(seed, method) / "summary.json"

    def study(self, name: str) -> Path:
        """The folder of one study's tables, pictures and page."""
        return self.studies / name
