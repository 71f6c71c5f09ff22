"""``prompt-hub neurons``: what it finds, captures, compares, masks and draws."""

from __future__ import annotations

import pytest
from command import refuses, succeeds


@pytest.mark.parametrize(
    ("kind", "stacks"), [("bert", ["encoder"] * 2), ("t5", ["encoder"] * 2 + ["decoder"] * 2)]
)
def test_sites_lists_the_feed_forward_layers(tiny_folder, kind, stacks):
    found = succeeds("neurons", "sites", "--backbone", tiny_folder(kind), "--device", "cpu", "--json").json
    assert [site["stack"] for site in found["sites"]] == stacks
    assert {site["width"] for site in found["sites"]} == {64}
    table = succeeds("neurons", "sites", "--backbone", tiny_folder(kind)).stdout
    assert "encoder" in table and "64" in table


def test_sites_can_be_named_by_hand(tiny_folder):
    arguments = ("neurons", "sites", "--backbone", tiny_folder("gpt2"))
    by_hand = succeeds(*arguments, "--site", "h.*.mlp.c_proj,h.*.mlp.c_fc", "--json").json["sites"]
    assert [site["down"] for site in by_hand] == ["transformer.h.0.mlp.c_proj", "transformer.h.1.mlp.c_proj"]
    refuses(*arguments, "--site", "h.*.mlp.wo", says=("h.*.mlp.wo", "transformer.h.*.mlp.c_proj"))
    refuses("neurons", "sites", says=("--backbone",))
