/** An incident: a condition that people must act on, reported once however often it recurs. */
import { z } from "zod";
import { contentId } from "./ids.ts";
import { INCIDENTS, type IncidentCode } from "./reasons.ts";
import { isoTimeSchema } from "./signal.ts";
import { incidentSubject } from "./subjects.ts";

const codes = Object.keys(INCIDENTS) as [IncidentCode, ...IncidentCode[]];

export const incidentSchema = z.object({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  code: z.enum(codes),
  subject: z.object({ namespace: z.string(), name: z.string(), fleet: z.string() }).optional(),
  az: z.string().max(63).optional(),
  gateway: z.string().max(63).optional(),
  severity: z.enum(["warning", "critical"]),
  at: isoTimeSchema,
  facts: z.record(z.string().max(64), z.union([z.string().max(300), z.number(), z.boolean(), z.null()])),
  dedup_key: z.string().max(200),
});
export type Incident = z.infer<typeof incidentSchema>;

const compiled = z.compile(incidentSchema);
export const parseIncident = (value: unknown): z.ZodSafeParseResult<Incident> => compiled.safeParse(value);

/**
 * An incident with id and key derived from its content.
 * @param scope the window or revision that identifies a recurrence of the same incident
 */
export function incident(
  code: IncidentCode,
  at: string,
  scope: string,
  where: Partial<Pick<Incident, "subject" | "az" | "gateway">>,
  facts: Incident["facts"],
): Incident {
  const id = contentId([code, where, scope], 16);
  const canaryName = where.subject ? `${where.subject.namespace}/${where.subject.name}` : "-";
  const dedup = [code, canaryName, where.az ?? "-", where.gateway ?? "-", scope].join("|").slice(0, 200);
  return { id, code, ...where, severity: INCIDENTS[code].severity, at, facts, dedup_key: dedup };
}

/** The message that publishes an incident. Its id makes a repetition the same message. */
export function incidentMessage(report: Incident): { readonly subject: string; readonly data: string; readonly id: string } {
  return { subject: incidentSubject(report.subject, report.code), data: JSON.stringify(report), id: report.id };
}
