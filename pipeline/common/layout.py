"""Where every artefact of a pipeline run lies: the one place that spells the paths of the contracts between stages."""

from pathlib import Path
from typing import Literal

Pool = Literal["full", "subset"]
Checkpoint = Literal["last", "selected", "smoothed"]

ROOT = Path("artifacts")

CHECKED = ROOT / "check.txt"
IMAGES = ROOT / "data/images.npy"
SAMPLES = ROOT / "data/samples.csv"
DATA_REPORT = ROOT / "data/report.json"
SPLITS = ROOT / "splits/splits.csv"
LABELS = ROOT / "splits/labels.csv"
NOISE = ROOT / "splits/noise.json"
SUBSETS = ROOT / "splits/subsets.csv"
TEACHERS = ROOT / "teachers"
SOFT_LABELS = ROOT / "soft_labels"
STUDENTS = ROOT / "students"
PREDICTIONS = ROOT / "predictions"
STUDENT_METRICS = ROOT / "metrics/students.csv"
TEACHER_METRICS = ROOT / "metrics/teachers.csv"
COMPARISONS = ROOT / "metrics/comparisons.csv"
INTERVALS = ROOT / "metrics/intervals.csv"
REPORT = ROOT / "report/index.html"
DATA_CARD = ROOT / "report/data_card.html"
TABLE = ROOT / "report/table.txt"
ONNX = ROOT / "onnx/student.onnx"
ONNX_META = ROOT / "onnx/student.json"
RESUME = ROOT / "resume"
STORE = ROOT / "store"
STUDIES = ROOT / "studies"


def teacher_weights(seed: int, pool: Pool, architecture: str) -> Path:
    """A teacher's safetensors file; its history lies beside it."""
    return TEACHERS / str(seed) / pool / f"{architecture}.safetensors"


def teacher_history(seed: int, pool: Pool, architecture: str) -> Path:
    """A teacher's training curves: CSV with the columns epoch, split, metric, value."""
    return TEACHERS / str(seed) / pool / f"{architecture}.history.csv"


def soft_labels(seed: int, pool: Pool, architecture: str) -> Path:
    """A teacher's logits: float16 (V + 1, N, C), the clean view last."""
    return SOFT_LABELS / str(seed) / pool / f"{architecture}.npy"


def student(seed: int, run: str) -> Path:
    """The folder of one student run."""
    return STUDENTS / str(seed) / run


def student_weights(seed: int, run: str, checkpoint: Checkpoint) -> Path:
    """One checkpoint of a student run."""
    return student(seed, run) / f"{checkpoint}.safetensors"


def student_history(seed: int, run: str) -> Path:
    """A student's training curves: CSV with the columns epoch, split, metric, value."""
    return student(seed, run) / "history.csv"


def predictions(seed: int, method: str, checkpoint: Checkpoint) -> Path:
    """A student's logits on val and test (npz)."""
    return PREDICTIONS / str(seed) / f"{method}-{checkpoint}.npz"
