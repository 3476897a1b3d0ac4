-- Reading snapshots, the running totals of sessions, from JSON. What they are is told in 26_snapshots.sql.

create type tallystick.snapshot as (
  place bigint,
  user_id uuid,
  session_id text,
  session_started_at timestamptz,
  last_activity_at timestamptz,
  usage_date date,
  totals tallystick.observation
);
comment on type tallystick.snapshot is
  'The running totals of a session, as upsert_token_usage reads them; their reject_reason is why they cannot count.';

-- Some clients encode JSON twice, and what arrives is a string that holds it. What is no object among the sessions is
-- rejected by itself; in daily_data it could be meant for any of them, and would date it wrongly if it were left out.
create function tallystick.read_json_list(p_data jsonb, p_name text)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_data jsonb := p_data;
begin
  if jsonb_typeof(v_data) = 'string' then
    begin
      v_data := (v_data #>> '{}')::jsonb;
    exception when data_exception or statement_too_complex then
      v_data := null;
    end;
  end if;
  if jsonb_typeof(v_data) = 'object' then
    v_data := jsonb_build_array(v_data);
  end if;
  if jsonb_typeof(v_data) is distinct from 'array'
    or p_name = 'daily_data' and jsonb_path_exists(v_data, 'strict $[*] ? (@.type() != "object")')
  then
    raise exception using errcode = 'PT400', constraint = p_name || '_is_a_list',
      message = pg_catalog.format('%s must be a JSON object or a list of objects', p_name),
      hint = 'Pass {"session_id": ..., ...} as session_data, and {"usage_date": "2026-11-22"} or null as daily_data.';
  end if;
  if jsonb_array_length(v_data) > 1000 then
    raise exception using errcode = 'PT413', constraint = p_name || '_is_at_most_1000',
      message = pg_catalog.format('%s holds at most 1,000 objects', p_name), hint = 'Send them in several calls.';
  end if;
  return v_data;
end
$$;
comment on function tallystick.read_json_list(jsonb, text) is
  'An object or a list, or a string that holds one, as a list; raises PT400 or PT413 elsewhere.';

-- One snapshot by itself, judged as the observation that it is: the session's id stands where an observation has its
-- key. The start takes part only where it is given, and must then be a time; so must the date.
create function tallystick.read_snapshot(p_record jsonb, p_place bigint, p_usage_date text, p_caller uuid)
returns tallystick.snapshot
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_snapshot tallystick.snapshot;
  v_user_id text := nullif(p_record ->> 'user_id', '');
  v_session_id text := nullif(p_record ->> 'session_id', '');
  v_started_at text := nullif(p_record ->> 'session_started_at', '');
  v_last_at text := nullif(p_record ->> 'last_activity_at', '');
  v_source text := coalesce(nullif(p_record ->> 'source', ''), 'snapshot');
  v_totals tallystick.observation;
begin
  v_totals := tallystick.read_observation(case
    when jsonb_typeof(p_record) = 'object' then json_build_object(
      'source', v_source, 'position', coalesce(v_source || ':' || v_session_id, p_record ->> 'position'),
      'event_key', v_session_id, 'reject_reason', p_record -> 'reject_reason',
      'project', p_record -> 'project', 'device', p_record -> 'device', 'agent_version', p_record -> 'agent_version',
      'session_id', v_session_id, 'model', p_record ->> 'model_used', 'grain', 'session_delta', 'is_final', true,
      'occurred_at', coalesce(v_started_at, '2026-01-01T00:00:00Z'),
      'input_tokens', p_record -> 'input_tokens', 'output_tokens', p_record -> 'output_tokens',
      'cache_creation_5m_tokens', p_record -> 'cache_creation_tokens',
      'cache_read_tokens', p_record -> 'cache_read_tokens', 'thinking_tokens', p_record -> 'thinking_tokens',
      'message_count', coalesce(nullif(p_record -> 'message_count', 'null'), '0'),
      'reported_cost_usd', p_record -> 'estimated_cost_usd'
    )
    else p_record::json
  end);
  if jsonb_typeof(p_record) <> 'object' then
    v_totals.source := 'snapshot';
  end if;
  v_snapshot.place := p_place;
  v_snapshot.session_id := left(v_session_id, 200);
  v_snapshot.user_id := p_caller;
  if v_user_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    v_snapshot.user_id := v_user_id::uuid;
  elsif v_user_id is not null then
    v_totals.reject_reason := 'not_a_user';
  elsif p_caller is null then
    v_totals.reject_reason := 'missing_user';
  end if;
  if v_totals.reject_reason = '' and v_last_at is not null then
    v_totals.occurred_at := v_last_at;
    v_totals.reject_reason := coalesce(tallystick.reject_reason(v_totals), '');
  end if;
  if v_totals.reject_reason = '' then
    begin
      v_snapshot.session_started_at := v_started_at::timestamptz;
      v_snapshot.last_activity_at := v_last_at::timestamptz;
      v_snapshot.usage_date := p_usage_date::date;
      if p_usage_date !~ '^\d{4}-\d\d-\d\d$' or left(p_usage_date, 4) in ('0000', '0001', '9999') then
        v_totals.reject_reason := 'not_a_time';
      end if;
    exception when data_exception then
      v_totals.reject_reason := 'not_a_time';
    end;
  end if;
  v_snapshot.totals := v_totals;
  return v_snapshot;
end
$$;
comment on function tallystick.read_snapshot(jsonb, bigint, text, uuid) is
  'One object of session_data, with reject_reason set where it cannot be counted.';

create function tallystick.read_snapshots(p_sessions jsonb, p_daily jsonb, p_caller uuid)
returns tallystick.snapshot[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sessions jsonb := tallystick.read_json_list(p_sessions, 'session_data');
  v_daily jsonb := case
    when coalesce(p_daily, 'null') = 'null' then '[]'
    else tallystick.read_json_list(p_daily, 'daily_data')
  end;
  v_is_paired boolean := jsonb_array_length(v_sessions) = jsonb_array_length(v_daily);
begin
  return array(
    with daily as materialized (
      select lower(nullif(d.entry ->> 'user_id', '')) as user_id, nullif(d.entry ->> 'session_id', '') as session_id,
        d.entry ->> 'usage_date' as usage_date, d.place
      from jsonb_array_elements(v_daily) with ordinality as d (entry, place)
      where d.entry ->> 'usage_date' <> ''
    )
    select tallystick.read_snapshot(s.record, s.place, (
      select d.usage_date from daily as d
      where coalesce(d.user_id = coalesce(lower(nullif(s.record ->> 'user_id', '')), p_caller::text), true)
        and coalesce(d.session_id = s.record ->> 'session_id', true)
      order by d.session_id is null, v_is_paired and d.place = s.place desc, d.usage_date collate "C" desc limit 1
    ), p_caller)
    from jsonb_array_elements(v_sessions) with ordinality as s (record, place)
    order by s.place
  );
end
$$;
comment on function tallystick.read_snapshots(jsonb, jsonb, uuid) is
  'session_data as snapshots, each with its day out of daily_data; null is today.';
