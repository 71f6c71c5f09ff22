"""Invented files out of valid ones: documents changed in their structure, bytes changed in place."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**9, 2**63, 10**30, -(10**9), 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", " ", "0", "a", "ä\u2028\u202e\x00", "../../etc/passwd", "/etc/passwd", "..", "con",
    "<script>alert(1)</script>", "{{ 7 * 7 }}", "${jndi:x}", "x" * 5000, "\ud800", [], {}, [[]], [None],
    {"": None}, ["a", "a"], {"size": 1}, "https://127.0.0.1:1/x", "file:///etc/passwd", "__class__",
)  # fmt: skip


def document(valid: bytes, chooser: random.Random) -> bytes:
    """A JSON document with one to four places changed."""
    data = json.loads(valid)
    for _ in range(chooser.choice((1, 1, 2, 4))):
        data = _changed(data, chooser)
    if chooser.random() < 0.02:
        data = _nested(chooser.choice((50, 2000)))
    return json.dumps(data).encode()


def _changed(data: Any, chooser: random.Random) -> Any:
    places = list(_places(data))
    if not places or chooser.random() < 0.02:
        return deepcopy(chooser.choice(ODD))
    holder, key = chooser.choice(places)
    what = chooser.randrange(6)
    if what == 0:
        del holder[key]
    elif what == 1:  # another value of the same document
        other, name = chooser.choice(places)
        holder[key] = deepcopy(other[name])
    elif what == 2 and isinstance(holder, dict):
        holder[str(chooser.choice(ODD))[:50]] = deepcopy(holder[key])
    elif what == 3 and isinstance(holder, list):
        holder.extend(deepcopy(holder[key]) for _ in range(chooser.choice((1, 3, 1000))))
    elif what == 4 and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        holder[key] = chooser.choice((-holder[key], holder[key] + 1, holder[key] * 10**6, float(holder[key])))
    else:
        holder[key] = deepcopy(chooser.choice(ODD))
    return data


def _places(data: Any) -> Any:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield data, key
        yield from _places(value)


def _nested(depth: int) -> Any:
    data: Any = []
    for _ in range(min(depth, 900)):
        data = [data]
    return data


def changed_bytes(valid: bytes, chooser: random.Random) -> bytes:
    """Some bytes replaced, removed, doubled, or the end cut off."""
    data = bytearray(valid)
    for _ in range(chooser.choice((1, 1, 2, 8))):
        if not data:
            break
        # Headers stand at the beginning.
        at = chooser.randrange(min(len(data), chooser.choice((16, 256, len(data)))))
        what = chooser.randrange(6)
        if what == 0:
            data[at] = chooser.randrange(256)
        elif what == 1:
            data[at : at + 8] = chooser.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little")
        elif what == 2:
            del data[at : at + chooser.choice((1, 4, 64))]
        elif what == 3:
            data[at:at] = data[at : at + chooser.choice((1, 16, 300))]
        elif what == 4:
            del data[at:]
        else:
            data[at] ^= 1 << chooser.randrange(8)
    return bytes(data)


def mutated(valid: bytes, is_document: bool, chooser: random.Random) -> bytes:
    """Of a document one in five is changed as bytes."""
    if is_document and chooser.random() < 0.8:
        return document(valid, chooser)
    return changed_bytes(valid, chooser)
