"""The templates of all pages."""

from pathlib import Path

import jinja2


def environment() -> jinja2.Environment:
    """Return the environment of the templates; everything that comes from the data is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
