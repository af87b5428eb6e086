"""How pages are made from templates, and how a stranger's text gets onto one.

Pages hold texts that models and strangers wrote. All of it is escaped by the template engine,
control characters are made visible, and a strict content-security policy allows nothing but the
page's own style: no script, no font, no request.
"""

import re

from jinja2 import Environment, PackageLoader, StrictUndefined

from notus.words import FILTERS

TEXT_LIMIT = 700
"""Characters of a text that a page shows."""
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a page must not hold, and what turns the direction of the text around it."""


def environment() -> Environment:
    """The template engine: everything is escaped, an unknown name is an error."""
    made = Environment(
        loader=PackageLoader("notus", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {**FILTERS, "shown": shown}
    return made


def shown(text: object, limit: int = TEXT_LIMIT) -> str:
    """Make a stranger's text fit to be shown: cut, with control characters made visible."""
    whole = str(text)
    rest = len(whole) - limit
    cut = CONTROLS.sub("\ufffd", whole[:limit])
    return f"{cut} [... {rest:,} more characters]" if rest > 0 else cut
