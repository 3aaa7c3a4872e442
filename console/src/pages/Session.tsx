/** A conversation: what was said, what is being answered, and a place to say something. */

import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { ListChecks, Send, Trash2 } from "lucide-react";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { isProblem, newIdempotencyKey, post, remove } from "../api/client";
import { useMay } from "../api/me";
import { messagesQuery, sessionQuery, sessionsQuery } from "../api/queries";
import type { Message } from "../api/types";
import { moment, shortId } from "../lib/format";
import { useTitle } from "../lib/title";
import { QuestionPanel } from "../run/Question";
import { useRunLog } from "../run/useRunLog";
import { Confirm } from "../ui/Dialog";
import { ProblemNotice, SkeletonRows } from "../ui/Feedback";
import { Markdown } from "../ui/Markdown";

const NO_PICTURES: ReadonlyMap<string, string> = new Map();

export default function SessionPage() {
  const { id } = useParams({ from: "/inside/sessions/$id" });
  const session = useQuery(sessionQuery(id));
  const messages = useInfiniteQuery(messagesQuery(id));
  const may = useMay();
  const said = (messages.data?.pages.flatMap((page) => page.items) ?? []).toReversed();
  const answered = new Set(said.map(({ number }) => number));
  const open = said.filter(({ number }) => number % 2 === 1 && !answered.has(number + 1));
  const end = useRef<HTMLDivElement>(null);
  const last = said.at(-1)?.number;
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is said last is shown
  useEffect(() => {
    end.current?.scrollIntoView({ block: "end" });
  }, [last]);
  useTitle(session.data?.title || "Conversation");
  if (session.error)
    return <ProblemNotice error={session.error} retry={() => void session.refetch()} />;
  if (!session.data) return <SkeletonRows rows={8} />;
  const { title, crew } = session.data;
  return (
    <div className="stack conversation">
      <div className="page-head" style={{ marginBottom: 0 }}>
        <div className="titles">
          <h1>{title || `Conversation ${shortId(id)}`}</h1>
          <p>
            with{" "}
            <Link to="/crews/$name" params={{ name: crew }} search={{}}>
              {crew}
            </Link>
          </p>
        </div>
        <div className="actions">
          <Link to="/runs" search={{ session: id }} className="button">
            <ListChecks size={15} aria-hidden /> Its runs
          </Link>
          {may("sessions.write") && <Delete id={id} />}
        </div>
      </div>
      <ProblemNotice error={messages.error} retry={() => void messages.refetch()} />
      {messages.hasNextPage && (
        <p style={{ textAlign: "center" }}>
          <button type="button" className="button" onClick={() => void messages.fetchNextPage()}>
            Show what was said before
          </button>
        </p>
      )}
      <ol className="said" aria-label="What was said" aria-live="polite">
        {said.map((message) => (
          <Said key={message.number} message={message} />
        ))}
      </ol>
      {/* One is answered after the other. */}
      {open[0] && <Answering key={open[0].run_id} sessionId={id} runId={open[0].run_id} />}
      {may("sessions.write") && <Say sessionId={id} />}
      <div ref={end} />
    </div>
  );
}

/** Which person it was isn't kept. */
const WHO = { user: "Person", assistant: "Crew", system: "No answer" };

function Said({ message: { role, content, run_id, created_at } }: { message: Message }) {
  return (
    <li className={`card padded by-${role}`}>
      <p className="muted small">
        {WHO[role]} · <time dateTime={created_at}>{moment(created_at)}</time>
        {role !== "user" && (
          <>
            {" · "}
            <Link to="/runs/$id" params={{ id: run_id }} search={{}}>
              run {shortId(run_id)}
            </Link>
          </>
        )}
      </p>
      {role === "assistant" ? (
        <Markdown source={content} pictures={NO_PICTURES} />
      ) : (
        <p className="as-written">{content}</p>
      )}
    </li>
  );
}

/** The answer as it is written, and what the run asks. */
function Answering({ sessionId, runId }: { sessionId: string; runId: string }) {
  const { log, error } = useRunLog(runId);
  const client = useQueryClient();
  useEffect(() => {
    if (log.ended) void client.invalidateQueries({ queryKey: messagesQuery(sessionId).queryKey });
  }, [log.ended, client, sessionId]);
  const writing = log.rows.findLast((row) => row.kind === "model" && row.text);
  return (
    <>
      <div className="card padded by-assistant" aria-busy>
        <p className="muted small">
          Answering ·{" "}
          <Link to="/runs/$id" params={{ id: runId }} search={{}}>
            run {shortId(runId)}
          </Link>
        </p>
        {writing && <p className="as-written">{writing.text}</p>}
      </div>
      <ProblemNotice error={error} />
      {log.question && (
        <QuestionPanel
          key={log.question.seq}
          runId={runId}
          question={log.question}
          artifacts={log.artifacts}
        />
      )}
    </>
  );
}

function Say({ sessionId }: { sessionId: string }) {
  const client = useQueryClient();
  const [words, setWords] = useState("");
  const key = useRef(newIdempotencyKey());
  const saying = useMutation({
    mutationFn: (content: string) =>
      post(`/v1/sessions/${sessionId}/messages`, { content }, { "Idempotency-Key": key.current }),
    onSuccess: async () => {
      key.current = newIdempotencyKey();
      setWords("");
      await client.invalidateQueries({ queryKey: messagesQuery(sessionId).queryKey });
    },
    // The gateway has refused it: the next try is another. Unheard, it may have been taken.
    onError: (error) => {
      if (isProblem(error) && error.status >= 400 && error.status < 500)
        key.current = newIdempotencyKey();
    },
  });
  const say = () => {
    if (words.trim() && !saying.isPending) saying.mutate(words.trim());
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    say();
  };
  return (
    <form
      className="card padded stack tight"
      onSubmit={(event) => {
        event.preventDefault();
        say();
      }}
    >
      <div className="field">
        <label htmlFor="words">Say something</label>
        <textarea
          id="words"
          className="input"
          rows={3}
          value={words}
          onChange={(event) => setWords(event.target.value)}
          onKeyDown={onKey}
        />
        <p className="help">Enter says it; with Shift it begins a line.</p>
      </div>
      <ProblemNotice error={saying.error} />
      <div className="actions" style={{ justifyContent: "end" }}>
        <button
          type="submit"
          className="button primary"
          disabled={saying.isPending || !words.trim()}
        >
          <Send size={15} aria-hidden /> Say it
        </button>
      </div>
    </form>
  );
}

function Delete({ id }: { id: string }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);
  const deletion = useMutation({
    mutationFn: () => remove(`/v1/sessions/${id}`),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: sessionsQuery.queryKey });
      await navigate({ to: "/sessions" });
    },
    onSettled: () => setAsking(false),
  });
  return (
    <>
      <button
        type="button"
        className="button quiet icon"
        aria-label="Delete the conversation"
        title="Delete the conversation"
        onClick={() => setAsking(true)}
      >
        <Trash2 size={16} aria-hidden />
      </button>
      <ProblemNotice error={deletion.error} />
      {asking && (
        <Confirm
          title="Delete this conversation?"
          action="Delete it"
          busy={deletion.isPending}
          onClose={() => setAsking(false)}
          onConfirm={() => deletion.mutate()}
        >
          <p>
            Its messages and what the crew remembers of it go; its runs that go on are cancelled.
          </p>
        </Confirm>
      )}
    </>
  );
}
