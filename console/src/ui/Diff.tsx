/** A unified diff, line by line. Lines begin with + and -, so that colour isn't all that tells. */

export function Diff({ text }: { text: string }) {
  return (
    <div className="diff" role="group" aria-label="Differences" tabIndex={0}>
      {text.split("\n").map((line, place) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other name
        <div key={place} className={kindOf(line)}>
          {line || " "}
        </div>
      ))}
    </div>
  );
}

function kindOf(line: string): string | undefined {
  if (line.startsWith("@@") || line.startsWith("---") || line.startsWith("+++")) return "place";
  if (line.startsWith("+")) return "added";
  if (line.startsWith("-")) return "removed";
  return undefined;
}
