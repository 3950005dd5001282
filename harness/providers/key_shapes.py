"""What a key looks like, so that nobody writes one where its variable's name belongs."""

from __future__ import annotations

import re

_SHAPES = (
    # A vendor's prefix, then a long run of letters and digits.
    re.compile(
        r"(sk|pk|rk|gsk|csk|hf|fw|fpk|xai|nvapi|tgp|r8|key|Bearer)[-_ ][\w-]*[A-Za-z0-9]{12,}"
    ),
    # Hexadecimal, base 64 and the like: long, without a break, digits among the letters.
    re.compile(r"(?=\D*\d\D*\d\D*\d)(?=.*[A-Za-z])[A-Za-z0-9]{24,}"),
    # A UUID.
    re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
)


def looks_like_key(text: str) -> bool:
    """Whether a text is more likely a key than a name, a model or an address."""
    return any(shape.match(text.strip()) for shape in _SHAPES)
