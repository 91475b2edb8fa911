//! `nat serve`: the report of a run over HTTP, drawn anew whenever the run has moved on.
//!
//! The page is the one of `nat report` with a line above it. Its script listens to `/events`, where a server-sent event tells
//! what the run does as soon as its files change, and fetches the page again. Nothing is kept between requests, and nothing
//! is written.

mod news;

use std::{
    convert::Infallible,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::{Request, State},
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST},
    },
    middleware::{self, Next},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::{Stream, stream};
use maud::{PreEscaped, html};

use crate::{failure, report};
use news::News;

/// Time between two looks at the files of a run.
const PAUSE: Duration = Duration::from_millis(500);

/// The page runs its own script, talks to nobody else and is styled from within.
const POLICY: &str =
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'";

/// Answers on a listener for as long as the process lives.
///
/// # Errors
/// The listener fails.
pub fn serve(run: &Path, listener: TcpListener) -> Result<()> {
    let routes = Router::new()
        .route("/", get(page))
        .route("/dashboard.js", get(script))
        .route("/events", get(events))
        .layer(middleware::from_fn(from_here))
        .with_state(Arc::new(run.to_owned()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the dashboard's thread")?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(axum::serve(listener, routes).await?)
    })
}

/// Refuses requests for another host: a page from elsewhere may have its name resolved to this machine to read from it.
async fn from_here(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !["127.0.0.1", "localhost"].contains(&name) {
        let text = "this dashboard answers to 127.0.0.1 and localhost only\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

async fn page(State(run): State<Arc<PathBuf>>) -> Response {
    let top = html! {
        style { (PreEscaped(include_str!("dashboard.css"))) }
        p #live role="status" { "…" }
        script src="/dashboard.js" defer {}
    };
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    match report::render_below(&top, &run) {
        Ok(page) => (headers, Html(page)).into_response(),
        Err(error) => {
            let line = failure::one_line(&error) + "\n";
            (StatusCode::INTERNAL_SERVER_ERROR, headers, line).into_response()
        }
    }
}

async fn script() -> impl IntoResponse {
    (
        [
            (CONTENT_TYPE, "text/javascript; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
        ],
        include_str!("dashboard.js"),
    )
}

/// What the run does: at once, and then whenever its files have changed.
async fn events(
    State(run): State<Arc<PathBuf>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let lines = stream::unfold(News::of(&run), |mut news| async move {
        loop {
            if let Some(line) = news.next() {
                return Some((Ok(Event::default().data(line)), news));
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    Sse::new(lines).keep_alive(KeepAlive::default())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::{Ipv4Addr, SocketAddr, TcpStream},
        thread,
    };

    use super::*;
    use crate::report::sample::Sample;

    /// A dashboard of a run; its thread ends with the process.
    fn started(run: &Path) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let run = run.to_owned();
        thread::spawn(move || serve(&run, listener));
        address
    }

    fn asked(address: SocketAddr, path: &str, host: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// The whole answer, head and body.
    fn answer(address: SocketAddr, path: &str, host: &str) -> String {
        let mut text = String::new();
        let mut stream = asked(address, path, host);
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_page_is_the_report_with_a_line_that_lives() {
        let sample = Sample::named("run");
        let address = started(&sample.finish());
        for host in ["127.0.0.1", "localhost", &address.to_string()] {
            let page = answer(address, "/", host);
            assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
            for part in [
                "content-security-policy",
                "id=\"live\"",
                "/dashboard.js",
                "Networks for photos",
            ] {
                assert!(page.contains(part), "{part} is missing");
            }
            let report = report::render(&sample.path()).unwrap();
            let body = |page: &str| page[page.find("<main>").unwrap()..].to_owned();
            assert!(page.contains(&body(&report)));
        }
        assert!(
            answer(address, "/dashboard.js", "localhost").contains("new EventSource(\"/events\")")
        );
        assert!(answer(address, "/run.toml", "localhost").starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn names_of_other_machines_are_refused() {
        let sample = Sample::named("run");
        let address = started(&sample.finish());
        for host in ["evil.example", "127.0.0.1.evil.example:80", "[::1]:80", ""] {
            let refused = answer(address, "/", host);
            assert!(refused.starts_with("HTTP/1.1 403 "), "{host}: {refused}");
            assert!(!refused.contains("photos"));
        }
    }

    #[test]
    fn a_change_is_told_to_who_listens() {
        let sample = Sample::named("run");
        let address = started(&sample.finish());
        let stream = BufReader::new(asked(address, "/events", "localhost"));
        let mut told = stream.lines().filter_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("data: ").map(str::to_owned)
        });
        assert!(told.next().unwrap().starts_with("finished; "));
        let events = sample.read("events.jsonl");
        let resumed = "{\"event\":\"resume\",\"time\":1735689700,\"generation\":2}";
        sample.write("events.jsonl", &format!("{events}{resumed}\n"));
        assert_eq!(told.next().unwrap(), "resumed in generation 2");
    }

    #[test]
    fn what_cannot_be_read_is_one_line() {
        let sample = Sample::named("run");
        let address = started(&sample.finish());
        sample.write("run.toml", "format = 99\n");
        let failed = answer(address, "/", "localhost");
        assert!(failed.starts_with("HTTP/1.1 500 "), "{failed}");
        assert!(failed.contains("run.toml: this run has format 99") && !failed.contains("<html"));
    }
}
