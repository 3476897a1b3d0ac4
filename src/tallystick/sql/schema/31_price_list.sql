-- The price list: reading prices from JSON, and appending what is new of them.

create function tallystick.price_digest(p_price public.token_usage_prices)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return encode(sha256(convert_to(jsonb_build_array(
    p_price.provider, p_price.model, extract(epoch from p_price.valid_from),
    trim_scale(p_price.input_usd_per_mtok), trim_scale(p_price.output_usd_per_mtok),
    trim_scale(p_price.cache_read_usd_per_mtok), trim_scale(p_price.cache_creation_5m_usd_per_mtok),
    trim_scale(p_price.cache_creation_1h_usd_per_mtok), p_price.long_context_threshold_tokens,
    trim_scale(p_price.long_input_usd_per_mtok), trim_scale(p_price.long_output_usd_per_mtok),
    trim_scale(p_price.long_cache_read_usd_per_mtok), trim_scale(p_price.long_cache_creation_5m_usd_per_mtok),
    trim_scale(p_price.long_cache_creation_1h_usd_per_mtok), trim_scale(p_price.batch_multiplier),
    trim_scale(p_price.flex_multiplier), trim_scale(p_price.priority_multiplier),
    trim_scale(p_price.fast_multiplier), trim_scale(p_price.us_multiplier),
    trim_scale(p_price.web_search_usd)
  )::text, 'UTF8')), 'hex');
end
$$;
comment on function tallystick.price_digest(public.token_usage_prices) is
  'The sha256 of what a price says, whoever says it and whenever.';
revoke all on function tallystick.price_digest(public.token_usage_prices)
  from public, anon, authenticated, service_role;

-- A price is added where it says something else than the one that stands for the same owner, model and date. Of several
-- in one list only the last can stand; the others are not added, or sending the list again would add them again.
-- Writers take turns, so that two who send the same list at once add it once; readers do not wait. In p_prices,
-- price_id is the place in the list.
create function tallystick.append_prices(
  p_user_id uuid, p_prices public.token_usage_prices[], out received bigint, out added bigint, out unchanged bigint
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  lock table public.token_usage_prices in share row exclusive mode;
  insert into public.token_usage_prices overriding user value
  select r.*
  from (
    select distinct on (p.provider, p.model, p.valid_from) p as price, tallystick.price_digest(p) as digest
    from unnest(p_prices) as p
    order by p.provider, p.model, p.valid_from, p.price_id desc
  ) as n
  left join (
    select distinct on (t.provider, t.model, t.valid_from) t.provider, t.model, t.valid_from, t.digest
    from public.token_usage_prices as t
    where t.user_id = p_user_id or (p_user_id is null and t.user_id is null)
    order by t.provider, t.model, t.valid_from, t.price_id desc
  ) as stands
    on stands.provider = (n.price).provider and stands.model = (n.price).model
    and stands.valid_from = (n.price).valid_from
  cross join lateral jsonb_populate_record(n.price, jsonb_build_object(
    'user_id', p_user_id, 'digest', n.digest, 'recorded_at', tallystick.current_time()
  )) as r
  where n.digest is distinct from stands.digest
  order by (n.price).price_id;
  get diagnostics added = row_count;
  received := cardinality(p_prices);
  unchanged := received - added;
end
$$;
comment on function tallystick.append_prices(uuid, public.token_usage_prices[]) is
  'Adds prices for a user, or for everybody where the user is null; what already stands is left alone.';
revoke all on function tallystick.append_prices(uuid, public.token_usage_prices[])
  from public, anon, authenticated, service_role;

create function tallystick.refuse_price(p_rule text, p_place bigint, p_message text, p_hint text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = 'PT400', constraint = p_rule,
    message = pg_catalog.format('price %s: %s', p_place, p_message), hint = p_hint;
end
$$;
comment on function tallystick.refuse_price(text, bigint, text, text) is
  'Raises PT400: which price of the list is refused, by what rule and why.';
revoke all on function tallystick.refuse_price(text, bigint, text, text) from public, anon, authenticated, service_role;

-- Numbers come as JSON numbers or, since a client may turn those into floats, as digits in a string. The bounds leave
-- no room for NaN, and none for a rate whose product with any count would not be a sum of money.
create function tallystick.read_price_number(p_members jsonb, p_name text, p_place bigint)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := p_members ->> p_name;
begin
  if v_text is null then
    return null;
  end if;
  if p_name = 'long_context_threshold_tokens' and v_text !~ '^[1-9]\d{0,8}$' then
    perform tallystick.refuse_price(
      'prices_threshold_is_a_count', p_place, pg_catalog.format('%s is not a number of tokens', p_name),
      'Leave it out where every request has the same rates.'
    );
  end if;
  if jsonb_typeof(p_members -> p_name) not in ('number', 'string') or v_text !~ '^\d{1,7}(\.\d{1,20})?$' then
    perform tallystick.refuse_price(
      'prices_numbers_are_plain', p_place, pg_catalog.format('%s is not a plain number of dollars', p_name),
      'Write digits with at most 20 decimals, as "0.0375".'
    );
  end if;
  return trim_scale(v_text::numeric);
end
$$;
comment on function tallystick.read_price_number(jsonb, text, bigint) is
  'One number of a price in JSON; null where absent.';
revoke all on function tallystick.read_price_number(jsonb, text, bigint)
  from public, anon, authenticated, service_role;

create function tallystick.read_price_time(p_members jsonb, p_place bigint)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := p_members ->> 'valid_from';
begin
  if v_text ~ '^\d{4}-\d\d-\d\d$' then
    v_text := v_text || 'T00:00:00Z';
  end if;
  if v_text ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$' then
    begin
      return v_text::timestamptz;
    exception when data_exception then
      null;
    end;
  end if;
  perform tallystick.refuse_price(
    'prices_valid_from_is_a_time', p_place, 'valid_from is not a date or a time with its offset',
    'Write "2026-11-22" for midnight UTC, or "2026-11-22T08:00:00Z"; "1970-01-01" means from the beginning.'
  );
end
$$;
comment on function tallystick.read_price_time(jsonb, bigint) is 'Since when a price in JSON holds.';
revoke all on function tallystick.read_price_time(jsonb, bigint) from public, anon, authenticated, service_role;

-- What must hold between the members of a price. A price that knows long-context rates knows all of those that it knows
-- for short ones: half a table would be completed with the wrong half.
create function tallystick.check_price(p_price public.token_usage_prices, p_place bigint)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(p_price.model, '') = '' or p_price.provider is null
    or greatest(octet_length(p_price.provider), octet_length(p_price.model), octet_length(p_price.origin)) > 200 then
    perform tallystick.refuse_price(
      'prices_name_a_model', p_place, 'provider and model must be given, in at most 200 bytes each, as must origin',
      'Provider "" is for calls whose provider is not known.'
    );
  end if;
  if p_price.input_usd_per_mtok is null or p_price.output_usd_per_mtok is null then
    perform tallystick.refuse_price(
      'prices_have_rates', p_place, 'input_usd_per_mtok and output_usd_per_mtok must be given',
      'Write 0 only where it is free.'
    );
  end if;
  if (
    p_price.long_input_usd_per_mtok is null, p_price.long_output_usd_per_mtok is null,
    p_price.long_cache_read_usd_per_mtok is null, p_price.long_cache_creation_5m_usd_per_mtok is null,
    p_price.long_cache_creation_1h_usd_per_mtok is null
  ) is distinct from (
    p_price.long_context_threshold_tokens is null, p_price.long_context_threshold_tokens is null,
    p_price.long_context_threshold_tokens is null or p_price.cache_read_usd_per_mtok is null,
    p_price.long_context_threshold_tokens is null or p_price.cache_creation_5m_usd_per_mtok is null,
    p_price.long_context_threshold_tokens is null or p_price.cache_creation_1h_usd_per_mtok is null
  ) then
    perform tallystick.refuse_price(
      'prices_have_all_long_rates_or_none', p_place, 'the long-context rates are not complete',
      'With a threshold, give long_input_usd_per_mtok, long_output_usd_per_mtok and a long cache rate for each cache '
        'rate given; without one, give none.'
    );
  end if;
  if least(
    p_price.batch_multiplier, p_price.flex_multiplier, p_price.priority_multiplier, p_price.fast_multiplier,
    p_price.us_multiplier
  ) <= 0 then
    perform tallystick.refuse_price(
      'prices_multipliers_are_positive', p_place, 'a multiplier must be more than 0',
      'Leave a multiplier out where the price in that context is not known: such calls stay unpriced.'
    );
  end if;
end
$$;
comment on function tallystick.check_price(public.token_usage_prices, bigint) is
  'Raises PT400 where the members of a price do not go together.';
revoke all on function tallystick.check_price(public.token_usage_prices, bigint)
  from public, anon, authenticated, service_role;

-- A cache rate that is left out is the next more general one, as in genai-prices: reads and writes cost what uncached
-- input costs, and writes for an hour cost what writes for five minutes cost.
create function tallystick.read_price(p_members jsonb, p_place bigint)
returns public.token_usage_prices
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_texts text[] := '{provider,model,valid_from,origin}';
  v_numbers text[] := array[
    'input_usd_per_mtok', 'output_usd_per_mtok', 'cache_read_usd_per_mtok', 'cache_creation_5m_usd_per_mtok',
    'cache_creation_1h_usd_per_mtok', 'long_context_threshold_tokens', 'long_input_usd_per_mtok',
    'long_output_usd_per_mtok', 'long_cache_read_usd_per_mtok', 'long_cache_creation_5m_usd_per_mtok',
    'long_cache_creation_1h_usd_per_mtok', 'batch_multiplier', 'flex_multiplier', 'priority_multiplier',
    'fast_multiplier', 'us_multiplier', 'web_search_usd'
  ];
  v_strange text;
  v_name text;
  v_figures jsonb := '{}';
  v_price public.token_usage_prices;
begin
  if jsonb_typeof(p_members) <> 'object' then
    perform tallystick.refuse_price(
      'prices_are_objects', p_place, 'it is not a JSON object', 'Give each price as an object of named members.'
    );
  end if;
  select string_agg(k, ', ' order by k) into v_strange
  from jsonb_object_keys(p_members) as k where k <> all (v_texts || v_numbers);
  if v_strange is not null then
    perform tallystick.refuse_price(
      'prices_have_known_members', p_place, pg_catalog.format('unknown members: %s', left(v_strange, 200)),
      pg_catalog.format('A price has %s.', array_to_string(v_texts || v_numbers, ', '))
    );
  end if;
  foreach v_name in array v_numbers loop
    v_figures := v_figures
      || jsonb_build_object(v_name, tallystick.read_price_number(p_members, v_name, p_place));
  end loop;
  v_price := jsonb_populate_record(null::public.token_usage_prices, v_figures);
  v_price.price_id := p_place;
  v_price.provider := tallystick.price_provider(p_members ->> 'provider');
  v_price.model := tallystick.price_model(p_members ->> 'model');
  v_price.valid_from := tallystick.read_price_time(p_members, p_place);
  v_price.origin := coalesce(p_members ->> 'origin', 'own');
  v_price.us_multiplier := coalesce(v_price.us_multiplier, 1);
  v_price.web_search_usd := coalesce(v_price.web_search_usd, 0);
  perform tallystick.check_price(v_price, p_place);
  v_price.cache_read_usd_per_mtok := coalesce(v_price.cache_read_usd_per_mtok, v_price.input_usd_per_mtok);
  v_price.cache_creation_5m_usd_per_mtok :=
    coalesce(v_price.cache_creation_5m_usd_per_mtok, v_price.input_usd_per_mtok);
  v_price.cache_creation_1h_usd_per_mtok :=
    coalesce(v_price.cache_creation_1h_usd_per_mtok, v_price.cache_creation_5m_usd_per_mtok);
  v_price.long_cache_read_usd_per_mtok :=
    coalesce(v_price.long_cache_read_usd_per_mtok, v_price.long_input_usd_per_mtok);
  v_price.long_cache_creation_5m_usd_per_mtok :=
    coalesce(v_price.long_cache_creation_5m_usd_per_mtok, v_price.long_input_usd_per_mtok);
  v_price.long_cache_creation_1h_usd_per_mtok :=
    coalesce(v_price.long_cache_creation_1h_usd_per_mtok, v_price.long_cache_creation_5m_usd_per_mtok);
  return v_price;
end
$$;
comment on function tallystick.read_price(jsonb, bigint) is
  'One price in JSON as a row; raises PT400 where it is no good.';
revoke all on function tallystick.read_price(jsonb, bigint) from public, anon, authenticated, service_role;

create function tallystick.add_token_prices(p_prices jsonb, p_user_id uuid)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_receipt record;
begin
  if p_user_id is null then
    perform tallystick.check_service_caller();
  else
    perform tallystick.check_caller(p_user_id);
  end if;
  if jsonb_typeof(p_prices) is distinct from 'array' then
    raise exception using errcode = 'PT400', constraint = 'prices_are_a_list',
      message = 'prices must be a JSON list', hint = 'Pass a list of prices, also for a single one.';
  end if;
  if jsonb_array_length(p_prices) > 10000 then
    raise exception using errcode = 'PT413', constraint = 'prices_are_at_most_10000',
      message = 'one call takes at most 10,000 prices', hint = 'Send them in several calls.';
  end if;
  v_receipt := tallystick.append_prices(p_user_id, array(
    select tallystick.read_price(e.members, e.place)
    from jsonb_array_elements(p_prices) with ordinality as e (members, place) order by e.place
  ));
  return to_jsonb(v_receipt);
end
$$;
comment on function tallystick.add_token_prices(jsonb, uuid) is 'Body of public.add_token_prices.';
revoke all on function tallystick.add_token_prices(jsonb, uuid) from public, anon, authenticated, service_role;
grant execute on function tallystick.add_token_prices(jsonb, uuid) to authenticated, service_role;

create function public.add_token_prices(p_prices jsonb, p_user_id uuid default null)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.add_token_prices(p_prices, p_user_id)
$$;
comment on function public.add_token_prices(jsonb, uuid) is
  'Adds dated prices, a user''s own or with the service role everybody''s; answers {received, added, unchanged}. '
  'Past costs stay as they are until somebody re-rates.';
revoke all on function public.add_token_prices(jsonb, uuid) from public, anon, authenticated, service_role;
grant execute on function public.add_token_prices(jsonb, uuid) to authenticated, service_role;
