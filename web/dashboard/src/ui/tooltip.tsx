import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

import "./tooltip.css";

/** A word of explanation that shows on hover and on focus; `children` must be focusable or hold text only.
 *
 * For the name of an icon button use its `label`.
 */
export function Tooltip({
  text,
  side = "below",
  children,
}: {
  readonly text: string;
  readonly side?: "below" | "above" | "left";
  readonly children: ComponentChildren;
}) {
  const id = useId();
  return (
    <span class="tooltip" data-tip={text} data-tip-side={side} aria-describedby={id}>
      {children}
      <span class="sr-only" id={id}>
        {text}
      </span>
    </span>
  );
}
