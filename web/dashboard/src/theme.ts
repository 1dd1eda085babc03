/** Light, dark, or what the system says; remembered in this browser. */

import { computed, effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "isotherm-theme";
const THEMES: readonly Theme[] = ["system", "light", "dark"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(dark.matches);
dark.addEventListener("change", (event) => {
  systemIsDark.value = event.matches;
});

function remembered(): Theme {
  try {
    const found = localStorage.getItem(KEY);
    return THEMES.find((theme) => theme === found) ?? "system";
  } catch {
    return "system";
  }
}

/** What the person chose. */
export const theme = signal<Theme>(remembered());

/** What is shown. */
export const shownTheme = computed<"light" | "dark">(() => {
  if (theme.value === "system") return systemIsDark.value ? "dark" : "light";
  return theme.value;
});

/** Choose a theme and remember it. */
export function setTheme(chosen: Theme): void {
  theme.value = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // A browser that stores nothing still shows the theme until the page is closed.
  }
}

/** Keep `data-theme` on the root element in step with `shownTheme`; call once. */
export function startTheme(): void {
  effect(() => {
    document.documentElement.dataset["theme"] = shownTheme.value;
  });
}
