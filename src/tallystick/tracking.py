"""What an application hands over: the answers of its model calls, recorded without it waiting or failing for that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypedDict, TypeVar, Unpack
from uuid import UUID, uuid4

import msgspec

from tallystick.addresses import is_server_key
from tallystick.config import load_settings, named_user
from tallystick.delivery import EXIT_TIMEOUT_S, Delivery, DeliveryCounts, LedgerLike
from tallystick.errors import ConfigError
from tallystick.observation import Observation
from tallystick.sources.api_answers import StreamParts, answers_in, read_answer
from tallystick.sources.api_calls import ApiCall
from tallystick.sources.json_lines import storable_text
from tallystick.sources.times import utc_time
from tallystick.tracked_streams import StreamWatch, TrackedAsyncStream, TrackedStream

MAX_WAITING: Final = 10_000
BATCH_SIZE: Final = 500
BATCH_INTERVAL_S: Final = 1.0
RETRY_TIMEOUT_S: Final = 300.0

Stream = TypeVar("Stream")


class Labels(TypedDict, total=False):
    """What the caller says of a call; all of it may be left out.

    `provider` and `service_tier` beat what the answer says, and so does `occurred_at`, a time with an offset.
    """

    user_id: str | UUID
    session_id: str
    project: str
    device: str
    agent_version: str
    git_branch: str
    request_id: str
    source: str
    provider: str
    service_tier: str
    occurred_at: datetime | str | None


_TEXT_LABELS: Final = tuple(name for name in Labels.__annotations__ if name not in ("user_id", "occurred_at"))


class Tracker:
    """Records the answers of model calls in ledgers, one for each user, from a thread of its own.

    `ledger_factory` opens the ledger of a user id; it is called in that thread. `user_id` is whose the calls are that
    name no user. Nothing here raises, waits for a ledger, or holds a lock while one is asked.
    """

    def __init__(
        self,
        ledger_factory: Callable[[str], LedgerLike],
        *,
        user_id: str = "",
        is_enabled: bool = True,
        max_waiting: int = MAX_WAITING,
        batch_size: int = BATCH_SIZE,
        batch_interval_s: float = BATCH_INTERVAL_S,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
    ) -> None:
        self._user_id = user_id
        self._is_enabled = is_enabled
        self._open_streams: set[StreamWatch] = set()
        self._delivery = Delivery(
            ledger_factory,
            max_waiting=max_waiting,
            batch_size=batch_size,
            batch_interval_s=batch_interval_s,
            retry_timeout_s=retry_timeout_s,
            at_exit=self.close,
        )

    @property
    def counts(self) -> DeliveryCounts:
        """What became of all answers so far."""
        return self._delivery.counts

    def track(self, response: object, **labels: Unpack[Labels]) -> None:
        """Record an answer of the Anthropic, OpenAI or Google SDK: the object, its dict, or the list of its chunks.

        Of a list of answers each is recorded by itself.
        """
        if not self._is_enabled:
            return
        try:
            for answer in answers_in(response):
                self._track_one(answer, labels)
        except Exception as error:
            self._note_unreadable(error)

    def _track_one(self, answer: object, labels: Labels) -> None:
        try:
            user_id, call = self._call_of(labels, request_id=getattr(answer, "_request_id", None))
            self._record(user_id, read_answer(answer, call))
        except Exception as error:  # the caller's request goes on, whatever the answer was
            self._note_unreadable(error)

    def tracked(self, stream: Stream, **labels: Unpack[Labels]) -> Stream:
        """The stream, to be used in its place: passes every chunk on, and records the answer however it ends.

        What is no stream is recorded as an answer and returned.
        """
        if not self._is_enabled:
            return stream
        try:
            wrap = _wrapper_of(stream)
            if wrap is not None:
                watched: Any = wrap(stream, self._watch(labels))
                return watched  # type: ignore[no-any-return]  # it stands for the stream, and has all its members
        except Exception as error:  # the caller gets the stream, whatever it is
            self._note_unreadable(error)
            return stream
        self.track(stream, **labels)
        return stream

    def flush(self, timeout_s: float = EXIT_TIMEOUT_S) -> bool:
        """Wait until all answers so far are recorded or counted as lost; False where the time was too short."""
        return self._delivery.flush(timeout_s)

    def close(self, timeout_s: float = EXIT_TIMEOUT_S) -> bool:
        """End open streams, send what waits and take nothing more; False where the time was too short."""
        for watch in tuple(self._open_streams):
            watch.end()
        return self._delivery.close(timeout_s)

    def _call_of(self, labels: Labels, *, request_id: object = None) -> tuple[str, ApiCall]:
        """Whose call it is, and what the caller says of it; raises ValueError for a user id that is none."""
        unknown = labels.keys() - Labels.__annotations__.keys()
        if unknown:
            self._delivery.warn("labels", "tallystick: there is no label %s", ", ".join(sorted(unknown)))
        given: dict[str, Any] = {**labels}
        texts: dict[str, Any] = {name: storable_text(str(given[name])) for name in _TEXT_LABELS if given.get(name)}
        texts.setdefault("source", "api")
        noted_id = storable_text(request_id) if isinstance(request_id, str) else ""
        if noted_id:
            texts.setdefault("request_id", noted_id)
        given_at, now = labels.get("occurred_at"), _utc(datetime.now(UTC))
        texts["occurred_at"] = utc_time(given_at.isoformat() if isinstance(given_at, datetime) else given_at)
        if given_at is not None and not texts["occurred_at"]:
            self._delivery.warn("occurred_at", "tallystick: occurred_at is no time with an offset and not used")
        user_id = str(labels.get("user_id") or self._user_id)
        call = ApiCall(Observation(**texts), called_at=now, weak_key=f"{texts['source']}:{noted_id or uuid4().hex}")
        return str(UUID(user_id)) if user_id else "", call

    def _record(self, user_id: str, observations: list[Observation] | None) -> None:
        if observations is None:
            self._delivery.count("unreadable")
            self._delivery.warn("unreadable", "tallystick: an answer is of no known API and not recorded")
        elif not observations:
            self._delivery.count("without_usage")
            self._delivery.warn(
                "without_usage",
                "tallystick: an answer bears no usage and is not recorded; to stream Chat Completions, ask for "
                'stream_options={"include_usage": True}',
            )
        else:
            for observation in observations:
                self._delivery.put(user_id, msgspec.json.encode(observation))

    def _watch(self, labels: Labels) -> StreamWatch:
        user_id, call = self._call_of(labels)
        parts = StreamParts()

        def see(chunk: object) -> None:
            with suppress(Exception):  # what cannot be looked at is not kept, and the end counts what is missing
                parts.add(chunk)

        def end(watch: StreamWatch) -> None:
            self._open_streams.discard(watch)
            try:
                self._record(user_id, parts.read(call))
            except Exception as error:  # the caller's stream ends as it would
                self._note_unreadable(error)

        watch = StreamWatch(on_chunk=see, on_end=end)
        self._open_streams.add(watch)
        return watch

    def _note_unreadable(self, error: Exception) -> None:
        # the text of the error may hold a part of the answer
        kind = type(error).__name__
        self._delivery.count("unreadable")
        self._delivery.warn(f"unreadable {kind}", "tallystick: an answer cannot be read and is not recorded (%s)", kind)


def track(response: object, **labels: Unpack[Labels]) -> None:
    """Record an answer of the Anthropic, OpenAI or Google SDK in the ledger that the settings name. Never raises."""
    default_tracker().track(response, **labels)


def tracked(stream: Stream, **labels: Unpack[Labels]) -> Stream:
    """A stream of one of these SDKs that records itself when it ends, in the ledger that the settings name."""
    return default_tracker().tracked(stream, **labels)


# Made on first use, once in a process; a dict, because its setdefault() needs no lock that a fork could leave locked.
_default: dict[str, Tracker] = {}


def default_tracker() -> Tracker:
    """The tracker that track() and tracked() use: for its counts, and to flush it."""
    return _default.get("tracker") or _default.setdefault("tracker", _make_default())


def ledger_for(user_id: str) -> LedgerLike:
    """The ledger of a user where the settings say; raises ConfigError where they do not."""
    from tallystick.ledger import Ledger  # 100 ms, which no caller of track() shall wait for

    settings = load_settings()
    if settings.database_url is None:
        raise ConfigError(
            "no ledger is set up for tracking",
            hint="Set TALLYSTICK_DATABASE_URL, or SUPABASE_URL and SUPABASE_SERVICE_KEY.",
        )
    if not user_id and not is_server_key(settings.ledger_key):
        raise ConfigError("nobody is named whose call it is", hint="Pass user_id, or set USER_ID.")
    # what fails is tried again by the delivery, which can be stopped at exit
    return Ledger.connect(settings.database_url, user_id=user_id or None, key=settings.ledger_key, attempts=1)


def _make_default() -> Tracker:
    try:
        settings = load_settings()
    except Exception as error:
        return Tracker(partial(_refuse, error))
    # a key of a server knows whose it is, and a user id that some command once made up here is nobody's there
    user_id = named_user() if is_server_key(settings.ledger_key) else settings.user_id
    return Tracker(ledger_for, user_id=user_id, is_enabled=settings.token_tracking_enabled)


def _refuse(error: Exception, _user_id: str) -> LedgerLike:
    raise error


def _wrapper_of(stream: object) -> Callable[[Any, StreamWatch], object] | None:
    """What a stream is wrapped in; None for what is no stream, such as an answer, which may be iterable too."""
    if hasattr(stream, "__anext__"):
        return TrackedAsyncStream
    return TrackedStream if hasattr(stream, "__next__") else None


def _utc(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
