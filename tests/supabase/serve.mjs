// Supabase's own REST and Auth, over a database that exists, on a free port of 127.0.0.1.
//
// It prints the port once it listens and ends when its standard input does, so that it never outlives the tests.

import { serve } from "@hono/node-server";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";

// A JSON argument of a function comes as a text that is JSON already; encoded again it would arrive as a JSON string.
const asJson = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const json = (oid) => ({ to: oid, from: [oid], serialize: asJson, parse: JSON.parse });

// Postgres writes 2026-11-22 17:25:28+00, and supabase-py reads the times of Auth as ISO 8601 only.
const asIso = (text) => text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");

const connection = await createPostgresConnection({
  url: process.env.DATABASE_URL,
  postgresOptions: {
    onnotice: () => {},
    types: {
      json: json(114),
      jsonb: json(3802),
      timestamptz: { to: 1184, from: [1184], serialize: (value) => value, parse: asIso },
    },
  },
});

// Otherwise the first request would grant every table to everybody, and row-level security would be all that is tested.
connection.rlsState = "active";

const app = new App({
  connection,
  auth: {
    enabled: true,
    enable_signup: true,
    email: { enable_confirmations: false },
    jwt_secret: process.env.JWT_SECRET,
    jwt_expiry: 3600,
    publishable_key: process.env.SUPABASE_PUBLISHABLE_KEY,
    secret_key: process.env.SUPABASE_SECRET_KEY,
  },
});

serve(
  {
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, env) => app.fetch(request, { peerAddress: env.incoming.socket.remoteAddress ?? null }),
  },
  (address) => console.log(address.port),
);

process.stdin.on("end", () => process.exit(0)).resume();
