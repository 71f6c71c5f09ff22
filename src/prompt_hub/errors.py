"""The one exception that means "the input is at fault, not the program"."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Bad input. The message names the value, what is allowed, and the fix.

    The command line prints the message alone and exits with code 2; from Python it is an ordinary
    ``ValueError``.
    """


def unknown_name(kind: str, name: str, allowed: Iterable[str], hint: str = "") -> UserError:
    """A ``UserError`` for a name that is not in a list, with the nearest spelling when there is one."""
    names = sorted(allowed)
    near = get_close_matches(name, names, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    known = ", ".join(names) if names else "none"
    return UserError(f"Unknown {kind} {name!r}.{guess} Known: {known}.{' ' + hint if hint else ''}")


def first_line(error: BaseException) -> str:
    """What an error says, without what follows it; its class name when it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
