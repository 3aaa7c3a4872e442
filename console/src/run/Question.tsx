/** What a run that waits asks a person, and the answer. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Hourglass } from "lucide-react";
import { useRef } from "react";
import { post } from "../api/client";
import { useMay } from "../api/me";
import { runQuery } from "../api/queries";
import type { Artifact } from "../api/types";
import { ProblemNotice } from "../ui/Feedback";
import { Markdown } from "../ui/Markdown";
import type { Question } from "./log";

interface Answer {
  text: string;
  approve?: boolean;
}

export function QuestionPanel({
  runId,
  question,
  artifacts,
}: {
  runId: string;
  question: Question;
  artifacts: Artifact[];
}) {
  const may = useMay();
  const client = useQueryClient();
  const words = useRef<HTMLTextAreaElement>(null);
  const answering = useMutation({
    mutationFn: (answer: Answer) =>
      post(`/v1/runs/${runId}/input`, { ...answer, question: question.seq }),
    onSuccess: () => client.invalidateQueries({ queryKey: runQuery(runId).queryKey }),
  });
  const answer = (approve?: boolean, text = words.current?.value ?? "") =>
    answering.mutate(approve === undefined ? { text } : { text, approve });
  return (
    <section
      className="card"
      aria-label="The run waits for your answer"
      style={{ borderColor: "var(--warn)" }}
    >
      <header>
        <h2 style={{ display: "flex", gap: 8, alignItems: "center" }}>
          <Hourglass size={17} aria-hidden style={{ color: "var(--warn)" }} />{" "}
          {question.tool ? `May ${question.tool} be called?` : "It waits for you"}
        </h2>
      </header>
      <div className="body stack">
        <p>{question.prompt}</p>
        {question.arguments !== null && (
          <pre className="code">{JSON.stringify(question.arguments, null, 2)}</pre>
        )}
        {question.draft && (
          <div className="code" style={{ background: "none" }}>
            <Markdown source={question.draft} artifacts={artifacts} />
          </div>
        )}
        {may("runs.answer") ? (
          <>
            <div className="field">
              <label htmlFor="answer">Your words</label>
              <textarea
                id="answer"
                ref={words}
                className="input"
                placeholder="What should change, or an answer. Nothing is needed to approve."
              />
            </div>
            <ProblemNotice error={answering.error} />
            <div className="actions">
              {question.options.length > 0 ? (
                question.options.map((option) => (
                  <button
                    key={option}
                    type="button"
                    className="button"
                    disabled={answering.isPending}
                    onClick={() => answer(undefined, option)}
                  >
                    {option}
                  </button>
                ))
              ) : (
                <>
                  <button
                    type="button"
                    className="button primary"
                    disabled={answering.isPending}
                    onClick={() => answer(true)}
                  >
                    Approve
                  </button>
                  <button
                    type="button"
                    className="button"
                    disabled={answering.isPending}
                    onClick={() => answer(false)}
                  >
                    {question.tool ? "Refuse" : "Ask for changes"}
                  </button>
                </>
              )}
            </div>
          </>
        ) : (
          <p className="muted">
            Your role can't answer runs. Ask an operator or developer of your organisation.
          </p>
        )}
      </div>
    </section>
  );
}
