"""Routers: one file per learner, one row per name; a row is a string, so checking stays light."""

from __future__ import annotations

from sim.registry import Registry

ROUTERS = Registry(
    "router",
    {
        "best-fixed": "agents.routers.static:BestFixed",
        "best-oracle": "agents.routers.oracle:BestOracle",
        "hct": "agents.routers.hct:Hct",
        "hoo": "agents.routers.hoo:Hoo",
        "lin-ucb": "agents.routers.bandits.lin_ucb:LinUcb",
        "meo": "agents.routers.blend:Meo",
        "mix-oracle": "agents.routers.oracle:MixOracle",
        "neural-ts": "agents.routers.bandits.neural_ts:NeuralTS",
        "nucb": "agents.routers.bandits.nucb:Nucb",
        "random": "agents.routers.static:RandomWeights",
        "reinforce": "agents.routers.reinforce:Reinforce",
        "rff-ucb": "agents.routers.bandits.rff_ucb:RffUcb",
        "single": "agents.routers.static:BestSingle",
        "smear": "agents.routers.blend:Smear",
        "tanbr": "agents.routers.tanbr.router:Tanbr",
        "task-inferred": "agents.routers.by_task:TaskInferred",
        "task-oracle": "agents.routers.by_task:TaskOracle",
        "top-k": "agents.routers.static:TopKPlan",
        "top1": "agents.routers.static:Top1",
        "top1-capacity": "agents.routers.static:Top1Capacity",
        "top2": "agents.routers.static:Top2",
        "uniform": "agents.routers.static:Uniform",
    },
)
