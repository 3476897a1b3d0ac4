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
