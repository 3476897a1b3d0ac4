"""Settings from the environment and config.toml; folders are invented, and platformdirs says where they ought to be."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
import threading
from pathlib import Path

import platformdirs
import pytest

from tallystick.config import (
    ServerSettings,
    Settings,
    load_key_secret,
    load_server_settings,
    load_settings,
    save_user_id,
)
from tallystick.errors import ConfigError
from tallystick.machine_zone import machine_time_zone

USER_ID = "9b2f6c1e-52f4-4c1a-8a55-0d6f4a7a1b11"
OTHER_ID = "11111111-2222-4333-8444-555555555555"
NO_DEVICE = "device is no name of up to 200 bytes that print, with no blank around it"


def settings_in(home: Path, **variables: str) -> Settings:
    return load_settings({"HOME": str(home), **variables})


def write_config(home: Path, text: str | bytes) -> Path:
    file = settings_in(home).config_dir / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize("xdg", ["", "relative/path", "/xdg"])
def test_folders_are_those_that_platformdirs_names(xdg: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    variables = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": xdg, "XDG_DATA_HOME": xdg, "XDG_STATE_HOME": xdg}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    places = platformdirs.PlatformDirs("tallystick", appauthor=False)
    settings = load_settings(variables)
    assert settings.config_dir == places.user_config_path
    assert settings.data_dir == places.user_data_path
    assert settings.state_dir == places.user_state_path


def test_tallystick_home_holds_everything(tmp_path: Path) -> None:
    settings = load_settings({"HOME": "/elsewhere", "TALLYSTICK_HOME": str(tmp_path), "XDG_DATA_HOME": "/xdg"})
    assert settings.config_file == tmp_path / "config" / "config.toml"
    assert settings.prices_file == tmp_path / "config" / "prices.json"
    assert settings.embedded_dir == tmp_path / "data" / "postgres"
    assert settings.checkpoint_file == tmp_path / "state" / "checkpoints.sqlite3"


def test_a_tilde_is_the_home_folder(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, TALLYSTICK_HOME="~/books", CLAUDE_CONFIG_DIR="~/.claude,~")
    assert settings.data_dir == tmp_path / "books" / "data"
    assert settings.claude_config_dirs == (tmp_path / ".claude", tmp_path)


def test_without_anything_set_the_defaults_hold(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert settings.user_id == ""
    assert settings.database_url is None
    assert settings.device == os.uname().nodename
    assert settings.token_tracking_enabled is True
    assert settings.claude_config_dirs == (tmp_path / ".claude", tmp_path / ".config" / "claude")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    names = (
        "USER_ID",
        "TALLYSTICK_HOME",
        "TALLYSTICK_DATABASE_URL",
        "CLAUDE_CONFIG_DIR",
        "TOKEN_TRACKING_ENABLED",
        "TZ",
    )
    assert settings_in(tmp_path, **dict.fromkeys(names, " ")) == settings_in(tmp_path)


def test_an_argument_beats_the_environment_and_the_environment_beats_the_file(tmp_path: Path) -> None:
    write_config(tmp_path, f'user_id = "{OTHER_ID}"\ndatabase_url = "postgresql://file/db"\n')
    environ = {"HOME": str(tmp_path), "USER_ID": USER_ID, "TALLYSTICK_DATABASE_URL": "postgresql://env/db"}
    assert load_settings(environ, database_url="postgresql://argument/db").database_url == "postgresql://argument/db"
    assert load_settings(environ).database_url == "postgresql://env/db"
    assert load_settings(environ).user_id == USER_ID
    assert settings_in(tmp_path).database_url == "postgresql://file/db"
    assert settings_in(tmp_path).user_id == OTHER_ID


def test_the_file_sets_what_no_variable_does(tmp_path: Path) -> None:
    write_config(
        tmp_path, 'device = "attic"\ntime_zone = "Asia/Tokyo"\nclaude_config_dirs = ["~/one", "/two/projects"]\n'
    )
    settings = settings_in(tmp_path, TZ="Europe/Berlin")
    assert (settings.device, settings.time_zone) == ("attic", "Asia/Tokyo")
    assert settings.claude_config_dirs == (tmp_path / "one", Path("/two"))
    assert settings_in(tmp_path, CLAUDE_CONFIG_DIR="/three").claude_config_dirs == (Path("/three"),)


def test_without_home_the_account_says_where_home_is() -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    assert load_settings({}).claude_config_dirs == settings_in(Path(home)).claude_config_dirs


def test_without_home_and_account_one_line_says_what_to_set() -> None:
    script = (
        "import os; os.getuid = lambda: 3_999_999_999\n"
        "from tallystick.config import load_settings\n"
        "print(load_settings({'TALLYSTICK_HOME': '/books'}).claude_config_dirs)\n"
        "load_settings({})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "()\n"
    assert done.stderr.splitlines()[-1].endswith("ConfigError: HOME is not set and this user has no account")


def test_claude_config_dir_may_list_several_each_once(tmp_path: Path) -> None:
    listed = settings_in(tmp_path, CLAUDE_CONFIG_DIR="/one, /two/projects,,/one/projects ,/three/").claude_config_dirs
    assert listed == (Path("/one"), Path("/two"), Path("/three"))


def test_a_claude_folder_may_have_a_comma_or_be_called_projects(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert settings_in(tmp_path, CLAUDE_CONFIG_DIR=f"{tmp_path}/a,b").claude_config_dirs == (tmp_path / "a,b",)
    (tmp_path / "projects" / "projects").mkdir(parents=True)
    assert settings_in(tmp_path, CLAUDE_CONFIG_DIR=f"{tmp_path}/projects").claude_config_dirs == (
        tmp_path / "projects",
    )


def test_a_list_too_long_for_one_path_is_a_list(tmp_path: Path) -> None:
    parts = [f"/{letter * 200}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    listed = settings_in(tmp_path, CLAUDE_CONFIG_DIR=",".join(parts)).claude_config_dirs
    assert [str(folder) for folder in listed] == parts


@pytest.mark.parametrize(
    ("word", "is_enabled"), [("true", True), ("1", True), (" Yes", True), ("OFF", False), ("0", False), ("no", False)]
)
def test_tracking_can_be_switched_off(tmp_path: Path, word: str, is_enabled: bool) -> None:
    assert settings_in(tmp_path, TOKEN_TRACKING_ENABLED=word).token_tracking_enabled is is_enabled


def test_tracking_that_is_neither_on_nor_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^TOKEN_TRACKING_ENABLED is neither true nor false: 'maybe'$"):
        settings_in(tmp_path, TOKEN_TRACKING_ENABLED="maybe")


def test_a_user_id_is_brought_into_lower_case(tmp_path: Path) -> None:
    assert settings_in(tmp_path, USER_ID=f" {USER_ID.upper()} ").user_id == USER_ID


@pytest.mark.parametrize(
    "text", ["me", USER_ID[:-1], USER_ID.replace("-", ""), USER_ID.replace("9", "g"), f"{USER_ID}-1"]
)
def test_a_user_id_that_is_no_uuid_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"^USER_ID is not a uuid: "):
        settings_in(tmp_path, USER_ID=text)
    file = write_config(tmp_path, f'# who\nuser_id = "{text}"\n')
    with pytest.raises(ConfigError, match=f"^{file}, line 2: user_id is not a uuid: "):
        settings_in(tmp_path)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('device = "a"\ntime_zone = Europe\n', 2, "Invalid value"),
        ('device = "a"\n\ntime_zone = "', 3, "Unterminated string"),
        ('\n\ndevice = "\nb"\n', 3, "Illegal character"),
        (b'device = "a"\ntime_zone = "\xff"\n', 2, "this is not UTF-8"),
        ('device = "a"\ndatabse_url = "b"\n', 2, "there is no setting 'databse_url'"),
        ('device = "a"\n[paths]\nx = 1\n', 2, "there is no setting 'paths'"),
        ("\ndevice = 5\n", 2, "device is not a string in quotes"),
        (
            f'device = "{"x" * 201}"\n',
            1,
            f"{NO_DEVICE}: 'xxx",
        ),
        ('device = "laptop \\u001b[31m"\n', 1, f"{NO_DEVICE}: 'laptop \\x1b[31m'"),
        ('device = "  "\n', 1, f"{NO_DEVICE}: '  '"),
        ('device = " attic"\n', 1, f"{NO_DEVICE}: ' attic'"),
        ('device = "a"\ntime_zone = "Mars/Olympus"\n', 2, "there is no time zone 'Mars/Olympus'"),
        ('claude_config_dirs = "one"\n', 1, "claude_config_dirs is not a list of strings"),
    ],
)
def test_a_broken_file_is_told_by_name_and_line(tmp_path: Path, text: str | bytes, line: int, what: str) -> None:
    file = write_config(tmp_path, text)
    with pytest.raises(ConfigError) as told:
        settings_in(tmp_path)
    assert told.value.message.startswith(f"{file}, line {line}: {what}")
    assert "\n" not in told.value.message + told.value.hint


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    settings_in(tmp_path).config_file.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"^cannot read .*config\.toml: Is a directory$"):
        settings_in(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@host/db",
        "postgresql://me:s3cret/with@and:s3cret@host/db?sslmode=require",
        "postgresql://:s3cret@host/db",
        "postgresql://host/db?user=me&password=s3cret&sslmode=require",
        "host=h user=me password=s3cret dbname=d",
        "host=h Password = 's3cret \\' s3cret' dbname=d",
        "host=h password='s3cret",
    ],
)
def test_no_password_is_ever_shown(tmp_path: Path, url: str) -> None:
    settings = load_settings({"HOME": str(tmp_path)}, database_url=url)
    assert settings.database_url == url
    for shown in (settings.redacted_url, repr(settings), str(settings), f"{settings}"):
        assert shown is not None
        assert "s3cret" not in shown
        assert "***" in shown


def test_what_is_no_secret_stays_readable(tmp_path: Path) -> None:
    url = "postgresql://me:s3cret@host:5432/db?sslmode=require"
    shown = load_settings({"HOME": str(tmp_path)}, database_url=url).redacted_url
    assert shown == "postgresql://me:***@host:5432/db?sslmode=require"
    assert load_settings({"HOME": str(tmp_path)}, database_url="postgresql://h/d").redacted_url == "postgresql://h/d"
    assert settings_in(tmp_path).redacted_url is None
    assert f"config_dir={settings_in(tmp_path).config_dir!r}" in repr(settings_in(tmp_path))


def test_a_saved_user_id_is_found_again_in_a_private_file(tmp_path: Path) -> None:
    settings = save_user_id(settings_in(tmp_path), USER_ID.upper())
    assert settings.user_id == USER_ID
    assert settings_in(tmp_path).user_id == USER_ID
    assert stat.S_IMODE(settings.config_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.config_dir.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('# mine\ndevice = "attic"', f'user_id = "{USER_ID}"\n# mine\ndevice = "attic"\n'),
        (
            f'device = "attic"\n  user_id = "{OTHER_ID}" # old\n# end\n',
            f'device = "attic"\nuser_id = "{USER_ID}"\n# end\n',
        ),
        ('user_id = ""\n', f'user_id = "{USER_ID}"\n'),
    ],
)
def test_saving_a_user_id_keeps_the_rest_of_the_file(tmp_path: Path, before: str, after: str) -> None:
    file = write_config(tmp_path, before)
    save_user_id(settings_in(tmp_path), USER_ID)
    assert file.read_text() == after


def test_saving_a_user_id_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "tallystick.toml"
    real.write_text('device = "attic"\n')
    write_config(tmp_path, "").unlink()
    settings_in(tmp_path).config_file.symlink_to(real)
    save_user_id(settings_in(tmp_path), USER_ID)
    assert settings_in(tmp_path).config_file.is_symlink()
    assert USER_ID in real.read_text()


def test_a_place_that_cannot_be_found_in_the_file_leaves_it_as_it_was(tmp_path: Path) -> None:
    file = write_config(tmp_path, f'"user_id" = "{OTHER_ID}"\n')
    with pytest.raises(ConfigError):
        save_user_id(settings_in(tmp_path), USER_ID)
    assert file.read_text() == f'"user_id" = "{OTHER_ID}"\n'


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = settings_in(tmp_path)._replace(config_dir=tmp_path / "file" / "below")
    with pytest.raises(ConfigError, match=r"^cannot write ") as told:
        save_user_id(settings, USER_ID)
    assert "USER_ID" in told.value.hint


def test_of_many_first_commands_at_once_all_go_on_with_one_user_id(tmp_path: Path) -> None:
    fresh = settings_in(tmp_path)
    offered = [f"{number:08x}{USER_ID[8:]}" for number in range(12)]
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda uid: got.append(save_user_id(fresh, uid).user_id), args=(u,)) for u in offered
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 12
    assert set(got) == {settings_in(tmp_path).user_id}


def test_a_known_user_id_can_be_replaced_on_purpose(tmp_path: Path) -> None:
    settings = save_user_id(settings_in(tmp_path), OTHER_ID)
    assert save_user_id(settings, USER_ID).user_id == settings_in(tmp_path).user_id == USER_ID


@pytest.mark.parametrize(
    ("tz", "link", "text", "zone"),
    [
        ("Europe/Berlin", "/usr/share/zoneinfo/Asia/Tokyo", "America/New_York", "Europe/Berlin"),
        (":Europe/Berlin", "", "", "Europe/Berlin"),
        ("/usr/share/zoneinfo/posix/Europe/Berlin", "", "", "Europe/Berlin"),
        ("CET-1CEST", "../usr/share/zoneinfo/Asia/Tokyo", "America/New_York", "Asia/Tokyo"),
        (":/etc/localtime", "/var/db/timezone/zoneinfo/Asia/Tokyo", "", "Asia/Tokyo"),
        ("", "/usr/share/zoneinfo/Etc/GMT+5", "Asia/Tokyo", "Etc/GMT+5"),
        ("", "", "America/New_York\n", "America/New_York"),
        ("", "", "Nowhere/Land", "UTC"),
        ("../../etc/passwd", "/usr/share/zoneinfo/Europe", "", "UTC"),
        ("", "", "", "UTC"),
    ],
)
def test_the_machines_zone_is_found(tmp_path: Path, tz: str, link: str, text: str, zone: str) -> None:
    if link:
        (tmp_path / "localtime").symlink_to(link)
    else:
        (tmp_path / "localtime").write_bytes(b"TZif2 a copy")
    if text:
        (tmp_path / "timezone").write_text(text)
    assert machine_time_zone({"TZ": tz}, etc=tmp_path) == zone


def test_settings_are_quick_to_import() -> None:
    script = (
        "import os, sys; import tallystick.config as c; c.load_settings({'HOME': '/nowhere'});"
        "print(*[name for name in ('tomllib', 'platformdirs', 'uuid', 'platform', 'asyncio') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "\n"


# -- the HTTP API


def server_settings_in(home: Path, **variables: str) -> ServerSettings:
    environ = {"HOME": str(home), "TALLYSTICK_DATABASE_URL": "postgresql://me:s3cret@h/d", **variables}
    return load_server_settings(environ)


def test_a_server_has_limits_and_no_cors_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    settings = server_settings_in(tmp_path, TALLYSTICK_KEY_SECRET=" the secret ")
    assert settings == ServerSettings("postgresql://me:s3cret@h/d", "the secret", "", "", 6000, (), 10)
    told = server_settings_in(
        tmp_path,
        TALLYSTICK_KEY_SECRET="s",
        SUPABASE_URL="https://p.supabase.co",
        SUPABASE_JWT_SECRET="j",
        TALLYSTICK_REQUESTS_PER_MINUTE="60",
        TALLYSTICK_POOL_SIZE="3",
        TALLYSTICK_CORS_ORIGINS=" https://a.example ,, https://b.example",
    )
    origins = ("https://a.example", "https://b.example")
    assert told[1:] == ("s", "https://p.supabase.co", "j", 60, origins, 3, "")
    for shown in (repr(told), str(told), f"{told}"):
        assert not any(secret in shown for secret in ("s3cret", "'s'", "'j'"))


@pytest.mark.parametrize("name", ["TALLYSTICK_REQUESTS_PER_MINUTE", "TALLYSTICK_POOL_SIZE"])
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_a_limit_that_is_no_number_is_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is no whole number above 0: "):
        server_settings_in(tmp_path, TALLYSTICK_KEY_SECRET="s", **{name: text})


@pytest.mark.parametrize("url", ["", "https://p.supabase.co"])
def test_a_server_needs_a_postgres(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"^the HTTP API needs a Postgres to serve$"):
        server_settings_in(tmp_path, TALLYSTICK_DATABASE_URL=url)


def test_the_secret_of_the_keys_is_made_once_and_kept_private(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    secret = load_key_secret(settings, {})
    assert len(bytes.fromhex(secret)) == 32
    assert load_key_secret(settings, {"TALLYSTICK_KEY_SECRET": " "}) == secret
    assert load_key_secret(settings, {"TALLYSTICK_KEY_SECRET": "given"}) == "given"
    assert stat.S_IMODE((settings.config_dir / "key_secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.config_dir.stat().st_mode) == 0o700


def test_a_secret_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (settings_in(tmp_path).config_dir / "key_secret").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"^cannot read or make .*key_secret: Is a directory$") as told:
        load_key_secret(settings_in(tmp_path), {})
    assert "TALLYSTICK_KEY_SECRET" in told.value.hint


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"short"])
def test_a_secret_that_is_damaged_is_not_used(tmp_path: Path, content: bytes) -> None:
    file = settings_in(tmp_path).config_dir / "key_secret"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"key_secret holds no secret$"):
        load_key_secret(settings_in(tmp_path), {})
