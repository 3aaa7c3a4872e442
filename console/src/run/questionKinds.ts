/** The kinds of questions that a run asks, and which answers each has. */

import type { Question } from "./log";

export interface Answer {
  text: string;
  approve?: boolean;
}

export interface Choice {
  label: string;
  answer: Answer;
  primary?: boolean;
  /** Why it can't be chosen now. */
  unfit?: string;
}

/** What a person can choose, who has written these words. */
export function choicesOf(question: Question, words: string): Choice[] {
  const text = words.trim();
  if (question.options.length > 0) {
    // An outcome is sent by its name alone, so that it is taken as it is; words are for the
    // crew to make an outcome of. Whichever is chosen, nothing of the other is lost unseen.
    return [
      ...question.options.map((option) => ({
        label: option,
        answer: { text: option },
        unfit: text ? "Send your words, or clear them to choose an outcome" : undefined,
      })),
      send(text),
    ];
  }
  if (!needsApproval(question)) return [send(text)];
  return [
    { label: "Approve", answer: { text, approve: true }, primary: true },
    { label: question.tool ? "Refuse" : "Ask for changes", answer: { text, approve: false } },
  ];
}

export function placeholderOf(question: Question): string {
  if (question.options.length > 0)
    return "Choose an outcome below, or say in your words what you think of it.";
  if (!needsApproval(question)) return "Your answer.";
  return question.tool
    ? "Why not. Nothing is needed to approve."
    : "What should change. Nothing is needed to approve.";
}

/** Whether yes and no are answers; else any text is one. */
function needsApproval(question: Question): boolean {
  return question.draft !== null || question.tool !== null;
}

function send(text: string): Choice {
  return {
    label: "Send",
    answer: { text },
    primary: true,
    unfit: text ? undefined : "Write your answer first",
  };
}
