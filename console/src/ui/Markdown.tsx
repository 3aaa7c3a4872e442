import { useMemo } from "react";
import type { Artifact } from "../api/types";
import { renderMarkdown } from "../lib/markdown";

export function Markdown({
  source,
  artifacts,
}: {
  source: string;
  artifacts: readonly Artifact[];
}) {
  const html = useMemo(() => {
    const pictures = artifacts.filter((artifact) => artifact.media_type.startsWith("image/"));
    return renderMarkdown(source, new Map(pictures.map(({ name, url }) => [name, url])));
  }, [source, artifacts]);
  // biome-ignore lint/security/noDangerouslySetInnerHtml: it was sanitised just before
  return <div className="prose" dangerouslySetInnerHTML={{ __html: html }} />;
}
