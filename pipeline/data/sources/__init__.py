"""Data sources: each module knows one layout and answers the same question, what images and labels are there."""

from pipeline.data.sources.base import Source
from pipeline.data.sources.limit import limit
from pipeline.params.tree import Params


def open_source(params: Params) -> Source:
    """Open the source that `data.source` names, or the part of it that `data.max_images` allows.

    Reads the label tables, not the images. Raises UserError.
    """
    source = _open(params)
    return source if params.data.max_images is None else limit(source, params.data.max_images, params.task)


def _open(params: Params) -> Source:
    if params.data.source == "phantom":
        from pipeline.data.sources import phantom

        return phantom.open_phantom(params.task, params.data)
    if params.data.source == "isic2019":
        from pipeline.data.sources import isic2019

        return isic2019.open_isic2019(params.data)
    if params.data.source == "chestxray14":
        from pipeline.data.sources import chestxray14

        return chestxray14.open_chestxray14(params.data)
    if params.data.source == "medmnist":
        from pipeline.data.sources import medmnist

        return medmnist.open_medmnist(params.task, params.data)
    from pipeline.data.sources import table

    return table.open_table(params.task, params.data)


__all__ = ["Source", "open_source"]
