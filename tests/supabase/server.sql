-- The roles of a server of hosted Supabase with their limits. Run once by the superuser, who is never `postgres` there.
create role anon;
create role authenticated;
create role service_role bypassrls;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';

create role authenticator login noinherit password 'for-the-tests';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
grant anon, authenticated, service_role to authenticator;
-- the API's stand-in finds only those tables that its login may read; a request reads what its own role may
grant pg_read_all_data to authenticator with inherit true;

create role postgres login createdb createrole replication bypassrls password 'for-the-tests';
alter role postgres set search_path = "$user", public, extensions;
grant anon, authenticated, service_role to postgres with admin option;
