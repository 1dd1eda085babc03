// Prints what a browser downloads, as gzip, and fails when it is more than allowed. Reads what `make web` built.
import { readdir, readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const STATIC = new URL("../src/isotherm/view/static/", import.meta.url);
const KB = 1_000;

async function gzipped(...names) {
  const bodies = await Promise.all(names.map((name) => readFile(new URL(name, STATIC))));
  return bodies.reduce((sum, body) => sum + gzipSync(body, { level: 9 }).length, 0);
}

async function dashboardFiles() {
  const names = await readdir(new URL("dashboard/assets/", STATIC));
  return names.filter((name) => /\.(js|css)$/.test(name)).map((name) => `dashboard/assets/${name}`);
}

const gates = [
  { what: "browser SDK (isotherm.js)", bytes: await gzipped("sdk/isotherm.js"), limit: 6_000 },
  { what: "dashboard (all JS and CSS)", bytes: await gzipped(...(await dashboardFiles())), limit: 150 * KB },
];
for (const { what, bytes, limit } of gates) {
  const verdict = bytes <= limit ? "ok" : "TOO LARGE";
  process.stdout.write(
    `${what}: ${bytes.toLocaleString("en")} of ${limit.toLocaleString("en")} bytes gzip, ${verdict}\n`,
  );
}
if (gates.some(({ bytes, limit }) => bytes > limit)) process.exit(1);
