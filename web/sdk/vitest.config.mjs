import { defineConfig } from 'vitest/config';

export default defineConfig({
  define: { SDK_VERSION: '"0.0.0-test"' },
  test: { include: ['test/**/*.test.ts'], environment: 'node', testTimeout: 60_000 },
});
