-- A user's account and what is done to whole books: making it, moving it to another time zone, pricing it again,
-- correcting and forgetting, and proving that every total is right.

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
