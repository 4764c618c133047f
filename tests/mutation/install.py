"""Puts mutated code into a running interpreter: function by function, or while it is imported.

Swapping a function's code object needs no new import, so that a forked child of an interpreter
which has collected all tests starts at once. Functions that run only while their module is
imported (tables of presets) need the second way.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tests.mutation.rule import definitions, path_of


def compiled(module: str, tree: ast.Module) -> CodeType:
    """Compile a tree as if it were the module's source."""
    return compile(tree, str(path_of(module)), "exec", dont_inherit=True)


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of every function that is no nested one."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_flags & 0x2:  # CO_NEWLOCALS: a function, not a class body
                yield const
            else:
                yield from codes(const)


def same(left: CodeType, right: CodeType) -> bool:
    """Say whether two code objects do the same, by instructions, names and constants."""
    mine, other = left.co_consts, right.co_consts
    if left.co_code != right.co_code or left.co_names != right.co_names or len(mine) != len(other):
        return False
    return all(
        same(a, b)
        if isinstance(a, CodeType) and isinstance(b, CodeType)
        else (type(a), repr(a)) == (type(b), repr(b))
        for a, b in zip(mine, other, strict=True)
    )


def function_of(module: ModuleType, code: CodeType) -> FunctionType:
    """Return the function that a code object belongs to.

    Raises:
        LookupError: It is not there, or not a plain function.
    """
    found: Any = module
    for part in code.co_qualname.split("."):
        found = vars(found)[part]
    inner = [found, *(getattr(found, name, None) for name in _WRAPPERS)]
    for candidate in inner:
        if isinstance(candidate, FunctionType) and candidate.__code__.co_name == code.co_name:
            return candidate
    raise LookupError(f"{module.__name__}: no function {code.co_qualname}")


_WRAPPERS = ("fget", "fset", "func", "__func__", "__wrapped__")


def swap(module: str, tree: ast.Module) -> list[str]:
    """Give the functions of an imported module the code of a mutated tree.

    Returns:
        Names of the functions whose code changed.
    """
    changed, home = [], sys.modules[module]
    for code in codes(compiled(module, tree)):
        if code.co_name == "<lambda>":
            continue
        function = function_of(home, code)
        if same(function.__code__, code):
            continue
        if function.__code__.co_freevars != code.co_freevars:
            again = codes(compiled(module, _closing(tree, function)))
            function.__code__ = next(c for c in again if c.co_qualname == code.co_qualname)
        else:
            function.__code__ = code
        changed.append(code.co_qualname)
    return changed


def _closing(tree: ast.Module, function: FunctionType) -> ast.Module:
    """Let a function name its closure's variables although it no longer reads them."""
    for qualname, node in definitions(tree):
        if qualname == function.__qualname__:
            names: list[ast.expr] = [ast.Name(n, ast.Load()) for n in function.__code__.co_freevars]
            node.body.append(ast.If(ast.Constant(0), [ast.Expr(ast.Tuple(names, ast.Load()))], []))
    return ast.fix_missing_locations(tree)


class _Loader(SourceFileLoader):
    tree: ast.Module

    def get_code(self, fullname: str) -> CodeType:
        return compiled(fullname, self.tree)


class Finder(MetaPathFinder):
    """Imports one module from a mutated tree.

    Args:
        module: The module.
        tree: Its mutated tree.
    """

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.module, self.tree = module, tree

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Find the module that is mutated, and no other."""
        if name != self.module:
            return None
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None
        loader = _Loader(name, str(path_of(name)))
        loader.tree = self.tree
        spec.loader = loader
        return spec


def hook(module: str, tree: ast.Module) -> None:
    """Let the next import of a module take a mutated tree."""
    if module in sys.modules:
        raise RuntimeError(f"{module} is imported already")
    sys.meta_path.insert(0, Finder(module, tree))
