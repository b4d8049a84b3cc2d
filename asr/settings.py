"""Frozen dataclasses ↔ JSON objects and ``section.key=value`` overrides; unknown keys are refused by name."""

import ast
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, get_args, get_type_hints

from asr.errors import UsageError, did_you_mean

T = TypeVar("T")


def to_dict(settings: Any) -> dict[str, Any]:
    """Return a dataclass as an object for JSON, tuples as lists."""
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings) if field.init}


def from_dict(cls: type[T], values: Mapping[str, Any], section: str) -> T:
    """Return the dataclass `cls` that `to_dict` wrote; absent keys take their defaults.

    Raises
    ------
    UsageError
        If a key is unknown, or a value is not of its field's type or range; `section` names it.
    """
    types = get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise UsageError(f"{section}: unknown key {key!r}{did_you_mean(key, known)}")
        checked[key] = _typed(value, types[key], f"{section}.{key}")
    return cls(**checked)


def check_types(settings: Any, section: str) -> None:
    """Refuse a dataclass whose values are not of their fields' types, in its ``__post_init__``; integers become floats.

    Parameters
    ----------
    settings : dataclass
    section : str
        What its fields are called by in messages, such as ``"training"``; empty for the outermost.

    Raises
    ------
    UsageError
        Naming the field; also if a float is not finite.
    """
    types = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        name = f"{section}.{field.name}" if section else field.name
        value = getattr(settings, field.name)
        if not dataclasses.is_dataclass(value):
            value = _typed(value, types[field.name], name)
            object.__setattr__(settings, field.name, value)
        if any(isinstance(part, float) and not math.isfinite(part) for part in _parts(value)):
            raise UsageError(f"{name} is {value}; expected a finite number")


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def override(settings: T, assignments: Iterable[str]) -> T:
    """Return `settings` with assignments such as ``"training.epochs=5"`` applied.

    A value is a Python literal or, failing that, a string: ``model.cell=gru``; a tuple of strings may be written with
    commas alone, as in ``test=test,dev``, and one of one element as that element.

    Raises
    ------
    UsageError
        If an assignment has no ``=``, names an unknown key, or gives a value that does not fit.
    """
    changes = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"got {assignment!r}; expected KEY=VALUE, as in training.epochs=5")
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            value = {"true": True, "false": False}.get(text.strip(), text.strip())
        changes[path.strip()] = value
    return _replace(settings, changes)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between two objects of JSON: dotted key, old and new value; None for one that is not there."""
    for key in dict.fromkeys((*before, *now)):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield prefix + key, old, new


def completed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of JSON with those keys of `defaults` that it lacks, nested ones too."""
    missing = {key: default for key, default in defaults.items() if key not in values}
    nested = {
        key: completed(value, defaults[key])
        for key, value in values.items()
        if isinstance(value, Mapping) and isinstance(defaults.get(key), Mapping)
    }
    return {**values, **nested, **missing}


def digest(values: Any) -> str:
    """Return 16 hexadecimal digits that stand for a JSON value."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def _replace(settings: T, changes: Mapping[str, Any], section: str = "") -> T:
    """Return `settings` with values at dotted paths, all put in at once: one may be valid only beside another."""
    known = [field.name for field in dataclasses.fields(settings) if field.init]  # type: ignore[arg-type]
    types = get_type_hints(type(settings))
    values: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        name, dot, rest = path.partition(".")
        whole, is_section = section + path, dataclasses.is_dataclass(getattr(settings, name, None))
        if name not in known:
            raise UsageError(
                f"unknown setting {whole!r}: {name!r} is not one of {', '.join(known)}{did_you_mean(name, known)}"
            )
        if dot and not is_section:
            raise UsageError(f"unknown setting {whole!r}: {name!r} is not a group of settings")
        if is_section and not dot:
            inner = ", ".join(f"{name}.{field.name}" for field in dataclasses.fields(getattr(settings, name)))
            raise UsageError(f"{whole!r} is a group of settings: set one of {inner}")
        if dot:
            parts.setdefault(name, {})[rest] = value
        else:
            values[name] = _typed(value, types[name], whole)
    for name, inside in parts.items():
        values[name] = _replace(getattr(settings, name), inside, f"{section}{name}.")
    return dataclasses.replace(settings, **values)  # type: ignore[type-var]


def _typed(value: Any, wanted: Any, name: str) -> Any:
    """Return `value` as the type `wanted` (a scalar, Literal, tuple, dict, union or dataclass), or refuse it."""
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        if isinstance(value, Mapping):
            return from_dict(wanted, value, name)
    elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif getattr(wanted, "__origin__", None) is dict:
        if isinstance(value, Mapping):
            element = get_args(wanted)[1]
            return {key: _typed(part, element, f"{name}.{key}") for key, part in value.items()}
    elif getattr(wanted, "__origin__", None) is tuple:
        element = get_args(wanted)[0]
        if isinstance(value, str) and element is str:
            value = [part.strip() for part in value.split(",") if part.strip()]
        parts = value if isinstance(value, list | tuple) else [value]
        return tuple(_typed(part, element, f"{name}[{index}]") for index, part in enumerate(parts))
    elif wanted in (int, float, str, bool):
        if type(value) is wanted:
            return value
    else:
        options = get_args(wanted)
        if value in [option for option in options if not isinstance(option, type)]:
            return value
        if any(isinstance(option, type) and type(value) is option for option in options):
            return value
        if value is None and type(None) in options:
            return None
        close = did_you_mean(value, [o for o in options if isinstance(o, str)]) if isinstance(value, str) else ""
        choices = ", ".join(getattr(option, "__name__", repr(option)) for option in options)
        raise UsageError(f"{name} is {value!r}; expected one of {choices}{close}")
    raise UsageError(f"{name} is {value!r}; expected {getattr(wanted, '__name__', wanted)}")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value
