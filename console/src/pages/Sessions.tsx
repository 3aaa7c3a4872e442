import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { MessagesSquare, Plus } from "lucide-react";
import { type FormEvent, useState } from "react";
import { post } from "../api/client";
import { useMay } from "../api/me";
import { crewsQuery, sessionsQuery } from "../api/queries";
import type { Crew, Session } from "../api/types";
import { ago, count, moment, shortId } from "../lib/format";
import { useNow } from "../lib/now";
import { useTitle } from "../lib/title";
import { Dialog } from "../ui/Dialog";
import { Empty, ProblemNotice, SkeletonRows } from "../ui/Feedback";

export default function Sessions() {
  useTitle("Conversations");
  const sessions = useInfiniteQuery(sessionsQuery);
  const may = useMay();
  const now = useNow(30_000);
  const [beginning, setBeginning] = useState(false);
  const items = sessions.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <div className="page-head">
        <div className="titles">
          <h1>Conversations</h1>
          <p>Each message is answered by a run of the crew that is told what was said before.</p>
        </div>
        {may("sessions.write") && (
          <button type="button" className="button primary" onClick={() => setBeginning(true)}>
            <Plus size={16} aria-hidden /> New conversation
          </button>
        )}
      </div>
      <ProblemNotice error={sessions.error} retry={() => void sessions.refetch()} />
      {sessions.isPending && !sessions.error ? <SkeletonRows /> : null}
      {sessions.isSuccess && items.length === 0 && (
        <div className="card">
          <Empty icon={MessagesSquare} title="No conversations yet">
            <p>Begin one with a crew that can be talked to: one with an input for a message.</p>
          </Empty>
        </div>
      )}
      {items.length > 0 && (
        <div className="card table-wrap" tabIndex={0}>
          <table className="table">
            <caption className="hidden">Conversations, newest first</caption>
            <thead>
              <tr>
                <th scope="col">Conversation</th>
                <th scope="col">Crew</th>
                <th scope="col" className="right">
                  Messages
                </th>
                <th scope="col">Last said</th>
              </tr>
            </thead>
            <tbody>
              {items.map((session) => (
                <tr key={session.id}>
                  <td>
                    <Link to="/sessions/$id" params={{ id: session.id }}>
                      {session.title || shortId(session.id)}
                    </Link>{" "}
                    {session.open_turns > 0 && <span className="tag tone-accent">answering</span>}
                  </td>
                  <td>{session.crew}</td>
                  <td className="right">{count(session.turns)}</td>
                  <td>
                    <time dateTime={session.updated_at} title={moment(session.updated_at)}>
                      {ago(session.updated_at, now)}
                    </time>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {sessions.hasNextPage && (
        <p style={{ marginTop: 16, textAlign: "center" }}>
          <button
            type="button"
            className="button"
            disabled={sessions.isFetchingNextPage}
            onClick={() => void sessions.fetchNextPage()}
          >
            Show older conversations
          </button>
        </p>
      )}
      {beginning && <Begin onClose={() => setBeginning(false)} />}
    </>
  );
}

/** Whether a crew has an input for what a person says. */
function canTalk(crew: Crew): boolean {
  const properties = Object.values(crew.inputs.properties ?? {}) as { format?: string }[];
  return !crew.error && properties.some(({ format }) => format === "session-message");
}

function Begin({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const crews = useQuery(crewsQuery);
  const talkers = crews.data?.filter(canTalk);
  const beginning = useMutation({
    mutationFn: (form: FormData) =>
      post<Session>("/v1/sessions", {
        crew: form.get("crew"),
        title: form.get("title"),
        inputs: JSON.parse(String(form.get("inputs") || "{}")),
      }),
    onSuccess: async (session) => {
      await client.invalidateQueries({ queryKey: sessionsQuery.queryKey });
      await navigate({ to: "/sessions/$id", params: { id: session.id } });
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    beginning.mutate(new FormData(event.currentTarget));
  };
  return (
    <Dialog title="New conversation" onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <div className="field">
          <label htmlFor="talker">Crew</label>
          <select id="talker" name="crew" className="input" required>
            {talkers?.map(({ name }) => (
              <option key={name}>{name}</option>
            ))}
          </select>
          {talkers?.length === 0 && (
            <p className="help">
              No crew can be talked to: none has an input of the format <code>session-message</code>
              .
            </p>
          )}
        </div>
        <div className="field">
          <label htmlFor="session-title">Title</label>
          <input id="session-title" name="title" className="input" maxLength={200} />
        </div>
        <details className="more">
          <summary>Other inputs</summary>
          <div className="field">
            <label htmlFor="session-inputs">What every run gets besides, as JSON</label>
            <textarea
              id="session-inputs"
              name="inputs"
              className="input mono small"
              rows={4}
              placeholder="{}"
              spellCheck={false}
            />
          </div>
        </details>
        <ProblemNotice error={crews.error ?? beginning.error} />
        <div className="actions" style={{ justifyContent: "end" }}>
          <button
            type="submit"
            className="button primary"
            disabled={beginning.isPending || !talkers?.length}
          >
            Begin
          </button>
        </div>
      </form>
    </Dialog>
  );
}
