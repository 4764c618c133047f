"""Merge-aware training: dense phase, branch phase with merged steps, router phase.

From one common dense model, task t's items train its experts: t, and with several per task t + M,
t + 2M and so on, each on its own part of the task's items. In a share `aware` of the steps a random
slot (1-3 tasks, random mix) is served by ONE merged expert with w = mix, a task's share spread at
random over its experts, and the gradient flows through the merge, so that averages of experts work
as models.

Source: Branch-Train-MiX (Sukhbaatar et al. 2024, arXiv 2403.07816) for branches and router; SMEAR
(Muqeeth et al. 2023, arXiv 2306.03745) and Lory (Zhong et al. 2024, arXiv 2405.03133) for
gradients through merged experts. Deviation: slots instead of examples or segments; shared parts
are trained jointly with the branches; the router learns which branch a token came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from time import process_time
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from agents.moe.cards import checkpoint_dir
from agents.moe.model import PAD, Answer, Dense, Encoder, Group, Mixed
from agents.moe.suites import Suite, load
from sim.rng import Streams

if TYPE_CHECKING:
    from agents.moe.recipe import Recipe

Progress: TypeAlias = Callable[[str, int, int], None]

_ROUTER_LR = 5e-3
_PROVENANCE = 0.1  # weight of the router's loss in the branch phase
_WARM_UP = 50
_MIX_FLOOR = 0.15  # keeps every active task's share of a slot away from 0
_REPORT_EVERY = 10


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing: the default progress callback."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model with the data that it was trained on."""

    recipe: Recipe
    suite: Suite
    model: Encoder
    cached: bool
    cpu_s: float  # of this call


def train(recipe: Recipe, progress: Progress = silent, cache: bool = True) -> Trained:
    """Train a recipe's model, or fetch it from the cache folder.

    Deterministic: the same recipe on the same machine and wheels gives the same weights. Sets
    torch to one thread.

    Args:
        recipe: What to train.
        progress: Called with (stage, done, total).
        cache: Look in, and write to, the cache folder.
    """
    torch.set_num_threads(1)
    start = process_time()
    suite = load(recipe)
    model = _from_cache(recipe, suite) if cache else None
    cached = model is not None
    if model is None:
        model = _Training(recipe, suite, progress).run()
        if cache:
            _to_cache(recipe, model)
    return Trained(recipe, suite, model.eval(), cached, process_time() - start)


def _from_cache(recipe: Recipe, suite: Suite) -> Encoder | None:
    """Load cached weights; a damaged cache entry is trained again, not trusted."""
    path = checkpoint_dir(recipe) / "weights.bin"
    if not path.is_file():
        return None
    model = Encoder(suite.shape(recipe))
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError):
        return None
    return model if all(bool(p.isfinite().all()) for p in model.parameters()) else None


def _to_cache(recipe: Recipe, model: Encoder) -> None:
    """Write the weights, then give the file its name, so that a killed run leaves no half file."""
    folder = checkpoint_dir(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "weights.bin.tmp"
    save_file(model.state_dict(), partial)
    partial.replace(folder / "weights.bin")
    (folder / "recipe.json").write_text(
        json.dumps(asdict(recipe), indent=1) + "\n", encoding="utf-8"
    )


class _Training:
    """One training run: model, data and the generator that draws batches."""

    def __init__(self, recipe: Recipe, suite: Suite, progress: Progress) -> None:
        streams = Streams(recipe.seed)
        self.recipe, self.progress = recipe, progress
        self.tasks, self.experts = len(suite.tasks), suite.shape(recipe).experts
        self.parts = self.experts // self.tasks  # of a task's items, one per expert
        init = torch.Generator().manual_seed(streams.integer("moe", "init"))
        self.draws = torch.Generator().manual_seed(streams.integer("moe", "batches"))
        self.model = Encoder(suite.shape(recipe), init).train()
        self.inputs = torch.from_numpy(suite.train.inputs)
        self.labels = torch.from_numpy(suite.train.labels).long()
        named = dict(self.model.named_parameters())
        self.routers = [p for n, p in named.items() if "router" in n]
        self.others = [p for n, p in named.items() if "router" not in n]

    def run(self) -> Encoder:
        """Run the three phases."""
        self._dense()
        self._branch()
        self._router()
        return self.model

    def _dense(self) -> None:
        """Train all experts as one, briefly: a base that still needs specialists."""
        steps = self.recipe.dense_steps
        optimiser = torch.optim.AdamW(
            self.others, lr=self.recipe.dense_lr, weight_decay=0.01, fused=True
        )
        for step in self._steps("dense", steps, optimiser):
            inputs, labels = self._all_parts()
            self._descend(
                optimiser,
                functional.cross_entropy(self.model(inputs, Dense()).logits, labels),
                step,
            )

    def _branch(self) -> None:
        """Train every expert on its own items, sometimes through a merge."""
        steps = self.recipe.branch_steps
        groups: list[dict[str, Any]] = [
            {"params": self.others},
            {"params": self.routers, "lr": _ROUTER_LR},
        ]
        optimiser = torch.optim.AdamW(
            groups, lr=self.recipe.branch_lr, weight_decay=0.0, fused=True
        )
        for step in self._steps("branch", steps, optimiser):
            merged = float(torch.rand((), generator=self.draws)) < self.recipe.aware
            self._descend(optimiser, self._slot_loss() if merged else self._branch_loss(), step)

    def _router(self) -> None:
        """Train the routers alone."""
        optimiser = torch.optim.AdamW(self.routers, lr=_ROUTER_LR, weight_decay=0.0, fused=True)
        for step in self._steps("router", self.recipe.router_steps, optimiser):
            inputs, _ = self._all_parts()
            self._descend(optimiser, self._provenance(inputs, self.model(inputs, Group())), step)

    def _steps(self, stage: str, total: int, optimiser: torch.optim.Optimizer) -> Iterable[int]:
        """Count steps; set the rates (warm-up, then linear decay to 5 %); report progress."""
        base = [group["lr"] for group in optimiser.param_groups]
        for step in range(total):
            scale = min(1.0, (step + 1) / _WARM_UP) * max(0.05, 1.0 - step / total)
            for group, rate in zip(optimiser.param_groups, base, strict=True):
                group["lr"] = rate * scale
            yield step
            if (step + 1) % _REPORT_EVERY == 0 or step + 1 == total:
                self.progress(stage, step + 1, total)

    def _descend(self, optimiser: torch.optim.Optimizer, loss: Tensor, step: int) -> None:
        """Take one clipped step.

        Raises:
            FloatingPointError: The loss is not finite.
        """
        if not bool(loss.isfinite()):
            raise FloatingPointError(
                f"training diverged at step {step}: loss {float(loss.detach())}"
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.others, 1.0)
        optimiser.step()

    def _all_parts(self) -> tuple[Tensor, Tensor]:
        """Draw `batch` items for every expert from its own part, experts in order: E groups."""
        n = self.labels.shape[1] // self.parts
        rows = torch.randint(n, (self.experts, self.recipe.batch), generator=self.draws)
        expert = torch.arange(self.experts)[:, None]
        task, rows = expert % self.tasks, rows * self.parts + expert // self.tasks
        return self.inputs[task, rows].flatten(0, 1), self.labels[task, rows].flatten()

    def _branch_loss(self) -> Tensor:
        """Score every expert on its own items, and teach the routers where tokens came from."""
        inputs, labels = self._all_parts()
        answer = self.model(inputs, Group())
        loss = functional.cross_entropy(answer.logits, labels)
        return loss + _PROVENANCE * self._provenance(inputs, answer)

    def _slot_loss(self) -> Tensor:
        """Score a random slot of 1-3 tasks on the one expert merged with w = mix."""
        active = torch.randperm(self.tasks, generator=self.draws)
        active = active[: int(torch.randint(1, 4, (), generator=self.draws))]
        mix = torch.rand(len(active), generator=self.draws) + _MIX_FLOOR
        mix = mix / mix.sum()
        counts = (mix * (self.recipe.batch * self.experts / 2)).round().long().clamp_min(1)
        task = active.repeat_interleave(counts)
        rows = torch.randint(self.labels.shape[1], (len(task),), generator=self.draws)
        weights = torch.zeros(self.parts, self.tasks)
        weights[:, active] = mix * self._spread(len(active))
        answer = self.model(self.inputs[task, rows], Mixed(weights.flatten()))
        return functional.cross_entropy(answer.logits, self.labels[task, rows])

    def _spread(self, tasks: int) -> Tensor:
        """Draw how the experts of each task share it, evenly from the simplex, (parts, tasks)."""
        if self.parts == 1:
            return torch.ones(1, tasks)
        gaps = -torch.rand(self.parts, tasks, generator=self.draws).clamp_min(1e-12).log()
        return gaps / gaps.sum(0)

    def _provenance(self, inputs: Tensor, answer: Answer) -> Tensor:
        """Return the loss of guessing each real token's branch, summed over layers."""
        own = torch.arange(self.experts).repeat_interleave(len(inputs) // self.experts)
        tokens = self.model.shape.kind == "tokens"
        loss = torch.zeros(())
        for router in answer.router:
            target = own[:, None].expand(router.shape[:2])
            real = inputs != PAD if tokens else torch.ones_like(target, dtype=torch.bool)
            loss = loss + functional.cross_entropy(router[real], target[real])
        return loss
