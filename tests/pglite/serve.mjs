// Postgres 17 in this process, on a port of 127.0.0.1 that it prints; it ends when its input does.
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

// There is one session behind all connections. A second one is let in because it may come before the first one's end.
const server = new PGLiteSocketServer({ db: await PGlite.create(), host: "127.0.0.1", port: 0, maxConnections: 2 });
await server.start();
console.log(server.getServerConn());
process.stdin.on("end", () => process.exit()).resume();
