"""How long a JPEG takes to decode, seen before it is: progressive ones go over all pixels in every scan."""

from models.pixels import MAX_PIXELS, ImageError

MAX_SCANS = 100
"""Progressive JPEGs of cameras have about ten scans."""
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
STUFFING = (0x00, 0xFF, *range(0xD0, 0xD8))
"""What follows 0xFF within a scan: an escaped 0xFF, fill bytes and restarts."""
MAX_SCANNED = 10 * MAX_PIXELS
"""Each scan of a progressive JPEG goes over all pixels, whatever size it is decoded at."""


def require_few_scans(content: bytes, pixels: int) -> None:
    """Raise ImageError for a JPEG that takes long to decode: its scans go over all pixels, whatever they hold."""
    scans, allowed = count_scans(content), min(MAX_SCANS, MAX_SCANNED // pixels)
    if scans > allowed:
        raise ImageError(
            f"has {scans} scans of {pixels:,} pixels, which take long to decode; at most {allowed} are allowed, save "
            "it as a plain JPEG"
        )


def count_scans(content: bytes) -> int:
    """Count the scans of a JPEG's own image: not of a thumbnail in it, nor of what follows its end."""
    scans, place = 0, 2
    while place + 4 <= len(content):
        if content[place] != 0xFF or content[place + 1] in STUFFING:  # in the data of a scan
            place = content.find(b"\xff", place + 1)
            if place < 0:
                break
            continue
        marker = content[place + 1]
        if marker == END_OF_IMAGE:
            break
        scans += marker == START_OF_SCAN
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return scans
