import preact from "@preact/preset-vite";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

// The wheel carries what is built here; view/ serves it.
const out = "../../src/isotherm/view/static/dashboard";

/** The letters are asked for with the page: else only when the first words are laid out. */
function fontAhead(): Plugin {
  return {
    name: "font-ahead",
    transformIndexHtml: {
      order: "post",
      handler(_, { bundle = {} }) {
        const fonts = Object.keys(bundle).filter((file) => file.endsWith(".woff2"));
        return fonts.map((file) => ({
          tag: "link",
          attrs: { rel: "preload", as: "font", type: "font/woff2", href: `/${file}`, crossorigin: "" },
          injectTo: "head" as const,
        }));
      },
    },
  };
}

export default defineConfig({
  plugins: [preact(), fontAhead()],
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
