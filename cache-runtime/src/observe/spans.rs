//! Spans: of loads, and of requests to a server. The page `docs/observing.md` has their fields.
//!
//! Where no subscriber asks for a span, it costs a look at a flag. A hit of what this process keeps has
//! none.

use tracing::{Instrument as _, Level, Span, field};

use super::{Observer, path_of};
use crate::call::site::CallSite;
use crate::error::Error;
use crate::key::Key;
use crate::missed::MissReason;
use crate::tier::{Look, Query};

/// By this, a subscriber chooses spans without the rest of what is logged at their level.
const TARGET: &str = "cache_runtime::spans";

/// Whether a subscriber may ask for the span of a request.
#[inline]
pub(crate) fn are_asked() -> bool {
    tracing::span_enabled!(target: "cache_runtime::spans", Level::DEBUG)
}

/// The span of a load. Its parent is the span in which the call is polled when the load begins; so that
/// of a load which takes over is in the call that takes over, and that of a detached one in the call that
/// began the task.
#[inline]
pub(crate) fn load(
    observer: &Observer,
    site: Option<&'static CallSite>,
    key: Option<&Key>,
    keys: usize,
    is_refresh: bool,
) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "cache.load",
        cache.function = path_of(site),
        cache.template = template(site),
        cache.key = key.filter(|_| observer.shows_keys).map(field::display),
        cache.keys = keys,
        cache.refresh = is_refresh,
        cache.outcome = field::Empty,
        otel.status_code = field::Empty,
    )
}

/// Runs a load in its span, and notes how it has ended.
pub(crate) async fn of_load<T>(
    span: Span,
    load: impl Future<Output = T>,
    is_error: impl FnOnce(&T) -> bool,
) -> T {
    let returned = load.instrument(span.clone()).await;
    load_ended(&span, is_error(&returned));
    returned
}

/// Notes how a load has ended. Of one that panics, or is dropped, nothing is noted.
#[inline]
pub(crate) fn load_ended(span: &Span, is_error: bool) {
    if !span.is_none() {
        span.record("cache.outcome", if is_error { "error" } else { "value" });
        if is_error {
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// The span of what is asked of a server: by a verb of the protocol, and by this command. It includes what
/// the call waits for its turn and for a connection.
#[inline]
pub(crate) fn request(
    observer: &Observer,
    verb: &'static str,
    command: &'static str,
    query: Option<&Query>,
) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "cache.request",
        otel.name = command,
        otel.kind = "client",
        db.system.name = "redis",
        db.operation.name = command,
        cache.verb = verb,
        cache.template = query.and_then(|query| template(query.site)),
        cache.key = query
            .filter(|_| observer.shows_keys)
            .map(|query| field::display(&query.key)),
        cache.hit = field::Empty,
        cache.miss = field::Empty,
        error.r#type = field::Empty,
        otel.status_code = field::Empty,
    )
}

/// Notes what a look has shown its call.
pub(crate) fn looked(span: &Span, query: &Query, look: &Look) {
    if span.is_none() {
        return;
    }
    let is_hit = matches!(look, Look::Hit(_));
    span.record("cache.hit", is_hit);
    if !is_hit {
        let why = query.missed.reason();
        span.record("cache.miss", why.name());
        if why == MissReason::Unavailable {
            fail(span, "unavailable");
        }
    }
}

/// Notes how a request has failed. The text of an error may have a key in it, so its kind is noted.
pub(crate) fn failed(span: &Span, error: &Error) {
    let kind = if error.is_timeout() {
        "timeout"
    } else if error.is_refused() {
        "refused"
    } else if error.is_codec() {
        "codec"
    } else {
        "unavailable"
    };
    fail(span, kind);
}

fn fail(span: &Span, kind: &'static str) {
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
}

fn template(site: Option<&'static CallSite>) -> Option<&'static str> {
    site.map(|site| site.function.key())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::{Cache, Options};

    /// Keeps each span, with its parent and its fields.
    #[derive(Clone, Default)]
    struct Spans(Arc<Mutex<Kept>>);

    #[derive(Default)]
    struct Kept {
        spans: Vec<Seen>,
        /// Those that are entered. All tests here have one thread.
        entered: Vec<u64>,
    }

    struct Seen {
        name: &'static str,
        fields: Vec<&'static str>,
        values: BTreeMap<&'static str, String>,
        parent: Option<&'static str>,
    }

    struct Values<'a>(&'a mut BTreeMap<&'static str, String>);

    impl Visit for Values<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name(), value.to_owned());
        }
    }

    impl Subscriber for Spans {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.is_span()
        }
        fn new_span(&self, attributes: &Attributes<'_>) -> Id {
            let mut kept = self.0.lock().unwrap();
            let mut values = BTreeMap::new();
            attributes.record(&mut Values(&mut values));
            let parent = kept.entered.last().copied();
            let parent = parent.map(|parent| kept.spans[place(parent)].name);
            kept.spans.push(Seen {
                name: attributes.metadata().name(),
                fields: attributes
                    .fields()
                    .iter()
                    .map(|field| field.name())
                    .collect(),
                values,
                parent,
            });
            Id::from_u64(kept.spans.len() as u64)
        }
        fn record(&self, span: &Id, record: &Record<'_>) {
            let mut kept = self.0.lock().unwrap();
            let seen = &mut kept.spans[place(span.into_u64())];
            record.record(&mut Values(&mut seen.values));
        }
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, span: &Id) {
            self.0.lock().unwrap().entered.push(span.into_u64());
        }
        fn exit(&self, _: &Id) {
            self.0.lock().unwrap().entered.pop();
        }
    }

    fn place(id: u64) -> usize {
        usize::try_from(id).unwrap() - 1
    }

    fn run(future: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future);
    }

    fn cache(keys_in_spans: bool) -> Cache {
        let builder = Cache::builder().url("memory:");
        builder.keys_in_spans(keys_in_spans).build().unwrap()
    }

    #[test]
    fn a_load_is_a_span_in_that_of_its_call_and_a_hit_has_none() {
        let spans = Spans::default();
        let _subscribed = tracing::subscriber::set_default(spans.clone());
        let cache = cache(false);
        run(async {
            let load = async {
                let _inner = tracing::info_span!("query");
                Ok::<_, ()>(1)
            };
            let calls = tracing::info_span!("calls");
            let call = tracing::Instrument::instrument(
                cache.get_or_load("secret", Options::new(), load),
                calls,
            );
            call.await.unwrap();
            for outcome in [Ok(2), Err(())] {
                let load = async { outcome };
                let _ = cache.get_or_load("secret", Options::new(), load).await;
                let load = async { outcome };
                let _ = cache
                    .get_or_load(format!("{outcome:?}"), Options::new(), load)
                    .await;
            }
        });
        let kept = spans.0.lock().unwrap();
        let seen: Vec<_> = kept.spans.iter().map(|it| (it.name, it.parent)).collect();
        let expected = [
            ("calls", None),
            ("cache.load", Some("calls")),
            ("query", Some("cache.load")),
            ("cache.load", None),
            ("cache.load", None),
        ];
        assert_eq!(seen, expected);
        let outcomes = kept
            .spans
            .iter()
            .filter_map(|it| it.values.get("cache.outcome"));
        assert_eq!(outcomes.collect::<Vec<_>>(), ["value", "value", "error"]);
        let failed = &kept.spans[4].values;
        assert_eq!(failed["otel.status_code"], "ERROR");
        assert_eq!(failed["cache.refresh"], "false");
        let shows = |it: &Seen| it.values.values().any(|value| value.contains("secret"));
        assert!(!kept.spans.iter().any(shows), "no span has a key");
    }

    #[test]
    fn a_key_is_in_a_span_where_that_is_set() {
        let spans = Spans::default();
        let _subscribed = tracing::subscriber::set_default(spans.clone());
        let cache = cache(true);
        run(async {
            let load = async { Ok::<_, ()>(1) };
            cache
                .get_or_load("user:7", Options::new(), load)
                .await
                .unwrap();
        });
        let kept = spans.0.lock().unwrap();
        assert_eq!(kept.spans[0].values["cache.key"], "user:7");
    }

    #[test]
    fn spans_have_the_fields_that_the_page_says() {
        let spans = Spans::default();
        let _subscribed = tracing::subscriber::set_default(spans.clone());
        let observer = Observer::default();
        drop(load(&observer, None, None, 1, false));
        drop(request(&observer, "look", "MGET", None));
        let page = include_str!("../../docs/observing.md");
        let row = |row: &'static str| {
            let mut cells = row
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .skip(1);
            Some((cells.next()?, cells.next()?))
        };
        let rows: Vec<_> = page.lines().filter_map(row).collect();
        let kept = spans.0.lock().unwrap();
        for seen in &kept.spans {
            let of_span = rows.iter().filter(|(span, _)| *span == seen.name);
            let fields = of_span.map(|(_, field)| *field).filter(|it| !it.is_empty());
            assert_eq!(fields.collect::<Vec<_>>(), seen.fields, "{}", seen.name);
        }
        assert_eq!(kept.spans.len(), 2);
    }
}
