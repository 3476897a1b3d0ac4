-- What is done to whole books: pricing them again, correcting and forgetting.

-- Prices one slice of events, in the order of their keys, at what is known now. The caller commits and goes on from
-- next_key, so that the books of a million calls are never locked for a minute. p_from and p_to are inclusive days.
create function tallystick.rerate_token_usage(p_user_id uuid, p_from date, p_to date, p_after text, p_limit integer)
returns table (
  examined bigint, changed bigint, old_cost_usd numeric, new_cost_usd numeric, unpriced bigint, next_key text
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_slice public.token_usage_events[];
  v_changes tallystick.event_change[];
begin
  perform tallystick.check_caller(p_user_id);
  perform tallystick.check_service_caller();
  if p_limit is null or p_limit not between 1 and 100000 then
    raise exception using errcode = 'PT400', constraint = 'slice_is_1_to_100000',
      message = 'a slice is 1 to 100,000 events', hint = 'Leave p_limit out.';
  end if;
  perform tallystick.lock_account(p_user_id);
  v_slice := array(
    select e from public.token_usage_events as e
    where e.user_id = p_user_id and e.event_key > coalesce(p_after, '')
      and (p_from is null or e.usage_date >= p_from) and (p_to is null or e.usage_date <= p_to)
    order by e.event_key limit p_limit
  );
  select array_agg(row(s.e, s.priced)::tallystick.event_change order by (s.e).event_key) into v_changes
  from (
    select e, tallystick.price_event(e) as priced from unnest(v_slice) as e offset 0
  ) as s
  where ((s.e).cost_usd, (s.e).cost_basis, (s.e).price_id)
    is distinct from ((s.priced).cost_usd, (s.priced).cost_basis, (s.priced).price_id);
  if v_changes is not null then
    perform tallystick.apply_changes(p_user_id, v_changes, 'rerated');
  end if;
  return query
  select cardinality(v_slice)::bigint, coalesce(cardinality(v_changes), 0)::bigint,
    (select coalesce(sum((c.old_event).cost_usd), 0) from unnest(v_changes) as c),
    (select coalesce(sum((c.new_event).cost_usd), 0) from unnest(v_changes) as c),
    (
      select count(*) from public.token_usage_events as e
      where e.user_id = p_user_id and e.cost_usd is null
        and e.event_key = any (select (s).event_key from unnest(v_slice) as s)
    ),
    case when cardinality(v_slice) = p_limit then v_slice[p_limit].event_key end;
end
$$;
comment on function tallystick.rerate_token_usage(uuid, date, date, text, integer) is
  'Body of public.rerate_token_usage.';
revoke all on function tallystick.rerate_token_usage(uuid, date, date, text, integer) from public, anon, authenticated;
grant execute on function tallystick.rerate_token_usage(uuid, date, date, text, integer) to service_role;

create function public.rerate_token_usage(
  p_user_id uuid, p_from date default null, p_to date default null, p_after text default null,
  p_limit integer default 20000
)
returns table (
  examined bigint, changed bigint, old_cost_usd numeric, new_cost_usd numeric, unpriced bigint, next_key text
)
language sql
set search_path = pg_catalog, pg_temp
as $$
  select * from tallystick.rerate_token_usage(p_user_id, p_from, p_to, p_after, p_limit)
$$;
comment on function public.rerate_token_usage(uuid, date, date, text, integer) is
  'Prices one slice of events again at the dated prices now known, keeping the old costs as versions; call again '
  'with p_after = next_key until it is null.';
revoke all on function public.rerate_token_usage(uuid, date, date, text, integer) from public, anon, authenticated;
grant execute on function public.rerate_token_usage(uuid, date, date, text, integer) to service_role;

-- A correction names members of an event and their true values. It outranks every observation from then on.
create function tallystick.correct_token_usage(p_user_id uuid, p_corrections jsonb)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
as $$
declare
  v_time_zone text;
  v_correction jsonb;
  v_unknown text;
  v_event public.token_usage_events;
  v_observation tallystick.observation;
  v_corrected public.token_usage_events;
  v_changes tallystick.event_change[] := '{}';
  v_count integer := 0;
begin
  perform tallystick.check_caller(p_user_id);
  perform tallystick.check_service_caller();
  if p_corrections is null or jsonb_typeof(p_corrections) <> 'array' or jsonb_array_length(p_corrections) > 1000
    or jsonb_path_exists(p_corrections, 'strict $[*] ? (@.type() != "object")') then
    raise exception using errcode = 'PT400', constraint = 'corrections_are_a_list',
      message = 'corrections must be a JSON list of at most 1,000 objects', hint = 'Pass [{"event_key": ..., ...}].';
  end if;
  v_time_zone := tallystick.lock_account(p_user_id);
  for v_correction in
    select c from jsonb_array_elements(p_corrections) as c
  loop
    v_count := v_count + 1;
    select min(k) into v_unknown from jsonb_object_keys(v_correction) as k where k <> all (array[
      'event_key', 'occurred_at', 'provider', 'model', 'session_id', 'project', 'device', 'git_branch',
      'service_tier', 'speed', 'inference_geo', 'message_count', 'input_tokens', 'cache_creation_5m_tokens',
      'cache_creation_1h_tokens', 'cache_read_tokens', 'output_tokens', 'thinking_tokens', 'web_search_requests',
      'reported_cost_usd'
    ]);
    if v_unknown is not null then
      raise exception using errcode = 'PT400', constraint = 'correction_is_of_a_member',
        message = pg_catalog.format('%s cannot be corrected', v_unknown),
        hint = 'A correction may set counts, the time, the model, its price context and labels.';
    end if;
    select e.* into v_event from public.token_usage_events as e
    where e.user_id = p_user_id and e.event_key = v_correction ->> 'event_key';
    if v_event.event_key is null then
      raise exception using errcode = 'PT404', constraint = 'corrected_event_exists',
        message = pg_catalog.format('no event %s', v_correction ->> 'event_key'),
        hint = 'Look the event key up in token_usage_events.';
    end if;
    -- the same reader and judge as for an observation: what it would reject, a person may not set either
    v_observation := tallystick.read_observation((to_jsonb(v_event) || v_correction)::json);
    if v_observation.reject_reason <> '' then
      raise exception using errcode = 'PT400', constraint = 'correction_is_valid',
        message = pg_catalog.format(
          'the correction of %s is no good: %s', v_event.event_key, v_observation.reject_reason
        ),
        hint = 'Nothing was changed.';
    end if;
    v_corrected := jsonb_populate_record(v_event, (
      select jsonb_object_agg(m.key, m.value) from jsonb_each(to_jsonb(v_observation)) as m
      where v_correction ? m.key
    ));
    v_corrected.flags := tallystick.event_flags(
      v_event.flags,
      v_event.flags,
      greatest(
        v_corrected.input_tokens, v_corrected.cache_creation_5m_tokens, v_corrected.cache_creation_1h_tokens,
        v_corrected.cache_read_tokens, v_corrected.output_tokens
      ),
      v_corrected.occurred_at,
      tallystick.current_time()
    );
    v_corrected.usage_date := (v_corrected.occurred_at at time zone v_time_zone)::date;
    v_corrected.is_corrected := true;
    v_changes := v_changes || row(v_event, tallystick.price_event(v_corrected))::tallystick.event_change;
  end loop;
  if (select count(distinct (c.old_event).event_key) from unnest(v_changes) as c) < v_count then
    raise exception using errcode = 'PT400', constraint = 'corrections_name_an_event_once',
      message = 'two corrections name the same event', hint = 'Put both into one.';
  end if;
  if v_count > 0 then
    perform tallystick.apply_changes(p_user_id, v_changes, 'corrected');
  end if;
  return jsonb_build_object(
    'received', v_count, 'new', 0, 'revised', v_count, 'duplicate', 0, 'rejected', 0, 'unpriced', 0
  );
end
$$;
comment on function tallystick.correct_token_usage(uuid, jsonb) is 'Body of public.correct_token_usage.';
revoke all on function tallystick.correct_token_usage(uuid, jsonb) from public, anon, authenticated;
grant execute on function tallystick.correct_token_usage(uuid, jsonb) to service_role;

create function public.correct_token_usage(p_user_id uuid, p_corrections jsonb)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.correct_token_usage(p_user_id, p_corrections)
$$;
comment on function public.correct_token_usage(uuid, jsonb) is
  'Sets members of events by hand, a JSON list of {event_key, ...}; no later observation changes them. Old states '
  'are kept.';
revoke all on function public.correct_token_usage(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.correct_token_usage(uuid, jsonb) to service_role;

-- Erases one slice of a user's books, or of one project's. Rejects name places and not projects, and limits are of no
-- project, so they go with the whole books only. The user's API keys stay, as the account does: they are credentials
-- and no usage.
create function tallystick.forget_token_usage(p_user_id uuid, p_project text, p_limit integer)
returns table (events bigint, versions bigint, rejects bigint, sessions bigint, days bigint, more boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_changes tallystick.event_change[];
  v_before record;
  v_versions bigint;
  v_rejects bigint := 0;
begin
  perform tallystick.check_caller(p_user_id);
  if p_limit is null or p_limit not between 1 and 100000 then
    raise exception using errcode = 'PT400', constraint = 'slice_is_1_to_100000',
      message = 'a slice is 1 to 100,000 events', hint = 'Leave p_limit out.';
  end if;
  perform tallystick.lock_account(p_user_id);
  select (select count(*) from public.token_usage_sessions as s where s.user_id = p_user_id) as sessions,
    (select count(*) from public.token_usage_daily as d where d.user_id = p_user_id) as days into v_before;
  v_changes := array(
    select row(e, null)::tallystick.event_change from public.token_usage_events as e
    where e.user_id = p_user_id and (p_project is null or e.project = p_project)
    order by e.event_key limit p_limit
  );
  select count(*) into v_versions from public.token_usage_event_versions as v
  where v.user_id = p_user_id and v.event_key = any (select (c.old_event).event_key from unnest(v_changes) as c);
  if cardinality(v_changes) > 0 then
    perform tallystick.apply_changes(p_user_id, v_changes, 'forgotten');
  end if;
  if cardinality(v_changes) < p_limit and p_project is null then
    delete from public.token_usage_rejects as r where r.user_id = p_user_id;
    get diagnostics v_rejects = row_count;
    delete from public.token_usage_prices as p where p.user_id = p_user_id;
    delete from public.token_usage_limits as l where l.user_id = p_user_id;
  end if;
  return query
  select cardinality(v_changes)::bigint, v_versions, v_rejects,
    v_before.sessions - (select count(*) from public.token_usage_sessions as s where s.user_id = p_user_id),
    v_before.days - (select count(*) from public.token_usage_daily as d where d.user_id = p_user_id),
    cardinality(v_changes) = p_limit;
end
$$;
comment on function tallystick.forget_token_usage(uuid, text, integer) is 'Body of public.forget_token_usage.';
revoke all on function tallystick.forget_token_usage(uuid, text, integer) from public, anon, authenticated;
grant execute on function tallystick.forget_token_usage(uuid, text, integer) to authenticated, service_role;

create function public.forget_token_usage(
  p_user_id uuid default null, p_project text default null, p_limit integer default 20000
)
returns table (events bigint, versions bigint, rejects bigint, sessions bigint, days bigint, more boolean)
language sql
set search_path = pg_catalog, pg_temp
as $$
  select * from tallystick.forget_token_usage(coalesce(p_user_id, auth.uid()), p_project, p_limit)
$$;
comment on function public.forget_token_usage(uuid, text, integer) is
  'Erases one slice of a user''s books, or of one project''s, and says what went; call again while more is true.';
revoke all on function public.forget_token_usage(uuid, text, integer) from public, anon, authenticated;
grant execute on function public.forget_token_usage(uuid, text, integer) to authenticated, service_role;
