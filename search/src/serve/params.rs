//! What an address asks for: the state of the page, which is all in its parameters.

use axum::http::{StatusCode, Uri};
use serde_json::Value;

use super::answer::Failure;
use super::query::{self, Clause, Field, Query, Test};
use super::range::{TimeRange, now_ms};

/// Filters at once.
const FILTERS_MAX: usize = 32;
/// The longest parameter, in bytes; a query has its own, shorter limit.
const PARAMETER_BYTES_MAX: usize = 8 << 10;

/// The parameters of an address, each bounded.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads them.
    ///
    /// # Errors
    /// One of them is too long.
    pub(super) fn of(uri: &Uri) -> Result<Params, Failure> {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned();
        let params = Params(pairs.collect());
        match params.0.iter().find(|(_, value)| value.len() > PARAMETER_BYTES_MAX) {
            Some((name, _)) => Err(Failure::bad("parameter", format!("parameter {name:?} is too long"))),
            None => Ok(params),
        }
    }

    /// The first of this name, if it says anything.
    #[must_use]
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, value)| found == name && !value.is_empty()).map(|(_, value)| &value[..])
    }

    /// A whole number, at most `most`; `or` if nothing is said.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn number(&self, name: &str, or: usize, most: usize) -> Result<usize, Failure> {
        let Some(text) = self.text(name) else { return Ok(or) };
        let number = text.parse::<usize>();
        let number = number.map_err(|_| Failure::bad("parameter", format!("{name} is no whole number")))?;
        Ok(number.min(most))
    }

    /// What is looked for: the query of the search box, and the filters beside it.
    ///
    /// # Errors
    /// The query cannot be understood.
    pub(super) fn query(&self) -> Result<Query, Failure> {
        let text = self.text("q").unwrap_or_default();
        let typed = query::parse(text)
            .map_err(|error| Failure { status: StatusCode::BAD_REQUEST, document: error.document(text) })?;
        let filters = filters(self.0.iter().filter(|(name, _)| name == "f").map(|(_, value)| &value[..]))?;
        Ok(Query::all_of(vec![typed, filters]))
    }

    /// The range of time, with its ends as they are now.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn range(&self) -> Result<TimeRange, Failure> {
        let (from, to) = (self.text("from").unwrap_or("now-15m"), self.text("to").unwrap_or("now"));
        TimeRange::read(from, to, now_ms()).map_err(|error| Failure::bad("range", error.to_string()))
    }

    /// A place in the order of lines, as an earlier answer has told it.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn after(&self) -> Result<Option<Value>, Failure> {
        let Some(text) = self.text("after") else { return Ok(None) };
        let is_place = |place: &Value| {
            let Some([time, topic, rest @ ..]) = place.as_array().map(Vec::as_slice) else { return false };
            let is_number = |value: &Value| value.is_i64() || value.is_null();
            time.is_i64()
                && (topic.is_string() || topic.is_null())
                && rest.len() == 2
                && rest.iter().all(is_number)
        };
        let place = serde_json::from_str(text).ok().filter(is_place);
        place
            .map(Some)
            .ok_or_else(|| Failure::bad("parameter", "`after` is no place that was told".to_owned()))
    }
}

/// Filters as the page writes them: `field:value`, without quotes; `-` before it for what is not wanted; nothing
/// behind the colon for lines without that field. Of one field any value will do, of different fields all must.
fn filters<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Query, Failure> {
    let mut wanted: Vec<(Field, Vec<Query>)> = Vec::new();
    let mut all = Vec::new();
    for (count, text) in texts.enumerate() {
        let bad = || Failure::bad("parameter", format!("{text:?} is no filter: write field:value"));
        let (is_negated, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (name, value) = rest.split_once(':').ok_or_else(bad)?;
        let field = Field::of_name(name);
        if count == FILTERS_MAX || name.is_empty() || field == Field::Message {
            return Err(bad());
        }
        let clause = |test| Query::Clause(Clause { field: field.clone(), test });
        let query = match value {
            "" => clause(Test::Exists).negated(),
            _ => clause(Test::Is(value.to_owned())),
        };
        match (is_negated, wanted.iter_mut().find(|(known, _)| *known == field)) {
            (true, _) => all.push(query.negated()),
            (false, Some((_, values))) => values.push(query),
            (false, None) => wanted.push((field, vec![query])),
        }
    }
    all.extend(wanted.into_iter().map(|(_, values)| Query::any_of(values)));
    Ok(Query::all_of(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/api/search?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn filters_of_one_field_are_alternatives() {
        let query =
            |text: &str| params(text).query().map(|query| query.to_string()).unwrap_or("refused".into());
        assert_eq!(query(""), "*");
        assert_eq!(query("q=a+OR+b&f=host:web-1"), "(a OR b) host:web-1");
        assert_eq!(query("f=host:a&f=host:b&f=level:error"), "(host:a OR host:b) level:error");
        assert_eq!(query("f=-level:debug&f=-host:"), "-level:debug host:*");
        assert_eq!(query("f=level:"), "-level:*");
        assert_eq!(query("f=file:/a:b%20*%22%5C"), r#"file:"/a:b *\"\\""#);
        for text in ["f=host", "f=:a", "f=message:a", &"f=a:b&".repeat(FILTERS_MAX + 1)] {
            assert_eq!(query(text), "refused", "{text}");
        }
    }

    #[test]
    fn x06_only_a_place_that_was_told_is_gone_on_from() {
        let after = |text: &str| {
            let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            params(&format!("after={encoded}")).after()
        };
        assert!(after("").unwrap().is_none());
        assert!(after("[1,\"t\",0,5]").unwrap().is_some());
        assert!(after("[1,null,null,null]").unwrap().is_some());
        for text in [
            "x",
            "{}",
            "[]",
            "[1,\"t\",0]",
            "[1,\"t\",0,5,6]",
            "[{},\"t\",0,5]",
            "[1,{},0,5]",
            "[1,\"t\",[],5]",
        ] {
            assert!(after(text).is_err(), "{text}");
        }
    }

    #[test]
    fn x06_sizes_are_capped() {
        assert_eq!(params("size=1000000000").number("size", 100, 500).unwrap(), 500);
        assert_eq!(params("").number("size", 100, 500).unwrap(), 100);
        for text in ["size=-1", "size=x", "size=99999999999999999999999"] {
            assert!(params(text).number("size", 100, 500).is_err(), "{text}");
        }
        let long = format!("/?q={}", "a".repeat(PARAMETER_BYTES_MAX + 1));
        assert!(Params::of(&long.parse().unwrap()).is_err());
    }
}
