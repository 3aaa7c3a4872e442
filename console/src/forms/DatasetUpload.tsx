/** Brings a file as a dataset; nothing for those who may not. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Upload } from "lucide-react";
import { type DragEvent, useRef, useState } from "react";
import { useMay } from "../api/me";
import { datasetsQuery } from "../api/queries";
import type { Dataset } from "../api/types";
import { uploadDataset } from "../api/upload";
import { ProblemNotice } from "../ui/Feedback";

export function DatasetUpload({
  id,
  onUploaded,
}: {
  id: string;
  onUploaded?: (dataset: Dataset) => void;
}) {
  const client = useQueryClient();
  const may = useMay();
  const file = useRef<HTMLInputElement>(null);
  const [share, setShare] = useState(0);
  const [over, setOver] = useState(false);
  const upload = useMutation({
    mutationFn: (chosen: File) => uploadDataset(chosen, setShare),
    onMutate: () => setShare(0),
    onSuccess: async (dataset) => {
      await client.invalidateQueries({ queryKey: datasetsQuery.queryKey });
      onUploaded?.(dataset);
    },
  });
  const take = (files: FileList | null) => {
    const chosen = files?.[0];
    if (chosen) upload.mutate(chosen);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files);
  };
  const percent = Math.round(share * 100);
  if (!may("datasets.write")) return null;
  return (
    <>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping is a shortcut for the button within */}
      <div
        className={`drop ${over ? "over" : ""}`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        <input
          ref={file}
          type="file"
          hidden
          accept=".csv,.jsonl,.ndjson,.parquet"
          data-upload={id}
          onChange={(event) => take(event.target.files)}
        />
        <button
          type="button"
          className="button"
          disabled={upload.isPending}
          onClick={() => file.current?.click()}
        >
          <Upload size={15} aria-hidden /> Upload a file
        </button>
        <span className="muted small">
          {upload.isPending
            ? `${percent} % of ${upload.variables.name}`
            : "or drop it here: CSV, JSON lines or Parquet"}
        </span>
        {upload.isPending && (
          <div
            className="meter"
            role="progressbar"
            aria-label="Upload"
            aria-valuenow={percent}
            aria-valuemin={0}
            aria-valuemax={100}
          >
            <div style={{ width: `${percent}%` }} />
          </div>
        )}
      </div>
      <ProblemNotice error={upload.error} />
    </>
  );
}
