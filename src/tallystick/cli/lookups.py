"""Which project or model of the ledger someone means by a name that is shorter than the ledger's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tallystick.cli.cells import UNKNOWN, label, undated
from tallystick.collector.project import ProjectResolver, namer_of
from tallystick.config import Settings
from tallystick.errors import InvalidRequest, NotFound
from tallystick.ledger import Ledger
from tallystick.model import UsageFilter

MOST_NAMED = 5


def find_projects(ledger: Ledger, wanted: Iterable[str], *, settings: Settings) -> list[str]:
    """The projects of this ledger that are meant; raises NotFound, or InvalidRequest where a name may be several."""
    known = [row.project or "" for row in ledger.usage_projects(UsageFilter())]
    resolver = ProjectResolver({}, name=namer_of(settings))
    return [find_project(name, known=known, root_of=resolver.resolve) for name in wanted]


def find_project(wanted: str, *, known: Sequence[str], root_of: Callable[[str], str]) -> str:
    """The one project of `known` that `wanted` names: whole, by its last part, or as a path on this machine.

    `root_of` answers the project of a working directory.
    """
    if wanted in known:
        return wanted
    if wanted == UNKNOWN and "" in known:
        return ""
    named = [project for project in known if project.rstrip("/").rpartition("/")[2] == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        several = ", ".join(label(project) for project in named[:MOST_NAMED])
        raise InvalidRequest(f"{label(wanted)} may be {several}", hint="Name one of them by its path.")
    path = Path(wanted).expanduser().absolute()
    for project in (root_of(str(path)), str(path), root_of(str(path.resolve()))):
        if project in known:
            return project
    raise NotFound(f"the ledger has no project {label(wanted)}", hint="`tally projects` lists the ones it has.")


def find_models(ledger: Ledger, wanted: Iterable[str]) -> list[str]:
    """The models of this ledger that are meant; raises NotFound."""
    known = [row.model or "" for row in ledger.usage_models(UsageFilter())]
    return [model for name in wanted for model in find_model(name, known=known)]


def find_devices(wanted: Iterable[str]) -> list[str]:
    """The devices that are meant; none is looked for, because no rollup knows them."""
    return ["" if name == UNKNOWN else name for name in wanted]


def find_model(wanted: str, *, known: Sequence[str]) -> list[str]:
    """The model of that name, and the versions of it that differ in their date alone where no date is given."""
    if wanted == UNKNOWN and "" in known:
        return [""]
    found = [model for model in known if wanted in (model, undated(model))]
    if not found:
        raise NotFound(f"the ledger has no model {label(wanted)}", hint="`tally models` lists the ones it has.")
    return found
