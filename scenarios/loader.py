"""From a scenario file to a checked Scenario, or to every problem at once.

A reference is the path of a file or the name of a bundled scenario. Nothing here loads torch, Ray
or a plug-in, or builds a simulation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from scenarios import overrides as settings
from scenarios import (
    paths,
    schema_checks,
    schema_checks_faults,
    schema_checks_load,
    schema_checks_model,
    schema_checks_physics,
    schema_checks_traces,
    yaml_marks,
)
from scenarios.problems import Problem, ScenarioError
from scenarios.schema import Origin, Scenario
from scenarios.schema_errors import problems as schema_problems
from scenarios.schema_names import Names
from sim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scenarios.schema_checks import Check, Finding
    from scenarios.yaml_marks import Document

LIBRARY = Path(__file__).with_name("library")
TEMPLATE = Path(__file__).with_name("template.yaml")
_NOT_HASHED = ("policies", "seed", "assert")
_SUFFIXES = (".yaml", ".yml")
# What stands in for sections that are wrong, so that the others can still be checked.
_STAND_IN: Mapping[str, Any] = {
    "name": "x",
    "duration": "1 h",
    "model": "none",
    "nodes": [{"group": "x"}],
    "streams": [{"at": "x", "arrivals": {"kind": "poisson", "rate": "1 /s"}}],
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `check` tells: the scenario where it can be used, and every problem, in file order."""

    file: str
    scenario: Scenario | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Return the problems that stop a run."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Return the problems that are only told."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")


def bundled() -> dict[str, Path]:
    """Return the bundled scenarios: name -> file, by name."""
    return {path.stem: path for path in sorted(LIBRARY.glob("*.yaml"))}


def question(file: Path) -> str:
    """Return what a bundled scenario asks: its first comment that is no editor's line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = [line.lstrip("# ") for line in lines if line.startswith("#")]
    return next((text for text in comments if not text.startswith("yaml-language-server")), "")


def load(reference: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Load a scenario.

    Args:
        reference: Path of a file, or name of a bundled scenario.
        overrides: Texts `key=value`, applied before anything is checked.

    Raises:
        ScenarioError: With every problem, sorted by line.
    """
    return _usable(diagnose(reference, overrides))


def loads(
    text: str, overrides: Sequence[str] = (), *, file: str = "<text>", folder: Path | None = None
) -> Scenario:
    """Load a scenario from text.

    Args:
        text: YAML.
        overrides: Texts `key=value`.
        file: Name for messages.
        folder: Where its relative paths start; the working folder when left out.

    Raises:
        ScenarioError: With every problem, sorted by line.
    """
    return _usable(_diagnose(text, overrides, file, folder or Path()))


def diagnose(reference: str | Path, overrides: Sequence[str] = ()) -> Diagnosis:
    """Do what `load` does, and return the problems instead of raising them."""
    file = str(reference) if str(reference).isprintable() else repr(str(reference))
    try:
        path = find(str(reference))
        text = yaml_marks.read_text(str(path), file)
    except ScenarioError as error:
        return Diagnosis(file, None, error.problems)
    return _diagnose(text, overrides, file, path.parent)


def find(reference: str) -> Path:
    """Return the file that a reference names.

    Raises:
        ScenarioError: Neither a file nor a bundled scenario; offers the nearest name.
    """
    library = bundled()
    if reference in library:
        return library[reference]
    path, shown = Path(reference), reference if reference.isprintable() else repr(reference)
    try:
        if path.exists() or path.suffix in _SUFFIXES or len(path.parts) > 1:
            return path
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ScenarioError([Problem(shown[:80], None, (), f"cannot read it: {said}")]) from None
    said = str(UnknownName("bundled scenario", reference[:80], library))
    raise ScenarioError([Problem(shown, None, (), f"no such file, and {said}")])


def resolved(scenario: Scenario) -> str:
    """Return every value in effect as YAML that loads to an equal scenario."""
    words = scenario.words()
    text = yaml.dump(words, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return str(text)


def scenario_hash(scenario: Scenario) -> str:
    """Return 8 hex digits of the resolved scenario without policies, seed and assertions.

    The contents of traces and of a topology's file count too.
    """
    words = {key: value for key, value in scenario.words().items() if key not in _NOT_HASHED}
    state = sha256(json.dumps(words, sort_keys=True, separators=(",", ":")).encode())
    for path in paths.data_files(scenario):
        state.update(sha256(path.read_bytes()).digest())
    return state.hexdigest()[:8]


def source_text(scenario: Scenario) -> str:
    """Return the text of the file that a scenario came from, overrides not applied."""
    return scenario.origin.text


def _usable(diagnosis: Diagnosis) -> Scenario:
    if diagnosis.scenario is None or diagnosis.errors:
        raise ScenarioError(diagnosis.errors)
    return diagnosis.scenario


def _diagnose(text: str, overrides: Sequence[str], file: str, folder: Path) -> Diagnosis:
    origin = Origin(file, folder, text, tuple(overrides))
    try:
        document = yaml_marks.parse(text, file)
        _refuse_no_mapping(document)
        settings.apply(document, overrides)
    except ScenarioError as error:
        return Diagnosis(file, None, error.problems)
    scenario, found = _validate(document, origin)
    found = sorted([*document.problems, *found], key=lambda problem: problem.order)
    diagnosis = Diagnosis(file, scenario, tuple(found))
    if scenario is None or diagnosis.errors:
        return Diagnosis(file, None, diagnosis.problems)
    warned = Origin(file, folder, text, tuple(overrides), diagnosis.warnings)
    return Diagnosis(file, scenario.with_origin(warned), diagnosis.problems)


def _refuse_no_mapping(document: Document) -> None:
    if isinstance(document.data, dict):
        return
    found = "nothing" if document.data is None else f"a {type(document.data).__name__}"
    said = f"expected a mapping with the keys of a scenario, found {found}"
    raise ScenarioError([document.problem((), said)])


def _validate(document: Document, origin: Origin) -> tuple[Scenario | None, list[Problem]]:
    try:
        scenario = Scenario.model_validate(document.data).with_origin(origin)
        return scenario, _check(scenario, document, frozenset())
    except ValidationError as error:
        details = error.errors(include_url=False)
    wrong = frozenset(str(detail["loc"][0]) for detail in details if detail["loc"])
    found = schema_problems(Scenario, document, details)
    data = {key: value for key, value in document.data.items() if key not in wrong}
    try:
        partial = Scenario.model_validate({**_STAND_IN, **data}).with_origin(origin)
    except ValidationError:
        return None, found
    return None, found + _check(partial, document, wrong)


_MODULES = (schema_checks_load, schema_checks_faults, schema_checks_physics, schema_checks_traces)


def _check(scenario: Scenario, document: Document, wrong: frozenset[str]) -> list[Problem]:
    """Return what the schema could not see, in the sections that are right so far."""
    names = Names(scenario.nodes)
    found: list[Finding] = []
    _run(schema_checks.REFERENCES, scenario, names, wrong, found)
    if not found:
        for module in _MODULES:
            _run(module.CHECKS, scenario, names, wrong, found)
    _run(schema_checks.CHECKS, scenario, names, wrong, found)
    _run(schema_checks_faults.TIMES, scenario, names, wrong, found)
    found += _check_model(scenario, wrong)
    return [document.problem(f.path, f.text, warning=f.warning) for f in found]


def _run(
    checks: tuple[tuple[frozenset[str], Check], ...],
    scenario: Scenario,
    names: Names,
    wrong: frozenset[str],
    found: list[Finding],
) -> None:
    for needs, check in checks:
        if not needs & wrong:
            found += check(scenario, names)


def _check_model(scenario: Scenario, wrong: frozenset[str]) -> Iterable[Finding]:
    try:
        card = None if "model" in wrong else paths.card(scenario)
    except InputError:
        card = None  # told by its own check
    for needs, check in schema_checks_model.CHECKS:
        if not needs & wrong:
            yield from check(scenario, card)


class _Dumper(yaml.SafeDumper):
    """Writes what our reader reads: text that YAML 1.2 would take for a number gets quotes."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if yaml_marks.scalar(text) is text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _number(dumper: yaml.SafeDumper, number: float) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:float", repr(number))


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)
