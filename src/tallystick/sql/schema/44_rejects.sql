-- What could not be counted, in few lines.

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
set search_path = ''
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
set search_path = ''
as $$
  select r.* from tallystick.usage_rejects(coalesce(p_user_id, auth.uid())) as r
$$;
comment on function public.usage_rejects is
  'The records that could not be counted: how many by source and reason, since when, and where one of them stands.';
revoke all on function public.usage_rejects from public, anon, authenticated;
grant execute on function public.usage_rejects to authenticated, service_role;
