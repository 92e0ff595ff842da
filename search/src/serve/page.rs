//! The files of the page, which are part of the program. Each has a tag that changes with it, so that a browser asks
//! again and is mostly told that nothing has changed.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use xxhash_rust::xxh3::xxh3_64;

use super::answer::{Failure, typed};

/// A file of the page.
struct File {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

macro_rules! files {
    ($($path:literal $name:literal $content_type:expr,)*) => {
        &[$(File { path: $path, content_type: $content_type, content: include_bytes!(concat!("web/", $name)) }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

const FILES: &[File] = files! {
    "/" "index.html" HTML,
    "/icon.svg" "icon.svg" IMAGE,
    "/web/base.css" "base.css" CSS,
    "/web/search.css" "search.css" CSS,
    "/web/fleet.css" "fleet.css" CSS,
    "/web/app.js" "app.js" SCRIPT,
    "/web/state.js" "state.js" SCRIPT,
    "/web/ask.js" "ask.js" SCRIPT,
    "/web/dom.js" "dom.js" SCRIPT,
    "/web/time.js" "time.js" SCRIPT,
    "/web/histogram.js" "histogram.js" SCRIPT,
    "/web/facets.js" "facets.js" SCRIPT,
    "/web/lines.js" "lines.js" SCRIPT,
    "/web/context.js" "context.js" SCRIPT,
    "/web/tail.js" "tail.js" SCRIPT,
    "/web/keys.js" "keys.js" SCRIPT,
    "/web/fleet.js" "fleet.js" SCRIPT,
    "/web/words.js" "words.js" SCRIPT,
    "/web/words-zh.js" "words-zh.js" SCRIPT,
};

/// A file of the page, or nothing. There is no folder behind it that a path could lead out of.
pub(super) async fn file(uri: Uri, headers: HeaderMap) -> Response<Body> {
    let Some(file) = FILES.iter().find(|file| file.path == uri.path()) else {
        let text = "there is no such page here; the search is at /".to_owned();
        return Failure::new(StatusCode::NOT_FOUND, "no_page", text).into_response();
    };
    let tag = format!("\"{:016x}\"", xxh3_64(file.content));
    let is_known = headers.get_all(header::IF_NONE_MATCH).iter().any(|known| {
        known
            .to_str()
            .is_ok_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
    });
    let mut answer = match is_known {
        true => typed(StatusCode::NOT_MODIFIED, file.content_type, Body::empty()),
        false => typed(StatusCode::OK, file.content_type, Body::from(file.content)),
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits"));
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the first visit may cost, with nothing compressed.
    const PAGE_BYTES_MAX: usize = 300_000;

    #[test]
    fn the_whole_page_is_small() {
        let bytes: usize = FILES.iter().map(|file| file.content.len()).sum();
        assert!(bytes < PAGE_BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn x05_no_file_has_script_or_style_of_the_forbidden_kinds() {
        for file in FILES {
            let text = std::str::from_utf8(file.content).unwrap();
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                " style=\"",
                "onclick=",
                "onload=",
                "onerror=",
                "javascript:",
                "setAttribute(\"style",
                "<style",
                "srcdoc",
            ] {
                assert!(!text.contains(forbidden), "{} has {forbidden}", file.path);
            }
            let is_own = |at: usize| text[at..].starts_with("http://www.w3.org/2000/svg");
            for (at, _) in text.match_indices("http") {
                assert!(
                    is_own(at) || !text[at..].starts_with("http://") && !text[at..].starts_with("https://"),
                    "{} names another server",
                    file.path
                );
            }
        }
        let page = std::str::from_utf8(FILES[0].content).unwrap();
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script type=\"module\" src=\"/web/").count()
        );
    }

    #[test]
    fn every_module_that_is_imported_is_there() {
        for file in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            let text = std::str::from_utf8(file.content).unwrap();
            for line in text.lines().filter(|line| line.starts_with("import ") || line.starts_with("} from "))
            {
                let from = line.split('"').nth(1).unwrap_or_else(|| panic!("{}: {line}", file.path));
                let path = format!("/web/{}", from.trim_start_matches("./"));
                assert!(FILES.iter().any(|file| file.path == path), "{} imports {from}", file.path);
            }
        }
    }

    /// The keys of a dictionary.
    fn keys(name: &str) -> BTreeSet<String> {
        let file = FILES.iter().find(|file| file.path == name).unwrap();
        let text = std::str::from_utf8(file.content).unwrap();
        let table = text.split_once(" = {").unwrap().1.split_once("\n};").unwrap().0;
        let key = regex::Regex::new(r#"(?:^|[{,\n])\s*(\w+): ""#).unwrap();
        key.captures_iter(table).map(|found| found[1].to_owned()).collect()
    }

    #[test]
    fn everything_is_said_in_english_and_in_chinese() {
        let (english, chinese) = (keys("/web/words.js"), keys("/web/words-zh.js"));
        assert!(english.len() > 100, "{}", english.len());
        assert_eq!(english.difference(&chinese).collect::<Vec<_>>(), [""; 0], "not in Chinese");
        // The server's own words are English.
        let is_the_servers = |key: &&String| !key.starts_with("failure_") && !key.starts_with("warning_");
        let extra: Vec<_> = chinese.difference(&english).filter(is_the_servers).collect();
        assert_eq!(extra, [""; 0], "not in English");
        let used = regex::Regex::new(r#"\bt\("(\w+)"[,)]|data-(?:t|label|hint)="(\w+)""#).unwrap();
        for file in FILES.iter().filter(|file| file.path != "/web/words.js") {
            let text = std::str::from_utf8(file.content).unwrap();
            for found in used.captures_iter(text) {
                let key = found.get(1).or(found.get(2)).unwrap().as_str();
                assert!(english.contains(key), "{} says {key}, for which there are no words", file.path);
            }
        }
    }
}
