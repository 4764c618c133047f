"""Suite `stream`: eight tenants ask eight different questions of the same kind of sentence.

Sentences come from a small grammar; each carries all eight attributes. Each tenant has its own
question, its own order of the four answer words, and its own lexicon; a share `overlap` of the
content words is common to all. No tag says who asks: the only cue is the lexicon. Everything here
is synthetic, and the documentation says so.

Source: own construction, after the probing tasks of SentEval (Conneau and Kiela 2018). Deviation:
artificial words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agents.moe.suites.suite import Split, Suite
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.moe.recipe import Recipe
    from sim.arrays import AnyArray, IntArray

TASKS = ("sentiment", "topic", "clause", "number", "answers", "form", "object", "mood")
CLASSES = 4
TOKENS = 16  # the longest sentence, CLS included
_NOUNS, _VERBS, _ADJECTIVES = 8, 5, 4  # stems per lexicon; adjectives of each sign
_SHARED = len(TASKS)  # the lexicon common to all tenants
_FUNCTION = (
    "<pad>",
    "<cls>",
    "##s",
    "##ed",
    "this",
    "these",
    "at",
    "during",
    "because",
    "by",
    "but",
    "is",
    "not",
)
_STEMS = _NOUNS + _VERBS + 2 * _ADJECTIVES
VOCAB = len(_FUNCTION) + (_SHARED + 1) * _STEMS
_WORD = {word: i for i, word in enumerate(_FUNCTION)}
_LINKS = ("at", "during", "because", "by")
_SPARE = 1.02  # drawn in excess, to replace the few sentences that occur in another split


def build(recipe: Recipe) -> Suite:
    """Draw the three splits; no sentence occurs in two of them."""
    sizes = {
        "service": recipe.service_items,
        "calibration": recipe.calibration_items,
        "train": recipe.train_items,
    }
    taken: set[bytes] = set()
    splits = {name: _split(recipe, name, items, taken) for name, items in sizes.items()}
    return Suite("stream", TASKS, "tokens", VOCAB, 0, TOKENS, CLASSES, **splits)


def render(tokens: AnyArray) -> str:
    """Write a sentence out, for people; stems read as kind, number and lexicon."""
    return " ".join(_name(int(t)) for t in tokens if t != _WORD["<pad>"])


def _name(token: int) -> str:
    """Name one token."""
    if token < len(_FUNCTION):
        return _FUNCTION[token]
    lexicon, stem = divmod(token - len(_FUNCTION), _STEMS)
    owner = "common" if lexicon == _SHARED else f"tenant{lexicon}"
    for kind, count in (
        ("noun", _NOUNS),
        ("verb", _VERBS),
        ("good", _ADJECTIVES),
        ("bad", _ADJECTIVES),
    ):
        if stem < count:
            return f"{kind}{stem}.{owner}"
        stem -= count
    raise AssertionError("unreachable: stems are exhausted")


def _split(recipe: Recipe, name: str, items: int, taken: set[bytes]) -> Split:
    """Draw one split of all tasks and add its sentences to those taken."""
    streams = Streams(recipe.data_seed)
    inputs = np.zeros((len(TASKS), items, TOKENS), np.uint8)
    labels = np.zeros((len(TASKS), items), np.uint8)
    fresh: list[bytes] = []
    for t in range(len(TASKS)):
        rng = streams.stream("suite", "stream", name, t)
        code = streams.stream("suite", "stream", "code", t).permutation(CLASSES)
        sentences, answers = _draw(rng, t, recipe.overlap, int(items * _SPARE) + 16)
        rows = [i for i, s in enumerate(sentences) if s.tobytes() not in taken][:items]
        inputs[t], labels[t] = sentences[rows], code[answers[rows]]
        fresh += [sentences[i].tobytes() for i in rows]
    taken.update(fresh)
    return Split(inputs, labels)


def _draw(rng: np.random.Generator, task: int, overlap: float, n: int) -> tuple[AnyArray, IntArray]:
    """Draw n sentences of one tenant and the answers to its question."""
    facts = _facts(rng, n)
    words = _words(rng, facts, task, overlap)
    sentences = np.zeros((n, TOKENS), np.uint8)
    for i in range(n):
        sentence = _sentence({k: int(v[i]) for k, v in facts.items()}, words[i])
        sentences[i, : len(sentence)] = sentence
    return sentences, _answers(facts)[TASKS[task]]


def _facts(rng: np.random.Generator, n: int) -> Mapping[str, IntArray]:
    """Draw the attributes of n sentences."""
    coins = ("plural", "object_plural", "past", "positive")
    facts = {name: rng.integers(2, size=n) for name in coins}
    facts["negated"] = (rng.random(n) < 0.4).astype(np.int64)
    for name in ("subject_topic", "object_topic", "link"):
        facts[name] = rng.integers(4, size=n)
    return facts


def _answers(facts: Mapping[str, IntArray]) -> Mapping[str, IntArray]:
    """Answer all eight questions of each sentence."""
    sentiment = facts["positive"] ^ facts["negated"]
    return {
        "sentiment": sentiment,
        "topic": facts["subject_topic"],
        "clause": 2 * facts["past"] + facts["object_plural"],
        "number": 2 * facts["plural"] + facts["object_plural"],
        "answers": facts["link"],
        "form": 2 * facts["negated"] + facts["plural"],
        "object": facts["object_topic"],
        "mood": 2 * sentiment + facts["past"],
    }


def _words(
    rng: np.random.Generator, facts: Mapping[str, IntArray], task: int, overlap: float
) -> IntArray:
    """Draw subject, verb, object, place, adjective, (n, 5), from the own or common lexicon."""
    n = len(facts["past"])
    lexicon = np.where(rng.random((n, 5)) < overlap, _SHARED, task)
    stem = np.stack(
        [
            2 * facts["subject_topic"] + rng.integers(2, size=n),
            _NOUNS + rng.integers(_VERBS, size=n),
            2 * facts["object_topic"] + rng.integers(2, size=n),
            _NOUNS + rng.integers(_VERBS, size=n),
            _NOUNS
            + _VERBS
            + _ADJECTIVES * (1 - facts["positive"])
            + rng.integers(_ADJECTIVES, size=n),
        ],
        axis=1,
    )
    return len(_FUNCTION) + lexicon * _STEMS + stem


def _noun_phrase(noun: int, plural: int) -> list[int]:
    """Return determiner and noun, marked for number."""
    return [_WORD["these"], noun, _WORD["##s"]] if plural else [_WORD["this"], noun]


def _verb_phrase(verb: int, plural: int, past: int) -> list[int]:
    """Return a verb that agrees with its subject."""
    if past:
        return [verb, _WORD["##ed"]]
    return [verb] if plural else [verb, _WORD["##s"]]


def _sentence(fact: Mapping[str, int], words: IntArray) -> list[int]:
    """Assemble: CLS, subject, verb, object, link, place, "but is (not)", adjective."""
    subject, verb, thing, place, adjective = (int(w) for w in words)
    return [
        _WORD["<cls>"],
        *_noun_phrase(subject, fact["plural"]),
        *_verb_phrase(verb, fact["plural"], fact["past"]),
        *_noun_phrase(thing, fact["object_plural"]),
        _WORD[_LINKS[fact["link"]]],
        *_noun_phrase(place, 0),
        _WORD["but"],
        _WORD["is"],
        *([_WORD["not"]] if fact["negated"] else []),
        adjective,
    ]
