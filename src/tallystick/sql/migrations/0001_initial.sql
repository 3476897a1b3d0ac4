-- Tallystick keeps the books on AI tokens: which model calls were made, what they used, what they cost.
--
-- One model call is one row of token_usage_events, under a key that its provider gave it. Whoever saw the call reports
-- an *observation*; several may report the same call (an agent writes it several times while it streams, and copies it
-- when a session is resumed or forked), in any order, any number of times. ingest_token_usage() takes observations in
-- and decides, by two total orders, what is true:
--
-- * How much?        counts, model and price context come from the observation that is final, has most output, ...
-- * When and where?  time, session, project and the other labels come from the one that was made earliest, ...
--
-- so the order of arrival never matters. Everything else is derived and moves in the same transaction:
--
-- * token_usage_sessions, token_usage_daily, token_usage_by_day, token_usage_by_session_day: sums of the events
-- * token_usage_event_versions: what an event was before a better observation, a price or a person changed it
-- * token_usage_rejects: records that could not be counted, by place and reason, never with their content
-- * token_usage_prices: dated rates, appended and never changed; every event names the price that priced it
--
-- Beside the books, and part of none of their sums, stands token_usage_limits: what providers say of a plan's limits.
--
-- Tokens are bigint and disjoint by bucket; money is numeric; a missing label is ''. An event without a price has no
-- cost (null), which is not the same as a cost of zero.
--
-- `public` holds the tables and thin entry functions with the caller's rights. The bodies live in `tallystick`, which
-- no REST API exposes; they run with their owner's rights, and each one asks tallystick.check_caller() first. Only they
-- write: no role is granted insert, update or delete on a table.
--
-- Every function pins its search path, with pg_temp at the end. A path that does not name the caller's own temporary
-- schema searches it first, an empty one too, and a type there brings a check that would run with the owner's rights.
-- What pins anything is never inlined, and in SQL it would be made ready anew at each call: so a rule that is asked for
-- each record is one expression in plpgsql, and what hands rows over hands over few and narrow ones.

create schema tallystick;
comment on schema tallystick is 'Bodies of the Tallystick functions; not exposed by any API.';

-- The clock. Tests set tallystick.now with `set local`; stable, because a volatile clock could not be used in an index
-- condition.
create function tallystick.current_time()
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(nullif(pg_catalog.current_setting('tallystick.now', true), '')::timestamptz, pg_catalog.now());
end
$$;
comment on function tallystick.current_time() is 'Now, or the time that a test has set in tallystick.now.';

-- The check stands in the bodies and not in the entry functions: whoever may call an entry may call its body too.
-- Inside a definer function current_user is the owner, so the caller is read from the setting `role` that the API or
-- the connection chose. A connection that chose none is the owner, or a superuser, at work on the own database.
create function tallystick.check_service_caller()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_role text := pg_catalog.current_setting('role', true);
begin
  if v_role = 'service_role' then
    return;
  end if;
  if coalesce(v_role, 'none') = 'none' and pg_catalog.pg_has_role(session_user, (
    select nspowner from pg_catalog.pg_namespace where nspname = 'tallystick'
  ), 'member') then
    return;
  end if;
  raise exception using errcode = 'PT403', constraint = 'caller_is_service',
    message = 'only the service role may do this',
    hint = 'Call with the service role, or with a secret key of the project.';
end
$$;
comment on function tallystick.check_service_caller() is
  'Raises PT403 unless the caller is the service role or the owner of the ledger.';

create function tallystick.check_caller(p_user_id uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_user_id is null then
    raise exception using errcode = 'PT400', constraint = 'user_is_given',
      message = 'no user id given', hint = 'Pass p_user_id, or sign in.';
  end if;
  if pg_catalog.current_setting('role', true) = 'authenticated' then
    if auth.uid() is not distinct from p_user_id then
      return;
    end if;
    raise exception using errcode = 'PT403', constraint = 'caller_is_the_user',
      message = 'a user may only work with the own books',
      hint = 'Leave p_user_id out, or pass your own user id.';
  end if;
  perform tallystick.check_service_caller();
end
$$;
comment on function tallystick.check_caller(uuid) is
  'Raises PT403 unless the caller is that user, the service role or the owner of the ledger.';

-- One record that reports a model call, as ingest_token_usage() reads it from JSON. The time stays text until it has
-- been looked at, because Postgres takes 'now', 'today' and times without a zone for times.
create type tallystick.observation as (
  event_key text collate "C",
  occurred_at text,
  source text collate "C",
  provider text collate "C",
  model text collate "C",
  session_id text collate "C",
  project text collate "C",
  device text collate "C",
  git_branch text collate "C",
  agent_version text collate "C",
  is_sidechain boolean,
  request_id text collate "C",
  service_tier text collate "C",
  speed text collate "C",
  inference_geo text collate "C",
  grain text collate "C",
  message_count bigint,
  input_tokens bigint,
  cache_creation_5m_tokens bigint,
  cache_creation_1h_tokens bigint,
  cache_read_tokens bigint,
  output_tokens bigint,
  thinking_tokens bigint,
  web_search_requests bigint,
  reported_cost_usd numeric,
  is_final boolean,
  origin_rank smallint,
  place_order text collate "C",
  flags text[],
  position text collate "C",
  reject_reason text collate "C"
);
comment on type tallystick.observation is 'One record that reports a model call, as ingest_token_usage reads it.';
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
-- Observations: reading them from JSON, and telling those that cannot be counted.

-- The observation that a JSON object is laid over, so that members left out get their defaults.
create function tallystick.blank_observation()
returns tallystick.observation
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    '', '', '', '', '', '', '', '', '', '', false, '', '', '', '', 'call', 1,
    0, 0, 0, 0, 0, 0, 0, null, false, 2, '', '{}', '', ''
  )::tallystick.observation;
end
$$;
comment on function tallystick.blank_observation() is 'The defaults of an observation.';

-- Why an observation cannot be counted, null when it can. Bounds are there so that no record can fail a batch later: a
-- label longer than an index entry may be, counts whose sum would leave bigint. NaN compares greater than any number.
-- The time as most sources write it is told by where its signs stand and by what is left without its digits, which is
-- cheap; the cast that follows in read_observations() judges the digits. A year at either end of the calendar is what a
-- program writes that knows no time, and in another zone its day has no date in Python or JavaScript.
create function tallystick.reject_reason(p_observation tallystick.observation)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_observation.reject_reason <> '' then left(p_observation.reject_reason, 100)
    when p_observation.source = '' then 'missing_source'
    when p_observation.event_key = '' then 'missing_key'
    when p_observation.occurred_at = '' then 'missing_time'
    when not (
        p_observation.occurred_at like '____-__-__T__:__:__.%Z'
        and translate(p_observation.occurred_at, '0123456789', '') = '--T::.Z'
      )
      and p_observation.occurred_at !~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)$'
    then
      case
        when p_observation.occurred_at ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?$' then 'time_without_offset'
        else 'not_a_time'
      end
    when left(p_observation.occurred_at, 4) in ('0000', '0001', '9999') then 'not_a_time'
    when least(
      p_observation.input_tokens, p_observation.cache_creation_5m_tokens,
      p_observation.cache_creation_1h_tokens, p_observation.cache_read_tokens, p_observation.output_tokens,
      p_observation.thinking_tokens, p_observation.web_search_requests, p_observation.message_count
    ) < 0 then 'negative'
    when greatest(
      p_observation.input_tokens, p_observation.cache_creation_5m_tokens,
      p_observation.cache_creation_1h_tokens, p_observation.cache_read_tokens, p_observation.output_tokens,
      p_observation.thinking_tokens, p_observation.web_search_requests, p_observation.message_count
    ) > 1000000000000 then 'too_large'
    when p_observation.thinking_tokens > p_observation.output_tokens then 'thinking_over_output'
    when not coalesce(p_observation.reported_cost_usd between 0 and 1000000000000, true)
      or pg_catalog.scale(p_observation.reported_cost_usd) > 30 then 'not_a_cost'
    when octet_length(p_observation.event_key) > 300
      or octet_length(p_observation.session_id) > 200
      or octet_length(p_observation.project) > 500
      or octet_length(p_observation.model) > 200
      or octet_length(p_observation.place_order) > 300
      or greatest(
        octet_length(p_observation.source), octet_length(p_observation.provider),
        octet_length(p_observation.device), octet_length(p_observation.git_branch),
        octet_length(p_observation.agent_version), octet_length(p_observation.request_id),
        octet_length(p_observation.service_tier), octet_length(p_observation.speed),
        octet_length(p_observation.inference_geo)
      ) > 200
      or p_observation.flags <> '{}' and octet_length(array_to_string(p_observation.flags, ',')) > 200
    then 'label_too_long'
    when p_observation.flags <> '{}' and array_ndims(p_observation.flags) > 1 then 'not_a_list'
    when p_observation.grain not in ('call', 'turn', 'session_delta', 'import') then 'unknown_grain'
  end;
end
$$;
comment on function tallystick.reject_reason(tallystick.observation) is
  'Why an observation cannot be counted, null when it can.';

-- One record by itself, for a batch that could not be read as a whole. A count may be written as an integral number of
-- any spelling (3.0, 3e2) or as an integer in a string. The reason names the first member that is of the wrong kind.
-- What is no member of an observation is not looked at. All but the counts stays json, whose texts are those that the
-- whole batch gives: jsonb writes 1e3 as 1000.
create function tallystick.read_observation(p_record json)
returns tallystick.observation
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_blank tallystick.observation := tallystick.blank_observation();
  v_members jsonb;
  v_counts jsonb := '{}';
  v_name text;
  v_member jsonb;
  v_count numeric;
  v_observation tallystick.observation;
begin
  -- what cannot name its own place is named by its digest: kept once, and without its content
  v_blank.position := 'sha256:' || encode(sha256(convert_to(p_record::text, 'UTF8')), 'hex');
  v_blank.source := 'unknown';
  if json_typeof(p_record) <> 'object' then
    v_blank.reject_reason := 'not_an_object';
    return v_blank;
  end if;
  begin
    select coalesce(jsonb_object_agg(m.key, m.value::jsonb), '{}') into v_members
    from json_each(p_record) as m
    where json_typeof(m.value) <> 'null' and to_jsonb(v_blank) ? m.key;
  exception when data_exception or statement_too_complex then
    -- a place has no blanks, so that no text can be taken for one
    v_blank.source := coalesce(
      substring(p_record::text collate "C" from '"source"\s*:\s*"([!#-\[\]-~]{1,50})"'), v_blank.source
    );
    v_blank.position := coalesce(
      substring(p_record::text collate "C" from '"position"\s*:\s*"([!#-\[\]-~]{1,200})"'), v_blank.position
    );
    v_blank.reject_reason := 'unreadable';
    return v_blank;
  end;
  v_blank.event_key := coalesce(v_members ->> 'event_key', '');
  v_blank.source := left(coalesce(nullif(v_members ->> 'source', ''), 'unknown'), 50);
  v_blank.position := left(coalesce(nullif(v_members ->> 'position', ''), v_blank.position), 500);
  foreach v_name in array array[
    'message_count', 'input_tokens', 'cache_creation_5m_tokens', 'cache_creation_1h_tokens', 'cache_read_tokens',
    'output_tokens', 'thinking_tokens', 'web_search_requests', 'origin_rank'
  ] loop
    v_member := v_members -> v_name;
    continue when v_member is null;
    begin
      v_count := case jsonb_typeof(v_member)
        when 'number' then (v_member #>> '{}')::numeric
        when 'string' then (v_member #>> '{}')::bigint
      end;
    exception
      when numeric_value_out_of_range then
        v_blank.reject_reason := 'too_large';
        return v_blank;
      when data_exception then
        v_count := null;
    end;
    if v_count is null or v_count % 1 <> 0 then
      v_blank.reject_reason := 'not_an_integer';
      return v_blank;
    end if;
    if abs(v_count) > (case v_name when 'origin_rank' then 32767 else 1000000000000 end) then
      v_blank.reject_reason := 'too_large';
      return v_blank;
    end if;
    v_counts := v_counts || jsonb_build_object(v_name, trim_scale(v_count));
  end loop;
  begin
    v_observation := json_populate_record(tallystick.blank_observation(), (
      select json_object_agg(m.key, case when v_counts ? m.key then to_json(v_counts -> m.key) else m.value end)
      from json_each(p_record) as m
      where v_members ? m.key and json_typeof(m.value) <> 'null'
    ));
  exception when data_exception then
    v_blank.reject_reason := case
      when jsonb_typeof(coalesce(v_members -> 'is_final', 'true')) <> 'boolean'
        or jsonb_typeof(coalesce(v_members -> 'is_sidechain', 'true')) <> 'boolean' then 'not_a_boolean'
      when jsonb_typeof(coalesce(v_members -> 'flags', '[]')) <> 'array' or v_members -> 'reported_cost_usd' is null
      then 'not_a_list'
      else 'not_a_cost'
    end;
    return v_blank;
  end;
  v_observation.reject_reason := coalesce(tallystick.reject_reason(v_observation), '');
  if v_observation.reject_reason = '' then
    begin
      perform v_observation.occurred_at::timestamptz;
    exception when data_exception then
      v_observation.reject_reason := 'not_a_time';
    end;
  end if;
  if v_observation.reject_reason <> '' then
    v_observation.source := v_blank.source;
    v_observation.position := v_blank.position;
  end if;
  return v_observation;
end
$$;
comment on function tallystick.read_observation(json) is
  'One record as an observation; with reject_reason set where it cannot be counted.';

-- Reads the whole batch at once, which is several times faster, and record by record only where that fails or where a
-- record is no good. A member given as null counts as left out. The cast of the time stands here so that a bad one is
-- met here.
create function tallystick.read_observations(
  p_events json,
  out observations tallystick.observation[],
  out received integer,
  out rejected integer
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_events json := p_events;
begin
  begin
    if strpos(p_events::text, 'null') > 0 then
      v_events := json_strip_nulls(p_events);
    end if;
    select array_agg(o), count(*),
      count(*) filter (where tallystick.reject_reason(o) is not null or o.occurred_at::timestamptz is null)
      into observations, received, rejected
    from json_populate_recordset(tallystick.blank_observation(), v_events) as o;
    if rejected = 0 then
      return;
    end if;
  exception when data_exception then
    null;
  end;
  select array_agg(o), count(*), count(*) filter (where o.reject_reason <> '')
    into observations, received, rejected
  from json_array_elements(p_events) as r (record)
  cross join lateral tallystick.read_observation(r.record) as o;
end
$$;
comment on function tallystick.read_observations(json) is
  'A JSON list as observations, bad ones with reject_reason set.';
-- What is true of a call that several observations report: two total orders, and the fold of many into one.

-- Flags that are facts about the time go with when and where, all others with how much. Two are worked out here from
-- the record itself (clock_skew also from when it was met) and never rank.
create function tallystick.amount_flags(p_flags text[])
returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_flags && '{time_inherited,clock_skew,implausible}'
    then array_remove(array_remove(array_remove(p_flags, 'time_inherited'), 'clock_skew'), 'implausible')
    else p_flags
  end;
end
$$;
comment on function tallystick.amount_flags(text[]) is 'The flags that go with the counts.';

create function tallystick.place_flags(p_flags text[])
returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when 'time_inherited' = any (p_flags) then '{time_inherited}'::text[] else '{}'::text[] end;
end
$$;
comment on function tallystick.place_flags(text[]) is 'The flags that go with the time and place.';

create function tallystick.event_flags(
  p_amount_flags text[], p_place_flags text[], p_most_tokens bigint, p_occurred_at timestamptz, p_now timestamptz
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_amount_flags = '{}' and p_place_flags = '{}' and p_most_tokens <= 50000000
      and p_occurred_at between '2023-01-01Z' and p_now + interval '1 day'
    then '{}'::text[]
    else tallystick.amount_flags(p_amount_flags) || tallystick.place_flags(p_place_flags)
      || case when p_most_tokens > 50000000 then '{implausible}'::text[] else '{}'::text[] end
      || case
        when p_occurred_at between '2023-01-01Z' and p_now + interval '1 day' then '{}'::text[]
        else '{clock_skew}'::text[]
      end
  end;
end
$$;
comment on function tallystick.event_flags(text[], text[], bigint, timestamptz, timestamptz) is
  'The flags given, and implausible: over 50 million tokens in a bucket; clock_skew: before 2023, or over a day ahead.';

-- The two total orders. Each compares as one row, member by member, text in collation C, and holds everything that its
-- winner brings along: two observations that tie in it are the same in all it decides.
create type tallystick.how_much as (
  is_final boolean,
  output_tokens bigint,
  origin_rank smallint,
  input_tokens bigint,
  cache_creation_5m_tokens bigint,
  cache_creation_1h_tokens bigint,
  cache_read_tokens bigint,
  thinking_tokens bigint,
  web_search_requests bigint,
  message_count bigint,
  provider text collate "C",
  model text collate "C",
  service_tier text collate "C",
  speed text collate "C",
  inference_geo text collate "C",
  grain text collate "C",
  reported_cost_usd numeric,
  flags text[] collate "C"
);
comment on type tallystick.how_much is
  'The order in which the greatest observation gives the counts, the model and the price context.';

create type tallystick.when_and_where as (
  is_implausible boolean,
  occurred_at timestamptz,
  place_order text collate "C",
  source text collate "C",
  session_id text collate "C",
  project text collate "C",
  device text collate "C",
  git_branch text collate "C",
  agent_version text collate "C",
  is_sidechain boolean,
  request_id text collate "C",
  flags text[] collate "C"
);
comment on type tallystick.when_and_where is 'The order in which the least observation gives the time and the place.';

create function tallystick.how_much(p_observation tallystick.observation)
returns tallystick.how_much
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_observation.is_final, p_observation.output_tokens, p_observation.origin_rank,
    p_observation.input_tokens, p_observation.cache_creation_5m_tokens,
    p_observation.cache_creation_1h_tokens, p_observation.cache_read_tokens,
    p_observation.thinking_tokens, p_observation.web_search_requests, p_observation.message_count,
    p_observation.provider, p_observation.model, p_observation.service_tier, p_observation.speed,
    p_observation.inference_geo, p_observation.grain, coalesce(p_observation.reported_cost_usd, -1),
    tallystick.amount_flags(p_observation.flags)
  )::tallystick.how_much;
end
$$;
comment on function tallystick.how_much(tallystick.observation) is 'The rank of an observation in how much.';

create function tallystick.how_much(p_event public.token_usage_events)
returns tallystick.how_much
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_event.is_final, p_event.output_tokens, p_event.origin_rank, p_event.input_tokens,
    p_event.cache_creation_5m_tokens, p_event.cache_creation_1h_tokens, p_event.cache_read_tokens,
    p_event.thinking_tokens, p_event.web_search_requests, p_event.message_count, p_event.provider,
    p_event.model, p_event.service_tier, p_event.speed, p_event.inference_geo, p_event.grain,
    coalesce(p_event.reported_cost_usd, -1), tallystick.amount_flags(p_event.flags)
  )::tallystick.how_much;
end
$$;
comment on function tallystick.how_much(public.token_usage_events) is 'The rank of what an event holds in how much.';

create function tallystick.when_and_where(p_observation tallystick.observation)
returns tallystick.when_and_where
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_observation.occurred_at::timestamptz < '2023-01-01Z', p_observation.occurred_at::timestamptz,
    p_observation.place_order, p_observation.source, p_observation.session_id, p_observation.project,
    p_observation.device, p_observation.git_branch, p_observation.agent_version,
    p_observation.is_sidechain, p_observation.request_id, tallystick.place_flags(p_observation.flags)
  )::tallystick.when_and_where;
end
$$;
comment on function tallystick.when_and_where(tallystick.observation) is
  'The rank of an observation in when and where; a time before 2023 is a broken clock and comes last.';

create function tallystick.when_and_where(p_event public.token_usage_events)
returns tallystick.when_and_where
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_event.occurred_at < '2023-01-01 00:00:00+00', p_event.occurred_at, p_event.place_order, p_event.source,
    p_event.session_id, p_event.project, p_event.device, p_event.git_branch, p_event.agent_version,
    p_event.is_sidechain, p_event.request_id, tallystick.place_flags(p_event.flags)
  )::tallystick.when_and_where;
end
$$;
comment on function tallystick.when_and_where(public.token_usage_events) is
  'The rank of what an event holds in when and where.';

create function tallystick.fold_observations(p_observations tallystick.observation[])
returns tallystick.observation[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with amount as (
    select distinct on (o.event_key) o.* from unnest(p_observations) as o
    order by o.event_key, tallystick.how_much(o) desc
  ),
  place as (
    select distinct on (o.event_key) o.* from unnest(p_observations) as o
    order by o.event_key, tallystick.when_and_where(o)
  )
  select array_agg(row(
    p.event_key, p.occurred_at, p.source, a.provider, a.model, p.session_id, p.project, p.device, p.git_branch,
    p.agent_version, p.is_sidechain, p.request_id, a.service_tier, a.speed, a.inference_geo, a.grain,
    a.message_count, a.input_tokens, a.cache_creation_5m_tokens, a.cache_creation_1h_tokens, a.cache_read_tokens,
    a.output_tokens, a.thinking_tokens, a.web_search_requests, a.reported_cost_usd, a.is_final, a.origin_rank,
    p.place_order, tallystick.amount_flags(a.flags) || tallystick.place_flags(p.flags), p.position, ''
  )::tallystick.observation)
  from amount as a join place as p on p.event_key = a.event_key
$$;
comment on function tallystick.fold_observations(tallystick.observation[]) is
  'One observation per event key: the counts of the winner in how much, the rest of the winner in when and where.';
-- Totals: the one place where sessions, days and rollups move, and the one road by which an event changes.

-- What one batch adds to or takes from the totals, by the key of the finest of them.
create type tallystick.usage_move as (
  usage_date date,
  source text collate "C",
  session_id text collate "C",
  project text collate "C",
  model text collate "C",
  event_count bigint,
  message_count bigint,
  unpriced_event_count bigint,
  input_tokens bigint,
  output_tokens bigint,
  thinking_tokens bigint,
  cache_creation_tokens bigint,
  cache_read_tokens bigint,
  web_search_requests bigint,
  cost_usd numeric
);
comment on type tallystick.usage_move is
  'What one batch adds to, or takes from, one row of token_usage_by_session_day.';

-- One difference to rows that all stand, which is what a running session brings, call by call: four updates by key cost
-- half of what the general statements do. Where the row of token_usage_by_session_day stands and stays, so do the rows
-- that it is a part of, and the day's session count is what it was.
create function tallystick.move_standing_totals(p_user_id uuid, p_move tallystick.usage_move)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  update public.token_usage_by_session_day as t set
    event_count = t.event_count + p_move.event_count,
    message_count = t.message_count + p_move.message_count,
    unpriced_event_count = t.unpriced_event_count + p_move.unpriced_event_count,
    input_tokens = t.input_tokens + p_move.input_tokens,
    output_tokens = t.output_tokens + p_move.output_tokens,
    thinking_tokens = t.thinking_tokens + p_move.thinking_tokens,
    cache_creation_tokens = t.cache_creation_tokens + p_move.cache_creation_tokens,
    cache_read_tokens = t.cache_read_tokens + p_move.cache_read_tokens,
    web_search_requests = t.web_search_requests + p_move.web_search_requests,
    cost_usd = t.cost_usd + p_move.cost_usd
  where t.user_id = p_user_id and t.usage_date = p_move.usage_date and t.source = p_move.source
    and t.session_id = p_move.session_id and t.project = p_move.project and t.model = p_move.model
    and t.event_count + p_move.event_count > 0;
  if not found then
    return false;
  end if;
  update public.token_usage_by_day as t set
    event_count = t.event_count + p_move.event_count,
    message_count = t.message_count + p_move.message_count,
    unpriced_event_count = t.unpriced_event_count + p_move.unpriced_event_count,
    input_tokens = t.input_tokens + p_move.input_tokens,
    output_tokens = t.output_tokens + p_move.output_tokens,
    thinking_tokens = t.thinking_tokens + p_move.thinking_tokens,
    cache_creation_tokens = t.cache_creation_tokens + p_move.cache_creation_tokens,
    cache_read_tokens = t.cache_read_tokens + p_move.cache_read_tokens,
    web_search_requests = t.web_search_requests + p_move.web_search_requests,
    cost_usd = t.cost_usd + p_move.cost_usd
  where t.user_id = p_user_id and t.usage_date = p_move.usage_date and t.source = p_move.source
    and t.project = p_move.project and t.model = p_move.model;
  update public.token_usage_daily as t set
    daily_input_tokens = t.daily_input_tokens + p_move.input_tokens,
    daily_output_tokens = t.daily_output_tokens + p_move.output_tokens,
    daily_cache_creation_tokens = t.daily_cache_creation_tokens + p_move.cache_creation_tokens,
    daily_cache_read_tokens = t.daily_cache_read_tokens + p_move.cache_read_tokens,
    daily_thinking_tokens = t.daily_thinking_tokens + p_move.thinking_tokens,
    daily_web_search_requests = t.daily_web_search_requests + p_move.web_search_requests,
    daily_message_count = t.daily_message_count + p_move.message_count,
    daily_event_count = t.daily_event_count + p_move.event_count,
    daily_unpriced_event_count = t.daily_unpriced_event_count + p_move.unpriced_event_count,
    daily_cost_usd = t.daily_cost_usd + p_move.cost_usd,
    updated_at = tallystick.current_time()
  where t.user_id = p_user_id and t.usage_date = p_move.usage_date;
  update public.token_usage_sessions as t set
    input_tokens = t.input_tokens + p_move.input_tokens,
    output_tokens = t.output_tokens + p_move.output_tokens,
    cache_creation_tokens = t.cache_creation_tokens + p_move.cache_creation_tokens,
    cache_read_tokens = t.cache_read_tokens + p_move.cache_read_tokens,
    thinking_tokens = t.thinking_tokens + p_move.thinking_tokens,
    web_search_requests = t.web_search_requests + p_move.web_search_requests,
    message_count = t.message_count + p_move.message_count,
    event_count = t.event_count + p_move.event_count,
    unpriced_event_count = t.unpriced_event_count + p_move.unpriced_event_count,
    estimated_cost_usd = t.estimated_cost_usd + p_move.cost_usd,
    session_started_at = first.occurred_at,
    last_activity_at = latest.occurred_at,
    last_event_key = latest.event_key,
    last_updated_at = tallystick.current_time(),
    model_used = latest.model,
    project = latest.project,
    device = latest.device
  from (
    select e.occurred_at from public.token_usage_events as e
    where e.user_id = p_user_id and e.source = p_move.source and e.session_id = p_move.session_id
    order by e.occurred_at limit 1
  ) as first, (
    select e.occurred_at, e.event_key, e.model, e.project, e.device from public.token_usage_events as e
    where e.user_id = p_user_id and e.source = p_move.source and e.session_id = p_move.session_id
    order by e.occurred_at desc, e.event_key desc limit 1
  ) as latest
  where t.user_id = p_user_id and t.source = p_move.source and t.session_id = p_move.session_id;
  return true;
end
$$;
comment on function tallystick.move_standing_totals(uuid, tallystick.usage_move) is
  'Adds one difference where every row that it moves stands and stays; answers false, with nothing done, elsewhere.';

-- The only writer of the totals, move_standing_totals included. MERGE, because an upsert would hold the difference
-- itself against the CHECKs. Days go first: their session count needs token_usage_by_session_day as it was.
--
-- The rows that stand are looked up one by one on their key, in a lateral query that cannot be planned any other way,
-- and are then met by their place (ctid): the plans are made while the tables may still be empty and live as long as
-- the connection, and a join on the key then reads all rows of a user for each difference. The account is locked, so
-- that no row moves between the two.
create function tallystick.move_totals(p_user_id uuid, p_moves tallystick.usage_move[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
begin
  if cardinality(p_moves) = 1 and tallystick.move_standing_totals(p_user_id, p_moves[1]) then
    return;
  end if;

  merge into public.token_usage_daily as t
  using (
    with session_day as (
      select m.usage_date, m.source, m.session_id, sum(m.event_count) as moved
      from unnest(p_moves) as m group by m.usage_date, m.source, m.session_id
    ),
    session_count as (
      select s.usage_date, sum((b.stood + s.moved > 0)::int - (b.stood > 0)::int) as moved
      from session_day as s
      cross join lateral (
        select coalesce(sum(b.event_count), 0) as stood from public.token_usage_by_session_day as b
        where b.user_id = p_user_id and b.usage_date = s.usage_date and b.source = s.source
          and b.session_id = s.session_id
      ) as b
      group by s.usage_date
    )
    select m.usage_date, sum(m.event_count) as event_count, sum(m.message_count) as message_count,
      sum(m.unpriced_event_count) as unpriced_event_count, sum(m.input_tokens) as input_tokens,
      sum(m.output_tokens) as output_tokens, sum(m.thinking_tokens) as thinking_tokens,
      sum(m.cache_creation_tokens) as cache_creation_tokens, sum(m.cache_read_tokens) as cache_read_tokens,
      sum(m.web_search_requests) as web_search_requests, sum(m.cost_usd) as cost_usd,
      (select c.moved from session_count as c where c.usage_date = m.usage_date) as session_count,
      (
        select d.ctid from public.token_usage_daily as d
        where d.user_id = p_user_id and d.usage_date = m.usage_date
      ) as place
    from unnest(p_moves) as m group by m.usage_date
  ) as m
  on t.ctid = m.place
  when matched and t.daily_event_count + m.event_count = 0 then delete
  when matched then update set
    daily_input_tokens = t.daily_input_tokens + m.input_tokens,
    daily_output_tokens = t.daily_output_tokens + m.output_tokens,
    daily_cache_creation_tokens = t.daily_cache_creation_tokens + m.cache_creation_tokens,
    daily_cache_read_tokens = t.daily_cache_read_tokens + m.cache_read_tokens,
    daily_thinking_tokens = t.daily_thinking_tokens + m.thinking_tokens,
    daily_web_search_requests = t.daily_web_search_requests + m.web_search_requests,
    daily_session_count = t.daily_session_count + m.session_count,
    daily_message_count = t.daily_message_count + m.message_count,
    daily_event_count = t.daily_event_count + m.event_count,
    daily_unpriced_event_count = t.daily_unpriced_event_count + m.unpriced_event_count,
    daily_cost_usd = t.daily_cost_usd + m.cost_usd,
    updated_at = tallystick.current_time()
  when not matched then insert values (
    p_user_id, m.usage_date, m.input_tokens, m.output_tokens, m.cache_creation_tokens, m.cache_read_tokens,
    m.thinking_tokens, m.web_search_requests, m.session_count, m.message_count, m.event_count,
    m.unpriced_event_count, m.cost_usd, tallystick.current_time()
  );

  merge into public.token_usage_by_day as t
  using (
    select m.usage_date, m.source, m.project, m.model, sum(m.event_count) as event_count,
      sum(m.message_count) as message_count, sum(m.unpriced_event_count) as unpriced_event_count,
      sum(m.input_tokens) as input_tokens, sum(m.output_tokens) as output_tokens,
      sum(m.thinking_tokens) as thinking_tokens, sum(m.cache_creation_tokens) as cache_creation_tokens,
      sum(m.cache_read_tokens) as cache_read_tokens, sum(m.web_search_requests) as web_search_requests,
      sum(m.cost_usd) as cost_usd,
      (
        select d.ctid from public.token_usage_by_day as d
        where d.user_id = p_user_id and d.usage_date = m.usage_date and d.source = m.source
          and d.project = m.project and d.model = m.model
      ) as place
    from unnest(p_moves) as m group by m.usage_date, m.source, m.project, m.model
  ) as m
  on t.ctid = m.place
  when matched and t.event_count + m.event_count = 0 then delete
  when matched then update set
    event_count = t.event_count + m.event_count,
    message_count = t.message_count + m.message_count,
    unpriced_event_count = t.unpriced_event_count + m.unpriced_event_count,
    input_tokens = t.input_tokens + m.input_tokens,
    output_tokens = t.output_tokens + m.output_tokens,
    thinking_tokens = t.thinking_tokens + m.thinking_tokens,
    cache_creation_tokens = t.cache_creation_tokens + m.cache_creation_tokens,
    cache_read_tokens = t.cache_read_tokens + m.cache_read_tokens,
    web_search_requests = t.web_search_requests + m.web_search_requests,
    cost_usd = t.cost_usd + m.cost_usd
  when not matched then insert values (
    p_user_id, m.usage_date, m.source, m.project, m.model, m.event_count, m.message_count,
    m.unpriced_event_count, m.input_tokens, m.output_tokens, m.thinking_tokens, m.cache_creation_tokens,
    m.cache_read_tokens, m.web_search_requests, m.cost_usd
  );

  merge into public.token_usage_by_session_day as t
  using (
    select m.*, (
        select d.ctid from public.token_usage_by_session_day as d
        where d.user_id = p_user_id and d.usage_date = m.usage_date and d.source = m.source
          and d.session_id = m.session_id and d.project = m.project and d.model = m.model
      ) as place
    from unnest(p_moves) as m
  ) as m
  on t.ctid = m.place
  when matched and t.event_count + m.event_count = 0 then delete
  when matched then update set
    event_count = t.event_count + m.event_count,
    message_count = t.message_count + m.message_count,
    unpriced_event_count = t.unpriced_event_count + m.unpriced_event_count,
    input_tokens = t.input_tokens + m.input_tokens,
    output_tokens = t.output_tokens + m.output_tokens,
    thinking_tokens = t.thinking_tokens + m.thinking_tokens,
    cache_creation_tokens = t.cache_creation_tokens + m.cache_creation_tokens,
    cache_read_tokens = t.cache_read_tokens + m.cache_read_tokens,
    web_search_requests = t.web_search_requests + m.web_search_requests,
    cost_usd = t.cost_usd + m.cost_usd
  when not matched then insert values (
    p_user_id, m.usage_date, m.source, m.session_id, m.project, m.model, m.event_count, m.message_count,
    m.unpriced_event_count, m.input_tokens, m.output_tokens, m.thinking_tokens, m.cache_creation_tokens,
    m.cache_read_tokens, m.web_search_requests, m.cost_usd
  );

  -- when a session began and ended, and its latest model, project and device, cannot move by a difference
  merge into public.token_usage_sessions as t
  using (
    select s.*, first.occurred_at as first_at, latest.*, (
        select d.ctid from public.token_usage_sessions as d
        where d.user_id = p_user_id and d.source = s.source and d.session_id = s.session_id
      ) as place
    from (
      select m.source, m.session_id, sum(m.event_count) as event_count, sum(m.message_count) as message_count,
        sum(m.unpriced_event_count) as unpriced_event_count, sum(m.input_tokens) as input_tokens,
        sum(m.output_tokens) as output_tokens, sum(m.thinking_tokens) as thinking_tokens,
        sum(m.cache_creation_tokens) as cache_creation_tokens, sum(m.cache_read_tokens) as cache_read_tokens,
        sum(m.web_search_requests) as web_search_requests, sum(m.cost_usd) as cost_usd
      from unnest(p_moves) as m group by m.source, m.session_id
    ) as s
    left join lateral (
      select e.occurred_at from public.token_usage_events as e
      where e.user_id = p_user_id and e.source = s.source and e.session_id = s.session_id
      order by e.occurred_at limit 1
    ) as first on true
    left join lateral (
      select e.occurred_at as last_at, e.event_key, e.model, e.project, e.device from public.token_usage_events as e
      where e.user_id = p_user_id and e.source = s.source and e.session_id = s.session_id
      order by e.occurred_at desc, e.event_key desc limit 1
    ) as latest on true
  ) as m
  on t.ctid = m.place
  when matched and t.event_count + m.event_count = 0 then delete
  when matched then update set
    input_tokens = t.input_tokens + m.input_tokens,
    output_tokens = t.output_tokens + m.output_tokens,
    cache_creation_tokens = t.cache_creation_tokens + m.cache_creation_tokens,
    cache_read_tokens = t.cache_read_tokens + m.cache_read_tokens,
    thinking_tokens = t.thinking_tokens + m.thinking_tokens,
    web_search_requests = t.web_search_requests + m.web_search_requests,
    message_count = t.message_count + m.message_count,
    event_count = t.event_count + m.event_count,
    unpriced_event_count = t.unpriced_event_count + m.unpriced_event_count,
    estimated_cost_usd = t.estimated_cost_usd + m.cost_usd,
    session_started_at = m.first_at,
    last_activity_at = m.last_at,
    last_event_key = m.event_key,
    last_updated_at = tallystick.current_time(),
    model_used = m.model,
    project = m.project,
    device = m.device
  when not matched then insert values (
    p_user_id, m.source, m.session_id, m.input_tokens, m.output_tokens, m.cache_creation_tokens,
    m.cache_read_tokens, m.thinking_tokens, m.web_search_requests, m.message_count, m.event_count,
    m.unpriced_event_count, m.cost_usd, m.first_at, m.last_at, m.event_key, tallystick.current_time(), m.model,
    m.project, m.device
  );
end
$$;
comment on function tallystick.move_totals(uuid, tallystick.usage_move[]) is
  'Adds the differences to sessions, days and rollups, after the events; a row whose event count reaches 0 is deleted.';

create type tallystick.event_change as (
  old_event public.token_usage_events,
  new_event public.token_usage_events
);
comment on type tallystick.event_change is 'An event before and after; new_event is null where it goes.';

-- Whatever changes an event comes through here: a better observation, another price, a correction, forgetting.
create function tallystick.apply_changes(p_user_id uuid, p_changes tallystick.event_change[], p_reason text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_moves tallystick.usage_move[];
begin
  if p_reason = 'forgotten' then
    delete from public.token_usage_event_versions as v
    using unnest(p_changes) as c
    cross join lateral (
      select o.ctid from public.token_usage_event_versions as o
      where o.user_id = p_user_id and o.event_key = (c.old_event).event_key
      offset 0
    ) as place
    where v.ctid = place.ctid;
    delete from public.token_usage_events as e
    using unnest(p_changes) as c
    cross join lateral (
      select o.ctid from public.token_usage_events as o
      where o.user_id = p_user_id and o.event_key = (c.old_event).event_key
      offset 0
    ) as place
    where e.ctid = place.ctid;
  else
    insert into public.token_usage_event_versions
    select p_user_id, (c.old_event).event_key, coalesce(v.version, 0) + 1, tallystick.current_time(), p_reason,
      (c.old_event).cost_usd, (c.old_event).cost_basis, (c.old_event).price_id,
      case when p_reason <> 'rerated' then
        to_jsonb(c.old_event) - array['user_id', 'event_key', 'cost_usd', 'cost_basis', 'price_id']
      end
    from unnest(p_changes) as c
    left join lateral (
      select v.version from public.token_usage_event_versions as v
      where v.user_id = p_user_id and v.event_key = (c.old_event).event_key
      order by v.version desc limit 1
    ) as v on true;

    update public.token_usage_events as e
    set occurred_at = (n.e).occurred_at, usage_date = (n.e).usage_date, source = (n.e).source,
      provider = (n.e).provider, model = (n.e).model, session_id = (n.e).session_id, project = (n.e).project,
      device = (n.e).device, git_branch = (n.e).git_branch, agent_version = (n.e).agent_version,
      is_sidechain = (n.e).is_sidechain, request_id = (n.e).request_id, service_tier = (n.e).service_tier,
      speed = (n.e).speed, inference_geo = (n.e).inference_geo, grain = (n.e).grain,
      message_count = (n.e).message_count, input_tokens = (n.e).input_tokens,
      cache_creation_5m_tokens = (n.e).cache_creation_5m_tokens,
      cache_creation_1h_tokens = (n.e).cache_creation_1h_tokens, cache_read_tokens = (n.e).cache_read_tokens,
      output_tokens = (n.e).output_tokens, thinking_tokens = (n.e).thinking_tokens,
      web_search_requests = (n.e).web_search_requests, cost_usd = (n.e).cost_usd, cost_basis = (n.e).cost_basis,
      price_id = (n.e).price_id, reported_cost_usd = (n.e).reported_cost_usd, flags = (n.e).flags,
      is_final = (n.e).is_final, origin_rank = (n.e).origin_rank, place_order = (n.e).place_order,
      is_corrected = (n.e).is_corrected
    from (
      select c.new_event as e, (
          select o.ctid from public.token_usage_events as o
          where o.user_id = p_user_id and o.event_key = (c.old_event).event_key
        ) as place
      from unnest(p_changes) as c
    ) as n
    where e.ctid = n.place;
  end if;

  with state as (
    select -1 as sign, c.old_event as e from unnest(p_changes) as c
    union all
    select 1, c.new_event from unnest(p_changes) as c where (c.new_event).event_key is not null
  ),
  move as (
    select (s.e).usage_date, (s.e).source, (s.e).session_id, (s.e).project, (s.e).model,
      sum(s.sign) as event_count, sum(s.sign * (s.e).message_count) as message_count,
      sum(s.sign * ((s.e).cost_usd is null)::int) as unpriced_event_count,
      sum(s.sign * (s.e).input_tokens) as input_tokens, sum(s.sign * (s.e).output_tokens) as output_tokens,
      sum(s.sign * (s.e).thinking_tokens) as thinking_tokens,
      sum(s.sign * ((s.e).cache_creation_5m_tokens + (s.e).cache_creation_1h_tokens)) as cache_creation_tokens,
      sum(s.sign * (s.e).cache_read_tokens) as cache_read_tokens,
      sum(s.sign * (s.e).web_search_requests) as web_search_requests,
      sum(s.sign * coalesce((s.e).cost_usd, 0)) as cost_usd
    from state as s group by 1, 2, 3, 4, 5
  )
  select array_agg(row(
      m.usage_date, m.source, m.session_id, m.project, m.model, m.event_count, m.message_count,
      m.unpriced_event_count, m.input_tokens, m.output_tokens, m.thinking_tokens, m.cache_creation_tokens,
      m.cache_read_tokens, m.web_search_requests, m.cost_usd
    )::tallystick.usage_move)
    into v_moves
  from move as m;
  perform tallystick.move_totals(p_user_id, v_moves);
end
$$;
comment on function tallystick.apply_changes(uuid, tallystick.event_change[], text) is
  'Keeps the old states as versions, writes the new ones and moves every total by the difference.';
-- Taking observations in. The road of a batch:
--
--   insert_events       straight from JSON into the table, priced, if every record is fit and every key is there once
--   read_observations   ... else JSON -> observations, the unusable ones set apart with a reason
--   fold_observations   ... and one observation per event key
--   move_totals         writes sessions, days and rollups
--   revise_events       the slow road, only where keys stood already
--   apply_changes       versions, events and totals move together, for whatever changes an event

-- Prices one event at what is known now: the price of its day, else what its source reported, else none.
create function tallystick.price_event(p_event public.token_usage_events)
returns public.token_usage_events
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found record;
begin
  select p.price, p.implies_fast into v_found
  from tallystick.find_price(p_event.user_id, p_event.provider, p_event.model, p_event.occurred_at) as p;
  return tallystick.cost_event(p_event, v_found.price, v_found.implies_fast);
end
$$;
comment on function tallystick.price_event(public.token_usage_events) is
  'The event with the cost, basis and price that are known now.';

create function tallystick.cost_event(
  p_event public.token_usage_events, p_price public.token_usage_prices, p_implies_fast boolean
)
returns public.token_usage_events
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  p_event.cost_usd := tallystick.cost_usd(
    p_price, p_event.grain, p_event.service_tier,
    case when p_implies_fast then 'fast' else p_event.speed end, p_event.inference_geo,
    p_event.input_tokens, p_event.cache_creation_5m_tokens, p_event.cache_creation_1h_tokens,
    p_event.cache_read_tokens, p_event.output_tokens, p_event.web_search_requests
  );
  if p_event.cost_usd is not null then
    p_event.price_id := p_price.price_id;
    p_event.cost_basis := case when p_price.user_id is null then 'list' else 'custom' end;
  else
    p_event.price_id := null;
    p_event.cost_usd := p_event.reported_cost_usd;
    p_event.cost_basis := case when p_event.reported_cost_usd is null then 'unpriced' else 'reported' end;
  end if;
  return p_event;
end
$$;
comment on function tallystick.cost_event(public.token_usage_events, public.token_usage_prices, boolean) is
  'The event with its cost at the price given.';

-- What an event becomes by an observation that won one or both of the two questions. The price is looked up anew only
-- where the model, the time or the price context changed: a better count must not bring a newer price list along.
create function tallystick.revised_event(
  p_event public.token_usage_events, p_observation tallystick.observation,
  p_amount_wins boolean, p_place_wins boolean, p_time_zone text
)
returns public.token_usage_events
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_event public.token_usage_events := p_event;
  v_price public.token_usage_prices;
begin
  if p_amount_wins then
    v_event.provider := p_observation.provider;
    v_event.model := p_observation.model;
    v_event.service_tier := p_observation.service_tier;
    v_event.speed := p_observation.speed;
    v_event.inference_geo := p_observation.inference_geo;
    v_event.grain := p_observation.grain;
    v_event.message_count := p_observation.message_count;
    v_event.input_tokens := p_observation.input_tokens;
    v_event.cache_creation_5m_tokens := p_observation.cache_creation_5m_tokens;
    v_event.cache_creation_1h_tokens := p_observation.cache_creation_1h_tokens;
    v_event.cache_read_tokens := p_observation.cache_read_tokens;
    v_event.output_tokens := p_observation.output_tokens;
    v_event.thinking_tokens := p_observation.thinking_tokens;
    v_event.web_search_requests := p_observation.web_search_requests;
    v_event.reported_cost_usd := p_observation.reported_cost_usd;
    v_event.is_final := p_observation.is_final;
    v_event.origin_rank := p_observation.origin_rank;
  end if;
  if p_place_wins then
    v_event.occurred_at := p_observation.occurred_at::timestamptz;
    v_event.usage_date := (v_event.occurred_at at time zone p_time_zone)::date;
    v_event.source := p_observation.source;
    v_event.session_id := p_observation.session_id;
    v_event.project := p_observation.project;
    v_event.device := p_observation.device;
    v_event.git_branch := p_observation.git_branch;
    v_event.agent_version := p_observation.agent_version;
    v_event.is_sidechain := p_observation.is_sidechain;
    v_event.request_id := p_observation.request_id;
    v_event.place_order := p_observation.place_order;
  end if;
  v_event.flags := tallystick.event_flags(
    case when p_amount_wins then p_observation.flags else p_event.flags end,
    case when p_place_wins then p_observation.flags else p_event.flags end,
    greatest(
      v_event.input_tokens, v_event.cache_creation_5m_tokens, v_event.cache_creation_1h_tokens,
      v_event.cache_read_tokens, v_event.output_tokens
    ),
    v_event.occurred_at,
    tallystick.current_time()
  );
  if (v_event.provider, v_event.model, v_event.occurred_at, v_event.grain, v_event.service_tier, v_event.speed,
      v_event.inference_geo)
    is distinct from (p_event.provider, p_event.model, p_event.occurred_at, p_event.grain, p_event.service_tier,
      p_event.speed, p_event.inference_geo)
  then
    return tallystick.price_event(v_event);
  end if;
  select * into v_price from public.token_usage_prices as p where p.price_id = p_event.price_id;
  return tallystick.cost_event(v_event, v_price, tallystick.implies_fast(v_price, v_event.model));
end
$$;
comment on function tallystick.revised_event(
  public.token_usage_events, tallystick.observation, boolean, boolean, text
) is 'The event after an observation that won how much, when and where, or both.';

-- Observations of calls that stood already: each question is asked again, and what wins neither is a duplicate.
create function tallystick.revise_events(p_user_id uuid, p_observations tallystick.observation[], p_time_zone text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_changes tallystick.event_change[];
begin
  select array_agg(row(
      e,
      tallystick.revised_event(
        e, o, tallystick.how_much(o) > tallystick.how_much(e),
        tallystick.when_and_where(o) < tallystick.when_and_where(e), p_time_zone
      )
    )::tallystick.event_change)
    into v_changes
  from unnest(p_observations) as o
  cross join lateral (
    select k.ctid from public.token_usage_events as k where k.user_id = p_user_id and k.event_key = o.event_key offset 0
  ) as place
  join public.token_usage_events as e on e.ctid = place.ctid
  where not e.is_corrected and (
    tallystick.how_much(o) > tallystick.how_much(e) or tallystick.when_and_where(o) < tallystick.when_and_where(e)
  );
  if v_changes is null then
    return 0;
  end if;
  perform tallystick.apply_changes(p_user_id, v_changes, 'revised');
  return cardinality(v_changes);
end
$$;
comment on function tallystick.revise_events(uuid, tallystick.observation[], text) is
  'Lets observations of known calls revise them; answers how many changed.';

-- Makes the account at the first ingest and takes its lock for the rest of the transaction, so that differences are
-- exact. It must be a statement of its own before anything is read: later statements see what the one before committed,
-- which is why any isolation but read committed is refused. It waits for less than the eight seconds that Supabase
-- gives a statement, so that who is kept waiting is told the reason, and comes again.
create function tallystick.lock_account(p_user_id uuid)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '6s'
as $$
declare
  v_time_zone text;
begin
  if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
    raise exception using errcode = 'PT409', constraint = 'isolation_is_read_committed',
      message = 'the ledger is written in isolation level read committed only',
      hint = 'Start the transaction without an isolation level.';
  end if;
  update public.token_usage_accounts as a set receipt_count = a.receipt_count + 1
  where a.user_id = p_user_id returning a.time_zone into v_time_zone;
  if not found then
    insert into public.token_usage_accounts (user_id, time_zone, created_at)
    values (p_user_id, 'UTC', tallystick.current_time()) on conflict do nothing;
    update public.token_usage_accounts as a set receipt_count = a.receipt_count + 1
    where a.user_id = p_user_id returning a.time_zone into v_time_zone;
  end if;
  perform tallystick.tell_listeners(p_user_id);
  return v_time_zone;
exception when lock_not_available then
  raise exception using errcode = 'PT503', constraint = 'account_is_free',
    message = 'another writer holds the books of this user', hint = 'Try again in a moment.';
end
$$;
comment on function tallystick.lock_account(uuid) is
  'Locks the account, made if need be, counts the receipt, tells who listens and answers the account''s time zone.';

create function tallystick.keep_rejects(p_user_id uuid, p_observations tallystick.observation[])
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into public.token_usage_rejects as r
  select distinct p_user_id, o.source, o.position, o.reject_reason, tallystick.current_time(), tallystick.current_time()
  from unnest(p_observations) as o
  where o.reject_reason <> ''
  on conflict on constraint token_usage_rejects_pkey do update set last_seen_at = excluded.last_seen_at
$$;
comment on function tallystick.keep_rejects(uuid, tallystick.observation[]) is
  'Notes where a record stands that could not be counted, once by place and reason.';

-- Whoever sent them is told at once. The first 20 are enough to find the mistake; all of them stand in
-- token_usage_rejects.
create function tallystick.told_rejects(p_observations tallystick.observation[])
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_agg(
    jsonb_build_object(
      'record_index', r.place - 1, 'event_key', r.event_key, 'position', r.position, 'reason', r.reason
    )
    order by r.place
  )
  from (
    select o.ordinality as place, nullif(left(o.event_key, 300), '') as event_key, o.position,
      o.reject_reason as reason
    from unnest(p_observations) with ordinality as o
    where o.reject_reason <> ''
    order by o.ordinality limit 20
  ) as r
$$;
comment on function tallystick.told_rejects(tallystick.observation[]) is
  'The first 20 observations that could not be counted: which of them all, from 0, its key, its position, the reason.';

-- The fast road, one statement: nothing is inserted unless all of the batch is fit for it, and a batch whose JSON does
-- not even convert raises. A member given as null counts as left out.
create function tallystick.insert_events(
  p_user_id uuid,
  p_time_zone text,
  p_events json,
  out received integer,
  out is_fit boolean,
  out new integer,
  out unpriced integer,
  out moves tallystick.usage_move[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := tallystick.current_time();
  v_events json := case when strpos(p_events::text, 'null') > 0 then json_strip_nulls(p_events) else p_events end;
begin
  with incoming as materialized (
    select o.*, o.occurred_at::timestamptz as called_at, tallystick.reject_reason(o) is null as is_good
    from json_populate_recordset(tallystick.blank_observation(), v_events) as o
  ),
  batch as materialized (
    select count(*) as received, count(*) = (
      select count(*) from (select from incoming as i where i.is_good group by i.event_key) as key
    ) as is_fit
    from incoming
  ),
  period as materialized (
    select m.provider, m.model, p.price, p.valid_from, p.valid_until, p.implies_fast
    from (select distinct i.provider, i.model from incoming as i) as m
    cross join lateral tallystick.price_periods(p_user_id, m.provider, m.model) as p
  ),
  inserted as (
    insert into public.token_usage_events
    select p_user_id, i.event_key, i.called_at, v_now,
      (i.called_at at time zone p_time_zone)::date, i.source, i.provider, i.model, i.session_id, i.project,
      i.device, i.git_branch, i.agent_version, i.is_sidechain, i.request_id, i.service_tier, i.speed,
      i.inference_geo, i.grain, i.message_count, i.input_tokens, i.cache_creation_5m_tokens,
      i.cache_creation_1h_tokens, i.cache_read_tokens, i.output_tokens, i.thinking_tokens, i.web_search_requests,
      coalesce(c.cost_usd, i.reported_cost_usd),
      case
        when c.cost_usd is not null then case when (p.price).user_id is null then 'list' else 'custom' end
        when i.reported_cost_usd is not null then 'reported'
        else 'unpriced'
      end,
      case when c.cost_usd is not null then (p.price).price_id end,
      i.reported_cost_usd,
      tallystick.event_flags(i.flags, i.flags, greatest(
        i.input_tokens, i.cache_creation_5m_tokens, i.cache_creation_1h_tokens, i.cache_read_tokens, i.output_tokens
      ), i.called_at, v_now),
      i.is_final, i.origin_rank, i.place_order, false
    from incoming as i
    left join period as p on p.provider = i.provider and p.model = i.model
      and p.valid_from <= i.called_at and i.called_at < p.valid_until
    cross join lateral (
      select tallystick.cost_usd(
        p.price, i.grain, i.service_tier, case when p.implies_fast then 'fast' else i.speed end,
        i.inference_geo, i.input_tokens, i.cache_creation_5m_tokens, i.cache_creation_1h_tokens,
        i.cache_read_tokens, i.output_tokens, i.web_search_requests
      ) as cost_usd
      offset 0 -- else it is worked out anew wherever it is named
    ) as c
    where (select b.is_fit from batch as b)
    on conflict on constraint token_usage_events_pkey do nothing
    returning usage_date, source, session_id, project, model, message_count, input_tokens, output_tokens,
      thinking_tokens, cache_creation_5m_tokens + cache_creation_1h_tokens as cache_creation_tokens,
      cache_read_tokens, web_search_requests, cost_usd
  ),
  move as (
    select n.usage_date, n.source, n.session_id, n.project, n.model, count(*) as event_count,
      sum(n.message_count)::bigint as message_count,
      count(*) filter (where n.cost_usd is null) as unpriced_event_count,
      sum(n.input_tokens)::bigint as input_tokens, sum(n.output_tokens)::bigint as output_tokens,
      sum(n.thinking_tokens)::bigint as thinking_tokens,
      sum(n.cache_creation_tokens)::bigint as cache_creation_tokens,
      sum(n.cache_read_tokens)::bigint as cache_read_tokens,
      sum(n.web_search_requests)::bigint as web_search_requests, coalesce(sum(n.cost_usd), 0) as cost_usd
    from inserted as n
    -- the one that differs most comes first: where this is sorted, few comparisons go further
    group by n.session_id, n.usage_date, n.source, n.project, n.model
  )
  select b.received, b.is_fit, coalesce(sum(m.event_count), 0), coalesce(sum(m.unpriced_event_count), 0),
    array_agg(row(
      m.usage_date, m.source, m.session_id, m.project, m.model, m.event_count, m.message_count,
      m.unpriced_event_count, m.input_tokens, m.output_tokens, m.thinking_tokens, m.cache_creation_tokens,
      m.cache_read_tokens, m.web_search_requests, m.cost_usd
    )::tallystick.usage_move)
    into received, is_fit, new, unpriced, moves
  from batch as b left join move as m on true
  group by b.received, b.is_fit;
end
$$;
comment on function tallystick.insert_events(uuid, text, json) is
  'Inserts the events that are new, priced, and answers what they add to the totals; nothing unless the batch is fit.';

-- What is left to do once the account is locked; runs with the settings of the body that calls it.
create function tallystick.take_events(p_user_id uuid, p_time_zone text, p_events json)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_inserted record;
  v_is_fit boolean;
  v_received integer;
  v_rejected integer := 0;
  v_rejects jsonb := '{}';
  v_observations tallystick.observation[];
  v_revised integer := 0;
begin
  begin
    v_inserted := tallystick.insert_events(p_user_id, p_time_zone, p_events);
    v_is_fit := v_inserted.is_fit;
  exception when data_exception then
    v_is_fit := false;
  end;
  if v_is_fit then
    v_received := v_inserted.received;
    if v_inserted.new < v_received then
      select r.observations into v_observations from tallystick.read_observations(p_events) as r;
    end if;
  else
    select r.observations, r.received, r.rejected into v_observations, v_received, v_rejected
    from tallystick.read_observations(p_events) as r;
    if v_rejected > 0 then
      perform tallystick.keep_rejects(p_user_id, v_observations);
      v_rejects := jsonb_build_object('rejects', tallystick.told_rejects(v_observations));
      v_observations := array(select o from unnest(v_observations) as o where o.reject_reason = '');
    end if;
    v_observations := tallystick.fold_observations(v_observations);
    v_inserted := tallystick.insert_events(
      p_user_id, p_time_zone, to_json(coalesce(v_observations, '{}'::tallystick.observation[]))
    );
  end if;
  if v_received > 20000 then
    raise exception using errcode = 'PT413', constraint = 'batch_is_at_most_20000',
      message = 'a batch holds at most 20,000 records', hint = 'Send smaller batches; 1,000 is a good size.';
  end if;
  if v_inserted.new > 0 then
    perform tallystick.move_totals(p_user_id, v_inserted.moves);
  end if;
  if v_inserted.new < cardinality(v_observations) then
    v_revised := tallystick.revise_events(p_user_id, v_observations, p_time_zone);
  end if;
  return jsonb_build_object(
    'received', v_received, 'new', v_inserted.new, 'revised', v_revised,
    'duplicate', v_received - v_rejected - v_inserted.new - v_revised, 'rejected', v_rejected,
    'unpriced', v_inserted.unpriced
  ) || v_rejects;
end
$$;
comment on function tallystick.take_events(uuid, text, json) is
  'Takes observations of a user whose account is locked; answers the receipt.';

create function tallystick.ingest_token_usage(p_user_id uuid, p_events json)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_time_zone text;
begin
  perform tallystick.check_caller(p_user_id);
  if p_events is null or json_typeof(p_events) <> 'array' then
    raise exception using errcode = 'PT400', constraint = 'events_are_a_list',
      message = 'events must be a JSON list', hint = 'Pass a list of observations, an empty one if there are none.';
  end if;
  v_time_zone := tallystick.lock_account(p_user_id);
  return tallystick.take_events(p_user_id, v_time_zone, p_events);
end
$$;
comment on function tallystick.ingest_token_usage(uuid, json) is 'Body of public.ingest_token_usage.';
revoke all on function tallystick.ingest_token_usage(uuid, json) from public, anon, authenticated;
grant execute on function tallystick.ingest_token_usage(uuid, json) to authenticated, service_role;

-- plpgsql keeps what it calls; a function in SQL is made ready anew at each call, a tenth of what a single event costs
create function public.ingest_token_usage(p_user_id uuid, p_events json)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return tallystick.ingest_token_usage(p_user_id, p_events);
end
$$;
comment on function public.ingest_token_usage(uuid, json) is
  'Takes a JSON list of observations in; answers {received, new, revised, duplicate, rejected, unpriced}, and where '
  'some were rejected the first 20 {record_index, event_key, position, reason} as rejects. '
  'Sending the same again changes nothing.';
revoke all on function public.ingest_token_usage(uuid, json) from public, anon, authenticated;
grant execute on function public.ingest_token_usage(uuid, json) to authenticated, service_role;
-- Who listens is told that a user's books changed.

create function tallystick.notice_channel(p_user_id uuid)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 'token_usage_' || p_user_id;
end
$$;
comment on function tallystick.notice_channel(uuid) is 'The channel on which it is told that a user''s books changed.';

create function tallystick.notice_key(p_user_id uuid)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return hashtextextended(tallystick.notice_channel(p_user_id), 0);
end
$$;
comment on function tallystick.notice_key(uuid) is
  'The advisory lock that listeners share; two users with one key get notices too many, and none too few.';

-- A notice makes all commits of the database wait for each other, so it is given only while somebody listens: listeners
-- hold the lock, which is then refused here. Where it is had, it keeps who would listen waiting until all is committed.
create function tallystick.tell_listeners(p_user_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_try_advisory_xact_lock(tallystick.notice_key(p_user_id)) then
    perform pg_notify(tallystick.notice_channel(p_user_id), '');
  end if;
end
$$;
comment on function tallystick.tell_listeners(uuid) is
  'Has an empty notice sent when this transaction commits, if anybody listens for this user''s.';

-- It waits in the queue of the lock, where the next writer already sees it: an import without a pause keeps nobody out.
create function tallystick.start_listening(p_user_id uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '6s'
as $$
begin
  perform tallystick.check_caller(p_user_id);
  perform pg_advisory_lock_shared(tallystick.notice_key(p_user_id));
  return tallystick.notice_channel(p_user_id);
exception when lock_not_available then
  raise exception using errcode = 'PT503', constraint = 'account_is_free',
    message = 'another writer holds the books of this user', hint = 'Try again in a moment.';
end
$$;
comment on function tallystick.start_listening(uuid) is
  'Answers the channel to LISTEN on, on which notices come until the connection ends: never call it on a pooled one.';
revoke all on function tallystick.start_listening(uuid) from public, anon, authenticated;
grant execute on function tallystick.start_listening(uuid) to service_role;
-- Reading snapshots, the running totals of sessions, from JSON. What they are is told in 26_snapshots.sql.

create type tallystick.snapshot as (
  place bigint,
  user_id uuid,
  session_id text,
  session_started_at timestamptz,
  last_activity_at timestamptz,
  usage_date date,
  totals tallystick.observation
);
comment on type tallystick.snapshot is
  'The running totals of a session, as upsert_token_usage reads them; their reject_reason is why they cannot count.';

-- Some clients encode JSON twice, and what arrives is a string that holds it. What is no object among the sessions is
-- rejected by itself; in daily_data it could be meant for any of them, and would date it wrongly if it were left out.
create function tallystick.read_json_list(p_data jsonb, p_name text)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_data jsonb := p_data;
begin
  if jsonb_typeof(v_data) = 'string' then
    begin
      v_data := (v_data #>> '{}')::jsonb;
    exception when data_exception or statement_too_complex then
      v_data := null;
    end;
  end if;
  if jsonb_typeof(v_data) = 'object' then
    v_data := jsonb_build_array(v_data);
  end if;
  if jsonb_typeof(v_data) is distinct from 'array'
    or p_name = 'daily_data' and jsonb_path_exists(v_data, 'strict $[*] ? (@.type() != "object")')
  then
    raise exception using errcode = 'PT400', constraint = p_name || '_is_a_list',
      message = pg_catalog.format('%s must be a JSON object or a list of objects', p_name),
      hint = 'Pass {"session_id": ..., ...} as session_data, and {"usage_date": "2026-11-22"} or null as daily_data.';
  end if;
  if jsonb_array_length(v_data) > 1000 then
    raise exception using errcode = 'PT413', constraint = p_name || '_is_at_most_1000',
      message = pg_catalog.format('%s holds at most 1,000 objects', p_name), hint = 'Send them in several calls.';
  end if;
  return v_data;
end
$$;
comment on function tallystick.read_json_list(jsonb, text) is
  'An object or a list, or a string that holds one, as a list; raises PT400 or PT413 elsewhere.';

-- One snapshot by itself, judged as the observation that it is: the session's id stands where an observation has its
-- key. The start takes part only where it is given, and must then be a time; so must the date.
create function tallystick.read_snapshot(p_record jsonb, p_place bigint, p_usage_date text, p_caller uuid)
returns tallystick.snapshot
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_snapshot tallystick.snapshot;
  v_user_id text := nullif(p_record ->> 'user_id', '');
  v_session_id text := nullif(p_record ->> 'session_id', '');
  v_started_at text := nullif(p_record ->> 'session_started_at', '');
  v_last_at text := nullif(p_record ->> 'last_activity_at', '');
  v_source text := coalesce(nullif(p_record ->> 'source', ''), 'snapshot');
  v_totals tallystick.observation;
begin
  v_totals := tallystick.read_observation(case
    when jsonb_typeof(p_record) = 'object' then json_build_object(
      'source', v_source, 'position', coalesce(v_source || ':' || v_session_id, p_record ->> 'position'),
      'event_key', v_session_id, 'reject_reason', p_record -> 'reject_reason',
      'project', p_record -> 'project', 'device', p_record -> 'device', 'agent_version', p_record -> 'agent_version',
      'session_id', v_session_id, 'model', p_record ->> 'model_used', 'grain', 'session_delta', 'is_final', true,
      'occurred_at', coalesce(v_started_at, '2026-01-01T00:00:00Z'),
      'input_tokens', p_record -> 'input_tokens', 'output_tokens', p_record -> 'output_tokens',
      'cache_creation_5m_tokens', p_record -> 'cache_creation_tokens',
      'cache_read_tokens', p_record -> 'cache_read_tokens', 'thinking_tokens', p_record -> 'thinking_tokens',
      'message_count', coalesce(nullif(p_record -> 'message_count', 'null'), '0'),
      'reported_cost_usd', p_record -> 'estimated_cost_usd'
    )
    else p_record::json
  end);
  if jsonb_typeof(p_record) <> 'object' then
    v_totals.source := 'snapshot';
  end if;
  v_snapshot.place := p_place;
  v_snapshot.session_id := left(v_session_id, 200);
  v_snapshot.user_id := p_caller;
  if v_user_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    v_snapshot.user_id := v_user_id::uuid;
  elsif v_user_id is not null then
    v_totals.reject_reason := 'not_a_user';
  elsif p_caller is null then
    v_totals.reject_reason := 'missing_user';
  end if;
  if v_totals.reject_reason = '' and v_last_at is not null then
    v_totals.occurred_at := v_last_at;
    v_totals.reject_reason := coalesce(tallystick.reject_reason(v_totals), '');
  end if;
  if v_totals.reject_reason = '' then
    begin
      v_snapshot.session_started_at := v_started_at::timestamptz;
      v_snapshot.last_activity_at := v_last_at::timestamptz;
      v_snapshot.usage_date := p_usage_date::date;
      if p_usage_date !~ '^\d{4}-\d\d-\d\d$' or left(p_usage_date, 4) in ('0000', '0001', '9999') then
        v_totals.reject_reason := 'not_a_time';
      end if;
    exception when data_exception then
      v_totals.reject_reason := 'not_a_time';
    end;
  end if;
  v_snapshot.totals := v_totals;
  return v_snapshot;
end
$$;
comment on function tallystick.read_snapshot(jsonb, bigint, text, uuid) is
  'One object of session_data, with reject_reason set where it cannot be counted.';

create function tallystick.read_snapshots(p_sessions jsonb, p_daily jsonb, p_caller uuid)
returns tallystick.snapshot[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sessions jsonb := tallystick.read_json_list(p_sessions, 'session_data');
  v_daily jsonb := case
    when coalesce(p_daily, 'null') = 'null' then '[]'
    else tallystick.read_json_list(p_daily, 'daily_data')
  end;
  v_is_paired boolean := jsonb_array_length(v_sessions) = jsonb_array_length(v_daily);
begin
  return array(
    with daily as materialized (
      select lower(nullif(d.entry ->> 'user_id', '')) as user_id, nullif(d.entry ->> 'session_id', '') as session_id,
        d.entry ->> 'usage_date' as usage_date, d.place
      from jsonb_array_elements(v_daily) with ordinality as d (entry, place)
      where d.entry ->> 'usage_date' <> ''
    )
    select tallystick.read_snapshot(s.record, s.place, (
      select d.usage_date from daily as d
      where coalesce(d.user_id = coalesce(lower(nullif(s.record ->> 'user_id', '')), p_caller::text), true)
        and coalesce(d.session_id = s.record ->> 'session_id', true)
      order by d.session_id is null, v_is_paired and d.place = s.place desc, d.usage_date collate "C" desc limit 1
    ), p_caller)
    from jsonb_array_elements(v_sessions) with ordinality as s (record, place)
    order by s.place
  );
end
$$;
comment on function tallystick.read_snapshots(jsonb, jsonb, uuid) is
  'session_data as snapshots, each with its day out of daily_data; null is today.';
-- A snapshot is what a caller knows of a session at one time who knows nothing of its calls: its running totals.
--
-- What a snapshot holds beyond the session's earlier ones becomes an event of grain session_delta, one per session, day
-- and model; its source is `snapshot`, or the agent that a collector read it from. The next snapshot of that day and
-- model grows it: as an observation with more in it, by the road of all others, so that the same snapshot again is a
-- duplicate and the old state a version.
--
-- session_data is one object or a list of them, of one or of several users:
--   user_id (left out: p_user_id, else the caller), session_id, model_used, session_started_at, input_tokens,
--   output_tokens (thinking included), cache_creation_tokens (counted as written for five minutes), cache_read_tokens,
--   thinking_tokens, message_count, estimated_cost_usd; and what collectors know beside: source (left out: snapshot),
--   project, device, agent_version, last_activity_at
--
-- * Day: the usage_date of the entry that fits the session. An entry fits that names the user and the session or leaves
--   them out. Of several, those that name the session go first, then, of two lists of one length, the one at the same
--   place, then the latest date. Where none fits: the day of
--   last_activity_at, else today, in the zone of the account.
-- * Counts: one that is left out is 0. Where one is less than what the session's snapshots have brought so far, the
--   snapshot is rejected as totals_shrank; whoever counts from 0 again takes another session_id. So the total of a
--   session does not depend on the order in which snapshots arrive, but how it lies on the days does. A delta with more
--   thinking than output is rejected as thinking_over_output, and is in the next totals.
-- * Time: on the first day of a session its start, moved to the nearest time of that day; else its last activity, else
--   noon, before noon of today now, or just after what the day has of the session already.
-- * Cost: ours where the model has a price, else what estimated_cost_usd says beyond the other deltas of the session.
--   An estimate is no count: one that fell takes back what the delta itself has, and no more; left out, it is unknown.
--   Where no count grew, a higher estimate raises a delta of that day and model, and makes none.
-- * A delta that a person corrected stays as it is. What the snapshots had brought is known from its versions, and what
--   they bring from then on goes to another delta beside it.
--
-- Sessions whose calls the ledger also knows from elsewhere are counted twice, and `tally doctor` names them.

-- The beginning of the keys of a session's deltas, by which they are found again whatever a correction or another zone
-- makes of their labels. No session's is the beginning of another's: an id that holds a colon, which ends it, stands as
-- its digest, and so does one that could be taken for a digest, or would make the key too long. So do sources.
create function tallystick.key_part(p_label text, p_max_bytes integer)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when strpos(p_label, ':') > 0 or p_label like 'sha256-%' or octet_length(p_label) > p_max_bytes
    then 'sha256-' || encode(sha256(convert_to(p_label, 'UTF8')), 'hex')
    else p_label
  end;
end
$$;
comment on function tallystick.key_part(text, integer) is 'A label as a part of a key that ends with a colon.';

create function tallystick.delta_prefix(p_source text, p_session_id text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_source = 'snapshot' then 'snapshot:' || tallystick.key_part(p_session_id, 200)
    else 'snapshot/' || tallystick.key_part(p_source, 40) || ':' || tallystick.key_part(p_session_id, 100)
  end || ':';
end
$$;
comment on function tallystick.delta_prefix(text, text) is 'What the event keys of a session''s deltas begin with.';

-- The day and the model are in the key to be read; a model that would make it too long stands as its digest. Where a
-- correction or a move to another zone left that key to a delta that does not count for the day any more, the next one
-- is numbered.
create function tallystick.delta_key(
  p_deltas public.token_usage_events[], p_source text, p_session_id text, p_usage_date date, p_model text
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.event_key
  from generate_series(1, cardinality(p_deltas) + 1) as n (number)
  cross join lateral (
    select tallystick.delta_prefix(p_source, p_session_id) || to_char(p_usage_date::timestamp, 'YYYY-MM-DD') || ':'
      || case
        when octet_length(p_model) > 70 then 'sha256-' || encode(sha256(convert_to(p_model, 'UTF8')), 'hex')
        else p_model
      end
      || case when n.number > 1 then '~' || n.number else '' end as event_key
  ) as k
  where k.event_key <> all (select d.event_key from unnest(p_deltas) as d)
  order by n.number limit 1
$$;
comment on function tallystick.delta_key(public.token_usage_events[], text, text, date, text) is
  'The key of a new delta: snapshot:<session>:<day>:<model>, or snapshot/<source>:<session>:<day>:<model>.';

-- A time that a day does not have, where clocks are put forward at midnight, would be a time of another day.
create function tallystick.delta_time(
  p_deltas public.token_usage_events[], p_started_at timestamptz, p_last_activity_at timestamptz, p_usage_date date,
  p_time_zone text
)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := tallystick.current_time();
  v_noon timestamptz := (p_usage_date + time '12:00') at time zone p_time_zone;
  v_time timestamptz;
begin
  if v_noon > v_now and (v_now at time zone p_time_zone)::date = p_usage_date then
    v_noon := v_now;
  end if;
  if p_started_at is null or exists (select from unnest(p_deltas) as d where d.usage_date <= p_usage_date) then
    select greatest(
      case
        when (p_last_activity_at at time zone p_time_zone)::date = p_usage_date then p_last_activity_at
        else v_noon
      end,
      max(d.occurred_at) + interval '1 microsecond'
    ) into v_time
    from unnest(p_deltas) as d where d.usage_date = p_usage_date;
  elsif (p_started_at at time zone p_time_zone)::date = p_usage_date then
    v_time := p_started_at;
  elsif p_started_at < v_noon then
    v_time := p_usage_date::timestamp at time zone p_time_zone;
  else
    v_time := (p_usage_date + time '23:59:59.999999') at time zone p_time_zone;
  end if;
  return case when (v_time at time zone p_time_zone)::date = p_usage_date then v_time else v_noon end;
end
$$;
comment on function tallystick.delta_time(public.token_usage_events[], timestamptz, timestamptz, date, text) is
  'When a new delta of that day has happened, as far as anybody knows.';

-- A corrected delta counts as its first correction found it.
create function tallystick.session_deltas(p_user_id uuid, p_source text, p_session_id text)
returns public.token_usage_events[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_prefix text := tallystick.delta_prefix(p_source, p_session_id);
  -- the sign that follows the colon
  v_end text := left(v_prefix, -1) || ';';
begin
  return array(
    select case when v.event is null then e else jsonb_populate_record(e, v.event - 'is_corrected') end
    from public.token_usage_events as e
    left join lateral (
      select o.event from public.token_usage_event_versions as o
      where o.user_id = p_user_id and o.event_key = e.event_key and o.reason = 'corrected'
      order by o.version limit 1
    ) as v on e.is_corrected
    where e.user_id = p_user_id and e.event_key > v_prefix and e.event_key < v_end
  );
end
$$;
comment on function tallystick.session_deltas(uuid, text, text) is
  'What the snapshots of a session have brought so far.';

create function tallystick.next_delta(
  p_deltas public.token_usage_events[], p_snapshot tallystick.snapshot, p_time_zone text,
  out delta public.token_usage_events, out reject_reason text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_totals tallystick.observation := p_snapshot.totals;
  v_day date := coalesce(
    p_snapshot.usage_date,
    (coalesce(p_snapshot.last_activity_at, tallystick.current_time()) at time zone p_time_zone)::date
  );
  v_more record;
  v_delta public.token_usage_events;
begin
  -- a zone that moves to the other side of the date line leaves a day out, whose noon is of the next one
  v_day := ((v_day + time '12:00') at time zone p_time_zone at time zone p_time_zone)::date;
  select v_totals.input_tokens - coalesce(sum(d.input_tokens), 0) as input_tokens,
    v_totals.output_tokens - coalesce(sum(d.output_tokens), 0) as output_tokens,
    v_totals.cache_creation_5m_tokens - coalesce(sum(d.cache_creation_5m_tokens), 0) as cache_creation_tokens,
    v_totals.cache_read_tokens - coalesce(sum(d.cache_read_tokens), 0) as cache_read_tokens,
    v_totals.thinking_tokens - coalesce(sum(d.thinking_tokens), 0) as thinking_tokens,
    v_totals.message_count - coalesce(sum(d.message_count), 0) as message_count,
    v_totals.reported_cost_usd - coalesce(sum(d.reported_cost_usd), 0) as cost_usd
    into v_more
  from unnest(p_deltas) as d;
  if least(v_more.input_tokens, v_more.output_tokens, v_more.cache_creation_tokens, v_more.cache_read_tokens,
      v_more.thinking_tokens, v_more.message_count) < 0
  then
    reject_reason := 'totals_shrank';
    return;
  end if;
  select d.* into v_delta from unnest(p_deltas) as d
  where not d.is_corrected and d.usage_date = v_day and d.model = v_totals.model
  order by d.occurred_at desc, d.event_key desc limit 1;
  if greatest(v_more.input_tokens, v_more.output_tokens, v_more.cache_creation_tokens, v_more.cache_read_tokens,
      v_more.thinking_tokens, v_more.message_count) = 0
    and (v_delta.event_key is null or not coalesce(v_more.cost_usd > 0, false))
  then
    return;
  end if;
  if v_delta.event_key is null then
    v_delta := jsonb_populate_record(v_delta, to_jsonb(tallystick.blank_observation()) - 'occurred_at');
    v_delta.event_key := tallystick.delta_key(
      p_deltas, v_totals.source, v_totals.session_id, v_day, v_totals.model
    );
    v_delta.occurred_at := tallystick.delta_time(
      p_deltas, p_snapshot.session_started_at, p_snapshot.last_activity_at, v_day, p_time_zone
    );
    v_delta.usage_date := v_day;
    v_delta.source := v_totals.source;
    v_delta.session_id := v_totals.session_id;
    v_delta.model := v_totals.model;
    v_delta.project := v_totals.project;
    v_delta.device := v_totals.device;
    v_delta.agent_version := v_totals.agent_version;
    v_delta.grain := v_totals.grain;
    v_delta.is_final := v_totals.is_final;
    v_delta.is_corrected := false;
    v_delta.message_count := 0;
  end if;
  v_delta.input_tokens := v_delta.input_tokens + v_more.input_tokens;
  v_delta.output_tokens := v_delta.output_tokens + v_more.output_tokens;
  v_delta.cache_creation_5m_tokens := v_delta.cache_creation_5m_tokens + v_more.cache_creation_tokens;
  v_delta.cache_read_tokens := v_delta.cache_read_tokens + v_more.cache_read_tokens;
  v_delta.thinking_tokens := v_delta.thinking_tokens + v_more.thinking_tokens;
  v_delta.message_count := v_delta.message_count + v_more.message_count;
  v_delta.reported_cost_usd := case
    when v_more.cost_usd is not null then greatest(coalesce(v_delta.reported_cost_usd, 0) + v_more.cost_usd, 0)
  end;
  if v_delta.thinking_tokens > v_delta.output_tokens then
    reject_reason := 'thinking_over_output';
  else
    delta := v_delta;
  end if;
end
$$;
comment on function tallystick.next_delta(public.token_usage_events[], tallystick.snapshot, text) is
  'The delta that a snapshot makes or grows, null where it brings nothing, or why it is rejected.';

-- Snapshots of one user in the order of their sources and sessions; one session's follow upon each other also within a
-- call.
create function tallystick.take_snapshots(
  p_user_id uuid, p_snapshots tallystick.snapshot[], out receipt jsonb, out rejected tallystick.snapshot[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_time_zone text;
  v_snapshot tallystick.snapshot;
  v_source text;
  v_session_id text;
  v_deltas public.token_usage_events[];
  v_next record;
  v_changed public.token_usage_events[] := '{}';
begin
  v_time_zone := tallystick.lock_account(p_user_id);
  rejected := '{}';
  foreach v_snapshot in array p_snapshots loop
    if (v_snapshot.totals).reject_reason = '' then
      if (v_snapshot.session_id, (v_snapshot.totals).source) is distinct from (v_session_id, v_source) then
        v_session_id := v_snapshot.session_id;
        v_source := (v_snapshot.totals).source;
        v_deltas := tallystick.session_deltas(p_user_id, v_source, v_session_id);
      end if;
      v_next := tallystick.next_delta(v_deltas, v_snapshot, v_time_zone);
      if v_next.reject_reason is not null then
        v_snapshot.totals := jsonb_populate_record(
          v_snapshot.totals, jsonb_build_object('reject_reason', v_next.reject_reason)
        );
      elsif (v_next.delta).event_key is not null then
        v_changed := v_changed || v_next.delta;
        v_deltas := array(select d from unnest(v_deltas) as d where d.event_key <> (v_next.delta).event_key)
          || v_next.delta;
      end if;
    end if;
    if (v_snapshot.totals).reject_reason <> '' then
      rejected := rejected || v_snapshot;
    end if;
  end loop;
  perform tallystick.keep_rejects(p_user_id, array(select s.totals from unnest(rejected) as s));
  receipt := tallystick.take_events(p_user_id, v_time_zone, to_json(v_changed));
end
$$;
comment on function tallystick.take_snapshots(uuid, tallystick.snapshot[]) is
  'Takes the snapshots of one user in; answers the receipt of the deltas, and which were rejected.';

-- One user after another in the order of their ids, so that no two calls ever wait for each other. What is nobody's has
-- no books to be kept in, and is told in the answer alone; a person who is nobody is refused.
create function tallystick.upsert_token_usage(session_data jsonb, daily_data jsonb, p_caller uuid)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_snapshots tallystick.snapshot[] := tallystick.read_snapshots(session_data, daily_data, p_caller);
  v_rejected tallystick.snapshot[] := array(select s from unnest(v_snapshots) as s where s.user_id is null);
  v_user_id uuid;
  v_taken record;
  v_new integer := 0;
  v_revised integer := 0;
  v_unpriced integer := 0;
begin
  for v_user_id in
    select distinct s.user_id from unnest(v_snapshots) as s
    where s.user_id is not null or current_setting('role', true) = 'authenticated'
    order by s.user_id
  loop
    perform tallystick.check_caller(v_user_id);
    v_taken := tallystick.take_snapshots(v_user_id, array(
      select s from unnest(v_snapshots) as s where s.user_id = v_user_id
      order by (s.totals).source collate "C", s.session_id collate "C", s.place
    ));
    v_new := v_new + (v_taken.receipt ->> 'new')::integer;
    v_revised := v_revised + (v_taken.receipt ->> 'revised')::integer;
    v_unpriced := v_unpriced + (v_taken.receipt ->> 'unpriced')::integer;
    v_rejected := v_rejected || v_taken.rejected;
  end loop;
  return jsonb_build_object(
    'received', cardinality(v_snapshots), 'new', v_new, 'revised', v_revised,
    'duplicate', cardinality(v_snapshots) - cardinality(v_rejected) - v_new - v_revised,
    'rejected', cardinality(v_rejected), 'unpriced', v_unpriced,
    'rejects', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'user_id', s.user_id, 'session_id', s.session_id, 'reason', (s.totals).reject_reason
      ) order by s.place), '[]')
      from unnest(v_rejected) as s
    )
  );
end
$$;
comment on function tallystick.upsert_token_usage(jsonb, jsonb, uuid) is 'Body of public.upsert_token_usage.';
revoke all on function tallystick.upsert_token_usage(jsonb, jsonb, uuid) from public, anon, authenticated;
grant execute on function tallystick.upsert_token_usage(jsonb, jsonb, uuid) to authenticated, service_role;

create function public.upsert_token_usage(
  session_data jsonb, daily_data jsonb default null, p_user_id uuid default null
)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.upsert_token_usage(session_data, daily_data, coalesce(p_user_id, auth.uid()))
$$;
comment on function public.upsert_token_usage(jsonb, jsonb, uuid) is
  'Takes the running totals of sessions in, an object or a list; answers {received, new, revised, duplicate, rejected, '
  'unpriced, rejects}. What they grew by goes to the usage_date of daily_data. Sending the same again changes nothing. '
  'Sessions that name no user are those of p_user_id, else of who is signed in.';
revoke all on function public.upsert_token_usage(jsonb, jsonb, uuid) from public, anon, authenticated;
grant execute on function public.upsert_token_usage(jsonb, jsonb, uuid) to authenticated, service_role;
-- What a call costs. The road from a model as its source wrote it to US dollars:
--
--   price_names     the names under which that model may be listed, best first
--   resolve_model   ... the one that everybody's list has, and the one among the user's own prices
--   price_periods   the rates under those names, each with the time in which it holds
--   find_price      ... the ones that hold at one moment
--   cost_usd        rates and counts -> US dollars
--
-- A name is known where it is listed, or would be but for a valid date at its end. Nothing is matched by prefix or by
-- part: a wrong price is worse than none, and whoever knows the right one can add it with add_token_prices().

-- Other words for the providers of the list. A word that is not here stands for itself.
create function tallystick.price_provider(p_provider text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case lower(btrim(p_provider))
    when 'amazon' then 'aws'
    when 'amazon-bedrock' then 'aws'
    when 'bedrock' then 'aws'
    when 'azure-openai' then 'azure'
    when 'copilot' then 'github-copilot'
    when 'fireworks-ai' then 'fireworks'
    when 'gemini' then 'google'
    when 'google-vertex' then 'google'
    when 'vertex' then 'google'
    when 'vertex-ai' then 'google'
    when 'mistralai' then 'mistral'
    when 'moonshot' then 'moonshotai'
    when 'together-ai' then 'together'
    when 'togetherai' then 'together'
    when 'xai' then 'x-ai'
    when 'z-ai' then 'zai'
    else lower(btrim(p_provider))
  end;
end
$$;
comment on function tallystick.price_provider(text) is 'The provider as the price list calls it.';
revoke all on function tallystick.price_provider(text) from public, anon, authenticated, service_role;

-- [1m] asks a model for its long context window: the same model, at the same rates.
create function tallystick.price_model(p_model text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when right(lower(btrim(p_model)), 4) = '[1m]' then left(lower(btrim(p_model)), -4)
    else lower(btrim(p_model))
  end;
end
$$;
comment on function tallystick.price_model(text) is 'The model as the price list spells it.';
revoke all on function tallystick.price_model(text) from public, anon, authenticated, service_role;

-- The date is read as a date: a 30th of February is part of a name that nobody listed.
create function tallystick.without_date(p_model text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts text[] := regexp_match(p_model, '^(.+)[-@](20\d\d)(-?)(0[1-9]|1[0-2])\3(0[1-9]|[12]\d|3[01])$');
begin
  if v_parts is null or extract(
    month from make_date(v_parts[2]::integer, v_parts[4]::integer, 1) + (v_parts[5]::integer - 1)
  ) <> v_parts[4]::integer then
    return null;
  end if;
  return v_parts[1];
end
$$;
comment on function tallystick.without_date(text) is
  'The name before the date that ends it; null where no valid date does.';
revoke all on function tallystick.without_date(text) from public, anon, authenticated, service_role;

-- A name may say more than the provider beside it. Ids of Bedrock and Vertex are priced by those, not by the maker of
-- the model; Bedrock's regional ids (us., eu., ...) cost more than its global. ones, so that prefix stays. Where no
-- provider is known at all, only the three largest makers are asked. The order of the names: as written, then without
-- what was put before or around it, then all of these without a date. A -fast that means a speed is dropped only after
-- the name with it was tried, because some models are listed with it.
create function tallystick.price_names(p_provider text, p_model text, out providers text[], out models text[])
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_provider text := tallystick.price_provider(p_provider);
  v_model text := tallystick.price_model(p_model);
  v_name text;
begin
  providers := case
    when v_provider not in ('', 'anthropic') then array[v_provider]
    when v_model ~ '^([a-z-]+\.)?anthropic\.' then '{aws}'
    when v_model like '%claude%@%' then '{google}'
    when v_provider <> '' then array[v_provider]
    when v_model like 'openrouter/%' then '{openrouter}'
    when v_model like 'claude%' or v_model like 'anthropic/%' then '{anthropic}'
    when v_model like 'openai/%' then '{openai}'
    when v_model like 'google/%' or v_model like 'models/%' then '{google}'
    else '{anthropic,openai,google}'
  end;
  models := array[v_model];
  if strpos(v_model, '/') > 0 then
    models := models || regexp_replace(v_model, '^openrouter/', '')
      || regexp_replace(v_model, '^(openrouter/[^/]+|anthropic|openai|google|models)/', '');
  end if;
  foreach v_name in array models loop
    if v_name like 'claude%.%' then
      models := models || regexp_replace(v_name, '(\d)\.(\d)', '\1-\2', 'g');
    elsif v_name like '%-v%' and providers = '{aws}' then
      models := models || regexp_replace(v_name, '-v\d+(:\d+k?)*$', '');
    end if;
  end loop;
  foreach v_name in array models loop
    models := array_append(models, tallystick.without_date(v_name));
  end loop;
  if v_model like '%-fast' then
    models := models || (tallystick.price_names(p_provider, left(v_model, -5))).models;
  end if;
end
$$;
comment on function tallystick.price_names(text, text) is
  'The providers that may list a model, and the names under which they may, best first; nulls among them mean nothing.';
revoke all on function tallystick.price_names(text, text) from public, anon, authenticated, service_role;

-- The plan is the same whatever the names are, and a generic one spares planning it at each call.
create function tallystick.resolve_model(
  p_user_id uuid, p_provider text, p_model text,
  out own_provider text, out own_model text, out price_provider text, out price_model text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_names record;
  v_listed_by bigint;
begin
  -- most names are listed as they are written, and most users have no prices of their own
  select p.provider, p.model into price_provider, price_model
  from public.token_usage_prices as p
  where p.user_id is null and p.provider = p_provider and p.model = p_model limit 1;
  if not found then
    v_names := tallystick.price_names(p_provider, p_model);
    select min(v.provider), n.model, count(*) into price_provider, price_model, v_listed_by
    from unnest(v_names.models) with ordinality as n (model, preference)
    cross join unnest(v_names.providers) as v (provider)
    cross join lateral (
      select from public.token_usage_prices as p
      where p.user_id is null and p.provider = v.provider and p.model = n.model limit 1
    ) as listed
    group by n.preference, n.model order by n.preference limit 1;
    if v_listed_by > 1 then
      price_provider := null;
      price_model := null;
    end if;
  end if;
  if exists (select from public.token_usage_prices as p where p.user_id = p_user_id) then
    v_names := tallystick.price_names(p_provider, p_model);
    select v.provider, n.model into own_provider, own_model
    from unnest(v_names.models) with ordinality as n (model, preference)
    cross join unnest(tallystick.price_provider(p_provider) || v_names.providers)
      with ordinality as v (provider, preference)
    cross join lateral (
      select from public.token_usage_prices as p
      where p.user_id = p_user_id and p.provider = v.provider and p.model = n.model limit 1
    ) as listed
    order by n.preference, v.preference limit 1;
  end if;
end
$$;
comment on function tallystick.resolve_model(uuid, text, text) is
  'The provider and name under which the user''s own prices, and those under which everybody''s list, know a model.';
revoke all on function tallystick.resolve_model(uuid, text, text) from public, anon, authenticated, service_role;

create function tallystick.implies_fast(p_price public.token_usage_prices, p_model text)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return right(tallystick.price_model(p_model), 5) = '-fast' and right(p_price.model, 5) <> '-fast';
end
$$;
comment on function tallystick.implies_fast(public.token_usage_prices, text) is
  'Whether the name says that the call was a fast one: it ends in -fast, and the name that is listed does not.';
revoke all on function tallystick.implies_fast(public.token_usage_prices, text)
  from public, anon, authenticated, service_role;

-- The periods of one model never overlap, so that a join by time finds one price at most. A user's own prices win from
-- the first of them on; of two with the same date, the one added later.
create function tallystick.price_periods(p_user_id uuid, p_provider text, p_model text)
returns table (
  price public.token_usage_prices, valid_from timestamptz, valid_until timestamptz, implies_fast boolean
)
language plpgsql
stable
rows 3
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select k.price, k.valid_from, lead(k.valid_from, 1, 'infinity') over (order by k.valid_from),
    tallystick.implies_fast(k.price, p_model)
  from (
    select distinct on (l.valid_from) l.price, l.valid_from, l.is_own,
      min(l.valid_from) filter (where l.is_own) over () as own_from
    from tallystick.resolve_model(p_user_id, p_provider, p_model) as r
    cross join lateral (
      select p as price, p.valid_from, p.price_id, true as is_own from public.token_usage_prices as p
      where p.user_id = p_user_id and p.provider = r.own_provider and p.model = r.own_model
      union all
      select p, p.valid_from, p.price_id, false from public.token_usage_prices as p
      where p.user_id is null and p.provider = r.price_provider and p.model = r.price_model
    ) as l
    order by l.valid_from, l.is_own desc, l.price_id desc
  ) as k
  where k.is_own or k.own_from is null or k.valid_from < k.own_from;
end
$$;
comment on function tallystick.price_periods(uuid, text, text) is
  'The prices of a model, each with the time in which it holds: valid_from <= time < valid_until.';
revoke all on function tallystick.price_periods(uuid, text, text) from public, anon, authenticated, service_role;

create function tallystick.find_price(p_user_id uuid, p_provider text, p_model text, p_at timestamptz)
returns table (price public.token_usage_prices, implies_fast boolean)
language plpgsql
stable
rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select f.price, f.implies_fast
  from tallystick.price_periods(p_user_id, p_provider, p_model) as f
  where f.valid_from <= p_at and p_at < f.valid_until;
end
$$;
comment on function tallystick.find_price(uuid, text, text, timestamptz) is
  'The price of a model at a time, no row where it has none; and whether the model''s name means a fast call.';
revoke all on function tallystick.find_price(uuid, text, text, timestamptz)
  from public, anon, authenticated, service_role;

-- Null wherever a part of the price is unknown: no price, a tier or speed that has none, or one that nobody has heard
-- of. `* 0.000001` and no division, no rounding: both lose digits. The long-context rates hold for the whole request,
-- and only where the row is one request: the sum of a session passes any threshold. The fee for a web search is the
-- same in every tier.
create function tallystick.cost_usd(
  p_price public.token_usage_prices, p_grain text, p_service_tier text, p_speed text, p_inference_geo text,
  p_input bigint, p_c5m bigint, p_c1h bigint, p_read bigint, p_output bigint, p_web bigint
)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
      when p_grain = 'call'
        and p_input + p_c5m + p_c1h + p_read > p_price.long_context_threshold_tokens
      then p_input * p_price.long_input_usd_per_mtok
        + p_c5m * p_price.long_cache_creation_5m_usd_per_mtok
        + p_c1h * p_price.long_cache_creation_1h_usd_per_mtok
        + p_read * p_price.long_cache_read_usd_per_mtok
        + p_output * p_price.long_output_usd_per_mtok
      else p_input * p_price.input_usd_per_mtok
        + p_c5m * p_price.cache_creation_5m_usd_per_mtok
        + p_c1h * p_price.cache_creation_1h_usd_per_mtok
        + p_read * p_price.cache_read_usd_per_mtok
        + p_output * p_price.output_usd_per_mtok
    end
    * 0.000001
    * case
      when p_service_tier in ('', 'standard', 'default', 'auto') then 1
      when p_service_tier = 'batch' then p_price.batch_multiplier
      when p_service_tier = 'flex' then p_price.flex_multiplier
      when p_service_tier in ('priority', 'fast') then p_price.priority_multiplier
    end
    * case
      when p_speed in ('', 'standard') then 1
      when p_speed = 'fast' then p_price.fast_multiplier
    end
    * case when p_inference_geo = 'us' then p_price.us_multiplier else 1 end
    + p_web * p_price.web_search_usd;
end
$$;
comment on function tallystick.cost_usd(
  public.token_usage_prices, text, text, text, text, bigint, bigint, bigint, bigint, bigint, bigint
) is 'US dollars at a price, exact; null where any part of it is unknown.';
revoke all on function tallystick.cost_usd(
  public.token_usage_prices, text, text, text, text, bigint, bigint, bigint, bigint, bigint, bigint
) from public, anon, authenticated, service_role;
-- The price list: reading prices from JSON, and appending what is new of them.

create function tallystick.price_digest(p_price public.token_usage_prices)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return encode(sha256(convert_to(jsonb_build_array(
    p_price.provider, p_price.model, extract(epoch from p_price.valid_from),
    trim_scale(p_price.input_usd_per_mtok), trim_scale(p_price.output_usd_per_mtok),
    trim_scale(p_price.cache_read_usd_per_mtok), trim_scale(p_price.cache_creation_5m_usd_per_mtok),
    trim_scale(p_price.cache_creation_1h_usd_per_mtok), p_price.long_context_threshold_tokens,
    trim_scale(p_price.long_input_usd_per_mtok), trim_scale(p_price.long_output_usd_per_mtok),
    trim_scale(p_price.long_cache_read_usd_per_mtok), trim_scale(p_price.long_cache_creation_5m_usd_per_mtok),
    trim_scale(p_price.long_cache_creation_1h_usd_per_mtok), trim_scale(p_price.batch_multiplier),
    trim_scale(p_price.flex_multiplier), trim_scale(p_price.priority_multiplier),
    trim_scale(p_price.fast_multiplier), trim_scale(p_price.us_multiplier),
    trim_scale(p_price.web_search_usd)
  )::text, 'UTF8')), 'hex');
end
$$;
comment on function tallystick.price_digest(public.token_usage_prices) is
  'The sha256 of what a price says, whoever says it and whenever.';
revoke all on function tallystick.price_digest(public.token_usage_prices)
  from public, anon, authenticated, service_role;

-- A price is added where it says something else than the one that stands for the same owner, model and date. Of several
-- in one list only the last can stand; the others are not added, or sending the list again would add them again.
-- Writers take turns, so that two who send the same list at once add it once; readers do not wait. In p_prices,
-- price_id is the place in the list.
create function tallystick.append_prices(
  p_user_id uuid, p_prices public.token_usage_prices[], out received bigint, out added bigint, out unchanged bigint
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  lock table public.token_usage_prices in share row exclusive mode;
  insert into public.token_usage_prices overriding user value
  select r.*
  from (
    select distinct on (p.provider, p.model, p.valid_from) p as price, tallystick.price_digest(p) as digest
    from unnest(p_prices) as p
    order by p.provider, p.model, p.valid_from, p.price_id desc
  ) as n
  left join (
    select distinct on (t.provider, t.model, t.valid_from) t.provider, t.model, t.valid_from, t.digest
    from public.token_usage_prices as t
    where t.user_id = p_user_id or (p_user_id is null and t.user_id is null)
    order by t.provider, t.model, t.valid_from, t.price_id desc
  ) as stands
    on stands.provider = (n.price).provider and stands.model = (n.price).model
    and stands.valid_from = (n.price).valid_from
  cross join lateral jsonb_populate_record(n.price, jsonb_build_object(
    'user_id', p_user_id, 'digest', n.digest, 'recorded_at', tallystick.current_time()
  )) as r
  where n.digest is distinct from stands.digest
  order by (n.price).price_id;
  get diagnostics added = row_count;
  received := cardinality(p_prices);
  unchanged := received - added;
end
$$;
comment on function tallystick.append_prices(uuid, public.token_usage_prices[]) is
  'Adds prices for a user, or for everybody where the user is null; what already stands is left alone.';
revoke all on function tallystick.append_prices(uuid, public.token_usage_prices[])
  from public, anon, authenticated, service_role;

create function tallystick.refuse_price(p_rule text, p_place bigint, p_message text, p_hint text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = 'PT400', constraint = p_rule,
    message = pg_catalog.format('price %s: %s', p_place, p_message), hint = p_hint;
end
$$;
comment on function tallystick.refuse_price(text, bigint, text, text) is
  'Raises PT400: which price of the list is refused, by what rule and why.';
revoke all on function tallystick.refuse_price(text, bigint, text, text) from public, anon, authenticated, service_role;

-- Numbers come as JSON numbers or, since a client may turn those into floats, as digits in a string. The bounds leave
-- no room for NaN, and none for a rate whose product with any count would not be a sum of money.
create function tallystick.read_price_number(p_members jsonb, p_name text, p_place bigint)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := p_members ->> p_name;
begin
  if v_text is null then
    return null;
  end if;
  if p_name = 'long_context_threshold_tokens' and v_text !~ '^[1-9]\d{0,8}$' then
    perform tallystick.refuse_price(
      'prices_threshold_is_a_count', p_place, pg_catalog.format('%s is not a number of tokens', p_name),
      'Leave it out where every request has the same rates.'
    );
  end if;
  if jsonb_typeof(p_members -> p_name) not in ('number', 'string') or v_text !~ '^\d{1,7}(\.\d{1,20})?$' then
    perform tallystick.refuse_price(
      'prices_numbers_are_plain', p_place, pg_catalog.format('%s is not a plain number of dollars', p_name),
      'Write digits with at most 20 decimals, as "0.0375".'
    );
  end if;
  return trim_scale(v_text::numeric);
end
$$;
comment on function tallystick.read_price_number(jsonb, text, bigint) is
  'One number of a price in JSON; null where absent.';
revoke all on function tallystick.read_price_number(jsonb, text, bigint)
  from public, anon, authenticated, service_role;

create function tallystick.read_price_time(p_members jsonb, p_place bigint)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := p_members ->> 'valid_from';
begin
  if v_text ~ '^\d{4}-\d\d-\d\d$' then
    v_text := v_text || 'T00:00:00Z';
  end if;
  if v_text ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$' then
    begin
      return v_text::timestamptz;
    exception when data_exception then
      null;
    end;
  end if;
  perform tallystick.refuse_price(
    'prices_valid_from_is_a_time', p_place, 'valid_from is not a date or a time with its offset',
    'Write "2026-11-22" for midnight UTC, or "2026-11-22T08:00:00Z"; "1970-01-01" means from the beginning.'
  );
end
$$;
comment on function tallystick.read_price_time(jsonb, bigint) is 'Since when a price in JSON holds.';
revoke all on function tallystick.read_price_time(jsonb, bigint) from public, anon, authenticated, service_role;

-- What must hold between the members of a price. A price that knows long-context rates knows all of those that it knows
-- for short ones: half a table would be completed with the wrong half.
create function tallystick.check_price(p_price public.token_usage_prices, p_place bigint)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(p_price.model, '') = '' or p_price.provider is null
    or greatest(octet_length(p_price.provider), octet_length(p_price.model), octet_length(p_price.origin)) > 200 then
    perform tallystick.refuse_price(
      'prices_name_a_model', p_place, 'provider and model must be given, in at most 200 bytes each, as must origin',
      'Provider "" is for calls whose provider is not known.'
    );
  end if;
  if p_price.input_usd_per_mtok is null or p_price.output_usd_per_mtok is null then
    perform tallystick.refuse_price(
      'prices_have_rates', p_place, 'input_usd_per_mtok and output_usd_per_mtok must be given',
      'Write 0 only where it is free.'
    );
  end if;
  if (
    p_price.long_input_usd_per_mtok is null, p_price.long_output_usd_per_mtok is null,
    p_price.long_cache_read_usd_per_mtok is null, p_price.long_cache_creation_5m_usd_per_mtok is null,
    p_price.long_cache_creation_1h_usd_per_mtok is null
  ) is distinct from (
    p_price.long_context_threshold_tokens is null, p_price.long_context_threshold_tokens is null,
    p_price.long_context_threshold_tokens is null or p_price.cache_read_usd_per_mtok is null,
    p_price.long_context_threshold_tokens is null or p_price.cache_creation_5m_usd_per_mtok is null,
    p_price.long_context_threshold_tokens is null or p_price.cache_creation_1h_usd_per_mtok is null
  ) then
    perform tallystick.refuse_price(
      'prices_have_all_long_rates_or_none', p_place, 'the long-context rates are not complete',
      'With a threshold, give long_input_usd_per_mtok, long_output_usd_per_mtok and a long cache rate for each cache '
        'rate given; without one, give none.'
    );
  end if;
  if least(
    p_price.batch_multiplier, p_price.flex_multiplier, p_price.priority_multiplier, p_price.fast_multiplier,
    p_price.us_multiplier
  ) <= 0 then
    perform tallystick.refuse_price(
      'prices_multipliers_are_positive', p_place, 'a multiplier must be more than 0',
      'Leave a multiplier out where the price in that context is not known: such calls stay unpriced.'
    );
  end if;
end
$$;
comment on function tallystick.check_price(public.token_usage_prices, bigint) is
  'Raises PT400 where the members of a price do not go together.';
revoke all on function tallystick.check_price(public.token_usage_prices, bigint)
  from public, anon, authenticated, service_role;

-- A cache rate that is left out is the next more general one, as in genai-prices: reads and writes cost what uncached
-- input costs, and writes for an hour cost what writes for five minutes cost.
create function tallystick.read_price(p_members jsonb, p_place bigint)
returns public.token_usage_prices
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_texts text[] := '{provider,model,valid_from,origin}';
  v_numbers text[] := array[
    'input_usd_per_mtok', 'output_usd_per_mtok', 'cache_read_usd_per_mtok', 'cache_creation_5m_usd_per_mtok',
    'cache_creation_1h_usd_per_mtok', 'long_context_threshold_tokens', 'long_input_usd_per_mtok',
    'long_output_usd_per_mtok', 'long_cache_read_usd_per_mtok', 'long_cache_creation_5m_usd_per_mtok',
    'long_cache_creation_1h_usd_per_mtok', 'batch_multiplier', 'flex_multiplier', 'priority_multiplier',
    'fast_multiplier', 'us_multiplier', 'web_search_usd'
  ];
  v_strange text;
  v_name text;
  v_figures jsonb := '{}';
  v_price public.token_usage_prices;
begin
  if jsonb_typeof(p_members) <> 'object' then
    perform tallystick.refuse_price(
      'prices_are_objects', p_place, 'it is not a JSON object', 'Give each price as an object of named members.'
    );
  end if;
  select string_agg(k, ', ' order by k) into v_strange
  from jsonb_object_keys(p_members) as k where k <> all (v_texts || v_numbers);
  if v_strange is not null then
    perform tallystick.refuse_price(
      'prices_have_known_members', p_place, pg_catalog.format('unknown members: %s', left(v_strange, 200)),
      pg_catalog.format('A price has %s.', array_to_string(v_texts || v_numbers, ', '))
    );
  end if;
  foreach v_name in array v_numbers loop
    v_figures := v_figures
      || jsonb_build_object(v_name, tallystick.read_price_number(p_members, v_name, p_place));
  end loop;
  v_price := jsonb_populate_record(null::public.token_usage_prices, v_figures);
  v_price.price_id := p_place;
  v_price.provider := tallystick.price_provider(p_members ->> 'provider');
  v_price.model := tallystick.price_model(p_members ->> 'model');
  v_price.valid_from := tallystick.read_price_time(p_members, p_place);
  v_price.origin := coalesce(p_members ->> 'origin', 'own');
  v_price.us_multiplier := coalesce(v_price.us_multiplier, 1);
  v_price.web_search_usd := coalesce(v_price.web_search_usd, 0);
  perform tallystick.check_price(v_price, p_place);
  v_price.cache_read_usd_per_mtok := coalesce(v_price.cache_read_usd_per_mtok, v_price.input_usd_per_mtok);
  v_price.cache_creation_5m_usd_per_mtok :=
    coalesce(v_price.cache_creation_5m_usd_per_mtok, v_price.input_usd_per_mtok);
  v_price.cache_creation_1h_usd_per_mtok :=
    coalesce(v_price.cache_creation_1h_usd_per_mtok, v_price.cache_creation_5m_usd_per_mtok);
  v_price.long_cache_read_usd_per_mtok :=
    coalesce(v_price.long_cache_read_usd_per_mtok, v_price.long_input_usd_per_mtok);
  v_price.long_cache_creation_5m_usd_per_mtok :=
    coalesce(v_price.long_cache_creation_5m_usd_per_mtok, v_price.long_input_usd_per_mtok);
  v_price.long_cache_creation_1h_usd_per_mtok :=
    coalesce(v_price.long_cache_creation_1h_usd_per_mtok, v_price.long_cache_creation_5m_usd_per_mtok);
  return v_price;
end
$$;
comment on function tallystick.read_price(jsonb, bigint) is
  'One price in JSON as a row; raises PT400 where it is no good.';
revoke all on function tallystick.read_price(jsonb, bigint) from public, anon, authenticated, service_role;

create function tallystick.add_token_prices(p_prices jsonb, p_user_id uuid)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_receipt record;
begin
  if p_user_id is null then
    perform tallystick.check_service_caller();
  else
    perform tallystick.check_caller(p_user_id);
  end if;
  if jsonb_typeof(p_prices) is distinct from 'array' then
    raise exception using errcode = 'PT400', constraint = 'prices_are_a_list',
      message = 'prices must be a JSON list', hint = 'Pass a list of prices, also for a single one.';
  end if;
  if jsonb_array_length(p_prices) > 10000 then
    raise exception using errcode = 'PT413', constraint = 'prices_are_at_most_10000',
      message = 'one call takes at most 10,000 prices', hint = 'Send them in several calls.';
  end if;
  v_receipt := tallystick.append_prices(p_user_id, array(
    select tallystick.read_price(e.members, e.place)
    from jsonb_array_elements(p_prices) with ordinality as e (members, place) order by e.place
  ));
  return to_jsonb(v_receipt);
end
$$;
comment on function tallystick.add_token_prices(jsonb, uuid) is 'Body of public.add_token_prices.';
revoke all on function tallystick.add_token_prices(jsonb, uuid) from public, anon, authenticated, service_role;
grant execute on function tallystick.add_token_prices(jsonb, uuid) to authenticated, service_role;

create function public.add_token_prices(p_prices jsonb, p_user_id uuid default null)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.add_token_prices(p_prices, p_user_id)
$$;
comment on function public.add_token_prices(jsonb, uuid) is
  'Adds dated prices, a user''s own or with the service role everybody''s; answers {received, added, unchanged}. '
  'Past costs stay as they are until somebody re-rates.';
revoke all on function public.add_token_prices(jsonb, uuid) from public, anon, authenticated, service_role;
grant execute on function public.add_token_prices(jsonb, uuid) to authenticated, service_role;
-- How reports read. The road of a question:
--
--   checked_filter   what was asked, checked, with the zone and its bounds worked out
--   usage_totals     the one list of sums, from the cheapest table that can answer
--   usage_report, usage_sessions, usage_blocks: the rows to show, as pages
--
-- No rollup knows the device, which would make each of them longer and every ingest dearer for a question that is asked
-- seldom: a report by device, or of one, reads the events of its range by events_by_time, as one in another zone does.
--
-- The bodies plan each call for its own arguments: the tables that a question leaves out, and the labels that it does
-- not group by, then cost nothing.

create type tallystick.usage_filter as (
  since date,
  until date,
  time_zone text,
  is_account_zone boolean,
  called_from timestamptz,
  called_before timestamptz,
  sources text[],
  projects text[],
  models text[],
  sessions text[],
  devices text[]
);
comment on type tallystick.usage_filter is
  'Which usage: dates in the zone, with times that surely enclose them, and labels ('''' is unknown, null is all).';

create type tallystick.usage_grouping as (
  period text,
  week_start integer,
  by_source boolean,
  by_session boolean,
  by_project boolean,
  by_model boolean,
  by_device boolean,
  lists_models boolean,
  is_list boolean
);
comment on type tallystick.usage_grouping is
  'What a report groups by; period is day, week, month or null. A list has the labels alone, without their sums.';

create type tallystick.usage_total as (
  period_start date,
  source text collate "C",
  session_id text collate "C",
  project text collate "C",
  model text collate "C",
  device text collate "C",
  event_count bigint,
  message_count bigint,
  unpriced_event_count bigint,
  input_tokens bigint,
  output_tokens bigint,
  thinking_tokens bigint,
  cache_creation_tokens bigint,
  cache_read_tokens bigint,
  web_search_requests bigint,
  cost_usd numeric,
  models text[]
);
comment on type tallystick.usage_total is 'Sums under the labels that a report groups by ('''' for the others).';

create type tallystick.page_key as (
  period_start date,
  at timestamptz,
  source text collate "C",
  session_id text collate "C",
  project text collate "C",
  model text collate "C",
  device text collate "C",
  event_key text collate "C"
);
comment on type tallystick.page_key is 'The place of a row in its report, '''' for a label that is null.';

-- The times enclose the dates with a day to spare on each side: where a clock goes back over midnight a date comes
-- twice, so its events need not lie between two midnights. The times choose the index range, and the date decides.
create function tallystick.checked_filter(
  p_user_id uuid, p_since date, p_until date, p_time_zone text, p_sources text[], p_projects text[], p_models text[],
  p_sessions text[], p_devices text[], p_by text, p_limit integer
)
returns tallystick.usage_filter
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account_zone text := (select a.time_zone from public.token_usage_accounts as a where a.user_id = p_user_id);
  v_filter tallystick.usage_filter;
begin
  if p_since > p_until then
    raise exception using errcode = 'PT400', constraint = 'since_is_not_after_until',
      message = 'the range ends before it begins', hint = 'Both dates count; swap p_since and p_until.';
  end if;
  if p_by not in ('model', 'project', 'source', 'session', 'device') then
    raise exception using errcode = 'PT400', constraint = 'by_is_known',
      message = pg_catalog.format('no breakdown by %L', p_by), hint = 'Use model, project, source, session or device.';
  end if;
  if p_limit is null or p_limit not between 1 and 10000 then
    raise exception using errcode = 'PT400', constraint = 'limit_is_1_to_10000',
      message = 'a page holds 1 to 10,000 rows', hint = 'Ask for the next page with p_after.';
  end if;
  v_filter.is_account_zone := coalesce(p_time_zone = v_account_zone, p_time_zone is null);
  if not v_filter.is_account_zone then
    perform tallystick.check_time_zone(p_time_zone);
  end if;
  v_filter.time_zone := coalesce(p_time_zone, v_account_zone);
  v_filter.since := least(greatest(p_since, '0001-01-01'), '9999-12-31');
  v_filter.until := greatest(least(p_until, '9999-12-31'), '0001-01-01');
  v_filter.called_from := (v_filter.since - 1)::timestamp at time zone v_filter.time_zone;
  v_filter.called_before := (v_filter.until + 2)::timestamp at time zone v_filter.time_zone;
  v_filter.sources := array_replace(p_sources, null, '');
  v_filter.projects := array_replace(p_projects, null, '');
  v_filter.models := array_replace(p_models, null, '');
  v_filter.sessions := array_replace(p_sessions, null, '');
  v_filter.devices := array_replace(p_devices, null, '');
  return v_filter;
end
$$;
comment on function tallystick.checked_filter is
  'The filter that the parameters of a report describe; PT400 where one of them is wrong.';
revoke all on function tallystick.checked_filter from public, anon, authenticated;

-- A page starts after the last row of the page before, given as the row itself or as its key columns. It is a place in
-- the order and need not be a row any more; but a column that the order goes by and that it does not have would make it
-- the place of the first row, and whoever asks for page after page would ask for ever.
create function tallystick.page_key(p_after jsonb, p_first text, p_others text[], p_by text)
returns tallystick.page_key
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_after is null then
    return null;
  end if;
  if jsonb_typeof(p_after) <> 'object' or p_first is not null and nullif(p_after ->> p_first, '') is null
    or not p_after ?& array_remove(p_others || case p_by when 'session' then 'session_id' else p_by end, null) then
    raise exception using errcode = 'invalid_parameter_value';
  end if;
  return row(
    coalesce(nullif(p_after ->> 'period_start', '')::date, '-infinity'),
    case when p_first <> 'period_start' then (p_after ->> p_first)::timestamptz end, coalesce(p_after ->> 'source', ''),
    coalesce(p_after ->> 'session_id', ''), coalesce(p_after ->> 'project', ''), coalesce(p_after ->> 'model', ''),
    coalesce(p_after ->> 'device', ''), coalesce(p_after ->> 'event_key', '')
  )::tallystick.page_key;
exception when data_exception then
  raise exception using errcode = 'PT400', constraint = 'after_is_a_row',
    message = 'p_after is no row of this report', hint = 'Pass the last row of the page before, as a JSON object.';
end
$$;
comment on function tallystick.page_key is
  'The place after which the next page of a report starts, whose order goes by p_first (a time), p_others and p_by.';
revoke all on function tallystick.page_key from public, anon, authenticated;

create function tallystick.usage_grouping(p_period text, p_week_start integer, p_label text, p_by text)
returns tallystick.usage_grouping
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select row(
    p_period, p_week_start, coalesce(p_by in ('source', 'session'), false), coalesce(p_by = 'session', false),
    coalesce('project' in (p_label, p_by), false), coalesce('model' in (p_label, p_by), false),
    coalesce('device' in (p_label, p_by), false), false, false
  )::tallystick.usage_grouping
$$;
comment on function tallystick.usage_grouping is
  'What a report groups by: a period, its own label and the breakdown. A session is known by its source too.';
revoke all on function tallystick.usage_grouping from public, anon, authenticated;

-- Their places, because a function that pins its path hands over its rows one by one, and those are wide. They hold for
-- the statement that asks: join token_usage_events on ctid.
create function tallystick.selected_events(p_user_id uuid, p_filter tallystick.usage_filter)
returns table (place tid)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select e.ctid from public.token_usage_events as e
  where e.user_id = p_user_id
    and e.occurred_at >= p_filter.called_from and e.occurred_at < p_filter.called_before
    and case
      when p_filter.is_account_zone then e.usage_date between p_filter.since and p_filter.until
      else e.occurred_at >= p_filter.called_from + interval '2 days'
        and e.occurred_at < p_filter.called_before - interval '2 days'
        or (e.occurred_at at time zone p_filter.time_zone)::date between p_filter.since and p_filter.until
    end
    and (p_filter.sources is null or e.source = any (p_filter.sources))
    and (p_filter.projects is null or e.project = any (p_filter.projects))
    and (p_filter.models is null or e.model = any (p_filter.models))
    and (p_filter.sessions is null or e.session_id = any (p_filter.sessions))
    and (p_filter.devices is null or e.device = any (p_filter.devices));
end
$$;
comment on function tallystick.selected_events is 'Where the events stand that a filter lets through.';
revoke all on function tallystick.selected_events from public, anon, authenticated;

create function tallystick.usage_totals(
  p_user_id uuid, p_road text, p_filter tallystick.usage_filter, p_grouping tallystick.usage_grouping
)
returns setof tallystick.usage_total
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    case p_grouping.period
      when 'day' then s.usage_date
      -- 0001-01-01 was a Monday
      when 'week' then s.usage_date - (s.usage_date - '0001-01-01'::date + 8 - p_grouping.week_start) % 7
      when 'month' then date_trunc('month', s.usage_date::timestamp)::date
      else '-infinity'::date
    end,
    case when p_grouping.by_source then s.source else '' end,
    case when p_grouping.by_session then s.session_id else '' end,
    case when p_grouping.by_project then s.project else '' end,
    case when p_grouping.by_model then s.model else '' end,
    case when p_grouping.by_device then s.device else '' end,
    case when not p_grouping.is_list then sum(s.event_count)::bigint end,
    case when not p_grouping.is_list then sum(s.message_count)::bigint end,
    case when not p_grouping.is_list then sum(s.unpriced_event_count)::bigint end,
    case when not p_grouping.is_list then sum(s.input_tokens)::bigint end,
    case when not p_grouping.is_list then sum(s.output_tokens)::bigint end,
    case when not p_grouping.is_list then sum(s.thinking_tokens)::bigint end,
    case when not p_grouping.is_list then sum(s.cache_creation_tokens)::bigint end,
    case when not p_grouping.is_list then sum(s.cache_read_tokens)::bigint end,
    case when not p_grouping.is_list then sum(s.web_search_requests)::bigint end,
    case when not p_grouping.is_list then sum(s.cost_usd) end,
    case when p_grouping.lists_models then array_agg(distinct s.model) end
  from (
    select d.usage_date, d.source, ''::text as session_id, d.project, d.model, ''::text as device, d.event_count,
      d.message_count, d.unpriced_event_count, d.input_tokens, d.output_tokens, d.thinking_tokens,
      d.cache_creation_tokens, d.cache_read_tokens, d.web_search_requests, d.cost_usd
    from public.token_usage_by_day as d
    where p_road = 'by_day' and d.user_id = p_user_id
      and d.usage_date between p_filter.since and p_filter.until
      and (p_filter.sources is null or d.source = any (p_filter.sources))
      and (p_filter.projects is null or d.project = any (p_filter.projects))
      and (p_filter.models is null or d.model = any (p_filter.models))
    union all
    select d.usage_date, d.source, d.session_id, d.project, d.model, ''::text, d.event_count, d.message_count,
      d.unpriced_event_count, d.input_tokens, d.output_tokens, d.thinking_tokens, d.cache_creation_tokens,
      d.cache_read_tokens, d.web_search_requests, d.cost_usd
    from public.token_usage_by_session_day as d
    where p_road = 'by_session_day' and d.user_id = p_user_id
      and d.usage_date between p_filter.since and p_filter.until
      and (p_filter.sources is null or d.source = any (p_filter.sources))
      and (p_filter.projects is null or d.project = any (p_filter.projects))
      and (p_filter.models is null or d.model = any (p_filter.models))
      and (p_filter.sessions is null or d.session_id = any (p_filter.sessions))
    union all
    select (e.occurred_at at time zone p_filter.time_zone)::date, e.source, e.session_id, e.project, e.model,
      e.device, 1::bigint, e.message_count, (e.cost_usd is null)::int::bigint,
      e.input_tokens, e.output_tokens, e.thinking_tokens, e.cache_creation_5m_tokens + e.cache_creation_1h_tokens,
      e.cache_read_tokens, e.web_search_requests, coalesce(e.cost_usd, 0)
    from tallystick.selected_events(p_user_id, p_filter) as f
    join public.token_usage_events as e on e.ctid = f.place
    where p_road = 'events'
  ) as s
  group by 1, 2, 3, 4, 5, 6;
end
$$;
comment on function tallystick.usage_totals is
  'The sums of a report, by its labels: road is by_day, by_session_day or events, and any other gives none.';
revoke all on function tallystick.usage_totals from public, anon, authenticated;

create function tallystick.cost_text(p_cost_usd numeric, p_event_count bigint, p_unpriced_event_count bigint)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_event_count <> p_unpriced_event_count then trim_scale(p_cost_usd)::text end;
end
$$;
comment on function tallystick.cost_text is 'A sum of costs on its way out; null where nothing is priced.';
revoke all on function tallystick.cost_text from public, anon, authenticated;
-- Reports by day, week, month, model and project, and the sum of everything: six entry functions and the one body that
-- they share.

create type public.usage_row as (
  period_start date,
  source text,
  session_id text,
  project text,
  model text,
  device text,
  session_count bigint,
  event_count bigint,
  message_count bigint,
  unpriced_event_count bigint,
  input_tokens bigint,
  output_tokens bigint,
  thinking_tokens bigint,
  cache_creation_tokens bigint,
  cache_read_tokens bigint,
  web_search_requests bigint,
  cost_usd text
);
comment on type public.usage_row is
  'One line of a report by day, week, month, model or project, or their sum; a label is null where unknown or not '
  'broken down by.';

-- The daily report without filter or breakdown is what everybody looks at first, so it has a read of its own: one row
-- of token_usage_daily per day, at a fifth of what planning the other would cost.
--
-- In every other report a session counts once in each row, whatever its days: the sessions are listed under their
-- labels first and counted then, which costs a fraction of count(distinct).
create function tallystick.usage_report(
  p_user_id uuid, p_period text, p_week_start integer, p_label text, p_since date, p_until date, p_time_zone text,
  p_sources text[], p_projects text[], p_models text[], p_sessions text[], p_devices text[], p_by text,
  p_after jsonb, p_limit integer
)
returns setof public.usage_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '16MB'
as $$
declare
  v_filter tallystick.usage_filter;
  v_grouping tallystick.usage_grouping := tallystick.usage_grouping(p_period, p_week_start, p_label, p_by);
  v_sessions tallystick.usage_grouping := v_grouping;
  v_after tallystick.page_key;
  v_road text;
  v_session_road text;
begin
  perform tallystick.check_caller(p_user_id);
  if p_week_start is null or p_week_start not between 1 and 7 then
    raise exception using errcode = 'PT400', constraint = 'week_start_is_1_to_7',
      message = 'a week starts on one of seven days', hint = '1 is Monday, 7 is Sunday.';
  end if;
  v_filter := tallystick.checked_filter(
    p_user_id, p_since, p_until, p_time_zone, p_sources, p_projects, p_models, p_sessions, p_devices, p_by,
    p_limit
  );
  v_after := tallystick.page_key(
    p_after, case when p_period is not null then 'period_start' end, array[p_label], p_by
  );
  -- earlier periods are behind this page
  v_filter.since := greatest(v_filter.since, v_after.period_start);
  v_filter.called_from := greatest(
    v_filter.called_from, (v_after.period_start - 1)::timestamp at time zone v_filter.time_zone
  );
  v_road := case
    when v_grouping.by_device or p_devices is not null or not v_filter.is_account_zone then 'events'
    when v_grouping.by_session or p_sessions is not null then 'by_session_day'
    when p_period = 'day' and p_by is null
      and p_sources is null and p_projects is null and p_models is null then 'daily'
    else 'by_day'
  end;
  if v_road = 'daily' then
    return query
    select d.usage_date, null::text, null::text, null::text, null::text, null::text, d.daily_session_count,
      d.daily_event_count, d.daily_message_count, d.daily_unpriced_event_count, d.daily_input_tokens,
      d.daily_output_tokens, d.daily_thinking_tokens, d.daily_cache_creation_tokens, d.daily_cache_read_tokens,
      d.daily_web_search_requests,
      tallystick.cost_text(d.daily_cost_usd, d.daily_event_count, d.daily_unpriced_event_count)
    from public.token_usage_daily as d
    where d.user_id = p_user_id and d.usage_date between v_filter.since and v_filter.until
      and (p_after is null or d.usage_date > v_after.period_start)
    order by d.usage_date
    limit p_limit;
    return;
  end if;
  v_sessions.by_source := true;
  v_sessions.by_session := true;
  v_sessions.is_list := true;
  v_session_road := case
    when v_grouping.by_session then 'none'
    when v_road = 'events' then 'events'
    else 'by_session_day'
  end;
  return query
  select nullif(t.period_start, '-infinity'), nullif(t.source, ''), nullif(t.session_id, ''), nullif(t.project, ''),
    nullif(t.model, ''), nullif(t.device, ''), case when v_grouping.by_session then 1 else n.session_count end,
    t.event_count, t.message_count, t.unpriced_event_count, t.input_tokens, t.output_tokens, t.thinking_tokens,
    t.cache_creation_tokens, t.cache_read_tokens, t.web_search_requests,
    tallystick.cost_text(t.cost_usd, t.event_count, t.unpriced_event_count)
  from tallystick.usage_totals(p_user_id, v_road, v_filter, v_grouping) as t
  left join (
    select s.period_start, case when v_grouping.by_source then s.source else '' end as source, s.project, s.model,
      s.device, count(*) as session_count
    from tallystick.usage_totals(p_user_id, v_session_road, v_filter, v_sessions) as s
    group by 1, 2, 3, 4, 5
  ) as n
    on n.period_start = t.period_start and n.source = t.source and n.project = t.project and n.model = t.model
      and n.device = t.device
  where p_after is null or (t.period_start, t.source, t.session_id, t.project, t.model, t.device)
    > (v_after.period_start, v_after.source, v_after.session_id, v_after.project, v_after.model, v_after.device)
  order by t.period_start, t.source, t.session_id, t.project, t.model, t.device
  limit p_limit;
end
$$;
comment on function tallystick.usage_report is
  'Body of public.usage_daily, usage_weekly, usage_monthly, usage_models, usage_projects and usage_summary.';
revoke all on function tallystick.usage_report from public, anon, authenticated;
grant execute on function tallystick.usage_report to authenticated, service_role;

create function public.usage_daily(
  p_user_id uuid default null, p_since date default null, p_until date default null, p_time_zone text default null,
  p_sources text[] default null, p_projects text[] default null, p_models text[] default null,
  p_sessions text[] default null, p_devices text[] default null, p_by text default null,
  p_after jsonb default null, p_limit integer default 1000
)
returns setof public.usage_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_report(
    coalesce(p_user_id, auth.uid()), 'day', 1, null, p_since, p_until, p_time_zone, p_sources, p_projects, p_models,
    p_sessions, p_devices, p_by, p_after, p_limit
  ) as r
$$;
comment on function public.usage_daily is
  'Usage by day, oldest first, the dates inclusive and in p_time_zone (the account''s where null).';
revoke all on function public.usage_daily from public, anon, authenticated;
grant execute on function public.usage_daily to authenticated, service_role;

create function public.usage_weekly(
  p_user_id uuid default null, p_since date default null, p_until date default null, p_time_zone text default null,
  p_sources text[] default null, p_projects text[] default null, p_models text[] default null,
  p_sessions text[] default null, p_devices text[] default null, p_by text default null,
  p_after jsonb default null, p_limit integer default 1000, p_week_start integer default 1
)
returns setof public.usage_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_report(
    coalesce(p_user_id, auth.uid()), 'week', p_week_start, null, p_since, p_until, p_time_zone, p_sources,
    p_projects, p_models, p_sessions, p_devices, p_by, p_after, p_limit
  ) as r
$$;
comment on function public.usage_weekly is
  'Usage by week; a week starts on p_week_start, 1 (Monday) to 7 (Sunday), and is named by that day.';
revoke all on function public.usage_weekly from public, anon, authenticated;
grant execute on function public.usage_weekly to authenticated, service_role;

create function public.usage_monthly(
  p_user_id uuid default null, p_since date default null, p_until date default null, p_time_zone text default null,
  p_sources text[] default null, p_projects text[] default null, p_models text[] default null,
  p_sessions text[] default null, p_devices text[] default null, p_by text default null,
  p_after jsonb default null, p_limit integer default 1000
)
returns setof public.usage_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_report(
    coalesce(p_user_id, auth.uid()), 'month', 1, null, p_since, p_until, p_time_zone, p_sources, p_projects, p_models,
    p_sessions, p_devices, p_by, p_after, p_limit
  ) as r
$$;
comment on function public.usage_monthly is 'Usage by calendar month, named by its first day.';
revoke all on function public.usage_monthly from public, anon, authenticated;
grant execute on function public.usage_monthly to authenticated, service_role;

create function public.usage_models(
  p_user_id uuid default null, p_since date default null, p_until date default null, p_time_zone text default null,
  p_sources text[] default null, p_projects text[] default null, p_models text[] default null,
  p_sessions text[] default null, p_devices text[] default null, p_by text default null,
  p_after jsonb default null, p_limit integer default 1000
)
returns setof public.usage_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_report(
    coalesce(p_user_id, auth.uid()), null, 1, 'model', p_since, p_until, p_time_zone, p_sources, p_projects, p_models,
    p_sessions, p_devices, p_by, p_after, p_limit
  ) as r
$$;
comment on function public.usage_models is 'Usage by model.';
revoke all on function public.usage_models from public, anon, authenticated;
grant execute on function public.usage_models to authenticated, service_role;

create function public.usage_projects(
  p_user_id uuid default null, p_since date default null, p_until date default null, p_time_zone text default null,
  p_sources text[] default null, p_projects text[] default null, p_models text[] default null,
  p_sessions text[] default null, p_devices text[] default null, p_by text default null,
  p_after jsonb default null, p_limit integer default 1000
)
returns setof public.usage_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_report(
    coalesce(p_user_id, auth.uid()), null, 1, 'project', p_since, p_until, p_time_zone, p_sources, p_projects, p_models,
    p_sessions, p_devices, p_by, p_after, p_limit
  ) as r
$$;
comment on function public.usage_projects is 'Usage by project.';
revoke all on function public.usage_projects from public, anon, authenticated;
grant execute on function public.usage_projects to authenticated, service_role;

-- Where nothing was used the cost is 0 and not null: null says that something was, and nothing of it is priced.
create function public.usage_summary(
  p_user_id uuid default null, p_since date default null, p_until date default null, p_time_zone text default null,
  p_sources text[] default null, p_projects text[] default null, p_models text[] default null,
  p_sessions text[] default null, p_devices text[] default null
)
returns public.usage_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select null::date, null::text, null::text, null::text, null::text, null::text,
    coalesce(r.session_count, 0), coalesce(r.event_count, 0), coalesce(r.message_count, 0),
    coalesce(r.unpriced_event_count, 0),
    coalesce(r.input_tokens, 0), coalesce(r.output_tokens, 0), coalesce(r.thinking_tokens, 0),
    coalesce(r.cache_creation_tokens, 0), coalesce(r.cache_read_tokens, 0), coalesce(r.web_search_requests, 0),
    case when r.event_count is null then '0' else r.cost_usd end
  from (select) as one
  left join tallystick.usage_report(
    coalesce(p_user_id, auth.uid()), null, 1, null, p_since, p_until, p_time_zone, p_sources, p_projects, p_models,
    p_sessions, p_devices, null, null, 1
  ) as r on true
$$;
comment on function public.usage_summary is
  'The sum of all usage in a range, as one row: zeros where there is none; a session counts once whatever its days.';
revoke all on function public.usage_summary from public, anon, authenticated;
grant execute on function public.usage_summary to authenticated, service_role;
-- Reports of sessions, of one session's calls, of the latest calls, and of calls by their keys.

create type public.usage_session_row as (
  source text,
  session_id text,
  session_started_at timestamptz,
  last_activity_at timestamptz,
  project text,
  device text,
  model text,
  event_count bigint,
  message_count bigint,
  unpriced_event_count bigint,
  input_tokens bigint,
  output_tokens bigint,
  thinking_tokens bigint,
  cache_creation_tokens bigint,
  cache_read_tokens bigint,
  web_search_requests bigint,
  cost_usd text
);
comment on type public.usage_session_row is
  'One session: its times, the labels of its latest call, and what it used within the range asked for.';

create type public.usage_session_event_row as (
  event_key text,
  occurred_at timestamptz,
  source text,
  project text,
  model text,
  device text,
  is_sidechain boolean,
  input_tokens bigint,
  output_tokens bigint,
  thinking_tokens bigint,
  cache_creation_tokens bigint,
  cache_read_tokens bigint,
  web_search_requests bigint,
  message_count bigint,
  unpriced_event_count bigint,
  cost_usd text,
  cost_basis text,
  flags text[]
);
comment on type public.usage_session_event_row is 'One model call.';

create type public.usage_event_cost_row as (
  event_key text,
  session_id text,
  model text,
  cost_usd text
);
comment on type public.usage_event_cost_row is
  'What the ledger holds for one event key; cost_usd is null where unpriced.';

-- The sessions of the page are found first, without sums, so that a page of many costs as much as it shows. A session
-- that overlaps the range may have been silent in it, and only the slices know the labels of what it did.
create function tallystick.usage_sessions(
  p_user_id uuid, p_since date, p_until date, p_time_zone text, p_sources text[], p_projects text[], p_models text[],
  p_sessions text[], p_devices text[], p_by text, p_after jsonb, p_limit integer
)
returns setof public.usage_session_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '16MB'
as $$
declare
  v_filter tallystick.usage_filter;
  v_grouping tallystick.usage_grouping := tallystick.usage_grouping(null, 1, p_by, 'session');
  v_list tallystick.usage_grouping := tallystick.usage_grouping(null, 1, null, 'session');
  v_after tallystick.page_key;
  v_road text;
  v_is_all boolean := p_since is null and p_until is null and p_projects is null and p_models is null
    and p_devices is null;
  v_page record;
begin
  perform tallystick.check_caller(p_user_id);
  v_filter := tallystick.checked_filter(
    p_user_id, p_since, p_until, p_time_zone, p_sources, p_projects, p_models, p_sessions, p_devices, p_by,
    p_limit
  );
  v_list.is_list := true;
  v_after := tallystick.page_key(p_after, 'last_activity_at', array['source', 'session_id'], p_by);
  v_road := case
    when v_grouping.by_device or p_devices is not null or not v_filter.is_account_zone then 'events'
    else 'by_session_day'
  end;
  select array_agg(c.session_id) as session_ids, min(c.session_started_at) as started_at,
    max(c.last_activity_at) as last_at into v_page
  from (
    select z.session_id, z.session_started_at, z.last_activity_at
    from public.token_usage_sessions as z
    where z.user_id = p_user_id
      and z.last_activity_at >= v_filter.called_from and z.session_started_at < v_filter.called_before
      and (v_filter.sources is null or z.source = any (v_filter.sources))
      and (v_filter.sessions is null or z.session_id = any (v_filter.sessions))
      and (
        p_after is null
        or (z.last_activity_at, z.source, z.session_id) >= (v_after.at, v_after.source, v_after.session_id)
      )
      and (v_is_all or (z.source, z.session_id) in (
        select s.source, s.session_id from tallystick.usage_totals(p_user_id, v_road, v_filter, v_list) as s
      ))
    order by z.last_activity_at, z.source, z.session_id
    -- the session that the last page ended in may have more rows, or none
    limit p_limit + 1
  ) as c;
  if v_page.session_ids is null then
    return;
  end if;
  v_filter.sessions := v_page.session_ids;
  v_filter.called_from := greatest(v_filter.called_from, v_page.started_at);
  v_filter.called_before := least(v_filter.called_before, v_page.last_at + interval '1 second');
  v_filter.since := greatest(v_filter.since, (v_page.started_at at time zone v_filter.time_zone)::date - 1);
  v_filter.until := least(v_filter.until, (v_page.last_at at time zone v_filter.time_zone)::date + 1);
  return query
  select t.source, nullif(t.session_id, ''), z.session_started_at, z.last_activity_at,
    nullif(case when v_grouping.by_project then t.project else z.project end, ''),
    nullif(case when v_grouping.by_device then t.device else z.device end, ''),
    nullif(case when v_grouping.by_model then t.model else z.model_used end, ''),
    t.event_count, t.message_count, t.unpriced_event_count, t.input_tokens, t.output_tokens, t.thinking_tokens,
    t.cache_creation_tokens, t.cache_read_tokens, t.web_search_requests,
    tallystick.cost_text(t.cost_usd, t.event_count, t.unpriced_event_count)
  from tallystick.usage_totals(p_user_id, v_road, v_filter, v_grouping) as t
  join public.token_usage_sessions as z
    on z.user_id = p_user_id and z.source = t.source and z.session_id = t.session_id
  where p_after is null
    or (z.last_activity_at, z.source, z.session_id) > (v_after.at, v_after.source, v_after.session_id)
    or (z.last_activity_at, z.source, z.session_id) = (v_after.at, v_after.source, v_after.session_id)
      and (v_grouping.by_project or v_grouping.by_model or v_grouping.by_device)
      and (t.project, t.model, t.device) > (
        case when v_grouping.by_project then v_after.project else '' end,
        case when v_grouping.by_model then v_after.model else '' end,
        case when v_grouping.by_device then v_after.device else '' end
      )
  order by z.last_activity_at, z.source, z.session_id, t.project, t.model, t.device
  limit p_limit;
end
$$;
comment on function tallystick.usage_sessions is 'Body of public.usage_sessions.';
revoke all on function tallystick.usage_sessions from public, anon, authenticated;
grant execute on function tallystick.usage_sessions to authenticated, service_role;

create function public.usage_sessions(
  p_user_id uuid default null, p_since date default null, p_until date default null, p_time_zone text default null,
  p_sources text[] default null, p_projects text[] default null, p_models text[] default null,
  p_sessions text[] default null, p_devices text[] default null, p_by text default null,
  p_after jsonb default null, p_limit integer default 1000
)
returns setof public.usage_session_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_sessions(
    coalesce(p_user_id, auth.uid()), p_since, p_until, p_time_zone, p_sources, p_projects, p_models, p_sessions,
    p_devices, p_by, p_after, p_limit
  ) as r
$$;
comment on function public.usage_sessions is
  'Sessions with usage in the range, the one that was quiet longest first; p_by project, model or device splits each.';
revoke all on function public.usage_sessions from public, anon, authenticated;
grant execute on function public.usage_sessions to authenticated, service_role;

-- Which session an id or the beginning of one means. Only the user's own sessions are looked at, so that neither answer
-- tells anything about another's.
create function tallystick.session_named(p_user_id uuid, p_session_id text, p_sources text[])
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found record;
begin
  select count(distinct z.session_id) as session_count, min(z.session_id) as session_id,
    coalesce(bool_or(z.session_id = p_session_id), false) as is_whole into v_found
  from public.token_usage_sessions as z
  where z.user_id = p_user_id and (p_sources is null or z.source = any (p_sources))
    and (z.session_id = p_session_id or length(p_session_id) >= 4 and starts_with(z.session_id, p_session_id));
  if v_found.is_whole then
    return p_session_id;
  elsif v_found.session_count = 1 then
    return v_found.session_id;
  elsif v_found.session_count > 1 then
    raise exception using errcode = 'PT409', constraint = 'session_prefix_is_unique',
      message = pg_catalog.format('%s sessions begin with %L', v_found.session_count, p_session_id),
      hint = 'Give more of the id.';
  end if;
  raise exception using errcode = 'PT404', constraint = 'session_exists',
    message = pg_catalog.format('no session %L', p_session_id),
    hint = 'Give the whole id of a session, or at least its first 4 characters.';
end
$$;
comment on function tallystick.session_named is
  'The whole id of the session that an id or its beginning names; PT404 or PT409 where that is none or several.';
revoke all on function tallystick.session_named from public, anon, authenticated;

create function tallystick.call_row(p_event public.token_usage_events)
returns public.usage_session_event_row
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_event.event_key, p_event.occurred_at, p_event.source, nullif(p_event.project, ''),
    nullif(p_event.model, ''), nullif(p_event.device, ''), p_event.is_sidechain, p_event.input_tokens,
    p_event.output_tokens, p_event.thinking_tokens,
    p_event.cache_creation_5m_tokens + p_event.cache_creation_1h_tokens, p_event.cache_read_tokens,
    p_event.web_search_requests, p_event.message_count,
    (p_event.cost_usd is null)::int::bigint,
    trim_scale(p_event.cost_usd)::text, p_event.cost_basis, p_event.flags
  )::public.usage_session_event_row;
end
$$;
comment on function tallystick.call_row is 'An event as the reports of single calls show it.';
revoke all on function tallystick.call_row from public, anon, authenticated;

create function tallystick.usage_session(
  p_user_id uuid, p_session_id text, p_sources text[], p_since date, p_until date, p_time_zone text, p_projects text[],
  p_models text[], p_devices text[], p_after jsonb, p_limit integer
)
returns setof public.usage_session_event_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  v_filter tallystick.usage_filter;
  v_after tallystick.page_key;
begin
  perform tallystick.check_caller(p_user_id);
  if p_session_id is null then
    raise exception using errcode = 'PT400', constraint = 'session_is_given',
      message = 'no session given', hint = 'Pass the id of a session, or its beginning, as p_session_id.';
  end if;
  v_filter := tallystick.checked_filter(
    p_user_id, p_since, p_until, p_time_zone, p_sources, p_projects, p_models, null, p_devices, null,
    p_limit
  );
  v_after := tallystick.page_key(p_after, 'occurred_at', array['event_key'], null);
  v_filter.sessions := array[tallystick.session_named(p_user_id, p_session_id, v_filter.sources)];
  -- events_by_session can be used only where the source is known
  v_filter.sources := array(
    select z.source from public.token_usage_sessions as z
    where z.user_id = p_user_id and z.session_id = v_filter.sessions[1]
      and (v_filter.sources is null or z.source = any (v_filter.sources))
  );
  return query
  select c.*
  from tallystick.selected_events(p_user_id, v_filter) as f
  join public.token_usage_events as e on e.ctid = f.place
  cross join lateral tallystick.call_row(e) as c
  where p_after is null or (e.occurred_at, e.event_key) > (v_after.at, v_after.event_key)
  order by e.occurred_at, e.event_key
  limit p_limit;
end
$$;
comment on function tallystick.usage_session is 'Body of public.usage_session.';
revoke all on function tallystick.usage_session from public, anon, authenticated;
grant execute on function tallystick.usage_session to authenticated, service_role;

create function public.usage_session(
  p_user_id uuid default null, p_session_id text default null, p_sources text[] default null,
  p_since date default null, p_until date default null, p_time_zone text default null,
  p_projects text[] default null, p_models text[] default null, p_devices text[] default null,
  p_after jsonb default null, p_limit integer default 1000
)
returns setof public.usage_session_event_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_session(
    coalesce(p_user_id, auth.uid()), p_session_id, p_sources, p_since, p_until, p_time_zone, p_projects, p_models,
    p_devices, p_after, p_limit
  ) as r
$$;
comment on function public.usage_session is
  'The calls of one session in their order; the session is named by its id, or by a beginning of it that no other has.';
revoke all on function public.usage_session from public, anon, authenticated;
grant execute on function public.usage_session to authenticated, service_role;

create function tallystick.usage_recent(p_user_id uuid, p_limit integer)
returns setof public.usage_session_event_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
  perform tallystick.check_caller(p_user_id);
  if p_limit is null or p_limit not between 1 and 10000 then
    raise exception using errcode = 'PT400', constraint = 'limit_is_1_to_10000',
      message = 'a page holds 1 to 10,000 rows', hint = 'Ask for fewer calls with p_limit.';
  end if;
  return query
  select c.*
  from public.token_usage_events as e
  cross join lateral tallystick.call_row(e) as c
  where e.user_id = p_user_id and e.occurred_at <= tallystick.current_time()
  order by e.occurred_at desc, e.event_key desc
  limit p_limit;
end
$$;
comment on function tallystick.usage_recent is 'Body of public.usage_recent.';
revoke all on function tallystick.usage_recent from public, anon, authenticated;
grant execute on function tallystick.usage_recent to authenticated, service_role;

create function public.usage_recent(p_user_id uuid default null, p_limit integer default 100)
returns setof public.usage_session_event_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_recent(coalesce(p_user_id, auth.uid()), p_limit) as r
$$;
comment on function public.usage_recent is
  'The latest calls, the latest first, at most p_limit; one dated after now is not among them.';
revoke all on function public.usage_recent from public, anon, authenticated;
grant execute on function public.usage_recent to authenticated, service_role;

create function tallystick.usage_events(p_user_id uuid, p_event_keys text[])
returns setof public.usage_event_cost_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_caller(p_user_id);
  if p_event_keys is null or cardinality(p_event_keys) > 10000 then
    raise exception using errcode = 'PT400', constraint = 'event_keys_are_at_most_10000',
      message = 'p_event_keys must be a list of at most 10,000 keys', hint = 'Ask for them in several calls.';
  end if;
  return query
  select e.event_key::text, nullif(e.session_id, ''), nullif(e.model, ''), trim_scale(e.cost_usd)::text
  from public.token_usage_events as e
  where e.user_id = p_user_id and e.event_key = any (p_event_keys)
  order by e.event_key;
end
$$;
comment on function tallystick.usage_events is 'Body of public.usage_events.';
revoke all on function tallystick.usage_events from public, anon, authenticated;
grant execute on function tallystick.usage_events to authenticated, service_role;

create function public.usage_events(p_user_id uuid default null, p_event_keys text[] default null)
returns setof public.usage_event_cost_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_events(coalesce(p_user_id, auth.uid()), p_event_keys) as r
$$;
comment on function public.usage_events is
  'What the ledger holds for these event keys, at most 10,000; keys that it does not know are left out.';
revoke all on function public.usage_events from public, anon, authenticated;
grant execute on function public.usage_events to authenticated, service_role;
-- Five-hour blocks: a model of the windows that a plan is limited by.
--
-- A block starts at the full UTC hour of its first event and ends five hours later, end excluded; the next event opens
-- the next block. A plan's windows run per account at its provider, so blocks are formed of every event of the sources
-- asked for, and the range and the other filters only choose what is summed: the same usage lies in the same block,
-- whatever is asked. Between two blocks shown that do not touch stands a gap.

create type public.usage_block_row as (
  block_start timestamptz,
  block_end timestamptz,
  is_gap boolean,
  is_active boolean,
  first_activity_at timestamptz,
  last_activity_at timestamptz,
  source text,
  session_id text,
  project text,
  model text,
  device text,
  models text[],
  event_count bigint,
  message_count bigint,
  unpriced_event_count bigint,
  input_tokens bigint,
  output_tokens bigint,
  thinking_tokens bigint,
  cache_creation_tokens bigint,
  cache_read_tokens bigint,
  web_search_requests bigint,
  cost_usd text
);
comment on type public.usage_block_row is
  'One five-hour block, or the gap between two. Its activity is the whole block''s, whatever part of it is summed.';

create type tallystick.usage_block as (
  block_start timestamptz,
  block_end timestamptz,
  first_activity_at timestamptz,
  last_activity_at timestamptz
);
comment on type tallystick.usage_block is 'One five-hour block, before anything in it is summed.';

-- A block starts where the one before has ended, so where it starts depends on all before it, back to the last pause
-- that no block can bridge. That pause is looked for first: the events of any five hours have none between them, so one
-- step goes back to the first event of the five hours that end with the latest one.
create function tallystick.walk_blocks(
  p_user_id uuid, p_from timestamptz, p_before timestamptz, p_sources text[]
)
returns setof tallystick.usage_block
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  v_at timestamptz := p_from;
  v_last timestamptz;
  v_block tallystick.usage_block;
begin
  loop
    select max(e.occurred_at) into v_last from public.token_usage_events as e
    where e.user_id = p_user_id and e.occurred_at < v_at and (p_sources is null or e.source = any (p_sources));
    exit when v_last is null or v_at - v_last >= interval '5 hours';
    select min(e.occurred_at) into v_at from public.token_usage_events as e
    where e.user_id = p_user_id and e.occurred_at > v_last - interval '5 hours' and e.occurred_at <= v_last
      and (p_sources is null or e.source = any (p_sources));
  end loop;
  v_block.block_end := v_at;
  loop
    select min(e.occurred_at) into v_at from public.token_usage_events as e
    where e.user_id = p_user_id and e.occurred_at >= v_block.block_end and e.occurred_at < p_before
      and (p_sources is null or e.source = any (p_sources));
    exit when v_at is null;
    v_block.block_start := date_trunc('hour', v_at, 'UTC');
    v_block.block_end := v_block.block_start + interval '5 hours';
    v_block.first_activity_at := v_at;
    if v_block.block_end > p_from then
      select max(e.occurred_at) into v_block.last_activity_at from public.token_usage_events as e
      where e.user_id = p_user_id and e.occurred_at >= v_at and e.occurred_at < v_block.block_end
        and (p_sources is null or e.source = any (p_sources));
      return next v_block;
    end if;
  end loop;
end
$$;
comment on function tallystick.walk_blocks is 'The blocks of these sources that reach into a time range, oldest first.';
revoke all on function tallystick.walk_blocks from public, anon, authenticated;

create function tallystick.filter_within(p_filter tallystick.usage_filter, p_block tallystick.usage_block)
returns tallystick.usage_filter
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_filter.since, p_filter.until, p_filter.time_zone, p_filter.is_account_zone,
    greatest(p_filter.called_from, p_block.block_start), least(p_filter.called_before, p_block.block_end),
    p_filter.sources, p_filter.projects, p_filter.models, p_filter.sessions, p_filter.devices
  )::tallystick.usage_filter;
end
$$;
comment on function tallystick.filter_within is 'The same filter, for the events of one block only.';
revoke all on function tallystick.filter_within from public, anon, authenticated;

create function tallystick.usage_blocks(
  p_user_id uuid, p_since date, p_until date, p_time_zone text, p_sources text[], p_projects text[], p_models text[],
  p_sessions text[], p_devices text[], p_by text, p_after jsonb, p_limit integer
)
returns setof public.usage_block_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  v_filter tallystick.usage_filter;
  v_grouping tallystick.usage_grouping := tallystick.usage_grouping(null, 1, null, p_by);
  v_after tallystick.page_key;
  v_now timestamptz := tallystick.current_time();
begin
  perform tallystick.check_caller(p_user_id);
  v_filter := tallystick.checked_filter(
    p_user_id, p_since, p_until, p_time_zone, p_sources, p_projects, p_models, p_sessions, p_devices, p_by,
    p_limit
  );
  v_after := tallystick.page_key(p_after, 'block_start', array[]::text[], p_by);
  v_filter.called_from := greatest(v_filter.called_from, v_after.at);
  v_grouping.lists_models := true;
  return query
  with listed as materialized (
    select b.block_start, b.block_end, b.first_activity_at, b.last_activity_at, t.*
    from tallystick.walk_blocks(p_user_id, v_filter.called_from, v_filter.called_before, v_filter.sources) as b
    cross join lateral tallystick.usage_totals(
      p_user_id, 'events', tallystick.filter_within(v_filter, b), v_grouping
    ) as t
  ),
  gap as (
    select g.gap_start, g.gap_end
    from (
      select b.block_end as gap_start, lead(b.block_start) over (order by b.block_start) as gap_end
      from (select distinct l.block_start, l.block_end from listed as l) as b
    ) as g
    where g.gap_end > g.gap_start
  )
  select l.block_start, l.block_end, false, l.block_start <= v_now and v_now < l.block_end, l.first_activity_at,
    l.last_activity_at, nullif(l.source, ''), nullif(l.session_id, ''), nullif(l.project, ''), nullif(l.model, ''),
    nullif(l.device, ''), array_remove(l.models, ''), l.event_count, l.message_count, l.unpriced_event_count,
    l.input_tokens, l.output_tokens, l.thinking_tokens, l.cache_creation_tokens, l.cache_read_tokens,
    l.web_search_requests, tallystick.cost_text(l.cost_usd, l.event_count, l.unpriced_event_count)
  from listed as l
  where p_after is null or (l.block_start, l.source, l.session_id, l.project, l.model, l.device)
    > (v_after.at, v_after.source, v_after.session_id, v_after.project, v_after.model, v_after.device)
  union all
  select g.gap_start, g.gap_end, true, false, null, null, null, null, null, null, null, '{}', 0, 0, 0, 0, 0, 0, 0, 0, 0,
    null
  from gap as g
  where p_after is null or g.gap_start > v_after.at
  order by 1, 7 nulls first, 8 nulls first, 9 nulls first, 10 nulls first, 11 nulls first
  limit p_limit;
end
$$;
comment on function tallystick.usage_blocks is 'Body of public.usage_blocks.';
revoke all on function tallystick.usage_blocks from public, anon, authenticated;
grant execute on function tallystick.usage_blocks to authenticated, service_role;

create function public.usage_blocks(
  p_user_id uuid default null, p_since date default null, p_until date default null, p_time_zone text default null,
  p_sources text[] default null, p_projects text[] default null, p_models text[] default null,
  p_sessions text[] default null, p_devices text[] default null, p_by text default null,
  p_after jsonb default null, p_limit integer default 1000
)
returns setof public.usage_block_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_blocks(
    coalesce(p_user_id, auth.uid()), p_since, p_until, p_time_zone, p_sources, p_projects, p_models, p_sessions,
    p_devices, p_by, p_after, p_limit
  ) as r
$$;
comment on function public.usage_blocks is
  'Usage by five-hour block, oldest first, with the gaps between them; models leaves unknown ones out.';
revoke all on function public.usage_blocks from public, anon, authenticated;
grant execute on function public.usage_blocks to authenticated, service_role;
-- What could not be counted, in few lines, and what counts twice.

create type public.usage_reject_row as (
  source text,
  reason text,
  record_count bigint,
  first_seen_at timestamptz,
  last_seen_at timestamptz,
  position text
);
comment on type public.usage_reject_row is
  'How many records of a source could not be counted for one reason, and where one of them stands.';

create function tallystick.usage_rejects(p_user_id uuid)
returns setof public.usage_reject_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_caller(p_user_id);
  return query
  select r.source::text, r.reason::text, count(*), min(r.first_seen_at), max(r.last_seen_at), min(r.position)::text
  from public.token_usage_rejects as r
  where r.user_id = p_user_id
  group by r.source, r.reason
  order by r.source, r.reason;
end
$$;
comment on function tallystick.usage_rejects is 'Body of public.usage_rejects.';
revoke all on function tallystick.usage_rejects from public, anon, authenticated;
grant execute on function tallystick.usage_rejects to authenticated, service_role;

create function public.usage_rejects(p_user_id uuid default null)
returns setof public.usage_reject_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_rejects(coalesce(p_user_id, auth.uid())) as r
$$;
comment on function public.usage_rejects is
  'The records that could not be counted: how many by source and reason, since when, and where one of them stands.';
revoke all on function public.usage_rejects from public, anon, authenticated;
grant execute on function public.usage_rejects to authenticated, service_role;

create function tallystick.usage_double_sessions(p_user_id uuid)
returns table (session_id text, other_source text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_caller(p_user_id);
  return query
  select s.session_id::text, o.source::text
  from public.token_usage_sessions as s
  join public.token_usage_sessions as o on o.user_id = s.user_id and o.session_id = s.session_id
  where s.user_id = p_user_id and s.source = 'snapshot' and o.source <> 'snapshot'
  order by s.session_id, o.source;
end
$$;
comment on function tallystick.usage_double_sessions is 'Body of public.usage_double_sessions.';
revoke all on function tallystick.usage_double_sessions from public, anon, authenticated;
grant execute on function tallystick.usage_double_sessions to authenticated, service_role;

create function public.usage_double_sessions(p_user_id uuid default null)
returns table (session_id text, other_source text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select d.session_id, d.other_source from tallystick.usage_double_sessions(coalesce(p_user_id, auth.uid())) as d
$$;
comment on function public.usage_double_sessions is
  'Sessions that the ledger holds from snapshots and from another source as well: their usage counts twice.';
revoke all on function public.usage_double_sessions from public, anon, authenticated;
grant execute on function public.usage_double_sessions to authenticated, service_role;
-- Limits: what a provider itself says of its plan, how much of a window is used and when the window ends.
--
-- An agent is told so with nearly every answer, mostly the same again, by several sessions and machines at once, and
-- its transcripts say it again whenever they are read. So a row is not a telling but a state: of one window, one whole
-- percent, with the first and the last time it was told. Rows merge by the least, the greatest and the latest, so that
-- order and repetition make no difference, and a window costs a hundred rows however often it is told.
--
-- A window is known by its end. The end is told with a second or two of difference, so it counts to the minute; where
-- it is not told it is 'infinity', and the figure holds for one window from when it was last told, for five hours where
-- the length is not told either.

create table public.token_usage_limits (
  user_id uuid not null,
  source text collate "C" not null,
  limit_name text collate "C" not null,
  resets_at timestamptz not null,
  whole_percent integer not null,
  used_percent numeric not null,
  window_minutes integer not null,
  device text collate "C" not null,
  first_observed_at timestamptz not null,
  last_observed_at timestamptz not null,
  constraint token_usage_limits_pkey primary key (user_id, source, limit_name, resets_at, whole_percent),
  constraint limits_percent_is_0_to_1000 check (used_percent between 0 and 1000),
  constraint limits_whole_percent_is_the_figures check (whole_percent = floor(used_percent)),
  constraint limits_window_not_negative check (window_minutes >= 0),
  constraint limits_first_is_not_after_last check (first_observed_at <= last_observed_at)
);
comment on table public.token_usage_limits is
  'What providers said of their plans'' limits: one row per window and whole percent. No part of the books'' sums.';
comment on column public.token_usage_limits.source is 'Which agent was told: claude-code, codex, ...';
comment on column public.token_usage_limits.limit_name is
  'five_hour, seven_day or <n>_minutes; with the provider''s own name and a colon before it where there are several.';
comment on column public.token_usage_limits.resets_at is 'When the window ends, to the minute; infinity where unknown.';
comment on column public.token_usage_limits.whole_percent is 'The whole percents of used_percent.';
comment on column public.token_usage_limits.used_percent is
  'How much of the window is used, to a hundredth: of the figures with these whole percents, the latest.';
comment on column public.token_usage_limits.window_minutes is 'How long the window is; 0 where unknown.';
comment on column public.token_usage_limits.device is 'The machine that told it last.';
comment on column public.token_usage_limits.first_observed_at is 'When it was first told.';
comment on column public.token_usage_limits.last_observed_at is 'When it was last told.';

create index limits_by_end on public.token_usage_limits (user_id, resets_at);
comment on index public.limits_by_end is 'The windows that have not ended yet.';

create type public.usage_limit_row as (
  source text,
  limit_name text,
  used_percent numeric,
  window_minutes integer,
  resets_at timestamptz,
  observed_at timestamptz
);
comment on type public.usage_limit_row is 'What a provider said last of one limit of its plan.';

create type tallystick.limit_observation as (
  used_percent numeric,
  window_minutes integer,
  resets_at timestamptz,
  observed_at timestamptz,
  labels tallystick.observation
);
comment on type tallystick.limit_observation is
  'One telling of a limit, as observe_usage_limits reads it; the reject_reason of its labels is why it cannot count.';

-- One telling by itself, its labels and times judged as those of an observation: the limit's name stands where that has
-- its key. A clock that is wrong by more than a day is not taken, because what it tells would be the latest for long.
create function tallystick.read_limit(p_record jsonb)
returns tallystick.limit_observation
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit tallystick.limit_observation;
  v_labels tallystick.observation;
  v_percent jsonb := p_record -> 'used_percent';
  v_window jsonb := coalesce(nullif(p_record -> 'window_minutes', 'null'), '0');
  v_resets_at text := nullif(p_record ->> 'resets_at', '');
begin
  v_labels := tallystick.read_observation(case
    when jsonb_typeof(p_record) = 'object' then json_build_object(
      'source', p_record -> 'source', 'event_key', p_record -> 'limit_name', 'session_id', p_record -> 'limit_name',
      'device', p_record -> 'device', 'occurred_at', p_record -> 'observed_at',
      'position', (p_record ->> 'source') || ':' || (p_record ->> 'limit_name')
    )
    else p_record::json
  end);
  if v_labels.reject_reason = '' then
    v_limit.observed_at := v_labels.occurred_at::timestamptz;
    if v_resets_at is not null then
      v_labels.occurred_at := v_resets_at;
      v_labels.reject_reason := coalesce(tallystick.reject_reason(v_labels), '');
    end if;
  elsif v_labels.reject_reason = 'missing_key' then
    v_labels.reject_reason := 'missing_limit_name';
  end if;
  if v_labels.reject_reason = '' then
    begin
      v_limit.resets_at := coalesce(
        date_trunc('minute', v_resets_at::timestamptz + interval '30 seconds', 'UTC'), 'infinity'
      );
    exception when data_exception then
      v_labels.reject_reason := 'not_a_time';
    end;
  end if;
  if v_labels.reject_reason = '' then
    v_limit.used_percent := case
      when jsonb_typeof(v_percent) = 'number' or (v_percent #>> '{}') ~ '^\d{1,4}(\.\d{1,30})?$'
      then trim_scale(round((v_percent #>> '{}')::numeric, 2))
    end;
    v_limit.window_minutes := case
      when jsonb_typeof(v_window) = 'number' and v_window between '0' and '1000000' and v_window::numeric % 1 = 0
      then v_window::integer
    end;
    v_labels.reject_reason := case
      when not coalesce(v_limit.used_percent between 0 and 1000, false) then 'not_a_percent'
      when v_limit.window_minutes is null then 'not_a_window'
      when v_limit.observed_at not between '2023-01-01Z' and tallystick.current_time() + interval '1 day'
        or v_limit.resets_at < '2023-01-01Z'
        or v_limit.resets_at < 'infinity' and v_limit.resets_at > v_limit.observed_at + interval '400 days'
      then 'implausible_time'
      else ''
    end;
  end if;
  v_limit.labels := v_labels;
  return v_limit;
end
$$;
comment on function tallystick.read_limit(jsonb) is
  'One telling of a limit, with a reject_reason in its labels where it cannot count.';

-- Answers how many rows are new. A row that an insert has just made was locked by nobody yet, so its xmax is 0.
create function tallystick.keep_limits(p_user_id uuid, p_limits tallystick.limit_observation[])
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  with told as (
    select (l.labels).source, (l.labels).event_key as limit_name, l.resets_at, floor(l.used_percent) as whole_percent,
      l.used_percent, l.window_minutes, (l.labels).device, l.observed_at
    from unnest(p_limits) as l
    where (l.labels).reject_reason = ''
  ),
  kept as (
    insert into public.token_usage_limits as k
    select distinct on (t.source, t.limit_name, t.resets_at, t.whole_percent)
      p_user_id, t.source, t.limit_name, t.resets_at, t.whole_percent, t.used_percent, t.window_minutes, t.device,
      min(t.observed_at) over (partition by t.source, t.limit_name, t.resets_at, t.whole_percent), t.observed_at
    from told as t
    order by t.source, t.limit_name, t.resets_at, t.whole_percent, t.observed_at desc, t.used_percent desc,
      t.window_minutes desc, t.device collate "C" desc
    on conflict on constraint token_usage_limits_pkey do update set
      first_observed_at = least(k.first_observed_at, excluded.first_observed_at),
      (last_observed_at, used_percent, window_minutes, device) = (
        select later.*
        from (values
          (k.last_observed_at, k.used_percent, k.window_minutes, k.device),
          (excluded.last_observed_at, excluded.used_percent, excluded.window_minutes, excluded.device)
        ) as later
        order by 1 desc, 2 desc, 3 desc, 4 desc
        limit 1
      )
    where excluded.first_observed_at < k.first_observed_at
      or (excluded.last_observed_at, excluded.used_percent, excluded.window_minutes, excluded.device)
        > (k.last_observed_at, k.used_percent, k.window_minutes, k.device)
    returning k.xmax = 0 as is_new
  )
  select count(*) filter (where kept.is_new)::integer from kept
$$;
comment on function tallystick.keep_limits(uuid, tallystick.limit_observation[]) is
  'Merges what was told of a user''s limits with what is known; answers how many rows that made.';

create function tallystick.observe_usage_limits(p_user_id uuid, p_limits jsonb)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_limits tallystick.limit_observation[];
  v_rejected tallystick.observation[];
  v_new integer;
begin
  perform tallystick.check_caller(p_user_id);
  if p_limits is null or jsonb_typeof(p_limits) <> 'array' then
    raise exception using errcode = 'PT400', constraint = 'limits_are_a_list',
      message = 'limits must be a JSON list', hint = 'Pass [{"source": ..., "limit_name": ..., ...}].';
  end if;
  if jsonb_array_length(p_limits) > 1000 then
    raise exception using errcode = 'PT413', constraint = 'limits_are_at_most_1000',
      message = 'limits holds at most 1,000 objects', hint = 'Send them in several calls.';
  end if;
  perform tallystick.lock_account(p_user_id);
  v_limits := array(
    select tallystick.read_limit(l.record)
    from jsonb_array_elements(p_limits) with ordinality as l (record, place)
    order by l.place
  );
  v_rejected := array(select l.labels from unnest(v_limits) as l where (l.labels).reject_reason <> '');
  v_new := tallystick.keep_limits(p_user_id, v_limits);
  perform tallystick.keep_rejects(p_user_id, v_rejected);
  return jsonb_build_object(
    'received', cardinality(v_limits), 'new', v_new,
    'duplicate', cardinality(v_limits) - v_new - cardinality(v_rejected), 'rejected', cardinality(v_rejected),
    'rejects', coalesce(tallystick.told_rejects(array(select l.labels from unnest(v_limits) as l)), '[]')
  );
end
$$;
comment on function tallystick.observe_usage_limits(uuid, jsonb) is 'Body of public.observe_usage_limits.';
revoke all on function tallystick.observe_usage_limits(uuid, jsonb) from public, anon, authenticated;
grant execute on function tallystick.observe_usage_limits(uuid, jsonb) to authenticated, service_role;

create function public.observe_usage_limits(p_user_id uuid, p_limits jsonb)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.observe_usage_limits(p_user_id, p_limits)
$$;
comment on function public.observe_usage_limits(uuid, jsonb) is
  'Takes in what a provider said of its limits, a JSON list of {source, limit_name, used_percent, window_minutes, '
  'resets_at, observed_at, device}; answers {received, new, duplicate, rejected, rejects}, of which rejects are the '
  'first 20 {record_index, event_key, position, reason}, with the name of a limit as event_key. '
  'Sending the same again changes nothing.';
revoke all on function public.observe_usage_limits(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.observe_usage_limits(uuid, jsonb) to authenticated, service_role;

create function tallystick.usage_limits(p_user_id uuid)
returns setof public.usage_limit_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := tallystick.current_time();
begin
  perform tallystick.check_caller(p_user_id);
  return query
  select distinct on (l.source, l.limit_name) l.source::text, l.limit_name::text, l.used_percent,
    nullif(l.window_minutes, 0), nullif(l.resets_at, 'infinity'), l.last_observed_at
  from public.token_usage_limits as l
  where l.user_id = p_user_id and l.resets_at > v_now
    and (
      l.resets_at < 'infinity'
      or l.last_observed_at + interval '1 minute' * coalesce(nullif(l.window_minutes, 0), 300) > v_now
    )
  order by l.source, l.limit_name, l.last_observed_at desc, l.resets_at desc, l.whole_percent desc;
end
$$;
comment on function tallystick.usage_limits(uuid) is 'Body of public.usage_limits.';
revoke all on function tallystick.usage_limits(uuid) from public, anon, authenticated;
grant execute on function tallystick.usage_limits(uuid) to authenticated, service_role;

create function public.usage_limits(p_user_id uuid default null)
returns setof public.usage_limit_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_limits(coalesce(p_user_id, auth.uid())) as r
$$;
comment on function public.usage_limits(uuid) is
  'What providers said last of the limits of their plans; a window that has ended is left out.';
revoke all on function public.usage_limits(uuid) from public, anon, authenticated;
grant execute on function public.usage_limits(uuid) to authenticated, service_role;
-- A user's account: making it, naming the ledger, and moving the days to another time zone.

create function tallystick.check_time_zone(p_time_zone text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- `at time zone` itself takes much more: UTC+3 for three hours west, abbreviations, any case
  -- what stands there for another name means something else on another machine
  if p_time_zone in ('localtime', 'posixrules', 'Factory') or p_time_zone ~ '^(posix|right)/'
    or not exists (select from pg_catalog.pg_timezone_names as z where z.name = p_time_zone)
  then
    raise exception using errcode = 'PT400', constraint = 'time_zone_is_known',
      message = pg_catalog.format('unknown time zone %L', p_time_zone),
      hint = 'Use an IANA name such as Europe/Berlin.';
  end if;
end
$$;
comment on function tallystick.check_time_zone(text) is
  'Raises PT400 unless it is exactly a name of pg_timezone_names.';

create function tallystick.ledger_state(p_user_id uuid)
returns table (ledger_id uuid, receipt_count bigint, time_zone text, last_migration text, user_id uuid)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_caller(p_user_id);
  return query
  select l.ledger_id, coalesce(a.receipt_count, 0), a.time_zone, (select max(m.name) from tallystick.migrations as m),
    p_user_id
  from tallystick.ledger as l
  left join public.token_usage_accounts as a on a.user_id = p_user_id;
end
$$;
comment on function tallystick.ledger_state(uuid) is 'Body of public.ledger_state.';
revoke all on function tallystick.ledger_state(uuid) from public, anon, authenticated;
grant execute on function tallystick.ledger_state(uuid) to authenticated, service_role;

create function public.ledger_state(p_user_id uuid default null)
returns table (ledger_id uuid, receipt_count bigint, time_zone text, last_migration text, user_id uuid)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from tallystick.ledger_state(coalesce(p_user_id, auth.uid()))
$$;
comment on function public.ledger_state(uuid) is
  'The identity of the ledger, how many batches of this user it holds, the user''s time zone and the schema''s '
  'version.';
revoke all on function public.ledger_state(uuid) from public, anon, authenticated;
grant execute on function public.ledger_state(uuid) to authenticated, service_role;

create function tallystick.renew_ledger_id()
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ledger_id uuid;
begin
  perform tallystick.check_service_caller();
  update tallystick.ledger set ledger_id = pg_catalog.gen_random_uuid() where true returning ledger_id into v_ledger_id;
  return v_ledger_id;
end
$$;
comment on function tallystick.renew_ledger_id() is 'Body of public.renew_ledger_id.';
revoke all on function tallystick.renew_ledger_id() from public, anon, authenticated;
grant execute on function tallystick.renew_ledger_id() to service_role;

create function public.renew_ledger_id()
returns uuid
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.renew_ledger_id()
$$;
comment on function public.renew_ledger_id() is
  'Gives the ledger a new identity, as after a restore, so that every checkpoint made with the old one is void.';
revoke all on function public.renew_ledger_id() from public, anon, authenticated;
grant execute on function public.renew_ledger_id() to service_role;

create function tallystick.only_account()
returns uuid
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_service_caller();
  return (
    select case when count(*) = 1 then (array_agg(a.user_id))[1] end
    from (select o.user_id from public.token_usage_accounts as o limit 2) as a
  );
end
$$;
comment on function tallystick.only_account() is 'Body of public.only_account.';
revoke all on function tallystick.only_account() from public, anon, authenticated;
grant execute on function tallystick.only_account() to service_role;

create function public.only_account()
returns uuid
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.only_account()
$$;
comment on function public.only_account() is
  'The user of the only account of this ledger; null where there is none or more than one.';
revoke all on function public.only_account() from public, anon, authenticated;
grant execute on function public.only_account() to service_role;

create function tallystick.make_account(p_user_id uuid, p_time_zone text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_caller(p_user_id);
  perform tallystick.check_time_zone(p_time_zone);
  insert into public.token_usage_accounts (user_id, time_zone, created_at)
  values (p_user_id, p_time_zone, tallystick.current_time()) on conflict do nothing;
end
$$;
comment on function tallystick.make_account(uuid, text) is 'Body of public.make_account.';
revoke all on function tallystick.make_account(uuid, text) from public, anon, authenticated;
grant execute on function tallystick.make_account(uuid, text) to authenticated, service_role;

create function public.make_account(p_user_id uuid, p_time_zone text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.make_account(p_user_id, p_time_zone)
$$;
comment on function public.make_account(uuid, text) is
  'Makes the account of a user, in a time zone; does nothing where it stands.';
revoke all on function public.make_account(uuid, text) from public, anon, authenticated;
grant execute on function public.make_account(uuid, text) to authenticated, service_role;

-- The days are built from the events again, for all rows of the user at once: this is the one place besides move_totals
-- that writes rollups, because a difference per event would be the whole ledger twice.
create function tallystick.set_time_zone(p_user_id uuid, p_time_zone text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  perform tallystick.check_caller(p_user_id);
  perform tallystick.check_time_zone(p_time_zone);
  perform tallystick.lock_account(p_user_id);
  update public.token_usage_accounts as a set time_zone = p_time_zone where a.user_id = p_user_id;

  update public.token_usage_events as e set usage_date = (e.occurred_at at time zone p_time_zone)::date
  where e.user_id = p_user_id and e.usage_date <> (e.occurred_at at time zone p_time_zone)::date;

  delete from public.token_usage_by_session_day as d where d.user_id = p_user_id;
  delete from public.token_usage_by_day as d where d.user_id = p_user_id;
  delete from public.token_usage_daily as d where d.user_id = p_user_id;
  insert into public.token_usage_by_session_day select * from tallystick.expected_by_session_day(p_user_id);
  insert into public.token_usage_by_day select * from tallystick.expected_by_day(p_user_id);
  insert into public.token_usage_daily
  select d.*, tallystick.current_time() from tallystick.expected_daily(p_user_id) as d;
end
$$;
comment on function tallystick.set_time_zone(uuid, text) is 'Body of public.set_time_zone.';
revoke all on function tallystick.set_time_zone(uuid, text) from public, anon, authenticated;
grant execute on function tallystick.set_time_zone(uuid, text) to authenticated, service_role;

create function public.set_time_zone(p_user_id uuid, p_time_zone text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.set_time_zone(p_user_id, p_time_zone)
$$;
comment on function public.set_time_zone(uuid, text) is
  'Sets the zone in which the user''s days are kept, an exact name of pg_timezone_names, and rebuilds the days.';
revoke all on function public.set_time_zone(uuid, text) from public, anon, authenticated;
grant execute on function public.set_time_zone(uuid, text) to authenticated, service_role;
-- The proof that every total is what its events add up to, and the digest that is the same for the same books.

-- What the totals must be, from the events alone. verify_token_usage() compares with them; set_time_zone() writes them.
create function tallystick.expected_by_session_day(p_user_id uuid)
returns setof public.token_usage_by_session_day
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select e.user_id, e.usage_date, e.source, e.session_id, e.project, e.model, count(*),
    sum(e.message_count)::bigint, count(*) filter (where e.cost_usd is null),
    sum(e.input_tokens)::bigint, sum(e.output_tokens)::bigint, sum(e.thinking_tokens)::bigint,
    sum(e.cache_creation_5m_tokens + e.cache_creation_1h_tokens)::bigint, sum(e.cache_read_tokens)::bigint,
    sum(e.web_search_requests)::bigint, coalesce(sum(e.cost_usd), 0)
  from public.token_usage_events as e
  where e.user_id = p_user_id
  group by e.user_id, e.usage_date, e.source, e.session_id, e.project, e.model
$$;
comment on function tallystick.expected_by_session_day(uuid) is
  'token_usage_by_session_day as the events say it must be.';

create function tallystick.expected_by_day(p_user_id uuid)
returns setof public.token_usage_by_day
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select d.user_id, d.usage_date, d.source, d.project, d.model, sum(d.event_count)::bigint,
    sum(d.message_count)::bigint, sum(d.unpriced_event_count)::bigint, sum(d.input_tokens)::bigint,
    sum(d.output_tokens)::bigint, sum(d.thinking_tokens)::bigint, sum(d.cache_creation_tokens)::bigint,
    sum(d.cache_read_tokens)::bigint, sum(d.web_search_requests)::bigint, sum(d.cost_usd)
  from tallystick.expected_by_session_day(p_user_id) as d
  group by d.user_id, d.usage_date, d.source, d.project, d.model
$$;
comment on function tallystick.expected_by_day(uuid) is 'token_usage_by_day as the events say it must be.';

create function tallystick.expected_daily(p_user_id uuid)
returns table (
  user_id uuid, usage_date date, daily_input_tokens bigint, daily_output_tokens bigint,
  daily_cache_creation_tokens bigint, daily_cache_read_tokens bigint, daily_thinking_tokens bigint,
  daily_web_search_requests bigint, daily_session_count bigint, daily_message_count bigint,
  daily_event_count bigint, daily_unpriced_event_count bigint, daily_cost_usd numeric
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select d.user_id, d.usage_date, sum(d.input_tokens)::bigint, sum(d.output_tokens)::bigint,
    sum(d.cache_creation_tokens)::bigint, sum(d.cache_read_tokens)::bigint, sum(d.thinking_tokens)::bigint,
    sum(d.web_search_requests)::bigint, count(distinct (d.source, d.session_id)), sum(d.message_count)::bigint,
    sum(d.event_count)::bigint, sum(d.unpriced_event_count)::bigint, sum(d.cost_usd)
  from tallystick.expected_by_session_day(p_user_id) as d
  group by d.user_id, d.usage_date
$$;
comment on function tallystick.expected_daily(uuid) is 'token_usage_daily as the events say it must be.';

create function tallystick.expected_sessions(p_user_id uuid)
returns table (
  user_id uuid, source text, session_id text, input_tokens bigint, output_tokens bigint,
  cache_creation_tokens bigint, cache_read_tokens bigint, thinking_tokens bigint, web_search_requests bigint,
  message_count bigint, event_count bigint, unpriced_event_count bigint, estimated_cost_usd numeric,
  session_started_at timestamptz, last_activity_at timestamptz, last_event_key text, model_used text, project text,
  device text
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select s.user_id, s.source, s.session_id, s.input_tokens, s.output_tokens, s.cache_creation_tokens,
    s.cache_read_tokens, s.thinking_tokens, s.web_search_requests, s.message_count, s.event_count,
    s.unpriced_event_count, s.estimated_cost_usd, s.session_started_at, (s.latest).occurred_at,
    (s.latest).event_key, (s.latest).model, (s.latest).project, (s.latest).device
  from (
    select e.user_id, e.source, e.session_id, sum(e.input_tokens)::bigint as input_tokens,
      sum(e.output_tokens)::bigint as output_tokens,
      sum(e.cache_creation_5m_tokens + e.cache_creation_1h_tokens)::bigint as cache_creation_tokens,
      sum(e.cache_read_tokens)::bigint as cache_read_tokens, sum(e.thinking_tokens)::bigint as thinking_tokens,
      sum(e.web_search_requests)::bigint as web_search_requests, sum(e.message_count)::bigint as message_count,
      count(*) as event_count,
      count(*) filter (where e.cost_usd is null) as unpriced_event_count,
      coalesce(sum(e.cost_usd), 0) as estimated_cost_usd, min(e.occurred_at) as session_started_at,
      (array_agg(e order by e.occurred_at desc, e.event_key desc))[1] as latest
    from public.token_usage_events as e
    where e.user_id = p_user_id
    group by e.user_id, e.source, e.session_id
  ) as s
$$;
comment on function tallystick.expected_sessions(uuid) is 'token_usage_sessions as the events say they must be.';

-- One statement, so that it sees one moment and needs no lock: 0 everywhere also while batches are coming in. A cost is
-- computed again from the price that the event names, whatever newer prices there are.
create function tallystick.verify_token_usage(p_user_id uuid)
returns table (check_name text, bad_rows bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  perform tallystick.check_caller(p_user_id);
  return query
  with sessions_standing as (
    select s.user_id, s.source, s.session_id, s.input_tokens, s.output_tokens, s.cache_creation_tokens,
      s.cache_read_tokens, s.thinking_tokens, s.web_search_requests, s.message_count, s.event_count,
      s.unpriced_event_count, s.estimated_cost_usd, s.session_started_at, s.last_activity_at, s.last_event_key,
      s.model_used, s.project, s.device
    from public.token_usage_sessions as s where s.user_id = p_user_id
  ),
  daily_standing as (
    select d.user_id, d.usage_date, d.daily_input_tokens, d.daily_output_tokens, d.daily_cache_creation_tokens,
      d.daily_cache_read_tokens, d.daily_thinking_tokens, d.daily_web_search_requests, d.daily_session_count,
      d.daily_message_count, d.daily_event_count, d.daily_unpriced_event_count, d.daily_cost_usd
    from public.token_usage_daily as d where d.user_id = p_user_id
  ),
  account as (select a.time_zone from public.token_usage_accounts as a where a.user_id = p_user_id)
  select 'sessions_equal_their_events', count(*) from (
    (select * from sessions_standing except all select * from tallystick.expected_sessions(p_user_id))
    union all
    (select * from tallystick.expected_sessions(p_user_id) except all select * from sessions_standing)
  ) as bad
  union all
  select 'days_equal_their_events', count(*) from (
    (select * from daily_standing except all select * from tallystick.expected_daily(p_user_id))
    union all
    (select * from tallystick.expected_daily(p_user_id) except all select * from daily_standing)
  ) as bad
  union all
  select 'by_day_equals_its_events', count(*) from (
    (
      select * from public.token_usage_by_day as d where d.user_id = p_user_id
      except all select * from tallystick.expected_by_day(p_user_id)
    )
    union all
    (
      select * from tallystick.expected_by_day(p_user_id)
      except all select * from public.token_usage_by_day as d where d.user_id = p_user_id
    )
  ) as bad
  union all
  select 'by_session_day_equals_its_events', count(*) from (
    (
      select * from public.token_usage_by_session_day as d where d.user_id = p_user_id
      except all select * from tallystick.expected_by_session_day(p_user_id)
    )
    union all
    (
      select * from tallystick.expected_by_session_day(p_user_id)
      except all select * from public.token_usage_by_session_day as d where d.user_id = p_user_id
    )
  ) as bad
  union all
  select 'usage_dates_are_days_of_the_zone', count(*)
  from public.token_usage_events as e cross join account as a
  where e.user_id = p_user_id and e.usage_date <> (e.occurred_at at time zone a.time_zone)::date
  union all
  select 'costs_equal_their_price', count(*)
  from public.token_usage_events as e
  left join public.token_usage_prices as p on p.price_id = e.price_id
  where e.user_id = p_user_id and not coalesce(case
    when e.price_id is not null then
      (p.user_id is null or p.user_id = p_user_id)
      and e.cost_basis = case when p.user_id is null then 'list' else 'custom' end
      and e.cost_usd = tallystick.cost_usd(
        p, e.grain, e.service_tier,
        case when tallystick.implies_fast(p, e.model) then 'fast' else e.speed end,
        e.inference_geo, e.input_tokens, e.cache_creation_5m_tokens, e.cache_creation_1h_tokens,
        e.cache_read_tokens, e.output_tokens, e.web_search_requests
      )
    when e.cost_basis = 'reported' then e.cost_usd = e.reported_cost_usd
    else e.cost_usd is null
  end, false)
  union all
  select 'events_have_an_account', count(*)
  from public.token_usage_events as e
  where e.user_id = p_user_id and not exists (select from account)
  union all
  select 'versions_have_an_event', count(*)
  from public.token_usage_event_versions as v
  where v.user_id = p_user_id and not exists (
    select from public.token_usage_events as e where e.user_id = v.user_id and e.event_key = v.event_key
  );
end
$$;
comment on function tallystick.verify_token_usage(uuid) is 'Body of public.verify_token_usage.';
revoke all on function tallystick.verify_token_usage(uuid) from public, anon, authenticated;
grant execute on function tallystick.verify_token_usage(uuid) to authenticated, service_role;

create function public.verify_token_usage(p_user_id uuid default null)
returns table (check_name text, bad_rows bigint)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from tallystick.verify_token_usage(coalesce(p_user_id, auth.uid()))
$$;
comment on function public.verify_token_usage(uuid) is
  'Every rule of the books with the number of rows that break it: 0 everywhere means that they are right.';
revoke all on function public.verify_token_usage(uuid) from public, anon, authenticated;
grant execute on function public.verify_token_usage(uuid) to authenticated, service_role;

-- Leaves out what depends on when and how the same events arrived: times of recording, versions, the number of a price
-- (its natural content stands instead), and clock_skew, which a later meeting may no longer find.
create function tallystick.ledger_digest(p_user_id uuid)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
as $$
begin
  perform tallystick.check_caller(p_user_id);
  return (
    with line as (
      select 'event ' || e.event_key as sort_key, concat_ws(
        '|', e.event_key, e.occurred_at, e.usage_date, e.source, e.provider, e.model, e.session_id, e.project,
        e.device, e.git_branch, e.agent_version, e.is_sidechain, e.request_id, e.service_tier, e.speed,
        e.inference_geo, e.grain, e.message_count, e.input_tokens, e.cache_creation_5m_tokens,
        e.cache_creation_1h_tokens, e.cache_read_tokens, e.output_tokens, e.thinking_tokens, e.web_search_requests,
        coalesce(trim_scale(e.cost_usd)::text, 'null'), e.cost_basis, p.digest,
        coalesce(trim_scale(e.reported_cost_usd)::text, 'null'), array_remove(e.flags, 'clock_skew'), e.is_final,
        e.origin_rank, e.place_order, e.is_corrected
      ) as content
      from public.token_usage_events as e
      left join public.token_usage_prices as p on p.price_id = e.price_id
      where e.user_id = p_user_id
      union all
      select 'session ' || s.source || '|' || s.session_id, concat_ws(
        '|', s.input_tokens, s.output_tokens, s.cache_creation_tokens, s.cache_read_tokens, s.thinking_tokens,
        s.web_search_requests, s.message_count, s.event_count, s.unpriced_event_count,
        trim_scale(s.estimated_cost_usd), s.session_started_at, s.last_activity_at, s.last_event_key, s.model_used,
        s.project, s.device
      )
      from public.token_usage_sessions as s where s.user_id = p_user_id
      union all
      select 'day ' || d.usage_date, concat_ws(
        '|', d.daily_input_tokens, d.daily_output_tokens, d.daily_cache_creation_tokens, d.daily_cache_read_tokens,
        d.daily_thinking_tokens, d.daily_web_search_requests, d.daily_session_count, d.daily_message_count,
        d.daily_event_count, d.daily_unpriced_event_count, trim_scale(d.daily_cost_usd)
      )
      from public.token_usage_daily as d where d.user_id = p_user_id
    )
    select encode(sha256(coalesce(
      string_agg(sha256(convert_to(l.sort_key || '|' || l.content, 'UTF8')), '' order by l.sort_key collate "C"), ''
    )), 'hex')
    from line as l
  );
end
$$;
comment on function tallystick.ledger_digest(uuid) is 'Body of public.ledger_digest.';
revoke all on function tallystick.ledger_digest(uuid) from public, anon, authenticated;
grant execute on function tallystick.ledger_digest(uuid) to authenticated, service_role;

create function public.ledger_digest(p_user_id uuid default null)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.ledger_digest(coalesce(p_user_id, auth.uid()))
$$;
comment on function public.ledger_digest(uuid) is
  'One sha256 over events, sessions and days: two ledgers with the same digest hold the same books.';
revoke all on function public.ledger_digest(uuid) from public, anon, authenticated;
grant execute on function public.ledger_digest(uuid) to authenticated, service_role;
-- What is done to whole books: pricing them again, correcting and forgetting.

-- Prices one slice of events, in the order of their keys, at what is known now. The caller commits and goes on from
-- next_key, so that the books of a million calls are never locked for a minute. p_from and p_to are inclusive days.
create function tallystick.rerate_token_usage(p_user_id uuid, p_from date, p_to date, p_after text, p_limit integer)
returns table (
  examined bigint, changed bigint, old_cost_usd numeric, new_cost_usd numeric, unpriced bigint, next_key text
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_slice public.token_usage_events[];
  v_changes tallystick.event_change[];
begin
  perform tallystick.check_caller(p_user_id);
  perform tallystick.check_service_caller();
  if p_limit is null or p_limit not between 1 and 100000 then
    raise exception using errcode = 'PT400', constraint = 'slice_is_1_to_100000',
      message = 'a slice is 1 to 100,000 events', hint = 'Leave p_limit out.';
  end if;
  perform tallystick.lock_account(p_user_id);
  v_slice := array(
    select e from public.token_usage_events as e
    where e.user_id = p_user_id and e.event_key > coalesce(p_after, '')
      and (p_from is null or e.usage_date >= p_from) and (p_to is null or e.usage_date <= p_to)
    order by e.event_key limit p_limit
  );
  select array_agg(row(s.e, s.priced)::tallystick.event_change order by (s.e).event_key) into v_changes
  from (
    select e, tallystick.price_event(e) as priced from unnest(v_slice) as e offset 0
  ) as s
  where ((s.e).cost_usd, (s.e).cost_basis, (s.e).price_id)
    is distinct from ((s.priced).cost_usd, (s.priced).cost_basis, (s.priced).price_id);
  if v_changes is not null then
    perform tallystick.apply_changes(p_user_id, v_changes, 'rerated');
  end if;
  return query
  select cardinality(v_slice)::bigint, coalesce(cardinality(v_changes), 0)::bigint,
    (select coalesce(sum((c.old_event).cost_usd), 0) from unnest(v_changes) as c),
    (select coalesce(sum((c.new_event).cost_usd), 0) from unnest(v_changes) as c),
    (
      select count(*) from public.token_usage_events as e
      where e.user_id = p_user_id and e.cost_usd is null
        and e.event_key = any (select (s).event_key from unnest(v_slice) as s)
    ),
    case when cardinality(v_slice) = p_limit then v_slice[p_limit].event_key end;
end
$$;
comment on function tallystick.rerate_token_usage(uuid, date, date, text, integer) is
  'Body of public.rerate_token_usage.';
revoke all on function tallystick.rerate_token_usage(uuid, date, date, text, integer) from public, anon, authenticated;
grant execute on function tallystick.rerate_token_usage(uuid, date, date, text, integer) to service_role;

create function public.rerate_token_usage(
  p_user_id uuid, p_from date default null, p_to date default null, p_after text default null,
  p_limit integer default 20000
)
returns table (
  examined bigint, changed bigint, old_cost_usd numeric, new_cost_usd numeric, unpriced bigint, next_key text
)
language sql
set search_path = pg_catalog, pg_temp
as $$
  select * from tallystick.rerate_token_usage(p_user_id, p_from, p_to, p_after, p_limit)
$$;
comment on function public.rerate_token_usage(uuid, date, date, text, integer) is
  'Prices one slice of events again at the dated prices now known, keeping the old costs as versions; call again '
  'with p_after = next_key until it is null.';
revoke all on function public.rerate_token_usage(uuid, date, date, text, integer) from public, anon, authenticated;
grant execute on function public.rerate_token_usage(uuid, date, date, text, integer) to service_role;

-- A correction names members of an event and their true values. It outranks every observation from then on.
create function tallystick.correct_token_usage(p_user_id uuid, p_corrections jsonb)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
as $$
declare
  v_time_zone text;
  v_correction jsonb;
  v_unknown text;
  v_event public.token_usage_events;
  v_observation tallystick.observation;
  v_corrected public.token_usage_events;
  v_changes tallystick.event_change[] := '{}';
  v_count integer := 0;
begin
  perform tallystick.check_caller(p_user_id);
  perform tallystick.check_service_caller();
  if p_corrections is null or jsonb_typeof(p_corrections) <> 'array' or jsonb_array_length(p_corrections) > 1000
    or jsonb_path_exists(p_corrections, 'strict $[*] ? (@.type() != "object")') then
    raise exception using errcode = 'PT400', constraint = 'corrections_are_a_list',
      message = 'corrections must be a JSON list of at most 1,000 objects', hint = 'Pass [{"event_key": ..., ...}].';
  end if;
  v_time_zone := tallystick.lock_account(p_user_id);
  for v_correction in
    select c from jsonb_array_elements(p_corrections) as c
  loop
    v_count := v_count + 1;
    select min(k) into v_unknown from jsonb_object_keys(v_correction) as k where k <> all (array[
      'event_key', 'occurred_at', 'provider', 'model', 'session_id', 'project', 'device', 'git_branch',
      'service_tier', 'speed', 'inference_geo', 'message_count', 'input_tokens', 'cache_creation_5m_tokens',
      'cache_creation_1h_tokens', 'cache_read_tokens', 'output_tokens', 'thinking_tokens', 'web_search_requests',
      'reported_cost_usd'
    ]);
    if v_unknown is not null then
      raise exception using errcode = 'PT400', constraint = 'correction_is_of_a_member',
        message = pg_catalog.format('%s cannot be corrected', v_unknown),
        hint = 'A correction may set counts, the time, the model, its price context and labels.';
    end if;
    select e.* into v_event from public.token_usage_events as e
    where e.user_id = p_user_id and e.event_key = v_correction ->> 'event_key';
    if v_event.event_key is null then
      raise exception using errcode = 'PT404', constraint = 'corrected_event_exists',
        message = pg_catalog.format('no event %s', v_correction ->> 'event_key'),
        hint = 'Look the event key up in token_usage_events.';
    end if;
    -- the same reader and judge as for an observation: what it would reject, a person may not set either
    v_observation := tallystick.read_observation((to_jsonb(v_event) || v_correction)::json);
    if v_observation.reject_reason <> '' then
      raise exception using errcode = 'PT400', constraint = 'correction_is_valid',
        message = pg_catalog.format(
          'the correction of %s is no good: %s', v_event.event_key, v_observation.reject_reason
        ),
        hint = 'Nothing was changed.';
    end if;
    v_corrected := jsonb_populate_record(v_event, (
      select jsonb_object_agg(m.key, m.value) from jsonb_each(to_jsonb(v_observation)) as m
      where v_correction ? m.key
    ));
    v_corrected.flags := tallystick.event_flags(
      v_event.flags,
      v_event.flags,
      greatest(
        v_corrected.input_tokens, v_corrected.cache_creation_5m_tokens, v_corrected.cache_creation_1h_tokens,
        v_corrected.cache_read_tokens, v_corrected.output_tokens
      ),
      v_corrected.occurred_at,
      tallystick.current_time()
    );
    v_corrected.usage_date := (v_corrected.occurred_at at time zone v_time_zone)::date;
    v_corrected.is_corrected := true;
    v_changes := v_changes || row(v_event, tallystick.price_event(v_corrected))::tallystick.event_change;
  end loop;
  if (select count(distinct (c.old_event).event_key) from unnest(v_changes) as c) < v_count then
    raise exception using errcode = 'PT400', constraint = 'corrections_name_an_event_once',
      message = 'two corrections name the same event', hint = 'Put both into one.';
  end if;
  if v_count > 0 then
    perform tallystick.apply_changes(p_user_id, v_changes, 'corrected');
  end if;
  return jsonb_build_object(
    'received', v_count, 'new', 0, 'revised', v_count, 'duplicate', 0, 'rejected', 0, 'unpriced', 0
  );
end
$$;
comment on function tallystick.correct_token_usage(uuid, jsonb) is 'Body of public.correct_token_usage.';
revoke all on function tallystick.correct_token_usage(uuid, jsonb) from public, anon, authenticated;
grant execute on function tallystick.correct_token_usage(uuid, jsonb) to service_role;

create function public.correct_token_usage(p_user_id uuid, p_corrections jsonb)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.correct_token_usage(p_user_id, p_corrections)
$$;
comment on function public.correct_token_usage(uuid, jsonb) is
  'Sets members of events by hand, a JSON list of {event_key, ...}; no later observation changes them. Old states '
  'are kept.';
revoke all on function public.correct_token_usage(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.correct_token_usage(uuid, jsonb) to service_role;

-- Erases one slice of a user's books, or of one project's. Rejects name places and not projects, and limits are of no
-- project, so they go with the whole books only. The user's API keys stay, as the account does: they are credentials
-- and no usage.
create function tallystick.forget_token_usage(p_user_id uuid, p_project text, p_limit integer)
returns table (events bigint, versions bigint, rejects bigint, sessions bigint, days bigint, more boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_changes tallystick.event_change[];
  v_before record;
  v_versions bigint;
  v_rejects bigint := 0;
begin
  perform tallystick.check_caller(p_user_id);
  if p_limit is null or p_limit not between 1 and 100000 then
    raise exception using errcode = 'PT400', constraint = 'slice_is_1_to_100000',
      message = 'a slice is 1 to 100,000 events', hint = 'Leave p_limit out.';
  end if;
  perform tallystick.lock_account(p_user_id);
  select (select count(*) from public.token_usage_sessions as s where s.user_id = p_user_id) as sessions,
    (select count(*) from public.token_usage_daily as d where d.user_id = p_user_id) as days into v_before;
  v_changes := array(
    select row(e, null)::tallystick.event_change from public.token_usage_events as e
    where e.user_id = p_user_id and (p_project is null or e.project = p_project)
    order by e.event_key limit p_limit
  );
  select count(*) into v_versions from public.token_usage_event_versions as v
  where v.user_id = p_user_id and v.event_key = any (select (c.old_event).event_key from unnest(v_changes) as c);
  if cardinality(v_changes) > 0 then
    perform tallystick.apply_changes(p_user_id, v_changes, 'forgotten');
  end if;
  if cardinality(v_changes) < p_limit and p_project is null then
    delete from public.token_usage_rejects as r where r.user_id = p_user_id;
    get diagnostics v_rejects = row_count;
    delete from public.token_usage_prices as p where p.user_id = p_user_id;
    delete from public.token_usage_limits as l where l.user_id = p_user_id;
  end if;
  return query
  select cardinality(v_changes)::bigint, v_versions, v_rejects,
    v_before.sessions - (select count(*) from public.token_usage_sessions as s where s.user_id = p_user_id),
    v_before.days - (select count(*) from public.token_usage_daily as d where d.user_id = p_user_id),
    cardinality(v_changes) = p_limit;
end
$$;
comment on function tallystick.forget_token_usage(uuid, text, integer) is 'Body of public.forget_token_usage.';
revoke all on function tallystick.forget_token_usage(uuid, text, integer) from public, anon, authenticated;
grant execute on function tallystick.forget_token_usage(uuid, text, integer) to authenticated, service_role;

create function public.forget_token_usage(
  p_user_id uuid default null, p_project text default null, p_limit integer default 20000
)
returns table (events bigint, versions bigint, rejects bigint, sessions bigint, days bigint, more boolean)
language sql
set search_path = pg_catalog, pg_temp
as $$
  select * from tallystick.forget_token_usage(coalesce(p_user_id, auth.uid()), p_project, p_limit)
$$;
comment on function public.forget_token_usage(uuid, text, integer) is
  'Erases one slice of a user''s books, or of one project''s, and says what went; call again while more is true.';
revoke all on function public.forget_token_usage(uuid, text, integer) from public, anon, authenticated;
grant execute on function public.forget_token_usage(uuid, text, integer) to authenticated, service_role;
-- Keys of the HTTP API, and how many requests a caller may make in a minute.
--
-- The server makes a key, shows it once and keeps nothing of it: what comes here is its HMAC-SHA256 under a secret that
-- only the server has, so that neither this table nor a backup of it lets anybody in. No role reads the table; the
-- service role alone asks, through functions that never give the digest away.
--
-- Keys are credentials and no usage. Forgetting a user's books leaves them, as it leaves the account: they belong to
-- machines that go on sending, and are ended by revoke_api_key(). A revoked key stays too, so that it is still told who
-- had it and when it was last used.

create table tallystick.api_keys (
  key_id uuid not null default pg_catalog.gen_random_uuid(),
  user_id uuid,
  name text not null,
  prefix text collate "C" not null,
  digest bytea not null,
  scopes text[] collate "C" not null,
  requests_per_minute integer,
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  constraint api_keys_pkey primary key (key_id),
  constraint api_keys_digest_is_unique unique (digest),
  constraint api_keys_prefix_is_unique unique (prefix),
  constraint api_keys_digest_is_sha256 check (octet_length(digest) = 32),
  constraint api_keys_name_is_1_to_100 check (length(name) between 1 and 100),
  constraint api_keys_prefix_is_1_to_20 check (length(prefix) between 1 and 20),
  constraint api_keys_scopes_are_known check (
    cardinality(scopes) > 0 and scopes <@ array['admin', 'ingest', 'read']
  ),
  constraint api_keys_limit_is_positive check (requests_per_minute > 0),
  constraint api_keys_expire_after_creation check (expires_at > created_at)
)
with (fillfactor = 80);
comment on table tallystick.api_keys is
  'One row per key of the HTTP API, revoked ones too. Not usage: forgetting a user''s books leaves the keys.';
comment on column tallystick.api_keys.user_id is
  'Whom the key acts for; null is a service key, which acts for any user that it names.';
comment on column tallystick.api_keys.name is 'What its owner calls it.';
comment on column tallystick.api_keys.prefix is
  'How the key begins, to be shown to people; too short to be taken for a key_id, or for the key.';
comment on column tallystick.api_keys.digest is 'HMAC-SHA256 of the key, under a secret of the server.';
comment on column tallystick.api_keys.scopes is 'What it may do: any of ingest, read and admin.';
comment on column tallystick.api_keys.requests_per_minute is 'Null is the server''s default.';
comment on column tallystick.api_keys.expires_at is 'From then on it is unknown; null is never.';
comment on column tallystick.api_keys.revoked_at is 'From then on it is unknown.';
comment on column tallystick.api_keys.last_used_at is 'To the minute: it moves at most once a minute.';

-- Unlogged, so that a request costs no flush of the log: after a crash the minute that ran counts anew. The time leads
-- the key, so that the oldest windows are found without a second index.
create unlogged table tallystick.request_windows (
  window_start timestamptz not null,
  caller text collate "C" not null,
  request_count integer not null,
  constraint request_windows_pkey primary key (window_start, caller),
  constraint request_windows_have_requests check (request_count > 0)
)
with (fillfactor = 50);
comment on table tallystick.request_windows is
  'How many requests a caller was let through with in one minute; rows of more than an hour ago are swept.';
comment on column tallystick.request_windows.window_start is 'The full minute that it counts.';
comment on column tallystick.request_windows.caller is 'key:<key_id>, or user:<user_id> of somebody who signed in.';
comment on column tallystick.request_windows.request_count is 'Requests let through; a refused one is not counted.';

create function tallystick.key_digest(p_digest text)
returns bytea
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_digest is null or p_digest !~ '^[0-9a-f]{64}$' then
    raise exception using errcode = 'PT400', constraint = 'digest_is_64_hex',
      message = 'the digest of a key is 64 hexadecimal digits', hint = 'Pass HMAC-SHA256 of the key, in lower case.';
  end if;
  return decode(p_digest, 'hex');
end
$$;
comment on function tallystick.key_digest(text) is 'The digest of a key from its text; PT400 where it is none.';
revoke all on function tallystick.key_digest(text) from public, anon, authenticated;

create function tallystick.create_api_key(
  p_user_id uuid, p_name text, p_prefix text, p_digest text, p_scopes text[], p_expires_at timestamptz,
  p_requests_per_minute integer
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := tallystick.current_time();
  v_scopes text[] := array(select distinct s from unnest(p_scopes) as s order by s);
  v_key_id uuid;
begin
  perform tallystick.check_service_caller();
  if p_name is null or btrim(p_name) = '' or length(p_name) > 100 then
    raise exception using errcode = 'PT400', constraint = 'name_is_1_to_100',
      message = 'the name of a key has 1 to 100 characters', hint = 'Say who or what will use it.';
  end if;
  if p_prefix is null or length(p_prefix) not between 1 and 20 then
    raise exception using errcode = 'PT400', constraint = 'prefix_is_1_to_20',
      message = 'the prefix of a key has 1 to 20 characters', hint = 'Pass what the key begins with, tly_ab12cd34.';
  end if;
  if cardinality(v_scopes) = 0 or not v_scopes <@ array['admin', 'ingest', 'read'] then
    raise exception using errcode = 'PT400', constraint = 'scopes_are_known',
      message = 'a key has one or more of the scopes ingest, read and admin', hint = 'Give it the least that will do.';
  end if;
  if p_expires_at <= v_now then
    raise exception using errcode = 'PT400', constraint = 'expiry_is_ahead',
      message = 'the key would have expired before it was made', hint = 'Pass a later time, or none.';
  end if;
  if p_requests_per_minute < 1 then
    raise exception using errcode = 'PT400', constraint = 'limit_is_positive',
      message = 'a limit is one request per minute or more', hint = 'Revoke a key to keep it out.';
  end if;
  insert into tallystick.api_keys (
    user_id, name, prefix, digest, scopes, requests_per_minute, created_at, expires_at
  ) values (
    p_user_id, p_name, p_prefix, tallystick.key_digest(p_digest), v_scopes, p_requests_per_minute, v_now, p_expires_at
  )
  on conflict do nothing returning key_id into v_key_id;
  if v_key_id is null then
    raise exception using errcode = 'PT409', constraint = 'api_key_is_new',
      message = 'another key has this prefix or this digest', hint = 'Make another key.';
  end if;
  return v_key_id;
end
$$;
comment on function tallystick.create_api_key is 'Body of public.create_api_key.';
revoke all on function tallystick.create_api_key from public, anon, authenticated;
grant execute on function tallystick.create_api_key to service_role;

create function public.create_api_key(
  p_user_id uuid, p_name text, p_prefix text, p_digest text, p_scopes text[], p_expires_at timestamptz default null,
  p_requests_per_minute integer default null
)
returns uuid
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.create_api_key(
    p_user_id, p_name, p_prefix, p_digest, p_scopes, p_expires_at, p_requests_per_minute
  )
$$;
comment on function public.create_api_key is
  'Keeps a key of the HTTP API by its digest, 64 hexadecimal digits; p_user_id null is a service key, which acts for '
  'any user that it names.';
revoke all on function public.create_api_key from public, anon, authenticated;
grant execute on function public.create_api_key to service_role;

create function tallystick.api_keys(p_user_id uuid)
returns table (
  key_id uuid, user_id uuid, name text, prefix text, scopes text[], requests_per_minute integer,
  created_at timestamptz, expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_service_caller();
  return query
  select k.key_id, k.user_id, k.name, k.prefix, k.scopes, k.requests_per_minute, k.created_at, k.expires_at,
    k.revoked_at, k.last_used_at
  from tallystick.api_keys as k
  where p_user_id is null or k.user_id = p_user_id
  order by k.created_at, k.key_id;
end
$$;
comment on function tallystick.api_keys(uuid) is 'Body of public.api_keys.';
revoke all on function tallystick.api_keys(uuid) from public, anon, authenticated;
grant execute on function tallystick.api_keys(uuid) to service_role;

create function public.api_keys(p_user_id uuid default null)
returns table (
  key_id uuid, user_id uuid, name text, prefix text, scopes text[], requests_per_minute integer,
  created_at timestamptz, expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from tallystick.api_keys(p_user_id)
$$;
comment on function public.api_keys(uuid) is
  'The keys of the HTTP API, oldest first, revoked ones too: one user''s, or all of them where p_user_id is null.';
revoke all on function public.api_keys(uuid) from public, anon, authenticated;
grant execute on function public.api_keys(uuid) to service_role;

create function tallystick.revoke_api_key(p_key text)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key_id uuid;
begin
  perform tallystick.check_service_caller();
  update tallystick.api_keys as k set revoked_at = coalesce(k.revoked_at, tallystick.current_time())
  where k.prefix = p_key or k.key_id::text = lower(p_key)
  returning k.key_id into v_key_id;
  -- what was passed is not told again: it may be a key, copied whole
  if v_key_id is null then
    raise exception using errcode = 'PT404', constraint = 'api_key_exists',
      message = 'there is no such key', hint = 'Name it by its key_id or by its whole prefix.';
  end if;
  return v_key_id;
end
$$;
comment on function tallystick.revoke_api_key(text) is 'Body of public.revoke_api_key.';
revoke all on function tallystick.revoke_api_key(text) from public, anon, authenticated;
grant execute on function tallystick.revoke_api_key(text) to service_role;

create function public.revoke_api_key(p_key text)
returns uuid
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.revoke_api_key(p_key)
$$;
comment on function public.revoke_api_key(text) is
  'Ends a key, named by its key_id or its whole prefix, and answers its key_id; doing so again changes nothing.';
revoke all on function public.revoke_api_key(text) from public, anon, authenticated;
grant execute on function public.revoke_api_key(text) to service_role;

-- Admission. The server alone calls the two functions below, for one HTTP request or, where a caller is busy, for some
-- ahead of them, so they have no entry in public. They want a transaction of their own: until its end a caller's other
-- requests wait for the window.

create type tallystick.admission as (
  admitted integer,
  request_limit integer,
  remaining integer,
  reset_s double precision
);
comment on type tallystick.admission is
  'How many requests were let through, the limit per minute, what is left of it, and seconds until the next minute.';

-- One upsert: requests that come at once take turns on the row, and where the minute is full it changes nothing and
-- answers nothing. Several requests at once are at most a hundredth of the limit, for those that are let through and
-- never come keep others out; towards the end of a limit they are let through one by one. The minutes are the clock's,
-- so a caller may use up one at its end and the next at its start.
create function tallystick.count_requests(p_caller text, p_limit integer, p_requests integer)
returns tallystick.admission
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := tallystick.current_time();
  v_window_start timestamptz := date_bin('1 minute', v_now, 'epoch');
  v_requests integer;
  v_count integer;
begin
  if p_limit is null or p_limit < 1 then
    raise exception using errcode = 'PT400', constraint = 'limit_is_positive',
      message = 'a limit is one request per minute or more', hint = 'Pass how many requests a minute may have.';
  end if;
  if p_requests is null or p_requests < 1 then
    raise exception using errcode = 'PT400', constraint = 'requests_are_positive',
      message = 'a caller asks for one request or more', hint = 'Pass how many requests to let through.';
  end if;
  foreach v_requests in array array[least(p_requests, greatest(p_limit / 100, 1)), 1] loop
    insert into tallystick.request_windows as w (window_start, caller, request_count)
    values (v_window_start, p_caller, v_requests)
    on conflict (window_start, caller) do update set request_count = w.request_count + v_requests
    where w.request_count + v_requests <= p_limit
    returning w.request_count into v_count;
    exit when v_count is not null;
  end loop;
  -- Whoever opens a window sweeps a hundred old ones, so the sweep keeps ahead of what is left to sweep; locked ones
  -- are somebody else's sweep.
  if v_count = v_requests then
    delete from tallystick.request_windows as w
    using (
      select o.window_start, o.caller from tallystick.request_windows as o
      where o.window_start < v_window_start - interval '1 hour'
      order by o.window_start, o.caller limit 100 for update skip locked
    ) as old
    where w.window_start = old.window_start and w.caller = old.caller;
  end if;
  return row(
    case when v_count is null then 0 else v_requests end,
    p_limit,
    coalesce(p_limit - v_count, 0),
    extract(epoch from v_window_start + interval '1 minute' - v_now)::double precision
  )::tallystick.admission;
end
$$;
comment on function tallystick.count_requests(text, integer, integer) is
  'Counts requests in the minute that runs: as many as are asked for, or one, or none where it has had its limit.';
revoke all on function tallystick.count_requests(text, integer, integer) from public, anon, authenticated;

create function tallystick.admit_key(p_digest text, p_default_limit integer, p_requests integer default 1)
returns table (
  key_id uuid, user_id uuid, scopes text[], admitted integer, request_limit integer, remaining integer,
  reset_s double precision
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := tallystick.current_time();
  v_digest bytea;
  v_key tallystick.api_keys;
  v_admission tallystick.admission;
begin
  perform tallystick.check_service_caller();
  v_digest := tallystick.key_digest(p_digest);
  select k.* into v_key from tallystick.api_keys as k
  where k.digest = v_digest and k.revoked_at is null and coalesce(k.expires_at, 'infinity') > v_now;
  if v_key.key_id is null then
    return;
  end if;
  -- asked again in the update, because of several requests at once only the first shall write
  if coalesce(v_key.last_used_at, '-infinity') <= v_now - interval '1 minute' then
    update tallystick.api_keys as k set last_used_at = v_now
    where k.key_id = v_key.key_id and coalesce(k.last_used_at, '-infinity') <= v_now - interval '1 minute';
  end if;
  v_admission := tallystick.count_requests(
    'key:' || v_key.key_id, coalesce(v_key.requests_per_minute, p_default_limit), p_requests
  );
  return query
  select v_key.key_id, v_key.user_id, v_key.scopes, v_admission.admitted, v_admission.request_limit,
    v_admission.remaining, v_admission.reset_s;
end
$$;
comment on function tallystick.admit_key(text, integer, integer) is
  'The key with this digest, with requests counted against its limit; no row where no such key is in force.';
revoke all on function tallystick.admit_key(text, integer, integer) from public, anon, authenticated;
grant execute on function tallystick.admit_key(text, integer, integer) to service_role;

create function tallystick.admit_user(p_user_id uuid, p_limit integer, p_requests integer default 1)
returns tallystick.admission
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
  perform tallystick.check_service_caller();
  if p_user_id is null then
    raise exception using errcode = 'PT400', constraint = 'user_is_given',
      message = 'nobody is named', hint = 'Pass the id of the user who is signed in.';
  end if;
  return tallystick.count_requests('user:' || p_user_id, p_limit, p_requests);
end
$$;
comment on function tallystick.admit_user(uuid, integer, integer) is
  'Counts requests of a user who is signed in, without a key, against a limit.';
revoke all on function tallystick.admit_user(uuid, integer, integer) from public, anon, authenticated;
grant execute on function tallystick.admit_user(uuid, integer, integer) to service_role;
-- Who may do what. anon: nothing. authenticated: read own rows, call the functions of `public` and through them their
-- bodies, which check the caller themselves. service_role: read everything, call everything. Nobody: write a table.
-- Every grant is spelled out, because hosted Supabase grants nothing by itself any more.

alter table public.token_usage_accounts enable row level security;
alter table public.token_usage_events enable row level security;
alter table public.token_usage_event_versions enable row level security;
alter table public.token_usage_sessions enable row level security;
alter table public.token_usage_daily enable row level security;
alter table public.token_usage_by_day enable row level security;
alter table public.token_usage_by_session_day enable row level security;
alter table public.token_usage_rejects enable row level security;
alter table public.token_usage_prices enable row level security;
alter table public.token_usage_limits enable row level security;
alter table tallystick.ledger enable row level security;
alter table tallystick.migrations enable row level security;
alter table tallystick.api_keys enable row level security;
alter table tallystick.request_windows enable row level security;

-- (select auth.uid()) is computed once per query; without the select it would be computed once per row
create policy accounts_own_rows on public.token_usage_accounts
for select to authenticated using (user_id = (select auth.uid()));
create policy events_own_rows on public.token_usage_events
for select to authenticated using (user_id = (select auth.uid()));
create policy event_versions_own_rows on public.token_usage_event_versions
for select to authenticated using (user_id = (select auth.uid()));
create policy sessions_own_rows on public.token_usage_sessions
for select to authenticated using (user_id = (select auth.uid()));
create policy daily_own_rows on public.token_usage_daily
for select to authenticated using (user_id = (select auth.uid()));
create policy by_day_own_rows on public.token_usage_by_day
for select to authenticated using (user_id = (select auth.uid()));
create policy by_session_day_own_rows on public.token_usage_by_session_day
for select to authenticated using (user_id = (select auth.uid()));
create policy rejects_own_rows on public.token_usage_rejects
for select to authenticated using (user_id = (select auth.uid()));
create policy limits_own_rows on public.token_usage_limits
for select to authenticated using (user_id = (select auth.uid()));
create policy prices_own_and_everybodys on public.token_usage_prices
for select to authenticated using (user_id is null or user_id = (select auth.uid()));

revoke all on schema tallystick from public;
grant usage on schema tallystick to authenticated, service_role;

revoke all on all tables in schema tallystick from public, anon, authenticated, service_role;
revoke all on
  public.token_usage_accounts, public.token_usage_events, public.token_usage_event_versions,
  public.token_usage_sessions, public.token_usage_daily, public.token_usage_by_day,
  public.token_usage_by_session_day, public.token_usage_rejects, public.token_usage_prices,
  public.token_usage_limits
from public, anon, authenticated, service_role;
grant select on
  public.token_usage_accounts, public.token_usage_events, public.token_usage_event_versions,
  public.token_usage_sessions, public.token_usage_daily, public.token_usage_by_day,
  public.token_usage_by_session_day, public.token_usage_rejects, public.token_usage_prices,
  public.token_usage_limits
to authenticated, service_role;
-- a project on Supabase may be older than the day on which it stopped to grant this by itself
revoke all on sequence public.token_usage_prices_price_id_seq from public, anon, authenticated, service_role;

-- What is not granted beside its function is for other functions only.
revoke execute on all functions in schema tallystick from public, anon;
