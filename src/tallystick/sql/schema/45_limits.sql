-- Limits: what a provider itself says of its plan, how much of a window is used and when the window ends.
--
-- An agent is told so with nearly every answer, mostly the same again, by several sessions and machines at once, and
-- its transcripts say it again whenever they are read. So a row is not a telling but a state: of one window, one whole
-- percent, with the first and the last time it was told. Rows merge by the least, the greatest and the latest, so that
-- order and repetition make no difference, and a window costs a hundred rows however often it is told.
--
-- A window is known by its end. The end is told with a second or two of difference, so it counts to the minute; where
-- it is not told it is 'infinity', and the figure holds for one window from when it was last told, for five hours where
-- the length is not told either.

create table public.token_usage_limits (
  user_id uuid not null,
  source text collate "C" not null,
  limit_name text collate "C" not null,
  resets_at timestamptz not null,
  whole_percent integer not null,
  used_percent numeric not null,
  window_minutes integer not null,
  device text collate "C" not null,
  first_observed_at timestamptz not null,
  last_observed_at timestamptz not null,
  constraint token_usage_limits_pkey primary key (user_id, source, limit_name, resets_at, whole_percent),
  constraint limits_percent_is_0_to_1000 check (used_percent between 0 and 1000),
  constraint limits_whole_percent_is_the_figures check (whole_percent = floor(used_percent)),
  constraint limits_window_not_negative check (window_minutes >= 0),
  constraint limits_first_is_not_after_last check (first_observed_at <= last_observed_at)
);
comment on table public.token_usage_limits is
  'What providers said of their plans'' limits: one row per window and whole percent. No part of the books'' sums.';
comment on column public.token_usage_limits.source is 'Which agent was told: claude-code, codex, ...';
comment on column public.token_usage_limits.limit_name is
  'five_hour, seven_day or <n>_minutes; with the provider''s own name and a colon before it where there are several.';
comment on column public.token_usage_limits.resets_at is 'When the window ends, to the minute; infinity where unknown.';
comment on column public.token_usage_limits.whole_percent is 'The whole percents of used_percent.';
comment on column public.token_usage_limits.used_percent is
  'How much of the window is used, to a hundredth: of the figures with these whole percents, the latest.';
comment on column public.token_usage_limits.window_minutes is 'How long the window is; 0 where unknown.';
comment on column public.token_usage_limits.device is 'The machine that told it last.';
comment on column public.token_usage_limits.first_observed_at is 'When it was first told.';
comment on column public.token_usage_limits.last_observed_at is 'When it was last told.';

create index limits_by_end on public.token_usage_limits (user_id, resets_at);
comment on index public.limits_by_end is 'The windows that have not ended yet.';

create type public.usage_limit_row as (
  source text,
  limit_name text,
  used_percent numeric,
  window_minutes integer,
  resets_at timestamptz,
  observed_at timestamptz
);
comment on type public.usage_limit_row is 'What a provider said last of one limit of its plan.';

create type tallystick.limit_observation as (
  used_percent numeric,
  window_minutes integer,
  resets_at timestamptz,
  observed_at timestamptz,
  labels tallystick.observation
);
comment on type tallystick.limit_observation is
  'One telling of a limit, as observe_usage_limits reads it; the reject_reason of its labels is why it cannot count.';

-- One telling by itself, its labels and times judged as those of an observation: the limit's name stands where that has
-- its key. A clock that is wrong by more than a day is not taken, because what it tells would be the latest for long.
create function tallystick.read_limit(p_record jsonb)
returns tallystick.limit_observation
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit tallystick.limit_observation;
  v_labels tallystick.observation;
  v_percent jsonb := p_record -> 'used_percent';
  v_window jsonb := coalesce(nullif(p_record -> 'window_minutes', 'null'), '0');
  v_resets_at text := nullif(p_record ->> 'resets_at', '');
begin
  v_labels := tallystick.read_observation(case
    when jsonb_typeof(p_record) = 'object' then json_build_object(
      'source', p_record -> 'source', 'event_key', p_record -> 'limit_name', 'session_id', p_record -> 'limit_name',
      'device', p_record -> 'device', 'occurred_at', p_record -> 'observed_at',
      'position', (p_record ->> 'source') || ':' || (p_record ->> 'limit_name')
    )
    else p_record::json
  end);
  if v_labels.reject_reason = '' then
    v_limit.observed_at := v_labels.occurred_at::timestamptz;
    if v_resets_at is not null then
      v_labels.occurred_at := v_resets_at;
      v_labels.reject_reason := coalesce(tallystick.reject_reason(v_labels), '');
    end if;
  elsif v_labels.reject_reason = 'missing_key' then
    v_labels.reject_reason := 'missing_limit_name';
  end if;
  if v_labels.reject_reason = '' then
    begin
      v_limit.resets_at := coalesce(
        date_trunc('minute', v_resets_at::timestamptz + interval '30 seconds', 'UTC'), 'infinity'
      );
    exception when data_exception then
      v_labels.reject_reason := 'not_a_time';
    end;
  end if;
  if v_labels.reject_reason = '' then
    v_limit.used_percent := case
      when jsonb_typeof(v_percent) = 'number' or (v_percent #>> '{}') ~ '^\d{1,4}(\.\d{1,30})?$'
      then trim_scale(round((v_percent #>> '{}')::numeric, 2))
    end;
    v_limit.window_minutes := case
      when jsonb_typeof(v_window) = 'number' and v_window between '0' and '1000000' and v_window::numeric % 1 = 0
      then v_window::integer
    end;
    v_labels.reject_reason := case
      when not coalesce(v_limit.used_percent between 0 and 1000, false) then 'not_a_percent'
      when v_limit.window_minutes is null then 'not_a_window'
      when v_limit.observed_at not between '2023-01-01Z' and tallystick.current_time() + interval '1 day'
        or v_limit.resets_at < '2023-01-01Z'
        or v_limit.resets_at < 'infinity' and v_limit.resets_at > v_limit.observed_at + interval '400 days'
      then 'implausible_time'
      else ''
    end;
  end if;
  v_limit.labels := v_labels;
  return v_limit;
end
$$;
comment on function tallystick.read_limit(jsonb) is
  'One telling of a limit, with a reject_reason in its labels where it cannot count.';

-- Answers how many rows are new. A row that an insert has just made was locked by nobody yet, so its xmax is 0.
create function tallystick.keep_limits(p_user_id uuid, p_limits tallystick.limit_observation[])
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  with told as (
    select (l.labels).source, (l.labels).event_key as limit_name, l.resets_at, floor(l.used_percent) as whole_percent,
      l.used_percent, l.window_minutes, (l.labels).device, l.observed_at
    from unnest(p_limits) as l
    where (l.labels).reject_reason = ''
  ),
  kept as (
    insert into public.token_usage_limits as k
    select distinct on (t.source, t.limit_name, t.resets_at, t.whole_percent)
      p_user_id, t.source, t.limit_name, t.resets_at, t.whole_percent, t.used_percent, t.window_minutes, t.device,
      min(t.observed_at) over (partition by t.source, t.limit_name, t.resets_at, t.whole_percent), t.observed_at
    from told as t
    order by t.source, t.limit_name, t.resets_at, t.whole_percent, t.observed_at desc, t.used_percent desc,
      t.window_minutes desc, t.device collate "C" desc
    on conflict on constraint token_usage_limits_pkey do update set
      first_observed_at = least(k.first_observed_at, excluded.first_observed_at),
      (last_observed_at, used_percent, window_minutes, device) = (
        select later.*
        from (values
          (k.last_observed_at, k.used_percent, k.window_minutes, k.device),
          (excluded.last_observed_at, excluded.used_percent, excluded.window_minutes, excluded.device)
        ) as later
        order by 1 desc, 2 desc, 3 desc, 4 desc
        limit 1
      )
    where excluded.first_observed_at < k.first_observed_at
      or (excluded.last_observed_at, excluded.used_percent, excluded.window_minutes, excluded.device)
        > (k.last_observed_at, k.used_percent, k.window_minutes, k.device)
    returning k.xmax = 0 as is_new
  )
  select count(*) filter (where kept.is_new)::integer from kept
$$;
comment on function tallystick.keep_limits(uuid, tallystick.limit_observation[]) is
  'Merges what was told of a user''s limits with what is known; answers how many rows that made.';

create function tallystick.observe_usage_limits(p_user_id uuid, p_limits jsonb)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_limits tallystick.limit_observation[];
  v_rejected tallystick.observation[];
  v_new integer;
begin
  perform tallystick.check_caller(p_user_id);
  if p_limits is null or jsonb_typeof(p_limits) <> 'array' then
    raise exception using errcode = 'PT400', constraint = 'limits_are_a_list',
      message = 'limits must be a JSON list', hint = 'Pass [{"source": ..., "limit_name": ..., ...}].';
  end if;
  if jsonb_array_length(p_limits) > 1000 then
    raise exception using errcode = 'PT413', constraint = 'limits_are_at_most_1000',
      message = 'limits holds at most 1,000 objects', hint = 'Send them in several calls.';
  end if;
  perform tallystick.lock_account(p_user_id);
  v_limits := array(
    select tallystick.read_limit(l.record)
    from jsonb_array_elements(p_limits) with ordinality as l (record, place)
    order by l.place
  );
  v_rejected := array(select l.labels from unnest(v_limits) as l where (l.labels).reject_reason <> '');
  v_new := tallystick.keep_limits(p_user_id, v_limits);
  perform tallystick.keep_rejects(p_user_id, v_rejected);
  return jsonb_build_object(
    'received', cardinality(v_limits), 'new', v_new,
    'duplicate', cardinality(v_limits) - v_new - cardinality(v_rejected), 'rejected', cardinality(v_rejected),
    'rejects', coalesce(tallystick.told_rejects(array(select l.labels from unnest(v_limits) as l)), '[]')
  );
end
$$;
comment on function tallystick.observe_usage_limits(uuid, jsonb) is 'Body of public.observe_usage_limits.';
revoke all on function tallystick.observe_usage_limits(uuid, jsonb) from public, anon, authenticated;
grant execute on function tallystick.observe_usage_limits(uuid, jsonb) to authenticated, service_role;

create function public.observe_usage_limits(p_user_id uuid, p_limits jsonb)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.observe_usage_limits(p_user_id, p_limits)
$$;
comment on function public.observe_usage_limits(uuid, jsonb) is
  'Takes in what a provider said of its limits, a JSON list of {source, limit_name, used_percent, window_minutes, '
  'resets_at, observed_at, device}; answers {received, new, duplicate, rejected, rejects}, of which rejects are the '
  'first 20 {record_index, event_key, position, reason}, with the name of a limit as event_key. '
  'Sending the same again changes nothing.';
revoke all on function public.observe_usage_limits(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.observe_usage_limits(uuid, jsonb) to authenticated, service_role;

create function tallystick.usage_limits(p_user_id uuid)
returns setof public.usage_limit_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := tallystick.current_time();
begin
  perform tallystick.check_caller(p_user_id);
  return query
  select distinct on (l.source, l.limit_name) l.source::text, l.limit_name::text, l.used_percent,
    nullif(l.window_minutes, 0), nullif(l.resets_at, 'infinity'), l.last_observed_at
  from public.token_usage_limits as l
  where l.user_id = p_user_id and l.resets_at > v_now
    and (
      l.resets_at < 'infinity'
      or l.last_observed_at + interval '1 minute' * coalesce(nullif(l.window_minutes, 0), 300) > v_now
    )
  order by l.source, l.limit_name, l.last_observed_at desc, l.resets_at desc, l.whole_percent desc;
end
$$;
comment on function tallystick.usage_limits(uuid) is 'Body of public.usage_limits.';
revoke all on function tallystick.usage_limits(uuid) from public, anon, authenticated;
grant execute on function tallystick.usage_limits(uuid) to authenticated, service_role;

create function public.usage_limits(p_user_id uuid default null)
returns setof public.usage_limit_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_limits(coalesce(p_user_id, auth.uid())) as r
$$;
comment on function public.usage_limits(uuid) is
  'What providers said last of the limits of their plans; a window that has ended is left out.';
revoke all on function public.usage_limits(uuid) from public, anon, authenticated;
grant execute on function public.usage_limits(uuid) to authenticated, service_role;
