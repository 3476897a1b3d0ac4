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
