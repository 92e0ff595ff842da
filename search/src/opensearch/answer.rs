//! What a bulk request is answered with, item by item, and what it means.

use serde::Deserialize;

/// What a document's own answer means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is in the index.
    Created,
    /// It was there already: an earlier attempt, of whomever, has written it.
    Known,
    /// Not now. The reason is the server's state, not the document.
    Later(String),
    /// The server failed over it. That passes, or it is the document.
    Failed(String),
    /// Never: the reason is the document.
    Refused(String),
}

#[derive(Deserialize)]
struct Answer {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    error: Option<Cause>,
}

/// An error as OpenSearch tells it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Cause {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    caused_by: Option<Box<Cause>>,
}

impl Cause {
    /// In one line.
    pub(super) fn told(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or_default();
        match &self.caused_by {
            Some(deeper) if deeper.reason.is_some() => format!("{}: {reason}: {}", self.kind, deeper.told()),
            _ => format!("{}: {reason}", self.kind),
        }
    }
}

/// What of an answer is asked for: nothing else is of use, and it would be half of the traffic.
pub(super) const FILTER: &str = "items.*.status,items.*.error.type,items.*.error.reason,\
                                 items.*.error.caused_by.type,items.*.error.caused_by.reason";

/// The verdicts of an answer, in the order of the request; why it is none otherwise.
pub(super) fn read(body: &[u8], documents: usize) -> Result<Vec<Verdict>, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if answer.items.len() != documents {
        return Err(format!("{} answers to {documents} documents", answer.items.len()));
    }
    Ok(answer.items.into_iter().map(|item| judge(item.create)).collect())
}

fn judge(outcome: Outcome) -> Verdict {
    let cause = outcome.error.unwrap_or_default();
    let told = |cause: &Cause| format!("{} {}", outcome.status, cause.told());
    match outcome.status {
        200 | 201 => Verdict::Created,
        409 => Verdict::Known,
        // No room for a further shard: one of the cluster's limits, however it is dressed up.
        400 if cause.kind == "validation_exception" => Verdict::Later(told(&cause)),
        400 | 405 | 406 | 413 | 415 | 422 => Verdict::Refused(told(&cause)),
        // Busy, blocked (403 of a full disk), not allowed yet, not there yet.
        401 | 403 | 404 | 408 | 429 | 502 | 503 | 504 => Verdict::Later(told(&cause)),
        _ => Verdict::Failed(told(&cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn item(status: u16, kind: &str) -> String {
        match status {
            200..=299 => format!(r#"{{"create":{{"status":{status}}}}}"#),
            _ => format!(r#"{{"create":{{"status":{status},"error":{{"type":"{kind}","reason":"why"}}}}}}"#),
        }
    }

    #[test]
    fn every_status_has_its_meaning() {
        let mut shown = String::new();
        for (status, kind) in [
            (200, ""),
            (201, ""),
            (400, "mapper_parsing_exception"),
            (400, "document_parsing_exception"),
            (400, "strict_dynamic_mapping_exception"),
            (400, "illegal_argument_exception"),
            (400, "index_closed_exception"),
            (400, "validation_exception"),
            (401, "security_exception"),
            (403, "cluster_block_exception"),
            (403, "security_exception"),
            (404, "index_not_found_exception"),
            (409, "version_conflict_engine_exception"),
            (413, "too_large"),
            (429, "opensearch_rejected_execution_exception"),
            (500, "null_pointer_exception"),
            (503, "unavailable_shards_exception"),
            (504, "timeout"),
        ] {
            let body = format!(r#"{{"items":[{}]}}"#, item(status, kind));
            let verdict = read(body.as_bytes(), 1).unwrap().remove(0);
            let word = format!("{verdict:?}");
            shown += &format!("{status} {kind}: {}\n", word.split('(').next().unwrap());
        }
        expect![[r#"
            200 : Created
            201 : Created
            400 mapper_parsing_exception: Refused
            400 document_parsing_exception: Refused
            400 strict_dynamic_mapping_exception: Refused
            400 illegal_argument_exception: Refused
            400 index_closed_exception: Refused
            400 validation_exception: Later
            401 security_exception: Later
            403 cluster_block_exception: Later
            403 security_exception: Later
            404 index_not_found_exception: Later
            409 version_conflict_engine_exception: Known
            413 too_large: Refused
            429 opensearch_rejected_execution_exception: Later
            500 null_pointer_exception: Failed
            503 unavailable_shards_exception: Later
            504 timeout: Later
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn a_reason_goes_down_to_its_cause() {
        let body = br#"{"items":[{"create":{"status":400,"error":{"type":"mapper_parsing_exception",
            "reason":"failed to parse field [n]","caused_by":{"type":"number_format_exception","reason":"For input"}}}}]}"#;
        assert_eq!(
            read(body, 1).unwrap(),
            [Verdict::Refused(
                "400 mapper_parsing_exception: failed to parse field [n]: number_format_exception: For input"
                    .into()
            )]
        );
    }

    #[test]
    fn half_an_answer_is_none() {
        let whole = format!(r#"{{"items":[{},{}]}}"#, item(201, ""), item(429, "busy"));
        assert_eq!(read(whole.as_bytes(), 2).unwrap().len(), 2);
        for cut in 0..whole.len() {
            assert!(read(&whole.as_bytes()[..cut], 2).is_err(), "{cut}");
        }
        assert_eq!(read(whole.as_bytes(), 3).unwrap_err(), "2 answers to 3 documents");
        assert!(read(b"{}", 0).is_err());
        assert!(read(br#"{"items":[{"index":{"status":201}}]}"#, 1).is_err());
    }
}
