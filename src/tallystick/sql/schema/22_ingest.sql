-- Taking observations in. The road of a batch:
--
--   read_observations   JSON -> observations, the unusable ones set apart with a reason
--   fold_observations   one observation per event key, where a batch holds several
--   ingest_token_usage  inserts what is new, priced, and adds it to the totals ...
--   revise_events       ... and takes the slow road only for keys that stood already
--   apply_changes       versions, events and totals move together, for whatever changes an event
--   move_totals         writes sessions, days and rollups

-- Prices one event at what is known now: the price of its day, else what its source reported, else none.
create function tallystick.price_event(p_event public.token_usage_events)
returns public.token_usage_events
language plpgsql
stable
set search_path = ''
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
set search_path = ''
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
set search_path = ''
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
  v_event.flags := tallystick.amount_flags(case when p_amount_wins then p_observation.flags else p_event.flags end)
    || tallystick.place_flags(case when p_place_wins then p_observation.flags else p_event.flags end)
    || tallystick.derived_flags(
      greatest(
        v_event.input_tokens, v_event.cache_creation_5m_tokens, v_event.cache_creation_1h_tokens,
        v_event.cache_read_tokens, v_event.output_tokens
      ),
      v_event.occurred_at
    );
  if (v_event.provider, v_event.model, v_event.occurred_at, v_event.grain, v_event.service_tier, v_event.speed,
      v_event.inference_geo)
    is distinct from (p_event.provider, p_event.model, p_event.occurred_at, p_event.grain, p_event.service_tier,
      p_event.speed, p_event.inference_geo)
  then
    return tallystick.price_event(v_event);
  end if;
  select * into v_price from public.token_usage_prices as p where p.price_id = p_event.price_id;
  return tallystick.cost_event(
    v_event, v_price,
    (select r.implies_fast from tallystick.resolve_model(p_event.user_id, p_event.provider, p_event.model) as r)
  );
end
$$;
comment on function tallystick.revised_event(
  public.token_usage_events, tallystick.observation, boolean, boolean, text
) is 'The event after an observation that won how much, when and where, or both.';

-- Observations of calls that stood already: each question is asked again, and what wins neither is a duplicate.
create function tallystick.revise_events(p_user_id uuid, p_observations tallystick.observation[], p_time_zone text)
returns integer
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
  v_changes tallystick.event_change[];
begin
  select array_agg(row(
      stood.e,
      tallystick.revised_event(stood.e, o, won.amount, won.place, p_time_zone)
    )::tallystick.event_change)
    into v_changes
  from unnest(p_observations) as o
  cross join lateral (
    select e from public.token_usage_events as e
    where e.user_id = p_user_id and e.event_key = o.event_key and not e.is_corrected
    offset 0
  ) as stood
  cross join lateral (
    select tallystick.how_much(o) > tallystick.how_much(stood.e) as amount,
      tallystick.when_and_where(o) < tallystick.when_and_where(stood.e) as place
    offset 0
  ) as won
  where won.amount or won.place;
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
-- which is why any isolation but read committed is refused.
create function tallystick.lock_account(p_user_id uuid)
returns text
language plpgsql
set search_path = ''
set lock_timeout = '30s'
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
  return v_time_zone;
exception when lock_not_available then
  raise exception using errcode = 'PT503', constraint = 'account_is_free',
    message = 'another writer holds the books of this user', hint = 'Try again in a moment.';
end
$$;
comment on function tallystick.lock_account(uuid) is
  'Locks the account, made if need be, counts the receipt and answers the account''s time zone.';

create function tallystick.keep_rejects(p_user_id uuid, p_observations tallystick.observation[])
returns void
language sql
set search_path = ''
as $$
  insert into public.token_usage_rejects as r
  select distinct p_user_id, o.source, o.position, o.reject_reason, tallystick.current_time(), tallystick.current_time()
  from unnest(p_observations) as o
  where o.reject_reason <> ''
  on conflict on constraint token_usage_rejects_pkey do update set last_seen_at = excluded.last_seen_at
$$;
comment on function tallystick.keep_rejects(uuid, tallystick.observation[]) is
  'Notes where a record stands that could not be counted, once by place and reason.';

create function tallystick.ingest_token_usage(p_user_id uuid, p_events json)
returns jsonb
language plpgsql
security definer
set search_path = ''
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_time_zone text;
  v_batch record;
  v_observations tallystick.observation[];
  v_moves tallystick.usage_move[];
  v_known tallystick.observation[];
  v_new integer := 0;
  v_revised integer := 0;
  v_unpriced integer := 0;
begin
  perform tallystick.check_caller(p_user_id);
  if p_events is null or json_typeof(p_events) <> 'array' then
    raise exception using errcode = 'PT400', constraint = 'events_are_a_list',
      message = 'events must be a JSON list', hint = 'Pass a list of observations, an empty one if there are none.';
  end if;
  v_time_zone := tallystick.lock_account(p_user_id);
  v_batch := tallystick.read_observations(p_events);
  if v_batch.received > 20000 then
    raise exception using errcode = 'PT413', constraint = 'batch_is_at_most_20000',
      message = 'a batch holds at most 20,000 records', hint = 'Send smaller batches; 1,000 is a good size.';
  end if;
  v_observations := v_batch.observations;
  if v_batch.rejected > 0 then
    perform tallystick.keep_rejects(p_user_id, v_observations);
    v_observations := array(select o from unnest(v_observations) as o where o.reject_reason = '');
  end if;
  if v_batch.rejected > 0 or v_batch.key_count < v_batch.received then
    v_observations := tallystick.fold_observations(v_observations);
  end if;

  with incoming as materialized (
    select o.*, o.occurred_at::timestamptz as called_at from unnest(v_observations) as o
  ),
  listed as materialized (
    select m.provider, m.model, r.price_provider, r.price_model, r.implies_fast
    from (select distinct i.provider, i.model from incoming as i) as m
    cross join lateral tallystick.resolve_model(p_user_id, m.provider, m.model) as r
  ),
  inserted as (
    insert into public.token_usage_events
    select p_user_id, i.event_key, i.called_at, tallystick.current_time(),
      (i.called_at at time zone v_time_zone)::date, i.source, i.provider, i.model, i.session_id, i.project,
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
      tallystick.amount_flags(i.flags) || tallystick.place_flags(i.flags) || tallystick.derived_flags(
        greatest(
          i.input_tokens, i.cache_creation_5m_tokens, i.cache_creation_1h_tokens, i.cache_read_tokens,
          i.output_tokens
        ),
        i.called_at
      ),
      i.is_final, i.origin_rank, i.place_order, false
    from incoming as i
    left join listed as l on l.provider = i.provider and l.model = i.model
    left join lateral (
      select t as price from public.token_usage_prices as t
      where t.provider = l.price_provider and t.model = l.price_model and t.valid_from <= i.called_at
        and (t.user_id is null or t.user_id = p_user_id)
      order by t.user_id is null, t.valid_from desc, t.price_id desc limit 1
    ) as p on true
    cross join lateral (
      select tallystick.cost_usd(
        p.price, i.grain, i.service_tier, case when l.implies_fast then 'fast' else i.speed end,
        i.inference_geo, i.input_tokens, i.cache_creation_5m_tokens, i.cache_creation_1h_tokens,
        i.cache_read_tokens, i.output_tokens, i.web_search_requests
      ) as cost_usd
    ) as c
    on conflict on constraint token_usage_events_pkey do nothing
    returning event_key, occurred_at, usage_date, source, session_id, project, model, device, message_count,
      input_tokens, output_tokens, thinking_tokens, cache_creation_5m_tokens + cache_creation_1h_tokens
      as cache_creation_tokens, cache_read_tokens, web_search_requests, cost_usd
  ),
  move as (
    select n.usage_date, n.source, n.session_id, n.project, n.model, count(*) as event_count,
      sum(n.message_count)::bigint as message_count,
      coalesce(sum(n.message_count) filter (where n.cost_usd is null), 0)::bigint as unpriced_message_count,
      count(*) filter (where n.cost_usd is null) as unpriced_event_count,
      sum(n.input_tokens)::bigint as input_tokens, sum(n.output_tokens)::bigint as output_tokens,
      sum(n.thinking_tokens)::bigint as thinking_tokens,
      sum(n.cache_creation_tokens)::bigint as cache_creation_tokens,
      sum(n.cache_read_tokens)::bigint as cache_read_tokens,
      sum(n.web_search_requests)::bigint as web_search_requests, coalesce(sum(n.cost_usd), 0) as cost_usd,
      min(n.occurred_at) as first_at, max(n.occurred_at) as last_at,
      (array_agg(
        row(n.occurred_at, n.event_key, n.device)::tallystick.latest_call order by n.occurred_at desc, n.event_key desc
      ))[1] as latest
    from inserted as n group by 1, 2, 3, 4, 5
  )
  select
    (select array_agg(row(
      m.usage_date, m.source, m.session_id, m.project, m.model, m.event_count, m.message_count,
      m.unpriced_message_count, m.input_tokens, m.output_tokens, m.thinking_tokens, m.cache_creation_tokens,
      m.cache_read_tokens, m.web_search_requests, m.cost_usd, m.first_at, m.last_at, (m.latest).event_key,
      (m.latest).device
    )::tallystick.usage_move) from move as m),
    (select array_agg(o) from unnest(v_observations) as o
      where o.event_key not in (select n.event_key from inserted as n)),
    coalesce((select sum(m.event_count) from move as m), 0),
    coalesce((select sum(m.unpriced_event_count) from move as m), 0)
    into v_moves, v_known, v_new, v_unpriced;

  if v_new > 0 then
    perform tallystick.move_totals(p_user_id, v_moves);
  end if;
  if v_known is not null then
    v_revised := tallystick.revise_events(p_user_id, v_known, v_time_zone);
  end if;
  return jsonb_build_object(
    'received', v_batch.received, 'new', v_new, 'revised', v_revised,
    'duplicate', v_batch.received - v_batch.rejected - v_new - v_revised, 'rejected', v_batch.rejected,
    'unpriced', v_unpriced
  );
end
$$;
comment on function tallystick.ingest_token_usage(uuid, json) is 'Body of public.ingest_token_usage.';
revoke all on function tallystick.ingest_token_usage(uuid, json) from public, anon, authenticated;
grant execute on function tallystick.ingest_token_usage(uuid, json) to authenticated, service_role;

create function public.ingest_token_usage(p_user_id uuid, p_events json)
returns jsonb
language sql
set search_path = ''
as $$
  select tallystick.ingest_token_usage(p_user_id, p_events)
$$;
comment on function public.ingest_token_usage(uuid, json) is
  'Takes a JSON list of observations in; answers {received, new, revised, duplicate, rejected, unpriced}. Sending '
  'the same again changes nothing.';
revoke all on function public.ingest_token_usage(uuid, json) from public, anon, authenticated;
grant execute on function public.ingest_token_usage(uuid, json) to authenticated, service_role;
