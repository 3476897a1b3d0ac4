-- The tables. Every one that grows leads its keys with user_id. None has a foreign key: one to the accounts alone costs
-- a third of the ingest rate, and verify_token_usage() looks for orphans instead.

-- Which ledger this is. Local checkpoints name it, so that a place in a transcript is never taken for read because some
-- other ledger has it.
create table tallystick.ledger (
  ledger_id uuid not null,
  created_at timestamptz not null default tallystick.current_time(),
  constraint ledger_pkey primary key (ledger_id)
);
comment on table tallystick.ledger is 'One row: the identity of this ledger, made anew when a backup is restored.';
create unique index ledger_is_one_row on tallystick.ledger ((true));
comment on index tallystick.ledger_is_one_row is 'Holds the table to one row.';
insert into tallystick.ledger (ledger_id) values (pg_catalog.gen_random_uuid());

create table tallystick.migrations (
  name text collate "C" not null,
  applied_at timestamptz not null default tallystick.current_time(),
  constraint migrations_pkey primary key (name)
);
comment on table tallystick.migrations is 'The migrations that made this schema what it is.';

create table public.token_usage_accounts (
  user_id uuid not null,
  time_zone text not null,
  receipt_count bigint not null default 0,
  created_at timestamptz not null,
  constraint token_usage_accounts_pkey primary key (user_id),
  constraint accounts_receipts_not_negative check (receipt_count >= 0)
);
comment on table public.token_usage_accounts is
  'One row per user with books here. Its row is locked first by whatever writes, so that one user''s writes take '
  'turns.';
comment on column public.token_usage_accounts.user_id is 'On Supabase, the id of auth.users.';
comment on column public.token_usage_accounts.time_zone is
  'An exact name of pg_timezone_names; the zone in which usage_date is the day of an event.';
comment on column public.token_usage_accounts.receipt_count is
  'How many batches were ingested: a ledger that knows fewer than a local checkpoint was set back, and is read to '
  'anew.';
comment on column public.token_usage_accounts.created_at is 'When the account was made.';

create table public.token_usage_events (
  user_id uuid not null,
  event_key text collate "C" not null,
  occurred_at timestamptz not null,
  recorded_at timestamptz not null,
  usage_date date not null,
  source text collate "C" not null,
  provider text collate "C" not null,
  model text collate "C" not null,
  session_id text collate "C" not null,
  project text collate "C" not null,
  device text collate "C" not null,
  git_branch text collate "C" not null,
  agent_version text collate "C" not null,
  is_sidechain boolean not null,
  request_id text collate "C" not null,
  service_tier text collate "C" not null,
  speed text collate "C" not null,
  inference_geo text collate "C" not null,
  grain text collate "C" not null,
  message_count bigint not null,
  input_tokens bigint not null,
  cache_creation_5m_tokens bigint not null,
  cache_creation_1h_tokens bigint not null,
  cache_read_tokens bigint not null,
  output_tokens bigint not null,
  thinking_tokens bigint not null,
  web_search_requests bigint not null,
  cost_usd numeric,
  cost_basis text collate "C" not null,
  price_id bigint,
  reported_cost_usd numeric,
  flags text[] collate "C" not null,
  is_final boolean not null,
  origin_rank smallint not null,
  place_order text collate "C" not null,
  is_corrected boolean not null,
  constraint token_usage_events_pkey primary key (user_id, event_key),
  constraint events_counts_not_negative check (
    least(
      message_count, input_tokens, cache_creation_5m_tokens, cache_creation_1h_tokens, cache_read_tokens,
      output_tokens, thinking_tokens, web_search_requests
    ) >= 0
  ),
  constraint events_thinking_is_output check (thinking_tokens <= output_tokens),
  constraint events_unpriced_has_no_cost check ((cost_usd is null) = (cost_basis = 'unpriced')),
  constraint events_priced_names_its_price check ((price_id is not null) = (cost_basis in ('list', 'custom')))
)
with (fillfactor = 90);
comment on table public.token_usage_events is
  'One row per billable model call: what is true of it now. Written by the ledger''s functions only.';
comment on column public.token_usage_events.event_key is
  'The provider''s own id of the response with the provider before it, or the source''s fallback; no host, path '
  'or line.';
comment on column public.token_usage_events.occurred_at is 'When the call was made, of the earliest observation.';
comment on column public.token_usage_events.recorded_at is 'When this ledger first took the call in.';
comment on column public.token_usage_events.usage_date is 'The day of occurred_at in the zone of the account.';
comment on column public.token_usage_events.source is 'Who reported it: claude-code, codex, api, ...';
comment on column public.token_usage_events.provider is
  'Who billed it: anthropic, openai, aws, ...; '''' when unknown.';
comment on column public.token_usage_events.model is 'The model as the provider named it.';
comment on column public.token_usage_events.project is 'The root folder of the repository that the call was made in.';
comment on column public.token_usage_events.device is 'The machine whose transcript reported it.';
comment on column public.token_usage_events.grain is 'call, turn, session_delta or import: what one row stands for.';
comment on column public.token_usage_events.message_count is 'Messages that the row stands for; 1 for a call.';
comment on column public.token_usage_events.input_tokens is 'Prompt tokens neither read from nor written to the cache.';
comment on column public.token_usage_events.cache_creation_5m_tokens is
  'Prompt tokens written to the cache for five minutes, or at the only write price there is.';
comment on column public.token_usage_events.cache_creation_1h_tokens is
  'Prompt tokens written to the cache for an hour.';
comment on column public.token_usage_events.cache_read_tokens is 'Prompt tokens read from the cache.';
comment on column public.token_usage_events.output_tokens is 'Everything billed as output, thinking included.';
comment on column public.token_usage_events.thinking_tokens is
  'How many of the output tokens are known to be thinking.';
comment on column public.token_usage_events.web_search_requests is 'Web searches, billed per request.';
comment on column public.token_usage_events.cost_usd is
  'US dollars at the price of the day; null is unpriced, not zero.';
comment on column public.token_usage_events.cost_basis is
  'list (the seeded list), custom (the user''s own price), reported (what the source said) or unpriced.';
comment on column public.token_usage_events.price_id is 'The row of token_usage_prices that priced it.';
comment on column public.token_usage_events.reported_cost_usd is 'What the source itself said that it cost.';
comment on column public.token_usage_events.flags is
  'What is odd about it: implausible, clock_skew, coerced, weak_key, not_final, time_inherited, ...';
comment on column public.token_usage_events.is_final is 'Rank of how much: the observation was complete.';
comment on column public.token_usage_events.origin_rank is 'Rank of how much: 2 main line, 1 sidechain, 0 mirror.';
comment on column public.token_usage_events.place_order is 'Rank of when and where, after the time: the source''s own.';
comment on column public.token_usage_events.is_corrected is 'A person has set it; no observation changes it any more.';

create index events_by_time on public.token_usage_events (user_id, occurred_at);
comment on index public.events_by_time is
  'Blocks, the latest calls, and reports by device or in a zone that is not the account''s.';
create index events_by_session on public.token_usage_events (user_id, source, session_id, occurred_at);
comment on index public.events_by_session is 'One session''s detail; first and latest call of a session.';

create table public.token_usage_event_versions (
  user_id uuid not null,
  event_key text collate "C" not null,
  version integer not null,
  superseded_at timestamptz not null,
  reason text collate "C" not null,
  cost_usd numeric,
  cost_basis text collate "C" not null,
  price_id bigint,
  event jsonb,
  constraint token_usage_event_versions_pkey primary key (user_id, event_key, version),
  constraint versions_reason_is_known check (reason in ('revised', 'rerated', 'corrected'))
);
comment on table public.token_usage_event_versions is
  'What an event was, each state that was once committed as the truth.';
comment on column public.token_usage_event_versions.version is '1 for the first state superseded, and so on.';
comment on column public.token_usage_event_versions.reason is
  'revised (a better observation came), rerated (priced again) or corrected (a person set it).';
comment on column public.token_usage_event_versions.event is
  'The other columns as they stood; null after a re-rating, which changes none of them.';

create table public.token_usage_sessions (
  user_id uuid not null,
  source text collate "C" not null,
  session_id text collate "C" not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  cache_creation_tokens bigint not null,
  cache_read_tokens bigint not null,
  thinking_tokens bigint not null,
  web_search_requests bigint not null,
  message_count bigint not null,
  event_count bigint not null,
  unpriced_event_count bigint not null,
  estimated_cost_usd numeric not null,
  session_started_at timestamptz not null,
  last_activity_at timestamptz not null,
  last_event_key text collate "C" not null,
  last_updated_at timestamptz not null,
  model_used text collate "C" not null,
  project text collate "C" not null,
  device text collate "C" not null,
  constraint token_usage_sessions_pkey primary key (user_id, source, session_id),
  constraint sessions_have_events check (event_count > 0)
)
with (fillfactor = 80);
comment on table public.token_usage_sessions is 'One row per session: the sums of its events.';
comment on column public.token_usage_sessions.estimated_cost_usd is
  'Sum of the costs of the priced events, US dollars; unpriced_event_count says what is missing from it.';
comment on column public.token_usage_sessions.last_event_key is 'The latest call; model, project and device are its.';
comment on column public.token_usage_sessions.model_used is 'The model of the latest call.';

create table public.token_usage_daily (
  user_id uuid not null,
  usage_date date not null,
  daily_input_tokens bigint not null,
  daily_output_tokens bigint not null,
  daily_cache_creation_tokens bigint not null,
  daily_cache_read_tokens bigint not null,
  daily_thinking_tokens bigint not null,
  daily_web_search_requests bigint not null,
  daily_session_count bigint not null,
  daily_message_count bigint not null,
  daily_event_count bigint not null,
  daily_unpriced_event_count bigint not null,
  daily_cost_usd numeric not null,
  updated_at timestamptz not null,
  constraint token_usage_daily_pkey primary key (user_id, usage_date),
  constraint daily_have_events check (daily_event_count > 0)
)
with (fillfactor = 80);
comment on table public.token_usage_daily is 'One row per day in the account''s zone: the sums of its events.';
comment on column public.token_usage_daily.daily_session_count is
  'Distinct sessions with an event on that day; never to be added over days.';
comment on column public.token_usage_daily.daily_cost_usd is 'Sum of the costs of the priced events, US dollars.';

create table public.token_usage_by_day (
  user_id uuid not null,
  usage_date date not null,
  source text collate "C" not null,
  project text collate "C" not null,
  model text collate "C" not null,
  event_count bigint not null,
  message_count bigint not null,
  unpriced_event_count bigint not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  thinking_tokens bigint not null,
  cache_creation_tokens bigint not null,
  cache_read_tokens bigint not null,
  web_search_requests bigint not null,
  cost_usd numeric not null,
  constraint token_usage_by_day_pkey primary key (user_id, usage_date, source, project, model),
  constraint by_day_have_events check (event_count > 0)
)
with (fillfactor = 80);
comment on table public.token_usage_by_day is 'The rollup that day, week, month, model and project reports read.';

create table public.token_usage_by_session_day (
  user_id uuid not null,
  usage_date date not null,
  source text collate "C" not null,
  session_id text collate "C" not null,
  project text collate "C" not null,
  model text collate "C" not null,
  event_count bigint not null,
  message_count bigint not null,
  unpriced_event_count bigint not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  thinking_tokens bigint not null,
  cache_creation_tokens bigint not null,
  cache_read_tokens bigint not null,
  web_search_requests bigint not null,
  cost_usd numeric not null,
  constraint token_usage_by_session_day_pkey
    primary key (user_id, usage_date, source, session_id, project, model),
  constraint by_session_day_have_events check (event_count > 0)
)
with (fillfactor = 80);
comment on table public.token_usage_by_session_day is
  'The rollup that session reports read, and from whose rows coming and going the day''s session count is kept.';

create table public.token_usage_rejects (
  user_id uuid not null,
  source text collate "C" not null,
  position text collate "C" not null,
  reason text collate "C" not null,
  first_seen_at timestamptz not null,
  last_seen_at timestamptz not null,
  constraint token_usage_rejects_pkey primary key (user_id, source, position, reason)
);
comment on table public.token_usage_rejects is
  'Records that could not be counted, once each: where they stand and why, never what they hold.';
comment on column public.token_usage_rejects.position is 'Where the source has it, such as file and byte offset.';

create table public.token_usage_prices (
  price_id bigint generated always as identity,
  user_id uuid,
  provider text collate "C" not null,
  model text collate "C" not null,
  valid_from timestamptz not null,
  input_usd_per_mtok numeric not null,
  output_usd_per_mtok numeric not null,
  cache_read_usd_per_mtok numeric not null,
  cache_creation_5m_usd_per_mtok numeric not null,
  cache_creation_1h_usd_per_mtok numeric not null,
  long_context_threshold_tokens bigint,
  long_input_usd_per_mtok numeric,
  long_output_usd_per_mtok numeric,
  long_cache_read_usd_per_mtok numeric,
  long_cache_creation_5m_usd_per_mtok numeric,
  long_cache_creation_1h_usd_per_mtok numeric,
  batch_multiplier numeric,
  flex_multiplier numeric,
  priority_multiplier numeric,
  fast_multiplier numeric,
  us_multiplier numeric not null default 1,
  web_search_usd numeric not null default 0,
  origin text not null,
  digest text not null,
  recorded_at timestamptz not null,
  constraint token_usage_prices_pkey primary key (price_id),
  constraint prices_rates_not_negative check (
    least(
      input_usd_per_mtok, output_usd_per_mtok, cache_read_usd_per_mtok, cache_creation_5m_usd_per_mtok,
      cache_creation_1h_usd_per_mtok, long_input_usd_per_mtok, long_output_usd_per_mtok,
      long_cache_read_usd_per_mtok, long_cache_creation_5m_usd_per_mtok, long_cache_creation_1h_usd_per_mtok,
      web_search_usd
    ) >= 0
  ),
  constraint prices_long_rates_come_together check (
    num_nulls(
      long_context_threshold_tokens, long_input_usd_per_mtok, long_output_usd_per_mtok,
      long_cache_read_usd_per_mtok, long_cache_creation_5m_usd_per_mtok, long_cache_creation_1h_usd_per_mtok
    ) in (0, 6)
  ),
  constraint prices_multipliers_positive check (
    least(batch_multiplier, flex_multiplier, priority_multiplier, fast_multiplier, us_multiplier) > 0
  )
);
comment on table public.token_usage_prices is
  'Dated rates, appended and never changed; user_id null is everybody''s. US dollars per million tokens.';
create index prices_by_model
on public.token_usage_prices (user_id, provider, model, valid_from desc, price_id desc);
comment on index public.prices_by_model is
  'The prices of a model, everybody''s or one user''s, and whether a user has any.';
