"""What a reader must know of the external test set: what matches, what is missing, what was met before."""

from typing import Any


def sentences(report: dict[str, Any]) -> list[str]:
    """Return what a reader must know of the external set before any figure."""
    told = [
        f"{report['table']}: {report['images']:,} images of {report['groups']:,} groups, {report['judged']:,} of them "
        f"judged, on {len(report['shared'])} classes: {', '.join(report['shared'])}"
    ]
    if report["quarantined"]:
        told.append(f"{len(report['quarantined']):,} images could not be read and are left out")
    if report["missing"]:
        told.append(f"it has no image of {', '.join(report['missing'])}")
    if report["surplus"]:
        told.append(f"its classes {', '.join(report['surplus'])} are none of ours, and are left out")
    told += [
        f"its {other!r} may be our {own!r}; names must be equal to the letter" for other, own in report["lookalikes"]
    ]
    if report["equal"]:
        told.append(f"warning: {report['equal']:,} of its images have the same pixels as images of our own data")
    return told
