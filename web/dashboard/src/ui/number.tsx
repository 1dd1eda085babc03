import { compact, exact } from "../format";

/** A count, short where it is long; every digit in its title and for screen readers. */
export function Count({ value }: { readonly value: number }) {
  const short = compact(value);
  const full = exact(value);
  if (short === full) return <span class="tabular">{full}</span>;
  return (
    <span class="tabular" title={full}>
      <span aria-hidden="true">{short}</span>
      <span class="sr-only">{full}</span>
    </span>
  );
}
