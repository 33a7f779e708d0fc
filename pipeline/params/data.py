"""The data section of params.yaml: where the images come from, and each source's own settings."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.base import Fraction, Names, Section, Seed


class PhantomParams(Section):
    """Size and seed of the generated data set; other sources ignore them."""

    images: Annotated[int, Field(ge=64, description="number of generated images, at least 64")]
    seed: Seed


class MedMnistParams(Section):
    """Which member of MedMNIST; other sources ignore it."""

    dataset: Annotated[str, Field(min_length=1, description="a 2-D member of MedMNIST, dermamnist for example")]
    size: Annotated[Literal[28, 64, 128, 224], Field(description="side of MedMNIST's own images in pixels")]
    download: Annotated[bool, Field(description="true fetches a missing file into data.path; false never does")]


class TableParams(Section):
    """Which column of one's own table says what; other sources ignore it."""

    file: Annotated[str, Field(min_length=1, description="CSV or Parquet file inside data.path")]
    image: Annotated[str, Field(min_length=1, description="column of image paths, relative to data.path")]
    label: Annotated[str | Names, Field(description="column of the label, or a list of 0/1 columns")]
    separator: Annotated[str | None, Field(min_length=1, description="what joins several findings in the label column")]
    group: Annotated[str | None, Field(description="column of the patient or lesion, or null")]
    split: Annotated[str | None, Field(description="column with train, val, test, used by split.official, or null")]
    classes: Annotated[Names | None, Field(description="the class names in order, or null for those met")]


class DataParams(Section):
    """Where the images come from and how they are brought to one size."""

    source: Literal["phantom", "isic2019", "chestxray14", "medmnist", "table"]
    path: Annotated[str, Field(min_length=1, description="folder of the data set; for phantom its generator")]
    image_size: Annotated[int, Field(ge=32, le=1024, description="side of the square image in pixels, 32 to 1024")]
    resize: Literal["crop", "pad", "squash"]
    corrections: Annotated[str, Field(min_length=1, description="CSV of corrected labels: sample_id, label")]
    max_bad_fraction: Annotated[Fraction, Field(description="share of unreadable images that is tolerated, 0 to 1")]
    max_images: Annotated[int | None, Field(ge=64, description="use only so many images, at least 64; null: all")]
    phantom: PhantomParams
    medmnist: MedMnistParams
    table: TableParams
