-- A user's account: making it, naming the ledger, and moving the days to another time zone.

create function tallystick.check_time_zone(p_time_zone text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- `at time zone` itself takes much more: UTC+3 for three hours west, abbreviations, any case
  -- what stands there for another name means something else on another machine
  if p_time_zone in ('localtime', 'posixrules', 'Factory') or p_time_zone ~ '^(posix|right)/'
    or not exists (select from pg_catalog.pg_timezone_names as z where z.name = p_time_zone)
  then
    raise exception using errcode = 'PT400', constraint = 'time_zone_is_known',
      message = pg_catalog.format('unknown time zone %L', p_time_zone),
      hint = 'Use an IANA name such as Europe/Berlin.';
  end if;
end
$$;
comment on function tallystick.check_time_zone(text) is
  'Raises PT400 unless it is exactly a name of pg_timezone_names.';

create function tallystick.ledger_state(p_user_id uuid)
returns table (ledger_id uuid, receipt_count bigint, time_zone text, last_migration text, user_id uuid)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_caller(p_user_id);
  return query
  select l.ledger_id, coalesce(a.receipt_count, 0), a.time_zone, (select max(m.name) from tallystick.migrations as m),
    p_user_id
  from tallystick.ledger as l
  left join public.token_usage_accounts as a on a.user_id = p_user_id;
end
$$;
comment on function tallystick.ledger_state(uuid) is 'Body of public.ledger_state.';
revoke all on function tallystick.ledger_state(uuid) from public, anon, authenticated;
grant execute on function tallystick.ledger_state(uuid) to authenticated, service_role;

create function public.ledger_state(p_user_id uuid default null)
returns table (ledger_id uuid, receipt_count bigint, time_zone text, last_migration text, user_id uuid)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from tallystick.ledger_state(coalesce(p_user_id, auth.uid()))
$$;
comment on function public.ledger_state(uuid) is
  'The identity of the ledger, how many batches of this user it holds, the user''s time zone and the schema''s '
  'version.';
revoke all on function public.ledger_state(uuid) from public, anon, authenticated;
grant execute on function public.ledger_state(uuid) to authenticated, service_role;

create function tallystick.renew_ledger_id()
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ledger_id uuid;
begin
  perform tallystick.check_service_caller();
  update tallystick.ledger set ledger_id = pg_catalog.gen_random_uuid() where true returning ledger_id into v_ledger_id;
  return v_ledger_id;
end
$$;
comment on function tallystick.renew_ledger_id() is 'Body of public.renew_ledger_id.';
revoke all on function tallystick.renew_ledger_id() from public, anon, authenticated;
grant execute on function tallystick.renew_ledger_id() to service_role;

create function public.renew_ledger_id()
returns uuid
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.renew_ledger_id()
$$;
comment on function public.renew_ledger_id() is
  'Gives the ledger a new identity, as after a restore, so that every checkpoint made with the old one is void.';
revoke all on function public.renew_ledger_id() from public, anon, authenticated;
grant execute on function public.renew_ledger_id() to service_role;

create function tallystick.only_account()
returns uuid
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_service_caller();
  return (
    select case when count(*) = 1 then (array_agg(a.user_id))[1] end
    from (select o.user_id from public.token_usage_accounts as o limit 2) as a
  );
end
$$;
comment on function tallystick.only_account() is 'Body of public.only_account.';
revoke all on function tallystick.only_account() from public, anon, authenticated;
grant execute on function tallystick.only_account() to service_role;

create function public.only_account()
returns uuid
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.only_account()
$$;
comment on function public.only_account() is
  'The user of the only account of this ledger; null where there is none or more than one.';
revoke all on function public.only_account() from public, anon, authenticated;
grant execute on function public.only_account() to service_role;

create function tallystick.make_account(p_user_id uuid, p_time_zone text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_caller(p_user_id);
  perform tallystick.check_time_zone(p_time_zone);
  insert into public.token_usage_accounts (user_id, time_zone, created_at)
  values (p_user_id, p_time_zone, tallystick.current_time()) on conflict do nothing;
end
$$;
comment on function tallystick.make_account(uuid, text) is 'Body of public.make_account.';
revoke all on function tallystick.make_account(uuid, text) from public, anon, authenticated;
grant execute on function tallystick.make_account(uuid, text) to authenticated, service_role;

create function public.make_account(p_user_id uuid, p_time_zone text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.make_account(p_user_id, p_time_zone)
$$;
comment on function public.make_account(uuid, text) is
  'Makes the account of a user, in a time zone; does nothing where it stands.';
revoke all on function public.make_account(uuid, text) from public, anon, authenticated;
grant execute on function public.make_account(uuid, text) to authenticated, service_role;

-- The days are built from the events again, for all rows of the user at once: this is the one place besides move_totals
-- that writes rollups, because a difference per event would be the whole ledger twice.
create function tallystick.set_time_zone(p_user_id uuid, p_time_zone text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  perform tallystick.check_caller(p_user_id);
  perform tallystick.check_time_zone(p_time_zone);
  perform tallystick.lock_account(p_user_id);
  update public.token_usage_accounts as a set time_zone = p_time_zone where a.user_id = p_user_id;

  update public.token_usage_events as e set usage_date = (e.occurred_at at time zone p_time_zone)::date
  where e.user_id = p_user_id and e.usage_date <> (e.occurred_at at time zone p_time_zone)::date;

  delete from public.token_usage_by_session_day as d where d.user_id = p_user_id;
  delete from public.token_usage_by_day as d where d.user_id = p_user_id;
  delete from public.token_usage_daily as d where d.user_id = p_user_id;
  insert into public.token_usage_by_session_day select * from tallystick.expected_by_session_day(p_user_id);
  insert into public.token_usage_by_day select * from tallystick.expected_by_day(p_user_id);
  insert into public.token_usage_daily
  select d.*, tallystick.current_time() from tallystick.expected_daily(p_user_id) as d;
end
$$;
comment on function tallystick.set_time_zone(uuid, text) is 'Body of public.set_time_zone.';
revoke all on function tallystick.set_time_zone(uuid, text) from public, anon, authenticated;
grant execute on function tallystick.set_time_zone(uuid, text) to authenticated, service_role;

create function public.set_time_zone(p_user_id uuid, p_time_zone text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.set_time_zone(p_user_id, p_time_zone)
$$;
comment on function public.set_time_zone(uuid, text) is
  'Sets the zone in which the user''s days are kept, an exact name of pg_timezone_names, and rebuilds the days.';
revoke all on function public.set_time_zone(uuid, text) from public, anon, authenticated;
grant execute on function public.set_time_zone(uuid, text) to authenticated, service_role;
