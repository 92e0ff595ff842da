//! What the page asks for: lines, counts, the surroundings of a line, an export. Read only.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, Uri, header};
use futures_util::stream;
use serde_json::{Map, Value, json};

use super::Site;
use super::answer::{Failure, document, typed};
use super::document::Document;
use super::dsl::{self, Direction, FACETS, Listing};
use super::params::Params;
use super::query::Query;
use super::query::matcher::Matcher;
use super::range::TimeRange;
use super::search::Hit;

/// Lines in one answer, if nothing else is asked for; and at most.
const LINES: usize = 100;
const LINES_MAX: usize = 500;
/// Lines before and after one.
const NEIGHBOURS: usize = 20;
const NEIGHBOURS_MAX: usize = 200;
/// Lines that an export asks for at once.
const EXPORT_STEP: usize = 1000;
/// The longest name of a line.
const ID_BYTES_MAX: usize = 512;

type Answer = Result<Response<Body>, Failure>;

fn good(body: &Value) -> Response<Body> {
    document(StatusCode::OK, body)
}

fn shown(range: TimeRange) -> Value {
    json!({ "from": range.from_ms, "to": range.to_ms })
}

fn direction(params: &Params) -> Direction {
    match params.text("order") {
        Some("oldest") => Direction::Up,
        _ => Direction::Down,
    }
}

/// `/api/search`: lines, the newest first.
pub(super) async fn search(State(site): State<Arc<Site>>, uri: Uri) -> Answer {
    let params = Params::of(&uri)?;
    let (query, range, after) = (params.query()?, params.range()?, params.after()?);
    let size = params.number("size", LINES, LINES_MAX)?;
    let listing = Listing {
        query: &query,
        range,
        direction: direction(&params),
        after: after.as_ref(),
        size,
        counts: after.is_none(),
    };
    let found = site.searcher.list(&listing).await?.usable()?;
    let matcher = Matcher::new(&query);
    let hits = &found.hits.hits;
    Ok(good(&json!({
        "range": shown(range),
        "lines": hits.iter().map(|hit| hit.line(&matcher)).collect::<Vec<_>>(),
        "next": hits.last().map(|hit| &hit.sort),
        "total": found.hits.total.as_ref().map(|total| total.document()),
        "took_ms": found.took_ms(),
        "warnings": found.warnings(),
    })))
}

/// `/api/counts`: how many lines, by time and level, and by the values of some fields.
pub(super) async fn counts(State(site): State<Arc<Site>>, uri: Uri) -> Answer {
    let params = Params::of(&uri)?;
    let (query, range) = (params.query()?, params.range()?);
    let question = dsl::counts(&query, range, site.searcher.patience_ms());
    let found = site.searcher.ask(&question).await?.usable()?;
    let bars: Vec<Value> = buckets(&found.aggregations["time"])
        .map(|bucket| json!([bucket["key"], folded(&bucket["level"]), bucket["doc_count"]]))
        .collect();
    let facets: Vec<Value> = FACETS
        .iter()
        .map(|name| {
            let counted = &found.aggregations[*name];
            let values = match *name {
                "level" => folded(counted).into_iter().map(|(value, count)| json!([value, count])).collect(),
                _ => buckets(counted)
                    .map(|bucket| json!([bucket["key"], bucket["doc_count"]]))
                    .collect::<Vec<_>>(),
            };
            json!({
                "field": name,
                "values": values,
                "others": counted["sum_other_doc_count"].as_u64().unwrap_or(0),
                "none": found.aggregations[format!("no_{name}")]["doc_count"].as_u64().unwrap_or(0),
            })
        })
        .collect();
    Ok(good(&json!({
        "range": shown(range),
        "bar_ms": range.bar_ms(),
        "bars": bars,
        "facets": facets,
        "total": found.hits.total.as_ref().map(|total| total.document()),
        "took_ms": found.took_ms(),
        "warnings": found.warnings(),
    })))
}

fn buckets(counted: &Value) -> impl Iterator<Item = &Value> {
    counted["buckets"].as_array().into_iter().flatten()
}

/// Levels that differ in capitals only are one.
fn folded(counted: &Value) -> Map<String, Value> {
    let mut levels = Map::new();
    for bucket in buckets(counted) {
        let (Some(level), Some(count)) = (bucket["key"].as_str(), bucket["doc_count"].as_u64()) else {
            continue;
        };
        let sum = levels.entry(level.to_lowercase()).or_insert(0.into());
        *sum = (sum.as_u64().unwrap_or(0) + count).into();
    }
    levels
}

/// What holds lines together, so that some of them are next to one.
struct Neighbourhood {
    kind: &'static str,
    same: Vec<(&'static str, Value)>,
    by: &'static [&'static str],
    place: Vec<Value>,
}

impl Neighbourhood {
    /// The best that a line says of where it stands: a place in one life of a file; else a place among the lines of
    /// a file as Kafka has them; else among all of a partition.
    fn of(document: &Document) -> Option<Neighbourhood> {
        let text = |name: &'static str| Some((name, Value::from(document.text(name)?)));
        let number = |name: &'static str| Some((name, Value::from(document.number(name)?)));
        let file = || Some(vec![text("host.name")?, text("log.file.path")?]);
        let partition = || Some(vec![text("kafka.topic")?, number("kafka.partition")?]);
        let record = document.number("kafka.offset")?;
        let exact = || {
            let mut same = file()?;
            same.push(text("logdrive.generation")?);
            // Pieces of one long line begin at the same place.
            let place = vec![document.number("log.offset")?.into(), record.into()];
            Some(Neighbourhood { kind: "file", same, by: &["log.offset", "kafka.offset"], place })
        };
        exact().or_else(|| {
            let place = vec![record.into()];
            let (kind, more) = file().map_or(("partition", Vec::new()), |file| ("path", file));
            let same = partition()?.into_iter().chain(more).collect();
            Some(Neighbourhood { kind, same, by: &["kafka.offset"], place })
        })
    }
}

/// `/api/context`: the lines around one, as they stand in its file.
pub(super) async fn context(State(site): State<Arc<Site>>, uri: Uri) -> Answer {
    let params = Params::of(&uri)?;
    let matcher = Matcher::new(&params.query()?);
    let counts = [("before", Direction::Down), ("after", Direction::Up)];
    let id = params.text("id").filter(|id| id.len() <= ID_BYTES_MAX);
    let id = id.ok_or_else(|| Failure::bad("parameter", "`id` names no line".to_owned()))?;
    let found = site.searcher.ask(&dsl::by_id(id)).await?.usable()?;
    let hit = found.hits.hits.first().ok_or_else(|| {
        let text = "this line is not in the index: not yet, or not any more".to_owned();
        Failure::new(StatusCode::NOT_FOUND, "no_line", text)
    })?;
    let neighbourhood = Neighbourhood::of(&hit.document()).ok_or_else(|| {
        let text = "this line does not say where it stands, so nothing is next to it".to_owned();
        Failure::new(StatusCode::NOT_FOUND, "no_neighbours", text)
    })?;
    let Neighbourhood { kind, same, by, place } = &neighbourhood;
    let mut sides = Vec::new();
    let mut warnings = Vec::new();
    for (name, direction) in counts {
        let size = params.number(name, NEIGHBOURS, NEIGHBOURS_MAX)?;
        let patience_ms = site.searcher.patience_ms();
        let question = |size| dsl::neighbours(same, by, place, direction, size, patience_ms);
        let mut lines = Vec::new();
        let mut is_end = false;
        if size > 0 {
            let found = site.searcher.with_fewer(size, question).await?.usable()?;
            warnings.extend(found.warnings());
            lines = found.hits.hits.iter().map(|hit| hit.line(&matcher)).collect::<Vec<_>>();
            is_end = lines.len() < found.asked && warnings.is_empty();
        }
        sides.push((lines, is_end));
    }
    let (after, is_last) = sides.pop().expect("two sides");
    let (mut before, is_first) = sides.pop().expect("two sides");
    before.reverse();
    Ok(good(&json!({
        "kind": kind,
        "before": before,
        "line": hit.line(&matcher),
        "after": after,
        "is_first": is_first,
        "is_last": is_last,
        "warnings": warnings,
    })))
}

/// An export that goes on.
struct Export {
    site: Arc<Site>,
    query: Query,
    range: TimeRange,
    direction: Direction,
    is_text: bool,
    after: Option<Value>,
    left: usize,
}

impl Export {
    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        let listing = Listing {
            query: &self.query,
            range: self.range,
            direction: self.direction,
            after: self.after.as_ref(),
            size: self.left.min(EXPORT_STEP),
            counts: false,
        };
        let found = self.site.searcher.list(&listing).await?.usable()?;
        if let Some(warning) = found.warnings().iter().find(|warning| warning["code"] != "no_index") {
            // Half of an export must not look like all of it.
            let text = warning["text"].as_str().unwrap_or_default().to_owned();
            return Err(Failure::new(StatusCode::BAD_GATEWAY, "opensearch", text));
        }
        let hits = &found.hits.hits;
        let Some(last) = hits.last() else { return Ok(None) };
        self.after = Some(last.sort.clone().into());
        self.left -= hits.len();
        Ok(Some(self.written(hits)))
    }

    fn written(&self, hits: &[Hit]) -> Bytes {
        let mut out = String::new();
        for hit in hits {
            match self.is_text {
                true => out.push_str(&hit.document().message),
                // Between tokens, where alone it can stand, a line end means nothing.
                false => out.push_str(&hit.source.get().replace(['\n', '\r'], " ")),
            }
            out.push('\n');
        }
        out.into()
    }
}

/// `/api/export`: lines as text or JSON, one after the other as OpenSearch gives them. The oldest come first, since
/// it is to be read like a log.
pub(super) async fn export(State(site): State<Arc<Site>>, uri: Uri) -> Answer {
    let params = Params::of(&uri)?;
    let is_text = params.text("format") != Some("jsonl");
    let direction = if params.text("order") == Some("newest") { Direction::Down } else { Direction::Up };
    let left = params.number("lines", site.export_lines_max, site.export_lines_max)?;
    let (query, range) = (params.query()?, params.range()?);
    let mut export = Export { site, query, range, direction, is_text, after: None, left };
    // What goes wrong at once is told in words; later the transfer is broken off, which a browser reports.
    let first = export.next().await?;
    let rest = stream::try_unfold((export, first), |(mut export, ready)| async move {
        let Some(bytes) = ready else { return Ok::<_, std::io::Error>(None) };
        let next =
            export.next().await.map_err(|failure| std::io::Error::other(failure.document.to_string()))?;
        Ok(Some((bytes, (export, next))))
    });
    let (content_type, name) = match is_text {
        true => ("text/plain; charset=utf-8", "attachment; filename=\"lines.log\""),
        false => ("application/x-ndjson", "attachment; filename=\"lines.jsonl\""),
    };
    let mut answer = typed(StatusCode::OK, content_type, Body::from_stream(rest));
    answer.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    Ok(answer)
}

/// `/api/about`: what this server can do, and the word that changes must carry.
pub(super) async fn about(State(site): State<Arc<Site>>) -> Response<Body> {
    good(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "tail": site.tail.is_some(),
        "fleet": site.fleet.is_some(),
        "edit": site.may_edit(),
        "token": site.token,
        "export_lines_max": site.export_lines_max,
    }))
}
