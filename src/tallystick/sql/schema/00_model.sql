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
