import { useEffect, useRef, useState } from "preact/hooks";

import { Button } from "./button";
import { toast } from "./toast";
import "./copy.css";

/** Puts `text` on the clipboard, also where the page is not a secure context. */
async function copy(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // navigator.clipboard is missing on http:// of another machine, where a dashboard in a home network lives.
  const field = document.createElement("textarea");
  field.value = text;
  field.setAttribute("readonly", "");
  field.className = "sr-only";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("the browser refused");
}

/** A button that copies; it says so where it was pressed. */
export function CopyButton({
  text,
  label = "Copy",
  variant = "plain",
  small = true,
}: {
  readonly text: string;
  readonly label?: string;
  readonly variant?: "plain" | "primary" | "quiet";
  readonly small?: boolean;
}) {
  const [done, setDone] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const onClick = async (): Promise<void> => {
    try {
      await copy(text);
    } catch {
      toast("The browser did not allow copying: select the text and copy it by hand.", "bad");
      return;
    }
    setDone(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setDone(false), 2000);
  };
  return (
    <Button variant={variant} small={small} icon={done ? "check" : "copy"} onClick={() => void onClick()}>
      <span aria-live="polite">{done ? "Copied" : label}</span>
    </Button>
  );
}

/** Text to copy: scrolls sideways rather than breaking. */
export function CodeBlock({ label, code, wrap = false }: { readonly label: string; readonly code: string; readonly wrap?: boolean }) {
  return (
    <figure class="code">
      <figcaption class="code-head">
        <span>{label}</span>
        <CopyButton text={code} variant="quiet" />
      </figcaption>
      {/* Focusable, so that a keyboard can scroll it. */}
      <pre class={wrap ? "code-wrap" : ""} tabIndex={0} role="region" aria-label={label}>
        <code>{code}</code>
      </pre>
    </figure>
  );
}
