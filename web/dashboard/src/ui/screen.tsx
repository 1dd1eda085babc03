import { screenParts } from "../format";
import "./screen.css";

/** A screen's name, and a quiet mark when it is the layout of narrow windows; its whole id is what is read aloud. */
export function ScreenName({ id }: { readonly id: string }) {
  const { name, under } = screenParts(id);
  if (under === null) return <span class="screen-path">{name}</span>;
  return (
    <>
      <span class="screen-path" aria-hidden="true">
        {name}
      </span>
      <span class="screen-under tabular" aria-hidden="true">
        under {under}&nbsp;px
      </span>
      <span class="sr-only">{id}</span>
    </>
  );
}
