-- What is true of a call that several observations report: two total orders, and the fold of many into one.

-- Flags that are facts about the time go with when and where, all others with how much. Two are worked out here from
-- the record itself (clock_skew also from when it was met) and never rank.
create function tallystick.amount_flags(p_flags text[])
returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_flags && '{time_inherited,clock_skew,implausible}'
    then array_remove(array_remove(array_remove(p_flags, 'time_inherited'), 'clock_skew'), 'implausible')
    else p_flags
  end;
end
$$;
comment on function tallystick.amount_flags(text[]) is 'The flags that go with the counts.';

create function tallystick.place_flags(p_flags text[])
returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when 'time_inherited' = any (p_flags) then '{time_inherited}'::text[] else '{}'::text[] end;
end
$$;
comment on function tallystick.place_flags(text[]) is 'The flags that go with the time and place.';

create function tallystick.event_flags(
  p_amount_flags text[], p_place_flags text[], p_most_tokens bigint, p_occurred_at timestamptz, p_now timestamptz
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_amount_flags = '{}' and p_place_flags = '{}' and p_most_tokens <= 50000000
      and p_occurred_at between '2023-01-01Z' and p_now + interval '1 day'
    then '{}'::text[]
    else tallystick.amount_flags(p_amount_flags) || tallystick.place_flags(p_place_flags)
      || case when p_most_tokens > 50000000 then '{implausible}'::text[] else '{}'::text[] end
      || case
        when p_occurred_at between '2023-01-01Z' and p_now + interval '1 day' then '{}'::text[]
        else '{clock_skew}'::text[]
      end
  end;
end
$$;
comment on function tallystick.event_flags(text[], text[], bigint, timestamptz, timestamptz) is
  'The flags given, and implausible: over 50 million tokens in a bucket; clock_skew: before 2023, or over a day ahead.';

-- The two total orders. Each compares as one row, member by member, text in collation C, and holds everything that its
-- winner brings along: two observations that tie in it are the same in all it decides.
create type tallystick.how_much as (
  is_final boolean,
  output_tokens bigint,
  origin_rank smallint,
  input_tokens bigint,
  cache_creation_5m_tokens bigint,
  cache_creation_1h_tokens bigint,
  cache_read_tokens bigint,
  thinking_tokens bigint,
  web_search_requests bigint,
  message_count bigint,
  provider text collate "C",
  model text collate "C",
  service_tier text collate "C",
  speed text collate "C",
  inference_geo text collate "C",
  grain text collate "C",
  reported_cost_usd numeric,
  flags text[] collate "C"
);
comment on type tallystick.how_much is
  'The order in which the greatest observation gives the counts, the model and the price context.';

create type tallystick.when_and_where as (
  is_implausible boolean,
  occurred_at timestamptz,
  place_order text collate "C",
  source text collate "C",
  session_id text collate "C",
  project text collate "C",
  device text collate "C",
  git_branch text collate "C",
  agent_version text collate "C",
  is_sidechain boolean,
  request_id text collate "C",
  flags text[] collate "C"
);
comment on type tallystick.when_and_where is 'The order in which the least observation gives the time and the place.';

create function tallystick.how_much(p_observation tallystick.observation)
returns tallystick.how_much
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_observation.is_final, p_observation.output_tokens, p_observation.origin_rank,
    p_observation.input_tokens, p_observation.cache_creation_5m_tokens,
    p_observation.cache_creation_1h_tokens, p_observation.cache_read_tokens,
    p_observation.thinking_tokens, p_observation.web_search_requests, p_observation.message_count,
    p_observation.provider, p_observation.model, p_observation.service_tier, p_observation.speed,
    p_observation.inference_geo, p_observation.grain, coalesce(p_observation.reported_cost_usd, -1),
    tallystick.amount_flags(p_observation.flags)
  )::tallystick.how_much;
end
$$;
comment on function tallystick.how_much(tallystick.observation) is 'The rank of an observation in how much.';

create function tallystick.how_much(p_event public.token_usage_events)
returns tallystick.how_much
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_event.is_final, p_event.output_tokens, p_event.origin_rank, p_event.input_tokens,
    p_event.cache_creation_5m_tokens, p_event.cache_creation_1h_tokens, p_event.cache_read_tokens,
    p_event.thinking_tokens, p_event.web_search_requests, p_event.message_count, p_event.provider,
    p_event.model, p_event.service_tier, p_event.speed, p_event.inference_geo, p_event.grain,
    coalesce(p_event.reported_cost_usd, -1), tallystick.amount_flags(p_event.flags)
  )::tallystick.how_much;
end
$$;
comment on function tallystick.how_much(public.token_usage_events) is 'The rank of what an event holds in how much.';

create function tallystick.when_and_where(p_observation tallystick.observation)
returns tallystick.when_and_where
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_observation.occurred_at::timestamptz < '2023-01-01Z', p_observation.occurred_at::timestamptz,
    p_observation.place_order, p_observation.source, p_observation.session_id, p_observation.project,
    p_observation.device, p_observation.git_branch, p_observation.agent_version,
    p_observation.is_sidechain, p_observation.request_id, tallystick.place_flags(p_observation.flags)
  )::tallystick.when_and_where;
end
$$;
comment on function tallystick.when_and_where(tallystick.observation) is
  'The rank of an observation in when and where; a time before 2023 is a broken clock and comes last.';

create function tallystick.when_and_where(p_event public.token_usage_events)
returns tallystick.when_and_where
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    p_event.occurred_at < '2023-01-01 00:00:00+00', p_event.occurred_at, p_event.place_order, p_event.source,
    p_event.session_id, p_event.project, p_event.device, p_event.git_branch, p_event.agent_version,
    p_event.is_sidechain, p_event.request_id, tallystick.place_flags(p_event.flags)
  )::tallystick.when_and_where;
end
$$;
comment on function tallystick.when_and_where(public.token_usage_events) is
  'The rank of what an event holds in when and where.';

create function tallystick.fold_observations(p_observations tallystick.observation[])
returns tallystick.observation[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with amount as (
    select distinct on (o.event_key) o.* from unnest(p_observations) as o
    order by o.event_key, tallystick.how_much(o) desc
  ),
  place as (
    select distinct on (o.event_key) o.* from unnest(p_observations) as o
    order by o.event_key, tallystick.when_and_where(o)
  )
  select array_agg(row(
    p.event_key, p.occurred_at, p.source, a.provider, a.model, p.session_id, p.project, p.device, p.git_branch,
    p.agent_version, p.is_sidechain, p.request_id, a.service_tier, a.speed, a.inference_geo, a.grain,
    a.message_count, a.input_tokens, a.cache_creation_5m_tokens, a.cache_creation_1h_tokens, a.cache_read_tokens,
    a.output_tokens, a.thinking_tokens, a.web_search_requests, a.reported_cost_usd, a.is_final, a.origin_rank,
    p.place_order, tallystick.amount_flags(a.flags) || tallystick.place_flags(p.flags), p.position, ''
  )::tallystick.observation)
  from amount as a join place as p on p.event_key = a.event_key
$$;
comment on function tallystick.fold_observations(tallystick.observation[]) is
  'One observation per event key: the counts of the winner in how much, the rest of the winner in when and where.';
