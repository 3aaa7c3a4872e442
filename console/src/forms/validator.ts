/**
 * JSON Schema without code made at run time: the usual validator compiles schemas to functions,
 * which the gateway's content security policy forbids. The worker checks all of it once more.
 */

import { type OutputUnit, type Schema, Validator } from "@cfworker/json-schema";
import type {
  ErrorSchema,
  RJSFSchema,
  RJSFValidationError,
  ValidationData,
  ValidatorType,
} from "@rjsf/utils";
import { ErrorSchemaBuilder } from "@rjsf/utils";

const DRAFT = "2020-12";
/** They say only that something within them is wrong, which comes with its own error. */
const OUTER = new Set(["properties", "items", "additionalProperties", "$ref"]);

function errorsOf(schema: RJSFSchema, data: unknown): OutputUnit[] {
  const { errors } = new Validator(schema as Schema, DRAFT, false).validate(data);
  return errors.filter(({ keyword }) => !OUTER.has(keyword));
}

/** Where an error is: #/messages/0/id, and for what is missing the place where it should be. */
export function placeOf({ keyword, instanceLocation, error }: OutputUnit): string[] {
  const path = instanceLocation.split("/").slice(1).map(decodeURIComponent);
  const missing = keyword === "required" ? /property "([^"]+)"/.exec(error)?.[1] : undefined;
  return missing ? [...path, missing] : path;
}

export function wordsOf({ keyword, error }: OutputUnit): string {
  if (keyword === "required") return "is required";
  if (keyword === "false") return "is not an input of this crew";
  return error.replace(/^Instance( type)? /, "").replace(/\.$/, "");
}

export const validator: ValidatorType = {
  validateFormData(data, schema, _custom, transform, uiSchema): ValidationData<unknown> {
    const found = errorsOf(schema, data);
    let errors: RJSFValidationError[] = found.map((error) => {
      const place = placeOf(error).join(".");
      return {
        name: error.keyword,
        property: `.${place}`,
        message: wordsOf(error),
        stack: `${place} ${wordsOf(error)}`,
      };
    });
    if (transform) errors = transform(errors, uiSchema);
    const builder = new ErrorSchemaBuilder();
    for (const error of found) builder.addErrors(wordsOf(error), placeOf(error));
    return { errors, errorSchema: builder.ErrorSchema as ErrorSchema };
  },
  isValid: (schema, data) => errorsOf(schema, data).length === 0,
  rawValidation: <Result>(schema: RJSFSchema, data: unknown) => ({
    errors: errorsOf(schema, data) as Result[],
  }),
};
