-- What hosted Supabase provides and plain Postgres does not: the API roles, and auth.uid(). Never a migration; safe to
-- run again, and does nothing where the roles and the functions stand already.
do $$
begin
  if to_regrole('anon') is null then
    create role anon nologin noinherit;
  end if;
  if to_regrole('authenticated') is null then
    create role authenticated nologin noinherit;
  end if;
  if to_regrole('service_role') is null then
    create role service_role nologin noinherit bypassrls;
  end if;
exception
  -- another ledger of the same server made them in this moment
  when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
  if to_regprocedure('auth.uid()') is not null then
    return;
  end if;
  create schema if not exists auth;
  create function auth.uid()
  returns uuid
  language sql
  stable
  set search_path = pg_catalog, pg_temp
  as $body$
    select coalesce(
      nullif(current_setting('request.jwt.claim.sub', true), ''),
      nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
    )::uuid
  $body$;
  comment on function auth.uid() is 'The user of this request, from the claims that the gateway has set.';
end
$$;

grant usage on schema auth to anon, authenticated, service_role;
grant execute on function auth.uid() to anon, authenticated, service_role;
grant usage on schema public to anon, authenticated, service_role;
