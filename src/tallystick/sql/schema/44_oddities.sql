-- What could not be counted, in few lines, and what counts twice.

create type public.usage_reject_row as (
  source text,
  reason text,
  record_count bigint,
  first_seen_at timestamptz,
  last_seen_at timestamptz,
  position text
);
comment on type public.usage_reject_row is
  'How many records of a source could not be counted for one reason, and where one of them stands.';

create function tallystick.usage_rejects(p_user_id uuid)
returns setof public.usage_reject_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_caller(p_user_id);
  return query
  select r.source::text, r.reason::text, count(*), min(r.first_seen_at), max(r.last_seen_at), min(r.position)::text
  from public.token_usage_rejects as r
  where r.user_id = p_user_id
  group by r.source, r.reason
  order by r.source, r.reason;
end
$$;
comment on function tallystick.usage_rejects is 'Body of public.usage_rejects.';
revoke all on function tallystick.usage_rejects from public, anon, authenticated;
grant execute on function tallystick.usage_rejects to authenticated, service_role;

create function public.usage_rejects(p_user_id uuid default null)
returns setof public.usage_reject_row
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select r.* from tallystick.usage_rejects(coalesce(p_user_id, auth.uid())) as r
$$;
comment on function public.usage_rejects is
  'The records that could not be counted: how many by source and reason, since when, and where one of them stands.';
revoke all on function public.usage_rejects from public, anon, authenticated;
grant execute on function public.usage_rejects to authenticated, service_role;

create function tallystick.usage_double_sessions(p_user_id uuid)
returns table (session_id text, other_source text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_caller(p_user_id);
  return query
  select s.session_id::text, o.source::text
  from public.token_usage_sessions as s
  join public.token_usage_sessions as o on o.user_id = s.user_id and o.session_id = s.session_id
  where s.user_id = p_user_id and s.source = 'snapshot' and o.source <> 'snapshot'
  order by s.session_id, o.source;
end
$$;
comment on function tallystick.usage_double_sessions is 'Body of public.usage_double_sessions.';
revoke all on function tallystick.usage_double_sessions from public, anon, authenticated;
grant execute on function tallystick.usage_double_sessions to authenticated, service_role;

create function public.usage_double_sessions(p_user_id uuid default null)
returns table (session_id text, other_source text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select d.session_id, d.other_source from tallystick.usage_double_sessions(coalesce(p_user_id, auth.uid())) as d
$$;
comment on function public.usage_double_sessions is
  'Sessions that the ledger holds from snapshots and from another source as well: their usage counts twice.';
revoke all on function public.usage_double_sessions from public, anon, authenticated;
grant execute on function public.usage_double_sessions to authenticated, service_role;
