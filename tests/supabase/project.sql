-- What a new project holds before anybody touches it, as far as a ledger can notice. Schema auth and its tables stand
-- already, made by Supabase's own code; nothing of it belongs to `postgres`, and neither does the schema.
grant usage on schema public to anon, authenticated, service_role;

create schema extensions;
grant usage on schema extensions to postgres, anon, authenticated, service_role;
create extension pg_stat_statements with schema extensions;

create function auth.uid()
returns uuid
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
  )::uuid
$$;
create function auth.role()
returns text
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
  )
$$;
create function auth.jwt()
returns jsonb
language sql
stable
as $$
  select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$$;
grant usage on schema auth to postgres, anon, authenticated, service_role;

-- The API's stand-in logs in once for REST and for Auth, which has a role of its own on Supabase.
grant usage on schema auth to authenticator;
grant all on all tables in schema auth to authenticator;
