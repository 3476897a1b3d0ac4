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
