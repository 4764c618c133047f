"""Small scenarios, with and without a model, for tests to change."""

from __future__ import annotations

QUEUE = """\
name: tiny
duration: 1 min
model: none
service: {kind: exponential, mean: 10 ms}
nodes:
  - {group: edge, count: 2}
streams:
  - {at: edge, arrivals: {kind: poisson, rate: 20 /s}}
"""
POISSON = "kind: poisson, rate: 20 /s"
MODEL = """\
name: tiny
duration: 1 min
model: {checkpoint: "builtin:stream", cost_as: switch-base-8}
nodes:
  - {group: edge, count: 2, hardware: jetson-orin-nano}
  - {group: cloud, hardware: a100-40gb}
topology: {kind: star, hub: cloud, link: {delay: 8 ms}}
streams:
  - {at: edge, arrivals: {kind: poisson, rate: 20 /s}}
"""


def changed(text, old, new):
    assert text.count(old) == 1
    return text.replace(old, new)
