/** What a run that waits asks a person, and the answer. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Hourglass } from "lucide-react";
import { useMemo, useState } from "react";
import { post } from "../api/client";
import { useMay } from "../api/me";
import { runQuery } from "../api/queries";
import type { Artifact } from "../api/types";
import { ProblemNotice } from "../ui/Feedback";
import { Markdown } from "../ui/Markdown";
import { picturesOf } from "./artifactGroups";
import type { Question } from "./log";
import { type Answer, type Choice, choicesOf, placeholderOf } from "./questionKinds";

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
  const pictures = useMemo(() => picturesOf(artifacts), [artifacts]);
  const [words, setWords] = useState("");
  const answering = useMutation({
    mutationFn: (answer: Answer) =>
      post(`/v1/runs/${runId}/input`, { ...answer, question: question.seq }),
    onSuccess: () => client.invalidateQueries({ queryKey: runQuery(runId).queryKey }),
  });
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
            <Markdown source={question.draft} pictures={pictures} />
          </div>
        )}
        {may("runs.answer") ? (
          <>
            <div className="field">
              <label htmlFor="answer">Your words</label>
              <textarea
                id="answer"
                className="input"
                placeholder={placeholderOf(question)}
                value={words}
                onChange={(event) => setWords(event.target.value)}
              />
            </div>
            <ProblemNotice error={answering.error} />
            <div className="actions">
              {choicesOf(question, words).map((choice) => (
                <ChoiceButton
                  key={choice.label}
                  choice={choice}
                  busy={answering.isPending}
                  onChoose={() => answering.mutate(choice.answer)}
                />
              ))}
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

function ChoiceButton({
  choice: { label, primary, unfit },
  busy,
  onChoose,
}: {
  choice: Choice;
  busy: boolean;
  onChoose: () => void;
}) {
  return (
    <button
      type="button"
      className={primary ? "button primary" : "button"}
      disabled={busy || Boolean(unfit)}
      title={unfit}
      onClick={onChoose}
    >
      {label}
    </button>
  );
}
