import { expect, test } from "vitest";
import type { Question } from "./log";
import { choicesOf } from "./questionKinds";

const asked = (fields: Partial<Question>): Question => ({
  seq: 3,
  prompt: "?",
  draft: null,
  tool: null,
  arguments: null,
  options: [],
  ...fields,
});
const offered = (question: Question, words: string) =>
  choicesOf(question, words).map(({ label, answer, unfit }) => [label, unfit ? null : answer]);

test("of outcomes one is chosen, or words are sent; never one with the other lost", () => {
  const question = asked({ draft: "a draft", options: ["approved", "rejected"] });
  expect(offered(question, " ")).toEqual([
    ["approved", { text: "approved" }],
    ["rejected", { text: "rejected" }],
    ["Send", null],
  ]);
  expect(offered(question, "too long ")).toEqual([
    ["approved", null],
    ["rejected", null],
    ["Send", { text: "too long" }],
  ]);
});

test("a question for words takes words only", () => {
  expect(offered(asked({}), "")).toEqual([["Send", null]]);
  expect(offered(asked({}), "A title")).toEqual([["Send", { text: "A title" }]]);
});

test("a draft is approved or not, even an empty one", () => {
  expect(offered(asked({ draft: "" }), "shorter")).toEqual([
    ["Approve", { text: "shorter", approve: true }],
    ["Ask for changes", { text: "shorter", approve: false }],
  ]);
});

test("a tool's call is approved or refused", () => {
  expect(offered(asked({ draft: "", tool: "send_mail" }), "")).toEqual([
    ["Approve", { text: "", approve: true }],
    ["Refuse", { text: "", approve: false }],
  ]);
});
