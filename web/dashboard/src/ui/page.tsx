import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

import "./page.css";

/** A page: its title in the tab, its heading (which gets the focus after a navigation), its width. */
export function Page({
  title,
  heading,
  lead,
  actions,
  width = "normal",
  hideHeading = false,
  children,
}: {
  /** For the browser's tab; " · Isotherm" is added. */
  readonly title: string;
  readonly heading?: ComponentChildren;
  readonly lead?: ComponentChildren;
  readonly actions?: ComponentChildren;
  /** full: edge to edge, for the map. */
  readonly width?: "normal" | "narrow" | "full";
  readonly hideHeading?: boolean;
  readonly children: ComponentChildren;
}) {
  useEffect(() => {
    document.title = title === "" ? "Isotherm" : `${title} · Isotherm`;
  }, [title]);
  return (
    <div class={`page page-${width}`}>
      <div class={hideHeading ? "sr-only" : "page-head"}>
        <div class="page-titles">
          <h1 tabIndex={-1}>{heading ?? title}</h1>
          {lead !== undefined && <div class="page-lead">{lead}</div>}
        </div>
        {actions !== undefined && <div class="page-actions">{actions}</div>}
      </div>
      {children}
    </div>
  );
}
