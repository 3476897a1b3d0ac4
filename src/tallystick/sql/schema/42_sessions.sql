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
