/** The files that a run made: charts as pictures, texts to read, the rest to download. */

import { useQuery } from "@tanstack/react-query";
import { PackageOpen } from "lucide-react";
import { useMemo } from "react";
import { artifactTextQuery } from "../api/queries";
import type { Artifact } from "../api/types";
import { bytes } from "../lib/format";
import { textKindOf } from "../lib/textKinds";
import { Empty, ProblemNotice, SkeletonRows } from "../ui/Feedback";
import { FileText } from "../ui/FileText";
import { Markdown } from "../ui/Markdown";
import { groupFormats, picturesOf } from "./artifactGroups";

/** Longer ones are for a reader of their own. */
const SHOWN_BYTES = 1_000_000;

export function Artifacts({ artifacts }: { artifacts: Artifact[] }) {
  if (artifacts.length === 0) {
    return (
      <div className="card">
        <Empty icon={PackageOpen} title="No artifacts">
          <p>Charts, reports and other files that the crew makes appear here.</p>
        </Empty>
      </div>
    );
  }
  const figures = groupFormats(artifacts.filter((artifact) => !textKindOf(artifact)));
  const texts = artifacts.filter((artifact) => textKindOf(artifact));
  return (
    <div className="stack">
      {figures.length > 0 && (
        <div className="gallery">
          {figures.map((formats) => (
            <Figure key={formats[0]?.id} formats={formats} />
          ))}
        </div>
      )}
      {texts.map((artifact) => (
        <Text key={artifact.id} artifact={artifact} artifacts={artifacts} />
      ))}
    </div>
  );
}

function Figure({ formats }: { formats: Artifact[] }) {
  const picture = formats.find((artifact) => artifact.media_type.startsWith("image/"));
  const shown = picture ?? formats[0];
  return (
    <figure className="card">
      {picture && <img src={picture.url} alt={picture.name} loading="lazy" />}
      <figcaption>
        <span>{shown?.name}</span>
        <span className="downloads small">
          {formats.map((artifact) => (
            <Download key={artifact.id} artifact={artifact} />
          ))}
        </span>
      </figcaption>
    </figure>
  );
}

function Download({ artifact }: { artifact: Artifact }) {
  const format = artifact.name.split(".").at(-1)?.toUpperCase() ?? "file";
  return (
    <a href={artifact.url} download={artifact.name} aria-label={`Download ${artifact.name}`}>
      {format} <span className="muted">{bytes(artifact.size_bytes)}</span>
    </a>
  );
}

function Text({ artifact, artifacts }: { artifact: Artifact; artifacts: Artifact[] }) {
  const kind = textKindOf(artifact);
  const short = artifact.size_bytes <= SHOWN_BYTES;
  const text = useQuery({ ...artifactTextQuery(artifact), enabled: short });
  const pictures = useMemo(() => picturesOf(artifacts, artifact), [artifacts, artifact]);
  return (
    <section className="card" aria-label={artifact.name}>
      <header>
        <h2>{artifact.name}</h2>
        <span className="small">
          <Download artifact={artifact} />
        </span>
      </header>
      <div className="body">
        <ProblemNotice error={text.error} />
        {!short && <p className="muted">It is too long to be shown here; download it.</p>}
        {short && text.isPending && <SkeletonRows />}
        {text.data !== undefined &&
          (kind === "markdown" ? (
            <Markdown source={text.data} pictures={pictures} />
          ) : (
            kind && <FileText name={artifact.name} kind={kind} text={text.data} />
          ))}
      </div>
    </section>
  );
}
