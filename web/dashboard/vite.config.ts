import preact from "@preact/preset-vite";
import { defineConfig } from "vitest/config";

// The wheel carries what is built here; view/ serves it.
const out = "../../src/isotherm/view/static/dashboard";

export default defineConfig({
  plugins: [preact()],
  base: "/",
  build: {
    outDir: out,
    emptyOutDir: true,
    assetsDir: "assets",
    // The page's Content-Security-Policy takes nothing inline, so nothing may become a data: URL.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  // `npm run dev` beside a running `isotherm up`.
  server: { proxy: { "/v1": "http://127.0.0.1:7080", "/heatmap": "http://127.0.0.1:7080" } },
  test: { environment: "happy-dom", include: ["test/**/*.test.{ts,tsx}"] },
});
