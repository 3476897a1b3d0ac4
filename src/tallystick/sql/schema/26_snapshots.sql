-- A snapshot is what a caller knows of a session at one time who knows nothing of its calls: its running totals.
--
-- What a snapshot holds beyond the session's earlier ones becomes an event of grain session_delta, one per session, day
-- and model; its source is `snapshot`, or the agent that a collector read it from. The next snapshot of that day and
-- model grows it: as an observation with more in it, by the road of all others, so that the same snapshot again is a
-- duplicate and the old state a version.
--
-- session_data is one object or a list of them, of one or of several users:
--   user_id (left out: p_user_id, else the caller), session_id, model_used, session_started_at, input_tokens,
--   output_tokens (thinking included), cache_creation_tokens (counted as written for five minutes), cache_read_tokens,
--   thinking_tokens, message_count, estimated_cost_usd; and what collectors know beside: source (left out: snapshot),
--   project, device, agent_version, last_activity_at
--
-- * Day: the usage_date of the entry that fits the session. An entry fits that names the user and the session or leaves
--   them out. Of several, those that name the session go first, then, of two lists of one length, the one at the same
--   place, then the latest date. Where none fits: the day of
--   last_activity_at, else today, in the zone of the account.
-- * Counts: one that is left out is 0. Where one is less than what the session's snapshots have brought so far, the
--   snapshot is rejected as totals_shrank; whoever counts from 0 again takes another session_id. So the total of a
--   session does not depend on the order in which snapshots arrive, but how it lies on the days does. A delta with more
--   thinking than output is rejected as thinking_over_output, and is in the next totals.
-- * Time: on the first day of a session its start, moved to the nearest time of that day; else its last activity, else
--   noon, before noon of today now, or just after what the day has of the session already.
-- * Cost: ours where the model has a price, else what estimated_cost_usd says beyond the other deltas of the session.
--   An estimate is no count: one that fell takes back what the delta itself has, and no more; left out, it is unknown.
--   Where no count grew, a higher estimate raises a delta of that day and model, and makes none.
-- * A delta that a person corrected stays as it is. What the snapshots had brought is known from its versions, and what
--   they bring from then on goes to another delta beside it.
--
-- Sessions whose calls the ledger also knows from elsewhere are counted twice, and `tally doctor` names them.

-- The beginning of the keys of a session's deltas, by which they are found again whatever a correction or another zone
-- makes of their labels. No session's is the beginning of another's: an id that holds a colon, which ends it, stands as
-- its digest, and so does one that could be taken for a digest, or would make the key too long. So do sources.
create function tallystick.key_part(p_label text, p_max_bytes integer)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when strpos(p_label, ':') > 0 or p_label like 'sha256-%' or octet_length(p_label) > p_max_bytes
    then 'sha256-' || encode(sha256(convert_to(p_label, 'UTF8')), 'hex')
    else p_label
  end;
end
$$;
comment on function tallystick.key_part(text, integer) is 'A label as a part of a key that ends with a colon.';

create function tallystick.delta_prefix(p_source text, p_session_id text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_source = 'snapshot' then 'snapshot:' || tallystick.key_part(p_session_id, 200)
    else 'snapshot/' || tallystick.key_part(p_source, 40) || ':' || tallystick.key_part(p_session_id, 100)
  end || ':';
end
$$;
comment on function tallystick.delta_prefix(text, text) is 'What the event keys of a session''s deltas begin with.';

-- The day and the model are in the key to be read; a model that would make it too long stands as its digest. Where a
-- correction or a move to another zone left that key to a delta that does not count for the day any more, the next one
-- is numbered.
create function tallystick.delta_key(
  p_deltas public.token_usage_events[], p_source text, p_session_id text, p_usage_date date, p_model text
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.event_key
  from generate_series(1, cardinality(p_deltas) + 1) as n (number)
  cross join lateral (
    select tallystick.delta_prefix(p_source, p_session_id) || to_char(p_usage_date::timestamp, 'YYYY-MM-DD') || ':'
      || case
        when octet_length(p_model) > 70 then 'sha256-' || encode(sha256(convert_to(p_model, 'UTF8')), 'hex')
        else p_model
      end
      || case when n.number > 1 then '~' || n.number else '' end as event_key
  ) as k
  where k.event_key <> all (select d.event_key from unnest(p_deltas) as d)
  order by n.number limit 1
$$;
comment on function tallystick.delta_key(public.token_usage_events[], text, text, date, text) is
  'The key of a new delta: snapshot:<session>:<day>:<model>, or snapshot/<source>:<session>:<day>:<model>.';

-- A time that a day does not have, where clocks are put forward at midnight, would be a time of another day.
create function tallystick.delta_time(
  p_deltas public.token_usage_events[], p_started_at timestamptz, p_last_activity_at timestamptz, p_usage_date date,
  p_time_zone text
)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := tallystick.current_time();
  v_noon timestamptz := (p_usage_date + time '12:00') at time zone p_time_zone;
  v_time timestamptz;
begin
  if v_noon > v_now and (v_now at time zone p_time_zone)::date = p_usage_date then
    v_noon := v_now;
  end if;
  if p_started_at is null or exists (select from unnest(p_deltas) as d where d.usage_date <= p_usage_date) then
    select greatest(
      case
        when (p_last_activity_at at time zone p_time_zone)::date = p_usage_date then p_last_activity_at
        else v_noon
      end,
      max(d.occurred_at) + interval '1 microsecond'
    ) into v_time
    from unnest(p_deltas) as d where d.usage_date = p_usage_date;
  elsif (p_started_at at time zone p_time_zone)::date = p_usage_date then
    v_time := p_started_at;
  elsif p_started_at < v_noon then
    v_time := p_usage_date::timestamp at time zone p_time_zone;
  else
    v_time := (p_usage_date + time '23:59:59.999999') at time zone p_time_zone;
  end if;
  return case when (v_time at time zone p_time_zone)::date = p_usage_date then v_time else v_noon end;
end
$$;
comment on function tallystick.delta_time(public.token_usage_events[], timestamptz, timestamptz, date, text) is
  'When a new delta of that day has happened, as far as anybody knows.';

-- A corrected delta counts as its first correction found it.
create function tallystick.session_deltas(p_user_id uuid, p_source text, p_session_id text)
returns public.token_usage_events[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_prefix text := tallystick.delta_prefix(p_source, p_session_id);
  -- the sign that follows the colon
  v_end text := left(v_prefix, -1) || ';';
begin
  return array(
    select case when v.event is null then e else jsonb_populate_record(e, v.event - 'is_corrected') end
    from public.token_usage_events as e
    left join lateral (
      select o.event from public.token_usage_event_versions as o
      where o.user_id = p_user_id and o.event_key = e.event_key and o.reason = 'corrected'
      order by o.version limit 1
    ) as v on e.is_corrected
    where e.user_id = p_user_id and e.event_key > v_prefix and e.event_key < v_end
  );
end
$$;
comment on function tallystick.session_deltas(uuid, text, text) is
  'What the snapshots of a session have brought so far.';

create function tallystick.next_delta(
  p_deltas public.token_usage_events[], p_snapshot tallystick.snapshot, p_time_zone text,
  out delta public.token_usage_events, out reject_reason text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_totals tallystick.observation := p_snapshot.totals;
  v_day date := coalesce(
    p_snapshot.usage_date,
    (coalesce(p_snapshot.last_activity_at, tallystick.current_time()) at time zone p_time_zone)::date
  );
  v_more record;
  v_delta public.token_usage_events;
begin
  -- a zone that moves to the other side of the date line leaves a day out, whose noon is of the next one
  v_day := ((v_day + time '12:00') at time zone p_time_zone at time zone p_time_zone)::date;
  select v_totals.input_tokens - coalesce(sum(d.input_tokens), 0) as input_tokens,
    v_totals.output_tokens - coalesce(sum(d.output_tokens), 0) as output_tokens,
    v_totals.cache_creation_5m_tokens - coalesce(sum(d.cache_creation_5m_tokens), 0) as cache_creation_tokens,
    v_totals.cache_read_tokens - coalesce(sum(d.cache_read_tokens), 0) as cache_read_tokens,
    v_totals.thinking_tokens - coalesce(sum(d.thinking_tokens), 0) as thinking_tokens,
    v_totals.message_count - coalesce(sum(d.message_count), 0) as message_count,
    v_totals.reported_cost_usd - coalesce(sum(d.reported_cost_usd), 0) as cost_usd
    into v_more
  from unnest(p_deltas) as d;
  if least(v_more.input_tokens, v_more.output_tokens, v_more.cache_creation_tokens, v_more.cache_read_tokens,
      v_more.thinking_tokens, v_more.message_count) < 0
  then
    reject_reason := 'totals_shrank';
    return;
  end if;
  select d.* into v_delta from unnest(p_deltas) as d
  where not d.is_corrected and d.usage_date = v_day and d.model = v_totals.model
  order by d.occurred_at desc, d.event_key desc limit 1;
  if greatest(v_more.input_tokens, v_more.output_tokens, v_more.cache_creation_tokens, v_more.cache_read_tokens,
      v_more.thinking_tokens, v_more.message_count) = 0
    and (v_delta.event_key is null or not coalesce(v_more.cost_usd > 0, false))
  then
    return;
  end if;
  if v_delta.event_key is null then
    v_delta := jsonb_populate_record(v_delta, to_jsonb(tallystick.blank_observation()) - 'occurred_at');
    v_delta.event_key := tallystick.delta_key(
      p_deltas, v_totals.source, v_totals.session_id, v_day, v_totals.model
    );
    v_delta.occurred_at := tallystick.delta_time(
      p_deltas, p_snapshot.session_started_at, p_snapshot.last_activity_at, v_day, p_time_zone
    );
    v_delta.usage_date := v_day;
    v_delta.source := v_totals.source;
    v_delta.session_id := v_totals.session_id;
    v_delta.model := v_totals.model;
    v_delta.project := v_totals.project;
    v_delta.device := v_totals.device;
    v_delta.agent_version := v_totals.agent_version;
    v_delta.grain := v_totals.grain;
    v_delta.is_final := v_totals.is_final;
    v_delta.is_corrected := false;
    v_delta.message_count := 0;
  end if;
  v_delta.input_tokens := v_delta.input_tokens + v_more.input_tokens;
  v_delta.output_tokens := v_delta.output_tokens + v_more.output_tokens;
  v_delta.cache_creation_5m_tokens := v_delta.cache_creation_5m_tokens + v_more.cache_creation_tokens;
  v_delta.cache_read_tokens := v_delta.cache_read_tokens + v_more.cache_read_tokens;
  v_delta.thinking_tokens := v_delta.thinking_tokens + v_more.thinking_tokens;
  v_delta.message_count := v_delta.message_count + v_more.message_count;
  v_delta.reported_cost_usd := case
    when v_more.cost_usd is not null then greatest(coalesce(v_delta.reported_cost_usd, 0) + v_more.cost_usd, 0)
  end;
  if v_delta.thinking_tokens > v_delta.output_tokens then
    reject_reason := 'thinking_over_output';
  else
    delta := v_delta;
  end if;
end
$$;
comment on function tallystick.next_delta(public.token_usage_events[], tallystick.snapshot, text) is
  'The delta that a snapshot makes or grows, null where it brings nothing, or why it is rejected.';

-- Snapshots of one user in the order of their sources and sessions; one session's follow upon each other also within a
-- call.
create function tallystick.take_snapshots(
  p_user_id uuid, p_snapshots tallystick.snapshot[], out receipt jsonb, out rejected tallystick.snapshot[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_time_zone text;
  v_snapshot tallystick.snapshot;
  v_source text;
  v_session_id text;
  v_deltas public.token_usage_events[];
  v_next record;
  v_changed public.token_usage_events[] := '{}';
begin
  v_time_zone := tallystick.lock_account(p_user_id);
  rejected := '{}';
  foreach v_snapshot in array p_snapshots loop
    if (v_snapshot.totals).reject_reason = '' then
      if (v_snapshot.session_id, (v_snapshot.totals).source) is distinct from (v_session_id, v_source) then
        v_session_id := v_snapshot.session_id;
        v_source := (v_snapshot.totals).source;
        v_deltas := tallystick.session_deltas(p_user_id, v_source, v_session_id);
      end if;
      v_next := tallystick.next_delta(v_deltas, v_snapshot, v_time_zone);
      if v_next.reject_reason is not null then
        v_snapshot.totals := jsonb_populate_record(
          v_snapshot.totals, jsonb_build_object('reject_reason', v_next.reject_reason)
        );
      elsif (v_next.delta).event_key is not null then
        v_changed := v_changed || v_next.delta;
        v_deltas := array(select d from unnest(v_deltas) as d where d.event_key <> (v_next.delta).event_key)
          || v_next.delta;
      end if;
    end if;
    if (v_snapshot.totals).reject_reason <> '' then
      rejected := rejected || v_snapshot;
    end if;
  end loop;
  perform tallystick.keep_rejects(p_user_id, array(select s.totals from unnest(rejected) as s));
  receipt := tallystick.take_events(p_user_id, v_time_zone, to_json(v_changed));
end
$$;
comment on function tallystick.take_snapshots(uuid, tallystick.snapshot[]) is
  'Takes the snapshots of one user in; answers the receipt of the deltas, and which were rejected.';

-- One user after another in the order of their ids, so that no two calls ever wait for each other. What is nobody's has
-- no books to be kept in, and is told in the answer alone; a person who is nobody is refused.
create function tallystick.upsert_token_usage(session_data jsonb, daily_data jsonb, p_caller uuid)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_snapshots tallystick.snapshot[] := tallystick.read_snapshots(session_data, daily_data, p_caller);
  v_rejected tallystick.snapshot[] := array(select s from unnest(v_snapshots) as s where s.user_id is null);
  v_user_id uuid;
  v_taken record;
  v_new integer := 0;
  v_revised integer := 0;
  v_unpriced integer := 0;
begin
  for v_user_id in
    select distinct s.user_id from unnest(v_snapshots) as s
    where s.user_id is not null or current_setting('role', true) = 'authenticated'
    order by s.user_id
  loop
    perform tallystick.check_caller(v_user_id);
    v_taken := tallystick.take_snapshots(v_user_id, array(
      select s from unnest(v_snapshots) as s where s.user_id = v_user_id
      order by (s.totals).source collate "C", s.session_id collate "C", s.place
    ));
    v_new := v_new + (v_taken.receipt ->> 'new')::integer;
    v_revised := v_revised + (v_taken.receipt ->> 'revised')::integer;
    v_unpriced := v_unpriced + (v_taken.receipt ->> 'unpriced')::integer;
    v_rejected := v_rejected || v_taken.rejected;
  end loop;
  return jsonb_build_object(
    'received', cardinality(v_snapshots), 'new', v_new, 'revised', v_revised,
    'duplicate', cardinality(v_snapshots) - cardinality(v_rejected) - v_new - v_revised,
    'rejected', cardinality(v_rejected), 'unpriced', v_unpriced,
    'rejects', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'user_id', s.user_id, 'session_id', s.session_id, 'reason', (s.totals).reject_reason
      ) order by s.place), '[]')
      from unnest(v_rejected) as s
    )
  );
end
$$;
comment on function tallystick.upsert_token_usage(jsonb, jsonb, uuid) is 'Body of public.upsert_token_usage.';
revoke all on function tallystick.upsert_token_usage(jsonb, jsonb, uuid) from public, anon, authenticated;
grant execute on function tallystick.upsert_token_usage(jsonb, jsonb, uuid) to authenticated, service_role;

create function public.upsert_token_usage(
  session_data jsonb, daily_data jsonb default null, p_user_id uuid default null
)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.upsert_token_usage(session_data, daily_data, coalesce(p_user_id, auth.uid()))
$$;
comment on function public.upsert_token_usage(jsonb, jsonb, uuid) is
  'Takes the running totals of sessions in, an object or a list; answers {received, new, revised, duplicate, rejected, '
  'unpriced, rejects}. What they grew by goes to the usage_date of daily_data. Sending the same again changes nothing. '
  'Sessions that name no user are those of p_user_id, else of who is signed in.';
revoke all on function public.upsert_token_usage(jsonb, jsonb, uuid) from public, anon, authenticated;
grant execute on function public.upsert_token_usage(jsonb, jsonb, uuid) to authenticated, service_role;
