/** The one way to the API: typed from openapi.json, same origin, every failure a `ProblemError` with a sentence for people. */

import createClient from "openapi-fetch";
import type { components, paths } from "./api";

export type Schemas = components["schemas"];

export class ProblemError extends Error {
  constructor(
    message: string,
    readonly status: number, // 0: the server was not reached
    readonly requestId: string | null,
    /** Fields that are wrong, where the server named some. */
    readonly errors: readonly { field: string; reason: string }[] = [],
  ) {
    super(message);
  }

  get offline(): boolean {
    return this.status === 0;
  }
}

interface MaybeProblem {
  detail?: unknown;
  title?: unknown;
  request_id?: unknown;
  errors?: unknown;
}

function fields(told: unknown): { field: string; reason: string }[] {
  if (!Array.isArray(told)) return [];
  return told.filter((one): one is { field: string; reason: string } => typeof one?.field === "string" && typeof one?.reason === "string");
}

/** What a failed answer says of itself: problem+json where it is that, else its status. */
export function problemOf(status: number, body: unknown): ProblemError {
  const problem = (typeof body === "object" && body !== null ? body : {}) as MaybeProblem;
  const told = [problem.detail, problem.title].find((text): text is string => typeof text === "string" && text !== "");
  return new ProblemError(told ?? `HTTP ${status}`, status, typeof problem.request_id === "string" ? problem.request_id : null, fields(problem.errors));
}

export const client = createClient<paths>({ baseUrl: "", credentials: "same-origin", headers: { "X-Tocsin": "console" } });

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The data of an answer, or a ProblemError. */
export async function take<T>(asked: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await asked;
  } catch {
    throw new ProblemError("", 0, null);
  }
  if (!answer.response.ok) throw problemOf(answer.response.status, answer.error);
  return answer.data as T;
}
