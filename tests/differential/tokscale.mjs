// What tokscale's own core reads in each home that is named, as one list of calls for each.
import { createRequire } from "node:module";

const { parseLocalSources } = createRequire(import.meta.url)("@tokscale/core-linux-x64-gnu");
const read = process.argv.slice(2).map((homeDir) => parseLocalSources({ homeDir }).messages);
process.stdout.write(JSON.stringify(read));
