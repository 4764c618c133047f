"""The compact Mixture-of-Experts encoder: experts are 3-D parameters, every FFN is an MoE layer.

Letters in shapes: B inputs, T tokens, D width, F hidden units of an expert, H heads, E experts, C
answer classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.moe.gates import blend, choose, seats
from agents.moe.merge import merge
from sim.errors import InputError, ShapeError

if TYPE_CHECKING:
    from agents.moe.cards import ModelShape

PAD = 0


@dataclass(frozen=True, slots=True)
class Dense:
    """The mean of all experts serves: any expert, while they are tied."""


@dataclass(frozen=True, slots=True)
class Group:
    """The batch is E equal groups; group e visits expert e (branch training, one bmm)."""


@dataclass(frozen=True, slots=True)
class One:
    """One expert serves every token."""

    expert: int


@dataclass(frozen=True, slots=True)
class Gated:
    """Every token visits its k best experts; gates are renormalised over the k.

    With a capacity, tokens over an expert's share of the batch skip it.
    """

    k: int
    capacity: float | None = None


@dataclass(frozen=True, slots=True)
class Blended:
    """Every request is served by its own merge of its k best experts, in each layer anew."""

    k: int


@dataclass(frozen=True, slots=True)
class Mixed:
    """One merged expert per layer serves every token, weights (E,) shared by all layers."""

    weights: Tensor


Route: TypeAlias = Dense | Group | One | Gated | Blended | Mixed
Choice: TypeAlias = tuple[Tensor, Tensor]  # gates and expert ids, both (..., k)
Ffn: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]  # (D, F), (F,), (F, D), (D,)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a forward pass yields: logits (B, C); router logits per layer (B, T, E) if routed."""

    logits: Tensor
    router: tuple[Tensor, ...]


class Linear(nn.Linear):
    """A linear layer that is born unset: torch would fill it from its global generator."""

    def reset_parameters(self) -> None:
        """Leave the parameters to `initialise` or to a checkpoint."""


class Embedding(nn.Embedding):
    """An embedding that is born unset, for the same reason."""

    def reset_parameters(self) -> None:
        """Leave the parameters to `initialise` or to a checkpoint."""


def _draw(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    """Fill a parameter with normal draws."""
    with torch.no_grad():
        parameter.normal_(0.0, std, generator=generator)


def apply_ffn(x: Tensor, ffn: Ffn) -> Tensor:
    """Run one expert over any batch of tokens, (..., D) -> (..., D)."""
    w1, b1, w2, b2 = ffn
    return functional.linear(functional.gelu(functional.linear(x, w1.t(), b1)), w2.t(), b2)


class MoELayer(nn.Module):
    """E feed-forward experts and a linear per-token router."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        e, d, f = shape.experts, shape.d_model, shape.d_ff
        self.experts = e
        self.w1 = nn.Parameter(torch.empty(e, d, f))
        self.b1 = nn.Parameter(torch.empty(e, f))
        self.w2 = nn.Parameter(torch.empty(e, f, d))
        self.b2 = nn.Parameter(torch.empty(e, d))
        self.router = Linear(d, e, bias=False)

    def initialise(self, generator: torch.Generator) -> None:
        """Start with E equal experts (they are tied through the dense phase) and a small router."""
        _, d, f = self.w1.shape
        with torch.no_grad():
            self.w1.copy_(torch.randn(d, f, generator=generator) * d**-0.5)
            self.w2.copy_(torch.randn(f, d, generator=generator) * (0.5 * f**-0.5))
            self.b1.zero_()
            self.b2.zero_()
        _draw(self.router.weight, (3 * d) ** -0.5, generator)

    def stacked(self) -> Ffn:
        """Return the experts' parameters, first axis E."""
        return self.w1, self.b1, self.w2, self.b2

    def merged(self, weights: Tensor) -> Ffn:
        """Average the experts with weights (E,)."""
        w1, b1, w2, b2 = (merge(p, weights) for p in self.stacked())
        return w1, b1, w2, b2

    def forward(self, x: Tensor, route: Route, router: Tensor | None = None) -> Tensor:
        """Map tokens (B, T, D); `router` holds the logits (B, T, E) of a gated route."""
        if isinstance(route, Group):
            return self._grouped(x)
        if isinstance(route, Gated):
            if router is None:
                raise ShapeError("a gated route needs router logits")
            return self.gated(x, choose(router, self.check(route.k)))
        if isinstance(route, Blended):
            raise ShapeError("a blend needs its weights; see `blended`")
        return apply_ffn(x, self._single(route))

    def check(self, k: int) -> int:
        """Return k.

        Raises:
            InputError: There are fewer experts.
        """
        if not 1 <= k <= self.experts:
            raise InputError(f"top-k: expected 1 <= k <= {self.experts} experts, found {k}")
        return k

    def _single(self, route: Dense | One | Mixed) -> Ffn:
        """Return the one expert that a route without a choice per token amounts to."""
        w1, b1, w2, b2 = self.stacked()
        if isinstance(route, One):
            e = route.expert
            return w1[e], b1[e], w2[e], b2[e]
        if isinstance(route, Dense):
            return w1.mean(0), b1.mean(0), w2.mean(0), b2.mean(0)
        return self.merged(route.weights)

    def _grouped(self, x: Tensor) -> Tensor:
        """Send group e of the batch through expert e."""
        h = x.reshape(self.experts, -1, x.shape[-1])
        h = functional.gelu(torch.baddbmm(self.b1[:, None], h, self.w1))
        return torch.baddbmm(self.b2[:, None], h, self.w2).reshape(x.shape)

    def gated(self, x: Tensor, choice: Choice) -> Tensor:
        """Gather each expert's tokens of (B, T, D), run it once, scatter back."""
        tokens = x.reshape(-1, x.shape[-1])
        gates, ids = (part.reshape(len(tokens), -1) for part in choice)
        out = torch.zeros_like(tokens)
        for e in range(self.experts):
            rows, slot = (ids == e).nonzero(as_tuple=True)
            if len(rows):
                out.index_add_(
                    0, rows, apply_ffn(tokens[rows], self._single(One(e))) * gates[rows, slot, None]
                )
        return out.reshape(x.shape)

    def blended(self, x: Tensor, weights: Tensor) -> Tensor:
        """Run each request of (B, T, D) through its own merge, weights (B, E)."""
        w1, b1, w2, b2 = (merge(p, weights) for p in self.stacked())
        h = functional.gelu(torch.baddbmm(b1[:, None], x, w1))
        return torch.baddbmm(b2[:, None], h, w2)


class Block(nn.Module):
    """One pre-norm transformer block: self-attention, then an MoE layer."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        d = shape.d_model
        self.heads = shape.heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = Linear(d, 3 * d), Linear(d, d)
        self.moe = MoELayer(shape)

    def initialise(self, generator: torch.Generator) -> None:
        """Fill the block's parameters (the norms start at 1 and 0)."""
        for layer in (self.qkv, self.out):
            _draw(layer.weight, (3 * layer.in_features) ** -0.5, generator)
            nn.init.zeros_(layer.bias)
        self.moe.initialise(generator)

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Add self-attention to (B, T, D); mask (B, 1, 1, T) is True where a token is real."""
        b, t, d = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return x + cast("Tensor", self.out(mixed.transpose(1, 2).reshape(b, t, d)))

    def forward(
        self, x: Tensor, mask: Tensor | None, route: Route, keep: int
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output of the first `keep` tokens, and router logits of all tokens if any."""
        x = self.attend(x, mask)
        normed = self.norm2(x)
        routed = isinstance(route, Group | Gated | Blended)
        router = self.moe.router(normed) if routed else None
        real = None if mask is None else mask[:, 0, 0]
        return x[:, :keep] + self._experts(normed, router, real, route, keep), router

    def _experts(
        self, normed: Tensor, router: Tensor | None, real: Tensor | None, route: Route, keep: int
    ) -> Tensor:
        """Run the first `keep` tokens; what is chosen may depend on all, `real` (B, T) or not."""
        kept, moe = normed[:, :keep], self.moe
        if router is not None and isinstance(route, Blended):
            return moe.blended(kept, blend(router, real, moe.check(route.k)))
        if router is not None and isinstance(route, Gated) and route.capacity is not None:
            gates, ids = choose(router, moe.check(route.k))
            ids = seats(ids, real, moe.experts, route.capacity)
            return moe.gated(kept, (gates[:, :keep], ids[:, :keep]))
        return cast("Tensor", moe(kept, route, None if router is None else router[:, :keep]))


class Encoder(nn.Module):
    """Embedding, blocks and an answer head on the CLS position.

    Args:
        shape: The sizes.
        generator: Draws the initial parameters; without it they are left unset, to be loaded.
    """

    def __init__(self, shape: ModelShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        d = shape.d_model
        self.shape = shape
        tokens = shape.kind == "tokens"
        self.embed: nn.Module = Embedding(shape.vocab, d) if tokens else Linear(shape.patch, d)
        self.cls = nn.Parameter(torch.zeros(0 if tokens else d))
        self.position = nn.Parameter(torch.empty(shape.tokens, d))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm, self.head = nn.LayerNorm(d), Linear(d, shape.classes)
        if generator is not None:
            self._initialise(generator)

    def _initialise(self, generator: torch.Generator) -> None:
        """Fill all parameters from one generator."""
        _draw(self.position, 0.3, generator)
        weight = cast("Tensor", self.embed.weight)
        _draw(weight, 0.5 if self.shape.kind == "tokens" else weight.shape[1] ** -0.5, generator)
        if isinstance(self.embed, nn.Linear):
            nn.init.zeros_(self.embed.bias)
        for block in self.layers():
            block.initialise(generator)
        _draw(self.head.weight, (3 * self.head.in_features) ** -0.5, generator)
        nn.init.zeros_(self.head.bias)

    def layers(self) -> list[Block]:
        """Return the blocks, typed."""
        return [cast("Block", block) for block in self.blocks]

    def features(self, inputs: Tensor) -> Tensor:
        """Embed raw inputs without positions: ids (B, T) or 8-bit patches -> (B, *, D)."""
        if self.shape.kind == "tokens":
            return cast("Tensor", self.embed(inputs.long()))
        # Sensors store 8 bits over [-0.5, 1.5]: an image in [0, 1] and the tenant's texture on top.
        return cast("Tensor", self.embed(inputs.float() / 127.5 - 0.5))

    def mask(self, inputs: Tensor) -> Tensor | None:
        """Return where tokens are real, (B, 1, 1, T), or None if all are."""
        return (inputs != PAD)[:, None, None, :] if self.shape.kind == "tokens" else None

    def start(self, inputs: Tensor) -> Tensor:
        """Return the first block's input, (B, T, D)."""
        h = self.features(inputs)
        if self.shape.kind == "patches":
            h = torch.cat([self.cls.expand(len(h), 1, -1), h], 1)
        return h + self.position

    def answer(self, x: Tensor) -> Tensor:
        """Map the last block's CLS row, (B, D), to logits (B, C)."""
        return cast("Tensor", self.head(self.norm(x)))

    def forward(self, inputs: Tensor, route: Route, full: bool = False) -> Answer:
        """Run the model.

        The answer reads the CLS row only, so the last block's experts serve that row alone unless
        `full` asks for every token; the logits are the same.

        Args:
            inputs: 8-bit or integer inputs, (B, T) tokens or (B, T-1, patch).
            route: How tokens meet experts.
            full: Run the last block's experts on every token.
        """
        x, mask = self.start(inputs), self.mask(inputs)
        routers: list[Tensor] = []
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            x, router = block(x, mask, route, 1 if i == last and not full else x.shape[1])
            if router is not None:
                routers.append(router)
        return Answer(self.answer(x[:, 0]), tuple(routers))


def expert_params(shape: ModelShape) -> int:
    """Count the parameters of one expert of one layer."""
    return 2 * shape.d_model * shape.d_ff + shape.d_ff + shape.d_model


def backbone_params(model: Encoder) -> int:
    """Count the parameters that are not an expert's; routers are backbone."""
    total = sum(p.numel() for p in model.parameters())
    return total - model.shape.layers * model.shape.experts * expert_params(model.shape)
