import { preact } from "@preact/preset-vite";
import { defineConfig } from "vite";

// One script and one style sheet with known names; the test that wants them names the folder.
export default defineConfig({
  root: import.meta.dirname,
  plugins: [preact()],
  logLevel: "warn",
  build: {
    emptyOutDir: false,
    target: "es2022",
    cssCodeSplit: false,
    rollupOptions: {
      input: "entry.tsx",
      output: { entryFileNames: "stage.js", assetFileNames: "stage[extname]" },
    },
  },
});
