import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Database } from "lucide-react";
import { useState } from "react";
import { remove } from "../api/client";
import { useMay } from "../api/me";
import { datasetsQuery, datasetTextQuery } from "../api/queries";
import type { Dataset } from "../api/types";
import { DatasetUpload } from "../forms/DatasetUpload";
import { ago, bytes, moment } from "../lib/format";
import { useNow } from "../lib/now";
import { textKindOf } from "../lib/textKinds";
import { useTitle } from "../lib/title";
import { Confirm, Dialog } from "../ui/Dialog";
import { Empty, ProblemNotice, SkeletonRows } from "../ui/Feedback";
import { FileText } from "../ui/FileText";

/** All of a file is fetched to show its beginning, so longer ones are for a reader of their own. */
const SHOWN_BYTES = 1_000_000;

export default function Datasets() {
  useTitle("Datasets");
  const datasets = useQuery(datasetsQuery);
  const may = useMay();
  const now = useNow(30_000);
  const client = useQueryClient();
  const [shown, setShown] = useState<Dataset | null>(null);
  const [deleting, setDeleting] = useState<Dataset | null>(null);
  const deletion = useMutation({
    mutationFn: (dataset: Dataset) => remove(`/v1/datasets/${dataset.id}`),
    onSuccess: () => client.invalidateQueries({ queryKey: datasetsQuery.queryKey }),
    onSettled: () => setDeleting(null),
  });
  return (
    <div className="stack">
      <div className="page-head" style={{ marginBottom: 8 }}>
        <div className="titles">
          <h1>Datasets</h1>
          <p>Files that runs read.</p>
        </div>
      </div>
      <DatasetUpload id="dataset" />
      <ProblemNotice error={datasets.error} retry={() => void datasets.refetch()} />
      <ProblemNotice error={deletion.error} />
      {datasets.isPending && !datasets.error ? <SkeletonRows /> : null}
      {datasets.data?.length === 0 && (
        <div className="card">
          <Empty icon={Database} title="No datasets yet">
            <p>Those that you upload here or where you start a run appear here.</p>
          </Empty>
        </div>
      )}
      {datasets.data && datasets.data.length > 0 && (
        <div className="card table-wrap" tabIndex={0}>
          <table className="table">
            <caption className="hidden">Datasets, newest first</caption>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col" className="right">
                  Size
                </th>
                <th scope="col">Brought</th>
                <th scope="col">
                  <span className="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {datasets.data.map((dataset) => (
                <tr key={dataset.id}>
                  <td>
                    <a href={`/v1/datasets/${dataset.id}/content`} download={dataset.name}>
                      {dataset.name}
                    </a>
                  </td>
                  <td className="right">{bytes(dataset.size_bytes)}</td>
                  <td>
                    <time dateTime={dataset.created_at} title={moment(dataset.created_at)}>
                      {ago(dataset.created_at, now)}
                    </time>
                  </td>
                  <td className="right">
                    <div className="actions" style={{ justifyContent: "end" }}>
                      {textKindOf(dataset) && dataset.size_bytes <= SHOWN_BYTES && (
                        <button
                          type="button"
                          className="button"
                          onClick={() => setShown(dataset)}
                          aria-label={`Show ${dataset.name}`}
                        >
                          Show
                        </button>
                      )}
                      {may("datasets.write") && (
                        <button
                          type="button"
                          className="button danger"
                          onClick={() => setDeleting(dataset)}
                          aria-label={`Delete ${dataset.name}`}
                        >
                          Delete
                        </button>
                      )}
                    </div>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {shown && <Preview dataset={shown} onClose={() => setShown(null)} />}
      {deleting && (
        <Confirm
          title={`Delete ${deleting.name}?`}
          action="Delete the dataset"
          busy={deletion.isPending}
          onClose={() => setDeleting(null)}
          onConfirm={() => deletion.mutate(deleting)}
        >
          <p>Runs that read it before keep what they made of it; no other can.</p>
        </Confirm>
      )}
    </div>
  );
}

function Preview({ dataset, onClose }: { dataset: Dataset; onClose: () => void }) {
  const text = useQuery(datasetTextQuery(dataset.id));
  const kind = textKindOf(dataset);
  return (
    <Dialog title={dataset.name} onClose={onClose}>
      <ProblemNotice error={text.error} />
      {text.isPending && <SkeletonRows />}
      {text.data !== undefined && kind && kind !== "markdown" && (
        <FileText name={dataset.name} kind={kind} text={text.data} />
      )}
    </Dialog>
  );
}
