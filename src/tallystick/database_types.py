from __future__ import annotations

import datetime
import uuid
from typing import (
    Annotated,
    Any,
    List,
    Literal,
    Optional,
    TypedDict,
)
from typing_extensions import NotRequired, TypeAlias

from pydantic import BaseModel, Field, JsonValue



class PublicTokenUsageAccounts(BaseModel):
    created_at: datetime.datetime = Field(alias="created_at")
    receipt_count: int = Field(alias="receipt_count")
    time_zone: str = Field(alias="time_zone")
    user_id: uuid.UUID = Field(alias="user_id")

class PublicTokenUsageAccountsInsert(TypedDict):
    created_at: Annotated[datetime.datetime, Field(alias="created_at")]
    receipt_count: NotRequired[Annotated[int, Field(alias="receipt_count")]]
    time_zone: Annotated[str, Field(alias="time_zone")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]

class PublicTokenUsageAccountsUpdate(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    receipt_count: NotRequired[Annotated[int, Field(alias="receipt_count")]]
    time_zone: NotRequired[Annotated[str, Field(alias="time_zone")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicTokenUsageByDay(BaseModel):
    cache_creation_tokens: int = Field(alias="cache_creation_tokens")
    cache_read_tokens: int = Field(alias="cache_read_tokens")
    cost_usd: float = Field(alias="cost_usd")
    event_count: int = Field(alias="event_count")
    input_tokens: int = Field(alias="input_tokens")
    message_count: int = Field(alias="message_count")
    model: str = Field(alias="model")
    output_tokens: int = Field(alias="output_tokens")
    project: str = Field(alias="project")
    source: str = Field(alias="source")
    thinking_tokens: int = Field(alias="thinking_tokens")
    unpriced_event_count: int = Field(alias="unpriced_event_count")
    usage_date: datetime.date = Field(alias="usage_date")
    user_id: uuid.UUID = Field(alias="user_id")
    web_search_requests: int = Field(alias="web_search_requests")

class PublicTokenUsageByDayInsert(TypedDict):
    cache_creation_tokens: Annotated[int, Field(alias="cache_creation_tokens")]
    cache_read_tokens: Annotated[int, Field(alias="cache_read_tokens")]
    cost_usd: Annotated[float, Field(alias="cost_usd")]
    event_count: Annotated[int, Field(alias="event_count")]
    input_tokens: Annotated[int, Field(alias="input_tokens")]
    message_count: Annotated[int, Field(alias="message_count")]
    model: Annotated[str, Field(alias="model")]
    output_tokens: Annotated[int, Field(alias="output_tokens")]
    project: Annotated[str, Field(alias="project")]
    source: Annotated[str, Field(alias="source")]
    thinking_tokens: Annotated[int, Field(alias="thinking_tokens")]
    unpriced_event_count: Annotated[int, Field(alias="unpriced_event_count")]
    usage_date: Annotated[datetime.date, Field(alias="usage_date")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    web_search_requests: Annotated[int, Field(alias="web_search_requests")]

class PublicTokenUsageByDayUpdate(TypedDict):
    cache_creation_tokens: NotRequired[Annotated[int, Field(alias="cache_creation_tokens")]]
    cache_read_tokens: NotRequired[Annotated[int, Field(alias="cache_read_tokens")]]
    cost_usd: NotRequired[Annotated[float, Field(alias="cost_usd")]]
    event_count: NotRequired[Annotated[int, Field(alias="event_count")]]
    input_tokens: NotRequired[Annotated[int, Field(alias="input_tokens")]]
    message_count: NotRequired[Annotated[int, Field(alias="message_count")]]
    model: NotRequired[Annotated[str, Field(alias="model")]]
    output_tokens: NotRequired[Annotated[int, Field(alias="output_tokens")]]
    project: NotRequired[Annotated[str, Field(alias="project")]]
    source: NotRequired[Annotated[str, Field(alias="source")]]
    thinking_tokens: NotRequired[Annotated[int, Field(alias="thinking_tokens")]]
    unpriced_event_count: NotRequired[Annotated[int, Field(alias="unpriced_event_count")]]
    usage_date: NotRequired[Annotated[datetime.date, Field(alias="usage_date")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    web_search_requests: NotRequired[Annotated[int, Field(alias="web_search_requests")]]

class PublicTokenUsageBySessionDay(BaseModel):
    cache_creation_tokens: int = Field(alias="cache_creation_tokens")
    cache_read_tokens: int = Field(alias="cache_read_tokens")
    cost_usd: float = Field(alias="cost_usd")
    event_count: int = Field(alias="event_count")
    input_tokens: int = Field(alias="input_tokens")
    message_count: int = Field(alias="message_count")
    model: str = Field(alias="model")
    output_tokens: int = Field(alias="output_tokens")
    project: str = Field(alias="project")
    session_id: str = Field(alias="session_id")
    source: str = Field(alias="source")
    thinking_tokens: int = Field(alias="thinking_tokens")
    unpriced_event_count: int = Field(alias="unpriced_event_count")
    usage_date: datetime.date = Field(alias="usage_date")
    user_id: uuid.UUID = Field(alias="user_id")
    web_search_requests: int = Field(alias="web_search_requests")

class PublicTokenUsageBySessionDayInsert(TypedDict):
    cache_creation_tokens: Annotated[int, Field(alias="cache_creation_tokens")]
    cache_read_tokens: Annotated[int, Field(alias="cache_read_tokens")]
    cost_usd: Annotated[float, Field(alias="cost_usd")]
    event_count: Annotated[int, Field(alias="event_count")]
    input_tokens: Annotated[int, Field(alias="input_tokens")]
    message_count: Annotated[int, Field(alias="message_count")]
    model: Annotated[str, Field(alias="model")]
    output_tokens: Annotated[int, Field(alias="output_tokens")]
    project: Annotated[str, Field(alias="project")]
    session_id: Annotated[str, Field(alias="session_id")]
    source: Annotated[str, Field(alias="source")]
    thinking_tokens: Annotated[int, Field(alias="thinking_tokens")]
    unpriced_event_count: Annotated[int, Field(alias="unpriced_event_count")]
    usage_date: Annotated[datetime.date, Field(alias="usage_date")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    web_search_requests: Annotated[int, Field(alias="web_search_requests")]

class PublicTokenUsageBySessionDayUpdate(TypedDict):
    cache_creation_tokens: NotRequired[Annotated[int, Field(alias="cache_creation_tokens")]]
    cache_read_tokens: NotRequired[Annotated[int, Field(alias="cache_read_tokens")]]
    cost_usd: NotRequired[Annotated[float, Field(alias="cost_usd")]]
    event_count: NotRequired[Annotated[int, Field(alias="event_count")]]
    input_tokens: NotRequired[Annotated[int, Field(alias="input_tokens")]]
    message_count: NotRequired[Annotated[int, Field(alias="message_count")]]
    model: NotRequired[Annotated[str, Field(alias="model")]]
    output_tokens: NotRequired[Annotated[int, Field(alias="output_tokens")]]
    project: NotRequired[Annotated[str, Field(alias="project")]]
    session_id: NotRequired[Annotated[str, Field(alias="session_id")]]
    source: NotRequired[Annotated[str, Field(alias="source")]]
    thinking_tokens: NotRequired[Annotated[int, Field(alias="thinking_tokens")]]
    unpriced_event_count: NotRequired[Annotated[int, Field(alias="unpriced_event_count")]]
    usage_date: NotRequired[Annotated[datetime.date, Field(alias="usage_date")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    web_search_requests: NotRequired[Annotated[int, Field(alias="web_search_requests")]]

class PublicTokenUsageDaily(BaseModel):
    daily_cache_creation_tokens: int = Field(alias="daily_cache_creation_tokens")
    daily_cache_read_tokens: int = Field(alias="daily_cache_read_tokens")
    daily_cost_usd: float = Field(alias="daily_cost_usd")
    daily_event_count: int = Field(alias="daily_event_count")
    daily_input_tokens: int = Field(alias="daily_input_tokens")
    daily_message_count: int = Field(alias="daily_message_count")
    daily_output_tokens: int = Field(alias="daily_output_tokens")
    daily_session_count: int = Field(alias="daily_session_count")
    daily_thinking_tokens: int = Field(alias="daily_thinking_tokens")
    daily_unpriced_event_count: int = Field(alias="daily_unpriced_event_count")
    daily_web_search_requests: int = Field(alias="daily_web_search_requests")
    updated_at: datetime.datetime = Field(alias="updated_at")
    usage_date: datetime.date = Field(alias="usage_date")
    user_id: uuid.UUID = Field(alias="user_id")

class PublicTokenUsageDailyInsert(TypedDict):
    daily_cache_creation_tokens: Annotated[int, Field(alias="daily_cache_creation_tokens")]
    daily_cache_read_tokens: Annotated[int, Field(alias="daily_cache_read_tokens")]
    daily_cost_usd: Annotated[float, Field(alias="daily_cost_usd")]
    daily_event_count: Annotated[int, Field(alias="daily_event_count")]
    daily_input_tokens: Annotated[int, Field(alias="daily_input_tokens")]
    daily_message_count: Annotated[int, Field(alias="daily_message_count")]
    daily_output_tokens: Annotated[int, Field(alias="daily_output_tokens")]
    daily_session_count: Annotated[int, Field(alias="daily_session_count")]
    daily_thinking_tokens: Annotated[int, Field(alias="daily_thinking_tokens")]
    daily_unpriced_event_count: Annotated[int, Field(alias="daily_unpriced_event_count")]
    daily_web_search_requests: Annotated[int, Field(alias="daily_web_search_requests")]
    updated_at: Annotated[datetime.datetime, Field(alias="updated_at")]
    usage_date: Annotated[datetime.date, Field(alias="usage_date")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]

class PublicTokenUsageDailyUpdate(TypedDict):
    daily_cache_creation_tokens: NotRequired[Annotated[int, Field(alias="daily_cache_creation_tokens")]]
    daily_cache_read_tokens: NotRequired[Annotated[int, Field(alias="daily_cache_read_tokens")]]
    daily_cost_usd: NotRequired[Annotated[float, Field(alias="daily_cost_usd")]]
    daily_event_count: NotRequired[Annotated[int, Field(alias="daily_event_count")]]
    daily_input_tokens: NotRequired[Annotated[int, Field(alias="daily_input_tokens")]]
    daily_message_count: NotRequired[Annotated[int, Field(alias="daily_message_count")]]
    daily_output_tokens: NotRequired[Annotated[int, Field(alias="daily_output_tokens")]]
    daily_session_count: NotRequired[Annotated[int, Field(alias="daily_session_count")]]
    daily_thinking_tokens: NotRequired[Annotated[int, Field(alias="daily_thinking_tokens")]]
    daily_unpriced_event_count: NotRequired[Annotated[int, Field(alias="daily_unpriced_event_count")]]
    daily_web_search_requests: NotRequired[Annotated[int, Field(alias="daily_web_search_requests")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    usage_date: NotRequired[Annotated[datetime.date, Field(alias="usage_date")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicTokenUsageEventVersions(BaseModel):
    cost_basis: str = Field(alias="cost_basis")
    cost_usd: Optional[float] = Field(alias="cost_usd")
    event: Optional[JsonValue] = Field(alias="event")
    event_key: str = Field(alias="event_key")
    price_id: Optional[int] = Field(alias="price_id")
    reason: str = Field(alias="reason")
    superseded_at: datetime.datetime = Field(alias="superseded_at")
    user_id: uuid.UUID = Field(alias="user_id")
    version: int = Field(alias="version")

class PublicTokenUsageEventVersionsInsert(TypedDict):
    cost_basis: Annotated[str, Field(alias="cost_basis")]
    cost_usd: NotRequired[Annotated[Optional[float], Field(alias="cost_usd")]]
    event: NotRequired[Annotated[Optional[JsonValue], Field(alias="event")]]
    event_key: Annotated[str, Field(alias="event_key")]
    price_id: NotRequired[Annotated[Optional[int], Field(alias="price_id")]]
    reason: Annotated[str, Field(alias="reason")]
    superseded_at: Annotated[datetime.datetime, Field(alias="superseded_at")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    version: Annotated[int, Field(alias="version")]

class PublicTokenUsageEventVersionsUpdate(TypedDict):
    cost_basis: NotRequired[Annotated[str, Field(alias="cost_basis")]]
    cost_usd: NotRequired[Annotated[Optional[float], Field(alias="cost_usd")]]
    event: NotRequired[Annotated[Optional[JsonValue], Field(alias="event")]]
    event_key: NotRequired[Annotated[str, Field(alias="event_key")]]
    price_id: NotRequired[Annotated[Optional[int], Field(alias="price_id")]]
    reason: NotRequired[Annotated[str, Field(alias="reason")]]
    superseded_at: NotRequired[Annotated[datetime.datetime, Field(alias="superseded_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    version: NotRequired[Annotated[int, Field(alias="version")]]

class PublicTokenUsageEvents(BaseModel):
    agent_version: str = Field(alias="agent_version")
    cache_creation_1h_tokens: int = Field(alias="cache_creation_1h_tokens")
    cache_creation_5m_tokens: int = Field(alias="cache_creation_5m_tokens")
    cache_read_tokens: int = Field(alias="cache_read_tokens")
    cost_basis: str = Field(alias="cost_basis")
    cost_usd: Optional[float] = Field(alias="cost_usd")
    device: str = Field(alias="device")
    event_key: str = Field(alias="event_key")
    flags: List[str] = Field(alias="flags")
    git_branch: str = Field(alias="git_branch")
    grain: str = Field(alias="grain")
    inference_geo: str = Field(alias="inference_geo")
    input_tokens: int = Field(alias="input_tokens")
    is_corrected: bool = Field(alias="is_corrected")
    is_final: bool = Field(alias="is_final")
    is_sidechain: bool = Field(alias="is_sidechain")
    message_count: int = Field(alias="message_count")
    model: str = Field(alias="model")
    occurred_at: datetime.datetime = Field(alias="occurred_at")
    origin_rank: int = Field(alias="origin_rank")
    output_tokens: int = Field(alias="output_tokens")
    place_order: str = Field(alias="place_order")
    price_id: Optional[int] = Field(alias="price_id")
    project: str = Field(alias="project")
    provider: str = Field(alias="provider")
    recorded_at: datetime.datetime = Field(alias="recorded_at")
    reported_cost_usd: Optional[float] = Field(alias="reported_cost_usd")
    request_id: str = Field(alias="request_id")
    service_tier: str = Field(alias="service_tier")
    session_id: str = Field(alias="session_id")
    source: str = Field(alias="source")
    speed: str = Field(alias="speed")
    thinking_tokens: int = Field(alias="thinking_tokens")
    usage_date: datetime.date = Field(alias="usage_date")
    user_id: uuid.UUID = Field(alias="user_id")
    web_search_requests: int = Field(alias="web_search_requests")

class PublicTokenUsageEventsInsert(TypedDict):
    agent_version: Annotated[str, Field(alias="agent_version")]
    cache_creation_1h_tokens: Annotated[int, Field(alias="cache_creation_1h_tokens")]
    cache_creation_5m_tokens: Annotated[int, Field(alias="cache_creation_5m_tokens")]
    cache_read_tokens: Annotated[int, Field(alias="cache_read_tokens")]
    cost_basis: Annotated[str, Field(alias="cost_basis")]
    cost_usd: NotRequired[Annotated[Optional[float], Field(alias="cost_usd")]]
    device: Annotated[str, Field(alias="device")]
    event_key: Annotated[str, Field(alias="event_key")]
    flags: Annotated[List[str], Field(alias="flags")]
    git_branch: Annotated[str, Field(alias="git_branch")]
    grain: Annotated[str, Field(alias="grain")]
    inference_geo: Annotated[str, Field(alias="inference_geo")]
    input_tokens: Annotated[int, Field(alias="input_tokens")]
    is_corrected: Annotated[bool, Field(alias="is_corrected")]
    is_final: Annotated[bool, Field(alias="is_final")]
    is_sidechain: Annotated[bool, Field(alias="is_sidechain")]
    message_count: Annotated[int, Field(alias="message_count")]
    model: Annotated[str, Field(alias="model")]
    occurred_at: Annotated[datetime.datetime, Field(alias="occurred_at")]
    origin_rank: Annotated[int, Field(alias="origin_rank")]
    output_tokens: Annotated[int, Field(alias="output_tokens")]
    place_order: Annotated[str, Field(alias="place_order")]
    price_id: NotRequired[Annotated[Optional[int], Field(alias="price_id")]]
    project: Annotated[str, Field(alias="project")]
    provider: Annotated[str, Field(alias="provider")]
    recorded_at: Annotated[datetime.datetime, Field(alias="recorded_at")]
    reported_cost_usd: NotRequired[Annotated[Optional[float], Field(alias="reported_cost_usd")]]
    request_id: Annotated[str, Field(alias="request_id")]
    service_tier: Annotated[str, Field(alias="service_tier")]
    session_id: Annotated[str, Field(alias="session_id")]
    source: Annotated[str, Field(alias="source")]
    speed: Annotated[str, Field(alias="speed")]
    thinking_tokens: Annotated[int, Field(alias="thinking_tokens")]
    usage_date: Annotated[datetime.date, Field(alias="usage_date")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    web_search_requests: Annotated[int, Field(alias="web_search_requests")]

class PublicTokenUsageEventsUpdate(TypedDict):
    agent_version: NotRequired[Annotated[str, Field(alias="agent_version")]]
    cache_creation_1h_tokens: NotRequired[Annotated[int, Field(alias="cache_creation_1h_tokens")]]
    cache_creation_5m_tokens: NotRequired[Annotated[int, Field(alias="cache_creation_5m_tokens")]]
    cache_read_tokens: NotRequired[Annotated[int, Field(alias="cache_read_tokens")]]
    cost_basis: NotRequired[Annotated[str, Field(alias="cost_basis")]]
    cost_usd: NotRequired[Annotated[Optional[float], Field(alias="cost_usd")]]
    device: NotRequired[Annotated[str, Field(alias="device")]]
    event_key: NotRequired[Annotated[str, Field(alias="event_key")]]
    flags: NotRequired[Annotated[List[str], Field(alias="flags")]]
    git_branch: NotRequired[Annotated[str, Field(alias="git_branch")]]
    grain: NotRequired[Annotated[str, Field(alias="grain")]]
    inference_geo: NotRequired[Annotated[str, Field(alias="inference_geo")]]
    input_tokens: NotRequired[Annotated[int, Field(alias="input_tokens")]]
    is_corrected: NotRequired[Annotated[bool, Field(alias="is_corrected")]]
    is_final: NotRequired[Annotated[bool, Field(alias="is_final")]]
    is_sidechain: NotRequired[Annotated[bool, Field(alias="is_sidechain")]]
    message_count: NotRequired[Annotated[int, Field(alias="message_count")]]
    model: NotRequired[Annotated[str, Field(alias="model")]]
    occurred_at: NotRequired[Annotated[datetime.datetime, Field(alias="occurred_at")]]
    origin_rank: NotRequired[Annotated[int, Field(alias="origin_rank")]]
    output_tokens: NotRequired[Annotated[int, Field(alias="output_tokens")]]
    place_order: NotRequired[Annotated[str, Field(alias="place_order")]]
    price_id: NotRequired[Annotated[Optional[int], Field(alias="price_id")]]
    project: NotRequired[Annotated[str, Field(alias="project")]]
    provider: NotRequired[Annotated[str, Field(alias="provider")]]
    recorded_at: NotRequired[Annotated[datetime.datetime, Field(alias="recorded_at")]]
    reported_cost_usd: NotRequired[Annotated[Optional[float], Field(alias="reported_cost_usd")]]
    request_id: NotRequired[Annotated[str, Field(alias="request_id")]]
    service_tier: NotRequired[Annotated[str, Field(alias="service_tier")]]
    session_id: NotRequired[Annotated[str, Field(alias="session_id")]]
    source: NotRequired[Annotated[str, Field(alias="source")]]
    speed: NotRequired[Annotated[str, Field(alias="speed")]]
    thinking_tokens: NotRequired[Annotated[int, Field(alias="thinking_tokens")]]
    usage_date: NotRequired[Annotated[datetime.date, Field(alias="usage_date")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    web_search_requests: NotRequired[Annotated[int, Field(alias="web_search_requests")]]

class PublicTokenUsageLimits(BaseModel):
    device: str = Field(alias="device")
    first_observed_at: datetime.datetime = Field(alias="first_observed_at")
    last_observed_at: datetime.datetime = Field(alias="last_observed_at")
    limit_name: str = Field(alias="limit_name")
    resets_at: datetime.datetime = Field(alias="resets_at")
    source: str = Field(alias="source")
    used_percent: float = Field(alias="used_percent")
    user_id: uuid.UUID = Field(alias="user_id")
    whole_percent: int = Field(alias="whole_percent")
    window_minutes: int = Field(alias="window_minutes")

class PublicTokenUsageLimitsInsert(TypedDict):
    device: Annotated[str, Field(alias="device")]
    first_observed_at: Annotated[datetime.datetime, Field(alias="first_observed_at")]
    last_observed_at: Annotated[datetime.datetime, Field(alias="last_observed_at")]
    limit_name: Annotated[str, Field(alias="limit_name")]
    resets_at: Annotated[datetime.datetime, Field(alias="resets_at")]
    source: Annotated[str, Field(alias="source")]
    used_percent: Annotated[float, Field(alias="used_percent")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    whole_percent: Annotated[int, Field(alias="whole_percent")]
    window_minutes: Annotated[int, Field(alias="window_minutes")]

class PublicTokenUsageLimitsUpdate(TypedDict):
    device: NotRequired[Annotated[str, Field(alias="device")]]
    first_observed_at: NotRequired[Annotated[datetime.datetime, Field(alias="first_observed_at")]]
    last_observed_at: NotRequired[Annotated[datetime.datetime, Field(alias="last_observed_at")]]
    limit_name: NotRequired[Annotated[str, Field(alias="limit_name")]]
    resets_at: NotRequired[Annotated[datetime.datetime, Field(alias="resets_at")]]
    source: NotRequired[Annotated[str, Field(alias="source")]]
    used_percent: NotRequired[Annotated[float, Field(alias="used_percent")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    whole_percent: NotRequired[Annotated[int, Field(alias="whole_percent")]]
    window_minutes: NotRequired[Annotated[int, Field(alias="window_minutes")]]

class PublicTokenUsagePrices(BaseModel):
    batch_multiplier: Optional[float] = Field(alias="batch_multiplier")
    cache_creation_1h_usd_per_mtok: float = Field(alias="cache_creation_1h_usd_per_mtok")
    cache_creation_5m_usd_per_mtok: float = Field(alias="cache_creation_5m_usd_per_mtok")
    cache_read_usd_per_mtok: float = Field(alias="cache_read_usd_per_mtok")
    digest: str = Field(alias="digest")
    fast_multiplier: Optional[float] = Field(alias="fast_multiplier")
    flex_multiplier: Optional[float] = Field(alias="flex_multiplier")
    input_usd_per_mtok: float = Field(alias="input_usd_per_mtok")
    long_cache_creation_1h_usd_per_mtok: Optional[float] = Field(alias="long_cache_creation_1h_usd_per_mtok")
    long_cache_creation_5m_usd_per_mtok: Optional[float] = Field(alias="long_cache_creation_5m_usd_per_mtok")
    long_cache_read_usd_per_mtok: Optional[float] = Field(alias="long_cache_read_usd_per_mtok")
    long_context_threshold_tokens: Optional[int] = Field(alias="long_context_threshold_tokens")
    long_input_usd_per_mtok: Optional[float] = Field(alias="long_input_usd_per_mtok")
    long_output_usd_per_mtok: Optional[float] = Field(alias="long_output_usd_per_mtok")
    model: str = Field(alias="model")
    origin: str = Field(alias="origin")
    output_usd_per_mtok: float = Field(alias="output_usd_per_mtok")
    price_id: int = Field(alias="price_id")
    priority_multiplier: Optional[float] = Field(alias="priority_multiplier")
    provider: str = Field(alias="provider")
    recorded_at: datetime.datetime = Field(alias="recorded_at")
    us_multiplier: float = Field(alias="us_multiplier")
    user_id: Optional[uuid.UUID] = Field(alias="user_id")
    valid_from: datetime.datetime = Field(alias="valid_from")
    web_search_usd: float = Field(alias="web_search_usd")

class PublicTokenUsagePricesInsert(TypedDict):
    batch_multiplier: NotRequired[Annotated[Optional[float], Field(alias="batch_multiplier")]]
    cache_creation_1h_usd_per_mtok: Annotated[float, Field(alias="cache_creation_1h_usd_per_mtok")]
    cache_creation_5m_usd_per_mtok: Annotated[float, Field(alias="cache_creation_5m_usd_per_mtok")]
    cache_read_usd_per_mtok: Annotated[float, Field(alias="cache_read_usd_per_mtok")]
    digest: Annotated[str, Field(alias="digest")]
    fast_multiplier: NotRequired[Annotated[Optional[float], Field(alias="fast_multiplier")]]
    flex_multiplier: NotRequired[Annotated[Optional[float], Field(alias="flex_multiplier")]]
    input_usd_per_mtok: Annotated[float, Field(alias="input_usd_per_mtok")]
    long_cache_creation_1h_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_cache_creation_1h_usd_per_mtok")]]
    long_cache_creation_5m_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_cache_creation_5m_usd_per_mtok")]]
    long_cache_read_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_cache_read_usd_per_mtok")]]
    long_context_threshold_tokens: NotRequired[Annotated[Optional[int], Field(alias="long_context_threshold_tokens")]]
    long_input_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_input_usd_per_mtok")]]
    long_output_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_output_usd_per_mtok")]]
    model: Annotated[str, Field(alias="model")]
    origin: Annotated[str, Field(alias="origin")]
    output_usd_per_mtok: Annotated[float, Field(alias="output_usd_per_mtok")]
    price_id: NotRequired[Annotated[int, Field(alias="price_id")]]
    priority_multiplier: NotRequired[Annotated[Optional[float], Field(alias="priority_multiplier")]]
    provider: Annotated[str, Field(alias="provider")]
    recorded_at: Annotated[datetime.datetime, Field(alias="recorded_at")]
    us_multiplier: NotRequired[Annotated[float, Field(alias="us_multiplier")]]
    user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="user_id")]]
    valid_from: Annotated[datetime.datetime, Field(alias="valid_from")]
    web_search_usd: NotRequired[Annotated[float, Field(alias="web_search_usd")]]

class PublicTokenUsagePricesUpdate(TypedDict):
    batch_multiplier: NotRequired[Annotated[Optional[float], Field(alias="batch_multiplier")]]
    cache_creation_1h_usd_per_mtok: NotRequired[Annotated[float, Field(alias="cache_creation_1h_usd_per_mtok")]]
    cache_creation_5m_usd_per_mtok: NotRequired[Annotated[float, Field(alias="cache_creation_5m_usd_per_mtok")]]
    cache_read_usd_per_mtok: NotRequired[Annotated[float, Field(alias="cache_read_usd_per_mtok")]]
    digest: NotRequired[Annotated[str, Field(alias="digest")]]
    fast_multiplier: NotRequired[Annotated[Optional[float], Field(alias="fast_multiplier")]]
    flex_multiplier: NotRequired[Annotated[Optional[float], Field(alias="flex_multiplier")]]
    input_usd_per_mtok: NotRequired[Annotated[float, Field(alias="input_usd_per_mtok")]]
    long_cache_creation_1h_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_cache_creation_1h_usd_per_mtok")]]
    long_cache_creation_5m_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_cache_creation_5m_usd_per_mtok")]]
    long_cache_read_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_cache_read_usd_per_mtok")]]
    long_context_threshold_tokens: NotRequired[Annotated[Optional[int], Field(alias="long_context_threshold_tokens")]]
    long_input_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_input_usd_per_mtok")]]
    long_output_usd_per_mtok: NotRequired[Annotated[Optional[float], Field(alias="long_output_usd_per_mtok")]]
    model: NotRequired[Annotated[str, Field(alias="model")]]
    origin: NotRequired[Annotated[str, Field(alias="origin")]]
    output_usd_per_mtok: NotRequired[Annotated[float, Field(alias="output_usd_per_mtok")]]
    price_id: NotRequired[Annotated[int, Field(alias="price_id")]]
    priority_multiplier: NotRequired[Annotated[Optional[float], Field(alias="priority_multiplier")]]
    provider: NotRequired[Annotated[str, Field(alias="provider")]]
    recorded_at: NotRequired[Annotated[datetime.datetime, Field(alias="recorded_at")]]
    us_multiplier: NotRequired[Annotated[float, Field(alias="us_multiplier")]]
    user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="user_id")]]
    valid_from: NotRequired[Annotated[datetime.datetime, Field(alias="valid_from")]]
    web_search_usd: NotRequired[Annotated[float, Field(alias="web_search_usd")]]

class PublicTokenUsageRejects(BaseModel):
    first_seen_at: datetime.datetime = Field(alias="first_seen_at")
    last_seen_at: datetime.datetime = Field(alias="last_seen_at")
    position: str = Field(alias="position")
    reason: str = Field(alias="reason")
    source: str = Field(alias="source")
    user_id: uuid.UUID = Field(alias="user_id")

class PublicTokenUsageRejectsInsert(TypedDict):
    first_seen_at: Annotated[datetime.datetime, Field(alias="first_seen_at")]
    last_seen_at: Annotated[datetime.datetime, Field(alias="last_seen_at")]
    position: Annotated[str, Field(alias="position")]
    reason: Annotated[str, Field(alias="reason")]
    source: Annotated[str, Field(alias="source")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]

class PublicTokenUsageRejectsUpdate(TypedDict):
    first_seen_at: NotRequired[Annotated[datetime.datetime, Field(alias="first_seen_at")]]
    last_seen_at: NotRequired[Annotated[datetime.datetime, Field(alias="last_seen_at")]]
    position: NotRequired[Annotated[str, Field(alias="position")]]
    reason: NotRequired[Annotated[str, Field(alias="reason")]]
    source: NotRequired[Annotated[str, Field(alias="source")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicTokenUsageSessions(BaseModel):
    cache_creation_tokens: int = Field(alias="cache_creation_tokens")
    cache_read_tokens: int = Field(alias="cache_read_tokens")
    device: str = Field(alias="device")
    estimated_cost_usd: float = Field(alias="estimated_cost_usd")
    event_count: int = Field(alias="event_count")
    input_tokens: int = Field(alias="input_tokens")
    last_activity_at: datetime.datetime = Field(alias="last_activity_at")
    last_event_key: str = Field(alias="last_event_key")
    last_updated_at: datetime.datetime = Field(alias="last_updated_at")
    message_count: int = Field(alias="message_count")
    model_used: str = Field(alias="model_used")
    output_tokens: int = Field(alias="output_tokens")
    project: str = Field(alias="project")
    session_id: str = Field(alias="session_id")
    session_started_at: datetime.datetime = Field(alias="session_started_at")
    source: str = Field(alias="source")
    thinking_tokens: int = Field(alias="thinking_tokens")
    unpriced_event_count: int = Field(alias="unpriced_event_count")
    user_id: uuid.UUID = Field(alias="user_id")
    web_search_requests: int = Field(alias="web_search_requests")

class PublicTokenUsageSessionsInsert(TypedDict):
    cache_creation_tokens: Annotated[int, Field(alias="cache_creation_tokens")]
    cache_read_tokens: Annotated[int, Field(alias="cache_read_tokens")]
    device: Annotated[str, Field(alias="device")]
    estimated_cost_usd: Annotated[float, Field(alias="estimated_cost_usd")]
    event_count: Annotated[int, Field(alias="event_count")]
    input_tokens: Annotated[int, Field(alias="input_tokens")]
    last_activity_at: Annotated[datetime.datetime, Field(alias="last_activity_at")]
    last_event_key: Annotated[str, Field(alias="last_event_key")]
    last_updated_at: Annotated[datetime.datetime, Field(alias="last_updated_at")]
    message_count: Annotated[int, Field(alias="message_count")]
    model_used: Annotated[str, Field(alias="model_used")]
    output_tokens: Annotated[int, Field(alias="output_tokens")]
    project: Annotated[str, Field(alias="project")]
    session_id: Annotated[str, Field(alias="session_id")]
    session_started_at: Annotated[datetime.datetime, Field(alias="session_started_at")]
    source: Annotated[str, Field(alias="source")]
    thinking_tokens: Annotated[int, Field(alias="thinking_tokens")]
    unpriced_event_count: Annotated[int, Field(alias="unpriced_event_count")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    web_search_requests: Annotated[int, Field(alias="web_search_requests")]

class PublicTokenUsageSessionsUpdate(TypedDict):
    cache_creation_tokens: NotRequired[Annotated[int, Field(alias="cache_creation_tokens")]]
    cache_read_tokens: NotRequired[Annotated[int, Field(alias="cache_read_tokens")]]
    device: NotRequired[Annotated[str, Field(alias="device")]]
    estimated_cost_usd: NotRequired[Annotated[float, Field(alias="estimated_cost_usd")]]
    event_count: NotRequired[Annotated[int, Field(alias="event_count")]]
    input_tokens: NotRequired[Annotated[int, Field(alias="input_tokens")]]
    last_activity_at: NotRequired[Annotated[datetime.datetime, Field(alias="last_activity_at")]]
    last_event_key: NotRequired[Annotated[str, Field(alias="last_event_key")]]
    last_updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="last_updated_at")]]
    message_count: NotRequired[Annotated[int, Field(alias="message_count")]]
    model_used: NotRequired[Annotated[str, Field(alias="model_used")]]
    output_tokens: NotRequired[Annotated[int, Field(alias="output_tokens")]]
    project: NotRequired[Annotated[str, Field(alias="project")]]
    session_id: NotRequired[Annotated[str, Field(alias="session_id")]]
    session_started_at: NotRequired[Annotated[datetime.datetime, Field(alias="session_started_at")]]
    source: NotRequired[Annotated[str, Field(alias="source")]]
    thinking_tokens: NotRequired[Annotated[int, Field(alias="thinking_tokens")]]
    unpriced_event_count: NotRequired[Annotated[int, Field(alias="unpriced_event_count")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    web_search_requests: NotRequired[Annotated[int, Field(alias="web_search_requests")]]





class PublicUsageBlockRow(BaseModel):
    block_start: Optional[datetime.datetime] = Field(alias="block_start")
    block_end: Optional[datetime.datetime] = Field(alias="block_end")
    is_gap: Optional[bool] = Field(alias="is_gap")
    is_active: Optional[bool] = Field(alias="is_active")
    first_activity_at: Optional[datetime.datetime] = Field(alias="first_activity_at")
    last_activity_at: Optional[datetime.datetime] = Field(alias="last_activity_at")
    source: Optional[str] = Field(alias="source")
    session_id: Optional[str] = Field(alias="session_id")
    project: Optional[str] = Field(alias="project")
    model: Optional[str] = Field(alias="model")
    device: Optional[str] = Field(alias="device")
    models: Optional[List[str]] = Field(alias="models")
    event_count: Optional[int] = Field(alias="event_count")
    message_count: Optional[int] = Field(alias="message_count")
    unpriced_event_count: Optional[int] = Field(alias="unpriced_event_count")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    thinking_tokens: Optional[int] = Field(alias="thinking_tokens")
    cache_creation_tokens: Optional[int] = Field(alias="cache_creation_tokens")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    web_search_requests: Optional[int] = Field(alias="web_search_requests")
    cost_usd: Optional[str] = Field(alias="cost_usd")

class PublicUsageEventCostRow(BaseModel):
    event_key: Optional[str] = Field(alias="event_key")
    session_id: Optional[str] = Field(alias="session_id")
    model: Optional[str] = Field(alias="model")
    cost_usd: Optional[str] = Field(alias="cost_usd")

class PublicUsageLimitRow(BaseModel):
    source: Optional[str] = Field(alias="source")
    limit_name: Optional[str] = Field(alias="limit_name")
    used_percent: Optional[float] = Field(alias="used_percent")
    window_minutes: Optional[int] = Field(alias="window_minutes")
    resets_at: Optional[datetime.datetime] = Field(alias="resets_at")
    observed_at: Optional[datetime.datetime] = Field(alias="observed_at")

class PublicUsageRejectRow(BaseModel):
    source: Optional[str] = Field(alias="source")
    reason: Optional[str] = Field(alias="reason")
    record_count: Optional[int] = Field(alias="record_count")
    first_seen_at: Optional[datetime.datetime] = Field(alias="first_seen_at")
    last_seen_at: Optional[datetime.datetime] = Field(alias="last_seen_at")
    position: Optional[str] = Field(alias="position")

class PublicUsageRow(BaseModel):
    period_start: Optional[datetime.date] = Field(alias="period_start")
    source: Optional[str] = Field(alias="source")
    session_id: Optional[str] = Field(alias="session_id")
    project: Optional[str] = Field(alias="project")
    model: Optional[str] = Field(alias="model")
    device: Optional[str] = Field(alias="device")
    session_count: Optional[int] = Field(alias="session_count")
    event_count: Optional[int] = Field(alias="event_count")
    message_count: Optional[int] = Field(alias="message_count")
    unpriced_event_count: Optional[int] = Field(alias="unpriced_event_count")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    thinking_tokens: Optional[int] = Field(alias="thinking_tokens")
    cache_creation_tokens: Optional[int] = Field(alias="cache_creation_tokens")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    web_search_requests: Optional[int] = Field(alias="web_search_requests")
    cost_usd: Optional[str] = Field(alias="cost_usd")

class PublicUsageSessionEventRow(BaseModel):
    event_key: Optional[str] = Field(alias="event_key")
    occurred_at: Optional[datetime.datetime] = Field(alias="occurred_at")
    source: Optional[str] = Field(alias="source")
    project: Optional[str] = Field(alias="project")
    model: Optional[str] = Field(alias="model")
    device: Optional[str] = Field(alias="device")
    is_sidechain: Optional[bool] = Field(alias="is_sidechain")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    thinking_tokens: Optional[int] = Field(alias="thinking_tokens")
    cache_creation_tokens: Optional[int] = Field(alias="cache_creation_tokens")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    web_search_requests: Optional[int] = Field(alias="web_search_requests")
    message_count: Optional[int] = Field(alias="message_count")
    unpriced_event_count: Optional[int] = Field(alias="unpriced_event_count")
    cost_usd: Optional[str] = Field(alias="cost_usd")
    cost_basis: Optional[str] = Field(alias="cost_basis")
    flags: Optional[List[str]] = Field(alias="flags")

class PublicUsageSessionRow(BaseModel):
    source: Optional[str] = Field(alias="source")
    session_id: Optional[str] = Field(alias="session_id")
    session_started_at: Optional[datetime.datetime] = Field(alias="session_started_at")
    last_activity_at: Optional[datetime.datetime] = Field(alias="last_activity_at")
    project: Optional[str] = Field(alias="project")
    device: Optional[str] = Field(alias="device")
    model: Optional[str] = Field(alias="model")
    event_count: Optional[int] = Field(alias="event_count")
    message_count: Optional[int] = Field(alias="message_count")
    unpriced_event_count: Optional[int] = Field(alias="unpriced_event_count")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    thinking_tokens: Optional[int] = Field(alias="thinking_tokens")
    cache_creation_tokens: Optional[int] = Field(alias="cache_creation_tokens")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    web_search_requests: Optional[int] = Field(alias="web_search_requests")
    cost_usd: Optional[str] = Field(alias="cost_usd")
