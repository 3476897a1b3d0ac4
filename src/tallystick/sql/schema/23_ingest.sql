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
