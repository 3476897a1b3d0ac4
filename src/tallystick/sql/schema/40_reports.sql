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
