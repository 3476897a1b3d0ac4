-- Observations: reading them from JSON, and telling those that cannot be counted.

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
