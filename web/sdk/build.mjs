// Builds isotherm.js (script tag), isotherm.mjs (import) and isotherm.d.ts into dist/ and into the Python package;
// prints their sizes and fails when the script is over its limit.
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

const LIMIT = 6000;
const here = import.meta.dirname;
const dist = join(here, 'dist');
const served = join(here, '../../src/isotherm/view/static/sdk');
const { version } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));

async function bundle(entry, format, name) {
  const made = await rolldown({
    input: join(here, 'src', entry),
    tsconfig: false,
    transform: { target: 'es2022', define: { SDK_VERSION: JSON.stringify(version) } },
  });
  await made.write({ format, file: join(dist, name), minify: true, comments: false });
  await made.close();
}

await bundle('tag.ts', 'iife', 'isotherm.js');
await bundle('api.ts', 'esm', 'isotherm.mjs');
copyFileSync(join(here, 'isotherm.d.ts'), join(dist, 'isotherm.d.ts'));

mkdirSync(served, { recursive: true });
for (const name of ['isotherm.js', 'isotherm.mjs', 'isotherm.d.ts']) copyFileSync(join(dist, name), join(served, name));

for (const name of ['isotherm.js', 'isotherm.mjs']) {
  const content = readFileSync(join(dist, name));
  const packed = gzipSync(content, { level: 9 }).length;
  console.log(`${name}: ${content.length} bytes, ${packed} with gzip -9`);
  if (name === 'isotherm.js' && packed > LIMIT) {
    console.error(`isotherm.js must not be over ${LIMIT} bytes with gzip -9`);
    process.exitCode = 1;
  }
}
