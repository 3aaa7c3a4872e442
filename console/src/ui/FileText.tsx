import { useMemo } from "react";
import { parseCsv } from "../lib/csv";
import { count } from "../lib/format";
import type { TextKind } from "../lib/textKinds";

const SHOWN_ROWS = 200;
const SHOWN_CHARACTERS = 100_000;

/** A file's text, as its kind is read best. */
export function FileText({
  name,
  kind,
  text,
}: {
  name: string;
  kind: Exclude<TextKind, "markdown">;
  text: string;
}) {
  if (kind === "csv") return <Table name={name} text={text} />;
  const shown = kind === "json" ? indented(text) : text;
  return (
    <>
      <pre className="code file" tabIndex={0} role="group" aria-label={`Text of ${name}`}>
        {shown.slice(0, SHOWN_CHARACTERS)}
      </pre>
      {shown.length > SHOWN_CHARACTERS && (
        <p className="muted small">
          The first {count(SHOWN_CHARACTERS)} characters; download it for the rest.
        </p>
      )}
    </>
  );
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function Table({ name, text }: { name: string; text: string }) {
  const [head = [], ...rows] = useMemo(() => parseCsv(text, SHOWN_ROWS + 2), [text]);
  return (
    <>
      <div className="table-wrap file" tabIndex={0} role="group" aria-label={`Rows of ${name}`}>
        <table className="table">
          <thead>
            <tr>
              {head.map((column, place) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: two columns may have one name
                <th key={place} scope="col">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, SHOWN_ROWS).map((row, line) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: rows have no other name
              <tr key={line}>
                {row.map((value, place) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: values have no other name
                  <td key={place}>{value}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > SHOWN_ROWS && (
        <p className="muted small">The first {SHOWN_ROWS} rows; download it for the rest.</p>
      )}
    </>
  );
}
