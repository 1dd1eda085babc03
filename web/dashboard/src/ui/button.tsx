import type { ComponentChildren, Ref } from "preact";

import { Icon, type IconName } from "./icons";
import "./button.css";

interface Native {
  readonly onClick?: (event: MouseEvent) => void;
  readonly disabled?: boolean;
  readonly title?: string;
  readonly id?: string;
  readonly "aria-label"?: string;
  readonly "aria-expanded"?: boolean;
  readonly "aria-controls"?: string;
  readonly "aria-haspopup"?: "dialog" | "menu";
  readonly "aria-describedby"?: string;
}

export interface ButtonProps extends Native {
  /** primary: the one thing to do here; plain: the usual; quiet: no border. */
  readonly variant?: "primary" | "plain" | "quiet";
  readonly icon?: IconName;
  readonly iconAfter?: IconName;
  readonly small?: boolean;
  /** Makes it a link that looks like a button. */
  readonly href?: string;
  readonly download?: string;
  readonly type?: "button" | "submit";
  readonly buttonRef?: Ref<HTMLButtonElement>;
  readonly children?: ComponentChildren;
}

export function Button(props: ButtonProps) {
  const { variant = "plain", icon, iconAfter, small = false, href, download, type = "button", buttonRef, children, ...rest } = props;
  const look = `button button-${variant}${small ? " button-small" : ""}`;
  const inside = (
    <>
      {icon !== undefined && <Icon name={icon} size={small ? 16 : 18} />}
      <span>{children}</span>
      {iconAfter !== undefined && <Icon name={iconAfter} size={small ? 16 : 18} />}
    </>
  );
  if (href !== undefined) {
    const { onClick, title, id, "aria-label": label } = rest;
    const given = { onClick, title, id, download, "aria-label": label };
    return (
      <a class={look} href={href} {...defined(given)}>
        {inside}
      </a>
    );
  }
  return (
    <button ref={buttonRef ?? null} type={type} class={look} {...rest}>
      {inside}
    </button>
  );
}

/** The members that are there: an attribute given as undefined is not the same as none. */
function defined<T extends Record<string, unknown>>(given: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}

export interface IconButtonProps extends Native {
  /** What it does: its name for screen readers and its tooltip. */
  readonly label: string;
  readonly icon: IconName;
  readonly pressed?: boolean;
  readonly tip?: "below" | "above" | "left" | "none";
  readonly buttonRef?: Ref<HTMLButtonElement>;
}

export function IconButton({ label, icon, pressed, tip = "below", buttonRef, ...rest }: IconButtonProps) {
  return (
    <button
      ref={buttonRef ?? null}
      type="button"
      class="icon-button"
      aria-label={label}
      {...(pressed === undefined ? {} : { "aria-pressed": pressed })}
      {...(tip === "none" ? {} : { "data-tip": label, "data-tip-side": tip })}
      {...rest}
    >
      <Icon name={icon} />
    </button>
  );
}
