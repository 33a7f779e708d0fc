"""Any network of timm as a backbone, with its own normalisation and image sizes."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.errors import ModelError, WeightsError, hint
from models.names import TIMM
from models.pretrained import load_backbone


def build_backbone(name: str, *, image_size: int, weights: str | None, file: Path | None = None) -> nn.Module:
    """Return timm's network `name`, "timm:...", without its classifier: (B, 3, H, W) -> (B, F).

    `weights`: None, "imagenet" (timm's own default weights, downloaded once), or anything else: those in `file`.
    Networks that are made for one image size are made for `image_size`. Raises ModelError for an unknown name or a size
    that the network does not take, WeightsError.
    """
    import timm

    known = name.removeprefix(TIMM)
    _require_name(known)
    config = timm.get_pretrained_cfg(known)
    assert config is not None  # the name has been checked
    sized: dict[str, Any] = {"img_size": image_size} if config.fixed_input_size else {}
    if weights == "imagenet" and not config.has_weights:
        raise WeightsError(f"weights imagenet: timm has none for {known}; name a file, or null to train from scratch")
    try:
        network = timm.create_model(known, pretrained=weights == "imagenet", num_classes=0, **sized)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"weights {weights}: {known} could not be had from timm ({str(error).splitlines()[0]}). Connect to the "
            "network once, or name a file of its weights"
        ) from error
    except (AssertionError, TypeError, ValueError) as error:
        raise _refused(name, image_size, error) from error
    if file is not None:
        load_backbone(network, file, _classifiers(config.classifier), name)
    return network


def statistics(backbone: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and standard deviation of each channel that a network of timm was trained with."""
    config: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    return tuple(config["mean"]), tuple(config["std"])


def require_network(name: str, image_size: int) -> None:
    """Raise ModelError unless timm has the network and it takes images of that size, without making it."""
    _require_name(name.removeprefix(TIMM))
    with torch.device("meta"):
        backbone = build_backbone(name, image_size=image_size, weights=None).eval()
        try:
            shape = backbone(torch.empty(2, 3, image_size, image_size)).shape
        except (RuntimeError, AssertionError, ValueError) as error:
            raise _refused(name, image_size, error) from error
    if len(shape) != 2:
        raise ModelError(f"architecture {name}: gives features of shape {tuple(shape)}, not one vector for each image")


def _refused(name: str, image_size: int, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(f"architecture {name}: does not take images of data.image_size {image_size} ({reason})")


def _require_name(known: str) -> None:
    import timm

    names = timm.list_models()
    base, _, tag = known.partition(".")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{base}.*")]
    if base in names and (not tag or tag in tags):
        return
    near = [TIMM + name for name in ([f"{base}.{one}" for one in tags] if base in names else names)]
    meant = hint(TIMM + known, near, "timm.list_models() lists them")
    raise ModelError(f"architecture {TIMM}{known}: timm has no such network; {meant}")


def _classifiers(named: Any) -> tuple[str, ...]:
    return (named,) if isinstance(named, str) else tuple(named or ())
