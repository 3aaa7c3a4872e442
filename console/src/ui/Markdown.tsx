import { useMemo } from "react";
import { renderMarkdown } from "../lib/markdown";

/** `pictures` has the address of each picture that the text may show, by name. */
export function Markdown({
  source,
  pictures,
}: {
  source: string;
  pictures: ReadonlyMap<string, string>;
}) {
  const html = useMemo(() => renderMarkdown(source, pictures), [source, pictures]);
  // biome-ignore lint/security/noDangerouslySetInnerHtml: it was sanitised just before
  return <div className="prose" dangerouslySetInnerHTML={{ __html: html }} />;
}
