//! The page in a real browser: what people see and do, without a complaint on the console.

use serde_json::json;

use crate::chromium::Chromium;
use crate::etcd::Etcd;
use crate::fleet;
use crate::opensearch_page::{HOSTILE, Sender, site, staged};
use crate::site::Site;
use crate::stage::Stage;

/// No complaint so far.
fn assert_content(browser: &mut Chromium, when: &str) {
    assert_eq!(browser.complaints(), Vec::<String>::new(), "{when}");
}

#[test]
#[ignore = "needs a Kafka, an OpenSearch and a Chromium"]
fn opensearch_browser_shows_all_that_is_promised() {
    let (stage, mut sender) = staged();
    let site = site(&stage, &[]);
    let mut browser = Chromium::start();
    searches(&mut browser, &site);
    complains_in_the_right_place(&mut browser);
    zooms(&mut browser, &site);
    runs_nothing(&mut browser, &site);
    shows_surroundings(&mut browser, &site);
    follows(&mut browser, &site, &mut sender);
    obeys_keys(&mut browser, &site);
    fits_everywhere(&mut browser, &site);
    is_for_everybody(&mut browser, &site);
}

fn searches(browser: &mut Chromium, site: &Site) {
    browser.dark(false);
    browser.open(&format!("http://{}/?from=now-30m", site.address));
    browser.until("document.querySelectorAll('#lines > li').length === 100");
    browser.until("document.querySelectorAll('#histogram rect').length > 5");
    browser.until("document.querySelectorAll('#facets .facet').length >= 3");
    browser.picture("search-light");
    browser.search("\"connection refused\"");
    browser.until("document.querySelectorAll('#lines mark').length === 60");
    assert_eq!(browser.eval("document.querySelector('#lines mark').textContent"), "connection refused");
    assert_eq!(browser.eval("new URLSearchParams(location.search).get('q')"), "\"connection refused\"");
    browser.click("#facets .value[title='web-1']");
    browser.until("document.querySelectorAll('#lines > li').length === 20");
    assert_eq!(browser.eval("document.querySelectorAll('#chips li').length"), 1);
    browser.click("#lines .open");
    browser.until("document.querySelector('#lines .fields')");
    browser.picture("search-filtered");
    browser.eval("history.back()");
    browser.until("document.querySelectorAll('#lines > li').length === 60");
    // The same address shows the same.
    browser.call("Page.reload", json!({}));
    browser.until("document.querySelectorAll('#lines mark').length === 60");
    assert_content(browser, "searching");
}

fn complains_in_the_right_place(browser: &mut Chromium) {
    browser.search("refused host:*1");
    browser.until("!document.getElementById('problem').hidden");
    assert_eq!(browser.text("#problem mark"), "host:*1");
    assert!(browser.text("#problem").contains("a wildcard cannot come first"));
    browser.picture("search-problem");
    // The answers of 400 are told on the console, by the browser itself.
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|one| one.contains("status of 400")), "{complaints:?}");
    browser.search("refused");
    browser.until(
        "document.getElementById('problem').hidden && document.querySelectorAll('#lines mark').length",
    );
}

fn zooms(browser: &mut Chromium, site: &Site) {
    browser.open(&format!("http://{}/?from=now-30m", site.address));
    browser.until("document.querySelectorAll('#histogram rect').length > 5");
    let place = browser.eval("(({x, y, width, height}) => [x, y, width, height])(document.getElementById('histogram').getBoundingClientRect())");
    let [x, y, width, height]: [f64; 4] = serde_json::from_value(place).unwrap();
    browser.drag((x + width * 0.6, y + height / 2.0), (x + width * 0.8, y + height / 2.0));
    browser.until("new URLSearchParams(location.search).get('to')");
    let span = browser.eval(
        "(p => Date.parse(p.get('to')) - Date.parse(p.get('from')))(new URLSearchParams(location.search))",
    );
    let minutes = span.as_f64().unwrap() / 60_000.0;
    assert!((5.5..6.5).contains(&minutes), "{minutes}");
    browser.until("document.querySelectorAll('#lines > li').length && !document.querySelector('.stale')");
    browser.click("#when");
    browser.until("!document.getElementById('times').hidden");
    browser.picture("search-times");
    assert_content(browser, "zooming");
}

fn runs_nothing(browser: &mut Chromium, site: &Site) {
    browser.open(&format!("http://{}/?q=hostile&from=now-30m", site.address));
    browser.until(&format!("document.querySelectorAll('#lines > li').length === {}", HOSTILE.len()));
    for at in 1..=HOSTILE.len() {
        browser.click(&format!("#lines > li:nth-child({at}) .open"));
    }
    assert_eq!(
        browser.eval("document.querySelectorAll('#lines img, #lines script, #lines style, #lines a').length"),
        0
    );
    assert!(browser.eval("document.title").as_str().unwrap().starts_with("hostile"));
    let shown = browser.text("#lines");
    for text in [
        "<script>document.title='taken'</script>",
        "onerror=",
        "ESC[31mred",
        "U+202Egnp.exeU+202C",
        "U+200B",
        "BEL",
    ] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    assert!(!shown.contains(['\u{202e}', '\u{1b}', '\u{2066}', '\u{200b}']));
    browser.picture("search-hostile");
    // Also where the query is shown.
    browser.search("<img src=x onerror=document.title=1> \u{202e} (");
    browser.until("!document.getElementById('problem').hidden");
    assert_eq!(browser.eval("document.querySelectorAll('#problem img').length"), 0);
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|one| one.contains("status of 400")), "{complaints:?}");
}

fn shows_surroundings(browser: &mut Chromium, site: &Site) {
    browser.open(&format!("http://{}/?q=refused+host:web-2&from=now-30m", site.address));
    browser.until("document.querySelectorAll('#lines > li').length === 20");
    browser.click("#lines > li:nth-child(10) .open");
    browser.click("#lines .around");
    browser.until("document.querySelectorAll('#context .lines > li').length === 51");
    assert_eq!(browser.text("#context .context-place"), "web-2:/var/log/app/server.log");
    assert!(browser.text("#context [aria-current]").contains("connection refused"));
    browser.picture("context");
    browser.click("#context .edge");
    browser.until("document.querySelectorAll('#context .lines > li').length === 101");
    // It is a part of the address.
    browser.call("Page.reload", json!({}));
    browser.until("document.querySelectorAll('#context .lines > li').length === 51");
    browser.key("Escape");
    browser.until(
        "!document.getElementById('context').open && !new URLSearchParams(location.search).has('line')",
    );
    assert_content(browser, "surroundings");
}

fn follows(browser: &mut Chromium, site: &Site, sender: &mut Sender) {
    browser.open(&format!("http://{}/?q=fresh&live=1", site.address));
    browser.until("document.getElementById('state').textContent.startsWith('live,')");
    for n in 0..5 {
        sender.line(0, &format!("INFO a fresh line {n}"), 0);
        sender.line(1, "INFO one of no interest", 0);
    }
    sender.flush();
    browser.until("document.querySelectorAll('#lines mark').length === 5");
    assert!(browser.text("#lines > li .message").contains("a fresh line 4"), "the newest is at the top");
    browser.picture("live");
    browser.click("#pause");
    sender.line(0, "INFO a fresh line that waits", 0);
    sender.flush();
    browser.until("document.getElementById('state').textContent.includes('1 lines wait')");
    assert_eq!(browser.eval("document.querySelectorAll('#lines mark').length"), 5);
    browser.click("#pause");
    browser.until("document.querySelectorAll('#lines mark').length === 6");
    browser.click("#live");
    browser.until("!new URLSearchParams(location.search).has('live')");
    assert_content(browser, "live");
}

fn obeys_keys(browser: &mut Chromium, site: &Site) {
    browser.open(&format!("http://{}/?from=now-30m", site.address));
    browser.until("document.querySelectorAll('#lines > li').length === 100");
    browser.key("/");
    browser.until("document.activeElement.id === 'q'");
    browser.key("Escape");
    browser.key("j");
    browser.key("j");
    browser.key("k");
    browser.until("document.activeElement === document.querySelector('#lines > li .open')");
    browser.key("o");
    browser.until("document.querySelector('#lines > li.opened')");
    browser.key("c");
    browser.until("document.querySelectorAll('#context .lines > li').length > 20");
    browser.key("Escape");
    browser.until("!document.getElementById('context').open");
    browser.key("?");
    browser.until("document.getElementById('keys').open");
    browser.picture("keys");
    browser.key("Escape");
    assert_content(browser, "keys");
}

fn fits_everywhere(browser: &mut Chromium, site: &Site) {
    let all = format!("http://{}/?from=now-30m", site.address);
    browser.dark(true);
    browser.open(&all);
    browser.until("document.querySelectorAll('#lines > li').length === 100 && document.querySelector('#histogram rect')");
    browser.picture("search-dark");
    browser.click("#language");
    browser.until("document.documentElement.lang === 'zh-CN' && document.querySelectorAll('#lines > li').length === 100");
    browser.picture("search-chinese");
    assert!(browser.text("#search").contains("搜索"));
    browser.click("#language");
    for is_dark in [true, false] {
        browser.dark(is_dark);
        browser.size(360, 740);
        browser.open(&all);
        browser.until("document.querySelectorAll('#lines > li').length === 100 && document.querySelector('#histogram rect')");
        let wide = browser.eval("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= 360, "nothing has to be scrolled sideways: {wide}");
        browser.picture(if is_dark { "phone-dark" } else { "phone-light" });
    }
    browser.click("#lines .open");
    browser.until("document.querySelector('#lines .fields')");
    browser.eval("document.querySelector('#lines .opened').scrollIntoView()");
    browser.picture("phone-line");
    browser.click("#lines .around");
    browser.until("document.querySelectorAll('#context .lines > li').length > 20");
    browser.picture("phone-context");
    assert!(browser.eval("document.documentElement.scrollWidth").as_u64().unwrap() <= 360);
    browser.size(1360, 900);
    assert_content(browser, "sizes");
}

/// What axe-core finds, if `LOGDRIVE_AXE` names its script.
fn is_for_everybody(browser: &mut Chromium, site: &Site) {
    let Some(script) = std::env::var_os("LOGDRIVE_AXE") else { return };
    let script = std::fs::read_to_string(script).unwrap();
    for (page, is_dark) in
        [("?from=now-30m&q=refused", false), ("?from=now-30m&q=refused", true), ("?q=*x", false)]
    {
        browser.dark(is_dark);
        browser.open(&format!("http://{}/{page}", site.address));
        browser.until("document.querySelector('#lines > li')");
        if !page.ends_with("*x") {
            browser.until("document.querySelectorAll('#lines > li').length > 50 && document.querySelector('#facets li') && !document.querySelector('.stale')");
            browser.click("#lines .open");
        }
        audit(browser, &script, &format!("{page} dark={is_dark}"));
    }
}

/// No violation of the rules for accessible pages.
fn audit(browser: &mut Chromium, script: &str, place: &str) {
    browser.eval(&format!("{script};0"));
    let found = browser.eval(
        "axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations.map(v => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.target + ' ' + (n.any[0]?.message ?? '')).join(' | ')}`))",
    );
    assert_eq!(found, json!([]), "{place}");
}

#[test]
#[ignore = "needs a Kafka, an OpenSearch and a Chromium"]
fn opensearch_browser_says_that_nothing_is_indexed() {
    let stage = Stage::new(1);
    let site = site(&stage, &[]);
    let mut browser = Chromium::start();
    browser.open(&format!("http://{}/", site.address));
    browser.until("!document.getElementById('warnings').hidden");
    assert!(browser.text("#warnings").contains("nothing is indexed yet"));
    browser.picture("search-empty");
    assert_content(&mut browser, "an empty index");
}

#[test]
#[ignore = "needs a Chromium"]
fn opensearch_browser_changes_items_of_the_fleet() {
    let (etcd, dir) = (Etcd::start(), tempfile::tempdir().unwrap());
    let site = fleet::site(&etcd, &dir);
    let agent = json!({
        "host": "web-1", "ready": true, "version": "0.1.0", "started": 1_700_000_000, "lag_bytes": 12_345,
        "lines_per_second": 1200, "files": 9, "items_total": 4,
    });
    etcd.put("/logdrive/agents/web-1", &agent.to_string());
    let troubled = json!({
        "host": "web-2<img src=x>", "ready": false, "reason": "topic web_log: does not exist", "lag_bytes": 123_456_789,
    });
    etcd.put("/logdrive/agents/web-2", &troubled.to_string());
    let mut browser = Chromium::start();
    browser.call("Network.setExtraHTTPHeaders", json!({ "headers": { "Authorization": "Bearer s3cret" } }));
    browser.open(&format!("http://{}/?view=fleet", site.address));
    browser.until("document.querySelectorAll('#fleet-page tbody tr').length === 2");
    assert!(
        browser.text("#fleet-page tbody tr").contains("web-2<img src=x>"),
        "whoever is in trouble comes first"
    );
    browser.click("#fleet-page .fleet-head .primary");
    browser.until("document.getElementById('item').open");
    let fill = |browser: &mut Chromium, at: usize, text: &str| {
        browser.eval(&format!(
            "(e => {{ e.value = {text:?}; e.dispatchEvent(new Event('input')) }})(document.querySelectorAll('#item input, #item textarea')[{at}])"
        ));
    };
    fill(&mut browser, 0, "web");
    fill(&mut browser, 1, "nginx");
    fill(&mut browser, 2, "include = ['/var/log/nginx/*.log']\ntopik = 'web_log'");
    browser.until("document.querySelector('#item .verdict.error')?.textContent.includes('topik')");
    browser.picture("fleet-lint");
    fill(&mut browser, 2, "include = ['/var/log/nginx/*.log']\ntopic = 'web_log'");
    browser.until("document.querySelector('#item .verdict.good')");
    // What lint refuses is a status of 400, which the browser tells on its console.
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|one| one.contains("status of 400")), "{complaints:?}");
    browser.click("#item .primary");
    browser.until("!document.getElementById('item').open && document.querySelectorAll('#fleet-page tbody tr').length === 3");
    browser.picture("fleet-light");
    // Somebody else is faster.
    browser.click("#fleet-page td.acts button");
    etcd.put("/logdrive/items/web/nginx", "include = ['/other']\ntopic = 'other_log'");
    browser.click("#item .primary");
    browser.until("document.querySelector('#item .verdict.error')?.textContent.includes('somebody else')");
    browser.key("Escape");
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|one| one.contains("status of 409")), "{complaints:?}");
    browser.until("document.getElementById('fleet-page').textContent.includes('other_log')");
    browser.click("#fleet-page td.acts button");
    browser.click("#item .danger");
    browser.click("#item .danger");
    browser.until("document.querySelectorAll('#fleet-page tbody tr').length === 2");
    browser.dark(true);
    browser.size(360, 740);
    browser.picture("fleet-phone-dark");
    assert!(browser.eval("document.documentElement.scrollWidth").as_u64().unwrap() <= 360);
    if let Some(script) = std::env::var_os("LOGDRIVE_AXE") {
        audit(&mut browser, &std::fs::read_to_string(script).unwrap(), "the fleet");
    }
    assert_content(&mut browser, "the fleet");
}
