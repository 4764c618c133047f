"""Suite `digits`: real handwritten digits, eight tenants with their own sensor texture and rule.

Same images, another rule: each tenant maps the ten digits to four actions in its own way, and its
sensor adds a faint 2x2 texture, the only cue. `digits.npz` holds the 1797 images of 8x8 pixels
(0..16) and their labels.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository 1998 (https://doi.org/10.24432/C50P49, CC BY 4.0), test portion, as bundled with
scikit-learn (BSD-3). Deviation: tenants, textures, shifts and noise are ours; a sensor stores 8
bits over [-0.5, 1.5].
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.moe.suites.suite import Split, Suite
from sim.errors import InputError
from sim.rng import Streams

if TYPE_CHECKING:
    from agents.moe.recipe import Recipe
    from sim.arrays import AnyArray, FloatArray

TENANTS = 8
CLASSES = 4
_FILE = Path(__file__).with_name("digits.npz")
_ACTIONS = (0, 0, 0, 1, 1, 1, 2, 2, 3, 3)  # how many digits share an action
_NOISE = 0.05
_TEXTURE = 0.5
_PATCH = 2


def images() -> tuple[FloatArray, AnyArray]:
    """Return the real images scaled to [0, 1], (1797, 8, 8), and their digits (1797,)."""
    with np.load(_FILE, allow_pickle=False) as file:
        return file["images"].astype(np.float64) / 16.0, file["labels"]


def build(recipe: Recipe) -> Suite:
    """Split the real images once for all tenants, so that no image is in two splits.

    Raises:
        InputError: The recipe asks for more images than there are.
    """
    pictures, digits = images()
    rest = len(digits) - recipe.calibration_items - recipe.service_items
    if rest < 1:
        raise InputError(
            f"recipe: digits has {len(digits)} images, calibration and service take them all"
        )
    streams = Streams(recipe.data_seed)
    order = streams.stream("suite", "digits", "order").permutation(len(digits))
    train, calibration, service = np.split(order, [rest, rest + recipe.calibration_items])
    return Suite(
        name="digits",
        tasks=tuple(f"tenant{t}" for t in range(TENANTS)),
        kind="patches",
        vocab=0,
        patch=_PATCH * _PATCH,
        tokens=17,
        classes=CLASSES,
        train=_train(streams, pictures[train], digits[train], recipe.train_items),
        calibration=_split(streams, pictures[calibration], digits[calibration]),
        service=_split(streams, pictures[service], digits[service]),
    )


def _train(streams: Streams, pictures: FloatArray, digits: AnyArray, items: int) -> Split:
    """Repeat the training images up to `items`; every repeat is shifted, all are noisy."""
    rng = streams.stream("suite", "digits", "augment")
    source = np.arange(items) % len(pictures)
    shifted = pictures[source]
    for i in range(len(pictures), items):
        shifted[i] = np.roll(shifted[i], tuple(rng.integers(-1, 2, 2)), (0, 1))
    return _split(streams, shifted + rng.normal(0.0, _NOISE, shifted.shape), digits[source])


def _split(streams: Streams, pictures: FloatArray, digits: AnyArray) -> Split:
    """Let every tenant see the same pictures through its sensor and judge them by its rule."""
    inputs, labels = [], []
    for t in range(TENANTS):
        rng = streams.stream("suite", "digits", "tenant", t)
        # Sign and strength per cell: a 2x2 patch is enough to guess the tenant, not to know it.
        texture = _TEXTURE * rng.choice([-1.0, 1.0], (2, 2)) * rng.random((2, 2))
        rule = rng.permutation(np.array(_ACTIONS, np.uint8))
        inputs.append(_patches(_sensor(pictures + np.tile(texture, (4, 4)))))
        labels.append(rule[digits])
    return Split(np.stack(inputs), np.stack(labels))


def _sensor(light: FloatArray) -> AnyArray:
    """Store [-0.5, 1.5] in 8 bits."""
    return np.clip(np.rint((light + 0.5) * 127.5), 0, 255).astype(np.uint8)


def _patches(pictures: AnyArray) -> AnyArray:
    """Cut (n, 8, 8) into 16 patches of 2x2, (n, 16, 4)."""
    n = len(pictures)
    cut = pictures.reshape(n, 4, _PATCH, 4, _PATCH).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(cut.reshape(n, 16, _PATCH * _PATCH))
