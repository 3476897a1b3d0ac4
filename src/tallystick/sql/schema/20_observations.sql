-- Observations: reading them from JSON, ranking them, and folding several of one call into one.

-- The observation that a JSON object is laid over, so that members left out get their defaults.
create function tallystick.blank_observation()
returns tallystick.observation
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    '', '', '', '', '', '', '', '', '', '', false, '', '', '', '', 'call', 1,
    0, 0, 0, 0, 0, 0, 0, null, false, 2, '', '{}', '', ''
  )::tallystick.observation;
end
$$;
comment on function tallystick.blank_observation() is 'The defaults of an observation.';

-- Why an observation cannot be counted, null when it can. Bounds are there so that no record can fail a batch later: a
-- label longer than an index entry may be, counts whose sum would leave bigint. NaN compares greater than any number.
-- The time as most sources write it is told by where its signs stand and by what is left without its digits, which is
-- cheap; the cast that follows in read_observations() judges the digits. A year at either end of the calendar is what a
-- program writes that knows no time, and in another zone its day has no date in Python or JavaScript.
create function tallystick.reject_reason(p_observation tallystick.observation)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_observation.reject_reason <> '' then left(p_observation.reject_reason, 100)
    when p_observation.source = '' then 'missing_source'
    when p_observation.event_key = '' then 'missing_key'
    when p_observation.occurred_at = '' then 'missing_time'
    when not (
        p_observation.occurred_at like '____-__-__T__:__:__.%Z'
        and translate(p_observation.occurred_at, '0123456789', '') = '--T::.Z'
      )
      and p_observation.occurred_at !~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)$'
    then
      case
        when p_observation.occurred_at ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?$' then 'time_without_offset'
        else 'not_a_time'
      end
    when left(p_observation.occurred_at, 4) in ('0000', '0001', '9999') then 'not_a_time'
    when least(
      p_observation.input_tokens, p_observation.cache_creation_5m_tokens,
      p_observation.cache_creation_1h_tokens, p_observation.cache_read_tokens, p_observation.output_tokens,
      p_observation.thinking_tokens, p_observation.web_search_requests, p_observation.message_count
    ) < 0 then 'negative'
    when greatest(
      p_observation.input_tokens, p_observation.cache_creation_5m_tokens,
      p_observation.cache_creation_1h_tokens, p_observation.cache_read_tokens, p_observation.output_tokens,
      p_observation.thinking_tokens, p_observation.web_search_requests, p_observation.message_count
    ) > 1000000000000 then 'too_large'
    when p_observation.thinking_tokens > p_observation.output_tokens then 'thinking_over_output'
    when not coalesce(p_observation.reported_cost_usd between 0 and 1000000000000, true)
      or pg_catalog.scale(p_observation.reported_cost_usd) > 30 then 'not_a_cost'
    when octet_length(p_observation.event_key) > 300
      or octet_length(p_observation.session_id) > 200
      or octet_length(p_observation.project) > 500
      or octet_length(p_observation.model) > 200
      or octet_length(p_observation.place_order) > 300
      or greatest(
        octet_length(p_observation.source), octet_length(p_observation.provider),
        octet_length(p_observation.device), octet_length(p_observation.git_branch),
        octet_length(p_observation.agent_version), octet_length(p_observation.request_id),
        octet_length(p_observation.service_tier), octet_length(p_observation.speed),
        octet_length(p_observation.inference_geo)
      ) > 200
      or p_observation.flags <> '{}' and octet_length(array_to_string(p_observation.flags, ',')) > 200
    then 'label_too_long'
    when p_observation.flags <> '{}' and array_ndims(p_observation.flags) > 1 then 'not_a_list'
    when p_observation.grain not in ('call', 'turn', 'session_delta', 'import') then 'unknown_grain'
  end;
end
$$;
comment on function tallystick.reject_reason(tallystick.observation) is
  'Why an observation cannot be counted, null when it can.';

-- One record by itself, for a batch that could not be read as a whole. A count may be written as an integral number of
-- any spelling (3.0, 3e2) or as an integer in a string. The reason names the first member that is of the wrong kind.
-- What is no member of an observation is not looked at. All but the counts stays json, whose texts are those that the
-- whole batch gives: jsonb writes 1e3 as 1000.
create function tallystick.read_observation(p_record json)
returns tallystick.observation
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_blank tallystick.observation := tallystick.blank_observation();
  v_members jsonb;
  v_counts jsonb := '{}';
  v_name text;
  v_member jsonb;
  v_count numeric;
  v_observation tallystick.observation;
begin
  -- what cannot name its own place is named by its digest: kept once, and without its content
  v_blank.position := 'sha256:' || encode(sha256(convert_to(p_record::text, 'UTF8')), 'hex');
  v_blank.source := 'unknown';
  if json_typeof(p_record) <> 'object' then
    v_blank.reject_reason := 'not_an_object';
    return v_blank;
  end if;
  begin
    select coalesce(jsonb_object_agg(m.key, m.value::jsonb), '{}') into v_members
    from json_each(p_record) as m
    where json_typeof(m.value) <> 'null' and to_jsonb(v_blank) ? m.key;
  exception when data_exception or statement_too_complex then
    -- a place has no blanks, so that no text can be taken for one
    v_blank.source := coalesce(
      substring(p_record::text collate "C" from '"source"\s*:\s*"([!#-\[\]-~]{1,50})"'), v_blank.source
    );
    v_blank.position := coalesce(
      substring(p_record::text collate "C" from '"position"\s*:\s*"([!#-\[\]-~]{1,200})"'), v_blank.position
    );
    v_blank.reject_reason := 'unreadable';
    return v_blank;
  end;
  v_blank.event_key := coalesce(v_members ->> 'event_key', '');
  v_blank.source := left(coalesce(nullif(v_members ->> 'source', ''), 'unknown'), 50);
  v_blank.position := left(coalesce(nullif(v_members ->> 'position', ''), v_blank.position), 500);
  foreach v_name in array array[
    'message_count', 'input_tokens', 'cache_creation_5m_tokens', 'cache_creation_1h_tokens', 'cache_read_tokens',
    'output_tokens', 'thinking_tokens', 'web_search_requests', 'origin_rank'
  ] loop
    v_member := v_members -> v_name;
    continue when v_member is null;
    begin
      v_count := case jsonb_typeof(v_member)
        when 'number' then (v_member #>> '{}')::numeric
        when 'string' then (v_member #>> '{}')::bigint
      end;
    exception
      when numeric_value_out_of_range then
        v_blank.reject_reason := 'too_large';
        return v_blank;
      when data_exception then
        v_count := null;
    end;
    if v_count is null or v_count % 1 <> 0 then
      v_blank.reject_reason := 'not_an_integer';
      return v_blank;
    end if;
    if abs(v_count) > (case v_name when 'origin_rank' then 32767 else 1000000000000 end) then
      v_blank.reject_reason := 'too_large';
      return v_blank;
    end if;
    v_counts := v_counts || jsonb_build_object(v_name, trim_scale(v_count));
  end loop;
  begin
    v_observation := json_populate_record(tallystick.blank_observation(), (
      select json_object_agg(m.key, case when v_counts ? m.key then to_json(v_counts -> m.key) else m.value end)
      from json_each(p_record) as m
      where v_members ? m.key and json_typeof(m.value) <> 'null'
    ));
  exception when data_exception then
    v_blank.reject_reason := case
      when jsonb_typeof(coalesce(v_members -> 'is_final', 'true')) <> 'boolean'
        or jsonb_typeof(coalesce(v_members -> 'is_sidechain', 'true')) <> 'boolean' then 'not_a_boolean'
      when jsonb_typeof(coalesce(v_members -> 'flags', '[]')) <> 'array' or v_members -> 'reported_cost_usd' is null
      then 'not_a_list'
      else 'not_a_cost'
    end;
    return v_blank;
  end;
  v_observation.reject_reason := coalesce(tallystick.reject_reason(v_observation), '');
  if v_observation.reject_reason = '' then
    begin
      perform v_observation.occurred_at::timestamptz;
    exception when data_exception then
      v_observation.reject_reason := 'not_a_time';
    end;
  end if;
  if v_observation.reject_reason <> '' then
    v_observation.source := v_blank.source;
    v_observation.position := v_blank.position;
  end if;
  return v_observation;
end
$$;
comment on function tallystick.read_observation(json) is
  'One record as an observation; with reject_reason set where it cannot be counted.';

-- Reads the whole batch at once, which is several times faster, and record by record only where that fails or where a
-- record is no good. A member given as null counts as left out. The cast of the time stands here so that a bad one is
-- met here.
create function tallystick.read_observations(
  p_events json,
  out observations tallystick.observation[],
  out received integer,
  out rejected integer
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_events json := p_events;
begin
  begin
    if strpos(p_events::text, 'null') > 0 then
      v_events := json_strip_nulls(p_events);
    end if;
    select array_agg(o), count(*),
      count(*) filter (where tallystick.reject_reason(o) is not null or o.occurred_at::timestamptz is null)
      into observations, received, rejected
    from json_populate_recordset(tallystick.blank_observation(), v_events) as o;
    if rejected = 0 then
      return;
    end if;
  exception when data_exception then
    null;
  end;
  select array_agg(o), count(*), count(*) filter (where o.reject_reason <> '')
    into observations, received, rejected
  from json_array_elements(p_events) as r (record)
  cross join lateral tallystick.read_observation(r.record) as o;
end
$$;
comment on function tallystick.read_observations(json) is
  'A JSON list as observations, bad ones with reject_reason set.';

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
