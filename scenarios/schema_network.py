"""The network's words: links, topologies and transport."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.schema_types import (
    Bandwidth,
    Loss,
    Name,
    Positive,
    PositiveCount,
    PositiveShare,
    Seconds,
    Words,
)

Sharing: TypeAlias = Literal["fifo", "fair", "none"]
_SHARING = (
    "fifo: one transfer at a time; fair: all at once, rates max-min fair along runs of fair links;"
    " none: no contention."
)
_LOSS = "Probability that a try of a transfer is lost; see `transport`."
Between: TypeAlias = Annotated[tuple[Name, ...], Field(min_length=2, max_length=2)]


class Way(Words):
    """What one direction of a link has of its own."""

    delay_s: Seconds | None = Field(None, alias="delay", description="Propagation delay.")
    bytes_per_s: Bandwidth | None = Field(None, alias="bandwidth", description="Bandwidth.")
    sharing: Sharing | None = Field(None, description=_SHARING)
    loss: Loss | None = Field(None, description=_LOSS)


class Link(Words):
    """A link, the same in both directions."""

    delay_s: Seconds = Field(alias="delay", description="Propagation delay.")
    bytes_per_s: Bandwidth = Field(math.inf, alias="bandwidth", description="Bandwidth.")
    sharing: Sharing = Field("fifo", description=_SHARING)
    loss: Loss = Field(0.0, description=_LOSS, examples=[0.02])


class TwoWayLink(Link):
    """A link whose directions may differ; up is towards the hub, the root, or the second node."""

    up: Way | None = Field(None, description="What the way up has of its own.")
    down: Way | None = Field(None, description="What the way down has of its own.")


class Connection(TwoWayLink):
    """Links between two nodes, or between all nodes of two groups."""

    between: Between = Field(description="Two nodes or groups.", examples=[["edge", "cloud-0"]])


class _Topology(Words):
    extra: tuple[Connection, ...] = Field((), description="Links besides those of the kind.")


class _Shaped(_Topology):
    over: tuple[Name, ...] = Field((), description="Groups that take part; all when left out.")


class Explicit(_Topology):
    """The links in the list, and no others."""

    kind: Literal["explicit"]
    links: tuple[Connection, ...] = Field((), description="All links.")


class Star(_Shaped):
    """Every node has one link, to the hub."""

    kind: Literal["star"]
    hub: Name = Field(description="A node, or a group of one.", examples=["cloud"])
    link: TwoWayLink = Field(description="Link of each leaf; up is towards the hub.")


class Tree(_Shaped):
    """Every node has `branching` children, in file order below the root."""

    kind: Literal["tree"]
    root: Name = Field(description="A node, or a group of one.", examples=["cloud"])
    branching: PositiveCount = Field(2, description="Children per node.")
    link: TwoWayLink = Field(description="Link of each node to its parent; up is towards the root.")


class Ring(_Shaped):
    """Every node has a link to the next in file order, the last to the first."""

    kind: Literal["ring"]
    link: Link = Field(description="Each link.")


class BarabasiAlbert(_Shaped):
    """Preferential attachment: nodes join in file order, each with m links; drawn from the seed."""

    kind: Literal["barabasi-albert"]
    m: PositiveCount = Field(2, description="Links that each joining node brings.")
    link: Link = Field(description="Each link.")


class Grid(_Shaped):
    """Nodes in file order fill rows of `width`; links join neighbours in a row and in a column."""

    kind: Literal["grid"]
    width: PositiveCount = Field(description="Nodes per row; the last row may be shorter.")
    link: Link = Field(description="Each link.")


class Waxman(_Shaped):
    """Nodes at random places: the nearer, the likelier a link; connected, drawn from the seed."""

    kind: Literal["waxman"]
    alpha: Positive = Field(0.4, description="Reach of links, as a share of the largest distance.")
    beta: PositiveShare = Field(0.6, description="Probability of a link at distance 0.")
    link: Link = Field(description="Each link.")


class GraphML(_Topology):
    """The undirected edges of a GraphML file beside the scenario.

    Its nodes are named, by id or `label`, as in the scenario. An edge may have its own `delay` and
    `bandwidth`, texts with units.
    """

    kind: Literal["graphml"]
    file: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Path relative to the scenario's folder.", examples=["metro.graphml"]
    )
    link: Link = Field(description="Each link, where its edge says nothing else.")


Topology: TypeAlias = Annotated[
    Explicit | Star | Tree | Ring | BarabasiAlbert | Grid | Waxman | GraphML,
    Field(discriminator="kind"),
]


class Transport(Words):
    """How often a node tries to pass a transfer on to the next one."""

    tries: Annotated[PositiveCount, Field(le=100)] = Field(
        1,
        description="Tries per hop; one fails when lost, when the link is down or no way leads on.",
    )
    backoff_s: Seconds = Field(
        0.0,
        alias="backoff",
        description="Wait before the second try; it doubles each time.",
    )
