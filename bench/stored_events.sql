-- Fills a ledger with years of books faster than taking them in would: events by generate_series, and the totals that
-- the ledger itself expects of them. verify_token_usage() finds nothing wrong with the outcome.
create schema if not exists bench;

-- One user's events of the 365 days up to 2026-11-19. Every session lies within a day and a project and has two models,
-- so that p_session_count sessions are twice as many rows of token_usage_by_session_day.
create or replace function bench.store_events(p_user_id uuid, p_event_count integer, p_session_count integer)
returns void
language sql
set search_path = ''
as $$
  insert into public.token_usage_accounts (user_id, time_zone, created_at)
  values (p_user_id, 'UTC', '2025-11-20 00:00:00+00');

  insert into public.token_usage_events (
    user_id, event_key, occurred_at, recorded_at, usage_date, source, provider, model, session_id, project, device,
    git_branch, agent_version, is_sidechain, request_id, service_tier, speed, inference_geo, grain, message_count,
    input_tokens, cache_creation_5m_tokens, cache_creation_1h_tokens, cache_read_tokens, output_tokens,
    thinking_tokens, web_search_requests, cost_usd, cost_basis, price_id, reported_cost_usd, flags, is_final,
    origin_rank, place_order, is_corrected
  )
  select p_user_id, 'anthropic:msg_01' || substr(md5(p_user_id::text || e.number), 1, 22), t.occurred_at,
    t.occurred_at, l.occurred_at::date, 'claude-code', 'anthropic',
    (array['claude-opus-4-6', 'claude-sonnet-4-5-20250929', 'claude-haiku-4-5-20251001', 'claude-opus-4-5-20251101',
      'claude-sonnet-4-20250514'])[1 + (s.number + e.number % 2) % 5],
    md5(p_user_id::text || 'session' || s.number)::uuid::text, '/home/dev/work/project-' || s.number % 12, 'laptop',
    'main', '2.1.280', false, 'req_011C' || substr(md5('request' || e.number), 1, 20), 'standard', 'standard', '',
    'call', 1, 1 + e.number % 12, 0, 200 + e.number % 3000, 20000 + e.number % 90000, 50 + e.number % 900, 0, 0,
    (e.number % 1000) * 0.0001, 'reported', null, (e.number % 1000) * 0.0001, '{}', true, 2,
    'main:' || e.number, false
  from generate_series(0, p_event_count - 1) as e (number)
  cross join lateral (select (e.number::bigint * p_session_count / p_event_count)::integer as number) as s
  cross join lateral (
    select timestamp '2025-11-20' + interval '1 day' * (s.number::bigint * 365 / p_session_count)
      + interval '1 minute' * (s.number * 37 % 1320) + interval '1 second' * (e.number % 5000) as occurred_at
  ) as l
  cross join lateral (select l.occurred_at at time zone 'UTC' as occurred_at) as t;

  insert into public.token_usage_by_session_day
  select * from tallystick.expected_by_session_day(p_user_id);

  insert into public.token_usage_by_day
  select * from tallystick.expected_by_day(p_user_id);

  insert into public.token_usage_daily
  select d.*, '2026-11-20 00:00:00+00' from tallystick.expected_daily(p_user_id) as d;

  insert into public.token_usage_sessions (
    user_id, source, session_id, input_tokens, output_tokens, cache_creation_tokens, cache_read_tokens,
    thinking_tokens, web_search_requests, message_count, event_count, unpriced_event_count, estimated_cost_usd,
    session_started_at, last_activity_at, last_event_key, model_used, project, device, last_updated_at
  )
  select s.*, '2026-11-20 00:00:00+00' from tallystick.expected_sessions(p_user_id) as s;
$$;

-- One new event after the other, each committed, timed by the server's own clock: what a call costs without its way
-- there and back. The answer is in milliseconds.
create table if not exists bench.call_times (duration_ms double precision not null);

create or replace procedure bench.time_single_events(p_user_id uuid, p_call_count integer)
language plpgsql
as $$
declare
  v_durations double precision[] := '{}';
  v_events json;
  v_started_at timestamptz;
begin
  for v_number in 1 .. p_call_count loop
    v_events := json_build_array(json_build_object(
      'event_key', 'anthropic:msg_02' || substr(md5(p_call_count || 'single' || v_number), 1, 22),
      'occurred_at', to_char(timestamp '2026-11-19 12:00:00' + interval '1 second' * v_number,
        'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'source', 'claude-code', 'provider', 'anthropic',
      'model', 'claude-opus-4-6', 'session_id', 'live-session', 'project', '/home/dev/work/project-1',
      'device', 'laptop', 'git_branch', 'main', 'agent_version', '2.1.280', 'request_id', 'req_' || v_number,
      'input_tokens', 4, 'cache_creation_1h_tokens', 900, 'cache_read_tokens', 60000, 'output_tokens', 300,
      'is_final', true, 'place_order', 'main:' || v_number
    ));
    v_started_at := clock_timestamp();
    perform public.ingest_token_usage(p_user_id, v_events);
    commit;
    v_durations := v_durations || extract(epoch from clock_timestamp() - v_started_at)::double precision * 1000;
  end loop;
  insert into bench.call_times select unnest(v_durations);
end
$$;
