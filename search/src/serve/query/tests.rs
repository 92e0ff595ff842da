//! The language of the search box: what is read, what is refused and where, and what finds which line.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Number, json};

use super::matcher::Matcher;
use super::*;
use crate::serve::document::Document;

/// A query as it is understood, or the complaint with the place marked.
fn shown(text: &str) -> String {
    match parse(text) {
        Ok(query) => format!("{text}  =>  {query}\n"),
        Err(error) => {
            let (head, rest) = text.split_at(error.at.start);
            let (bad, tail) = rest.split_at(error.at.end - error.at.start);
            format!("{head}⟦{bad}⟧{tail}  {error}\n")
        }
    }
}

fn check(texts: &[&str], expected: Expect) {
    expected.assert_eq(&texts.iter().map(|text| shown(text)).collect::<String>());
}

#[test]
fn what_people_type_is_understood() {
    check(
        &[
            "",
            "*",
            "error",
            "level:error host:web-* \"connection refused\"",
            "a AND b OR c",
            "a (b OR c)",
            "a && b || !c",
            "-debug +info",
            "NOT (a b)",
            "NOT NOT a",
            "level:(error OR warn)",
            "host:web-1 -level:debug",
            "offset:>=100 offset:<200",
            "offset:[100 TO 200} took:{* TO 1.5]",
            "file:/var/log/nginx/*.log",
            "http://example.org/a 12:30:45 std::fmt::Display",
            "message:timeout item:* team:shop",
            "\"a \\\"b\\\" c\" x\\ y",
            "连接被拒绝 host:服务器",
            "10.0.0.1 user_id=42",
            "timeo* ti?eout",
            "AND:x \"AND\"",
        ],
        expect![[r#"
              =>  *
            *  =>  *
            error  =>  error
            level:error host:web-* "connection refused"  =>  level:error host:web-* "connection refused"
            a AND b OR c  =>  (a b) OR c
            a (b OR c)  =>  a (b OR c)
            a && b || !c  =>  (a b) OR -c
            -debug +info  =>  -debug info
            NOT (a b)  =>  -(a b)
            NOT NOT a  =>  a
            level:(error OR warn)  =>  level:error OR level:warn
            host:web-1 -level:debug  =>  host:web-1 -level:debug
            offset:>=100 offset:<200  =>  offset:[100 TO *] offset:[* TO 200}
            offset:[100 TO 200} took:{* TO 1.5]  =>  offset:[100 TO 200} took:[* TO 1.5]
            file:/var/log/nginx/*.log  =>  file:\/var/log/nginx/*.log
            http://example.org/a 12:30:45 std::fmt::Display  =>  "http://example.org/a" "12:30:45" "std::fmt::Display"
            message:timeout item:* team:shop  =>  timeout item:* team:shop
            "a \"b\" c" x\ y  =>  "a \"b\" c" "x y"
            连接被拒绝 host:服务器  =>  连接被拒绝 host:服务器
            10.0.0.1 user_id=42  =>  10.0.0.1 "user_id=42"
            timeo* ti?eout  =>  timeo* ti?eout
            AND:x "AND"  =>  AND:x "AND"
        "#]],
    );
}

#[test]
fn x06_what_is_refused_is_shown_in_its_place() {
    let deep = "(".repeat(20) + "a";
    let long = "x".repeat(600);
    let many = vec!["a"; 70].join(" ");
    check(
        &[
            "host:*web",
            "*fused",
            "foo ?bar",
            "c*",
            "message:a*",
            "conn-*fused",
            "a*b*c*d*e* x",
            "/err[0-9]+/",
            "host:/web.*/",
            "\"a b\"~3",
            "\"a b\"^2",
            "foo -> bar",
            "foo - bar",
            "\"...\"",
            "\"open",
            "(a OR b",
            "a) b",
            ")",
            "a ()",
            "AND a",
            "a AND",
            "a OR OR b",
            "NOT",
            "host:",
            "host: web",
            "host:\"\"",
            "a b!c:d",
            "level:(host:a)",
            "@timestamp:[1 TO 2]",
            "time:now",
            "offset:[1 2]",
            "offset:[a TO b]",
            "offset:[* TO *]",
            "offset:>",
            "offset:[1 TO 2",
            "message:>5",
            "offset:abc",
            "partition:1*",
            r#"{"query":{"match_all":{}}}"#,
            "_index:other*",
            &deep,
        ],
        expect![[r#"
            ⟦host:*web⟧  a wildcard cannot come first: write how the word begins, like web*
            ⟦*fused⟧  a wildcard cannot come first: write how the word begins, like web*
            foo ⟦?bar⟧  a wildcard cannot come first: write how the word begins, like web*
            ⟦c*⟧  before a wildcard a word of the text needs 2 letters or digits, like conn*
            ⟦message:a*⟧  before a wildcard a word of the text needs 2 letters or digits, like conn*
            ⟦conn-*fused⟧  a wildcard cannot come first: write how the word begins, like web*
            ⟦a*b*c*d*e*⟧ x  more than 4 wildcards in one word
            ⟦/err[0-9]+/⟧  regular expressions are not searched: use words, "phrases" and word*, or put it in quotes
            host:⟦/web.*/⟧  regular expressions are not searched: use words, "phrases" and word*, or put it in quotes
            "a b"⟦~⟧3  `~` and `^` after a phrase are not known here: leave them out, or put them into the quotes
            "a b"⟦^⟧2  `~` and `^` after a phrase are not known here: leave them out, or put them into the quotes
            foo ⟦->⟧ bar  there is no letter or digit in it, so there is nothing to search for
            foo ⟦-⟧ bar  there is no letter or digit in it, so there is nothing to search for
            ⟦"..."⟧  there is no letter or digit in it, so there is nothing to search for
            ⟦"open⟧  the quote is not closed: add a " at the end, or write \" for the character
            ⟦(⟧a OR b  the parenthesis is not closed
            a⟦)⟧ b  there is no parenthesis open here; in quotes it is a character like others
            ⟦)⟧  there is no parenthesis open here; in quotes it is a character like others
            a ⟦()⟧  there is nothing between the parentheses
            ⟦AND⟧ a  something to search for is missing here; for the word itself write it in quotes, like "AND"
            a AND⟦⟧  something to search for is missing here; for the word itself write it in quotes, like "AND"
            a OR ⟦OR⟧ b  something to search for is missing here; for the word itself write it in quotes, like "AND"
            NOT⟦⟧  something to search for is missing here; for the word itself write it in quotes, like "AND"
            ⟦host:⟧  nothing is said about `host`: write host:value, host:* for any value, or "host:" for the text
            ⟦host:⟧ web  nothing is said about `host`: write host:value, host:* for any value, or "host:" for the text
            ⟦host:""⟧  nothing is said about `host`: write host:value, host:* for any value, or "host:" for the text
            a ⟦b!c⟧:d  no field is called so: names have letters, digits, `.`, `_`, `-` and `@`
            level:(⟦host:⟧a)  a field within the parentheses of another one: write each field on its own
            ⟦@timestamp:⟧[1 TO 2]  the time is chosen beside the search box, not in the query
            ⟦time:⟧now  the time is chosen beside the search box, not in the query
            ⟦offset:[1 2]⟧  this is no range: write [10 TO 20], [10 TO *], or >10, >=10, <20, <=20 with numbers
            ⟦offset:[a TO b]⟧  this is no range: write [10 TO 20], [10 TO *], or >10, >=10, <20, <=20 with numbers
            ⟦offset:[* TO *]⟧  this is no range: write [10 TO 20], [10 TO *], or >10, >=10, <20, <=20 with numbers
            ⟦offset:>⟧  this is no range: write [10 TO 20], [10 TO *], or >10, >=10, <20, <=20 with numbers
            offset:⟦[1 TO 2⟧  this is no range: write [10 TO 20], [10 TO *], or >10, >=10, <20, <=20 with numbers
            ⟦message:>5⟧  a range is for fields that are numbers, like offset:>1000
            ⟦offset:abc⟧  `offset` is a whole number: write offset:1000 or offset:>1000
            ⟦partition:1*⟧  `partition` is a whole number: write partition:1000 or partition:>1000
            ⟦{⟧"query":{"match_all":{}}}  there is no letter or digit in it, so there is nothing to search for
            _index:other*  =>  _index:other*
            ((((((((((((((((⟦(⟧(((a  more than 16 parentheses within each other
        "#]],
    );
    for (text, problem) in
        [(&long, Problem::LongWord), (&many, Problem::TooMany), (&"a ".repeat(2000), Problem::TooLong)]
    {
        assert_eq!(parse(text).unwrap_err().problem, problem);
    }
}

#[test]
fn a_place_is_counted_as_a_browser_counts() {
    let text = "连接🪵 host:*x";
    let error = parse(text).unwrap_err();
    assert_eq!(error.document(text)["at"], json!([5, 12]));
    assert_eq!(error.document(text)["code"], json!("leading_wildcard"));
}

fn document() -> Document {
    Document::of(json!({
        "@timestamp": "2026-01-02T03:04:05.678Z",
        "message": "GET /api Connection refused by 10.0.0.12:8080 (user_id=42) 连接失败",
        "host.name": "web-1",
        "log": { "level": "ERROR", "offset": 1234, "file": { "path": "/var/log/a.log" } },
        "status": 502,
        "tags": ["shop", "eu"],
        "took": 1.5,
    }))
}

#[test]
fn a_line_is_found_by_what_it_is() {
    let document = document();
    for (text, is_found) in [
        ("", true),
        ("refused", true),
        ("REFUSED", true),
        ("refuse", false),
        ("refus*", true),
        ("re?used", true),
        ("\"connection refused\"", true),
        ("\"refused connection\"", false),
        ("10.0.0.12", true),
        ("0.12", true),
        ("10.0.0.1", false),
        ("10.0.0.12*", true),
        ("连接", true),
        ("接连", false),
        ("失败 refused", true),
        ("refused absent", false),
        ("refused OR absent", true),
        ("-absent", true),
        ("-refused", false),
        ("-(refused absent)", true),
        ("level:error", true),
        ("level:Err*", true),
        ("host:web-1", true),
        ("host:WEB-1", false),
        ("host:web-*", true),
        ("host:(web-2 OR web-1)", true),
        ("file:/var/log/*.log", true),
        ("offset:1234", true),
        ("offset:[1000 TO 1234]", true),
        ("offset:[1000 TO 1234}", false),
        ("offset:>1234", false),
        ("took:<2", true),
        ("status:502", true),
        ("status:>=500", true),
        ("tags:eu", true),
        ("tags:us", false),
        ("tags:*", true),
        ("topic:*", false),
        ("-topic:*", true),
    ] {
        let matcher = Matcher::new(&parse(text).unwrap());
        assert_eq!(matcher.matches(&document), is_found, "{text}");
    }
}

#[test]
fn what_is_looked_for_is_marked_and_nothing_else() {
    let document = document();
    let marked = |text: &str| {
        let marks = Matcher::new(&parse(text).unwrap()).marks(&document.message);
        marks.into_iter().map(|at| document.message[at].to_owned()).collect::<Vec<_>>().join("|")
    };
    assert_eq!(marked("refused"), "refused");
    assert_eq!(marked("\"connection refused\" -get"), "Connection refused");
    assert_eq!(marked("refus* OR \"refused by\" api"), "api|refused by");
    assert_eq!(marked("10.0.0.12* level:error"), "10.0.0.12");
    assert_eq!(marked("-(-get)"), "GET");
    assert_eq!(marked(""), "");
    assert_eq!(marked("*"), "");
}

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex(
        "[a-zA-Z0-9 .:_/\"\\\\*?()\\[\\]{}<>!~^+&|-]{0,6}[a-z连é🪵][a-z *?\"\\\\:-]{0,4}",
    )
    .expect("a legal pattern")
}

fn clause() -> impl Strategy<Value = Query> {
    let field = prop_oneof![
        Just(Field::Message),
        prop::sample::select(vec!["host", "level", "team", "log.file.path", "a-b", "kafka.topic"])
            .prop_map(Field::of_name),
    ];
    let pieces = prop::collection::vec(text(), 1..3);
    let pattern = (pieces, "[a-z]{2}", any::<bool>()).prop_map(|(texts, first, one)| {
        let mut pieces = vec![Piece::Text(first + &texts[0])];
        for text in &texts[1..] {
            pieces.push(if one { Piece::One } else { Piece::Any });
            pieces.push(Piece::Text(text.clone()));
        }
        pieces.push(Piece::Any);
        Test::Like(Pattern(pieces))
    });
    let number = prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        any::<f64>().prop_filter_map("finite", Number::from_f64),
    ];
    let bound = (number, any::<bool>()).prop_map(|(value, is_included)| Bound { value, is_included });
    let bounds = (bound.clone(), prop::option::of(bound), any::<bool>()).prop_map(|(one, other, swap)| {
        let (from, to) = if swap { (other, Some(one)) } else { (Some(one), other) };
        Test::Within(Bounds { from, to })
    });
    let test = prop_oneof![text().prop_map(Test::Is), pattern, bounds, Just(Test::Exists)];
    (field, test).prop_filter_map("a legal clause", |(field, test)| {
        let is_legal = match (&field, &test) {
            (Field::Message, Test::Exists | Test::Within(_)) => false,
            (Field::Message, test) => matcher::shapes_of(test).is_some(),
            _ => true,
        };
        is_legal.then_some(Query::Clause(Clause { field, test }))
    })
}

fn query() -> impl Strategy<Value = Query> {
    clause().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Query::all_of),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Query::any_of),
            inner.prop_map(Query::negated),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_itself(query in query()) {
        let printed = query.to_string();
        match parse(&printed) {
            Ok(read) => prop_assert_eq!(read, query, "{}", printed),
            // It has grown by its escapes.
            Err(QueryError { problem: Problem::TooLong | Problem::LongWord, .. }) => {}
            Err(error) => prop_assert!(false, "{}: {}", printed, error),
        }
    }

    #[test]
    fn x06_nothing_that_is_typed_panics(text in ".{0,60}") {
        let _understood = parse(&text).map(|query| {
            let matcher = Matcher::new(&query);
            (matcher.matches(&document()), matcher.marks(&text), crate::serve::dsl::query(&query))
        });
    }

    #[test]
    fn x06_nothing_that_looks_like_a_query_panics(
        text in "([a-c]|\"|[(]|[)]|host:|offset:|[*?]|\\[| TO |\\]|>|-|AND|OR|NOT| |/|\\\\|连){0,24}",
    ) {
        if let Ok(query) = parse(&text) {
            prop_assert_eq!(parse(&query.to_string()), Ok(query.clone()), "{}", text);
            let _document = crate::serve::dsl::query(&query);
        }
    }
}
