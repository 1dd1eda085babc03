import type { ComponentChildren } from "preact";

import "./table.css";

export interface Column<Row> {
  readonly key: string;
  readonly head: string;
  /** Numbers stand on the right, so that their digits stand under each other. */
  readonly numeric?: boolean;
  readonly cell: (row: Row) => ComponentChildren;
}

/** A plain table with its caption; scrolls sideways on narrow screens. */
export function Table<Row>({
  caption,
  columns,
  rows,
  rowKey,
  hideCaption = false,
}: {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly rowKey: (row: Row) => string;
  readonly hideCaption?: boolean;
}) {
  return (
    <div class="table-box" tabIndex={0} role="region" aria-label={caption}>
      <table class="table">
        <caption class={hideCaption ? "sr-only" : ""}>{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.key} scope="col" class={column.numeric === true ? "numeric" : ""}>
                {column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)}>
              {columns.map((column) => (
                <td key={column.key} class={column.numeric === true ? "numeric tabular" : ""}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
