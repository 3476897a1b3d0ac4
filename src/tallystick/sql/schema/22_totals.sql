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
