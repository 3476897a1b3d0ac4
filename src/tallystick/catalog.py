"""Every source on a machine: where its files lie, what they are called, and which module of `sources/` reads them.

It stands on the road of every report, so it imports nothing. A reading module is imported when one of its files has
something new.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

# How files are read: `lines` as they are appended, `document` whole whenever it has changed, `database` by questions.
Kind = Literal["lines", "document", "database"]


class Layout(NamedTuple):
    """One kind of file that a source leaves behind.

    `roots` are folders as a shell would write them, `${NAME:-default}` and `~` included, or single files of any name;
    one whose variable is not set and has no default is left out. `files` is a regular expression for the end of a path,
    from the beginning of a name. `module` has what `sources/formats.py` asks of its kind. `levels` is how many folders
    below a root are looked into, for a root that holds much else. Where others call their files so too, `folder` is one
    in the path by which a file is told that somebody named.
    """

    source: str
    title: str
    module: str
    kind: Kind
    roots: tuple[str, ...]
    files: str
    levels: int | None = None
    folder: str = ""

    def has(self, path: str) -> bool:
        """Whether a path, with / between its parts, is named as these files are."""
        return _pattern(self.files)(path) is not None

    def is_told_by(self, path: str) -> bool:
        """Whether a path, wherever it lies, is of these files and of no others."""
        return self.has(path) and (self.folder == "" or f"/{self.folder}/" in path)


class Root(NamedTuple):
    """A folder in which files of one layout are looked for."""

    path: Path
    layout: Layout


# its folders are a setting of their own, `claude_config_dirs`
CLAUDE_CODE = Layout("claude-code", "Claude Code", "claude_code", "lines", (), r"[^/]+\.jsonl")

CODEX = Layout(
    "codex",
    "Codex CLI",
    "codex",
    "lines",
    # a thread that is archived moves from the one to the other
    ("${CODEX_HOME:-~/.codex}/sessions", "${CODEX_HOME:-~/.codex}/archived_sessions"),
    r"rollout-[^/]+\.jsonl(?:\.zst)?",
)

_GEMINI_ROOTS = ("${GEMINI_CLI_HOME:-~}/.gemini/tmp",)
_KIMI_DESKTOP = "~/Library/Application Support/kimi-desktop/daimon-share/daimon/runtime/kimi-code/home"

_DATA_HOME = "${XDG_DATA_HOME:-~/.local/share}"
_OPENCODE = f"{_DATA_HOME}/opencode"
_COPILOT = "${COPILOT_HOME:-~/.copilot}"

_CONFIG_HOME = "${XDG_CONFIG_HOME:-~/.config}"
_CLINE_DATA = "${CLINE_DATA_DIR:-${CLINE_DIR:-~/.cline}/data}"
# the editors of the family of VS Code, here, and where one that runs elsewhere has its other half
_EDITORS = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")
_REMOTE_EDITORS = ("vscode-server", "vscode-server-insiders", "vscodium-server", "cursor-server", "windsurf-server")
_EDITOR_FOLDERS = (
    *(f"{_CONFIG_HOME}/{editor}" for editor in _EDITORS),
    *(f"~/Library/Application Support/{editor}" for editor in _EDITORS),
    *(f"~/.{editor}/data" for editor in _REMOTE_EDITORS),
)


def _tasks_of(extension: str) -> tuple[str, ...]:
    return tuple(f"{folder}/User/globalStorage/{extension}/tasks" for folder in _EDITOR_FOLDERS)


def _task_files(extension: str) -> str:
    return rf"{re.escape(extension)}/tasks/[^/]+/ui_messages\.json"


_ROO, _KILO, _BOB = "rooveterinaryinc.roo-cline", "kilocode.kilo-code", "ibm.bob-code"
_CLINE_TASKS = (*_tasks_of("saoudrizwan.claude-dev"), f"{_CLINE_DATA}/tasks")
_CLINE_SESSIONS = f"${{CLINE_SESSION_DATA_DIR:-{_CLINE_DATA}/sessions}}"
_MANICODE = tuple(f"{_CONFIG_HOME}/{name}/projects" for name in ("manicode", "manicode-dev", "manicode-staging"))
_HERMES = "${HERMES_HOME:-~/.hermes}"
# the last one is Flatpak's
_ZED_THREADS = (
    f"{_DATA_HOME}/zed/threads",
    "~/Library/Application Support/Zed/threads",
    "~/.var/app/dev.zed.Zed/data/zed/threads",
)

# Where two have the same names, the one that is told by its folder stands first.
CATALOG: tuple[Layout, ...] = (
    CLAUDE_CODE,
    CODEX,
    Layout(
        "gemini-cli",
        "Gemini CLI",
        "gemini_cli",
        "lines",
        _GEMINI_ROOTS,
        r"chats/(?:session-[^/]+|[^/]*[0-9a-f]{8}-[0-9a-f]{4}-[^/]*/[^/]+)\.jsonl",
    ),
    Layout("gemini-cli", "Gemini CLI", "gemini_cli", "document", _GEMINI_ROOTS, r"chats/session-[^/]+\.json"),
    Layout(
        "kimi-cli",
        "Kimi CLI",
        "kimi_cli",
        "lines",
        ("${KIMI_SHARE_DIR:-~/.kimi}/sessions",),
        r"(?:[^/]+_)?[0-9a-f]{32}/[^/]+/(?:subagents/[^/]+/)?wire\.jsonl",
    ),
    Layout(
        "kimi-code",
        "Kimi Code",
        "kimi_code",
        "lines",
        ("${KIMI_CODE_HOME:-~/.kimi-code}/sessions", f"{_KIMI_DESKTOP}/sessions"),
        r"agents/[^/]+/wire\.jsonl",
    ),
    Layout("oh-my-pi", "Oh-My-Pi", "oh_my_pi", "lines", ("~/.omp/agent/sessions",), r"[^/]+\.jsonl", folder=".omp"),
    Layout(
        "openclaw",
        "OpenClaw",
        "openclaw",
        "lines",
        ("~/.openclaw/agents", "~/.clawdbot/agents", "~/.moltbot/agents", "~/.moldbot/agents"),
        r"agents/[^/]+/sessions/[^/]+\.jsonl(?:\.(?:deleted|reset)\.[^/]+)?",
    ),
    Layout(
        "pi",
        "pi",
        "pi",
        "lines",
        ("${PI_CODING_AGENT_DIR:-~/.pi/agent}/sessions",),
        r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z_[^/]+\.jsonl",
    ),
    Layout(
        "qwen-code",
        "Qwen Code",
        "qwen_code",
        "lines",
        ("${QWEN_HOME:-~/.qwen}/usage", "${QWEN_HOME:-~/.qwen}/projects"),
        r"(?:usage/token-usage-\d{4}-\d\d|projects/[^/]+/chats/(?:\w+/)?[^/]+)\.jsonl",
    ),
    Layout(
        "opencode", "OpenCode", "opencode", "database", (_OPENCODE, "${OPENCODE_DB}"), r"opencode[\w.-]*\.db", levels=0
    ),
    Layout(
        "opencode",
        "OpenCode",
        "opencode_files",
        "document",
        (f"{_OPENCODE}/storage/message",),
        r"ses_[^/]+/msg_[^/]+\.json",
    ),
    Layout("kilo-cli", "Kilo CLI", "kilo_cli", "database", (f"{_DATA_HOME}/kilo",), r"kilo[\w.-]*\.db", levels=0),
    Layout(
        "mimo-code", "MiMo Code", "mimo_code", "database", (f"{_DATA_HOME}/mimocode",), r"mimocode[\w.-]*\.db", levels=0
    ),
    Layout(
        "copilot-cli", "Copilot CLI", "copilot_cli", "lines", (f"{_COPILOT}/session-state",), r"[^/]+/events\.jsonl"
    ),
    Layout("copilot-cli", "Copilot CLI", "copilot_cli_store", "database", (_COPILOT,), r"session-store\.db", levels=0),
    Layout(
        "copilot-cli",
        "Copilot CLI",
        "copilot_cli_otel",
        "lines",
        ("${COPILOT_OTEL_FILE_EXPORTER_PATH}", f"{_COPILOT}/otel"),
        r"[^/]*otel[^/]*\.jsonl",
    ),
    Layout(
        "goose",
        "Goose",
        "goose",
        "database",
        (
            "${GOOSE_PATH_ROOT}/data/sessions",
            f"{_DATA_HOME}/goose/sessions",
            "~/.local/share/Block/goose/sessions",
            "~/Library/Application Support/goose/sessions",
        ),
        r"sessions\.db",
        levels=0,
    ),
    Layout("zcode", "ZCode", "zcode", "database", ("~/.zcode/cli/db",), r"db\.sqlite", levels=0),
    Layout("roo-code", "Roo Code", "roo_code", "document", _tasks_of(_ROO), _task_files(_ROO)),
    Layout("kilo-code", "Kilo Code", "kilo_code", "document", _tasks_of(_KILO), _task_files(_KILO)),
    Layout("ibm-bob", "IBM Bob", "ibm_bob", "document", _tasks_of(_BOB), _task_files(_BOB)),
    # behind the extensions that grew out of it: a task of none of them is taken for its own
    Layout("cline", "Cline", "cline", "document", _CLINE_TASKS, r"[^/]+/ui_messages\.json"),
    Layout("cline-cli", "Cline CLI", "cline_cli", "document", (_CLINE_SESSIONS,), r"[^/]+\.messages\.json"),
    Layout("droid", "Droid", "droid", "document", ("${FACTORY_DIR:-~/.factory}/sessions",), r"[^/]+\.settings\.json"),
    Layout("amp", "Amp", "amp", "document", (f"${{AMP_DATA_DIR:-{_DATA_HOME}/amp}}/threads",), r"T-[^/]+\.json"),
    # downloaded by hand, and named to `tally import`
    Layout("cursor", "Cursor", "cursor", "document", (), r"[^/]*[Uu]sage[^/]*\.csv"),
    Layout("hermes", "Hermes", "hermes", "database", (_HERMES,), r"state\.db", levels=0),
    Layout("hermes", "Hermes", "hermes", "database", (f"{_HERMES}/profiles",), r"profiles/[^/]+/state\.db", levels=1),
    Layout("mux", "Mux", "mux", "lines", ("${MUX_ROOT:-~/.mux}/sessions",), r"[^/]+/chat\.jsonl"),
    Layout("grok-build", "Grok Build", "grok_build", "lines", ("${GROK_HOME:-~/.grok}/sessions",), r"updates\.jsonl"),
    Layout(
        "mistral-vibe",
        "Mistral Vibe",
        "mistral_vibe",
        "document",
        ("${VIBE_HOME:-~/.vibe}/logs/session",),
        r"(?:[^/]+/meta|session_[^/]+)\.json",
    ),
    Layout("codebuff", "Codebuff", "codebuff", "document", _MANICODE, r"chats/[^/]+/chat-messages\.json"),
    # the second is where it lay before, and still lies where that folder is
    Layout("forge", "Forge", "forge", "database", ("${FORGE_CONFIG:-~/.forge}", "~/forge"), r"\.forge\.db", levels=0),
    Layout("zed", "Zed", "zed", "database", _ZED_THREADS, r"threads/threads\.db", levels=0),
)

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^${}]*))?\}")


def claude_code_roots(config_dirs: Iterable[Path]) -> list[Root]:
    """The `projects` folders of Claude Code's own folders; one that is such a folder itself will do."""
    folders = (folder if folder.name == "projects" else folder / "projects" for folder in config_dirs)
    return [Root(folder, CLAUDE_CODE) for folder in folders]


def layout_of(path: str, source: str | None = None) -> Layout:
    """The layout of a file that somebody named, by its name; what no other source would write is Claude Code's."""
    path = path.replace("\\", "/")
    candidates = [layout for layout in CATALOG if source in (None, layout.source)]
    fitting = [layout for layout in candidates if layout is not CLAUDE_CODE and layout.is_told_by(path)]
    return (fitting or [layout for layout in candidates if source is not None] or [CLAUDE_CODE])[0]


def variables_of_catalog() -> frozenset[str]:
    """The environment variables that may name an agent's folder."""
    return frozenset(name for layout in CATALOG for root in layout.roots for name in re.findall(r"\$\{(\w+)", root))


def expand(root: str, *, variables: Mapping[str, str], home: str) -> str | None:
    """A root as an absolute path, None where it needs a variable, or a home, that there is not."""
    while found := _VARIABLE.search(root):
        value = variables.get(found[1], "").strip() or found[2]
        if value is None:
            return None
        root = root[: found.start()] + value + root[found.end() :]
    if root == "~" or root.startswith("~/"):
        root = home + root[1:] if home else ""
    return root if root.startswith("/") else None


@cache
def _pattern(files: str) -> Callable[[str], object]:
    return re.compile(rf"(?s:.*/)?{files}").fullmatch
